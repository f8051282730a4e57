//go:build e2e

package kubevirt

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/testbed"
)

// bed is the test bed that all tests of this package share.
var bed = sync.OnceValues(func() (*testbed.Cluster, error) {
	dir := os.Getenv("SHEPHERD_TESTBED")
	if dir == "" {
		return nil, errors.New("SHEPHERD_TESTBED names no directory with the testbed's binaries: run `make test`")
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
	if c, err := bed(); err == nil {
		c.Stop()
		_ = os.RemoveAll(c.State)
	}
	os.Exit(code)
}

// cluster gives the running test bed.
func cluster(t *testing.T) *testbed.Cluster {
	t.Helper()
	c, err := bed()
	if err != nil {
		t.Fatal(err)
	}
	return c
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
