package domain

import "time"

// The types below are the contract of providers whose implementation comes
// later (RFC-0011, RFC-0013, RFC-0014 of the seed); the interfaces stand now so
// that code above them does not have to change.

// Snapshot is a state of a VM's disks at one moment.
type Snapshot struct {
	Name, Namespace, VM string
	CreatedAt           time.Time
	Ready               bool
	SizeBytes           int64
	Problem             Problem
}

// Clone is a copy of a VM under a new name.
type Clone struct {
	Name, Namespace, Source, Target string
	Phase                           string
	CreatedAt                       time.Time
}

// Migration is the move of a running VM to another node.
type Migration struct {
	Name, Namespace, VM    string
	Phase                  MigrationPhase
	SourceNode, TargetNode string
	CreatedAt              time.Time
	FinishedAt             *time.Time
	Problem                Problem
}

// MigrationPhase is KubeVirt's VirtualMachineInstanceMigrationPhase.
type MigrationPhase string

// Finished says that the move is over, well or not.
func (p MigrationPhase) Finished() bool { return p == "Succeeded" || p == "Failed" }

// InstanceType is a cluster-wide shape of VMs.
type InstanceType struct {
	Name      string
	CPU       int // vCPU
	MemoryMiB int // MiB
}

// Preference is a cluster-wide set of defaults for a guest system.
type Preference struct {
	Name        string
	DisplayName string
}

// ConsoleConnection is a way to a VM's console for a short time.
type ConsoleConnection struct {
	Kind      string // serial or vnc
	ExpiresAt time.Time
}

// ValidationResult is the verdict of a cluster on a VM that was not created.
type ValidationResult struct {
	Valid    bool
	Problems []Problem
}
