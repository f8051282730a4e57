package account

import (
	"context"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/group"
	"kubevirt-shepherd.io/shepherd/ent/groupmember"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// holder is who has a role: a user or a group.
type holder struct {
	kind string // as the audit log calls it: user or group
	id   uuid.UUID
	name string
}

func ofUser(u *ent.User) holder   { return holder{"user", u.ID, u.Username} }
func ofGroup(g *ent.Group) holder { return holder{"group", g.ID, g.Name} }

// is says in SQL that a binding is this holder's.
func (h holder) is() predicate.RoleBinding {
	if h.kind == "group" {
		return rolebinding.GroupID(h.id)
	}
	return rolebinding.UserID(h.id)
}

// topics are what the open pages of those hear who have the roles of the holder.
func (h holder) topics(ctx context.Context, tx *ent.Tx) ([]string, error) {
	if h.kind == "group" {
		return topicsOf(ctx, tx, h.id)
	}
	return []string{RightsTopic(h.id.String())}, nil
}

// topicsOf are the topics of the members of a group.
func topicsOf(ctx context.Context, tx *ent.Tx, id uuid.UUID) ([]string, error) {
	ids, err := tx.User.Query().Where(user.HasMembershipsWith(groupmember.GroupID(id))).IDs(ctx)
	topics := make([]string, 0, len(ids))
	for _, id := range ids {
		topics = append(topics, RightsTopic(id.String()))
	}
	return topics, err
}

// entry is a line of the audit log about a role of the holder; the name of the
// system is still to be added.
func (h holder) entry(verb string, b domain.Binding) audit.Entry {
	e := audit.Entry{
		Action: h.kind + "." + verb, ResourceType: h.kind, ResourceID: h.id.String(), ResourceName: h.name,
		SystemID: b.SystemID, Details: map[string]any{"role": string(b.Role)},
	}
	if b.Environment != "" {
		e.Details["environment"] = string(b.Environment)
	}
	return e
}

// roles are those of the holder where b is given, in the same system or outside
// of systems: who reads of the one is not told of the others.
func (h holder) roles(ctx context.Context, tx *ent.Tx, b domain.Binding) ([]string, error) {
	where := rolebinding.SystemIDIsNil()
	if b.SystemID != "" {
		where = rolebinding.SystemID(uuid.MustParse(b.SystemID))
	}
	rows, err := tx.RoleBinding.Query().Where(h.is(), where).Order(rolebinding.ByRole(), rolebinding.ByEnvironment()).All(ctx)
	names := make([]string, 0, len(rows))
	for _, r := range rows {
		name := string(r.Role)
		if r.Environment != nil {
			name += " of " + string(*r.Environment)
		}
		names = append(names, name)
	}
	return names, err
}

// held says in SQL which role, and where; checkBinding has parsed the system.
func held(b domain.Binding) predicate.RoleBinding {
	where := []predicate.RoleBinding{rolebinding.RoleEQ(rolebinding.Role(b.Role)), rolebinding.SystemIDIsNil(), rolebinding.EnvironmentIsNil()}
	if b.SystemID != "" {
		where[1] = rolebinding.SystemID(uuid.MustParse(b.SystemID))
	}
	if b.Environment != "" {
		where[2] = rolebinding.EnvironmentEQ(rolebinding.Environment(b.Environment))
	}
	return rolebinding.And(where...)
}

// holding are the users who have such a binding, themselves or by a group.
func holding(b ...predicate.RoleBinding) predicate.User {
	return user.Or(
		user.HasBindingsWith(b...),
		user.HasMembershipsWith(groupmember.HasGroupWith(group.HasBindingsWith(b...))),
	)
}

// Admins are the ids of the people who are platform admins now, themselves or by
// a group. It reads through c, which may be a transaction's client, and is not
// paged: all of them are told.
func (s *Service) Admins(ctx context.Context, c *ent.Client) ([]uuid.UUID, error) {
	ids, err := c.User.Query().Where(user.Disabled(false), user.KindEQ(user.KindPerson), holding(
		held(domain.Binding{Role: domain.RoleAdmin}),
		rolebinding.Or(rolebinding.ExpiresAtIsNil(), rolebinding.ExpiresAtGT(time.Now().UTC())),
	)).Order(ent.Asc(user.FieldID)).IDs(ctx)
	return ids, database.Classify(err)
}

// groupWith are the groups that have a member of that kind.
func groupWith(member predicate.User) predicate.Group {
	return group.HasMembersWith(groupmember.HasUserWith(member))
}

// hasOpenTicket are the users who asked for something that is not done yet.
func hasOpenTicket(s *sql.Selector) {
	t := sql.Table(approvalticket.Table)
	asked := sql.Select(t.C(approvalticket.FieldRequesterID)).From(t)
	listing.OpenTickets()(asked)
	s.Where(sql.In(s.C(user.FieldID), asked))
}

// bindingsOf are the bindings of a user and of his groups. The groups are an
// array, so that both sides of the OR are found by an index.
func bindingsOf(id uuid.UUID) predicate.RoleBinding {
	return func(s *sql.Selector) {
		m := sql.Table(groupmember.Table)
		groups := sql.Select(m.C(groupmember.FieldGroupID)).From(m).Where(sql.EQ(m.C(groupmember.FieldUserID), id))
		s.Where(sql.Or(
			sql.EQ(s.C(rolebinding.FieldUserID), id),
			sql.P(func(b *sql.Builder) {
				b.Ident(s.C(rolebinding.FieldGroupID)).WriteString(" = ANY(ARRAY").Wrap(func(b *sql.Builder) { b.Join(groups) }).WriteByte(')')
			}),
		))
	}
}

// groupName is the column that withGroupName adds.
const groupName = "group_name"

// withGroupName adds the name of the group whose binding it is.
func withGroupName(s *sql.Selector) {
	g := sql.Table(group.Table)
	s.LeftJoin(g).On(s.C(rolebinding.FieldGroupID), g.C(group.FieldID))
	s.AppendSelectAs(g.C(group.FieldName), groupName)
}

// critical says whether somebody must keep the role: without an owner nobody
// could give the roles of a system, without an admin none at all.
func critical(b domain.Binding) bool {
	return b.Role == domain.RoleOwner && b.SystemID != "" || b.Role == domain.RoleAdmin && b.Environment == ""
}

// keep runs a change that takes roles away, and refuses it with LAST_OWNER when
// no person whose account works is left with one that somebody must keep; one that
// ends by itself does not count. Those
// roles are locked before, so that of two who take away the last two holders
// the second sees that he must not.
func keep(ctx context.Context, tx *ent.Tx, name string, roles []domain.Binding, change func() error) error {
	var had []domain.Binding
	for _, b := range roles {
		if !critical(b) {
			continue
		}
		if _, err := tx.RoleBinding.Query().Where(held(b)).Order(rolebinding.ByID()).ForUpdate().IDs(ctx); err != nil {
			return err
		}
		there, err := tx.User.Query().Where(user.KindEQ(user.KindPerson), holding(held(b), rolebinding.ExpiresAtIsNil())).Exist(ctx)
		if err != nil {
			return err
		}
		if there {
			had = append(had, b)
		}
	}
	if err := change(); err != nil {
		return err
	}
	for _, b := range had {
		left, err := tx.User.Query().Where(user.Disabled(false), user.KindEQ(user.KindPerson), holding(held(b), rolebinding.ExpiresAtIsNil())).Exist(ctx)
		if err != nil {
			return err
		}
		if !left {
			return apperr.New(apperr.ErrLastOwner).With("name", name).With("role", string(b.Role))
		}
	}
	return nil
}
