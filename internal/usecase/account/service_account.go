package account

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/accesstoken"
	"kubevirt-shepherd.io/shepherd/ent/group"
	"kubevirt-shepherd.io/shepherd/ent/groupmember"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// ServiceAccount is the account of a program. It has roles as people have, and
// no way to sign in but the tokens that package token makes for it.
type ServiceAccount struct {
	Member
	Description string
	Owner       Person     // who answers for it, or
	OwnerGroup  string     // the name of the group that does
	Orphaned    bool       // neither is left: the person's account is disabled, or the group is gone
	InCharge    bool       // the actor makes and revokes its tokens
	Tokens      int        // that work
	LastUsedAt  *time.Time // of those
	NextEnd     *time.Time // of those
}

// MaxDescription is the longest description of a service account, in runes.
const MaxDescription = 300

// ServiceAccounts lists them by name: all to platform admins and auditors, to
// others those that they own.
func (s *Service) ServiceAccounts(ctx context.Context, actor domain.Actor, page listing.Page) (listing.Of[ServiceAccount], error) {
	var none listing.Of[ServiceAccount]
	after, _, err := page.Name()
	if err != nil {
		return none, err
	}
	q := s.DB.Ent.User.Query().Where(user.KindEQ(user.KindService), user.UsernameGT(after))
	if !actor.CanAudit() {
		me, err := listing.Key(actor.UserID)
		if err != nil {
			return none, err
		}
		q.Where(ownedBy(me))
	}
	rows, err := whole(q).Order(ent.Asc(user.FieldUsername)).Limit(page.Size() + 1).All(ctx)
	if err != nil {
		return none, database.Classify(err)
	}
	return listing.Make(page, rows, serviceAccount, func(u *ent.User) string { return listing.ByName(u.Username, u.ID) }), nil
}

// ServiceAccount is one of them; NOT_FOUND for who may not know of it.
func (s *Service) ServiceAccount(ctx context.Context, actor domain.Actor, id string) (ServiceAccount, error) {
	key, err := listing.Key(id)
	if err != nil {
		return ServiceAccount{}, err
	}
	u, err := whole(s.DB.Ent.User.Query().Where(user.ID(key), user.KindEQ(user.KindService))).Only(ctx)
	if ent.IsNotFound(err) {
		return ServiceAccount{}, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return ServiceAccount{}, database.Classify(err)
	}
	inCharge, err := InCharge(ctx, s.DB.Ent, actor, u)
	switch {
	case err != nil:
		return ServiceAccount{}, database.Classify(err)
	case !inCharge && !actor.CanAudit():
		return ServiceAccount{}, apperr.New(apperr.ErrNotFound)
	}
	a := serviceAccount(u)
	a.InCharge = inCharge
	return a, nil
}

// ownedBy are the service accounts that a person, or a group of his, owns.
func ownedBy(me uuid.UUID) predicate.User {
	return user.Or(user.OwnerID(me), user.HasOwnerGroupWith(group.HasMembersWith(groupmember.UserID(me))))
}

// InCharge says whether the actor makes and revokes the tokens of a service
// account: its owner, the members of the group that owns it, platform admins.
func InCharge(ctx context.Context, c *ent.Client, actor domain.Actor, u *ent.User) (bool, error) {
	me, err := uuid.Parse(actor.UserID)
	if err != nil || u.Kind != user.KindService {
		return false, nil
	}
	if actor.IsAdmin() || u.OwnerID != nil && *u.OwnerID == me {
		return true, nil
	}
	if u.OwnerGroupID == nil {
		return false, nil
	}
	return c.GroupMember.Query().Where(groupmember.GroupID(*u.OwnerGroupID), groupmember.UserID(me)).Exist(ctx)
}

// whole reads what serviceAccount shows. An account has at most 50 tokens that work.
func whole(q *ent.UserQuery) *ent.UserQuery {
	return q.WithBindings(withSystem).WithMemberships(withGroup).WithOwner().WithOwnerGroup().WithTokens(func(t *ent.AccessTokenQuery) {
		t.Where(accesstoken.RevokedAtIsNil(), accesstoken.ExpiresAtGT(time.Now().UTC()))
	})
}

func serviceAccount(u *ent.User) ServiceAccount {
	a := ServiceAccount{Member: member(u), Description: u.Description, Tokens: len(u.Edges.Tokens)}
	a.Invited = false // there is no password to set
	owner, group := u.Edges.Owner, u.Edges.OwnerGroup
	switch {
	case owner != nil:
		a.Owner, a.Orphaned = person(owner), owner.Disabled
	case group != nil:
		a.OwnerGroup = group.Name
	default:
		a.Orphaned = true
	}
	for _, t := range u.Edges.Tokens {
		if t.LastUsedAt != nil && (a.LastUsedAt == nil || t.LastUsedAt.After(*a.LastUsedAt)) {
			a.LastUsedAt = t.LastUsedAt
		}
		if a.NextEnd == nil || t.ExpiresAt.Before(*a.NextEnd) {
			a.NextEnd = &t.ExpiresAt
		}
	}
	return a
}

// NewServiceAccount is a service account to make, or what is to change of one:
// then without the user name. Owner is a person's user name, or the name of a
// group.
type NewServiceAccount struct {
	Username, Description, Owner string
	ByGroup                      bool // Owner is a group
}

// owner is a person or a group; the other is nil.
type owner struct {
	person *ent.User
	group  *ent.Group
}

func (o owner) name() string {
	switch {
	case o.group != nil:
		return "group " + o.group.Name
	case o.person != nil:
		return o.person.Username
	}
	return "" // the group is gone
}

// ownerOf names who owns a service account now.
func ownerOf(ctx context.Context, tx *ent.Tx, u *ent.User) (string, error) {
	var o owner
	var err error
	switch {
	case u.OwnerGroupID != nil:
		o.group, err = tx.Group.Get(ctx, *u.OwnerGroupID)
	case u.OwnerID != nil:
		o.person, err = tx.User.Get(ctx, *u.OwnerID)
	}
	return o.name(), err
}

// ids are the columns that say it.
func (o owner) ids() (person, group *uuid.UUID) {
	if o.group != nil {
		return nil, &o.group.ID
	}
	return &o.person.ID, nil
}

// CreateServiceAccount makes the account of a program. It has no roles and no
// tokens yet. Admins only.
func (s *Service) CreateServiceAccount(ctx context.Context, actor domain.Actor, in NewServiceAccount) (id string, err error) {
	if err := access.Check(actor, domain.ServiceAccountCreate, domain.Object{}); err != nil {
		return "", err
	}
	var wrong apperr.List
	checkUsername(&wrong, in.Username)
	owner, err := s.checkService(ctx, &wrong, &in)
	if err != nil {
		return "", err
	}
	byPerson, byGroup := owner.ids()
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := tx.User.Create().SetUsername(in.Username).SetKind(user.KindService).SetDescription(in.Description).
			SetNillableOwnerID(byPerson).SetNillableOwnerGroupID(byGroup).Save(ctx)
		if database.Violates(err, "users_username_key") {
			return apperr.Field("username", apperr.ErrNameTaken).With("name", in.Username)
		}
		if err != nil {
			return err
		}
		id = u.ID.String()
		return audit.Write(ctx, tx, actor, serviceEntry("service_account.create", u, owner))
	})
	return id, err
}

// UpdateServiceAccount changes the description and the owner. Admins only;
// NOT_FOUND.
func (s *Service) UpdateServiceAccount(ctx context.Context, actor domain.Actor, accountID string, in NewServiceAccount) error {
	if err := access.Check(actor, domain.ServiceAccountUpdate, domain.Object{}); err != nil {
		return err
	}
	id, err := listing.Key(accountID)
	if err != nil {
		return err
	}
	var wrong apperr.List
	owner, err := s.checkService(ctx, &wrong, &in)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := lock(ctx, tx, id)
		if err == nil && u.Kind != user.KindService {
			err = apperr.New(apperr.ErrNotFound)
		}
		if err != nil {
			return err
		}
		before, err := ownerOf(ctx, tx, u)
		if err != nil {
			return err
		}
		change := tx.User.UpdateOne(u).SetDescription(in.Description).ClearOwnerID().ClearOwnerGroupID()
		if byPerson, byGroup := owner.ids(); byGroup != nil {
			change.SetOwnerGroupID(*byGroup)
		} else {
			change.SetOwnerID(*byPerson)
		}
		if err := change.Exec(ctx); err != nil {
			return err
		}
		e := serviceEntry("service_account.update", u, owner)
		e.Before = map[string]any{"owner": before, "description": u.Description}
		e.After = map[string]any{"owner": owner.name(), "description": in.Description}
		if err := audit.Write(ctx, tx, actor, e); err != nil {
			return err
		}
		return database.Notify(ctx, tx, RightsTopic(u.ID.String()))
	})
}

// checkService cleans what was typed, adds what is wrong with it, and finds the owner.
func (s *Service) checkService(ctx context.Context, wrong *apperr.List, in *NewServiceAccount) (o owner, err error) {
	in.Description = strings.TrimSpace(in.Description)
	switch n := utf8.RuneCountInString(in.Description); {
	case n == 0:
		wrong.Add("description", apperr.ErrRequired)
	case !utf8.ValidString(in.Description) || strings.ContainsFunc(in.Description, unprintable):
		wrong.Add("description", apperr.ErrInvalidText)
	case n > MaxDescription:
		*wrong = append(*wrong, apperr.Field("description", apperr.ErrTooLong).With("max", MaxDescription))
	}
	missing := apperr.ErrNoSuchPerson
	switch {
	case in.Owner == "":
		wrong.Add("owner", apperr.ErrRequired)
		return o, wrong.Err()
	case in.ByGroup:
		missing = apperr.ErrNoSuchGroup
		if domain.ValidName(in.Owner) {
			o.group, err = s.DB.Ent.Group.Query().Where(group.Name(in.Owner)).Only(ctx)
		}
	case domain.ValidName(in.Owner):
		o.person, err = s.DB.Ent.User.Query().Where(user.Username(in.Owner), user.KindEQ(user.KindPerson), user.Disabled(false)).Only(ctx)
	}
	if err != nil && !ent.IsNotFound(err) {
		return o, database.Classify(err)
	}
	if o.person == nil && o.group == nil {
		*wrong = append(*wrong, apperr.Field("owner", missing).With("name", domain.CleanText(in.Owner, maxDisplayName)))
	}
	return o, wrong.Err()
}

func serviceEntry(action string, u *ent.User, o owner) audit.Entry {
	return audit.Entry{
		Action: action, ResourceType: "user", ResourceID: u.ID.String(), ResourceName: u.Username,
		Details: map[string]any{"owner": o.name()},
	}
}

// unprintable are characters that change the line they stand in.
func unprintable(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
