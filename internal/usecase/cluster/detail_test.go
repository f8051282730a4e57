package cluster_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// The worst come first on all pages together, however they are cut.
func TestWorst(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	for name, set := range map[string]string{
		"a-fine": `status = 'HEALTHY'`, "b-gone": `status = 'UNREACHABLE'`, "c-ill": `status = 'UNHEALTHY'`, "d-new": `status = 'UNKNOWN'`,
		"e-fine": `status = 'HEALTHY'`, "f-gone": `status = 'UNREACHABLE'`, "g-back": `status = 'HEALTHY', quarantined_at = now()`,
		"h-off": `status = 'UNREACHABLE', enabled = false`, "i-gone": `status = 'UNREACHABLE', environment = 'prod', place = 'Berlin'`,
	} {
		c := st.stored(name, domain.Test)
		st.sql(`UPDATE clusters SET `+set+` WHERE id = $1`, c.ID)
	}
	names := func(a domain.Actor, f cluster.Filter, size int) string {
		t.Helper()
		var all []string
		page := cluster.Page{Limit: size}
		for range 20 {
			list, err := st.Worst(ctx, a, f, page)
			must(t, err)
			for _, c := range list.Items {
				all = append(all, c.Name)
			}
			if page.After = list.Next; page.After == "" {
				return strings.Join(all, " ")
			}
		}
		t.Fatal("the list has no end")
		return ""
	}
	want := "g-back b-gone f-gone i-gone c-ill d-new a-fine e-fine h-off"
	for size := 1; size <= 10; size++ {
		if got := names(st.admin, cluster.Filter{}, size); got != want {
			t.Errorf("pages of %d: %s", size, got)
		}
	}
	for f, want := range map[cluster.Filter]string{
		{Status: domain.ClusterUnreachable}:         "b-gone f-gone i-gone h-off",
		{Environment: domain.Prod}:                  "i-gone",
		{Query: "GONE"}:                             "b-gone f-gone i-gone",
		{Query: "berl"}:                             "i-gone",
		{Query: "%"}:                                "",
		{Status: domain.ClusterHealthy, Query: "e"}: "a-fine e-fine",
		{Environment: domain.Test, Status: domain.ClusterUnreachable}: "b-gone f-gone h-off",
	} {
		if f.Query == "e" {
			want = "a-fine e-fine"
			f.Query = "fine"
		}
		if got := names(st.admin, f, 2); got != want {
			t.Errorf("%+v: %s", f, got)
		}
	}
	prod := domain.Actor{UserID: st.admin.UserID, Bindings: []domain.Binding{{Role: domain.RoleApprover, Environment: domain.Prod}}}
	if got := names(prod, cluster.Filter{}, 2); got != "i-gone" {
		t.Errorf("an approver of prod: %s", got)
	}
	for _, bad := range []string{"x", "9/a", "/", "0/", "0/\x00"} {
		if err := second(st.Worst(ctx, st.admin, cluster.Filter{}, cluster.Page{After: bad})); err == nil {
			t.Errorf("cursor %q", bad)
		}
	}
	for _, f := range []cluster.Filter{{Status: "GOOD"}, {Environment: "stage"}} {
		if err := second(st.Worst(ctx, st.admin, f, cluster.Page{})); err == nil {
			t.Errorf("filter %+v", f)
		}
	}
}

// event puts a line into a cluster's timeline, as it was some time ago.
func (st *stage) event(c *ent.Cluster, ago time.Duration, kind clusterevent.Kind, before, after, code string) {
	st.t.Helper()
	at := time.Now().Add(-ago)
	id := uuid.Must(uuid.NewV7())
	ms := at.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	st.DB.Ent.ClusterEvent.Create().SetID(id).SetCreatedAt(at).SetClusterID(c.ID).SetKind(kind).SetBefore(before).SetAfter(after).
		SetProblem(domain.Problem{Code: code}).ExecX(st.t.Context())
}

func TestHealthSpans(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	east := st.stored("east", domain.Test)
	st.sql(`UPDATE clusters SET created_at = now() - interval '30 days', status = 'HEALTHY'`)
	tell := func(since time.Duration) string {
		t.Helper()
		now := time.Now()
		list, err := st.Health(ctx, st.admin, east.ID.String(), now.Add(-since), now)
		must(t, err)
		var parts []string
		for i, s := range list {
			if i > 0 && !list[i-1].To.Equal(s.From) {
				t.Errorf("a gap: %v", list)
			}
			text := fmt.Sprintf("%s %.0fh", s.Status, s.To.Sub(s.From).Hours())
			if s.Off {
				text = fmt.Sprintf("off %.0fh", s.To.Sub(s.From).Hours())
			}
			if s.Problem.Code != "" {
				text += " " + s.Problem.Code
			}
			parts = append(parts, text)
		}
		return strings.Join(parts, ", ")
	}
	if got := tell(24 * time.Hour); got != "HEALTHY 24h" {
		t.Errorf("without a change: %s", got)
	}
	st.event(east, 30*time.Hour, clusterevent.KindStatus, "UNKNOWN", "UNHEALTHY", apperr.ErrKubeVirtNotReady)
	st.event(east, 10*time.Hour, clusterevent.KindStatus, "UNHEALTHY", "UNREACHABLE", apperr.ErrClusterTimeout)
	st.event(east, 9*time.Hour, clusterevent.KindError, "", "", apperr.ErrClusterTimeout)
	st.event(east, 8*time.Hour, clusterevent.KindMode, "enabled=true", "enabled=false", "")
	st.event(east, 7*time.Hour, clusterevent.KindMode, "weight=1", "weight=2", "")
	st.event(east, 4*time.Hour, clusterevent.KindMode, "enabled=false", "enabled=true", "")
	st.event(east, 3*time.Hour, clusterevent.KindStatus, "UNREACHABLE", "HEALTHY", "")
	if got, want := tell(24*time.Hour), "UNHEALTHY 14h, UNREACHABLE 2h CLUSTER_TIMEOUT, off 4h CLUSTER_TIMEOUT, UNREACHABLE 1h CLUSTER_TIMEOUT, HEALTHY 3h"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := tell(40*time.Hour), "UNKNOWN 10h, UNHEALTHY 20h KUBEVIRT_NOT_READY, "; !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s…", got, want)
	}
	st.sql(`UPDATE clusters SET created_at = now() - interval '5 hours'`)
	if got := tell(24 * time.Hour); !strings.HasSuffix(got, "HEALTHY 3h") || strings.Contains(got, "14h") {
		t.Errorf("before it was added: %s", got)
	}
	wants(t, second(st.Health(ctx, st.person("dev"), east.ID.String(), time.Now(), time.Now())), apperr.ErrNotFound)
}

func TestOrders(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	east := st.stored("east", domain.Test)
	sys := st.system("a", "shop")
	vm, err := placed(ctx, st.DB.Ent, sys, east)
	must(t, err)
	order := func(status, vmID string) {
		st.DB.Ent.DomainEvent.Create().SetType("VM_POWER").SetAggregateType("vm").SetAggregateID(vmID).SetPayload([]byte(`{"operation":"STOP"}`)).
			SetCreatedBy("dev").SetClusterID(east.ID).SetTicketID(7).SetStatus("PENDING").ExecX(ctx)
		st.sql(`UPDATE domain_events SET status = $1 WHERE status = 'PENDING' AND aggregate_id = $2`, status, vmID)
	}
	order("COMPLETED", vm.ID.String())
	order("PROCESSING", vm.ID.String())
	order("PENDING", uuid.NewString())
	order("PENDING", vm.ID.String())
	first, err := st.Orders(ctx, st.admin, east.ID.String(), cluster.Page{Limit: 2})
	must(t, err)
	if len(first.Items) != 2 || !first.Items[0].Working || first.Items[0].VM != "a-web-01" || first.Items[0].Operation != domain.OpStop || first.Items[0].Ticket != 7 {
		t.Errorf("the first page: %+v", first.Items)
	}
	if o := first.Items[1]; o.VM != "" || o.VMID != "" || o.Ticket != 0 || o.CreatedBy != "" {
		t.Errorf("a VM that nobody may see: %+v", o)
	}
	rest, err := st.Orders(ctx, st.admin, east.ID.String(), cluster.Page{Limit: 2, After: first.Next})
	must(t, err)
	if len(rest.Items) != 1 || rest.Next != "" {
		t.Errorf("the second page: %+v", rest)
	}
	counts, err := st.Waiting(ctx, st.admin, east.ID.String(), "no id")
	if err != nil || counts[east.ID.String()] != 3 {
		t.Errorf("counted %v, %v", counts, err)
	}
	wants(t, second(st.Orders(ctx, st.person("dev"), east.ID.String(), cluster.Page{})), apperr.ErrNotFound)

	// Neither needs to read the orders of other clusters, or finished ones.
	st.sql(`INSERT INTO domain_events (id, created_at, updated_at, type, aggregate_type, aggregate_id, payload, created_by, cluster_id, status, attempts, fence, step, needs_attention)
		SELECT gen_random_uuid(), now(), now(), 'VM_POWER', 'vm', 'x', '{}', 'x', gen_random_uuid(), CASE WHEN n % 50 = 0 THEN 'PENDING' ELSE 'COMPLETED' END, 0, 0, 'RESERVED', false FROM generate_series(1, 20000) n`)
	st.sql(`INSERT INTO cluster_events (id, created_at, kind, count, last_at, cluster_id) SELECT gen_random_uuid(), now(), 'error', 1, now(), $1 FROM generate_series(1, 5000)`, st.stored("west", domain.Test).ID)
	st.sql(`ANALYZE domain_events`)
	st.sql(`ANALYZE cluster_events`)
	for index, query := range map[string]string{
		"domainevent_cluster_id_id":       `SELECT * FROM domain_events WHERE cluster_id = '` + east.ID.String() + `' AND (status = 'PENDING' OR status = 'PROCESSING') ORDER BY id LIMIT 6`,
		"clusterevent_cluster_id_kind_id": `SELECT * FROM cluster_events WHERE cluster_id = '` + east.ID.String() + `' AND kind = 'error' ORDER BY id DESC LIMIT 6`,
	} {
		rows, err := st.DB.Pool.Query(ctx, `EXPLAIN `+query)
		must(t, err)
		var plan []string
		for rows.Next() {
			var line string
			must(t, rows.Scan(&line))
			plan = append(plan, line)
		}
		rows.Close()
		if !strings.Contains(strings.Join(plan, "\n"), index) {
			t.Errorf("%s is not used:\n%s", index, strings.Join(plan, "\n"))
		}
	}
}

func TestLastKnown(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	var off *ent.Cluster
	for name, set := range map[string]string{
		"fresh": `status = 'HEALTHY', heard_at = now() - interval '1 minute', answered_at = now()`,
		"deaf":  `status = 'HEALTHY', heard_at = now() - interval '3 minutes', answered_at = now()`,
		"gone":  `status = 'UNREACHABLE', heard_at = now(), answered_at = now() - interval '1 hour'`,
		"off":   `status = 'HEALTHY', heard_at = now(), enabled = false`,
		"never": `status = 'UNREACHABLE'`,
		"new":   `status = 'UNKNOWN'`,
		"old":   `status = 'UNREACHABLE', removed_at = now(), enabled = false`,
	} {
		c := st.stored(name, domain.Test)
		st.sql(`UPDATE clusters SET vm_count = 1, `+set+` WHERE id = $1`, c.ID)
		if name == "off" {
			off = c
		}
	}
	all, err := st.LastKnown(ctx)
	must(t, err)
	got := map[string]cluster.Stale{}
	for _, c := range all {
		got[c.Cluster] = c
	}
	if len(got) != 4 || !got["off"].Off || got["deaf"].Off || !got["never"].Since.IsZero() || time.Since(got["deaf"].Since) < 2*time.Minute {
		t.Errorf("stale: %+v", got)
	}
	count := func(a domain.Actor, system string) int {
		t.Helper()
		ids, err := st.Affected(ctx, a, all, system)
		must(t, err)
		return len(slices.Compact(slices.Sorted(slices.Values(ids))))
	}
	sys := st.system("a", "shop")
	must(t, second(placed(ctx, st.DB.Ent, sys, off)))
	member := domain.Actor{UserID: uuid.NewString(), Bindings: []domain.Binding{{Role: domain.RoleViewer, SystemID: sys.ID.String()}}}
	if a, m, n, in := count(st.admin, ""), count(member, ""), count(domain.Actor{UserID: uuid.NewString()}, ""), count(st.admin, sys.ID.String()); a != 4 || m != 1 || n != 0 || in != 1 {
		t.Errorf("an admin is told of %d, a member of %d, a stranger of %d; in the system %d", a, m, n, in)
	}
}

func TestNeeds(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	for name, set := range map[string]string{
		"both":   `enabled_features = '["GPU","Snapshot"]', hardware = '["gpu.example.com/a100"]'`,
		"gpu":    `enabled_features = '["GPU"]'`,
		"plain":  `kubevirt_version = 'v1.1.0'`,
		"drain":  `drained = true, enabled_features = '["GPU"]', hardware = '["gpu.example.com/a100"]'`,
		"closed": `quarantined_at = now(), enabled_features = '["GPU"]', hardware = '["gpu.example.com/a100"]'`,
	} {
		c := st.stored(name, domain.Test)
		st.sql(`UPDATE clusters SET status = 'HEALTHY', kubevirt_version = 'v1.9.0', `+strings.Replace(set, "kubevirt_version", "kubernetes_version", 1)+` WHERE id = $1`, c.ID)
		st.DB.Ent.Namespace.Create().SetClusterID(c.ID).SetName("shop").SetEnvironment("test").SetCreatedBy("root").ExecX(ctx)
	}
	want := cluster.Want{Namespace: "shop", Environment: domain.Test, Needs: domain.Requirements{Features: []string{"GPU"}, Hardware: []string{"gpu.example.com/a100"}}}
	list, err := st.Candidates(ctx, want)
	must(t, err)
	var got []string
	for _, c := range list {
		text := c.Name
		if c.Refusal != nil {
			text += fmt.Sprintf(" %s %v %v %v", c.Refusal.Code, c.Refusal.Params["features"], c.Refusal.Params["hardware"], c.Refusal.Params["version"])
		}
		got = append(got, text)
		err := st.DB.InTx(ctx, func(tx *ent.Tx) error { return second(cluster.Place(ctx, tx, c.ID, want)) })
		if (err == nil) != (c.Refusal == nil) {
			t.Errorf("%s: placing says %v", c.Name, err)
		}
	}
	wanted := []string{
		"both", "closed CLUSTER_QUARANTINED <nil> <nil> <nil>", "drain CLUSTER_DRAINED <nil> <nil> <nil>",
		"gpu CLUSTER_INCOMPATIBLE <nil> [gpu.example.com/a100] <nil>", "plain CLUSTER_INCOMPATIBLE [GPU] [gpu.example.com/a100] v1.9.0",
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("got  %q\nwant %q", got, wanted)
	}
	fits, of, err := cluster.Fits(ctx, st.DB.Ent, []cluster.Want{want, {Namespace: "shop", Environment: domain.Test}})
	if err != nil || of != 5 || !slices.Equal(fits, []int{1, 3}) {
		t.Errorf("fits %v of %d, %v", fits, of, err)
	}
	if a := list[4].Anonymous(); a.Name != "" || a.Refusal.Params["cluster"] != nil || a.Refusal.Params["features"] == nil {
		t.Errorf("anonymous: %+v %v", a, a.Refusal.Params)
	}
}

func TestPropose(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	sys := st.system("a", "shop")
	type is struct {
		name                       string
		weight, memory, asked, vms int // MiB
	}
	for name, c := range map[string]struct {
		clusters []is
		need     int
		want     string // proposed, with what is left
	}{
		"more free":                       {[]is{{"a", 100, 1000, 600, 0}, {"b", 100, 1000, 200, 0}}, 0, "b 80"},
		"weight makes up for it":          {[]is{{"a", 300, 1000, 600, 0}, {"b", 100, 1000, 200, 0}}, 0, "a 40"},
		"not known counts as free":        {[]is{{"a", 100, 0, 600, 0}, {"b", 100, 1000, 1, 0}}, 0, "a -1"},
		"what is asked for counts":        {[]is{{"a", 100, 1000, 1, 0}, {"b", 90, 10000, 1, 0}}, 500, "b 94"},
		"alike: the fewest VMs":           {[]is{{"a", 100, 0, 0, 3}, {"b", 100, 0, 0, 2}}, 0, "b -1"},
		"alike: the first name":           {[]is{{"b", 100, 0, 0, 2}, {"a", 100, 0, 0, 2}}, 0, "a -1"},
		"0 is never proposed":             {[]is{{"a", 0, 1000, 1, 0}, {"b", 1, 1000, 900, 0}}, 0, "b 10"},
		"nothing but 0":                   {[]is{{"a", 0, 1000, 1, 0}}, 0, ""},
		"more is asked for than there is": {[]is{{"a", 100, 1000, 5000, 9}, {"b", 50, 1000, 2000, 1}}, 0, "b 0"},
	} {
		t.Run(name, func(t *testing.T) {
			st.sql(`DELETE FROM vms`)
			st.sql(`DELETE FROM services`)
			st.sql(`DELETE FROM namespaces`)
			st.sql(`DELETE FROM clusters`)
			svc := st.DB.Ent.Service.Create().SetName("web").SetSystemID(sys.ID).SetNamespace("shop").SetVMPrefix("a-web").SetCreatedBy("root").SaveX(ctx)
			for i, x := range c.clusters {
				on := st.stored(x.name, domain.Test)
				st.sql(`UPDATE clusters SET status = 'HEALTHY', weight = $2, allocatable_memory_mib = $3, vm_count = $4 WHERE id = $1`, on.ID, x.weight, x.memory, x.vms)
				st.DB.Ent.Namespace.Create().SetClusterID(on.ID).SetName("shop").SetEnvironment("test").SetCreatedBy("root").ExecX(ctx)
				if x.asked > 0 {
					st.DB.Ent.VM.Create().SetServiceID(svc.ID).SetSystemID(sys.ID).SetClusterID(on.ID).SetName(fmt.Sprintf("a-web-%02d", i)).SetNamespace("shop").
						SetInstance(i + 1).SetEnvironment("test").SetCreatedBy("root").SetTicketID(1).SetTemplate("u").SetTemplateVersion(1).SetSize("s").
						SetCPU(1).SetMemoryMib(x.asked).SetDiskGib(1).SetState([]entvm.State{entvm.StateRunning, entvm.StateStopped}[i%2]).ExecX(ctx)
				}
			}
			list, err := st.Candidates(ctx, cluster.Want{Namespace: "shop", Environment: domain.Test})
			must(t, err)
			must(t, cluster.Propose(ctx, st.DB.Ent, list, c.need))
			got := ""
			for i, x := range list {
				if x.Proposed {
					got += fmt.Sprintf("%s %d", x.Name, x.Free)
					if i != 0 {
						t.Errorf("it is no. %d", i)
					}
				}
			}
			if got != c.want || len(list) != len(c.clusters) {
				t.Errorf("proposed %q, want %q: %+v", got, c.want, list)
			}
		})
	}
}
