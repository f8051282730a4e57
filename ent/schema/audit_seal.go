package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
)

// AuditSeal is one link of the chain over the audit log: the hash of an entry
// and of the link before it (package audit says how). Links are numbered from 1
// without a gap, in the order of sealing.
type AuditSeal struct{ ent.Schema }

// Mixin of AuditSeal.
func (AuditSeal) Mixin() []ent.Mixin { return []ent.Mixin{AppendOnly{}} }

// Fields of AuditSeal.
func (AuditSeal) Fields() []ent.Field {
	return []ent.Field{
		field.Int("id").Positive().Immutable().Comment("number of the link"),
		field.Int("audit_id").Unique().Immutable().Comment("the entry that it seals"),
		field.Bytes("hash").MinLen(32).MaxLen(32).Immutable(),
	}
}

// AuditUnsealed is the list of entries that wait for their seal. A trigger of
// the audit log adds to it, in the transaction of the entry.
type AuditUnsealed struct{ ent.Schema }

// Annotations of AuditUnsealed.
func (AuditUnsealed) Annotations() []schema.Annotation {
	return []schema.Annotation{entsql.Table("audit_unsealed")}
}

// Fields of AuditUnsealed.
func (AuditUnsealed) Fields() []ent.Field {
	return []ent.Field{field.Int("id").Immutable().Comment("number of the entry")}
}
