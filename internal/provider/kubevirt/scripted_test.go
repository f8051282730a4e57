package kubevirt

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

const testToken = "CANARY-token"

func pemOf(c *x509.Certificate) domain.Secret {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func serve(t *testing.T, h http.Handler) (*httptest.Server, domain.Credential) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are wanted
	srv.StartTLS()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv, domain.Credential{Server: srv.URL, CA: pemOf(srv.Certificate()), Token: domain.Secret(testToken)}
}

// scripted is a provider whose cluster "c1" is a function: for faults that a
// real control plane does not make on demand.
func scripted(t *testing.T, h http.HandlerFunc) *Provider {
	t.Helper()
	_, cred := serve(t, h)
	p, _ := testProvider(t, cred)
	return p
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func status(code int, reason metav1.StatusReason, message string) metav1.Status {
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason, Message: message,
	}
}

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
