// Command check runs the three checks that the seed of the project names, and
// those about deletes, secrets and translations, and prints what they find.
package main

import (
	"fmt"
	"os"

	"kubevirt-shepherd.io/shepherd/internal/arch"
)

func main() {
	bad := false
	for _, c := range []struct {
		name string
		run  func(root string) ([]arch.Finding, error)
	}{
		{"check_ent_codegen", arch.CheckEntCodegen},
		{"check_forbidden_imports", arch.CheckForbiddenImports},
		{"check_transaction_boundary", arch.CheckTransactionBoundary},
		{"check_deletes", arch.CheckDeletes},
		{"check_secrets", arch.CheckSecrets},
		{"check_words", arch.CheckWords},
	} {
		found, err := c.run(".")
		if err != nil {
			fmt.Fprintln(os.Stderr, c.name+":", err)
			os.Exit(1)
		}
		for _, f := range found {
			fmt.Println(c.name+":", f)
			bad = true
		}
		if len(found) == 0 {
			fmt.Println(c.name + ": ok")
		}
	}
	if bad {
		os.Exit(1)
	}
}
