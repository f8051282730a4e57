package handlers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"

	"kubevirt-shepherd.io/shepherd/docs"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// showDocs answers GET /docs and GET /docs/{guide}.
func (s *Server) showDocs(w http.ResponseWriter, r *http.Request) error {
	all, err := s.guides()
	if err != nil {
		return err
	}
	for i, v := range all[lang(r)] {
		if v.Guides[i].Href != r.URL.Path {
			continue
		}
		sh, err := s.shell(r, v.Guides[i].Title, "docs")
		if err != nil {
			return err
		}
		return s.page(w, r, http.StatusOK, views.Docs(sh, v))
	}
	return apperr.New(apperr.ErrNotFound)
}

// docsImage answers GET /docs/images/{name}. An address with the hash of the
// content, as the guides have it, may be kept for ever.
func (s *Server) docsImage(w http.ResponseWriter, r *http.Request) error {
	data, ok := docs.Image(param(r, "name"))
	contentType := map[string]string{".webp": "image/webp", ".svg": "image/svg+xml"}[path.Ext(param(r, "name"))]
	if !ok || contentType == "" {
		return apperr.New(apperr.ErrNotFound)
	}
	tag := contentHash(data)
	h := w.Header()
	h.Set("ETag", `"`+tag+`"`)
	h.Set("Cache-Control", "private, no-cache")
	if r.URL.Query().Get("v") == tag {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		return s.send(w, r, http.StatusNotModified, "", nil)
	}
	return s.send(w, r, http.StatusOK, contentType, data)
}

func contentHash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:6])
}

// readGuides draws all guides for the readers of each language; they are part of
// the binary, so once is enough.
func readGuides() (map[string][]views.DocsView, error) {
	all := map[string][]views.DocsView{}
	for _, lang := range i18n.Languages() {
		var list []views.DocsLink
		for _, slug := range docs.Slugs() {
			source, _ := docs.Read(slug)
			sections, _ := docs.Sections(slug, lang)
			v, err := readGuide(i18n.With(context.Background(), lang), source, sections)
			if err != nil {
				return nil, err
			}
			list = append(list, views.DocsLink{Title: v.Title, Href: guidePath(slug), Lang: v.Lang})
			all[lang] = append(all[lang], v)
		}
		for i := range all[lang] {
			all[lang][i].Guides, all[lang][i].Current = list, i
		}
	}
	return all, nil
}

// guidePath is the address of a guide by its slug.
func guidePath(slug string) string {
	if slug == docs.Index {
		return paths.Docs
	}
	return paths.Guide(slug)
}

// guideReader reads our own text, so nothing is cleaned. Alignment is an
// attribute: the content policy allows no style attributes.
var guideReader = goldmark.New(
	goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
)

// readGuide draws the sections of one guide: links lead to pages of the portal,
// images have their size, headings are listed. A heading has the id of the one of
// the English source, so that a link leads to the same place in every language.
func readGuide(ctx context.Context, source []byte, sections []docs.Section) (views.DocsView, error) {
	v := views.DocsView{Lang: docs.English}
	if slices.ContainsFunc(sections, func(s docs.Section) bool { return s.Lang == i18n.Lang(ctx) }) {
		v.Lang = i18n.Lang(ctx)
	}
	ids := headingIDs(source)
	if len(ids) != len(sections) {
		return v, fmt.Errorf("a guide has %d headings and %d sections", len(ids), len(sections))
	}
	var b bytes.Buffer
	for i, s := range sections {
		doc := guideReader.Parser().Parse(text.NewReader(s.Text))
		if s.Lang != v.Lang {
			for n := doc.FirstChild(); n != nil; n = n.NextSibling() {
				n.SetAttributeString("lang", []byte(s.Lang))
			}
		}
		err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
			if !entering {
				return ast.WalkContinue, nil
			}
			switch n := n.(type) {
			case *ast.Heading:
				n.SetAttributeString("id", []byte(ids[i]))
				title := plainText(n, s.Text)
				switch n.Level {
				case 1:
					v.Title = title
				case 2, 3:
					v.Headings = append(v.Headings, views.DocsHeading{ID: ids[i], Title: title, Sub: n.Level == 3})
				}
				if s.Lang != v.Lang {
					note := ast.NewString([]byte(`<p class="text-muted">` + templ.EscapeString(i18n.T(ctx, "This section is not translated yet.")) + "</p>\n"))
					note.SetCode(true) // written as it is
					doc.InsertAfter(doc, n, note)
				}
			case *ast.Link:
				n.Destination = []byte(guideLink(string(n.Destination)))
			case *ast.Image:
				return ast.WalkSkipChildren, guideImage(n, s.Text)
			}
			return ast.WalkContinue, nil
		})
		if err != nil {
			return v, err
		}
		if err := guideReader.Renderer().Render(&b, s.Text, doc); err != nil {
			return v, err
		}
	}
	v.Body = templ.Raw(guideBoxes(ctx).Replace(b.String()))
	return v, nil
}

// guideBoxes lets wide tables and code scroll in a box of their own, which the
// keyboard reaches.
func guideBoxes(ctx context.Context) *strings.Replacer {
	return strings.NewReplacer(
		"<table", `<div class="overflow-x-auto" tabindex="0" role="group" aria-label="`+templ.EscapeString(i18n.T(ctx, "Table"))+`"><table`, "</table>", "</table></div>",
		"<pre>", `<pre tabindex="0">`,
	)
}

// headingIDs are the ids of the headings of a guide, in their order.
func headingIDs(source []byte) []string {
	var list []string
	// The walk only reads, so it has no error to tell.
	_ = ast.Walk(guideReader.Parser().Parse(text.NewReader(source)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if h, ok := n.(*ast.Heading); ok && entering {
			id, _ := h.AttributeString("id")
			list = append(list, string(id.([]byte)))
		}
		return ast.WalkContinue, nil
	})
	return list
}

// plainText is the text of a node without its markup.
func plainText(n ast.Node, source []byte) string {
	var b strings.Builder
	// The walk only reads, so it has no error to tell.
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// guideLink leads from user-guide.md#x, as the repository has it, to the page;
// from the folder of a translation, too.
func guideLink(to string) string {
	file, heading, found := strings.Cut(to, "#")
	slug, ok := strings.CutSuffix(strings.TrimPrefix(file, "../"), ".md")
	if !ok {
		return to
	}
	if found {
		heading = "#" + heading
	}
	return guidePath(slug) + heading
}

// guideImage gives an image its address and size, so that nothing moves when it
// comes. A drawing goes into the page, where it takes the colours of the theme.
// For one that does not exist its description stands.
func guideImage(n *ast.Image, source []byte) error {
	name := path.Base(string(n.Destination))
	n.Destination = []byte(paths.DocsImage(name))
	data, ok := docs.Image(name)
	if !ok {
		return nil
	}
	if path.Ext(name) == ".svg" {
		label := templ.EscapeString(plainText(n, source))
		drawing := ast.NewString(bytes.Replace(data, []byte("<svg "), []byte(`<svg role="img" aria-label="`+label+`" `), 1))
		drawing.SetCode(true) // written as it is
		n.Parent().ReplaceChild(n.Parent(), n, drawing)
		return nil
	}
	n.Destination = append(n.Destination, "?v="+contentHash(data)...)
	n.SetAttributeString("loading", []byte("lazy"))
	if width, height, ok := docs.WebPSize(data); ok {
		n.SetAttributeString("width", []byte(strconv.Itoa(width)))
		n.SetAttributeString("height", []byte(strconv.Itoa(height)))
	}
	return nil
}
