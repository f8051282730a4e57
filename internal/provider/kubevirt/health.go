package kubevirt

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
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
// HEALTHY: it says who it is, KubeVirt is ready and so is a node. Reason has an
// error code. What describe reads beside that decides nothing.
func (p *Provider) CheckHealth(ctx context.Context, cluster string, describe bool) domain.ClusterHealth {
	c, ctx, cancel, err := p.open(past(ctx), cluster, healthTimeout)
	if err != nil {
		return domain.ClusterHealth{Status: domain.ClusterUnreachable, Reason: reason(err), CheckedAt: time.Now().UTC()}
	}
	defer cancel()
	s := c.look(ctx, describe)
	h := s.health
	h.Status, h.Reason = domain.ClusterHealthy, domain.Problem{}
	switch {
	case s.identity != nil && !answers(s.identity):
		h.Status, h.Reason = domain.ClusterUnreachable, reason(s.identity)
	case s.kubevirt != nil:
		h.Status, h.Reason = domain.ClusterUnhealthy, reason(s.kubevirt)
	case s.identity != nil:
		h.Status, h.Reason = domain.ClusterUnhealthy, reason(s.identity)
	case s.nodes != nil:
		h.Status, h.Reason = domain.ClusterUnhealthy, reason(s.nodes)
	case h.ReadyNodes == 0:
		h.Status, h.Reason = domain.ClusterUnhealthy, reason(noNodes(h))
	}
	return h
}

func noNodes(h domain.ClusterHealth) error {
	return apperr.New(apperr.ErrNodesNotReady).With("nodes", h.Nodes).With("ready", h.ReadyNodes)
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
	health                    domain.ClusterHealth
	identity, kubevirt, nodes error
	described                 described // when it was asked for
}

// look reads three things at once, so that one slow part costs no other: who the
// cluster is (which needs a valid credential), KubeVirt's own object, and the
// nodes. describe adds what changes seldom.
func (c *client) look(ctx context.Context, describe bool) sight {
	s := sight{health: domain.ClusterHealth{CheckedAt: time.Now().UTC()}}
	h := &s.health
	var wg sync.WaitGroup // each part writes its own fields only
	wg.Go(func() { h.IdentityUID, s.identity = c.identity(ctx) })
	var kubelets []string
	var installed installation
	wg.Go(func() { installed, s.kubevirt = c.kubevirtState(ctx) })
	wg.Go(func() { kubelets, s.nodes = c.countNodes(ctx, h) })
	if describe {
		wg.Go(func() { s.described = c.describe(ctx) })
	}
	wg.Wait()
	h.KubeVirtVersion = installed.version
	h.Features = inEffect(installed.version, installed.on, installed.off)
	h.Capabilities = domain.Capabilities{Gates: installed.on, DisabledGates: installed.off, Kubelets: kubelets}
	if d := s.described; describe && d.versionErr == nil {
		h.DescribedAt = h.CheckedAt
		h.KubernetesVersion, h.StorageClasses = d.version, d.classes
		h.Capabilities.APIs = d.apis
		h.Capabilities.InstanceTypes, h.Capabilities.Preferences = d.types, d.preferences
		if d.snapshotsErr == nil {
			h.Capabilities.SnapshotClasses = &d.snapshots
		}
		if err := d.gap(); err != nil {
			h.Gap = reason(err)
		}
	}
	return s
}

// kinded is the part of an object or a list that says what it is.
type kinded struct{ Kind string }

// get reads a path as JSON, within the limits of the client, and decodes the
// part that into knows: no field that we do not use can break a check, and none
// is kept in memory. Errors are still those of client-go, for fail.
func (c *client) get(ctx context.Context, path, accept string, opt metav1.ListOptions, into any) error {
	req := c.kube.Discovery().RESTClient().Get().AbsPath(path)
	if accept != "" {
		req.SetHeader("Accept", accept)
	}
	if opt.Limit > 0 {
		req.Param("limit", strconv.FormatInt(opt.Limit, 10))
	}
	if opt.Continue != "" {
		req.Param("continue", opt.Continue)
	}
	result := req.Do(ctx)
	if err := result.Error(); err != nil {
		return err
	}
	raw, err := result.Raw()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return apperr.New(apperr.ErrNotKubernetes)
	}
	return nil
}

// core is fail for what every Kubernetes has: who does not have it is none.
func (c *client) core(err error) error {
	if err = c.fail(err); err == nil {
		return nil
	}
	switch apperr.CodeOf(err) {
	case apperr.ErrKubeVirtMissing, apperr.ErrNamespaceMissing, apperr.ErrNotFound, apperr.ErrSpecRejected:
		return apperr.New(apperr.ErrNotKubernetes)
	}
	return err
}

// serverVersion reads /version. An answer that is not Kubernetes' is a
// NOT_KUBERNETES, whatever it is.
func (c *client) serverVersion(ctx context.Context) (string, error) {
	var v struct{ GitVersion, Major string }
	if err := c.get(ctx, "/version", "", metav1.ListOptions{}, &v); err != nil {
		return "", c.core(err)
	}
	if v.GitVersion == "" || v.Major == "" {
		return "", apperr.New(apperr.ErrNotKubernetes)
	}
	return domain.CleanText(v.GitVersion, 64), nil
}

// identity is the UID of kube-system, which a cluster keeps for life.
func (c *client) identity(ctx context.Context) (string, error) {
	var ns struct {
		kinded
		Metadata struct{ UID string }
	}
	if err := c.get(ctx, "/api/v1/namespaces/"+metav1.NamespaceSystem, "", metav1.ListOptions{}, &ns); err != nil {
		return "", c.core(err)
	}
	uid := name(ns.Metadata.UID)
	if ns.Kind != "Namespace" || uid == "" {
		return "", apperr.New(apperr.ErrNotKubernetes)
	}
	return uid, nil
}

// installation is what a KubeVirt object says of itself.
type installation struct {
	version string
	on, off []string // feature gates, sorted
}

// kubevirtState reads the KubeVirt object: KUBEVIRT_MISSING when there is
// none, KUBEVIRT_NOT_READY with the version while it is being installed,
// upgraded or broken.
func (c *client) kubevirtState(ctx context.Context) (installation, error) {
	var list struct {
		kinded
		Items []struct {
			Spec struct {
				Configuration struct {
					DeveloperConfiguration struct{ FeatureGates, DisabledFeatureGates []string }
				}
			}
			Status struct {
				Phase, ObservedKubeVirtVersion string
				Conditions                     []leanCondition
			}
		}
	}
	// There is one in a cluster: KubeVirt refuses a second.
	if err := c.get(ctx, "/apis/kubevirt.io/v1/kubevirts", "", metav1.ListOptions{Limit: 2}, &list); err != nil {
		return installation{}, c.fail(err)
	}
	switch {
	case list.Kind != "KubeVirtList":
		return installation{}, apperr.New(apperr.ErrNotKubernetes)
	case len(list.Items) == 0:
		return installation{}, apperr.New(apperr.ErrKubeVirtMissing)
	}
	k := list.Items[0]
	found := installation{
		version: domain.CleanText(k.Status.ObservedKubeVirtVersion, 64),
		on:      names(k.Spec.Configuration.DeveloperConfiguration.FeatureGates),
		off:     names(k.Spec.Configuration.DeveloperConfiguration.DisabledFeatureGates),
	}
	if k.Status.Phase != string(kv.KubeVirtPhaseDeployed) || !holds(k.Status.Conditions, string(kv.KubeVirtConditionAvailable)) {
		return found, apperr.New(apperr.ErrKubeVirtNotReady).With("phase", name(k.Status.Phase))
	}
	return found, nil
}

// names cleans, sorts and bounds a list of names.
func names(list []string) []string {
	var out []string
	for _, n := range list[:min(len(list), maxPairs)] {
		out = append(out, name(n))
	}
	return distinct(out)
}

type leanCondition struct{ Type, Status string }

func holds(list []leanCondition, kind string) bool {
	return slices.Contains(list, leanCondition{kind, "True"})
}

// countNodes counts the nodes, and what those that are ready and not cordoned
// give to pods. It tells the versions of their kubelets.
func (c *client) countNodes(ctx context.Context, h *domain.ClusterHealth) (kubelets []string, err error) {
	var milliCPU, memory int64
	err = pages(func(opt metav1.ListOptions) (string, error) {
		var page struct {
			kinded
			Metadata struct{ Continue string }
			Items    []struct {
				Spec   struct{ Unschedulable bool }
				Status struct {
					Allocatable struct{ CPU, Memory foreignQuantity }
					Conditions  []leanCondition
					NodeInfo    struct{ KubeletVersion string }
				}
			}
		}
		if err := c.get(ctx, "/api/v1/nodes", "", opt, &page); err != nil {
			return "", err
		}
		if page.Kind != "NodeList" {
			return "", apperr.New(apperr.ErrNotKubernetes)
		}
		h.Nodes += len(page.Items)
		for i := range page.Items {
			n := &page.Items[i]
			if v := domain.CleanText(n.Status.NodeInfo.KubeletVersion, 64); v != "" && len(kubelets) < maxKubelets && !slices.Contains(kubelets, v) {
				kubelets = append(kubelets, v)
			}
			if !holds(n.Status.Conditions, string(corev1.NodeReady)) {
				continue
			}
			h.ReadyNodes++
			if !n.Spec.Unschedulable {
				// No node is larger, and no sum of a false cluster's nodes overflows.
				milliCPU += min(max(n.Status.Allocatable.CPU.MilliValue(), 0), 1e9)
				memory += min(max(n.Status.Allocatable.Memory.Value(), 0), 1<<45)
			}
		}
		return page.Metadata.Continue, nil
	})
	if err != nil { // half a count is none
		h.Nodes, h.ReadyNodes = 0, 0
		return nil, c.core(err)
	}
	h.Allocatable = domain.ResourceUsage{CPU: int(milliCPU / 1000), MemoryMiB: int(memory >> 20)}
	slices.Sort(kubelets)
	return kubelets, nil
}

const maxKubelets = 8 // versions that are kept

// storageClasses is never nil without an error: none is an answer.
func (c *client) storageClasses(ctx context.Context) ([]domain.StorageClass, error) {
	var list struct {
		kinded
		Items []struct {
			Metadata struct {
				Name        string
				Annotations map[string]string
			}
		}
	}
	if err := c.get(ctx, "/apis/storage.k8s.io/v1/storageclasses", onlyMetadata, metav1.ListOptions{Limit: pageSize}, &list); err != nil {
		return nil, c.core(err)
	}
	if !strings.HasSuffix(list.Kind, "List") {
		return nil, apperr.New(apperr.ErrNotKubernetes)
	}
	out := []domain.StorageClass{}
	for _, sc := range list.Items {
		out = append(out, domain.StorageClass{Name: name(sc.Metadata.Name), Default: sc.Metadata.Annotations["storageclass.kubernetes.io/is-default-class"] == "true"})
	}
	return out, nil
}
