package cluster_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

func TestUpdateCluster(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	east := st.stored("east", domain.Test).ID.String()
	for name, c := range map[string]struct {
		in          cluster.Settings
		field, code string
	}{
		"weight below":  {cluster.Settings{Weight: -1}, "weight", apperr.ErrOutOfRange},
		"weight above":  {cluster.Settings{Weight: 1001}, "weight", apperr.ErrOutOfRange},
		"hidden text":   {cluster.Settings{Place: "Frank\x00furt"}, "place", apperr.ErrInvalidText},
		"long place":    {cluster.Settings{Place: long(101)}, "place", apperr.ErrTooLong},
		"bad hardware":  {cluster.Settings{Hardware: []string{"gpu", "-x"}}, "hardware", apperr.ErrInvalidHardware},
		"much hardware": {cluster.Settings{Hardware: many(51)}, "hardware", apperr.ErrInvalidHardware},
	} {
		e := wants(t, st.Update(ctx, st.admin, east, "", c.in), c.code)
		if e.Field() != c.field {
			t.Errorf("%s: field %q", name, e.Field())
		}
	}
	if n := len(st.audited("cluster.update")); n != 0 {
		t.Fatalf("%d records of refused changes", n)
	}

	seen := func() string {
		c, err := st.Get(ctx, st.admin, east)
		must(t, err)
		return c.Settings().Version()
	}
	first := seen()
	in := cluster.Settings{Place: "Frankfurt", Weight: 0, Hardware: []string{"sriov", "gpu.example.com/a100", "sriov"}}
	must(t, st.Update(ctx, st.admin, east, first, in))
	c, err := st.Get(ctx, st.admin, east)
	must(t, err)
	if c.Place != "Frankfurt" || c.Weight != 0 || !slices.Equal(c.Hardware, []string{"gpu.example.com/a100", "sriov"}) {
		t.Errorf("stored %+v", c.Settings())
	}
	must(t, st.Update(ctx, st.admin, east, seen(), in)) // the same again is no change
	if n := len(st.audited("cluster.update")); n != 1 {
		t.Errorf("%d records", n)
	}
	events, err := st.Events(ctx, st.admin, east, nil, cluster.Page{})
	must(t, err)
	if len(events.Items) != 3 || events.Items[2].Before != "weight=100" || events.Items[2].After != "weight=0" {
		t.Errorf("timeline %+v", events.Items)
	}

	// Of what somebody else has changed meanwhile, nothing is overwritten.
	wants(t, st.Update(ctx, st.admin, east, first, cluster.Settings{Weight: 7}), apperr.ErrPrecondition)
	if st.row(east).Weight != 0 {
		t.Error("it was overwritten")
	}
	wants(t, st.Update(ctx, st.person("aud", domain.RoleAuditor), east, "", in), apperr.ErrForbidden)
	wants(t, st.Update(ctx, st.person("dev"), east, "", in), apperr.ErrNotFound)
}

// Of two who save at once what they both saw, one is told.
func TestUpdateClusterAtOnce(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	east := st.stored("east", domain.Test).ID.String()
	c, err := st.Get(ctx, st.admin, east)
	must(t, err)
	var wg sync.WaitGroup
	answers := make([]error, 5)
	for i := range answers {
		wg.Go(func() {
			answers[i] = st.Update(ctx, st.admin, east, c.Settings().Version(), cluster.Settings{Weight: 200 + i})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range answers {
		if err == nil {
			won++
		} else {
			wants(t, err, apperr.ErrPrecondition)
		}
	}
	if won != 1 {
		t.Errorf("%d of 5 have won: %v", won, answers)
	}
}

func inTest(clusterID, name string) cluster.Registration {
	return cluster.Registration{ClusterID: clusterID, Name: name, Environment: domain.Test}
}

func long(n int) string {
	text := make([]rune, n)
	for i := range text {
		text[i] = 'ä'
	}
	return string(text)
}

func many(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = "h" + uuid.NewString()
	}
	return list
}

// forgets collects which connections were closed.
func (st *stage) forgets() func() []string {
	var mu sync.Mutex
	var ids []string
	st.Forget = func(id string) { mu.Lock(); defer mu.Unlock(); ids = append(ids, id) }
	return func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(ids) }
}

func TestRemoveCluster(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	forgotten := st.forgets()
	east, west := st.stored("east", domain.Test), st.stored("west", domain.Test)
	id := east.ID.String()
	for _, on := range []*ent.Cluster{east, west} {
		must(t, second(st.RegisterNamespace(ctx, st.admin, inTest(on.ID.String(), "both"))))
	}
	must(t, second(st.RegisterNamespace(ctx, st.admin, inTest(id, "only"))))
	both, only := st.system("a", "both"), st.system("b", "only")
	vm, err := placed(ctx, st.DB.Ent, both, east)
	must(t, err)
	order := st.DB.Ent.DomainEvent.Create().SetType("VM_DELETE").SetAggregateType("vm").SetAggregateID(vm.ID.String()).
		SetPayload([]byte(`{"operation":"DELETE"}`)).SetCreatedBy("dev").SetClusterID(east.ID).SaveX(ctx)
	st.DB.Ent.ClusterEvent.Create().SetClusterID(east.ID).SetKind(clusterevent.KindError).SetProblem(domain.Problem{Code: apperr.ErrClusterTimeout}).ExecX(ctx)
	st.DB.Ent.PendingAdoption.Create().SetClusterID(east.ID).SetNamespace("both").SetName("x").SetUID("u").ExecX(ctx)
	st.DB.Ent.QuarantineFinding.Create().SetClusterID(east.ID).SetGroup("gone").SetNamespace("both").SetName("x").ExecX(ctx)
	st.DB.Ent.ClusterReplacement.Create().SetClusterID(east.ID).SetRequestedByID(uuid.New()).SetRequestedBy("x").SetSealed([]byte("sealed")).
		SetKeyID("k").SetServer("https://x").SetIdentityUID("other").SetExpiresAt(time.Now().Add(time.Hour)).ExecX(ctx)

	wants(t, st.Remove(ctx, st.person("aud", domain.RoleAuditor), id, "east"), apperr.ErrForbidden)
	wants(t, st.Remove(ctx, st.person("dev"), id, "east"), apperr.ErrNotFound)
	wants(t, st.Remove(ctx, st.admin, id, "EAST"), apperr.ErrNameMismatch)

	refused := func(vms, orders int, spaces ...string) {
		t.Helper()
		e := wants(t, st.Remove(ctx, st.admin, id, "east"), apperr.ErrClusterHasVMs)
		names, _ := e.Params["namespaces"].([]string)
		if e.Params["vms"] != vms || e.Params["orders"] != orders || !slices.Equal(names, spaces) {
			t.Errorf("parameters %v", e.Params)
		}
		h, err := st.Holds(ctx, st.admin, id)
		if err != nil || h.VMs != vms || h.Orders != orders || !slices.Equal(h.Namespaces, spaces) {
			t.Errorf("holds %+v, %v", h, err)
		}
	}
	refused(1, 1, "only")
	vm.Update().SetDeletedAt(time.Now()).ExecX(ctx)
	refused(0, 1, "only")
	order.Update().SetStatus("COMPLETED").ExecX(ctx)
	refused(0, 0, "only")
	if st.row(id).RemovedAt != nil || len(forgotten()) != 0 || len(st.row(id).EncryptedKubeconfig) == 0 {
		t.Fatal("a refused removal has done something")
	}
	st.DB.Ent.System.DeleteOne(only).ExecX(ctx)

	st.sql(`UPDATE clusters SET watcher = 'me', watch_until = now() + interval '1 minute'`)
	must(t, st.Remove(ctx, st.admin, id, "east"))
	row := st.row(id)
	if row.RemovedAt == nil || row.Enabled || len(row.EncryptedKubeconfig) != 0 || row.CredentialGeneration != east.CredentialGeneration+1 || row.Watcher != "" {
		t.Errorf("what is left: %+v", row)
	}
	if got := forgotten(); !slices.Equal(got, []string{id}) {
		t.Errorf("connections closed: %v", got)
	}
	// It is nowhere any more.
	wants(t, second(st.Get(ctx, st.admin, id)), apperr.ErrNotFound)
	wants(t, st.Check(ctx, id), apperr.ErrNotFound)
	wants(t, st.Remove(ctx, st.admin, id, "east"), apperr.ErrNotFound)
	wants(t, st.Update(ctx, st.admin, id, "", cluster.Settings{}), apperr.ErrNotFound)
	wants(t, st.SetEnabled(ctx, st.admin, id, true), apperr.ErrNotFound)
	wants(t, second(st.RegisterNamespace(ctx, st.admin, inTest(id, "new"))), apperr.ErrInvalidChoice)
	creds := &cluster.Credentials{DB: st.DB, Keys: st.Keys}
	if _, _, err := creds.Credential(ctx, id); apperr.CodeOf(err) != apperr.ErrNotFound {
		t.Errorf("the credential: %v", err)
	}
	list, err := st.List(ctx, st.admin, cluster.Page{})
	must(t, err)
	worst, err := st.Worst(ctx, st.admin, cluster.Filter{}, cluster.Page{})
	must(t, err)
	candidates, err := st.Candidates(ctx, cluster.Want{Namespace: "both", Environment: domain.Test})
	must(t, err)
	if len(list.Items) != 1 || len(worst.Items) != 1 || len(candidates) != 1 || candidates[0].Name != "west" {
		t.Errorf("lists: %v %v %v", list.Items, worst.Items, candidates)
	}
	if n := st.DB.Ent.Namespace.Query().Where(namespace.ClusterID(east.ID)).CountX(ctx); n != 0 {
		t.Errorf("%d namespaces are registered", n)
	}
	if a, f, r := st.DB.Ent.PendingAdoption.Query().CountX(ctx), st.DB.Ent.QuarantineFinding.Query().CountX(ctx), st.DB.Ent.ClusterReplacement.Query().CountX(ctx); a+f+r != 0 {
		t.Errorf("left: %d adoptions, %d findings, %d replacements", a, f, r)
	}
	// What happened stays, and the deleted VM still says where it was.
	if n := st.DB.Ent.ClusterEvent.Query().Where(clusterevent.ClusterID(east.ID)).CountX(ctx); n == 0 {
		t.Error("the history is gone")
	}
	if n := len(st.audited("cluster.delete")); n != 1 {
		t.Errorf("%d records", n)
	}
	if n := len(st.audited("namespace.unregister")); n != 2 {
		t.Errorf("%d namespaces on record", n)
	}
	if name := vm.QueryCluster().OnlyX(ctx).Name; name != "east" {
		t.Errorf("the VM was on %q", name)
	}
	// Name and identity are free.
	again := st.stored("east", domain.Prod)
	if again.ID == east.ID {
		t.Error("the same row")
	}
}

// A VM that is being placed keeps its cluster from being removed, and a cluster
// that is being removed gets no VM.
func TestRemoveWhilePlacing(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	east := st.stored("east", domain.Test)
	st.sql(`UPDATE clusters SET status = 'HEALTHY'`)
	must(t, second(st.RegisterNamespace(ctx, st.admin, inTest(east.ID.String(), "shop"))))
	sys := st.system("a", "shop")
	answer := make(chan error, 1)
	must(t, st.DB.InTx(ctx, func(tx *ent.Tx) error {
		if _, err := cluster.Place(ctx, tx, east.ID.String(), cluster.Want{Namespace: "shop", Environment: domain.Test}); err != nil {
			return err
		}
		go func() { answer <- st.Remove(ctx, st.admin, east.ID.String(), "east") }()
		time.Sleep(100 * time.Millisecond)
		if err := second(placed(ctx, tx.Client(), sys, east)); err != nil {
			return err
		}
		return tx.Cluster.UpdateOneID(east.ID).AddVMCount(1).Exec(ctx) // as the counters do
	}))
	if e := wants(t, <-answer, apperr.ErrClusterHasVMs); e.Params["vms"] != 1 {
		t.Errorf("parameters %v", e.Params)
	}
}

// Fifty times added and removed, nothing is left that could be used.
func TestAddAndRemoveFiftyTimes(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	forgotten := st.forgets()
	before := 0
	for i := range 50 {
		st.admin = st.person(fmt.Sprintf("root-%d", i), domain.RoleAdmin) // one alone may not upload so often
		draft := st.upload()
		must(t, second(st.Preflight(ctx, st.admin, draft, "main")))
		id, err := st.Add(ctx, st.admin, draft, cluster.Input{Context: "main", Name: "east", Environment: domain.Test})
		must(t, err)
		must(t, second(st.RegisterNamespace(ctx, st.admin, inTest(id, "shop"))))
		must(t, st.Remove(ctx, st.admin, id, "east"))
		if i == 4 {
			runtime.GC()
			before = runtime.NumGoroutine()
		}
	}
	if n := st.DB.Ent.Cluster.Query().Where(entcluster.RemovedAtIsNil()).CountX(ctx); n != 0 {
		t.Errorf("%d clusters", n)
	}
	if n := st.DB.Ent.Cluster.Query().Where(entcluster.EncryptedKubeconfigNEQ([]byte{})).CountX(ctx); n != 0 {
		t.Errorf("%d credentials", n)
	}
	if a, b := st.DB.Ent.Namespace.Query().CountX(ctx), st.DB.Ent.ClusterDraft.Query().CountX(ctx); a+b != 0 {
		t.Errorf("%d namespaces, %d drafts", a, b)
	}
	if n := len(forgotten()); n != 50 {
		t.Errorf("connections were closed %d times", n)
	}
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}

func TestModes(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	forgotten := st.forgets()
	id := st.stored("east", domain.Test).ID.String()
	must(t, st.SetDrained(ctx, st.admin, id, true))
	must(t, st.SetDrained(ctx, st.admin, id, true))
	must(t, st.SetEnabled(ctx, st.admin, id, false))
	if got := forgotten(); !slices.Equal(got, []string{id}) {
		t.Errorf("connections closed: %v", got)
	}
	must(t, st.SetEnabled(ctx, st.admin, id, true))
	must(t, st.SetDrained(ctx, st.admin, id, false))
	for _, action := range []string{"drain", "disable", "enable", "undrain"} {
		if n := len(st.audited("cluster." + action)); n != 1 {
			t.Errorf("%s: %d records", action, n)
		}
	}
	h, err := st.Events(ctx, st.admin, id, []domain.ClusterEventKind{domain.AboutMode}, cluster.Page{Limit: 3})
	must(t, err)
	rest, err := st.Events(ctx, st.admin, id, []domain.ClusterEventKind{domain.AboutMode}, cluster.Page{After: h.Next})
	must(t, err)
	var got []string
	for _, e := range append(h.Items, rest.Items...) {
		got = append(got, e.After)
	}
	if want := []string{"drained=false", "enabled=true", "enabled=false", "drained=true"}; !slices.Equal(got, want) {
		t.Errorf("timeline %v", got)
	}
}
