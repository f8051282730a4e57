package handlers_test

import (
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/docs"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// TestGuides reads every guide as a browser does: each link inside the guides
// leads to a page and a heading, and each image is there with its size.
func TestGuides(t *testing.T) {
	for _, lang := range i18n.Languages() {
		t.Run(lang, func(t *testing.T) { testGuides(t, lang) })
	}
}

func testGuides(t *testing.T, lang string) {
	p := newPortal(t)
	dev := p.as(p.person("dev")).with("Accept-Language", lang)
	pages := map[string]*page{}
	for _, g := range docs.Guides(lang) {
		at := paths.Guide(g.Slug)
		if g.Slug == docs.Index {
			at = paths.Docs
		}
		pages[at] = dev.get(at).is(http.StatusOK)
		if got := pages[at].attr("main article", "lang"); got != g.Lang {
			t.Errorf("%s is in %s, told as %s", at, g.Lang, got)
		}
		testHeadings(t, g)
	}
	for at, page := range pages {
		if n := len(page.find("main h1")); n != 1 {
			t.Errorf("%s has %d headings of the first level", at, n)
		}
		if len(page.find("main .guides a")) != len(pages) || len(page.find("main nav a[aria-current=page]")) != 1 {
			t.Errorf("%s does not lead to all guides", at)
		}
		seen := map[string]bool{}
		for n := range page.doc.Descendants() { // a heading must not take the id of a part of the frame
			if id := attribute(n, "id"); id != "" && seen[id] {
				t.Errorf("%s has the id %s twice", at, id)
			} else {
				seen[id] = true
			}
		}
		for _, a := range page.find("main a") {
			to, heading, _ := strings.Cut(attribute(a, "href"), "#")
			if to == "" {
				to = at
			}
			target, known := pages[to]
			if !known && !strings.HasPrefix(to, "https://") {
				t.Errorf("%s leads to %s, which is no guide", at, attribute(a, "href"))
			}
			if known && heading != "" && !target.has("main #"+heading) {
				t.Errorf("%s leads to %s, and there is no such heading", at, attribute(a, "href"))
			}
		}
		for _, img := range page.find("main img") {
			src, _, hashed := strings.Cut(attribute(img, "src"), "?v=")
			if attribute(img, "alt") == "" || path.Dir(src) != paths.Docs+"/images" {
				t.Errorf("%s has the image %s %q", at, src, attribute(img, "alt"))
			}
			if hashed && (attribute(img, "width") == "" || attribute(img, "height") == "") { // without a hash it is yet to be made
				t.Errorf("%s: %s has no size", at, src)
			}
		}
	}
	life := pages[paths.Guide("concepts")]
	drawn, explained, listed := life.text("main article svg"), map[string]bool{}, 0
	for _, code := range life.find("main article td code") {
		explained[text(code)] = true
	}
	for _, s := range domain.TicketStatuses() {
		if !strings.Contains(drawn, string(s)) || !explained[string(s)] {
			t.Errorf("the life of a request lacks %s in its drawing or its table", s)
		}
	}
	for _, a := range life.find("main nav a") {
		if attribute(a, "href") == "#the-life-of-a-request" {
			listed++
		}
	}
	if listed != 2 {
		t.Errorf("%d links to a heading, want one for each width", listed)
	}
	dev.get(paths.Guide("none")).is(http.StatusNotFound)
	dev.get(paths.Guide(docs.Index)).is(http.StatusNotFound)
	dev.get(paths.DocsImage("docs.go")).is(http.StatusNotFound)
}

// testHeadings: a translation says of every heading which one of the English
// guide it is, each once. Sections that are not translated yet may be missing.
func testHeadings(t *testing.T, g docs.Guide) {
	if g.Lang == docs.English {
		return
	}
	translated, _ := docs.Read(g.Slug, g.Lang)
	english, _ := docs.Read(g.Slug, docs.English)
	known := map[string]bool{}
	for _, h := range regexp.MustCompile(`(?m)^##+ (.*)$`).FindAllStringSubmatch(string(english), -1) {
		id := strings.ToLower(strings.ReplaceAll(h[1], " ", "-"))
		known[regexp.MustCompile(`[^a-z0-9-]`).ReplaceAllString(id, "")] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^(.*)\n##+ (.*)$`).FindAllStringSubmatch(string(translated), -1) {
		id := strings.TrimSuffix(strings.TrimPrefix(m[1], "<!-- #"), " -->")
		if !known[id] {
			t.Errorf("%s in %s: %q is for the heading %q, which is not in the English guide", g.Slug, g.Lang, m[2], id)
		}
		delete(known, id)
	}
}

// TestGuideImages: an image is kept for ever under the address that guides
// have, and asked for again under any other.
func TestGuideImages(t *testing.T) {
	p := newPortal(t)
	dev := p.as(p.person("dev"))
	plain := paths.DocsImage("request-life.svg")
	first := dev.get(plain).is(http.StatusOK)
	tag := first.Header.Get("ETag")
	if first.Header.Get("Content-Type") != "image/svg+xml" || first.Header.Get("Cache-Control") != "private, no-cache" || len(tag) < 10 {
		t.Errorf("headers %v", first.Header)
	}
	kept := dev.get(plain + "?v=" + strings.Trim(tag, `"`)).is(http.StatusOK)
	if !strings.Contains(kept.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("headers %v", kept.Header)
	}
	if again := dev.with("If-None-Match", tag).get(plain).is(http.StatusNotModified); again.Body != "" {
		t.Error("a file that the browser has is sent again")
	}
}
