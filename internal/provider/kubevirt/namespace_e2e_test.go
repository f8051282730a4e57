//go:build e2e

package kubevirt

import (
	"context"
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// role is a ClusterRole with these rules.
func role(rules ...domain.ResourceRule) string { return ClusterRoleYAML(rules, "") }

// TestNamespaces: there, missing and going; made by who may, and by nobody else.
func TestNamespaces(t *testing.T) {
	p, st := testProvider(t, admin(t))
	ns, ctx := namespace(t), t.Context()
	c, err := p.clients.get(ctx, "c1")
	if err != nil {
		t.Fatal(err)
	}
	get := domain.ResourceRule{Resource: "namespaces", Verb: "get"}
	poor := serviceAccount(t, p, ns, role(get))
	other := namespace(t)
	maker := serviceAccount(t, p, other, role(get, domain.ResourceRule{Resource: "namespaces", Verb: "create"}, domain.ResourceRule{Resource: "resourcequotas", Verb: "list"}))

	fresh := ns + "-made"
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := c.kube.CoreV1().Namespaces().Delete(ctx, fresh, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	look := func(name string) domain.NamespaceState {
		t.Helper()
		s, err := p.Namespace(ctx, "c1", name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	labels := domain.NamespaceLabels(domain.Test)

	st.set("c1", poor)
	if s := look(ns); s.Presence != domain.PresencePresent || s.Quotas != nil {
		t.Errorf("one whose quotas may not be read: %+v", s)
	}
	if s := look(fresh); s.Presence != domain.PresenceMissing || s.MayCreate {
		t.Errorf("missing: %+v", s)
	}
	wantCode(t, "making one without the right", p.CreateNamespace(ctx, "c1", fresh, labels), apperr.ErrClusterForbidden)

	st.set("c1", maker)
	if s := look(fresh); s.Presence != domain.PresenceMissing || !s.MayCreate {
		t.Errorf("missing, and may be made: %+v", s)
	}
	if err := p.CreateNamespace(ctx, "c1", fresh, labels); err != nil {
		t.Fatal(err)
	}
	if s := look(fresh); s.Presence != domain.PresencePresent || s.Quotas == nil || len(s.Quotas) != 0 {
		t.Errorf("made: %+v", s)
	}
	// Again, and over somebody else's: nothing is changed.
	for _, name := range []string{fresh, ns} {
		before, err := c.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.CreateNamespace(ctx, "c1", name, map[string]string{"team": "evil"}); err != nil {
			t.Error(err)
		}
		after, err := c.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err != nil || after.ResourceVersion != before.ResourceVersion || !maps.Equal(after.Labels, before.Labels) {
			t.Errorf("%s was changed: %v, %v", name, after.Labels, err)
		}
		if name == fresh && after.Labels[domain.LabelManagedBy] != domain.ManagedBy {
			t.Errorf("labels %v", after.Labels)
		}
	}

	going, err := c.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "kvtest-", Finalizers: []string{"example.com/hold"}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, _ = c.kube.CoreV1().Namespaces().Patch(ctx, going.Name, "application/json-patch+json", []byte(`[{"op":"remove","path":"/metadata/finalizers"}]`), metav1.PatchOptions{})
	})
	if err := c.kube.CoreV1().Namespaces().Delete(ctx, going.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := look(going.Name); s.Presence != domain.PresenceTerminating {
		t.Errorf("being deleted: %+v", s)
	}
}

// TestQuotasOfNamespace: the cluster counts a VM, and we read it.
func TestQuotasOfNamespace(t *testing.T) {
	p, _ := testProvider(t, admin(t))
	ns, ctx := namespace(t), t.Context()
	c, err := p.clients.get(ctx, "c1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.kube.CoreV1().ResourceQuotas(ns).Create(ctx, &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "team"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
			"requests.cpu": resource.MustParse("4"), "requests.memory": resource.MustParse("8Gi"), "requests.storage": resource.MustParse("100Gi"),
			"count/virtualmachines.kubevirt.io": resource.MustParse("3"),
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await := func(what string, ok func(map[domain.QuotaKind]domain.Quota) bool) {
		t.Helper()
		var lines map[domain.QuotaKind]domain.Quota
		for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			s, err := p.Namespace(ctx, "c1", ns)
			if err != nil {
				t.Fatal(err)
			}
			lines = map[domain.QuotaKind]domain.Quota{}
			for _, q := range s.Quotas {
				lines[q.Kind] = q
			}
			if ok(lines) {
				return
			}
		}
		t.Fatalf("%s: never seen; last %+v", what, lines)
	}
	await("the empty quota", func(q map[domain.QuotaKind]domain.Quota) bool {
		for _, line := range q {
			if line.Used == "" { // not counted yet: the cluster would refuse the VM
				return false
			}
		}
		return len(q) == 4 && q[domain.QuotaMemory].HardValue == 8192 && q[domain.QuotaCPU].HardValue == 4000 && q[domain.QuotaStorage].HardValue == 100<<10 && q[domain.QuotaVMs].HardValue == 3
	})
	vm := spec(ns, "counted")
	vm.CPU, vm.MemoryMiB, vm.DiskGiB, vm.Running = 2, 1024, 5, true
	if _, _, err := p.CreateVM(ctx, "c1", vm); err != nil {
		t.Fatal(err)
	}
	demand := domain.Demand{VMs: 1, CPU: vm.CPU, MemoryMiB: vm.MemoryMiB, DiskGiB: vm.DiskGiB}
	// What we say that a VM takes at least is what the cluster counts at least.
	await("a VM that is counted", func(q map[domain.QuotaKind]domain.Quota) bool {
		for _, kind := range []domain.QuotaKind{domain.QuotaCPU, domain.QuotaMemory, domain.QuotaStorage, domain.QuotaVMs} {
			if q[kind].UsedValue < kind.Takes(demand) {
				return false
			}
		}
		t.Logf("counted %+v", q)
		return q[domain.QuotaVMs].UsedValue == 1
	})
}
