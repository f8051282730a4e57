// Package api is the portal for programs: JSON under /api/v1 for what the pages
// do. It stands beside the pages and decides as little as they do: an operation
// reads its input, calls the use case that the page calls, and gives the result
// other names.
//
// Each noun has a file with its operations and types. An operation is a value
// with the types of its input and output; the OpenAPI document is made of the
// same values (document.go), so that neither can say what the other does not.
// Package handlers mounts the operations behind the gates that the pages have,
// and turns errors into problems.
package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/catalog"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/idempotency"
	"kubevirt-shepherd.io/shepherd/internal/usecase/inbox"
	"kubevirt-shepherd.io/shepherd/internal/usecase/search"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
	"kubevirt-shepherd.io/shepherd/internal/usecase/trends"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// Prefix is where the operations are.
const Prefix = "/api/v1"

// Config is what the operations stand on. The document needs none of it.
type Config struct {
	Accounts    *account.Service
	Systems     *system.Service
	Services    *service.Service
	Catalog     *catalog.Service
	Clusters    *cluster.Service
	Approval    *approval.Service
	VMs         *vm.Service
	Inbox       *inbox.Service
	Search      *search.Service
	Audit       *audit.Log
	Trends      *trends.Service
	Idempotency *idempotency.Service

	Now func() time.Time
	// SetupURL is the address of a one-time link by its token.
	SetupURL func(token string) string
}

// API has the operations.
type API struct{ Config }

// New makes an API. A Config without use cases is good for the document.
func New(c Config) *API { return &API{c} }

// Operation is one line of the API's map.
type Operation struct {
	ID, Method, Path string        // the path is below Prefix
	Action           domain.Action // what it does, as on a page
	Tag              string        // the noun
	Summary, Text    string        // Text is Markdown, or ""
	Status           int           // when it goes well
	DryRun           bool          // dry_run can be asked for
	Secret           bool          // the answer holds a secret, which is kept nowhere
	Streams          bool          // answered by package handlers: an answer of any length
	Conflicts        []string
	Pages            []string // the page routes that do the same

	fields        map[string]string // names of the use case's fields here, where they differ
	input, output reflect.Type
	run           func(context.Context, domain.Actor, *http.Request, []byte) (any, error)
}

// Pattern is the whole path.
func (o Operation) Pattern() string { return Prefix + o.Path }

// Changes says whether the operation can change something. An archive does not,
// though it is put on record that somebody takes it.
func (o Operation) Changes() bool { return o.Method != http.MethodGet && !o.Streams }

// Read holds the address of a request against the operation's input, for one
// that package handlers answers.
func (o Operation) Read(r *http.Request) error {
	return decode(reflect.New(o.input).Elem(), r, nil, false)
}

// none is the output of an operation that has nothing to say.
type none struct{}

// op makes an operation of a function. The fields of In with the tag path or
// query are parameters; its field Body is the body.
func op[In, Out any](o Operation, f func(context.Context, domain.Actor, In) (Out, error)) Operation {
	o.input, o.output = reflect.TypeFor[In](), reflect.TypeFor[Out]()
	if o.output == reflect.TypeFor[none]() {
		o.output, o.Status = nil, http.StatusNoContent
	}
	if o.Status == 0 {
		o.Status = http.StatusOK
	}
	o.run = func(ctx context.Context, a domain.Actor, r *http.Request, body []byte) (any, error) {
		var in In
		if err := decode(reflect.ValueOf(&in).Elem(), r, body, o.DryRun); err != nil {
			return nil, err
		}
		return f(ctx, a, in)
	}
	return o
}

// Operations is the whole map.
func (a *API) Operations() []Operation {
	var all []Operation
	for _, noun := range [][]Operation{
		a.me(), a.systems(), a.services(), a.vms(), a.requests(), a.approvals(), a.catalog(), a.clusters(), a.quarantines(), a.namespaces(),
		a.people(), a.groups(), a.notifications(), a.audit(), a.search(), a.trends(), a.tree(),
	} {
		all = append(all, noun...)
	}
	return all
}

// Answer is what goes back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // JSON, or empty
}

// located is an output with an address of its own, below Prefix.
type located interface{ location() string }

// tagged is an output with a version that a change must name.
type tagged interface{ etag() string }

// listed is a page of a list.
type listed interface{ next() string }

// Do carries out an operation for an actor who may come so far. It reads the
// body once, whole: it is bounded before.
func (a *API) Do(r *http.Request, actor domain.Actor, o Operation) (Answer, error) {
	body, err := read(r, o)
	if err != nil {
		return Answer{}, err
	}
	ctx, dry := r.Context(), false
	if o.DryRun {
		if dry, err = flag(r.URL.Query(), "dry_run"); err != nil {
			return Answer{}, err
		}
	}
	key := r.Header.Values("Idempotency-Key")
	switch {
	case dry:
		return a.answer(o, r.URL, actor, r, domain.WithDryRun(ctx), body)
	case len(key) == 0 || !o.Changes():
		return a.answer(o, r.URL, actor, r, ctx, body)
	case len(key) > 1:
		return Answer{}, apperr.New(apperr.ErrIdempotencyKey)
	}
	return a.once(ctx, actor, o, r, body, strings.Trim(key[0], `"`)) // the draft writes it as a quoted string
}

// once does a deed unless it was done under the same key.
func (a *API) once(ctx context.Context, actor domain.Actor, o Operation, r *http.Request, body []byte, key string) (Answer, error) {
	sum := sha256.New()
	for _, part := range [][]byte{[]byte(o.Method), []byte(r.URL.RequestURI()), body} {
		_, _ = sum.Write(part)
		_, _ = sum.Write([]byte{0})
	}
	deed, try, kept, err := a.Idempotency.Take(ctx, actor, key, sum.Sum(nil))
	if err != nil {
		return Answer{}, err
	}
	if kept != nil {
		again := Answer{Status: kept.Status, Header: http.Header{"Idempotency-Replayed": {"true"}}, Body: kept.Body}
		if kept.Location != "" {
			again.Header.Set("Location", kept.Location)
		}
		return again, nil
	}
	answer, err := a.answer(o, r.URL, actor, r, deed, body)
	after := context.WithoutCancel(ctx) // the client may be gone; what is done is done
	if err != nil {
		return answer, errors.Join(err, try.Fail(after, err))
	}
	keep := idempotency.Answer{Status: answer.Status, Location: answer.Header.Get("Location"), Body: answer.Body}
	if o.Secret {
		keep = idempotency.Answer{}
	}
	return answer, try.Finish(after, keep)
}

// answer calls the operation and writes down what it says.
func (a *API) answer(o Operation, u *url.URL, actor domain.Actor, r *http.Request, ctx context.Context, body []byte) (Answer, error) {
	out, err := o.run(ctx, actor, r, body)
	switch {
	case errors.Is(err, domain.ErrDryRun):
		return Answer{Status: http.StatusNoContent}, nil
	case err != nil:
		return Answer{}, renamed(err, o.fields)
	}
	answer := Answer{Status: o.Status, Header: http.Header{}}
	if l, ok := out.(located); ok && o.Changes() && l.location() != "" {
		answer.Header.Set("Location", Prefix+l.location())
	}
	if t, ok := out.(tagged); ok {
		answer.Header.Set("ETag", quoted(t.etag()))
	}
	if l, ok := out.(listed); ok && l.next() != "" {
		q := u.Query()
		q.Set("after", l.next())
		answer.Header.Set("Link", "<"+u.Path+"?"+q.Encode()+`>; rel="next"`)
	}
	if o.output == nil {
		return answer, nil
	}
	var b bytes.Buffer
	err = Write(&b, out)
	answer.Body = b.Bytes()
	return answer, err
}

// Write writes a value as the API does: no list is null, and times are in UTC.
func Write(w io.Writer, v any) error {
	return json.MarshalWrite(w, v, json.Deterministic(true), inUTC)
}

// inUTC writes times in UTC, in whatever zone they come.
var inUTC = json.WithMarshalers(json.MarshalFunc(func(t time.Time) ([]byte, error) { return t.UTC().MarshalJSON() }))

// renamed gives the fields of a use case the names that they have here.
func renamed(err error, names map[string]string) error {
	list := apperr.Fields(err)
	if len(list) == 0 || len(names) == 0 {
		return err
	}
	moved := make(apperr.List, len(list))
	for i, e := range list {
		moved[i] = e
		if name, ok := names[e.Field()]; ok {
			moved[i] = e.At(name)
		}
	}
	return moved
}
