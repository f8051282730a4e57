package vm_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// ListVMs tells how far the world is, and nothing else.
func (w *world) ListVMs(context.Context, string, provider.ListOptions) (list *domain.VMList, err error) {
	err = w.do("list", func() error {
		list = &domain.VMList{ResourceVersion: strconv.Itoa(w.version)}
		return nil
	})
	return list, err
}

// snapshot is a backup of the world; calling it restores the world.
func (w *world) snapshot() func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	version, objects := w.version, map[string]*domain.VM{}
	for name := range w.objects {
		objects[name] = w.copy(name)
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.version, w.objects = version, objects
	}
}

// forget takes an object away without an event.
func (w *world) forget(names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range names {
		delete(w.objects, n)
	}
}

// listed is the world as a complete list of some version, "" for the present one.
func (st *stage) listed(version string) provider.Complete {
	w := st.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if version == "" {
		version = strconv.Itoa(w.version)
	}
	all := map[string]*domain.VM{}
	list := provider.Complete{VMs: map[provider.Ref]bool{}, ResourceVersion: version, Show: func(r provider.Ref) *domain.VM { return all[r.Name] }}
	for name := range w.objects {
		v := w.copy(name)
		all[name] = v
		list.VMs[provider.Ref{Cluster: st.cluster.ID.String(), Namespace: v.Namespace, Name: name, UID: v.UID}] = true
	}
	return list
}

func (st *stage) sync(version string) {
	st.t.Helper()
	if err := st.Synced(st.t.Context(), st.cluster.ID.String(), st.listed(version)); err != nil {
		st.t.Fatal(err)
	}
}

func (st *stage) now() *ent.Cluster { return st.ent.Cluster.GetX(st.t.Context(), st.cluster.ID) }

func (st *stage) wantQuarantine(code string) *ent.Cluster {
	st.t.Helper()
	c := st.now()
	if (c.QuarantinedAt != nil) != (code != "") || c.QuarantineReason.Code != code {
		st.t.Fatalf("quarantined at %v for %+v, want %q", c.QuarantinedAt, c.QuarantineReason, code)
	}
	return c
}

// found are the findings of a group by name.
func (st *stage) found(g domain.FindingGroup) map[string]vm.Finding {
	st.t.Helper()
	all := map[string]vm.Finding{}
	page := listing.Page{Limit: 2}
	for {
		list, err := st.Findings(st.t.Context(), st.admin(), st.cluster.ID.String(), g, page)
		if err != nil {
			st.t.Fatal(err)
		}
		for _, f := range list.Items {
			if _, twice := all[f.Name]; twice {
				st.t.Fatalf("%s is on two pages", f.Name)
			}
			all[f.Name] = f
		}
		if list.Next == "" {
			break
		}
		page.After = list.Next
	}
	if n := st.now().QuarantineReport.Groups[g].Count; n != len(all) {
		st.t.Fatalf("%s: the report counts %d, there are %v", g, n, all)
	}
	return all
}

func (st *stage) wantFound(g domain.FindingGroup, names ...string) map[string]vm.Finding {
	st.t.Helper()
	all := st.found(g)
	got := slices.Sorted(maps.Keys(all))
	slices.Sort(names)
	if !slices.Equal(got, names) {
		st.t.Fatalf("%s: %q, want %q", g, got, names)
	}
	return all
}

// admin is a platform admin, who is told of quarantines.
func (st *stage) admin() domain.Actor {
	return domain.Actor{UserID: uuid.NewString(), Username: "root", Bindings: []domain.Binding{{Role: domain.RoleAdmin}}}
}

// accept accepts a group as it is now.
func (st *stage) accept(g domain.FindingGroup) (ended bool) {
	st.t.Helper()
	ended, err := st.AcceptQuarantine(st.t.Context(), st.admin(), st.cluster.ID.String(), vm.Acceptance{
		Group: g, Digest: st.now().QuarantineReport.Groups[g].Digest, Reason: "the backup of Monday",
	})
	if err != nil {
		st.t.Fatal(err)
	}
	return ended
}

func (st *stage) refuses(code string, a vm.Acceptance) {
	st.t.Helper()
	if _, err := st.AcceptQuarantine(st.t.Context(), st.admin(), st.cluster.ID.String(), a); apperr.CodeOf(err) != code {
		st.t.Fatalf("got %v, want %s", err, code)
	}
}

// quarantineStage can go back in time, and tells an inbox.
func quarantineStage(t *testing.T) (*stage, *[]notify.Message) {
	st := newStage(t)
	st.world.version = 100
	st.Hurry(10 * time.Millisecond)
	told := &[]notify.Message{}
	st.TellAdmins = func(_ context.Context, _ *ent.Tx, m notify.Message) error {
		*told = append(*told, m)
		return nil
	}
	return st, told
}

// A restored cluster: what was made since is gone, what was deleted is back,
// what was changed is as it was. Nothing happens there until all is accepted.
func TestRestoredCluster(t *testing.T) {
	st, told := quarantineStage(t)
	ctx, id := t.Context(), st.cluster.ID.String()
	stays, changes, leaves := st.running(), st.running(), st.running()
	restore := st.world.snapshot()

	made := st.running()
	_, order := st.deletion(leaves)
	st.exec(order)
	st.run(order, vm.Done())
	st.see(false, st.world.set(changes.Name, domain.StateStopped))
	st.sync("")
	if c := st.wantQuarantine(""); c.ListVersion != int64(st.world.version) {
		t.Fatalf("list version %d, the world is at %d", c.ListVersion, st.world.version)
	}
	before := st.now().ListVersion
	n, orders := st.approve(1) // waits for a worker

	restore()
	st.sync("")
	c := st.wantQuarantine(apperr.ErrClusterRestored)
	if fmt.Sprint(c.QuarantineReason.Params["before"], c.QuarantineReason.Params["now"]) != fmt.Sprint(before, st.world.version) {
		t.Errorf("reason %+v", c.QuarantineReason)
	}
	if len(*told) != 1 || (*told)[0].Kind != notify.ClusterQuarantined || (*told)[0].Params["cluster"] != "east" {
		t.Errorf("told %+v", *told)
	}
	gone := st.wantFound(domain.FindingGone, made.Name)[made.Name]
	if gone.VMID != made.ID.String() || gone.Before.UID != made.UID || gone.After != (domain.Observed{}) {
		t.Errorf("gone %+v", gone)
	}
	back := st.wantFound(domain.FindingBack, leaves.Name)[leaves.Name]
	if back.VMID != leaves.ID.String() || back.Before.State != domain.StateDeleted || back.After.UID != leaves.UID {
		t.Errorf("back %+v", back)
	}
	changed := st.wantFound(domain.FindingChanged, changes.Name)[changes.Name]
	if changed.Before.UID != changed.After.UID || changed.Before.State != domain.StateStopped || changed.After.State != domain.StateRunning {
		t.Errorf("changed %+v", changed)
	}

	// Nothing is missing, however often the list comes, and no order is carried out.
	st.Shift(id, 2*time.Minute)
	st.sync("")
	st.Shift(id, 2*time.Minute)
	st.sync("")
	if r := st.row(made.ID); r.State != entvm.StateRunning || r.UID != made.UID {
		t.Errorf("row became %s %s", r.State, r.UID)
	}
	calls := st.world.count("create") + st.world.count("get") + st.world.count("delete")
	st.run(orders[0], vm.Outcome{Again: true})
	st.wantEvent(orders[0], domain.EventProcessing, apperr.ErrClusterQuarantined)
	if p := st.ticket(n).Problem; p.Code != apperr.ErrClusterQuarantined {
		t.Errorf("the ticket says %+v", p)
	}
	if now := st.world.count("create") + st.world.count("get") + st.world.count("delete"); now != calls {
		t.Errorf("%d calls to a cluster in quarantine", now-calls)
	}

	// Only what was shown can be accepted, by an admin, with a reason.
	digest := st.now().QuarantineReport.Groups[domain.FindingGone].Digest
	if _, err := st.AcceptQuarantine(ctx, st.approver, id, vm.Acceptance{Group: domain.FindingGone, Digest: digest, Reason: "x"}); apperr.KindOf(err) == apperr.Internal || err == nil {
		t.Errorf("an approver: %v", err)
	}
	st.refuses(apperr.ErrQuarantineChanged, vm.Acceptance{Group: domain.FindingGone, Digest: "other", Reason: "x"})
	st.refuses(apperr.ErrQuarantineOpen, vm.Acceptance{Reason: "x"})
	if _, err := st.AcceptQuarantine(ctx, st.admin(), id, vm.Acceptance{Group: domain.FindingGone, Digest: digest}); len(apperr.Fields(err)) != 1 {
		t.Errorf("without a reason: %v", err)
	}

	if st.accept(domain.FindingGone) {
		t.Fatal("ended too early")
	}
	if r := st.row(made.ID); r.State != entvm.StateMissing || r.DeletedAt != nil || r.UID != made.UID {
		t.Errorf("gone: %s deleted %v", r.State, r.DeletedAt)
	}
	st.wantCounts(4, 1) // the one that is approved counts
	st.wantFound(domain.FindingGone)
	st.refuses(apperr.ErrQuarantineChanged, vm.Acceptance{Group: domain.FindingGone, Digest: digest, Reason: "again"})

	if st.accept(domain.FindingBack) {
		t.Fatal("ended too early")
	}
	a := st.ent.PendingAdoption.Query().OnlyX(ctx)
	if a.UID != leaves.UID || a.Name != leaves.Name || st.world.get(leaves.Name) == nil || st.row(leaves.ID).DeletedAt == nil {
		t.Errorf("adoption %+v", a)
	}
	st.sync("") // the list says the same of what was accepted
	st.wantFound(domain.FindingGone)
	st.wantFound(domain.FindingBack)

	if !st.accept(domain.FindingChanged) {
		t.Fatal("the last group did not end it")
	}
	if r := st.row(changes.ID); r.State != entvm.StateRunning || r.ResourceVersion != changed.After.ResourceVersion || r.UID != changes.UID {
		t.Errorf("changed: %s at %s", r.State, r.ResourceVersion)
	}
	if c := st.wantQuarantine(""); c.ListVersion != int64(st.world.version) {
		t.Errorf("list version %d, want %d", c.ListVersion, st.world.version)
	}
	if len(*told) != 2 || (*told)[1].Kind != notify.ClusterReleased {
		t.Errorf("told %+v", *told)
	}
	st.sync("")
	st.wantQuarantine("")
	st.run(orders[0], vm.Done())
	if r := st.row(stays.ID); r.State != entvm.StateRunning || r.UID != stays.UID {
		t.Errorf("an unchanged VM became %s", r.State)
	}

	events := st.ent.ClusterEvent.Query().Where(clusterevent.KindEQ(clusterevent.KindQuarantine)).Order(ent.Asc(clusterevent.FieldID)).AllX(ctx)
	var steps []string
	for _, e := range events {
		steps = append(steps, e.After+e.Before)
	}
	if !slices.Equal(steps, []string{"begun", "acceptedgone", "acceptedback", "acceptedchanged", "ended"}) {
		t.Errorf("timeline %q", steps)
	}
	for action, want := range map[string]int{"cluster.quarantine": 1, "cluster.accept": 3, "cluster.release": 1, "vm.accept": 2} {
		if n := st.ent.AuditLog.Query().Where(auditlog.Action(action), auditlog.ActorIn("root", "shepherd")).CountX(ctx); n != want {
			t.Errorf("%d entries of %s, want %d", n, action, want)
		}
	}
}

// A list from a server that is behind is no restore, and nothing is missing
// because of it.
func TestListLagsBehind(t *testing.T) {
	st, _ := quarantineStage(t)
	id := st.cluster.ID.String()
	old, late := st.running(), (*ent.VM)(nil)
	restore := st.world.snapshot()
	behind := st.listed("")
	late = st.running()
	st.sync("")
	for range 2 {
		if err := st.Synced(t.Context(), id, behind); err != nil {
			t.Fatal(err)
		}
		st.Shift(id, 2*time.Minute)
	}
	st.wantQuarantine("")
	if st.world.count("list") != 2 {
		t.Errorf("%d looks", st.world.count("list"))
	}

	// Here the second look is behind as well, and only the third has caught up.
	now, looks := st.world.snapshot(), 0
	restore()
	st.world.after["list"] = func() error {
		if looks++; looks == 1 {
			now()
		}
		return nil
	}
	if err := st.Synced(t.Context(), id, behind); err != nil {
		t.Fatal(err)
	}
	if looks != 2 {
		t.Errorf("%d looks", looks)
	}
	st.wantQuarantine("")
	for _, r := range []*ent.VM{old, late} {
		if s := st.row(r.ID).State; s != entvm.StateRunning {
			t.Errorf("%s is %s", r.Name, s)
		}
	}

	// One that cannot be asked is not judged: the list is offered again.
	st.world.before["list"] = fails(1, apperr.ErrClusterUnreachable)
	if err := st.Synced(t.Context(), id, behind); apperr.CodeOf(err) != apperr.ErrClusterUnreachable {
		t.Errorf("got %v", err)
	}
	st.wantQuarantine("")
}

// After a restore that raised all versions, as etcd's tool does on request, the
// objects are still from before.
func TestRestoredWithRaisedVersions(t *testing.T) {
	st, _ := quarantineStage(t)
	row := st.running()
	restore := st.world.snapshot()
	st.see(false, st.world.set(row.Name, domain.StateStopped))
	st.sync("")
	restore()
	st.sync("1000000")
	st.wantQuarantine(apperr.ErrClusterRestored)
	if st.world.count("list") != 0 {
		t.Error("there was nothing to confirm")
	}
	st.wantFound(domain.FindingChanged, row.Name)
}

// Opaque versions say nothing.
func TestOpaqueVersions(t *testing.T) {
	st, _ := quarantineStage(t)
	st.running()
	st.sync("")
	st.sync("v-1")
	st.wantQuarantine("")
}

// More than a fifth, and at least five, do not disappear at once by themselves.
// Fewer are missing after two lists, as everywhere.
func TestMassDisappearance(t *testing.T) {
	st, _ := quarantineStage(t)
	var orders []uuid.UUID
	for _, n := range []int{9, 9, 8} {
		_, more := st.approve(n)
		orders = append(orders, more...)
	}
	var names []string
	for _, o := range orders {
		st.run(o, vm.Done())
		row := st.vmOf(o)
		names = append(names, row.Name)
		st.see(false, st.world.set(row.Name, domain.StateRunning))
	}
	st.sync("")

	st.world.forget(names[:5]...)
	st.sync("") // 5 of 26
	st.wantQuarantine("")

	last := st.ent.VM.Query().Where(entvm.Name(names[5])).OnlyX(t.Context())
	_, order := st.deletion(last)
	st.world.forget(names[5])
	st.sync("") // one more, but somebody wants it gone
	st.wantQuarantine("")
	st.sql(`UPDATE domain_events SET status = 'CANCELLED' WHERE id = $1`, order)
	st.sync("")
	c := st.wantQuarantine(apperr.ErrVMsDisappeared)
	if fmt.Sprint(c.QuarantineReason.Params["missing"], c.QuarantineReason.Params["known"]) != "6 26" {
		t.Errorf("reason %+v", c.QuarantineReason)
	}
	st.wantFound(domain.FindingGone, names[:6]...)
	if !st.accept(domain.FindingGone) {
		t.Fatal("not ended")
	}
	st.wantCounts(26, 6)
	st.sync("")
	st.wantQuarantine("")
}

// All two VMs of a small cluster may go: that is no catastrophe.
func TestSmallClusterIsNoMass(t *testing.T) {
	st, _ := quarantineStage(t)
	a, b := st.running(), st.running()
	st.world.forget(a.Name, b.Name)
	st.sync("")
	st.Shift(st.cluster.ID.String(), 2*time.Minute)
	st.sync("")
	st.wantQuarantine("")
	for _, r := range []*ent.VM{a, b} {
		if s := st.row(r.ID).State; s != entvm.StateMissing {
			t.Errorf("%s is %s", r.Name, s)
		}
	}
}

// A cluster that was built anew from a backup of its objects has other UIDs. The
// VMs are who they were, if our order made them; what only has the name is not.
func TestOtherUIDs(t *testing.T) {
	st, _ := quarantineStage(t)
	ctx := t.Context()
	same, foreign := st.running(), st.running()
	st.sync("")
	st.world.mu.Lock()
	st.world.objects[same.Name].UID = "new-uid"
	st.world.objects[same.Name].Spec.CPU = 8
	st.world.objects[foreign.Name].UID = "foreign-uid"
	st.world.objects[foreign.Name].Annotations = map[string]string{domain.AnnotationOperation: uuid.NewString()}
	st.world.mu.Unlock()
	st.ent.Cluster.UpdateOne(st.cluster).SetQuarantinedAt(time.Now()).SetQuarantineReason(domain.Problem{Code: apperr.ErrClusterIdentity}).
		SetStatus(entcluster.StatusUNHEALTHY).SetStatusReason(domain.Problem{Code: apperr.ErrClusterIdentity}).ExecX(ctx)
	st.refuses(apperr.ErrClusterIdentity, vm.Acceptance{Reason: "x"})
	st.ent.Cluster.UpdateOne(st.cluster).SetStatus(entcluster.StatusHEALTHY).ClearStatusReason().ExecX(ctx)
	st.refuses(apperr.ErrQuarantineOpen, vm.Acceptance{Reason: "no list yet"})

	st.sync("")
	f := st.wantFound(domain.FindingChanged, same.Name)[same.Name]
	if f.Before.UID != same.UID || f.After.UID != "new-uid" || f.Before.CPU != 2 || f.After.CPU != 8 {
		t.Errorf("%+v", f)
	}
	st.wantFound(domain.FindingGone, foreign.Name)
	if b := st.wantFound(domain.FindingBack, foreign.Name)[foreign.Name]; b.VMID != "" {
		t.Errorf("%+v", b)
	}
	st.accept(domain.FindingChanged)
	if r := st.row(same.ID); r.UID != "new-uid" || r.CPU != 8 || r.MemoryMib != same.MemoryMib || r.State != entvm.StateRunning {
		t.Errorf("%+v", r)
	}
	e := st.ent.AuditLog.Query().Where(auditlog.Action("vm.accept"), auditlog.ResourceID(same.ID.String())).OnlyX(ctx)
	if c := e.Changes["uid"]; c.Before != same.UID || c.After != "new-uid" || e.Reason != "the backup of Monday" {
		t.Errorf("on record: %+v", e)
	}
	st.accept(domain.FindingBack)
	if !st.accept(domain.FindingGone) {
		t.Error("not ended")
	}
	// A VM keeps its identity: an order goes to the object that it is now.
	st.world.set(same.Name, domain.StateRunning)
	_, order := st.deletion(st.row(same.ID))
	st.exec(order)
	st.run(order, vm.Done())
	if st.world.get(same.Name) != nil || st.world.get(foreign.Name) == nil {
		t.Error("the wrong object was deleted")
	}
}

// An order that is under way when the quarantine begins ends before its next
// write, and goes on when it is over.
func TestQuarantineStopsBetweenWrites(t *testing.T) {
	st, _ := quarantineStage(t)
	ctx := t.Context()
	credentials := &cluster.Credentials{DB: st.db}
	may := func() error { return credentials.MayWrite(ctx, st.cluster.ID.String()) } // as the provider asks
	for _, call := range []string{"secret", "create", "adopt", "delete", "start"} {
		st.world.before[call] = may
	}
	st.world.after["secret"] = func() error {
		return st.db.InTx(ctx, func(tx *ent.Tx) error {
			return cluster.Quarantine(ctx, tx, nil, tx.Cluster.GetX(ctx, st.cluster.ID), domain.Problem{Code: apperr.ErrVMsDisappeared})
		})
	}
	n, orders := st.approve(1, publicKey(t))
	st.run(orders[0], vm.Outcome{Again: true})
	e := st.wantEvent(orders[0], domain.EventProcessing, apperr.ErrClusterQuarantined)
	if e.Attempts != 0 || st.world.count("made") != 0 {
		t.Errorf("%d attempts, %d made", e.Attempts, st.world.count("made"))
	}
	if p := st.ticket(n).Problem; p.Code != apperr.ErrClusterQuarantined {
		t.Errorf("the ticket says %+v", p)
	}
	delete(st.world.after, "secret")
	st.sync("")
	if st.accept("") != true {
		t.Fatal("a false alarm did not end")
	}
	st.run(orders[0], vm.Done())
	if st.world.count("made") != 1 {
		t.Errorf("%d made", st.world.count("made"))
	}
}

// An order whose object vanished in the restore makes nothing again by itself,
// wherever it stood.
func TestOrderOfVanishedObject(t *testing.T) {
	for _, after := range []string{"post", "step"} {
		t.Run(after, func(t *testing.T) {
			st, _ := quarantineStage(t)
			other := st.running()
			st.sync("")
			restore := st.world.snapshot()
			n, orders := st.approve(1, publicKey(t))
			if after == "post" { // the answer was lost, the watcher saw the object
				st.world.after["create"] = fails(1, apperr.ErrClusterTimeout)
			} else {
				st.world.before["adopt"] = fails(1, apperr.ErrClusterTimeout)
			}
			st.exec(orders[0])
			row := st.vmOf(orders[0])
			st.see(false, st.world.set(row.Name, domain.StateProvisioning))
			if row = st.row(row.ID); row.UID == "" {
				t.Fatal("the object is not known")
			}
			st.sync("")
			restore()
			st.sync("")
			st.wantQuarantine(apperr.ErrClusterRestored)
			st.wantFound(domain.FindingGone, row.Name)
			if !st.accept(domain.FindingGone) {
				t.Fatal("not ended")
			}
			st.wantEvent(orders[0], domain.EventFailed, domain.ProblemMissing)
			st.wantTicket(n, domain.TicketFailed)
			st.run(orders[0], vm.Done()) // a job that is still there
			if err := st.approval.Retry(t.Context(), st.dev, n); err != nil {
				t.Fatal(err)
			}
			st.run(orders[0], vm.Done()) // nor when somebody tries again
			st.wantEvent(orders[0], domain.EventFailed, apperr.ErrVMNotFound)
			if made := st.world.count("made"); made != 2 || st.world.get(row.Name) != nil {
				t.Errorf("%d objects made", made)
			}
			if s := st.row(other.ID).State; s != entvm.StateRunning {
				t.Errorf("the other VM is %s", s)
			}
		})
	}
}

// Two admins accept at once: it is done once, and the other sees that it changed.
func TestTwoAdminsAccept(t *testing.T) {
	st, told := quarantineStage(t)
	row := st.running()
	restore := st.world.snapshot()
	made := st.running()
	st.sync("")
	restore()
	st.sync("")
	c := st.wantQuarantine(apperr.ErrClusterRestored)
	var wg sync.WaitGroup
	results := make([]error, 4)
	for i := range results {
		wg.Go(func() {
			_, results[i] = st.AcceptQuarantine(t.Context(), st.admin(), st.cluster.ID.String(), vm.Acceptance{
				Group: domain.FindingGone, Digest: c.QuarantineReport.Groups[domain.FindingGone].Digest, Reason: "x",
			})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else if code := apperr.CodeOf(err); code != apperr.ErrQuarantineChanged && code != apperr.ErrNotQuarantined {
			t.Error(err)
		}
	}
	if won != 1 || len(*told) != 2 {
		t.Errorf("%d accepted, told %d times", won, len(*told))
	}
	if st.row(made.ID).State != entvm.StateMissing || st.row(row.ID).State != entvm.StateRunning {
		t.Error("rows")
	}
	st.wantCounts(2, 1)
	st.wantQuarantine("")
}

// What was shown is accepted, not what a newer list says.
func TestFindingsAreReplaced(t *testing.T) {
	st, _ := quarantineStage(t)
	restore := st.world.snapshot()
	a, b := st.running(), st.running()
	st.sync("")
	restore()
	st.sync("")
	seen := st.now().QuarantineReport.Groups[domain.FindingGone]
	st.wantFound(domain.FindingGone, a.Name, b.Name)
	st.sync("") // the same again: what was shown still holds
	if now := st.now().QuarantineReport.Groups[domain.FindingGone]; now != seen {
		t.Errorf("%+v became %+v", seen, now)
	}
	st.world.mu.Lock()
	st.world.objects[a.Name] = &domain.VM{Namespace: a.Namespace, Name: a.Name, UID: a.UID, ResourceVersion: "999"}
	st.world.mu.Unlock()
	st.sync("")
	st.refuses(apperr.ErrQuarantineChanged, vm.Acceptance{Group: domain.FindingGone, Digest: seen.Digest, Reason: "x"})
	st.wantFound(domain.FindingGone, b.Name)
	if n := st.ent.DomainEvent.Query().Where(domainevent.StatusEQ(domainevent.StatusFAILED)).CountX(t.Context()); n != 0 {
		t.Errorf("%d orders failed", n)
	}
	if !st.accept(domain.FindingGone) || st.row(a.ID).State != entvm.StateRunning {
		t.Error("the one that came back")
	}
}
