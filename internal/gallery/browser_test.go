//go:build e2e

package gallery

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// dir is where the pictures of the guides are kept.
const dir = "../../docs/images"

func camera(t *testing.T) *Camera {
	t.Helper()
	c, stop, err := OpenCamera(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return c
}

func ask[T any](t *testing.T, c *Camera, expression string) T {
	t.Helper()
	v, err := Ask[T](c, expression)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// findings lists what axe-core finds.
func findings(t *testing.T, c *Camera) []string {
	t.Helper()
	script, err := os.ReadFile("../../node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("%v: run npm ci", err)
	}
	found, err := c.Audit(script)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestAccessibility runs axe-core on every page in both themes.
func TestAccessibility(t *testing.T) {
	t.Parallel()
	c := camera(t)
	for _, m := range []Mode{Light, Dark} {
		for _, p := range Pages() {
			if err := c.Show(p.Name, m); err != nil {
				t.Fatal(err)
			}
			for _, v := range findings(t, c) {
				t.Errorf("%s, %s: %s", p.Name, m.Name, v)
			}
		}
	}
}

// TestAxeFinds shows that the audit can fail.
func TestAxeFinds(t *testing.T) {
	t.Parallel()
	c := camera(t)
	if err := c.Show("home", Light); err != nil {
		t.Fatal(err)
	}
	ask[int](t, c, `document.querySelector("main").insertAdjacentHTML("beforeend", "<img src='data:,'><button></button><p>too pale to read</p>"), document.querySelector("main").lastChild.style.color = "#ddd", 0`)
	found := strings.Join(findings(t, c), "\n")
	for _, rule := range []string{"image-alt", "button-name", "color-contrast"} {
		if !strings.Contains(found, rule) {
			t.Errorf("no %s in %q", rule, found)
		}
	}
}

// TestReflow looks at every page 320 pixels wide, which is 400 % on a screen of
// 1280 (WCAG 1.4.10), in both languages: nothing but tables and code scrolls
// sideways. In the same round: nothing moves while a page loads, and nothing comes from elsewhere.
func TestReflow(t *testing.T) {
	t.Parallel()
	c := camera(t)
	narrow := Mode{Name: "narrow", Width: 320, Height: 640, features: media()}
	for _, p := range Pages() {
		for _, name := range []string{p.Name, p.Name + "?lang=zh-CN"} {
			if err := c.Show(name, narrow); err != nil {
				t.Fatal(err)
			}
			if w := ask[int](t, c, `document.documentElement.scrollWidth`); w > 320 {
				t.Errorf("%s is %d pixels wide on a screen of 320", name, w)
			}
		}
		if err := c.Show(p.Name, Light); err != nil {
			t.Fatal(err)
		}
		shift := ask[float64](t, c, `new Promise(done => { let sum = 0; new PerformanceObserver(l => { for (const e of l.getEntries()) sum += e.value; }).observe({type: "layout-shift", buffered: true}); setTimeout(() => done(sum), 60); })`)
		if shift > 0.01 {
			t.Errorf("%s moves while it loads: %.3f", p.Name, shift)
		}
		for _, u := range ask[[]string](t, c, `performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith(location.origin))`) {
			t.Errorf("%s asks for %s", p.Name, u)
		}
	}
}

// TestForcedColours: with the colours of the system the focus can still be
// seen, and what a shape said is still there.
func TestForcedColours(t *testing.T) {
	t.Parallel()
	c := camera(t)
	m := Mode{Name: "forced", Width: 1280, Height: 800, features: append(media(), &emulation.MediaFeature{Name: "forced-colors", Value: "active"})}
	for _, p := range Pages() {
		if err := c.Show(p.Name, m); err != nil {
			t.Fatal(err)
		}
		if !ask[bool](t, c, `matchMedia("(forced-colors: active)").matches`) {
			t.Fatal("the browser does not force colours")
		}
		if err := chromedp.Do(c.ctx, chromedp.KeyEvent("\t")); err != nil {
			t.Fatal(err)
		}
		if style := ask[string](t, c, `document.activeElement === document.body ? "nothing takes the focus" : getComputedStyle(document.activeElement).outlineStyle`); style != "solid" && style != "auto" {
			t.Errorf("%s: the focus is shown as %q", p.Name, style)
		}
		for _, v := range ask[[]string](t, c, `[...document.querySelectorAll(".btn:not(.btn-ghost), .st-pill, .env")].filter(e => e.getClientRects().length && getComputedStyle(e).borderTopWidth === "0px").map(e => e.outerHTML.slice(0, 80))`) {
			t.Errorf("%s: no border on %s", p.Name, v)
		}
	}
}

// TestScreenshots takes the kept pictures again; `make screenshots` renews them.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	c := camera(t)
	for _, m := range Modes() {
		for _, name := range Documented {
			kept, err := os.ReadFile(File(dir, m, name))
			if err != nil {
				t.Errorf("%v: run make screenshots", err)
				continue
			}
			if err := c.Show(name, m); err != nil {
				t.Fatal(err)
			}
			now, err := c.Shoot(m)
			if err != nil {
				t.Fatal(err)
			}
			share, err := Differs(kept, now)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if share > Tolerance {
				t.Errorf("%s in %s differs in %.1f %% of its squares: look at it, then run make screenshots", name, m.Name, 100*share)
			}
		}
	}
	// What is kept is what is named, and it stays small.
	total := int64(0)
	for _, pattern := range []string{"*.webp", "*/*.webp"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !slices.Contains(Documented, strings.TrimSuffix(filepath.Base(f), ".webp")) {
				t.Errorf("%s is the picture of no page", f)
			}
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
	}
	if total > 4<<20 {
		t.Errorf("the pictures weigh %d KiB", total>>10)
	}
}

// TestDiffersFinds: two different pages differ, the same one does not.
func TestDiffersFinds(t *testing.T) {
	t.Parallel()
	c := camera(t)
	shot := func(name string) []byte {
		if err := c.Show(name, Light); err != nil {
			t.Fatal(err)
		}
		b, err := c.Shoot(Light)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	a, again, b := shot("requests"), shot("requests"), shot("requests-empty")
	if share, err := Differs(a, again); err != nil || share != 0 {
		t.Errorf("the same page differs in %v, %v", share, err)
	}
	if share, err := Differs(a, b); err != nil || share <= Tolerance {
		t.Errorf("two pages differ in only %v, %v", share, err)
	}
	if _, err := Differs(a, []byte("x")); err == nil {
		t.Error("a broken picture is compared")
	}
}
