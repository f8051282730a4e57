package vm

import (
	"context"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/internal/database"
)

// lostAfter is how long an unfinished order may be without a sign of life
// before it gets another job.
const lostAfter = 2 * time.Minute

// Sweep finds orders that nobody works on, although they are not finished, and
// gives each a job again. That is the net under the queue: a job that was
// discarded or deleted by hand never leaves an approved request in limbo.
func (s *Service) Sweep(ctx context.Context) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		lost, err := tx.DomainEvent.Query().
			Where(
				domainevent.TypeIn(Orders()...),
				domainevent.StatusIn(domainevent.StatusPENDING, domainevent.StatusPROCESSING),
				domainevent.UpdatedAtLT(now.Add(-lostAfter)),
				domainevent.Or(domainevent.LeaseUntilIsNil(), domainevent.LeaseUntilLT(now.Add(-lostAfter))),
			).
			Order(ent.Asc(domainevent.FieldCreatedAt)).Limit(500).ForUpdate().All(ctx)
		if err != nil {
			return err
		}
		for _, e := range lost {
			if err := s.Requeue(ctx, tx, e.ID); err != nil {
				return err
			}
			// A touch, so that the next sweep waits again.
			if err := e.Update().SetUpdatedAt(now).Exec(ctx); err != nil {
				return err
			}
			s.Logger.WarnContext(ctx, "order without a worker gets a new job", "event", e.ID, "type", e.Type)
		}
		if len(lost) == 0 {
			return nil
		}
		return database.Notify(ctx, tx, "requests")
	})
}
