package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

const (
	watchLease   = 20 * time.Second // after which another replica takes over from a dead one
	watchRenew   = 7 * time.Second
	watchPoll    = 2 * time.Second // how soon a new cluster or credential is noticed
	leaseTimeout = 5 * time.Second // of one look at the leases
	watchBackoff = time.Second     // after a watcher that failed, doubled up to
	watchPause   = 30 * time.Second
	heardEvery   = 5 * time.Second // how often the age of the data is written
	troubleEvery = time.Minute     // how often the same trouble of a watch is recorded
)

// watch is a running watcher of one cluster.
type watch struct {
	generation int // of the credential that it started with
	stop       context.CancelFunc
	expiry     *time.Timer // stops it when the lease was not renewed in time
	done       chan struct{}

	heard   atomic.Pointer[time.Time] // last sign of life
	written *time.Time                // what of that is in the database
	trouble domain.Problem            // that was recorded last
	told    time.Time                 // when
}

// lease is a cluster that this replica may watch.
type lease struct {
	generation int
	remaining  time.Duration
}

// Run watches the clusters until ctx ends, and returns when all watchers have
// ended. Every replica calls it: a lease in the database gives each cluster to
// one of them at a time. A watcher stops when its lease is lost, when its
// cluster is switched off, removed or proves to be another one, and starts anew
// when the credential is replaced. One in quarantine is watched all the same.
func (s *Service) Run(ctx context.Context) {
	me := uuid.NewString()
	running := map[uuid.UUID]*watch{}
	ended := make(chan struct{}, 1)
	defer func() {
		for _, w := range running {
			w.stop()
		}
		for _, w := range running {
			<-w.done
		}
		s.release(context.WithoutCancel(ctx), me)
	}()
	tick := time.NewTicker(watchPoll)
	defer tick.Stop()
	written := time.Now()
	for {
		asked := time.Now() // before the database looks at its clock: we never think that a lease is longer than it is
		held, err := s.hold(ctx, me)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.Logger.WarnContext(ctx, "watch leases", "error", err) // the expiry timers go on
		} else {
			s.reconcile(ctx, running, held, asked, ended)
			if time.Since(written) >= heardEvery {
				s.hear(ctx, running)
				written = time.Now()
			}
			s.complain(ctx, running)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-ended:
		}
	}
}

// reconcile makes running what held says.
func (s *Service) reconcile(ctx context.Context, running map[uuid.UUID]*watch, held map[uuid.UUID]lease, asked time.Time, ended chan<- struct{}) {
	for id, w := range running {
		select {
		case <-w.done:
			delete(running, id)
			continue
		default:
		}
		if l, ok := held[id]; !ok || l.generation != w.generation {
			w.stop() // the next one starts when this one has ended
			continue
		}
		w.expiry.Reset(held[id].remaining - time.Since(asked))
	}
	for id, l := range held {
		if running[id] != nil {
			continue
		}
		watching, cancel := context.WithCancel(ctx)
		w := &watch{generation: l.generation, stop: cancel, done: make(chan struct{})}
		w.expiry = time.AfterFunc(l.remaining-time.Since(asked), cancel)
		running[id] = w
		go func() {
			defer func() {
				cancel()
				w.expiry.Stop()
				close(w.done)
				select {
				case ended <- struct{}{}:
				default:
				}
			}()
			s.watch(watching, id, w)
		}()
	}
}

// watch follows one cluster, again and again, until ctx ends.
func (s *Service) watch(ctx context.Context, id uuid.UUID, w *watch) {
	pause := watchBackoff
	for ctx.Err() == nil {
		started := time.Now()
		err := s.Watcher.Watch(ctx, id.String(), s.Sink, func(at time.Time) { w.heard.Store(&at) })
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > watchPause {
			pause = watchBackoff
		}
		s.Logger.WarnContext(ctx, "watcher ended", "cluster", id, "again_in", pause, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, watchPause)
	}
}

// hear writes for all clusters at once when they were last heard: the age of what
// is shown of them (domain.StaleAfter). What could not be written is written the
// next time.
func (s *Service) hear(ctx context.Context, running map[uuid.UUID]*watch) {
	ages, heard := map[uuid.UUID]time.Duration{}, map[uuid.UUID]*time.Time{}
	for id, w := range running {
		if at := w.heard.Load(); at != nil && at != w.written {
			ages[id], heard[id] = time.Since(*at), at
		}
	}
	if len(ages) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	// A transaction of its own: that of the leases would keep a check waiting.
	var written []uuid.UUID
	if err := s.DB.InTx(ctx, func(tx *ent.Tx) (err error) {
		written, err = database.Heard(ctx, tx, ages)
		return err
	}); err != nil {
		s.Logger.WarnContext(ctx, "age of the clusters' data", "error", err)
		return
	}
	for _, id := range written {
		running[id].written = heard[id]
	}
}

// complain records what is wrong with the watches: what is new at once, and what
// lasts now and then. What could not be recorded is tried the next time.
func (s *Service) complain(ctx context.Context, running map[uuid.UUID]*watch) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout) // in all: the leases must be renewed
	defer cancel()
	for id, w := range running {
		c := s.Watcher.Connection(id.String())
		if c.Problem.IsZero() || !c.ProblemAt.After(w.told) || c.Problem.Code == w.trouble.Code && time.Since(w.told) < troubleEvery {
			continue
		}
		if err := s.RecordError(ctx, id.String(), c.Problem); err != nil {
			s.Logger.WarnContext(ctx, "record trouble of a watch", "cluster", id, "error", err)
			return
		}
		w.trouble, w.told = c.Problem, time.Now()
	}
}

// hold takes the leases that are free, renews those that are due, and gives
// all that this replica holds. The database's clock decides.
func (s *Service) hold(ctx context.Context, me string) (map[uuid.UUID]lease, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	held := map[uuid.UUID]lease{}
	err := s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		due := cluster.And(
			cluster.Enabled(true), // one that is switched off is left alone
			cluster.Or(
				cluster.WatchUntilIsNil(),
				cluster.WatchUntilLT(now),
				cluster.And(cluster.Watcher(me), cluster.WatchUntilLT(now.Add(watchLease-watchRenew))),
			),
		)
		// Locked in one order, so that replicas wait for each other and do not
		// deadlock; who waited sees that the lease is taken.
		ids, err := tx.Cluster.Query().Where(due).Order(cluster.ByID()).ForUpdate().IDs(ctx)
		if err != nil {
			return err
		}
		if len(ids) > 0 {
			err := tx.Cluster.Update().Where(cluster.IDIn(ids...)).SetWatcher(me).SetWatchUntil(now.Add(watchLease)).Exec(ctx)
			if err != nil {
				return err
			}
		}
		mine, err := tx.Cluster.Query().Where(cluster.Watcher(me), cluster.WatchUntilGT(now), cluster.Enabled(true)).
			Select(cluster.FieldID, cluster.FieldCredentialGeneration, cluster.FieldWatchUntil, cluster.FieldStatusReason).All(ctx)
		if err != nil {
			return err
		}
		for _, row := range mine {
			if !impostor(row) {
				held[row.ID] = lease{row.CredentialGeneration, row.WatchUntil.Sub(now)}
			}
		}
		return nil
	})
	return held, err
}

// release gives the leases back, so that another replica need not wait.
func (s *Service) release(ctx context.Context, me string) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	err := s.DB.InTx(ctx, func(tx *ent.Tx) error {
		return tx.Cluster.Update().Where(cluster.Watcher(me)).ClearWatcher().ClearWatchUntil().Exec(ctx)
	})
	if err != nil {
		s.Logger.WarnContext(ctx, "give watch leases back", "error", err)
	}
}
