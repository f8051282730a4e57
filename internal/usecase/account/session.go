package account

import (
	"context"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

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
	id, err := listing.Key(userID)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := lock(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := do(tx, u); err != nil {
			return err
		}
		if err := tx.User.UpdateOne(u).AddSessionEpoch(1).Exec(ctx); err != nil {
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
