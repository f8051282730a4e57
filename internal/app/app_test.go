package app_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
)

// A start that fails says why and takes down what it had begun.
func TestNewFails(t *testing.T) {
	for name, c := range map[string]struct {
		config app.Config
		says   string
	}{
		"no database": {app.Config{DatabaseURL: domain.Secret("postgres://nobody@127.0.0.1:1/none?connect_timeout=2")}, "connect"},
		"no keys":     {app.Config{DatabaseURL: domain.Secret(databasetest.Empty(t))}, "SHEPHERD_KEK_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := app.New(t.Context(), c.config, slog.New(slog.DiscardHandler))
			if a != nil || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, %v; want an error with %q", a, err, c.says)
			}
		})
	}
}

// What the environment says of signing in is checked at the start, all at once.
func TestSignInFromEnvironment(t *testing.T) {
	dir := t.TempDir()
	secret, empty := filepath.Join(dir, "secret"), filepath.Join(dir, "empty")
	for file, text := range map[string]string{secret: " s3cret\n", empty: "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(pairs ...string) (app.Config, error) {
		env := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			env[pairs[i]] = pairs[i+1]
		}
		return app.FromEnvironment(func(name string) string { return env[name] })
	}
	const issuer, client = "SHEPHERD_OIDC_ISSUER", "SHEPHERD_OIDC_CLIENT_ID"
	if c, err := read(); err != nil || c.OIDC != nil || c.Passwords != account.PasswordsOn {
		t.Errorf("nothing set: %+v, %v", c.OIDC, err)
	}
	c, err := read(issuer, "https://sso.example.com/realms/main", client, "shepherd", "SHEPHERD_OIDC_CLIENT_SECRET_FILE", secret,
		"SHEPHERD_OIDC_GROUPS_CLAIM", "groups", "SHEPHERD_OIDC_ALLOWED_GROUPS", "vm users, vm-admins,", "SHEPHERD_OIDC_NEW_PEOPLE", "on",
		"SHEPHERD_URL", "https://vms.example.com", "SHEPHERD_LOCAL_SIGN_IN", "break-glass")
	if err != nil {
		t.Fatal(err)
	}
	o := c.OIDC
	if string(o.ClientSecret) != "s3cret" || !slices.Equal(o.AllowedGroups, []string{"vm users", "vm-admins"}) || !c.NewPeople || c.Passwords != account.PasswordsBreakGlass ||
		o.RedirectURL != "https://vms.example.com/login/oidc/callback" || o.UsernameClaim != "preferred_username" || !slices.Equal(o.Scopes, []string{"profile", "email"}) || o.Name == "" {
		t.Errorf("%+v", o)
	}
	if s := fmt.Sprintf("%v %+v %#v", *o, *o, *o); strings.Contains(s, "s3cret") {
		t.Error("the secret is printed")
	}
	for name, env := range map[string][]string{
		"want https":              {issuer, "http://sso.example.com", client, "x"},
		"CLIENT_ID is not set":    {issuer, "https://sso.example.com"},
		"ISSUER is not set":       {client, "x"},
		"needs SHEPHERD_OIDC_GRO": {issuer, "https://sso.example.com", client, "x", "SHEPHERD_OIDC_ALLOWED_GROUPS", "a"},
		"the file is empty":       {issuer, "https://sso.example.com", client, "x", "SHEPHERD_OIDC_CLIENT_SECRET_FILE", empty},
		"no such file":            {issuer, "https://sso.example.com", client, "x", "SHEPHERD_OIDC_CLIENT_SECRET_FILE", empty + "x"},
		"want on or off":          {issuer, "https://sso.example.com", client, "x", "SHEPHERD_OIDC_NEW_PEOPLE", "yes"},
		"nobody could sign in":    {"SHEPHERD_LOCAL_SIGN_IN", "off"},
		"want on, break-glass":    {"SHEPHERD_LOCAL_SIGN_IN", "no"},
	} {
		if _, err := read(env...); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v, want %q", env, err, name)
		}
	}
}

// Entries of the audit log leave the database only for a directory, and not
// before 90 days.
func TestAuditRetention(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "90d": 90 * 24 * time.Hour, "730d": 730 * 24 * time.Hour, "89d": -1, "730": -1, "2y": -1, "-100d": -1, "d": -1, "9999999999999d": -1,
	} {
		c, err := app.FromEnvironment(func(name string) string {
			return map[string]string{"SHEPHERD_AUDIT_RETENTION": text, "SHEPHERD_AUDIT_ARCHIVE": "/archive"}[name]
		})
		if (err != nil) != (want < 0) || err == nil && (c.AuditRetention != want || c.AuditArchive != "/archive") {
			t.Errorf("%q: %v, %v", text, c.AuditRetention, err)
		}
	}
	if _, err := app.FromEnvironment(func(name string) string { return map[string]string{"SHEPHERD_AUDIT_RETENTION": "730d"}[name] }); err == nil {
		t.Error("entries would be deleted, and kept nowhere")
	}
}
