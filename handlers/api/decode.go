package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// read gives the body of an operation that has one. A body that nobody reads is
// refused: its sender believes that it means something.
func read(r *http.Request, o Operation) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	_, wanted := o.input.FieldByName("Body")
	switch {
	case !wanted && len(body) > 0:
		return nil, apperr.New(apperr.ErrForbiddenField).With("field", "body")
	case !wanted:
		return nil, nil
	case len(body) == 0:
		return nil, apperr.New(apperr.ErrMalformedJSON)
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, apperr.New(apperr.ErrMediaType).With("expected", "application/json")
	}
	return body, nil
}

// decode fills an input from the address and the body, strictly: nothing is
// converted, ignored or guessed. What the values must be, the use case says.
func decode(in reflect.Value, r *http.Request, body []byte, dryRun bool) error {
	var bad apperr.List
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return apperr.Field("query", apperr.ErrInvalidText)
	}
	known := map[string]bool{"dry_run": dryRun}
	for _, f := range reflect.VisibleFields(in.Type()) {
		field := in.FieldByIndex(f.Index)
		if name, ok := f.Tag.Lookup("path"); ok {
			if e := assign(field, []string{r.PathValue(name)}); e != nil {
				return apperr.New(apperr.ErrNotFound) // what is no number names nothing
			}
		}
		if name, ok := f.Tag.Lookup("header"); ok {
			field.SetString(r.Header.Get(name))
		}
		if name, ok := f.Tag.Lookup("query"); ok {
			known[name] = true
			e := assign(field, query[name])
			if e == nil && len(query[name]) > 0 {
				e = bounds(f, field)
			}
			if e != nil {
				bad = append(bad, e.At(name))
			}
		}
	}
	for name := range query {
		if !known[name] {
			name = domain.CleanText(name, 40)
			bad = append(bad, apperr.Field(name, apperr.ErrForbiddenField).With("field", name))
		}
	}
	if len(bad) > 0 {
		return bad
	}
	if b := in.FieldByName("Body"); b.IsValid() {
		return decodeBody(b.Addr().Interface(), body)
	}
	return nil
}

// decodeBody reads JSON as RFC 8259 and I-JSON want it: UTF-8, no name twice,
// and no field that the operation does not have. The errors of the parser quote
// what was sent, which may be a secret, so they go no further.
func decodeBody(to any, body []byte) error {
	err := json.Unmarshal(body, to, json.RejectUnknownMembers(true))
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	switch {
	case err == nil:
		return clean(reflect.ValueOf(to).Elem(), "")
	case errors.As(err, &syntactic):
		if errors.Is(err, jsontext.ErrDuplicateName) {
			name := fieldName(syntactic.JSONPointer)
			return apperr.Field(name, apperr.ErrDuplicateField).With("field", name)
		}
		at := min(max(int(syntactic.ByteOffset), 0), len(body))
		return apperr.New(apperr.ErrMalformedJSON).With("line", 1+bytes.Count(body[:at], []byte("\n")))
	case errors.As(err, &semantic):
		name := fieldName(semantic.JSONPointer)
		switch {
		case errors.Is(err, json.ErrUnknownName):
			return apperr.Field(name, apperr.ErrForbiddenField).With("field", name)
		case errors.Is(err, strconv.ErrRange):
			return apperr.Field(name, apperr.ErrOutOfRange)
		case name == "":
			return apperr.New(apperr.ErrWrongType).With("expected", "object")
		}
		return apperr.Field(name, apperr.ErrWrongType).With("expected", jsonType(semantic.GoType))
	}
	return apperr.New(apperr.ErrMalformedJSON)
}

// fieldName is how a place in a body is called in an error: /ssh_keys/0 is
// ssh_keys.0.
func fieldName(p jsontext.Pointer) string {
	return domain.CleanText(strings.Join(slices.Collect(p.Tokens()), "."), 80)
}

// jsonType is what JSON calls a type of ours.
func jsonType(t reflect.Type) string {
	if t == nil {
		return "object"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int:
		return "integer"
	case reflect.Slice:
		return "array"
	case reflect.Struct:
		return "object"
	case reflect.Pointer:
		return jsonType(t.Elem())
	}
	return "string"
}

// clean refuses texts that no database takes and no page can show, and takes
// white space off the ends, as a form does.
func clean(v reflect.Value, at string) error {
	var bad apperr.List
	switch v.Kind() {
	case reflect.String:
		if strings.ContainsFunc(v.String(), control) {
			bad.Add(at, apperr.ErrInvalidText)
		}
		v.SetString(strings.TrimSpace(v.String()))
	case reflect.Slice:
		for i := range v.Len() {
			bad = append(bad, apperr.Fields(clean(v.Index(i), at))...)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return clean(v.Elem(), at)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return nil
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if at != "" {
				name = at + "." + name
			}
			if wrong := apperr.Fields(clean(v.Field(i), name)); len(wrong) > 0 {
				bad = append(bad, wrong...)
			} else if e := bounds(f, v.Field(i)); e != nil {
				bad = append(bad, e.At(name))
			}
		}
	}
	return bad.Err()
}

// bounds holds a value against what its field's tags say in the document, where
// the use case cannot: a choice, and the bounds of a parameter.
func bounds(f reflect.StructField, v reflect.Value) *apperr.AppError {
	if enum, ok := f.Tag.Lookup("enum"); ok {
		choices := strings.Split(enum, ",")
		values := []reflect.Value{v}
		if v.Kind() == reflect.Slice {
			values = values[:0]
			for i := range v.Len() {
				values = append(values, v.Index(i))
			}
		}
		for _, v := range values {
			if v.String() != "" && !slices.Contains(choices, v.String()) {
				return apperr.New(apperr.ErrInvalidChoice).With("choices", choices)
			}
		}
	}
	if _, parameter := f.Tag.Lookup("query"); parameter && v.Kind() == reflect.Int {
		low, lowErr := strconv.Atoi(f.Tag.Get("minimum"))
		high, highErr := strconv.Atoi(f.Tag.Get("maximum"))
		if n := int(v.Int()); lowErr == nil && n < low || highErr == nil && n > high {
			return apperr.New(apperr.ErrOutOfRange).With("min", low).With("max", high)
		}
	}
	return nil
}

func control(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f }

// assign puts the values of a parameter into a field.
func assign(to reflect.Value, values []string) *apperr.AppError {
	if to.Kind() == reflect.Slice {
		for _, text := range values {
			item := reflect.New(to.Type().Elem()).Elem()
			if e := assign(item, []string{text}); e != nil {
				return e
			}
			to.Set(reflect.Append(to, item))
		}
		return nil
	}
	switch {
	case len(values) == 0:
		return nil
	case len(values) > 1:
		return apperr.New(apperr.ErrInvalidChoice)
	}
	text := values[0]
	switch to.Kind() {
	case reflect.String:
		if strings.ContainsFunc(text, control) || !validText(text) {
			return apperr.New(apperr.ErrInvalidText)
		}
		to.SetString(text)
	case reflect.Bool:
		b, err := boolean(text)
		if err != nil {
			return err
		}
		to.SetBool(b)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if errors.Is(err, strconv.ErrRange) {
			return apperr.New(apperr.ErrOutOfRange)
		} else if err != nil {
			return apperr.New(apperr.ErrNotANumber)
		}
		to.SetInt(n)
	case reflect.Struct: // time.Time
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return apperr.New(apperr.ErrWrongType).With("expected", "date-time")
		}
		to.Set(reflect.ValueOf(at.UTC()))
	default:
		panic("api: a parameter cannot be a " + to.Type().String())
	}
	return nil
}

func validText(s string) bool { return strings.ToValidUTF8(s, "\uFFFD") == s }

func boolean(text string) (bool, *apperr.AppError) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, apperr.New(apperr.ErrInvalidChoice).With("choices", []string{"true", "false"})
}

// flag reads a parameter that every operation of a kind has.
func flag(q url.Values, name string) (bool, error) {
	if !q.Has(name) {
		return false, nil
	}
	b, e := boolean(q.Get(name))
	if e != nil {
		return false, e.At(name)
	}
	return b, nil
}
