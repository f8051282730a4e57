package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// AccessToken is a bearer token of a program. Its id is the jti of the JWT; the
// row, and not the JWT, says what the token may do and until when.
type AccessToken struct{ ent.Schema }

// Mixin of AccessToken.
func (AccessToken) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of AccessToken.
func (AccessToken) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("user_id", uuid.UUID{}).Immutable().Comment("who the program is"),
		field.String("name").NotEmpty().Immutable(),
		field.JSON("scopes", []domain.Scope{}).Immutable(),
		field.String("created_by").NotEmpty().Immutable(),
		// The person behind the program; nil for a token of the command line.
		field.UUID("maker_id", uuid.UUID{}).Optional().Nillable().Immutable(),
		field.Time("expires_at").Immutable(),
		field.Time("revoked_at").Optional().Nillable(),
		field.String("revoked_by").Optional(),
		field.Time("last_used_at").Optional().Nillable().Comment("exact to a minute"),
		field.String("last_used_ip").Optional(),
		field.Time("refused_at").Optional().Nillable().Comment("last time that a refusal went into the audit log"),
		field.Int("reminders").Default(0).Comment("how many of the two before its end were sent"),
	}
}

// Edges of AccessToken.
func (AccessToken) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("user", User.Type).Ref("tokens").Unique().Required().Immutable().Field("user_id"),
	}
}

// Indexes of AccessToken.
func (AccessToken) Indexes() []ent.Index {
	return []ent.Index{index.Fields("user_id", "id"), index.Fields("expires_at")}
}
