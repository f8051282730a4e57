// Package i18n turns the codes of errors and problems, with their parameters,
// into sentences for people. A sentence has three parts (DESIGN.md section 9):
// what happened, why, and what to do next; the fact comes first.
//
// The result is plain text. Parameters may be of foreign origin, so whoever
// draws a sentence escapes it like any other text.
package i18n

import (
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// The languages, as BCP 47 tags. English is the language of the sources, and of
// every reader whose language has no catalogue.
const (
	English = "en"
	Chinese = "zh-CN"
)

// Languages lists all of them, the language of the sources first.
func Languages() []string { return []string{English, Chinese} }

// Message says what happened, why, and what to do next. Why and Next may be
// empty; What never is.
type Message struct{ What, Why, Next string }

// Text is the whole message in one line.
func (m Message) Text() string { return Join(m.What, m.Why, m.Next) }

// Join puts sentences behind one another; empty ones are left out. Chinese has
// no spaces between them.
func Join(sentences ...string) string {
	out := ""
	for _, s := range sentences {
		if s == "" {
			continue
		}
		out = Sentence(out)
		if strings.HasSuffix(out, ".") {
			out += " "
		}
		out += s
	}
	return out
}

// Sentence ends a text with a full stop, the Chinese one after a Chinese
// letter; a cluster's own words may end anyhow. No text is no sentence.
func Sentence(text string) string {
	last, _ := utf8.DecodeLastRuneInString(text)
	switch {
	case text == "", last == '.', last == '。':
		return text
	case unicode.Is(unicode.Han, last):
		return text + "。"
	}
	return text + "."
}

// Phrase is a sentence without its full stop.
func Phrase(text string) string { return strings.TrimRight(text, ".。") }

// catalogue is one language. Its texts are patterns, see fill.
type catalogue struct {
	errors  map[string]Message // by error code and problem code
	fields  map[string]string  // by error code: one line at a form field
	texts   map[string]string  // by key: everything else
	pages   map[string]string  // by the English pattern: the words of pages
	formats formats
}

// of is the catalogue of a language. What another language has no words for
// reads in English.
func of(lang string) *catalogue {
	if lang == Chinese {
		return chinese()
	}
	return &english
}

// Error is the message of an error or problem code. A code without a sentence
// reads as INTERNAL, because a code alone tells a person nothing.
func Error(lang, code string, params map[string]any) Message {
	c := of(lang)
	m, ok := c.errors[code]
	if !ok {
		m = c.errors[apperr.ErrInternal]
	}
	return Message{What: c.fill(m.What, params), Why: c.fill(m.Why, params), Next: c.fill(m.Next, params)}
}

// Problem is the message of why a VM or a cluster is not well; the cluster's own
// words are the parameter text.
func Problem(lang string, p domain.Problem) Message {
	if p.Text == "" {
		return Error(lang, p.Code, p.Params)
	}
	return Error(lang, p.Code, with(p.Params, "text", p.Text))
}

// Field is the one line that stands at a form field: what to do, in the field's
// own words. label is the field's label; the pattern may use it as {label}. A
// code without a line of its own takes what happened and what to do of Error.
func Field(lang, code, label string, params map[string]any) string {
	c := of(lang)
	pattern, ok := c.fields[code]
	if !ok {
		m := Error(lang, code, params)
		return Message{What: m.What, Next: m.Next}.Text()
	}
	if label != "" {
		params = with(params, "label", label)
	}
	return c.fill(pattern, params)
}

func with(params map[string]any, name string, value any) map[string]any {
	all := maps.Clone(params)
	if all == nil {
		all = map[string]any{}
	}
	all[name] = value
	return all
}

// Text is any other text of the catalogue. An unknown key is shown as it is:
// ugly, but it loses nothing.
func Text(lang, key string, params map[string]any) string {
	c := of(lang)
	pattern, ok := c.texts[key]
	if !ok {
		return key
	}
	return c.fill(pattern, params)
}
