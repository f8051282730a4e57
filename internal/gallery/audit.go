package gallery

import (
	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// record are the pages of the audit log in the states that matter.
func record() map[string]templ.Component {
	admin := shell("Audit log", "audit", "admin")
	whole := audit()
	one := audit()
	one.Query, one.Filtered, one.Total = "", true, 184220
	one.Object = views.AuditObject{Type: "vm", ID: "0190a3c0-1111-7000-8000-000000000007", Name: "shop-redis-07", All: "/audit"}
	one.From, one.To, one.Sealed = "2025-01-01", "2025-12-31", "184,217 sealed, 3 waiting for the seal."
	one.Rows = one.Rows[1:2]
	one.Saved.Filters = nil
	worker := audit()
	worker.Query, worker.For, worker.Filtered, worker.Rows = "", "developer", true, worker.Rows[1:2]
	worker.Rows[0].Open, worker.Rows[0].Kind, worker.Rows[0].History = true, "vm", "/audit?type=vm&id=v7"
	worker.Rows[0].Changes = []views.AuditChange{{Field: "state", Before: "Requested", After: "Failed"}}
	worker.Rows[0].Facts = []views.AuditFact{
		{Label: "On behalf of", Value: "developer", Href: "/audit?for=developer"}, {Label: "By", Value: "the job VM_CREATE"}, {Label: "Job id", Value: "0190a3c0-2222-7000-8000-000000000001", Mono: true},
		{Label: "Approver", Value: "approver"}, {Label: "Ticket", Value: "TKT-2409", Href: "/requests/2409"},
	}
	wrong := audit()
	wrong.Saved.Name, wrong.Saved.Shared = "Refused in prod", true
	wrong.Saved.Errors = []ui.FieldError{{Field: "name", Label: "Name of the filter", Message: "The name Refused in prod is taken. Choose another one."}}
	return map[string]templ.Component{
		"audit":        views.AuditLog(admin, whole),
		"audit-worker": views.AuditLog(admin, worker),
		"audit-save":   views.AuditLog(admin, wrong),
		"audit-object": views.AuditLog(admin, one),
		"audit-filter": views.AuditLog(admin, views.AuditView{Filtered: true, Total: 12, Actions: whole.Actions, Results: auditResults()}),
		"audit-empty":  views.AuditLog(admin, views.AuditView{Actions: whole.Actions, Results: auditResults()}),
	}
}

func auditResults() []ui.Option {
	return []ui.Option{{Label: "Any result"}, {Value: "done", Label: "Done"}, {Value: "refused", Label: "Refused"}, {Value: "failed", Label: "Failed"}}
}
