package handlers_test

import (
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"kubevirt-shepherd.io/shepherd/docs"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// TestGuides reads every guide as a browser does, in each language: each link
// inside the guides leads to a page and a heading, and each image is there with
// its size.
func TestGuides(t *testing.T) {
	p := newPortal(t)
	dev := p.as(p.person("dev"))
	english, chinese := guidePages(t, dev, i18n.English), guidePages(t, dev, i18n.Chinese)
	for at, page := range english {
		ids := func(list []*html.Node) (all []string) {
			for _, n := range list {
				all = append(all, attribute(n, "id"))
			}
			return all
		}
		for _, level := range []string{"h1", "h2", "h3"} {
			if got, want := ids(chinese[at].find("main article "+level)), ids(page.find("main article "+level)); !slices.Equal(got, want) {
				t.Errorf("%s has the headings %q in Chinese, in English %q", at, got, want)
			}
		}
	}
	for _, pages := range []map[string]*page{english, chinese} {
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
	}
	dev.get(paths.Guide("none")).is(http.StatusNotFound)
	dev.get(paths.Guide(docs.Index)).is(http.StatusNotFound)
	dev.get(paths.DocsImage("docs.go")).is(http.StatusNotFound)
}

// guidePages are the pages of all guides in a language, by their address.
func guidePages(t *testing.T, b *browser, lang string) map[string]*page {
	t.Helper()
	b = b.with("Accept-Language", lang)
	pages := map[string]*page{}
	for _, slug := range docs.Slugs() {
		at := paths.Guide(slug)
		if slug == docs.Index {
			at = paths.Docs
		}
		pages[at] = b.get(at).is(http.StatusOK)
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
		if strings.Contains(page.text("main article"), "**") {
			t.Errorf("%s in %s shows the asterisks of something bold", at, lang)
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
	return pages
}

// TestTranslatedGuides: a guide that is not translated says so in the reader's
// language, and a translated one calls buttons, fields and pages as the pages do.
func TestTranslatedGuides(t *testing.T) {
	p := newPortal(t)
	dev := p.as(p.person("dev"))
	chinese, english := dev.with("Accept-Language", i18n.Chinese), dev.with("Accept-Language", i18n.English)
	const untranslated = "本指南尚无中文版"
	at := paths.Guide("operator-guide")
	operator := chinese.get(at).is(http.StatusOK).wants(untranslated)
	if operator.attr("main article", "lang") != i18n.English || operator.attr("main article p", "lang") != i18n.Chinese {
		t.Error("what is in English does not say so")
	}
	user := chinese.get(paths.Guide("user-guide")).is(http.StatusOK)
	if user.attr("main article", "lang") != i18n.Chinese || strings.Contains(user.main(), untranslated) {
		t.Error("the user guide is not told as Chinese")
	}
	if got := english.get(at); got.attr("main article", "lang") != i18n.English || got.attr("main article p", "lang") != "" {
		t.Error("a reader of English is told about translations")
	}

	bold := regexp.MustCompile(`\*\*([^*]+)\*\*`)
	ctx := i18n.With(t.Context(), i18n.Chinese)
	for _, slug := range docs.Slugs() {
		source, _ := docs.Sections(slug, docs.English)
		sections, _ := docs.Sections(slug, i18n.Chinese)
		for i, s := range sections {
			want, got := bold.FindAllStringSubmatch(string(source[i].Text), -1), bold.FindAllStringSubmatch(string(s.Text), -1)
			if len(want) != len(got) {
				t.Errorf("%s, %s: %d names in bold, want %d", slug, s.Heading, len(got), len(want))
			}
			for _, m := range want {
				if on := i18n.T(ctx, m[1]); s.Lang == i18n.Chinese && on != m[1] && !strings.Contains(string(s.Text), "**"+on+"**") {
					t.Errorf("%s, %s: the pages call %q %q", slug, s.Heading, m[1], on)
				}
			}
		}
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
