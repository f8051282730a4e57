package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// soon is a second, and what a busy machine adds to it.
const soon = 3 * time.Second

// TestMembers: an owner lets somebody in, who then works there, and shuts him
// out again; the last owner stays.
func TestMembers(t *testing.T) {
	s := newShop(t)
	id := func(name string) string {
		return s.db.Ent.User.Query().Where(user.Username(name)).OnlyIDX(t.Context()).String()
	}
	newcomer := s.as(s.person("newcomer"))
	members := paths.Members(s.test.system)
	newcomer.get(members).is(http.StatusNotFound)
	if s.viewer.get(members).is(http.StatusOK).has("main form") {
		t.Error("a viewer may change members")
	}

	s.dev.post(members, "user", "nobody-at-all", "role", "maintainer").is(http.StatusUnprocessableEntity).wants("nobody-at-all", "invite")
	s.dev.post(members, "user", "newcomer", "role", "admin").is(http.StatusUnprocessableEntity)
	s.viewer.post(members, "user", "newcomer", "role", "owner").is(http.StatusForbidden)
	s.dev.post(members, "user", "newcomer", "role", "maintainer").is(http.StatusSeeOther)
	s.dev.get(members).is(http.StatusOK).wants("newcomer", "Maintainer")
	newcomer.get(paths.NewRequestFor(s.test.service)).is(http.StatusOK)
	newcomer.post(members, "user", "newcomer", "role", "owner").is(http.StatusForbidden)

	stream, status, done := newcomer.stream(paths.EventsFor("service-" + s.test.service))
	if status != http.StatusOK {
		t.Fatalf("the stream is refused: %d", status)
	}
	defer done()
	s.dev.post(paths.RemoveMember(s.test.system, id("newcomer")), "role", "maintainer").is(http.StatusSeeOther)
	waitForEnd(t, stream, soon)
	newcomer.get(paths.System(s.test.system)).is(http.StatusNotFound)
	s.dev.post(paths.RemoveMember(s.test.system, id("dev")), "role", "owner").is(http.StatusConflict).wants("last owner", "somebody else first")
	s.dev.get(paths.System(s.test.system)).is(http.StatusOK)

	// Handing over: the new owner may send the old one away, who lands where he
	// still may be.
	s.dev.post(members, "user", "newcomer", "role", "owner").is(http.StatusSeeOther)
	left := s.dev.post(paths.RemoveMember(s.test.system, id("dev")), "role", "owner").is(http.StatusSeeOther)
	if left.Location != paths.Explorer {
		t.Errorf("who has left is sent to %s", left.Location)
	}
	s.dev.get(paths.System(s.test.system)).is(http.StatusNotFound)
	s.admin.get(paths.Audit).is(http.StatusOK).wants("user.unbind", "user.bind")
}

// TestRoles: an admin gives and takes platform roles; the last admin stays.
func TestRoles(t *testing.T) {
	p := newPortal(t)
	admin, root := p.admin(), p.db.Ent.User.Query().Where(user.Username("admin")).OnlyX(t.Context())
	lea := p.person("lea")
	her := p.as(lea)
	page := paths.Person(lea.ID.String())
	admin.get(page).is(http.StatusOK).wants("lea", "as everybody does")
	her.get(paths.Approvals).is(http.StatusForbidden)
	admin.post(page, "role", "approver:prod").is(http.StatusSeeOther)
	her.get(paths.Approvals).is(http.StatusOK)
	admin.get(page).wants("Approver, prod")
	admin.post(page, "role", "owner").is(http.StatusUnprocessableEntity)
	admin.post(paths.RemoveRole(lea.ID.String()), "role", "approver:prod").is(http.StatusSeeOther)
	her.get(paths.Approvals).is(http.StatusForbidden)

	admin.post(paths.RemoveRole(root.ID.String()), "role", "admin").is(http.StatusConflict).wants("last platform admin")
	admin.post(page, "role", "admin").is(http.StatusSeeOther)
	her.post(paths.RemoveRole(root.ID.String()), "role", string(domain.RoleAdmin)).is(http.StatusSeeOther)
	admin.get(paths.People).is(http.StatusForbidden)
}

// TestSessionsEnd: sign out everywhere, a new password and a disabled account
// end all sessions and streams of a person, and nobody else's.
func TestSessionsEnd(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	lea := p.person("lea")
	person := lea.ID.String()
	again := func() *browser {
		t.Helper()
		b := p.anonymous()
		link := strings.TrimPrefix(admin.post(paths.PersonLink(person)).is(http.StatusOK).text("#link"), p.url)
		b.post(link, "password", "correct horse battery", "repeat", "correct horse battery").is(http.StatusSeeOther)
		b.get(paths.Home).is(http.StatusOK)
		return b
	}
	for what, end := range map[string]func(phone *browser){
		"everywhere": func(phone *browser) { phone.post(paths.LogoutAll).is(http.StatusSeeOther) },
		"by admin":   func(*browser) { admin.post(paths.EndSessions(person)).is(http.StatusSeeOther) },
		"password":   func(*browser) { again() },
		"disabled": func(*browser) {
			admin.post(paths.Disable(person)).is(http.StatusSeeOther)
			admin.get(paths.Person(person)).is(http.StatusOK).wants("Disabled", "Enable")
			admin.post(paths.PersonLink(person)).is(http.StatusForbidden)
			admin.post(paths.Enable(person)).is(http.StatusSeeOther)
		},
	} {
		laptop := again()
		phone := p.anonymous()
		phone.post(paths.Login, "username", "lea", "password", "correct horse battery").is(http.StatusSeeOther)
		stream, _, done := laptop.stream(paths.EventsFor("tree"))
		end(phone)
		waitForEnd(t, stream, soon)
		done()
		for _, b := range []*browser{laptop, phone} {
			if got := b.get(paths.Home).is(http.StatusSeeOther); !strings.HasPrefix(got.Location, paths.Login) {
				t.Errorf("%s: still signed in: %s", what, got.Location)
			}
		}
	}
	admin.get(paths.Home).is(http.StatusOK)
	root := p.db.Ent.User.Query().Where(user.Username("admin")).OnlyIDX(t.Context()).String()
	admin.post(paths.Disable(root)).is(http.StatusForbidden)
}
