package domain

import "testing"

// TestServiceApproves: a program approves with the role and the scope, and in
// prod only when the role says prod.
func TestServiceApproves(t *testing.T) {
	decide := &Token{ID: "t", Scopes: []Scope{ScopeDecide}}
	for _, c := range []struct {
		name       string
		binding    Binding
		token      *Token
		test, prod bool
	}{
		{"approver of prod", Binding{Role: RoleApprover, Environment: Prod}, decide, false, true},
		{"approver of test", Binding{Role: RoleApprover, Environment: Test}, decide, true, false},
		{"approver of everything", Binding{Role: RoleApprover}, decide, true, false},
		{"admin", Binding{Role: RoleAdmin}, decide, false, false},
		{"auditor", Binding{Role: RoleAuditor}, decide, false, false},
		{"no role", Binding{}, decide, false, false},
		{"the scopes before", Binding{Role: RoleApprover, Environment: Prod}, &Token{Scopes: []Scope{ScopeRead, ScopeRequest}}, false, false},
		{"the scope of an admin", Binding{Role: RoleApprover, Environment: Prod}, &Token{Scopes: []Scope{ScopeAdmin}}, false, false},
	} {
		a := Actor{UserID: "bot", Service: true, Bindings: []Binding{c.binding}, Token: c.token}
		for e, want := range map[Environment]bool{Test: c.test, Prod: c.prod} {
			o := Object{Environment: e, OwnerID: "somebody"}
			if got := Can(a, TicketDecide, o); got != want {
				t.Errorf("%s: decides in %s: %v", c.name, e, got)
			}
			if got := Within(a, TicketDecide).Has(o); got != want {
				t.Errorf("%s: SQL decides in %s: %v", c.name, e, got)
			}
		}
	}
	// A person's own token: the person's roles, cut by the scope.
	person := Actor{UserID: "ann", Bindings: []Binding{{Role: RoleApprover}}}
	decides := func(requester string) bool {
		return Can(person, TicketDecide, Object{Environment: Prod, OwnerID: requester})
	}
	if !decides("dev") {
		t.Error("the person does not decide")
	}
	person.Token = &Token{Scopes: []Scope{ScopeRequest}}
	if decides("dev") {
		t.Error("a token without the scope decides")
	}
	person.Token = decide
	if !decides("dev") || decides("ann") {
		t.Error("a person's token with the scope: not as the person")
	}
}

// TestFourEyes: two pairs of eyes are of two people, however many programs stand
// between them and the request.
func TestFourEyes(t *testing.T) {
	prod := []Binding{{Role: RoleApprover, Environment: Prod}}
	bot := func(id, maker, owner string) Actor {
		return Actor{UserID: id, Service: true, OwnerID: owner, Bindings: prod, Token: &Token{MakerID: maker, Scopes: []Scope{ScopeDecide}}}
	}
	ofGroup := func(id, maker string, members ...string) Actor {
		a := bot(id, maker, "")
		a.OwnerGroup, a.OwnerMembers = "team", members
		return a
	}
	person := func(id string) Actor { return Actor{UserID: id, Bindings: prod} }
	own := func(id string) Actor {
		a := person(id)
		a.Token = &Token{MakerID: id, Scopes: []Scope{ScopeDecide}}
		return a
	}
	for _, c := range []struct {
		name          string
		asks, decides Actor
		may           bool
	}{
		{"two people", person("ann"), person("bob"), true},
		{"one person", person("ann"), person("ann"), false},
		{"a person by the own token", person("ann"), own("ann"), false},
		{"another's token", person("ann"), own("bob"), true},
		{"a program of others", person("ann"), bot("bot", "bob", "eve"), true},
		{"a program whose token the requester made", person("ann"), bot("bot", "ann", "eve"), false},
		{"a program that the requester owns", person("ann"), bot("bot", "bob", "ann"), false},
		{"who made the token of the program that asked", bot("bot", "ann", "eve"), person("ann"), false},
		{"who owns the program that asked", bot("bot", "bob", "ann"), person("ann"), false},
		{"somebody else about a program's request", bot("bot", "ann", "eve"), person("bob"), true},
		{"a program about its own request", bot("bot", "ann", "eve"), bot("bot", "bob", "eve"), false},
		{"two programs with tokens of one person", bot("bot", "ann", "eve"), bot("other", "ann", "bob"), false},
		{"two programs of one owner", bot("bot", "ann", "eve"), bot("other", "bob", "eve"), false},
		{"two programs of different people", bot("bot", "ann", "eve"), bot("other", "bob", "max"), true},
		{"a program of a group that the requester is in", person("ann"), ofGroup("bot", "bob", "ann", "bob"), false},
		{"a program of a group that the requester is not in", person("ann"), ofGroup("bot", "bob", "bob", "eve"), true},
		{"a program of a group, for the program of a member", bot("other", "max", "ann"), ofGroup("bot", "bob", "ann"), false},
		{"two programs of one group", ofGroup("bot", "ann", "eve"), ofGroup("other", "bob", "eve"), false},
		{"a member about what the group's program asked", ofGroup("bot", "bob", "ann", "bob"), person("ann"), true},
		{"a member who made the token, about the same", ofGroup("bot", "ann", "ann", "bob"), person("ann"), false},
		{"programs of the command line have no maker in common", bot("bot", "", ""), bot("other", "", ""), true},
	} {
		if got := Can(c.decides, TicketDecide, Object{Environment: Prod, OwnerID: c.asks.UserID, Behind: c.asks.Behind()}); got != c.may {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestGrants(t *testing.T) {
	dev, approver, admin := Actor{UserID: "d"}, Actor{UserID: "a", Bindings: []Binding{{Role: RoleApprover, Environment: Test}}}, Actor{UserID: "r", Bindings: []Binding{{Role: RoleAdmin}}}
	for _, c := range []struct {
		who     Actor
		service bool
		want    string // read request decide admin
	}{
		{dev, false, "yynn"}, {dev, true, "yynn"}, {approver, false, "yyyn"}, {approver, true, "yynn"}, {admin, false, "yyyy"}, {admin, true, "yyyy"},
	} {
		got := ""
		for _, s := range Scopes() {
			got += map[bool]string{true: "y", false: "n"}[c.who.Grants(s, c.service)]
		}
		if got != c.want || c.who.Grants("root", c.service) {
			t.Errorf("%s, service %v: %s, want %s", c.who.UserID, c.service, got, c.want)
		}
	}
}
