// Package idempotency lets a program ask twice and have it done once: it keeps
// for a day what was asked under a key, and the answer
// (draft-ietf-httpapi-idempotency-key-header).
package idempotency

import (
	"bytes"
	"context"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/idempotencykey"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

const (
	// Kept is how long a key stands for its request.
	Kept = 24 * time.Hour
	// patience is after how long a try without a deed is taken for dead. No
	// request lives so long, and one that does can do nothing any more.
	patience = time.Minute

	maxKey = 255
)

// Answer is what was said after the deed.
type Answer struct {
	Status   int // of HTTP; 0: it is not kept
	Location string
	Body     []byte
}

// Service keeps the keys.
type Service struct{ DB *database.DB }

// Try is the one try that may do the deed.
type Try struct {
	s       *Service
	id      uuid.UUID
	attempt int
}

// Take claims a key for a request, of which hash is the fingerprint. Either the
// try is there, and the deed is to be done with the context that comes back, or
// the answer of the time before. IDEMPOTENCY_KEY_INVALID; IDEMPOTENCY_KEY_REUSED
// for another request, IDEMPOTENCY_KEY_IN_USE while the first is not finished,
// IDEMPOTENCY_ANSWER_GONE when the deed is done and the answer is not kept.
func (s *Service) Take(ctx context.Context, actor domain.Actor, key string, hash []byte) (context.Context, *Try, *Answer, error) {
	if !valid(key) {
		return ctx, nil, nil, apperr.New(apperr.ErrIdempotencyKey)
	}
	user, err := uuid.Parse(actor.UserID)
	if err != nil {
		return ctx, nil, nil, apperr.New(apperr.ErrSignedOut)
	}
	// The second round is for a key that went between insert and read.
	for range 2 {
		row, err := s.DB.Ent.IdempotencyKey.Create().SetUserID(user).SetKey(key).SetRequestHash(hash).Save(ctx)
		if err == nil {
			ctx, t := s.try(ctx, row.ID, row.Attempt)
			return ctx, t, nil, nil
		}
		if !ent.IsConstraintError(err) {
			return ctx, nil, nil, database.Classify(err)
		}
		row, err = s.DB.Ent.IdempotencyKey.Query().Where(idempotencykey.UserID(user), idempotencykey.Key(key)).Only(ctx)
		if ent.IsNotFound(err) {
			continue
		}
		if err != nil {
			return ctx, nil, nil, database.Classify(err)
		}
		if time.Since(row.CreatedAt) > Kept {
			if _, err := s.DB.Ent.IdempotencyKey.Delete().Where(idempotencykey.ID(row.ID)).Exec(ctx); err != nil {
				return ctx, nil, nil, database.Classify(err)
			}
			continue
		}
		return s.again(ctx, row, hash)
	}
	return ctx, nil, nil, apperr.New(apperr.ErrIdempotencyBusy)
}

// again answers a key that is known.
func (s *Service) again(ctx context.Context, row *ent.IdempotencyKey, hash []byte) (context.Context, *Try, *Answer, error) {
	switch {
	case !bytes.Equal(row.RequestHash, hash):
		return ctx, nil, nil, apperr.New(apperr.ErrIdempotencyReused)
	case row.Status != 0:
		return ctx, nil, &Answer{row.Status, row.Location, row.Answer}, nil
	case time.Since(row.AttemptAt) < patience: // also of a deed that is done: its answer is on its way
		return ctx, nil, nil, apperr.New(apperr.ErrIdempotencyBusy)
	case row.Done:
		return ctx, nil, nil, apperr.New(apperr.ErrIdempotencyGone)
	}
	n, err := s.DB.Ent.IdempotencyKey.Update().
		Where(idempotencykey.ID(row.ID), idempotencykey.Attempt(row.Attempt), idempotencykey.Done(false)).
		AddAttempt(1).SetAttemptAt(time.Now().UTC()).Save(ctx)
	switch {
	case err != nil:
		return ctx, nil, nil, database.Classify(err)
	case n == 0: // somebody else took it
		return ctx, nil, nil, apperr.New(apperr.ErrIdempotencyBusy)
	}
	ctx, t := s.try(ctx, row.ID, row.Attempt+1)
	return ctx, t, nil, nil
}

// try has each transaction of the context say that the deed is done. One whose
// key was taken over, or is gone, is undone instead.
func (s *Service) try(ctx context.Context, id uuid.UUID, attempt int) (context.Context, *Try) {
	return database.WithDeed(ctx, func(ctx context.Context, tx *ent.Tx) error {
		n, err := tx.IdempotencyKey.Update().Where(idempotencykey.ID(id), idempotencykey.Attempt(attempt)).SetDone(true).Save(ctx)
		if err == nil && n == 0 {
			return apperr.New(apperr.ErrIdempotencyBusy)
		}
		return err
	}), &Try{s, id, attempt}
}

// Finish keeps the answer. Without a status the deed is on record and its
// answer is not: it holds a secret that is shown once.
func (t *Try) Finish(ctx context.Context, a Answer) error {
	u := t.s.DB.Ent.IdempotencyKey.Update().Where(idempotencykey.ID(t.id), idempotencykey.Attempt(t.attempt)).SetDone(true)
	if a.Status != 0 {
		u.SetStatus(a.Status).SetLocation(a.Location).SetAnswer(a.Body)
	} else {
		u.SetAttemptAt(time.Now().UTC().Add(-patience)) // nothing to wait for
	}
	return database.Classify(u.Exec(ctx))
}

// Fail gives the key back, so that the request can be sent again. When it is
// not known whether the deed was done, only a key without a deed is given back.
func (t *Try) Fail(ctx context.Context, cause error) error {
	d := t.s.DB.Ent.IdempotencyKey.Delete().Where(idempotencykey.ID(t.id), idempotencykey.Attempt(t.attempt))
	switch apperr.KindOf(cause) {
	case apperr.Internal, apperr.Unavailable:
		d.Where(idempotencykey.Done(false))
	}
	_, err := d.Exec(ctx)
	return database.Classify(err)
}

// Sweep removes the keys that are too old, and says how many.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	n, err := s.DB.Ent.IdempotencyKey.Delete().Where(idempotencykey.CreatedAtLT(time.Now().UTC().Add(-Kept))).Exec(ctx)
	return n, database.Classify(err)
}

func valid(key string) bool {
	for _, c := range []byte(key) {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return key != "" && len(key) <= maxKey
}
