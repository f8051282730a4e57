package kubevirt

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kv "kubevirt.io/api/core/v1"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// gated is a provider whose cluster counts what would change it, and may be
// changed as long as *open says so.
func gated(t *testing.T, open *atomic.Bool) (*Provider, *atomic.Int32) {
	t.Helper()
	var writes atomic.Int32
	_, cred := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.URL.Query().Get("dryRun") == "" && !strings.Contains(r.URL.Path, "reviews") {
			writes.Add(1)
		}
		if strings.Contains(r.URL.Path, "/secrets") {
			answer(w, http.StatusOK, map[string]string{"apiVersion": "v1", "kind": "Secret"})
			return
		}
		vm := kv.VirtualMachine{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "team-a", UID: "u", Annotations: spec("", "").Annotations}}
		vm.APIVersion, vm.Kind = "kubevirt.io/v1", "VirtualMachine"
		answer(w, http.StatusOK, vm)
	}))
	st := newStore()
	st.set("c1", cred)
	p := New(NewKubeconfigProvider(st), Options{AllowCIDRs: loopback, MayWrite: func(_ context.Context, cluster string) error {
		if cluster != "c1" {
			t.Errorf("asked for %q", cluster)
		}
		if open.Load() {
			return nil
		}
		return apperr.New(apperr.ErrClusterQuarantined).With("cluster", "east")
	}})
	t.Cleanup(p.Close)
	return p, &writes
}

// Every way to change a cluster goes through the gate; looking does not.
func TestGate(t *testing.T) {
	var open atomic.Bool
	p, writes := gated(t, &open)
	ctx, ref := t.Context(), provider.Ref{Cluster: "c1", Namespace: "team-a", Name: "web", UID: "u"}
	s := spec("team-a", "web")
	for name, write := range map[string]func() error{
		"create": func() error { _, _, err := p.CreateVM(ctx, "c1", s); return err },
		"update": func() error { _, err := p.UpdateVM(ctx, ref, s); return err },
		"delete": func() error { return p.DeleteVM(ctx, ref) },
		"start":  func() error { return p.StartVM(ctx, ref) }, "stop": func() error { return p.StopVM(ctx, ref) },
		"restart": func() error { return p.RestartVM(ctx, ref) }, "pause": func() error { return p.PauseVM(ctx, ref) }, "unpause": func() error { return p.UnpauseVM(ctx, ref) },
		"migrate": func() error { _, err := p.MigrateVM(ctx, ref); return err },
		"secret": func() error {
			return p.EnsureCloudInit(ctx, "c1", provider.CloudInit{Namespace: "team-a", Name: "web-ci", OperationID: "1"})
		},
		"adopt": func() error { return p.AdoptCloudInit(ctx, ref, "web-ci") },
	} {
		err := write()
		wantCode(t, name, err, apperr.ErrClusterQuarantined)
		if e, _ := apperr.From(err); e != nil && e.Params["cluster"] != "east" {
			t.Errorf("%s: params %v", name, e.Params)
		}
	}
	if n := writes.Load(); n != 0 {
		t.Errorf("%d writes reached the cluster", n)
	}
	if _, err := p.GetVM(ctx, ref); err != nil {
		t.Errorf("reading: %v", err)
	}
	if _, err := p.ValidateSpec(ctx, "c1", s); err != nil {
		t.Errorf("a dry run: %v", err)
	}
	open.Store(true)
	if err := p.DeleteVM(ctx, ref); err != nil || writes.Load() != 1 {
		t.Errorf("open again: %v, %d writes", err, writes.Load())
	}
}

// The gate is asked before each request, not once for a call or an order.
func TestGateClosesBetweenWrites(t *testing.T) {
	var open atomic.Bool
	open.Store(true)
	p, writes := gated(t, &open)
	if err := p.EnsureCloudInit(t.Context(), "c1", provider.CloudInit{Namespace: "team-a", Name: "web-ci", OperationID: "1"}); err != nil {
		t.Fatal(err)
	}
	open.Store(false)
	_, _, err := p.CreateVM(t.Context(), "c1", spec("team-a", "web"))
	wantCode(t, "the next write", err, apperr.ErrClusterQuarantined)
	if writes.Load() != 1 {
		t.Errorf("%d writes", writes.Load())
	}
}

func TestGateKnowsChanges(t *testing.T) {
	for target, want := range map[string]bool{
		"GET /apis/kubevirt.io/v1/virtualmachines":                                     false,
		"POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews":                   false,
		"POST /k8s/clusters/c-1/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": false, // behind Rancher
		"POST /apis/kubevirt.io/v1/namespaces/a/virtualmachines?dryRun=All":            false,
		"POST /apis/kubevirt.io/v1/namespaces/a/virtualmachines?dryRun=None":           true,
		"POST /apis/kubevirt.io/v1/namespaces/reviews/virtualmachines":                 true,
		"POST /apis/example.org/v1/namespaces/a/reviews":                               true,
		"PUT /apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachines/b/start":   true,
		"PATCH /api/v1/namespaces/a/secrets/b":                                         true,
		"DELETE /apis/kubevirt.io/v1/namespaces/a/virtualmachines/b":                   true,
		"POST /api/v1/namespaces":                                                      true,
	} {
		method, url, _ := strings.Cut(target, " ")
		req, err := http.NewRequest(method, "https://c"+url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := changes(req); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
}

// lists is a sink that keeps the versions of the complete lists.
type lists chan string

func (lists) Observe(context.Context, string, []provider.Observation) error { return nil }

func (l lists) Synced(_ context.Context, _ string, list provider.Complete) error {
	l <- list.ResourceVersion
	return nil
}

// A restored API server takes a watch from its future and stays silent. Before
// the watch goes on, the cluster is asked how far it is, and read anew.
func TestWatchOfRestoredCluster(t *testing.T) {
	var mu sync.Mutex
	version, cut := "100", make(chan struct{})
	p := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now, ends := version, cut
		mu.Unlock()
		if r.URL.Query().Get("watch") != "" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			select {
			case <-ends:
			case <-r.Context().Done():
			}
			return
		}
		kind, api := "NodeList", "v1"
		switch {
		case strings.HasSuffix(r.URL.Path, "/virtualmachines"):
			kind, api = "VirtualMachineList", "kubevirt.io/v1"
		case strings.HasSuffix(r.URL.Path, "/virtualmachineinstances"):
			kind, api = "VirtualMachineInstanceList", "kubevirt.io/v1"
		}
		answer(w, http.StatusOK, map[string]any{"kind": kind, "apiVersion": api, "metadata": map[string]any{"resourceVersion": now}, "items": []any{}})
	})
	p.timing.coalesce, p.timing.look, p.timing.maxBackoff = time.Millisecond, time.Nanosecond, 10*time.Millisecond
	got := make(lists, 10)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Watch(ctx, "c1", got, func(time.Time) {})
	}()
	defer func() { stop(); <-done }()
	next := func() string {
		select {
		case v := <-got:
			return v
		case <-time.After(10 * time.Second):
			t.Fatal("no list")
			return ""
		}
	}
	if v := next(); v != "100" {
		t.Fatalf("first list %s", v)
	}
	end := func(v string) {
		mu.Lock()
		defer mu.Unlock()
		close(cut)
		version, cut = v, make(chan struct{})
	}
	end("150") // goes on: no new list
	select {
	case v := <-got:
		t.Fatalf("a new list %s although the cluster went on", v)
	case <-time.After(300 * time.Millisecond):
	}
	end("60")
	if v := next(); v != "60" {
		t.Fatalf("after the restore: %s", v)
	}
}
