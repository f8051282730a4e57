package vm

import (
	"context"
	"strconv"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
)

// rollUp computes the state of a ticket from its orders, under the lock of the
// ticket's row, and tells the requester when it has come to an end. It answers
// with the topics that have changed.
func (s *Service) rollUp(ctx context.Context, tx *ent.Tx, number int) ([]string, error) {
	t, err := tx.ApprovalTicket.Query().Where(approvalticket.ID(number)).ForUpdate().Only(ctx)
	if err != nil {
		return nil, err
	}
	orders, err := tx.DomainEvent.Query().
		Where(domainevent.TicketID(number), domainevent.TypeIn(Orders()...)).
		Order(ent.Asc(domainevent.FieldCreatedAt, domainevent.FieldID)).All(ctx)
	if err != nil {
		return nil, err
	}
	states := make([]domain.EventStatus, 0, len(orders))
	var problem domain.Problem
	attention := false
	for _, e := range orders {
		states = append(states, domain.EventStatus(e.Status))
		if e.NeedsAttention {
			attention = true
		}
		if problem.IsZero() && e.Status != domainevent.StatusCOMPLETED {
			problem = e.Problem
		}
	}
	next := domain.RollUp(states, attention)
	topics := []string{TicketTopic(number), "requests"}
	now := domain.TicketStatus(t.Status)
	u := t.Update()
	if problem.IsZero() {
		u.ClearProblem()
	} else {
		u.SetProblem(problem)
	}
	if next != now && now.CanBecome(next) {
		u.SetStatus(approvalticket.Status(next)).AddVersion(1)
		switch next {
		case domain.TicketCompleted, domain.TicketFailed:
			at, err := s.DB.Now(ctx, tx)
			if err != nil {
				return nil, err
			}
			u.SetFinishedAt(at)
		default:
			u.ClearFinishedAt()
		}
		if kind, ok := endings[next]; ok && s.Notify != nil {
			if err := s.Notify.Notify(ctx, tx, notify.Message{
				Kind: kind, Ticket: number, Users: []uuid.UUID{t.RequesterID},
				Params: map[string]any{"ticket": number, "title": t.Title, "code": problem.Code},
			}); err != nil {
				return nil, err
			}
			topics = append(topics, "notifications")
		}
	}
	return topics, u.Exec(ctx)
}

// endings are the states of a ticket that its requester is told of.
var endings = map[domain.TicketStatus]notify.Kind{
	domain.TicketCompleted:      notify.TicketCompleted,
	domain.TicketFailed:         notify.TicketFailed,
	domain.TicketNeedsAttention: notify.TicketAttention,
}

// madeBy says whether operation is an order that created the VM.
func madeBy(ctx context.Context, c *ent.Client, vmID, operation string) (bool, error) {
	id, err := uuid.Parse(operation)
	if err != nil {
		return false, nil // not an id of ours
	}
	return c.DomainEvent.Query().Where(
		domainevent.ID(id), domainevent.AggregateType(Aggregate), domainevent.AggregateID(vmID), domainevent.TypeEQ(domainevent.TypeVM_CREATE),
	).Exist(ctx)
}

// newer compares resource versions of one object. They are opaque by contract
// and numbers in fact (etcd's revision); where they are no numbers, what comes
// later counts as newer.
func newer(a, b string) bool {
	x, err1 := strconv.ParseUint(a, 10, 64)
	y, err2 := strconv.ParseUint(b, 10, 64)
	return err1 != nil || err2 != nil || x > y
}
