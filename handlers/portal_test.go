package handlers_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/live"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	"kubevirt-shepherd.io/shepherd/internal/policy"
	"kubevirt-shepherd.io/shepherd/internal/provider"
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
)

// script plays a cluster that passes every check, or what a test says.
type script struct {
	provider.InfrastructureProvider

	preflight func(context.Context, domain.Credential) domain.Preflight
	list      func(provider.ListOptions) (*domain.VMList, error)
	spaces    func(name string) (domain.NamespaceState, error) // nil: every namespace is there
	make      func(name string) error
}

func (s *script) Namespace(_ context.Context, _, name string) (domain.NamespaceState, error) {
	if s.spaces == nil {
		return domain.NamespaceState{Presence: domain.PresencePresent, Quotas: []domain.Quota{}}, nil
	}
	return s.spaces(name)
}

func (s *script) CreateNamespace(_ context.Context, _, name string, _ map[string]string) error {
	return s.make(name)
}

func (s *script) ListVMs(_ context.Context, _ string, opt provider.ListOptions) (*domain.VMList, error) {
	if s.list == nil {
		return &domain.VMList{}, nil
	}
	return s.list(opt)
}

func (s *script) Preflight(ctx context.Context, c domain.Credential) domain.Preflight {
	return s.preflight(ctx, c)
}

func (s *script) CheckHealth(context.Context, string, bool) domain.ClusterHealth { return healthy() }

func healthy() domain.ClusterHealth {
	return domain.ClusterHealth{
		Status: domain.ClusterHealthy, KubernetesVersion: "v1.34.1", KubeVirtVersion: "v1.9.0", Nodes: 2, ReadyNodes: 2,
		IdentityUID: "uid-1", StorageClasses: []domain.StorageClass{{Name: "fast", Default: true}},
	}
}

// portal is the portal on a fresh database, behind a real listener.
type portal struct {
	*handlers.Server
	t        *testing.T
	db       *database.DB
	play     *script
	hub      *live.Hub
	sessions *scs.SessionManager
	accounts *account.Service
	url      string
}

func newPortal(t *testing.T, change ...func(*handlers.Config)) *portal {
	t.Helper()
	t.Parallel()
	return open(t, change...)
}

func open(t *testing.T, change ...func(*handlers.Config)) *portal {
	t.Helper()
	db := databasetest.New(t)
	keys, err := crypto.Load("", crypto.Generate())
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	p := &portal{t: t, db: db, play: &script{}, hub: live.New(db, logger), sessions: handlers.NewSessions(auth.Sessions{Client: db.Ent}, false)}
	p.play.preflight = func(context.Context, domain.Credential) domain.Preflight {
		return domain.Preflight{Health: healthy(), Checks: []domain.Check{{ID: "reachable", State: domain.CheckOK}}}
	}
	accounts := &account.Service{DB: db, Local: &auth.Local{Client: db.Ent}, Notify: notify.Inbox{}}
	cfg := handlers.Config{
		Objects: &access.Objects{DB: db}, Accounts: accounts, Systems: &system.Service{DB: db}, Services: &service.Service{DB: db}, Inbox: &inbox.Service{DB: db},
		Search: &search.Service{DB: db}, Audit: &audit.Log{DB: db, Keys: keys, Logger: logger}, Trends: &trends.Service{DB: db}, Idempotency: &idempotency.Service{DB: db},
		Clusters: &cluster.Service{DB: db, Keys: keys, Prober: p.play, Provider: p.play, Spaces: p.play, TellAdmins: accounts.TellAdmins, Logger: logger},
		Catalog:  &catalog.Service{DB: db, Keys: keys},
		Approval: &approval.Service{
			DB: db, Policy: policy.Internal{}, Notify: notify.Inbox{}, Enqueue: func(context.Context, *ent.Tx, uuid.UUID) error { return nil },
			ActorTx: accounts.ActorTx, Approvers: accounts.Approvers,
		},
		VMs:    &vm.Service{DB: db, Provider: p.play, Logger: logger},
		Tokens: &token.Service{DB: db, Keys: keys, Notify: notify.Inbox{}, Logger: logger},
		Hub:    p.hub, Sessions: p.sessions, Logger: logger, Metrics: prometheus.NewRegistry(), Ready: db.Ping, Version: "test",
		ClusterRole: func([]domain.ResourceRule, string) string { return "kind: ClusterRole\n" },
	}
	for _, c := range change {
		c(&cfg)
	}
	p.sessions, p.accounts = cfg.Sessions, accounts
	p.Server = handlers.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.hub.Run(ctx) }()
	s := httptest.NewServer(p.Router())
	p.url = s.URL
	t.Cleanup(func() {
		cancel()
		<-done // ends the streams
		s.Close()
		cfg.Tokens.Flush()
	})
	return p
}

// person makes an account.
func (p *portal) person(name string, bindings ...domain.Binding) *ent.User {
	p.t.Helper()
	u := p.db.Ent.User.Create().SetUsername(name).SaveX(p.t.Context())
	for _, b := range bindings {
		c := p.db.Ent.RoleBinding.Create().SetUserID(u.ID).SetRole(rolebinding.Role(b.Role)).SetCreatedBy("test")
		if b.Environment != "" {
			c.SetEnvironment(rolebinding.Environment(b.Environment))
		}
		if b.SystemID != "" {
			c.SetSystemID(uuid.MustParse(b.SystemID))
		}
		c.SaveX(p.t.Context())
	}
	return u
}

// anonymous is a browser of somebody who is not signed in.
func (p *portal) anonymous() *browser { return newBrowser(p.t, p.url) }

// as is a browser of somebody who has just signed in.
func (p *portal) as(u *ent.User) *browser {
	p.t.Helper()
	return p.session(u, map[string]any{"sure": time.Now().Unix()})
}

// session is a browser of somebody whose session holds this too.
func (p *portal) session(u *ent.User, held map[string]any) *browser {
	p.t.Helper()
	ctx, err := p.sessions.Load(p.t.Context(), "")
	if err != nil {
		p.t.Fatal(err)
	}
	p.sessions.Put(ctx, "user", u.ID.String())
	for key, value := range held {
		p.sessions.Put(ctx, key, value)
	}
	token, _, err := p.sessions.Commit(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	b := p.anonymous()
	b.setCookie(&http.Cookie{Name: p.sessions.Cookie.Name, Value: token, Path: "/"})
	return b
}

func (p *portal) admin() *browser {
	return p.as(p.person("admin", domain.Binding{Role: domain.RoleAdmin}))
}
