package gallery

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/a-h/templ"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views"
)

// hostile is what a person or a cluster could put into any text.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)> {{7*7}}`

// TestFragments renders each part that HTMX may swap on its own: it is exactly
// the element whose id it has, so that a swap replaces it and nothing more than
// what says of itself that it is swapped too.
func TestFragments(t *testing.T) {
	for page, fragments := range map[string][]string{
		"request-new": {"preview", "names"}, "requests": {"requests-list"}, "request": {"timeline"}, "approvals": {"queue"},
		"ticket": {"ticket-form"}, "clusters": {"clusters-list"}, "cluster": {"cluster"}, "cluster-draft": {"checks"}, "audit": {"log"}, "notifications": {"inbox"},
	} {
		for _, id := range fragments {
			var b bytes.Buffer
			if err := templ.RenderFragments(t.Context(), &b, all()[page], id); err != nil {
				t.Fatal(err)
			}
			root, err := html.ParseFragment(&b, &html.Node{Type: html.ElementNode, Data: "body", DataAtom: atom.Body})
			if err != nil {
				t.Fatal(err)
			}
			root = slices.DeleteFunc(root, func(n *html.Node) bool { return n.Type == html.TextNode && strings.TrimSpace(n.Data) == "" })
			root = slices.DeleteFunc(root, func(n *html.Node) bool { return attribute(n, "hx-swap-oob") == "true" && attribute(n, "id") != "" })
			if len(root) != 1 || attribute(root[0], "id") != id {
				t.Errorf("%s: fragment %s is %d elements, not the one of this id", page, id, len(root))
			}
		}
	}
}

// TestHostileText puts markup where people and clusters write.
func TestHostileText(t *testing.T) {
	form := rejectedForm()
	form.Values = views.RequestValues{Service: hostile, Template: hostile, Size: hostile, Count: hostile, Disk: hostile, SSHKeys: "</textarea>" + hostile, Reason: "</textarea>" + hostile}
	form.Errors[0].Message = hostile
	form.Preview.Missing = hostile
	tk := ticketIn(views.TicketConflict)
	tk.Reason, tk.Answer, tk.Conflict.Quote, tk.Spec[2].Value, tk.Clusters[2].Text, tk.What = hostile, "</textarea>"+hostile, hostile, hostile, hostile, hostile
	rq := request()
	rq.Problem.What, rq.Problem.Technical, rq.VMs[0].Name, rq.Decision.Reason, rq.Timeline[0].Text = hostile, hostile, hostile, hostile, hostile
	dr := clusterDraft()
	dr.Contexts[0].Name, dr.File, dr.Missing, dr.Checks[0].Text = hostile, hostile, hostile, hostile
	dr.Refused[0].Name, dr.Refused[0].Server, dr.Refused[0].Commands, dr.Refused[0].Export, dr.KnownName, dr.Known = hostile, hostile, hostile, hostile, hostile, hostile
	au := audit()
	au.Query, au.Rows[2].Changes[0].Before, au.Rows[0].Detail, au.Rows[1].Behind, au.Saved.Filters[0].Name = hostile, hostile, hostile, hostile, hostile
	au.Rows[0].OnHref = "javascript:alert(1)"
	q := queue()
	q.Rows[0].What, q.Query = hostile, hostile

	s := shell("x", "", "admin")
	for name, page := range map[string]templ.Component{
		"form": views.RequestForm(s, form), "ticket": views.Ticket(s, tk), "request": views.RequestPage(s, rq),
		"draft": views.ClusterDraft(s, dr), "audit": views.AuditLog(s, au), "queue": views.Queue(s, q),
	} {
		out := draw(t, page)
		if bytes.Contains(out, []byte("<script>alert")) || bytes.Contains(out, []byte("<img src=x")) || bytes.Contains(out, []byte("javascript:")) {
			t.Errorf("%s: hostile text is markup", name)
		}
		if !bytes.Contains(out, []byte("&lt;script&gt;alert(1)")) {
			t.Errorf("%s: the hostile text is not shown at all", name)
		}
	}
}

// TestRejectedFormKeepsValues: nothing that was typed is lost, and each message
// stands at its control.
func TestRejectedFormKeepsValues(t *testing.T) {
	doc := document(t, draw(t, views.RequestForm(shell("x", "", "developer"), rejectedForm())))
	want := map[string]string{"count": "400", "disk": "100", "ssh_keys": "-----BEGIN OPENSSH PRIVATE KEY-----", "reason": ""}
	invalid := map[string]bool{"count": true, "disk": false, "ssh_keys": true, "reason": true}
	found := 0
	for n := range doc.Descendants() {
		value, ok := want[attribute(n, "name")]
		if !ok || n.Data != "input" && n.Data != "textarea" {
			continue
		}
		found++
		got := attribute(n, "value")
		if n.Data == "textarea" {
			got = words(n)
		}
		if got != value {
			t.Errorf("%s is %q, want %q", attribute(n, "name"), got, value)
		}
		if (attribute(n, "aria-invalid") == "true") != invalid[attribute(n, "name")] {
			t.Errorf("%s: aria-invalid is %q", attribute(n, "name"), attribute(n, "aria-invalid"))
		}
	}
	if found != len(want) {
		t.Errorf("%d controls, want %d", found, len(want))
	}
}

// TestTicketDecides checks what a ticket sends in each mode: only an open one
// has buttons that decide, and none of them answers to Enter in a field.
func TestTicketDecides(t *testing.T) {
	for _, mode := range []views.TicketMode{views.TicketOpen, views.TicketOwn, views.TicketConflict, views.TicketDecided} {
		doc := document(t, draw(t, views.Ticket(shell("x", "", "approver"), ticketIn(mode))))
		var decide []string
		hidden, first := map[string]string{}, ""
		for n := range doc.Descendants() {
			switch {
			case n.Data == "button" && attribute(n, "name") == "do":
				decide = append(decide, attribute(n, "value"))
			case n.Data == "input" && attribute(n, "type") == "hidden":
				hidden[attribute(n, "name")] = attribute(n, "value")
			}
			if n.Data == "button" && first == "" && attribute(n, "formaction") != "" {
				first = attribute(n, "formaction")
			}
			if mode != views.TicketOpen && attribute(n, "name") != "" && (n.Data == "select" || attribute(n, "name") == "count") && !slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "disabled" }) {
				t.Errorf("%s: %s can be changed", mode, attribute(n, "name"))
			}
		}
		if mode == views.TicketOpen {
			if !slices.Equal(decide, []string{"approve", "reject"}) || hidden["version"] != "3" || hidden["spec_hash"] != "9f31c07a" {
				t.Errorf("%s: buttons %v, hidden %v", mode, decide, hidden)
			}
			if first != "/approvals/2418/check" {
				t.Errorf("Enter sends to %q", first)
			}
		} else if len(decide) > 0 {
			t.Errorf("%s: buttons %v decide", mode, decide)
		}
	}
}

// TestStates: every state of the domain has words and a shape of its own.
func TestStates(t *testing.T) {
	for _, s := range domain.TicketStatuses() {
		if v := views.TicketState(s); v.Glyph == "unknown" || v.Label == string(s) {
			t.Errorf("%s is shown as %+v", s, v)
		}
	}
	seen := map[string]bool{}
	for _, s := range domain.ClusterStatuses() {
		v := views.ClusterState(s)
		if seen[v.Label] || seen[v.Glyph] {
			t.Errorf("%s looks like another state: %+v", s, v)
		}
		seen[v.Label], seen[v.Glyph] = true, true
	}
	for _, o := range domain.Operations() {
		if views.OperationLabel(o) == string(o) {
			t.Errorf("%s has no word", o)
		}
	}
}
