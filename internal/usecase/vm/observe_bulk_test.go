package vm_test

import (
	"fmt"
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
