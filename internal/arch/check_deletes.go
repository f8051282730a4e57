package arch

import (
	"go/ast"
	"go/parser"
	"strings"
)

// deleters are the functions that may remove a VM from a cluster: the worker,
// which carries out an approved order, and nothing else. What compares clusters
// with the database has no verb to delete.
var deleters = map[string]string{"internal/usecase/vm": "delete"}

// CheckDeletes finds calls of DeleteVM outside the worker's one function, and
// code that deletes rows of VMs: they stay for the record.
func CheckDeletes(root string) ([]Finding, error) {
	files, err := sources(root, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, s := range files {
		if strings.HasPrefix(s.dir, "ent") || strings.HasPrefix(s.dir, "internal/provider") || s.dir == "internal/client" {
			continue // generated, and what is called; the client only asks for a deletion
		}
		for _, d := range s.file.Decls {
			fn, _ := d.(*ast.FuncDecl)
			ast.Inspect(d, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				switch name := exprString(sel); {
				case name == "paths.DeleteVM": // the address of the page that asks
				case sel.Sel.Name == "DeleteVM" && (fn == nil || deleters[s.dir] != fn.Name.Name):
					found = append(found, s.finding(sel.Pos(), "%s deletes a VM: only the worker does, on an approved order", s.dir))
				case strings.HasSuffix(name, ".VM.Delete"), strings.HasSuffix(name, ".VM.DeleteOne"), strings.HasSuffix(name, ".VM.DeleteOneID"):
					found = append(found, s.finding(sel.Pos(), "%s deletes rows of VMs: they stay for the record", s.dir))
				}
				return true
			})
		}
	}
	return found, nil
}
