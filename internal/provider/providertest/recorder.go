package providertest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// Recorder is a provider.Sink that remembers everything and can refuse.
type Recorder struct {
	mu      sync.Mutex
	changed chan struct{} // closed and renewed at every call
	seen    map[string]*domain.VM
	deleted map[string]string // name to UID
	history []provider.Observation
	synced  []map[provider.Ref]bool
	refuse  int
}

// NewRecorder makes an empty recorder.
func NewRecorder() *Recorder {
	return &Recorder{changed: make(chan struct{}), seen: map[string]*domain.VM{}, deleted: map[string]string{}}
}

// Refuse makes the next n calls fail.
func (r *Recorder) Refuse(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = n
}

func (r *Recorder) call(record func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { close(r.changed); r.changed = make(chan struct{}) }()
	if r.refuse > 0 {
		r.refuse--
		return errors.New("the recorder refuses")
	}
	record()
	return nil
}

// Observe remembers a batch.
func (r *Recorder) Observe(_ context.Context, _ string, seen []provider.Observation) error {
	return r.call(func() {
		r.history = append(r.history, seen...)
		for _, o := range seen {
			k := o.VM.Namespace + "/" + o.VM.Name
			if o.Deleted {
				delete(r.seen, k)
				r.deleted[k] = o.VM.UID
				continue
			}
			r.seen[k] = o.VM
		}
	})
}

// Synced remembers a complete list.
func (r *Recorder) Synced(_ context.Context, _ string, list provider.Complete) error {
	return r.call(func() { r.synced = append(r.synced, list.VMs) })
}

// VM is what was last seen of a VM, or nil.
func (r *Recorder) VM(namespace, name string) *domain.VM {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[namespace+"/"+name]
}

// Deleted is the UID with which a VM was seen deleted, or "".
func (r *Recorder) Deleted(namespace, name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deleted[namespace+"/"+name]
}

// Lists is how many complete lists there were, and the last of them.
func (r *Recorder) Lists() (int, map[provider.Ref]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.synced) == 0 {
		return 0, nil
	}
	return len(r.synced), r.synced[len(r.synced)-1]
}

// Count is how many observations there were.
func (r *Recorder) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.history)
}

// Wait ends the test when what does not become true in time.
func (r *Recorder) Wait(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	end := time.After(limit)
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-end:
			t.Fatalf("after %v still not: %s", limit, what)
		}
	}
}

// WaitVM waits until a VM is seen as told.
func (r *Recorder) WaitVM(t testing.TB, namespace, name, what string, limit time.Duration, ok func(*domain.VM) bool) *domain.VM {
	t.Helper()
	var got *domain.VM
	t.Cleanup(func() {
		if t.Failed() && got != nil {
			t.Logf("%s/%s was last seen as %+v", namespace, name, got.Status)
		}
	})
	r.Wait(t, name+" "+what, limit, func() bool {
		got = r.VM(namespace, name)
		return got != nil && ok(got)
	})
	return got
}
