package app_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
)

// apiServer answers every list with nothing in it and keeps every watch open. It
// writes down who asked when, and by which connections.
type apiServer struct {
	*httptest.Server
	mu      sync.Mutex
	last    map[string]time.Time // request, by token
	watches map[string]int       // that are open, by token
	conns   map[net.Conn]bool
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{last: map[string]time.Time{}, watches: map[string]int{}, conns: map[net.Conn]bool{}}
	kinds := map[string]string{"virtualmachines": "VirtualMachineList", "virtualmachineinstances": "VirtualMachineInstanceList", "nodes": "NodeList"}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		count := func(n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.last[token] = time.Now()
			s.watches[token] += n
		}
		w.Header().Set("Content-Type", "application/json")
		if q := r.URL.Query().Get("watch"); q == "true" || q == "1" {
			count(1)
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			s.mu.Lock()
			s.watches[token]--
			s.mu.Unlock()
			return
		}
		count(0)
		resource := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if kind := kinds[resource]; kind != "" {
			version := "kubevirt.io/v1"
			if resource == "nodes" {
				version = "v1"
			}
			_, _ = fmt.Fprintf(w, `{"apiVersion":%q,"kind":%q,"metadata":{"resourceVersion":"10"},"items":[]}`, version, kind)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch state {
		case http.StateNew:
			s.conns[c] = true
		case http.StateClosed, http.StateHijacked:
			delete(s.conns, c)
		}
	}
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (s *apiServer) kubeconfig(token string) []byte {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return kubeconfigtest.Config(fmt.Sprintf("server: %s\ncertificate-authority-data: %s", s.URL, kubeconfigtest.Base64(ca)), "token: "+token)
}

func (s *apiServer) watched(token string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watches[token]
}

// A credential is replaced while the portal runs: within ten seconds its watcher
// and everything else signs in with the new one, nothing asks with the old one
// any more, and its connections are closed. Nothing was restarted.
func TestReplacedInPlace(t *testing.T) {
	s := newAPIServer(t)
	a, err := app.New(t.Context(), app.Config{
		DatabaseURL: domain.Secret(databasetest.URL(t)), KEK: domain.Secret(crypto.Generate()), Addr: "127.0.0.1:0", Workers: 1, Version: "test",
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	i := &installation{t: t, log: &lines{}}
	a.Clusters.Prober = prober("uid-1")
	i.fill(a)
	ctx := t.Context()
	admin, err := a.Accounts.PersonByUsername(ctx, "root")
	if err != nil {
		t.Fatal(err)
	}
	actor, err := a.Accounts.Actor(ctx, admin.ID, "", "")
	if err != nil {
		t.Fatal(err)
	}
	replace := func(token string) {
		t.Helper()
		draft, err := a.Clusters.ReadUpload(ctx, actor, "f", s.kubeconfig(token))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Clusters.ReplaceCredential(ctx, actor, i.cluster, draft, "main"); err != nil {
			t.Fatal(err)
		}
	}
	replace("first")

	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); a.Clusters.Run(running) }()
	t.Cleanup(func() { stop(); <-done })
	within := func(limit time.Duration, what string, ok func() bool) time.Duration {
		t.Helper()
		start := time.Now()
		for !ok() {
			if time.Since(start) > limit {
				t.Fatalf("not within %v: %s", limit, what)
			}
			time.Sleep(20 * time.Millisecond)
		}
		return time.Since(start)
	}
	const feeds = 3 // VMs, their instances, nodes
	within(15*time.Second, "the watcher runs", func() bool { return s.watched("first") == feeds })
	a.Clusters.Provider.CheckHealth(ctx, i.cluster, false)

	for n := range 3 {
		old, token := "first", fmt.Sprint("token-", n)
		if n > 0 {
			old = fmt.Sprint("token-", n-1)
		}
		replace(token)
		took := within(10*time.Second, "the watcher signs in with the new one", func() bool { return s.watched(token) == feeds && s.watched(old) == 0 })
		t.Logf("after %v", took.Round(time.Millisecond))
		since := time.Now()
		a.Clusters.Provider.CheckHealth(ctx, i.cluster, false)
		time.Sleep(500 * time.Millisecond)
		s.mu.Lock()
		if s.last[old].After(since) {
			t.Errorf("asked with the old credential, %v after", s.last[old].Sub(since))
		}
		if !s.last[token].After(since) {
			t.Error("the health check does not use the new one")
		}
		open := len(s.conns)
		s.mu.Unlock()
		if open > 2 {
			t.Errorf("%d connections are open", open)
		}
	}
}
