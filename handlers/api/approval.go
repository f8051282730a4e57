package api

import (
	"context"
	"strconv"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
)

// Approval is a request where it is decided.
type Approval struct {
	RequestRow
	Version    int         `json:"version" doc:"Travels with the decision."`
	SpecHash   string      `json:"spec_hash" doc:"Fingerprint of what is shown. Travels with the decision: what you see is what you sign."`
	Namespace  string      `json:"namespace" example:"shop-test"`
	Reason     string      `json:"reason" doc:"Of the requester."`
	Asked      *Spec       `json:"asked,omitempty" doc:"Of a creation: what was asked for."`
	Spec       *Spec       `json:"spec,omitempty" doc:"Of a creation: what holds, with an approver's changes."`
	SSHKeys    []string    `json:"ssh_keys,omitempty"`
	Changes    []Change    `json:"changes"`
	ClusterID  string      `json:"cluster_id,omitempty" format:"uuid" doc:"Of the decision."`
	Cluster    string      `json:"cluster,omitempty"`
	Clusters   []Placement `json:"clusters" doc:"Of a creation that waits: where it fits."`
	Target     *Target     `json:"target,omitempty" doc:"The VM, of an operation on an existing one."`
	Policy     string      `json:"policy,omitempty" doc:"The policy that wants the approval."`
	Deciders   []string    `json:"deciders" doc:"User names of those who can decide."`
	Facts      Facts       `json:"requester_facts"`
	MayDecide  bool        `json:"may_decide"`
	Refusal    *Reason     `json:"refusal,omitempty" doc:"Why I cannot decide it."`
	Place      int         `json:"place,omitzero" doc:"In my queue, from 1."`
	QueueTotal int         `json:"queue_total,omitzero" doc:"How long my queue is."`
}

func (t Approval) location() string { return "/approvals/" + strconv.Itoa(t.Number) }
func (t Approval) etag() string     { return strconv.Itoa(t.Version) + "-" + t.SpecHash }

// Target is the VM that a request is about.
type Target struct {
	ID        string  `json:"id" format:"uuid"`
	Name      string  `json:"name" example:"shop-redis-01"`
	Namespace string  `json:"namespace"`
	Cluster   string  `json:"cluster"`
	State     string  `json:"state" example:"Running"`
	Health    string  `json:"health" enum:"ok,idle,busy,bad"`
	Problem   *Reason `json:"problem,omitempty"`
	Refusal   *Reason `json:"refusal,omitempty" doc:"Why the operation cannot be carried out now."`
}

// Facts help to judge a requester.
type Facts struct {
	VMs      int `json:"vms" doc:"That exist because of earlier requests."`
	Asked    int `json:"asked_90_days"`
	Approved int `json:"approved_90_days"`
}

func approvalOf(ctx context.Context, t approval.Ticket) Approval {
	v := Approval{
		RequestRow: requestRow(ctx)(t.Row), Version: t.Version, SpecHash: t.SpecHash, Namespace: t.Asked.Namespace, Reason: t.Reason, Changes: changes(t.Changes),
		ClusterID: t.ClusterID, Cluster: t.Cluster, Clusters: placements(ctx, t.Clusters, t.Rooms), Policy: t.Policy, Deciders: usernames(t.Deciders),
		Facts: Facts{t.Facts.VMs, t.Facts.Asked, t.Facts.Approved}, MayDecide: t.MayDecide, Refusal: refusal(ctx, t.Refusal), Place: t.Place, QueueTotal: t.Of,
	}
	if t.Operation == domain.OpCreate {
		asked, holds := spec(t.Asked.Spec), spec(t.Spec.Spec)
		v.Asked, v.Spec, v.SSHKeys = &asked, &holds, t.Asked.SSHKeys
	}
	if m := t.Target; m != nil {
		v.Target = &Target{
			ID: m.ID, Name: m.Name, Namespace: m.Namespace, Cluster: m.Cluster, State: string(m.State), Health: string(m.Health),
			Problem: problem(ctx, m.Problem), Refusal: refusal(ctx, m.Refusal),
		}
	}
	return v
}

// ApprovalAges count what waits for me.
type ApprovalAges struct {
	All   int `json:"all"`
	Over4 int `json:"days_4_to_7" doc:"Of them, waiting 4 to 7 days."`
	Over7 int `json:"days_7_or_more" doc:"Of them, waiting 7 days or more."`
}

// Decision is an approver's answer.
type Decision struct {
	Decision   string `json:"decision" enum:"approve,reject"`
	Version    int    `json:"version" doc:"Of the request that was read."`
	SpecHash   string `json:"spec_hash" doc:"Of the request that was read."`
	Reason     string `json:"reason,omitempty" maxLength:"2000" doc:"Needed for a no, and for a change."`
	ClusterID  string `json:"cluster_id,omitempty" format:"uuid" doc:"Where new VMs go. It can be left out when only one cluster fits."`
	TemplateID string `json:"template_id,omitempty" format:"uuid" doc:"Another template than was asked for."`
	SizeID     string `json:"size_id,omitempty" format:"uuid" doc:"Another size than was asked for."`
	Count      int    `json:"count,omitzero" doc:"Another number of VMs than was asked for."`
	DiskGiB    int    `json:"disk_gib,omitzero" doc:"Another disk than was asked for."`
}

// on is the decision about a ticket: what it leaves out is as asked.
func (d Decision) on(t approval.Ticket) approval.Decision {
	out := t.Unchanged(d.ClusterID)
	out.Approve, out.Version, out.SpecHash, out.Reason = d.Decision == "approve", d.Version, d.SpecHash, d.Reason
	if d.TemplateID != "" {
		out.TemplateID = d.TemplateID
	}
	if d.SizeID != "" {
		out.SizeID = d.SizeID
	}
	if d.Count != 0 {
		out.Count = d.Count
	}
	if d.DiskGiB != 0 {
		out.DiskGiB = d.DiskGiB
	}
	var fit []string
	for _, c := range t.Clusters {
		if c.Refusal == nil {
			fit = append(fit, c.ID)
		}
	}
	if out.ClusterID == "" && len(fit) == 1 {
		out.ClusterID = fit[0]
	}
	return out
}

func (a *API) approvals() []Operation {
	const tag = "approvals"
	return []Operation{
		op(Operation{ID: "listApprovals", Method: "GET", Path: "/approvals", Action: domain.TicketQueue, Tag: tag, Summary: "The queue of an approver", Pages: []string{"GET /approvals"}},
			func(ctx context.Context, actor domain.Actor, in struct {
				paging
				View        string `query:"view" enum:"open,mine,all" default:"open" doc:"open: what waits, the oldest first. mine: what I decided. all: everything, the newest first."`
				Environment string `query:"environment" enum:"test,prod"`
				Operation   string `query:"operation" enum:"CREATE,MODIFY,DELETE,START,STOP,RESTART"`
				Query       string `query:"q" maxLength:"100" doc:"Part of a title, requester, system or service; or a number."`
			}) (Page[RequestRow], error) {
				page, err := in.numbered()
				if err != nil {
					return Page[RequestRow]{}, err
				}
				list, err := a.Approval.Queue(ctx, actor, approval.QueueFilter{
					View: approval.View(in.View), Environment: domain.Environment(in.Environment), Operation: domain.Operation(in.Operation), Query: in.Query,
				}, page)
				return items(list.Items, cursor(list.Next), requestRow(ctx)), err
			}),
		op(Operation{ID: "countApprovals", Method: "GET", Path: "/approvals/ages", Action: domain.TicketQueue, Tag: tag, Summary: "How much waits, and for how long"},
			func(ctx context.Context, actor domain.Actor, _ struct{}) (ApprovalAges, error) {
				n, err := a.Approval.Ages(ctx, actor)
				return ApprovalAges{n.All, n.Over4, n.Over7}, err
			}),
		op(Operation{
			ID: "getApproval", Method: "GET", Path: "/approvals/{ticket}", Action: domain.TicketReview, Tag: tag, Summary: "A request with all that a decision needs",
			Pages: []string{"GET /approvals/{ticket}"},
		}, func(ctx context.Context, actor domain.Actor, in requestPath) (Approval, error) {
			return a.approval(ctx, actor, in.Number)
		}),
		op(Operation{
			ID: "decide", Method: "POST", Path: "/approvals/{ticket}/decision", Action: domain.TicketDecide, Tag: tag, Summary: "Approve or reject a request",
			Text:   "Send back `version` and `spec_hash` of what was read. When it changed meanwhile, or somebody else decided, the answer is 409 and nothing is decided.",
			Pages:  []string{"POST /approvals/{ticket}"},
			fields: map[string]string{"template": "template_id", "size": "size_id", "disk": "disk_gib", "cluster": "cluster_id"}, Conflicts: []string{"ALREADY_DECIDED", "TICKET_CHANGED", "REQUESTER_CLOSED"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			requestPath
			Body Decision
		}) (Approval, error) {
			t, err := a.Approval.Ticket(ctx, actor, in.Number)
			if err != nil {
				return Approval{}, err
			}
			if in.Body.Decision == "" {
				return Approval{}, required("decision")
			}
			if err := a.Approval.Decide(ctx, actor, in.Number, in.Body.on(t)); err != nil {
				return Approval{}, err
			}
			return a.approval(ctx, actor, in.Number)
		}),
	}
}

func (a *API) approval(ctx context.Context, actor domain.Actor, number int) (Approval, error) {
	t, err := a.Approval.Ticket(ctx, actor, number)
	if err != nil {
		return Approval{}, err
	}
	return approvalOf(ctx, t), nil
}
