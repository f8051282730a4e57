package gallery

import (
	"time"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

var now = time.Date(2026, 11, 24, 14, 32, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func at(d time.Duration) *time.Time { t := ago(d); return &t }

const day = 24 * time.Hour

func shell(title, nav, user string) views.Shell {
	return views.Shell{
		Title: title, Nav: nav, Now: now, Version: "0.1", Approvals: 14, Unread: 2, Path: "/",
		User: views.UserView{Name: user, RoleLabel: "Approver, platform", CanApprove: user != "developer", IsAdmin: user == "admin", CanAudit: user == "admin"},
	}
}

func requestForm() views.RequestFormView {
	return views.RequestFormView{
		Services: []ui.Option{
			{Value: "", Label: "Choose a service"},
			{Value: "s1", Label: "shop / redis · prod", Selected: true},
			{Value: "s2", Label: "ci / runner · test"},
		},
		Templates: []views.PickView{
			{Value: "t1", Title: "redis-7", Text: "Debian 12, tuned kernel", Note: "used by this service"},
			{Value: "t2", Title: "debian-12", Text: "Plain server"},
			{Value: "t3", Title: "ubuntu-2404", Text: "Plain server"},
			{Value: "t4", Title: "ubuntu-2004", Text: "Plain server", Note: "Use ubuntu-2404. Archived on 1 Dec"},
		},
		Sizes: []views.PickView{
			{Value: "z1", Title: "general-small", Text: "2 vCPU, 4 GiB\n20 GiB disk"},
			{Value: "z2", Title: "general-medium", Text: "4 vCPU, 16 GiB\n50 GiB disk"},
			{Value: "z3", Title: "general-large", Text: "8 vCPU, 32 GiB\n100 GiB disk"},
			{Value: "z4", Title: "general-xlarge", Text: "16 vCPU, 64 GiB", Note: "For prod only", Disabled: true},
		},
		Values: views.RequestValues{
			Service: "s1", Template: "t1", Size: "z3", Count: "2", Disk: "100",
			SSHKeys: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE9fK2 developer@laptop",
			Reason:  "Cache for the winter sale: load tests show 70% hit rate needs two more nodes by 1 December.",
		},
		MaxCount: 50,
		Preview: views.RequestPreview{
			Ready: true, Environment: domain.Prod, Namespace: "shop-prod", NeedsApproval: true,
			Policy:   "Every new VM needs one yes from somebody else.",
			Deciders: []string{"approver", "shop-lead"},
			Names:    []string{"shop-redis-11", "shop-redis-12"},
			Count:    2, Size: "general-large", CPU: 16, MemoryMiB: 65536, DiskGiB: 200,
			Clusters: []views.ClusterFit{
				{Name: "fra-prod-1", Fits: true, Reason: "healthy"},
				{Name: "fra-prod-2", Fits: true, Reason: "healthy"},
				{Name: "ams-prod-1", Reason: "does not answer since 13:58"},
				{Name: "east", Reason: "takes test VMs only"},
			},
		},
	}
}

func rejectedForm() views.RequestFormView {
	v := requestForm()
	v.Values.Count, v.Values.Reason, v.Values.Size = "400", "", ""
	v.Values.SSHKeys = "-----BEGIN OPENSSH PRIVATE KEY-----"
	v.Errors = []ui.FieldError{
		{Field: "size", Label: "Size", Message: "choose one"},
		{Field: "count", Label: "Number of VMs", Message: "at most 50 in one request"},
		{Field: "ssh_keys", Label: "SSH public keys", Message: "Line 1 is a private key. Paste the .pub file, and make a new key pair: this one has left your computer."},
		{Field: "reason", Label: "Reason", Message: "Write one or two sentences: what it is for and by when you need it."},
	}
	v.Preview = views.RequestPreview{Environment: domain.Prod, Missing: "Choose a size to see what is created and where it fits."}
	return v
}

func requests() views.RequestsView {
	row := func(n int, op domain.Operation, what, size string, st domain.TicketStatus, age time.Duration) views.RequestRow {
		return views.RequestRow{Number: n, Operation: op, What: what, Size: size, System: "shop", Service: "redis", Environment: domain.Prod,
			Requester: "developer", State: st, Status: views.TicketState(st), SubmittedAt: ago(age)}
	}
	return views.RequestsView{
		Self: "/requests?scope=all", All: true,
		Scopes: []ui.Segment{{Label: "Mine", Href: "/requests", Count: 4}, {Label: "All I may see", Href: "/requests?scope=all", Count: -1, Current: true}},
		States: []ui.Segment{{Label: "All", Href: "/requests", Count: -1, Current: true}, {Label: "Waiting", Href: "/requests?state=waiting", Count: 1},
			{Label: "Under way", Href: "/requests?state=busy", Count: 1}, {Label: "Closed", Href: "/requests?state=closed", Count: -1}},
		Rows: []views.RequestRow{
			row(2418, domain.OpCreate, "2 × redis", "memory-large", domain.TicketPending, 25*time.Hour),
			row(2412, domain.OpCreate, "1 × redis", "general-small", domain.TicketExecuting, 27*time.Hour),
			row(2409, domain.OpCreate, "2 × redis", "memory-large", domain.TicketFailed, 50*time.Hour),
			row(2402, domain.OpDelete, "shop-redis-04", "", domain.TicketCompleted, 4*day),
			row(2398, domain.OpStop, "shop-redis-05", "", domain.TicketRejected, 5*day),
			row(2390, domain.OpCreate, "9 × redis", "general-large", domain.TicketCancelled, 8*day),
		},
		Pager: ui.PagerView{Summary: "1–6 of 38", OlderHref: "/requests?after=2390"},
	}
}

func request() views.RequestView {
	return views.RequestView{
		Self: "/requests/2409", Number: 2409, Operation: domain.OpCreate, What: "2 × redis", Environment: domain.Prod,
		System: "shop", Service: "redis", ServiceHref: "/services/s1", Requester: "developer", Own: true, SubmittedAt: ago(50 * time.Hour),
		Status: ui.StatusView{Label: "1 of 2 running, 1 failed", Role: ui.Bad, Glyph: "failed"},
		Problem: &views.RequestProblem{
			What: "No node in fra-prod-1 has 32 GiB of memory free",
			Why:  "shop-redis-07 waited 30 minutes for a place. The largest gap is 28 GiB on node fra-w09.",
			Next: []string{"Retry when a node is free. The approval still holds.", "Ask for general-medium (16 GiB), which fits now. Needs a new approval."},

			Technical: "0/16 nodes are available: 16 Insufficient memory.", CanRetry: true,
		},
		VMs: []views.RequestVM{
			{ID: "v8", Name: "shop-redis-08", Status: ui.StatusView{Label: "Running", Role: ui.OK, Glyph: "running"}},
			{ID: "v7", Name: "shop-redis-07", Status: ui.StatusView{Label: "Cannot be scheduled", Role: ui.Bad, Glyph: "failed"}, Sentence: "No node in fra-prod-1 has 32 GiB free."},
		},
		Timeline: []ui.TimelineItem{
			{State: "ok", Title: "Submitted", By: "developer", At: at(50 * time.Hour), Text: "“One replica per room, so a rack failure does not empty the cache.”"},
			{State: "ok", Title: "Approved with a change", By: "approver", At: at(21 * time.Hour), Text: "“48 GiB is not needed for this hit rate.”"},
			{State: "bad", Title: "Creating on fra-prod-1", At: at(21 * time.Hour), Text: "1 of 2 failed"},
			{State: "todo", Title: "All running, then this request is closed"},
		},
		Approved: true,
		Spec: []views.SpecLine{
			{Label: "Template", Asked: "redis-7", Approved: "redis-7"}, {Label: "Size", Asked: "memory-large", Approved: "general-large"},
			{Label: "Each", Asked: "8 vCPU, 32 GiB"}, {Label: "Count", Asked: "2", Approved: "2"}, {Label: "Cluster", Asked: "fra-prod-1"},
			{Label: "Namespace", Asked: "shop-prod", Mono: true},
		},
		Decision: &views.DecisionView{By: "approver", Verb: "approved", Reason: "48 GiB is not needed for this hit rate, 32 is what the others have.", At: ago(21 * time.Hour)},
		Waited:   "1 d 4 h", Worked: "5 min, then failed",
	}
}

func pendingRequest() views.RequestView {
	v := request()
	v.Number, v.Self, v.Problem, v.VMs, v.Decision, v.Approved, v.Worked = 2418, "/requests/2418", nil, nil, nil, false, ""
	v.Status, v.CanWithdraw = views.TicketState(domain.TicketPending), true
	v.Timeline = []ui.TimelineItem{v.Timeline[0], {State: "wait", Title: "Waiting for a decision", Text: "approver or shop-lead can decide."}}
	v.Spec = []views.SpecLine{{Label: "Template", Asked: "redis-7"}, {Label: "Size", Asked: "memory-large"}}
	return v
}

func queue() views.QueueView {
	fits := ui.StatusView{Label: "Fits", Role: ui.OK, Glyph: "done"}
	row := func(n int, op domain.Operation, what, system, service, size string, e domain.Environment, who string, age time.Duration) views.QueueRow {
		return views.QueueRow{Number: n, Operation: op, What: what, System: system, Service: service, Size: size, Environment: e, Requester: who, Since: ago(age), Fits: fits}
	}
	v := views.QueueView{
		Self: "/approvals", View: "waiting", Waiting: 14, Over4: 2, Over7: 1,
		Views: []ui.Segment{{Label: "Waiting", Href: "/approvals", Count: 14, Current: true}, {Label: "Decided by me", Href: "/approvals?view=mine", Count: -1}, {Label: "All", Href: "/approvals?view=all", Count: -1}},
		Envs:  []ui.Option{{Label: "Any environment"}, {Value: "test", Label: "test"}, {Value: "prod", Label: "prod"}},
		Kinds: []ui.Option{{Label: "Any kind"}, {Value: "CREATE", Label: "Create"}, {Value: "DELETE", Label: "Delete"}},
		Rows: []views.QueueRow{
			row(2389, domain.OpCreate, "3 × postgres", "payments", "ledger", "memory-xlarge", domain.Prod, "payments-dev", 7*day+4*time.Hour),
			row(2402, domain.OpDelete, "logistics-tracking-11", "logistics", "tracking", "", domain.Prod, "logistics-dev", 4*day+6*time.Hour),
			row(2408, domain.OpCreate, "2 × checkout-api", "shop", "checkout-api", "general-medium", domain.Prod, "shop-dev-2", 2*day+21*time.Hour),
			row(2418, domain.OpCreate, "2 × redis", "shop", "redis", "memory-large", domain.Prod, "developer", 25*time.Hour),
			row(2422, domain.OpRestart, "ci-runner-871", "ci", "runner", "", domain.Test, "ci-bot", 19*time.Hour),
			row(2431, domain.OpCreate, "1 × routing", "logistics", "routing", "general-small", domain.Prod, "approver", 18*time.Minute),
		},
		Pager: ui.PagerView{Summary: "1–6 of 14", OlderHref: "/approvals?after=x"},
	}
	v.Rows[0].Fits = ui.StatusView{Label: "No cluster fits", Role: ui.Bad, Glyph: "failed"}
	v.Rows[1].Fits = ui.StatusView{}
	v.Rows[4].Fits = ui.StatusView{}
	v.Rows[5].Own = true
	return v
}

func ticket() views.TicketView {
	return views.TicketView{
		Number: 2418, Version: 3, SpecHash: "9f31c07a", Mode: views.TicketOpen, Operation: domain.OpCreate, What: "2 × redis", Environment: domain.Prod,
		System: "shop", Service: "redis", Requester: "developer", Since: ago(25 * time.Hour), Status: views.TicketState(domain.TicketPending),
		Place: "8 of 14", PrevHref: "/approvals/2414", NextHref: "/approvals/2420",
		Reason: "Cache for the winter sale: load tests show 70% hit rate needs two more nodes by 1 December.",
		Spec: []views.SpecField{
			{Name: "template", Label: "Template", Asked: "redis-7, version 4", Value: "t1", Options: []ui.Option{{Value: "t1", Label: "redis-7, version 4", Selected: true}, {Value: "t2", Label: "debian-12, version 11"}}},
			{Name: "size", Label: "Size", Asked: "memory-large · 8 vCPU, 48 GiB", Value: "z3", Changed: true, Options: []ui.Option{{Value: "z3", Label: "general-large · 8 vCPU, 32 GiB", Selected: true}, {Value: "z9", Label: "memory-large · 8 vCPU, 48 GiB"}}},
			{Name: "count", Label: "Count", Asked: "2", Value: "2", Unit: "VMs"},
			{Name: "disk", Label: "Disk", Asked: "100 GiB", Value: "80", Unit: "GiB", Changed: true},
			{Label: "Namespace", Asked: "shop-prod"},
			{Label: "Names", Asked: "shop-redis-11, shop-redis-12"},
			{Label: "SSH keys", Asked: "1 key"},
		},
		NeedsCluster: true,
		Clusters: []views.ClusterChoice{
			{ID: "c2", Name: "fra-prod-2", Fits: true, Selected: true, Text: "Healthy, checked 12 s ago. KubeVirt 1.6.2."},
			{ID: "c1", Name: "fra-prod-1", Fits: true, Warn: true, Text: "Fits, but one of 16 nodes is not ready."},
			{ID: "c3", Name: "ams-prod-1", Text: "Does not answer since 13:58."},
			{ID: "c4", Name: "edge-ber-1", Text: "Takes test VMs only."},
		},
		Policy: "Creating a VM in prod needs one approval.",
		Checks: []views.CheckView{
			{State: domain.CheckOK, Title: "Template redis-7 is active"}, {State: domain.CheckOK, Title: "Size is allowed in prod"},
			{State: domain.CheckOK, Title: "You are not the requester"}, {State: domain.CheckWarn, Title: "2 other requests wait for fra-prod-2"},
		},
		RequesterFacts: []views.Fact{{Label: "Role", Value: "Maintainer of shop"}, {Label: "Last 90 days", Value: "11 asked, 10 approved"}, {Label: "Running", Value: "9 VMs"}},
		Answer:         "32 GiB is what the others have, on the cluster with room.",
	}
}

func ticketIn(mode views.TicketMode) views.TicketView {
	v := ticket()
	v.Mode = mode
	switch mode {
	case views.TicketOwn:
		v.Number, v.What, v.Service, v.CanWithdraw, v.Answer = 2431, "1 × routing", "routing", true, ""
		v.Checks[2] = views.CheckView{State: domain.CheckFailed, Title: "You asked for this, so you cannot decide it"}
		v.Deciders = []views.DeciderView{{Name: "shop-lead", Why: "Approver for prod"}, {Name: "platform-admin", Why: "Platform admin"}, {Name: "approver", Why: "You asked, so you cannot decide", Locked: true}}
		v.RequesterFacts, v.NeedsCluster = nil, false
	case views.TicketConflict:
		v.Status = views.TicketState(domain.TicketRejected)
		v.Conflict = &views.ConflictView{What: "shop-lead rejected this request at 14:31, while you were reading it", Quote: "Two more nodes are planned with the new rack next week."}
		v.Decision = &views.DecisionView{By: "shop-lead", Verb: "rejected", Reason: "Two more nodes are planned with the new rack next week.", At: ago(time.Minute)}
	case views.TicketDecided:
		v.Status, v.NeedsCluster = views.TicketState(domain.TicketCompleted), false
		v.Decision = &views.DecisionView{By: "approver", Verb: "approved", Reason: "As agreed.", At: ago(time.Hour)}
	}
	return v
}

func deleteTicket() views.TicketView {
	v := ticket()
	v.Number, v.Operation, v.What, v.Spec, v.NeedsCluster, v.Clusters = 2402, domain.OpDelete, "shop-redis-04", nil, false, nil
	v.Target = &views.TargetView{
		ID: "v4", Name: "shop-redis-04", Status: ui.StatusView{Label: "Stopped", Role: ui.Idle, Glyph: "stopped"},
		Effect: "The VM and its disk of 100 GiB are removed from fra-prod-1. This cannot be undone.",
		Facts: []views.Fact{{Label: "Cluster", Value: "fra-prod-1"}, {Label: "Namespace", Value: "shop-prod", Mono: true}, {Label: "Size", Value: "general-large · 8 vCPU, 32 GiB"},
			{Label: "Disk", Value: "100 GiB, deleted with it"}, {Label: "IP", Value: "", Mono: true}},
	}
	v.Errors = []ui.FieldError{{Field: "reason", Label: "Reason", Message: "Say why you reject it."}}
	v.Answer = ""
	return v
}

func clusters() views.ClustersView {
	return views.ClustersView{
		Self: "/clusters", Total: 4, CanAdd: true, CheckEvery: 30 * time.Second,
		Problems: []views.ClusterProblem{{ID: "c3", What: "ams-prod-1 has not answered since 13:58 UTC (34 min).", Effect: "Its 212 VMs are shown as they were then. New requests avoid it.", Severe: true}},
		Rows: []views.ClusterRow{
			{ID: "c3", Name: "ams-prod-1", Place: "Amsterdam", Status: domain.ClusterUnreachable, Why: "Timed out after 5 s, 68 tries in a row", CheckedAt: at(34 * time.Minute), Environment: domain.Prod, KubeVirt: "1.6.2", Kubernetes: "1.33.4", Features: []string{"live migration", "snapshots"}, VMs: 212, Namespaces: 4, Stale: true},
			{ID: "c5", Name: "fra-test-1", Place: "Frankfurt, room A", Status: domain.ClusterUnhealthy, Why: "virt-handler is down on 2 of 12 nodes", CheckedAt: at(4 * time.Second), Environment: domain.Test, KubeVirt: "1.6.2", Kubernetes: "1.33.4", Features: []string{"live migration"}, VMs: 121, Namespaces: 2},
			{ID: "c6", Name: "lab-gpu-1", Status: domain.ClusterUnknown, Why: "The first check is running", Environment: domain.Test},
			{ID: "c1", Name: "fra-prod-1", Place: "Frankfurt, room A", Status: domain.ClusterHealthy, Why: "All 6 checks pass", CheckedAt: at(21 * time.Second), Environment: domain.Prod, KubeVirt: "1.6.2", Kubernetes: "1.33.4", Features: []string{"live migration", "snapshots", "hotplug"}, VMs: 688, Namespaces: 12},
		},
		Pager: ui.PagerView{Summary: "1–4 of 4"},
	}
}

const missingRole = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: shepherd-missing
rules:
  - apiGroups: [subresources.kubevirt.io]
    resources: [virtualmachines/stop, virtualmachines/restart]
    verbs: [update]
`

func checks() []views.CheckView {
	return []views.CheckView{
		{State: domain.CheckOK, Title: "Reachable", Text: "Answered in 38 ms at 10.60.0.10:6443"},
		{State: domain.CheckOK, Title: "TLS certificate", Text: "Signed by the cluster’s own CA, valid until 14 Mar 2027"},
		{State: domain.CheckOK, Title: "Credentials", Text: "Signed in as serviceaccount shepherd-system:shepherd"},
		{State: domain.CheckOK, Title: "Kubernetes", Text: "1.33.4"},
		{State: domain.CheckOK, Title: "KubeVirt", Text: "1.6.2 is ready on 16 of 16 nodes"},
		{State: domain.CheckWarn, Title: "Storage", Text: "No default class. Templates have to name one."},
		{State: domain.CheckFailed, Title: "Permissions", Text: "3 of 22 permissions are missing.", Next: "Without them Shepherd could create VMs here but not stop or restart them."},
	}
}

func cluster() views.ClusterView {
	row := clusters().Rows[1]
	return views.ClusterView{
		Self: "/clusters/c5", Row: row, CanCheck: true, CanRegister: true, Checks: checks(), Missing: missingRole,
		Problem:    &views.ProblemView{What: "virt-handler is down on 2 of 12 nodes", Why: "fra-t04 and fra-t09 do not report.", Next: "VMs there keep running, but cannot be stopped. Look at the DaemonSet virt-handler.", Technical: "DaemonSet kubevirt/virt-handler: 10/12 ready"},
		Excess:     []string{"read all secrets"},
		Facts:      []views.Fact{{Label: "Server", Value: "https://10.60.0.10:6443", Mono: true}, {Label: "Kubernetes", Value: "1.33.4"}, {Label: "KubeVirt", Value: "1.6.2"}, {Label: "Nodes", Value: "12, 12 ready"}, {Label: "Identity", Value: "6e1f5f0e-8a8a-4e30-b8d6-6f1a34a0b6ce", Mono: true}},
		Namespaces: namespaces().Rows,
	}
}

func catalog() views.CatalogView {
	both := []domain.Environment{domain.Test, domain.Prod}
	return views.CatalogView{
		CanCreate: true,
		Templates: []views.TemplateRow{
			{Name: "redis-7", System: "Redis 7 on Debian 12", Version: 4, Image: "docker://registry.example/debian-12-redis:7.4.1", Environments: both, State: "active", VMs: 38},
			{Name: "gpu-notebook", System: "Ubuntu 24.04 with CUDA", Version: 2, Image: "docker://registry.example/ubuntu-2404-cuda:12.8", Environments: both[:1], State: "draft", VMs: 1, Note: "Waits for lab-gpu-1"},
			{Name: "ubuntu-2004", System: "Ubuntu 20.04", Version: 19, Image: "docker://registry.example/ubuntu-2004:20250530", Environments: both, State: "deprecated", VMs: 44, Note: "Use ubuntu-2404"},
		},
		Sizes: []views.SizeRow{
			{Name: "general-small", CPU: 2, MemoryMiB: 4096, DiskGiB: 20, Environments: both, State: "active", VMs: 1021},
			{Name: "tiny", CPU: 1, MemoryMiB: 1024, DiskGiB: 8, Environments: both[:1], State: "archived", VMs: 3},
		},
	}
}

func audit() views.AuditView {
	done := ui.StatusView{Label: "Done", Role: ui.OK, Glyph: "done"}
	return views.AuditView{
		Query: "redis", Total: 184220, Actions: []ui.Option{{Label: "Any action"}, {Value: "request.approve", Label: "request.approve"}},
		Results: auditResults(), Sealed: "All are sealed.", CSV: "/audit/export?format=csv", JSONL: "/audit/export?format=jsonl",
		Rows: []views.AuditRow{
			{Entry: 184220, At: ago(48 * time.Second), Who: "shop-lead", Action: "request.reject", On: "TKT-2418", OnHref: "/requests/2418", Detail: "Two more nodes are planned with the new rack", From: "10.8.0.41", Result: done, Toggle: "/audit?entry=184220"},
			{Entry: 183902, At: ago(21 * time.Hour), Who: "shepherd", Behind: "developer", Action: "vm.create", On: "shop-redis-07", OnHref: "/vms/v7", Detail: "Cannot be scheduled after 30 min", Result: ui.StatusView{Label: "Failed", Role: ui.Bad, Glyph: "failed"}, Toggle: "/audit?entry=183902"},
			{Entry: 183887, At: ago(22 * time.Hour), Who: "approver", Action: "request.approve", On: "TKT-2409", OnHref: "/requests/2409", Detail: "1 field changed", From: "10.8.0.22", Result: done, Toggle: "/audit", Open: true,
				Kind: "ticket", History: "/audit?type=ticket&id=2409", Changes: []views.AuditChange{{Field: "status", Before: "PENDING_APPROVAL", After: "APPROVED"}, {Field: "size", Before: "memory-large", After: "general-large"}, {Field: "cluster", After: "fra-prod-1"}},
				Facts: []views.AuditFact{{Label: "Reason", Value: "48 GiB is not needed."}, {Label: "Request id", Value: "01JDD8Q4T7", Mono: true}}},
		},
		Saved: views.AuditSaved{Query: "q=redis", Filters: []views.AuditFilter{
			{ID: "f1", Name: "Redis", Href: "/audit?q=redis", Current: true, MayDelete: true}, {ID: "f2", Name: "Refused in prod", Href: "/audit?result=refused", Shared: true, By: "auditor"},
		}},
		Pager: ui.PagerView{Summary: "1–3 of 214", OlderHref: "/audit?after=183887"},
	}
}

func inbox() views.InboxView {
	return views.InboxView{
		Self: "/notifications", Unread: 1, Pager: ui.PagerView{Summary: "1–2 of 2"},
		Items: []views.NotificationItem{
			{ID: "m1", Mark: ui.StatusView{Label: "Failed", Role: ui.Bad, Glyph: "failed"}, Title: "TKT-2409: 1 of 2 VMs failed", Text: "No node in fra-prod-1 has 32 GiB of memory free.", Href: "/requests/2409", At: ago(20 * time.Hour), Unread: true},
			{ID: "m2", Mark: ui.StatusView{Label: "Approved", Role: ui.OK, Glyph: "done"}, Title: "TKT-2409 was approved with a change", Text: "By approver.", Href: "/requests/2409", At: ago(21 * time.Hour)},
		},
	}
}

// work are the pages of requests, approvals, clusters, catalog and records in
// the states that matter.
func work() map[string]templ.Component {
	developer, approver, admin := shell("Request VM", "requests", "developer"), shell("Approvals", "approvals", "approver"), shell("Clusters", "clusters", "admin")
	building := views.ClustersView{Self: "/clusters", CanAdd: true, DemoProgress: &views.ProgressView{Stage: views.ProgressBuild, Done: 820, Total: 2050, Percent: 40}}
	badTicket := ticket()
	badTicket.Errors = []ui.FieldError{{Field: "disk", Label: "Disk", Message: "at least 10 GiB"}, {Field: "cluster", Label: "Cluster", Message: "choose one"}, {Field: "reason", Label: "Reason", Message: "say why you change it"}}
	empty := requestForm()
	empty.Values, empty.Preview = views.RequestValues{Count: "1"}, views.RequestPreview{}

	proved, decided := request(), ticketIn(views.TicketDecided)
	proved.MayPack, decided.MayPack = true, true

	return map[string]templ.Component{
		"request-new":        views.RequestForm(developer, requestForm()),
		"request-new-empty":  views.RequestForm(developer, empty),
		"request-new-errors": views.RequestForm(developer, rejectedForm()),
		"requests":           views.Requests(developer, requests()),
		"requests-empty":     views.Requests(developer, views.RequestsView{Self: "/requests"}),
		"request":            views.RequestPage(developer, request()),
		"request-auditor":    views.RequestPage(admin, proved),
		"request-pending":    views.RequestPage(developer, pendingRequest()),
		"approvals":          views.Queue(approver, queue()),
		"approvals-done":     views.Queue(approver, views.QueueView{Self: "/approvals"}),
		"approvals-filter":   views.Queue(approver, views.QueueView{Self: "/approvals", Filtered: true, Waiting: 3, Query: "redsi"}),
		"ticket":             views.Ticket(approver, ticket()),
		"ticket-errors":      views.Ticket(approver, badTicket),
		"ticket-own":         views.Ticket(approver, ticketIn(views.TicketOwn)),
		"ticket-conflict":    views.Ticket(approver, ticketIn(views.TicketConflict)),
		"ticket-decided":     views.Ticket(approver, decided),
		"ticket-delete":      views.Ticket(approver, deleteTicket()),
		"clusters":           views.Clusters(admin, clusters()),
		"clusters-demo":      views.Clusters(admin, building),
		"clusters-empty":     views.Clusters(admin, views.ClustersView{Self: "/clusters", CanAdd: true}),
		"catalog":            views.Catalog(admin, catalog()),
		"template-form":      views.TemplateForm(admin, views.TemplateFormView{MinDisk: "10"}),
		"template-form-version": views.TemplateForm(admin, views.TemplateFormView{
			From: "redis-7", Name: "redis-7", DisplayName: "Debian 12, tuned kernel", Image: "docker://registry.example.com/redis:7.4", MinDisk: "ten",
			CloudInit: "#cloud-config\npackages: [redis", HadCloudInit: true,
			Errors: []ui.FieldError{
				{Field: "min_disk_gib", Label: "Smallest disk, GiB", Message: "write a whole number"},
				{Field: "cloud_init", Label: "First boot", Message: "line 2 is not valid YAML"},
			},
		}),
		"size-form": views.SizeForm(admin, views.SizeFormView{Name: "general-small", CPU: "2", Memory: "4", Disk: "20", MaxDisk: "200"}),
		"size-form-errors": views.SizeForm(admin, views.SizeFormView{
			Name: "General", CPU: "2", Memory: "4", Disk: "400", MaxDisk: "200",
			Errors: []ui.FieldError{{Field: "name", Label: "Name", Message: "small letters, digits and dashes"}, {Field: "disk", Label: "Disk, GiB", Message: "from 1 to 200 GiB"}},
		}),
		"people":             views.People(admin, people()),
		"person-form":        views.PersonForm(admin, views.PersonFormView{Roles: personRoles()}),
		"person-form-errors": views.PersonForm(admin, views.PersonFormView{Username: "lea", Roles: personRoles(), Errors: []ui.FieldError{{Field: "username", Label: "Account name", Message: "the name lea is taken"}}}),
		"person": views.PersonPage(admin, views.PersonView{Sessions: sessionRows()[1:],
			Row: people().Rows[1], Roles: personRoles()[1:2], More: personRoles()[2:], Systems: []views.RoleInSystem{{Name: "shop", Env: "prod", Href: paths.System("s1"), Role: "maintainer"}},
		}),
		"person-last": views.PersonPage(admin, views.PersonView{
			Row: people().Rows[0], Roles: personRoles()[2:], More: personRoles()[1:2], Errors: []ui.FieldError{{Message: "admin is the last admin. Give it to somebody else first."}},
		}),
		"people-leavers":       views.People(admin, views.PeopleView{Leavers: true, Rows: people().Rows[4:]}),
		"people-leavers-empty": views.People(admin, views.PeopleView{Leavers: true}),
		"person-groups": views.PersonPage(admin, views.PersonView{
			Row: people().Rows[2], More: personRoles()[2:], ByGroup: []views.RoleByGroup{{Role: "Approver, test", Via: "shop-team", Href: paths.Group("g1")}},
			Systems: []views.RoleInSystem{{Name: "shop", Env: "prod", Href: paths.System("s1"), Role: "Maintainer", Via: "shop-team"}},
			Groups:  []ui.Crumb{{Label: "shop-team", Href: paths.Group("g1")}},
		}),
		"groups":            views.Groups(admin, views.GroupsView{Rows: groups()}),
		"groups-empty":      views.Groups(admin, views.GroupsView{}),
		"group-form":        views.GroupForm(titled(admin, "New group"), views.GroupFormView{}),
		"group-form-errors": views.GroupForm(titled(admin, "New group"), views.GroupFormView{Name: "Shop Team", External: "shop", Errors: []ui.FieldError{{Field: "name", Label: "Name", Message: "small letters, digits and dashes"}}}),
		"group-edit":        views.GroupForm(titled(admin, "shop-team"), views.GroupFormView{ID: "g1", Name: "shop-team", Description: groups()[0].Description, External: groups()[0].External}),
		"group": views.GroupPage(titled(admin, "shop-team"), views.GroupView{
			Row: groups()[0], More: personRoles()[2:], Roles: personRoles()[1:2],
			Members: []views.GroupMemberRow{
				{ID: "p3", Username: "developer", DisplayName: "Dev Patel", Local: true, Claimed: true},
				{ID: "p4", Username: "lea", Local: true}, {ID: "p5", Username: "tom", Claimed: true, Disabled: true},
			},
			Systems: []views.RoleInSystem{{Name: "shop", Env: "prod", Href: paths.System("s1"), Role: "Maintainer"}},
		}),
		"group-empty":  views.GroupPage(titled(admin, "auditors"), views.GroupView{Row: groups()[1], More: personRoles()[1:]}),
		"group-delete": views.GroupDelete(titled(admin, "shop-team"), views.GroupDeleteView{Row: groups()[0]}),
		"group-delete-last": views.GroupDelete(titled(admin, "shop-team"), views.GroupDeleteView{
			Row: groups()[0], Refused: "shop-team is the last owner. Nobody could give the role back. Give it to somebody else first.",
		}),
		"access": views.Access(admin, views.AccessView{PersonID: "p3", Name: "developer", System: "shop", Asked: true, Parts: []views.AccessPart{
			{Rows: []views.AccessRow{
				{What: "Make systems", Why: "Everybody who is signed in may.", Allowed: true},
				{What: "Decide requests in test", Why: "Approver, test, by the group shop-team", Allowed: true, ChangeHref: paths.Group("g1")},
				{What: "Manage people, groups and roles", Why: "No role reaches this. It takes one of: Platform admin.", ChangeHref: paths.Person("p3")},
			}},
			accessPart(),
		}}),
		"access-none":   views.Access(admin, views.AccessView{PersonID: "p5", Name: "tom", Disabled: true, System: "shp", Asked: true, Parts: []views.AccessPart{{}}}),
		"access-member": views.Access(viewer("What lea may do", "explorer", "developer", paths.Members("s1")), views.AccessView{PersonID: "p4", Name: "lea", SystemID: "s1", System: "shop", Parts: []views.AccessPart{accessPart()}}),
		"transfer":      views.Transfer(viewer("Transfer shop", "explorer", "developer", paths.Members("s1")), transfer()),
		"transfer-errors": views.Transfer(viewer("Transfer shop", "explorer", "developer", paths.Members("s1")), func() views.TransferView {
			v := transfer()
			v.To, v.Errors = "leaa", []ui.FieldError{{Field: "to", Label: "New owner", Message: "Nobody has the account name leaa."}}
			return v
		}()),
		"transfer-confirm": views.Transfer(viewer("Transfer shop", "explorer", "developer", paths.Members("s1")), views.TransferView{SystemID: "s1", System: "shop", Env: "prod", From: "developer", To: "lea", Stays: true, Confirm: true}),
		"transfer-groups":  views.Transfer(viewer("Transfer shop", "explorer", "developer", paths.Members("s1")), views.TransferView{SystemID: "s1", System: "shop", Env: "prod"}),
		"leaver": views.Leaver(admin, views.LeaverView{
			PersonID: "p3", Name: "developer", Groups: []ui.Crumb{{Label: "shop-team", Href: paths.Group("g1")}},
			Systems:  []views.RoleInSystem{{ID: "s1", Name: "shop", Env: "prod", Href: paths.System("s1"), Role: "Owner"}, {ID: "s2", Name: "ci", Env: "test", Href: paths.System("s2"), Role: "Owner"}},
			Programs: []views.LeaverProgram{{ID: "a1", Name: "ci-bot", Href: paths.ServiceAccount("a1")}}, Tokens: 2,
			Requests: []views.LeaverRequest{{Ticket: "TKT-12", Title: "2 × redis", Env: "prod", Href: paths.Request(12), Status: views.TicketState(domain.TicketPending)}},
		}),
		"leaver-empty":        views.Leaver(admin, views.LeaverView{PersonID: "p4", Name: "lea"}),
		"leaver-disabled":     views.Leaver(admin, views.LeaverView{PersonID: "p5", Name: "tom", Disabled: true, Tokens: 1, To: "leaa", Systems: []views.RoleInSystem{{ID: "s1", Name: "shop", Env: "prod", Href: paths.System("s1"), Role: "Owner"}}, Errors: []ui.FieldError{{Field: "to", Label: "New owner", Message: "Nobody has the account name leaa."}}}),
		"members":             views.Members(viewer("Members of shop", "explorer", "developer", paths.Members("s1")), members(true)),
		"members-viewer":      views.Members(viewer("Members of shop", "explorer", "developer", paths.Members("s1")), members(false)),
		"person-link":         views.PersonLink(admin, views.PersonLinkView{Name: "lea", Link: "https://shepherd.example.com/setup/EXAMPLEEXAMPLEEXAMPLEEXAMP", Days: 3}),
		"catalog-empty":       views.Catalog(admin, views.CatalogView{CanCreate: true}),
		"notifications":       views.Inbox(developer, inbox()),
		"notifications-empty": views.Inbox(developer, views.InboxView{Self: "/notifications"}),
	}
}

func people() views.PeopleView {
	return views.PeopleView{Rows: []views.PersonRow{
		{ID: "p1", Username: "admin", RoleLabel: "Platform admin", Self: true, LastSignInAt: beforePtr(2 * hour)},
		{ID: "p2", Username: "approver", DisplayName: "Ada Okafor", RoleLabel: "Approver, prod", Systems: 1, LastSignInAt: beforePtr(21 * hour)},
		{ID: "p3", Username: "developer", DisplayName: "Dev Patel", RoleLabel: "Developer", Systems: 3, LastSignInAt: beforePtr(14 * time.Minute)},
		{ID: "p4", Username: "lea", RoleLabel: "Developer", Invited: true},
		{ID: "p5", Username: "tom", RoleLabel: "Auditor", Disabled: true, LastSignInAt: beforePtr(7 * days)},
	}}
}

func members(owner bool) views.MembersView {
	return views.MembersView{
		SystemID: "s1", System: "shop", Env: "prod", CanChange: owner,
		Rows: []views.MemberRow{
			{ID: "p3", Username: "developer", DisplayName: "Dev Patel", Role: "owner", RoleLabel: "Owner", Self: owner},
			{ID: "p4", Username: "lea", Role: "maintainer", RoleLabel: "Maintainer"},
			{ID: "p6", Username: "max", Role: "maintainer", RoleLabel: "Maintainer", Via: "shop-team"},
		},
		Groups: []views.MemberGroup{{ID: "g1", Name: "shop-team", Role: "maintainer", RoleLabel: "Maintainer"}},
		Roles:  []ui.Option{{Value: "maintainer", Label: "Maintainer: makes services, asks for VMs, switches them"}, {Value: "viewer", Label: "Viewer: sees everything in it"}},
	}
}

func groups() []views.GroupRow {
	return []views.GroupRow{
		{ID: "g1", Name: "shop-team", Description: "Who runs the shop", External: "cn=shop,ou=teams", RoleLabel: "Approver, test", People: 3, Systems: 1},
		{ID: "g2", Name: "auditors", RoleLabel: "Auditor"},
	}
}

func titled(s views.Shell, title string) views.Shell {
	s.Title = title
	return s
}

func accessPart() views.AccessPart {
	return views.AccessPart{System: "shop", Env: "prod", Namespace: "prod-shop", Href: paths.System("s1"), Rows: []views.AccessRow{
		{What: "See it, its services and VMs", Why: "Maintainer of this system, by the group shop-team", Allowed: true, ChangeHref: paths.Members("s1")},
		{What: "Ask for VMs", Why: "Maintainer of this system, by the group shop-team", Allowed: true, ChangeHref: paths.Members("s1")},
		{What: "Delete it", Why: "No role reaches this. It takes one of: Platform admin, Owner.", ChangeHref: paths.Members("s1")},
	}}
}

func transfer() views.TransferView {
	return views.TransferView{
		SystemID: "s1", System: "shop", Env: "prod", From: "developer", To: "lea", Stays: true,
		Owners: []ui.Option{{Value: "developer", Label: "developer", Selected: true}, {Value: "max", Label: "max"}},
	}
}

func personRoles() []ui.Option {
	return []ui.Option{{Label: "Developer"}, {Value: "approver:test", Label: "Approver, test", Selected: true}, {Value: "admin", Label: "Platform admin"}}
}
