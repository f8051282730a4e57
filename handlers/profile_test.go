package handlers_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/session"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	safari  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
	edge    = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0"
)

// signIn is a browser in which somebody signed in with a password.
func (p *portal) signIn(name, agent string) *browser {
	p.t.Helper()
	b := p.anonymous().with("User-Agent", agent)
	b.post("/login", "username", name, "password", password).is(http.StatusSeeOther)
	return b
}

func TestSessionsPage(t *testing.T) {
	p := newPortal(t)
	p.member("alice")
	p.member("mallory")
	here, phone, office := p.signIn("alice", firefox), p.signIn("alice", safari), p.signIn("alice", edge)
	mallory := p.signIn("mallory", firefox)

	list := here.get("/account/sessions").is(http.StatusOK).wants("Firefox on Linux", "Safari on iPhone", "Edge on Windows", "With a password", "127.0.0.1", "this one")
	rows := list.find("[data-sessions] li")
	if len(rows) != 3 || !strings.Contains(text(rows[0]), "this one") {
		t.Fatalf("rows: %s", list.main())
	}

	// One is ended: it is gone with its stream, within a second.
	row := p.db.Ent.Session.Query().Where(session.UserAgent(safari)).OnlyX(t.Context())
	lines, status, done := phone.stream("/events?t=tree")
	defer done()
	if status != http.StatusOK {
		t.Fatalf("stream: %d", status)
	}
	waitFor(t, lines, "")
	mallory.post("/account/sessions/" + row.ID + "/end").is(http.StatusNotFound)
	phone.get("/explorer").is(http.StatusOK)
	here.follow(here.post("/account/sessions/" + row.ID + "/end")).wants("The session is ended")
	waitForEnd(t, lines, time.Second)
	phone.get("/explorer").is(http.StatusSeeOther)
	here.post("/account/sessions/" + row.ID + "/end").is(http.StatusNotFound)

	// All others; this one and other people's stay.
	office.get("/explorer").is(http.StatusOK)
	here.follow(here.post("/account/sessions/end-others")).wants("All other sessions are ended")
	office.get("/explorer").is(http.StatusSeeOther)
	here.get("/explorer").is(http.StatusOK)
	mallory.get("/explorer").is(http.StatusOK)
	for _, action := range []string{"session.end", "session.end_others"} {
		if e := p.db.Ent.AuditLog.Query().Where(auditlog.Action(action), auditlog.ResultEQ(auditlog.ResultDone)).OnlyX(t.Context()); e.Actor != "alice" || e.ResourceName != "alice" {
			t.Errorf("%s: %v", action, e)
		}
	}

	// To end this one is to sign out.
	here.post("/account/sessions/" + auth.SessionID(here.cookie("sid").Value) + "/end").is(http.StatusSeeOther)
	here.get("/explorer").is(http.StatusSeeOther)
}

// A request that was under way when its session was ended does not bring it
// back, however it ends.
func TestEndedSessionStaysEnded(t *testing.T) {
	p := newPortal(t)
	p.member("alice")
	b := p.signIn("alice", firefox)
	ctx, err := p.sessions.Load(t.Context(), b.cookie("sid").Value)
	if err != nil {
		t.Fatal(err)
	}
	b.post("/logout").is(http.StatusSeeOther)
	p.sessions.Put(ctx, "seen", time.Now().Unix())
	token, _, err := p.sessions.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	thief := p.anonymous()
	thief.setCookie(&http.Cookie{Name: "sid", Value: token, Path: "/"})
	thief.get("/explorer").is(http.StatusSeeOther)
}

func TestAdminSeesAndEndsSessions(t *testing.T) {
	p := newPortal(t)
	id := p.member("alice")
	alice := p.signIn("alice", safari)
	admin := p.admin()
	admin.get("/people/" + id).is(http.StatusOK).wants("Safari on iPhone")
	row := p.db.Ent.Session.Query().Where(session.UserAgent(safari)).OnlyX(t.Context())
	end := "/people/" + id + "/sessions/" + row.ID + "/end"
	alice.post(end).is(http.StatusForbidden)
	admin.follow(admin.post(end)).wants("The session is ended")
	alice.get("/explorer").is(http.StatusSeeOther)
	admin.post(end).is(http.StatusNotFound)
}

func TestChangePassword(t *testing.T) {
	p := newPortal(t)
	p.member("alice")
	here, other := p.signIn("alice", firefox), p.signIn("alice", safari)
	before := here.cookie("sid").Value
	const next = "seven green lamps at sea"
	try := func(current, new, repeat string) *page {
		return here.post("/account/password", "password", current, "new_password", new, "repeat", repeat)
	}
	here.get("/account/password").is(http.StatusOK)
	for field, c := range map[string][3]string{
		"#password-error":     {"a wrong old password", next, next},
		"#new_password-error": {password, "alice-alice-1", "alice-alice-1"},
		"#repeat-error":       {password, next, next + "!"},
	} {
		if got := try(c[0], c[1], c[2]).is(http.StatusUnprocessableEntity); !got.has(field) || strings.Contains(got.Body, next) {
			t.Errorf("%s: %s", field, got.main())
		}
	}
	if got := try(password, password, password).is(http.StatusUnprocessableEntity); !got.has("#new_password-error") {
		t.Errorf("the same again: %s", got.main())
	}
	other.get("/explorer").is(http.StatusOK)
	here.follow(try(password, next, next)).wants("Your password is changed")
	other.get("/explorer").is(http.StatusSeeOther)
	if here.cookie("sid").Value == before {
		t.Error("the token stays the same")
	}
	p.anonymous().post("/login", "username", "alice", "password", password).is(http.StatusUnprocessableEntity)
	p.anonymous().post("/login", "username", "alice", "password", next).is(http.StatusSeeOther)
	// Wrong tries at it count as those of signing in do.
	for range 6 {
		try("a wrong old password", password, password)
	}
	p.anonymous().post("/login", "username", "alice", "password", next).is(http.StatusUnprocessableEntity)
}

// later is a portal whose clock can be put on.
func later(t *testing.T) (p *portal, pass func(time.Duration)) {
	t.Helper()
	now := time.Now()
	p = newPortal(t, func(c *handlers.Config) { c.Clock = func() time.Time { return now } })
	return p, func(d time.Duration) { now = now.Add(d) }
}

func TestConfirm(t *testing.T) {
	p, pass := later(t)
	id := p.member("root")
	if err := p.accounts.Bind(t.Context(), domain.Shepherd(), id, domain.Binding{Role: domain.RoleAdmin}); err != nil {
		t.Fatal(err)
	}
	bob := p.person("bob").ID.String()
	b := p.signIn("root", firefox)
	give := func(b *browser) *page { return b.post("/people/"+bob, "role", "auditor") }
	b.follow(give(b)).wants("The role is given") // signing in shows it too
	b.post("/people/"+bob+"/remove", "role", "auditor").is(http.StatusSeeOther)

	pass(11 * time.Minute)
	asked := give(b).is(http.StatusSeeOther)
	if asked.Location != "/account/confirm?then=%2Fpeople%2F"+bob {
		t.Fatalf("leads to %s", asked.Location)
	}
	if n := p.db.Ent.RoleBinding.Query().CountX(t.Context()); n != 1 {
		t.Fatalf("%d roles: it was done without asking", n)
	}
	b.follow(asked).is(http.StatusOK).wants("Confirm that it is you", "Password of root")
	if got := b.post("/account/confirm", "password", "a wrong password", "then", "/people/"+bob).is(http.StatusUnprocessableEntity); !got.has("#password-error") || got.attr("[name=then]", "value") != "/people/"+bob {
		t.Errorf("wrong: %s", got.main())
	}
	give(b).is(http.StatusSeeOther)
	old := b.cookie("sid")
	yes := b.post("/account/confirm", "password", password, "then", "/people/"+bob).is(http.StatusSeeOther)
	if yes.Location != "/people/"+bob || b.cookie("sid").Value == old.Value {
		t.Errorf("leads to %s, same token %v", yes.Location, b.cookie("sid").Value == old.Value)
	}
	b.follow(yes).wants("Nothing has been sent")
	b.follow(give(b)).wants("The role is given")
	b.get("/account/confirm?then=/people").is(http.StatusSeeOther) // nothing to ask
	pass(11 * time.Minute)

	// HTMX is led there too, a script gets the code, a program is not asked.
	part := b.part("x").with("HX-Current-URL", p.url+"/people/"+bob)
	if got := part.post("/people/"+bob+"/remove", "role", "auditor").is(http.StatusForbidden); got.Header.Get("HX-Redirect") != "/account/confirm?then=%2Fpeople%2F"+bob {
		t.Errorf("HX-Redirect %q", got.Header.Get("HX-Redirect"))
	}
	if got := b.with("Accept", "application/json").post("/people/" + bob + "/disable").is(http.StatusForbidden); !strings.Contains(got.Body, "CONFIRMATION_REQUIRED") {
		t.Errorf("JSON: %s", got.Body)
	}
	// What was typed is there again.
	got := b.post("/people", "username", "carol", "display_name", "Carol Long-Name", "role", "").is(http.StatusSeeOther)
	if got.Location != "/account/confirm?then=%2Fpeople%2Fnew" {
		t.Fatalf("leads to %s", got.Location)
	}
	form := b.follow(b.post("/account/confirm", "password", password, "then", "/people/new")).wants("Nothing has been sent")
	if form.attr("#username", "value") != "carol" || form.attr("#display_name", "value") != "Carol Long-Name" {
		t.Errorf("lost: %s", form.main())
	}
	// A choice too, and no password.
	pass(11 * time.Minute)
	b.post("/people/"+bob, "role", "approver:prod").is(http.StatusSeeOther)
	chosen := b.follow(b.post("/account/confirm", "password", password, "then", "/people/"+bob)).wants("Nothing has been sent")
	if !chosen.has("option[value=approver:prod][selected]") {
		t.Errorf("the chosen role is lost: %s", chosen.html("#role"))
	}
	// So it is with the other forms of people, groups and service accounts.
	group := p.db.Ent.Group.Create().SetName("shop-team").SaveX(t.Context()).ID.String()
	bobs, err := uuid.Parse(bob)
	if err != nil {
		t.Fatal(err)
	}
	p.person("carol")
	bot := p.db.Ent.User.Create().SetOwnerID(bobs).SetUsername("ci-bot").SetKind(user.KindService).SetDescription("Builds.").SaveX(t.Context()).ID.String()
	for _, c := range []struct {
		path, page, field, value, kept string
	}{
		{paths.GroupMembers(group), paths.Group(group), "user", "bob", "#user[value=bob]"},
		{paths.GroupRoles(group), paths.Group(group), "role", "approver:prod", "option[value=approver:prod][selected]"},
		{paths.GiveServiceRole(bot), paths.ServiceAccount(bot), "role", "approver:prod", "option[value=approver:prod][selected]"},
		{paths.HandOver(bob), paths.Disable(bob), "to", "carol", "#to[value=carol]"},
	} {
		pass(11 * time.Minute)
		if got := b.post(c.path, c.field, c.value).is(http.StatusSeeOther); got.Location != paths.ConfirmThen(c.page) {
			t.Fatalf("%s leads to %s", c.path, got.Location)
		}
		back := b.follow(b.post("/account/confirm", "password", password, "then", c.page)).wants("Nothing has been sent")
		if !back.has(c.kept) {
			t.Errorf("%s: what was typed is lost: %s", c.path, back.main())
		}
		b.follow(b.post(c.path, c.field, c.value)) // and now it is done
	}
	p.db.Ent.Session.Update().SetEndedAt(time.Now()).ExecX(t.Context())
	b.post("/account/password", "password", password, "new_password", "seven green lamps", "repeat", "seven green lamps").is(http.StatusSeeOther)
	if c := b.cookie("draft"); c != nil {
		packed, err := base64.RawURLEncoding.DecodeString(c.Value)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(flate.NewReader(bytes.NewReader(packed))); strings.Contains(string(text), "lamps") || strings.Contains(string(text), password) {
			t.Errorf("a password is kept: %s", text)
		}
	}
	b.post("/login", "username", "root", "password", password).is(http.StatusSeeOther)
	for _, result := range []auditlog.Result{auditlog.ResultDone, auditlog.ResultRefused} {
		if !p.db.Ent.AuditLog.Query().Where(auditlog.Action("session.confirm"), auditlog.ResultEQ(result)).ExistX(t.Context()) {
			t.Errorf("no entry of a confirmation %s", result)
		}
	}
	// It leads nowhere else.
	for _, bad := range []string{"//evil.example", "https://evil.example", `/\evil.example`, "/\tevil", "javascript:alert(1)"} {
		if got := b.post("/account/confirm", "password", password, "then", bad).is(http.StatusSeeOther); got.Location != "/" {
			t.Errorf("%q leads to %q", bad, got.Location)
		}
	}
}

// Each deed that is declared dangerous asks, is a route, and can be done by a
// form that is kept.
func TestDangerousAsk(t *testing.T) {
	s := newShop(t)
	own, all := s.objects(), handlers.Dangerous()
	root := s.person("root", domain.Binding{Role: domain.RoleAdmin})
	own["{person}"] = root.ID.String()
	own["{account}"] = s.db.Ent.User.Create().SetUsername("robot").SetKind("service").SaveX(t.Context()).ID.String()
	own["{group}"] = s.db.Ent.Group.Create().SetName("some-group").SaveX(t.Context()).ID.String()
	own["{draft}"] = s.db.Ent.ClusterDraft.Create().SetUserID(root.ID).SetSealed([]byte("x")).SetKeyID("k").
		SetContexts(nil).SetExpiresAt(time.Now().Add(time.Hour)).SaveX(t.Context()).ID.String()
	own["{identity}"] = s.db.Ent.Identity.Create().SetUser(root).SetIssuer("x").SetSubject("x").SaveX(t.Context()).ID.String()
	b := s.session(root, nil)
	seen := 0
	for _, r := range s.Routes() {
		if !all[r.Method+" "+r.Pattern] {
			continue
		}
		seen++
		if got := b.do(r.Method, filled(r.Pattern, own), "", nil); got.Status != http.StatusSeeOther || !strings.HasPrefix(got.Location, "/account/confirm?then=%2F") {
			t.Errorf("%s %s: got %d %s", r.Method, r.Pattern, got.Status, got.Location)
		}
	}
	if seen != len(all) || seen < 10 {
		t.Errorf("%d of %d dangerous deeds are routes", seen, len(all))
	}
	if got := b.get("/audit/export?format=csv&q=x"); got.Location != "/account/confirm?then=%2Faudit%3Fq%3Dx" {
		t.Errorf("an export leads to %s", got.Location)
	}
	b.get("/people").is(http.StatusOK)
}

// Who is an admin for an emergency reads so on every page, and the others in
// their inbox.
func TestBreakGlassBanner(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	token, until, err := p.accounts.BreakGlass(t.Context(), account.BreakGlassUser, "The issuer is <b>down</b>", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	b := p.anonymous()
	b.post("/setup/"+token, "name", account.BreakGlassUser, "password", password, "repeat", password).is(http.StatusSeeOther)
	for _, path := range []string{"/", "/people", "/explorer", "/account", "/nowhere"} {
		got := b.get(path)
		if banner := got.text("[data-break-glass]"); !strings.Contains(banner, "you are a platform admin, and that ends") || !strings.Contains(banner, "The issuer is <b>down</b>") {
			t.Errorf("%s: banner %q", path, banner)
		}
	}
	inbox := admin.get("/notifications").is(http.StatusOK).wants(
		"Emergency access: break-glass can be a platform admin until "+until.UTC().Format("2 Jan 2006 15:04 UTC"),
		"Emergency access: break-glass signed in from 127.0.0.1", "The issuer is <b>down</b>")
	if inbox.attr("#inbox li a", "href") != "/audit?who=break-glass" {
		t.Errorf("leads to %s", inbox.attr("#inbox li a", "href"))
	}
	if admin.get("/").has("[data-break-glass]") {
		t.Error("an admin for good has the banner")
	}
	p.db.Ent.RoleBinding.Update().Where(rolebinding.ExpiresAtNotNil()).SetExpiresAt(time.Now()).ExecX(t.Context())
	if b.get("/people").is(http.StatusForbidden).has("[data-break-glass]") {
		t.Error("the banner outlives the role")
	}
}
