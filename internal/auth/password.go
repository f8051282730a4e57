package auth

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	_ "embed" // the list of leaked passwords
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"github.com/trustelem/zxcvbn"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// A password is checked as NIST SP 800-63B-4 section 3.1.1.2 and OWASP ASVS 5.0
// section 6.2 say:
//
//   - 12 to 128 characters, counted as Unicode code points; no rule about which
//     kinds of characters, and none is cut off.
//   - Refused when it is on a list of leaked passwords, or is made of what is
//     guessed first: common words and names, the account's own name, the
//     portal's name, dates, keyboard walks, repeats and sequences. zxcvbn counts
//     how many guesses it would stand; 10^10 are needed, which is its highest
//     grade: it also holds when the hashes are stolen.
//   - It is never asked to be changed for its age, has no hint and no question
//     that opens the account instead, and may be pasted.
//   - It is stored as argon2id with a salt of its own, and tries are slowed
//     down, not locked out (Local).
const (
	MinPassword = 12
	MaxPassword = 128

	enoughGuesses = 4  // zxcvbn's score from 10^10 guesses on
	judged        = 64 // characters: judging takes the square of the length
)

// cost is OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
var cost = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// ours are words that somebody would try here first.
var ours = []string{"kubevirt", "shepherd", "kubevirt shepherd", "kubevirt-shepherd", "kubevirtshepherd", "kubernetes", "openshift"}

// CheckPassword says what is wrong with a new password, at the field
// "password". own are the names of its owner.
func CheckPassword(password string, own ...string) error {
	if err := possible(password); err != nil {
		return err
	}
	if leaked()[strings.ToLower(password)] || guessable(password, own) {
		return apperr.Field("password", apperr.ErrPasswordCommon)
	}
	return nil
}

// possible says whether a password can be one at all.
func possible(password string) error {
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

// guessable judges the beginning of a password: what follows makes it no worse.
func guessable(password string, own []string) bool {
	words := slices.Clone(ours)
	for _, name := range own {
		words = append(words, strings.ToLower(name))
		words = append(words, strings.Fields(strings.ToLower(name))...)
	}
	runes := []rune(password)
	// A short part, repeated: zxcvbn knows repeats of ASCII only.
	for n := 1; n <= len(runes)/3; n++ {
		if strings.HasPrefix(strings.Repeat(string(runes[:n]), len(runes)/n+1), password) {
			return true
		}
	}
	return zxcvbn.PasswordStrength(string(runes[:min(len(runes), judged)]), words).Score < enoughGuesses
}

// leakedList are the 43,940 passwords of MinPassword characters and more among
// the million most common ones of public leaks, in small letters (leaked/README.md).
//
//go:embed leaked/passwords.txt.gz
var leakedList []byte

var leaked = sync.OnceValue(func() map[string]bool {
	z, err := gzip.NewReader(bytes.NewReader(leakedList))
	if err != nil {
		panic(err) // the list is part of the program
	}
	list := map[string]bool{}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		list[lines.Text()] = true
	}
	if lines.Err() != nil {
		panic(lines.Err())
	}
	return list
})

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
	real := hash != "" && possible(password) == nil
	if !real {
		password, hash = "", h.dummy
	}
	same, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("password hash: %w", err)
	}
	return same && real, nil
}
