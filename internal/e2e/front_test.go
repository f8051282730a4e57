//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"kubevirt-shepherd.io/shepherd/internal/testbed"
)

// front stands before a control plane. It ends TLS with an authority of its
// own, hands requests on with the credential that they carry, counts them, and
// breaks what a proxy of bytes cannot: answers, watches, certificates. Between
// the portal and the front is a toxiproxy, for everything that happens to
// bytes.
type front struct {
	server *http.Server
	lines  *toxiproxy.Proxy
	target *url.URL

	mu      sync.Mutex
	pair    *tls.Certificate
	ca      []byte                                        // PEM
	refuse  func(*http.Request) (code int, reason string) // 0: nothing
	lose    func(*http.Request) bool                      // drop the answer of what was carried out
	silent  bool                                          // watches say nothing, and what they would have said is gone
	forgot  bool                                          // every place to go on from is too old
	lists   int                                           // pages of VMs, instances and nodes that were asked for
	watches int
	dials   int
}

func newFront(t *testing.T, plane *testbed.Cluster) *front {
	t.Helper()
	cred, err := plane.Credential()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cred.CA)
	f := &front{}
	if f.target, err = url.Parse(cred.Server); err != nil {
		t.Fatal(err)
	}
	f.rotate(t)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{
		FlushInterval:  -1,
		Transport:      transport,
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(f.target) },
		ModifyResponse: f.muffle,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	f.server = &http.Server{
		Handler: f.handler(proxy), ErrorLog: log.New(io.Discard, "", 0),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				f.mu.Lock()
				f.dials++
				f.mu.Unlock()
			}
		},
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.pair, nil
		}},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = f.server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = f.server.Close() })

	zerolog.SetGlobalLevel(zerolog.Disabled) // its toxics have a logger of their own
	f.lines = toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), t.Name(), "127.0.0.1:0", listener.Addr().String())
	f.plug(t)
	t.Cleanup(f.unplug)
	return f
}

// plug and unplug connect and cut the line; unplug closes what is open.
func (f *front) plug(t *testing.T) {
	t.Helper()
	if err := f.lines.Start(); err != nil {
		t.Fatal(err)
	}
}

func (f *front) unplug() { f.lines.Stop() }

// cut breaks all connections, once.
func (f *front) cut(t *testing.T) {
	t.Helper()
	f.unplug()
	f.plug(t)
}

// toxic adds one of toxiproxy's, in both directions when it is about time.
func (f *front) toxic(t *testing.T, kind, stream string, attributes map[string]any) (remove func()) {
	t.Helper()
	name := kind + "-" + stream
	text, err := json.Marshal(map[string]any{"name": name, "type": kind, "stream": stream, "toxicity": 1, "attributes": attributes})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.lines.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := f.lines.Toxics.RemoveToxic(context.WithoutCancel(t.Context()), name); err != nil {
			t.Error(err)
		}
	}
}

// rotate makes another authority, and a certificate of it.
func (f *front) rotate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "front"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pair = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	f.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// set changes what is broken.
func (f *front) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func watching(r *http.Request) bool {
	return slices.Contains([]string{"1", "true"}, r.URL.Query().Get("watch"))
}

func (f *front) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		refuse, lose, forgot := f.refuse, f.lose, f.forgot
		switch last := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]; {
		case watching(r):
			f.watches++
		case r.Method == http.MethodGet && slices.Contains([]string{"virtualmachines", "virtualmachineinstances", "nodes"}, last):
			f.lists++
		}
		f.mu.Unlock()
		status := func(code int, reason string) string {
			return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":%q,"reason":%q,"code":%d}`, http.StatusText(code), reason, code)
		}
		w.Header().Set("Content-Type", "application/json")
		if refuse != nil {
			if code, reason := refuse(r); code != 0 {
				w.WriteHeader(code)
				_, _ = io.WriteString(w, status(code, reason))
				return
			}
		}
		if forgot && watching(r) { // as the real one: the answer is good, its first event is not
			_, _ = io.WriteString(w, `{"type":"ERROR","object":`+status(http.StatusGone, "Expired")+"}\n")
			return
		}
		w.Header().Del("Content-Type")
		if lose != nil && lose(r) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

// muffle lets a watch fall silent while the front is, for good.
func (f *front) muffle(res *http.Response) error {
	if watching(res.Request) {
		res.Body = &muffled{ReadCloser: res.Body, f: f}
	}
	return nil
}

type muffled struct {
	io.ReadCloser
	f *front
}

func (m *muffled) Read(p []byte) (int, error) {
	for {
		n, err := m.ReadCloser.Read(p)
		m.f.mu.Lock()
		silent := m.f.silent
		m.f.mu.Unlock()
		if !silent || err != nil {
			return n, err
		}
		// What was read is lost. So is the rest: a line that lost something in
		// the middle says nothing any more.
		for buffer := make([]byte, 1<<10); ; {
			if _, err := m.ReadCloser.Read(buffer); err != nil {
				return 0, err
			}
		}
	}
}

// counts of what was asked for until now.
func (f *front) counts() (lists, watches, dials int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lists, f.watches, f.dials
}
