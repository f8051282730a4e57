package clusterstub_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/clusterstub"
)

func start(t *testing.T, o clusterstub.Options) (*clusterstub.Cluster, api) {
	t.Helper()
	c, err := clusterstub.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, api{c.URL(), client(t, c.CA(), nil, clusterstub.Token), o.Namespaces[0], o.Bookmark}
}

// client trusts one authority. A token or a certificate is who it is.
func client(t *testing.T, ca []byte, pair *tls.Certificate, token string) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	if pair != nil {
		transport.TLSClientConfig.Certificates = []tls.Certificate{*pair}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: bearer{token, transport}}
}

type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

func TestStubBehaves(t *testing.T) {
	_, a := start(t, clusterstub.Options{Name: "east", Namespaces: []string{"suite"}, Bookmark: time.Second})
	behaves(t, a)
}

// The objects of a stub are as large as real ones, and each is its own.
func TestStubObjects(t *testing.T) {
	o := clusterstub.Options{Name: "east", Namespaces: []string{"shop-test", "more"}, VMs: 120, System: "billing", Service: "api", Nodes: 3}
	_, a := start(t, o)
	uids := map[string]bool{}
	for _, kind := range []string{"virtualmachines", "virtualmachineinstances"} {
		l := a.get(t, vmPath+"/"+kind+"?labelSelector=kubevirt-shepherd.io/managed-by%3Dkubevirt-shepherd")
		if len(l.Items) != o.VMs {
			t.Fatalf("%d %s", len(l.Items), kind)
		}
		for _, m := range l.Items {
			uids[m.Metadata.UID] = true
			if m.Metadata.Namespace != "shop-test" || m.Metadata.Labels["kubevirt-shepherd.io/system"] != "billing" || len(m.Metadata.ManagedFields) < 2 {
				t.Errorf("%+v", m.Metadata)
			}
		}
	}
	vm := a.get(t, a.vms(o.VMName(99)))
	if len(uids) != 2*o.VMs || vm.Metadata.UID != o.VMUID(99) || vm.Metadata.Labels["kubevirt-shepherd.io/instance"] != "100" {
		t.Errorf("%d UIDs; %+v", len(uids), vm.Metadata)
	}
}

// Each fault is what it is called, and ends.
func TestStubFaults(t *testing.T) {
	c, a := start(t, clusterstub.Options{Name: "east", Namespaces: []string{"suite"}, VMs: 1, System: "s", Service: "v", Bookmark: 50 * time.Millisecond})
	set := func(f clusterstub.Fault) {
		t.Helper()
		if err := c.Set(f); err != nil {
			t.Fatal(err)
		}
	}
	for f, want := range map[clusterstub.Fault]string{
		clusterstub.Refused: "connection refused", clusterstub.Reset: "reset", clusterstub.BlackHole: "exceeded",
		clusterstub.Unauthorized: "401", clusterstub.TooMany: "429", clusterstub.Broken: "500",
	} {
		set(f)
		got := ""
		short := client(t, c.CA(), nil, clusterstub.Token) // a new connection
		short.Timeout = 300 * time.Millisecond
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL()+"/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := short.Do(req); err != nil {
			got = err.Error()
		} else {
			got = res.Status
			_ = res.Body.Close()
		}
		if !strings.Contains(got, want) && !(f == clusterstub.Reset && strings.Contains(got, "EOF")) {
			t.Errorf("%s: %s, want %s", f, got, want)
		}
		set(clusterstub.Alive)
		a.client = client(t, c.CA(), nil, clusterstub.Token)
		a.get(t, "/version")
	}

	// Silent: the watch is there, and says nothing.
	from := url.Values{"resourceVersion": {a.get(t, a.vms("")).Metadata.ResourceVersion}, "allowWatchBookmarks": {"1"}}
	set(clusterstub.Silent)
	time.AfterFunc(400*time.Millisecond, func() { _ = c.Set(clusterstub.Alive) })
	begin := time.Now()
	seen, _ := a.watch(t, from, func(s []change) bool { return len(s) > 0 })
	if took := time.Since(begin); took < 300*time.Millisecond || seen[0].Type != "BOOKMARK" {
		t.Errorf("%s after %v", seen[0].Type, took)
	}

	// What was compacted is forgotten: places of watches, and rests of lists.
	a.create(t, "one", "")
	a.create(t, "two", "")
	rest := a.get(t, a.vms("")+"?limit=1").Metadata.Continue
	c.Compact()
	if seen, _ := a.watch(t, from, func(s []change) bool { return len(s) > 0 }); seen[0].Object.Code != http.StatusGone {
		t.Errorf("%+v", seen)
	}
	if s := a.do(t, http.MethodGet, a.vms("")+"?limit=1&continue="+rest, "", "", http.StatusGone); s.Reason != "Expired" {
		t.Errorf("%+v", s)
	}

	// Another token, another authority.
	c.Rotate("stub-token-1")
	a.do(t, http.MethodGet, "/version", "", "", http.StatusUnauthorized)
	a.client = client(t, c.CA(), nil, "stub-token-1")
	a.get(t, "/version")
	old := c.CA()
	if err := c.RotateCA(); err != nil {
		t.Fatal(err)
	}
	if _, err := tls.Dial("tcp", strings.TrimPrefix(c.URL(), "https://"), client(t, old, nil, "").Transport.(bearer).next.(*http.Transport).TLSClientConfig); err == nil {
		t.Error("the old authority is still believed")
	}
	if n := c.Counts(); n.Dials < 6 || n.Watches != 2 || n.Lists < 2 || n.Posts != 2 {
		t.Errorf("counts %+v", n)
	}
}
