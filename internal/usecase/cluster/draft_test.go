package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// A bad file gets its answer and leaves nothing behind: no row, no secret, and
// the draft of before.
func TestBadKubeconfigsStoreNothing(t *testing.T) {
	st := newStage(t)
	before := st.upload()
	rows := func() string {
		var text string
		err := st.DB.Pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM cluster_drafts) || ' drafts ' ||
			(SELECT count(*) FROM clusters) || ' clusters ' || (SELECT count(*) FROM audit_logs) || ' records'`).Scan(&text)
		must(t, err)
		return text
	}
	was := rows()
	for _, c := range kubeconfigtest.Bad(t) {
		t.Run(c.Name, func(t *testing.T) {
			id, err := st.ReadUpload(t.Context(), st.admin, c.Name, c.Data)
			wants(t, err, c.Code)
			if id != "" {
				t.Error("a draft was made")
			}
			for _, secret := range c.Canaries {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error repeats %q", secret)
				}
			}
			if got := rows(); got != was {
				t.Errorf("stored %s, want %s", got, was)
			}
		})
	}
	if _, err := st.Draft(t.Context(), st.admin, before); err != nil {
		t.Errorf("the draft of before: %v", err)
	}
}

func TestGoodKubeconfigsStaySealed(t *testing.T) {
	st := newStage(t)
	for _, c := range kubeconfigtest.Good(t) {
		t.Run(c.Name, func(t *testing.T) {
			id, err := st.ReadUpload(t.Context(), st.admin, "east.yaml", c.Data)
			must(t, err)
			d, err := st.Draft(t.Context(), st.admin, id)
			must(t, err)
			if got := d.Contexts[0]; got.Server != c.Server || got.Kind != c.Kind || got.Refusal != nil {
				t.Errorf("context %+v", got)
			}
			// The whole table as text and the page's struct, in search of secrets.
			var dump string
			must(t, st.DB.Pool.QueryRow(t.Context(), `SELECT string_agg(d::text || encode(sealed, 'escape'), '') FROM cluster_drafts d`).Scan(&dump))
			page, _ := json.Marshal(d)
			for _, secret := range c.Canaries {
				if strings.Contains(dump, secret) || strings.Contains(string(page), secret) {
					t.Errorf("%q is readable", secret)
				}
			}
			if n := st.DB.Ent.ClusterDraft.Query().CountX(t.Context()); n != 1 {
				t.Errorf("%d drafts, want the newest only", n)
			}
		})
	}
}

// Of a file with a refused context only the usable credential is kept, and the
// refused one is shown with its reason but cannot be chosen.
func TestRefusedContext(t *testing.T) {
	st := newStage(t)
	data := strings.Replace(string(good("tok")), "contexts:\n",
		"- name: cloud\n  user: {exec: {command: kubelogin}}\ncontexts:\n- name: other\n  context: {cluster: c, user: cloud}\n", 1)
	id, err := st.ReadUpload(t.Context(), st.admin, "f", []byte(data))
	must(t, err)
	d, err := st.Draft(t.Context(), st.admin, id)
	must(t, err)
	if len(d.Contexts) != 2 || d.Current != "main" {
		t.Fatalf("draft %+v", d)
	}
	e := wants(t, d.Contexts[0].Refusal, apperr.ErrKubeconfigExec)
	if e.Params["path"] != "users[1].user.exec" {
		t.Errorf("parameters %v", e.Params)
	}
	_, err = st.Preflight(t.Context(), st.admin, id, "other")
	if e := wants(t, err, apperr.ErrKubeconfigExec); e.Field() != "context" {
		t.Errorf("field %q", e.Field())
	}
	_, err = st.Preflight(t.Context(), st.admin, id, "nothing")
	wants(t, err, apperr.ErrInvalidChoice)

	row := st.DB.Ent.ClusterDraft.Query().OnlyX(t.Context())
	text, err := st.Keys.Open(crypto.AAD{Table: "cluster_drafts", Column: "sealed", Row: id}, row.KeyID, row.Sealed)
	must(t, err)
	var kept map[string]domain.Credential
	must(t, json.Unmarshal(text, &kept))
	if len(kept) != 1 || string(kept["main"].Token) != "tok" {
		t.Errorf("kept %d credentials", len(kept))
	}
}

func TestDraftsAreOnesOwnAndEnd(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	other := st.person("other", domain.RoleAdmin)
	mine := st.upload()
	theirs, err := st.ReadUpload(ctx, other, "f", good("theirs"))
	must(t, err)
	must(t, second(st.Draft(ctx, st.admin, mine)))
	for _, id := range []string{theirs, "", "nonsense"} {
		wants(t, second(st.Draft(ctx, st.admin, id)), apperr.ErrDraftExpired)
		wants(t, second(st.Preflight(ctx, st.admin, id, "main")), apperr.ErrDraftExpired)
		wants(t, second(st.Add(ctx, st.admin, id, input("east"))), apperr.ErrDraftExpired)
	}
	newer := st.upload()
	wants(t, second(st.Draft(ctx, st.admin, mine)), apperr.ErrDraftExpired)
	must(t, second(st.Draft(ctx, other, theirs)))

	if n, err := st.SweepDrafts(ctx); n != 0 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	st.sql(`UPDATE cluster_drafts SET expires_at = now() - interval '1 second' WHERE id = $1`, newer)
	wants(t, second(st.Draft(ctx, st.admin, newer)), apperr.ErrDraftExpired)
	wants(t, second(st.Add(ctx, st.admin, newer, input("east"))), apperr.ErrDraftExpired)
	if n, err := st.SweepDrafts(ctx); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	must(t, second(st.Draft(ctx, other, theirs)))
}

func TestPreflight(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	id := st.upload()
	want := domain.Preflight{Checks: []domain.Check{
		{ID: "reachable", State: domain.CheckOK}, {ID: "tls", State: domain.CheckFailed, Code: apperr.ErrClusterTLS}, {ID: "kubevirt", State: domain.CheckNotRun},
	}}
	st.play.preflight = func(ctx context.Context, c domain.Credential) domain.Preflight {
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > 8*time.Second {
			t.Errorf("deadline %v, %v", end, ok)
		}
		if string(c.Token) != kubeconfigtest.Token {
			t.Error("another credential")
		}
		var open int
		must(t, st.DB.Pool.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`).Scan(&open))
		if open > 0 {
			t.Errorf("%d transactions are open while the cluster is asked", open)
		}
		return want
	}
	got, err := st.Preflight(ctx, st.admin, id, "main")
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return want }
	must(t, err)
	d, err := st.Draft(ctx, st.admin, id)
	must(t, err)
	if fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(d.Preflight.Checks) != fmt.Sprint(want.Checks) || d.PreflightContext != "main" {
		t.Errorf("got %+v, stored %q %+v", got, d.PreflightContext, d.Preflight)
	}
	// What failed is not tried again by adding.
	wants(t, second(st.Add(ctx, st.admin, id, input("east"))), apperr.ErrClusterTLS)

	// Five in a minute, also when they come at once.
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[string]int{}
	for range 10 {
		wg.Go(func() {
			_, err := st.Preflight(ctx, st.admin, id, "main")
			mu.Lock()
			defer mu.Unlock()
			codes[codeOf(err)]++
		})
	}
	wg.Wait()
	if codes[""] != 4 || codes[apperr.ErrTooMany] != 6 {
		t.Errorf("answers %v", codes)
	}
	if n := len(st.audited("cluster.preflight")); n != 5 {
		t.Errorf("%d records", n)
	}
	// Another admin is not slowed down.
	other := st.person("other", domain.RoleAdmin)
	theirs, err := st.ReadUpload(ctx, other, "f", good(kubeconfigtest.Token))
	must(t, err)
	must(t, second(st.Preflight(ctx, other, theirs, "main")))
}

// A person who leaves leaves no verdict on the cluster.
func TestPreflightAbandoned(t *testing.T) {
	st := newStage(t)
	id := st.upload()
	ctx, cancel := context.WithCancel(t.Context())
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { cancel(); return passed("uid-1") }
	wants(t, second(st.Preflight(ctx, st.admin, id, "main")), apperr.ErrUnavailable)
	d, err := st.Draft(t.Context(), st.admin, id)
	must(t, err)
	if d.PreflightContext != "" {
		t.Error("a result was stored")
	}
}

func input(name string) cluster.Input {
	return cluster.Input{Context: "main", Name: name, Environment: domain.Test, Place: "Lab"}
}
