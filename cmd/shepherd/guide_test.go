package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/docs"
	"kubevirt-shepherd.io/shepherd/internal/app"
)

// TestOperatorGuide: the guide, with that of signing in, has every command and
// every variable, and none that does not exist.
func TestOperatorGuide(t *testing.T) {
	raw, ok := docs.Read("operator-guide")
	if !ok {
		t.Fatal("no operator guide")
	}
	more, ok := docs.Read("sign-in-guide", docs.English)
	if !ok {
		t.Fatal("no guide of signing in")
	}
	text := string(raw) + string(more)
	for _, c := range commands {
		if usage := strings.TrimSpace("shepherd " + c.name + " " + c.args); !strings.Contains(text, "| `"+usage+"` |") {
			t.Errorf("the table of commands lacks %q", usage)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^(?:\\| `)?shepherd ([a-z]+)(?: ([a-z-]+))?").FindAllStringSubmatch(text, -1) {
		if !slices.ContainsFunc(commands, func(c command) bool { return c.name == m[1] || c.name == m[1]+" "+m[2] }) {
			t.Errorf("there is no command %q", m[0])
		}
	}

	read := map[string]bool{}
	if _, err := app.FromEnvironment(func(name string) string { read[name] = true; return "" }); err != nil {
		t.Fatal(err)
	}
	told := ""
	for _, v := range app.Variables() {
		told += v[0] + " "
	}
	variable := regexp.MustCompile(`\b(SHEPHERD|DATABASE)_[A-Z_]+\b`)
	inGuide := variable.FindAllString(text, -1)
	for _, name := range slices.Sorted(maps.Keys(read)) {
		if !slices.Contains(inGuide, name) || !slices.Contains(variable.FindAllString(told, -1), name) {
			t.Errorf("%s is read, and the guide or `shepherd help` does not have it", name)
		}
	}
	for _, name := range inGuide {
		if !read[name] {
			t.Errorf("the guide has %s, which nothing reads", name)
		}
	}
}
