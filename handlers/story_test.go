package handlers_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/instancesize"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/template"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// shop is a small world: system shop with service redis in test and in prod, a
// cluster for each, and the people around them.
type shop struct {
	*portal
	test, prod                  place
	template, small, large      string // ids
	dev, viewer, outsider       *browser
	approver, prodBoss, auditor *browser
	admin                       *browser
}

// place is the shop in one environment.
type place struct {
	env                      domain.Environment
	cluster, system, service string // ids
}

func id(text string) uuid.UUID { return uuid.MustParse(text) }

// waiting are tickets that nobody has decided.
func waiting(q *sql.Selector) {
	q.Where(sql.EQ(q.C(approvalticket.FieldStatus), string(domain.TicketPending)))
}

func newShop(t *testing.T, change ...func(*handlers.Config)) *shop {
	p := newPortal(t, change...)
	ctx := t.Context()
	s := &shop{portal: p}
	for _, env := range domain.Environments() {
		c := p.db.Ent.Cluster.Create().SetName("c-" + string(env)).SetEnvironment(entcluster.Environment(env)).SetCreatedBy("root").
			SetEncryptedKubeconfig([]byte("x")).SetEncryptionKeyID("k").SetAPIServerURL("https://c").SetIdentityUID("uid-" + string(env)).
			SetStatus(entcluster.StatusHEALTHY).SaveX(ctx)
		p.db.Ent.Namespace.Create().SetName("shop-" + string(env)).SetEnvironment(namespace.Environment(env)).SetCluster(c).SetCreatedBy("root").SaveX(ctx)
		sys := p.db.Ent.System.Create().SetName("shop").SetNamespace("shop-" + string(env)).SetEnvironment(system.Environment(env)).SetCreatedBy("dev").SaveX(ctx)
		sv := p.db.Ent.Service.Create().SetSystem(sys).SetName("redis").SetVMPrefix("shop-redis").SetNamespace("shop-" + string(env)).SetCreatedBy("dev").SaveX(ctx)
		here := place{env, c.ID.String(), sys.ID.String(), sv.ID.String()}
		if env == domain.Test {
			s.test = here
		} else {
			s.prod = here
		}
	}
	s.template = p.db.Ent.Template.Create().SetName("debian-12").SetDisplayName("Debian 12").SetVersion(1).SetStatus(template.StatusActive).
		SetImage("docker://quay.io/containerdisks/debian:12").SetMinDiskGib(10).SetCreatedBy("root").SaveX(ctx).ID.String()
	size := func(name string, cpu int) string {
		return p.db.Ent.InstanceSize.Create().SetName(name).SetCPU(cpu).SetMemoryMib(cpu * 2048).SetDiskGib(20).SetMaxDiskGib(100).
			SetStatus(instancesize.StatusActive).SetCreatedBy("root").SaveX(ctx).ID.String()
	}
	s.small, s.large = size("small", 1), size("large", 8)

	in := func(role domain.Role) []domain.Binding {
		return []domain.Binding{{Role: role, SystemID: s.test.system}, {Role: role, SystemID: s.prod.system}}
	}
	s.dev = p.as(p.person("dev", in(domain.RoleOwner)...))
	s.viewer = p.as(p.person("viewer", in(domain.RoleViewer)...))
	s.outsider = p.as(p.person("outsider"))
	s.approver = p.as(p.person("boss", domain.Binding{Role: domain.RoleApprover, Environment: domain.Test}))
	s.prodBoss = p.as(p.person("prod-boss", domain.Binding{Role: domain.RoleApprover, Environment: domain.Prod}))
	s.auditor = p.as(p.person("auditor", domain.Binding{Role: domain.RoleAuditor}))
	s.admin = p.admin()
	return s
}

// form is a good request, with changes.
func (s *shop) form(at place, changes ...string) []string {
	fields := map[string]string{"service": at.service, "template": s.template, "size": s.small, "count": "2", "disk": "20", "ssh_keys": "", "reason": "Cache for the load tests."}
	for i := 0; i < len(changes); i += 2 {
		fields[changes[i]] = changes[i+1]
	}
	var list []string
	for k, v := range fields {
		list = append(list, k, v)
	}
	return list
}

// asked is the number of a new request of dev.
func (s *shop) asked(at place, changes ...string) int {
	s.t.Helper()
	got := s.dev.post("/requests", s.form(at, changes...)...).is(http.StatusSeeOther)
	var n int
	if _, err := fmt.Sscanf(got.Location, "/requests/%d", &n); err != nil {
		s.t.Fatalf("leads to %s", got.Location)
	}
	return n
}

// vm puts a VM of dev there.
func (s *shop) vm(at place, instance int, state domain.VMState) *ent.VM {
	s.t.Helper()
	ctx := s.t.Context()
	sv := s.db.Ent.Service.GetX(ctx, id(at.service))
	return s.db.Ent.VM.Create().SetServiceID(sv.ID).SetSystemID(sv.SystemID).SetClusterID(id(at.cluster)).
		SetName(domain.VMName("shop", "redis", instance)).SetNamespace("shop-" + string(at.env)).SetInstance(instance).
		SetEnvironment(entvm.Environment(at.env)).SetCreatedBy("dev").SetTicketID(1).SetTemplate("debian-12").SetTemplateVersion(1).SetSize("small").
		SetCPU(1).SetMemoryMib(2048).SetDiskGib(20).SetState(entvm.State(state)).SetHealth(entvm.Health(state.Health())).SaveX(ctx)
}

func TestRequestForm(t *testing.T) {
	s := newShop(t)
	form := s.dev.get("/requests/new?service=" + s.test.service).is(http.StatusOK)
	form.wants("Debian 12", "1 vCPU, 2 GiB", "Still to choose: template, size")
	if form.attr("#count", "value") != "1" || form.attr("#disk", "value") != "20" {
		t.Errorf("defaults: count %s, disk %s", form.attr("#count", "value"), form.attr("#disk", "value"))
	}
	preview := s.dev.part("preview").post("/requests/preview", s.form(s.test)...).is(http.StatusOK)
	if preview.has("main") {
		t.Error("HTMX gets the whole page")
	}
	for _, want := range []string{"admin or boss decides", "shop-redis-01", "shop-redis-02", "4 GiB", "1 of 2 can take it", "takes prod VMs only"} {
		if !strings.Contains(preview.text("#preview"), want) {
			t.Errorf("no %q in %s", want, preview.text("#preview"))
		}
	}
	whole := s.dev.post("/requests/preview", s.form(s.test, "reason", "half a sen")...).is(http.StatusOK) // without scripts
	if whole.text("#reason") != "half a sen" || !whole.has("#preview") {
		t.Error("the check without scripts loses what was typed")
	}

	// All that is wrong comes at once, and nothing is lost.
	bad := s.dev.post("/requests", s.form(s.test, "count", "99", "disk", "x", "reason", "no", "ssh_keys", "not a key")...).is(http.StatusUnprocessableEntity)
	for field, value := range map[string]string{"count": "99", "disk": "x"} {
		if bad.attr("#"+field, "value") != value || !bad.has("#"+field+"-error") {
			t.Errorf("%s: %s", field, bad.html("#"+field))
		}
	}
	if bad.text("#ssh_keys") != "not a key" || bad.text("#reason") != "no" || !bad.has("#ssh_keys-error") || !bad.has("#reason-error") {
		t.Error("a text is lost or not marked")
	}
	if !bad.has("[name=template][checked]") || !bad.has("#errors") || !strings.Contains(bad.text("#errors"), "4 answers") {
		t.Errorf("summary: %s", bad.text("#errors"))
	}
	for _, field := range []string{"name", "labels", "cloud_init", "cluster_id", "status", "approved_by", "namespace"} {
		s.dev.post("/requests", s.form(s.test, field, "x")...).is(http.StatusUnprocessableEntity).wants(field + " cannot be set here")
	}
	if n := s.db.Ent.ApprovalTicket.Query().CountX(t.Context()); n != 0 {
		t.Errorf("%d tickets were made", n)
	}
	s.viewer.post("/requests", s.form(s.test)...).is(http.StatusForbidden)
	s.outsider.post("/requests", s.form(s.test)...).is(http.StatusNotFound)

	n := s.asked(s.test)
	s.dev.post("/requests", s.form(s.test)...).is(http.StatusConflict).wants("already an open request: " + domain.TicketName(n))
}

// From a request to a decision, as everybody around sees it.
func TestDecide(t *testing.T) {
	s := newShop(t)
	n := s.asked(s.test)
	request, ticket := fmt.Sprintf("/requests/%d", n), fmt.Sprintf("/approvals/%d", n)
	s.dev.get(request).is(http.StatusOK).wants("Create 2 × redis", "Waiting for a decision", "admin or boss can decide", "Withdraw")
	s.dev.get("/requests").is(http.StatusOK).wants(domain.TicketName(n))
	s.outsider.get(request).is(http.StatusNotFound)
	s.viewer.get(request).is(http.StatusOK)
	s.dev.get(ticket).is(http.StatusForbidden)
	s.prodBoss.get(ticket).is(http.StatusNotFound)

	s.approver.get("/approvals").is(http.StatusOK).wants("2 × redis", "dev")
	page := s.approver.get(ticket).is(http.StatusOK).wants("Cache for the load tests.", "takes prod VMs only", "1 of 2 clusters can take it", "1 of 1")
	if !page.has("[name=cluster][checked]") {
		t.Error("the only cluster that fits is not chosen")
	}
	fields := func(changes ...string) []string {
		all := map[string]string{
			"version": page.attr("[name=version]", "value"), "spec_hash": page.attr("[name=spec_hash]", "value"),
			"template": s.template, "size": s.small, "count": "2", "disk": "20", "cluster": s.test.cluster, "reason": "",
		}
		for i := 0; i < len(changes); i += 2 {
			all[changes[i]] = changes[i+1]
		}
		var list []string
		for k, v := range all {
			list = append(list, k, v)
		}
		return list
	}
	checked := s.approver.part("ticket-form").post(ticket+"/check", fields("size", s.large, "count", "1")...).is(http.StatusOK)
	if checked.has("main") || checked.text("#approve") != "Approve with 2 changes" {
		t.Errorf("the check: %s", checked.text("#approve"))
	}
	undone := s.approver.post(ticket+"/check", fields("size", s.large, "undo", "size")...).is(http.StatusOK)
	if undone.text("#approve") != "Approve" {
		t.Errorf("undone: %s", undone.text("#approve"))
	}
	s.approver.post(ticket, fields()...).is(http.StatusOK) // no button was pressed
	changed := s.approver.post(ticket, fields("do", "approve", "count", "1")...).is(http.StatusUnprocessableEntity)
	if !changed.has("#reason-error") || changed.attr("#count", "value") != "1" {
		t.Error("a change needs a reason")
	}
	s.approver.post(ticket, fields("do", "reject")...).is(http.StatusUnprocessableEntity)
	s.approver.post(ticket, fields("do", "approve", "cluster", s.prod.cluster)...).is(http.StatusUnprocessableEntity)
	s.approver.post(ticket, fields("do", "approve", "count", "many")...).is(http.StatusUnprocessableEntity)
	s.approver.post(ticket, fields("do", "approve", "version", "7")...).is(http.StatusConflict).wants("changed while you were reading")
	s.auditor.post(ticket, fields("do", "approve")...).is(http.StatusForbidden)
	s.prodBoss.post(ticket, fields("do", "approve")...).is(http.StatusNotFound)

	// Who sees the request and decides elsewhere is told so.
	elsewhere := s.as(s.person("elsewhere", domain.Binding{Role: domain.RoleApprover, Environment: domain.Prod}, domain.Binding{Role: domain.RoleViewer, SystemID: s.test.system}))
	elsewhere.get(ticket).is(http.StatusForbidden)
	elsewhere.post(ticket, fields("do", "approve")...).is(http.StatusForbidden)

	queue := s.approver.follow(s.approver.post(ticket, fields("do", "approve", "count", "1", "reason", "One is enough for this.")...))
	queue.wants("is approved", "No request waits for you")
	late := s.admin.post(ticket, fields("do", "reject", "reason", "We have no room for it.")...).is(http.StatusConflict)
	late.wants("boss has already decided", "Nothing of yours was saved", "One is enough for this.")
	if late.text("textarea#reason") != "We have no room for it." || late.has("#approve") {
		t.Errorf("the second decider: %s", late.main())
	}
	s.dev.get(request).is(http.StatusOK).wants("Approved with 1 change", "count 1 instead of 2", "boss", "shop-redis-01", "was 2")
	s.approver.get(ticket).is(http.StatusOK).wants("Already decided")
	s.approver.get("/approvals?view=mine").wants("2 × redis", "Approved")
	s.approver.get("/approvals?q=nothing-like-it").wants("No request waits")
	s.approver.get("/approvals?env=moon").is(http.StatusUnprocessableEntity)
	s.approver.get("/approvals?after=x").is(http.StatusUnprocessableEntity)
	s.dev.post(request + "/withdraw").is(http.StatusConflict)
	if vms := s.db.Ent.VM.Query().CountX(t.Context()); vms != 1 {
		t.Errorf("%d VMs", vms)
	}
}

// Nobody decides an own request, whatever else the account may do.
func TestOwnRequest(t *testing.T) {
	s := newShop(t)
	got := s.admin.post("/requests", s.form(s.test)...).is(http.StatusSeeOther)
	ticket := strings.Replace(got.Location, "requests", "approvals", 1)
	own := s.admin.get(ticket).is(http.StatusOK).wants("You cannot decide your own request", "boss")
	if own.has("#approve") || own.has("[name=version]") {
		t.Error("the requester can decide")
	}
	s.admin.post(ticket, "do", "approve", "version", "1").is(http.StatusForbidden).wants("cannot decide your own request")
	s.admin.follow(s.admin.post(got.Location+"/withdraw")).wants("is withdrawn", "Withdrawn")
}

func TestDeleteVM(t *testing.T) {
	s := newShop(t)
	m := s.vm(s.test, 1, domain.StateRunning)
	path := "/vms/" + m.ID.String() + "/delete"
	s.dev.get(path).is(http.StatusOK).wants("What goes", "System disk", "20 GiB")
	bad := s.dev.post(path, "typed", "shop-redis-02", "reason", "It is over now.").is(http.StatusUnprocessableEntity).wants("Type shop-redis-01 to confirm")
	if bad.attr("#typed", "value") != "shop-redis-02" || bad.text("#reason") != "It is over now." {
		t.Error("what was typed is lost")
	}
	s.viewer.get(path).is(http.StatusForbidden)
	s.viewer.post(path, "typed", m.Name, "reason", "It is over now.").is(http.StatusForbidden)
	s.outsider.get(path).is(http.StatusNotFound)
	s.dev.follow(s.dev.post(path, "typed", m.Name, "reason", "It is over now.")).wants("Delete shop-redis-01", "Waiting for a decision")
	ticket := fmt.Sprintf("/approvals/%d", s.db.Ent.ApprovalTicket.Query().Where(approvalticket.OperationEQ("DELETE")).OnlyIDX(t.Context()))
	page := s.approver.get(ticket).is(http.StatusOK).wants("cannot be undone", "Its state allows it")
	s.approver.follow(s.approver.post(ticket, "do", "approve", "version", page.attr("[name=version]", "value"), "spec_hash", page.attr("[name=spec_hash]", "value"), "reason", "")).
		wants("is approved")
}

func TestPower(t *testing.T) {
	s := newShop(t)
	test, prod := s.vm(s.test, 1, domain.StateRunning), s.vm(s.prod, 2, domain.StateRunning)
	path := "/vms/" + test.ID.String() + "/power"
	if got := s.dev.post(path, "do", "STOP").is(http.StatusSeeOther); got.Location != "/vms/"+test.ID.String() {
		t.Errorf("leads to %s", got.Location)
	}
	s.dev.post(path, "do", "STOP").is(http.StatusConflict).wants("is busy")
	s.dev.post(path, "do", "KILL").is(http.StatusUnprocessableEntity)
	s.dev.post(path, "do", "DELETE").is(http.StatusUnprocessableEntity)
	s.viewer.post(path, "do", "START").is(http.StatusForbidden)
	s.outsider.post(path, "do", "START").is(http.StatusNotFound)

	path = "/vms/" + prod.ID.String() + "/power"
	s.dev.get(path+"?do=STOP").is(http.StatusOK).wants("Stop shop-redis-02?", "needs a yes")
	asked := s.dev.post(path, "do", "STOP").is(http.StatusOK) // asked once
	if !asked.has("[name=confirmed]") {
		t.Error("prod is not asked for")
	}
	s.dev.post(path, "do", "STOP", "confirmed", "1", "reason", "").is(http.StatusUnprocessableEntity)
	s.dev.follow(s.dev.post(path, "do", "STOP", "confirmed", "1", "reason", "Maintenance of the rack.")).wants("Stop shop-redis-02", "Waiting for a decision")
}
