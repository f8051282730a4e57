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

// Namespace is a namespace of a cluster that an admin has registered. A
// namespace of one name has one environment on all clusters.
type Namespace struct{ ent.Schema }

// Mixin of Namespace.
func (Namespace) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of Namespace.
func (Namespace) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("cluster_id", uuid.UUID{}).Immutable(),
		field.String("name").NotEmpty().MaxLen(domain.MaxLabel).Immutable(),
		field.Enum("environment").Values(strs(domain.Environments())...).Immutable(),
		field.String("created_by").NotEmpty().Immutable(),

		// What the cluster says of it.
		field.Enum("presence").Values(strs(domain.Presences())...).Default(string(domain.PresenceUnknown)),
		field.JSON("quotas", []domain.Quota{}).Optional(),
		field.Time("checked_at").Optional().Nillable(),
	}
}

// Edges of Namespace.
func (Namespace) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("cluster", Cluster.Type).Ref("namespaces").Unique().Required().Immutable().Field("cluster_id"),
	}
}

// Indexes of Namespace.
func (Namespace) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("cluster_id", "name").Unique(),
		index.Fields("name", "id"),
	}
}

// catalogStatus is the life of a template or size.
var catalogStatus = []string{"draft", "active", "deprecated", "archived"}

// Template is an operating system image with its first-boot data, in versions.
type Template struct{ ent.Schema }

// Mixin of Template.
func (Template) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, Updated{}} }

// Fields of Template.
func (Template) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").NotEmpty().MaxLen(domain.MaxLabel).Immutable(),
		field.Int("version").Positive().Immutable(),
		field.String("display_name").NotEmpty(),
		field.String("description").Optional(),
		field.String("image").NotEmpty().Immutable().Comment("docker://… or https://…"),
		field.Int("min_disk_gib").Positive().Default(10),
		field.String("preference").Optional().Comment("cluster preference"),
		field.Strings("required_features").Optional().Comment("that a cluster must have"),
		field.Strings("required_hardware").Optional(),
		// First-boot data may hold secrets: it is sealed, and given to a cluster
		// as a Secret only.
		field.Bytes("sealed_cloud_init").Optional().Sensitive(),
		field.String("key_id").Optional(),
		field.Enum("status").Values(catalogStatus...).Default("draft"),
		field.String("note").Optional(),
		field.String("created_by").NotEmpty().Immutable(),
	}
}

// Indexes of Template.
func (Template) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("name", "version").Unique(),
		index.Fields("name").Unique().StorageKey("template_active").Annotations(entsql.IndexWhere("status = 'active'")),
	}
}

// InstanceSize is a shape of VMs: vCPU, memory and a default disk.
type InstanceSize struct{ ent.Schema }

// Mixin of InstanceSize.
func (InstanceSize) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, Updated{}} }

// Fields of InstanceSize.
func (InstanceSize) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").NotEmpty().MaxLen(domain.MaxLabel).Unique().Immutable(),
		field.Int("cpu").Positive().Comment("vCPU"),
		field.Int("memory_mib").Positive(),
		field.Int("disk_gib").Positive().Comment("default of the request form"),
		field.Int("max_disk_gib").Positive().Default(1024),
		field.Enum("status").Values(catalogStatus...).Default("draft"),
		field.String("created_by").NotEmpty().Immutable(),
	}
}
