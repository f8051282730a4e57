package app

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

func TestOwnAddresses(t *testing.T) {
	got := ownAddresses(t.Context(), []string{"10.0.0.5:5432", "[2001:db8::1]:5432", "localhost:5433", "127.0.0.1:0", "", "/run/postgresql", "no-such-host.invalid:1", "10.0.0.5:70000"})
	for _, want := range []string{"10.0.0.5:5432", "[2001:db8::1]:5432", "127.0.0.1:5433"} {
		if !slices.Contains(got, netip.MustParseAddrPort(want)) {
			t.Errorf("no %s in %v", want, got)
		}
	}
	if slices.ContainsFunc(got, func(a netip.AddrPort) bool { return a.Port() != 5432 && a.Port() != 5433 }) {
		t.Errorf("got %v", got)
	}
	// A port without a host is open at every address of the machine.
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{":8080", "0.0.0.0:8080", "[::]:8080"} {
		if got := ownAddresses(t.Context(), []string{text}); len(got) != len(all) || !slices.Contains(got, netip.MustParseAddrPort("127.0.0.1:8080")) {
			t.Errorf("%s: %v of %v", text, got, all)
		}
	}
}

// TestOwnAddressesAreRefused: the portal that is put together does not connect
// to itself for a kubeconfig, also where loopback is open.
func TestOwnAddressesAreRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // stands for the portal, with a port that is known before
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = other.Close()
	a, err := New(t.Context(), Config{
		DatabaseURL: domain.Secret(databasetest.URL(t)), KEK: domain.Secret(crypto.Generate()), Addr: l.Addr().String(), Workers: 1,
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for addr, want := range map[string]string{l.Addr().String(): apperr.ErrAddressNotAllowed, other.Addr().String(): apperr.ErrClusterRefused} {
		found := a.Clusters.Prober.Preflight(t.Context(), domain.Credential{Server: "https://" + addr, Token: domain.Secret("t")})
		i := slices.IndexFunc(found.Checks, func(c domain.Check) bool { return c.ID == domain.CheckReachable })
		if got := found.Checks[i].Code; got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}
