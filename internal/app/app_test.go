package app_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
)

// A start that fails says why and takes down what it had begun.
func TestNewFails(t *testing.T) {
	for name, c := range map[string]struct {
		config app.Config
		says   string
	}{
		"no database": {app.Config{DatabaseURL: "postgres://nobody@127.0.0.1:1/none?connect_timeout=2"}, "connect"},
		"no keys":     {app.Config{DatabaseURL: databasetest.Empty(t)}, "SHEPHERD_KEK_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := app.New(t.Context(), c.config, slog.New(slog.DiscardHandler))
			if a != nil || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, %v; want an error with %q", a, err, c.says)
			}
		})
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
