package gallery

import (
	"bytes"
	"compress/gzip"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/a-h/templ"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"kubevirt-shepherd.io/shepherd/static"
	"kubevirt-shepherd.io/shepherd/views"
)

// pageLimit is the budget for the HTML of one page, compressed.
const pageLimit = 14 << 10

// assetLimit is the budget for all that a first visit loads beside the HTML.
const assetLimit = 60 << 10

// TestSamples checks on every sample page what the content security policy and
// accessibility ask of all pages.
func TestSamples(t *testing.T) {
	for name, page := range all() {
		t.Run(name, func(t *testing.T) {
			out := draw(t, page)
			if n := compressed(t, out); n > pageLimit {
				t.Errorf("page is %d bytes compressed, budget is %d", n, pageLimit)
			}
			for _, p := range pageProblems(document(t, out)) {
				t.Error(p)
			}
		})
	}
}

// TestChecksCanFail feeds the page check with every mistake it looks for.
func TestChecksCanFail(t *testing.T) {
	for name, part := range map[string]string{
		"twice the same id":        `<p id="a"></p><p id="a"></p>`,
		"style attribute":          `<p style="color:red"></p>`,
		"event attribute":          `<p onclick="x()"></p>`,
		"htmx event attribute":     `<p hx-on:click="x()"></p>`,
		"inline script":            `<script>x()</script>`,
		"inline style":             `<style>p{}</style>`,
		"label for nothing":        `<label for="none">x</label>`,
		"control without label":    `<input name="x">`,
		"described by nothing":     `<p aria-describedby="none"></p>`,
		"icon that does not exist": `<svg><use href="#i-none"></use></svg>`,
		"swap target missing":      `<p hx-target="#none"></p>`,
		"button without name":      `<button></button>`,
		"link to nothing":          `<a>x</a>`,
	} {
		if problems := pageProblems(document(t, []byte("<main><h1>x</h1>"+part+"</main>"))); len(problems) != 1 {
			t.Errorf("%s: %q", name, problems)
		}
	}
}

// TestFrameFragments renders every part of these pages that HTMX may ask for
// alone: exactly one element, with the id that it was asked by.
func TestFrameFragments(t *testing.T) {
	all := all()
	for _, f := range []struct{ page, part string }{
		{"explorer", "tree"}, {"explorer", "detail"}, {"vm", "vm-head"}, {"vm", "vm-body"}, {"vm", "tree"}, {"service", "vms"},
		{"service-empty-filter", "vms"}, {"service-new", "names"}, {"system", "system-services"}, {"home", "home"},
		{"home-approver", "home"}, {"home-approver", "nav-approvals"}, {"home", "bell"},
	} {
		var b bytes.Buffer
		if err := templ.RenderFragments(t.Context(), &b, all[f.page], f.part); err != nil {
			t.Fatal(err)
		}
		root, err := html.ParseFragment(&b, &html.Node{Type: html.ElementNode, Data: "body", DataAtom: atom.Body})
		if err != nil {
			t.Fatal(err)
		}
		if len(root) != 1 || attribute(root[0], "id") != f.part {
			t.Errorf("%s of %s: %d elements, not the one of this id", f.part, f.page, len(root))
		}
	}
}

// TestErrorPart is one toast that stays.
func TestErrorPart(t *testing.T) {
	out := draw(t, views.ErrorPart(views.ErrorView{Status: 503, Title: "The database does not answer", Text: "Nothing was changed.", RequestID: "0193"}))
	for _, want := range []string{`data-kind="bad"`, "The database does not answer", "Number: 0193"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

// TestFirstVisit adds up what a browser loads besides the page.
func TestFirstVisit(t *testing.T) {
	total := 0
	for _, name := range []string{"app.css", "htmx.js", "sse.js", "app.js", "inter.woff2", "jetbrains-mono.woff2"} {
		data, gz, kind, ok := static.File(strings.TrimPrefix(static.URL(name), static.Prefix))
		if !ok || kind == "application/octet-stream" {
			t.Fatalf("%s: not served (%q)", name, kind)
		}
		if gz != nil {
			data = gz
		}
		total += len(data)
	}
	if total > assetLimit {
		t.Errorf("assets are %d bytes, budget is %d", total, assetLimit)
	}
	if _, _, _, ok := static.File("app.css"); ok {
		t.Error("a plain name is served; it could not be cached for ever")
	}
}

func draw(t *testing.T, c templ.Component) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func document(t *testing.T, page []byte) *html.Node {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func compressed(t *testing.T, data []byte) int {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

// pageProblems lists what is wrong with a page.
func pageProblems(doc *html.Node) []string {
	var problems []string
	ids := map[string]int{}
	labels := map[string]bool{}
	for n := range doc.Descendants() {
		if id := attribute(n, "id"); id != "" {
			ids[id]++
		}
		if n.Data == "label" && attribute(n, "for") != "" {
			labels[attribute(n, "for")] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if ids[id] > 1 {
			problems = append(problems, "id "+id+" is there more than once")
		}
	}
	need := func(id, by string) {
		if ids[id] == 0 {
			problems = append(problems, by+" names #"+id+", which is not there")
		}
	}
	headings := 0
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		for _, a := range n.Attr {
			switch {
			case a.Key == "style", strings.HasPrefix(a.Key, "on"), strings.HasPrefix(a.Key, "hx-on"):
				problems = append(problems, n.Data+" has the attribute "+a.Key)
			case a.Key == "for", a.Key == "aria-labelledby", a.Key == "popovertarget", a.Key == "form" && n.Data == "input", a.Key == "data-copy":
				need(a.Val, a.Key)
			case a.Key == "aria-describedby":
				for _, id := range strings.Fields(a.Val) {
					need(id, a.Key)
				}
			case a.Key == "hx-target" && strings.HasPrefix(a.Val, "#"), a.Key == "href" && n.Data == "a" && strings.HasPrefix(a.Val, "#"),
				a.Key == "href" && n.Data == "use" && ids["g-running"] == 0 && !strings.HasPrefix(a.Val, "#g-"),
				a.Key == "href" && n.Data == "use" && ids["g-running"] > 0:
				need(a.Val[1:], a.Key)
			}
		}
		switch n.Data {
		case "h1":
			headings++
		case "style":
			problems = append(problems, "style element")
		case "script":
			if attribute(n, "src") == "" || n.FirstChild != nil {
				problems = append(problems, "inline script")
			}
		case "input", "select", "textarea":
			if attribute(n, "type") != "hidden" && !labels[attribute(n, "id")] && attribute(n, "aria-label") == "" && !inside(n, "label") {
				problems = append(problems, n.Data+" "+attribute(n, "name")+" has no label")
			}
		case "button", "summary":
			if attribute(n, "aria-label") == "" && strings.TrimSpace(words(n)) == "" {
				problems = append(problems, n.Data+" has no name")
			}
		case "a":
			if attribute(n, "href") == "" {
				problems = append(problems, "link without address: "+words(n))
			}
		}
	}
	if headings != 1 {
		problems = append(problems, "page needs exactly one h1")
	}
	return problems
}

func inside(n *html.Node, tag string) bool {
	for p := range n.Ancestors() {
		if p.Data == tag {
			return true
		}
	}
	return false
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func words(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}
