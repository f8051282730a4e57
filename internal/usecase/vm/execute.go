package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// The clock of the worker protocol. A holder stops working well before its
// lease ends, so that it never acts beside the next holder; what it does all
// the same is caught by the operation id (cluster) and the fence (database).
const (
	leaseFor    = 45 * time.Second // in database time
	workFor     = 25 * time.Second // all calls of one round
	callFor     = 8 * time.Second  // one call to a cluster
	settleFor   = 5 * time.Second  // writing the result
	maxAttempts = 8                // burnt ones, after which a person is asked
	slowAfter   = 15 * time.Minute // of waiting, after which a person is told
	pollGone    = 2 * time.Second  // while a deleted object has finalizers
	freshCheck  = time.Minute      // a health check this young is believed
)

// Outcome says when the worker comes back to an order: never when After is 0
// and Again false.
type Outcome struct {
	Again bool
	After time.Duration
	Burnt bool // the round counts against the order's attempts
}

// Done says that nothing is left to do in this job.
func Done() Outcome { return Outcome{} }

// Snooze comes back without a burnt attempt: the order waits for something.
func Snooze(d time.Duration) Outcome { return Outcome{Again: true, After: d} }

// Retry comes back after something went wrong.
func Retry(d time.Duration) Outcome { return Outcome{Again: true, After: d, Burnt: true} }

// order is a leased event with all that carrying it out needs.
type order struct {
	event   *ent.DomainEvent
	fence   int
	attempt int
	age     time.Duration // since it was ordered, in database time
	now     time.Time     // of the lease, in database time
	pay     domain.VMPayload
	vm      *ent.VM
	cluster *ent.Cluster
	ticket  *ent.ApprovalTicket // nil: needed no approval
}

// errLost says that another worker holds the order now.
var errLost = errors.New("the lease is lost")

// waiting is the error of a round that has to come back, and why.
type waiting struct {
	problem domain.Problem
	after   time.Duration
}

func (w waiting) Error() string { return "waiting: " + w.problem.Code }

// Execute carries out one order as far as it can be, and says when to come
// back. It may be called at any time, by any number of workers, again after a
// crash at any point: an object is made at most once. The error is about the
// portal's own database only; what a cluster says ends in the event.
func (s *Service) Execute(ctx context.Context, id uuid.UUID) (Outcome, error) {
	done, ok, err := s.turn(ctx, id)
	if err != nil {
		return Outcome{}, err
	}
	if !ok {
		return Snooze(jitter(turnAgain)), nil
	}
	defer done()
	o, out, err := s.lease(ctx, id)
	if o == nil || err != nil {
		return out, err
	}
	work, cancel := context.WithTimeout(ctx, workFor)
	result, err := s.perform(work, o)
	cancel()

	// The result is kept even when the process is told to stop meanwhile.
	write, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleFor)
	defer cancel()
	if err != nil && ctx.Err() != nil {
		err = waiting{after: time.Second} // interrupted by a shutdown: nobody's fault
	}
	out, err = s.settle(write, o, result, err)
	if errors.Is(err, errLost) {
		s.Logger.InfoContext(ctx, "order is held by another worker", "event", id, "fence", o.fence)
		return Done(), nil
	}
	return out, err
}

// lease takes an order for a while. It answers with no order when there is
// nothing to do now.
func (s *Service) lease(ctx context.Context, id uuid.UUID) (o *order, out Outcome, err error) {
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		e, err := tx.DomainEvent.Query().Where(domainevent.ID(id)).ForUpdate().Only(ctx)
		if ent.IsNotFound(err) {
			s.Logger.WarnContext(ctx, "job without an event", "event", id)
			return nil
		}
		if err != nil {
			return err
		}
		if !isOrder(e.Type) || domain.EventStatus(e.Status).Terminal() {
			return nil
		}
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		if e.LeaseUntil != nil && e.LeaseUntil.After(now) {
			out = Snooze(min(e.LeaseUntil.Sub(now), 5*time.Second))
			return nil
		}
		o = &order{event: e, fence: e.Fence + 1, attempt: e.Attempts + 1, age: now.Sub(e.CreatedAt), now: now}
		if o.pay, err = payload(e); err != nil {
			return err
		}
		// An attempt counts from its start, so that one that kills the process counts too.
		if err := tx.DomainEvent.UpdateOneID(id).SetFence(o.fence).SetAttempts(o.attempt).SetLeaseUntil(now.Add(leaseFor)).
			SetWorker(s.Worker).SetStatus(domainevent.StatusPROCESSING).Exec(ctx); err != nil {
			return err
		}
		vmID, err := uuid.Parse(o.pay.VMID)
		if err != nil {
			return fmt.Errorf("event %s: %w", id, err)
		}
		if o.vm, err = tx.VM.Query().Where(entvm.ID(vmID)).WithCluster().Only(ctx); err != nil {
			return fmt.Errorf("vm of event %s: %w", id, err)
		}
		o.cluster = o.vm.Edges.Cluster
		if e.TicketID == nil {
			return nil
		}
		o.ticket, err = tx.ApprovalTicket.Query().Where(approvalticket.ID(*e.TicketID)).WithEvent().Only(ctx)
		if err != nil {
			return fmt.Errorf("ticket of event %s: %w", id, err)
		}
		if o.ticket.Status != approvalticket.StatusAPPROVED {
			return nil
		}
		n, err := tx.ApprovalTicket.Update().Where(approvalticket.ID(o.ticket.ID), approvalticket.StatusEQ(approvalticket.StatusAPPROVED)).
			SetStatus(approvalticket.StatusEXECUTING).AddVersion(1).Save(ctx)
		if err != nil || n == 0 {
			return err
		}
		return database.Notify(ctx, tx, TicketTopic(o.ticket.ID), "requests")
	})
	if err != nil {
		return nil, Outcome{}, err
	}
	return o, out, nil
}

// perform talks to the cluster. A panic is a failed attempt like any other, so
// that a poisonous order ends with a person and not with a dead worker.
func (s *Service) perform(ctx context.Context, o *order) (r result, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.Logger.ErrorContext(ctx, "order panicked", "event", o.event.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = apperr.New(apperr.ErrInternal)
		}
	}()
	if o.attempt > maxAttempts { // the last ones died without a word
		return r, apperr.New(apperr.ErrOperationStuck)
	}
	if err := closed(o.cluster); err != nil {
		return r, err
	}
	if away(o.cluster, o.now) {
		return r, waiting{problem: clusterProblem(o.cluster)}
	}
	switch o.event.Type {
	case domainevent.TypeVM_CREATE:
		return s.create(ctx, o)
	case domainevent.TypeVM_DELETE:
		return s.delete(ctx, o)
	default:
		return result{}, s.power(ctx, o)
	}
}

// result is what a finished order tells of its VM.
type result struct {
	made *domain.VM // of VM_CREATE
	gone bool       // of VM_DELETE
}

// settle writes what a round came to.
func (s *Service) settle(ctx context.Context, o *order, r result, err error) (Outcome, error) {
	var w waiting
	switch {
	case err == nil:
		return Done(), s.complete(ctx, o, r)
	case errors.Is(err, errLost):
		return Done(), err
	case errors.As(err, &w):
		return s.postpone(ctx, o, w)
	}
	p, retry := problemOf(err, o)
	log := s.Logger.With("event", o.event.ID, "type", o.event.Type, "vm", o.vm.Name, "cluster", o.cluster.Name, "attempt", o.attempt, "error", err)
	switch classify(err, domain.ClusterStatus(o.cluster.Status)) {
	case classWait:
		log.InfoContext(ctx, "order waits for its cluster")
		return s.postpone(ctx, o, waiting{problem: p, after: retry})
	case classTerminal:
		log.WarnContext(ctx, "order failed")
		return Done(), s.fail(ctx, o, p, false)
	}
	if o.attempt >= maxAttempts {
		log.ErrorContext(ctx, "order needs attention")
		return Done(), s.fail(ctx, o, p, true)
	}
	log.WarnContext(ctx, "order is tried again")
	return s.again(ctx, o, p)
}

// held is the guarded start of every write of a holder: it touches nothing
// when another worker has taken the order over.
func held(ctx context.Context, tx *ent.Tx, o *order, set func(u *ent.DomainEventUpdate)) error {
	u := tx.DomainEvent.Update().Where(domainevent.ID(o.event.ID), domainevent.Fence(o.fence), domainevent.StatusEQ(domainevent.StatusPROCESSING))
	set(u)
	n, err := u.Save(ctx)
	if err == nil && n == 0 {
		return errLost
	}
	return err
}

// complete ends an order well.
func (s *Service) complete(ctx context.Context, o *order, r result) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		if err := held(ctx, tx, o, func(u *ent.DomainEventUpdate) {
			u.SetStatus(domainevent.StatusCOMPLETED).SetStep(domainevent.StepDONE).SetNeedsAttention(false).
				ClearProblem().ClearLeaseUntil().SetProcessedAt(now)
		}); err != nil {
			return err
		}
		row, err := tx.VM.Query().Where(entvm.ID(o.vm.ID)).ForUpdate().Only(ctx)
		if err != nil {
			return err
		}
		var c Counters
		switch {
		case r.made != nil:
			if err := made(row, r.made, &c).Exec(ctx); err != nil {
				return err
			}
		case r.gone:
			if row.DeletedAt == nil {
				u := row.Update().SetDeletedAt(now).ClearProblem()
				become(u, &c, row, domain.StateDeleted)
				c.Add(row, -1, 0)
				if err := u.Exec(ctx); err != nil {
					return err
				}
			}
		}
		return s.finish(ctx, tx, o, row, &c, audit.Entry{})
	})
}

// made takes the object that the cluster has accepted into the row, unless the
// watcher was faster and knows more.
func made(row *ent.VM, v *domain.VM, c *Counters) *ent.VMUpdateOne {
	u := row.Update().SetUID(v.UID)
	if row.UID == v.UID && row.ResourceVersion != "" && !newer(v.ResourceVersion, row.ResourceVersion) {
		return u
	}
	state := v.Status.State
	if state == "" || state == domain.StateUnknown {
		state = domain.StateProvisioning // accepted a moment ago; KubeVirt has not looked at it yet
	}
	become(u, c, row, state)
	return u.SetResourceVersion(v.ResourceVersion).ClearProblem()
}

// fail ends an order that cannot be carried out, or not without a person.
func (s *Service) fail(ctx context.Context, o *order, p domain.Problem, attention bool) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		if err := held(ctx, tx, o, func(u *ent.DomainEventUpdate) {
			u.SetStatus(domainevent.StatusFAILED).SetNeedsAttention(attention).SetProblem(p).ClearLeaseUntil().SetProcessedAt(now)
		}); err != nil {
			return err
		}
		row, err := tx.VM.Query().Where(entvm.ID(o.vm.ID)).ForUpdate().Only(ctx)
		if err != nil {
			return err
		}
		var c Counters
		if o.event.Type == domainevent.TypeVM_CREATE && row.State == entvm.StateRequested {
			u := row.Update().SetProblem(p)
			become(u, &c, row, domain.StateFailed)
			if err := u.Exec(ctx); err != nil {
				return err
			}
		}
		return s.finish(ctx, tx, o, row, &c, audit.Entry{Failed: true, Details: map[string]any{"code": p.Code}})
	})
}

// finish is the common end: audit, ticket, counters, topics.
func (s *Service) finish(ctx context.Context, tx *ent.Tx, o *order, row *ent.VM, c *Counters, e audit.Entry) error {
	e.Action = actions[o.pay.Operation]
	e.ResourceType, e.ResourceID, e.ResourceName, e.SystemID = Aggregate, row.ID.String(), row.Name, row.SystemID.String()
	now, err := tx.VM.Get(ctx, row.ID)
	if err != nil {
		return err
	}
	e.Before, e.After = map[string]any{"state": row.State}, map[string]any{"state": now.State}
	if o.ticket != nil {
		details := map[string]any{"ticket": o.ticket.ID, "approver": o.ticket.Approver}
		for k, v := range e.Details {
			details[k] = v
		}
		e.Details = details
	}
	if err := audit.Write(ctx, tx, o.actor(), e); err != nil {
		return err
	}
	topics := Topics(row)
	if o.ticket != nil {
		more, err := s.rollUp(ctx, tx, o.ticket.ID)
		if err != nil {
			return err
		}
		topics = append(topics, more...)
	}
	if err := c.Write(ctx, tx); err != nil {
		return err
	}
	return database.Notify(ctx, tx, topics...)
}

// actor is Shepherd at work on the order, for the person who asked for it.
func (o *order) actor() domain.Actor {
	a := domain.Shepherd()
	a.OnBehalfOf = domain.Principal{ID: o.pay.RequesterID, Username: o.pay.Requester}
	a.Via = domain.Via{Kind: domain.ViaJob, ID: o.event.ID.String(), Name: string(o.event.Type)}
	return a
}

// actions name in the audit log what Shepherd did to a VM.
var actions = map[domain.Operation]string{
	domain.OpCreate: "vm.create", domain.OpDelete: "vm.delete",
	domain.OpStart: "vm.start", domain.OpStop: "vm.stop", domain.OpRestart: "vm.restart",
}

// postpone gives the order back without a burnt attempt. When it has waited
// for long a person is told; it goes on by itself all the same.
func (s *Service) postpone(ctx context.Context, o *order, w waiting) (Outcome, error) {
	attention := o.age > slowAfter && !w.problem.IsZero()
	err := s.release(ctx, o, w.problem, attention, func(u *ent.DomainEventUpdate) { u.AddAttempts(-1) })
	if w.after == 0 {
		// The longer it lasts, the slower we ask: 5 to 30 seconds, not in step
		// with all the others that wait for the same cluster.
		w.after = jitter(min(max(o.age/4, 5*time.Second), 30*time.Second))
	}
	return Snooze(w.after), err
}

// again gives the order back after a failed attempt, with exponential backoff
// and full jitter.
func (s *Service) again(ctx context.Context, o *order, p domain.Problem) (Outcome, error) {
	err := s.release(ctx, o, p, false, func(*ent.DomainEventUpdate) {})
	ceiling := min(time.Second<<(o.attempt-1), time.Minute)
	return Retry(200*time.Millisecond + rand.N(ceiling)), err
}

// jitter is d, a fifth more or less.
func jitter(d time.Duration) time.Duration { return d*4/5 + rand.N(d*2/5) }

// release ends the lease at once and writes why the order waits, on the event
// and on a VM that does not exist yet.
func (s *Service) release(ctx context.Context, o *order, p domain.Problem, attention bool, set func(*ent.DomainEventUpdate)) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		if err := held(ctx, tx, o, func(u *ent.DomainEventUpdate) {
			// The end of the lease is also the last sign of life, see Sweep.
			u.SetLeaseUntil(now).SetNeedsAttention(attention)
			if p.IsZero() {
				u.ClearProblem()
			} else {
				u.SetProblem(p)
			}
			set(u)
		}); err != nil {
			return err
		}
		if same(p, o.event.Problem) && attention == o.event.NeedsAttention {
			return nil // no news: nobody is woken up every few seconds
		}
		var topics []string
		if o.event.Type == domainevent.TypeVM_CREATE {
			n, err := tx.VM.Update().Where(entvm.ID(o.vm.ID), entvm.StateEQ(entvm.StateRequested)).SetProblem(p).Save(ctx)
			if err != nil {
				return err
			}
			if n > 0 {
				topics = Topics(o.vm)
			}
		}
		if o.ticket != nil {
			more, err := s.rollUp(ctx, tx, o.ticket.ID)
			if err != nil {
				return err
			}
			topics = append(topics, more...)
		}
		return database.Notify(ctx, tx, topics...)
	})
}

// same compares problems as they are stored.
func same(a, b domain.Problem) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}
