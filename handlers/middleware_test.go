package handlers_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/static"
)

// sample is the address of a route with something in place of its parameters.
func sample(pattern string) string {
	return strings.NewReplacer("{ticket}", "999999", "{token}", "none", "{", "", "}", "").Replace(pattern)
}

func TestHeadersOnEveryAnswer(t *testing.T) {
	p := newPortal(t, func(c *handlers.Config) { c.Secure = true })
	admin, stranger := p.admin(), p.anonymous()
	large := strings.Repeat("a", 2<<20)
	answers := []*page{
		admin.get("/nowhere"), stranger.get("/nowhere"), stranger.get(static.URL("app.css")), stranger.get("/static/none.css"),
		stranger.get("/healthz"), stranger.get("/readyz"), admin.do(http.MethodDelete, "/clusters", "", nil),
		admin.with("Sec-Fetch-Site", "cross-site").post("/namespaces"), // 403
		admin.post("/namespaces", "name", large),                       // 413
		admin.with("Content-Encoding", "gzip").post("/namespaces"),     // 415
		admin.do(http.MethodTrace, "/namespaces", "", nil),             // 405
		admin.follow(admin.upload(goodKubeconfig())),
		admin.part("clusters-list").get("/clusters"), admin.with("Accept", "application/json").get("/nowhere"),
		admin.do(http.MethodHead, "/clusters", "", nil),
		p.broken(admin),                                                               // 500
		stranger.part("x").get("/clusters"), stranger.post("/theme", "theme", "dark"), // 401, a cookie
		stranger.post("/namespaces", "name", "kept"), // a draft in a cookie
		admin.get("/audit/export?format=csv"),
	}
	for _, r := range p.Routes() {
		if r.Pattern == "/events" || r.Pattern == "/logout" || r.Pattern == "/logout/everywhere" {
			continue
		}
		answers = append(answers, admin.do(r.Method, sample(r.Pattern), "", nil), stranger.do(r.Method, sample(r.Pattern), "", nil))
	}
	answers = append(answers, p.eventsHead(admin), stranger.post("/logout"), admin.post("/logout"))
	seen := map[int]bool{}
	for _, a := range answers {
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
				"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; report-uri /csp-reports; report-to csp",
			"Reporting-Endpoints": `csp="/csp-reports"`, "Cross-Origin-Embedder-Policy": "require-corp", "Origin-Agent-Cluster": "?1",
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin", "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", a.what, name, got)
			}
		}
		if a.Header.Get("X-Request-Id") == "" || a.Header.Get("Permissions-Policy") == "" {
			t.Errorf("%s: %v", a.what, a.Header)
		}
		if a.Status == http.StatusInternalServerError && !strings.HasSuffix(a.what, "/check") {
			t.Errorf("%s: %s", a.what, a.main())
		}
		seen[a.Status] = true
		if a.Body != "" && a.Header.Get("Content-Type") == "" {
			t.Errorf("%s does not say what it is", a.what)
		}
		for _, foreign := range []string{"Access-Control-Allow-Origin", "Server", "X-Powered-By"} {
			if a.Header.Get(foreign) != "" {
				t.Errorf("%s has %s", a.what, foreign)
			}
		}
		for _, text := range a.Header.Values("Set-Cookie") {
			c, err := http.ParseSetCookie(text)
			if c != nil && c.Name == "sid" { // a test has no TLS, and the jar no secure cookies
				c.Secure, c.Name = true, "__Host-sid"
			}
			if err != nil || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || len(text) > 4096 || !strings.HasPrefix(c.Name, "__Host-") {
				t.Errorf("%s sets the cookie %s (%v)", a.what, text, err)
			}
		}
		isFile := strings.HasPrefix(a.what, "GET /static/app.")
		if cached := a.Header.Get("Cache-Control") == "public, max-age=31536000, immutable"; cached != isFile {
			t.Errorf("%s: Cache-Control %q", a.what, a.Header.Get("Cache-Control"))
		}
		for _, never := range []string{"style=", "onclick=", "hx-on", "javascript:"} {
			if strings.Contains(a.Body, never) && !isFile {
				t.Errorf("%s has %s", a.what, never)
			}
		}
	}
	for _, status := range []int{200, 303, 401, 403, 404, 405, 413, 415, 422, 500} {
		if !seen[status] {
			t.Errorf("no answer was %d", status)
		}
	}
}

// The cookie of a session belongs to TLS and to this very host.
func TestSessionCookie(t *testing.T) {
	c := handlers.NewSessions(nil, true).Cookie
	if c.Name != "__Host-sid" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("%+v", c)
	}
}

// broken is the answer to a request whose handler panics.
func (p *portal) broken(admin *browser) *page {
	p.t.Helper()
	p.play.preflight = func(context.Context, domain.Credential) domain.Preflight { panic("a mistake of ours") }
	draft := admin.follow(admin.upload(goodKubeconfig()))
	at := draft.attr("form[method=post] [name=context]", "value")
	return admin.post(draft.attr("main form", "action")+"/check", "context", at, "name", "east", "environment", "test", "place", "").is(http.StatusInternalServerError)
}

// eventsHead is the beginning of a stream.
func (p *portal) eventsHead(b *browser) *page {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.url+"/events?t=tree", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := b.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = res.Body.Close()
	return &page{t: p.t, what: "GET /events", Status: res.StatusCode, Header: res.Header}
}

// idless removes the parts of paths that name no object of anybody: who reads
// guides reads all of them, and a one-time token is a right itself.
var idless = strings.NewReplacer("{guide}", "", "{name}", "", "{token}", "")

func TestEveryRouteHasARule(t *testing.T) {
	p := newPortal(t)
	seen := map[string]bool{}
	for _, r := range p.Routes() {
		if !r.Action.Known() {
			t.Errorf("%s %s: no rule says who may do %q", r.Method, r.Pattern, r.Action)
		}
		named := strings.Contains(idless.Replace(r.Pattern), "{")
		if named && !r.Loads {
			t.Errorf("%s %s names something that is not read before the rule is asked", r.Method, r.Pattern)
		}
		if !named && r.Loads {
			t.Errorf("%s %s names nothing that could be read", r.Method, r.Pattern)
		}
		if r.Loads && !r.Action.Wide() && r.Action.Shows() == "" {
			t.Errorf("%s %s: nothing keeps secret that there is such an object", r.Method, r.Pattern)
		}
		if key := r.Method + r.Pattern; seen[key] {
			t.Errorf("%s %s is there twice", r.Method, r.Pattern)
		} else {
			seen[key] = true
		}
	}
}

// The rule of the standard library, through our middleware (reference A1.6).
func TestCrossOrigin(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	for _, c := range []struct {
		site, origin string
		refused      bool
	}{
		{"same-origin", "", false}, {"none", "", false}, {"cross-site", "", true}, {"same-site", "", true},
		{"", "", false}, {"", "null", true}, {"", "https://evil.example", true}, {"", p.url, false},
	} {
		b := admin.with("Sec-Fetch-Site", c.site, "Origin", c.origin)
		got := b.post("/namespaces", "name", "Not A Name")
		if refused := got.Status == http.StatusForbidden; refused != c.refused {
			t.Errorf("%+v: got %d", c, got.Status)
		}
		if c.refused {
			got.wants("This request came from another site", "CROSS_ORIGIN")
		}
		if got := b.get("/namespaces"); got.Status != http.StatusOK {
			t.Errorf("%+v: reading gets %d", c, got.Status)
		}
	}
}

func TestAnonymous(t *testing.T) {
	p := newPortal(t)
	b := p.anonymous()
	if got := b.get("/clusters?after=x").is(http.StatusSeeOther); got.Location != "/login?next=%2Fclusters%3Fafter%3Dx" {
		t.Errorf("leads to %s", got.Location)
	}
	got := b.part("clusters-list").with("HX-Current-URL", p.url+"/clusters").get("/clusters").is(http.StatusUnauthorized)
	if to := got.Header.Get("HX-Redirect"); to != "/login?next=%2Fclusters" || got.Body != "" {
		t.Errorf("HTMX is led to %q with %q", to, got.Body)
	}
	got = b.with("Accept", "application/json").get("/clusters").is(http.StatusUnauthorized)
	if !strings.Contains(got.Body, `"code":"SIGNED_OUT"`) {
		t.Errorf("a program gets %s", got.Body)
	}
	for _, r := range p.Routes() {
		if r.Action == domain.Open {
			continue
		}
		if got := b.do(r.Method, sample(r.Pattern), "", nil); got.Status != http.StatusSeeOther || !strings.HasPrefix(got.Location, "/login?next=") {
			t.Errorf("%s: got %d to %s", got.what, got.Status, got.Location)
		}
	}
}

// Missing and foreign look the same, also to a program.
func TestNotFound(t *testing.T) {
	p := newPortal(t)
	dev := p.as(p.person("dev"))
	dev.get("/nowhere").is(http.StatusNotFound).wants("This page does not exist", "Open explorer")
	dev.get("/clusters/0190a3c0-0000-7000-8000-000000000000").is(http.StatusNotFound)
	dev.get("/clusters").is(http.StatusNotFound)
	if got := dev.with("Accept", "application/json").get("/nowhere").is(http.StatusNotFound); !strings.Contains(got.Body, `"code":"NOT_FOUND"`) {
		t.Errorf("a program gets %s", got.Body)
	}
	if got := dev.part("x").get("/nowhere").is(http.StatusNotFound); !got.has(".toast") || got.has("main") {
		t.Errorf("a part gets %s", got.Body)
	}
	if got := dev.do(http.MethodDelete, "/namespaces", "", nil).is(http.StatusMethodNotAllowed); strings.Join(got.Header.Values("Allow"), " ") != "GET HEAD POST" {
		t.Errorf("Allow: %v", got.Header.Values("Allow"))
	}
}

func upload(t *testing.T, name string, file []byte, fields ...string) (contentType string, body io.Reader) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile("kubeconfig", name)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(file)
	for i := 0; i < len(fields); i += 2 {
		_ = w.WriteField(fields[i], fields[i+1])
	}
	_ = w.Close()
	return w.FormDataContentType(), &b
}

func TestClientIP(t *testing.T) {
	p := newPortal(t, func(c *handlers.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	p.admin().with("X-Forwarded-For", "6.6.6.6, 203.0.113.9").get("/clusters").is(http.StatusOK)
	// Nobody behind the proxy can choose the address: the last hop counts. That
	// it arrives in the audit log is the account test's.
}

func TestNotReady(t *testing.T) {
	p := newPortal(t)
	p.anonymous().get("/readyz").is(http.StatusOK)
	p.db.Pool.Close()
	p.anonymous().get("/readyz").is(http.StatusServiceUnavailable)
	p.anonymous().get("/healthz").is(http.StatusOK)
}

func TestMetrics(t *testing.T) {
	p := newPortal(t)
	p.admin().get("/clusters").is(http.StatusOK)
	p.anonymous().do("BREW", "/clusters", "", nil)
	req, _ := http.NewRequest(http.MethodGet, "/metrics", nil)
	w := &recorder{header: http.Header{}}
	p.AdminHandler().ServeHTTP(w, req)
	for _, want := range []string{
		`shepherd_http_request_duration_seconds_count{method="GET",route="/clusters",status="200"} 1`, `method="other"`,
		`shepherd_build_info{version="test"} 1`, "shepherd_event_streams 0",
	} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("no %s in metrics", want)
		}
	}
	p.anonymous().get("/metrics").is(http.StatusNotFound)
	p.anonymous().get("/debug/pprof/").is(http.StatusNotFound)
}

type recorder struct {
	bytes.Buffer
	header http.Header
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(int)     {}

// stream opens a stream of events and gives its lines.
func (b *browser) stream(path string) (lines <-chan string, status int, done func()) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header = b.header.Clone()
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	ch := make(chan string, 100)
	go func() {
		defer close(ch)
		for in := bufio.NewScanner(res.Body); in.Scan(); {
			ch <- in.Text()
		}
	}()
	return ch, res.StatusCode, func() { _ = res.Body.Close() }
}

func waitFor(t *testing.T, lines <-chan string, want string) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		select {
		case line, open := <-lines:
			if !open {
				t.Fatalf("the stream ended before %q", want)
			}
			if line == want {
				return
			}
		case <-deadline:
			t.Fatalf("no %q", want)
		}
	}
}

func waitForEnd(t *testing.T, lines <-chan string, within time.Duration) {
	t.Helper()
	deadline := time.After(within)
	for {
		select {
		case _, open := <-lines:
			if !open {
				return
			}
		case <-deadline:
			t.Fatal("the stream goes on")
		}
	}
}

func (p *portal) announce(topics ...string) {
	p.t.Helper()
	if err := p.db.InTx(p.t.Context(), func(tx *ent.Tx) error { return database.Notify(p.t.Context(), tx, topics...) }); err != nil {
		p.t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	lines, status, done := admin.stream("/events?t=clusters&t=tree")
	defer done()
	if status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	waitFor(t, lines, "") // after retry
	p.announce("approvals", "clusters")
	waitFor(t, lines, "event: clusters")
	waitFor(t, lines, "data:")
	p.announce("tree")
	waitFor(t, lines, "event: tree")

	p.hub.Close() // the portal stops
	waitForEnd(t, lines, time.Second)
}

func TestEventsAreRefused(t *testing.T) {
	p := newPortal(t)
	dev := p.as(p.person("dev"))
	for _, query := range []string{"t=clusters", "t=approvals", "t=vm-0190a3c0-0000-7000-8000-000000000000", "t=vm-x", "t=secrets", "t=tree&t=clusters", "t=tree-1", "t="} {
		dev.get("/events?" + query).is(http.StatusNotFound)
	}
	dev.get("/events").is(http.StatusUnprocessableEntity)
	dev.get("/events?" + strings.Repeat("t=tree&", 21)).is(http.StatusUnprocessableEntity)
	p.anonymous().get("/events?t=tree").is(http.StatusSeeOther)
	for range 6 {
		_, status, done := dev.stream("/events?t=tree")
		defer done()
		if status != http.StatusOK {
			t.Fatalf("got %d", status)
		}
	}
	dev.get("/events?t=tree").is(http.StatusTooManyRequests)
}

func TestIdleSession(t *testing.T) {
	now := time.Now()
	p := newPortal(t, func(c *handlers.Config) { c.Clock = func() time.Time { return now } })
	admin := p.admin()
	admin.get("/clusters").is(http.StatusOK)
	// A part that refreshes itself is no use of the session; a page is.
	now = now.Add(2 * time.Minute)
	if got := admin.part("clusters-list").with("HX-Trigger", "clusters-list").get("/clusters").is(http.StatusOK); got.Header.Get("Set-Cookie") != "" {
		t.Error("a live part keeps the session alive")
	}
	if got := admin.get("/clusters").is(http.StatusOK); got.Header.Get("Set-Cookie") == "" {
		t.Error("a page does not keep the session alive")
	}
	if got := admin.get("/clusters").is(http.StatusOK); got.Header.Get("Set-Cookie") != "" {
		t.Error("every page writes the session")
	}
}

// A fragment is exactly the part of the page.
func TestFragments(t *testing.T) {
	p := newPortal(t, func(c *handlers.Config) {
		at := time.Now()
		c.Clock = func() time.Time { return at }
	})
	admin := p.admin()
	for path, ids := range map[string][]string{"/clusters": {"clusters-list", "bell", "nav-approvals"}} {
		whole := admin.get(path).is(http.StatusOK)
		for _, id := range ids {
			part := admin.part(id).get(path).is(http.StatusOK)
			if part.has("main") || part.html("#"+id) == "" || part.html("#"+id) != whole.html("#"+id) {
				t.Errorf("%s#%s: part %s\nwhole %s", path, id, part.Body, whole.html("#"+id))
			}
		}
		if got := admin.part("nothing-of-ours").get(path).is(http.StatusOK); !got.has("main") {
			t.Errorf("%s: an unknown part is not the page", path)
		}
		if got := admin.part("clusters-list").with("HX-History-Restore-Request", "true").get(path); !got.has("main") {
			t.Errorf("%s: history gets a part", path)
		}
		if got := whole.Header.Values("Vary"); !strings.Contains(strings.Join(got, ","), "HX-Request") {
			t.Errorf("Vary: %v", got)
		}
	}
}
