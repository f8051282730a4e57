package account

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/accesstoken"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/groupmember"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Transfer makes somebody owner of a system in place of an owner, who becomes a
// maintainer or leaves it. Both are told. Owners of the system and admins only;
// NO_SUCH_PERSON at the field "to", INVALID_CHOICE at "from" for one who is no
// owner himself.
func (s *Service) Transfer(ctx context.Context, actor domain.Actor, systemID, fromUsername, toUsername string, stays bool) error {
	key, err := listing.Key(systemID)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		of, err := tx.System.Get(ctx, key)
		if ent.IsNotFound(err) {
			return apperr.New(apperr.ErrNotFound)
		}
		if err != nil {
			return err
		}
		if err := access.Check(actor, domain.SystemTransfer, access.System(of)); err != nil {
			return err
		}
		from, err := named(ctx, tx, "from", fromUsername)
		if err != nil {
			return err
		}
		to, err := successor(ctx, tx, from, toUsername)
		if err != nil {
			return err
		}
		// Held, so that of two who take away the last two owners the second sees it.
		if _, err := tx.System.Query().Where(system.ID(key)).ForUpdate().IDs(ctx); err != nil {
			return err
		}
		owner := domain.Binding{Role: domain.RoleOwner, SystemID: systemID}
		if owns, err := tx.RoleBinding.Query().Where(rolebinding.UserID(from.ID), held(owner)).Exist(ctx); err != nil {
			return err
		} else if !owns {
			return apperr.Field("from", apperr.ErrInvalidChoice)
		}
		if err := s.pass(ctx, tx, actor, of, from, to, stays); err != nil {
			return err
		}
		return database.Notify(ctx, tx, RightsTopic(from.ID.String()), RightsTopic(to.ID.String()), "notifications")
	})
}

// pass gives from's part in a system to another person.
func (s *Service) pass(ctx context.Context, tx *ent.Tx, actor domain.Actor, of *ent.System, from, to *ent.User, stays bool) error {
	in := func(role domain.Role) domain.Binding { return domain.Binding{Role: role, SystemID: of.ID.String()} }
	if err := bind(ctx, tx, actor, ofUser(to), in(domain.RoleOwner)); err != nil {
		return err
	}
	gone := tx.RoleBinding.Delete().Where(rolebinding.UserID(from.ID), rolebinding.SystemID(of.ID))
	if stays {
		gone.Where(rolebinding.RoleEQ(rolebinding.RoleOwner))
		if err := bind(ctx, tx, actor, ofUser(from), in(domain.RoleMaintainer)); err != nil {
			return err
		}
	}
	if _, err := gone.Exec(ctx); err != nil {
		return err
	}
	err := audit.Write(ctx, tx, actor, audit.Entry{
		Action: "system.transfer", ResourceType: "system", ResourceID: of.ID.String(), ResourceName: of.Name, SystemID: of.ID.String(),
		Details: map[string]any{"from": from.Username, "to": to.Username, "stays": stays},
		Before:  map[string]any{"owner": from.Username}, After: map[string]any{"owner": to.Username},
	})
	if err != nil {
		return err
	}
	told := []uuid.UUID{to.ID}
	if !from.Disabled {
		told = append(told, from.ID)
	}
	told = slices.DeleteFunc(told, func(id uuid.UUID) bool { return id.String() == actor.UserID })
	return notify.OrInbox(s.Notify).Notify(ctx, tx, notify.Message{
		Kind: notify.SystemTransferred, Users: told,
		Params: map[string]any{"system": of.Name, "system_id": of.ID.String(), "from": from.Username, "to": to.Username, "by": actor.Username},
	})
}

// named finds and locks somebody whom a form names.
func named(ctx context.Context, tx *ent.Tx, field, username string) (*ent.User, error) {
	u, err := tx.User.Query().Where(user.Username(username)).ForUpdate().Only(ctx)
	if ent.IsNotFound(err) || !domain.ValidName(username) {
		return nil, apperr.Field(field, apperr.ErrNoSuchPerson).With("name", domain.CleanText(username, maxDisplayName))
	}
	return u, err
}

// successor is who takes over: somebody else, a person whose account works.
func successor(ctx context.Context, tx *ent.Tx, from *ent.User, username string) (*ent.User, error) {
	if username == "" {
		return nil, apperr.Field("to", apperr.ErrRequired)
	}
	to, err := named(ctx, tx, "to", username)
	if err == nil && (to.ID == from.ID || to.Disabled || to.Kind != user.KindPerson) {
		err = apperr.Field("to", apperr.ErrInvalidChoice)
	}
	return to, err
}

// Leftovers are what would be left behind by somebody who leaves.
type Leftovers struct {
	Systems []SystemRole // that he owns and nobody else whose account works
	Tickets []Ticket     // his requests that wait or are under way
	Groups  []InGroup
	// ServiceAccounts are those that he alone answers for.
	ServiceAccounts []Person
	// Tokens counts those of his that work. They are not handed over: they stop
	// when the account is disabled.
	Tokens int
}

// Ticket is a request of somebody.
type Ticket struct {
	Number      int
	Title       string
	Environment domain.Environment
	Status      domain.TicketStatus
}

// maxLeftovers bounds each list: more is handed over in a second go.
const maxLeftovers = 200

// Leftovers lists what somebody still owns. Admins only; NOT_FOUND.
func (s *Service) Leftovers(ctx context.Context, actor domain.Actor, userID string) (Leftovers, error) {
	var left Leftovers
	m, err := s.Member(ctx, actor, userID)
	if err != nil {
		return left, err
	}
	key := uuid.MustParse(m.ID)
	left.Groups = m.Groups
	systems, err := orphans(ctx, s.DB.Ent, key)
	if err != nil {
		return left, database.Classify(err)
	}
	for _, y := range systems {
		left.Systems = append(left.Systems, SystemRole{y.ID.String(), y.Name, domain.Environment(y.Environment), domain.RoleOwner, ""})
	}
	rows, err := s.DB.Ent.ApprovalTicket.Query().Where(approvalticket.RequesterID(key), listing.OpenTickets()).
		Order(approvalticket.ByID()).Limit(maxLeftovers).All(ctx)
	for _, t := range rows {
		left.Tickets = append(left.Tickets, Ticket{t.ID, t.Title, domain.Environment(t.Environment), domain.TicketStatus(t.Status)})
	}
	if err != nil {
		return left, database.Classify(err)
	}
	owned, err := programs(ctx, s.DB.Ent, key)
	if err != nil {
		return left, database.Classify(err)
	}
	for _, u := range owned {
		left.ServiceAccounts = append(left.ServiceAccounts, person(u))
	}
	left.Tokens, err = s.DB.Ent.AccessToken.Query().
		Where(accesstoken.UserID(key), accesstoken.RevokedAtIsNil(), accesstoken.ExpiresAtGT(time.Now().UTC())).Count(ctx)
	return left, database.Classify(err)
}

// programs are the service accounts that a person owns himself.
func programs(ctx context.Context, c *ent.Client, id uuid.UUID) ([]*ent.User, error) {
	return c.User.Query().Where(user.OwnerID(id), user.KindEQ(user.KindService)).Order(user.ByUsername()).Limit(maxLeftovers).All(ctx)
}

// orphans are the systems that a user owns himself, and nobody else whose
// account works, himself or by a group.
func orphans(ctx context.Context, c *ent.Client, id uuid.UUID) ([]*ent.System, error) {
	owner := rolebinding.RoleEQ(rolebinding.RoleOwner)
	others := user.And(user.IDNEQ(id), user.Disabled(false))
	return c.System.Query().Where(
		system.HasBindingsWith(owner, rolebinding.UserID(id)),
		system.Not(system.HasBindingsWith(owner, rolebinding.Or(
			rolebinding.HasUserWith(others),
			rolebinding.HasGroupWith(groupWith(others)),
		))),
	).Order(system.ByName(), system.ByID()).Limit(maxLeftovers).All(ctx)
}

// Inheritance is what is handed over: one system, one service account, or with
// the zero value everything.
type Inheritance struct{ SystemID, AccountID string }

func (i Inheritance) system(id uuid.UUID) bool {
	return i == Inheritance{} || i.SystemID == id.String()
}

func (i Inheritance) account(id uuid.UUID) bool {
	return i == Inheritance{} || i.AccountID == id.String()
}

// HandedOver counts what has a new owner.
type HandedOver struct{ Systems, ServiceAccounts int }

// HandOver makes somebody owner of the systems that only another person owns,
// and of the service accounts that the other answers for. The other has no role
// in the systems any more; the tokens of the service accounts work on. A
// membership of a group is not handed over: it is a right, not a thing. Admins
// only; NOT_FOUND for the person, and when nothing of what is named is his alone.
func (s *Service) HandOver(ctx context.Context, actor domain.Actor, userID string, what Inheritance, toUsername string) (HandedOver, error) {
	var done HandedOver
	if err := access.Check(actor, domain.PersonDisable, domain.Object{}); err != nil {
		return done, err
	}
	key, err := listing.Key(userID)
	if err != nil {
		return done, err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		from, err := lock(ctx, tx, key)
		if err != nil {
			return err
		}
		to, err := successor(ctx, tx, from, toUsername)
		if err != nil {
			return err
		}
		list, err := orphans(ctx, tx.Client(), key)
		if err != nil {
			return err
		}
		for _, y := range list {
			if !what.system(y.ID) {
				continue
			}
			if err := s.pass(ctx, tx, actor, y, from, to, false); err != nil {
				return err
			}
			done.Systems++
		}
		topics := []string{RightsTopic(from.ID.String()), RightsTopic(to.ID.String()), "notifications"}
		owned, err := programs(ctx, tx.Client(), key)
		if err != nil {
			return err
		}
		for _, u := range owned {
			if !what.account(u.ID) {
				continue
			}
			n, err := tx.User.Update().Where(user.ID(u.ID), user.OwnerID(key)).SetOwnerID(to.ID).Save(ctx)
			if err != nil {
				return err
			}
			if n == 0 { // somebody else was faster
				continue
			}
			if err := audit.Write(ctx, tx, actor, handedOver(u, from, to)); err != nil {
				return err
			}
			topics = append(topics, RightsTopic(u.ID.String()))
			done.ServiceAccounts++
		}
		if done == (HandedOver{}) {
			return apperr.New(apperr.ErrNotFound)
		}
		return database.Notify(ctx, tx, topics...)
	})
	return done, err
}

// handedOver is the line of the audit log about a service account with a new owner.
func handedOver(u, from, to *ent.User) audit.Entry {
	e := serviceEntry("service_account.update", u, owner{person: to})
	e.Before, e.After = map[string]any{"owner": from.Username}, map[string]any{"owner": to.Username}
	return e
}

// Leavers lists the closed accounts that still own something or are in a group.
// Admins only.
func (s *Service) Leavers(ctx context.Context, actor domain.Actor, page listing.Page) (listing.Of[Member], error) {
	return s.people(ctx, actor, page, user.Disabled(true), user.Or(
		user.HasBindingsWith(rolebinding.RoleEQ(rolebinding.RoleOwner)),
		user.HasMembershipsWith(groupmember.IDNEQ(uuid.Nil)),
		hasOpenTicket,
		user.HasServices(),
	))
}
