package audit

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every action that the use cases put on record is in the table, and every one
// of the table is put on record; so a new action has to say whether it changes
// something.
func TestActionsAreKnown(t *testing.T) {
	shape := regexp.MustCompile(`^(` + strings.Join(nouns(), "|") + `)\.[a-z][a-z_]*$`)
	found := map[string]bool{}
	dynamic := map[string]bool{} // verbs that are put behind the kind of a holder
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || path == "audit/changes.go" {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", path), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			l, ok := n.(*ast.BasicLit)
			if !ok || l.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(l.Value)
			if err == nil && shape.MatchString(text) && !strings.Contains(text, ".json") {
				found[text] = true
			}
			if err == nil && (text == "bind" || text == "unbind") {
				dynamic[text] = true
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for verb := range dynamic {
		found["user."+verb], found["group."+verb] = true, true
	}
	for name := range found {
		if _, known := actions[name]; !known {
			t.Errorf("the action %s is not in the table: say in changes.go whether it changes something", name)
		}
	}
	for name := range actions {
		if !found[name] && name != "ticket.decide" { // a refusal, which the handlers put on record
			t.Errorf("no use case puts %s on record", name)
		}
	}
	if len(found) < 30 {
		t.Fatalf("only %d actions found", len(found))
	}
}

func nouns() []string {
	all := []string{"session", "audit", "service_account", "keys"}
	for name := range fields {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// What an update may tell has a line in the allow-list.
func TestUpdatesHaveFields(t *testing.T) {
	for _, name := range Updates() {
		noun, _, _ := strings.Cut(name, ".")
		if noun == "session" || noun == "service_account" {
			noun = "user"
		}
		if noun == "audit" {
			noun = "audit_filter"
		}
		if len(fields[noun]) == 0 {
			t.Errorf("%s: no field of %s may be told", name, noun)
		}
	}
	for kind, names := range fields {
		for _, name := range names {
			if strings.Contains(name, "password") || strings.Contains(name, "secret") || strings.Contains(name, "hash") || strings.Contains(name, "token") || strings.Contains(name, "kubeconfig") {
				t.Errorf("%s.%s sounds like a secret", kind, name)
			}
		}
	}
}
