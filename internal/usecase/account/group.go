package account

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/group"
	"kubevirt-shepherd.io/shepherd/ent/groupmember"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Group is a set of people who have its roles.
type Group struct {
	ID, Name, Description string
	External              string // what the OIDC issuer calls it; "" when members are only added by hand
	Bindings              []domain.Binding
	InSystems             []SystemRole
	People                int // members
	CreatedAt             time.Time
}

// GroupInput is what can be said of a group.
type GroupInput struct{ Name, Description, External string }

// Limits of texts about groups, in runes.
const (
	maxDescription = 200
	maxExternal    = 256
)

func (in *GroupInput) check() error {
	var wrong apperr.List
	in.Description, in.External = strings.TrimSpace(in.Description), strings.TrimSpace(in.External)
	switch {
	case in.Name == "":
		wrong.Add("name", apperr.ErrRequired)
	case !domain.ValidName(in.Name):
		wrong.Add("name", apperr.ErrInvalidName)
	}
	for _, f := range []struct {
		name, text string
		max        int
	}{{"description", in.Description, maxDescription}, {"external", in.External, maxExternal}} {
		switch {
		case !utf8.ValidString(f.text) || strings.ContainsFunc(f.text, unicode.IsControl):
			wrong.Add(f.name, apperr.ErrInvalidText)
		case utf8.RuneCountInString(f.text) > f.max:
			wrong = append(wrong, apperr.Field(f.name, apperr.ErrTooLong).With("max", f.max))
		}
	}
	return wrong.Err()
}

// taken names the field that another group has.
func (in GroupInput) taken(err error) error {
	switch {
	case database.Violates(err, "groups_name_key"):
		return apperr.Field("name", apperr.ErrNameTaken).With("name", in.Name)
	case database.Violates(err, "groups_external_key"):
		return apperr.Field("external", apperr.ErrNameTaken).With("name", in.External)
	}
	return err
}

// Groups lists the groups by name, with their roles. Admins only.
func (s *Service) Groups(ctx context.Context, actor domain.Actor, page listing.Page) (listing.Of[Group], error) {
	if err := access.Check(actor, domain.GroupRead, domain.Object{}); err != nil {
		return listing.Of[Group]{}, err
	}
	after, _, err := page.Name()
	if err != nil {
		return listing.Of[Group]{}, err
	}
	rows, err := s.DB.Ent.Group.Query().Where(group.NameGT(after)).Order(group.ByName()).Limit(page.Size() + 1).
		WithBindings(withSystem).All(ctx)
	if err != nil {
		return listing.Of[Group]{}, database.Classify(err)
	}
	list := listing.Make(page, rows, groupView, func(g *ent.Group) string { return listing.ByName(g.Name, g.ID) })
	return list, database.Classify(s.count(ctx, list.Items))
}

// count fills in how many people are in the groups.
func (s *Service) count(ctx context.Context, groups []Group) error {
	ids := make([]uuid.UUID, 0, len(groups))
	for _, g := range groups {
		ids = append(ids, uuid.MustParse(g.ID))
	}
	var rows []struct {
		GroupID uuid.UUID `json:"group_id"`
		Count   int       `json:"count"`
	}
	err := s.DB.Ent.GroupMember.Query().Where(groupmember.GroupIDIn(ids...)).GroupBy(groupmember.FieldGroupID).
		Aggregate(ent.As(distinctPeople, "count")).Scan(ctx, &rows)
	for _, r := range rows {
		i := slices.Index(ids, r.GroupID)
		groups[i].People = r.Count
	}
	return err
}

// distinctPeople counts somebody once who is a member by both sources.
func distinctPeople(s *sql.Selector) string {
	return sql.Count(sql.Distinct(s.C(groupmember.FieldUserID)))
}

// Group is one group. Admins only; NOT_FOUND.
func (s *Service) Group(ctx context.Context, actor domain.Actor, id string) (Group, error) {
	if err := access.Check(actor, domain.GroupRead, domain.Object{}); err != nil {
		return Group{}, err
	}
	key, err := listing.Key(id)
	if err != nil {
		return Group{}, err
	}
	row, err := s.DB.Ent.Group.Query().Where(group.ID(key)).WithBindings(withSystem).Only(ctx)
	if ent.IsNotFound(err) {
		return Group{}, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return Group{}, database.Classify(err)
	}
	one := []Group{groupView(row)}
	return one[0], database.Classify(s.count(ctx, one))
}

func groupView(g *ent.Group) Group {
	v := Group{ID: g.ID.String(), Name: g.Name, Description: g.Description, CreatedAt: g.CreatedAt}
	if g.External != nil {
		v.External = *g.External
	}
	v.Bindings, v.InSystems = roles(g.Edges.Bindings, "")
	return v
}

// GroupMember is a person in a group. He may be in it by both sources.
type GroupMember struct {
	Person
	Disabled bool
	Sources  []domain.MemberSource
}

// GroupMembers lists who is in a group, by user name. Admins only; NOT_FOUND.
func (s *Service) GroupMembers(ctx context.Context, actor domain.Actor, id string, page listing.Page) (listing.Of[GroupMember], error) {
	var none listing.Of[GroupMember]
	if err := access.Check(actor, domain.GroupRead, domain.Object{}); err != nil {
		return none, err
	}
	key, err := listing.Key(id)
	if err != nil {
		return none, err
	}
	after, _, err := page.Name()
	if err != nil {
		return none, err
	}
	rows, err := s.DB.Ent.User.Query().Where(user.UsernameGT(after), user.HasMembershipsWith(groupmember.GroupID(key))).
		WithMemberships(func(q *ent.GroupMemberQuery) { q.Where(groupmember.GroupID(key)).Order(groupmember.BySource()) }).
		Order(ent.Asc(user.FieldUsername)).Limit(page.Size() + 1).All(ctx)
	if err != nil {
		return none, database.Classify(err)
	}
	view := func(u *ent.User) GroupMember {
		m := GroupMember{Person: person(u), Disabled: u.Disabled}
		for _, in := range u.Edges.Memberships {
			m.Sources = append(m.Sources, domain.MemberSource(in.Source))
		}
		return m
	}
	return listing.Make(page, rows, view, func(u *ent.User) string { return listing.ByName(u.Username, u.ID) }), nil
}

// CreateGroup makes a group without members and roles. Admins only.
func (s *Service) CreateGroup(ctx context.Context, actor domain.Actor, in GroupInput) (id string, err error) {
	if err := access.Check(actor, domain.GroupChange, domain.Object{}); err != nil {
		return "", err
	}
	if err := in.check(); err != nil {
		return "", err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		g, err := tx.Group.Create().SetName(in.Name).SetDescription(in.Description).SetNillableExternal(optional(in.External)).Save(ctx)
		if err != nil {
			return in.taken(err)
		}
		id = g.ID.String()
		return audit.Write(ctx, tx, actor, groupEntry("group.create", nil, g, map[string]any{"external": in.External}))
	})
	return id, err
}

// UpdateGroup replaces what is said of a group. Those whom the issuer put into
// it by another external name are out of it until they sign in again.
// LAST_OWNER as in Unbind. Admins only; NOT_FOUND.
func (s *Service) UpdateGroup(ctx context.Context, actor domain.Actor, id string, in GroupInput) error {
	if err := access.Check(actor, domain.GroupChange, domain.Object{}); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	return s.withGroup(ctx, id, func(tx *ent.Tx, g *ent.Group) error {
		now, err := tx.Group.UpdateOne(g).SetName(in.Name).SetDescription(in.Description).SetNillableExternal(optional(in.External)).Save(ctx)
		if err == nil && in.External == "" {
			now, err = tx.Group.UpdateOne(now).ClearExternal().Save(ctx)
		}
		if err != nil {
			return in.taken(err)
		}
		details := map[string]any{"external": in.External}
		if g.Name != now.Name {
			details["name_before"] = g.Name
		}
		if err := audit.Write(ctx, tx, actor, groupEntry("group.update", g, now, details)); err != nil {
			return err
		}
		if g.External == nil || *g.External == in.External {
			return nil
		}
		topics, err := topicsOf(ctx, tx, g.ID)
		if err != nil {
			return err
		}
		err = s.lose(ctx, tx, g, g.Name, func() error {
			_, err := tx.GroupMember.Delete().Where(groupmember.GroupID(g.ID), groupmember.SourceEQ(groupmember.SourceOidc)).Exec(ctx)
			return err
		})
		if err != nil {
			return err
		}
		return database.Notify(ctx, tx, topics...)
	})
}

// DeleteGroup removes a group and with it the roles that its members have by
// it. LAST_OWNER when nobody else is owner of a system, or admin. Admins only;
// NOT_FOUND.
func (s *Service) DeleteGroup(ctx context.Context, actor domain.Actor, id string) error {
	if err := access.Check(actor, domain.GroupChange, domain.Object{}); err != nil {
		return err
	}
	return s.withGroup(ctx, id, func(tx *ent.Tx, g *ent.Group) error {
		topics, err := topicsOf(ctx, tx, g.ID)
		if err != nil {
			return err
		}
		err = s.lose(ctx, tx, g, g.Name, func() error { return tx.Group.DeleteOne(g).Exec(ctx) })
		if err != nil {
			return err
		}
		if err := audit.Write(ctx, tx, actor, groupEntry("group.delete", g, nil, map[string]any{"members": len(topics)})); err != nil {
			return err
		}
		return database.Notify(ctx, tx, topics...)
	})
}

// AddToGroup puts somebody into a group by his user name; one who is in it by
// hand already is no error. Admins only; NOT_FOUND for the group.
func (s *Service) AddToGroup(ctx context.Context, actor domain.Actor, id, username string) error {
	if err := access.Check(actor, domain.GroupChange, domain.Object{}); err != nil {
		return err
	}
	return s.withGroup(ctx, id, func(tx *ent.Tx, g *ent.Group) error {
		u, err := tx.User.Query().Where(user.Username(username)).Only(ctx)
		if ent.IsNotFound(err) {
			return apperr.Field("user", apperr.ErrNoSuchPerson).With("name", domain.CleanText(username, maxDisplayName))
		}
		if err != nil {
			return err
		}
		there, err := tx.GroupMember.Query().
			Where(groupmember.GroupID(g.ID), groupmember.UserID(u.ID), groupmember.SourceEQ(groupmember.SourceLocal)).Exist(ctx)
		if err != nil || there {
			return err
		}
		if err := join(ctx, tx, g, u.ID, domain.MemberLocal, actor.Username); err != nil {
			return err
		}
		if err := audit.Write(ctx, tx, actor, memberEntry("group.add_member", g, u, domain.MemberLocal)); err != nil {
			return err
		}
		return database.Notify(ctx, tx, RightsTopic(u.ID.String()))
	})
}

// RemoveFromGroup takes somebody out of a group into which he was put by hand;
// one who is not is no error. What the OIDC issuer says of him stays. LAST_OWNER
// as in Unbind. Admins only; NOT_FOUND.
func (s *Service) RemoveFromGroup(ctx context.Context, actor domain.Actor, id, userID string) error {
	if err := access.Check(actor, domain.GroupChange, domain.Object{}); err != nil {
		return err
	}
	key, err := listing.Key(userID)
	if err != nil {
		return err
	}
	return s.withGroup(ctx, id, func(tx *ent.Tx, g *ent.Group) error {
		u, err := tx.User.Get(ctx, key)
		if ent.IsNotFound(err) {
			return apperr.New(apperr.ErrNotFound)
		}
		if err != nil {
			return err
		}
		gone := 0
		err = s.lose(ctx, tx, g, u.Username, func() (err error) {
			gone, err = tx.GroupMember.Delete().
				Where(groupmember.GroupID(g.ID), groupmember.UserID(u.ID), groupmember.SourceEQ(groupmember.SourceLocal)).Exec(ctx)
			return err
		})
		if err != nil || gone == 0 {
			return err
		}
		if err := audit.Write(ctx, tx, actor, memberEntry("group.remove_member", g, u, domain.MemberLocal)); err != nil {
			return err
		}
		return database.Notify(ctx, tx, RightsTopic(u.ID.String()))
	})
}

// SyncGroups makes a user in tx a member of exactly those groups of the OIDC
// issuer that the claims name, and answers with the names of the groups that he
// came into and left. Memberships that were given by hand stay. What the issuer
// takes away is gone, also from a last owner or admin: it is the issuer who says
// who works here.
func (s *Service) SyncGroups(ctx context.Context, tx *ent.Tx, userID string, claims []string) (added, removed []string, err error) {
	id, err := listing.Key(userID)
	if err != nil {
		return nil, nil, err
	}
	u, err := lock(ctx, tx, id) // of two sign-ins at once the second waits
	if err != nil {
		return nil, nil, err
	}
	// All groups of issuers, and not those of the claims: there may be many
	// claims, and each would be a parameter.
	groups, err := tx.Group.Query().Where(group.ExternalNotNil()).Order(group.ByName()).ForShare().
		WithMembers(func(q *ent.GroupMemberQuery) {
			q.Where(groupmember.UserID(id), groupmember.SourceEQ(groupmember.SourceOidc))
		}).All(ctx)
	if err != nil {
		return nil, nil, err
	}
	by := domain.Shepherd()
	by.OnBehalfOf = domain.Principal{ID: userID, Username: u.Username}
	for _, g := range groups {
		said, is := slices.Contains(claims, *g.External), len(g.Edges.Members) > 0
		if said == is {
			continue
		}
		action := "group.add_member"
		if said {
			added = append(added, g.Name)
			err = join(ctx, tx, g, id, domain.MemberOIDC, by.Username)
		} else {
			action = "group.remove_member"
			removed = append(removed, g.Name)
			err = tx.GroupMember.DeleteOne(g.Edges.Members[0]).Exec(ctx)
		}
		if err == nil {
			err = audit.Write(ctx, tx, by, memberEntry(action, g, u, domain.MemberOIDC))
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if len(added)+len(removed) == 0 {
		return nil, nil, nil
	}
	return added, removed, database.Notify(ctx, tx, RightsTopic(userID))
}

// withGroup runs a change of a group in a transaction that keeps others from
// changing it meanwhile; NOT_FOUND.
func (s *Service) withGroup(ctx context.Context, id string, change func(*ent.Tx, *ent.Group) error) error {
	key, err := listing.Key(id)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		g, err := lockGroup(ctx, tx, key)
		if err != nil {
			return err
		}
		return change(tx, g)
	})
}

func lockGroup(ctx context.Context, tx *ent.Tx, id uuid.UUID) (*ent.Group, error) {
	g, err := tx.Group.Query().Where(group.ID(id)).ForUpdate().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	return g, err
}

// lose runs a change by which members of a group lose its roles, see keep.
func (s *Service) lose(ctx context.Context, tx *ent.Tx, g *ent.Group, name string, change func() error) error {
	rows, err := tx.RoleBinding.Query().Where(rolebinding.GroupID(g.ID)).Order(rolebinding.ByID()).All(ctx)
	if err != nil {
		return err
	}
	var roles []domain.Binding
	for _, b := range rows {
		roles = append(roles, binding(b, ""))
	}
	return keep(ctx, tx, name, roles, change)
}

func join(ctx context.Context, tx *ent.Tx, g *ent.Group, user uuid.UUID, source domain.MemberSource, by string) error {
	return tx.GroupMember.Create().SetGroupID(g.ID).SetUserID(user).SetSource(groupmember.Source(source)).SetCreatedBy(by).Exec(ctx)
}

func groupEntry(action string, was, is *ent.Group, details map[string]any) audit.Entry {
	g := cmp.Or(is, was)
	told := func(g *ent.Group) map[string]any {
		if g == nil {
			return nil
		}
		m := map[string]any{"name": g.Name, "description": g.Description}
		if g.External != nil {
			m["external"] = *g.External
		}
		return m
	}
	return audit.Entry{
		Action: action, ResourceType: "group", ResourceID: g.ID.String(), ResourceName: g.Name, Details: details, Before: told(was), After: told(is),
	}
}

// memberEntry is a line about who comes into a group or leaves it.
func memberEntry(action string, g *ent.Group, u *ent.User, source domain.MemberSource) audit.Entry {
	e := groupEntry(action, g, g, map[string]any{"user": u.Username, "source": string(source)})
	e.Before, e.After = nil, map[string]any{"member": u.Username}
	if action == "group.remove_member" {
		e.Before, e.After = e.After, nil
	}
	return e
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
