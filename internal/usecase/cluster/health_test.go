package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

func silent(code string) domain.ClusterHealth {
	return domain.ClusterHealth{Status: domain.ClusterUnreachable, Reason: domain.Problem{Code: code, Params: map[string]any{"tries": 3}}}
}

// A story of checks: what each finds, and what the page says afterwards.
func TestCheck(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	id := st.stored("east", domain.Test).ID.String()
	var found domain.ClusterHealth
	st.play.health = func(ctx context.Context, asked string) domain.ClusterHealth {
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > 5*time.Second || asked != id {
			t.Errorf("asked for %q with deadline %v", asked, end)
		}
		return found
	}
	unauthorized := domain.ClusterHealth{Status: domain.ClusterUnhealthy, Reason: domain.Problem{Code: apperr.ErrClusterUnauthorized}}
	noIdentity := healthy("")
	well := healthy("uid-east")
	for i, step := range []struct {
		found    domain.ClusterHealth
		status   domain.ClusterStatus
		code     string
		failures int
		told     bool // pages are told
	}{
		{silent(apperr.ErrClusterDNS), domain.ClusterUnreachable, apperr.ErrClusterDNS, 1, true}, // the first check ever: at once
		{silent(apperr.ErrClusterTimeout), domain.ClusterUnreachable, apperr.ErrClusterTimeout, 2, true},
		{well, domain.ClusterHealthy, "", 0, true},
		{well, domain.ClusterHealthy, "", 0, false},
		{silent(apperr.ErrClusterTimeout), domain.ClusterHealthy, "", 1, true}, // the page counts the failures
		{silent(apperr.ErrClusterTimeout), domain.ClusterHealthy, "", 2, true},
		{well, domain.ClusterHealthy, "", 0, true},
		{silent(apperr.ErrClusterTimeout), domain.ClusterHealthy, "", 1, true},
		{silent(apperr.ErrClusterTimeout), domain.ClusterHealthy, "", 2, true},
		{silent(apperr.ErrClusterRefused), domain.ClusterUnreachable, apperr.ErrClusterRefused, 3, true},
		{unauthorized, domain.ClusterUnhealthy, apperr.ErrClusterUnauthorized, 0, true},
		{domain.ClusterHealth{}, domain.ClusterUnhealthy, apperr.ErrClusterUnauthorized, 1, true}, // no verdict is no answer
		{noIdentity, domain.ClusterUnhealthy, apperr.ErrClusterForbidden, 0, true},                // whose health is that?
		{well, domain.ClusterHealthy, "", 0, true},
		{silent(apperr.ErrCredentialsLocked), domain.ClusterUnreachable, apperr.ErrCredentialsLocked, 1, true}, // not the network
	} {
		found = step.found
		heard := st.heard()
		before := st.row(id)
		must(t, st.Check(ctx, id))
		row := st.row(id)
		if got := row; domain.ClusterStatus(got.Status) != step.status || got.StatusReason.Code != step.code || got.Failures != step.failures {
			t.Errorf("step %d: %s %q, %d failures; want %+v", i, got.Status, got.StatusReason.Code, got.Failures, step)
		}
		if row.CheckedAt == nil || before.CheckedAt != nil && !row.CheckedAt.After(*before.CheckedAt) {
			t.Errorf("step %d: checked at %v", i, row.CheckedAt)
		}
		if told := heard(); (len(told) > 0) != step.told {
			t.Errorf("step %d: told %q", i, told)
		}
		if i > 2 && (row.KubevirtVersion != "v1.9.0" || len(row.StorageClasses) != 1 || row.Nodes != 2) {
			t.Errorf("step %d: what was known is gone: %+v", i, row)
		}
	}
	var story string
	for _, r := range st.audited("cluster.status") {
		if r.Actor != "shepherd" {
			t.Errorf("actor %q", r.Actor)
		}
		story += fmt.Sprintf("%v>%v ", r.Details["from"], r.Details["to"])
	}
	want := "UNKNOWN>UNREACHABLE UNREACHABLE>HEALTHY HEALTHY>UNREACHABLE UNREACHABLE>UNHEALTHY UNHEALTHY>HEALTHY HEALTHY>UNREACHABLE "
	if story != want {
		t.Errorf("recorded %s\nwant     %s", story, want)
	}
}

// Another cluster behind the address closes it to the provider until it proves
// to be itself, through whatever comes between.
func TestIdentityChanged(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	id := st.stored("east", domain.Test).ID.String()
	store := &cluster.Credentials{DB: st.DB, Keys: st.Keys}
	st.play.health = func(context.Context, string) domain.ClusterHealth { return healthy("uid-east") }
	must(t, st.Check(ctx, id))

	foreign := healthy("uid-foreign")
	foreign.KubeVirtVersion = "v0.1.0"
	st.play.health = func(context.Context, string) domain.ClusterHealth { return foreign }
	must(t, st.Check(ctx, id))
	closed := func() {
		t.Helper()
		row := st.row(id)
		if row.Status != "UNHEALTHY" || row.StatusReason.Code != apperr.ErrClusterIdentity || row.KubevirtVersion != "v1.9.0" {
			t.Errorf("%s %+v %s", row.Status, row.StatusReason, row.KubevirtVersion)
		}
		wants(t, second2(store.Credential(ctx, id)), apperr.ErrClusterIdentity)
	}
	closed()
	if r := st.audited("cluster.status"); r[len(r)-1].Details["code"] != apperr.ErrClusterIdentity {
		t.Errorf("record %v", r[len(r)-1].Details)
	}

	st.play.health = func(context.Context, string) domain.ClusterHealth { t.Error("the provider was asked"); return foreign }
	for _, p := range []domain.Preflight{
		passed("uid-foreign"),
		{Checks: []domain.Check{{State: domain.CheckFailed, Code: apperr.ErrClusterTimeout}}},
		passed(""),
		{},
	} {
		for range 3 {
			st.play.preflight = func(_ context.Context, c domain.Credential) domain.Preflight {
				if string(c.Token) != "token of east" {
					t.Error("another credential")
				}
				return p
			}
			must(t, st.Check(ctx, id))
			closed()
		}
	}
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return passed("uid-east") }
	must(t, st.Check(ctx, id))
	if row := st.row(id); row.Status != "HEALTHY" || !row.StatusReason.IsZero() {
		t.Errorf("%s %+v", row.Status, row.StatusReason)
	}
	must(t, second2(store.Credential(ctx, id)))
}

// A check that was overtaken by a new credential or a newer check says nothing.
func TestStaleCheck(t *testing.T) {
	st := newStage(t)
	id := st.stored("east", domain.Test).ID.String()
	for _, change := range []string{
		`UPDATE clusters SET credential_generation = 2, status = 'HEALTHY'`,
		`UPDATE clusters SET checked_at = now(), status = 'HEALTHY'`,
	} {
		st.play.health = func(context.Context, string) domain.ClusterHealth {
			st.sql(change)
			return domain.ClusterHealth{Status: domain.ClusterUnhealthy, IdentityUID: "uid-east", Reason: domain.Problem{Code: apperr.ErrClusterUnauthorized}}
		}
		must(t, st.Check(t.Context(), id))
		if row := st.row(id); row.Status != "HEALTHY" {
			t.Errorf("%s: %s", change, row.Status)
		}
	}
	st.play.health = func(context.Context, string) domain.ClusterHealth {
		st.sql(`DELETE FROM clusters`)
		return healthy("uid-east")
	}
	must(t, st.Check(t.Context(), id))
	wants(t, st.Check(t.Context(), id), apperr.ErrNotFound)
}

// Stopping the portal must not look like a dead cluster.
func TestCheckStopped(t *testing.T) {
	st := newStage(t)
	id := st.stored("east", domain.Test).ID.String()
	ctx, cancel := context.WithCancel(t.Context())
	st.play.health = func(context.Context, string) domain.ClusterHealth { cancel(); return silent(apperr.ErrClusterTimeout) }
	if err := st.Check(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if row := st.row(id); row.Status != "UNKNOWN" || row.CheckedAt != nil {
		t.Errorf("stored %s", row.Status)
	}
}

// Silent clusters are asked beside the others, sixteen at once and not more.
func TestCheckAll(t *testing.T) {
	st := newStage(t)
	for i := range 20 {
		st.stored(fmt.Sprintf("c-%02d", i), domain.Test)
	}
	var now, most, asked atomic.Int32
	full := make(chan struct{})
	st.play.health = func(ctx context.Context, id string) domain.ClusterHealth {
		asked.Add(1)
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == 16 {
			time.Sleep(50 * time.Millisecond) // let a seventeenth show itself
			close(full)
		}
		select {
		case <-full:
		case <-ctx.Done():
			t.Error("they were asked one after the other")
		}
		return silent(apperr.ErrClusterTimeout)
	}
	must(t, st.CheckAll(t.Context()))
	if most.Load() != 16 || asked.Load() != 20 {
		t.Errorf("%d asked, %d at once", asked.Load(), most.Load())
	}
	l, err := st.List(t.Context(), st.admin, cluster.Page{})
	must(t, err)
	for _, c := range l.Items {
		if c.Status != domain.ClusterUnreachable {
			t.Errorf("%s is %s", c.Name, c.Status)
		}
	}
}
