package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// How long a one-time link works: one from the command line is used at once,
// one for somebody else has to reach him.
const (
	setupLifetime  = time.Hour
	InviteLifetime = 72 * time.Hour
)

// CreateSetup makes a one-time token that sets the password of an account, and
// the account with a platform-wide role when there is none; role may be "". A
// link that was made before stops to work. FORBIDDEN for a disabled account and
// for one of a program. It asks nobody's rights: whoever runs the command line
// owns the database.
func (s *Service) CreateSetup(ctx context.Context, username string, role domain.Role) (token string, err error) {
	var wrong apperr.List
	checkUsername(&wrong, username)
	if role != "" {
		wrong = append(wrong, checkBinding(domain.Binding{Role: role})...)
	}
	if err := wrong.Err(); err != nil {
		return "", err
	}
	shepherd := domain.Shepherd()
	shepherd.Via = s.Via
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := ensure(ctx, tx, shepherd, username)
		if err != nil {
			return err
		}
		if role != "" {
			if err := bind(ctx, tx, shepherd, ofUser(u), domain.Binding{Role: role}); err != nil {
				return err
			}
		}
		token, err = s.link(ctx, tx, shepherd, u, setupLifetime)
		return err
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// ensure is the account that a one-time link of the command line is for, made
// when nobody has the name. FORBIDDEN as mayEnter says.
func ensure(ctx context.Context, tx *ent.Tx, by domain.Actor, username string) (*ent.User, error) {
	u, err := tx.User.Query().Where(user.Username(username)).ForUpdate().Only(ctx)
	if ent.IsNotFound(err) {
		return insert(ctx, tx, by, username, "", "")
	}
	if err != nil {
		return nil, err
	}
	return u, mayEnter(u)
}

// mayEnter refuses what nobody may get a one-time link for: a disabled account,
// and one of a program, which has no way in but its tokens.
func mayEnter(u *ent.User) error {
	if u.Disabled || u.Kind == user.KindService {
		return apperr.New(apperr.ErrForbidden).With("name", u.Username)
	}
	return nil
}

// link makes a one-time token for an account; u is locked or new. The token is
// stored as its digest only, so nobody can be shown it a second time.
func (s *Service) link(ctx context.Context, tx *ent.Tx, by domain.Actor, u *ent.User, life time.Duration) (token string, err error) {
	now, err := s.DB.Now(ctx, tx)
	if err != nil {
		return "", err
	}
	token = rand.Text()
	after, err := tx.User.UpdateOne(u).SetSetupHash(digest(token)).SetSetupExpiresAt(now.Add(life)).Save(ctx)
	if err != nil {
		return "", err
	}
	return token, audit.Write(ctx, tx, by, audit.Entry{
		Action: "user.invite", ResourceType: "user", ResourceID: u.ID.String(), ResourceName: u.Username, Before: told(u), After: told(after),
	})
}

// SetupPerson is what the page of a one-time link shows.
type SetupPerson struct {
	Person
	Password bool   // the link may set one
	Digest   string // stands for the link while its owner signs in elsewhere
}

// SetupPerson says whose account a link opens. SETUP_LINK_INVALID when it was
// used, is too old, or never was one.
func (s *Service) SetupPerson(ctx context.Context, token string) (SetupPerson, error) {
	u, err := s.setupUser(ctx, digest(token))
	if err != nil {
		return SetupPerson{}, err
	}
	a, err := s.Actor(ctx, u.ID.String(), "", "")
	if err != nil {
		return SetupPerson{}, err
	}
	return SetupPerson{person(u), s.Passwords.For(a), digest(token)}, nil
}

func (s *Service) setupUser(ctx context.Context, digest string) (*ent.User, error) {
	u, err := s.DB.Ent.User.Query().
		Where(user.SetupHash(digest), user.SetupExpiresAtGT(time.Now().UTC()), user.Disabled(false)).Only(ctx)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrSetupLink)
	}
	if err != nil {
		return nil, database.Classify(err)
	}
	return u, nil
}

// Setup sets a password by a one-time link. A password that cannot be one does
// not use the link up. Of many at once one wins; the others get
// SETUP_LINK_INVALID. LOCAL_SIGN_IN_OFF where the account could not use it.
func (s *Service) Setup(ctx context.Context, token, password, ip, requestID string) (userID string, err error) {
	// Looked at first, so that made-up tokens do not cost a hash.
	u, err := s.setupUser(ctx, digest(token))
	if err != nil {
		return "", err
	}
	if err := auth.CheckPassword(password, u.Username, u.DisplayName); err != nil {
		return "", err
	}
	a, err := s.Actor(ctx, u.ID.String(), ip, requestID)
	if err != nil {
		return "", err
	}
	if !s.Passwords.For(a) {
		return "", apperr.New(apperr.ErrLocalOff)
	}
	hash, err := s.Local.Hash(ctx, password)
	if err != nil {
		return "", err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		if err := s.redeem(ctx, tx, u, digest(token)); err != nil {
			return err
		}
		if err := tx.User.UpdateOneID(u.ID).SetPasswordHash(hash).Exec(ctx); err != nil {
			return err
		}
		err := audit.Write(ctx, tx, a, audit.Entry{
			Action: "user.set_password", ResourceType: "user", ResourceID: u.ID.String(), ResourceName: u.Username,
			Before: map[string]any{"setup_link": true}, After: map[string]any{"setup_link": false}, // used up
		})
		if err != nil {
			return err
		}
		return s.cameIn(ctx, tx, a, auth.ByLink)
	})
	if err != nil {
		return "", err
	}
	return u.ID.String(), nil
}

// redeem uses a one-time link up. All sessions of before are over.
func (s *Service) redeem(ctx context.Context, tx *ent.Tx, u *ent.User, digest string) error {
	now, err := s.DB.Now(ctx, tx)
	if err != nil {
		return err
	}
	n, err := tx.User.Update().
		Where(user.ID(u.ID), user.SetupHash(digest), user.SetupExpiresAtGT(now), user.Disabled(false)).
		ClearSetupHash().ClearSetupExpiresAt().SetFailedSignIns(0).ClearNextSignInAt().Save(ctx)
	if err != nil {
		return err
	}
	if n != 1 {
		return apperr.New(apperr.ErrSetupLink)
	}
	if err := endSessions(ctx, tx, u.ID); err != nil {
		return err
	}
	return database.Notify(ctx, tx, RightsTopic(u.ID.String()))
}

// digest is what is stored of a token: it has 128 bits and more of randomness,
// so a fast hash without salt is enough.
func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
