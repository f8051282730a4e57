package kubevirt

import (
	"context"
	"net/netip"
	"sync"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

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

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	if e, ok := apperr.From(err); !ok || e.Code != code {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

func spec(ns, vm string) domain.VMSpec {
	return domain.VMSpec{
		Name: vm, Namespace: ns, Labels: domain.VMLabels("shop", "web", 1, 42),
		Annotations: map[string]string{domain.AnnotationOperation: "0192f0c1-7b7e-7000-8000-000000000001"},
		CPU:         1, MemoryMiB: 512, DiskGiB: 1, Image: "docker://quay.io/containerdisks/fedora:41",
	}
}
