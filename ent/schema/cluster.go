package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Cluster is a KubeVirt cluster with its sealed credential and what the
// periodic check last found.
type Cluster struct{ ent.Schema }

// Mixin of Cluster.
func (Cluster) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, Updated{}} }

// Fields of Cluster.
func (Cluster) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").NotEmpty().MaxLen(domain.MaxLabel).Unique().Immutable(),
		field.String("place").Optional(),
		field.Enum("environment").Values(strs(domain.Environments())...).Immutable(),
		field.Bool("enabled").Default(true).Comment("takes new VMs"),
		field.String("created_by").NotEmpty().Immutable(),

		field.Bytes("encrypted_kubeconfig").Sensitive().Comment("AES-256-GCM; the chosen cluster and user only"),
		field.String("encryption_key_id").NotEmpty(),
		field.Int("credential_generation").Default(1),
		field.Time("credential_expires_at").Optional().Nillable(),
		field.String("api_server_url").NotEmpty(),
		field.String("identity_uid").NotEmpty().Immutable().Unique().Comment("UID of the namespace kube-system"),

		field.Enum("status").Values(strs(domain.ClusterStatuses())...).Default(string(domain.ClusterUnknown)),
		field.JSON("status_reason", domain.Problem{}).Optional(),
		field.String("kubevirt_version").Optional(),
		field.String("kubernetes_version").Optional(),
		field.Strings("enabled_features").Optional(),
		field.JSON("storage_classes", []domain.StorageClass{}).Optional(),
		field.Int("nodes").Default(0),
		field.Int("ready_nodes").Default(0),
		field.Int("allocatable_cpu").Default(0).Comment("vCPU of the nodes that take VMs"),
		field.Int("allocatable_memory_mib").Default(0),
		field.Time("checked_at").Optional().Nillable(),
		field.Time("answered_at").Optional().Nillable().Comment("last check that got an answer"),
		field.Int("failures").Default(0).Comment("checks in a row without an answer"),

		// One replica watches a cluster at a time; database time decides.
		field.String("watcher").Optional(),
		field.Time("watch_until").Optional().Nillable(),
		field.Int("vm_count").Default(0),
	}
}

// Edges of Cluster.
func (Cluster) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("vms", VM.Type).Annotations(entsql.OnDelete(entsql.Restrict)),
		edge.To("namespaces", Namespace.Type).Annotations(entsql.OnDelete(entsql.Restrict)),
		edge.To("adoptions", PendingAdoption.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
	}
}

// ClusterDraft is a cluster that an admin is adding: what was read from the
// uploaded file, sealed, until it is confirmed or half an hour is over.
type ClusterDraft struct{ ent.Schema }

// Mixin of ClusterDraft.
func (ClusterDraft) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of ClusterDraft.
func (ClusterDraft) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("user_id", uuid.UUID{}).Immutable(),
		field.String("file_name").Optional().Immutable(),
		field.Bytes("sealed").Sensitive().Immutable().Comment("the credentials of the usable contexts"),
		field.String("key_id").NotEmpty().Immutable(),
		field.JSON("contexts", []DraftContext{}).Immutable().Comment("for the page; no secret"),
		field.String("current").Optional().Immutable(),
		field.String("preflight_context").Optional().Comment("that preflight looked through"),
		field.JSON("preflight", domain.Preflight{}).Optional(),
		field.Time("expires_at").Immutable(),
	}
}

// Indexes of ClusterDraft.
func (ClusterDraft) Indexes() []ent.Index { return []ent.Index{index.Fields("expires_at")} }
