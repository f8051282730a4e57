package kubevirt

import (
	"context"
	"net/url"

	"k8s.io/client-go/rest"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// CredentialProvider turns a cluster's name into a client configuration
// (contract 5 of the seed). Only Host, BearerToken and TLSClientConfig of the
// answer are used: proxies, dialers, exec plugins and impersonation are not.
type CredentialProvider interface {
	GetRESTConfig(ctx context.Context, clusterName string) (*rest.Config, error)
	// Type names the kind of credential, such as "kubeconfig".
	Type() string
}

// KubeconfigProvider builds configurations by hand from the sealed credentials
// of the clusters. client-go's kubeconfig loader runs commands and reads files
// that the uploaded text names, so it is not used at all.
type KubeconfigProvider struct{ store provider.CredentialStore }

// NewKubeconfigProvider reads credentials from store at every call. The store
// is expected to be near: a row and a decryption.
func NewKubeconfigProvider(store provider.CredentialStore) *KubeconfigProvider {
	return &KubeconfigProvider{store}
}

// Type says "kubeconfig".
func (*KubeconfigProvider) Type() string { return "kubeconfig" }

// GetRESTConfig opens the credential of a cluster. Errors are those of the
// store, or KUBECONFIG_* when what is stored cannot be used.
func (p *KubeconfigProvider) GetRESTConfig(ctx context.Context, clusterName string) (*rest.Config, error) {
	// The generation is not needed: the client cache compares the credential
	// itself and so notices every change.
	cred, _, err := p.store.Credential(ctx, clusterName)
	if err != nil {
		return nil, err
	}
	return restConfig(cred)
}

// restConfig repeats the rules of the upload that make a connection safe, so
// that no other way of storing a credential can go around them.
func restConfig(c domain.Credential) (*rest.Config, error) {
	u, err := url.Parse(c.Server)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, apperr.New(apperr.ErrKubeconfigServer)
	case u.Scheme != "https":
		return nil, apperr.New(apperr.ErrKubeconfigHTTPS)
	case len(c.Token) == 0 && (len(c.ClientCert) == 0 || len(c.ClientKey) == 0):
		return nil, apperr.New(apperr.ErrKubeconfigNoCredential)
	}
	return &rest.Config{
		Host:        u.String(),
		BearerToken: string(c.Token),
		TLSClientConfig: rest.TLSClientConfig{
			ServerName: c.TLSServerName,
			CAData:     c.CA, CertData: c.ClientCert, KeyData: c.ClientKey,
		},
	}, nil
}
