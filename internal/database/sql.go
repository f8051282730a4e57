package database

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/vm"
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

// NameLock is a kind of names of which one is registered at a time.
type NameLock int32

// LockNamespace is held by who registers a namespace.
const LockNamespace NameLock = 1

// LockName keeps others from taking the same lock for the same name until tx
// ends. Two names that share a hash wait for each other, which harms nothing.
func LockName(ctx context.Context, tx *ent.Tx, kind NameLock, name string) error {
	_, err := tx.SQLTx().ExecContext(ctx, `SELECT pg_advisory_xact_lock($1, hashtext($2))`, int32(kind), name)
	return err
}

// AuditLink is one link of the chain over the audit log, see package audit.
// Row is the sealed entry in its canonical form, nil when the entry is gone.
type AuditLink struct {
	Seq, Entry int64
	Hash, Row  []byte
}

// auditRow is the canonical form of an entry a: PostgreSQL's binary form of a
// record, which has the number of columns, and for each its type, its length
// (-1 for NULL) and its bytes. So no two entries have the same bytes. An entry
// that has nothing in the columns of the second form is in the first one, as all
// were before there were these columns; the number of columns tells which it is.
const (
	auditRow = `CASE WHEN num_nonnulls(a.actor_id, a.on_behalf_of_id, a.on_behalf_of, a.via, a.via_id, a.via_name, a.changes) = 0 ` +
		`THEN pg_catalog.record_send(ROW(` + auditRow1 + `)) ELSE pg_catalog.record_send(ROW(` + auditRow1 + auditRow2 + `)) END`
	auditRow1 = `a.id::bigint, a.created_at::timestamptz, a.actor::text, a.action::text, a.resource_type::text, ` +
		`a.resource_id::text, a.resource_name::text, a.system_id::text, a.result::text, a.reason::text, a.details::jsonb, a.request_id::text, a.ip_address::text`
	auditRow2 = `, a.actor_id::text, a.on_behalf_of_id::text, a.on_behalf_of::text, a.via::text, a.via_id::text, a.via_name::text, a.changes::jsonb`
)

// SeenVM is an observation of one VM. UID and Version are the object's.
type SeenVM struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	UID       string          `json:"uid"`
	Version   string          `json:"version"`
	Operation string          `json:"operation,omitempty"` // the event that made it, as it says itself
	Deleted   bool            `json:"deleted"`
	State     string          `json:"state"`
	Health    string          `json:"health"`
	Problem   json.RawMessage `json:"problem,omitempty"` // nil: none
	IP        string          `json:"ip"`
	Node      string          `json:"node"`
	GuestOS   string          `json:"guest_os"`
	StartedAt *time.Time      `json:"started_at,omitempty"`
	SeenAt    time.Time       `json:"seen_at"`
}

// ObservedVM is a VM that an observation was written to.
type ObservedVM struct {
	ID, ServiceID, SystemID, ClusterID uuid.UUID
	TicketID                           int
	WasBad, IsBad                      bool // its health is domain.HealthBad
	News                               bool // a page shows something else now
}

// numeric is a resource version that can be compared: etcd's revision. Others are
// opaque, and what comes later is newer.
const numeric = ` ~ '^[0-9]{1,20}$' `

// ObserveVMs writes what was seen of VMs of a cluster, at most one observation of
// each object, into their rows, and says what came of it. Nothing is written for
// a VM that is unknown or has another UID, for a version that is older than the
// one that is known (unless the VM was missing), for a deletion that somebody has
// ordered (its worker says when it is done), and for what was written less than a
// minute before. A row without a UID belongs to the object that one of its orders
// has made.
func ObserveVMs(ctx context.Context, tx *ent.Tx, cluster uuid.UUID, seen []SeenVM) ([]ObservedVM, error) {
	batch, err := json.Marshal(seen)
	if err != nil {
		return nil, err
	}
	// Locked in one order for all transactions, before the statement that
	// compares: that one then sees what those have written who were faster.
	if _, err := tx.SQLTx().ExecContext(ctx, `SELECT v.id FROM vms v
		JOIN json_to_recordset($2::json) AS s(namespace text, name text) ON s.namespace = v.namespace AND s.name = v.name
		WHERE v.cluster_id = $1 AND v.deleted_at IS NULL ORDER BY v.id FOR NO KEY UPDATE OF v`, cluster, batch); err != nil {
		return nil, fmt.Errorf("lock observed VMs: %w", err)
	}
	rows, err := tx.SQLTx().QueryContext(ctx, `
		WITH seen AS (
			SELECT was.id, was.health AS was, s.*,
				(was.state, was.problem, coalesce(was.ip_address, ''), coalesce(was.node_name, ''), coalesce(was.guest_os, ''))
					IS DISTINCT FROM (s.state, s.problem, s.ip, s.node, s.guest_os) AS news
			FROM vms was JOIN json_to_recordset($2::json) AS s(namespace text, name text, uid text, version text, operation text, deleted boolean,
				state text, health text, problem jsonb, ip text, node text, guest_os text, started_at timestamptz, seen_at timestamptz)
				ON s.namespace = was.namespace AND s.name = was.name
			WHERE was.cluster_id = $1 AND was.deleted_at IS NULL
			AND CASE WHEN coalesce(was.uid, '') <> '' THEN was.uid = s.uid
				ELSE EXISTS (SELECT FROM domain_events e WHERE e.id::text = s.operation AND e.aggregate_type = 'vm' AND e.aggregate_id = was.id::text AND e.type = $5) END
			AND CASE
				WHEN s.deleted THEN was.state <> $3 AND NOT EXISTS (SELECT FROM domain_events e
					WHERE e.aggregate_type = 'vm' AND e.aggregate_id = was.id::text AND e.type = $6 AND e.status IN ($7, $8))
				WHEN was.state <> $3 AND was.resource_version `+numeric+` AND s.version `+numeric+` THEN s.version::numeric >= was.resource_version::numeric
				ELSE true END
		)
		UPDATE vms v SET uid = s.uid, observed_at = s.seen_at, updated_at = now(), state = s.state, health = s.health, problem = s.problem,
			resource_version = CASE WHEN s.deleted THEN v.resource_version ELSE s.version END,
			ip_address = CASE WHEN s.deleted THEN v.ip_address ELSE s.ip END,
			node_name = CASE WHEN s.deleted THEN v.node_name ELSE s.node END,
			guest_os = CASE WHEN s.deleted THEN v.guest_os ELSE s.guest_os END,
			started_at = CASE WHEN s.deleted THEN v.started_at ELSE s.started_at END
		FROM seen s WHERE v.id = s.id
			AND (s.news OR s.deleted OR (v.uid, v.resource_version, v.started_at) IS DISTINCT FROM (s.uid, s.version, s.started_at) OR v.observed_at IS NULL OR v.observed_at < s.seen_at - interval '1 minute')
		RETURNING v.id, v.service_id, v.system_id, v.cluster_id, v.ticket_id, s.was = $4, v.health = $4, s.news OR s.deleted`,
		cluster, batch, vm.StateMissing, vm.HealthBad, domainevent.TypeVM_CREATE, domainevent.TypeVM_DELETE, domainevent.StatusPENDING, domainevent.StatusPROCESSING)
	if err != nil {
		return nil, fmt.Errorf("observe VMs: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []ObservedVM
	for rows.Next() {
		var o ObservedVM
		if err := rows.Scan(&o.ID, &o.ServiceID, &o.SystemID, &o.ClusterID, &o.TicketID, &o.WasBad, &o.IsBad, &o.News); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, rows.Err()
}

// Heard notes when clusters were last heard, given as ages because the clocks of
// replicas differ, and says of which it did. A time never goes back. Rows that
// others hold just now, such as a check that writes its findings, are left out.
func Heard(ctx context.Context, tx *ent.Tx, ages map[uuid.UUID]time.Duration) ([]uuid.UUID, error) {
	ids, seconds := make([]string, 0, len(ages)), make([]float64, 0, len(ages))
	for id, age := range ages {
		ids, seconds = append(ids, id.String()), append(seconds, age.Seconds())
	}
	rows, err := tx.SQLTx().QueryContext(ctx, `WITH heard AS (
			SELECT c.id, clock_timestamp() - make_interval(secs => h.age) AS at FROM clusters c
			JOIN unnest($1::text[]::uuid[], $2::float8[]) AS h(id, age) ON h.id = c.id ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED
		)
		UPDATE clusters c SET heard_at = GREATEST(c.heard_at, h.at) FROM heard h WHERE c.id = h.id RETURNING c.id`, ids, seconds)
	if err != nil {
		return nil, fmt.Errorf("heard clusters: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var written []uuid.UUID
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		written = append(written, id)
	}
	return written, rows.Err()
}

// auditLock is the key of the advisory lock of who seals.
const auditLock = 7230421967

// LockAuditChain makes tx the only one that seals, until it ends. It is not ok
// when another one seals just now.
func LockAuditChain(ctx context.Context, tx *ent.Tx) (ok bool, err error) {
	err = tx.SQLTx().QueryRowContext(ctx, `SELECT pg_try_advisory_xact_lock($1)`, auditLock).Scan(&ok)
	return ok, err
}

// TakeUnsealed takes up to limit entries off the list of those that wait for
// their seal. Seq and Hash are still to be filled in.
func TakeUnsealed(ctx context.Context, tx *ent.Tx, limit int) ([]AuditLink, error) {
	rows, err := tx.SQLTx().QueryContext(ctx, `WITH taken AS (DELETE FROM audit_unsealed WHERE id IN (SELECT id FROM audit_unsealed ORDER BY id LIMIT $1) RETURNING id)
		SELECT t.id, CASE WHEN a.id IS NOT NULL THEN `+auditRow+` END FROM taken t LEFT JOIN audit_logs a ON a.id = t.id ORDER BY t.id`, limit)
	if err != nil {
		return nil, fmt.Errorf("unsealed entries: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var links []AuditLink
	for rows.Next() {
		var l AuditLink
		if err := rows.Scan(&l.Entry, &l.Row); err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, rows.Err()
}

// AddSeals appends links to the chain.
func AddSeals(ctx context.Context, tx *ent.Tx, links []AuditLink) error {
	seqs, entries, hashes := make([]int64, len(links)), make([]int64, len(links)), make([][]byte, len(links))
	for i, l := range links {
		seqs[i], entries[i], hashes[i] = l.Seq, l.Entry, l.Hash
	}
	_, err := tx.SQLTx().ExecContext(ctx, `INSERT INTO audit_seals (id, audit_id, hash) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])`, seqs, entries, hashes)
	return err
}

// AuditChain calls fn with up to limit links that follow the one with number
// after, in order, and says how many there were. What fn gets is valid until it
// returns.
func (db *DB) AuditChain(ctx context.Context, after int64, limit int, fn func(AuditLink) error) (n int, err error) {
	err = pgx.BeginTxFunc(ctx, db.Pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// To start workers takes longer than to read a part without them.
		if _, err := tx.Exec(ctx, `SET LOCAL max_parallel_workers_per_gather = 0`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT s.id, s.audit_id, s.hash, CASE WHEN a.id IS NOT NULL THEN `+auditRow+` END
			FROM audit_seals s LEFT JOIN audit_logs a ON a.id = s.audit_id WHERE s.id > $1 ORDER BY s.id LIMIT $2`, after, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var l AuditLink
			if err := rows.Scan(&l.Seq, &l.Entry, (*pgtype.DriverBytes)(&l.Hash), (*pgtype.DriverBytes)(&l.Row)); err != nil {
				return err
			}
			if err := fn(l); err != nil {
				return err
			}
			n++
		}
		return rows.Err()
	})
	return n, err
}

// AuditLinks calls fn with the links of some entries, in order, and the hash of
// the link before each; it is nil for the first link. Entries without a link are
// left out. What fn gets is valid until it returns.
func (db *DB) AuditLinks(ctx context.Context, entries []int64, fn func(l AuditLink, before []byte) error) error {
	rows, err := db.Pool.Query(ctx, `SELECT s.id, s.audit_id, s.hash, `+auditRow+`,
		coalesce((SELECT b.hash FROM audit_seals b WHERE b.id = s.id - 1), (SELECT n.hash FROM audit_anchors n WHERE n.id = s.id - 1))
		FROM audit_seals s JOIN audit_logs a ON a.id = s.audit_id WHERE s.audit_id = ANY($1) ORDER BY s.id`, entries)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var l AuditLink
		var before []byte
		if err := rows.Scan(&l.Seq, &l.Entry, &l.Hash, &l.Row, &before); err != nil {
			return err
		}
		if err := fn(l, before); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Unsealed is the first entry with a number above after, and at most upTo, that
// has no seal although it is older than grace by the database's clock, or that
// claims to come from the future; 0 when there is none.
func (db *DB) Unsealed(ctx context.Context, after, upTo int64, grace time.Duration) (entry int64, err error) {
	err = db.Pool.QueryRow(ctx, `SELECT coalesce(min(a.id), 0) FROM audit_logs a
		LEFT JOIN audit_seals s ON s.audit_id = a.id AND s.audit_id > $1 AND s.audit_id <= $2
		WHERE a.id > $1 AND a.id <= $2 AND s.audit_id IS NULL AND a.created_at NOT BETWEEN now() - $3::interval AND now() + $3::interval`, after, upTo, grace).Scan(&entry)
	return entry, err
}

// RemoveArchived takes up to limit links of the audit chain, the oldest first,
// out of the database with their entries, and says how many there were. The
// database lets only those go that an anchor covers.
func RemoveArchived(ctx context.Context, tx *ent.Tx, limit int) (n int, err error) {
	err = tx.SQLTx().QueryRowContext(ctx, `SELECT remove_archived_audit($1)`, limit).Scan(&n)
	return n, err
}

// SealedColumn is a column with secrets that package crypto sealed, and the one
// beside it that names the key. Table and Column are also what a secret is bound
// to (crypto.AAD). Short-lived ones are gone by themselves within a day.
type SealedColumn struct {
	Table, Column, Key string
	ShortLived         bool
}

// SealedColumns are all there are. A test holds them against the schema.
func SealedColumns() []SealedColumn {
	return []SealedColumn{
		{Table: "clusters", Column: "encrypted_kubeconfig", Key: "encryption_key_id"},
		{Table: "templates", Column: "sealed_cloud_init", Key: "key_id"},
		{Table: "cluster_replacements", Column: "sealed", Key: "key_id", ShortLived: true},
		{Table: "cluster_drafts", Column: "sealed", Key: "key_id", ShortLived: true},
	}
}

// SealedSecret is one secret of a sealed column.
type SealedSecret struct {
	Row    uuid.UUID
	Key    string
	Sealed []byte
}

// CountSealed says how many secrets of a column each key has sealed.
func (db *DB) CountSealed(ctx context.Context, c SealedColumn) (map[string]int, error) {
	return db.countByKey(ctx, `SELECT `+c.Key+`, count(*) FROM `+c.Table+` WHERE length(`+c.Column+`) > 0 GROUP BY 1`)
}

// CountAnchors says how many anchors of the audit log each key has signed.
func (db *DB) CountAnchors(ctx context.Context) (map[string]int, error) {
	return db.countByKey(ctx, `SELECT key_id, count(*) FROM audit_anchors GROUP BY 1`)
}

func (db *DB) countByKey(ctx context.Context, query string) (map[string]int, error) {
	rows, err := db.Pool.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var key string
		var n int
		if err := rows.Scan(&key, &n); err != nil {
			return nil, err
		}
		counts[key] = n
	}
	return counts, rows.Err()
}

// ListSealed gives up to limit secrets of a column that some keys have sealed, in
// the order of their rows, from the one that follows after.
func (db *DB) ListSealed(ctx context.Context, c SealedColumn, keys []string, after uuid.UUID, limit int) ([]SealedSecret, error) {
	rows, err := db.Pool.Query(ctx, `SELECT id, `+c.Key+`, `+c.Column+` FROM `+c.Table+
		` WHERE id > $1 AND `+c.Key+` = ANY($2) AND length(`+c.Column+`) > 0 ORDER BY id LIMIT $3`, after, keys, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s SealedSecret, err error) {
		return s, row.Scan(&s.Row, &s.Key, &s.Sealed)
	})
}

// ReplaceSealed puts one sealed form of a secret into the place of another, if
// that is still there: it is not ok when somebody was faster.
func ReplaceSealed(ctx context.Context, tx *ent.Tx, c SealedColumn, was, is SealedSecret) (ok bool, err error) {
	done, err := tx.SQLTx().ExecContext(ctx, `UPDATE `+c.Table+` SET `+c.Column+` = $1, `+c.Key+` = $2 WHERE id = $3 AND `+c.Key+` = $4 AND `+c.Column+` = $5`,
		is.Sealed, is.Key, was.Row, was.Key, was.Sealed)
	if err != nil {
		return false, err
	}
	n, err := done.RowsAffected()
	return n == 1, err
}

// Ping checks that the database answers and may be written to.
func (db *DB) Ping(ctx context.Context) error { return db.Pool.Ping(ctx) }

// Grant lets role, an account that does not own the tables, run the portal: it
// may write what the portal writes, and neither change records nor switch off
// their triggers. It has to be done again after a migration that adds a table.
func Grant(ctx context.Context, url, role string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	to := pgx.Identifier{role}.Sanitize()
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		var schema string
		if err := tx.QueryRow(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
			return err
		}
		in := pgx.Identifier{schema}.Sanitize()
		for _, sql := range []string{
			`GRANT USAGE ON SCHEMA ` + in + ` TO ` + to,
			`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ` + in + ` TO ` + to,
			`GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA ` + in + ` TO ` + to,
			`REVOKE UPDATE, DELETE, TRUNCATE ON audit_logs, audit_seals, audit_anchors, vm_revisions FROM ` + to,
			`GRANT EXECUTE ON FUNCTION remove_archived_audit(integer) TO ` + to,
			`REVOKE DELETE, TRUNCATE ON domain_events FROM ` + to,
			`REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON goose_db_version FROM ` + to,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("grant: %w", err)
			}
		}
		return nil
	})
}

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
