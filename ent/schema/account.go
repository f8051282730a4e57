package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// User is somebody with an account: a person, or a program (a service account),
// which has no password and signs in by tokens only.
type User struct{ ent.Schema }

// Mixin of User.
func (User) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, Updated{}} }

// Fields of User.
func (User) Fields() []ent.Field {
	return []ent.Field{
		field.String("username").NotEmpty().MaxLen(domain.MaxLabel).Unique().Immutable(),
		field.String("display_name").Optional(),
		field.Enum("kind").Values("person", "service").Default("person").Immutable(),
		// Of a service account: what it is for, and the person or the group who
		// answers for it.
		field.String("description").Optional(),
		field.UUID("owner_id", uuid.UUID{}).Optional().Nillable(),
		field.UUID("owner_group_id", uuid.UUID{}).Optional().Nillable(),
		field.String("password_hash").Optional().Sensitive().Comment("argon2id; empty until the setup link was used"),
		field.Bool("disabled").Default(false),
		field.Int("session_epoch").Default(0).Comment("sessions of another epoch are over; a counter needs no clocks that agree"),
		field.String("setup_hash").Optional().Sensitive().Comment("SHA-256 of the one-time link's token"),
		field.Time("setup_expires_at").Optional().Nillable(),
		field.Time("last_sign_in_at").Optional().Nillable(),
		field.String("language").MaxLen(20).Optional().Nillable().Comment("BCP 47, of the pages; NULL: what the browser asks for"),
		// Wrong passwords slow the next try down; they never lock anybody out.
		field.Int("failed_sign_ins").Default(0),
		field.Time("next_sign_in_at").Optional().Nillable(),
	}
}

// Edges of User.
func (User) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("bindings", RoleBinding.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
		edge.To("identities", Identity.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
		edge.To("memberships", GroupMember.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
		edge.To("notifications", Notification.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
		edge.To("tokens", AccessToken.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
		edge.To("services", User.Type).Annotations(entsql.OnDelete(entsql.Restrict)).From("owner").Unique().Field("owner_id"),
		edge.From("owner_group", Group.Type).Ref("services").Unique().Field("owner_group_id"),
	}
}

// Indexes of User.
func (User) Indexes() []ent.Index {
	return []ent.Index{index.Fields("kind", "username"), index.Fields("owner_id"), index.Fields("owner_group_id")}
}

// Group is a set of users who have its roles.
type Group struct{ ent.Schema }

// Mixin of Group.
func (Group) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}, Updated{}} }

// Fields of Group.
func (Group) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").NotEmpty().MaxLen(domain.MaxLabel).Unique(),
		field.String("description").Optional(),
		field.String("external").NotEmpty().Optional().Nillable().Unique().
			Comment("what an OIDC issuer calls it in the claim of groups; NULL: members are only added by hand"),
	}
}

// Edges of Group.
func (Group) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("members", GroupMember.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
		edge.To("services", User.Type).Annotations(entsql.OnDelete(entsql.SetNull)),
		edge.To("bindings", RoleBinding.Type).Annotations(entsql.OnDelete(entsql.Cascade)),
	}
}

// GroupMember is a user in a group, as somebody or as an OIDC issuer said. By
// both he is in it twice, so that neither takes away what the other gave.
type GroupMember struct{ ent.Schema }

// Mixin of GroupMember.
func (GroupMember) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of GroupMember.
func (GroupMember) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("group_id", uuid.UUID{}).Immutable(),
		field.UUID("user_id", uuid.UUID{}).Immutable(),
		field.Enum("source").Values(strs(domain.MemberSources())...).Immutable(),
		field.String("created_by").NotEmpty().Immutable(),
	}
}

// Edges of GroupMember.
func (GroupMember) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("group", Group.Type).Ref("members").Unique().Required().Immutable().Field("group_id"),
		edge.From("user", User.Type).Ref("memberships").Unique().Required().Immutable().Field("user_id"),
	}
}

// Indexes of GroupMember.
func (GroupMember) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("user_id", "group_id", "source").Unique(),
		index.Fields("group_id", "user_id"),
	}
}

// RoleBinding gives a user or a group a role: on a system, in an environment,
// or everywhere when both are empty.
type RoleBinding struct{ ent.Schema }

// Mixin of RoleBinding.
func (RoleBinding) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of RoleBinding.
func (RoleBinding) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("user_id", uuid.UUID{}).Optional().Nillable().Immutable(),
		field.UUID("group_id", uuid.UUID{}).Optional().Nillable().Immutable(),
		field.Enum("role").Values(strs(domain.Roles())...).Immutable(),
		field.UUID("system_id", uuid.UUID{}).Optional().Nillable().Immutable(),
		field.Enum("environment").Values(strs(domain.Environments())...).Optional().Nillable().Immutable(),
		field.String("created_by").NotEmpty().Immutable(),
		field.Time("expires_at").Optional().Nillable().Comment("of a break-glass role; from then on it counts for nothing"),
		field.String("reason").Optional().Comment("why there is a break-glass role"),
	}
}

// Edges of RoleBinding.
func (RoleBinding) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("user", User.Type).Ref("bindings").Unique().Immutable().Field("user_id"),
		edge.From("group", Group.Type).Ref("bindings").Unique().Immutable().Field("group_id"),
		edge.From("system", System.Type).Ref("bindings").Unique().Immutable().Field("system_id"),
	}
}

// Annotations of RoleBinding.
func (RoleBinding) Annotations() []schema.Annotation {
	return []schema.Annotation{entsql.Annotation{Checks: map[string]string{
		"role_bindings_one_holder": "(user_id IS NULL) <> (group_id IS NULL)",
		"role_bindings_one_place":  "system_id IS NULL OR environment IS NULL",
	}}}
}

// Indexes of RoleBinding. A unique index does not see NULLs as equal, so there
// is one for each way of leaving columns empty.
func (RoleBinding) Indexes() []ent.Index {
	once := func(name, where string, fields ...string) ent.Index {
		return index.Fields(fields...).Unique().StorageKey("rolebinding_once_" + name).Annotations(entsql.IndexWhere(where))
	}
	return []ent.Index{
		once("user", "system_id IS NULL AND environment IS NULL", "user_id", "role"),
		once("user_environment", "environment IS NOT NULL", "user_id", "role", "environment"),
		once("user_system", "system_id IS NOT NULL", "user_id", "role", "system_id"),
		once("group", "system_id IS NULL AND environment IS NULL", "group_id", "role"),
		once("group_environment", "environment IS NOT NULL", "group_id", "role", "environment"),
		once("group_system", "system_id IS NOT NULL", "group_id", "role", "system_id"),
		index.Fields("user_id"),
		index.Fields("group_id"),
		index.Fields("system_id", "role"),
		index.Fields("role", "environment"),
	}
}

// Identity is an account of an OpenID Connect issuer that opens an account
// here. Issuer and subject together say who it is; the name is only shown.
type Identity struct{ ent.Schema }

// Mixin of Identity.
func (Identity) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of Identity.
func (Identity) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("user_id", uuid.UUID{}).Immutable(),
		field.String("issuer").NotEmpty().Immutable(),
		field.String("subject").NotEmpty().Immutable(),
		field.String("name").Optional().Comment("as the issuer calls the person"),
		field.Time("last_used_at").Optional().Nillable(),
	}
}

// Edges of Identity.
func (Identity) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("user", User.Type).Ref("identities").Unique().Required().Immutable().Field("user_id"),
	}
}

// Indexes of Identity.
func (Identity) Indexes() []ent.Index {
	return []ent.Index{index.Fields("issuer", "subject").Unique(), index.Fields("user_id")}
}

// Session is one signed-in browser, as scs keeps it. The columns behind data say
// what is in it, for the pages that show sessions (auth.Sessions).
type Session struct{ ent.Schema }

// Fields of Session.
func (Session) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").NotEmpty().Immutable().Comment("SHA-256 of the cookie's token"),
		field.Bytes("data").Sensitive(),
		field.Time("expires_at"),
		field.UUID("user_id", uuid.UUID{}).Optional().Nillable(),
		field.Time("began_at").Optional().Nillable(),
		field.Time("seen_at").Optional().Nillable(),
		field.String("method").Optional().Comment("how its person signed in"),
		field.String("ip_address").Optional(),
		field.String("user_agent").Optional(),
		field.Time("ended_at").Optional().Nillable().Comment("it is over, also for a request that is still under way and writes it again"),
	}
}

// Indexes of Session.
func (Session) Indexes() []ent.Index {
	return []ent.Index{index.Fields("expires_at"), index.Fields("user_id", "seen_at")}
}

// Notification is a message in a person's inbox. Its sentence is made from
// kind and params when it is shown.
type Notification struct{ ent.Schema }

// Mixin of Notification.
func (Notification) Mixin() []ent.Mixin { return []ent.Mixin{ID{}, Created{}} }

// Fields of Notification.
func (Notification) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("user_id", uuid.UUID{}).Immutable(),
		field.String("kind").NotEmpty().Immutable(),
		field.JSON("params", map[string]any{}).Optional().Immutable(),
		field.Int("ticket_id").Optional().Nillable().Immutable(),
		field.Time("read_at").Optional().Nillable(),
	}
}

// Edges of Notification.
func (Notification) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("user", User.Type).Ref("notifications").Unique().Required().Immutable().Field("user_id"),
	}
}

// Indexes of Notification.
func (Notification) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("user_id", "id"),
		index.Fields("user_id").StorageKey("notification_unread").Annotations(entsql.IndexWhere("read_at IS NULL")),
	}
}
