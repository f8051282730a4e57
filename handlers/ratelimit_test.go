package handlers

import (
	"fmt"
	"testing"
	"time"
)

// TestLimiterIsBounded: however many callers come, memory is bounded, and who
// was counted before stays counted.
func TestLimiterIsBounded(t *testing.T) {
	now := time.Now()
	l := newLimiter(Rate{PerMinute: 60, Burst: 2})
	l.take("guesser", now)
	l.take("guesser", now)
	for i := range 10 * maxCallers {
		l.take(fmt.Sprint("stranger", i), now)
	}
	if len(l.buckets) > maxCallers {
		t.Errorf("%d callers are kept", len(l.buckets))
	}
	if _, wait := l.take("guesser", now); wait == 0 {
		t.Error("a flood of strangers resets a count")
	}
	if _, wait := l.take("latecomer", now); wait == 0 {
		t.Error("who comes when it is full is not counted")
	}
	// Those who have been quiet are forgotten, which gives them nothing.
	now = now.Add(time.Minute)
	if left, wait := l.take("latecomer", now); wait != 0 || left != 1 {
		t.Errorf("later: %d left, wait %v", left, wait)
	}
	if len(l.buckets) > 10 {
		t.Errorf("%d callers are kept after a quiet minute", len(l.buckets))
	}
}

func TestLimiter(t *testing.T) {
	now := time.Now()
	l := newLimiter(Rate{PerMinute: 30, Burst: 3})
	for _, want := range []int{2, 1, 0} {
		if left, wait := l.take("x", now); left != want || wait != 0 {
			t.Fatalf("%d left, wait %v; want %d", left, wait, want)
		}
	}
	if _, wait := l.take("x", now); wait != 2*time.Second {
		t.Errorf("wait %v", wait)
	}
	if _, wait := l.take("y", now); wait != 0 {
		t.Error("somebody else waits")
	}
	if _, wait := l.take("x", now.Add(2*time.Second)); wait != 0 {
		t.Errorf("who has waited is refused")
	}
	if all := newLimiters(Limits{}); len(all) != 0 {
		t.Errorf("without limits there are %d", len(all))
	}
	if got := DefaultLimits().Times(0.5); got.SignIn != (Rate{15, 15}) || got.Export != (Rate{5, 3}) {
		t.Errorf("half of the limits: %+v", got)
	}
}
