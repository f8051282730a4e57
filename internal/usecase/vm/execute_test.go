package vm_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/ssh"

	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/notification"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

var (
	snooze = vm.Outcome{Again: true}
	retry  = vm.Outcome{Again: true, Burnt: true}
)

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

func TestCreate(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	n, orders := st.approve(1)
	st.run(orders[0], vm.Done())
	st.run(orders[0], vm.Done()) // a second job of the same order has nothing to do

	row, e := st.vmOf(orders[0]), st.wantEvent(orders[0], domain.EventCompleted, "")
	v := st.world.get("shop-redis-01")
	if v == nil || st.world.count("create") != 1 {
		t.Fatalf("object %+v after %d posts", v, st.world.count("create"))
	}
	labels := map[string]string{
		domain.LabelManagedBy: domain.ManagedBy, domain.LabelSystem: "shop", domain.LabelService: "redis",
		domain.LabelInstance: "01", domain.LabelTicket: domain.TicketName(n),
	}
	for k, want := range labels {
		if v.Labels[k] != want {
			t.Errorf("label %s is %q", k, v.Labels[k])
		}
	}
	if v.OperationID() != orders[0].String() || v.Annotations[domain.AnnotationSpecHash] != st.ticket(n).SpecHash {
		t.Errorf("annotations %v", v.Annotations)
	}
	if s := v.Spec; s.CPU != 2 || s.MemoryMiB != 4096 || s.DiskGiB != 20 || s.Image != "docker://ubuntu" || s.CloudInitName != "" || !s.Running {
		t.Errorf("spec %+v", s)
	}
	if row.UID != v.UID || row.State != entvm.StateProvisioning || row.ResourceVersion != v.ResourceVersion {
		t.Errorf("row %+v", row)
	}
	if e.Step != domainevent.StepDONE || e.LeaseUntil != nil || e.ProcessedAt == nil || e.Fence != 1 {
		t.Errorf("order %+v", e)
	}
	st.wantTicket(n, domain.TicketCompleted)
	st.wantCounts(1, 0)
	if st.ticket(n).FinishedAt == nil {
		t.Error("the ticket has no end")
	}
	if c := st.ent.AuditLog.Query().Where(auditlog.Action("vm.create"), auditlog.ResourceID(row.ID.String())).CountX(ctx); c != 1 {
		t.Errorf("%d audit rows", c)
	}
	if c := st.ent.Notification.Query().Where(notification.Kind(string(notify.TicketCompleted))).CountX(ctx); c != 1 {
		t.Errorf("%d notifications", c)
	}
}

// First-boot data goes to the cluster as a Secret that belongs to the VM.
func TestCreateWithCloudInit(t *testing.T) {
	st := newStage(t)
	st.CloudInit = func(_ context.Context, id string) (domain.Secret, error) {
		if id != st.template.ID.String() {
			t.Errorf("template %s", id)
		}
		return domain.Secret("#cloud-config\npackages: [redis]\nssh_authorized_keys: [ssh-ed25519 base]\n"), nil
	}
	key := publicKey(t)
	n, orders := st.approve(1, key)
	// Adopting fails once: what is done is not done again.
	st.world.before["adopt"] = fails(1, apperr.ErrClusterDegraded)
	st.run(orders[0], retry)
	if e := st.wantEvent(orders[0], domain.EventProcessing, apperr.ErrClusterDegraded); e.Step != domainevent.StepCREATED {
		t.Errorf("step %s", e.Step)
	}
	st.run(orders[0], vm.Done())
	st.wantTicket(n, domain.TicketCompleted)
	if st.world.count("create") != 1 || st.world.count("secret") != 1 {
		t.Errorf("%v", st.world.calls)
	}
	v := st.world.get("shop-redis-01")
	s, ok := st.world.secrets[v.Spec.CloudInitName]
	op := orders[0].String()
	if !ok || v.Spec.CloudInitName != "shop-redis-01-ci-"+op[len(op)-8:] || s.OperationID != op || st.world.owners[s.Name] != v.UID {
		t.Fatalf("secret %+v, owners %v", s, st.world.owners)
	}
	var doc struct {
		Packages []string
		Keys     []string `yaml:"ssh_authorized_keys"`
	}
	if err := yaml.Unmarshal(s.UserData, &doc); err != nil || !strings.HasPrefix(string([]byte(s.UserData)), "#cloud-config\n") {
		t.Fatal(err, string([]byte(s.UserData)))
	}
	if len(doc.Packages) != 1 || len(doc.Keys) != 2 || doc.Keys[0] != "ssh-ed25519 base" || doc.Keys[1] != key {
		t.Errorf("%+v", doc)
	}
	if row := st.vmOf(orders[0]); row.State != entvm.StateProvisioning {
		t.Errorf("state %s", row.State)
	}
}

func TestCloudConfig(t *testing.T) {
	for _, c := range []struct {
		name, base string
		keys       []string
		want, code string
	}{
		{name: "nothing"},
		{name: "comments only", base: "#cloud-config\n# later\n"},
		{name: "comments and a key", base: "#cloud-config\n", keys: []string{"a"}, want: "#cloud-config\nssh_authorized_keys:\n    - a\n"},
		{name: "a key is a value, never a line", keys: []string{"a\nruncmd: [evil]"}, want: "#cloud-config\nssh_authorized_keys:\n    - |-\n      a\n      runcmd: [evil]\n"},
		{name: "once", base: "ssh_authorized_keys: [a]", keys: []string{"a"}, want: "#cloud-config\nssh_authorized_keys:\n    - a\n"},
		{name: "a script", base: "#!/bin/sh\necho hi\n", code: apperr.ErrCloudInit},
		{name: "a list", base: "- a", code: apperr.ErrCloudInit},
		{name: "no YAML", base: "a: [", code: apperr.ErrCloudInit},
		{name: "keys are no list", base: "ssh_authorized_keys: a", keys: []string{"b"}, code: apperr.ErrCloudInit},
	} {
		got, err := vm.CloudConfig(domain.Secret(c.base), c.keys)
		if code := ""; err != nil {
			if code = apperr.CodeOf(err); code != c.code {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if c.code != "" || string([]byte(got)) != c.want {
			t.Errorf("%s: got %q", c.name, []byte(got))
		}
	}
}

// The POST was carried out and its answer lost: the operation id tells that the
// object is ours.
func TestAnswerLostAfterPost(t *testing.T) {
	st := newStage(t)
	st.world.after["create"] = fails(1, apperr.ErrClusterTimeout)
	n, orders := st.approve(1)
	st.run(orders[0], retry)
	st.wantTicket(n, domain.TicketExecuting)
	st.run(orders[0], vm.Done())
	st.wantTicket(n, domain.TicketCompleted)
	if st.world.count("made") != 1 || len(st.world.objects) != 1 || st.vmOf(orders[0]).UID != st.world.get("shop-redis-01").UID {
		t.Errorf("%v", st.world.calls)
	}
}

// A cluster that is away burns no attempts, says why, and the order goes on
// when it is back.
func TestClusterAway(t *testing.T) {
	for _, code := range []string{apperr.ErrClusterUnreachable, apperr.ErrClusterUnauthorized, apperr.ErrClusterTLS, apperr.ErrCredentialsLocked} {
		t.Run(code, func(t *testing.T) {
			st := newStage(t)
			st.world.before["create"] = fails(12, code)
			n, orders := st.approve(1)
			for range 12 {
				if out := st.exec(orders[0]); !out.Again || out.Burnt || out.After < 4*time.Second || out.After > 36*time.Second {
					t.Fatalf("%+v", out)
				}
			}
			e := st.wantEvent(orders[0], domain.EventProcessing, code)
			if e.Attempts != 0 || e.Problem.Params["cluster"] != "east" {
				t.Errorf("%+v", e)
			}
			if row := st.vmOf(orders[0]); row.State != entvm.StateRequested || row.Problem.Code != code {
				t.Errorf("row %s %+v", row.State, row.Problem)
			}
			st.wantTicket(n, domain.TicketExecuting)
			if st.ticket(n).Problem.Code != code {
				t.Errorf("the ticket does not say why: %+v", st.ticket(n).Problem)
			}
			st.run(orders[0], vm.Done())
			st.wantTicket(n, domain.TicketCompleted)
			if row, tk := st.vmOf(orders[0]), st.ticket(n); !row.Problem.IsZero() || !tk.Problem.IsZero() {
				t.Errorf("problems are left: %+v %+v", row.Problem, tk.Problem)
			}
		})
	}
}

// An order for a cluster that the health check knows to be dead does not hold a
// worker until the call times out.
func TestDeadClusterIsNotCalled(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	_, orders := st.approve(1)
	st.cluster.Update().SetStatus(entcluster.StatusUNREACHABLE).SetCheckedAt(time.Now()).SetStatusReason(domain.Problem{Code: apperr.ErrClusterRefused}).ExecX(ctx)
	st.run(orders[0], snooze)
	if len(st.world.calls) != 0 {
		t.Errorf("%v", st.world.calls)
	}
	st.wantEvent(orders[0], domain.EventProcessing, apperr.ErrClusterRefused)
	// An old verdict is not believed: perhaps nobody checks any more.
	st.cluster.Update().SetCheckedAt(time.Now().Add(-time.Hour)).ExecX(ctx)
	st.run(orders[0], vm.Done())
}

// Waiting does not last silently: a person is told, and it goes on by itself.
func TestLongWaitNeedsAttention(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	n, orders := st.approve(1)
	st.cluster.Update().SetEnabled(false).ExecX(ctx)
	st.run(orders[0], snooze)
	st.wantTicket(n, domain.TicketExecuting)
	st.age(orders[0], "20 minutes")
	for range 2 {
		st.run(orders[0], snooze)
	}
	st.wantTicket(n, domain.TicketNeedsAttention)
	if c := st.ent.Notification.Query().Where(notification.Kind(string(notify.TicketAttention))).CountX(ctx); c != 1 {
		t.Errorf("%d notifications", c)
	}
	if e := st.wantEvent(orders[0], domain.EventProcessing, apperr.ErrClusterDisabled); e.Attempts != 0 || !e.NeedsAttention {
		t.Errorf("%+v", e)
	}
	st.cluster.Update().SetEnabled(true).ExecX(ctx)
	st.run(orders[0], vm.Done())
	st.wantTicket(n, domain.TicketCompleted)
}

// What cannot succeed ends at once, with its reason at every place.
func TestTerminal(t *testing.T) {
	for _, code := range []string{apperr.ErrSpecRejected, apperr.ErrQuotaExceeded, apperr.ErrClusterForbidden, apperr.ErrNamespaceMissing} {
		t.Run(code, func(t *testing.T) {
			st := newStage(t)
			st.world.before["create"] = fails(1, code)
			n, orders := st.approve(1)
			st.run(orders[0], vm.Done())
			e := st.wantEvent(orders[0], domain.EventFailed, code)
			if e.NeedsAttention || e.Problem.Text != "said so" {
				t.Errorf("%+v", e)
			}
			row, tk := st.vmOf(orders[0]), st.ticket(n)
			if row.State != entvm.StateFailed || row.Problem.Code != code || tk.Problem.Code != code || tk.FinishedAt == nil {
				t.Errorf("%+v %+v", row, tk)
			}
			st.wantTicket(n, domain.TicketFailed)
			st.wantCounts(1, 1)
			st.run(orders[0], vm.Done())
			if st.world.count("create") != 1 {
				t.Error("it was tried again")
			}
			// The same approval can be carried out again when the cause is gone.
			if err := st.approval.Retry(t.Context(), st.dev, n); err != nil {
				t.Fatal(err)
			}
			if got := st.jobs(); len(got) != 1 || got[0] != orders[0] {
				t.Fatalf("jobs %v", got)
			}
			st.wantCounts(1, 0)
			st.run(orders[0], vm.Done())
			st.wantTicket(n, domain.TicketCompleted)
			if st.world.get(row.Name).OperationID() != orders[0].String() {
				t.Error("another operation id")
			}
		})
	}
}

// Somebody else's object is never touched.
func TestNameCollision(t *testing.T) {
	st := newStage(t)
	foreign := st.world.put("shop-redis-01", uuid.NewString())
	n, orders := st.approve(1)
	st.run(orders[0], vm.Done())
	st.wantEvent(orders[0], domain.EventFailed, apperr.ErrNameCollision)
	st.wantTicket(n, domain.TicketFailed)
	if now := st.world.get("shop-redis-01"); now.UID != foreign.UID || now.ResourceVersion != foreign.ResourceVersion || st.vmOf(orders[0]).UID != "" {
		t.Errorf("%+v", now)
	}
}

// After eight burnt attempts a person is asked; a panic is an attempt too.
func TestAttemptsEnd(t *testing.T) {
	st := newStage(t)
	st.world.before["create"] = func() error {
		if st.world.count("create") == 3 {
			panic("poison")
		}
		return apperr.New(apperr.ErrClusterTimeout)
	}
	n, orders := st.approve(1)
	for i := range 7 {
		out := st.exec(orders[0])
		if !out.Burnt || out.After <= 0 || out.After > time.Minute+time.Second {
			t.Fatalf("round %d: %+v", i, out)
		}
	}
	st.run(orders[0], vm.Done())
	if e := st.wantEvent(orders[0], domain.EventFailed, apperr.ErrClusterTimeout); !e.NeedsAttention || e.Attempts != 8 {
		t.Errorf("%+v", e)
	}
	st.wantTicket(n, domain.TicketNeedsAttention)
	st.wantCounts(1, 1)
	delete(st.world.before, "create")
	if err := st.approval.Retry(t.Context(), st.dev, n); err != nil {
		t.Fatal(err)
	}
	st.run(orders[0], vm.Done())
	st.wantTicket(n, domain.TicketCompleted)
	st.wantCounts(1, 0)
}

// A process that dies in every attempt does not do so for ever.
func TestAttemptsOfDeadWorkersCount(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	n, orders := st.approve(1)
	st.ent.DomainEvent.UpdateOneID(orders[0]).SetAttempts(8).SetStatus(domainevent.StatusPROCESSING).ExecX(ctx)
	st.run(orders[0], vm.Done())
	st.wantEvent(orders[0], domain.EventFailed, apperr.ErrOperationStuck)
	st.wantTicket(n, domain.TicketNeedsAttention)
	if len(st.world.calls) != 0 {
		t.Errorf("%v", st.world.calls)
	}
}

// Any number of workers with the same order make one object.
func TestWorkersAtOnce(t *testing.T) {
	st := newStage(t)
	st.world.before["create"] = func() error { time.Sleep(50 * time.Millisecond); return nil }
	n, orders := st.approve(1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				out, err := st.Execute(t.Context(), orders[0])
				if err != nil {
					t.Error(err)
				}
				if !out.Again {
					return
				}
				if out.After > 5*time.Second {
					t.Errorf("%+v", out)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	if st.world.count("create") != 1 {
		t.Errorf("%d posts", st.world.count("create"))
	}
	st.wantTicket(n, domain.TicketCompleted)
	st.wantCounts(1, 0)
}

// A worker that comes back after its lease was taken over writes nothing.
func TestZombie(t *testing.T) {
	for _, end := range []string{"", apperr.ErrSpecRejected, apperr.ErrClusterUnreachable} {
		t.Run("it comes back with "+end, func(t *testing.T) {
			st := newStage(t)
			n, orders := st.approve(1)
			inside, wake := make(chan bool), make(chan bool)
			first := true
			st.world.before["create"] = func() error {
				if !first {
					return nil
				}
				first = false
				inside <- true
				<-wake
				if end != "" {
					return apperr.New(end)
				}
				return nil
			}
			done := make(chan vm.Outcome)
			go func() {
				out, err := st.Execute(context.Background(), orders[0])
				if err != nil {
					t.Error(err)
				}
				done <- out
			}()
			<-inside
			st.run(orders[0], snooze) // the lease holds
			st.lapse(orders[0], "1 second")
			st.run(orders[0], vm.Done())
			before, row := st.event(orders[0]), st.vmOf(orders[0])
			close(wake)
			if out := <-done; out.Again {
				t.Errorf("the zombie goes on: %+v", out)
			}
			after := st.event(orders[0])
			if !after.UpdatedAt.Equal(before.UpdatedAt) || after.Fence != 2 || after.Status != domainevent.StatusCOMPLETED {
				t.Errorf("the zombie wrote: %+v", after)
			}
			if now := st.vmOf(orders[0]); !now.UpdatedAt.Equal(row.UpdatedAt) {
				t.Errorf("the zombie wrote: %+v", now)
			}
			if st.world.count("made") != 1 {
				t.Errorf("%d objects made", st.world.count("made"))
			}
			st.wantTicket(n, domain.TicketCompleted)
			st.wantCounts(1, 0)
		})
	}
}

// The same while the next holder is not finished: only the fence tells the two apart.
func TestZombieBesideTheNextHolder(t *testing.T) {
	st := newStage(t)
	n, orders := st.approve(1)
	inside, wake, done := make(chan bool), make(chan bool), make(chan bool)
	round := 0
	st.world.before["create"] = func() error {
		switch round++; round {
		case 1:
			inside <- true
			<-wake
			return apperr.New(apperr.ErrSpecRejected)
		case 2:
			return apperr.New(apperr.ErrClusterUnreachable)
		}
		return nil
	}
	go func() {
		defer close(done)
		if out, err := st.Execute(context.Background(), orders[0]); err != nil || out.Again {
			t.Errorf("%+v %v", out, err)
		}
	}()
	<-inside
	st.lapse(orders[0], "1 second")
	st.run(orders[0], snooze)
	close(wake)
	<-done
	st.wantEvent(orders[0], domain.EventProcessing, apperr.ErrClusterUnreachable)
	st.run(orders[0], vm.Done())
	st.wantTicket(n, domain.TicketCompleted)
	st.wantCounts(1, 0)
}

// A shutdown in the middle is nobody's fault.
func TestInterrupted(t *testing.T) {
	st := newStage(t)
	_, orders := st.approve(1)
	ctx, cancel := context.WithCancel(t.Context())
	st.world.before["create"] = func() error { cancel(); return apperr.New(apperr.ErrClusterTimeout) }
	out, err := st.Execute(ctx, orders[0])
	if err != nil || out.Burnt || !out.Again {
		t.Fatalf("%+v %v", out, err)
	}
	if e := st.wantEvent(orders[0], domain.EventProcessing, ""); e.Attempts != 0 {
		t.Errorf("%+v", e)
	}
	delete(st.world.before, "create")
	st.run(orders[0], vm.Done())
}

// Only what was signed is carried out.
func TestSpecHash(t *testing.T) {
	for name, change := range map[string]string{
		"the specification": `UPDATE approval_tickets SET modified_spec = '{"template_id":"x","cpu":64,"count":1}'`,
		"the signature":     `UPDATE approval_tickets SET spec_hash = 'other'`,
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t)
			n, orders := st.approve(1)
			st.sql(change)
			st.run(orders[0], vm.Done())
			st.wantEvent(orders[0], domain.EventFailed, apperr.ErrSpecHashMismatch)
			st.wantTicket(n, domain.TicketFailed)
			if len(st.world.calls) != 0 {
				t.Errorf("%v", st.world.calls)
			}
		})
	}
}

// The orders of a ticket are independent; its state is computed from them.
func TestRollUp(t *testing.T) {
	st := newStage(t)
	n, orders := st.approve(3)
	st.run(orders[0], vm.Done())
	st.wantTicket(n, domain.TicketExecuting)
	st.world.before["create"] = fails(1, apperr.ErrQuotaExceeded)
	st.run(orders[1], vm.Done())
	st.wantTicket(n, domain.TicketExecuting)
	st.run(orders[2], vm.Done())
	st.wantTicket(n, domain.TicketFailed)
	st.wantCounts(3, 1)
	if err := st.approval.Retry(t.Context(), st.dev, n); err != nil {
		t.Fatal(err)
	}
	if again := st.jobs(); len(again) != 1 || again[0] != orders[1] {
		t.Fatalf("again %v", again)
	}
	st.run(orders[1], vm.Done())
	st.wantTicket(n, domain.TicketCompleted)
	st.wantCounts(3, 0)

	// All at once, on one ticket's lock.
	n, orders = st.approve(10)
	var wg sync.WaitGroup
	for _, o := range orders {
		wg.Go(func() {
			if out, err := st.Execute(t.Context(), o); err != nil || out.Again {
				t.Errorf("%+v %v", out, err)
			}
		})
	}
	wg.Wait()
	st.wantTicket(n, domain.TicketCompleted)
	st.wantCounts(13, 0)
}

func TestDelete(t *testing.T) {
	st := newStage(t)
	row := st.running()
	n, order := st.deletion(row)
	st.world.hold = true
	for range 2 {
		st.run(order, vm.Snooze(2*time.Second))
	}
	st.see(true, st.world.get(row.Name)) // the watcher leaves it to the worker
	if now := st.row(row.ID); now.State != entvm.StateRunning || now.DeletedAt != nil {
		t.Errorf("%+v", now)
	}
	delete(st.world.objects, row.Name)
	st.run(order, vm.Done())
	now := st.row(row.ID)
	if now.State != entvm.StateDeleted || now.DeletedAt == nil || st.world.count("delete") != 1 {
		t.Errorf("%+v %v", now, st.world.calls)
	}
	st.wantTicket(n, domain.TicketCompleted)
	st.wantCounts(0, 0)
	if e := st.event(order); e.Attempts > 1 {
		t.Errorf("%d attempts", e.Attempts)
	}
	// Its number is not used again.
	_, orders := st.approve(1)
	if v := st.vmOf(orders[0]); v.Instance != 2 {
		t.Errorf("instance %d", v.Instance)
	}
}

func TestDeleteTouchesOnlyItsOwn(t *testing.T) {
	t.Run("another object under the name", func(t *testing.T) {
		st := newStage(t)
		row := st.running()
		_, order := st.deletion(row)
		st.world.put(row.Name, uuid.NewString())
		st.run(order, vm.Done())
		if st.world.get(row.Name) == nil || st.row(row.ID).DeletedAt == nil {
			t.Error("a foreign object was deleted")
		}
	})
	t.Run("one that was never learned of", func(t *testing.T) {
		st := newStage(t)
		st.world.after["create"] = fails(8, apperr.ErrClusterTimeout)
		_, orders := st.approve(1)
		for range 8 {
			st.exec(orders[0])
		}
		row := st.vmOf(orders[0])
		if row.UID != "" || st.world.get(row.Name) == nil {
			t.Fatal("not the case to test")
		}
		_, order := st.deletion(row)
		st.run(order, snooze)
		st.run(order, vm.Done())
		if st.world.get(row.Name) != nil || st.row(row.ID).DeletedAt == nil {
			t.Error("an orphan is left")
		}
		st.wantCounts(0, 0)
	})
	t.Run("never made, and a stranger has the name", func(t *testing.T) {
		st := newStage(t)
		st.world.put("shop-redis-01", uuid.NewString())
		_, orders := st.approve(1)
		st.run(orders[0], vm.Done())
		_, order := st.deletion(st.vmOf(orders[0]))
		st.run(order, vm.Done())
		if st.world.get("shop-redis-01") == nil {
			t.Error("a foreign object was deleted")
		}
	})
}

func TestPower(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	row := st.running()
	power := func(op domain.Operation) uuid.UUID {
		t.Helper()
		if r, err := st.approval.SubmitPower(ctx, st.dev, row.ID.String(), op, ""); err != nil || !r.Ordered {
			t.Fatalf("%+v %v", r, err)
		}
		return st.jobs()[0]
	}
	o := power(domain.OpRestart)
	st.run(o, vm.Done())
	st.wantEvent(o, domain.EventCompleted, "")
	o = power(domain.OpStop)
	st.world.after["stop"] = fails(1, apperr.ErrClusterTimeout) // done, but nobody knows
	st.run(o, retry)
	st.run(o, vm.Done()) // "already" is as good
	st.wantEvent(o, domain.EventCompleted, "")
	if got := st.world.get(row.Name).Status.State; got != domain.StateStopping {
		t.Errorf("state %s", got)
	}
	st.see(false, st.world.set(row.Name, domain.StateStopped))
	o = power(domain.OpStart)
	st.world.set(row.Name, domain.StateTerminating) // meanwhile
	st.run(o, vm.Done())
	st.wantEvent(o, domain.EventFailed, apperr.ErrVMState)
	if now := st.row(row.ID); now.State != entvm.StateStopped {
		t.Errorf("a failed power order changed the row to %s", now.State)
	}
	st.wantCounts(1, 0)
}

// An order that lost its job gets another one, once.
func TestSweep(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	_, orders := st.approve(3)
	sweep := func(want ...uuid.UUID) {
		t.Helper()
		if err := st.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		if got := st.jobs(); len(got) != len(want) || len(want) > 0 && got[0] != want[0] {
			t.Fatalf("jobs %v, want %v", got, want)
		}
	}
	sweep() // all are young
	st.run(orders[2], vm.Done())
	for _, o := range orders {
		st.age(o, "3 minutes")
	}
	st.ent.DomainEvent.UpdateOneID(orders[1]).SetStatus(domainevent.StatusPROCESSING).ExecX(ctx)
	st.lapse(orders[1], "-30 seconds") // a worker holds it
	st.sql(`UPDATE domain_events SET updated_at = now() - interval '3 minutes'`)
	sweep(orders[0])
	sweep()
	st.lapse(orders[1], "3 minutes")
	st.sql(`UPDATE domain_events SET updated_at = now() - interval '3 minutes' WHERE id = $1`, orders[1])
	sweep(orders[1])
}
