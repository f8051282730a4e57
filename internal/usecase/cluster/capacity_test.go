package cluster_test

import (
	"context"
	"fmt"
	"testing"

	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// TestCapacities: what a check found against what VMs ask, for those who see
// clusters.
func TestCapacities(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	east := st.stored("east", domain.Test)
	st.stored("west", domain.Prod)
	found := healthy("uid-east")
	found.Allocatable = domain.ResourceUsage{CPU: 64, MemoryMiB: 1 << 20}
	st.play.health = func(context.Context, string) domain.ClusterHealth { return found }
	if err := st.Check(ctx, east.ID.String()); err != nil {
		t.Fatal(err)
	}
	// One that may not show its nodes leaves what is known.
	found.Status, found.Nodes, found.ReadyNodes, found.Allocatable = domain.ClusterUnhealthy, 0, 0, domain.ResourceUsage{}
	if err := st.Check(ctx, east.ID.String()); err != nil {
		t.Fatal(err)
	}
	sys := st.DB.Ent.System.Create().SetName("shop").SetNamespace("n").SetEnvironment(system.EnvironmentTest).SetCreatedBy("x").SaveX(ctx)
	sv := st.DB.Ent.Service.Create().SetSystemID(sys.ID).SetName("web").SetNamespace("n").SetVMPrefix("x").SetCreatedBy("x").SaveX(ctx)
	for i, state := range []domain.VMState{domain.StateRunning, domain.StateProvisioning, domain.StateStopped, domain.StateFailed, domain.StateMissing, domain.StateDeleted} {
		st.DB.Ent.VM.Create().SetServiceID(sv.ID).SetSystemID(sys.ID).SetClusterID(east.ID).SetName(fmt.Sprint("x-", i)).SetNamespace("n").SetInstance(i + 1).
			SetEnvironment(vm.EnvironmentTest).SetCreatedBy("x").SetTicketID(1).SetTemplate("t").SetTemplateVersion(1).SetSize("s").
			SetCPU(1 << i).SetMemoryMib(1024 << i).SetDiskGib(1).SetState(vm.State(state)).SaveX(ctx)
	}
	list, err := st.Capacities(ctx, st.person("avi", domain.RoleAuditor))
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	e, w := list[0], list[1]
	if e.Name != "east" || e.Allocatable != (domain.ResourceUsage{CPU: 64, MemoryMiB: 1 << 20}) ||
		e.On != (domain.ResourceUsage{CPU: 3, MemoryMiB: 3072}) || e.Off != (domain.ResourceUsage{CPU: 4, MemoryMiB: 4096}) {
		t.Errorf("east: %+v", e)
	}
	if none := (domain.ResourceUsage{}); w.Name != "west" || w.Allocatable != none || w.On != none || w.Off != none {
		t.Errorf("west: %+v", w)
	}
	if _, err := st.Capacities(ctx, st.person("dev")); apperr.CodeOf(err) != apperr.ErrNotFound {
		t.Errorf("a developer: %v", err)
	}
}
