package kubevirt

import (
	"context"
	"hash/fnv"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
	"unique"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// row is what is kept in memory of a VirtualMachine: some two hundred bytes
// instead of the ten kilobytes of the object. What only this VM has stands in one
// piece of memory; what many VMs have alike is stored once (shape).
//
// The name of the first-boot Secret is not kept: nobody asks a watcher for it.
type row struct {
	text     string               // the own texts, one after the other
	ends     [ownTexts - 1]uint16 // where each but the last ends
	shape    unique.Handle[shape]
	problem  *domain.Problem // nil: it is well
	created  int64           // Unix seconds
	observed int64           // Unix nanoseconds; when it was read
}

// The own texts.
const (
	ownUID = iota
	ownVersion
	ownOperation
	ownInstance
	ownTicket
	ownTexts
)

// shape is what VMs of one service, size and state have in common.
type shape struct {
	namespace                            string
	managedBy, system, service, specHash string
	cpu, memoryMiB, diskGiB              int
	image, storageClass                  string
	instanceType, preference             string
	running, deleting                    bool
	state                                domain.VMState
}

// shared makes equal texts one.
func shared(s string) string { return unique.Make(s).Value() }

func compact(vm *domain.VM) row {
	own := [ownTexts]string{
		vm.UID, vm.ResourceVersion, vm.Annotations[domain.AnnotationOperation], vm.Labels[domain.LabelInstance], vm.Labels[domain.LabelTicket],
	}
	s := vm.Spec
	r := row{
		text:    strings.Join(own[:], ""),
		created: vm.CreatedAt.Unix(), observed: vm.Status.ObservedAt.UnixNano(),
		shape: unique.Make(shape{
			namespace: s.Namespace,
			managedBy: vm.Labels[domain.LabelManagedBy], system: vm.Labels[domain.LabelSystem], service: vm.Labels[domain.LabelService],
			specHash: vm.Annotations[domain.AnnotationSpecHash],
			cpu:      s.CPU, memoryMiB: s.MemoryMiB, diskGiB: s.DiskGiB,
			image: s.Image, storageClass: s.StorageClass, instanceType: s.InstanceType, preference: s.Preference,
			running: s.Running, deleting: vm.Deleting, state: vm.Status.State,
		}),
	}
	end := 0
	for i := range r.ends {
		end += len(own[i])
		r.ends[i] = uint16(end) // of five texts, none longer than maxText runes
	}
	if !vm.Status.Problem.IsZero() {
		p := vm.Status.Problem
		r.problem = &p
	}
	return r
}

// own is one of the own texts.
func (r *row) own(i int) string {
	from, to := 0, len(r.text)
	if i > 0 {
		from = int(r.ends[i-1])
	}
	if i < len(r.ends) {
		to = int(r.ends[i])
	}
	return r.text[from:to]
}

func (r *row) uid() string { return r.own(ownUID) }

func (r *row) vm(cluster, name string) *domain.VM {
	s := r.shape.Value()
	vm := &domain.VM{
		Cluster: cluster, Namespace: s.namespace, Name: name, UID: r.uid(), ResourceVersion: r.own(ownVersion),
		Labels: map[string]string{}, Annotations: map[string]string{},
		CreatedAt: time.Unix(r.created, 0).UTC(), Deleting: s.deleting,
		Spec: domain.VMSpec{
			Name: name, Namespace: s.namespace, CPU: s.cpu, MemoryMiB: s.memoryMiB, DiskGiB: s.diskGiB,
			Image: s.image, StorageClass: s.storageClass, InstanceType: s.instanceType, Preference: s.preference, Running: s.running,
		},
		Status: domain.VMStatus{State: s.state, ObservedAt: time.Unix(0, r.observed).UTC()},
	}
	put := func(m map[string]string, k, v string) {
		if v != "" {
			m[k] = v
		}
	}
	put(vm.Labels, domain.LabelManagedBy, s.managedBy)
	put(vm.Labels, domain.LabelSystem, s.system)
	put(vm.Labels, domain.LabelService, s.service)
	put(vm.Labels, domain.LabelInstance, r.own(ownInstance))
	put(vm.Labels, domain.LabelTicket, r.own(ownTicket))
	put(vm.Annotations, domain.AnnotationOperation, r.own(ownOperation))
	put(vm.Annotations, domain.AnnotationSpecHash, s.specHash)
	vm.Spec.Labels, vm.Spec.Annotations = vm.Labels, vm.Annotations
	if r.problem != nil {
		vm.Status.Problem = *r.problem
	}
	return vm
}

// guest is what is kept of a VirtualMachineInstance. It is comparable. The UID of
// its VM is kept as a hash, which is enough to compare.
type guest struct {
	owner   uint64
	ip      string
	place   unique.Handle[place]
	started int64 // Unix seconds; 0: not yet
}

// place is what instances of one node and image have in common.
type place struct {
	node, guest string
	silent      bool
}

func (i instance) compact() guest {
	g := guest{owner: hashed(i.owner), ip: i.ip, place: unique.Make(place{i.node, i.guest, i.silent})}
	if !i.started.IsZero() {
		g.started = i.started.Unix()
	}
	return g
}

// instance gives back what compact took, for the VM with a UID: the owner is ""
// when it is another one.
func (g guest) instance(uid string) instance {
	p := g.place.Value()
	i := instance{ip: g.ip, node: p.node, guest: p.guest, silent: p.silent}
	if g.owner == hashed(uid) {
		i.owner = uid
	}
	if g.started != 0 {
		i.started = time.Unix(g.started, 0).UTC()
	}
	return i
}

func hashed(s string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, s)
	return h.Sum64()
}

// machine is a VM and its running instance; either may be missing.
type machine struct {
	row    row
	guest  guest
	exists bool // row is set
	runs   bool // guest is set
}

// departed is a VM that was deleted.
type departed struct {
	name string
	row  row
}

// view joins what the feeds of one cluster read. One goroutine uses it.
type view struct {
	cluster string
	timing  timing

	machines map[key]*machine
	nodes    map[string]time.Time // since when it is silent; zero: it reports

	dirty map[key]bool // to be observed
	gone  []departed   // to be observed as deleted
	owed  bool         // a Synced
	stuck atomic.Bool  // the sink refuses

	vmsAt                   time.Time // of the first complete list; zero: not yet
	listed                  string    // resourceVersion of the last complete list
	vmisListed, nodesListed bool
}

func newView(cluster string, t timing) *view {
	return &view{
		cluster: cluster, timing: t,
		machines: map[key]*machine{}, nodes: map[string]time.Time{}, dirty: map[key]bool{},
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
				v.stuck.Store(true)
				log.WarnContext(ctx, "observations were not stored", "error", err, "failures", failures)
				due = time.After(backoff(failures, v.timing.maxBackoff))
			} else {
				failures = 0
				v.stuck.Store(false)
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
		for _, d := range v.gone[:n] {
			batch = append(batch, provider.Observation{VM: d.row.vm(v.cluster, d.name), Deleted: true})
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
		names := make(map[provider.Ref]bool, len(v.machines))
		for k, m := range v.machines {
			if m.exists {
				names[provider.Ref{Cluster: v.cluster, Namespace: k.namespace, Name: k.name, UID: m.row.uid()}] = true
			}
		}
		if err := sink.Synced(ctx, v.cluster, provider.Complete{VMs: names, ResourceVersion: v.listed}); err != nil {
			return err
		}
		v.owed = false
	}
	v.dirty = map[key]bool{} // a map that was large stays large
	return nil
}

func (v *view) joined(k key) *domain.VM {
	m := v.machines[k]
	if m == nil || !m.exists {
		return nil
	}
	vm := m.row.vm(v.cluster, k.name)
	if m.runs {
		i := m.guest.instance(vm.UID)
		since, known := v.nodes[i.node]
		if !known && v.nodesListed && i.node != "" { // its node was removed
			i.silent = true
		}
		i.join(vm, since)
	}
	return vm
}

// machine gives the one of a name, made when there is none.
func (v *view) machine(k key) *machine {
	m := v.machines[k]
	if m == nil {
		m = &machine{}
		v.machines[k] = m
	}
	return m
}

// left forgets a machine of which nothing is left.
func (v *view) left(k key) {
	if m := v.machines[k]; m != nil && !m.exists && !m.runs {
		delete(v.machines, k)
	}
}

// replaceVMs takes a complete list. Everything in it is observed again, so
// that a sink which lost something heals.
func (v *view) replaceVMs(all map[key]row, version string) {
	v.listed, v.owed = version, true
	if v.vmsAt.IsZero() {
		v.vmsAt = time.Now()
	}
	for k, m := range v.machines {
		if _, ok := all[k]; !ok {
			m.row, m.exists = row{}, false
			v.left(k)
		}
	}
	v.dirty = make(map[key]bool, len(all))
	for k, r := range all {
		m := v.machine(k)
		m.row, m.exists = r, true
		v.dirty[k] = true
	}
}

func (v *view) setVM(k key, r row) {
	m := v.machine(k)
	if m.exists && m.row.uid() != r.uid() {
		v.gone = append(v.gone, departed{k.name, m.row})
	}
	m.row, m.exists = r, true
	v.dirty[k] = true
}

func (v *view) dropVM(k key, r row) {
	if m := v.machines[k]; m != nil && m.exists && m.row.uid() == r.uid() {
		m.row, m.exists = row{}, false
		delete(v.dirty, k)
		v.left(k)
	}
	v.gone = append(v.gone, departed{k.name, r})
}

func (v *view) replaceVMIs(all map[key]guest) {
	v.vmisListed = true
	for k, m := range v.machines {
		if _, ok := all[k]; !ok && m.runs {
			v.dropVMI(k)
		}
	}
	for k, g := range all {
		v.setVMI(k, g)
	}
}

func (v *view) setVMI(k key, g guest) {
	m := v.machine(k)
	if m.runs && m.guest == g {
		return
	}
	m.guest, m.runs = g, true
	v.touch(k)
}

func (v *view) dropVMI(k key) {
	m := v.machines[k]
	if m == nil || !m.runs {
		return
	}
	m.guest, m.runs = guest{}, false
	v.touch(k)
	v.left(k)
}

// touch says that what is known of a VM has changed, although it has not.
func (v *view) touch(k key) {
	if m := v.machines[k]; m != nil && m.exists {
		m.row.observed = time.Now().UnixNano()
		v.dirty[k] = true
	}
}

func (v *view) replaceNodes(all map[key]time.Time) {
	v.nodes, v.nodesListed = make(map[string]time.Time, len(all)), true
	for k, since := range all {
		v.nodes[k.name] = since
	}
	for k, m := range v.machines {
		if m.runs {
			v.touch(k)
		}
	}
}

func (v *view) setNode(node string, since time.Time) {
	if old, ok := v.nodes[node]; ok && old.Equal(since) {
		return // a heartbeat
	}
	v.nodes[node] = since
	for k, m := range v.machines {
		if m.runs && m.guest.place.Value().node == node {
			v.touch(k)
		}
	}
}
