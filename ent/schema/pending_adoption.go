package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
)

// PendingAdoption is a VM that was found on a cluster and is not ours.
type PendingAdoption struct{ ent.Schema }

// Mixin of PendingAdoption.
func (PendingAdoption) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, Updated{}} }

// Fields of PendingAdoption.
func (PendingAdoption) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("cluster_id", uuid.UUID{}).Immutable(),
		field.String("namespace").NotEmpty().Immutable(),
		field.String("name").NotEmpty().Immutable(),
		field.String("uid").NotEmpty().Immutable(),
		field.JSON("labels", map[string]string{}).Optional(),
		field.Enum("status").Values("PENDING", "ADOPTED", "IGNORED").Default("PENDING"),
		field.String("decided_by").Optional(),
		field.Time("decided_at").Optional().Nillable(),
		field.Time("discovered_at").Default(Now).Immutable(),
	}
}

// Edges of PendingAdoption.
func (PendingAdoption) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("cluster", Cluster.Type).Ref("adoptions").Unique().Required().Immutable().Field("cluster_id"),
	}
}

// Indexes of PendingAdoption.
func (PendingAdoption) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("cluster_id", "uid").Unique(),
		index.Fields("status", "id"),
	}
}
