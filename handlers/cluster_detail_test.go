package handlers_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// The page of a cluster has all that is known of it, and asks it nothing.
func TestClusterPage(t *testing.T) {
	s, ctx := newShop(t), t.Context()
	c, path := id(s.test.cluster), "/clusters/"+s.test.cluster
	m := s.vm(s.test, 1, domain.StateRunning)
	s.db.Ent.Cluster.UpdateOneID(c).SetEnabledFeatures([]string{"GPU", "LiveMigration"}).SetCapabilities(domain.Capabilities{
		Gates: []string{"GPU"}, DisabledGates: []string{"VMExport"}, APIs: []string{"kubevirt.io/v1"}, InstanceTypes: 43,
	}).SetAllocatableMemoryMib(8 << 10).SetAllocatableCPU(16).SetHardware([]string{"sriov"}).SetCredentialKind("token").SetCredentialSubject("system:serviceaccount:a:b").
		SetCredentialExpiresAt(time.Now().Add(6 * 24 * time.Hour)).ExecX(ctx)
	if _, err := s.db.Pool.Exec(ctx, `UPDATE clusters SET created_at = now() - interval '2 days'`); err != nil {
		t.Fatal(err)
	}
	event := func(kind clusterevent.Kind, before, after string, p domain.Problem, count int) {
		s.db.Ent.ClusterEvent.Create().SetClusterID(c).SetKind(kind).SetBefore(before).SetAfter(after).SetProblem(p).SetCount(count).ExecX(ctx)
	}
	event(clusterevent.KindStatus, "UNREACHABLE", "HEALTHY", domain.Problem{}, 1)
	event(clusterevent.KindVersion, "KubeVirt v1.8.0", "KubeVirt v1.9.0", domain.Problem{}, 1)
	event(clusterevent.KindFeatures, "Snapshot", "GPU", domain.Problem{}, 1)
	event(clusterevent.KindMode, "weight=100", "weight=50", domain.Problem{}, 1)
	event(clusterevent.KindError, "", "", domain.Problem{Code: apperr.ErrClusterTimeout, Text: "<b>deadline</b>"}, 240)
	s.db.Ent.DomainEvent.Create().SetType("VM_DELETE").SetAggregateType("vm").SetAggregateID(m.ID.String()).SetPayload([]byte(`{"operation":"DELETE"}`)).
		SetCreatedBy("dev").SetClusterID(c).SetTicketID(1).SetProblem(domain.Problem{Code: apperr.ErrClusterUnreachable}).ExecX(ctx)

	page := s.admin.get(path).is(http.StatusOK).wants(
		"c-test", "Healthy", "Unreachable", "Show as a table", // health
		"Waits for this cluster", "shop-redis-01", "TKT-1", "Delete",
		"240 times", "All errors", "KubeVirt v1.8.0 → KubeVirt v1.9.0", "New: GPU. Gone: Snapshot.", "100 → 50",
		"2 of 8 GiB", "On by default", "VMExport", "kubevirt.io/v1", "sriov", "system:serviceaccount:a:b", "Credential ends in 5 d 23 h",
		"shop-test", // namespace
	)
	if strings.Contains(page.Body, "<b>deadline") || !page.has("svg[role=img][aria-labelledby=cluster-health]") {
		t.Error("the cluster's words are not escaped, or the strip is not drawn")
	}
	for _, link := range []string{"/settings", "/remove", "/vms", "/history", "/credential", "/mode?do=drain"} {
		if !page.has("a[href=" + path + link + "]") {
			t.Errorf("no link to %s", link)
		}
	}
	seven := s.admin.get(path + "?range=7d").is(http.StatusOK)
	if seven.text("#cluster-health-says") == "" || !seven.has("a[href="+path+"?range=7d][aria-current=true]") {
		t.Error("no strip of seven days")
	}
	if part := s.admin.part("cluster").get(path).is(http.StatusOK); part.has("main") || !part.has("#cluster") {
		t.Error("the part of the page for its refresh")
	}
	seen := s.auditor.get(path).is(http.StatusOK)
	if seen.has("a[href="+path+"/settings]") || seen.has("a[href="+path+"/remove]") || seen.has("#check-now") {
		t.Error("an auditor is offered to change it")
	}
	s.dev.get(path).is(http.StatusNotFound)
	s.admin.get(path+"/history").is(http.StatusOK).wants("Unreachable → Healthy", "240 times")
	s.admin.get(path + "/history?show=errors").is(http.StatusOK).wants("240 times")
	s.admin.get(path+"/orders").is(http.StatusOK).wants("shop-redis-01", "TKT-1")
	s.admin.get(path + "/vms?q=redis&state=ok").is(http.StatusOK).wants("shop-redis-01")
	s.admin.get(path + "/vms?q=none").is(http.StatusOK).wants("No VM is here")

	s.db.Ent.Cluster.UpdateOneID(c).SetQuarantinedAt(time.Now()).SetQuarantineReason(domain.Problem{Code: apperr.ErrClusterIdentity}).ExecX(ctx)
	if page := s.admin.get(path).wants("c-test is in quarantine"); !page.has("a[href=" + path + "/quarantine]") {
		t.Error("no link to the quarantine")
	}
}

func TestClusterSettingsPage(t *testing.T) {
	s := newShop(t)
	path := "/clusters/" + s.test.cluster + "/settings"
	form := s.admin.get(path).is(http.StatusOK)
	version := form.attr("[name=version]", "value")
	bad := s.admin.post(path, "version", version, "place", "Berlin", "weight", "1001", "hardware", "a/b/c").is(http.StatusUnprocessableEntity)
	if bad.attr("#place", "value") != "Berlin" || !bad.has("#weight-error") || !bad.has("#hardware-error") || bad.text("#hardware") != "a/b/c" {
		t.Errorf("what was typed is lost, or not marked: %s", bad.html("form"))
	}
	s.admin.post(path, "version", version, "weight", "").is(http.StatusUnprocessableEntity).wants("Weight is needed")
	s.admin.post(path, "version", version, "weight", "many").is(http.StatusUnprocessableEntity)
	s.admin.follow(s.admin.post(path, "version", version, "place", "Berlin", "weight", "0", "hardware", "sriov, gpu.example.com/a100\nsriov")).
		wants("The settings of c-test are saved", "gpu.example.com/a100, sriov", "Berlin")
	stale := s.admin.post(path, "version", version, "place", "Mars", "weight", "7").is(http.StatusConflict).wants("Somebody changed the settings meanwhile", "Berlin")
	if stale.attr("#place", "value") != "Mars" || stale.attr("[name=version]", "value") == version {
		t.Error("what was typed is lost, or cannot be saved")
	}
	s.admin.post(path, "place", "Mars", "weight", "7").is(http.StatusConflict) // without a version
	s.admin.follow(s.admin.post(path, "version", stale.attr("[name=version]", "value"), "place", "Mars", "weight", "7")).wants("Mars")
	s.auditor.post(path, "version", version, "weight", "1").is(http.StatusForbidden)
}

func TestClusterModePages(t *testing.T) {
	s := newShop(t)
	path := "/clusters/" + s.test.cluster
	m := s.vm(s.test, 1, domain.StateRunning)
	s.admin.get(path + "/mode?do=explode").is(http.StatusNotFound)
	s.admin.get(path+"/mode?do=drain").is(http.StatusOK).wants("Drain c-test?", "Shepherd moves nothing by itself")
	s.admin.get(path+"/mode?do=disable").is(http.StatusOK).wants("Switch c-test off?", "not checked, not watched")
	s.admin.post(path+"/mode", "do", "explode").is(http.StatusUnprocessableEntity)
	s.auditor.post(path+"/mode", "do", "drain").is(http.StatusForbidden)
	s.admin.follow(s.admin.post(path+"/mode", "do", "drain")).wants("c-test takes no new VMs", "It takes no new VMs")
	s.admin.get("/clusters").wants("Takes no new VMs")
	s.admin.follow(s.admin.post(path+"/mode", "do", "disable")).wants("c-test is switched off", "It is switched off")
	s.dev.get("/vms/"+m.ID.String()).wants("c-test is switched off", "Was running")
	s.admin.follow(s.admin.post(path+"/mode", "do", "enable")).wants("c-test is switched on")
	s.admin.follow(s.admin.post(path+"/mode", "do", "undrain")).wants("c-test takes new VMs again")
}

func TestRemoveClusterPage(t *testing.T) {
	s, ctx := newShop(t), t.Context()
	path := "/clusters/" + s.test.cluster
	m := s.vm(s.test, 1, domain.StateRunning)
	s.admin.get(path+"/remove").is(http.StatusOK).wants("c-test cannot be removed yet", "1 VM that is not deleted", "shop-test")
	if page := s.admin.post(path+"/remove", "typed", "c-test").is(http.StatusConflict); page.has("#typed") {
		t.Error("it can be typed although it cannot be removed")
	}
	s.db.Ent.VM.UpdateOne(m).SetDeletedAt(time.Now()).ExecX(ctx)
	other := s.db.Ent.Cluster.Query().AllX(ctx)
	for _, c := range other { // another one has the namespace too
		if c.ID != id(s.test.cluster) {
			s.db.Ent.Namespace.Create().SetClusterID(c.ID).SetName("shop-test").SetEnvironment("test").SetCreatedBy("x").ExecX(ctx)
			break
		}
	}
	s.admin.get(path+"/remove").is(http.StatusOK).wants("Type c-test to go on", "shop-test")
	if bad := s.admin.post(path+"/remove", "typed", "c-prod").is(http.StatusUnprocessableEntity); bad.attr("#typed", "value") != "c-prod" {
		t.Error("what was typed is lost")
	}
	s.auditor.post(path+"/remove", "typed", "c-test").is(http.StatusForbidden)
	s.admin.follow(s.admin.post(path+"/remove", "typed", "c-test")).wants("c-test is removed")
	s.admin.get(path).is(http.StatusNotFound)
	// The deleted VM still says where it was.
	s.dev.get("/vms/" + m.ID.String()).is(http.StatusOK).wants("c-test")
}

// A hundred clusters: in pages, the worst first, with a filter.
func TestManyClusters(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	for i := range 100 {
		status := "HEALTHY"
		if i >= 90 {
			status = "UNREACHABLE"
		}
		name := fmt.Sprintf("c-%03d", i)
		p.db.Ent.Cluster.Create().SetName(name).SetEnvironment("test").SetCreatedBy("x").SetEncryptedKubeconfig([]byte("x")).SetEncryptionKeyID("k").
			SetAPIServerURL("https://" + name).SetIdentityUID(uuid.NewString()).SetPlace("Mars").ExecX(t.Context())
		if _, err := p.db.Pool.Exec(t.Context(), `UPDATE clusters SET status = $2, status_reason = '{"code":"CLUSTER_TIMEOUT"}' WHERE name = $1`, name, status); err != nil {
			t.Fatal(err)
		}
	}
	first := admin.get("/clusters").is(http.StatusOK).wants("100 clusters", "7 more clusters need somebody")
	if n := len(first.find("#clusters-list tbody tr")); n != 50 {
		t.Errorf("%d rows", n)
	}
	if got := first.text("#clusters-list tbody tr"); !strings.Contains(got, "c-090") {
		t.Errorf("the first is %q", got)
	}
	if len(first.Body) > 200<<10 {
		t.Errorf("%d bytes", len(first.Body))
	}
	second := admin.get("/clusters?after=4%2Fc-039").is(http.StatusOK)
	if !first.has("a[href=/clusters?after=4%2Fc-039]") {
		t.Error("no link to the second page")
	}
	if !strings.Contains(second.text("#clusters-list tbody"), "c-089") {
		t.Error("the second page has not the rest")
	}
	admin.get("/clusters?q=095").is(http.StatusOK).wants("c-095", "Clear filter")
	admin.get("/clusters?status=HEALTHY&q=nowhere").is(http.StatusOK).wants("No cluster fits the filter")
	admin.get("/clusters?status=GOOD").is(http.StatusUnprocessableEntity)
}

// Every page that shows the state of VMs says when there is no news of their
// cluster, and how old it is. No cluster is asked.
func TestLastKnownIsSaid(t *testing.T) {
	s, ctx := newShop(t), t.Context()
	m := s.vm(s.test, 1, domain.StateRunning)
	bad := s.vm(s.test, 2, domain.StateErrorUnschedulable)
	s.db.Ent.VM.UpdateOne(bad).SetHealth(entvm.HealthBad).ExecX(ctx)
	s.db.Ent.Cluster.UpdateOneID(id(s.test.cluster)).SetVMCount(2).ExecX(ctx)
	pages := map[string]string{
		"home": "/", "explorer": "/explorer", "system": "/systems/" + s.test.system, "service": "/services/" + s.test.service,
		"VM": "/vms/" + m.ID.String(), "search": "/search?q=shop-redis", "request": "/requests/1",
	}
	for name, path := range pages {
		if page := s.dev.get(path); page.Status == http.StatusOK && page.has("[data-stale]") {
			t.Errorf("%s: it is fresh", name)
		}
	}
	heard := time.Now().Add(-17 * time.Minute)
	for how, change := range map[string]func(){
		"silent": func() { s.db.Ent.Cluster.UpdateOneID(id(s.test.cluster)).SetHeardAt(heard).ExecX(ctx) },
		"unreachable": func() {
			s.db.Ent.Cluster.UpdateOneID(id(s.test.cluster)).SetHeardAt(heard).SetStatus("UNREACHABLE").ExecX(ctx)
		},
		"off": func() {
			s.db.Ent.Cluster.UpdateOneID(id(s.test.cluster)).SetHeardAt(heard).SetStatus("HEALTHY").SetEnabled(false).ExecX(ctx)
		},
	} {
		change()
		for name, path := range pages {
			page := s.dev.get(path)
			if page.Status != http.StatusOK && name == "request" {
				continue // there is no such ticket in this shop
			}
			note := page.text("[data-stale]")
			if !strings.Contains(note, "c-test") || !strings.Contains(note, "17 min ago") || !page.has("[data-stale] time") {
				t.Errorf("%s, %s: %q", how, name, note)
			}
		}
	}
	if note := s.outsider.get("/").text("[data-stale]"); note != "" {
		t.Errorf("who has no VM there is told %q", note)
	}
}
