package kubevirt

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kv "kubevirt.io/api/core/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// CheckHealth looks at a cluster for at most five seconds.
//
// UNREACHABLE: nothing that we trust as this cluster answers (network, name,
// TLS, not Kubernetes), or there is no usable credential. UNHEALTHY: it answers
// but refuses us, misses rights, or KubeVirt or its nodes are not ready.
// HEALTHY: anything else. Reason has an error code.
func (p *Provider) CheckHealth(ctx context.Context, cluster string) domain.ClusterHealth {
	c, ctx, cancel, err := p.open(past(ctx), cluster, healthTimeout)
	if err != nil {
		return domain.ClusterHealth{Status: domain.ClusterUnreachable, Reason: reason(err), CheckedAt: time.Now().UTC()}
	}
	defer cancel()
	s := c.look(ctx)
	h := s.health
	h.Status, h.Reason = domain.ClusterHealthy, domain.Problem{}
	switch {
	case s.version != nil:
		h.Reason = reason(s.version)
		h.Status = domain.ClusterUnreachable
		if answers(s.version) {
			h.Status = domain.ClusterUnhealthy
		}
	case s.kubevirt != nil:
		h.Status, h.Reason = domain.ClusterUnhealthy, reason(s.kubevirt)
	case s.identity != nil:
		h.Status, h.Reason = domain.ClusterUnhealthy, reason(s.identity)
	case s.nodes != nil:
		h.Status, h.Reason = domain.ClusterUnhealthy, reason(s.nodes)
	case s.storage != nil:
		h.Status, h.Reason = domain.ClusterUnhealthy, reason(s.storage)
	case h.ReadyNodes == 0:
		h.Status = domain.ClusterUnhealthy
		h.Reason = domain.Problem{Code: apperr.ErrNodesNotReady, Params: map[string]any{"nodes": h.Nodes, "ready": 0}}
	}
	return h
}

// answers says that an error came from a Kubernetes API server.
func answers(err error) bool {
	switch apperr.CodeOf(err) {
	case apperr.ErrClusterUnauthorized, apperr.ErrClusterForbidden, apperr.ErrClusterDegraded:
		return true
	}
	return false
}

func reason(err error) domain.Problem {
	e, ok := apperr.From(err)
	if !ok {
		return domain.Problem{Code: apperr.ErrInternal}
	}
	p := domain.Problem{Code: e.Code}
	for k, v := range e.Params {
		if k == "text" {
			p.Text, _ = v.(string)
			continue
		}
		if p.Params == nil {
			p.Params = map[string]any{}
		}
		p.Params[k] = v
	}
	return p
}

// sight is what a look at a cluster found; an error for each part that could
// not be seen.
type sight struct {
	health                                      domain.ClusterHealth
	version, identity, kubevirt, nodes, storage error
}

// look asks for everything at once, so that one slow part costs no other.
func (c *client) look(ctx context.Context) sight {
	s := sight{health: domain.ClusterHealth{CheckedAt: time.Now().UTC()}}
	h := &s.health
	var wg sync.WaitGroup // each part writes its own fields only
	wg.Go(func() { h.KubernetesVersion, s.version = c.serverVersion(ctx) })
	wg.Go(func() { h.IdentityUID, s.identity = c.identity(ctx) })
	wg.Go(func() { h.KubeVirtVersion, h.Features, s.kubevirt = c.kubevirtState(ctx) })
	wg.Go(func() { s.nodes = c.countNodes(ctx, h) })
	wg.Go(func() { h.StorageClasses, s.storage = c.storageClasses(ctx) })
	wg.Wait()
	return s
}

// serverVersion reads /version. An answer that is not Kubernetes' is a
// NOT_KUBERNETES, whatever it is.
func (c *client) serverVersion(ctx context.Context) (string, error) {
	raw, err := c.kube.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		err = c.fail(err)
		if code := apperr.CodeOf(err); code == apperr.ErrKubeVirtMissing || code == apperr.ErrNotFound || code == apperr.ErrSpecRejected {
			return "", apperr.New(apperr.ErrNotKubernetes)
		}
		return "", err
	}
	var v struct{ GitVersion, Major string }
	if json.Unmarshal(raw, &v) != nil || v.GitVersion == "" || v.Major == "" {
		return "", apperr.New(apperr.ErrNotKubernetes)
	}
	return domain.CleanText(v.GitVersion, 64), nil
}

// identity is the UID of kube-system, which a cluster keeps for life.
func (c *client) identity(ctx context.Context) (string, error) {
	ns, err := c.kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", c.fail(err)
	}
	return name(string(ns.UID)), nil
}

// kubevirtState reads the KubeVirt object: KUBEVIRT_MISSING when there is
// none, KUBEVIRT_NOT_READY with the version while it is being installed,
// upgraded or broken.
func (c *client) kubevirtState(ctx context.Context) (version string, features []string, err error) {
	list, err := c.kubevirt.KubevirtV1().KubeVirts("").List(ctx, metav1.ListOptions{Limit: 2})
	if err != nil {
		return "", nil, c.fail(err)
	}
	if len(list.Items) == 0 {
		return "", nil, apperr.New(apperr.ErrKubeVirtMissing)
	}
	k := list.Items[0]
	version = domain.CleanText(k.Status.ObservedKubeVirtVersion, 64)
	if dev := k.Spec.Configuration.DeveloperConfiguration; dev != nil {
		for _, f := range dev.FeatureGates[:min(len(dev.FeatureGates), maxPairs)] {
			features = append(features, name(f))
		}
		slices.Sort(features)
	}
	available := slices.ContainsFunc(k.Status.Conditions, func(c kv.KubeVirtCondition) bool {
		return c.Type == kv.KubeVirtConditionAvailable && c.Status == corev1.ConditionTrue
	})
	if k.Status.Phase != kv.KubeVirtPhaseDeployed || !available {
		return version, features, apperr.New(apperr.ErrKubeVirtNotReady).With("phase", name(string(k.Status.Phase)))
	}
	return version, features, nil
}

// countNodes counts the nodes, and what those that are ready and not cordoned
// give to pods.
func (c *client) countNodes(ctx context.Context, h *domain.ClusterHealth) error {
	var milliCPU, memory int64
	err := pages(func(opt metav1.ListOptions) (string, error) {
		page, err := c.kube.CoreV1().Nodes().List(ctx, opt)
		if err != nil {
			return "", err
		}
		h.Nodes += len(page.Items)
		for i := range page.Items {
			n := &page.Items[i]
			if !ready(n) {
				continue
			}
			h.ReadyNodes++
			if !n.Spec.Unschedulable {
				// No node is larger, and no sum of a false cluster's nodes overflows.
				milliCPU += min(max(n.Status.Allocatable.Cpu().MilliValue(), 0), 1e9)
				memory += min(max(n.Status.Allocatable.Memory().Value(), 0), 1<<45)
			}
		}
		return page.Continue, nil
	})
	h.Allocatable = domain.ResourceUsage{CPU: int(milliCPU / 1000), MemoryMiB: int(memory >> 20)}
	return c.fail(err)
}

func (c *client) storageClasses(ctx context.Context) ([]domain.StorageClass, error) {
	list, err := c.kube.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{Limit: pageSize})
	if err != nil {
		return nil, c.fail(err)
	}
	var out []domain.StorageClass
	for _, sc := range list.Items {
		out = append(out, domain.StorageClass{Name: name(sc.Name), Default: sc.Annotations["storageclass.kubernetes.io/is-default-class"] == "true"})
	}
	return out, nil
}
