package account_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/groupmember"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

func newGroup(t *testing.T, s *account.Service, name, external string, roles ...domain.Binding) string {
	t.Helper()
	id, err := s.CreateGroup(t.Context(), admin, account.GroupInput{Name: name, External: external})
	for _, b := range roles {
		if err == nil {
			err = s.BindGroup(t.Context(), admin, id, b)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func check(t *testing.T, err error, code string) {
	t.Helper()
	if code == "" && err != nil || code != "" && apperr.CodeOf(err) != code {
		t.Errorf("got %v, want %q", err, code)
	}
}

func TestGroupRoles(t *testing.T) {
	s, ctx := service(t), t.Context()
	sys := s.DB.Ent.System.Create().SetName("shop").SetNamespace("n").SetCreatedBy("x").SaveX(ctx)
	owner := domain.Binding{Role: domain.RoleOwner, SystemID: sys.ID.String()}
	id := create(t, s, "alice", domain.Binding{Role: domain.RoleAuditor})
	other := create(t, s, "bob")
	g := newGroup(t, s, "team", "", owner, domain.Binding{Role: domain.RoleApprover, Environment: domain.Prod})
	newGroup(t, s, "others", "", domain.Binding{Role: domain.RoleAdmin})

	if a := actor(t, s, id); domain.Can(a, domain.SystemUpdate, domain.Object{SystemID: sys.ID.String()}) || len(a.Bindings) != 1 {
		t.Errorf("before: %+v", a.Bindings)
	}
	for range 2 { // twice is no error
		check(t, s.AddToGroup(ctx, admin, g, "alice"), "")
	}
	a := actor(t, s, id)
	for _, want := range []domain.Binding{
		{Role: domain.RoleAuditor},
		{Role: domain.RoleOwner, SystemID: sys.ID.String(), Via: "team"},
		{Role: domain.RoleApprover, Environment: domain.Prod, Via: "team"},
	} {
		if !slices.Contains(a.Bindings, want) || len(a.Bindings) != 3 {
			t.Errorf("%+v is not in %+v", want, a.Bindings)
		}
	}
	if a := actor(t, s, other); len(a.Bindings) > 0 {
		t.Errorf("bob: %+v", a.Bindings)
	}
	people, err := s.Approvers(ctx, s.DB.Ent, domain.Prod, "")
	if err != nil || len(people) != 1 || people[0].Username != "alice" {
		t.Errorf("approvers: %+v, %v", people, err)
	}
	m, err := s.Member(ctx, admin, id)
	if err != nil || len(m.Groups) != 1 || m.Groups[0].Name != "team" || len(m.Bindings) != 2 || len(m.InSystems) != 1 || m.InSystems[0].Via != "team" {
		t.Errorf("%+v, %v", m, err)
	}
	list, err := s.Groups(ctx, admin, listing.Page{})
	if err != nil || len(list.Items) != 2 || list.Items[1].People != 1 || list.Items[1].InSystems[0].System != "shop" {
		t.Errorf("%+v, %v", list, err)
	}

	check(t, s.RemoveFromGroup(ctx, admin, g, id), apperr.ErrLastOwner)
	check(t, s.Bind(ctx, admin, other, owner), "")
	check(t, s.RemoveFromGroup(ctx, admin, g, id), "")
	if a := actor(t, s, id); len(a.Bindings) != 1 {
		t.Errorf("after: %+v", a.Bindings)
	}
	n := s.DB.Ent.AuditLog.Query().Where(auditlog.ResourceID(g)).Order(auditlog.ByID()).Select(auditlog.FieldAction).StringsX(ctx)
	if got := strings.Join(n, " "); got != "group.create group.bind group.bind group.add_member group.remove_member" {
		t.Errorf("audit: %s", got)
	}
}

// A role that somebody must have counts whoever has it by a group, and no other.
func TestLastOwnerByGroup(t *testing.T) {
	s, ctx := service(t), t.Context()
	sys := s.DB.Ent.System.Create().SetName("shop").SetNamespace("n").SetCreatedBy("x").SaveX(ctx)
	owner := domain.Binding{Role: domain.RoleOwner, SystemID: sys.ID.String()}
	alice, bob := create(t, s, "alice", owner), create(t, s, "bob")
	g := newGroup(t, s, "team", "shop-team", owner)
	check(t, s.Unbind(ctx, admin, alice, owner), apperr.ErrLastOwner) // the group is empty
	check(t, s.AddToGroup(ctx, admin, g, "bob"), "")
	check(t, s.Unbind(ctx, admin, alice, owner), "")
	for name, err := range map[string]error{
		"member":   s.RemoveFromGroup(ctx, admin, g, bob),
		"group":    s.DeleteGroup(ctx, admin, g),
		"its role": s.UnbindGroup(ctx, admin, g, owner),
	} {
		if apperr.CodeOf(err) != apperr.ErrLastOwner {
			t.Errorf("the last %s: %v", name, err)
		}
	}
	s.DB.Ent.User.UpdateOneID(uuid.MustParse(bob)).SetDisabled(true).ExecX(ctx)
	check(t, s.Bind(ctx, admin, alice, owner), "")
	check(t, s.DeleteGroup(ctx, admin, g), "")
	check(t, s.Unbind(ctx, admin, alice, owner), apperr.ErrLastOwner)

	// The same for admins, and for those whose account is closed.
	boss := create(t, s, "boss", domain.Binding{Role: domain.RoleAdmin})
	admins := newGroup(t, s, "admins", "", domain.Binding{Role: domain.RoleAdmin})
	carol := create(t, s, "carol")
	check(t, s.SetDisabled(ctx, admin, boss, true), apperr.ErrLastOwner)
	check(t, s.AddToGroup(ctx, admin, admins, "carol"), "")
	check(t, s.SetDisabled(ctx, admin, boss, true), "")
	check(t, s.SetDisabled(ctx, admin, carol, true), apperr.ErrLastOwner)
	check(t, s.RemoveFromGroup(ctx, admin, admins, carol), apperr.ErrLastOwner)
}

// Of two members of different groups who are taken out at once one stays owner.
func TestLastOwnerByGroupAtOnce(t *testing.T) {
	s, ctx := service(t), t.Context()
	sys := s.DB.Ent.System.Create().SetName("shop").SetNamespace("n").SetCreatedBy("x").SaveX(ctx)
	owner := domain.Binding{Role: domain.RoleOwner, SystemID: sys.ID.String()}
	ids := []string{create(t, s, "a"), create(t, s, "b")}
	groups := []string{newGroup(t, s, "ga", "", owner), newGroup(t, s, "gb", "", owner)}
	for range 10 {
		for i, name := range []string{"a", "b"} {
			check(t, s.AddToGroup(ctx, admin, groups[i], name), "")
		}
		var wg sync.WaitGroup
		for i := range groups {
			wg.Go(func() {
				err := s.RemoveFromGroup(ctx, admin, groups[i], ids[i])
				if code := apperr.CodeOf(err); err != nil && code != apperr.ErrLastOwner && code != apperr.ErrUnavailable {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := s.DB.Ent.GroupMember.Query().CountX(ctx); n == 0 {
			t.Fatal("nobody owns the system")
		}
	}
}

// What the issuer says is a diff of what it said before; members by hand stay.
func TestSyncGroups(t *testing.T) {
	s, ctx := service(t), t.Context()
	id := create(t, s, "alice")
	a, b, local := newGroup(t, s, "a", "idp-a"), newGroup(t, s, "b", "idp-b"), newGroup(t, s, "local", "")
	check(t, s.AddToGroup(ctx, admin, b, "alice"), "")
	check(t, s.AddToGroup(ctx, admin, local, "alice"), "")
	sync := func(claims ...string) string {
		t.Helper()
		var added, removed []string
		err := s.DB.InTx(ctx, func(tx *ent.Tx) (err error) {
			added, removed, err = s.SyncGroups(ctx, tx, id, claims)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		var in []string
		m, err := s.Member(ctx, admin, id)
		for _, g := range m.Groups {
			name := g.Name
			for _, from := range g.Sources {
				name += "/" + string(from)
			}
			in = append(in, name)
		}
		if err != nil {
			t.Error(err)
		}
		return "+" + strings.Join(added, ",") + " -" + strings.Join(removed, ",") + " = " + strings.Join(in, " ")
	}
	for _, c := range []struct {
		claims []string
		want   string
	}{
		{[]string{"idp-a", "idp-b", "idp-unknown", "", "local"}, "+a,b - = a/oidc b/local/oidc local/local"},
		{[]string{"idp-a", "idp-b"}, "+ - = a/oidc b/local/oidc local/local"},
		{[]string{"idp-b", "idp-b"}, "+ -a = b/local/oidc local/local"},
		{nil, "+ -b = b/local local/local"},
		{[]string{"idp-a"}, "+a - = a/oidc b/local local/local"},
	} {
		if got := sync(c.claims...); got != c.want {
			t.Errorf("%v: got %q, want %q", c.claims, got, c.want)
		}
	}
	// Another claim: who came by the old one is out.
	check(t, s.UpdateGroup(ctx, admin, a, account.GroupInput{Name: "a", External: "idp-other"}), "")
	if n := s.DB.Ent.GroupMember.Query().Where(groupmember.SourceEQ(groupmember.SourceOidc)).CountX(ctx); n != 0 {
		t.Errorf("%d members by the old claim", n)
	}
	if got := sync("idp-a"); got != "+ - = b/local local/local" {
		t.Errorf("got %s", got)
	}
	if n := s.DB.Ent.AuditLog.Query().Where(auditlog.ActionIn("group.add_member", "group.remove_member"), auditlog.Actor("shepherd")).CountX(ctx); n != 5 {
		t.Errorf("%d entries", n)
	}
	if err := s.DB.InTx(ctx, func(tx *ent.Tx) error {
		_, _, err := s.SyncGroups(ctx, tx, uuid.NewString(), nil)
		return err
	}); apperr.CodeOf(err) != apperr.ErrNotFound {
		t.Errorf("nobody: %v", err)
	}
}

func TestGroupInput(t *testing.T) {
	s, ctx := service(t), t.Context()
	newGroup(t, s, "taken", "idp")
	for _, c := range []struct {
		in   account.GroupInput
		want string
	}{
		{account.GroupInput{}, "name REQUIRED"},
		{account.GroupInput{Name: "A b"}, "name INVALID_NAME"},
		{account.GroupInput{Name: "taken"}, "name NAME_TAKEN"},
		{account.GroupInput{Name: "free", External: "idp"}, "external NAME_TAKEN"},
		{account.GroupInput{Name: "free", External: "a\nb"}, "external INVALID_TEXT"},
		{account.GroupInput{Name: "free", Description: strings.Repeat("x", 201)}, "description TOO_LONG"},
	} {
		if _, err := s.CreateGroup(ctx, admin, c.in); !slices.Equal(wrong(err), []string{c.want}) {
			t.Errorf("%+v: %v", c.in, err)
		}
	}
	// Two without an external name are two groups.
	free := newGroup(t, s, "free", "")
	newGroup(t, s, "free2", "")
	if err := s.UpdateGroup(ctx, admin, free, account.GroupInput{Name: "taken"}); !slices.Equal(wrong(err), []string{"name NAME_TAKEN"}) {
		t.Errorf("renamed: %v", err)
	}
	check(t, s.AddToGroup(ctx, admin, free, "nobody"), apperr.ErrNoSuchPerson)
	stranger := domain.Actor{UserID: uuid.NewString(), Username: "x"}
	for name, err := range map[string]error{
		"create": second(s.CreateGroup(ctx, stranger, account.GroupInput{Name: "x"})),
		"list":   second(s.Groups(ctx, stranger, listing.Page{})),
		"read":   second(s.Group(ctx, stranger, free)),
		"people": second(s.GroupMembers(ctx, stranger, free, listing.Page{})),
		"update": s.UpdateGroup(ctx, stranger, free, account.GroupInput{Name: "x"}),
		"delete": s.DeleteGroup(ctx, stranger, free), "add": s.AddToGroup(ctx, stranger, free, "x"),
		"remove": s.RemoveFromGroup(ctx, stranger, free, uuid.NewString()),
		"bind":   s.BindGroup(ctx, stranger, free, domain.Binding{Role: domain.RoleAdmin}),
	} {
		if apperr.CodeOf(err) != apperr.ErrForbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// The database itself keeps a role from being there twice or nobody's.
func TestBindingConstraints(t *testing.T) {
	s, ctx := service(t), t.Context()
	user := uuid.MustParse(create(t, s, "alice"))
	g := uuid.MustParse(newGroup(t, s, "team", ""))
	sys := s.DB.Ent.System.Create().SetName("shop").SetNamespace("n").SetCreatedBy("x").SaveX(ctx)
	row := func() *ent.RoleBindingCreate {
		return s.DB.Ent.RoleBinding.Create().SetRole(rolebinding.RoleViewer).SetCreatedBy("x")
	}
	for name, make := range map[string]func() *ent.RoleBindingCreate{
		"user":               func() *ent.RoleBindingCreate { return row().SetUserID(user) },
		"user, environment":  func() *ent.RoleBindingCreate { return row().SetUserID(user).SetEnvironment("test") },
		"user, system":       func() *ent.RoleBindingCreate { return row().SetUserID(user).SetSystem(sys) },
		"group":              func() *ent.RoleBindingCreate { return row().SetGroupID(g) },
		"group, environment": func() *ent.RoleBindingCreate { return row().SetGroupID(g).SetEnvironment("test") },
		"group, system":      func() *ent.RoleBindingCreate { return row().SetGroupID(g).SetSystem(sys) },
	} {
		if err := make().Exec(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := make().Exec(ctx); !ent.IsConstraintError(err) {
			t.Errorf("%s twice: %v", name, err)
		}
	}
	for name, bad := range map[string]*ent.RoleBindingCreate{
		"nobody": row(), "both": row().SetUserID(user).SetGroupID(g).SetEnvironment("prod"),
		"two places": row().SetUserID(user).SetSystem(sys).SetEnvironment("prod"),
	} {
		if err := bad.Exec(ctx); !ent.IsConstraintError(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
