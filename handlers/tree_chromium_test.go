//go:build e2e

package handlers_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/gallery"
)

// branchTime is how long opening a branch of 100 rows may keep the page busy.
const branchTime = 200 // ms

// TestTreeInBrowser goes through the tree of a big site by keyboard.
func TestTreeInBrowser(t *testing.T) {
	p := newBigTree(t)
	s := p.screen(p.as(p.person("auditor", domain.Binding{Role: domain.RoleAuditor})))
	s.open("/explorer")
	s.waits(`document.documentElement.dataset.stream`)
	run := func(script string) {
		t.Helper()
		if _, err := gallery.Ask[bool](s.Camera, "(() => {"+script+"; return true})()"); err != nil {
			t.Fatal(err)
		}
	}
	focused := func(id string) string { return fmt.Sprintf("document.activeElement.id === %q", "t-"+id) }

	// Only the branch is replaced; another row is the very same element. A loop
	// of the shortest timers sees for how long nothing else can run.
	run(`document.querySelectorAll(".tb")[5].mine = true; document.querySelector("[aria-level]").focus();
		window.longest = 0; let last = performance.now();
		const channel = new MessageChannel();
		channel.port1.onmessage = () => { const now = performance.now(); window.longest = Math.max(window.longest, now - last); last = now; channel.port2.postMessage(0) };
		channel.port2.postMessage(0)`)
	// The best of some tries: others use the same processors.
	longest := math.Inf(1)
	for try := 0; try < 5 && longest > branchTime; try++ {
		if try > 0 {
			s.keys(kb.ArrowLeft)
			s.waits(`document.querySelectorAll("#b-` + p.system + ` .tb").length === 0`)
		}
		run(`window.longest = 0`)
		s.keys(kb.ArrowRight)
		s.waits(`document.querySelectorAll("#b-` + p.system + ` .tb").length === 100`)
		s.waits(focused(p.system) + ` && location.search === "?open=` + p.system + `"`)
		took, err := gallery.Ask[float64](s.Camera, `window.longest`)
		if err != nil {
			t.Fatal(err)
		}
		longest = min(longest, took)
	}
	if longest > branchTime {
		t.Errorf("opening a branch keeps the page busy for %v ms", longest)
	}
	if !s.is(`[...document.querySelectorAll(".tb")].some((b) => b.mine)`) {
		t.Error("opening one row replaces others")
	}
	t.Logf("opening keeps the page busy for %.0f ms", longest)

	// Letters: one goes on to the next row that begins so, more of them are one
	// beginning. A pause begins anew.
	s.keys("a")
	s.waits(focused(p.service))
	time.Sleep(800 * time.Millisecond)
	s.keys("sys09")
	s.waits(`document.activeElement.querySelector(".tn").textContent === "sys090"`)
	time.Sleep(800 * time.Millisecond)
	s.keys("app00042")
	s.waits(`document.activeElement.querySelector(".tn").textContent === "app00042"`)

	// The next part comes in place, and the focus goes to its first row.
	run(`document.querySelector("#n-` + p.system + `").focus()`)
	s.keys(kb.Enter)
	s.waits(`document.activeElement.querySelector(".tn")?.textContent === "app00101"`)
	s.keys(kb.ArrowRight)
	s.waits(`document.activeElement.getAttribute("aria-expanded") === "true" && document.activeElement.closest(".tb").querySelectorAll("[aria-level='3']").length === 1`)

	// A redraw: everything stays open, and what is seen stays where it is, though
	// a row has come above it.
	sys := p.db.Ent.System.GetX(t.Context(), id(p.system))
	p.db.Ent.Service.Create().SetSystem(sys).SetName("app00000").SetVMPrefix("new").SetNamespace("new").SetCreatedBy("x").SaveX(t.Context())
	run(`const pane = document.querySelector("#browse"); pane.scrollTop += 60;
		window.was = { top: document.activeElement.getBoundingClientRect().top, scroll: pane.scrollTop, row: document.activeElement }`)
	if err := p.db.InTx(t.Context(), func(tx *ent.Tx) error { return database.Notify(t.Context(), tx, "tree") }); err != nil {
		t.Fatal(err)
	}
	s.waits(`!window.was.row.isConnected && document.activeElement.querySelector(".tn")?.textContent === "app00101"`)
	s.waits(`Math.abs(document.activeElement.getBoundingClientRect().top - window.was.top) < 2 && document.querySelector("#browse").scrollTop === window.was.scroll + 28`)
	s.waits(`document.querySelectorAll("#b-` + p.system + ` [aria-level='2']").length === 202 && document.activeElement.getAttribute("aria-expanded") === "true"`)

	// The page of a row has the tree as it was; so has a new visit.
	s.keys(kb.ArrowDown + kb.Enter)
	s.waits(`location.pathname.startsWith("/vms/") && document.activeElement.getAttribute("aria-selected") === "true"`)
	s.waits(`document.querySelector("#t-` + p.system + `[aria-expanded=true]")`)
	s.open("/explorer")
	s.waits(`document.querySelector("#t-` + p.system + `[aria-expanded=true]")`)
	run(`document.querySelector("#t-` + p.system + `").focus()`)
	s.keys(kb.ArrowLeft)
	s.waits(`!document.querySelector("#tree [aria-level='2']") && location.search === "" && ` + focused(p.system))

	// Two rows opened at once, while the tree is redrawn: all three come.
	run(`window.was = document.querySelector("#tree"); htmx.trigger("#tree", "sse:tree");
		setTimeout(() => { for (const row of [...document.querySelectorAll("[aria-expanded=false]")].slice(1, 3)) row.querySelector(".tg").click() }, 201)`)
	s.waits(`document.querySelectorAll("#tree > .tree > .tb > [aria-expanded=true]").length === 2 && new URLSearchParams(location.search).getAll("open").length === 2`)
	s.waits(`!window.was.isConnected`)
	s.waits(`document.querySelectorAll("#tree > .tree > .tb > [aria-expanded=true]").length === 2`)

	// The filter asks the server, so it finds what is not shown.
	run(`document.querySelector("#tree-q").focus()`)
	s.keys("sys001-app04321")
	s.waits(`document.querySelectorAll("#tree [aria-level='2']").length === 1 && document.querySelector("#tree").textContent.includes("app04321-01")`)
	s.waits(`document.activeElement.id === "tree-q"`)
}
