package handlers

import (
	"net/http"

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

func namespaceRow(n cluster.Namespace) views.NamespaceRow {
	row := views.NamespaceRow{ID: n.ID, Name: n.Name, ClusterID: n.ClusterID, Cluster: n.ClusterName, Environment: n.Environment}
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
		all[n.ClusterID] = append(all[n.ClusterID], namespaceRow(n))
	}
	return all, nil
}

// listNamespaces answers GET /namespaces.
func (s *Server) listNamespaces(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Clusters.Namespaces(r.Context(), actor(r), cluster.Page{After: r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	clusters, err := s.Clusters.List(r.Context(), actor(r), cluster.Page{Limit: 1})
	if err != nil {
		return err
	}
	v := views.NamespacesView{CanRegister: mayOn(r, domain.NamespaceCreate), HasClusters: len(clusters.Items) > 0, Pager: pager(r, "", list.Next)}
	for _, n := range list.Items {
		v.Rows = append(v.Rows, namespaceRow(n))
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Namespaces"), "namespaces")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Namespaces(sh, v))
}

type namespaceForm struct {
	Cluster     string `form:"cluster" label:"Cluster"`
	Name        string `form:"name" label:"Name in Kubernetes" validate:"max=63"`
	Environment string `form:"environment" label:"Environment"`
}

// newNamespace answers GET /namespaces/new.
func (s *Server) newNamespace(w http.ResponseWriter, r *http.Request) error {
	return s.namespaceForm(w, r, namespaceForm{Cluster: r.URL.Query().Get("cluster")}, nil)
}

// registerNamespace answers POST /namespaces.
func (s *Server) registerNamespace(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[namespaceForm](r)
	if err == nil {
		_, err = s.Clusters.RegisterNamespace(r.Context(), actor(r), form.Cluster, form.Name, domain.Environment(form.Environment))
		if err == nil {
			s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is registered", "name", form.Name), i18n.T(r.Context(), "Systems can be made in it now."))
			return s.redirect(w, r, paths.Namespaces)
		}
	}
	return s.namespaceForm(w, r, form, err)
}

func (s *Server) namespaceForm(w http.ResponseWriter, r *http.Request, form namespaceForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	clusters, err := s.Clusters.List(r.Context(), actor(r), cluster.Page{Limit: maxRows})
	if err != nil {
		return err
	}
	v := views.NamespaceFormView{
		Name: form.Name, Envs: environmentOptions(r.Context(), form.Environment), Errors: errs,
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
	return s.page(w, r, status, views.NamespaceDelete(sh, views.NamespaceDeleteView{Row: namespaceRow(n), Refused: refused}))
}
