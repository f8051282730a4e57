package arch

import (
	"go/ast"
	"go/parser"
	"strings"
)

// openers start a transaction, by the name of the method.
var openers = map[string]bool{"InTx": true, "BeginTx": true, "Begin": true, "Tx": true}

// providerCalls talk to a cluster: none of them may wait inside a transaction,
// which would hold locks for as long as a cluster likes.
var providerCalls = map[string]bool{
	"GetVM": true, "ListVMs": true, "CreateVM": true, "UpdateVM": true, "DeleteVM": true, "StartVM": true, "StopVM": true,
	"RestartVM": true, "PauseVM": true, "UnpauseVM": true, "EnsureCloudInit": true, "AdoptCloudInit": true, "ValidateSpec": true,
	"CheckHealth": true, "Preflight": true, "MigrateVM": true, "ListInstanceTypes": true, "ListPreferences": true, "Watch": true,
}

// CheckTransactionBoundary finds transactions that are opened outside the use
// cases, and provider calls inside a transaction.
func CheckTransactionBoundary(root string) ([]Finding, error) {
	files, err := sources(root, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, s := range files {
		if strings.HasPrefix(s.dir, "ent") || s.dir == "internal/database" {
			continue // the code that makes transactions
		}
		usecase := strings.HasPrefix(s.dir, "internal/usecase/")
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !openers[sel.Sel.Name] || len(call.Args) == 0 {
				return true
			}
			if !usecase {
				found = append(found, s.finding(call.Pos(), "%s opens a transaction: only use cases do", s.dir))
			}
			for _, arg := range call.Args {
				body, ok := arg.(*ast.FuncLit)
				if !ok {
					continue
				}
				ast.Inspect(body, func(n ast.Node) bool {
					if inner, ok := n.(*ast.CallExpr); ok {
						if sel, ok := inner.Fun.(*ast.SelectorExpr); ok && providerCalls[sel.Sel.Name] && !strings.HasPrefix(exprString(sel.X), "tx") {
							found = append(found, s.finding(inner.Pos(), "%s calls a cluster inside a transaction", sel.Sel.Name))
						}
					}
					return true
				})
			}
			return true
		})
	}
	return found, nil
}

func exprString(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprString(e.X) + "." + e.Sel.Name
	}
	return ""
}
