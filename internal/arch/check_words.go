package arch

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	templ "github.com/a-h/templ/parser/v2"
	"github.com/a-h/templ/parser/v2/visitor"
)

// spoken are the packages that write words which people read.
var spoken = []string{"views", "views/ui", "handlers"}

// keyed are the functions that translate, and which of their arguments are the
// English texts; the last of these is the key.
var keyed = map[string][]int{"tr": {1}, "trn": {2, 3}, "i18n.T": {1}, "i18n.TN": {2, 3}, "i18n.N": {0}}

// readAttributes are the attributes of an element that people read or hear.
var readAttributes = []string{"title", "placeholder", "aria-label", "alt", "aria-description", "aria-roledescription", "label"}

// properNames are no words of a language.
var properNames = []string{
	"KubeVirt", "KubeVirt Shepherd", "Shepherd", "Kubernetes", "English", "GiB", "MiB", "KiB", "TiB", "vCPU", "UTC", "SSH", "YAML", "IP", "CPU", "Kubeconfig", "CSV", "JSONL", "Ctrl", "Enter", "Esc",
}

// wordless are calls whose arguments no page shows.
var wordless = regexp.MustCompile(`(^|\.)(WriteString|Write|Error|Errorf|ErrorContext|WarnContext|InfoContext|Log|LogAttrs|String|Any|Int|Duration|New|panic|` +
	`Icon|Glyph|KV|MustCompile|HasPrefix|HasSuffix|TrimSuffix|TrimPrefix|CutPrefix|CutSuffix|Contains|Cut|Set|Get|Add|Del|Values|Join|NewReplacer|Cookie|Fragment)$`)

// wordlessFields are fields of view models that hold no words.
var wordlessFields = []string{"Icon", "Glyph", "Class", "ID", "Name", "Href", "Autocomplete", "FileName", "Path", "Help", `"class"`}

var (
	// sentence is what looks like words for people: two words, a capitalized
	// one, or a piece that something is joined to.
	sentence = regexp.MustCompile(`[\p{L}’']{2,},? [\p{L}’']{2,}|^[A-Z][a-z’]+([ ,.:?…].*)?$|^[ ,:]+[\p{L}]{2,}|[\p{L}]{2,}[,:]? +$`)
	// symbol is a header, a policy, a setting, markup, a class, or what a program reads.
	symbol      = regexp.MustCompile(`^[A-Z][\w]*(-[\w]+)+(, [A-Z][\w]*(-[\w]+)+)*$|^\{"|'self'|[a-z-]+=\(\)|max-age|^<[a-z!/]|delay:|^btn( btn-[a-z]+)*$|^(GET|POST) |^; report-to |^event: $|^sse:|^kubectl |^apiVersion:`)
	placeholder = regexp.MustCompile(`\{([a-z_]+)(?::bytes)?\}|<([a-z_]+)>`)
)

// words are what the sources of pages say.
type words struct {
	keys  map[string]string // where a key stands, by the key
	found []Finding
}

// CheckWords finds words of pages that have no translation: text in templates,
// sentences in Go code, keys without a Chinese text, and Chinese texts without
// a key or with other placeholders.
func CheckWords(root string) ([]Finding, error) {
	w := words{keys: map[string]string{}}
	files, err := sources(root, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, s := range files {
		if slices.Contains(spoken, s.dir) {
			w.goFile(s)
		}
	}
	for _, dir := range spoken {
		templates, err := filepath.Glob(filepath.Join(root, dir, "*.templ"))
		if err != nil {
			return nil, err
		}
		for _, p := range templates {
			if err := w.template(p, path.Join(dir, filepath.Base(p))); err != nil {
				return nil, err
			}
		}
	}
	if err := w.translations(root); err != nil {
		return nil, err
	}
	return w.found, nil
}

func (w *words) add(pos, format string, args ...any) {
	w.found = append(w.found, Finding{pos, fmt.Sprintf(format, args...)})
}

// template finds text and attributes that stand in a template as they are.
func (w *words) template(file, name string) error {
	t, err := templ.Parse(file)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	at := func(r templ.Range) string { return fmt.Sprintf("%s:%d", name, r.From.Line+1) }
	v := visitor.New()
	v.Text = func(n *templ.Text) error {
		if isWord(n.Value) {
			w.add(at(n.Range), "%q is not translated", n.Value)
		}
		return nil
	}
	v.ConstantAttribute = func(n *templ.ConstantAttribute) error {
		if slices.Contains(readAttributes, n.Key.String()) && isWord(n.Value) && !symbol.MatchString(n.Value) {
			w.add(at(n.Range), "%s %q is not translated", n.Key, n.Value)
		}
		return nil
	}
	return t.Visit(v)
}

func isWord(text string) bool {
	text = strings.Trim(text, " ·\n")
	return strings.ContainsFunc(text, unicode.IsLetter) && !slices.Contains(properNames, text)
}

// goFile finds the keys of a file, and its literals that look like sentences.
// What stands in a template as an expression is in the code that templ made.
func (w *words) goFile(s source) {
	generated := strings.HasSuffix(s.path, "_templ.go")
	pos := func(p token.Pos) string { return s.finding(p, "").Pos }
	fine := map[ast.Node]bool{}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			if n.Tag != nil {
				fine[n.Tag] = true
				tag, _ := strconv.Unquote(n.Tag.Value)
				if label := reflect.StructTag(tag).Get("label"); label != "" {
					w.keys[label] = pos(n.Pos())
				}
			}
		case *ast.FuncDecl: // T and N themselves, and the short names of them
			return keyed[n.Name.Name] == nil
		case *ast.CompositeLit: // classes, as templ writes them
			if array, ok := n.Type.(*ast.ArrayType); ok && generated {
				if id, ok := array.Elt.(*ast.Ident); ok && id.Name == "any" {
					return false
				}
			}
		case *ast.KeyValueExpr:
			id, isField := n.Key.(*ast.Ident)
			lit, isLit := n.Key.(*ast.BasicLit)
			if isField && slices.Contains(wordlessFields, id.Name) || isLit && slices.Contains(wordlessFields, lit.Value) {
				excuse(n.Value, fine)
			}
		case *ast.CallExpr:
			name := callee(n.Fun)
			if args, ok := keyed[name]; ok {
				w.call(pos(n.Pos()), n, args)
				for _, i := range args {
					fine[n.Args[i]] = true
				}
			} else if wordless.MatchString(name) {
				for _, arg := range n.Args {
					excuse(arg, fine)
				}
			}
		case *ast.BasicLit:
			if n.Kind != token.STRING || fine[n] {
				return true
			}
			text, err := strconv.Unquote(n.Value)
			if err == nil && sentence.MatchString(text) && !symbol.MatchString(text) && isWord(text) {
				w.add(pos(n.Pos()), "%q is not translated", text)
			}
		}
		return true
	})
}

// excuse says that the literals of an expression are no words, but for those in
// calls, which may be.
func excuse(e ast.Expr, fine map[ast.Node]bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok {
			fine[lit] = true
		}
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		_, conversion := call.Fun.(*ast.ArrayType) // []byte("…")
		return conversion
	})
}

func callee(fun ast.Expr) string {
	switch fun := fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		if id, ok := fun.X.(*ast.Ident); ok {
			return id.Name + "." + fun.Sel.Name
		}
		return "." + fun.Sel.Name
	}
	return ""
}

// call notes the key of a translation, and holds its placeholders against the
// values that are given. A key that is no literal must come from one that was
// marked with i18n.N, and so cannot be put together here.
func (w *words) call(pos string, call *ast.CallExpr, texts []int) {
	var key string
	for _, i := range texts {
		lit, ok := call.Args[i].(*ast.BasicLit)
		if !ok {
			if _, joined := call.Args[i].(*ast.BinaryExpr); joined {
				w.add(pos, "a key that is put together")
			}
			return
		}
		key, _ = strconv.Unquote(lit.Value)
	}
	w.keys[key] = pos
	given := map[string]bool{}
	if len(texts) > 1 {
		given["n"] = true
	}
	last := texts[len(texts)-1]
	if call.Ellipsis != token.NoPos || last == 0 { // i18n.N is filled elsewhere
		return
	}
	for i := last + 1; i < len(call.Args); i += 2 {
		if lit, ok := call.Args[i].(*ast.BasicLit); ok {
			name, _ := strconv.Unquote(lit.Value)
			given[name] = true
			if !strings.Contains(key, "{"+name) {
				w.add(pos, "%q has no {%s}", key, name)
			}
		}
	}
	for _, m := range placeholder.FindAllStringSubmatch(key, -1) {
		if m[1] != "" && !given[m[1]] {
			w.add(pos, "nothing is given for {%s} of %q", m[1], key)
		}
	}
}

// translations holds the Chinese files against the keys.
func (w *words) translations(root string) error {
	const dir = "internal/i18n/zh-CN"
	files, err := filepath.Glob(filepath.Join(root, dir, "*.json"))
	if err != nil {
		return err
	}
	zh := map[string]string{}
	for _, p := range files {
		name := path.Join(dir, filepath.Base(p))
		if path.Base(name) == "errors.json" {
			continue // by code, not by text
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		var texts map[string]string
		if err := json.Unmarshal(b, &texts); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, key := range slices.Sorted(maps.Keys(texts)) {
			switch was, twice := zh[key]; {
			case w.keys[key] == "":
				w.add(name, "%q is said nowhere", key)
			case twice && was != texts[key]:
				w.add(name, "%q has two translations", key)
			}
			if got, want := placeholders(texts[key]), placeholders(key); got != want {
				w.add(name, "%q has the placeholders %s, in English %s", key, got, want)
			}
			zh[key] = texts[key]
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.keys)) {
		if zh[key] == "" {
			w.add(w.keys[key], "no Chinese for %q", key)
		}
	}
	return nil
}

func placeholders(text string) string {
	all := placeholder.FindAllString(text, -1)
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}
