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
	On          domain.ResourceUsage // of VMs that are on, or on their way
	Off         domain.ResourceUsage // of VMs that are stopped: it would come on top
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
	var asked []struct {
		ClusterID uuid.UUID      `json:"cluster_id"`
		State     domain.VMState `json:"state"`
		CPU       int            `json:"cpu"`
		Memory    int            `json:"memory"`
	}
	err = s.DB.Ent.VM.Query().Where(vm.DeletedAtIsNil()).GroupBy(vm.FieldClusterID, vm.FieldState).
		Aggregate(ent.As(ent.Sum(vm.FieldCPU), "cpu"), ent.As(ent.Sum(vm.FieldMemoryMib), "memory")).Scan(ctx, &asked)
	if err != nil {
		return nil, database.Classify(err)
	}
	list := make([]Capacity, len(rows))
	index := map[uuid.UUID]*Capacity{}
	for i, row := range rows {
		list[i] = Capacity{
			ID: row.ID.String(), Name: row.Name, Environment: domain.Environment(row.Environment),
			Allocatable: domain.ResourceUsage{CPU: row.AllocatableCPU, MemoryMiB: row.AllocatableMemoryMib},
		}
		index[row.ID] = &list[i]
	}
	for _, a := range asked {
		c := index[a.ClusterID]
		if c == nil {
			continue // beyond the limit
		}
		var use *domain.ResourceUsage
		switch a.State {
		case domain.StateFailed, domain.StateMissing, domain.StateDeleted:
			continue // the cluster does not have it
		case domain.StateStopped:
			use = &c.Off
		default:
			use = &c.On
		}
		use.CPU += a.CPU
		use.MemoryMiB += a.Memory
	}
	return list, nil
}
