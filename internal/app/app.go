package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/auth/oidc"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/jobs"
	"kubevirt-shepherd.io/shepherd/internal/live"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	"kubevirt-shepherd.io/shepherd/internal/policy"
	"kubevirt-shepherd.io/shepherd/internal/provider/kubevirt"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/catalog"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/idempotency"
	"kubevirt-shepherd.io/shepherd/internal/usecase/inbox"
	"kubevirt-shepherd.io/shepherd/internal/usecase/keys"
	"kubevirt-shepherd.io/shepherd/internal/usecase/search"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
	"kubevirt-shepherd.io/shepherd/internal/usecase/token"
	"kubevirt-shepherd.io/shepherd/internal/usecase/trends"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// How often the chores are done.
const (
	checkEvery      = 3 * time.Second  // health of the clusters that are due
	namespacesEvery = 30 * time.Second // those whose last look is some minutes old
	sweepEvery      = 30 * time.Second // orders that lost their job
	expireEvery     = 5 * time.Minute  // requests that nobody decided
	remindEvery     = 10 * time.Minute // tokens that end soon
	warnEvery       = time.Hour        // credentials of clusters that end soon
	cleanupEvery    = time.Hour        // ended sessions, drafts and old events of clusters, old tokens
	archiveEvery    = 10 * time.Minute // old entries of the audit log
)

// Deadlines of a connection. Pages are small and uploads 64 KiB; the stream of
// events lifts its write deadline itself.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	drainTimeout      = 20 * time.Second
	lookupTimeout     = 5 * time.Second // of the portal's own names, at the start
	maxHeader         = 64 << 10        // bytes
)

// App is the whole portal.
type App struct {
	Config   Config
	Logger   *slog.Logger
	DB       *database.DB
	Accounts *account.Service
	Systems  *system.Service
	Services *service.Service
	Catalog  *catalog.Service
	Clusters *cluster.Service
	Approval *approval.Service
	VMs      *vm.Service
	Trends   *trends.Service
	Tokens   *token.Service
	Audit    *audit.Log

	// Demo is set by the demo before Run, to show how far its clusters are.
	Demo func() *views.ProgressView
	// Listening, when set, is told the address that the portal listens on.
	Listening func(net.Addr)

	private     *database.Private
	lockout     *domain.Lockout // why credentials do not open; nil: they do
	provider    *kubevirt.Provider
	hub         *live.Hub
	runner      *jobs.Runner
	sessions    *scs.SessionManager
	store       auth.Sessions
	idempotency *idempotency.Service
	metrics     *prometheus.Registry
}

// New builds the portal and brings the database up to date. Close takes it down.
func New(ctx context.Context, c Config, logger *slog.Logger) (_ *App, err error) {
	a := &App{Config: c, Logger: logger}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if err := a.openDatabase(ctx); err != nil {
		return nil, err
	}
	ring, err := a.openKeys(ctx)
	if err != nil {
		return nil, err
	}
	a.lockout = ring.Locked()
	for _, p := range c.AllowCIDRs {
		if p.Addr().IsLoopback() {
			logger.Warn("clusters on this machine are allowed", "cidr", p)
		}
	}

	queue, err := jobs.NewInserter(a.DB)
	if err != nil {
		return nil, err
	}
	notifier := notify.All{notify.Inbox{}, notify.Log{Logger: logger}}
	a.Accounts = &account.Service{
		DB: a.DB, Local: &auth.Local{Client: a.DB.Ent}, Notify: notifier, Passwords: c.Passwords,
		NewPeople: c.NewPeople, FollowGroups: c.OIDC != nil && c.OIDC.GroupsClaim != "",
	}
	a.Audit = a.auditLog(ring)
	a.Accounts.Denials = &a.Audit.Denials
	a.Tokens = &token.Service{DB: a.DB, Keys: ring, Notify: notifier, Logger: logger}
	a.Catalog = &catalog.Service{DB: a.DB, Keys: ring}
	a.Systems = &system.Service{DB: a.DB}
	a.Services = &service.Service{DB: a.DB}
	a.Trends = &trends.Service{DB: a.DB}
	credentials := &cluster.Credentials{DB: a.DB, Keys: ring}
	a.provider = kubevirt.New(kubevirt.NewKubeconfigProvider(credentials), kubevirt.Options{
		MayWrite:   credentials.MayWrite,
		AllowCIDRs: c.AllowCIDRs, DenyCIDRs: c.DenyCIDRs, DenyAddrs: ownAddresses(ctx, append(a.DB.Addresses(), c.Addr, c.AdminAddr)), Logger: logger, UserAgent: "kubevirt-shepherd/" + c.Version,
	})
	a.VMs = &vm.Service{
		DB: a.DB, Provider: a.provider, Notify: notifier, CloudInit: a.Catalog.OpenCloudInit, Requeue: queue.Enqueue,
		Worker: uuid.NewString(), Logger: logger, TellAdmins: a.Accounts.TellAdmins,
	}
	a.Clusters = &cluster.Service{
		DB: a.DB, Keys: ring, Prober: a.provider, Provider: a.provider, Watcher: a.provider, Sink: a.VMs, Logger: logger,
		Spaces: a.provider, TellAdmins: a.Accounts.TellAdmins,
		Forget: a.provider.Forget, Notify: notifier, Admins: a.Accounts.Admins,
	}
	a.Approval = &approval.Service{
		DB: a.DB, Policy: policy.Internal{}, Notify: notifier, Enqueue: queue.Enqueue, ActorTx: a.Accounts.ActorTx, Approvers: a.Accounts.Approvers,
		Try: a.VMs.Try,
	}
	a.idempotency = &idempotency.Service{DB: a.DB}
	a.hub = live.New(a.DB, logger)
	a.store = auth.Sessions{Client: a.DB.Ent}
	a.sessions = handlers.NewSessions(a.store, c.Secure())
	a.metrics = prometheus.NewRegistry()
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "shepherd_credentials_locked", Help: "1 while the key file is not the one that sealed the credentials."}, func() float64 {
			if a.lockout != nil {
				return 1
			}
			return 0
		}))

	a.runner, err = jobs.New(a.DB, logger, c.Workers, a.VMs.Execute, []jobs.Chore{
		{Name: "check-clusters", Every: checkEvery, Run: a.Clusters.CheckDue},
		{Name: "check-namespaces", Every: namespacesEvery, Run: a.Clusters.CheckNamespaces},
		{Name: "sweep-orders", Every: sweepEvery, Run: a.VMs.Sweep},
		{Name: "expire-tickets", Every: expireEvery, Run: func(ctx context.Context) error {
			_, err := a.Approval.Expire(ctx)
			return err
		}},
		{Name: "archive-audit", Every: archiveEvery, Run: a.Audit.Archive},
		{Name: "remind-of-tokens", Every: remindEvery, Run: func(ctx context.Context) error {
			_, err := a.Tokens.Remind(ctx)
			return err
		}},
		{Name: "warn-of-credentials", Every: warnEvery, Run: func(ctx context.Context) error {
			_, err := a.Clusters.WarnOfEnds(ctx)
			return err
		}},
		{Name: "sample-vms", Every: trends.SampleEvery, Run: a.Trends.Sample},
		{Name: "clean-up", Every: cleanupEvery, Run: func(ctx context.Context) error {
			_, err1 := a.store.DeleteExpired(ctx)
			_, err2 := a.Clusters.SweepDrafts(ctx)
			_, err3 := a.idempotency.Sweep(ctx)
			_, err4 := a.Tokens.Clean(ctx)
			_, err5 := a.Clusters.SweepReplacements(ctx)
			_, err6 := a.Clusters.SweepEvents(ctx)
			return errors.Join(err1, err2, err3, err4, err5, err6)
		}},
	})
	if err != nil {
		return nil, err
	}
	return a, policy.EnsureDefaults(ctx, a.DB.Ent)
}

func (a *App) openDatabase(ctx context.Context) error {
	if len(a.Config.DatabaseURL) == 0 {
		if err := a.Config.MakeDataDir(); err != nil {
			return err
		}
		p, err := database.StartPrivate(ctx, a.Config.path("postgres"))
		if err != nil {
			return err
		}
		a.private = p
	}
	if err := database.Migrate(ctx, a.DatabaseURL()); err != nil {
		return err
	}
	db, err := database.Open(ctx, a.DatabaseURL())
	if err != nil {
		return err
	}
	a.DB = db
	return nil
}

// ownAddresses are the addresses behind host:port texts of the portal's own
// ports and of its database: no cluster is there, and who names one in a
// kubeconfig wants the portal to reach it from inside. Names are looked up once,
// at the start; those that have no address then, and ports that are not known
// yet, are left out. A text without a host means every address of this machine.
func ownAddresses(ctx context.Context, texts []string) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var own []netip.AddrPort
	for _, text := range texts {
		host, portText, err := net.SplitHostPort(text)
		port, portErr := strconv.ParseUint(portText, 10, 16)
		if err != nil || portErr != nil || port == 0 {
			continue
		}
		var found []netip.Addr
		if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
			all, _ := net.InterfaceAddrs() // none: loopback is closed anyway
			for _, a := range all {
				if p, err := netip.ParsePrefix(a.String()); err == nil {
					found = append(found, p.Addr())
				}
			}
		} else {
			found, _ = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
		for _, ip := range found {
			own = append(own, netip.AddrPortFrom(ip.Unmap().WithZone(""), uint16(port)))
		}
	}
	return own
}

// DatabaseURL is where the portal keeps its data, also when the server is private.
func (a *App) DatabaseURL() string {
	if a.private != nil {
		return a.private.URL
	}
	return string(a.Config.DatabaseURL)
}

// openKeys loads the key encryption keys, and finds out whether they are those
// that sealed what is stored. When they are not, the portal runs all the same,
// with a keyring that is locked: people see what is known, what was approved
// waits, and nothing that is stored is overwritten. Without anything sealed there
// is nothing to lose, and a start without keys is refused.
func (a *App) openKeys(ctx context.Context) (*crypto.Keyring, error) {
	needed, err := keys.Needed(ctx, a.DB)
	if err != nil {
		return nil, err
	}
	ring, err := a.readKeys(needed)
	if err != nil {
		if !needed {
			return nil, err
		}
		a.Logger.ErrorContext(ctx, "credentials are locked: the keys cannot be read", "error", err)
		return ring.Lock(domain.Lockout{Unreadable: true}), nil
	}
	lockout, err := keys.Examine(ctx, a.DB, ring)
	if err != nil || lockout == nil {
		return ring, err
	}
	a.Logger.ErrorContext(ctx, "credentials are locked: these are not the keys that sealed them", "keys", ring, "missing", lockout.Missing, "wrong", lockout.Wrong)
	return ring.Lock(*lockout), nil
}

// readKeys reads the key file as it is. Beside a private database, which is no
// place for a real installation's secrets, one is made, unless something is
// sealed already: then the one that is missing has to come back.
func (a *App) readKeys(needed bool) (*crypto.Keyring, error) {
	file := a.Config.KEKFile
	if file == "" && len(a.Config.KEK) == 0 && a.private != nil {
		file = a.Config.path("keys")
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && !needed {
			if err := crypto.WriteNew(file); err != nil {
				return nil, err
			}
		}
	}
	ring, err := crypto.Load(file, string(a.Config.KEK))
	if err != nil {
		return nil, fmt.Errorf("key encryption keys (SHEPHERD_KEK_FILE; make one with `shepherd keys new FILE`): %w", err)
	}
	return ring, nil
}

// Handler answers the portal's requests.
func (a *App) Handler() *handlers.Server {
	var company *oidc.Provider
	if a.Config.OIDC != nil {
		company = oidc.New(*a.Config.OIDC)
	}
	return handlers.New(handlers.Config{
		Objects: &access.Objects{DB: a.DB}, Accounts: a.Accounts, Systems: a.Systems, Services: a.Services, Catalog: a.Catalog, Clusters: a.Clusters, Approval: a.Approval,
		VMs: a.VMs, Inbox: &inbox.Service{DB: a.DB}, Search: &search.Service{DB: a.DB}, Audit: a.Audit, Trends: a.Trends, Idempotency: a.idempotency,
		Tokens: a.Tokens, OIDC: company,
		Hub: a.hub, Sessions: a.sessions, Logger: a.Logger, Metrics: a.metrics, Ready: a.ready, Lockout: a.lockout, ClusterRole: kubevirt.ClusterRoleYAML,
		PublicURL: a.Config.PublicURL(), Version: a.Config.Version, Secure: a.Config.Secure(), TrustedProxies: a.Config.TrustedProxies, CheckEvery: cluster.CheckEvery, Demo: a.Demo,
		Limits: handlers.DefaultLimits().Times(a.Config.RateLimits),
	})
}

func (a *App) ready(ctx context.Context) error { return a.DB.Ping(ctx) }

// Run serves until ctx ends, then stops in order: no new requests, streams
// closed, pages and jobs finished.
func (a *App) Run(ctx context.Context) error {
	server := a.Handler()
	portal := listening(server.Router(), a.Logger)
	listener, err := net.Listen("tcp", a.Config.Addr)
	if err != nil {
		return err
	}
	admin := listening(server.AdminHandler(), a.Logger)
	admin.WriteTimeout = 0 // a profile takes as long as it is asked to
	var adminListener net.Listener
	if a.Config.AdminAddr != "" {
		if adminListener, err = net.Listen("tcp", a.Config.AdminAddr); err != nil {
			_ = listener.Close()
			return fmt.Errorf("SHEPHERD_ADMIN_ADDR: %w", err)
		}
	}
	if a.Listening != nil {
		a.Listening(listener.Addr())
	}
	a.Logger.Info("serving", "url", a.Config.PublicURL(), "address", listener.Addr().String(), "version", a.Config.Version)

	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	// The last entries are sealed when everything else has ended.
	seal, stopSealing := context.WithCancel(context.WithoutCancel(ctx))
	sealed := make(chan struct{})
	go func() { defer close(sealed); a.Audit.Run(seal) }()
	defer func() { stopSealing(); <-sealed }()

	ended := make(chan error, 5)
	parts := 0
	start := func(run func() error) {
		parts++
		go func() { ended <- run() }()
	}
	start(func() error { a.hub.Run(work); return nil })
	start(func() error { a.Clusters.Run(work); return nil })
	start(func() error { return a.runner.Run(work) })
	start(func() error {
		if a.Config.TLSCert != "" {
			return closed(portal.ServeTLS(listener, a.Config.TLSCert, a.Config.TLSKey))
		}
		return closed(portal.Serve(listener))
	})
	if adminListener != nil {
		start(func() error { return closed(admin.Serve(adminListener)) })
	}

	var failed error
	select {
	case <-ctx.Done():
	case failed = <-ended:
		parts--
		if failed == nil {
			failed = errors.New("a part of the portal stopped by itself")
		}
	}
	a.Logger.Info("stopping")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	a.hub.Close() // ends the streams, which would hold the server
	failed = errors.Join(failed, portal.Shutdown(drain), admin.Shutdown(drain))
	stop()
	for range parts {
		failed = errors.Join(failed, <-ended)
	}
	return failed
}

// listening is a server with limits on what a connection may take.
func listening(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}

func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close gives back what New took.
func (a *App) Close() {
	if a.provider != nil {
		a.provider.Close()
	}
	if a.Tokens != nil {
		a.Tokens.Flush()
	}
	if a.DB != nil {
		a.DB.Close()
	}
	if a.private != nil {
		a.private.Stop()
	}
}

// OpenAudit opens the audit log alone: no part of the portal runs. done gives
// back what it took.
func OpenAudit(ctx context.Context, c Config, logger *slog.Logger) (_ *audit.Log, done func(), err error) {
	a := &App{Config: c, Logger: logger}
	if err := a.openDatabase(ctx); err != nil {
		a.Close()
		return nil, nil, err
	}
	ring, err := a.openKeys(ctx)
	if err != nil {
		a.Close()
		return nil, nil, err
	}
	return a.auditLog(ring), a.Close, nil
}

func (a *App) auditLog(ring *crypto.Keyring) *audit.Log {
	return &audit.Log{DB: a.DB, Keys: ring, Logger: a.Logger, Keep: audit.Retention{For: a.Config.AuditRetention, Dir: a.Config.AuditArchive}}
}

// OpenTokens opens the accounts and their tokens alone, for the command line: no
// part of the portal runs. done gives back what it took.
func OpenTokens(ctx context.Context, c Config, logger *slog.Logger) (_ *token.Service, _ *account.Service, done func(), err error) {
	a := &App{Config: c, Logger: logger}
	if err := a.openDatabase(ctx); err != nil {
		a.Close()
		return nil, nil, nil, err
	}
	ring, err := a.openKeys(ctx)
	if err != nil {
		a.Close()
		return nil, nil, nil, err
	}
	return &token.Service{DB: a.DB, Keys: ring, Notify: notify.Inbox{}, Logger: logger},
		&account.Service{DB: a.DB, Local: &auth.Local{Client: a.DB.Ent}}, a.Close, nil
}

// OpenKeys opens the database and reads the keys as they are, for the command
// line: no part of the portal runs. The keyring is nil when it cannot be read,
// and then unread says why. done gives back what it took.
func OpenKeys(ctx context.Context, c Config, logger *slog.Logger) (db *database.DB, ring *crypto.Keyring, unread error, done func(), err error) {
	a := &App{Config: c, Logger: logger}
	if err := a.openDatabase(ctx); err != nil {
		a.Close()
		return nil, nil, nil, nil, err
	}
	ring, unread = a.readKeys(true)
	return a.DB, ring, unread, a.Close, nil
}

// CommandLine is who acts that has a shell on the server.
func CommandLine() domain.Actor {
	actor := domain.Shepherd()
	actor.Via = commandLine()
	return actor
}

// CreateAdmin makes an administrator without a password and answers with the
// one-time link to set it.
func CreateAdmin(ctx context.Context, c Config, logger *slog.Logger, username string) (link string, err error) {
	a, err := New(ctx, c, logger)
	if err != nil {
		return "", err
	}
	defer a.Close()
	a.Accounts.Via = commandLine()
	token, err := a.Accounts.CreateSetup(ctx, username, domain.RoleAdmin)
	if err != nil {
		return "", err
	}
	return c.PublicURL() + paths.Setup(token), nil
}

// BreakGlass makes somebody an administrator for a while, and answers with the
// one-time link to sign in.
func BreakGlass(ctx context.Context, c Config, logger *slog.Logger, username, reason string, life time.Duration) (link string, until time.Time, err error) {
	a, err := New(ctx, c, logger)
	if err != nil {
		return "", until, err
	}
	defer a.Close()
	a.Accounts.Via = commandLine()
	token, until, err := a.Accounts.BreakGlass(ctx, username, reason, life)
	if err != nil {
		return "", until, err
	}
	return c.PublicURL() + paths.Setup(token), until, nil
}

// commandLine is by what somebody acts who has a shell on the server: the
// account of the operating system, and the one that it was entered from.
func commandLine() domain.Via {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if from := os.Getenv("SUDO_USER"); from != "" && from != name {
		name += ", from " + from
	}
	if host, err := os.Hostname(); err == nil {
		name += " at " + host
	}
	return domain.Via{Kind: domain.ViaCLI, Name: name}
}
