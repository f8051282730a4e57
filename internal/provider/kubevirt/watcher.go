package kubevirt

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

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
// has forgotten that place, or is not that far any more (see ahead). While the
// breaker of the cluster is open they wait.

// maxLists is how many complete lists are read at once, over all clusters.
// After a common cut a hundred clusters would else be read at the same time.
const maxLists = 8

// spread is by how much each list that is read again makes the others wait.
const spread = 100 * time.Millisecond

// maxListPages ends a list that never ends; of 500 objects each.
const maxListPages = 400

// timing are the times of the watcher; tests make them short.
type timing struct {
	coalesce   time.Duration // changes of one VM within it are one observation
	silence    time.Duration // no event and no bookmark (one a minute): the watch is dead
	minWatch   time.Duration // of the server-side timeout; the maximum is double
	relist     time.Duration // how old a complete list may get, a tenth more or less
	look       time.Duration // how often a cluster is asked how far it is, when a watch goes on; 0: never
	maxBackoff time.Duration
	rotation   time.Duration // how often the credential is compared
	listWait   time.Duration // for the instances, before VMs are shown without
	knock      time.Duration // for an answer of any kind, before a list is begun
	forgetful  time.Duration // a cluster that forgets our place this soon again is in trouble
}

// silence is less than domain.StaleAfter, so that a dead watch is replaced before
// pages call its data old.
var defaultTiming = timing{
	coalesce: 100 * time.Millisecond, silence: 100 * time.Second, minWatch: 5 * time.Minute, relist: 30 * time.Minute, look: 10 * time.Second,
	maxBackoff: 30 * time.Second, rotation: 8 * time.Second, listWait: 5 * time.Second, knock: 5 * time.Second, forgetful: 10 * time.Second,
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
	v := newView(cluster, p.timing)
	s := &signs{stuck: &v.stuck, tell: heard}
	vms, vmis, nodes := p.vmFeed(), p.vmiFeed(), p.nodeFeed()
	vms.heard, vmis.heard, nodes.heard = s.vm, s.vmi, func(time.Time) {}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { vmis.run(ctx, p, cluster, log.With("kind", vmis.kind), emit) })
	wg.Go(func() { nodes.run(ctx, p, cluster, log.With("kind", nodes.kind), emit) })
	wg.Go(func() { vms.run(ctx, p, cluster, log.With("kind", vms.kind), emit) })
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
	return v.serve(ctx, changes, sink, log)
}

// signs says up to when everything that happened was observed. An event, a
// bookmark or a complete list are signs; a connection that is open is none. What
// is shown is as old as the older of both watches; one of instances that was
// never there (the credential may not read them) does not count. While the sink
// refuses, what was heard is not observed.
type signs struct {
	stuck *atomic.Bool
	tell  func(time.Time)

	mu        sync.Mutex
	vms, vmis time.Time
}

func (s *signs) vm(t time.Time)  { s.hear(&s.vms, t) }
func (s *signs) vmi(t time.Time) { s.hear(&s.vmis, t) }

func (s *signs) hear(of *time.Time, t time.Time) {
	s.mu.Lock()
	*of = t
	oldest := s.vms
	if !s.vmis.IsZero() && s.vmis.Before(oldest) {
		oldest = s.vmis
	}
	s.mu.Unlock()
	if !oldest.IsZero() && !s.stuck.Load() {
		s.tell(oldest)
	}
}

// change is one step of the view, made by a feed and run by the view's goroutine.
type change func(*view)

type key struct{ namespace, name string }

// feed reads objects of type O and keeps K of each.
type feed[O any, P lite[O], K any] struct {
	kind    string // for the log
	request func(*client) *rest.Request
	// keep may answer with a function that asks for more; what it says replaces K.
	keep    func(*client, P) (K, func(context.Context) K)
	replace func(map[key]K, string) change // after a complete list, with its resourceVersion
	heard   func(time.Time)
	set     func(key, K) change
	drop    func(key, K) change

	looked time.Time // when it was last known how far the cluster is
}

func (p *Provider) vmFeed() *feed[liteVM, *liteVM, row] {
	return &feed[liteVM, *liteVM, row]{
		kind: "vm",
		request: func(c *client) *rest.Request {
			return c.kubevirt.KubevirtV1().RESTClient().Get().Resource("virtualmachines").Param("labelSelector", domain.ManagedSelector)
		},
		keep: func(c *client, o *liteVM) (row, func(context.Context) row) {
			vm := o.mapped()
			if vm.Status.State != domain.StateDataVolumeError {
				return compact(vm), nil
			}
			return compact(vm), func(ctx context.Context) row {
				vm.Status.Problem.Text = c.diskReason(ctx, vm)
				return compact(vm)
			}
		},
		replace: func(m map[key]row, version string) change { return func(v *view) { v.replaceVMs(m, version) } },
		set:     func(k key, r row) change { return func(v *view) { v.setVM(k, r) } },
		drop:    func(k key, r row) change { return func(v *view) { v.dropVM(k, r) } },
	}
}

func (p *Provider) vmiFeed() *feed[liteVMI, *liteVMI, guest] {
	return &feed[liteVMI, *liteVMI, guest]{
		kind: "vmi",
		request: func(c *client) *rest.Request { // render puts the VM's labels on the instance
			return c.kubevirt.KubevirtV1().RESTClient().Get().Resource("virtualmachineinstances").Param("labelSelector", domain.ManagedSelector)
		},
		keep:    func(_ *client, o *liteVMI) (guest, func(context.Context) guest) { return o.mapped().compact(), nil },
		replace: func(m map[key]guest, _ string) change { return func(v *view) { v.replaceVMIs(m) } },
		set:     func(k key, g guest) change { return func(v *view) { v.setVMI(k, g) } },
		drop:    func(k key, _ guest) change { return func(v *view) { v.dropVMI(k) } },
	}
}

func (p *Provider) nodeFeed() *feed[liteNode, *liteNode, time.Time] {
	return &feed[liteNode, *liteNode, time.Time]{
		kind:    "node",
		request: func(c *client) *rest.Request { return c.kube.CoreV1().RESTClient().Get().Resource("nodes") },
		keep:    func(_ *client, o *liteNode) (time.Time, func(context.Context) time.Time) { return o.silence(), nil },
		replace: func(m map[key]time.Time, _ string) change { return func(v *view) { v.replaceNodes(m) } },
		set:     func(k key, since time.Time) change { return func(v *view) { v.setNode(k.name, since) } },
		drop:    func(k key, _ time.Time) change { return func(v *view) { v.setNode(k.name, time.Now().UTC()) } },
	}
}

var (
	errSilent    = errors.New("watch fell silent")
	errForgotten = errors.New("the cluster has forgotten our place")
)

// position is how far a feed has come.
type position struct {
	version string    // resourceVersion to go on from; "": list
	listed  time.Time // last complete list
	reached time.Time // since when the cluster answers, this time; zero: it does not
}

// run follows until ctx ends.
func (f *feed[O, P, K]) run(ctx context.Context, p *Provider, cluster string, log *slog.Logger, emit func(context.Context, change)) {
	var (
		at       position
		forgot   time.Time // when the cluster last had forgotten our place
		failures int
		told     bool // that the watch is lost
	)
	for ctx.Err() == nil {
		replaced := context.Background()
		at.reached = time.Time{}
		c, err := p.clients.get(ctx, cluster)
		if err == nil {
			replaced = c.live
			err = f.follow(ctx, p, c, &at, emit)
		}
		if replaced.Err() != nil { // another credential, perhaps another cluster
			failures, at.version = 0, ""
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if !at.reached.IsZero() && time.Since(at.reached) > p.timing.maxBackoff {
			failures, told = 0, false
		}
		lost, open := err, (*errOpen)(nil)
		switch {
		case err == nil && failures == 0 && time.Since(at.reached) > time.Second:
			continue // the server ended the watch in time, as asked
		case errors.As(err, &open):
			continue // somebody else has found out; follow waits
		case errors.Is(err, errForgotten) && time.Since(forgot) > p.timing.forgetful:
			// No failure: clusters forget what is older than some minutes.
			log.InfoContext(ctx, "all is listed again", "reason", errForgotten)
			forgot = time.Now()
			continue
		case err != nil && c != nil:
			c.door.doubt.Store(true)
			if !apierrors.IsTooManyRequests(err) {
				c.breaker.trouble(f.kind, reason(c.fail(err)))
			}
			err = c.fail(err)
		}
		if err != nil && !told {
			log.WarnContext(ctx, "watch lost", "error", err)
			told = true
		}
		if errors.As(lost, new(noAnswer)) {
			continue // the next knock waits by itself
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
// watch ends.
func (f *feed[O, P, K]) follow(ctx context.Context, p *Provider, c *client, at *position, emit func(context.Context, change)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.live, func() { cancel(nil) })()

	if err := c.breaker.wait(ctx); err != nil {
		return err
	}
	if err := c.knock(ctx, p.timing); err != nil {
		return err
	}
	at.reached = time.Now()
	if at.version != "" && time.Since(at.listed) > p.timing.relist*9/10+rand.N(p.timing.relist/5) {
		at.version = ""
	}
	if at.version != "" {
		restored, err := f.ahead(ctx, p, c, at.version)
		if err != nil {
			return because(ctx, err)
		}
		if restored {
			at.version = ""
		}
	}
	if at.version == "" {
		began := time.Now()
		all, version, err := f.listAll(ctx, p, c, !at.listed.IsZero())
		if err != nil {
			return err
		}
		at.version, at.listed, f.looked = version, time.Now(), time.Now()
		emit(ctx, f.replace(all, version))
		f.sign(c, began)
	}

	// The answer has to begin in time; then something has to be heard in time.
	timer := time.AfterFunc(callTimeout, func() { cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	seconds := (p.timing.minWatch + rand.N(p.timing.minWatch)).Seconds()
	body, err := f.request(c).SetHeader("Accept", "application/json").
		Param("watch", "true").Param("allowWatchBookmarks", "true").Param("resourceVersion", at.version).
		Param("timeoutSeconds", strconv.Itoa(int(seconds))).Stream(ctx)
	if err != nil {
		if forgotten(err) {
			at.version = ""
			return errForgotten
		}
		return because(ctx, err)
	}
	defer func() { _ = body.Close() }()
	if !timer.Stop() {
		return context.DeadlineExceeded
	}
	silent := time.AfterFunc(p.timing.silence, func() { cancel(errSilent) })
	defer silent.Stop()
	for seen := newEvents[O](body); ; silent.Reset(p.timing.silence) {
		ev, err := seen.next()
		silent.Stop() // what the sink takes is not the cluster's silence
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return because(ctx, err)
		}
		o := P(&ev.Object)
		if watch.EventType(ev.Type) == watch.Error {
			err := o.head().status()
			if forgotten(err) {
				at.version = ""
				return errForgotten
			}
			return err
		}
		f.event(ctx, c, watch.EventType(ev.Type), o, emit)
		if version := o.head().Metadata.ResourceVersion; version != "" {
			at.version = version
		}
		f.sign(c, time.Now())
	}
}

// because prefers why we gave up to how it looked.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// sign tells that the cluster was heard.
func (f *feed[O, P, K]) sign(c *client, at time.Time) {
	c.breaker.trouble(f.kind, domain.Problem{})
	f.heard(at)
}

func (f *feed[O, P, K]) event(ctx context.Context, c *client, kind watch.EventType, o P, emit func(context.Context, change)) {
	switch kind {
	case watch.Added, watch.Modified, watch.Deleted:
	default:
		return // a bookmark, or something new
	}
	kept, more := f.keep(c, o)
	if more != nil {
		kept = more(ctx)
	}
	if kind == watch.Deleted {
		emit(ctx, f.drop(o.head().key(), kept))
		return
	}
	emit(ctx, f.set(o.head().key(), kept))
}

// listAll reads all pages, keeping only K of each object. again says that it is
// not the first list: a common cut makes many of them at once.
func (f *feed[O, P, K]) listAll(ctx context.Context, p *Provider, c *client, again bool) (map[key]K, string, error) {
	if again {
		n := p.relists.Add(1)
		defer p.relists.Add(-1)
		if err := pause(ctx, rand.N(time.Duration(n)*spread)); err != nil {
			return nil, "", err
		}
	}
	// A cluster that does not answer any more must not hold one of the slots.
	if err := c.knock(ctx, p.timing); err != nil {
		return nil, "", err
	}
	all := map[key]K{}
	more := map[key]func(context.Context) K{}
	version, err := f.pages(ctx, p, c, func(o P) {
		k := o.head().key()
		kept, ask := f.keep(c, o)
		all[k] = kept
		if ask != nil {
			more[k] = ask
		}
	})
	if err != nil {
		return nil, "", err
	}
	f.ask(ctx, all, more)
	return all, version, nil
}

// pages reads a list to its end, in one of the slots.
func (f *feed[O, P, K]) pages(ctx context.Context, p *Provider, c *client, each func(P)) (version string, err error) {
	select {
	case p.lists <- struct{}{}:
		defer func() { <-p.lists }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	next := ""
	for range maxListPages {
		page, err := f.page(ctx, c, next, pageSize, each)
		if err != nil {
			return "", err
		}
		if next = page.Continue; next == "" {
			return name(page.ResourceVersion), nil
		}
	}
	return "", errResponseTooLarge
}

// ask asks for more about some objects, for as long as one request may last:
// what is not asked now keeps what its object says.
func (f *feed[O, P, K]) ask(ctx context.Context, all map[key]K, more map[key]func(context.Context) K) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for k, ask := range more {
		if ctx.Err() != nil {
			return
		}
		all[k] = ask(ctx)
	}
}

func (f *feed[O, P, K]) page(ctx context.Context, c *client, next string, limit int, each func(P)) (listMeta, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*callTimeout)
	defer cancel()
	req := f.request(c).SetHeader("Accept", "application/json").Param("limit", strconv.Itoa(limit))
	if next != "" {
		req = req.Param("continue", next)
	}
	body, err := req.Stream(ctx)
	if err != nil {
		return listMeta{}, err
	}
	defer func() { _ = body.Close() }()
	return readList[O, P](body, each)
}

// noAnswer is the error of a knock. The next one waits long enough by itself.
type noAnswer struct{ error }

func (e noAnswer) Unwrap() error { return e.error }

// door is where the feeds of a cluster stand in line, see knock.
type door struct {
	turn     chan struct{}
	answered time.Time   // last answer
	failures int         // since then
	next     time.Time   // not before; after a failure
	doubt    atomic.Bool // somebody has lost a connection since
}

// knock asks for an answer of any kind, one feed after the other and ever more
// slowly: so a cluster that does not answer costs one dial at a time, a short cut
// does not open the breaker, and the feeds of one that is back share a
// connection. An answer counts for a second.
func (c *client) knock(ctx context.Context, t timing) error {
	d := &c.door
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if time.Since(d.answered) < time.Second && !d.doubt.Load() {
		return nil
	}
	if err := pause(ctx, time.Until(d.next)); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, t.knock)
	defer cancel()
	d.doubt.Store(false)
	err := c.kube.Discovery().RESTClient().Get().AbsPath("/version").Do(limited).Error()
	open := (*errOpen)(nil)
	switch {
	case err == nil, refused(err) && !apierrors.IsUnauthorized(err):
		d.answered, d.failures, d.next = time.Now(), 0, time.Time{}
		return nil
	case errors.As(err, &open), apierrors.IsTooManyRequests(err): // the breaker says how long to wait
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	d.failures++
	d.next = time.Now().Add(backoff(d.failures, t.maxBackoff))
	return noAnswer{err}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// forgotten says that the cluster cannot go on from our place: it is too old,
// or, after a restore from a backup, in the cluster's future.
func forgotten(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}
