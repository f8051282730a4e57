package gallery

import (
	"fmt"
	"time"

	"github.com/a-h/templ"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// looked is when the samples are looked at.
var looked = time.Date(2026, 11, 24, 14, 32, 9, 0, time.UTC)

func before(d time.Duration) time.Time { return looked.Add(-d) }

func beforePtr(d time.Duration) *time.Time { return new(before(d)) }

const (
	hour = time.Hour
	days = 24 * hour
)

func crumb(label, href string) ui.Crumb { return ui.Crumb{Label: label, Href: href} }

func segment(label, href string, n int, current bool) ui.Segment {
	return ui.Segment{Label: label, Href: href, Count: n, Current: current}
}

func fieldError(id, label, message string) ui.FieldError {
	return ui.FieldError{Field: id, Label: label, Message: message}
}

func viewer(title, nav, role, path string) views.Shell {
	s := views.Shell{Title: title, Nav: nav, Path: path, Now: looked, Version: "0.1.0", Unread: 2, Requests: 4}
	switch role {
	case "developer":
		s.User = views.UserView{Name: "developer", RoleLabel: "Owner of shop, ci"}
		s.Systems = []views.NavSystem{{Name: "shop", Href: paths.System("s1"), Env: "prod", VMs: 88}, {Name: "shop", Href: paths.System("s2"), Env: "test", VMs: 12}, {Name: "ci", Href: paths.System("s3"), Env: "prod", VMs: 1312}}
	case "admin":
		s.User = views.UserView{Name: "admin", RoleLabel: "Platform admin", CanApprove: true, IsAdmin: true, CanAudit: true}
		s.Approvals = 14
	}
	return s
}

func tree(path, selected string) views.TreeView {
	t := views.TreeView{Path: path, Selected: selected, VMs: 1702, Total: 4, Attention: 3}
	t.Systems = []views.TreeSystem{
		{ID: "s3", Name: "ci", Env: "prod", VMs: 1312, Bad: 2},
		{ID: "s4", Name: "data-platform", Env: "prod", VMs: 290},
		{ID: "s1", Name: "shop", Env: "prod", Open: true, VMs: 88, Bad: 1, Warn: 2, Services: []views.TreeService{
			{ID: "v1", Name: "catalogue", VMs: 18},
			{ID: "v2", Name: "redis", Open: true, VMs: 9, Bad: 1, Warn: 1, Rest: views.TreeRestView{Parent: "v2", At: 7, More: "v2:7:10", Left: 2}, List: []views.TreeVM{
				{ID: "m1", Name: "redis-01", Status: views.VMState(domain.StateRunning)},
				{ID: "m2", Name: "redis-02", Status: views.VMState(domain.StateRunning)},
				{ID: "m3", Name: "redis-03", Status: views.VMState(domain.StateMigrating)},
				{ID: "m6", Name: "redis-06", Status: ui.StatusView{Label: "Running, needs attention", Role: ui.Warn, Glyph: "warn"}},
				{ID: "m7", Name: "redis-07", Status: views.VMState(domain.StateErrorUnschedulable)},
				{ID: "m9", Name: "redis-09", Status: views.VMState(domain.StateStopped)},
				{ID: "m10", Name: "redis-10", Status: views.VMState(domain.StatePaused)},
			}},
			{ID: "v3", Name: "storefront", Open: true},
		}},
		{ID: "s2", Name: "shop", Env: "test", Open: true, VMs: 12},
	}
	t.Rest.At = len(t.Systems)
	for i := range t.Systems {
		y := &t.Systems[i]
		y.Rest.Parent, y.Rest.At = y.ID, len(y.Services)
		for j := range y.Services {
			if v := &y.Services[j]; v.Rest.Parent == "" {
				v.Rest.Parent = v.ID
			}
		}
	}
	t.Opened()
	return t
}

func attention() []views.Attention {
	return []views.Attention{
		{Status: views.VMState(domain.StateErrorUnschedulable), Name: "shop-redis-07", Href: paths.VM("m7"), Env: "prod", Since: beforePtr(21 * hour), Fact: "Cannot start: no node in west has 32 GiB of memory free.", Next: "The biggest gap is 28 GiB on w09. A smaller size would start now.", Action: "Open", ActionHref: paths.VM("m7")},
		{Status: ui.StatusView{Label: "Warning", Role: ui.Warn, Glyph: "warn"}, Name: "shop-redis-06", Href: paths.VM("m6"), Env: "prod", Since: beforePtr(14 * time.Minute), Fact: "Cannot move to another node.", Next: "Its data disk works on one node at a time (ReadWriteOnce).", Action: "See options", ActionHref: paths.VM("m6")},
	}
}

func activity() []views.HomeActivity {
	return []views.HomeActivity{
		{At: before(14 * time.Minute), Text: "shop-redis-06 cannot move to another node", Href: paths.VM("m6")},
		{At: before(2 * hour), Text: "shop-search-15 and -16 are running", Href: ""},
		{At: before(21 * hour), Text: "approver changed the size in TKT-2409 to general-large", Href: paths.Request(2409)},
		{At: before(4 * days), Text: "You made the service redis", Href: ""},
	}
}

func setup() []ui.ChecklistStep {
	return []ui.ChecklistStep{
		{Title: "Add a cluster", Text: "Upload the kubeconfig of a cluster with KubeVirt, see what the checks say, confirm. It takes about two minutes.", Action: "Add cluster", Href: paths.NewCluster, Done: true},
		{Title: "Register a namespace", Text: "Where systems may live. Its environment, test or prod, decides how careful the rules are.", Action: "Register namespace", Href: paths.NewNamespace},
		{Title: "Publish a template", Text: "A system image that people can ask for, with what it does at its first boot.", Action: "New template", Href: paths.NewTemplate},
		{Title: "Publish a size", Text: "A number of vCPU with memory and disk. Two or three are enough to begin with.", Action: "New size", Href: paths.NewSize},
		{Title: "Invite people", Text: "Developers need no role. Nobody decides about his own request, so a second approver keeps you moving.", Action: "Invite", Href: paths.NewPerson},
	}
}

func services(prefix string) []views.ServiceRow {
	return []views.ServiceRow{
		{ID: "v2", Name: prefix + "redis", Env: "prod", VMs: 9, Running: 4, Busy: 1, Bad: 1, Off: 3},
		{ID: "v1", Name: prefix + "catalogue", Env: "prod", VMs: 18, Running: 18},
		{ID: "v3", Name: prefix + "storefront", Env: "prod"},
	}
}

func home() views.HomeView {
	return views.HomeView{
		Attention: attention(), OpenRequests: 4, AllRequests: 31, HasSystems: true, HasServices: true, Namespaces: 2,
		Requests: []views.HomeRequest{
			{Ticket: "TKT-2418", Title: "Create 2 × redis", Href: paths.Request(2418), Service: "shop / redis", Env: "prod", Status: views.TicketState(domain.TicketPending), Steps: []string{"done", "wait", "", ""}, WaitingFor: "approver or lead", Since: before(25 * hour)},
			{Ticket: "TKT-2417", Title: "Create 4 × search", Href: paths.Request(2417), Service: "shop / search", Env: "prod", Status: ui.StatusView{Label: "Creating, 2 of 4 running", Role: ui.Busy, Glyph: "busy"}, Steps: []string{"done", "done", "now", ""}, WaitingFor: "the image copy on west", Since: before(22 * hour)},
			{Ticket: "TKT-2409", Title: "Create 2 × redis", Href: paths.Request(2409), Service: "shop / redis", Env: "test", Status: ui.StatusView{Label: "1 of 2 running, 1 failed", Role: ui.Bad, Glyph: "failed"}, Steps: []string{"done", "done", "bad", ""}, WaitingFor: "you: retry or withdraw", Since: before(5 * days)},
		},
		Services: services("shop / "), Activity: activity(),
	}
}

func approverHome() views.ApproverHomeView {
	return views.ApproverHomeView{
		Stats: []views.HomeStat{{Value: "14", Label: "waiting for a decision", Role: ""}, {Value: "3", Label: "older than 4 days", Role: ui.Warn}, {Value: "1,702", Label: "VMs on 3 clusters", Role: ""}, {Value: "8", Label: "VMs need attention", Role: ui.Bad}},
		Queue: 14,
		Oldest: []views.HomeTicket{
			{Since: before(7*days + 4*hour), Ticket: "TKT-2389", Title: "Create 3 × postgres", Href: paths.Approval(2389), Service: "payments / ledger", Env: "prod", Requester: "developer"},
			{Since: before(4*days + 6*hour), Ticket: "TKT-2402", Title: "Delete tracking-11", Href: paths.Approval(2402), Service: "logistics / tracking", Env: "test", Requester: "lea"},
			{Since: before(2 * days), Ticket: "TKT-2408", Title: "Create 2 × checkout-api", Href: paths.Approval(2408), Service: "shop / checkout-api", Env: "prod", Own: true},
		},
		Failed: []views.HomeFailure{
			{At: before(3 * hour), What: "notebooks-03 could not be created", Why: "Storage class fast-local does not exist on west", Action: "Open", Href: paths.Approval(2389)},
		},
		Clusters: []views.HomeCluster{
			{Name: "ams-prod-1", Href: paths.Cluster("c3"), Env: "prod", Status: ui.StatusView{Label: "Unreachable", Role: ui.Bad, Glyph: "failed"}, Text: "No answer since 13:58. Its VMs are shown from the last known state.", VMs: 212},
			{Name: "east", Href: paths.Cluster("c1"), Env: "test", Status: ui.StatusView{Label: "Healthy", Role: ui.OK, Glyph: "running"}, Text: "", VMs: 390},
			{Name: "west", Href: paths.Cluster("c2"), Env: "prod", Status: ui.StatusView{Label: "Unhealthy", Role: ui.Warn, Glyph: "warn"}, Text: "virt-handler is down on 2 of 12 nodes.", VMs: 1100},
		},
		Activity: activity(),
	}
}

func vm() views.VMView {
	return views.VMView{
		ID: "m6", Name: "shop-redis-06", ShortName: "redis-06", Env: "prod", SystemID: "s1", System: "shop", ServiceID: "v2", Service: "redis",
		Status: views.VMState(domain.StateRunning), Facts: "Redis 7 · general-large · west · up 18 days",
		Notice: &views.VMNotice{Kind: "warn", Icon: "triangle-alert", Title: "Running, but it cannot move to another node", Text: "Its data disk can be used by one node at a time (ReadWriteOnce), so it will be shut down when node w14 is drained.", Action: "See the service", ActionHref: paths.Service("v2")},
		Power: []views.PowerAction{
			{Op: domain.OpStart, Refused: "It is running already"},
			{Op: domain.OpStop, Note: "In prod this needs a yes", Href: paths.Power("m6") + "?do=STOP"},
			{Op: domain.OpRestart, Note: "At once"},
		},
		CanDelete: true, IP: "10.42.18.77", Cluster: "west", ClusterHref: paths.Cluster("c2"), Node: "w14", Namespace: "prod-shop", GuestOS: "Debian 12.8",
		Started: beforePtr(18 * days), Checked: before(4 * time.Second), CPU: 8, MemoryMiB: 32768,
		Disks:    []views.DiskView{{Name: "vda", Kind: "System disk", GiB: 100, StorageClass: "ceph-rbd"}},
		Template: "redis-7 v3", Size: "general-large", Owner: "developer", Ticket: "TKT-2214", TicketHref: paths.Request(2214), ApprovedBy: "approver", CreatedAt: before(18 * days),
		Labels:    []string{"kubevirt-shepherd.io/system=shop", "kubevirt-shepherd.io/ticket-id=TKT-2214"},
		Revisions: []views.RevisionView{{Number: 1, At: before(18 * days), By: "approver", What: "Created with 8 vCPU, 32 GiB, 100 GiB", Ticket: "TKT-2214", TicketHref: paths.Request(2214)}},
		Events: []ui.TimelineItem{
			{State: "wait", Title: "Cannot move to another node", At: beforePtr(14 * time.Minute), Text: "Its data disk works on one node at a time."},
			{State: "ok", Title: "Running", By: "Shepherd", At: beforePtr(18 * days)},
			{State: "ok", Title: "Approved", By: "approver", At: beforePtr(18*days + hour), Text: "Fine for the sale."},
		},
		Technical: "LiveMigratable=False DisksNotLiveMigratable: cannot migrate VMI: PVC shop-redis-06-root is not shared",
		Tree:      tree(paths.VM("m6"), "m6"),
	}
}

func service() views.ServiceView {
	v := views.ServiceView{
		ID: "v9", Name: "runner", SystemID: "s3", System: "ci", Env: "prod", Facts: "prod-ci on west · owned by ci-team", Docs: templ.Raw("<p>Build agents for the <strong>company</strong> pipeline.</p>"),
		Total: 1284, Here: paths.Service("v9"), NextName: "ci-runner-1288", CanRequest: true, CanEdit: true,
		States: []ui.Segment{segment("All", "?", 1284, true), segment("Running", "?state=ok", 1196, false), segment("Off", "?state=idle", 74, false), segment("Busy", "?state=busy", 12, false), segment("Failing", "?state=bad", 2, false)},
		Pager:  ui.PagerView{Summary: "1–50 of 1,284", OlderHref: "?after=1238"},
	}
	states := []domain.VMState{domain.StateRunning, domain.StateRunning, domain.StateStarting, domain.StateRunning, domain.StateImagePullBackOff, domain.StateStopped, domain.StateRunning}
	for i := range 50 {
		r := views.VMRow{ID: fmt.Sprint("x", i), Name: fmt.Sprintf("ci-runner-%d", 1287-i), Status: views.VMState(states[i%len(states)]), Cluster: "west", Size: "general-small", CPU: 2, MemoryMiB: 4096, Owner: "ci-bot"}
		if r.Status.Role == ui.OK {
			r.Node, r.IP, r.Started = fmt.Sprintf("w%02d", i%9), fmt.Sprintf("10.42.61.%d", i), beforePtr(time.Duration(i)*5*hour)
		}
		if r.Status.Role == ui.Bad {
			r.Problem = "The registry answers 401 for ci/runner:3"
		}
		v.VMs = append(v.VMs, r)
	}
	return v
}

// frame are the pages of the frame, the homes and the tree, with what they show at
// their fullest and at their emptiest.
func frame() map[string]templ.Component {
	dev := func(title, nav, path string) views.Shell { return viewer(title, nav, "developer", path) }
	namespaces := []views.NamespaceChoice{{ID: "n1", Name: "prod-shop", Env: "prod", Cluster: "west"}, {ID: "n2", Name: "test-shop", Env: "test", Cluster: "east"}}
	emptyService := service()
	emptyService.Total, emptyService.VMs, emptyService.NextName = 0, nil, "ci-runner-01"
	noMatch := service()
	noMatch.VMs, noMatch.Query = nil, "redsi"
	flashed := dev("Home", "home", "/")
	flashed.Flash = &views.Flash{Kind: "ok", Title: "TKT-2419 was sent", Text: "You see here when it is decided.", Href: paths.Request(2419), Link: "Open"}
	flashed.Theme = "dark"
	admin := viewer("Home", "home", "admin", "/")
	notFound := dev("Not found", "", "/vms/none")
	deleted := views.TreeView{Path: paths.Explorer}
	return map[string]templ.Component{
		"setup":         views.Setup(views.SetupView{Token: "t", Name: "admin", RoleLabel: "Platform admin", Passwords: true}),
		"setup-error":   views.Setup(views.SetupView{Token: "t", Name: "admin", NameFixed: true, Passwords: true, Errors: []ui.FieldError{fieldError("password", "Password", "use at least 12 characters"), fieldError("repeat", "Repeat", "the two are not the same")}}),
		"setup-used":    views.SetupUsed("", ""),
		"home":          views.Home(dev("Home", "home", "/"), home()),
		"home-flash":    views.Home(flashed, home()),
		"home-first":    views.Home(dev("Home", "home", "/"), views.HomeView{Namespaces: 1}),
		"home-second":   views.Home(dev("Home", "home", "/"), views.HomeView{Namespaces: 1, HasSystems: true, FirstSystem: "s1"}),
		"home-third":    views.Home(dev("Home", "home", "/"), views.HomeView{Namespaces: 1, HasSystems: true, HasServices: true, Services: services("shop / ")}),
		"home-approver": views.ApproverHome(admin, approverHome()),
		"home-admin-first": views.ApproverHome(admin, views.ApproverHomeView{
			Setup: setup(),
			Stats: []views.HomeStat{{Value: "0", Label: "waiting for a decision", Role: ""}},
		}),
		"explorer":             views.Explorer(dev("Explorer", "explorer", paths.Explorer), views.ExplorerView{Tree: tree(paths.Explorer, ""), Attention: attention(), Namespaces: 2}),
		"explorer-first":       views.Explorer(dev("Explorer", "explorer", paths.Explorer), views.ExplorerView{Tree: deleted, Namespaces: 2}),
		"explorer-nothing":     views.Explorer(dev("Explorer", "explorer", paths.Explorer), views.ExplorerView{Tree: views.TreeView{Path: paths.Explorer, VMs: 3, Total: 1, Query: "redsi"}, Namespaces: 1}),
		"system":               views.SystemPage(dev("shop", "explorer", paths.System("s1")), views.SystemView{ID: "s1", Name: "shop", Env: "prod", Namespace: "prod-shop", Owner: "developer", Clusters: []ui.Crumb{crumb("west", paths.Cluster("c2"))}, CreatedAt: before(40 * days), VMs: 27, Members: 2, Services: services(""), Docs: templ.Raw("<h2>Shop</h2><p>See the <a href=\"/\">runbook</a>.</p><ul><li>call <code>lea</code></li></ul>"), CanEdit: true, Tree: tree(paths.System("s1"), "s1")}),
		"system-empty":         views.SystemPage(dev("shop", "explorer", paths.System("s1")), views.SystemView{ID: "s1", Name: "shop", Env: "test", Namespace: "test-shop", Owner: "developer", CreatedAt: before(time.Minute), CanEdit: true, Tree: tree(paths.System("s1"), "s1")}),
		"system-new":           views.SystemForm(dev("New system", "explorer", paths.NewSystem), views.SystemFormView{Namespaces: namespaces}),
		"system-new-none":      views.SystemForm(viewer("New system", "explorer", "admin", paths.NewSystem), views.SystemFormView{}),
		"system-new-error":     views.SystemForm(dev("New system", "explorer", paths.NewSystem), views.SystemFormView{Name: "Shop!", Docs: "# Shop", Namespaces: namespaces, Errors: []ui.FieldError{fieldError("name", "Name", "use small letters, digits and dashes, such as shop"), fieldError("namespace", "Namespace", "choose one")}}),
		"system-edit":          views.SystemForm(dev("Edit shop", "explorer", paths.EditSystem("s1")), views.SystemFormView{ID: "s1", Name: "shop", Env: "prod", Docs: "# Shop", Version: 3, Conflict: "lea saved this documentation 2 min ago"}),
		"system-delete":        views.DeletePage(dev("Delete shop", "explorer", paths.DeleteSystem("s1")), views.DeleteView{Kind: "system", Name: "shop", Action: paths.DeleteSystem("s1"), Back: paths.System("s1"), Crumbs: []ui.Crumb{crumb("shop", paths.System("s1")), crumb("Delete", "")}, Typed: "shp", Error: "That is not the name: type shop"}),
		"system-delete-not":    views.DeletePage(dev("Delete shop", "explorer", paths.DeleteSystem("s1")), views.DeleteView{Kind: "system", Name: "shop", Back: paths.System("s1"), Children: []ui.Crumb{crumb("redis", paths.Service("v2")), crumb("storefront", paths.Service("v3"))}, More: 3}),
		"service":              views.ServicePage(dev("ci / runner", "explorer", paths.Service("v9")), service()),
		"service-empty":        views.ServicePage(dev("ci / runner", "explorer", paths.Service("v9")), emptyService),
		"service-empty-filter": views.ServicePage(dev("ci / runner", "explorer", paths.Service("v9")), noMatch),
		"service-new":          views.ServiceForm(dev("New service", "explorer", paths.NewService("s1")), views.ServiceFormView{SystemID: "s1", System: "shop", Env: "prod", Name: "redis", Names: []string{"shop-redis-01", "shop-redis-02"}}),
		"service-new-error":    views.ServiceForm(dev("New service", "explorer", paths.NewService("s1")), views.ServiceFormView{SystemID: "s1", System: "shop", Env: "prod", Name: "-x", Errors: []ui.FieldError{fieldError("name", "Name", "start with a letter")}}),
		"service-edit":         views.ServiceForm(dev("Edit redis", "explorer", paths.EditService("v2")), views.ServiceFormView{ID: "v2", SystemID: "s1", System: "shop", Name: "redis", Version: 1}),
		"vm":                   views.VMPage(dev("shop-redis-06", "explorer", paths.VM("m6")), vm()),
		"vm-requested":         views.VMPage(dev("shop-redis-11", "explorer", paths.VM("m11")), views.VMView{ID: "m11", Name: "shop-redis-11", ShortName: "redis-11", Env: "prod", SystemID: "s1", System: "shop", ServiceID: "v2", Service: "redis", Status: views.VMState(domain.StateRequested), Checked: looked, CPU: 2, MemoryMiB: 1536, Owner: "developer", CreatedAt: looked, Tree: tree(paths.VM("m11"), "")}),
		"vm-stop":              views.PowerPage(dev("Stop shop-redis-06", "explorer", paths.Power("m6")), views.PowerView{ID: "m6", Name: "shop-redis-06", Env: "prod", Op: domain.OpStop, Effect: "It shuts down. Its disks are kept and it can be started again.", NeedsApproval: true, Approvers: "approver or lead", Errors: []ui.FieldError{fieldError("reason", "Reason", "write one or two sentences")}}),
		"vm-restart":           views.PowerPage(dev("Restart shop-redis-06", "explorer", paths.Power("m6")), views.PowerView{ID: "m6", Name: "shop-redis-06", Env: "test", Op: domain.OpRestart, Effect: "It is down for about a minute."}),
		"vm-delete":            views.DeleteVMPage(dev("Request deletion", "explorer", paths.DeleteVM("m6")), views.DeleteVMView{ID: "m6", Name: "shop-redis-06", Env: "prod", Status: views.VMState(domain.StateRunning), Disks: []views.DiskView{{Name: "vda", Kind: "System disk", GiB: 20, StorageClass: "ceph-rbd"}, {Name: "vdb", Kind: "Data disk", GiB: 100, StorageClass: "ceph-rbd"}}, NeedsName: true, NeedsApproval: true, Approvers: "approver or lead"}),
		"search":               views.Search(dev("Search", "", paths.Search), views.SearchView{Query: "redis", Groups: []views.SearchGroup{{ID: "vms", Title: "VMs", Items: []views.SearchItem{{Href: paths.VM("m6"), Title: "shop-redis-06", Sub: "10.42.18.77 · west", Env: "prod", Status: new(views.VMState(domain.StateRunning))}}, More: true}, {ID: "services", Title: "Services", Items: []views.SearchItem{{Href: paths.Service("v2"), Title: "shop / redis", Sub: "9 VMs", Env: "prod", Status: nil}}, More: false}}}),
		"search-nothing":       views.Search(dev("Search", "", paths.Search), views.SearchView{Query: "redsi"}),
		"search-empty":         views.Search(dev("Search", "", paths.Search), views.SearchView{}),
		"error-404":            views.ErrorPage(&notFound, views.ErrorView{Status: 404, Code: "VM_NOT_FOUND", Title: "shop-redis-04 is not here any more", Text: "It was deleted on 2 November with TKT-2198.", ActionLabel: "Open shop / redis", ActionHref: paths.Service("v2"), SecondLabel: "Search", SecondHref: paths.Search}),
		"error-500":            views.ErrorPage(nil, views.ErrorView{Status: 500, Code: "INTERNAL", Title: "Something broke on our side", Text: "Nothing was changed.", Next: "Try again in a minute. If it happens again, send this number to the platform team.", RequestID: "0193a2b4c5d6", ActionLabel: "Try again", ActionHref: "/"}),
	}
}
