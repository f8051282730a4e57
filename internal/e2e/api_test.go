//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/client"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// ok is the answer of a client, which must have gone well.
func ok[T any](t *testing.T) func(T, error) T {
	return func(r T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		a := any(r).(interface {
			StatusCode() int
			GetBody() []byte
		})
		if a.StatusCode() >= 300 {
			t.Fatalf("%d %s", a.StatusCode(), a.GetBody())
		}
		return r
	}
}

// The main job without a browser: a generated client adds a cluster, makes a
// place for VMs, asks, approves, waits until they run, and has one deleted.
func TestMainJobOverTheAPI(t *testing.T) {
	env := []string{"DATABASE_URL=" + databasetest.URL(t), "SHEPHERD_KEK=" + crypto.Generate()}
	p := start(t, dataDir(t), env...)
	as := func(who cast.Person, scopes string) *client.ClientWithResponses {
		t.Helper()
		c, err := client.Open(p.url, issue(t, env, who, scopes))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	admin, dev, boss := as(cast.Admin, "admin"), as(cast.Developer, "request"), as(cast.Approver, "decide")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	const ns = "platform-test"

	draft := ok[*client.UploadKubeconfigResponse](t)(admin.UploadKubeconfigWithResponse(ctx, nil, client.Kubeconfig{FileName: "east", Kubeconfig: kubeconfig(t, planes.east, domain.Test)})).JSON201
	chosen := draft.Contexts[0].Name
	checked := ok[*client.CheckClusterDraftResponse](t)(admin.CheckClusterDraftWithResponse(ctx, draft.Id, nil, client.PreflightContext{Context: chosen})).JSON200
	if !checked.Preflight.Passed {
		t.Fatalf("preflight: %+v", checked.Preflight)
	}
	cluster := ok[*client.CreateClusterResponse](t)(admin.CreateClusterWithResponse(ctx, nil, client.NewCluster{
		DraftId: draft.Id, Context: chosen, Name: "east", Environment: client.NewClusterEnvironmentTest,
	})).JSON201
	place := ok[*client.RegisterNamespaceResponse](t)(admin.RegisterNamespaceWithResponse(ctx, nil, client.NewNamespace{ClusterId: cluster.Id, Name: ns, Environment: client.NewNamespaceEnvironmentTest})).JSON201
	if place.Presence != client.NamespacePresencePresent || !place.QuotasKnown {
		t.Errorf("the namespace: %+v", place)
	}

	sys := ok[*client.CreateSystemResponse](t)(dev.CreateSystemWithResponse(ctx, nil, client.NewSystem{Name: "api", Namespace: ns})).JSON201
	service := ok[*client.CreateServiceResponse](t)(dev.CreateServiceWithResponse(ctx, sys.Id, nil, client.NewService{Name: "web"})).JSON201
	options := ok[*client.GetRequestOptionsResponse](t)(dev.GetRequestOptionsWithResponse(ctx)).JSON200
	body := client.NewRequest{ServiceId: service.Id, SizeId: options.Sizes[0].Id, Count: 2, DiskGib: options.Sizes[0].DiskGib, Reason: "Web servers for the test of the API."}
	for _, x := range options.Templates {
		if x.Name == "fedora-41" {
			body.TemplateId = x.Id
		}
	}
	// Sent twice, as after a lost answer: it is one request.
	key := uuid.NewString()
	params := &client.CreateRequestParams{IdempotencyKey: &key}
	asked := ok[*client.CreateRequestResponse](t)(dev.CreateRequestWithResponse(ctx, params, body)).JSON201
	again := ok[*client.CreateRequestResponse](t)(dev.CreateRequestWithResponse(ctx, params, body)).JSON201
	if again.Number != asked.Number {
		t.Fatalf("requests %d and %d", asked.Number, again.Number)
	}

	// The requester cannot decide, the approver can.
	var refused *client.Error
	if _, err := dev.GetApprovalWithResponse(ctx, asked.Number); !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
		t.Errorf("the requester looks at the approval: %v", err)
	}
	ticket := ok[*client.GetApprovalResponse](t)(boss.GetApprovalWithResponse(ctx, asked.Number)).JSON200
	ok[*client.DecideResponse](t)(boss.DecideWithResponse(ctx, asked.Number, nil, client.Decision{
		Decision: client.DecisionDecisionApprove, Version: ticket.Version, SpecHash: ticket.SpecHash, ClusterId: &cluster.Id,
	}))

	var vms []client.VMRow
	eventually(t, 90*time.Second, "both VMs run", func() bool {
		vms = ok[*client.ListServiceVMsResponse](t)(dev.ListServiceVMsWithResponse(ctx, service.Id, nil)).JSON200.Items
		return len(vms) == 2 && vms[0].State == "Running" && vms[1].State == "Running"
	})
	if r := ok[*client.GetRequestResponse](t)(dev.GetRequestWithResponse(ctx, asked.Number)).JSON200; r.Status != client.RequestStatusCOMPLETED {
		t.Errorf("the request is %s", r.Status)
	}
	if got := objects(t, planes.east, ns, "web"); len(got) != 2 || got[0].Metadata.Labels[domain.LabelSystem] != "api" {
		t.Errorf("objects: %+v", got)
	}

	// Stop one, then have it deleted.
	m := vms[0]
	ok[*client.PowerVMResponse](t)(dev.PowerVMWithResponse(ctx, m.Id, nil, client.Power{Operation: client.PowerOperationSTOP}))
	eventually(t, 60*time.Second, "it is stopped", func() bool {
		return ok[*client.GetVMResponse](t)(dev.GetVMWithResponse(ctx, m.Id)).JSON200.State == "Stopped"
	})
	gone := ok[*client.DeleteVMResponse](t)(dev.DeleteVMWithResponse(ctx, m.Id, nil, client.Deletion{Confirm: m.Name, Reason: "The test of the API ends."})).JSON202
	ticket = ok[*client.GetApprovalResponse](t)(boss.GetApprovalWithResponse(ctx, gone.Request)).JSON200
	ok[*client.DecideResponse](t)(boss.DecideWithResponse(ctx, gone.Request, nil, client.Decision{Decision: client.DecisionDecisionApprove, Version: ticket.Version, SpecHash: ticket.SpecHash}))
	eventually(t, 60*time.Second, "it is deleted", func() bool {
		return ok[*client.GetVMResponse](t)(dev.GetVMWithResponse(ctx, m.Id)).JSON200.State == "Deleted"
	})
	if got := objects(t, planes.east, ns, "web"); len(got) != 1 {
		t.Errorf("%d objects are left", len(got))
	}

	// The command sees the same.
	list := exec.CommandContext(ctx, planes.shepherd, "vm", "list")
	list.Env = append(os.Environ(), "SHEPHERD_URL="+p.url, "SHEPHERD_TOKEN="+issue(t, env, cast.Developer, "read"))
	if out, err := list.CombinedOutput(); err != nil || strings.Count(string(out), "api-web-") != 1 || !strings.Contains(string(out), "Running") {
		t.Errorf("shepherd vm list: %v\n%s", err, out)
	}
}

// issue has the command make a token.
func issue(t *testing.T, env []string, who cast.Person, scopes string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), planes.shepherd, "token", "create", "-scopes", scopes, who.Username)
	c.Env = append(os.Environ(), env...)
	c.Stderr = t.Output()
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
