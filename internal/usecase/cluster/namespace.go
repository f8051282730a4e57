package cluster

import (
	"cmp"
	"context"
	"fmt"
	"time"

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
}

// System is a system that uses a namespace.
type System struct{ ID, Name string }

// Namespaces gives the registered namespaces by name.
func (s *Service) Namespaces(ctx context.Context, actor domain.Actor, page Page) (Listing[Namespace], error) {
	if err := access.Check(actor, domain.NamespaceList, domain.Object{}); err != nil {
		return Listing[Namespace]{}, err
	}
	name, id := parseCursor(page.After)
	rows, err := s.DB.Ent.Namespace.Query().
		Where(listing.Namespaces(actor), namespace.Or(namespace.NameGT(name), namespace.And(namespace.Name(name), namespace.IDGT(id)))).
		Order(namespace.ByName(), namespace.ByID()).Limit(page.limit() + 1).WithCluster().All(ctx)
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
	key, err := parseID(id)
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
	}
}

// RegisterNamespace allows VMs in a namespace of a cluster. Its environment is
// the cluster's, and a namespace of one name has one environment on all
// clusters: ENVIRONMENT_MISMATCH. NAMESPACE_REGISTERED when it is there already.
func (s *Service) RegisterNamespace(ctx context.Context, actor domain.Actor, clusterID, name string, env domain.Environment) (id string, err error) {
	if err := access.Check(actor, domain.NamespaceCreate, domain.Object{}); err != nil {
		return "", err
	}
	var bad apperr.List
	switch {
	case name == "":
		bad.Add("name", apperr.ErrRequired)
	case !domain.ValidName(name):
		bad.Add("name", apperr.ErrInvalidName)
	}
	if !env.Valid() {
		bad.Add("environment", apperr.ErrInvalidChoice)
	}
	key, err := parseID(clusterID)
	if err != nil {
		bad.Add("cluster", apperr.ErrInvalidChoice)
	}
	if err := bad.Err(); err != nil {
		return "", err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		// All clusters are locked, in one order: two admins who register one
		// name on two clusters must see each other's environment.
		clusters, err := tx.Cluster.Query().Where(cluster.RemovedAtIsNil()).Order(cluster.ByID()).ForUpdate().All(ctx)
		if err != nil {
			return err
		}
		byID := map[string]*ent.Cluster{}
		for _, row := range clusters {
			byID[row.ID.String()] = row
		}
		here := byID[key.String()]
		if here == nil {
			return apperr.Field("cluster", apperr.ErrInvalidChoice)
		}
		mismatch := func(other *ent.Cluster, has domain.Environment) error {
			return apperr.Field("environment", apperr.ErrEnvironmentMismatch).With("namespace", name).
				With("cluster", other.Name).With("environment", string(has)).With("wanted", string(env))
		}
		if has := domain.Environment(here.Environment); has != env {
			return mismatch(here, has)
		}
		others, err := tx.Namespace.Query().Where(namespace.Name(name)).All(ctx)
		if err != nil {
			return err
		}
		for _, other := range others {
			if other.ClusterID == key {
				return apperr.Field("name", apperr.ErrNamespaceRegistered).With("namespace", name).With("cluster", here.Name)
			}
			if has := domain.Environment(other.Environment); has != env {
				return mismatch(byID[other.ClusterID.String()], has)
			}
		}
		row, err := tx.Namespace.Create().SetClusterID(key).SetName(name).SetEnvironment(namespace.Environment(env)).
			SetCreatedBy(actor.Username).Save(ctx)
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

// UnregisterNamespace takes a namespace back. NAMESPACE_IN_USE, with the
// parameters vms and systems, while VMs live there, or while systems use the
// name and no other cluster has it. The namespace itself is not touched.
func (s *Service) UnregisterNamespace(ctx context.Context, actor domain.Actor, id string) error {
	if err := access.Check(actor, domain.NamespaceDelete, domain.Object{}); err != nil {
		return err
	}
	key, err := parseID(id)
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
		return map[string]any{"cluster": on.Name, "environment": r.Environment}
	}
	return audit.Entry{
		Action: action, ResourceType: "namespace", ResourceID: row.ID.String(), ResourceName: row.Name,
		Details: map[string]any{"cluster": on.Name, "environment": string(row.Environment)}, Before: told(was), After: told(is),
	}
}
