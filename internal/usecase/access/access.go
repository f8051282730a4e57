// Package access turns the rules of domain.Can into errors, and rows of the
// database into the objects that the rules are about.
package access

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterdraft"
	"kubevirt-shepherd.io/shepherd/ent/group"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/service"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Token is nil when the actor shows no token, or one that was given what the
// action needs; what the account itself may do is another matter. TOKEN_SCOPE
// with the parameters scope and has, and TOKEN_NOT_ALLOWED for what no token can
// do: sign in, and all that a thief would do to stay.
func Token(a domain.Actor, action domain.Action) error {
	switch {
	case a.Token == nil:
		return nil
	case action == domain.Open || action.PeopleOnly():
		return apperr.New(apperr.ErrTokenNotAllowed)
	case !a.Within(action.Needs()):
		return apperr.New(apperr.ErrTokenScope).With("scope", action.Needs()).With("has", a.Token.Scopes)
	}
	return nil
}

// Check is nil when the actor may do the action. The refusals of Token come
// first. NOT_FOUND, as if there were no
// such object, when he may not know of it; SIGNED_OUT for nobody; else FORBIDDEN,
// SELF_APPROVAL for his own request.
func Check(a domain.Actor, action domain.Action, o domain.Object) error {
	e := domain.Explain(a, action, o)
	switch {
	case e.Allowed:
		return nil
	case e.Cause == domain.NotSignedIn:
		return apperr.New(apperr.ErrSignedOut)
	case e.Cause == domain.NotInScope:
		return Token(a, action)
	case action.Shows() == action, action.Shows() != "" && !domain.Can(a, action.Shows(), o):
		return apperr.New(apperr.ErrNotFound)
	case e.Cause == domain.NotDeleted:
		return apperr.New(apperr.ErrNotFound)
	case e.Cause == domain.NotOwn:
		return apperr.New(apperr.ErrSelfApproval)
	}
	return apperr.New(apperr.ErrForbidden)
}

// System is a system as the rules see it.
func System(r *ent.System) domain.Object {
	return domain.Object{SystemID: r.ID.String(), Environment: domain.Environment(r.Environment)}
}

// Service is a service as the rules see it; it must have been read with its
// system.
func Service(r *ent.Service) domain.Object { return System(r.Edges.System) }

// VM is a VM as the rules see it.
func VM(r *ent.VM) domain.Object {
	return domain.Object{SystemID: r.SystemID.String(), Environment: domain.Environment(r.Environment), Gone: r.DeletedAt != nil}
}

// Ticket is a ticket as the rules see it.
func Ticket(r *ent.ApprovalTicket) domain.Object {
	return domain.Object{
		SystemID: r.SystemID.String(), Environment: domain.Environment(r.Environment), OwnerID: r.RequesterID.String(), Behind: r.Behind,
	}
}

// Cluster is a cluster as the rules see it.
func Cluster(r *ent.Cluster) domain.Object {
	return domain.Object{Environment: domain.Environment(r.Environment)}
}

// Namespace is a registered namespace as the rules see it.
func Namespace(r *ent.Namespace) domain.Object {
	return domain.Object{Environment: domain.Environment(r.Environment)}
}

// Objects finds the objects that addresses name. Each method is one query by
// primary key, of no more than the rules need; NOT_FOUND.
type Objects struct{ DB *database.DB }

// key reads an id of an address: what is no UUID names nothing.
func key(id string) uuid.UUID {
	k, err := uuid.Parse(id)
	if err != nil {
		return uuid.Nil // no row has it
	}
	return k
}

func found[T any](row T, err error, of func(T) domain.Object) (domain.Object, error) {
	if ent.IsNotFound(err) {
		return domain.Object{}, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return domain.Object{}, database.Classify(err)
	}
	return of(row), nil
}

// System finds a system.
func (s *Objects) System(ctx context.Context, id string) (domain.Object, error) {
	row, err := s.DB.Ent.System.Query().Where(system.ID(key(id))).Select(system.FieldID, system.FieldEnvironment).Only(ctx)
	return found(row, err, System)
}

// Service finds a service: it has the rights of its system.
func (s *Objects) Service(ctx context.Context, id string) (domain.Object, error) {
	row, err := s.DB.Ent.System.Query().Where(system.HasServicesWith(service.ID(key(id)))).
		Select(system.FieldID, system.FieldEnvironment).Only(ctx)
	return found(row, err, System)
}

// VM finds a VM, also a deleted one.
func (s *Objects) VM(ctx context.Context, id string) (domain.Object, error) {
	row, err := s.DB.Ent.VM.Query().Where(vm.ID(key(id))).Select(vm.FieldSystemID, vm.FieldEnvironment, vm.FieldDeletedAt).Only(ctx)
	return found(row, err, VM)
}

// Ticket finds a ticket by its number.
func (s *Objects) Ticket(ctx context.Context, number string) (domain.Object, error) {
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return domain.Object{}, apperr.New(apperr.ErrNotFound)
	}
	row, err := s.DB.Ent.ApprovalTicket.Query().Where(approvalticket.ID(int(n))).
		Select(approvalticket.FieldSystemID, approvalticket.FieldEnvironment, approvalticket.FieldRequesterID, approvalticket.FieldBehind).Only(ctx)
	return found(row, err, Ticket)
}

// Cluster finds a cluster that was not removed.
func (s *Objects) Cluster(ctx context.Context, id string) (domain.Object, error) {
	row, err := s.DB.Ent.Cluster.Query().Where(cluster.ID(key(id)), cluster.RemovedAtIsNil()).Select(cluster.FieldEnvironment).Only(ctx)
	return found(row, err, Cluster)
}

// Draft finds an upload that the actor himself has begun; DRAFT_EXPIRED for
// any other, as for one that is too old.
func (s *Objects) Draft(ctx context.Context, a domain.Actor, id string) (domain.Object, error) {
	there, err := s.DB.Ent.ClusterDraft.Query().
		Where(clusterdraft.ID(key(id)), clusterdraft.UserID(key(a.UserID)), clusterdraft.ExpiresAtGT(time.Now().UTC())).Exist(ctx)
	if err == nil && !there {
		return domain.Object{}, apperr.New(apperr.ErrDraftExpired)
	}
	return domain.Object{}, database.Classify(err)
}

// Namespace finds a registered namespace.
func (s *Objects) Namespace(ctx context.Context, id string) (domain.Object, error) {
	row, err := s.DB.Ent.Namespace.Query().Where(namespace.ID(key(id))).Select(namespace.FieldEnvironment).Only(ctx)
	return found(row, err, Namespace)
}

// Person finds an account; it is the platform's.
func (s *Objects) Person(ctx context.Context, id string) (domain.Object, error) {
	row, err := s.DB.Ent.User.Query().Where(user.ID(key(id))).Select(user.FieldID).Only(ctx)
	return found(row, err, func(*ent.User) domain.Object { return domain.Object{} })
}

// Group finds a group; it is the platform's.
func (s *Objects) Group(ctx context.Context, id string) (domain.Object, error) {
	row, err := s.DB.Ent.Group.Query().Where(group.ID(key(id))).Select(group.FieldID).Only(ctx)
	return found(row, err, func(*ent.Group) domain.Object { return domain.Object{} })
}
