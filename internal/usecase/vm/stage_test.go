package vm_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/instancesize"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	entsystem "kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/template"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/policy"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// stage is the worker on a fresh database, with orders from the real approval
// use case and a cluster that is played.
type stage struct {
	*vm.Service
	t        testing.TB
	db       *database.DB
	ent      *ent.Client
	world    *world
	approval *approval.Service

	mu     sync.Mutex
	queued []uuid.UUID

	dev, approver domain.Actor
	cluster       *ent.Cluster
	service       *ent.Service
	template      *ent.Template
	size          *ent.InstanceSize
}

func newStage(t testing.TB) *stage {
	t.Helper()
	t.(*testing.T).Parallel()
	db, ctx := databasetest.New(t), t.Context()
	st := &stage{t: t, db: db, ent: db.Ent, world: newWorld()}
	enqueue := func(_ context.Context, _ *ent.Tx, id uuid.UUID) error {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.queued = append(st.queued, id)
		return nil
	}
	st.Service = &vm.Service{
		DB: db, Provider: st.world, Notify: notify.Inbox{}, Requeue: enqueue, Worker: "w1", Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	person := func(name string, b domain.Binding) domain.Actor {
		u := st.ent.User.Create().SetUsername(name).SaveX(ctx)
		return domain.Actor{UserID: u.ID.String(), Username: name, Bindings: []domain.Binding{b}}
	}
	st.cluster = st.ent.Cluster.Create().SetName("east").SetEnvironment(entcluster.EnvironmentTest).SetCreatedBy("root").
		SetEncryptedKubeconfig([]byte("x")).SetEncryptionKeyID("k").SetAPIServerURL("https://east").SetIdentityUID("east").
		SetStatus(entcluster.StatusHEALTHY).SaveX(ctx)
	st.ent.Namespace.Create().SetClusterID(st.cluster.ID).SetName("team-a").SetEnvironment(namespace.EnvironmentTest).SetCreatedBy("root").ExecX(ctx)
	sys := st.ent.System.Create().SetName("shop").SetNamespace("team-a").SetEnvironment(entsystem.EnvironmentTest).SetCreatedBy("root").SaveX(ctx)
	st.service = st.ent.Service.Create().SetSystemID(sys.ID).SetName("redis").SetNamespace("team-a").SetVMPrefix("shop-redis").SetCreatedBy("root").SaveX(ctx)
	st.template = st.ent.Template.Create().SetName("ubuntu").SetVersion(1).SetDisplayName("Ubuntu").SetImage("docker://ubuntu").SetMinDiskGib(10).
		SetStatus(template.StatusActive).SetCreatedBy("root").SaveX(ctx)
	st.size = st.ent.InstanceSize.Create().SetName("small").SetCPU(2).SetMemoryMib(4096).SetDiskGib(20).SetMaxDiskGib(100).
		SetStatus(instancesize.StatusActive).SetCreatedBy("root").SaveX(ctx)
	st.dev = person("dev", domain.Binding{Role: domain.RoleMaintainer, SystemID: sys.ID.String()})
	st.approver = person("ann", domain.Binding{Role: domain.RoleApprover})
	st.approval = &approval.Service{
		DB: db, Policy: policy.Internal{}, Notify: notify.Inbox{}, Enqueue: enqueue,
		ActorTx: func(_ context.Context, _ *ent.Tx, id string) (domain.Actor, error) {
			if id == st.dev.UserID {
				return st.dev, nil
			}
			return st.approver, nil
		},
		Approvers: func(context.Context, *ent.Client, domain.Environment, ...string) ([]account.Person, error) {
			return nil, nil
		},
	}
	return st
}

// approve asks for VMs, approves them, and answers with the ticket and its orders.
func (st *stage) approve(count int, keys ...string) (int, []uuid.UUID) {
	st.t.Helper()
	n, err := st.approval.SubmitCreate(st.t.Context(), st.dev, approval.Input{
		ServiceID: st.service.ID.String(), TemplateID: st.template.ID.String(), SizeID: st.size.ID.String(),
		Count: count, DiskGiB: 20, SSHKeys: keys, Reason: "a cache for the checkout",
	})
	if err != nil {
		st.t.Fatal(err)
	}
	return n, st.decide(n)
}

// decide says yes and answers with the orders that follow.
func (st *stage) decide(n int) []uuid.UUID {
	st.t.Helper()
	ctx := st.t.Context()
	v, err := st.approval.Ticket(ctx, st.approver, n)
	if err != nil {
		st.t.Fatal(err)
	}
	if err := st.approval.Decide(ctx, st.approver, n, v.Unchanged(st.cluster.ID.String())); err != nil {
		st.t.Fatal(err)
	}
	return st.jobs()
}

// jobs empties the queue.
func (st *stage) jobs() []uuid.UUID {
	st.mu.Lock()
	defer st.mu.Unlock()
	q := st.queued
	st.queued = nil
	return q
}

// running makes a VM that the cluster runs and has no open order.
func (st *stage) running() *ent.VM {
	st.t.Helper()
	n, orders := st.approve(1)
	st.run(orders[0], vm.Done())
	row := st.ent.VM.Query().Where(entvm.TicketID(n)).OnlyX(st.t.Context())
	st.world.set(row.Name, domain.StateRunning)
	st.see(false, st.world.get(row.Name))
	return st.row(row.ID)
}

// deletion asks for a VM's deletion and approves it.
func (st *stage) deletion(row *ent.VM) (int, uuid.UUID) {
	st.t.Helper()
	r, err := st.approval.SubmitDelete(st.t.Context(), st.dev, row.ID.String(), "it is not needed any more", row.Name)
	if err != nil {
		st.t.Fatal(err)
	}
	return r.Ticket, st.decide(r.Ticket)[0]
}

// exec runs one round of an order.
func (st *stage) exec(id uuid.UUID) vm.Outcome {
	st.t.Helper()
	out, err := st.Execute(st.t.Context(), id)
	if err != nil {
		st.t.Fatal(err)
	}
	return out
}

// run is exec with the outcome that is expected; a time of 0 is not compared
// unless the order is done.
func (st *stage) run(id uuid.UUID, want vm.Outcome) {
	st.t.Helper()
	got := st.exec(id)
	if got.Again != want.Again || got.Burnt != want.Burnt || want.After != 0 && got.After != want.After {
		st.t.Fatalf("outcome %+v, want %+v; order %+v", got, want, st.event(id))
	}
}

// see tells the sink of objects.
func (st *stage) see(deleted bool, vms ...*domain.VM) {
	st.t.Helper()
	var seen []provider.Observation
	for _, v := range vms {
		seen = append(seen, provider.Observation{VM: v, Deleted: deleted})
	}
	if err := st.Observe(st.t.Context(), st.cluster.ID.String(), seen); err != nil {
		st.t.Fatal(err)
	}
}

func (st *stage) row(id uuid.UUID) *ent.VM { return st.ent.VM.GetX(st.t.Context(), id) }
func (st *stage) event(id uuid.UUID) *ent.DomainEvent {
	return st.ent.DomainEvent.GetX(st.t.Context(), id)
}
func (st *stage) ticket(n int) *ent.ApprovalTicket {
	return st.ent.ApprovalTicket.GetX(st.t.Context(), n)
}
func (st *stage) vmOf(order uuid.UUID) *ent.VM {
	return st.row(uuid.MustParse(st.event(order).AggregateID))
}
func (st *stage) lapse(order uuid.UUID, ago string) {
	st.sql(`UPDATE domain_events SET lease_until = now() - $2::interval WHERE id = $1`, order, ago)
}
func (st *stage) wantTicket(n int, s domain.TicketStatus) {
	st.t.Helper()
	if t := st.ticket(n); t.Status != approvalticket.Status(s) {
		st.t.Fatalf("ticket is %s (%+v), want %s", t.Status, t.Problem, s)
	}
}

func (st *stage) wantEvent(id uuid.UUID, s domain.EventStatus, problem string) *ent.DomainEvent {
	st.t.Helper()
	e := st.event(id)
	if e.Status != domainevent.Status(s) || e.Problem.Code != problem {
		st.t.Fatalf("order is %s %+v, want %s %q", e.Status, e.Problem, s, problem)
	}
	return e
}

// wantCounts compares the kept counters with the rows they count.
func (st *stage) wantCounts(vms, bad int) {
	st.t.Helper()
	ctx := st.t.Context()
	sv, cl := st.ent.Service.GetX(ctx, st.service.ID), st.ent.Cluster.GetX(ctx, st.cluster.ID)
	sys := st.ent.System.GetX(ctx, sv.SystemID)
	got := fmt.Sprint(sv.VMCount, sv.BadCount, sys.VMCount, sys.BadCount, cl.VMCount)
	live := st.ent.VM.Query().Where(entvm.DeletedAtIsNil())
	rows, rowsBad := live.Clone().CountX(ctx), live.Where(entvm.HealthEQ(entvm.HealthBad)).CountX(ctx)
	if want := fmt.Sprint(vms, bad, vms, bad, vms); got != want || rows != vms || rowsBad != bad {
		st.t.Fatalf("counters %s, want %s; rows %d, bad %d", got, want, rows, rowsBad)
	}
}

// age makes an order look as if it had been given long ago.
func (st *stage) age(id uuid.UUID, by string) {
	st.t.Helper()
	st.sql(`ALTER TABLE domain_events DISABLE TRIGGER domain_events_payload`)
	st.sql(`UPDATE domain_events SET created_at = created_at - $2::interval, updated_at = updated_at - $2::interval WHERE id = $1`, id, by)
	st.sql(`ALTER TABLE domain_events ENABLE TRIGGER domain_events_payload`)
}

func (st *stage) sql(text string, args ...any) {
	st.t.Helper()
	if _, err := st.db.Pool.Exec(st.t.Context(), text, args...); err != nil {
		st.t.Fatal(err)
	}
}

// world is a cluster that keeps objects and makes the faults that it is told.
type world struct {
	provider.InfrastructureProvider // nil: what a test does not expect panics

	mu      sync.Mutex
	version int
	objects map[string]*domain.VM // by name
	secrets map[string]provider.CloudInit
	owners  map[string]string // secret to uid
	calls   map[string]int
	before  map[string]func() error // by call: instead of acting
	after   map[string]func() error // by call: the act is done, the answer is lost
	hold    bool                    // deleted objects have a finalizer
}

func newWorld() *world {
	return &world{
		objects: map[string]*domain.VM{}, secrets: map[string]provider.CloudInit{}, owners: map[string]string{},
		calls: map[string]int{}, before: map[string]func() error{}, after: map[string]func() error{},
	}
}

// fails makes a call fail n times with a code.
func fails(n int, code string) func() error {
	return func() error {
		if n--; n < 0 {
			return nil
		}
		return apperr.New(code).With("text", "said so")
	}
}

// do runs one call with its faults. The faults run outside the lock, so that
// they may block.
func (w *world) do(call string, act func() error) error {
	w.mu.Lock()
	w.calls[call]++
	before, after := w.before[call], w.after[call]
	w.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	w.mu.Lock()
	err := act()
	w.mu.Unlock()
	if err == nil && after != nil {
		err = after()
	}
	return err
}

func (w *world) count(call string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[call]
}

func (w *world) get(name string) *domain.VM {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.copy(name)
}

func (w *world) copy(name string) *domain.VM {
	v := w.objects[name]
	if v == nil {
		return nil
	}
	c := *v
	c.Annotations, c.Labels = maps.Clone(v.Annotations), maps.Clone(v.Labels)
	return &c
}

// set moves an object to a state.
func (w *world) set(name string, s domain.VMState) *domain.VM {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	w.objects[name].Status.State, w.objects[name].ResourceVersion = s, fmt.Sprint(w.version)
	return w.copy(name)
}

// put adds an object that somebody else has made.
func (w *world) put(name, operation string) *domain.VM {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.add(domain.VMSpec{Name: name, Namespace: "team-a", Annotations: map[string]string{domain.AnnotationOperation: operation}})
}

func (w *world) add(spec domain.VMSpec) *domain.VM {
	w.version++
	w.objects[spec.Name] = &domain.VM{
		Namespace: spec.Namespace, Name: spec.Name, UID: uuid.NewString(), ResourceVersion: fmt.Sprint(w.version),
		Labels: spec.Labels, Annotations: spec.Annotations, Spec: spec,
	}
	return w.copy(spec.Name)
}

func (w *world) CreateVM(_ context.Context, _ string, spec domain.VMSpec) (v *domain.VM, created bool, err error) {
	err = w.do("create", func() error {
		if v = w.copy(spec.Name); v == nil {
			v, created = w.add(spec), true
			w.calls["made"]++
			return nil
		}
		if v.OperationID() != spec.Annotations[domain.AnnotationOperation] {
			return apperr.New(apperr.ErrNameCollision).With("name", spec.Name)
		}
		return nil
	})
	return v, created, err
}

func (w *world) GetVM(_ context.Context, ref provider.Ref) (v *domain.VM, err error) {
	err = w.do("get", func() error {
		if v = w.copy(ref.Name); v == nil {
			return apperr.New(apperr.ErrVMNotFound)
		}
		return nil
	})
	return v, err
}

func (w *world) DeleteVM(_ context.Context, ref provider.Ref) error {
	return w.do("delete", func() error {
		switch v := w.objects[ref.Name]; {
		case v == nil || v.UID != ref.UID:
		case w.hold:
			v.Deleting = true
		default:
			delete(w.objects, ref.Name)
		}
		return nil
	})
}

// power moves the object from one state to another; elsewhere its state refuses.
func (w *world) power(call string, ref provider.Ref, from, to domain.VMState) error {
	return w.do(call, func() error {
		v := w.objects[ref.Name]
		switch {
		case v == nil:
			return apperr.New(apperr.ErrVMNotFound)
		case v.UID != ref.UID:
			return apperr.New(apperr.ErrUIDMismatch)
		case v.Status.State != from:
			return apperr.New(apperr.ErrVMState)
		}
		v.Status.State = to
		return nil
	})
}

func (w *world) StartVM(_ context.Context, ref provider.Ref) error {
	return w.power("start", ref, domain.StateStopped, domain.StateStarting)
}

func (w *world) StopVM(_ context.Context, ref provider.Ref) error {
	return w.power("stop", ref, domain.StateRunning, domain.StateStopping)
}

func (w *world) RestartVM(_ context.Context, ref provider.Ref) error {
	return w.power("restart", ref, domain.StateRunning, domain.StateRunning)
}

func (w *world) EnsureCloudInit(_ context.Context, _ string, s provider.CloudInit) error {
	return w.do("secret", func() error {
		if have, ok := w.secrets[s.Name]; ok && have.OperationID != s.OperationID {
			return apperr.New(apperr.ErrNameCollision)
		}
		w.secrets[s.Name] = s
		return nil
	})
}

func (w *world) AdoptCloudInit(_ context.Context, ref provider.Ref, secret string) error {
	return w.do("adopt", func() error {
		w.owners[secret] = ref.UID
		return nil
	})
}
