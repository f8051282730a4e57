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
}

func (n Namespace) location() string { return "/namespaces/" + n.ID }

// NamespaceSystem is a system that uses a namespace.
type NamespaceSystem struct {
	ID   string `json:"id" format:"uuid"`
	Name string `json:"name"`
}

func namespaceOf(n cluster.Namespace) Namespace {
	v := Namespace{
		ID: n.ID, Name: n.Name, Environment: string(n.Environment), ClusterID: n.ClusterID, Cluster: n.ClusterName, CreatedBy: n.CreatedBy, CreatedAt: n.CreatedAt,
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
}

type namespacePath struct {
	Namespace string `path:"namespace" format:"uuid"`
}

func (a *API) namespaces() []Operation {
	const tag = "namespaces"
	return []Operation{
		op(Operation{ID: "listNamespaces", Method: "GET", Path: "/namespaces", Action: domain.NamespaceList, Tag: tag, Summary: "Registered namespaces, by name", Pages: []string{"GET /namespaces"}},
			func(ctx context.Context, actor domain.Actor, in struct{ paging }) (Page[Namespace], error) {
				list, err := a.Clusters.Namespaces(ctx, actor, in.clusters())
				return items(list.Items, list.Next, namespaceOf), err
			}),
		op(Operation{
			ID: "registerNamespace", Method: "POST", Path: "/namespaces", Action: domain.NamespaceCreate, Tag: tag, Summary: "Register a namespace", Status: http.StatusCreated, DryRun: true,
			Pages: []string{"POST /namespaces"}, fields: map[string]string{"cluster": "cluster_id"},
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body NewNamespace }) (Namespace, error) {
			id, err := a.Clusters.RegisterNamespace(ctx, actor, in.Body.ClusterID, in.Body.Name, domain.Environment(in.Body.Environment))
			if err != nil {
				return Namespace{}, err
			}
			n, err := a.Clusters.GetNamespace(ctx, actor, id)
			return namespaceOf(n), err
		}),
		op(Operation{ID: "getNamespace", Method: "GET", Path: "/namespaces/{namespace}", Action: domain.NamespaceRead, Tag: tag, Summary: "One registered namespace"},
			func(ctx context.Context, actor domain.Actor, in namespacePath) (Namespace, error) {
				n, err := a.Clusters.GetNamespace(ctx, actor, in.Namespace)
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
