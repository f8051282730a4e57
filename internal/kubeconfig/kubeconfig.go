// Package kubeconfig reads kubeconfigs that somebody uploaded. It is a strict
// parser of its own: client-go runs programs, reads files and obeys proxies
// while it loads one, and its errors repeat tokens. Here nothing is opened, run
// or dialled, every key must be on a list, and an error holds a key path and a
// line, never a value.
//
// A fault of the file (syntax, shape, unknown key) refuses it as a whole. A
// forbidden or broken cluster or user refuses only the contexts that use it, so
// that a person can choose another context of the same file.
package kubeconfig

import (
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// The limits of an upload. Kubeconfigs with fifty contexts stay far below them.
const (
	MaxSize         = 64 << 10 // bytes of the file
	MaxDepth        = 16       // nested mappings and lists
	MaxNodes        = 2000     // keys and values
	MaxName         = 253      // bytes of the name of a cluster, user or context
	MaxServer       = 512      // bytes of the server's URL
	MaxHost         = 253      // bytes of a host name (RFC 1035)
	MaxToken        = 16 << 10 // bytes
	MaxCertificates = 8        // in a CA bundle or a client's chain
	MaxKey          = 8 << 10  // bytes of a client key in PEM; RSA 8192 has 6.4 KiB

	// ExpiryNotice is how long before its end a credential gets a warning.
	ExpiryNotice = 30 * 24 * time.Hour
)

// How a context signs in.
const (
	KindToken       = "token"
	KindCertificate = "certificate"
)

// The warnings about a usable context. Their sentences are in internal/i18n.
const (
	WarnExpiresSoon   = "KUBECONFIG_EXPIRES_SOON"    // params: expires (time)
	WarnNoExpiry      = "KUBECONFIG_NO_EXPIRY"       // a token that is good for ever
	WarnUnknownExpiry = "KUBECONFIG_UNKNOWN_EXPIRY"  // an opaque token, such as OpenShift's and Rancher's
	WarnSystemRoots   = "KUBECONFIG_SYSTEM_ROOTS"    // no CA in the file: the portal machine's roots are trusted
	WarnCAExpiresSoon = "KUBECONFIG_CA_EXPIRES_SOON" // params: expires (time)
	WarnCAExpired     = "KUBECONFIG_CA_LEFT_OUT"     // params: count of the CAs that have expired, beside others
	WarnSystemMasters = "KUBECONFIG_SYSTEM_MASTERS"  // the certificate is in system:masters, beyond RBAC
	WarnLoopback      = "KUBECONFIG_LOOPBACK"        // the address means the portal's own machine
)

// WarningCodes lists all warnings, for the test that wants a sentence for each.
func WarningCodes() []string {
	return []string{WarnExpiresSoon, WarnNoExpiry, WarnUnknownExpiry, WarnSystemRoots, WarnCAExpiresSoon, WarnCAExpired, WarnSystemMasters, WarnLoopback}
}

// File is an uploaded kubeconfig that has the right shape.
type File struct {
	Contexts []Context // in the order of the file, at least one
	Current  string    // name of the current context, or ""
}

// Context is one line of the choice that an admin gets. All its texts come from
// the file: they are cleaned and cut, but to be escaped like any foreign text.
type Context struct {
	Name, Cluster, User string // as named in the file
	Namespace           string // its default namespace, for reading only
	Server              string // normalised https URL, "" when the file's is refused

	// Credential is what would be stored. It is zero when the context is
	// refused, and no encoder of this struct writes it.
	Credential domain.Credential `json:"-"`
	// Refusal is why the context cannot be used; nil: it can. It has the
	// parameters path and line, and login, the name of a Login's product.
	Refusal *apperr.AppError
	Login   Login // the program that signs in; "" without one

	Kind      string           // KindToken or KindCertificate, "" without a credential
	Subject   string           // JWT sub or certificate CN; not verified
	Issuer    string           // JWT iss or certificate issuer's CN; not verified
	ExpiresAt *time.Time       // JWT exp or certificate end; nil: unknown or never
	Warnings  []domain.Problem // of a usable context
}

// Usable says whether the context can be chosen.
func (c Context) Usable() bool { return c.Refusal == nil }

// Pick returns the usable context of that name. An unknown name is an
// INVALID_CHOICE, a refused context answers with its refusal.
func (f *File) Pick(name string) (Context, error) {
	for _, c := range f.Contexts {
		switch {
		case c.Name != name:
		case c.Refusal != nil:
			return Context{}, c.Refusal
		default:
			return c, nil
		}
	}
	return Context{}, apperr.New(apperr.ErrInvalidChoice)
}

// Parse reads an uploaded kubeconfig, also one inside the manifest of a Secret.
// now decides what has expired. The error is an *errors.AppError with a
// KUBECONFIG_* code and the parameters path (key path, such as
// users[0].user.exec), line, limit and login, where they apply. When the file is
// sound but no context is usable, the error is the refusal of the current
// context, else of the first, and the file is returned beside it so that each
// context's refusal can be shown.
func Parse(data []byte, now time.Time) (*File, error) {
	root, refusal := document(data)
	if refusal != nil {
		return nil, refusal
	}
	var secret string // key of the Secret that the file was in
	if isSecret(root) {
		if root, secret, refusal = unwrap(root); refusal != nil {
			return nil, refusal
		}
	}
	raw, refusal := read(root)
	if refusal != nil {
		return nil, inside(secret, refusal)
	}

	// Each cluster and user is judged once, however many contexts share it.
	var places []place
	for _, e := range raw.clusters {
		places = append(places, e.place(now))
	}
	var identities []identity
	for _, e := range raw.users {
		identities = append(identities, e.identity(now))
	}

	file := &File{Current: raw.current}
	var first *apperr.AppError // the current context's refusal, else the first
	usable := false
	for _, rc := range raw.contexts {
		var (
			id identity
			at place
			c  Context
		)
		if rc.user >= 0 {
			id, c.User, c.Login = identities[rc.user], raw.users[rc.user].name, raw.users[rc.user].login
		}
		if rc.cluster >= 0 {
			at, c.Cluster = places[rc.cluster], raw.clusters[rc.cluster].name
		}
		rc.join(&c, id, at, now)
		c.Refusal = inside(secret, c.Refusal)
		file.Contexts = append(file.Contexts, c)
		usable = usable || c.Usable()
		if first == nil || c.Name == file.Current {
			first = c.Refusal
		}
	}
	if !usable {
		return file, first
	}
	return file, nil
}
