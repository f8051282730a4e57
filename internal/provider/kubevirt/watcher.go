package kubevirt

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	kv "kubevirt.io/api/core/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// Watch follows three kinds of objects: VirtualMachines (what should be),
// VirtualMachineInstances (address, node, guest) and Nodes (KubeVirt calls a
// VM "Running" although its node is silent). Each is read by its own feed; one
// goroutine joins them by name in a view and talks to the sink.
//
// Feeds keep their place: after a lost connection they go on from the last
// resourceVersion, and read the whole list only when the cluster says that it
// has forgotten that place, or is not that far any more.

// maxLists is how many complete lists are read at once, over all clusters.
// After a common cut a hundred clusters would else be read at the same time.
const maxLists = 8

// timing are the times of the watcher; tests make them short.
type timing struct {
	coalesce   time.Duration // changes of one VM within it are one observation
	silence    time.Duration // no event and no bookmark (one a minute): the connection is dead
	minWatch   time.Duration // of the server-side timeout; the maximum is double
	relist     time.Duration // how old a complete list may get
	look       time.Duration // how often a cluster is asked how far it is, when a watch goes on
	maxBackoff time.Duration
	rotation   time.Duration // how often the credential is compared
	listWait   time.Duration // for the instances, before VMs are shown without
}

var defaultTiming = timing{
	coalesce: 100 * time.Millisecond, silence: 150 * time.Second, minWatch: 5 * time.Minute, relist: 30 * time.Minute, look: 10 * time.Second,
	maxBackoff: 30 * time.Second, rotation: 8 * time.Second, listWait: 5 * time.Second,
}

// observeBatch is how many observations go to the sink in one call.
const observeBatch = 200

// Watch runs until ctx ends and returns its cause. The sink gets every VM with
// the managed-by label after each complete list, and then each change. What
// the sink refuses is offered again.
func (p *Provider) Watch(ctx context.Context, cluster string, sink provider.Sink, heard func(time.Time)) error {
	log := p.log.With("cluster", cluster)
	ctx = p.logged(ctx)
	changes := make(chan change)
	emit := func(ctx context.Context, c change) {
		select {
		case changes <- c:
		case <-ctx.Done():
		}
	}
	vms, vmis, nodes := p.vmFeed(), p.vmiFeed(), p.nodeFeed()
	vms.heard = heard
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { vmis.run(ctx, p, cluster, log.With("kind", "vmi"), emit) })
	wg.Go(func() { nodes.run(ctx, p, cluster, log.With("kind", "node"), emit) })
	wg.Go(func() { vms.run(ctx, p, cluster, log.With("kind", "vm"), emit) })
	wg.Go(func() {
		// A replaced credential is noticed here; the old client's end then
		// ends the watches that use it.
		for tick := time.Tick(p.timing.rotation); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick:
				_, _ = p.clients.get(ctx, cluster) // its error is the feeds' as well
			}
		}
	})
	return newView(cluster, p.timing).serve(ctx, changes, sink, log)
}

// change is one step of the view, made by a feed and run by the view's goroutine.
type change func(*view)

type key struct{ namespace, name string }

func keyOf(o metav1.Object) key { return key{name(o.GetNamespace()), name(o.GetName())} }

// feed reads objects of type O and keeps K of each.
type feed[O, K any] struct {
	list    func(context.Context, *client, metav1.ListOptions) ([]O, metav1.ListMeta, error)
	watch   func(context.Context, *client, metav1.ListOptions) (watch.Interface, error)
	keep    func(context.Context, *client, *O) K
	replace func(map[key]K, string) change // after a complete list, with its resourceVersion
	heard   func(time.Time)                // nil: nobody asks
	set     func(key, K) change
	drop    func(key, K) change
	options metav1.ListOptions
	looked  time.Time // how far the cluster is, see ahead
}

var managed = metav1.ListOptions{LabelSelector: domain.ManagedSelector}

func (p *Provider) vmFeed() *feed[kv.VirtualMachine, row] {
	return &feed[kv.VirtualMachine, row]{
		options: managed,
		list: func(ctx context.Context, c *client, opt metav1.ListOptions) ([]kv.VirtualMachine, metav1.ListMeta, error) {
			l, err := c.kubevirt.KubevirtV1().VirtualMachines("").List(ctx, opt)
			if err != nil {
				return nil, metav1.ListMeta{}, err
			}
			return l.Items, l.ListMeta, nil
		},
		watch: func(ctx context.Context, c *client, opt metav1.ListOptions) (watch.Interface, error) {
			return c.kubevirt.KubevirtV1().VirtualMachines("").Watch(ctx, opt)
		},
		keep: func(ctx context.Context, c *client, o *kv.VirtualMachine) row {
			vm := fromVM(o)
			if vm.Status.State == domain.StateDataVolumeError {
				vm.Status.Problem.Text = c.diskReason(ctx, vm)
			}
			return compact(vm)
		},
		replace: func(m map[key]row, version string) change { return func(v *view) { v.replaceVMs(m, version) } },
		set:     func(k key, r row) change { return func(v *view) { v.setVM(k, r) } },
		drop:    func(k key, r row) change { return func(v *view) { v.dropVM(k, r) } },
	}
}

func (p *Provider) vmiFeed() *feed[kv.VirtualMachineInstance, instance] {
	return &feed[kv.VirtualMachineInstance, instance]{
		options: managed, // render puts the VM's labels on the instance
		list: func(ctx context.Context, c *client, opt metav1.ListOptions) ([]kv.VirtualMachineInstance, metav1.ListMeta, error) {
			l, err := c.kubevirt.KubevirtV1().VirtualMachineInstances("").List(ctx, opt)
			if err != nil {
				return nil, metav1.ListMeta{}, err
			}
			return l.Items, l.ListMeta, nil
		},
		watch: func(ctx context.Context, c *client, opt metav1.ListOptions) (watch.Interface, error) {
			return c.kubevirt.KubevirtV1().VirtualMachineInstances("").Watch(ctx, opt)
		},
		keep: func(_ context.Context, _ *client, o *kv.VirtualMachineInstance) instance {
			return fromVMI(o).interned()
		},
		replace: func(m map[key]instance, _ string) change { return func(v *view) { v.replaceVMIs(m) } },
		set:     func(k key, i instance) change { return func(v *view) { v.setVMI(k, i) } },
		drop:    func(k key, _ instance) change { return func(v *view) { v.dropVMI(k) } },
	}
}

func (p *Provider) nodeFeed() *feed[corev1.Node, time.Time] {
	return &feed[corev1.Node, time.Time]{
		list: func(ctx context.Context, c *client, opt metav1.ListOptions) ([]corev1.Node, metav1.ListMeta, error) {
			l, err := c.kube.CoreV1().Nodes().List(ctx, opt)
			if err != nil {
				return nil, metav1.ListMeta{}, err
			}
			return l.Items, l.ListMeta, nil
		},
		watch: func(ctx context.Context, c *client, opt metav1.ListOptions) (watch.Interface, error) {
			return c.kube.CoreV1().Nodes().Watch(ctx, opt)
		},
		keep:    func(_ context.Context, _ *client, o *corev1.Node) time.Time { return silence(o) },
		replace: func(m map[key]time.Time, _ string) change { return func(v *view) { v.replaceNodes(m) } },
		set:     func(k key, since time.Time) change { return func(v *view) { v.setNode(k.name, since) } },
		drop:    func(k key, _ time.Time) change { return func(v *view) { v.setNode(k.name, time.Now().UTC()) } },
	}
}

var errSilent = errors.New("watch fell silent")

// run follows until ctx ends.
func (f *feed[O, K]) run(ctx context.Context, p *Provider, cluster string, log *slog.Logger, emit func(context.Context, change)) {
	place, listed := "", time.Time{}
	failures := 0
	for ctx.Err() == nil {
		replaced := context.Background()
		began := time.Now()
		c, err := p.clients.get(ctx, cluster)
		if err == nil {
			replaced = c.live
			place, err = f.follow(ctx, p, c, place, &listed, emit)
		}
		if replaced.Err() != nil { // another credential, perhaps another cluster
			failures, place = 0, ""
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > p.timing.maxBackoff {
			failures = 0
		}
		switch {
		case err == nil && failures == 0 && time.Since(began) > time.Second:
			continue // the server ended the watch in time, as asked
		case err != nil:
			if failures == 0 {
				log.WarnContext(ctx, "watch lost", "error", err)
			}
		}
		failures++
		select {
		case <-time.After(backoff(failures, p.timing.maxBackoff)):
		case <-replaced.Done():
		case <-ctx.Done():
		}
	}
}

// backoff doubles from half a second and is jittered over its upper half.
func backoff(failures int, limit time.Duration) time.Duration {
	d := min(limit, 500*time.Millisecond<<min(failures-1, 10))
	return d/2 + rand.N(d/2+1)
}

// follow lists when there is no place to go on from, and watches until the
// watch ends. It returns the place to go on from; "" means: list again.
func (f *feed[O, K]) follow(ctx context.Context, p *Provider, c *client, place string, listed *time.Time, emit func(context.Context, change)) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.live, cancel)()

	if place != "" && time.Since(*listed) > p.timing.relist {
		place = ""
	}
	if place != "" {
		restored, err := f.ahead(ctx, p, c, place)
		if err != nil {
			return place, c.fail(err)
		}
		if restored {
			place = ""
		}
	}
	if place == "" {
		all, rv, err := f.listAll(ctx, p, c)
		if err != nil {
			return "", c.fail(err)
		}
		place, *listed, f.looked = rv, time.Now(), time.Now()
		emit(ctx, f.replace(all, rv))
		f.sign()
	}
	opt := f.options
	opt.ResourceVersion, opt.AllowWatchBookmarks = place, true
	seconds := int64((p.timing.minWatch + rand.N(p.timing.minWatch)).Seconds())
	opt.TimeoutSeconds = &seconds

	w, err := f.open(ctx, c, opt)
	if err != nil {
		if forgotten(err) {
			return "", c.fail(err)
		}
		return place, c.fail(err)
	}
	defer w.Stop()
	silent := time.NewTimer(p.timing.silence)
	for {
		silent.Reset(p.timing.silence)
		select {
		case <-ctx.Done():
			return place, ctx.Err()
		case <-silent.C:
			return place, errSilent
		case ev, open := <-w.ResultChan():
			if !open {
				return place, nil
			}
			if ev.Type == watch.Error {
				err := apierrors.FromObject(ev.Object)
				if forgotten(err) {
					return "", c.fail(err)
				}
				return place, c.fail(err)
			}
			place = f.event(ctx, c, ev, place, emit)
			f.sign()
		}
	}
}

// sign tells that the cluster was heard.
func (f *feed[O, K]) sign() {
	if f.heard != nil {
		f.heard(time.Now())
	}
}

// open starts a watch. An answer has to begin in time; after that the watch
// lasts as long as ctx.
func (f *feed[O, K]) open(ctx context.Context, c *client, opt metav1.ListOptions) (watch.Interface, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(callTimeout, func() { cancel(context.DeadlineExceeded) })
	w, err := f.watch(ctx, c, opt)
	if !timer.Stop() && err == nil {
		w.Stop()
		err = context.DeadlineExceeded
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, err
	}
	return &stopping{w, func() { cancel(nil) }}, nil
}

// stopping ends the watch's context together with the watch.
type stopping struct {
	watch.Interface
	cancel func()
}

func (s *stopping) Stop() {
	s.cancel()
	s.Interface.Stop()
}

func (f *feed[O, K]) event(ctx context.Context, c *client, ev watch.Event, place string, emit func(context.Context, change)) string {
	o, err := meta.Accessor(ev.Object)
	if err != nil {
		return place
	}
	if rv := o.GetResourceVersion(); rv != "" {
		place = rv
	}
	typed, ok := any(ev.Object).(*O)
	if !ok {
		return place
	}
	switch ev.Type {
	case watch.Added, watch.Modified:
		emit(ctx, f.set(keyOf(o), f.keep(ctx, c, typed)))
	case watch.Deleted:
		emit(ctx, f.drop(keyOf(o), f.keep(ctx, c, typed)))
	}
	return place
}

// listAll reads all pages, keeping only K of each object.
func (f *feed[O, K]) listAll(ctx context.Context, p *Provider, c *client) (map[key]K, string, error) {
	select {
	case p.lists <- struct{}{}:
		defer func() { <-p.lists }()
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	all := map[key]K{}
	opt := f.options
	opt.Limit = pageSize
	for {
		items, page, err := f.page(ctx, c, opt)
		if err != nil {
			return nil, "", err
		}
		for i := range items {
			o := any(&items[i])
			all[keyOf(o.(metav1.Object))] = f.keep(ctx, c, &items[i])
		}
		if page.Continue == "" {
			return all, page.ResourceVersion, nil
		}
		opt.Continue = page.Continue
	}
}

func (f *feed[O, K]) page(ctx context.Context, c *client, opt metav1.ListOptions) ([]O, metav1.ListMeta, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*callTimeout)
	defer cancel()
	return f.list(ctx, c, opt)
}

// forgotten says that the cluster cannot go on from our place: it is too old,
// or, after a restore from a backup, in the cluster's future.
func forgotten(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}
