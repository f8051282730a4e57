package handlers_test

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/groupmember"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// The access matrix: what everybody gets at every route, about every kind of
// object in every environment and state. What is expected stands in a file that
// is read like code when it changes:
//
//	go test ./handlers -run TestAccessMatrix -update-matrix
var updateMatrix = flag.Bool("update-matrix", false, "write what the routes answer into "+matrixFile)

const matrixFile = "testdata/access_matrix.txt"

// letters are the answers. L leads to the sign-in, 3 leads on.
var letters = map[int]string{
	http.StatusOK: "2", http.StatusSeeOther: "3", http.StatusUnprocessableEntity: "I", http.StatusForbidden: "F",
	http.StatusNotFound: "N", http.StatusConflict: "C", http.StatusUnsupportedMediaType: "U",
}

const legend = `# What everybody gets at every route, with empty forms; see access_matrix_test.go.
# 2 a page, 3 leads on, L leads to the sign-in, I the form was wrong (422), F forbidden, N not found, C conflict, U not that kind of data (415).
# own: in the systems of the people below. other: in systems of somebody else. missing: there is none.
`

// somebody is a column of the matrix.
type somebody struct {
	short, what string
	id          string // user id, "" for nobody
	cookie      *http.Cookie
}

// object is a row of a route: what takes the places in its path.
type object struct {
	what string
	ids  map[string]string
}

const missing = "0190a3c0-0000-7000-8000-000000000000"

// matrixWorld is everybody and everything.
type matrixWorld struct {
	*shop
	people  []somebody
	objects map[string][]object // by the first part of a path
	handler http.Handler
}

func newMatrixWorld(t *testing.T) *matrixWorld {
	w := &matrixWorld{shop: newShop(t, func(c *handlers.Config) { c.Logger = slog.New(slog.DiscardHandler) })}
	w.handler = w.Router()
	w.meet()
	w.furnish()
	return w
}

// meet makes the people.
func (w *matrixWorld) meet() {
	ctx := w.t.Context()
	in := func(role domain.Role) []domain.Binding {
		return []domain.Binding{{Role: role, SystemID: w.test.system}, {Role: role, SystemID: w.prod.system}}
	}
	one := func(role domain.Role, e domain.Environment) []domain.Binding {
		return []domain.Binding{{Role: role, Environment: e}}
	}
	w.people = []somebody{{short: "an", what: "nobody"}}
	add := func(short, what string, bindings ...domain.Binding) *ent.User {
		u := w.person("m-"+short, bindings...)
		w.people = append(w.people, somebody{short: short, what: what, id: u.ID.String(), cookie: w.cookie(u)})
		return u
	}
	grouped := func(short, what string, bindings ...domain.Binding) {
		u := add(short, what)
		g := w.db.Ent.Group.Create().SetName("g-" + short).SaveX(ctx)
		w.db.Ent.GroupMember.Create().SetGroup(g).SetUser(u).SetSource(groupmember.SourceOidc).SetCreatedBy("test").ExecX(ctx)
		for _, b := range bindings {
			c := w.db.Ent.RoleBinding.Create().SetGroup(g).SetRole(rolebinding.Role(b.Role)).SetCreatedBy("test")
			if b.SystemID != "" {
				c.SetSystemID(uuid.MustParse(b.SystemID))
			}
			c.ExecX(ctx)
		}
	}
	closed := add("di", "owner whose account is disabled", in(domain.RoleOwner)...)
	w.db.Ent.User.UpdateOne(closed).SetDisabled(true).ExecX(ctx)
	add("st", "somebody without a role")
	add("vi", "viewer", in(domain.RoleViewer)...)
	add("ma", "maintainer", in(domain.RoleMaintainer)...)
	add("ow", "owner", in(domain.RoleOwner)...)
	add("vm", "viewer of the system in test, owner of the one in prod", in(domain.RoleViewer)[0], in(domain.RoleOwner)[1])
	grouped("gm", "maintainer by a group", in(domain.RoleMaintainer)...)
	grouped("go", "owner by a group", in(domain.RoleOwner)...)
	add("vt", "viewer of test", one(domain.RoleViewer, domain.Test)...)
	add("vp", "viewer of prod", one(domain.RoleViewer, domain.Prod)...)
	add("mt", "maintainer of test", one(domain.RoleMaintainer, domain.Test)...)
	add("op", "owner of prod", one(domain.RoleOwner, domain.Prod)...)
	add("at", "approver of test", one(domain.RoleApprover, domain.Test)...)
	add("ap", "approver of prod", one(domain.RoleApprover, domain.Prod)...)
	add("ab", "approver", domain.Binding{Role: domain.RoleApprover})
	grouped("ga", "approver by a group", domain.Binding{Role: domain.RoleApprover})
	add("au", "auditor", domain.Binding{Role: domain.RoleAuditor})
	add("up", "auditor of prod", one(domain.RoleAuditor, domain.Prod)...)
	add("xt", "admin of test", one(domain.RoleAdmin, domain.Test)...)
	add("ad", "platform admin", domain.Binding{Role: domain.RoleAdmin})
	grouped("gx", "platform admin by a group", domain.Binding{Role: domain.RoleAdmin})
}

// furnish makes the objects, each in its environments and states.
func (w *matrixWorld) furnish() {
	ctx, c := w.t.Context(), w.db.Ent
	other := func(at place) place {
		sys := c.System.Create().SetName("other").SetNamespace("shop-" + string(at.env)).SetEnvironment(system.Environment(at.env)).SetCreatedBy("x").SaveX(ctx)
		sv := c.Service.Create().SetSystem(sys).SetName("redis").SetVMPrefix("other-redis").SetNamespace(sys.Namespace).SetCreatedBy("x").SaveX(ctx)
		return place{at.env, at.cluster, sys.ID.String(), sv.ID.String()}
	}
	places := []struct {
		what string
		place
	}{{"own test", w.test}, {"own prod", w.prod}, {"other test", other(w.test)}, {"other prod", other(w.prod)}}
	w.objects = map[string][]object{}
	add := func(kind, what, id string) {
		w.objects[kind] = append(w.objects[kind], object{what, map[string]string{kind: id}})
	}
	states := []domain.VMState{domain.StateRunning, domain.StateStopped, domain.StateFailed, domain.StateProvisioning, domain.StateDeleted}
	tickets := []domain.TicketStatus{domain.TicketPending, domain.TicketApproved, domain.TicketExecuting, domain.TicketCompleted,
		domain.TicketFailed, domain.TicketNeedsAttention, domain.TicketRejected, domain.TicketCancelled, domain.TicketExpired}
	asker := w.person("asker", domain.Binding{Role: domain.RoleAdmin})
	disk := 20
	ask := func(u string, at place, status domain.TicketStatus) string {
		disk++ // each request is another
		n, err := w.Approval.SubmitCreate(ctx, domain.Actor{UserID: u, Username: "m", Bindings: []domain.Binding{{Role: domain.RoleAdmin}}}, approval.Input{
			ServiceID: at.service, TemplateID: w.template, SizeID: w.small, Count: 1, DiskGiB: 20 + disk%80, Reason: "For the access matrix.",
		})
		if err != nil {
			w.t.Fatal(err)
		}
		change := c.ApprovalTicket.UpdateOneID(n).SetStatus(approvalticket.Status(status))
		if status.Decided() {
			change.SetDecidedAt(time.Now()).SetApprover("somebody").SetFinishedAt(time.Now())
		}
		change.ExecX(ctx)
		return fmt.Sprint(n)
	}
	for i, p := range places {
		add("system", p.what, p.system)
		add("service", p.what, p.service)
		for j, state := range states {
			if i >= 2 && j > 0 && state != domain.StateDeleted {
				continue // what is somebody else's is the same in every state
			}
			m := w.vm(p.place, 10*i+j+1, state) // a name is there once on a cluster
			if state == domain.StateDeleted {
				c.VM.UpdateOne(m).SetDeletedAt(time.Now()).ExecX(ctx)
			}
			add("vm", p.what+", "+strings.ToLower(string(state)), m.ID.String())
		}
		for j, status := range tickets {
			if i >= 2 && j > 0 {
				break
			}
			add("ticket", p.what+", "+strings.ToLower(string(status)), ask(asker.ID.String(), p.place, status))
		}
	}
	// A request of everybody himself, in the foreign systems: he made it when he
	// still had a role there.
	for _, p := range places[2:] {
		own := object{p.what + ", asked himself", map[string]string{}}
		for _, b := range w.people {
			if b.id != "" {
				own.ids[b.short] = ask(b.id, p.place, domain.TicketPending)
			}
		}
		own.ids[""] = "999999"
		w.objects["ticket"] = append(w.objects["ticket"], own)
	}
	for _, p := range places[:2] {
		add("cluster", string(p.env), p.cluster)
		add("namespace", string(p.env), c.Namespace.Query().Where(namespace.Name("shop-"+string(p.env))).OnlyIDX(ctx).String())
	}
	mine := object{"his own", map[string]string{"": missing}}
	for _, b := range w.people {
		if b.id != "" {
			mine.ids[b.short] = w.draft(b.id)
		}
	}
	w.objects["draft"] = []object{mine, {"of somebody else", map[string]string{"draft": w.draft(asker.ID.String())}}}
	target := w.person("target", domain.Binding{Role: domain.RoleViewer, SystemID: w.test.system})
	add("person", "somebody", target.ID.String())
	add("group", "some group", c.Group.Create().SetName("some-group").SaveX(ctx).ID.String())
	// The own ones have no line: to end them changes who is signed in, and the only
	// way in stays (TestSessionsPage, TestCompanyAccountIsNotLinkedSilently).
	add("session", "of somebody else", auth.SessionID(w.cookie(target).Value))
	add("identity", "of somebody else", c.Identity.Create().SetUser(target).SetIssuer("https://sso.example.com").SetSubject("target").SaveX(ctx).ID.String())
	bot := c.User.Create().SetUsername("bot").SetKind(user.KindService).SetOwner(asker).SaveX(ctx)
	add("account", "of somebody else", bot.ID.String())
	token := func(owner string) string {
		return c.AccessToken.Create().SetUserID(uuid.MustParse(owner)).SetName("x").SetScopes(domain.Scopes()).SetCreatedBy("m").
			SetExpiresAt(time.Now().Add(time.Hour)).SaveX(ctx).ID.String()
	}
	tokens := object{"his own", map[string]string{"": missing}}
	for _, b := range w.people {
		if b.id != "" {
			tokens.ids[b.short] = token(b.id)
		}
	}
	w.objects["access"] = []object{tokens, {"of somebody else", map[string]string{"access": token(asker.ID.String())}},
		{"of a service account", map[string]string{"access": token(bot.ID.String())}}}
	// The own and the shared ones have no line: who may delete them does
	// (TestSavedFilterOnThePage).
	add("filter", "of somebody else", c.AuditFilter.Create().SetName("x").SetQuery("who=x").SetShared(false).SetOwner("asker").SetOwnerID(asker.ID).SaveX(ctx).ID.String())
	for kind := range w.objects {
		id := missing
		if kind == "ticket" {
			id = "999999"
		}
		add(kind, "missing", id)
	}
}

func (w *matrixWorld) draft(owner string) string {
	return w.db.Ent.ClusterDraft.Create().SetUserID(uuid.MustParse(owner)).SetSealed([]byte("x")).SetKeyID("k").
		SetContexts(nil).SetExpiresAt(time.Now().Add(time.Hour)).SaveX(w.t.Context()).ID.String()
}

// cookie signs somebody in.
func (w *matrixWorld) cookie(u *ent.User) *http.Cookie {
	ctx, err := w.sessions.Load(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.sessions.Put(ctx, "user", u.ID.String())
	w.sessions.Put(ctx, "sure", time.Now().Unix())
	token, _, err := w.sessions.Commit(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return &http.Cookie{Name: w.sessions.Cookie.Name, Value: token}
}

// fresh gives somebody a new session, without the message of what was done.
func (w *matrixWorld) fresh(b somebody) {
	if b.id != "" {
		*b.cookie = *w.cookie(w.db.Ent.User.GetX(w.t.Context(), uuid.MustParse(b.id)))
	}
}

// ask sends a request with an empty form and answers with the letter and what
// the page says.
func (w *matrixWorld) ask(b somebody, method, path string) (letter, words string) {
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, nil)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	letter = letters[rec.Code]
	switch {
	case letter == "":
		letter = fmt.Sprintf("<%d>", rec.Code)
	case letter == "3" && strings.HasPrefix(rec.Header().Get("Location"), paths.Login+"?"):
		letter = "L"
	}
	_, body, _ := bytes.Cut(rec.Body.Bytes(), []byte("<main"))
	body, _, _ = bytes.Cut(body, []byte("</main>"))
	return letter, string(body)
}

// line is one row of the matrix with the letters of everybody.
type line struct {
	route   handlers.Route
	object  object
	path    func(somebody) string
	letters []string
	words   []string
}

func (l *line) String() string {
	what := ""
	if l.object.what != "" {
		what = " | " + l.object.what
	}
	return fmt.Sprintf("%s %s%s: %s", l.route.Method, l.route.Pattern, what, strings.Join(l.letters, " "))
}

// lines are all rows: every route with every object that its path may name.
func (w *matrixWorld) lines() []*line {
	target := w.db.Ent.User.Query().Where(user.Username("target")).OnlyIDX(w.t.Context()).String()
	rest := strings.NewReplacer("{token}", "none", "{guide}", "concepts", "{name}", "request-life.svg", "{person}", target, "{session}", "none")
	var all []*line
	for _, r := range w.Routes() {
		kind := ""
		if r.Loads {
			_, kind, _ = strings.Cut(r.Pattern, "{")
			kind, _, _ = strings.Cut(kind, "}")
		}
		objects := w.objects[kind]
		if kind == "" {
			objects = []object{{}}
		} else if len(objects) == 0 {
			w.t.Errorf("%s: there is no %s in the matrix", r.Pattern, kind)
		}
		for _, o := range objects {
			l := &line{route: r, object: o, letters: make([]string, len(w.people)), words: make([]string, len(w.people))}
			l.path = func(b somebody) string {
				id, one := o.ids[kind]
				if !one {
					id = o.ids[b.short]
				}
				if id == "" {
					id = o.ids[""]
				}
				return rest.Replace(strings.Replace(r.Pattern, "{"+kind+"}", id, 1))
			}
			all = append(all, l)
		}
	}
	return all
}

// effects are the forms that do something when they are sent empty, and how it
// is undone. They are sent one after the other, after all others.
func (w *matrixWorld) effects() map[string]func(b somebody, path string) {
	ctx, c := w.t.Context(), w.db.Ent
	last := func(path string) string {
		parts := strings.Split(path, "/")
		return parts[len(parts)-2]
	}
	account := func(_ somebody, path string) {
		c.User.UpdateOneID(uuid.MustParse(last(path))).SetDisabled(false).SetSessionEpoch(0).ExecX(ctx)
	}
	ticket := func(status domain.TicketStatus) func(somebody, string) {
		return func(_ somebody, path string) {
			var n int
			if _, err := fmt.Sscan(last(path), &n); err != nil {
				w.t.Fatal(err)
			}
			c.ApprovalTicket.UpdateOneID(n).SetStatus(approvalticket.Status(status)).ExecX(ctx)
		}
	}
	again := func(b somebody, _ string) {
		if b.id != "" {
			c.User.UpdateOneID(uuid.MustParse(b.id)).SetSessionEpoch(0).ExecX(ctx)
		}
	}
	nothing := func(somebody, string) {}
	return map[string]func(somebody, string){
		paths.Logout: again, paths.LogoutAll: again, paths.EndOthers: nothing,
		paths.Requests + "/{ticket}/withdraw": ticket(domain.TicketPending),
		paths.People + "/{person}/sign-out":   account, paths.People + "/{person}/disable": account, paths.People + "/{person}/enable": account,
		paths.People + "/{person}/link": nothing,
		paths.Notifications:             nothing,
		paths.Groups + "/{group}/delete": func(_ somebody, path string) {
			c.Group.Create().SetID(uuid.MustParse(last(path))).SetName("some-group").ExecX(ctx)
		},
		paths.Groups + "/{group}/members/{person}/remove": nothing,
		paths.Clusters + "/{cluster}/check":               nothing,
		paths.Namespaces + "/{namespace}/check":           nothing,
		"/tokens/{access}/revoke": func(_ somebody, path string) {
			c.AccessToken.UpdateOneID(uuid.MustParse(last(path))).ClearRevokedAt().ExecX(ctx)
		},
		paths.ServiceAccounts + "/{account}/disable": account, paths.ServiceAccounts + "/{account}/enable": account,
	}
}

func TestAccessMatrix(t *testing.T) {
	w := newMatrixWorld(t)
	lines := w.lines()
	effects := w.effects()
	start, count := time.Now(), 0

	var alone []*line
	jobs := make(chan func())
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for do := range jobs {
				do()
			}
		})
	}
	for _, l := range lines {
		count += len(w.people)
		if l.route.Method == http.MethodPost && effects[l.route.Pattern] != nil {
			alone = append(alone, l)
			continue
		}
		jobs <- func() {
			for i, b := range w.people {
				l.letters[i], l.words[i] = w.ask(b, l.route.Method, l.path(b))
			}
		}
	}
	close(jobs)
	wg.Wait()
	for _, l := range alone {
		for i, b := range w.people {
			path := l.path(b)
			l.letters[i], l.words[i] = w.ask(b, l.route.Method, path)
			if l.letters[i] == "3" || l.letters[i] == "2" {
				effects[l.route.Pattern](b, path)
				w.fresh(b)
			}
		}
	}
	t.Logf("%d answers to %d people in %v", count, len(w.people), time.Since(start).Round(time.Millisecond))

	var text strings.Builder
	text.WriteString(legend)
	for _, b := range w.people {
		fmt.Fprintf(&text, "# %s %s\n", b.short, b.what)
	}
	head := make([]string, len(w.people))
	for i, b := range w.people {
		head[i] = b.short
	}
	fmt.Fprintf(&text, "# %s\n", strings.Join(head, " "))
	for _, l := range lines {
		text.WriteString(l.String() + "\n")
		for i, b := range w.people {
			if strings.HasPrefix(l.letters[i], "<") {
				t.Errorf("%s %s as %s: %s", l.route.Method, l.path(b), b.what, l.letters[i])
			}
			if l.route.Method == http.MethodPost && l.letters[i] == "3" && effects[l.route.Pattern] == nil && l.route.Action != domain.Open {
				t.Errorf("%s as %s does something with an empty form: say in effects how it is undone", l.route.Pattern, b.what)
			}
		}
	}

	// What is not there looks like what one may not know of: the same words.
	for _, gone := range lines {
		if gone.object.what != "missing" {
			continue
		}
		for _, l := range lines {
			if l.route != gone.route || l == gone {
				continue
			}
			for i, b := range w.people {
				if l.letters[i] == "N" && (gone.letters[i] != "N" || l.words[i] != gone.words[i]) {
					t.Errorf("%s as %s: what is foreign looks unlike what is missing (%s):\n%s\n%s",
						l.path(b), b.what, gone.letters[i], l.words[i], gone.words[i])
				}
			}
		}
	}

	if *updateMatrix {
		if err := os.WriteFile(matrixFile, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	stored, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(stored), "\n")
	got := strings.Split(text.String(), "\n")
	for _, l := range got {
		if !slices.Contains(want, l) {
			t.Errorf("now    %s", l)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			t.Errorf("before %s", l)
		}
	}
}
