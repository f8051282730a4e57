package account

import (
	"context"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/identity"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/auth/oidc"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// LinkedIdentity is a company account that opens an account here.
type LinkedIdentity struct {
	ID, Issuer, Name string
	LinkedAt         time.Time
	LastUsedAt       *time.Time
}

// maxIdentities bounds how many company accounts open one account.
const maxIdentities = 10

func (s *Service) identities(ctx context.Context, user uuid.UUID) ([]LinkedIdentity, error) {
	rows, err := s.DB.Ent.Identity.Query().Where(identity.UserID(user)).Order(ent.Asc(identity.FieldID)).Limit(maxIdentities).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	list := make([]LinkedIdentity, 0, len(rows))
	for _, r := range rows {
		list = append(list, LinkedIdentity{r.ID.String(), r.Issuer, r.Name, r.CreatedAt, r.LastUsedAt})
	}
	return list, nil
}

// SignInWith finds the account of a company account, makes one where that is
// switched on, and writes down who came in. An account that was made here is
// never taken over because its name or address is the same:
// OIDC_ACCOUNT_EXISTS. OIDC_NO_ACCOUNT, OIDC_NAME, OIDC_EMAIL_UNVERIFIED,
// ACCOUNT_DISABLED.
func (s *Service) SignInWith(ctx context.Context, id oidc.Identity, ip, requestID string) (userID string, err error) {
	from := domain.Actor{IP: ip, RequestID: requestID}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := s.owner(ctx, tx, id)
		if err != nil {
			return err
		}
		if u == nil {
			if u, err = s.newcomer(ctx, tx, from, id); err != nil {
				return err
			}
		}
		userID = u.ID.String()
		return s.enter(ctx, tx, u, id, from)
	})
	if err == nil {
		return userID, nil
	}
	if k := apperr.KindOf(err); k == apperr.Forbidden || k == apperr.Conflict {
		entry := sessionEntry("session.sign_in", domain.Actor{})
		entry.Refused = true
		entry.Details = map[string]any{"method": string(auth.ByOIDC), "identity": id.Name, "code": apperr.CodeOf(err)}
		if err := s.Denials.Record(ctx, s.DB.Ent, from, entry); err != nil {
			return "", database.Classify(err)
		}
	}
	return "", err
}

// owner is whose account the company account opens, locked; nil when nobody's.
func (s *Service) owner(ctx context.Context, tx *ent.Tx, id oidc.Identity) (*ent.User, error) {
	row, err := tx.Identity.Query().Where(identity.Issuer(id.Issuer), identity.Subject(id.Subject)).Only(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u, err := lock(ctx, tx, row.UserID)
	if err == nil && u.Disabled {
		return nil, apperr.New(apperr.ErrAccountDisabled).With("name", u.Username)
	}
	return u, err
}

// newcomer makes an account for a company account that has none.
func (s *Service) newcomer(ctx context.Context, tx *ent.Tx, from domain.Actor, id oidc.Identity) (*ent.User, error) {
	switch {
	case !s.NewPeople:
		return nil, apperr.New(apperr.ErrOIDCNoAccount)
	case id.Unproved:
		return nil, apperr.New(apperr.ErrOIDCUnproved)
	}
	var wrong apperr.List
	if checkUsername(&wrong, id.Username); wrong != nil {
		return nil, apperr.New(apperr.ErrOIDCName).With("text", id.Name)
	}
	by := domain.Shepherd()
	by.IP, by.RequestID = from.IP, from.RequestID
	u, err := insert(ctx, tx, by, id.Username, domain.CleanText(id.DisplayName, maxDisplayName-1), "")
	if apperr.CodeOf(err) == apperr.ErrNameTaken {
		return nil, apperr.New(apperr.ErrOIDCNameTaken).With("name", id.Username)
	}
	if err != nil {
		return nil, err
	}
	return u, attach(ctx, tx, by, u, id)
}

// attach lets a company account open an account from now on; u is locked or new.
func attach(ctx context.Context, tx *ent.Tx, by domain.Actor, u *ent.User, id oidc.Identity) error {
	row, err := tx.Identity.Query().Where(identity.Issuer(id.Issuer), identity.Subject(id.Subject)).Only(ctx)
	switch {
	case err == nil && row.UserID == u.ID:
		return nil
	case err == nil:
		return apperr.New(apperr.ErrOIDCLinked)
	case !ent.IsNotFound(err):
		return err
	}
	n, err := tx.Identity.Query().Where(identity.UserID(u.ID)).Count(ctx)
	if err != nil {
		return err
	}
	if n >= maxIdentities {
		return apperr.New(apperr.ErrTooMany)
	}
	err = tx.Identity.Create().SetUserID(u.ID).SetIssuer(id.Issuer).SetSubject(id.Subject).SetName(id.Name).Exec(ctx)
	if database.Violates(err, "identity_issuer_subject") {
		return apperr.New(apperr.ErrOIDCLinked)
	}
	if err != nil {
		return err
	}
	e := identityEntry("user.link_identity", u, id.Issuer, id.Name)
	e.After = map[string]any{"identity": id.Name}
	return audit.Write(ctx, tx, by, e)
}

func identityEntry(action string, u *ent.User, issuer, name string) audit.Entry {
	return audit.Entry{
		Action: action, ResourceType: "user", ResourceID: u.ID.String(), ResourceName: u.Username,
		Details: map[string]any{"issuer": issuer, "identity": name},
	}
}

// enter signs the owner of a company account in: what the issuer says now of
// name and groups holds from now on.
func (s *Service) enter(ctx context.Context, tx *ent.Tx, u *ent.User, id oidc.Identity, from domain.Actor) error {
	now, err := s.DB.Now(ctx, tx)
	if err != nil {
		return err
	}
	err = tx.Identity.Update().Where(identity.Issuer(id.Issuer), identity.Subject(id.Subject)).SetName(id.Name).SetLastUsedAt(now).Exec(ctx)
	if err != nil {
		return err
	}
	if s.FollowGroups {
		if _, _, err := s.SyncGroups(ctx, tx, u.ID.String(), id.Groups); err != nil {
			return err
		}
	}
	a, err := actor(ctx, tx.Client(), u.ID.String())
	if err != nil {
		return err
	}
	a.IP, a.RequestID = from.IP, from.RequestID
	return s.cameIn(ctx, tx, a, auth.ByOIDC)
}

// Link lets a company account open the own account from now on.
// OIDC_LINKED_ELSEWHERE when it opens another one.
func (s *Service) Link(ctx context.Context, a domain.Actor, id oidc.Identity) error {
	return s.withUser(ctx, a.UserID, func(tx *ent.Tx, u *ent.User) error { return attach(ctx, tx, a, u, id) })
}

// Unlink takes that away again. LAST_WAY_IN where nothing else opens the
// account; NOT_FOUND.
func (s *Service) Unlink(ctx context.Context, a domain.Actor, identityID string) error {
	one, err := listing.Key(identityID)
	if err != nil {
		return err
	}
	return s.withUser(ctx, a.UserID, func(tx *ent.Tx, u *ent.User) error {
		rows, err := tx.Identity.Query().Where(identity.UserID(u.ID)).All(ctx)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if r.ID != one {
				continue
			}
			if len(rows) == 1 && (u.PasswordHash == "" || !s.Passwords.For(a)) {
				return apperr.New(apperr.ErrLastWayIn)
			}
			if err := tx.Identity.DeleteOne(r).Exec(ctx); err != nil {
				return err
			}
			e := identityEntry("user.unlink_identity", u, r.Issuer, r.Name)
			e.Before = map[string]any{"identity": r.Name}
			return audit.Write(ctx, tx, a, e)
		}
		return apperr.New(apperr.ErrNotFound)
	})
}

// SetupWith uses a one-time link up by a company account instead of a password:
// it opens the account from now on. That is how an admin says which account a
// person has. SETUP_LINK_INVALID, OIDC_LINKED_ELSEWHERE. digest is that of
// SetupPerson.
func (s *Service) SetupWith(ctx context.Context, digest string, id oidc.Identity, ip, requestID string) (userID string, err error) {
	u, err := s.setupUser(ctx, digest)
	if err != nil {
		return "", err
	}
	from := domain.Actor{UserID: u.ID.String(), Username: u.Username, IP: ip, RequestID: requestID}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		if err := s.redeem(ctx, tx, u, digest); err != nil {
			return err
		}
		if err := attach(ctx, tx, from, u, id); err != nil {
			return err
		}
		return s.enter(ctx, tx, u, id, from)
	})
	return u.ID.String(), err
}

// ConfirmWith is Confirm by a company account, which has asked for the password
// just now. OIDC_OTHER_PERSON when it is not one that opens this account.
func (s *Service) ConfirmWith(ctx context.Context, a domain.Actor, id oidc.Identity) error {
	key, err := listing.Key(a.UserID)
	if err != nil {
		return err
	}
	same, err := s.DB.Ent.Identity.Query().Where(identity.UserID(key), identity.Issuer(id.Issuer), identity.Subject(id.Subject)).Exist(ctx)
	if err != nil {
		return database.Classify(err)
	}
	entry := sessionEntry("session.confirm", a)
	entry.Details = map[string]any{"method": string(auth.ByOIDC), "identity": id.Name}
	entry.Refused = !same
	if err := audit.Record(ctx, s.DB.Ent, a, entry); err != nil {
		return database.Classify(err)
	}
	if !same {
		return apperr.New(apperr.ErrOIDCOther)
	}
	return nil
}
