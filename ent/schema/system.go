package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// System is a business line: the owner of services, in one namespace.
type System struct{ ent.Schema }

// Mixin of System.
func (System) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, Updated{}} }

// Fields of System.
func (System) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").NotEmpty().MaxLen(domain.MaxLabel).Immutable(),
		field.String("namespace").NotEmpty().MaxLen(domain.MaxLabel).Immutable(),
		field.Text("documentation").Optional().Comment("Markdown"),
		field.String("created_by").NotEmpty().Immutable().Comment("user name"),
		field.Enum("environment").Values(strs(domain.Environments())...).Default(string(domain.Test)).
			Comment("copied from the namespace"),
		// The counters below are kept by the use case that changes a VM, in its
		// transaction, so that no page counts rows (ARCHITECTURE, decision 5).
		field.Int("vm_count").Default(0),
		field.Int("bad_count").Default(0).Comment("VMs that need somebody"),
	}
}

// Edges of System.
func (System) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("services", Service.Type).Annotations(entsql.OnDelete(entsql.Restrict)),
		edge.To("bindings", RoleBinding.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
	}
}

// Indexes of System.
func (System) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("namespace", "name").Unique(),
		index.Fields("name", "id"),
	}
}
