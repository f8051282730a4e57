// Package providertest is the suite that every provider must pass against a
// running control plane. It knows nothing but the contracts of package
// provider, and cleans up what it makes.
package providertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// patience is how long the suite waits for a VM to get where it should; the
// promise of the product for a fresh VM on an idle test bed.
const patience = 30 * time.Second

type suite struct {
	provider.KubeVirtProvider
	cluster, namespace string
	record             *Recorder
	id                 string // of this run, in every name
}

// Run runs the suite against a cluster, in a namespace that exists and may be
// filled. A provider that is a provider.Watcher is watched all the while.
func Run(t *testing.T, p provider.KubeVirtProvider, cluster, namespace string) {
	watcher, ok := p.(provider.Watcher)
	if !ok {
		t.Fatalf("%T is no provider.Watcher", p)
	}
	s := &suite{p, cluster, namespace, NewRecorder(), fmt.Sprintf("%05x", rand.N(1<<20))}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- watcher.Watch(ctx, cluster, s.record, func(time.Time) {}) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err == nil {
				t.Error("Watch ended without a cause")
			}
		case <-time.After(5 * time.Second):
			t.Error("Watch did not end with its context")
		}
	})

	if p.Type() == "" {
		t.Error("Type is empty")
	}
	t.Run("Health", s.health)
	t.Run("InstanceTypes", s.instanceTypes)
	t.Run("Namespaces", s.namespaces)
	t.Run("Refused", s.refused)
	t.Run("Lifecycle", s.lifecycle)
	t.Run("Problems", s.problems)
	t.Run("List", s.list)
	t.Run("Context", s.context)
	t.Run("NotImplemented", s.notImplemented)
}

func (s *suite) spec(name string) domain.VMSpec {
	return domain.VMSpec{
		Name: name + "-" + s.id, Namespace: s.namespace,
		Labels:      domain.VMLabels("suite", name, 1, 7),
		Annotations: map[string]string{domain.AnnotationOperation: s.op(name), domain.AnnotationSpecHash: "c0ffee"},
		CPU:         2, MemoryMiB: 1024, DiskGiB: 5, Image: "docker://quay.io/containerdisks/fedora:41", Running: true,
	}
}

// op is an operation id whose first characters differ from VM to VM.
func (s *suite) op(name string) string { return fmt.Sprintf("%s-%s", s.id, name) }

func (s *suite) ref(vm *domain.VM) provider.Ref {
	return provider.Ref{Cluster: s.cluster, Namespace: vm.Namespace, Name: vm.Name, UID: vm.UID}
}

// create makes a VM and removes it at the end of the test.
func (s *suite) create(t *testing.T, spec domain.VMSpec) *domain.VM {
	t.Helper()
	vm, created, err := s.CreateVM(t.Context(), s.cluster, spec)
	if err != nil || !created {
		t.Fatalf("CreateVM(%s): created %v, %v", spec.Name, created, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := s.DeleteVM(ctx, s.ref(vm)); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	return vm
}

func wantCode(t *testing.T, what string, err error, code string) *apperr.AppError {
	t.Helper()
	e, ok := apperr.From(err)
	if !ok || e.Code != code {
		t.Fatalf("%s: got %v, want %s", what, err, code)
	}
	return e
}

func inState(want domain.VMState) func(*domain.VM) bool {
	return func(vm *domain.VM) bool { return vm.Status.State == want }
}

func (s *suite) health(t *testing.T) {
	h := s.CheckHealth(t.Context(), s.cluster, false)
	if h.Status != domain.ClusterHealthy || !h.Reason.IsZero() {
		t.Fatalf("health is %s, %+v", h.Status, h.Reason)
	}
	if h.KubeVirtVersion == "" || h.IdentityUID == "" || h.Nodes == 0 || h.ReadyNodes == 0 || h.Allocatable.CPU == 0 || h.Allocatable.MemoryMiB == 0 || len(h.Capabilities.Kubelets) == 0 || h.CheckedAt.IsZero() {
		t.Errorf("health is not complete: %+v", h)
	}
	if !slices.Contains(h.Features, "LiveMigration") { // generally available before 1.0
		t.Errorf("features are %q", h.Features)
	}
	if !h.DescribedAt.IsZero() || h.KubernetesVersion != "" || h.StorageClasses != nil || h.Capabilities.APIs != nil {
		t.Errorf("a regular check describes: %+v", h)
	}
	d := s.CheckHealth(t.Context(), s.cluster, true)
	if d.Status != domain.ClusterHealthy || d.DescribedAt.IsZero() || !d.Gap.IsZero() || d.KubernetesVersion == "" || len(d.StorageClasses) == 0 {
		t.Errorf("the description is not complete: %+v", d)
	}
	if c := d.Capabilities; c.InstanceTypes == 0 || c.Preferences == 0 || !c.Serves("kubevirt.io") || !c.Serves("cdi.kubevirt.io") || !c.Serves("instancetype.kubevirt.io") || c.Serves("apps") {
		t.Errorf("capabilities are %+v", c)
	}
}

func (s *suite) namespaces(t *testing.T) {
	p, ok := s.KubeVirtProvider.(provider.Namespaces)
	if !ok {
		t.Fatalf("%T is no provider.Namespaces", s.KubeVirtProvider)
	}
	if n, err := p.Namespace(t.Context(), s.cluster, s.namespace); err != nil || n.Presence != domain.PresencePresent || n.MayCreate {
		t.Errorf("the suite's own: %+v, %v", n, err)
	}
	if n, err := p.Namespace(t.Context(), s.cluster, "no-such-"+s.id); err != nil || n.Presence != domain.PresenceMissing || n.Quotas != nil {
		t.Errorf("one that is not there: %+v, %v", n, err)
	}
	if _, err := p.Namespace(t.Context(), "no-such-cluster", s.namespace); err == nil {
		t.Error("an unknown cluster answers")
	}
}

func (s *suite) instanceTypes(t *testing.T) {
	types, err := s.ListInstanceTypes(t.Context(), s.cluster)
	if err != nil || len(types) == 0 {
		t.Fatalf("%d instance types, %v", len(types), err)
	}
	for _, it := range types {
		if it.Name == "" || it.CPU < 1 || it.MemoryMiB < 1 {
			t.Errorf("instance type is not complete: %+v", it)
		}
	}
	preferences, err := s.ListPreferences(t.Context(), s.cluster)
	if err != nil || len(preferences) == 0 {
		t.Fatalf("%d preferences, %v", len(preferences), err)
	}

	spec := s.spec("typed")
	spec.CPU, spec.MemoryMiB, spec.Running = 0, 0, false
	spec.InstanceType, spec.Preference = types[0].Name, preferences[0].Name
	vm := s.create(t, spec)
	if vm.Spec.InstanceType != spec.InstanceType || vm.Spec.Preference != spec.Preference {
		t.Errorf("instance type and preference came back as %q, %q", vm.Spec.InstanceType, vm.Spec.Preference)
	}
}

// refused: what a cluster does not take leaves nothing behind.
func (s *suite) refused(t *testing.T) {
	ctx := t.Context()
	bad := s.spec("bad")
	// KubeVirt's own types: Windows 11 needs far more than the smallest one has.
	bad.InstanceType, bad.Preference = "u1.nano", "windows.11"
	_, _, err := s.CreateVM(ctx, s.cluster, bad)
	e := wantCode(t, "CreateVM of Windows on the smallest instance type", err, apperr.ErrSpecRejected)
	if text, _ := e.Params["text"].(string); text == "" {
		t.Error("SPEC_REJECTED does not say why")
	}
	_, err = s.GetVM(ctx, provider.Ref{Cluster: s.cluster, Namespace: s.namespace, Name: bad.Name})
	wantCode(t, "GetVM of a refused VM", err, apperr.ErrVMNotFound)

	verdict, err := s.ValidateSpec(ctx, s.cluster, bad)
	if err != nil || verdict.Valid || len(verdict.Problems) == 0 || verdict.Problems[0].Text == "" {
		t.Errorf("ValidateSpec of a bad spec: %+v, %v", verdict, err)
	}
	good := s.spec("good")
	if verdict, err = s.ValidateSpec(ctx, s.cluster, good); err != nil || !verdict.Valid {
		t.Errorf("ValidateSpec of a good spec: %+v, %v", verdict, err)
	}
	_, err = s.GetVM(ctx, provider.Ref{Cluster: s.cluster, Namespace: s.namespace, Name: good.Name})
	wantCode(t, "GetVM after a dry run", err, apperr.ErrVMNotFound)

	lost := s.spec("lost")
	lost.Namespace = "no-such-namespace-" + s.id
	_, _, err = s.CreateVM(ctx, s.cluster, lost)
	wantCode(t, "CreateVM in no namespace", err, apperr.ErrNamespaceMissing)

	anonymous := s.spec("anonymous")
	anonymous.Annotations = nil
	if _, _, err = s.CreateVM(ctx, s.cluster, anonymous); apperr.KindOf(err) != apperr.Invalid {
		t.Errorf("CreateVM without an operation id: %v", err)
	}
}

func (s *suite) lifecycle(t *testing.T) {
	ctx := t.Context()
	spec := s.spec("life")
	spec.CloudInitName = spec.Name + "-ci"
	ci := provider.CloudInit{Namespace: s.namespace, Name: spec.CloudInitName, OperationID: s.op("life"), Labels: spec.Labels, UserData: domain.Secret("#cloud-config\n")}
	for range 2 { // the second time it is ours already
		if err := s.EnsureCloudInit(ctx, s.cluster, ci); err != nil {
			t.Fatalf("EnsureCloudInit: %v", err)
		}
	}
	foreign := ci
	foreign.OperationID = "somebody-else"
	wantCode(t, "EnsureCloudInit over another Secret", s.EnsureCloudInit(ctx, s.cluster, foreign), apperr.ErrNameCollision)

	vm := s.create(t, spec)
	ref := s.ref(vm)
	if vm.UID == "" || vm.OperationID() != s.op("life") || vm.Cluster != s.cluster {
		t.Fatalf("CreateVM answered %+v", vm)
	}
	if err := s.AdoptCloudInit(ctx, ref, spec.CloudInitName); err != nil {
		t.Fatalf("AdoptCloudInit: %v", err)
	}

	again, created, err := s.CreateVM(ctx, s.cluster, spec)
	if err != nil || created || again.UID != vm.UID {
		t.Errorf("CreateVM again: created %v, %v", created, err)
	}
	other := s.spec("life")
	other.Annotations[domain.AnnotationOperation] = "somebody-else"
	other.CPU = 4
	_, _, err = s.CreateVM(ctx, s.cluster, other)
	wantCode(t, "CreateVM over another VM", err, apperr.ErrNameCollision)

	running := s.record.WaitVM(t, s.namespace, spec.Name, "runs with an address", patience, func(vm *domain.VM) bool {
		return vm.Status.State == domain.StateRunning && vm.Status.IP != "" && vm.Status.Node != "" && vm.Status.StartedAt != nil
	})
	if running.UID != vm.UID || running.OperationID() != s.op("life") || running.Labels[domain.LabelTicket] != "TKT-7" {
		t.Errorf("the watcher lost something: %+v", running)
	}
	if !running.Status.Problem.IsZero() {
		t.Errorf("a running VM has the problem %+v", running.Status.Problem)
	}
	read, err := s.GetVM(ctx, ref)
	if err != nil {
		t.Fatalf("GetVM: %v", err)
	}
	if read.Spec.CPU != 2 || read.Spec.MemoryMiB != 1024 || read.Spec.DiskGiB != 5 || read.Spec.Image != spec.Image || !read.Spec.Running || read.Spec.CloudInitName != spec.CloudInitName {
		t.Errorf("the spec came back as %+v", read.Spec)
	}
	if read.Status.IP != running.Status.IP || read.Status.State != domain.StateRunning {
		t.Errorf("GetVM says %+v, the watcher %+v", read.Status, running.Status)
	}

	t.Run("Update", func(t *testing.T) { s.update(t, ref, spec) })
	t.Run("Power", func(t *testing.T) { s.power(t, ref) })
	t.Run("Migrate", func(t *testing.T) { s.migrate(t, ref) })

	stranger := ref
	stranger.UID = "00000000-0000-0000-0000-000000000000"
	if err := s.DeleteVM(ctx, stranger); err != nil {
		t.Errorf("DeleteVM with another UID: %v", err)
	}
	if read, err = s.GetVM(ctx, ref); err != nil || read.Deleting {
		t.Fatalf("DeleteVM with another UID did something: %v", err)
	}
	unknown := ref
	unknown.UID = ""
	wantCode(t, "DeleteVM without a UID", s.DeleteVM(ctx, unknown), apperr.ErrUIDMismatch)

	if err := s.DeleteVM(ctx, ref); err != nil {
		t.Fatalf("DeleteVM: %v", err)
	}
	s.record.Wait(t, spec.Name+" is seen deleted", patience, func() bool { return s.record.Deleted(s.namespace, spec.Name) == vm.UID })
	if err := s.DeleteVM(ctx, ref); err != nil {
		t.Errorf("DeleteVM again: %v", err)
	}
	_, err = s.GetVM(ctx, ref)
	wantCode(t, "GetVM of a deleted VM", err, apperr.ErrVMNotFound)

	// The VM owned its Secret, so its name is free again.
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		if err = s.EnsureCloudInit(ctx, s.cluster, foreign); err == nil {
			break
		}
		if wantCode(t, "EnsureCloudInit after the VM", err, apperr.ErrNameCollision); time.Now().After(end) {
			t.Fatal("the Secret was not removed together with its VM")
		}
	}
}

func (s *suite) update(t *testing.T, ref provider.Ref, spec domain.VMSpec) {
	ctx := t.Context()
	spec.MemoryMiB = 2048
	spec.Running = false // not part of an update
	spec.Annotations = map[string]string{domain.AnnotationSpecHash: "decaf"}
	delete(spec.Labels, domain.LabelTicket)
	for range 2 {
		vm, err := s.UpdateVM(ctx, ref, spec)
		if err != nil {
			t.Fatalf("UpdateVM: %v", err)
		}
		if vm.UID != ref.UID || vm.Spec.MemoryMiB != 2048 || !vm.Spec.Running || vm.Annotations[domain.AnnotationSpecHash] != "decaf" {
			t.Errorf("UpdateVM answered %+v", vm)
		}
		if vm.OperationID() != s.op("life") {
			t.Errorf("UpdateVM changed the operation id to %q", vm.OperationID())
		}
		if _, there := vm.Labels[domain.LabelTicket]; there {
			t.Error("UpdateVM kept a label that the spec no longer has")
		}
	}
	ref.UID = "00000000-0000-0000-0000-000000000000"
	_, err := s.UpdateVM(ctx, ref, spec)
	wantCode(t, "UpdateVM with another UID", err, apperr.ErrUIDMismatch)
	ref.Name, ref.UID = "nobody-"+s.id, ""
	_, err = s.UpdateVM(ctx, ref, spec)
	wantCode(t, "UpdateVM of nothing", err, apperr.ErrVMNotFound)
}

func (s *suite) power(t *testing.T, ref provider.Ref) {
	ctx := t.Context()
	wait := func(state domain.VMState) *domain.VM {
		t.Helper()
		return s.record.WaitVM(t, ref.Namespace, ref.Name, "is "+string(state), patience, inState(state))
	}
	do := func(what string, f func(context.Context, provider.Ref) error) {
		t.Helper()
		if err := f(ctx, ref); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	stranger := ref
	stranger.UID = "00000000-0000-0000-0000-000000000000"
	wantCode(t, "StopVM with another UID", s.StopVM(ctx, stranger), apperr.ErrUIDMismatch)
	wantCode(t, "StartVM of a running VM", s.StartVM(ctx, ref), apperr.ErrVMState)

	do("PauseVM", s.PauseVM)
	wait(domain.StatePaused)
	do("UnpauseVM", s.UnpauseVM)
	before := wait(domain.StateRunning).Status.StartedAt

	do("RestartVM", s.RestartVM)
	s.record.WaitVM(t, ref.Namespace, ref.Name, "has started again", patience, func(vm *domain.VM) bool {
		at := vm.Status.StartedAt
		return vm.Status.State == domain.StateRunning && at != nil && at.After(*before)
	})

	do("StopVM", s.StopVM)
	if vm := wait(domain.StateStopped); vm.Status.IP != "" || vm.Spec.Running {
		s.record.WaitVM(t, ref.Namespace, ref.Name, "is off without an address", patience, func(vm *domain.VM) bool {
			return vm.Status.State == domain.StateStopped && vm.Status.IP == "" && !vm.Spec.Running
		})
	}
	wantCode(t, "StopVM of a stopped VM", s.StopVM(ctx, ref), apperr.ErrVMState)
	wantCode(t, "RestartVM of a stopped VM", s.RestartVM(ctx, ref), apperr.ErrVMState)
	wantCode(t, "PauseVM of a stopped VM", s.PauseVM(ctx, ref), apperr.ErrVMState)
	_, err := s.MigrateVM(ctx, ref)
	wantCode(t, "MigrateVM of a stopped VM", err, apperr.ErrVMState)
	do("StartVM", s.StartVM)
	wait(domain.StateRunning)

	nobody := provider.Ref{Cluster: s.cluster, Namespace: s.namespace, Name: "nobody-" + s.id}
	wantCode(t, "StartVM of nothing", s.StartVM(ctx, nobody), apperr.ErrVMNotFound)
}

func (s *suite) migrate(t *testing.T, ref provider.Ref) {
	ctx := t.Context()
	before := s.record.WaitVM(t, ref.Namespace, ref.Name, "runs", patience, inState(domain.StateRunning))
	m, err := s.MigrateVM(ctx, ref)
	if err != nil {
		t.Fatalf("MigrateVM: %v", err)
	}
	for end := time.Now().Add(2 * patience); !m.Phase.Finished(); time.Sleep(200 * time.Millisecond) {
		if m, err = s.GetVMMigration(ctx, s.cluster, s.namespace, m.Name); err != nil {
			t.Fatalf("GetVMMigration: %v", err)
		}
		if time.Now().After(end) {
			t.Fatalf("the migration is still %q", m.Phase)
		}
	}
	if m.Phase != "Succeeded" || m.VM != ref.Name || m.FinishedAt == nil {
		t.Errorf("the migration ended as %+v", m)
	}
	s.record.WaitVM(t, ref.Namespace, ref.Name, "runs on another node", patience, func(vm *domain.VM) bool {
		return vm.Status.State == domain.StateRunning && vm.Status.Node != before.Status.Node
	})
	_, err = s.GetVMMigration(ctx, s.cluster, s.namespace, "nothing")
	wantCode(t, "GetVMMigration of nothing", err, apperr.ErrNotFound)
}

// problems: what goes wrong has a code and the cluster's own words.
func (s *suite) problems(t *testing.T) {
	huge := s.spec("huge")
	huge.MemoryMiB = 64 << 20 // 64 TiB: no node has it
	image := s.spec("image")
	image.Image = "docker://quay.io/does-not-exist:1"
	s.create(t, huge)
	s.create(t, image)

	broken := s.record.WaitVM(t, s.namespace, image.Name, "says that its image is missing", patience, inState(domain.StateDataVolumeError))
	if p := broken.Status.Problem; p.Code != domain.ProblemDataVolume || p.Text == "" || p.Params["disk"] == "" {
		t.Errorf("the problem of a missing image is %+v", p)
	}
	stuck := s.record.WaitVM(t, s.namespace, huge.Name, "says that it fits nowhere", patience, inState(domain.StateErrorUnschedulable))
	if p := stuck.Status.Problem; p.Code != domain.ProblemUnschedulable || p.Text == "" || p.Params["resource"] != "memory" {
		t.Errorf("the problem of a VM that fits nowhere is %+v", p)
	}
}

func (s *suite) list(t *testing.T) {
	ctx := t.Context()
	want := map[string]bool{}
	for _, n := range []string{"list1", "list2", "list3"} {
		spec := s.spec(n)
		spec.Running = false
		want[s.create(t, spec).Name] = true
	}
	opt := provider.ListOptions{Namespace: s.namespace, Selector: domain.ManagedSelector, Limit: 2}
	for pages := 0; ; pages++ {
		page, err := s.ListVMs(ctx, s.cluster, opt)
		if err != nil {
			t.Fatalf("ListVMs: %v", err)
		}
		if len(page.Items) > opt.Limit {
			t.Errorf("a page of %d for a limit of %d", len(page.Items), opt.Limit)
		}
		for _, vm := range page.Items {
			delete(want, vm.Name)
		}
		if opt.Continue = page.Continue; opt.Continue == "" {
			if pages == 0 {
				t.Error("there was one page only")
			}
			break
		}
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
	none, err := s.ListVMs(ctx, s.cluster, provider.ListOptions{Namespace: s.namespace, Selector: domain.LabelSystem + "=nobody"})
	if err != nil || len(none.Items) != 0 {
		t.Errorf("a selector that fits nothing lists %v, %v", none, err)
	}
}

// context: calls end with their context, with an error that can be repeated.
func (s *suite) context(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := s.GetVM(ctx, provider.Ref{Cluster: s.cluster, Namespace: s.namespace, Name: "nobody"})
	if apperr.KindOf(err) != apperr.Unavailable {
		t.Errorf("GetVM after its deadline: %v", err)
	}
	if h := s.CheckHealth(ctx, s.cluster, false); h.Status != domain.ClusterUnreachable {
		t.Errorf("health after the deadline is %s", h.Status)
	}
}

func (s *suite) notImplemented(t *testing.T) {
	ctx := t.Context()
	_, clone := s.CloneVM(ctx, provider.Ref{}, "x")
	_, snapshot := s.CreateSnapshot(ctx, provider.Ref{}, "x")
	_, console := s.OpenConsole(ctx, provider.Ref{}, "vnc")
	for what, err := range map[string]error{"CloneVM": clone, "CreateSnapshot": snapshot, "OpenConsole": console} {
		if code := apperr.CodeOf(err); code != apperr.ErrNotImplemented {
			t.Logf("%s is there (%v): extend this suite", what, err)
		}
	}
}
