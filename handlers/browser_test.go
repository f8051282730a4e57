package handlers_test

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// browser sends requests as a browser does: with cookies and the headers that
// say where a request comes from. It does not follow redirects.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
	header http.Header
}

func newBrowser(t *testing.T, base string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, base: base, header: http.Header{"Sec-Fetch-Site": {"same-origin"}}, client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// page is an answer. Its document can be asked with a small subset of CSS.
type page struct {
	t        *testing.T
	what     string
	Status   int
	Header   http.Header
	Location string
	Body     string
	doc      *html.Node
}

// with is a browser that sends more headers, with the same cookies.
func (b *browser) with(pairs ...string) *browser {
	c := *b
	c.header = maps.Clone(b.header)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			c.header.Del(pairs[i])
		} else {
			c.header.Set(pairs[i], pairs[i+1])
		}
	}
	return &c
}

// part asks as HTMX does for an element of a page.
func (b *browser) part(id string) *browser {
	return b.with("HX-Request", "true", "HX-Target", id)
}

func (b *browser) get(path string) *page { return b.do(http.MethodGet, path, "", nil) }

// post sends a form; fields are names and values in turn.
func (b *browser) post(path string, fields ...string) *page {
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return b.do(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

func (b *browser) do(method, path, contentType string, body io.Reader) *page {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	maps.Copy(req.Header, b.header)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	p := &page{t: b.t, what: method + " " + path, Status: res.StatusCode, Header: res.Header, Location: res.Header.Get("Location"), Body: string(text)}
	if p.doc, err = html.Parse(bytes.NewReader(text)); err != nil {
		b.t.Fatal(err)
	}
	return p
}

// follow reads the page that an answer leads to.
func (b *browser) follow(p *page) *page {
	b.t.Helper()
	if p.Status != http.StatusSeeOther || p.Location == "" {
		b.t.Fatalf("%s: got %d, want a redirect\n%s", p.what, p.Status, p.main())
	}
	return b.get(p.Location)
}

// is ends the test unless the answer has this status.
func (p *page) is(status int) *page {
	p.t.Helper()
	if p.Status != status {
		p.t.Fatalf("%s: got %d, want %d\n%s", p.what, p.Status, status, p.main())
	}
	return p
}

// main is the text of the page's main part, for messages.
func (p *page) main() string {
	for _, sel := range []string{"main", "body"} {
		if n := p.find(sel); len(n) > 0 {
			return text(n[0])
		}
	}
	return p.Body
}

// text is the text of the first element that matches, "" when none does.
func (p *page) text(selector string) string {
	if n := p.find(selector); len(n) > 0 {
		return text(n[0])
	}
	return ""
}

func (p *page) has(selector string) bool { return len(p.find(selector)) > 0 }

// attr is an attribute of the first element that matches.
func (p *page) attr(selector, name string) string {
	for _, n := range p.find(selector) {
		return attribute(n, name)
	}
	return ""
}

// wants reports what the main part does not say.
func (p *page) wants(texts ...string) *page {
	p.t.Helper()
	main := p.main()
	for _, want := range texts {
		if !strings.Contains(main, want) {
			p.t.Errorf("%s: no %q in: %s", p.what, want, main)
		}
	}
	return p
}

// html is the first element that matches, as text.
func (p *page) html(selector string) string {
	n := p.find(selector)
	if len(n) == 0 {
		return ""
	}
	var b strings.Builder
	if err := html.Render(&b, n[0]); err != nil {
		p.t.Fatal(err)
	}
	return b.String()
}

// find knows tags, #id, .class, [attr], [attr=value] and descendants.
func (p *page) find(selector string) []*html.Node {
	list := []*html.Node{p.doc}
	for step := range strings.FieldsSeq(selector) {
		match := matcher(step)
		var next []*html.Node
		for _, from := range list {
			for n := range from.Descendants() {
				if n.Type == html.ElementNode && match(n) && !slices.Contains(next, n) {
					next = append(next, n)
				}
			}
		}
		list = next
	}
	return list
}

func matcher(step string) func(*html.Node) bool {
	var rules []func(*html.Node) bool
	for step != "" {
		end := strings.IndexAny(step[1:], "#.[") + 1
		if step[0] == '[' {
			end = strings.IndexByte(step, ']') + 1
		}
		if end <= 0 {
			end = len(step)
		}
		one := step[:end]
		step = step[end:]
		switch one[0] {
		case '#':
			rules = append(rules, func(n *html.Node) bool { return attribute(n, "id") == one[1:] })
		case '.':
			rules = append(rules, func(n *html.Node) bool { return slices.Contains(strings.Fields(attribute(n, "class")), one[1:]) })
		case '[':
			name, value, exact := strings.Cut(one[1:len(one)-1], "=")
			rules = append(rules, func(n *html.Node) bool {
				for _, a := range n.Attr {
					if a.Key == name {
						return !exact || a.Val == value
					}
				}
				return false
			})
		default:
			rules = append(rules, func(n *html.Node) bool { return n.Data == one })
		}
	}
	return func(n *html.Node) bool {
		for _, r := range rules {
			if !r(n) {
				return false
			}
		}
		return true
	}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text is what an element says, with single spaces.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func TestSelectors(t *testing.T) {
	doc, err := html.Parse(strings.NewReader(`<main id=m><p class="a b">one</p><p hx-get=/x>two <b>three</b></p></main>`))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{t: t, doc: doc}
	for selector, want := range map[string]string{"p": "one", "p.b": "one", "#m [hx-get]": "two three", "main p[hx-get=/x] b": "three", "p.c": "", "[hx-get=/y]": ""} {
		if got := p.text(selector); got != want {
			t.Errorf("%s: got %q, want %q", selector, got, want)
		}
	}
}

func (b *browser) setCookie(c *http.Cookie) {
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	b.client.Jar.SetCookies(u, []*http.Cookie{c})
}

// cookie is a cookie as it would be sent, or nil.
func (b *browser) cookie(name string) *http.Cookie {
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == name {
			return c
		}
	}
	return nil
}
