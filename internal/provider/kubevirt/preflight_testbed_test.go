//go:build e2e

package kubevirt

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

func TestPreflight(t *testing.T) {
	p, _ := testProvider(t, admin(t))
	ns := namespace(t)
	rest := "snapshots ok, storage ok, instancetypes ok"

	t.Run("Administrator", func(t *testing.T) {
		f := p.Preflight(t.Context(), admin(t))
		if !f.Passed() || len(f.Missing) > 0 || !slices.Equal(f.Excess, []string{"*"}) {
			t.Errorf("%s, missing %v, excess %v", outcome(f), f.Missing, f.Excess)
		}
		if want := "dns ok, reachable ok, tls ok, credentials ok, kubernetes ok, kubevirt ok, permissions ok, privilege warn PERMISSIONS_EXCESS, cdi ok, " + rest; outcome(f) != want {
			t.Errorf("got  %s\nwant %s", outcome(f), want)
		}
		if h := f.Health; h.IdentityUID == "" || h.KubeVirtVersion == "" || h.KubernetesVersion == "" || h.Nodes == 0 || len(h.StorageClasses) != 2 || !slices.Contains(h.Features, "HotplugVolumes") {
			t.Errorf("health is not complete: %+v", h)
		}
	})
	t.Run("LeastPrivilege", func(t *testing.T) {
		f := p.Preflight(t.Context(), serviceAccount(t, p, ns, ClusterRoleYAML(nil, "")))
		if !f.Passed() || len(f.Missing) > 0 || len(f.Optional) > 0 || len(f.Excess) > 0 {
			t.Errorf("%s, missing %v and %v, excess %v", outcome(f), f.Missing, f.Optional, f.Excess)
		}
		if want := "dns ok, reachable ok, tls ok, credentials ok, kubernetes ok, kubevirt ok, permissions ok, privilege ok, cdi ok, " + rest; outcome(f) != want {
			t.Errorf("got  %s\nwant %s", outcome(f), want)
		}
	})
	t.Run("TooLittle", func(t *testing.T) {
		want := []domain.ResourceRule{{Group: "kubevirt.io", Resource: "virtualmachines", Verb: "delete"}, {Resource: "secrets", Verb: "patch"}}
		without := slices.DeleteFunc(Rules(), func(r domain.ResourceRule) bool { return slices.Contains(want, r) })
		cred := serviceAccount(t, p, ns, ClusterRoleYAML(without, ""))
		f := p.Preflight(t.Context(), cred)
		if f.Passed() || !slices.Equal(f.Missing, want) {
			t.Errorf("%s, missing %v", outcome(f), f.Missing)
		}
		if c := check(f, domain.CheckPermissions); c.Code != apperr.ErrPermissionsMissing || c.Params["count"] != 2 {
			t.Errorf("permissions: %+v", c)
		}
		// The manifest that is offered is what was missing.
		if f := p.Preflight(t.Context(), serviceAccount(t, p, ns, ClusterRoleYAML(f.Missing, ""))); slices.ContainsFunc(want, func(r domain.ResourceRule) bool { return slices.Contains(f.Missing, r) }) {
			t.Errorf("after applying it %v is missing", f.Missing)
		}
	})
	t.Run("TooMuch", func(t *testing.T) {
		role := ClusterRoleYAML(append(Rules(), domain.ResourceRule{Resource: "secrets", Verb: "get"}, domain.ResourceRule{Resource: "pods/exec", Verb: "create"},
			domain.ResourceRule{Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Verb: "escalate"}), "")
		f := p.Preflight(t.Context(), serviceAccount(t, p, ns, role))
		if !f.Passed() || !slices.Equal(f.Excess, []string{"secrets", "escalate", "exec"}) || check(f, domain.CheckPrivilege).State != domain.CheckWarn {
			t.Errorf("%s, excess %v", outcome(f), f.Excess)
		}
	})
	t.Run("Nothing", func(t *testing.T) {
		cred := serviceAccount(t, p, ns, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: nothing}\n")
		f := p.Preflight(t.Context(), cred)
		// KubeVirt lets everybody read its own object and the instance types.
		want := "dns ok, reachable ok, tls ok, credentials ok, kubernetes ok, kubevirt ok, permissions failed PERMISSIONS_MISSING, privilege ok, cdi ok, " +
			strings.Replace(rest, "storage ok", "storage failed CLUSTER_FORBIDDEN", 1)
		if got := outcome(f); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		for _, r := range Rules() {
			open := r.Resource == "kubevirts" || r.Group == "instancetype.kubevirt.io"
			if slices.Contains(append(f.Missing, f.Optional...), r) == open {
				t.Errorf("%v is missing: %v", r, !open)
			}
		}
	})
	t.Run("BadToken", func(t *testing.T) {
		cred := admin(t)
		cred.ClientCert, cred.ClientKey, cred.Token = nil, nil, domain.Secret("wrong")
		want := "dns ok, reachable ok, tls ok, credentials failed CLUSTER_UNAUTHORIZED, kubernetes not_run, kubevirt not_run, " + notReached
		if got := outcome(p.Preflight(t.Context(), cred)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// TestHealth: what answers badly is unhealthy, what does not answer unreachable.
func TestHealth(t *testing.T) {
	p, _, f := faulty(t)
	check := func(name string, before func(http.ResponseWriter, *http.Request) bool, status domain.ClusterStatus, code string) {
		t.Helper()
		f.set(before, nil)
		began := time.Now()
		h := p.CheckHealth(t.Context(), "c1", false)
		if h.Status != status || h.Reason.Code != code {
			t.Errorf("%s: %s %+v, want %s %s", name, h.Status, h.Reason, status, code)
		}
		if d := time.Since(began); d > healthTimeout+time.Second {
			t.Errorf("%s took %v", name, d)
		}
	}
	on := func(part string, w func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, part) {
				return false
			}
			w(rw)
			return true
		}
	}
	refuse := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { answer(w, code, status(code, "", "no")) }
	}
	kubevirts := func(items string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"apiVersion":"kubevirt.io/v1","kind":"KubeVirtList","metadata":{},"items":[%s]}`, items)
		}
	}
	check("well", nil, domain.ClusterHealthy, "")
	check("401", on("/", refuse(401)), domain.ClusterUnhealthy, apperr.ErrClusterUnauthorized)
	check("500", on("/", refuse(500)), domain.ClusterUnhealthy, apperr.ErrClusterDegraded)
	check("no right to see nodes", on("/nodes", refuse(403)), domain.ClusterUnhealthy, apperr.ErrClusterForbidden)
	check("no KubeVirt API", on("/kubevirts", func(w http.ResponseWriter) { http.Error(w, "404 page not found", 404) }), domain.ClusterUnhealthy, apperr.ErrKubeVirtMissing)
	check("no KubeVirt object", on("/kubevirts", kubevirts("")), domain.ClusterUnhealthy, apperr.ErrKubeVirtMissing)
	check("KubeVirt is being installed", on("/kubevirts", kubevirts(`{"status":{"phase":"Deploying"}}`)), domain.ClusterUnhealthy, apperr.ErrKubeVirtNotReady)
	check("KubeVirt is not available", on("/kubevirts", kubevirts(`{"status":{"phase":"Deployed","conditions":[{"type":"Available","status":"False"}]}}`)), domain.ClusterUnhealthy, apperr.ErrKubeVirtNotReady)
	check("hangs up", abort, domain.ClusterUnreachable, apperr.ErrClusterUnreachable)
	check("says nothing", func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }, domain.ClusterUnreachable, apperr.ErrClusterTimeout)

	if h := p.CheckHealth(t.Context(), "unknown", false); h.Status != domain.ClusterUnreachable || h.Reason.Code != apperr.ErrNotFound {
		t.Errorf("a cluster that is not there: %+v", h)
	}
}
