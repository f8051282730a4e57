package account

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// How long a break-glass role may last.
const (
	minBreakGlass = 5 * time.Minute
	maxBreakGlass = 24 * time.Hour
)

// BreakGlassUser is the account of break-glass where none is named.
const BreakGlassUser = "break-glass"

// BreakGlass makes a one-time link to an account that is a platform admin for a
// while, for the day on which nobody can sign in who should. The role ends by
// itself; the reason stands at everything that is done with it, and all admins
// are told. The account is made when there is none. HAS_ROLE for an account
// that is an admin for good, FORBIDDEN for a disabled one; REQUIRED,
// OUT_OF_RANGE. It asks nobody's rights: whoever runs the command line owns the
// database.
func (s *Service) BreakGlass(ctx context.Context, username, reason string, life time.Duration) (token string, until time.Time, err error) {
	var wrong apperr.List
	checkUsername(&wrong, username)
	if reason = domain.CleanText(strings.TrimSpace(reason), maxBreakGlassReason); reason == "" {
		wrong.Add("reason", apperr.ErrReasonRequired)
	}
	if life < minBreakGlass || life > maxBreakGlass {
		wrong = append(wrong, apperr.Field("for", apperr.ErrOutOfRange).With("min", minBreakGlass).With("max", maxBreakGlass))
	}
	if err := wrong.Err(); err != nil {
		return "", until, err
	}
	shepherd := domain.Shepherd()
	shepherd.Via = s.Via
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := ensure(ctx, tx, shepherd, username)
		if err != nil {
			return err
		}
		admin := rolebinding.And(rolebinding.UserID(u.ID), held(domain.Binding{Role: domain.RoleAdmin}))
		if forGood, err := tx.RoleBinding.Query().Where(admin, rolebinding.ExpiresAtIsNil()).Exist(ctx); err != nil || forGood {
			if err == nil {
				err = apperr.New(apperr.ErrHasRole).With("name", username)
			}
			return err
		}
		if _, err := tx.RoleBinding.Delete().Where(admin).Exec(ctx); err != nil {
			return err
		}
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		until = now.Add(life).Truncate(time.Second)
		err = tx.RoleBinding.Create().SetUserID(u.ID).SetRole(rolebinding.RoleAdmin).SetCreatedBy(shepherd.Username).
			SetExpiresAt(until).SetReason(reason).Exec(ctx)
		if err != nil {
			return err
		}
		err = audit.Write(ctx, tx, shepherd, audit.Entry{
			Action: "user.break_glass", ResourceType: "user", ResourceID: u.ID.String(), ResourceName: u.Username,
			Reason: reason, Details: map[string]any{"role": string(domain.RoleAdmin), "until": until}, After: map[string]any{"admin_until": until},
		})
		if err != nil {
			return err
		}
		if token, err = s.link(ctx, tx, shepherd, u, min(setupLifetime, life)); err != nil {
			return err
		}
		return s.TellAdmins(ctx, tx, notify.Message{
			Kind: notify.BreakGlassMade, Params: map[string]any{"name": u.Username, "reason": reason, "until": until},
		})
	})
	return token, until, err
}

// maxBreakGlassReason is in runes: it stands in a banner.
const maxBreakGlassReason = 200

func breakGlassUsed(a domain.Actor) notify.Message {
	return notify.Message{Kind: notify.BreakGlassUsed, Params: map[string]any{
		"name": a.Username, "reason": a.BreakGlass.Reason, "until": a.BreakGlass.Until, "ip": a.IP,
	}}
}

// TellAdmins tells all who are admins for good.
func (s *Service) TellAdmins(ctx context.Context, tx *ent.Tx, m notify.Message) error {
	var err error
	m.Users, err = tx.User.Query().Where(user.Disabled(false),
		user.HasBindingsWith(held(domain.Binding{Role: domain.RoleAdmin}), rolebinding.ExpiresAtIsNil())).IDs(ctx)
	if err != nil {
		return err
	}
	if err := notify.OrInbox(s.Notify).Notify(ctx, tx, m); err != nil {
		return err
	}
	return database.Notify(ctx, tx, "notifications")
}

// breakGlassReason is why an account has, or last had, a break-glass role; ""
// when it had none.
func (s *Service) breakGlassReason(ctx context.Context, userID string) (string, error) {
	id, err := uuid.Parse(userID)
	if err != nil {
		return "", nil
	}
	b, err := s.DB.Ent.RoleBinding.Query().Where(rolebinding.UserID(id), rolebinding.ExpiresAtNotNil()).
		Order(ent.Desc(rolebinding.FieldID)).First(ctx)
	if ent.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", database.Classify(err)
	}
	return b.Reason, nil
}

// lasts says whether a role counts: a break-glass role ends by itself.
func lasts(b *ent.RoleBinding) bool { return b.ExpiresAt == nil || b.ExpiresAt.After(time.Now()) }
