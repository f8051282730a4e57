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
		u, err := tx.User.Query().Where(user.ID(id)).ForUpdate().Only(ctx)
		if ent.IsNotFound(err) {
			return apperr.New(apperr.ErrNotFound)
		}
		if err != nil {
			return err
		}
		role := rolebinding.RoleEQ(rolebinding.Role(b.Role))
		entry := audit.Entry{
			Action: "user.unbind", ResourceType: "user", ResourceID: u.ID.String(), ResourceName: u.Username,
			SystemID: b.SystemID, Details: map[string]any{"role": string(b.Role)},
		}
		place, err := s.placeOf(ctx, tx, b, entry.Details)
		if err != nil {
			return err
		}
		// All who hold it are locked, so that of two who take away the last two
		// the second sees that he must not.
		holders, err := tx.RoleBinding.Query().Where(append(place, role)...).ForUpdate().WithUser().All(ctx)
		if err != nil {
			return err
		}
		others, has := 0, false
		for _, h := range holders {
			if h.UserID == u.ID {
				has = true
			} else if !h.Edges.User.Disabled {
				others++
			}
		}
		switch {
		case !has:
			return nil
		case others == 0 && (b.Role == domain.RoleOwner || b.Role == domain.RoleAdmin):
			return apperr.New(apperr.ErrLastOwner).With("name", u.Username).With("role", string(b.Role))
		}
		if _, err := tx.RoleBinding.Delete().Where(append(place, role, rolebinding.UserID(u.ID))...).Exec(ctx); err != nil {
			return err
		}
		if err := audit.Write(ctx, tx, actor, entry); err != nil {
			return err
		}
		return database.Notify(ctx, tx, RightsTopic(u.ID.String()))
	})
}

// placeOf says in SQL where a role is held, and adds it to the details.
func (s *Service) placeOf(ctx context.Context, tx *ent.Tx, b domain.Binding, details map[string]any) ([]predicate.RoleBinding, error) {
	var where []predicate.RoleBinding
	if b.SystemID == "" {
		where = append(where, rolebinding.SystemIDIsNil())
	} else {
		id := uuid.MustParse(b.SystemID) // checkBinding has parsed it
		of, err := tx.System.Query().Where(system.ID(id)).ForUpdate().Only(ctx)
		if ent.IsNotFound(err) {
			return nil, apperr.New(apperr.ErrNotFound)
		}
		if err != nil {
			return nil, database.Classify(err)
		}
		where = append(where, rolebinding.SystemID(id))
		details["system"] = of.Name
	}
	if b.Environment == "" {
		return append(where, rolebinding.EnvironmentIsNil()), nil
	}
	details["environment"] = string(b.Environment)
	return append(where, rolebinding.EnvironmentEQ(rolebinding.Environment(b.Environment))), nil
}
