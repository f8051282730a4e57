package handlers

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// Sizes of lists on pages.
const (
	shownServices = 200
	countedRows   = 25 // services whose VMs are counted by health: each costs a query
	shownChildren = 10 // that stand in the way of deleting
)

type systemForm struct {
	Name      string `form:"name" label:"Name"`
	Namespace string `form:"namespace" label:"Namespace"`
	Docs      string `form:"docs" label:"Documentation"`
}

// newSystem answers GET /systems/new.
func (s *Server) newSystem(w http.ResponseWriter, r *http.Request) error {
	return s.systemForm(w, r, restored(s, w, r, systemForm{}), nil)
}

// createSystem answers POST /systems.
func (s *Server) createSystem(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[systemForm](r)
	if err == nil {
		var id string
		id, err = s.Systems.Create(r.Context(), actor(r), system.Input{Name: form.Name, Namespace: form.Namespace, Documentation: form.Docs})
		if err == nil {
			s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is made", "name", form.Name), i18n.T(r.Context(), "Services and their VMs go into it."))
			return s.redirect(w, r, paths.System(id))
		}
	}
	return s.systemForm(w, r, form, renamed(err, "documentation", "docs"))
}

// systemForm draws the form of a new system.
func (s *Server) systemForm(w http.ResponseWriter, r *http.Request, form systemForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	spaces, err := s.Systems.Namespaces(r.Context(), actor(r))
	if err != nil {
		return err
	}
	v := views.SystemFormView{Name: form.Name, Namespace: form.Namespace, Docs: form.Docs, Errors: errs}
	for _, n := range spaces {
		v.Namespaces = append(v.Namespaces, views.NamespaceChoice{ID: n.Name, Name: n.Name, Env: string(n.Environment)})
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "New system"), "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.SystemForm(sh, v))
}

// showSystem answers GET /systems/{system}.
func (s *Server) showSystem(w http.ResponseWriter, r *http.Request) error {
	sys, err := s.Systems.Get(r.Context(), actor(r), param(r, "system"))
	if err != nil {
		return err
	}
	v := views.SystemView{
		ID: sys.ID, Name: sys.Name, Env: string(sys.Environment), Namespace: sys.Namespace, Owner: sys.CreatedBy, CreatedAt: sys.CreatedAt,
		VMs: sys.VMs, CanEdit: may(r, domain.ServiceCreate, sys.ID, sys.Environment),
	}
	if v.Tree, err = s.tree(w, r, sys.ID); err != nil {
		return err
	}
	if v.Docs, err = s.markdown.component(sys.Documentation); err != nil {
		return err
	}
	if v.Services, err = s.serviceRows(r, service.Filter{SystemID: sys.ID}, shownServices, false); err != nil {
		return err
	}
	members, err := s.Systems.Members(r.Context(), actor(r), sys.ID)
	if err != nil {
		return err
	}
	people := map[string]bool{}
	for _, m := range members {
		people[m.UserID] = true
	}
	v.Members = len(people)
	if len(members) > 0 && members[0].Role == domain.RoleOwner {
		v.Owner = members[0].Username
	}
	if v.Clusters, err = s.clustersOf(r, sys.Namespace); err != nil {
		return err
	}
	sh, err := s.shell(r, sys.Name, "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.SystemPage(sh, v))
}

// clustersOf names the clusters that have a namespace, for those who may see
// clusters.
func (s *Server) clustersOf(r *http.Request, namespace string) ([]ui.Crumb, error) {
	if !mayOn(r, domain.ClusterList) {
		return nil, nil
	}
	list, err := s.Clusters.FindNamespaces(r.Context(), actor(r), cluster.NamespaceFilter{Name: namespace}, cluster.Page{Limit: maxRows})
	if err != nil {
		return nil, err
	}
	var found []ui.Crumb
	for _, n := range list.Items {
		found = append(found, ui.Crumb{Label: n.ClusterName, Href: paths.Cluster(n.ClusterID)})
	}
	return found, nil
}

// serviceRows lists services with their VMs by health. full names them with
// their system.
func (s *Server) serviceRows(r *http.Request, f service.Filter, limit int, full bool) ([]views.ServiceRow, error) {
	list, err := s.Services.List(r.Context(), actor(r), f, listing.Page{Limit: limit})
	if err != nil {
		return nil, err
	}
	var rows []views.ServiceRow
	for i, sv := range list.Items {
		row := views.ServiceRow{ID: sv.ID, Name: sv.Name, Env: string(sv.Environment), VMs: sv.VMs, Bad: sv.Bad}
		if full {
			row.Name = sv.System + " / " + sv.Name
		}
		if sv.VMs > 0 && i < countedRows {
			n, err := s.Services.Health(r.Context(), actor(r), sv.ID)
			if err != nil {
				return nil, err
			}
			row.Running, row.Busy, row.Off, row.Bad = n[domain.HealthOK], n[domain.HealthBusy], n[domain.HealthIdle], n[domain.HealthBad]
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// docsForm changes the documentation of a system or service. Version is that of
// the text which was shown.
type docsForm struct {
	Version string `form:"version"`
	Docs    string `form:"docs" label:"Documentation"`
}

// textVersion tells texts apart: two people who edit one at a time never
// overwrite each other without a word.
func textVersion(text string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text)) // a hash takes everything
	return int(h.Sum32())
}

// changedMeanwhile is what a form says whose text somebody else has replaced.
func changedMeanwhile(ctx context.Context) string {
	return i18n.T(ctx, "Somebody changed the documentation while you were writing. What you typed is below, and nothing is saved. Save again to replace what is stored now.")
}

// editSystem answers GET /systems/{system}/edit.
func (s *Server) editSystem(w http.ResponseWriter, r *http.Request) error {
	sys, err := s.Systems.Get(r.Context(), actor(r), param(r, "system"))
	if err != nil {
		return err
	}
	return s.systemDocs(w, r, sys, restored(s, w, r, docsForm{Docs: sys.Documentation}), "", nil)
}

// updateSystem answers POST /systems/{system}/edit.
func (s *Server) updateSystem(w http.ResponseWriter, r *http.Request) error {
	sys, err := s.Systems.Get(r.Context(), actor(r), param(r, "system"))
	if err != nil {
		return err
	}
	return s.saveDocs(w, r, sys.Documentation, paths.System(sys.ID),
		func(text string) error { return s.Systems.UpdateDocumentation(r.Context(), actor(r), sys.ID, text) },
		func(form docsForm, conflict string, err error) error {
			return s.systemDocs(w, r, sys, form, conflict, err)
		})
}

// saveDocs replaces a documentation with what a form sent, unless it is not the
// text any more that the form was about. page is where it leads to, draw the
// form again.
func (s *Server) saveDocs(w http.ResponseWriter, r *http.Request, stored, page string, save func(text string) error,
	draw func(form docsForm, conflict string, err error) error) error {
	form, err := decode[docsForm](r)
	if err == nil && form.Version != fmt.Sprint(textVersion(stored)) {
		return draw(form, changedMeanwhile(r.Context()), nil)
	}
	if err == nil {
		if err = save(form.Docs); err == nil {
			s.flash(r, ui.OK, i18n.T(r.Context(), "The documentation is saved"), "")
			return s.redirect(w, r, page)
		}
	}
	return draw(form, "", renamed(err, "documentation", "docs"))
}

func (s *Server) systemDocs(w http.ResponseWriter, r *http.Request, sys system.System, form docsForm, conflict string, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	if conflict != "" {
		status = http.StatusConflict
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Edit {name}", "name", sys.Name), "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.SystemForm(sh, views.SystemFormView{
		ID: sys.ID, Name: sys.Name, Env: string(sys.Environment), Docs: form.Docs, Version: textVersion(sys.Documentation), Errors: errs, Conflict: conflict,
	}))
}

// deleteForm confirms that something goes by its name.
type deleteForm struct {
	Typed string `form:"typed" label:"Name"`
}

// askDeleteSystem answers GET /systems/{system}/delete.
func (s *Server) askDeleteSystem(w http.ResponseWriter, r *http.Request) error {
	return s.deleteSystemPage(w, r, deleteForm{}, nil)
}

// deleteSystem answers POST /systems/{system}/delete.
func (s *Server) deleteSystem(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[deleteForm](r)
	if err == nil {
		if err = s.Systems.Delete(r.Context(), actor(r), param(r, "system"), form.Typed); err == nil {
			s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is deleted", "name", form.Typed), "")
			return s.redirect(w, r, paths.Explorer)
		}
	}
	return s.deleteSystemPage(w, r, form, err)
}

func (s *Server) deleteSystemPage(w http.ResponseWriter, r *http.Request, form deleteForm, err error) error {
	errs, status, err := rejected(r, form, renamed(err, "name", "typed"))
	if err != nil {
		return err
	}
	sys, err := s.Systems.Get(r.Context(), actor(r), param(r, "system"))
	if err != nil {
		return err
	}
	children, err := s.Services.List(r.Context(), actor(r), service.Filter{SystemID: sys.ID}, listing.Page{Limit: shownServices})
	if err != nil {
		return err
	}
	v := views.DeleteView{
		Kind: "system", Name: sys.Name, Action: paths.DeleteSystem(sys.ID), Back: paths.System(sys.ID), Typed: form.Typed, Error: firstMessage(errs),
		Crumbs: []ui.Crumb{{Label: i18n.T(r.Context(), "Explorer"), Href: paths.Explorer}, {Label: sys.Name, Href: paths.System(sys.ID)}, {Label: i18n.T(r.Context(), "Delete")}},
	}
	for _, sv := range children.Items {
		v.Children = append(v.Children, ui.Crumb{Label: sv.Name, Href: paths.Service(sv.ID)})
	}
	if n := len(v.Children); n > shownChildren {
		v.Children, v.More = v.Children[:shownChildren], n-shownChildren
	}
	return s.deletePage(w, r, status, v)
}

func (s *Server) deletePage(w http.ResponseWriter, r *http.Request, status int, v views.DeleteView) error {
	sh, err := s.shell(r, i18n.T(r.Context(), "Delete {name}", "name", v.Name), "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.DeletePage(sh, v))
}

func firstMessage(errs []ui.FieldError) string {
	if len(errs) == 0 {
		return ""
	}
	return errs[0].Message
}
