package handlers

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// Limits of a request.
const (
	maxBody = 1 << 20
	// maxKubeconfig is what an upload may hold (reference A1.1), and maxUpload
	// the body of its form, with what multipart adds.
	maxKubeconfig = 64 << 10
	maxUpload     = maxKubeconfig + 4<<10
	// maxSignIn is for who is nobody yet.
	maxSignIn = 16 << 10
	// timeLimit is for everything but the stream of events. Checking a cluster
	// takes the longest.
	timeLimit = 30 * time.Second
)

// contentPolicy allows our own files and nothing else; no page has a script or
// style in its text (reference A1.4).
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; report-uri " + paths.Reports

// reportGroup names the endpoint of reports (Reporting API).
const reportGroup = "csp"

// noDevices are the abilities of a browser that no page of ours uses.
const noDevices = "accelerometer=(), autoplay=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), microphone=(), " +
	"midi=(), payment=(), serial=(), usb=(), xr-spatial-tracking=()"

// visit is what is known of a request while it is answered.
type visit struct {
	id             string
	actor          domain.Actor
	sessionChanged bool
}

type visitKey struct{}

// visitOf finds the visit of a request; one that came past the middleware, as
// in a test, has an empty one.
func visitOf(r *http.Request) *visit {
	if v, ok := r.Context().Value(visitKey{}).(*visit); ok {
		return v
	}
	return &visit{}
}

// requestID is the number of the request in the log and on error pages.
func requestID(r *http.Request) string { return visitOf(r).id }

// actor is who sends the request; without a user id nobody is signed in.
func actor(r *http.Request) domain.Actor { return visitOf(r).actor }

// identify numbers the request. The number is ours: one that the client sends
// could be chosen to confuse the log.
func identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{id: uuid.Must(uuid.NewV7()).String()}
		w.Header().Set("X-Request-Id", v.id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
	})
}

// clientIP believes X-Forwarded-For from the configured proxies only.
func (s *Server) clientIP(next http.Handler) http.Handler {
	if len(s.TrustedProxies) == 0 {
		return middleware.ClientIPFromRemoteAddr(next)
	}
	var prefixes []string
	for _, p := range s.TrustedProxies {
		prefixes = append(prefixes, p.String())
	}
	return middleware.ClientIPFromXFF(prefixes...)(next)
}

// observe writes the access log and the metrics. The query stays out of the
// log: people search for names and addresses.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() {
			status := ww.Status()
			if status == 0 {
				status = http.StatusOK
			}
			route := "other"
			if c := chi.RouteContext(r.Context()); c != nil && c.RoutePattern() != "" {
				route = c.RoutePattern()
			}
			took := time.Since(start)
			s.metrics.seen(r.Method, route, status, took)
			level := slog.LevelInfo
			if slices.Contains(quiet, route) {
				level = slog.LevelDebug
			}
			s.Logger.LogAttrs(r.Context(), level, "request",
				slog.String("method", r.Method), slog.String("path", loggedPath(r)), slog.String("route", route), slog.Int("status", status),
				slog.Int("bytes", ww.BytesWritten()), slog.Duration("took", took), slog.String("user", actor(r).Username),
				slog.String("ip", middleware.GetClientIP(r.Context())), slog.String("request_id", requestID(r)))
		}()
		next.ServeHTTP(ww, r)
	})
}

// loggedPath is the path without the token of a one-time link, which is as good
// as a password.
func loggedPath(r *http.Request) string { return maskPath(r.URL.Path) }

func maskPath(path string) string {
	if strings.HasPrefix(path, paths.Setup("")) {
		return paths.Setup("") + "…"
	}
	return path
}

// harden sets the headers of every answer, errors and files included.
func (s *Server) harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		policy := contentPolicy
		if s.Secure { // the Reporting API works through TLS only, and where it is named the older way is not used
			policy += "; report-to " + reportGroup
			h.Set("Reporting-Endpoints", reportsName+`="`+paths.Reports+`"`)
			h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
		}
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Embedder-Policy", "require-corp")
		h.Set("Origin-Agent-Cluster", "?1")
		h.Set("Permissions-Policy", noDevices)
		h.Set("Cache-Control", "no-store") // files say otherwise
		next.ServeHTTP(w, r)
	})
}

// rescue turns a panic into the page of an internal error.
func (s *Server) rescue(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				s.fail(w, r, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses changes that another site asks for.
func (s *Server) sameOrigin(next http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, apperr.New(apperr.ErrCrossOrigin))
	}))
	return p.Handler(next)
}

// bound limits the size of the body and the time. A body comes as it is: one
// that is packed could be a thousand times what it says.
func (s *Server) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if packed := r.Header.Get("Content-Encoding"); packed != "" && packed != "identity" {
			s.fail(w, r, apperr.New(apperr.ErrMediaType).With("type", domain.CleanText(packed, 60)))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBytes(r))
		ctx, cancel := context.WithTimeout(r.Context(), timeLimit)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// maxBytes is how large the body of a request may be.
func maxBytes(r *http.Request) int64 {
	switch path := r.URL.Path; {
	case isUpload(r):
		return maxUpload
	case path == paths.Reports:
		return maxReport
	case path == paths.Login, strings.HasPrefix(path, paths.Setup("")):
		return maxSignIn
	}
	return maxBody
}

// arrive finds out who sends the request: a program by its token, a browser by
// its session. Rights are read now, so that a revoked one ends at once.
func (s *Server) arrive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "HX-Request, HX-Target, Accept-Language")
		ctx, a, err := s.who(r.Context(), r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		visitOf(r).actor = a
		if slices.Contains(i18n.Languages(), a.Language) {
			ctx = i18n.With(ctx, a.Language)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
