package listing

import (
	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/service"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/ent/vmsample"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// The conditions below say in SQL what domain.Can says of one object. A test
// holds both against each other for every kind of actor.

// Systems are the systems that an actor may know of.
func Systems(a domain.Actor) predicate.System {
	e := domain.Within(a, domain.SystemRead)
	if e.All {
		return func(*sql.Selector) {}
	}
	return system.Or(system.EnvironmentIn(environments[system.Environment](e)...), system.IDIn(members(e)...))
}

// Services are the services of those systems.
func Services(a domain.Actor) predicate.Service {
	if domain.Within(a, domain.ServiceRead).All {
		return func(*sql.Selector) {}
	}
	return service.HasSystemWith(Systems(a))
}

// ServicesFor are the services in which an actor may do an action.
func ServicesFor(a domain.Actor, action domain.Action) predicate.Service {
	e := domain.Within(a, action)
	if e.All {
		return func(*sql.Selector) {}
	}
	in := service.SystemIDIn(members(e)...)
	if len(e.Environments) == 0 {
		return in
	}
	return service.Or(in, service.HasSystemWith(system.EnvironmentIn(environments[system.Environment](e)...)))
}

// VMs are the VMs of those systems. A VM has both columns itself: no join.
func VMs(a domain.Actor) predicate.VM {
	e := domain.Within(a, domain.VMRead)
	if e.All {
		return func(*sql.Selector) {}
	}
	return vm.Or(vm.EnvironmentIn(environments[vm.Environment](e)...), vm.SystemIDIn(members(e)...))
}

// Samples are the counts of the VMs of those systems.
func Samples(a domain.Actor) predicate.VMSample {
	e := domain.Within(a, domain.VMRead)
	if e.All {
		return func(*sql.Selector) {}
	}
	return vmsample.Or(vmsample.EnvironmentIn(environments[vmsample.Environment](e)...), vmsample.SystemIDIn(members(e)...))
}

// Tickets are the tickets about those systems, and the actor's own.
func Tickets(a domain.Actor) predicate.ApprovalTicket {
	e := domain.Within(a, domain.TicketRead)
	if e.All {
		return func(*sql.Selector) {}
	}
	own, _ := uuid.Parse(a.UserID) // nobody's requests have the zero id
	if !a.Within(domain.TicketRead.Needs()) {
		own = uuid.Nil
	}
	return approvalticket.Or(
		approvalticket.RequesterID(own),
		approvalticket.EnvironmentIn(environments[approvalticket.Environment](e)...),
		approvalticket.SystemIDIn(members(e)...),
	)
}

// Clusters are the clusters that an actor may know of. Those that were removed
// exist for nobody.
func Clusters(a domain.Actor) predicate.Cluster {
	e := domain.Within(a, domain.ClusterRead)
	if e.All {
		return cluster.RemovedAtIsNil()
	}
	return cluster.And(cluster.RemovedAtIsNil(), cluster.EnvironmentIn(environments[cluster.Environment](e)...))
}

// Namespaces are the registered namespaces that an actor may know of.
func Namespaces(a domain.Actor) predicate.Namespace {
	e := domain.Within(a, domain.NamespaceRead)
	if e.All {
		return func(*sql.Selector) {}
	}
	return namespace.EnvironmentIn(environments[namespace.Environment](e)...)
}

// OpenTickets are the tickets that still wait for a person or for work.
func OpenTickets() predicate.ApprovalTicket {
	var open []approvalticket.Status
	for _, s := range domain.TicketStatuses() {
		if s.Open() {
			open = append(open, approvalticket.Status(s))
		}
	}
	return approvalticket.StatusIn(open...)
}

// AuditLog are the entries about those systems; all entries for those who audit.
func AuditLog(a domain.Actor) predicate.AuditLog {
	if domain.Within(a, domain.AuditRead).All {
		return func(*sql.Selector) {}
	}
	return func(s *sql.Selector) {
		t := sql.Table(system.Table)
		// The column holds text, because some entries belong to no system.
		id := sql.ExprFunc(func(b *sql.Builder) { b.WriteString("CAST(").Ident(t.C(system.FieldID)).WriteString(" AS text)") })
		visible := sql.SelectExpr(id).From(t)
		Systems(a)(visible)
		s.Where(sql.In(s.C(auditlog.FieldSystemID), visible))
	}
}

func environments[E ~string](e domain.Extent) []E {
	list := make([]E, len(e.Environments))
	for i, env := range e.Environments {
		list[i] = E(env)
	}
	return list
}

func members(e domain.Extent) []uuid.UUID {
	var list []uuid.UUID
	for _, s := range e.Systems {
		if id, err := uuid.Parse(s); err == nil {
			list = append(list, id)
		}
	}
	return list
}
