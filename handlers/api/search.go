package api

import (
	"context"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/search"
)

// Found are the first hits of each kind.
type Found struct {
	VMs      []FoundVM      `json:"vms"`
	Services []FoundParent  `json:"services"`
	Systems  []FoundParent  `json:"systems"`
	Requests []FoundRequest `json:"requests"`
	More     bool           `json:"more" doc:"Some kind has more hits than these."`
}

// FoundVM is a VM that was found.
type FoundVM struct {
	ID          string `json:"id" format:"uuid"`
	Name        string `json:"name"`
	IP          string `json:"ip,omitempty"`
	Environment string `json:"environment" enum:"test,prod"`
	State       string `json:"state" example:"Running"`
}

// FoundParent is a service or a system that was found.
type FoundParent struct {
	ID          string `json:"id" format:"uuid"`
	Name        string `json:"name" doc:"Of a service with its system: shop-redis."`
	Namespace   string `json:"namespace"`
	Environment string `json:"environment" enum:"test,prod"`
	VMs         int    `json:"vms"`
}

// FoundRequest is a request that was found.
type FoundRequest struct {
	Number      int    `json:"number"`
	Title       string `json:"title"`
	Requester   string `json:"requester"`
	Environment string `json:"environment" enum:"test,prod"`
	Status      string `json:"status" example:"COMPLETED"`
}

func (a *API) search() []Operation {
	return []Operation{
		op(Operation{ID: "search", Method: "GET", Path: "/search", Action: domain.SearchRead, Tag: "search", Summary: "Find VMs, services, systems and requests by name, address or number", Pages: []string{"GET /search"}},
			func(ctx context.Context, actor domain.Actor, in struct {
				Query string `query:"q" required:"true" maxLength:"100"`
			}) (Found, error) {
				r, err := a.Search.Find(ctx, actor, in.Query)
				parent := func(p search.Parent) FoundParent {
					return FoundParent{p.ID, p.Name, p.Namespace, string(p.Environment), p.VMs}
				}
				return Found{
					VMs: items(r.VMs, "", func(m search.VM) FoundVM {
						return FoundVM{m.ID, m.Name, m.IP, string(m.Environment), string(m.State)}
					}).Items,
					Services: items(r.Services, "", parent).Items, Systems: items(r.Systems, "", parent).Items,
					Requests: items(r.Tickets, "", func(t search.Ticket) FoundRequest {
						return FoundRequest{t.Number, t.Title, t.Requester, string(t.Environment), string(t.Status)}
					}).Items,
					More: r.More,
				}, err
			}),
	}
}
