//go:build e2e

package kubevirt

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// outcome writes a pre-flight in one line.
func outcome(f domain.Preflight) string {
	var parts []string
	for _, c := range f.Checks {
		s := c.ID + " " + string(c.State)
		if c.Code != "" {
			s += " " + c.Code
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, ", ")
}

func TestPreflight(t *testing.T) {
	p, _ := testProvider(t, admin(t))
	ns := namespace(t)

	t.Run("Administrator", func(t *testing.T) {
		f := p.Preflight(t.Context(), admin(t))
		if !f.Passed() || len(f.Missing) > 0 || !slices.Equal(f.Excess, []string{"*", "secrets", "impersonate"}) {
			t.Errorf("%s, missing %v, excess %v", outcome(f), f.Missing, f.Excess)
		}
		if h := f.Health; h.IdentityUID == "" || h.KubeVirtVersion == "" || h.KubernetesVersion == "" || h.Nodes == 0 || len(h.StorageClasses) != 2 || !slices.Contains(h.Features, "HotplugVolumes") {
			t.Errorf("health is not complete: %+v", h)
		}
	})
	t.Run("LeastPrivilege", func(t *testing.T) {
		f := p.Preflight(t.Context(), serviceAccount(t, p, ns, ClusterRoleYAML(nil)))
		if !f.Passed() || len(f.Missing) > 0 || len(f.Excess) > 0 {
			t.Errorf("%s, missing %v, excess %v", outcome(f), f.Missing, f.Excess)
		}
	})
	t.Run("TooLittle", func(t *testing.T) {
		want := []domain.ResourceRule{{Group: "kubevirt.io", Resource: "virtualmachines", Verb: "delete"}, {Resource: "secrets", Verb: "patch"}}
		without := slices.DeleteFunc(Rules(), func(r domain.ResourceRule) bool { return slices.Contains(want, r) })
		cred := serviceAccount(t, p, ns, ClusterRoleYAML(without))
		f := p.Preflight(t.Context(), cred)
		if f.Passed() || !slices.Equal(f.Missing, want) {
			t.Errorf("%s, missing %v", outcome(f), f.Missing)
		}
		if last := f.Checks[len(f.Checks)-1]; last.Code != apperr.ErrPermissionsMissing || last.Params["count"] != 2 {
			t.Errorf("permissions: %+v", last)
		}
	})
	t.Run("Nothing", func(t *testing.T) {
		cred := serviceAccount(t, p, ns, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: nothing}\n")
		f := p.Preflight(t.Context(), cred)
		// KubeVirt lets everybody read its own object and the instance types.
		want := "reachable ok, tls ok, credentials ok, kubernetes ok, kubevirt ok, storage failed CLUSTER_FORBIDDEN, permissions failed PERMISSIONS_MISSING"
		if got := outcome(f); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		for _, r := range Rules() {
			open := r.Resource == "kubevirts" || r.Group == "instancetype.kubevirt.io"
			if slices.Contains(f.Missing, r) == open {
				t.Errorf("%v is missing: %v", r, !open)
			}
		}
	})
	t.Run("BadToken", func(t *testing.T) {
		cred := admin(t)
		cred.ClientCert, cred.ClientKey, cred.Token = nil, nil, domain.Secret("wrong")
		want := "reachable ok, tls ok, credentials failed CLUSTER_UNAUTHORIZED, kubernetes not_run, kubevirt not_run, storage not_run, permissions not_run"
		if got := outcome(p.Preflight(t.Context(), cred)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestPreflightOfStrangers(t *testing.T) {
	_, page := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>CANARY</html>") }))
	_, json := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, map[string]string{"name": "CANARY"}) }))
	_, redirect := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
	}))
	untrusted := page
	untrusted.CA = nil
	refused := page
	refused.Server = "https://127.0.0.1:1"
	unknown := page
	unknown.Server = "https://no-such-host.invalid"
	metadata := page
	metadata.Server = "https://169.254.169.254"
	ssh := page
	ssh.Server = "https://" + listen(t, func(c net.Conn) { _, _ = c.Write([]byte("SSH-2.0-CANARY\r\n")); c.Close() })
	const rest = "credentials not_run, kubernetes not_run, kubevirt not_run, storage not_run, permissions not_run"
	tests := []struct {
		name string
		cred domain.Credential
		want string
	}{
		{"a web page", page, "reachable ok, tls ok, credentials not_run, kubernetes failed NOT_KUBERNETES, kubevirt not_run, storage not_run, permissions not_run"},
		{"other JSON", json, "reachable ok, tls ok, credentials not_run, kubernetes failed NOT_KUBERNETES, kubevirt not_run, storage not_run, permissions not_run"},
		{"a redirect", redirect, "reachable ok, tls ok, credentials not_run, kubernetes failed NOT_KUBERNETES, kubevirt not_run, storage not_run, permissions not_run"},
		{"another authority", untrusted, "reachable ok, tls failed CLUSTER_TLS_UNTRUSTED, " + rest},
		{"an ssh server", ssh, "reachable ok, tls failed CLUSTER_TLS_UNTRUSTED, " + rest},
		{"nobody", refused, "reachable failed CLUSTER_CONNECT_REFUSED, tls not_run, " + rest},
		{"no name", unknown, "reachable failed CLUSTER_DNS_FAILED, tls not_run, " + rest},
		{"metadata", metadata, "reachable failed ADDRESS_NOT_ALLOWED, tls not_run, " + rest},
	}
	p := New(NewKubeconfigProvider(newStore()), Options{AllowCIDRs: loopback})
	defer p.Close()
	for _, tt := range tests {
		began := time.Now()
		f := p.Preflight(t.Context(), tt.cred)
		if got := outcome(f); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
		if s := fmt.Sprintf("%+v", f); strings.Contains(s, "CANARY") || f.Passed() {
			t.Errorf("%s: tells too much: %s", tt.name, s)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%s took %v", tt.name, d)
		}
	}
}

// TestHealth: what answers badly is unhealthy, what does not answer unreachable.
func TestHealth(t *testing.T) {
	p, _, f := faulty(t)
	check := func(name string, before func(http.ResponseWriter, *http.Request) bool, status domain.ClusterStatus, code string) {
		t.Helper()
		f.set(before, nil)
		began := time.Now()
		h := p.CheckHealth(t.Context(), "c1")
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

	if h := p.CheckHealth(t.Context(), "unknown"); h.Status != domain.ClusterUnreachable || h.Reason.Code != apperr.ErrNotFound {
		t.Errorf("a cluster that is not there: %+v", h)
	}
}

func TestClusterRoleYAML(t *testing.T) {
	all := ClusterRoleYAML(nil)
	for _, must := range []string{`"virtualmachines/start"`, `"virtualmachines"`, `resources: ["secrets"]` + "\n    verbs: [\"create\", \"patch\"]"} {
		if !strings.Contains(all, must) {
			t.Errorf("no %s in\n%s", must, all)
		}
	}
	if strings.Contains(all, "*") {
		t.Errorf("a wildcard in\n%s", all)
	}
	got := ClusterRoleYAML([]domain.ResourceRule{{Group: "kubevirt.io", Resource: "virtualmachines", Verb: "get"}, {Resource: "nodes", Verb: "list"}, {Group: "kubevirt.io", Resource: "virtualmachines", Verb: "delete"}})
	want := `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: kubevirt-shepherd-missing
rules:
  - apiGroups: ["kubevirt.io"]
    resources: ["virtualmachines"]
    verbs: ["get", "delete"]
  - apiGroups: [""]
    resources: ["nodes"]
    verbs: ["list"]
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
