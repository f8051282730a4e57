package kubevirt

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	kv "kubevirt.io/api/core/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// herd fills a server with n running VMs and their instances: the sample of the
// test bed under other names, UIDs and operations.
func herd(tb testing.TB, n int) *apiServer {
	tb.Helper()
	all := samples(tb)
	vm, vmi := string(all["virtualmachines"]["runs Running "]), string(all["virtualmachineinstances"]["runs  Running"])
	var o liteVM
	if err := json.Unmarshal([]byte(vm), &o); err != nil {
		tb.Fatal(err)
	}
	var i liteVMI
	if err := json.Unmarshal([]byte(vmi), &i); err != nil {
		tb.Fatal(err)
	}
	a := newAPIServer(tb)
	for k := range n {
		name, uid := fmt.Sprintf("shop-web-%05d", k), uuid.NewString()
		r := strings.NewReplacer(
			`"name":"runs"`, `"name":"`+name+`"`, o.Metadata.UID, uid, i.Metadata.UID, uuid.NewString(),
			o.Metadata.Annotations[domain.AnnotationOperation], uuid.NewString(),
			i.Status.Interfaces[0].IP, fmt.Sprintf("10.%d.%d.%d", k>>16&255, k>>8&255, k&255),
			`"resourceVersion":"`+o.Metadata.ResourceVersion+`"`, fmt.Sprintf(`"resourceVersion":"%d"`, 100000+k),
			`"resourceVersion":"`+i.Metadata.ResourceVersion+`"`, fmt.Sprintf(`"resourceVersion":"%d"`, 200000+k),
		)
		a.objects[pathVMs][name], a.objects[pathVMIs][name] = r.Replace(vm), r.Replace(vmi)
	}
	for name, node := range all["nodes"] {
		a.objects[pathNodes][name] = string(node)
	}
	a.version = 300000
	return a
}

// counting takes observations and keeps nothing.
type counting struct {
	seen   int
	synced chan int // observations before the complete list
}

func (c *counting) Observe(_ context.Context, _ string, seen []provider.Observation) error {
	c.seen += len(seen)
	return nil
}

func (c *counting) Synced(context.Context, string, provider.Complete) error {
	c.synced <- c.seen
	return nil
}

// cost is what it takes to watch n VMs, for each of them.
type cost struct {
	retained, allocated float64 // bytes
	took                time.Duration
}

func costOf(tb testing.TB, n int, watch func() (stop func())) cost {
	tb.Helper()
	read := func() (m runtime.MemStats) {
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m
	}
	before := read()
	began := time.Now()
	stop := watch()
	took := time.Since(began)
	var under runtime.MemStats
	runtime.ReadMemStats(&under)
	after := read()
	c := cost{float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / float64(n), float64(under.TotalAlloc-before.TotalAlloc) / float64(n), took}
	stop()
	return c
}

// costOfWatch is our watcher's, with the server in the same process.
func costOfWatch(tb testing.TB, a *apiServer, n int) cost {
	tb.Helper()
	st := newStore()
	st.set("c1", a.cred)
	p := New(NewKubeconfigProvider(st), Options{AllowCIDRs: loopback})
	defer p.Close()
	return costOf(tb, n, func() func() {
		ctx, cancel := context.WithCancel(tb.Context())
		done := make(chan struct{})
		sink := &counting{synced: make(chan int, 8)}
		go func() { defer close(done); _ = p.Watch(ctx, "c1", sink, func(time.Time) {}) }()
		if seen := <-sink.synced; seen != n {
			tb.Errorf("%d of %d VMs were seen", seen, n)
		}
		return func() { cancel(); <-done }
	})
}

// costOfInformers is that of client-go's typed informers of the same objects.
func costOfInformers(tb testing.TB, a *apiServer, n int) cost {
	tb.Helper()
	st := newStore()
	st.set("c1", a.cred)
	p := New(NewKubeconfigProvider(st), Options{AllowCIDRs: loopback})
	defer p.Close()
	c, err := p.clients.get(tb.Context(), "c1")
	if err != nil {
		tb.Fatal(err)
	}
	return costOf(tb, n, func() func() {
		ctx, cancel := context.WithCancel(tb.Context())
		vms, vmis := c.kubevirt.KubevirtV1().VirtualMachines(""), c.kubevirt.KubevirtV1().VirtualMachineInstances("")
		informers := []cache.SharedInformer{
			cache.NewSharedInformer(&cache.ListWatch{
				ListWithContextFunc:  func(ctx context.Context, o metav1.ListOptions) (k8sruntime.Object, error) { return vms.List(ctx, o) },
				WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return vms.Watch(ctx, o) },
			}, &kv.VirtualMachine{}, 0),
			cache.NewSharedInformer(&cache.ListWatch{
				ListWithContextFunc:  func(ctx context.Context, o metav1.ListOptions) (k8sruntime.Object, error) { return vmis.List(ctx, o) },
				WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return vmis.Watch(ctx, o) },
			}, &kv.VirtualMachineInstance{}, 0),
		}
		for _, i := range informers {
			go i.Run(ctx.Done())
		}
		for _, i := range informers {
			if !cache.WaitForCacheSync(ctx.Done(), i.HasSynced) || len(i.GetStore().ListKeys()) != n {
				tb.Errorf("the informer has %d of %d", len(i.GetStore().ListKeys()), n)
			}
		}
		return func() { cancel(); runtime.KeepAlive(informers) }
	})
}

// BenchmarkRetained prints what a watched VM with its instance costs us, and what
// it costs client-go's typed informers.
func BenchmarkRetained(b *testing.B) {
	const n = 5000
	a := herd(b, n)
	for name, measure := range map[string]func(testing.TB, *apiServer, int) cost{"Lite": costOfWatch, "TypedInformer": costOfInformers} {
		b.Run(name, func(b *testing.B) {
			var sum cost
			for range b.N {
				c := measure(b, a, n)
				sum.retained, sum.allocated, sum.took = sum.retained+c.retained, sum.allocated+c.allocated, sum.took+c.took
			}
			b.ReportMetric(sum.retained/float64(b.N), "retained-B/VM")
			b.ReportMetric(sum.allocated/float64(b.N), "allocated-B/VM")
			b.ReportMetric(float64(sum.took.Microseconds())/float64(b.N)/n, "µs/VM")
		})
	}
}

// TestRetained: a watched VM keeps at most a thirtieth of what a typed informer
// keeps, so that a hundred thousand fit.
func TestRetained(t *testing.T) {
	const n = 3000
	a := herd(t, n)
	ours, theirs := costOfWatch(t, a, n), costOfInformers(t, a, n)
	t.Logf("each of %d VMs with its instance: ours retains %.0f B (allocates %.0f B, all in %v), a typed informer %.0f B (%.0f B, %v): 1/%.0f",
		n, ours.retained, ours.allocated, ours.took.Round(time.Millisecond), theirs.retained, theirs.allocated, theirs.took.Round(time.Millisecond), theirs.retained/ours.retained)
	if ours.retained > 600 || ours.retained*30 > theirs.retained {
		t.Errorf("%.0f B; a typed informer retains %.1f times as much", ours.retained, theirs.retained/ours.retained)
	}
}
