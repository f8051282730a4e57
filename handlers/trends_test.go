package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// TestTrends: everybody has the page, with the numbers of what they may see.
func TestTrends(t *testing.T) {
	s := newShop(t)
	ctx := t.Context()
	s.dev.get("/trends").is(http.StatusOK).wants("No VMs have been counted yet", "The next count comes by", "Nobody decided a request")

	for i, state := range []domain.VMState{domain.StateRunning, domain.StateRunning, domain.StateStopped} {
		s.vm(s.test, i+1, state)
	}
	s.vm(s.prod, 1, domain.StateFailed)
	if err := s.Trends.Sample(ctx); err != nil {
		t.Fatal(err)
	}
	n := s.asked(s.prod)
	s.db.Ent.ApprovalTicket.UpdateOneID(n).SetApproverID(uuid.New()).SetApprover("boss").SetDecidedAt(time.Now()).ExecX(ctx)
	s.db.Ent.Cluster.UpdateOneID(id(s.test.cluster)).SetAllocatableCPU(32).SetAllocatableMemoryMib(4096).ExecX(ctx)

	for _, c := range []struct {
		who      string
		b        *browser
		vms      string // in the summary; "" = none counted
		decided  bool
		clusters bool
	}{
		{"admin", s.admin, "4 VMs at the last count: 2 running, 1 off, 0 busy, 1 failing.", true, true},
		{"owner", s.dev, "4 VMs at the last count: 2 running, 1 off, 0 busy, 1 failing.", true, false},
		{"approver of test", s.approver, "3 VMs at the last count: 2 running, 1 off, 0 busy, 0 failing.", false, true},
		{"approver of prod", s.prodBoss, "1 VM at the last count: 0 running, 0 off, 0 busy, 1 failing.", true, true},
		{"outsider", s.outsider, "", false, false},
	} {
		for _, over := range []string{"", "?range=30d", "?range=24h", "?range=%00"} {
			page := c.b.get("/trends" + over).is(http.StatusOK)
			if got := page.text("#vms-says"); got != c.vms || page.has("[aria-describedby=vms-says]") != (c.vms != "") {
				t.Errorf("%s%s: VMs %q, want %q", c.who, over, got, c.vms)
			}
			if page.has("#waits-says") != c.decided || page.has("#capacity") != c.clusters {
				t.Errorf("%s%s: decisions %v, clusters %v", c.who, over, page.has("#waits-says"), page.has("#capacity"))
			}
			if strings.Contains(page.main(), "c-test") != (c.clusters && c.b != s.prodBoss) {
				t.Errorf("%s: the cluster of test in %s", c.who, page.main())
			}
			if c.clusters && c.b != s.prodBoss && !strings.Contains(page.main(), "2 of 32 vCPU, 1 vCPU more if all start") {
				t.Errorf("%s: no capacity in %s", c.who, page.main())
			}
			columns := 30
			if over == "?range=24h" {
				columns = 24
			}
			if rows := page.find("[aria-labelledby=vms] tbody tr"); c.vms != "" && len(rows) != columns {
				t.Errorf("%s%s: the table has %d rows", c.who, over, len(rows))
			}
		}
	}
}
