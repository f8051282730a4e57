package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

const grace = time.Minute

func newLog(t *testing.T) *audit.Log {
	t.Helper()
	keys, err := crypto.Load("", crypto.Generate())
	if err != nil {
		t.Fatal(err)
	}
	return &audit.Log{DB: databasetest.New(t), Keys: keys, Logger: slog.New(slog.DiscardHandler)}
}

// fill writes n entries and seals them, with what waited before.
func fill(t *testing.T, l *audit.Log, n int) {
	t.Helper()
	for i := range n {
		if err := audit.Record(t.Context(), l.DB.Ent, domain.Actor{Username: "alice", IP: "192.0.2.1"}, audit.Entry{
			Action: "vm.order", ResourceType: "vm", ResourceID: "x", ResourceName: fmt.Sprint("vm-", i), Reason: "why", Details: map[string]any{"b": 1, "a": "é"},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if sealed, err := l.Seal(t.Context()); err != nil || sealed < n {
		t.Fatalf("%d of %d sealed, %v", sealed, n, err)
	}
}

// tamper does what only somebody with all rights on the database can.
func tamper(t *testing.T, db *database.DB, statements ...string) {
	t.Helper()
	c, err := db.Pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	for _, sql := range append(append([]string{`SET session_replication_role = replica`}, statements...), `RESET session_replication_role`) {
		if tag, err := c.Exec(t.Context(), sql); err != nil || tag.RowsAffected() == 0 && !strings.Contains(tag.String(), "SET") {
			t.Fatalf("%s: %s, %v", sql, tag, err)
		}
	}
}

func TestVerifyNamesTheFault(t *testing.T) {
	t.Parallel()
	const reseal = `WITH gone AS (DELETE FROM audit_seals) INSERT INTO audit_unsealed SELECT id FROM audit_logs`
	for name, c := range map[string]struct {
		tamper     []string
		reseal     bool
		kind       string
		seq, entry int64
	}{
		"nothing":              {},
		"one byte of a reason": {tamper: []string{`UPDATE audit_logs SET reason = 'whz' WHERE id = 7`}, kind: "entry-changed", seq: 7, entry: 7},
		"a microsecond":        {tamper: []string{`UPDATE audit_logs SET created_at = created_at + interval '1 microsecond' WHERE id = 7`}, kind: "entry-changed", seq: 7, entry: 7},
		"nothing to empty":     {tamper: []string{`UPDATE audit_logs SET system_id = '' WHERE id = 7`}, kind: "entry-changed", seq: 7, entry: 7},
		"a letter moves to the next field": {tamper: []string{`UPDATE audit_logs SET actor = 'alic', action = 'evm.order' WHERE id = 7`},
			kind: "entry-changed", seq: 7, entry: 7},
		"a detail":            {tamper: []string{`UPDATE audit_logs SET details = jsonb_set(details, '{b}', '1.0') WHERE id = 7`}, kind: "entry-changed", seq: 7, entry: 7},
		"another result":      {tamper: []string{`UPDATE audit_logs SET result = 'refused' WHERE id = 7`}, kind: "entry-changed", seq: 7, entry: 7},
		"two rows change":     {tamper: []string{`UPDATE audit_logs SET actor = 'bob' WHERE id IN (9, 4)`}, kind: "entry-changed", seq: 4, entry: 4},
		"a seal":              {tamper: []string{`UPDATE audit_seals SET hash = sha256('x') WHERE id = 7`}, kind: "entry-changed", seq: 7, entry: 7},
		"two rows swap":       {tamper: []string{`UPDATE audit_seals SET audit_id = -id WHERE id IN (7, 8)`, `UPDATE audit_seals SET audit_id = 15 - id WHERE id IN (7, 8)`}, kind: "entry-changed", seq: 7, entry: 8},
		"a deleted row":       {tamper: []string{`DELETE FROM audit_logs WHERE id = 7`}, kind: "entry-missing", seq: 7, entry: 7},
		"with its seal":       {tamper: []string{`DELETE FROM audit_logs WHERE id = 7`, `DELETE FROM audit_seals WHERE id = 7`}, kind: "link-missing", seq: 7},
		"and the gap closed":  {tamper: []string{`DELETE FROM audit_logs WHERE id = 7`, `DELETE FROM audit_seals WHERE id = 7`, `UPDATE audit_seals SET id = id - 1 WHERE id > 7`}, kind: "entry-changed", seq: 7, entry: 8},
		"a cut tail":          {tamper: []string{`DELETE FROM audit_logs WHERE id > 9`, `DELETE FROM audit_seals WHERE id > 9`}, kind: "tail-missing", seq: 10},
		"all of it":           {tamper: []string{`DELETE FROM audit_logs`, `DELETE FROM audit_seals`}, kind: "tail-missing", seq: 1},
		"the chain rewritten": {tamper: []string{`UPDATE audit_logs SET actor = 'bob' WHERE id = 7`, reseal}, reseal: true, kind: "head-differs", seq: 10, entry: 10},
		"never sealed": {tamper: []string{`INSERT INTO audit_logs (created_at, actor, action, resource_type, resource_id, resource_name, result)
			VALUES (now() - interval '2 minutes', 'bob', 'a', 'b', 'c', 'd', 'done')`}, kind: "entry-unsealed", entry: 13},
		"from the future": {tamper: []string{`INSERT INTO audit_logs (created_at, actor, action, resource_type, resource_id, resource_name, result)
			VALUES (now() + interval '1 year', 'bob', 'a', 'b', 'c', 'd', 'done')`}, kind: "entry-unsealed", entry: 13},
		"numbered from below": {tamper: []string{`INSERT INTO audit_logs (id, created_at, actor, action, resource_type, resource_id, resource_name, result)
			VALUES (-5, '2020-01-01', 'bob', 'a', 'b', 'c', 'd', 'done')`}, kind: "entry-unsealed", entry: -5},
		"not waiting any more": {tamper: []string{`INSERT INTO audit_logs (created_at, actor, action, resource_type, resource_id, resource_name, result)
			VALUES (now(), 'bob', 'a', 'b', 'c', 'd', 'done')`}}, // younger than the grace
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t)
			fill(t, l, 10)
			head, err := l.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			fill(t, l, 2)
			last, err := l.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(c.tamper) > 0 {
				tamper(t, l.DB, c.tamper...)
			}
			if c.reseal {
				if _, err := l.Seal(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			r, err := l.Verify(t.Context(), []audit.Head{last, head}, grace)
			var f *audit.Fault
			if errors.As(err, &f); f == nil {
				f = &audit.Fault{}
			}
			if f.Kind != c.kind || f.Seq != c.seq || f.Entry != c.entry || (err == nil) != (c.kind == "") || err == nil && (r.Links != 12 || r.Heads != 2 || r.Last != last.Hash) {
				t.Errorf("%+v, %v; want %s at link %d, entry %d", r, err, c.kind, c.seq, c.entry)
			}
			// Without a head the chain itself must tell, unless it is whole in itself.
			_, err = l.Verify(t.Context(), nil, grace)
			if byHead := strings.HasPrefix(c.kind, "head") || strings.HasPrefix(c.kind, "tail"); (err != nil) != (c.kind != "" && !byHead) {
				t.Errorf("without heads: %v", err)
			}
		})
	}
}

// An entry that is taken away before its seal leaves a hole.
func TestGoneBeforeItsSeal(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	fill(t, l, 2)
	if err := audit.Record(t.Context(), l.DB.Ent, domain.Shepherd(), audit.Entry{Action: "a.b"}); err == nil {
		t.Fatal("an entry without a kind of resource")
	}
	if err := audit.Record(t.Context(), l.DB.Ent, domain.Shepherd(), audit.Entry{Action: "a.b", ResourceType: "vm"}); err != nil {
		t.Fatal(err)
	}
	tamper(t, l.DB, `DELETE FROM audit_logs WHERE actor = 'shepherd'`)
	fill2, err := l.Seal(t.Context())
	var f *audit.Fault
	if _, verdict := l.Verify(t.Context(), nil, grace); err != nil || fill2 != 1 || !errors.As(verdict, &f) || f.Kind != "entry-missing" || f.Seq != 3 {
		t.Errorf("%d sealed, %v, %v", fill2, err, verdict)
	}
}

// Seals cannot be changed by anybody who obeys the database's rules.
func TestSealsAreAppendOnly(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	fill(t, l, 1)
	for _, sql := range []string{`UPDATE audit_seals SET audit_id = 9`, `DELETE FROM audit_seals`, `TRUNCATE audit_seals`} {
		if _, err := l.DB.Pool.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, err := l.DB.Ent.AuditSeal.Delete().Exec(t.Context()); err == nil {
		t.Error("ent deletes seals")
	}
}

// 200 writers, several sealers at once and changes that are rolled back give one
// chain without a gap, in which every entry is once.
func TestParallelWriters(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	ctx := t.Context()
	var sealers, writers sync.WaitGroup
	var over atomic.Bool
	for range 4 {
		sealers.Go(func() {
			for !over.Load() {
				if _, err := l.Seal(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	const each = 10
	for i := range 200 {
		writers.Go(func() {
			for n := range each {
				undo := errors.New("undo")
				err := l.DB.InTx(ctx, func(tx *ent.Tx) error {
					if err := audit.Write(ctx, tx, domain.Actor{Username: fmt.Sprint("w", i)}, audit.Entry{Action: "a.b", ResourceType: "vm", ResourceID: fmt.Sprint(n)}); err != nil {
						return err
					}
					if n == 3 {
						return undo
					}
					return nil
				})
				if err != nil && !errors.Is(err, undo) {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	over.Store(true)
	sealers.Wait()
	if _, err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := l.Verify(t.Context(), nil, 0)
	if err != nil || r.Links != 200*(each-1) {
		t.Errorf("%+v, %v", r, err)
	}
}

// A running portal seals within seconds and tells the head to its log, whatever
// the level; what is in the log proves the chain.
func TestRunTellsHeads(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	var out bytes.Buffer
	l.Logger = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelError}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan bool)
	go func() { l.Run(ctx); close(done) }()
	for i := range 3 {
		if err := audit.Record(ctx, l.DB.Ent, domain.Shepherd(), audit.Entry{Action: "a.b", ResourceType: "vm", ResourceID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if h, err := l.Head(ctx); err != nil || time.Now().After(deadline) {
			t.Fatal("nothing is sealed", err)
		} else if h.Seq == 3 {
			break
		}
	}
	stop()
	<-done
	heads, err := audit.ReadHeads(strings.NewReader("Nov 25 host shepherd[1]: " + `{"msg":"request"}` + "\nhost: " + strings.TrimSuffix(out.String(), "\n")))
	if err != nil || heads[len(heads)-1].Seq != 3 {
		t.Fatalf("%v, %v: %s", heads, err, out.String())
	}
	if r, err := l.Verify(t.Context(), heads, grace); err != nil || r.Heads == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	for name, forge := range map[string]func(*audit.Head){
		"hash":      func(h *audit.Head) { h.Hash = strings.Repeat("0", 64) },
		"number":    func(h *audit.Head) { h.Seq = 2 },
		"time":      func(h *audit.Head) { h.At = h.At.Add(-time.Hour) },
		"signature": func(h *audit.Head) { h.Signature = nil },
		"key":       func(h *audit.Head) { h.Key = "other" },
	} {
		h := heads[len(heads)-1]
		forge(&h)
		var f *audit.Fault
		if _, err := l.Verify(t.Context(), []audit.Head{h}, grace); !errors.As(err, &f) || f.Kind != "head-forged" {
			t.Errorf("forged %s: %v", name, err)
		}
	}
	if _, err := audit.ReadHeads(strings.NewReader(`{"msg":"request"}`)); err == nil {
		t.Error("a log without a head is accepted")
	}
}

// Heads that a retired key signed stay good.
func TestHeadsOutliveTheKey(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	old, fresh := crypto.Generate(), crypto.Generate()
	ring := func(lines string) (k *crypto.Keyring) {
		k, err := crypto.Load("", lines)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	l.Keys = ring(old)
	fill(t, l, 2)
	head, err := l.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Keys = ring(fresh + "\n" + old)
	if _, err := l.Verify(t.Context(), []audit.Head{head}, grace); err != nil {
		t.Error(err)
	}
}

// The account that runs the portal, when it does not own the tables, writes and
// seals, and cannot get around the rules.
func TestAppendOnlyByRole(t *testing.T) {
	t.Parallel()
	ctx, address := t.Context(), databasetest.URL(t)
	owner, err := database.Open(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	role := "app-" + uuid.NewString()
	if _, err := owner.Pool.Exec(ctx, `CREATE ROLE "`+role+`" LOGIN PASSWORD 'x'`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := owner.Pool.Exec(context.Background(), `DROP OWNED BY "`+role+`"; DROP ROLE "`+role+`"`); err != nil {
			t.Error(err)
		}
		owner.Close()
	})
	if err := database.Grant(ctx, address, role); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "x")
	if err := database.Migrate(ctx, u.String()); err != nil { // as serve does at start
		t.Fatal(err)
	}
	app, err := database.Open(ctx, u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	l := newLog(t)
	l.DB = app
	old(t, l, 5, 200)
	fill(t, l, 3)
	if r, err := l.Verify(ctx, nil, grace); err != nil || r.Links != 8 {
		t.Errorf("%+v, %v", r, err)
	}
	// It archives too, by the one function that it may call. No table of its own
	// makes that function take what is not archived.
	trick, err := app.Pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trick.Exec(ctx, `CREATE TEMP TABLE audit_anchors AS SELECT 1000::bigint AS id`); err != nil {
		t.Fatal(err)
	}
	var gone int
	if err := trick.QueryRow(ctx, `SELECT remove_archived_audit(1000)`).Scan(&gone); err != nil || gone != 0 {
		t.Errorf("%d links removed by a trick, %v", gone, err)
	}
	_ = trick.Conn().Close(ctx)
	trick.Release()
	l.Keep = audit.Retention{For: 100 * 24 * time.Hour, Dir: t.TempDir()}
	if err := l.Archive(ctx); err != nil || app.Ent.AuditLog.Query().CountX(ctx) != 4 {
		t.Errorf("%d entries, %v", app.Ent.AuditLog.Query().CountX(ctx), err)
	}
	for _, sql := range []string{
		`UPDATE audit_logs SET actor = 'x'`, `DELETE FROM audit_logs`, `TRUNCATE audit_logs`, `UPDATE audit_seals SET hash = sha256('x')`, `DELETE FROM audit_seals`, `DELETE FROM audit_anchors`,
		`DELETE FROM vm_revisions`, `DELETE FROM domain_events`, `DELETE FROM goose_db_version`, `ALTER TABLE audit_logs DISABLE TRIGGER USER`, `DROP TRIGGER audit_logs_append_only ON audit_logs`,
		`DROP TABLE audit_seals`, `SET session_replication_role = replica`, `CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE sql AS ''`,
	} {
		if _, err := app.Pool.Exec(ctx, sql); err == nil || !strings.Contains(err.Error(), "42501") { // insufficient privilege
			t.Errorf("%s: %v", sql, err)
		}
	}
}
