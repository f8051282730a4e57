//go:build e2e

package app_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/testbed"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/token"
)

// canary is a planted secret. It may be nowhere but where it is meant to be.
type canary struct{ name, text string }

// canaries are the planted secrets by name.
type canaries struct {
	t   *testing.T
	all []canary
}

func (c *canaries) add(name, text string) string {
	c.all = append(c.all, canary{name, text})
	return text
}

// plant makes a secret that no other text resembles.
func (c *canaries) plant(name string) string {
	return c.add(name, "cnry"+strings.ToLower(rand.Text()[:20]))
}

// forms are the ways in which a secret could be written: as it is, encoded,
// escaped, turned around.
func (c canary) forms() []string {
	raw := []byte(c.text)
	all := []string{c.text, hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), url.QueryEscape(c.text), url.PathEscape(c.text)}
	reversed := slices.Clone(raw)
	slices.Reverse(reversed)
	all = append(all, string(reversed))
	quoted, _ := json.Marshal(c.text)
	all = append(all, strings.Trim(string(quoted), `"`))
	// Base64 depends on what stands before: the part in the middle that all
	// three positions have in common with the secret.
	for shift := range 3 {
		padded := append(bytes.Repeat([]byte{0}, shift), raw...)
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			text := enc.EncodeToString(padded)
			all = append(all, text[4:len(text)-4])
		}
	}
	return all
}

// text of one place, to be searched.
type place struct{ name, text string }

func (c *canaries) search(places []place) {
	c.t.Helper()
	for _, p := range places {
		for _, secret := range c.all {
			for _, form := range secret.forms() {
				if i := strings.Index(p.text, form); i >= 0 {
					c.t.Errorf("%s is in %s: …%q…", secret.name, p.name, p.text[max(0, i-120):min(len(p.text), i+len(form)+60)])
					break
				}
			}
		}
	}
}

// book keeps what was said, from many goroutines.
type book struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// caller is a browser that keeps all pages it is given.
type caller struct {
	t      *testing.T
	base   string
	client *http.Client
	header http.Header
	pages  *[]place
}

func newCaller(t *testing.T, base string, pages *[]place) *caller {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &caller{t, base, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, http.Header{}, pages}
}

type answer struct {
	status           int
	location, body   string
	header           http.Header
	method, askedFor string
}

// do sends a request. What comes back is searched later, unless the form holds
// a secret that was just typed into it.
func (c *caller) do(method, path, contentType string, body io.Reader, echo bool) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = c.header.Clone()
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{res.StatusCode, res.Header.Get("Location"), string(text), res.Header.Clone(), method, path}
	if !echo {
		head := res.Header.Clone()
		head.Del("Set-Cookie")
		*c.pages = append(*c.pages, place{"the answer to " + method + " " + path, fmt.Sprint(head) + a.body})
	}
	return a
}

func (c *caller) get(path string) answer {
	c.t.Helper()
	return c.do(http.MethodGet, path, "", nil, false)
}

func (c *caller) send(path string, echo bool, fields ...string) answer {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return c.do(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()), echo)
}

func (c *caller) post(path string, fields ...string) answer {
	c.t.Helper()
	return c.send(path, false, fields...)
}

func (c *caller) upload(file []byte) answer { c.t.Helper(); return c.uploadTo("/clusters/new", file) }

func (c *caller) uploadTo(path string, file []byte) answer {
	c.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile("kubeconfig", "east.kubeconfig")
	if err != nil {
		c.t.Fatal(err)
	}
	_, _ = part.Write(file)
	_ = w.Close()
	return c.do(http.MethodPost, path, w.FormDataContentType(), &b, false)
}

func (a answer) is(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		_, main, _ := strings.Cut(a.body, "<main")
		t.Fatalf("%s %s: got %d, want %d\n%.3000s", a.method, a.askedFor, a.status, status, regexp.MustCompile(`<[^>]*>|\s+`).ReplaceAllString(main, " "))
	}
	return a
}

// value is the value of an input on a page.
func (a answer) value(name string) string {
	for _, tag := range regexp.MustCompile(`<input[^>]*>`).FindAllString(a.body, -1) {
		if strings.Contains(tag, ` name="`+name+`"`) {
			if m := regexp.MustCompile(` value="([^"]*)"`).FindStringSubmatch(tag); m != nil {
				return m[1]
			}
		}
	}
	return ""
}

// gossip is a server before the testbed that knows one token, and that repeats
// in its errors all that it was sent, when it is told to.
type gossip struct {
	*httptest.Server
	talks atomic.Bool
	said  atomic.Int64
	admin *http.Transport
	to    *url.URL
}

func newGossip(t *testing.T, tb *testbed.Cluster, token string) *gossip {
	t.Helper()
	cred, err := tb.Credential()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cred.ClientCert, cred.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cred.CA)
	to, err := url.Parse(cred.Server)
	if err != nil {
		t.Fatal(err)
	}
	g := &gossip{admin: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}, to: to}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Header.Del("Authorization") },
		Transport:     g.admin,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth := r.Header.Get("Authorization")
		watch := r.URL.Query().Get("watch") != ""
		if !g.talks.Load() && auth == "Bearer "+token || watch {
			proxy.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		var decoded struct{ Data map[string][]byte }
		_ = json.Unmarshal(body, &decoded)
		status, reason := http.StatusInternalServerError, "InternalError"
		switch {
		case auth != "Bearer "+token:
			status, reason = http.StatusUnauthorized, "Unauthorized"
		case r.Method == http.MethodPost || r.Method == http.MethodPatch:
			status, reason = http.StatusForbidden, "Forbidden"
		}
		message := fmt.Sprintf(`admission webhook "x" denied the request: exceeded quota: header %q, token in base64 %s, body %s, body in base64 %s, its data %q`, auth,
			base64.StdEncoding.EncodeToString([]byte(auth)), body, base64.StdEncoding.EncodeToString(body), decoded.Data)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Warning", `299 - "`+base64.StdEncoding.EncodeToString([]byte(auth))+`"`)
		w.WriteHeader(status)
		g.said.Add(1)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": status})
	}))
	g.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	g.StartTLS()
	t.Cleanup(func() { g.CloseClientConnections(); g.Close() })
	return g
}

// ask reads or writes the cluster as its administrator.
func (g *gossip) ask(t *testing.T, method, path, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.to.String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Client{Transport: g.admin}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, path, text)
	}
	return string(text)
}

// clumsy panics with the credential in its hand, when it is told to, or takes
// every cluster for another one.
type clumsy struct {
	provider.Prober
	panics, mistakes atomic.Bool
}

func (p *clumsy) Preflight(ctx context.Context, c domain.Credential) domain.Preflight {
	if p.panics.Load() {
		panic(fmt.Errorf("cannot go on with %v, %+v, %#v", c, c.Token, &c))
	}
	if p.mistakes.Load() {
		return domain.Preflight{Health: domain.ClusterHealth{IdentityUID: "another"}, Checks: []domain.Check{{ID: "reachable", State: domain.CheckOK}}}
	}
	return p.Prober.Preflight(ctx, c)
}

// TestCanaries plants secrets of every kind into a running portal, lets people
// do all there is to do with it, makes calls fail with clusters that repeat what
// they were sent, and then looks for the secrets everywhere.
func TestCanaries(t *testing.T) {
	bin := os.Getenv("SHEPHERD_TESTBED")
	if bin == "" {
		t.Fatal("SHEPHERD_TESTBED names no directory with the testbed's binaries: run `make test`")
	}
	ctx := t.Context()
	tb, err := testbed.Start(ctx, testbed.Options{Dir: bin, State: filepath.Join(t.TempDir(), "east"), Name: "east", Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tb.Stop)

	c := &canaries{t: t}
	var log book
	var pages []place

	// Of the installation.
	kek := crypto.Generate()
	c.add("the key encryption key", strings.SplitN(kek, ":", 2)[1])
	keys, err := crypto.Load("", kek)
	if err != nil {
		t.Fatal(err)
	}
	c.add("the key of tokens", string(keys.Derive("tokens of programs")))
	dsn, err := url.Parse(databasetest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	dsn.User = url.UserPassword(dsn.User.Username(), c.plant("the password of the database"))

	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	admin := freeAddr(t)
	cfg := app.Config{
		DatabaseURL: domain.Secret(dsn.String()), KEK: domain.Secret(kek), Addr: "127.0.0.1:0", AdminAddr: admin, Workers: 4, Version: "test", LogLevel: slog.LevelDebug,
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, RateLimits: 1,
	}
	logger.Info("configuration", "config", cfg, "text", fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg)) // as somebody might
	if _, err := app.New(ctx, app.Config{DatabaseURL: domain.Secret("postgres://x:" + c.plant("the password of a wrong database") + "@127.0.0.1:1/x?connect_timeout=1")}, logger); err == nil {
		t.Fatal("a wrong database is taken")
	} else {
		pages = append(pages, place{"the error of a start", err.Error()})
	}
	a, err := app.New(ctx, cfg, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	prober := &clumsy{Prober: a.Clusters.Prober}
	a.Clusters.Prober = prober
	listening := make(chan string, 1)
	a.Listening = func(addr net.Addr) { listening <- "http://" + addr.String() }
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(running) }()
	stopped := sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the portal ended with %v", err)
		}
	})
	t.Cleanup(stopped)
	base := <-listening

	// Of people: links, passwords right and wrong and in the wrong field, sessions.
	setup, err := a.Accounts.CreateSetup(ctx, "root", domain.RoleAdmin)
	if err != nil {
		t.Fatal(err)
	}
	c.add("the token of a setup link", setup)
	root := newCaller(t, base, &pages)
	link := "/setup/" + setup
	if got := root.do(http.MethodGet, link, "", nil, true); got.status != http.StatusOK { // the form leads back to itself
		t.Fatalf("setup: %d", got.status)
	}
	right := c.plant("a password")
	root.send(link, true, "password", c.plant("a password that was mistyped"), "repeat", right).is(t, http.StatusUnprocessableEntity)
	root.send(link, true, "password", right, "repeat", right).is(t, http.StatusSeeOther)
	root.get("/setup/"+c.plant("a guessed link")).is(t, http.StatusNotFound)
	root.post("/logout").is(t, http.StatusSeeOther)
	root.post("/login", "username", "root", "password", c.plant("a wrong password")).is(t, http.StatusUnprocessableEntity)
	root.send("/login", true, "username", c.plant("a password typed as the name"), "password", "").is(t, http.StatusUnprocessableEntity)
	root.post("/login", "username", "root", "password", right).is(t, http.StatusSeeOther)
	here, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	session := func(who *caller) string {
		for _, cookie := range who.client.Jar.Cookies(here) {
			if cookie.Name == "sid" {
				return cookie.Value
			}
		}
		t.Fatal("no session")
		return ""
	}
	c.add("the token of a session", session(root))
	person := func(name string, b ...domain.Binding) *caller {
		password := c.plant("the password of " + name)
		id, _, err := a.Accounts.EnsureUser(ctx, account.NewUser{Username: name, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range b {
			if err := a.Accounts.Bind(ctx, domain.Shepherd(), id, b); err != nil {
				t.Fatal(err)
			}
		}
		who := newCaller(t, base, &pages)
		who.post("/login", "username", name, "password", password).is(t, http.StatusSeeOther)
		c.add("the session of "+name, session(who))
		return who
	}
	dev, boss := person("dev"), person("boss", domain.Binding{Role: domain.RoleApprover})
	auditor := person("auditor", domain.Binding{Role: domain.RoleAuditor})
	invited := root.send("/people", true, "username", "new", "display_name", "New", "role", "")
	if m := regexp.MustCompile(`/setup/([-\w]{20,})`).FindStringSubmatch(invited.body); m != nil {
		c.add("the token of an invitation", m[1])
	} else {
		t.Fatalf("no link: %d %.2000s", invited.status, invited.body)
	}
	stranger := newCaller(t, base, &pages)
	stranger.client.Jar.SetCookies(here, []*http.Cookie{{Name: "sid", Value: c.plant("a forged session")}})
	stranger.get("/clusters").is(t, http.StatusSeeOther)
	program := newCaller(t, base, &pages)
	program.header.Set("Authorization", "Bearer "+c.plant("a forged bearer token"))
	program.get("/clusters")
	boot, err := a.Accounts.PersonByUsername(ctx, "root")
	if err != nil {
		t.Fatal(err)
	}
	_, bearer, err := a.Tokens.Create(ctx, domain.Shepherd(), boot.ID, token.New{Name: "canary", Scopes: domain.Scopes(), Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c.add("a bearer token", bearer[strings.LastIndexByte(bearer, '.')+1:])
	program.header.Set("Authorization", "Bearer "+bearer)
	program.get("/clusters").is(t, http.StatusOK)
	program.header.Set("Accept", "application/json")
	program.get("/nowhere").is(t, http.StatusNotFound)
	root.do(http.MethodGet, "/clusters?token="+c.plant("a secret in a query"), "", nil, true)
	root.do(http.MethodPost, "/csp-reports", "application/csp-report", strings.NewReader(`{"csp-report":{"effective-directive":"img-src","document-uri":"`+base+`/setup/`+
		c.plant("a link in a report")+`?x=`+c.plant("a query in a report")+`","blocked-uri":"https://u:`+c.plant("a password in a report")+`@x.example/"}}`), false).is(t, http.StatusNoContent)

	// Of clusters: refused files, and one with three contexts of which one is taken.
	for _, bad := range []string{
		"exec: {command: sh, args: [" + c.plant("an argument of exec") + "], env: [{name: X, value: " + c.plant("a variable of exec") + "}]}",
		"username: x\n    password: " + c.plant("a password in a kubeconfig"),
		"token: " + c.plant("a token beside a file") + "\n    tokenFile: /etc/" + c.plant("a path in a kubeconfig"),
		"tokne: " + c.plant("a token under a wrong key"),
		"token: [" + c.plant("a token in a list") + "]",
	} {
		root.upload(kubeconfigtest.Config("server: https://10.0.0.1:6443", bad)).is(t, http.StatusUnprocessableEntity)
	}
	east := newGossip(t, tb, c.plant("the token of a cluster"))
	clusterToken := c.all[len(c.all)-1].text
	pair := kubeconfigtest.NewAuthority(t, time.Now().Add(time.Hour)).Client(time.Now().Add(time.Hour), "someone")
	c.add("a client key", strings.Split(string(pair.Key), "\n")[1])
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: east.Certificate().Raw})
	config := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: east\nclusters: [{name: east, cluster: {server: %q, certificate-authority-data: %s}}]\nusers:\n- {name: sa, user: {token: %s}}\n- {name: key, user: {client-certificate-data: %s, client-key-data: %s}}\n- {name: other, user: {token: %s}}\ncontexts:\n- {name: east, context: {cluster: east, user: sa}}\n- {name: key, context: {cluster: east, user: key}}\n- {name: other, context: {cluster: east, user: other}}\n",
		east.URL, kubeconfigtest.Base64(ca), clusterToken, kubeconfigtest.Base64(pair.Cert), kubeconfigtest.Base64(pair.Key), c.plant("the token of a context that was not chosen"))
	draft := root.upload([]byte(config)).is(t, http.StatusSeeOther).location
	answers := func(context string) []string {
		return []string{"context", context, "name", "east", "environment", "test", "place", "Lab"}
	}
	contexts := regexp.MustCompile(`name="context" value="([^"]*)"|value="([^"]*)"[^>]*name="context"`).FindAllString(root.get(draft).body, -1)
	if len(contexts) == 0 {
		t.Fatal("no contexts")
	}
	root.post(draft+"/check", answers("other")...).is(t, http.StatusOK) // five of these in a minute are allowed
	east.talks.Store(true)
	root.post(draft+"/check", answers("east")...).is(t, http.StatusOK)
	east.talks.Store(false)
	prober.panics.Store(true)
	root.post(draft+"/check", answers("east")...).is(t, http.StatusInternalServerError)
	prober.panics.Store(false)
	root.post(draft+"/check", answers("east")...).is(t, http.StatusOK)
	root.post(draft, answers("east")...).is(t, http.StatusSeeOther)
	clusterPage := regexp.MustCompile(`/clusters/[0-9a-f-]{36}`).FindString(root.get("/clusters").body)
	east.ask(t, http.MethodPost, "/api/v1/namespaces", `{"metadata":{"name":"shop-test"}}`)
	root.post("/namespaces", "cluster", strings.TrimPrefix(clusterPage, "/clusters/"), "name", "shop-test", "environment", "test").is(t, http.StatusSeeOther)

	// Of credentials: one that is replaced, one that waits for a second admin, and
	// one that nobody has confirmed.
	rita := person("rita", domain.Binding{Role: domain.RoleAdmin})
	credential := clusterPage + "/credential"
	next := rita.uploadTo(credential, []byte(config)).is(t, http.StatusSeeOther).location
	rita.post(next+"/check", "context", "other").is(t, http.StatusOK)
	rita.post(next, "context", "east", "do", "replace").is(t, http.StatusSeeOther)
	prober.mistakes.Store(true)
	next = rita.uploadTo(credential, []byte(strings.Replace(config, clusterToken, c.plant("the token of a credential that waits"), 1))).is(t, http.StatusSeeOther).location
	rita.post(next+"/check", "context", "east").is(t, http.StatusOK)
	rita.post(next, "context", "east", "do", "propose", "reason", "It was rebuilt.").is(t, http.StatusSeeOther)
	prober.mistakes.Store(false)
	root.post(clusterPage+"/replacement", "replacement", root.get(credential).is(t, http.StatusOK).value("replacement"), "do", "confirm").is(t, http.StatusUnprocessableEntity) // it is no good
	next = rita.uploadTo(credential, kubeconfigtest.Config("server: https://10.0.0.1:6443", "token: "+c.plant("the token of a draft"))).is(t, http.StatusSeeOther).location

	// Of templates.
	cloudInit := "#cloud-config\npassword: " + c.plant("a password of first boot") + "\nchpasswd: {expire: false}\nwrite_files:\n- {path: /etc/x, content: " + c.plant("a file of first boot") + "}\nruncmd: [[sh, -c, 'curl -H Authorization:" +
		c.plant("a header of first boot") + " https://x']]\n"
	template := []string{"name", "fedora-41", "display_name", "Fedora 41", "description", "", "min_disk_gib", "10"}
	with := func(more ...string) []string { return append(slices.Clone(template), more...) }
	root.send("/catalog/templates", true, with("image", "docker://quay.io/containerdisks/fedora:41", "cloud_init", "#cloud-config\npassword: "+c.plant("a password in a broken first boot")+"\nx: [")...).is(t, http.StatusUnprocessableEntity)
	root.send("/catalog/templates", true, with("image", "docker://user:"+c.plant("a password in an image")+"@quay.io/x:1", "cloud_init", "")...).is(t, http.StatusUnprocessableEntity)
	root.send("/catalog/templates", true, with("image", "docker://quay.io/containerdisks/fedora:41", "cloud_init", cloudInit, "status", c.plant("a field that no form has"))...).is(t, http.StatusUnprocessableEntity)
	root.post("/catalog/templates", with("image", "docker://quay.io/containerdisks/fedora:41", "cloud_init", cloudInit)...).is(t, http.StatusSeeOther)
	root.post("/catalog/sizes", "name", "small", "cpu", "1", "memory", "1", "disk", "20", "max_disk", "40").is(t, http.StatusSeeOther)

	// The whole way of a request, with calls that fail and repeat.
	system := dev.get(dev.post("/systems", "name", "shop", "namespace", "shop-test", "docs", "# Shop").is(t, http.StatusSeeOther).location)
	systemPath := regexp.MustCompile(`/systems/[0-9a-f-]{36}`).FindString(system.askedFor + system.body)
	dev.post(systemPath+"/services", "name", "redis", "docs", "").is(t, http.StatusSeeOther)
	form := dev.get("/requests/new").is(t, http.StatusOK)
	service := regexp.MustCompile(`/services/([0-9a-f-]{36})`).FindStringSubmatch(dev.get(systemPath).body)[1]
	request := func(keys string) []string {
		return []string{
			"service", service, "template", form.value("template"), "size", form.value("size"), "count", "1", "disk", "20", "ssh_keys", keys, "reason", "Cache for the load tests.",
		}
	}
	private := "-----BEGIN OPENSSH PRIVATE KEY-----\n" + c.plant("a private SSH key") + "\n-----END OPENSSH PRIVATE KEY-----"
	dev.send("/requests", true, request(private)...).is(t, http.StatusUnprocessableEntity)
	dev.send("/requests/preview", true, request(private)...)
	ticket := dev.post("/requests", request(cast.PublicKey)...).is(t, http.StatusSeeOther).location
	events := listen(t, base, session(dev), "t=requests&t=tree&t=notifications")
	approval := strings.Replace(ticket, "requests", "approvals", 1)
	page := boss.get(approval).is(t, http.StatusOK)
	east.talks.Store(true)
	before := east.said.Load()
	boss.post(approval, "do", "approve", "version", page.value("version"), "spec_hash", page.value("spec_hash"), "template", form.value("template"), "size", form.value("size"),
		"count", "1", "disk", "20", "cluster", strings.TrimPrefix(clusterPage, "/clusters/"), "reason", "").is(t, http.StatusSeeOther)
	eventually(t, "the cluster has repeated the secrets", func() bool {
		var n int
		err := a.DB.Pool.QueryRow(ctx, `SELECT count(*) FROM domain_events WHERE problem->>'code' <> ''`).Scan(&n)
		return err == nil && n > 0 && east.said.Load() > before
	})
	root.post(clusterPage + "/check") // fails and repeats
	for _, path := range []string{ticket, approval, clusterPage, "/explorer", "/", "/notifications", "/audit?open=1"} {
		for _, who := range []*caller{dev, boss, root} {
			who.get(path)
		}
	}
	east.talks.Store(false)
	root.post(clusterPage + "/check")
	eventually(t, "the VM is there", func() bool {
		if got := dev.get(ticket); strings.Contains(got.body, `value="retry"`) || strings.Contains(got.body, ticket+"/retry") {
			dev.post(ticket + "/retry")
		}
		return strings.Contains(east.ask(t, http.MethodGet, "/apis/kubevirt.io/v1/namespaces/shop-test/virtualmachines", ""), "shop-redis-01")
	})

	// What each of them can read, with all errors there are.
	for _, who := range []*caller{root, rita, dev, boss, auditor, newCaller(t, base, &pages)} {
		for _, path := range []string{
			"/", "/explorer", "/search?q=redis", "/requests", "/requests/new", ticket, "/approvals", approval, "/approvals?view=decided", "/clusters", clusterPage, clusterPage + "x", "/clusters/new", draft, credential, next, next + "/check", "/api/v1" + clusterPage, "/api/v1/clusters",
			"/namespaces", "/catalog", "/catalog/templates/new", "/people", "/people/new", "/audit", "/audit?open=2", "/trends", "/notifications", "/nowhere", systemPath, systemPath + "/members", "/services/" + service,
		} {
			who.get(path)
		}
		who.do(http.MethodDelete, "/clusters", "", nil, false)
		who.post("/namespaces")
	}
	for _, format := range []string{"csv", "jsonl"} {
		got := auditor.get("/audit/export?format="+format).is(t, http.StatusOK)
		z, err := zip.NewReader(strings.NewReader(got.body), int64(len(got.body)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(r)
			pages = append(pages, place{"the export " + f.Name, string(text)})
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/readyz"} {
		res, err := http.Get("http://" + admin + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		pages = append(pages, place{"the admin port, " + path, string(text)})
	}
	pages = append(pages, place{"the stream of events", events()})
	// In the cluster the first boot is in a Secret, and nowhere else.
	for _, kind := range []string{"/apis/kubevirt.io/v1/virtualmachines", "/apis/kubevirt.io/v1/virtualmachineinstances", "/api/v1/events", "/api/v1/configmaps"} {
		pages = append(pages, place{"the cluster, " + kind, east.ask(t, http.MethodGet, kind, "")})
	}
	if secrets := east.ask(t, http.MethodGet, "/api/v1/namespaces/shop-test/secrets", ""); !strings.Contains(secrets, base64.StdEncoding.EncodeToString([]byte("#cloud-config"))[:12]) {
		t.Error("the cluster has no first boot: nothing was tested")
	}

	dump := dumped(t, a)
	stopped()
	all := append(pages, dump...)
	all = append(all, place{"the log", log.String()})
	c.search(all)
	if len(c.all) < 30 || len(all) < 200 || len(log.String()) < 50000 {
		t.Errorf("%d secrets, %d places, %d bytes of log: too few to mean something", len(c.all), len(all), len(log.String()))
	}
}

// The search finds a secret in every form.
func TestCanarySearchFinds(t *testing.T) {
	c := canary{"x", "cnry0123456789abcdef"}
	raw := []byte("some text before " + c.text + " and after")
	reversed := slices.Clone(raw)
	slices.Reverse(reversed)
	for name, text := range map[string]string{
		"plain": string(raw), "base64": base64.StdEncoding.EncodeToString(raw), "base64, one on": base64.StdEncoding.EncodeToString(raw[1:]),
		"base64, two on": base64.RawURLEncoding.EncodeToString(raw[2:]), "alone": base64.StdEncoding.EncodeToString([]byte(c.text)),
		"hex": hex.EncodeToString(raw), "HEX": strings.ToUpper(hex.EncodeToString(raw)), "reversed": string(reversed),
	} {
		if !slices.ContainsFunc(c.forms(), func(form string) bool { return strings.Contains(text, form) }) {
			t.Errorf("%s: not found", name)
		}
	}
}

// dumped is all of the database: every row of every table as text, with binary
// columns as hexadecimal digits and as they are.
func dumped(t *testing.T, a *app.App) (all []place) {
	t.Helper()
	ctx := t.Context()
	rows, err := a.DB.Pool.Query(ctx, `SELECT schemaname || '.' || quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, table := range tables {
		rows, err := a.DB.Pool.Query(ctx, `SELECT x::text FROM `+table+` x`)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(lines, "\n")
		for _, digits := range regexp.MustCompile(`\\\\?x([0-9a-f]{16,})`).FindAllStringSubmatch(text, -1) {
			if raw, err := hex.DecodeString(digits[1]); err == nil {
				text += "\n" + string(raw)
			}
		}
		all = append(all, place{"the table " + table, text})
		names[table] = len(lines) > 0
	}
	for _, table := range []string{"cluster_replacements", "cluster_drafts", "cluster_events", "audit_logs", "domain_events", "approval_tickets", "river_job", "sessions", "clusters", "templates", "notifications", "users"} {
		if !names["public."+table] {
			t.Errorf("%s has no rows: nothing was tested", table)
		}
	}
	return all
}

// listen hears a stream of events until it is asked what there was.
func listen(t *testing.T, base, session, topics string) func() string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/events?"+topics, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: "sid", Value: session})
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", res, err)
	}
	var heard book
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(&heard, res.Body); _ = res.Body.Close() }()
	return func() string { cancel(); <-done; return heard.String() }
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
