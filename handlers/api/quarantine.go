package api

import (
	"context"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// Quarantine is why nothing is changed in a cluster, and what is different there.
type Quarantine struct {
	QuarantinedAt *time.Time        `json:"quarantined_at,omitempty" doc:"Not there: the cluster is not in quarantine."`
	Reason        *Reason           `json:"reason,omitempty"`
	ComparedAt    *time.Time        `json:"compared_at,omitempty" doc:"Not there: no complete list was read since it began."`
	Groups        []QuarantineGroup `json:"groups" doc:"The groups that are not empty. The quarantine ends when each is accepted."`
}

// QuarantineGroup is a kind of difference.
type QuarantineGroup struct {
	Group  string `json:"group" enum:"gone,back,changed" doc:"gone: Shepherd has the VM, the cluster has not. back: the cluster has it, Shepherd has deleted it or has never known it. changed: it is older, another object, or has another size."`
	Count  int    `json:"count"`
	Digest string `json:"digest" doc:"Of what the findings say. Accepting names it."`
}

// Finding is one difference.
type Finding struct {
	VMID      string    `json:"vm_id,omitempty" format:"uuid" doc:"Not there: Shepherd knows no such VM."`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Before    *Observed `json:"before,omitempty" doc:"What Shepherd knows."`
	After     *Observed `json:"after,omitempty" doc:"What is there."`
}

// Observed is one side of a difference. What is not known is not there.
type Observed struct {
	UID             string `json:"uid,omitempty"`
	ResourceVersion string `json:"resource_version,omitempty"`
	State           string `json:"state,omitempty" example:"Running"`
	CPU             int    `json:"cpu,omitempty" doc:"vCPU."`
	MemoryMiB       int    `json:"memory_mib,omitempty"`
	DiskGiB         int    `json:"disk_gib,omitempty"`
}

func observed(o domain.Observed) *Observed {
	if o == (domain.Observed{}) {
		return nil
	}
	return &Observed{o.UID, o.ResourceVersion, string(o.State), o.CPU, o.MemoryMiB, o.DiskGiB}
}

// Acceptance accepts a group of findings.
type Acceptance struct {
	Group  string `json:"group,omitempty" enum:"gone,back,changed" doc:"Left out, to end a quarantine in which nothing is different."`
	Digest string `json:"digest,omitempty" maxLength:"64" doc:"Of the group, as it was read. When it is another one now, nothing is accepted."`
	Reason string `json:"reason" maxLength:"500" doc:"What happened, for the audit log."`
}

func (a *API) quarantines() []Operation {
	const tag, path = "clusters", "/clusters/{cluster}/quarantine"
	return []Operation{
		op(Operation{ID: "getQuarantine", Method: "GET", Path: path, Action: domain.ClusterRead, Tag: tag, Summary: "Whether a cluster is in quarantine, and why", Pages: []string{"GET " + path}},
			func(ctx context.Context, actor domain.Actor, in clusterPath) (Quarantine, error) {
				return a.quarantine(ctx, actor, in.Cluster)
			}),
		op(Operation{ID: "listFindings", Method: "GET", Path: path + "/findings", Action: domain.ClusterRead, Tag: tag, Summary: "What is different in a quarantined cluster"},
			func(ctx context.Context, actor domain.Actor, in struct {
				clusterPath
				paging
				Group string `query:"group" enum:"gone,back,changed" required:"true"`
			}) (Page[Finding], error) {
				list, err := a.VMs.Findings(ctx, actor, in.Cluster, domain.FindingGroup(in.Group), in.page())
				return items(list.Items, list.Next, func(f vm.Finding) Finding {
					return Finding{f.VMID, f.Namespace, f.Name, observed(f.Before), observed(f.After)}
				}), err
			}),
		op(Operation{
			ID: "compareQuarantine", Method: "POST", Path: path + "/read", Action: domain.ClusterAccept, Tag: tag, Summary: "Compare a quarantined cluster again, now",
			Pages: []string{"POST " + path + "/read"}, Conflicts: []string{"NOT_QUARANTINED"},
		}, func(ctx context.Context, actor domain.Actor, in clusterPath) (Quarantine, error) {
			if err := a.VMs.CompareQuarantine(ctx, actor, in.Cluster); err != nil {
				return Quarantine{}, err
			}
			return a.quarantine(ctx, actor, in.Cluster)
		}),
		op(Operation{
			ID: "acceptQuarantine", Method: "POST", Path: path + "/accept", Action: domain.ClusterAccept, Tag: tag, Summary: "Accept a group of what is different in a quarantined cluster",
			Text:  "gone: the VMs are missing, and open orders to create them fail. back: the VMs stay, and wait for adoption. changed: Shepherd takes over the objects that are there.",
			Pages: []string{"POST " + path + "/accept"}, Conflicts: []string{"QUARANTINE_CHANGED", "QUARANTINE_OPEN", "NOT_QUARANTINED", "CLUSTER_IDENTITY_CHANGED"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			clusterPath
			Body Acceptance
		}) (Quarantine, error) {
			_, err := a.VMs.AcceptQuarantine(ctx, actor, in.Cluster, vm.Acceptance{Group: domain.FindingGroup(in.Body.Group), Digest: in.Body.Digest, Reason: in.Body.Reason})
			if err != nil {
				return Quarantine{}, err
			}
			return a.quarantine(ctx, actor, in.Cluster)
		}),
	}
}

func (a *API) quarantine(ctx context.Context, actor domain.Actor, id string) (Quarantine, error) {
	c, err := a.Clusters.Get(ctx, actor, id)
	if err != nil {
		return Quarantine{}, err
	}
	q := Quarantine{QuarantinedAt: c.QuarantinedAt, Reason: problem(ctx, c.QuarantineReason), Groups: []QuarantineGroup{}}
	if at := c.QuarantineReport.ListedAt; !at.IsZero() {
		q.ComparedAt = &at
	}
	for _, g := range domain.FindingGroups() {
		if n, ok := c.QuarantineReport.Groups[g]; ok {
			q.Groups = append(q.Groups, QuarantineGroup{string(g), n.Count, n.Digest})
		}
	}
	return q, nil
}
