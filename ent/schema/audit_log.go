package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// AuditLog is one thing that somebody did or tried. Rows are written in the
// transaction of the change and never changed.
type AuditLog struct{ ent.Schema }

// Mixin of AuditLog.
func (AuditLog) Mixin() []ent.Mixin { return []ent.Mixin{Created{}, AppendOnly{}} }

// Fields of AuditLog.
func (AuditLog) Fields() []ent.Field {
	return []ent.Field{
		field.Int("id").Immutable().Comment("entry number"),
		field.String("actor").NotEmpty().Immutable().Comment("user name, or shepherd"),
		field.String("action").NotEmpty().Immutable().Comment("noun.verb, such as ticket.approve"),
		field.String("resource_type").NotEmpty().Immutable(),
		field.String("resource_id").Immutable(),
		field.String("resource_name").Immutable(),
		field.String("system_id").Optional().Immutable().Comment("who may read the row"),
		field.Enum("result").Values("done", "refused", "failed").Default("done").Immutable(),
		field.String("reason").Optional().Immutable(),
		// Named fields only (an allow-list), so that no secret can slip in.
		field.JSON("details", map[string]any{}).Optional().Immutable(),
		field.String("request_id").Optional().Immutable(),
		field.String("ip_address").Optional().Immutable(),
	}
}

// Indexes of AuditLog.
func (AuditLog) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("resource_type", "resource_id", "id"),
		index.Fields("actor", "id"),
		index.Fields("action", "id"),
		index.Fields("system_id", "id"),
		index.Fields("created_at"),
	}
}
