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
		field.String("name").NotEmpty().MaxLen(domain.MaxLabel).Immutable(),
		field.String("place").Optional(),
		field.Enum("environment").Values(strs(domain.Environments())...).Immutable(),
		field.Bool("enabled").Default(true).Comment("false: left alone; not checked, not watched, nothing is done there"),
		field.Bool("drained").Default(false).Comment("takes no new VMs"),
		field.Int("weight").Default(domain.DefaultWeight).Range(0, domain.MaxWeight).Comment("share of new VMs, beside other clusters"),
		field.Strings("hardware").Optional().Comment("what an admin says it has"),
		field.String("created_by").NotEmpty().Immutable(),

		field.Bytes("encrypted_kubeconfig").Sensitive().Comment("AES-256-GCM; the chosen cluster and user only"),
		field.String("encryption_key_id").NotEmpty(),
		field.Int("credential_generation").Default(1),
		field.Time("credential_expires_at").Optional().Nillable(),
		field.String("credential_kind").Optional().Comment("token or certificate"),
		field.String("credential_subject").Optional().Comment("whom it signs in"),
		field.Int("credential_warned").Default(0).Comment("days before its end of the last warning; 0: none yet"),
		field.String("api_server_url").NotEmpty(),
		field.String("identity_uid").NotEmpty().Comment("UID of the namespace kube-system"),

		field.Enum("status").Values(strs(domain.ClusterStatuses())...).Default(string(domain.ClusterUnknown)),
		field.JSON("status_reason", domain.Problem{}).Optional(),
		field.String("kubevirt_version").Optional(),
		field.String("kubernetes_version").Optional(),
		field.Strings("enabled_features").Optional().Comment("in effect: switched on, or on by default in its version"),
		field.JSON("capabilities", domain.Capabilities{}).Optional(),
		field.Time("described_at").Optional().Nillable().Comment("when the capabilities were read"),
		field.JSON("storage_classes", []domain.StorageClass{}).Optional(),
		field.Int("nodes").Default(0),
		field.Int("ready_nodes").Default(0),
		field.Int("allocatable_cpu").Default(0).Comment("vCPU of the nodes that take VMs"),
		field.Int("allocatable_memory_mib").Default(0),
		field.Time("checked_at").Optional().Nillable(),
		field.Time("answered_at").Optional().Nillable().Comment("last check that got an answer"),
		field.Int("failures").Default(0).Comment("checks in a row without an answer"),
		field.Time("next_check_at").Optional().Nillable().Comment("nil: now"),

		// One replica watches a cluster at a time; database time decides.
		field.String("watcher").Optional(),
		field.Time("watch_until").Optional().Nillable(),
		field.Time("heard_at").Optional().Nillable().Comment("last sign of life of the watch: what is shown is that old"),
		field.Int("vm_count").Default(0),

		// A cluster that went back in time, or is another one, gets no writes until
		// an admin has accepted what it became.
		field.Int64("list_version").Default(0).Comment("highest resourceVersion of a complete list"),
		field.Time("quarantined_at").Optional().Nillable(),
		field.JSON("quarantine_reason", domain.Problem{}).Optional(),
		field.JSON("quarantine_report", domain.QuarantineReport{}).Optional().Comment("what the findings sum up to"),

		// A cluster that was removed stays as a row without its credential, switched
		// off, because deleted VMs and the history name it. It exists for nobody.
		field.Time("removed_at").Optional().Nillable(),
	}
}

// Edges of Cluster.
func (Cluster) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("vms", VM.Type).Annotations(entsql.OnDelete(entsql.Restrict)),
		edge.To("namespaces", Namespace.Type).Annotations(entsql.OnDelete(entsql.Restrict)),
		edge.To("adoptions", PendingAdoption.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
		edge.To("events", ClusterEvent.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
		edge.To("findings", QuarantineFinding.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
		edge.To("replacements", ClusterReplacement.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
	}
}

// Indexes of Cluster: a name and an identity are free again once their cluster
// was removed.
func (Cluster) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("next_check_at").Annotations(entsql.IndexWhere("enabled")), // those that are due
		index.Fields("credential_expires_at"),
		index.Fields("name").Unique().Annotations(entsql.IndexWhere("removed_at IS NULL")),
		index.Fields("identity_uid").Unique().Annotations(entsql.IndexWhere("removed_at IS NULL")),
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
		field.String("preflight_context").Optional().Comment("that was looked through last"),
		field.JSON("preflights", map[string]domain.Preflight{}).Optional().Comment("by name of the context"),
		field.Time("expires_at").Immutable(),
	}
}

// Indexes of ClusterDraft.
func (ClusterDraft) Indexes() []ent.Index { return []ent.Index{index.Fields("expires_at")} }

// ClusterEvent is something that changed at a cluster, or went wrong there: the
// timeline of its page.
type ClusterEvent struct{ ent.Schema }

// Mixin of ClusterEvent.
func (ClusterEvent) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of ClusterEvent.
func (ClusterEvent) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("cluster_id", uuid.UUID{}).Immutable(),
		field.Enum("kind").Values(strs(domain.ClusterEventKinds())...).Immutable(),
		field.String("before").Optional().Immutable(),
		field.String("after").Optional().Immutable(),
		field.JSON("problem", domain.Problem{}).Optional().Comment("of an error, or of a status"),
		field.Int("count").Default(1).Comment("of the same in a row"),
		field.Time("last_at").Default(Now).Comment("of the last one"),
	}
}

// Edges of ClusterEvent.
func (ClusterEvent) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("cluster", Cluster.Type).Ref("events").Unique().Required().Immutable().Field("cluster_id"),
	}
}

// Indexes of ClusterEvent.
func (ClusterEvent) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("cluster_id", "id"),
		index.Fields("cluster_id", "kind", "id"),
		index.Fields("last_at"),
	}
}

// ClusterReplacement is a credential that waits for a second admin, because it
// leads to a cluster with another identity.
type ClusterReplacement struct{ ent.Schema }

// Mixin of ClusterReplacement.
func (ClusterReplacement) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of ClusterReplacement.
func (ClusterReplacement) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("cluster_id", uuid.UUID{}).Immutable(),
		field.UUID("requested_by_id", uuid.UUID{}).Immutable(),
		field.String("requested_by").NotEmpty().Immutable(),
		field.String("reason").Optional().Immutable(),
		field.Bytes("sealed").Sensitive().Comment("the credential"),
		field.String("key_id").NotEmpty(),
		field.String("server").NotEmpty().Immutable(),
		field.String("kind").Optional().Immutable(),
		field.String("subject").Optional().Immutable(),
		field.Time("credential_expires_at").Optional().Nillable().Immutable(),
		field.String("identity_uid").NotEmpty().Immutable(),
		field.JSON("preflight", domain.Preflight{}).Optional().Immutable(),
		field.Time("expires_at").Immutable(),
	}
}

// Edges of ClusterReplacement.
func (ClusterReplacement) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("cluster", Cluster.Type).Ref("replacements").Unique().Required().Immutable().Field("cluster_id"),
	}
}

// Indexes of ClusterReplacement.
func (ClusterReplacement) Indexes() []ent.Index {
	return []ent.Index{index.Fields("cluster_id").Unique(), index.Fields("expires_at")}
}

// QuarantineFinding is one difference between what Shepherd knows of a
// quarantined cluster and what is there.
type QuarantineFinding struct{ ent.Schema }

// Mixin of QuarantineFinding.
func (QuarantineFinding) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of QuarantineFinding.
func (QuarantineFinding) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("cluster_id", uuid.UUID{}).Immutable(),
		field.Enum("group").Values(strs(domain.FindingGroups())...).Immutable(),
		field.UUID("vm_id", uuid.UUID{}).Optional().Nillable().Immutable().Comment("nil: Shepherd knows no such VM"),
		field.String("namespace").NotEmpty().Immutable(),
		field.String("name").NotEmpty().Immutable(),
		field.String("uid").Optional().Immutable().Comment("of the object that is there"),
		field.JSON("before", domain.Observed{}).Optional().Immutable(),
		field.JSON("after", domain.Observed{}).Optional().Immutable(),
	}
}

// Edges of QuarantineFinding.
func (QuarantineFinding) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("cluster", Cluster.Type).Ref("findings").Unique().Required().Immutable().Field("cluster_id"),
	}
}

// Indexes of QuarantineFinding.
func (QuarantineFinding) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("cluster_id", "group", "namespace", "name", "id"),
		index.Fields("cluster_id", "namespace", "name"),
	}
}
