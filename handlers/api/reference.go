package api

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Reference is the document for people: Markdown, one of the guides.
func (a *API) Reference() []byte {
	doc := a.Document()
	var b bytes.Buffer
	b.WriteString("# API reference\n\nEvery operation of the API with what it takes and answers, made from the OpenAPI document. " +
		"The [API guide](api-guide.md) says how to begin.\n\nThe document itself is served at `" + Prefix + "/openapi.json` and `" + Prefix + "/openapi.yaml`.\n")
	ops := a.Operations()
	for _, t := range tags {
		fmt.Fprintf(&b, "\n## About %s\n\n%s\n", t.name, t.text)
		for _, o := range ops {
			if o.Tag == t.name {
				reference(&b, doc, o)
			}
		}
	}
	b.WriteString("\n## Types\n\nFields without *optional* are always there.\n")
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas.Map())) {
		fmt.Fprintf(&b, "\n### Type %s\n\n", name)
		fields(&b, doc.Components.Schemas.Map()[name])
	}
	return b.Bytes()
}

// find is the operation as the document has it.
func find(doc *huma.OpenAPI, o Operation) *huma.Operation {
	item := doc.Paths[o.Path]
	for _, v := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
		if v != nil && v.OperationID == o.ID {
			return v
		}
	}
	return nil
}

func reference(b *bytes.Buffer, doc *huma.OpenAPI, o Operation) {
	v := find(doc, o)
	fmt.Fprintf(b, "\n### %s\n\n`%s %s`\n", o.Summary, o.Method, o.Pattern())
	fmt.Fprintf(b, "\n%s\n", v.Description)
	var rows []string
	for _, p := range v.Parameters {
		if p.Ref != "" {
			p = doc.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]
		}
		rows = append(rows, row(p.Name, "in the "+p.In+", "+kind(p.Schema), p.Required, p.Description))
	}
	table(b, "Parameter", rows)
	if v.RequestBody != nil {
		fmt.Fprintf(b, "\nBody: %s.\n", kind(v.RequestBody.Content["application/json"].Schema))
	}
	answer := fmt.Sprintf("%d without a body", o.Status)
	for media, c := range v.Responses[fmt.Sprint(o.Status)].Content {
		if answer = fmt.Sprintf("%d with %s", o.Status, kind(c.Schema)); media != "application/json" {
			answer = fmt.Sprintf("%d with a file, `%s`", o.Status, media)
		}
	}
	var failing []string
	for _, status := range slices.Sorted(maps.Keys(failures)) {
		if o.fails(status) {
			failing = append(failing, fmt.Sprint(status))
		}
	}
	fmt.Fprintf(b, "\nAnswers: %s; %s as a [Problem](#type-problem)", answer, strings.Join(failing, ", "))
	if len(o.Conflicts) > 0 {
		fmt.Fprintf(b, ", of which 409 is `%s`", strings.Join(o.Conflicts, "`, `"))
	}
	b.WriteString(".\n")
}

// fields tells a type.
func fields(b *bytes.Buffer, s *huma.Schema) {
	var rows []string
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		rows = append(rows, row(name, kind(p), slices.Contains(s.Required, name), p.Description))
	}
	table(b, "Field", rows)
}

func table(b *bytes.Buffer, head string, rows []string) {
	if len(rows) > 0 {
		fmt.Fprintf(b, "\n| %s | Type | About |\n|---|---|---|\n%s", head, strings.Join(rows, ""))
	}
}

func row(name, kind string, required bool, about string) string {
	if !required {
		kind += ", *optional*"
	}
	return fmt.Sprintf("| `%s` | %s | %s |\n", name, kind, strings.ReplaceAll(about, "|", `\|`))
}

// kind is a schema in a few words.
func kind(s *huma.Schema) string {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return fmt.Sprintf("[%s](#type-%s)", name, strings.ToLower(name))
	}
	if s.Type == huma.TypeArray {
		return "list of " + kind(s.Items)
	}
	if len(s.Enum) > 0 {
		words := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			words[i] = fmt.Sprintf("`%v`", e)
		}
		return strings.Join(words, " ")
	}
	text := s.Type
	if text == "" {
		text = "anything"
	}
	if s.Format != "" {
		text += " (" + s.Format + ")"
	}
	if s.Minimum != nil && s.Maximum != nil {
		text += fmt.Sprintf(" %v to %v", *s.Minimum, *s.Maximum)
	} else if s.Minimum != nil {
		text += fmt.Sprintf(" from %v", *s.Minimum)
	}
	return text
}
