package kubevirt

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Limits of the breaker.
const (
	breakAfter = 5                // failures in a row open it
	breakFor   = 60 * time.Second // then one call is let through
	maxPause   = 60 * time.Second // that a cluster may ask for with Retry-After
	minPause   = time.Second      // when it does not say how long
)

// errOpen is the cause of a call that was not made.
type errOpen struct {
	throttled bool
	until     time.Time
	answered  time.Time // last answer; zero: none yet
}

func (e *errOpen) Error() string {
	if e.throttled {
		return "the cluster asked for a pause until " + e.until.UTC().Format(time.RFC3339)
	}
	return "not tried: the last calls failed, the next try is at " + e.until.UTC().Format(time.RFC3339)
}

// breaker keeps calls away from a cluster that does not answer: five failures in
// a row open it for a minute, in which calls fail at once and nothing is
// dialled. Then one call is let through (half-open), and its outcome closes the
// breaker or opens it again. A 429 pauses in the same way for as long as the
// cluster asks, and is no failure. Health checks always pass, so the breaker of a
// cluster that is back closes with the next check.
//
// sony/gobreaker has the same states, but a success from outside cannot close it,
// it does not tell until when it is open, and it knows no pause.
type breaker struct {
	open time.Duration // for how long, a tenth more or less

	mu       sync.Mutex
	changed  chan struct{} // closed and renewed when somebody who waits should look again
	failures int
	since    time.Time // of until
	until    time.Time // zero: closed
	paused   bool      // open because of a 429
	probing  bool      // half-open, and one call is under way
	answered time.Time
	problem  domain.Problem // of a watch
	about    string         // which watch
	at       time.Time      // of problem
}

func newBreaker(open time.Duration) *breaker {
	return &breaker{open: open, changed: make(chan struct{})}
}

// ending is what a call says of its cluster.
type ending int

const (
	answered ending = iota // by a live API server, whatever it said
	failed                 // no answer, 5xx, or it does not know us
	unknown                // we gave up ourselves
)

// allow says whether a call may be made now. Who may calls done with the outcome.
func (b *breaker) allow() (done func(ending), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	probe := !b.until.IsZero()
	if probe && (b.probing || time.Now().Before(b.until)) {
		return nil, &errOpen{b.paused, later(b.until, time.Now()), b.answered}
	}
	b.probing = probe
	return func(o ending) { b.done(o, probe) }, nil
}

// later is until, or a moment after now while a probe is under way.
func later(until, now time.Time) time.Time {
	if until.Before(now) {
		return now.Add(time.Second)
	}
	return until
}

func (b *breaker) done(o ending, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch o {
	case answered:
		b.answered = time.Now()
		b.failures = 0
		// A call that began before the breaker opened says nothing about a pause.
		if !b.until.IsZero() && (probe || !b.paused) {
			b.until, b.paused = time.Time{}, false
		}
	case failed:
		b.failures++
		if probe || b.failures == breakAfter {
			b.shut(b.open*9/10+rand.N(b.open/5), false)
		}
	}
	b.wake()
}

// pause is for a cluster that asked for one. Calls that were under way together
// are answered alike, which makes one pause.
func (b *breaker) pause(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered, b.failures = time.Now(), 0
	b.shut(min(max(d, minPause), maxPause), true)
	b.wake()
}

func (b *breaker) shut(d time.Duration, paused bool) {
	now := time.Now()
	if b.until.IsZero() || b.paused != paused {
		b.since = now
	}
	if until := now.Add(d); until.After(b.until) {
		b.until = until
	}
	b.paused = paused
}

// closeNow is for a health check that got an answer.
func (b *breaker) closeNow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered, b.failures = time.Now(), 0
	if !b.until.IsZero() && !b.paused {
		b.until = time.Time{}
		b.wake()
	}
}

func (b *breaker) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// wait blocks until a call may be made, so that those who only wait for the
// cluster cost neither calls nor a timer of their own that beats.
func (b *breaker) wait(ctx context.Context) error {
	for {
		b.mu.Lock()
		changed, left, probing, shut := b.changed, time.Until(b.until), b.probing, !b.until.IsZero()
		b.mu.Unlock()
		if !shut || left <= 0 && !probing {
			return ctx.Err()
		}
		var due <-chan time.Time
		if left > 0 {
			due = time.After(left)
		}
		select {
		case <-due:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// trouble remembers why the watch of a kind does not work; the zero problem says
// that it does again.
func (b *breaker) trouble(kind string, p domain.Problem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.IsZero() && b.about != kind {
		return
	}
	b.problem, b.about, b.at = p, kind, time.Now()
}

func (b *breaker) state() domain.Connection {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := domain.Connection{Failures: b.failures, AnsweredAt: b.answered}
	if !b.until.IsZero() {
		c.Open, c.Throttled, c.Since, c.Until = true, b.paused, b.since, b.until
	}
	if !b.problem.IsZero() {
		c.Problem, c.ProblemAt = b.problem, b.at
	}
	return c
}

// Connection says how the connection to a cluster is: whether its breaker is
// open, and what was last wrong. It asks nobody; the zero value is a cluster that
// was not called yet.
func (p *Provider) Connection(cluster string) domain.Connection {
	p.clients.mu.Lock()
	c := p.clients.byCluster[cluster]
	p.clients.mu.Unlock()
	if c == nil {
		return domain.Connection{}
	}
	return c.breaker.state()
}

// checking marks the requests of a health check.
type checking struct{}

// past lets all requests of ctx pass the breaker.
func past(ctx context.Context) context.Context { return context.WithValue(ctx, checking{}, true) }

// broken puts the breaker in front of a transport.
type broken struct {
	next    http.RoundTripper
	breaker *breaker
}

// RoundTrip asks the breaker, and tells it what came of the request.
func (t broken) RoundTrip(req *http.Request) (*http.Response, error) {
	b := t.breaker
	if req.Context().Value(checking{}) != nil {
		resp, err := t.next.RoundTrip(req)
		switch {
		case err != nil:
		case resp.StatusCode == http.StatusTooManyRequests:
			b.pause(retryAfter(resp.Header))
		case verdict(resp.StatusCode) == answered:
			b.closeNow()
		}
		return resp, err
	}
	done, err := b.allow()
	if err != nil {
		return nil, err
	}
	resp, err := t.next.RoundTrip(req)
	switch {
	case err != nil && errors.Is(req.Context().Err(), context.Canceled) && !errors.Is(context.Cause(req.Context()), context.DeadlineExceeded):
		done(unknown)
	case err != nil:
		done(failed)
	case resp.StatusCode == http.StatusTooManyRequests:
		b.pause(retryAfter(resp.Header)) // before done lets somebody else through
		done(unknown)
	default:
		done(verdict(resp.StatusCode))
	}
	return resp, err
}

// verdict of a status: one that the API server itself has decided is an answer.
func verdict(code int) ending {
	if code >= 500 || code == http.StatusUnauthorized {
		return failed
	}
	return answered
}

// retryAfter reads the seconds or the time that a cluster asks for; 0 when it
// does not say.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), int(maxPause/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return time.Until(at)
	}
	return 0
}
