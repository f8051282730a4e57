package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// VMRow is a VM in a list.
type VMRow struct {
	ID              string     `json:"id" format:"uuid"`
	Name            string     `json:"name" example:"shop-redis-01"`
	SystemID        string     `json:"system_id" format:"uuid"`
	ServiceID       string     `json:"service_id" format:"uuid"`
	Environment     string     `json:"environment" enum:"test,prod"`
	Instance        int        `json:"instance" example:"1" doc:"Number in its service; never used twice."`
	State           string     `json:"state" example:"Running" doc:"Of KubeVirt, or Requested, Failed, Missing, Deleted."`
	Health          string     `json:"health" enum:"ok,idle,busy,bad"`
	Problem         *Reason    `json:"problem,omitempty" doc:"Why it is not well."`
	IP              string     `json:"ip,omitempty" example:"10.0.0.7"`
	Node            string     `json:"node,omitempty"`
	Cluster         string     `json:"cluster" example:"fra-test-1"`
	Template        string     `json:"template" example:"debian-12"`
	TemplateVersion int        `json:"template_version"`
	Size            string     `json:"size" example:"small"`
	CPU             int        `json:"cpu" doc:"vCPU."`
	MemoryMiB       int        `json:"memory_mib"`
	DiskGiB         int        `json:"disk_gib"`
	Request         int        `json:"request,omitzero" doc:"Number of the request that it was approved with."`
	CreatedBy       string     `json:"created_by"`
	CreatedAt       time.Time  `json:"created_at"`
	StartedAt       *time.Time `json:"started_at,omitempty"`
	ObservedAt      *time.Time `json:"observed_at,omitempty" doc:"When its cluster told this state."`
}

func vmRow(ctx context.Context) func(service.VM) VMRow {
	return func(m service.VM) VMRow {
		return VMRow{
			ID: m.ID, Name: m.Name, SystemID: m.SystemID, ServiceID: m.ServiceID, Environment: string(m.Environment), Instance: m.Instance,
			State: string(m.State), Health: string(m.Health), Problem: problem(ctx, m.Problem), IP: m.IP, Node: m.Node, Cluster: m.Cluster,
			Template: m.Template, TemplateVersion: m.TemplateVersion, Size: m.Size, CPU: m.CPU, MemoryMiB: m.MemoryMiB, DiskGiB: m.DiskGiB,
			Request: m.Ticket, CreatedBy: m.CreatedBy, CreatedAt: m.CreatedAt, StartedAt: m.StartedAt, ObservedAt: m.ObservedAt,
		}
	}
}

type vmFilter struct {
	Health string `query:"health" enum:"ok,idle,busy,bad"`
	Query  string `query:"q" maxLength:"100" doc:"Part of the name, or the start of the IP address."`
}

func (f vmFilter) filter() service.VMFilter {
	return service.VMFilter{Health: domain.Health(f.Health), Query: f.Query}
}

// VM is a VM with its history.
type VM struct {
	ID              string     `json:"id" format:"uuid"`
	Name            string     `json:"name" example:"shop-redis-01"`
	Instance        int        `json:"instance" example:"1" doc:"Number in its service; never used twice."`
	Namespace       string     `json:"namespace" example:"shop-test"`
	Environment     string     `json:"environment" enum:"test,prod"`
	SystemID        string     `json:"system_id" format:"uuid"`
	System          string     `json:"system" example:"shop"`
	ServiceID       string     `json:"service_id" format:"uuid"`
	Service         string     `json:"service" example:"redis"`
	Cluster         string     `json:"cluster" example:"fra-test-1"`
	ClusterStatus   string     `json:"cluster_status" enum:"UNKNOWN,HEALTHY,UNHEALTHY,UNREACHABLE"`
	ClusterAnswered *time.Time `json:"cluster_answered_at,omitempty" doc:"When the cluster last answered to a check."`
	Stale           bool       `json:"stale" doc:"There is no news of the cluster: all of this is the last known state."`
	LastKnownAt     *time.Time `json:"last_known_at,omitempty" doc:"Up to then everything that happened is shown."`
	State           string     `json:"state" example:"Running" doc:"Of KubeVirt, or Requested, Failed, Missing, Deleted."`
	Health          string     `json:"health" enum:"ok,idle,busy,bad"`
	Problem         *Reason    `json:"problem,omitempty" doc:"Why it is not well."`
	IP              string     `json:"ip,omitempty" example:"10.0.0.7"`
	Node            string     `json:"node,omitempty"`
	GuestOS         string     `json:"guest_os,omitempty"`
	UID             string     `json:"uid,omitempty" doc:"Of the object in the cluster."`
	Template        string     `json:"template" example:"debian-12"`
	TemplateVersion int        `json:"template_version"`
	Size            string     `json:"size" example:"small"`
	CPU             int        `json:"cpu" doc:"vCPU."`
	MemoryMiB       int        `json:"memory_mib"`
	DiskGiB         int        `json:"disk_gib"`
	Request         int        `json:"request,omitzero" doc:"Number of the request that it was approved with."`
	CreatedBy       string     `json:"created_by"`
	CreatedAt       time.Time  `json:"created_at"`
	DeletedAt       *time.Time `json:"deleted_at,omitempty"`
	StartedAt       *time.Time `json:"started_at,omitempty"`
	ObservedAt      *time.Time `json:"observed_at,omitempty" doc:"When its cluster told this state."`
	CanOperate      bool       `json:"can_operate" doc:"I may switch it on and off and ask for its deletion."`
	Busy            *VMEvent   `json:"busy,omitempty" doc:"The order that is under way."`
	Waiting         []VMWaits  `json:"waiting" doc:"Requests about this VM that nobody has decided."`
	Events          []VMEvent  `json:"events" doc:"The newest orders and requests, the newest first."`
	Revisions       []Revision `json:"revisions" doc:"Approved specifications, the newest first."`
}

// VMEvent is an order about a VM, or a request for one.
type VMEvent struct {
	ID             string     `json:"id" format:"uuid"`
	Type           string     `json:"type" example:"VM_POWER"`
	Operation      string     `json:"operation" enum:"CREATE,MODIFY,DELETE,START,STOP,RESTART"`
	Status         string     `json:"status" enum:"PENDING,PROCESSING,COMPLETED,FAILED,CANCELLED"`
	Problem        *Reason    `json:"problem,omitempty" doc:"Why it waits or failed."`
	NeedsAttention bool       `json:"needs_attention"`
	Request        int        `json:"request,omitzero"`
	CreatedBy      string     `json:"created_by"`
	CreatedAt      time.Time  `json:"created_at"`
	FinishedAt     *time.Time `json:"finished_at,omitempty"`
}

// VMWaits is a request that nobody has decided.
type VMWaits struct {
	Request   int       `json:"request"`
	Operation string    `json:"operation" enum:"CREATE,MODIFY,DELETE,START,STOP,RESTART"`
	Requester string    `json:"requester"`
	CreatedAt time.Time `json:"created_at"`
}

// Revision is one approved specification of a VM.
type Revision struct {
	Number    int       `json:"number"`
	Spec      Spec      `json:"spec"`
	Request   int       `json:"request,omitzero"`
	CreatedBy string    `json:"created_by" doc:"Who approved it."`
	CreatedAt time.Time `json:"created_at"`
}

func vmOf(ctx context.Context, m vm.View) VM {
	v := VM{
		ID: m.ID, Name: m.Name, Instance: m.Instance, Namespace: m.Namespace, Environment: string(m.Environment), SystemID: m.SystemID, System: m.System,
		ServiceID: m.ServiceID, Service: m.Service, Cluster: m.Cluster, ClusterStatus: string(m.ClusterStatus), ClusterAnswered: m.ClusterAnsweredAt,
		State: string(m.State), Health: string(m.Health), Problem: problem(ctx, m.Problem), IP: m.IP, Node: m.Node, GuestOS: m.GuestOS, UID: m.UID,
		Template: m.Template, TemplateVersion: m.TemplateVersion, Size: m.Size, CPU: m.CPU, MemoryMiB: m.MemoryMiB, DiskGiB: m.DiskGiB,
		Request: m.Ticket, CreatedBy: m.CreatedBy, CreatedAt: m.CreatedAt, DeletedAt: m.DeletedAt, StartedAt: m.StartedAt, ObservedAt: m.ObservedAt,
		CanOperate: m.CanOperate, Stale: m.LastKnown.Stale,
	}
	if !m.LastKnown.Since.IsZero() {
		v.LastKnownAt = &m.LastKnown.Since
	}
	event := func(e vm.Event) VMEvent {
		return VMEvent{
			ID: e.ID, Type: string(e.Type), Operation: string(e.Operation), Status: string(e.Status), Problem: problem(ctx, e.Problem),
			NeedsAttention: e.NeedsAttention, Request: e.Ticket, CreatedBy: e.CreatedBy, CreatedAt: e.CreatedAt, FinishedAt: e.FinishedAt,
		}
	}
	if m.Busy != nil {
		busy := event(*m.Busy)
		v.Busy = &busy
	}
	for _, w := range m.Waiting {
		v.Waiting = append(v.Waiting, VMWaits{w.Ticket, string(w.Operation), w.Requester, w.CreatedAt})
	}
	for _, e := range m.Events {
		v.Events = append(v.Events, event(e))
	}
	for _, r := range m.Revisions {
		v.Revisions = append(v.Revisions, Revision{r.Number, spec(r.Spec), r.Ticket, r.CreatedBy, r.CreatedAt})
	}
	return v
}

// Power is an operation that switches a VM on or off.
type Power struct {
	Operation string `json:"operation" enum:"START,STOP,RESTART"`
	Reason    string `json:"reason,omitempty" maxLength:"2000" doc:"Needed where somebody has to decide: in prod."`
}

// Deletion asks for the end of a VM.
type Deletion struct {
	Confirm string `json:"confirm" example:"shop-redis-01" doc:"The VM's name, so that no other one is deleted by mistake."`
	Reason  string `json:"reason,omitempty" maxLength:"2000"`
}

// Outcome is what became of an operation on a VM.
type Outcome struct {
	Request int  `json:"request,omitzero" doc:"Number of the request that waits for a decision. Not there when none was needed."`
	Ordered bool `json:"ordered" doc:"It is being carried out."`
}

func (o Outcome) location() string {
	if o.Request == 0 {
		return ""
	}
	return "/requests/" + strconv.Itoa(o.Request)
}

func outcome(r approval.Result) Outcome { return Outcome{r.Ticket, r.Ordered} }

type vmPath struct {
	VM string `path:"vm" format:"uuid"`
}

func (a *API) vms() []Operation {
	const tag = "vms"
	return []Operation{
		op(Operation{ID: "listVMs", Method: "GET", Path: "/vms", Action: domain.SystemList, Tag: tag, Summary: "VMs that I see, by name"},
			func(ctx context.Context, actor domain.Actor, in struct {
				vmFilter
				paging
				System  string `query:"system_id" format:"uuid" doc:"Only those of this system."`
				Cluster string `query:"cluster_id" format:"uuid" doc:"Only those of this cluster."`
			}) (Page[VMRow], error) {
				f := in.filter()
				f.ClusterID = in.Cluster
				list, err := a.Services.AllVMs(ctx, actor, in.System, f, in.page())
				return items(list.Items, list.Next, vmRow(ctx)), err
			}),
		op(Operation{ID: "getVM", Method: "GET", Path: "/vms/{vm}", Action: domain.VMRead, Tag: tag, Summary: "One VM, with its history", Pages: []string{"GET /vms/{vm}"}},
			func(ctx context.Context, actor domain.Actor, in vmPath) (VM, error) {
				m, err := a.VMs.Get(ctx, actor, in.VM)
				return vmOf(ctx, m), err
			}),
		op(Operation{
			ID: "powerVM", Method: "POST", Path: "/vms/{vm}/power", Action: domain.VMPower, Tag: tag, Summary: "Start, stop or restart a VM", Status: http.StatusAccepted,
			Text:  "In test it is ordered at once. In prod somebody else decides.",
			Pages: []string{"POST /vms/{vm}/power"}, fields: map[string]string{"do": "operation"}, Conflicts: []string{"VM_STATE", "VM_BUSY", "DUPLICATE_REQUEST"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			vmPath
			Body Power
		}) (Outcome, error) {
			done, err := a.Approval.SubmitPower(ctx, actor, in.VM, domain.Operation(in.Body.Operation), in.Body.Reason)
			return outcome(done), err
		}),
		op(Operation{
			ID: "deleteVM", Method: "POST", Path: "/vms/{vm}/deletion", Action: domain.VMDelete, Tag: tag, Summary: "Ask for the deletion of a VM and its disks", Status: http.StatusAccepted,
			Pages: []string{"POST /vms/{vm}/delete"}, fields: map[string]string{"typed": "confirm"}, Conflicts: []string{"VM_BUSY", "DUPLICATE_REQUEST"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			vmPath
			Body Deletion
		}) (Outcome, error) {
			done, err := a.Approval.SubmitDelete(ctx, actor, in.VM, in.Body.Reason, in.Body.Confirm)
			return outcome(done), err
		}),
	}
}
