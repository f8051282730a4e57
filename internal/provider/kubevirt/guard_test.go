package kubevirt

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

func TestGuard(t *testing.T) {
	prefixes := func(s ...string) (out []netip.Prefix) {
		for _, p := range s {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	open := guard{}
	tests := []struct {
		guard guard
		addr  string
		want  bool
	}{
		// Where clusters live.
		{open, "203.0.113.7:6443", true},
		{open, "10.1.2.3:6443", true},
		{open, "192.168.1.1:443", true},
		{open, "[2001:db8::1]:6443", true},
		{open, "[fd12::1]:6443", true},
		// Where they do not.
		{open, "127.0.0.1:6443", false},
		{open, "127.8.8.8:6443", false},
		{open, "[::1]:6443", false},
		{open, "[::ffff:127.0.0.1]:6443", false},
		{open, "0.0.0.0:6443", false},
		{open, "[::]:6443", false},
		{open, "169.254.169.254:80", false},
		{open, "[::ffff:169.254.169.254]:80", false},
		{open, "[64:ff9b::a9fe:a9fe]:80", false},
		{open, "[64:ff9b::7f00:1]:80", false},
		{open, "[fe80::1%eth0]:443", false},
		{open, "[fd00:ec2::254]:80", false},
		{open, "100.100.100.200:80", false},
		{open, "168.63.129.16:80", false},
		{open, "224.0.0.1:443", false},
		{open, "255.255.255.255:443", false},
		{open, "[ff02::1]:443", false},
		// Loopback only when it is meant.
		{guard{allow: prefixes("127.0.0.1/32")}, "127.0.0.1:6443", true},
		{guard{allow: prefixes("127.0.0.1/32")}, "[::ffff:127.0.0.1]:6443", true},
		{guard{allow: prefixes("127.0.0.1/32")}, "127.0.0.2:6443", false},
		{guard{allow: prefixes("0.0.0.0/0", "::/0")}, "127.0.0.1:6443", false},
		{guard{allow: prefixes("0.0.0.0/0")}, "169.254.169.254:80", false},
		// The list closes everything else.
		{guard{allow: prefixes("10.0.0.0/8")}, "10.1.2.3:6443", true},
		{guard{allow: prefixes("10.0.0.0/8")}, "192.168.1.1:6443", false},
		{guard{deny: prefixes("10.9.0.0/16")}, "10.9.0.1:6443", false},
		{guard{deny: prefixes("10.9.0.0/16"), allow: prefixes("10.0.0.0/8")}, "10.9.0.1:6443", false},
		{guard{denyAddrs: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.5:5432")}}, "10.0.0.5:5432", false},
		{guard{denyAddrs: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.5:5432")}}, "[::ffff:10.0.0.5]:5432", false},
		{guard{denyAddrs: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.5:5432")}}, "10.0.0.5:6443", true},
	}
	for _, tt := range tests {
		if got := tt.guard.control("tcp", tt.addr, nil) == nil; got != tt.want {
			t.Errorf("allow %v, deny %v %v: %s is permitted: %v, want %v", tt.guard.allow, tt.guard.deny, tt.guard.denyAddrs, tt.addr, got, tt.want)
		}
	}
	if open.control("unix", "/run/docker.sock", nil) == nil {
		t.Error("a unix socket is permitted")
	}
}

// TestHosts goes through a whole call: names and odd spellings of addresses
// are looked at after they are resolved.
func TestHosts(t *testing.T) {
	hit := atomic.Int32{}
	trap := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hit.Add(1) }))
	defer trap.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(trap.URL, "https://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]", "[::1]"} {
		st := newStore()
		st.set("c1", domain.Credential{Server: "https://" + host + ":" + port, Token: domain.Secret("t"), CA: pemOf(trap.Certificate())})
		p := New(NewKubeconfigProvider(st), Options{})
		_, err := p.GetVM(t.Context(), provider.Ref{Cluster: "c1", Namespace: "n", Name: "x"})
		p.Close()
		// Some resolvers read odd spellings as addresses, others find no such name.
		if code := apperr.CodeOf(err); code != apperr.ErrAddressNotAllowed && code != apperr.ErrClusterDNS {
			t.Errorf("%s: %v", host, err)
		}
	}
	if n := hit.Load(); n > 0 {
		t.Errorf("%d requests arrived", n)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var leaked atomic.Value
	target := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked.Store(r.Header.Get("Authorization")) }))
	defer target.Close()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		p := scripted(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.URL+"/latest/meta-data", status)
		})
		_, err := p.GetVM(t.Context(), provider.Ref{Cluster: "c1", Namespace: "n", Name: "x"})
		wantCode(t, http.StatusText(status), err, apperr.ErrNotKubernetes)
	}
	if leaked.Load() != nil {
		t.Errorf("the redirect was followed with %q", leaked.Load())
	}
}

// TestProxyIsIgnored runs itself with a proxy in the environment, which Go
// reads once per process.
func TestProxyIsIgnored(t *testing.T) {
	if os.Getenv("HTTPS_PROXY") == "" {
		asked := atomic.Int32{}
		trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
		defer trap.Close()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyIsIgnored$", "-test.v")
		cmd.Env = append(os.Environ(), "HTTPS_PROXY="+trap.URL, "https_proxy="+trap.URL, "NO_PROXY=", "no_proxy=", "SHEPHERD_TESTBED=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if asked.Load() > 0 {
			t.Error("the proxy was asked")
		}
		return
	}
	// Requests to loopback are never proxied, so this one goes elsewhere, to an
	// address for documentation that nobody has.
	st := newStore()
	st.set("c1", domain.Credential{Server: "https://192.0.2.1:6443", Token: domain.Secret("t")})
	p := New(NewKubeconfigProvider(st), Options{DenyCIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	defer p.Close()
	_, err := p.GetVM(t.Context(), provider.Ref{Cluster: "c1", Namespace: "n", Name: "x"})
	wantCode(t, "a denied address behind a proxy", err, apperr.ErrAddressNotAllowed)
}
