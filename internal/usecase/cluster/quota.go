package cluster

import (
	"context"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Room is what is left of a namespace's quotas on one cluster, and from when
// that news is.
type Room struct {
	domain.Room

	CheckedAt time.Time
}

// Rooms gives what is left of a namespace, by the id of the cluster. A cluster
// whose quotas limit nothing, or are not known, is not in it. c may be a
// transaction's client.
func Rooms(ctx context.Context, c *ent.Client, ns string) (map[string]Room, error) {
	rows, err := c.Namespace.Query().Where(namespace.Name(ns)).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	rooms := map[string]Room{}
	var late []predicate.VM // VMs that the quotas do not count yet
	for _, row := range rows {
		if row.CheckedAt == nil || len(domain.RoomOf(row.Quotas, domain.Demand{}).Quotas) == 0 {
			continue
		}
		rooms[row.ClusterID.String()] = Room{CheckedAt: *row.CheckedAt}
		late = append(late, vm.And(vm.ClusterID(row.ClusterID), vm.Namespace(ns), vm.DeletedAtIsNil(), vm.StateNotIn(vm.StateFailed, vm.StateMissing),
			vm.Or(vm.StateEQ(vm.StateRequested), vm.CreatedAtGT(*row.CheckedAt))))
	}
	if len(rooms) == 0 {
		return nil, nil
	}
	var asked []struct {
		ClusterID uuid.UUID `json:"cluster_id"`
		N         int       `json:"n"`
		CPU       int       `json:"cpu"`
		Memory    int       `json:"memory"`
		Disk      int       `json:"disk"`
	}
	err = c.VM.Query().Where(vm.Or(late...)).GroupBy(vm.FieldClusterID).
		Aggregate(ent.As(ent.Count(), "n"), ent.As(ent.Sum(vm.FieldCPU), "cpu"), ent.As(ent.Sum(vm.FieldMemoryMib), "memory"), ent.As(ent.Sum(vm.FieldDiskGib), "disk")).
		Scan(ctx, &asked)
	if err != nil {
		return nil, database.Classify(err)
	}
	pending := map[string]domain.Demand{}
	for _, a := range asked {
		pending[a.ClusterID.String()] = domain.Demand{VMs: a.N, CPU: a.CPU, MemoryMiB: a.Memory, DiskGiB: a.Disk}
	}
	for _, row := range rows {
		id := row.ClusterID.String()
		if r, limited := rooms[id]; limited {
			r.Room = domain.RoomOf(row.Quotas, pending[id])
			rooms[id] = r
		}
	}
	return rooms, nil
}
