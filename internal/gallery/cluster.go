package gallery

import (
	"time"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// clusterPages are the pages about one cluster, and the list of many.
func clusterPages() map[string]templ.Component {
	admin, developer := shell("Clusters", "clusters", "admin"), shell("Explorer", "explorer", "developer")
	off := fullCluster()
	off.Row.Off, off.Row.Status, off.Problem, off.Excess = true, domain.ClusterUnknown, nil, nil
	off.Notices = []views.ClusterNotice{
		{Kind: "bad", Icon: "triangle-alert", Title: "fra-test-1 is in quarantine.", Text: "12 VMs that were there are gone.", Action: "Show what differs", Href: paths.ClusterQuarantine("c5")},
		{Kind: "idle", Icon: "power", Title: "It is switched off", Text: "Shepherd does not check or watch it, and does nothing there. What is shown is the last known state.", Action: "Switch on", Do: "enable"},
		{Kind: "warn", Icon: "key-round", Title: "Credential ends in 6 d", Text: "Without it Shepherd cannot sign in there. VMs keep running.", Action: "Replace", Href: paths.ClusterCredential("c5")},
	}
	off.OrderCount, off.Orders, off.VMs, off.Errors, off.Changes = 0, nil, nil, nil, nil

	settings := views.ClusterSettingsView{ID: "c5", Name: "fra-test-1", Env: "test", Version: "1", Place: "Frankfurt, room A", Weight: "100", Hardware: "gpu.example.com/a100\nsriov"}
	wrong := settings
	wrong.Weight = "5000"
	wrong.Errors = []ui.FieldError{{Field: "weight", Label: "Weight", Message: "Choose between 0 and 1000."}}
	conflict := settings
	conflict.Conflict = "Somebody changed the settings meanwhile. What you typed is below, and nothing is saved. Save again to replace what is stored now:"
	conflict.Now = fullCluster().Settings
	remove := views.RemoveClusterView{ID: "c5", Name: "fra-test-1", Env: "test", Unregistered: []string{"shop-test", "team-a"}}
	held := views.RemoveClusterView{ID: "c5", Name: "fra-test-1", Env: "test", VMs: 121, Orders: 2, Namespaces: []string{"team-a"}}
	list := views.ClusterListView{ID: "c5", Name: "fra-test-1", Env: "test", Pager: ui.PagerView{OlderHref: "/"}}
	history, orders, vms := list, list, list
	history.Kinds = []ui.Segment{{Label: "All", Href: "/", Count: -1, Current: true}, {Label: "Health", Href: "/", Count: -1}, {Label: "Changes", Href: "/", Count: -1}, {Label: "Errors", Href: "/", Count: -1}}
	history.Changes = append(fullCluster().Errors, fullCluster().Changes...)
	orders.Orders = fullCluster().Orders
	vms.VMs, vms.Stale = clusterVMs(), []views.StaleView{{Cluster: "fra-test-1", Since: at(34 * time.Minute)}}
	vms.States = []ui.Segment{{Label: "All", Href: "/", Count: -1, Current: true}, {Label: "Failing", Href: "/", Count: -1}}
	mode := func(do string) templ.Component {
		return views.ClusterMode(admin, views.ClusterModeView{ID: "c5", Name: "fra-test-1", Env: "test", Do: do, VMs: 121, Orders: 2})
	}
	stale := views.ExplorerView{Tree: tree(paths.Explorer, ""), Stale: []views.StaleView{
		{Cluster: "ams-prod-1", Since: at(34 * time.Minute)}, {Cluster: "ber-edge-1", Since: at(26 * time.Hour), Off: true}, {Cluster: "lab-gpu-1"}, {Cluster: "old-prod-0", Off: true},
	}}
	return map[string]templ.Component{
		"cluster":                   views.Cluster(admin, fullCluster()),
		"cluster-off":               views.Cluster(admin, off),
		"clusters-many":             views.Clusters(admin, manyClusters()),
		"clusters-none-fits":        views.Clusters(admin, views.ClustersView{Self: "/clusters", Total: 100, Filtered: true, Query: "mars", Statuses: manyClusters().Statuses, Envs: manyClusters().Envs}),
		"cluster-history":           views.ClusterHistoryPage(admin, history),
		"cluster-history-empty":     views.ClusterHistoryPage(admin, list),
		"cluster-orders":            views.ClusterOrdersPage(admin, orders),
		"cluster-orders-empty":      views.ClusterOrdersPage(admin, list),
		"cluster-vms":               views.ClusterVMsPage(admin, vms),
		"cluster-vms-empty":         views.ClusterVMsPage(admin, list),
		"cluster-settings":          views.ClusterSettings(admin, settings),
		"cluster-settings-errors":   views.ClusterSettings(admin, wrong),
		"cluster-settings-conflict": views.ClusterSettings(admin, conflict),
		"cluster-drain":             mode("drain"),
		"cluster-disable":           mode("disable"),
		"cluster-enable":            mode("enable"),
		"cluster-remove":            views.RemoveCluster(admin, remove),
		"cluster-remove-held":       views.RemoveCluster(admin, held),
		"explorer-stale":            views.Explorer(developer, stale),
	}
}

func clusterVMs() []views.VMRow {
	status := ui.StatusView{Label: "Running", Role: ui.OK, Glyph: "running"}
	return []views.VMRow{
		{ID: "v1", Name: "shop-redis-01", Status: status, Cluster: "fra-test-1", Node: "fra-t04", IP: "10.42.18.77", Size: "small", CPU: 2, MemoryMiB: 4096, Owner: "developer"},
		{ID: "v2", Name: "shop-redis-02", Status: ui.StatusView{Label: "Was running, 13:58", Role: ui.Idle, Glyph: "unknown"}, Cluster: "fra-test-1", Size: "small", CPU: 2, MemoryMiB: 4096, Owner: "developer"},
	}
}

func fullCluster() views.ClusterView {
	v := cluster()
	v.CanUpdate, v.CanRemove, v.CanCredential = true, true, true
	v.Notices = []views.ClusterNotice{{Kind: "wait", Icon: "pause", Title: "It takes no new VMs", Text: "Those that it has stay as they are, and can be used as before.", Action: "Take new VMs", Do: "undrain"}}
	v.Row.Drained, v.Row.Marks = true, []ui.StatusView{{Label: "Takes no new VMs", Role: ui.Wait, Glyph: "paused"}}
	v.Settings = []views.Fact{{Label: "Place", Value: "Frankfurt, room A"}, {Label: "Weight", Value: "100"}, {Label: "Hardware", Value: "gpu.example.com/a100, sriov"}}
	v.Credential = []views.Fact{{Label: "Kind", Value: "bearer token"}, {Label: "Signs in as", Value: "system:serviceaccount:shepherd-system:shepherd", Mono: true}, {Label: "Ends", Value: "2027-03-14 (in 4 months)"}}
	hour := func(h float64) time.Time { return *at(time.Duration(h * float64(time.Hour))) }
	v.Health = ui.StripView{
		ID: "cluster-health", Title: "Health", Summary: "Healthy 88 % of the time that it was checked; 2 times it was not.", From: hour(24), To: hour(0),
		Series: []ui.SeriesView{
			{Label: "Healthy", Role: ui.OK, Look: ui.Solid}, {Label: "Unhealthy", Role: ui.Warn, Look: ui.Stripes}, {Label: "Unreachable", Role: ui.Bad, Look: ui.Grid},
			{Label: "Unknown", Role: ui.Idle, Look: ui.Hollow}, {Label: "Switched off", Role: ui.Idle, Look: ui.Solid},
		},
		Parts: []ui.StripPart{
			{From: hour(24), To: hour(15), Series: 0}, {From: hour(15), To: hour(13), Series: 2, Why: "fra-test-1 does not answer in time."}, {From: hour(13), To: hour(4), Series: 0},
			{From: hour(4), To: hour(3.5), Series: 4}, {From: hour(3.5), To: hour(3.4), Series: 3}, {From: hour(3.4), To: hour(1), Series: 0}, {From: hour(1), To: hour(0), Series: 1, Why: "virt-handler is down on 2 of 12 nodes."},
		},
		Marks: []ui.StripMark{{At: hour(20), Label: "18:00"}, {At: hour(14), Label: "00:00"}, {At: hour(8), Label: "06:00"}, {At: hour(2), Label: "12:00"}},
	}
	v.Ranges = []ui.Segment{{Label: "24 h", Href: "/", Count: -1, Current: true}, {Label: "7 d", Href: "/", Count: -1}}
	v.Memory, v.CPU = views.Demand{On: 276 << 10, Off: 32 << 10, Limit: 512 << 10}, views.Demand{On: 240, Off: 16, Limit: 192}
	v.Orders = []views.OrderRow{
		{VM: "shop-redis-04", VMHref: paths.VM("v4"), What: "Delete", Ticket: "TKT-2402", TicketHref: paths.Request(2402), Since: hour(2), Status: ui.StatusView{Label: "Needs attention", Role: ui.Bad, Glyph: "warn"}, Why: "fra-test-1 does not answer in time."},
		{VM: "shop-web-01", VMHref: paths.VM("v5"), What: "Stop", By: "developer", Since: hour(0.1), Status: ui.StatusView{Label: "Waiting", Role: ui.Wait, Glyph: "pending"}},
		{What: "Start", Since: hour(0.05), Status: ui.StatusView{Label: "Under way", Role: ui.Busy, Glyph: "busy"}},
	}
	v.OrderCount = 9
	v.VMs = clusterVMs()
	v.Errors = []views.ClusterChange{{What: "fra-test-1 does not answer in time.", Text: "It took longer than 5 s.", Role: ui.Bad, Glyph: "failed", At: hour(15), Last: hour(13), Count: 240, Technical: "Get https://10.60.0.10:6443/version: context deadline exceeded"}}
	v.Changes = []views.ClusterChange{
		{What: "Takes no new VMs", Role: ui.Idle, Glyph: "done", At: hour(3)},
		{What: "Weight", Text: "100 → 50", Role: ui.Idle, Glyph: "done", At: hour(5)},
		{What: "Version", Text: "KubeVirt v1.6.1 → KubeVirt v1.6.2", Role: ui.Idle, Glyph: "done", At: hour(40)},
		{What: "Features", Text: "New: VMPersistentState. Gone: Snapshot.", Role: ui.Idle, Glyph: "done", At: hour(40)},
	}
	v.Features = views.FeaturesView{
		On: []string{"GPU", "HotplugVolumes"}, ByDefault: []string{"CommonInstancetypesDeploymentGate", "LiveMigration", "Snapshot"}, Off: []string{"VMExport"},
		APIs: []string{"cdi.kubevirt.io/v1beta1", "kubevirt.io/v1", "snapshot.storage.k8s.io/v1"}, Version: "1.6.2", InstanceTypes: 43, Preferences: 87, At: at(6 * time.Minute),
	}
	return v
}

func manyClusters() views.ClustersView {
	v := clusters()
	v.Total, v.MoreProblems = 100, 47
	v.Pager = ui.PagerView{OlderHref: "/"}
	v.Statuses = []ui.Option{{Label: "Every state", Selected: true}, {Value: "UNREACHABLE", Label: "Unreachable"}}
	v.Envs = []ui.Option{{Label: "Test and prod", Selected: true}, {Value: "test", Label: "test"}, {Value: "prod", Label: "prod"}}
	v.Rows[1].Memory = views.Demand{On: 276 << 10, Limit: 512 << 10}
	v.Rows[3].Memory = views.Demand{On: 1157 << 10, Off: 40 << 10, Limit: 1310 << 10}
	v.Rows[3].Marks = []ui.StatusView{{Label: "Takes no new VMs", Role: ui.Wait, Glyph: "paused"}, {Label: "Credential ends in 6 d", Role: ui.Warn, Glyph: "warn"}}
	v.Rows = append(v.Rows, views.ClusterRow{
		ID: "c9", Name: "old-prod-0", Place: "Frankfurt", Status: domain.ClusterHealthy, Why: "Shepherd leaves it alone", CheckedAt: at(26 * time.Hour), Environment: domain.Prod,
		KubeVirt: "1.3.1", Kubernetes: "1.29.9", Off: true, Stale: true,
	})
	return v
}
