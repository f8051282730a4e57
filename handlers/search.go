package handlers

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/search"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// showSearch answers GET /search.
func (s *Server) showSearch(w http.ResponseWriter, r *http.Request) error {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	found, err := s.Search.Find(r.Context(), actor(r), q)
	if err != nil {
		return err
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Search"), "")
	if err != nil {
		return err
	}
	clean, _ := cleanText(q, false)
	var old stale
	var clusters []string
	if len(found.VMs) > 0 {
		if old, err = s.stale(r); err != nil {
			return err
		}
	}
	for _, m := range found.VMs {
		clusters = append(clusters, m.ClusterID)
	}
	groups := append(places(r.Context(), actor(r), q), searchGroups(r.Context(), found, old)...)
	if fragment(r) == "palette-hits" {
		sh.Hits, sh.Query = groups, clean
	}
	return s.page(w, r, http.StatusOK, views.Search(sh, views.SearchView{Query: clean, Groups: groups, Stale: old.notes(clusters...)}))
}

// place is a page or an action that the search leads to. also are other words
// that people look for it by. English words are found in every language.
type place struct {
	title, also, href string
	action            domain.Action
}

var (
	pages = []place{
		{i18n.N("Home"), i18n.N("start overview"), paths.Home, domain.HomeRead},
		{i18n.N("Explorer"), i18n.N("tree systems services"), paths.Explorer, domain.SystemList},
		{i18n.N("Requests"), i18n.N("tickets orders"), paths.Requests, domain.TicketList},
		{i18n.N("Approvals"), i18n.N("queue decide tickets"), paths.Approvals, domain.TicketQueue},
		{i18n.N("Clusters"), i18n.N("kubeconfig health"), paths.Clusters, domain.ClusterList},
		{i18n.N("Namespaces"), i18n.N("environments"), paths.Namespaces, domain.NamespaceList},
		{i18n.N("Templates and sizes"), i18n.N("catalog images"), paths.Catalog, domain.CatalogRead},
		{i18n.N("People"), i18n.N("users accounts roles members"), paths.People, domain.PersonRead},
		{i18n.N("Groups"), i18n.N("teams roles members claims"), paths.Groups, domain.GroupRead},
		{i18n.N("Trends"), i18n.N("charts history capacity waiting"), paths.Trends, domain.TrendsRead},
		{i18n.N("Audit log"), i18n.N("records history"), paths.Audit, domain.AuditRead},
		{i18n.N("Notifications"), i18n.N("inbox messages"), paths.Notifications, domain.NotificationRead},
		{i18n.N("Docs"), i18n.N("guides help documentation manual"), paths.Docs, domain.DocsRead},
	}
	actions = []place{
		{i18n.N("Request VM"), i18n.N("new create machine order"), paths.NewRequest, domain.TicketCreate},
		{i18n.N("New system"), i18n.N("create make"), paths.NewSystem, domain.SystemCreate},
		{i18n.N("Add cluster"), i18n.N("new upload kubeconfig"), paths.NewCluster, domain.ClusterCreate},
		{i18n.N("Invite somebody"), i18n.N("new user account person people"), paths.NewPerson, domain.PersonCreate},
		{i18n.N("New template"), i18n.N("create image catalog"), paths.NewTemplate, domain.CatalogCreate},
		{i18n.N("New size"), i18n.N("create instance catalog"), paths.NewSize, domain.CatalogCreate},
		{i18n.N("Register namespace"), i18n.N("new add"), paths.NewNamespace, domain.NamespaceCreate},
	}
)

// places are the pages and actions whose words begin with those of the query
// and that the actor may go to; without a query all of them.
func places(ctx context.Context, a domain.Actor, query string) []views.SearchGroup {
	var groups []views.SearchGroup
	for _, g := range []struct {
		id, title string
		list      []place
	}{{"actions", i18n.T(ctx, "Actions"), actions}, {"pages", i18n.T(ctx, "Pages"), pages}} {
		group := views.SearchGroup{ID: g.id, Title: g.title}
		for _, p := range g.list {
			if domain.Can(a, p.action, domain.Object{}) && means(ctx, p, query) {
				group.Items = append(group.Items, views.SearchItem{Href: p.href, Title: i18n.T(ctx, p.title)})
			}
		}
		if len(group.Items) > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}

// means says whether every word of the query begins a word of the place, or is
// in its translation: Chinese has no spaces between words.
func means(ctx context.Context, p place, query string) bool {
	translated := strings.ToLower(i18n.T(ctx, p.title) + " " + i18n.T(ctx, p.also))
	have := strings.Fields(strings.ToLower(p.title + " " + p.also))
	for word := range strings.FieldsSeq(strings.ToLower(query)) {
		if i18n.Lang(ctx) != i18n.English && strings.Contains(translated, word) {
			continue
		}
		if !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, word) }) {
			return false
		}
	}
	return true
}

func searchGroups(ctx context.Context, f search.Results, old stale) []views.SearchGroup {
	vms := views.SearchGroup{ID: "vms", Title: i18n.T(ctx, "VMs")}
	for _, m := range f.VMs {
		status := old.status(ctx, m.ClusterID, m.State, domain.Problem{})
		vms.Items = append(vms.Items, views.SearchItem{Href: paths.VM(m.ID), Title: m.Name, Sub: m.IP, Env: string(m.Environment), Status: &status})
	}
	tickets := views.SearchGroup{ID: "requests", Title: i18n.T(ctx, "Requests")}
	for _, t := range f.Tickets {
		status := views.TicketState(t.Status)
		tickets.Items = append(tickets.Items, views.SearchItem{
			Href: paths.Request(t.Number), Title: domain.TicketName(t.Number), Sub: i18n.T(ctx, "{what}, asked by {name}", "what", t.Title, "name", t.Requester), Env: string(t.Environment), Status: &status,
		})
	}
	parents := func(id, title string, list []search.Parent, href func(string) string) views.SearchGroup {
		g := views.SearchGroup{ID: id, Title: title}
		for _, p := range list {
			g.Items = append(g.Items, views.SearchItem{
				Href: href(p.ID), Title: p.Name, Sub: i18n.TN(ctx, p.VMs, "1 VM in {namespace}", "{n} VMs in {namespace}", "namespace", p.Namespace), Env: string(p.Environment),
			})
		}
		return g
	}
	var groups []views.SearchGroup
	for _, g := range []views.SearchGroup{
		tickets, vms, parents("services", i18n.T(ctx, "Services"), f.Services, paths.Service), parents("systems", i18n.T(ctx, "Systems"), f.Systems, paths.System),
	} {
		if len(g.Items) > 0 {
			const full = 10 // of the use case
			g.More = f.More && len(g.Items) >= full
			groups = append(groups, g)
		}
	}
	return groups
}
