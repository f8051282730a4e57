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
// link that was made before stops to work. FORBIDDEN for a disabled account. It
// asks nobody's rights: whoever runs the command line owns the database.
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
		u, err := tx.User.Query().Where(user.Username(username)).ForUpdate().Only(ctx)
		if ent.IsNotFound(err) {
			u, err = insert(ctx, tx, shepherd, username, "", "")
		}
		if err != nil {
			return err
		}
		if u.Disabled {
			return apperr.New(apperr.ErrForbidden).With("name", username)
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

// SetupPerson says whose password a link would set. SETUP_LINK_INVALID when it
// was used, is too old, or never was one.
func (s *Service) SetupPerson(ctx context.Context, token string) (Person, error) {
	u, err := s.DB.Ent.User.Query().
		Where(user.SetupHash(digest(token)), user.SetupExpiresAtGT(time.Now().UTC()), user.Disabled(false)).Only(ctx)
	if ent.IsNotFound(err) {
		return Person{}, apperr.New(apperr.ErrSetupLink)
	}
	if err != nil {
		return Person{}, database.Classify(err)
	}
	return person(u), nil
}

// Setup sets a password by a one-time link. A password that cannot be one does
// not use the link up. Of many at once one wins; the others get
// SETUP_LINK_INVALID.
func (s *Service) Setup(ctx context.Context, token, password, ip, requestID string) (userID string, err error) {
	if err := auth.CheckPassword(password); err != nil {
		return "", err
	}
	// Looked at first, so that made-up tokens do not cost a hash.
	p, err := s.SetupPerson(ctx, token)
	if err != nil {
		return "", err
	}
	hash, err := s.Local.Hash(ctx, password)
	if err != nil {
		return "", err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		n, err := tx.User.Update().
			Where(user.SetupHash(digest(token)), user.SetupExpiresAtGT(now), user.Disabled(false)).
			SetPasswordHash(hash).ClearSetupHash().ClearSetupExpiresAt().AddSessionEpoch(1).SetFailedSignIns(0).ClearNextSignInAt().Save(ctx)
		if err != nil {
			return err
		}
		if n != 1 {
			return apperr.New(apperr.ErrSetupLink)
		}
		by := domain.Actor{UserID: p.ID, Username: p.Username, IP: ip, RequestID: requestID}
		err = audit.Write(ctx, tx, by, audit.Entry{
			Action: "user.set_password", ResourceType: "user", ResourceID: p.ID, ResourceName: p.Username,
			Before: map[string]any{"setup_link": true}, After: map[string]any{"setup_link": false}, // used up
		})
		if err != nil {
			return err
		}
		return database.Notify(ctx, tx, RightsTopic(p.ID)) // sessions of before are over
	})
	if err != nil {
		return "", err
	}
	return p.ID, nil
}

// digest is what is stored of a token: it has 128 bits and more of randomness,
// so a fast hash without salt is enough.
func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
