package account_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

const password = "correct horse battery"

func service(t *testing.T) *account.Service {
	db := databasetest.New(t)
	return &account.Service{DB: db, Local: &auth.Local{Client: db.Ent}}
}

var admin = domain.Actor{UserID: uuid.NewString(), Username: "root", Bindings: []domain.Binding{{Role: domain.RoleAdmin}}}

// create makes an account without a password and answers with its id.
func create(t *testing.T, s *account.Service, name string, bindings ...domain.Binding) string {
	t.Helper()
	id, err := s.CreateUser(t.Context(), admin, account.NewUser{Username: name, Bindings: bindings})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func actor(t *testing.T, s *account.Service, id string) domain.Actor {
	t.Helper()
	a, err := s.Actor(t.Context(), id, "192.0.2.1", "r1")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wrong gives "field CODE" of every form error.
func wrong(err error) []string {
	var list []string
	for _, e := range apperr.Fields(err) {
		list = append(list, e.Field()+" "+e.Code)
	}
	return list
}

func TestCreateUser(t *testing.T) {
	s, ctx := service(t), t.Context()
	if _, err := s.CreateUser(ctx, domain.Actor{UserID: uuid.NewString()}, account.NewUser{Username: "x"}); apperr.CodeOf(err) != apperr.ErrForbidden {
		t.Errorf("anybody makes accounts: %v", err)
	}
	_, err := s.CreateUser(ctx, admin, account.NewUser{Username: "No Label", DisplayName: "a\x00b", Password: "short", Bindings: []domain.Binding{
		{Role: "king"}, {Role: domain.RoleAdmin, Environment: "moon"}, {Role: domain.RoleOwner}, {Role: domain.RoleApprover, SystemID: uuid.NewString()},
	}})
	want := []string{"username INVALID_NAME", "display_name INVALID_TEXT", "password PASSWORD_TOO_SHORT", "role INVALID_CHOICE",
		"environment INVALID_CHOICE", "system REQUIRED", "system INVALID_CHOICE"}
	if got := wrong(err); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, name := range []string{"shepherd", "anonymous"} { // they are not people in the audit log
		if _, err := s.CreateUser(ctx, admin, account.NewUser{Username: name}); apperr.CodeOf(err) != apperr.ErrNameTaken {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A role that cannot be given leaves no account behind.
	if _, err := s.CreateUser(ctx, admin, account.NewUser{Username: "half", Bindings: []domain.Binding{{Role: domain.RoleViewer, SystemID: uuid.NewString()}}}); err == nil {
		t.Error("a role in a system that does not exist")
	}
	if n := s.DB.Ent.User.Query().CountX(ctx) + s.DB.Ent.AuditLog.Query().CountX(ctx); n != 0 {
		t.Errorf("%d rows are left of refused accounts", n)
	}
}

func TestSameNameAtOnce(t *testing.T) {
	s := service(t)
	var made, taken atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch _, err := s.CreateUser(t.Context(), admin, account.NewUser{Username: "alice"}); {
			case err == nil:
				made.Add(1)
			case slices.Equal(wrong(err), []string{"username NAME_TAKEN"}):
				taken.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 || taken.Load() != 19 {
		t.Errorf("%d made, %d taken", made.Load(), taken.Load())
	}
	// EnsureUser finds it, whoever is faster.
	var created atomic.Int32
	ids := make([]string, 20)
	for i := range ids {
		wg.Go(func() {
			id, new, err := s.EnsureUser(t.Context(), account.NewUser{Username: "bob", Password: password})
			if err != nil {
				t.Error(err)
			}
			if ids[i] = id; new {
				created.Add(1)
			}
		})
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] == "" || len(slices.Compact(ids)) != 1 || created.Load() != 1 {
		t.Errorf("made %d times", created.Load())
	}
}

func TestActor(t *testing.T) {
	s, ctx := service(t), t.Context()
	sys := s.DB.Ent.System.Create().SetName("shop").SetNamespace("n").SetCreatedBy("x").SaveX(ctx)
	bindings := []domain.Binding{{Role: domain.RoleApprover, Environment: domain.Test}, {Role: domain.RoleOwner, SystemID: sys.ID.String()}}
	id := create(t, s, "alice", bindings...)
	a := actor(t, s, id)
	if a.UserID != id || a.Username != "alice" || a.IP != "192.0.2.1" || a.RequestID != "r1" || len(a.Bindings) != 2 {
		t.Errorf("got %+v", a)
	}
	for _, b := range bindings {
		if !slices.Contains(a.Bindings, b) {
			t.Errorf("%+v is missing in %+v", b, a.Bindings)
		}
	}
	// A right that is taken away is gone at once, inside a transaction too.
	s.DB.Ent.RoleBinding.Delete().Where(rolebinding.RoleEQ(rolebinding.RoleOwner)).ExecX(ctx)
	err := s.DB.InTx(ctx, func(tx *ent.Tx) error {
		a, err := s.ActorTx(ctx, tx, id)
		if domain.Can(a, domain.SystemUpdate, domain.Object{SystemID: sys.ID.String()}) || !a.ApprovesIn(domain.Test) {
			t.Errorf("got %+v", a)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	s.DB.Ent.User.Update().SetDisabled(true).ExecX(ctx)
	for _, id := range []string{id, uuid.NewString(), "", "x"} {
		if a, err := s.Actor(ctx, id, "", ""); apperr.CodeOf(err) != apperr.ErrSignedOut || len(a.Bindings) > 0 {
			t.Errorf("%q: %+v, %v", id, a, err)
		}
	}
}

// Who may give which role.
func TestBind(t *testing.T) {
	s, ctx := service(t), t.Context()
	sys := s.DB.Ent.System.Create().SetName("shop").SetNamespace("n").SetEnvironment(system.EnvironmentProd).SetCreatedBy("x").SaveX(ctx)
	in := func(r domain.Role) domain.Binding { return domain.Binding{Role: r, SystemID: sys.ID.String()} }
	owner := actor(t, s, create(t, s, "owner", in(domain.RoleOwner)))
	maintainer := actor(t, s, create(t, s, "maintainer", in(domain.RoleMaintainer)))
	auditor := actor(t, s, create(t, s, "auditor", domain.Binding{Role: domain.RoleAuditor}))
	stranger := actor(t, s, create(t, s, "stranger"))
	target := create(t, s, "target")
	everywhere := domain.Binding{Role: domain.RoleApprover}

	for _, c := range []struct {
		name    string
		actor   domain.Actor
		binding domain.Binding
		want    string
	}{
		{"admin, platform", admin, everywhere, ""},
		{"admin, environment", admin, domain.Binding{Role: domain.RoleApprover, Environment: domain.Prod}, ""},
		{"admin, system", admin, in(domain.RoleViewer), ""},
		{"shepherd", domain.Shepherd(), domain.Binding{Role: domain.RoleAuditor}, ""},
		{"owner, system", owner, in(domain.RoleMaintainer), ""},
		{"owner, platform", owner, everywhere, apperr.ErrForbidden},
		{"maintainer", maintainer, in(domain.RoleViewer), apperr.ErrForbidden},
		{"auditor", auditor, in(domain.RoleViewer), apperr.ErrForbidden},
		{"stranger", stranger, in(domain.RoleViewer), apperr.ErrNotFound},
		{"nobody", domain.Actor{}, in(domain.RoleViewer), apperr.ErrSignedOut},
		{"nobody, platform", domain.Actor{}, everywhere, apperr.ErrSignedOut},
		{"somebody called shepherd", domain.Actor{UserID: uuid.NewString(), Username: "shepherd"}, everywhere, apperr.ErrForbidden},
		{"no such system", owner, domain.Binding{Role: domain.RoleViewer, SystemID: uuid.NewString()}, apperr.ErrNotFound},
	} {
		err := s.Bind(ctx, c.actor, target, c.binding)
		if c.want == "" && err != nil || c.want != "" && apperr.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if err := s.Bind(ctx, admin, uuid.NewString(), everywhere); !slices.Equal(wrong(err), []string{"user INVALID_CHOICE"}) {
		t.Errorf("nobody to bind: %v", err)
	}

	// The same role many times is one role, also where columns are NULL.
	again := create(t, s, "again")
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := s.Bind(ctx, admin, again, everywhere); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a := actor(t, s, again); len(a.Bindings) != 1 {
		t.Errorf("%d roles", len(a.Bindings))
	}
	if n := s.DB.Ent.AuditLog.Query().Where(auditlog.Action("user.bind"), auditlog.ResourceID(again)).CountX(ctx); n != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestApprovers(t *testing.T) {
	s, ctx := service(t), t.Context()
	create(t, s, "everywhere", domain.Binding{Role: domain.RoleApprover})
	create(t, s, "prod-only", domain.Binding{Role: domain.RoleApprover, Environment: domain.Prod})
	create(t, s, "boss", domain.Binding{Role: domain.RoleAdmin}, domain.Binding{Role: domain.RoleApprover})
	create(t, s, "auditor", domain.Binding{Role: domain.RoleAuditor})
	create(t, s, "nobody")
	gone := create(t, s, "gone", domain.Binding{Role: domain.RoleApprover})
	s.DB.Ent.User.UpdateOneID(uuid.MustParse(gone)).SetDisabled(true).ExecX(ctx)
	me, err := s.PersonByUsername(ctx, "everywhere")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		e      domain.Environment
		except string
		want   string
	}{
		{domain.Test, "", "boss everywhere"}, {domain.Prod, "", "boss everywhere prod-only"}, {domain.Prod, me.ID, "boss prod-only"},
	} {
		people, err := s.Approvers(ctx, s.DB.Ent, c.e, c.except)
		var names []string
		for _, p := range people {
			names = append(names, p.Username)
			// What SQL says is what the rule says.
			if !domain.Can(actor(t, s, p.ID), domain.TicketDecide, domain.Object{Environment: c.e, OwnerID: c.except}) {
				t.Errorf("%s may not decide in %s", p.Username, c.e)
			}
		}
		if got := strings.Join(names, " "); got != c.want || err != nil {
			t.Errorf("%s without %q: %q, %v", c.e, c.except, got, err)
		}
	}
}

func TestPeople(t *testing.T) {
	s, ctx := service(t), t.Context()
	id := create(t, s, "alice")
	if p, err := s.Person(ctx, id); err != nil || p.Username != "alice" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, id := range []string{"", "x", uuid.NewString()} {
		if _, err := s.Person(ctx, id); apperr.CodeOf(err) != apperr.ErrNotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, name := range []string{"", "bob", "a\x00b"} {
		if _, err := s.PersonByUsername(ctx, name); apperr.CodeOf(err) != apperr.ErrNotFound {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestSignIn(t *testing.T) {
	s, ctx := service(t), t.Context()
	id, _, err := s.EnsureUser(ctx, account.NewUser{Username: "alice", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.SignIn(ctx, "alice", password, "192.0.2.1", "r1"); err != nil || got != id {
		t.Fatalf("%q, %v", got, err)
	}
	if s.DB.Ent.User.Query().OnlyX(ctx).LastSignInAt == nil {
		t.Error("the sign-in is not dated")
	}
	for _, name := range []string{"alice", "my secret password", "nobody"} {
		if got, err := s.SignIn(ctx, name, "wrong password", "192.0.2.1", "r2"); got != "" || apperr.CodeOf(err) != apperr.ErrBadCredentials {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := s.SignOut(ctx, actor(t, s, id)); err != nil {
		t.Error(err)
	}
	var got []string
	for _, r := range s.DB.Ent.AuditLog.Query().Where(auditlog.ResourceType("session")).Order(ent.Asc(auditlog.FieldID)).AllX(ctx) {
		got = append(got, fmt.Sprintf("%s %s %s [%s] %s", r.Actor, r.Action, r.Result, r.ResourceName, r.IPAddress))
	}
	want := []string{
		"alice session.sign_in done [alice] 192.0.2.1",
		"anonymous session.sign_in refused [alice] 192.0.2.1",
		"anonymous session.sign_in refused [] 192.0.2.1", // may be a password
		"anonymous session.sign_in refused [] 192.0.2.1",
		"alice session.sign_out done [alice] 192.0.2.1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestSetup(t *testing.T) {
	s, ctx := service(t), t.Context()
	old, err := s.CreateSetup(ctx, "ada", domain.RoleAdmin)
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.CreateSetup(ctx, "ada", domain.RoleAdmin)
	if err != nil {
		t.Fatal(err)
	}
	u := s.DB.Ent.User.Query().OnlyX(ctx)
	if strings.Contains(u.SetupHash, token) || len(token) < 26 {
		t.Error("the token is stored or short")
	}
	if p, err := s.SetupPerson(ctx, token); err != nil || p.Username != "ada" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", old, token + "x", u.SetupHash, "\x00"} {
		if _, err := s.Setup(ctx, bad, password, "", ""); apperr.CodeOf(err) != apperr.ErrSetupLink {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := s.Setup(ctx, token, "short", "", ""); !slices.Equal(wrong(err), []string{"password PASSWORD_TOO_SHORT"}) {
		t.Errorf("weak password: %v", err)
	}

	// Of many at once one wins, and the password is the winner's.
	var won atomic.Int32
	var mu sync.Mutex
	chosen := ""
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			pw := fmt.Sprintf("%s %d", password, i)
			switch id, err := s.Setup(ctx, token, pw, "192.0.2.1", "r"); {
			case err == nil && id == u.ID.String():
				won.Add(1)
				mu.Lock()
				chosen = pw
				mu.Unlock()
			case apperr.CodeOf(err) != apperr.ErrSetupLink:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d used one link", won.Load())
	}
	id, err := s.SignIn(ctx, "ada", chosen, "", "")
	if err != nil || !actor(t, s, id).IsAdmin() {
		t.Errorf("sign-in after setup: %v", err)
	}
	if n := s.DB.Ent.AuditLog.Query().Where(auditlog.Action("user.set_password")).CountX(ctx); n != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestSetupEnds(t *testing.T) {
	s, ctx := service(t), t.Context()
	dead := func(name string, end func(*ent.UserUpdate)) {
		token, err := s.CreateSetup(ctx, name, "")
		if err != nil {
			t.Fatal(err)
		}
		q := s.DB.Ent.User.Update().Where(user.Username(name))
		end(q)
		q.ExecX(ctx)
		if _, err := s.Setup(ctx, token, password, "", ""); apperr.CodeOf(err) != apperr.ErrSetupLink {
			t.Errorf("%s: %v", name, err)
		}
	}
	dead("late", func(q *ent.UserUpdate) { q.SetSetupExpiresAt(time.Now().Add(-time.Second)) })
	dead("disabled", func(q *ent.UserUpdate) { q.SetDisabled(true) })
	if _, err := s.CreateSetup(ctx, "disabled", ""); apperr.CodeOf(err) != apperr.ErrForbidden {
		t.Errorf("a link for a disabled account: %v", err)
	}
	token, err := s.CreateSetup(ctx, "fresh", "")
	if err != nil {
		t.Fatal(err)
	}
	left := time.Until(*s.DB.Ent.User.Query().Where(user.Username("fresh")).OnlyX(ctx).SetupExpiresAt)
	if left < 59*time.Minute || left > time.Hour+time.Minute || token == "" {
		t.Errorf("a link lives for %v", left)
	}
	if _, err := s.CreateSetup(ctx, "fresh", domain.RoleOwner); !slices.Equal(wrong(err), []string{"system REQUIRED"}) {
		t.Errorf("a system's role without a system: %v", err)
	}
}

// Of two owners who send each other away at the same time one stays.
func TestLastOwner(t *testing.T) {
	s, ctx := service(t), t.Context()
	sys := s.DB.Ent.System.Create().SetName("shop").SetNamespace("shop").SetEnvironment(system.EnvironmentTest).SetCreatedBy("x").SaveX(ctx)
	owner := domain.Binding{Role: domain.RoleOwner, SystemID: sys.ID.String()}
	for i := range 10 {
		a, b := create(t, s, fmt.Sprintf("a%d", i), owner), create(t, s, fmt.Sprintf("b%d", i), owner)
		actors := []domain.Actor{actor(t, s, a), actor(t, s, b)}
		var wg sync.WaitGroup
		for j, other := range []string{b, a} {
			wg.Go(func() {
				err := s.Unbind(ctx, actors[j], other, owner)
				if code := apperr.CodeOf(err); err != nil && code != apperr.ErrLastOwner && code != apperr.ErrUnavailable {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		left := s.DB.Ent.RoleBinding.Query().Where(rolebinding.SystemID(sys.ID)).AllX(ctx)
		if len(left) == 0 {
			t.Fatal("nobody owns the system")
		}
		s.DB.Ent.RoleBinding.Delete().Where(rolebinding.SystemID(sys.ID)).ExecX(ctx)
	}
}

// Only admins read who there is, and a page of people ends where it should.
func TestPeopleList(t *testing.T) {
	s, ctx := service(t), t.Context()
	for i := range 5 {
		create(t, s, fmt.Sprintf("p%d", i))
	}
	if _, err := s.People(ctx, domain.Actor{UserID: uuid.NewString(), Username: "p0"}, listing.Page{}); apperr.CodeOf(err) != apperr.ErrForbidden {
		t.Errorf("somebody without a role: %v", err)
	}
	var names []string
	page := listing.Page{Limit: 2}
	for {
		list, err := s.People(ctx, admin, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list.Items {
			names = append(names, m.Username)
		}
		if page.After = list.Next; page.After == "" {
			break
		}
	}
	if !slices.Equal(names, []string{"p0", "p1", "p2", "p3", "p4"}) {
		t.Errorf("got %v", names)
	}
	if _, _, err := s.Invite(ctx, domain.Actor{UserID: uuid.NewString(), Username: "p0"}, account.NewUser{Username: "p9"}); apperr.CodeOf(err) != apperr.ErrForbidden {
		t.Errorf("an invitation by somebody without a role: %v", err)
	}
	if _, err := s.Member(ctx, admin, uuid.NewString()); apperr.CodeOf(err) != apperr.ErrNotFound {
		t.Errorf("nobody: %v", err)
	}
}
