package audit_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// someone has all of the columns that were added to the first form.
var someone = domain.Actor{
	UserID: "0190a3c0-0000-7000-8000-000000000001", Username: "ci", OnBehalfOf: domain.Principal{ID: "0190a3c0-0000-7000-8000-000000000002", Username: "ann"},
	Token: &domain.Token{ID: "t1", Name: "nightly"}, IP: "192.0.2.1", RequestID: "r",
}

func kindOf(err error) string {
	var f *audit.Fault
	if errors.As(err, &f) {
		return f.Kind
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// Links that were made before there were columns for who is behind an actor
// stay good: their entries keep the form that they were sealed in. The links
// are computed here by the words of the first release.
func TestLinksOfTheFirstForm(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	for range 3 {
		if _, err := l.DB.Pool.Exec(t.Context(), `INSERT INTO audit_logs (created_at, actor, action, resource_type, resource_id, resource_name, result, details)
			VALUES (now(), 'bob', 'system.update', 'system', 'c', 'd', 'done', '{"a": 1}')`); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.DB.Pool.Exec(t.Context(), `
		WITH RECURSIVE chain(id, hash) AS (
			SELECT 0::bigint, decode(repeat('00', 32), 'hex')
			UNION ALL
			SELECT c.id + 1, sha256(convert_to(E'shepherd audit v1\n', 'UTF8') || int8send(c.id + 1) || c.hash || record_send(ROW(
				a.id::bigint, a.created_at::timestamptz, a.actor::text, a.action::text, a.resource_type::text, a.resource_id::text, a.resource_name::text,
				a.system_id::text, a.result::text, a.reason::text, a.details::jsonb, a.request_id::text, a.ip_address::text)))
			FROM chain c JOIN audit_logs a ON a.id = c.id + 1
		), gone AS (DELETE FROM audit_unsealed)
		INSERT INTO audit_seals (id, audit_id, hash) SELECT id, id, hash FROM chain WHERE id > 0`); err != nil {
		t.Fatal(err)
	}
	if err := audit.Record(t.Context(), l.DB.Ent, someone, audit.Entry{Action: "vm.order", ResourceType: "vm"}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err := l.Verify(t.Context(), nil, grace); err != nil || r.Links != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	tamper(t, l.DB, `UPDATE audit_logs SET on_behalf_of = 'ann' WHERE id = 2`)
	if _, err := l.Verify(t.Context(), nil, grace); kindOf(err) != "entry-changed" {
		t.Errorf("somebody is put behind an old entry: %v", err)
	}
}

// No column is outside the hash.
func TestEveryColumnIsSealed(t *testing.T) {
	t.Parallel()
	l, ctx := newLog(t), t.Context()
	must(t, audit.Record(ctx, l.DB.Ent, someone, audit.Entry{
		Action: "system.update", ResourceType: "system", ResourceID: "x", ResourceName: "shop", SystemID: "x", Reason: "why",
		Details: map[string]any{"b": 1}, Before: map[string]any{"documentation": "a"}, After: map[string]any{"documentation": "b"},
	}))
	_, err := l.Seal(ctx)
	must(t, err)
	_, err = l.DB.Pool.Exec(ctx, `CREATE TABLE kept AS SELECT * FROM audit_logs`)
	must(t, err)
	rows, err := l.DB.Pool.Query(ctx, `SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns WHERE table_name = 'audit_logs' AND column_name <> 'id'`)
	must(t, err)
	var names []string
	forged := map[string][]string{}
	for rows.Next() {
		var name, kind string
		var optional bool
		must(t, rows.Scan(&name, &kind, &optional))
		names = append(names, name)
		forged[name] = []string{map[string]string{"character varying": `'failed'`, "jsonb": `'{"forged": true}'`, "timestamp with time zone": `'2020-01-01'`}[kind]}
		if optional {
			forged[name] = append(forged[name], "NULL")
		}
	}
	must(t, rows.Err())
	if len(names) < 19 {
		t.Fatal(names)
	}
	for _, name := range names {
		for _, to := range forged[name] {
			tamper(t, l.DB, `UPDATE audit_logs SET `+name+` = `+to)
			if _, err := l.Verify(ctx, nil, grace); kindOf(err) != "entry-changed" {
				t.Errorf("%s becomes %s: %v", name, to, err)
			}
			tamper(t, l.DB, `UPDATE audit_logs SET `+name+` = (SELECT `+name+` FROM kept)`)
			if _, err := l.Verify(ctx, nil, grace); err != nil {
				t.Fatalf("%s is as it was: %v", name, err)
			}
		}
	}
}

func TestSwappedSealsAndRows(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"the hashes of two seals": {`UPDATE audit_seals SET hash = (SELECT hash FROM audit_seals o WHERE o.id = 11 - audit_seals.id) WHERE id IN (5, 6)`},
		"the contents of two rows": {`UPDATE audit_logs SET resource_name = (SELECT resource_name FROM audit_logs o WHERE o.id = 11 - audit_logs.id),
			created_at = (SELECT created_at FROM audit_logs o WHERE o.id = 11 - audit_logs.id) WHERE id IN (5, 6)`},
		"the numbers of two rows": {`UPDATE audit_logs SET id = -id WHERE id IN (5, 6)`, `UPDATE audit_logs SET id = 11 + id WHERE id < 0`},
		"a seal stands twice":     {`UPDATE audit_seals SET hash = (SELECT hash FROM audit_seals WHERE id = 5) WHERE id = 6`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t)
			fill(t, l, 10)
			tamper(t, l.DB, statements...)
			var f *audit.Fault
			if _, err := l.Verify(t.Context(), nil, grace); !errors.As(err, &f) || f.Kind != "entry-changed" || f.Seq != 5 && f.Seq != 6 {
				t.Errorf("%v", err)
			}
		})
	}
}

// Before and after: by the allow-list, cleaned, capped, and only what differs.
func TestChanges(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	long := strings.Repeat("x", 2000)
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		kind          string
		before, after map[string]any
		want          map[string]domain.Change
	}{
		{"system", map[string]any{"documentation": "a", "name": "shop"}, map[string]any{"documentation": "b", "name": "shop"}, map[string]domain.Change{"documentation": {Before: "a", After: "b"}}},
		{"system", map[string]any{"password_hash": "a"}, map[string]any{"password_hash": "b", "key": domain.Secret("k")}, nil},
		{"nothing", map[string]any{"name": "a"}, map[string]any{"name": "b"}, nil},
		{"user", map[string]any{"roles": []string{"admin"}, "password": domain.Secret("hunter2")}, map[string]any{"roles": []string{}, "password": []byte("x")},
			map[string]domain.Change{"roles": {Before: []any{"admin"}, After: []any{}}}},
		{"ticket", map[string]any{"status": domain.TicketPending, "count": 1}, map[string]any{"status": domain.TicketApproved, "count": 2},
			map[string]domain.Change{"status": {Before: "PENDING_APPROVAL", After: "APPROVED"}, "count": {Before: float64(1), After: float64(2)}}},
		{"cluster", map[string]any{"credential_expires_at": (*time.Time)(nil)}, map[string]any{"credential_expires_at": &when, "enabled": map[string]any{"a": 1}},
			map[string]domain.Change{"credential_expires_at": {After: "2026-01-02T03:04:05Z"}}},
		{"system", map[string]any{"name": "a\x00\u202eb\n"}, nil, map[string]domain.Change{"name": {Before: "a\ufffd\ufffdb "}}},
	} {
		e := audit.Entry{Action: "a.b", ResourceType: c.kind, Before: c.before, After: c.after}
		if err := audit.Record(t.Context(), l.DB.Ent, domain.Shepherd(), e); err != nil {
			t.Fatal(err)
		}
		got := l.DB.Ent.AuditLog.Query().Order(ent.Desc(auditlog.FieldID)).FirstX(t.Context())
		if !reflect.DeepEqual(got.Changes, c.want) {
			t.Errorf("%v -> %v: %v, want %v", c.before, c.after, got.Changes, c.want)
		}
	}
	// A change behind the cut is a change.
	if err := audit.Record(t.Context(), l.DB.Ent, domain.Shepherd(), audit.Entry{
		Action: "a.b", ResourceType: "system", Before: map[string]any{"documentation": long + "a"}, After: map[string]any{"documentation": long + "b"},
	}); err != nil {
		t.Fatal(err)
	}
	got := l.DB.Ent.AuditLog.Query().Order(ent.Desc(auditlog.FieldID)).FirstX(t.Context()).Changes["documentation"]
	if len(fmt.Sprint(got.Before)) > 600 || got.Before == got.After || got.After == nil {
		t.Errorf("%v", got)
	}
}

// old writes n sealed entries that are so many days old.
func old(t *testing.T, l *audit.Log, n, days int) {
	t.Helper()
	at := time.Now().UTC().AddDate(0, 0, -days)
	for i := range n {
		l.DB.Ent.AuditLog.Create().SetCreatedAt(at.Add(time.Duration(i) * time.Millisecond)).SetActor("bob").SetAction("vm.order").SetResourceType("vm").
			SetResourceID("x").SetResourceName(fmt.Sprintf("old-%d-%d", days, i)).SetOnBehalfOf("ann").SaveX(t.Context())
	}
	if sealed, err := l.Seal(t.Context()); err != nil || sealed < n {
		t.Fatalf("%d of %d sealed, %v", sealed, n, err)
	}
}

func archives(t *testing.T, l *audit.Log) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(l.Keep.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// keeping is a log that keeps entries for 100 days.
func keeping(t *testing.T) *audit.Log {
	l := newLog(t)
	l.Keep = audit.Retention{For: 100 * 24 * time.Hour, Dir: filepath.Join(t.TempDir(), "archive")}
	return l
}

func TestArchive(t *testing.T) {
	t.Parallel()
	l, ctx := keeping(t), t.Context()
	old(t, l, 1500, 200)
	first, err := l.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	old(t, l, 20, 150)
	second, err := l.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 5)
	if err := l.Archive(ctx); err != nil {
		t.Fatal(err)
	}
	if n := l.DB.Ent.AuditLog.Query().CountX(ctx); n != 6 { // five young ones, and that there is an archive
		t.Errorf("%d entries", n)
	}
	if _, err := l.Seal(ctx); err != nil {
		t.Fatal(err)
	}
	last, err := l.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	names := archives(t, l)
	if len(names) != 1 || !strings.HasSuffix(names[0], "shepherd-audit-000000000001-000000001520.zip") {
		t.Fatalf("%v", names)
	}
	if info, err := os.Stat(names[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	entry := l.DB.Ent.AuditLog.Query().Where(auditlog.Action("audit.archive")).OnlyX(ctx)
	if entry.Actor != "shepherd" || entry.Via != "job" || entry.ViaName != "archive-audit" || entry.Details["last_link"] != float64(1520) {
		t.Errorf("on record: %v", entry)
	}
	heads := []audit.Head{first, second, last}
	if r, err := l.Verify(ctx, heads, grace); err != nil || r.Links != 1526 || r.Archived != 1520 || r.Heads != 2 || r.Unread != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := l.VerifyAll(ctx, heads, grace, l.Keep.Dir); err != nil || r.Links != 1526 || r.Heads != 3 || r.Archives != 1 {
		t.Errorf("with archives: %+v, %v", r, err)
	}

	// Again, with nothing to do; then with more; then when nothing young is left.
	for _, step := range []struct{ more, archives int }{{0, 1}, {3, 1}} {
		if err := l.Archive(ctx); err != nil {
			t.Fatal(err)
		}
		if got := archives(t, l); len(got) != step.archives {
			t.Fatalf("%v", got)
		}
		fill(t, l, step.more)
	}
	if r, err := l.VerifyAll(ctx, heads, grace, l.Keep.Dir); err != nil || r.Links != 1529 {
		t.Errorf("%+v, %v", r, err)
	}

	// What is in the archive is what was in the log, entry by entry.
	z, err := zip.OpenReader(names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = z.Close() }()
	file, err := z.Open("audit.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for in := json.NewDecoder(file); ; n++ {
		var line struct {
			Seq   int
			Entry map[string]any
		}
		if err := in.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if line.Seq != n+1 || line.Entry["on_behalf_of"] != "ann" || !strings.HasPrefix(line.Entry["resource_name"].(string), "old-") {
			t.Fatalf("%v", line)
		}
	}
	if n != 1520 {
		t.Errorf("%d lines", n)
	}
}

// When all links are in archives, the next one goes on behind them.
func TestArchiveOfEverything(t *testing.T) {
	t.Parallel()
	l, ctx := keeping(t), t.Context()
	old(t, l, 3, 200)
	if err := l.Archive(ctx); err != nil {
		t.Fatal(err)
	}
	if n := l.DB.Ent.AuditSeal.Query().CountX(ctx); n != 0 {
		t.Fatalf("%d seals", n)
	}
	if h, err := l.Head(ctx); err != nil || h.Seq != 3 {
		t.Errorf("%+v, %v", h, err)
	}
	fill(t, l, 1) // and the entry about the archive, which waits
	if r, err := l.VerifyAll(ctx, nil, grace, l.Keep.Dir); err != nil || r.Links != 5 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A process may die anywhere: nothing is lost, and the next one goes on.
func TestArchiveIsResumed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	whole := func(l *audit.Log, links int64) {
		t.Helper()
		if _, err := l.Seal(ctx); err != nil {
			t.Fatal(err)
		}
		if r, err := l.VerifyAll(ctx, nil, grace, l.Keep.Dir); err != nil || r.Links != links {
			t.Errorf("%+v, %v", r, err)
		}
	}
	t.Run("between the file and its anchor", func(t *testing.T) {
		t.Parallel()
		l := keeping(t)
		old(t, l, 30, 200)
		path, err := l.WriteArchive(ctx, time.Now().AddDate(0, 0, -100))
		if err != nil || path == "" {
			t.Fatal(path, err)
		}
		old(t, l, 7, 150) // the next run could take more
		if n := l.DB.Ent.AuditLog.Query().CountX(ctx); n != 37 {
			t.Errorf("%d entries", n)
		}
		whole(l, 37)
		if err := l.Archive(ctx); err != nil {
			t.Fatal(err)
		}
		if got := archives(t, l); len(got) != 2 || got[0] != path {
			t.Errorf("%v", got)
		}
		whole(l, 37+2)
	})
	t.Run("between the anchor and the removal", func(t *testing.T) {
		t.Parallel()
		l := keeping(t)
		old(t, l, 30, 200)
		if made, err := l.ArchiveNext(ctx); err != nil || !made {
			t.Fatal(made, err)
		}
		if n := l.DB.Ent.AuditLog.Query().CountX(ctx); n != 31 {
			t.Errorf("%d entries", n)
		}
		whole(l, 31)
		if err := l.Archive(ctx); err != nil {
			t.Fatal(err)
		}
		if n := l.DB.Ent.AuditLog.Query().CountX(ctx); n != 1 {
			t.Errorf("%d entries", n)
		}
		whole(l, 31)
	})
	t.Run("and the file is gone or another one", func(t *testing.T) {
		t.Parallel()
		for name, spoil := range map[string]func(path string) error{
			"gone":    os.Remove,
			"emptied": func(path string) error { return os.Truncate(path, 0) },
			"changed": func(path string) error { return flip(path, 300) },
		} {
			l := keeping(t)
			old(t, l, 30, 200)
			if made, err := l.ArchiveNext(ctx); err != nil || !made {
				t.Fatal(made, err)
			}
			if err := spoil(archives(t, l)[0]); err != nil {
				t.Fatal(err)
			}
			if err := l.Archive(ctx); err == nil || l.DB.Ent.AuditLog.Query().CountX(ctx) != 31 {
				t.Errorf("%s: %v, %d entries", name, err, l.DB.Ent.AuditLog.Query().CountX(ctx))
			}
		}
	})
	t.Run("a broken chain is not archived", func(t *testing.T) {
		t.Parallel()
		l := keeping(t)
		old(t, l, 30, 200)
		tamper(t, l.DB, `UPDATE audit_logs SET actor = 'eve' WHERE id = 7`)
		if err := l.Archive(ctx); kindOf(err) != "entry-changed" || len(archives(t, l)) != 0 || l.DB.Ent.AuditAnchor.Query().CountX(ctx) != 0 {
			t.Errorf("%v, %v", err, archives(t, l))
		}
	})
}

// flip changes one bit of a file.
func flip(path string, at int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[at%len(b)] ^= 1
	return os.WriteFile(path, b, 0o600)
}

func TestVerifyFindsSpoiledArchives(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, l *audit.Log, path string)
		kind  string
	}{
		"missing":           {func(t *testing.T, _ *audit.Log, path string) { must(t, os.Remove(path)) }, "archive-missing"},
		"another directory": {func(_ *testing.T, l *audit.Log, _ string) { l.Keep.Dir = t.TempDir() }, "archive-missing"},
		"one bit":           {func(t *testing.T, _ *audit.Log, path string) { must(t, flip(path, 4000)) }, "archive-changed"},
		"a byte more": {func(t *testing.T, _ *audit.Log, path string) {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = f.Write([]byte{0})
			must(t, errors.Join(err, f.Close()))
		}, "archive-changed"},
		"the anchor's hash": {func(t *testing.T, l *audit.Log, _ string) {
			tamper(t, l.DB, `UPDATE audit_anchors SET hash = sha256('x')`)
		}, "anchor-forged"},
		"the anchor's file": {func(t *testing.T, l *audit.Log, _ string) {
			tamper(t, l.DB, `UPDATE audit_anchors SET file_sha256 = sha256('x')`)
		}, "anchor-forged"},
		"the anchor": {func(t *testing.T, l *audit.Log, _ string) { tamper(t, l.DB, `DELETE FROM audit_anchors`) }, "link-missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := keeping(t)
			old(t, l, 200, 200)
			fill(t, l, 3)
			must(t, l.Archive(ctx))
			c.spoil(t, l, archives(t, l)[0])
			if _, err := l.VerifyAll(ctx, nil, grace, l.Keep.Dir); kindOf(err) != c.kind {
				t.Errorf("%v, want %s", err, c.kind)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whoever can write an anchor cannot make young entries go, nor any by hand, and
// without the right configuration nothing is archived.
func TestOnlyArchivedEntriesGo(t *testing.T) {
	t.Parallel()
	l, ctx := keeping(t), t.Context()
	old(t, l, 3, 50) // younger than the database lets go
	for _, sql := range []string{`DELETE FROM audit_logs`, `DELETE FROM audit_seals`} {
		if _, err := l.DB.Pool.Exec(ctx, sql); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, err := l.DB.Pool.Exec(ctx, `INSERT INTO audit_anchors (id, first_seq, before, hash, file, file_sha256, at, key_id, signature)
		VALUES (3, 1, sha256('a'), sha256('b'), 'x.zip', sha256('c'), now(), 'k', 'x')`); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		`DELETE FROM audit_logs`, `SELECT remove_archived_audit(1000)`, `DELETE FROM audit_seals`, `DELETE FROM audit_anchors`, `UPDATE audit_anchors SET id = 9`, `TRUNCATE audit_anchors`,
	} {
		if _, err := l.DB.Pool.Exec(ctx, sql); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, err := l.Verify(ctx, nil, grace); kindOf(err) != "anchor-forged" {
		t.Errorf("a forged anchor: %v", err)
	}

	l = newLog(t)
	old(t, l, 3, 1000)
	for _, keep := range []audit.Retention{{}, {For: 100 * 24 * time.Hour}, {Dir: t.TempDir()}} {
		l.Keep = keep
		if err := l.Archive(ctx); err != nil || l.DB.Ent.AuditLog.Query().CountX(ctx) != 3 {
			t.Errorf("%+v: %v", keep, err)
		}
	}
	l.Keep = audit.Retention{For: 89 * 24 * time.Hour, Dir: t.TempDir()}
	if err := l.Archive(ctx); err == nil || l.DB.Ent.AuditLog.Query().CountX(ctx) != 3 {
		t.Errorf("too short: %v", err)
	}
}

// ticketOf makes a ticket with what the log has about it.
func ticketOf(t *testing.T, l *audit.Log, env domain.Environment) *ent.ApprovalTicket {
	t.Helper()
	ctx := t.Context()
	ask := domain.CreatePayload{Spec: domain.ChangeableSpec{Template: "debian", Size: "small", Count: 1}, Reason: "because"}
	payload, err := json.Marshal(ask)
	must(t, err)
	approved := ask.Spec
	approved.Count = 2
	e := l.DB.Ent.DomainEvent.Create().SetType(domainevent.TypeVM_CREATION_REQUESTED).SetAggregateType("ticket").SetAggregateID("1").SetPayload(payload).SetCreatedBy("ann").SaveX(ctx)
	row := l.DB.Ent.ApprovalTicket.Create().SetEventID(e.ID).SetOperation(approvalticket.OperationCREATE).SetEnvironment(approvalticket.Environment(env)).
		SetRequesterID(uuid.New()).SetRequester("ann").SetReason("because").SetSystemID(uuid.New()).SetSystemName("shop").SetServiceID(uuid.New()).
		SetServiceName("redis").SetTitle("1 x redis").SetResourceKey(uuid.NewString()).SetExpiresAt(time.Now()).SetApprover("bob").SetDecidedAt(time.Now()).
		SetModifiedSpec(&approved).SaveX(ctx)
	for _, action := range []string{"ticket.submit", "ticket.approve"} {
		must(t, audit.Record(ctx, l.DB.Ent, domain.Actor{UserID: "u", Username: "ann"}, audit.Entry{
			Action: action, ResourceType: "ticket", ResourceID: fmt.Sprint(row.ID), ResourceName: domain.TicketName(row.ID), Details: map[string]any{"policy": "prod"},
		}))
		fill(t, l, 2) // what others do meanwhile
	}
	return row
}

// pack is the evidence pack of a ticket.
func pack(t *testing.T, l *audit.Log, actor domain.Actor, number int) []byte {
	t.Helper()
	p, err := l.Pack(t.Context(), actor, number)
	must(t, err)
	var out bytes.Buffer
	must(t, p.Write(t.Context(), &out))
	return out.Bytes()
}

func verifyPack(b []byte, key string) (audit.PackReport, error) {
	return audit.VerifyPack(bytes.NewReader(b), int64(len(b)), key)
}

// contents are the files of a zip archive, as one text.
func contents(b []byte) string {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err.Error()
	}
	var all strings.Builder
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return err.Error()
		}
		text, err := io.ReadAll(r)
		fmt.Fprintf(&all, "%s %q %v\n", f.Name, text, err)
	}
	return all.String()
}

func TestEvidencePack(t *testing.T) {
	t.Parallel()
	l, ctx := newLog(t), t.Context()
	row := ticketOf(t, l, domain.Prod)
	auditor := domain.Actor{UserID: uuid.NewString(), Username: "avi", Bindings: []domain.Binding{{Role: domain.RoleAuditor}}}
	whole := pack(t, l, auditor, row.ID)
	r, err := verifyPack(whole, l.PublicKey())
	if err != nil || r.Entries != 3 || r.Ticket != domain.TicketName(row.ID) || r.By != "avi" {
		t.Fatalf("%+v, %v", r, err)
	}
	text := contents(whole)
	for _, want := range []string{`\"ticket.export\"`, `\"policy\": \"prod\"`, `\"field\": \"count\"`, `README.txt`, `\"VM_CREATION_REQUESTED\"`, `\"username\": \"bob\"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the pack does not tell %s", want)
		}
	}
	// Its heads hold the log.
	z, err := zip.NewReader(bytes.NewReader(whole), int64(len(whole)))
	must(t, err)
	file, err := z.Open("heads.jsonl")
	must(t, err)
	heads, err := audit.ReadHeads(file)
	must(t, err)
	if got, err := l.Verify(ctx, heads, grace); err != nil || got.Heads != 4 {
		t.Errorf("%+v, %v", got, err)
	}

	// One changed byte: either it is found, or it is none of the content.
	for at := range whole {
		if at%5 != 0 && at < len(whole)-200 {
			continue
		}
		b := slices.Clone(whole)
		b[at] ^= 1
		if _, err := verifyPack(b, l.PublicKey()); err == nil && contents(b) != text {
			t.Fatalf("byte %d of %d is another one, and nothing is found", at, len(whole))
		}
	}
	// Somebody packs it again: with a key of his own, or with another file.
	other := newLog(t)
	if _, err := verifyPack(whole, other.PublicKey()); err == nil {
		t.Error("the key of another installation fits")
	}
	for _, name := range []string{"README.txt", "ticket.json", "events.jsonl", "vms.json", "people.json", "audit.jsonl", "heads.jsonl", "manifest.json", "manifest.sig"} {
		if _, err := verifyPack(repack(t, whole, name, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), ""); err == nil {
			t.Errorf("%s: a changed byte is not found", name)
		}
		if _, err := verifyPack(repack(t, whole, name, nil), ""); err == nil {
			t.Errorf("%s: it is missing, and that is not found", name)
		}
	}

	for _, c := range []struct {
		who   domain.Actor
		right string
	}{
		{domain.Actor{UserID: uuid.NewString(), Bindings: []domain.Binding{{Role: domain.RoleAdmin}}}, ""},
		{domain.Actor{UserID: uuid.NewString(), Bindings: []domain.Binding{{Role: domain.RoleApprover, Environment: domain.Prod}}}, ""},
		{domain.Actor{UserID: uuid.NewString(), Bindings: []domain.Binding{{Role: domain.RoleApprover, Environment: domain.Test}}}, apperr.ErrNotFound},
		{domain.Actor{UserID: uuid.NewString(), Bindings: []domain.Binding{{Role: domain.RoleOwner, SystemID: row.SystemID.String()}}}, apperr.ErrForbidden},
		{domain.Actor{UserID: row.RequesterID.String()}, apperr.ErrForbidden},
		{domain.Actor{UserID: uuid.NewString()}, apperr.ErrNotFound},
		{domain.Actor{}, apperr.ErrSignedOut},
	} {
		if _, err := l.Pack(ctx, c.who, row.ID); (err == nil) != (c.right == "") || err != nil && apperr.CodeOf(err) != c.right {
			t.Errorf("%+v: %v, want %q", c.who.Bindings, err, c.right)
		}
	}
	if _, err := l.Pack(ctx, auditor, 999999); apperr.CodeOf(err) != apperr.ErrNotFound {
		t.Error(err)
	}

	// A log that was tampered with gives no evidence.
	tamper(t, l.DB, `UPDATE audit_logs SET actor = 'eve' WHERE action = 'ticket.approve'`)
	p, err := l.Pack(ctx, auditor, row.ID)
	must(t, err)
	if err := p.Write(ctx, io.Discard); kindOf(err) != "entry-changed" {
		t.Errorf("%v", err)
	}
}

// repack writes a zip archive again with one file changed, or left out.
func repack(t *testing.T, b []byte, name string, change func([]byte) []byte) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	must(t, err)
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range z.File {
		r, err := f.Open()
		must(t, err)
		text, err := io.ReadAll(r)
		must(t, err)
		if f.Name == name {
			if change == nil {
				continue
			}
			text = change(text)
		}
		to, err := w.Create(f.Name)
		must(t, err)
		_, err = to.Write(text)
		must(t, err)
	}
	must(t, w.Close())
	return out.Bytes()
}

// Entries of a ticket from before its archive: the first link behind the cut
// has its proof too.
func TestEvidencePackAfterArchiving(t *testing.T) {
	t.Parallel()
	l := keeping(t)
	old(t, l, 5, 200)
	must(t, l.Archive(t.Context()))
	_, err := l.Seal(t.Context())
	must(t, err)
	row := ticketOf(t, l, domain.Prod)
	admin := domain.Actor{UserID: uuid.NewString(), Username: "root", Bindings: []domain.Binding{{Role: domain.RoleAdmin}}}
	if r, err := verifyPack(pack(t, l, admin, row.ID), ""); err != nil || r.Entries != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestSavedFilters(t *testing.T) {
	t.Parallel()
	l, ctx := newLog(t), t.Context()
	person := func(name string, roles ...domain.Role) domain.Actor {
		a := domain.Actor{UserID: uuid.NewString(), Username: name}
		for _, r := range roles {
			a.Bindings = append(a.Bindings, domain.Binding{Role: r})
		}
		return a
	}
	avi, eva, root, dev := person("avi", domain.RoleAuditor), person("eva", domain.RoleAuditor), person("root", domain.RoleAdmin), person("dev")
	must(t, l.SaveFilter(ctx, avi, " Refused ", "result=refused", false))
	must(t, l.SaveFilter(ctx, avi, "Prod decisions", "action=ticket.", true))
	must(t, l.SaveFilter(ctx, eva, "Refused", "result=refused&who=dev", false)) // her own of that name
	for name, c := range map[string]struct {
		who    domain.Actor
		name   string
		query  string
		shared bool
		code   string
	}{
		"own again":       {avi, "Refused", "", false, apperr.ErrNameTaken},
		"shared again":    {eva, "Prod decisions", "", true, apperr.ErrNameTaken},
		"no name":         {avi, "  ", "", false, apperr.ErrRequired},
		"long":            {avi, strings.Repeat("x", 61), "", false, apperr.ErrTooLong},
		"control":         {avi, "a\x00b", "", false, apperr.ErrInvalidText},
		"a huge filter":   {avi, "huge", strings.Repeat("x", 2000), false, apperr.ErrTooLong},
		"not his to read": {dev, "x", "", false, apperr.ErrForbidden},
	} {
		if err := l.SaveFilter(ctx, c.who, c.name, c.query, c.shared); apperr.CodeOf(err) != c.code && (len(apperr.Fields(err)) == 0 || apperr.Fields(err)[0].Code != c.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	names := func(who domain.Actor) (all []string) {
		list, err := l.SavedFilters(ctx, who)
		must(t, err)
		for _, f := range list {
			all = append(all, fmt.Sprint(f.Name, " ", f.Owner, " ", f.MayDelete))
		}
		return all
	}
	if got := names(avi); !slices.Equal(got, []string{"Prod decisions avi true", "Refused avi true"}) {
		t.Error(got)
	}
	if got := names(eva); !slices.Equal(got, []string{"Prod decisions avi false", "Refused eva true"}) {
		t.Error(got)
	}
	if _, err := l.SavedFilters(ctx, dev); apperr.CodeOf(err) != apperr.ErrForbidden {
		t.Error(err)
	}
	ids := map[string]string{}
	list, err := l.SavedFilters(ctx, avi)
	must(t, err)
	for _, f := range list {
		ids[f.Name] = f.ID
	}
	for _, c := range []struct {
		who      domain.Actor
		id, code string
	}{
		{eva, ids["Refused"], apperr.ErrNotFound}, {eva, ids["Prod decisions"], apperr.ErrForbidden}, {root, ids["Refused"], apperr.ErrNotFound},
		{dev, ids["Refused"], apperr.ErrForbidden}, {avi, uuid.NewString(), apperr.ErrNotFound}, {avi, "x", apperr.ErrNotFound},
		{root, ids["Prod decisions"], ""}, {avi, ids["Refused"], ""},
	} {
		if err := l.DeleteFilter(ctx, c.who, c.id); (err == nil) != (c.code == "") || err != nil && apperr.CodeOf(err) != c.code {
			t.Errorf("%s deletes %s: %v, want %q", c.who.Username, c.id, err, c.code)
		}
	}
	if got := names(avi); len(got) != 0 {
		t.Error(got)
	}
	for i := range 50 {
		must(t, l.SaveFilter(ctx, avi, fmt.Sprint("f", i), "", false))
	}
	if err := l.SaveFilter(ctx, avi, "one too many", "", false); apperr.CodeOf(err) != apperr.ErrTooManyFilters {
		t.Error(err)
	}
	if n := l.DB.Ent.AuditLog.Query().Where(auditlog.ActionIn("audit.save_filter", "audit.delete_filter")).CountX(ctx); n != 55 {
		t.Errorf("%d on record", n)
	}
}

// Whoever is refused again and again is on record once a minute, with a count.
func TestDenials(t *testing.T) {
	t.Parallel()
	l, ctx := newLog(t), t.Context()
	system := l.DB.Ent.System.Create().SetName("shop").SetNamespace("n").SetEnvironment("test").SetCreatedBy("x").SaveX(ctx).ID.String()
	mallory := domain.Actor{UserID: uuid.NewString(), Username: "mallory", IP: "192.0.2.66"}
	try := func(who domain.Actor, action, id string) {
		t.Helper()
		must(t, l.Denied(ctx, who, audit.Entry{Action: action, ResourceType: "system", ResourceID: id, Details: map[string]any{"code": "FORBIDDEN"}}))
	}
	count := func() int { return l.DB.Ent.AuditLog.Query().CountX(ctx) }
	for range 100 {
		try(mallory, "system.delete", system)
	}
	try(mallory, "system.update", system)
	try(domain.Actor{UserID: uuid.NewString(), Username: "dev"}, "system.delete", system)
	if n := count(); n != 3 {
		t.Fatalf("%d entries", n)
	}
	first := l.DB.Ent.AuditLog.Query().Order(ent.Asc(auditlog.FieldID)).FirstX(ctx)
	if first.Result != auditlog.ResultRefused || first.ResourceName != "shop" || first.ActorID != mallory.UserID || first.IPAddress != "192.0.2.66" || first.SystemID != "" {
		t.Errorf("%v", first)
	}
	l.FlushDenials(ctx, time.Now().Add(30*time.Second), false)
	if n := count(); n != 3 {
		t.Errorf("before the minute is over: %d entries", n)
	}
	l.FlushDenials(ctx, time.Now().Add(61*time.Second), false)
	last := l.DB.Ent.AuditLog.Query().Order(ent.Desc(auditlog.FieldID)).FirstX(ctx)
	if count() != 4 || last.Details["tries"] != float64(99) || last.ResourceName != "shop" || last.Details["code"] != "FORBIDDEN" || last.Result != auditlog.ResultRefused {
		t.Errorf("%d entries, the last is %v", count(), last)
	}

	// Made-up ids do not help: what is more than twenty kinds is one.
	for i := range 500 {
		try(mallory, "system.delete", fmt.Sprint("made-up-", i, strings.Repeat("x", 1000)))
	}
	if n := count(); n > 4+21 {
		t.Errorf("%d entries", n)
	}
	before := count()
	l.FlushDenials(ctx, time.Now(), true)
	tries := 0
	for _, e := range l.DB.Ent.AuditLog.Query().Where(auditlog.IDGT(before)).AllX(ctx) {
		tries += int(e.Details["tries"].(float64))
	}
	if told := before - 4 + tries; told != 500 {
		t.Errorf("%d tries are told of", told)
	}
	// Without a name the address tells one from another, and there is an end to
	// how many are kept.
	sudden := 0
	for i := range 6000 {
		if l.Denials.First(domain.Actor{IP: fmt.Sprint("ip-", i)}, audit.Entry{Action: "session.sign_in"}) {
			sudden++
		}
	}
	if sudden < 900 || sudden > 1001 {
		t.Errorf("%d of 6000 are on record", sudden)
	}
}

// Every way to a part of a long log is an index.
func TestQueriesUseIndexes(t *testing.T) {
	t.Parallel()
	l, ctx := newLog(t), t.Context()
	if _, err := l.DB.Pool.Exec(ctx, `INSERT INTO audit_logs (created_at, actor, action, resource_type, resource_id, resource_name, result, on_behalf_of)
		SELECT now() - i * interval '1 minute', 'user-' || i % 500, 'vm.order', 'vm', 'vm-' || i % 5000, 'vm', 'done', CASE WHEN i % 3 = 0 THEN 'user-' || i % 500 END
		FROM generate_series(1, 50000) i`); err != nil {
		t.Fatal(err)
	}
	if _, err := l.DB.Pool.Exec(ctx, `ANALYZE audit_logs`); err != nil {
		t.Fatal(err)
	}
	for name, where := range map[string]string{
		"on behalf of": `on_behalf_of = 'user-7'`, "actor": `actor = 'user-7'`, "thing": `resource_type = 'vm' AND resource_id = 'vm-7'`,
		"ticket": `(resource_type = 'ticket' AND resource_id = '7') OR (resource_type = 'vm' AND resource_id IN ('vm-1', 'vm-2') AND details->'ticket' = '7')`,
		"time":   `created_at >= now() - interval '1 hour'`,
	} {
		var plan strings.Builder
		rows, err := l.DB.Pool.Query(ctx, `EXPLAIN SELECT * FROM audit_logs WHERE `+where+` ORDER BY id DESC LIMIT 51`)
		must(t, err)
		for rows.Next() {
			var line string
			must(t, rows.Scan(&line))
			plan.WriteString(line + "\n")
		}
		if strings.Contains(plan.String(), "Seq Scan") || strings.Contains(plan.String(), "audit_logs_pkey") {
			t.Errorf("%s reads all of it:\n%s", name, plan.String())
		}
	}
}
