package vm

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/internal/database"
)

// A process works on a few orders of one cluster at once, so that a cluster which
// swallows every call holds no worker that another one needs.
const (
	perCluster = 4
	turnWait   = 200 * time.Millisecond // of a worker for its turn: longer than orders of a quick cluster take
	turnAgain  = 3 * time.Second        // after which an order asks for its turn again
)

// turns are the orders that are worked on, by cluster.
type turns struct {
	mu        sync.Mutex
	byCluster map[uuid.UUID]chan struct{}
}

// take waits for a turn, but not for long. Who gets one gives it back with done.
func (t *turns) take(ctx context.Context, cluster uuid.UUID) (done func(), ok bool) {
	t.mu.Lock()
	slots := t.byCluster[cluster]
	if slots == nil {
		if t.byCluster == nil {
			t.byCluster = map[uuid.UUID]chan struct{}{}
		}
		slots = make(chan struct{}, perCluster)
		t.byCluster[cluster] = slots
	}
	t.mu.Unlock()
	timer := time.NewTimer(turnWait)
	defer timer.Stop()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, false
}

// turn takes a turn for an order at its cluster, before anything is written about
// it. Without one the order waits in the queue, and no attempt is burnt.
func (s *Service) turn(ctx context.Context, id uuid.UUID) (done func(), ok bool, err error) {
	e, err := s.DB.Ent.DomainEvent.Query().Where(domainevent.ID(id)).Select(domainevent.FieldClusterID).Only(ctx)
	switch {
	case ent.IsNotFound(err) || err == nil && e.ClusterID == nil:
		return func() {}, true, nil // lease says what that means
	case err != nil:
		return nil, false, database.Classify(err)
	}
	done, ok = s.turns.take(ctx, *e.ClusterID)
	return done, ok, nil
}
