package i18n

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/text/language"
)

type langKey struct{}

// With marks all that is drawn with the context as for a reader of lang.
func With(ctx context.Context, lang string) context.Context {
	return context.WithValue(ctx, langKey{}, lang)
}

// Lang is the reader's language, English where nobody said.
func Lang(ctx context.Context) string {
	if lang, ok := ctx.Value(langKey{}).(string); ok {
		return lang
	}
	return English
}

var matcher = sync.OnceValue(func() language.Matcher {
	var tags []language.Tag
	for _, lang := range Languages() {
		tags = append(tags, language.MustParse(lang))
	}
	return language.NewMatcher(tags)
})

// maxAccept is how long a list of languages is read, in bytes.
const maxAccept = 500

// Match finds the language for a reader who prefers these, as an
// Accept-Language header lists them (RFC 9110, section 12.5.4).
func Match(accept string) string {
	_, i := language.MatchStrings(matcher(), accept[:min(len(accept), maxAccept)])
	return Languages()[i]
}

// Name is what a language calls itself.
func Name(lang string) string {
	if lang == Chinese {
		return "简体中文"
	}
	return "English"
}

// T is a text of a page in the reader's language. The English text itself is
// the key, as with gettext: it must stand in the call as a literal, so that a
// test finds what has no translation. {name} is a parameter; args are names and
// values by turns.
func T(ctx context.Context, text string, args ...any) string {
	c := of(Lang(ctx))
	if words, ok := c.pages[text]; ok {
		text = words
	}
	if !strings.ContainsAny(text, "{[") {
		return text
	}
	params := map[string]any{}
	for i := 0; i+1 < len(args); i += 2 {
		params[args[i].(string)] = args[i+1]
	}
	return c.fill(text, params)
}

// TN is T of a text with a count in it: one when n is 1, many otherwise. The
// parameter {n} is the count, and many is the key.
func TN(ctx context.Context, n int, one, many string, args ...any) string {
	text := many
	if n == 1 && Lang(ctx) == English {
		text = one
	}
	return T(ctx, text, append([]any{"n", n}, args...)...)
}

// N marks a literal that T translates later, where it is drawn.
func N(text string) string { return text }
