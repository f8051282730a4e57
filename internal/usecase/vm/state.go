package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Aggregate is the aggregate type of events about one VM.
const Aggregate = "vm"

// Orders are the types of events that the worker carries out.
func Orders() []domainevent.Type {
	return []domainevent.Type{domainevent.TypeVM_CREATE, domainevent.TypeVM_DELETE, domainevent.TypeVM_POWER}
}

func isOrder(t domainevent.Type) bool { return slices.Contains(Orders(), t) }

func payload(e *ent.DomainEvent) (domain.VMPayload, error) {
	var p domain.VMPayload
	if err := json.Unmarshal(e.Payload, &p); err != nil {
		return p, fmt.Errorf("payload of event %s: %w", e.ID, err)
	}
	return p, nil
}

// OpenOrder finds the order about a VM that is not finished, or nil. Who wants
// to give the next one holds the VM's row lock.
func OpenOrder(ctx context.Context, c *ent.Client, vm uuid.UUID) (*ent.DomainEvent, error) {
	e, err := c.DomainEvent.Query().Where(
		domainevent.AggregateType(Aggregate), domainevent.AggregateID(vm.String()),
		domainevent.TypeIn(Orders()...),
		domainevent.StatusIn(domainevent.StatusPENDING, domainevent.StatusPROCESSING),
	).First(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	return e, err
}

// Counters collects what a transaction does to the counters of services,
// systems and clusters, so that each row is written once and in one order.
type Counters struct{ services, systems, clusters tally }

type tally map[uuid.UUID]delta

type delta struct{ vms, bad int }

func (t *tally) add(id uuid.UUID, vms, bad int) {
	if *t == nil {
		*t = tally{}
	}
	d := (*t)[id]
	(*t)[id] = delta{d.vms + vms, d.bad + bad}
}

// each calls fn for every row with a change, in one order for all
// transactions, so that no two of them wait for each other.
func (t tally) each(fn func(id uuid.UUID, d delta) error) error {
	for _, id := range slices.SortedFunc(maps.Keys(t), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		if t[id] == (delta{}) {
			continue
		}
		if err := fn(id, t[id]); err != nil {
			return fmt.Errorf("counters of %s: %w", id, err)
		}
	}
	return nil
}

// Add counts VMs of row's service, system and cluster up or down, and those of
// them that need somebody.
func (c *Counters) Add(row *ent.VM, vms, bad int) {
	c.services.add(row.ServiceID, vms, bad)
	c.systems.add(row.SystemID, vms, bad)
	c.clusters.add(row.ClusterID, vms, 0)
}

// Write stores the sums. It comes after every other lock of the transaction.
func (c *Counters) Write(ctx context.Context, tx *ent.Tx) error {
	if err := c.services.each(func(id uuid.UUID, d delta) error {
		return tx.Service.UpdateOneID(id).AddVMCount(d.vms).AddBadCount(d.bad).Exec(ctx)
	}); err != nil {
		return err
	}
	if err := c.systems.each(func(id uuid.UUID, d delta) error {
		return tx.System.UpdateOneID(id).AddVMCount(d.vms).AddBadCount(d.bad).Exec(ctx)
	}); err != nil {
		return err
	}
	return c.clusters.each(func(id uuid.UUID, d delta) error {
		return tx.Cluster.UpdateOneID(id).AddVMCount(d.vms).Exec(ctx)
	})
}

// become moves a VM to a state and counts the change of its health.
func become(u *ent.VMUpdateOne, c *Counters, row *ent.VM, next domain.VMState) {
	was, is := domain.Health(row.Health) == domain.HealthBad, next.Health() == domain.HealthBad
	switch {
	case is && !was:
		c.Add(row, 0, 1)
	case was && !is:
		c.Add(row, 0, -1)
	}
	u.SetState(entvm.State(next)).SetHealth(entvm.Health(next.Health()))
}

// Topics are what a page about the VM, its service or the tree listens to.
func Topics(row *ent.VM) []string {
	return []string{"vm-" + row.ID.String(), "service-" + row.ServiceID.String(), "tree"}
}

// TicketTopic is what a page about a ticket listens to.
func TicketTopic(number int) string { return fmt.Sprintf("ticket-%d", number) }
