package docs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// English is the language in which the guides are written, as a BCP 47 tag.
const English = "en"

// Section is a heading of a guide with what stands under it up to the next
// heading, of whatever level.
type Section struct {
	Heading string // in English: its name in every language
	Lang    string // of Text, BCP 47
	Text    []byte // Markdown that begins with the heading
}

// Sections is a guide for a reader of lang, with the sections of the English
// guide in their order. A section that has no translation, or one of an English
// text that has changed since, is in English: what is read is never older than
// the source.
//
// In a translation each section has its own mark, with the English heading and
// the fingerprint of the English text:
//
//	<!-- of: Make a system 1a2b3c4d -->
//	## 创建系统
func Sections(slug, lang string) (list []Section, ok bool) {
	source, ok := Read(slug)
	if !ok {
		return nil, false
	}
	return translate(source, inLanguage(slug, lang), lang), true
}

func translate(source, translated []byte, lang string) []Section {
	list, known := split(source), translations(translated)
	for i, s := range list {
		if t, ok := known[s.Heading]; ok && t.of == fingerprint(s.Text) {
			list[i].Lang, list[i].Text = lang, t.text
		}
	}
	return list
}

// Stale says what is to be done in the guides that are translated: which sections
// are missing or older than the English, and how each is marked afterwards.
func Stale(lang string) []string {
	var list []string
	for _, slug := range order {
		source, _ := Read(slug)
		for _, line := range stale(source, inLanguage(slug, lang)) {
			list = append(list, path.Join("docs", lang, slug+".md")+": "+line)
		}
	}
	return list
}

func stale(source, translated []byte) []string {
	known := translations(translated)
	if len(known) == 0 {
		return nil
	}
	var list []string
	for _, s := range split(source) {
		want := fingerprint(s.Text)
		switch t, ok := known[s.Heading]; {
		case !ok:
			list = append(list, fmt.Sprintf("no section %q. Translate it under <!-- of: %s %s -->", s.Heading, s.Heading, want))
		case t.of != want:
			list = append(list, fmt.Sprintf("the English of %q has changed. Follow it, then write <!-- of: %s %s -->", s.Heading, s.Heading, want))
		}
		delete(known, s.Heading)
	}
	for _, heading := range slices.Sorted(maps.Keys(known)) {
		list = append(list, fmt.Sprintf("the English guide has no section %q any more", heading))
	}
	return list
}

// split cuts a guide at its headings.
func split(guide []byte) []Section {
	var list []Section
	inCode := false
	for line := range strings.Lines(string(guide)) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inCode = !inCode
		}
		if level := strings.IndexFunc(line, func(r rune) bool { return r != '#' }); level > 0 && line[level] == ' ' && !inCode {
			list = append(list, Section{Heading: strings.TrimSpace(line[level:]), Lang: English})
		}
		if len(list) > 0 {
			last := &list[len(list)-1]
			last.Text = append(last.Text, line...)
		}
	}
	return list
}

// translation is a section in another language. of is the fingerprint of the
// English text that it translates.
type translation struct {
	of   string
	text []byte
}

var mark = regexp.MustCompile(`(?m)^<!-- of: (.+) ([0-9a-f]{8}) -->\n`)

// inLanguage is the Markdown of a guide in another language than English, nil
// when it has none.
func inLanguage(slug, lang string) []byte {
	text, _ := read(path.Join(lang, slug+".md"))
	return text
}

// translations are the sections of a translated guide by their English headings.
func translations(text []byte) map[string]translation {
	all := map[string]translation{}
	marks := mark.FindAllSubmatchIndex(text, -1)
	for i, m := range marks {
		end := len(text)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		all[string(text[m[2]:m[3]])] = translation{string(text[m[4]:m[5]]), text[m[1]:end]}
	}
	return all
}

// fingerprint tells one English text from another. Where lines are broken does
// not matter.
func fingerprint(text []byte) string {
	sum := sha256.Sum256([]byte(strings.Join(strings.Fields(string(text)), " ")))
	return hex.EncodeToString(sum[:4])
}
