package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// namespaceRow is the only registered namespace of a name.
func (st *stage) namespaceRow(id string) *ent.Namespace {
	st.t.Helper()
	return st.DB.Ent.Namespace.GetX(st.t.Context(), uuid.MustParse(id))
}

var memoryQuota = domain.Quota{Name: "team", Resource: "requests.memory", Hard: "8Gi", Used: "3Gi", Kind: domain.QuotaMemory, HardValue: 8192, UsedValue: 3072}

// What the cluster says decides whether a namespace is registered.
func TestRegisterAsksTheCluster(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east := st.stored("east", domain.Test)
	var state domain.NamespaceState
	var fault error
	st.play.spaces = func(ctx context.Context, asked, name string) (domain.NamespaceState, error) {
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > 5*time.Second || asked != east.ID.String() || name != "shop" {
			t.Errorf("asked %s for %s until %v", asked, name, end)
		}
		return state, fault
	}
	try := func(r cluster.Registration) (string, error) { return st.RegisterNamespace(ctx, st.admin, r) }
	plain := inTest(east.ID.String(), "shop")
	unseen := plain
	unseen.Unseen = true

	state = domain.NamespaceState{Presence: domain.PresenceMissing, MayCreate: true}
	for _, r := range []cluster.Registration{plain, unseen} {
		if e := wants(t, second(try(r)), apperr.ErrNamespaceMissing); e.Field() != "name" || e.Params["creatable"] != true || e.Params["cluster"] != "east" {
			t.Errorf("missing: %v", e)
		}
	}
	state = domain.NamespaceState{Presence: domain.PresenceTerminating}
	wants(t, second(try(unseen)), apperr.ErrNamespaceEnding)
	must(t, ignoreDryRun(second(st.RegisterNamespace(domain.WithDryRun(ctx), st.admin, plain)))) // asks nobody
	if n := st.DB.Ent.Namespace.Query().CountX(ctx); n != 0 {
		t.Fatalf("%d are registered", n)
	}

	for name, c := range map[string]struct {
		state domain.NamespaceState
		fault error
		code  string
		asked bool // the time of it is known
	}{
		"away":       {fault: apperr.New(apperr.ErrClusterTimeout), code: apperr.ErrClusterTimeout},
		"forbidden":  {fault: apperr.New(apperr.ErrClusterForbidden), code: apperr.ErrClusterForbidden, asked: true},
		"another":    {fault: apperr.New(apperr.ErrClusterIdentity), code: apperr.ErrClusterIdentity},
		"locked":     {fault: apperr.New(apperr.ErrCredentialsLocked), code: apperr.ErrCredentialsLocked},
		"not a code": {fault: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			state, fault = c.state, c.fault
			_, err := try(plain)
			if c.code == "" {
				if err == nil || second(try(unseen)) == nil {
					t.Error("an error of ours counts as an answer")
				}
				return
			}
			if e := wants(t, err, c.code); e.Field() != "cluster" || e.Params["cluster"] != "east" {
				t.Errorf("%v at %q", e, e.Field())
			}
			id, err := try(unseen)
			must(t, err)
			if row := st.namespaceRow(id); row.Presence != "unknown" || (row.CheckedAt != nil) != c.asked || row.Quotas != nil {
				t.Errorf("registered as %+v", row)
			}
			must(t, st.UnregisterNamespace(ctx, st.admin, id))
		})
	}

	st.sql(`UPDATE clusters SET enabled = false`)
	fault = nil
	st.play.spaces = func(context.Context, string, string) (domain.NamespaceState, error) {
		t.Error("a cluster that is switched off was asked")
		return state, nil
	}
	wants(t, second(try(plain)), apperr.ErrClusterDisabled)
	id, err := try(unseen)
	must(t, err)
	must(t, st.UnregisterNamespace(ctx, st.admin, id))
	st.sql(`UPDATE clusters SET enabled = true`)

	st.play.spaces = func(context.Context, string, string) (domain.NamespaceState, error) {
		return domain.NamespaceState{Presence: domain.PresencePresent, Quotas: []domain.Quota{memoryQuota}}, nil
	}
	id, err = try(plain)
	must(t, err)
	n, err := st.GetNamespace(ctx, st.admin, id)
	must(t, err)
	if n.Presence != domain.PresencePresent || n.CheckedAt == nil || len(n.Quotas) != 1 || n.Quotas[0] != memoryQuota {
		t.Errorf("registered as %+v", n)
	}
}

func ignoreDryRun(err error) error {
	if err == domain.ErrDryRun {
		return nil
	}
	return err
}

// A namespace is made only when that is asked for, is missing and may be; that
// it was tried is on record whatever comes of it.
func TestCreateNamespaceOnTheCluster(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east := st.stored("east", domain.Test)
	there := map[string]bool{"old": true}
	var made []string
	var fault error
	st.play.spaces = func(_ context.Context, _, name string) (domain.NamespaceState, error) {
		if there[name] {
			return domain.NamespaceState{Presence: domain.PresencePresent, Quotas: []domain.Quota{}}, nil
		}
		return domain.NamespaceState{Presence: domain.PresenceMissing, MayCreate: true}, nil
	}
	st.play.make = func(ctx context.Context, on, name string, labels map[string]string) error {
		if _, ok := ctx.Deadline(); !ok || on != east.ID.String() {
			t.Errorf("made on %s", on)
		}
		if len(st.audited("namespace.create")) == 0 {
			t.Error("nobody wrote down what is done")
		}
		if labels["kubevirt-shepherd.io/managed-by"] != "kubevirt-shepherd" || labels["kubevirt-shepherd.io/environment"] != "test" {
			t.Errorf("labels %v", labels)
		}
		if fault != nil {
			return fault
		}
		made, there[name] = append(made, name), true
		return nil
	}
	want := func(name string) cluster.Registration {
		r := inTest(east.ID.String(), name)
		r.Create = true
		return r
	}
	must(t, second(st.RegisterNamespace(ctx, st.admin, want("old"))))
	if len(made) != 0 || len(st.audited("namespace.create")) != 0 {
		t.Errorf("made %v", made)
	}
	id, err := st.RegisterNamespace(ctx, st.admin, want("new"))
	must(t, err)
	if row := st.namespaceRow(id); row.Presence != "present" || fmt.Sprint(made) != "[new]" {
		t.Errorf("%+v, made %v", row, made)
	}
	fault = apperr.New(apperr.ErrClusterForbidden)
	if e := wants(t, second(st.RegisterNamespace(ctx, st.admin, want("more"))), apperr.ErrClusterForbidden); e.Params["operation"] != "create namespaces" {
		t.Errorf("%v", e)
	}
	st.sql(`UPDATE clusters SET quarantined_at = now()`)
	wants(t, second(st.RegisterNamespace(ctx, st.admin, want("later"))), apperr.ErrClusterQuarantined)
	if e := wants(t, second(st.RegisterNamespace(ctx, st.admin, inTest(east.ID.String(), "later"))), apperr.ErrNamespaceMissing); e.Params["creatable"] != false {
		t.Errorf("%v", e)
	}
	st.sql(`UPDATE clusters SET quarantined_at = NULL, enabled = false`)
	r := want("later")
	r.Unseen = true
	wants(t, second(st.RegisterNamespace(ctx, st.admin, r)), apperr.ErrClusterDisabled)
	var results []string
	for _, e := range st.audited("namespace.create") {
		results = append(results, fmt.Sprintf("%s %s %v", e.ResourceName, e.Result, e.Details["code"]))
	}
	if got := strings.Join(results, ", "); got != "new done <nil>, more done <nil>, more failed CLUSTER_FORBIDDEN" {
		t.Errorf("on record: %s", got)
	}
}

// The life of a namespace as the round of checks sees it.
func TestCheckNamespaces(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east := st.stored("east", domain.Test)
	id := st.register(east, "shop")
	st.sql(`UPDATE clusters SET status = 'HEALTHY'`)
	quota := []domain.Quota{memoryQuota}
	away := apperr.New(apperr.ErrClusterTimeout)
	const present, missing, ending, unknown = domain.PresencePresent, domain.PresenceMissing, domain.PresenceTerminating, domain.PresenceUnknown
	told := 0
	for i, step := range []struct {
		says    domain.NamespaceState
		fault   error
		want    domain.Presence
		quotas  int // -1: not known
		pages   bool
		admins  bool
		touched bool
	}{
		{domain.NamespaceState{Presence: present, Quotas: quota}, nil, present, 1, true, false, true},
		{domain.NamespaceState{Presence: present, Quotas: quota}, nil, present, 1, false, false, true}, // nothing new
		{domain.NamespaceState{}, away, present, 1, false, false, false},                               // what it said stays
		{domain.NamespaceState{}, apperr.New(apperr.ErrClusterForbidden), unknown, -1, true, false, true},
		{domain.NamespaceState{Presence: ending, Quotas: quota}, nil, ending, 1, true, true, true},
		{domain.NamespaceState{Presence: missing}, nil, missing, -1, true, false, true}, // told before
		{domain.NamespaceState{Presence: missing}, nil, missing, -1, false, false, true},
		{domain.NamespaceState{Presence: present}, nil, present, -1, true, false, true},
		{domain.NamespaceState{Presence: present, Quotas: []domain.Quota{}}, nil, present, 0, true, false, true},
		{domain.NamespaceState{Presence: missing}, nil, missing, -1, true, true, true},
	} {
		st.play.spaces = func(context.Context, string, string) (domain.NamespaceState, error) { return step.says, step.fault }
		st.sql(`UPDATE namespaces SET checked_at = now() - interval '1 hour'`)
		heard := st.heard()
		must(t, st.CheckNamespaces(ctx))
		row := st.namespaceRow(id)
		known := len(row.Quotas)
		if row.Quotas == nil {
			known = -1
		}
		if domain.Presence(row.Presence) != step.want || known != step.quotas || (time.Since(*row.CheckedAt) < time.Minute) != step.touched {
			t.Errorf("step %d: %s, %d quotas, looked at %v; want %+v", i, row.Presence, known, row.CheckedAt, step)
		}
		if got := heard(); (len(got) > 0) != step.pages {
			t.Errorf("step %d: pages heard %q", i, got)
		}
		if (len(st.told) > told) != step.admins {
			t.Errorf("step %d: admins were told %v", i, st.told[told:])
		}
		told = len(st.told)
	}
	if m := st.told[0]; m.Kind != notify.NamespaceGone || m.Params["namespace"] != "shop" || m.Params["cluster"] != "east" || m.Params["namespace_id"] != id {
		t.Errorf("told %+v", m)
	}
	var story []string
	for _, e := range st.audited("namespace.presence") {
		if e.Actor != "shepherd" {
			t.Errorf("actor %q", e.Actor)
		}
		story = append(story, fmt.Sprintf("%v>%v", e.Changes["presence"].Before, e.Changes["presence"].After))
	}
	if got := strings.Join(story, " "); got != "present>unknown unknown>terminating terminating>missing missing>present present>missing" {
		t.Errorf("on record: %s", got)
	}
}

// Only what is due is asked for, of clusters that can be asked, and a dead one
// costs the others nothing.
func TestCheckNamespacesAsksLittle(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	var mu sync.Mutex
	var asked []string
	names := map[string]string{}
	for i, change := range []string{
		``, `enabled = false`, `status = 'UNREACHABLE'`, `status = 'UNKNOWN'`, `status = 'UNHEALTHY'`,
		`status = 'UNHEALTHY', status_reason = '{"code":"CLUSTER_IDENTITY_CHANGED"}'`, `quarantined_at = now()`,
	} {
		c := st.stored(fmt.Sprintf("c%d", i), domain.Test)
		names[c.ID.String()] = c.Name
		st.register(c, "a")
		st.register(c, "b")
		st.register(c, "fresh")
		st.sql(`UPDATE clusters SET status = 'HEALTHY' WHERE id = $1`, c.ID)
		if change != "" {
			st.sql(`UPDATE clusters SET `+change+` WHERE id = $1`, c.ID)
		}
	}
	st.sql(`UPDATE namespaces SET checked_at = NULL WHERE name = 'a'`)
	st.sql(`UPDATE namespaces SET checked_at = now() - interval '7 minutes' WHERE name = 'b'`)
	st.sql(`UPDATE namespaces SET checked_at = now() - interval '3 minutes' WHERE name = 'fresh'`)
	st.play.spaces = func(ctx context.Context, on, name string) (domain.NamespaceState, error) {
		mu.Lock()
		asked = append(asked, names[on]+"/"+name)
		mu.Unlock()
		if names[on] == "c4" {
			return domain.NamespaceState{}, apperr.New(apperr.ErrClusterTimeout)
		}
		return domain.NamespaceState{Presence: domain.PresencePresent}, nil
	}
	must(t, st.CheckNamespaces(ctx))
	slices.Sort(asked)
	// The one that does not answer is asked once, not for each of its namespaces.
	if len(asked) != 5 || asked[0] != "c0/a" || asked[1] != "c0/b" || !strings.HasPrefix(asked[2], "c4/") || asked[3] != "c6/a" || asked[4] != "c6/b" {
		t.Errorf("asked %q", asked)
	}
	asked = nil
	must(t, st.CheckNamespaces(ctx))
	if len(asked) != 1 {
		t.Errorf("again %q", asked)
	}
}

// What was found is not stored over something newer, and not for a namespace
// that was taken away meanwhile.
func TestLateLook(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east := st.stored("east", domain.Test)
	id, other := st.register(east, "shop"), st.register(east, "other")
	st.sql(`UPDATE clusters SET status = 'HEALTHY'`)
	st.sql(`UPDATE namespaces SET checked_at = now() - interval '1 hour'`)
	st.play.spaces = func(context.Context, string, string) (domain.NamespaceState, error) {
		st.sql(`UPDATE namespaces SET checked_at = now(), presence = 'present'`)
		st.sql(`DELETE FROM namespaces WHERE id = $1`, uuid.MustParse(other))
		return domain.NamespaceState{Presence: domain.PresenceMissing}, nil
	}
	must(t, st.CheckNamespaces(ctx))
	if row := st.namespaceRow(id); row.Presence != "present" || len(st.told) != 0 {
		t.Errorf("%+v, told %v", row, st.told)
	}
}

// An admin may ask now, and hears why it cannot be asked.
func TestCheckNamespace(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east := st.stored("east", domain.Test)
	id := st.register(east, "shop")
	st.play.spaces = func(context.Context, string, string) (domain.NamespaceState, error) {
		return domain.NamespaceState{Presence: domain.PresenceMissing}, nil
	}
	must(t, st.CheckNamespace(ctx, st.admin, id))
	if e := st.audited("namespace.presence"); len(e) != 1 || e[0].Actor != "root" || st.namespaceRow(id).Presence != "missing" || len(st.told) != 1 {
		t.Errorf("%v, told %v", e, st.told)
	}
	st.play.spaces = func(context.Context, string, string) (domain.NamespaceState, error) {
		return domain.NamespaceState{}, apperr.New(apperr.ErrClusterRefused)
	}
	if e := wants(t, st.CheckNamespace(ctx, st.admin, id), apperr.ErrClusterRefused); e.Params["cluster"] != "east" {
		t.Errorf("%v", e)
	}
	st.sql(`UPDATE clusters SET enabled = false`)
	wants(t, st.CheckNamespace(ctx, st.admin, id), apperr.ErrClusterDisabled)
	wants(t, st.CheckNamespace(ctx, st.admin, uuid.NewString()), apperr.ErrNotFound)
	for _, role := range []domain.Role{domain.RoleApprover, domain.RoleAuditor} {
		wants(t, st.CheckNamespace(ctx, st.person("p-"+string(role), role), id), apperr.ErrForbidden)
	}
}

func TestFindNamespaces(t *testing.T) {
	st := newStage(t)
	east, west := st.stored("east", domain.Test), st.stored("west", domain.Prod)
	for on, names := range map[*ent.Cluster][]string{east: {"a", "b"}, west: {"c"}} {
		for _, name := range names {
			st.register(on, name)
		}
	}
	for want, f := range map[string]cluster.NamespaceFilter{
		"a b c": {}, "a b": {ClusterID: east.ID.String()}, "c": {Environment: domain.Prod}, "b": {Name: "b"}, "": {Name: "b", Environment: domain.Prod},
	} {
		var got []string
		l, err := st.FindNamespaces(t.Context(), st.admin, f, cluster.Page{})
		must(t, err)
		for _, n := range l.Items {
			got = append(got, n.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%+v: %q", f, got)
		}
	}
	for _, f := range []cluster.NamespaceFilter{{ClusterID: "x"}, {Environment: "staging"}} {
		wants(t, second(st.FindNamespaces(t.Context(), st.admin, f, cluster.Page{})), apperr.ErrInvalidChoice)
	}
}

// What is approved and not counted by the cluster yet is taken off what is left.
func TestRooms(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east, free, unasked := st.stored("east", domain.Test), st.stored("free", domain.Test), st.stored("unasked", domain.Test)
	looser := memoryQuota
	looser.Name, looser.HardValue = "all", 99999
	scoped := memoryQuota
	scoped.HardValue, scoped.Scoped = 1, true
	st.play.spaces = func(_ context.Context, on, _ string) (domain.NamespaceState, error) {
		quotas := []domain.Quota{looser, memoryQuota, scoped, {Name: "team", Resource: "services", Hard: "3", Used: "0"}}
		if on == free.ID.String() {
			quotas = []domain.Quota{}
		}
		return domain.NamespaceState{Presence: domain.PresencePresent, Quotas: quotas}, nil
	}
	for _, c := range []*ent.Cluster{east, free, unasked} {
		st.register(c, "shop")
	}
	st.sql(`UPDATE namespaces SET checked_at = NULL WHERE cluster_id = $1`, unasked.ID)
	sys := st.system("a", "shop")
	vm, err := placed(ctx, st.DB.Ent, sys, east)
	must(t, err)
	left := func() int {
		t.Helper()
		list, err := st.Candidates(ctx, cluster.Want{Namespace: "shop", Environment: domain.Test})
		must(t, err)
		var room *cluster.Room
		for _, c := range list {
			if c.ID == east.ID.String() {
				room = c.Room
			} else if c.Room != nil {
				t.Errorf("%s has a room: %+v", c.Name, c.Room)
			}
		}
		if room == nil || len(room.Quotas) != 1 || room.Quotas[0] != memoryQuota || room.CheckedAt.IsZero() {
			t.Fatalf("room %+v", room)
		}
		return room.Left(room.Quotas[0])
	}
	for change, want := range map[string]int{
		`state = 'Requested', created_at = now() - interval '1 day'`:                      4096, // not made yet
		`state = 'Running', created_at = now() + interval '1 second'`:                     4096, // made since
		`state = 'Running', created_at = now() - interval '1 day'`:                        5120, // counted by the cluster
		`state = 'Failed', created_at = now()`:                                            5120, // never made
		`state = 'Requested', deleted_at = now()`:                                         5120,
		`state = 'Requested', deleted_at = NULL, namespace = 'other', created_at = now()`: 5120,
	} {
		st.sql(`UPDATE vms SET deleted_at = NULL, namespace = 'shop' WHERE id = $1`, vm.ID)
		st.sql(`UPDATE vms SET `+change+` WHERE id = $1`, vm.ID)
		if got := left(); got != want {
			t.Errorf("%s: %d MiB left, want %d", change, got, want)
		}
	}
}

// Only the VMs of the namespace on its cluster that the reader sees are listed.
func TestNamespaceVMs(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east, east2 := st.stored("east", domain.Test), st.stored("east-2", domain.Test)
	id, other := st.register(east, "shop"), st.register(east2, "shop")
	vm, err := placed(ctx, st.DB.Ent, st.system("a", "shop"), east)
	must(t, err)
	for _, name := range []string{"a-web-02", "a-web-03"} {
		st.sql(`INSERT INTO vms SELECT (r).* FROM (SELECT jsonb_populate_record(v, jsonb_build_object('id', gen_random_uuid(), 'name', $2::text, 'instance', right($2, 1)::int)) r FROM vms v WHERE id = $1) x`, vm.ID, name)
	}
	var got []string
	page := cluster.Page{Limit: 2}
	for {
		l, total, err := st.NamespaceVMs(ctx, st.admin, id, page)
		must(t, err)
		if total != 3 {
			t.Errorf("%d VMs", total)
		}
		for _, m := range l.Items {
			got = append(got, m.Name)
		}
		if page.After = l.Next; l.Next == "" {
			break
		}
	}
	if fmt.Sprint(got) != "[a-web-01 a-web-02 a-web-03]" {
		t.Errorf("%q", got)
	}
	if l, total, err := st.NamespaceVMs(ctx, st.admin, other, cluster.Page{}); err != nil || total != 0 || len(l.Items) != 0 {
		t.Errorf("%v, %d, %v", l, total, err)
	}
	_, _, err = st.NamespaceVMs(ctx, st.person("nobody"), id, cluster.Page{})
	wants(t, err, apperr.ErrNotFound)
}
