package approval_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalpolicy"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/instancesize"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/notification"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	entsystem "kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/template"
	"kubevirt-shepherd.io/shepherd/ent/user"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/policy"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
)

// stage is a service on a fresh database with a small company in it: the system
// shop with the service redis, once in test and once in prod.
type stage struct {
	*approval.Service
	t  testing.TB
	db *ent.Client

	mu     sync.Mutex
	queued []uuid.UUID

	dev, approver, admin domain.Actor
	test, prod           *ent.Service
	east, west           *ent.Cluster
	ubuntu               *ent.Template
	small, large         *ent.InstanceSize
}

func newStage(t testing.TB) *stage {
	t.Helper()
	db := databasetest.New(t)
	st := &stage{t: t, db: db.Ent}
	accounts := &account.Service{DB: db}
	st.Service = &approval.Service{
		DB: db, Policy: policy.Internal{}, Notify: notify.Inbox{},
		Enqueue: func(_ context.Context, _ *ent.Tx, id uuid.UUID) error {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.queued = append(st.queued, id)
			return nil
		},
		ActorTx: accounts.ActorTx, Approvers: accounts.Approvers,
	}
	ctx := t.Context()
	st.approver = st.person("ann", domain.RoleApprover, nil)
	st.admin = st.person("root", domain.RoleAdmin, nil)
	st.east, st.west = st.cluster("east", domain.Test), st.cluster("west", domain.Prod)
	st.test, st.prod = st.service("shop", "team-a", domain.Test), st.service("shop", "team-a-prod", domain.Prod)
	st.db.Namespace.Create().SetClusterID(st.east.ID).SetName("team-a").SetEnvironment(namespace.EnvironmentTest).SetCreatedBy("root").ExecX(ctx)
	st.db.Namespace.Create().SetClusterID(st.west.ID).SetName("team-a-prod").SetEnvironment(namespace.EnvironmentProd).SetCreatedBy("root").ExecX(ctx)
	st.dev = st.person("dev", domain.RoleMaintainer, &st.test.SystemID)
	st.db.RoleBinding.Create().SetUserID(uuid.MustParse(st.dev.UserID)).SetRole(rolebinding.RoleMaintainer).SetSystemID(st.prod.SystemID).
		SetCreatedBy("root").ExecX(ctx)
	st.dev = st.again(st.dev)
	st.ubuntu = st.db.Template.Create().SetName("ubuntu").SetVersion(1).SetDisplayName("Ubuntu 24.04").SetImage("docker://u").
		SetMinDiskGib(10).SetStatus(template.StatusActive).SetCreatedBy("root").SaveX(ctx)
	size := func(name string, cpu int) *ent.InstanceSize {
		return st.db.InstanceSize.Create().SetName(name).SetCPU(cpu).SetMemoryMib(cpu * 2048).SetDiskGib(20).SetMaxDiskGib(100).
			SetStatus(instancesize.StatusActive).SetCreatedBy("root").SaveX(ctx)
	}
	st.small, st.large = size("small", 1), size("large", 4)
	return st
}

func actorOf(ctx context.Context, c *ent.Client, id string) (domain.Actor, error) {
	u, err := c.User.Query().Where(user.ID(uuid.MustParse(id))).WithBindings().Only(ctx)
	if err != nil {
		return domain.Actor{}, err
	}
	a := domain.Actor{UserID: id, Username: u.Username}
	for _, b := range u.Edges.Bindings {
		d := domain.Binding{Role: domain.Role(b.Role)}
		if b.SystemID != nil {
			d.SystemID = b.SystemID.String()
		}
		if b.Environment != nil {
			d.Environment = domain.Environment(*b.Environment)
		}
		a.Bindings = append(a.Bindings, d)
	}
	return a, nil
}

func (st *stage) again(a domain.Actor) domain.Actor {
	st.t.Helper()
	now, err := actorOf(st.t.Context(), st.db, a.UserID)
	if err != nil {
		st.t.Fatal(err)
	}
	return now
}

func (st *stage) person(name string, role domain.Role, system *uuid.UUID) domain.Actor {
	st.t.Helper()
	u := st.db.User.Create().SetUsername(name).SaveX(st.t.Context())
	if role != "" {
		st.db.RoleBinding.Create().SetUserID(u.ID).SetRole(rolebinding.Role(role)).SetNillableSystemID(system).SetCreatedBy("root").ExecX(st.t.Context())
	}
	return st.again(domain.Actor{UserID: u.ID.String()})
}

func (st *stage) cluster(name string, env domain.Environment) *ent.Cluster {
	return st.db.Cluster.Create().SetName(name).SetEnvironment(entcluster.Environment(env)).SetCreatedBy("root").
		SetEncryptedKubeconfig([]byte("x")).SetEncryptionKeyID("k").SetAPIServerURL("https://" + name).SetIdentityUID(name).
		SetStatus(entcluster.StatusHEALTHY).SaveX(st.t.Context())
}

func (st *stage) service(system, ns string, env domain.Environment) *ent.Service {
	sys := st.db.System.Create().SetName(system).SetNamespace(ns).SetEnvironment(entsystem.Environment(env)).SetCreatedBy("root").SaveX(st.t.Context())
	return st.db.Service.Create().SetSystemID(sys.ID).SetName("redis").SetNamespace(ns).SetVMPrefix(system + "-redis").SetCreatedBy("root").SaveX(st.t.Context())
}

func (st *stage) input() approval.Input {
	return approval.Input{
		ServiceID: st.test.ID.String(), TemplateID: st.ubuntu.ID.String(), SizeID: st.small.ID.String(),
		Count: 2, DiskGiB: 20, Reason: "a cache for the new checkout",
	}
}

func (st *stage) submit(in approval.Input) int {
	st.t.Helper()
	n, err := st.SubmitCreate(st.t.Context(), st.dev, in)
	if err != nil {
		st.t.Fatal(err)
	}
	return n
}

func (st *stage) ticket(a domain.Actor, n int) approval.Ticket {
	st.t.Helper()
	v, err := st.Ticket(st.t.Context(), a, n)
	if err != nil {
		st.t.Fatal(err)
	}
	return v
}

// yes approves as asked, on the first cluster that fits.
func (st *stage) yes(n int) {
	st.t.Helper()
	v := st.ticket(st.approver, n)
	on := ""
	if len(v.Clusters) > 0 {
		on = v.Clusters[0].ID
	}
	if err := st.Decide(st.t.Context(), st.approver, n, v.Unchanged(on)); err != nil {
		st.t.Fatal(err)
	}
}

// running makes a VM of a service that runs and has no open order.
func (st *stage) running(sv *ent.Service) *ent.VM {
	st.t.Helper()
	in := st.input()
	in.ServiceID, in.Count, in.Reason = sv.ID.String(), 1, fmt.Sprint("one more, number ", uuid.NewString())
	n := st.submit(in)
	st.yes(n)
	ctx := st.t.Context()
	st.db.DomainEvent.Update().Where(domainevent.TicketID(n)).SetStatus(domainevent.StatusCOMPLETED).ExecX(ctx)
	v := st.db.VM.Query().Where(entvm.TicketID(n)).OnlyX(ctx)
	st.mu.Lock()
	st.queued = nil
	st.mu.Unlock()
	return v.Update().SetState(entvm.StateRunning).SetHealth(entvm.HealthOk).SetUID("u").SaveX(ctx)
}

func wantCode(t testing.TB, err error, code string) *apperr.AppError {
	t.Helper()
	e, ok := apperr.From(err)
	if !ok || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	return e
}

func fields(err error) (out []string) {
	for _, e := range apperr.Fields(err) {
		out = append(out, e.Field()+" "+e.Code)
	}
	return out
}

func publicKey(t testing.TB) string {
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func TestSubmitWritesOneOfEachAndNoJob(t *testing.T) {
	st := newStage(t)
	in := st.input()
	key := publicKey(t)
	in.SSHKeys = []string{"", key + " me@laptop", key + " me@laptop"}
	n := st.submit(in)
	ctx := t.Context()

	tk := st.db.ApprovalTicket.Query().WithEvent().OnlyX(ctx)
	if tk.ID != n || tk.Status != approvalticket.StatusPENDING_APPROVAL || tk.Title != "2 × redis" || tk.Edges.Event.Type != domainevent.TypeVM_CREATION_REQUESTED {
		t.Errorf("ticket %+v", tk)
	}
	if d := time.Until(tk.ExpiresAt) - domain.TicketLifetime; d.Abs() > time.Minute {
		t.Errorf("expires %v from what it should", d)
	}
	if got := st.db.DomainEvent.Query().CountX(ctx); got != 1 {
		t.Errorf("%d events", got)
	}
	if got := st.db.AuditLog.Query().Where(auditlog.Action("ticket.submit"), auditlog.Actor("dev")).CountX(ctx); got != 1 || st.db.AuditLog.Query().CountX(ctx) != 1 {
		t.Errorf("%d audit rows", got)
	}
	if got := st.db.Notification.Query().Where(notification.Kind(string(notify.TicketSubmitted))).CountX(ctx); got != 2 { // ann and root
		t.Errorf("%d notifications", got)
	}
	if got := st.db.VM.Query().CountX(ctx); got != 0 || len(st.queued) != 0 {
		t.Errorf("%d VMs, %d jobs before a decision", got, len(st.queued))
	}
	v := st.ticket(st.approver, n)
	if want := []string{key + " me@laptop"}; !slices.Equal(v.Asked.SSHKeys, want) {
		t.Errorf("keys %q, want %q", v.Asked.SSHKeys, want)
	}
	if !v.MayDecide || v.Place != 1 || v.Of != 1 || len(v.Deciders) != 2 || v.Facts.Asked != 1 {
		t.Errorf("ticket view %+v", v)
	}
}

func TestSubmitNamesEveryFieldAtOnce(t *testing.T) {
	st := newStage(t)
	_, err := st.SubmitCreate(t.Context(), st.dev, approval.Input{Count: 11, SSHKeys: []string{"ssh-ed25519 nonsense"}, Reason: "short"})
	want := []string{
		"service REQUIRED", "template REQUIRED", "size REQUIRED", "count OUT_OF_RANGE", "disk OUT_OF_RANGE", "ssh_keys INVALID_SSH_KEY", "reason TOO_SHORT",
	}
	if got := fields(err); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for name, c := range map[string]struct {
		change func(*approval.Input)
		want   string
	}{
		"disk below the template": {func(in *approval.Input) { in.DiskGiB = 9 }, "disk OUT_OF_RANGE"},
		"disk above the size":     {func(in *approval.Input) { in.DiskGiB = 101 }, "disk OUT_OF_RANGE"},
		"no VM":                   {func(in *approval.Input) { in.Count = 0 }, "count OUT_OF_RANGE"},
		"template gone":           {func(in *approval.Input) { in.TemplateID = uuid.NewString() }, "template INVALID_CHOICE"},
		"size no id":              {func(in *approval.Input) { in.SizeID = "small" }, "size INVALID_CHOICE"},
		"private key":             {func(in *approval.Input) { in.SSHKeys = []string{"-----BEGIN OPENSSH PRIVATE KEY-----", "x"} }, "ssh_keys PRIVATE_SSH_KEY"},
		"options":                 {func(in *approval.Input) { in.SSHKeys = []string{`from="10.0.0.1" ` + publicKey(t)} }, "ssh_keys INVALID_SSH_KEY"},
		"eleven keys": {func(in *approval.Input) {
			for range 11 {
				in.SSHKeys = append(in.SSHKeys, publicKey(t))
			}
		}, "ssh_keys OUT_OF_RANGE"},
		"long reason":  {func(in *approval.Input) { in.Reason = strings.Repeat("ä", 501) }, "reason TOO_LONG"},
		"bidi reason":  {func(in *approval.Input) { in.Reason = "harmless \u202e text for you" }, "reason INVALID_TEXT"},
		"bytes reason": {func(in *approval.Input) { in.Reason = "not UTF-8 at all \xff" }, "reason INVALID_TEXT"},
	} {
		in := st.input()
		c.change(&in)
		if _, err := st.SubmitCreate(t.Context(), st.dev, in); !slices.Equal(fields(err), []string{c.want}) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	if n := st.db.ApprovalTicket.Query().CountX(t.Context()); n != 0 {
		t.Errorf("%d tickets after refusals", n)
	}
}

func TestSubmitRights(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	_, err := st.SubmitCreate(ctx, st.person("viewer", domain.RoleViewer, &st.test.SystemID), st.input())
	wantCode(t, err, apperr.ErrForbidden)
	_, err = st.SubmitCreate(ctx, st.person("stranger", "", nil), st.input())
	wantCode(t, err, apperr.ErrNotFound)
	in := st.input()
	in.ServiceID = uuid.NewString()
	_, err = st.SubmitCreate(ctx, st.dev, in)
	wantCode(t, err, apperr.ErrNotFound)
}

func TestPreview(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	p, err := st.Preview(ctx, st.dev, approval.Input{})
	if err != nil || p.Ready || len(p.Errors) == 0 {
		t.Errorf("empty: %+v %v", p, err)
	}
	in := st.input()
	in.Reason = ""
	if p, err = st.Preview(ctx, st.dev, in); err != nil {
		t.Fatal(err)
	}
	if !p.Ready || !p.NeedsApproval || p.CPU != 2 || p.MemoryMiB != 4096 || p.DiskGiB != 40 || !slices.Equal(p.Names, []string{"shop-redis-01", "shop-redis-02"}) {
		t.Errorf("preview %+v", p)
	}
	if len(p.Clusters) != 2 || p.Clusters[0].Refusal != nil || p.Clusters[1].Refusal.Code != apperr.ErrEnvironmentMismatch {
		t.Errorf("clusters %+v", p.Clusters)
	}
	in.ServiceID = uuid.NewString()
	_, err = st.Preview(ctx, st.dev, in)
	wantCode(t, err, apperr.ErrNotFound)
	if o, err := st.Options(ctx, st.dev); err != nil || len(o.Templates) != 1 || len(o.Sizes) != 2 || o.Sizes[0].Name != "small" {
		t.Errorf("options %+v %v", o, err)
	}
}

func TestDuplicateRequest(t *testing.T) {
	st := newStage(t)
	n := st.submit(st.input())
	_, err := st.SubmitCreate(t.Context(), st.dev, st.input())
	if e := wantCode(t, err, apperr.ErrDuplicateRequest); e.Params["ticket"] != domain.TicketName(n) {
		t.Errorf("params %v", e.Params)
	}
	other := st.input()
	other.Count = 3
	st.submit(other)
	if err := st.Withdraw(t.Context(), st.dev, n); err != nil {
		t.Fatal(err)
	}
	st.submit(st.input())

	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	other.Count = 4
	for range 10 {
		wg.Go(func() {
			_, err := st.SubmitCreate(t.Context(), st.dev, other)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if apperr.CodeOf(err) != apperr.ErrDuplicateRequest {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of ten equal requests were taken", won)
	}
}

func TestApproveCreate(t *testing.T) {
	st := newStage(t)
	n := st.submit(st.input())
	st.yes(n)
	ctx := t.Context()
	tk := st.db.ApprovalTicket.Query().WithEvent().OnlyX(ctx)
	v := st.ticket(st.approver, n)
	if tk.Status != approvalticket.StatusAPPROVED || tk.Version != 2 || tk.Approver != "ann" || *tk.ClusterID != st.east.ID ||
		tk.SpecHash != v.Asked.Hash(st.east.ID.String()) || tk.ModifiedSpec != nil || tk.Edges.Event.Status != domainevent.StatusCOMPLETED {
		t.Errorf("ticket %+v", tk)
	}
	vms := st.db.VM.Query().WithRevisions().Order(ent.Asc(entvm.FieldInstance)).AllX(ctx)
	if len(vms) != 2 || vms[0].Name != "shop-redis-01" || vms[1].Name != "shop-redis-02" || vms[0].State != entvm.StateRequested || vms[0].Health != entvm.HealthBusy {
		t.Fatalf("vms %+v", vms)
	}
	orders := st.db.DomainEvent.Query().Where(domainevent.TypeEQ(domainevent.TypeVM_CREATE), domainevent.TicketID(n), domainevent.ClusterID(st.east.ID)).AllX(ctx)
	if len(orders) != 2 || len(st.queued) != 2 || !strings.Contains(string(orders[0].Payload), tk.SpecHash) {
		t.Errorf("%d orders, %d jobs", len(orders), len(st.queued))
	}
	if r := vms[1].Edges.Revisions; len(r) != 1 || r[0].Spec != v.Asked.Spec || r[0].CreatedBy != "ann" {
		t.Errorf("revisions %+v", r)
	}
	sv, sys, c := st.db.Service.GetX(ctx, st.test.ID), st.db.System.GetX(ctx, st.test.SystemID), st.db.Cluster.GetX(ctx, st.east.ID)
	if sv.VMCount != 2 || sys.VMCount != 2 || c.VMCount != 2 || sv.NextInstanceIndex != 3 {
		t.Errorf("counters %d %d %d, next %d", sv.VMCount, sys.VMCount, c.VMCount, sv.NextInstanceIndex)
	}
	if got := st.db.Notification.Query().Where(notification.Kind(string(notify.TicketApproved)), notification.UserID(uuid.MustParse(st.dev.UserID))).CountX(ctx); got != 1 {
		t.Errorf("%d notifications", got)
	}
	r, err := st.Request(ctx, st.dev, n)
	if err != nil || len(r.VMs) != 2 || r.VMs[0].Order != domain.EventPending || len(r.Timeline) != 4 || r.Timeline[1].By != "ann" || r.Cluster != "east" {
		t.Errorf("request %+v %v", r, err)
	}
}

func TestFiftyDecisions(t *testing.T) {
	st := newStage(t)
	n := st.submit(st.input())
	approvers := []domain.Actor{st.approver, st.admin}
	for i := range 8 {
		approvers = append(approvers, st.person(fmt.Sprint("approver", i), domain.RoleApprover, nil))
	}
	v := st.ticket(st.approver, n)
	ctx := t.Context()
	var wg sync.WaitGroup
	var mu sync.Mutex
	won, lost, approved := 0, 0, false
	start := make(chan struct{})
	for i := range 50 {
		d := v.Unchanged(st.east.ID.String())
		if d.Approve = i%2 == 0; !d.Approve {
			d.Reason = "not now"
		}
		wg.Go(func() {
			<-start
			err := st.Decide(ctx, approvers[i%len(approvers)], n, d)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
				approved = d.Approve
			case apperr.CodeOf(err) == apperr.ErrAlreadyDecided && apperr.KindOf(err) == apperr.Conflict:
				e, _ := apperr.From(err)
				if e.Params["by"] == nil || e.Params["at"] == nil || e.Params["status"] == nil {
					t.Errorf("params %v", e.Params)
				}
				lost++
			default:
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	if won != 1 || lost != 49 {
		t.Errorf("%d won, %d lost", won, lost)
	}
	want := 0
	if approved {
		want = 2
	}
	if vms := st.db.VM.Query().CountX(ctx); vms != want || len(st.queued) != want {
		t.Errorf("approved %v: %d VMs, %d jobs", approved, vms, len(st.queued))
	}
	if rows := st.db.AuditLog.Query().Where(auditlog.ActionIn("ticket.approve", "ticket.reject")).CountX(ctx); rows != 1 {
		t.Errorf("%d audited decisions", rows)
	}
}

func TestNobodyDecidesTheirOwn(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	n, err := st.SubmitCreate(ctx, st.admin, st.input())
	if err != nil {
		t.Fatal(err)
	}
	v := st.ticket(st.admin, n)
	if v.MayDecide || v.Refusal.Code != apperr.ErrSelfApproval || !v.MayWithdraw {
		t.Errorf("may decide %v, refusal %v", v.MayDecide, v.Refusal)
	}
	no := v.Unchanged(st.east.ID.String())
	no.Approve, no.Reason = false, "no"
	for _, d := range []approval.Decision{v.Unchanged(st.east.ID.String()), no} {
		wantCode(t, st.Decide(ctx, st.admin, n, d), apperr.ErrSelfApproval)
	}
	wantCode(t, st.Decide(ctx, st.dev, n, no), apperr.ErrForbidden)
	wantCode(t, st.Decide(ctx, st.person("stranger", "", nil), n, no), apperr.ErrNotFound)
	// A right that was revoked while the form was open.
	st.db.RoleBinding.Delete().Where(rolebinding.UserID(uuid.MustParse(st.approver.UserID))).ExecX(ctx)
	wantCode(t, st.Decide(ctx, st.approver, n, no), apperr.ErrNotFound)
	if tk := st.db.ApprovalTicket.GetX(ctx, n); tk.Status != approvalticket.StatusPENDING_APPROVAL || tk.Version != 1 {
		t.Errorf("ticket %+v", tk)
	}
}

// TestRevokedTokenDecides: of the revocation of a program's token and its decision one
// comes first: a decision waits for a revocation that is under way, and is refused.
func TestRevokedTokenDecides(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	ctx := t.Context()
	n, err := st.SubmitCreate(ctx, st.dev, st.input())
	if err != nil {
		t.Fatal(err)
	}
	v := st.ticket(st.approver, n)
	no := approval.Decision{Version: v.Version, SpecHash: v.SpecHash, Reason: "Not before the migration is done."}
	row := st.db.AccessToken.Create().SetUserID(uuid.MustParse(st.approver.UserID)).SetName("x").SetScopes(domain.Scopes()).SetCreatedBy("ann").
		SetExpiresAt(time.Now().Add(time.Hour)).SaveX(ctx)
	program := st.approver
	program.Token = &domain.Token{ID: row.ID.String(), Scopes: []domain.Scope{domain.ScopeRequest}}
	wantCode(t, st.Decide(ctx, program, n, no), apperr.ErrTokenScope) // the scope is looked at here too
	program.Token.Scopes = domain.Scopes()

	tx, err := st.db.Tx(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tx.AccessToken.UpdateOneID(row.ID).SetRevokedAt(time.Now()).ExecX(ctx)
	decided := make(chan error, 1)
	go func() { decided <- st.Decide(ctx, program, n, no) }()
	select {
	case err := <-decided:
		t.Fatalf("decided while the token was being revoked: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-decided, apperr.ErrSignedOut)
	if got := st.db.ApprovalTicket.GetX(ctx, n); got.Approver != "" {
		t.Errorf("decided by %s", got.Approver)
	}
}

func TestInstanceNumbers(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	const tickets = 20
	decisions := map[int]approval.Decision{}
	total := 0
	for i := range tickets {
		in := st.input()
		in.Count, in.DiskGiB = 1+i%3, 20+i
		total += in.Count
		n := st.submit(in)
		decisions[n] = st.ticket(st.approver, n).Unchanged(st.east.ID.String())
	}
	var wg sync.WaitGroup
	for n, d := range decisions {
		wg.Go(func() {
			if err := st.Decide(ctx, st.approver, n, d); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := st.db.VM.Query().Order(ent.Asc(entvm.FieldInstance)).Select(entvm.FieldInstance).IntsX(ctx)
	if len(got) != total || st.db.Cluster.GetX(ctx, st.east.ID).VMCount != total {
		t.Fatalf("%d VMs, want %d", len(got), total)
	}
	for i, n := range got {
		if n != i+1 {
			t.Fatalf("instance %d at place %d", n, i)
		}
	}
}

func TestReplacementIsFullAndKeepsIdentity(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	n := st.submit(st.input())
	v := st.ticket(st.approver, n)
	d := v.Unchanged(st.east.ID.String())
	d.SizeID, d.Count, d.DiskGiB = st.large.ID.String(), 1, 50
	if got := fields(st.Decide(ctx, st.approver, n, d)); !slices.Equal(got, []string{"reason REASON_REQUIRED"}) {
		t.Errorf("got %v", got)
	}
	bad := d
	bad.Count, bad.DiskGiB, bad.ClusterID, bad.TemplateID = 0, 500, st.west.ID.String(), ""
	want := []string{"template REQUIRED", "count OUT_OF_RANGE", "disk OUT_OF_RANGE", "cluster ENVIRONMENT_MISMATCH", "reason REASON_REQUIRED"}
	if got := fields(st.Decide(ctx, st.approver, n, bad)); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	d.Reason = "one large one is enough"
	if err := st.Decide(ctx, st.approver, n, d); err != nil {
		t.Fatal(err)
	}
	now := st.ticket(st.approver, n)
	m := domain.ChangeableSpec{
		TemplateID: st.ubuntu.ID.String(), Template: "ubuntu", Version: 1, SizeID: st.large.ID.String(), Size: "large",
		CPU: 4, MemoryMiB: 8192, DiskGiB: 50, Count: 1,
	}
	if got := st.db.ApprovalTicket.GetX(ctx, n).ModifiedSpec; got == nil || *got != m {
		t.Errorf("modified spec %+v", got)
	}
	if now.Asked.Spec != v.Asked.Spec || now.Spec.Identity != v.Asked.Identity || now.Spec.Spec != m {
		t.Errorf("asked %+v, spec %+v", now.Asked, now.Spec)
	}
	var names []string
	for _, c := range now.Changes {
		names = append(names, c.Field)
	}
	if !slices.Equal(names, []string{"size", "count", "disk"}) {
		t.Errorf("changes %v", now.Changes)
	}
	row := st.db.VM.Query().OnlyX(ctx)
	if row.CPU != 4 || row.DiskGib != 50 || row.Namespace != "team-a" || row.CreatedBy != "dev" {
		t.Errorf("vm %+v", row)
	}
	if got := st.db.ApprovalTicket.GetX(ctx, n).SpecHash; got != now.Spec.Hash(st.east.ID.String()) {
		t.Errorf("hash %s", got)
	}
}

func TestDecideWhatWasShown(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	n := st.submit(st.input())
	good := st.ticket(st.approver, n).Unchanged(st.east.ID.String())
	for name, change := range map[string]func(*approval.Decision){
		"version": func(d *approval.Decision) { d.Version++ },
		"hash":    func(d *approval.Decision) { d.SpecHash = strings.Repeat("0", 64) },
		"no hash": func(d *approval.Decision) { d.SpecHash = "" },
	} {
		d := good
		change(&d)
		if err := st.Decide(ctx, st.approver, n, d); apperr.CodeOf(err) != apperr.ErrTicketChanged {
			t.Errorf("%s: %v", name, err)
		}
	}
	st.east.Update().SetEnabled(false).ExecX(ctx)
	if got := fields(st.Decide(ctx, st.approver, n, good)); !slices.Equal(got, []string{"cluster CLUSTER_DISABLED"}) {
		t.Errorf("got %v", got)
	}
	st.east.Update().SetEnabled(true).SetStatus(entcluster.StatusUNREACHABLE).ExecX(ctx)
	if got := fields(st.Decide(ctx, st.approver, n, good)); !slices.Equal(got, []string{"cluster CLUSTER_UNREACHABLE"}) {
		t.Errorf("got %v", got)
	}
	st.east.Update().SetStatus(entcluster.StatusHEALTHY).ExecX(ctx)
	st.ubuntu.Update().SetStatus(template.StatusDeprecated).ExecX(ctx)
	if got := fields(st.Decide(ctx, st.approver, n, good)); !slices.Equal(got, []string{"template TEMPLATE_INACTIVE"}) {
		t.Errorf("got %v", got)
	}
	no := good
	no.Approve = false
	if got := fields(st.Decide(ctx, st.approver, n, no)); !slices.Equal(got, []string{"reason REASON_REQUIRED"}) {
		t.Errorf("got %v", got)
	}
	no.Reason = "no money"
	if err := st.Decide(ctx, st.approver, n, no); err != nil {
		t.Fatal(err)
	}
	tk := st.db.ApprovalTicket.Query().WithEvent().OnlyX(ctx)
	if tk.Status != approvalticket.StatusREJECTED || tk.DecisionReason != "no money" || tk.Edges.Event.Status != domainevent.StatusCANCELLED || st.db.VM.Query().ExistX(ctx) {
		t.Errorf("ticket %+v", tk)
	}
}

func TestWithdrawAndExpire(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	n := st.submit(st.input())
	wantCode(t, st.Withdraw(ctx, st.approver, n), apperr.ErrForbidden)
	if err := st.Withdraw(ctx, st.dev, n); err != nil {
		t.Fatal(err)
	}
	e := wantCode(t, st.Withdraw(ctx, st.dev, n), apperr.ErrAlreadyDecided)
	if e.Params["by"] != "dev" || e.Params["status"] != "CANCELLED" {
		t.Errorf("params %v", e.Params)
	}

	fresh := st.submit(st.input())
	old := st.db.ApprovalTicket.GetX(ctx, fresh)
	for i := range 3 { // what nobody decided in time
		ev := st.db.DomainEvent.Create().SetType(domainevent.TypeVM_CREATION_REQUESTED).SetAggregateType("service").
			SetAggregateID(old.ServiceID.String()).SetPayload([]byte("{}")).SetCreatedBy("dev").SaveX(ctx)
		st.db.ApprovalTicket.Create().SetEventID(ev.ID).SetOperation(old.Operation).SetEnvironment(old.Environment).SetRequesterID(old.RequesterID).
			SetRequester("dev").SetReason("x").SetSystemID(old.SystemID).SetSystemName("shop").SetServiceID(old.ServiceID).SetServiceName("redis").
			SetTitle("1 × redis").SetResourceKey(fmt.Sprint("old", i)).SetExpiresAt(time.Now().Add(-time.Minute)).ExecX(ctx)
	}
	if got, err := st.Expire(ctx); err != nil || got != 3 {
		t.Fatalf("%d expired: %v", got, err)
	}
	if got, err := st.Expire(ctx); err != nil || got != 0 {
		t.Errorf("%d expired again: %v", got, err)
	}
	expired := st.db.ApprovalTicket.Query().Where(approvalticket.StatusEQ(approvalticket.StatusEXPIRED)).WithEvent().AllX(ctx)
	if len(expired) != 3 || expired[0].Edges.Event.Status != domainevent.StatusCANCELLED ||
		st.db.ApprovalTicket.GetX(ctx, fresh).Status != approvalticket.StatusPENDING_APPROVAL {
		t.Errorf("expired %+v", expired)
	}
	if got := st.db.Notification.Query().Where(notification.Kind(string(notify.TicketExpired))).CountX(ctx); got != 3 {
		t.Errorf("%d notifications", got)
	}
}

func TestRetry(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	n := st.submit(st.input())
	wantCode(t, st.Retry(ctx, st.dev, n), apperr.ErrTicketChanged)
	st.yes(n)
	st.queued = nil
	vms := st.db.VM.Query().Order(ent.Asc(entvm.FieldInstance)).AllX(ctx)
	order := func(v *ent.VM) *ent.DomainEvent {
		return st.db.DomainEvent.Query().Where(domainevent.AggregateID(v.ID.String())).OnlyX(ctx)
	}
	p := domain.Problem{Code: apperr.ErrQuotaExceeded}
	order(vms[0]).Update().SetStatus(domainevent.StatusCOMPLETED).ExecX(ctx)
	failed := order(vms[1]).Update().SetStatus(domainevent.StatusFAILED).SetAttempts(8).SetNeedsAttention(true).SetProblem(p).SaveX(ctx)
	vms[1].Update().SetState(entvm.StateFailed).SetHealth(entvm.HealthBad).SetProblem(p).ExecX(ctx)
	st.db.Service.UpdateOneID(st.test.ID).SetBadCount(1).ExecX(ctx)
	st.db.System.UpdateOneID(st.test.SystemID).SetBadCount(1).ExecX(ctx)
	st.db.ApprovalTicket.UpdateOneID(n).SetStatus(approvalticket.StatusNEEDS_ATTENTION).SetProblem(p).ExecX(ctx)

	wantCode(t, st.Retry(ctx, st.person("viewer", domain.RoleViewer, &st.test.SystemID), n), apperr.ErrForbidden)
	if err := st.Retry(ctx, st.dev, n); err != nil {
		t.Fatal(err)
	}
	if e := order(vms[1]); e.Status != domainevent.StatusPENDING || e.Attempts != 0 || e.NeedsAttention || !e.Problem.IsZero() {
		t.Errorf("order %+v", e)
	}
	if order(vms[0]).Status != domainevent.StatusCOMPLETED || !slices.Equal(st.queued, []uuid.UUID{failed.ID}) {
		t.Errorf("jobs %v", st.queued)
	}
	if v := st.db.VM.GetX(ctx, vms[1].ID); v.State != entvm.StateRequested || v.Health != entvm.HealthBusy || !v.Problem.IsZero() {
		t.Errorf("vm %+v", v)
	}
	if sv, sys := st.db.Service.GetX(ctx, st.test.ID), st.db.System.GetX(ctx, st.test.SystemID); sv.BadCount != 0 || sys.BadCount != 0 || sv.VMCount != 2 {
		t.Errorf("counters %+v %+v", sv, sys)
	}
	if tk := st.db.ApprovalTicket.GetX(ctx, n); tk.Status != approvalticket.StatusEXECUTING || !tk.Problem.IsZero() {
		t.Errorf("ticket %+v", tk)
	}
	wantCode(t, st.Retry(ctx, st.dev, n), apperr.ErrTicketChanged)
}

func TestPower(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	test, prod := st.running(st.test), st.running(st.prod)

	_, err := st.SubmitPower(ctx, st.dev, test.ID.String(), domain.OpStart, "")
	wantCode(t, err, apperr.ErrVMState)
	r, err := st.SubmitPower(ctx, st.dev, test.ID.String(), domain.OpStop, "")
	if err != nil || !r.Ordered || r.Ticket != 0 || len(st.queued) != 1 {
		t.Fatalf("%+v %v, jobs %v", r, err, st.queued)
	}
	_, err = st.SubmitPower(ctx, st.dev, test.ID.String(), domain.OpRestart, "")
	wantCode(t, err, apperr.ErrVMBusy)

	_, err = st.SubmitPower(ctx, st.dev, prod.ID.String(), domain.OpStop, "")
	if got := fields(err); !slices.Equal(got, []string{"reason REQUIRED"}) {
		t.Errorf("got %v", got)
	}
	r, err = st.SubmitPower(ctx, st.dev, prod.ID.String(), domain.OpStop, "maintenance tonight")
	if err != nil || r.Ordered || r.Ticket == 0 || len(st.queued) != 1 {
		t.Fatalf("%+v %v, jobs %v", r, err, st.queued)
	}
	_, err = st.SubmitPower(ctx, st.dev, prod.ID.String(), domain.OpStop, "maintenance tonight")
	wantCode(t, err, apperr.ErrDuplicateRequest)
	_, err = st.SubmitPower(ctx, st.person("viewer", domain.RoleViewer, &st.prod.SystemID), prod.ID.String(), domain.OpStop, "maintenance tonight")
	wantCode(t, err, apperr.ErrForbidden)

	if v := st.ticket(st.approver, r.Ticket); v.Target == nil || v.Target.Refusal != nil || v.Target.Cluster != "west" {
		t.Errorf("target %+v", v.Target)
	}
	st.yes(r.Ticket)
	e := st.db.DomainEvent.Query().Where(domainevent.TicketID(r.Ticket)).OnlyX(ctx)
	if e.Type != domainevent.TypeVM_POWER || *e.ClusterID != st.west.ID || st.queued[1] != e.ID {
		t.Errorf("order %+v", e)
	}
	if q, err := st.Request(ctx, st.dev, r.Ticket); err != nil || len(q.VMs) != 1 || q.VMs[0].Order != domain.EventPending {
		t.Errorf("request %+v %v", q, err)
	}
}

func TestDelete(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	v := st.running(st.test)
	_, err := st.SubmitDelete(ctx, st.dev, v.ID.String(), "not needed any more", "shop-redis-1")
	if e := wantCode(t, err, apperr.ErrNameMismatch); e.Field() != "typed" {
		t.Errorf("field %q", e.Field())
	}
	r, err := st.SubmitDelete(ctx, st.dev, v.ID.String(), "not needed any more", v.Name)
	if err != nil || r.Ticket == 0 {
		t.Fatal(r, err)
	}
	// Somebody switches it off meanwhile: one order at a time.
	if _, err := st.SubmitPower(ctx, st.dev, v.ID.String(), domain.OpStop, ""); err != nil {
		t.Fatal(err)
	}
	wantCode(t, st.Decide(ctx, st.approver, r.Ticket, st.ticket(st.approver, r.Ticket).Unchanged("")), apperr.ErrVMBusy)
	st.db.DomainEvent.Update().Where(domainevent.TypeEQ(domainevent.TypeVM_POWER)).SetStatus(domainevent.StatusCOMPLETED).ExecX(ctx)
	st.yes(r.Ticket)
	if e := st.db.DomainEvent.Query().Where(domainevent.TicketID(r.Ticket)).OnlyX(ctx); e.Type != domainevent.TypeVM_DELETE {
		t.Errorf("order %+v", e)
	}
}

func TestPolicies(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	p := st.db.ApprovalPolicy.Create().SetName("free").SetOperation(approvalpolicy.OperationCREATE).SetEnvironment(approvalpolicy.EnvironmentTest).
		SetEffect(approvalpolicy.EffectAUTO_APPROVE).SaveX(ctx)
	st.east.Update().SetVMCount(5).ExecX(ctx)
	second := st.cluster("second", domain.Test)
	st.db.Namespace.Create().SetClusterID(second.ID).SetName("team-a").SetEnvironment(namespace.EnvironmentTest).SetCreatedBy("root").ExecX(ctx)
	n := st.submit(st.input())
	tk := st.db.ApprovalTicket.GetX(ctx, n)
	if tk.Status != approvalticket.StatusAPPROVED || tk.Approver != "policy:free" || *tk.ClusterID != second.ID || len(st.queued) != 2 {
		t.Errorf("ticket %+v", tk)
	}
	// Nowhere to go: a person decides.
	st.db.Cluster.Update().SetStatus(entcluster.StatusUNHEALTHY).ExecX(ctx)
	if tk := st.db.ApprovalTicket.GetX(ctx, st.submit(st.input())); tk.Status != approvalticket.StatusPENDING_APPROVAL {
		t.Errorf("ticket %+v", tk)
	}
	p.Update().SetEffect(approvalpolicy.EffectDENY).ExecX(ctx)
	_, err := st.SubmitCreate(ctx, st.dev, st.input())
	wantCode(t, err, apperr.ErrPolicyDenied)
}

func TestLists(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	var all []int
	for i := range 5 {
		in := st.input()
		in.DiskGiB += i
		if i == 4 {
			in.ServiceID = st.prod.ID.String()
		}
		all = append(all, st.submit(in))
	}
	numbers := func(rows []approval.Row) (out []int) {
		for _, r := range rows {
			out = append(out, r.Number)
		}
		return out
	}
	p1, err := st.Queue(ctx, st.approver, approval.QueueFilter{}, approval.Page{Limit: 3})
	if err != nil || !slices.Equal(numbers(p1.Items), all[:3]) {
		t.Fatalf("%v %v", p1, err)
	}
	p2, err := st.Queue(ctx, st.approver, approval.QueueFilter{}, approval.Page{Limit: 3, After: p1.Next})
	if err != nil || !slices.Equal(numbers(p2.Items), all[3:]) || p2.Next != 0 {
		t.Errorf("%v %v", p2, err)
	}
	prodOnly := st.person("prod", "", nil)
	st.db.RoleBinding.Create().SetUserID(uuid.MustParse(prodOnly.UserID)).SetRole(rolebinding.RoleApprover).
		SetEnvironment(rolebinding.EnvironmentProd).SetCreatedBy("root").ExecX(ctx)
	prodOnly = st.again(prodOnly)
	if q, err := st.Queue(ctx, prodOnly, approval.QueueFilter{View: approval.ViewAll}, approval.Page{}); err != nil || !slices.Equal(numbers(q.Items), all[4:]) {
		t.Errorf("prod only: %v %v", q, err)
	}
	_, err = st.Ticket(ctx, prodOnly, all[0])
	wantCode(t, err, apperr.ErrNotFound)
	_, err = st.Queue(ctx, st.dev, approval.QueueFilter{}, approval.Page{})
	wantCode(t, err, apperr.ErrForbidden)
	if q, err := st.Queue(ctx, st.approver, approval.QueueFilter{Query: fmt.Sprint("tkt-", all[2])}, approval.Page{}); err != nil || !slices.Equal(numbers(q.Items), all[2:3]) {
		t.Errorf("query: %v %v", q, err)
	}
	if q, err := st.Queue(ctx, st.approver, approval.QueueFilter{Query: "%"}, approval.Page{}); err != nil || len(q.Items) != 0 {
		t.Errorf("a percent sign is a letter: %v %v", q, err)
	}
	st.yes(all[0])
	if q, err := st.Queue(ctx, st.approver, approval.QueueFilter{View: approval.ViewMine}, approval.Page{}); err != nil || !slices.Equal(numbers(q.Items), all[:1]) {
		t.Errorf("mine: %v %v", q, err)
	}
	if n, err := st.PendingCount(ctx, st.approver); n != 4 || err != nil {
		t.Errorf("%d pending %v", n, err)
	}
	if n, err := st.PendingCount(ctx, st.dev); n != 0 || err != nil {
		t.Errorf("%d pending for the developer %v", n, err)
	}
	if n, err := st.OpenCount(ctx, st.dev); n != 5 || err != nil {
		t.Errorf("%d open %v", n, err)
	}
	if a, err := st.Ages(ctx, st.approver); err != nil || a != (approval.Ages{All: 4}) {
		t.Errorf("ages %+v %v", a, err)
	}
	if v := st.ticket(st.approver, all[2]); v.Place != 2 || v.Of != 4 || v.Prev != all[1] || v.Next != all[3] || v.Facts != (approval.Facts{VMs: 2, Asked: 5, Approved: 1}) {
		t.Errorf("place %d of %d, %d %d, %+v", v.Place, v.Of, v.Prev, v.Next, v.Facts)
	}
	mine, err := st.Requests(ctx, st.dev, approval.RequestFilter{Mine: true}, approval.Page{Limit: 2})
	if err != nil || !slices.Equal(numbers(mine.Items), []int{all[4], all[3]}) || mine.Next != all[3] {
		t.Errorf("requests: %v %v", mine, err)
	}
	viewer := st.person("viewer", domain.RoleViewer, &st.test.SystemID)
	seen, err := st.Requests(ctx, viewer, approval.RequestFilter{States: []domain.TicketStatus{domain.TicketPending}}, approval.Page{})
	if err != nil || len(seen.Items) != 3 {
		t.Errorf("a viewer of one system: %v %v", seen, err)
	}
	if q, err := st.Requests(ctx, st.person("stranger", "", nil), approval.RequestFilter{}, approval.Page{}); err != nil || len(q.Items) != 0 {
		t.Errorf("a stranger: %v %v", q, err)
	}
}

// The queue counts the clusters that the ticket's own page offers.
func TestFits(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	n := st.submit(st.input())
	q, err := st.Queue(ctx, st.approver, approval.QueueFilter{}, approval.Page{})
	if err != nil {
		t.Fatal(err)
	}
	fits, err := st.Fits(ctx, q.Items)
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := st.Ticket(ctx, st.approver, n)
	if err != nil {
		t.Fatal(err)
	}
	want := approval.Fit{Of: len(ticket.Clusters)}
	for _, c := range ticket.Clusters {
		if c.Refusal == nil {
			want.Clusters++
		}
	}
	if fits[n] != want || want.Clusters == 0 || want.Clusters == want.Of {
		t.Errorf("%+v, want %+v with some that fit and some that do not", fits[n], want)
	}
}
