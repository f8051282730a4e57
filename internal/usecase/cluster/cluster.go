// Package cluster adds, checks and watches the KubeVirt clusters, and registers
// their namespaces. Clusters are changed by admins and seen by those who work
// with them: admins, auditors and approvers. For everybody else they do not
// exist.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	messages "kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Service holds the rules about clusters. All fields but the last group must be
// set.
type Service struct {
	DB       *database.DB
	Keys     *crypto.Keyring
	Prober   provider.Prober                 // looks at a cluster that is not stored yet
	Provider provider.InfrastructureProvider // asked for the health of stored clusters
	Watcher  provider.Watcher
	Spaces   provider.Namespaces // asked for the namespaces of stored clusters
	Sink     provider.Sink       // takes what the watcher sees
	Logger   *slog.Logger
	// Forget ends this process's connections to a cluster that was removed or
	// switched off, or whose credential was replaced. Without it that happens at
	// the next call.
	Forget func(cluster string)
	// Notify tells people; nil: in the inbox only.
	Notify messages.NotificationProvider
	// Admins are the platform admins, who are told; nil: nobody is.
	Admins func(context.Context, *ent.Client) ([]uuid.UUID, error)
	// TellAdmins puts a message into the inbox of all platform admins.
	TellAdmins func(ctx context.Context, tx *ent.Tx, m messages.Message) error
}

// Cluster is a cluster as pages show it: no credential.
type Cluster struct {
	ID, Name, Place string
	Environment     domain.Environment
	Enabled         bool // false: Shepherd leaves it alone
	Drained         bool // takes no new VMs
	Weight          int  // share of new VMs beside others, 0 to domain.MaxWeight
	Hardware        []string
	Server          string // https URL
	CreatedBy       string
	CreatedAt       time.Time

	// What the periodic check found.
	Status            domain.ClusterStatus
	Reason            domain.Problem // why it is not healthy
	KubernetesVersion string
	KubeVirtVersion   string
	Features          []string
	StorageClasses    []domain.StorageClass
	Nodes, ReadyNodes int
	VMs               int
	Failures          int        // checks in a row without an answer
	CheckedAt         *time.Time // nil: not yet
	AnsweredAt        *time.Time // last check with an answer

	Capabilities domain.Capabilities
	DescribedAt  *time.Time // when the capabilities were read
	HeardAt      *time.Time // up to then everything that happened to its VMs is shown

	QuarantinedAt    *time.Time // nil: it is not
	QuarantineReason domain.Problem
	QuarantineReport domain.QuarantineReport

	CredentialKind, CredentialSubject string
	CredentialExpiresAt               *time.Time // nil: unknown or never
}

// Page selects a part of a list: the Limit entries after a cursor of the page
// before. The zero value is the first page.
type Page struct {
	After string
	Limit int // 0 = 100, at most 500
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return 100
	}
	return min(p.Limit, 500)
}

// Listing is one page of a list. Next is the cursor of the following page, ""
// at the end.
type Listing[T any] struct {
	Items []T
	Next  string
}

// List gives the clusters by name.
func (s *Service) List(ctx context.Context, actor domain.Actor, page Page) (Listing[Cluster], error) {
	if err := access.Check(actor, domain.ClusterList, domain.Object{}); err != nil {
		return Listing[Cluster]{}, err
	}
	rows, err := s.DB.Ent.Cluster.Query().Where(listing.Clusters(actor), cluster.NameGT(page.After)).
		Order(cluster.ByName()).Limit(page.limit() + 1).All(ctx)
	if err != nil {
		return Listing[Cluster]{}, database.Classify(err)
	}
	var out Listing[Cluster]
	if len(rows) > page.limit() {
		rows = rows[:page.limit()]
		out.Next = rows[len(rows)-1].Name
	}
	for _, row := range rows {
		out.Items = append(out.Items, view(row))
	}
	return out, nil
}

// Get gives one cluster; NOT_FOUND when there is none, or not for this actor.
func (s *Service) Get(ctx context.Context, actor domain.Actor, id string) (Cluster, error) {
	row, err := s.readable(ctx, actor, id)
	if err != nil {
		return Cluster{}, err
	}
	return view(row), nil
}

func view(row *ent.Cluster) Cluster {
	return Cluster{
		ID: row.ID.String(), Name: row.Name, Place: row.Place, Environment: domain.Environment(row.Environment),
		Enabled: row.Enabled, Drained: row.Drained, Weight: row.Weight, Hardware: row.Hardware, Server: row.APIServerURL, CreatedBy: row.CreatedBy, CreatedAt: row.CreatedAt,
		Status: domain.ClusterStatus(row.Status), Reason: row.StatusReason,
		KubernetesVersion: row.KubernetesVersion, KubeVirtVersion: row.KubevirtVersion,
		Features: row.EnabledFeatures, StorageClasses: row.StorageClasses,
		Nodes: row.Nodes, ReadyNodes: row.ReadyNodes, VMs: row.VMCount,
		Failures: row.Failures, CheckedAt: row.CheckedAt, AnsweredAt: row.AnsweredAt,
		Capabilities: row.Capabilities, DescribedAt: row.DescribedAt, HeardAt: row.HeardAt,
		QuarantinedAt: row.QuarantinedAt, QuarantineReason: row.QuarantineReason, QuarantineReport: row.QuarantineReport,
		CredentialKind: row.CredentialKind, CredentialSubject: row.CredentialSubject, CredentialExpiresAt: row.CredentialExpiresAt,
	}
}

// Find reads a cluster by the id of an address: NOT_FOUND for what is no id, and
// for one that was removed. c may be a transaction's client.
func Find(ctx context.Context, c *ent.Client, id string) (*ent.Cluster, error) {
	key, err := listing.Key(id)
	if err != nil {
		return nil, err
	}
	row, err := c.Cluster.Query().Where(cluster.ID(key), cluster.RemovedAtIsNil()).Only(ctx)
	return row, orNotFound(err)
}

// lock reads a cluster and keeps others from changing it until tx ends.
func lock(ctx context.Context, tx *ent.Tx, id uuid.UUID) (*ent.Cluster, error) {
	row, err := tx.Cluster.Query().Where(cluster.ID(id), cluster.RemovedAtIsNil()).ForUpdate().Only(ctx)
	return row, orNotFound(err)
}

func orNotFound(err error) error {
	if ent.IsNotFound(err) {
		return apperr.New(apperr.ErrNotFound)
	}
	return database.Classify(err)
}

func entry(action string, row *ent.Cluster) audit.Entry {
	return audit.Entry{Action: action, ResourceType: "cluster", ResourceID: row.ID.String(), ResourceName: row.Name}
}

// notify tells the pages that show the cluster. It is called once per transaction.
func notify(ctx context.Context, tx *ent.Tx, id uuid.UUID) error {
	return database.Notify(ctx, tx, topics(id)...)
}

// topics are what the pages that show the cluster listen to.
func topics(id uuid.UUID) []string { return []string{"clusters", fmt.Sprintf("cluster-%s", id)} }

// cursor of lists that are ordered by name and id.
func cursor(name string, id uuid.UUID) string { return name + "/" + id.String() }

// parseCursor starts from the beginning when the text is not one of ours.
func parseCursor(s string) (name string, id uuid.UUID) {
	name, rest, _ := strings.Cut(s, "/")
	id, err := uuid.Parse(rest)
	if err != nil {
		return "", uuid.Nil
	}
	return name, id
}
