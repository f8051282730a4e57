package auth

import (
	"context"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

const (
	freeTries = 5 // wrong passwords before a name has to wait
	maxWait   = time.Minute
	// refusalTime is how long a "no" takes at least. A known name costs a few
	// writes more than an unknown one; nobody can see that through this.
	refusalTime = 250 * time.Millisecond
)

// Local signs people in by user name and password. It must not be copied.
type Local struct {
	Client *ent.Client
	hasher hasher
}

// Type names the provider.
func (*Local) Type() string { return "local" }

// Hash makes the hash that is stored of a new password, which CheckPassword has
// let through.
func (l *Local) Hash(ctx context.Context, password string) (string, error) {
	if err := possible(password); err != nil {
		return "", err
	}
	return l.hasher.hash(ctx, password)
}

// Authenticate checks a user name and password. Everything that is wrong gives
// the same BAD_CREDENTIALS after about the same time: an unknown name, a wrong
// password, a disabled account, an account without a password, and any
// password while the name has to wait. A name waits 1, 2, 4 … 60 seconds after
// five wrong passwords; nobody is ever locked out, and what is tried while it
// waits does not make it longer.
func (l *Local) Authenticate(ctx context.Context, c Credentials) (userID string, err error) {
	patience := time.NewTimer(refusalTime)
	defer patience.Stop()
	userID, err = l.check(ctx, strings.ToLower(strings.TrimSpace(c.Username)), c.Password)
	if err == nil && userID == "" {
		select {
		case <-patience.C:
		case <-ctx.Done():
		}
		return "", apperr.New(apperr.ErrBadCredentials)
	}
	return userID, err
}

// check answers "" for no.
func (l *Local) check(ctx context.Context, name, password string) (userID string, err error) {
	u, err := l.admit(ctx, name)
	if err != nil {
		return "", database.Classify(err)
	}
	hash := ""
	if u != nil {
		hash = u.PasswordHash
	}
	switch same, err := l.hasher.matches(ctx, password, hash); {
	case err != nil:
		return "", err
	case !same:
		return "", nil
	}
	// It was the right one, so the tries before it were slips.
	if err := l.Client.User.UpdateOneID(u.ID).SetFailedSignIns(0).ClearNextSignInAt().Exec(ctx); err != nil {
		return "", database.Classify(err)
	}
	return u.ID.String(), nil
}

// admit reads the user of a name who may try now, or nil. The try is counted
// as failed before the password is looked at, by an update that only one of
// many simultaneous tries can win per round: a hundred at once get no more
// guesses than a hundred in a row.
func (l *Local) admit(ctx context.Context, name string) (*ent.User, error) {
	if !domain.ValidName(name) {
		return nil, nil
	}
	for range 2 * freeTries {
		u, err := l.Client.User.Query().Where(user.Username(name), user.Disabled(false), user.KindEQ(user.KindPerson)).Only(ctx)
		if ent.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		now := time.Now().UTC()
		if u.NextSignInAt != nil && u.NextSignInAt.After(now) {
			return nil, nil
		}
		try := l.Client.User.Update().Where(user.ID(u.ID), user.FailedSignIns(u.FailedSignIns)).SetFailedSignIns(u.FailedSignIns + 1)
		if wait := waitAfter(u.FailedSignIns + 1); wait > 0 {
			try.SetNextSignInAt(now.Add(wait))
		}
		if n, err := try.Save(ctx); err != nil || n == 1 {
			return u, err
		}
	}
	return nil, nil // somebody tries this name all the time
}

// waitAfter is how long a name waits after its nth wrong password in a row.
func waitAfter(n int) time.Duration {
	if n < freeTries {
		return 0
	}
	return min(time.Second<<min(n-freeTries, 6), maxWait)
}
