package api

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// RequestRow is a request in a list.
type RequestRow struct {
	Number         int        `json:"number" example:"42" doc:"The ticket TKT-42."`
	Operation      string     `json:"operation" enum:"CREATE,MODIFY,DELETE,START,STOP,RESTART"`
	Title          string     `json:"title" example:"2 × redis"`
	SystemID       string     `json:"system_id" format:"uuid"`
	System         string     `json:"system" example:"shop"`
	ServiceID      string     `json:"service_id" format:"uuid"`
	Service        string     `json:"service" example:"redis"`
	VMID           string     `json:"vm_id,omitempty" format:"uuid" doc:"The VM, of an operation on an existing one."`
	Size           string     `json:"size,omitempty" example:"small"`
	Environment    string     `json:"environment" enum:"test,prod"`
	Status         string     `json:"status" enum:"SUBMITTED,PENDING_APPROVAL,APPROVED,EXECUTING,COMPLETED,FAILED,NEEDS_ATTENTION,REJECTED,CANCELLED,EXPIRED"`
	Requester      string     `json:"requester" example:"li-wei"`
	Own            bool       `json:"own" doc:"I asked."`
	CreatedAt      time.Time  `json:"created_at"`
	ExpiresAt      time.Time  `json:"expires_at" doc:"When it ends if nobody decides."`
	Approver       string     `json:"approver,omitempty" example:"policy:test-create" doc:"Who decided: a user name, or policy: and a name."`
	DecidedAt      *time.Time `json:"decided_at,omitempty"`
	FinishedAt     *time.Time `json:"finished_at,omitempty"`
	DecisionReason string     `json:"decision_reason,omitempty"`
	Problem        *Reason    `json:"problem,omitempty" doc:"Why it waits or failed."`
}

func requestRow(ctx context.Context) func(approval.Row) RequestRow {
	return func(t approval.Row) RequestRow {
		return RequestRow{
			Number: t.Number, Operation: string(t.Operation), Title: t.Title, SystemID: t.SystemID, System: t.System, ServiceID: t.ServiceID, Service: t.Service,
			VMID: t.VMID, Size: t.Size, Environment: string(t.Environment), Status: string(t.Status), Requester: t.Requester, Own: t.Own,
			CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, Approver: t.Approver, DecidedAt: t.DecidedAt, FinishedAt: t.FinishedAt,
			DecisionReason: t.DecisionReason, Problem: problem(ctx, t.Problem),
		}
	}
}

// Request is a request with all that happened to it.
type Request struct {
	RequestRow
	Namespace   string      `json:"namespace" example:"shop-test"`
	Reason      string      `json:"reason" example:"Cache for the load tests."`
	Cluster     string      `json:"cluster,omitempty" doc:"Where it was approved for."`
	Asked       *Spec       `json:"asked,omitempty" doc:"Of a creation: what was asked for."`
	Spec        *Spec       `json:"spec,omitempty" doc:"Of a creation: what holds, with an approver's changes."`
	SSHKeys     []string    `json:"ssh_keys,omitempty"`
	Changes     []Change    `json:"changes" doc:"Where what is approved differs from what was asked."`
	Timeline    []Step      `json:"timeline"`
	VMs         []RequestVM `json:"vms"`
	Deciders    []string    `json:"deciders" doc:"User names of those who can decide, while it waits."`
	CanWithdraw bool        `json:"can_withdraw"`
	CanDecide   bool        `json:"can_decide"`
	CanRetry    bool        `json:"can_retry"`
	Waited      int         `json:"waited_seconds" doc:"Until the decision, or until now."`
	Worked      int         `json:"worked_seconds" doc:"From the decision to the end, or until now."`
}

// Change is a field that an approver changed.
type Change struct {
	Field    string `json:"field" example:"size"`
	Asked    string `json:"asked" example:"large"`
	Approved string `json:"approved" example:"small"`
}

// Step is one line of a request's timeline.
type Step struct {
	Kind   string     `json:"kind" enum:"submitted,policy,decision,work,end"`
	At     *time.Time `json:"at,omitempty" doc:"Not there for what is still to come."`
	By     string     `json:"by,omitempty"`
	Policy string     `json:"policy,omitempty"`
	Reason string     `json:"reason,omitempty"`
	State  string     `json:"state,omitempty" doc:"Status that the step led to."`
}

// RequestVM is what has become of one VM of a request.
type RequestVM struct {
	ID             string  `json:"id" format:"uuid"`
	Name           string  `json:"name" example:"shop-redis-01"`
	State          string  `json:"state" example:"Running"`
	Health         string  `json:"health" enum:"ok,idle,busy,bad"`
	Problem        *Reason `json:"problem,omitempty"`
	Order          string  `json:"order,omitempty" doc:"How its order stands; not there while nobody has decided." example:"COMPLETED"`
	NeedsAttention bool    `json:"needs_attention"`
}

func (r Request) location() string { return "/requests/" + strconv.Itoa(r.Number) }

func requestOf(ctx context.Context, t approval.Request) Request {
	r := Request{
		RequestRow: requestRow(ctx)(t.Row), Namespace: t.Namespace, Reason: t.Reason, Cluster: t.Cluster, Changes: changes(t.Changes), Deciders: usernames(t.Deciders),
		CanWithdraw: t.CanWithdraw, CanDecide: t.CanDecide, CanRetry: t.CanRetry, Waited: seconds(t.Waited), Worked: seconds(t.Worked),
	}
	if t.Operation == domain.OpCreate {
		asked, holds := spec(t.Asked.Spec), spec(t.Spec.Spec)
		r.Asked, r.Spec, r.SSHKeys = &asked, &holds, t.Asked.SSHKeys
	}
	for _, s := range t.Timeline {
		r.Timeline = append(r.Timeline, Step{string(s.Kind), s.At, s.By, s.Policy, s.Reason, string(s.State)})
	}
	for _, m := range t.VMs {
		r.VMs = append(r.VMs, RequestVM{
			ID: m.ID, Name: m.Name, State: string(m.State), Health: string(m.Health), Problem: problem(ctx, m.Problem), Order: string(m.Order), NeedsAttention: m.NeedsAttention,
		})
	}
	return r
}

func changes(list []approval.Change) []Change {
	all := make([]Change, 0, len(list))
	for _, c := range list {
		all = append(all, Change{c.Field, c.Asked, c.Approved})
	}
	return all
}

func usernames(people []account.Person) []string {
	names := make([]string, 0, len(people))
	for _, p := range people {
		names = append(names, p.Username)
	}
	return names
}

// NewRequest asks for new VMs.
type NewRequest struct {
	ServiceID  string   `json:"service_id" format:"uuid"`
	TemplateID string   `json:"template_id" format:"uuid"`
	SizeID     string   `json:"size_id" format:"uuid"`
	Count      int      `json:"count" minimum:"1" maximum:"10" example:"2"`
	DiskGiB    int      `json:"disk_gib" minimum:"1" example:"20"`
	SSHKeys    []string `json:"ssh_keys,omitempty" doc:"OpenSSH public keys."`
	Reason     string   `json:"reason" example:"Cache for the load tests." maxLength:"2000"`
}

func (n NewRequest) input() approval.Input {
	return approval.Input{
		ServiceID: n.ServiceID, TemplateID: n.TemplateID, SizeID: n.SizeID, Count: n.Count, DiskGiB: n.DiskGiB, SSHKeys: n.SSHKeys, Reason: n.Reason,
	}
}

// requestFields are the names of the use case's fields.
var requestFields = map[string]string{"service": "service_id", "template": "template_id", "size": "size_id", "disk": "disk_gib"}

// RequestPreview is what a request would start.
type RequestPreview struct {
	Ready         bool        `json:"ready" doc:"Nothing but a reason is missing."`
	Errors        []Wrong     `json:"errors" doc:"What is missing or wrong."`
	System        string      `json:"system,omitempty"`
	Service       string      `json:"service,omitempty"`
	Namespace     string      `json:"namespace,omitempty"`
	Environment   string      `json:"environment,omitempty" enum:"test,prod"`
	Names         []string    `json:"names" doc:"Names of the VMs, as far as they are free until the approval."`
	CPU           int         `json:"cpu" doc:"vCPU of all VMs together."`
	MemoryMiB     int         `json:"memory_mib" doc:"Of all VMs together."`
	DiskGiB       int         `json:"disk_gib" doc:"Of all VMs together."`
	Policy        string      `json:"policy,omitempty" doc:"The policy that decides what is needed."`
	NeedsApproval bool        `json:"needs_approval"`
	Denied        bool        `json:"denied" doc:"The policy forbids it."`
	Deciders      []string    `json:"deciders" doc:"User names of those who could decide."`
	Clusters      []Placement `json:"clusters"`
}

// Placement is a cluster that VMs could be placed on, or why not.
type Placement struct {
	ID      string  `json:"id" format:"uuid"`
	Name    string  `json:"name" example:"fra-test-1"`
	Fits    bool    `json:"fits"`
	Refusal *Reason `json:"refusal,omitempty"`
	Left    []Left  `json:"left,omitempty" doc:"Of the namespace's quotas there, without what is approved already."`
}

// Left is what is left of one kind of a namespace's quotas.
type Left struct {
	Kind   string `json:"kind" enum:"cpu,cpu_limit,memory,memory_limit,storage,vms,instances,pods,disks"`
	Amount int    `json:"amount" doc:"cpu: thousandths of a vCPU; memory and storage: MiB; the others: a number."`
}

func placements(ctx context.Context, list []cluster.Candidate, rooms map[string]cluster.Room) []Placement {
	all := make([]Placement, 0, len(list))
	for _, c := range list {
		p := Placement{ID: c.ID, Name: c.Name, Fits: c.Refusal == nil, Refusal: refusal(ctx, c.Refusal)}
		room := rooms[c.ID]
		for _, q := range room.Quotas {
			p.Left = append(p.Left, Left{string(q.Kind), room.Left(q)})
		}
		all = append(all, p)
	}
	return all
}

// RequestOptions is what can be asked for.
type RequestOptions struct {
	Templates []TemplateOption `json:"templates"`
	Sizes     []SizeOption     `json:"sizes"`
	MaxCount  int              `json:"max_count" doc:"How many VMs one request may ask for."`
}

// TemplateOption is an image that can be asked for.
type TemplateOption struct {
	ID          string `json:"id" format:"uuid"`
	Name        string `json:"name" example:"debian-12"`
	DisplayName string `json:"display_name,omitempty" example:"Debian 12"`
	Description string `json:"description,omitempty"`
	Version     int    `json:"version"`
	MinDiskGiB  int    `json:"min_disk_gib"`
}

// SizeOption is a shape of VMs that can be asked for.
type SizeOption struct {
	ID         string `json:"id" format:"uuid"`
	Name       string `json:"name" example:"small"`
	CPU        int    `json:"cpu" doc:"vCPU."`
	MemoryMiB  int    `json:"memory_mib"`
	DiskGiB    int    `json:"disk_gib" doc:"What the form proposes."`
	MaxDiskGiB int    `json:"max_disk_gib"`
}

type requestPath struct {
	Number int `path:"ticket" minimum:"1" doc:"Number of the request."`
}

// numbered turns the cursor of a list into that of a list of tickets.
func (p paging) numbered() (approval.Page, error) {
	n, err := p.page().Number()
	return approval.Page{After: n, Limit: p.Limit}, err
}

func cursor(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func (a *API) requests() []Operation {
	const tag = "requests"
	return []Operation{
		op(Operation{ID: "listRequests", Method: "GET", Path: "/requests", Action: domain.TicketList, Tag: tag, Summary: "Requests that I see, the newest first", Pages: []string{"GET /requests"}},
			func(ctx context.Context, actor domain.Actor, in struct {
				paging
				All    bool     `query:"all" doc:"Also those of others."`
				Status []string `query:"status" enum:"SUBMITTED,PENDING_APPROVAL,APPROVED,EXECUTING,COMPLETED,FAILED,NEEDS_ATTENTION,REJECTED,CANCELLED,EXPIRED" doc:"Only these; can be given several times."`
			}) (Page[RequestRow], error) {
				f := approval.RequestFilter{Mine: !in.All}
				for _, s := range in.Status {
					f.States = append(f.States, domain.TicketStatus(s))
				}
				page, err := in.numbered()
				if err != nil {
					return Page[RequestRow]{}, err
				}
				list, err := a.Approval.Requests(ctx, actor, f, page)
				return items(list.Items, cursor(list.Next), requestRow(ctx)), err
			}),
		op(Operation{
			ID: "createRequest", Method: "POST", Path: "/requests", Action: domain.TicketCreate, Tag: tag, Summary: "Ask for new VMs", Status: http.StatusCreated, DryRun: true,
			Text:  "What a policy allows at once is approved when the answer comes; everything else waits for a decision.",
			Pages: []string{"POST /requests"}, fields: requestFields, Conflicts: []string{"DUPLICATE_REQUEST"},
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body NewRequest }) (Request, error) {
			number, err := a.Approval.SubmitCreate(ctx, actor, in.Body.input())
			if err != nil {
				return Request{}, err
			}
			return a.request(ctx, actor, number)
		}),
		op(Operation{
			ID: "previewRequest", Method: "POST", Path: "/requests/preview", Action: domain.TicketCreate, Tag: tag, Summary: "What a request would start",
			Text: "Keeps nothing: who decides, what the VMs would be called, where they fit, and what is still missing.", Pages: []string{"POST /requests/preview"}, fields: requestFields,
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body NewRequest }) (RequestPreview, error) {
			p, err := a.Approval.Preview(ctx, actor, in.Body.input())
			if err != nil {
				return RequestPreview{}, err
			}
			v := RequestPreview{
				Ready: p.Ready, System: p.System, Service: p.Service, Namespace: p.Namespace, Environment: string(p.Environment), Names: p.Names,
				CPU: p.CPU, MemoryMiB: p.MemoryMiB, DiskGiB: p.DiskGiB, Policy: p.Policy, NeedsApproval: p.NeedsApproval, Denied: p.Denied,
				Deciders: usernames(p.Deciders), Clusters: placements(ctx, p.Clusters, p.Rooms),
			}
			for _, e := range apperr.Fields(renamed(p.Errors.Err(), requestFields)) {
				v.Errors = append(v.Errors, WrongField(ctx, e))
			}
			return v, nil
		}),
		op(Operation{ID: "getRequestOptions", Method: "GET", Path: "/requests/options", Action: domain.TicketCreate, Tag: tag, Summary: "Templates and sizes that can be asked for", Pages: []string{"GET /requests/new"}},
			func(ctx context.Context, actor domain.Actor, _ struct{}) (RequestOptions, error) {
				o, err := a.Approval.Options(ctx, actor)
				v := RequestOptions{MaxCount: approval.MaxCount}
				for _, t := range o.Templates {
					v.Templates = append(v.Templates, TemplateOption{t.ID, t.Name, t.DisplayName, t.Description, t.Version, t.MinDiskGiB})
				}
				for _, s := range o.Sizes {
					v.Sizes = append(v.Sizes, SizeOption{s.ID, s.Name, s.CPU, s.MemoryMiB, s.DiskGiB, s.MaxDiskGiB})
				}
				return v, err
			}),
		op(Operation{ID: "getRequest", Method: "GET", Path: "/requests/{ticket}", Action: domain.TicketRead, Tag: tag, Summary: "One request, with all that happened to it", Pages: []string{"GET /requests/{ticket}"}},
			func(ctx context.Context, actor domain.Actor, in requestPath) (Request, error) {
				return a.request(ctx, actor, in.Number)
			}),
		op(Operation{
			ID: "withdrawRequest", Method: "POST", Path: "/requests/{ticket}/withdraw", Action: domain.TicketWithdraw, Tag: tag, Summary: "Take an undecided request back",
			Pages: []string{"POST /requests/{ticket}/withdraw"}, Conflicts: []string{"ALREADY_DECIDED"},
		}, func(ctx context.Context, actor domain.Actor, in requestPath) (Request, error) {
			if err := a.Approval.Withdraw(ctx, actor, in.Number); err != nil {
				return Request{}, err
			}
			return a.request(ctx, actor, in.Number)
		}),
		op(Operation{
			ID: "retryRequest", Method: "POST", Path: "/requests/{ticket}/retry", Action: domain.TicketRetry, Tag: tag, Summary: "Carry out again what failed", Status: http.StatusAccepted,
			Text: "On the same approval.", Pages: []string{"POST /requests/{ticket}/retry"}, Conflicts: []string{"TICKET_CHANGED", "VM_BUSY"},
		}, func(ctx context.Context, actor domain.Actor, in requestPath) (Request, error) {
			if err := a.Approval.Retry(ctx, actor, in.Number); err != nil {
				return Request{}, err
			}
			return a.request(ctx, actor, in.Number)
		}),
		{
			ID: "exportEvidence", Method: "POST", Path: "/requests/{ticket}/evidence", Action: domain.TicketExport, Tag: tag, Summary: "The evidence of a request, as an archive", Status: http.StatusOK, Streams: true,
			Text: "That somebody takes it is on record.", Pages: []string{"POST /requests/{ticket}/evidence"}, input: reflect.TypeFor[requestPath](),
		},
	}
}

func (a *API) request(ctx context.Context, actor domain.Actor, number int) (Request, error) {
	t, err := a.Approval.Request(ctx, actor, number)
	if err != nil {
		return Request{}, err
	}
	return requestOf(ctx, t), nil
}
