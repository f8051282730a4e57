package kubevirt

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	authv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// The table against what KubeVirt's source says, version by version.
func TestGates(t *testing.T) {
	for gate, states := range gates {
		if len(states) != 10 || strings.Trim(states, "abGdx-") != "" {
			t.Errorf("%s: %q", gate, states)
		}
	}
	has := func(version, gate string, on, off []string, want bool) {
		t.Helper()
		if got := slices.Contains(inEffect(version, on, off), gate); got != want {
			t.Errorf("%s in %s with %v and without %v: %v", gate, version, on, off, got)
		}
	}
	for _, tt := range []struct {
		gate string
		from int // minor version from which on it is on by default; 10: never
	}{
		{"LiveMigration", 0}, {"NonRoot", 0}, {"CPUNodeDiscovery", 1}, {"NUMA", 4}, {"GPU", 4}, {"HotplugNICs", 4},
		{"CommonInstancetypesDeploymentGate", 4}, {"NetworkBindingPlugins", 5}, {"VMLiveUpdateFeatures", 5}, {"VolumeMigration", 5},
		{"VMPersistentState", 6}, {"InstancetypeReferencePolicy", 6}, {"EnableVirtioFsConfigVolumes", 8},
		{"ExpandDisks", 9}, {"VMExport", 9}, {"PersistentReservation", 9}, // generally available in 1.9
		{"Snapshot", 9}, {"ImageVolume", 9}, {"NodeRestriction", 9}, {"DeclarativeHotplugVolumes", 9}, // beta, which is on from 1.9
		{"HotplugVolumes", 10}, {"Sidecar", 10}, {"HostDevices", 10}, {"Macvtap", 10}, {"Passt", 10}, {"MultiArchitecture", 10},
	} {
		for minor := range 10 {
			has(fmt.Sprintf("v1.%d.3", minor), tt.gate, nil, nil, minor >= tt.from)
		}
	}

	has("v1.6.2", "Snapshot", nil, nil, false) // beta, and off
	has("v1.6.2", "Snapshot", []string{"Snapshot"}, nil, true)
	has("v1.9.0", "Snapshot", nil, []string{"Snapshot"}, false)
	has("v1.9.0", "Snapshot", []string{"Snapshot"}, []string{"Snapshot"}, true)
	has("v1.9.0", "LiveMigration", nil, []string{"LiveMigration"}, true)   // graduated: cannot be switched off
	has("v1.9.0", "HotplugVolumes", []string{"HotplugVolumes"}, nil, true) // deprecated
	has("v1.9.0", "Macvtap", []string{"Macvtap"}, nil, false)              // discontinued
	has("v1.2.0", "Macvtap", []string{"Macvtap"}, nil, true)
	has("v1.3.1", "VideoConfig", []string{"VideoConfig"}, nil, false) // not invented yet
	has("v1.9.0", "Nonsense", []string{"Nonsense"}, nil, false)
	has("v1.14.0", "Nonsense", []string{"Nonsense"}, nil, true) // a gate of the future
	has("v1.14.0", "Snapshot", nil, nil, true)
	has("v2.0.0", "Snapshot", nil, []string{"Snapshot"}, false)
	has("v1.9.0-rc.1-12-gabcdef", "Snapshot", nil, nil, true)
	has("1.8.4", "Snapshot", nil, nil, false)
	has("v0.59.0", "LiveMigration", nil, nil, false) // before the table: only what is switched on
	has("a3c91f0", "HostDisk", []string{"HostDisk"}, nil, true)
	if got := inEffect("", nil, nil); len(got) != 0 {
		t.Errorf("of an unknown version: %v", got)
	}
	if got := inEffect("v1.0.0", []string{"Sidecar", "Sidecar"}, nil); !slices.Equal(got, []string{"LiveMigration", "NonRoot", "NonRootExperimental", "PSA", "SRIOVLiveMigration", "Sidecar"}) {
		t.Errorf("1.0: %v", got)
	}
}

// fakeCluster answers like a Kubernetes with KubeVirt, and counts what it is asked.
type fakeCluster struct {
	mu      sync.Mutex
	asked   map[string]int // path to requests
	accepts map[string]string
	answers map[string]string // path to JSON; what is missing is a 404
	refuse  map[string]int    // path to status
	denied  map[string]bool   // "group/resource verb" that the credential may not
	extra   map[string]bool   // likewise, that it may beside what it needs
	plain   bool              // no aggregated discovery
}

const (
	readyNode = `"conditions":[{"type":"Ready","status":"True"}],"nodeInfo":{"kubeletVersion":"v1.34.1"}`
	kubesys   = "/api/v1/namespaces/kube-system"
	kubevirts = "/apis/kubevirt.io/v1/kubevirts"
	nodesPath = "/api/v1/nodes"
	classes   = "/apis/storage.k8s.io/v1/storageclasses"
	itypes    = "/apis/instancetype.kubevirt.io/v1/virtualmachineclusterinstancetypes"
	prefs     = "/apis/instancetype.kubevirt.io/v1/virtualmachineclusterpreferences"
	snapclass = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses"
)

func kubevirtObject(version, gates, disabled string) string {
	return fmt.Sprintf(`{"kind":"KubeVirtList","metadata":{},"items":[{"spec":{"configuration":{"developerConfiguration":{"featureGates":[%s],"disabledFeatureGates":[%s]}}},
		"status":{"phase":"Deployed","observedKubeVirtVersion":%q,"conditions":[{"type":"Available","status":"True"}]}}]}`, gates, disabled, version)
}

func listOf(kind string, n int) string {
	return `{"kind":"` + kind + `","metadata":{},"items":[` + strings.TrimSuffix(strings.Repeat(`{"metadata":{"name":"x"}},`, n), ",") + `]}`
}

func newFake() *fakeCluster {
	return &fakeCluster{
		asked: map[string]int{}, accepts: map[string]string{}, refuse: map[string]int{}, denied: map[string]bool{}, extra: map[string]bool{},
		answers: map[string]string{
			"/version": `{"major":"1","minor":"34","gitVersion":"v1.34.1"}`,
			kubesys:    `{"kind":"Namespace","metadata":{"name":"kube-system","uid":"uid-1"}}`,
			kubevirts:  kubevirtObject("v1.9.0", `"Sidecar"`, `"ImageVolume"`),
			nodesPath:  `{"kind":"NodeList","metadata":{},"items":[{"status":{"allocatable":{"cpu":"4","memory":"8Gi"},` + readyNode + `}}]}`,
			classes:    `{"kind":"StorageClassList","metadata":{},"items":[{"metadata":{"name":"fast","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}},{"metadata":{"name":"slow"}}]}`,
			itypes:     listOf("PartialObjectMetadataList", 3), prefs: listOf("VirtualMachineClusterPreferenceList", 2), snapclass: listOf("PartialObjectMetadataList", 1),
			"/apis/cdi.kubevirt.io/v1beta1": `{"kind":"APIResourceList","resources":[{"name":"datavolumes"}]}`,
		},
	}
}

var fakeGroups = map[string][]string{
	"apps": {"v1"}, "kubevirt.io": {"v1", "v1alpha3"}, "subresources.kubevirt.io": {"v1"}, "instancetype.kubevirt.io": {"v1", "v1beta1"},
	"snapshot.kubevirt.io": {"v1beta1"}, "cdi.kubevirt.io": {"v1beta1"}, "snapshot.storage.k8s.io": {"v1"}, "evil-kubevirt.io": {"v1"},
}

func (f *fakeCluster) apis(accept string) string {
	var parts []string
	old := f.plain || !strings.Contains(accept, "APIGroupDiscoveryList")
	for _, g := range slices.Sorted(maps.Keys(fakeGroups)) {
		var versions []string
		for _, v := range fakeGroups[g] {
			switch {
			case old:
				versions = append(versions, fmt.Sprintf(`{"groupVersion":"%s/%s","version":%q}`, g, v, v))
			default:
				resource := "things"
				if g == groupCDI {
					resource = "datavolumes"
				}
				versions = append(versions, fmt.Sprintf(`{"version":%q,"resources":[{"resource":%q,"verbs":["get"]}]}`, v, resource))
			}
		}
		if list := strings.Join(versions, ","); old {
			parts = append(parts, fmt.Sprintf(`{"name":%q,"versions":[%s]}`, g, list))
		} else {
			parts = append(parts, fmt.Sprintf(`{"metadata":{"name":%q},"versions":[%s]}`, g, list))
		}
	}
	if old {
		return `{"kind":"APIGroupList","groups":[` + strings.Join(parts, ",") + `]}`
	}
	return `{"kind":"APIGroupDiscoveryList","metadata":{},"items":[` + strings.Join(parts, ",") + `]}`
}

func (f *fakeCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[r.URL.Path]++
	f.accepts[r.URL.Path] = r.Header.Get("Accept")
	if code := f.refuse[r.URL.Path]; code != 0 {
		answer(w, code, status(code, "", "no"))
		return
	}
	if strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews") {
		body, _ := io.ReadAll(r.Body)
		var review authv1.SelfSubjectAccessReview // JSON or protobuf
		if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, &review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a := review.Spec.ResourceAttributes
		rule := domain.ResourceRule{Group: a.Group, Resource: a.Resource, Verb: a.Verb}
		if a.Subresource != "" {
			rule.Resource += "/" + a.Subresource
		}
		key := rule.Group + "/" + rule.Resource + " " + rule.Verb
		review.TypeMeta = metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"}
		review.Status.Allowed = slices.Contains(Rules(), rule) && !f.denied[key] || f.extra[key]
		answer(w, http.StatusCreated, review)
		return
	}
	body, ok := f.answers[r.URL.Path]
	if !ok && r.URL.Path == "/apis" {
		body, ok = f.apis(r.Header.Get("Accept")), true
	}
	if !ok {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(body))
}

// requests are the paths that were asked for since the last time, sorted.
func (f *fakeCluster) requests() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, path := range slices.Sorted(maps.Keys(f.asked)) {
		all = append(all, fmt.Sprintf("%d %s", f.asked[path], path))
	}
	clear(f.asked)
	return strings.Join(all, "\n")
}

// A regular check is three reads; a description adds six.
func TestReadsOfACheck(t *testing.T) {
	f := newFake()
	p := scripted(t, f.ServeHTTP)
	h := p.CheckHealth(t.Context(), "c1", false)
	if h.Status != domain.ClusterHealthy || h.IdentityUID != "uid-1" || h.KubeVirtVersion != "v1.9.0" || h.Nodes != 1 || h.ReadyNodes != 1 || h.Allocatable.CPU != 4 {
		t.Errorf("health %+v", h)
	}
	if !h.DescribedAt.IsZero() || h.StorageClasses != nil || h.KubernetesVersion != "" {
		t.Errorf("it described: %+v", h)
	}
	for gate, want := range map[string]bool{"Sidecar": true, "Snapshot": true, "LiveMigration": true, "ImageVolume": false} {
		if slices.Contains(h.Features, gate) != want {
			t.Errorf("%s is in effect: %v", gate, !want)
		}
	}
	if c := h.Capabilities; !slices.Equal(c.Gates, []string{"Sidecar"}) || !slices.Equal(c.DisabledGates, []string{"ImageVolume"}) || !slices.Equal(c.Kubelets, []string{"v1.34.1"}) {
		t.Errorf("capabilities %+v", c)
	}
	const regular = "1 " + kubesys + "\n1 " + nodesPath + "\n"
	if got, want := f.requests(), regular+"1 "+kubevirts; got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}

	d := p.CheckHealth(t.Context(), "c1", true)
	want := domain.Capabilities{
		Gates: []string{"Sidecar"}, DisabledGates: []string{"ImageVolume"}, Kubelets: []string{"v1.34.1"}, InstanceTypes: 3, Preferences: 2,
		APIs: []string{
			"cdi.kubevirt.io/v1beta1", "instancetype.kubevirt.io/v1", "instancetype.kubevirt.io/v1beta1", "kubevirt.io/v1", "kubevirt.io/v1alpha3",
			"snapshot.kubevirt.io/v1beta1", "snapshot.storage.k8s.io/v1", "subresources.kubevirt.io/v1",
		},
	}
	if n := d.Capabilities.SnapshotClasses; n == nil || *n != 1 {
		t.Errorf("snapshot classes %v", n)
	}
	d.Capabilities.SnapshotClasses = nil
	if !reflect.DeepEqual(d.Capabilities, want) {
		t.Errorf("capabilities\n%+v want\n%+v", d.Capabilities, want)
	}
	if d.Status != domain.ClusterHealthy || d.DescribedAt.IsZero() || d.KubernetesVersion != "v1.34.1" || len(d.StorageClasses) != 2 || !d.StorageClasses[0].Default || !d.Gap.IsZero() {
		t.Errorf("description %+v", d)
	}
	if got, want := f.requests(), regular+"1 /apis\n1 "+itypes+"\n1 "+prefs+"\n1 "+kubevirts+"\n1 "+snapclass+"\n1 "+classes+"\n1 /version"; got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(f.accepts[itypes], "PartialObjectMetadataList") {
		t.Errorf("instance types are read whole: %s", f.accepts[itypes])
	}

	// Before Kubernetes 1.26, and where the one answer would be too large.
	check := func(what string) {
		t.Helper()
		d := p.CheckHealth(t.Context(), "c1", true)
		d.Capabilities.SnapshotClasses = nil
		if !reflect.DeepEqual(d.Capabilities, want) || !d.Gap.IsZero() {
			t.Errorf("%s: %+v %+v", what, d.Capabilities, d.Gap)
		}
		if got := f.requests(); !strings.Contains(got, "/apis/cdi.kubevirt.io/v1beta1") {
			t.Errorf("%s: asked\n%s", what, got)
		}
	}
	f.plain = true
	check("no aggregated discovery")
	f.plain = false
	large := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/apis" && strings.Contains(r.Header.Get("Accept"), "APIGroupDiscoveryList") {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"kind":"APIGroupDiscoveryList","items":[],"x":"` + strings.Repeat("x", maxObject) + `"}`))
			return
		}
		f.ServeHTTP(w, r)
	})
	p = large
	check("too large")
}

// What a description cannot read decides nothing, and is told unless it is
// optional.
func TestGaps(t *testing.T) {
	for _, tt := range []struct {
		name   string
		path   string
		code   int
		gap    string
		status domain.ClusterStatus
	}{
		{"storage classes are forbidden", classes, 403, apperr.ErrClusterForbidden, domain.ClusterHealthy},
		{"discovery fails", "/apis", 500, apperr.ErrClusterDegraded, domain.ClusterHealthy},
		{"instance types are forbidden", itypes, 403, "", domain.ClusterHealthy},
		{"instance types fail", itypes, 500, apperr.ErrClusterDegraded, domain.ClusterHealthy},
		{"snapshot classes are not served", snapclass, 404, "", domain.ClusterHealthy},
		{"who it is may not be read", kubesys, 403, "", domain.ClusterUnhealthy},
		{"nodes fail", nodesPath, 500, "", domain.ClusterUnhealthy},
	} {
		f := newFake()
		f.refuse[tt.path] = tt.code
		h := scripted(t, f.ServeHTTP).CheckHealth(t.Context(), "c1", true)
		if h.Status != tt.status || h.Gap.Code != tt.gap || h.DescribedAt.IsZero() {
			t.Errorf("%s: %s %+v, gap %+v", tt.name, h.Status, h.Reason, h.Gap)
		}
	}
	// Kubernetes' version is part of every description.
	f := newFake()
	f.refuse["/version"] = 500
	if h := scripted(t, f.ServeHTTP).CheckHealth(t.Context(), "c1", true); h.Status != domain.ClusterHealthy || !h.DescribedAt.IsZero() {
		t.Errorf("without a version: %+v", h)
	}
}

// HEALTHY needs all three: who it is, KubeVirt, a node.
func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		path, answer string
		status       domain.ClusterStatus
		code         string
	}{
		{kubesys, `{"kind":"Namespace","metadata":{}}`, domain.ClusterUnreachable, apperr.ErrNotKubernetes},
		{kubesys, `{"name":"something else"}`, domain.ClusterUnreachable, apperr.ErrNotKubernetes},
		{kubesys, `<html>`, domain.ClusterUnreachable, apperr.ErrNotKubernetes},
		{kubesys, ``, domain.ClusterUnreachable, apperr.ErrNotKubernetes}, // 404
		{kubevirts, `{"kind":"KubeVirtList","items":[]}`, domain.ClusterUnhealthy, apperr.ErrKubeVirtMissing},
		{kubevirts, ``, domain.ClusterUnhealthy, apperr.ErrKubeVirtMissing},
		{kubevirts, `{"kind":"KubeVirtList","items":[{"status":{"phase":"Deploying","observedKubeVirtVersion":"v1.8.0"}}]}`, domain.ClusterUnhealthy, apperr.ErrKubeVirtNotReady},
		{nodesPath, `{"kind":"NodeList","items":[]}`, domain.ClusterUnhealthy, apperr.ErrNodesNotReady},
		{nodesPath, `{"kind":"NodeList","items":[{"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}]}`, domain.ClusterUnhealthy, apperr.ErrNodesNotReady},
		{nodesPath, `{"kind":"NodeList","metadata":{"continue":"x"},"items":[{"status":{` + readyNode + `}}]}`, domain.ClusterUnhealthy, apperr.ErrClusterDegraded}, // endless
	} {
		f := newFake()
		if tt.answer == "" {
			delete(f.answers, tt.path)
		} else {
			f.answers[tt.path] = tt.answer
		}
		if h := scripted(t, f.ServeHTTP).CheckHealth(t.Context(), "c1", false); h.Status != tt.status || h.Reason.Code != tt.code {
			t.Errorf("%s %s: %s %+v", tt.path, tt.answer, h.Status, h.Reason)
		}
	}
}
