package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// AuditEntry is one entry of the audit log.
type AuditEntry struct {
	Number       int            `json:"number"`
	At           time.Time      `json:"at"`
	Actor        string         `json:"actor" example:"li-wei"`
	Action       string         `json:"action" example:"ticket.approve"`
	Result       string         `json:"result" enum:"done,refused,failed"`
	ResourceType string         `json:"resource_type,omitempty" example:"ticket"`
	ResourceID   string         `json:"resource_id,omitempty"`
	ResourceName string         `json:"resource_name,omitempty" example:"TKT-42"`
	SystemID     string         `json:"system_id,omitempty" format:"uuid"`
	Reason       string         `json:"reason,omitempty"`
	Details      map[string]any `json:"details,omitempty"`
	IP           string         `json:"ip,omitempty" doc:"For admins and auditors only."`
	RequestID    string         `json:"request_id,omitempty" doc:"For admins and auditors only."`
}

func auditEntry(r audit.Row) AuditEntry {
	return AuditEntry{
		Number: r.Number, At: r.At, Actor: r.Actor, Action: r.Action, Result: r.Result, ResourceType: r.ResourceType, ResourceID: r.ResourceID, ResourceName: r.ResourceName,
		SystemID: r.SystemID, Reason: r.Reason, Details: r.Details, IP: r.IP, RequestID: r.RequestID,
	}
}

type auditFilter struct {
	Query        string    `query:"q" maxLength:"200" doc:"Part of the actor, the action, the resource's name, the reason or the details; or an id or address."`
	Actor        string    `query:"actor" doc:"User name."`
	Action       string    `query:"action" example:"ticket.approve" doc:"Or all of a noun, with a dot at the end: ticket."`
	Result       string    `query:"result" enum:"done,refused,failed"`
	SystemID     string    `query:"system_id" format:"uuid"`
	ResourceType string    `query:"resource_type" example:"vm"`
	ResourceID   string    `query:"resource_id"`
	From         time.Time `query:"from" doc:"From this moment on."`
	To           time.Time `query:"to" doc:"Until before this moment."`
}

func (f auditFilter) filter() audit.Filter {
	return audit.Filter{
		Query: f.Query, Actor: f.Actor, Action: f.Action, SystemID: f.SystemID, ResourceType: f.ResourceType, ResourceID: f.ResourceID, Result: f.Result, From: f.From, To: f.To,
	}
}

type exportInput struct {
	auditFilter
	Format string `query:"format" enum:"csv,jsonl" required:"true"`
}

func (a *API) audit() []Operation {
	const tag = "audit"
	return []Operation{
		op(Operation{ID: "listAudit", Method: "GET", Path: "/audit", Action: domain.AuditRead, Tag: tag, Summary: "Entries of the audit log, the newest first", Pages: []string{"GET /audit"}},
			func(ctx context.Context, actor domain.Actor, in struct {
				auditFilter
				paging
			}) (Page[AuditEntry], error) {
				list, err := a.Audit.List(ctx, actor, in.filter(), in.page())
				return items(list.Items, list.Next, auditEntry), err
			}),
		{
			ID: "exportAudit", Method: "GET", Path: "/audit/export", Action: domain.AuditExport, Tag: tag, Summary: "All entries of a filter, as an archive", Status: http.StatusOK, Streams: true,
			Text:  "A ZIP file with the entries and a manifest, which is the last file: an archive that was cut off has none. That somebody exports is on record.",
			Pages: []string{"GET /audit/export"}, input: reflect.TypeFor[exportInput](),
		},
	}
}

// Export begins the export that a request asks for; package handlers writes it.
func (a *API) Export(r *http.Request, actor domain.Actor) (*audit.Export, error) {
	var in exportInput
	if err := decode(reflect.ValueOf(&in).Elem(), r, nil, false); err != nil {
		return nil, err
	}
	return a.Audit.Export(r.Context(), actor, in.filter(), in.Format)
}
