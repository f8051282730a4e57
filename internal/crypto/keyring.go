// Package crypto keeps the portal's secrets sealed in the database: envelope
// encryption with keys that live outside of it. A key-encryption key (KEK) of
// the keyring wraps a fresh data key (DEK) per secret, AES-256-GCM both, bound
// to the table, column and row where the secret lives and to the key's id.
package crypto

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

const (
	keySize        = 32       // bytes, AES-256
	maxKeyringSize = 64 << 10 // bytes of a key file
)

// ErrNoKey means that neither a key file nor SHEPHERD_KEK is set.
var ErrNoKey = errors.New("no encryption key: set SHEPHERD_KEK_FILE or SHEPHERD_KEK")

// keyID goes into a column, a log line and the file format, so it is plain.
var keyID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// Keyring holds the KEKs. The first seals, all of them open; it never changes
// after Load, so it may be used by many goroutines. It prints its ids only.
type Keyring struct {
	ids     []string // in the order of the file
	keys    map[string]hidden
	lost    []string // ids whose keys are gone for good, as the file says
	lockout *domain.Lockout
}

// hidden is a key inside a function: fmt, slog and JSON print an address or
// nothing, also when the keyring is an unexported field of another struct,
// where Format is not called.
type hidden func() *[keySize]byte

// lostMark stands in a line of the key file in the place of a key that nobody
// has any more. It is how an operator says that what this key sealed need not be
// waited for.
const lostMark = "lost"

// Load reads the keyring from a file, or from env, the value of SHEPHERD_KEK.
// Either holds one or more lines "id:base64 of 32 bytes"; the first is active,
// the others are retired and only open what they sealed. "id:lost" says that a
// key is gone for good. Empty lines and lines that start with # are skipped.
// Errors name a line, never its content.
func Load(file, env string) (*Keyring, error) {
	switch {
	case file != "" && env != "":
		return nil, errors.New("both SHEPHERD_KEK_FILE and SHEPHERD_KEK are set: keep one")
	case file != "":
		text, err := readPrivate(file)
		if err != nil {
			return nil, fmt.Errorf("key file: %w", err)
		}
		defer clear(text)
		k, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", file, err)
		}
		return k, nil
	case env != "":
		k, err := parse(env)
		if err != nil {
			return nil, fmt.Errorf("SHEPHERD_KEK: %w", err)
		}
		return k, nil
	default:
		return nil, ErrNoKey
	}
}

// readPrivate reads a regular file that only its owner and group may touch.
// The group is tolerated because Kubernetes mounts secrets that way (fsGroup).
func readPrivate(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat() // of the open file: the name may point elsewhere a moment later
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	if perm := info.Mode().Perm(); perm&0o007 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so every user of this machine can reach it: run chmod 600 %s", file, perm, file)
	}
	if info.Size() > maxKeyringSize {
		return nil, fmt.Errorf("%s is larger than %d bytes", file, maxKeyringSize)
	}
	return io.ReadAll(io.LimitReader(f, maxKeyringSize))
}

func parse(text string) (*Keyring, error) {
	k := &Keyring{keys: map[string]hidden{}}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		id, encoded, _ := strings.Cut(line, ":")
		if !keyID.MatchString(id) {
			return nil, fmt.Errorf("line %d: want id:key, the id of lower-case letters, digits and dashes", n)
		}
		if k.keys[id] != nil || slices.Contains(k.lost, id) {
			return nil, fmt.Errorf("line %d: this id is there twice", n)
		}
		if encoded == lostMark {
			k.lost = append(k.lost, id)
			continue
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil || len(raw) != keySize {
			return nil, fmt.Errorf("line %d: want %d bytes in base64 after the id", n, keySize)
		}
		key := [keySize]byte(raw)
		clear(raw)
		for _, other := range k.keys {
			if hmac.Equal(other()[:], key[:]) {
				return nil, fmt.Errorf("line %d: this key is there twice, under two ids", n)
			}
		}
		k.ids = append(k.ids, id)
		k.keys[id] = func() *[keySize]byte { return &key }
	}
	if len(k.ids) == 0 {
		return nil, errors.New("holds no key")
	}
	return k, nil
}

// Generate makes one line of a keyring: a random id and a random key.
func Generate() string {
	var id [4]byte
	var key [keySize]byte
	rand.Read(id[:]) // never fails: the program ends when the system has no randomness
	rand.Read(key[:])
	defer clear(key[:])
	return "k-" + hex.EncodeToString(id[:]) + ":" + base64.StdEncoding.EncodeToString(key[:])
}

// WriteNew writes a keyring with one new key, readable by its owner only. It
// never replaces a file (fs.ErrExist): the old one may be the only key to a
// database. On any error nothing is left behind.
func WriteNew(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(path)
		}
	}()
	_, err = f.WriteString(Generate() + "\n")
	// On disk before anything is sealed with it, the directory entry too.
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Lock is the keyring after it was found not to be the one that sealed what is
// stored: it opens what its good keys sealed, and seals and signs nothing, so
// that nothing comes to depend on a key file that was put there by mistake. Keys
// that are wrong are left out. A nil keyring is one that could not be read.
func (k *Keyring) Lock(l domain.Lockout) *Keyring {
	locked := &Keyring{keys: map[string]hidden{}, lockout: &l}
	if k == nil {
		return locked
	}
	locked.lost = k.lost
	for _, id := range k.ids {
		if !slices.Contains(l.Wrong, id) {
			locked.ids, locked.keys[id] = append(locked.ids, id), k.keys[id]
		}
	}
	return locked
}

// Locked is why the keyring seals and signs nothing; nil when it does.
func (k *Keyring) Locked() *domain.Lockout { return k.lockout }

// Active is the id of the key that seals; "" while the keyring is locked.
func (k *Keyring) Active() string {
	if k.lockout != nil {
		return ""
	}
	return k.ids[0]
}

// IDs lists all keys, the active one first.
func (k *Keyring) IDs() []string { return slices.Clone(k.ids) }

// Lost lists the ids whose keys are gone for good.
func (k *Keyring) Lost() []string { return slices.Clone(k.lost) }

// Derive makes a key of 32 bytes for one purpose from the active key. It tells
// nothing about that key, and changes when another one becomes active. It is nil
// while the keyring is locked.
func (k *Keyring) Derive(purpose string) domain.Secret { return k.DeriveFrom(k.Active(), purpose) }

// DeriveFrom does so from the key with the given id; it is nil when the ring
// has no such key.
func (k *Keyring) DeriveFrom(id, purpose string) domain.Secret {
	from := k.keys[id]
	if from == nil {
		return nil
	}
	key, err := hkdf.Key(sha256.New, from()[:], nil, purpose, keySize)
	if err != nil { // only for a length that cannot be
		panic(err)
	}
	return key
}

// Fingerprint identifies a key without giving anything away about it: two
// machines or a backup can be compared by it. It is "" for an unknown id.
func (k *Keyring) Fingerprint(id string) string {
	key := k.keys[id]
	if key == nil {
		return ""
	}
	mac := hmac.New(sha256.New, key()[:])
	mac.Write([]byte("shepherd key fingerprint v1"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// Format prints the ids, whatever the verb.
func (k Keyring) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "keyring(%s)", strings.Join(k.ids, " "))
}

// LogValue logs the ids.
func (k Keyring) LogValue() slog.Value { return slog.AnyValue(k.ids) }
