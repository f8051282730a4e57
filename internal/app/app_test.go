package app_test

import (
	"log/slog"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
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
