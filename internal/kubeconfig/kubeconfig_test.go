package kubeconfig_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// printed is everything that a careless caller could log or show of a result.
func printed(file *kubeconfig.File, err error) string {
	var out strings.Builder
	for _, v := range []any{file, err} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		b, _ := json.Marshal(v)
		out.Write(b)
	}
	if file != nil {
		for _, c := range file.Contexts {
			fmt.Fprintf(&out, "%v %+v %#v %v %#v %s", c, c, c, c.Refusal, c.Refusal, c.Credential)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", c, "refusal", c.Refusal)
		}
	}
	return out.String()
}

// leaks says which canaries stand in a text, as they are or in base64.
func leaks(text string, canaries []string) []string {
	var found []string
	for _, c := range canaries {
		if strings.Contains(text, c) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(c))) {
			found = append(found, c)
		}
	}
	return found
}

func TestBadFiles(t *testing.T) {
	cases := kubeconfigtest.Bad(t)
	seen := map[string]bool{}
	for _, c := range cases {
		seen[c.Code] = true
		t.Run(c.Name, func(t *testing.T) {
			file, err := kubeconfig.Parse(c.Data, time.Now())
			e, ok := apperr.From(err)
			if !ok {
				t.Fatalf("error %v of type %T; want %s", err, err, c.Code)
			}
			path, _ := e.Params["path"].(string)
			if e.Code != c.Code || path != c.Path {
				t.Errorf("got %s at %q, want %s at %q", e.Code, path, c.Code, c.Path)
			}
			for key := range e.Params {
				if !slices.Contains([]string{"path", "line", "limit", "login"}, key) {
					t.Errorf("parameter %q", key)
				}
			}
			if e.Unwrap() != nil {
				t.Errorf("a cause, which may quote the file: %v", e.Unwrap())
			}
			if path != "" && e.Params["line"] == nil && strings.Contains(path, "[") {
				t.Error("a place without a line")
			}
			if found := leaks(printed(file, err), c.Canaries); len(found) > 0 {
				t.Errorf("leaks %q:\n%s", found, printed(file, err))
			}
			if file != nil {
				for _, ctx := range file.Contexts {
					if ctx.Usable() || !empty(ctx.Credential) {
						t.Errorf("context %q is usable or keeps its credential", ctx.Name)
					}
				}
			}
		})
	}
	for _, code := range apperr.Codes() {
		if strings.HasPrefix(code, "KUBECONFIG_") && !seen[code] {
			t.Errorf("no bad file gets %s", code)
		}
	}
}

func empty(c domain.Credential) bool {
	return c.Server == "" && len(c.CA)+len(c.Token)+len(c.ClientCert)+len(c.ClientKey) == 0
}

func TestGoodFiles(t *testing.T) {
	for _, c := range kubeconfigtest.Good(t) {
		t.Run(c.Name, func(t *testing.T) {
			file, err := kubeconfig.Parse(c.Data, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			first := file.Contexts[0]
			if !first.Usable() || first.Server != c.Server || first.Credential.Server != c.Server || first.Kind != c.Kind {
				t.Errorf("got %+v", first)
			}
			cred := first.Credential
			if hasToken, hasCert := len(cred.Token) > 0, len(cred.ClientCert) > 0 && len(cred.ClientKey) > 0; hasToken == hasCert {
				t.Errorf("token %v, certificate %v", hasToken, hasCert)
			}
			if found := leaks(printed(file, nil), c.Canaries); len(found) > 0 {
				t.Errorf("leaks %q:\n%s", found, printed(file, nil))
			}
		})
	}
}

func parse(t *testing.T, data []byte) *kubeconfig.File {
	t.Helper()
	file, err := kubeconfig.Parse(data, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTokenClaims(t *testing.T) {
	end := time.Now().Add(10 * 24 * time.Hour).Truncate(time.Second)
	file := parse(t, kubeconfigtest.Config("server: https://c.example", "token: "+kubeconfigtest.JWT("system:serviceaccount:a:b\x1b[31m", end)))
	c := file.Contexts[0]
	if c.Subject != "system:serviceaccount:a:b\uFFFD[31m" || c.Issuer != "https://kubernetes.default.svc" || c.ExpiresAt == nil || !c.ExpiresAt.Equal(end) {
		t.Errorf("got %q of %q until %v", c.Subject, c.Issuer, c.ExpiresAt)
	}
	if got := codes(c.Warnings); got != kubeconfig.WarnSystemRoots+" "+kubeconfig.WarnExpiresSoon {
		t.Errorf("warnings %s", got)
	}
}

// Each warning comes from the file that deserves it, and from no better one.
func TestWarnings(t *testing.T) {
	now := time.Now()
	day := 24 * time.Hour
	fine, soon, old := kubeconfigtest.NewAuthority(t, now.Add(90*day)), kubeconfigtest.NewAuthority(t, now.Add(9*day)), kubeconfigtest.NewAuthority(t, now.Add(-day))
	trust := func(pem ...[]byte) string {
		return "server: https://c.example\ncertificate-authority-data: " + kubeconfigtest.Base64(bytes.Join(pem, nil))
	}
	jwt := func(claims string) string {
		return "token: e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
	}
	lasting := jwt(fmt.Sprintf(`{"iss":"kubernetes/serviceaccount","sub":"a","exp":%d}`, now.Add(90*day).Unix()))
	for name, c := range map[string]struct{ cluster, user, want string }{
		"nothing to say":      {trust(fine.PEM), lasting, ""},
		"token without end":   {trust(fine.PEM), jwt(`{"iss":"kubernetes/serviceaccount","sub":"a"}`), kubeconfig.WarnNoExpiry},
		"opaque token":        {trust(fine.PEM), "token: sha256~x", kubeconfig.WarnUnknownExpiry},
		"token that ends":     {trust(fine.PEM), "token: " + kubeconfigtest.JWT("a", now.Add(29*day)), kubeconfig.WarnExpiresSoon},
		"CA that ends":        {trust(fine.PEM, soon.PEM), lasting, kubeconfig.WarnCAExpiresSoon},
		"CA that has ended":   {trust(old.PEM, fine.PEM), lasting, kubeconfig.WarnCAExpired},
		"this machine":        {strings.Replace(trust(fine.PEM), "c.example", "127.0.0.9:6443", 1), lasting, kubeconfig.WarnLoopback},
		"this machine, IPv6":  {strings.Replace(trust(fine.PEM), "c.example", "[::1]:6443", 1), lasting, kubeconfig.WarnLoopback},
		"this machine, named": {strings.Replace(trust(fine.PEM), "c.example", "kubernetes.docker.internal:6443", 1), lasting, kubeconfig.WarnLoopback},
	} {
		ctx := parse(t, kubeconfigtest.Config(c.cluster, c.user)).Contexts[0]
		if got := codes(ctx.Warnings); got != c.want {
			t.Errorf("%s: warnings %q, want %q", name, got, c.want)
		}
		if name == "CA that has ended" && !bytes.Equal(ctx.Credential.CA, fine.PEM) {
			t.Error("the CA that has ended is kept")
		}
	}
}

// A program that signs in is recognised by its name, and nothing of what the
// file says about it gets out.
func TestLogins(t *testing.T) {
	for _, l := range kubeconfigtest.Logins() {
		t.Run(l.Name, func(t *testing.T) {
			file, err := kubeconfig.Parse(kubeconfigtest.Config("server: https://c.example", l.User), time.Now())
			e, ok := apperr.From(err)
			if !ok || e.Code != apperr.ErrKubeconfigExec && e.Code != apperr.ErrKubeconfigAuthProvider {
				t.Fatalf("got %v", err)
			}
			if got := file.Contexts[0].Login; got != l.Login {
				t.Errorf("got %q, want %q", got, l.Login)
			}
			if product, _ := e.Params["login"].(string); product != l.Login.Product() || (product == "") != (l.Login == kubeconfig.LoginProgram) {
				t.Errorf("product %q of %q", product, l.Login)
			}
			if found := leaks(printed(file, err), []string{kubeconfigtest.Token, kubeconfigtest.Password, kubeconfigtest.Content}); len(found) > 0 {
				t.Errorf("leaks %q", found)
			}
		})
	}
	// A login is recognised also when something else is wrong before it.
	file, err := kubeconfig.Parse(kubeconfigtest.Config("server: https://c.example", "tokenFile: /x\nexec: {command: gcloud}"), time.Now())
	if apperr.CodeOf(err) != apperr.ErrKubeconfigFilePath || file.Contexts[0].Login != kubeconfig.LoginGKE {
		t.Errorf("got %v and %q", err, file.Contexts[0].Login)
	}
}

func codes(problems []domain.Problem) string {
	var out []string
	for _, p := range problems {
		out = append(out, p.Code)
	}
	return strings.Join(out, " ")
}

// A token that only looks like a JWT is opaque: kept, with nothing known of it.
func TestOpaqueTokens(t *testing.T) {
	for _, body := range []string{`{`, `[]`, `"x"`, `{"exp":"tomorrow"}`, `{"exp":1e300}`, `{"exp":-1}`, `{}`, `null`} {
		token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(body)) + ".x"
		c := parse(t, kubeconfigtest.Config("server: https://c.example", "token: "+token)).Contexts[0]
		if string(c.Credential.Token) != token || c.ExpiresAt != nil || c.Subject != "" {
			t.Errorf("%s: %+v", body, c)
		}
	}
}

func TestClientCertificate(t *testing.T) {
	now := time.Now()
	ca := kubeconfigtest.NewAuthority(t, now.Add(90*24*time.Hour))
	end := now.Add(60 * 24 * time.Hour).UTC().Truncate(time.Second)
	pair := ca.Client(end, "kubernetes-admin", "system:masters")
	data := kubeconfigtest.Config("server: https://c.example\ncertificate-authority-data: "+kubeconfigtest.Base64(append([]byte("junk\n"), ca.PEM...)),
		"client-certificate-data: "+kubeconfigtest.Base64(pair.Cert)+"\nclient-key-data: "+kubeconfigtest.Base64(pair.Key))
	c := parse(t, data).Contexts[0]
	if c.Subject != "kubernetes-admin" || c.Issuer != "test CA" || c.ExpiresAt == nil || !c.ExpiresAt.Equal(end) {
		t.Errorf("got %q of %q until %v", c.Subject, c.Issuer, c.ExpiresAt)
	}
	if got := codes(c.Warnings); got != kubeconfig.WarnSystemMasters {
		t.Errorf("warnings %s", got)
	}
	// Written again by us: what stood around the blocks is gone.
	if !bytes.Equal(c.Credential.CA, ca.PEM) || !bytes.Equal(c.Credential.ClientCert, pair.Cert) || !bytes.Equal(c.Credential.ClientKey, pair.Key) {
		t.Error("the stored PEM is not what the file holds")
	}
	// The moment decides.
	if _, err := kubeconfig.Parse(data, end.Add(time.Second)); apperr.CodeOf(err) != apperr.ErrKubeconfigCertExpired {
		t.Errorf("after its end: %v", err)
	}
	if _, err := kubeconfig.Parse(data, now.Add(91*24*time.Hour)); apperr.CodeOf(err) != apperr.ErrKubeconfigCertExpired {
		t.Errorf("after the CA's end: %v", err)
	}
}

// Each context gets its own verdict, and one good one is enough.
func TestVerdictPerContext(t *testing.T) {
	const data = `apiVersion: v1
kind: Config
clusters:
- name: good
  cluster: {server: 'https://10.0.0.1:6443'}
- name: plain
  cluster: {server: 'http://10.0.0.2:6443'}
- name: unused
  cluster: {server: 'ftp://x', proxy-url: 'http://p'}
users:
- name: token
  user: {token: CANARY-token}
- name: cloud
  user: {exec: {command: kubelogin}}
contexts:
- name: "cloud"
  context: {cluster: good, user: cloud}
- name: "plain"
  context: {cluster: plain, user: token}
- name: "fine <script>\n\e[31m"
  context: {cluster: good, user: token, namespace: "a\u202Eb"}
- name: "both"
  context: {cluster: plain, user: cloud}
current-context: plain
`
	file := parse(t, []byte(data))
	if file.Current != "plain" {
		t.Errorf("current %q", file.Current)
	}
	for i, want := range []struct{ name, code, path, server string }{
		{"cloud", apperr.ErrKubeconfigExec, "users[1].user.exec", "https://10.0.0.1:6443"},
		{"plain", apperr.ErrKubeconfigHTTPS, "clusters[1].cluster.server", ""},
		{"fine <script> \uFFFD[31m", "", "", "https://10.0.0.1:6443"},
		{"both", apperr.ErrKubeconfigExec, "users[1].user.exec", ""},
	} {
		c := file.Contexts[i]
		code, path := "", any("")
		if c.Refusal != nil {
			code, path = c.Refusal.Code, c.Refusal.Params["path"]
		}
		if c.Name != want.name || code != want.code || path != want.path || c.Server != want.server {
			t.Errorf("context %d: %q %q %s at %v", i, c.Name, c.Server, code, path)
		}
		picked, err := file.Pick(c.Name)
		if (err == nil) != c.Usable() || err == nil && picked.Server != c.Server || err != nil && apperr.CodeOf(err) != want.code {
			t.Errorf("pick %q: %v", c.Name, err)
		}
	}
	if line := file.Contexts[0].Refusal.Params["line"]; line != 14 {
		t.Errorf("line %v, want 14", line)
	}
	if got := file.Contexts[2].Namespace; got != "a\uFFFDb" {
		t.Errorf("namespace %q", got)
	}
	if _, err := file.Pick("none"); !errors.Is(err, apperr.New(apperr.ErrInvalidChoice)) {
		t.Errorf("pick of an unknown name: %v", err)
	}

	// Without a usable one, the current context's refusal counts, else the first.
	bad := strings.Replace(data, "https://10.0.0.1", "http://10.0.0.1", 1)
	file, err := kubeconfig.Parse([]byte(bad), time.Now())
	if apperr.CodeOf(err) != apperr.ErrKubeconfigHTTPS || file == nil || len(file.Contexts) != 4 {
		t.Errorf("current context: %v", err)
	}
	_, err = kubeconfig.Parse([]byte(strings.Replace(bad, "current-context: plain", "", 1)), time.Now())
	if apperr.CodeOf(err) != apperr.ErrKubeconfigExec {
		t.Errorf("first context: %v", err)
	}
}

// Names that a person could not tell apart are one name.
func TestNamesAreUniqueAsShown(t *testing.T) {
	_, err := kubeconfig.Parse([]byte(`{apiVersion: v1, kind: Config, contexts: [{name: "a\u202E"}, {name: "a\u202D"}]}`), time.Now())
	if apperr.CodeOf(err) != apperr.ErrKubeconfigDuplicateName {
		t.Errorf("got %v", err)
	}
}
