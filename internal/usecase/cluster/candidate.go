package cluster

import (
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Want is what is looked for: a cluster for VMs of a namespace.
type Want struct {
	Namespace   string
	Environment domain.Environment
	Needs       domain.Requirements // of the template
}

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
	Room              *Room // what the quotas leave in the namespace; nil: nothing is limited there, or it is not known
	Weight            int
	Allocatable       domain.ResourceUsage // zero when no check has seen the nodes
	// Refusal is nil when it can be chosen: ENVIRONMENT_MISMATCH,
	// NAMESPACE_MISSING (not registered there; with the parameter presence: gone
	// from there), CLUSTER_INCOMPATIBLE with the parameters features, hardware and
	// version, CLUSTER_DISABLED, CLUSTER_DRAINED, CLUSTER_QUARANTINED, or why it is
	// not healthy. The parameter cluster is its name.
	Refusal *apperr.AppError

	// Filled in by Propose.
	Free     int  // percent of its memory that would be left; -1: not known
	Proposed bool // the one to take when nothing speaks for another
}

// Candidates judges every cluster. The usable ones come first, each group by
// name. c may be a transaction's client.
func Candidates(ctx context.Context, c *ent.Client, want Want) ([]Candidate, error) {
	rows, has, err := places(ctx, c, want.Namespace)
	if err != nil {
		return nil, err
	}
	left, err := rooms(ctx, c, want.Namespace)
	if err != nil {
		return nil, err
	}
	out := make([]Candidate, 0, len(rows))
	for _, row := range rows {
		one := candidate(row, want, has[place{want.Namespace, row.ID}])
		one.Room = left[row.ID]
		out = append(out, one)
	}
	usableFirst(out)
	return out, nil
}

// Anonymous is the candidate for who may not know of it: only whether it fits,
// and why not.
func (c Candidate) Anonymous() Candidate {
	a := Candidate{ID: c.ID, Environment: c.Environment, Room: c.Room}
	if c.Refusal != nil {
		a.Refusal = apperr.New(c.Refusal.Code)
		for _, name := range []string{"environment", "wanted", "namespace", "presence", "features", "hardware", "version"} {
			if v, ok := c.Refusal.Params[name]; ok {
				a.Refusal = a.Refusal.With(name, v)
			}
		}
	}
	return a
}

func usableFirst(list []Candidate) {
	slices.SortStableFunc(list, func(a, b Candidate) int {
		switch {
		case (a.Refusal == nil) == (b.Refusal == nil):
			return 0
		case a.Refusal == nil:
			return -1
		}
		return 1
	})
}

// Propose marks the candidate to take for VMs that need so much memory
// together, and puts it first. The best one has the largest product of its
// weight and the share of its memory that would be left free; then the fewest
// VMs, then the first name. What VMs of the platform ask for counts as used, also
// while they are off, because they may be started. A capacity that nobody knows
// counts as free. Weight 0 is never proposed, and can be chosen all the same.
func Propose(ctx context.Context, c *ent.Client, list []Candidate, memoryMiB int) error {
	var ids []uuid.UUID
	for _, x := range list {
		if x.Refusal == nil {
			ids = append(ids, uuid.MustParse(x.ID))
		}
	}
	use, err := asked(ctx, c, ids...)
	if err != nil {
		return err
	}
	best := -1
	for i := range list {
		x := &list[i]
		if x.Refusal != nil {
			continue
		}
		u := use[uuid.MustParse(x.ID)]
		x.Free = freeShare(x.Allocatable.MemoryMiB, u.On.MemoryMiB+u.Off.MemoryMiB+memoryMiB)
		if x.Weight > 0 && (best < 0 || better(x, &list[best]) < 0) {
			best = i
		}
	}
	if best >= 0 {
		list[best].Proposed = true
		first := list[best]
		copy(list[1:best+1], list[:best])
		list[0] = first
	}
	return nil
}

// freeShare is how many percent of an amount are left, -1 when it is not known.
func freeShare(of, used int) int {
	if of <= 0 {
		return -1
	}
	return max(0, (of-used)*100/of)
}

func (c *Candidate) score() int {
	free := c.Free
	if free < 0 {
		free = 100
	}
	return c.Weight * free
}

// better is negative when a is to be proposed before b.
func better(a, b *Candidate) int {
	return cmp.Or(cmp.Compare(b.score(), a.score()), cmp.Compare(a.VMs, b.VMs), cmp.Compare(a.Name, b.Name))
}

// Fits counts, for each of some wants, the clusters that Candidates would not
// refuse, and all clusters there are.
func Fits(ctx context.Context, c *ent.Client, wants []Want) (fits []int, of int, err error) {
	names := make([]string, len(wants))
	for i, w := range wants {
		names[i] = w.Namespace
	}
	rows, has, err := places(ctx, c, names...)
	if err != nil {
		return nil, 0, err
	}
	fits = make([]int, len(wants))
	for i, w := range wants {
		for _, row := range rows {
			if candidate(row, w, has[place{w.Namespace, row.ID}]).Refusal == nil {
				fits[i]++
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
	rows, err := c.Cluster.Query().Where(cluster.RemovedAtIsNil()).Order(cluster.ByName()).All(ctx)
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
func (s *Service) Candidates(ctx context.Context, want Want) ([]Candidate, error) {
	return Candidates(ctx, s.DB.Ent, want)
}

// Place is the last word inside the transaction that places a VM: it reads the
// cluster again and keeps its namespace registered until tx ends. The error is
// the refusal, or NOT_FOUND.
func Place(ctx context.Context, tx *ent.Tx, id string, want Want) (Candidate, error) {
	row, err := Find(ctx, tx.Client(), id)
	if err != nil {
		return Candidate{}, err
	}
	held, err := tx.Namespace.Query().Where(namespace.ClusterID(row.ID), namespace.Name(want.Namespace)).ForShare().All(ctx)
	if err != nil {
		return Candidate{}, database.Classify(err)
	}
	var presence domain.Presence
	if len(held) > 0 {
		presence = domain.Presence(held[0].Presence)
	}
	c := candidate(row, want, presence)
	if c.Refusal != nil {
		return c, c.Refusal
	}
	return c, nil
}

// candidate judges a cluster. presence is of the namespace there, "" when it is
// not registered.
func candidate(row *ent.Cluster, want Want, presence domain.Presence) Candidate {
	c := Candidate{
		ID: row.ID.String(), Name: row.Name, Place: row.Place, Environment: domain.Environment(row.Environment),
		Enabled: row.Enabled, Status: domain.ClusterStatus(row.Status),
		KubernetesVersion: row.KubernetesVersion, KubeVirtVersion: row.KubevirtVersion,
		StorageClasses: row.StorageClasses, VMs: row.VMCount, Weight: row.Weight,
		Allocatable: domain.ResourceUsage{CPU: row.AllocatableCPU, MemoryMiB: row.AllocatableMemoryMib},
	}
	lacks := want.Needs.Lacking(row.EnabledFeatures, row.Hardware)
	// What never changes by itself comes first: it is no use to wait.
	switch {
	case c.Environment != want.Environment:
		c.Refusal = apperr.New(apperr.ErrEnvironmentMismatch).With("environment", string(c.Environment)).With("wanted", string(want.Environment))
	case presence == "":
		c.Refusal = apperr.New(apperr.ErrNamespaceMissing).With("namespace", want.Namespace)
	case presence.Gone():
		c.Refusal = apperr.New(apperr.ErrNamespaceMissing).With("namespace", want.Namespace).With("presence", string(presence))
	case !row.Enabled:
		c.Refusal = apperr.New(apperr.ErrClusterDisabled)
	case !lacks.IsZero():
		c.Refusal = incompatible(lacks, row.KubevirtVersion)
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

// incompatible says exactly what a cluster lacks.
func incompatible(lacks domain.Requirements, version string) *apperr.AppError {
	e := apperr.New(apperr.ErrClusterIncompatible)
	if len(lacks.Features) > 0 {
		e = e.With("features", lacks.Features)
		if version != "" {
			e = e.With("version", version)
		}
	}
	if len(lacks.Hardware) > 0 {
		e = e.With("hardware", lacks.Hardware)
	}
	return e
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
