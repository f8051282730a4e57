package clusterstub

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// firstVersion is the resourceVersion of a cluster that has just started. What
// was before is forgotten, as in a real one.
const firstVersion = 400

// resource is a kind of objects that is served.
type resource struct {
	group, version, plural, kind string
	namespaced                   bool
}

var (
	namespaces     = &resource{"", "v1", "namespaces", "Namespace", false}
	nodes          = &resource{"", "v1", "nodes", "Node", false}
	secrets        = &resource{"", "v1", "secrets", "Secret", true}
	storageClasses = &resource{"storage.k8s.io", "v1", "storageclasses", "StorageClass", false}
	kubevirts      = &resource{"kubevirt.io", "v1", "kubevirts", "KubeVirt", true}
	vms            = &resource{"kubevirt.io", "v1", "virtualmachines", "VirtualMachine", true}
	vmis           = &resource{"kubevirt.io", "v1", "virtualmachineinstances", "VirtualMachineInstance", true}
)

// served are all resources.
var served = []*resource{
	namespaces, nodes, secrets, {"", "v1", "resourcequotas", "ResourceQuota", true}, storageClasses, kubevirts, vms, vmis,
	{"kubevirt.io", "v1", "virtualmachineinstancemigrations", "VirtualMachineInstanceMigration", true},
	{"instancetype.kubevirt.io", "v1beta1", "virtualmachineclusterinstancetypes", "VirtualMachineClusterInstancetype", false},
	{"instancetype.kubevirt.io", "v1beta1", "virtualmachineclusterpreferences", "VirtualMachineClusterPreference", false},
	{"snapshot.kubevirt.io", "v1beta1", "virtualmachinesnapshots", "VirtualMachineSnapshot", true},
	{"snapshot.storage.k8s.io", "v1", "volumesnapshotclasses", "VolumeSnapshotClass", false},
	{"cdi.kubevirt.io", "v1beta1", "datavolumes", "DataVolume", true},
	{"cdi.kubevirt.io", "v1beta1", "storageprofiles", "StorageProfile", false},
}

func (r *resource) apiVersion() string {
	if r.group == "" {
		return r.version
	}
	return r.group + "/" + r.version
}

// qualified is how messages name the resource.
func (r *resource) qualified() string {
	if r.group == "" {
		return r.plural
	}
	return r.plural + "." + r.group
}

// object is one version of an object. It is never changed.
type object struct {
	namespace, name, uid string
	version              uint64
	labels               map[string]string
	raw                  []byte // JSON
}

func (o *object) key() string { return o.namespace + "/" + o.name }

// event is a change, for watches.
type event struct {
	version  uint64
	resource *resource
	kind     string // ADDED, MODIFIED, DELETED
	object   *object
}

// snapshot is what the rest of a list in pages is cut from.
type snapshot struct {
	version uint64
	rest    []*object
}

// metadata gives an object's, and makes it when there is none.
func metadata(o map[string]any) map[string]any {
	m, ok := o["metadata"].(map[string]any)
	if !ok {
		m = map[string]any{}
		o["metadata"] = m
	}
	return m
}

func text(m map[string]any, path ...string) string {
	for _, p := range path[:len(path)-1] {
		m, _ = m[p].(map[string]any)
	}
	s, _ := m[path[len(path)-1]].(string)
	return s
}

// put stores an object under a new resourceVersion. c.mu is held.
func (c *Cluster) put(r *resource, o map[string]any) *object {
	c.version++
	m := metadata(o)
	m["resourceVersion"] = strconv.FormatUint(c.version, 10)
	obj := &object{namespace: text(m, "namespace"), name: text(m, "name"), uid: text(m, "uid"), version: c.version, labels: map[string]string{}}
	labels, _ := m["labels"].(map[string]any)
	for k, v := range labels {
		obj.labels[k], _ = v.(string)
	}
	obj.raw = encode(o)
	all := c.objects[r]
	if all == nil {
		all = map[string]*object{}
		c.objects[r] = all
	}
	kind := "MODIFIED"
	if all[obj.key()] == nil {
		kind = "ADDED"
	}
	all[obj.key()] = obj
	c.tell(event{c.version, r, kind, obj})
	return obj
}

// remove deletes an object. c.mu is held.
func (c *Cluster) remove(r *resource, old *object) {
	c.version++
	o := old.decoded()
	metadata(o)["resourceVersion"] = strconv.FormatUint(c.version, 10)
	gone := *old
	gone.version, gone.raw = c.version, encode(o)
	delete(c.objects[r], old.key())
	c.tell(event{c.version, r, "DELETED", &gone})
}

func (c *Cluster) tell(e event) {
	c.log = append(c.log, e)
	if extra := len(c.log) - c.options.History; extra > 0 {
		c.floor = c.log[extra-1].version
		c.log = slices.Delete(c.log, 0, extra)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of decoded JSON: cannot happen
	}
	return b
}

func (o *object) decoded() map[string]any {
	var m map[string]any
	if err := json.Unmarshal(o.raw, &m); err != nil {
		panic(err) // what encode made
	}
	return m
}

// add stores an object of the start.
func (c *Cluster) add(r *resource, o map[string]any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(r, o)
}

// Compact forgets all changes up to now, and the rests of lists: a watch that
// wants to go on from before gets a 410.
func (c *Cluster) Compact() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log, c.floor = nil, c.version
	clear(c.pages)
}

// Move puts a VM's running instance on another node with another address, as a
// live migration does. It says whether there is such an instance.
func (c *Cluster) Move(namespace, vm, node, ip string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.objects[vmis][namespace+"/"+vm]
	if old == nil {
		return false
	}
	o := old.decoded()
	status, _ := o["status"].(map[string]any)
	status["nodeName"] = node
	if nics, _ := status["interfaces"].([]any); len(nics) > 0 {
		nic, _ := nics[0].(map[string]any)
		nic["ipAddress"], nic["ipAddresses"] = ip, []any{ip}
	}
	c.put(vmis, o)
	return true
}

// list gives the objects of a namespace ("" = all) that fit, by key, and the
// version of the list. c.mu is held.
func (c *Cluster) list(r *resource, namespace string, fits func(*object) bool) []*object {
	all := c.objects[r]
	out := make([]*object, 0, len(all))
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if o := all[k]; (namespace == "" || o.namespace == namespace) && fits(o) {
			out = append(out, o)
		}
	}
	return out
}

// selector reads a label selector of equalities.
func selector(s string) (func(*object) bool, error) {
	want := map[string]string{}
	for part := range strings.SplitSeq(s, ",") {
		if part == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		if !ok || strings.ContainsAny(k, "!()") {
			return nil, fmt.Errorf("the stub knows no selector %q", s)
		}
		want[k] = strings.TrimPrefix(v, "=")
	}
	return func(o *object) bool {
		for k, v := range want {
			if got, ok := o.labels[k]; !ok || got != v {
				return false
			}
		}
		return true
	}, nil
}

// boot does what virt-controller and a node do with a VM that was created.
// c.mu is held.
func (c *Cluster) boot(vm map[string]any) {
	m := metadata(vm)
	uid, name, ns := text(m, "uid"), text(m, "name"), text(m, "namespace")
	labels, _ := vm["spec"].(map[string]any)
	template, _ := labels["template"].(map[string]any)
	podLabels := metadata(template)["labels"]

	vmi := rename(recorded("virtualmachineinstance"), recordedVM, name, recordedVMNamespace, ns, recordedVMUID, uid,
		recordedVMIUID, UID(uid, "instance", time.Now().String()), recordedPod, UID(uid, "pod"), "2026-11-26T04:15:01Z", time.Now().UTC().Format(time.RFC3339))
	if podLabels != nil {
		metadata(vmi)["labels"] = podLabels
	}
	c.put(vmis, vmi)
	vm["status"] = rename(recorded("virtualmachine"))["status"]
	c.put(vms, vm)
}

// halt does what becomes of a VM that was switched off. c.mu is held.
func (c *Cluster) halt(vm map[string]any) {
	m := metadata(vm)
	if i := c.objects[vmis][text(m, "namespace")+"/"+text(m, "name")]; i != nil {
		c.remove(vmis, i)
	}
	vm["status"] = map[string]any{"printableStatus": "Stopped", "conditions": []any{map[string]any{
		"type": "Ready", "status": "False", "reason": "VMINotExists", "message": "VMI does not exist",
		"lastProbeTime": nil, "lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
	}}}
	c.put(vms, vm)
}
