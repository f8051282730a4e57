package handlers

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestMarkdown(t *testing.T) {
	m := newMarkdown()
	draw := func(text string) string {
		c, err := m.component(text)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := c.Render(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	good := draw("# Shop\n\n- [runbook](https://wiki.example/shop)\n\n| a | b |\n|--:|---|\n| 1 | 2 |\n")
	for _, want := range []string{"<h1", "<li>", `rel="nofollow noreferrer"`, "<table>", `align="right"`} {
		if !strings.Contains(good, want) {
			t.Errorf("no %s in %s", want, good)
		}
	}
	for _, bad := range []string{
		"<script>alert(1)</script>", "[x](javascript:alert(1))", "[x](  JaVaScRiPt:alert(1))", "![x](javascript:alert(1))", "<img src=x onerror=alert(1)>",
		`<a href="x" onclick="alert(1)">x</a>`, "<svg/onload=alert(1)>", "[x](data:text/html,<script>alert(1)</script>)", "[x](vbscript:x)",
		`<p style="position:fixed">x</p>`, "<iframe src=//evil.example></iframe>", "<form action=/logout><button>x</button></form>",
		"|a|\n|:-:|\n|<b onmouseover=alert(1)>x|", "[a]: javascript:alert(1)\n[a]", `<base href="//evil.example">`, "<meta http-equiv=refresh content=0>",
		"<div id=main hx-get=/logout>x</div>", "![x](//evil.example/a.png)",
	} {
		for _, found := range dangers(t, draw(bad)) {
			t.Errorf("%q gives %s", bad, found)
		}
	}
	if c, err := m.component(""); c != nil || err != nil {
		t.Errorf("no documentation gives %v, %v", c, err)
	}
}

// dangers finds what could act: elements, attributes and addresses.
func dangers(t *testing.T, text string) (found []string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	elements := []string{"script", "iframe", "form", "svg", "base", "meta", "object", "embed", "style", "link", "button", "input"}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if slices.Contains(elements, n.Data) {
			found = append(found, "<"+n.Data+">")
		}
		for _, a := range n.Attr {
			scheme, _, has := strings.Cut(strings.ToLower(strings.TrimSpace(a.Val)), ":")
			switch {
			case strings.HasPrefix(a.Key, "on"), strings.HasPrefix(a.Key, "hx-"), a.Key == "style":
				found = append(found, a.Key)
			case (a.Key == "href" || a.Key == "src") && has && !slices.Contains([]string{"http", "https", "mailto"}, scheme):
				found = append(found, a.Val)
			}
		}
	}
	return found
}
