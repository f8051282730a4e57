// Package kubeconfigtest is a corpus of kubeconfigs, good and bad, with real
// certificates and keys, for every test that uploads one: the parser's, the use
// case's, the form's. Each bad file comes with the code that it must get and
// with canaries, the secrets in it that no answer, log or page may repeat.
package kubeconfigtest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"iter"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"kubevirt-shepherd.io/shepherd/internal/kubeconfig"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Canaries that the corpus puts into files. They are plain enough to survive
// any encoding of an answer, so a search for them finds every leak.
const (
	Token    = "CANARY-token-5d1c0a7e"
	Password = "CANARY-password-91fe22"
	Content  = "CANARY-content-c0ffee77" // in a value that is no secret by its kind
)

// Case is one kubeconfig.
type Case struct {
	Name     string
	Data     []byte
	Code     string   // of the error that Parse returns; "" for a good file
	Path     string   // parameter path of the error, "" when it has none
	Canaries []string // may appear nowhere

	// Of a good file: what its first context must say.
	Server string
	Kind   string // kubeconfig.KindToken or KindCertificate
}

// Pair is a certificate and its key in PEM.
type Pair struct{ Cert, Key []byte }

// Authority is a CA that signs certificates for tests.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	PEM  []byte
}

// NewAuthority makes a CA that ends at the given time.
func NewAuthority(t testing.TB, notAfter time.Time) *Authority {
	t.Helper()
	a := &Authority{t: t, key: newKey(t)}
	tmpl := template("test CA", notAfter)
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
	a.cert, a.PEM = sign(t, tmpl, tmpl, &a.key.PublicKey, a.key)
	return a
}

// Client signs a client certificate for a user and its groups.
func (a *Authority) Client(notAfter time.Time, user string, groups ...string) Pair {
	a.t.Helper()
	key := newKey(a.t)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return Pair{a.client(notAfter, &key.PublicKey, user, groups...), block("EC PRIVATE KEY", der)}
}

func (a *Authority) client(notAfter time.Time, public crypto.PublicKey, user string, groups ...string) []byte {
	tmpl := template(user, notAfter)
	tmpl.Subject.Organization = groups
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	_, out := sign(a.t, tmpl, a.cert, public, a.key)
	return out
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func template(cn string, notAfter time.Time) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: cn}, NotBefore: notAfter.Add(-2 * 365 * 24 * time.Hour), NotAfter: notAfter}
}

func sign(t testing.TB, tmpl, parent *x509.Certificate, public crypto.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, []byte) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, block("CERTIFICATE", der)
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// JWT makes a token of that subject and end, signed by nobody.
func JWT(subject string, expires time.Time) string {
	part := func(v any) string {
		b, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(map[string]string{"alg": "RS256"}) + "." +
		part(map[string]any{"iss": "https://kubernetes.default.svc", "sub": subject, "exp": expires.Unix()}) + "." +
		base64.RawURLEncoding.EncodeToString([]byte("CANARY-signature"))
}

// Config writes a kubeconfig with one context "main" of the cluster "c" and the
// user "u". cluster and user are the lines of their mappings, without indent.
func Config(cluster, user string) []byte {
	return fmt.Appendf(nil, "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster:\n%susers:\n- name: u\n  user:\n%s"+
		"contexts:\n- name: main\n  context:\n    cluster: c\n    user: u\ncurrent-context: main\n", indent(cluster), indent(user))
}

func indent(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(lines, "\n") + "\n") {
		b.WriteString("    " + line)
	}
	return b.String()
}

// Base64 is how a kubeconfig holds certificates and keys.
func Base64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

const (
	address = "https://10.0.0.1:6443"
	server  = "server: " + address + "\n"
	token   = "token: " + Token + "\n"
)

// Good is a corpus of kubeconfigs that must be accepted.
func Good(t testing.TB) []Case {
	t.Helper()
	later := time.Now().Add(365 * 24 * time.Hour)
	ca := NewAuthority(t, later)
	trust := "certificate-authority-data: " + Base64(ca.PEM) + "\n"
	client := ca.Client(later, "alice", "dev")
	signIn := "client-certificate-data: " + Base64(client.Cert) + "\nclient-key-data: " + Base64(client.Key) + "\n"
	at := func(url string) []byte { return Config("server: "+url+"\n"+trust, token) }
	serviceAccount := JWT("system:serviceaccount:shepherd-system:shepherd", later)
	tok, cert := kubeconfig.KindToken, kubeconfig.KindCertificate

	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	rsaSignIn := "client-certificate-data: " + Base64(ca.client(later, &rsaKey.PublicKey, "bob")) +
		"\nclient-key-data: " + Base64(block("PRIVATE KEY", pkcs8)) + "\n"
	next, old := NewAuthority(t, later), NewAuthority(t, time.Now().Add(-time.Hour))
	wrapped := strings.Join(slices.Collect(lines(Base64(ca.PEM), 64)), "\n  ")
	ecParameters := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"

	asJSON, err := json.MarshalIndent(map[string]any{
		"apiVersion": "v1", "kind": "Config", "preferences": map[string]any{}, "current-context": "main",
		"clusters": []any{map[string]any{"name": "c", "cluster": map[string]any{"server": address, "certificate-authority-data": Base64(ca.PEM)}}},
		"users":    []any{map[string]any{"name": "u", "user": map[string]any{"token": Token}}},
		"contexts": []any{map[string]any{"name": "main", "context": map[string]any{"cluster": "c", "user": "u"}}},
	}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}

	var many strings.Builder
	many.WriteString("apiVersion: v1\nkind: Config\nusers:\n- {name: u, user: {token: " + Token + "}}\nclusters:\n- {name: c, cluster: {server: '" + address + "'}}\ncontexts:\n")
	for i := range 50 {
		fmt.Fprintf(&many, "- {name: ctx-%02d, context: {cluster: c, user: u, namespace: ns-%d}}\n", i, i)
	}

	twoUsers := bytes.Replace(Config(server+trust, token), []byte("contexts:\n"), []byte("- name: cloud\n  user: {exec: {command: kubelogin}}\ncontexts:\n"), 1)
	twoUsers = bytes.Replace(twoUsers, []byte("current-context: main"), []byte("- name: other\n  context: {cluster: c, user: cloud}\ncurrent-context: other"), 1)

	cases := []Case{
		{Name: "token", Data: Config(server+trust, token), Server: address, Kind: tok},
		{Name: "service account token", Data: Config(server+trust, "token: "+serviceAccount), Server: address, Kind: tok},
		{Name: "expired JWT shape that is none", Data: Config(server+trust, "token: a.b.c"), Server: address, Kind: tok},
		{Name: "Rancher token with a colon", Data: Config(server+trust, "token: 'kubeconfig-u-1:"+Token+"'"), Server: address, Kind: tok},
		{Name: "client certificate", Data: Config(server+trust, signIn), Server: address, Kind: cert},
		{Name: "client certificate, RSA in PKCS 8", Data: Config(server+trust, rsaSignIn), Server: address, Kind: cert},
		{Name: "EC parameters before the key", Data: Config(server+trust, "client-certificate-data: "+Base64(client.Cert)+
			"\nclient-key-data: "+Base64(append([]byte(ecParameters), client.Key...))), Server: address, Kind: cert},
		{Name: "no CA", Data: Config(server, token), Server: address, Kind: tok},
		{Name: "eight CAs", Data: Config(server+"certificate-authority-data: "+Base64(bytes.Repeat(ca.PEM, 8)), token), Server: address, Kind: tok},
		{Name: "text around the CA", Data: Config(server+"certificate-authority-data: "+Base64(append([]byte("# our CA\n"), ca.PEM...)), token), Server: address, Kind: tok},
		{Name: "tls-server-name", Data: Config(server+trust+"tls-server-name: kubernetes.default", token), Server: address, Kind: tok},
		{Name: "insecure-skip-tls-verify: false", Data: Config(server+trust+"insecure-skip-tls-verify: false", token), Server: address, Kind: tok},
		{Name: "empty forbidden keys", Data: Config(server+trust+"proxy-url: ''\ncertificate-authority: ''", token+"exec: null\nusername: ''\npassword: ''"), Server: address, Kind: tok},
		{Name: "JSON with tabs", Data: asJSON, Server: address, Kind: tok},
		{Name: "byte order mark and CRLF", Data: append([]byte("\ufeff"), bytes.ReplaceAll(Config(server+trust, token), []byte("\n"), []byte("\r\n"))...), Server: address, Kind: tok},
		{Name: "document markers and comments", Data: append([]byte("# mine\n---\n"), append(Config(server+trust, token), "...\n"...)...), Server: address, Kind: tok},
		{Name: "many contexts, no current one", Data: []byte(many.String()), Server: address, Kind: tok},
		{Name: "extensions and preferences", Data: append(Config(server+trust+"extensions: [{name: a, extension: {provider: minikube}}]", token),
			"preferences: {colors: true}\nextensions: []\n"...), Server: address, Kind: tok},
		{Name: "a second context, the current one, with exec", Data: twoUsers, Server: address, Kind: tok},
		{Name: "Rancher path", Data: at("https://rancher.example.com/k8s/clusters/c-m-abc123"), Server: "https://rancher.example.com/k8s/clusters/c-m-abc123", Kind: tok},
		{Name: "trailing slash, upper case", Data: at("HTTPS://API.Example.com:06443/"), Server: "https://api.example.com:6443", Kind: tok},
		{Name: "IPv6", Data: at("https://[2001:DB8::1]:6443"), Server: "https://[2001:db8::1]:6443", Kind: tok},
		{Name: "IPv4 inside IPv6", Data: at("https://[::ffff:10.0.0.1]:6443"), Server: address, Kind: tok},
		{Name: "loopback, which the dialler judges", Data: at("https://127.0.0.1:6443"), Server: "https://127.0.0.1:6443", Kind: tok},
		{Name: "Rancher's own cluster", Data: at("https://rancher.example.com/k8s/clusters/local"), Server: "https://rancher.example.com/k8s/clusters/local", Kind: tok},
		{Name: "opaque token of OpenShift", Data: Config(server+trust, "token: sha256~"+Token), Server: address, Kind: tok},
		{Name: "token in a text block", Data: Config(server+trust, "token: |\n  "+Token), Server: address, Kind: tok},
		{Name: "base64 in lines", Data: Config(server+"certificate-authority-data: >-\n  "+wrapped, token), Server: address, Kind: tok},
		{Name: "bundle of several CAs", Data: Config(server+"certificate-authority-data: "+Base64(append(bytes.Clone(ca.PEM), next.PEM...)), token), Server: address, Kind: tok},
		{Name: "bundle with a CA that has expired", Data: Config(server+"certificate-authority-data: "+Base64(append(bytes.Clone(old.PEM), ca.PEM...)), token), Server: address, Kind: tok},
		{Name: "UTF-16, little endian", Data: UTF16(binary.LittleEndian, Config(server+trust, token)), Server: address, Kind: tok},
		{Name: "UTF-16, big endian, CRLF", Data: UTF16(binary.BigEndian, bytes.ReplaceAll(Config(server+trust, token), []byte("\n"), []byte("\r\n"))), Server: address, Kind: tok},
		{Name: "disable-compression", Data: Config(server+trust+"disable-compression: true", token), Server: address, Kind: tok},
		{Name: "empty namespace", Data: bytes.Replace(Config(server+trust, token), []byte("    user: u\n"), []byte("    user: u\n    namespace: \"\"\n"), 1), Server: address, Kind: tok},
		{Name: "current context that was deleted", Data: bytes.Replace(Config(server, token), []byte("current-context: main"), []byte("current-context: gone"), 1), Server: address, Kind: tok},
		{Name: "context whose user was deleted, beside a good one", Data: bytes.Replace(Config(server, token), []byte("current-context"), []byte("- {name: left, context: {cluster: c, user: gone}}\ncurrent-context"), 1), Server: address, Kind: tok},
		{Name: "cluster and user without a context, and dangerous", Data: bytes.Replace(bytes.Replace(Config(server, token),
			[]byte("users:\n"), []byte("- {name: odd, cluster: {server: 'http://x', proxy-url: 'http://p', insecure-skip-tls-verify: true}}\nusers:\n"), 1),
			[]byte("contexts:\n"), []byte("- {name: odd, user: {exec: {command: sh}, tokenFile: /etc/x, as: root}}\ncontexts:\n"), 1), Server: address, Kind: tok},
		{Name: "Secret of the Cluster API", Data: Secret("data", "value", Base64(Config(server+trust, token))), Server: address, Kind: tok},
		{Name: "Secret with text", Data: Secret("stringData", "kubeconfig.yaml", "|\n"+indent(string(Config(server+trust, token)))), Server: address, Kind: tok},
		{Name: "Secret of Kamaji, with several", Data: Secret("data", "admin.conf", Base64(Config(server, token))+"\n  super-admin.conf: "+Base64(Config("server: https://10.0.0.2", token))), Server: address, Kind: tok},
		{Name: "name in another script, encoded", Data: at("https://xn--bcher-kva.example:6443"), Server: "https://xn--bcher-kva.example:6443", Kind: tok},
	}
	cases = append(cases, tools(ca, client)...)
	for i := range cases {
		cases[i].Canaries = []string{Token, serviceAccount, secretPart(client.Key)}
	}
	return cases
}

// UTF16 writes a text as Windows does, with a byte order mark.
func UTF16(order binary.AppendByteOrder, text []byte) []byte {
	out := order.AppendUint16(nil, 0xfeff)
	for _, unit := range utf16.Encode([]rune(string(text))) {
		out = order.AppendUint16(out, unit)
	}
	return out
}

// Secret is a manifest with a value at a key; field is data or stringData.
func Secret(field, key, value string) []byte {
	return fmt.Appendf(nil, "apiVersion: v1\nkind: Secret\nmetadata:\n  name: east-kubeconfig\n  namespace: default\ntype: cluster.x-k8s.io/secret\n%s:\n  %s: %s\n", field, key, value)
}

// tools are files as the tools of the world write them.
func tools(ca *Authority, client Pair) []Case {
	authority := Base64(ca.PEM)
	cert, key := Base64(client.Cert), Base64(client.Key)
	folded := strings.Join(slices.Collect(lines(authority, 76)), "\\\n      ")
	file := func(cluster, user, context, server, signIn string) []byte {
		return fmt.Appendf(nil, `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %s
    server: %s
  name: %s
contexts:
- context:
    cluster: %s
    user: %s
  name: %s
current-context: %s
kind: Config
preferences: {}
users:
- name: %s
  user:
    %s
`, authority, server, cluster, cluster, user, context, context, user, strings.ReplaceAll(signIn, "\n", "\n    "))
	}
	pair := "client-certificate-data: " + cert + "\nclient-key-data: " + key
	return []Case{
		{Name: "kubeadm", Data: file("kubernetes", "kubernetes-admin", "kubernetes-admin@kubernetes", "https://10.0.0.10:6443", pair), Server: "https://10.0.0.10:6443", Kind: kubeconfig.KindCertificate},
		{Name: "k3s", Data: file("default", "default", "default", "https://127.0.0.1:6443", pair), Server: "https://127.0.0.1:6443", Kind: kubeconfig.KindCertificate},
		{Name: "RKE2", Data: file("default", "default", "default", "https://rke2.example.com:6443", pair), Server: "https://rke2.example.com:6443", Kind: kubeconfig.KindCertificate},
		{Name: "kind", Data: file("kind-east", "kind-east", "kind-east", "https://127.0.0.1:36443", pair), Server: "https://127.0.0.1:36443", Kind: kubeconfig.KindCertificate},
		{Name: "OpenShift", Data: file("api-east-example-com:6443", "kube:admin/api-east-example-com:6443", "default/api-east-example-com:6443/kube:admin", "https://api.east.example.com:6443", "token: sha256~"+Token), Server: "https://api.east.example.com:6443", Kind: kubeconfig.KindToken},
		{Name: "names with odd characters", Data: file(`"a b/c:d@e'f\"g$(h)"`, `"\u00fcser"`, `"\u4e1c # 1"`, address, "token: "+Token), Server: address, Kind: kubeconfig.KindToken},
		{Name: "minikube with --embed-certs", Data: fmt.Appendf(nil, `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %s
    extensions:
    - extension:
        last-update: Mon, 05 Oct 2026 08:22:31 UTC
        provider: minikube.sigs.k8s.io
        version: v1.37.0
      name: cluster_info
    server: https://192.168.49.2:8443
  name: minikube
contexts:
- context:
    cluster: minikube
    extensions:
    - extension:
        last-update: Mon, 05 Oct 2026 08:22:31 UTC
        provider: minikube.sigs.k8s.io
        version: v1.37.0
      name: context_info
    namespace: default
    user: minikube
  name: minikube
current-context: minikube
kind: Config
users:
- name: minikube
  user:
    client-certificate-data: %s
    client-key-data: %s
`, authority, cert, key), Server: "https://192.168.49.2:8443", Kind: kubeconfig.KindCertificate},
		{Name: "Rancher", Data: fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: "east"
  cluster:
    server: "https://rancher.example.com/k8s/clusters/c-m-4x7kq2bz"
    certificate-authority-data: "%s"
- name: "east-node1"
  cluster:
    server: "https://10.0.0.11:6443"

users:
- name: "east"
  user:
    token: "kubeconfig-user-x8k2v:%s"


contexts:
- name: "east"
  context:
    user: "east"
    cluster: "east"
- name: "east-node1"
  context:
    user: "east"
    cluster: "east-node1"

current-context: "east"
`, folded, Token), Server: "https://rancher.example.com/k8s/clusters/c-m-4x7kq2bz", Kind: kubeconfig.KindToken},
	}
}

// lines cuts a text into lines of a length.
func lines(text string, length int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(text) > length {
			if !yield(text[:length]) {
				return
			}
			text = text[length:]
		}
		yield(text)
	}
}

// Logins are users, as the mapping of a file, that a program signs in.
func Logins() []struct {
	Name, User string
	Login      kubeconfig.Login
} {
	exec := func(command string, args ...string) string {
		quoted, _ := json.Marshal(args)
		return fmt.Sprintf("exec: {apiVersion: client.authentication.k8s.io/v1, command: %q, args: %s, env: [{name: SECRET, value: %s}], interactiveMode: IfAvailable, provideClusterInfo: false}", command, quoted, Password)
	}
	return []struct {
		Name, User string
		Login      kubeconfig.Login
	}{
		{"aws", exec("aws", "--region", "eu-central-1", "eks", "get-token", "--cluster-name", "east", "--output", "json"), kubeconfig.LoginEKS},
		{"aws in aws-vault", exec("/usr/local/bin/aws-vault", "exec", "ops", "--", "aws", "eks", "get-token", "--cluster-name", "east"), kubeconfig.LoginEKS},
		{"aws in a shell", exec("sh", "-c", "aws eks get-token --cluster-name east"), kubeconfig.LoginEKS},
		{"aws-iam-authenticator", exec("aws-iam-authenticator", "token", "-i", "east"), kubeconfig.LoginEKS},
		{"aws for something else", exec("aws", "sts", "get-caller-identity"), kubeconfig.LoginProgram},
		{"GKE", exec("gke-gcloud-auth-plugin"), kubeconfig.LoginGKE},
		{"GKE on Windows", exec(`C:\Program Files\Google\Cloud SDK\bin\gke-gcloud-auth-plugin.exe`), kubeconfig.LoginGKE},
		{"GKE, old", "auth-provider: {name: gcp, config: {access-token: " + Token + ", cmd-path: /usr/bin/gcloud, expiry-key: '{.credential.token_expiry}'}}", kubeconfig.LoginGKE},
		{"AKS", exec("kubelogin", "get-token", "--environment", "AzurePublicCloud", "--server-id", "6dae42f8", "--login", "devicecode"), kubeconfig.LoginAKS},
		{"AKS, old", "auth-provider: {name: azure, config: {apiserver-id: x, client-id: y}}", kubeconfig.LoginAKS},
		{"OIDC by kubectl", exec("kubectl", "oidc-login", "get-token", "--oidc-issuer-url=https://sso.example.com", "--oidc-client-secret="+Password), kubeconfig.LoginOIDC},
		{"OIDC by kubelogin", exec("kubelogin", "get-token", "--oidc-issuer-url=https://sso.example.com"), kubeconfig.LoginOIDC},
		{"OIDC, old", "auth-provider: {name: oidc, config: {id-token: " + Token + ", refresh-token: " + Token + "}}", kubeconfig.LoginOIDC},
		{"Rancher", exec("rancher", "token", "--server=rancher.example.com", "--user=u-1"), kubeconfig.LoginRancher},
		{"OpenShift", exec("oc", "get-token", "--issuer-url=https://sso.example.com"), kubeconfig.LoginOpenShift},
		{"Teleport", exec("/usr/local/bin/tsh", "kube", "credentials", "--kube-cluster=east", "--teleport-cluster=t.example.com"), kubeconfig.LoginTeleport},
		{"Pinniped", exec("/usr/local/bin/pinniped", "login", "oidc", "--issuer=https://p.example.com"), kubeconfig.LoginPinniped},
		{"Tanzu", exec("tanzu", "pinniped-auth", "login", "--endpoint=https://p.example.com"), kubeconfig.LoginTanzu},
		{"DigitalOcean", exec("/snap/bin/doctl", "kubernetes", "cluster", "kubeconfig", "exec-credential"), kubeconfig.LoginDigitalOcean},
		{"Oracle", exec("oci", "ce", "cluster", "generate-token"), kubeconfig.LoginOracle},
		{"any other program", exec("/opt/"+Content, "token"), kubeconfig.LoginProgram},
		{"any other plugin", "auth-provider: {name: openstack}", kubeconfig.LoginProgram},
		{"exec that is no mapping", "exec: [command, aws]", kubeconfig.LoginProgram},
	}
}

// secretPart is a piece of a PEM key that names the key.
func secretPart(key []byte) string { return strings.Split(string(key), "\n")[1][:40] }

// Bad is a corpus of kubeconfigs that must be refused: rows 1 to 31 of the
// portal's list of bad inputs, as far as they concern an upload, and their
// relatives. A file with the code ADDRESS_NOT_ALLOWED names an address that can
// never be a cluster; loopback is judged when it is dialled.
func Bad(t testing.TB) []Case {
	t.Helper()
	later, before := time.Now().Add(365*24*time.Hour), time.Now().Add(-time.Hour)
	ca := NewAuthority(t, later)
	trust := "certificate-authority-data: " + Base64(ca.PEM) + "\n"
	base := server + trust
	client, other := ca.Client(later, "alice", "dev"), ca.Client(later, "mallory")
	expired := ca.Client(before, "alice")
	expiredJWT := JWT("system:serviceaccount:a:b", before)
	pairOf := func(cert, key []byte) string {
		return "client-certificate-data: " + Base64(cert) + "\nclient-key-data: " + Base64(key) + "\n"
	}
	good := string(Config(base, token))
	swap := func(old, new string) []byte {
		if !strings.Contains(good, old) {
			t.Fatalf("nothing to replace: %q", old)
		}
		return []byte(strings.Replace(good, old, new, 1))
	}
	cluster := func(lines string) []byte { return Config(lines, token) }
	user := func(lines string) []byte { return Config(base, lines) }
	at := func(url string) []byte { return cluster("server: '" + url + "'\n" + trust) }
	caOf := func(pem []byte) []byte { return cluster(server + "certificate-authority-data: " + Base64(pem)) }
	const (
		atServer = "clusters[0].cluster.server"
		atCA     = "clusters[0].cluster.certificate-authority-data"
		atToken  = "users[0].user.token"
		atCert   = "users[0].user.client-certificate-data"
		atKey    = "users[0].user.client-key-data"
	)
	laughs := "a: &a [x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		laughs += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1)
	}

	cases := []Case{
		// Programs, files, proxies and other people's names.
		{Name: "exec through a shell", Data: user("exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, 'touch " + Content + "']}"), Code: apperr.ErrKubeconfigExec, Path: "users[0].user.exec"},
		{Name: "exec beside a token", Data: user(token + "exec:\n  command: /bin/" + Content), Code: apperr.ErrKubeconfigExec, Path: "users[0].user.exec"},
		{Name: "exec, empty", Data: user("exec: {}"), Code: apperr.ErrKubeconfigExec, Path: "users[0].user.exec"},
		{Name: "auth-provider", Data: user("auth-provider: {name: gcp, config: {cmd-path: /bin/sh, id-token: " + Token + "}}"), Code: apperr.ErrKubeconfigAuthProvider, Path: "users[0].user.auth-provider"},
		{Name: "tokenFile", Data: user("tokenFile: /etc/" + Content), Code: apperr.ErrKubeconfigFilePath, Path: "users[0].user.tokenFile"},
		{Name: "token and tokenFile", Data: user(token + "tokenFile: /etc/" + Content), Code: apperr.ErrKubeconfigFilePath, Path: "users[0].user.tokenFile"},
		{Name: "certificate-authority", Data: cluster(server + "certificate-authority: /etc/" + Content), Code: apperr.ErrKubeconfigFilePath, Path: "clusters[0].cluster.certificate-authority"},
		{Name: "client-certificate", Data: user("client-certificate: ../" + Content + "\nclient-key-data: " + Base64(client.Key)), Code: apperr.ErrKubeconfigFilePath, Path: "users[0].user.client-certificate"},
		{Name: "client-key", Data: user("client-key: /proc/self/environ\nclient-certificate-data: " + Base64(client.Cert)), Code: apperr.ErrKubeconfigFilePath, Path: "users[0].user.client-key"},
		{Name: "insecure-skip-tls-verify", Data: cluster(server + "insecure-skip-tls-verify: true"), Code: apperr.ErrKubeconfigInsecureTLS, Path: "clusters[0].cluster.insecure-skip-tls-verify"},
		{Name: "insecure-skip-tls-verify as text", Data: cluster(server + "insecure-skip-tls-verify: 'false'"), Code: apperr.ErrKubeconfigInsecureTLS, Path: "clusters[0].cluster.insecure-skip-tls-verify"},
		{Name: "proxy-url", Data: cluster(base + "proxy-url: http://me:" + Password + "@10.0.0.9:3128"), Code: apperr.ErrKubeconfigProxy, Path: "clusters[0].cluster.proxy-url"},
		{Name: "as", Data: user(token + "as: system:admin"), Code: apperr.ErrKubeconfigImpersonation, Path: "users[0].user.as"},
		{Name: "as-uid", Data: user(token + "as-uid: " + Content), Code: apperr.ErrKubeconfigImpersonation, Path: "users[0].user.as-uid"},
		{Name: "as-groups", Data: user(token + "as-groups: ['system:masters']"), Code: apperr.ErrKubeconfigImpersonation, Path: "users[0].user.as-groups"},
		{Name: "as-user-extra", Data: user(token + "as-user-extra: {scopes: [" + Content + "]}"), Code: apperr.ErrKubeconfigImpersonation, Path: "users[0].user.as-user-extra"},
		{Name: "username and password", Data: user("username: admin\npassword: " + Password), Code: apperr.ErrKubeconfigBasicAuth, Path: "users[0].user.username"},

		// The server.
		{Name: "http", Data: at("http://10.0.0.1:6443"), Code: apperr.ErrKubeconfigHTTPS, Path: atServer},
		{Name: "no scheme", Data: at("10.0.0.1:6443"), Code: apperr.ErrKubeconfigHTTPS, Path: atServer},
		{Name: "unix socket", Data: at("unix:///var/run/" + Content), Code: apperr.ErrKubeconfigHTTPS, Path: atServer},
		{Name: "no server", Data: cluster(trust), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "server with password", Data: at("https://me:" + Password + "@10.0.0.1:6443"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "server with query", Data: at("https://10.0.0.1:6443/?token=" + Token), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "server with empty query", Data: at("https://10.0.0.1:6443?"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "server with fragment", Data: at("https://10.0.0.1:6443#" + Content), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "server with path", Data: at("https://10.0.0.1:6443/latest/meta-data"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "server with dots in the path", Data: at("https://10.0.0.1/k8s/clusters/../../latest"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "server with encoded path", Data: at("https://10.0.0.1/k8s/clusters/a%2f..%2fb"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "server with backslash", Data: at(`https://10.0.0.1\@evil.example`), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "port 0", Data: at("https://10.0.0.1:0"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "port 65536", Data: at("https://10.0.0.1:65536"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "port missing after the colon", Data: at("https://10.0.0.1:"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "address 127.1", Data: at("https://127.1:6443"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "address 2130706433", Data: at("https://2130706433"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "address 0x7f.1", Data: at("https://0x7f.1"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "address 0x7f000001", Data: at("https://0x7f000001"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "address 0177.0.0.1", Data: at("https://0177.0.0.1"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "address 0.0.0.0", Data: at("https://0.0.0.0:6443"), Code: apperr.ErrAddressNotAllowed, Path: atServer},
		{Name: "address ::", Data: at("https://[::]:6443"), Code: apperr.ErrAddressNotAllowed, Path: atServer},
		{Name: "metadata service", Data: at("https://169.254.169.254"), Code: apperr.ErrAddressNotAllowed, Path: atServer},
		{Name: "metadata service in IPv6", Data: at("https://[::ffff:169.254.169.254]"), Code: apperr.ErrAddressNotAllowed, Path: atServer},
		{Name: "zone", Data: at("https://[2001:db8::1%25eth0]:6443"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "host with underscore", Data: at("https://a_b.example"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "host in Cyrillic", Data: at("https://\u0430pi.example.com"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "host of 254 bytes", Data: at("https://" + strings.Repeat("a.", 126) + "aa"), Code: apperr.ErrKubeconfigServer, Path: atServer},
		{Name: "bad tls-server-name", Data: cluster(base + "tls-server-name: '" + Content + " x'"), Code: apperr.ErrKubeconfigServer, Path: "clusters[0].cluster.tls-server-name"},

		// Trust.
		{Name: "CA not base64", Data: cluster(server + "certificate-authority-data: '%%" + Content + "'"), Code: apperr.ErrKubeconfigCA, Path: atCA},
		{Name: "CA not PEM", Data: caOf([]byte(Content)), Code: apperr.ErrKubeconfigCA, Path: atCA},
		{Name: "CA with a broken block", Data: caOf(append([]byte("-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n"), ca.PEM...)), Code: apperr.ErrKubeconfigCA, Path: atCA},
		{Name: "CA that does not parse", Data: caOf(block("CERTIFICATE", []byte(Content))), Code: apperr.ErrKubeconfigCA, Path: atCA},
		{Name: "key as CA", Data: caOf(append(bytes.Clone(ca.PEM), client.Key...)), Code: apperr.ErrKubeconfigCA, Path: atCA},
		{Name: "leaf as CA", Data: caOf(client.Cert), Code: apperr.ErrKubeconfigCALeaf, Path: atCA},
		{Name: "CA and leaf", Data: caOf(append(bytes.Clone(ca.PEM), client.Cert...)), Code: apperr.ErrKubeconfigCALeaf, Path: atCA},
		{Name: "expired CA", Data: caOf(NewAuthority(t, before).PEM), Code: apperr.ErrKubeconfigCAExpired, Path: atCA},
		{Name: "nine CAs", Data: caOf(bytes.Repeat(ca.PEM, 9)), Code: apperr.ErrKubeconfigCACount, Path: atCA},
		{Name: "1,000 CAs", Data: caOf(bytes.Repeat(ca.PEM, 1000)), Code: apperr.ErrKubeconfigTooLarge},

		// Signing in.
		{Name: "no credential", Data: user("{}"), Code: apperr.ErrKubeconfigNoCredential, Path: "users[0].user"},
		{Name: "no user mapping", Data: swap("  user:\n    token: "+Token+"\n", ""), Code: apperr.ErrKubeconfigNoCredential, Path: "users[0].user"},
		{Name: "token and certificate", Data: user(token + pairOf(client.Cert, client.Key)), Code: apperr.ErrKubeconfigBothKinds, Path: "users[0].user"},
		{Name: "token with a space", Data: user("token: 'Bearer " + Token + "'"), Code: apperr.ErrKubeconfigToken, Path: atToken},
		{Name: "token with a line break", Data: user(`token: "` + Token + `\r\nX-Evil: 1"`), Code: apperr.ErrKubeconfigToken, Path: atToken},
		{Name: "token with NUL, escaped", Data: user(`token: "` + Token + `\0"`), Code: apperr.ErrKubeconfigToken, Path: atToken},
		{Name: "token too long", Data: user("token: " + strings.Repeat("x", kubeconfig.MaxToken) + Token), Code: apperr.ErrKubeconfigToken, Path: atToken},
		{Name: "expired token", Data: user("token: " + expiredJWT), Code: apperr.ErrKubeconfigTokenExpired, Path: atToken},
		{Name: "key of another certificate", Data: user(pairOf(client.Cert, other.Key)), Code: apperr.ErrKubeconfigClientCert, Path: atKey},
		{Name: "certificate without key", Data: user("client-certificate-data: " + Base64(client.Cert)), Code: apperr.ErrKubeconfigClientCert, Path: atKey},
		{Name: "key without certificate", Data: user("client-key-data: " + Base64(client.Key)), Code: apperr.ErrKubeconfigClientCert, Path: atCert},
		{Name: "certificate not PEM", Data: user(pairOf([]byte(Content), client.Key)), Code: apperr.ErrKubeconfigClientCert, Path: atCert},
		{Name: "key not PEM", Data: user(pairOf(client.Cert, []byte(Content))), Code: apperr.ErrKubeconfigClientCert, Path: atKey},
		{Name: "expired certificate", Data: user(pairOf(expired.Cert, expired.Key)), Code: apperr.ErrKubeconfigCertExpired, Path: atCert},

		// The file.
		{Name: "empty", Data: nil, Code: apperr.ErrKubeconfigEmpty},
		{Name: "white space", Data: []byte(" \n\t\n"), Code: apperr.ErrKubeconfigEmpty},
		{Name: "comment only", Data: []byte("# " + Content + "\n"), Code: apperr.ErrKubeconfigEmpty},
		{Name: "null", Data: []byte("---\n~\n"), Code: apperr.ErrKubeconfigEmpty},
		{Name: "64 KiB and a byte", Data: append([]byte(good), bytes.Repeat([]byte("#"), kubeconfig.MaxSize+1-len(good))...), Code: apperr.ErrKubeconfigTooLarge},
		{Name: "NUL", Data: append([]byte(good), 0), Code: apperr.ErrKubeconfigEncoding},
		{Name: "not UTF-8", Data: append([]byte(good), 0xff, 0xfe), Code: apperr.ErrKubeconfigEncoding},
		{Name: "UTF-16 of an odd length", Data: UTF16(binary.LittleEndian, []byte(good))[1:], Code: apperr.ErrKubeconfigEncoding},
		{Name: "UTF-16 without a mark", Data: UTF16(binary.BigEndian, []byte(good))[2:], Code: apperr.ErrKubeconfigEncoding},
		{Name: "UTF-16 with half a pair", Data: append(UTF16(binary.LittleEndian, []byte(good)), 0x00, 0xd8), Code: apperr.ErrKubeconfigEncoding},
		{Name: "UTF-16 with an escape character", Data: UTF16(binary.LittleEndian, swap("main", "\x1b[31m")), Code: apperr.ErrKubeconfigEncoding},
		{Name: "escape character", Data: swap("main", "\x1b[31m"), Code: apperr.ErrKubeconfigEncoding},
		{Name: "broken YAML", Data: swap("- name: u", "- name: u: {"+Content), Code: apperr.ErrKubeconfigSyntax},
		{Name: "token pasted as a line", Data: append([]byte(good), Token+"\n"...), Code: apperr.ErrKubeconfigSyntax},
		{Name: "two documents", Data: append([]byte(good), "---\n"+good...), Code: apperr.ErrKubeconfigDocuments},
		{Name: "second document is a bomb", Data: append([]byte(good), "---\n"+laughs...), Code: apperr.ErrKubeconfigDocuments},
		{Name: "second document is broken", Data: append([]byte(good), "---\n{"+Content...), Code: apperr.ErrKubeconfigSyntax},
		{Name: "billion laughs", Data: []byte(laughs + good), Code: apperr.ErrKubeconfigAlias, Path: "a"},
		{Name: "one harmless alias", Data: []byte(strings.Replace(strings.Replace(good, "name: c\n", "name: &n c\n", 1), "cluster: c", "cluster: *n", 1)), Code: apperr.ErrKubeconfigAlias, Path: "clusters[0].name"},
		{Name: "alias of nothing", Data: swap("cluster: c", "cluster: *"+Content), Code: apperr.ErrKubeconfigAlias},
		{Name: "merge key", Data: user("<<: {token: " + Token + "}"), Code: apperr.ErrKubeconfigUnknownField, Path: "users[0].user.?"},
		{Name: "tag", Data: swap("token: ", "token: !!binary "), Code: apperr.ErrKubeconfigAlias, Path: atToken},
		{Name: "own tag", Data: swap("token: ", "token: !include "), Code: apperr.ErrKubeconfigAlias, Path: atToken},
		{Name: "deep", Data: []byte(good + "extensions: " + strings.Repeat("[", 20) + strings.Repeat("]", 20)), Code: apperr.ErrKubeconfigTooComplex, Path: "extensions" + strings.Repeat("[0]", 15)},
		{Name: "very deep", Data: []byte(strings.Repeat("[", 60_000)), Code: apperr.ErrKubeconfigSyntax},
		{Name: "deep and closed", Data: []byte(strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000)), Code: apperr.ErrKubeconfigTooComplex, Path: strings.Repeat("[0]", 16)},
		{Name: "many nodes", Data: []byte(good + "extensions: [" + strings.Repeat("1,", 2500) + "]"), Code: apperr.ErrKubeconfigTooComplex, Path: "extensions[1960]"},
		{Name: "long name", Data: swap("name: u", "name: "+strings.Repeat("u", 254)), Code: apperr.ErrKubeconfigTooComplex, Path: "users[0].name"},
		{Name: "duplicate key", Data: user(token + "token: " + Password), Code: apperr.ErrKubeconfigDuplicateKey, Path: atToken},
		{Name: "duplicate key in quotes", Data: user(token + "\"tok\\x65n\": " + Password), Code: apperr.ErrKubeconfigDuplicateKey, Path: atToken},
		{Name: "two users of one name", Data: swap("contexts:", "- name: u\n  user: {token: "+Password+"}\ncontexts:"), Code: apperr.ErrKubeconfigDuplicateName, Path: "users[1].name"},
		{Name: "two clusters of one name", Data: swap("users:", "- name: c\n  cluster: {server: 'https://10.0.0.2'}\nusers:"), Code: apperr.ErrKubeconfigDuplicateName, Path: "clusters[1].name"},
		{Name: "two contexts of one name", Data: swap("current-context", "- name: main\n  context: {cluster: c, user: u}\ncurrent-context"), Code: apperr.ErrKubeconfigDuplicateName, Path: "contexts[1].name"},
		{Name: "unknown key", Data: user("exce: {command: " + Content + "}"), Code: apperr.ErrKubeconfigUnknownField, Path: "users[0].user.exce"},
		{Name: "unknown key, upper case", Data: user("Token: " + Token), Code: apperr.ErrKubeconfigUnknownField, Path: "users[0].user.Token"},
		{Name: "unknown key on top", Data: []byte(good + "execs: " + Content), Code: apperr.ErrKubeconfigUnknownField, Path: "execs"},
		{Name: "unknown key beside a name", Data: swap("- name: u\n", "- name: u\n  pass: "+Password+"\n"), Code: apperr.ErrKubeconfigUnknownField, Path: "users[0].pass"},
		{Name: "a secret as a key", Data: user(Token + ": x"), Code: apperr.ErrKubeconfigUnknownField, Path: "users[0].user.?"},
		{Name: "a mapping as a key", Data: user("{a: " + Content + "}: x"), Code: apperr.ErrKubeconfigSyntax, Path: "users[0].user.?"},
		{Name: "number as a token", Data: user("token: 12345678"), Code: apperr.ErrKubeconfigSyntax, Path: atToken},
		{Name: "list as a token", Data: user("token: [" + Token + "]"), Code: apperr.ErrKubeconfigSyntax, Path: atToken},
		{Name: "users as a mapping", Data: []byte("apiVersion: v1\nkind: Config\nusers: {u: {token: " + Token + "}}\n"), Code: apperr.ErrKubeconfigSyntax, Path: "users"},
		{Name: "user without a name", Data: swap("- name: u\n  user:", "- user:"), Code: apperr.ErrKubeconfigSyntax, Path: "users[0].name"},
		{Name: "another manifest", Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {token: " + Token + "}\n"), Code: apperr.ErrKubeconfigKind, Path: "kind"},
		{Name: "a Secret without a kubeconfig", Data: Secret("stringData", "token", Token), Code: apperr.ErrKubeconfigSecret, Path: "data"},
		{Name: "a Secret with two kubeconfigs", Data: Secret("data", "a", Base64([]byte(good))+"\n  b: "+Base64([]byte(good))), Code: apperr.ErrKubeconfigSecret, Path: "data"},
		{Name: "a Secret in a Secret", Data: Secret("data", "value", Base64(Secret("data", "value", Base64([]byte(good))))), Code: apperr.ErrKubeconfigSecret, Path: "data"},
		{Name: "exec in a Secret", Data: Secret("data", "value", Base64(user("exec: {command: "+Content+"}"))), Code: apperr.ErrKubeconfigExec, Path: "data.value: users[0].user.exec"},
		{Name: "unknown key in a Secret", Data: Secret("data", "value", Base64(user("exce: "+Content))), Code: apperr.ErrKubeconfigUnknownField, Path: "data.value: users[0].user.exce"},
		{Name: "another version", Data: swap("apiVersion: v1", "apiVersion: v2"), Code: apperr.ErrKubeconfigKind, Path: "apiVersion"},
		{Name: "no kind", Data: swap("kind: Config\n", ""), Code: apperr.ErrKubeconfigKind, Path: "kind"},
		{Name: "plain text", Data: []byte(Token), Code: apperr.ErrKubeconfigKind},
		{Name: "a list", Data: []byte("[" + Token + "]"), Code: apperr.ErrKubeconfigKind},
		{Name: "no contexts", Data: []byte("apiVersion: v1\nkind: Config\ncontexts: []\nusers: null\n"), Code: apperr.ErrKubeconfigNoContext, Path: "contexts"},
		{Name: "context of an unknown cluster", Data: swap("cluster: c", "cluster: "+Content), Code: apperr.ErrKubeconfigReference, Path: "contexts[0].context.cluster"},
		{Name: "context without a user", Data: swap("    user: u\n", ""), Code: apperr.ErrKubeconfigReference, Path: "contexts[0].context.user"},
		{Name: "only a context whose user was deleted", Data: swap("- name: u\n", "- name: "+Content+"\n"), Code: apperr.ErrKubeconfigReference, Path: "contexts[0].context.user"},
	}
	for i := range cases {
		cases[i].Canaries = []string{Token, Password, Content, expiredJWT, secretPart(client.Key), secretPart(other.Key), secretPart(expired.Key)}
	}
	return cases
}
