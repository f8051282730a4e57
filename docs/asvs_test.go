package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/docs"
)

// requirements are those of ASVS 5.0.0 at level 1 and 2, by section: numbers of
// level 1, then of level 2.
var requirements = map[string][2]string{
	"1.1":  {"", "1 2"},
	"1.2":  {"1 2 3 4 5", "6 7 8 9"},
	"1.3":  {"1 2", "3 4 5 6 7 8 9 10 11"},
	"1.4":  {"", "1 2 3"},
	"1.5":  {"1", "2"},
	"2.1":  {"1", "2 3"},
	"2.2":  {"1 2", "3"},
	"2.3":  {"1", "2 3 4"},
	"2.4":  {"", "1"},
	"3.2":  {"1 2", ""},
	"3.3":  {"1", "2 3 4"},
	"3.4":  {"1 2", "3 4 5 6"},
	"3.5":  {"1 2 3", "4 5"},
	"3.7":  {"", "1 2"},
	"4.1":  {"1", "2 3"},
	"4.2":  {"", "1"},
	"4.3":  {"", "1 2"},
	"4.4":  {"1", "2 3 4"},
	"5.1":  {"", "1"},
	"5.2":  {"1 2", "3"},
	"5.3":  {"1 2", ""},
	"5.4":  {"", "1 2 3"},
	"6.1":  {"1", "2 3"},
	"6.2":  {"1 2 3 4 5 6 7 8", "9 10 11 12"},
	"6.3":  {"1 2", "3 4"},
	"6.4":  {"1 2", "3 4"},
	"6.5":  {"", "1 2 3 4 5"},
	"6.6":  {"", "1 2 3"},
	"6.8":  {"", "1 2 3 4"},
	"7.1":  {"", "1 2 3"},
	"7.2":  {"1 2 3 4", ""},
	"7.3":  {"", "1 2"},
	"7.4":  {"1 2", "3 4 5"},
	"7.5":  {"", "1 2"},
	"7.6":  {"", "1 2"},
	"8.1":  {"1", "2"},
	"8.2":  {"1 2", "3"},
	"8.3":  {"1", ""},
	"8.4":  {"", "1"},
	"9.1":  {"1 2 3", ""},
	"9.2":  {"1", "2 3 4"},
	"10.1": {"", "1 2"},
	"10.2": {"", "1 2"},
	"10.3": {"", "1 2 3 4"},
	"10.4": {"1 2 3 4 5", "6 7 8 9 10 11"},
	"10.5": {"", "1 2 3 4 5"},
	"10.6": {"", "1 2"},
	"10.7": {"", "1 2 3"},
	"11.1": {"", "1 2"},
	"11.2": {"", "1 2 3"},
	"11.3": {"1 2", "3"},
	"11.4": {"1", "2 3 4"},
	"11.5": {"", "1"},
	"11.6": {"", "1"},
	"12.1": {"1", "2 3"},
	"12.2": {"1 2", ""},
	"12.3": {"", "1 2 3 4"},
	"13.1": {"", "1"},
	"13.2": {"", "1 2 3 4 5"},
	"13.3": {"", "1 2"},
	"13.4": {"1", "2 3 4 5"},
	"14.1": {"", "1 2"},
	"14.2": {"1", "2 3 4"},
	"14.3": {"1", "2 3"},
	"15.1": {"1", "2 3"},
	"15.2": {"1", "2 3"},
	"15.3": {"1", "2 3 4 5 6 7"},
	"16.1": {"", "1"},
	"16.2": {"", "1 2 3 4 5"},
	"16.3": {"", "1 2 3 4"},
	"16.4": {"", "1 2 3"},
	"16.5": {"", "1 2 3"},
	"17.1": {"", "1"},
	"17.2": {"", "1 2 3 4"},
	"17.3": {"", "1 2"},
}

var (
	row      = regexp.MustCompile(`^\| (\d+\.\d+)\.(\d+) \| ([12]) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)
	testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
	declared = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
)

// TestChecklist: the security checklist has every requirement of both levels
// once, each with a state, and every test that it names exists.
func TestChecklist(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{"node_modules", ".git", "bin", "data"}, d.Name()) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := docs.Read("asvs")
	missing, count := map[string]bool{}, [3]int{}
	for section, levels := range requirements {
		for i, numbers := range levels {
			for n := range strings.FieldsSeq(numbers) {
				missing[fmt.Sprintf("%s.%s level %d", section, n, i+1)] = true
				count[i+1]++
			}
		}
	}
	if count[1] != 70 || count[2] != 183 {
		t.Errorf("%d requirements of level 1 and %d of level 2; the standard has 70 and 183", count[1], count[2])
	}
	states := map[string]int{}
	for line := range strings.Lines(string(text)) {
		m := row.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			if strings.HasPrefix(line, "| ") && strings.Contains(line, ".") && regexp.MustCompile(`^\| \d`).MatchString(line) {
				t.Errorf("cannot be read: %s", line)
			}
			continue
		}
		key := fmt.Sprintf("%s.%s level %s", m[1], m[2], m[3])
		if !missing[key] {
			t.Errorf("%s is there twice, or not in the standard", key)
		}
		delete(missing, key)
		state := m[5]
		states[state]++
		if !slices.Contains([]string{"met", "operator", "open", "n/a"}, state) {
			t.Errorf("%s has the state %q", key, state)
		}
	}
	for key := range missing {
		t.Errorf("%s is missing", key)
	}
	named := testName.FindAllStringSubmatch(string(text), -1)
	for _, m := range named {
		if !tests[m[1]] {
			t.Errorf("the test %s does not exist", m[1])
		}
	}
	if len(named) < 150 {
		t.Errorf("only %d tests are named", len(named))
	}
	t.Logf("%v, %d tests named", states, len(named))
}
