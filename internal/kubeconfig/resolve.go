package kubeconfig

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// place is where a cluster is and how it is trusted. server is set whenever it
// is sound, also when something else refuses the cluster.
type place struct {
	server, tlsServerName string
	CA                    domain.Secret
	caExpired             int        // certificates of the bundle that were left out
	caExpires             *time.Time // the first end among those that are left
	refusal               *apperr.AppError
}

// identity is how a user is known to a cluster.
type identity struct {
	kind, subject, issuer string
	expires               *time.Time
	Token, Cert, Key      domain.Secret
	masters               bool // in the group system:masters
	opaque                bool // a token that tells nothing of itself
	refusal               *apperr.AppError
}

// join judges a context by its user and its cluster, in this order.
func (rc rawContext) join(c *Context, id identity, at place, now time.Time) {
	c.Name, c.Namespace, c.Server = rc.name, rc.namespace, at.server
	c.Kind, c.Subject, c.Issuer, c.ExpiresAt = id.kind, id.subject, id.issuer, id.expires
	for _, r := range []*apperr.AppError{rc.refusal, id.refusal, at.refusal} {
		if r != nil {
			c.Refusal = r
			return
		}
	}
	c.Credential = domain.Credential{
		Server: at.server, TLSServerName: at.tlsServerName, CA: at.CA,
		Token: id.Token, ClientCert: id.Cert, ClientKey: id.Key,
	}
	warn := func(code string, params map[string]any) {
		c.Warnings = append(c.Warnings, domain.Problem{Code: code, Params: params})
	}
	soon := now.Add(ExpiryNotice)
	if loopback(at.server) {
		warn(WarnLoopback, nil)
	}
	switch {
	case len(at.CA) == 0:
		warn(WarnSystemRoots, nil)
	case at.caExpires.Before(soon):
		warn(WarnCAExpiresSoon, map[string]any{"expires": *at.caExpires})
	}
	if at.caExpired > 0 {
		warn(WarnCAExpired, map[string]any{"count": at.caExpired})
	}
	if id.masters {
		warn(WarnSystemMasters, nil)
	}
	switch {
	case id.expires == nil && id.opaque:
		warn(WarnUnknownExpiry, nil)
	case id.expires == nil:
		warn(WarnNoExpiry, nil)
	case id.expires.Before(soon):
		warn(WarnExpiresSoon, map[string]any{"expires": *id.expires})
	}
}

// loopback says that a server's address means the machine on which it is used:
// kind, minikube and k3s write such ones. Names are those that tools make.
func loopback(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	name := u.Hostname()
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback() || name == "localhost" || strings.HasSuffix(name, ".localhost") || strings.HasSuffix(name, ".docker.internal")
}

// get is the value of a key, or an empty one at the place where it should be.
func (e entry) get(key string) value {
	if v, ok := e.values[key]; ok {
		return v
	}
	return value{path: e.at.path + "." + key, node: e.at.node}
}

// place reads a cluster.
func (e entry) place(now time.Time) (p place) {
	server, name, ca := e.get("server"), e.get("tls-server-name"), e.get("certificate-authority-data")
	var code string
	p.server, code = serverURL(server.text)
	switch {
	case e.refusal != nil:
		p.refusal = e.refusal
		return p
	case code != "":
		p.refusal = server.refuse(code)
		return p
	}
	if name.text != "" {
		if p.tlsServerName, code = host(name.text); code != "" {
			p.refusal = name.refuse(code)
			return p
		}
	}
	if ca.text != "" {
		if code = p.trust(ca.text, now); code != "" {
			p.refusal = ca.refuse(code)
		}
	}
	return p
}

// rancherPath is the one path that a server may have: Rancher's proxy to one of
// its clusters.
var rancherPath = regexp.MustCompile(`^/k8s/clusters/[a-z0-9-]+$`)

// serverURL gives the normal form of an https URL, or the code of its refusal.
// Where the host leads is checked again when it is dialled: only there is the
// address known.
func serverURL(s string) (normal, code string) {
	if s == "" || len(s) > MaxServer {
		return "", apperr.ErrKubeconfigServer
	}
	if len(s) < 8 || !strings.EqualFold(s[:8], "https://") {
		return "", apperr.ErrKubeconfigHTTPS
	}
	// Also an empty query, fragment or user, which url.Parse drops.
	if strings.ContainsAny(s, "?#@\\%") {
		return "", apperr.ErrKubeconfigServer
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || strings.HasSuffix(u.Host, ":") {
		return "", apperr.ErrKubeconfigServer
	}
	path := strings.TrimSuffix(u.Path, "/")
	if path != "" && !rancherPath.MatchString(path) {
		return "", apperr.ErrKubeconfigServer
	}
	// Brackets are for IPv6, and IPv6 needs them.
	if strings.HasPrefix(u.Host, "[") != strings.Contains(u.Hostname(), ":") {
		return "", apperr.ErrKubeconfigServer
	}
	name, code := host(u.Hostname())
	if code != "" {
		return "", code
	}
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if u.Port() != "" {
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || port == 0 {
			return "", apperr.ErrKubeconfigServer
		}
		name += ":" + strconv.FormatUint(port, 10)
	}
	return "https://" + name + path, ""
}

// dnsLabel is letters, digits and dashes inside (RFC 1123). Names in other
// scripts have to come in their xn-- form.
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// host gives the normal form of an IP address or DNS name, or a code.
func host(s string) (normal, code string) {
	if ip, err := netip.ParseAddr(s); err == nil {
		ip = ip.Unmap()
		switch {
		case ip.Zone() != "":
			return "", apperr.ErrKubeconfigServer
		case ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast(): // never a cluster, whatever the settings
			return "", apperr.ErrAddressNotAllowed
		}
		return ip.String(), ""
	}
	s = strings.ToLower(s)
	if s == "" || len(s) > MaxHost {
		return "", apperr.ErrKubeconfigServer
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if !dnsLabel.MatchString(l) {
			return "", apperr.ErrKubeconfigServer
		}
	}
	// 127.1, 2130706433 and 0x7f.1 are names to us and addresses to resolvers.
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return "", apperr.ErrKubeconfigServer
	}
	return s, ""
}

// certificates reads a bundle of PEM certificates in base64. ok is false when
// anything in it is something else.
func certificates(encoded string) (certs []*x509.Certificate, ok bool) {
	rest, err := unfold(encoded)
	if err != nil {
		return nil, false
	}
	blocks := bytes.Count(rest, []byte("-----BEGIN")) // pem.Decode skips the broken ones
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return certs, len(certs) > 0 && len(certs) == blocks
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return nil, false
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, false
		}
		certs = append(certs, cert)
	}
}

// unfold reads base64 that an editor or a YAML folding may have broken into lines.
func unfold(encoded string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(encoded), ""))
}

// encode writes certificates again, without whatever stood around them.
func encode(certs []*x509.Certificate) domain.Secret {
	var b bytes.Buffer
	for _, c := range certs {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer does not fail
	}
	return b.Bytes()
}

// trust checks a CA bundle and writes it again, or gives the code of its
// refusal. After a rotation a bundle still has the old CA: one that has expired
// is left out when others are left, because nothing can be verified with it.
func (p *place) trust(encoded string, now time.Time) (code string) {
	certs, ok := certificates(encoded)
	switch {
	case !ok:
		return apperr.ErrKubeconfigCA
	case len(certs) > MaxCertificates:
		return apperr.ErrKubeconfigCACount
	}
	var good []*x509.Certificate
	for _, c := range certs {
		switch {
		case !c.BasicConstraintsValid || !c.IsCA:
			return apperr.ErrKubeconfigCALeaf
		case now.After(c.NotAfter):
			p.caExpired++
			continue
		case p.caExpires == nil || c.NotAfter.Before(*p.caExpires):
			p.caExpires = &c.NotAfter
		}
		good = append(good, c)
	}
	if len(good) == 0 {
		return apperr.ErrKubeconfigCAExpired
	}
	p.CA = encode(good)
	return ""
}

// identity reads a user.
func (e entry) identity(now time.Time) (id identity) {
	token, cert, key := e.get("token"), e.get("client-certificate-data"), e.get("client-key-data")
	byCertificate := cert.text != "" || key.text != ""
	switch {
	case e.refusal != nil:
		id.refusal = e.refusal
	case token.text != "" && byCertificate:
		id.refusal = e.at.refuse(apperr.ErrKubeconfigBothKinds)
	case token.text != "":
		id.readToken(token, now)
	case byCertificate:
		id.readCertificate(cert, key, now)
	default:
		id.refusal = e.at.refuse(apperr.ErrKubeconfigNoCredential)
	}
	return id
}

func (id *identity) readToken(token value, now time.Time) {
	id.kind = KindToken
	token.text = strings.TrimSpace(token.text) // a text block of YAML ends with a line break
	if !validToken(token.text) {
		id.refusal = token.refuse(apperr.ErrKubeconfigToken)
		return
	}
	var known bool
	id.subject, id.issuer, id.expires, known = claims(token.text)
	id.opaque = !known
	if id.expires != nil && !now.Before(*id.expires) {
		id.refusal = token.refuse(apperr.ErrKubeconfigTokenExpired)
		return
	}
	id.Token = domain.Secret(token.text)
}

func (id *identity) readCertificate(cert, key value, now time.Time) {
	id.kind = KindCertificate
	chain, ok := certificates(cert.text)
	if !ok || len(chain) > MaxCertificates {
		id.refusal = cert.refuse(apperr.ErrKubeconfigClientCert)
		return
	}
	leaf := chain[0]
	id.subject, id.issuer, id.expires = clean(leaf.Subject.CommonName), clean(leaf.Issuer.CommonName), &leaf.NotAfter
	id.masters = slices.Contains(leaf.Subject.Organization, "system:masters")
	if now.After(leaf.NotAfter) {
		id.refusal = cert.refuse(apperr.ErrKubeconfigCertExpired)
		return
	}
	id.Cert = encode(chain)
	if id.Key, ok = clientKey(id.Cert, key.text); !ok {
		id.refusal = key.refuse(apperr.ErrKubeconfigClientCert)
	}
}

// clientKey reads the one private key that belongs to a certificate.
func clientKey(certPEM []byte, encoded string) (domain.Secret, bool) {
	raw, err := unfold(encoded)
	if err != nil || len(raw) > MaxKey {
		return nil, false
	}
	block, rest := pem.Decode(raw)
	// OpenSSL writes the curve in front of an EC key.
	if block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, false
	}
	key := pem.EncodeToMemory(block)
	if _, err := tls.X509KeyPair(certPEM, key); err != nil {
		return nil, false
	}
	return key, true
}

// visible is what fits into a header as one word. RFC 6750 is narrower, but
// Rancher's tokens have a colon.
var visible = regexp.MustCompile(`^[!-~]+$`)

func validToken(s string) bool { return len(s) <= MaxToken && visible.MatchString(s) }

// maxUnix is the end of the year 9999, beyond which a time has no JSON form.
const maxUnix = 253402300799

// claims reads a JWT without verifying it: only the cluster can. A token that
// is no JWT is opaque and gives nothing; known is false then.
func claims(token string) (subject, issuer string, expires *time.Time, known bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", "", nil, false
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", "", nil, false
	}
	var c struct {
		Sub string   `json:"sub"`
		Iss string   `json:"iss"`
		Exp *float64 `json:"exp"` // seconds, perhaps with a fraction (RFC 7519)
	}
	if json.Unmarshal(body, &c) != nil {
		return "", "", nil, false
	}
	if c.Exp != nil && *c.Exp >= 0 && *c.Exp <= maxUnix {
		t := time.Unix(int64(*c.Exp), 0).UTC()
		expires = &t
	}
	return clean(c.Sub), clean(c.Iss), expires, c.Iss != ""
}
