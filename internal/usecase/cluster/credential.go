package cluster

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Credentials opens the sealed credentials for the provider
// (provider.CredentialStore).
type Credentials struct {
	DB   *database.DB
	Keys *crypto.Keyring
}

// Credential opens the credential of a cluster. CREDENTIALS_LOCKED and
// CREDENTIALS_TAMPERED when it does not open. A cluster that was found to be
// another one is refused with CLUSTER_IDENTITY_CHANGED: as every call of the
// provider comes through here, nothing is done there until it is itself again.
func (c *Credentials) Credential(ctx context.Context, id string) (domain.Credential, int, error) {
	row, err := Find(ctx, c.DB.Ent, id)
	if err != nil {
		return domain.Credential{}, 0, err
	}
	if impostor(row) {
		return domain.Credential{}, 0, apperr.New(apperr.ErrClusterIdentity).With("cluster", row.Name)
	}
	cred, err := open(c.Keys, row)
	return cred, row.CredentialGeneration, err
}

func open(keys *crypto.Keyring, row *ent.Cluster) (domain.Credential, error) {
	var w written
	err := unseal(keys, clusterPlace(row.ID), row.EncryptionKeyID, row.EncryptedKubeconfig, &w)
	if e, ok := apperr.From(err); ok {
		return domain.Credential{}, e.With("cluster", row.Name)
	}
	return w.credential(), err
}

// written is a credential as it is written down for a sealed column, and
// nowhere else.
type written struct {
	Server        string `json:"server"`
	TLSServerName string `json:"tls_server_name,omitempty"`
	CA            []byte `json:"ca,omitempty"`
	Token         []byte `json:"token,omitempty"`
	ClientCert    []byte `json:"client_cert,omitempty"`
	ClientKey     []byte `json:"client_key,omitempty"`
}

func write(c domain.Credential) written {
	return written{c.Server, c.TLSServerName, c.CA, c.Token, c.ClientCert, c.ClientKey}
}

func (w written) credential() domain.Credential {
	return domain.Credential{Server: w.Server, TLSServerName: w.TLSServerName, CA: w.CA, Token: w.Token, ClientCert: w.ClientCert, ClientKey: w.ClientKey}
}

// The places of the sealed columns.
func clusterPlace(id uuid.UUID) crypto.AAD {
	return crypto.AAD{Table: "clusters", Column: "encrypted_kubeconfig", Row: id.String()}
}

func draftPlace(id uuid.UUID) crypto.AAD {
	return crypto.AAD{Table: "cluster_drafts", Column: "sealed", Row: id.String()}
}

func replacementPlace(id uuid.UUID) crypto.AAD {
	return crypto.AAD{Table: "cluster_replacements", Column: "sealed", Row: id.String()}
}

// seal encrypts v as JSON, and wipes the text in between.
func seal(keys *crypto.Keyring, place crypto.AAD, v any) (sealed []byte, keyID string, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, "", fmt.Errorf("seal: %w", err)
	}
	defer clear(text)
	return keys.Seal(place, text)
}

func unseal(keys *crypto.Keyring, place crypto.AAD, keyID string, sealed []byte, v any) error {
	text, err := keys.Open(place, keyID, sealed)
	if err != nil {
		return err
	}
	defer clear(text)
	if json.Unmarshal(text, v) != nil { // whose error could repeat the text
		return apperr.New(apperr.ErrCredentialsTampered).With("key", keyID)
	}
	return nil
}

// fingerprints is what the record keeps of a credential: enough to recognise
// it, nothing to sign in with.
func fingerprints(c domain.Credential, subject string) map[string]any {
	details := map[string]any{"server": c.Server}
	if subject != "" {
		details["subject_sha256"] = digest([]byte(subject))
	}
	if authorities := certificates(c.CA); authorities != nil {
		details["ca_sha256"] = authorities
	}
	return details
}

// Fingerprint recognises a credential, and gives nothing to sign in with.
type Fingerprint struct {
	Credential  string   // SHA-256 of the certificate, or the first 16 digits of that of the token
	Authorities []string // SHA-256 of each certificate of the CA, as openssl x509 -fingerprint -sha256 has it
}

// tokenDigits are enough to tell tokens apart.
const tokenDigits = 16

func fingerprint(c domain.Credential) Fingerprint {
	f := Fingerprint{Authorities: certificates(c.CA)}
	if len(c.Token) > 0 {
		f.Credential = digest(c.Token)[:tokenDigits]
	} else if own := certificates(c.ClientCert); len(own) > 0 {
		f.Credential = own[0]
	}
	return f
}

// certificates are the digests of the certificates in PEM.
func certificates(text []byte) []string {
	var all []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, digest(block.Bytes))
	}
	return all
}

// equal says that two credentials are one and the same.
func equal(a, b domain.Credential) bool {
	return a.Server == b.Server && a.TLSServerName == b.TLSServerName && bytes.Equal(a.CA, b.CA) && hmac.Equal(a.Token, b.Token) &&
		bytes.Equal(a.ClientCert, b.ClientCert) && hmac.Equal(a.ClientKey, b.ClientKey)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
