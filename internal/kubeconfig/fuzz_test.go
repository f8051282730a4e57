package kubeconfig_test

import (
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"kubevirt-shepherd.io/shepherd/internal/kubeconfig"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// FuzzParse holds what must be true of any upload: an answer in bounded time,
// and either an error with a code or a context with an https server and exactly
// one credential.
func FuzzParse(f *testing.F) {
	for _, c := range kubeconfigtest.Good(f) {
		f.Add(c.Data)
	}
	for _, c := range kubeconfigtest.Bad(f) {
		f.Add(c.Data)
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		file, err := kubeconfig.Parse(data, now)
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
		if err != nil {
			e, ok := apperr.From(err)
			if !ok || apperr.KindOf(err) == apperr.Internal {
				t.Fatalf("error without a code: %v", err)
			}
			if path, _ := e.Params["path"].(string); len(path) > 1000 || !utf8.ValidString(path) {
				t.Errorf("path %q", path)
			}
		}
		if file == nil {
			if err == nil {
				t.Fatal("neither a file nor an error")
			}
			return
		}
		usable := 0
		for _, c := range file.Contexts {
			for _, s := range []string{c.Name, c.Cluster, c.User, c.Namespace, c.Subject, c.Issuer} {
				if strings.ContainsAny(s, "\x00\x1b\n\r\u202e") || len(s) > 4*kubeconfig.MaxName+4 {
					t.Errorf("text is not clean: %q", s)
				}
			}
			if !c.Usable() {
				if !empty(c.Credential) {
					t.Error("a refused context keeps its credential")
				}
				continue
			}
			usable++
			u, err := url.Parse(c.Credential.Server)
			if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || c.Server != c.Credential.Server {
				t.Errorf("server %q", c.Credential.Server)
			}
			hasToken, hasCert := len(c.Credential.Token) > 0, len(c.Credential.ClientCert) > 0 && len(c.Credential.ClientKey) > 0
			if hasToken == hasCert {
				t.Errorf("token %v, certificate %v", hasToken, hasCert)
			}
			if picked, err := file.Pick(c.Name); err != nil || picked.Server != c.Server {
				t.Errorf("cannot pick %q: %v", c.Name, err)
			}
		}
		if (usable > 0) != (err == nil) {
			t.Errorf("%d usable contexts and error %v", usable, err)
		}
	})
}
