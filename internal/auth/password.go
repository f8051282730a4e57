package auth

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Length of a password in characters (ASVS 6.2.1, 6.2.9). There is no rule
// about which characters.
const (
	MinPassword = 12
	MaxPassword = 128
)

// cost is OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
var cost = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// CheckPassword says what is wrong with a new password, at the field "password".
func CheckPassword(password string) error {
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password) || strings.ContainsRune(password, 0):
		return apperr.Field("password", apperr.ErrInvalidText)
	case n < MinPassword:
		return apperr.Field("password", apperr.ErrPasswordWeak).With("min", MinPassword)
	case n > MaxPassword:
		return apperr.Field("password", apperr.ErrTooLong).With("max", MaxPassword)
	}
	return nil
}

// hasher runs argon2id, at most one per processor at once: each takes 19 MiB
// and tens of milliseconds, so a flood of sign-ins must wait in line.
type hasher struct {
	once  sync.Once
	slots chan struct{}
	dummy string // hash of a password that nobody has
}

func (h *hasher) setUp() {
	h.slots = make(chan struct{}, runtime.GOMAXPROCS(0))
	var err error
	if h.dummy, err = argon2id.CreateHash("", cost); err != nil {
		panic(err) // the system has no randomness
	}
}

// enter waits for a slot. UNAVAILABLE when ctx ends first.
func (h *hasher) enter(ctx context.Context) (leave func(), err error) {
	h.once.Do(h.setUp)
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, apperr.New(apperr.ErrUnavailable).Because(ctx.Err())
	}
}

func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	return argon2id.CreateHash(password, cost)
}

// matches costs the same for a missing hash and for a password that cannot be
// one as for a wrong password, and is false then.
func (h *hasher) matches(ctx context.Context, password, hash string) (bool, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	possible := hash != "" && CheckPassword(password) == nil
	if !possible {
		password, hash = "", h.dummy
	}
	same, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("password hash: %w", err)
	}
	return same && possible, nil
}
