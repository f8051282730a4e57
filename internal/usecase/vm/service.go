// Package vm keeps the portal's picture of virtual machines: it carries out
// approved orders on a cluster (the worker protocol), takes in what watchers
// see, and answers what a page shows of a VM.
//
// An order is a domain event of type VM_CREATE, VM_DELETE or VM_POWER. Locks
// are always taken in the order event, VM, ticket, service, system, cluster.
package vm

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/ent/vmrevision"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
)

// Service holds what the use cases of VMs need. All fields but the unexported
// ones are set once, before the first call.
type Service struct {
	DB       *database.DB
	Provider provider.InfrastructureProvider
	Notify   notify.NotificationProvider
	// CloudInit opens the first-boot data of a template, empty when it has none.
	CloudInit func(ctx context.Context, templateID string) (domain.Secret, error)
	// Requeue adds a job for an order that lost its own. It may be called again
	// for an order that still has a job.
	Requeue func(ctx context.Context, tx *ent.Tx, event uuid.UUID) error
	Worker  string // names this process in the orders that it holds
	Logger  *slog.Logger

	turns turns

	mu sync.Mutex
	// missed says since when complete lists of a cluster lack a VM. It is lost
	// with the process, which only makes the verdict later, never wrong.
	missed map[string]map[uuid.UUID]time.Time
}

// View is a VM as its page shows it.
type View struct {
	ID, Name, Namespace string
	Instance            int
	Environment         domain.Environment
	SystemID, System    string
	ServiceID, Service  string
	ClusterID, Cluster  string
	ClusterStatus       domain.ClusterStatus
	ClusterProblem      domain.Problem
	ClusterAnsweredAt   *time.Time // the age of all below while the cluster is away
	Ticket              int        // that approved the VM
	CreatedBy           string     // user name of the requester
	CreatedAt           time.Time
	DeletedAt           *time.Time

	Template        string
	TemplateVersion int
	Size            string
	CPU             int // vCPU
	MemoryMiB       int
	DiskGiB         int

	State      domain.VMState
	Health     domain.Health
	Problem    domain.Problem
	IP, Node   string
	GuestOS    string
	UID        string
	StartedAt  *time.Time
	ObservedAt *time.Time

	Revisions  []Revision // the newest first
	Events     []Event    // the newest first, at most recentEvents
	Busy       *Event     // the order that is under way
	Waiting    []Waiting  // requests about this VM that nobody has decided
	CanOperate bool       // the actor may switch it on and off and ask for its deletion
}

// Revision is one approved specification.
type Revision struct {
	Number    int
	Spec      domain.ChangeableSpec
	Ticket    int
	CreatedBy string // user name of who approved
	CreatedAt time.Time
}

// Event is an order about the VM, or a request for one.
type Event struct {
	ID             string
	Type           domain.EventType
	Operation      domain.Operation
	Status         domain.EventStatus
	Problem        domain.Problem // why it waits or failed
	NeedsAttention bool
	Ticket         int // 0: needed no approval
	CreatedBy      string
	CreatedAt      time.Time
	FinishedAt     *time.Time
}

// Waiting is an undecided request.
type Waiting struct {
	Ticket    int
	Operation domain.Operation
	Requester string
	CreatedAt time.Time
}

// recentEvents is how many events a VM's page shows.
const recentEvents = 20

// Get answers with one VM, also a deleted one. NOT_FOUND when there is none or
// the actor may not know of it.
func (s *Service) Get(ctx context.Context, actor domain.Actor, id string) (View, error) {
	key, err := uuid.Parse(id)
	if err != nil {
		return View{}, apperr.New(apperr.ErrNotFound)
	}
	row, err := s.DB.Ent.VM.Query().Where(entvm.ID(key)).
		WithService(func(q *ent.ServiceQuery) { q.WithSystem() }).WithCluster().
		WithRevisions(func(q *ent.VMRevisionQuery) { q.Order(ent.Desc(vmrevision.FieldRevision)) }).
		Only(ctx)
	switch {
	case ent.IsNotFound(err):
		return View{}, apperr.New(apperr.ErrNotFound)
	case err != nil:
		return View{}, database.Classify(err)
	}
	if err := access.Check(actor, domain.VMRead, access.VM(row)); err != nil {
		return View{}, err
	}
	events, err := s.DB.Ent.DomainEvent.Query().
		Where(domainevent.AggregateType(Aggregate), domainevent.AggregateID(id)).
		Order(ent.Desc(domainevent.FieldCreatedAt, domainevent.FieldID)).Limit(recentEvents).All(ctx)
	if err != nil {
		return View{}, database.Classify(err)
	}
	waiting, err := s.DB.Ent.ApprovalTicket.Query().
		Where(approvalticket.VMID(key), approvalticket.StatusIn(approvalticket.StatusSUBMITTED, approvalticket.StatusPENDING_APPROVAL)).
		Order(ent.Asc(approvalticket.FieldID)).All(ctx)
	if err != nil {
		return View{}, database.Classify(err)
	}

	sv := row.Edges.Service
	v := View{
		ID: id, Name: row.Name, Namespace: row.Namespace, Instance: row.Instance, Environment: domain.Environment(row.Environment),
		SystemID: row.SystemID.String(), System: sv.Edges.System.Name, ServiceID: sv.ID.String(), Service: sv.Name,
		ClusterID: row.ClusterID.String(), Cluster: row.Edges.Cluster.Name,
		ClusterStatus: domain.ClusterStatus(row.Edges.Cluster.Status), ClusterProblem: row.Edges.Cluster.StatusReason,
		ClusterAnsweredAt: row.Edges.Cluster.AnsweredAt,
		Ticket:            row.TicketID, CreatedBy: row.CreatedBy, CreatedAt: row.CreatedAt, DeletedAt: row.DeletedAt,
		Template: row.Template, TemplateVersion: row.TemplateVersion, Size: row.Size,
		CPU: row.CPU, MemoryMiB: row.MemoryMib, DiskGiB: row.DiskGib,
		State: domain.VMState(row.State), Health: domain.Health(row.Health), Problem: row.Problem,
		IP: row.IPAddress, Node: row.NodeName, GuestOS: row.GuestOs, UID: row.UID, StartedAt: row.StartedAt, ObservedAt: row.ObservedAt,
		CanOperate: domain.Can(actor, domain.VMPower, access.VM(row)),
	}
	for _, r := range row.Edges.Revisions {
		v.Revisions = append(v.Revisions, Revision{r.Revision, r.Spec, r.TicketID, r.CreatedBy, r.CreatedAt})
	}
	for _, e := range events {
		ev := eventView(e)
		v.Events = append(v.Events, ev)
		if isOrder(e.Type) && !ev.Status.Terminal() {
			v.Busy = &ev
		}
	}
	for _, t := range waiting {
		v.Waiting = append(v.Waiting, Waiting{t.ID, domain.Operation(t.Operation), t.Requester, t.CreatedAt})
	}
	return v, nil
}

func eventView(e *ent.DomainEvent) Event {
	v := Event{
		ID: e.ID.String(), Type: domain.EventType(e.Type), Status: domain.EventStatus(e.Status), Problem: e.Problem,
		NeedsAttention: e.NeedsAttention, CreatedBy: e.CreatedBy, CreatedAt: e.CreatedAt, FinishedAt: e.ProcessedAt,
	}
	if e.TicketID != nil {
		v.Ticket = *e.TicketID
	}
	if p, err := payload(e); err == nil {
		v.Operation = p.Operation
	}
	return v
}
