package docs

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const zh = "zh-CN"

func TestTranslate(t *testing.T) {
	source := "# Guide\n\nWords.\n\n## Old\n\nNew\nwords.\n\n```sh\n# no heading\n```\n\n## Same\n\nText.\n\n## Missing\n\nText.\n"
	marked := func(heading, of, text string) string { return "<!-- of: " + heading + " " + of + " -->\n" + text }
	parts := split([]byte(source))
	translated := marked("Guide", fingerprint(parts[0].Text), "# 指南\n\n") + marked("Old", "0123abcd", "## 旧\n\n") +
		marked("Same", fingerprint([]byte("##  Same Text.")), "## 相同\n\n文字。\n") + marked("Gone", "0123abcd", "## 没了\n")

	want := []Section{{"Guide", zh, []byte("# 指南\n\n")}, {"Old", English, parts[1].Text}, {"Same", zh, []byte("## 相同\n\n文字。\n")}, {"Missing", English, []byte("## Missing\n\nText.\n")}}
	got := translate([]byte(source), []byte(translated), zh)
	if !slices.EqualFunc(got, want, func(a, b Section) bool {
		return a.Heading == b.Heading && a.Lang == b.Lang && string(a.Text) == string(b.Text)
	}) {
		t.Errorf("got %q", got)
	}
	if !strings.Contains(string(got[1].Text), "# no heading") {
		t.Errorf("a comment in code cuts a section: %q", got[1].Text)
	}

	list := stale([]byte(source), []byte(translated))
	for i, part := range []string{`the English of "Old" has changed`, `no section "Missing"`, `no section "Gone" any more`} {
		if i >= len(list) || !strings.Contains(list[i], part) {
			t.Errorf("stale lacks %q: %q", part, list)
		}
	}
	again := strings.Replace(translated, "of: Old 0123abcd", "of: Old "+fingerprint(parts[1].Text), 1)
	if !strings.Contains(list[0], "<!-- of: Old "+fingerprint(parts[1].Text)+" -->") || translate([]byte(source), []byte(again), zh)[1].Lang != zh {
		t.Errorf("the mark that stale tells is not the one that counts: %q", list[0])
	}
	if got := stale([]byte(source), nil); got != nil {
		t.Errorf("a guide without a translation is stale: %q", got)
	}
}

var (
	codeBlock = regexp.MustCompile("(?ms)^```.*?^```")
	codeSpan  = regexp.MustCompile("`[^`\n]+`")
	linkTo    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	tableRow  = regexp.MustCompile(`(?m)^\|`)
	listItem  = regexp.MustCompile(`(?m)^(\d+\.|-) `)
)

// TestTranslatedSections: what a program reads, where links lead, pictures, rows
// and steps are in a translation as they are in English.
func TestTranslatedSections(t *testing.T) {
	checked := 0
	for _, slug := range Slugs() {
		english, _ := Sections(slug, English)
		chinese, _ := Sections(slug, zh)
		if len(english) != len(chinese) {
			t.Fatalf("%s has %d sections, in Chinese %d", slug, len(english), len(chinese))
		}
		names := map[string]bool{}
		for i, en := range english {
			section := chinese[i]
			if section.Lang != zh {
				continue
			}
			checked++
			at := slug + ", " + en.Heading
			if names[en.Heading] {
				t.Errorf("%s: two sections have this name, so a translation cannot tell them apart", at)
			}
			names[en.Heading] = true
			level := func(s Section) string { return string(s.Text[:strings.Index(string(s.Text), " ")]) }
			if parts := split(section.Text); len(parts) != 1 || level(section) != level(en) {
				t.Errorf("%s: %d headings of level %q, want one of %q", at, len(parts), level(section), level(en))
			}
			if strings.Contains(string(section.Text), "<!--") {
				t.Errorf("%s: there is a comment, or a mark with a mistake, in it", at)
			}
			same := func(what string, find func(text string) []string) {
				got, want := find(string(section.Text)), find(string(en.Text))
				if !slices.Equal(got, want) {
					t.Errorf("%s: %s are %q, want %q", at, what, got, want)
				}
			}
			same("code blocks", func(text string) []string { return codeBlock.FindAllString(text, -1) })
			same("words in code", func(text string) []string {
				return slices.Sorted(slices.Values(codeSpan.FindAllString(codeBlock.ReplaceAllString(text, ""), -1)))
			})
			same("links and pictures", func(text string) (list []string) {
				for _, m := range linkTo.FindAllStringSubmatch(text, -1) {
					to := strings.TrimPrefix(m[1], "../")
					list = append(list, strings.Replace(to, "."+zh+".svg", ".svg", 1)) // a drawing has words of its own
				}
				slices.Sort(list)
				return list
			})
			same("rows of tables", func(text string) []string { return tableRow.FindAllString(codeBlock.ReplaceAllString(text, ""), -1) })
			same("items of lists", func(text string) []string { return listItem.FindAllString(codeBlock.ReplaceAllString(text, ""), -1) })
			for _, m := range linkTo.FindAllStringSubmatch(string(section.Text), -1) {
				file, _, _ := strings.Cut(m[1], "#")
				if file == "" || strings.Contains(file, "://") {
					continue
				}
				name := path.Base(file)
				if _, there := read(path.Join(zh, file)); !there && path.Ext(name) != ".webp" { // some pictures are yet to be taken
					t.Errorf("%s: %s does not exist", at, m[1])
				}
				if there := inLanguage(strings.TrimSuffix(name, ".md"), zh) != nil; there != !strings.HasPrefix(file, "../") {
					t.Errorf("%s: in the repository %s leads to the wrong place", at, m[1])
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no section is in Chinese: see make guides")
	}
}
