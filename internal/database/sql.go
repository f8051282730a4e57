package database

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kubevirt-shepherd.io/shepherd/ent"
)

// This is the one file outside migrations/ with handwritten SQL: what ent
// cannot say. Everything is parameterised.

// channel carries the topics of changed objects between replicas.
const channel = "shepherd"

// notifyLimit keeps a payload below PostgreSQL's 8,000 bytes.
const notifyLimit = 7000

// Notify tells every replica, when tx commits, that the topics have changed.
// Call it once per transaction: a pending NOTIFY takes a lock at commit.
func Notify(ctx context.Context, tx *ent.Tx, topics ...string) error {
	for len(topics) > 0 {
		n, size := 0, 0
		for n < len(topics) && size+len(topics[n])+1 <= notifyLimit {
			size += len(topics[n]) + 1
			n++
		}
		if n == 0 {
			return fmt.Errorf("notify: topic of %d bytes", len(topics[0]))
		}
		if _, err := tx.SQLTx().ExecContext(ctx, `SELECT pg_notify($1, $2)`, channel, strings.Join(topics[:n], "\n")); err != nil {
			return fmt.Errorf("notify: %w", err)
		}
		topics = topics[n:]
	}
	return nil
}

// Listen calls fn with the topics of every committed Notify, on a connection
// of its own, until ctx ends or the connection breaks. ready is called once
// the connection listens: what changes after that is not missed.
func (db *DB) Listen(ctx context.Context, ready func(), fn func(topics []string)) error {
	c, err := pgx.Connect(ctx, db.URL)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	if _, err := c.Exec(ctx, `LISTEN `+pgx.Identifier{channel}.Sanitize()); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ready()
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		fn(strings.Split(n.Payload, "\n"))
	}
}

// Now is the database's time: leases and deadlines use it, so that replicas
// with wrong clocks agree.
func (db *DB) Now(ctx context.Context, tx *ent.Tx) (time.Time, error) {
	var t time.Time
	err := tx.SQLTx().QueryRowContext(ctx, `SELECT clock_timestamp()`).Scan(&t)
	return t.UTC(), err
}

// Ping checks that the database answers and may be written to.
func (db *DB) Ping(ctx context.Context) error { return db.Pool.Ping(ctx) }

// migrationLock is the key of the advisory lock around River's migration.
const migrationLock = 7230421966

func withLock(ctx context.Context, db *sql.DB, fn func(context.Context) error) error {
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, migrationLock); err != nil {
		return fmt.Errorf("migration lock: %w", err)
	}
	defer func() {
		_, _ = c.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, migrationLock)
	}()
	return fn(ctx)
}
