package domain

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// ClusterStatus is the result of the periodic check.
type ClusterStatus string

// The cluster states (contract 5 of the seed).
const (
	ClusterUnknown     ClusterStatus = "UNKNOWN"
	ClusterHealthy     ClusterStatus = "HEALTHY"
	ClusterUnhealthy   ClusterStatus = "UNHEALTHY"
	ClusterUnreachable ClusterStatus = "UNREACHABLE"
)

// ClusterStatuses lists all of them.
func ClusterStatuses() []ClusterStatus {
	return []ClusterStatus{ClusterUnknown, ClusterHealthy, ClusterUnhealthy, ClusterUnreachable}
}

// WorstClusterStatuses lists them too, the worst first.
func WorstClusterStatuses() []ClusterStatus {
	return []ClusterStatus{ClusterUnreachable, ClusterUnhealthy, ClusterUnknown, ClusterHealthy}
}

// ClusterHealth is what one check of a cluster found.
type ClusterHealth struct {
	Status            ClusterStatus
	Reason            Problem // the zero value when healthy
	KubernetesVersion string
	KubeVirtVersion   string
	Features          []string // KubeVirt's feature gates that are in effect
	Capabilities      Capabilities
	StorageClasses    []StorageClass // nil: not looked at
	Nodes, ReadyNodes int
	Allocatable       ResourceUsage // of the nodes that take VMs
	IdentityUID       string        // UID of the namespace kube-system
	CheckedAt         time.Time
	// DescribedAt is when what changes seldom was read as well: Kubernetes'
	// version, the APIs, storage classes, instance types. Zero: not this time.
	DescribedAt time.Time
	Gap         Problem // why some of that could not be read; the zero value when nothing is missing
}

// StaleAfter is the age of a cluster's data from which pages show it. The age is
// counted from the last event, bookmark or complete list that its watch brought:
// up to then everything that happened is shown. API servers send a bookmark each
// minute when nothing happens, so an idle cluster stays young. That a connection
// is open (a TCP or HTTP/2 ping) proves nothing about data and does not count.
const StaleAfter = 2 * time.Minute

// Connection is how the connection to a cluster is, as one process of the portal
// sees it.
type Connection struct {
	// Open is the state of the breaker: calls fail at once, and nothing is dialled.
	// Throttled says that it is because the cluster asked for a pause.
	Open, Throttled bool
	Since, Until    time.Time // of Open; after Until one call is let through
	Failures        int       // in a row
	AnsweredAt      time.Time // last answer of any kind; zero: none yet
	// Problem is the last failure of a watch or the breaker, and ProblemAt when it
	// happened; the zero values when all is well again.
	Problem   Problem
	ProblemAt time.Time
}

// Capabilities are what a cluster can do, beyond that it runs.
type Capabilities struct {
	Gates         []string `json:"gates,omitempty"`          // feature gates that its KubeVirt object switches on
	DisabledGates []string `json:"disabled_gates,omitempty"` // and off
	APIs          []string `json:"apis,omitempty"`           // served, "group/version", of KubeVirt, CDI and snapshots
	Kubelets      []string `json:"kubelets,omitempty"`       // versions of the nodes' kubelets
	// Cluster-wide; 0 as well when they may not be listed.
	InstanceTypes   int  `json:"instance_types"`
	Preferences     int  `json:"preferences"`
	SnapshotClasses *int `json:"snapshot_classes,omitempty"` // nil: not known
}

// Serves says that a version of an API group is served.
func (c Capabilities) Serves(group string) bool {
	return slices.ContainsFunc(c.APIs, func(api string) bool { return strings.HasPrefix(api, group+"/") })
}

// SnapshotsLack names what is missing for snapshots of VMs: the API of Kubernetes'
// volume snapshots, KubeVirt's own, or its feature gate. "" when all are there.
func (c Capabilities) SnapshotsLack(features []string) string {
	for _, group := range []string{"snapshot.storage.k8s.io", "snapshot.kubevirt.io"} {
		if !c.Serves(group) {
			return group
		}
	}
	if gate := "Snapshot"; !slices.Contains(features, gate) {
		return gate
	}
	return ""
}

// LastKnown is how old what is shown of a cluster's VMs is.
type LastKnown struct {
	Stale bool
	Since time.Time // of the last sign of life; zero when it is not known
}

// Freshness judges a cluster by its last sign of life: heard of its VMs, or
// answered to a check. Nothing new comes from one that is switched off or gives
// no answer, however young its last sign is. One that was never heard of has
// nothing to show yet.
func Freshness(enabled bool, status ClusterStatus, heard, answered *time.Time, now time.Time) LastKnown {
	last := heard
	if last == nil {
		last = answered
	}
	k := LastKnown{Stale: !enabled || status == ClusterUnreachable || heard != nil && now.Sub(*heard) > StaleAfter}
	if last != nil {
		k.Since = *last
	}
	return k
}

// Scheduling weights of clusters: which share of new VMs each is proposed for.
const (
	DefaultWeight = 100
	MaxWeight     = 1000 // 0: never proposed
)

// ClusterEventKind says what a line of a cluster's timeline is about.
type ClusterEventKind string

// The kinds.
const (
	AboutStatus     ClusterEventKind = "status"     // before and after are statuses
	AboutVersion    ClusterEventKind = "version"    // of KubeVirt or Kubernetes: "KubeVirt v1.8.4"
	AboutFeatures   ClusterEventKind = "features"   // after: what came; before: what went
	AboutAPIs       ClusterEventKind = "apis"       // likewise
	AboutStorage    ClusterEventKind = "storage"    // likewise, storage classes
	AboutNodes      ClusterEventKind = "nodes"      // ready and all
	AboutCredential ClusterEventKind = "credential" // replaced, warned of
	AboutMode       ClusterEventKind = "mode"       // switched off, drained, weight, hardware
	AboutQuarantine ClusterEventKind = "quarantine" // begun, accepted, ended
	AboutError      ClusterEventKind = "error"      // of a check, a watch or an order
)

// ClusterEventKinds lists all of them.
func ClusterEventKinds() []ClusterEventKind {
	return []ClusterEventKind{AboutStatus, AboutVersion, AboutFeatures, AboutAPIs, AboutStorage, AboutNodes, AboutCredential, AboutMode, AboutQuarantine, AboutError}
}

// FindingGroup is a kind of difference between a quarantined cluster and what
// Shepherd knows of it.
type FindingGroup string

// The groups.
const (
	FindingGone    FindingGroup = "gone"    // Shepherd has it, the cluster has not
	FindingBack    FindingGroup = "back"    // the cluster has it, Shepherd has deleted it or never knew it
	FindingChanged FindingGroup = "changed" // both have it, and it is another object or has another shape
)

// FindingGroups lists all of them.
func FindingGroups() []FindingGroup {
	return []FindingGroup{FindingGone, FindingBack, FindingChanged}
}

// QuarantineReport sums up the findings about a quarantined cluster.
type QuarantineReport struct {
	Version  int64                         `json:"version,omitempty"` // resourceVersion of the list that they are from
	ListedAt time.Time                     `json:"listed_at"`         // zero: no complete list was read yet
	Groups   map[FindingGroup]FindingCount `json:"groups,omitempty"`  // the groups that are not empty
}

// FindingCount is how many findings a group has. The digest is of what they say:
// who accepts a group names it, so that nobody accepts what he has not seen.
type FindingCount struct {
	Count  int    `json:"count"`
	Digest string `json:"digest"`
}

// Empty says that there is nothing to accept, as far as was looked.
func (r QuarantineReport) Empty() bool { return len(r.Groups) == 0 }

// Observed is one side of a difference. Zero values are unknown.
type Observed struct {
	UID             string  `json:"uid,omitempty"`
	ResourceVersion string  `json:"resource_version,omitempty"`
	State           VMState `json:"state,omitempty"`
	CPU             int     `json:"cpu,omitempty"`        // vCPU
	MemoryMiB       int     `json:"memory_mib,omitempty"` // MiB
	DiskGiB         int     `json:"disk_gib,omitempty"`   // GiB
}

// Presence says whether a registered namespace exists on its cluster.
type Presence string

// The presences.
const (
	PresenceUnknown     Presence = "unknown" // not asked yet, or not allowed to ask
	PresencePresent     Presence = "present"
	PresenceMissing     Presence = "missing"
	PresenceTerminating Presence = "terminating"
)

// Presences lists all of them.
func Presences() []Presence {
	return []Presence{PresenceUnknown, PresencePresent, PresenceMissing, PresenceTerminating}
}

// Gone says that no VM can be made in the namespace.
func (p Presence) Gone() bool { return p == PresenceMissing || p == PresenceTerminating }

// NamespaceState is what a cluster says of a namespace.
type NamespaceState struct {
	Presence  Presence
	Quotas    []Quota // nil: not known, because the credential may not read them; empty: there are none
	MayCreate bool    // the credential may create it; asked only when it is missing
}

// StorageClass is a class of disks that a cluster offers.
type StorageClass struct {
	Name    string `json:"name"`
	Default bool   `json:"default,omitempty"`
}

// CheckState is the result of one pre-flight check.
type CheckState string

// The check results.
const (
	CheckOK     CheckState = "ok"
	CheckWarn   CheckState = "warn"
	CheckFailed CheckState = "failed"
	CheckNotRun CheckState = "not_run"
)

// The checks of a pre-flight, in the order in which they are shown. One that
// failed leaves those that depend on it at CheckNotRun.
const (
	CheckDNS           = "dns"           // the server's name has an address
	CheckReachable     = "reachable"     // a connection can be opened
	CheckTLS           = "tls"           // the certificate is trusted
	CheckCredentials   = "credentials"   // the cluster knows who we are
	CheckKubernetes    = "kubernetes"    // params version, nodes, ready
	CheckKubeVirt      = "kubevirt"      // params version
	CheckPermissions   = "permissions"   // nothing lacks that the portal needs; params count, and lost: what does not work, "quotas instancetypes"
	CheckPrivilege     = "privilege"     // nothing is allowed that it should not have
	CheckCDI           = "cdi"           // params version
	CheckSnapshots     = "snapshots"     // params classes
	CheckStorage       = "storage"       // params classes
	CheckInstanceTypes = "instancetypes" // params types, preferences
)

// Checks lists them.
func Checks() []string {
	return []string{
		CheckDNS, CheckReachable, CheckTLS, CheckCredentials, CheckKubernetes, CheckKubeVirt,
		CheckPermissions, CheckPrivilege, CheckCDI, CheckSnapshots, CheckStorage, CheckInstanceTypes,
	}
}

// Check is one line of a pre-flight.
type Check struct {
	ID     string         `json:"id"` // one of the Check constants
	State  CheckState     `json:"state"`
	Code   string         `json:"code,omitempty"` // error code when it did not pass
	Params map[string]any `json:"params,omitempty"`
}

// Preflight is what is known of a cluster before anything is stored.
type Preflight struct {
	Checks   []Check        `json:"checks"`
	Health   ClusterHealth  `json:"health"`
	Missing  []ResourceRule `json:"missing,omitempty"`  // permissions that Shepherd needs and the credential lacks
	Optional []ResourceRule `json:"optional,omitempty"` // permissions that lack and cost one convenience each
	Excess   []string       `json:"excess,omitempty"`   // what the credential should not be allowed: "*", "secrets", "impersonate"
}

// Passed says that the cluster can be added. Warnings do not stand in the way.
func (p Preflight) Passed() bool {
	for _, c := range p.Checks {
		if c.State == CheckFailed || c.State == CheckNotRun {
			return false
		}
	}
	return len(p.Checks) > 0
}

// ResourceRule is a permission in Kubernetes' terms.
type ResourceRule struct {
	Group    string `json:"group"`
	Resource string `json:"resource"` // with subresource: virtualmachines/start
	Verb     string `json:"verb"`
}

// Credential is how Shepherd signs in to one cluster: one server, one way to
// trust it, one way to be known. It is what is left of an uploaded kubeconfig.
type Credential struct {
	Server        string // https URL
	TLSServerName string
	CA            Secret // PEM; empty: the system's roots
	Token         Secret
	ClientCert    Secret // PEM
	ClientKey     Secret // PEM
}

// Secret is bytes that are never printed or logged, and never become JSON or
// another text: who has to write them down converts them to []byte and says so.
type Secret []byte

const redacted = "[REDACTED]"

var errSecret = errors.New("domain: a secret cannot be written down")

// MarshalJSON refuses.
func (Secret) MarshalJSON() ([]byte, error) { return nil, errSecret }

// MarshalText refuses, for every other kind of text.
func (Secret) MarshalText() ([]byte, error) { return nil, errSecret }

// GobEncode refuses.
func (Secret) GobEncode() ([]byte, error) { return nil, errSecret }

// String hides the secret.
func (Secret) String() string { return redacted }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return redacted }

// Format hides the secret from every verb of fmt.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue leaves of a credential only which server it is for.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.Server) }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// ResourceUsage is an amount of what VMs run on: what some use, or what there is.
type ResourceUsage struct {
	CPU       int // vCPU
	MemoryMiB int // MiB
}
