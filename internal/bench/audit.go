package bench

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Goals of Audit (reference C2, P14): how long a million entries may take to
// verify, and what a seal may add to a transaction, at p50.
const (
	verifyGoal = 5 * time.Second
	writeGoal  = 300 * time.Microsecond
)

// entries fills the log with rows of the usual shape.
const entries = `INSERT INTO audit_logs (created_at, actor, action, resource_type, resource_id, resource_name, system_id, result, reason, details, request_id, ip_address)
	SELECT now() - (($1::int - i) * interval '1 second'), 'user-' || i % 500, (ARRAY['ticket.submit', 'ticket.approve', 'vm.order', 'session.sign_in'])[1 + i % 4],
	  'vm', gen_random_uuid()::text, 'shop-redis-' || i % 10000, gen_random_uuid()::text, 'done', 'Cache for the load tests of team ' || i % 40,
	  jsonb_build_object('cpu', 2, 'memory_mib', 4096, 'operation', 'create', 'title', 'shop-redis'), gen_random_uuid()::text, '192.0.2.' || i % 250
	FROM generate_series($2::int, $3::int) i`

// Audit measures the chain over a large log: to seal and to verify it, beside
// reading the same rows and hashing their bytes; a search that finds nothing;
// an export of all; and what sealing adds to a transaction that writes one entry.
func Audit(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench audit", flag.ContinueOnError)
	n := flags.Int("n", 1_000_000, "entries")
	if err := flags.Parse(args); err != nil {
		return err
	}
	a, _, done, err := scratch(ctx)
	if err != nil {
		return err
	}
	defer done()
	db, err := pgx.Connect(ctx, a.DatabaseURL())
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	const part = 100_000
	for from := 1; from <= *n; from += part {
		if _, err := db.Exec(ctx, entries, *n, from, min(*n, from+part-1)); err != nil {
			return fmt.Errorf("seed: %w", err)
		}
	}
	start := time.Now()
	sealed, err := a.Audit.Seal(ctx)
	if err != nil {
		return err
	}
	took := time.Since(start)
	fmt.Printf("seal      %d entries in %s, %.0f a second\n", sealed, took.Round(time.Millisecond), float64(sealed)/took.Seconds())
	if _, err := db.Exec(ctx, `VACUUM ANALYZE`); err != nil {
		return err
	}

	// The two take turns; the first round warms the caches.
	var whole, bare sample
	head, err := a.Audit.Head(ctx)
	if err != nil {
		return err
	}
	for i := range 4 {
		start := time.Now()
		if r, err := a.Audit.Verify(ctx, []audit.Head{head}, time.Minute); err != nil || int(r.Links) != sealed {
			return fmt.Errorf("verify: %d of %d links: %w", r.Links, sealed, err)
		}
		took := time.Since(start)
		floor, err := hashRows(ctx, db)
		if err != nil {
			return err
		}
		if i > 0 {
			whole, bare = append(whole, took), append(bare, floor)
		}
	}
	verified := whole.at(0.5)
	fmt.Printf("verify    %s, head included; the bare SELECT with SHA-256 %s: %.1f times; goal %s: %s\n", verified.Round(time.Millisecond),
		bare.at(0.5).Round(time.Millisecond), float64(verified)/float64(bare.at(0.5)), verifyGoal, verdict(verified <= verifyGoal))

	auditor, err := cast.Actor(ctx, a, cast.Admin)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name   string
		filter audit.Filter
	}{{"first page", audit.Filter{}}, {"text that is nowhere", audit.Filter{Query: "nobody wrote this"}}} {
		var took sample
		for range 5 {
			start := time.Now()
			if _, err := a.Audit.List(ctx, auditor, f.filter, listing.Page{}); err != nil {
				return err
			}
			took = append(took, time.Since(start))
		}
		fmt.Printf("list      %s: %s\n", f.name, took)
	}

	start = time.Now()
	export, err := a.Audit.Export(ctx, auditor, audit.Filter{}, audit.JSONL)
	if err != nil {
		return err
	}
	if err := export.Write(ctx, io.Discard); err != nil {
		return err
	}
	fmt.Printf("export    all of it as JSONL in %s\n", time.Since(start).Round(time.Millisecond))

	write := func() (time.Duration, error) {
		start := time.Now()
		err := audit.Record(ctx, a.DB.Ent, auditor, audit.Entry{Action: "vm.order", ResourceType: "vm", ResourceID: "x", ResourceName: "shop-redis-01"})
		return time.Since(start), err
	}
	var with, without sample
	for i := range 2000 {
		state, to := `ENABLE`, &with
		if i/100%2 == 1 { // in turns of a hundred
			state, to = `DISABLE`, &without
		}
		if i%100 == 0 {
			if _, err := db.Exec(ctx, `ALTER TABLE audit_logs `+state+` TRIGGER audit_logs_await_seal`); err != nil {
				return err
			}
		}
		took, err := write()
		if err != nil {
			return err
		}
		*to = append(*to, took)
	}
	more := with.at(0.5) - without.at(0.5)
	fmt.Printf("write     %s\n  no seal %s\n  %.3f ms more at p50; goal %s: %s\n", with, without, ms(more), writeGoal, verdict(more <= writeGoal))
	return nil
}

// hashRows reads every entry with its seal, and hashes the bytes.
func hashRows(ctx context.Context, db *pgx.Conn) (time.Duration, error) {
	start := time.Now()
	rows, err := db.Query(ctx, `SELECT s.hash, record_send(a) FROM audit_seals s JOIN audit_logs a ON a.id = s.audit_id ORDER BY s.id`)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	digest := sha256.New()
	for rows.Next() {
		var seal, row pgtype.DriverBytes
		if err := rows.Scan(&seal, &row); err != nil {
			return 0, err
		}
		digest.Reset()
		digest.Write(seal)
		digest.Write(row)
		digest.Sum(nil)
	}
	return time.Since(start), rows.Err()
}
