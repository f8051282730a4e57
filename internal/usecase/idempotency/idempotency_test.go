package idempotency_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/idempotency"
)

// bench is the use case with a deed that can be counted.
type bench struct {
	*idempotency.Service
	t     *testing.T
	db    *database.DB
	actor domain.Actor
}

func newBench(t *testing.T) *bench {
	t.Parallel()
	db := databasetest.New(t)
	return &bench{&idempotency.Service{DB: db}, t, db, domain.Actor{UserID: uuid.NewString()}}
}

var request = []byte("what is asked")

// do is a deed: a size is made.
func (b *bench) do(ctx context.Context, then error) error {
	return b.db.InTx(ctx, func(tx *ent.Tx) error {
		tx.InstanceSize.Create().SetName("s-" + uuid.NewString()).SetCPU(1).SetMemoryMib(1).SetDiskGib(1).SetMaxDiskGib(1).SetCreatedBy("test").SaveX(ctx)
		return then
	})
}

func (b *bench) deeds() int { return b.db.Ent.InstanceSize.Query().CountX(b.t.Context()) }

// take claims a key that must be free.
func (b *bench) take(key string) (context.Context, *idempotency.Try) {
	b.t.Helper()
	ctx, try, kept, err := b.Take(b.t.Context(), b.actor, key, request)
	if err != nil || try == nil || kept != nil {
		b.t.Fatalf("%v %v %v", try, kept, err)
	}
	return ctx, try
}

// refused claims a key that must not be free.
func (b *bench) refused(key, code string) {
	b.t.Helper()
	_, try, kept, err := b.Take(b.t.Context(), b.actor, key, request)
	if try != nil || kept != nil || apperr.CodeOf(err) != code {
		b.t.Errorf("got %v %v %v, want %s", try, kept, err, code)
	}
}

// older lets time pass over all keys.
func (b *bench) older(d time.Duration) {
	for _, r := range b.db.Ent.IdempotencyKey.Query().AllX(b.t.Context()) {
		r.Update().SetAttemptAt(r.AttemptAt.Add(-d)).ExecX(b.t.Context())
	}
}

func TestAnswerIsKept(t *testing.T) {
	b := newBench(t)
	ctx, try := b.take("k")
	if err := b.do(ctx, nil); err != nil {
		t.Fatal(err)
	}
	want := idempotency.Answer{Status: 201, Location: "/x", Body: []byte(`{"id":1}`)}
	if err := try.Finish(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	_, again, got, err := b.Take(t.Context(), b.actor, "k", request)
	if err != nil || again != nil || got == nil || got.Status != want.Status || got.Location != want.Location || !slices.Equal(got.Body, want.Body) {
		t.Fatalf("%v %+v %v", again, got, err)
	}
	if _, _, _, err := b.Take(t.Context(), b.actor, "k", []byte("something else")); apperr.CodeOf(err) != apperr.ErrIdempotencyReused {
		t.Error(err)
	}
	// A key is somebody's own.
	if _, try, _, err := b.Take(t.Context(), domain.Actor{UserID: uuid.NewString()}, "k", request); err != nil || try == nil {
		t.Error(err)
	}
}

// A try that broke off before its deed can be made again; one that was only
// slow finds its key gone, and does nothing.
func TestOneTryDoesIt(t *testing.T) {
	b := newBench(t)
	slow, _ := b.take("k")
	b.refused("k", apperr.ErrIdempotencyBusy)
	b.older(2 * time.Minute)
	fast, try := b.take("k")
	if err := b.do(slow, nil); apperr.CodeOf(err) != apperr.ErrIdempotencyBusy || b.deeds() != 0 {
		t.Fatalf("the slow try: %v, %d deeds", err, b.deeds())
	}
	if err := b.do(fast, nil); err != nil || b.deeds() != 1 {
		t.Fatalf("the fast try: %v, %d deeds", err, b.deeds())
	}
	// Its answer is lost, as when the process dies here: it is not done again.
	b.refused("k", apperr.ErrIdempotencyBusy)
	b.older(2 * time.Minute)
	b.refused("k", apperr.ErrIdempotencyGone)
	// An answer that holds a secret is gone at once.
	if err := try.Finish(t.Context(), idempotency.Answer{}); err != nil {
		t.Fatal(err)
	}
	b.refused("k", apperr.ErrIdempotencyGone)
}

// What failed gives its key back, unless it may have been done all the same.
func TestFailureGivesTheKeyBack(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct {
		done  bool
		cause error
		free  bool
	}{
		"refused":                  {false, apperr.New(apperr.ErrInvalidName), true},
		"refused after a part":     {true, apperr.New(apperr.ErrVMState), true},
		"broken":                   {false, errors.New("connection reset"), true},
		"broken, perhaps after it": {true, apperr.New(apperr.ErrUnavailable), false},
	} {
		ctx, try := b.take(name)
		var then error
		if !c.done {
			then = c.cause
		}
		if err := b.do(ctx, then); (err == nil) != c.done {
			t.Fatalf("%s: %v", name, err)
		}
		if err := try.Fail(t.Context(), c.cause); err != nil {
			t.Fatal(err)
		}
		if c.free {
			b.take(name)
		} else {
			b.older(2 * time.Minute)
			b.refused(name, apperr.ErrIdempotencyGone)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			ctx, try, _, err := b.Take(t.Context(), b.actor, "k", request)
			switch {
			case apperr.CodeOf(err) == apperr.ErrIdempotencyBusy:
			case err != nil || try == nil:
				t.Errorf("%v %v", try, err)
			default:
				if err := b.do(ctx, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if b.deeds() != 1 {
		t.Errorf("%d deeds", b.deeds())
	}
}

func TestSweep(t *testing.T) {
	b := newBench(t)
	b.take("new")
	b.db.Ent.IdempotencyKey.Create().SetUserID(uuid.MustParse(b.actor.UserID)).SetKey("old").SetRequestHash([]byte("another")).SetCreatedAt(time.Now().Add(-25 * time.Hour)).SaveX(t.Context())
	// Too old is as good as gone, also before it is swept.
	b.take("old")
	b.db.Ent.IdempotencyKey.Create().SetUserID(uuid.New()).SetKey("old").SetRequestHash(request).SetCreatedAt(time.Now().Add(-25 * time.Hour)).SaveX(t.Context())
	if n, err := b.Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if n := b.db.Ent.IdempotencyKey.Query().CountX(t.Context()); n != 2 {
		t.Errorf("%d are left", n)
	}
}
