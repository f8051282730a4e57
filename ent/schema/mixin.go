// Package schema describes every row of the database. Generated code and
// migrations follow from it: run `go generate ./ent` after a change.
package schema

import (
	"context"
	"time"

	"entgo.io/ent"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/mixin"
	"github.com/google/uuid"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// NewID returns a UUIDv7: time-ordered, so that keyset pages follow creation.
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// Now is UTC and microsecond precise, which is what PostgreSQL keeps.
func Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// ID gives an entity its identifier.
type ID struct{ mixin.Schema }

// Fields of ID.
func (ID) Fields() []ent.Field {
	return []ent.Field{field.UUID("id", uuid.UUID{}).Default(NewID).Immutable()}
}

// Created gives an entity the time of its creation.
type Created struct{ mixin.Schema }

// Fields of Created.
func (Created) Fields() []ent.Field {
	return []ent.Field{field.Time("created_at").Default(Now).Immutable()}
}

// Updated gives an entity the time of its last change.
type Updated struct{ mixin.Schema }

// Fields of Updated.
func (Updated) Fields() []ent.Field {
	return []ent.Field{field.Time("updated_at").Default(Now).UpdateDefault(Now)}
}

// AppendOnly refuses updates and deletes of rows. A trigger in the database
// refuses them too, for whoever comes past this code.
type AppendOnly struct{ mixin.Schema }

// Hooks of AppendOnly.
func (AppendOnly) Hooks() []ent.Hook {
	return []ent.Hook{only(ent.OpCreate)}
}

// only lets the given operations pass.
func only(ops ent.Op) ent.Hook {
	return func(next ent.Mutator) ent.Mutator {
		return ent.MutateFunc(func(ctx context.Context, m ent.Mutation) (ent.Value, error) {
			if !m.Op().Is(ops) {
				return nil, apperr.New(apperr.ErrAppendOnly).With("table", m.Type())
			}
			return next.Mutate(ctx, m)
		})
	}
}

// strs turns typed constants into the values of an enum.
func strs[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}
