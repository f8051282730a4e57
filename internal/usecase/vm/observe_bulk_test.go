package vm_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// observed is how many observations a watcher hands over in one call.
const observed = 200

// fleet makes n VMs that the cluster runs, as rows and as objects.
func (st *stage) fleet(n int) []*domain.VM {
	st.t.Helper()
	ctx := st.t.Context()
	ticket, _ := st.approve(1)
	rows := make([]*ent.VMCreate, 0, n)
	objects := make([]*domain.VM, 0, n)
	for i := range n {
		name, uid := fmt.Sprintf("shop-redis-%04d", i+2), uuid.NewString()
		rows = append(rows, st.ent.VM.Create().SetServiceID(st.service.ID).SetSystemID(st.service.SystemID).SetClusterID(st.cluster.ID).
			SetName(name).SetNamespace("team-a").SetInstance(i+2).SetEnvironment(entvm.EnvironmentTest).SetCreatedBy("dev").SetTicketID(ticket).
			SetTemplate("ubuntu").SetTemplateVersion(1).SetSize("small").SetCPU(2).SetMemoryMib(4096).SetDiskGib(20).
			SetState(entvm.StateProvisioning).SetHealth(entvm.HealthBusy).SetUID(uid))
		objects = append(objects, &domain.VM{Namespace: "team-a", Name: name, UID: uid})
	}
	for part := range (n + 499) / 500 {
		st.ent.VM.CreateBulk(rows[part*500 : min(n, part*500+500)]...).ExecX(ctx)
	}
	st.sql(`UPDATE services SET vm_count = vm_count + $1 WHERE id = $2`, n, st.service.ID)
	st.sql(`UPDATE systems SET vm_count = vm_count + $1 WHERE id = $2`, n, st.service.SystemID)
	st.sql(`UPDATE clusters SET vm_count = vm_count + $1 WHERE id = $2`, n, st.cluster.ID)
	return objects
}

// list hands a complete list to the sink as a watcher does, and says in how
// many calls.
func (st *stage) list(objects []*domain.VM, version string, s domain.VMState) (calls int) {
	st.t.Helper()
	for part := range (len(objects) + observed - 1) / observed {
		var batch []provider.Observation
		for _, v := range objects[part*observed : min(len(objects), part*observed+observed)] {
			v = seen(v, version, s)
			v.Status.IP, v.Status.Node, v.Status.GuestOS = "10.0.0.1", "node-1", "Ubuntu 24.04"
			batch = append(batch, provider.Observation{VM: v})
		}
		if err := st.Observe(st.t.Context(), st.cluster.ID.String(), batch); err != nil {
			st.t.Fatal(err)
		}
		calls++
	}
	return calls
}

// TestObserveFleet: a complete list of a thousand VMs is taken in, again without
// news, and again with news about each.
func TestObserveFleet(t *testing.T) {
	st := newStage(t)
	objects := st.fleet(1000)
	for i, step := range []struct {
		version string
		state   domain.VMState
	}{{"100", domain.StateRunning}, {"100", domain.StateRunning}, {"101", domain.StateCrashLoopBackOff}, {"102", domain.StateRunning}} {
		began := time.Now()
		calls := st.list(objects, step.version, step.state)
		t.Logf("list %d (%s): %d VMs in %v, %d transactions", i+1, step.state, len(objects), time.Since(began).Round(time.Millisecond), calls)
		bad := 0
		if step.state.Health() == domain.HealthBad {
			bad = len(objects)
		}
		st.wantCounts(len(objects)+1, bad)
	}
}

// TestObserveRace: whatever order batches come in, the newest version is what
// stays, and the counters are right.
func TestObserveRace(t *testing.T) {
	st := newStage(t)
	objects := st.fleet(40)
	const batches = 200
	states := []domain.VMState{domain.StateRunning, domain.StateCrashLoopBackOff, domain.StateStopped, domain.StateErrImagePull}
	order := rand.Perm(batches)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, i := range order {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			batch := make([]provider.Observation, 0, len(objects))
			for _, k := range rand.Perm(len(objects)) {
				v := seen(objects[k], strconv.Itoa(i+8), states[i%len(states)]) // 8 to 207: by number, not by text
				v.Status.IP = fmt.Sprint("10.0.0.", i)
				batch = append(batch, provider.Observation{VM: v})
			}
			if err := st.Observe(t.Context(), st.cluster.ID.String(), batch); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	last := batches - 1
	for _, r := range st.ent.VM.Query().Where(entvm.UIDNEQ("")).AllX(t.Context()) {
		if r.ResourceVersion != strconv.Itoa(last+8) || r.IPAddress != fmt.Sprint("10.0.0.", last) || string(r.State) != string(states[last%len(states)]) {
			t.Errorf("%s is %s at %s with %s", r.Name, r.State, r.ResourceVersion, r.IPAddress)
		}
	}
	bad := 0
	if states[last%len(states)].Health() == domain.HealthBad {
		bad = len(objects)
	}
	st.wantCounts(len(objects)+1, bad)
}

// TestObserveTells: a batch is one message to the pages, and one without news is
// none; nor is one that was seen a moment ago written again.
func TestObserveTells(t *testing.T) {
	st := newStage(t)
	objects := st.fleet(100)
	told := make(chan int, 64)
	ready := make(chan struct{})
	go func() {
		_ = st.db.Listen(t.Context(), func() { close(ready) }, func(topics []string) { told <- len(topics) })
	}()
	<-ready
	st.list(objects, "10", domain.StateRunning)
	st.list(objects, "10", domain.StateRunning)
	st.list(objects, "9", domain.StateStopped)
	st.list(objects, "11", domain.StateRunning) // another version, and nothing that a page shows
	st.list(objects[:1], "12", domain.StateStopped)
	for _, want := range []int{100 + 3, 1 + 3} { // each VM, their service, the tree, the ticket
		select {
		case got := <-told:
			if got != want {
				t.Errorf("%d topics, want %d", got, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("nobody was told")
		}
	}
	select {
	case n := <-told:
		t.Errorf("one message more, of %d topics", n)
	case <-time.After(100 * time.Millisecond):
	}
	var versions int
	if err := st.db.Pool.QueryRow(t.Context(), `SELECT count(DISTINCT updated_at) FROM vms WHERE uid <> '' AND resource_version = '11'`).Scan(&versions); err != nil || versions != 1 {
		t.Errorf("%d, %v", versions, err)
	}
}

// TestObservePoison: a cluster cannot stop its own observations with text that
// the database does not take.
func TestObservePoison(t *testing.T) {
	st := newStage(t)
	objects := st.fleet(2)
	evil := seen(objects[0], "5", domain.StateRunning)
	evil.Status.IP, evil.Status.Node, evil.Annotations = "\x00", "\xff\xfe", map[string]string{domain.AnnotationOperation: "\x00"}
	evil.Status.Problem = domain.Problem{Code: "X\x00", Text: "\x00", Params: map[string]any{"a\x00": "b\x00"}}
	stranger := &domain.VM{Namespace: "\x00", Name: "\x00'; --", UID: "\x00", ResourceVersion: "1e9"}
	st.see(false, stranger, evil, seen(objects[1], "6", domain.StateRunning))
	for _, v := range objects {
		if r := st.ent.VM.Query().Where(entvm.Name(v.Name)).OnlyX(t.Context()); r.State != entvm.StateRunning {
			t.Errorf("%s is %s", r.Name, r.State)
		}
	}
}
