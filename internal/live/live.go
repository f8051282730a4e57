// Package live tells open pages that something they show has changed. A Hub
// listens to the database, where every replica announces the topics of what it
// committed, and passes them on to the pages that subscribed. A topic carries no
// data: who hears it reads the page again, with its own rights.
package live

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/database"
)

// Resync stands for all topics of a subscription: some may have been missed.
const Resync = "resync"

const (
	buffer     = 64                     // topics that wait for a slow reader
	quiet      = 250 * time.Millisecond // a topic is told at most once in this time
	minBackoff = 100 * time.Millisecond // between tries to listen
	maxBackoff = 5 * time.Second
	settled    = 10 * time.Second // a connection that held this long starts the backoff anew
)

// Hub passes topics from the database to subscriptions. Make one with New, for
// each replica, and run it.
type Hub struct {
	db     *database.DB
	logger *slog.Logger
	end    chan struct{} // closed by Close

	mu      sync.Mutex
	closed  bool
	all     map[*Subscription]struct{}
	byTopic map[string]map[*Subscription]struct{}
	told    map[string]*pause // topics that were told less than quiet ago
}

// pause is the time after a topic was told. again says that it came once more
// and must be told at the end.
type pause struct {
	timer *time.Timer
	again bool
}

// New makes a hub that hears nothing before Run.
func New(db *database.DB, logger *slog.Logger) *Hub {
	return &Hub{
		db: db, logger: logger, end: make(chan struct{}),
		all: map[*Subscription]struct{}{}, byTopic: map[string]map[*Subscription]struct{}{}, told: map[string]*pause{},
	}
}

// Run listens until ctx ends or the hub is closed, and closes it then. A lost
// connection is made again; as topics may be lost meanwhile, every subscription
// gets a Resync once it stands.
func (h *Hub) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer h.Close()
	go func() {
		select {
		case <-h.end:
			cancel()
		case <-ctx.Done():
		}
	}()
	backoff := minBackoff
	for {
		started := time.Now()
		err := h.db.Listen(ctx, h.resync, h.publish)
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > settled {
			backoff = minBackoff
		}
		wait := backoff/2 + rand.N(backoff/2) // replicas that lost one server do not come back as one
		backoff = min(2*backoff, maxBackoff)
		h.logger.WarnContext(ctx, "live updates interrupted", "again_in", wait, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Close ends Run and all subscriptions: their channels are closed. Call it
// before a server waits for its open streams.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	close(h.end)
	for s := range h.all {
		close(s.ch)
	}
	clear(h.all)
	clear(h.byTopic)
	for _, p := range h.told {
		p.timer.Stop()
	}
	clear(h.told)
}

// Subscription is one reader of some topics.
type Subscription struct {
	// Topics that were subscribed to, each once: what a Resync stands for.
	Topics []string

	hub    *Hub
	ch     chan string
	behind bool // the last thing put in is a Resync
}

// Subscribe starts to hear topics. The subscription must be closed.
func (h *Hub) Subscribe(topics []string) *Subscription {
	topics = slices.Compact(slices.Sorted(slices.Values(topics)))
	s := &Subscription{Topics: topics, hub: h, ch: make(chan string, buffer)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(s.ch)
		return s
	}
	h.all[s] = struct{}{}
	for _, t := range topics {
		if h.byTopic[t] == nil {
			h.byTopic[t] = map[*Subscription]struct{}{}
		}
		h.byTopic[t][s] = struct{}{}
	}
	return s
}

// C gives topics that changed, or Resync when more changed than the reader took
// away in time. It is closed when the subscription or the hub is.
func (s *Subscription) C() <-chan string { return s.ch }

// Close ends the subscription. It may be called twice.
func (s *Subscription) Close() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, open := h.all[s]; !open {
		return
	}
	delete(h.all, s)
	for _, t := range s.Topics {
		delete(h.byTopic[t], s)
		if len(h.byTopic[t]) == 0 {
			delete(h.byTopic, t)
		}
	}
	close(s.ch)
}

// publish tells topics at once, or at the end of their pause.
func (h *Hub) publish(topics []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	for _, t := range topics {
		if p := h.told[t]; p != nil {
			p.again = true
			continue
		}
		if h.tell(t) {
			h.told[t] = &pause{timer: time.AfterFunc(quiet, func() { h.resume(t) })}
		}
	}
}

// resume ends the pause of a topic, or starts a new one after telling it again.
func (h *Hub) resume(topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.told[topic]
	switch {
	case p == nil: // closed
	case p.again && h.tell(topic):
		p.again = false
		p.timer.Reset(quiet)
	default:
		delete(h.told, topic)
	}
}

// tell says whether anybody listens.
func (h *Hub) tell(topic string) bool {
	for s := range h.byTopic[topic] {
		s.put(topic)
	}
	return len(h.byTopic[topic]) > 0
}

// resync tells everybody to read everything again.
func (h *Hub) resync() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.all {
		s.overflow()
	}
}

// put never waits. It is called under the hub's lock, so that the channel can
// only become emptier meanwhile.
func (s *Subscription) put(topic string) {
	if s.behind && len(s.ch) > 0 {
		return // the Resync is not taken yet, and covers this too
	}
	s.behind = false
	select {
	case s.ch <- topic:
	default:
		s.overflow()
	}
}

// overflow replaces what waits by one Resync.
func (s *Subscription) overflow() {
	for {
		select {
		case <-s.ch:
		default:
			s.ch <- Resync // there is room: nobody else puts anything in
			s.behind = true
			return
		}
	}
}
