package kubevirt

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// TestBreaker: what counts, and when calls are let through.
func TestBreaker(t *testing.T) {
	t.Parallel()
	var code, asked atomic.Int32
	p := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		c := int(code.Load())
		if c == 200 {
			fmt.Fprint(w, vmJSON(0))
			return
		}
		answer(w, c, status(c, "", "so it is"))
	})
	p.clients.open = 400 * time.Millisecond
	call := func() error {
		_, err := p.GetVM(t.Context(), someVM)
		return err
	}
	tries := func(c, n int) int {
		code.Store(int32(c))
		before := asked.Load()
		for range n {
			_ = call()
		}
		return int(asked.Load() - before)
	}
	if n := tries(404, 20) + tries(403, 20) + tries(409, 20) + tries(422, 20); n != 80 || p.Connection("c1").Failures > 0 {
		t.Errorf("answers of a live API server opened the breaker after %d calls", n)
	}
	tries(503, 4)
	if c := p.Connection("c1"); c.Failures != 4 || c.Open {
		t.Errorf("four failures: %+v", c)
	}
	tries(404, 1)
	for _, c := range []int{500, 503, 401} {
		if n := tries(c, 20); n != 5 {
			t.Errorf("%d: %d of 20 calls were made", c, n)
		}
		con := p.Connection("c1")
		if !con.Open || con.Throttled || con.Until.Sub(con.Since) < 300*time.Millisecond || con.AnsweredAt.IsZero() {
			t.Errorf("%d: %+v", c, con)
		}
		began := time.Now()
		err := call()
		wantCode(t, "open", err, apperr.ErrClusterUnreachable)
		if e, _ := apperr.From(err); e.Params["retry_at"] == nil || e.Params["since"] == nil || time.Since(began) > 50*time.Millisecond {
			t.Errorf("%d: after %v: %v", c, time.Since(began), e.Params)
		}
		if mayHaveHappened(&errOpen{}) {
			t.Error("a call that was not made may have happened")
		}
		// Half-open: one call, which fails and opens it again.
		time.Sleep(time.Until(p.Connection("c1").Until) + 5*time.Millisecond)
		if n := tries(c, 10); n != 1 {
			t.Errorf("%d: half-open let %d calls through", c, n)
		}
		time.Sleep(time.Until(p.Connection("c1").Until) + 5*time.Millisecond)
		if n := tries(404, 10); n != 10 || p.Connection("c1").Open {
			t.Errorf("%d: a success let %d calls through", c, n)
		}
	}
	// A health check passes, and its answer closes the breaker.
	tries(503, 5)
	before := asked.Load()
	p.CheckHealth(t.Context(), "c1", false)
	if asked.Load() == before || !p.Connection("c1").Open {
		t.Error("a check does not pass, or its failure closes the breaker")
	}
	code.Store(404)
	p.CheckHealth(t.Context(), "c1", false)
	if p.Connection("c1").Open {
		t.Error("the answer to a check does not close the breaker")
	}
	// Another credential is another connection.
	if c := p.Connection("c2"); c.Open || !c.AnsweredAt.IsZero() {
		t.Errorf("a cluster that was never called: %+v", c)
	}
}

// TestBreakerOneProbe: of many that wait for a dead cluster one is let through.
func TestBreakerOneProbe(t *testing.T) {
	t.Parallel()
	var asked, at, most atomic.Int32
	p := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		if n := at.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer at.Add(-1)
		asked.Add(1)
		time.Sleep(50 * time.Millisecond)
		answer(w, 503, status(503, "", "no"))
	})
	p.clients.open = 200 * time.Millisecond
	for range 5 {
		_, _ = p.GetVM(t.Context(), someVM)
	}
	asked.Store(0)
	most.Store(0)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				_, _ = p.GetVM(t.Context(), someVM)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n < 2 || n > 6 || most.Load() != 1 {
		t.Errorf("%d calls, %d at once", n, most.Load())
	}
}

// TestBreakerGivenUp: a call that we end ourselves says nothing of the cluster.
func TestBreakerGivenUp(t *testing.T) {
	t.Parallel()
	p := scripted(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		_, _ = p.GetVM(ctx, someVM)
		cancel()
	}
	if c := p.Connection("c1"); c.Failures > 0 || c.Open {
		t.Errorf("%+v", c)
	}
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := p.GetVM(ctx, someVM)
		wantCode(t, "too slow", err, apperr.ErrClusterTimeout)
		cancel()
	}
	if c := p.Connection("c1"); !c.Open {
		t.Errorf("five calls without an answer: %+v", c)
	}
}

// TestTooManyRequests: a cluster that asks for a pause gets it, from everybody,
// and is not called down.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	busy := time.Now().Add(3 * time.Second)
	p := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		if time.Now().Before(busy) {
			asked.Add(1)
			w.Header().Set("Retry-After", "1")
			answer(w, 429, status(429, "TooManyRequests", "slow down"))
			return
		}
		answer(w, 404, status(404, "NotFound", "no"))
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for time.Now().Before(busy) {
				_, err := p.GetVM(t.Context(), someVM)
				if code := apperr.CodeOf(err); code != apperr.ErrClusterDegraded && !time.Now().After(busy) {
					t.Errorf("%v", err)
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	eventually(t, "it is paused", 2*time.Second, func() bool {
		c := p.Connection("c1")
		return c.Open && c.Throttled && c.Failures == 0
	})
	wg.Wait()
	// Those of the beginning were under way together; then one each second, or a
	// few that pass in the same moment. All each second would be 80.
	if n := asked.Load(); n > 20+12 {
		t.Errorf("%d requests were too many in 3 s", n)
	}
	for text, want := range map[string]time.Duration{"7": 7 * time.Second, "": 0, "-5": 0, "999999": maxPause, "soon": 0} {
		if got := retryAfter(http.Header{"Retry-After": {text}}); got != want {
			t.Errorf("%q is %v", text, got)
		}
	}
	b := newBreaker(time.Second)
	b.pause(time.Hour)
	if left := time.Until(b.state().Until); left > maxPause {
		t.Errorf("an hour's pause is %v", left)
	}
}
