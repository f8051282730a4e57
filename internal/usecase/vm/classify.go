package vm

import (
	"maps"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// class says what an error of a cluster means for an order.
type class int

const (
	classRetry    class = iota // try again soon; counts
	classWait                  // nobody can do it now; does not count
	classTerminal              // trying again is of no use
)

// classify follows the codes that provider.InfrastructureProvider promises.
func classify(err error, cluster domain.ClusterStatus) class {
	switch apperr.CodeOf(err) {
	case apperr.ErrNameCollision, apperr.ErrSpecRejected, apperr.ErrQuotaExceeded, apperr.ErrClusterForbidden, apperr.ErrNamespaceMissing,
		apperr.ErrSpecHashMismatch, apperr.ErrCloudInit, apperr.ErrUIDMismatch, apperr.ErrVMNotFound, apperr.ErrVMState, apperr.ErrNotFound:
		return classTerminal
	case apperr.ErrClusterUnreachable, apperr.ErrClusterUnauthorized, apperr.ErrClusterTLS, apperr.ErrClusterDNS, apperr.ErrClusterRefused,
		apperr.ErrNotKubernetes, apperr.ErrKubeVirtMissing, apperr.ErrKubeVirtNotReady, apperr.ErrAddressNotAllowed,
		apperr.ErrClusterIdentity, apperr.ErrClusterDisabled, apperr.ErrCredentialsLocked, apperr.ErrCredentialsTampered, apperr.ErrUnavailable:
		return classWait
	case apperr.ErrClusterTimeout, apperr.ErrClusterDegraded:
		if e, ok := apperr.From(err); ok && e.Params["retry_at"] != nil {
			return classWait // the cluster asked for a pause
		}
		// One slow answer of a healthy cluster is an attempt; a black hole, as
		// the health check sees it, is a cluster to wait for.
		if cluster == domain.ClusterUnreachable || cluster == domain.ClusterUnhealthy {
			return classWait
		}
	}
	return classRetry
}

// closed says that nothing may be done to a cluster now, whatever its health.
func closed(c *ent.Cluster) error {
	code := ""
	switch {
	case !c.Enabled:
		code = apperr.ErrClusterDisabled
	case c.QuarantinedAt != nil:
		code = apperr.ErrClusterQuarantined
	default:
		return nil
	}
	return waiting{problem: domain.Problem{Code: code, Params: map[string]any{"cluster": c.Name}}}
}

// away says that the last health check got no answer a moment ago, so that the
// orders of a dead cluster do not hold the workers of all the others.
func away(c *ent.Cluster, now time.Time) bool {
	return domain.ClusterStatus(c.Status) == domain.ClusterUnreachable && c.CheckedAt != nil && now.Sub(*c.CheckedAt) < freshCheck
}

// clusterProblem is why a cluster is away.
func clusterProblem(c *ent.Cluster) domain.Problem {
	code := c.StatusReason.Code
	if code == "" {
		code = apperr.ErrClusterUnreachable
	}
	return domain.Problem{Code: code, Params: map[string]any{"cluster": c.Name}}
}

// problemOf keeps code and parameters, and names what the order is about. The
// cause is for the log only. When the provider says when it will call the cluster
// again, retry is how long that takes, within limits; 0 otherwise.
func problemOf(err error, o *order) (p domain.Problem, retry time.Duration) {
	e, ok := apperr.From(err)
	if !ok {
		return domain.Problem{Code: apperr.ErrInternal}, 0
	}
	p = domain.Problem{Code: e.Code, Params: map[string]any{"vm": o.vm.Name, "namespace": o.vm.Namespace, "cluster": o.cluster.Name}}
	maps.Copy(p.Params, e.Params)
	p.Text, _ = e.Params["text"].(string) // the cluster's own words
	if text, ok := e.Params["retry_at"].(string); ok {
		// Another time at each round would be news to the pages. Asking sooner than
		// that costs no call, and a cluster that is back is not waited for in vain.
		delete(p.Params, "retry_at")
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			retry = jitter(min(max(time.Until(at), 5*time.Second), 30*time.Second))
		}
	}
	return clean(p), retry
}

// Limits of texts from a cluster, in runes.
const (
	maxCode  = 64
	maxParam = 200
	maxText  = 500
)

// clean makes a problem safe to store and show.
func clean(p domain.Problem) domain.Problem {
	p.Code, p.Text = domain.CleanText(p.Code, maxCode), domain.CleanText(p.Text, maxText)
	params := make(map[string]any, len(p.Params))
	for k, v := range p.Params {
		if s, ok := v.(string); ok {
			v = domain.CleanText(s, maxParam)
		}
		params[domain.CleanText(k, maxCode)] = v
	}
	if len(params) == 0 {
		params = nil
	}
	p.Params = params
	return p
}
