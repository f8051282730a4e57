package domain_test

import (
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

func TestRoom(t *testing.T) {
	line := func(kind domain.QuotaKind, used, hard int) domain.Quota {
		return domain.Quota{Name: string(kind), Kind: kind, UsedValue: used, HardValue: hard}
	}
	room := domain.RoomOf([]domain.Quota{
		line(domain.QuotaVMs, 8, 10), line(domain.QuotaMemory, 1024, 8192), line(domain.QuotaCPU, 0, 1000), line(domain.QuotaStorage, 90000, 80000), line("", 0, 1),
	}, domain.Demand{VMs: 1, CPU: 2, MemoryMiB: 2048, DiskGiB: 10})
	left := map[domain.QuotaKind]int{domain.QuotaVMs: 1, domain.QuotaMemory: 5120, domain.QuotaCPU: 800, domain.QuotaStorage: 0}
	if len(room.Quotas) != len(left) {
		t.Errorf("lines %+v", room.Quotas)
	}
	for _, q := range room.Quotas {
		if got := room.Left(q); got != left[q.Kind] {
			t.Errorf("%s: %d left, want %d", q.Kind, got, left[q.Kind])
		}
	}
	for name, c := range map[string]struct {
		demand domain.Demand
		short  []domain.QuotaKind
	}{
		"nothing":    {domain.Demand{}, nil},
		"fits":       {domain.Demand{VMs: 1, CPU: 8, MemoryMiB: 5120}, nil},
		"one VM":     {domain.Demand{VMs: 2}, []domain.QuotaKind{domain.QuotaVMs}},
		"memory":     {domain.Demand{VMs: 1, MemoryMiB: 5121}, []domain.QuotaKind{domain.QuotaMemory}},
		"everything": {domain.Demand{VMs: 9, CPU: 99, MemoryMiB: 9999, DiskGiB: 1}, []domain.QuotaKind{domain.QuotaCPU, domain.QuotaMemory, domain.QuotaStorage, domain.QuotaVMs}},
	} {
		short := room.Short(c.demand)
		ok := len(short) == len(c.short)
		for i := range short {
			ok = ok && short[i].Kind == c.short[i]
		}
		if !ok {
			t.Errorf("%s: short of %+v, want %v", name, short, c.short)
		}
	}
	if q := room.Tightest(domain.Demand{}); q == nil || q.Kind != domain.QuotaStorage {
		t.Errorf("tightest %+v", q)
	}
	if q := (domain.Room{}).Tightest(domain.Demand{}); q != nil {
		t.Errorf("tightest of nothing %+v", q)
	}
}

// Every kind that there is takes something of a VM: one that takes nothing could
// never be found short.
func TestQuotaKinds(t *testing.T) {
	for _, k := range domain.QuotaKinds() {
		if k.Takes(domain.Demand{VMs: 1, CPU: 1, MemoryMiB: 1, DiskGiB: 1}) == 0 {
			t.Errorf("%s takes nothing", k)
		}
	}
	for resource, want := range map[string]domain.QuotaKind{
		"requests.memory": domain.QuotaMemory, "memory": domain.QuotaMemory, "count/virtualmachines.kubevirt.io": domain.QuotaVMs,
		"services": "", "gold.storageclass.storage.k8s.io/requests.storage": "",
	} {
		if got := domain.QuotaKindOf(resource); got != want {
			t.Errorf("%s: %q", resource, got)
		}
	}
}

func TestSystemNamespace(t *testing.T) {
	for name, want := range map[string]bool{
		"kube-system": true, "kube-node-lease": true, "openshift-cnv": true, "openshift": true, "default": true, "kubevirt": true, "cdi": true, "kubevirt-shepherd": true,
		"shop": false, "shop-system": false, "kubernetes": false, "my-kube-apps": false, "kubevirt-vms": false, "openshifter": false,
	} {
		if got := domain.SystemNamespace(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
