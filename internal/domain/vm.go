package domain

import "time"

// VMSpec is what a VM should be, in the portal's own terms. It is complete: a
// provider needs nothing else to render the objects of a cluster.
type VMSpec struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	CPU         int               `json:"cpu"`        // vCPU
	MemoryMiB   int               `json:"memory_mib"` // MiB
	DiskGiB     int               `json:"disk_gib"`   // GiB, the root disk
	// Image is the source of the root disk: docker://… or https://…
	Image         string `json:"image"`
	StorageClass  string `json:"storage_class,omitempty"` // "" = the cluster's default
	InstanceType  string `json:"instance_type,omitempty"` // cluster instance type instead of CPU and memory
	Preference    string `json:"preference,omitempty"`
	CloudInitName string `json:"cloud_init_name,omitempty"` // Secret in the same namespace
	Running       bool   `json:"running"`
}

// VM is a VM as a cluster shows it.
type VM struct {
	Cluster         string
	Namespace       string
	Name            string
	UID             string
	ResourceVersion string
	Labels          map[string]string
	Annotations     map[string]string
	CreatedAt       time.Time
	Deleting        bool
	Spec            VMSpec
	Status          VMStatus
}

// OperationID is the id of the event that created the object, or "".
func (v *VM) OperationID() string { return v.Annotations[AnnotationOperation] }

// VMList is one page of VMs.
type VMList struct {
	Items           []*VM
	Continue        string // opaque; "" at the end
	ResourceVersion string
}

// VMStatus is the observed state of a VM.
type VMStatus struct {
	State VMState
	// Problem is why the VM is not well: a code of problems.go with parameters
	// for its sentence, or the zero value.
	Problem    Problem
	IP         string
	Node       string
	GuestOS    string
	StartedAt  *time.Time
	ObservedAt time.Time
}

// Problem is a reason with the parameters of its sentence. Text is the
// cluster's own words, cleaned and capped, for "Technical details".
type Problem struct {
	Code   string         `json:"code,omitempty"`
	Params map[string]any `json:"params,omitempty"`
	Text   string         `json:"text,omitempty"`
}

// IsZero says that there is no problem.
func (p Problem) IsZero() bool { return p.Code == "" }

// VMState is KubeVirt's printableStatus, and three states of our own for a VM
// whose object does not exist yet or any more.
type VMState string

// KubeVirt's printable statuses (kubevirt.io/api/core/v1, VirtualMachinePrintableStatus).
const (
	StateStopped                 VMState = "Stopped"
	StateProvisioning            VMState = "Provisioning"
	StateStarting                VMState = "Starting"
	StateRunning                 VMState = "Running"
	StatePaused                  VMState = "Paused"
	StateStopping                VMState = "Stopping"
	StateTerminating             VMState = "Terminating"
	StateCrashLoopBackOff        VMState = "CrashLoopBackOff"
	StateMigrating               VMState = "Migrating"
	StateUnknown                 VMState = "Unknown"
	StateErrorUnschedulable      VMState = "ErrorUnschedulable"
	StateErrImagePull            VMState = "ErrImagePull"
	StateImagePullBackOff        VMState = "ImagePullBackOff"
	StateErrorPvcNotFound        VMState = "ErrorPvcNotFound"
	StateDataVolumeError         VMState = "DataVolumeError"
	StateWaitingForVolumeBinding VMState = "WaitingForVolumeBinding"
	StateWaitingForReceiver      VMState = "WaitingForReceiver"

	// StateRequested: approved, the object is not made yet.
	StateRequested VMState = "Requested"
	// StateFailed: the object could not be made.
	StateFailed VMState = "Failed"
	// StateDeleted: the object is gone; the row stays for the record.
	StateDeleted VMState = "Deleted"
	// StateMissing: the cluster does not show an object that it should have.
	StateMissing VMState = "Missing"
)

// VMStates lists all states, in no order that means something.
func VMStates() []VMState {
	return []VMState{
		StateStopped, StateProvisioning, StateStarting, StateRunning, StatePaused, StateStopping, StateTerminating,
		StateCrashLoopBackOff, StateMigrating, StateUnknown, StateErrorUnschedulable, StateErrImagePull,
		StateImagePullBackOff, StateErrorPvcNotFound, StateDataVolumeError, StateWaitingForVolumeBinding,
		StateWaitingForReceiver, StateRequested, StateFailed, StateDeleted, StateMissing,
	}
}

// Health groups the states for counts and badges.
type Health string

// The health groups.
const (
	HealthOK   Health = "ok"   // running
	HealthIdle Health = "idle" // stopped, paused, unknown, deleted
	HealthBusy Health = "busy" // on the way
	HealthBad  Health = "bad"  // somebody has to do something
)

// Health says which group the state is in.
func (s VMState) Health() Health {
	switch s {
	case StateRunning:
		return HealthOK
	case StateCrashLoopBackOff, StateErrorUnschedulable, StateErrImagePull, StateImagePullBackOff,
		StateErrorPvcNotFound, StateDataVolumeError, StateFailed, StateMissing:
		return HealthBad
	case StateProvisioning, StateStarting, StateStopping, StateTerminating, StateMigrating,
		StateWaitingForVolumeBinding, StateWaitingForReceiver, StateRequested:
		return HealthBusy
	default:
		return HealthIdle
	}
}

// CanPower says whether an operation makes sense in a state. The cluster
// decides in the end; this keeps a click from being sent in vain.
func (s VMState) CanPower(o Operation) bool {
	switch o {
	case OpStart:
		return s == StateStopped
	case OpStop:
		switch s {
		case StateRunning, StatePaused, StateStarting, StateMigrating, StateCrashLoopBackOff, StateErrorUnschedulable,
			StateErrImagePull, StateImagePullBackOff, StateProvisioning, StateWaitingForVolumeBinding, StateDataVolumeError:
			return true
		}
	case OpRestart:
		return s == StateRunning || s == StatePaused
	}
	return false
}
