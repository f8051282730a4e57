package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// VMRevision is one approved specification of a VM. Rows are never changed.
type VMRevision struct{ ent.Schema }

// Mixin of VMRevision.
func (VMRevision) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, AppendOnly{}} }

// Fields of VMRevision.
func (VMRevision) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("vm_id", uuid.UUID{}).Immutable(),
		field.Int("revision").Positive().Immutable(),
		field.JSON("spec", domain.ChangeableSpec{}).Immutable(),
		field.Int("ticket_id").Immutable(),
		field.String("created_by").NotEmpty().Immutable().Comment("user name of who approved"),
	}
}

// Edges of VMRevision.
func (VMRevision) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("vm", VM.Type).Ref("revisions").Unique().Required().Immutable().Field("vm_id"),
	}
}

// Indexes of VMRevision.
func (VMRevision) Indexes() []ent.Index {
	return []ent.Index{index.Fields("vm_id", "revision").Unique()}
}
