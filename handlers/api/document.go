package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// about is the text at the head of the document.
const about = `The portal for programs: what its pages do, as JSON.

* **Signing in.** A program sends a token: ` + "`Authorization: Bearer …`" + `. A browser's session works as well.
* **Errors** are problems (RFC 9457) with a stable ` + "`code`" + `; ` + "`errors`" + ` says which field is wrong. Texts come in the language of ` + "`Accept-Language`" + `: English or Chinese.
* **Lists** have pages: send ` + "`next`" + ` back as ` + "`after`" + `, or follow the header ` + "`Link`" + `.
* **Idempotency-Key** on a change makes it safe to send it again: the answer of a key is kept for a day.
* **dry_run=true**, where an operation has it, asks every rule and keeps nothing.
* What does not exist and what somebody may not know of are both 404.`

// tags are the nouns, in the order of the document.
var tags = []struct{ name, text string }{
	{"me", "Who sends the request."},
	{"systems", "Business lines, and who works in them."},
	{"services", "Applications of a system."},
	{"vms", "Virtual machines."},
	{"requests", "Asking for changes of VMs."},
	{"approvals", "Deciding requests of others."},
	{"catalog", "What can be asked for."},
	{"clusters", "KubeVirt clusters. They do not exist for those who only ask for VMs."},
	{"namespaces", "Where systems may live."},
	{"people", "Accounts and roles."},
	{"groups", "Sets of people who have roles together."},
	{"notifications", "Messages of the portal."},
	{"audit", "The record of what was done."},
	{"search", "Finding things."},
	{"trends", "Numbers over time."},
	{"tree", "The hierarchy as a whole."},
}

// failures are the answers that are problems, by status.
var failures = map[int]struct{ name, text string }{
	400: {"BadRequest", "The request cannot be read: MALFORMED_JSON, DUPLICATE_FIELD, IDEMPOTENCY_KEY_INVALID."},
	401: {"Unauthorized", "Nobody is signed in, or the token is not good any more."},
	403: {"Forbidden", "I see it, and may not do this."},
	404: {"NotFound", "It does not exist, or not for me."},
	409: {"Conflict", "Its state refuses this, or it has changed meanwhile."},
	412: {"PreconditionFailed", "It is not the version that If-Match names."},
	413: {"TooLarge", "The body is larger than 1 MiB."},
	415: {"UnsupportedMediaType", "The body is not application/json."},
	422: {"Unprocessable", "Something in it breaks a rule; errors says what."},
}

// Document is the OpenAPI 3.1 document of the operations.
func (a *API) Document() *huma.OpenAPI {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	problem := schemas.Schema(reflect.TypeFor[Problem](), true, "")
	content := map[string]*huma.MediaType{ProblemType: {Schema: problem}}
	requestID := map[string]*huma.Param{"X-Request-Id": {Description: "Number of the request in the log.", Schema: &huma.Schema{Type: "string", Format: "uuid"}}}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "KubeVirt Shepherd", Version: "1", Description: about, License: &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"},
		},
		Servers:  []*huma.Server{{URL: Prefix}},
		Security: []map[string][]string{{"bearer": {}}, {"session": {}}},
		Components: &huma.Components{
			Schemas: schemas, Responses: map[string]*huma.Response{},
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"bearer":  {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A token of a person or a program."},
				"session": {Type: "apiKey", In: "cookie", Name: "sid", Description: "The session of a browser that is signed in. The cookie is called __Host-sid behind TLS."},
			},
			Parameters: map[string]*huma.Param{
				"IdempotencyKey": {
					Name: "Idempotency-Key", In: "header", Description: "A name of my own for this deed, such as a UUID. Sent again with the same request, it does nothing and answers as before.",
					Schema: &huma.Schema{Type: "string", MinLength: to(1), MaxLength: to(255)}, Example: "6f2c1f0e-7b1d-4a6e-9f4b-2f8f0f3a9c11",
				},
				"DryRun": {
					Name: "dry_run", In: "query", Description: "Ask every rule and keep nothing. When all is well the answer is 204.", Schema: &huma.Schema{Type: "boolean"},
				},
			},
		},
	}
	for _, f := range failures {
		doc.Components.Responses[f.name] = &huma.Response{Description: f.text, Content: content, Headers: requestID}
	}
	doc.Components.Responses["Problem"] = &huma.Response{
		Description: "TOO_MANY_REQUESTS (429), or it cannot be answered now (500, 503).", Content: content, Headers: requestID,
	}
	for _, t := range tags {
		doc.Tags = append(doc.Tags, &huma.Tag{Name: t.name, Description: t.text})
	}
	inputs := map[string]bool{}
	for _, o := range a.Operations() {
		doc.AddOperation(operation(schemas, o, inputs))
	}
	for name, s := range schemas.Map() {
		tidy(s, inputs[name])
	}
	return doc
}

// JSON is the document, indented.
func (a *API) JSON() ([]byte, error) {
	plain, err := json.Marshal(a.Document())
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Indent(&b, plain, "", "  ")
	b.WriteByte('\n')
	return b.Bytes(), err
}

// YAML is the document as YAML.
func (a *API) YAML() ([]byte, error) { return a.Document().YAML() }

// operation tells one operation.
func operation(schemas huma.Registry, o Operation, inputs map[string]bool) *huma.Operation {
	v := &huma.Operation{
		OperationID: o.ID, Method: o.Method, Path: o.Path, Tags: []string{o.Tag}, Summary: o.Summary, Description: strings.TrimSpace(o.Text + " " + o.scope()),
		Responses: map[string]*huma.Response{"default": {Ref: "#/components/responses/Problem"}},
	}
	for _, f := range reflect.VisibleFields(o.input) {
		for _, in := range []string{"path", "query", "header"} {
			if name, ok := f.Tag.Lookup(in); ok {
				v.Parameters = append(v.Parameters, parameter(schemas, f, in, name))
			}
		}
		if f.Name == "Body" {
			s := schemas.Schema(f.Type, true, "")
			inputs[strings.TrimPrefix(s.Ref, "#/components/schemas/")] = true
			for _, part := range reflect.VisibleFields(f.Type) {
				if t := part.Type; t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
					inputs[t.Elem().Name()] = true
				}
			}
			v.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: s}}}
		}
	}
	if o.Action.PeopleOnly() {
		v.Security = []map[string][]string{{"session": {}}}
	}
	if o.DryRun {
		v.Parameters = append(v.Parameters, &huma.Param{Ref: "#/components/parameters/DryRun"})
		v.Responses["204"] = &huma.Response{Description: "A dry run: everything is right, and nothing is kept."}
	}
	if o.Changes() {
		v.Parameters = append(v.Parameters, &huma.Param{Ref: "#/components/parameters/IdempotencyKey"})
	}
	v.Responses[strconv.Itoa(o.Status)] = success(schemas, o)
	for status := range failures {
		if !o.fails(status) {
			continue
		}
		r := &huma.Response{Ref: "#/components/responses/" + failures[status].name}
		if status == http.StatusConflict && len(o.Conflicts) > 0 {
			r = &huma.Response{
				Description: "Codes: " + strings.Join(o.Conflicts, ", ") + "; or one about the idempotency key.",
				Content:     map[string]*huma.MediaType{ProblemType: {Schema: schemas.Schema(reflect.TypeFor[Problem](), true, "")}},
			}
		}
		v.Responses[strconv.Itoa(status)] = r
	}
	return v
}

// scope says what a token needs for an operation.
func (o Operation) scope() string {
	if o.Action.PeopleOnly() {
		return "No token may do this: it takes the session of a browser."
	}
	return "A token needs the scope `" + string(o.Action.Needs()) + "`."
}

// fails says whether an operation can answer with a status that is a problem.
func (o Operation) fails(status int) bool {
	_, body := o.input.FieldByName("Body")
	_, conditional := o.input.FieldByName("IfMatch")
	named := strings.Contains(o.Path, "{")
	for _, f := range reflect.VisibleFields(o.input) {
		named = named || strings.HasSuffix(f.Tag.Get("query"), "system_id") && o.Tag != "audit"
		if f.Name == "Body" {
			for _, part := range reflect.VisibleFields(f.Type) {
				named = named || strings.Contains(part.Tag.Get("json"), "_id")
			}
		}
	}
	switch status {
	case http.StatusBadRequest:
		return o.Changes()
	case http.StatusUnauthorized:
		return true
	case http.StatusForbidden:
		return true // a token may lack the scope
	case http.StatusNotFound:
		return named || o.Action.Shows() != ""
	case http.StatusConflict:
		return o.Changes()
	case http.StatusPreconditionFailed:
		return conditional
	case http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return body
	case http.StatusUnprocessableEntity:
		return true // an unknown parameter, at least
	}
	return false
}

// success tells the answer when it goes well.
func success(schemas huma.Registry, o Operation) *huma.Response {
	r := &huma.Response{Description: o.Summary + ".", Headers: map[string]*huma.Param{}}
	text := func(about string) *huma.Param {
		return &huma.Param{Description: about, Schema: &huma.Schema{Type: "string"}}
	}
	switch {
	case o.Streams:
		r.Content = map[string]*huma.MediaType{"application/zip": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}
		r.Headers["Content-Disposition"] = text("Name of the file.")
		return r
	case o.output == nil:
		r.Description = "Done."
		return r
	}
	r.Content = map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(o.output, true, o.ID)}}
	if o.output.Implements(reflect.TypeFor[located]()) && o.Changes() {
		r.Headers["Location"] = text("Address of what was made or changed.")
	}
	if o.output.Implements(reflect.TypeFor[tagged]()) {
		r.Headers["ETag"] = text("Version, for If-Match.")
	}
	if o.output.Implements(reflect.TypeFor[listed]()) {
		r.Headers["Link"] = text("Address of the following page, with rel=next (RFC 8288).")
	}
	return r
}

func parameter(schemas huma.Registry, f reflect.StructField, in, name string) *huma.Param {
	s := huma.SchemaFromField(schemas, f, "")
	p := &huma.Param{Name: name, In: in, Description: s.Description, Schema: s, Required: in == "path" || f.Tag.Get("required") == "true"}
	s.Description, s.Nullable = "", false
	tidy(s, true)
	return p
}

// tidy makes a schema say what is so: no list is ever null, and an answer may
// get new fields, which a client that it is made for today must not refuse.
func tidy(s *huma.Schema, input bool) {
	if s.Type == huma.TypeArray {
		s.Nullable = false
	}
	if s.Type == huma.TypeInteger {
		s.Format = "" // of Go
	}
	if s.Items != nil {
		tidy(s.Items, input)
	}
	if extra, ok := s.AdditionalProperties.(bool); ok && !extra && !input {
		s.AdditionalProperties = nil
	}
	for _, p := range s.Properties {
		tidy(p, input)
	}
}

func to[T any](v T) *T { return &v }
