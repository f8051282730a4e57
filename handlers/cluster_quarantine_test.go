package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/quarantinefinding"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// quarantined is a portal with a cluster that went back in time: n VMs are back
// that Shepherd never knew. list is what its watcher says next.
func quarantined(t *testing.T, n int) (p *portal, c *ent.Cluster, list func(names ...string)) {
	p = newPortal(t, func(c *handlers.Config) {
		c.VMs.TellAdmins, c.Clusters.TellAdmins = c.Accounts.TellAdmins, c.Accounts.TellAdmins
	})
	c = p.cluster("east")
	list = p.quarantine(c.ID)
	if n > 0 {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("vm-%03d", i)
		}
		list(names...)
	}
	return p, c, list
}

// quarantine puts a cluster into quarantine. What it answers with takes in a
// complete list of its VMs.
func (p *portal) quarantine(id uuid.UUID) (list func(names ...string)) {
	p.t.Helper()
	ctx := p.t.Context()
	err := p.db.InTx(ctx, func(tx *ent.Tx) error {
		return cluster.Quarantine(ctx, tx, p.VMs.TellAdmins, tx.Cluster.GetX(ctx, id), domain.Problem{
			Code: apperr.ErrClusterRestored, Params: map[string]any{"cluster": "east", "before": 905, "now": 50},
		})
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return func(names ...string) {
		p.t.Helper()
		all := provider.Complete{VMs: map[provider.Ref]bool{}, ResourceVersion: "50"}
		for _, name := range names {
			all.VMs[provider.Ref{Namespace: "team-a", Name: name, UID: "uid-" + name}] = true
		}
		if err := p.VMs.Synced(ctx, id.String(), all); err != nil {
			p.t.Fatal(err)
		}
	}
}

// cluster stores a cluster that nothing answers for.
func (p *portal) cluster(name string) *ent.Cluster {
	p.t.Helper()
	return p.db.Ent.Cluster.Create().SetName(name).SetEnvironment("test").SetCreatedBy("root").SetEncryptedKubeconfig([]byte("x")).SetEncryptionKeyID("k").
		SetAPIServerURL("https://" + name).SetIdentityUID(name).SetStatus("HEALTHY").SaveX(p.t.Context())
}

// The page says why, shows what is different page by page, and a group is
// accepted with a reason, as it was seen.
func TestQuarantinePage(t *testing.T) {
	p, c, list := quarantined(t, 60)
	admin := p.admin()
	at := "/clusters/" + c.ID.String() + "/quarantine"
	first := admin.get(at).is(http.StatusOK).wants("east went back in time", "905", "Back again", "60", "vm-000", "vm-049", "Not known")
	if !strings.Contains(first.Body, "/quarantine/accept?group=back") || !strings.Contains(first.Body, "/quarantine/read") {
		t.Error("an admin is not offered what he may do")
	}
	if strings.Contains(first.main(), "vm-050") {
		t.Error("the first page has all rows")
	}
	next := first.attr(`a[rel=next]`, "href")
	admin.get(next).is(http.StatusOK).wants("vm-050", "vm-059")
	admin.get(at + "?group=gone").is(http.StatusOK).wants("Nothing is in this group")

	ask := admin.get(at+"/accept?group=back").is(http.StatusOK).wants("Accept that 60 VMs are back", "Shepherd deletes none of them", "the quarantine ends with it")
	digest := ask.attr(`input[name=digest]`, "value")
	admin.post(at+"/accept", "group", "back", "digest", digest, "reason", "").is(http.StatusUnprocessableEntity).wants("Accept that 60 VMs are back")
	admin.post(at+"/accept", "group", "other", "digest", digest, "reason", "x").is(http.StatusUnprocessableEntity)

	// Meanwhile a list with one more came: what was seen is not what is there.
	list("vm-000", "vm-001", "one-more")
	changed := admin.post(at+"/accept", "group", "back", "digest", digest, "reason", "the backup of Monday").is(http.StatusConflict).
		wants("The differences have changed meanwhile", "Accept that 3 VMs are back", "the backup of Monday")
	if p.db.Ent.PendingAdoption.Query().CountX(t.Context()) != 0 {
		t.Error("something was accepted")
	}
	done := admin.post(at+"/accept", "group", "back", "digest", changed.attr(`input[name=digest]`, "value"), "reason", "the backup of Monday")
	admin.follow(done).wants("The quarantine has ended")
	if n := p.db.Ent.PendingAdoption.Query().CountX(t.Context()); n != 3 {
		t.Errorf("%d wait for adoption", n)
	}
	if p.db.Ent.QuarantineFinding.Query().Where(quarantinefinding.ClusterID(c.ID)).ExistX(t.Context()) {
		t.Error("findings are left")
	}
	admin.get(at).is(http.StatusOK).wants("east is not in quarantine")
	admin.post(at+"/accept", "group", "back", "digest", digest, "reason", "again").is(http.StatusConflict).wants("is not in quarantine")
	admin.follow(admin.get(at + "/accept?group=back")).wants("east is not in quarantine")
}

// Only admins accept, and show again who they are. Others who may see the
// cluster see the page; the rest do not know of it.
func TestQuarantineRights(t *testing.T) {
	p, c, _ := quarantined(t, 2)
	at := "/clusters/" + c.ID.String() + "/quarantine"
	approver := p.as(p.person("ann", domain.Binding{Role: domain.RoleApprover}))
	if page := approver.get(at).is(http.StatusOK).wants("vm-000"); strings.Contains(page.Body, "/quarantine/accept") || strings.Contains(page.Body, "/quarantine/read") {
		t.Error("an approver is offered to accept")
	}
	approver.post(at+"/accept", "group", "back", "digest", "x", "reason", "x").is(http.StatusForbidden)
	approver.post(at + "/read").is(http.StatusForbidden)
	p.as(p.person("dev")).get(at).is(http.StatusNotFound)

	admin := p.session(p.person("root", domain.Binding{Role: domain.RoleAdmin}), map[string]any{"sure": time.Now().Add(-time.Hour).Unix()})
	asked := admin.post(at+"/accept", "group", "back", "digest", "x", "reason", "typed before").is(http.StatusSeeOther)
	if to := asked.Header.Get("Location"); !strings.HasPrefix(to, "/account/confirm") {
		t.Errorf("led to %q", to)
	}
	admin.get(at+"/accept").is(http.StatusOK).wants("typed before", "Accept that 2 VMs are back") // the way back
}

// A false alarm is ended; admins read in their inbox that it began and ended.
func TestQuarantineFalseAlarm(t *testing.T) {
	p, c, list := quarantined(t, 0)
	u := p.person("root", domain.Binding{Role: domain.RoleAdmin})
	admin := p.as(u)
	at := "/clusters/" + c.ID.String() + "/quarantine"
	admin.get(at).is(http.StatusOK).wants("Not compared yet")
	admin.post(at+"/accept", "group", "", "digest", "", "reason", "too early").is(http.StatusConflict).wants("The quarantine cannot end yet")
	list()
	admin.get(at).is(http.StatusOK).wants("Nothing is different", "End the quarantine")
	admin.get(at + "/accept").is(http.StatusOK).wants("What was approved goes on")
	admin.follow(admin.post(at+"/accept", "group", "", "digest", "", "reason", "etcd was compacted")).wants("The quarantine has ended")
	if n := p.db.Ent.Notification.Query().CountX(t.Context()); n != 1 { // the account is younger than the beginning
		t.Errorf("%d messages", n)
	}
	admin.get("/notifications").is(http.StatusOK).wants("root ended the quarantine of east")
	p.db.Ent.Notification.Create().SetUserID(u.ID).SetKind(string(notify.ClusterQuarantined)).
		SetParams(map[string]any{"cluster": "east", "cluster_id": c.ID.String(), "code": apperr.ErrClusterRestored}).ExecX(t.Context())
	inbox := admin.get("/notifications").is(http.StatusOK).wants("The cluster east is in quarantine", "went back in time")
	if !inbox.has("a[href=" + at + "]") {
		t.Error("the message does not lead to the quarantine")
	}
}

// While another cluster answers, nothing can be accepted.
func TestQuarantineOfImpostor(t *testing.T) {
	p, c, _ := quarantined(t, 2)
	p.db.Ent.Cluster.UpdateOneID(c.ID).SetStatus("UNHEALTHY").SetStatusReason(domain.Problem{Code: apperr.ErrClusterIdentity}).ExecX(t.Context())
	admin, at := p.admin(), "/clusters/"+c.ID.String()+"/quarantine"
	page := admin.get(at).is(http.StatusOK).wants("Another cluster answers there now")
	if strings.Contains(page.Body, "/quarantine/accept") {
		t.Error("accepting is offered")
	}
	admin.post(at+"/accept", "group", "back", "digest", p.digest(c.ID, domain.FindingBack), "reason", "x").is(http.StatusConflict)
}

func (p *portal) digest(id uuid.UUID, g domain.FindingGroup) string {
	return p.db.Ent.Cluster.GetX(p.t.Context(), id).QuarantineReport.Groups[g].Digest
}

// The cluster is read again when somebody asks, and says why it cannot be.
func TestQuarantineReadAgain(t *testing.T) {
	p, c, _ := quarantined(t, 2)
	admin, at := p.admin(), "/clusters/"+c.ID.String()+"/quarantine"
	p.play.list = func(opt provider.ListOptions) (*domain.VMList, error) {
		if opt.Selector != domain.ManagedSelector {
			t.Errorf("selector %q", opt.Selector)
		}
		v := &domain.VM{Namespace: "team-a", Name: "page-" + opt.Continue, UID: "uid" + opt.Continue}
		if opt.Continue == "" {
			return &domain.VMList{Items: []*domain.VM{v}, ResourceVersion: "60", Continue: "2"}, nil
		}
		return &domain.VMList{Items: []*domain.VM{v}, ResourceVersion: "60"}, nil
	}
	admin.follow(admin.post(at+"/read")).wants("Compared", "page-2")
	if r := p.db.Ent.Cluster.GetX(t.Context(), c.ID).QuarantineReport; r.Version != 60 || r.Groups[domain.FindingBack].Count != 2 {
		t.Errorf("%+v", r)
	}
	p.play.list = func(provider.ListOptions) (*domain.VMList, error) {
		return nil, apperr.New(apperr.ErrClusterTimeout).With("cluster", "east")
	}
	admin.post(at + "/read").is(http.StatusServiceUnavailable).wants("page-2")
}

// Programs see and accept the same.
func TestQuarantineAPI(t *testing.T) {
	p, c, _ := quarantined(t, 3)
	b, _ := p.program(p.person("root", domain.Binding{Role: domain.RoleAdmin}), domain.ScopeRead, domain.ScopeAdmin)
	at := "/api/v1/clusters/" + c.ID.String() + "/quarantine"
	b.get(at).is(http.StatusOK).wants(`"group":"back"`, `"count":3`, "CLUSTER_RESTORED")
	b.get(at+"/findings?group=back&limit=2").is(http.StatusOK).wants(`"next":"team-a/vm-001~`, "uid-vm-000")
	b.get(at + "/findings").is(http.StatusUnprocessableEntity)
	body, _ := json.Marshal(map[string]string{"group": "back", "digest": p.digest(c.ID, domain.FindingBack), "reason": "the backup of Monday"})
	send := func() *page {
		return b.do(http.MethodPost, at+"/accept", "application/json", strings.NewReader(string(body)))
	}
	if text := send().is(http.StatusOK).Body; strings.Contains(text, "quarantined_at") {
		t.Errorf("not ended: %s", text)
	}
	send().is(http.StatusConflict).wants("NOT_QUARANTINED")
}
