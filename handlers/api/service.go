package api

import (
	"context"
	"net/http"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
)

// Service is an application of a system, which owns VMs.
type Service struct {
	ID            string    `json:"id" format:"uuid"`
	Name          string    `json:"name" example:"redis"`
	SystemID      string    `json:"system_id" format:"uuid"`
	System        string    `json:"system" example:"shop"`
	Namespace     string    `json:"namespace" example:"shop-test"`
	Environment   string    `json:"environment" enum:"test,prod"`
	Documentation string    `json:"documentation,omitempty" doc:"Markdown. Lists leave it out."`
	CreatedBy     string    `json:"created_by" example:"li-wei"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
	NextName      string    `json:"next_name" example:"shop-redis-03" doc:"What its next VM will be called."`
	VMs           int       `json:"vms" doc:"How many VMs it has."`
	VMsBad        int       `json:"vms_bad" doc:"How many of them need somebody."`
}

func (s Service) location() string { return "/services/" + s.ID }
func (s Service) etag() string     { return textTag(s.Documentation) }

func serviceOf(s service.View) Service {
	return Service{
		ID: s.ID, Name: s.Name, SystemID: s.SystemID, System: s.System, Namespace: s.Namespace, Environment: string(s.Environment),
		Documentation: s.Documentation, CreatedBy: s.CreatedBy, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
		NextName: s.NextNames(1)[0], VMs: s.VMs, VMsBad: s.Bad,
	}
}

// NewService is a service to make.
type NewService struct {
	Name          string `json:"name" example:"redis" maxLength:"63" doc:"RFC 1035 label."`
	Documentation string `json:"documentation,omitempty" doc:"Markdown."`
}

// VMNames are names that VMs would have.
type VMNames struct {
	Names []string `json:"names" example:"shop-redis-01,shop-redis-02"`
}

type servicePath struct {
	Service string `path:"service" format:"uuid"`
}

func (a *API) services() []Operation {
	const tag = "services"
	return []Operation{
		op(Operation{ID: "listServices", Method: "GET", Path: "/services", Action: domain.SystemList, Tag: tag, Summary: "Services that I see, by name"},
			func(ctx context.Context, actor domain.Actor, in struct {
				paging
				System   string `query:"system_id" format:"uuid" doc:"Only those of this system."`
				Operable bool   `query:"operable" doc:"Only those that I may ask for VMs in."`
			}) (Page[Service], error) {
				list, err := a.Services.List(ctx, actor, service.Filter{SystemID: in.System, Operable: in.Operable}, in.page())
				return items(list.Items, list.Next, serviceOf), err
			}),
		op(Operation{
			ID: "createService", Method: "POST", Path: "/systems/{system}/services", Action: domain.ServiceCreate, Tag: tag, Summary: "Make a service", Status: http.StatusCreated, DryRun: true,
			Pages: []string{"POST /systems/{system}/services"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			systemPath
			Body NewService
		}) (Service, error) {
			id, err := a.Services.Create(ctx, actor, service.Input{SystemID: in.System, Name: in.Body.Name, Documentation: in.Body.Documentation})
			if err != nil {
				return Service{}, err
			}
			return a.service(ctx, actor, id)
		}),
		op(Operation{
			ID: "previewVMNames", Method: "GET", Path: "/systems/{system}/vm-names", Action: domain.ServiceCreate, Tag: tag, Summary: "What the VMs of a new service would be called",
			Pages: []string{"GET /systems/{system}/services/new"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			systemPath
			Name string `query:"service" required:"true" example:"redis" doc:"Name of the service."`
		}) (VMNames, error) {
			names, err := a.Services.PreviewNames(ctx, actor, in.System, in.Name)
			return VMNames{names}, err
		}),
		op(Operation{ID: "getService", Method: "GET", Path: "/services/{service}", Action: domain.ServiceRead, Tag: tag, Summary: "One service", Pages: []string{"GET /services/{service}"}},
			func(ctx context.Context, actor domain.Actor, in servicePath) (Service, error) {
				return a.service(ctx, actor, in.Service)
			}),
		op(Operation{
			ID: "updateService", Method: "PATCH", Path: "/services/{service}", Action: domain.ServiceUpdate, Tag: tag, Summary: "Replace the documentation of a service",
			Pages: []string{"POST /services/{service}/edit"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			servicePath
			ifMatch
			Body Documentation
		}) (Service, error) {
			was, err := a.service(ctx, actor, in.Service)
			if err == nil {
				err = in.holds(was)
			}
			if err != nil {
				return Service{}, err
			}
			if err := a.Services.UpdateDocumentation(ctx, actor, in.Service, in.Body.Documentation); err != nil {
				return Service{}, err
			}
			return a.service(ctx, actor, in.Service)
		}),
		op(Operation{
			ID: "deleteService", Method: "DELETE", Path: "/services/{service}", Action: domain.ServiceDelete, Tag: tag, Summary: "Delete a service that never had a VM",
			Pages: []string{"POST /services/{service}/delete"}, fields: map[string]string{"name": "confirm"}, Conflicts: []string{"HAS_CHILDREN", "HAS_HISTORY", "HAS_PENDING_REQUESTS"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			servicePath
			Confirm string `query:"confirm" required:"true" doc:"The service's name, so that no other one is deleted by mistake."`
		}) (none, error) {
			return none{}, a.Services.Delete(ctx, actor, in.Service, in.Confirm)
		}),
		op(Operation{ID: "listServiceVMs", Method: "GET", Path: "/services/{service}/vms", Action: domain.ServiceRead, Tag: tag, Summary: "VMs of a service, the newest first"},
			func(ctx context.Context, actor domain.Actor, in struct {
				servicePath
				vmFilter
				paging
			}) (Page[VMRow], error) {
				list, err := a.Services.VMs(ctx, actor, in.Service, in.filter(), listing.Page{After: in.After, Limit: in.Limit})
				return items(list.Items, list.Next, vmRow(ctx)), err
			}),
	}
}

func (a *API) service(ctx context.Context, actor domain.Actor, id string) (Service, error) {
	s, err := a.Services.Get(ctx, actor, id)
	if err != nil {
		return Service{}, err
	}
	return serviceOf(s), nil
}
