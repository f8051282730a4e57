package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
)

// IdempotencyKey is a deed that a program asked for under a key of its own, so
// that asking again does not do it again. It lives for a day.
type IdempotencyKey struct{ ent.Schema }

// Mixin of IdempotencyKey.
func (IdempotencyKey) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of IdempotencyKey.
func (IdempotencyKey) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("user_id", uuid.UUID{}).Immutable(),
		field.String("key").NotEmpty().MaxLen(255).Immutable(),
		field.Bytes("request_hash").Immutable(), // SHA-256 of method, address and body
		// The try that may do the deed: who was taken for dead cannot do it any more.
		field.Int("attempt").Default(1),
		field.Time("attempt_at").Default(Now),
		// Written in the transaction of the deed.
		field.Bool("done").Default(false),
		field.Int("status").Default(0), // of the answer; 0: none is kept
		field.String("location").Default(""),
		field.Bytes("answer").Optional(),
	}
}

// Indexes of IdempotencyKey.
func (IdempotencyKey) Indexes() []ent.Index {
	return []ent.Index{index.Fields("user_id", "key").Unique(), index.Fields("created_at")}
}
