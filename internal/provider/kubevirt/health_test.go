package kubevirt

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// TestAllocatable: only nodes that take VMs count, and a cluster that lies
// about itself breaks no sum.
func TestAllocatable(t *testing.T) {
	const ready = `"conditions":[{"type":"Ready","status":"True"}]`
	for name, tt := range map[string]struct {
		nodes string
		want  domain.ClusterHealth
	}{
		"none": {"", domain.ClusterHealth{}},
		"cordoned and down": {
			`{"status":{"allocatable":{"cpu":"3900m","memory":"8Gi"},` + ready + `}},{"status":{"allocatable":{"cpu":"3900m","memory":"512Ki"},` + ready + `}},
			{"spec":{"unschedulable":true},"status":{"allocatable":{"cpu":"8","memory":"8Gi"},` + ready + `}},{"status":{"allocatable":{"cpu":"8","memory":"8Gi"}}}`,
			domain.ClusterHealth{Nodes: 4, ReadyNodes: 3, Allocatable: domain.ResourceUsage{CPU: 7, MemoryMiB: 8192}},
		},
		"says nothing of itself": {`{"status":{` + ready + `}}`, domain.ClusterHealth{Nodes: 1, ReadyNodes: 1}},
		"wastes our time": {
			`{"status":{"allocatable":{"cpu":"1e-9999999","memory":"1e9999999"},` + ready + `}},{"status":{"allocatable":{"cpu":4,"memory":"1.5Gi"},` + ready + `}}`,
			domain.ClusterHealth{Nodes: 2, ReadyNodes: 2, Allocatable: domain.ResourceUsage{CPU: 4, MemoryMiB: 1536}},
		},
		"lies": {
			`{"status":{"allocatable":{"cpu":"9P","memory":"9E"},` + ready + `}},{"status":{"allocatable":{"cpu":"-9P","memory":"-1"},` + ready + `}}`,
			domain.ClusterHealth{Nodes: 2, ReadyNodes: 2, Allocatable: domain.ResourceUsage{CPU: 1e6, MemoryMiB: 1 << 25}},
		},
	} {
		began := time.Now()
		p := scripted(t, func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/nodes") {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"kind":"NodeList","apiVersion":"v1","metadata":{},"items":[` + tt.nodes + `]}`))
		})
		got := p.CheckHealth(t.Context(), "c1", false)
		if got.Nodes != tt.want.Nodes || got.ReadyNodes != tt.want.ReadyNodes || got.Allocatable != tt.want.Allocatable {
			t.Errorf("%s: %d of %d nodes, %+v", name, got.ReadyNodes, got.Nodes, got.Allocatable)
		}
		if d := time.Since(began); d > healthTimeout {
			t.Errorf("%s: took %v", name, d)
		}
	}
}
