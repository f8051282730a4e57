package api

import (
	"context"
	"net/http"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// Cluster is a KubeVirt cluster.
type Cluster struct {
	ID                string         `json:"id" format:"uuid"`
	Name              string         `json:"name" example:"fra-test-1"`
	Place             string         `json:"place,omitempty" example:"Frankfurt"`
	Environment       string         `json:"environment" enum:"test,prod"`
	Enabled           bool           `json:"enabled" doc:"Not so: it is left alone. It is not checked, not watched, and nothing is done there."`
	Drained           bool           `json:"drained" doc:"It takes no new VMs."`
	Weight            int            `json:"weight" doc:"New VMs are proposed where weight times free memory is largest; never with 0."`
	Hardware          []string       `json:"hardware" doc:"What an admin says that it has, for the templates that need it."`
	Server            string         `json:"server" example:"https://fra-test-1.example.org:6443"`
	CreatedBy         string         `json:"created_by"`
	CreatedAt         time.Time      `json:"created_at"`
	Status            string         `json:"status" enum:"UNKNOWN,HEALTHY,UNHEALTHY,UNREACHABLE"`
	Reason            *Reason        `json:"reason,omitempty" doc:"Why it is not healthy."`
	KubernetesVersion string         `json:"kubernetes_version,omitempty"`
	KubeVirtVersion   string         `json:"kubevirt_version,omitempty"`
	Features          []string       `json:"features" doc:"Feature gates of KubeVirt that are in effect."`
	FeaturesOn        []string       `json:"features_on" doc:"Those of them that are switched on; the others are on by default in its version."`
	FeaturesOff       []string       `json:"features_off" doc:"Feature gates that are switched off."`
	APIs              []string       `json:"apis" doc:"Served groups and versions of KubeVirt, CDI and snapshots."`
	StorageClasses    []StorageClass `json:"storage_classes"`
	Nodes             int            `json:"nodes"`
	ReadyNodes        int            `json:"ready_nodes"`
	VMs               int            `json:"vms"`
	CheckedAt         *time.Time     `json:"checked_at,omitempty"`
	AnsweredAt        *time.Time     `json:"answered_at,omitempty"`
	HeardAt           *time.Time     `json:"heard_at,omitempty" doc:"Up to then everything that happened to its VMs is known."`
	QuarantinedAt     *time.Time     `json:"quarantined_at,omitempty" doc:"Since then nothing is changed there."`
	CredentialExpires *time.Time     `json:"credential_expires_at,omitempty" doc:"Absent: never, or the credential does not say."`
	CredentialKind    string         `json:"credential_kind,omitempty" enum:"token,certificate"`
	CredentialSubject string         `json:"credential_subject,omitempty" doc:"Whom it signs in." example:"system:serviceaccount:kubevirt-shepherd:kubevirt-shepherd"`
	CredentialState   string         `json:"credential_state" enum:"good,ends_soon,ended" doc:"Soon is 30 days ahead. Replacing it is up to people, on the pages."`

	settings string
}

func (c Cluster) etag() string { return c.settings }

func (c Cluster) location() string { return "/clusters/" + c.ID }

// StorageClass is a storage class of a cluster.
type StorageClass struct {
	Name    string `json:"name"`
	Default bool   `json:"default"`
}

func clusterOf(ctx context.Context) func(cluster.Cluster) Cluster {
	return func(c cluster.Cluster) Cluster {
		v := Cluster{
			ID: c.ID, Name: c.Name, Place: c.Place, Environment: string(c.Environment), Enabled: c.Enabled, Server: c.Server, CreatedBy: c.CreatedBy, CreatedAt: c.CreatedAt,
			Status: string(c.Status), Reason: problem(ctx, c.Reason), KubernetesVersion: c.KubernetesVersion, KubeVirtVersion: c.KubeVirtVersion, Features: c.Features,
			Nodes: c.Nodes, ReadyNodes: c.ReadyNodes, VMs: c.VMs, CheckedAt: c.CheckedAt, AnsweredAt: c.AnsweredAt, CredentialExpires: c.CredentialExpiresAt,
			Drained: c.Drained, Weight: c.Weight, Hardware: c.Hardware, FeaturesOn: c.Capabilities.Gates, FeaturesOff: c.Capabilities.DisabledGates, APIs: c.Capabilities.APIs,
			HeardAt: c.HeardAt, QuarantinedAt: c.QuarantinedAt, CredentialKind: c.CredentialKind, CredentialSubject: c.CredentialSubject, settings: c.Settings().Version(),
		}
		for _, s := range c.StorageClasses {
			v.StorageClasses = append(v.StorageClasses, StorageClass{s.Name, s.Default})
		}
		v.CredentialKind, v.CredentialSubject, v.CredentialState = c.CredentialKind, c.CredentialSubject, "good"
		if e := c.Ending(time.Now()); e != nil && e.Ended {
			v.CredentialState = "ended"
		} else if e != nil {
			v.CredentialState = "ends_soon"
		}
		return v
	}
}

// Capacity is what the nodes of a cluster can give, and what VMs ask of it.
type Capacity struct {
	ID          string `json:"id" format:"uuid"`
	Name        string `json:"name"`
	Environment string `json:"environment" enum:"test,prod"`
	Allocatable Usage  `json:"allocatable" doc:"Zero when no check has seen the nodes."`
	On          Usage  `json:"on" doc:"Of VMs that are on, or on their way."`
	Off         Usage  `json:"off" doc:"Of VMs that are stopped: it would come on top."`
}

// Usage is an amount of what VMs run on.
type Usage struct {
	CPU       int `json:"cpu" doc:"vCPU."`
	MemoryMiB int `json:"memory_mib"`
}

// Kubeconfig is an upload. Nothing of it comes back but names and reasons.
type Kubeconfig struct {
	FileName   string `json:"file_name,omitempty" example:"fra.kubeconfig" maxLength:"200"`
	Kubeconfig string `json:"kubeconfig" writeOnly:"true" doc:"The file's text, at most 64 KiB."`
}

// ClusterDraft is a cluster that is being added. It ends after half an hour.
type ClusterDraft struct {
	ID               string         `json:"id" format:"uuid"`
	FileName         string         `json:"file_name"`
	UploadedAt       time.Time      `json:"uploaded_at"`
	ExpiresAt        time.Time      `json:"expires_at"`
	Contexts         []DraftContext `json:"contexts"`
	Current          string         `json:"current_context,omitempty"`
	PreflightContext string         `json:"preflight_context,omitempty" doc:"The context that was looked through last."`
	Preflight        *Preflight     `json:"preflight,omitempty" doc:"What was found through it."`
}

func (d ClusterDraft) location() string { return "/cluster-drafts/" + d.ID }

// DraftContext is one context of an uploaded kubeconfig.
type DraftContext struct {
	Name      string      `json:"name"`
	Server    string      `json:"server,omitempty"`
	Kind      string      `json:"kind,omitempty" example:"token"`
	Subject   string      `json:"subject,omitempty"`
	ExpiresAt *time.Time  `json:"expires_at,omitempty"`
	Refusal   *Reason     `json:"refusal,omitempty" doc:"Why it cannot be chosen."`
	Warnings  []Reason    `json:"warnings" doc:"What the file makes one think twice about."`
	Preflight *Preflight  `json:"preflight,omitempty" doc:"What was found through it."`
	Known     *ClusterRef `json:"known,omitempty" doc:"The cluster that it leads to, when that is here already: it cannot be added again."`
	Ready     bool        `json:"ready" doc:"A cluster can be added through it."`
}

// ClusterRef names a cluster.
type ClusterRef struct {
	ID   string `json:"id" format:"uuid"`
	Name string `json:"name"`
}

// Preflight is what was found before a cluster is added.
type Preflight struct {
	Passed   bool             `json:"passed" doc:"The cluster can be added."`
	Checks   []PreflightCheck `json:"checks"`
	Missing  []string         `json:"missing" doc:"Permissions that the credential lacks: verb and resource." example:"create virtualmachines.kubevirt.io"`
	Optional []string         `json:"optional" doc:"Likewise, those that one can do without."`
	Excess   []string         `json:"excess" doc:"Permissions that it should not have."`
}

// PreflightCheck is one check.
type PreflightCheck struct {
	ID     string  `json:"id" enum:"dns,reachable,tls,credentials,kubernetes,kubevirt,permissions,privilege,cdi,snapshots,storage,instancetypes"`
	State  string  `json:"state" enum:"ok,warn,failed,not_run"`
	Reason *Reason `json:"reason,omitempty"`
}

func draftOf(ctx context.Context, d cluster.Draft) ClusterDraft {
	v := ClusterDraft{ID: d.ID, FileName: d.FileName, UploadedAt: d.UploadedAt, ExpiresAt: d.ExpiresAt, Current: d.Current, PreflightContext: d.PreflightContext}
	for _, c := range d.Contexts {
		row := DraftContext{
			Name: c.Name, Server: c.Server, Kind: c.Kind, Subject: c.Subject, ExpiresAt: c.ExpiresAt,
			Refusal: refusal(ctx, c.Refusal), Preflight: preflightOf(ctx, c.Preflight), Ready: c.Ready(),
		}
		for _, w := range c.Warnings {
			row.Warnings = append(row.Warnings, Reason{Code: w.Code, Message: i18n.Text(i18n.Lang(ctx), w.Code, w.Params), Params: w.Params})
		}
		if c.Known != nil {
			row.Known = &ClusterRef{c.Known.ID, c.Known.Name}
		}
		if c.Name == d.PreflightContext {
			v.Preflight = row.Preflight
		}
		v.Contexts = append(v.Contexts, row)
	}
	return v
}

func preflightOf(ctx context.Context, found *domain.Preflight) *Preflight {
	if found == nil {
		return nil
	}
	p := Preflight{Passed: found.Passed(), Excess: found.Excess}
	for _, c := range found.Checks {
		p.Checks = append(p.Checks, PreflightCheck{c.ID, string(c.State), problem(ctx, domain.Problem{Code: c.Code, Params: c.Params})})
	}
	p.Missing, p.Optional = permissions(found.Missing), permissions(found.Optional)
	return &p
}

// permissions writes rules as verb and resource: "create virtualmachines.kubevirt.io".
func permissions(rules []domain.ResourceRule) []string {
	var list []string
	for _, r := range rules {
		name := r.Resource
		if r.Group != "" {
			name += "." + r.Group
		}
		list = append(list, r.Verb+" "+name)
	}
	return list
}

// PreflightContext chooses a context, or all.
type PreflightContext struct {
	Context string `json:"context,omitempty" maxLength:"253"`
	All     bool   `json:"all,omitempty" doc:"Instead of one context: all that nobody has looked through. Five in a minute are; ask again for the others."`
}

// NewCluster adds the cluster of a draft.
type NewCluster struct {
	DraftID     string `json:"draft_id" format:"uuid"`
	Context     string `json:"context" maxLength:"253" doc:"Of the uploaded file."`
	Name        string `json:"name" example:"fra-test-1" maxLength:"63" doc:"RFC 1035 label."`
	Environment string `json:"environment" enum:"test,prod"`
	Place       string `json:"place,omitempty" maxLength:"100" example:"Frankfurt"`
}

// ClusterSettings are what admins set of a cluster.
type ClusterSettings struct {
	Place    string   `json:"place,omitempty" maxLength:"100" example:"Frankfurt"`
	Weight   int      `json:"weight" minimum:"0" maximum:"1000" example:"100"`
	Hardware []string `json:"hardware,omitempty" maxItems:"50" doc:"Qualified names as Kubernetes has them." example:"gpu.example.com/a100"`
}

// ClusterMode says how Shepherd works with a cluster.
type ClusterMode struct {
	Do string `json:"do" enum:"drain,undrain,disable,enable" doc:"drain: no new VMs. disable: leave it alone."`
}

// ClusterEvent is something that changed at a cluster, or went wrong there.
type ClusterEvent struct {
	ID      string    `json:"id" format:"uuid"`
	Kind    string    `json:"kind" enum:"status,version,features,apis,storage,nodes,credential,mode,quarantine,error"`
	Before  string    `json:"before,omitempty" doc:"Of features, APIs and storage classes: what went."`
	After   string    `json:"after,omitempty" doc:"Of features, APIs and storage classes: what came."`
	Problem *Reason   `json:"problem,omitempty"`
	Count   int       `json:"count" doc:"How often the same happened in a row."`
	At      time.Time `json:"at"`
	LastAt  time.Time `json:"last_at"`
}

// ClusterOrder is work for a cluster that is not finished.
type ClusterOrder struct {
	ID             string    `json:"id" format:"uuid"`
	VMID           string    `json:"vm_id,omitempty" format:"uuid" doc:"Not there when I may not know of the VM."`
	VM             string    `json:"vm,omitempty"`
	Operation      string    `json:"operation" enum:"CREATE,MODIFY,DELETE,START,STOP,RESTART"`
	Request        int       `json:"request,omitzero"`
	Working        bool      `json:"working" doc:"It is being carried out."`
	Problem        *Reason   `json:"problem,omitempty" doc:"Why it waits."`
	NeedsAttention bool      `json:"needs_attention"`
	CreatedBy      string    `json:"created_by,omitempty"`
	CreatedAt      time.Time `json:"created_at"`
}

type clusterPath struct {
	Cluster string `path:"cluster" format:"uuid"`
}

type draftPath struct {
	Draft string `path:"draft" format:"uuid"`
}

func (p paging) clusters() cluster.Page { return cluster.Page{After: p.After, Limit: p.Limit} }

func (a *API) clusters() []Operation {
	const tag = "clusters"
	return []Operation{
		op(Operation{ID: "listClusters", Method: "GET", Path: "/clusters", Action: domain.ClusterList, Tag: tag, Summary: "Clusters, by name", Pages: []string{"GET /clusters"}},
			func(ctx context.Context, actor domain.Actor, in struct{ paging }) (Page[Cluster], error) {
				list, err := a.Clusters.List(ctx, actor, in.clusters())
				return items(list.Items, list.Next, clusterOf(ctx)), err
			}),
		op(Operation{ID: "listCapacities", Method: "GET", Path: "/cluster-capacities", Action: domain.ClusterList, Tag: tag, Summary: "What the clusters can give, and what VMs ask of them"},
			func(ctx context.Context, actor domain.Actor, _ struct{}) (Page[Capacity], error) {
				usage := func(u domain.ResourceUsage) Usage { return Usage{u.CPU, u.MemoryMiB} }
				list, err := a.Clusters.Capacities(ctx, actor)
				return items(list, "", func(c cluster.Capacity) Capacity {
					return Capacity{c.ID, c.Name, string(c.Environment), usage(c.Allocatable), usage(c.On), usage(c.Off)}
				}), err
			}),
		op(Operation{
			ID: "createCluster", Method: "POST", Path: "/clusters", Action: domain.ClusterCreate, Tag: tag, Summary: "Add the cluster of a draft", Status: http.StatusCreated,
			Pages: []string{"POST /clusters/new/{draft}"}, Conflicts: []string{"CLUSTER_DUPLICATE"},
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body NewCluster }) (Cluster, error) {
			id, err := a.Clusters.Add(ctx, actor, in.Body.DraftID, cluster.Input{
				Context: in.Body.Context, Name: in.Body.Name, Environment: domain.Environment(in.Body.Environment), Place: in.Body.Place,
			})
			if err != nil {
				return Cluster{}, err
			}
			return a.cluster(ctx, actor, id)
		}),
		op(Operation{ID: "getCluster", Method: "GET", Path: "/clusters/{cluster}", Action: domain.ClusterRead, Tag: tag, Summary: "One cluster", Pages: []string{"GET /clusters/{cluster}"}},
			func(ctx context.Context, actor domain.Actor, in clusterPath) (Cluster, error) {
				return a.cluster(ctx, actor, in.Cluster)
			}),
		op(Operation{
			ID: "checkCluster", Method: "POST", Path: "/clusters/{cluster}/check", Action: domain.ClusterCheck, Tag: tag, Summary: "Ask a cluster how it is, now",
			Pages: []string{"POST /clusters/{cluster}/check"},
		}, func(ctx context.Context, actor domain.Actor, in clusterPath) (Cluster, error) {
			c, err := a.cluster(ctx, actor, in.Cluster)
			if err == nil && !domain.Can(actor, domain.ClusterCheck, domain.Object{}) {
				err = apperr.New(apperr.ErrForbidden)
			}
			if err == nil {
				err = a.Clusters.Check(ctx, c.ID)
			}
			if err != nil {
				return Cluster{}, err
			}
			return a.cluster(ctx, actor, c.ID)
		}),
		op(Operation{
			ID: "updateCluster", Method: "PATCH", Path: "/clusters/{cluster}", Action: domain.ClusterUpdate, Tag: tag, Summary: "Replace the settings of a cluster", DryRun: true,
			Pages: []string{"POST /clusters/{cluster}/settings"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			clusterPath
			ifMatch
			Body ClusterSettings
		}) (Cluster, error) {
			was, err := a.cluster(ctx, actor, in.Cluster)
			if err == nil {
				err = in.holds(was)
			}
			seen := was.settings
			if in.IfMatch == "" || in.IfMatch == "*" {
				seen = "" // whatever there is
			}
			if err == nil {
				err = a.Clusters.Update(ctx, actor, in.Cluster, seen, cluster.Settings(in.Body))
			}
			if err != nil {
				return Cluster{}, err
			}
			return a.cluster(ctx, actor, in.Cluster)
		}),
		op(Operation{
			ID: "setClusterMode", Method: "POST", Path: "/clusters/{cluster}/mode", Action: domain.ClusterUpdate, Tag: tag, Summary: "Drain a cluster, switch it off, or take that back",
			Pages: []string{"POST /clusters/{cluster}/mode"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			clusterPath
			Body ClusterMode
		}) (Cluster, error) {
			var err error
			switch in.Body.Do {
			case "drain", "undrain":
				err = a.Clusters.SetDrained(ctx, actor, in.Cluster, in.Body.Do == "drain")
			default:
				err = a.Clusters.SetEnabled(ctx, actor, in.Cluster, in.Body.Do == "enable")
			}
			if err != nil {
				return Cluster{}, err
			}
			return a.cluster(ctx, actor, in.Cluster)
		}),
		op(Operation{
			ID: "removeCluster", Method: "DELETE", Path: "/clusters/{cluster}", Action: domain.ClusterDelete, Tag: tag, Summary: "Remove a cluster without VMs",
			Text:  "Its credential is erased and its namespaces are unregistered. Nothing is changed in the cluster.",
			Pages: []string{"POST /clusters/{cluster}/remove"}, fields: map[string]string{"name": "confirm"}, Conflicts: []string{"CLUSTER_HAS_VMS"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			clusterPath
			Confirm string `query:"confirm" required:"true" doc:"The cluster's name, so that no other one is removed by mistake."`
		}) (none, error) {
			return none{}, a.Clusters.Remove(ctx, actor, in.Cluster, in.Confirm)
		}),
		op(Operation{
			ID: "listClusterEvents", Method: "GET", Path: "/clusters/{cluster}/events", Action: domain.ClusterRead, Tag: tag, Summary: "What happened at a cluster, the newest first",
			Pages: []string{"GET /clusters/{cluster}/history"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			clusterPath
			paging
			Kind string `query:"kind" enum:"status,version,features,apis,storage,nodes,credential,mode,quarantine,error"`
		}) (Page[ClusterEvent], error) {
			var kinds []domain.ClusterEventKind
			if in.Kind != "" {
				kinds = append(kinds, domain.ClusterEventKind(in.Kind))
			}
			list, err := a.Clusters.Events(ctx, actor, in.Cluster, kinds, in.clusters())
			return items(list.Items, list.Next, func(e cluster.Event) ClusterEvent {
				return ClusterEvent{e.ID, string(e.Kind), e.Before, e.After, problem(ctx, e.Problem), e.Count, e.At, e.LastAt}
			}), err
		}),
		op(Operation{
			ID: "listClusterOrders", Method: "GET", Path: "/clusters/{cluster}/orders", Action: domain.ClusterRead, Tag: tag, Summary: "What waits for a cluster, the oldest first",
			Pages: []string{"GET /clusters/{cluster}/orders"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			clusterPath
			paging
		}) (Page[ClusterOrder], error) {
			list, err := a.Clusters.Orders(ctx, actor, in.Cluster, in.clusters())
			return items(list.Items, list.Next, func(o cluster.Order) ClusterOrder {
				return ClusterOrder{o.ID, o.VMID, o.VM, string(o.Operation), o.Ticket, o.Working, problem(ctx, o.Problem), o.NeedsAttention, o.CreatedBy, o.CreatedAt}
			}), err
		}),
		op(Operation{
			ID: "uploadKubeconfig", Method: "POST", Path: "/cluster-drafts", Action: domain.ClusterCreate, Tag: tag, Summary: "Begin to add a cluster: upload a kubeconfig", Status: http.StatusCreated,
			Text: "It is read strictly, and its credentials wait sealed for half an hour. It replaces the draft that I had.", Pages: []string{"POST /clusters/new"},
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body Kubeconfig }) (ClusterDraft, error) {
			id, err := a.Clusters.ReadUpload(ctx, actor, in.Body.FileName, []byte(in.Body.Kubeconfig))
			if err != nil {
				return ClusterDraft{}, err
			}
			return a.draft(ctx, actor, id)
		}),
		op(Operation{ID: "getClusterDraft", Method: "GET", Path: "/cluster-drafts/{draft}", Action: domain.ClusterCreate, Tag: tag, Summary: "A cluster that I am adding", Pages: []string{"GET /clusters/new/{draft}"}},
			func(ctx context.Context, actor domain.Actor, in draftPath) (ClusterDraft, error) {
				return a.draft(ctx, actor, in.Draft)
			}),
		op(Operation{
			ID: "checkClusterDraft", Method: "POST", Path: "/cluster-drafts/{draft}/check", Action: domain.ClusterCreate, Tag: tag, Summary: "Look at the cluster through a context of the draft",
			Text: "Nothing is stored but what was found. That the cluster does not answer is a result.", Pages: []string{"POST /clusters/new/{draft}/check"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			draftPath
			Body PreflightContext
		}) (ClusterDraft, error) {
			var err error
			if in.Body.All {
				_, _, err = a.Clusters.PreflightAll(ctx, actor, in.Draft)
			} else {
				_, err = a.Clusters.Preflight(ctx, actor, in.Draft, in.Body.Context)
			}
			if err != nil {
				return ClusterDraft{}, err
			}
			return a.draft(ctx, actor, in.Draft)
		}),
	}
}

func (a *API) cluster(ctx context.Context, actor domain.Actor, id string) (Cluster, error) {
	c, err := a.Clusters.Get(ctx, actor, id)
	if err != nil {
		return Cluster{}, err
	}
	return clusterOf(ctx)(c), nil
}

func (a *API) draft(ctx context.Context, actor domain.Actor, id string) (ClusterDraft, error) {
	d, err := a.Clusters.Draft(ctx, actor, id)
	if err != nil {
		return ClusterDraft{}, err
	}
	return draftOf(ctx, d), nil
}
