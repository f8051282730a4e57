// Package errors holds the one error type that crosses the floors of the
// portal: a stable code with parameters and no sentence in it. The web pages,
// the JSON API and the notifications turn a code into a sentence in the
// reader's language; logs are English and carry the cause.
package errors

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind says who has to act on an error, and so decides the HTTP status.
type Kind int

const (
	// Internal is a fault of ours; nothing that the caller did.
	Internal Kind = iota
	// Invalid is input that breaks a rule; the caller can correct it.
	Invalid
	// Unauthenticated means that nobody is signed in.
	Unauthenticated
	// Forbidden means that the actor sees the object but may not do this.
	Forbidden
	// NotFound means that the object does not exist, or not for this actor.
	NotFound
	// Conflict means that the object has changed, or its state refuses this.
	Conflict
	// TooLarge means that the input is over a size limit.
	TooLarge
	// TooMany means that the caller has to slow down.
	TooMany
	// Unavailable means that something we depend on does not answer now.
	Unavailable
)

// AppError is an error with a stable code and the parameters of its sentence.
// Params never hold a secret and never the text of an upload.
type AppError struct {
	Code   string         `json:"code"`
	Params map[string]any `json:"params,omitempty"`

	kind  Kind
	field string
	cause error
}

// Error is for logs: code, parameters in a fixed order, and the cause.
func (e *AppError) Error() string {
	var b strings.Builder
	b.WriteString(e.Code)
	for _, k := range slices.Sorted(maps.Keys(e.Params)) {
		fmt.Fprintf(&b, " %s=%v", k, e.Params[k])
	}
	if e.cause != nil {
		fmt.Fprintf(&b, ": %v", e.cause)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *AppError) Unwrap() error { return e.cause }

// Kind says who has to act.
func (e *AppError) Kind() Kind { return e.kind }

// Field is the form field that the error belongs to, or "".
func (e *AppError) Field() string { return e.field }

// With returns a copy with one more parameter.
func (e *AppError) With(key string, value any) *AppError {
	c := *e
	c.Params = maps.Clone(e.Params)
	if c.Params == nil {
		c.Params = map[string]any{}
	}
	c.Params[key] = value
	return &c
}

// At returns a copy that belongs to a form field.
func (e *AppError) At(field string) *AppError {
	c := *e
	c.field = field
	return &c
}

// Because returns a copy with a cause, which is logged and never shown.
func (e *AppError) Because(cause error) *AppError {
	c := *e
	c.cause = cause
	return &c
}

// Is makes errors.Is compare codes.
func (e *AppError) Is(target error) bool {
	t, ok := target.(*AppError)
	return ok && t.Code == e.Code
}

// New makes an error of a code; its kind comes from the code's registration.
// A code that nobody registered is Internal.
func New(code string) *AppError { return &AppError{Code: code, kind: kinds[code]} }

// Field is New for one form field.
func Field(field, code string) *AppError { return New(code).At(field) }

// List is several errors of one form, in the order of its fields.
type List []*AppError

// Error is for logs.
func (l List) Error() string {
	parts := make([]string, len(l))
	for i, e := range l {
		parts[i] = e.Error()
	}
	return strings.Join(parts, "; ")
}

// Err is nil when the list is empty, so that a check can end with return l.Err().
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}

// Add appends one error for one field.
func (l *List) Add(field, code string) *AppError {
	e := Field(field, code)
	*l = append(*l, e)
	return e
}

// From finds the first AppError in err's tree.
func From(err error) (*AppError, bool) {
	var e *AppError
	if errors.As(err, &e) {
		return e, true
	}
	var l List
	if errors.As(err, &l) && len(l) > 0 {
		return l[0], true
	}
	return nil, false
}

// Fields gives all form errors in err.
func Fields(err error) List {
	var l List
	if errors.As(err, &l) {
		return l
	}
	var e *AppError
	if errors.As(err, &e) && e.field != "" {
		return List{e}
	}
	return nil
}

// KindOf is the kind of the first AppError in err's tree, else Internal.
func KindOf(err error) Kind {
	if e, ok := From(err); ok {
		return e.kind
	}
	return Internal
}

// CodeOf is the code of the first AppError in err's tree, else ErrInternal.
func CodeOf(err error) string {
	if e, ok := From(err); ok {
		return e.Code
	}
	return ErrInternal
}
