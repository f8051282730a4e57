package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestNoticesAreComplete: the list of licences is that of what is built now, and
// each of them is known.
func TestNoticesAreComplete(t *testing.T) {
	t.Chdir("../..")
	var now bytes.Buffer
	if err := run(&now); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile("THIRD_PARTY_NOTICES.md")
	if err != nil {
		t.Fatal(err)
	}
	if now.String() != string(kept) {
		t.Error("THIRD_PARTY_NOTICES.md is not what the binary has: go run ./internal/notices > THIRD_PARTY_NOTICES.md")
	}
	for line := range strings.Lines(now.String()) {
		if strings.Contains(line, "see source") {
			t.Errorf("no licence is known: %s", line)
		}
	}
	text, err := os.ReadFile("package.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"htmx.org", "htmx-ext-sse", "lucide-static", "tailwindcss"} {
		if !strings.Contains(string(text), `"`+name+`"`) || !strings.Contains(now.String(), name) {
			t.Errorf("%s is shipped, and not in both lists", name)
		}
	}
}
