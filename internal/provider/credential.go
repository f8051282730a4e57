package provider

import (
	"context"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// CredentialStore opens the sealed credential of a cluster. The provider's
// CredentialProvider (kubevirt.CredentialProvider, contract 5 of the seed)
// stands on it and turns the credential into a client configuration by hand:
// client-go never parses what somebody uploaded.
type CredentialStore interface {
	// Credential answers with the credential and its generation, which rises
	// with every replacement, so that a client built from an old one can be
	// thrown away. CREDENTIALS_LOCKED when no key opens it, NOT_FOUND when
	// there is no such cluster.
	Credential(ctx context.Context, cluster string) (domain.Credential, int, error)
}
