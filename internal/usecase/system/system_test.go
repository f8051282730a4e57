package system_test

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
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	entsystem "kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
)

// world is a database with two clusters, on which shop-test is registered twice
// and shop-prod once.
type world struct {
	*testing.T
	*system.Service
	db         *ent.Client
	cluster    *ent.Cluster
	dev, other domain.Actor // two users without any role
}

func newWorld(t *testing.T) *world {
	db := databasetest.New(t)
	w := &world{T: t, Service: &system.Service{DB: db}, db: db.Ent}
	for i, e := range []cluster.Environment{"test", "test", "prod"} {
		w.cluster = w.db.Cluster.Create().SetName(fmt.Sprint("c", i)).SetEnvironment(e).SetCreatedBy("x").SetEncryptedKubeconfig([]byte("x")).
			SetEncryptionKeyID("k").SetAPIServerURL("https://x").SetIdentityUID(fmt.Sprint(i)).SaveX(t.Context())
		w.db.Namespace.Create().SetClusterID(w.cluster.ID).SetName("shop-" + string(e)).SetEnvironment(namespace.Environment(e)).
			SetCreatedBy("x").SaveX(t.Context())
	}
	w.dev, w.other = w.user("dev"), w.user("other")
	return w
}

func (w *world) user(name string) domain.Actor {
	u := w.db.User.Create().SetUsername(name).SaveX(w.Context())
	return domain.Actor{UserID: u.ID.String(), Username: name}
}

// create makes a system and gives dev the role that its creator gets.
func (w *world) create(name, namespace string) string {
	w.Helper()
	id, err := w.Create(w.Context(), w.dev, system.Input{Name: name, Namespace: namespace, Documentation: "# " + name})
	if err != nil {
		w.Fatal(err)
	}
	w.dev.Bindings = append(w.dev.Bindings, domain.Binding{Role: domain.RoleOwner, SystemID: id})
	return id
}

func (w *world) service(sys, name string) *ent.Service {
	s := w.db.System.GetX(w.Context(), uuid.MustParse(sys))
	return w.db.Service.Create().SetSystemID(s.ID).SetName(name).SetNamespace(s.Namespace).SetVMPrefix(domain.VMPrefix(s.Name, name)).
		SetCreatedBy("dev").SaveX(w.Context())
}

// vms makes VMs from number 1 on and keeps the counters as the use cases do.
func (w *world) vms(sv *ent.Service, n int, health domain.Health) []*ent.VM {
	rows := make([]*ent.VMCreate, n)
	for i := range rows {
		rows[i] = w.db.VM.Create().SetServiceID(sv.ID).SetSystemID(sv.SystemID).SetClusterID(w.cluster.ID).SetName(fmt.Sprintf("%s-%02d", sv.VMPrefix, i+1)).
			SetNamespace(sv.Namespace).SetInstance(i + 1).SetEnvironment(vm.EnvironmentTest).SetCreatedBy("dev").SetTicketID(1).
			SetTemplate("t").SetTemplateVersion(1).SetSize("s").SetCPU(1).SetMemoryMib(1).SetDiskGib(1).SetHealth(vm.Health(health))
	}
	bad := 0
	if health == domain.HealthBad {
		bad = n
	}
	w.db.Service.UpdateOne(sv).AddVMCount(n).AddBadCount(bad).ExecX(w.Context())
	w.db.System.UpdateOneID(sv.SystemID).AddVMCount(n).AddBadCount(bad).ExecX(w.Context())
	return w.db.VM.CreateBulk(rows...).SaveX(w.Context())
}

func (w *world) ticket(sys string, status approvalticket.Status) int {
	ev := w.db.DomainEvent.Create().SetType(domainevent.TypeVM_CREATION_REQUESTED).SetAggregateType("ticket").SetAggregateID("x").
		SetPayload([]byte("{}")).SetCreatedBy("x").SaveX(w.Context())
	return w.db.ApprovalTicket.Create().SetEventID(ev.ID).SetOperation(approvalticket.OperationCREATE).SetEnvironment(approvalticket.EnvironmentTest).
		SetRequesterID(uuid.New()).SetRequester("x").SetReason("").SetSystemID(uuid.MustParse(sys)).SetSystemName("x").SetServiceID(uuid.New()).
		SetServiceName("web").SetTitle("t").SetResourceKey(uuid.NewString()).SetExpiresAt(time.Now()).SetStatus(status).SaveX(w.Context()).ID
}

func as(a domain.Actor, bindings ...domain.Binding) domain.Actor {
	a.Bindings = bindings
	return a
}

func wrong(err error) []string {
	var list []string
	for _, e := range apperr.Fields(err) {
		list = append(list, e.Field()+" "+e.Code)
	}
	return list
}

func TestNamespaces(t *testing.T) {
	w := newWorld(t)
	got, err := w.Namespaces(t.Context(), w.dev)
	if want := []system.Namespace{{"shop-prod", domain.Prod}, {"shop-test", domain.Test}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := w.Namespaces(t.Context(), as(w.dev, domain.Binding{Role: domain.RoleAuditor})); apperr.CodeOf(err) != apperr.ErrForbidden {
		t.Errorf("an auditor makes no systems: %v", err)
	}
}

func TestCreate(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id := w.create("shop", "shop-prod")
	s, err := w.Get(ctx, w.dev, id)
	if err != nil || s.Name != "shop" || s.Environment != domain.Prod || s.Documentation != "# shop" || s.CreatedBy != "dev" {
		t.Fatalf("%+v, %v", s, err)
	}
	members, err := w.Members(ctx, w.dev, id)
	if want := []system.Member{{w.dev.UserID, "dev", "", domain.RoleOwner, ""}}; err != nil || !slices.Equal(members, want) {
		t.Errorf("%+v, %v", members, err)
	}
	if r := w.db.AuditLog.Query().OnlyX(ctx); r.Action != "system.create" || r.Actor != "dev" || r.ResourceID != id || r.SystemID != id {
		t.Errorf("%+v", r)
	}
	w.create("shop", "shop-test") // the same name elsewhere

	long := strings.Repeat("x", 56)
	for _, c := range []struct {
		in   system.Input
		want []string
	}{
		{system.Input{}, []string{"name REQUIRED", "namespace REQUIRED"}},
		{system.Input{Name: "Shop", Namespace: "other", Documentation: "a\x00"}, []string{"name INVALID_NAME", "namespace NAMESPACE_MISSING", "documentation INVALID_TEXT"}},
		{system.Input{Name: long, Namespace: "a\x00", Documentation: strings.Repeat("x", 64<<10+1)}, []string{"name VM_NAME_TOO_LONG", "namespace NAMESPACE_MISSING", "documentation TOO_LONG"}},
		{system.Input{Name: "1st", Namespace: "shop-test", Documentation: "\xff"}, []string{"name INVALID_NAME", "documentation INVALID_TEXT"}},
		{system.Input{Name: "shop", Namespace: "shop-test"}, []string{"name NAME_TAKEN"}},
	} {
		if _, err := w.Create(ctx, w.other, c.in); !slices.Equal(wrong(err), c.want) {
			t.Errorf("%.30q: %q, want %q", c.in.Name, wrong(err), c.want)
		}
	}
	if _, err := w.Create(ctx, w.other, system.Input{Name: long[1:], Namespace: "shop-test", Documentation: "tab\t\r\nline"}); err != nil {
		t.Errorf("the longest name: %v", err)
	}
	for name, a := range map[string]domain.Actor{
		"auditor": as(w.other, domain.Binding{Role: domain.RoleAuditor}), "viewer": as(w.other, domain.Binding{Role: domain.RoleViewer, SystemID: id}),
		"nobody": {}, "shepherd": domain.Shepherd(),
	} {
		want := apperr.ErrForbidden
		if a.UserID == "" {
			want = apperr.ErrSignedOut
		}
		if _, err := w.Create(ctx, a, system.Input{Name: "new", Namespace: "shop-test"}); apperr.CodeOf(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSameNameAtOnce(t *testing.T) {
	w := newWorld(t)
	var made, taken atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch _, err := w.Create(t.Context(), w.dev, system.Input{Name: "shop", Namespace: "shop-test"}); {
			case err == nil:
				made.Add(1)
			case slices.Equal(wrong(err), []string{"name NAME_TAKEN"}):
				taken.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 || taken.Load() != 19 || w.db.RoleBinding.Query().CountX(t.Context()) != 1 || w.db.AuditLog.Query().CountX(t.Context()) != 1 {
		t.Errorf("%d made, %d taken", made.Load(), taken.Load())
	}
}

// Who may do what with a system of prod: what one may not see is not there.
func TestRights(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id := w.create("shop", "shop-prod")
	of := func(r domain.Role) domain.Binding { return domain.Binding{Role: r, SystemID: id} }
	const no, see, own = apperr.ErrNotFound, apperr.ErrForbidden, apperr.ErrNameMismatch
	for name, c := range map[string]struct {
		bindings []domain.Binding
		want     string // of a deletion with a wrong name
	}{
		"nobody":           {nil, no},
		"other's owner":    {[]domain.Binding{{Role: domain.RoleOwner, SystemID: uuid.NewString()}}, no},
		"viewer":           {[]domain.Binding{of(domain.RoleViewer)}, see},
		"maintainer":       {[]domain.Binding{of(domain.RoleMaintainer)}, see},
		"owner":            {[]domain.Binding{of(domain.RoleOwner)}, own},
		"auditor":          {[]domain.Binding{{Role: domain.RoleAuditor}}, see},
		"approver of test": {[]domain.Binding{{Role: domain.RoleApprover, Environment: domain.Test}}, no},
		"approver of prod": {[]domain.Binding{{Role: domain.RoleApprover, Environment: domain.Prod}}, see},
		"admin":            {[]domain.Binding{{Role: domain.RoleAdmin}}, own},
	} {
		a := as(w.other, c.bindings...)
		_, err := w.Get(ctx, a, id)
		_, err2 := w.Members(ctx, a, id)
		for _, err := range []error{err, err2} {
			if hidden := apperr.CodeOf(err) == no; hidden != (c.want == no) || !hidden && err != nil {
				t.Errorf("%s reads it: %v", name, err)
			}
		}
		if err := w.Delete(ctx, a, id, "x"); apperr.CodeOf(err) != c.want {
			t.Errorf("%s deletes it: %v, want %s", name, err, c.want)
		}
		err = w.UpdateDocumentation(ctx, a, id, "by "+name)
		if c.want == own && err != nil || c.want != own && apperr.CodeOf(err) != c.want {
			t.Errorf("%s writes its documentation: %v", name, err)
		}
		list, err := w.List(ctx, a, listing.Page{})
		if err != nil || len(list.Items) != map[bool]int{true: 1}[c.want != no] {
			t.Errorf("%s lists %+v, %v", name, list, err)
		}
		tree, err := w.Tree(ctx, a, system.TreeQuery{Open: []string{id}, Selected: id})
		if err != nil || tree.Total != len(list.Items) || len(tree.Systems) != tree.Total {
			t.Errorf("%s has the tree %+v, %v", name, tree, err)
		}
	}
	for _, id := range []string{"", "x", uuid.NewString()} {
		if _, err := w.Get(ctx, w.dev, id); apperr.CodeOf(err) != no {
			t.Errorf("%q: %v", id, err)
		}
	}
	// An id in another spelling is the same id.
	if _, err := w.Get(ctx, w.dev, strings.ToUpper(id)); err != nil {
		t.Error(err)
	}
}

func TestUpdateDocumentation(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id := w.create("shop", "shop-test")
	if err := w.UpdateDocumentation(ctx, w.dev, id, "a\x00"); !slices.Equal(wrong(err), []string{"documentation INVALID_TEXT"}) {
		t.Error(err)
	}
	if err := w.UpdateDocumentation(ctx, w.dev, id, "new"); err != nil {
		t.Fatal(err)
	}
	if s, _ := w.Get(ctx, w.dev, id); s.Documentation != "new" {
		t.Errorf("%+v", s)
	}
}

func TestDelete(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id := w.create("shop", "shop-test")
	if err := w.Delete(ctx, w.dev, id, "shop-test"); !slices.Equal(wrong(err), []string{"name NAME_MISMATCH"}) {
		t.Errorf("another name: %v", err)
	}

	for i := range 12 {
		w.service(id, fmt.Sprintf("s%02d", i))
	}
	e, _ := apperr.From(w.Delete(ctx, w.dev, id, "shop"))
	if e == nil || e.Code != apperr.ErrHasChildren || e.Params["count"] != 12 {
		t.Fatalf("with services: %v", e)
	}
	if names := e.Params["children"].([]string); len(names) != 11 || names[0] != "s00" || names[9] != "s09" || names[10] != "…" {
		t.Errorf("names %q", names)
	}
	w.db.Service.Delete().ExecX(ctx)
	n := w.ticket(id, approvalticket.StatusPENDING_APPROVAL)
	if e, _ = apperr.From(w.Delete(ctx, w.dev, id, "shop")); e == nil || e.Code != apperr.ErrHasPending || e.Params["ticket"] != domain.TicketName(n) {
		t.Errorf("with a request: %v", e)
	}
	w.db.ApprovalTicket.UpdateOneID(n).SetStatus(approvalticket.StatusREJECTED).ExecX(ctx)
	if err := w.Delete(ctx, w.dev, id, "shop"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Get(ctx, w.dev, id); apperr.CodeOf(err) != apperr.ErrNotFound || w.db.RoleBinding.Query().CountX(ctx) != 0 {
		t.Errorf("after deletion: %v", err)
	}
	w.create("shop", "shop-test") // the name is free again
}

func TestListPages(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	var want []string
	for i := range 5 {
		for _, ns := range []string{"shop-test", "shop-prod"} { // pairs of one name
			w.create(fmt.Sprint("s", i), ns)
			want = append(want, fmt.Sprint("s", i))
		}
	}
	var got []string
	seen := map[string]bool{}
	for page := (listing.Page{Limit: 3}); ; {
		l, err := w.List(ctx, w.dev, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range l.Items {
			got, seen[s.ID] = append(got, s.Name), true
		}
		if page.After = l.Next; l.Next == "" {
			break
		}
	}
	if !slices.Equal(got, want) || len(seen) != 10 {
		t.Errorf("got %q", got)
	}
	if _, err := w.List(ctx, w.dev, listing.Page{After: "x"}); apperr.CodeOf(err) != apperr.ErrInvalidChoice {
		t.Errorf("a made-up cursor: %v", err)
	}
}

// outline draws a tree: + is open, - is closed, a number is how many VMs there
// are and ! how many are bad.
func outline(t system.Tree) string {
	var b strings.Builder
	mark := map[bool]string{true: "+", false: "-"}
	for _, s := range t.Systems {
		fmt.Fprintf(&b, "%s%s %d!%d", mark[s.Open], s.Name, s.VMs, s.Bad)
		for _, sv := range s.Services {
			fmt.Fprintf(&b, " [%s%s %d!%d", mark[sv.Open], sv.Name, sv.VMs, sv.Bad)
			for _, v := range sv.List {
				fmt.Fprintf(&b, " %02d", v.Instance)
			}
			if sv.Part.Next.Cursor != "" {
				b.WriteString(" …")
			}
			b.WriteString("]")
		}
		b.WriteString("; ")
	}
	return strings.TrimSpace(b.String())
}

func TestTree(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	shop, bank := w.create("shop", "shop-test"), w.create("bank", "shop-test")
	w.dev.Bindings = w.dev.Bindings[:1] // bank is no business of dev's
	redis, web, vault := w.service(shop, "redis"), w.service(shop, "web"), w.service(bank, "vault")
	rv := w.vms(redis, 2, domain.HealthOK)
	w.vms(web, 1, domain.HealthBad)
	secret := w.vms(vault, 3, domain.HealthBad)
	gone := w.db.VM.Create().SetServiceID(redis.ID).SetSystemID(redis.SystemID).SetClusterID(w.cluster.ID).SetName("shop-redis-03").SetNamespace("n").
		SetInstance(3).SetEnvironment(vm.EnvironmentTest).SetCreatedBy("x").SetTicketID(1).SetTemplate("t").SetTemplateVersion(1).SetSize("s").
		SetCPU(1).SetMemoryMib(1).SetDiskGib(1).SetDeletedAt(time.Now()).SaveX(ctx)
	all := as(w.other, domain.Binding{Role: domain.RoleAuditor})

	id := func(v interface{ String() string }) string { return v.String() }
	for name, c := range map[string]struct {
		actor domain.Actor
		q     system.TreeQuery
		want  string
	}{
		"closed":              {w.dev, system.TreeQuery{}, "-shop 3!1;"},
		"all closed":          {all, system.TreeQuery{}, "-bank 3!3; -shop 3!1;"},
		"system":              {w.dev, system.TreeQuery{Open: []string{shop}}, "+shop 3!1 [-redis 2!0] [-web 1!1];"},
		"service":             {w.dev, system.TreeQuery{Open: []string{shop, id(redis.ID)}}, "+shop 3!1 [+redis 2!0 01 02] [-web 1!1];"},
		"service alone":       {w.dev, system.TreeQuery{Open: []string{id(redis.ID)}}, "-shop 3!1;"},
		"selected VM":         {w.dev, system.TreeQuery{Selected: id(rv[1].ID)}, "+shop 3!1 [+redis 2!0 01 02] [-web 1!1];"},
		"selected deleted":    {w.dev, system.TreeQuery{Selected: id(gone.ID)}, "+shop 3!1 [+redis 2!0 01 02] [-web 1!1];"},
		"selected service":    {w.dev, system.TreeQuery{Selected: id(web.ID)}, "+shop 3!1 [-redis 2!0] [+web 1!1 01];"},
		"selected system":     {w.dev, system.TreeQuery{Selected: shop}, "+shop 3!1 [-redis 2!0] [-web 1!1];"},
		"shut":                {w.dev, system.TreeQuery{Selected: id(rv[1].ID), Shut: []string{id(redis.ID)}}, "+shop 3!1 [-redis 2!0] [-web 1!1];"},
		"branch: system":      {w.dev, system.TreeQuery{Branch: shop, Open: []string{shop, id(web.ID)}}, "+shop 3!1 [-redis 2!0] [+web 1!1 01];"},
		"branch: service":     {w.dev, system.TreeQuery{Branch: id(web.ID), Open: []string{id(web.ID)}}, "+shop 3!1 [+web 1!1 01];"},
		"branch: closed":      {w.dev, system.TreeQuery{Branch: shop}, "-shop 3!1;"},
		"branch: searched":    {all, system.TreeQuery{Branch: shop, Query: "web"}, "+shop 3!1 [-web 1!1];"},
		"selected elsewhere":  {w.dev, system.TreeQuery{Selected: id(secret[0].ID), Open: []string{bank, id(vault.ID)}}, "-shop 3!1;"},
		"rubbish":             {w.dev, system.TreeQuery{Selected: "x", Open: []string{"", "\x00", uuid.NewString()}}, "-shop 3!1;"},
		"query: system":       {all, system.TreeQuery{Query: " SHO "}, "+shop 3!1 [-redis 2!0] [-web 1!1];"},
		"query: shut":         {all, system.TreeQuery{Query: "sho", Shut: []string{shop}}, "-shop 3!1;"},
		"query: what is open": {all, system.TreeQuery{Query: "edi", Open: []string{shop, bank}}, "+shop 3!1 [-redis 2!0];"},
		"query: service":      {all, system.TreeQuery{Query: "edi"}, "+shop 3!1 [-redis 2!0];"},
		"query: prefix":       {all, system.TreeQuery{Query: "shop-redis"}, "+shop 3!1 [+redis 2!0 01 02];"},
		"query: VM":           {all, system.TreeQuery{Query: "shop-redis-02"}, "+shop 3!1 [+redis 2!0 02];"},
		"query: hidden":       {w.dev, system.TreeQuery{Query: "vault"}, ""},
		"query: nothing":      {all, system.TreeQuery{Query: "%"}, ""},
		"query: NUL":          {all, system.TreeQuery{Query: "a\x00"}, ""},
		"problems":            {all, system.TreeQuery{Problems: true}, "+bank 3!3 [+vault 3!3 01 02 03]; +shop 3!1 [+web 1!1 01];"},
		"problems, query":     {all, system.TreeQuery{Problems: true, Query: "shop"}, "+shop 3!1 [+web 1!1 01];"},
	} {
		tree, err := w.Tree(ctx, c.actor, c.q)
		if got := outline(tree); err != nil || got != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, c.want)
		}
	}
	if tree, _ := w.Tree(ctx, all, system.TreeQuery{Query: "vault"}); tree.Total != 2 || tree.VMs != 6 || tree.Bad != 4 {
		t.Errorf("totals %+v", tree)
	}
	for _, branch := range []string{bank, id(vault.ID), id(secret[0].ID), uuid.NewString(), "x"} {
		if _, err := w.Tree(ctx, w.dev, system.TreeQuery{Branch: branch, Open: []string{branch}}); apperr.CodeOf(err) != apperr.ErrNotFound {
			t.Errorf("a branch that dev may not know of: %v", err)
		}
	}
	bad, err := w.Attention(ctx, all, 3)
	if err != nil || len(bad) != 3 || bad[0].Name != "bank-vault-01" {
		t.Errorf("attention %+v, %v", bad, err)
	}
	if bad, err := w.Attention(ctx, w.dev, 3); err != nil || len(bad) != 1 || bad[0].Name != "shop-web-01" {
		t.Errorf("attention of dev %+v, %v", bad, err)
	}
	if tree, err := w.Tree(ctx, w.other, system.TreeQuery{}); err != nil || tree.Total != 0 || tree.VMs != 0 {
		t.Errorf("for nobody: %+v, %v", tree, err)
	}
}

// Long lists come in parts and every row once, whatever is selected: that is
// there at once. What was fetched is there again when all is redrawn.
func TestTreeComesInParts(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	shop := w.create("shop", "shop-test")
	sv := w.service(shop, "web")
	vms := w.vms(sv, 250, domain.HealthOK)
	w.db.Service.UpdateOne(sv).SetVMCount(250).ExecX(ctx)
	for i := range 120 {
		w.service(shop, fmt.Sprintf("s%03d", i))
	}
	rows := make([]*ent.SystemCreate, 205)
	for i := range rows { // pairs of one name
		rows[i] = w.db.System.Create().SetName(fmt.Sprintf("a%03d", i/2)).SetNamespace(fmt.Sprint("n", i%2)).SetEnvironment(entsystem.EnvironmentTest).SetCreatedBy("x")
	}
	w.db.System.CreateBulk(rows...).ExecX(ctx)
	all := as(w.other, domain.Binding{Role: domain.RoleAuditor})
	ids := func(tree system.Tree, parent string) (list []string, part system.TreePart) {
		if parent == "" {
			for _, s := range tree.Systems {
				list = append(list, s.ID)
			}
			return list, tree.Part
		}
		for _, s := range tree.Systems {
			if s.ID == parent {
				for _, v := range s.Services {
					list = append(list, v.ID)
				}
				return list, s.Part
			}
			for _, v := range s.Services {
				if v.ID == parent {
					for _, m := range v.List {
						list = append(list, m.ID)
					}
					return list, v.Part
				}
			}
		}
		return nil, system.TreePart{}
	}
	q := system.TreeQuery{Selected: vms[240].ID.String()}
	first, err := w.Tree(ctx, all, q)
	if err != nil || first.Total != 206 {
		t.Fatalf("%d systems of %d, %v", len(first.Systems), first.Total, err)
	}
	for name, c := range map[string]struct {
		parent, selected string
		total            int
	}{
		"systems": {"", shop, 206}, "services": {shop, sv.ID.String(), 121}, "VMs": {sv.ID.String(), vms[240].ID.String(), 250},
	} {
		got, part := ids(first, c.parent)
		if len(got) != 101 || !part.Late || got[100] != c.selected || part.Left != c.total-101 {
			t.Fatalf("%s: %d rows, %+v", name, len(got), part)
		}
		got = got[:100]
		for part.Next.Cursor != "" {
			q := q
			q.Upto, q.Branch, q.Rest, q.Open = map[string]system.Shown{c.parent: part.Next}, c.parent, true, []string{shop, sv.ID.String()}
			next, err := w.Tree(ctx, all, q)
			if err != nil {
				t.Fatal(err)
			}
			q.Branch, q.Rest = "", false
			whole, err := w.Tree(ctx, all, q)
			if err != nil {
				t.Fatal(err)
			}
			var more []string
			more, part = ids(next, c.parent)
			if part.Late {
				more = more[:len(more)-1]
			}
			got = append(got, more...)
			again, same := ids(whole, c.parent)
			if same.Late {
				again = again[:len(again)-1]
			}
			if c.parent == "" && !slices.Equal(again, got) || same != part {
				t.Errorf("%s: redrawn %d rows, %+v; want %d, %+v", name, len(again), same, len(got), part)
			}
		}
		slices.Sort(got)
		if n := len(slices.Compact(got)); n != c.total {
			t.Errorf("%s: %d rows in all, want %d", name, n, c.total)
		}
	}
	for parent, cursor := range map[string]string{"": "x", shop: "\x00", sv.ID.String(): "x"} {
		q.Upto = map[string]system.Shown{parent: {Rows: 1, Cursor: cursor}}
		if _, err := w.Tree(ctx, all, q); apperr.CodeOf(err) != apperr.ErrInvalidChoice && len(apperr.Fields(err)) != 1 {
			t.Errorf("a made-up cursor %q: %v", cursor, err)
		}
	}
}
