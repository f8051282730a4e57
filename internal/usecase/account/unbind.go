package account

import (
	"context"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// BindByName gives somebody a role by his user name, which is what people know
// of each other. An unknown name is an error of the field "user".
func (s *Service) BindByName(ctx context.Context, actor domain.Actor, username string, b domain.Binding) error {
	p, err := s.PersonByUsername(ctx, username)
	if apperr.CodeOf(err) == apperr.ErrNotFound {
		// Whether somebody has an account is no secret to those who may bind him.
		if err := s.mayBind(ctx, actor, b); err != nil {
			return err
		}
		return apperr.Field("user", apperr.ErrNoSuchPerson).With("name", domain.CleanText(username, maxDisplayName))
	}
	if err != nil {
		return err
	}
	return s.Bind(ctx, actor, p.ID, b)
}

// Unbind takes a role away from a user; one that he does not have is no error.
// The rights are those of Bind. LAST_OWNER keeps a system from losing its last
// owner, and the platform its last admin: nobody could give the role back.
func (s *Service) Unbind(ctx context.Context, actor domain.Actor, userID string, b domain.Binding) error {
	if wrong := checkBinding(b); len(wrong) > 0 {
		return wrong
	}
	if err := s.mayBind(ctx, actor, b); err != nil {
		return err
	}
	id, err := uuid.Parse(userID)
	if err != nil {
		return apperr.New(apperr.ErrNotFound)
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := lock(ctx, tx, id)
		if err != nil {
			return err
		}
		entry := bindingEntry("user.unbind", u, b)
		if b.SystemID != "" {
			of, err := tx.System.Query().Where(system.ID(uuid.MustParse(b.SystemID))).ForUpdate().Only(ctx)
			if ent.IsNotFound(err) {
				return apperr.New(apperr.ErrNotFound)
			}
			if err != nil {
				return err
			}
			entry.Details["system"] = of.Name
		}
		if has, err := mayLose(ctx, tx, u, b); err != nil || !has {
			return err
		}
		if _, err := tx.RoleBinding.Delete().Where(rolebinding.UserID(u.ID), held(b)).Exec(ctx); err != nil {
			return err
		}
		if err := audit.Write(ctx, tx, actor, entry); err != nil {
			return err
		}
		return database.Notify(ctx, tx, RightsTopic(u.ID.String()))
	})
}

// lock reads a user and keeps others from changing him until tx ends; NOT_FOUND.
func lock(ctx context.Context, tx *ent.Tx, id uuid.UUID) (*ent.User, error) {
	u, err := tx.User.Query().Where(user.ID(id)).ForUpdate().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	return u, err
}

// mayLose says whether a user has a role; LAST_OWNER when he is the last one
// person who is an owner of that system, or an admin, and whose account works. All who
// hold the role are locked, so that of two who take away the last two the second
// sees that he must not.
func mayLose(ctx context.Context, tx *ent.Tx, u *ent.User, b domain.Binding) (has bool, err error) {
	holders, err := tx.RoleBinding.Query().Where(held(b)).ForUpdate().WithUser().All(ctx)
	if err != nil {
		return false, err
	}
	others := 0
	for _, h := range holders {
		if h.UserID == u.ID {
			has = true
		} else if !h.Edges.User.Disabled && h.Edges.User.Kind == user.KindPerson {
			others++
		}
	}
	if has && others == 0 && (b.Role == domain.RoleOwner || b.Role == domain.RoleAdmin) {
		return has, apperr.New(apperr.ErrLastOwner).With("name", u.Username).With("role", string(b.Role))
	}
	return has, nil
}

// held says in SQL which role, and where; checkBinding has parsed the system.
func held(b domain.Binding) predicate.RoleBinding {
	where := []predicate.RoleBinding{rolebinding.RoleEQ(rolebinding.Role(b.Role)), rolebinding.SystemIDIsNil(), rolebinding.EnvironmentIsNil()}
	if b.SystemID != "" {
		where[1] = rolebinding.SystemID(uuid.MustParse(b.SystemID))
	}
	if b.Environment != "" {
		where[2] = rolebinding.EnvironmentEQ(rolebinding.Environment(b.Environment))
	}
	return rolebinding.And(where...)
}

// bindingEntry is a line of the audit log about a role of a user; the name of
// the system is still to be added.
func bindingEntry(action string, u *ent.User, b domain.Binding) audit.Entry {
	e := audit.Entry{
		Action: action, ResourceType: "user", ResourceID: u.ID.String(), ResourceName: u.Username,
		SystemID: b.SystemID, Details: map[string]any{"role": string(b.Role)},
	}
	if b.Environment != "" {
		e.Details["environment"] = string(b.Environment)
	}
	return e
}
