package handlers_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/accesstoken"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/token"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// program is a program with a token of an account, made on the command line.
func (p *portal) program(u *ent.User, scopes ...domain.Scope) (*browser, token.Token) {
	p.t.Helper()
	t, text, err := p.Tokens.Create(p.t.Context(), domain.Shepherd(), u.ID.String(), token.New{Name: "test", Scopes: scopes, Life: time.Hour})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.showing(text), t
}

// showing is a program that shows a token, whatever that is.
func (p *portal) showing(text string) *browser {
	return p.anonymous().with("Accept", "application/json", "Authorization", "Bearer "+text, "Sec-Fetch-Site", "")
}

// code is the code of an error in JSON.
func (p *page) code() string {
	var e struct{ Code string }
	_ = json.Unmarshal([]byte(p.Body), &e)
	return e.Code
}

// A program is who its token says, has the rights of that account as they are
// now, and gets no session.
func TestBearerToken(t *testing.T) {
	p := newPortal(t)
	u := p.person("bot", domain.Binding{Role: domain.RoleAuditor})
	api, _ := p.program(u, domain.ScopeAdmin)
	if got := api.get(paths.Clusters).is(http.StatusOK); got.Header.Get("Set-Cookie") != "" {
		t.Error("a program gets a session")
	}
	if got := api.get(paths.NewCluster).is(http.StatusForbidden).code(); got != "FORBIDDEN" {
		t.Errorf("the scope gives what the account has not: %s", got)
	}
	for _, scheme := range []string{"bearer ", "BEARER  "} {
		text := strings.TrimPrefix(api.header.Get("Authorization"), "Bearer ")
		api.with("Authorization", scheme+text).get(paths.Clusters).is(http.StatusOK)
	}
	// A cookie beside a token that is no good does not help.
	p.as(u).with("Authorization", "Bearer x").get(paths.Clusters).is(http.StatusUnauthorized)
	p.db.Ent.RoleBinding.Delete().ExecX(t.Context())
	api.get(paths.Clusters).is(http.StatusNotFound)
}

// TestRefusedTokens: whatever is wrong with a token has one answer.
func TestRefusedTokens(t *testing.T) {
	p := newPortal(t)
	ctx := t.Context()
	u, other := p.person("bot"), p.person("other")
	good, _ := p.program(u, domain.ScopeRead)
	good.get(paths.Home).is(http.StatusOK)
	text := strings.TrimPrefix(good.header.Get("Authorization"), "Bearer ")

	keys, err := crypto.Load("", crypto.Generate())
	if err != nil {
		t.Fatal(err)
	}
	stranger := &token.Service{DB: p.db, Keys: keys, Notify: p.Tokens.Notify, Logger: p.Logger}
	_, foreign, err := stranger.Create(ctx, domain.Shepherd(), u.ID.String(), token.New{Name: "x", Scopes: domain.Scopes(), Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	row := func(change func(*ent.AccessTokenUpdateOne)) string {
		b, made := p.program(u, domain.ScopeRead)
		change(p.db.Ent.AccessToken.UpdateOneID(id(made.ID)))
		return strings.TrimPrefix(b.header.Get("Authorization"), "Bearer ")
	}
	revoked := row(func(r *ent.AccessTokenUpdateOne) { r.SetRevokedAt(time.Now()).ExecX(ctx) })
	b, gone := p.program(u, domain.ScopeRead)
	p.db.Ent.AccessToken.DeleteOneID(id(gone.ID)).ExecX(ctx)
	closed, _ := p.program(other, domain.ScopeRead)
	p.db.Ent.User.UpdateOne(other).SetDisabled(true).ExecX(ctx)
	expired := p.anonymous().with("Accept", "application/json", "Authorization", "Bearer "+p.expired(u))

	number := regexp.MustCompile(`"request_id":"[^"]+"`)
	answer := func(b *browser) string {
		t.Helper()
		got := b.get(paths.Home).is(http.StatusUnauthorized)
		if !strings.Contains(got.Header.Get("WWW-Authenticate"), "Bearer") || got.Header.Get("Set-Cookie") != "" {
			t.Errorf("headers %v", got.Header)
		}
		return number.ReplaceAllString(got.Body, "")
	}
	want := answer(p.showing("garbage"))
	if !strings.Contains(want, "SIGNED_OUT") {
		t.Errorf("the answer: %s", want)
	}
	for name, b := range map[string]*browser{
		"empty": p.showing(""), "no prefix": p.showing(strings.TrimPrefix(text, "shp_")), "cut": p.showing(text[:len(text)-3]),
		"another key": p.showing(foreign), "revoked": p.showing(revoked), "gone": b, "disabled": closed, "expired": expired,
		"twice": p.showing(text + " " + text), "asking for a page": p.showing("garbage").with("Accept", "*/*"),
	} {
		if got := answer(b); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	good.get(paths.Home).is(http.StatusOK)
	// A revoked one that is still shown is in the audit log, once a minute.
	answer(p.showing(revoked))
	e := p.db.Ent.AuditLog.Query().Where(auditlog.Action("token.refuse")).OnlyX(ctx)
	if e.Result != auditlog.ResultRefused || e.Reason != "revoked" || e.Details["account"] != "bot" || e.Actor != "anonymous" || e.IPAddress != "127.0.0.1" {
		t.Errorf("audit: %+v", e)
	}
}

// expired is a token of u whose time is over, as its text and its row say.
func (p *portal) expired(u *ent.User) string {
	p.t.Helper()
	was := time.Now().Add(-2 * time.Hour).UTC().Truncate(time.Second)
	row := p.db.Ent.AccessToken.Create().SetUserID(u.ID).SetName("old").SetScopes(domain.Scopes()).SetCreatedBy("root").
		SetCreatedAt(was).SetExpiresAt(was.Add(time.Hour)).SaveX(p.t.Context())
	jwt := auth.JWT{KeyID: p.Tokens.Keys.Active(), Key: func(id string) domain.Secret { return p.Tokens.Keys.DeriveFrom(id, "bearer tokens") }}
	text, err := jwt.Sign(auth.Claims{TokenID: row.ID, UserID: u.ID, IssuedAt: was, ExpiresAt: was.Add(time.Hour)})
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// tokenScopes says by action what a token can do with the scopes read, request,
// decide and admin: y as its account, S lacks a scope, X never.
var tokenScopes = map[domain.Action]string{
	"home.read": "yyyy", "search.read": "yyyy", "events.read": "yyyy", "catalog.read": "yyyy", "docs.read": "yyyy", "notification.read": "yyyy",
	"system.list": "yyyy", "system.read": "yyyy", "service.read": "yyyy", "vm.read": "yyyy", "ticket.list": "yyyy", "ticket.read": "yyyy",
	"ticket.queue": "yyyy", "ticket.export": "yyyy", "ticket.review": "yyyy", "cluster.list": "yyyy", "cluster.read": "yyyy", "namespace.list": "yyyy", "namespace.read": "yyyy",
	"trends.read": "yyyy", "audit.read": "yyyy", "audit.export": "yyyy", "member.explain": "yyyy",
	"notification.update": "Syyy", "system.create": "Syyy", "system.update": "Syyy", "system.delete": "Syyy", "service.create": "Syyy",
	"service.update": "Syyy", "service.delete": "Syyy", "vm.power": "Syyy", "vm.delete": "Syyy", "ticket.create": "Syyy", "ticket.withdraw": "Syyy",
	"ticket.retry":   "Syyy",
	"ticket.decide":  "SSyS",
	"cluster.create": "SSSy", "cluster.check": "SSSy", "cluster.update": "SSSy", "cluster.delete": "SSSy", "cluster.accept": "SSSy", "cluster.credential": "XXXX", "namespace.create": "SSSy", "namespace.check": "SSSy", "namespace.delete": "SSSy", "catalog.create": "SSSy",
	"member.create": "SSSy", "member.delete": "SSSy", "system.transfer": "SSSy", "person.read": "SSSy", "person.bind": "SSSy", "person.disable": "SSSy",
	"group.read": "SSSy", "group.change": "SSSy",
	"account.read": "XXXX", "account.update": "XXXX", "open": "XXXX", "session.end": "XXXX", "person.create": "XXXX", "person.link": "XXXX", "person.sessions": "XXXX",
	"token.read": "XXXX", "token.create": "XXXX", "token.revoke": "XXXX", "token.oversee": "XXXX", "service_account.read": "XXXX",
	"service_account.create": "XXXX", "service_account.update": "XXXX", "service_account.token": "XXXX",
}

// TestTokenScopes walks every route with a token of each scope: it makes no
// tokens, touches no passwords and sessions, and says what is missing.
func TestTokenScopes(t *testing.T) {
	s := newShop(t)
	own := s.objects()
	own["{ticket}"] = "999999"
	// Somebody who may do everything, so that only the scope is between.
	boss := s.person("boss-of-all", domain.Binding{Role: domain.RoleAdmin}, domain.Binding{Role: domain.RoleApprover})
	var programs []*browser
	for _, scope := range domain.Scopes() {
		b, _ := s.program(boss, scope)
		programs = append(programs, b)
	}
	for _, r := range s.Routes() {
		if r.Pattern == paths.Reports {
			continue // reads no token: browsers send it
		}
		want, known := tokenScopes[r.Action]
		if !known {
			t.Errorf("%s is not in the table", r.Action)
			continue
		}
		for i, b := range programs {
			got := b.do(r.Method, filled(r.Pattern, own), "", nil)
			letter := "y"
			switch got.code() {
			case "TOKEN_SCOPE":
				letter = "S"
			case "TOKEN_NOT_ALLOWED":
				letter = "X"
			}
			if letter != want[i:i+1] || letter != "y" && got.Status != http.StatusForbidden {
				t.Errorf("%s %s with %s: %d %s, want %s", r.Method, r.Pattern, domain.Scopes()[i], got.Status, got.code(), want[i:i+1])
			}
		}
	}
	missing := programs[1].get(paths.People).is(http.StatusForbidden)
	if !strings.Contains(missing.Body, `"scope":"admin"`) || !strings.Contains(missing.Body, `"has":["request"]`) {
		t.Errorf("what is missing: %s", missing.Body)
	}
	programs[1].with("Accept", "text/html").get(paths.People).is(http.StatusForbidden).wants("This token may not do that", "It lacks the scope admin. It has request.")
	// Refusals are in the audit log, with who was refused, and not one for each.
	log := s.db.Ent.AuditLog.Query().Where(auditlog.Action("token.refuse")).AllX(t.Context())
	if len(log) != len(programs) {
		t.Errorf("%d refusals in the audit log for %d tokens", len(log), len(programs))
	}
	for _, e := range log {
		if e.Actor != "boss-of-all" || e.Result != auditlog.ResultRefused || e.ResourceType != "token" {
			t.Errorf("audit: %+v", e)
		}
	}
}

// TestOwnTokens: somebody makes a token on the page, uses it, sees its use, and
// revokes it.
func TestOwnTokens(t *testing.T) {
	p := newPortal(t, func(c *handlers.Config) { c.PublicURL = "https://shepherd.example.com" })
	dev := p.as(p.person("dev"))
	dev.get(paths.Home).is(http.StatusOK)
	if !dev.get(paths.Home).has("nav [href=" + paths.Tokens + "]") {
		t.Error("no way to the tokens")
	}
	dev.get(paths.Tokens).is(http.StatusOK).wants("No tokens")
	form := dev.get(paths.NewToken).is(http.StatusOK)
	if form.has("[value=decide]") || form.has("[value=admin]") || form.attr("#days option[selected]", "value") != "90" || !form.has("[value=read][checked]") {
		t.Errorf("the form: %s", form.html("form"))
	}
	// What is wrong loses nothing.
	bad := dev.post(paths.Tokens, "name", "", "scopes", "request", "days", "400").is(http.StatusUnprocessableEntity)
	if !bad.has("[value=request][checked]") || bad.has("[value=read][checked]") || bad.text("#name-error") == "" || bad.text("#days-error") == "" {
		t.Errorf("rejected: %s", bad.html("main form"))
	}
	for _, fields := range [][]string{{"name", "x", "days", "7"}, {"name", "x", "scopes", "root", "days", "7"}, {"name", "x", "scopes", "admin", "days", "7"},
		{"name", strings.Repeat("x", 61), "scopes", "read", "days", "7"}, {"name", "a\u202eb", "scopes", "read", "days", "7"}} {
		dev.post(paths.Tokens, fields...).is(http.StatusUnprocessableEntity)
	}
	if n := p.db.Ent.AccessToken.Query().CountX(t.Context()); n != 0 {
		t.Fatalf("%d tokens were made", n)
	}

	made := dev.post(paths.Tokens, "name", "nightly <b>", "scopes", "request", "scopes", "read", "days", "30").is(http.StatusOK)
	text := made.text("#token")
	if !strings.HasPrefix(text, "shp_") || !strings.Contains(made.text("#example"), "https://shepherd.example.com/api/v1/") {
		t.Fatalf("shown: %s", made.main())
	}
	list := dev.get(paths.Tokens).is(http.StatusOK).wants("nightly <b>", "Read", "Request", "Works", "never")
	if strings.Contains(list.Body, text) {
		t.Error("the token is shown twice")
	}
	row := p.db.Ent.AccessToken.Query().OnlyX(t.Context())
	if life := row.ExpiresAt.Sub(row.CreatedAt); life != 30*24*time.Hour || !slices.Equal(row.Scopes, []domain.Scope{"read", "request"}) {
		t.Errorf("lives %v, may %v", life, row.Scopes)
	}

	api := p.showing(text)
	api.post(paths.Systems, "name", "shop").is(http.StatusUnprocessableEntity) // as far as the form
	p.Tokens.Flush()
	dev.get(paths.Tokens).wants("127.0.0.1")

	ask := paths.RevokeToken(row.ID.String())
	p.as(p.person("other")).get(ask).is(http.StatusNotFound)
	p.as(p.person("other2")).post(ask).is(http.StatusNotFound)
	dev.get(ask).is(http.StatusOK).wants("Revoke nightly <b>", "127.0.0.1")
	api.get(paths.Home).is(http.StatusOK)
	for range 2 { // the second time it is no error
		if got := dev.post(ask).is(http.StatusSeeOther); got.Location != paths.Tokens {
			t.Errorf("leads to %s", got.Location)
		}
	}
	api.get(paths.Home).is(http.StatusUnauthorized)
	revoked := dev.get(paths.Tokens).wants("Revoked", "by dev")
	if revoked.has("main tbody [href=" + ask + "]") {
		t.Error("a revoked token can be revoked")
	}
	dev.get(ask).is(http.StatusSeeOther)
	for _, action := range []string{"token.create", "token.revoke"} {
		e := p.db.Ent.AuditLog.Query().Where(auditlog.Action(action), auditlog.ResultEQ(auditlog.ResultDone)).OnlyX(t.Context())
		if e.Actor != "dev" || e.ResourceName != "nightly <b>" || e.ResourceID != row.ID.String() || e.Details["account"] != "dev" {
			t.Errorf("audit: %+v", e)
		}
	}

	// Ended ones are shown for 90 days.
	p.db.Ent.AccessToken.Update().SetRevokedAt(time.Now().Add(-91 * 24 * time.Hour)).ExecX(t.Context())
	dev.get(paths.Tokens).wants("No tokens")
}

// TestTokensOfOthers: admins see and revoke the tokens of people, auditors see
// them, and nobody makes one for another person.
func TestTokensOfOthers(t *testing.T) {
	s := newShop(t)
	dev := s.db.Ent.User.Query().Where(user.Username("dev")).OnlyX(t.Context())
	api, made := s.program(dev, domain.ScopeRead)
	page := paths.PersonTokens(dev.ID.String())
	s.outsider.get(page).is(http.StatusForbidden)
	if got := s.auditor.get(page).is(http.StatusOK).wants("made by shepherd"); got.has("main tbody a") {
		t.Error("an auditor is led to revoke")
	}
	s.auditor.get(paths.RevokeToken(made.ID)).is(http.StatusForbidden)
	s.auditor.post(paths.RevokeToken(made.ID)).is(http.StatusForbidden)
	s.admin.get(page).is(http.StatusOK)
	if got := s.admin.post(paths.RevokeToken(made.ID)).is(http.StatusSeeOther); got.Location != page {
		t.Errorf("leads to %s", got.Location)
	}
	api.get(paths.Home).is(http.StatusUnauthorized)
	s.dev.get(paths.Tokens).wants("by admin")
}

// TestTokenStreams: revoking a token ends its streams within a second, its end
// ends them, and other tokens of the account go on.
func TestTokenStreams(t *testing.T) {
	p := newPortal(t)
	u := p.person("bot")
	dev := p.as(u)
	first, made := p.program(u, domain.ScopeRead)
	second, _ := p.program(u, domain.ScopeRead)
	one, status, done := first.stream(paths.EventsFor("tree"))
	defer done()
	other, status2, done2 := second.stream(paths.EventsFor("tree"))
	defer done2()
	if status != http.StatusOK || status2 != http.StatusOK {
		t.Fatalf("refused: %d, %d", status, status2)
	}
	start := time.Now()
	dev.post(paths.RevokeToken(made.ID)).is(http.StatusSeeOther)
	waitForEnd(t, one, soon)
	if took := time.Since(start); took > time.Second {
		t.Errorf("the stream of a revoked token went on for %v", took)
	}
	select {
	case line, open := <-other:
		if !open {
			t.Errorf("the stream of another token ended: %q", line)
		}
	case <-time.After(100 * time.Millisecond):
	}

	// A token that is over in two seconds.
	third, short := p.program(u, domain.ScopeRead)
	p.db.Ent.AccessToken.Delete().Where(accesstoken.ID(id(short.ID))).ExecX(t.Context())
	p.db.Ent.AccessToken.Create().SetID(id(short.ID)).SetUserID(u.ID).SetName("short").SetScopes(domain.Scopes()).SetCreatedBy("root").
		SetExpiresAt(time.Now().Add(2 * time.Second)).ExecX(t.Context())
	stream, status, done3 := third.stream(paths.EventsFor("tree"))
	defer done3()
	if status != http.StatusOK {
		t.Fatalf("refused: %d", status)
	}
	waitForEnd(t, stream, 3*time.Second)
	third.get(paths.Home).is(http.StatusUnauthorized)
}

// TestServiceAccounts: an admin makes one, gives it a role and a token; its
// owner sees it and cares for its tokens; nobody else knows of it.
func TestServiceAccounts(t *testing.T) {
	s := newShop(t)
	ctx := t.Context()
	s.outsider.get(paths.ServiceAccounts).is(http.StatusOK).wants("You answer for no service account")
	s.outsider.get(paths.NewServiceAccount).is(http.StatusForbidden)
	s.admin.get(paths.NewServiceAccount).is(http.StatusOK)
	bad := s.admin.post(paths.ServiceAccounts, "username", "Bot", "description", "", "owner", "nobody-here").is(http.StatusUnprocessableEntity)
	if bad.attr("#owner", "value") != "nobody-here" || bad.text("#username-error") == "" || bad.text("#description-error") == "" {
		t.Errorf("rejected: %s", bad.main())
	}
	s.admin.post(paths.ServiceAccounts, "username", "dev", "description", "x", "owner", "dev").is(http.StatusUnprocessableEntity).wants("dev is taken")
	page := s.admin.post(paths.ServiceAccounts, "username", "ci-bot", "description", "Nightly tests of the shop", "owner", "dev").is(http.StatusSeeOther).Location
	bot := s.db.Ent.User.Query().Where(user.Username("ci-bot")).OnlyX(ctx)
	if bot.Kind != user.KindService || page != paths.ServiceAccount(bot.ID.String()) {
		t.Fatalf("%+v at %s", bot, page)
	}
	s.admin.get(page).is(http.StatusOK).wants("Nightly tests of the shop", "dev", "No tokens")
	s.admin.get(paths.ServiceAccounts).wants("ci-bot", "No token")
	s.auditor.get(page).is(http.StatusOK)
	s.outsider.get(page).is(http.StatusNotFound)
	if s.admin.get(paths.People).is(http.StatusOK); strings.Contains(s.admin.get(paths.People).main(), "ci-bot") {
		t.Error("a program is among the people")
	}

	// It has no other way in.
	s.admin.post(paths.PersonLink(bot.ID.String())).is(http.StatusForbidden)
	s.db.Ent.User.UpdateOne(bot).SetPasswordHash(s.db.Ent.User.Query().Where(user.Username("dev")).OnlyX(ctx).PasswordHash).ExecX(ctx)
	if got := s.as(bot).get(paths.Home); got.Status != http.StatusSeeOther {
		t.Errorf("a program with a session: %d", got.Status)
	}

	// The owner makes tokens, without what only admins give.
	form := s.dev.get(paths.NewServiceToken(bot.ID.String())).is(http.StatusOK)
	if form.has("[value=decide]") || form.has("[value=admin]") {
		t.Error("an owner may give what only admins give")
	}
	s.dev.post(paths.ServiceTokens(bot.ID.String()), "name", "x", "scopes", "decide", "days", "7").is(http.StatusUnprocessableEntity)
	s.outsider.post(paths.ServiceTokens(bot.ID.String()), "name", "x", "scopes", "read", "days", "7").is(http.StatusNotFound)
	s.auditor.post(paths.ServiceTokens(bot.ID.String()), "name", "x", "scopes", "read", "days", "7").is(http.StatusForbidden)
	text := s.dev.post(paths.ServiceTokens(bot.ID.String()), "name", "pipeline", "scopes", "request", "days", "7").is(http.StatusOK).text("#token")
	api := s.showing(text)
	api.get(paths.System(s.test.system)).is(http.StatusNotFound)
	s.dev.post(paths.Members(s.test.system), "user", "ci-bot", "role", "maintainer").is(http.StatusSeeOther)
	api.get(paths.System(s.test.system)).is(http.StatusOK)
	s.dev.get(page).is(http.StatusOK).wants("pipeline", "made by dev", "Ends soon", "shop")
	s.dev.get(paths.ServiceAccounts).wants("ci-bot", "A token ends soon")

	// Roles, owner and the account itself are for admins.
	s.dev.post(paths.GiveServiceRole(bot.ID.String()), "role", "approver:test").is(http.StatusForbidden)
	s.dev.post(paths.DisableServiceAccount(bot.ID.String())).is(http.StatusForbidden)
	s.admin.post(paths.GiveServiceRole(bot.ID.String()), "role", "approver:test").is(http.StatusSeeOther)
	s.admin.get(page).wants("Approver, test")
	s.admin.post(paths.RemoveServiceRole(bot.ID.String()), "role", "approver:test").is(http.StatusSeeOther)
	s.admin.post(paths.EditServiceAccount(bot.ID.String()), "description", "Tests", "owner", "viewer").is(http.StatusSeeOther)
	s.dev.get(page).is(http.StatusNotFound)
	s.viewer.get(page).is(http.StatusOK)
	s.db.Ent.User.Update().Where(user.Username("viewer")).SetDisabled(true).ExecX(ctx)
	s.admin.get(page).wants("Nobody answers for it")

	s.admin.post(paths.DisableServiceAccount(bot.ID.String())).is(http.StatusSeeOther)
	api.get(paths.Home).is(http.StatusUnauthorized)
	s.admin.post(paths.EnableServiceAccount(bot.ID.String())).is(http.StatusSeeOther)
	api.get(paths.Home).is(http.StatusOK)
}

// TestServiceAccountOfAGroup: its members are in charge, as long as they are members.
func TestServiceAccountOfAGroup(t *testing.T) {
	s := newShop(t)
	ctx := t.Context()
	team := s.db.Ent.Group.Create().SetName("shop-team").SaveX(ctx)
	dev := s.db.Ent.User.Query().Where(user.Username("dev")).OnlyX(ctx)
	member := s.db.Ent.GroupMember.Create().SetGroup(team).SetUser(dev).SetSource("local").SetCreatedBy("root").SaveX(ctx)
	s.admin.post(paths.ServiceAccounts, "username", "ci-bot", "description", "x", "owner_kind", "group", "owner", "no-team").is(http.StatusUnprocessableEntity).wants("No group is called no-team")
	page := s.admin.post(paths.ServiceAccounts, "username", "ci-bot", "description", "x", "owner_kind", "group", "owner", "shop-team").is(http.StatusSeeOther).Location
	s.admin.get(page).wants("group shop-team")
	if form := s.admin.get(page + "/edit").is(http.StatusOK); form.attr("#owner", "value") != "shop-team" || form.attr("#owner_kind option[selected]", "value") != "group" {
		t.Errorf("the form: %s", form.html("main form"))
	}
	s.dev.get(paths.ServiceAccounts).wants("ci-bot")
	s.viewer.get(page).is(http.StatusNotFound)
	made := s.dev.post(page+"/tokens", "name", "t", "scopes", "read", "days", "7").is(http.StatusOK).text("#token")
	s.showing(made).get(paths.Home).is(http.StatusOK)
	s.db.Ent.GroupMember.DeleteOne(member).ExecX(ctx)
	s.dev.get(page).is(http.StatusNotFound)
	token := s.db.Ent.AccessToken.Query().OnlyX(ctx)
	s.dev.post(paths.RevokeToken(token.ID.String())).is(http.StatusNotFound)
	// The group is gone: nobody answers for the account any more.
	s.db.Ent.Group.DeleteOne(team).ExecX(ctx)
	s.admin.get(page).wants("Nobody answers for it")
	s.admin.post(page+"/edit", "description", "y", "owner_kind", "person", "owner", "dev").is(http.StatusSeeOther)
	s.dev.get(page).is(http.StatusOK)
}

// TestProgramDecides: a program with the role and the scope decides, never what
// somebody behind it has asked for, nor somebody behind it what it has asked for.
func TestProgramDecides(t *testing.T) {
	s := newShop(t)
	ctx := t.Context()
	account := func(name, owner string, bindings ...domain.Binding) *ent.User {
		s.admin.post(paths.ServiceAccounts, "username", name, "description", "x", "owner", owner).is(http.StatusSeeOther)
		u := s.db.Ent.User.Query().Where(user.Username(name)).OnlyX(ctx)
		for _, b := range bindings {
			if err := s.accounts.Bind(ctx, domain.Shepherd(), u.ID.String(), b); err != nil {
				t.Fatal(err)
			}
		}
		return u
	}
	token := func(u *ent.User, by *browser, scope string) *browser {
		return s.showing(by.post(paths.ServiceTokens(u.ID.String()), "name", "t", "scopes", scope, "days", "7").is(http.StatusOK).text("#token"))
	}
	reject := func(b *browser, n int) *page {
		view := s.prodBoss.get(paths.Approval(n)).is(http.StatusOK)
		return b.post(paths.Approval(n), "do", "reject", "version", view.attr("[name=version]", "value"),
			"spec_hash", view.attr("[name=spec_hash]", "value"), "reason", "Not this week, the rack is full.")
	}
	inProd := domain.Binding{Role: domain.RoleApprover, Environment: domain.Prod}
	good := account("gate", "viewer", inProd)
	n := s.asked(s.prod)
	everywhere := account("loose", "viewer", domain.Binding{Role: domain.RoleApprover})
	if got := reject(token(everywhere, s.admin, "decide"), n); got.Status != http.StatusForbidden {
		t.Errorf("a role for everything makes an approver in prod: %d", got.Status)
	}
	if got := reject(token(account("of-dev", "dev", inProd), s.admin, "decide"), n); got.Status != http.StatusForbidden || got.code() != "SELF_APPROVAL" {
		t.Errorf("a program of the requester: %d %s", got.Status, got.Body)
	}
	if got := reject(token(good, s.admin, "request"), n); got.code() != "TOKEN_SCOPE" {
		t.Errorf("without the scope: %d %s", got.Status, got.Body)
	}
	if got := reject(token(good, s.admin, "decide"), n); got.Status >= http.StatusBadRequest {
		t.Errorf("a program with role and scope: %d %s", got.Status, got.Body)
	}
	if got := s.db.Ent.ApprovalTicket.GetX(ctx, n); got.Approver != "gate" {
		t.Errorf("decided by %q", got.Approver)
	}

	// Who asked can make no token of a program that approves it, so a program of a
	// group of his does not approve it either.
	team := s.db.Ent.Group.Create().SetName("shop-team").SaveX(ctx)
	dev := s.db.Ent.User.Query().Where(user.Username("dev")).OnlyX(ctx)
	in := s.db.Ent.GroupMember.Create().SetGroup(team).SetUser(dev).SetSource("local").SetCreatedBy("root").SaveX(ctx)
	ours := account("team-gate", "viewer", inProd)
	s.admin.post(paths.ServiceAccount(ours.ID.String())+"/edit", "description", "x", "owner_kind", "group", "owner", "shop-team").is(http.StatusSeeOther)
	gate := token(ours, s.admin, "decide")
	n = s.asked(s.prod)
	if got := reject(gate, n); got.Status != http.StatusForbidden || got.code() != "SELF_APPROVAL" {
		t.Errorf("a program of a group that the requester is in: %d %s", got.Status, got.Body)
	}
	s.db.Ent.GroupMember.DeleteOne(in).ExecX(ctx)
	if got := reject(gate, n); got.Status >= http.StatusBadRequest {
		t.Errorf("a program of a group of others: %d %s", got.Status, got.Body)
	}

	// What a program asks for its owner cannot decide.
	asker := account("asker", "prod-boss", domain.Binding{Role: domain.RoleMaintainer, SystemID: s.prod.system})
	api := token(asker, s.admin, "request")
	got := api.post(paths.Requests, s.form(s.prod)...)
	if got.Status != http.StatusSeeOther {
		t.Fatalf("a program asks: %d %s", got.Status, got.Body)
	}
	s.prodBoss.get(strings.Replace(got.Location, paths.Requests, paths.Approvals, 1)).wants("cannot decide")
	if s.prodBoss.get(paths.Notifications).has("main [href=" + strings.Replace(got.Location, paths.Requests, paths.Approvals, 1) + "]") {
		t.Error("the owner is told of a decision that is not his")
	}
	s.admin.get(strings.Replace(got.Location, paths.Requests, paths.Approvals, 1)).wants("cannot decide") // made the token
}

// TestRevokeWhileUsed: what begins after a revocation has returned is refused,
// however many requests are under way.
func TestRevokeWhileUsed(t *testing.T) {
	p := newPortal(t)
	u := p.person("bot")
	api, made := p.program(u, domain.ScopeRequest)
	dev := p.as(u)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var over time.Time
	late := 0
	for range 4 {
		wg.Go(func() {
			for range 15 {
				start := time.Now()
				got := api.get(paths.Home)
				mu.Lock()
				if !over.IsZero() && start.After(over) && got.Status != http.StatusUnauthorized {
					late++
				}
				mu.Unlock()
				if got.Status != http.StatusOK && got.Status != http.StatusUnauthorized {
					t.Errorf("%d", got.Status)
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	dev.post(paths.RevokeToken(made.ID)).is(http.StatusSeeOther)
	mu.Lock()
	over = time.Now()
	mu.Unlock()
	wg.Wait()
	if late > 0 {
		t.Errorf("%d requests that began after the revocation were answered", late)
	}
}

// TestTokenIsNotLogged: neither a good token nor one that is refused is in the
// log, the audit log or a row.
func TestTokenIsNotLogged(t *testing.T) {
	var log lockedBuffer
	p := newPortal(t, func(c *handlers.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Tokens.Logger = c.Logger
	})
	u := p.person("dev")
	text := p.as(u).post(paths.Tokens, "name", "x", "scopes", "read", "days", "7").is(http.StatusOK).text("#token")
	api := p.showing(text)
	api.get(paths.Home).is(http.StatusOK)
	api.get(paths.NewSystem).is(http.StatusForbidden)
	p.showing(text + "x").get(paths.Home).is(http.StatusUnauthorized)
	p.db.Ent.AccessToken.Update().SetRevokedAt(time.Now()).ExecX(t.Context())
	api.get(paths.Home).is(http.StatusUnauthorized)
	parts := strings.Split(text, ".")
	all := log.String()
	for _, e := range p.db.Ent.AuditLog.Query().AllX(t.Context()) {
		all += e.String()
	}
	all += p.db.Ent.AccessToken.Query().OnlyX(t.Context()).String()
	for _, secret := range []string{text, parts[1], parts[2]} {
		if strings.Contains(all, secret) {
			t.Errorf("%.12s… is in the log", secret)
		}
	}
	if !strings.Contains(all, "SIGNED_OUT") || !strings.Contains(all, "TOKEN_SCOPE") {
		t.Error("the test looks at no log")
	}
}
