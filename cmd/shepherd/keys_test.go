package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
)

// The commands of keys tell what is sealed with which key, seal it anew, and
// never say that a line of the file can go.
func TestKeysCommands(t *testing.T) {
	ctx := t.Context()
	db := databasetest.New(t)
	oldLine, newLine, goneLine := crypto.Generate(), crypto.Generate(), crypto.Generate()
	ring := func(lines ...string) *crypto.Keyring {
		t.Helper()
		k, err := crypto.Load("", strings.Join(lines, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	id := func(line string) string { before, _, _ := strings.Cut(line, ":"); return before }
	cluster := func(name string, by *crypto.Keyring) {
		t.Helper()
		row := uuid.Must(uuid.NewV7())
		sealed, key, err := by.Seal(crypto.AAD{Table: "clusters", Column: "encrypted_kubeconfig", Row: row.String()}, []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		db.Ent.Cluster.Create().SetID(row).SetName(name).SetEnvironment("test").SetCreatedBy("root").SetEncryptedKubeconfig(sealed).
			SetEncryptionKeyID(key).SetAPIServerURL("https://x").SetIdentityUID(name).ExecX(ctx)
	}
	cluster("east", ring(oldLine))
	cluster("west", ring(oldLine))
	says := func(out *bytes.Buffer, want ...string) {
		t.Helper()
		text := strings.Join(strings.Fields(out.String()), " ")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%q is not in:\n%s", w, out)
			}
		}
		for _, line := range []string{oldLine, newLine, goneLine} {
			if strings.Contains(out.String(), strings.SplitN(line, ":", 2)[1]) {
				t.Error("a key is printed")
			}
		}
		out.Reset()
	}
	var out bytes.Buffer
	now := ring(newLine, oldLine)
	run := func(what string, err error, code int) {
		t.Helper()
		if got := exitCode(err); got != code {
			t.Errorf("%s: exit code %d (%v), want %d", what, got, err, code)
		}
	}
	run("list", writeKeys(ctx, &out, db, now), 0)
	says(&out, id(newLine)+" "+now.Fingerprint(id(newLine))+" 0 0 0 0 0 active", id(oldLine)+" "+now.Fingerprint(id(oldLine))+" 2 0 0 0 0 retired")
	run("list without a file", writeKeys(ctx, &out, db, nil), 0)
	says(&out, id(oldLine)+" - 2 0 0 0 0 MISSING")
	run("dry run", rotate(ctx, &out, db, now, true), 0)
	says(&out, id(oldLine)+": 2 clusters", "Secrets to seal anew with "+id(newLine)+": 2")
	run("rotate", rotate(ctx, &out, db, now, false), 0)
	says(&out, "Secrets sealed anew with "+id(newLine)+": 2", id(oldLine)+": no secret needs it any more. Keep its line all the same")
	run("again", rotate(ctx, &out, db, now, false), 0)
	says(&out, "Secrets sealed anew with "+id(newLine)+": 0")

	cluster("lost", ring(goneLine))
	run("with one that no key opens", rotate(ctx, &out, db, now, false), exitLeft)
	says(&out, "skipped: clusters", "sealed with "+id(goneLine)+": CREDENTIALS_LOCKED")
	wrong := id(newLine) + ":" + strings.SplitN(goneLine, ":", 2)[1]
	run("list with a wrong key", writeKeys(ctx, &out, db, ring(wrong, oldLine, id(goneLine)+":lost")), 0)
	says(&out, "WRONG", id(goneLine)+" - 1 0 0 0 0 lost")
	if err := rotate(ctx, &out, db, ring(wrong, oldLine), false); err == nil || !strings.Contains(err.Error(), "is another one") {
		t.Errorf("%v", err)
	}
	run("typed wrong", keysRotate(ctx, []string{"now"}), 2)
}
