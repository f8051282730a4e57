// Package search finds VMs, services, systems and tickets by what people type
// into the one search field.
package search

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/service"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Service searches.
type Service struct{ DB *database.DB }

// Results are the first hits of each kind that the actor may know of.
type Results struct {
	VMs      []VM
	Services []Parent
	Systems  []Parent
	Tickets  []Ticket
	More     bool // some kind has more hits than are shown
}

// VM is a VM that was found.
type VM struct {
	ID, Name, IP string
	Environment  domain.Environment
	State        domain.VMState
	ClusterID    string
}

// Parent is a service or a system that was found.
type Parent struct {
	ID, Name    string // of a service with its system: shop-redis
	Namespace   string
	Environment domain.Environment
	VMs         int
}

// Ticket is a ticket that was found.
type Ticket struct {
	Number      int
	Title       string
	Requester   string
	Environment domain.Environment
	Status      domain.TicketStatus
}

const (
	perKind  = 10
	maxQuery = 100 // bytes; nothing that exists is longer
)

// Find searches VMs by the start of their own or their service's name, or their
// whole address, services
// and systems by the start of their name, and tickets by number, with TKT- or
// without. Text that cannot be a name finds nothing.
func (s *Service) Find(ctx context.Context, actor domain.Actor, query string) (Results, error) {
	query = strings.ToLower(strings.TrimSpace(query))
	if query == "" || len(query) > maxQuery || !listing.IsText(query) {
		return Results{}, nil
	}
	r, err := s.find(ctx, actor, query)
	return r, database.Classify(err)
}

func (s *Service) find(ctx context.Context, actor domain.Actor, query string) (r Results, err error) {
	services, err := s.DB.Ent.Service.Query().
		Where(service.Or(service.NameHasPrefix(query), service.VMPrefixHasPrefix(query)), listing.Services(actor)).
		WithSystem(func(q *ent.SystemQuery) { q.Select(system.FieldID, system.FieldEnvironment) }).
		Order(service.ByVMPrefix(), service.ByID()).Limit(perKind+1).
		Select(service.FieldID, service.FieldSystemID, service.FieldVMPrefix, service.FieldNamespace, service.FieldVMCount).All(ctx)
	if err != nil {
		return r, err
	}
	for _, v := range first(services, &r.More) {
		r.Services = append(r.Services, Parent{v.ID.String(), v.VMPrefix, v.Namespace, domain.Environment(v.Edges.System.Environment), v.VMCount})
	}

	if r.VMs, err = s.vms(ctx, actor, query, services, &r.More); err != nil {
		return r, err
	}

	systems, err := s.DB.Ent.System.Query().Where(system.NameHasPrefix(query), listing.Systems(actor)).
		Order(system.ByName(), system.ByID()).Limit(perKind+1).
		Select(system.FieldID, system.FieldName, system.FieldNamespace, system.FieldEnvironment, system.FieldVMCount).All(ctx)
	if err != nil {
		return r, err
	}
	for _, v := range first(systems, &r.More) {
		r.Systems = append(r.Systems, Parent{v.ID.String(), v.Name, v.Namespace, domain.Environment(v.Environment), v.VMCount})
	}

	number, err := strconv.ParseInt(strings.TrimPrefix(query, "tkt-"), 10, 63)
	if err != nil || number <= 0 {
		return r, nil
	}
	t, err := s.DB.Ent.ApprovalTicket.Query().Where(approvalticket.ID(int(number)), listing.Tickets(actor)).Only(ctx)
	if ent.IsNotFound(err) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r.Tickets = []Ticket{{t.ID, t.Title, t.Requester, domain.Environment(t.Environment), domain.TicketStatus(t.Status)}}
	return r, nil
}

// vms finds by the start of the name, then by that of the service's name, with
// or without the number: redis-01 finds shop-redis-01. An address is searched
// as a whole.
func (s *Service) vms(ctx context.Context, actor domain.Actor, query string, services []*ent.Service, more *bool) (found []VM, err error) {
	var matches []predicate.VM
	if ip, err := netip.ParseAddr(query); err == nil {
		matches = append(matches, vm.IPAddress(ip.String()))
	} else {
		matches = append(matches, vm.NameHasPrefix(query))
		if len(services) > 0 {
			var ids []uuid.UUID
			for _, v := range services {
				ids = append(ids, v.ID)
			}
			matches = append(matches, vm.ServiceIDIn(ids...))
		}
		if i := strings.LastIndexByte(query, '-'); i > 0 {
			if n, err := strconv.ParseInt(query[i+1:], 10, 32); err == nil {
				matches = append(matches, vm.And(vm.HasServiceWith(service.Name(query[:i])), vm.Instance(int(n))))
			}
		}
	}
	seen := map[uuid.UUID]bool{}
	for _, match := range matches {
		if *more && len(found) == perKind {
			break // nothing of what is left would be shown
		}
		rows, err := s.DB.Ent.VM.Query().Where(vm.DeletedAtIsNil(), match, listing.VMs(actor)).
			Order(vm.ByName(), vm.ByID()).Limit(perKind + 1).All(ctx)
		if err != nil {
			return nil, err
		}
		for _, v := range rows {
			switch {
			case seen[v.ID]:
			case len(found) == perKind:
				*more = true
			default:
				seen[v.ID] = true
				found = append(found, VM{v.ID.String(), v.Name, v.IPAddress, domain.Environment(v.Environment), domain.VMState(v.State), v.ClusterID.String()})
			}
		}
	}
	return found, nil
}

// first cuts what was read to be shown.
func first[T any](rows []T, more *bool) []T {
	if len(rows) > perKind {
		*more = true
		return rows[:perKind]
	}
	return rows
}
