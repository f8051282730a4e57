package access

import (
	"context"

	"kubevirt-shepherd.io/shepherd/ent/identity"
	"kubevirt-shepherd.io/shepherd/ent/session"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// OwnSession finds a session of the actor himself that is not over.
func (s *Objects) OwnSession(ctx context.Context, a domain.Actor, id string) (domain.Object, error) {
	return own(s.DB.Ent.Session.Query().Where(session.ID(id), session.UserID(key(a.UserID)), session.EndedAtIsNil()).Exist(ctx))
}

// OwnIdentity finds a company account that opens the actor's own account.
func (s *Objects) OwnIdentity(ctx context.Context, a domain.Actor, id string) (domain.Object, error) {
	return own(s.DB.Ent.Identity.Query().Where(identity.ID(key(id)), identity.UserID(key(a.UserID))).Exist(ctx))
}

func own(there bool, err error) (domain.Object, error) {
	if err == nil && !there {
		return domain.Object{}, apperr.New(apperr.ErrNotFound)
	}
	return domain.Object{}, database.Classify(err)
}
