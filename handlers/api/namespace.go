package api

import (
	"context"
	"net/http"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// Namespace is a namespace of a cluster in which VMs may be made.
type Namespace struct {
	ID          string            `json:"id" format:"uuid"`
	Name        string            `json:"name" example:"shop-test"`
	Environment string            `json:"environment" enum:"test,prod"`
	ClusterID   string            `json:"cluster_id" format:"uuid"`
	Cluster     string            `json:"cluster" example:"fra-test-1"`
	CreatedBy   string            `json:"created_by"`
	CreatedAt   time.Time         `json:"created_at"`
	Systems     []NamespaceSystem `json:"systems" doc:"Systems that use the name, of those that I see."`
	Presence    string            `json:"presence" enum:"unknown,present,missing,terminating" doc:"Whether the cluster has it. unknown: it was not asked yet, or the credential may not look."`
	CheckedAt   *time.Time        `json:"checked_at,omitempty" doc:"When the cluster was asked."`
	QuotasKnown bool              `json:"quotas_known" doc:"False: the credential may not read them, or nobody has asked."`
	Quotas      []Quota           `json:"quotas"`
}

func (n Namespace) location() string { return "/namespaces/" + n.ID }

// Quota is one line of a ResourceQuota.
type Quota struct {
	Name     string `json:"name" doc:"Of the ResourceQuota."`
	Resource string `json:"resource" example:"requests.memory"`
	Hard     string `json:"hard" example:"64Gi" doc:"The limit, in Kubernetes' notation."`
	Used     string `json:"used" example:"40Gi"`
	Scoped   bool   `json:"scoped" doc:"It counts only some pods."`
}

// NamespaceSystem is a system that uses a namespace.
type NamespaceSystem struct {
	ID   string `json:"id" format:"uuid"`
	Name string `json:"name"`
}

func namespaceOf(n cluster.Namespace) Namespace {
	v := Namespace{
		ID: n.ID, Name: n.Name, Environment: string(n.Environment), ClusterID: n.ClusterID, Cluster: n.ClusterName, CreatedBy: n.CreatedBy, CreatedAt: n.CreatedAt,
		Presence: string(n.Presence), CheckedAt: n.CheckedAt, QuotasKnown: n.Quotas != nil,
	}
	for _, q := range n.Quotas {
		v.Quotas = append(v.Quotas, Quota{q.Name, q.Resource, q.Hard, q.Used, q.Scoped})
	}
	for _, s := range n.Systems {
		v.Systems = append(v.Systems, NamespaceSystem{s.ID, s.Name})
	}
	return v
}

// NewNamespace allows VMs in a namespace of a cluster.
type NewNamespace struct {
	ClusterID   string `json:"cluster_id" format:"uuid"`
	Name        string `json:"name" example:"shop-test" maxLength:"63"`
	Environment string `json:"environment" enum:"test,prod" doc:"The cluster's."`
	Create      bool   `json:"create,omitempty" doc:"Make it in the cluster when it is not there. Nothing that exists is changed."`
	Unseen      bool   `json:"unseen,omitempty" doc:"Register it also when the cluster cannot be asked."`
}

type namespacePath struct {
	Namespace string `path:"namespace" format:"uuid"`
}

func (a *API) namespaces() []Operation {
	const tag = "namespaces"
	return []Operation{
		op(Operation{ID: "listNamespaces", Method: "GET", Path: "/namespaces", Action: domain.NamespaceList, Tag: tag, Summary: "Registered namespaces, by name", Pages: []string{"GET /namespaces"}},
			func(ctx context.Context, actor domain.Actor, in struct {
				paging
				Name        string `query:"name" maxLength:"63"`
				ClusterID   string `query:"cluster_id" format:"uuid"`
				Environment string `query:"environment" enum:"test,prod"`
			}) (Page[Namespace], error) {
				f := cluster.NamespaceFilter{Name: in.Name, ClusterID: in.ClusterID, Environment: domain.Environment(in.Environment)}
				list, err := a.Clusters.FindNamespaces(ctx, actor, f, in.clusters())
				return items(list.Items, list.Next, namespaceOf), err
			}),
		op(Operation{
			ID: "registerNamespace", Method: "POST", Path: "/namespaces", Action: domain.NamespaceCreate, Tag: tag, Summary: "Register a namespace", Status: http.StatusCreated, DryRun: true,
			Text:  "The cluster is asked whether it has it: NAMESPACE_MISSING, NAMESPACE_TERMINATING, or a CLUSTER_ code when it cannot be asked. A dry run asks nobody.",
			Pages: []string{"POST /namespaces"}, fields: map[string]string{"cluster": "cluster_id"},
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body NewNamespace }) (Namespace, error) {
			id, err := a.Clusters.RegisterNamespace(ctx, actor, cluster.Registration{
				ClusterID: in.Body.ClusterID, Name: in.Body.Name, Environment: domain.Environment(in.Body.Environment), Create: in.Body.Create, Unseen: in.Body.Unseen,
			})
			if err != nil {
				return Namespace{}, err
			}
			n, err := a.Clusters.GetNamespace(ctx, actor, id)
			return namespaceOf(n), err
		}),
		op(Operation{ID: "getNamespace", Method: "GET", Path: "/namespaces/{namespace}", Action: domain.NamespaceRead, Tag: tag, Summary: "One registered namespace", Pages: []string{"GET /namespaces/{namespace}"}},
			func(ctx context.Context, actor domain.Actor, in namespacePath) (Namespace, error) {
				n, err := a.Clusters.GetNamespace(ctx, actor, in.Namespace)
				return namespaceOf(n), err
			}),
		op(Operation{
			ID: "checkNamespace", Method: "POST", Path: "/namespaces/{namespace}/check", Action: domain.NamespaceCheck, Tag: tag, Summary: "Ask the cluster for a namespace and its quotas, now",
			Pages: []string{"POST /namespaces/{namespace}/check"},
		}, func(ctx context.Context, actor domain.Actor, in namespacePath) (Namespace, error) {
			n, err := a.Clusters.GetNamespace(ctx, actor, in.Namespace)
			if err == nil {
				err = a.Clusters.CheckNamespace(ctx, actor, n.ID)
			}
			if err == nil {
				n, err = a.Clusters.GetNamespace(ctx, actor, n.ID)
			}
			return namespaceOf(n), err
		}),
		op(Operation{
			ID: "unregisterNamespace", Method: "DELETE", Path: "/namespaces/{namespace}", Action: domain.NamespaceDelete, Tag: tag, Summary: "Take a namespace back",
			Text: "The namespace in the cluster is not touched.", Pages: []string{"POST /namespaces/{namespace}/delete"}, Conflicts: []string{"NAMESPACE_IN_USE"},
		}, func(ctx context.Context, actor domain.Actor, in namespacePath) (none, error) {
			n, err := a.Clusters.GetNamespace(ctx, actor, in.Namespace)
			if err != nil {
				return none{}, err
			}
			return none{}, a.Clusters.UnregisterNamespace(ctx, actor, n.ID)
		}),
	}
}
