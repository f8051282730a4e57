package kubevirt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kv "kubevirt.io/api/core/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

func rendered(t *testing.T) *kv.VirtualMachine {
	t.Helper()
	s := spec("team-a", "shop-web-01")
	s.Running = true
	vm, err := render(s)
	if err != nil {
		t.Fatal(err)
	}
	vm.UID = "u1"
	return vm
}

func condition(t string, status corev1.ConditionStatus, reason, message string) kv.VirtualMachineCondition {
	return kv.VirtualMachineCondition{Type: kv.VirtualMachineConditionType(t), Status: status, Reason: reason, Message: message}
}

func TestState(t *testing.T) {
	looked := []kv.VirtualMachineCondition{condition("Ready", "False", "VMINotExists", "")}
	tests := []struct {
		printable  string
		conditions []kv.VirtualMachineCondition
		running    bool
		deleting   bool
		want       domain.VMState
	}{
		{"", nil, true, false, domain.StateProvisioning},
		{"", nil, false, false, domain.StateProvisioning},
		{"Stopped", nil, true, false, domain.StateProvisioning}, // the default of the schema
		{"Stopped", looked, true, false, domain.StateStopped},
		{"Stopped", nil, false, false, domain.StateStopped},
		{"Running", looked, true, false, domain.StateRunning},
		{"Running", looked, true, true, domain.StateTerminating},
		{"ImagePullBackOff", looked, true, false, domain.StateImagePullBackOff},
		{"Missing", looked, true, false, domain.StateUnknown}, // ours, not theirs
		{"SomethingNew", looked, true, false, domain.StateUnknown},
	}
	for _, tt := range tests {
		vm := rendered(t)
		vm.Status.PrintableStatus = kv.VirtualMachinePrintableStatus(tt.printable)
		vm.Status.Conditions = tt.conditions
		if !tt.running {
			halted := kv.RunStrategyHalted
			vm.Spec.RunStrategy = &halted
		}
		if tt.deleting {
			vm.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		}
		if got := fromVM(vm).Status.State; got != tt.want {
			t.Errorf("%q running %v deleting %v: %s, want %s", tt.printable, tt.running, tt.deleting, got, tt.want)
		}
	}
}

func TestProblem(t *testing.T) {
	retry := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	const disk = "shop-web-01-root-0192f0c1"
	tests := []struct {
		state      string
		conditions []kv.VirtualMachineCondition
		failure    *kv.VirtualMachineStartFailure
		want       domain.Problem
	}{
		{"Running", []kv.VirtualMachineCondition{condition("Ready", "True", "", ""), condition("LiveMigratable", "True", "", "")}, nil, domain.Problem{}},
		{"ErrorUnschedulable", []kv.VirtualMachineCondition{condition("PodScheduled", "False", "Unschedulable", "0/2 nodes are available: 2 Insufficient cpu.")}, nil,
			domain.Problem{Code: domain.ProblemUnschedulable, Params: map[string]any{"resource": "cpu"}, Text: "0/2 nodes are available: 2 Insufficient cpu."}},
		{"ErrorUnschedulable", []kv.VirtualMachineCondition{condition("PodScheduled", "False", "Unschedulable", "1 node(s) had untolerated taint")}, nil,
			domain.Problem{Code: domain.ProblemUnschedulable, Text: "1 node(s) had untolerated taint"}},
		{"ImagePullBackOff", []kv.VirtualMachineCondition{condition("Synchronized", "False", "ImagePullBackOff", "manifest unknown")}, nil,
			domain.Problem{Code: domain.ProblemImagePull, Params: map[string]any{"image": "docker://quay.io/containerdisks/fedora:41"}, Text: "manifest unknown"}},
		{"DataVolumeError", nil, nil, domain.Problem{Code: domain.ProblemDataVolume, Params: map[string]any{"disk": disk}}},
		{"ErrorPvcNotFound", []kv.VirtualMachineCondition{condition("Synchronized", "False", "FailedPvcNotFound", "no pvc")}, nil,
			domain.Problem{Code: domain.ProblemPVCMissing, Params: map[string]any{"disk": disk}, Text: "no pvc"}},
		{"CrashLoopBackOff", nil, &kv.VirtualMachineStartFailure{ConsecutiveFailCount: 3, RetryAfterTimestamp: &retry},
			domain.Problem{Code: domain.ProblemCrashLoop, Params: map[string]any{"count": 3, "retry_at": "2026-01-02T03:04:05Z"}}},
		{"Stopped", []kv.VirtualMachineCondition{condition("Failure", "True", "FailedCreate", "pods is forbidden: exceeded quota: q")}, nil,
			domain.Problem{Code: domain.ProblemSyncFailed, Params: map[string]any{"reason": "FailedCreate", "quota": true}, Text: "pods is forbidden: exceeded quota: q"}},
		{"Starting", []kv.VirtualMachineCondition{condition("Synchronized", "False", "FailedCreate", "no")}, nil,
			domain.Problem{Code: domain.ProblemSyncFailed, Params: map[string]any{"reason": "FailedCreate", "quota": false}, Text: "no"}},
		{"Running", []kv.VirtualMachineCondition{condition("RestartRequired", "True", "", "a non-live-updatable field was changed"), condition("LiveMigratable", "False", "x", "")}, nil,
			domain.Problem{Code: domain.ProblemRestartRequired, Text: "a non-live-updatable field was changed"}},
		{"Running", []kv.VirtualMachineCondition{condition("LiveMigratable", "False", "DisksNotLiveMigratable", "PVC is not shared")}, nil,
			domain.Problem{Code: domain.ProblemNotMigratable, Params: map[string]any{"reason": "DisksNotLiveMigratable"}, Text: "PVC is not shared"}},
		{"Stopped", []kv.VirtualMachineCondition{condition("LiveMigratable", "False", "x", "")}, nil, domain.Problem{}},
		{"Stopping", []kv.VirtualMachineCondition{condition("Synchronized", "False", "FailedDelete", "x")}, nil, domain.Problem{}},
	}
	for _, tt := range tests {
		vm := rendered(t)
		vm.Status.PrintableStatus = kv.VirtualMachinePrintableStatus(tt.state)
		vm.Status.Conditions = append(tt.conditions, condition("Seen", "True", "", ""))
		vm.Status.StartFailure = tt.failure
		if got := fromVM(vm).Status.Problem; !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.state, got, tt.want)
		}
	}
}

// TestHostileObject: nothing foreign leaves uncleaned or without a limit.
func TestHostileObject(t *testing.T) {
	const evil = "\x1b[31m\u202e<script>\x00"
	long := evil + strings.Repeat("x", 100000)
	vm := rendered(t)
	vm.Name, vm.Namespace, vm.ResourceVersion, vm.UID = long, long, long, "u1"
	vm.Labels, vm.Annotations = map[string]string{}, map[string]string{long: long}
	for range 1000 {
		long += "x"
		vm.Labels[long[len(long)-200:]+strings.Repeat("y", len(vm.Labels))] = long
	}
	vm.Status.PrintableStatus = kv.VirtualMachinePrintableStatus(long)
	vm.Status.Conditions = []kv.VirtualMachineCondition{condition("Failure", "True", long, long)}
	vm.Spec.Template.Spec.Domain.CPU = &kv.CPU{Cores: math.MaxUint32, Sockets: math.MaxUint32, Threads: math.MaxUint32}
	vm.Spec.Instancetype = &kv.InstancetypeMatcher{Name: long}
	vm.Spec.Preference = &kv.PreferenceMatcher{Name: long}
	vm.Spec.DataVolumeTemplates[0].Name = long
	vm.Spec.DataVolumeTemplates[0].Spec.Source.Registry.URL = &long
	vm.Spec.DataVolumeTemplates[0].Spec.Storage.StorageClassName = &long
	vmi := &kv.VirtualMachineInstance{}
	yes := true
	vmi.OwnerReferences = []metav1.OwnerReference{{UID: "u1", Controller: &yes}}
	vmi.Status.NodeName = long
	vmi.Status.Interfaces = []kv.VirtualMachineInstanceNetworkInterface{{IP: long}}
	vmi.Status.GuestOSInfo.PrettyName = long

	got := fromVM(vm)
	fromVMI(vmi).join(got, time.Now())
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 1<<20 {
		t.Errorf("%d bytes of a hostile object are kept", len(b))
	}
	if s := string(b); strings.Contains(s, `\u001b`) || strings.Contains(s, `\u0000`) || strings.Contains(s, "\u202e") {
		t.Error("control characters are kept")
	}
	if got.Spec.CPU < 1 {
		t.Errorf("%d vCPU", got.Spec.CPU)
	}

	// And nothing at all is no reason to fall over.
	fromVM(&kv.VirtualMachine{})
	fromVMI(&kv.VirtualMachineInstance{}).join(&domain.VM{}, time.Time{})
	fromMigration(&kv.VirtualMachineInstanceMigration{})
	silence(&corev1.Node{})
}

// TestImpossibleObjects: what no API server would send is read like anything
// else, as far as it is a VM. Nothing knows such a name or UID, so nothing
// follows from it.
func TestImpossibleObjects(t *testing.T) {
	items := map[string]string{
		"no name":             `{"metadata":{}}`,
		"foreign kind":        `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"n"},"data":{"token":"aHVudGVyMg=="}}`,
		"version of letters":  `{"metadata":{"name":"x","namespace":"n","uid":"u","resourceVersion":"abc"}}`,
		"deleted long ago":    `{"metadata":{"name":"x","namespace":"n","uid":"u","deletionTimestamp":"1970-01-01T00:00:00Z"}}`,
		"deleted in a future": `{"metadata":{"name":"x","namespace":"n","uid":"u","deletionTimestamp":"2999-01-01T00:00:00Z"}}`,
		"made before time":    `{"metadata":{"name":"x","namespace":"n","uid":"u","creationTimestamp":"0001-01-01T00:00:00Z"},"spec":{"template":null},"status":{"printableStatus":"\u0000"}}`,
		"nothing":             `{}`,
		"null":                `null`,
	}
	for name, item := range items {
		list := `{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineList","metadata":{"resourceVersion":"1"},"items":[` + item + `,` + vmJSON(0) + `]}`
		p := scripted(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if strings.Contains(r.URL.Path, "virtualmachineinstances") {
				fmt.Fprint(w, `{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineInstanceList","metadata":{"resourceVersion":"1"},"items":[`+item+`]}`)
				return
			}
			fmt.Fprint(w, list)
		})
		vms, err := p.ListVMs(t.Context(), "c1", provider.ListOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.ContainsFunc(vms.Items, func(v *domain.VM) bool { return v.Name == "x" && v.UID == "u" }) {
			t.Errorf("%s: the good VM beside it is lost: %+v", name, vms)
		}
		if b, _ := json.Marshal(vms); bytes.Contains(b, []byte("hunter2")) || bytes.Contains(b, []byte("aHVudGVyMg")) {
			t.Errorf("%s: %s", name, b)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	want := spec("team-a", "shop-web-01")
	want.StorageClass, want.CloudInitName, want.Running = "fast", "shop-web-01-ci", true
	vm, err := render(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := fromVM(vm).Spec; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if v := vm.Spec.Template.Spec.Volumes[1].CloudInitNoCloud; v.UserData != "" || v.UserDataBase64 != "" || v.UserDataSecretRef.Name != want.CloudInitName {
		t.Errorf("cloud-init is %+v", v)
	}
	if !reflect.DeepEqual(vm.Spec.Template.ObjectMeta.Labels, want.Labels) {
		t.Error("the running instance will not have the labels that the watcher selects by")
	}
	body, err := applyBody(vm)
	if err != nil || strings.Contains(string(body), "null") || strings.Contains(string(body), `"status"`) {
		t.Errorf("%v: %s", err, body)
	}
	want.InstanceType, want.Preference, want.CPU, want.MemoryMiB = "u1.small", "fedora", 0, 0
	if vm, err = render(want); err != nil || vm.Spec.Template.Spec.Domain.CPU != nil || vm.Spec.Template.Spec.Domain.Memory != nil {
		t.Errorf("with an instance type: %v", err)
	}
}

func TestRenderRefuses(t *testing.T) {
	for field, change := range map[string]func(*domain.VMSpec){
		"cpu":         func(s *domain.VMSpec) { s.CPU = 0 },
		"memory_mib":  func(s *domain.VMSpec) { s.MemoryMiB = -1 },
		"disk_gib":    func(s *domain.VMSpec) { s.DiskGiB = 0 },
		"image":       func(s *domain.VMSpec) { s.Image = "file:///etc/passwd" },
		"annotations": func(s *domain.VMSpec) { s.Annotations = nil },
	} {
		s := spec("team-a", "shop-web-01")
		change(&s)
		_, err := render(s)
		if e, ok := apperr.From(err); !ok || e.Field() != field || e.Kind() != apperr.Invalid {
			t.Errorf("%s: %v", field, err)
		}
	}
}
