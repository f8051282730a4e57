package domain

import "strings"

// Quota is one line of a ResourceQuota.
type Quota struct {
	Name     string `json:"name"`     // of the ResourceQuota
	Resource string `json:"resource"` // such as requests.memory
	Hard     string `json:"hard"`     // in Kubernetes' own notation
	Used     string `json:"used"`
	Scoped   bool   `json:"scoped,omitempty"` // counts only some pods, of a priority for example

	// The same as numbers, for a kind that is known. Hard is rounded down and
	// Used up.
	Kind      QuotaKind `json:"kind,omitempty"` // "": only shown as it is
	HardValue int       `json:"hard_value,omitempty"`
	UsedValue int       `json:"used_value,omitempty"`
}

// QuotaKind is what a line of a quota limits.
type QuotaKind string

// The kinds that VMs take something of, with their units.
const (
	QuotaCPU         QuotaKind = "cpu"          // asked of the scheduler; thousandths of a vCPU
	QuotaCPULimit    QuotaKind = "cpu_limit"    // at most; thousandths of a vCPU
	QuotaMemory      QuotaKind = "memory"       // asked of the scheduler; MiB
	QuotaMemoryLimit QuotaKind = "memory_limit" // at most; MiB
	QuotaStorage     QuotaKind = "storage"      // of all classes together; MiB
	QuotaVMs         QuotaKind = "vms"          // VirtualMachine objects
	QuotaInstances   QuotaKind = "instances"    // VMs that are on
	QuotaPods        QuotaKind = "pods"         // a VM that is on has one
	QuotaDisks       QuotaKind = "disks"        // PersistentVolumeClaims
)

// QuotaKinds lists all of them in the order of pages.
func QuotaKinds() []QuotaKind {
	return []QuotaKind{
		QuotaCPU, QuotaCPULimit, QuotaMemory, QuotaMemoryLimit, QuotaStorage, QuotaVMs, QuotaInstances, QuotaPods, QuotaDisks,
	}
}

// quotaKinds are the names that Kubernetes and KubeVirt have for them.
var quotaKinds = map[string]QuotaKind{
	"cpu": QuotaCPU, "requests.cpu": QuotaCPU, "limits.cpu": QuotaCPULimit,
	"memory": QuotaMemory, "requests.memory": QuotaMemory, "limits.memory": QuotaMemoryLimit,
	"requests.storage": QuotaStorage, "pods": QuotaPods, "count/pods": QuotaPods,
	"persistentvolumeclaims": QuotaDisks, "count/persistentvolumeclaims": QuotaDisks,
	"count/virtualmachines.kubevirt.io": QuotaVMs, "count/virtualmachineinstances.kubevirt.io": QuotaInstances,
}

// QuotaKindOf is the kind of a resource of a quota, or "".
func QuotaKindOf(resource string) QuotaKind { return quotaKinds[resource] }

// Demand is what some VMs are to have, all together.
type Demand struct {
	VMs       int
	CPU       int // vCPU
	MemoryMiB int
	DiskGiB   int
}

// Plus is both together.
func (d Demand) Plus(o Demand) Demand {
	return Demand{d.VMs + o.VMs, d.CPU + o.CPU, d.MemoryMiB + o.MemoryMiB, d.DiskGiB + o.DiskGiB}
}

// cpuShare is KubeVirt's default cpuAllocationRatio: it asks the scheduler for
// a tenth of each vCPU.
const cpuShare = 10

// Takes is what the VMs take at least, in the kind's unit, when they are on. The
// cluster adds its own overhead on top, so that what does not fit by this number
// does not fit at all.
func (k QuotaKind) Takes(d Demand) int {
	switch k {
	case QuotaCPU:
		return d.CPU * 1000 / cpuShare
	case QuotaCPULimit:
		return d.CPU * 1000
	case QuotaMemory, QuotaMemoryLimit:
		return d.MemoryMiB
	case QuotaStorage:
		return d.DiskGiB * 1024
	case QuotaVMs, QuotaInstances, QuotaPods, QuotaDisks:
		return d.VMs
	}
	return 0
}

// Room is what is left of the quotas of a namespace on one cluster.
type Room struct {
	Quotas  []Quota // one of each kind, the tightest; by kind
	Pending Demand  // approved since the quotas were read, so not counted in them
}

// RoomOf finds the tightest line of each kind. Lines that count only some pods
// say nothing of a VM, and are left out.
func RoomOf(quotas []Quota, pending Demand) Room {
	r := Room{Pending: pending}
	for _, kind := range QuotaKinds() {
		var tightest *Quota
		for i, q := range quotas {
			if q.Kind == kind && !q.Scoped && (tightest == nil || r.Left(q) < r.Left(*tightest)) {
				tightest = &quotas[i]
			}
		}
		if tightest != nil {
			r.Quotas = append(r.Quotas, *tightest)
		}
	}
	return r
}

// Left is what may still be asked for of a line, in its kind's unit; never
// below zero.
func (r Room) Left(q Quota) int { return max(q.HardValue-q.UsedValue-q.Kind.Takes(r.Pending), 0) }

// Short are the lines that the VMs would not fit into.
func (r Room) Short(d Demand) []Quota {
	var short []Quota
	for _, q := range r.Quotas {
		if q.Kind.Takes(d) > r.Left(q) {
			short = append(short, q)
		}
	}
	return short
}

// Tightest is the line of which the VMs would leave the smallest part; nil when
// nothing is limited.
func (r Room) Tightest(d Demand) *Quota {
	part := func(q Quota) float64 {
		return float64(r.Left(q)-q.Kind.Takes(d)) / float64(max(q.HardValue, 1))
	}
	var tightest *Quota
	for i, q := range r.Quotas {
		if tightest == nil || part(q) < part(*tightest) {
			tightest = &r.Quotas[i]
		}
	}
	return tightest
}

// The namespaces of the platform itself, in which no VM has a place: whoever can make pods
// and Secrets there is near the controllers of the whole cluster. The default
// namespace is among them because everything that forgot to name one is there.
var (
	systemPrefixes   = []string{"kube-", "openshift-", "cattle-"}
	systemNamespaces = map[string]bool{
		"default": true, "openshift": true, "kubevirt": true, "kubevirt-hyperconverged": true, "kubevirt-shepherd": true, "cdi": true,
		"cert-manager": true, "calico-system": true, "tigera-operator": true, "istio-system": true, "metallb-system": true,
		"longhorn-system": true, "rook-ceph": true, "local-path-storage": true,
	}
)

// SystemNamespace says whether a namespace belongs to Kubernetes, KubeVirt or
// another part of the platform.
func SystemNamespace(name string) bool {
	for _, p := range systemPrefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return systemNamespaces[name]
}
