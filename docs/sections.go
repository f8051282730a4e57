package docs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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
	Heading string // in English and without markup of the level: its name in every language
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
	translated := translations(slug, lang)
	for _, s := range split(string(source)) {
		if t, ok := translated[s.Heading]; ok && t.of == fingerprint(s.Text) {
			s.Lang, s.Text = lang, t.text
		}
		list = append(list, s)
	}
	return list, true
}

// Stale says what is to be done in the translation of each guide that has one:
// which sections are missing or older than the English, and which mark a section
// gets that was translated again.
func Stale(lang string) []string {
	var list []string
	for _, slug := range order {
		translated := translations(slug, lang)
		if len(translated) == 0 {
			continue
		}
		source, _ := Read(slug)
		file := "docs/" + path.Join(lang, slug+".md")
		var there []string
		for _, s := range split(string(source)) {
			there = append(there, s.Heading)
			mark := fmt.Sprintf("<!-- of: %s %s -->", s.Heading, fingerprint(s.Text))
			switch t, ok := translated[s.Heading]; {
			case !ok:
				list = append(list, fmt.Sprintf("%s lacks the section %q. Translate it under %s", file, s.Heading, mark))
			case t.of != fingerprint(s.Text):
				list = append(list, fmt.Sprintf("%s: the English of %q has changed. Translate what is new, then mark it %s", file, s.Heading, mark))
			}
		}
		for heading := range translated {
			if !slices.Contains(there, heading) {
				list = append(list, fmt.Sprintf("%s: the English guide has no section %q any more", file, heading))
			}
		}
	}
	slices.Sort(list)
	return list
}

// split cuts a guide at its headings.
func split(text string) []Section {
	var list []Section
	inCode := false
	for line := range strings.Lines(text) {
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

// translations are the sections that a guide has in another language, by their
// English headings; none where it is not translated.
func translations(slug, lang string) map[string]translation {
	all := map[string]translation{}
	text, ok := read(path.Join(lang, slug+".md"))
	if !ok {
		return all
	}
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
