package handlers

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"kubevirt-shepherd.io/shepherd/handlers/api"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// isAPI says whether a program is answered: also where there is no operation.
func isAPI(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, api.Prefix+"/") }

// newAPI is the API on what the pages stand on.
func (s *Server) newAPI() *api.API {
	return api.New(api.Config{
		Accounts: s.Accounts, Systems: s.Systems, Services: s.Services, Catalog: s.Catalog, Clusters: s.Clusters, Approval: s.Approval, VMs: s.VMs,
		Inbox: s.Inbox, Search: s.Search, Audit: s.Audit, Trends: s.Trends, Idempotency: s.Idempotency,
		Now: s.now, SetupURL: func(token string) string { return s.PublicURL + paths.Setup(token) },
	})
}

// loaders read what an address of the API names, by the first part that does.
func (s *Server) loaders() map[string]loader {
	return map[string]loader{
		"system": s.theSystem(), "service": s.theService(), "vm": s.theVM(), "ticket": s.theTicket(), "cluster": s.theCluster(), "draft": s.theDraft(),
		"namespace": s.theNamespace(), "person": s.thePerson(), "group": s.theGroup(),
	}
}

// pathPart finds the parts of a path that name something.
var pathPart = regexp.MustCompile(`\{(\w+)\}`)

// serveAPI makes an http.HandlerFunc of an operation, behind the same gate as
// the page that does the same.
func (s *Server) serveAPI(o api.Operation) http.HandlerFunc {
	rt := route{method: o.Method, pattern: o.Pattern(), action: o.Action}
	if part := pathPart.FindStringSubmatch(o.Path); part != nil {
		rt.load = s.loaders()[part[1]]
	}
	// A browser has to have shown again who sits there where its pages ask for it.
	asksFirst := slices.ContainsFunc(o.Pages, func(page string) bool {
		return dangerous[page]
	})
	return func(w http.ResponseWriter, r *http.Request) {
		r = spoken(w, r)
		err := s.enter(r, rt)
		if err == nil && asksFirst && !s.sure(r) {
			err = apperr.New(apperr.ErrConfirm)
		}
		if err == nil {
			s.used(r)
			err = s.answerAPI(w, r, o)
		}
		if err != nil {
			s.refused(r, rt, err)
			s.fail(w, r, err)
		}
	}
}

// spoken has a program answered in the language that it asks for, before that of
// its user.
func spoken(w http.ResponseWriter, r *http.Request) *http.Request {
	if accept := r.Header.Get("Accept-Language"); accept != "" {
		r = r.WithContext(i18n.With(r.Context(), i18n.Match(accept)))
	}
	w.Header().Set("Content-Language", lang(r))
	return r
}

func (s *Server) answerAPI(w http.ResponseWriter, r *http.Request, o api.Operation) error {
	switch o.ID {
	case "exportAudit":
		return s.streamAudit(w, r)
	case "exportEvidence":
		if err := o.Read(r); err != nil {
			return err
		}
		return s.exportEvidence(w, r)
	}
	answer, err := s.api.Do(r, actor(r), o)
	if err != nil {
		return err
	}
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	kind := "application/json"
	if len(answer.Body) == 0 {
		kind = ""
	}
	return s.send(w, r, answer.Status, kind, answer.Body)
}

func (s *Server) streamAudit(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodHead {
		return s.send(w, r, http.StatusOK, "application/zip", nil)
	}
	export, err := s.api.Export(r, actor(r))
	if err != nil {
		return err
	}
	return s.streamExport(w, r, export)
}

// document answers with the OpenAPI document. It holds no secret and is the
// same for everybody; it can be read before a token is made.
func (s *Server) document(kind string, text func() ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b, err := text()
		if err == nil {
			err = s.send(w, r, http.StatusOK, kind, b)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	}
}

// problem answers a program with an error (RFC 9457).
func (s *Server) problem(w http.ResponseWriter, r *http.Request, e *apperr.AppError, err error, status int) {
	r = spoken(w, r)
	params := e.Params
	if e.Code == apperr.ErrInternal {
		params = with(nil, "request", requestID(r))
	}
	m := message(r, e.Code, params)
	p := api.Problem{
		Type: paths.Guide("api-guide") + "#errors", Title: m.What, Status: status, Detail: strings.TrimSpace(m.Why + " " + m.Next), Instance: r.URL.EscapedPath(),
		Code: e.Code, Params: params, RequestID: requestID(r),
	}
	if e.Kind() != apperr.Internal {
		for _, f := range apperr.Fields(err) {
			p.Errors = append(p.Errors, api.WrongField(r.Context(), f))
		}
	}
	switch {
	case status == http.StatusUnauthorized && r.Header.Get("Authorization") != "":
		w.Header().Set("WWW-Authenticate", `Bearer realm="shepherd", error="invalid_token"`)
	case status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="shepherd"`)
	case e.Code == apperr.ErrIdempotencyBusy:
		w.Header().Set("Retry-After", "1")
	case status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Content-Type", api.ProblemType)
	w.WriteHeader(status)
	_ = api.Write(w, p)
}
