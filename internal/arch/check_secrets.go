package arch

import (
	"go/ast"
	"go/parser"
	"slices"
	"strings"
)

// raw is what draws text as markup; rawAllowed are the files that were reviewed
// for it: Markdown that was cleaned, and texts of our own (the sprite of icons).
var (
	raw        = []string{"templ.Raw", "templ.SafeURL", "templ.SafeCSS", "templ.SafeCSSProperty", "templ.JSUnsafeFuncCall", "template.HTML", "template.JS", "template.URL"}
	rawAllowed = []string{"handlers/markdown.go", "handlers/docs.go", "internal/gallery/", "views/ui/ui_templ.go templ.Raw"}
)

// CheckSecrets finds two ways past the walls: a field with a secret that fmt
// would print, because it does not ask unexported fields how they look, and text
// that is drawn as markup outside the reviewed files.
func CheckSecrets(root string) ([]Finding, error) {
	files, err := sources(root, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, s := range files {
		if s.dir == "internal/arch" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.StructType:
				for _, f := range n.Fields.List {
					if t := typeName(f.Type); t != "domain.Secret" && t != "domain.Credential" && t != "auth.Credentials" {
						continue
					}
					for _, name := range f.Names {
						if !name.IsExported() {
							found = append(found, s.finding(name.Pos(), "%s holds a secret: export the field, or fmt prints it", name.Name))
						}
					}
				}
			case *ast.SelectorExpr:
				name := typeName(n)
				reviewed := slices.ContainsFunc(rawAllowed, func(p string) bool { return strings.HasPrefix(s.path+" "+name, p) })
				if slices.Contains(raw, name) && !reviewed {
					found = append(found, s.finding(n.Pos(), "%s draws text as markup: only reviewed files may", name))
				}
			}
			return true
		})
	}
	return found, nil
}

// typeName is package.Name of an expression, also behind a star or brackets.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.ArrayType:
		return typeName(e.Elt)
	case *ast.MapType:
		return typeName(e.Value)
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return x.Name + "." + e.Sel.Name
		}
	}
	return ""
}
