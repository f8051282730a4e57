package handlers

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-chi/chi/v5/middleware"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Limits of reports. Anybody can send them, so nothing is stored, and the log
// takes a few only; all are counted.
const (
	maxReport     = 16 << 10
	maxViolations = 20    // of one request
	maxReported   = 200   // characters of one value
	loggedReports = 60    // lines a minute of the whole process
	reportsName   = "csp" // of the endpoint, in the headers
)

// directives are the label values of the metric; a stranger may send any word.
var directives = []string{
	"default-src", "script-src", "script-src-elem", "script-src-attr", "style-src", "style-src-elem", "style-src-attr", "img-src", "font-src",
	"connect-src", "form-action", "base-uri", "frame-ancestors", "frame-src", "object-src", "media-src", "worker-src", "manifest-src",
}

// violation is what a browser says of something that the policy stopped. Both
// kinds of reports are read into it: that of the Reporting API, and the older
// one of report-uri, which not all browsers have given up.
type violation struct {
	Directive    string `json:"effectiveDirective"`
	OldDirective string `json:"effective-directive"`
	Page         string `json:"documentURL"`
	OldPage      string `json:"document-uri"`
	Blocked      string `json:"blockedURL"`
	OldBlocked   string `json:"blocked-uri"`
	Source       string `json:"sourceFile"`
	OldSource    string `json:"source-file"`
	Line         int    `json:"lineNumber"`
	OldLine      int    `json:"line-number"`
}

// report is one report of the Reporting API.
type report struct {
	Type string    `json:"type"`
	Body violation `json:"body"`
}

// cspReport is its type for a violation.
const cspReport = "csp-violation"

// takeReports answers POST /csp-reports: what browsers of our pages say about
// things that the content policy stopped.
func (s *Server) takeReports(w http.ResponseWriter, r *http.Request) error {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var list []report
	var err error
	switch kind {
	case "application/reports+json":
		err = json.NewDecoder(r.Body).Decode(&list)
	case "application/csp-report":
		var one struct {
			Body violation `json:"csp-report"`
		}
		err = json.NewDecoder(r.Body).Decode(&one)
		list = append(list, report{cspReport, one.Body})
	default:
		return apperr.New(apperr.ErrMediaType)
	}
	if apperr.CodeOf(classify(err)) == apperr.ErrTooLarge {
		return err
	}
	if err != nil {
		return apperr.New(apperr.ErrInvalidText).Because(err)
	}
	for _, one := range list[:min(len(list), maxViolations)] {
		if one.Type == cspReport {
			s.violated(r, one.Body)
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// violated counts one report, and logs it as long as there is room.
func (s *Server) violated(r *http.Request, v violation) {
	directive := cmp.Or(v.Directive, v.OldDirective)
	if !slices.Contains(directives, directive) {
		directive = "other"
	}
	s.metrics.violations.WithLabelValues(directive).Inc()
	if _, wait := s.reported.take("", s.Clock()); wait > 0 {
		return
	}
	s.Logger.LogAttrs(r.Context(), slog.LevelWarn, "content policy violated", slog.String("directive", directive),
		slog.String("page", reportedURL(cmp.Or(v.Page, v.OldPage))), slog.String("blocked", reportedURL(cmp.Or(v.Blocked, v.OldBlocked))),
		slog.String("source", reportedURL(cmp.Or(v.Source, v.OldSource))), slog.Int("line", max(v.Line, v.OldLine)),
		slog.String("ip", middleware.GetClientIP(r.Context())), slog.String("request_id", requestID(r)))
}

// reportedURL is what the log may have of an address: no query, no account, and
// no token of a one-time link. Words such as "inline" stay.
func reportedURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "unreadable"
	}
	if u.Host == "" && u.Opaque == "" {
		return domain.CleanText(maskPath(u.Path), maxReported)
	}
	if u.Host == "" { // data: and the like: only the scheme
		return domain.CleanText(u.Scheme, maxReported)
	}
	return domain.CleanText(u.Scheme+"://"+u.Host+maskPath(u.Path), maxReported)
}
