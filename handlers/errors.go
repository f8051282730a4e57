package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// statuses is the one table from the kind of an error to its HTTP status.
var statuses = map[apperr.Kind]int{
	apperr.Internal:        http.StatusInternalServerError,
	apperr.Invalid:         http.StatusUnprocessableEntity,
	apperr.Unauthenticated: http.StatusUnauthorized,
	apperr.Forbidden:       http.StatusForbidden,
	apperr.NotFound:        http.StatusNotFound,
	apperr.Conflict:        http.StatusConflict,
	apperr.TooLarge:        http.StatusRequestEntityTooLarge,
	apperr.TooMany:         http.StatusTooManyRequests,
	apperr.Unavailable:     http.StatusServiceUnavailable,
}

// statusOfCode has the codes for which HTTP has a status of its own.
var statusOfCode = map[string]int{
	apperr.ErrMethod:         http.StatusMethodNotAllowed,
	apperr.ErrMalformedJSON:  http.StatusBadRequest,
	apperr.ErrDuplicateField: http.StatusBadRequest,
	apperr.ErrIdempotencyKey: http.StatusBadRequest,
	apperr.ErrMediaType:      http.StatusUnsupportedMediaType,
	apperr.ErrPrecondition:   http.StatusPreconditionFailed,
}

func statusOf(e *apperr.AppError) int {
	if status, ok := statusOfCode[e.Code]; ok {
		return status
	}
	return statuses[e.Kind()]
}

// classify gives every error a code. What nobody gave one is ours.
func classify(err error) *apperr.AppError {
	if e, ok := apperr.From(err); ok {
		return e
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return apperr.New(apperr.ErrTooLarge).With("limit", tooLarge.Limit)
	case errors.Is(err, context.DeadlineExceeded):
		return apperr.New(apperr.ErrUnavailable).Because(err)
	}
	return apperr.New(apperr.ErrInternal).Because(err)
}

// fail is the one place where a failed request is answered and logged.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the client is gone
	}
	e := classify(err)
	status := statusOf(e)
	s.logFailure(r, e, err, status)

	if e.Code == apperr.ErrTooMany {
		wait, known := e.Params["wait"].(time.Duration)
		if !known {
			wait = time.Minute
		}
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
	}
	if isAPI(r) {
		s.problem(w, r, e, err, status)
		return
	}
	if _, program := bearer(r); program && status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="shepherd", error="invalid_token"`)
	}
	switch {
	case wantsJSON(r):
	case status == http.StatusUnauthorized:
		s.askToSignIn(w, r)
		return
	case e.Code == apperr.ErrConfirm:
		s.askToConfirm(w, r)
		return
	}
	if wantsJSON(r) {
		writeJSON(w, status, map[string]any{"code": e.Code, "params": e.Params, "request_id": requestID(r)})
		return
	}
	view := s.errorView(r, e, status)
	if isHTMX(r) {
		s.draw(w, r, status, func(b *bytes.Buffer) error { return views.ErrorPart(view).Render(r.Context(), b) })
		return
	}
	var shell *views.Shell
	if actor(r).UserID != "" && e.Code != apperr.ErrUnavailable {
		if sh, err := s.shell(r, view.Title, ""); err == nil {
			shell = &sh
		}
	}
	s.draw(w, r, status, func(b *bytes.Buffer) error { return views.ErrorPage(shell, view).Render(r.Context(), b) })
}

// draw writes an error page, or a plain sentence on the day when even that
// cannot be drawn.
func (s *Server) draw(w http.ResponseWriter, r *http.Request, status int, render func(*bytes.Buffer) error) {
	var b bytes.Buffer
	if err := render(&b); err != nil {
		s.Logger.ErrorContext(r.Context(), "error page", "err", err, "request_id", requestID(r))
		b.Reset()
		b.WriteString("<!DOCTYPE html><title>KubeVirt Shepherd</title><p>" +
			templ.EscapeString(message(r, apperr.ErrInternal, map[string]any{"request": requestID(r)}).Text()))
	}
	w.Header().Set("Content-Type", htmlType)
	w.Header().Set("Content-Language", lang(r))
	w.WriteHeader(status)
	_, _ = w.Write(visible(b.Bytes()))
}

func (s *Server) logFailure(r *http.Request, e *apperr.AppError, err error, status int) {
	level := slog.LevelDebug
	switch {
	case status == http.StatusServiceUnavailable:
		level = slog.LevelWarn
	case status >= http.StatusInternalServerError:
		level = slog.LevelError
	}
	s.Logger.LogAttrs(r.Context(), level, "request failed",
		slog.String("code", e.Code), slog.Int("status", status), slog.String("method", r.Method), slog.String("path", loggedPath(r)),
		slog.String("user", actor(r).Username), slog.String("request_id", requestID(r)), slog.Any("err", err))
}

// askToSignIn leads to the sign-in page and from there back. What was typed
// into a form waits there.
func (s *Server) askToSignIn(w http.ResponseWriter, r *http.Request) {
	to := paths.LoginThen(pageOf(r))
	if isHTMX(r) {
		w.Header().Set("HX-Redirect", to)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.keepDraft(w, r, false)
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// pageOf is the page that the person looks at: the request itself, or for a
// form or a part the page that it stands on.
func pageOf(r *http.Request) string {
	switch {
	case isHTMX(r):
		u, err := url.Parse(r.Header.Get("HX-Current-URL"))
		switch {
		case err != nil || u.Host != r.Host:
			return paths.Home
		case formPage(u.Path) != u.Path: // a rejected form stands at the address that it was sent to
			return local(formPage(u.Path), paths.Home)
		}
		return local(u.RequestURI(), paths.Home)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return local(r.URL.RequestURI(), paths.Home)
	}
	switch r.URL.Path {
	case paths.Requests:
		return paths.NewRequest
	case paths.Namespaces:
		return paths.NewNamespace
	}
	return local(formPage(r.URL.Path), paths.Home)
}

// formPage is the page of a form that is posted to path, where path itself
// shows nothing.
func formPage(path string) string {
	switch path {
	case paths.Systems:
		return paths.NewSystem
	case paths.People:
		return paths.NewPerson
	case paths.Groups:
		return paths.NewGroup
	case paths.ServiceAccounts:
		return paths.NewServiceAccount
	case paths.Tokens:
		return paths.NewToken
	case paths.Preview:
		return paths.NewRequest
	}
	if strings.HasSuffix(path, "/services") || strings.HasPrefix(path, paths.ServiceAccounts+"/") && strings.HasSuffix(path, "/tokens") {
		return path + "/new"
	}
	if strings.HasPrefix(path, paths.Identities) {
		return paths.Account
	}
	if page, ok := strings.CutSuffix(path, "/hand-over"); ok {
		return page + "/disable"
	}
	if page, ok := strings.CutSuffix(path, "/disable"); ok && strings.HasPrefix(path, paths.ServiceAccounts) {
		return page
	}
	for _, action := range []string{"/check", "/withdraw", "/retry", "/enable", "/link", "/sign-out"} {
		if page, ok := strings.CutSuffix(path, action); ok {
			return page
		}
	}
	// A part of a person or a group that is only posted to.
	for _, noun := range []string{paths.People, paths.Groups, paths.ServiceAccounts} {
		rest, ok := strings.CutPrefix(path, noun+"/")
		id, part, _ := strings.Cut(rest, "/")
		part, _, _ = strings.Cut(part, "/")
		if ok && slices.Contains([]string{"remove", "sessions", "members", "roles"}, part) {
			return noun + "/" + id
		}
	}
	return path
}

func (s *Server) errorView(r *http.Request, e *apperr.AppError, status int) views.ErrorView {
	params := e.Params
	if e.Code == apperr.ErrInternal {
		params = with(params, "request", requestID(r))
	}
	m := message(r, e.Code, params)
	v := views.ErrorView{Status: status, Code: e.Code, Title: i18n.Phrase(m.What), Text: m.Why, Next: m.Next, Theme: theme(r)}
	switch waysIn := strings.HasPrefix(e.Code, "OIDC_") || e.Code == apperr.ErrNoPassword || e.Code == apperr.ErrLocalOff || e.Code == apperr.ErrAccountDisabled; {
	case waysIn && actor(r).UserID == "":
		v.ActionLabel, v.ActionHref = i18n.T(r.Context(), "To the sign-in page"), paths.Login
	case waysIn:
		v.ActionLabel, v.ActionHref = i18n.T(r.Context(), "Your account"), paths.Account
	case status >= http.StatusInternalServerError:
		v.RequestID = requestID(r)
		v.ActionLabel, v.ActionHref = i18n.T(r.Context(), "Try again"), pageOf(r)
		v.SecondLabel, v.SecondHref = i18n.T(r.Context(), "Home"), paths.Home
	case e.Code == apperr.ErrDraftExpired:
		v.ActionLabel, v.ActionHref = i18n.T(r.Context(), "Upload again"), paths.NewCluster
	case status == http.StatusNotFound && actor(r).UserID != "":
		v.ActionLabel, v.ActionHref = i18n.T(r.Context(), "Open explorer"), paths.Explorer
		v.SecondLabel, v.SecondHref = i18n.T(r.Context(), "Search"), paths.Search
	case status == http.StatusConflict, status == http.StatusUnprocessableEntity:
		v.ActionLabel, v.ActionHref = i18n.T(r.Context(), "Back"), pageOf(r)
	default:
		v.ActionLabel, v.ActionHref = i18n.T(r.Context(), "Home"), paths.Home
	}
	return v
}

// wantsJSON says whether an error is answered in JSON: to who asks for it, and to
// a program that does not ask for a page.
func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	_, program := bearer(r)
	return (program || strings.Contains(accept, "application/json")) && !strings.Contains(accept, "text/html")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
