package cluster_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// replica runs the watchers of one portal process.
type replica struct {
	stop func() // and waits

	mu      sync.Mutex
	now     map[string]int // watchers of each cluster
	started int
	twice   bool // two watchers of one cluster at once
}

func (r *replica) watching() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for c := range r.now {
		out = append(out, c)
	}
	slices.Sort(out)
	return out
}

func (r *replica) watch(ctx context.Context, cluster string) error {
	r.mu.Lock()
	r.started++
	r.now[cluster]++
	r.twice = r.twice || r.now[cluster] > 1
	r.mu.Unlock()
	<-ctx.Done()
	time.Sleep(50 * time.Millisecond) // a watcher takes its time to end
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now[cluster]--; r.now[cluster] == 0 {
		delete(r.now, cluster)
	}
	return ctx.Err()
}

func (st *stage) replica() *replica {
	r := &replica{now: map[string]int{}}
	s := *st.Service
	s.Watcher = &script{watch: r.watch}
	ctx, cancel := context.WithCancel(st.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	r.stop = func() { cancel(); <-done }
	st.t.Cleanup(r.stop)
	return r
}

// soon waits for a condition; within is generous, because tests share two cores.
func soon(t testing.TB, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	east := st.stored("east", domain.Test).ID.String()
	goroutines := runtime.NumGoroutine()
	a := st.replica()
	is := func(r *replica, ids ...string) func() bool {
		slices.Sort(ids)
		return func() bool { return slices.Equal(r.watching(), ids) }
	}
	soon(t, "the first cluster is watched", time.Second, is(a, east))

	west := st.stored("west", domain.Prod).ID.String()
	soon(t, "a new cluster is watched", 3*time.Second, is(a, east, west))

	// A second replica finds nothing to do.
	b := st.replica()
	either := func(ids ...string) func() bool {
		slices.Sort(ids)
		return func() bool {
			return slices.Equal(slices.Sorted(slices.Values(append(a.watching(), b.watching()...))), ids)
		}
	}
	time.Sleep(2500 * time.Millisecond)
	if got := b.watching(); len(got) > 0 {
		t.Errorf("%q are watched twice", got)
	}

	// A new credential starts a new watcher, after the old one has ended.
	st.sql(`UPDATE clusters SET credential_generation = 2 WHERE id = $1`, east)
	soon(t, "the watcher starts anew", 4*time.Second, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.started == 3 && len(a.now) == 2
	})

	// The lease goes to somebody else: hands off.
	st.sql(`UPDATE clusters SET watcher = 'other', watch_until = now() + interval '1 minute' WHERE id = $1`, east)
	soon(t, "the lost cluster is let go", 4*time.Second, is(a, west))
	// That one dies, and its lease ends.
	st.sql(`UPDATE clusters SET watch_until = now() + interval '2 seconds' WHERE id = $1`, east)
	soon(t, "the orphan is taken", 6*time.Second, either(east, west))

	// Another cluster behind the address is not watched.
	st.sql(`UPDATE clusters SET status = 'UNHEALTHY', status_reason = '{"code":"CLUSTER_IDENTITY_CHANGED"}' WHERE id = $1`, west)
	soon(t, "the impostor is let go", 4*time.Second, either(east))
	st.sql(`UPDATE clusters SET status = 'HEALTHY', status_reason = NULL WHERE id = $1`, west)
	soon(t, "itself again", 4*time.Second, either(east, west))

	// A replica that stops gives its leases back, and the other takes over.
	a.stop()
	if got := a.watching(); len(got) > 0 {
		t.Errorf("%q are watched after the end", got)
	}
	soon(t, "the other takes over", 4*time.Second, is(b, east, west))
	st.sql(`DELETE FROM clusters WHERE id = $1`, west)
	soon(t, "the removed cluster is let go", 4*time.Second, is(b, east))
	b.stop()
	if a.twice || b.twice {
		t.Error("one cluster had two watchers in one replica")
	}
	soon(t, "no goroutine is left", 30*time.Second, func() bool { return runtime.NumGoroutine() <= goroutines })
}

// A lease is renewed long before it ends, and the watcher goes on.
func TestWatchRenews(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	st.stored("east", domain.Test)
	a := st.replica()
	soon(t, "watched", time.Second, func() bool { return len(a.watching()) == 1 })
	until := func() (end time.Time) {
		must(t, st.DB.Pool.QueryRow(t.Context(), `SELECT watch_until FROM clusters`).Scan(&end))
		return end
	}
	first := until()
	soon(t, "renewed", 10*time.Second, func() bool { return until().After(first.Add(6 * time.Second)) })
	if a.started != 1 || len(a.watching()) != 1 {
		t.Errorf("started %d times", a.started)
	}
}

// Without the database nobody can know who holds a lease, so the watcher stops
// when its own is over, and not much later.
func TestWatchWithoutDatabase(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	st.stored("east", domain.Test)
	a := st.replica()
	soon(t, "watched", time.Second, func() bool { return len(a.watching()) == 1 })
	var until time.Time
	must(t, st.DB.Pool.QueryRow(t.Context(), `SELECT watch_until FROM clusters`).Scan(&until))
	st.DB.Close()
	time.Sleep(time.Second)
	if len(a.watching()) != 1 {
		t.Error("it stopped at once: a short failure of the database would cost a relist")
	}
	soon(t, "it stops", time.Until(until)+500*time.Millisecond, func() bool { return len(a.watching()) == 0 })
	a.stop()
}

// A watcher that fails is started again, ever more slowly.
func TestWatchBackoff(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	st.stored("east", domain.Test)
	var mu sync.Mutex
	var starts []time.Time
	s := *st.Service
	s.Watcher = &script{watch: func(context.Context, string) error {
		mu.Lock()
		defer mu.Unlock()
		starts = append(starts, time.Now())
		return errors.New("no")
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
	defer cancel()
	s.Run(ctx)
	if len(starts) != 3 { // at 0, 1 and 3 seconds
		t.Errorf("started %d times", len(starts))
	}
	if !strings.Contains(st.log.String(), "watcher ended") {
		t.Error("nobody was told")
	}
}

// A cluster that is switched off is let go, and watched again when it is switched
// on; one in quarantine is watched.
func TestWatchDisabled(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	east, west := st.stored("east", domain.Test).ID.String(), st.stored("west", domain.Test).ID.String()
	st.sql(`UPDATE clusters SET quarantined_at = now() WHERE id = $1`, west)
	a := st.replica()
	both := []string{east, west}
	slices.Sort(both)
	soon(t, "both are watched", 3*time.Second, func() bool { return slices.Equal(a.watching(), both) })
	st.sql(`UPDATE clusters SET enabled = false WHERE id = $1`, east)
	soon(t, "it is let go", 4*time.Second, func() bool { return slices.Equal(a.watching(), []string{west}) })
	time.Sleep(2500 * time.Millisecond)
	if got := a.watching(); !slices.Equal(got, []string{west}) {
		t.Errorf("%q are watched", got)
	}
	st.sql(`UPDATE clusters SET enabled = true WHERE id = $1`, east)
	soon(t, "it is watched again", 4*time.Second, func() bool { return slices.Equal(a.watching(), both) })
}

// When a cluster was last heard is written now and then, for all in one
// statement, in the database's time, and never goes back.
func TestWatchHeard(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	ids := []string{st.stored("east", domain.Test).ID.String(), st.stored("west", domain.Test).ID.String(), st.stored("north", domain.Test).ID.String()}
	future := time.Now().Add(time.Hour).Truncate(time.Second)
	st.sql(`UPDATE clusters SET heard_at = $2 WHERE id = $1`, ids[2], future)
	ago := map[string]time.Duration{ids[0]: 0, ids[1]: 90 * time.Second, ids[2]: 0}
	s := *st.Service
	s.Watcher = &script{
		heard: func(cluster string, tell func(time.Time)) { tell(time.Now().Add(-ago[cluster])) },
		watch: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	began := time.Now()
	go func() { defer close(done); s.Run(ctx) }()
	defer func() { cancel(); <-done }()
	age := func(id string) time.Duration {
		row := st.DB.Ent.Cluster.GetX(t.Context(), uuid.MustParse(id))
		if row.HeardAt == nil {
			return -1
		}
		return time.Since(*row.HeardAt)
	}
	// A check that holds a row does not keep the others from being written.
	soon(t, "all are watched", 10*time.Second, func() bool {
		return st.DB.Ent.Cluster.Query().Where(entcluster.WatcherNEQ("")).CountX(t.Context()) == len(ids)
	})
	tx, err := st.DB.Pool.Begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = tx.Exec(t.Context(), `SELECT 1 FROM clusters WHERE id = $1 FOR UPDATE`, ids[0])
	must(t, err)
	soon(t, "it is written", 12*time.Second, func() bool { return age(ids[1]) >= 0 })
	if age(ids[0]) >= 0 {
		t.Error("a row that somebody holds was written")
	}
	must(t, tx.Rollback(t.Context()))
	soon(t, "it is written once nobody holds it", 12*time.Second, func() bool { return age(ids[0]) >= 0 })
	if got := age(ids[1]); got < 90*time.Second || got > 92*time.Second+time.Since(began) {
		t.Errorf("heard 90 s ago, and the data is %v old", got)
	}
	if row := st.DB.Ent.Cluster.GetX(t.Context(), uuid.MustParse(ids[2])); !row.HeardAt.Equal(future) {
		t.Errorf("it went back to %v", row.HeardAt)
	}
}

// What is wrong with a watch comes on the cluster's timeline: once while it
// lasts, and again when it is something else.
func TestWatchTrouble(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	id := st.stored("east", domain.Test).ID.String()
	var code atomic.Value
	code.Store("")
	s := *st.Service
	s.Watcher = &script{
		watch: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() },
		trouble: func(cluster string) domain.Connection {
			if cluster != id {
				t.Errorf("asked about %s", cluster)
			}
			return domain.Connection{Problem: domain.Problem{Code: code.Load().(string)}, ProblemAt: time.Now()}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	defer func() { cancel(); <-done }()
	codes := func() (out []string) {
		for _, e := range st.DB.Ent.ClusterEvent.Query().Order(clusterevent.ByID()).AllX(t.Context()) {
			out = append(out, e.Problem.Code)
		}
		return out
	}
	time.Sleep(2500 * time.Millisecond)
	if got := codes(); len(got) > 0 {
		t.Errorf("%q although all is well", got)
	}
	for _, want := range [][]string{{apperr.ErrClusterForbidden}, {apperr.ErrClusterForbidden, apperr.ErrClusterTimeout}} {
		code.Store(want[len(want)-1])
		soon(t, "it is recorded", 8*time.Second, func() bool { return slices.Equal(codes(), want) })
		time.Sleep(2500 * time.Millisecond)
		if got := codes(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
