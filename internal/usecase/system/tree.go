package system

import (
	"context"
	"math"
	"strconv"
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
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Sizes of the tree. What is left out is counted, and found by the query or by
// asking for the next part.
const (
	treePart  = 100  // rows of a branch that come at once
	hitPart   = 10   // the same in a tree that is filtered, where many branches are open
	hitSystem = 20   // systems of a filtered tree
	treeOpen  = 40   // open branches: each costs a query
	treeLong  = 2000 // rows of one branch that are read again when all of it is redrawn
	maxQuery  = 100  // bytes of a search text; nothing that exists is longer
)

// TreeQuery is what stands in the address of a page with the tree.
type TreeQuery struct {
	Open     []string         // ids of the open systems and services
	Shut     []string         // ids of those that stay closed though they hold a hit or what is selected
	Query    string           // part of a system's or service's name, or the start of a VM's
	Problems bool             // only what needs somebody
	Selected string           // id of the system, service or VM whose page is shown; the way to it is open
	Upto     map[string]Shown // how much of a long list is shown already, by the id of its parent, "" for the systems

	Branch string // only this system or service and what is in it
	Rest   bool   // only the next part of Branch, or of the systems if that is ""
}

func (q TreeQuery) filters() bool { return q.Query != "" || q.Problems }

// Shown is how much of a long list is shown: the rows up to a cursor.
type Shown struct {
	Rows   int
	Cursor string
}

// Tree is what an actor sees of the hierarchy, down to the open rows. All
// counts of VMs come from maintained counters.
type Tree struct {
	Systems []TreeSystem
	Part    TreePart // of the systems
	Total   int      // systems that the actor sees, also those not shown
	VMs     int      // of all that the actor sees
	Bad     int      // VMs that need somebody
	Shut    []string // what of the query's Shut would be open otherwise
}

// TreePart says which rows of a long list are read: first those that were
// shown before, then the next ones, at last the selected one if its turn would
// only come later.
type TreePart struct {
	From Shown // where the next ones begin
	Late bool  // the last row is the selected one
	Next Shown // where the following part begins; without a cursor there is none
	Left int   // rows not read, 0 when that is not known
}

// TreeSystem is a system and, when it is open, its services.
type TreeSystem struct {
	ID, Name, Namespace string
	Environment         domain.Environment
	VMs, Bad            int
	Open                bool
	Services            []TreeService
	Part                TreePart
}

// TreeService is a service and, when it is open, its VMs, the lowest number first.
type TreeService struct {
	ID, Name string
	VMs, Bad int
	Open     bool
	List     []TreeVM
	Part     TreePart
}

// TreeVM is a VM of the tree.
type TreeVM struct {
	ID, Name    string
	Instance    int
	State       domain.VMState
	Health      domain.Health
	Environment domain.Environment
	Problem     domain.Problem
	ObservedAt  *time.Time
	ClusterID   string
}

// Tree reads the explorer's tree: a few queries, and one or two for each open
// branch. Whatever an id in q names that the actor may not know of is left
// out; a branch that he may not know of is NOT_FOUND.
func (s *Service) Tree(ctx context.Context, actor domain.Actor, q TreeQuery) (Tree, error) {
	q.Query = strings.ToLower(strings.TrimSpace(q.Query))
	if len(q.Query) > maxQuery || !listing.IsText(q.Query) {
		return Tree{}, nil
	}
	r := reader{ctx: ctx, db: s.DB.Ent, q: q, open: keys(q.Open), shut: keys(q.Shut), left: treeOpen}
	t, err := r.tree(actor)
	if ent.IsNotFound(err) {
		return t, apperr.New(apperr.ErrNotFound)
	}
	return t, database.Classify(err)
}

// Attention lists the first VMs that need somebody, by name.
func (s *Service) Attention(ctx context.Context, actor domain.Actor, n int) ([]TreeVM, error) {
	rows, err := s.DB.Ent.VM.Query().Where(listing.VMs(actor), vm.HealthEQ(vm.HealthBad), vm.DeletedAtIsNil()).
		Order(vm.ByName(), vm.ByID()).Limit(n).Select(treeVMFields...).All(ctx)
	return treeVMs(rows), database.Classify(err)
}

// reader reads one tree.
type reader struct {
	ctx        context.Context
	db         *ent.Client
	q          TreeQuery
	open, shut map[uuid.UUID]bool
	way        way
	left       int // branches that may still be opened
}

// way is the selected row and what is above it.
type way struct{ system, service, vm uuid.UUID }

func (w way) has(id uuid.UUID) bool {
	return id != uuid.Nil && (id == w.system || id == w.service)
}

func (r *reader) tree(actor domain.Actor) (Tree, error) {
	var t Tree
	var err error
	if r.way, err = r.find(r.q.Selected); err != nil {
		return t, err
	}
	for _, id := range r.q.Shut {
		if key, err := uuid.Parse(id); err == nil && (r.q.filters() || r.way.has(key)) {
			t.Shut = append(t.Shut, id)
		}
	}
	visible := r.db.System.Query().Where(listing.Systems(actor))
	if r.q.Branch != "" {
		return t, r.branch(visible, &t)
	}
	if !r.q.Rest {
		if err = totals(r.ctx, visible.Clone(), &t); err != nil {
			return t, err
		}
	}
	return t, r.systems(visible, &t)
}

// branch reads one system or service with what is in it.
func (r *reader) branch(visible *ent.SystemQuery, t *Tree) error {
	key, err := listing.Key(r.q.Branch)
	if err != nil {
		return err
	}
	above, err := r.find(r.q.Branch)
	if err != nil {
		return err
	}
	row, err := visible.Where(system.ID(above.system)).Select(listed...).Only(r.ctx)
	if err != nil {
		return err
	}
	if key == above.system {
		sys, err := r.system(row)
		t.Systems = []TreeSystem{sys}
		return err
	}
	sv, err := r.db.Service.Query().Where(service.ID(key)).Select(treeServiceFields...).Only(r.ctx)
	if err != nil {
		return err
	}
	sys := treeSystem(row)
	one, err := r.service(sv)
	sys.Open, sys.Services = true, []TreeService{one}
	t.Systems = []TreeSystem{sys}
	return err
}

func (r *reader) systems(visible *ent.SystemQuery, t *Tree) error {
	size := treePart
	if r.q.Query != "" {
		visible.Where(system.Or(system.NameContains(r.q.Query), system.HasServicesWith(named(r.q.Query))))
	}
	if r.q.Problems {
		visible.Where(system.BadCountGT(0))
	}
	if r.q.filters() {
		size = hitSystem
	}
	rows, part, err := read(r.q, "", size, r.way.system, visible, systemRows(r.ctx))
	if err != nil {
		return err
	}
	t.Part = part
	for _, row := range rows {
		sys, err := r.system(row)
		if err != nil {
			return err
		}
		t.Systems = append(t.Systems, sys)
	}
	return nil
}

func (r *reader) system(row *ent.System) (TreeSystem, error) {
	sys := treeSystem(row)
	if r.shut[row.ID] || r.left == 0 || !r.q.filters() && !r.open[row.ID] && !r.way.has(row.ID) {
		return sys, nil
	}
	show, size := r.db.Service.Query().Where(service.SystemID(row.ID)), treePart
	if r.q.Problems {
		show.Where(service.BadCountGT(0))
	}
	if q := r.q.Query; q != "" && !(r.q.Problems && strings.Contains(row.Name, q)) {
		show.Where(named(q))
	}
	if r.q.filters() {
		size = hitPart
	} else {
		r.left--
	}
	if r.q.Branch != "" {
		size = treePart
	}
	rows, part, err := read(r.q, sys.ID, size, r.way.service, show, serviceRows(r.ctx))
	if err != nil {
		return sys, err
	}
	sys.Open, sys.Part = len(rows) > 0 || !r.q.filters(), part
	for _, row := range rows {
		sv, err := r.service(row)
		if err != nil {
			return sys, err
		}
		sys.Services = append(sys.Services, sv)
	}
	return sys, nil
}

func (r *reader) service(row *ent.Service) (TreeService, error) {
	sv := TreeService{ID: row.ID.String(), Name: row.Name, VMs: row.VMCount, Bad: row.BadCount}
	hit := r.q.Problems || r.q.Query != "" && strings.HasPrefix(r.q.Query, row.VMPrefix)
	if r.shut[row.ID] || r.left == 0 || !hit && !r.open[row.ID] && !r.way.has(row.ID) {
		return sv, nil
	}
	r.left--
	sv.Open = true
	show, size, total := r.db.VM.Query().Where(vm.ServiceID(row.ID), vm.DeletedAtIsNil()), treePart, row.VMCount
	if r.q.filters() && r.q.Branch == "" {
		size = hitPart
	}
	if r.q.Problems {
		show.Where(vm.HealthEQ(vm.HealthBad))
		total = row.BadCount
	}
	if strings.HasPrefix(r.q.Query, row.VMPrefix) {
		show.Where(vm.NameHasPrefix(r.q.Query))
		total = 0
	}
	rows, part, err := read(r.q, sv.ID, size, r.way.vm, show, vmRows(r.ctx))
	if part.Next.Cursor != "" {
		part.Left = max(total-part.Next.Rows, 0)
		if part.Late {
			part.Left--
		}
	}
	sv.List, sv.Part = treeVMs(rows), part
	return sv, err
}

// rows is how one kind of row is read in parts.
type rows[Q, R any] struct {
	clone  func(Q) Q
	after  func(Q, string) error // only rows after a cursor
	upto   func(Q, string) error // only rows up to it
	is     func(Q, uuid.UUID)
	all    func(Q, int) ([]R, error)
	count  func(Q) (int, error) // nil: not to be counted
	cursor func(R) string
}

// read reads what is to be shown of the list of a parent.
func read[Q, R any](q TreeQuery, parent string, size int, selected uuid.UUID, show Q, of rows[Q, R]) ([]R, TreePart, error) {
	var before []R
	part := TreePart{From: q.Upto[parent]}
	if part.From.Cursor != "" && !q.Rest {
		old := of.clone(show)
		err := of.upto(old, part.From.Cursor)
		if err == nil {
			before, err = of.all(old, treeLong)
		}
		if err != nil {
			return nil, part, err
		}
		if part.From.Rows = len(before); len(before) == treeLong {
			part.From.Cursor = of.cursor(before[treeLong-1])
		}
	}
	next := of.clone(show)
	if part.From.Cursor != "" {
		if err := of.after(next, part.From.Cursor); err != nil {
			return nil, part, err
		}
	}
	list, err := of.all(next, size+1)
	if err != nil || len(list) <= size {
		return append(before, list...), part, err
	}
	list = list[:size]
	part.Next = Shown{part.From.Rows + size, of.cursor(list[size-1])}
	later := of.clone(show)
	if err = of.after(later, part.Next.Cursor); err != nil {
		return nil, part, err
	}
	if of.count != nil {
		if part.Left, err = of.count(of.clone(later)); err != nil {
			return nil, part, err
		}
	}
	if selected != uuid.Nil {
		of.is(later, selected)
		late, err := of.all(later, 1)
		if err != nil {
			return nil, part, err
		}
		if part.Late = len(late) > 0; part.Late {
			list = append(list, late...)
			part.Left--
		}
	}
	return append(before, list...), part, nil
}

func systemRows(ctx context.Context) rows[*ent.SystemQuery, *ent.System] {
	return rows[*ent.SystemQuery, *ent.System]{
		clone: (*ent.SystemQuery).Clone,
		after: func(q *ent.SystemQuery, cursor string) error {
			name, id, err := listing.Page{After: cursor}.Name()
			q.Where(system.Or(system.NameGT(name), system.And(system.Name(name), system.IDGT(id))))
			return err
		},
		upto: func(q *ent.SystemQuery, cursor string) error {
			name, id, err := listing.Page{After: cursor}.Name()
			q.Where(system.Or(system.NameLT(name), system.And(system.Name(name), system.IDLTE(id))))
			return err
		},
		is: func(q *ent.SystemQuery, id uuid.UUID) { q.Where(system.ID(id)) },
		all: func(q *ent.SystemQuery, n int) ([]*ent.System, error) {
			return q.Order(system.ByName(), system.ByID()).Limit(n).Select(listed...).All(ctx)
		},
		count:  func(q *ent.SystemQuery) (int, error) { return q.Count(ctx) },
		cursor: func(s *ent.System) string { return listing.ByName(s.Name, s.ID) },
	}
}

var treeServiceFields = []string{service.FieldID, service.FieldSystemID, service.FieldName, service.FieldVMPrefix, service.FieldVMCount, service.FieldBadCount}

// serviceRows are those of one system, so their names alone order them.
func serviceRows(ctx context.Context) rows[*ent.ServiceQuery, *ent.Service] {
	where := func(q *ent.ServiceQuery, cursor string, is func(string) predicate.Service) error {
		if !listing.IsText(cursor) {
			return listing.BadCursor()
		}
		q.Where(is(cursor))
		return nil
	}
	return rows[*ent.ServiceQuery, *ent.Service]{
		clone: (*ent.ServiceQuery).Clone,
		after: func(q *ent.ServiceQuery, cursor string) error { return where(q, cursor, service.NameGT) },
		upto:  func(q *ent.ServiceQuery, cursor string) error { return where(q, cursor, service.NameLTE) },
		is:    func(q *ent.ServiceQuery, id uuid.UUID) { q.Where(service.ID(id)) },
		all: func(q *ent.ServiceQuery, n int) ([]*ent.Service, error) {
			return q.Order(service.ByName()).Limit(n).Select(treeServiceFields...).All(ctx)
		},
		count:  func(q *ent.ServiceQuery) (int, error) { return q.Count(ctx) },
		cursor: func(s *ent.Service) string { return s.Name },
	}
}

var treeVMFields = []string{
	vm.FieldID, vm.FieldName, vm.FieldInstance, vm.FieldEnvironment, vm.FieldState, vm.FieldHealth, vm.FieldProblem, vm.FieldObservedAt, vm.FieldClusterID,
}

func vmRows(ctx context.Context) rows[*ent.VMQuery, *ent.VM] {
	where := func(q *ent.VMQuery, cursor string, is func(int) predicate.VM) error {
		n, err := listing.Page{After: cursor}.Number()
		q.Where(is(min(n, math.MaxInt32)))
		return err
	}
	return rows[*ent.VMQuery, *ent.VM]{
		clone: (*ent.VMQuery).Clone,
		after: func(q *ent.VMQuery, cursor string) error { return where(q, cursor, vm.InstanceGT) },
		upto:  func(q *ent.VMQuery, cursor string) error { return where(q, cursor, vm.InstanceLTE) },
		is:    func(q *ent.VMQuery, id uuid.UUID) { q.Where(vm.ID(id)) },
		all: func(q *ent.VMQuery, n int) ([]*ent.VM, error) {
			return q.Order(vm.ByInstance()).Limit(n).Select(treeVMFields...).All(ctx)
		},
		cursor: func(m *ent.VM) string { return strconv.Itoa(m.Instance) },
	}
}

func treeSystem(r *ent.System) TreeSystem {
	return TreeSystem{
		ID: r.ID.String(), Name: r.Name, Namespace: r.Namespace, Environment: domain.Environment(r.Environment), VMs: r.VMCount, Bad: r.BadCount,
	}
}

func treeVMs(rows []*ent.VM) []TreeVM {
	list := make([]TreeVM, 0, len(rows))
	for _, r := range rows {
		list = append(list, TreeVM{
			ID: r.ID.String(), Name: r.Name, Instance: r.Instance, State: domain.VMState(r.State), Health: domain.Health(r.Health),
			Environment: domain.Environment(r.Environment), Problem: r.Problem, ObservedAt: r.ObservedAt, ClusterID: r.ClusterID.String(),
		})
	}
	return list
}

// totals counts what the actor sees, from the counters of the systems.
func totals(ctx context.Context, visible *ent.SystemQuery, t *Tree) error {
	var sums []struct {
		Total int `sql:"total"`
		VMs   int `sql:"vms"`
		Bad   int `sql:"bad"`
	}
	err := visible.Modify(func(sel *sql.Selector) {
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

// find looks up what is above a system, service or VM. Whether the actor sees
// any of it is decided by what is read from the systems down.
func (r *reader) find(id string) (way, error) {
	key, err := uuid.Parse(id)
	if err != nil {
		return way{}, nil
	}
	m, err := r.db.VM.Query().Where(vm.ID(key)).Select(vm.FieldID, vm.FieldServiceID, vm.FieldSystemID).Only(r.ctx)
	if err == nil {
		return way{m.SystemID, m.ServiceID, m.ID}, nil
	}
	if !ent.IsNotFound(err) {
		return way{}, err
	}
	sv, err := r.db.Service.Query().Where(service.ID(key)).Select(service.FieldID, service.FieldSystemID).Only(r.ctx)
	if err == nil {
		return way{system: sv.SystemID, service: sv.ID}, nil
	}
	if ent.IsNotFound(err) {
		err = nil
	}
	return way{system: key}, err
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
