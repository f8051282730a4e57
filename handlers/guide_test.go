package handlers

import (
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/docs"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
)

// TestPartlyTranslatedGuide: a section that has no translation is in English, and
// says so to readers and to what reads aloud.
func TestPartlyTranslatedGuide(t *testing.T) {
	source := "# Guide\n\n## One\n\n| A |\n|---|\n| b |\n\n## Two\n"
	v, err := readGuide(i18n.With(t.Context(), i18n.Chinese), []byte(source), []docs.Section{
		{Heading: "Guide", Lang: i18n.Chinese, Text: []byte("# 指南\n")},
		{Heading: "One", Lang: docs.English, Text: []byte("## One\n\n| A |\n|---|\n| b |\n")},
		{Heading: "Two", Lang: i18n.Chinese, Text: []byte("## 二\n\n[一](guide.md#one)\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := v.Body.Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<h1 id="guide">指南</h1>`, `<h2 id="one" lang="en">One</h2>` + "\n" + `<p class="text-muted">本节尚无最新的中文翻译`,
		`aria-label="表格"><table lang="en">`, `<h2 id="two">二</h2>`, `<a href="/docs/guide#one">`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in %s", want, b.String())
		}
	}
	if v.Lang != i18n.Chinese || v.Title != "指南" || len(v.Headings) != 2 || v.Headings[1].ID != "two" {
		t.Errorf("got %+v", v)
	}
	if _, err := readGuide(t.Context(), []byte(source), nil); err == nil {
		t.Error("a guide whose headings are miscounted is drawn")
	}
}
