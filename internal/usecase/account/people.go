package account

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Member is a person as the list of people shows him.
type Member struct {
	Person
	Bindings     []domain.Binding // platform-wide ones and those of an environment
	InSystems    []SystemRole     // those in systems, by name
	Groups       []InGroup        // by name
	Disabled     bool
	Invited      bool // has not set a password yet
	LastSignInAt *time.Time
}

// SystemRole is a role in a system.
type SystemRole struct {
	SystemID, System string
	Environment      domain.Environment
	Role             domain.Role
	Via              string // name of the group that has it; "" for the person's own
}

// InGroup is a group that a person is in.
type InGroup struct {
	ID, Name string
	Sources  []domain.MemberSource
}

// People lists all people by user name, and no programs. Admins only.
func (s *Service) People(ctx context.Context, actor domain.Actor, page listing.Page) (listing.Of[Member], error) {
	return s.people(ctx, actor, page)
}

func (s *Service) people(ctx context.Context, actor domain.Actor, page listing.Page, where ...predicate.User) (listing.Of[Member], error) {
	if err := access.Check(actor, domain.PersonRead, domain.Object{}); err != nil {
		return listing.Of[Member]{}, err
	}
	after, _, err := page.Name()
	if err != nil {
		return listing.Of[Member]{}, err
	}
	rows, err := s.DB.Ent.User.Query().Where(append(where, user.KindEQ(user.KindPerson), user.UsernameGT(after))...).Order(ent.Asc(user.FieldUsername)).
		Limit(page.Size() + 1).WithBindings(withSystem).WithMemberships(withGroup).All(ctx)
	if err != nil {
		return listing.Of[Member]{}, database.Classify(err)
	}
	return listing.Make(page, rows, member, func(u *ent.User) string { return listing.ByName(u.Username, u.ID) }), nil
}

func withSystem(q *ent.RoleBindingQuery) { q.WithSystem() }

func withGroup(q *ent.GroupMemberQuery) {
	q.WithGroup(func(q *ent.GroupQuery) { q.WithBindings(withSystem) })
}

// Member is one person, not a program, with all his roles. Admins only; NOT_FOUND.
func (s *Service) Member(ctx context.Context, actor domain.Actor, userID string) (Member, error) {
	if err := access.Check(actor, domain.PersonRead, domain.Object{}); err != nil {
		return Member{}, err
	}
	id, err := listing.Key(userID)
	if err != nil {
		return Member{}, err
	}
	u, err := s.DB.Ent.User.Query().Where(user.ID(id), user.KindEQ(user.KindPerson)).WithBindings(withSystem).WithMemberships(withGroup).Only(ctx)
	if ent.IsNotFound(err) {
		return Member{}, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return Member{}, database.Classify(err)
	}
	return member(u), nil
}

func member(u *ent.User) Member {
	m := Member{
		Person: person(u), Disabled: u.Disabled, Invited: u.PasswordHash == "", LastSignInAt: u.LastSignInAt,
	}
	m.Bindings, m.InSystems = roles(u.Edges.Bindings, "")
	for _, in := range u.Edges.Memberships {
		g, source := in.Edges.Group, domain.MemberSource(in.Source)
		if i := slices.IndexFunc(m.Groups, func(has InGroup) bool { return has.ID == g.ID.String() }); i >= 0 {
			m.Groups[i].Sources = append(m.Groups[i].Sources, source)
			continue
		}
		m.Groups = append(m.Groups, InGroup{g.ID.String(), g.Name, []domain.MemberSource{source}})
		wide, narrow := roles(g.Edges.Bindings, g.Name)
		m.Bindings, m.InSystems = append(m.Bindings, wide...), append(m.InSystems, narrow...)
	}
	slices.SortFunc(m.Groups, func(a, b InGroup) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(m.InSystems, bySystem)
	return m
}

// roles are bindings as the lists show them; they must have been read with
// their systems. via is the group's name when they are a group's.
func roles(rows []*ent.RoleBinding, via string) (wide []domain.Binding, narrow []SystemRole) {
	for _, b := range rows {
		if !lasts(b) {
			continue
		}
		if y := b.Edges.System; y != nil {
			narrow = append(narrow, SystemRole{y.ID.String(), y.Name, domain.Environment(y.Environment), domain.Role(b.Role), via})
			continue
		}
		wide = append(wide, binding(b, via))
	}
	slices.SortFunc(narrow, bySystem)
	return wide, narrow
}

func bySystem(a, b SystemRole) int {
	return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Environment, b.Environment))
}

// HasOthers says whether any person but the actor has an account that works.
func (s *Service) HasOthers(ctx context.Context, actor domain.Actor) (bool, error) {
	self, _ := uuid.Parse(actor.UserID) // no user has the zero id
	there, err := s.DB.Ent.User.Query().Where(user.IDNEQ(self), user.Disabled(false), user.KindEQ(user.KindPerson)).Exist(ctx)
	return there, database.Classify(err)
}

// Invite makes an account without a password, and the token of a one-time link
// that sets one. The token is shown once. Admins only.
func (s *Service) Invite(ctx context.Context, actor domain.Actor, in NewUser) (Person, string, error) {
	if err := access.Check(actor, domain.PersonCreate, domain.Object{}); err != nil {
		return Person{}, "", err
	}
	in.Password = ""
	return s.create(ctx, actor, in, true)
}

// NewLink makes a new one-time link for an account, for somebody who lost his
// password or the first link; links before it stop to work. Admins only.
// NOT_FOUND, and FORBIDDEN for a disabled account and for one of a program.
func (s *Service) NewLink(ctx context.Context, actor domain.Actor, userID string) (p Person, token string, err error) {
	if err := access.Check(actor, domain.PersonLink, domain.Object{}); err != nil {
		return p, "", err
	}
	err = s.withUser(ctx, userID, func(tx *ent.Tx, u *ent.User) error {
		if err := mayEnter(u); err != nil {
			return err
		}
		p = person(u)
		token, err = s.link(ctx, tx, actor, u, InviteLifetime)
		return err
	})
	return p, token, err
}

// Rights are what a user may do now, or could if his account were not closed:
// for admins, and with the id of a system for those who explain it to its
// members. NOT_FOUND.
func (s *Service) Rights(ctx context.Context, actor domain.Actor, systemID, userID string) (a domain.Actor, disabled bool, err error) {
	if systemID == "" {
		err = access.Check(actor, domain.PersonRead, domain.Object{})
	} else {
		var o domain.Object
		if o, err = (&access.Objects{DB: s.DB}).System(ctx, systemID); err == nil {
			err = access.Check(actor, domain.MemberExplain, o)
		}
	}
	if err != nil {
		return a, false, err
	}
	id, err := listing.Key(userID)
	if err != nil {
		return a, false, err
	}
	u, err := s.DB.Ent.User.Get(ctx, id)
	if ent.IsNotFound(err) {
		return a, false, apperr.New(apperr.ErrNotFound)
	}
	if err == nil {
		a, err = withBindings(ctx, s.DB.Ent, u)
	}
	return a, err == nil && u.Disabled, database.Classify(err)
}
