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

// ApprovalTicket is a request on its way through decision and execution. Its
// id is the number that people see: TKT-123.
type ApprovalTicket struct{ ent.Schema }

// Mixin of ApprovalTicket.
func (ApprovalTicket) Mixin() []ent.Mixin { return []ent.Mixin{Created{}, Updated{}} }

// Fields of ApprovalTicket.
func (ApprovalTicket) Fields() []ent.Field {
	return []ent.Field{
		field.Int("id").Immutable(),
		field.UUID("event_id", uuid.UUID{}).Immutable().Comment("of the request, with the immutable payload"),
		field.Enum("operation").Values(strs(domain.Operations())...).Immutable(),
		field.Enum("status").Values(strs(domain.TicketStatuses())...).Default(string(domain.TicketPending)),
		field.Int("version").Default(1).Comment("rises with every change; a decision names the one it saw"),
		field.Enum("environment").Values(strs(domain.Environments())...).Immutable(),

		field.UUID("requester_id", uuid.UUID{}).Immutable(),
		field.String("requester").NotEmpty().Immutable().Comment("user name"),
		field.JSON("behind", []string{}).Optional().Immutable().Comment("ids of the people behind a program that asked"),
		field.String("reason").Immutable(),
		field.UUID("system_id", uuid.UUID{}).Immutable(),
		field.String("system_name").NotEmpty().Immutable(),
		field.UUID("service_id", uuid.UUID{}).Immutable(),
		field.String("service_name").NotEmpty().Immutable(),
		field.UUID("vm_id", uuid.UUID{}).Optional().Nillable().Immutable().Comment("of an operation on an existing VM"),
		field.String("title").NotEmpty().Immutable().Comment("what is asked, such as 2 × redis"),
		field.String("size").Optional().Immutable(),

		// A request that waits for the same resource and operation is refused by
		// a unique index, not by a query that races.
		field.String("resource_key").NotEmpty().Immutable(),

		field.String("approver").Optional().Comment("user name of who decided"),
		field.UUID("approver_id", uuid.UUID{}).Optional().Nillable(),
		field.Time("decided_at").Optional().Nillable(),
		field.String("decision_reason").Optional(),
		field.JSON("modified_spec", &domain.ChangeableSpec{}).Optional().Comment("full replacement of the changeable fields"),
		field.UUID("cluster_id", uuid.UUID{}).Optional().Nillable().Comment("chosen by the approver"),
		field.String("spec_hash").Optional().Comment("of what was approved: spec and cluster"),

		field.Time("finished_at").Optional().Nillable(),
		field.JSON("problem", domain.Problem{}).Optional().Comment("why it failed or needs attention"),
		field.Time("expires_at").Immutable(),
	}
}

// Edges of ApprovalTicket.
func (ApprovalTicket) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("event", DomainEvent.Type).Unique().Required().Immutable().Field("event_id").
			Annotations(entsql.OnDelete(entsql.Restrict)),
	}
}

// Indexes of ApprovalTicket.
func (ApprovalTicket) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("resource_key", "operation").Unique().
			Annotations(entsql.IndexWhere("status = 'SUBMITTED' OR status = 'PENDING_APPROVAL'")),
		index.Fields("status", "environment", "id"),
		index.Fields("requester_id", "id"),
		index.Fields("system_id", "id"),
		index.Fields("service_id", "id"),
		index.Fields("vm_id", "id"),
		index.Fields("decided_at"),
		index.Fields("expires_at").Annotations(entsql.IndexWhere("status = 'PENDING_APPROVAL'")),
	}
}
