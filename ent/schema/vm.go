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

// VM is a virtual machine: what was approved, and what was last seen of it.
// Identity: cluster + namespace + system + service + instance.
type VM struct{ ent.Schema }

// Mixin of VM.
func (VM) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, Updated{}} }

// Fields of VM.
func (VM) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("service_id", uuid.UUID{}).Immutable(),
		field.UUID("system_id", uuid.UUID{}).Immutable().Comment("the service's, so that lists filter without a join"),
		field.UUID("cluster_id", uuid.UUID{}).Immutable(),
		field.String("name").NotEmpty().MaxLen(domain.MaxLabel).Immutable(),
		field.String("namespace").NotEmpty().Immutable(),
		field.Int("instance").Positive().Immutable(),
		field.Enum("environment").Values(strs(domain.Environments())...).Immutable(),
		field.String("created_by").NotEmpty().Immutable().Comment("user name of the requester"),
		field.Int("ticket_id").Immutable().Comment("that approved it"),

		// What was approved.
		field.String("template").NotEmpty(),
		field.Int("template_version").Positive(),
		field.String("size").NotEmpty(),
		field.Int("cpu").Positive().Comment("vCPU"),
		field.Int("memory_mib").Positive(),
		field.Int("disk_gib").Positive(),

		// The read model: written by the watcher only.
		field.Enum("state").Values(strs(domain.VMStates())...).Default(string(domain.StateRequested)),
		field.Enum("health").Values("ok", "idle", "busy", "bad").Default(string(domain.HealthBusy)).
			Comment("group of the state, for filters and badges"),
		field.JSON("problem", domain.Problem{}).Optional(),
		field.String("ip_address").Optional(),
		field.String("node_name").Optional(),
		field.String("guest_os").Optional(),
		field.Time("started_at").Optional().Nillable(),
		field.Time("observed_at").Optional().Nillable(),
		field.String("uid").Optional().Comment("of the object"),
		field.String("resource_version").Optional(),

		field.Time("deleted_at").Optional().Nillable(),
	}
}

// Edges of VM.
func (VM) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("service", Service.Type).Ref("vms").Unique().Required().Immutable().Field("service_id"),
		edge.From("cluster", Cluster.Type).Ref("vms").Unique().Required().Immutable().Field("cluster_id"),
		edge.To("revisions", VMRevision.Type).Annotations(entsql.OnDelete(entsql.Restrict)),
	}
}

// Indexes of VM.
func (VM) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("service_id", "instance").Unique(),
		index.Fields("cluster_id", "namespace", "name").Unique().Annotations(entsql.IndexWhere("deleted_at IS NULL")),
		index.Fields("cluster_id", "name", "id").Annotations(entsql.IndexWhere("deleted_at IS NULL")),
		index.Fields("system_id", "health"),
		index.Fields("service_id", "health", "instance"),
		index.Fields("name", "id"),
		index.Fields("health", "name", "id").Annotations(entsql.IndexWhere("deleted_at IS NULL")),
		index.Fields("ip_address"),
		index.Fields("ticket_id"),
	}
}
