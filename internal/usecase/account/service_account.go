package account

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/accesstoken"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// ServiceAccount is the account of a program. It has roles as people have, and
// no way to sign in but the tokens that package token makes for it.
type ServiceAccount struct {
	Member
	Description   string
	Owner         Person // who answers for it
	OwnerDisabled bool
	Tokens        int        // that work
	LastUsedAt    *time.Time // of those
	NextEnd       *time.Time // of those
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
		q.Where(user.OwnerID(me))
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
	switch {
	case ent.IsNotFound(err) || err == nil && !actor.CanAudit() && !owned(actor, u):
		return ServiceAccount{}, apperr.New(apperr.ErrNotFound)
	case err != nil:
		return ServiceAccount{}, database.Classify(err)
	}
	return serviceAccount(u), nil
}

func owned(actor domain.Actor, u *ent.User) bool {
	return u.OwnerID != nil && actor.UserID == u.OwnerID.String()
}

// whole reads what serviceAccount shows. An account has at most 50 tokens that work.
func whole(q *ent.UserQuery) *ent.UserQuery {
	return q.WithBindings(withSystem).WithOwner().WithTokens(func(t *ent.AccessTokenQuery) {
		t.Where(accesstoken.RevokedAtIsNil(), accesstoken.ExpiresAtGT(time.Now().UTC()))
	})
}

func serviceAccount(u *ent.User) ServiceAccount {
	a := ServiceAccount{Member: member(u), Description: u.Description, Tokens: len(u.Edges.Tokens)}
	a.Invited = false // there is no password to set
	if o := u.Edges.Owner; o != nil {
		a.Owner, a.OwnerDisabled = person(o), o.Disabled
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
// then without the user name. Owner is a person's user name.
type NewServiceAccount struct{ Username, Description, Owner string }

// CreateServiceAccount makes the account of a program. It has no roles and no
// tokens yet. Admins only.
func (s *Service) CreateServiceAccount(ctx context.Context, actor domain.Actor, in NewServiceAccount) (id string, err error) {
	if !actor.IsAdmin() {
		return "", apperr.New(apperr.ErrForbidden)
	}
	var wrong apperr.List
	checkUsername(&wrong, in.Username)
	owner, err := s.checkService(ctx, &wrong, &in)
	if err != nil {
		return "", err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := tx.User.Create().SetUsername(in.Username).SetKind(user.KindService).SetDescription(in.Description).SetOwnerID(owner.ID).Save(ctx)
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
	if !actor.IsAdmin() {
		return apperr.New(apperr.ErrForbidden)
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
		if u.Description == in.Description && u.OwnerID != nil && *u.OwnerID == owner.ID {
			return nil
		}
		if err := tx.User.UpdateOne(u).SetDescription(in.Description).SetOwnerID(owner.ID).Exec(ctx); err != nil {
			return err
		}
		if err := audit.Write(ctx, tx, actor, serviceEntry("service_account.update", u, owner)); err != nil {
			return err
		}
		return database.Notify(ctx, tx, RightsTopic(u.ID.String()))
	})
}

// checkService cleans what was typed, adds what is wrong with it, and finds the owner.
func (s *Service) checkService(ctx context.Context, wrong *apperr.List, in *NewServiceAccount) (*ent.User, error) {
	in.Description = strings.TrimSpace(in.Description)
	switch n := utf8.RuneCountInString(in.Description); {
	case n == 0:
		wrong.Add("description", apperr.ErrRequired)
	case !utf8.ValidString(in.Description) || strings.ContainsFunc(in.Description, unprintable):
		wrong.Add("description", apperr.ErrInvalidText)
	case n > MaxDescription:
		*wrong = append(*wrong, apperr.Field("description", apperr.ErrTooLong).With("max", MaxDescription))
	}
	var owner *ent.User
	switch {
	case in.Owner == "":
		wrong.Add("owner", apperr.ErrRequired)
	case domain.ValidName(in.Owner):
		var err error
		owner, err = s.DB.Ent.User.Query().Where(user.Username(in.Owner), user.KindEQ(user.KindPerson), user.Disabled(false)).Only(ctx)
		if err != nil && !ent.IsNotFound(err) {
			return nil, database.Classify(err)
		}
	}
	if in.Owner != "" && owner == nil {
		*wrong = append(*wrong, apperr.Field("owner", apperr.ErrNoSuchPerson).With("name", domain.CleanText(in.Owner, maxDisplayName)))
	}
	return owner, wrong.Err()
}

func serviceEntry(action string, u, owner *ent.User) audit.Entry {
	return audit.Entry{
		Action: action, ResourceType: "user", ResourceID: u.ID.String(), ResourceName: u.Username,
		Details: map[string]any{"owner": owner.Username},
	}
}

// unprintable are characters that change the line they stand in.
func unprintable(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
