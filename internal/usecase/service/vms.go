package service

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// VM is a row of a service's table.
type VM struct {
	ID, Name              string
	SystemID, ServiceID   string
	Environment           domain.Environment
	Instance              int
	State                 domain.VMState
	Health                domain.Health
	Problem               domain.Problem
	IP, Node              string
	ClusterID, Cluster    string
	ClusterStatus         domain.ClusterStatus
	Template              string
	TemplateVersion       int
	Size                  string
	CPU                   int // vCPU
	MemoryMiB, DiskGiB    int
	Ticket                int // that approved it
	CreatedBy             string
	CreatedAt             time.Time
	StartedAt, ObservedAt *time.Time
}

// VMFilter selects rows of a service's table.
type VMFilter struct {
	ClusterID string        // "" = all
	Health    domain.Health // "" = all
	Query     string        // part of the name, or the start of the address
}

// maxQuery is the longest search text, in bytes: no name or address is longer.
const maxQuery = 100

// VMs gives the VMs of a service, the newest first, without the deleted ones.
func (s *Service) VMs(ctx context.Context, actor domain.Actor, serviceID string, f VMFilter, page listing.Page) (listing.Of[VM], error) {
	var none listing.Of[VM]
	r, err := s.get(ctx, actor, serviceID)
	if err != nil {
		return none, err
	}
	after, err := page.Number()
	if err != nil {
		return none, err
	}
	q := s.DB.Ent.VM.Query().Where(vm.ServiceID(r.ID), vm.DeletedAtIsNil())
	if after > 0 {
		q.Where(vm.InstanceLT(after))
	}
	if ok, err := f.narrow(q); !ok {
		return none, err
	}
	rows, err := withCluster(q).Order(ent.Desc(vm.FieldInstance)).Limit(page.Size() + 1).All(ctx)
	if err != nil {
		return none, database.Classify(err)
	}
	return listing.Make(page, rows, row, func(r *ent.VM) string { return strconv.Itoa(r.Instance) }), nil
}

// AllVMs gives the VMs that the actor sees, or of them those of a system, by
// name and without the deleted ones. NOT_FOUND when the actor may not know of
// the system.
func (s *Service) AllVMs(ctx context.Context, actor domain.Actor, systemID string, f VMFilter, page listing.Page) (listing.Of[VM], error) {
	var none listing.Of[VM]
	name, id, err := page.Name()
	if err != nil {
		return none, err
	}
	q := s.DB.Ent.VM.Query().Where(listing.VMs(actor), vm.DeletedAtIsNil(), vm.Or(vm.NameGT(name), vm.And(vm.Name(name), vm.IDGT(id))))
	if systemID != "" {
		key, err := s.systemKey(ctx, actor, systemID)
		if err != nil {
			return none, err
		}
		q.Where(vm.SystemID(key))
	}
	if ok, err := f.narrow(q); !ok {
		return none, err
	}
	rows, err := withCluster(q).Order(ent.Asc(vm.FieldName, vm.FieldID)).Limit(page.Size() + 1).All(ctx)
	if err != nil {
		return none, database.Classify(err)
	}
	return listing.Make(page, rows, row, func(r *ent.VM) string { return listing.ByName(r.Name, r.ID) }), nil
}

// narrow puts the filter on a query. It is not ok when nothing can be found.
func (f VMFilter) narrow(q *ent.VMQuery) (ok bool, err error) {
	if f.ClusterID != "" {
		key, err := uuid.Parse(f.ClusterID)
		if err != nil {
			return false, nil
		}
		q.Where(vm.ClusterID(key))
	}
	switch {
	case f.Health == "":
	case slices.Contains([]domain.Health{domain.HealthOK, domain.HealthIdle, domain.HealthBusy, domain.HealthBad}, f.Health):
		q.Where(vm.HealthEQ(vm.Health(f.Health)))
	default:
		return false, apperr.Field("health", apperr.ErrInvalidChoice)
	}
	if text := strings.ToLower(strings.TrimSpace(f.Query)); text != "" {
		if len(text) > maxQuery || !listing.IsText(text) {
			return false, nil
		}
		q.Where(vm.Or(vm.NameContains(text), vm.IPAddressHasPrefix(text)))
	}
	return true, nil
}

func withCluster(q *ent.VMQuery) *ent.VMQuery {
	return q.WithCluster(func(q *ent.ClusterQuery) { q.Select(cluster.FieldID, cluster.FieldName, cluster.FieldStatus) })
}

func row(r *ent.VM) VM {
	c := r.Edges.Cluster
	return VM{
		ID: r.ID.String(), Name: r.Name, SystemID: r.SystemID.String(), ServiceID: r.ServiceID.String(), Environment: domain.Environment(r.Environment), Instance: r.Instance,
		State: domain.VMState(r.State), Health: domain.Health(r.Health), Problem: r.Problem, IP: r.IPAddress, Node: r.NodeName,
		ClusterID: c.ID.String(), Cluster: c.Name, ClusterStatus: domain.ClusterStatus(c.Status),
		Template: r.Template, TemplateVersion: r.TemplateVersion, Size: r.Size, CPU: r.CPU, MemoryMiB: r.MemoryMib, DiskGiB: r.DiskGib,
		Ticket: r.TicketID, CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, ObservedAt: r.ObservedAt,
	}
}

// Health counts the VMs of a service by health, for its page. It reads one
// service's rows only; lists and trees use the maintained counters.
func (s *Service) Health(ctx context.Context, actor domain.Actor, serviceID string) (map[domain.Health]int, error) {
	r, err := s.get(ctx, actor, serviceID)
	if err != nil {
		return nil, err
	}
	var rows []struct {
		Health domain.Health
		Count  int
	}
	err = s.DB.Ent.VM.Query().Where(vm.ServiceID(r.ID), vm.DeletedAtIsNil()).GroupBy(vm.FieldHealth).Aggregate(ent.Count()).Scan(ctx, &rows)
	if err != nil {
		return nil, database.Classify(err)
	}
	counts := map[domain.Health]int{}
	for _, r := range rows {
		counts[r.Health] = r.Count
	}
	return counts, nil
}
