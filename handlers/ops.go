package handlers

import (
	"context"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// quiet are the routes that machines ask all the time.
var quiet = []string{"/healthz", "/readyz", "/static/{name}"}

// healthz says that the process answers.
func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// readyz says whether the portal can do its work: the database answers and
// changes are heard. That credentials are locked is told beside it.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := s.Ready(ctx); err != nil {
		s.Logger.WarnContext(ctx, "not ready", "err", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("not ready\n"))
		return
	}
	_, _ = w.Write([]byte("ready\n"))
	if s.Lockout != nil { // pages work, so a restart or another process would be no better
		_, _ = w.Write([]byte("credentials are locked: see the log of the start\n"))
	}
}

// AdminHandler is for the admin port, which is not open to people: metrics and
// profiles.
func (s *Server) AdminHandler() http.Handler {
	r := chi.NewRouter()
	r.Handle("/metrics", promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{}))
	r.Get("/healthz", healthz)
	r.Get("/readyz", s.readyz)
	r.HandleFunc("/debug/pprof/*", pprof.Index)
	r.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	r.HandleFunc("/debug/pprof/profile", pprof.Profile)
	r.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	r.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return r
}

// metrics are the numbers of this floor.
type metrics struct {
	duration   *prometheus.HistogramVec
	streams    prometheus.Gauge
	limited    *prometheus.CounterVec
	violations *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, version string) *metrics {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "shepherd_http_request_duration_seconds", Help: "Time to answer, by route pattern.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"method", "route", "status"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "shepherd_event_streams", Help: "Open streams of events."}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shepherd_rate_limited_total", Help: "Requests refused because their caller came too often, by kind.",
		}, []string{"kind"}),
		violations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shepherd_csp_violations_total", Help: "Violations of the content policy that browsers report, by directive. Anybody can send them.",
		}, []string{"directive"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "shepherd_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	reg.MustRegister(m.duration, m.streams, m.limited, m.violations, build)
	return m
}

// methods keeps the label values few: a client may send any word.
var methods = map[string]string{http.MethodGet: "GET", http.MethodHead: "HEAD", http.MethodPost: "POST"}

func (m *metrics) seen(method, route string, status int, took time.Duration) {
	known, ok := methods[method]
	if !ok {
		known = "other"
	}
	m.duration.WithLabelValues(known, route, strconv.Itoa(status)).Observe(took.Seconds())
}
