package listing_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/ent/vmsample"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// The conditions in SQL say the same as domain.Can, for every kind of actor and
// every row.
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

	for _, e := range domain.Environments() {
		on := c.Cluster.Create().SetName("c-" + string(e)).SetEnvironment(cluster.Environment(e)).SetCreatedBy("x").SetEncryptedKubeconfig([]byte("x")).
			SetEncryptionKeyID("k").SetAPIServerURL("https://x").SetIdentityUID("u-" + string(e)).SaveX(ctx)
		c.Namespace.Create().SetName("n-" + string(e)).SetEnvironment(namespace.Environment(e)).SetCluster(on).SetCreatedBy("x").SaveX(ctx)
	}

	actors := map[string]domain.Actor{}
	add := func(name string, bindings ...domain.Binding) {
		a := domain.Actor{UserID: me.String(), Bindings: bindings}
		actors[name] = a
		a.Token = &domain.Token{Scopes: []domain.Scope{domain.ScopeRead}}
		actors[name+", reading token"] = a
		a.Token = &domain.Token{}
		actors[name+", token for nothing"] = a
	}
	add("stranger")
	for _, role := range domain.Roles() {
		add(string(role), domain.Binding{Role: role})
		for _, e := range domain.Environments() {
			add(fmt.Sprintf("%s of %s", role, e), domain.Binding{Role: role, Environment: e})
			add(fmt.Sprintf("%s here, approver of %s", role, e),
				domain.Binding{Role: role, SystemID: systems[0].ID.String()}, domain.Binding{Role: domain.RoleApprover, Environment: e})
		}
		add(string(role)+" here", domain.Binding{Role: role, SystemID: systems[0].ID.String()})
	}
	add("approver of both", domain.Binding{Role: domain.RoleApprover, Environment: domain.Test}, domain.Binding{Role: domain.RoleApprover, Environment: domain.Prod})
	add("member of two", domain.Binding{Role: domain.RoleViewer, SystemID: systems[1].ID.String()}, domain.Binding{Role: domain.RoleOwner, SystemID: systems[2].ID.String(), Via: "g"})
	actors["nobody"] = domain.Actor{}

	// agree compares what a query finds with what the rule allows, by id.
	agree := func(who, what string, got, want []string) {
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s: SQL has %v, the rule %v", who, what, got, want)
		}
	}
	for name, a := range actors {
		can := func(action domain.Action, o domain.Object) bool { return domain.Can(a, action, o) }
		agree(name, "systems", ids(c.System.Query().Where(listing.Systems(a)).AllX(ctx), idOf),
			ids(allowed(c.System.Query().AllX(ctx), func(r *ent.System) bool { return can(domain.SystemRead, access.System(r)) }), idOf))
		services := c.Service.Query().WithSystem().AllX(ctx)
		agree(name, "services", ids(c.Service.Query().Where(listing.Services(a)).AllX(ctx), serviceID),
			ids(allowed(services, func(r *ent.Service) bool { return can(domain.ServiceRead, access.Service(r)) }), serviceID))
		agree(name, "services to ask for VMs in", ids(c.Service.Query().Where(listing.ServicesFor(a, domain.VMCreate)).AllX(ctx), serviceID),
			ids(allowed(services, func(r *ent.Service) bool { return can(domain.VMCreate, access.Service(r)) }), serviceID))
		vmID := func(r *ent.VM) string { return r.ID.String() }
		agree(name, "VMs", ids(c.VM.Query().Where(listing.VMs(a)).AllX(ctx), vmID),
			ids(allowed(c.VM.Query().AllX(ctx), func(r *ent.VM) bool { return can(domain.VMRead, access.VM(r)) }), vmID))
		sampleID := func(r *ent.VMSample) string { return fmt.Sprint(r.ID) }
		agree(name, "counts", ids(c.VMSample.Query().Where(listing.Samples(a)).AllX(ctx), sampleID),
			ids(allowed(c.VMSample.Query().AllX(ctx), func(r *ent.VMSample) bool {
				return can(domain.VMRead, domain.Object{SystemID: r.SystemID.String(), Environment: domain.Environment(r.Environment)})
			}), sampleID))
		ticketID := func(r *ent.ApprovalTicket) string { return fmt.Sprint(r.ID) }
		agree(name, "tickets", ids(c.ApprovalTicket.Query().Where(listing.Tickets(a)).AllX(ctx), ticketID),
			ids(allowed(c.ApprovalTicket.Query().AllX(ctx), func(r *ent.ApprovalTicket) bool { return can(domain.TicketRead, access.Ticket(r)) }), ticketID))
		clusterID := func(r *ent.Cluster) string { return r.ID.String() }
		agree(name, "clusters", ids(c.Cluster.Query().Where(listing.Clusters(a)).AllX(ctx), clusterID),
			ids(allowed(c.Cluster.Query().AllX(ctx), func(r *ent.Cluster) bool { return can(domain.ClusterRead, access.Cluster(r)) }), clusterID))
		namespaceID := func(r *ent.Namespace) string { return r.ID.String() }
		agree(name, "namespaces", ids(c.Namespace.Query().Where(listing.Namespaces(a)).AllX(ctx), namespaceID),
			ids(allowed(c.Namespace.Query().AllX(ctx), func(r *ent.Namespace) bool { return can(domain.NamespaceRead, access.Namespace(r)) }), namespaceID))
		entryID := func(r *ent.AuditLog) string { return fmt.Sprint(r.ID) }
		agree(name, "entries", ids(c.AuditLog.Query().Where(listing.AuditLog(a)).AllX(ctx), entryID),
			ids(allowed(c.AuditLog.Query().AllX(ctx), func(r *ent.AuditLog) bool {
				if domain.Within(a, domain.AuditRead).All {
					return true
				}
				id, err := uuid.Parse(r.SystemID)
				return err == nil && can(domain.SystemRead, access.System(c.System.GetX(ctx, id)))
			}), entryID))
	}
	// Tickets of nobody are nobody's own.
	if n := c.ApprovalTicket.Query().Where(listing.Tickets(domain.Actor{})).CountX(ctx); n != 0 {
		t.Errorf("nobody sees %d tickets", n)
	}
	if n := c.ApprovalTicket.Query().Where(listing.OpenTickets()).CountX(ctx); n != 8 {
		t.Errorf("%d tickets are open", n)
	}
}

func idOf(r *ent.System) string       { return r.ID.String() }
func serviceID(r *ent.Service) string { return r.ID.String() }
func ids[T any](rows []T, of func(T) string) (list []string) {
	for _, r := range rows {
		list = append(list, of(r))
	}
	return list
}

func allowed[T any](rows []T, can func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(rows), func(r T) bool { return !can(r) })
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
