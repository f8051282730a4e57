package search_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/search"
)

// summary lists what was found by name.
func summary(r search.Results) string {
	var all []string
	for _, v := range r.VMs {
		all = append(all, v.Name)
	}
	for _, v := range r.Services {
		all = append(all, "service "+v.Name)
	}
	for _, v := range r.Systems {
		all = append(all, "system "+v.Name)
	}
	for _, v := range r.Tickets {
		all = append(all, domain.TicketName(v.Number))
	}
	return strings.Join(all, ", ")
}

func TestFind(t *testing.T) {
	db, ctx := databasetest.New(t), t.Context()
	c := db.Ent
	s := &search.Service{DB: db}
	me := uuid.New()
	place := c.Cluster.Create().SetName("c").SetEnvironment(cluster.EnvironmentTest).SetCreatedBy("x").SetEncryptedKubeconfig([]byte("x")).
		SetEncryptionKeyID("k").SetAPIServerURL("https://x").SetIdentityUID("u").SaveX(ctx)
	ids := map[string]string{}
	for i, name := range []string{"shop", "shed"} {
		sys := c.System.Create().SetName(name).SetNamespace("n").SetEnvironment(system.EnvironmentProd).SetCreatedBy("x").SaveX(ctx)
		ids[name] = sys.ID.String()
		sv := c.Service.Create().SetSystemID(sys.ID).SetName("web").SetNamespace("n").SetVMPrefix(name + "-web").SetCreatedBy("x").SaveX(ctx)
		for n := range 2 {
			row := c.VM.Create().SetServiceID(sv.ID).SetSystemID(sys.ID).SetClusterID(place.ID).SetName(fmt.Sprintf("%s-web-%02d", name, n+1)).
				SetNamespace("n").SetInstance(n + 1).SetEnvironment(vm.EnvironmentProd).SetCreatedBy("x").SetTicketID(1).SetTemplate("t").
				SetTemplateVersion(1).SetSize("s").SetCPU(1).SetMemoryMib(1).SetDiskGib(1).SetIPAddress(fmt.Sprintf("10.0.%d.%d", i, n))
			if name == "shop" && n == 1 {
				row.SetDeletedAt(time.Now())
			}
			row.ExecX(ctx)
		}
		ev := c.DomainEvent.Create().SetType(domainevent.TypeVM_CREATION_REQUESTED).SetAggregateType("ticket").SetAggregateID("x").
			SetPayload([]byte("{}")).SetCreatedBy("x").SaveX(ctx)
		c.ApprovalTicket.Create().SetEventID(ev.ID).SetOperation(approvalticket.OperationCREATE).SetEnvironment(approvalticket.EnvironmentProd).
			SetRequesterID(me).SetRequester("me").SetReason("").SetSystemID(sys.ID).SetSystemName(name).SetServiceID(sv.ID).
			SetServiceName("web").SetTitle("t").SetResourceKey(name).SetExpiresAt(time.Now()).ExecX(ctx)
	}
	all := domain.Actor{UserID: uuid.NewString(), Bindings: []domain.Binding{{Role: domain.RoleAuditor}}}
	member := domain.Actor{UserID: uuid.NewString(), Bindings: []domain.Binding{{Role: domain.RoleViewer, SystemID: ids["shop"]}}}
	requester := domain.Actor{UserID: me.String()}
	tester := domain.Actor{UserID: uuid.NewString(), Bindings: []domain.Binding{{Role: domain.RoleApprover, Environment: domain.Test}}}

	for _, q := range []struct {
		name   string
		actor  domain.Actor
		q      string
		expect string
	}{
		{"prefix", all, " SH", "shed-web-01, shed-web-02, shop-web-01, service shed-web, service shop-web, system shed, system shop"},
		{"prefix, member", member, "sh", "shop-web-01, service shop-web, system shop"},
		{"prefix, requester", requester, "sh", ""},
		{"prefix, another environment", tester, "sh", ""},
		{"service", all, "web", "shed-web-01, shed-web-02, shop-web-01, service shed-web, service shop-web"},
		{"service and number", all, "web-02", "shed-web-02"},
		{"service and number, member", member, "web-2", ""},
		{"VM", member, "shop-web-01", "shop-web-01"},
		{"deleted VM", all, "shop-web-02", ""},
		{"address", all, "10.0.1.0", "shed-web-01"},
		{"address, member", member, "10.0.1.0", ""},
		{"part of an address", all, "10.0", ""},
		{"middle of a name", all, "hop", ""},
		{"ticket", all, "TKT-2", "TKT-2"},
		{"ticket, number", all, "1", "TKT-1"},
		{"ticket, own", requester, "tkt-1", "TKT-1"},
		{"ticket, member", member, "tkt-1", "TKT-1"},
		{"ticket, hidden", member, "tkt-2", ""},
		{"ticket, another environment", tester, "tkt-2", ""},
		{"ticket, none", all, "tkt-3", ""},
		{"ticket, odd", all, "tkt--1", ""},
		{"ticket, huge", all, "99999999999999999999", ""},
		{"nothing", all, "  ", ""},
		{"pattern", all, "%", ""},
		{"pattern", all, "sh_p", ""},
		{"NUL", all, "a\x00", ""},
		{"no UTF-8", all, "\xff", ""},
		{"long", all, strings.Repeat("s", 101), ""},
	} {
		r, err := s.Find(ctx, q.actor, q.q)
		if got := summary(r); got != q.expect || err != nil || r.More {
			t.Errorf("%s %.20q: %q, %v, want %q", q.name, q.q, got, err, q.expect)
		}
	}

	for i := range 12 {
		c.System.Create().SetName(fmt.Sprintf("many-%02d", i)).SetNamespace("n").SetEnvironment(system.EnvironmentTest).SetCreatedBy("x").ExecX(ctx)
	}
	if r, err := s.Find(ctx, all, "many"); err != nil || len(r.Systems) != 10 || !r.More {
		t.Errorf("%d systems, more %v, %v", len(r.Systems), r.More, err)
	}
}
