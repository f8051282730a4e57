package vm_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// seen is an object with a version and a state.
func seen(v *domain.VM, version string, s domain.VMState) *domain.VM {
	c := *v
	c.ResourceVersion, c.Status = version, domain.VMStatus{State: s, ObservedAt: time.Now()}
	return &c
}

func TestObserveOrder(t *testing.T) {
	st := newStage(t)
	row := st.running()
	v := st.world.get(row.Name)
	for _, c := range []struct {
		version string
		state   domain.VMState
		want    domain.VMState
		bad     int
	}{
		{"900", domain.StateCrashLoopBackOff, domain.StateCrashLoopBackOff, 1},
		{"1000", domain.StateRunning, domain.StateRunning, 0}, // by number, not by text
		{"999", domain.StateStopped, domain.StateRunning, 0},  // late: dropped
		{"1000", domain.StatePaused, domain.StatePaused, 0},   // its instance has changed, not itself
		{"x-1", domain.StateStopping, domain.StateStopping, 0},
		{"x-0", domain.StateStopped, domain.StateStopped, 0}, // no numbers: what comes later is newer
		{"1001", "FromTheFuture", domain.StateUnknown, 0},
		{"1002", domain.StateErrImagePull, domain.StateErrImagePull, 1},
	} {
		st.see(false, seen(v, c.version, c.state))
		if now := st.row(row.ID); domain.VMState(now.State) != c.want || domain.Health(now.Health) != c.want.Health() {
			t.Fatalf("%s %s: row is %s %s at %s", c.version, c.state, now.State, now.Health, now.ResourceVersion)
		}
		st.wantCounts(1, c.bad)
	}
}

// Several observations of one VM in a batch count as if they had come alone.
func TestObserveBatch(t *testing.T) {
	st := newStage(t)
	a, b := st.running(), st.running()
	va, vb := st.world.get(a.Name), st.world.get(b.Name)
	st.see(false,
		seen(va, "50", domain.StateCrashLoopBackOff), seen(vb, "51", domain.StateErrorUnschedulable),
		seen(va, "52", domain.StateErrImagePull), seen(va, "53", domain.StateRunning), seen(va, "49", domain.StateStopped),
		seen(&domain.VM{Namespace: "team-a", Name: "stranger", UID: "x"}, "1", domain.StateFailed),
	)
	st.wantCounts(2, 1)
	if st.row(a.ID).State != entvm.StateRunning || st.row(b.ID).State != entvm.StateErrorUnschedulable {
		t.Errorf("%s %s", st.row(a.ID).State, st.row(b.ID).State)
	}
}

func TestObserveFacts(t *testing.T) {
	st := newStage(t)
	row := st.running()
	v := seen(st.world.get(row.Name), "70", domain.StateErrorUnschedulable)
	started := time.Now().Add(-time.Hour).Truncate(time.Microsecond)
	v.Status.IP, v.Status.Node, v.Status.GuestOS, v.Status.StartedAt = "10.0.0.7", "node-1", "Evil\u202e\x00"+strings.Repeat("x", 1000), &started
	v.Status.Problem = domain.Problem{Code: domain.ProblemUnschedulable, Text: strings.Repeat("y", 5000), Params: map[string]any{"what": strings.Repeat("z", 5000)}}
	st.see(false, v)
	now := st.row(row.ID)
	if now.IPAddress != "10.0.0.7" || now.NodeName != "node-1" || now.StartedAt == nil || !now.StartedAt.Equal(started) || now.ObservedAt == nil {
		t.Errorf("%+v", now)
	}
	if strings.ContainsAny(now.GuestOs, "\u202e\x00") || len(now.GuestOs) > 300 || len(now.Problem.Text) > 600 || len(now.Problem.Params["what"].(string)) > 300 {
		t.Errorf("foreign text is not tamed: %d %d", len(now.GuestOs), len(now.Problem.Text))
	}
	st.see(false, seen(v, "71", domain.StateRunning))
	if now := st.row(row.ID); !now.Problem.IsZero() || now.IPAddress != "" || now.StartedAt != nil {
		t.Errorf("old facts are left: %+v", now)
	}
}

// Labels are hints that anybody can write: only the uid, or the operation id of
// the VM's own order, makes an object the VM.
func TestObserveIdentity(t *testing.T) {
	st := newStage(t)
	row := st.running()
	mine := st.world.get(row.Name)
	forged := seen(mine, "9000", domain.StateStopped)
	forged.UID = uuid.NewString()
	st.see(false, forged)
	st.see(true, forged)
	if now := st.row(row.ID); now.State != entvm.StateRunning || now.UID != mine.UID {
		t.Errorf("a forged object was believed: %+v", now)
	}

	_, orders := st.approve(1)
	young := st.vmOf(orders[0])
	for _, operation := range []string{"", "no id", uuid.NewString(), mine.OperationID()} {
		st.see(false, &domain.VM{
			Namespace: "team-a", Name: young.Name, UID: "foreign", ResourceVersion: "5", Status: domain.VMStatus{State: domain.StateRunning},
			Annotations: map[string]string{domain.AnnotationOperation: operation}, Labels: mine.Labels,
		})
		if now := st.row(young.ID); now.UID != "" || now.State != entvm.StateRequested {
			t.Errorf("operation %q was believed", operation)
		}
	}
	// The watcher is faster than the worker: nothing it knows is lost.
	st.world.after["create"] = func() error {
		st.see(false, st.world.set(young.Name, domain.StateRunning))
		return nil
	}
	st.run(orders[0], vm.Done())
	if now := st.row(young.ID); now.State != entvm.StateRunning || now.UID != st.world.get(young.Name).UID {
		t.Errorf("%+v", now)
	}
	// Another cluster's object of the same name is another object.
	if err := st.Observe(t.Context(), uuid.NewString(), []provider.Observation{{VM: seen(mine, "9999", domain.StateStopped)}}); err != nil {
		t.Fatal(err)
	}
	if st.row(row.ID).State != entvm.StateRunning {
		t.Error("an object of another cluster was believed")
	}
}

// The answer to the POST was lost and the worker has given up: the watcher
// finds the object all the same.
func TestObserveFindsLostObject(t *testing.T) {
	st := newStage(t)
	st.world.after["create"] = fails(8, apperr.ErrClusterTimeout)
	_, orders := st.approve(1)
	for range 8 {
		st.exec(orders[0])
	}
	st.wantCounts(1, 1)
	row := st.vmOf(orders[0])
	st.see(false, st.world.set(row.Name, domain.StateRunning))
	if now := st.row(row.ID); now.State != entvm.StateRunning || now.UID == "" || !now.Problem.IsZero() {
		t.Errorf("%+v", now)
	}
	st.wantCounts(1, 0)
}

func TestDeletedBehindOurBack(t *testing.T) {
	st := newStage(t)
	row := st.running()
	v := st.world.get(row.Name)
	st.see(true, v)
	if now := st.row(row.ID); now.State != entvm.StateMissing || now.Problem.Code != domain.ProblemMissing || now.DeletedAt != nil {
		t.Errorf("%+v", now)
	}
	st.wantCounts(1, 1)
	st.see(false, v) // it was not so: the next list shows it
	if now := st.row(row.ID); now.State != entvm.StateRunning || !now.Problem.IsZero() {
		t.Errorf("%+v", now)
	}
	st.wantCounts(1, 0)
}

// A VM is missing only after two complete lists, a minute apart, without it.
func TestSynced(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	cluster := st.cluster.ID.String()
	there, gone, replaced, leaving := st.running(), st.running(), st.running(), st.running()
	_, order := st.deletion(leaving)
	_, young := st.approve(1) // has no object yet
	ref := func(name, uid string) provider.Ref {
		return provider.Ref{Cluster: cluster, Namespace: "team-a", Name: name, UID: uid}
	}
	list := map[provider.Ref]bool{ref(there.Name, there.UID): true, ref(replaced.Name, "another"): true}
	missing := func(want ...string) {
		t.Helper()
		if err := st.Synced(ctx, cluster, provider.Complete{VMs: list}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range st.ent.VM.Query().Where(entvm.StateEQ(entvm.StateMissing)).AllX(ctx) {
			got = append(got, r.Name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Fatalf("missing %v, want %v", got, want)
		}
		st.wantCounts(5, len(want))
	}
	missing()
	missing() // a second list too soon says nothing new
	st.Shift(cluster, 59*time.Second)
	missing()
	// One that came back in between begins anew.
	list[ref(gone.Name, gone.UID)] = true
	missing()
	delete(list, ref(gone.Name, gone.UID))
	st.Shift(cluster, time.Minute)
	missing(replaced.Name)
	st.Shift(cluster, time.Minute)
	missing(gone.Name, replaced.Name)
	missing(gone.Name, replaced.Name)
	if st.row(leaving.ID).State == entvm.StateMissing || st.vmOf(young[0]).State != entvm.StateRequested {
		t.Error("a VM on its way was called missing")
	}
	delete(st.world.objects, leaving.Name)
	st.run(order, vm.Done())

	st.see(false, st.world.get(gone.Name)) // the very same object is back
	if st.row(gone.ID).State != entvm.StateRunning {
		t.Errorf("%+v", st.row(gone.ID))
	}
}

func TestGet(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	row := st.running()
	if r, err := st.approval.SubmitPower(ctx, st.dev, row.ID.String(), domain.OpStop, "for the night"); err != nil || !r.Ordered {
		t.Fatal(r, err)
	}
	v, err := st.Get(ctx, st.dev, row.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	if v.Name != row.Name || v.System != "shop" || v.Service != "redis" || v.Cluster != "east" || !v.CanOperate || len(v.Revisions) != 1 || v.Revisions[0].Spec.CPU != 2 {
		t.Errorf("%+v", v)
	}
	if len(v.Events) != 2 || v.Events[0].Operation != domain.OpStop || v.Events[1].Type != domain.EventVMCreate || v.Busy == nil || v.Busy.Operation != domain.OpStop {
		t.Errorf("events %+v, busy %+v", v.Events, v.Busy)
	}
	if v, err := st.Get(ctx, st.approver, row.ID.String()); err != nil || v.CanOperate {
		t.Errorf("the approver: %+v %v", v, err)
	}
	st.run(st.jobs()[0], vm.Done())
	n, _ := st.deletion(row)
	r, err := st.Get(ctx, st.dev, row.ID.String())
	if err != nil || r.Busy == nil || r.Busy.Type != domain.EventVMDelete || r.Busy.Ticket != n {
		t.Errorf("%+v %v", r.Busy, err)
	}
	for id, a := range map[string]domain.Actor{
		row.ID.String():     {UserID: uuid.NewString()},
		uuid.NewString():    st.dev,
		"not-an-id":         st.dev,
		row.ID.String()[1:]: st.dev,
	} {
		if _, err := st.Get(ctx, a, id); apperr.CodeOf(err) != apperr.ErrNotFound {
			t.Errorf("%s: %v", id, err)
		}
	}
}
