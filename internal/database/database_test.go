package database_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ariga.io/atlas/sql/migrate"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// The migrations lead exactly to the schema: no drift.
func TestMigrationsMatchSchema(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../migrations")); err != nil {
		t.Fatal(err)
	}
	err := database.Diff(t.Context(), databasetest.Empty(t), dir, "drift")
	if !errors.Is(err, migrate.ErrNoPlan) {
		made, _ := filepath.Glob(dir + "/*_drift.sql")
		for _, f := range made {
			b, _ := os.ReadFile(f)
			t.Logf("%s", b)
		}
		t.Fatalf("the migrations do not lead to the ent schema (run `make migration NAME=…`): %v", err)
	}
}

// Replicas that start together on an empty database do not trip over each other.
func TestMigrateAtOnce(t *testing.T) {
	url := databasetest.Empty(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := database.Migrate(t.Context(), url); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestRecordsAreAppendOnly(t *testing.T) {
	db := databasetest.New(t)
	ctx := t.Context()
	row := db.Ent.AuditLog.Create().SetActor("alice").SetAction("system.create").SetResourceType("system").
		SetResourceID("1").SetResourceName("shop").SaveX(ctx)
	event := db.Ent.DomainEvent.Create().SetType(domainevent.TypeVM_CREATION_REQUESTED).SetAggregateType("ticket").SetAggregateID("1").
		SetPayload(json.RawMessage(`{"a":1}`)).SetCreatedBy("alice").SaveX(ctx)

	if _, err := db.Ent.AuditLog.Delete().Where(auditlog.ID(row.ID)).Exec(ctx); apperr.CodeOf(err) != apperr.ErrAppendOnly {
		t.Errorf("ent deleted an audit row: %v", err)
	}
	if err := db.Ent.DomainEvent.DeleteOne(event).Exec(ctx); apperr.CodeOf(err) != apperr.ErrAppendOnly {
		t.Errorf("ent deleted an event: %v", err)
	}
	for _, sql := range []string{
		`UPDATE audit_logs SET actor = 'mallory'`,
		`DELETE FROM audit_logs`,
		`TRUNCATE audit_logs`,
		`DELETE FROM domain_events`,
		`UPDATE domain_events SET payload = '{}'`,
		`UPDATE domain_events SET type = 'VM_DELETE'`,
		`TRUNCATE domain_events CASCADE`,
		`TRUNCATE vm_revisions`,
	} {
		if _, err := db.Pool.Exec(ctx, sql); err == nil {
			t.Errorf("%s: the database allowed it", sql)
		}
	}
	if _, err := db.Pool.Exec(ctx, `UPDATE domain_events SET status = 'PROCESSING'`); err != nil {
		t.Errorf("progress of an event cannot be written: %v", err)
	}
}

func TestNotifyReachesListeners(t *testing.T) {
	db := databasetest.New(t)
	got, ready := make(chan []string, 8), make(chan struct{})
	go func() { _ = db.Listen(t.Context(), func() { close(ready) }, func(topics []string) { got <- topics }) }()
	<-ready
	rolledBack := errors.New("no")
	_ = db.InTx(t.Context(), func(tx *ent.Tx) error {
		if err := database.Notify(t.Context(), tx, "lost"); err != nil {
			t.Error(err)
		}
		return rolledBack
	})
	if err := db.InTx(t.Context(), func(tx *ent.Tx) error { return database.Notify(t.Context(), tx, "vm-1", "tree") }); err != nil {
		t.Fatal(err)
	}
	select {
	case topics := <-got:
		if len(topics) != 2 || topics[0] != "vm-1" || topics[1] != "tree" {
			t.Errorf("got %q", topics)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nothing came")
	}
}

// A transaction that fails leaves nothing, and its error keeps its code.
func TestInTx(t *testing.T) {
	db := databasetest.New(t)
	err := db.InTx(t.Context(), func(tx *ent.Tx) error {
		tx.AuditLog.Create().SetActor("a").SetAction("b").SetResourceType("c").SetResourceID("").SetResourceName("").SaveX(t.Context())
		return apperr.New(apperr.ErrForbidden)
	})
	if apperr.CodeOf(err) != apperr.ErrForbidden {
		t.Errorf("got %v", err)
	}
	if n := db.Ent.AuditLog.Query().CountX(t.Context()); n != 0 {
		t.Errorf("%d rows survived a rollback", n)
	}
}

// The private server ends, starts again with its data, and is adopted when a
// portal was killed.
func TestPrivateServer(t *testing.T) {
	dir, err := os.MkdirTemp("", "shepherd-private-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		p, err := database.StartPrivate(t.Context(), dir+"/pg")
		if err != nil {
			t.Fatal(err)
		}
		if err := database.Migrate(t.Context(), p.URL); err != nil {
			t.Fatal(err)
		}
		db, err := database.Open(t.Context(), p.URL)
		if err != nil {
			t.Fatal(err)
		}
		if n := db.Ent.Session.Query().CountX(t.Context()); n != i {
			t.Errorf("start %d finds %d rows", i, n)
		}
		db.Ent.Session.Create().SetID(fmt.Sprint(i)).SetData([]byte("y")).SetExpiresAt(time.Now().Add(time.Hour)).SaveX(t.Context())
		again, err := database.StartPrivate(t.Context(), dir+"/pg")
		if err != nil {
			t.Fatalf("a running server is not adopted: %v", err)
		}
		db.Close()
		again.Stop()
		p.Stop()
	}
}
