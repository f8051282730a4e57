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
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// timeline is a cluster's, the newest first.
func (st *stage) timeline(id string, kinds ...domain.ClusterEventKind) []cluster.Event {
	st.t.Helper()
	l, err := st.Events(st.t.Context(), st.admin, id, kinds, cluster.Page{})
	must(st.t, err)
	return l.Items
}

// told writes a timeline in lines, the oldest first.
func told(events []cluster.Event) string {
	var lines []string
	for _, e := range slices.Backward(events) {
		line := fmt.Sprintf("%s %s > %s", e.Kind, e.Before, e.After)
		if e.Problem.Code != "" {
			line += " " + e.Problem.Code
		}
		if e.Count > 1 {
			line += fmt.Sprintf(" x%d", e.Count)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// A story of checks, and what the timeline keeps of it: changes only.
func TestTimeline(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	id := st.stored("east", domain.Test).ID.String()
	h := healthy("uid-east")
	h.Features = []string{"LiveMigration", "Snapshot"}
	h.Capabilities.APIs = []string{"cdi.kubevirt.io/v1beta1", "kubevirt.io/v1"}
	st.play.health = func(context.Context, string) domain.ClusterHealth { return h }
	check := func() { t.Helper(); must(t, st.Check(ctx, id)) }
	check()
	check()
	h.KubeVirtVersion, h.Features = "v1.9.1", []string{"LiveMigration", "VMExport"}
	h.Capabilities.APIs = []string{"kubevirt.io/v1", "snapshot.kubevirt.io/v1beta1", "snapshot.storage.k8s.io/v1"}
	h.StorageClasses = []domain.StorageClass{{Name: "fast"}, {Name: "slow", Default: true}}
	check()
	h.ReadyNodes = 1
	h.KubernetesVersion = "v1.35.0"
	check()
	well := h
	for range 4 {
		h = silent(apperr.ErrClusterTimeout)
		check()
	}
	h = silent(apperr.ErrClusterRefused)
	check()
	h = silent(apperr.ErrClusterTimeout)
	check()
	h = well
	check()
	h.IdentityUID = "uid-foreign"
	check()
	want := `status UNKNOWN > HEALTHY
version KubeVirt v1.9.0 > KubeVirt v1.9.1
features Snapshot > VMExport
apis cdi.kubevirt.io/v1beta1 > snapshot.kubevirt.io/v1beta1, snapshot.storage.k8s.io/v1
storage fast (default) > fast, slow (default)
version Kubernetes v1.34.1 > Kubernetes v1.35.0
nodes 2/2 > 1/2
error  >  CLUSTER_TIMEOUT x4
status HEALTHY > UNREACHABLE CLUSTER_TIMEOUT
error  >  CLUSTER_CONNECT_REFUSED
error  >  CLUSTER_TIMEOUT
status UNREACHABLE > HEALTHY
quarantine  > begun CLUSTER_IDENTITY_CHANGED
status HEALTHY > UNHEALTHY CLUSTER_IDENTITY_CHANGED
error  >  CLUSTER_IDENTITY_CHANGED`
	if got := told(st.timeline(id)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := told(st.timeline(id, domain.AboutNodes, domain.AboutVersion)); strings.Count(got, "\n") != 2 {
		t.Errorf("by kind:\n%s", got)
	}
	e := st.timeline(id, domain.AboutError)
	if first := e[len(e)-1]; first.Count != 4 || !first.LastAt.After(first.At) {
		t.Errorf("%+v", first)
	}
}

// A watch and an order say what went wrong, often and at once.
func TestRecordError(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	id := st.stored("east", domain.Test).ID.String()
	other := st.stored("west", domain.Test).ID.String()
	heard := st.heard()
	lost := domain.Problem{Code: apperr.ErrClusterUnreachable, Text: "reset\x00 by peer" + strings.Repeat("!", 1000)}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { must(t, st.RecordError(ctx, id, lost)) })
	}
	wg.Wait()
	must(t, st.RecordError(ctx, id, domain.Problem{Code: apperr.ErrQuotaExceeded}))
	must(t, st.RecordError(ctx, id, domain.Problem{}))
	if got, want := told(st.timeline(id)), "error  >  CLUSTER_UNREACHABLE x20\nerror  >  QUOTA_EXCEEDED"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if text := st.timeline(id)[1].Problem.Text; strings.Contains(text, "\x00") || len(text) > 510 {
		t.Errorf("text %q", text)
	}
	if n := len(st.timeline(other)); n != 0 {
		t.Errorf("%d on another cluster", n)
	}
	if told := heard(); len(told) == 0 || len(told) > 4 { // not at each repetition
		t.Errorf("told %q", told)
	}
	must(t, st.RecordError(ctx, uuid.NewString(), lost)) // removed meanwhile
	wants(t, st.RecordError(ctx, "nonsense", lost), apperr.ErrNotFound)
}

// The timeline is for those who may read the cluster, and comes in pages.
func TestEventsPages(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	row := st.stored("east", domain.Test)
	id := row.ID.String()
	for i := range 7 {
		kind := clusterevent.KindNodes
		if i == 3 {
			kind = clusterevent.KindMode
		}
		st.DB.Ent.ClusterEvent.Create().SetClusterID(row.ID).SetKind(kind).SetAfter(fmt.Sprint(i)).ExecX(ctx)
	}
	read := func(kinds []domain.ClusterEventKind) (got string) {
		page := cluster.Page{Limit: 3}
		for {
			l, err := st.Events(ctx, st.admin, id, kinds, page)
			must(t, err)
			for _, e := range l.Items {
				got += e.After
			}
			if got += "|"; l.Next == "" {
				return got
			}
			page.After = l.Next
		}
	}
	if got := read(nil); got != "654|321|0|" {
		t.Errorf("pages %s", got)
	}
	if got := read([]domain.ClusterEventKind{domain.AboutNodes}); got != "654|210|" {
		t.Errorf("pages of a kind %s", got)
	}
	wants(t, second(st.Events(ctx, st.person("nobody"), id, nil, cluster.Page{})), apperr.ErrNotFound)
	wants(t, second(st.Events(ctx, st.admin, uuid.NewString(), nil, cluster.Page{})), apperr.ErrNotFound)
	must(t, second(st.Events(ctx, st.person("watch", domain.RoleAuditor), id, nil, cluster.Page{After: "nonsense"})))
}

func TestSweepEvents(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	row := st.stored("east", domain.Test)
	quiet := st.stored("west", domain.Test)
	add := func(of *ent.Cluster, after string, age time.Duration) {
		st.DB.Ent.ClusterEvent.Create().SetClusterID(of.ID).SetKind(clusterevent.KindNodes).SetAfter(after).SetLastAt(time.Now().Add(-age)).ExecX(ctx)
	}
	add(row, "old", 91*24*time.Hour)
	add(quiet, "kept", 89*24*time.Hour)
	st.sql(fmt.Sprintf(`INSERT INTO cluster_events (id, created_at, kind, after, last_at, cluster_id)
		SELECT gen_random_uuid(), now(), 'nodes', 'x', now(), '%s' FROM generate_series(1, 5004)`, row.ID))
	if n, err := st.SweepEvents(ctx); err != nil || n != 5 {
		t.Errorf("%d removed, %v", n, err)
	}
	if n := len(st.timeline(quiet.ID.String())); n != 1 {
		t.Errorf("%d left of the quiet one", n)
	}
	if n, err := st.SweepEvents(ctx); err != nil || n != 0 {
		t.Errorf("%d removed again, %v", n, err)
	}
}
