package handlers

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"golang.org/x/time/rate"

	"kubevirt-shepherd.io/shepherd/handlers/api"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// Rate is how often one caller may do something: PerMinute in the long run, and
// Burst at once. The zero value is no limit.
type Rate struct{ PerMinute, Burst int }

// Limits are the rates of one caller by kind of request. A request counts in
// the first three as it applies, and in its own kind too. Each process counts
// for itself, in memory: two replicas let twice as much through.
type Limits struct {
	Address   Rate // all from one address, before anything is read
	Anonymous Rate // all of somebody who is not signed in, by address
	Person    Rate // all of an account, in browsers and programs together

	Change  Rate // whatever is sent to be done
	SignIn  Rate // sign-ins and one-time links, by address
	Upload  Rate // reading a kubeconfig, and whatever else asks a cluster while its sender waits
	Preview Rate // checking a form while it is filled in
	Search  Rate
	Export  Rate
	Report  Rate // violations that a browser reports, by address
}

// DefaultLimits are far above what people do and far below what hurts.
func DefaultLimits() Limits {
	return Limits{
		Address: Rate{12000, 2000}, Anonymous: Rate{600, 300}, Person: Rate{3000, 600},
		Change: Rate{240, 120}, SignIn: Rate{30, 30}, Upload: Rate{30, 20}, Preview: Rate{240, 120}, Search: Rate{240, 60},
		Export: Rate{10, 5}, Report: Rate{30, 30},
	}
}

// Times multiplies all rates.
func (l Limits) Times(factor float64) Limits {
	for _, r := range l.all() {
		r.PerMinute = int(math.Ceil(float64(r.PerMinute) * factor))
		r.Burst = int(math.Ceil(float64(r.Burst) * factor))
	}
	return l
}

func (l *Limits) all() map[string]*Rate {
	return map[string]*Rate{
		"address": &l.Address, "anonymous": &l.Anonymous, "person": &l.Person, "change": &l.Change, "sign-in": &l.SignIn,
		"upload": &l.Upload, "preview": &l.Preview, "search": &l.Search, "export": &l.Export, "report": &l.Report,
	}
}

// costly are the routes, by method and pattern, that have a rate of their own.
var costly = map[string]string{
	post + " " + paths.Login: "sign-in", get + " /setup/{token}": "sign-in", post + " /setup/{token}": "sign-in", get + " /setup/{token}/oidc": "sign-in",
	get + " " + paths.LoginOIDC: "sign-in", get + " " + paths.LoginOIDCReply: "sign-in", post + " " + paths.Password: "sign-in", post + " " + paths.Confirm: "sign-in",
	post + " " + paths.NewCluster: "upload", post + " " + paths.NewCluster + "/{draft}/check": "upload", post + " " + paths.NewCluster + "/{draft}": "upload",
	post + " " + paths.Clusters + "/{cluster}/check": "upload", post + " " + paths.Clusters + "/{cluster}/credential": "upload",
	post + " " + paths.Clusters + "/{cluster}/credential/{draft}/check": "upload", post + " " + paths.Clusters + "/{cluster}/credential/{draft}": "upload",
	post + " " + paths.Clusters + "/{cluster}/replacement":     "upload",
	post + " " + paths.Clusters + "/{cluster}/quarantine/read": "upload",
	post + " " + paths.Namespaces:                              "upload", post + " " + paths.Namespaces + "/{namespace}/check": "upload",
	post + " " + paths.Preview: "preview", post + " " + paths.Approvals + "/{ticket}/check": "preview",
	post + " " + paths.Requests + "/{ticket}/evidence": "export",
	get + " " + paths.Search:                           "search", get + " " + paths.AuditExport: "export", post + " " + paths.Reports: "report",
}

// costs are costly and the operations of the API that do the same.
func costs(operations []api.Operation) map[string]string {
	all := maps.Clone(costly)
	for _, o := range operations {
		for _, page := range o.Pages {
			if kind := costly[page]; kind != "" {
				all[o.Method+" "+o.Pattern()] = kind
			}
		}
	}
	return all
}

// rateOf is the kind of a request that has a rate of its own, or "".
func (s *Server) rateOf(r *http.Request) string {
	method := r.Method
	if method == http.MethodHead {
		method = get
	}
	pattern := chi.RouteContext(r.Context()).RoutePattern()
	kind, dry := s.costs[method+" "+pattern], r.Header.Get("Dry-Run") != ""
	switch {
	case kind != "" && !(dry && dryRuns[pattern]):
		return kind
	case method == get:
		return ""
	case dry:
		return "preview"
	}
	return "change"
}

// limitAddress refuses a flood before it costs anything.
func (s *Server) limitAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.spend(w, "address", addressKey(r)); err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limitCaller refuses who asks too often. Who asks is known by now.
func (s *Server) limitCaller(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		whole, key := "anonymous", addressKey(r)
		if id := actor(r).UserID; id != "" {
			whole, key = "person", id
		}
		err := s.spend(w, whole, key)
		if kind := s.rateOf(r); err == nil && kind != "" {
			if kind == "sign-in" || kind == "report" {
				key = addressKey(r)
			}
			err = s.spend(w, kind, key)
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// spend counts one request of a kind. The headers tell a program how much is
// left (draft-ietf-httpapi-ratelimit-headers).
func (s *Server) spend(w http.ResponseWriter, kind, key string) error {
	l := s.limiters[kind]
	if l == nil {
		return nil
	}
	left, wait := l.take(key, s.Clock())
	window := max(1, l.burst*60/max(1, l.perMinute))
	w.Header().Set("RateLimit-Policy", fmt.Sprintf(`"%s";q=%d;w=%d`, kind, l.burst, window))
	w.Header().Set("RateLimit", fmt.Sprintf(`"%s";r=%d;t=%d`, kind, left, int(wait.Seconds())))
	if wait == 0 {
		return nil
	}
	s.metrics.limited.WithLabelValues(kind).Inc()
	return apperr.New(apperr.ErrTooMany).With("wait", wait)
}

// addressKey is what callers without an account are told apart by: the IPv4
// address, or the /64 of an IPv6 one, of which anybody has as many as he likes.
func addressKey(r *http.Request) string {
	text := middleware.GetClientIP(r.Context())
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return "?"
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	const network = 64
	p, err := ip.Prefix(network)
	if err != nil {
		return "?"
	}
	return p.String()
}

// maxCallers is how many callers one limiter tells apart. Those that come when
// it is full share one bucket: nobody's count is lost, and memory stays bounded.
const maxCallers = 20000

// sweepEvery is how often a full limiter looks for callers to forget.
const sweepEvery = time.Second

// limiter counts the requests of one kind: one token bucket for each caller.
type limiter struct {
	perMinute, burst int

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
	rest    *rate.Limiter
	swept   time.Time
}

// newLimiters makes a limiter of each kind that has a rate.
func newLimiters(l Limits) map[string]*limiter {
	all := map[string]*limiter{}
	for kind, r := range l.all() {
		if r.PerMinute > 0 {
			all[kind] = newLimiter(*r)
		}
	}
	return all
}

func newLimiter(r Rate) *limiter {
	l := &limiter{perMinute: r.PerMinute, burst: max(1, r.Burst), buckets: map[string]*rate.Limiter{}}
	l.rest = l.bucket()
	return l
}

func (l *limiter) bucket() *rate.Limiter {
	return rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.burst)
}

// take counts a request of a caller: how many more may follow at once, or how
// long to wait, in whole seconds, when this one was too many.
func (l *limiter) take(key string, now time.Time) (left int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[key]
	if b == nil {
		if len(l.buckets) >= maxCallers && now.Sub(l.swept) >= sweepEvery {
			l.swept = now
			for k, old := range l.buckets {
				if old.TokensAt(now) >= float64(l.burst) { // the same as one that is new
					delete(l.buckets, k)
				}
			}
		}
		if b = l.rest; len(l.buckets) < maxCallers {
			b = l.bucket()
			l.buckets[strings.Clone(key)] = b
		}
	}
	if b.AllowN(now, 1) {
		return int(b.TokensAt(now)), 0
	}
	missing := 1 - b.TokensAt(now)
	return 0, time.Duration(max(1, math.Ceil(missing*60/float64(l.perMinute)))) * time.Second
}
