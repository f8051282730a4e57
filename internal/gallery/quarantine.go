package gallery

import (
	"maps"
	"time"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// quarantines are the pages of a cluster in quarantine.
func quarantines() map[string]templ.Component {
	sh := shell("Quarantine of fra-prod-1", "clusters", "admin")
	restored := views.QuarantineView{
		Self: paths.ClusterQuarantine("c1"), ClusterID: "c1", Cluster: "fra-prod-1", Environment: domain.Prod, Since: at(12 * time.Minute), ListedAt: at(2 * time.Minute),
		Why: views.ProblemView{
			What: "fra-prod-1 went back in time.", Why: "It was at version 918,204 and is at 883,017. That is so after a restore from a backup.",
		},
		CanAccept: true, Counts: map[domain.FindingGroup]int{domain.FindingGone: 3, domain.FindingBack: 1, domain.FindingChanged: 1284},
	}
	show := func(v views.QuarantineView, g domain.FindingGroup, rows ...views.FindingRow) views.QuarantineView {
		v.Group, v.Rows = g, rows
		return v
	}
	with := func(change func(*views.QuarantineView)) views.QuarantineView {
		v := restored
		v.Counts = maps.Clone(v.Counts)
		change(&v)
		return v
	}
	gone := show(restored, domain.FindingGone,
		views.FindingRow{Namespace: "shop-prod", Name: "shop-redis-11", Href: "/vms/1", Before: "Running · 8 vCPU · 32 GiB memory · 100 GiB disk", After: "Not there"},
		views.FindingRow{Namespace: "shop-prod", Name: "shop-redis-12", Href: "/vms/2", Before: "Provisioning · 8 vCPU · 32 GiB memory · 100 GiB disk", After: "Not there"},
		views.FindingRow{Namespace: "shop-prod", Name: "shop-web-07", Href: "/vms/3", Before: "Stopped · 2 vCPU · 4 GiB memory · 20 GiB disk", After: "Not there"},
	)
	changed := show(restored, domain.FindingChanged,
		views.FindingRow{Namespace: "shop-prod", Name: "shop-redis-01", Href: "/vms/4", Before: "Running · 8 vCPU · 32 GiB memory · 100 GiB disk", After: "Running · 4 vCPU · 16 GiB memory · 100 GiB disk", Different: []string{"vCPU: 8, now 4", "Memory: 32 GiB, now 16 GiB"}},
		views.FindingRow{Namespace: "shop-prod", Name: "shop-redis-02", Href: "/vms/5", Before: "Stopped · 8 vCPU · 32 GiB memory · 100 GiB disk", After: "Running · 8 vCPU · 32 GiB memory · 100 GiB disk", Different: []string{"Older than what Shepherd has seen"}},
		views.FindingRow{Namespace: "shop-prod", Name: "shop-redis-03", Href: "/vms/6", Before: "Running · 8 vCPU · 32 GiB memory · 100 GiB disk", After: "Running · 8 vCPU · 32 GiB memory · 100 GiB disk", Different: []string{"Another object of the same name"}},
	)
	changed.Pager = ui.PagerView{OlderHref: "?group=changed&after=x"}
	conflict := gone
	conflict.Refused = "The differences have changed meanwhile. Nothing was accepted: the list is no longer the one that you saw."
	foreign := with(func(v *views.QuarantineView) {
		v.ListedAt, v.Foreign, v.Counts = nil, true, nil
		v.Why = views.ProblemView{What: "This credential belongs to another cluster than fra-prod-1.", Why: "The UID of the kube-system namespace differs."}
	})
	ask := views.AcceptQuarantineView{ClusterID: "c1", Cluster: "fra-prod-1", Group: domain.FindingGone, Count: 3, Digest: "5d41402abc4b2a76b9719d911017c592"}
	rejected := ask
	rejected.Last, rejected.Errors = true, []ui.FieldError{{Field: "reason", Label: "What happened, and why this is right", Message: "What happened, and why this is right is needed."}}
	accept := shell("Accept", "clusters", "admin")
	return map[string]templ.Component{
		"quarantine":         views.Quarantine(sh, gone),
		"quarantine-changed": views.Quarantine(sh, changed),
		"quarantine-back": views.Quarantine(shell("Quarantine of fra-prod-1", "clusters", "approver"), show(with(func(v *views.QuarantineView) { v.CanAccept = false }), domain.FindingBack,
			views.FindingRow{Namespace: "ci-test", Name: "ci-runner-03", Href: "/vms/7", Before: "Deleted · 2 vCPU · 4 GiB memory · 20 GiB disk", After: "Running · 2 vCPU · 4 GiB memory · 20 GiB disk"},
		)),
		"quarantine-conflict": views.Quarantine(sh, conflict),
		"quarantine-foreign":  views.Quarantine(sh, foreign),
		"quarantine-nothing":  views.Quarantine(sh, with(func(v *views.QuarantineView) { v.Counts = nil })),
		"quarantine-none":     views.Quarantine(sh, views.QuarantineView{ClusterID: "c1", Cluster: "fra-prod-1", Environment: domain.Prod}),
		"quarantine-accept":   views.AcceptQuarantine(accept, ask),
		"quarantine-rejected": views.AcceptQuarantine(accept, rejected),
		"quarantine-end":      views.AcceptQuarantine(accept, views.AcceptQuarantineView{ClusterID: "c1", Cluster: "fra-prod-1"}),
	}
}
