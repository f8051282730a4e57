package i18n

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What a Chinese guide sets in bold is what the pages say.
func TestChineseGuidesNameWhatIsShown(t *testing.T) {
	shown := slices.Collect(maps.Values(chinese().pages))
	for _, lang := range Languages() {
		shown = append(shown, Name(lang))
	}
	// People of the demo, and words that only begin a point.
	shown = append(shown, "developer", "approver", "admin", "auditor", "newcomer", "粗体", "要撤回申请", "要加快处理", "要修改等待中的申请")
	guides, err := filepath.Glob("../../docs/*." + Chinese + ".md")
	if err != nil || len(guides) == 0 {
		t.Fatal(guides, err)
	}
	for _, name := range guides {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\*\*([^*]+)\*\*`).FindAllStringSubmatch(string(text), -1) {
			part := func(text string) bool { return strings.Contains(text, m[1]) } // a button may name a thing as well
			if !slices.ContainsFunc(shown, part) {
				t.Errorf("%s: no page says %q", filepath.Base(name), m[1])
			}
		}
	}
}
