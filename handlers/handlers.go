// Package handlers is the only place that knows HTTP.
//
// How a request travels: routes.go is the whole URL map; each route names what
// right it needs. middleware.go numbers the request, hardens the answer,
// refuses what comes from another site and finds out who asks. A handler
// returns an error and otherwise answers through respond.go, which draws a page
// or, for HTMX, the fragment of that same page. errors.go turns every error
// into a status, a page or part, and one log line. forms.go reads a form into a
// struct and says at each field what is wrong. Each noun has a file with its
// forms, its handlers and the functions from rows to view models.
package handlers

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-shepherd.io/shepherd/handlers/api"
	"kubevirt-shepherd.io/shepherd/internal/auth/oidc"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/live"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
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
	"kubevirt-shepherd.io/shepherd/internal/usecase/token"
	"kubevirt-shepherd.io/shepherd/internal/usecase/trends"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
	"kubevirt-shepherd.io/shepherd/views"
)

// Config is what the handlers stand on. All fields but the last group are
// required.
type Config struct {
	Objects  *access.Objects
	Accounts *account.Service
	Systems  *system.Service
	Services *service.Service
	Catalog  *catalog.Service
	Clusters *cluster.Service
	Approval *approval.Service
	VMs      *vm.Service
	Inbox    *inbox.Service
	Search   *search.Service
	Audit    *audit.Log
	Trends   *trends.Service
	// Idempotency keeps the keys of programs.
	Idempotency *idempotency.Service
	Tokens      *token.Service // signs programs in, by a bearer token

	Hub      *live.Hub
	Sessions *scs.SessionManager
	Logger   *slog.Logger
	Metrics  *prometheus.Registry
	// Ready says why the portal cannot do its work now: the database does not
	// answer, or changes are not heard.
	Ready func(context.Context) error
	// Lockout is why credentials do not open; nil: they do.
	Lockout *domain.Lockout
	// ClusterRole is the manifest of a role with the missing rules, bound to the
	// subject if that is a service account, or of a role with all that Shepherd
	// uses when there are none.
	ClusterRole func(missing []domain.ResourceRule, subject string) string

	// OIDC signs people in with their company account; nil: there is none.
	OIDC *oidc.Provider

	PublicURL      string // scheme and host of links that leave the portal
	Version        string
	Secure         bool           // browsers come through TLS
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	Limits         Limits         // how often callers may come; zero: as they like
	CheckEvery     time.Duration  // between two checks of a cluster, to be told
	Clock          func() time.Time
	// Demo is how far the demo's clusters are, nil when there is nothing to tell.
	Demo func() *views.ProgressView
}

// Server answers the requests of people and programs.
type Server struct {
	Config

	api      *api.API
	streams  streams
	metrics  *metrics
	limiters map[string]*limiter // by kind
	costs    map[string]string   // kinds of requests with a rate of their own, by method and pattern
	reported *limiter            // lines in the log about violations
	markdown markdown
	guides   func() (map[string][]views.DocsView, error) // by language
}

// New checks nothing and starts nothing: a Server is a value.
func New(c Config) *Server {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Demo == nil {
		c.Demo = func() *views.ProgressView { return nil }
	}
	s := &Server{
		Config: c, metrics: newMetrics(c.Metrics, c.Version), markdown: newMarkdown(), guides: sync.OnceValues(readGuides),
		limiters: newLimiters(c.Limits), reported: newLimiter(Rate{loggedReports, loggedReports}),
	}
	s.api = s.newAPI()
	s.costs = costs(s.api.Operations())
	return s
}

// now is the time that a page is drawn for.
func (s *Server) now() time.Time { return s.Clock().UTC() }
