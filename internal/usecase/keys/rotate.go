package keys

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

const (
	rotateBatch   = 50
	rotatePasses  = 20              // over a table, at most: others may go on sealing with an old key
	recordTimeout = 5 * time.Second // for the entry of the audit log when a rotation is stopped
)

// Rotation seals every secret anew that another key than the active one has
// sealed. Each secret is a transaction of its own that changes it only if it is
// still as it was read, so that a rotation may be killed at any point and run
// again, and that a credential that is replaced meanwhile stays the new one.
type Rotation struct {
	DB *database.DB
	// Keys is the key file as it is, not locked: what it opens is ours, so sealing
	// that anew loses nothing.
	Keys *crypto.Keyring
	// Progress, if given, is told how far it is after each batch.
	Progress func(Report)
}

// Report is what a rotation has done.
type Report struct {
	Rotated map[string]int // secrets by table
	Raced   int            // that were replaced while they were sealed anew; they are looked at again
	Skipped []Skip
}

// Total is how many secrets were sealed anew.
func (r Report) Total() (n int) {
	for _, of := range r.Rotated {
		n += of
	}
	return n
}

// Skip is a secret that no key opened. It is left as it is.
type Skip struct {
	Table string
	Row   uuid.UUID
	Key   string
	Code  string // CREDENTIALS_LOCKED, or CREDENTIALS_TAMPERED
}

// Run seals anew what there is. It is written down in the audit log, also when
// it is stopped. The error is CREDENTIALS_LOCKED when the active key is not the
// one that sealed what is stored under its id: two keys under one id could not
// be told apart.
func (r *Rotation) Run(ctx context.Context, actor domain.Actor) (Report, error) {
	report := Report{Rotated: map[string]int{}}
	lock, err := Examine(ctx, r.DB, r.Keys)
	if err != nil {
		return report, err
	}
	if lock != nil && slices.Contains(lock.Wrong, r.Keys.Active()) {
		return report, apperr.New(apperr.ErrCredentialsLocked).With("key", r.Keys.Active())
	}
	for _, c := range database.SealedColumns() {
		if err = r.column(ctx, c, &report); err != nil {
			break
		}
	}
	if report.Total() == 0 && len(report.Skipped) == 0 {
		return report, err
	}
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return report, errors.Join(err, database.Classify(audit.Record(record, r.DB.Ent, actor, audit.Entry{
		Action: "keys.rotate", ResourceType: "keys", ResourceID: r.Keys.Active(), ResourceName: r.Keys.Active(), Failed: err != nil,
		Details: map[string]any{"rotated": report.Rotated, "skipped": len(report.Skipped), "fingerprint": r.Keys.Fingerprint(r.Keys.Active())},
	})))
}

// column goes through a table until nothing is left there to do.
func (r *Rotation) column(ctx context.Context, c database.SealedColumn, report *Report) error {
	skipped := map[uuid.UUID]bool{}
	for range rotatePasses {
		counts, err := r.DB.CountSealed(ctx, c)
		if err != nil {
			return database.Classify(err)
		}
		var old []string
		for key := range counts {
			if key != r.Keys.Active() {
				old = append(old, key)
			}
		}
		changed, err := r.pass(ctx, c, old, skipped, report)
		if err != nil || !changed {
			return err
		}
	}
	return nil
}

// pass goes through the secrets of some keys once. changed says that something
// was done, or that somebody else did, so that another look is due.
func (r *Rotation) pass(ctx context.Context, c database.SealedColumn, old []string, skipped map[uuid.UUID]bool, report *Report) (changed bool, err error) {
	for after := uuid.Nil; len(old) > 0; {
		batch, err := r.DB.ListSealed(ctx, c, old, after, rotateBatch)
		if err != nil {
			return changed, database.Classify(err)
		}
		for _, s := range batch {
			after = s.Row
			if skipped[s.Row] {
				continue
			}
			done, err := r.one(ctx, c, s)
			switch code := apperr.CodeOf(err); {
			case code == apperr.ErrCredentialsLocked, code == apperr.ErrCredentialsTampered:
				skipped[s.Row] = true
				report.Skipped = append(report.Skipped, Skip{c.Table, s.Row, s.Key, code})
			case err != nil:
				return changed, err
			case done:
				report.Rotated[c.Table]++
				changed = true
			default:
				report.Raced++
				changed = true
			}
		}
		if len(batch) > 0 && r.Progress != nil {
			r.Progress(*report)
		}
		if len(batch) < rotateBatch {
			break
		}
	}
	return changed, nil
}

// one seals a secret anew, and says whether it was still as it had been read.
func (r *Rotation) one(ctx context.Context, c database.SealedColumn, was database.SealedSecret) (done bool, err error) {
	text, err := r.Keys.Open(place(c, was.Row), was.Key, was.Sealed)
	if err != nil {
		return false, err
	}
	defer clear(text)
	is := database.SealedSecret{Row: was.Row}
	if is.Sealed, is.Key, err = r.Keys.Seal(place(c, was.Row), text); err != nil {
		return false, err
	}
	err = r.DB.InTx(ctx, func(tx *ent.Tx) (err error) {
		done, err = database.ReplaceSealed(ctx, tx, c, was, is)
		return err
	})
	return done, err
}
