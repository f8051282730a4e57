package arch_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/arch"
)

const root = "../.."

func TestForbiddenImports(t *testing.T) {
	found, err := arch.CheckForbiddenImports(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

func TestTransactionBoundary(t *testing.T) {
	found, err := arch.CheckTransactionBoundary(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

func TestDeletes(t *testing.T) {
	found, err := arch.CheckDeletes(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

func TestSecrets(t *testing.T) {
	found, err := arch.CheckSecrets(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

func TestWords(t *testing.T) {
	found, err := arch.CheckWords(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// The checks find what they are there for.
func TestChecksFindFaults(t *testing.T) {
	for name, c := range map[string]struct {
		file, code, want string
		check            func(string) ([]arch.Finding, error)
	}{
		"view imports ent": {
			"views/bad.go", `package views; import _ "kubevirt-shepherd.io/shepherd/ent"`, "must not import ent", arch.CheckForbiddenImports,
		},
		"handler imports a provider": {
			"handlers/bad.go", `package handlers; import _ "kubevirt-shepherd.io/shepherd/internal/provider"`, "must not import internal/provider", arch.CheckForbiddenImports,
		},
		"kubernetes outside its package": {
			"internal/usecase/vm/bad.go", `package vm; import _ "k8s.io/client-go/kubernetes"`, "its home", arch.CheckForbiddenImports,
		},
		"domain imports a library": {
			"internal/domain/bad.go", `package domain; import _ "github.com/google/uuid"`, "standard library only", arch.CheckForbiddenImports,
		},
		"use case imports the root": {
			"internal/usecase/vm/bad.go", `package vm; import _ "kubevirt-shepherd.io/shepherd/internal/app"`, "composition root", arch.CheckForbiddenImports,
		},
		"unknown package": {"internal/utils/bad.go", `package utils`, "no line in the floors", arch.CheckForbiddenImports},
		"SQL by hand": {
			"internal/usecase/vm/bad.go", "package vm; const q = `SELECT id FROM vms`", "SQL written by hand", arch.CheckForbiddenImports,
		},
		"transaction in a handler": {
			"handlers/bad.go", `package handlers; func f() { db.InTx(ctx, nil) }`, "only use cases", arch.CheckTransactionBoundary,
		},
		"cluster call in a transaction": {
			"internal/usecase/vm/bad.go",
			`package vm; func f() { db.InTx(ctx, func(tx *T) error { s.Provider.CreateVM(ctx); return nil }) }`,
			"inside a transaction", arch.CheckTransactionBoundary,
		},
		"reconciler that deletes": {
			"internal/usecase/vm/bad.go", `package vm; func (s *Service) Synced() { s.Provider.DeleteVM(ctx, ref) }`, "only the worker", arch.CheckDeletes,
		},
		"deleter kept for later": {"internal/usecase/cluster/bad.go", `package cluster; var f = p.DeleteVM`, "only the worker", arch.CheckDeletes},
		"row of a VM deleted":    {"internal/usecase/vm/bad.go", `package vm; func f() { tx.VM.Delete().Exec(ctx) }`, "stay for the record", arch.CheckDeletes},
		"field that prints a secret": {
			"internal/usecase/vm/bad.go", `package vm; type t struct{ keys map[string][]*domain.Secret }`, "holds a secret", arch.CheckSecrets,
		},
		"text drawn as markup":  {"views/bad.go", `package views; var x = templ.Raw("<b>")`, "as markup", arch.CheckSecrets},
		"text in a template":    {"views/bad.templ", "package views\n\ntempl bad() {\n\t<p>Delete it</p>\n}\n", "not translated", arch.CheckWords},
		"label in a template":   {"views/bad.templ", "package views\n\ntempl bad() {\n\t<a aria-label=\"Delete\"></a>\n}\n", "not translated", arch.CheckWords},
		"sentence in Go code":   {"handlers/bad.go", `package handlers; func f() { g("This is gone.") }`, "not translated", arch.CheckWords},
		"label in Go code":      {"handlers/bad.go", `package handlers; func f() { g("Gone") }`, "not translated", arch.CheckWords},
		"piece of a sentence":   {"handlers/bad.go", `package handlers; func f(s string) { g(s + " is gone") }`, "not translated", arch.CheckWords},
		"value in a sentence":   {"handlers/bad.go", `package handlers; func f() { i18n.T(ctx, key, "a", "It is gone") }`, "not translated", arch.CheckWords},
		"key that is joined":    {"handlers/bad.go", `package handlers; func f(s string) { i18n.T(ctx, "gone: " + s) }`, "put together", arch.CheckWords},
		"key that is unknown":   {"handlers/bad.go", `package handlers; func f() { i18n.T(ctx, "Gone") }`, "no Chinese", arch.CheckWords},
		"label that is unknown": {"handlers/bad.go", "package handlers; type form struct { A string `label:\"Gone\"` }", "no Chinese", arch.CheckWords},
		"value that is missing": {"handlers/bad.go", `package handlers; func f() { i18n.T(ctx, "{a}") }`, "nothing is given", arch.CheckWords},
		"value that is not used": {
			"handlers/bad.go", `package handlers; func f() { i18n.TN(ctx, n, "1 VM", "{n} VMs", "a", b) }`, "has no {a}", arch.CheckWords,
		},
		"key that nobody says": {"internal/i18n/zh-CN/bad.json", `{"Not said": "x"}`, "said nowhere", arch.CheckWords},
		"other placeholder":    {"internal/i18n/zh-CN/bad.json", `{"{a}": "{b}"}`, "placeholders", arch.CheckWords},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := filepath.Join(dir, c.file)
			if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(c.code), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := c.check(dir)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(found, func(f arch.Finding) bool { return strings.Contains(f.Text, c.want) }) {
				t.Errorf("found %v, none with %q", found, c.want)
			}
		})
	}
}
