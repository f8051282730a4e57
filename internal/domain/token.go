package domain

import (
	"slices"
	"time"
)

// How long the token of a program lives, and how long it is shown after its end.
const (
	TokenLifetime    = 90 * 24 * time.Hour // unless somebody chooses another one
	MaxTokenLifetime = 365 * 24 * time.Hour
	TokenKept        = 90 * 24 * time.Hour
)

// Behind lists the ids of those who answer for what the actor does: a person
// for himself; for a service account also who made its token and who owns it, a
// person or a group.
func (a Actor) Behind() []string {
	ids := []string{a.UserID}
	if a.Service {
		ids = append(ids, a.OwnerID, a.OwnerGroup)
		if a.Token != nil {
			ids = append(ids, a.Token.MakerID)
		}
	}
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}

// SameHands says whether those behind the actor are also behind a request: its
// requester, or one of those who answer for the program that asked. Nobody
// approves what he asked for, and a program between him and the request, or
// between him and the decision, changes nothing of that. Each member of the group
// that owns a program can make it a token, so all of them are behind its decisions.
func SameHands(a Actor, requesterID string, behind []string) bool {
	return slices.ContainsFunc(append(a.Behind(), a.OwnerMembers...), func(id string) bool {
		return id == requesterID || slices.Contains(behind, id)
	})
}

// programDecides says whether a role of a service account makes it an approver
// in an environment: that of an approver, and not of an admin, and in prod one
// that names prod. A role that was given for everything, or to run the platform,
// was hardly meant to let a program approve where it matters most. The scope to
// decide, which its token needs too, is another matter.
func programDecides(b Binding, e Environment) bool {
	return b.Role == RoleApprover && (b.Environment != "" || e != Prod)
}

// Grants says whether the actor may give a scope to a token of a person, his
// own, or with service to one of a service account that he is in charge of. A
// scope that the actor's own rights do not cover would be a trap: it begins to
// work the day somebody gets a role.
func (a Actor) Grants(s Scope, service bool) bool {
	switch s {
	case ScopeRead, ScopeRequest:
		return true
	case ScopeDecide:
		return a.IsAdmin() || !service && a.Approves()
	case ScopeAdmin:
		return a.IsAdmin()
	}
	return false
}
