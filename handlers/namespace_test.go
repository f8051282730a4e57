package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/handlers/api"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// registers is the form that registers a namespace of the test cluster.
func (s *shop) registers(name string, more ...string) []string {
	return append([]string{"cluster", s.test.cluster, "name", name, "environment", "test"}, more...)
}

// What the cluster does not have is made by hand or by Shepherd, and nothing
// that was typed is lost.
func TestRegisterMissingNamespace(t *testing.T) {
	s := newShop(t)
	may := false
	there := map[string]bool{}
	s.play.spaces = func(name string) (domain.NamespaceState, error) {
		if there[name] {
			return domain.NamespaceState{Presence: domain.PresencePresent, Quotas: []domain.Quota{}}, nil
		}
		return domain.NamespaceState{Presence: domain.PresenceMissing, MayCreate: may}, nil
	}
	s.play.make = func(name string) error {
		there[name] = true
		return nil
	}
	form := s.admin.post(paths.Namespaces, s.registers("team-a")...).is(http.StatusUnprocessableEntity)
	form.wants("c-test has no namespace team-a yet", "kubectl create namespace team-a", "kubevirt-shepherd.io/environment=test", "kind: ClusterRole")
	if form.has("button[name=create]") || form.attr("#name", "value") != "team-a" || !form.has("#cluster option[selected][value="+s.test.cluster+"]") || !form.has("#name-error") {
		t.Errorf("without the right: %s", form.html("form[data-check]"))
	}
	may = true
	form = s.admin.post(paths.Namespaces, s.registers("team-a")...).is(http.StatusUnprocessableEntity)
	if !form.has("button[name=create][value=1]") || strings.Contains(form.main(), "kind: ClusterRole") {
		t.Errorf("with the right: %s", form.html("form[data-check]"))
	}
	// Enter in a field presses the first button, and that one makes nothing.
	if strings.Contains(form.html("form[data-check] button"), "create") {
		t.Errorf("the first button is %s", form.html("form[data-check] button"))
	}
	if len(there) != 0 {
		t.Fatal("made without being asked")
	}
	s.admin.follow(s.admin.post(paths.Namespaces, s.registers("team-a", "create", "1")...)).wants("team-a is registered", "It was made in the cluster", "Present", "No ResourceQuota")

	s.play.make = func(string) error { return apperr.New(apperr.ErrClusterForbidden) }
	s.admin.post(paths.Namespaces, s.registers("team-b", "create", "1")...).is(http.StatusUnprocessableEntity).
		wants("lacks a permission", "kind: ClusterRole", "kubectl create namespace team-b")
	s.db.Ent.Cluster.Update().SetQuarantinedAt(time.Now()).ExecX(t.Context())
	got := s.admin.post(paths.Namespaces, s.registers("team-b", "create", "1")...).is(http.StatusUnprocessableEntity).wants("in quarantine")
	if got.attr("#name", "value") != "team-b" {
		t.Error("what was typed is lost")
	}
	s.admin.post(paths.Namespaces, s.registers("kube-system")...).is(http.StatusUnprocessableEntity).wants("belongs to the cluster itself")
	if there["team-b"] {
		t.Error("made although it may not be")
	}
}

// A cluster that cannot be asked stops nobody who says so.
func TestRegisterUnseenNamespace(t *testing.T) {
	s := newShop(t)
	s.play.spaces = func(string) (domain.NamespaceState, error) {
		return domain.NamespaceState{}, apperr.New(apperr.ErrClusterTimeout)
	}
	form := s.admin.post(paths.Namespaces, s.registers("team-a")...).is(http.StatusUnprocessableEntity)
	form.wants("did not answer in time", "Nobody knows whether c-test has the namespace team-a")
	if !form.has("input[name=unseen]") || form.has("button[name=create]") {
		t.Errorf("form %s", form.html("form[data-check]"))
	}
	s.admin.follow(s.admin.post(paths.Namespaces, s.registers("team-a", "unseen", "1")...)).
		wants("team-a is registered", "Not known", "The cluster has not been asked yet", "Nothing is known about them")
	s.play.spaces = func(string) (domain.NamespaceState, error) {
		return domain.NamespaceState{}, apperr.New(apperr.ErrClusterForbidden)
	}
	form = s.admin.post(paths.Namespaces, s.registers("team-b")...).is(http.StatusUnprocessableEntity)
	if form.wants("kind: ClusterRole"); !form.has("input[name=unseen]") {
		t.Error("may not look, and cannot be registered")
	}
	s.admin.follow(s.admin.post(paths.Namespaces, s.registers("team-b", "unseen", "1")...)).wants("credential may not look at it")
}

// The page of a namespace, from what it may use to the day when it is gone.
func TestNamespacePage(t *testing.T) {
	s := newShop(t)
	ctx := t.Context()
	state := domain.NamespaceState{Presence: domain.PresencePresent, Quotas: []domain.Quota{
		{Name: "team", Resource: "requests.memory", Hard: "8Gi", Used: "7Gi", Kind: domain.QuotaMemory, HardValue: 8192, UsedValue: 7168},
		{Name: "team", Resource: "count/virtualmachines.kubevirt.io", Hard: "10", Used: "1", Kind: domain.QuotaVMs, HardValue: 10, UsedValue: 1},
		{Name: "team", Resource: "services", Hard: "5<b>", Used: "0"},
	}}
	s.play.spaces = func(string) (domain.NamespaceState, error) { return state, nil }
	id := s.objects()["{namespace}"]
	s.admin.get(paths.Namespace(id)).is(http.StatusOK).
		wants("shop-test", "c-test", "Not known", "not checked yet", "shop-redis-01", "1 VM", "on this cluster only")
	checked := s.admin.follow(s.admin.post(paths.CheckNamespace(id)).is(http.StatusSeeOther))
	checked.wants("shop-test was looked at", "Present", "Memory (requests)", "7 GiB of 8 GiB", "1 of 10", "services")
	if strings.Contains(checked.Body, "5<b>") {
		t.Error("what the cluster says is drawn as it is")
	}
	s.admin.get(paths.Namespaces).wants("Present", "7 GiB of 8 GiB", "not checked yet")
	for query, rows := range map[string]int{"": 2, "?env=prod": 1, "?cluster=" + s.test.cluster: 1, "?env=prod&cluster=" + s.test.cluster: 0} {
		got := s.admin.part("namespaces").get(paths.Namespaces + query).is(http.StatusOK)
		if n := strings.Count(got.Body, "rowlink"); n != rows || got.has("main") {
			t.Errorf("%q: %d rows", query, n)
		}
	}
	s.admin.get(paths.Namespaces + "?env=prod&cluster=" + s.test.cluster).wants("Nothing matches this filter")
	s.admin.get(paths.Namespaces + "?cluster=x").is(http.StatusUnprocessableEntity)

	// What is left stands where it is asked for and where it is decided.
	n := s.asked(s.test, "count", "1") // 2 GiB
	preview := s.dev.part("preview").post(paths.Preview, s.form(s.test, "count", "1")...).is(http.StatusOK)
	preview.wants("Left in the namespace: Memory (requests) 1 GiB, VMs 9", "at least 2 GiB needed, 1 GiB left")
	ticket := s.approver.get(paths.Approval(n)).is(http.StatusOK)
	ticket.wants("Left in the namespace: Memory (requests) 1 GiB, VMs 9", "at least 2 GiB needed, 1 GiB left", "The quota on c-test is too small for it", "9 GiB of 8 GiB")
	state.Quotas[0].UsedValue = 1024
	s.admin.post(paths.CheckNamespace(id)).is(http.StatusSeeOther)
	if ticket = s.approver.get(paths.Approval(n)).wants("Memory (requests) 7 GiB"); strings.Contains(ticket.main(), "too small") {
		t.Error("what fits is warned of")
	}
	// As typed, not as asked; and whatever is typed.
	version := ticket.attr("[name=version]", "value")
	typed := func(changes ...string) *page {
		t.Helper()
		form := map[string]string{"version": version, "spec_hash": ticket.attr("[name=spec_hash]", "value"), "template": s.template, "size": s.small, "count": "1", "disk": "20", "cluster": s.test.cluster, "reason": ""}
		for i := 0; i < len(changes); i += 2 {
			form[changes[i]] = changes[i+1]
		}
		var list []string
		for k, v := range form {
			list = append(list, k, v)
		}
		return s.approver.post(paths.CheckApproval(n), list...).is(http.StatusOK)
	}
	typed("size", s.large).wants("at least 16 GiB needed, 7 GiB left")
	typed("count", "99999999999", "disk", "99999999999").wants("Left in the namespace")

	// Gone: told once to the admins, and no place for anything new.
	state = domain.NamespaceState{Presence: domain.PresenceMissing}
	s.admin.follow(s.admin.post(paths.CheckNamespace(id))).wants("c-test does not have this namespace any more", "kubectl create namespace shop-test", "Missing")
	s.admin.post(paths.CheckNamespace(id)).is(http.StatusSeeOther)
	inbox := s.admin.get(paths.Notifications)
	if n := strings.Count(inbox.main(), "is gone from c-test"); n != 1 {
		t.Errorf("told %d times: %s", n, inbox.main())
	}
	s.dev.part("preview").post(paths.Preview, s.form(s.test)...).wants("the namespace shop-test is gone from it", "0 of 2 can take it")
	s.approver.get(paths.Approval(n)).wants("the namespace shop-test is gone from it")

	s.play.spaces = func(string) (domain.NamespaceState, error) { return state, apperr.New(apperr.ErrClusterRefused) }
	s.admin.follow(s.admin.post(paths.CheckNamespace(id))).wants("c-test could not be asked", "refuses connections", "Missing")
	s.db.Ent.Cluster.Update().SetEnabled(false).ExecX(ctx)
	s.admin.follow(s.admin.post(paths.CheckNamespace(id))).wants("c-test could not be asked", "switched off")

	if got := s.auditor.get(paths.Namespace(id)).is(http.StatusOK); got.has("#check-now") {
		t.Error("an auditor is offered a check")
	}
	s.auditor.post(paths.CheckNamespace(id)).is(http.StatusForbidden)
	s.dev.get(paths.Namespace(id)).is(http.StatusNotFound)
	s.admin.get(paths.Namespace("0190f0c1-7b7e-7000-8000-000000000001")).is(http.StatusNotFound)
}

// What a page offers in words, a program says in two fields.
func TestRegisterNamespaceAPI(t *testing.T) {
	s := newShop(t)
	c := newContract(t, s.portal)
	there, fault := false, error(nil)
	s.play.spaces = func(string) (domain.NamespaceState, error) {
		if there {
			return domain.NamespaceState{Presence: domain.PresencePresent}, nil
		}
		return domain.NamespaceState{Presence: domain.PresenceMissing, MayCreate: true}, fault
	}
	s.play.make = func(string) error { there = true; return nil }
	body := func(more ...any) fields {
		f := fields{"cluster_id": s.test.cluster, "name": "team-a", "environment": "test"}
		for i := 0; i < len(more); i += 2 {
			f[more[i].(string)] = more[i+1]
		}
		return f
	}
	problem(c.call(s.admin, "POST", "/namespaces", body()), 422, apperr.ErrNamespaceMissing)
	fault = apperr.New(apperr.ErrClusterTimeout)
	away := s.admin.do(http.MethodPost, "/api/v1/namespaces", "application/json", strings.NewReader(`{"cluster_id":"`+s.test.cluster+`","name":"team-a","environment":"test"}`))
	if e := problem(away, 503, apperr.ErrClusterTimeout); len(e.Errors) != 1 || e.Errors[0].Field != "cluster_id" {
		t.Errorf("away: %+v", e)
	}
	fault = nil
	if n := read[api.Namespace](c.call(s.admin, "POST", "/namespaces", body("create", true)).is(http.StatusCreated)); n.Presence != "present" || n.QuotasKnown || !there {
		t.Errorf("made: %+v", n)
	}
	there, fault = false, apperr.New(apperr.ErrClusterTimeout)
	if n := read[api.Namespace](c.call(s.admin, "POST", "/namespaces", body("name", "team-b", "unseen", true)).is(http.StatusCreated)); n.Presence != "unknown" || n.CheckedAt != nil {
		t.Errorf("unseen: %+v", n)
	}
}
