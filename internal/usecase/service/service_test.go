package service_test

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
	entsystem "kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
)

type world struct {
	*testing.T
	*service.Service
	db      *ent.Client
	cluster *ent.Cluster
	dev     domain.Actor // maintainer of shop and no more
	shop    string       // system of test, in namespace n
}

func newWorld(t *testing.T) *world {
	db := databasetest.New(t)
	w := &world{T: t, Service: &service.Service{DB: db}, db: db.Ent}
	w.cluster = w.db.Cluster.Create().SetName("east").SetEnvironment(cluster.EnvironmentTest).SetCreatedBy("x").SetEncryptedKubeconfig([]byte("x")).
		SetEncryptionKeyID("k").SetAPIServerURL("https://x").SetIdentityUID("u").SaveX(t.Context())
	w.shop = w.system("shop", "n")
	w.dev = domain.Actor{UserID: uuid.NewString(), Username: "dev", Bindings: []domain.Binding{{Role: domain.RoleMaintainer, SystemID: w.shop}}}
	return w
}

func (w *world) system(name, namespace string) string {
	return w.db.System.Create().SetName(name).SetNamespace(namespace).SetEnvironment(entsystem.EnvironmentTest).SetCreatedBy("x").SaveX(w.Context()).ID.String()
}

func (w *world) create(name string) string {
	w.Helper()
	id, err := w.Create(w.Context(), w.dev, service.Input{SystemID: w.shop, Name: name, Documentation: "# " + name})
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// vm makes the next VM of a service, as a decision does.
func (w *world) vm(id string, health domain.Health, ip string) *ent.VM {
	sv := w.db.Service.GetX(w.Context(), uuid.MustParse(id))
	w.db.Service.UpdateOne(sv).AddNextInstanceIndex(1).AddVMCount(1).ExecX(w.Context())
	n := sv.NextInstanceIndex
	return w.db.VM.Create().SetServiceID(sv.ID).SetSystemID(sv.SystemID).SetClusterID(w.cluster.ID).SetName(fmt.Sprintf("%s-%02d", sv.VMPrefix, n)).
		SetNamespace(sv.Namespace).SetInstance(n).SetEnvironment(vm.EnvironmentTest).SetCreatedBy("dev").SetTicketID(1).SetTemplate("debian").
		SetTemplateVersion(1).SetSize("small").SetCPU(1).SetMemoryMib(2048).SetDiskGib(20).SetHealth(vm.Health(health)).SetIPAddress(ip).SaveX(w.Context())
}

func (w *world) ticket(service string, status approvalticket.Status) int {
	ev := w.db.DomainEvent.Create().SetType(domainevent.TypeVM_CREATION_REQUESTED).SetAggregateType("ticket").SetAggregateID("x").
		SetPayload([]byte("{}")).SetCreatedBy("x").SaveX(w.Context())
	return w.db.ApprovalTicket.Create().SetEventID(ev.ID).SetOperation(approvalticket.OperationCREATE).SetEnvironment(approvalticket.EnvironmentTest).
		SetRequesterID(uuid.New()).SetRequester("x").SetReason("").SetSystemID(uuid.MustParse(w.shop)).SetSystemName("x").
		SetServiceID(uuid.MustParse(service)).SetServiceName("web").SetTitle("t").SetResourceKey(uuid.NewString()).SetExpiresAt(time.Now()).
		SetStatus(status).SaveX(w.Context()).ID
}

func wrong(err error) []string {
	var list []string
	for _, e := range apperr.Fields(err) {
		list = append(list, e.Field()+" "+e.Code)
	}
	return list
}

func TestCreate(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id := w.create("web")
	v, err := w.Get(ctx, w.dev, id)
	if err != nil || v.Name != "web" || v.System != "shop" || v.SystemID != w.shop || v.Namespace != "n" || v.Environment != domain.Test ||
		v.Documentation != "# web" || v.CreatedBy != "dev" || v.NextInstance != 1 {
		t.Fatalf("%+v, %v", v, err)
	}
	if got := v.NextNames(2); !slices.Equal(got, []string{"shop-web-01", "shop-web-02"}) {
		t.Errorf("%q", got)
	}
	if r := w.db.AuditLog.Query().OnlyX(ctx); r.Action != "service.create" || r.ResourceID != id || r.SystemID != w.shop || r.ResourceName != "shop-web" {
		t.Errorf("%+v", r)
	}

	admin := domain.Actor{UserID: uuid.NewString(), Username: "root", Bindings: []domain.Binding{{Role: domain.RoleAdmin}}}
	shopWeb := w.system("shop-web", "n")
	w.system("shop-web", "elsewhere")
	if _, err := w.Create(ctx, admin, service.Input{SystemID: shopWeb, Name: "api"}); err != nil { // shop-web-api
		t.Fatal(err)
	}
	longest := strings.Repeat("x", domain.MaxPrefix-len("shop-"))
	for name, want := range map[string][]string{
		"":            {"name REQUIRED"},
		"Web":         {"name INVALID_NAME"},
		"web":         {"name NAME_TAKEN"},
		"web-api":     {"name VM_NAMES_COLLIDE"},
		longest + "x": {"name VM_NAME_TOO_LONG"},
		longest:       nil,
	} {
		// The preview says just what creation says.
		names, err := w.PreviewNames(ctx, w.dev, w.shop, name)
		if !slices.Equal(wrong(err), want) || want == nil && (err != nil || names[0] != "shop-"+name+"-01") {
			t.Errorf("preview %q: %q %v, want %q", name, names, err, want)
		}
		if _, err = w.Create(ctx, w.dev, service.Input{SystemID: w.shop, Name: name}); !slices.Equal(wrong(err), want) || want == nil && err != nil {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	_, err = w.Create(ctx, w.dev, service.Input{SystemID: w.shop, Name: "", Documentation: "\x00"})
	if want := []string{"name REQUIRED", "documentation INVALID_TEXT"}; !slices.Equal(wrong(err), want) {
		t.Errorf("got %v, want both", err)
	}
	// The same name in another namespace is no collision.
	if other := w.system("shop", "other"); true {
		if _, err := w.Create(ctx, admin, service.Input{SystemID: other, Name: "web"}); err != nil {
			t.Error(err)
		}
	}
}

func TestSameNameAtOnce(t *testing.T) {
	w := newWorld(t)
	w.dev.Bindings = append(w.dev.Bindings, domain.Binding{Role: domain.RoleOwner, SystemID: w.system("shop-a", "n")})
	both := []service.Input{{SystemID: w.shop, Name: "a-b"}, {SystemID: w.dev.Bindings[1].SystemID, Name: "b"}}
	var made, refused atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			switch _, err := w.Create(t.Context(), w.dev, both[i%2]); {
			case err == nil:
				made.Add(1)
			case apperr.CodeOf(err) == apperr.ErrNameTaken, apperr.CodeOf(err) == apperr.ErrNameCollides:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 || refused.Load() != 19 || w.db.Service.Query().CountX(t.Context()) != 1 {
		t.Errorf("%d made, %d refused", made.Load(), refused.Load())
	}
}

// Who may do what with a service.
func TestRights(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id := w.create("web")
	of := func(r domain.Role) domain.Binding { return domain.Binding{Role: r, SystemID: w.shop} }
	const no, see, may = apperr.ErrNotFound, apperr.ErrForbidden, apperr.ErrNameMismatch
	for name, c := range map[string]struct {
		bindings []domain.Binding
		want     string // of a deletion with a wrong name
	}{
		"nobody":           {nil, no},
		"other's owner":    {[]domain.Binding{{Role: domain.RoleOwner, SystemID: uuid.NewString()}}, no},
		"viewer":           {[]domain.Binding{of(domain.RoleViewer)}, see},
		"maintainer":       {[]domain.Binding{of(domain.RoleMaintainer)}, may},
		"owner":            {[]domain.Binding{of(domain.RoleOwner)}, may},
		"auditor":          {[]domain.Binding{{Role: domain.RoleAuditor}}, see},
		"approver of test": {[]domain.Binding{{Role: domain.RoleApprover, Environment: domain.Test}}, see},
		"approver of prod": {[]domain.Binding{{Role: domain.RoleApprover, Environment: domain.Prod}}, no},
		"admin":            {[]domain.Binding{{Role: domain.RoleAdmin}}, may},
	} {
		a := domain.Actor{UserID: uuid.NewString(), Username: "x", Bindings: c.bindings}
		_, err1 := w.Get(ctx, a, id)
		_, err2 := w.VMs(ctx, a, id, service.VMFilter{}, listing.Page{})
		_, err3 := w.Health(ctx, a, id)
		_, err4 := w.List(ctx, a, service.Filter{SystemID: w.shop}, listing.Page{})
		for i, err := range []error{err1, err2, err3, err4} {
			if hidden := apperr.CodeOf(err) == no; hidden != (c.want == no) || !hidden && err != nil {
				t.Errorf("%s reads it (%d): %v", name, i, err)
			}
		}
		_, err := w.Create(ctx, a, service.Input{SystemID: w.shop, Name: "No"})
		_, err5 := w.PreviewNames(ctx, a, w.shop, "No")
		for _, err := range []error{err, err5} {
			if got := apperr.CodeOf(err); got != c.want && (c.want != may || got != apperr.ErrInvalidName) {
				t.Errorf("%s makes one: %v", name, err)
			}
		}
		if err := w.Delete(ctx, a, id, "x"); apperr.CodeOf(err) != c.want {
			t.Errorf("%s deletes it: %v", name, err)
		}
		err = w.UpdateDocumentation(ctx, a, id, "by "+name)
		if c.want == may && err != nil || c.want != may && apperr.CodeOf(err) != c.want {
			t.Errorf("%s writes its documentation: %v", name, err)
		}
		all, err := w.List(ctx, a, service.Filter{}, listing.Page{})
		mine, err2 := w.List(ctx, a, service.Filter{Operable: true}, listing.Page{})
		count := map[bool]int{true: 1}
		if err != nil || err2 != nil || len(all.Items) != count[c.want != no] || len(mine.Items) != count[c.want == may] {
			t.Errorf("%s lists %d and operates %d", name, len(all.Items), len(mine.Items))
		}
	}
	for _, id := range []string{"", "x", uuid.NewString()} {
		if _, err := w.Get(ctx, w.dev, id); apperr.CodeOf(err) != no {
			t.Errorf("%q: %v", id, err)
		}
		if _, err := w.Create(ctx, w.dev, service.Input{SystemID: id, Name: "x"}); apperr.CodeOf(err) != no {
			t.Errorf("in %q: %v", id, err)
		}
	}
}

func TestListPages(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	for i := range 7 {
		w.create(fmt.Sprint("s", i))
	}
	var got []string
	for page := (listing.Page{Limit: 3}); ; {
		l, err := w.List(ctx, w.dev, service.Filter{SystemID: w.shop}, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range l.Items {
			got = append(got, v.Name)
		}
		if page.After = l.Next; l.Next == "" {
			break
		}
	}
	if want := []string{"s0", "s1", "s2", "s3", "s4", "s5", "s6"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestDelete(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id := w.create("web")
	n := w.ticket(id, approvalticket.StatusAPPROVED)
	e, _ := apperr.From(w.Delete(ctx, w.dev, id, "web"))
	if e == nil || e.Code != apperr.ErrHasPending || e.Params["ticket"] != domain.TicketName(n) {
		t.Errorf("with a request: %v", e)
	}
	w.db.ApprovalTicket.UpdateOneID(n).SetStatus(approvalticket.StatusCOMPLETED).ExecX(ctx)

	for range 12 {
		w.vm(id, domain.HealthOK, "")
	}
	e, _ = apperr.From(w.Delete(ctx, w.dev, id, "web"))
	if e == nil || e.Code != apperr.ErrHasChildren || e.Params["count"] != 12 {
		t.Fatalf("with VMs: %v", e)
	}
	if names := e.Params["children"].([]string); len(names) != 11 || names[0] != "shop-web-01" || names[10] != "…" {
		t.Errorf("names %q", names)
	}
	// Deleted VMs keep the service: its numbers must not start again.
	w.db.VM.Update().SetDeletedAt(time.Now()).ExecX(ctx)
	if err := w.Delete(ctx, w.dev, id, "web"); apperr.CodeOf(err) != apperr.ErrHasHistory {
		t.Errorf("with a history: %v", err)
	}
	fresh := w.create("api")
	if err := w.Delete(ctx, w.dev, fresh, "api"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Get(ctx, w.dev, fresh); apperr.CodeOf(err) != apperr.ErrNotFound {
		t.Error(err)
	}
	w.create("api") // the name is free again
}

// A system never loses the race with a new service: one of both is refused.
func TestSystemDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	systems := &system.Service{DB: w.DB}
	for i := range 10 {
		id := w.system(fmt.Sprint("s", i), "n")
		owner := domain.Actor{UserID: uuid.NewString(), Username: "o", Bindings: []domain.Binding{{Role: domain.RoleOwner, SystemID: id}}}
		var made, deleted error
		var wg sync.WaitGroup
		wg.Go(func() { _, made = w.Create(t.Context(), owner, service.Input{SystemID: id, Name: "web"}) })
		wg.Go(func() { deleted = systems.Delete(t.Context(), owner, id, fmt.Sprint("s", i)) })
		wg.Wait()
		switch {
		case made == nil && apperr.CodeOf(deleted) == apperr.ErrHasChildren:
		case deleted == nil && apperr.CodeOf(made) == apperr.ErrNotFound:
		default:
			t.Errorf("made: %v, deleted: %v", made, deleted)
		}
	}
}

func TestVMs(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id := w.create("web")
	for i := range 6 {
		w.vm(id, []domain.Health{domain.HealthOK, domain.HealthBad}[i%2], fmt.Sprintf("10.0.%d.1", i))
	}
	w.db.VM.UpdateOne(w.vm(id, domain.HealthIdle, "")).SetDeletedAt(time.Now()).ExecX(ctx)
	w.vm(w.create("api"), domain.HealthOK, "10.0.0.1") // another service's

	numbers := func(f service.VMFilter) string {
		var got []string
		for page := (listing.Page{Limit: 2}); ; {
			l, err := w.VMs(ctx, w.dev, id, f, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range l.Items {
				if v.Cluster != "east" || v.ClusterID != w.cluster.ID.String() || v.ClusterStatus != domain.ClusterUnknown || v.Size != "small" {
					t.Errorf("%+v", v)
				}
				got = append(got, fmt.Sprint(v.Instance))
			}
			if page.After = l.Next; l.Next == "" {
				return strings.Join(got, " ")
			}
		}
	}
	for f, want := range map[service.VMFilter]string{
		{}:                        "6 5 4 3 2 1",
		{Health: domain.HealthOK}: "5 3 1",
		{Health: domain.HealthOK, Query: "web-03"}: "3",
		{Query: "WEB-0"}:            "6 5 4 3 2 1",
		{Query: "10.0.4"}:           "5",
		{Query: "0.4.1"}:            "",
		{Query: "%"}:                "",
		{Query: "a\x00"}:            "",
		{Health: domain.HealthIdle}: "",
	} {
		if got := numbers(f); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
	if _, err := w.VMs(ctx, w.dev, id, service.VMFilter{Health: "great"}, listing.Page{}); !slices.Equal(wrong(err), []string{"health INVALID_CHOICE"}) {
		t.Error(err)
	}
	if got, err := w.Health(ctx, w.dev, id); err != nil || got[domain.HealthOK] != 3 || got[domain.HealthBad] != 3 || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}
