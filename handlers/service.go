package handlers

import (
	"context"
	"net/http"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

type serviceForm struct {
	Name string `form:"name" label:"Name"`
	Docs string `form:"docs" label:"Documentation"`
}

// newService answers GET /systems/{system}/services/new. With a name in the
// address it previews the names of the VMs.
func (s *Server) newService(w http.ResponseWriter, r *http.Request) error {
	return s.serviceForm(w, r, restored(s, w, r, serviceForm{Name: r.URL.Query().Get("name")}), nil)
}

// createService answers POST /systems/{system}/services.
func (s *Server) createService(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[serviceForm](r)
	if err == nil {
		var id string
		id, err = s.Services.Create(r.Context(), actor(r), service.Input{SystemID: param(r, "system"), Name: form.Name, Documentation: form.Docs})
		if err == nil {
			s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is made", "name", form.Name), i18n.T(r.Context(), "Ask for its first VM."))
			return s.redirect(w, r, paths.Service(id))
		}
	}
	return s.serviceForm(w, r, form, renamed(err, "documentation", "docs"))
}

func (s *Server) serviceForm(w http.ResponseWriter, r *http.Request, form serviceForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	sys, err := s.Systems.Get(r.Context(), actor(r), param(r, "system"))
	if err != nil {
		return err
	}
	v := views.ServiceFormView{SystemID: sys.ID, System: sys.Name, Env: string(sys.Environment), Name: form.Name, Docs: form.Docs, Errors: errs}
	v.Names, err = s.Services.PreviewNames(r.Context(), actor(r), sys.ID, form.Name)
	if err != nil && len(apperr.Fields(err)) == 0 { // a name that is not good yet only has no preview
		return err
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "New service"), "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.ServiceForm(sh, v))
}

// healths are the segments of a service's list.
var healths = []struct {
	value domain.Health
	label string
}{
	{"", i18n.N("All")}, {domain.HealthOK, i18n.N("Running")}, {domain.HealthBusy, i18n.N("Busy")},
	{domain.HealthIdle, i18n.N("Off")}, {domain.HealthBad, i18n.N("Failing")},
}

// showService answers GET /services/{service}.
func (s *Server) showService(w http.ResponseWriter, r *http.Request) error {
	sv, err := s.Services.Get(r.Context(), actor(r), param(r, "service"))
	if err != nil {
		return err
	}
	q := r.URL.Query()
	filter := service.VMFilter{Health: domain.Health(q.Get("state")), Query: q.Get("q")}
	list, err := s.Services.VMs(r.Context(), actor(r), sv.ID, filter, listing.Page{After: q.Get("after")})
	if err != nil {
		return err
	}
	counts, err := s.Services.Health(r.Context(), actor(r), sv.ID)
	if err != nil {
		return err
	}
	operates := may(r, domain.VMCreate, sv.SystemID, sv.Environment)
	v := views.ServiceView{
		ID: sv.ID, Name: sv.Name, SystemID: sv.SystemID, System: sv.System, Env: string(sv.Environment),
		Facts: i18n.T(r.Context(), "Namespace {namespace} · made by {name} {when}", "namespace", sv.Namespace, "name", sv.CreatedBy, "when", ui.Relative(r.Context(), sv.CreatedAt, s.now())),
		State: string(filter.Health), Query: filter.Query, NextName: sv.NextNames(1)[0], Here: r.URL.RequestURI(),
		CanRequest: operates, CanEdit: operates,
	}
	if v.Docs, err = s.markdown.component(sv.Documentation); err != nil {
		return err
	}
	for _, n := range counts {
		v.Total += n
	}
	for _, h := range healths {
		n := v.Total
		if h.value != "" {
			n = counts[h.value]
		}
		href := withQuery(without(r.URL, "after"), "state", string(h.value))
		v.States = append(v.States, ui.Segment{Label: i18n.T(r.Context(), h.label), Href: href, Count: n, Current: filter.Health == h.value})
	}
	old, err := s.stale(r)
	if err != nil {
		return err
	}
	var clusters []string
	for _, m := range list.Items {
		v.VMs = append(v.VMs, vmRow(r, m, old))
		clusters = append(clusters, m.ClusterID)
	}
	v.Stale = old.notes(clusters...)
	v.Pager = pager(r, i18n.TN(r.Context(), v.Total, "{n} VM", "{n} VMs"), list.Next)
	sh, err := s.shell(r, sv.Name, "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.ServicePage(sh, v))
}

func vmRow(r *http.Request, m service.VM, old stale) views.VMRow {
	row := views.VMRow{
		ID: m.ID, Name: m.Name, Status: old.status(r.Context(), m.ClusterID, m.State, m.Problem), Problem: problemText(r, m.Problem),
		Cluster: m.Cluster, Node: m.Node, IP: m.IP, Size: m.Size, CPU: m.CPU, MemoryMiB: m.MemoryMiB, Owner: m.CreatedBy,
	}
	if m.Health == domain.HealthOK {
		row.Started = m.StartedAt
	}
	return row
}

// editService answers GET /services/{service}/edit.
func (s *Server) editService(w http.ResponseWriter, r *http.Request) error {
	sv, err := s.Services.Get(r.Context(), actor(r), param(r, "service"))
	if err != nil {
		return err
	}
	return s.serviceDocs(w, r, sv, restored(s, w, r, docsForm{Docs: sv.Documentation}), "", nil)
}

// updateService answers POST /services/{service}/edit.
func (s *Server) updateService(w http.ResponseWriter, r *http.Request) error {
	sv, err := s.Services.Get(r.Context(), actor(r), param(r, "service"))
	if err != nil {
		return err
	}
	return s.saveDocs(w, r, sv.Documentation, paths.Service(sv.ID),
		func(text string) error { return s.Services.UpdateDocumentation(r.Context(), actor(r), sv.ID, text) },
		func(form docsForm, conflict string, err error) error {
			return s.serviceDocs(w, r, sv, form, conflict, err)
		})
}

func (s *Server) serviceDocs(w http.ResponseWriter, r *http.Request, sv service.View, form docsForm, conflict string, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	if conflict != "" {
		status = http.StatusConflict
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Edit {name}", "name", sv.Name), "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.ServiceForm(sh, views.ServiceFormView{
		SystemID: sv.SystemID, System: sv.System, Env: string(sv.Environment), ID: sv.ID, Name: sv.Name, Docs: form.Docs,
		Version: textVersion(sv.Documentation), Errors: errs, Conflict: conflict,
	}))
}

// askDeleteService answers GET /services/{service}/delete.
func (s *Server) askDeleteService(w http.ResponseWriter, r *http.Request) error {
	return s.deleteServicePage(w, r, deleteForm{}, nil)
}

// deleteService answers POST /services/{service}/delete.
func (s *Server) deleteService(w http.ResponseWriter, r *http.Request) error {
	sv, err := s.Services.Get(r.Context(), actor(r), param(r, "service"))
	if err != nil {
		return err
	}
	form, err := decode[deleteForm](r)
	if err == nil {
		if err = s.Services.Delete(r.Context(), actor(r), sv.ID, form.Typed); err == nil {
			s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is deleted", "name", form.Typed), "")
			return s.redirect(w, r, paths.System(sv.SystemID))
		}
	}
	return s.deleteServicePage(w, r, form, err)
}

func (s *Server) deleteServicePage(w http.ResponseWriter, r *http.Request, form deleteForm, err error) error {
	errs, status, err := rejected(r, form, renamed(err, "name", "typed"))
	if err != nil {
		return err
	}
	sv, err := s.Services.Get(r.Context(), actor(r), param(r, "service"))
	if err != nil {
		return err
	}
	children, err := s.Services.VMs(r.Context(), actor(r), sv.ID, service.VMFilter{}, listing.Page{Limit: shownChildren})
	if err != nil {
		return err
	}
	v := views.DeleteView{
		Kind: "service", Name: sv.Name, Action: paths.DeleteService(sv.ID), Back: paths.Service(sv.ID), Typed: form.Typed, Error: firstMessage(errs),
		Crumbs: []ui.Crumb{
			{Label: i18n.T(r.Context(), "Explorer"), Href: paths.Explorer}, {Label: sv.System, Href: paths.System(sv.SystemID)}, {Label: sv.Name, Href: paths.Service(sv.ID)}, {Label: i18n.T(r.Context(), "Delete")},
		},
	}
	for _, m := range children.Items {
		v.Children = append(v.Children, ui.Crumb{Label: m.Name, Href: paths.VM(m.ID)})
	}
	v.More = max(sv.VMs-len(v.Children), 0)
	if len(v.Children) == 0 {
		v.More = 0
	}
	return s.deletePage(w, r, status, v)
}

// serviceOptions are the services that the actor may ask for VMs in.
func (s *Server) serviceOptions(r *http.Request, chosen string) ([]ui.Option, error) {
	options := []ui.Option{{Label: i18n.T(r.Context(), "Choose a service"), Selected: chosen == ""}}
	page := listing.Page{Limit: shownServices}
	for {
		list, err := s.Services.List(r.Context(), actor(r), service.Filter{Operable: true}, page)
		if err != nil {
			return nil, err
		}
		for _, sv := range list.Items {
			options = append(options, ui.Option{
				Value: sv.ID, Label: serviceLabel(r.Context(), sv), Selected: sv.ID == chosen,
			})
		}
		// An admin could ask for all; who looks for one of thousands comes from its page.
		if list.Next == "" || len(options) > maxRows {
			return keepChosen(s, r, options, chosen)
		}
		page.After = list.Next
	}
}

// keepChosen adds the service that was chosen, when the list was too long for it.
func keepChosen(s *Server, r *http.Request, options []ui.Option, chosen string) ([]ui.Option, error) {
	for _, o := range options {
		if o.Selected {
			return options, nil
		}
	}
	sv, err := s.Services.Get(r.Context(), actor(r), chosen)
	if err != nil {
		return nil, err
	}
	return append(options, ui.Option{Value: sv.ID, Label: serviceLabel(r.Context(), sv), Selected: true}), nil
}

func serviceLabel(ctx context.Context, sv service.View) string {
	return sv.System + " / " + sv.Name + " · " + ui.EnvName(ctx, string(sv.Environment))
}
