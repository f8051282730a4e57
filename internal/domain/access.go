package domain

import "slices"

// Action is what somebody does, noun.verb. Every route and every use case names
// the one it needs; the table rules says who may.
type Action string

// The actions.
const (
	Open Action = "open" // also without being signed in

	HomeRead           Action = "home.read"
	SearchRead         Action = "search.read"
	EventsRead         Action = "events.read"
	DocsRead           Action = "docs.read"
	TrendsRead         Action = "trends.read"
	NotificationRead   Action = "notification.read"
	NotificationUpdate Action = "notification.update"
	SessionEnd         Action = "session.end" // one's own
	AccountRead        Action = "account.read"
	AccountUpdate      Action = "account.update" // how one signs in

	SystemList   Action = "system.list"
	SystemRead   Action = "system.read"
	SystemCreate Action = "system.create"
	SystemUpdate Action = "system.update"
	SystemDelete Action = "system.delete"
	MemberCreate Action = "member.create"
	MemberDelete Action = "member.delete"
	// MemberExplain is to ask why a member may do what he may.
	MemberExplain  Action = "member.explain"
	SystemTransfer Action = "system.transfer"

	ServiceRead   Action = "service.read"
	ServiceCreate Action = "service.create"
	ServiceUpdate Action = "service.update"
	ServiceDelete Action = "service.delete"

	VMRead   Action = "vm.read"
	VMCreate Action = "vm.create" // ask for it
	VMPower  Action = "vm.power"
	VMDelete Action = "vm.delete"

	TicketList     Action = "ticket.list"
	TicketRead     Action = "ticket.read"
	TicketCreate   Action = "ticket.create" // begin a request; for which service is VMCreate
	TicketWithdraw Action = "ticket.withdraw"
	TicketRetry    Action = "ticket.retry"
	TicketQueue    Action = "ticket.queue"  // see what waits for a decision
	TicketReview   Action = "ticket.review" // see it as who decides does
	TicketDecide   Action = "ticket.decide"
	TicketExport   Action = "ticket.export" // the evidence of it

	ClusterList   Action = "cluster.list"
	ClusterRead   Action = "cluster.read"
	ClusterCreate Action = "cluster.create"
	ClusterUpdate Action = "cluster.update"
	ClusterCheck  Action = "cluster.check"
	ClusterDelete Action = "cluster.delete"
	// ClusterCredential is to replace the credential, or to confirm that it leads
	// to another cluster.
	ClusterCredential Action = "cluster.credential"
	ClusterAccept     Action = "cluster.accept" // what became of a quarantined one

	NamespaceList   Action = "namespace.list"
	NamespaceRead   Action = "namespace.read"
	NamespaceCreate Action = "namespace.create"
	NamespaceCheck  Action = "namespace.check"
	NamespaceDelete Action = "namespace.delete"

	CatalogRead   Action = "catalog.read"
	CatalogCreate Action = "catalog.create"

	PersonRead    Action = "person.read"
	PersonCreate  Action = "person.create"
	PersonLink    Action = "person.link"
	PersonBind    Action = "person.bind"
	PersonDisable Action = "person.disable"
	// PersonSessions is to end the sessions of somebody else.
	PersonSessions Action = "person.sessions"
	GroupRead      Action = "group.read"
	GroupChange    Action = "group.change"

	// Tokens are the actor's own; TokenOversee is to see those of other people.
	// Which service account and which token is decided by who owns them.
	TokenRead    Action = "token.read"
	TokenCreate  Action = "token.create"
	TokenRevoke  Action = "token.revoke"
	TokenOversee Action = "token.oversee"

	ServiceAccountRead   Action = "service_account.read"
	ServiceAccountToken  Action = "service_account.token"
	ServiceAccountCreate Action = "service_account.create"
	ServiceAccountUpdate Action = "service_account.update"

	AuditRead   Action = "audit.read"
	AuditExport Action = "audit.export"
)

// Object is what an action is done to, as far as the rules need it. The zero
// Object is the platform itself.
type Object struct {
	SystemID    string
	Environment Environment // of a system and all in it, or of a cluster
	OwnerID     string      // user id of who asked for a ticket
	Behind      []string    // ids of the people behind the program that asked for it
	Gone        bool        // a deleted VM
}

// reach says which bindings of the right role count.
type reach int

const (
	there    reach = iota // those for the object: of its system, its environment, or platform-wide
	anywhere              // all: the action is about a list, and the list is cut to what its reader sees
	platform              // platform-wide ones only: the action is about no system
)

// rule says who may do an action.
type rule struct {
	scope  Scope  // that a token needs
	person bool   // not a program, whatever its scopes
	all    bool   // everybody who is signed in, whatever his roles
	own    bool   // who asked for the ticket
	roles  []Role // who has one of them, within reach
	reach  reach
	maker  bool   // not who has only roles to read
	eyes   bool   // never who asked for the ticket himself, see SameHands
	decide bool   // of the roles of a program only those that programDecides says
	living bool   // not to what is deleted
	shows  Action // who may not do this must not learn that the object exists
}

var (
	everyRole = Roles()
	deciders  = []Role{RoleAdmin, RoleApprover}
	owners    = []Role{RoleAdmin, RoleOwner}
	operators = []Role{RoleAdmin, RoleOwner, RoleMaintainer}
	stewards  = []Role{RoleAdmin, RoleApprover, RoleAuditor}
	admins    = []Role{RoleAdmin}
)

// rules is the one table from actions to rights. An action that is not in it is
// nobody's.
var rules = map[Action]rule{
	HomeRead:           {scope: ScopeRead, all: true},
	SearchRead:         {scope: ScopeRead, all: true},
	EventsRead:         {scope: ScopeRead, all: true},
	DocsRead:           {scope: ScopeRead, all: true},
	TrendsRead:         {scope: ScopeRead, all: true},
	NotificationRead:   {scope: ScopeRead, all: true},
	NotificationUpdate: {scope: ScopeRequest, all: true},
	SessionEnd:         {scope: ScopeRead, person: true, all: true},
	AccountRead:        {scope: ScopeRead, person: true, all: true},
	AccountUpdate:      {scope: ScopeRead, person: true, all: true},

	SystemList:     {scope: ScopeRead, all: true},
	SystemRead:     {scope: ScopeRead, roles: everyRole, shows: SystemRead},
	SystemCreate:   {scope: ScopeRequest, all: true, maker: true},
	SystemUpdate:   {scope: ScopeRequest, roles: owners, shows: SystemRead},
	SystemDelete:   {scope: ScopeRequest, roles: owners, shows: SystemRead},
	MemberCreate:   {scope: ScopeAdmin, roles: owners, shows: SystemRead},
	MemberDelete:   {scope: ScopeAdmin, roles: owners, shows: SystemRead},
	MemberExplain:  {scope: ScopeRead, roles: owners, shows: SystemRead},
	SystemTransfer: {scope: ScopeAdmin, roles: owners, shows: SystemRead},

	ServiceRead:   {scope: ScopeRead, roles: everyRole, shows: ServiceRead},
	ServiceCreate: {scope: ScopeRequest, roles: operators, shows: SystemRead},
	ServiceUpdate: {scope: ScopeRequest, roles: operators, shows: ServiceRead},
	ServiceDelete: {scope: ScopeRequest, roles: operators, shows: ServiceRead},

	VMRead:   {scope: ScopeRead, roles: everyRole, shows: VMRead},
	VMCreate: {scope: ScopeRequest, roles: operators, shows: ServiceRead},
	VMPower:  {scope: ScopeRequest, roles: operators, living: true, shows: VMRead},
	VMDelete: {scope: ScopeRequest, roles: operators, living: true, shows: VMRead},

	TicketList:     {scope: ScopeRead, all: true},
	TicketRead:     {scope: ScopeRead, own: true, roles: everyRole, shows: TicketRead},
	TicketCreate:   {scope: ScopeRequest, all: true},
	TicketWithdraw: {scope: ScopeRequest, own: true, shows: TicketRead},
	TicketRetry:    {scope: ScopeRequest, own: true, roles: deciders, shows: TicketRead},
	TicketQueue:    {scope: ScopeRead, roles: deciders, reach: anywhere, decide: true},
	TicketReview:   {scope: ScopeRead, roles: deciders, decide: true, shows: TicketRead},
	TicketExport:   {scope: ScopeRead, roles: stewards, shows: TicketRead},
	TicketDecide:   {scope: ScopeDecide, roles: deciders, eyes: true, decide: true, shows: TicketRead},

	ClusterList:   {scope: ScopeRead, roles: stewards, reach: anywhere, shows: ClusterList},
	ClusterRead:   {scope: ScopeRead, roles: stewards, shows: ClusterRead},
	ClusterCreate: {scope: ScopeAdmin, roles: admins, reach: platform, shows: ClusterList},
	ClusterUpdate: {scope: ScopeAdmin, roles: admins, reach: platform, shows: ClusterList},
	ClusterCheck:  {scope: ScopeAdmin, roles: admins, reach: platform, shows: ClusterList},
	ClusterDelete: {scope: ScopeAdmin, roles: admins, reach: platform, shows: ClusterList},

	ClusterCredential: {scope: ScopeAdmin, person: true, roles: admins, reach: platform, shows: ClusterList},
	ClusterAccept:     {scope: ScopeAdmin, roles: admins, reach: platform, shows: ClusterList},

	NamespaceList:   {scope: ScopeRead, roles: stewards, reach: anywhere, shows: NamespaceList},
	NamespaceRead:   {scope: ScopeRead, roles: stewards, shows: NamespaceRead},
	NamespaceCreate: {scope: ScopeAdmin, roles: admins, reach: platform, shows: NamespaceList},
	NamespaceCheck:  {scope: ScopeAdmin, roles: admins, reach: platform, shows: NamespaceList},
	NamespaceDelete: {scope: ScopeAdmin, roles: admins, reach: platform, shows: NamespaceList},

	CatalogRead:   {scope: ScopeRead, all: true},
	CatalogCreate: {scope: ScopeAdmin, roles: admins, reach: platform},

	PersonRead:     {scope: ScopeAdmin, roles: admins, reach: platform},
	PersonCreate:   {scope: ScopeAdmin, person: true, roles: admins, reach: platform},
	PersonLink:     {scope: ScopeAdmin, person: true, roles: admins, reach: platform},
	PersonBind:     {scope: ScopeAdmin, roles: admins, reach: platform},
	PersonDisable:  {scope: ScopeAdmin, roles: admins, reach: platform},
	PersonSessions: {scope: ScopeAdmin, person: true, roles: admins, reach: platform},
	GroupRead:      {scope: ScopeAdmin, roles: admins, reach: platform},
	GroupChange:    {scope: ScopeAdmin, roles: admins, reach: platform},

	TokenRead:    {scope: ScopeRead, person: true, all: true},
	TokenCreate:  {scope: ScopeAdmin, person: true, all: true},
	TokenRevoke:  {scope: ScopeAdmin, person: true, all: true},
	TokenOversee: {scope: ScopeAdmin, person: true, roles: []Role{RoleAdmin, RoleAuditor}, reach: platform},

	ServiceAccountRead:   {scope: ScopeRead, person: true, all: true},
	ServiceAccountToken:  {scope: ScopeAdmin, person: true, all: true},
	ServiceAccountCreate: {scope: ScopeAdmin, person: true, roles: admins, reach: platform},
	ServiceAccountUpdate: {scope: ScopeAdmin, person: true, roles: admins, reach: platform},

	AuditRead:   {scope: ScopeRead, roles: []Role{RoleAdmin, RoleAuditor}, reach: anywhere},
	AuditExport: {scope: ScopeRead, roles: []Role{RoleAdmin, RoleAuditor}, reach: anywhere},
}

// Actions lists all that have a rule, but for Open.
func Actions() []Action {
	list := make([]Action, 0, len(rules))
	for a := range rules {
		list = append(list, a)
	}
	slices.Sort(list)
	return list
}

// Known says whether an action has a rule.
func (a Action) Known() bool {
	_, there := rules[a]
	return there || a == Open
}

// Wide says whether the action's rule asks nothing about the object, so that it
// can be decided before the object is read.
func (a Action) Wide() bool {
	r := rules[a]
	return a == Open || r.reach != there || r.all
}

// Shows is the action that tells whether the object of this one exists for
// somebody; "" when that is no secret.
func (a Action) Shows() Action { return rules[a].shows }

// Needs is the scope that a token must have for the action.
func (a Action) Needs() Scope { return rules[a].scope }

// PeopleOnly says that no token is enough for the action.
func (a Action) PeopleOnly() bool { return rules[a].person }

// Cause says why somebody may do something, or why not.
type Cause string

// The causes. All up to ByRole allow.
const (
	ByOpenness   Cause = "open"    // it needs no sign-in
	ByAll        Cause = "all"     // everybody who is signed in may
	ByOwn        Cause = "own"     // it is his own request
	ByRole       Cause = "role"    // of Explanation.Binding
	NotSignedIn  Cause = "signed"  // nobody is signed in
	NotInScope   Cause = "scope"   // the token was not given this
	NotByReaders Cause = "readers" // who has only roles to read makes nothing
	NotOwn       Cause = "four"    // nobody decides what he asked for
	NotDeleted   Cause = "deleted" // it is deleted
	NotByAnyRole Cause = "nothing" // no role of his reaches it
)

// Explanation is the answer to "why can X do this", or why not.
type Explanation struct {
	Allowed bool
	Cause   Cause
	Binding Binding // that allows it, when the cause is ByRole
	Roles   []Role  // that would allow it, when there are any
}

// Can says whether an actor may do something to an object.
func Can(a Actor, action Action, o Object) bool { return Explain(a, action, o).Allowed }

// Explain says whether an actor may do something to an object, and what makes
// it so. Of several bindings that allow it the actor's own comes before those
// of his groups.
func Explain(a Actor, action Action, o Object) Explanation {
	if action == Open {
		return Explanation{Allowed: true, Cause: ByOpenness}
	}
	r, known := rules[action]
	no := func(c Cause) Explanation { return Explanation{Cause: c, Roles: r.roles} }
	yes := func(c Cause) Explanation { return Explanation{Allowed: true, Cause: c, Roles: r.roles} }
	own := a.UserID != "" && a.UserID == o.OwnerID
	switch {
	case a.UserID == "":
		return no(NotSignedIn)
	case !known:
		return no(NotByAnyRole)
	case !a.Within(r.scope), r.person && a.Token != nil:
		return no(NotInScope)
	case r.maker && a.onlyReads():
		return no(NotByReaders)
	case r.eyes && SameHands(a, o.OwnerID, o.Behind):
		return no(NotOwn)
	case r.living && o.Gone:
		return no(NotDeleted)
	case r.all:
		return yes(ByAll)
	case r.own && own:
		return yes(ByOwn)
	}
	e := no(NotByAnyRole)
	for _, b := range a.Bindings {
		if !slices.Contains(r.roles, b.Role) || !r.reach.has(b, o) || r.decide && a.Service && !programDecides(b, o.Environment) {
			continue
		}
		if !e.Allowed || e.Binding.Via != "" && b.Via == "" {
			e = yes(ByRole)
			e.Binding = b
		}
	}
	return e
}

func (r reach) has(b Binding, o Object) bool {
	switch {
	case r == anywhere:
		return b.SystemID == ""
	case r == platform:
		return b.SystemID == "" && b.Environment == ""
	case b.SystemID != "":
		return b.SystemID == o.SystemID
	case b.Environment != "":
		return b.Environment == o.Environment
	}
	return true
}

// Extent is where somebody may do an action: everywhere, in environments and in
// systems. It is what Can says of every object, in a form for queries.
type Extent struct {
	All          bool
	Environments []Environment
	Systems      []string // ids
}

// Within is where an actor may do an action to objects that belong to a system.
// It knows no single object: what is one's own, or deleted, comes on top.
func Within(a Actor, action Action) Extent {
	r, known := rules[action]
	var e Extent
	if a.UserID == "" || !known || !a.Within(r.scope) {
		return e
	}
	for _, b := range a.Bindings {
		switch {
		case !slices.Contains(r.roles, b.Role), r.decide && a.Service && !programDecides(b, b.Environment):
		case b.Environment == "" && r.decide && a.Service:
			e.Environments = append(e.Environments, Test)
		case b.SystemID != "":
			e.Systems = append(e.Systems, b.SystemID)
		case b.Environment != "":
			e.Environments = append(e.Environments, b.Environment)
		default:
			return Extent{All: true}
		}
	}
	return e
}

// Has says whether an object is within.
func (e Extent) Has(o Object) bool {
	return e.All || slices.Contains(e.Environments, o.Environment) || slices.Contains(e.Systems, o.SystemID)
}

// onlyReads says that the actor has roles, and that none of them does anything.
func (a Actor) onlyReads() bool {
	return len(a.Bindings) > 0 && !slices.ContainsFunc(a.Bindings, func(b Binding) bool {
		return b.Role != RoleAuditor && b.Role != RoleViewer
	})
}

// The short forms below say in one word what is often asked.

// IsAdmin says whether the actor runs the platform.
func (a Actor) IsAdmin() bool { return Can(a, PersonRead, Object{}) }

// CanAudit says whether the actor may read the whole audit log.
func (a Actor) CanAudit() bool { return Within(a, AuditRead).All }

// Approves says whether the actor decides tickets of any environment.
func (a Actor) Approves() bool { return Can(a, TicketQueue, Object{}) }

// ApprovesIn says whether the actor decides tickets of an environment.
func (a Actor) ApprovesIn(e Environment) bool { return Can(a, TicketReview, Object{Environment: e}) }

// SeesSystem says whether the actor may know that the system exists.
func (a Actor) SeesSystem(system string, e Environment) bool {
	return Can(a, SystemRead, Object{SystemID: system, Environment: e})
}
