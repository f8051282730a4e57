package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// fleet is a kubeconfig with n contexts c0, c1, …, each of its own cluster.
func fleet(n int) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Config\nusers:\n- {name: u, user: {token: t}}\n- {name: cloud, user: {exec: {command: gke-gcloud-auth-plugin}}}\nclusters:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: k%d, cluster: {server: 'https://10.0.0.%d'}}\n", i, i+1)
	}
	b.WriteString("contexts:\n- {name: cloud, context: {cluster: k0, user: cloud}}\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: c%d, context: {cluster: k%d, user: u}}\n", i, i)
	}
	return []byte(b.String())
}

// All contexts are looked through at once, as many as a minute allows, and each
// keeps its own result.
func TestPreflightAll(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	west := st.stored("west", domain.Prod)
	draft, err := st.ReadUpload(ctx, st.admin, "f", fleet(7))
	must(t, err)
	var mu sync.Mutex
	running, most := 0, 0
	asked := map[string]int{}
	st.play.preflight = func(_ context.Context, c domain.Credential) domain.Preflight {
		mu.Lock()
		running++
		most = max(most, running)
		asked[c.Server]++
		mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		running--
		switch c.Server {
		case "https://10.0.0.1":
			return domain.Preflight{Checks: []domain.Check{{ID: "tls", State: domain.CheckFailed, Code: apperr.ErrClusterTLS}}}
		case "https://10.0.0.2":
			return passed("uid-west")
		}
		return passed("uid of " + c.Server)
	}
	must(t, second(st.Preflight(ctx, st.admin, draft, "c3"))) // one of the five
	start := time.Now()
	left, next, err := st.PreflightAll(ctx, st.admin, draft)
	must(t, err)
	if left != 2 || next.Before(start.Add(50*time.Second)) || next.After(time.Now().Add(time.Minute)) {
		t.Errorf("%d are left until %v after", left, next.Sub(start))
	}
	if most < 2 {
		t.Error("one was asked after the other")
	}
	if n := len(st.audited("cluster.preflight")); n != 5 || len(asked) != 5 {
		t.Errorf("%d records, asked %v", n, asked)
	}
	d, err := st.Draft(ctx, st.admin, draft)
	must(t, err)
	var verdicts []string
	for _, c := range d.Contexts {
		verdicts = append(verdicts, fmt.Sprintf("%s %v %v", c.Name, c.Ready(), c.Preflight != nil))
	}
	want := "cloud false false, c0 false true, c1 false true, c2 true true, c3 true true, c4 true true, c5 false false, c6 false false"
	if got := strings.Join(verdicts, ", "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if k := d.Contexts[2].Known; k == nil || *k != (cluster.Known{ID: west.ID.String(), Name: "west"}) {
		t.Errorf("known as %+v", k)
	}
	if d.PreflightContext != "c3" {
		t.Errorf("looked through %q last", d.PreflightContext)
	}

	// Nothing more is allowed, and nothing is lost by asking.
	if left, again, err := st.PreflightAll(ctx, st.admin, draft); err != nil || left != 2 || !again.Equal(next) {
		t.Errorf("again: %d left until %v, %v", left, again, err)
	}
	e := wants(t, second(st.Preflight(ctx, st.admin, draft, "c5")), apperr.ErrTooMany)
	if wait, _ := e.Params["wait"].(time.Duration); wait < 50*time.Second || wait > time.Minute {
		t.Errorf("wait %v", e.Params["wait"])
	}
	// A minute later the rest follows. What was looked through is not asked again.
	st.sql(`ALTER TABLE audit_logs DISABLE TRIGGER USER`)
	st.sql(`UPDATE audit_logs SET created_at = created_at - interval '1 minute'`)
	left, _, err = st.PreflightAll(ctx, st.admin, draft)
	must(t, err)
	if left != 0 || len(asked) != 7 {
		t.Errorf("%d left, asked %v", left, asked)
	}
	for server, n := range asked {
		if n != 1 {
			t.Errorf("%s was asked %d times", server, n)
		}
	}
	if left, _, err := st.PreflightAll(ctx, st.admin, draft); err != nil || left != 0 || len(st.audited("cluster.preflight")) != 7 {
		t.Errorf("with nothing to do: %d, %v", left, err)
	}
	// Each result counts for its own context.
	in := input("east")
	in.Context = "c0"
	wants(t, second(st.Add(ctx, st.admin, draft, in)), apperr.ErrClusterTLS)
	in.Context = "c1"
	if e := wants(t, second(st.Add(ctx, st.admin, draft, in)), apperr.ErrClusterDuplicate); e.Params["cluster"] != "west" {
		t.Errorf("parameters %v", e.Params)
	}
	in.Context = "c2"
	must(t, second(st.Add(ctx, st.admin, draft, in)))
}

// A file without a usable context says of each why, and what signs it in.
func TestRefusedFile(t *testing.T) {
	st := newStage(t)
	_, err := st.ReadUpload(t.Context(), st.admin, "f", []byte(strings.ReplaceAll(string(fleet(2)), "user: u}", "user: cloud}")))
	var refused *cluster.Refused
	if !errors.As(err, &refused) || codeOf(err) != apperr.ErrKubeconfigExec || len(refused.Contexts) != 3 {
		t.Fatalf("got %v", err)
	}
	if c := refused.Contexts[1]; c.Name != "c0" || c.Server != "https://10.0.0.1" || c.Login != kubeconfig.LoginGKE || c.Refusal.Params["login"] != "Google GKE" {
		t.Errorf("context %+v", c)
	}
	if n := st.DB.Ent.ClusterDraft.Query().CountX(t.Context()); n != 0 {
		t.Errorf("%d drafts", n)
	}
	// What is no kubeconfig has no contexts.
	if _, err := st.ReadUpload(t.Context(), st.admin, "f", []byte("x")); errors.As(err, &refused) {
		t.Errorf("got contexts of %v", err)
	}
}

// What the parser warns of is kept for the page.
func TestDraftWarnings(t *testing.T) {
	st := newStage(t)
	d, err := st.Draft(t.Context(), st.admin, st.upload())
	must(t, err)
	var codes []string
	for _, w := range d.Contexts[0].Warnings {
		codes = append(codes, w.Code)
	}
	if got := strings.Join(codes, " "); got != kubeconfig.WarnSystemRoots+" "+kubeconfig.WarnUnknownExpiry {
		t.Errorf("warnings %s", got)
	}
}
