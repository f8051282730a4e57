package kubevirt

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
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

// check is one line of a pre-flight.
func check(f domain.Preflight, id string) domain.Check {
	i := slices.IndexFunc(f.Checks, func(c domain.Check) bool { return c.ID == id })
	return f.Checks[i]
}

const notReached = "permissions not_run, privilege not_run, cdi not_run, snapshots not_run, storage not_run, instancetypes not_run"

// What a cluster that is one lacks, and what the pre-flight says of it.
func TestPreflightFinds(t *testing.T) {
	const (
		way  = "dns ok, reachable ok, tls ok, credentials ok, "
		well = "kubernetes ok, kubevirt ok, permissions ok, privilege ok, cdi ok, snapshots ok, storage ok, instancetypes ok"
	)
	but := func(was, is string) string { return strings.Replace(well, was, is, 1) }
	for _, tt := range []struct {
		name   string
		change func(*fakeCluster)
		want   string
		passes bool
	}{
		{"all is there", func(*fakeCluster) {}, well, true},
		{"no ready node", func(f *fakeCluster) { f.answers[nodesPath] = `{"kind":"NodeList","items":[]}` }, but("kubernetes ok", "kubernetes warn NODES_NOT_READY"), true},
		{"no KubeVirt", func(f *fakeCluster) { f.answers[kubevirts] = `{"kind":"KubeVirtList","items":[]}` }, strings.Replace(but("kubevirt ok", "kubevirt failed KUBEVIRT_MISSING"), "snapshots ok", "snapshots warn SNAPSHOTS_MISSING", 1), false},
		{"an older KubeVirt without the gate", func(f *fakeCluster) { f.answers[kubevirts] = kubevirtObject("v1.8.4", "", "") }, but("snapshots ok", "snapshots warn SNAPSHOTS_MISSING"), true},
		{"an older KubeVirt with the gate", func(f *fakeCluster) { f.answers[kubevirts] = kubevirtObject("v1.8.4", `"Snapshot"`, "") }, well, true},
		{"no discovery", func(f *fakeCluster) { f.refuse["/apis"] = 500 }, strings.NewReplacer("cdi ok", "cdi warn CLUSTER_DEGRADED", "snapshots ok", "snapshots warn CLUSTER_DEGRADED", "instancetypes ok", "instancetypes warn CLUSTER_DEGRADED").Replace(well), true},
		{"no CDI", func(f *fakeCluster) {
			f.answers["/apis"] = strings.ReplaceAll(f.apis("APIGroupDiscoveryList"), "datavolumes", "others")
		}, but("cdi ok", "cdi warn CDI_MISSING"), true},
		{"no volume snapshots", func(f *fakeCluster) {
			f.answers["/apis"] = strings.ReplaceAll(f.apis("APIGroupDiscoveryList"), "snapshot.storage.k8s.io", "other")
		}, but("snapshots ok", "snapshots warn SNAPSHOTS_MISSING"), true},
		{"no snapshot class", func(f *fakeCluster) { f.answers[snapclass] = listOf("VolumeSnapshotClassList", 0) }, but("snapshots ok", "snapshots warn SNAPSHOT_CLASS_MISSING"), true},
		{"no preferences", func(f *fakeCluster) { f.answers[prefs] = listOf("PartialObjectMetadataList", 0) }, but("instancetypes ok", "instancetypes warn INSTANCETYPES_MISSING"), true},
		{"no storage class", func(f *fakeCluster) { f.answers[classes] = listOf("StorageClassList", 0) }, but("storage ok", "storage warn STORAGE_CLASS_MISSING"), true},
		{"no default storage class", func(f *fakeCluster) { f.answers[classes] = listOf("StorageClassList", 2) }, but("storage ok", "storage warn STORAGE_CLASS_NO_DEFAULT"), true},
		{"an optional permission is missing", func(f *fakeCluster) { f.denied["/resourcequotas list"] = true }, but("permissions ok", "permissions warn PERMISSIONS_OPTIONAL"), true},
		{"a needed permission is missing", func(f *fakeCluster) { f.denied["kubevirt.io/virtualmachines delete"] = true }, but("permissions ok", "permissions failed PERMISSIONS_MISSING"), false},
		{"too much", func(f *fakeCluster) {
			f.extra["/secrets list"] = true
			f.extra["/secrets get"] = true
			f.extra["/nodes/proxy create"] = true
		}, but("privilege ok", "privilege warn PERMISSIONS_EXCESS"), true},
		{"rights cannot be asked for", func(f *fakeCluster) { f.refuse["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"] = 401 }, "", false},
	} {
		f := newFake()
		tt.change(f)
		_, cred := serve(t, f)
		p, _ := testProvider(t, cred)
		got := p.Preflight(t.Context(), cred)
		want := way + tt.want
		if tt.want == "" {
			want = strings.Replace(way, "credentials ok", "credentials failed CLUSTER_UNAUTHORIZED", 1) + "kubernetes not_run, kubevirt not_run, " + notReached
		}
		if outcome(got) != want || got.Passed() != tt.passes {
			t.Errorf("%s: passes %v\ngot  %s\nwant %s", tt.name, got.Passed(), outcome(got), want)
		}
		switch tt.name {
		case "too much":
			if !slices.Equal(got.Excess, []string{"secrets", "nodes_proxy"}) {
				t.Errorf("excess %v", got.Excess)
			}
		case "an optional permission is missing":
			if check(got, domain.CheckPermissions).Params["lost"] != "quotas" || !slices.Equal(got.Optional, []domain.ResourceRule{{Resource: "resourcequotas", Verb: "list"}}) || len(got.Missing) > 0 {
				t.Errorf("%+v, optional %v", check(got, domain.CheckPermissions), got.Optional)
			}
		case "a needed permission is missing":
			if !slices.Equal(got.Missing, []domain.ResourceRule{{Group: "kubevirt.io", Resource: "virtualmachines", Verb: "delete"}}) {
				t.Errorf("missing %v", got.Missing)
			}
		case "all is there":
			if h := got.Health; h.IdentityUID != "uid-1" || h.KubernetesVersion != "v1.34.1" || h.DescribedAt.IsZero() || h.Capabilities.InstanceTypes != 3 || !h.Capabilities.Serves("cdi.kubevirt.io") {
				t.Errorf("health %+v", h)
			}
		}
	}
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
	const (
		rest      = "credentials not_run, kubernetes not_run, kubevirt not_run, " + notReached
		noVersion = "dns ok, reachable ok, tls ok, credentials not_run, kubernetes failed NOT_KUBERNETES, kubevirt not_run, " + notReached
	)
	tests := []struct {
		name string
		cred domain.Credential
		want string
	}{
		{"a web page", page, noVersion},
		{"other JSON", json, noVersion},
		{"a redirect", redirect, noVersion},
		{"another authority", untrusted, "dns ok, reachable ok, tls failed CLUSTER_TLS_UNTRUSTED, " + rest},
		{"an ssh server", ssh, "dns ok, reachable ok, tls failed CLUSTER_TLS_UNTRUSTED, " + rest},
		{"nobody", refused, "dns ok, reachable failed CLUSTER_CONNECT_REFUSED, tls not_run, " + rest},
		{"no name", unknown, "dns failed CLUSTER_DNS_FAILED, reachable not_run, tls not_run, " + rest},
		{"metadata", metadata, "dns ok, reachable failed ADDRESS_NOT_ALLOWED, tls not_run, " + rest},
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

func TestClusterRoleYAML(t *testing.T) {
	all := ClusterRoleYAML(nil, "")
	for _, must := range []string{`"virtualmachines/start"`, `"virtualmachines"`, `resources: ["secrets"]` + "\n    verbs: [\"create\", \"patch\"]"} {
		if !strings.Contains(all, must) {
			t.Errorf("no %s in\n%s", must, all)
		}
	}
	if strings.Contains(all, "*") || strings.Count(all, "# optional: ") != 6 {
		t.Errorf("a wildcard in\n%s", all)
	}
	rules := []domain.ResourceRule{{Group: "kubevirt.io", Resource: "virtualmachines", Verb: "get"}, {Resource: "nodes", Verb: "list"}, {Group: "kubevirt.io", Resource: "virtualmachines", Verb: "delete"}, {Resource: "resourcequotas", Verb: "list"}}
	got := ClusterRoleYAML(rules, "system:serviceaccount:shepherd-system:shepherd")
	want := `# What the credential of KubeVirt Shepherd lacks. Apply it with: kubectl apply -f FILE
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: NAME
rules:
  - apiGroups: ["kubevirt.io"]
    resources: ["virtualmachines"]
    verbs: ["get", "delete"]
  - apiGroups: [""]
    resources: ["nodes"]
    verbs: ["list"]
  # optional: to show what is left of a namespace's quota
  - apiGroups: [""]
    resources: ["resourcequotas"]
    verbs: ["list"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: NAME
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: NAME
subjects:
  - kind: ServiceAccount
    namespace: shepherd-system
    name: shepherd
`
	roleName := func(manifest string) string {
		return regexp.MustCompile(`name: (kubevirt-shepherd-missing-[0-9a-f]{8})\n`).FindStringSubmatch(manifest)[1]
	}
	if plain := strings.ReplaceAll(got, roleName(got), "NAME"); plain != want {
		t.Errorf("got\n%s\nwant\n%s", plain, want)
	}
	// Another role for other rules, so that one does not take the other's away.
	if roleName(got) != roleName(ClusterRoleYAML(rules, "")) || roleName(got) == roleName(ClusterRoleYAML(rules[:1], "")) {
		t.Error("the name of a role does not follow its rules")
	}
	for _, subject := range []string{"", "root", "system:serviceaccount:x", "system:serviceaccount:x:y: z", "system:serviceaccount:x:y\nkind: z"} {
		if strings.Contains(ClusterRoleYAML(rules, subject), "Binding") {
			t.Errorf("bound to %q", subject)
		}
	}
}
