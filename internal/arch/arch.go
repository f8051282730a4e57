// Package arch holds the rules of the house as code: which floor may import
// which, where SQL and transactions may stand, and that generated code is
// fresh. The seed of the project names three checks; each is a file of that
// name here, run by `make check` and by this package's test.
package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

// Module is the path of the portal's module.
const Module = "kubevirt-shepherd.io/shepherd"

// Finding is one broken rule.
type Finding struct {
	Pos  string // file:line
	Text string
}

func (f Finding) String() string { return f.Pos + ": " + f.Text }

// source is one parsed Go file that is not a test.
type source struct {
	dir  string // of the package, below the root, with slashes
	path string
	file *ast.File
	set  *token.FileSet
}

func (s source) finding(pos token.Pos, format string, args ...any) Finding {
	p := s.set.Position(pos)
	return Finding{fmt.Sprintf("%s:%d", s.path, p.Line), fmt.Sprintf(format, args...)}
}

// outside are folders that are no part of the portal's module.
var outside = map[string]bool{"testbed": true, "node_modules": true, "data": true, "bin": true, ".git": true, "testdata": true}

// sources reads every file itself: a test that asks another process is not
// seen by the test cache and would answer from it after a file has changed.
func sources(root string, mode parser.Mode) ([]source, error) {
	var all []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if outside[d.Name()] && rel != "." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, p, nil, mode)
		if err != nil {
			return err
		}
		all = append(all, source{dir: path.Dir(rel), path: rel, file: f, set: set})
		return nil
	})
	return all, err
}
