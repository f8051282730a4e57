package handlers_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// The page of a cluster tells what is stored of it, check by check.
func TestChecksOfAStoredCluster(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	now := time.Now()
	two := 2
	c := p.db.Ent.Cluster.Create().SetName("east").SetEnvironment("test").SetCreatedBy("root").SetEncryptedKubeconfig([]byte("x")).SetEncryptionKeyID("k").
		SetAPIServerURL("https://10.0.0.1").SetIdentityUID("uid-1").SetStatus("HEALTHY").SetCheckedAt(now).SetDescribedAt(now).
		SetKubernetesVersion("v1.34.1").SetKubevirtVersion("v1.9.0").SetNodes(3).SetReadyNodes(3).SetEnabledFeatures([]string{"Snapshot"}).
		SetStorageClasses([]domain.StorageClass{{Name: "fast", Default: true}}).
		SetCapabilities(domain.Capabilities{
			APIs: []string{"cdi.kubevirt.io/v1beta1", "snapshot.kubevirt.io/v1beta1", "snapshot.storage.k8s.io/v1"}, InstanceTypes: 40, Preferences: 50, SnapshotClasses: &two,
		}).SaveX(t.Context())
	page := func() *page { t.Helper(); return admin.get("/clusters/" + c.ID.String()).is(http.StatusOK) }
	well := page().wants("Name of the server", "Disk import (CDI)", "Snapshot classes: 2", "Storage classes: 1", "Instance types: 40, preferences: 50", "v1.9.0, ready")
	if strings.Contains(well.main(), i18n.Text(i18n.English, "check.privilege", nil)) {
		t.Error("a check that is not repeated is shown")
	}
	says := func(code string) string { return i18n.Error(i18n.English, code, nil).What }

	c = c.Update().SetCapabilities(domain.Capabilities{APIs: []string{"kubevirt.io/v1"}}).SetStorageClasses(nil).SaveX(t.Context())
	page().wants(says(apperr.ErrCDIMissing), says(apperr.ErrSnapshotsMissing), "snapshot.storage.k8s.io", says(apperr.ErrStorageMissing), says(apperr.ErrInstanceTypesMissing))

	// Of one that is silent, or another one, nothing of this is claimed.
	c = c.Update().SetStatus("UNREACHABLE").SetStatusReason(domain.Problem{Code: apperr.ErrClusterDNS}).SaveX(t.Context())
	page().wants(says(apperr.ErrClusterDNS), "VMs and their disks can be snapshotted.")
	c = c.Update().SetStatus("UNHEALTHY").SetStatusReason(domain.Problem{Code: apperr.ErrClusterForbidden}).SaveX(t.Context())
	page().wants("Permissions", says(apperr.ErrCDIMissing))
	c.Update().SetStatus("UNHEALTHY").SetStatusReason(domain.Problem{Code: apperr.ErrClusterIdentity}).ExecX(t.Context())
	if strings.Contains(page().main(), says(apperr.ErrCDIMissing)) {
		t.Error("a strange cluster is described")
	}
}

// Programs are told of the same checks.
func TestDocumentedChecks(t *testing.T) {
	text, err := os.ReadFile("../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct {
			Schemas struct {
				PreflightCheck struct {
					Properties struct{ ID struct{ Enum []string } }
				}
			}
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if got := doc.Components.Schemas.PreflightCheck.Properties.ID.Enum; !slices.Equal(got, domain.Checks()) {
		t.Errorf("documented are %q", got)
	}
}

// An optional permission that lacks is a warning that says what will not work,
// in both languages, and the cluster can be added.
func TestOptionalPermissions(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	p.play.preflight = func(context.Context, domain.Credential) domain.Preflight {
		return domain.Preflight{Health: healthy(), Optional: []domain.ResourceRule{{Resource: "resourcequotas", Verb: "list"}}, Excess: []string{"tokens"}, Checks: []domain.Check{
			{ID: domain.CheckPermissions, State: domain.CheckWarn, Code: apperr.ErrPermissionsOptional, Params: map[string]any{"count": 2, "lost": "quotas create_namespaces unheard_of"}},
			{ID: domain.CheckPrivilege, State: domain.CheckWarn, Code: apperr.ErrPermissionsExcess, Params: map[string]any{"count": 1}},
		}}
	}
	draft := admin.follow(admin.upload(goodKubeconfig()))
	path, at := draft.attr("main form", "action"), draft.attr("form[method=post] [name=context]", "value")
	checked := admin.post(path+"/check", "context", at, "name", "east", "environment", "test").is(http.StatusOK)
	checked.wants("Permissions that one can do without are missing: 2.", "What will not work: showing the quota of a namespace, making namespaces from the portal.", "make itself a token of any service account", "kind: ClusterRole")
	if checked.attr("#add", "aria-disabled") == "true" {
		t.Error("a warning stands in the way")
	}
	admin.post(path, "context", at, "name", "east", "environment", "test").is(http.StatusSeeOther)
}
