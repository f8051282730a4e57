package handlers_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

var (
	latinWord = regexp.MustCompile(`[A-Za-z]{2,}`)
	// given are names that the tests give, and what is the same in Chinese.
	given = regexp.MustCompile(`SHEPHERD_TOKEN|\b(c-|shop-)?(test|prod)\b|\b(shop(-redis)?|redis|dev|boss|prod-boss|admin|viewer|outsider|auditor|root|lea|debian|small|large|uid|TKT|fast|` +
		`Shepherd|KubeVirt|Kubernetes|English|IP|VM|CPU|vCPU|UTC|SSH|YAML|CA|TLS|ID|API|CSV|JSONL|JSON|OS|UID|[GMTK]iB|general-small|kubeconfig|Kubeconfig|kube-system|CDI|LiveMigration|gpu|example|com|a100|sriov|hugepages-1Gi|Markdown|Ctrl|Enter|Esc|Home|` +
		`cloud-init|cloud-config|kubectl|docker|https?|pub|exec|TKT|Debian|containerdisks|group|quay|io|bot|Content-Type)\b|\bv[0-9.]+`)
	// machine is text that a program reads, or that people wrote.
	machine = regexp.MustCompile(`^(ssh-|docker://|#cloud-config|apiVersion|kubectl |·? ?Cache for the load tests|kubevirt-shepherd\.io/)|^[A-Z_]{5,}$|^[a-z_]+(\.[a-z_]+)+$`)
)

// readTexts are the texts of an element that people read or hear.
func readTexts(n *html.Node) []string {
	var all []string
	add := func(text string) {
		if text = strings.Join(strings.Fields(text), " "); text != "" {
			all = append(all, text)
		}
	}
	switch {
	case n.Type == html.TextNode:
		add(n.Data)
	case n.Type == html.ElementNode:
		if slices.Contains([]string{"script", "style", "code", "pre", "kbd", "noscript"}, n.Data) {
			return nil
		}
		for _, name := range []string{"title", "placeholder", "aria-label", "alt"} {
			add(attribute(n, name))
		}
	}
	for c := range n.ChildNodes() {
		all = append(all, readTexts(c)...)
	}
	return all
}

// TestPortalSpeaksChinese visits every route as everybody, and goes through the
// main deeds, for a reader of Chinese: nothing may be said in English but names.
func TestPortalSpeaksChinese(t *testing.T) {
	s := newShop(t)
	english := map[string]string{} // where, by the text
	chinese := func(b *browser) *browser { return b.with("Accept-Language", "zh-CN") }
	read := func(got *page) *page {
		t.Helper()
		for _, text := range readTexts(got.doc) {
			if !machine.MatchString(text) && latinWord.MatchString(given.ReplaceAllString(text, "")) {
				english[text] = got.what
			}
		}
		return got
	}
	for _, b := range []**browser{&s.dev, &s.viewer, &s.outsider, &s.approver, &s.prodBoss, &s.auditor, &s.admin} {
		*b = chinese(*b)
	}
	do := func(b *browser, path string, fields ...string) *page {
		t.Helper()
		got := read(b.post(path, fields...))
		if got.Status == http.StatusSeeOther {
			return read(b.follow(got))
		}
		return got
	}

	ids := s.objects()
	// A request is made, decided, and read by all around it; some mistakes too.
	do(s.dev, "/requests", s.form(s.test, "count", "99", "disk", "x", "reason", "短", "ssh_keys", "???")...)
	do(s.dev, "/requests/preview", s.form(s.test)...)
	for verdict, at := range map[string]place{"reject": s.test, "approve": s.prod} {
		by := map[domain.Environment]*browser{domain.Test: s.approver, domain.Prod: s.prodBoss}[at.env]
		n := s.asked(at)
		do(s.dev, "/requests", s.form(at)...)
		ticket := fmt.Sprintf("/approvals/%d", n)
		seen := read(by.get(ticket))
		fields := []string{
			"version", seen.attr("[name=version]", "value"), "spec_hash", seen.attr("[name=spec_hash]", "value"), "template", s.template,
			"size", s.large, "count", "1", "disk", "20", "cluster", at.cluster, "do", verdict,
		}
		do(by, ticket+"/check", fields...)
		do(by, ticket, append(fields, "reason", "")...)
		do(by, ticket, append(fields, "reason", "已经不需要了，谢谢。")...)
		do(s.admin, ticket, append(fields, "reason", "已经不需要了，谢谢。")...)
		for _, b := range []*browser{s.dev, s.viewer, s.approver, s.auditor, s.admin} {
			read(b.get(fmt.Sprintf("/requests/%d", n)))
			read(b.get(ticket))
		}
		read(s.dev.get("/notifications"))
	}
	withdrawn := s.asked(s.test)
	do(s.dev, fmt.Sprintf("/requests/%d/withdraw", withdrawn))

	running, off := s.vm(s.test, 11, domain.StateRunning), s.vm(s.prod, 12, domain.StateStopped)
	for i, state := range domain.VMStates() {
		read(s.dev.get(paths.VM(s.vm(s.test, 20+i, state).ID.String())))
	}
	do(s.dev, paths.Power(running.ID.String()), "do", "STOP")
	do(s.dev, paths.Power(running.ID.String()), "do", "STOP")
	do(s.dev, paths.Power(off.ID.String()), "do", "START")
	do(s.dev, paths.Power(off.ID.String()), "do", "START", "confirmed", "1", "reason", "已经不需要了，谢谢。")
	do(s.dev, paths.DeleteVM(off.ID.String()), "typed", off.Name, "reason", "已经不需要了，谢谢。")
	do(s.admin, "/people", "username", "lea", "display_name", "", "role", "")
	do(s.dev, "/systems", "name", "X")
	do(s.dev, "/systems/"+s.test.system+"/services", "name", "X")

	// Every route, as everybody; what is posted is empty.
	ids["{ticket}"] = fmt.Sprint(s.asked(s.test))
	for _, r := range s.Routes() {
		if strings.HasPrefix(r.Pattern, paths.Logout) || strings.HasPrefix(r.Pattern, paths.Docs) || r.Pattern == paths.Events || r.Pattern == paths.AuditExport || strings.HasSuffix(r.Pattern, "/evidence") {
			continue
		}
		for _, b := range []*browser{chinese(s.anonymous()), s.outsider, s.viewer, s.dev, s.approver, s.auditor, s.admin} {
			read(b.do(r.Method, filled(r.Pattern, ids), "", nil))
		}
	}
	for _, path := range []string{"/search?q=red", "/search?q=没有这个", "/explorer?problems=1", "/approvals?state=decided", "/trends?range=24h", "/requests?state=all", "/nowhere"} {
		for _, b := range []*browser{s.dev, s.approver, s.admin} {
			read(b.get(path))
		}
	}
	for _, text := range slices.Sorted(maps.Keys(english)) {
		t.Errorf("%s: %q", english[text], text)
	}
}
