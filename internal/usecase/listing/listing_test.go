package listing_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/service"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/ent/vmsample"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// The conditions in SQL say the same as the rule in Go, for every kind of actor
// and row.
func TestVisibilityIsTheRule(t *testing.T) {
	c, ctx := databasetest.New(t).Ent, t.Context()
	me := uuid.New()
	place := c.Cluster.Create().SetName("c").SetEnvironment(cluster.EnvironmentTest).SetCreatedBy("x").SetEncryptedKubeconfig([]byte("x")).
		SetEncryptionKeyID("k").SetAPIServerURL("https://x").SetIdentityUID("u").SaveX(ctx)
	var systems []*ent.System
	for _, e := range []system.Environment{system.EnvironmentTest, system.EnvironmentProd} {
		for i := range 2 {
			sys := c.System.Create().SetName(fmt.Sprintf("%s-%d", e, i)).SetNamespace("n").SetEnvironment(e).SetCreatedBy("x").SaveX(ctx)
			systems = append(systems, sys)
			sv := c.Service.Create().SetSystemID(sys.ID).SetName("web").SetNamespace("n").SetVMPrefix(sys.Name + "-web").SetCreatedBy("x").SaveX(ctx)
			c.VM.Create().SetServiceID(sv.ID).SetSystemID(sys.ID).SetClusterID(place.ID).SetName(sys.Name + "-web-01").SetNamespace("n").SetInstance(1).
				SetEnvironment(vm.Environment(e)).SetCreatedBy("x").SetTicketID(1).SetTemplate("t").SetTemplateVersion(1).SetSize("s").
				SetCPU(1).SetMemoryMib(1).SetDiskGib(1).SaveX(ctx)
			c.VMSample.Create().SetAt(sys.CreatedAt).SetSystemID(sys.ID).SetClusterID(place.ID).SetEnvironment(vmsample.Environment(e)).
				SetState(vmsample.StateRunning).SetVms(1).SaveX(ctx)
			for _, requester := range []uuid.UUID{me, uuid.New()} {
				ev := c.DomainEvent.Create().SetType(domainevent.TypeVM_CREATION_REQUESTED).SetAggregateType("ticket").SetAggregateID("x").
					SetPayload([]byte("{}")).SetCreatedBy("x").SaveX(ctx)
				c.ApprovalTicket.Create().SetEventID(ev.ID).SetOperation(approvalticket.OperationCREATE).SetEnvironment(approvalticket.Environment(e)).
					SetRequesterID(requester).SetRequester("x").SetReason("").SetSystemID(sys.ID).SetSystemName(sys.Name).SetServiceID(sv.ID).
					SetServiceName("web").SetTitle("t").SetResourceKey(uuid.NewString()).SetExpiresAt(sys.CreatedAt).SaveX(ctx)
			}
			c.AuditLog.Create().SetActor("x").SetAction("a.b").SetResourceType("system").SetResourceID("").SetResourceName("").SetSystemID(sys.ID.String()).SaveX(ctx)
		}
	}
	c.AuditLog.Create().SetActor("x").SetAction("a.b").SetResourceType("user").SetResourceID("").SetResourceName("").SaveX(ctx)

	actors := map[string][]domain.Binding{"nobody": nil}
	for _, role := range []domain.Role{domain.RoleAdmin, domain.RoleApprover, domain.RoleAuditor} {
		actors[string(role)] = []domain.Binding{{Role: role}}
	}
	for _, e := range domain.Environments() {
		actors["approver of "+string(e)] = []domain.Binding{{Role: domain.RoleApprover, Environment: e}}
		for _, role := range []domain.Role{domain.RoleOwner, domain.RoleMaintainer, domain.RoleViewer} {
			actors[string(role)+", approver of "+string(e)] = []domain.Binding{
				{Role: role, SystemID: systems[0].ID.String()}, {Role: domain.RoleApprover, Environment: e},
			}
		}
	}
	actors["both environments"] = []domain.Binding{{Role: domain.RoleApprover, Environment: domain.Test}, {Role: domain.RoleApprover, Environment: domain.Prod}}
	actors["member of two"] = []domain.Binding{{Role: domain.RoleViewer, SystemID: systems[1].ID.String()}, {Role: domain.RoleOwner, SystemID: systems[2].ID.String()}}

	for name, bindings := range actors {
		a := domain.Actor{UserID: me.String(), Bindings: bindings}
		visible, tickets := map[uuid.UUID]bool{}, 0
		for _, s := range systems {
			visible[s.ID] = a.SeesSystem(s.ID.String(), domain.Environment(s.Environment))
			tickets++ // one's own
			if visible[s.ID] {
				tickets++
			}
		}
		n := 0
		for _, s := range c.System.Query().Where(listing.Systems(a)).AllX(ctx) {
			n++
			if !visible[s.ID] {
				t.Errorf("%s sees the system %s", name, s.Name)
			}
		}
		want := 0
		for _, v := range visible {
			if v {
				want++
			}
		}
		if n != want {
			t.Errorf("%s sees %d systems of %d", name, n, want)
		}
		for _, s := range c.Service.Query().Where(service.NameNEQ(""), listing.Services(a)).AllX(ctx) {
			if n--; !visible[s.SystemID] {
				t.Errorf("%s sees the service %s", name, s.VMPrefix)
			}
		}
		if n != 0 {
			t.Errorf("%s: services %d off", name, n)
		}
		samples := want
		for _, v := range c.VMSample.Query().Where(vmsample.VmsGT(0), listing.Samples(a)).AllX(ctx) {
			if samples--; !visible[v.SystemID] {
				t.Errorf("%s sees a count of %s", name, v.SystemID)
			}
		}
		if samples != 0 {
			t.Errorf("%s: samples %d off", name, samples)
		}
		for _, v := range c.VM.Query().Where(vm.NameNEQ(""), listing.VMs(a)).AllX(ctx) {
			if want--; !visible[v.SystemID] {
				t.Errorf("%s sees the VM %s", name, v.Name)
			}
		}
		if want != 0 {
			t.Errorf("%s: VMs %d off", name, want)
		}
		if got := c.ApprovalTicket.Query().Where(listing.Tickets(a)).CountX(ctx); got != tickets {
			t.Errorf("%s sees %d tickets, want %d", name, got, tickets)
		}
		entries := 0
		for _, r := range c.AuditLog.Query().Where(auditlog.IDGT(0), listing.AuditLog(a)).AllX(ctx) {
			entries++
			if !a.CanAudit() && !visible[uuid.MustParse(r.SystemID)] {
				t.Errorf("%s reads an entry of %s", name, r.SystemID)
			}
		}
		if expect := c.System.Query().Where(listing.Systems(a)).CountX(ctx); a.CanAudit() && entries != 5 || !a.CanAudit() && entries != expect {
			t.Errorf("%s reads %d entries", name, entries)
		}
	}
	// Tickets of nobody are nobody's own.
	if n := c.ApprovalTicket.Query().Where(listing.Tickets(domain.Actor{})).CountX(ctx); n != 0 {
		t.Errorf("nobody sees %d tickets", n)
	}
	if n := c.ApprovalTicket.Query().Where(listing.OpenTickets()).CountX(ctx); n != 8 {
		t.Errorf("%d tickets are open", n)
	}
}

func TestPage(t *testing.T) {
	for limit, want := range map[int]int{0: 50, -1: 50, 7: 7, 200: 200, 201: 200, 1 << 40: 200} {
		if got := (listing.Page{Limit: limit}).Size(); got != want {
			t.Errorf("limit %d: %d", limit, got)
		}
	}
	id := uuid.New()
	if name, got, err := (listing.Page{After: listing.ByName("shop", id)}).Name(); name != "shop" || got != id || err != nil {
		t.Errorf("%q %v %v", name, got, err)
	}
	for _, after := range []string{"x", "~", "shop~", "a\x00~" + id.String(), "-1", "0", "99999999999999999999", strings.Repeat("9", 1000)} {
		p := listing.Page{After: after}
		_, _, err1 := p.Name()
		_, err2 := p.Number()
		_, _, err3 := p.ID()
		for _, err := range []error{err1, err2, err3} {
			if apperr.CodeOf(err) != apperr.ErrInvalidChoice {
				t.Errorf("cursor %.20q: %v", after, err)
			}
		}
	}
}
