package database

import (
	"context"
	"fmt"

	"ariga.io/atlas/sql/sqltool"
	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/schema"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"kubevirt-shepherd.io/shepherd/ent/migrate"
)

// Diff writes the migration that leads from the files in dir to the ent
// schema. url is an empty database, where the files are replayed. When there is
// nothing to do the error is atlas' ErrNoPlan.
func Diff(ctx context.Context, url, dir, name string) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	files, err := sqltool.NewGooseDir(dir)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	return migrate.NewSchema(entsql.OpenDB(dialect.Postgres, db)).NamedDiff(ctx, name,
		schema.WithDir(files),
		schema.WithMigrationMode(schema.ModeReplay),
		schema.WithDialect(dialect.Postgres),
		schema.WithFormatter(sqltool.GooseFormatter),
		schema.WithErrNoPlan(true),
		schema.WithDropColumn(true), schema.WithDropIndex(true),
	)
}
