package handlers

import (
	"context"
	"net/http"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
)

// loader reads, of what the address names, as much as the rules need: one small
// query by primary key. NOT_FOUND when there is nothing of the name.
type loader func(r *http.Request) (domain.Object, error)

// by makes a loader that takes the id from a part of the path.
func by(part string, find func(context.Context, string) (domain.Object, error)) loader {
	return func(r *http.Request) (domain.Object, error) { return find(r.Context(), param(r, part)) }
}

func (s *Server) theSystem() loader    { return by("system", s.Objects.System) }
func (s *Server) theService() loader   { return by("service", s.Objects.Service) }
func (s *Server) theVM() loader        { return by("vm", s.Objects.VM) }
func (s *Server) theTicket() loader    { return by("ticket", s.Objects.Ticket) }
func (s *Server) theCluster() loader   { return by("cluster", s.Objects.Cluster) }
func (s *Server) theNamespace() loader { return by("namespace", s.Objects.Namespace) }
func (s *Server) thePerson() loader    { return by("person", s.Objects.Person) }
func (s *Server) theGroup() loader     { return by("group", s.Objects.Group) }

// ownSession is a session of the person himself.
func (s *Server) ownSession() loader {
	return func(r *http.Request) (domain.Object, error) {
		return s.Objects.OwnSession(r.Context(), actor(r), param(r, "session"))
	}
}

// ownIdentity is a company account of the person himself.
func (s *Server) ownIdentity() loader {
	return func(r *http.Request) (domain.Object, error) {
		return s.Objects.OwnIdentity(r.Context(), actor(r), param(r, "identity"))
	}
}

// theDraft is a kubeconfig that the person himself has uploaded.
func (s *Server) theDraft() loader {
	return func(r *http.Request) (domain.Object, error) {
		return s.Objects.Draft(r.Context(), actor(r), param(r, "draft"))
	}
}

// theServiceAccount is one that the person may know of.
func (s *Server) theServiceAccount() loader {
	return func(r *http.Request) (domain.Object, error) {
		_, err := s.Accounts.ServiceAccount(r.Context(), actor(r), param(r, "account"))
		return domain.Object{}, err
	}
}

// theToken is one that the person may revoke.
func (s *Server) theToken() loader {
	return func(r *http.Request) (domain.Object, error) {
		_, _, err := s.Tokens.Find(r.Context(), actor(r), param(r, "access"))
		return domain.Object{}, err
	}
}

// theFilter is a saved filter of the audit log that the person may know of.
func (s *Server) theFilter() loader {
	return func(r *http.Request) (domain.Object, error) {
		return domain.Object{}, s.Audit.KnowsFilter(r.Context(), actor(r), param(r, "filter"))
	}
}

// enter says whether the actor may take the route. What is not there and what
// he may not know of are the same to him. Where the object does not matter it is
// not read first, so that the answer says nothing about it.
func (rt route) enter(r *http.Request) error {
	a := actor(r)
	if err := access.Token(a, rt.action); err != nil {
		return err // before the object is read, so that it says nothing about it
	}
	switch {
	case rt.action == domain.Open:
		return nil
	case a.UserID == "":
		return apperr.New(apperr.ErrSignedOut)
	case rt.action.Wide() || rt.load == nil:
		if err := access.Check(a, rt.action, domain.Object{}); err != nil || rt.load == nil {
			return err
		}
	}
	o, err := rt.load(r)
	if err != nil {
		return err
	}
	return access.Check(a, rt.action, o)
}

// may says whether the actor may do something about a system and what is in it.
func may(r *http.Request, action domain.Action, system string, e domain.Environment) bool {
	return domain.Can(actor(r), action, domain.Object{SystemID: system, Environment: e})
}

// mayOn says whether the actor may do something that is about no object.
func mayOn(r *http.Request, action domain.Action) bool {
	return domain.Can(actor(r), action, domain.Object{})
}
