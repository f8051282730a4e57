package domain

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// ClusterHealth is what one check of a cluster found.
type ClusterHealth struct {
	Status            ClusterStatus
	Reason            Problem // the zero value when healthy
	KubernetesVersion string
	KubeVirtVersion   string
	Features          []string // KubeVirt's feature gates that are on
	StorageClasses    []StorageClass
	Nodes, ReadyNodes int
	Allocatable       ResourceUsage // of the nodes that take VMs
	IdentityUID       string        // UID of the namespace kube-system
	CheckedAt         time.Time
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

// Check is one line of a pre-flight.
type Check struct {
	ID     string         `json:"id"` // reachable tls credentials kubernetes kubevirt storage permissions
	State  CheckState     `json:"state"`
	Code   string         `json:"code,omitempty"` // error code when it did not pass
	Params map[string]any `json:"params,omitempty"`
}

// Preflight is what is known of a cluster before anything is stored.
type Preflight struct {
	Checks  []Check        `json:"checks"`
	Health  ClusterHealth  `json:"health"`
	Missing []ResourceRule `json:"missing,omitempty"` // permissions that Shepherd needs and the credential lacks
	Excess  []string       `json:"excess,omitempty"`  // permissions that are more than it should have: "*", "secrets", "impersonate"
}

// Passed says that the cluster can be added.
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
