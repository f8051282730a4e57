package vm_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/jobs"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// hole is a world of which one cluster swallows what it is asked.
type hole struct {
	*world
	cluster string

	mu             sync.Mutex
	now, most, all int
}

func (h *hole) CreateVM(ctx context.Context, cluster string, spec domain.VMSpec) (*domain.VM, bool, error) {
	if cluster != h.cluster {
		return h.world.CreateVM(ctx, cluster, spec)
	}
	h.mu.Lock()
	h.now++
	h.all++
	h.most = max(h.most, h.now)
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	h.now--
	h.mu.Unlock()
	return nil, false, apperr.New(apperr.ErrClusterTimeout)
}

func (h *hole) held() (now, most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now, h.most
}

// second adds a cluster with the same namespace.
func (st *stage) second() *ent.Cluster {
	c := st.ent.Cluster.Create().SetName("west").SetEnvironment(entcluster.EnvironmentTest).SetCreatedBy("root").
		SetEncryptedKubeconfig([]byte("x")).SetEncryptionKeyID("k").SetAPIServerURL("https://west").SetIdentityUID("west").
		SetStatus(entcluster.StatusHEALTHY).SaveX(st.t.Context())
	st.ent.Namespace.Create().SetClusterID(c.ID).SetName("team-a").SetEnvironment(namespace.EnvironmentTest).SetCreatedBy("root").ExecX(st.t.Context())
	return c
}

// TestTurns: fifty orders of a cluster that swallows every call leave sixteen
// workers free for the order of another one, which is done within a second.
func TestTurns(t *testing.T) {
	st := newStage(t)
	var stuck []uuid.UUID
	for len(stuck) < 50 {
		_, orders := st.approve(10)
		stuck = append(stuck, orders...)
	}
	dead := st.cluster
	st.cluster = st.second()
	var quick []uuid.UUID
	for range 3 {
		_, orders := st.approve(1)
		quick = append(quick, orders...)
	}
	h := &hole{world: st.world, cluster: dead.ID.String()}
	st.Provider = h

	runner, err := jobs.New(st.db, slog.New(slog.DiscardHandler), 16, st.Execute, nil)
	if err != nil {
		t.Fatal(err)
	}
	queue, err := jobs.NewInserter(st.db)
	if err != nil {
		t.Fatal(err)
	}
	enqueue := func(ids ...uuid.UUID) {
		t.Helper()
		if err := st.db.InTx(t.Context(), func(tx *ent.Tx) error {
			for _, id := range ids {
				if err := queue.Enqueue(t.Context(), tx, id); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = runner.Run(ctx) }()
	defer func() { cancel(); <-done }()
	enqueue(stuck...)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if now, _ := h.held(); now == 4 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the dead cluster was not called")
		}
	}
	time.Sleep(500 * time.Millisecond) // all workers have had to do with it
	fastest := time.Hour
	for _, id := range quick {
		began := time.Now()
		enqueue(id)
		for st.event(id).Status != domainevent.StatusCOMPLETED {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("the other cluster's order waits: %+v", st.event(id))
			}
			time.Sleep(5 * time.Millisecond)
		}
		fastest = min(fastest, time.Since(began))
	}
	now, most := h.held()
	t.Logf("the other cluster's orders took %v at best, while %d calls of the dead one were held", fastest.Round(time.Millisecond), now)
	if fastest > time.Second || most != 4 {
		t.Errorf("%v, at most %d calls to the dead cluster at once", fastest, most)
	}
	burnt := 0
	for _, id := range stuck {
		burnt += st.event(id).Attempts
	}
	if burnt > h.all {
		t.Errorf("%d attempts were burnt with %d calls", burnt, h.all)
	}
}

// TestPaused: an order of a cluster that is not called now comes back when it may
// be called again, with all its attempts, and its pages hear of it once.
func TestPaused(t *testing.T) {
	for _, code := range []string{apperr.ErrClusterUnreachable, apperr.ErrClusterDegraded} {
		t.Run(code, func(t *testing.T) {
			st := newStage(t)
			until := 0 * time.Second
			st.world.before["create"] = func() error {
				return apperr.New(code).With("retry_at", time.Now().Add(until).UTC().Format(time.RFC3339))
			}
			_, orders := st.approve(1)
			for _, c := range []struct{ until, least, most time.Duration }{
				{-time.Minute, 4 * time.Second, 6 * time.Second}, {20 * time.Second, 15 * time.Second, 24 * time.Second}, {time.Hour, 24 * time.Second, 36 * time.Second},
			} {
				until = c.until
				out := st.exec(orders[0])
				if !out.Again || out.Burnt || out.After < c.least || out.After > c.most {
					t.Errorf("%v: %+v", c.until, out)
				}
			}
			e := st.wantEvent(orders[0], domain.EventProcessing, code)
			if e.Attempts != 0 || e.Problem.Params["retry_at"] != nil || e.Problem.Params["cluster"] != "east" {
				t.Errorf("%d attempts, %+v", e.Attempts, e.Problem)
			}
			st.world.before["create"] = nil
			st.run(orders[0], vm.Done())
		})
	}
}

var _ provider.InfrastructureProvider = (*hole)(nil)
