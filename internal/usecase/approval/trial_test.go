package approval_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/template"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
)

// says makes clusters answer the question whether they would take a VM, by name.
// Those that are not named give no answer.
func (st *stage) says(answers map[string]*domain.ValidationResult) func() []string {
	var mu sync.Mutex
	var asked []string
	names := map[string]string{}
	for _, c := range st.db.Cluster.Query().AllX(st.t.Context()) {
		names[c.ID.String()] = c.Name
	}
	st.Try = func(ctx context.Context, id string, spec domain.EffectiveSpec, instance int) (*domain.ValidationResult, error) {
		mu.Lock()
		asked = append(asked, fmt.Sprintf("%s %s-%d %d", names[id], spec.Service, instance, spec.Spec.MemoryMiB))
		mu.Unlock()
		if v := answers[names[id]]; v != nil {
			return v, nil
		}
		return nil, apperr.New(apperr.ErrClusterTimeout)
	}
	return func() []string { mu.Lock(); defer mu.Unlock(); slices.Sort(asked); return asked }
}

var no = &domain.ValidationResult{Problems: []domain.Problem{{Code: apperr.ErrSpecRejected, Text: "spec.preference: not found"}}}

func (st *stage) more(name string) *ent.Cluster {
	c := st.cluster(name, domain.Test)
	st.db.Namespace.Create().SetClusterID(c.ID).SetName("team-a").SetEnvironment(namespace.EnvironmentTest).SetCreatedBy("root").ExecX(st.t.Context())
	return c
}

// The clusters have the last word before a request is written.
func TestSubmitAsksTheClusters(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	st.more("east-2")
	st.more("east-3")
	st.more("east-4") // one more than are asked

	asked := st.says(map[string]*domain.ValidationResult{"east": no, "east-2": no})
	_, err := st.Submit(ctx, st.dev, st.input())
	e := refusedWith(t, err, apperr.ErrSpecRejected)
	if e.Field() != "template" || e.Params["text"] != "spec.preference: not found" || e.Params["cluster"] == nil {
		t.Errorf("refused at %q with %v", e.Field(), e.Params)
	}
	if got := asked(); len(got) != 3 || got[0] != "east redis-1 2048" {
		t.Errorf("asked %q", got)
	}
	if n := st.db.ApprovalTicket.Query().CountX(ctx); n != 0 {
		t.Fatalf("%d tickets", n)
	}
	st.says(map[string]*domain.ValidationResult{"east": {Problems: []domain.Problem{{Code: apperr.ErrQuotaExceeded, Text: "used up"}}}})
	_, err = st.Submit(ctx, st.dev, st.input())
	if e := refusedWith(t, err, apperr.ErrQuotaExceeded); e.Field() != "size" {
		t.Errorf("the quota is said at %q", e.Field())
	}

	// Field by field, while somebody types, no cluster is asked.
	asked = st.says(map[string]*domain.ValidationResult{"east": no})
	if _, err := st.Submit(domain.WithDryRun(ctx), st.dev, st.input()); err != domain.ErrDryRun || len(asked()) != 0 {
		t.Errorf("a dry run: %v, asked %q", err, asked())
	}
	// Who may not ask for VMs there asks no cluster either.
	if _, err := st.Submit(ctx, st.person("stranger", "", nil), st.input()); err == nil || len(asked()) != 0 {
		t.Errorf("a stranger: %v, asked %q", err, asked())
	}

	// One that would take it is enough; a name that is taken is no reason.
	st.says(map[string]*domain.ValidationResult{"east": no, "east-2": {Problems: []domain.Problem{{Code: apperr.ErrNameCollision}}}})
	done, err := st.Submit(ctx, st.dev, st.input())
	if err != nil || done.Unchecked || done.Number == 0 {
		t.Errorf("taken: %+v, %v", done, err)
	}
	// Nobody answers: it is taken, and that is said.
	st.says(nil)
	in := st.input()
	in.Count = 3
	done, err = st.Submit(ctx, st.dev, in)
	if err != nil || !done.Unchecked {
		t.Errorf("without an answer: %+v, %v", done, err)
	}
}

// Clusters that are silent hold a request up for five seconds and no longer.
func TestSubmitDoesNotWaitForSilentClusters(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	st.Try = func(ctx context.Context, _ string, _ domain.EffectiveSpec, _ int) (*domain.ValidationResult, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	began := time.Now()
	done, err := st.Submit(ctx, st.dev, st.input())
	if took := time.Since(began); err != nil || !done.Unchecked || took < 4*time.Second || took > 8*time.Second {
		t.Errorf("%+v, %v after %s", done, err, took)
	}
}

// The chosen cluster is asked again when somebody approves.
func TestDecideAsksTheCluster(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	n := st.submit(st.input())
	look := func() approval.Ticket {
		ticket, err := st.Ticket(ctx, st.approver, n)
		if err != nil {
			t.Fatal(err)
		}
		return ticket
	}
	d := look().Unchanged(st.east.ID.String())
	asked := st.says(map[string]*domain.ValidationResult{"east": no})
	e := refusedWith(t, st.Decide(ctx, st.approver, n, d), apperr.ErrSpecRejected)
	if e.Field() != "cluster" || e.Params["text"] != "spec.preference: not found" || len(asked()) != 1 {
		t.Errorf("refused at %q with %v, asked %q", e.Field(), e.Params, asked())
	}
	if look().Status != domain.TicketPending {
		t.Error("the ticket is decided")
	}
	asked = st.says(map[string]*domain.ValidationResult{"east": no})
	if err := st.Decide(ctx, st.dev, n, d); err == nil || len(asked()) != 0 {
		t.Errorf("who may not decide: %v, asked %q", err, asked())
	}
	old := d
	old.Version++
	if err := st.Decide(ctx, st.approver, n, old); apperr.CodeOf(err) != apperr.ErrTicketChanged || len(asked()) != 0 {
		t.Errorf("about something old: %v, asked %q", err, asked())
	}
	asked = st.says(nil) // no answer keeps nobody from deciding
	if err := st.Decide(ctx, st.approver, n, d); err != nil || len(asked()) != 1 {
		t.Errorf("without an answer: %v, asked %q", err, asked())
	}
}

// A template that needs something goes only where that is.
func TestTemplateNeeds(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	gpu := st.more("gpu")
	gpu.Update().SetEnabledFeatures([]string{"GPU"}).SetHardware([]string{"gpu.example.com/a100"}).ExecX(ctx)
	special := st.db.Template.Create().SetName("cuda").SetVersion(1).SetDisplayName("CUDA").SetImage("docker://c").SetMinDiskGib(10).
		SetRequiredFeatures([]string{"GPU"}).SetRequiredHardware([]string{"gpu.example.com/a100"}).SetStatus(template.StatusActive).SetCreatedBy("root").SaveX(ctx)
	in := st.input()
	in.TemplateID = special.ID.String()

	p, err := st.Preview(ctx, st.dev, in)
	if err != nil {
		t.Fatal(err)
	}
	fits, lacks := 0, 0
	for _, c := range p.Clusters {
		if c.Name != "" {
			t.Errorf("a developer is told of %s", c.Name)
		}
		if c.Refusal == nil {
			fits++
		} else if c.Refusal.Code == apperr.ErrClusterIncompatible {
			lacks++
			if !slices.Equal(c.Refusal.Params["features"].([]string), []string{"GPU"}) || c.Refusal.Params["cluster"] != nil {
				t.Errorf("why: %v", c.Refusal.Params)
			}
		}
	}
	if fits != 1 || lacks != 1 || len(p.Clusters) != 3 {
		t.Errorf("%d of %d fit, %d lack something", fits, len(p.Clusters), lacks)
	}
	if p, err = st.Preview(ctx, st.admin, in); err != nil || p.Clusters[0].Name != "gpu" {
		t.Errorf("an admin is told %+v, %v", p.Clusters, err)
	}

	n := st.submit(in)
	ticket, err := st.Ticket(ctx, st.approver, n)
	if err != nil {
		t.Fatal(err)
	}
	if c := ticket.Clusters[0]; c.Name != "gpu" || !c.Proposed || ticket.Clusters[1].Proposed {
		t.Errorf("proposed: %+v", ticket.Clusters)
	}
	q, err := st.Queue(ctx, st.approver, approval.QueueFilter{}, approval.Page{})
	if err != nil {
		t.Fatal(err)
	}
	if f, err := st.Fits(ctx, q.Items); err != nil || f[n] != (approval.Fit{Clusters: 1, Of: 3}) {
		t.Errorf("the queue says %v, %v", f, err)
	}
	e := refusedWith(t, st.Decide(ctx, st.approver, n, ticket.Unchanged(st.east.ID.String())), apperr.ErrClusterIncompatible)
	if e.Field() != "cluster" {
		t.Errorf("refused at %q", e.Field())
	}
	// With another template the other cluster fits too.
	if err := st.Reconsider(ctx, &ticket, st.ubuntu.ID.String(), "", 0); err != nil {
		t.Fatal(err)
	}
	usable := 0
	for _, c := range ticket.Clusters {
		if c.Refusal == nil {
			usable++
		}
	}
	if usable != 2 {
		t.Errorf("%d fit the other template", usable)
	}
	if err := st.Decide(ctx, st.approver, n, ticket.Unchanged(gpu.ID.String())); err != nil {
		t.Error(err)
	}
}

func refusedWith(t *testing.T, err error, code string) *apperr.AppError {
	t.Helper()
	e, ok := apperr.From(err)
	if list := apperr.Fields(err); len(list) > 0 {
		e, ok = list[0], true
	}
	if !ok || e.Code != code {
		t.Fatalf("error %v, want %s", err, code)
	}
	return e
}
