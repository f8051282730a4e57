package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"kubevirt-shepherd.io/shepherd/internal/domain"
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

		// Who is behind the actor, and by what it acts. An entry without any of the
		// following is sealed as entries were before there were these columns.
		field.String("actor_id").Optional().Immutable().Comment("user id; empty for shepherd and anonymous"),
		field.String("on_behalf_of_id").Optional().Immutable().Comment("user id of the person for whom the actor acts"),
		field.String("on_behalf_of").Optional().Immutable().Comment("user name then"),
		field.String("via").Optional().Immutable().Comment("token, job or cli; empty: a browser"),
		field.String("via_id").Optional().Immutable().Comment("id of the token or of the order"),
		field.String("via_name").Optional().Immutable().Comment("name of the token or chore, or account of the operating system"),
		field.JSON("changes", map[string]domain.Change{}).Optional().Immutable().Comment("before and after, by field; allow-list in package audit"),
	}
}

// Indexes of AuditLog.
func (AuditLog) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("resource_type", "resource_id", "id"),
		index.Fields("actor", "id"),
		index.Fields("action", "id"),
		index.Fields("system_id", "id"),
		index.Fields("on_behalf_of", "id").Annotations(entsql.IndexWhere("on_behalf_of IS NOT NULL")),
		index.Fields("created_at"),
	}
}
