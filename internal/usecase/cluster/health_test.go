package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
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
func TestCheckDue(t *testing.T) {
	st := newStage(t)
	for i := range 20 {
		st.stored(fmt.Sprintf("c-%02d", i), domain.Test)
	}
	var now, most, asked atomic.Int32
	full := make(chan struct{})
	var once sync.Once
	st.play.health = func(ctx context.Context, id string) domain.ClusterHealth {
		asked.Add(1)
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == 16 {
			time.Sleep(50 * time.Millisecond) // let a seventeenth show itself
			once.Do(func() { close(full) })
		}
		select {
		case <-full:
		case <-ctx.Done():
			t.Error("they were asked one after the other")
		}
		return silent(apperr.ErrClusterTimeout)
	}
	must(t, st.CheckDue(t.Context()))
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
	must(t, st.CheckDue(t.Context())) // none is due
	if asked.Load() != 20 {
		t.Errorf("asked again at once: %d", asked.Load())
	}
}

// Due is who was never checked, or not for its interval; who is switched off is
// never.
func TestDue(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	var mu sync.Mutex
	var asked []string
	st.play.health = func(_ context.Context, id string) domain.ClusterHealth {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, st.row(id).Name)
		return silent(apperr.ErrClusterTimeout)
	}
	round := func(want ...string) {
		t.Helper()
		must(t, st.CheckDue(ctx))
		slices.Sort(asked)
		if !slices.Equal(asked, want) {
			t.Errorf("asked %v, want %v", asked, want)
		}
		asked = nil
	}
	for _, name := range []string{"due", "later", "new", "off"} {
		st.stored(name, domain.Test)
	}
	st.sql(`UPDATE clusters SET next_check_at = now() - interval '1 second' WHERE name = 'due'`)
	st.sql(`UPDATE clusters SET next_check_at = now() + interval '1 minute' WHERE name = 'later'`)
	st.sql(`UPDATE clusters SET enabled = false WHERE name = 'off'`)
	round("due", "new")
	round()

	// The interval is 15 s and a fifth, and up to a minute for the long silent.
	next := func(failures int) time.Duration {
		st.sql(fmt.Sprintf(`UPDATE clusters SET failures = %d, next_check_at = NULL WHERE name = 'due'`, failures-1))
		before := time.Now()
		must(t, st.CheckDue(ctx))
		row := st.DB.Ent.Cluster.Query().Where(entcluster.Name("due")).OnlyX(ctx)
		if row.Failures != failures {
			t.Fatalf("%d failures", row.Failures)
		}
		return row.NextCheckAt.Sub(before)
	}
	for failures, want := range map[int][2]time.Duration{1: {12, 18}, 2: {12, 18}, 3: {24, 36}, 6: {40, 60}, 1000: {40, 60}} {
		seen := map[time.Duration]bool{}
		for range 4 {
			d := next(failures)
			seen[d.Round(time.Millisecond)] = true
			if d < want[0]*time.Second || d > want[1]*time.Second+2*time.Second { // and what the round took
				t.Errorf("after %d failures: %v", failures, d)
			}
		}
		if len(seen) < 2 {
			t.Errorf("after %d failures: no jitter", failures)
		}
	}
	id := st.DB.Ent.Cluster.Query().Where(entcluster.Name("off")).OnlyIDX(ctx).String()
	wants(t, st.Check(ctx, id), apperr.ErrClusterDisabled)

	// Switched off while it was being asked: what was found is not stored.
	st.play.health = func(context.Context, string) domain.ClusterHealth {
		st.sql(`UPDATE clusters SET enabled = false`)
		return healthy("uid-later")
	}
	st.sql(`UPDATE clusters SET next_check_at = NULL WHERE name = 'later'`)
	must(t, st.CheckDue(ctx))
	if row := st.DB.Ent.Cluster.Query().Where(entcluster.Name("later")).OnlyX(ctx); row.CheckedAt != nil {
		t.Errorf("stored %s", row.Status)
	}
}

// A panic about one cluster is an error of the round, and the others are checked.
func TestCheckPanics(t *testing.T) {
	st := newStage(t)
	bad := st.stored("bad", domain.Test).ID.String()
	good := st.stored("good", domain.Test).ID.String()
	st.play.health = func(_ context.Context, id string) domain.ClusterHealth {
		if id == bad {
			panic("a mistake of ours")
		}
		return healthy("uid-good")
	}
	if err := st.CheckDue(t.Context()); err == nil || !strings.Contains(err.Error(), "a mistake of ours") {
		t.Errorf("error %v", err)
	}
	if st.row(good).Status != "HEALTHY" {
		t.Errorf("the other is %s", st.row(good).Status)
	}
}

// Two replicas share the clusters: none is asked by both.
func TestTwoReplicas(t *testing.T) {
	st := newStage(t)
	for i := range 30 {
		st.stored(fmt.Sprintf("c-%02d", i), domain.Test)
	}
	other := *st.Service
	var mu sync.Mutex
	asked := map[string]int{}
	ask := func(_ context.Context, id string) domain.ClusterHealth {
		mu.Lock()
		asked[id]++
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		return silent(apperr.ErrClusterTimeout)
	}
	st.play.health = ask
	var wg sync.WaitGroup
	for _, s := range []*cluster.Service{st.Service, &other, st.Service, &other} {
		wg.Go(func() { must(t, s.CheckDue(t.Context())) })
	}
	wg.Wait()
	if len(asked) != 30 {
		t.Errorf("%d of 30 asked", len(asked))
	}
	for id, n := range asked {
		if n != 1 {
			t.Errorf("%s was asked %d times", id, n)
		}
	}
}

// A silent cluster keeps no other from being checked when its time comes.
func TestSilentDelaysNobody(t *testing.T) {
	st := newStage(t)
	dead := st.stored("dead", domain.Test).ID.String()
	live := st.stored("live", domain.Test).ID.String()
	hang, began := make(chan struct{}), make(chan struct{})
	var answered atomic.Int32
	st.play.health = func(_ context.Context, id string) domain.ClusterHealth {
		if id == dead {
			close(began)
			<-hang
			return silent(apperr.ErrClusterTimeout)
		}
		answered.Add(1)
		return healthy("uid-live")
	}
	ended := make(chan error)
	go func() { ended <- st.CheckDue(t.Context()) }()
	<-began
	for answered.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	for st.row(live).CheckedAt == nil {
		time.Sleep(time.Millisecond)
	}
	st.sql(`UPDATE clusters SET next_check_at = NULL WHERE name = 'live'`)
	must(t, st.CheckDue(t.Context())) // the round after, while the first one waits
	if answered.Load() != 2 {
		t.Errorf("asked %d times", answered.Load())
	}
	close(hang)
	must(t, <-ended)
}

// What changes seldom is read at first, then each ten minutes, when somebody
// asks, and when a version has changed.
func TestDescribed(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	id := st.stored("east", domain.Test).ID.String()
	regular := healthy("uid-east")
	regular.StorageClasses, regular.KubernetesVersion = nil, ""
	regular.Capabilities = domain.Capabilities{Gates: []string{"Snapshot"}, Kubelets: []string{"v1.34.1"}}
	deep := healthy("uid-east")
	deep.Capabilities = regular.Capabilities
	deep.Capabilities.APIs, deep.Capabilities.InstanceTypes = []string{"cdi.kubevirt.io/v1beta1"}, 40
	var story string
	st.play.health = func(context.Context, string) domain.ClusterHealth { story += "r"; return regular }
	st.play.describe = func(context.Context, string) domain.ClusterHealth {
		story += "d"
		h := deep
		h.KubeVirtVersion, h.Capabilities.Kubelets, h.DescribedAt = regular.KubeVirtVersion, regular.Capabilities.Kubelets, time.Now().UTC()
		return h
	}
	round := func(why, want string) {
		t.Helper()
		story = ""
		st.sql(`UPDATE clusters SET next_check_at = NULL`)
		must(t, st.CheckDue(ctx))
		if story != want {
			t.Errorf("%s: %s, want %s", why, story, want)
		}
		if row := st.row(id); row.Status != "HEALTHY" || row.Capabilities.InstanceTypes != 40 || len(row.StorageClasses) != 1 || row.KubernetesVersion != "v1.34.1" || len(row.Capabilities.Gates) != 1 {
			t.Errorf("%s: what was known is gone: %+v", why, row)
		}
	}
	round("the first time", "d")
	round("just described", "r")
	st.sql(`UPDATE clusters SET described_at = now() - interval '7 minutes'`)
	round("seven minutes ago", "r")
	st.sql(`UPDATE clusters SET described_at = now() - interval '13 minutes'`)
	round("thirteen minutes ago", "d")
	regular.KubeVirtVersion = "v1.9.1"
	round("another KubeVirt", "rd")
	regular.Capabilities.Kubelets = []string{"v1.34.1", "v1.35.0"}
	round("another kubelet", "rd")
	round("nothing new", "r")
	story = ""
	must(t, st.Check(ctx, id))
	if story != "d" {
		t.Errorf("somebody asked: %s", story)
	}
	if row := st.row(id); row.KubevirtVersion != "v1.9.1" || row.DescribedAt == nil {
		t.Errorf("%+v", row)
	}

	// A silent one is not asked for more than its health.
	st.sql(`UPDATE clusters SET described_at = NULL, failures = 1, next_check_at = NULL`)
	story = ""
	must(t, st.CheckDue(ctx))
	if story != "r" {
		t.Errorf("after a failure: %s", story)
	}

	// What could not be read stays as it was, and is put on the timeline.
	deep.Capabilities.APIs, deep.StorageClasses = nil, nil
	deep.Gap = domain.Problem{Code: apperr.ErrClusterForbidden}
	round("a gap", "d")
	if row := st.row(id); len(row.Capabilities.APIs) != 1 {
		t.Errorf("APIs %v", row.Capabilities.APIs)
	}
	if l := st.timeline(id, domain.AboutError); len(l) != 1 || l[0].Problem.Code != apperr.ErrClusterForbidden {
		t.Errorf("timeline %+v", l)
	}
}
