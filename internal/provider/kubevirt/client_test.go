package kubevirt

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

var someVM = provider.Ref{Cluster: "c1", Namespace: "n", Name: "x"}

func vmJSON(pad int) string {
	return fmt.Sprintf(`{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachine","metadata":{"name":"x","namespace":"n","uid":"u","annotations":{"pad":%q}},"spec":{"template":{"spec":{}}}}`, strings.Repeat("x", pad))
}

// getOnly answers GETs of the VM and says that there is no instance.
func getOnly(body func(w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/virtualmachineinstances/") {
			answer(w, 404, status(404, "NotFound", "no"))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		body(w, r)
	}
}

func TestResponseLimits(t *testing.T) {
	tests := []struct {
		name string
		body func(http.ResponseWriter, *http.Request)
		call func(*Provider) error
		code string // "" = works
	}{
		{"an object of 1 MiB", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, vmJSON(1<<20)) }, nil, ""},
		{"an object of 3 MiB", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, vmJSON(3<<20)) }, nil, apperr.ErrClusterDegraded},
		{"an object without end", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"a":"`)
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
					return
				}
			}
		}, nil, apperr.ErrClusterDegraded},
		{"headers of 100 KiB", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 100 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1024))
			}
			fmt.Fprint(w, vmJSON(0))
		}, nil, apperr.ErrClusterUnreachable},
		{"gzip that nobody asked for", func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				t.Error("compression is asked for")
			}
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprint(z, vmJSON(0))
			z.Close()
		}, nil, apperr.ErrNotKubernetes},
		{"a page of 10 MiB", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineList","metadata":{},"items":[%s]}`, strings.Repeat(vmJSON(1<<20)+",", 9)+vmJSON(1<<20))
		}, func(p *Provider) error {
			_, err := p.ListVMs(t.Context(), "c1", provider.ListOptions{})
			return err
		}, ""},
		{"not JSON", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>login</html>") }, nil, apperr.ErrNotKubernetes},
		{"another kind", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"apiVersion":"v1","kind":"Secret"}`) }, nil, apperr.ErrNotKubernetes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := scripted(t, getOnly(tt.body))
			call := tt.call
			if call == nil {
				call = func(p *Provider) error {
					_, err := p.GetVM(t.Context(), someVM)
					return err
				}
			}
			if err := call(p); tt.code == "" && err != nil || tt.code != "" && apperr.CodeOf(err) != tt.code {
				t.Errorf("got %v, want %q", err, tt.code)
			}
		})
	}
}

// TestDoesNotRepeatItself: client-go would ask up to eleven times, sleeping.
func TestDoesNotRepeatItself(t *testing.T) {
	for _, code := range []int{429, 500, 503} {
		asked := atomic.Int32{}
		p := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("Retry-After", "1")
			answer(w, code, status(code, "", "slow down"))
		})
		_, err := p.GetVM(t.Context(), someVM)
		wantCode(t, http.StatusText(code), err, apperr.ErrClusterDegraded)
		if n := asked.Load(); n != 1 {
			t.Errorf("%d: asked %d times", code, n)
		}
	}
}

// TestRotation: a new credential is used at once, and the old client is closed.
func TestRotation(t *testing.T) {
	var last atomic.Value
	_, cred := serve(t, getOnly(func(w http.ResponseWriter, r *http.Request) {
		last.Store(r.Header.Get("Authorization"))
		fmt.Fprint(w, vmJSON(0))
	}))
	p, st := testProvider(t, cred)
	use := func(token string) {
		t.Helper()
		c := cred
		c.Token = domain.Secret(token)
		st.set("c1", c)
		if _, err := p.GetVM(t.Context(), someVM); err != nil {
			t.Fatal(err)
		}
		if got := last.Load(); got != "Bearer "+token {
			t.Fatalf("signed in with %v, want the token %s", got, token)
		}
	}
	use("a")
	first, err := p.clients.get(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := p.clients.get(t.Context(), "c1"); again != first {
		t.Error("the same credential makes a new client")
	}
	use("b")
	if first.live.Err() == nil {
		t.Error("the old client lives on")
	}
	p.Forget("c1")
	if len(p.clients.byCluster) != 0 {
		t.Error("Forget keeps a client")
	}
	st.mu.Lock()
	delete(st.credentials, "c1")
	st.mu.Unlock()
	_, err = p.GetVM(t.Context(), someVM)
	wantCode(t, "a cluster that was removed", err, apperr.ErrNotFound)
}

func TestRESTConfig(t *testing.T) {
	ok := domain.Credential{Server: "https://k8s.example.org:6443/k8s/clusters/c-1", Token: domain.Secret("t")}
	cfg, err := restConfig(ok)
	if err != nil || cfg.Host != ok.Server || cfg.BearerToken != "t" || cfg.Insecure {
		t.Fatalf("%v, %v", cfg, err)
	}
	for code, change := range map[string]func(*domain.Credential){
		apperr.ErrKubeconfigHTTPS:        func(c *domain.Credential) { c.Server = "http://k8s.example.org" },
		apperr.ErrKubeconfigServer:       func(c *domain.Credential) { c.Server = "https://user:pw@k8s.example.org" },
		apperr.ErrKubeconfigNoCredential: func(c *domain.Credential) { c.Token = nil; c.ClientCert = domain.Secret("c") },
	} {
		bad := ok
		change(&bad)
		_, err := restConfig(bad)
		wantCode(t, bad.Server, err, code)
	}
	bad := ok
	bad.CA = domain.Secret("CANARY")
	st := newStore()
	st.set("c1", bad)
	p := New(NewKubeconfigProvider(st), Options{AllowCIDRs: loopback})
	_, err = p.GetVM(t.Context(), someVM)
	wantCode(t, "a CA that is none", err, apperr.ErrClusterTLS)
	if strings.Contains(err.Error(), "CANARY") {
		t.Errorf("the error quotes the credential: %v", err)
	}
}

func TestFramed(t *testing.T) {
	read := func(body string) error {
		rec := httptest.NewRecorder()
		rec.Body.WriteString(body)
		f := &framed{ReadCloser: rec.Result().Body}
		buf := make([]byte, 4096)
		for {
			if _, err := f.Read(buf); err != nil {
				return err
			}
		}
	}
	frame := strings.Repeat("x", maxFrame-1) + "\n"
	if err := read(frame + frame + frame); err.Error() != "EOF" {
		t.Errorf("three frames: %v", err)
	}
	if err := read(frame + strings.Repeat("x", maxFrame+1)); err != errResponseTooLarge {
		t.Errorf("a frame too large: %v", err)
	}
}
