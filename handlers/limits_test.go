package handlers_test

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/static"
)

// endless is a body of any length that counts what is taken of it.
type endless struct {
	left  int64
	taken atomic.Int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := min(int64(len(p)), e.left)
	if n == 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = 'a'
	}
	e.left -= n
	e.taken.Add(n)
	return int(n), nil
}

// TestBodyLimit sends a gibibyte, without saying how much it is, to a route of
// each class: the answer is 413 before much more than the limit is taken.
func TestBodyLimit(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	const form = "application/x-www-form-urlencoded"
	const onTheWay = 8 << 20 // buffers of both sockets
	for _, c := range []struct{ path, contentType string }{
		{"/namespaces", form}, {"/clusters/new", "multipart/form-data; boundary=x"}, {"/login", form}, {"/setup/none", form},
		{"/csp-reports", "application/reports+json"}, {"/requests/preview", form}, {"/systems", "multipart/form-data; boundary=x"},
	} {
		body := &endless{left: 1 << 30}
		text := io.Reader(body)
		if strings.HasPrefix(c.contentType, "multipart") {
			text = io.MultiReader(strings.NewReader("--x\r\nContent-Disposition: form-data; name=\"kubeconfig\"; filename=\"x\"\r\n\r\n"), body)
		}
		if c.contentType == "application/reports+json" {
			text = io.MultiReader(strings.NewReader(`[{"type":"`), body)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+c.path, text)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = admin.header.Clone()
		req.Header.Set("Content-Type", c.contentType)
		res, err := admin.client.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode != http.StatusRequestEntityTooLarge && (c.path != "/setup/none" || res.StatusCode != http.StatusNotFound) {
				t.Errorf("%s: got %d", c.path, res.StatusCode)
			}
		} else if !strings.Contains(err.Error(), "connection reset") && !strings.Contains(err.Error(), "broken pipe") {
			t.Errorf("%s: %v", c.path, err) // the server has hung up on us: as good as an answer
		}
		if n := body.taken.Load(); n > onTheWay {
			t.Errorf("%s took %d bytes", c.path, n)
		}
	}
	// The bounds by class, exactly.
	for _, c := range []struct {
		path string
		size int
	}{{"/namespaces", 1 << 20}, {"/login", 16 << 10}} {
		admin.do(http.MethodPost, c.path, form, strings.NewReader("x="+strings.Repeat("a", c.size-1))).is(http.StatusRequestEntityTooLarge)
		if got := admin.do(http.MethodPost, c.path, form, strings.NewReader("x="+strings.Repeat("a", c.size-2))); got.Status == http.StatusRequestEntityTooLarge {
			t.Errorf("%s refuses %d bytes", c.path, c.size)
		}
	}
}

// TestPackedBody: a body that is packed is not unpacked, so there is no bomb.
func TestPackedBody(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	for _, encoding := range []string{"gzip", "br", "deflate", "gzip, gzip", "zstd", "x\r"[:1]} {
		got := admin.with("Content-Encoding", encoding).post("/namespaces", "name", "x").is(http.StatusUnsupportedMediaType)
		got.wants("UNSUPPORTED_MEDIA_TYPE")
	}
	admin.with("Content-Encoding", "identity").post("/namespaces", "name", "Not A Name").is(http.StatusUnprocessableEntity)
	for _, kind := range []string{"text/plain", "application/json", "application/xml", "image/png", "text/html; charset=x"} {
		admin.do(http.MethodPost, "/systems", kind, strings.NewReader(`{"name":"x"}`)).is(http.StatusUnsupportedMediaType)
	}
}

// TestRateLimits: who comes too often waits, everybody else does not.
func TestRateLimits(t *testing.T) {
	now := time.Now()
	one := handlers.Rate{PerMinute: 60, Burst: 3}
	wide := handlers.Rate{PerMinute: 6000, Burst: 1000}
	p := newPortal(t, func(c *handlers.Config) {
		c.Clock = func() time.Time { return now }
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		c.Limits = handlers.Limits{
			Address: wide, Anonymous: handlers.Rate{PerMinute: 60, Burst: 6}, Person: wide,
			Change: one, SignIn: one, Upload: one, Preview: one, Search: one, Export: one, Report: one,
		}
	})
	admin, dev := p.admin(), p.as(p.person("dev"))
	from := func(b *browser, ip string) *browser { return b.with("X-Forwarded-For", ip) }
	nobody := from(p.anonymous(), "203.0.113.7")

	// By address, for who is not signed in; an IPv6 network is one caller.
	for range 6 {
		nobody.get("/login").is(http.StatusOK)
	}
	late := nobody.get("/login").is(http.StatusTooManyRequests).wants("too often", "TOO_MANY_REQUESTS", "1 s")
	if got := late.Header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After: %s", got)
	}
	if got := late.Header.Get("RateLimit-Policy") + " " + late.Header.Get("RateLimit"); got != `"anonymous";q=6;w=6 "anonymous";r=0;t=1` {
		t.Errorf("headers %s", got)
	}
	from(p.anonymous(), "203.0.113.8").get("/login").is(http.StatusOK)
	for i := range 6 {
		from(p.anonymous(), fmt.Sprintf("2001:db8:0:1::%x", i)).get("/login").is(http.StatusOK)
	}
	from(p.anonymous(), "2001:db8:0:1:ffff::1").get("/login").is(http.StatusTooManyRequests)
	from(p.anonymous(), "2001:db8:0:2::1").get("/login").is(http.StatusOK)
	now = now.Add(time.Second)
	nobody.get("/login").is(http.StatusOK)
	nobody.get("/login").is(http.StatusTooManyRequests)

	// Files and what machines ask are not counted.
	nobody.get(static.URL("app.css")).is(http.StatusOK)
	nobody.get("/healthz").is(http.StatusOK)

	// Each costly kind for itself, by account or by address.
	for _, c := range []struct {
		kind string
		ask  func(*browser) *page
	}{
		{"search", func(b *browser) *page { return b.get("/search?q=x") }},
		{"preview", func(b *browser) *page { return b.post("/requests/preview") }},
		{"upload", func(b *browser) *page { return b.upload(nil) }},
		{"export", func(b *browser) *page { return b.get("/audit/export?format=x") }},
		{"change", func(b *browser) *page { return b.post("/systems") }},
	} {
		for range 3 {
			if got := c.ask(admin); got.Status == http.StatusTooManyRequests {
				t.Fatalf("%s: too soon", c.kind)
			}
		}
		c.ask(admin).is(http.StatusTooManyRequests)
		if got := from(admin, "198.51.100.1"); c.ask(got).Status != http.StatusTooManyRequests {
			t.Errorf("%s: another address is another caller", c.kind)
		}
		if got := c.ask(dev); got.Status == http.StatusTooManyRequests {
			t.Errorf("%s: somebody else waits too", c.kind)
		}
		admin.get("/clusters").is(http.StatusOK)
	}
	if got := admin.with("Accept", "application/json").post("/systems").is(http.StatusTooManyRequests); !strings.Contains(got.Body, `"code":"TOO_MANY_REQUESTS"`) || got.Header.Get("Retry-After") == "" {
		t.Errorf("a program gets %s", got.Body)
	}
	if got := admin.part("x").post("/systems").is(http.StatusTooManyRequests); !got.has(".toast") {
		t.Errorf("a part gets %s", got.Body)
	}
	guesser := from(p.anonymous(), "203.0.113.99")
	for i := range 3 {
		guesser.post("/login", "username", fmt.Sprint("user", i), "password", "guess").is(http.StatusUnprocessableEntity)
	}
	guesser.post("/login", "username", "user9", "password", "guess").is(http.StatusTooManyRequests)
	guesser.get("/setup/none").is(http.StatusTooManyRequests)
	guesser.get("/login").is(http.StatusOK)

	metrics := p.scrape()
	for _, kind := range []string{"anonymous", "search", "sign-in"} {
		if !strings.Contains(metrics, fmt.Sprintf("shepherd_rate_limited_total{kind=%q}", kind)) {
			t.Errorf("no metric of %s", kind)
		}
	}
}

// Every route that has a rate of its own exists, and those that cost most have one.
func TestCostlyRoutes(t *testing.T) {
	p := newPortal(t)
	known := map[string]bool{}
	for _, r := range p.Routes() {
		known[r.Method+" "+r.Pattern] = true
	}
	costly, costs := handlers.Costly(), p.Costs()
	for route := range costly {
		if !known[route] {
			t.Errorf("%s is no route", route)
		}
	}
	for _, route := range []string{"POST /login", "POST /setup/{token}", "POST /clusters/new", "POST /requests/preview", "GET /search", "GET /audit/export",
		"POST /requests/{ticket}/evidence", "POST /api/v1/cluster-drafts", "GET /api/v1/search", "GET /api/v1/audit/export"} {
		if costs[route] == "" {
			t.Errorf("%s has no rate of its own", route)
		}
	}
}

func (p *portal) scrape() string {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "/metrics", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	w := &recorder{header: http.Header{}}
	p.AdminHandler().ServeHTTP(w, req)
	return w.String()
}

// TestReports: what browsers say about the content policy is counted by
// directive; the log has no query, no token and no control character of it.
func TestReports(t *testing.T) {
	now := time.Now()
	var log lockedText
	p := newPortal(t, func(c *handlers.Config) {
		c.Clock = func() time.Time { return now }
		c.Logger = log.logger()
		c.Limits.Report = handlers.Rate{PerMinute: 60, Burst: 40}
	})
	b := p.anonymous().with("Sec-Fetch-Site", "cross-site", "Origin", "null") // browsers send them with neither session nor origin
	send := func(kind, body string) *page {
		return b.do(http.MethodPost, "/csp-reports", kind, strings.NewReader(body))
	}
	const one = `{"type":"csp-violation","url":"x","body":{"documentURL":"https://vms.example/setup/SECRET-TOKEN?x=SECRET","blockedURL":"https://eve@evil.example/a.js?SECRET","effectiveDirective":"script-src-elem","sourceFile":"https://vms.example/systems/1#SECRET","lineNumber":7,"sample":"SECRET"}}`
	send("application/reports+json", "["+one+`,{"type":"deprecation","body":{}}]`).is(http.StatusNoContent)
	send("application/csp-report", `{"csp-report":{"document-uri":"https://vms.example/x\u202e\u001b[31m","blocked-uri":"inline","effective-directive":"style-src-attr"}}`).is(http.StatusNoContent)
	send("application/csp-report", `{"csp-report":{"blocked-uri":"data:text/html,SECRET","effective-directive":"what-ever\n"}}`).is(http.StatusNoContent)
	send("application/csp-report", `{}`).is(http.StatusNoContent)

	send("application/json", "{}").is(http.StatusUnsupportedMediaType)
	send("", "{}").is(http.StatusUnsupportedMediaType)
	send("application/csp-report", "nonsense").is(http.StatusUnprocessableEntity)
	send("application/reports+json", "["+strings.Repeat(one+",", 100)+one+"]").is(http.StatusRequestEntityTooLarge)
	b.get("/csp-reports").is(http.StatusMethodNotAllowed)

	metrics := p.scrape()
	for line, want := range map[string]bool{
		`shepherd_csp_violations_total{directive="script-src-elem"} 1`: true, `shepherd_csp_violations_total{directive="style-src-attr"} 1`: true,
		`shepherd_csp_violations_total{directive="other"} 2`: true, "what-ever": false,
	} {
		if strings.Contains(metrics, line) != want {
			t.Errorf("metrics: %s %v", line, !want)
		}
	}
	text := log.String()
	if strings.Contains(text, "SECRET") || strings.Contains(text, "eve@") || strings.ContainsAny(text, "\x1b\u202e") {
		t.Errorf("the log has\n%s", text)
	}
	for _, want := range []string{"content policy violated", "https://vms.example/setup/…", "https://evil.example/a.js", `"line":7`, `"blocked":"inline"`, `"blocked":"data"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the log\n%s", want, text)
		}
	}
	for range 40 { // 20 reports each are too many for the log, and then for the sender
		send("application/reports+json", "["+strings.Repeat(strings.ReplaceAll(one, "?x=SECRET", "")+",", 19)+one+"]")
	}
	send("application/reports+json", "[]").is(http.StatusTooManyRequests)
	if n := strings.Count(log.String(), "content policy violated"); n > 60 {
		t.Errorf("%d lines in the log", n)
	}
	if n := p.db.Ent.AuditLog.Query().CountX(t.Context()); n != 0 {
		t.Errorf("%d entries of strangers are stored", n)
	}
}

// TestTrustedProxies: the address that counts is that of the last hop which is
// no proxy of ours, whatever a caller writes into the header.
func TestTrustedProxies(t *testing.T) {
	ours := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name, header, want string
		trusted            []netip.Prefix
	}{
		{"nobody is trusted", "203.0.113.9", "127.0.0.1", nil},
		{"one hop", "203.0.113.9", "203.0.113.9", ours},
		{"the caller lies in front", "6.6.6.6, 203.0.113.9", "203.0.113.9", ours},
		{"two proxies", "6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9", ours},
		{"the caller claims to be a proxy", "10.9.9.9, 203.0.113.9", "203.0.113.9", ours},
		{"IPv6", "2001:db8::1, fd00::1", "2001:db8::1", ours},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPortal(t, func(h *handlers.Config) { h.TrustedProxies = c.trusted })
			b := p.anonymous().with("X-Forwarded-For", c.header, "X-Real-IP", "7.7.7.7", "True-Client-IP", "7.7.7.7", "Forwarded", "for=7.7.7.7")
			b.post("/login", "username", "nobody", "password", "wrong").is(http.StatusUnprocessableEntity)
			if got := p.db.Ent.AuditLog.Query().OnlyX(t.Context()).IPAddress; got != c.want {
				t.Errorf("the audit log has %s, want %s", got, c.want)
			}
		})
	}
	// What is no address is none: it does not reach the log, and counts for all.
	p := newPortal(t, func(h *handlers.Config) { h.TrustedProxies = ours })
	for _, bad := range []string{"<script>", "unknown", "203.0.113.9:8080", "", "\t", strings.Repeat("1", 5000)} {
		p.anonymous().with("X-Forwarded-For", bad).post("/login", "username", "nobody", "password", "wrong").is(http.StatusUnprocessableEntity)
	}
	for _, e := range p.db.Ent.AuditLog.Query().AllX(t.Context()) {
		if _, err := netip.ParseAddr(e.IPAddress); e.IPAddress != "" && err != nil {
			t.Errorf("the audit log has %q", e.IPAddress)
		}
	}
}
