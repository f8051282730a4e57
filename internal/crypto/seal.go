package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// AAD says where a secret lives. What is sealed for one place opens in no
// other, so a ciphertext copied from row to row is worthless. All three are
// needed, and the row's id must be known before sealing.
type AAD struct{ Table, Column, Row string }

// The sealed format, version 1:
//
//	1 byte    version
//	60 bytes  DEK under the KEK: nonce 12, key 32, tag 16
//	28 bytes and more: secret under the DEK: nonce 12, text, tag 16
//
// Both parts carry the same additional data: version, table, column, row and
// key id, each with its length in front so that no two places read the same.
const (
	version    = 1
	overhead   = 12 + 16 // nonce and tag of AES-GCM
	wrappedLen = keySize + overhead
)

// Seal encrypts a secret for its place with the active key. keyID is stored
// beside it. Every call draws a new data key and new nonces. CREDENTIALS_LOCKED
// while the keyring is locked.
func (k *Keyring) Seal(aad AAD, plaintext []byte) (sealed []byte, keyID string, err error) {
	if aad.Table == "" || aad.Column == "" || aad.Row == "" {
		return nil, "", fmt.Errorf("crypto: seal without a place: %q", aad)
	}
	if k.lockout != nil {
		return nil, "", apperr.New(apperr.ErrCredentialsLocked)
	}
	keyID = k.Active()
	bound := aad.bytes(keyID)

	var dek [keySize]byte
	defer clear(dek[:])
	rand.Read(dek[:])

	sealed = make([]byte, 1, 1+wrappedLen+overhead+len(plaintext))
	sealed[0] = version
	if sealed, err = encrypt(sealed, k.keys[keyID](), dek[:], bound); err != nil {
		return nil, "", err
	}
	if sealed, err = encrypt(sealed, &dek, plaintext, bound); err != nil {
		return nil, "", err
	}
	return sealed, keyID, nil
}

// Open decrypts what Seal made for the same place. CREDENTIALS_LOCKED when the
// keyring lacks the key: put it back and all is well. CREDENTIALS_TAMPERED when
// the bytes are not what this key sealed for this place: they were changed,
// cut, moved from another row or column, or the key was replaced under its id.
func (k *Keyring) Open(aad AAD, keyID string, sealed []byte) ([]byte, error) {
	kek := k.keys[keyID]
	if kek == nil {
		return nil, apperr.New(apperr.ErrCredentialsLocked).With("key", keyID)
	}
	tampered := func(cause error) error {
		return apperr.New(apperr.ErrCredentialsTampered).With("key", keyID).Because(cause)
	}
	if len(sealed) < 1+wrappedLen+overhead || sealed[0] != version {
		return nil, tampered(errors.New("not in the sealed format"))
	}
	bound := aad.bytes(keyID)
	wrapped, text := sealed[1:1+wrappedLen], sealed[1+wrappedLen:]

	raw, err := decrypt(kek(), wrapped, bound)
	if err != nil {
		return nil, tampered(fmt.Errorf("data key: %w", err))
	}
	defer clear(raw)
	dek := [keySize]byte(raw)
	defer clear(dek[:])
	plaintext, err := decrypt(&dek, text, bound)
	if err != nil {
		return nil, tampered(fmt.Errorf("secret: %w", err))
	}
	return plaintext, nil
}

func (a AAD) bytes(keyID string) []byte {
	b := []byte("shepherd|v1|")
	for _, part := range []string{a.Table, a.Column, a.Row, keyID} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

// gcm puts a random nonce of 96 bits in front of what it seals. A DEK seals
// once, and a KEK is far from the 2^32 messages of SP 800-38D.
func gcm(key *[keySize]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func encrypt(dst []byte, key *[keySize]byte, plaintext, aad []byte) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(dst, nil, plaintext, aad), nil
}

func decrypt(key *[keySize]byte, sealed, aad []byte) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nil, sealed, aad)
}
