package schema

import (
	"encoding/json"

	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// DomainEvent is a fact, or an order to the worker. The payload is written
// once; only how far the work has come changes (ADR-0009 of the seed). A River
// job carries nothing but the id.
type DomainEvent struct{ ent.Schema }

// Mixin of DomainEvent.
func (DomainEvent) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, Updated{}} }

// Fields of DomainEvent.
func (DomainEvent) Fields() []ent.Field {
	return []ent.Field{
		field.Enum("type").Values(strs(domain.EventTypes())...).Immutable(),
		field.String("aggregate_type").NotEmpty().Immutable().Comment("ticket or vm"),
		field.String("aggregate_id").NotEmpty().Immutable(),
		field.JSON("payload", json.RawMessage{}).Immutable(),
		field.String("created_by").NotEmpty().Immutable(),
		field.Int("ticket_id").Optional().Nillable().Immutable().Comment("whose approval ordered it"),
		field.UUID("cluster_id", uuid.UUID{}).Optional().Nillable().Immutable(),

		field.Enum("status").Values(strs(domain.EventStatuses())...).Default(string(domain.EventPending)),
		field.Int("attempts").Default(0),
		// A worker holds the event for a while; the fence rises with each holder,
		// so that one that comes back from the dead cannot write.
		field.Int("fence").Default(0),
		field.Time("lease_until").Optional().Nillable(),
		field.String("worker").Optional(),
		field.Enum("step").Values("RESERVED", "NAMESPACE", "CLOUD_INIT", "CREATED", "DONE").Default("RESERVED"),
		field.JSON("problem", domain.Problem{}).Optional().Comment("why it waits or failed"),
		field.Bool("needs_attention").Default(false),
		field.Time("processed_at").Optional().Nillable(),
		field.Time("archived_at").Optional().Nillable(),
	}
}

// Hooks of DomainEvent: events are archived, never deleted.
func (DomainEvent) Hooks() []ent.Hook {
	return []ent.Hook{only(ent.OpCreate | ent.OpUpdate | ent.OpUpdateOne)}
}

// Indexes of DomainEvent.
func (DomainEvent) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("aggregate_type", "aggregate_id", "created_at"),
		index.Fields("ticket_id", "created_at"),
		index.Fields("status", "created_at"),
		index.Fields("cluster_id", "id").Annotations(entsql.IndexWhere("status = 'PENDING' OR status = 'PROCESSING'")),
	}
}
