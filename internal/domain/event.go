package domain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// EventType says what a domain event is about (ADR-0009 of the seed).
type EventType string

// The event types. *_REQUESTED events carry what a person asked for and wait
// for a decision; the others are orders to the worker.
const (
	EventVMCreationRequested EventType = "VM_CREATION_REQUESTED"
	EventVMDeletionRequested EventType = "VM_DELETION_REQUESTED"
	EventVMPowerRequested    EventType = "VM_POWER_REQUESTED"
	EventVMCreate            EventType = "VM_CREATE"
	EventVMDelete            EventType = "VM_DELETE"
	EventVMPower             EventType = "VM_POWER"
)

// EventTypes lists all of them.
func EventTypes() []EventType {
	return []EventType{EventVMCreationRequested, EventVMDeletionRequested, EventVMPowerRequested, EventVMCreate, EventVMDelete, EventVMPower}
}

// EventStatus is where an event is on its way.
type EventStatus string

// The event states.
const (
	EventPending    EventStatus = "PENDING"
	EventProcessing EventStatus = "PROCESSING"
	EventCompleted  EventStatus = "COMPLETED"
	EventFailed     EventStatus = "FAILED"
	EventCancelled  EventStatus = "CANCELLED"
)

// EventStatuses lists all of them.
func EventStatuses() []EventStatus {
	return []EventStatus{EventPending, EventProcessing, EventCompleted, EventFailed, EventCancelled}
}

// Terminal says that nothing more happens to the event.
func (s EventStatus) Terminal() bool {
	return s == EventCompleted || s == EventFailed || s == EventCancelled
}

var eventMoves = map[EventStatus][]EventStatus{
	EventPending:    {EventProcessing, EventCompleted, EventFailed, EventCancelled},
	EventProcessing: {EventCompleted, EventFailed, EventPending},
	EventFailed:     {EventPending}, // a retry on the same approval
}

// CanBecome says whether a move is legal.
func (s EventStatus) CanBecome(next EventStatus) bool { return slices.Contains(eventMoves[s], next) }

// Identity is the part of a request that an approver can never change: it
// always comes from the event's payload.
type Identity struct {
	SystemID    string      `json:"system_id"`
	System      string      `json:"system"`
	ServiceID   string      `json:"service_id"`
	Service     string      `json:"service"`
	Namespace   string      `json:"namespace"`
	Environment Environment `json:"environment"`
	RequesterID string      `json:"requester_id"`
	Requester   string      `json:"requester"`
}

// ChangeableSpec is the part of a creation request that an approver may
// replace, as a whole, in ApprovalTicket.modified_spec.
type ChangeableSpec struct {
	TemplateID   string `json:"template_id"`
	Template     string `json:"template"` // name, for reading
	Version      int    `json:"version"`  // of the template
	SizeID       string `json:"size_id"`
	Size         string `json:"size"`       // name, for reading
	CPU          int    `json:"cpu"`        // vCPU, copied from the size
	MemoryMiB    int    `json:"memory_mib"` // MiB, copied from the size
	DiskGiB      int    `json:"disk_gib"`
	Count        int    `json:"count"`
	StorageClass string `json:"storage_class,omitempty"`
}

// CreatePayload is the immutable payload of VM_CREATION_REQUESTED.
type CreatePayload struct {
	Identity
	Spec    ChangeableSpec `json:"spec"`
	SSHKeys []string       `json:"ssh_keys,omitempty"`
	Reason  string         `json:"reason"`
}

// VMPayload is the payload of the events about one existing VM row:
// VM_DELETION_REQUESTED, VM_POWER_REQUESTED, VM_CREATE, VM_DELETE, VM_POWER.
type VMPayload struct {
	Identity
	VMID      string    `json:"vm_id"`
	VM        string    `json:"vm"`
	Instance  int       `json:"instance"`
	Operation Operation `json:"operation"`
	Ticket    int       `json:"ticket,omitempty"` // 0: needed no approval
	Reason    string    `json:"reason,omitempty"`
	SpecHash  string    `json:"spec_hash,omitempty"` // what was approved
}

// EffectiveSpec is what is carried out: identity from the payload, the rest
// from the approver's replacement when there is one.
type EffectiveSpec struct {
	Identity
	Spec    ChangeableSpec `json:"spec"`
	SSHKeys []string       `json:"ssh_keys,omitempty"`
}

// GetEffectiveSpec is the only reader of a creation request. modified is
// ApprovalTicket.modified_spec: nil, or a full replacement of the changeable
// fields. It never merges single fields.
func GetEffectiveSpec(p CreatePayload, modified *ChangeableSpec) EffectiveSpec {
	spec := p.Spec
	if modified != nil {
		spec = *modified
	}
	return EffectiveSpec{Identity: p.Identity, Spec: spec, SSHKeys: p.SSHKeys}
}

// Hash is the SHA-256, in hex, of the effective spec and the cluster: what an
// approver sees is what is signed, and the worker executes nothing else.
func (s EffectiveSpec) Hash(clusterID string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	// Struct fields are encoded in their order, so the bytes are canonical.
	if err := e.Encode(struct {
		EffectiveSpec
		Cluster string `json:"cluster"`
	}{s, clusterID}); err != nil {
		panic(err) // plain strings and numbers: cannot happen
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:])
}
