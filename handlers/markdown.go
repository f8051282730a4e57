package handlers

import (
	"bytes"

	"github.com/a-h/templ"
	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
)

// markdown reads documentation. Raw HTML in it is dropped by goldmark, which
// is not set to be unsafe, and what is left is cleaned once more: links are
// limited to schemes that cannot run anything and are not followed by robots.
type markdown struct {
	reader goldmark.Markdown
	policy *bluemonday.Policy
}

func newMarkdown() markdown {
	p := bluemonday.UGCPolicy()
	p.RequireNoFollowOnLinks(true)
	p.RequireNoReferrerOnLinks(true)
	p.AllowURLSchemes("http", "https", "mailto")
	// Alignment as an attribute: the content policy allows no style attributes.
	table := extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))
	return markdown{goldmark.New(goldmark.WithExtensions(table, extension.Strikethrough, extension.Linkify)), p}
}

// component is the documentation as a part of a page; nil when there is none.
func (m markdown) component(text string) (templ.Component, error) {
	if text == "" {
		return nil, nil
	}
	var b bytes.Buffer
	if err := m.reader.Convert([]byte(text), &b); err != nil {
		return nil, err
	}
	return templ.Raw(m.policy.SanitizeReader(&b).String()), nil
}
