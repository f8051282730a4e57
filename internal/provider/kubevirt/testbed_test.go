package kubevirt

import (
	"context"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/testbed"
)

// bed is the test bed that all tests of this package share, or why there is none.
var bed = sync.OnceValues(func() (*testbed.Cluster, error) {
	dir := os.Getenv("SHEPHERD_TESTBED")
	if dir == "" {
		return nil, nil
	}
	state, err := os.MkdirTemp("", "shepherd-testbed-")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c, err := testbed.Start(ctx, testbed.Options{Dir: dir, State: state, Name: "kvtest"})
	return c, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("SHEPHERD_TESTBED") != "" {
		if c, err := bed(); err == nil {
			c.Stop()
			os.RemoveAll(c.State)
		}
	}
	os.Exit(code)
}

// cluster gives the running test bed. Without one the test says so and is
// skipped; make test always has one.
func cluster(t *testing.T) *testbed.Cluster {
	t.Helper()
	c, err := bed()
	if err != nil {
		t.Fatal(err)
	}
	if c == nil {
		t.Log("NOT TESTED against a control plane: SHEPHERD_TESTBED does not name the directory of the binaries testbed and testbed-virt-api")
		t.Skip("SHEPHERD_TESTBED is not set")
	}
	return c
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// store is a provider.CredentialStore in memory.
type store struct {
	mu          sync.Mutex
	credentials map[string]domain.Credential
	generation  int
}

func newStore() *store { return &store{credentials: map[string]domain.Credential{}} }

func (s *store) set(cluster string, c domain.Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credentials[cluster] = c
	s.generation++
}

func (s *store) Credential(_ context.Context, cluster string) (domain.Credential, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.credentials[cluster]
	if !ok {
		return c, 0, apperr.New(apperr.ErrNotFound)
	}
	return c, s.generation, nil
}

// testProvider is a provider that may connect to loopback, with one cluster "c1".
func testProvider(t *testing.T, cred domain.Credential) (*Provider, *store) {
	t.Helper()
	st := newStore()
	st.set("c1", cred)
	p := New(NewKubeconfigProvider(st), Options{AllowCIDRs: loopback})
	t.Cleanup(p.Close)
	return p, st
}

func admin(t *testing.T) domain.Credential {
	t.Helper()
	cred, err := cluster(t).Credential()
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

// namespace makes a fresh one and removes it at the end.
func namespace(t *testing.T) string {
	t.Helper()
	p, _ := testProvider(t, admin(t)) // its own: the test's may be broken on purpose
	c, err := p.clients.get(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	ns, err := c.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "kvtest-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := c.kube.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return ns.Name
}

func spec(ns, vm string) domain.VMSpec {
	return domain.VMSpec{
		Name: vm, Namespace: ns, Labels: domain.VMLabels("shop", "web", 1, 42),
		Annotations: map[string]string{domain.AnnotationOperation: "0192f0c1-7b7e-7000-8000-000000000001"},
		CPU:         1, MemoryMiB: 512, DiskGiB: 1, Image: "docker://quay.io/containerdisks/fedora:41",
	}
}

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	if e, ok := apperr.From(err); !ok || e.Code != code {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}
