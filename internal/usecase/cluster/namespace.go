package cluster

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Namespace is a namespace of a cluster in which VMs may be made.
type Namespace struct {
	ID, Name               string
	Environment            domain.Environment
	ClusterID, ClusterName string
	CreatedBy              string
	CreatedAt              time.Time
	Systems                []System // that use the name, by name; those the actor sees

	// What the cluster said when it was last asked.
	Presence  domain.Presence
	Quotas    []domain.Quota // nil: not known
	CheckedAt *time.Time     // nil: it could not be asked yet
}

// System is a system that uses a namespace.
type System struct{ ID, Name string }

// NamespaceFilter selects registered namespaces. Zero values select all.
type NamespaceFilter struct {
	Name, ClusterID string
	Environment     domain.Environment
}

// Namespaces gives the registered namespaces by name.
func (s *Service) Namespaces(ctx context.Context, actor domain.Actor, page Page) (Listing[Namespace], error) {
	return s.FindNamespaces(ctx, actor, NamespaceFilter{}, page)
}

// FindNamespaces gives some of the registered namespaces by name.
func (s *Service) FindNamespaces(ctx context.Context, actor domain.Actor, f NamespaceFilter, page Page) (Listing[Namespace], error) {
	if err := access.Check(actor, domain.NamespaceList, domain.Object{}); err != nil {
		return Listing[Namespace]{}, err
	}
	name, id := parseCursor(page.After)
	q := s.DB.Ent.Namespace.Query().
		Where(listing.Namespaces(actor), namespace.Or(namespace.NameGT(name), namespace.And(namespace.Name(name), namespace.IDGT(id))))
	if f.Name != "" {
		q.Where(namespace.Name(f.Name))
	}
	if f.ClusterID != "" {
		key, err := uuid.Parse(f.ClusterID)
		if err != nil {
			return Listing[Namespace]{}, apperr.Field("cluster", apperr.ErrInvalidChoice)
		}
		q.Where(namespace.ClusterID(key))
	}
	if f.Environment != "" {
		if !f.Environment.Valid() {
			return Listing[Namespace]{}, apperr.Field("environment", apperr.ErrInvalidChoice)
		}
		q.Where(namespace.EnvironmentEQ(namespace.Environment(f.Environment)))
	}
	rows, err := q.Order(namespace.ByName(), namespace.ByID()).Limit(page.limit() + 1).WithCluster().All(ctx)
	if err != nil {
		return Listing[Namespace]{}, database.Classify(err)
	}
	var out Listing[Namespace]
	if len(rows) > page.limit() {
		rows = rows[:page.limit()]
		last := rows[len(rows)-1]
		out.Next = cursor(last.Name, last.ID)
	}
	systems, err := s.systems(ctx, actor, rows)
	if err != nil {
		return Listing[Namespace]{}, err
	}
	for _, row := range rows {
		n := namespaceView(row)
		n.Systems = systems[row.Name]
		out.Items = append(out.Items, n)
	}
	return out, nil
}

// systems gives the systems of some namespaces, by the namespace's name.
func (s *Service) systems(ctx context.Context, actor domain.Actor, rows []*ent.Namespace) (map[string][]System, error) {
	names := make([]string, 0, len(rows))
	for _, row := range rows {
		names = append(names, row.Name)
	}
	found, err := s.DB.Ent.System.Query().Where(system.NamespaceIn(names...)).
		Select(system.FieldName, system.FieldNamespace, system.FieldEnvironment).Order(system.ByName()).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	all := map[string][]System{}
	for _, y := range found {
		if domain.Can(actor, domain.SystemRead, access.System(y)) {
			all[y.Namespace] = append(all[y.Namespace], System{y.ID.String(), y.Name})
		}
	}
	return all, nil
}

// GetNamespace gives one registered namespace.
func (s *Service) GetNamespace(ctx context.Context, actor domain.Actor, id string) (Namespace, error) {
	key, err := listing.Key(id)
	if err != nil {
		return Namespace{}, err
	}
	row, err := s.DB.Ent.Namespace.Query().Where(namespace.ID(key)).WithCluster().Only(ctx)
	if err != nil {
		return Namespace{}, orNotFound(err)
	}
	if err := access.Check(actor, domain.NamespaceRead, access.Namespace(row)); err != nil {
		return Namespace{}, err
	}
	systems, err := s.systems(ctx, actor, []*ent.Namespace{row})
	if err != nil {
		return Namespace{}, err
	}
	n := namespaceView(row)
	n.Systems = systems[row.Name]
	return n, nil
}

// namespaceView needs the edge to the cluster.
func namespaceView(row *ent.Namespace) Namespace {
	return Namespace{
		ID: row.ID.String(), Name: row.Name, Environment: domain.Environment(row.Environment),
		ClusterID: row.ClusterID.String(), ClusterName: row.Edges.Cluster.Name,
		CreatedBy: row.CreatedBy, CreatedAt: row.CreatedAt,
		Presence: domain.Presence(row.Presence), Quotas: row.Quotas, CheckedAt: row.CheckedAt,
	}
}

// Registration is a namespace that is to be registered.
type Registration struct {
	ClusterID   string
	Name        string
	Environment domain.Environment
	Create      bool // make it in the cluster when it is not there
	Unseen      bool // register it also when the cluster cannot be asked
}

// RegisterNamespace allows VMs in a namespace of a cluster. Its environment is
// the cluster's, and a namespace of one name has one environment on all
// clusters: ENVIRONMENT_MISMATCH. NAMESPACE_REGISTERED when it is there already,
// NAMESPACE_SYSTEM when it is none for VMs.
//
// The cluster is asked for it: NAMESPACE_MISSING, with the parameter creatable
// saying whether Shepherd could make it, NAMESPACE_TERMINATING, or why the
// cluster cannot be asked (CLUSTER_*). A form that is only checked asks nobody.
func (s *Service) RegisterNamespace(ctx context.Context, actor domain.Actor, r Registration) (id string, err error) {
	if err := access.Check(actor, domain.NamespaceCreate, domain.Object{}); err != nil {
		return "", err
	}
	var bad apperr.List
	switch {
	case r.Name == "":
		bad.Add("name", apperr.ErrRequired)
	case !domain.ValidName(r.Name):
		bad.Add("name", apperr.ErrInvalidName)
	case domain.SystemNamespace(r.Name):
		bad = append(bad, apperr.Field("name", apperr.ErrNamespaceSystem).With("namespace", r.Name))
	}
	if !r.Environment.Valid() {
		bad.Add("environment", apperr.ErrInvalidChoice)
	}
	key, err := listing.Key(r.ClusterID)
	if err != nil {
		bad.Add("cluster", apperr.ErrInvalidChoice)
	}
	if err := bad.Err(); err != nil {
		return "", err
	}
	// What the database refuses is refused before a cluster is asked.
	here, err := registrable(ctx, s.DB.Ent, key, r)
	if err != nil {
		return "", err
	}
	var seen *sighting
	if !domain.IsDryRun(ctx) {
		if seen, err = s.sight(ctx, actor, here, r); err != nil {
			return "", err
		}
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		// Two admins who register one name on two clusters must see each other's
		// environment. Whoever registers another name does not wait.
		if err := database.LockName(ctx, tx, database.LockNamespace, r.Name); err != nil {
			return err
		}
		// Nor is the cluster removed meanwhile.
		if _, err := tx.Cluster.Query().Where(cluster.ID(key), cluster.RemovedAtIsNil()).ForShare().IDs(ctx); err != nil {
			return err
		}
		if here, err = registrable(ctx, tx.Client(), key, r); err != nil {
			return err
		}
		create := tx.Namespace.Create().SetClusterID(key).SetName(r.Name).SetEnvironment(namespace.Environment(r.Environment)).SetCreatedBy(actor.Username)
		if seen != nil {
			create.SetPresence(namespace.Presence(seen.state.Presence)).SetCheckedAt(seen.at)
			if seen.state.Quotas != nil {
				create.SetQuotas(seen.state.Quotas)
			}
		}
		row, err := create.Save(ctx)
		if err != nil {
			return err
		}
		id = row.ID.String()
		if err := audit.Write(ctx, tx, actor, namespaceEntry("namespace.register", nil, row, here)); err != nil {
			return err
		}
		return notify(ctx, tx, key)
	})
	return id, err
}

// registrable says whether what is stored allows a namespace to be registered,
// and gives its cluster. c may be a transaction's client.
func registrable(ctx context.Context, c *ent.Client, key uuid.UUID, r Registration) (*ent.Cluster, error) {
	here, err := Find(ctx, c, key.String())
	if apperr.CodeOf(err) == apperr.ErrNotFound {
		return nil, apperr.Field("cluster", apperr.ErrInvalidChoice)
	}
	if err != nil {
		return nil, err
	}
	mismatch := func(other *ent.Cluster, has domain.Environment) error {
		return apperr.Field("environment", apperr.ErrEnvironmentMismatch).With("namespace", r.Name).
			With("cluster", other.Name).With("environment", string(has)).With("wanted", string(r.Environment))
	}
	if has := domain.Environment(here.Environment); has != r.Environment {
		return nil, mismatch(here, has)
	}
	others, err := c.Namespace.Query().Where(namespace.Name(r.Name)).WithCluster().All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	for _, other := range others {
		if other.ClusterID == key {
			return nil, apperr.Field("name", apperr.ErrNamespaceRegistered).With("namespace", r.Name).With("cluster", here.Name)
		}
	}
	for _, other := range others {
		if has := domain.Environment(other.Environment); has != r.Environment {
			return nil, mismatch(other.Edges.Cluster, has)
		}
	}
	return here, nil
}

// UnregisterNamespace takes a namespace back. NAMESPACE_IN_USE, with the
// parameters vms and systems, while VMs live there, or while systems use the
// name and no other cluster has it. The namespace itself is not touched.
func (s *Service) UnregisterNamespace(ctx context.Context, actor domain.Actor, id string) error {
	if err := access.Check(actor, domain.NamespaceDelete, domain.Object{}); err != nil {
		return err
	}
	key, err := listing.Key(id)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		first, err := tx.Namespace.Get(ctx, key)
		if err != nil {
			return orNotFound(err)
		}
		// All of the name, in one order: who places a VM or makes a system holds
		// one of them, and two admins must not take the last two at once.
		all, err := tx.Namespace.Query().Where(namespace.Name(first.Name)).Order(namespace.ByID()).ForUpdate().WithCluster().All(ctx)
		if err != nil {
			return err
		}
		var row *ent.Namespace
		for _, n := range all {
			if n.ID == key {
				row = n
			}
		}
		if row == nil { // somebody was faster
			return apperr.New(apperr.ErrNotFound)
		}
		vms, err := tx.VM.Query().Where(vm.ClusterID(row.ClusterID), vm.Namespace(row.Name), vm.DeletedAtIsNil()).Count(ctx)
		if err != nil {
			return err
		}
		systems := 0
		if len(all) == 1 {
			if systems, err = tx.System.Query().Where(system.Namespace(row.Name)).Count(ctx); err != nil {
				return err
			}
		}
		if vms+systems > 0 {
			return apperr.New(apperr.ErrNamespaceInUse).With("namespace", row.Name).With("cluster", row.Edges.Cluster.Name).
				With("vms", vms).With("systems", systems)
		}
		if err := tx.Namespace.DeleteOne(row).Exec(ctx); err != nil {
			return fmt.Errorf("unregister namespace: %w", err)
		}
		if err := audit.Write(ctx, tx, actor, namespaceEntry("namespace.unregister", row, nil, row.Edges.Cluster)); err != nil {
			return err
		}
		return notify(ctx, tx, row.ClusterID)
	})
}

func namespaceEntry(action string, was, is *ent.Namespace, on *ent.Cluster) audit.Entry {
	row := cmp.Or(is, was)
	told := func(r *ent.Namespace) map[string]any {
		if r == nil {
			return nil
		}
		return map[string]any{"cluster": on.Name, "environment": r.Environment, "presence": r.Presence}
	}
	return audit.Entry{
		Action: action, ResourceType: "namespace", ResourceID: row.ID.String(), ResourceName: row.Name,
		Details: map[string]any{"cluster": on.Name, "environment": string(row.Environment)}, Before: told(was), After: told(is),
	}
}

// PlacedVM is a VM that stands in a namespace of a cluster.
type PlacedVM struct {
	ID, Name   string
	State      domain.VMState
	Problem    domain.Problem
	Size       string
	CreatedBy  string
	ObservedAt *time.Time
}

// NamespaceVMs gives the VMs in a registered namespace of its cluster, by name,
// as far as the actor sees them, and counts them.
func (s *Service) NamespaceVMs(ctx context.Context, actor domain.Actor, id string, page Page) (list Listing[PlacedVM], total int, err error) {
	key, err := listing.Key(id)
	if err != nil {
		return list, 0, err
	}
	row, err := s.DB.Ent.Namespace.Query().Where(namespace.ID(key)).WithCluster().Only(ctx)
	if err != nil {
		return list, 0, orNotFound(err)
	}
	if err := access.Check(actor, domain.NamespaceRead, access.Namespace(row)); err != nil {
		return list, 0, err
	}
	q := s.DB.Ent.VM.Query().Where(listing.VMs(actor), vm.ClusterID(row.ClusterID), vm.Namespace(row.Name), vm.DeletedAtIsNil())
	if total, err = q.Clone().Count(ctx); err != nil {
		return list, 0, database.Classify(err)
	}
	rows, err := q.Where(vm.NameGT(page.After)).Order(vm.ByName()).Limit(page.limit() + 1).All(ctx)
	if err != nil {
		return list, 0, database.Classify(err)
	}
	if len(rows) > page.limit() {
		rows = rows[:page.limit()]
		list.Next = rows[len(rows)-1].Name
	}
	for _, m := range rows {
		list.Items = append(list.Items, PlacedVM{
			ID: m.ID.String(), Name: m.Name, State: domain.VMState(m.State), Problem: m.Problem, Size: m.Size, CreatedBy: m.CreatedBy,
			ObservedAt: m.ObservedAt,
		})
	}
	return list, total, nil
}
