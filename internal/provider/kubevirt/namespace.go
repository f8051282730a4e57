package kubevirt

import (
	"cmp"
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

var _ provider.Namespaces = (*Provider)(nil)

// maxQuotas is how many ResourceQuotas of a namespace are read, and how many of
// their lines are kept: more than anybody can look at.
const maxQuotas = 100

// Limits of the numbers of a quota, so that no sum of them overflows.
const (
	maxQuotaCPU   = 1_000_000_000 // thousandths of a vCPU
	maxQuotaBytes = 1 << 60
	maxQuotaCount = 1_000_000_000
)

// Namespace reads a namespace and its quotas, for at most five seconds. It asks
// for the one by name, and does not list: a shared cluster has thousands that
// are none of ours, and the right to list them is not needed.
func (p *Provider) Namespace(ctx context.Context, cluster, ns string) (domain.NamespaceState, error) {
	c, ctx, cancel, err := p.open(ctx, cluster, healthTimeout)
	if err != nil {
		return domain.NamespaceState{}, err
	}
	defer cancel()
	got, err := c.kube.CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{})
	switch failed := c.fail(err); {
	case err == nil:
	case apperr.CodeOf(failed) == apperr.ErrNamespaceMissing:
		// A cluster that does not say whether we may is one where we may not.
		allowed, err := c.access(ctx, []domain.ResourceRule{{Resource: "namespaces", Verb: "create"}})
		return domain.NamespaceState{Presence: domain.PresenceMissing, MayCreate: err == nil && allowed[0]}, nil
	case apierrors.IsNotFound(err): // the path, which every Kubernetes has
		return domain.NamespaceState{}, apperr.New(apperr.ErrNotKubernetes)
	default:
		return domain.NamespaceState{}, failed
	}
	s := domain.NamespaceState{Presence: domain.PresencePresent}
	if got.DeletionTimestamp != nil || got.Status.Phase == corev1.NamespaceTerminating {
		s.Presence = domain.PresenceTerminating
	}
	s.Quotas, err = c.quotas(ctx, ns)
	return s, err
}

// quotas reads the lines of all quotas of a namespace; nil when that is not
// allowed.
func (c *client) quotas(ctx context.Context, ns string) ([]domain.Quota, error) {
	list, err := c.kube.CoreV1().ResourceQuotas(ns).List(ctx, metav1.ListOptions{Limit: maxQuotas})
	if err != nil {
		if err = c.fail(err); apperr.CodeOf(err) == apperr.ErrClusterForbidden {
			return nil, nil
		}
		return nil, err
	}
	lines := []domain.Quota{}
	for i := range list.Items {
		lines = append(lines, fromQuota(&list.Items[i])...)
	}
	slices.SortFunc(lines, func(a, b domain.Quota) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Resource, b.Resource))
	})
	return lines[:min(len(lines), maxQuotas)], nil
}

// fromQuota gives the lines of one quota. Limits come from the status, which the
// cluster has taken over; a new quota has none yet, and says what it will be.
func fromQuota(q *corev1.ResourceQuota) []domain.Quota {
	hard := q.Status.Hard
	if len(hard) == 0 {
		hard = q.Spec.Hard
	}
	resources := slices.Sorted(maps.Keys(hard))
	var lines []domain.Quota
	for _, res := range resources[:min(len(resources), maxQuotas)] {
		limit, used := hard[res], q.Status.Used[res]
		l := domain.Quota{
			Name: name(q.Name), Resource: name(string(res)), Hard: name(limit.String()), Used: name(used.String()),
			Scoped: len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil, Kind: domain.QuotaKindOf(string(res)),
		}
		l.HardValue, _ = amount(l.Kind, limit)
		_, l.UsedValue = amount(l.Kind, used)
		lines = append(lines, l)
	}
	return lines
}

// amount is a quantity in the unit of a kind, rounded down and up.
func amount(kind domain.QuotaKind, q resource.Quantity) (down, up int) {
	clamp := func(limit int64, value func() int64) int64 {
		switch {
		case q.Sign() < 0:
			return 0
		case q.CmpInt64(limit) > 0:
			return limit
		}
		return value()
	}
	switch kind {
	case "":
		return 0, 0
	case domain.QuotaCPU, domain.QuotaCPULimit:
		n := int(min(clamp(maxQuotaCPU, q.MilliValue), maxQuotaCPU)) // thousandths are the finest there are
		return n, n
	case domain.QuotaMemory, domain.QuotaMemoryLimit, domain.QuotaStorage:
		const mib = 1 << 20
		n := clamp(maxQuotaBytes, q.Value)
		return int(n / mib), int((n + mib - 1) / mib)
	}
	n := int(clamp(maxQuotaCount, q.Value))
	return n, n
}

// CreateNamespace makes a namespace with these labels. One that exists is left
// as it is.
func (p *Provider) CreateNamespace(ctx context.Context, cluster, ns string, labels map[string]string) error {
	c, ctx, cancel, err := p.open(ctx, cluster, callTimeout)
	if err != nil {
		return err
	}
	defer cancel()
	_, err = c.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns, Labels: labels}},
		metav1.CreateOptions{FieldManager: domain.FieldManager})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return c.fail(err)
}
