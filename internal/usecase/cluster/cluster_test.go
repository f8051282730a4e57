package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// script plays clusters that misbehave on command. What is not set behaves.
type script struct {
	provider.InfrastructureProvider // only CheckHealth is used

	preflight func(context.Context, domain.Credential) domain.Preflight
	health    func(ctx context.Context, cluster string) domain.ClusterHealth
	describe  func(ctx context.Context, cluster string) domain.ClusterHealth // nil: as health, with the time
	watch     func(ctx context.Context, cluster string) error
	heard     func(cluster string, tell func(time.Time)) // nil: never
	trouble   func(cluster string) domain.Connection     // nil: all is well

	spaces func(ctx context.Context, cluster, name string) (domain.NamespaceState, error) // nil: every namespace is there
	make   func(ctx context.Context, cluster, name string, labels map[string]string) error
}

func (s *script) Namespace(ctx context.Context, cluster, name string) (domain.NamespaceState, error) {
	if s.spaces == nil {
		return domain.NamespaceState{Presence: domain.PresencePresent, Quotas: []domain.Quota{}}, nil
	}
	return s.spaces(ctx, cluster, name)
}

func (s *script) CreateNamespace(ctx context.Context, cluster, name string, labels map[string]string) error {
	return s.make(ctx, cluster, name, labels)
}

func (s *script) Preflight(ctx context.Context, c domain.Credential) domain.Preflight {
	return s.preflight(ctx, c)
}

func (s *script) CheckHealth(ctx context.Context, cluster string, describe bool) domain.ClusterHealth {
	switch {
	case !describe:
		return s.health(ctx, cluster)
	case s.describe != nil:
		return s.describe(ctx, cluster)
	}
	h := s.health(ctx, cluster)
	if h.Status == domain.ClusterHealthy {
		h.DescribedAt = time.Now().UTC()
	}
	return h
}

func (s *script) Watch(ctx context.Context, cluster string, _ provider.Sink, heard func(time.Time)) error {
	if s.heard != nil {
		s.heard(cluster, heard)
	}
	return s.watch(ctx, cluster)
}

func (s *script) Connection(cluster string) domain.Connection {
	if s.trouble == nil {
		return domain.Connection{}
	}
	return s.trouble(cluster)
}

// passed is the pre-flight of a good cluster of that identity.
func passed(uid string) domain.Preflight {
	h := healthy(uid)
	h.Status = "" // a pre-flight gives none
	return domain.Preflight{Health: h, Checks: []domain.Check{
		{ID: "reachable", State: domain.CheckOK}, {ID: "permissions", State: domain.CheckWarn, Code: apperr.ErrPermissionsExcess},
	}}
}

func healthy(uid string) domain.ClusterHealth {
	return domain.ClusterHealth{
		Status: domain.ClusterHealthy, KubernetesVersion: "v1.34.1", KubeVirtVersion: "v1.9.0", Nodes: 2, ReadyNodes: 2,
		IdentityUID: uid, StorageClasses: []domain.StorageClass{{Name: "fast", Default: true}}, Features: []string{"Snapshot"},
	}
}

// stage is a service on a fresh database.
type stage struct {
	*cluster.Service
	play  *script
	t     testing.TB
	admin domain.Actor
	log   *bytes.Buffer
	told  []notify.Message // to the admins
}

// register registers a namespace for the cluster's environment.
func (st *stage) register(on *ent.Cluster, name string) string {
	st.t.Helper()
	id, err := st.RegisterNamespace(st.t.Context(), st.admin, cluster.Registration{ClusterID: on.ID.String(), Name: name, Environment: domain.Environment(on.Environment)})
	must(st.t, err)
	return id
}

func newStage(t testing.TB) *stage {
	t.Helper()
	keys, err := crypto.Load("", crypto.Generate())
	if err != nil {
		t.Fatal(err)
	}
	st := &stage{t: t, play: &script{}, log: &bytes.Buffer{}}
	st.Service = &cluster.Service{
		DB: databasetest.New(t), Keys: keys, Prober: st.play, Provider: st.play, Watcher: st.play, Spaces: st.play,
		TellAdmins: func(_ context.Context, _ *ent.Tx, m notify.Message) error { st.told = append(st.told, m); return nil },
		Logger:     slog.New(slog.NewTextHandler(&locked{w: st.log}, nil)),
	}
	st.play.preflight = func(ctx context.Context, _ domain.Credential) domain.Preflight { return passed("uid-1") }
	st.admin = st.person("root", domain.RoleAdmin)
	return st
}

type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (st *stage) person(name string, roles ...domain.Role) domain.Actor {
	st.t.Helper()
	u := st.DB.Ent.User.Create().SetUsername(name).SaveX(st.t.Context())
	a := domain.Actor{UserID: u.ID.String(), Username: name}
	for _, r := range roles {
		a.Bindings = append(a.Bindings, domain.Binding{Role: r})
	}
	return a
}

// stored puts a cluster there without a pre-flight; its identity is uid-<name>.
func (st *stage) stored(name string, env domain.Environment) *ent.Cluster {
	st.t.Helper()
	id := uuid.Must(uuid.NewV7())
	text, _ := json.Marshal(map[string]any{"server": "https://" + name, "token": []byte("token of " + name)})
	sealed, key, err := st.Keys.Seal(crypto.AAD{Table: "clusters", Column: "encrypted_kubeconfig", Row: id.String()}, text)
	if err != nil {
		st.t.Fatal(err)
	}
	return st.DB.Ent.Cluster.Create().SetID(id).SetName(name).SetEnvironment(entcluster.Environment(env)).SetCreatedBy("root").
		SetEncryptedKubeconfig(sealed).SetEncryptionKeyID(key).SetAPIServerURL("https://" + name).SetIdentityUID("uid-" + name).SaveX(st.t.Context())
}

func (st *stage) row(id string) *ent.Cluster {
	st.t.Helper()
	return st.DB.Ent.Cluster.GetX(st.t.Context(), uuid.MustParse(id))
}

func (st *stage) sql(text string, args ...any) {
	st.t.Helper()
	if _, err := st.DB.Pool.Exec(st.t.Context(), text, args...); err != nil {
		st.t.Fatal(err)
	}
}

func (st *stage) audited(action string) []*ent.AuditLog {
	st.t.Helper()
	return st.DB.Ent.AuditLog.Query().Where(auditlog.Action(action)).Order(auditlog.ByID()).AllX(st.t.Context())
}

// upload gives the id of a draft with one context "main".
func (st *stage) upload() string {
	st.t.Helper()
	id, err := st.ReadUpload(st.t.Context(), st.admin, "east.kubeconfig", good(kubeconfigtest.Token))
	if err != nil {
		st.t.Fatal(err)
	}
	return id
}

func good(token string) []byte {
	return kubeconfigtest.Config("server: https://10.0.0.1:6443", "token: "+token)
}

// heard collects the topics that are announced from now on; the answer waits
// until all earlier transactions were heard.
func (st *stage) heard() func() []string {
	st.t.Helper()
	ctx, cancel := context.WithCancel(st.t.Context())
	ready, done, mark := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	var topics []string
	go func() {
		defer close(done)
		_ = st.DB.Listen(ctx, func() { close(ready) }, func(got []string) {
			if got[0] == "mark" {
				mark <- struct{}{}
				return
			}
			topics = append(topics, strings.Join(got, " "))
		})
	}()
	<-ready
	return func() []string {
		st.t.Helper()
		if err := st.DB.InTx(ctx, func(tx *ent.Tx) error { return database.Notify(ctx, tx, "mark") }); err != nil {
			st.t.Fatal(err)
		}
		<-mark
		cancel()
		<-done
		return topics
	}
}

func wants(t testing.TB, err error, code string) *apperr.AppError {
	t.Helper()
	e, ok := apperr.From(err)
	if !ok || e.Code != code {
		t.Fatalf("error %v, want %s", err, code)
	}
	return e
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhoSeesAndChanges(t *testing.T) {
	st := newStage(t)
	id := st.stored("east", domain.Test).ID.String()
	for name, want := range map[string]struct{ see, change string }{
		"admin":    {"", ""},
		"auditor":  {"", apperr.ErrForbidden},
		"approver": {"", apperr.ErrForbidden},
		"owner":    {apperr.ErrNotFound, apperr.ErrNotFound},
		"nobody":   {apperr.ErrNotFound, apperr.ErrNotFound},
	} {
		var roles []domain.Role
		if name != "nobody" {
			roles = append(roles, domain.Role(name))
		}
		actor := st.person(name, roles...)
		ctx := t.Context()
		for call, try := range map[string]func() error{
			"list":       func() error { _, err := st.List(ctx, actor, cluster.Page{}); return err },
			"get":        func() error { _, err := st.Get(ctx, actor, id); return err },
			"namespaces": func() error { _, err := st.Namespaces(ctx, actor, cluster.Page{}); return err },
		} {
			if code := codeOf(try()); code != want.see {
				t.Errorf("%s, %s: %q, want %q", name, call, code, want.see)
			}
		}
		for call, try := range map[string]func() error{
			"enable":  func() error { return st.SetEnabled(ctx, actor, id, true) },
			"upload":  func() error { _, err := st.ReadUpload(ctx, actor, "", good("t")); return err },
			"add":     func() error { return ignoreDraft(second(st.Add(ctx, actor, "x", cluster.Input{}))) },
			"replace": func() error { return ignoreDraft(st.ReplaceCredential(ctx, actor, id, "x", "main")) },
			"register": func() error {
				return second(st.RegisterNamespace(ctx, actor, cluster.Registration{ClusterID: id, Name: "ns-" + name, Environment: domain.Test}))
			},
		} {
			if code := codeOf(try()); code != want.change {
				t.Errorf("%s, %s: %q, want %q", name, call, code, want.change)
			}
		}
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return apperr.CodeOf(err)
}

func second[T any](_ T, err error) error { return err }

// ignoreDraft drops the answers that come after the rights were checked.
func ignoreDraft(err error) error {
	switch codeOf(err) {
	case apperr.ErrRequired, apperr.ErrDraftExpired:
		return nil
	}
	return err
}

func TestPages(t *testing.T) {
	st := newStage(t)
	var names []string
	for i := range 5 {
		c := st.stored(fmt.Sprintf("c-%d", 4-i), domain.Test)
		st.register(c, "shop")
	}
	for page := (cluster.Page{Limit: 2}); ; {
		l, err := st.List(t.Context(), st.admin, page)
		must(t, err)
		for _, c := range l.Items {
			names = append(names, c.Name)
		}
		if page.After = l.Next; l.Next == "" {
			break
		}
	}
	if got := strings.Join(names, " "); got != "c-0 c-1 c-2 c-3 c-4" {
		t.Errorf("clusters %q", got)
	}
	seen := map[string]bool{}
	for page := (cluster.Page{Limit: 2}); ; {
		l, err := st.Namespaces(t.Context(), st.admin, page)
		must(t, err)
		for _, n := range l.Items {
			seen[n.ClusterName] = true
			one, err := st.GetNamespace(t.Context(), st.admin, n.ID)
			if err != nil || !reflect.DeepEqual(one, n) {
				t.Errorf("%+v, %v; want %+v", one, err, n)
			}
		}
		if page.After = l.Next; l.Next == "" {
			break
		}
	}
	if len(seen) != 5 {
		t.Errorf("namespaces of %d clusters, want 5", len(seen))
	}
}

func TestSetEnabled(t *testing.T) {
	st := newStage(t)
	id := st.stored("east", domain.Test).ID.String()
	heard := st.heard()
	must(t, st.SetEnabled(t.Context(), st.admin, id, true)) // as it is: no record
	must(t, st.SetEnabled(t.Context(), st.admin, id, false))
	if st.row(id).Enabled {
		t.Error("still enabled")
	}
	if n := len(st.audited("cluster.disable")); n != 1 || len(st.audited("cluster.enable")) != 0 {
		t.Errorf("%d records of disabling", n)
	}
	if got := heard(); len(got) != 1 || got[0] != "clusters cluster-"+id {
		t.Errorf("announced %q", got)
	}
	wants(t, st.SetEnabled(t.Context(), st.admin, uuid.NewString(), true), apperr.ErrNotFound)
	wants(t, st.SetEnabled(t.Context(), st.admin, "../x", true), apperr.ErrNotFound)
}
