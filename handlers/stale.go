package handlers

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// stale are the clusters of which a page shows the last known state, by id.
type stale map[string]cluster.Stale

// stale reads which clusters are not up to date: one small query, and no cluster
// is asked.
func (s *Server) stale(r *http.Request) (stale, error) {
	return s.Clusters.LastKnown(r.Context())
}

// staleNotes are the notes for a page about VMs of the actor, or of a system of
// his.
func (s *Server) staleNotes(r *http.Request, systemID string) ([]views.StaleView, error) {
	all, err := s.stale(r)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	ids, err := s.Clusters.Affected(r.Context(), actor(r), all, systemID)
	return all.notes(ids...), err
}

// since says whether what is shown of a cluster's VMs is old, and of when it is;
// nil when that is not known.
func (s stale) since(clusterID string) (old bool, at *time.Time) {
	c, old := s[clusterID]
	if old && !c.Since.IsZero() {
		at = &c.Since
	}
	return old, at
}

// status is the state of a VM of a cluster.
func (s stale) status(ctx context.Context, clusterID string, state domain.VMState, problem domain.Problem) ui.StatusView {
	old, at := s.since(clusterID)
	return vmStatus(ctx, state, problem, old, at)
}

// notes are those of some clusters that are not up to date, by name and each
// once.
func (s stale) notes(clusterIDs ...string) []views.StaleView {
	slices.Sort(clusterIDs)
	var list []views.StaleView
	for _, id := range slices.Compact(clusterIDs) {
		if c, old := s[id]; old {
			_, at := s.since(id)
			list = append(list, views.StaleView{Cluster: c.Cluster, Since: at, Off: c.Off})
		}
	}
	slices.SortFunc(list, func(a, b views.StaleView) int { return cmp.Compare(a.Cluster, b.Cluster) })
	return list
}
