package arch

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// CheckEntCodegen runs the generator on a copy of the module's ent folder and
// compares: the committed code must be what the schema says. It leaves the work
// tree alone.
func CheckEntCodegen(root string) ([]Finding, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	before, err := snapshot(filepath.Join(root, "ent"))
	if err != nil {
		return nil, err
	}
	// The generator writes beside the schema and reads the module around it, so
	// it runs on a copy of what it reads.
	tmp, err := os.MkdirTemp("", "shepherd-codegen-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	for _, part := range []string{"ent", "internal/domain", "internal/pkg/errors"} {
		if err := os.CopyFS(filepath.Join(tmp, part), os.DirFS(filepath.Join(root, part))); err != nil {
			return nil, err
		}
	}
	for _, f := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(tmp, f), b, 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("go", "generate", "./ent")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go generate ./ent: %w: %s", err, out)
	}
	after, err := snapshot(filepath.Join(tmp, "ent"))
	if err != nil {
		return nil, err
	}
	var found []Finding
	for name, b := range after {
		if !bytes.Equal(before[name], b) {
			found = append(found, Finding{"ent/" + name, "is not what the schema generates: run `go generate ./ent`"})
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			found = append(found, Finding{"ent/" + name, "is not generated any more: delete it"})
		}
	}
	return found, nil
}

func snapshot(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(rel)], err = os.ReadFile(p)
		return err
	})
	return files, err
}
