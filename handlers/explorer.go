package handlers

import (
	"net/http"
	"strings"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// shownAttention is how many VMs that need somebody a page lists.
const shownAttention = 20

// showExplorer answers GET /explorer.
func (s *Server) showExplorer(w http.ResponseWriter, r *http.Request) error {
	tree, err := s.tree(r, "")
	if err != nil {
		return err
	}
	v := views.ExplorerView{Tree: tree}
	if fragment(r) != "tree" {
		// The whole page knows from the tree whether there is anything to read.
		if tree.Attention > 0 || fragment(r) != "" {
			if v.Attention, err = s.attention(r); err != nil {
				return err
			}
		}
		if v.Namespaces, err = s.namespaceCount(r); err != nil {
			return err
		}
	}
	sh, err := s.shell(r, "Explorer", "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Explorer(sh, v))
}

// namespaceCount is how many namespaces the actor could make a system in.
func (s *Server) namespaceCount(r *http.Request) (int, error) {
	if !actor(r).CreatesSystems() {
		return 0, nil
	}
	list, err := s.Systems.Namespaces(r.Context(), actor(r))
	return len(list), err
}

// tree is the explorer's tree as the address says, with the row of selected
// shown. Parts of a page that are not the tree do not read it.
func (s *Server) tree(r *http.Request, selected string) (views.TreeView, error) {
	if id := fragment(r); id != "" && id != "tree" {
		return views.TreeView{}, nil
	}
	q := r.URL.Query()
	query := system.TreeQuery{Open: q["open"], Query: q.Get("q"), Problems: q.Get("problems") != "", Selected: selected}
	t, err := s.Systems.Tree(r.Context(), actor(r), query)
	if err != nil {
		return views.TreeView{}, err
	}
	v := views.TreeView{
		Path: r.URL.Path, VMs: t.VMs, Total: t.Total, Attention: t.Bad, Query: query.Query, Problems: query.Problems, Selected: selected, More: t.More,
	}
	for _, sys := range t.Systems {
		row := views.TreeSystem{ID: sys.ID, Name: sys.Name, Env: string(sys.Environment), Open: sys.Open, VMs: sys.VMs, Bad: sys.Bad}
		for _, sv := range sys.Services {
			row.Services = append(row.Services, treeService(sv))
		}
		v.Systems = append(v.Systems, row)
	}
	return v, nil
}

func treeService(sv system.TreeService) views.TreeService {
	row := views.TreeService{ID: sv.ID, Name: sv.Name, Open: sv.Open, VMs: sv.VMs, Bad: sv.Bad}
	if sv.More {
		row.MoreHref = paths.Service(sv.ID)
	}
	for _, m := range sv.List {
		row.List = append(row.List, views.TreeVM{
			ID: m.ID, Name: shortName(sv.Name, m.Instance), Status: vmStatus(m.State, m.Problem, "", nil),
		})
	}
	return row
}

// attention lists VMs that need somebody, as far as the tree of problems goes.
func (s *Server) attention(r *http.Request) ([]views.Attention, error) {
	t, err := s.Systems.Tree(r.Context(), actor(r), system.TreeQuery{Problems: true})
	if err != nil {
		return nil, err
	}
	var list []views.Attention
	for _, sys := range t.Systems {
		for _, sv := range sys.Services {
			for _, m := range sv.List {
				if len(list) == shownAttention {
					return list, nil
				}
				list = append(list, attentionRow(r, sys, m))
			}
		}
	}
	return list, nil
}

func attentionRow(r *http.Request, sys system.TreeSystem, m system.TreeVM) views.Attention {
	a := views.Attention{
		Status: vmStatus(m.State, m.Problem, "", nil), Name: m.Name, Href: paths.VM(m.ID), Env: string(sys.Environment),
	}
	if m.Problem.IsZero() {
		a.Fact = sentence(a.Status.Label)
		return a
	}
	e := message(r, m.Problem.Code, m.Problem.Params)
	a.Fact, a.Next = strings.TrimSpace(e.What+" "+e.Why), e.Next
	return a
}

// renamed moves the errors of a use case's field to the field of a form.
func renamed(err error, from, to string) error {
	list := apperr.Fields(err)
	if len(list) == 0 {
		return err
	}
	moved := make(apperr.List, len(list))
	for i, e := range list {
		if moved[i] = e; e.Field() == from {
			moved[i] = e.At(to)
		}
	}
	return moved
}
