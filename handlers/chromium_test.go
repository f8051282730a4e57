//go:build e2e

package handlers_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/gallery"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// screen is Chromium with a person's session.
type screen struct {
	*gallery.Camera
	t            *testing.T
	url, session string // session: the name of the cookie
}

func (p *portal) screen(b *browser) *screen {
	p.t.Helper()
	c, stop, err := gallery.OpenCamera(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(stop)
	s := &screen{c, p.t, p.url, p.sessions.Cookie.Name}
	s.become(b)
	return s
}

// become changes who is signed in; an empty session is nobody's.
func (s *screen) become(b *browser) {
	s.t.Helper()
	value := ""
	if c := b.cookie(s.session); c != nil {
		value = c.Value
	}
	if err := s.SetCookie(s.url, s.session, value); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) open(path string) {
	s.t.Helper()
	if err := s.Visit(s.url+path, gallery.Light); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) keys(keys string, mod ...chromedp.Modifier) {
	s.t.Helper()
	if err := s.Keys(keys, chromedp.KeyModifiers(mod...)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) is(expression string) bool {
	v, err := gallery.Ask[bool](s.Camera, "Boolean("+expression+")")
	return err == nil && v // between two pages there is nothing to ask
}

// waits until an expression is true.
func (s *screen) waits(expression string) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); !s.is(expression); time.Sleep(30 * time.Millisecond) {
		if time.Now().After(end) {
			where, _ := gallery.Ask[string](s.Camera, `location.pathname + ": " + (document.activeElement?.outerHTML ?? "").slice(0, 200) + "\n" + document.body.innerText.slice(0, 2000)`)
			s.t.Fatalf("never true: %s\nat %s", expression, where)
		}
	}
}

// tab presses Tab until the focus is on what a selector matches.
func (s *screen) tab(selector string) {
	s.t.Helper()
	for range 80 {
		if s.is(fmt.Sprintf("document.activeElement.matches(%q)", selector)) {
			return
		}
		s.keys(kb.Tab)
	}
	s.t.Fatalf("Tab never comes to %s", selector)
}

// at is an expression: this path is shown, and its scripts run.
func at(path string) string {
	return fmt.Sprintf(`location.pathname === %q && document.readyState === "complete"`, path)
}

func (s *screen) says(selector, text string) string {
	return fmt.Sprintf("document.querySelector(%q)?.textContent.includes(%q)", selector, text)
}

// TestAxeOnRoutes runs axe-core on what every route answers to everybody.
func TestAxeOnRoutes(t *testing.T) {
	script, err := os.ReadFile("../node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("%v: run npm ci", err)
	}
	shop := newShop(t)
	own := shop.objects()
	own["{ticket}"] = fmt.Sprint(shop.pendingTicket())
	people, names := shop.people()
	s := shop.screen(people[0])
	count := 0
	for i, b := range people {
		s.become(b)
		for _, r := range shop.Routes() {
			if r.Method != http.MethodGet || r.Pattern == paths.Events || strings.HasPrefix(r.Pattern, "/docs/images/") {
				continue
			}
			path := filled(r.Pattern, own)
			s.open(path)
			found, err := s.Audit(script)
			if err != nil {
				t.Fatalf("%s as %s: %v", path, names[i], err)
			}
			for _, v := range found {
				t.Errorf("%s as %s: %s", r.Pattern, names[i], v)
			}
			count++
		}
	}
	t.Logf("%d pages", count)
}

// TestKeyboardOnly asks for a VM and approves it without a pointer.
func TestKeyboardOnly(t *testing.T) {
	shop := newShop(t)
	s := shop.screen(shop.dev)
	s.open(paths.Home)
	s.keys("k", chromedp.ModifierCtrl)
	s.waits(`document.activeElement.id === "palette-q"`)
	s.keys("request v")
	s.waits(`document.querySelector("#palette [aria-selected=true]")?.textContent.includes("Request VM")`)
	s.keys(kb.Enter)
	s.waits(at(paths.NewRequest))
	s.tab("#service")
	s.keys("shop")
	s.tab("[name=template]")
	s.keys(" ")
	s.tab("[name=size]")
	s.keys(" ")
	s.tab("#count")
	s.keys("a", chromedp.ModifierCtrl)
	s.keys("2")
	s.tab("#ssh_keys")
	s.keys(cast.PublicKey)
	s.tab("#reason")
	s.keys("Two more for the load tests of the week.")
	s.waits(s.says("#preview", "decides"))
	s.keys(kb.Enter, chromedp.ModifierCtrl)
	s.waits(s.says("#request-status", "Waiting"))
	ticket := shop.db.Ent.ApprovalTicket.Query().Where(waiting).OnlyX(t.Context())

	s.become(shop.admin)
	s.open(paths.Home)
	s.keys("ga")
	s.waits(at(paths.Approvals))
	s.keys("j")
	s.keys(kb.Enter)
	s.waits(at(paths.Approval(ticket.ID)))
	s.tab("[name=cluster]:not([disabled])")
	s.keys(" ")
	s.tab("#approve")
	s.keys(kb.Enter)
	s.waits(fmt.Sprintf(`location.pathname !== %q`, paths.Approval(ticket.ID)))
	if got := shop.db.Ent.ApprovalTicket.GetX(t.Context(), ticket.ID); got.Status != "APPROVED" || got.Approver != "admin" {
		t.Errorf("the ticket is %s by %q", got.Status, got.Approver)
	}
}

// TestFormsHelp: a field is judged when it is left, what was typed survives the
// tab and is offered again, and leaving a form half done is asked about.
func TestFormsHelp(t *testing.T) {
	shop := newShop(t)
	s := shop.screen(shop.admin)
	s.open(paths.NewTemplate)
	s.tab("#name")
	s.keys("Big Letters" + kb.Tab)
	s.waits(`document.querySelector("#name").getAttribute("aria-invalid") === "true" && document.querySelector("#name-error")`)
	if s.is(`document.querySelector("#image").getAttribute("aria-invalid")`) {
		t.Error("a field that nobody has touched is complained about")
	}
	if !s.is(`document.activeElement.id === "display_name"`) {
		t.Error("the check took the focus away")
	}
	s.keys(kb.Shift+kb.Tab, 0)
	s.tab("#name")
	s.keys("a", chromedp.ModifierCtrl)
	s.keys("fedora-41" + kb.Tab)
	s.waits(`!document.querySelector("#name").hasAttribute("aria-invalid") && document.querySelector("#name-hint")`)
	s.tab("#cloud_init")
	s.keys("#cloud-config\rpassword: secret-of-the-template\rbroken: [" + kb.Tab)
	s.waits(s.says("#cloud_init-error", "not a cloud-config") + " || " + s.says("#cloud_init-error", "Line") + ` || document.querySelector("#image").value === ""`)

	// Another tab takes the draft up; the secret is not in it.
	if s.is(`JSON.stringify(localStorage).includes("secret-of-the-template")`) {
		t.Error("the browser keeps the first-boot data")
	}
	if !s.is(`(() => { const e = new Event("beforeunload", {cancelable: true}); dispatchEvent(e); return e.defaultPrevented; })()`) {
		t.Error("leaving a form half done is not asked about")
	}
	other := shop.screen(shop.admin)
	other.open(paths.NewTemplate)
	if other.is(`document.querySelector("[data-draft-offer]:not([hidden])")`) {
		t.Error("another browser knows the draft")
	}
	s.open("/healthz") // a new page of the same browser, without asking
	s.open(paths.NewTemplate)
	s.waits(`document.querySelector("[data-draft-offer]:not([hidden])")`)
	s.tab("[data-draft-use]")
	s.keys(kb.Enter)
	s.waits(`document.querySelector("#name").value === "fedora-41" && document.activeElement.id === "name"`)

	// Sent, it is gone; so it is for the next who signs in.
	s.tab("#display_name")
	s.keys("Fedora 41")
	s.tab("#image")
	s.keys("docker://quay.io/containerdisks/fedora:41")
	s.keys(kb.Enter, chromedp.ModifierCtrl)
	s.waits(at(paths.Catalog))
	s.open(paths.NewTemplate)
	if s.is(`document.querySelector("[data-draft-offer]:not([hidden])")`) || shop.db.Ent.Template.Query().CountX(t.Context()) != 2 {
		t.Error("the form was not sent, or its draft stays")
	}
	s.tab("#name")
	s.keys("left-over")
	s.become(shop.as(shop.person("second", domain.Binding{Role: domain.RoleAdmin})))
	s.open("/healthz")
	s.open(paths.NewTemplate)
	if s.is(`document.querySelector("[data-draft-offer]:not([hidden])")`) {
		t.Error("somebody else's draft is offered")
	}
}

// TestSwaps: a part that is redrawn keeps the focus, a toast does not take it,
// and the back button leads to what was shown.
func TestSwaps(t *testing.T) {
	shop := newShop(t)
	first := shop.asked(shop.test)
	s := shop.screen(shop.dev)
	s.open(paths.Requests)
	link := fmt.Sprintf("main a[href=%q]", paths.Request(first))
	s.tab(link)
	s.waits(`document.documentElement.dataset.stream === "open"`)
	second := shop.asked(shop.prod, "reason", "Another request while the list is open.")
	s.waits(s.says("main", domain.TicketName(second)))
	s.waits(fmt.Sprintf("document.activeElement.matches(%q)", link))

	// The result of a deed is told without taking the focus from the page.
	s.open(paths.Request(first))
	s.tab("#withdraw")
	s.keys(kb.Enter)
	s.waits(`document.querySelector("#toasts .toast")`)
	if s.is(`document.querySelector("#toasts").contains(document.activeElement)`) {
		t.Error("a toast has taken the focus")
	}

	s.become(shop.admin)
	s.open(paths.Audit)
	before, err := gallery.Ask[int](s.Camera, `document.querySelectorAll("#log tbody tr").length`)
	if err != nil || before < 2 {
		t.Fatalf("%d entries, %v", before, err)
	}
	s.tab("main [type=search]")
	s.keys("nobody-has-this-name" + kb.Enter)
	s.waits(`location.search.includes("nobody-has-this-name") && !document.querySelector("#log tbody tr")`)
	s.waits(`(history.back(), true)`)
	s.waits(fmt.Sprintf(`!location.search.includes("nobody") && document.querySelectorAll("#log tbody tr").length === %d`, before))
	// The address alone, in another tab, is the same page.
	s.open(paths.Audit + "?q=nobody-has-this-name")
	s.waits(`!document.querySelector("#log tbody tr")`)
}
