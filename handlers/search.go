package handlers

import (
	"net/http"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/search"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// showSearch answers GET /search.
func (s *Server) showSearch(w http.ResponseWriter, r *http.Request) error {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	found, err := s.Search.Find(r.Context(), actor(r), q)
	if err != nil {
		return err
	}
	sh, err := s.shell(r, "Search", "")
	if err != nil {
		return err
	}
	clean, _ := cleanText(q, false)
	return s.page(w, r, http.StatusOK, views.Search(sh, views.SearchView{Query: clean, Groups: searchGroups(found)}))
}

func searchGroups(f search.Results) []views.SearchGroup {
	vms := views.SearchGroup{ID: "vms", Title: "VMs"}
	for _, m := range f.VMs {
		status := views.VMState(m.State)
		vms.Items = append(vms.Items, views.SearchItem{Href: paths.VM(m.ID), Title: m.Name, Sub: m.IP, Env: string(m.Environment), Status: &status})
	}
	tickets := views.SearchGroup{ID: "requests", Title: "Requests"}
	for _, t := range f.Tickets {
		status := views.TicketState(t.Status)
		tickets.Items = append(tickets.Items, views.SearchItem{
			Href: paths.Request(t.Number), Title: domain.TicketName(t.Number), Sub: t.Title + ", asked by " + t.Requester, Env: string(t.Environment), Status: &status,
		})
	}
	parents := func(id, title string, list []search.Parent, href func(string) string) views.SearchGroup {
		g := views.SearchGroup{ID: id, Title: title}
		for _, p := range list {
			g.Items = append(g.Items, views.SearchItem{
				Href: href(p.ID), Title: p.Name, Sub: ui.Plural(p.VMs, "VM", "VMs") + " in " + p.Namespace, Env: string(p.Environment),
			})
		}
		return g
	}
	var groups []views.SearchGroup
	for _, g := range []views.SearchGroup{
		tickets, vms, parents("services", "Services", f.Services, paths.Service), parents("systems", "Systems", f.Systems, paths.System),
	} {
		if len(g.Items) > 0 {
			const full = 10 // of the use case
			g.More = f.More && len(g.Items) >= full
			groups = append(groups, g)
		}
	}
	return groups
}
