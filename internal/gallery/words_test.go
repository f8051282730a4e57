package gallery

import (
	"bytes"
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"kubevirt-shepherd.io/shepherd/internal/i18n"
)

// verbatim are elements whose text is no language of people.
var verbatim = []string{"script", "style", "code", "pre", "kbd", "symbol"}

// foreign are words that stay as they are in Chinese.
var (
	foreign = regexp.MustCompile(`kubeconfig|_token|cloud-(init|config)|kubectl|yaml|apply|vcpu|cpu|[gmtk]ib|\b(ip|vm|utc|ssh|ca|tls|id|tkt|api|csv|jsonl|os|uid|oidc)\b|https|docker|\bpub\b|markdown|debian|exec|example\.com|sriov|hugepages-1gi|shop|redis|ctrl|enter|esc`)
	example = regexp.MustCompile(`^(ssh-|docker://|#cloud-config|apiVersion)`) // of what a machine reads
	tag     = regexp.MustCompile(`<[^>]*>`)
)

var latin = regexp.MustCompile(`[a-z]{2,}`)

// without takes a text out of another where it stands as whole words.
func without(text, part string) string {
	letter := func(b byte) bool { return 'a' <= b && b <= 'z' }
	for from := 0; ; {
		i := strings.Index(text[from:], part)
		if i < 0 {
			return text
		}
		start, end := from+i, from+i+len(part)
		if start > 0 && letter(text[start-1]) || end < len(text) && letter(text[end]) {
			from = end
			continue
		}
		text, from = text[:start]+"\n"+text[end:], start
	}
}

// TestPagesSpeakChinese draws every page for a Chinese reader. What is said in
// English then must come from the sample data.
func TestPagesSpeakChinese(t *testing.T) {
	samples := sampleTexts(t)
	for _, p := range Pages() {
		english := func(prefix string) bool { return strings.HasPrefix(p.Name, prefix) }
		if slices.ContainsFunc([]string{"components", "docs"}, english) { // for readers of English
			continue
		}
		var b bytes.Buffer
		if err := p.Body.Render(i18n.With(t.Context(), i18n.Chinese), &b); err != nil {
			t.Fatal(err)
		}
		doc, err := html.ParseWithOptions(&b, html.ParseOptionEnableScripting(false))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range readTexts(doc) {
			if example.MatchString(text) {
				continue
			}
			rest := strings.ToLower(text) // an error begins with a capital where it stands alone
			for _, s := range samples {
				rest = without(rest, s)
			}
			if left := latin.FindAllString(foreign.ReplaceAllString(rest, ""), -1); len(left) > 0 {
				t.Errorf("%s: %q in %q", p.Name, left, text)
			}
		}
	}
}

// readTexts are the texts that people read or hear, with single spaces.
func readTexts(n *html.Node) []string {
	var all []string
	add := func(text string) {
		if text = strings.Join(strings.Fields(text), " "); text != "" {
			all = append(all, text)
		}
	}
	if n.Type == html.TextNode {
		add(n.Data)
	}
	if n.Type == html.ElementNode {
		if slices.Contains(verbatim, n.Data) {
			return nil
		}
		for _, a := range n.Attr {
			if slices.Contains([]string{"title", "placeholder", "aria-label", "alt"}, a.Key) {
				add(a.Val)
			}
		}
	}
	for c := range n.ChildNodes() {
		all = append(all, readTexts(c)...)
	}
	return all
}

// sampleTexts are the literals of this package, the longest first.
func sampleTexts(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"shepherd", "kubevirt", "kubernetes", "english"}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, "_templ.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Error(err)
				}
				for _, piece := range tag.Split(text, -1) { // prose comes as HTML
					if piece = strings.ToLower(strings.Join(strings.Fields(piece), " ")); len(piece) > 1 {
						all = append(all, piece)
					}
				}
			}
			return true
		})
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(all)
}
