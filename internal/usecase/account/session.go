package account

import (
	"context"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/session"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Session is a browser in which somebody is signed in.
type Session struct {
	ID              string // of the row: it signs nobody in
	Method          auth.Method
	IP, UserAgent   string
	BeganAt, SeenAt time.Time // SeenAt is not written at every request
}

// maxSessions is how many sessions of a person are shown, those used last.
const maxSessions = 100

// Sessions lists the sessions of a user, the one used last first: his own, or
// for admins anybody's.
func (s *Service) Sessions(ctx context.Context, actor domain.Actor, userID string) ([]Session, error) {
	if actor.UserID != userID && !actor.IsAdmin() {
		return nil, apperr.New(apperr.ErrForbidden)
	}
	id, err := listing.Key(userID)
	if err != nil {
		return nil, err
	}
	rows, err := s.DB.Ent.Session.Query().Where(session.UserID(id), session.EndedAtIsNil(), session.ExpiresAtGT(time.Now().UTC())).
		Order(session.BySeenAt(sql.OrderDesc(), sql.OrderNullsLast())).Limit(maxSessions).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	list := make([]Session, 0, len(rows))
	for _, r := range rows {
		one := Session{ID: r.ID, Method: auth.Method(r.Method), IP: r.IPAddress, UserAgent: r.UserAgent}
		if r.BeganAt != nil {
			one.BeganAt = *r.BeganAt
		}
		if r.SeenAt != nil {
			one.SeenAt = *r.SeenAt
		}
		list = append(list, one)
	}
	return list, nil
}

// EndSession ends one session of a user: his own, or for admins anybody's. Its
// pages stop to hear of changes within a second. NOT_FOUND when it is over
// already or somebody else's.
func (s *Service) EndSession(ctx context.Context, actor domain.Actor, userID, sessionID string) error {
	if actor.UserID != userID && !actor.IsAdmin() {
		return apperr.New(apperr.ErrForbidden)
	}
	return s.withUser(ctx, userID, func(tx *ent.Tx, u *ent.User) error {
		row, err := tx.Session.Query().Where(session.ID(sessionID), session.UserID(u.ID), session.EndedAtIsNil()).ForUpdate().Only(ctx)
		if ent.IsNotFound(err) {
			return apperr.New(apperr.ErrNotFound)
		}
		if err != nil {
			return err
		}
		if err := auth.EndSessions(ctx, tx.Client(), session.ID(row.ID)); err != nil {
			return err
		}
		return ended(ctx, tx, actor, u, "session.end", map[string]any{"ip": row.IPAddress})
	})
}

// EndOtherSessions ends all own sessions but one.
func (s *Service) EndOtherSessions(ctx context.Context, actor domain.Actor, keep string) error {
	return s.withUser(ctx, actor.UserID, func(tx *ent.Tx, u *ent.User) error {
		if err := auth.EndSessions(ctx, tx.Client(), session.UserID(u.ID), session.IDNEQ(keep)); err != nil {
			return err
		}
		return ended(ctx, tx, actor, u, "session.end_others", nil)
	})
}

// ended writes down that sessions of a user were ended, and tells their pages.
func ended(ctx context.Context, tx *ent.Tx, actor domain.Actor, u *ent.User, action string, details map[string]any) error {
	err := audit.Write(ctx, tx, actor, audit.Entry{
		Action: action, ResourceType: "session", ResourceID: u.ID.String(), ResourceName: u.Username, Details: details,
	})
	if err != nil {
		return err
	}
	return database.Notify(ctx, tx, RightsTopic(u.ID.String()))
}

// endSessions ends all sessions of a user, those included that a request which
// is under way is only about to write: they have the epoch of before.
func endSessions(ctx context.Context, tx *ent.Tx, id uuid.UUID) error {
	if err := tx.User.UpdateOneID(id).AddSessionEpoch(1).Exec(ctx); err != nil {
		return err
	}
	return auth.EndSessions(ctx, tx.Client(), session.UserID(id))
}

// EndSessions ends all sessions of a user, on every device: his own, or for
// admins anybody's. NOT_FOUND.
func (s *Service) EndSessions(ctx context.Context, actor domain.Actor, userID string) error {
	action := domain.SessionEnd
	if actor.UserID != userID {
		action = domain.PersonDisable
	}
	if err := access.Check(actor, action, domain.Object{}); err != nil {
		return err
	}
	return s.change(ctx, actor, userID, "session.end_all", func(*ent.Tx, *ent.User) error { return nil })
}

// SetDisabled closes an account, or opens it again. A closed one signs nobody
// in, and its sessions are over; what it owns and did stays. Admins only, and
// not their own. LAST_OWNER for the last admin. One that is so already is no
// error.
func (s *Service) SetDisabled(ctx context.Context, actor domain.Actor, userID string, disabled bool) error {
	if err := access.Check(actor, domain.PersonDisable, domain.Object{}); err != nil {
		return err
	}
	if actor.UserID == userID {
		return apperr.New(apperr.ErrForbidden)
	}
	action := map[bool]string{true: "user.disable", false: "user.enable"}[disabled]
	return s.change(ctx, actor, userID, action, func(tx *ent.Tx, u *ent.User) error {
		set := func() error {
			return tx.User.UpdateOne(u).SetDisabled(disabled).ClearSetupHash().ClearSetupExpiresAt().Exec(ctx)
		}
		if !disabled {
			return set()
		}
		return keep(ctx, tx, u.Username, []domain.Binding{{Role: domain.RoleAdmin}}, set)
	})
}

// told is what the audit log keeps of an account.
func told(u *ent.User) map[string]any {
	return map[string]any{
		"display_name": u.DisplayName, "disabled": u.Disabled, "session_epoch": u.SessionEpoch,
		"setup_link": u.SetupHash != "", "setup_link_until": u.SetupExpiresAt,
	}
}

// change does something to a user, ends his sessions and writes it down.
func (s *Service) change(ctx context.Context, actor domain.Actor, userID, action string, do func(*ent.Tx, *ent.User) error) error {
	return s.withUser(ctx, userID, func(tx *ent.Tx, u *ent.User) error {
		if err := do(tx, u); err != nil {
			return err
		}
		if err := endSessions(ctx, tx, u.ID); err != nil {
			return err
		}
		now, err := tx.User.Get(ctx, u.ID)
		if err != nil {
			return err
		}
		err = audit.Write(ctx, tx, actor, audit.Entry{
			Action: action, ResourceType: "user", ResourceID: u.ID.String(), ResourceName: u.Username, Before: told(u), After: told(now),
		})
		if err != nil {
			return err
		}
		return database.Notify(ctx, tx, RightsTopic(u.ID.String()))
	})
}
