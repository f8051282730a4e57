// Package provider holds the contracts between the portal and the
// infrastructure. Every method returns domain types; the types of Kubernetes
// and KubeVirt stay behind the implementation (the anti-corruption layer).
//
// Scope (contract 4 of the seed):
//
//	InfrastructureProvider   full
//	InstanceTypeProvider     full
//	MigrationProvider        MigrateVM and GetVMMigration
//	SnapshotProvider         interface only (RFC-0013)
//	CloneProvider            interface only (RFC-0014)
//	ConsoleProvider          interface only (RFC-0011)
//
// A cluster is named by its id in the portal. All methods obey the context's
// deadline and answer with errors of internal/pkg/errors:
// CLUSTER_* when the cluster cannot be asked (try again later), VM_NOT_FOUND,
// NAME_COLLISION, UID_MISMATCH, VM_STATE (its state refuses), SPEC_REJECTED or
// QUOTA_EXCEEDED (trying again is of no use).
package provider

import (
	"context"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Ref names a VM's object.
type Ref struct {
	Cluster   string // id of the cluster in the portal
	Namespace string
	Name      string
	UID       string // precondition of changes; "" when it is not known
}

// ListOptions selects VMs and a page of them.
type ListOptions struct {
	Namespace string // "" = all that the credential may see
	Selector  string // label selector; "" = all
	Limit     int    // of one page; 0 = 500
	Continue  string // of the page before
}

// InfrastructureProvider runs VMs.
type InfrastructureProvider interface {
	// Type names the implementation, such as "kubevirt".
	Type() string

	GetVM(ctx context.Context, ref Ref) (*domain.VM, error)
	ListVMs(ctx context.Context, cluster string, opt ListOptions) (*domain.VMList, error)
	// CreateVM posts the VM, and never touches an object that exists: when one
	// of the same name carries our operation id it is returned with created
	// false, any other is a NAME_COLLISION.
	CreateVM(ctx context.Context, cluster string, spec domain.VMSpec) (vm *domain.VM, created bool, err error)
	// UpdateVM applies the fields of the spec that we own to the object with
	// ref's UID (server-side apply).
	UpdateVM(ctx context.Context, ref Ref, spec domain.VMSpec) (*domain.VM, error)
	// DeleteVM deletes the object with ref's UID. An object that is gone, or
	// has another UID, counts as deleted.
	DeleteVM(ctx context.Context, ref Ref) error
	StartVM(ctx context.Context, ref Ref) error
	StopVM(ctx context.Context, ref Ref) error
	RestartVM(ctx context.Context, ref Ref) error
	PauseVM(ctx context.Context, ref Ref) error
	UnpauseVM(ctx context.Context, ref Ref) error

	// EnsureCloudInit makes the Secret with a VM's user data. Like CreateVM it
	// posts only, and takes a Secret with the same operation id as ours.
	EnsureCloudInit(ctx context.Context, cluster string, s CloudInit) error
	// AdoptCloudInit makes the VM the owner of its Secret, so that the cluster
	// removes it together with the VM.
	AdoptCloudInit(ctx context.Context, vm Ref, secret string) error

	// ValidateSpec asks the cluster whether it would take the VM (dry run).
	ValidateSpec(ctx context.Context, cluster string, spec domain.VMSpec) (*domain.ValidationResult, error)
	// CheckHealth never fails: that a cluster does not answer is a result. It is
	// three small reads; describe asks for what changes seldom as well, see
	// domain.ClusterHealth.DescribedAt.
	CheckHealth(ctx context.Context, cluster string, describe bool) domain.ClusterHealth
}

// CloudInit is the user data of one VM.
type CloudInit struct {
	Namespace   string
	Name        string
	OperationID string
	Labels      map[string]string
	UserData    domain.Secret // cloud-config
}

// SnapshotProvider takes and restores snapshots. Interface only (RFC-0013).
type SnapshotProvider interface {
	CreateSnapshot(ctx context.Context, vm Ref, name string) (*domain.Snapshot, error)
	GetSnapshot(ctx context.Context, cluster, namespace, name string) (*domain.Snapshot, error)
	ListSnapshots(ctx context.Context, vm Ref) ([]*domain.Snapshot, error)
	DeleteSnapshot(ctx context.Context, cluster, namespace, name string) error
	RestoreSnapshot(ctx context.Context, vm Ref, snapshot string) error
}

// CloneProvider copies VMs. Interface only (RFC-0014).
type CloneProvider interface {
	CloneVM(ctx context.Context, vm Ref, target string) (*domain.Clone, error)
	GetClone(ctx context.Context, cluster, namespace, name string) (*domain.Clone, error)
}

// MigrationProvider moves running VMs between nodes.
type MigrationProvider interface {
	MigrateVM(ctx context.Context, vm Ref) (*domain.Migration, error)
	GetVMMigration(ctx context.Context, cluster, namespace, name string) (*domain.Migration, error)
}

// InstanceTypeProvider lists the shapes and preferences that a cluster knows.
type InstanceTypeProvider interface {
	ListInstanceTypes(ctx context.Context, cluster string) ([]*domain.InstanceType, error)
	ListPreferences(ctx context.Context, cluster string) ([]*domain.Preference, error)
}

// ConsoleProvider opens consoles. Interface only (RFC-0011).
type ConsoleProvider interface {
	OpenConsole(ctx context.Context, vm Ref, kind string) (*domain.ConsoleConnection, error)
}

// KubeVirtProvider is what a full KubeVirt implementation offers.
type KubeVirtProvider interface {
	InfrastructureProvider
	SnapshotProvider
	CloneProvider
	MigrationProvider
	InstanceTypeProvider
	ConsoleProvider
}

// Prober looks at a cluster with a credential that is not stored yet.
type Prober interface {
	// Preflight runs all checks within the context's deadline. It never fails
	// and never tells more of the peer than a class of failure.
	Preflight(ctx context.Context, c domain.Credential) domain.Preflight
}

// Watcher follows the VMs that the platform manages.
type Watcher interface {
	// Watch lists, then follows, until ctx ends. It repairs lost connections
	// itself and reports through the sink. heard is called, often and from any
	// goroutine, with the time of the last sign of life of the cluster's VMs: up
	// to then everything that happened was observed.
	Watch(ctx context.Context, cluster string, sink Sink, heard func(time.Time)) error
	// Connection says how the connection to a cluster is, from memory: it asks
	// nobody.
	Connection(cluster string) domain.Connection
}

// Namespaces looks after the namespaces in which VMs live.
type Namespaces interface {
	// Namespace never takes "not there" for an error: that is a presence.
	// CLUSTER_FORBIDDEN when the credential may not look; that it may not read
	// the quotas leaves them nil.
	Namespace(ctx context.Context, cluster, name string) (domain.NamespaceState, error)
	// CreateNamespace makes it with the labels; one that exists is left as it is.
	// CLUSTER_FORBIDDEN when the credential may not.
	CreateNamespace(ctx context.Context, cluster, name string, labels map[string]string) error
}

// Sink takes what a watcher sees. Calls come from one goroutine per cluster.
type Sink interface {
	// Observe takes a batch of changes. It blocks until they are stored, which
	// slows the watcher down rather than losing something.
	Observe(ctx context.Context, cluster string, seen []Observation) error
	// Synced says that a complete list was read: objects that the list did not
	// show do not exist.
	Synced(ctx context.Context, cluster string, list Complete) error
}

// Complete is a complete list of the VMs that the platform manages.
type Complete struct {
	VMs             map[Ref]bool
	ResourceVersion string // of the list
}

// Observation is one change that a watcher saw.
type Observation struct {
	VM      *domain.VM
	Deleted bool
}
