package handlers_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
)

const password = "correct horse battery"

// member makes an account that can sign in.
func (p *portal) member(name string) string {
	p.t.Helper()
	id, _, err := p.accounts.EnsureUser(p.t.Context(), account.NewUser{Username: name, Password: password})
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func TestSignIn(t *testing.T) {
	p := newPortal(t)
	p.member("alice")
	b := p.anonymous()
	b.get("/login?next=/explorer").is(http.StatusOK)

	// A token that somebody planted is worth nothing afterwards.
	b.setCookie(&http.Cookie{Name: "sid", Value: "planted-by-somebody-else-0000000000000000000", Path: "/"})
	in := b.post("/login", "username", "alice", "password", password, "next", "/explorer").is(http.StatusSeeOther)
	if in.Location != "/explorer" {
		t.Errorf("leads to %s", in.Location)
	}
	c := b.cookie("sid")
	if c == nil || strings.HasPrefix(c.Value, "planted") {
		t.Fatalf("cookie %v", c)
	}
	for _, want := range []string{"HttpOnly", "SameSite=Lax", "Path=/"} {
		if !strings.Contains(in.Header.Get("Set-Cookie"), want) {
			t.Errorf("no %s in %s", want, in.Header.Get("Set-Cookie"))
		}
	}
	b.get("/explorer").is(http.StatusOK)
	if got := b.get("/login").is(http.StatusSeeOther); got.Location != "/" {
		t.Errorf("who is in is led to %s", got.Location)
	}

	// Another sign-in gives another token, and the one before is over.
	b.post("/login", "username", "alice", "password", password).is(http.StatusSeeOther)
	if b.cookie("sid").Value == c.Value {
		t.Error("the token stays the same over a sign-in")
	}
	thief := p.anonymous()
	thief.setCookie(c)
	thief.get("/explorer").is(http.StatusSeeOther)

	stolen := b.cookie("sid")
	out := b.post("/logout").is(http.StatusSeeOther)
	if out.Header.Get("Clear-Site-Data") == "" || b.cookie("sid") != nil {
		t.Error("signing out leaves something in the browser")
	}
	thief.setCookie(stolen)
	thief.get("/explorer").is(http.StatusSeeOther)
	thief.get("/login?next=/explorer").wants("Your session has ended")
	b.get("/logout").is(http.StatusMethodNotAllowed)
}

func TestSecureCookie(t *testing.T) {
	p := newPortal(t, func(c *handlers.Config) { c.Secure, c.Sessions = true, handlers.NewSessions(c.Sessions.Store, true) })
	p.member("alice")
	got := p.anonymous().post("/login", "username", "alice", "password", password).is(http.StatusSeeOther).Header.Get("Set-Cookie")
	if !strings.HasPrefix(got, "__Host-sid=") || !strings.Contains(got, "Secure") || strings.Contains(got, "Domain") {
		t.Errorf("cookie %s", got)
	}
}

// Whatever is wrong gets the same answer, but for what was typed.
func TestNoEnumeration(t *testing.T) {
	p := newPortal(t)
	p.member("alice")
	id := p.member("gone")
	p.db.Ent.User.Update().Where(user.Username("gone")).SetDisabled(true).ExecX(t.Context())
	_ = id
	answer := func(name, pass string) string {
		got := p.anonymous().post("/login", "username", name, "password", pass, "next", "/explorer").is(http.StatusUnprocessableEntity)
		if strings.Contains(got.Body, pass) && pass != "" || got.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: the answer has the password or a cookie", name)
		}
		if got.attr("#username", "value") != name || got.attr("[name=next]", "value") != "/explorer" {
			t.Errorf("%s: what was typed is lost", name)
		}
		return strings.Replace(got.Body, `value="`+name+`"`, "", 1)
	}
	want := answer("alice", "wrong password 1")
	for _, c := range [][2]string{{"nobody", "wrong password 1"}, {"gone", password}, {"alice", ""}, {"alice", strings.Repeat("x", 9000)}, {"alice", "a\x00b"}} {
		if got := answer(c[0], c[1]); got != want {
			t.Errorf("%s can be told from a wrong password", c[0])
		}
	}
}

func TestNextIsLocal(t *testing.T) {
	p := newPortal(t)
	p.member("alice")
	for _, bad := range []string{"//evil.example", "https://evil.example", `/\evil.example`, "/\tevil", "javascript:alert(1)", "/login", "evil.example"} {
		got := p.anonymous().post("/login", "username", "alice", "password", password, "next", bad)
		if got.Status == http.StatusSeeOther && got.Location != "/" {
			t.Errorf("%q leads to %q", bad, got.Location)
		}
	}
}

// A right that is taken away, and an account that is closed, are gone at the
// next request.
func TestRightsAreReadEachTime(t *testing.T) {
	p := newPortal(t)
	u := p.person("root", domain.Binding{Role: domain.RoleAdmin})
	b := p.as(u)
	b.get("/clusters").is(http.StatusOK)
	p.db.Ent.RoleBinding.Delete().ExecX(t.Context())
	b.get("/clusters").is(http.StatusNotFound)
	p.db.Ent.User.Update().SetDisabled(true).ExecX(t.Context())
	b.get("/").is(http.StatusSeeOther)
	b.get("/login").is(http.StatusOK) // and no way round in circles
}

func TestSignOutEndsStreams(t *testing.T) {
	p := newPortal(t)
	b := p.as(p.person("dev"))
	lines, status, done := b.stream("/events?t=tree")
	defer done()
	if status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	waitFor(t, lines, "")
	b.post("/logout").is(http.StatusSeeOther)
	waitForEnd(t, lines, time.Second)
	b.get("/events?t=tree").is(http.StatusSeeOther)
}

// What was typed while the session ended is there again after signing in, and
// nothing was sent.
func TestFormOutlivesItsSession(t *testing.T) {
	s := newShop(t)
	dev := s.dev
	s.member("dora")
	s.db.Ent.Session.Delete().ExecX(t.Context())
	got := dev.post("/requests", s.form(s.test, "reason", "A very long reason that took an hour.")...).is(http.StatusSeeOther)
	if got.Location != "/login?next=%2Frequests%2Fnew" {
		t.Fatalf("leads to %s", got.Location)
	}
	s.db.Ent.User.Update().Where(user.Username("dev")).SetPasswordHash(s.db.Ent.User.Query().Where(user.Username("dora")).OnlyX(t.Context()).PasswordHash).ExecX(t.Context())
	in := dev.post("/login", "username", "dev", "password", password, "next", "/requests/new").is(http.StatusSeeOther)
	form := dev.get(in.Location).is(http.StatusOK).wants("Your session had ended", "Nothing has been sent")
	if form.text("#reason") != "A very long reason that took an hour." || form.attr("#count", "value") != "2" || !form.has("[name=template][checked]") {
		t.Errorf("lost: %s", form.main())
	}
	if again := dev.get(in.Location); again.text("#reason") != "" {
		t.Error("the draft comes twice")
	}
	if n := s.db.Ent.ApprovalTicket.Query().CountX(t.Context()); n != 0 {
		t.Errorf("%d tickets", n)
	}
	// Nothing of it was stored for somebody who is not signed in.
	before := s.db.Ent.Session.Query().CountX(t.Context())
	s.anonymous().post("/requests", s.form(s.test)...).is(http.StatusSeeOther)
	if n := s.db.Ent.Session.Query().CountX(t.Context()); n != before {
		t.Errorf("%d sessions, were %d", n, before)
	}
}

func TestTheme(t *testing.T) {
	p := newPortal(t)
	b := p.as(p.person("dev"))
	if got := b.post("/theme", "theme", "dark", "next", "/explorer?q=a").is(http.StatusSeeOther); got.Location != "/explorer?q=a" {
		t.Errorf("leads to %s", got.Location)
	}
	if got := b.get("/explorer"); got.attr("html", "data-theme") != "dark" {
		t.Error("not dark")
	}
	b.post("/theme", "theme", "neon").is(http.StatusUnprocessableEntity)
	if got := b.post("/theme", "theme", "light", "next", "//evil.example"); got.Location != "/" {
		t.Errorf("leads to %s", got.Location)
	}
	p.anonymous().post("/theme", "theme", "dark").is(http.StatusSeeOther)
}

func TestSetup(t *testing.T) {
	p := newPortal(t)
	token, err := p.accounts.CreateSetup(t.Context(), "root", domain.RoleAdmin)
	if err != nil {
		t.Fatal(err)
	}
	b := p.anonymous()
	path := "/setup/" + token
	if got := b.get(path).is(http.StatusOK); got.attr("#name", "value") != "root" {
		t.Errorf("name %q", got.attr("#name", "value"))
	}
	if got := b.post(path, "name", "root", "password", "short", "repeat", "short").is(http.StatusUnprocessableEntity); !got.has("#password-error") {
		t.Error("a weak password is not marked")
	}
	if got := b.post(path, "name", "root", "password", password, "repeat", "another password").is(http.StatusUnprocessableEntity); !got.has("#repeat-error") {
		t.Error("two passwords are not marked")
	}
	b.follow(b.post(path, "name", "root", "password", password, "repeat", password)).wants("Your password is set")
	b.get("/clusters").is(http.StatusOK)
	p.anonymous().get(path).is(http.StatusNotFound).wants("does not work any more")
	p.anonymous().post(path, "name", "root", "password", password, "repeat", password).is(http.StatusNotFound)
}

// lockedBuffer is a log that may still be written while it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A one-time link is as good as a password, so it is in no log.
func TestSetupLinkIsNotLogged(t *testing.T) {
	var log lockedBuffer
	p := newPortal(t, func(c *handlers.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	token, err := p.accounts.CreateSetup(t.Context(), "root", domain.RoleAdmin)
	if err != nil {
		t.Fatal(err)
	}
	p.anonymous().get("/setup/" + token).is(http.StatusOK)
	p.anonymous().post("/setup/"+token, "password", password, "repeat", "x").is(http.StatusUnprocessableEntity)
	p.anonymous().post("/setup/"+token, "password", strings.Repeat("x", 2<<20)).is(http.StatusRequestEntityTooLarge)
	if !strings.Contains(log.String(), "/setup/") || strings.Contains(log.String(), token) || strings.Contains(log.String(), password) {
		t.Errorf("the log: %s", log.String())
	}
}

// The audit log has the address that the proxy saw, not one that was made up.
func TestAddressInTheAuditLog(t *testing.T) {
	p := newPortal(t)
	p.member("alice")
	p.anonymous().with("X-Forwarded-For", "6.6.6.6").post("/login", "username", "alice", "password", password).is(http.StatusSeeOther)
	e := p.db.Ent.AuditLog.Query().Where(auditlog.Action("session.sign_in")).OnlyX(t.Context())
	if e.IPAddress != "127.0.0.1" || e.RequestID == "" {
		t.Errorf("address %q, request %q", e.IPAddress, e.RequestID)
	}
}
