package handlers

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// listClusters answers GET /clusters.
func (s *Server) listClusters(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Clusters.List(r.Context(), actor(r), cluster.Page{After: r.URL.Query().Get("after"), Limit: maxRows})
	if err != nil {
		return err
	}
	spaces, err := s.namespacesByCluster(r)
	if err != nil {
		return err
	}
	v := views.ClustersView{
		Self: r.URL.RequestURI(), Total: len(list.Items), DemoProgress: s.Demo(), CanAdd: mayOn(r, domain.ClusterCreate), CheckEvery: s.CheckEvery,
		Pager: pager(r, "", list.Next),
	}
	for _, c := range list.Items {
		v.Rows = append(v.Rows, clusterRow(r, c, len(spaces[c.ID])))
		if c.Status == domain.ClusterUnreachable || c.Status == domain.ClusterUnhealthy {
			v.Problems = append(v.Problems, clusterProblem(r, c))
		}
		if p, ends := credentialProblem(r, c, s.now()); ends {
			v.Problems = append(v.Problems, p)
		}
	}
	slices.SortStableFunc(v.Rows, func(a, b views.ClusterRow) int { return cmp.Compare(severity(a.Status), severity(b.Status)) })
	sh, err := s.shell(r, i18n.T(r.Context(), "Clusters"), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Clusters(sh, v))
}

// severity puts the worst first.
func severity(s domain.ClusterStatus) int {
	return slices.Index([]domain.ClusterStatus{domain.ClusterUnreachable, domain.ClusterUnhealthy, domain.ClusterUnknown, domain.ClusterHealthy}, s)
}

func clusterRow(r *http.Request, c cluster.Cluster, namespaces int) views.ClusterRow {
	row := views.ClusterRow{
		ID: c.ID, Name: c.Name, Place: c.Place, Status: c.Status, Why: problemText(r, c.Reason), CheckedAt: c.CheckedAt,
		Environment: c.Environment, KubeVirt: c.KubeVirtVersion, Kubernetes: c.KubernetesVersion, Features: c.Features,
		VMs: c.VMs, Namespaces: namespaces, Stale: c.Status == domain.ClusterUnreachable,
	}
	switch {
	case row.Why != "":
	case c.Status == domain.ClusterHealthy && c.Nodes > 0:
		row.Why = i18n.TN(r.Context(), c.Nodes, "{ready} of {n} node ready", "{ready} of {n} nodes ready", "ready", c.ReadyNodes)
	case c.Status == domain.ClusterHealthy:
		row.Why = i18n.T(r.Context(), "All checks passed")
	case c.Status == domain.ClusterUnknown:
		row.Why = i18n.T(r.Context(), "The first check is under way")
	}
	if !c.Enabled {
		row.Why = i18n.Join(i18n.T(r.Context(), "Takes no new VMs."), row.Why)
	}
	return row
}

func clusterProblem(r *http.Request, c cluster.Cluster) views.ClusterProblem {
	m := message(r, c.Reason.Code, with(c.Reason.Params, "cluster", c.Name))
	p := views.ClusterProblem{ID: c.ID, What: m.What, Severe: c.Status == domain.ClusterUnreachable}
	if p.Severe {
		p.Effect = i18n.TN(r.Context(), c.VMs, "What is shown of {n} VM there is the last known state. Approved requests wait.",
			"What is shown of {n} VMs there is the last known state. Approved requests wait.")
	} else {
		p.Effect = i18n.T(r.Context(), "VMs keep running. It gets no new ones until this is repaired.")
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
	spaces, err := s.namespacesByCluster(r)
	if err != nil {
		return err
	}
	v := views.ClusterView{
		Self: r.URL.RequestURI(), Row: clusterRow(r, c, len(spaces[c.ID])), Problem: problemView(r, c.Reason), Facts: clusterFacts(r.Context(), s.now(), c),
		Checks: healthChecks(r, c), Namespaces: spaces[c.ID], CanCheck: mayOn(r, domain.ClusterCheck), CanRegister: mayOn(r, domain.NamespaceCreate),
	}
	sh, err := s.shell(r, c.Name, "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Cluster(sh, v))
}

func clusterFacts(ctx context.Context, now time.Time, c cluster.Cluster) []views.Fact {
	facts := []views.Fact{
		{Label: i18n.T(ctx, "Server"), Value: c.Server, Mono: true},
		{Label: "Kubernetes", Value: c.KubernetesVersion},
		{Label: "KubeVirt", Value: c.KubeVirtVersion},
		{Label: i18n.T(ctx, "Features"), Value: strings.Join(c.Features, ", ")},
		{Label: i18n.T(ctx, "Nodes"), Value: nodesText(ctx, c)},
		{Label: i18n.T(ctx, "Storage"), Value: storageClasses(ctx, c.StorageClasses)},
		{Label: i18n.T(ctx, "Takes new VMs"), Value: yesNo(ctx, c.Enabled)},
		{Label: i18n.T(ctx, "Added"), Value: i18n.T(ctx, "{name}, {when}", "name", c.CreatedBy, "when", ui.Relative(ctx, c.CreatedAt, now))},
	}
	if c.AnsweredAt != nil {
		facts = append(facts, views.Fact{Label: i18n.T(ctx, "Last answer"), Value: ui.Relative(ctx, *c.AnsweredAt, now)})
	}
	if c.CredentialExpiresAt != nil {
		facts = append(facts, views.Fact{Label: i18n.T(ctx, "Credential ends"), Value: ui.Relative(ctx, *c.CredentialExpiresAt, now)})
	}
	return facts
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

func yesNo(ctx context.Context, b bool) string {
	if b {
		return i18n.T(ctx, "yes")
	}
	return i18n.T(ctx, "no")
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
