// Package system holds the business lines: who may make them, in which
// namespace, and when one may go. Its explorer tree is in tree.go.
package system

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/service"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Service holds the rules of systems.
type Service struct{ DB *database.DB }

// System is a business line as pages show it.
type System struct {
	ID, Name, Namespace  string
	Environment          domain.Environment
	Documentation        string // Markdown
	CreatedBy            string // user name
	CreatedAt, UpdatedAt time.Time
	VMs, Bad             int // all VMs, and those that need somebody
}

func view(r *ent.System) System {
	return System{
		ID: r.ID.String(), Name: r.Name, Namespace: r.Namespace, Environment: domain.Environment(r.Environment), Documentation: r.Documentation,
		CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, VMs: r.VMCount, Bad: r.BadCount,
	}
}

// Namespace is a name that a system can be made in. On how many clusters it is
// registered does not matter: it has one environment on all of them.
type Namespace struct {
	Name        string
	Environment domain.Environment
}

// Namespaces lists what the form of a new system offers, by name: FORBIDDEN for
// those who make no systems. It is not paged: admins register each by hand.
func (s *Service) Namespaces(ctx context.Context, actor domain.Actor) ([]Namespace, error) {
	if err := access.Check(actor, domain.SystemCreate, domain.Object{}); err != nil {
		return nil, err
	}
	var rows []struct {
		Name        string
		Environment string
	}
	err := s.DB.Ent.Namespace.Query().Order(ent.Asc(namespace.FieldName)).
		GroupBy(namespace.FieldName, namespace.FieldEnvironment).Scan(ctx, &rows)
	if err != nil {
		return nil, database.Classify(err)
	}
	list := make([]Namespace, 0, len(rows))
	for _, r := range rows {
		list = append(list, Namespace{r.Name, domain.Environment(r.Environment)})
	}
	return list, nil
}

// Input is a new system as it was typed.
type Input struct{ Name, Namespace, Documentation string }

// Lengths.
const (
	// maxName leaves room for a dash and a service of one letter in the prefix
	// of VM names.
	maxName          = domain.MaxPrefix - 2
	maxDocumentation = 64 << 10 // bytes
)

// ShownChildren is how many names a refusal to delete tells.
const ShownChildren = 10

// Create makes a system in a registered namespace, whose environment it takes,
// and its creator the owner. NAME_TAKEN when the namespace has one of the name.
func (s *Service) Create(ctx context.Context, actor domain.Actor, in Input) (id string, err error) {
	if err := access.Check(actor, domain.SystemCreate, domain.Object{}); err != nil {
		return "", err
	}
	owner, err := uuid.Parse(actor.UserID)
	if err != nil {
		return "", apperr.New(apperr.ErrForbidden)
	}
	var wrong apperr.List
	switch {
	case in.Name == "":
		wrong.Add("name", apperr.ErrRequired)
	case !domain.ValidName(in.Name):
		wrong.Add("name", apperr.ErrInvalidName)
	case len(in.Name) > maxName:
		wrong = append(wrong, apperr.Field("name", apperr.ErrNameTooLong).With("count", len(in.Name)-maxName))
	}
	if in.Namespace == "" {
		wrong.Add("namespace", apperr.ErrRequired)
	} else if there, err := s.registered(ctx, in.Namespace); err != nil {
		return "", database.Classify(err)
	} else if !there {
		wrong = append(wrong, missing(in.Namespace))
	}
	if e := CheckDocumentation(in.Documentation); e != nil {
		wrong = append(wrong, e)
	}
	if err := wrong.Err(); err != nil {
		return "", err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		// Held, so that the namespace is not taken back meanwhile.
		places, err := tx.Namespace.Query().Where(namespace.Name(in.Namespace)).Order(namespace.ByID()).ForShare().All(ctx)
		if err != nil {
			return err
		}
		if len(places) == 0 {
			return missing(in.Namespace)
		}
		row, err := tx.System.Create().SetName(in.Name).SetNamespace(in.Namespace).SetEnvironment(system.Environment(places[0].Environment)).
			SetDocumentation(in.Documentation).SetCreatedBy(actor.Username).Save(ctx)
		if database.Violates(err, "system_namespace_name") {
			return apperr.Field("name", apperr.ErrNameTaken).With("name", in.Name)
		}
		if err != nil {
			return err
		}
		err = tx.RoleBinding.Create().SetUserID(owner).SetRole(rolebinding.RoleOwner).SetSystemID(row.ID).
			SetCreatedBy(actor.Username).Exec(ctx)
		if err != nil {
			return err
		}
		id = row.ID.String()
		return s.changed(ctx, tx, actor, "system.create", nil, row)
	})
	return id, err
}

func (s *Service) registered(ctx context.Context, name string) (bool, error) {
	if !domain.ValidName(name) {
		return false, nil
	}
	return s.DB.Ent.Namespace.Query().Where(namespace.Name(name)).Exist(ctx)
}

func missing(name string) *apperr.AppError {
	return apperr.Field("namespace", apperr.ErrNamespaceMissing).With("namespace", domain.CleanText(name, domain.MaxLabel))
}

// CheckDocumentation says what is wrong with a Markdown text, at the field
// "documentation", or nil.
func CheckDocumentation(text string) *apperr.AppError {
	bad := func(r rune) bool { return r != '\n' && r != '\r' && r != '\t' && unicode.IsControl(r) }
	switch {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, bad):
		return apperr.Field("documentation", apperr.ErrInvalidText)
	case len(text) > maxDocumentation:
		return apperr.Field("documentation", apperr.ErrTooLong).With("max", maxDocumentation)
	}
	return nil
}

// changed writes the audit row, with what the system was and is, and tells the
// pages.
func (s *Service) changed(ctx context.Context, tx *ent.Tx, actor domain.Actor, action string, was, is *ent.System) error {
	r := cmp.Or(is, was)
	err := audit.Write(ctx, tx, actor, audit.Entry{
		Action: action, ResourceType: "system", ResourceID: r.ID.String(), ResourceName: r.Name, SystemID: r.ID.String(),
		Details: map[string]any{"namespace": r.Namespace, "environment": string(r.Environment)}, Before: told(was), After: told(is),
	})
	if err != nil {
		return err
	}
	return database.Notify(ctx, tx, "tree")
}

// told is what the audit log keeps of a system.
func told(r *ent.System) map[string]any {
	if r == nil {
		return nil
	}
	return map[string]any{"name": r.Name, "namespace": r.Namespace, "environment": r.Environment, "documentation": r.Documentation}
}

// Get reads one system; NOT_FOUND when there is none or the actor may not know
// of it.
func (s *Service) Get(ctx context.Context, actor domain.Actor, id string) (System, error) {
	r, err := get(actor, domain.SystemRead, id, func(key uuid.UUID) (*ent.System, error) { return s.DB.Ent.System.Get(ctx, key) })
	if err != nil {
		return System{}, database.Classify(err)
	}
	return view(r), nil
}

// get reads a system to which the actor may do the action.
func get(actor domain.Actor, action domain.Action, id string, read func(uuid.UUID) (*ent.System, error)) (*ent.System, error) {
	key, err := listing.Key(id)
	if err != nil {
		return nil, err
	}
	r, err := read(key)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return r, access.Check(actor, action, access.System(r))
}

// listed are the columns of lists: documentation is long and not shown there.
var listed = []string{
	system.FieldID, system.FieldName, system.FieldNamespace, system.FieldEnvironment, system.FieldCreatedBy, system.FieldCreatedAt,
	system.FieldUpdatedAt, system.FieldVMCount, system.FieldBadCount,
}

// List gives the systems that the actor sees, by name and without documentation.
func (s *Service) List(ctx context.Context, actor domain.Actor, page listing.Page) (listing.Of[System], error) {
	name, id, err := page.Name()
	if err != nil {
		return listing.Of[System]{}, err
	}
	rows, err := s.DB.Ent.System.Query().
		Where(listing.Systems(actor), system.Or(system.NameGT(name), system.And(system.Name(name), system.IDGT(id)))).
		Order(system.ByName(), system.ByID()).Limit(page.Size() + 1).Select(listed...).All(ctx)
	if err != nil {
		return listing.Of[System]{}, database.Classify(err)
	}
	return listing.Make(page, rows, view, func(r *ent.System) string { return listing.ByName(r.Name, r.ID) }), nil
}

// Member is a person with a role in a system.
type Member struct {
	UserID, Username, DisplayName string
	Role                          domain.Role
	Via                           string // name of the group that has it; "" for the person's own
}

// maxMembers bounds the list of members: roles are given by hand.
const maxMembers = 500

// Members lists who has a role in the system, himself or by a group: owners
// first, then by user name.
// Those who see it by a platform-wide role are not among them.
func (s *Service) Members(ctx context.Context, actor domain.Actor, id string) ([]Member, error) {
	if _, err := s.Get(ctx, actor, id); err != nil {
		return nil, err
	}
	rows, err := s.DB.Ent.RoleBinding.Query().Where(rolebinding.SystemID(uuid.MustParse(id))).WithUser().
		WithGroup(func(q *ent.GroupQuery) {
			q.WithMembers(func(q *ent.GroupMemberQuery) { q.WithUser().Limit(maxMembers) })
		}).
		Order(rolebinding.ByID()).Limit(maxMembers).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	list := make([]Member, 0, len(rows))
	add := func(u *ent.User, role rolebinding.Role, via string) {
		m := Member{u.ID.String(), u.Username, u.DisplayName, domain.Role(role), via}
		if len(list) < maxMembers && !slices.Contains(list, m) { // once, also if two sources put him into the group
			list = append(list, m)
		}
	}
	for _, b := range rows {
		if b.Edges.User != nil {
			add(b.Edges.User, b.Role, "")
			continue
		}
		for _, in := range b.Edges.Group.Edges.Members {
			add(in.Edges.User, b.Role, b.Edges.Group.Name)
		}
	}
	slices.SortFunc(list, func(a, b Member) int {
		if c := slices.Index(domain.Roles(), a.Role) - slices.Index(domain.Roles(), b.Role); c != 0 {
			return c
		}
		return cmp.Or(strings.Compare(a.Username, b.Username), strings.Compare(a.Via, b.Via))
	})
	return list, nil
}

// GroupRole is a role that a group has in a system.
type GroupRole struct {
	ID, Name string
	Role     domain.Role
}

// Groups lists which groups have a role in the system, by name.
func (s *Service) Groups(ctx context.Context, actor domain.Actor, id string) ([]GroupRole, error) {
	if _, err := s.Get(ctx, actor, id); err != nil {
		return nil, err
	}
	rows, err := s.DB.Ent.RoleBinding.Query().Where(rolebinding.SystemID(uuid.MustParse(id)), rolebinding.GroupIDNotNil()).
		WithGroup().Order(rolebinding.ByID()).Limit(maxMembers).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	list := make([]GroupRole, 0, len(rows))
	for _, b := range rows {
		list = append(list, GroupRole{ID: b.Edges.Group.ID.String(), Name: b.Edges.Group.Name, Role: domain.Role(b.Role)})
	}
	slices.SortFunc(list, func(a, b GroupRole) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(string(a.Role), string(b.Role)))
	})
	return list, nil
}

// Named lists the systems of a name that the actor sees: one for each namespace.
func (s *Service) Named(ctx context.Context, actor domain.Actor, name string) ([]System, error) {
	if !domain.ValidName(name) {
		return nil, nil
	}
	rows, err := s.DB.Ent.System.Query().Where(system.Name(name), listing.Systems(actor)).Order(system.ByID()).Limit(ShownChildren).Select(listed...).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	list := make([]System, 0, len(rows))
	for _, r := range rows {
		list = append(list, view(r))
	}
	return list, nil
}

// UpdateDocumentation replaces the Markdown text. Owners only.
func (s *Service) UpdateDocumentation(ctx context.Context, actor domain.Actor, id, text string) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		r, err := owned(ctx, tx, actor, domain.SystemUpdate, id)
		if err != nil {
			return err
		}
		if e := CheckDocumentation(text); e != nil {
			return e
		}
		now, err := tx.System.UpdateOne(r).SetDocumentation(text).Save(ctx)
		if err != nil {
			return err
		}
		return s.changed(ctx, tx, actor, "system.update", r, now)
	})
}

// owned locks a system to which the actor may do the action: NOT_FOUND or
// FORBIDDEN.
func owned(ctx context.Context, tx *ent.Tx, actor domain.Actor, action domain.Action, id string) (*ent.System, error) {
	return get(actor, action, id, func(key uuid.UUID) (*ent.System, error) {
		return tx.System.Query().Where(system.ID(key)).ForUpdate().Only(ctx)
	})
}

// Delete removes an empty system, its members' roles with it. Its name must be
// typed: NAME_MISMATCH. HAS_CHILDREN names the services in it,
// HAS_PENDING_REQUESTS the requests that are still open. Owners only.
func (s *Service) Delete(ctx context.Context, actor domain.Actor, id, typed string) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		r, err := owned(ctx, tx, actor, domain.SystemDelete, id)
		if err != nil {
			return err
		}
		if typed != r.Name {
			return apperr.Field("name", apperr.ErrNameMismatch).With("expected", r.Name)
		}
		// A service that is made now waits for our lock, and then finds no system.
		children := tx.Service.Query().Where(service.SystemID(r.ID))
		n, err := children.Clone().Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			names, err := children.Order(service.ByName()).Limit(ShownChildren).Select(service.FieldName).Strings(ctx)
			if err != nil {
				return err
			}
			return HasChildren(r.Name, names, n)
		}
		if err := NothingPending(ctx, tx, r.Name, approvalticket.SystemID(r.ID)); err != nil {
			return err
		}
		if err := tx.System.DeleteOne(r).Exec(ctx); err != nil {
			return err
		}
		return s.changed(ctx, tx, actor, "system.delete", r, nil)
	})
}

// HasChildren is the refusal to delete what still has something in it: n in
// all, of which the first are named.
func HasChildren(name string, names []string, n int) error {
	if n > len(names) {
		names = append(names, "…")
	}
	return apperr.New(apperr.ErrHasChildren).With("name", name).With("children", names).With("count", n)
}

// NothingPending refuses to delete what requests are still open for.
func NothingPending(ctx context.Context, tx *ent.Tx, name string, about predicate.ApprovalTicket) error {
	open, err := tx.ApprovalTicket.Query().Where(about, listing.OpenTickets()).Order(approvalticket.ByID()).IDs(ctx)
	if err != nil || len(open) == 0 {
		return err
	}
	return apperr.New(apperr.ErrHasPending).With("name", name).With("ticket", domain.TicketName(open[0])).With("count", len(open))
}
