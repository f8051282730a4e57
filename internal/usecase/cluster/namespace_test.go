package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

func TestRegisterNamespace(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east, east2 := st.stored("east", domain.Test).ID.String(), st.stored("east-2", domain.Test).ID.String()
	west := st.stored("west", domain.Prod).ID.String()
	heard := st.heard()
	for _, on := range []string{east, east2} {
		must(t, second(st.RegisterNamespace(ctx, st.admin, cluster.Registration{ClusterID: on, Name: "shop", Environment: domain.Test})))
	}
	for name, c := range map[string]struct {
		cluster, name string
		env           domain.Environment
		code, field   string
	}{
		"again":                      {east, "shop", domain.Test, apperr.ErrNamespaceRegistered, "name"},
		"not the cluster's":          {east, "other", domain.Prod, apperr.ErrEnvironmentMismatch, "environment"},
		"another on another cluster": {west, "shop", domain.Prod, apperr.ErrEnvironmentMismatch, "environment"},
		"no name":                    {east, "", domain.Test, apperr.ErrRequired, "name"},
		"Kubernetes' own":            {east, "kube-public", domain.Test, apperr.ErrNamespaceSystem, "name"},
		"KubeVirt's own":             {east, "kubevirt", domain.Test, apperr.ErrNamespaceSystem, "name"},
		"the default":                {east, "default", domain.Test, apperr.ErrNamespaceSystem, "name"},
		"bad name":                   {east, "Shop", domain.Test, apperr.ErrInvalidName, "name"},
		"bad environment":            {east, "a", "staging", apperr.ErrInvalidChoice, "environment"},
		"no cluster":                 {"", "a", domain.Test, apperr.ErrInvalidChoice, "cluster"},
		"unknown cluster":            {uuid.NewString(), "a", domain.Test, apperr.ErrInvalidChoice, "cluster"},
	} {
		_, err := st.RegisterNamespace(ctx, st.admin, cluster.Registration{ClusterID: c.cluster, Name: c.name, Environment: c.env})
		if e := wants(t, err, c.code); e.Field() != c.field {
			t.Errorf("%s: field %q", name, e.Field())
		}
	}
	if n := len(st.audited("namespace.register")); n != 2 {
		t.Errorf("%d records", n)
	}
	if got := heard(); len(got) != 2 || got[0] != "clusters cluster-"+east {
		t.Errorf("announced %q", got)
	}
}

// One name gets one environment, also when two admins register it at once.
func TestRegisterNamespaceAtOnce(t *testing.T) {
	st := newStage(t)
	ids := map[domain.Environment]string{
		domain.Test: st.stored("east", domain.Test).ID.String(), domain.Prod: st.stored("west", domain.Prod).ID.String(),
	}
	for i := range 10 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[string]int{}
		for env, id := range ids {
			wg.Go(func() {
				_, err := st.RegisterNamespace(t.Context(), st.admin, cluster.Registration{ClusterID: id, Name: fmt.Sprintf("ns-%d", i), Environment: env})
				mu.Lock()
				defer mu.Unlock()
				codes[codeOf(err)]++
			})
		}
		wg.Wait()
		if codes[""] != 1 || codes[apperr.ErrEnvironmentMismatch] != 1 {
			t.Fatalf("answers %v", codes)
		}
	}
}

func (st *stage) system(name, ns string) *ent.System {
	return st.DB.Ent.System.Create().SetName(name).SetNamespace(ns).SetCreatedBy("root").SaveX(st.t.Context())
}

// placed makes a VM of a system with c, which may be a transaction's client.
func placed(ctx context.Context, c *ent.Client, sys *ent.System, on *ent.Cluster) (*ent.VM, error) {
	svc, err := c.Service.Create().SetName("web").SetSystemID(sys.ID).SetNamespace(sys.Namespace).SetVMPrefix("a-web").
		SetCreatedBy("root").Save(ctx)
	if err != nil {
		return nil, err
	}
	return c.VM.Create().SetServiceID(svc.ID).SetSystemID(sys.ID).SetClusterID(on.ID).SetName("a-web-01").SetNamespace(sys.Namespace).
		SetInstance(1).SetEnvironment("test").SetCreatedBy("root").SetTicketID(1).SetTemplate("ubuntu").SetTemplateVersion(1).
		SetSize("s").SetCPU(1).SetMemoryMib(1024).SetDiskGib(10).Save(ctx)
}

func TestUnregisterNamespace(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east, east2 := st.stored("east", domain.Test), st.stored("east-2", domain.Test)
	here, there := st.register(east, "shop"), st.register(east2, "shop")
	sys := st.system("a", "shop")
	vm, err := placed(ctx, st.DB.Ent, sys, east)
	must(t, err)
	refused := func(id string, vms, systems int) {
		t.Helper()
		e := wants(t, st.UnregisterNamespace(ctx, st.admin, id), apperr.ErrNamespaceInUse)
		if e.Params["vms"] != vms || e.Params["systems"] != systems {
			t.Errorf("parameters %v", e.Params)
		}
	}
	refused(here, 1, 0)                                   // the VM lives here
	must(t, st.UnregisterNamespace(ctx, st.admin, there)) // nothing there, and the name is left
	refused(here, 1, 1)
	vm.Update().SetDeletedAt(time.Now()).ExecX(ctx)
	refused(here, 0, 1) // the system's only place
	there = st.register(east2, "shop")
	must(t, st.UnregisterNamespace(ctx, st.admin, here))
	refused(there, 0, 1)
	st.sql(`DELETE FROM vms`)
	st.sql(`DELETE FROM services`)
	st.sql(`DELETE FROM systems`)
	must(t, st.UnregisterNamespace(ctx, st.admin, there))
	wants(t, st.UnregisterNamespace(ctx, st.admin, there), apperr.ErrNotFound)
	if n := len(st.audited("namespace.unregister")); n != 3 {
		t.Errorf("%d records", n)
	}
}

// Of the last two places of a system one is left, also at once.
func TestUnregisterNamespaceAtOnce(t *testing.T) {
	st := newStage(t)
	var ids []string
	for _, name := range []string{"east", "east-2"} {
		ids = append(ids, st.register(st.stored(name, domain.Test), "shop"))
	}
	st.system("a", "shop")
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() { errs[i] = st.UnregisterNamespace(t.Context(), st.admin, id) })
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || st.DB.Ent.Namespace.Query().CountX(t.Context()) != 1 {
		t.Errorf("answers %v", errs)
	}
}

func TestCandidates(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east := st.stored("east", domain.Test)
	for name, change := range map[string]string{
		"a-other-env":  `environment = 'prod'`,
		"b-no-ns":      `status = 'HEALTHY'`,
		"c-disabled":   `status = 'HEALTHY', enabled = false`,
		"d-silent":     `status = 'UNREACHABLE', status_reason = '{"code":"CLUSTER_TIMEOUT"}'`,
		"e-new":        `status = 'UNKNOWN'`,
		"f-impostor":   `status = 'UNHEALTHY', status_reason = '{"code":"CLUSTER_IDENTITY_CHANGED"}'`,
		"g-kubevirt":   `status = 'UNHEALTHY', status_reason = '{"code":"KUBEVIRT_MISSING"}'`,
		"h-odd-reason": `status = 'UNHEALTHY', status_reason = '{"code":"NOBODY_KNOWS"}'`,
	} {
		c := st.stored(name, domain.Test)
		st.sql(`UPDATE clusters SET `+change+` WHERE id = $1`, c.ID)
		if name != "b-no-ns" {
			st.DB.Ent.Namespace.Create().SetClusterID(c.ID).SetName("shop").SetEnvironment("test").SetCreatedBy("root").SaveX(ctx)
		}
	}
	st.sql(`UPDATE clusters SET status = 'HEALTHY', kubevirt_version = 'v1.9.0' WHERE id = $1`, east.ID)
	st.register(east, "shop")
	gone := st.stored("i-gone", domain.Test)
	st.register(gone, "shop")
	st.sql(`UPDATE clusters SET status = 'HEALTHY' WHERE id = $1`, gone.ID)
	st.sql(`UPDATE namespaces SET presence = 'missing' WHERE cluster_id = $1`, gone.ID)

	list, err := st.Candidates(ctx, "shop", domain.Test)
	must(t, err)
	var got []string
	for _, c := range list {
		code := "ok"
		if c.Refusal != nil {
			if code = c.Refusal.Code; c.Refusal.Params["cluster"] != c.Name {
				t.Errorf("%s: parameters %v", c.Name, c.Refusal.Params)
			}
		}
		got = append(got, c.Name+" "+code)
		if code == apperr.ErrNamespaceMissing && (c.Refusal.Params["presence"] != nil) != (c.Name == "i-gone") {
			t.Errorf("%s: not registered and gone are not told apart: %v", c.Name, c.Refusal.Params)
		}

		// The word inside a transaction is the same.
		err := st.DB.InTx(ctx, func(tx *ent.Tx) error { return second(cluster.Place(ctx, tx, c.ID, "shop", domain.Test)) })
		if want := strings.TrimPrefix(code, "ok"); codeOf(err) != want {
			t.Errorf("%s: placing says %v, want %q", c.Name, err, want)
		}
	}
	want := []string{
		"east ok", "a-other-env ENVIRONMENT_MISMATCH", "b-no-ns NAMESPACE_MISSING", "c-disabled CLUSTER_DISABLED", "d-silent CLUSTER_TIMEOUT",
		"e-new CLUSTER_UNREACHABLE", "f-impostor CLUSTER_IDENTITY_CHANGED", "g-kubevirt KUBEVIRT_MISSING", "h-odd-reason CLUSTER_DEGRADED",
		"i-gone NAMESPACE_MISSING",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// A namespace cannot be taken away under a VM that is being placed there.
func TestPlaceHoldsTheNamespace(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east := st.stored("east", domain.Test)
	st.sql(`UPDATE clusters SET status = 'HEALTHY'`)
	ns := st.register(east, "shop")
	sys := st.system("a", "shop")
	answer := make(chan error, 1)
	must(t, st.DB.InTx(ctx, func(tx *ent.Tx) error {
		if _, err := cluster.Place(ctx, tx, east.ID.String(), "shop", domain.Test); err != nil {
			return err
		}
		go func() { answer <- st.UnregisterNamespace(ctx, st.admin, ns) }()
		time.Sleep(100 * time.Millisecond)
		return second(placed(ctx, tx.Client(), sys, east))
	}))
	if e := wants(t, <-answer, apperr.ErrNamespaceInUse); e.Params["vms"] != 1 {
		t.Errorf("parameters %v", e.Params)
	}
}
