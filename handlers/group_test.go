package handlers_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/notification"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

func (p *portal) userID(name string) string {
	p.t.Helper()
	return p.db.Ent.User.Query().Where(user.Username(name)).OnlyIDX(p.t.Context()).String()
}

// group makes a group by its pages and answers with its id.
func (s *shop) group(name string) string {
	s.t.Helper()
	made := s.admin.post(paths.Groups, "name", name, "description", "", "external", "").is(http.StatusSeeOther)
	return strings.TrimPrefix(made.Location, paths.Groups+"/")
}

// TestGroups: an admin makes a group, an owner gives it a role in his system,
// whoever is put into it works there at once, and whoever is taken out is out
// within a second, with his streams.
func TestGroups(t *testing.T) {
	s := newShop(t)
	s.admin.get(paths.Groups).is(http.StatusOK).wants("No group yet", "New group")
	bad := s.admin.post(paths.Groups, "name", "Shop Team", "description", "Who runs the shop", "external", "").is(http.StatusUnprocessableEntity)
	if bad.attr("#name", "value") != "Shop Team" || bad.attr("#description", "value") != "Who runs the shop" || !bad.has("#name-error") {
		t.Errorf("lost or not marked: %s", bad.main())
	}
	g := s.group("shop-team")
	s.admin.post(paths.Groups, "name", "shop-team").is(http.StatusUnprocessableEntity).wants("is taken")
	page := paths.Group(g)
	s.admin.get(page).is(http.StatusOK).wants("Nobody is in it yet", "group:shop-team")

	newcomer := s.as(s.person("newcomer"))
	system := paths.System(s.test.system)
	newcomer.get(system).is(http.StatusNotFound)
	s.admin.post(paths.GroupMembers(g), "user", "nobody-here").is(http.StatusUnprocessableEntity).wants("nobody-here")
	s.admin.post(paths.GroupMembers(g), "user", "newcomer").is(http.StatusSeeOther)
	newcomer.get(system).is(http.StatusNotFound) // the group has no role yet

	members := paths.Members(s.test.system)
	s.dev.post(members, "user", "group:no-such", "role", "maintainer").is(http.StatusUnprocessableEntity).wants("No group is called no-such")
	s.viewer.post(members, "user", "group:shop-team", "role", "owner").is(http.StatusForbidden)
	s.dev.post(members, "user", "group:shop-team", "role", "maintainer").is(http.StatusSeeOther)
	newcomer.get(paths.NewRequestFor(s.test.service)).is(http.StatusOK)
	s.dev.get(members).is(http.StatusOK).wants("newcomer", "by the group shop-team")
	if s.dev.get(members).has("form[action=" + paths.RemoveMember(s.test.system, s.userID("newcomer")) + "]") {
		t.Error("a role of a group can be taken from one person")
	}
	s.admin.get(page).wants("newcomer", "shop", "Maintainer")
	s.admin.get(paths.Groups).wants("shop-team")
	s.admin.get(paths.Person(s.userID("newcomer"))).wants("shop-team", "by the group shop-team")

	stream, status, done := newcomer.stream(paths.EventsFor("service-" + s.test.service))
	if status != http.StatusOK {
		t.Fatalf("the stream is refused: %d", status)
	}
	defer done()
	s.admin.post(paths.RemoveFromGroup(g, s.userID("newcomer"))).is(http.StatusSeeOther)
	waitForEnd(t, stream, soon)
	newcomer.get(system).is(http.StatusNotFound)

	// So it is when the group loses the role, and when it goes.
	for name, end := range map[string]func(string){
		"role-team": func(g string) {
			s.dev.post(paths.RemoveMemberGroup(s.test.system, g), "role", "maintainer").is(http.StatusSeeOther)
		},
		"other-team": func(g string) { s.admin.post(paths.DeleteGroup(g)).is(http.StatusSeeOther) },
	} {
		g := s.group(name)
		s.admin.post(paths.GroupMembers(g), "user", "newcomer").is(http.StatusSeeOther)
		s.dev.post(members, "user", "group:"+name, "role", "maintainer").is(http.StatusSeeOther)
		stream, status, done := newcomer.stream(paths.EventsFor("service-" + s.test.service))
		if status != http.StatusOK {
			t.Fatalf("%s: the stream is refused: %d", name, status)
		}
		end(g)
		waitForEnd(t, stream, soon)
		done()
	}

	// Roles on the platform, and the last admin by a group.
	g = s.group("admins")
	s.admin.post(paths.GroupRoles(g), "role", "approver:prod").is(http.StatusSeeOther)
	s.admin.post(paths.GroupRoles(g), "role", "owner").is(http.StatusUnprocessableEntity)
	s.admin.get(paths.Group(g)).wants("Approver, prod")
	s.admin.post(paths.RemoveGroupRole(g), "role", "approver:prod").is(http.StatusSeeOther)
	s.admin.post(paths.GroupRoles(g), "role", "admin").is(http.StatusSeeOther)
	s.admin.post(paths.GroupMembers(g), "user", "newcomer").is(http.StatusSeeOther)
	s.admin.post(paths.RemoveRole(s.userID("admin")), "role", "admin").is(http.StatusSeeOther)
	newcomer.post(paths.DeleteGroup(g)).is(http.StatusConflict).wants("last platform admin")
	newcomer.post(paths.RemoveFromGroup(g, s.userID("newcomer"))).is(http.StatusConflict)
	newcomer.get(paths.Audit).wants("group.add_member", "group.bind", "group.unbind", "group.delete")
}

// TestAccessExplained: the page says what the rules say, and by which role.
func TestAccessExplained(t *testing.T) {
	s := newShop(t)
	g := s.group("shop-team")
	s.person("newcomer")
	s.admin.post(paths.GroupMembers(g), "user", "newcomer").is(http.StatusSeeOther)
	s.dev.post(paths.Members(s.test.system), "user", "group:shop-team", "role", "maintainer").is(http.StatusSeeOther)
	answer := func(p *page, what string) string {
		t.Helper()
		for _, row := range p.find("main tbody tr") {
			if rest, is := strings.CutPrefix(text(row), what); is {
				return strings.TrimSpace(rest)
			}
		}
		t.Errorf("no line about %q in %s", what, p.main())
		return ""
	}
	access := paths.PersonAccess(s.userID("newcomer"))
	p := s.admin.get(access + "?system=shop").is(http.StatusOK)
	for what, want := range map[string]string{
		"Ask for VMs":                 "yes Maintainer of this system, by the group shop-team Change",
		"Change its documentation":    "no No role reaches this. It takes one of: Platform admin, Owner. Change",
		"Decide requests in prod":     "no No role reaches this. It takes one of: Platform admin, Approver. Change",
		"Make systems":                "yes Everybody who is signed in may.",
		"See it, its services and VM": "s yes Maintainer of this system, by the group shop-team Change",
	} {
		if got := answer(p, what); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	if !p.has("main [href=" + paths.Group(g) + "]") {
		t.Error("no way to the group that gives the role")
	}
	s.admin.get(access + "?system=none-such").is(http.StatusOK).wants("No system is called none-such")
	boss := s.admin.get(paths.PersonAccess(s.userID("boss"))).is(http.StatusOK)
	if got := answer(boss, "Decide requests in test"); got != "yes Approver, test Change" {
		t.Errorf("boss: %q", got)
	}
	if got := answer(boss, "Decide requests in prod"); !strings.HasPrefix(got, "no ") {
		t.Errorf("boss: %q", got)
	}

	// Owners ask about their system, others do not.
	about := paths.MemberAccess(s.test.system, s.userID("newcomer"))
	if got := answer(s.dev.get(about).is(http.StatusOK), "Switch VMs on and off"); !strings.HasPrefix(got, "yes Maintainer of this system") {
		t.Errorf("owner: %q", got)
	}
	s.viewer.get(about).is(http.StatusForbidden)
	s.outsider.get(about).is(http.StatusNotFound)
	s.dev.get(access).is(http.StatusForbidden)
}

// TestTransfer: one step, asked once more, and both are told.
func TestTransfer(t *testing.T) {
	s := newShop(t)
	s.person("newcomer")
	page := paths.Transfer(s.test.system)
	s.viewer.get(page).is(http.StatusForbidden)
	s.outsider.get(page).is(http.StatusNotFound)
	s.dev.get(page).is(http.StatusOK).wants("Owner until now")
	bad := s.dev.post(page, "from", "dev", "to", "nobody-here", "stays", "yes").is(http.StatusUnprocessableEntity).wants("nobody-here")
	if bad.attr("#to", "value") != "nobody-here" {
		t.Error("the form lost its input")
	}
	s.dev.post(page, "from", "viewer", "to", "newcomer").is(http.StatusUnprocessableEntity)
	s.dev.post(page, "from", "dev", "to", "dev").is(http.StatusUnprocessableEntity)

	ask := s.dev.post(page, "from", "dev", "to", "newcomer", "stays", "yes").is(http.StatusOK).wants("newcomer becomes owner of shop, and dev a maintainer")
	if ask.attr("[name=to]", "value") != "newcomer" {
		t.Errorf("the question lost its answers: %s", ask.main())
	}
	s.dev.get(paths.EditSystem(s.test.system)).is(http.StatusOK) // nothing has happened yet
	s.dev.post(page, "from", "dev", "to", "newcomer", "stays", "yes", "confirmed", "on").is(http.StatusSeeOther)
	s.dev.get(paths.EditSystem(s.test.system)).is(http.StatusForbidden)
	s.dev.get(paths.NewService(s.test.system)).is(http.StatusOK)
	s.dev.post(page, "from", "dev", "to", "viewer", "confirmed", "on").is(http.StatusForbidden)
	told := func() int {
		return s.db.Ent.Notification.Query().Where(notification.Kind("system.transferred")).CountX(t.Context())
	}
	if n := told(); n != 1 { // who did it knows
		t.Errorf("%d messages", n)
	}
	s.admin.get(paths.Audit).wants("system.transfer")

	// Leaving: the former owner is out, and both hear of it.
	s.admin.post(page, "from", "newcomer", "to", "dev", "stays", "no", "confirmed", "on").is(http.StatusSeeOther)
	s.as(s.db.Ent.User.Query().Where(user.Username("newcomer")).OnlyX(t.Context())).get(paths.System(s.test.system)).is(http.StatusNotFound)
	if n := told(); n != 3 {
		t.Errorf("%d messages", n)
	}
	s.dev.get(paths.Notifications).wants("dev is owner of shop in place of newcomer")
}

// TestLeavers: what somebody leaves behind is shown before his account is closed,
// and handed over, one by one or at once.
func TestLeavers(t *testing.T) {
	s := newShop(t)
	n := s.asked(s.test)
	dev := s.userID("dev")
	s.person("newcomer")
	s.group("shop-team")
	leave := paths.Disable(dev)
	bot := s.admin.post(paths.ServiceAccounts, "username", "ci-bot", "description", "Builds.", "owner", "dev").is(http.StatusSeeOther).Location
	botID := strings.TrimPrefix(bot, paths.ServiceAccounts+"/")
	s.admin.post(paths.ServiceAccounts, "username", "night-bot", "description", "Stops.", "owner", "dev").is(http.StatusSeeOther)
	program := s.showing(s.dev.post(bot+"/tokens", "name", "t", "scopes", "read", "days", "7").is(http.StatusOK).text("#token"))
	own := s.showing(s.dev.post(paths.Tokens, "name", "mine", "scopes", "read", "days", "7").is(http.StatusOK).text("#token"))
	own.get(paths.Home).is(http.StatusOK)
	p := s.admin.get(leave).is(http.StatusOK).wants("What dev leaves behind", "shop", "test", "prod", domain.TicketName(n), "Disable dev")
	if rows := len(p.find("main button[name=system]")); rows != 3 {
		t.Errorf("%d ways to hand over, want two systems and all", rows)
	}
	if rows := len(p.find("main button[name=account]")); rows != 2 {
		t.Errorf("%d service accounts to hand over, want two", rows)
	}
	p.wants("ci-bot", "night-bot", "1 token of this person works")
	s.admin.get(paths.People).is(http.StatusOK)
	s.admin.post(leave).is(http.StatusSeeOther)
	own.get(paths.Home).is(http.StatusUnauthorized)
	program.get(paths.Home).is(http.StatusOK)
	s.admin.get(leave).wants("1 token of this person is refused while the account is disabled")
	s.admin.get(paths.Leavers).is(http.StatusOK).wants("dev", "Leftovers")
	if strings.Contains(s.admin.get(paths.Leavers).main(), "viewer") {
		t.Error("somebody who works is a leaver")
	}
	hand := paths.HandOver(dev)
	s.admin.post(hand, "system", s.test.system, "to", "").is(http.StatusUnprocessableEntity)
	s.admin.post(hand, "system", s.test.system, "to", "dev").is(http.StatusUnprocessableEntity)
	s.dev.get(paths.Home).is(http.StatusSeeOther)
	s.outsider.post(hand, "system", "", "to", "outsider").is(http.StatusForbidden)
	s.admin.post(hand, "system", s.test.system, "to", "newcomer").is(http.StatusSeeOther)
	s.admin.post(hand, "system", s.test.system, "to", "newcomer").is(http.StatusNotFound)      // it is not dev's any more
	s.admin.post(hand, "account", botID, "to", "night-bot").is(http.StatusUnprocessableEntity) // a program answers for nothing
	s.admin.post(hand, "account", botID, "to", "outsider").is(http.StatusSeeOther)
	s.admin.post(hand, "account", botID, "to", "outsider").is(http.StatusNotFound)
	if e := s.db.Ent.AuditLog.Query().Where(auditlog.Action("service_account.update")).OnlyX(t.Context()); e.ResourceName != "ci-bot" || e.Changes["owner"] != (domain.Change{Before: "dev", After: "outsider"}) {
		t.Errorf("%s: %v", e.ResourceName, e.Changes)
	}
	s.outsider.get(bot).is(http.StatusOK).wants("ci-bot")
	if owner := s.db.Ent.System.Query().Where(system.ID(uuid.MustParse(s.prod.system))).QueryBindings().Where(rolebinding.UserID(uuid.MustParse(dev))).CountX(t.Context()); owner == 0 {
		t.Error("one service account was handed over, and the systems went too")
	}
	s.admin.post(hand, "system", "", "to", "newcomer").is(http.StatusSeeOther)
	if u := s.db.Ent.User.Query().Where(user.Username("night-bot")).QueryOwner().OnlyX(t.Context()); u.Username != "newcomer" {
		t.Errorf("night-bot is of %s", u.Username)
	}
	newcomer := s.as(s.db.Ent.User.Query().Where(user.Username("newcomer")).OnlyX(t.Context()))
	for _, system := range []string{s.test.system, s.prod.system} {
		newcomer.get(paths.EditSystem(system)).is(http.StatusOK)
	}
	p = s.admin.get(leave).is(http.StatusOK)
	if p.has("main button[name=system]") || p.has("main button[name=account]") {
		t.Errorf("still to be handed over: %s", p.main())
	}
}
