package listing

import (
	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/service"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/ent/vmsample"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// The conditions below say in SQL what domain.Actor.SeesSystem says of one
// system. A test holds both against each other for every kind of actor.

// Systems are the systems that an actor may know of.
func Systems(a domain.Actor) predicate.System {
	if a.SeesAll() {
		return func(*sql.Selector) {}
	}
	return system.Or(system.EnvironmentIn(environments[system.Environment](a)...), system.IDIn(members(a)...))
}

// Services are the services of those systems.
func Services(a domain.Actor) predicate.Service {
	if a.SeesAll() {
		return func(*sql.Selector) {}
	}
	return service.HasSystemWith(Systems(a))
}

// VMs are the VMs of those systems. A VM has both columns itself: no join.
func VMs(a domain.Actor) predicate.VM {
	if a.SeesAll() {
		return func(*sql.Selector) {}
	}
	return vm.Or(vm.EnvironmentIn(environments[vm.Environment](a)...), vm.SystemIDIn(members(a)...))
}

// Samples are the counts of the VMs of those systems.
func Samples(a domain.Actor) predicate.VMSample {
	if a.SeesAll() {
		return func(*sql.Selector) {}
	}
	return vmsample.Or(vmsample.EnvironmentIn(environments[vmsample.Environment](a)...), vmsample.SystemIDIn(members(a)...))
}

// Tickets are the tickets about those systems, and the actor's own.
func Tickets(a domain.Actor) predicate.ApprovalTicket {
	if a.SeesAll() {
		return func(*sql.Selector) {}
	}
	own, _ := uuid.Parse(a.UserID) // nobody's requests have the zero id
	return approvalticket.Or(
		approvalticket.RequesterID(own),
		approvalticket.EnvironmentIn(environments[approvalticket.Environment](a)...),
		approvalticket.SystemIDIn(members(a)...),
	)
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
	if a.CanAudit() {
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

// environments are those of which the actor sees every system.
func environments[E ~string](a domain.Actor) []E {
	var list []E
	for _, e := range domain.Environments() {
		if a.SeesEnvironment(e) {
			list = append(list, E(e))
		}
	}
	return list
}

// members are the systems that the actor has a role in.
func members(a domain.Actor) []uuid.UUID {
	var list []uuid.UUID
	for _, s := range a.Systems() {
		if id, err := uuid.Parse(s); err == nil {
			list = append(list, id)
		}
	}
	return list
}
