package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// ApprovalPolicy says what happens to requests of an operation in an environment.
type ApprovalPolicy struct{ ent.Schema }

// Mixin of ApprovalPolicy.
func (ApprovalPolicy) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, Updated{}} }

// Fields of ApprovalPolicy.
func (ApprovalPolicy) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").NotEmpty().MaxLen(domain.MaxLabel).Unique(),
		field.String("description").Optional(),
		field.Enum("operation").Values(strs(domain.Operations())...),
		field.Enum("environment").Values(strs(domain.Environments())...),
		field.Enum("effect").Values("REQUIRE_APPROVAL", "AUTO_APPROVE", "DENY").Default("REQUIRE_APPROVAL"),
		field.Text("expression").Optional().Comment("CEL; empty: every request"),
		field.Int("priority").Default(0).Comment("the highest that matches decides"),
		field.Bool("enabled").Default(true),
	}
}

// Indexes of ApprovalPolicy.
func (ApprovalPolicy) Indexes() []ent.Index {
	return []ent.Index{index.Fields("operation", "environment", "priority")}
}
