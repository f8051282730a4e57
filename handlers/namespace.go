package handlers

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// maxRows is the longest page that the use cases give.
const maxRows = 500

func namespaceRow(ctx context.Context, n cluster.Namespace) views.NamespaceRow {
	row := views.NamespaceRow{
		ID: n.ID, Name: n.Name, ClusterID: n.ClusterID, Cluster: n.ClusterName, Environment: n.Environment,
		Presence: n.Presence, CheckedAt: n.CheckedAt, Bars: quotaBars(ctx, n.Quotas), QuotasUnknown: n.Presence == domain.PresencePresent && n.Quotas == nil,
	}
	for _, y := range n.Systems {
		row.Systems = append(row.Systems, views.NavSystem{Name: y.Name, Href: paths.System(y.ID)})
	}
	return row
}

// namespacesByCluster groups the registered namespaces, for pages about clusters.
func (s *Server) namespacesByCluster(r *http.Request) (map[string][]views.NamespaceRow, error) {
	list, err := s.Clusters.Namespaces(r.Context(), actor(r), cluster.Page{Limit: maxRows})
	if err != nil {
		return nil, err
	}
	all := map[string][]views.NamespaceRow{}
	for _, n := range list.Items {
		all[n.ClusterID] = append(all[n.ClusterID], namespaceRow(r.Context(), n))
	}
	return all, nil
}

// listNamespaces answers GET /namespaces.
func (s *Server) listNamespaces(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := cluster.NamespaceFilter{ClusterID: q.Get("cluster"), Environment: domain.Environment(q.Get("env"))}
	list, err := s.Clusters.FindNamespaces(r.Context(), actor(r), f, cluster.Page{After: q.Get("after")})
	if err != nil {
		return err
	}
	clusters, err := s.Clusters.List(r.Context(), actor(r), cluster.Page{Limit: maxRows})
	if err != nil {
		return err
	}
	v := views.NamespacesView{
		Self: r.URL.RequestURI(), CanRegister: mayOn(r, domain.NamespaceCreate), HasClusters: len(clusters.Items) > 0,
		Filtered: f != (cluster.NamespaceFilter{}), Envs: anyEnvironment(r.Context(), f.Environment), Pager: pager(r, "", list.Next),
		Clusters: []ui.Option{{Label: i18n.T(r.Context(), "Every cluster"), Selected: f.ClusterID == ""}},
	}
	for _, c := range clusters.Items {
		v.Clusters = append(v.Clusters, ui.Option{Value: c.ID, Label: c.Name, Selected: c.ID == f.ClusterID})
	}
	for _, n := range list.Items {
		v.Rows = append(v.Rows, namespaceRow(r.Context(), n))
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Namespaces"), "namespaces")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Namespaces(sh, v))
}

// namespaceVMs is how many VMs a page of a namespace lists.
const namespaceVMs = 50

// showNamespace answers GET /namespaces/{namespace}.
func (s *Server) showNamespace(w http.ResponseWriter, r *http.Request) error {
	ctx, a := r.Context(), actor(r)
	n, err := s.Clusters.GetNamespace(ctx, a, param(r, "namespace"))
	if err != nil {
		return err
	}
	others, err := s.Clusters.FindNamespaces(ctx, a, cluster.NamespaceFilter{Name: n.Name}, cluster.Page{Limit: maxRows})
	if err != nil {
		return err
	}
	vms, total, err := s.Clusters.NamespaceVMs(ctx, a, n.ID, cluster.Page{After: r.URL.Query().Get("after"), Limit: namespaceVMs})
	if err != nil {
		return err
	}
	v := views.NamespaceView{
		Self: r.URL.RequestURI(), Row: namespaceRow(ctx, n), CanCheck: mayOn(r, domain.NamespaceCheck), CanUnregister: mayOn(r, domain.NamespaceDelete),
		Registered: i18n.T(ctx, "{name}, {when}", "name", n.CreatedBy, "when", ui.Relative(ctx, n.CreatedAt, s.now())),
		Commands:   createCommands(n.Name, n.Environment), Pager: pager(r, i18n.TN(ctx, total, "{n} VM", "{n} VMs"), vms.Next), VMTotal: total,
	}
	for _, q := range n.Quotas {
		v.Lines = append(v.Lines, views.QuotaLine{Name: q.Name, Resource: q.Resource, Used: q.Used, Hard: q.Hard, Scoped: q.Scoped})
	}
	for _, o := range others.Items {
		if o.ID != n.ID {
			v.Others = append(v.Others, namespaceRow(ctx, o))
		}
	}
	for _, m := range vms.Items {
		v.VMs = append(v.VMs, views.NamespaceVM{
			ID: m.ID, Name: m.Name, Status: vmStatus(ctx, m.State, m.Problem, m.ClusterStatus, m.ObservedAt), Problem: problemText(r, m.Problem),
			Size: m.Size, Owner: m.CreatedBy,
		})
	}
	sh, err := s.shell(r, n.Name, "namespaces")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Namespace(sh, v))
}

// checkNamespace answers POST /namespaces/{namespace}/check.
func (s *Server) checkNamespace(w http.ResponseWriter, r *http.Request) error {
	n, err := s.Clusters.GetNamespace(r.Context(), actor(r), param(r, "namespace"))
	if err != nil {
		return err
	}
	err = s.Clusters.CheckNamespace(r.Context(), actor(r), n.ID)
	switch e, told := apperr.From(err); {
	case err == nil:
		s.flash(r, ui.OK, i18n.T(r.Context(), "{name} was looked at", "name", n.Name), "")
	case told && (e.Kind() == apperr.Unavailable || e.Kind() == apperr.Conflict):
		m := message(r, e.Code, e.Params)
		s.flash(r, ui.Warn, i18n.T(r.Context(), "{cluster} could not be asked", "cluster", n.ClusterName), i18n.Join(m.What, m.Why))
	default:
		return err
	}
	return s.redirect(w, r, paths.Namespace(n.ID))
}

type namespaceForm struct {
	Cluster     string `form:"cluster" label:"Cluster"`
	Name        string `form:"name" label:"Name in Kubernetes" validate:"max=63"`
	Environment string `form:"environment" label:"Environment"`
	Create      bool   `form:"create"` // make it in the cluster
	Unseen      bool   `form:"unseen"` // register it although nobody knows whether it is there
}

// newNamespace answers GET /namespaces/new.
func (s *Server) newNamespace(w http.ResponseWriter, r *http.Request) error {
	return s.namespaceForm(w, r, namespaceForm{Cluster: r.URL.Query().Get("cluster")}, nil)
}

// registerNamespace answers POST /namespaces.
func (s *Server) registerNamespace(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[namespaceForm](r)
	if err == nil {
		var id string
		id, err = s.Clusters.RegisterNamespace(r.Context(), actor(r), cluster.Registration{
			ClusterID: form.Cluster, Name: form.Name, Environment: domain.Environment(form.Environment), Create: form.Create, Unseen: form.Unseen,
		})
		if err == nil {
			text := i18n.T(r.Context(), "Systems can be made in it now.")
			if form.Create {
				text = i18n.T(r.Context(), "It was made in the cluster. Systems can be made in it now.")
			}
			s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is registered", "name", form.Name), text)
			return s.redirect(w, r, paths.Namespace(id))
		}
	}
	return s.namespaceForm(w, r, form, err)
}

func (s *Server) namespaceForm(w http.ResponseWriter, r *http.Request, form namespaceForm, err error) error {
	clusters, listErr := s.Clusters.List(r.Context(), actor(r), cluster.Page{Limit: maxRows})
	if listErr != nil {
		return listErr
	}
	help := s.namespaceHelp(r, form, clusters.Items, err)
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	v := views.NamespaceFormView{
		Name: form.Name, Envs: environmentOptions(r.Context(), form.Environment), Errors: errs, Help: help,
		Clusters: []ui.Option{{Label: i18n.T(r.Context(), "Choose a cluster"), Selected: form.Cluster == ""}},
	}
	for _, c := range clusters.Items {
		v.Clusters = append(v.Clusters, ui.Option{Value: c.ID, Label: c.Name + " · " + ui.EnvName(r.Context(), string(c.Environment)), Selected: c.ID == form.Cluster})
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Register namespace"), "namespaces")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.NamespaceForm(sh, v))
}

// namespaceHelp says what can be done about a namespace that the cluster does
// not have, or about a cluster that cannot be asked; nil for any other error.
func (s *Server) namespaceHelp(r *http.Request, form namespaceForm, clusters []cluster.Cluster, err error) *views.NamespaceHelp {
	e, ok := apperr.From(err)
	if !ok {
		return nil
	}
	h := &views.NamespaceHelp{Name: form.Name}
	quarantined := false
	for _, c := range clusters {
		if c.ID == form.Cluster {
			h.Cluster, quarantined = c.Name, c.QuarantinedAt != nil
		}
	}
	rule := func(verb string) string {
		return s.ClusterRole([]domain.ResourceRule{{Resource: "namespaces", Verb: verb}}, "")
	}
	switch {
	case e.Code == apperr.ErrNamespaceMissing:
		h.Missing, h.Commands = true, createCommands(form.Name, domain.Environment(form.Environment))
		if h.CanCreate, _ = e.Params["creatable"].(bool); !h.CanCreate && !quarantined {
			h.Rule = rule("create")
		}
	case e.Field() != "cluster":
		return nil
	case form.Create: // it could not be made
		h.Missing, h.Commands = true, createCommands(form.Name, domain.Environment(form.Environment))
		if e.Code == apperr.ErrClusterForbidden {
			h.Rule = rule("create")
		}
	case e.Kind() == apperr.Unavailable || e.Kind() == apperr.Conflict:
		if e.Code == apperr.ErrClusterForbidden {
			h.Rule = rule("get")
		}
	default:
		return nil
	}
	return h
}

// createCommands make a namespace with the labels that Shepherd would give it.
func createCommands(name string, e domain.Environment) string {
	labels := domain.NamespaceLabels(e)
	var b strings.Builder
	fmt.Fprintf(&b, "kubectl create namespace %[1]s\nkubectl label namespace %[1]s", name)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&b, " \\\n  %s=%s", key, labels[key])
	}
	return b.String()
}

// askUnregisterNamespace answers GET /namespaces/{namespace}/delete.
func (s *Server) askUnregisterNamespace(w http.ResponseWriter, r *http.Request) error {
	return s.namespaceDelete(w, r, nil)
}

// unregisterNamespace answers POST /namespaces/{namespace}/delete.
func (s *Server) unregisterNamespace(w http.ResponseWriter, r *http.Request) error {
	n, err := s.Clusters.GetNamespace(r.Context(), actor(r), param(r, "namespace"))
	if err != nil {
		return err
	}
	if err := s.Clusters.UnregisterNamespace(r.Context(), actor(r), n.ID); err != nil {
		return s.namespaceDelete(w, r, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is no longer registered", "name", n.Name), "")
	return s.redirect(w, r, paths.Namespaces)
}

func (s *Server) namespaceDelete(w http.ResponseWriter, r *http.Request, err error) error {
	status, refused := http.StatusOK, ""
	if err != nil {
		e := classify(err)
		if e.Kind() != apperr.Conflict {
			return err
		}
		m := message(r, e.Code, e.Params)
		status, refused = statusOf(e), i18n.Message{Why: m.Why, Next: m.Next}.Text()
	}
	n, err := s.Clusters.GetNamespace(r.Context(), actor(r), param(r, "namespace"))
	if err != nil {
		return err
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Unregister {name}", "name", n.Name), "namespaces")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.NamespaceDelete(sh, views.NamespaceDeleteView{Row: namespaceRow(r.Context(), n), Refused: refused}))
}
