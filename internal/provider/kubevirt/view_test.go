package kubevirt

import (
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider/providertest"
)

// TestView: the joining alone.
func TestView(t *testing.T) {
	k := key{"n", "x"}
	vm := func(uid string) row {
		return compact(&domain.VM{UID: uid, Spec: domain.VMSpec{Name: "x", Namespace: "n"}, Status: domain.VMStatus{State: domain.StateRunning}})
	}
	flushed := func(v *view) *providertest.Recorder {
		rec := providertest.NewRecorder()
		if err := v.flush(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		return rec
	}
	v := newView("c1", defaultTiming)
	v.setVMI(k, instance{owner: "u1", ip: "10.0.0.1", node: "n1"}.compact())
	if len(v.dirty) > 0 || v.complete() {
		t.Error("an instance without its VM is observed")
	}
	v.replaceVMs(map[key]row{k: vm("u1")}, "1")
	v.replaceVMIs(map[key]guest{k: instance{owner: "u1", ip: "10.0.0.1", node: "n1"}.compact()})
	v.replaceNodes(map[key]time.Time{{"", "n1"}: {}})
	if !v.complete() {
		t.Error("not complete after all lists")
	}
	rec := flushed(v)
	if got := rec.VM("n", "x"); got == nil || got.Status.IP != "10.0.0.1" || got.Status.State != domain.StateRunning {
		t.Errorf("joined to %+v", got)
	}
	if n, _ := rec.Lists(); n != 1 {
		t.Error("no Synced")
	}

	for range 100 { // as many changes as there are heartbeats and events in 100 ms
		v.setVM(k, vm("u1"))
		v.setNode("n1", time.Time{})
		v.setVMI(k, instance{owner: "u1", ip: "10.0.0.1", node: "n1"}.compact())
	}
	if n := flushed(v).Count(); n != 1 {
		t.Errorf("100 changes of one VM are %d observations", n)
	}
	v.setNode("n1", time.Time{})
	v.setVMI(k, instance{owner: "u1", ip: "10.0.0.1", node: "n1"}.compact())
	if n := flushed(v).Count(); n != 0 {
		t.Errorf("nothing changed and %d observations", n)
	}

	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	v.setNode("n1", since)
	if got := flushed(v).VM("n", "x"); got.Status.State != domain.StateUnknown || got.Status.Problem.Params["since"] != "2026-01-02T03:04:05Z" {
		t.Errorf("on a silent node: %+v", got.Status)
	}
	v.setNode("n1", time.Time{})

	// Deleted and made again under the same name between two flushes; the old
	// instance is still there.
	v.dropVM(k, vm("u1"))
	v.setVM(k, vm("u2"))
	rec = flushed(v)
	if rec.Deleted("n", "x") != "u1" || rec.VM("n", "x").UID != "u2" || rec.VM("n", "x").Status.IP != "" {
		t.Errorf("after a replacement: deleted %q, seen %+v", rec.Deleted("n", "x"), rec.VM("n", "x"))
	}
	v.dropVM(k, vm("u1")) // late news about the old one
	if flushed(v); v.machines[k].row.uid() != "u2" {
		t.Error("the new VM was dropped")
	}
}
