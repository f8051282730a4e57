package handlers_test

import (
	"fmt"
	"net/http"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// TestDryRun: a form that is only checked is judged by all rules, says what is
// wrong at its fields, and leaves nothing behind.
func TestDryRun(t *testing.T) {
	s := newShop(t)
	rows := func() string {
		ctx, e := t.Context(), s.db.Ent
		return fmt.Sprint(e.System.Query().CountX(ctx), e.Service.Query().CountX(ctx), e.Namespace.Query().CountX(ctx), e.ApprovalTicket.Query().CountX(ctx),
			e.Template.Query().CountX(ctx), e.InstanceSize.Query().CountX(ctx), e.User.Query().CountX(ctx), e.AuditLog.Query().CountX(ctx), e.Notification.Query().CountX(ctx))
	}
	size := func(name string) []string {
		return []string{"name", name, "cpu", "2", "memory", "4", "disk", "20", "max_disk", "200"}
	}
	services := paths.SystemServices(s.test.system)
	for _, c := range []struct {
		who         *browser
		path        string
		right       []string
		wrong       []string
		field, says string
	}{
		{s.dev, paths.Systems, []string{"name", "new", "namespace", "shop-test"}, []string{"name", "shop", "namespace", "shop-test"}, "name", "taken"},
		{s.dev, services, []string{"name", "new"}, []string{"name", "redis"}, "name", "taken"},
		{s.dev, paths.Requests, s.form(s.test), s.form(s.test, "ssh_keys", "ssh-ed25519 x"), "ssh_keys", "Line 1"},
		{s.admin, paths.Namespaces, []string{"cluster", s.test.cluster, "name", "new", "environment", "test"}, []string{"cluster", s.test.cluster, "name", "shop-test", "environment", "test"}, "name", ""},
		{s.admin, paths.Templates, []string{"name", "new", "display_name", "New", "image", "https://a.example/i", "min_disk_gib", "1"},
			[]string{"name", "new", "display_name", "New", "image", "nothing", "min_disk_gib", "1"}, "image", "docker://"},
		{s.admin, paths.Sizes, size("new"), size("small"), "name", "taken"},
		{s.admin, paths.People, []string{"username", "new"}, []string{"username", "dev"}, "username", "taken"},
	} {
		before := rows()
		try := c.who.with("Dry-Run", "All")
		right := try.post(c.path, c.right...).is(http.StatusOK)
		if right.has("#errors") || right.has("[aria-invalid=true]") || !right.has("form[data-check]") || right.has("#link") {
			t.Errorf("%s: right answers are refused: %s", c.path, right.main())
		}
		try.post(c.path, c.wrong...).wants(c.says)
		wrong := try.post(c.path, c.wrong...)
		if !wrong.has("#" + c.field + "[aria-invalid=true]") {
			t.Errorf("%s: nothing is said at %s: %s", c.path, c.field, wrong.main())
		}
		if after := rows(); after != before {
			t.Errorf("%s: a dry run left something: %s, then %s", c.path, before, after)
		}
		c.who.post(c.path, c.right...)
		if rows() == before {
			t.Errorf("%s: sent for good, nothing happened", c.path)
		}
	}
	// What cannot be tried is not done instead.
	n := s.asked(s.prod)
	before := rows()
	s.dev.with("Dry-Run", "All").post(paths.Withdraw(n)).is(http.StatusMethodNotAllowed)
	s.admin.with("Dry-Run", "All").get(paths.Home).is(http.StatusMethodNotAllowed)
	if rows() != before {
		t.Error("a dry run withdrew a request")
	}
}

// TestLastRequest: the form begins with what its writer asked for last.
func TestLastRequest(t *testing.T) {
	s := newShop(t)
	form := s.dev.get(paths.NewRequest + "?service=" + s.test.service).is(http.StatusOK)
	if form.has("main [name=template][checked]") {
		t.Error("something is chosen before anybody has asked")
	}
	n := s.asked(s.test, "size", s.large, "count", "3", "disk", "77", "ssh_keys", cast.PublicKey)
	s.dev.post(paths.Withdraw(n)).is(http.StatusSeeOther)
	for _, service := range []string{s.test.service, s.prod.service, ""} {
		form = s.dev.get(paths.NewRequest + "?service=" + service).is(http.StatusOK)
		if form.attr("[name=size][checked]", "value") != s.large || form.attr("#count", "value") != "3" || form.attr("#disk", "value") != "77" ||
			form.text("#reason") != "" || form.text("#ssh_keys") == "" {
			t.Errorf("for service %q: %s", service, form.main())
		}
		if !form.has("main [href=" + paths.Request(n) + "]") {
			t.Error("nothing says where the answers come from")
		}
	}
	if other := s.admin.get(paths.NewRequest).is(http.StatusOK); other.has("[name=size][checked]") {
		t.Error("somebody else's request is proposed")
	}
}
