// Package account holds the people: their accounts, their roles, signing in,
// and the actor that every other use case asks for.
package account

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/groupmember"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// Service holds the rules of accounts. DB and Local must be set.
type Service struct {
	DB     *database.DB
	Local  *auth.Local                 // checks and hashes passwords
	Notify notify.NotificationProvider // nil: into the inbox only
	// Passwords says who may sign in with one.
	Passwords PasswordRule
	// NewPeople makes an account for whoever comes with a company account that
	// is not known yet.
	NewPeople bool
	// FollowGroups makes the members of groups what the issuer of company accounts
	// says of them, at every sign-in.
	FollowGroups bool
	// Via is by what the platform itself acts: the command line, outside of the
	// portal.
	Via domain.Via
	// Denials counts refused sign-ins; nil: each is put on record.
	Denials *audit.Denials
}

// Person is somebody with an account.
type Person struct{ ID, Username, DisplayName string }

func person(u *ent.User) Person { return Person{u.ID.String(), u.Username, u.DisplayName} }

// maxDisplayName is the longest display name, in runes.
const maxDisplayName = 80

// reserved are names that the audit log gives to nobody's account.
var reserved = []string{domain.Shepherd().Username, "anonymous"}

// isShepherd says whether the actor is the platform itself. A person never is:
// the name is reserved, and a person has an id.
func isShepherd(a domain.Actor) bool {
	return a.UserID == "" && a.Username == domain.Shepherd().Username
}

// Actor reads who a user is and what he may do now. SIGNED_OUT when the account
// is gone or disabled. ip and requestID go into the audit log.
func (s *Service) Actor(ctx context.Context, userID, ip, requestID string) (domain.Actor, error) {
	a, err := actor(ctx, s.DB.Ent, userID)
	a.IP, a.RequestID = ip, requestID
	return a, database.Classify(err)
}

// ActorTx is Actor inside a transaction, for a last look before a decision.
func (s *Service) ActorTx(ctx context.Context, tx *ent.Tx, userID string) (domain.Actor, error) {
	return actor(ctx, tx.Client(), userID)
}

func actor(ctx context.Context, c *ent.Client, userID string) (domain.Actor, error) {
	id, err := uuid.Parse(userID)
	if err != nil {
		return domain.Actor{}, apperr.New(apperr.ErrSignedOut)
	}
	u, err := c.User.Query().Where(user.ID(id), user.Disabled(false)).Only(ctx)
	if ent.IsNotFound(err) {
		return domain.Actor{}, apperr.New(apperr.ErrSignedOut)
	}
	if err != nil {
		return domain.Actor{}, err
	}
	return withBindings(ctx, c, u)
}

// withBindings is a user with the roles that he and his groups have.
func withBindings(ctx context.Context, c *ent.Client, u *ent.User) (domain.Actor, error) {
	a := domain.Actor{UserID: u.ID.String(), Username: u.Username, DisplayName: u.DisplayName, Epoch: u.SessionEpoch}
	a.Service = u.Kind == user.KindService
	if u.OwnerID != nil {
		a.OwnerID = u.OwnerID.String()
	}
	if u.Language != nil {
		a.Language = *u.Language
	}
	rows, err := c.RoleBinding.Query().Where(bindingsOf(u.ID)).Modify(withGroupName).All(ctx)
	if err != nil {
		return domain.Actor{}, err
	}
	for _, b := range rows {
		if !lasts(b) {
			continue
		}
		if b.ExpiresAt != nil {
			a.BreakGlass = &domain.BreakGlass{Reason: b.Reason, Until: *b.ExpiresAt}
		}
		via, _ := b.Value(groupName) // NULL for the user's own
		name, _ := via.(string)
		a.Bindings = append(a.Bindings, binding(b, name))
	}
	if u.OwnerGroupID == nil {
		return a, nil
	}
	a.OwnerGroup = u.OwnerGroupID.String()
	if !slices.ContainsFunc(a.Bindings, func(b domain.Binding) bool { return b.Role == domain.RoleApprover }) {
		return a, nil
	}
	var members []uuid.UUID
	err = c.GroupMember.Query().Where(groupmember.GroupID(*u.OwnerGroupID)).Select(groupmember.FieldUserID).Scan(ctx, &members)
	for _, id := range members {
		a.OwnerMembers = append(a.OwnerMembers, id.String())
	}
	return a, err
}

// binding is a row in the words of the domain; via is the name of the group.
func binding(b *ent.RoleBinding, via string) domain.Binding {
	of := domain.Binding{Role: domain.Role(b.Role), Via: via}
	if b.SystemID != nil {
		of.SystemID = b.SystemID.String()
	}
	if b.Environment != nil {
		of.Environment = domain.Environment(*b.Environment)
	}
	return of
}

// Person finds somebody by id; NOT_FOUND. Names are no secret among users:
// tickets and the audit log show them.
func (s *Service) Person(ctx context.Context, id string) (Person, error) {
	key, err := uuid.Parse(id)
	if err != nil {
		return Person{}, apperr.New(apperr.ErrNotFound)
	}
	return s.find(ctx, s.DB.Ent.User.Query().Where(user.ID(key)))
}

// PersonByUsername finds somebody by user name; NOT_FOUND.
func (s *Service) PersonByUsername(ctx context.Context, username string) (Person, error) {
	if !domain.ValidName(username) {
		return Person{}, apperr.New(apperr.ErrNotFound)
	}
	return s.find(ctx, s.DB.Ent.User.Query().Where(user.Username(username)))
}

func (s *Service) find(ctx context.Context, q *ent.UserQuery) (Person, error) {
	u, err := q.Only(ctx)
	if ent.IsNotFound(err) {
		return Person{}, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return Person{}, database.Classify(err)
	}
	return person(u), nil
}

// Approvers lists who can decide tickets of an environment, by user name and
// without those who asked. It says in SQL what TicketDecide asks of
// people; programs that decide read the queue and have no inbox. It
// reads through c, which may be a transaction's client, and is not paged: all of
// them are told of a request.
func (s *Service) Approvers(ctx context.Context, c *ent.Client, e domain.Environment, except ...string) ([]Person, error) {
	asked := make([]uuid.UUID, len(except))
	for i, id := range except {
		asked[i], _ = uuid.Parse(id) // no user has the zero id
	}
	rows, err := c.User.Query().Where(
		user.Disabled(false), user.IDNotIn(asked...), user.KindEQ(user.KindPerson),
		holding(
			rolebinding.RoleIn(rolebinding.RoleApprover, rolebinding.RoleAdmin),
			rolebinding.Or(rolebinding.EnvironmentIsNil(), rolebinding.EnvironmentEQ(rolebinding.Environment(e))),
			rolebinding.Or(rolebinding.ExpiresAtIsNil(), rolebinding.ExpiresAtGT(time.Now().UTC())),
		),
	).Order(ent.Asc(user.FieldUsername)).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	people := make([]Person, 0, len(rows))
	for _, u := range rows {
		people = append(people, person(u))
	}
	return people, nil
}

// NewUser is an account to make. Without a password nobody can sign in until a
// setup link is used.
type NewUser struct {
	Username, DisplayName, Password string
	Bindings                        []domain.Binding
}

// CreateUser makes an account with its roles. Admins only.
func (s *Service) CreateUser(ctx context.Context, actor domain.Actor, in NewUser) (id string, err error) {
	if err := access.Check(actor, domain.PersonCreate, domain.Object{}); err != nil {
		return "", err
	}
	p, _, err := s.create(ctx, actor, in, false)
	return p.ID, err
}

// EnsureUser makes an account unless the name has one, and answers with its id.
// An account that exists is left as it is. It asks nobody's rights: it is for
// the demo, tests and the command line.
func (s *Service) EnsureUser(ctx context.Context, in NewUser) (id string, created bool, err error) {
	for range 2 { // a second time when somebody else made it meanwhile
		p, err := s.PersonByUsername(ctx, in.Username)
		if apperr.CodeOf(err) != apperr.ErrNotFound {
			return p.ID, false, err
		}
		p, _, err = s.create(ctx, domain.Shepherd(), in, false)
		if apperr.CodeOf(err) != apperr.ErrNameTaken {
			return p.ID, err == nil, err
		}
	}
	return "", false, apperr.Field("username", apperr.ErrNameTaken).With("name", in.Username)
}

// create makes an account, and a one-time link to it when somebody is invited.
func (s *Service) create(ctx context.Context, actor domain.Actor, in NewUser, invite bool) (p Person, token string, err error) {
	var wrong apperr.List
	in.DisplayName = strings.TrimSpace(in.DisplayName)
	checkUsername(&wrong, in.Username)
	switch {
	case !utf8.ValidString(in.DisplayName) || strings.ContainsFunc(in.DisplayName, unicode.IsControl):
		wrong.Add("display_name", apperr.ErrInvalidText)
	case utf8.RuneCountInString(in.DisplayName) > maxDisplayName:
		wrong = append(wrong, apperr.Field("display_name", apperr.ErrTooLong).With("max", maxDisplayName))
	}
	if in.Password != "" {
		wrong = append(wrong, apperr.Fields(auth.CheckPassword(in.Password, in.Username, in.DisplayName))...)
	}
	for _, b := range in.Bindings {
		wrong = append(wrong, checkBinding(b)...)
	}
	if err := wrong.Err(); err != nil {
		return p, "", err
	}
	hash := ""
	if in.Password != "" {
		if hash, err = s.Local.Hash(ctx, in.Password); err != nil {
			return p, "", err
		}
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := insert(ctx, tx, actor, in.Username, in.DisplayName, hash)
		if err != nil {
			return err
		}
		for _, b := range in.Bindings {
			if err := bind(ctx, tx, actor, ofUser(u), b); err != nil {
				return err
			}
		}
		p = person(u)
		if invite {
			token, err = s.link(ctx, tx, actor, u, InviteLifetime)
		}
		return err
	})
	return p, token, err
}

func checkUsername(wrong *apperr.List, name string) {
	switch {
	case name == "":
		wrong.Add("username", apperr.ErrRequired)
	case !domain.ValidName(name):
		wrong.Add("username", apperr.ErrInvalidName)
	case slices.Contains(reserved, name):
		*wrong = append(*wrong, apperr.Field("username", apperr.ErrNameTaken).With("name", name))
	}
}

func insert(ctx context.Context, tx *ent.Tx, actor domain.Actor, username, displayName, hash string) (*ent.User, error) {
	u, err := tx.User.Create().SetUsername(username).SetDisplayName(displayName).SetPasswordHash(hash).Save(ctx)
	if database.Violates(err, "users_username_key") {
		return nil, apperr.Field("username", apperr.ErrNameTaken).With("name", username)
	}
	if err != nil {
		return nil, err
	}
	return u, audit.Write(ctx, tx, actor, audit.Entry{
		Action: "user.create", ResourceType: "user", ResourceID: u.ID.String(), ResourceName: u.Username, After: map[string]any{"display_name": displayName},
	})
}

// RightsTopic is what open pages of a user hear when his roles change.
func RightsTopic(userID string) string { return "rights-" + userID }

// Bind gives a user a role; one that he has already is no error. Roles of a
// system are given by its owners, all others by admins.
func (s *Service) Bind(ctx context.Context, actor domain.Actor, userID string, b domain.Binding) error {
	return s.give(ctx, actor, b, userID, lockedUser, "user")
}

// BindGroup is Bind for the members of a group.
func (s *Service) BindGroup(ctx context.Context, actor domain.Actor, groupID string, b domain.Binding) error {
	return s.give(ctx, actor, b, groupID, lockedGroup, "group")
}

// give gives a role to whom find finds; field is what is wrong when there is
// nobody.
func (s *Service) give(ctx context.Context, actor domain.Actor, b domain.Binding, id string, find finder, field string) error {
	if wrong := checkBinding(b); len(wrong) > 0 {
		return wrong
	}
	if err := s.mayBind(ctx, actor, b); err != nil {
		return err
	}
	key, err := uuid.Parse(id)
	if err != nil {
		return apperr.Field(field, apperr.ErrInvalidChoice)
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		to, err := find(ctx, tx, key)
		if apperr.CodeOf(err) == apperr.ErrNotFound {
			return apperr.Field(field, apperr.ErrInvalidChoice)
		}
		if err != nil {
			return err
		}
		if err := bind(ctx, tx, actor, to, b); err != nil {
			return err
		}
		topics, err := to.topics(ctx, tx)
		if err != nil {
			return err
		}
		return database.Notify(ctx, tx, topics...)
	})
}

// checkBinding says whether a role can be held where it is given. Each can be
// held in one environment; a system is in one already. What a system has is
// given for it or for an environment, never for all.
func checkBinding(b domain.Binding) apperr.List {
	var wrong apperr.List
	ofSystem := slices.Contains([]domain.Role{domain.RoleOwner, domain.RoleMaintainer, domain.RoleViewer}, b.Role)
	if !slices.Contains(domain.Roles(), b.Role) {
		wrong.Add("role", apperr.ErrInvalidChoice)
		return wrong
	}
	switch _, err := uuid.Parse(b.SystemID); {
	case ofSystem && b.SystemID == "" && b.Environment == "":
		wrong.Add("system", apperr.ErrRequired)
	case b.SystemID != "" && (!ofSystem || err != nil):
		wrong.Add("system", apperr.ErrInvalidChoice)
	}
	if b.Environment != "" && (b.SystemID != "" || !b.Environment.Valid()) {
		wrong.Add("environment", apperr.ErrInvalidChoice)
	}
	return wrong
}

func (s *Service) mayBind(ctx context.Context, actor domain.Actor, b domain.Binding) error {
	if isShepherd(actor) {
		return nil
	}
	if b.SystemID == "" {
		return access.Check(actor, domain.PersonBind, domain.Object{})
	}
	row, err := s.DB.Ent.System.Get(ctx, uuid.MustParse(b.SystemID)) // checkBinding has parsed it
	if ent.IsNotFound(err) {
		return apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return database.Classify(err)
	}
	return access.Check(actor, domain.MemberCreate, access.System(row))
}

// bind needs the holder to be locked or new: one who binds at a time looks
// whether the role is there.
func bind(ctx context.Context, tx *ent.Tx, actor domain.Actor, to holder, b domain.Binding) error {
	row := tx.RoleBinding.Create().SetRole(rolebinding.Role(b.Role)).SetCreatedBy(actor.Username)
	if to.kind == "group" {
		row.SetGroupID(to.id)
	} else {
		row.SetUserID(to.id)
	}
	entry := to.entry("bind", b)
	if b.SystemID != "" {
		id := uuid.MustParse(b.SystemID)
		of, err := tx.System.Query().Where(system.ID(id)).ForShare().Only(ctx)
		if ent.IsNotFound(err) {
			return apperr.Field("system", apperr.ErrInvalidChoice)
		}
		if err != nil {
			return err
		}
		row.SetSystemID(id)
		entry.Details["system"] = of.Name
	}
	if b.Environment != "" {
		row.SetEnvironment(rolebinding.Environment(b.Environment))
	}
	if there, err := tx.RoleBinding.Query().Where(to.is(), held(b), rolebinding.ExpiresAtIsNil()).Exist(ctx); err != nil || there {
		return err
	}
	before, err := to.roles(ctx, tx, b)
	if err != nil {
		return err
	}
	if err := row.Exec(ctx); err != nil {
		return err
	}
	after, err := to.roles(ctx, tx, b)
	if err != nil {
		return err
	}
	entry.Before, entry.After = map[string]any{"roles": before}, map[string]any{"roles": after}
	return audit.Write(ctx, tx, actor, entry)
}
