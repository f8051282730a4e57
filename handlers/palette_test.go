package handlers_test

import (
	"net/http"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// TestPalette: the palette and the search page have the same list, and nobody
// is led to where they may not go.
func TestPalette(t *testing.T) {
	p := newPortal(t)
	admin, dev := p.admin(), p.as(p.person("dev"))
	auditor := p.as(p.person("avi", domain.Binding{Role: domain.RoleAuditor}))

	all := admin.part("palette-hits").get("/search?q=").is(http.StatusOK)
	if got := all.find("[role=option]"); len(got) != 20 || all.has("main") {
		t.Errorf("an admin is offered %d entries: %s", len(got), all.Body)
	}
	for _, c := range []struct {
		who         *browser
		query, want string
	}{
		{admin, "cluster", "Add cluster Clusters"}, {dev, "cluster", ""}, {admin, "new sys", "New system"}, {auditor, "new", "Request VM"},
		{dev, "AUDIT", ""}, {auditor, "audit", "Audit log"}, {dev, "tick", "Requests"}, {dev, "%22%3E%3Cscript%3E", ""},
	} {
		query := strings.ReplaceAll(c.query, " ", "+")
		part := c.who.part("palette-hits").get("/search?q=" + query).is(http.StatusOK)
		var got []string
		for _, n := range part.find("a[role=option]") {
			got = append(got, text(n))
		}
		if strings.Join(got, " ") != c.want || strings.Contains(part.Body, "<script>") {
			t.Errorf("%q gives %q, want %q", c.query, got, c.want)
		}
		page := c.who.get("/search?q=" + query).is(http.StatusOK)
		if links := page.find("main a.rowlink"); len(links) != len(got) {
			t.Errorf("%q: the page has %d entries, the palette %d", c.query, len(links), len(got))
		}
		if c.want == "" && !part.has("[aria-disabled=true]") {
			t.Errorf("%q: the palette does not say that nothing matches", c.query)
		}
	}
}
