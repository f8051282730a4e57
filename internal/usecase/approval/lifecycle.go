package approval

import (
	"context"
	"slices"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// Withdraw takes a request back that nobody has decided. Only its requester may.
func (s *Service) Withdraw(ctx context.Context, actor domain.Actor, number int) error {
	if _, err := get(ctx, s.DB.Ent, actor, number); err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		t, err := lock(ctx, tx, number)
		if err != nil {
			return err
		}
		if err := access.Check(actor, domain.TicketWithdraw, access.Ticket(t)); err != nil {
			return err
		}
		if err := decided(t); err != nil {
			return err
		}
		topics, err := s.end(ctx, tx, t, approvalticket.StatusCANCELLED, actor, "ticket.withdraw")
		if err != nil {
			return err
		}
		return database.Notify(ctx, tx, topics...)
	})
}

// end closes a ticket without a decision.
func (s *Service) end(ctx context.Context, tx *ent.Tx, t *ent.ApprovalTicket, status approvalticket.Status, by domain.Actor, action string) ([]string, error) {
	now, err := s.DB.Now(ctx, tx)
	if err != nil {
		return nil, err
	}
	if err := t.Update().SetStatus(status).AddVersion(1).SetDecidedAt(now).SetFinishedAt(now).Exec(ctx); err != nil {
		return nil, err
	}
	if err := closeRequest(ctx, tx, t, domainevent.StatusCANCELLED, now); err != nil {
		return nil, err
	}
	topics := []string{vm.TicketTopic(t.ID), "approvals", "requests"}
	if t.VMID != nil {
		topics = append(topics, "vm-"+t.VMID.String())
	}
	return topics, audit.Write(ctx, tx, by, moved(action, t, status))
}

// expireBatch is how many tickets one transaction of Expire closes.
const expireBatch = 100

// Expire closes the requests that nobody has decided in time, tells their
// requesters, and says how many there were. Replicas may run it together.
func (s *Service) Expire(ctx context.Context) (n int, err error) {
	for {
		batch := 0
		err := s.DB.InTx(ctx, func(tx *ent.Tx) error {
			now, err := s.DB.Now(ctx, tx)
			if err != nil {
				return err
			}
			rows, err := tx.ApprovalTicket.Query().
				Where(approvalticket.StatusEQ(approvalticket.StatusPENDING_APPROVAL), approvalticket.ExpiresAtLT(now)).
				Order(ent.Asc(approvalticket.FieldID)).Limit(expireBatch).WithEvent().
				ForUpdate(sql.WithLockAction(sql.SkipLocked)).All(ctx)
			if err != nil {
				return err
			}
			batch = len(rows)
			var topics []string
			for _, t := range rows {
				more, err := s.end(ctx, tx, t, approvalticket.StatusEXPIRED, domain.ShepherdBy("expire-tickets"), "ticket.expire")
				if err != nil {
					return err
				}
				if err := s.tell(ctx, tx, notify.TicketExpired, t, "", ""); err != nil {
					return err
				}
				topics = append(topics, more...)
			}
			if batch == 0 {
				return nil
			}
			slices.Sort(topics)
			return database.Notify(ctx, tx, append(slices.Compact(topics), "notifications")...)
		})
		if err != nil {
			return n, err
		}
		n += batch
		if batch < expireBatch {
			return n, nil
		}
	}
}

// Retry carries out again what failed of an approved ticket, on the same
// approval. For the requester and those who decide in its environment.
// TICKET_CHANGED when the ticket has nothing that can be tried again, VM_BUSY
// when another order about one of its VMs is under way.
func (s *Service) Retry(ctx context.Context, actor domain.Actor, number int) error {
	seen, err := get(ctx, s.DB.Ent, actor, number)
	if err != nil {
		return err
	}
	changed := apperr.New(apperr.ErrTicketChanged).With("ticket", domain.TicketName(number))
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		actor, err := s.fresh(ctx, tx, actor)
		if err != nil {
			return err
		}
		if err := access.Check(actor, domain.TicketRetry, access.Ticket(seen)); err != nil {
			return err
		}
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		orders, err := tx.DomainEvent.Query().
			Where(domainevent.TicketID(number), domainevent.TypeIn(vm.Orders()...),
				domainevent.Or(
					domainevent.StatusEQ(domainevent.StatusFAILED),
					domainevent.And(
						domainevent.NeedsAttention(true), domainevent.StatusNotIn(domainevent.StatusCOMPLETED, domainevent.StatusCANCELLED),
						domainevent.Or(domainevent.LeaseUntilIsNil(), domainevent.LeaseUntilLTE(now)), // not in a worker's hands
					),
				)).
			Order(ent.Asc(domainevent.FieldCreatedAt, domainevent.FieldID)).ForUpdate().All(ctx)
		if err != nil {
			return err
		}
		again, counters, topics, err := s.reopen(ctx, tx, orders)
		if err != nil {
			return err
		}
		t, err := lock(ctx, tx, number)
		if err != nil {
			return err
		}
		if len(again) == 0 || !domain.TicketStatus(t.Status).Retryable() {
			return changed
		}
		if err := t.Update().SetStatus(approvalticket.StatusEXECUTING).AddVersion(1).ClearFinishedAt().ClearProblem().Exec(ctx); err != nil {
			return err
		}
		for _, e := range again {
			if err := e.Update().SetStatus(domainevent.StatusPENDING).SetAttempts(0).SetNeedsAttention(false).
				ClearProblem().ClearLeaseUntil().ClearProcessedAt().Exec(ctx); err != nil {
				return err
			}
			if err := s.Enqueue(ctx, tx, e.ID); err != nil {
				return err
			}
		}
		if err := counters.Write(ctx, tx); err != nil {
			return err
		}
		e := moved("ticket.retry", t, approvalticket.StatusEXECUTING)
		e.Details["orders"] = len(again)
		if err := audit.Write(ctx, tx, actor, e); err != nil {
			return err
		}
		return database.Notify(ctx, tx, append(topics, vm.TicketTopic(number), "requests")...)
	})
}

// reopen makes the VMs of failed orders ready for another try, and leaves out
// the orders of VMs that are deleted.
func (s *Service) reopen(ctx context.Context, tx *ent.Tx, orders []*ent.DomainEvent) (again []*ent.DomainEvent, counters vm.Counters, topics []string, err error) {
	byVM := map[uuid.UUID]*ent.DomainEvent{}
	var ids []uuid.UUID
	for _, e := range orders {
		id, err := uuid.Parse(e.AggregateID)
		if err != nil {
			return nil, counters, nil, err
		}
		byVM[id] = e
		ids = append(ids, id)
	}
	rows, err := tx.VM.Query().Where(entvm.IDIn(ids...), entvm.DeletedAtIsNil()).Order(ent.Asc(entvm.FieldID)).ForUpdate().All(ctx)
	if err != nil {
		return nil, counters, nil, err
	}
	for _, row := range rows {
		e := byVM[row.ID]
		other, err := vm.OpenOrder(ctx, tx.Client(), row.ID)
		if err != nil {
			return nil, counters, nil, err
		}
		if other != nil && other.ID != e.ID {
			return nil, counters, nil, apperr.New(apperr.ErrVMBusy).With("vm", row.Name)
		}
		if e.Type == domainevent.TypeVM_CREATE && row.State == entvm.StateFailed {
			if err := row.Update().SetState(entvm.StateRequested).SetHealth(entvm.Health(domain.StateRequested.Health())).
				ClearProblem().Exec(ctx); err != nil {
				return nil, counters, nil, err
			}
			counters.Add(row, 0, -1)
		}
		again = append(again, e)
		topics = append(topics, vm.Topics(row)...)
	}
	slices.Sort(topics)
	return again, counters, slices.Compact(topics), nil
}
