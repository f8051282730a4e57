package keys_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/migrate"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/catalog"
	"kubevirt-shepherd.io/shepherd/internal/usecase/keys"
)

func TestMain(m *testing.M) {
	if url := os.Getenv("SHEPHERD_TEST_ROTATE"); url != "" {
		os.Exit(child(url))
	}
	os.Exit(m.Run())
}

// child rotates in a process of its own, which is killed meanwhile. It tells
// after each batch, and waits a little, so that it is not done before that.
func child(url string) int {
	ctx := context.Background()
	db, err := database.Open(ctx, url)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ring, err := crypto.Load("", os.Getenv("SHEPHERD_TEST_KEYS"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	r := keys.Rotation{DB: db, Keys: ring, Progress: func(r keys.Report) {
		fmt.Println("rotated", r.Total())
		time.Sleep(50 * time.Millisecond)
	}}
	if _, err := r.Run(ctx, domain.Shepherd()); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

type stage struct {
	*testing.T
	db *database.DB
}

func load(t *testing.T, lines ...string) *crypto.Keyring {
	t.Helper()
	k, err := crypto.Load("", strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func id(line string) string { before, _, _ := strings.Cut(line, ":"); return before }

// sealed makes a secret of its row, as the use cases do.
func (st *stage) sealed(ring *crypto.Keyring, table, column string, row uuid.UUID, text string) ([]byte, string) {
	st.Helper()
	sealed, key, err := ring.Seal(crypto.AAD{Table: table, Column: column, Row: row.String()}, []byte(text))
	if err != nil {
		st.Fatal(err)
	}
	return sealed, key
}

// fill puts n clusters, and a few of everything else that is sealed, there.
func (st *stage) fill(ring *crypto.Keyring, n int) (clusters []uuid.UUID) {
	st.Helper()
	ctx := st.Context()
	admin := st.db.Ent.User.Create().SetUsername("root-" + uuid.NewString()[:8]).SaveX(ctx)
	var rows []*ent.ClusterCreate
	for i := range n {
		row := uuid.Must(uuid.NewV7())
		sealed, key := st.sealed(ring, "clusters", "encrypted_kubeconfig", row, secret(row, 0))
		rows = append(rows, st.db.Ent.Cluster.Create().SetID(row).SetName(fmt.Sprintf("c-%s-%d", uuid.NewString()[:8], i)).SetEnvironment("test").SetCreatedBy("root").
			SetEncryptedKubeconfig(sealed).SetEncryptionKeyID(key).SetAPIServerURL("https://x").SetIdentityUID(row.String()))
		clusters = append(clusters, row)
	}
	st.db.Ent.Cluster.CreateBulk(rows...).ExecX(ctx)
	for i := range 3 {
		row := uuid.Must(uuid.NewV7())
		sealed, key := st.sealed(ring, "cluster_drafts", "sealed", row, "draft")
		st.db.Ent.ClusterDraft.Create().SetID(row).SetUserID(admin.ID).SetSealed(sealed).SetKeyID(key).SetContexts(nil).SetExpiresAt(time.Now().Add(time.Hour)).ExecX(ctx)
		row = uuid.Must(uuid.NewV7())
		sealed, key = st.sealed(ring, "templates", "sealed_cloud_init", row, "first boot")
		st.db.Ent.Template.Create().SetID(row).SetName(uuid.NewString()[:8]).SetVersion(1).SetDisplayName("x").SetImage("docker://x").SetStatus("active").SetCreatedBy("root").
			SetSealedCloudInit(sealed).SetKeyID(key).ExecX(ctx)
		row = uuid.Must(uuid.NewV7())
		sealed, key = st.sealed(ring, "cluster_replacements", "sealed", row, "replacement")
		st.db.Ent.ClusterReplacement.Create().SetID(row).SetClusterID(clusters[i]).SetRequestedByID(admin.ID).SetRequestedBy("root").SetSealed(sealed).SetKeyID(key).
			SetServer("https://x").SetIdentityUID("y").SetExpiresAt(time.Now().Add(time.Hour)).ExecX(ctx)
	}
	// One without first-boot data has nothing to seal.
	st.db.Ent.Template.Create().SetName(uuid.NewString()[:8]).SetVersion(1).SetDisplayName("x").SetImage("docker://x").SetStatus("active").SetCreatedBy("root").ExecX(ctx)
	return clusters
}

// secret is what is in a cluster's row after n replacements.
func secret(row uuid.UUID, n int) string { return fmt.Sprintf("secret of %s, %d", row, n) }

func (st *stage) open(ring *crypto.Keyring, row uuid.UUID) (string, string, error) {
	c := st.db.Ent.Cluster.GetX(context.WithoutCancel(st.Context()), row)
	text, err := ring.Open(crypto.AAD{Table: "clusters", Column: "encrypted_kubeconfig", Row: row.String()}, c.EncryptionKeyID, c.EncryptedKubeconfig)
	return string(text), c.EncryptionKeyID, err
}

func (st *stage) uses() map[string]keys.Use {
	st.Helper()
	list, err := keys.Uses(st.Context(), st.db)
	if err != nil {
		st.Fatal(err)
	}
	m := map[string]keys.Use{}
	for _, u := range list {
		m[u.Key] = u
	}
	return m
}

// All columns of the schema that name a key are known, so that none is forgotten
// by a rotation, and none of a kind that is no secret is among them.
func TestSealedColumnsAreAll(t *testing.T) {
	known := map[string]bool{"audit_anchors.key_id": true} // of a signature
	for _, c := range database.SealedColumns() {
		known[c.Table+"."+c.Key] = true
	}
	var found []string
	for _, table := range migrate.Tables {
		for _, c := range table.Columns {
			if strings.HasSuffix(c.Name, "key_id") {
				found = append(found, table.Name+"."+c.Name)
			}
		}
	}
	for _, name := range found {
		if !known[name] {
			t.Errorf("%s is sealed, and no rotation knows of it", name)
		}
	}
	for name := range known {
		if !slices.Contains(found, name) {
			t.Errorf("%s is not in the schema", name)
		}
	}
}

// A rotation that is killed, run again, while credentials are replaced and read:
// afterwards everything is sealed with the new key, and opens, and no
// replacement is undone.
func TestRotateUnderLoad(t *testing.T) {
	st := &stage{t, databasetest.New(t)}
	ctx := t.Context()
	oldLine, newLine := crypto.Generate(), crypto.Generate()
	oldRing, ring := load(t, oldLine), load(t, newLine, oldLine)
	clusters := st.fill(oldRing, 600)

	// The portal goes on: it replaces credentials with the new key, and a process
	// that was not restarted with the old one; it reads all the time.
	last := make([]atomic.Int64, len(clusters))
	stop := make(chan struct{})
	var portal sync.WaitGroup
	var replaced, reads atomic.Int64
	for w := range 4 {
		portal.Go(func() {
			by := ring
			if w == 3 {
				by = oldRing
			}
			for i := w; ; i = (i + 4) % len(clusters) { // each has its own rows, so that it knows the last
				select {
				case <-stop:
					return
				default:
				}
				n := int(last[i].Load()) + 1
				sealed, key, err := by.Seal(crypto.AAD{Table: "clusters", Column: "encrypted_kubeconfig", Row: clusters[i].String()}, []byte(secret(clusters[i], n)))
				if err != nil {
					t.Error(err)
					return
				}
				err = st.db.Ent.Cluster.UpdateOneID(clusters[i]).SetEncryptedKubeconfig(sealed).SetEncryptionKeyID(key).AddCredentialGeneration(1).Exec(context.WithoutCancel(ctx))
				if err != nil {
					t.Error(err)
					return
				}
				last[i].Store(int64(n))
				replaced.Add(1)
				if got, _, err := st.open(ring, clusters[i]); err != nil || got != secret(clusters[i], n) {
					t.Errorf("read %q, %v; want that of replacement %d", got, err, n)
					return
				}
				reads.Add(1)
				time.Sleep(time.Millisecond)
			}
		})
	}

	// Killed in the middle, by the system.
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "SHEPHERD_TEST_ROTATE="+st.db.URL, "SHEPHERD_TEST_KEYS="+newLine+"\n"+oldLine)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 200)
	for heard := ""; strings.Count(heard, "rotated") < 3; {
		n, err := out.Read(said)
		if err != nil {
			t.Fatalf("it ended by itself: %s %v", heard, err)
		}
		heard += string(said[:n])
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	between := st.uses()
	if between[id(oldLine)].Secrets() == 0 || between[id(newLine)].Secrets() == 0 {
		t.Fatalf("it was not killed in the middle: %v", between)
	}
	// Stopped in the middle, in good order.
	stopped, cancel := context.WithCancel(ctx)
	r := keys.Rotation{DB: st.db, Keys: ring, Progress: func(keys.Report) { cancel() }}
	if _, err := r.Run(stopped, domain.Shepherd()); err == nil {
		t.Error("a rotation that was stopped says that it is done")
	}
	// And again, to its end.
	r.Progress = nil
	report, err := r.Run(ctx, domain.Shepherd())
	if err != nil || len(report.Skipped) > 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	close(stop)
	portal.Wait()
	// The process that was not restarted has gone on; it is restarted now.
	if report, err = r.Run(ctx, domain.Shepherd()); err != nil || len(report.Skipped) > 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	if replaced.Load() < 50 || reads.Load() < 50 {
		t.Errorf("%d replacements and %d reads: too few to mean something", replaced.Load(), reads.Load())
	}
	t.Logf("%d replacements, %d reads, %d raced", replaced.Load(), reads.Load(), report.Raced)

	only := load(t, newLine)
	for i, row := range clusters {
		if got, key, err := st.open(only, row); err != nil || key != id(newLine) || got != secret(row, int(last[i].Load())) {
			t.Fatalf("cluster %d: %q with %s, %v; want replacement %d", i, got, key, err, last[i].Load())
		}
	}
	after := st.uses()
	if after[id(oldLine)].Secrets() != 0 || after[id(newLine)].Sealed["cluster_drafts"] != 3 || after[id(newLine)].Sealed["templates"] != 3 || after[id(newLine)].Sealed["cluster_replacements"] != 3 {
		t.Errorf("left: %v", after)
	}
	for _, row := range st.db.Ent.Template.Query().AllX(ctx) {
		text, err := (&catalog.Service{DB: st.db, Keys: only}).OpenCloudInit(ctx, row.ID.String())
		if want := map[bool]string{true: "first boot"}[len(row.SealedCloudInit) > 0]; err != nil || string([]byte(text)) != want {
			t.Errorf("template %s: %v", row.ID, err)
		}
	}
	if n := st.db.Ent.AuditLog.Query().Where(auditlog.Action("keys.rotate"), auditlog.ResourceID(id(newLine))).CountX(ctx); n < 2 {
		t.Errorf("%d records", n)
	}
	// Nothing left is nothing done, and leaves no record.
	before := st.db.Ent.AuditLog.Query().CountX(ctx)
	if report, err := r.Run(ctx, domain.Shepherd()); err != nil || report.Total() != 0 || st.db.Ent.AuditLog.Query().CountX(ctx) != before {
		t.Errorf("%+v, %v", report, err)
	}
}

// A secret that was tampered with, or whose key is not there, is reported and
// left as it is; the others are sealed anew.
func TestRotateSkips(t *testing.T) {
	st := &stage{t, databasetest.New(t)}
	ctx := t.Context()
	oldLine, newLine, goneLine := crypto.Generate(), crypto.Generate(), crypto.Generate()
	clusters := st.fill(load(t, oldLine), 10)
	lost := st.fill(load(t, goneLine), 4)
	bad := st.db.Ent.Cluster.GetX(ctx, clusters[2])
	broken := bytes.Clone(bad.EncryptedKubeconfig)
	broken[70] ^= 1
	bad.Update().SetEncryptedKubeconfig(broken).ExecX(ctx)
	moved := st.db.Ent.Cluster.GetX(ctx, clusters[5])
	st.db.Ent.Cluster.UpdateOneID(clusters[6]).SetEncryptedKubeconfig(moved.EncryptedKubeconfig).ExecX(ctx) // of another row

	report, err := (&keys.Rotation{DB: st.db, Keys: load(t, newLine, oldLine)}).Run(ctx, domain.Shepherd())
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]int{}
	for _, s := range report.Skipped {
		codes[s.Table+" "+s.Code]++
	}
	want := map[string]int{
		"clusters CREDENTIALS_TAMPERED": 2, "clusters CREDENTIALS_LOCKED": 4, "templates CREDENTIALS_LOCKED": 3,
		"cluster_drafts CREDENTIALS_LOCKED": 3, "cluster_replacements CREDENTIALS_LOCKED": 3,
	}
	if fmt.Sprint(codes) != fmt.Sprint(want) || report.Rotated["clusters"] != 8 {
		t.Errorf("skipped %v, rotated %v", codes, report.Rotated)
	}
	if got := st.db.Ent.Cluster.GetX(ctx, clusters[2]); !bytes.Equal(got.EncryptedKubeconfig, broken) || got.EncryptionKeyID != id(oldLine) {
		t.Error("the broken one was changed")
	}
	if _, _, err := st.open(load(t, goneLine), lost[0]); err != nil {
		t.Errorf("that of the missing key does not open any more: %v", err)
	}
	if u := st.uses(); u[id(oldLine)].Secrets() != 2 || u[id(goneLine)].Secrets() != 13 {
		t.Errorf("%v", u)
	}
}

// A ring whose active key is another one under a known id would make secrets of
// two keys under one id: refused.
func TestRotateRefusesWrongActiveKey(t *testing.T) {
	st := &stage{t, databasetest.New(t)}
	oldLine := crypto.Generate()
	clusters := st.fill(load(t, oldLine), 3)
	other := id(oldLine) + ":" + strings.SplitN(crypto.Generate(), ":", 2)[1]
	_, err := (&keys.Rotation{DB: st.db, Keys: load(t, other)}).Run(t.Context(), domain.Shepherd())
	if !errors.Is(err, apperr.New(apperr.ErrCredentialsLocked)) {
		t.Errorf("%v", err)
	}
	if _, _, err := st.open(load(t, oldLine), clusters[0]); err != nil {
		t.Error(err)
	}
}

// Examine tells the right key file from all others.
func TestExamine(t *testing.T) {
	st := &stage{t, databasetest.New(t)}
	ctx := t.Context()
	a, b, stranger := crypto.Generate(), crypto.Generate(), crypto.Generate()
	if needed, err := keys.Needed(ctx, st.db); needed || err != nil {
		t.Fatal(needed, err)
	}
	first := st.fill(load(t, a), 3)
	st.fill(load(t, b, a), 3)
	if needed, err := keys.Needed(ctx, st.db); !needed || err != nil {
		t.Fatal(needed, err)
	}
	wrongA := id(a) + ":" + strings.SplitN(stranger, ":", 2)[1]
	for name, c := range map[string]struct {
		ring []string
		want string
	}{
		"right":                {[]string{b, a}, "<nil>"},
		"right, another first": {[]string{stranger, b, a}, "<nil>"},
		"one missing":          {[]string{b}, "missing " + id(a)},
		"another file":         {[]string{stranger}, "missing both"},
		"wrong under its id":   {[]string{b, wrongA}, "wrong " + id(a)},
		"lost for good":        {[]string{b, id(a) + ":lost"}, "<nil>"},
	} {
		got, err := keys.Examine(ctx, st.db, load(t, c.ring...))
		if err != nil {
			t.Fatal(err)
		}
		text := "<nil>"
		switch {
		case got == nil:
		case len(got.Missing) == 2:
			text = "missing both"
		case len(got.Missing) == 1:
			text = "missing " + got.Missing[0]
		default:
			text = "wrong " + strings.Join(got.Wrong, " ")
		}
		if text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
	// One row that was tampered with is no wrong key.
	st.db.Ent.Cluster.UpdateOneID(first[0]).SetEncryptedKubeconfig([]byte("tampered")).ExecX(ctx)
	if got, err := keys.Examine(ctx, st.db, load(t, b, a)); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	// What is gone within a day is no reason to lock.
	st.db.Ent.Cluster.Delete().Where(entcluster.EncryptionKeyID(id(a))).ExecX(ctx)
	if _, err := st.db.Pool.Exec(ctx, `UPDATE templates SET key_id = $1 WHERE key_id = $2`, id(b), id(a)); err != nil {
		t.Fatal(err)
	}
	if got, err := keys.Examine(ctx, st.db, load(t, b)); got != nil || err != nil {
		j, _ := json.Marshal(got)
		t.Errorf("%s, %v", j, err)
	}
}

// A secret that was replaced after it was read is not overwritten.
func TestReplaceSealedComparesFirst(t *testing.T) {
	st := &stage{t, databasetest.New(t)}
	ctx := t.Context()
	ring := load(t, crypto.Generate())
	row := st.fill(ring, 3)[0]
	c := database.SealedColumns()[0]
	list, err := st.db.ListSealed(ctx, c, ring.IDs(), uuid.Nil, 10)
	if err != nil || len(list) != 3 || list[0].Row != row {
		t.Fatalf("%v, %v", list, err)
	}
	newer, key := st.sealed(ring, c.Table, c.Column, row, "newer")
	st.db.Ent.Cluster.UpdateOneID(row).SetEncryptedKubeconfig(newer).SetEncryptionKeyID(key).ExecX(ctx)
	for _, was := range []database.SealedSecret{list[0], {Row: row, Key: "other", Sealed: newer}} {
		err := st.db.InTx(ctx, func(tx *ent.Tx) error {
			ok, err := database.ReplaceSealed(ctx, tx, c, was, database.SealedSecret{Sealed: []byte("stale"), Key: "k"})
			if ok {
				t.Error("it was overwritten")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, _, err := st.open(ring, row); err != nil || got != "newer" {
		t.Errorf("%q, %v", got, err)
	}
}
