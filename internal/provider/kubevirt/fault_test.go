//go:build e2e

package kubevirt

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// fault stands between a provider and the test bed and breaks things. before
// may answer itself (true); after sees a request that the cluster has carried
// out, and may drop the answer (true).
type fault struct {
	mu            sync.Mutex
	before, after func(http.ResponseWriter, *http.Request) bool
	server        *httptest.Server
}

func (f *fault) set(before, after func(http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

func abort(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// faulty gives a provider for the test bed behind a fault.
func faulty(t *testing.T) (*Provider, *store, *fault) {
	t.Helper()
	cred := admin(t)
	pair, err := tls.X509KeyPair(cred.ClientCert, cred.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cred.CA)
	target, err := url.Parse(cred.Server)
	if err != nil {
		t.Fatal(err)
	}
	f := &fault{}
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Transport:     transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Authorization")
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	srv, mine := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		before, after := f.before, f.after
		f.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		if after != nil {
			rec := httptest.NewRecorder()
			proxy.ServeHTTP(rec, r)
			if after(w, r) {
				return
			}
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	f.server = srv
	p, st := testProvider(t, mine)
	return p, st, f
}
