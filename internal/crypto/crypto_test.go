package crypto

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

var place = AAD{Table: "clusters", Column: "credential", Row: "0190-a"}

func ring(t testing.TB, lines ...string) *Keyring {
	t.Helper()
	k, err := Load("", strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func line(id string, fill byte) string {
	return id + ":" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, keySize))
}

func TestSealOpens(t *testing.T) {
	k := ring(t, Generate())
	for _, secret := range []string{"", "x", "CANARY-token", strings.Repeat("long ", 20_000)} {
		sealed, id, err := k.Seal(place, []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		if id != k.Active() {
			t.Errorf("sealed with %q, active is %q", id, k.Active())
		}
		if len(secret) > 5 && bytes.Contains(sealed, []byte(secret[:6])) {
			t.Error("the secret is readable in the sealed bytes")
		}
		if want := 1 + wrappedLen + overhead + len(secret); len(sealed) != want || cap(sealed) != want {
			t.Errorf("sealed has %d bytes of %d, want %d", len(sealed), cap(sealed), want)
		}
		got, err := k.Open(place, id, sealed)
		if err != nil || string(got) != secret {
			t.Errorf("opened %d bytes, %v; want %d bytes", len(got), err, len(secret))
		}
	}
}

// What was sealed for one place and key opens with no other.
func TestOpenRefusesOtherPlaces(t *testing.T) {
	k := ring(t, line("a", 1), line("b", 2))
	sealed, id, err := k.Seal(place, []byte("CANARY-token"))
	if err != nil {
		t.Fatal(err)
	}
	sameIDOtherKey := ring(t, line("a", 3))
	cut := func(n int) []byte { return sealed[:n] }
	for name, c := range map[string]struct {
		ring   *Keyring
		aad    AAD
		id     string
		sealed []byte
		code   string
	}{
		"other row":         {k, AAD{"clusters", "credential", "0190-b"}, id, sealed, apperr.ErrCredentialsTampered},
		"other column":      {k, AAD{"clusters", "draft", "0190-a"}, id, sealed, apperr.ErrCredentialsTampered},
		"other table":       {k, AAD{"templates", "credential", "0190-a"}, id, sealed, apperr.ErrCredentialsTampered},
		"shifted boundary":  {k, AAD{"clusters", "credential0", "190-a"}, id, sealed, apperr.ErrCredentialsTampered},
		"other known key":   {k, place, "b", sealed, apperr.ErrCredentialsTampered},
		"unknown key":       {k, place, "c", sealed, apperr.ErrCredentialsLocked},
		"no key id":         {k, place, "", sealed, apperr.ErrCredentialsLocked},
		"key swapped":       {sameIDOtherKey, place, id, sealed, apperr.ErrCredentialsTampered},
		"empty":             {k, place, id, nil, apperr.ErrCredentialsTampered},
		"only the version":  {k, place, id, cut(1), apperr.ErrCredentialsTampered},
		"only the data key": {k, place, id, cut(1 + wrappedLen), apperr.ErrCredentialsTampered},
		"last byte lost":    {k, place, id, cut(len(sealed) - 1), apperr.ErrCredentialsTampered},
		"one byte more":     {k, place, id, append(bytes.Clone(sealed), 0), apperr.ErrCredentialsTampered},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.ring.Open(c.aad, c.id, c.sealed)
			if got != nil || apperr.CodeOf(err) != c.code {
				t.Errorf("got %q, %v; want %s", got, err, c.code)
			}
		})
	}
}

func TestOpenRefusesEveryFlippedByte(t *testing.T) {
	k := ring(t, Generate())
	sealed, id, err := k.Seal(place, []byte("CANARY-token"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			bad := bytes.Clone(sealed)
			bad[i] ^= mask
			if got, err := k.Open(place, id, bad); got != nil || !errors.Is(err, apperr.New(apperr.ErrCredentialsTampered)) {
				t.Fatalf("byte %d with mask %x: %q, %v", i, mask, got, err)
			}
		}
	}
}

// Parts of two good secrets of the same place do not mix.
func TestOpenRefusesMixedParts(t *testing.T) {
	k := ring(t, Generate())
	one, id, _ := k.Seal(place, []byte("first"))
	two, _, _ := k.Seal(place, []byte("other"))
	mixed := append(bytes.Clone(one[:1+wrappedLen]), two[1+wrappedLen:]...)
	if got, err := k.Open(place, id, mixed); apperr.CodeOf(err) != apperr.ErrCredentialsTampered {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSealNeedsAPlace(t *testing.T) {
	k := ring(t, Generate())
	for _, aad := range []AAD{{}, {"clusters", "credential", ""}, {"clusters", "", "1"}, {"", "credential", "1"}} {
		if sealed, _, err := k.Seal(aad, []byte("x")); err == nil {
			t.Errorf("%+v: sealed %d bytes", aad, len(sealed))
		}
	}
}

func TestNoncesNeverRepeat(t *testing.T) {
	k := ring(t, Generate())
	seen := make(map[[12]byte]bool, 200_000)
	for range 100_000 {
		sealed, _, err := k.Seal(place, []byte("same text"))
		if err != nil {
			t.Fatal(err)
		}
		for _, nonce := range [][12]byte{[12]byte(sealed[1:]), [12]byte(sealed[1+wrappedLen:])} {
			if seen[nonce] {
				t.Fatal("a nonce came twice")
			}
			seen[nonce] = true
		}
	}
}

// A retired key opens what it sealed, and new secrets take the new one.
func TestRotation(t *testing.T) {
	sealed, id, err := ring(t, line("old", 1)).Seal(place, []byte("CANARY-token"))
	if err != nil {
		t.Fatal(err)
	}
	k := ring(t, line("new", 2), line("old", 1))
	got, err := k.Open(place, id, sealed)
	if err != nil || string(got) != "CANARY-token" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, id, _ := k.Seal(place, got); id != "new" {
		t.Errorf("sealed with %q", id)
	}
	if got := k.IDs(); len(got) != 2 || got[0] != "new" || got[1] != "old" {
		t.Errorf("ids %q", got)
	}
}

func TestFingerprint(t *testing.T) {
	k := ring(t, line("a", 1), line("b", 2))
	if a, b := k.Fingerprint("a"), k.Fingerprint("b"); len(a) != 16 || a == b {
		t.Errorf("%q, %q", a, b)
	}
	if k.Fingerprint("a") != ring(t, line("z", 1)).Fingerprint("z") {
		t.Error("the fingerprint of a key depends on more than the key")
	}
	if got := k.Fingerprint("c"); got != "" {
		t.Errorf("unknown key: %q", got)
	}
}

func TestLoadRefuses(t *testing.T) {
	canary := "CANARYcanaryCANARY"
	for name, text := range map[string]string{
		"only a comment": "# nothing",
		"no id":          base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)),
		"bad id":         line("A b", 1),
		"short":          "a:" + base64.StdEncoding.EncodeToString([]byte(canary)),
		"not base64":     "a:" + canary + "!",
		"long":           line("a", 1) + "AAAA",
		"same id":        line("a", 1) + "\n" + line("a", 2),
		"same key":       line("a", 1) + "\n" + line("b", 1),
	} {
		k, err := Load("", text)
		if k != nil || err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, secret := range []string{canary, text} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error repeats the key: %v", name, err)
			}
		}
	}
	if _, err := Load("", ""); !errors.Is(err, ErrNoKey) {
		t.Errorf("nothing set: %v", err)
	}
	if _, err := Load("some-file", line("a", 1)); err == nil {
		t.Error("both set: accepted")
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	if err := WriteNew(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	before, _ := os.ReadFile(path)
	if err := WriteNew(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second write: %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Fatal("an existing key was replaced")
	}
	k, err := Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	sealed, id, _ := k.Seal(place, []byte("secret"))
	again, _ := Load(path, "")
	if got, err := again.Open(place, id, sealed); err != nil || string(got) != "secret" {
		t.Errorf("after a restart: %q, %v", got, err)
	}

	for mode, ok := range map[fs.FileMode]bool{0o400: true, 0o440: true, 0o644: false, 0o604: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, ""); (err == nil) != ok {
			t.Errorf("mode %o: %v", mode, err)
		} else if err != nil && !ok && !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: the error names no way out: %v", mode, err)
		}
	}
	if _, err := Load(t.TempDir(), ""); err == nil {
		t.Error("a directory was accepted")
	}
	if _, err := Load(path+"-missing", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestKeyringNeverPrintsKeys(t *testing.T) {
	k := ring(t, line("a", 'K'))
	holder := struct {
		Name string
		ring *Keyring
		copy Keyring
	}{"app", k, *k}
	var out strings.Builder
	for _, v := range []any{k, *k, holder, &holder, []any{k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		b, _ := json.Marshal(v)
		out.Write(b)
	}
	for _, secret := range []string{"KKKK", "4b4b4b", "75 75 75", "0x4b, 0x4b", "S0tL"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is printed:\n%s", secret, out.String())
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := ring(b, Generate())
	sealed, id, _ := k.Seal(place, bytes.Repeat([]byte("x"), 4<<10))
	for b.Loop() {
		if _, err := k.Open(place, id, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

// A derived key is the same in every process, differs by purpose and by active
// key, and is not the key itself.
func TestDerive(t *testing.T) {
	a, b := line("a", 1), line("b", 2)
	one := ring(t, a, b).Derive("one")
	if len(one) != keySize || !bytes.Equal(one, ring(t, a).Derive("one")) {
		t.Errorf("%d bytes, or not the same again", len(one))
	}
	for name, other := range map[string][]byte{
		"other purpose": ring(t, a).Derive("two"), "other active key": ring(t, b, a).Derive("one"), "the key": bytes.Repeat([]byte{1}, keySize),
	} {
		if bytes.Equal(one, other) {
			t.Errorf("the same as %s", name)
		}
	}
}
