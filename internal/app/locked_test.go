package app_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/catalog"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/token"
)

// prober is a pre-flight that finds a good cluster of one identity.
type prober string

func (p prober) Preflight(context.Context, domain.Credential) domain.Preflight {
	return domain.Preflight{
		Health: domain.ClusterHealth{KubernetesVersion: "v1.34.1", KubeVirtVersion: "v1.9.0", Nodes: 1, ReadyNodes: 1, IdentityUID: string(p)},
		Checks: []domain.Check{{ID: "reachable", State: domain.CheckOK}},
	}
}

// installation is a portal with one cluster, a template with first-boot data, a
// token and two people.
type installation struct {
	t                *testing.T
	config           app.Config
	log              *lines
	cluster          string
	template, bearer string
}

// lines are of a log.
type lines struct{ bytes.Buffer }

const password = "a long enough password 42"

func (i *installation) start() *app.App {
	i.t.Helper()
	a, err := app.New(i.t.Context(), i.config, slog.New(slog.NewTextHandler(i.log, nil)))
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(a.Close)
	a.Clusters.Prober = prober("uid-1")
	return a
}

func (i *installation) fill(a *app.App) {
	i.t.Helper()
	ctx := i.t.Context()
	check := func(err error) {
		i.t.Helper()
		if err != nil {
			i.t.Fatal(err)
		}
	}
	admin, _, err := a.Accounts.EnsureUser(ctx, account.NewUser{Username: "root", Password: password, Bindings: []domain.Binding{{Role: domain.RoleAdmin}}})
	check(err)
	_, _, err = a.Accounts.EnsureUser(ctx, account.NewUser{Username: "dev", Password: password})
	check(err)
	actor, err := a.Accounts.Actor(ctx, admin, "", "")
	check(err)
	i.cluster, err = a.Clusters.AddDirect(ctx, actor, "east", domain.Test, "", kubeconfigtest.Config("server: https://10.0.0.1:6443", "token: "+kubeconfigtest.Token))
	check(err)
	i.template, err = a.Catalog.CreateTemplate(ctx, actor, catalog.NewTemplate{Name: "fedora", DisplayName: "Fedora", Image: "docker://quay.io/x:1", MinDiskGiB: 10, CloudInit: domain.Secret("#cloud-config\npassword: x\n")})
	check(err)
	_, i.bearer, err = a.Tokens.Create(ctx, domain.Shepherd(), admin, token.New{Name: "x", Scopes: domain.Scopes(), Life: time.Hour})
	check(err)
}

// serve gives the address of a portal.
func serve(t *testing.T, a *app.App) string {
	t.Helper()
	srv := httptest.NewServer(a.Handler().Router())
	t.Cleanup(srv.Close)
	return srv.URL
}

// browse signs somebody in, and gives a way to fetch.
func browse(t *testing.T, base, name string) func(method, path string, form url.Values) (int, string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	fetch := func(method, path string, form url.Values) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		if method == http.MethodPost {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}
	if status, text := fetch(http.MethodPost, "/login", url.Values{"username": {name}, "password": {password}}); status != http.StatusSeeOther {
		t.Fatalf("sign in: %d %.500s", status, text)
	}
	return fetch
}

// rows is all that is sealed, as it is stored.
func rows(t *testing.T, a *app.App) string {
	t.Helper()
	var text string
	err := a.DB.Pool.QueryRow(t.Context(), `SELECT (SELECT string_agg(id || encryption_key_id || encrypted_kubeconfig::text, ',' ORDER BY id) FROM clusters) ||
		(SELECT string_agg(id || coalesce(key_id, '') || coalesce(sealed_cloud_init::text, ''), ',' ORDER BY id) FROM templates)`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A key that is lost or wrong starts the portal all the same: pages work and say
// so, clusters are CREDENTIALS_LOCKED, nothing is sealed, signed or overwritten,
// and with the right key everything goes on.
func TestLockedStart(t *testing.T) {
	dir := t.TempDir()
	right := filepath.Join(dir, "keys")
	if err := crypto.WriteNew(right); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(right)
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(string(text), ":")
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	stranger := crypto.Generate()
	i := &installation{t: t, log: &lines{}, config: app.Config{DatabaseURL: domain.Secret(databasetest.URL(t)), KEKFile: right, Addr: "127.0.0.1:0", Workers: 1, Version: "test"}}
	a := i.start()
	i.fill(a)
	before := rows(t, a)
	a.Close()

	for name, c := range map[string]struct {
		config func(*app.Config)
		says   string
	}{
		"no such file":       {func(c *app.Config) { c.KEKFile = filepath.Join(dir, "none") }, "There is no key file"},
		"readable to all":    {func(c *app.Config) { c.KEKFile = write("open", string(text), 0o644) }, "it cannot be read"},
		"malformed":          {func(c *app.Config) { c.KEKFile = write("bad", "nonsense", 0o600) }, "it cannot be read"},
		"not set":            {func(c *app.Config) { c.KEKFile = "" }, "There is no key file"},
		"of another portal":  {func(c *app.Config) { c.KEKFile = write("stranger", stranger, 0o600) }, "The key file lacks " + id},
		"wrong under its id": {func(c *app.Config) { c.KEKFile = write("wrong", id+":"+strings.SplitN(stranger, ":", 2)[1], 0o600) }, "other keys than those that sealed the credentials under " + id},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			l := &installation{t: t, log: &lines{}, config: i.config}
			c.config(&l.config)
			a := l.start()
			if !strings.Contains(l.log.String(), "credentials are locked") {
				t.Errorf("the log says nothing: %s", l.log)
			}

			// Pages work, from what is known; admins are told on each.
			base := serve(t, a)
			root, dev := browse(t, base, "root"), browse(t, base, "dev")
			for _, path := range []string{"/", "/clusters", "/clusters/" + i.cluster, "/catalog", "/audit", "/people"} {
				if status, text := root(http.MethodGet, path, nil); status != http.StatusOK || !strings.Contains(text, "Credentials are locked") || !strings.Contains(text, c.says) {
					t.Errorf("%s: %d, banner %v", path, status, strings.Contains(text, "data-lockout"))
				}
			}
			if status, text := dev(http.MethodGet, "/", nil); status != http.StatusOK || strings.Contains(text, "Credentials are locked") {
				t.Errorf("dev: %d", status)
			}
			if status, text := dev(http.MethodGet, "/readyz", nil); status != http.StatusOK || !strings.Contains(text, "credentials are locked") {
				t.Errorf("readyz: %d %s", status, text)
			}

			// The cluster says why.
			if err := a.Clusters.Check(ctx, i.cluster); err != nil {
				t.Fatal(err)
			}
			if row := a.DB.Ent.Cluster.Query().OnlyX(ctx); row.Status != "UNREACHABLE" || row.StatusReason.Code != apperr.ErrCredentialsLocked {
				t.Errorf("%s %+v", row.Status, row.StatusReason)
			}
			if status, text := root(http.MethodGet, "/clusters/"+i.cluster, nil); status != http.StatusOK || !strings.Contains(text, "The credential of east is locked") {
				t.Errorf("its page: %d", status)
			}

			// Nothing is sealed, signed, or overwritten.
			admin, err := a.Accounts.PersonByUsername(ctx, "root")
			if err != nil {
				t.Fatal(err)
			}
			actor, err := a.Accounts.Actor(ctx, admin.ID, "", "")
			if err != nil {
				t.Fatal(err)
			}
			_, _, refused := a.Tokens.Create(ctx, domain.Shepherd(), admin.ID, token.New{Name: "x", Scopes: domain.Scopes(), Life: time.Hour})
			_, err2 := a.Clusters.ReadUpload(ctx, actor, "f", kubeconfigtest.Config("server: https://10.0.0.2:6443", "token: x"))
			_, err3 := a.Catalog.CreateTemplate(ctx, actor, catalog.NewTemplate{Name: "fedora", DisplayName: "Fedora", Image: "docker://quay.io/x:2", MinDiskGiB: 10, CloudInit: domain.Secret("#cloud-config\npassword: y\n")})
			_, err4 := a.Catalog.OpenCloudInit(ctx, i.template)
			_, err5 := a.Audit.Head(ctx)
			_, _, err6 := a.Tokens.Enter(ctx, i.bearer, "")
			for what, err := range map[string]error{"token": refused, "upload": err2, "template": err3, "first boot": err4, "head": err5, "bearer": err6} {
				if apperr.CodeOf(err) != apperr.ErrCredentialsLocked {
					t.Errorf("%s: %v", what, err)
				}
			}
			if status, text := root(http.MethodPost, "/clusters/new", url.Values{"text": {string(kubeconfigtest.Config("server: https://10.0.0.2:6443", "token: x"))}}); status != http.StatusServiceUnavailable || !strings.Contains(text, "CREDENTIALS_LOCKED") {
				t.Errorf("adding a cluster: %d", status)
			}
			if a.Audit.PublicKey() != "" {
				t.Error("there is a key for signatures")
			}
			if n, err := a.Audit.Seal(ctx); err != nil || n == 0 { // hashes need no key
				t.Errorf("sealed %d, %v", n, err)
			}
			if rows(t, a) != before {
				t.Error("something that is sealed was changed")
			}
		})
	}

	// The right key is back.
	a = i.start()
	ctx := t.Context()
	cred, _, err := (&cluster.Credentials{DB: a.DB, Keys: a.Clusters.Keys}).Credential(ctx, i.cluster)
	if err != nil || string(cred.Token) != kubeconfigtest.Token {
		t.Errorf("%v", err)
	}
	if _, _, err := a.Tokens.Enter(ctx, i.bearer, ""); err != nil {
		t.Error(err)
	}
	if _, err := a.Audit.Head(ctx); err != nil {
		t.Error(err)
	}
	if _, err := a.Catalog.OpenCloudInit(ctx, i.template); err != nil {
		t.Error(err)
	}
	if _, text := browse(t, serve(t, a), "root")(http.MethodGet, "/clusters", nil); strings.Contains(text, "data-lockout") {
		t.Error("the banner stays")
	}
	a.Close()

	// The old key is lost for good, and the file says so: a new one may seal. What
	// the old one sealed waits for its own replacement.
	i.config.KEKFile = write("on", stranger+"\n"+id+":lost\n", 0o600)
	a = i.start()
	if err := a.Clusters.Check(ctx, i.cluster); err != nil {
		t.Fatal(err)
	}
	if row := a.DB.Ent.Cluster.Query().OnlyX(ctx); row.StatusReason.Code != apperr.ErrCredentialsLocked {
		t.Errorf("%+v", row.StatusReason)
	}
	admin, _ := a.Accounts.PersonByUsername(ctx, "root")
	actor, err := a.Accounts.Actor(ctx, admin.ID, "", "")
	if err != nil {
		t.Fatal(err)
	}
	draft, err := a.Clusters.ReadUpload(ctx, actor, "f", kubeconfigtest.Config("server: https://10.0.0.1:6443", "token: new"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Clusters.ReplaceCredential(ctx, actor, i.cluster, draft, "main"); err != nil {
		t.Fatal(err)
	}
	if cred, _, err := (&cluster.Credentials{DB: a.DB, Keys: a.Clusters.Keys}).Credential(ctx, i.cluster); err != nil || string(cred.Token) != "new" {
		t.Errorf("%v", err)
	}
}

// Beside an empty database a key file that is missing is a mistake of the start,
// and a private one makes its own. Beside one with secrets none is ever made.
func TestNoKeyIsMadeBesideSecrets(t *testing.T) {
	_, err := app.New(t.Context(), app.Config{DatabaseURL: domain.Secret(databasetest.Empty(t)), KEKFile: filepath.Join(t.TempDir(), "none")}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "SHEPHERD_KEK_FILE") {
		t.Errorf("got %v", err)
	}

	dir, err := os.MkdirTemp("", "shepherd-locked-") // the private server may run as another account
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	i := &installation{t: t, log: &lines{}, config: app.Config{DataDir: filepath.Join(dir, "data"), Addr: "127.0.0.1:0", Workers: 1}}
	a := i.start()
	i.fill(a)
	before := rows(t, a)
	a.Close()
	file := filepath.Join(dir, "data", "keys")
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	a = i.start()
	if _, err := os.Stat(file); err == nil {
		t.Error("a new key was made beside secrets of the old one")
	}
	if a.Clusters.Keys.Locked() == nil || rows(t, a) != before {
		t.Error("it is not locked, or something was changed")
	}
	a.Close()
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	if a = i.start(); a.Clusters.Keys.Locked() != nil {
		t.Error("it stays locked")
	}
}
