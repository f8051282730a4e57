package api

import (
	"context"
	"strconv"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
)

// Tree is what I see of the hierarchy, down to the open branches.
type Tree struct {
	Systems []TreeSystem `json:"systems"`
	Next    string       `json:"next,omitempty" doc:"Cursor of the systems that follow."`
	Total   int          `json:"total" doc:"Systems that I see, also those not listed."`
	VMs     int          `json:"vms"`
	VMsBad  int          `json:"vms_bad" doc:"VMs that need somebody."`
}

// TreeSystem is a system and, when it is open, its services.
type TreeSystem struct {
	ID          string        `json:"id" format:"uuid"`
	Name        string        `json:"name"`
	Namespace   string        `json:"namespace"`
	Environment string        `json:"environment" enum:"test,prod"`
	VMs         int           `json:"vms"`
	VMsBad      int           `json:"vms_bad"`
	Open        bool          `json:"open"`
	Services    []TreeService `json:"services"`
	Next        string        `json:"next,omitempty" doc:"Cursor of the services that follow, with branch the system."`
}

// TreeService is a service and, when it is open, its VMs.
type TreeService struct {
	ID     string   `json:"id" format:"uuid"`
	Name   string   `json:"name"`
	VMs    int      `json:"vms"`
	VMsBad int      `json:"vms_bad"`
	Open   bool     `json:"open"`
	List   []TreeVM `json:"list"`
	Next   string   `json:"next,omitempty" doc:"Cursor of the VMs that follow, with branch the service."`
}

// TreeVM is a VM of the tree.
type TreeVM struct {
	ID       string  `json:"id" format:"uuid"`
	Name     string  `json:"name"`
	Instance int     `json:"instance"`
	State    string  `json:"state" example:"Running"`
	Health   string  `json:"health" enum:"ok,idle,busy,bad"`
	Problem  *Reason `json:"problem,omitempty"`
}

// treeCursor is how much of a list was read.
func treeCursor(p system.TreePart) string {
	if p.Next.Cursor == "" {
		return ""
	}
	return strconv.Itoa(p.Next.Rows) + ":" + p.Next.Cursor
}

func treeOf(ctx context.Context, t system.Tree) Tree {
	v := Tree{Next: treeCursor(t.Part), Total: t.Total, VMs: t.VMs, VMsBad: t.Bad}
	for _, s := range t.Systems {
		sys := TreeSystem{
			ID: s.ID, Name: s.Name, Namespace: s.Namespace, Environment: string(s.Environment), VMs: s.VMs, VMsBad: s.Bad, Open: s.Open, Next: treeCursor(s.Part),
		}
		for _, sv := range s.Services {
			row := TreeService{ID: sv.ID, Name: sv.Name, VMs: sv.VMs, VMsBad: sv.Bad, Open: sv.Open, Next: treeCursor(sv.Part)}
			for _, m := range sv.List {
				row.List = append(row.List, TreeVM{m.ID, m.Name, m.Instance, string(m.State), string(m.Health), problem(ctx, m.Problem)})
			}
			sys.Services = append(sys.Services, row)
		}
		v.Systems = append(v.Systems, sys)
	}
	return v
}

func (a *API) tree() []Operation {
	return []Operation{
		op(Operation{
			ID: "getTree", Method: "GET", Path: "/tree", Action: domain.SystemList, Tag: "tree", Summary: "The hierarchy of systems, services and VMs",
			Text: "Branches are closed unless they are named in `open`, or hold a hit.", Pages: []string{"GET /explorer"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			Open     []string `query:"open" doc:"Ids of systems and services to open; can be given several times."`
			Query    string   `query:"q" maxLength:"100" doc:"Part of a system's or service's name, or the start of a VM's."`
			Problems bool     `query:"problems" doc:"Only what needs somebody."`
			Branch   string   `query:"branch" format:"uuid" doc:"Only this system or service, and what is in it."`
			After    string   `query:"after" doc:"Cursor: next of the branch, or of the tree without a branch."`
		}) (Tree, error) {
			q := system.TreeQuery{Open: in.Open, Query: in.Query, Problems: in.Problems, Branch: in.Branch, Upto: map[string]system.Shown{}}
			if in.Branch != "" {
				q.Open = append(q.Open, in.Branch)
			}
			if in.After != "" {
				rows, after, ok := strings.Cut(in.After, ":")
				n, err := strconv.Atoi(rows)
				if !ok || err != nil || n < 0 || after == "" {
					return Tree{}, apperr.Field("after", apperr.ErrInvalidChoice)
				}
				q.Rest, q.Upto[in.Branch] = true, system.Shown{Rows: n, Cursor: after}
			}
			t, err := a.Systems.Tree(ctx, actor, q)
			return treeOf(ctx, t), err
		}),
	}
}
