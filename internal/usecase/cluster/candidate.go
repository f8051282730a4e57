package cluster

import (
	"context"
	"maps"
	"slices"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Candidate is a cluster that a VM could be placed on, or the reason why not.
type Candidate struct {
	ID, Name, Place   string
	Environment       domain.Environment
	Enabled           bool
	Status            domain.ClusterStatus
	KubernetesVersion string
	KubeVirtVersion   string
	StorageClasses    []domain.StorageClass
	VMs               int
	// Refusal is nil when it can be chosen: ENVIRONMENT_MISMATCH,
	// NAMESPACE_MISSING (not registered there; with the parameter presence: gone
	// from there), CLUSTER_DISABLED, or why it is not healthy. The parameter
	// cluster is its name.
	Refusal *apperr.AppError
}

// Candidates judges every cluster for a VM of a namespace and environment. The
// usable ones come first, each group by name. c may be a transaction's client.
func Candidates(ctx context.Context, c *ent.Client, ns string, env domain.Environment) ([]Candidate, error) {
	rows, has, err := places(ctx, c, ns)
	if err != nil {
		return nil, err
	}
	out := make([]Candidate, 0, len(rows))
	for _, row := range rows {
		out = append(out, candidate(row, ns, env, has[place{ns, row.ID}]))
	}
	slices.SortStableFunc(out, func(a, b Candidate) int {
		switch {
		case (a.Refusal == nil) == (b.Refusal == nil):
			return 0
		case a.Refusal == nil:
			return -1
		}
		return 1
	})
	return out, nil
}

// Fits counts, for each of some namespaces with their environments, the
// clusters that Candidates would not refuse, and all clusters there are.
func Fits(ctx context.Context, c *ent.Client, wanted map[string]domain.Environment) (fits map[string]int, of int, err error) {
	rows, has, err := places(ctx, c, slices.Collect(maps.Keys(wanted))...)
	if err != nil {
		return nil, 0, err
	}
	fits = map[string]int{}
	for ns, env := range wanted {
		for _, row := range rows {
			if candidate(row, ns, env, has[place{ns, row.ID}]).Refusal == nil {
				fits[ns]++
			}
		}
	}
	return fits, len(rows), nil
}

// place is a namespace of a cluster.
type place struct {
	namespace string
	cluster   uuid.UUID
}

// places reads all clusters by name, and where some namespaces are registered,
// with what the cluster said of them.
func places(ctx context.Context, c *ent.Client, names ...string) ([]*ent.Cluster, map[place]domain.Presence, error) {
	rows, err := c.Cluster.Query().Order(cluster.ByName()).All(ctx)
	if err != nil {
		return nil, nil, database.Classify(err)
	}
	registered, err := c.Namespace.Query().Where(namespace.NameIn(names...)).
		Select(namespace.FieldName, namespace.FieldClusterID, namespace.FieldPresence).All(ctx)
	if err != nil {
		return nil, nil, database.Classify(err)
	}
	has := map[place]domain.Presence{}
	for _, r := range registered {
		has[place{r.Name, r.ClusterID}] = domain.Presence(r.Presence)
	}
	return rows, has, nil
}

// Candidates is the function of that name on the whole database.
func (s *Service) Candidates(ctx context.Context, ns string, env domain.Environment) ([]Candidate, error) {
	return Candidates(ctx, s.DB.Ent, ns, env)
}

// Place is the last word inside the transaction that places a VM: it reads the
// cluster again and keeps its namespace registered until tx ends. The error is
// the refusal, or NOT_FOUND.
func Place(ctx context.Context, tx *ent.Tx, id, ns string, env domain.Environment) (Candidate, error) {
	row, err := find(ctx, tx.Client(), id)
	if err != nil {
		return Candidate{}, err
	}
	held, err := tx.Namespace.Query().Where(namespace.ClusterID(row.ID), namespace.Name(ns)).ForShare().All(ctx)
	if err != nil {
		return Candidate{}, database.Classify(err)
	}
	var presence domain.Presence
	if len(held) > 0 {
		presence = domain.Presence(held[0].Presence)
	}
	c := candidate(row, ns, env, presence)
	if c.Refusal != nil {
		return c, c.Refusal
	}
	return c, nil
}

// candidate judges a cluster. presence is of the namespace there, "" when it is
// not registered.
func candidate(row *ent.Cluster, ns string, env domain.Environment, presence domain.Presence) Candidate {
	c := Candidate{
		ID: row.ID.String(), Name: row.Name, Place: row.Place, Environment: domain.Environment(row.Environment),
		Enabled: row.Enabled, Status: domain.ClusterStatus(row.Status),
		KubernetesVersion: row.KubernetesVersion, KubeVirtVersion: row.KubevirtVersion,
		StorageClasses: row.StorageClasses, VMs: row.VMCount,
	}
	switch {
	case c.Environment != env:
		c.Refusal = apperr.New(apperr.ErrEnvironmentMismatch).With("environment", string(c.Environment)).With("wanted", string(env))
	case presence == "":
		c.Refusal = apperr.New(apperr.ErrNamespaceMissing).With("namespace", ns)
	case presence.Gone():
		c.Refusal = apperr.New(apperr.ErrNamespaceMissing).With("namespace", ns).With("presence", string(presence))
	case !row.Enabled:
		c.Refusal = apperr.New(apperr.ErrClusterDisabled)
	case row.Drained:
		c.Refusal = apperr.New(apperr.ErrClusterDrained)
	case row.QuarantinedAt != nil:
		c.Refusal = apperr.New(apperr.ErrClusterQuarantined)
	default:
		c.Refusal = ailment(row)
	}
	if c.Refusal != nil {
		c.Refusal = c.Refusal.With("cluster", row.Name)
	}
	return c
}

// ailment is why a cluster gets no new VM: everything but HEALTHY. The reason's
// own code says more than the status, where it is one of an error.
func ailment(row *ent.Cluster) *apperr.AppError {
	if row.Status == cluster.StatusHEALTHY {
		return nil
	}
	if e := withParams(row.StatusReason.Code, row.StatusReason.Params); e.Kind() != apperr.Internal {
		return e
	}
	if row.Status == cluster.StatusUNHEALTHY {
		return apperr.New(apperr.ErrClusterDegraded)
	}
	return apperr.New(apperr.ErrClusterUnreachable)
}
