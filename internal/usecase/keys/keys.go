// Package keys knows what is sealed with which key encryption key: it finds out
// whether the key file is the one that sealed what is stored, and seals old
// secrets anew when another key has become the active one.
package keys

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Use is what one key is needed for.
type Use struct {
	Key     string
	Sealed  map[string]int // secrets by table
	Anchors int            // of the audit log that it signed
}

// Secrets is how many it has sealed, over all tables.
func (u Use) Secrets() (n int) {
	for _, of := range u.Sealed {
		n += of
	}
	return n
}

// lasting is how many of them would be missed: the others are gone by themselves.
func (u Use) lasting() (n int) {
	for _, c := range database.SealedColumns() {
		if !c.ShortLived {
			n += u.Sealed[c.Table]
		}
	}
	return n
}

// Uses lists the keys that are named in the database, by id.
func Uses(ctx context.Context, db *database.DB) ([]Use, error) {
	byKey := map[string]Use{}
	of := func(key string) Use {
		u, ok := byKey[key]
		if !ok {
			u = Use{Key: key, Sealed: map[string]int{}}
		}
		return u
	}
	for _, c := range database.SealedColumns() {
		counts, err := db.CountSealed(ctx, c)
		if err != nil {
			return nil, database.Classify(err)
		}
		for key, n := range counts {
			u := of(key)
			u.Sealed[c.Table] = n
			byKey[key] = u
		}
	}
	anchors, err := db.CountAnchors(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	for key, n := range anchors {
		u := of(key)
		u.Anchors = n
		byKey[key] = u
	}
	uses := make([]Use, 0, len(byKey))
	for _, u := range byKey {
		uses = append(uses, u)
	}
	slices.SortFunc(uses, func(a, b Use) int { return strings.Compare(a.Key, b.Key) })
	return uses, nil
}

// Needed says whether anything that lasts is sealed: a key file that is missing
// is then a loss, and no beginning.
func Needed(ctx context.Context, db *database.DB) (bool, error) {
	uses, err := Uses(ctx, db)
	return slices.ContainsFunc(uses, func(u Use) bool { return u.lasting() > 0 }), err
}

// tries is how many secrets of a key and a table are opened to see whether it is
// the key that sealed them: one of them may have been tampered with.
const tries = 20

// Examine finds out whether a keyring is the one that sealed what is stored. It
// is nil when it is, also when a key is said to be lost for good.
func Examine(ctx context.Context, db *database.DB, ring *crypto.Keyring) (*domain.Lockout, error) {
	uses, err := Uses(ctx, db)
	if err != nil {
		return nil, err
	}
	var l domain.Lockout
	for _, u := range uses {
		switch {
		case u.lasting() == 0, slices.Contains(ring.Lost(), u.Key):
		case !slices.Contains(ring.IDs(), u.Key):
			l.Missing = append(l.Missing, u.Key)
		default:
			opens, err := opensAny(ctx, db, ring, u)
			if err != nil {
				return nil, err
			}
			if !opens {
				l.Wrong = append(l.Wrong, u.Key)
			}
		}
	}
	if len(l.Missing) == 0 && len(l.Wrong) == 0 {
		return nil, nil
	}
	return &l, nil
}

// opensAny says whether the ring's key of that id opens one secret at least of
// those that are said to be sealed with it.
func opensAny(ctx context.Context, db *database.DB, ring *crypto.Keyring, u Use) (bool, error) {
	for _, c := range database.SealedColumns() {
		if u.Sealed[c.Table] == 0 {
			continue
		}
		some, err := db.ListSealed(ctx, c, []string{u.Key}, uuid.Nil, tries)
		if err != nil {
			return false, database.Classify(err)
		}
		for _, s := range some {
			if text, err := ring.Open(place(c, s.Row), s.Key, s.Sealed); err == nil {
				clear(text)
				return true, nil
			}
		}
	}
	return false, nil
}

// place is where a secret is bound to.
func place(c database.SealedColumn, row uuid.UUID) crypto.AAD {
	return crypto.AAD{Table: c.Table, Column: c.Column, Row: row.String()}
}
