// Package listing holds what the lists of the use cases have in common: keyset
// pages, and the conditions that keep rows from actors who may not know of them.
package listing

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Rows of a page.
const (
	defaultLimit = 50
	maxLimit     = 200
)

// Page selects a part of a list: Limit entries after a cursor of the page
// before. The zero value is the first page.
type Page struct {
	After string
	Limit int // 0 = 50, at most 200
}

// Size is how many entries a page has.
func (p Page) Size() int {
	if p.Limit <= 0 {
		return defaultLimit
	}
	return min(p.Limit, maxLimit)
}

// Of is one page of a list. Next is the cursor of the following page, "" at
// the end.
type Of[T any] struct {
	Items []T
	Next  string
}

// Make builds a page from rows, of which one more than the page's size was
// asked for: its presence is what tells that there is a next page.
func Make[R, T any](p Page, rows []R, view func(R) T, cursor func(R) string) Of[T] {
	var next string
	if n := p.Size(); len(rows) > n {
		rows = rows[:n]
		next = cursor(rows[n-1])
	}
	items := make([]T, 0, len(rows))
	for _, r := range rows {
		items = append(items, view(r))
	}
	return Of[T]{Items: items, Next: next}
}

// ByName is the cursor of a list that is ordered by name and id. Names are
// labels, so they have no "~".
func ByName(name string, id uuid.UUID) string { return name + "~" + id.String() }

// Name reads a cursor of ByName. Both parts are zero for the first page.
func (p Page) Name() (string, uuid.UUID, error) {
	if p.After == "" {
		return "", uuid.Nil, nil
	}
	name, text, _ := strings.Cut(p.After, "~")
	id, err := uuid.Parse(text)
	if err != nil || !IsText(name) {
		return "", uuid.Nil, BadCursor()
	}
	return name, id, nil
}

// Number reads a cursor that is a number, 0 for the first page.
func (p Page) Number() (int, error) {
	if p.After == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(p.After, 10, 63)
	if err != nil || n <= 0 {
		return 0, BadCursor()
	}
	return int(n), nil
}

// ID reads a cursor that is an id; ok is false for the first page.
func (p Page) ID() (id uuid.UUID, ok bool, err error) {
	if p.After == "" {
		return uuid.Nil, false, nil
	}
	if id, err = uuid.Parse(p.After); err != nil {
		return uuid.Nil, false, BadCursor()
	}
	return id, true, nil
}

// BadCursor is the error for a cursor that no list has given.
func BadCursor() error { return apperr.Field("after", apperr.ErrInvalidChoice) }

// IsText says whether the database can take s as text: it refuses NUL and what
// is not UTF-8.
func IsText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// Key turns the id of an address into a key. What is no id exists nowhere:
// NOT_FOUND.
func Key(id string) (uuid.UUID, error) {
	key, err := uuid.Parse(id)
	if err != nil {
		return uuid.Nil, apperr.New(apperr.ErrNotFound)
	}
	return key, nil
}
