package handlers

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/catalog"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// showCatalog answers GET /catalog.
func (s *Server) showCatalog(w http.ResponseWriter, r *http.Request) error {
	templates, err := s.Catalog.Templates(r.Context(), actor(r))
	if err != nil {
		return err
	}
	sizes, err := s.Catalog.Sizes(r.Context(), actor(r))
	if err != nil {
		return err
	}
	v := views.CatalogView{CanCreate: mayOn(r, domain.CatalogCreate)}
	for _, t := range templates {
		v.Templates = append(v.Templates, views.TemplateRow{
			ID: t.ID, Name: t.Name, System: t.DisplayName, Version: t.Version, Image: t.Image, State: t.Status, Note: cmp.Or(t.Note, t.Description),
			Environments: domain.Environments(), Features: t.Needs.Features, Hardware: t.Needs.Hardware,
		})
	}
	for _, z := range sizes {
		v.Sizes = append(v.Sizes, views.SizeRow{
			Name: z.Name, CPU: z.CPU, MemoryMiB: z.MemoryMiB, DiskGiB: z.DiskGiB, State: z.Status, Environments: domain.Environments(),
		})
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Templates and sizes"), "catalog")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Catalog(sh, v))
}

type templateForm struct {
	Name        string `form:"name" label:"Name"`
	DisplayName string `form:"display_name" label:"System"`
	Description string `form:"description" label:"Description"`
	Image       string `form:"image" label:"Image"`
	MinDisk     number `form:"min_disk_gib" label:"Smallest disk, GiB" validate:"min=1,max=65536"`
	Features    string `form:"required_features" label:"Features that clusters need"`
	Hardware    string `form:"required_hardware" label:"Hardware that clusters need"`
	CloudInit   string `form:"cloud_init" label:"First boot"`
}

// newTemplate answers GET /catalog/templates/new; from is a template whose next
// version it is to be.
func (s *Server) newTemplate(w http.ResponseWriter, r *http.Request) error {
	form := templateForm{MinDisk: whole(10)}
	list, err := s.Catalog.Templates(r.Context(), actor(r))
	if err != nil {
		return err
	}
	if from := r.URL.Query().Get("from"); from != "" {
		i := slices.IndexFunc(list, func(t catalog.Template) bool { return t.ID == from })
		if i < 0 {
			return apperr.New(apperr.ErrNotFound)
		}
		t := list[i]
		form = templateForm{
			Name: t.Name, DisplayName: t.DisplayName, Description: t.Description, Image: t.Image, MinDisk: whole(t.MinDiskGiB),
			Features: strings.Join(t.Needs.Features, " "), Hardware: strings.Join(t.Needs.Hardware, " "),
		}
	}
	return s.templateForm(w, r, restored(s, w, r, form), list, nil)
}

// createTemplate answers POST /catalog/templates.
func (s *Server) createTemplate(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[templateForm](r)
	if err == nil {
		_, err = s.Catalog.CreateTemplate(r.Context(), actor(r), catalog.NewTemplate{
			Name: form.Name, DisplayName: form.DisplayName, Description: form.Description, Image: form.Image,
			MinDiskGiB: form.MinDisk.Value, CloudInit: domain.Secret(form.CloudInit),
			Needs: domain.Requirements{Features: domain.Tokens(form.Features), Hardware: domain.Tokens(form.Hardware)},
		})
	}
	if err != nil {
		list, listErr := s.Catalog.Templates(r.Context(), actor(r))
		if listErr != nil {
			return listErr
		}
		return s.templateForm(w, r, form, list, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is published", "name", form.Name), i18n.T(r.Context(), "Everybody can ask for it now."))
	return s.redirect(w, r, paths.Catalog)
}

func (s *Server) templateForm(w http.ResponseWriter, r *http.Request, form templateForm, list []catalog.Template, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	v := views.TemplateFormView{
		Name: form.Name, DisplayName: form.DisplayName, Description: form.Description, Image: form.Image, MinDisk: form.MinDisk.Text,
		CloudInit: form.CloudInit, Features: form.Features, Hardware: form.Hardware, Errors: errs,
	}
	// Also of a rejected form: it says by itself that it is a next version.
	for _, t := range list {
		if t.Name == form.Name && t.Status == "active" {
			v.From, v.HadCloudInit = t.Name, t.HasCloudInit
		}
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "New template"), "catalog")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.TemplateForm(sh, v))
}

type sizeForm struct {
	Name    string `form:"name" label:"Name"`
	CPU     number `form:"cpu" label:"vCPU" validate:"min=1,max=512"`
	Memory  number `form:"memory" label:"Memory, GiB" validate:"min=1,max=16384"`
	Disk    number `form:"disk" label:"Disk, GiB" validate:"min=1,max=65536"`
	MaxDisk number `form:"max_disk" label:"Largest disk, GiB" validate:"min=1,max=65536"`
}

// newSize answers GET /catalog/sizes/new.
func (s *Server) newSize(w http.ResponseWriter, r *http.Request) error {
	return s.sizeForm(w, r, restored(s, w, r, sizeForm{CPU: whole(2), Memory: whole(4), Disk: whole(20), MaxDisk: whole(200)}), nil)
}

// createSize answers POST /catalog/sizes.
func (s *Server) createSize(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[sizeForm](r)
	if err == nil && form.Disk.Value > form.MaxDisk.Value {
		err = apperr.Field("disk", apperr.ErrOutOfRange).With("min", 1).With("max", form.MaxDisk.Value).With("unit", "GiB")
	}
	if err == nil {
		_, err = s.Catalog.CreateSize(r.Context(), actor(r), catalog.NewSize{
			Name: form.Name, CPU: form.CPU.Value, MemoryMiB: form.Memory.Value * 1024, DiskGiB: form.Disk.Value, MaxDiskGiB: form.MaxDisk.Value,
		})
	}
	if err != nil {
		return s.sizeForm(w, r, form, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is published", "name", form.Name), i18n.T(r.Context(), "Everybody can ask for it now."))
	return s.redirect(w, r, paths.Catalog)
}

func (s *Server) sizeForm(w http.ResponseWriter, r *http.Request, form sizeForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "New size"), "catalog")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.SizeForm(sh, views.SizeFormView{
		Name: form.Name, CPU: form.CPU.Text, Memory: form.Memory.Text, Disk: form.Disk.Text, MaxDisk: form.MaxDisk.Text, Errors: errs,
	}))
}
