package kubevirt

import (
	"context"
	"log/slog"
	"time"
	"unique"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// The labels and annotations that the watcher keeps.
var (
	keptLabels      = [...]string{domain.LabelManagedBy, domain.LabelSystem, domain.LabelService, domain.LabelInstance, domain.LabelTicket}
	keptAnnotations = [...]string{domain.AnnotationOperation, domain.AnnotationSpecHash}
)

// row is what is kept in memory of a VirtualMachine: a few hundred bytes
// instead of the ten kilobytes of the object. Texts that many VMs share are
// stored once.
type row struct {
	uid, version string
	created      time.Time
	deleting     bool
	labels       [len(keptLabels)]string
	annotations  [len(keptAnnotations)]string
	spec         domain.VMSpec // without maps
	status       domain.VMStatus
}

func shared(s string) string { return unique.Make(s).Value() }

func (i instance) interned() instance {
	i.node, i.guest = shared(i.node), shared(i.guest)
	return i
}

func compact(vm *domain.VM) row {
	r := row{uid: vm.UID, version: vm.ResourceVersion, created: vm.CreatedAt, deleting: vm.Deleting, spec: vm.Spec, status: vm.Status}
	for i, k := range keptLabels {
		r.labels[i] = shared(vm.Labels[k])
	}
	for i, k := range keptAnnotations {
		r.annotations[i] = vm.Annotations[k]
	}
	s := &r.spec
	s.Labels, s.Annotations = nil, nil
	s.Namespace, s.Image, s.StorageClass = shared(s.Namespace), shared(s.Image), shared(s.StorageClass)
	s.InstanceType, s.Preference = shared(s.InstanceType), shared(s.Preference)
	return r
}

func (r row) vm(cluster string) *domain.VM {
	vm := &domain.VM{
		Cluster: cluster, Namespace: r.spec.Namespace, Name: r.spec.Name, UID: r.uid, ResourceVersion: r.version,
		Labels: map[string]string{}, Annotations: map[string]string{},
		CreatedAt: r.created, Deleting: r.deleting, Spec: r.spec, Status: r.status,
	}
	for i, k := range keptLabels {
		if r.labels[i] != "" {
			vm.Labels[k] = r.labels[i]
		}
	}
	for i, k := range keptAnnotations {
		if r.annotations[i] != "" {
			vm.Annotations[k] = r.annotations[i]
		}
	}
	vm.Spec.Labels, vm.Spec.Annotations = vm.Labels, vm.Annotations
	return vm
}

// view joins what the feeds of one cluster read. One goroutine uses it.
type view struct {
	cluster string
	timing  timing

	vms   map[key]row
	vmis  map[key]instance
	nodes map[string]time.Time // since when it is silent; zero: it reports

	dirty map[key]bool // to be observed
	gone  []row        // to be observed as deleted
	owed  bool         // a Synced

	vmsAt                   time.Time // of the first complete list; zero: not yet
	listed                  string    // resourceVersion of the last complete list
	vmisListed, nodesListed bool
}

func newView(cluster string, t timing) *view {
	return &view{
		cluster: cluster, timing: t,
		vms: map[key]row{}, vmis: map[key]instance{}, nodes: map[string]time.Time{}, dirty: map[key]bool{},
	}
}

// serve runs changes and hands their outcome to the sink.
func (v *view) serve(ctx context.Context, changes <-chan change, sink provider.Sink, log *slog.Logger) error {
	var due <-chan time.Time
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c := <-changes:
			c(v)
		case <-due:
			due = nil
			if !v.complete() {
				break
			}
			if err := v.flush(ctx, sink); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				failures++
				log.WarnContext(ctx, "observations were not stored", "error", err, "failures", failures)
				due = time.After(backoff(failures, v.timing.maxBackoff))
			} else {
				failures = 0
			}
		}
		if due == nil && (v.owed || len(v.dirty) > 0 || len(v.gone) > 0) {
			due = time.After(v.timing.coalesce)
		}
	}
}

// complete says that VMs can be shown: all feeds have been read once, or the
// others do not come.
func (v *view) complete() bool {
	if v.vmsAt.IsZero() {
		return false
	}
	return v.vmisListed && v.nodesListed || time.Since(v.vmsAt) > v.timing.listWait
}

// flush stops at the first error; what was not taken stays.
func (v *view) flush(ctx context.Context, sink provider.Sink) error {
	for len(v.gone) > 0 {
		n := min(len(v.gone), observeBatch)
		batch := make([]provider.Observation, 0, n)
		for _, r := range v.gone[:n] {
			batch = append(batch, provider.Observation{VM: r.vm(v.cluster), Deleted: true})
		}
		if err := sink.Observe(ctx, v.cluster, batch); err != nil {
			return err
		}
		v.gone = v.gone[n:]
	}
	v.gone = nil
	for len(v.dirty) > 0 {
		var keys []key
		var batch []provider.Observation
		for k := range v.dirty {
			if len(keys) == observeBatch {
				break
			}
			keys = append(keys, k)
			if vm := v.joined(k); vm != nil {
				batch = append(batch, provider.Observation{VM: vm})
			}
		}
		if len(batch) > 0 {
			if err := sink.Observe(ctx, v.cluster, batch); err != nil {
				return err
			}
		}
		for _, k := range keys {
			delete(v.dirty, k)
		}
	}
	if v.owed {
		names := make(map[provider.Ref]bool, len(v.vms))
		for k, r := range v.vms {
			names[provider.Ref{Cluster: v.cluster, Namespace: k.namespace, Name: k.name, UID: r.uid}] = true
		}
		if err := sink.Synced(ctx, v.cluster, provider.Complete{VMs: names, ResourceVersion: v.listed, Show: v.show}); err != nil {
			return err
		}
		v.owed = false
	}
	return nil
}

// show is the object itself, without what the other feeds know of it.
func (v *view) show(ref provider.Ref) *domain.VM {
	r, ok := v.vms[key{ref.Namespace, ref.Name}]
	if !ok {
		return nil
	}
	return r.vm(v.cluster)
}

func (v *view) joined(k key) *domain.VM {
	r, ok := v.vms[k]
	if !ok {
		return nil
	}
	vm := r.vm(v.cluster)
	if i, ok := v.vmis[k]; ok {
		since, known := v.nodes[i.node]
		if !known && v.nodesListed && i.node != "" { // its node was removed
			i.silent = true
		}
		i.join(vm, since)
	}
	return vm
}

// replaceVMs takes a complete list. Everything in it is observed again, so
// that a sink which lost something heals.
func (v *view) replaceVMs(all map[key]row, version string) {
	v.vms, v.listed = all, version
	if v.vmsAt.IsZero() {
		v.vmsAt = time.Now()
	}
	clear(v.dirty)
	for k := range all {
		v.dirty[k] = true
	}
	v.owed = true
}

func (v *view) setVM(k key, r row) {
	if old, ok := v.vms[k]; ok && old.uid != r.uid {
		v.gone = append(v.gone, old)
	}
	v.vms[k] = r
	v.dirty[k] = true
}

func (v *view) dropVM(k key, r row) {
	if v.vms[k].uid == r.uid {
		delete(v.vms, k)
		delete(v.dirty, k)
	}
	v.gone = append(v.gone, r)
}

func (v *view) replaceVMIs(all map[key]instance) {
	old := v.vmis
	v.vmis, v.vmisListed = all, true
	for k := range v.vms {
		if old[k] != all[k] {
			v.dirty[k] = true
		}
	}
}

func (v *view) setVMI(k key, i instance) {
	if old, ok := v.vmis[k]; ok && old == i {
		return
	}
	v.vmis[k] = i
	v.touch(k)
}

func (v *view) dropVMI(k key) {
	delete(v.vmis, k)
	v.touch(k)
}

func (v *view) touch(k key) {
	if _, ok := v.vms[k]; ok {
		v.dirty[k] = true
	}
}

func (v *view) replaceNodes(all map[key]time.Time) {
	v.nodes, v.nodesListed = make(map[string]time.Time, len(all)), true
	for k, since := range all {
		v.nodes[k.name] = since
	}
	for k := range v.vmis {
		v.touch(k)
	}
}

func (v *view) setNode(node string, since time.Time) {
	if old, ok := v.nodes[node]; ok && old.Equal(since) {
		return // a heartbeat
	}
	v.nodes[node] = since
	for k, i := range v.vmis {
		if i.node == node {
			v.touch(k)
		}
	}
}
