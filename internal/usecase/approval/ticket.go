package approval

import (
	"context"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/policy"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// Ticket is a ticket where it is decided.
type Ticket struct {
	Row
	Version  int
	SpecHash string // of what is shown: it travels with the decision
	Reason   string // of the requester

	Asked     domain.EffectiveSpec // of a creation; of others the identity only
	Spec      domain.EffectiveSpec // with the approver's replacement
	Changes   []Change
	ClusterID string // of the decision
	Cluster   string

	Clusters []cluster.Candidate     // of a creation that waits
	Rooms    map[string]cluster.Room // what is left in the namespace, by cluster
	Target   *Target                 // of an operation on an existing VM
	Policy   string                  // name of the policy that wants the approval
	Deciders []account.Person        // without the requester
	Facts    Facts

	MayDecide   bool
	Refusal     *apperr.AppError // why not; nil when the actor may
	MayWithdraw bool

	Place, Of  int // in the queue of the actor, from 1; 0 when it does not wait
	Prev, Next int // neighbours in that queue, or 0
}

// Unchanged is the yes to exactly what is asked, on a cluster.
func (t Ticket) Unchanged(clusterID string) Decision {
	s := t.Asked.Spec
	return Decision{
		Approve: true, Version: t.Version, SpecHash: t.SpecHash, ClusterID: clusterID,
		TemplateID: s.TemplateID, SizeID: s.SizeID, Count: s.Count, DiskGiB: s.DiskGiB,
	}
}

// Facts are what helps to judge a requester.
type Facts struct {
	VMs      int // that exist because of earlier requests
	Asked    int // requests in the last 90 days
	Approved int // of them
}

// factsSpan is how far Facts look back.
const factsSpan = 90 * 24 * time.Hour

// Target is the VM that a ticket deletes or switches.
type Target struct {
	ID, Name, Namespace string
	ClusterID, Cluster  string
	State               domain.VMState
	Health              domain.Health
	Problem             domain.Problem
	IP, Node            string
	Template, Size      string
	CPU                 int // vCPU
	MemoryMiB           int
	DiskGiB             int
	CreatedBy           string
	CreatedAt           time.Time
	DeletedAt           *time.Time
	Busy                bool // an order is under way
	// Refusal is why the operation cannot be carried out now; nil when it can.
	Refusal *apperr.AppError
}

// Ticket answers with all that a decision needs. NOT_FOUND when there is no
// such ticket or the actor may not know of it.
func (s *Service) Ticket(ctx context.Context, actor domain.Actor, number int) (Ticket, error) {
	t, err := get(ctx, s.DB.Ent, actor, number)
	if err != nil {
		return Ticket{}, err
	}
	c, err := read(t)
	if err != nil {
		return Ticket{}, err
	}
	out := Ticket{
		Row: rowOf(actor, t), Version: t.Version, SpecHash: c.shown(), Reason: t.Reason,
		Asked: c.asked, Spec: c.now, Changes: changes(c.asked.Spec, c.now.Spec),
	}
	waits := decided(t) == nil
	err = access.Check(actor, domain.TicketDecide, access.Ticket(t))
	if err == nil {
		err = decided(t)
	}
	out.Refusal, _ = apperr.From(err)
	out.MayDecide, out.MayWithdraw = err == nil, waits && can(actor, domain.TicketWithdraw, t)

	if out.ClusterID, out.Cluster, err = s.cluster(ctx, t); err != nil {
		return out, err
	}
	if out.Target, err = s.target(ctx, t); err != nil {
		return out, err
	}
	if out.Facts, err = s.facts(ctx, t.RequesterID); err != nil {
		return out, err
	}
	if !waits {
		return out, nil
	}
	v, err := s.Policy.Evaluate(ctx, s.DB.Ent, policy.Request{Operation: out.Operation, Environment: out.Environment})
	if err != nil {
		return out, database.Classify(err)
	}
	out.Policy = v.Policy
	if out.Deciders, err = s.Approvers(ctx, s.DB.Ent, out.Environment, askers(t)...); err != nil {
		return out, database.Classify(err)
	}
	if out.Operation == domain.OpCreate {
		if out.Clusters, err = cluster.Candidates(ctx, s.DB.Ent, c.now.Namespace, c.now.Environment); err != nil {
			return out, err
		}
		if out.Rooms, err = cluster.Rooms(ctx, s.DB.Ent, c.now.Namespace); err != nil {
			return out, err
		}
	}
	return out, s.neighbours(ctx, actor, &out)
}

// cluster names the cluster of a decision.
func (s *Service) cluster(ctx context.Context, t *ent.ApprovalTicket) (id, name string, err error) {
	if t.ClusterID == nil {
		return "", "", nil
	}
	c, err := s.DB.Ent.Cluster.Get(ctx, *t.ClusterID)
	if ent.IsNotFound(err) {
		return t.ClusterID.String(), "", nil
	} else if err != nil {
		return "", "", database.Classify(err)
	}
	return c.ID.String(), c.Name, nil
}

func (s *Service) target(ctx context.Context, t *ent.ApprovalTicket) (*Target, error) {
	if t.VMID == nil {
		return nil, nil
	}
	r, err := s.DB.Ent.VM.Query().Where(entvm.ID(*t.VMID)).WithCluster().Only(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	order, err := vm.OpenOrder(ctx, s.DB.Ent, r.ID)
	if err != nil {
		return nil, database.Classify(err)
	}
	out := &Target{
		ID: r.ID.String(), Name: r.Name, Namespace: r.Namespace, ClusterID: r.ClusterID.String(), Cluster: r.Edges.Cluster.Name,
		State: domain.VMState(r.State), Health: domain.Health(r.Health), Problem: r.Problem, IP: r.IPAddress, Node: r.NodeName,
		Template: r.Template, Size: r.Size, CPU: r.CPU, MemoryMiB: r.MemoryMib, DiskGiB: r.DiskGib,
		CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt, DeletedAt: r.DeletedAt, Busy: order != nil,
	}
	out.Refusal = refusal(r, domain.Operation(t.Operation), out.Busy)
	return out, nil
}

func (s *Service) facts(ctx context.Context, requester uuid.UUID) (f Facts, err error) {
	if f.VMs, err = s.DB.Ent.VM.Query().Where(entvm.DeletedAtIsNil(), func(q *sql.Selector) {
		t := sql.Table(approvalticket.Table)
		q.Where(sql.In(q.C(entvm.FieldTicketID),
			sql.Select(t.C(approvalticket.FieldID)).From(t).Where(sql.EQ(t.C(approvalticket.FieldRequesterID), requester))))
	}).Count(ctx); err != nil {
		return f, database.Classify(err)
	}
	q := s.DB.Ent.ApprovalTicket.Query().
		Where(approvalticket.RequesterID(requester), approvalticket.CreatedAtGT(time.Now().Add(-factsSpan)))
	if f.Asked, err = q.Clone().Count(ctx); err != nil {
		return f, database.Classify(err)
	}
	f.Approved, err = q.Where(approvalticket.StatusIn(approvalticket.StatusAPPROVED, approvalticket.StatusEXECUTING,
		approvalticket.StatusCOMPLETED, approvalticket.StatusFAILED, approvalticket.StatusNEEDS_ATTENTION)).Count(ctx)
	return f, database.Classify(err)
}

// neighbours finds a waiting ticket's place in the actor's queue.
func (s *Service) neighbours(ctx context.Context, actor domain.Actor, t *Ticket) (err error) {
	if !domain.Can(actor, domain.TicketReview, domain.Object{Environment: t.Environment}) {
		return nil
	}
	q := s.DB.Ent.ApprovalTicket.Query().
		Where(approvalticket.StatusIn(pending()...), approvalticket.EnvironmentIn(environments(actor)...))
	if t.Of, err = q.Clone().Count(ctx); err != nil {
		return database.Classify(err)
	}
	before := q.Clone().Where(approvalticket.IDLT(t.Number))
	n, err := before.Clone().Count(ctx)
	if err != nil {
		return database.Classify(err)
	}
	t.Place = n + 1
	if t.Prev, err = before.Order(approvalticket.ByID(sql.OrderDesc())).FirstID(ctx); err != nil && !ent.IsNotFound(err) {
		return database.Classify(err)
	}
	if t.Next, err = q.Where(approvalticket.IDGT(t.Number)).Order(approvalticket.ByID()).FirstID(ctx); err != nil && !ent.IsNotFound(err) {
		return database.Classify(err)
	}
	return nil
}

// StepKind is a kind of moment in the life of a request.
type StepKind string

// The steps of a request, in their order.
const (
	StepSubmitted StepKind = "submitted"
	StepPolicy    StepKind = "policy"   // which policy wants a decision, while it waits
	StepDecision  StepKind = "decision" // approved, rejected, withdrawn, expired, or still to come
	StepWork      StepKind = "work"     // the orders are carried out
	StepEnd       StepKind = "end"      // completed, failed, or needs attention
)

// Step is one line of a request's timeline. At is nil for what is still to come.
type Step struct {
	Kind    StepKind
	At      *time.Time
	By      string // user name, or policy:<name>
	Policy  string
	Reason  string
	State   domain.TicketStatus // that the step led to; "" for what is still to come
	Changes []Change
}

// Request is a request with all that happened to it.
type Request struct {
	Row
	Namespace string
	Reason    string

	Asked, Spec domain.EffectiveSpec // see Ticket
	Changes     []Change
	ClusterID   string
	Cluster     string

	Timeline []Step
	VMs      []Progress
	Deciders []account.Person // while it waits

	CanWithdraw, CanDecide, CanRetry bool

	Waited time.Duration // until the decision, or until now
	Worked time.Duration // from the decision to the end, or until now
}

// Progress is what has become of one VM of a request.
type Progress struct {
	ID, Name       string
	State          domain.VMState
	Health         domain.Health
	Problem        domain.Problem     // of the VM, else why its order waits or failed
	Order          domain.EventStatus // "" while nobody has decided
	NeedsAttention bool
	DeletedAt      *time.Time
}

// Request answers with one request. NOT_FOUND as in Ticket.
func (s *Service) Request(ctx context.Context, actor domain.Actor, number int) (Request, error) {
	t, err := get(ctx, s.DB.Ent, actor, number)
	if err != nil {
		return Request{}, err
	}
	c, err := read(t)
	if err != nil {
		return Request{}, err
	}
	waits := decided(t) == nil
	r := Request{
		Row: rowOf(actor, t), Namespace: c.now.Namespace, Reason: t.Reason, Asked: c.asked, Spec: c.now,
		Changes:     changes(c.asked.Spec, c.now.Spec),
		CanWithdraw: waits && can(actor, domain.TicketWithdraw, t), CanDecide: waits && can(actor, domain.TicketDecide, t),
		CanRetry: domain.TicketStatus(t.Status).Retryable() && can(actor, domain.TicketRetry, t),
	}
	if r.ClusterID, r.Cluster, err = s.cluster(ctx, t); err != nil {
		return r, err
	}
	if r.VMs, err = s.progress(ctx, t); err != nil {
		return r, err
	}
	name := ""
	if waits {
		v, err := s.Policy.Evaluate(ctx, s.DB.Ent, policy.Request{Operation: r.Operation, Environment: r.Environment})
		if err != nil {
			return r, database.Classify(err)
		}
		name = v.Policy
		if r.Deciders, err = s.Approvers(ctx, s.DB.Ent, r.Environment, askers(t)...); err != nil {
			return r, database.Classify(err)
		}
	}
	r.Timeline = timeline(t, name, r.Changes)
	now := time.Now()
	switch {
	case t.DecidedAt == nil:
		r.Waited = now.Sub(t.CreatedAt)
	default:
		r.Waited = t.DecidedAt.Sub(t.CreatedAt)
		if t.ClusterID != nil { // a yes
			end := now
			if t.FinishedAt != nil {
				end = *t.FinishedAt
			}
			r.Worked = end.Sub(*t.DecidedAt)
		}
	}
	return r, nil
}

func timeline(t *ent.ApprovalTicket, policy string, changed []Change) []Step {
	steps := []Step{{Kind: StepSubmitted, At: &t.CreatedAt, By: t.Requester, Reason: t.Reason, State: domain.TicketPending}}
	if policy != "" {
		steps = append(steps, Step{Kind: StepPolicy, At: &t.CreatedAt, Policy: policy})
	}
	status := domain.TicketStatus(t.Status)
	decision := Step{Kind: StepDecision, At: t.DecidedAt, By: t.Approver, Reason: t.DecisionReason, Changes: changed}
	switch status {
	case domain.TicketSubmitted, domain.TicketPending:
		return append(steps, decision, Step{Kind: StepWork}, Step{Kind: StepEnd})
	case domain.TicketCancelled:
		decision.By = t.Requester
		fallthrough
	case domain.TicketRejected, domain.TicketExpired:
		decision.State = status
		return append(steps, decision)
	}
	decision.State = domain.TicketApproved
	work, end := Step{Kind: StepWork, At: t.DecidedAt, State: domain.TicketExecuting}, Step{Kind: StepEnd}
	switch status {
	case domain.TicketApproved:
		work.State = domain.TicketApproved
	case domain.TicketCompleted, domain.TicketFailed:
		end.At, end.State = t.FinishedAt, status
	case domain.TicketNeedsAttention:
		end.At, end.State = &t.UpdatedAt, status
	}
	return append(steps, decision, work, end)
}

// progress lists the VMs of a request by name.
func (s *Service) progress(ctx context.Context, t *ent.ApprovalTicket) ([]Progress, error) {
	q := s.DB.Ent.VM.Query().Order(ent.Asc(entvm.FieldInstance))
	if t.VMID != nil {
		q.Where(entvm.ID(*t.VMID))
	} else {
		q.Where(entvm.TicketID(t.ID))
	}
	rows, err := q.All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	orders, err := s.DB.Ent.DomainEvent.Query().Where(domainevent.TicketID(t.ID), domainevent.TypeIn(vm.Orders()...)).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	byVM := map[string]*ent.DomainEvent{}
	for _, e := range orders {
		byVM[e.AggregateID] = e
	}
	var out []Progress
	for _, r := range rows {
		p := Progress{
			ID: r.ID.String(), Name: r.Name, State: domain.VMState(r.State), Health: domain.Health(r.Health), Problem: r.Problem, DeletedAt: r.DeletedAt,
		}
		if e := byVM[p.ID]; e != nil {
			p.Order, p.NeedsAttention = domain.EventStatus(e.Status), e.NeedsAttention
			if p.Problem.IsZero() {
				p.Problem = e.Problem
			}
		}
		out = append(out, p)
	}
	return out, nil
}
