package handlers

import (
	"net/http"
	"slices"
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
	groups := append(places(actor(r), q), searchGroups(found)...)
	if fragment(r) == "palette-hits" {
		sh.Hits, sh.Query = groups, clean
	}
	return s.page(w, r, http.StatusOK, views.Search(sh, views.SearchView{Query: clean, Groups: groups}))
}

// place is a page or an action that the search leads to. also are other words
// that people look for it by.
type place struct {
	title, also, href string
	action            domain.Action
}

var (
	pages = []place{
		{"Home", "start overview", paths.Home, domain.HomeRead},
		{"Explorer", "tree systems services", paths.Explorer, domain.SystemList},
		{"Requests", "tickets orders", paths.Requests, domain.TicketList},
		{"Approvals", "queue decide tickets", paths.Approvals, domain.TicketQueue},
		{"Clusters", "kubeconfig health", paths.Clusters, domain.ClusterList},
		{"Namespaces", "environments", paths.Namespaces, domain.NamespaceList},
		{"Templates and sizes", "catalog images", paths.Catalog, domain.CatalogRead},
		{"People", "users accounts roles members", paths.People, domain.PersonRead},
		{"Trends", "charts history capacity waiting", paths.Trends, domain.TrendsRead},
		{"Audit log", "records history", paths.Audit, domain.AuditRead},
		{"Notifications", "inbox messages", paths.Notifications, domain.NotificationRead},
		{"Docs", "guides help documentation manual", paths.Docs, domain.DocsRead},
	}
	actions = []place{
		{"Request VM", "new create machine order", paths.NewRequest, domain.TicketCreate},
		{"New system", "create make", paths.NewSystem, domain.SystemCreate},
		{"Add cluster", "new upload kubeconfig", paths.NewCluster, domain.ClusterCreate},
		{"Invite somebody", "new user account person people", paths.NewPerson, domain.PersonCreate},
		{"New template", "create image catalog", paths.NewTemplate, domain.CatalogCreate},
		{"New size", "create instance catalog", paths.NewSize, domain.CatalogCreate},
		{"Register namespace", "new add", paths.NewNamespace, domain.NamespaceCreate},
	}
)

// places are the pages and actions whose words begin with those of the query
// and that the actor may go to; without a query all of them.
func places(a domain.Actor, query string) []views.SearchGroup {
	var groups []views.SearchGroup
	for _, g := range []struct {
		id, title string
		list      []place
	}{{"actions", "Actions", actions}, {"pages", "Pages", pages}} {
		group := views.SearchGroup{ID: g.id, Title: g.title}
		for _, p := range g.list {
			if domain.Can(a, p.action, domain.Object{}) && means(p, query) {
				group.Items = append(group.Items, views.SearchItem{Href: p.href, Title: p.title})
			}
		}
		if len(group.Items) > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}

// means says whether every word of the query begins a word of the place.
func means(p place, query string) bool {
	have := strings.Fields(strings.ToLower(p.title + " " + p.also))
	for word := range strings.FieldsSeq(strings.ToLower(query)) {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, word) }) {
			return false
		}
	}
	return true
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
