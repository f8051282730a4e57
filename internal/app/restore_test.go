//go:build e2e

package app_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/demo"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/testbed"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
)

// restoration is a portal that runs with one real control plane, whose etcd can
// be backed up and restored.
type restoration struct {
	t         *testing.T
	a         *app.App
	base, bin string
	tb        *testbed.Cluster
	cluster   string

	dev, boss domain.Actor
	service   string
}

func newRestoration(t *testing.T) *restoration {
	t.Helper()
	r := &restoration{t: t, bin: os.Getenv("SHEPHERD_TESTBED")}
	if r.bin == "" {
		t.Fatal("SHEPHERD_TESTBED names no directory with the testbed's binaries: run `make test`")
	}
	ctx := t.Context()
	var err error
	if r.tb, err = testbed.Start(ctx, testbed.Options{Dir: r.bin, State: filepath.Join(t.TempDir(), "east"), Name: "east", Nodes: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.tb.Stop() })
	r.a, err = app.New(ctx, app.Config{
		DatabaseURL: domain.Secret(databasetest.Empty(t)), KEK: domain.Secret(crypto.Generate()), Addr: "127.0.0.1:0", Workers: 4, Version: "test",
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, RateLimits: 10,
	}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	r.must(err)
	t.Cleanup(r.a.Close)
	listening := make(chan string, 1)
	r.a.Listening = func(addr net.Addr) { listening <- "http://" + addr.String() }
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.a.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the portal ended with %v", err)
		}
	})
	r.base = <-listening

	r.must(cast.People(ctx, r.a))
	r.cluster, err = demo.Connect(ctx, r.a, r.bin, r.tb, "Lab", domain.Test)
	r.must(err)
	r.must(cast.Places(ctx, r.a, r.cluster, domain.Test))
	r.dev, r.boss = r.actor(cast.Developer), r.actor(cast.Approver)
	systemID, err := r.a.Systems.Create(ctx, r.dev, system.Input{Name: "shop", Namespace: "shop-test"})
	r.must(err)
	r.dev = r.actor(cast.Developer)
	r.service, err = r.a.Services.Create(ctx, r.dev, service.Input{SystemID: systemID, Name: "redis"})
	r.must(err)
	return r
}

func (r *restoration) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *restoration) actor(p cast.Person) domain.Actor {
	r.t.Helper()
	a, err := cast.Actor(r.t.Context(), r.a, p)
	r.must(err)
	return a
}

// ask asks for VMs and has them approved; wait waits until they are carried out.
func (r *restoration) ask(count int) (ticket int) {
	r.t.Helper()
	ctx := r.t.Context()
	templates, err := r.a.Catalog.Templates(ctx, r.dev)
	r.must(err)
	sizes, err := r.a.Catalog.Sizes(ctx, r.dev)
	r.must(err)
	in := approval.Input{ServiceID: r.service, Count: count, DiskGiB: 20, SSHKeys: []string{cast.PublicKey}, Reason: "A cache for the restore test."}
	for _, t := range templates {
		if t.Name == "fedora-41" {
			in.TemplateID = t.ID
		}
	}
	for _, z := range sizes {
		if z.Name == "small" {
			in.SizeID = z.ID
		}
	}
	ticket, err = r.a.Approval.SubmitCreate(ctx, r.dev, in)
	r.must(err)
	r.approve(ticket)
	return ticket
}

func (r *restoration) approve(ticket int) {
	r.t.Helper()
	v, err := r.a.Approval.Ticket(r.t.Context(), r.boss, ticket)
	r.must(err)
	r.must(r.a.Approval.Decide(r.t.Context(), r.boss, ticket, v.Unchanged(r.cluster)))
}

// wait waits until a ticket is done.
func (r *restoration) wait(ticket int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("ticket %d is done", ticket), func() bool {
		return r.a.DB.Ent.ApprovalTicket.GetX(r.t.Context(), ticket).Status == "COMPLETED"
	})
}

func (r *restoration) vm(name string) *ent.VM {
	r.t.Helper()
	return r.a.DB.Ent.VM.Query().Where(entvm.Name(name)).OnlyX(r.t.Context())
}

// etcd is where the control plane keeps its data.
func (r *restoration) etcd() string { return filepath.Join(r.tb.State, "etcd") }

// again starts the control plane where it was.
func (r *restoration) again() {
	r.t.Helper()
	tb, err := testbed.Start(r.t.Context(), testbed.Options{Dir: r.bin, State: r.tb.State, Name: "east", Nodes: 1, Port: r.tb.Port})
	r.must(err)
	r.tb = tb
}

// kube asks the control plane as its administrator.
func (r *restoration) kube(method, path, body string) (status int, text string) {
	r.t.Helper()
	client := &http.Client{Transport: newGossip(r.t, r.tb, "").admin} // it signs in as the administrator
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(r.t.Context(), method, fmt.Sprintf("https://127.0.0.1:%d%s", r.tb.Port, path), strings.NewReader(body))
	r.must(err)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	r.must(err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	r.must(err)
	return res.StatusCode, string(b)
}

// A control plane is restored from a backup of its etcd, while the portal runs.
// The quarantine begins by itself, shows what is gone, back and changed, keeps
// all orders waiting, and ends when an admin has accepted each group.
func TestRestoreFromBackup(t *testing.T) {
	r := newRestoration(t)
	ctx := t.Context()
	began := time.Now()
	step := func(what string) { t.Logf("%5.1f s: %s", time.Since(began).Seconds(), what) }

	r.wait(r.ask(3))
	stays, leaves, changes := r.vm("shop-redis-01"), r.vm("shop-redis-02"), r.vm("shop-redis-03")
	eventually(t, "the VMs run", func() bool {
		return r.a.DB.Ent.VM.Query().Where(entvm.StateEQ(entvm.StateRunning)).CountX(ctx) == 3
	})
	step("three VMs")
	r.tb.Stop()
	backup := filepath.Join(t.TempDir(), "etcd")
	r.must(os.CopyFS(backup, os.DirFS(r.etcd())))
	r.again()
	step("the backup is made")

	// After the backup: one more VM, one less, one that is stopped.
	made := r.ask(1)
	deletion, err := r.a.Approval.SubmitDelete(ctx, r.dev, leaves.ID.String(), "It is not needed any more.", leaves.Name)
	r.must(err)
	r.approve(deletion.Ticket)
	_, err = r.a.Approval.SubmitPower(ctx, r.dev, changes.ID.String(), domain.OpStop, "It is not used at night.")
	r.must(err)
	r.wait(made)
	r.wait(deletion.Ticket)
	eventually(t, "it is stopped", func() bool { return r.vm(changes.Name).State == entvm.StateStopped })
	fresh := r.vm("shop-redis-04")
	eventually(t, "the new one runs", func() bool { return r.vm(fresh.Name).State == entvm.StateRunning })
	step("changed since the backup")
	r.tb.Stop()
	r.must(os.RemoveAll(r.etcd()))
	r.must(os.CopyFS(r.etcd(), os.DirFS(backup)))
	r.again()
	step("restored")

	eventually(t, "the quarantine begins", func() bool {
		c := r.a.DB.Ent.Cluster.Query().OnlyX(ctx)
		return c.QuarantinedAt != nil && !c.QuarantineReport.ListedAt.IsZero()
	})
	step("in quarantine")
	c := r.a.DB.Ent.Cluster.Query().OnlyX(ctx)
	if c.QuarantineReason.Code != apperr.ErrClusterRestored {
		t.Errorf("reason %+v", c.QuarantineReason)
	}
	want := map[domain.FindingGroup]string{domain.FindingGone: "shop-redis-04", domain.FindingBack: "shop-redis-02", domain.FindingChanged: "shop-redis-03"}
	var pages []place
	admin := newCaller(t, r.base, &pages)
	admin.post("/login", "username", cast.Admin.Username, "password", cast.Admin.Password).is(t, http.StatusSeeOther)
	at := "/clusters/" + r.cluster + "/quarantine"
	for _, g := range domain.FindingGroups() {
		if page := admin.get(at+"?group="+string(g)).is(t, http.StatusOK); !strings.Contains(page.body, ">"+want[g]+"<") {
			t.Errorf("%s does not show %s: %+v", g, want[g], c.QuarantineReport.Groups)
		}
	}

	// An operation waits and says why; nothing is written, nothing is missing.
	_, err = r.a.Approval.SubmitPower(ctx, r.dev, stays.ID.String(), domain.OpStop, "")
	r.must(err)
	eventually(t, "the order waits", func() bool {
		e, err := r.a.DB.Ent.DomainEvent.Query().Where(domainevent.AggregateID(stays.ID.String()), domainevent.TypeEQ(domainevent.TypeVM_POWER)).Only(ctx)
		return err == nil && e.Problem.Code == apperr.ErrClusterQuarantined
	})
	if page := admin.get("/vms/"+stays.ID.String()).is(t, http.StatusOK); !strings.Contains(page.body, "is in quarantine") {
		t.Error("the page of the VM does not say why it waits")
	}
	if s := r.vm(fresh.Name).State; s != entvm.StateRunning {
		t.Errorf("the one that is gone is %s", s)
	}
	if err := r.a.VMs.Provider.DeleteVM(ctx, refOf(r.cluster, stays)); apperr.CodeOf(err) != apperr.ErrClusterQuarantined {
		t.Errorf("a write past the worker: %v", err)
	}

	for _, g := range domain.FindingGroups() {
		page := admin.get(at+"/accept?group="+string(g)).is(t, http.StatusOK)
		admin.post(at+"/accept", "group", string(g), "digest", page.value("digest"), "reason", "Restored from the backup of Monday.").is(t, http.StatusSeeOther)
	}
	if c := r.a.DB.Ent.Cluster.Query().OnlyX(ctx); c.QuarantinedAt != nil {
		t.Errorf("still in quarantine: %+v", c.QuarantineReport)
	}
	step("accepted")
	eventually(t, "the order goes on", func() bool { return r.vm(stays.Name).State == entvm.StateStopped })
	if s := r.vm(fresh.Name).State; s != entvm.StateMissing {
		t.Errorf("the one that is gone is %s", s)
	}
	if status, _ := r.kube(http.MethodGet, "/apis/kubevirt.io/v1/namespaces/shop-test/virtualmachines/"+leaves.Name, ""); status != http.StatusOK {
		t.Errorf("the one that is back: %d", status)
	}
	if a := r.a.DB.Ent.PendingAdoption.Query().OnlyX(ctx); a.UID != leaves.UID {
		t.Errorf("adoption %+v", a)
	}
	eventually(t, "the changed one is shown as it is", func() bool { return r.vm(changes.Name).State == entvm.StateRunning })
	if status, _ := r.kube(http.MethodGet, "/apis/kubevirt.io/v1/namespaces/shop-test/virtualmachines/"+fresh.Name, ""); status != http.StatusNotFound {
		t.Errorf("the one that is gone was made again: %d", status)
	}
	step("over")
}

func refOf(cluster string, v *ent.VM) provider.Ref {
	return provider.Ref{Cluster: cluster, Namespace: v.Namespace, Name: v.Name, UID: v.UID}
}
