package cluster

import (
	"context"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Capacity is what the nodes of a cluster can give, as the last check found,
// and what the VMs of this platform ask of it. Other guests of the cluster are
// not in these numbers. vCPU may be more than there are: the cluster shares them.
type Capacity struct {
	ID, Name    string
	Environment domain.Environment
	Allocatable domain.ResourceUsage // zero when no check has seen the nodes
	Asked
}

// Asked is what VMs ask of a cluster.
type Asked struct {
	On  domain.ResourceUsage // of VMs that are on, or on their way
	Off domain.ResourceUsage // of VMs that are stopped: it would come on top
}

// maxCapacities is how many clusters Capacities gives.
const maxCapacities = 100

// Capacities gives the capacity of the clusters, by name.
func (s *Service) Capacities(ctx context.Context, actor domain.Actor) ([]Capacity, error) {
	if err := access.Check(actor, domain.ClusterList, domain.Object{}); err != nil {
		return nil, err
	}
	rows, err := s.DB.Ent.Cluster.Query().Where(listing.Clusters(actor)).Order(cluster.ByName()).Limit(maxCapacities).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	return capacities(ctx, s.DB.Ent, rows)
}

// CapacityOf gives the capacity of some clusters that List or Get has given, by
// id. Ids of others are left out.
func (s *Service) CapacityOf(ctx context.Context, actor domain.Actor, ids ...string) (map[string]Capacity, error) {
	var keys []uuid.UUID
	for _, id := range ids {
		if key, err := uuid.Parse(id); err == nil {
			keys = append(keys, key)
		}
	}
	rows, err := s.DB.Ent.Cluster.Query().Where(listing.Clusters(actor), cluster.IDIn(keys...)).
		Select(cluster.FieldName, cluster.FieldEnvironment, cluster.FieldAllocatableCPU, cluster.FieldAllocatableMemoryMib).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	list, err := capacities(ctx, s.DB.Ent, rows)
	if err != nil {
		return nil, err
	}
	byID := map[string]Capacity{}
	for _, c := range list {
		byID[c.ID] = c
	}
	return byID, nil
}

func capacities(ctx context.Context, c *ent.Client, rows []*ent.Cluster) ([]Capacity, error) {
	ids := make([]uuid.UUID, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	use, err := asked(ctx, c, ids...)
	if err != nil {
		return nil, err
	}
	list := make([]Capacity, len(rows))
	for i, row := range rows {
		list[i] = Capacity{
			ID: row.ID.String(), Name: row.Name, Environment: domain.Environment(row.Environment), Asked: use[row.ID],
			Allocatable: domain.ResourceUsage{CPU: row.AllocatableCPU, MemoryMiB: row.AllocatableMemoryMib},
		}
	}
	return list, nil
}

// asked adds up what the VMs of some clusters ask for.
func asked(ctx context.Context, c *ent.Client, ids ...uuid.UUID) (map[uuid.UUID]Asked, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var sums []struct {
		ClusterID uuid.UUID      `json:"cluster_id"`
		State     domain.VMState `json:"state"`
		CPU       int            `json:"cpu"`
		Memory    int            `json:"memory"`
	}
	err := c.VM.Query().Where(vm.ClusterIDIn(ids...), vm.DeletedAtIsNil()).GroupBy(vm.FieldClusterID, vm.FieldState).
		Aggregate(ent.As(ent.Sum(vm.FieldCPU), "cpu"), ent.As(ent.Sum(vm.FieldMemoryMib), "memory")).Scan(ctx, &sums)
	if err != nil {
		return nil, database.Classify(err)
	}
	all := map[uuid.UUID]Asked{}
	for _, sum := range sums {
		a := all[sum.ClusterID]
		use := &a.On
		switch sum.State {
		case domain.StateFailed, domain.StateMissing, domain.StateDeleted:
			continue // the cluster does not have it
		case domain.StateStopped:
			use = &a.Off
		}
		use.CPU += sum.CPU
		use.MemoryMiB += sum.Memory
		all[sum.ClusterID] = a
	}
	return all, nil
}
