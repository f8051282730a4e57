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
	one.Rows[0].Year = true
	return map[string]templ.Component{
		"audit":        views.AuditLog(admin, whole),
		"audit-object": views.AuditLog(admin, one),
		"audit-filter": views.AuditLog(admin, views.AuditView{Filtered: true, Total: 12, Actions: whole.Actions, Results: auditResults()}),
		"audit-empty":  views.AuditLog(admin, views.AuditView{Actions: whole.Actions, Results: auditResults()}),
	}
}

func auditResults() []ui.Option {
	return []ui.Option{{Label: "Any result"}, {Value: "done", Label: "Done"}, {Value: "refused", Label: "Refused"}, {Value: "failed", Label: "Failed"}}
}
