package account

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// PasswordRule says who may sign in with a password.
type PasswordRule string

// The rules.
const (
	PasswordsOn         PasswordRule = "" // everybody who has one
	PasswordsBreakGlass PasswordRule = "break-glass"
	PasswordsOff        PasswordRule = "off"
)

// For says whether somebody may use a password.
func (r PasswordRule) For(a domain.Actor) bool {
	return r == PasswordsOn || r == PasswordsBreakGlass && a.BreakGlass != nil
}

// SignIn finds out who shows the credentials, and writes down that somebody
// came in or was refused. BAD_CREDENTIALS says no and no more.
// LOCAL_SIGN_IN_OFF says that no password opens anything here.
func (s *Service) SignIn(ctx context.Context, username, password, ip, requestID string) (userID string, err error) {
	if s.Passwords == PasswordsOff {
		return "", apperr.New(apperr.ErrLocalOff)
	}
	userID, err = s.Local.Authenticate(ctx, auth.Credentials{Username: username, Password: password})
	if err == nil {
		err = s.welcome(ctx, userID, ip, requestID)
	}
	if apperr.CodeOf(err) == apperr.ErrBadCredentials {
		return "", errors.Join(err, s.refused(ctx, username, ip, requestID))
	}
	if err != nil {
		return "", err
	}
	return userID, nil
}

func (s *Service) welcome(ctx context.Context, userID, ip, requestID string) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		a, err := actor(ctx, tx.Client(), userID)
		if apperr.CodeOf(err) == apperr.ErrSignedOut { // disabled a moment ago
			return apperr.New(apperr.ErrBadCredentials)
		}
		if err != nil {
			return err
		}
		if !s.Passwords.For(a) {
			return apperr.New(apperr.ErrBadCredentials)
		}
		a.IP, a.RequestID = ip, requestID
		return s.cameIn(ctx, tx, a, auth.ByPassword)
	})
}

// cameIn writes down that somebody signed in.
func (s *Service) cameIn(ctx context.Context, tx *ent.Tx, a domain.Actor, how auth.Method) error {
	now, err := s.DB.Now(ctx, tx)
	if err != nil {
		return err
	}
	if err := tx.User.UpdateOneID(uuid.MustParse(a.UserID)).SetLastSignInAt(now).Exec(ctx); err != nil {
		return err
	}
	entry := sessionEntry("session.sign_in", a)
	entry.Details = map[string]any{"method": string(how)}
	if a.BreakGlass != nil {
		entry.Reason = a.BreakGlass.Reason
		if err := s.TellAdmins(ctx, tx, breakGlassUsed(a)); err != nil {
			return err
		}
	}
	return audit.Write(ctx, tx, a, entry)
}

// refused names the account only if there is one: what was typed may be a
// password in the wrong field.
func (s *Service) refused(ctx context.Context, username, ip, requestID string) error {
	entry := sessionEntry("session.sign_in", domain.Actor{})
	entry.Refused = true
	p, err := s.PersonByUsername(ctx, strings.ToLower(strings.TrimSpace(username)))
	if err == nil {
		entry.ResourceID, entry.ResourceName = p.ID, p.Username
		if entry.Reason, err = s.breakGlassReason(ctx, p.ID); err != nil {
			return err
		}
	}
	return database.Classify(s.Denials.Record(ctx, s.DB.Ent, domain.Actor{IP: ip, RequestID: requestID}, entry))
}

// SignOut writes down that somebody left. Ending the session is up to whoever
// keeps it.
func (s *Service) SignOut(ctx context.Context, actor domain.Actor) error {
	if actor.UserID == "" {
		return nil
	}
	return database.Classify(audit.Record(ctx, s.DB.Ent, actor, sessionEntry("session.sign_out", actor)))
}

func sessionEntry(action string, a domain.Actor) audit.Entry {
	return audit.Entry{Action: action, ResourceType: "session", ResourceID: a.UserID, ResourceName: a.Username}
}

// Confirm finds out whether the person at the keyboard is still the one who
// signed in, by the password. PASSWORD_WRONG at the field "password"; tries
// count as those of signing in do. NO_PASSWORD, LOCAL_SIGN_IN_OFF.
func (s *Service) Confirm(ctx context.Context, a domain.Actor, password string) error {
	err := s.proves(ctx, a, password)
	entry := sessionEntry("session.confirm", a)
	entry.Details = map[string]any{"method": string(auth.ByPassword)}
	switch {
	case apperr.CodeOf(err) == apperr.ErrPasswordWrong:
		entry.Refused = true
		return errors.Join(err, database.Classify(s.Denials.Record(ctx, s.DB.Ent, a, entry)))
	case err != nil:
		return err
	}
	return database.Classify(audit.Record(ctx, s.DB.Ent, a, entry))
}

// proves checks the present password of somebody who is signed in.
func (s *Service) proves(ctx context.Context, a domain.Actor, password string) error {
	own, err := s.Own(ctx, a)
	switch {
	case err != nil:
		return err
	case !s.Passwords.For(a):
		return apperr.New(apperr.ErrLocalOff)
	case !own.HasPassword:
		return apperr.New(apperr.ErrNoPassword)
	}
	id, err := s.Local.Authenticate(ctx, auth.Credentials{Username: a.Username, Password: password})
	if apperr.CodeOf(err) == apperr.ErrBadCredentials || err == nil && id != a.UserID {
		return apperr.Field("password", apperr.ErrPasswordWrong)
	}
	return err
}

// ChangePassword replaces the own password. All sessions are over then, also
// the one that it was done in: whoever keeps sessions begins a new one. What is
// wrong with the new one is an error of the field "new_password"; the others are those
// of Confirm.
func (s *Service) ChangePassword(ctx context.Context, a domain.Actor, current, next string) error {
	var wrong apperr.List
	for _, e := range apperr.Fields(auth.CheckPassword(next, a.Username, a.DisplayName)) {
		wrong = append(wrong, e.At("new_password"))
	}
	if len(wrong) == 0 && next == current {
		wrong.Add("new_password", apperr.ErrPasswordSame)
	}
	if err := wrong.Err(); err != nil {
		return err
	}
	if err := s.proves(ctx, a, current); err != nil {
		return err
	}
	hash, err := s.Local.Hash(ctx, next)
	if err != nil {
		return err
	}
	return s.change(ctx, a, a.UserID, "user.set_password", func(tx *ent.Tx, u *ent.User) error {
		// A one-time link that is on its way would undo it.
		return tx.User.UpdateOne(u).SetPasswordHash(hash).ClearSetupHash().ClearSetupExpiresAt().Exec(ctx)
	})
}

// Own is what somebody's account page shows.
type Own struct {
	HasPassword bool
	Identities  []LinkedIdentity
}

// Own reads the own account.
func (s *Service) Own(ctx context.Context, a domain.Actor) (Own, error) {
	id, err := listing.Key(a.UserID)
	if err != nil {
		return Own{}, err
	}
	u, err := s.DB.Ent.User.Get(ctx, id)
	if err != nil {
		return Own{}, database.Classify(err)
	}
	own := Own{HasPassword: u.PasswordHash != ""}
	own.Identities, err = s.identities(ctx, id)
	return own, err
}
