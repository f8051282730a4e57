// Package database opens the one PostgreSQL database of the portal: a pgx pool
// with ent, River and LISTEN on top of it, versioned migrations, and, where no
// database is given, a private server started from installed programs.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivermigrate"

	"kubevirt-shepherd.io/shepherd/ent"
	_ "kubevirt-shepherd.io/shepherd/ent/runtime" // schema hooks and defaults
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/migrations"
)

// Limits of every connection of the pool. A request that waits longer than
// this for the database fails with UNAVAILABLE rather than piling up.
const (
	maxConns         = 24
	statementTimeout = 20 * time.Second
	lockTimeout      = 5 * time.Second
	idleInTxTimeout  = 30 * time.Second
	connectTimeout   = 5 * time.Second
)

// DB is the database. All members share one pool.
type DB struct {
	Pool *pgxpool.Pool
	SQL  *sql.DB
	Ent  *ent.Client
	URL  string
}

// Open connects to url, a PostgreSQL connection string, and checks that it answers.
func Open(ctx context.Context, url string) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	cfg.MaxConns = maxConns
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	cfg.ConnConfig.RuntimeParams["application_name"] = "shepherd"
	for name, d := range map[string]time.Duration{
		"statement_timeout":                   statementTimeout,
		"lock_timeout":                        lockTimeout,
		"idle_in_transaction_session_timeout": idleInTxTimeout,
	} {
		cfg.ConnConfig.RuntimeParams[name] = fmt.Sprint(d.Milliseconds())
	}
	// After a fail-over an old primary may come back read-only: such a
	// connection is thrown away instead of failing every write (SQLSTATE 25006).
	cfg.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("database: %w", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	return &DB{Pool: pool, SQL: db, URL: url, Ent: ent.NewClient(ent.Driver(entsql.OpenDB(dialect.Postgres, db)))}, nil
}

// Addresses are the servers that the portal may talk to, as host:port; none for
// one that is reached through a socket file.
func (db *DB) Addresses() []string {
	c := db.Pool.Config().ConnConfig
	var list []string
	add := func(host string, port uint16) {
		if !strings.HasPrefix(host, "/") {
			list = append(list, net.JoinHostPort(host, strconv.Itoa(int(port))))
		}
	}
	add(c.Host, c.Port)
	for _, f := range c.Fallbacks {
		add(f.Host, f.Port)
	}
	return list
}

// Close gives back all connections.
func (db *DB) Close() {
	_ = db.SQL.Close()
	db.Pool.Close()
}

// River is the driver for the job queue on the same pool.
func (db *DB) River() riverdriver.Driver[*sql.Tx] {
	return riverdatabasesql.NewWithPgxListener(db.SQL, db.Pool)
}

// InTx runs fn in one transaction that ent and River share: all of it commits
// or nothing. Only use cases call it. In a dry run it is nothing, with
// domain.ErrDryRun.
func (db *DB) InTx(ctx context.Context, fn func(tx *ent.Tx) error) error {
	tx, err := db.Ent.Tx(ctx)
	if err != nil {
		return Classify(fmt.Errorf("begin: %w", err))
	}
	defer func() { _ = tx.Rollback() }()
	if err := fn(tx); err != nil {
		return Classify(err)
	}
	if domain.IsDryRun(ctx) {
		return domain.ErrDryRun
	}
	if err := recordDeed(ctx, tx); err != nil {
		return Classify(err)
	}
	return Classify(tx.Commit())
}

// Classify marks errors that mean "the database does not answer now" as
// UNAVAILABLE, and leaves all others as they are.
func Classify(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := apperr.From(err); ok {
		return err
	}
	var network net.Error
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		switch pg.Code[:2] {
		case "08", "53", "57", "25": // connection, resources, operator intervention and time-outs, read-only
			return apperr.New(apperr.ErrUnavailable).Because(err)
		}
		if pg.Code == "55P03" || pg.Code == "40P01" || pg.Code == "40001" { // lock not available, deadlock, serialization
			return apperr.New(apperr.ErrUnavailable).Because(err)
		}
	case errors.As(err, &network), errors.Is(err, pgx.ErrTxClosed), errors.Is(err, sql.ErrConnDone):
		return apperr.New(apperr.ErrUnavailable).Because(err)
	}
	return err
}

// Violates says whether err is the refusal of the named unique index.
func Violates(err error, index string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == index
}

// Migrate brings the schema up to date: ours, then River's. Replicas that
// start together wait for each other on a session lock.
func Migrate(ctx context.Context, url string) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	cfg.RuntimeParams["timezone"] = "UTC"
	db := stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }()
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // try every second for five minutes
	if err != nil {
		return err
	}
	files, err := fs.Sub(migrations.FS, ".")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	// River has no lock of its own; ours is given back by now, so take the
	// advisory lock on a connection for the time of its migration.
	return withLock(ctx, db, func(ctx context.Context) error {
		m, err := rivermigrate.New(riverdatabasesql.New(db), nil)
		if err != nil {
			return err
		}
		if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
			return fmt.Errorf("migrate the job queue: %w", err)
		}
		return nil
	})
}
