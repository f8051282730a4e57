package handlers_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/live"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// script plays a cluster that passes every check, or what a test says.
type script struct {
	provider.InfrastructureProvider

	preflight func(context.Context, domain.Credential) domain.Preflight
}

func (s *script) Preflight(ctx context.Context, c domain.Credential) domain.Preflight {
	return s.preflight(ctx, c)
}

func (s *script) CheckHealth(context.Context, string) domain.ClusterHealth { return healthy() }

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
	url      string
}

func newPortal(t *testing.T, change ...func(*handlers.Config)) *portal {
	t.Helper()
	t.Parallel()
	db := databasetest.New(t)
	keys, err := crypto.Load("", crypto.Generate())
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	p := &portal{t: t, db: db, play: &script{}, hub: live.New(db, logger), sessions: handlers.NewSessions(memstore.New(), false)}
	p.play.preflight = func(context.Context, domain.Credential) domain.Preflight {
		return domain.Preflight{Health: healthy(), Checks: []domain.Check{{ID: "reachable", State: domain.CheckOK}}}
	}
	cfg := handlers.Config{
		Clusters: &cluster.Service{DB: db, Keys: keys, Prober: p.play, Provider: p.play, Logger: logger},
		VMs:      &vm.Service{DB: db, Provider: p.play, Logger: logger},
		Hub:      p.hub, Sessions: p.sessions, Logger: logger, Metrics: prometheus.NewRegistry(), Ready: db.Ping, Version: "test",
		ClusterRole: func([]domain.ResourceRule) string { return "kind: ClusterRole\n" },
	}
	for _, c := range change {
		c(&cfg)
	}
	p.Server = handlers.New(cfg)
	p.SetActorOf(p.actorOf)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.hub.Run(ctx) }()
	s := httptest.NewServer(p.Router())
	p.url = s.URL
	t.Cleanup(func() {
		cancel()
		<-done // ends the streams
		s.Close()
	})
	return p
}

// actorOf reads a user from the database.
func (p *portal) actorOf(ctx context.Context, id string) (domain.Actor, error) {
	u, err := p.db.Ent.User.Query().Where(user.ID(uuid.MustParse(id)), user.Disabled(false)).WithBindings().Only(ctx)
	if ent.IsNotFound(err) {
		return domain.Actor{}, apperr.New(apperr.ErrNotFound)
	} else if err != nil {
		return domain.Actor{}, err
	}
	a := domain.Actor{UserID: id, Username: u.Username}
	for _, b := range u.Edges.Bindings {
		d := domain.Binding{Role: domain.Role(b.Role)}
		if b.Environment != nil {
			d.Environment = domain.Environment(*b.Environment)
		}
		if b.SystemID != nil {
			d.SystemID = b.SystemID.String()
		}
		a.Bindings = append(a.Bindings, d)
	}
	return a, nil
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

// as is a browser of somebody who is signed in.
func (p *portal) as(u *ent.User) *browser {
	p.t.Helper()
	ctx, err := p.sessions.Load(p.t.Context(), "")
	if err != nil {
		p.t.Fatal(err)
	}
	p.sessions.Put(ctx, "user", u.ID.String())
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
