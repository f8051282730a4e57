//go:build e2e

package kubevirt

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/provider/providertest"
)

// watching runs a watcher on "c1" until stop or the end of the test.
func watching(t *testing.T, p *Provider) (*providertest.Recorder, func()) {
	t.Helper()
	rec := providertest.NewRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Watch(ctx, "c1", rec, func(time.Time) {})
	}()
	stop := func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return rec, stop
}

func isWatch(r *http.Request) bool { return r.URL.Query().Get("watch") != "" }

func isList(r *http.Request) bool { return r.URL.Query().Get("limit") != "" }

// TestWatchSurvives: the cluster is cut off, comes back, falls silent, and the
// credential changes; no change is lost and no list is read for a cut.
func TestWatchSurvives(t *testing.T) {
	p, st, f := faulty(t)
	p.timing.maxBackoff, p.timing.rotation = time.Second, 200*time.Millisecond
	ns := namespace(t)
	direct, _ := testProvider(t, admin(t)) // makes changes that the watcher has to find out
	make := func(name string) *domain.VM {
		t.Helper()
		vm, _, err := direct.CreateVM(t.Context(), "c1", spec(ns, name))
		if err != nil {
			t.Fatal(err)
		}
		return vm
	}
	drop := func(vm *domain.VM) {
		t.Helper()
		if err := direct.DeleteVM(t.Context(), provider.Ref{Cluster: "c1", Namespace: ns, Name: vm.Name, UID: vm.UID}); err != nil {
			t.Fatal(err)
		}
	}
	seen := func(rec *providertest.Recorder, vm *domain.VM) {
		t.Helper()
		rec.WaitVM(t, ns, vm.Name, "is seen", 10*time.Second, func(got *domain.VM) bool { return got.UID == vm.UID })
	}
	gone := func(rec *providertest.Recorder, vm *domain.VM) {
		t.Helper()
		rec.Wait(t, vm.Name+" is seen deleted", 20*time.Second, func() bool { return rec.Deleted(ns, vm.Name) == vm.UID })
	}

	lists := atomic.Int32{}
	count := func(_ http.ResponseWriter, r *http.Request) bool {
		if isList(r) {
			lists.Add(1)
		}
		return false
	}
	f.set(count, nil)
	first := make("first")
	rec, _ := watching(t, p)
	seen(rec, first)
	rec.Wait(t, "a complete list", 10*time.Second, func() bool { n, _ := rec.Lists(); return n == 1 })
	if _, names := rec.Lists(); !names[provider.Ref{Cluster: "c1", Namespace: ns, Name: "first", UID: first.UID}] {
		t.Errorf("the complete list misses the VM: %v", names)
	}
	seen(rec, make("second"))
	began := lists.Load()

	t.Run("Cut", func(t *testing.T) {
		f.set(abort, nil)
		f.server.CloseClientConnections()
		time.Sleep(1500 * time.Millisecond)
		third := make("third")
		drop(first)
		f.set(count, nil)
		seen(rec, third)
		gone(rec, first)
		if n := lists.Load() - began; n != 0 {
			t.Errorf("%d lists for one cut", n)
		}
	})

	t.Run("Silence", func(t *testing.T) {
		p.timing.silence = 2 * time.Second // for watches that begin now
		f.server.CloseClientConnections()
		hold := atomic.Bool{}
		hold.Store(true)
		held := atomic.Int32{}
		f.set(func(w http.ResponseWriter, r *http.Request) bool {
			if isWatch(r) && hold.Load() {
				held.Add(1)
				w.WriteHeader(200)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return true
			}
			return count(w, r)
		}, nil)
		for held.Load() < 3 {
			time.Sleep(10 * time.Millisecond)
		}
		fourth := make("fourth")
		hold.Store(false)
		seen(rec, fourth)
		if n := lists.Load() - began; n != 0 {
			t.Errorf("%d lists for silence", n)
		}
	})

	t.Run("Refused", func(t *testing.T) {
		rec.Refuse(2)
		seen(rec, make("fifth"))
	})

	t.Run("Rotation", func(t *testing.T) {
		good, _, _ := st.Credential(t.Context(), "c1")
		expired := atomic.Bool{}
		expired.Store(true)
		f.set(func(w http.ResponseWriter, r *http.Request) bool {
			if expired.Load() && r.Header.Get("Authorization") == "Bearer "+testToken {
				answer(w, 401, status(401, "Unauthorized", "Unauthorized"))
				return true
			}
			return false
		}, nil)
		f.server.CloseClientConnections()
		p.timing.maxBackoff = time.Minute // nothing but the new credential helps
		sixth := make("sixth")
		time.Sleep(time.Second)
		if rec.VM(ns, "sixth") != nil {
			t.Fatal("seen with an expired credential")
		}
		good.Token = domain.Secret("new")
		st.set("c1", good)
		seen(rec, sixth)
	})
}

// TestWatchForgets: 410 Gone leads to one new list, whose VMs are observed and
// whose absent ones are not reported as deleted but left to Synced.
func TestWatchForgets(t *testing.T) {
	for name, gone := range map[string]func(w http.ResponseWriter){
		"at the start": func(w http.ResponseWriter) { answer(w, 410, status(410, "Expired", "too old")) },
		"as an event": func(w http.ResponseWriter) {
			e, _ := json.Marshal(status(410, "Expired", "too old"))
			fmt.Fprintf(w, `{"type":"ERROR","object":%s}`+"\n", e)
		},
		"in the future": func(w http.ResponseWriter) {
			s := status(504, "Timeout", "Too large resource version: 100, current: 7")
			s.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}}
			answer(w, 504, s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			lists, watches := atomic.Int32{}, atomic.Int32{}
			p := scripted(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				kind := map[bool]string{true: "VirtualMachine", false: "VirtualMachineInstance"}[strings.HasSuffix(r.URL.Path, "/virtualmachines")]
				switch {
				case strings.HasSuffix(r.URL.Path, "/nodes"):
					kind = "Node"
					if isWatch(r) {
						w.WriteHeader(200)
						w.(http.Flusher).Flush()
						<-r.Context().Done()
						return
					}
					fmt.Fprint(w, `{"apiVersion":"v1","kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[]}`)
				case isWatch(r) && kind == "VirtualMachine" && watches.Add(1) == 1:
					gone(w)
				case isWatch(r):
					w.WriteHeader(200)
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				case kind == "VirtualMachine":
					n := lists.Add(1)
					// Two pages; a VM is lost between the first list and the second.
					item := func(name string) string { return strings.Replace(vmJSON(0), `"x"`, `"`+name+`"`, 1) }
					if r.URL.Query().Get("continue") == "" {
						fmt.Fprintf(w, `{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineList","metadata":{"resourceVersion":"100","continue":"next"},"items":[%s]}`, item("a"))
						return
					}
					rest := item("b")
					if n > 2 {
						rest = item("c")
					}
					fmt.Fprintf(w, `{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineList","metadata":{"resourceVersion":"100"},"items":[%s]}`, rest)
				default:
					fmt.Fprint(w, `{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineInstanceList","metadata":{"resourceVersion":"1"},"items":[]}`)
				}
			})
			p.timing.maxBackoff = 100 * time.Millisecond
			rec, stop := watching(t, p)
			p.timing.coalesce = 10 * time.Millisecond // else both lists are one
			rec.Wait(t, "a second complete list", 5*time.Second, func() bool {
				n, _ := rec.Lists()
				return n > 1 && rec.VM("n", "c") != nil
			})
			stop()
			_, names := rec.Lists()
			if len(names) != 2 || rec.VM("n", "a") == nil || rec.VM("n", "c") == nil {
				t.Errorf("the second list is %v", names)
			}
			if rec.Deleted("n", "b") != "" {
				t.Error("a VM that a list does not show is called deleted")
			}
			if n := lists.Load(); n != 4 {
				t.Errorf("%d pages were read, want 4", n)
			}
		})
	}
}

// TestNodeSilent: KubeVirt goes on saying "Running" when the node is gone.
func TestNodeSilent(t *testing.T) {
	p, _ := testProvider(t, admin(t))
	ns := namespace(t)
	rec, _ := watching(t, p)
	s := spec(ns, "quiet")
	s.Running = true
	vm, _, err := p.CreateVM(t.Context(), "c1", s)
	if err != nil {
		t.Fatal(err)
	}
	ref := provider.Ref{Cluster: "c1", Namespace: ns, Name: vm.Name, UID: vm.UID}
	node := rec.WaitVM(t, ns, vm.Name, "runs", 30*time.Second, func(v *domain.VM) bool {
		return v.Status.State == domain.StateRunning && v.Status.Node != ""
	}).Status.Node

	c, err := p.clients.get(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	patch := func(ctx context.Context, body string, sub ...string) {
		t.Helper()
		if _, err := c.kube.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, []byte(body), metav1.PatchOptions{}, sub...); err != nil {
			t.Fatal(err)
		}
	}
	// The label makes the node's agent still; the condition is what the node
	// controller sets after its grace period of most of a minute.
	patch(t.Context(), `{"metadata":{"labels":{"testbed.local/down":"true"}}}`)
	restore := func(ctx context.Context) {
		patch(ctx, `{"metadata":{"labels":{"testbed.local/down":null}}}`)
		patch(ctx, `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`, "status")
	}
	t.Cleanup(func() { restore(context.WithoutCancel(t.Context())) })
	patch(t.Context(), `{"status":{"conditions":[{"type":"Ready","status":"Unknown","lastTransitionTime":"2026-01-02T03:04:05Z"}]}}`, "status")

	silent := func(v *domain.VM) bool {
		return v.Status.State == domain.StateUnknown && v.Status.Problem.Code == domain.ProblemNodeSilent && v.Status.Problem.Params["node"] == node
	}
	rec.WaitVM(t, ns, vm.Name, "is on a silent node", 10*time.Second, silent)
	if read, err := p.GetVM(t.Context(), ref); err != nil || !silent(read) {
		t.Errorf("GetVM of a VM on a silent node: %+v, %v", read, err)
	}
	restore(t.Context())
	rec.WaitVM(t, ns, vm.Name, "runs again", 10*time.Second, func(v *domain.VM) bool { return v.Status.State == domain.StateRunning })
}
