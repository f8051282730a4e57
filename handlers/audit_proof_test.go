package handlers_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
	usetoken "kubevirt-shepherd.io/shepherd/internal/usecase/token"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// who is a person of the shop as an actor.
func (s *shop) who(name string) domain.Actor {
	s.t.Helper()
	p, err := s.accounts.PersonByUsername(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := s.accounts.Actor(s.t.Context(), p.ID, "192.0.2.1", "r1")
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// Every action that changes something is done here once, by the use cases: each
// entry tells what was and what is, and nothing of it is a secret.
func TestEveryUpdateTellsWhatChanged(t *testing.T) {
	s := newShop(t)
	ctx, root, dev, boss := t.Context(), s.who("admin"), s.who("dev"), s.who("boss")
	const secret = "hunter2-is-a-secret"
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	get := func(id string, err error) string {
		t.Helper()
		ok(err)
		return id
	}

	sys := get(s.Systems.Create(ctx, dev, system.Input{Name: "bank", Namespace: "shop-test"}))
	dev = s.who("dev")
	ok(s.Systems.UpdateDocumentation(ctx, dev, sys, "# Bank"))
	svc := get(s.Services.Create(ctx, dev, service.Input{SystemID: sys, Name: "vault"}))
	ok(s.Services.UpdateDocumentation(ctx, dev, svc, "# Vault"))
	ok(s.Services.Delete(ctx, dev, svc, "vault"))
	ok(s.accounts.Transfer(ctx, root, sys, "dev", "outsider", true))
	ok(s.accounts.Transfer(ctx, root, sys, "outsider", "dev", false))
	ok(s.Systems.Delete(ctx, dev, sys, "bank"))

	// Tickets: approved with a change, rejected, withdrawn, expired, tried again.
	decide := func(approve bool) int {
		t.Helper()
		n := s.asked(s.test)
		v, err := s.Approval.Ticket(ctx, boss, n)
		ok(err)
		d := v.Unchanged(s.test.cluster)
		d.Reason = "Too large for a test."
		if d.Approve = approve; approve {
			d.Count = 1
		}
		ok(s.Approval.Decide(ctx, boss, n, d))
		return n
	}
	decide(false)
	n := decide(true)
	s.db.Ent.DomainEvent.Update().Where(domainevent.TicketID(n)).SetStatus(domainevent.StatusFAILED).ExecX(ctx)
	s.db.Ent.ApprovalTicket.UpdateOneID(n).SetStatus(approvalticket.StatusFAILED).ExecX(ctx)
	ok(s.Approval.Retry(ctx, dev, n))
	ok(s.Approval.Withdraw(ctx, dev, s.asked(s.test)))
	_, err := s.db.Pool.Exec(ctx, `UPDATE approval_tickets SET expires_at = now() - interval '1 day' WHERE id = $1`, s.asked(s.test))
	ok(err)
	if n, err := s.Approval.Expire(ctx); err != nil || n != 1 {
		t.Fatal(n, err)
	}

	// Clusters and namespaces.
	ok(s.Clusters.SetEnabled(ctx, root, s.test.cluster, false))
	ok(s.Clusters.SetEnabled(ctx, root, s.test.cluster, true))
	ok(s.Clusters.SetDrained(ctx, root, s.test.cluster, true))
	ok(s.Clusters.SetDrained(ctx, root, s.test.cluster, false))
	ok(s.Clusters.Update(ctx, root, s.test.cluster, "", cluster.Settings{Place: "Berlin", Weight: 50, Hardware: []string{"sriov"}}))
	upload := func() string {
		t.Helper()
		draft := get(s.Clusters.ReadUpload(ctx, root, "c.yaml", goodKubeconfig()))
		d, err := s.Clusters.Draft(ctx, root, draft)
		ok(err)
		_, err = s.Clusters.Preflight(ctx, root, draft, d.Contexts[0].Name)
		ok(err)
		return draft
	}
	d, err := s.Clusters.Draft(ctx, root, upload())
	ok(err)
	east := get(s.Clusters.Add(ctx, root, d.ID, cluster.Input{Context: d.Contexts[0].Name, Name: "east", Environment: domain.Test}))
	ok(s.Clusters.ReplaceCredential(ctx, root, east, upload(), d.Contexts[0].Name))
	s.db.Ent.Cluster.UpdateOneID(id(east)).SetStatus(entcluster.StatusUNREACHABLE).ExecX(ctx)
	ok(s.Clusters.CheckDue(ctx))
	free := get(s.Clusters.RegisterNamespace(ctx, root, cluster.Registration{ClusterID: east, Name: "free", Environment: domain.Test}))
	s.play.spaces = func(string) (domain.NamespaceState, error) {
		return domain.NamespaceState{Presence: domain.PresenceMissing}, nil
	}
	ok(s.Clusters.CheckNamespace(ctx, root, free))
	ok(s.Clusters.UnregisterNamespace(ctx, root, free))

	// A cluster that was rebuilt, and one that lost its VMs.
	s.person("olga", domain.Binding{Role: domain.RoleAdmin})
	s.leads("uid-rebuilt")
	if waits, err := s.Clusters.ProposeCredential(ctx, root, east, upload(), d.Contexts[0].Name, "It burned."); err != nil || !waits {
		t.Fatal(waits, err)
	}
	waiting := s.db.Ent.ClusterReplacement.Query().OnlyIDX(ctx).String()
	ok(s.Clusters.AnswerReplacement(ctx, s.who("olga"), east, waiting, cluster.Confirm))
	s.db.Ent.VM.Update().Where(entvm.ClusterID(id(s.test.cluster))).SetUID("uid-before").SaveX(ctx)
	// The script answers for every cluster with one identity.
	s.db.Ent.Cluster.UpdateOneID(id(s.test.cluster)).SetStatus(entcluster.StatusHEALTHY).ClearStatusReason().ClearQuarantinedAt().ExecX(ctx)
	s.quarantine(id(s.test.cluster))()
	ended, err := s.VMs.AcceptQuarantine(ctx, root, s.test.cluster, vm.Acceptance{
		Group: domain.FindingGone, Digest: s.digest(id(s.test.cluster), domain.FindingGone), Reason: "The backup of Monday.",
	})
	if err != nil || !ended {
		t.Fatal(ended, err)
	}

	// People and groups.
	p, token, err := s.accounts.Invite(ctx, root, account.NewUser{Username: "newcomer"})
	ok(err)
	get(s.accounts.Setup(ctx, token, secret+"-long-enough", "192.0.2.2", "r2"))
	role := domain.Binding{Role: domain.RoleApprover, Environment: domain.Prod}
	ok(s.accounts.Bind(ctx, root, p.ID, role))
	ok(s.accounts.Unbind(ctx, root, p.ID, role))
	ok(s.accounts.SetDisabled(ctx, root, p.ID, true))
	ok(s.accounts.SetDisabled(ctx, root, p.ID, false))
	ok(s.accounts.SetLanguage(ctx, root, "zh-CN"))
	ok(s.accounts.EndSessions(ctx, root, p.ID))
	group := get(s.accounts.CreateGroup(ctx, root, account.GroupInput{Name: "team"}))
	ok(s.accounts.UpdateGroup(ctx, root, group, account.GroupInput{Name: "team-a"}))
	ok(s.accounts.AddToGroup(ctx, root, group, "newcomer"))
	ok(s.accounts.BindGroup(ctx, root, group, role))
	ok(s.accounts.UnbindGroup(ctx, root, group, role))
	ok(s.accounts.RemoveFromGroup(ctx, root, group, p.ID))
	ok(s.accounts.DeleteGroup(ctx, root, group))

	bot := get(s.accounts.CreateServiceAccount(ctx, root, account.NewServiceAccount{Username: "ci-bot", Description: "Builds.", Owner: "dev"}))
	ok(s.accounts.UpdateServiceAccount(ctx, root, bot, account.NewServiceAccount{Description: "Builds.", Owner: "boss"}))
	_, shown, err := s.Tokens.Create(ctx, root, bot, usetoken.New{Name: "t", Scopes: []domain.Scope{domain.ScopeRead}, Life: time.Hour})
	ok(err)
	ok(s.Tokens.Revoke(ctx, root, s.db.Ent.AccessToken.Query().OnlyIDX(ctx).String(), ""))

	ok(s.Audit.SaveFilter(ctx, root, "mine", "q=x", false))
	filters, err := s.Audit.SavedFilters(ctx, root)
	ok(err)
	ok(s.Audit.DeleteFilter(ctx, root, filters[0].ID))

	seen := map[string]bool{}
	for _, e := range s.db.Ent.AuditLog.Query().AllX(ctx) {
		if e.Result != auditlog.ResultDone {
			continue
		}
		seen[e.Action] = seen[e.Action] || len(e.Changes) > 0
		if slices.Contains(audit.Updates(), e.Action) && len(e.Changes) == 0 {
			t.Errorf("%s of %s does not tell what changed", e.Action, e.ResourceName)
		}
		if text := fmt.Sprint(e.Changes, e.Details); strings.Contains(text, secret) || strings.Contains(text, token) || strings.Contains(text, shown) || strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("%s tells a secret: %s", e.Action, text)
		}
	}
	for _, name := range audit.Updates() {
		if !seen[name] {
			t.Errorf("%s was never done here: add it to this test", name)
		}
	}
	approved := s.db.Ent.AuditLog.Query().Where(auditlog.Action("ticket.approve")).OnlyX(ctx).Changes
	if got := slices.Sorted(maps.Keys(approved)); !slices.Equal(got, []string{"cluster", "count", "status"}) || approved["count"].Before != float64(2) || approved["count"].After != float64(1) || approved["cluster"].After != "c-test" {
		t.Errorf("approved: %v", approved)
	}
	if c := s.db.Ent.AuditLog.Query().Where(auditlog.Action("system.update")).OnlyX(ctx).Changes; len(c) != 1 || c["documentation"] != (domain.Change{After: "# Bank"}) {
		t.Errorf("documentation: %v", c)
	}
}

// What somebody was refused is on record, by name, and once a minute.
func TestRefusedDeedsAreOnRecord(t *testing.T) {
	s := newShop(t)
	refused := func() []*ent.AuditLog {
		return s.db.Ent.AuditLog.Query().Where(auditlog.ResultEQ(auditlog.ResultRefused)).Order(ent.Asc(auditlog.FieldID)).AllX(t.Context())
	}
	n := s.asked(s.test)
	ticket := fmt.Sprintf("/approvals/%d", n)
	s.dev.post(ticket, "version", "1").is(http.StatusForbidden)     // her own
	s.outsider.post(ticket, "version", "1").is(http.StatusNotFound) // does not even know of it
	s.prodBoss.post(ticket, "version", "1").is(http.StatusNotFound) // does not even know of it
	for range 5 {
		s.viewer.post("/systems/"+s.test.system+"/delete", "name", "shop").is(http.StatusForbidden)
	}
	missing := uuid.NewString()
	s.outsider.post("/vms/"+missing+"/power", "operation", "stop").is(http.StatusNotFound)
	s.viewer.get("/audit/export?format=csv").is(http.StatusForbidden)
	s.viewer.get("/audit").is(http.StatusForbidden) // a page is no deed
	s.viewer.with("Dry-Run", "All").post("/systems/"+s.test.system+"/services", "name", "x").is(http.StatusForbidden)
	s.anonymous().post("/systems/" + s.test.system + "/delete")

	var got []string
	for _, e := range refused() {
		got = append(got, fmt.Sprintf("%s %s %s %s %s", e.Actor, e.Action, e.ResourceType, e.ResourceName, e.Details["code"]))
		if e.SystemID != "" || e.IPAddress != "127.0.0.1" || e.RequestID == "" || e.ActorID == "" {
			t.Errorf("%v", e)
		}
	}
	want := []string{
		"dev ticket.review ticket " + domain.TicketName(n) + " FORBIDDEN", "outsider ticket.review ticket " + domain.TicketName(n) + " NOT_FOUND",
		"prod-boss ticket.review ticket " + domain.TicketName(n) + " NOT_FOUND", "viewer system.delete system shop FORBIDDEN",
		"outsider vm.power vm  NOT_FOUND", "viewer audit.export audit  FORBIDDEN",
	}
	if !slices.Equal(got, want) {
		t.Errorf("on record:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Nobody learns by the log of a thing that another one was refused.
	s.dev.get("/").is(http.StatusOK)
	s.auditor.get("/audit?result=refused").is(http.StatusOK).wants("system.delete", "viewer")
}

// Failed sign-ins are on record, and counted when there are many.
func TestRefusedSignInsAreOnRecord(t *testing.T) {
	var log *audit.Log
	p := newPortal(t, func(c *handlers.Config) {
		log = c.Audit
		c.Accounts.Denials = &c.Audit.Denials
	})
	p.member("alice")
	for range 3 {
		p.anonymous().post("/login", "username", "alice", "password", "wrong")
		p.anonymous().post("/login", "username", "nobody", "password", "wrong")
	}
	rows := p.db.Ent.AuditLog.Query().Where(auditlog.Action("session.sign_in")).AllX(t.Context())
	if len(rows) != 2 || rows[0].Actor != "anonymous" || rows[0].ResourceName != "alice" || rows[1].ResourceName != "" || rows[0].IPAddress != "127.0.0.1" {
		t.Fatalf("%v", rows)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	log.Run(ctx) // the last thing that a process does
	tries := 0.0
	for _, e := range p.db.Ent.AuditLog.Query().Where(auditlog.IDGT(rows[1].ID), auditlog.Action("session.sign_in")).AllX(t.Context()) {
		tries += e.Details["tries"].(float64)
	}
	if tries != 4 {
		t.Errorf("%v tries are told of", tries)
	}
}

// Whoever sends an address of his own does not get it into the log: only what
// the trusted proxy says counts, and of that the last part.
func TestSpoofedAddresses(t *testing.T) {
	proxy := func(cidr string) func(*handlers.Config) {
		return func(c *handlers.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(cidr)} }
	}
	for name, c := range map[string]struct {
		config []func(*handlers.Config)
		header string
		want   string
	}{
		"no proxy is trusted":        {nil, "6.6.6.6", "127.0.0.1"},
		"another proxy is trusted":   {[]func(*handlers.Config){proxy("10.0.0.0/8")}, "6.6.6.6", "127.0.0.1"},
		"the proxy adds the address": {[]func(*handlers.Config){proxy("127.0.0.0/8")}, "6.6.6.6, 203.0.113.9", "203.0.113.9"},
		"two proxies":                {[]func(*handlers.Config){proxy("127.0.0.0/8")}, "6.6.6.6, 203.0.113.9, 127.0.0.5", "203.0.113.9"},
		"rubbish":                    {[]func(*handlers.Config){proxy("127.0.0.0/8")}, "6.6.6.6, <script>", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPortal(t, c.config...)
			p.member("alice")
			p.anonymous().with("X-Forwarded-For", c.header, "X-Real-IP", "6.6.6.6", "Forwarded", "for=6.6.6.6").
				post("/login", "username", "alice", "password", password).is(http.StatusSeeOther)
			e := p.db.Ent.AuditLog.Query().Where(auditlog.Action("session.sign_in")).OnlyX(t.Context())
			if e.IPAddress == "6.6.6.6" || c.want != "" && e.IPAddress != c.want {
				t.Errorf("address %q, want %q", e.IPAddress, c.want)
			}
		})
	}
}

// A filter is saved by its name, applied by a link, and forgotten.
func TestSavedFilterOnThePage(t *testing.T) {
	s := newShop(t)
	page := s.auditor.get("/audit?result=refused&q=shop&open=1&after=9").is(http.StatusOK)
	query := page.attr("#log [name=query]", "value")
	if query != "q=shop&result=refused" {
		t.Fatalf("query %q", query)
	}
	if s.auditor.get("/audit").is(http.StatusOK).has("#log [name=query]") {
		t.Error("nothing is selected, and it can be saved")
	}
	saved := s.auditor.post("/audit/filters", "name", "Refused <b>", "shared", "yes", "query", query+"&evil=javascript:x").is(http.StatusSeeOther)
	if saved.Location != "/audit?"+query {
		t.Errorf("leads to %s", saved.Location)
	}
	shown := s.auditor.follow(saved).is(http.StatusOK).wants("Refused <b>", "The filter is saved")
	if shown.attr("#log a[aria-current=page]", "href") != "/audit?"+query {
		t.Errorf("%s", shown.html("#log"))
	}
	again := s.admin.post("/audit/filters", "name", "Refused <b>", "shared", "yes", "query", "who=dev").is(http.StatusUnprocessableEntity)
	if !again.has("#name-error") || again.attr("#name", "value") != "Refused <b>" || again.attr("#log [name=query]", "value") != "who=dev" || !again.has("[name=shared][checked]") || again.attr("#who", "value") != "dev" {
		t.Errorf("a name that is taken: %s", again.html("#log"))
	}
	list := s.admin.get("/audit").is(http.StatusOK).wants("Refused <b>", "by auditor")
	remove := deletion(list)
	s.dev.post(remove).is(http.StatusForbidden)
	s.follow(s.admin, remove)
	if deletion(s.auditor.get("/audit").is(http.StatusOK)) != "" {
		t.Error("it is still there")
	}
	// On behalf of somebody.
	s.asked(s.test)
	if err := audit.Record(t.Context(), s.db.Ent, domain.Actor{Username: "shepherd", OnBehalfOf: domain.Principal{ID: "x", Username: "dev"}, Via: domain.Via{Kind: domain.ViaJob, ID: "e1", Name: "VM_CREATE"}},
		audit.Entry{Action: "vm.create", ResourceType: "vm", ResourceID: "v", ResourceName: "shop-redis-01", Details: map[string]any{"ticket": 7}, After: map[string]any{"state": "Running"}}); err != nil {
		t.Fatal(err)
	}
	e := s.db.Ent.AuditLog.Query().Where(auditlog.Action("vm.create")).OnlyX(t.Context())
	open := s.auditor.get(fmt.Sprintf("/audit?for=dev&open=%d", e.ID)).is(http.StatusOK).wants("for dev", "the job VM_CREATE", "TKT-7", "+ Running")
	if rows := open.find("#log tbody td.num"); len(rows) != 1 || linkTo(open, "/requests/7") == "" {
		t.Errorf("%d rows, %s", len(rows), open.html("#log"))
	}
}

// deletion is where the page of the log deletes the first saved filter.
func deletion(p *page) string {
	for _, f := range p.find("#log form") {
		if action := attribute(f, "action"); strings.HasSuffix(action, "/delete") {
			return action
		}
	}
	return ""
}

func (s *shop) follow(b *browser, path string) {
	s.t.Helper()
	b.follow(b.post(path).is(http.StatusSeeOther)).is(http.StatusOK)
}

// The button of a ticket gives its evidence, to those who may have it.
func TestEvidenceOnThePages(t *testing.T) {
	s := newShop(t)
	n := s.asked(s.test)
	request, ticket := fmt.Sprintf("/requests/%d", n), fmt.Sprintf("/approvals/%d", n)
	for name, c := range map[string]struct {
		b    *browser
		page string
		may  bool
	}{
		"owner": {s.dev, request, false}, "viewer": {s.viewer, request, false}, "approver": {s.approver, request, true}, "approver deciding": {s.approver, ticket, true},
		"auditor": {s.auditor, request, true}, "admin": {s.admin, ticket, true},
	} {
		if got := c.b.get(c.page).is(http.StatusOK); got.has("form#evidence") != c.may || got.has("button[form=evidence]") != c.may {
			t.Errorf("%s: the button is there: %v", name, got.has("form#evidence"))
		}
	}
	got := s.approver.post(paths.Evidence(n)).is(http.StatusOK)
	if got.Header.Get("Content-Type") != "application/zip" || !strings.Contains(got.Header.Get("Content-Disposition"), "shepherd-evidence-"+domain.TicketName(n)) {
		t.Errorf("%v", got.Header)
	}
	r, err := audit.VerifyPack(bytes.NewReader([]byte(got.Body)), int64(len(got.Body)), s.Audit.PublicKey())
	if err != nil || r.Entries != 2 || r.By != "boss" || time.Since(r.At) > time.Minute {
		t.Errorf("%+v, %v", r, err)
	}
	s.dev.post(paths.Evidence(n)).is(http.StatusForbidden)
	s.prodBoss.post(paths.Evidence(n)).is(http.StatusNotFound)
	if e := s.db.Ent.AuditLog.Query().Where(auditlog.Action("ticket.export"), auditlog.ResultEQ(auditlog.ResultDone)).OnlyX(t.Context()); e.Actor != "boss" || e.ResourceID != fmt.Sprint(n) {
		t.Errorf("%v", e)
	}
}
