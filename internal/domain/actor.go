package domain

import (
	"slices"
	"time"
)

// Role is a set of rights. The first three are held platform-wide or for one
// environment, the last three for one system.
type Role string

// The roles.
const (
	RoleAdmin      Role = "admin"      // clusters, namespaces, catalog, policies, people
	RoleApprover   Role = "approver"   // decides tickets, may change the request
	RoleAuditor    Role = "auditor"    // reads everything, changes nothing
	RoleOwner      Role = "owner"      // of a system: everything in it, members and deletion
	RoleMaintainer Role = "maintainer" // of a system: services, requests, power
	RoleViewer     Role = "viewer"     // of a system: reads it
)

// Roles lists all of them.
func Roles() []Role {
	return []Role{RoleAdmin, RoleApprover, RoleAuditor, RoleOwner, RoleMaintainer, RoleViewer}
}

// Binding gives a role to a user, for one system, for one environment, or
// platform-wide when both are empty.
type Binding struct {
	Role        Role
	SystemID    string
	Environment Environment
	Via         string // name of the group that has it; "" for the user's own
}

// MemberSource says who put a user into a group.
type MemberSource string

// The sources. A user may be in a group by both.
const (
	MemberLocal MemberSource = "local" // an admin
	MemberOIDC  MemberSource = "oidc"  // the issuer that he signed in with
)

// MemberSources lists all of them.
func MemberSources() []MemberSource { return []MemberSource{MemberLocal, MemberOIDC} }

// Actor is the person or program behind a request. Its bindings are read from
// the database at every request, so that a revoked right ends at once.
type Actor struct {
	UserID      string
	Username    string
	DisplayName string
	Bindings    []Binding
	Language    string // of pages, BCP 47; "" when the person chose none
	Epoch       int    // of the sessions that are still good
	IP          string // of the request, for the audit log
	RequestID   string
	Token       *Token // that a program showed; nil for a person in a browser
	Service     bool   // a service account: a program, not a person
	OwnerID     string // of a service account: who answers for it, or
	OwnerGroup  string // the id of the group that does
	// OwnerMembers are the ids of the people in OwnerGroup, read where the account
	// may approve something.
	OwnerMembers []string
	BreakGlass   *BreakGlass

	// For the audit log: the person for whom the actor acts, if it is another,
	// and by what. Neither gives a right.
	OnBehalfOf Principal
	Via        Via
}

// Principal names somebody with an account. The zero value is nobody.
type Principal struct{ ID, Username string }

// Via is by what an actor acts, where it is no browser. A token says so itself,
// see Actor.Token.
type Via struct {
	Kind ViaKind
	ID   string // of the token or of the order
	Name string // of the token or the chore, or the account of the operating system
}

// ViaKind is a kind of Via.
type ViaKind string

// The kinds.
const (
	ViaToken ViaKind = "token" // a program
	ViaJob   ViaKind = "job"   // a job of the queue
	ViaCLI   ViaKind = "cli"   // the command line, on the server
)

// Change is what became of a field, for the audit log. nil: there was, or is,
// nothing.
type Change struct {
	Before any `json:"before"`
	After  any `json:"after"`
}

// BreakGlass says why somebody is an admin for a short time, and until when.
type BreakGlass struct {
	Reason string
	Until  time.Time
}

// Token is what a program signed in with. It can do what its user can and, of
// that, only what its scopes say.
type Token struct {
	ID, Name  string
	Scopes    []Scope
	MakerID   string // the person who made it; "" for one of the command line
	ExpiresAt time.Time
}

// Scope is a part of its user's rights that a token is given.
type Scope string

// The scopes. Each has those before it, but for admin, which has no decide: a
// program that runs the platform approves nothing by that.
const (
	ScopeRead    Scope = "read"    // see what the user sees
	ScopeRequest Scope = "request" // systems, services, requests, power
	ScopeDecide  Scope = "decide"  // approve and reject
	ScopeAdmin   Scope = "admin"   // clusters, namespaces, catalog, people
)

// Scopes lists all of them.
func Scopes() []Scope { return []Scope{ScopeRead, ScopeRequest, ScopeDecide, ScopeAdmin} }

// Within says whether the actor's token, if there is one, allows what needs the
// scope.
func (a Actor) Within(s Scope) bool {
	if a.Token == nil {
		return true
	}
	has := func(of Scope) bool { return slices.Contains(a.Token.Scopes, of) }
	switch s {
	case ScopeRead:
		return len(a.Token.Scopes) > 0
	case ScopeRequest:
		return has(ScopeRequest) || has(ScopeDecide) || has(ScopeAdmin)
	}
	return has(s)
}

// Shepherd is the actor behind automatic work.
func Shepherd() Actor { return Actor{Username: "shepherd", DisplayName: "Shepherd"} }

// ShepherdBy is Shepherd in a chore or in another job of the queue.
func ShepherdBy(job string) Actor {
	a := Shepherd()
	a.Via = Via{Kind: ViaJob, Name: job}
	return a
}

// Systems lists the ids of the systems that the actor is a member of.
func (a Actor) Systems() []string {
	var ids []string
	for _, b := range a.Bindings {
		if b.SystemID != "" {
			ids = append(ids, b.SystemID)
		}
	}
	return ids
}
