package handlers

import (
	"cmp"
	"net/http"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views"
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
	var v views.CatalogView
	for _, t := range templates {
		v.Templates = append(v.Templates, views.TemplateRow{
			Name: t.Name, System: t.DisplayName, Version: t.Version, Image: t.Image, State: t.Status, Note: cmp.Or(t.Note, t.Description),
			Environments: domain.Environments(),
		})
	}
	for _, z := range sizes {
		v.Sizes = append(v.Sizes, views.SizeRow{
			Name: z.Name, CPU: z.CPU, MemoryMiB: z.MemoryMiB, DiskGiB: z.DiskGiB, State: z.Status, Environments: domain.Environments(),
		})
	}
	sh, err := s.shell(r, "Templates and sizes", "catalog")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Catalog(sh, v))
}
