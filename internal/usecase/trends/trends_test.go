package trends_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/ent/vmsample"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/trends"
)

var now = time.Date(2026, 11, 24, 14, 32, 0, 0, time.UTC)

// stage is the service on a fresh database with a system in test and one in prod.
type stage struct {
	*trends.Service
	t          testing.TB
	place      *ent.Cluster
	test, prod *ent.System
	vms        int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	db, ctx := databasetest.New(t), t.Context()
	st := &stage{Service: &trends.Service{DB: db}, t: t}
	st.place = db.Ent.Cluster.Create().SetName("c").SetEnvironment(cluster.EnvironmentTest).SetCreatedBy("x").SetEncryptedKubeconfig([]byte("x")).
		SetEncryptionKeyID("k").SetAPIServerURL("https://x").SetIdentityUID("u").SaveX(ctx)
	make := func(e system.Environment) *ent.System {
		return db.Ent.System.Create().SetName("shop").SetNamespace("n-" + string(e)).SetEnvironment(e).SetCreatedBy("x").SaveX(ctx)
	}
	st.test, st.prod = make(system.EnvironmentTest), make(system.EnvironmentProd)
	return st
}

func (st *stage) vm(sys *ent.System, state domain.VMState) *ent.VM {
	st.vms++
	ctx := st.t.Context()
	sv := st.DB.Ent.Service.Create().SetSystemID(sys.ID).SetName(fmt.Sprint("s", st.vms)).SetNamespace("n").SetVMPrefix(fmt.Sprint("s", st.vms)).SetCreatedBy("x").SaveX(ctx)
	return st.DB.Ent.VM.Create().SetServiceID(sv.ID).SetSystemID(sys.ID).SetClusterID(st.place.ID).SetName(fmt.Sprint("vm-", st.vms)).SetNamespace("n").
		SetInstance(1).SetEnvironment(vm.Environment(sys.Environment)).SetCreatedBy("x").SetTicketID(1).SetTemplate("t").SetTemplateVersion(1).
		SetSize("s").SetCPU(2).SetMemoryMib(1024).SetDiskGib(1).SetState(vm.State(state)).SetHealth(vm.Health(state.Health())).SaveX(ctx)
}

func (st *stage) sample(at time.Time, sys *ent.System, state domain.VMState, n int) {
	st.DB.Ent.VMSample.Create().SetAt(at).SetSystemID(sys.ID).SetClusterID(st.place.ID).SetEnvironment(vmsample.Environment(sys.Environment)).
		SetState(vmsample.State(state)).SetVms(n).SaveX(st.t.Context())
}

func role(r domain.Role, e domain.Environment, sys string) domain.Actor {
	return domain.Actor{UserID: uuid.NewString(), Bindings: []domain.Binding{{Role: r, Environment: e, SystemID: sys}}}
}

// TestSample: an hour is counted once, however often and by however many it is
// asked for, and old hours are thinned out to days.
func TestSample(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	if err := st.Sample(ctx); err != nil || st.DB.Ent.VMSample.Query().ExistX(ctx) {
		t.Fatalf("without VMs: %v", err)
	}
	for _, s := range []domain.VMState{domain.StateRunning, domain.StateRunning, domain.StateMigrating} {
		st.vm(st.test, s)
	}
	st.vm(st.prod, domain.StateRunning)
	st.vm(st.prod, domain.StateDeleted).Update().SetDeletedAt(time.Now()).ExecX(ctx)

	// Old hours, in days that the database's clock makes certain.
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for _, day := range []int{100, 91, 89, 5, 4} {
		for _, hour := range []int{3, 17, 22} {
			st.sample(today.Add(time.Duration(hour-24*day)*time.Hour), st.test, domain.StateRunning, 1)
		}
	}
	yesterday := time.Now().UTC().Truncate(time.Hour).Add(-24 * time.Hour)
	for i := range 3 {
		st.sample(yesterday.Add(time.Duration(-i)*time.Hour), st.test, domain.StateRunning, 1)
	}

	failed := make(chan error)
	for range 4 {
		go func() { failed <- st.Sample(ctx) }()
	}
	for range 4 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	var got []string
	var newest time.Time
	for _, r := range st.DB.Ent.VMSample.Query().Where(vmsample.AtGT(yesterday)).Order(vmsample.ByEnvironment(), vmsample.ByState()).AllX(ctx) {
		got = append(got, fmt.Sprint(r.Environment, " ", r.State, " ", r.Vms))
		newest = r.At
	}
	if want := "prod Running 1, test Migrating 1, test Running 2"; strings.Join(got, ", ") != want || !newest.Equal(newest.Truncate(time.Hour)) || time.Since(newest) > 2*time.Hour {
		t.Errorf("counted %q at %v, want %q", got, newest, want)
	}
	got = nil
	for _, r := range st.DB.Ent.VMSample.Query().Where(vmsample.AtLTE(yesterday)).Order(vmsample.ByAt()).AllX(ctx) {
		got = append(got, fmt.Sprint(int(today.Sub(r.At.UTC().Truncate(24*time.Hour)).Hours()/24), "d", r.At.UTC().Hour()))
	}
	if kept := strings.Join(got[:3], " "); kept != "89d22 5d22 4d22" || len(got) != 6 {
		t.Errorf("kept %q", got)
	}
}

// TestVMs: each column is its last sample, in the numbers of who looks.
func TestVMs(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	hour := now.Truncate(time.Hour)
	st.sample(hour, st.test, domain.StateRunning, 7)
	st.sample(hour, st.test, domain.StatePaused, 1)
	st.sample(hour, st.test, domain.StateStopped, 2)
	st.sample(hour, st.prod, domain.StateFailed, 4)
	st.sample(hour.Add(-time.Hour), st.test, domain.StateRunning, 90) // the same day
	st.sample(hour.Add(-16*time.Hour), st.prod, domain.StateStarting, 5)
	st.sample(hour.Add(-40*24*time.Hour), st.prod, domain.StateRunning, 1000) // too old for any

	for _, c := range []struct {
		who  string
		by   domain.Actor
		r    trends.Range
		want string // age in columns and numbers, the oldest first
	}{
		{"admin", role(domain.RoleAdmin, "", ""), trends.Month, "1: busy 5; 0: bad 4 idle 3 ok 7"},
		{"admin", role(domain.RoleAdmin, "", ""), trends.Day, "16: busy 5; 1: ok 90; 0: bad 4 idle 3 ok 7"},
		{"approver of prod", role(domain.RoleApprover, domain.Prod, ""), trends.Day, "16: busy 5; 1:; 0: bad 4"},
		{"viewer of test", role(domain.RoleViewer, "", st.test.ID.String()), trends.Month, "1:; 0: idle 3 ok 7"},
		{"a stranger", domain.Actor{UserID: uuid.NewString()}, trends.Month, "1:; 0:"},
	} {
		list, err := st.VMs(ctx, c.by, c.r, now)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, n := range list {
			text := fmt.Sprint(len(list)-1-i, ":")
			for _, h := range []domain.Health{domain.HealthBad, domain.HealthBusy, domain.HealthIdle, domain.HealthOK} {
				if n.VMs[h] > 0 {
					text += fmt.Sprint(" ", h, " ", n.VMs[h])
				}
			}
			if n.Counted {
				got = append(got, text)
			} else if len(n.VMs) > 0 {
				t.Errorf("numbers without a sample: %+v", n)
			}
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s, %s: %q, want %q", c.who, c.r, got, c.want)
		}
		if last := list[len(list)-1].At; !last.Equal(now.Truncate(c.r.Step())) {
			t.Errorf("the last column begins at %v", last)
		}
	}
}

// TestWaits: decisions of people, by the time of the decision.
func TestWaits(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	sv := uuid.New()
	decided := func(sys *ent.System, ago, waited time.Duration, status approvalticket.Status, byPolicy bool) {
		ev := st.DB.Ent.DomainEvent.Create().SetType(domainevent.TypeVM_CREATION_REQUESTED).SetAggregateType("ticket").SetAggregateID("x").
			SetPayload([]byte("{}")).SetCreatedBy("x").SaveX(ctx)
		row := st.DB.Ent.ApprovalTicket.Create().SetEventID(ev.ID).SetOperation(approvalticket.OperationCREATE).SetStatus(status).
			SetEnvironment(approvalticket.Environment(sys.Environment)).SetRequesterID(uuid.New()).SetRequester("x").SetReason("").SetSystemID(sys.ID).
			SetSystemName("shop").SetServiceID(sv).SetServiceName("web").SetTitle("t").SetResourceKey(uuid.NewString()).SetExpiresAt(now).
			SetCreatedAt(now.Add(-ago - waited)).SetDecidedAt(now.Add(-ago))
		if !byPolicy {
			row.SetApproverID(uuid.New()).SetApprover("boss")
		}
		row.SaveX(ctx)
	}
	const h = time.Hour
	decided(st.test, 2*h, 1*h, approvalticket.StatusCOMPLETED, false)
	decided(st.test, 2*h, 30*h, approvalticket.StatusREJECTED, false)
	decided(st.prod, 3*h, 2*h, approvalticket.StatusAPPROVED, false)
	decided(st.prod, 50*h, 100*h, approvalticket.StatusFAILED, false)
	decided(st.test, 2*h, 0, approvalticket.StatusCOMPLETED, true)
	decided(st.test, 2*h, 700*h, approvalticket.StatusEXPIRED, true)
	decided(st.prod, 31*24*h, 500*h, approvalticket.StatusCOMPLETED, false)

	for _, c := range []struct {
		by        domain.Actor
		r         trends.Range
		want, all string
	}{
		{role(domain.RoleAuditor, "", ""), trends.Month, "2: 1 100h0m0s 100h0m0s; 0: 3 2h0m0s 30h0m0s", "4 2h0m0s 100h0m0s"},
		{role(domain.RoleAuditor, "", ""), trends.Day, "3: 1 2h0m0s 2h0m0s; 2: 2 1h0m0s 30h0m0s", "3 2h0m0s 30h0m0s"},
		{role(domain.RoleOwner, "", st.prod.ID.String()), trends.Month, "2: 1 100h0m0s 100h0m0s; 0: 1 2h0m0s 2h0m0s", "2 2h0m0s 100h0m0s"},
		{domain.Actor{UserID: uuid.NewString()}, trends.Month, "", "0 0s 0s"},
	} {
		list, all, err := st.Waits(ctx, c.by, c.r, now)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, w := range list {
			if w.Decided > 0 {
				got = append(got, fmt.Sprint(len(list)-1-i, ": ", w.Decided, " ", w.Half, " ", w.Longest))
			}
		}
		if strings.Join(got, "; ") != c.want || fmt.Sprint(all.Decided, " ", all.Half, " ", all.Longest) != c.all {
			t.Errorf("%s: %q, all %+v", c.r, got, all)
		}
	}
}
