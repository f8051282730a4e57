package handlers_test

import (
	"net/http"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// TestInvite: somebody comes in by the link that an admin passes on, once, with
// the role that was chosen.
func TestInvite(t *testing.T) {
	p := newPortal(t, func(c *handlers.Config) { c.PublicURL = "https://shepherd.example.com" })
	admin := p.admin()
	if list := admin.get(paths.People).is(http.StatusOK); !strings.Contains(list.main(), "you") || list.has("main form") {
		t.Errorf("alone: %s", list.main())
	}
	link := func(page *page) string {
		t.Helper()
		page.is(http.StatusOK)
		token, ok := strings.CutPrefix(page.text("#link"), "https://shepherd.example.com")
		if !ok || strings.Contains(admin.get(paths.People).Body, token) {
			t.Fatalf("%q is no link, or shown twice", page.text("#link"))
		}
		return token
	}
	first := link(admin.post(paths.People, "username", "lea", "display_name", "Lea Martin", "role", "approver:prod"))
	admin.get(paths.People).wants("lea", "Lea Martin", "Approver, prod", "Invited", "never")

	// A name that is taken loses nothing and makes nothing.
	again := admin.post(paths.People, "username", "lea", "display_name", "Another Lea", "role", "admin").is(http.StatusUnprocessableEntity)
	if again.attr("#display_name", "value") != "Another Lea" || again.attr("#role option[selected]", "value") != "admin" {
		t.Errorf("the form lost its input: %s", again.main())
	}
	if bad := admin.post(paths.People, "username", "max", "role", "owner").is(http.StatusUnprocessableEntity); bad.has("#link") {
		t.Error("a role of a system was given without a system")
	}

	lea := p.db.Ent.User.Query().Where(user.Username("lea")).OnlyX(t.Context())
	second := link(admin.post(paths.PersonLink(lea.ID.String())))
	p.anonymous().get(first).is(http.StatusNotFound)
	b := p.anonymous()
	b.post(second, "password", "correct horse battery", "repeat", "correct horse battery").is(http.StatusSeeOther)
	b.get(paths.Approvals).is(http.StatusOK)
	b.get(paths.People).is(http.StatusForbidden)
	p.anonymous().get(second).is(http.StatusNotFound)
	admin.get(paths.People).wants("Active")
	if n := len(admin.get(paths.Audit).find("main tbody tr")); n == 0 {
		t.Error("no entry in the audit log")
	}
}

// TestFirstRun: the list of an admin shrinks with what he does.
func TestFirstRun(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	const done = "#checklist .tabular-nums"
	left := func() string { return admin.get(paths.Home).is(http.StatusOK).text(done) }
	if got := left(); got != "0 of 5 done" {
		t.Fatalf("at first: %q", got)
	}
	bad := admin.post(paths.Templates, "name", "debian-12", "display_name", "Debian 12", "image", "debian:12", "min_disk_gib", "ten",
		"cloud_init", "#cloud-config\nok: 1\nbroken: [\n").is(http.StatusUnprocessableEntity)
	bad.wants("in digits")
	bad = admin.post(paths.Templates, "name", "debian-12", "display_name", "Debian 12", "image", "debian:12", "min_disk_gib", "10",
		"cloud_init", "#cloud-config\nok: 1\nbroken: [\n").is(http.StatusUnprocessableEntity)
	bad.wants("docker://", "is not valid YAML", "broken: [")
	if text := bad.text("#cloud_init-error"); !strings.Contains(text, "Line ") {
		t.Errorf("the cloud-config's error names no line: %q", text)
	}
	const secret = "#cloud-config\npackages: [qemu-guest-agent]\n"
	admin.post(paths.Templates, "name", "debian-12", "display_name", "Debian 12", "image", "docker://quay.io/containerdisks/debian:12",
		"min_disk_gib", "10", "cloud_init", secret).is(http.StatusSeeOther)
	if got := left(); got != "1 of 5 done" {
		t.Errorf("after a template: %q", got)
	}
	admin.post(paths.Sizes, "name", "small", "cpu", "2", "memory", "4", "disk", "40", "max_disk", "20").is(http.StatusUnprocessableEntity).wants("20 GiB")
	admin.post(paths.Sizes, "name", "small", "cpu", "2", "memory", "4", "disk", "20", "max_disk", "200").is(http.StatusSeeOther)
	dev := p.as(p.person("dev"))
	if got := left(); got != "3 of 5 done" {
		t.Errorf("after a size and a person: %q", got)
	}

	// The next version starts from the one before, without its sealed part.
	version := paths.NextVersion(p.db.Ent.Template.Query().OnlyIDX(t.Context()).String())
	if !admin.get(paths.Catalog).is(http.StatusOK).has("main [href=" + version + "]") {
		t.Error("no way to the next version")
	}
	next := admin.get(version).is(http.StatusOK)
	if next.text("#cloud_init") != "" || next.attr("#name", "value") != "debian-12" {
		t.Errorf("the next version: %s", next.main())
	}
	next.wants("has first-boot data")
	admin.get(paths.NextVersion("none")).is(http.StatusNotFound)
	if dev.get(paths.Catalog).is(http.StatusOK).has("main [href=" + paths.NewTemplate + "]") {
		t.Error("a developer is led to a form that he may not send")
	}

}

// TestChecklistsEnd: a platform that is ready has no list for its admin, and a
// developer's is gone with the first request.
func TestChecklistsEnd(t *testing.T) {
	const list, done = "#checklist", "#checklist .tabular-nums"
	s := newShop(t)
	if s.admin.get(paths.Home).has(list) {
		t.Error("the list stays when all is done")
	}
	newcomer := s.as(s.person("new"))
	if got := newcomer.get(paths.Home).text(done); got != "0 of 3 done" {
		t.Errorf("a newcomer: %q", got)
	}
	if got := s.dev.get(paths.Home).text(done); got != "2 of 3 done" {
		t.Errorf("somebody with a service: %q", got)
	}
	s.asked(s.test)
	if s.dev.get(paths.Home).has(list) {
		t.Error("the list stays after the first request")
	}
}
