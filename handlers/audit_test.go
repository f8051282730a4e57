package handlers_test

import (
	"archive/zip"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// The filters of the audit log look at the whole range, and the export has what
// the filter selects.
func TestAuditFiltersAndExport(t *testing.T) {
	p := newPortal(t)
	b := p.as(p.person("avi", domain.Binding{Role: domain.RoleAuditor}))
	for _, e := range []struct {
		who string
		e   audit.Entry
	}{
		{"ann", audit.Entry{Action: "vm.order", ResourceType: "vm", ResourceID: "v1", ResourceName: "shop-redis-01", Details: map[string]any{"operation": "restart"}}},
		{"ann", audit.Entry{Action: "vm.order", ResourceType: "vm", ResourceID: "v2", ResourceName: "shop-redis-02", Refused: true, Reason: "It is frozen."}},
		{"bob", audit.Entry{Action: "system.create", ResourceType: "system", ResourceID: "s1", ResourceName: "=shop"}},
	} {
		if err := audit.Record(t.Context(), p.db.Ent, domain.Actor{Username: e.who, IP: "192.0.2.7"}, e.e); err != nil {
			t.Fatal(err)
		}
	}
	today := time.Now().UTC().Format(time.DateOnly)
	tomorrow := time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	for query, want := range map[string]string{
		"": "3 2 1", "q=FROZEN": "2", "q=restart": "1", "q=192.0.2.7": "3 2 1", "result=refused": "2", "type=vm&id=v1": "1", "type=vm": "2 1", "who=bob": "3",
		"from=" + today + "&to=" + today: "3 2 1", "from=" + tomorrow: "", "to=2020-01-01": "", "to=" + url.QueryEscape(time.Now().UTC().Add(time.Hour).Format(time.RFC3339)): "3 2 1",
		"q=%00": "", "result=great": "",
	} {
		page := b.get(paths.Audit + "?" + query).is(http.StatusOK)
		var got []string
		for _, row := range page.find("#log tbody td.num") {
			got = append(got, strings.TrimSpace(text(row)))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("?%s: entries %v, want %q", query, got, want)
		}
	}
	for _, query := range []string{"from=yesterday", "to=2026-13-01", "after=x"} {
		b.get(paths.Audit + "?" + query).is(http.StatusUnprocessableEntity)
	}

	// From an entry to the history of what it is about, and back.
	open := b.get(paths.Audit + "?who=ann&open=1").is(http.StatusOK)
	history := b.get(linkTo(open, "type=vm")).is(http.StatusOK).wants("History of the vm shop-redis-01 v1")
	if !history.has("input[type=hidden][name=id][value=v1]") || history.attr("#log p a", "href") != paths.Audit {
		t.Errorf("history: %s", history.main())
	}

	// The link of the page downloads what the page shows, and tells on who does.
	page := b.get(paths.Audit + "?who=ann&result=refused&open=2")
	link := linkTo(page, "format=csv")
	if strings.Contains(link, "open=") {
		t.Errorf("link %s", link)
	}
	before := p.db.Ent.AuditLog.Query().CountX(t.Context())
	b.do(http.MethodHead, link, "", nil).is(http.StatusOK)
	if p.db.Ent.AuditLog.Query().CountX(t.Context()) != before {
		t.Error("to ask for the headers is no export")
	}
	got := b.get(link).is(http.StatusOK)
	if got.Header.Get("Content-Type") != "application/zip" || !strings.HasPrefix(got.Header.Get("Content-Disposition"), `attachment; filename="shepherd-audit-`) {
		t.Errorf("%v", got.Header)
	}
	z, err := zip.NewReader(strings.NewReader(got.Body), int64(len(got.Body)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	table, err := io.ReadAll(f)
	if lines := strings.Split(string(table), "\n"); err != nil || len(lines) != 3 || !strings.Contains(lines[1], "It is frozen.") {
		t.Errorf("%q, %v", table, err)
	}
	kept := p.db.Ent.AuditLog.Query().Where(auditlog.Actor("avi"), auditlog.ActionHasPrefix("audit.")).AllX(t.Context())
	if len(kept) != 2 || kept[0].IPAddress != "127.0.0.1" || kept[0].RequestID == "" {
		t.Errorf("on record: %v", kept)
	}
	b.get(paths.AuditExport + "?format=xls").is(http.StatusUnprocessableEntity)
	b.get(paths.AuditExport + "?format=csv&from=x").is(http.StatusUnprocessableEntity)
}

// linkTo is the first link of the log whose address has a text in it.
func linkTo(p *page, part string) string {
	for _, a := range p.find("#log a") {
		if href := attribute(a, "href"); strings.Contains(href, part) {
			return href
		}
	}
	p.t.Fatalf("%s: no link to %s", p.what, part)
	return ""
}

// The page of a thing leads those who read the log to its history, and nobody else.
func TestHistoryOfThings(t *testing.T) {
	s := newShop(t)
	n := s.asked(s.test)
	own := s.objects()
	for kind, page := range map[string]string{
		"system": paths.System(own["{system}"]), "service": paths.Service(own["{service}"]), "vm": paths.VM(own["{vm}"]),
		"cluster": paths.Cluster(own["{cluster}"]), "ticket": paths.Request(n),
	} {
		id := page[strings.LastIndex(page, "/")+1:]
		link := func(b *browser) bool {
			return strings.Contains(b.get(page).is(http.StatusOK).Body, html.EscapeString(paths.AuditOf(kind, id)))
		}
		if !link(s.auditor) {
			t.Errorf("%s: no link for the auditor", page)
		}
		if link(s.approver) {
			t.Errorf("%s: a link to a page that is closed", page)
		}
	}
	if got := s.auditor.get(paths.AuditOf("ticket", fmt.Sprint(n))).wants("ticket.submit"); len(got.find("#log tbody tr")) != 1 {
		t.Errorf("history of the ticket: %s", got.main())
	}
}
