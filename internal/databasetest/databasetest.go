// Package databasetest gives each test a fresh PostgreSQL database, copied from
// a template that was migrated once per test process. The server is the one of
// SHEPHERD_TEST_DATABASE_URL when it is set, else a private one.
package databasetest

import (
	"context"
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"kubevirt-shepherd.io/shepherd/internal/database"
)

// source is the server and the migrated template of this test process.
type source struct{ base, template string }

var open = sync.OnceValues(func() (source, error) {
	ctx := context.Background()
	base := os.Getenv("SHEPHERD_TEST_DATABASE_URL")
	if base == "" {
		// Not t.TempDir: it is closed to others, and PostgreSQL runs as another
		// account when we are root. The server ends with this process.
		dir, err := os.MkdirTemp("", "shepherd-test-")
		if err != nil {
			return source{}, err
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return source{}, err
		}
		p, err := database.StartPrivate(ctx, dir+"/pg")
		if err != nil {
			return source{}, err
		}
		base = p.URL
	}
	// A template of its own, so that test processes with different code can
	// share a server.
	s := source{base, "template_" + uuid.NewString()}
	if err := exec(ctx, base, `CREATE DATABASE `+quote(s.template)); err != nil {
		return source{}, err
	}
	return s, database.Migrate(ctx, named(base, s.template))
})

// URL makes a fresh, migrated database and gives its address. It is dropped
// when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	name := "test_" + uuid.NewString()
	if err := exec(t.Context(), s.base, `CREATE DATABASE `+quote(name)+` TEMPLATE `+quote(s.template)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := exec(context.Background(), s.base, `DROP DATABASE `+quote(name)+` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	return named(s.base, name)
}

// Empty makes a fresh database without any table.
func Empty(t testing.TB) string {
	t.Helper()
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	name := "empty_" + uuid.NewString()
	if err := exec(t.Context(), s.base, `CREATE DATABASE `+quote(name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exec(context.Background(), s.base, `DROP DATABASE `+quote(name)+` WITH (FORCE)`) })
	return named(s.base, name)
}

// New opens a fresh, migrated database.
func New(t testing.TB) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func exec(ctx context.Context, url, sql string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	_, err = c.Exec(ctx, sql)
	return err
}

func named(base, name string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	u.Path = "/" + name
	return u.String()
}
