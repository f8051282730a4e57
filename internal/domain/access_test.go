package domain

import (
	"slices"
	"testing"
)

// A token never does more than its scopes say, whoever its user is.
func TestTokensStayWithinTheirScopes(t *testing.T) {
	admin := Actor{UserID: "u", Bindings: []Binding{{Role: RoleAdmin}}}
	for _, action := range Actions() {
		o := Object{}
		if !Can(admin, action, o) && action != TicketWithdraw {
			t.Errorf("%s: not even an admin may", action)
		}
		for _, s := range append(Scopes(), "") {
			a := admin
			a.Token = &Token{Scopes: []Scope{s}}
			if s == "" {
				a.Token.Scopes = nil
			}
			if got, want := Can(a, action, o), Can(admin, action, o) && a.Within(action.Needs()) && !rules[action].person; got != want {
				t.Errorf("%s with the scope %q: %v", action, s, got)
			}
		}
		if rules[action].scope == "" {
			t.Errorf("%s needs no scope", action)
		}
	}
	if Can(admin, "no.such", Object{}) || Can(Actor{}, SystemList, Object{}) || !Can(Actor{}, Open, Object{}) {
		t.Error("what has no rule is nobody's, and what is open everybody's")
	}
}

// Each binding reaches what it is for and nothing else.
func TestReach(t *testing.T) {
	shop := Object{SystemID: "shop", Environment: Prod}
	for _, c := range []struct {
		binding Binding
		action  Action
		object  Object
		want    bool
	}{
		{Binding{Role: RoleOwner, SystemID: "shop"}, SystemDelete, shop, true},
		{Binding{Role: RoleOwner, SystemID: "other"}, SystemDelete, shop, false},
		{Binding{Role: RoleOwner, Environment: Prod}, SystemDelete, shop, true},
		{Binding{Role: RoleOwner, Environment: Test}, SystemDelete, shop, false},
		{Binding{Role: RoleMaintainer, SystemID: "shop"}, VMPower, shop, true},
		{Binding{Role: RoleMaintainer, SystemID: "shop"}, VMPower, Object{SystemID: "shop", Environment: Prod, Gone: true}, false},
		{Binding{Role: RoleMaintainer, SystemID: "shop"}, SystemUpdate, shop, false},
		{Binding{Role: RoleViewer, Environment: Prod}, VMRead, shop, true},
		{Binding{Role: RoleViewer, Environment: Prod}, VMPower, shop, false},
		{Binding{Role: RoleAuditor, Environment: Prod}, SystemRead, shop, true},
		{Binding{Role: RoleAuditor, Environment: Test}, SystemRead, shop, false},
		{Binding{Role: RoleAuditor, Environment: Test}, AuditRead, Object{}, true}, // the log is cut to test
		{Binding{Role: RoleApprover, Environment: Prod}, TicketDecide, shop, true},
		{Binding{Role: RoleApprover, Environment: Prod}, TicketDecide, Object{SystemID: "shop", Environment: Prod, OwnerID: "u"}, false},
		{Binding{Role: RoleApprover, Environment: Test}, TicketDecide, shop, false},
		{Binding{Role: RoleApprover, Environment: Test}, TicketRead, Object{SystemID: "shop", Environment: Prod, OwnerID: "u"}, true}, // his own
		{Binding{Role: RoleAdmin, Environment: Prod}, SystemDelete, shop, true},
		{Binding{Role: RoleAdmin, Environment: Prod}, PersonBind, Object{}, false},
		{Binding{Role: RoleAdmin, Environment: Prod}, ClusterCreate, Object{}, false},
		{Binding{Role: RoleOwner, SystemID: "shop"}, TicketQueue, Object{}, false},
		{Binding{Role: RoleViewer, SystemID: "shop"}, SystemCreate, Object{}, false},
		{Binding{Role: RoleMaintainer, SystemID: "shop"}, SystemCreate, Object{}, true},
	} {
		a := Actor{UserID: "u", Bindings: []Binding{c.binding}}
		if got := Can(a, c.action, c.object); got != c.want {
			t.Errorf("%+v, %s of %+v: %v", c.binding, c.action, c.object, got)
		}
	}
}

// The explanation names the binding that allows it: one's own before a group's.
func TestExplain(t *testing.T) {
	shop := Object{SystemID: "shop", Environment: Prod}
	group, own := Binding{Role: RoleOwner, SystemID: "shop", Via: "team"}, Binding{Role: RoleMaintainer, Environment: Prod}
	a := Actor{UserID: "u", Bindings: []Binding{{Role: RoleViewer, SystemID: "other"}, group, own}}
	for _, c := range []struct {
		action Action
		object Object
		want   Explanation
	}{
		{VMPower, shop, Explanation{Allowed: true, Cause: ByRole, Binding: own}},
		{SystemDelete, shop, Explanation{Allowed: true, Cause: ByRole, Binding: group}},
		{SystemCreate, Object{}, Explanation{Allowed: true, Cause: ByAll}},
		{TicketDecide, shop, Explanation{Cause: NotByAnyRole}},
		{TicketDecide, Object{OwnerID: "u"}, Explanation{Cause: NotOwn}},
		{TicketWithdraw, Object{OwnerID: "u"}, Explanation{Allowed: true, Cause: ByOwn}},
		{VMDelete, Object{SystemID: "shop", Gone: true}, Explanation{Cause: NotDeleted}},
	} {
		got := Explain(a, c.action, c.object)
		if got.Allowed != c.want.Allowed || got.Cause != c.want.Cause || got.Binding != c.want.Binding {
			t.Errorf("%s of %+v: %+v", c.action, c.object, got)
		}
	}
	if roles := Explain(a, TicketDecide, shop).Roles; !slices.Contains(roles, RoleApprover) {
		t.Errorf("it would take %v", roles)
	}
}

// What is decided about one object is what queries look for.
func TestWithinIsCan(t *testing.T) {
	var bindings []Binding
	for _, role := range Roles() {
		bindings = append(bindings, Binding{Role: role}, Binding{Role: role, Environment: Test}, Binding{Role: role, Environment: Prod}, Binding{Role: role, SystemID: "a"})
	}
	for _, action := range Actions() {
		if r := rules[action]; r.all || r.reach != there || len(r.roles) == 0 {
			continue
		}
		for i, one := range bindings {
			a := Actor{UserID: "u", Bindings: []Binding{one, bindings[(i+5)%len(bindings)]}}
			for _, o := range []Object{{SystemID: "a", Environment: Test}, {SystemID: "a", Environment: Prod}, {SystemID: "b", Environment: Test}, {SystemID: "b", Environment: Prod}} {
				if Can(a, action, o) != Within(a, action).Has(o) {
					t.Errorf("%+v, %s of %+v", a.Bindings, action, o)
				}
			}
		}
	}
}
