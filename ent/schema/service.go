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

// Service is an application of a system: the owner of VMs.
type Service struct{ ent.Schema }

// Mixin of Service.
func (Service) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, Updated{}} }

// Fields of Service.
func (Service) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("system_id", uuid.UUID{}).Immutable(),
		field.String("name").NotEmpty().MaxLen(domain.MaxLabel).Immutable(),
		field.Text("documentation").Optional().Comment("Markdown"),
		field.String("created_by").NotEmpty().Immutable().Comment("user name"),
		field.Int("next_instance_index").Default(1).Positive().
			Comment("only rises; there is no way to set it back, so a recovered cluster's ghosts never meet a new VM"),
		// Two services may not produce the same VM name: a-b + c is a + b-c.
		field.String("namespace").NotEmpty().Immutable().Comment("copied from the system"),
		field.String("vm_prefix").NotEmpty().MaxLen(domain.MaxPrefix).Immutable(),
		field.Int("vm_count").Default(0),
		field.Int("bad_count").Default(0).Comment("VMs that need somebody"),
	}
}

// Edges of Service.
func (Service) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("system", System.Type).Ref("services").Unique().Required().Immutable().Field("system_id"),
		edge.To("vms", VM.Type).Annotations(entsql.OnDelete(entsql.Restrict)),
	}
}

// Indexes of Service.
func (Service) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("system_id", "name").Unique(),
		index.Fields("namespace", "vm_prefix").Unique(),
	}
}
