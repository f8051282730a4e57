package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
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

// AuditAnchor stands for a range of the chain whose entries are in an archive:
// with it the chain goes on over the cut. A trigger lets only such entries be
// removed that an anchor covers.
type AuditAnchor struct{ ent.Schema }

// Mixin of AuditAnchor.
func (AuditAnchor) Mixin() []ent.Mixin { return []ent.Mixin{AppendOnly{}} }

// Fields of AuditAnchor.
func (AuditAnchor) Fields() []ent.Field {
	return []ent.Field{
		field.Int("id").Positive().Immutable().Comment("number of the last link of the archive"),
		field.Int("first_seq").Unique().Positive().Immutable().Comment("number of its first link"),
		field.Bytes("before").MinLen(32).MaxLen(32).Immutable().Comment("hash of the link before the first one; zeros for link 1"),
		field.Bytes("hash").MinLen(32).MaxLen(32).Immutable().Comment("of the last link"),
		field.String("file").NotEmpty().Immutable().Comment("name of the archive"),
		field.Bytes("file_sha256").MinLen(32).MaxLen(32).Immutable(),
		field.Time("at").Immutable(),
		field.String("key_id").NotEmpty().Immutable().Comment("of the key that the signature's is derived from"),
		field.Bytes("signature").Immutable().Comment("Ed25519, over all of the above"),
	}
}

// AuditFilter is a filter of the audit log that somebody keeps under a name.
type AuditFilter struct{ ent.Schema }

// Mixin of AuditFilter.
func (AuditFilter) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of AuditFilter.
func (AuditFilter) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("owner_id", uuid.UUID{}).Immutable(),
		field.String("owner").NotEmpty().Immutable().Comment("user name"),
		field.String("name").NotEmpty().Immutable(),
		field.Bool("shared").Immutable().Comment("with all who may read the whole log"),
		field.String("query").Immutable().Comment("of the page's address"),
	}
}

// Indexes of AuditFilter.
func (AuditFilter) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("owner_id", "name").Unique(),
		index.Fields("name").Unique().Annotations(entsql.IndexWhere("shared")),
	}
}
