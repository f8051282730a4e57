package crypto

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// A keyring that is locked opens what its good keys sealed, and seals, signs and
// derives nothing.
func TestLock(t *testing.T) {
	k := ring(t, line("new", 2), line("old", 1), line("other", 3))
	byOld, _, err := ring(t, line("old", 1)).Seal(place, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	why := domain.Lockout{Missing: []string{"gone"}, Wrong: []string{"other"}}
	l := k.Lock(why)
	if k.Locked() != nil || l.Locked() == nil || fmt.Sprint(*l.Locked()) != fmt.Sprint(why) {
		t.Errorf("%v, %v", k.Locked(), l.Locked())
	}
	if got, err := l.Open(place, "old", byOld); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	if _, _, err := l.Seal(place, []byte("x")); apperr.CodeOf(err) != apperr.ErrCredentialsLocked {
		t.Errorf("sealed: %v", err)
	}
	if _, err := l.Open(place, "other", byOld); apperr.CodeOf(err) != apperr.ErrCredentialsLocked { // a wrong key is none
		t.Errorf("%v", err)
	}
	if l.Active() != "" || l.Derive("purpose") != nil || l.DeriveFrom("other", "purpose") != nil || len(l.DeriveFrom("old", "purpose")) != keySize {
		t.Error("something can be derived that should not, or not what should")
	}

	var none *Keyring
	n := none.Lock(domain.Lockout{Unreadable: true})
	if _, _, err := n.Seal(place, []byte("x")); apperr.CodeOf(err) != apperr.ErrCredentialsLocked {
		t.Errorf("sealed without a key: %v", err)
	}
	if _, err := n.Open(place, "old", byOld); apperr.CodeOf(err) != apperr.ErrCredentialsLocked {
		t.Errorf("%v", err)
	}
	if len(n.IDs()) != 0 || n.Fingerprint("old") != "" || n.Derive("x") != nil {
		t.Error("a keyring without keys has some")
	}
}

// A line can say that a key is lost for good: its id is known, and opens nothing.
func TestLostKey(t *testing.T) {
	k := ring(t, line("new", 2), "old:lost", "older:lost")
	if !slices.Equal(k.IDs(), []string{"new"}) || !slices.Equal(k.Lost(), []string{"old", "older"}) || k.Active() != "new" {
		t.Errorf("%v, lost %v", k.IDs(), k.Lost())
	}
	if _, err := k.Open(place, "old", []byte("x")); apperr.CodeOf(err) != apperr.ErrCredentialsLocked {
		t.Errorf("%v", err)
	}
	for name, text := range map[string]string{
		"only lost ones": "old:lost", "lost and there": line("old", 1) + "\nold:lost", "lost twice": line("new", 1) + "\nold:lost\nold:lost",
	} {
		if _, err := Load("", text); err == nil || strings.Contains(err.Error(), "AQEB") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if k := ring(t, "old:lost", line("new", 2)); k.Active() != "new" {
		t.Errorf("active is %q", k.Active())
	}
}
