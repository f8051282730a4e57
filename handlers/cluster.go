package handlers

import (
	"context"
	"net/http"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// Sizes of the lists of clusters.
const (
	clustersPage  = 50
	shownProblems = 3
	shownOf       = 5 // entries of each list on the page of a cluster
)

// listClusters answers GET /clusters.
func (s *Server) listClusters(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	f := cluster.Filter{Status: domain.ClusterStatus(q.Get("status")), Environment: domain.Environment(q.Get("env")), Query: q.Get("q")}
	list, err := s.Clusters.Worst(ctx, actor(r), f, cluster.Page{After: q.Get("after"), Limit: clustersPage})
	if err != nil {
		return err
	}
	v := views.ClustersView{
		Self: r.URL.RequestURI(), DemoProgress: s.Demo(), CanAdd: mayOn(r, domain.ClusterCreate), CheckEvery: s.CheckEvery,
		Pager: pager(r, "", list.Next), Query: f.Query, Filtered: f != cluster.Filter{}, Envs: anyEnvironment(ctx, f.Environment), Statuses: clusterStatuses(ctx, f.Status),
	}
	if v.Total, err = s.Clusters.Count(ctx, actor(r), cluster.Filter{}); err != nil {
		return err
	}
	ids := make([]string, len(list.Items))
	for i, c := range list.Items {
		ids[i] = c.ID
	}
	capacity, err := s.Clusters.CapacityOf(ctx, actor(r), ids...)
	if err != nil {
		return err
	}
	waiting, err := s.Clusters.Waiting(ctx, actor(r), ids...)
	if err != nil {
		return err
	}
	for _, c := range list.Items {
		row := s.clusterRow(r, c)
		row.Memory = memoryDemand(capacity[c.ID])
		v.Rows = append(v.Rows, row)
		var own []views.ClusterProblem
		if c.Enabled && (c.Status == domain.ClusterUnreachable || c.Status == domain.ClusterUnhealthy) {
			own = append(own, clusterProblem(r, c, waiting[c.ID]))
		}
		if p, ends := credentialProblem(r, c, s.now()); ends {
			own = append(own, p)
		}
		switch {
		case len(v.Problems) < shownProblems:
			v.Problems = append(v.Problems, own...)
		case len(own) > 0:
			v.MoreProblems++
		}
	}
	sh, err := s.shell(r, i18n.T(ctx, "Clusters"), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Clusters(sh, v))
}

func clusterStatuses(ctx context.Context, chosen domain.ClusterStatus) []ui.Option {
	options := []ui.Option{{Label: i18n.T(ctx, "Every state"), Selected: chosen == ""}}
	for _, st := range domain.WorstClusterStatuses() {
		options = append(options, ui.Option{Value: string(st), Label: i18n.T(ctx, views.ClusterState(st).Label), Selected: st == chosen})
	}
	return options
}

func memoryDemand(c cluster.Capacity) views.Demand {
	return views.Demand{On: c.On.MemoryMiB, Off: c.Off.MemoryMiB, Limit: c.Allocatable.MemoryMiB}
}

func (s *Server) clusterRow(r *http.Request, c cluster.Cluster) views.ClusterRow {
	ctx := r.Context()
	row := views.ClusterRow{
		ID: c.ID, Name: c.Name, Place: c.Place, Status: c.Status, Why: problemText(r, c.Reason), CheckedAt: c.CheckedAt,
		Environment: c.Environment, KubeVirt: c.KubeVirtVersion, Kubernetes: c.KubernetesVersion, Features: c.Capabilities.Gates,
		VMs: c.VMs, Stale: domain.Freshness(c.Enabled, c.Status, c.HeardAt, c.AnsweredAt, s.now()).Stale, Off: !c.Enabled, Drained: c.Drained,
		Marks: s.clusterMarks(ctx, c),
	}
	switch {
	case !c.Enabled:
		row.Why = i18n.T(ctx, "Shepherd leaves it alone")
	case row.Why != "":
	case c.Status == domain.ClusterHealthy && c.Nodes > 0:
		row.Why = i18n.TN(ctx, c.Nodes, "{ready} of {n} node ready", "{ready} of {n} nodes ready", "ready", c.ReadyNodes)
	case c.Status == domain.ClusterHealthy:
		row.Why = i18n.T(ctx, "All checks passed")
	case c.Status == domain.ClusterUnknown:
		row.Why = i18n.T(ctx, "The first check is under way")
	}
	return row
}

// clusterMarks are what is special about a cluster beside its health.
func (s *Server) clusterMarks(ctx context.Context, c cluster.Cluster) []ui.StatusView {
	var marks []ui.StatusView
	if c.QuarantinedAt != nil {
		marks = append(marks, ui.StatusView{Label: i18n.T(ctx, "In quarantine"), Role: ui.Bad, Glyph: "failed"})
	}
	if c.Drained {
		marks = append(marks, ui.StatusView{Label: i18n.T(ctx, "Takes no new VMs"), Role: ui.Wait, Glyph: "paused"})
	}
	if text, role := s.credentialMark(ctx, c); role != "" {
		marks = append(marks, ui.StatusView{Label: text, Role: role, Glyph: "warn"})
	}
	return marks
}

// credentialMark says in a few words that a credential ends soon, or has ended;
// the role is "" when there is nothing to say.
func (s *Server) credentialMark(ctx context.Context, c cluster.Cluster) (text string, role ui.Role) {
	switch e := c.Ending(s.now()); {
	case e == nil:
		return "", ""
	case e.Ended:
		return i18n.T(ctx, "Credential has ended"), ui.Bad
	default:
		return i18n.T(ctx, "Credential ends {when}", "when", ui.Relative(ctx, e.At, s.now())), ui.Warn
	}
}

func clusterProblem(r *http.Request, c cluster.Cluster, waiting int) views.ClusterProblem {
	ctx := r.Context()
	m := message(r, c.Reason.Code, with(c.Reason.Params, "cluster", c.Name))
	p := views.ClusterProblem{ID: c.ID, What: m.What, Severe: c.Status == domain.ClusterUnreachable}
	if p.Severe {
		p.Effect = i18n.TN(ctx, c.VMs, "What is shown of {n} VM there is the last known state.", "What is shown of {n} VMs there is the last known state.")
	} else {
		p.Effect = i18n.T(ctx, "VMs keep running. It gets no new ones until this is repaired.")
	}
	if waiting > 0 {
		p.Effect = i18n.Join(p.Effect, i18n.TN(ctx, waiting, "{n} order waits for it.", "{n} orders wait for it."))
	}
	return p
}

// with is a copy of params with one more.
func with(params map[string]any, key string, value any) map[string]any {
	all := map[string]any{key: value}
	for k, v := range params {
		all[k] = v
	}
	return all
}

// showCluster answers GET /clusters/{cluster}.
func (s *Server) showCluster(w http.ResponseWriter, r *http.Request) error {
	c, err := s.Clusters.Get(r.Context(), actor(r), param(r, "cluster"))
	if err != nil {
		return err
	}
	v, err := s.clusterView(r, c)
	if err != nil {
		return err
	}
	sh, err := s.shell(r, c.Name, "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Cluster(sh, v))
}

func nodesText(ctx context.Context, c cluster.Cluster) string {
	if c.Nodes == 0 {
		return ""
	}
	return i18n.T(ctx, "{ready} of {n} ready", "ready", c.ReadyNodes, "n", c.Nodes)
}

func storageClasses(ctx context.Context, list []domain.StorageClass) string {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.Name
		if c.Default {
			names[i] = i18n.T(ctx, "{name} (default)", "name", c.Name)
		}
	}
	return strings.Join(names, ", ")
}

// checkCluster answers POST /clusters/{cluster}/check.
func (s *Server) checkCluster(w http.ResponseWriter, r *http.Request) error {
	id := param(r, "cluster")
	c, err := s.Clusters.Get(r.Context(), actor(r), id)
	if err != nil {
		return err
	}
	if err := s.Clusters.Check(r.Context(), id); err != nil {
		return err
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "{name} was checked", "name", c.Name), "")
	return s.redirect(w, r, paths.Cluster(id))
}

// environmentOptions are test and prod with nothing chosen at first: it is too
// important for a default.
func environmentOptions(ctx context.Context, chosen string) []ui.Option {
	options := []ui.Option{{Label: i18n.T(ctx, "Choose"), Selected: chosen == ""}}
	for _, e := range domain.Environments() {
		options = append(options, ui.Option{Value: string(e), Label: ui.EnvName(ctx, string(e)), Selected: string(e) == chosen})
	}
	return options
}
