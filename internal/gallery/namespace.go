package gallery

import (
	"time"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

func quotas() []views.QuotaBar {
	return []views.QuotaBar{
		{Label: "Memory (requests)", Text: "40 GiB of 64 GiB", Used: 40960, Limit: 65536},
		{Label: "Storage", Text: "1.9 TiB of 2 TiB", Used: 1995, Limit: 2048},
		{Label: "VMs", Text: "12 of 40", Used: 12, Limit: 40},
	}
}

func namespaces() views.NamespacesView {
	return views.NamespacesView{
		Self: "/namespaces", CanRegister: true, HasClusters: true, Pager: ui.PagerView{Summary: "1–4 of 4"},
		Clusters: []ui.Option{{Label: "Every cluster", Selected: true}, {Value: "c1", Label: "fra-prod-1"}, {Value: "c5", Label: "fra-test-1"}},
		Envs:     []ui.Option{{Label: "Test and prod", Selected: true}, {Value: "test", Label: "test"}, {Value: "prod", Label: "prod"}},
		Rows: []views.NamespaceRow{
			{ID: "n1", Name: "shop-prod", ClusterID: "c1", Cluster: "fra-prod-1", Environment: domain.Prod, Presence: domain.PresencePresent, CheckedAt: at(2 * time.Minute), Bars: quotas(), Systems: []views.NavSystem{{Name: "shop", Href: "/systems/y1"}, {Name: "payments", Href: "/systems/y2"}}},
			{ID: "n2", Name: "lab", ClusterID: "c5", Cluster: "fra-test-1", Environment: domain.Test, Presence: domain.PresencePresent, CheckedAt: at(time.Minute), QuotasUnknown: true},
			{ID: "n3", Name: "old", ClusterID: "c5", Cluster: "fra-test-1", Environment: domain.Test, Presence: domain.PresenceMissing, CheckedAt: at(3 * time.Minute)},
			{ID: "n4", Name: "new", ClusterID: "c3", Cluster: "ams-prod-1", Environment: domain.Prod, Presence: domain.PresenceUnknown},
		},
	}
}

const createCommands = `kubectl create namespace shop-test
kubectl label namespace shop-test \
  kubevirt-shepherd.io/environment=test \
  kubevirt-shepherd.io/managed-by=kubevirt-shepherd`

const createRule = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: kubevirt-shepherd-missing
rules:
  - apiGroups: [""]
    resources: ["namespaces"]
    verbs: ["create"]
`

func namespace() views.NamespaceView {
	return views.NamespaceView{
		Self: "/namespaces/n1", Row: namespaces().Rows[0], CanCheck: true, CanUnregister: true, Registered: "admin, 3 d ago", Commands: createCommands, VMTotal: 2, Pager: ui.PagerView{Summary: "2 VMs"},
		Lines: []views.QuotaLine{
			{Name: "team", Resource: "count/virtualmachines.kubevirt.io", Used: "12", Hard: "40"}, {Name: "team", Resource: "requests.memory", Used: "40Gi", Hard: "64Gi"},
			{Name: "team", Resource: "requests.storage", Used: "1995Gi", Hard: "2Ti"}, {Name: "urgent", Resource: "pods", Used: "0", Hard: "5", Scoped: true},
		},
		Others: []views.NamespaceRow{{ID: "n5", Cluster: "ams-prod-1", Presence: domain.PresenceUnknown}},
		VMs: []views.NamespaceVM{
			{ID: "v1", Name: "shop-redis-01", Status: ui.StatusView{Label: "Running", Role: ui.OK, Glyph: "running"}, Size: "memory-large", Owner: "developer"},
			{ID: "v4", Name: "shop-redis-04", Status: ui.StatusView{Label: "Stopped", Role: ui.Idle, Glyph: "stopped"}, Size: "memory-large", Owner: "developer"},
		},
	}
}

func namespaceIn(p domain.Presence) views.NamespaceView {
	v := namespace()
	v.Row.Presence, v.Row.Bars, v.Lines, v.VMs, v.VMTotal, v.Others = p, nil, nil, nil, 0, nil
	return v
}

func namespaceForm(h *views.NamespaceHelp, errs ...ui.FieldError) views.NamespaceFormView {
	return views.NamespaceFormView{
		Name: "shop-test", Help: h, Errors: errs, Clusters: []ui.Option{{Label: "Choose a cluster"}, {Value: "c5", Label: "fra-test-1 · test", Selected: true}},
		Envs: []ui.Option{{Label: "Choose"}, {Value: "test", Label: "test", Selected: true}, {Value: "prod", Label: "prod"}},
	}
}

// room is what is left on a cluster for the request of the gallery.
func room(short bool) *views.RoomView {
	v := &views.RoomView{Left: "Left in the namespace: Memory (requests) 124 GiB, VMs 28.", Bar: &views.QuotaBar{Label: "Memory (requests)", Text: "100 GiB of 128 GiB", Used: 4096, Add: 98304, Limit: 131072}}
	if short {
		v.Left, v.Bar.Limit, v.Bar.Text = "Left in the namespace: Memory (requests) 60 GiB, VMs 28.", 65536, "100 GiB of 64 GiB"
		v.Short = []string{"Memory (requests): at least 96 GiB needed, 60 GiB left. The VMs would not start there."}
	}
	return v
}

// spaces are the pages of namespaces, and the pages that show what is left in one.
func spaces() map[string]templ.Component {
	admin := shell("Namespaces", "namespaces", "admin")
	bad := func(field, label, message string) ui.FieldError {
		return ui.FieldError{Field: field, Label: label, Message: message}
	}
	missing := bad("name", "Name in Kubernetes", "The cluster fra-test-1 has no namespace shop-test. Create it in the cluster, or choose another one.")
	tight, form := ticket(), requestForm()
	for i := range tight.Clusters {
		if tight.Clusters[i].Fits {
			tight.Clusters[i].Room, tight.Clusters[i].Warn = room(i == 0), i == 0
		}
	}
	for i := range form.Preview.Clusters {
		if form.Preview.Clusters[i].Fits {
			form.Preview.Clusters[i].Room = room(i == 0)
		}
	}
	return map[string]templ.Component{
		"namespaces":             views.Namespaces(admin, namespaces()),
		"namespaces-empty":       views.Namespaces(admin, views.NamespacesView{Self: "/namespaces", CanRegister: true}),
		"namespaces-none":        views.Namespaces(admin, views.NamespacesView{Self: "/namespaces", CanRegister: true, HasClusters: true}),
		"namespaces-filter":      views.Namespaces(admin, views.NamespacesView{Self: "/namespaces", CanRegister: true, HasClusters: true, Filtered: true, Clusters: namespaces().Clusters, Envs: namespaces().Envs}),
		"namespace":              views.Namespace(admin, namespace()),
		"namespace-gone":         views.Namespace(admin, namespaceIn(domain.PresenceMissing)),
		"namespace-ending":       views.Namespace(admin, namespaceIn(domain.PresenceTerminating)),
		"namespace-unknown":      views.Namespace(admin, namespaceIn(domain.PresenceUnknown)),
		"namespace-form":         views.NamespaceForm(admin, namespaceForm(nil, bad("name", "Name in Kubernetes", "small letters, digits and dashes"))),
		"namespace-form-create":  views.NamespaceForm(admin, namespaceForm(&views.NamespaceHelp{Name: "shop-test", Cluster: "fra-test-1", Missing: true, CanCreate: true, Commands: createCommands}, missing)),
		"namespace-form-missing": views.NamespaceForm(admin, namespaceForm(&views.NamespaceHelp{Name: "shop-test", Cluster: "fra-test-1", Missing: true, Commands: createCommands, Rule: createRule}, missing)),
		"namespace-form-away":    views.NamespaceForm(admin, namespaceForm(&views.NamespaceHelp{Name: "shop-test", Cluster: "fra-test-1"}, bad("cluster", "Cluster", "fra-test-1 did not answer in time."))),
		"namespace-delete":       views.NamespaceDelete(admin, views.NamespaceDeleteView{Row: namespaces().Rows[1]}),
		"namespace-in-use":       views.NamespaceDelete(admin, views.NamespaceDeleteView{Row: namespaces().Rows[0]}),
		"ticket-quota":           views.Ticket(shell("Approvals", "approvals", "approver"), tight),
		"request-new-quota":      views.RequestForm(shell("Request VM", "requests", "developer"), form),
	}
}
