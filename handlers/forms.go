package handlers

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// A form is a struct whose fields are the only ones that the form may send:
//
//	Name  string `form:"name" label:"Name" validate:"required,name"`
//	Count number `form:"count" label:"Number of VMs" validate:"min=1,max=50"`
//
// Labels are in English; labels translates them.
// The fields keep what was typed, also when it is refused, so that the form can
// be drawn again. Texts lose the white space around them, unless the tag says
// `form:"password,raw"`.

// number is a whole number as it was typed, and its value.
type number struct {
	Text  string
	Value int
}

// whole is a number that was not typed.
func whole(n int) number { return number{strconv.Itoa(n), n} }

// checks knows the rules that the tags of forms name.
var checks = newChecks()

func newChecks() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		name, _, _ := strings.Cut(f.Tag.Get("form"), ",")
		return name
	})
	v.RegisterCustomTypeFunc(func(f reflect.Value) any { return f.Interface().(number).Value }, number{})
	must(v.RegisterValidation("name", func(f validator.FieldLevel) bool { return domain.ValidName(f.Field().String()) }))
	must(v.RegisterValidation("environment", func(f validator.FieldLevel) bool {
		return domain.Environment(f.Field().String()).Valid()
	}))
	return v
}

func must(err error) {
	if err != nil {
		panic(err) // a rule without a name: a mistake of ours
	}
}

// decode reads a form. With an error of the input it still gives back all that
// was typed; the error is an apperr.List then. Fields that T does not have are
// refused: nobody sets what a form does not show (reference A3, 41).
func decode[T any](r *http.Request) (T, error) {
	if err := parse(r); err != nil {
		var none T
		return none, err
	}
	return decodeValues[T](r.PostForm)
}

func decodeValues[T any](sent url.Values) (T, error) {
	var form T
	v := reflect.ValueOf(&form).Elem()
	var bad apperr.List
	known := map[string]bool{}
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("form"), ",")
		known[name] = true
		values := sent[name]
		if v.Field(i).Kind() != reflect.Slice && len(values) > 1 {
			bad.Add(name, apperr.ErrInvalidChoice)
			values = values[:1]
		}
		for _, text := range values {
			clean, ok := cleanText(text, option == "raw")
			if !ok {
				bad.Add(name, apperr.ErrInvalidText)
			}
			if e := assign(v.Field(i), clean); e != nil {
				bad = append(bad, e.At(name))
			}
		}
	}
	for name := range sent {
		if !known[name] {
			bad = append(bad, apperr.New(apperr.ErrForbiddenField).With("field", domain.CleanText(name, 40)))
		}
	}
	var wrong validator.ValidationErrors
	if err := checks.Struct(form); errors.As(err, &wrong) {
		for _, w := range wrong {
			// Of one field the first error is enough.
			if !slices.ContainsFunc(bad, func(e *apperr.AppError) bool { return e.Field() == w.Field() }) {
				bad = append(bad, broken(v.Type(), w))
			}
		}
	} else if err != nil {
		return form, err
	}
	return form, bad.Err()
}

// parse reads the body once, whichever of the two kinds of form it is.
func parse(r *http.Request) error {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var err error
	switch {
	case kind == "multipart/form-data":
		err = r.ParseMultipartForm(maxUpload)
	case kind == "application/x-www-form-urlencoded", r.ContentLength == 0:
		err = r.ParseForm()
	default:
		return apperr.New(apperr.ErrMediaType).With("type", domain.CleanText(kind, 60))
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return err
	case err != nil:
		return apperr.New(apperr.ErrInvalidText).Because(err)
	}
	return nil
}

// cleanText takes off white space and makes line ends uniform. It is not ok
// when the text holds what no form can mean. What it gives back can be drawn.
func cleanText(text string, raw bool) (clean string, ok bool) {
	ok = utf8.ValidString(text)
	if !ok {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	if !raw {
		text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	}
	hidden := func(r rune) bool {
		if raw { // a password may have anything that can be typed
			return r < ' ' && r != '\n' && r != '\t' || r == 0x7f
		}
		return domain.Hidden(r) && r != '\n' && r != '\t'
	}
	if strings.ContainsFunc(text, hidden) {
		ok = false
		text = strings.Map(func(r rune) rune {
			if hidden(r) {
				return '\uFFFD'
			}
			return r
		}, text)
	}
	return text, ok
}

// assign puts a text into a field of a form.
func assign(to reflect.Value, text string) *apperr.AppError {
	switch to.Interface().(type) {
	case string:
		to.SetString(text)
	case bool:
		to.SetBool(text != "")
	case []string:
		to.Set(reflect.Append(to, reflect.ValueOf(text)))
	case number:
		n, err := strconv.Atoi(text)
		to.Set(reflect.ValueOf(number{text, n}))
		if err != nil && text != "" {
			return apperr.New(apperr.ErrNotANumber)
		}
	default:
		panic("handlers: a form cannot have a field of type " + to.Type().String())
	}
	return nil
}

// broken is the error of a rule that a tag names.
func broken(form reflect.Type, w validator.FieldError) *apperr.AppError {
	field, _ := form.FieldByName(w.StructField())
	isNumber := field.Type == reflect.TypeFor[number]()
	code := apperr.ErrInvalidChoice
	switch w.Tag() {
	case "required", "required_if", "required_with":
		code = apperr.ErrRequired
	case "name":
		code = apperr.ErrInvalidName
	case "min":
		code = apperr.ErrTooShort
	case "max":
		code = apperr.ErrTooLong
	}
	if isNumber && code != apperr.ErrRequired {
		code = apperr.ErrOutOfRange
	}
	e := apperr.Field(w.Field(), code)
	// Both bounds, so that the sentence can name them.
	for rule := range strings.SplitSeq(field.Tag.Get("validate"), ",") {
		if name, bound, ok := strings.Cut(rule, "="); ok && (name == "min" || name == "max") {
			e = e.With(name, bound)
		}
	}
	if code == apperr.ErrInvalidName {
		e = e.With("max", domain.MaxLabel)
	}
	return e
}

// labels are the labels of a form's fields in the reader's language, by name.
func labels(ctx context.Context, form any) map[string]string {
	all := map[string]string{}
	t := reflect.TypeOf(form)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("form"), ",")
		all[name] = i18n.T(ctx, t.Field(i).Tag.Get("label"))
	}
	return all
}

// rejected says how an error shows on the form that caused it: a line at each
// field, with the status of the answer. What is not about the input comes back
// as an error, for the error page.
func rejected(r *http.Request, form any, err error) (errs []ui.FieldError, status int, rest error) {
	if err == nil || errors.Is(err, domain.ErrDryRun) {
		return nil, http.StatusOK, nil
	}
	fields := apperr.Fields(err)
	if len(fields) == 0 {
		e := classify(err)
		switch e.Kind() {
		case apperr.Invalid, apperr.Conflict, apperr.TooLarge, apperr.TooMany:
		default:
			return nil, 0, err
		}
		return []ui.FieldError{{Message: message(r, e.Code, e.Params).Text()}}, statusOf(e), nil
	}
	label := labels(r.Context(), form)
	for _, e := range fields {
		if e.Kind() == apperr.Internal {
			return nil, 0, err
		}
		name := e.Field()
		message := i18n.Field(lang(r), e.Code, label[name], readable(r.Context(), e.Params))
		if _, shown := label[name]; !shown {
			name = "" // no control on this form to lead to
		}
		errs = append(errs, ui.FieldError{Field: name, Label: label[name], Message: message})
	}
	return errs, http.StatusUnprocessableEntity, nil
}

// Limits of a draft: what a browser takes as one cookie, and what may come out
// of it again.
const (
	maxDraftCookie = 3800
	maxDraft       = 128 << 10
	draftAge       = 30 * 60 // seconds
)

// secretFields are not kept: they hold a secret or may, and a cookie stays in
// the browser.
var secretFields = []string{"cloud_init", "password", "new_password", "repeat"}

// draft is what was typed into a form when its session had ended, or its sender
// had to confirm who he is.
type draft struct {
	Page   string
	Values url.Values
	Sure   bool `json:",omitempty"` // not signed out, but asked to confirm
}

func (s *Server) draftCookie(value string, age int) *http.Cookie {
	name := "draft"
	if s.Secure {
		name = hostOnly + name
	}
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode}
}

// keepDraft gives a form back to the browser, as a cookie, while its sender has
// to sign in first: nothing of it is stored here. Uploads are secrets and are
// not kept, and texts of many pages do not fit.
func (s *Server) keepDraft(w http.ResponseWriter, r *http.Request, sure bool) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method != post || kind != "application/x-www-form-urlencoded" || parse(r) != nil || len(r.PostForm) == 0 {
		return
	}
	kept := maps.Clone(r.PostForm)
	for _, secret := range secretFields {
		kept.Del(secret)
	}
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return // the level is a constant
	}
	if json.NewEncoder(z).Encode(draft{pageOf(r), kept, sure}) != nil || z.Close() != nil {
		return
	}
	if text := base64.RawURLEncoding.EncodeToString(b.Bytes()); len(text) <= maxDraftCookie {
		http.SetCookie(w, s.draftCookie(text, draftAge))
	}
}

// restored is the form that was being sent to this page when the session ended,
// or the given one.
func restored[T any](s *Server, w http.ResponseWriter, r *http.Request, form T) T {
	c, err := r.Cookie(s.draftCookie("", 0).Name)
	if err != nil {
		return form
	}
	packed, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return form
	}
	var d draft
	text := io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxDraft)
	if json.NewDecoder(text).Decode(&d) != nil || d.Page != r.URL.Path {
		return form
	}
	http.SetCookie(w, s.draftCookie("", -1))
	kept, err := decodeValues[T](d.Values)
	if _, typed := err.(apperr.List); err != nil && !typed {
		return form
	}
	title := i18n.T(r.Context(), "Your session had ended")
	if d.Sure {
		title = i18n.T(r.Context(), "Thank you. Now once more")
	}
	s.flash(r, ui.Warn, title, i18n.T(r.Context(), "What you typed is here. Nothing has been sent."))
	return kept
}
