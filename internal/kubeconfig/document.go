package kubeconfig

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// refuse makes an error at a place of the file: never with what is written there.
func refuse(code, path string, n *yaml.Node) *apperr.AppError {
	e := apperr.New(code)
	if path != "" {
		e = e.With("path", path)
	}
	if n != nil && n.Line > 0 {
		e = e.With("line", n.Line)
	}
	return e
}

// document decodes the one YAML (or JSON) document of the upload into nodes and
// refuses what a kubeconfig has no need for. Nothing is decoded into Go values:
// those would expand aliases, guess types and let the last duplicate key win.
func document(data []byte) (*yaml.Node, *apperr.AppError) {
	if len(data) > MaxSize {
		return nil, refuse(apperr.ErrKubeconfigTooLarge, "", nil).With("limit", MaxSize)
	}
	data = narrow(data)
	if !utf8.Valid(data) || bytes.ContainsFunc(data, forbiddenControl) {
		return nil, refuse(apperr.ErrKubeconfigEncoding, "", nil)
	}
	if len(bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))) == 0 {
		return nil, refuse(apperr.ErrKubeconfigEmpty, "", nil)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF): // comments only
		return nil, refuse(apperr.ErrKubeconfigEmpty, "", nil)
	case err != nil:
		return nil, syntax(err)
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		return nil, refuse(apperr.ErrKubeconfigDocuments, "", &more)
	case !errors.Is(err, io.EOF):
		return nil, syntax(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, refuse(apperr.ErrKubeconfigEmpty, "", nil)
	}
	root := doc.Content[0]
	nodes := 0
	if e := sound(root, "", 1, &nodes); e != nil {
		return nil, e
	}
	switch {
	case isNull(root):
		return nil, refuse(apperr.ErrKubeconfigEmpty, "", nil)
	case root.Kind != yaml.MappingNode:
		return nil, refuse(apperr.ErrKubeconfigKind, "", root)
	}
	return root, nil
}

// narrow turns UTF-16 with a byte order mark, as PowerShell writes it, into
// UTF-8. Everything else, also broken UTF-16, stays as it is: it is no UTF-8.
func narrow(data []byte) []byte {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	}
	if order == nil || len(data)%2 != 0 {
		return data
	}
	units := make([]uint16, 0, len(data)/2)
	for i := 2; i < len(data); i += 2 {
		units = append(units, order.Uint16(data[i:]))
	}
	runes := utf16.Decode(units)
	if !slices.Equal(utf16.Encode(runes), units) { // half a pair has become a replacement
		return data
	}
	return []byte(string(runes))
}

func forbiddenControl(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\r' && r != '\t' || r == 0x7f
}

var lineNumber = regexp.MustCompile(`line (\d+)`)

// syntax takes only the line number out of the decoder's text, which may quote
// the file.
func syntax(err error) *apperr.AppError {
	if strings.Contains(err.Error(), "unknown anchor") { // an alias of nothing
		return refuse(apperr.ErrKubeconfigAlias, "", nil)
	}
	e := refuse(apperr.ErrKubeconfigSyntax, "", nil)
	if m := lineNumber.FindStringSubmatch(err.Error()); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			e = e.With("line", line)
		}
	}
	return e
}

// sound checks the whole tree, also where the content is dropped later: no
// alias, anchor or tag, no duplicate key, not too deep and not too many nodes.
func sound(n *yaml.Node, path string, depth int, nodes *int) *apperr.AppError {
	*nodes++
	switch {
	case *nodes > MaxNodes:
		return refuse(apperr.ErrKubeconfigTooComplex, path, n).With("limit", MaxNodes)
	case depth > MaxDepth:
		return refuse(apperr.ErrKubeconfigTooComplex, path, n).With("limit", MaxDepth)
	case n.Kind == yaml.AliasNode, n.Anchor != "", n.Style&yaml.TaggedStyle != 0:
		return refuse(apperr.ErrKubeconfigAlias, path, n)
	}
	switch n.Kind {
	case yaml.MappingNode:
		seen := make(map[string]bool, len(n.Content)/2)
		for i := 0; i < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			here := child(path, key)
			if e := sound(key, here, depth+1, nodes); e != nil {
				return e
			}
			if key.Kind != yaml.ScalarNode {
				return refuse(apperr.ErrKubeconfigSyntax, here, key)
			}
			if seen[key.Value] {
				return refuse(apperr.ErrKubeconfigDuplicateKey, here, key)
			}
			seen[key.Value] = true
			if e := sound(value, here, depth+1, nodes); e != nil {
				return e
			}
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if e := sound(item, index(path, i), depth+1, nodes); e != nil {
				return e
			}
		}
	}
	return nil
}

// plainKey is what a key must look like to be repeated in an error. A token
// pasted in the wrong place can end up as a key; it has digits or is longer.
var plainKey = regexp.MustCompile(`^[A-Za-z][A-Za-z_-]{0,31}$`)

func child(path string, key *yaml.Node) string {
	name := "?"
	if key.Kind == yaml.ScalarNode && plainKey.MatchString(key.Value) {
		name = key.Value
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
