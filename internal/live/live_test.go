package live_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/live"
)

// replica is a hub on a database that others use too.
type replica struct {
	*live.Hub
	db   *database.DB
	stop func() // and waits
}

func newReplica(t testing.TB, url string) *replica {
	t.Helper()
	db, err := database.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{Hub: live.New(db, slog.New(slog.DiscardHandler)), db: db}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	first := r.Subscribe(nil) // hears the Resync of the first connection
	go func() { defer close(done); r.Run(ctx) }()
	r.stop = func() { cancel(); <-done; db.Close() }
	t.Cleanup(r.stop)
	next(t, first, live.Resync)
	first.Close()
	return r
}

func (r *replica) tell(t testing.TB, topics ...string) {
	t.Helper()
	if err := r.db.InTx(t.Context(), func(tx *ent.Tx) error { return database.Notify(t.Context(), tx, topics...) }); err != nil {
		t.Fatal(err)
	}
}

func next(t testing.TB, s *live.Subscription, want string) {
	t.Helper()
	select {
	case got, open := <-s.C():
		if got != want || !open {
			t.Fatalf("heard %q (open %v), want %q", got, open, want)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("heard nothing, want %q", want)
	}
}

func nothing(t testing.TB, s *live.Subscription, during time.Duration) {
	t.Helper()
	select {
	case got, open := <-s.C():
		t.Fatalf("heard %q (open %v), want nothing", got, open)
	case <-time.After(during):
	}
}

// What one replica commits is heard by the readers of both, once, and by those
// only who asked for the topic.
func TestTwoReplicas(t *testing.T) {
	url := databasetest.URL(t)
	a, b := newReplica(t, url), newReplica(t, url)
	here, there := a.Subscribe([]string{"vm-2", "vm-1", "vm-1"}), b.Subscribe([]string{"vm-1", "tree"})
	if !slices.Equal(here.Topics, []string{"vm-1", "vm-2"}) {
		t.Errorf("topics %q", here.Topics)
	}
	b.tell(t, "vm-1", "vm-3")
	next(t, here, "vm-1")
	next(t, there, "vm-1")
	a.tell(t, "tree")
	next(t, there, "tree")
	nothing(t, here, 300*time.Millisecond)

	// What is rolled back is not told.
	_ = b.db.InTx(t.Context(), func(tx *ent.Tx) error {
		_ = database.Notify(t.Context(), tx, "vm-2")
		return context.Canceled
	})
	nothing(t, here, 300*time.Millisecond)

	here.Close()
	here.Close()
	if _, open := <-here.C(); open {
		t.Error("open after its end")
	}
	b.tell(t, "vm-1")
	next(t, there, "vm-1")
}

// A topic that changes all the time is told at once, then at most every 250 ms,
// and the last change is never lost.
func TestCoalesce(t *testing.T) {
	r := newReplica(t, databasetest.URL(t))
	s := r.Subscribe([]string{"tree"})
	start := time.Now()
	for time.Since(start) < time.Second {
		r.tell(t, "tree")
		time.Sleep(time.Millisecond)
	}
	end := time.Now()
	heard, last := 0, time.Time{}
	for {
		select {
		case <-s.C():
			heard, last = heard+1, time.Now()
			continue
		case <-time.After(600 * time.Millisecond):
		}
		break
	}
	if heard < 4 || heard > 6 {
		t.Errorf("heard %d times in a second", heard)
	}
	if last.Before(end.Add(-time.Millisecond)) {
		t.Error("the last change was not told")
	}
	// After silence the next one is told at once.
	start = time.Now()
	r.tell(t, "tree")
	next(t, s, "tree")
	if took := time.Since(start); took > 200*time.Millisecond {
		t.Errorf("told after %v", took)
	}
}

// A reader that does not keep up gets one Resync and then goes on, and the
// others do not notice.
func TestSlowReader(t *testing.T) {
	r := newReplica(t, databasetest.URL(t))
	var topics []string
	for i := range 100 {
		topics = append(topics, fmt.Sprintf("vm-%d", i))
	}
	slow, fast := r.Subscribe(topics), r.Subscribe([]string{"vm-99", "end"})
	r.tell(t, topics...)
	next(t, fast, "vm-99")
	r.tell(t, "end")
	next(t, fast, "end")
	next(t, slow, live.Resync) // and what came after the 65th is covered by it
	nothing(t, slow, 300*time.Millisecond)
	r.tell(t, "vm-7")
	next(t, slow, "vm-7")
}

// When the connection was lost everything may have changed.
func TestReconnect(t *testing.T) {
	url := databasetest.URL(t)
	a, b := newReplica(t, url), newReplica(t, url)
	here, there := a.Subscribe([]string{"tree"}), b.Subscribe([]string{"tree"})
	for range 3 {
		n, err := a.db.Pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`)
		if err != nil || n.RowsAffected() != 2 {
			t.Fatalf("%d connections ended, %v", n.RowsAffected(), err)
		}
		next(t, here, live.Resync)
		next(t, there, live.Resync)
	}
	b.tell(t, "tree")
	next(t, here, "tree")
	next(t, there, "tree")
}

func TestClose(t *testing.T) {
	url := databasetest.URL(t)
	before := runtime.NumGoroutine()
	r := newReplica(t, url)
	s := r.Subscribe([]string{"tree"})
	r.tell(t, "tree", "tree")
	next(t, s, "tree")
	r.Hub.Close()
	r.Hub.Close()
	if _, open := <-s.C(); open {
		t.Error("open after the end of the hub")
	}
	s.Close()
	if _, open := <-r.Subscribe([]string{"tree"}).C(); open {
		t.Error("a subscription to a closed hub is open")
	}
	r.stop()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, before %d", runtime.NumGoroutine(), before)
		}
	}
}

// Readers come and go while much is told (for the race detector).
func TestManyReaders(t *testing.T) {
	r := newReplica(t, databasetest.URL(t))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for ctx.Err() == nil {
				s := r.Subscribe([]string{"tree", fmt.Sprintf("vm-%d", i)})
				for range 3 {
					select {
					case <-s.C():
					case <-ctx.Done():
					}
				}
				s.Close()
			}
		})
	}
	for i := 0; ctx.Err() == nil; i++ {
		r.tell(t, "tree", fmt.Sprintf("vm-%d", i%20))
	}
	wg.Wait()
}
