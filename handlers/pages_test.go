package handlers_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

func inEnv(e domain.Environment) predicate.Namespace {
	return namespace.EnvironmentEQ(namespace.Environment(e))
}

// pendingTicket is a request of dev in test that waits.
func (s *shop) pendingTicket() int {
	s.t.Helper()
	n, err := s.db.Ent.ApprovalTicket.Query().Where(waiting).FirstID(s.t.Context())
	if err != nil {
		return s.asked(s.test)
	}
	return n
}

func TestSystemAndService(t *testing.T) {
	s := newShop(t)
	dev := s.dev
	form := dev.get("/systems/new").is(http.StatusOK).wants("shop-test · test", "shop-prod · prod")
	if form.has("[aria-invalid]") {
		t.Error("a new form has errors")
	}
	bad := dev.post("/systems", "name", "Shop!", "namespace", "nowhere", "docs", "# Text").is(http.StatusUnprocessableEntity)
	if bad.attr("#name", "value") != "Shop!" || bad.text("#docs") != "# Text" || !bad.has("#name-error") || !bad.has("#namespace-error") {
		t.Errorf("lost or not marked: %s", bad.main())
	}
	dev.post("/systems", "name", "shop", "namespace", "shop-test", "docs", "").is(http.StatusUnprocessableEntity).wants("is taken")
	dev.post("/systems", "name", "ci", "namespace", "shop-test", "docs", strings.Repeat("x", 70<<10)).is(http.StatusUnprocessableEntity)

	made := dev.post("/systems", "name", "ci", "namespace", "shop-test", "docs", "# CI\n\n[wiki](javascript:alert(1)) **bold**")
	page := dev.follow(made).is(http.StatusOK).wants("ci is made", "CI", "bold", "shop-test", "No service in ci yet")
	if strings.Contains(page.Body, "javascript:") {
		t.Error("a link of the documentation can run something")
	}
	system := made.Location
	if again := dev.get(system); strings.Contains(again.main(), "ci is made") {
		t.Error("the message comes twice")
	}

	// Two who edit at a time.
	edit := dev.get(system + "/edit").is(http.StatusOK)
	version := edit.attr("[name=version]", "value")
	s.admin.follow(s.admin.post(system+"/edit", "version", version, "docs", "admin was here")).wants("saved", "admin was here")
	late := dev.post(system+"/edit", "version", version, "docs", "mine").is(http.StatusConflict).wants("while you were writing")
	if late.text("#docs") != "mine" {
		t.Error("the second text is lost")
	}
	dev.follow(dev.post(system+"/edit", "version", late.attr("[name=version]", "value"), "docs", "mine")).wants("mine")

	names := dev.part("names").get(system + "/services/new?name=runner").is(http.StatusOK)
	if names.has("main") || !strings.Contains(names.text("#names"), "ci-runner-01") {
		t.Errorf("names: %s", names.Body)
	}
	dev.part("names").get(system + "/services/new?name=Run%20ner").is(http.StatusOK)
	dev.post(system+"/services", "name", "", "docs", "keep").is(http.StatusUnprocessableEntity)
	made = dev.post(system+"/services", "name", "runner", "docs", "Runs jobs.")
	dev.follow(made).is(http.StatusOK).wants("runner is made", "No VM in runner yet", "Runs jobs.")
	service := made.Location

	dev.get(system+"/delete").is(http.StatusOK).wants("cannot be deleted while it has services", "runner")
	dev.post(system+"/delete", "typed", "ci").is(http.StatusConflict)
	wrong := dev.post(service+"/delete", "typed", "rnner").is(http.StatusUnprocessableEntity).wants("Type runner to confirm")
	if wrong.attr("#typed", "value") != "rnner" {
		t.Error("what was typed is lost")
	}
	dev.follow(dev.post(service+"/delete", "typed", "runner")).wants("runner is deleted")
	dev.follow(dev.post(system+"/delete", "typed", "ci")).wants("ci is deleted")
	dev.get(system).is(http.StatusNotFound)
}

func TestServicePage(t *testing.T) {
	s := newShop(t)
	for i := range 60 {
		s.vm(s.test, i+1, domain.StateRunning)
	}
	bad := s.vm(s.test, 61, domain.StateErrorUnschedulable)
	s.db.Ent.VM.UpdateOne(bad).SetProblem(domain.Problem{Code: domain.ProblemUnschedulable, Params: map[string]any{"what": "32 GiB of memory"}}).SetIPAddress("10.1.2.3").ExecX(t.Context())
	s.db.Ent.Service.UpdateOneID(id(s.test.service)).SetVMCount(61).SetBadCount(1).SetNextInstanceIndex(62).ExecX(t.Context())
	s.db.Ent.System.UpdateOneID(id(s.test.system)).SetVMCount(61).SetBadCount(1).ExecX(t.Context())
	path := "/services/" + s.test.service
	page := s.dev.get(path).is(http.StatusOK).wants("shop-redis-61", "No node has 32 GiB of memory free", "Next is shop-redis-62", "61 VMs")
	if n := len(page.find("#vms tbody tr")); n != 50 {
		t.Errorf("%d rows", n)
	}
	next := page.attr("#vms a[rel=next]", "href")
	older := s.dev.part("vms").get(next).is(http.StatusOK)
	if n := len(older.find("#vms tbody tr")); n != 11 || older.has("main") {
		t.Errorf("%d rows on the second page", n)
	}
	if got := s.dev.get(path + "?state=bad"); len(got.find("#vms tbody tr")) != 1 {
		t.Error("the state does not filter")
	}
	if got := s.dev.get(path + "?q=10.1.2"); len(got.find("#vms tbody tr")) != 1 || got.attr("#vm-q", "value") != "10.1.2" {
		t.Error("the address does not filter")
	}
	s.dev.get(path + "?q=zzz").is(http.StatusOK).wants("Nothing matches")
	s.dev.get(path + "?state=x").is(http.StatusUnprocessableEntity)
	s.dev.get(path + "?after=x").is(http.StatusUnprocessableEntity)

	// The tree and the home page tell the same.
	s.dev.get("/explorer").is(http.StatusOK).wants("61 VMs in 2 systems", "shop-redis-61", "No node has 32 GiB of memory free")
	tree := s.dev.part("tree").get("/explorer?open=" + s.test.system + "&open=" + s.test.service)
	if tree.has("main") || !strings.Contains(tree.text("#tree"), "redis-01") {
		t.Errorf("tree: %s", tree.text("#tree"))
	}
	s.dev.get("/explorer?problems=1").wants("redis-61")
	s.dev.get("/").is(http.StatusOK).wants("Needs attention", "shop-redis-61", "shop / redis", "60 running", "1 failing")
	s.dev.get("/systems/"+s.test.system).is(http.StatusOK).wants("60 running", "1 failing")
	s.outsider.get("/explorer").is(http.StatusOK).wants("0 VMs in 0 systems")
	s.dev.get("/search?q=shop-redis-6").is(http.StatusOK).wants("shop-redis-60", "shop-redis-61")
	s.outsider.get("/search?q=shop-redis-6").is(http.StatusOK).wants("Nothing matches")
	s.dev.get("/search?q=%ff%00").is(http.StatusOK)
}

func TestVMPage(t *testing.T) {
	s := newShop(t)
	m := s.vm(s.test, 1, domain.StateRunning)
	path := "/vms/" + m.ID.String()
	page := s.dev.get(path).is(http.StatusOK).wants("shop-redis-01", "Running", "debian-12, version 1", "kubevirt-shepherd.io/system=shop")
	if !page.has("#power button[value=STOP]") || page.has("#power button[value=START]") {
		t.Error("the power menu does not fit the state")
	}
	if s.viewer.get(path).is(http.StatusOK).has("#power") {
		t.Error("who only looks gets a power menu")
	}
	s.db.Ent.Cluster.UpdateOneID(id(s.test.cluster)).SetStatus(entcluster.StatusUNREACHABLE).ExecX(t.Context())
	s.dev.get(path).wants("Was running", "c-test does not answer", "Its VMs are shown as last known")
	for _, id := range []string{"vm-head", "vm-body"} {
		if part := s.dev.part(id).get(path).is(http.StatusOK); part.has("main") || !part.has("#"+id) {
			t.Errorf("%s: %s", id, part.Body)
		}
	}
	s.db.Ent.VM.UpdateOne(m).SetState("Deleted").SetHealth("idle").SetDeletedAt(m.CreatedAt).ExecX(t.Context())
	s.dev.get(path).is(http.StatusOK).wants("This VM was deleted")
}

// Text of a cluster or a person never acts on a page.
func TestHostileTexts(t *testing.T) {
	s := newShop(t)
	const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	m := s.vm(s.test, 1, domain.StateErrorUnschedulable)
	s.db.Ent.VM.UpdateOne(m).SetProblem(domain.Problem{Code: domain.ProblemUnschedulable, Params: map[string]any{"message": hostile}, Text: hostile}).
		SetGuestOs(hostile).SetNodeName(hostile).ExecX(t.Context())
	n := s.asked(s.test, "reason", hostile+" and more")
	for _, path := range []string{
		"/vms/" + m.ID.String(), "/services/" + s.test.service, "/explorer", "/", fmt.Sprintf("/requests/%d", n), "/search?q=" + "%3Cscript%3Ealert(1)%3C/script%3E",
	} {
		got := s.dev.get(path).is(http.StatusOK)
		if got.has("main script") || got.has("[onerror]") {
			t.Errorf("%s runs it", path)
		}
	}
	if got := s.approver.get(fmt.Sprintf("/approvals/%d", n)).is(http.StatusOK); got.has("main script") || got.has("[onerror]") {
		t.Error("the ticket runs it")
	}
}

func TestInboxAndAudit(t *testing.T) {
	s := newShop(t)
	n := s.asked(s.test)
	bell := s.approver.part("bell").get("/notifications").is(http.StatusOK)
	if bell.attr("#bell", "aria-label") != "Notifications, 1 unread" {
		t.Errorf("bell: %s", bell.Body)
	}
	if count := s.approver.part("nav-approvals").get("/approvals"); count.text("#nav-approvals") != "1" {
		t.Errorf("count: %s", count.Body)
	}
	s.approver.get("/notifications").is(http.StatusOK).wants("dev asks for "+domain.TicketName(n), "1 unread")
	s.approver.follow(s.approver.post("/notifications")).is(http.StatusOK)
	if again := s.approver.get("/notifications"); strings.Contains(again.main(), "unread") {
		t.Error("still unread")
	}

	s.auditor.get("/audit").is(http.StatusOK).wants("ticket.submit", "dev", "127.0.0.1")
	if got := s.auditor.get("/audit?action=cluster."); len(got.find("#log tbody tr")) != 0 {
		t.Error("the action does not filter")
	}
	row := s.auditor.get("/audit?who=dev").attr("#log tbody a", "href")
	s.auditor.get(row).is(http.StatusOK).wants("Request id", "Environment", "Cache for the load tests.")
	s.auditor.get("/").is(http.StatusOK).wants("dev asked to create 2 × redis")
	s.approver.get("/").is(http.StatusOK).wants("Oldest requests", "2 × redis", "c-test")
	s.dev.get("/").is(http.StatusOK).wants("You asked to create 2 × redis", "My requests")
}

// A new developer is led to the first VM, step by step.
func TestFirstSteps(t *testing.T) {
	p := newPortal(t)
	dev := p.as(p.person("dev"))
	dev.get("/").is(http.StatusOK).wants("Nothing can be made yet")
	dev.get("/explorer").is(http.StatusOK).wants("Nothing can be made yet")
	dev.get("/requests").is(http.StatusOK).wants("No requests yet")
	dev.get("/catalog").is(http.StatusOK).wants("No templates yet")
	dev.get("/notifications").is(http.StatusOK).wants("No notifications")
	p.admin().get("/").is(http.StatusOK).wants("Cluster health")
}

// Every live part of a page is a fragment of that page.
func TestLiveParts(t *testing.T) {
	s := newShop(t)
	m := s.vm(s.test, 1, domain.StateRunning)
	n := s.asked(s.test)
	for _, c := range []struct {
		b    *browser
		path string
	}{
		{s.dev, "/"}, {s.admin, "/"}, {s.dev, "/explorer"}, {s.dev, "/systems/" + s.test.system}, {s.dev, "/services/" + s.test.service},
		{s.dev, "/vms/" + m.ID.String()}, {s.dev, "/requests"}, {s.dev, fmt.Sprintf("/requests/%d", n)}, {s.approver, "/approvals"},
		{s.admin, "/clusters"}, {s.admin, "/clusters/" + s.test.cluster}, {s.dev, "/notifications"}, {s.approver, fmt.Sprintf("/approvals/%d", n)},
	} {
		whole := c.b.get(c.path).is(http.StatusOK)
		for _, el := range whole.find("[hx-trigger]") {
			id, url := attribute(el, "id"), attribute(el, "hx-get")
			if !strings.Contains(attribute(el, "hx-trigger"), "sse:") || attribute(el, "hx-target") != "this" {
				continue
			}
			part := c.b.part(id).get(url)
			if part.Status != http.StatusOK || part.has("main") || !part.has("#"+id) {
				t.Errorf("%s#%s from %s: %d", c.path, id, url, part.Status)
			}
		}
		stream := whole.attr("[sse-connect]", "sse-connect")
		if stream == "" {
			continue
		}
		_, status, done := c.b.stream(stream)
		if status != http.StatusOK {
			t.Errorf("%s: its stream %s gets %d", c.path, stream, status)
		}
		done()
	}
}

// TestPageBudget: every page is small enough for the first round trips of a
// connection, 14 KB of HTML as it is sent.
func TestPageBudget(t *testing.T) {
	const limit = 14 << 10
	s := newShop(t)
	own := s.objects()
	own["{ticket}"] = fmt.Sprint(s.pendingTicket())
	for _, r := range s.Routes() {
		if r.Method != http.MethodGet || r.Pattern == paths.Events || strings.HasSuffix(r.Pattern, "/images/{name}") {
			continue
		}
		for _, guide := range []string{"concepts", "user-guide", "approver-guide", "admin-guide", "cluster-guide", "audit-guide", "operator-guide", "cluster-operations", "key-guide"} {
			own["{guide}"] = guide
			path := filled(r.Pattern, own)
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = io.WriteString(z, s.admin.get(path).Body)
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			if b.Len() > limit {
				t.Errorf("%s is %d bytes compressed, the limit is %d", path, b.Len(), limit)
			}
			if !strings.Contains(r.Pattern, "{guide}") {
				break
			}
		}
	}
}
