package system

import (
	"context"
	"slices"
	"strings"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/service"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Sizes of the tree. What is left out is counted, and found by the query or on
// the page of its parent.
const (
	treeSystems  = 200
	treeServices = 1000 // of all open systems together
	treeOpen     = 20   // open services: each costs a query
	treeVMs      = 100  // of each open service
	maxQuery     = 100  // bytes of a search text; nothing that exists is longer
)

// TreeQuery is what stands in the address of a page with the tree.
type TreeQuery struct {
	Open     []string // ids of the open systems and services
	Query    string   // part of a system's or service's name, or the start of a VM's
	Problems bool     // only what needs somebody
	Selected string   // id of the system, service or VM whose page is shown; the way to it is open
}

// Tree is what an actor sees of the hierarchy, down to the open rows. All
// counts come from maintained counters.
type Tree struct {
	Systems []TreeSystem
	Total   int // systems that the actor sees, also those not shown
	More    int // systems left out because the list is long
	VMs     int // of all that the actor sees
	Bad     int // VMs that need somebody
}

// TreeSystem is a system and, when it is open, its services.
type TreeSystem struct {
	ID, Name, Namespace string
	Environment         domain.Environment
	VMs, Bad            int
	Open                bool
	Services            []TreeService
}

// TreeService is a service and, when it is open, its VMs, the lowest number first.
type TreeService struct {
	ID, Name string
	VMs, Bad int
	Open     bool
	List     []TreeVM
	More     bool // VMs are left out because the list is long
}

// TreeVM is a VM of the tree.
type TreeVM struct {
	ID, Name   string
	Instance   int
	State      domain.VMState
	Health     domain.Health
	Problem    domain.Problem
	ObservedAt *time.Time
}

// Tree reads the explorer's tree in three queries, one or two more when a row is
// selected, and one for each open service. Whatever an id in q names that the actor may not know of is left out.
func (s *Service) Tree(ctx context.Context, actor domain.Actor, q TreeQuery) (Tree, error) {
	t, err := s.tree(ctx, actor, q)
	return t, database.Classify(err)
}

func (s *Service) tree(ctx context.Context, actor domain.Actor, q TreeQuery) (Tree, error) {
	q.Query = strings.ToLower(strings.TrimSpace(q.Query))
	if len(q.Query) > maxQuery || !listing.IsText(q.Query) {
		return Tree{}, nil
	}
	var t Tree
	if err := s.totals(ctx, actor, &t); err != nil {
		return Tree{}, err
	}
	open := keys(q.Open)
	selected, err := s.way(ctx, q.Selected, open)
	if err != nil {
		return Tree{}, err
	}
	shown := s.DB.Ent.System.Query().Where(listing.Systems(actor))
	if q.Query != "" {
		shown.Where(system.Or(system.NameContains(q.Query), system.HasServicesWith(named(q.Query))))
	}
	if q.Problems {
		shown.Where(system.BadCountGT(0))
	}
	systems, err := shown.Clone().Order(system.ByName(), system.ByID()).Limit(treeSystems + 1).Select(listed...).All(ctx)
	if err != nil {
		return Tree{}, err
	}
	if len(systems) > treeSystems {
		n, err := shown.Count(ctx)
		if err != nil {
			return Tree{}, err
		}
		systems, t.More = systems[:treeSystems], n-treeSystems
	}

	services, err := s.services(ctx, systems, open, q)
	if err != nil {
		return Tree{}, err
	}
	left := treeOpen
	for _, r := range systems {
		sys := TreeSystem{
			ID: r.ID.String(), Name: r.Name, Namespace: r.Namespace, Environment: domain.Environment(r.Environment), VMs: r.VMCount, Bad: r.BadCount,
			Open: open[r.ID] || len(services[r.ID]) > 0,
		}
		for _, sv := range services[r.ID] {
			v := TreeService{ID: sv.ID.String(), Name: sv.Name, VMs: sv.VMCount, Bad: sv.BadCount}
			v.Open = left > 0 && (open[sv.ID] || q.Problems || q.Query != "" && strings.HasPrefix(q.Query, sv.VMPrefix))
			if v.Open {
				left--
				if v.List, v.More, err = s.vms(ctx, sv, q, selected); err != nil {
					return Tree{}, err
				}
			}
			sys.Services = append(sys.Services, v)
		}
		t.Systems = append(t.Systems, sys)
	}
	return t, nil
}

// totals counts what the actor sees, from the counters of the systems.
func (s *Service) totals(ctx context.Context, actor domain.Actor, t *Tree) error {
	var sums []struct {
		Total int `sql:"total"`
		VMs   int `sql:"vms"`
		Bad   int `sql:"bad"`
	}
	err := s.DB.Ent.System.Query().Where(listing.Systems(actor)).Modify(func(sel *sql.Selector) {
		sel.Select(sql.As(sql.Count("*"), "total"), sql.As(sum(sel, system.FieldVMCount), "vms"), sql.As(sum(sel, system.FieldBadCount), "bad"))
	}).Scan(ctx, &sums)
	if err != nil || len(sums) == 0 {
		return err
	}
	t.Total, t.VMs, t.Bad = sums[0].Total, sums[0].VMs, sums[0].Bad
	return nil
}

// sum is 0, not NULL, where there are no rows.
func sum(sel *sql.Selector, column string) string {
	return "COALESCE(" + sql.Sum(sel.C(column)) + ", 0)"
}

// named are the services that a search text means: a part of their name, of
// the prefix of their VMs, or the name of one of their VMs.
func named(query string) predicate.Service {
	prefix := strings.TrimRight(strings.TrimRight(query, "0123456789"), "-")
	return service.Or(service.NameContains(query), service.VMPrefixContains(query), service.VMPrefix(prefix))
}

// services reads the services to show, by system: those of open systems and,
// in a tree that is searched, those that match.
func (s *Service) services(ctx context.Context, systems []*ent.System, open map[uuid.UUID]bool, q TreeQuery) (map[uuid.UUID][]*ent.Service, error) {
	var opened, all []uuid.UUID
	for _, r := range systems {
		all = append(all, r.ID)
		if open[r.ID] {
			opened = append(opened, r.ID)
		}
	}
	show := s.DB.Ent.Service.Query()
	switch {
	case q.Problems:
		show.Where(service.SystemIDIn(all...), service.BadCountGT(0))
		if q.Query != "" {
			show.Where(service.Or(named(q.Query), service.HasSystemWith(system.NameContains(q.Query))))
		}
	case q.Query != "":
		show.Where(service.Or(service.SystemIDIn(opened...), service.And(service.SystemIDIn(all...), named(q.Query))))
	case len(opened) == 0:
		return nil, nil
	default:
		show.Where(service.SystemIDIn(opened...))
	}
	rows, err := show.Order(service.ByName()).Limit(treeServices).
		Select(service.FieldID, service.FieldSystemID, service.FieldName, service.FieldVMPrefix, service.FieldVMCount, service.FieldBadCount).All(ctx)
	by := map[uuid.UUID][]*ent.Service{}
	for _, r := range rows {
		by[r.SystemID] = append(by[r.SystemID], r)
	}
	return by, err
}

// vms reads the first VMs of a service, and the selected one wherever it is.
func (s *Service) vms(ctx context.Context, sv *ent.Service, q TreeQuery, selected *ent.VM) ([]TreeVM, bool, error) {
	show := s.DB.Ent.VM.Query().Where(vm.ServiceID(sv.ID), vm.DeletedAtIsNil())
	if q.Problems {
		show.Where(vm.HealthEQ(vm.HealthBad))
	}
	if strings.HasPrefix(q.Query, sv.VMPrefix) {
		show.Where(vm.NameHasPrefix(q.Query))
	}
	rows, err := show.Order(vm.ByInstance()).Limit(treeVMs+1).
		Select(vm.FieldID, vm.FieldName, vm.FieldInstance, vm.FieldState, vm.FieldHealth, vm.FieldProblem, vm.FieldObservedAt).All(ctx)
	if err != nil {
		return nil, false, err
	}
	more := len(rows) > treeVMs
	if more {
		rows = rows[:treeVMs]
	}
	here := func(r *ent.VM) bool { return r.ID == selected.ID }
	if selected != nil && selected.ServiceID == sv.ID && selected.DeletedAt == nil && !slices.ContainsFunc(rows, here) {
		rows = append(rows, selected)
	}
	list := make([]TreeVM, 0, len(rows))
	for _, r := range rows {
		list = append(list, TreeVM{
			ID: r.ID.String(), Name: r.Name, Instance: r.Instance, State: domain.VMState(r.State), Health: domain.Health(r.Health),
			Problem: r.Problem, ObservedAt: r.ObservedAt,
		})
	}
	return list, more, nil
}

// way opens what is above the selected row and that row itself, and answers
// with the VM if it is one. Whether the actor sees any of it is decided by what
// is read from the systems down.
func (s *Service) way(ctx context.Context, id string, open map[uuid.UUID]bool) (*ent.VM, error) {
	key, err := uuid.Parse(id)
	if err != nil {
		return nil, nil
	}
	open[key] = true
	r, err := s.DB.Ent.VM.Query().Where(vm.ID(key)).Only(ctx)
	if err == nil {
		open[r.ServiceID], open[r.SystemID] = true, true
		return r, nil
	}
	if !ent.IsNotFound(err) {
		return nil, err
	}
	sv, err := s.DB.Ent.Service.Query().Where(service.ID(key)).Only(ctx)
	if err == nil {
		open[sv.SystemID] = true
	}
	if ent.IsNotFound(err) {
		err = nil
	}
	return nil, err
}

func keys(ids []string) map[uuid.UUID]bool {
	set := map[uuid.UUID]bool{}
	for _, id := range ids {
		if key, err := uuid.Parse(id); err == nil {
			set[key] = true
		}
	}
	return set
}
