package handlers_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	idp "github.com/zitadel/oidc/v3/example/server/storage"
	zoidc "github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/identity"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/auth/oidc"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
)

// issuer is a real OpenID Connect issuer in this process, with a page to sign in
// and to agree.
type issuer struct {
	*idp.Storage
	t      *testing.T
	url    string
	client *idp.Client
	back   string // the only page it sends people back to after signing out

	mu     sync.Mutex
	people map[string]*idp.User // by id
	groups map[string][]string
}

const companyPassword = "what the company knows"

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, url: "http://" + listener.Addr().String(), people: map[string]*idp.User{}, groups: map[string][]string{}}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: i.pages()}}
	server.Start()
	t.Cleanup(server.Close)
	return i
}

// pages are the issuer's own and those of the protocol.
func (i *issuer) pages() http.Handler {
	mux := http.NewServeMux()
	var provider *op.Provider
	mux.HandleFunc("GET /sign-in", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<form method="post"><input name="id" value="%s"><input name="username"><input name="password"><input name="agree">`, r.FormValue("id"))
	})
	mux.HandleFunc("POST /sign-in", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("agree") == "" {
			request, err := i.AuthRequestByID(r.Context(), r.FormValue("id"))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			http.Redirect(w, r, request.GetRedirectURI()+"?error=access_denied&state="+url.QueryEscape(request.GetState()), http.StatusFound)
			return
		}
		if err := i.CheckUsernamePassword(r.FormValue("username"), r.FormValue("password"), r.FormValue("id")); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, op.AuthCallbackURL(provider)(op.ContextWithIssuer(r.Context(), i.url), r.FormValue("id")), http.StatusFound)
	})
	i.Storage = idp.NewStorageWithClients(i, nil)
	var err error
	provider, err = op.NewProvider(&op.Config{
		CryptoKey: [32]byte{1}, CryptoKeyId: "1", CodeMethodS256: true, DefaultLogoutRedirectURI: "/out",
	}, i, op.StaticIssuer(i.url), op.WithAllowInsecure())
	if err != nil {
		i.t.Fatal(err)
	}
	mux.Handle("/", provider)
	return mux
}

// The people of the issuer, see idp.UserStore.

func (i *issuer) ExampleClientID() string { return "none" }

func (i *issuer) GetUserByID(id string) *idp.User {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.people[id]
}

func (i *issuer) GetUserByUsername(name string) *idp.User {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, u := range i.people {
		if u.Username == name {
			return u
		}
	}
	return nil
}

func (i *issuer) person(id, name string, groups ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.people[id] = &idp.User{ID: id, Username: name, Password: companyPassword, FirstName: "Given", LastName: name, Email: name + "@corp.example", EmailVerified: true}
	i.groups[id] = groups
}

// SetUserinfoFromToken adds the groups.
func (i *issuer) SetUserinfoFromToken(ctx context.Context, info *zoidc.UserInfo, token, subject, origin string) error {
	if err := i.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	info.AppendClaims("groups", i.groups[subject])
	return nil
}

// leaving is the client with the page that people come back to after signing out.
type leaving struct {
	op.Client
	back string
}

func (c leaving) LoginURL(id string) string        { return "/sign-in?id=" + id }
func (c leaving) PostLogoutRedirectURIs() []string { return []string{c.back} }

// GetClientByClientID knows the portal only.
func (i *issuer) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != "shepherd" {
		return nil, fmt.Errorf("no client %q", id)
	}
	return leaving{Client: i.client, back: i.back}, nil
}

// AuthorizeClientIDSecret knows the portal's secret.
func (i *issuer) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != "shepherd" || secret != "the secret of the client" {
		return fmt.Errorf("wrong secret")
	}
	return nil
}

// company is a portal whose people come from an issuer.
func company(t *testing.T, change ...func(*oidc.Config, *account.Service)) (*portal, *issuer) {
	t.Helper()
	i := newIssuer(t)
	cfg := oidc.Config{
		Issuer: i.url, ClientID: "shepherd", ClientSecret: domain.Secret("the secret of the client"), Name: "Example SSO",
		Scopes: []string{"profile", "email"}, UsernameClaim: "preferred_username", GroupsClaim: "groups",
	}
	var provider *oidc.Provider
	p := newPortal(t, func(c *handlers.Config) {
		c.Accounts.NewPeople, c.Accounts.FollowGroups = true, true
		for _, f := range change {
			f(&cfg, c.Accounts)
		}
		provider = oidc.New(cfg)
		c.OIDC = provider
	})
	provider.RedirectURL = p.url + "/login/oidc/callback"
	p.Server.PublicURL = p.url
	i.client = idp.WebClient("shepherd", "the secret of the client", provider.RedirectURL)
	i.back = p.url + "/login"
	return p, i
}

// through takes a browser to the issuer, signs in there, and gives back the path
// that it comes back to the portal with.
func (i *issuer) through(to, name, pass string, agree bool) string {
	i.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		i.t.Fatal(err)
	}
	back := ""
	client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), i.url) {
			back = r.URL.RequestURI()
			return http.ErrUseLastResponse
		}
		return nil
	}}
	res, err := client.Get(to)
	if err != nil {
		i.t.Fatal(err)
	}
	_ = res.Body.Close()
	if back != "" || res.StatusCode != http.StatusOK {
		i.t.Fatalf("the issuer shows no page: %d, back with %q", res.StatusCode, back)
	}
	form := url.Values{"id": {res.Request.URL.Query().Get("id")}, "username": {name}, "password": {pass}}
	if agree {
		form.Set("agree", "yes")
	}
	if res, err = client.PostForm(i.url+"/sign-in", form); err != nil {
		i.t.Fatal(err)
	}
	_ = res.Body.Close()
	return back
}

// enter signs somebody in by the company account and gives back what the portal
// answers in the end.
func (i *issuer) enter(b *browser, name string) *page {
	i.t.Helper()
	to := b.get("/login/oidc?next=/explorer").is(http.StatusSeeOther).Location
	return b.get(i.through(to, name, companyPassword, true))
}

func TestCompanySignIn(t *testing.T) {
	p, i := company(t)
	i.person("id-1", "Dana.Doe@corp.example", "vm-users")
	if _, err := p.accounts.CreateGroup(t.Context(), domain.Actor{UserID: "x", Bindings: []domain.Binding{{Role: domain.RoleAdmin}}}, account.GroupInput{Name: "users", External: "vm-users"}); err != nil {
		t.Fatal(err)
	}
	b := p.anonymous().with("User-Agent", firefox)
	b.get("/login?next=/explorer").is(http.StatusOK).wants("Sign in with Example SSO", "or with a password")
	to := b.get("/login/oidc?next=/explorer").is(http.StatusSeeOther).Location
	q := must(url.Parse(to)).Query()
	if !strings.HasPrefix(to, i.url) || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("nonce") == "" || q.Get("state") == "" || q.Get("response_type") != "code" {
		t.Fatalf("asks %s", to)
	}
	before := b.cookie("sid").Value
	callback := i.through(to, "Dana.Doe@corp.example", companyPassword, true)
	in := b.get(callback).is(http.StatusSeeOther)
	if in.Location != "/explorer" || b.cookie("sid").Value == before {
		t.Errorf("leads to %s, same token %v", in.Location, b.cookie("sid").Value == before)
	}
	b.get("/account").is(http.StatusOK).wants("dana-doe", "Dana.Doe@corp.example")
	b.get("/account/sessions").wants("With the company account")
	u := p.db.Ent.User.Query().Where(user.Username("dana-doe")).WithMemberships().OnlyX(t.Context())
	if len(u.Edges.Memberships) != 1 || u.LastSignInAt == nil || u.PasswordHash != "" {
		t.Errorf("account %v, %d groups", u, len(u.Edges.Memberships))
	}

	// The same answer a second time is none, here and in another browser.
	b.get(callback).is(http.StatusUnprocessableEntity).wants("was not started in this browser")
	p.anonymous().get(callback).is(http.StatusUnprocessableEntity)

	// The second time it is the same account, by the subject and not the name, and
	// the groups are those of now.
	i.person("id-1", "dana.married@corp.example")
	again := p.anonymous()
	i.enter(again, "dana.married@corp.example").is(http.StatusSeeOther)
	again.get("/account").wants("dana-doe", "dana.married@corp.example")
	if n := p.db.Ent.User.Query().CountX(t.Context()); n != 1 {
		t.Errorf("%d accounts", n)
	}
	if n := p.db.Ent.GroupMember.Query().CountX(t.Context()); n != 0 {
		t.Errorf("still in %d groups", n)
	}
	for _, action := range []string{"user.create", "user.link_identity"} {
		p.db.Ent.AuditLog.Query().Where(auditlog.Action(action), auditlog.ResourceName("dana-doe")).OnlyX(t.Context())
	}

	// A closed account stays closed.
	p.db.Ent.User.Update().SetDisabled(true).ExecX(t.Context())
	i.enter(p.anonymous(), "dana.married@corp.example").is(http.StatusForbidden).wants("is disabled")
	again.get("/explorer").is(http.StatusSeeOther)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An account that was made here is not taken over by whoever has its name at the
// issuer: its owner connects it, or an admin sends a link.
func TestCompanyAccountIsNotLinkedSilently(t *testing.T) {
	p, i := company(t)
	id := p.member("alice")
	i.person("id-7", "alice")
	i.enter(p.anonymous(), "alice").is(http.StatusConflict).wants("There is an account alice already", "connect the company account")
	if n := p.db.Ent.Identity.Query().CountX(t.Context()); n != 0 {
		t.Fatal("it was linked")
	}
	if !p.db.Ent.AuditLog.Query().Where(auditlog.Action("session.sign_in"), auditlog.ResultEQ(auditlog.ResultRefused)).ExistX(t.Context()) {
		t.Error("the refusal is not recorded")
	}

	b := p.signIn("alice", firefox)
	page := b.post("/account/identities").is(http.StatusOK).wants("On to Example SSO")
	to, ok := strings.CutPrefix(page.Header.Get("Refresh"), "0; url=")
	if !ok || page.attr("main a", "href") != to {
		t.Fatalf("Refresh %q", page.Header.Get("Refresh"))
	}
	callback := i.through(to, "alice", companyPassword, true)
	// Not in another browser, whoever sits there.
	p.anonymous().get(callback).is(http.StatusUnprocessableEntity)
	b.follow(b.get(callback)).wants("alice is connected")
	in := p.anonymous()
	i.enter(in, "alice").is(http.StatusSeeOther)
	in.get("/account").wants("alice")
	if row := p.db.Ent.Identity.Query().OnlyX(t.Context()); row.UserID.String() != id || row.Subject != "id-7" {
		t.Errorf("linked %v", row)
	}

	// It opens one account only.
	p.member("bob")
	bob := p.signIn("bob", safari)
	to = strings.TrimPrefix(bob.post("/account/identities").Header.Get("Refresh"), "0; url=")
	bob.get(i.through(to, "alice", companyPassword, true)).is(http.StatusConflict).wants("belongs to another account")

	// Disconnected, it opens none; the last way in stays.
	row := p.db.Ent.Identity.Query().OnlyX(t.Context())
	b.follow(b.post("/account/identities/" + row.ID.String() + "/remove")).wants("is disconnected")
	i.person("id-8", "carol")
	carol := p.anonymous()
	i.enter(carol, "carol").is(http.StatusSeeOther)
	only := p.db.Ent.Identity.Query().Where(identity.Subject("id-8")).OnlyX(t.Context())
	carol.post("/account/identities/" + only.ID.String() + "/remove").is(http.StatusConflict).wants("only way into your account")
	b.post("/account/identities/" + only.ID.String() + "/remove").is(http.StatusNotFound)
}

// A one-time link connects the company account that it is opened with.
func TestCompanyAccountByLink(t *testing.T) {
	p, i := company(t, func(_ *oidc.Config, s *account.Service) { s.NewPeople = false })
	i.person("id-9", "somebody-else")
	i.enter(p.anonymous(), "somebody-else").is(http.StatusForbidden).wants("no account here yet")
	token, err := p.accounts.CreateSetup(t.Context(), "erin", domain.RoleAuditor)
	if err != nil {
		t.Fatal(err)
	}
	b := p.anonymous()
	if b.get("/setup/"+token).is(http.StatusOK).attr("main a", "href") != "/setup/"+token+"/oidc" {
		t.Error("the page does not offer it")
	}
	callback := i.through(b.get("/setup/"+token+"/oidc").is(http.StatusSeeOther).Location, "somebody-else", companyPassword, true)
	if held := p.db.Ent.Session.Query().FirstX(t.Context()); strings.Contains(string(held.Data), token) {
		t.Error("the session holds the link's token")
	}
	b.get(callback).is(http.StatusSeeOther)
	b.get("/account").wants("erin", "somebody-else", "Auditor")
	p.anonymous().get("/setup/" + token).is(http.StatusNotFound)
	again := p.anonymous()
	i.enter(again, "somebody-else").is(http.StatusSeeOther)
	again.get("/account").wants("erin")
}

func TestCompanyAllowedGroups(t *testing.T) {
	p, i := company(t, func(c *oidc.Config, _ *account.Service) { c.AllowedGroups = []string{"vm-users", "vm-admins"} })
	i.person("in", "ann", "staff", "vm-users")
	i.person("out", "oli", "staff")
	i.enter(p.anonymous(), "ann").is(http.StatusSeeOther)
	i.enter(p.anonymous(), "oli").is(http.StatusForbidden).wants("may not use Shepherd")
	if n := p.db.Ent.User.Query().CountX(t.Context()); n != 1 {
		t.Errorf("%d accounts", n)
	}
}

// What goes wrong at the issuer has a page that says what to do.
func TestCompanySignInRefused(t *testing.T) {
	p, i := company(t)
	i.person("id-1", "dana")
	b := p.anonymous()
	to := b.get("/login/oidc").is(http.StatusSeeOther).Location
	denied := b.get(i.through(to, "dana", companyPassword, false)).is(http.StatusForbidden).wants("Example SSO did not let you in", "access_denied")
	if denied.attr("main a", "href") != "/login" {
		t.Errorf("leads to %s", denied.attr("main a", "href"))
	}
	to = b.get("/login/oidc").Location
	state := must(url.Parse(to)).Query().Get("state")
	b.get("/login/oidc/callback?code=made-up&state=" + state).is(http.StatusUnprocessableEntity).wants("took too long")
	b.get("/login/oidc/callback?code=made-up&state=" + state).is(http.StatusUnprocessableEntity).wants("not started in this browser")
	b.get("/login/oidc/callback").is(http.StatusUnprocessableEntity)
	b.get("/login").is(http.StatusOK) // and nobody is told that a session has ended
	if n := p.db.Ent.User.Query().CountX(t.Context()); n != 0 {
		t.Errorf("%d accounts", n)
	}
	// It leads nowhere else.
	for _, bad := range []string{"//evil.example", "https://evil.example", `/\evil.example`} {
		in := p.anonymous()
		to := in.get("/login/oidc?next=" + url.QueryEscape(bad)).Location
		if got := in.get(i.through(to, "dana", companyPassword, true)).is(http.StatusSeeOther); got.Location != "/" {
			t.Errorf("%q leads to %q", bad, got.Location)
		}
	}
}

func TestCompanyConfirm(t *testing.T) {
	p, i := company(t)
	i.person("id-1", "dana")
	i.person("id-2", "otto")
	b := p.anonymous()
	i.enter(b, "dana").is(http.StatusSeeOther)
	u := p.db.Ent.User.Query().Where(user.Username("dana")).OnlyX(t.Context())
	p.db.Ent.RoleBinding.Create().SetUserID(u.ID).SetRole("admin").SetCreatedBy("test").SaveX(t.Context())
	unsure := func() *browser { return p.session(u, map[string]any{"how": "oidc"}) }
	stale := unsure()
	asked := stale.follow(stale.get("/clusters/new").is(http.StatusSeeOther)).wants("Confirm with Example SSO")
	if asked.has("#password") {
		t.Error("asks for a password that there is not")
	}
	to := stale.get(asked.attr("main a", "href")).is(http.StatusSeeOther).Location
	if q := must(url.Parse(to)).Query(); q.Get("prompt") != "login" || q.Get("max_age") != "0" {
		t.Errorf("asks %s", to)
	}
	stale.get(i.through(to, "otto", companyPassword, true)).is(http.StatusForbidden).wants("another company account")
	stale.get("/clusters/new").is(http.StatusSeeOther)
	to = stale.get("/account/confirm/oidc?then=/clusters/new").Location
	if yes := stale.get(i.through(to, "dana", companyPassword, true)).is(http.StatusSeeOther); yes.Location != "/clusters/new" {
		t.Errorf("leads to %s", yes.Location)
	}
	stale.get("/clusters/new").is(http.StatusOK)
}

// Signing out leads to the issuer, which forgets the person too.
func TestCompanySignOut(t *testing.T) {
	p, i := company(t)
	i.person("id-1", "dana")
	b := p.anonymous()
	i.enter(b, "dana").is(http.StatusSeeOther)
	out := b.post("/logout").is(http.StatusOK).wants("You are signed out of Shepherd")
	to := out.attr("main a", "href")
	if !strings.HasPrefix(to, i.url+"/end_session?") || out.Header.Get("Refresh") != "0; url="+to || b.cookie("sid") != nil {
		t.Errorf("leads to %s, %q", to, out.Header.Get("Refresh"))
	}
	b.get("/explorer").is(http.StatusSeeOther)
	res := must((&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Get(to))
	_ = res.Body.Close()
	if got := res.Header.Get("Location"); !strings.HasPrefix(got, p.url+"/login") {
		t.Errorf("the issuer answers %d and leads to %q", res.StatusCode, got)
	}
	// Who came with a password is not led there.
	p.member("alice")
	a := p.signIn("alice", firefox)
	a.post("/logout").is(http.StatusSeeOther)
}

// An issuer that is down stops nothing else.
func TestCompanySignInDown(t *testing.T) {
	p := newPortal(t, func(c *handlers.Config) {
		c.OIDC = oidc.New(oidc.Config{Issuer: "http://127.0.0.1:1", ClientID: "x", Name: "Example SSO"})
	})
	p.member("alice")
	b := p.anonymous()
	b.get("/login").is(http.StatusOK).wants("Sign in with Example SSO")
	down := b.get("/login/oidc").is(http.StatusServiceUnavailable).wants("Example SSO does not answer", "Try again in a minute")
	if down.attr("main a", "href") != "/login" {
		t.Errorf("leads to %s", down.attr("main a", "href"))
	}
	p.signIn("alice", firefox).get("/explorer").is(http.StatusOK)
}

func TestPasswordsOff(t *testing.T) {
	for _, rule := range []account.PasswordRule{account.PasswordsOff, account.PasswordsBreakGlass} {
		t.Run(string(rule), func(t *testing.T) {
			p, i := company(t, func(_ *oidc.Config, s *account.Service) { s.Passwords = rule })
			p.member("alice")
			i.person("id-1", "dana")
			login := p.anonymous().get("/login").is(http.StatusOK)
			post := p.anonymous().post("/login", "username", "alice", "password", password)
			if rule == account.PasswordsOff {
				post.is(http.StatusForbidden).wants("switched off")
			} else {
				post.is(http.StatusUnprocessableEntity) // as a wrong password
			}
			if login.has("#password") != (rule == account.PasswordsBreakGlass) {
				t.Errorf("a field for a password: %v", login.has("#password"))
			}
			b := p.anonymous()
			i.enter(b, "dana").is(http.StatusSeeOther)
			b.get("/account/password").is(http.StatusForbidden)
			token, err := p.accounts.CreateSetup(t.Context(), "root", domain.RoleAdmin)
			if err != nil {
				t.Fatal(err)
			}
			if p.anonymous().get("/setup/" + token).is(http.StatusOK).has("#password") {
				t.Error("a link sets a password that opens nothing")
			}
			p.anonymous().post("/setup/"+token, "name", "root", "password", password, "repeat", password).is(http.StatusForbidden)
			if rule == account.PasswordsBreakGlass {
				glass, _, err := p.accounts.BreakGlass(t.Context(), "break-glass", "the issuer is down", time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				e := p.anonymous()
				e.follow(e.post("/setup/"+glass, "name", "break-glass", "password", password, "repeat", password)).wants("Emergency access")
			}
		})
	}
}
