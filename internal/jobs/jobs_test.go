package jobs_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/jobs"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// start runs a runner until the test, or stop, ends it.
func start(t *testing.T, db *database.DB, execute func(context.Context, uuid.UUID) (vm.Outcome, error), chores ...jobs.Chore) (stop func()) {
	t.Helper()
	r, err := jobs.New(db, slog.New(slog.NewTextHandler(t.Output(), nil)), 4, execute, chores)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func enqueue(t *testing.T, db *database.DB, id uuid.UUID, then error) {
	t.Helper()
	q, err := jobs.NewInserter(db)
	if err != nil {
		t.Fatal(err)
	}
	err = db.InTx(t.Context(), func(tx *ent.Tx) error {
		if err := q.Enqueue(t.Context(), tx, id); err != nil {
			return err
		}
		return then
	})
	if !errors.Is(err, then) {
		t.Fatal(err)
	}
}

func await[T any](t *testing.T, ch <-chan T, within time.Duration, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(within):
		t.Fatalf("%s: nothing happened", what)
		panic("unreachable")
	}
}

// state is the state and the recorded errors of the only order's job.
func state(t *testing.T, db *database.DB) (state, errs string) {
	t.Helper()
	if err := db.Pool.QueryRow(t.Context(), `SELECT state::text, coalesce(array_to_string(errors, ' '), '') FROM river_job WHERE kind = 'domain_event'`).
		Scan(&state, &errs); err != nil {
		t.Fatal(err)
	}
	return state, errs
}

func TestOrdersRunInTime(t *testing.T) {
	t.Parallel()
	db := databasetest.New(t)
	got := make(chan uuid.UUID, 8)
	start(t, db, func(_ context.Context, id uuid.UUID) (vm.Outcome, error) {
		got <- id
		return vm.Done(), nil
	})
	lost, first := uuid.New(), uuid.New()
	enqueue(t, db, lost, errors.New("rolled back")) // with its transaction goes its job
	enqueue(t, db, first, nil)
	if id := await(t, got, 10*time.Second, "first order"); id != first {
		t.Fatalf("got %s", id)
	}
	// With the runner warm a job is picked up by LISTEN, not by the poll each second.
	var slowest time.Duration
	for range 5 {
		id, began := uuid.New(), time.Now()
		enqueue(t, db, id, nil)
		if await(t, got, 10*time.Second, "order") != id {
			t.Fatal("another order")
		}
		slowest = max(slowest, time.Since(began))
	}
	if slowest > 700*time.Millisecond {
		t.Errorf("an order waited %v", slowest)
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	db := databasetest.New(t)
	round := make(chan int32, 16)
	var n atomic.Int32
	start(t, db, func(context.Context, uuid.UUID) (vm.Outcome, error) {
		i := n.Add(1)
		defer func() { round <- i }()
		switch i {
		case 1:
			return vm.Snooze(10 * time.Millisecond), nil
		case 2:
			return vm.Retry(10 * time.Millisecond), nil
		case 3:
			return vm.Done(), apperr.New(apperr.ErrUnavailable).Because(errors.New("password=hunter2"))
		case 4:
			panic("token=hunter2")
		}
		return vm.Done(), nil
	})
	enqueue(t, db, uuid.New(), nil)
	for want := int32(1); want <= 5; want++ {
		if got := await(t, round, 20*time.Second, "round"); got != want {
			t.Fatalf("round %d", got)
		}
	}
	var s, errs string
	for range 100 {
		if s, errs = state(t, db); s == "completed" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if s != "completed" {
		t.Errorf("state %s", s)
	}
	if strings.Contains(errs, "hunter2") || strings.Contains(errs, ".go:") || !strings.Contains(errs, apperr.ErrUnavailable) || !strings.Contains(errs, apperr.ErrInternal) {
		t.Errorf("errors are kept as %s", errs)
	}
}

func TestChores(t *testing.T) {
	t.Parallel()
	db := databasetest.New(t)
	ran := make(chan string, 64)
	start(t, db, nil,
		jobs.Chore{Name: "bad", Every: 2 * time.Second, Run: func(context.Context) error { ran <- "bad"; panic("token=hunter2") }},
		jobs.Chore{Name: "good", Every: 2 * time.Second, Run: func(context.Context) error { ran <- "good"; return nil }},
	)
	count := map[string]int{}
	for count["bad"] < 2 || count["good"] < 2 {
		count[await(t, ran, 20*time.Second, "chore")]++
	}
	var kept int
	if err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM river_job WHERE array_to_string(errors, ' ') LIKE '%hunter2%'`).Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d jobs keep a secret: %v", kept, err)
	}
}

// What has begun is finished before the runner stops; what has not waits.
func TestStopIsGraceful(t *testing.T) {
	t.Parallel()
	db := databasetest.New(t)
	begun := make(chan bool)
	stop := start(t, db, func(ctx context.Context, _ uuid.UUID) (vm.Outcome, error) {
		begun <- true
		select {
		case <-time.After(300 * time.Millisecond):
			return vm.Done(), nil
		case <-ctx.Done():
			return vm.Outcome{}, ctx.Err()
		}
	})
	enqueue(t, db, uuid.New(), nil)
	await(t, begun, 10*time.Second, "order")
	began := time.Now()
	stop()
	if s, errs := state(t, db); s != "completed" || errs != "" || time.Since(began) > 10*time.Second {
		t.Errorf("%s %s after %v", s, errs, time.Since(began))
	}
}
