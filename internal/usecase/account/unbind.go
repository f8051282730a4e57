package account

import (
	"context"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/group"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
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

// BindGroupByName gives a group a role by its name. An unknown name is an error
// of the field "user", which is where owners of systems name both.
func (s *Service) BindGroupByName(ctx context.Context, actor domain.Actor, name string, b domain.Binding) error {
	if err := s.mayBind(ctx, actor, b); err != nil {
		return err
	}
	g, err := s.DB.Ent.Group.Query().Where(group.Name(name)).Only(ctx)
	if ent.IsNotFound(err) {
		return apperr.Field("user", apperr.ErrNoSuchGroup).With("name", domain.CleanText(name, maxDisplayName))
	}
	if err != nil {
		return database.Classify(err)
	}
	return s.BindGroup(ctx, actor, g.ID.String(), b)
}

// Unbind takes a role away from a user; one that he does not have is no error,
// and one that he has by a group stays. The rights are those of Bind. LAST_OWNER
// keeps a system from losing its last owner, and the platform its last admin:
// nobody could give the role back.
func (s *Service) Unbind(ctx context.Context, actor domain.Actor, userID string, b domain.Binding) error {
	return s.take(ctx, actor, b, userID, lockedUser)
}

// UnbindGroup is Unbind for the members of a group.
func (s *Service) UnbindGroup(ctx context.Context, actor domain.Actor, groupID string, b domain.Binding) error {
	return s.take(ctx, actor, b, groupID, lockedGroup)
}

func (s *Service) take(ctx context.Context, actor domain.Actor, b domain.Binding, id string, find finder) error {
	if wrong := checkBinding(b); len(wrong) > 0 {
		return wrong
	}
	if err := s.mayBind(ctx, actor, b); err != nil {
		return err
	}
	key, err := listing.Key(id)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		from, err := find(ctx, tx, key)
		if err != nil {
			return err
		}
		entry := from.entry("unbind", b)
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
		if there, err := tx.RoleBinding.Query().Where(from.is(), held(b)).Exist(ctx); err != nil || !there {
			return err
		}
		before, err := from.roles(ctx, tx, b)
		if err != nil {
			return err
		}
		err = keep(ctx, tx, from.name, []domain.Binding{b}, func() error {
			_, err := tx.RoleBinding.Delete().Where(from.is(), held(b)).Exec(ctx)
			return err
		})
		if err != nil {
			return err
		}
		after, err := from.roles(ctx, tx, b)
		if err != nil {
			return err
		}
		entry.Before, entry.After = map[string]any{"roles": before}, map[string]any{"roles": after}
		if err := audit.Write(ctx, tx, actor, entry); err != nil {
			return err
		}
		topics, err := from.topics(ctx, tx)
		if err != nil {
			return err
		}
		return database.Notify(ctx, tx, topics...)
	})
}

// finder locks the user or the group of a role; NOT_FOUND.
type finder func(context.Context, *ent.Tx, uuid.UUID) (holder, error)

func lockedUser(ctx context.Context, tx *ent.Tx, id uuid.UUID) (holder, error) {
	u, err := lock(ctx, tx, id)
	if err != nil {
		return holder{}, err
	}
	return ofUser(u), nil
}

func lockedGroup(ctx context.Context, tx *ent.Tx, id uuid.UUID) (holder, error) {
	g, err := lockGroup(ctx, tx, id)
	if err != nil {
		return holder{}, err
	}
	return ofGroup(g), nil
}

// withUser runs a change of a user in a transaction that keeps others from
// changing him meanwhile; NOT_FOUND.
func (s *Service) withUser(ctx context.Context, id string, change func(*ent.Tx, *ent.User) error) error {
	key, err := listing.Key(id)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := lock(ctx, tx, key)
		if err != nil {
			return err
		}
		return change(tx, u)
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
