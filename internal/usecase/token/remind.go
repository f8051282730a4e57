package token

import (
	"context"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/accesstoken"
	"kubevirt-shepherd.io/shepherd/ent/groupmember"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
)

// Before the end of a token there are two messages.
const (
	FirstReminder = 7 * 24 * time.Hour
	LastReminder  = 24 * time.Hour

	remindBatch = 100
	maxTold     = 50 // people, of one token
)

// sentFor is how many reminders are done with when a token is made: one that
// lives shorter than a reminder looks ahead needs none to begin with.
func sentFor(life time.Duration) int {
	switch {
	case life <= LastReminder:
		return 2
	case life <= FirstReminder:
		return 1
	}
	return 0
}

// Remind tells those who use a token, a week and a day before its end, that it
// ends; each once, however often and by however many replicas it is called. It
// answers with how many tokens it told of.
func (s *Service) Remind(ctx context.Context) (n int, err error) {
	for {
		batch := 0
		err := s.DB.InTx(ctx, func(tx *ent.Tx) error {
			now, err := s.DB.Now(ctx, tx)
			if err != nil {
				return err
			}
			rows, err := tx.AccessToken.Query().Where(live(now), accesstoken.Or(
				accesstoken.And(accesstoken.RemindersLT(1), accesstoken.ExpiresAtLTE(now.Add(FirstReminder))),
				accesstoken.And(accesstoken.RemindersLT(2), accesstoken.ExpiresAtLTE(now.Add(LastReminder))),
			), accesstoken.HasUserWith(user.Disabled(false))).
				Order(ent.Asc(accesstoken.FieldExpiresAt)).Limit(remindBatch).ForUpdate(sql.WithLockAction(sql.SkipLocked)).WithUser().All(ctx)
			if err != nil {
				return err
			}
			for _, row := range rows {
				if err := s.remind(ctx, tx, row, now); err != nil {
					return err
				}
			}
			if batch = len(rows); batch == 0 {
				return nil
			}
			return database.Notify(ctx, tx, "notifications")
		})
		n += batch
		if err != nil || batch < remindBatch {
			return n, err
		}
	}
}

func (s *Service) remind(ctx context.Context, tx *ent.Tx, row *ent.AccessToken, now time.Time) error {
	sent := 1
	if row.ExpiresAt.Sub(now) <= LastReminder {
		sent = 2
	}
	if err := row.Update().SetReminders(sent).Exec(ctx); err != nil {
		return err
	}
	people, err := readers(ctx, tx, row)
	if err != nil {
		return err
	}
	params := map[string]any{"token": row.Name, "expires_at": row.ExpiresAt.Format(time.RFC3339)}
	if u := row.Edges.User; u.Kind == user.KindService {
		params["account"], params["account_id"] = u.Username, u.ID.String()
	}
	return s.Notify.Notify(ctx, tx, notify.Message{Kind: notify.TokenExpires, Params: params, Users: people})
}

// readers are who can replace a token: its person; for a service account its
// owner, or of the group that owns it some, and who made the token.
func readers(ctx context.Context, tx *ent.Tx, row *ent.AccessToken) ([]uuid.UUID, error) {
	u := row.Edges.User
	if u.Kind == user.KindPerson {
		return []uuid.UUID{u.ID}, nil
	}
	var any []predicate.User
	for _, id := range []*uuid.UUID{u.OwnerID, row.MakerID} {
		if id != nil {
			any = append(any, user.ID(*id))
		}
	}
	if u.OwnerGroupID != nil {
		any = append(any, user.HasMembershipsWith(groupmember.GroupID(*u.OwnerGroupID)))
	}
	if len(any) == 0 {
		return nil, nil
	}
	return tx.User.Query().Where(user.Or(any...), user.Disabled(false), user.KindEQ(user.KindPerson)).
		Order(ent.Asc(user.FieldID)).Limit(maxTold).IDs(ctx)
}

// Clean removes tokens that ended longer than domain.TokenKept ago. The audit
// log keeps what was done with them.
func (s *Service) Clean(ctx context.Context) (int, error) {
	n, err := s.DB.Ent.AccessToken.Delete().Where(accesstoken.ExpiresAtLTE(time.Now().UTC().Add(-domain.TokenKept))).Exec(ctx)
	return n, database.Classify(err)
}
