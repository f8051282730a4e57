package app

import (
	"bufio"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// served is our server with its time limits shortened, and what it says in the
// head of an answer.
func served(t *testing.T, h http.Handler, faster time.Duration) string {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.Config = listening(h, slog.New(slog.DiscardHandler))
	for _, limit := range []*time.Duration{&s.Config.ReadHeaderTimeout, &s.Config.ReadTimeout, &s.Config.WriteTimeout, &s.Config.IdleTimeout} {
		if *limit == 0 {
			t.Fatal("a time limit is missing")
		}
		*limit /= faster
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestSlowSenders: who sends a byte now and then is cut off, also five hundred
// of them at once, and everybody else is served meanwhile.
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	const faster = 20 // 250 ms for the head, 1.5 s for all
	addr := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			w.WriteHeader(http.StatusRequestTimeout)
		}
	}), faster)
	var slow sync.WaitGroup
	for i := range 500 {
		begin := "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "
		if i%2 == 1 {
			begin = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
		}
		c := dial(t, addr)
		slow.Go(func() {
			_, _ = io.WriteString(c, begin)
			for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
				if _, err := c.Write([]byte("a")); err != nil {
					return
				}
				if time.Since(start) > 20*time.Second {
					t.Error("a slow sender is never cut off")
					return
				}
			}
		})
	}
	for range 20 {
		start := time.Now()
		res, err := http.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("somebody else waits %v", took)
		}
	}
	slow.Wait()
}

// TestRequestHeads: heads that are too large, or that could be read in two
// ways, are refused.
func TestRequestHeads(t *testing.T) {
	t.Parallel()
	addr := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}), 1)
	for name, c := range map[string]struct{ text, want string }{
		"large header":       {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 80<<10) + "\r\n\r\n", "431"},
		"large address":      {"GET /" + strings.Repeat("a", 80<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", "431"},
		"two lengths":        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"},
		"two hosts":          {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400"},
		"no host":            {"GET / HTTP/1.1\r\n\r\n", "400"},
		"unknown coding":     {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "501"},
		"coding, twice":      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "501"},
		"space before colon": {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", "400"},
		"negative length":    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "400"},
		"null in header":     {"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", "400"},
	} {
		conn := dial(t, addr)
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		go func() { _, _ = io.WriteString(conn, c.text) }()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		if !strings.HasPrefix(line, "HTTP/1.1 "+c.want) {
			t.Errorf("%s: %q, want %s", name, line, c.want)
		}
	}
	// A length beside chunks does not count (RFC 9112, section 6.3).
	conn := dial(t, addr)
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, _ := io.ReadAll(res.Body); string(body) != "abc" {
		t.Errorf("chunks with a length: %q", body)
	}
}

func TestRateLimitSetting(t *testing.T) {
	for text, want := range map[string]float64{"": 1, "2.5": 2.5, "off": 0, "-1": -1, "NaN": -1, "many": -1, "0": -1} {
		c, err := FromEnvironment(func(name string) string {
			return map[string]string{"SHEPHERD_RATE_LIMITS": text}[name]
		})
		if bad := err != nil; bad != (want < 0) || !bad && c.RateLimits != want {
			t.Errorf("%q: %v, %v", text, c.RateLimits, err)
		}
	}
}

// TestTLSVersions: TLS 1.2 and 1.3, with suites that keep what was said secret
// when the key is lost later.
func TestTLSVersions(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(nil)
	s.Config = listening(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	s.TLS = s.Config.TLSConfig
	s.StartTLS()
	t.Cleanup(s.Close)
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		if ok := err == nil; ok != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err != nil {
			continue
		}
		if name := tls.CipherSuiteName(c.ConnectionState().CipherSuite); version == tls.VersionTLS12 && !strings.HasPrefix(name, "TLS_ECDHE_") {
			t.Errorf("%s with %s", tls.VersionName(version), name)
		}
		_ = c.Close()
	}
	weak := []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	if _, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: weak}); err == nil {
		t.Error("a weak suite is taken")
	}
}
