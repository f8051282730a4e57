package kubevirt

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/provider/providertest"
)

// quick are the times of the watcher for tests.
var quick = timing{
	coalesce: 5 * time.Millisecond, silence: 10 * time.Second, minWatch: time.Minute, relist: time.Hour,
	maxBackoff: 300 * time.Millisecond, rotation: time.Hour, listWait: time.Second, knock: time.Second, forgetful: 10 * time.Second,
}

// follows runs a watcher of the server, until the test ends.
func follows(t *testing.T, a *apiServer, p *Provider, cluster string) (*providertest.Recorder, func() time.Time) {
	t.Helper()
	rec := providertest.NewRecorder()
	var last atomic.Pointer[time.Time]
	last.Store(&time.Time{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Watch(ctx, cluster, rec, func(at time.Time) { last.Store(&at) })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return rec, func() time.Time { return *last.Load() }
}

func watched(t *testing.T) (*apiServer, *Provider) {
	t.Helper()
	a := newAPIServer(t)
	p, _ := testProvider(t, a.cred)
	p.timing = quick
	p.clients.open = 500 * time.Millisecond
	return a, p
}

func eventually(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func listed(t *testing.T, rec *providertest.Recorder, n int) {
	t.Helper()
	rec.Wait(t, fmt.Sprintf("complete list %d", n), 5*time.Second, func() bool { got, _ := rec.Lists(); return got >= n })
}

// TestFeedResumes: a cut costs no list, loses nothing and tells nothing twice.
func TestFeedResumes(t *testing.T) {
	t.Parallel()
	a, p := watched(t)
	a.putVM("a", "Running")
	a.putVM("b", "Running")
	rec, _ := follows(t, a, p, "c1")
	listed(t, rec, 1)
	if n := a.lists.Load(); n != 3 {
		t.Fatalf("%d lists at first, want one of each kind", n)
	}
	before := rec.Count()
	for round := range 3 {
		a.network(netDown)
		a.putVM(fmt.Sprint("new-", round), "Starting")
		a.putVM("a", []string{"Stopping", "Stopped", "Starting"}[round])
		time.Sleep(300 * time.Millisecond)
		a.network(netUp)
		if p.Connection("c1").Open {
			t.Error("a short cut opens the breaker")
		}
		rec.Wait(t, "what happened meanwhile", 5*time.Second, func() bool {
			return rec.VM("n", fmt.Sprint("new-", round)) != nil && string(rec.VM("n", "a").Status.State) == []string{"Stopping", "Stopped", "Starting"}[round]
		})
	}
	a.network(netDown)
	a.remove(pathVMs, "b")
	a.network(netUp)
	rec.Wait(t, "a VM that was deleted during the cut", 5*time.Second, func() bool { return rec.Deleted("n", "b") == "uid-b" })
	if n := a.lists.Load(); n != 3 {
		t.Errorf("%d lists for cuts", n-3)
	}
	if n := rec.Count() - before; n != 7 {
		t.Errorf("%d observations of 7 changes", n)
	}
}

// TestFeedForgotten: when the cluster has forgotten our place, one list of that
// kind is read at once; it is no failure, and what is missing in it is not
// called deleted.
func TestFeedForgotten(t *testing.T) {
	t.Parallel()
	a, p := watched(t)
	for i := range 20 {
		a.putVM(fmt.Sprint("vm-", i), "Running")
	}
	rec, _ := follows(t, a, p, "c1")
	listed(t, rec, 1)
	a.network(netDown)
	a.putVM("vm-0", "Stopped")
	a.remove(pathVMs, "vm-1")
	a.putVM("late", "Running")
	a.forget()
	a.network(netUp)
	listed(t, rec, 2)
	rec.Wait(t, "what happened before it forgot", 2*time.Second, func() bool {
		return rec.VM("n", "late") != nil && rec.VM("n", "vm-0").Status.State == domain.StateStopped
	})
	eventually(t, "all three are listed again", 5*time.Second, func() bool { return a.lists.Load() == 6 })
	if _, names := rec.Lists(); len(names) != 20 || names[provider.Ref{Cluster: "c1", Namespace: "n", Name: "vm-1", UID: "uid-vm-1"}] {
		t.Errorf("the second list has %d VMs", len(names))
	}
	if rec.Deleted("n", "vm-1") != "" {
		t.Error("a VM that a list does not show is called deleted")
	}
	if c := p.Connection("c1"); c.Open || c.Failures > 0 || !c.Problem.IsZero() {
		t.Errorf("counted as a failure: %+v", c)
	}

	// One that forgets all the time is not asked all the time.
	a.network(netDown)
	began := time.Now()
	a.mu.Lock()
	a.horizon = 1 << 30
	a.mu.Unlock()
	a.network(netUp)
	time.Sleep(1500 * time.Millisecond)
	if n := a.lists.Load() - 6; float64(n) > 3*(2+time.Since(began).Seconds()/0.15) {
		t.Errorf("%d lists in %v", n, time.Since(began))
	}
}

// TestFeedSilent: a watch that is open and says nothing is begun anew at its
// place, and the data is as old as the last thing that was heard.
func TestFeedSilent(t *testing.T) {
	t.Parallel()
	a, p := watched(t)
	p.timing.silence = 300 * time.Millisecond
	a.putVM("a", "Running")
	rec, heard := follows(t, a, p, "c1")
	listed(t, rec, 1)
	first := heard()
	eventually(t, "bookmarks are signs of life", 2*time.Second, func() bool { return heard().After(first) })
	if time.Since(heard()) > 250*time.Millisecond {
		t.Errorf("an idle cluster with bookmarks is %v old", time.Since(heard()))
	}
	a.mute.Store(true)
	began, watches := time.Now(), a.watches.Load()
	a.putVM("a", "Stopped")
	eventually(t, "the silent watches are replaced", 3*time.Second, func() bool { return a.watches.Load() >= watches+3 })
	if heard().After(began.Add(100 * time.Millisecond)) {
		t.Error("a silent watch counts as a sign of life")
	}
	a.mute.Store(false)
	rec.Wait(t, "what happened in silence", 5*time.Second, func() bool { return rec.VM("n", "a").Status.State == domain.StateStopped })
	if n := a.lists.Load(); n != 3 {
		t.Errorf("%d lists for silence", n-3)
	}
	eventually(t, "young again", 2*time.Second, func() bool { return heard().After(began) })
}

// TestHeardNeedsTheSink: what was heard and could not be stored is not known.
func TestHeardNeedsTheSink(t *testing.T) {
	t.Parallel()
	a, p := watched(t)
	rec, heard := follows(t, a, p, "c1")
	listed(t, rec, 1)
	rec.Refuse(1 << 20)
	a.putVM("a", "Running")
	time.Sleep(300 * time.Millisecond)
	stuck := heard()
	time.Sleep(300 * time.Millisecond)
	if heard() != stuck {
		t.Error("the data gets younger while nothing is stored")
	}
	rec.Refuse(0)
	eventually(t, "young again", 2*time.Second, func() bool { return heard().After(stuck) })
}

// TestFeedDead: a cluster that refuses or swallows connections costs few
// goroutines and one dial per opening of the breaker.
func TestFeedDead(t *testing.T) {
	for _, mode := range []int32{netDown, netHole} {
		t.Run([]string{"", "Refused", "BlackHole"}[mode], func(t *testing.T) {
			a, p := watched(t)
			p.timing.knock = 500 * time.Millisecond
			p.clients.open = time.Second
			a.network(mode)
			base := runtime.NumGoroutine()
			rec, _ := follows(t, a, p, "c1")
			eventually(t, "the breaker opens", 10*time.Second, func() bool { return p.Connection("c1").Open })
			opened := a.dials.Load()
			if opened > 12 {
				t.Errorf("%d dials before the breaker opened", opened)
			}
			most := 0
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				most = max(most, runtime.NumGoroutine()-base)
			}
			n := a.dials.Load() - opened
			t.Logf("%d dials while opening, %d in 5 s with openings of 1 s (60 s: %.3f/s), at most %d goroutines", opened, n, float64(n)/5/60, most)
			if n > 8 || most > 20 {
				t.Errorf("%d dials in 5 s, %d goroutines", n, most)
			}
			c := p.Connection("c1")
			if c.Problem.IsZero() || c.Until.IsZero() || c.Since.After(time.Now()) {
				t.Errorf("%+v", c)
			}
			began := time.Now()
			if _, err := p.GetVM(t.Context(), someVM); apperr.CodeOf(err) != apperr.ErrClusterUnreachable && apperr.CodeOf(err) != apperr.ErrClusterTimeout {
				t.Errorf("a call says %v after %v", err, time.Since(began))
			}
			a.putVM("back", "Running")
			a.network(netUp)
			rec.WaitVM(t, "n", "back", "is seen", 10*time.Second, func(*domain.VM) bool { return true })
			eventually(t, "all is well", 5*time.Second, func() bool { c := p.Connection("c1"); return !c.Open && c.Problem.IsZero() })
		})
	}
}

// TestFeedFlapping: one second up and two down, ten times as fast.
func TestFeedFlapping(t *testing.T) {
	t.Parallel()
	a, p := watched(t)
	p.timing.maxBackoff, p.clients.open = 3*time.Second, 6*time.Second
	a.putVM("a", "Running")
	rec, _ := follows(t, a, p, "c1")
	listed(t, rec, 1)
	lists, dials, began := a.lists.Load(), a.dials.Load(), time.Now()
	for i := range 20 {
		a.network(netDown)
		time.Sleep(200 * time.Millisecond)
		a.network(netUp)
		a.putVM("a", []string{"Running", "Stopped"}[i%2])
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%d lists and %d dials in %v", a.lists.Load()-lists, a.dials.Load()-dials, time.Since(began).Round(time.Millisecond))
	if n := a.lists.Load() - lists; n > 0 {
		t.Errorf("%d lists while flapping", n)
	}
	a.putVM("end", "Running")
	p.CheckHealth(t.Context(), "c1", false) // closes the breaker, as each half minute
	rec.WaitVM(t, "n", "end", "is seen", 10*time.Second, func(*domain.VM) bool { return true })
}

// TestListsAreBounded: after a common cut of many clusters that have forgotten
// their places, eight lists at most are read at once, and their starts are spread.
func TestListsAreBounded(t *testing.T) {
	t.Parallel()
	a := newAPIServer(t)
	p, st := testProvider(t, a.cred)
	p.timing = quick
	a.listTakes.Store(int64(20 * time.Millisecond))
	a.putVM("a", "Running")
	const clusters = 30
	var recs []*providertest.Recorder
	for i := range clusters {
		id := fmt.Sprint("c", i)
		st.set(id, a.cred)
		rec, _ := follows(t, a, p, id)
		recs = append(recs, rec)
	}
	for _, rec := range recs {
		listed(t, rec, 1)
	}
	eventually(t, "all are listed", 10*time.Second, func() bool { return a.lists.Load() == 3*clusters })
	a.network(netDown)
	a.forget()
	time.Sleep(50 * time.Millisecond)
	began := time.Now()
	a.network(netUp)
	eventually(t, "all are listed again", 30*time.Second, func() bool { return a.lists.Load() >= 6*clusters })
	t.Logf("%d lists in %v, at most %d at once", a.lists.Load()-3*clusters, time.Since(began).Round(time.Millisecond), a.mostLists.Load())
	if n := a.mostLists.Load(); n > maxLists {
		t.Errorf("%d lists at once", n)
	}
	if n := a.lists.Load(); n != 6*clusters {
		t.Errorf("%d lists", n)
	}
}

// TestFeedLosesNothing: under changes, cuts and forgetting at random, the end is
// what the server has.
func TestFeedLosesNothing(t *testing.T) {
	t.Parallel()
	a, p := watched(t)
	p.timing.forgetful = 50 * time.Millisecond
	rec, _ := follows(t, a, p, "c1")
	listed(t, rec, 1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				a.putVM(fmt.Sprint("vm-", i%50), []string{"Running", "Stopped", "Starting"}[i%3])
			}
		}
	})
	for i := range 12 {
		time.Sleep(100 * time.Millisecond)
		if i%4 == 3 {
			a.network(netDown)
			a.forget()
		}
		a.network(netUp) // breaks all connections
	}
	close(stop)
	wg.Wait()
	a.mu.Lock()
	want := map[string]string{}
	for name, o := range a.objects[pathVMs] {
		_, v, _ := strings.Cut(o, `"resourceVersion":"`)
		want[name], _, _ = strings.Cut(v, `"`)
	}
	a.mu.Unlock()
	p.CheckHealth(t.Context(), "c1", false)
	rec.Wait(t, "the last version of each VM", 10*time.Second, func() bool {
		for name, v := range want {
			if vm := rec.VM("n", name); vm == nil || vm.ResourceVersion != v {
				return false
			}
		}
		return true
	})
}
