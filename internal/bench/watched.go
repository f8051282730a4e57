package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	kv "kubevirt.io/api/core/v1"
	kubevirtclient "kubevirt.io/client-go/kubevirt"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/provider/kubevirt"
)

// fixed is a provider.CredentialStore with one credential.
type fixed struct{ Stored domain.Credential }

func (f fixed) Credential(context.Context, string) (domain.Credential, int, error) {
	return f.Stored, 1, nil
}

// quiet is a provider.Sink that keeps nothing.
type quiet struct{ synced chan int }

func (quiet) Observe(context.Context, string, []provider.Observation) error { return nil }

func (q quiet) Synced(_ context.Context, _ string, list provider.Complete) error {
	select {
	case q.synced <- len(list.VMs):
	default:
	}
	return nil
}

// heap is what is reachable now, in bytes.
func heap() int64 {
	for range 3 { // finalizers and pools need more than one
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// watchedVMs measures the memory for one watched VM, in bytes: of the portal's
// watcher, and of client-go's informers that keep VirtualMachine and
// VirtualMachineInstance as typed objects. Nothing else may run meanwhile.
func watchedVMs(ctx context.Context, s stub) (ours, typed float64, err error) {
	want := s.Options.VMs
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()

	p := kubevirt.New(kubevirt.NewKubeconfigProvider(fixed{s.credential()}), kubevirt.Options{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	defer p.Close()
	q := quiet{make(chan int, 1)}
	watching, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	before := heap()
	go func() {
		defer close(ended)
		_ = p.Watch(watching, s.Options.Name, q, func(time.Time) {})
	}()
	select {
	case n := <-q.synced:
		if n != want {
			err = fmt.Errorf("%d of %d VMs are watched", n, want)
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	time.Sleep(time.Second) // what was read once is given back
	ours = float64(heap()-before) / float64(want)
	end()
	<-ended
	p.Close()
	if err != nil {
		return 0, 0, err
	}

	client, err := kubevirtclient.NewForConfig(&rest.Config{
		Host: s.Server, BearerToken: string(s.credential().Token), TLSClientConfig: rest.TLSClientConfig{CAData: s.CA}, QPS: 1000, Burst: 1000,
	})
	if err != nil {
		return 0, 0, err
	}
	before = heap()
	var informers []cache.SharedInformer
	var synced []cache.InformerSynced
	for plural, kind := range map[string]k8sruntime.Object{"virtualmachines": &kv.VirtualMachine{}, "virtualmachineinstances": &kv.VirtualMachineInstance{}} {
		i := cache.NewSharedInformer(cache.NewListWatchFromClient(client.KubevirtV1().RESTClient(), plural, "", fields.Everything()), kind, 0)
		informers, synced = append(informers, i), append(synced, i.HasSynced)
		go i.Run(ctx.Done())
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return 0, 0, errors.New("the informers do not come to the end of their lists")
	}
	for _, i := range informers {
		if n := len(i.GetStore().ListKeys()); n != want {
			return 0, 0, fmt.Errorf("an informer has %d of %d objects", n, want)
		}
	}
	time.Sleep(time.Second)
	typed = float64(heap()-before) / float64(want)
	runtime.KeepAlive(informers)
	return ours, typed, nil
}
