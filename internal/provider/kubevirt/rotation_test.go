package kubevirt

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// gatehouse is an API server that writes down who signs in, and which
// connections are open. A watch stays open until its client goes.
type gatehouse struct {
	mu    sync.Mutex
	seen  map[string]int // requests by token
	conns map[net.Conn]bool
}

func (g *gatehouse) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.seen[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]++
	g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Query().Get("watch") != "":
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case strings.Contains(r.URL.Path, "/virtualmachineinstances/"):
		answer(w, 404, status(404, "NotFound", "no"))
	default:
		_, _ = io.WriteString(w, vmJSON(0))
	}
}

func (g *gatehouse) asked(token string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen[token]
}

func (g *gatehouse) open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

func newGatehouse(t *testing.T, http2 bool) (*gatehouse, domain.Credential) {
	t.Helper()
	g := &gatehouse{seen: map[string]int{}, conns: map[net.Conn]bool{}}
	srv := httptest.NewUnstartedServer(g)
	srv.EnableHTTP2 = http2
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Config.ConnState = func(c net.Conn, s http.ConnState) {
		g.mu.Lock()
		defer g.mu.Unlock()
		switch s {
		case http.StateNew:
			g.conns[c] = true
		case http.StateClosed, http.StateHijacked:
			delete(g.conns, c)
		}
	}
	srv.StartTLS()
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return g, domain.Credential{Server: srv.URL, CA: pemOf(srv.Certificate())}
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// A credential that is replaced: what is under way ends well, nothing is asked
// with the old one afterwards, and no connection of it stays open, neither those
// that were idle nor those whose last call ended later, nor those of watches.
func TestReplacedCredentialCloses(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		t.Run(fmt.Sprintf("http2 %v", http2), func(t *testing.T) {
			g, cred := newGatehouse(t, http2)
			cred.Token = domain.Secret("old")
			p, st := testProvider(t, cred)
			use := func() {
				t.Helper()
				if _, err := p.GetVM(t.Context(), someVM); err != nil {
					t.Fatal(err)
				}
			}
			use()
			old, err := p.clients.get(t.Context(), "c1")
			if err != nil {
				t.Fatal(err)
			}
			watching, err := old.kubevirt.KubevirtV1().VirtualMachines("").Watch(old.live, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			// One that reads slowly, and is no watch of ours: it may finish.
			slow, err := old.kubevirt.KubevirtV1().VirtualMachines("").Watch(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			cred.Token = domain.Secret("new")
			st.set("c1", cred)
			p.Forget("c1")
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for range watching.ResultChan() {
				}
			}()
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Fatal("the watch goes on")
			}
			asked := g.asked("old")
			use()
			if g.open() < 2 {
				t.Error("the call that is under way was cut")
			}
			slow.Stop()
			soon(t, "only the connection of the new credential is open", func() bool { return g.open() == 1 && len(old.lines.open) == 0 })
			for range 20 {
				use()
			}
			if n := g.asked("old"); n != asked {
				t.Errorf("%d requests with the old credential", n-asked)
			}
			if g.asked("new") == 0 {
				t.Error("the new one is not used")
			}
		})
	}
}

// late is a CredentialProvider whose answers wait on their way.
type late struct {
	CredentialProvider
	hold func(*rest.Config)
}

func (l *late) GetRESTConfig(ctx context.Context, cluster string) (*rest.Config, error) {
	cfg, err := l.CredentialProvider.GetRESTConfig(ctx, cluster)
	l.hold(cfg)
	return cfg, err
}

// A call that read the credential just before it was replaced, and goes on
// after, does not bring the old one back.
func TestLateCallBringsNothingBack(t *testing.T) {
	g, cred := newGatehouse(t, true)
	cred.Token = domain.Secret("old")
	p, st := testProvider(t, cred)
	read, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	p.clients.creds = &late{p.clients.creds, func(cfg *rest.Config) {
		if cfg.BearerToken == "old" {
			once.Do(func() { close(read); <-release })
		}
	}}
	done := make(chan error, 1)
	go func() {
		_, err := p.GetVM(context.WithoutCancel(t.Context()), someVM)
		done <- err
	}()
	<-read
	cred.Token = domain.Secret("new")
	st.set("c1", cred)
	if _, err := p.GetVM(t.Context(), someVM); err != nil {
		t.Fatal(err)
	}
	now, err := p.clients.get(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if again, _ := p.clients.get(t.Context(), "c1"); again != now || now.live.Err() != nil {
		t.Error("the client of the new credential was closed")
	}
	if n := g.asked("old"); n != 0 {
		t.Errorf("%d requests with the old credential", n)
	}
}

// pings is how long net/http keeps what it has of an HTTP/2 connection that is
// closed: a timer of its pings runs on.
const pings = 22 * time.Second

// A thousand replacements of one cluster's credential, each with a watch that is
// open and a call, leave goroutines, heap and connections as they were.
func TestThousandRotations(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	rotate := func(g *gatehouse, p *Provider, st *store, cred domain.Credential, n int) {
		t.Helper()
		for range n {
			cred.Token = domain.Secret(fmt.Sprintf("token-%04d", st.generation))
			st.set("c1", cred)
			c, err := p.clients.get(t.Context(), "c1")
			if err != nil {
				t.Fatal(err)
			}
			w, err := c.kubevirt.KubevirtV1().VirtualMachines("").Watch(c.live, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			go func() { // until the next replacement ends it
				for range w.ResultChan() {
				}
			}()
			if _, err := p.GetVM(t.Context(), someVM); err != nil {
				t.Fatal(err)
			}
		}
		p.Forget("c1")
		soon(t, "all connections are closed", func() bool { return g.open() == 0 })
		g.mu.Lock()
		clear(g.seen)
		g.mu.Unlock()
	}
	measure := func() (goroutines int, heap uint64) {
		runtime.GC()
		runtime.GC() // what finalizers let go
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	near := func(now, base float64) bool { return now <= base*1.05 }
	for _, http2 := range []bool{false, true} {
		g, cred := newGatehouse(t, http2)
		p, st := testProvider(t, cred)
		rotate(g, p, st, cred, 5)
		time.Sleep(100 * time.Millisecond)
		goroutines, heap := measure()
		start := time.Now()
		rotate(g, p, st, cred, rounds)
		took := time.Since(start)
		after, heapAfter := measure()
		for end := time.Now().Add(pings); time.Now().Before(end) && !(near(float64(after), float64(goroutines)) && near(float64(heapAfter), float64(heap))); {
			time.Sleep(200 * time.Millisecond)
			after, heapAfter = measure()
		}
		t.Logf("HTTP/2 %v: %d rotations in %v: goroutines %d -> %d, heap %d -> %d KiB", http2, rounds, took.Round(time.Millisecond), goroutines, after, heap>>10, heapAfter>>10)
		if !near(float64(after), float64(goroutines)) {
			t.Errorf("%d goroutines before, %d after", goroutines, after)
		}
		if !near(float64(heapAfter), float64(heap)) {
			t.Errorf("heap of %d bytes before, %d after", heap, heapAfter)
		}
	}
}
