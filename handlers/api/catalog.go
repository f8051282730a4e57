package api

import (
	"context"
	"net/http"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/catalog"
)

// Template is an image that VMs are made from, in one version.
type Template struct {
	ID           string   `json:"id" format:"uuid"`
	Name         string   `json:"name" example:"debian-12"`
	DisplayName  string   `json:"display_name,omitempty" example:"Debian 12"`
	Description  string   `json:"description,omitempty"`
	Image        string   `json:"image" example:"docker://quay.io/containerdisks/debian:12"`
	Note         string   `json:"note,omitempty"`
	Version      int      `json:"version"`
	MinDiskGiB   int      `json:"min_disk_gib"`
	Status       string   `json:"status" enum:"draft,active,deprecated,archived"`
	HasCloudInit bool     `json:"has_cloud_init" doc:"It has first-boot data, which is never shown."`
	Features     []string `json:"required_features" doc:"KubeVirt's feature gates that a cluster must have."`
	Hardware     []string `json:"required_hardware" doc:"What a cluster must have, as an admin says it of the cluster."`
}

func templateOf(t catalog.Template) Template {
	return Template{t.ID, t.Name, t.DisplayName, t.Description, t.Image, t.Note, t.Version, t.MinDiskGiB, t.Status, t.HasCloudInit, t.Needs.Features, t.Needs.Hardware}
}

// NewTemplate is the first or next version of a template.
type NewTemplate struct {
	Name        string   `json:"name" example:"debian-12" maxLength:"63"`
	DisplayName string   `json:"display_name" example:"Debian 12"`
	Description string   `json:"description,omitempty"`
	Image       string   `json:"image" example:"docker://quay.io/containerdisks/debian:12"`
	MinDiskGiB  int      `json:"min_disk_gib,omitzero" minimum:"1" maximum:"65536" default:"10"`
	Features    []string `json:"required_features,omitempty" maxItems:"50" doc:"KubeVirt's feature gates that a cluster must have." example:"LiveMigration"`
	Hardware    []string `json:"required_hardware,omitempty" maxItems:"50" doc:"What a cluster must have, as an admin says it of the cluster." example:"gpu.example.com/a100"`
	CloudInit   string   `json:"cloud_init,omitempty" writeOnly:"true" doc:"A cloud-config document. It is sealed and never shown."`
}

// Size is a shape of VMs.
type Size struct {
	ID         string `json:"id" format:"uuid"`
	Name       string `json:"name" example:"small"`
	CPU        int    `json:"cpu" doc:"vCPU."`
	MemoryMiB  int    `json:"memory_mib"`
	DiskGiB    int    `json:"disk_gib" doc:"What the form proposes."`
	MaxDiskGiB int    `json:"max_disk_gib"`
	Status     string `json:"status" enum:"draft,active,deprecated,archived"`
}

func sizeOf(s catalog.Size) Size {
	return Size{s.ID, s.Name, s.CPU, s.MemoryMiB, s.DiskGiB, s.MaxDiskGiB, s.Status}
}

// NewSize is a size to add.
type NewSize struct {
	Name       string `json:"name" example:"small" maxLength:"63"`
	CPU        int    `json:"cpu" minimum:"1" maximum:"512" doc:"vCPU."`
	MemoryMiB  int    `json:"memory_mib" minimum:"1"`
	DiskGiB    int    `json:"disk_gib" minimum:"1" maximum:"65536"`
	MaxDiskGiB int    `json:"max_disk_gib,omitzero" minimum:"1" maximum:"65536" default:"1024"`
}

func (a *API) catalog() []Operation {
	const tag = "catalog"
	return []Operation{
		op(Operation{ID: "listTemplates", Method: "GET", Path: "/templates", Action: domain.CatalogRead, Tag: tag, Summary: "Templates, by name and the newest version first", Pages: []string{"GET /catalog"}},
			func(ctx context.Context, actor domain.Actor, _ struct{}) (Page[Template], error) {
				list, err := a.Catalog.Templates(ctx, actor)
				return items(list, "", templateOf), err
			}),
		op(Operation{
			ID: "createTemplate", Method: "POST", Path: "/templates", Action: domain.CatalogCreate, Tag: tag, Summary: "Publish a template, or its next version", Status: http.StatusCreated, DryRun: true,
			Text: "The version before becomes deprecated.", Pages: []string{"POST /catalog/templates"},
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body NewTemplate }) (Template, error) {
			id, err := a.Catalog.CreateTemplate(ctx, actor, catalog.NewTemplate{
				Name: in.Body.Name, DisplayName: in.Body.DisplayName, Description: in.Body.Description, Image: in.Body.Image,
				MinDiskGiB: in.Body.MinDiskGiB, CloudInit: domain.Secret(in.Body.CloudInit),
				Needs: domain.Requirements{Features: in.Body.Features, Hardware: in.Body.Hardware},
			})
			if err != nil {
				return Template{}, err
			}
			list, err := a.Catalog.Templates(ctx, actor)
			return found(list, err, templateOf, func(t Template) bool { return t.ID == id })
		}),
		op(Operation{ID: "listSizes", Method: "GET", Path: "/sizes", Action: domain.CatalogRead, Tag: tag, Summary: "Sizes, from the smallest up"},
			func(ctx context.Context, actor domain.Actor, _ struct{}) (Page[Size], error) {
				list, err := a.Catalog.Sizes(ctx, actor)
				return items(list, "", sizeOf), err
			}),
		op(Operation{
			ID: "createSize", Method: "POST", Path: "/sizes", Action: domain.CatalogCreate, Tag: tag, Summary: "Publish a size", Status: http.StatusCreated, DryRun: true,
			Pages: []string{"POST /catalog/sizes"},
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body NewSize }) (Size, error) {
			id, err := a.Catalog.CreateSize(ctx, actor, catalog.NewSize{
				Name: in.Body.Name, CPU: in.Body.CPU, MemoryMiB: in.Body.MemoryMiB, DiskGiB: in.Body.DiskGiB, MaxDiskGiB: in.Body.MaxDiskGiB,
			})
			if err != nil {
				return Size{}, err
			}
			list, err := a.Catalog.Sizes(ctx, actor)
			return found(list, err, sizeOf, func(s Size) bool { return s.ID == id })
		}),
	}
}

// found is what was just made, out of the list that has it.
func found[R, T any](list []R, err error, view func(R) T, is func(T) bool) (T, error) {
	for _, r := range list {
		if t := view(r); is(t) {
			return t, err
		}
	}
	var none T
	if err == nil {
		err = apperr.New(apperr.ErrNotFound)
	}
	return none, err
}
