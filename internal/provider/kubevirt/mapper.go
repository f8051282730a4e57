package kubevirt

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	kv "kubevirt.io/api/core/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// maxPairs bounds the labels and annotations that are read of one object.
const maxPairs = 100

func clean(s string) string { return domain.CleanText(s, maxText) }

// name cleans what should be a name and so is never longer than 253.
func name(s string) string { return domain.CleanText(s, 253) }

func pairs(m map[string]string) map[string]string {
	out := make(map[string]string, min(len(m), maxPairs))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if len(out) == maxPairs {
			break
		}
		out[domain.CleanText(k, 320)] = clean(m[k])
	}
	return out
}

// fromVM maps a VirtualMachine. What only the running instance knows (address,
// node, guest) is added by instance.join.
func fromVM(vm *kv.VirtualMachine) *domain.VM { return cutVM(vm).mapped() }

// mapped is what a VirtualMachine says of itself.
func (vm *liteVM) mapped() *domain.VM {
	meta := &vm.Metadata
	v := &domain.VM{
		Namespace:       name(meta.Namespace),
		Name:            name(meta.Name),
		UID:             name(meta.UID),
		ResourceVersion: name(meta.ResourceVersion),
		Labels:          pairs(meta.Labels),
		Annotations:     pairs(meta.Annotations),
		CreatedAt:       meta.CreationTimestamp.UTC(),
		Deleting:        meta.DeletionTimestamp != nil,
	}
	v.Spec = specOf(vm)
	v.Spec.Labels, v.Spec.Annotations = v.Labels, v.Annotations
	v.Status = domain.VMStatus{State: stateOf(vm, v.Spec.Running), ObservedAt: time.Now().UTC()}
	v.Status.Problem = problemOf(vm, v.Status.State)
	return v
}

// stateOf reads printableStatus. Until virt-controller has looked at a new VM
// the field is empty, or "Stopped" by the schema's default.
func stateOf(vm *liteVM, running bool) domain.VMState {
	state := domain.VMState(vm.Status.PrintableStatus)
	switch {
	case vm.Metadata.DeletionTimestamp != nil:
		return domain.StateTerminating
	case state == "", state == domain.StateStopped && running && len(vm.Status.Conditions) == 0:
		return domain.StateProvisioning
	case !slices.Contains(printable, state):
		return domain.StateUnknown
	}
	return state
}

// printable are the states that KubeVirt may name; the others of domain are ours.
var printable = slices.DeleteFunc(domain.VMStates(), func(s domain.VMState) bool {
	switch s {
	case domain.StateRequested, domain.StateFailed, domain.StateDeleted, domain.StateMissing:
		return true
	}
	return false
})

func specOf(vm *liteVM) domain.VMSpec {
	s := domain.VMSpec{Name: name(vm.Metadata.Name), Namespace: name(vm.Metadata.Namespace)}
	switch running, strategy := vm.Spec.Running, vm.Spec.RunStrategy; { // one of the two, or none
	case running != nil:
		s.Running = *running && strategy == nil
	case strategy != nil:
		s.Running = *strategy != string(kv.RunStrategyHalted)
	}
	if t := vm.Spec.Template; t != nil {
		if c := t.Spec.Domain.CPU; c != nil {
			s.CPU = factor(c.Cores) * factor(c.Sockets) * factor(c.Threads)
		}
		if m := t.Spec.Domain.Memory; m != nil && m.Guest != nil {
			s.MemoryMiB = int(m.Guest.Value() >> 20)
		}
		for _, vol := range t.Spec.Volumes {
			if c := vol.CloudInitNoCloud; c != nil && c.UserDataSecretRef != nil {
				s.CloudInitName = name(c.UserDataSecretRef.Name)
			}
		}
	}
	if i := vm.Spec.Instancetype; i != nil {
		s.InstanceType = name(i.Name)
	}
	if p := vm.Spec.Preference; p != nil {
		s.Preference = name(p.Name)
	}
	if len(vm.Spec.DataVolumeTemplates) > 0 {
		root := vm.Spec.DataVolumeTemplates[0].Spec
		if src := root.Source; src != nil {
			switch {
			case src.Registry != nil && src.Registry.URL != nil:
				s.Image = clean(*src.Registry.URL)
			case src.HTTP != nil:
				s.Image = clean(src.HTTP.URL)
			}
		}
		if st := root.Storage; st != nil {
			s.DiskGiB = int(st.Resources.Requests.Storage.Value() >> 30)
			if st.StorageClassName != nil {
				s.StorageClass = name(*st.StorageClassName)
			}
		}
	}
	return s
}

// factor reads one number of a CPU topology: 0 means 1, and no product overflows.
func factor(n uint32) int { return int(min(max(n, 1), 1<<16)) }

var insufficient = regexp.MustCompile(`Insufficient ([A-Za-z0-9./-]*[A-Za-z0-9])`)

// problemOf says why a VM is not well; the first that applies. virt-controller
// copies the conditions of the running instance to the VM, so the VM is enough.
//
// Parameters: VM_UNSCHEDULABLE resource ("memory", "cpu", …; absent when nodes
// lack something else); VM_IMAGE_PULL image; VM_DISK_COPY_FAILED and
// VM_DISK_MISSING disk; VM_CRASH_LOOP count, retry_at (RFC 3339);
// VM_SYNC_FAILED reason, quota (bool); VM_NOT_MIGRATABLE reason;
// VM_NODE_SILENT node, since (RFC 3339, see instance.join).
func problemOf(vm *liteVM, state domain.VMState) domain.Problem {
	cond := func(t string, status corev1.ConditionStatus) (liteCondition, bool) {
		for _, c := range vm.Status.Conditions {
			if c.Type == t && c.Status == string(status) {
				return c, true
			}
		}
		return liteCondition{}, false
	}
	notSynced, isNotSynced := cond(string(kv.VirtualMachineInstanceSynchronized), corev1.ConditionFalse)
	problem := func(code, text string, params ...any) domain.Problem {
		p := domain.Problem{Code: code, Text: clean(text)}
		for i := 0; i < len(params); i += 2 {
			if p.Params == nil {
				p.Params = map[string]any{}
			}
			p.Params[params[i].(string)] = params[i+1]
		}
		return p
	}
	disk := ""
	if len(vm.Spec.DataVolumeTemplates) > 0 {
		disk = name(vm.Spec.DataVolumeTemplates[0].Metadata.Name)
	}

	switch state {
	case domain.StateTerminating, domain.StateStopping:
		return domain.Problem{} // conditions lag behind and are of no interest now
	case domain.StateErrorUnschedulable:
		c, _ := cond(string(corev1.PodScheduled), corev1.ConditionFalse)
		if m := insufficient.FindStringSubmatch(c.Message); m != nil {
			return problem(domain.ProblemUnschedulable, c.Message, "resource", name(m[1]))
		}
		return problem(domain.ProblemUnschedulable, c.Message)
	case domain.StateErrImagePull, domain.StateImagePullBackOff:
		return problem(domain.ProblemImagePull, notSynced.Message, "image", specOf(vm).Image)
	case domain.StateDataVolumeError: // the reason is on the DataVolume, see client.diskReason
		return problem(domain.ProblemDataVolume, "", "disk", disk)
	case domain.StateErrorPvcNotFound:
		return problem(domain.ProblemPVCMissing, notSynced.Message, "disk", disk)
	case domain.StateCrashLoopBackOff:
		failed, _ := cond(string(kv.VirtualMachineFailure), corev1.ConditionTrue)
		count, retry := 0, ""
		if f := vm.Status.StartFailure; f != nil {
			count = f.ConsecutiveFailCount
			if f.RetryAfterTimestamp != nil {
				retry = f.RetryAfterTimestamp.UTC().Format(time.RFC3339)
			}
		}
		return problem(domain.ProblemCrashLoop, failed.Message, "count", count, "retry_at", retry)
	}
	if c, ok := cond(string(kv.VirtualMachineFailure), corev1.ConditionTrue); ok {
		return problem(domain.ProblemSyncFailed, c.Message, "reason", name(c.Reason), "quota", strings.Contains(c.Message, "exceeded quota"))
	}
	if isNotSynced {
		return problem(domain.ProblemSyncFailed, notSynced.Message, "reason", name(notSynced.Reason), "quota", strings.Contains(notSynced.Message, "exceeded quota"))
	}
	if c, ok := cond(string(kv.VirtualMachineRestartRequired), corev1.ConditionTrue); ok {
		return problem(domain.ProblemRestartRequired, c.Message)
	}
	if c, ok := cond(string(kv.VirtualMachineInstanceIsMigratable), corev1.ConditionFalse); ok && state == domain.StateRunning {
		return problem(domain.ProblemNotMigratable, c.Message, "reason", name(c.Reason))
	}
	return domain.Problem{}
}

// instance is what is kept of a VirtualMachineInstance. It is comparable.
type instance struct {
	owner   string // UID of the VM
	ip      string
	node    string
	guest   string
	started time.Time
	silent  bool // virt-controller says that the node does not answer
}

func fromVMI(vmi *kv.VirtualMachineInstance) instance { return cutVMI(vmi).mapped() }

func (vmi *liteVMI) mapped() instance {
	i := instance{
		node:   name(vmi.Status.NodeName),
		silent: vmi.Status.Reason == "NodeUnresponsive" || vmi.Status.Phase == string(kv.Unknown),
	}
	for _, o := range vmi.Metadata.OwnerReferences {
		if o.Controller != nil && *o.Controller {
			i.owner = name(o.UID)
			break
		}
	}
	for _, nic := range vmi.Status.Interfaces {
		if nic.IP != "" {
			i.ip = name(nic.IP)
			break
		}
	}
	os := vmi.Status.GuestOSInfo
	if i.guest = name(os.PrettyName); i.guest == "" {
		i.guest = name(strings.TrimSpace(os.Name + " " + os.Version))
	}
	for _, t := range vmi.Status.PhaseTransitionTimestamps {
		if t.Phase == string(kv.Running) {
			i.started = t.At.UTC()
		}
	}
	return i
}

// join adds what the instance knows, unless it belongs to an earlier VM of the
// same name. silentSince is when its node stopped to report, or zero: KubeVirt
// goes on calling such a VM "Running", which nobody can know.
func (i instance) join(v *domain.VM, silentSince time.Time) {
	if i.owner != v.UID {
		return
	}
	v.Status.IP, v.Status.Node, v.Status.GuestOS = i.ip, i.node, i.guest
	if !i.started.IsZero() {
		v.Status.StartedAt = &i.started
	}
	if (i.silent || !silentSince.IsZero()) && i.node != "" {
		params := map[string]any{"node": i.node}
		if !silentSince.IsZero() {
			params["since"] = silentSince.Format(time.RFC3339)
		}
		v.Status.Problem = domain.Problem{Code: domain.ProblemNodeSilent, Params: params}
		if v.Status.State == domain.StateRunning || v.Status.State == domain.StatePaused || v.Status.State == domain.StateMigrating {
			v.Status.State = domain.StateUnknown
		}
	}
}

// silence is when a node stopped to report, or zero when it reports.
func silence(n *corev1.Node) time.Time { return cutNode(n).silence() }

func (n *liteNode) silence() time.Time {
	for _, c := range n.Status.Conditions {
		if c.Type == string(corev1.NodeReady) && c.Status != string(corev1.ConditionTrue) {
			if c.LastTransitionTime.IsZero() {
				return n.Metadata.CreationTimestamp.UTC()
			}
			return c.LastTransitionTime.UTC()
		}
	}
	return time.Time{}
}

func fromMigration(m *kv.VirtualMachineInstanceMigration) *domain.Migration {
	out := &domain.Migration{
		Name: name(m.Name), Namespace: name(m.Namespace), VM: name(m.Spec.VMIName),
		Phase: domain.MigrationPhase(name(string(m.Status.Phase))), CreatedAt: m.CreationTimestamp.UTC(),
	}
	if s := m.Status.MigrationState; s != nil {
		out.SourceNode, out.TargetNode = name(s.SourceNode), name(s.TargetNode)
		if s.FailureReason != "" {
			out.Problem = domain.Problem{Code: domain.ProblemSyncFailed, Text: clean(s.FailureReason)}
		}
	}
	for _, t := range m.Status.PhaseTransitionTimestamps {
		if p := domain.MigrationPhase(t.Phase); p.Finished() {
			at := t.PhaseTransitionTimestamp.UTC()
			out.FinishedAt = &at
		}
	}
	return out
}
