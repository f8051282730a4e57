package kubevirt

import (
	"context"
	"net"
	"net/url"
	"slices"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

const preflightTimeout = 15 * time.Second

// The checks of a pre-flight, in the order in which they are shown. A failed
// one leaves those that depend on it at not_run.
const (
	checkReachable   = "reachable"
	checkTLS         = "tls"
	checkCredentials = "credentials"
	checkKubernetes  = "kubernetes"
	checkKubeVirt    = "kubevirt"
	checkStorage     = "storage"
	checkPermissions = "permissions"
)

// Preflight looks at a cluster with a credential that is not stored. Of a peer
// that is not a cluster it tells nothing but the class of the failure, so that
// the form cannot be used to look around in the network.
func (p *Provider) Preflight(ctx context.Context, cred domain.Credential) domain.Preflight {
	ctx, cancel := context.WithTimeout(p.logged(ctx), preflightTimeout)
	defer cancel()
	out := domain.Preflight{Health: domain.ClusterHealth{Status: domain.ClusterUnknown, CheckedAt: time.Now().UTC()}}
	for _, id := range []string{checkReachable, checkTLS, checkCredentials, checkKubernetes, checkKubeVirt, checkStorage, checkPermissions} {
		out.Checks = append(out.Checks, domain.Check{ID: id, State: domain.CheckNotRun})
	}
	set := func(id string, state domain.CheckState, err error, params map[string]any) {
		i := slices.IndexFunc(out.Checks, func(c domain.Check) bool { return c.ID == id })
		c := &out.Checks[i]
		c.State, c.Params = state, params
		if err != nil {
			c.Code = apperr.CodeOf(err)
		}
	}

	cfg, err := restConfig(cred)
	if err != nil {
		set(checkReachable, domain.CheckFailed, err, nil)
		return out
	}
	c, err := newClient(cfg, p.clients.guard, p.clients.agent)
	if err != nil {
		set(checkTLS, domain.CheckFailed, err, nil)
		return out
	}
	defer c.close()

	if err := c.reach(ctx, p.clients.guard, cfg.Host); err != nil {
		set(checkReachable, domain.CheckFailed, err, nil)
		return out
	}
	set(checkReachable, domain.CheckOK, nil, nil)

	version, err := c.serverVersion(ctx)
	switch apperr.CodeOf(err) {
	case apperr.ErrClusterTLS:
		set(checkTLS, domain.CheckFailed, err, nil)
		return out
	case apperr.ErrClusterUnauthorized:
		set(checkTLS, domain.CheckOK, nil, nil)
		set(checkCredentials, domain.CheckFailed, err, nil)
		return out
	}
	if err != nil && !answers(err) {
		set(checkTLS, domain.CheckOK, nil, nil)
		set(checkKubernetes, domain.CheckFailed, err, nil)
		return out
	}
	set(checkTLS, domain.CheckOK, nil, nil)

	// Everybody may ask about the own rights, and nobody without a name.
	missing, tooMuch, accessErr := c.rights(ctx)
	if accessErr != nil {
		accessErr = c.fail(accessErr)
		set(checkCredentials, domain.CheckFailed, accessErr, nil)
		return out
	}
	set(checkCredentials, domain.CheckOK, nil, nil)
	if err != nil {
		set(checkKubernetes, domain.CheckFailed, err, nil)
		return out
	}

	s := c.look(ctx)
	out.Health = s.health
	out.Health.KubernetesVersion = version
	out.Missing, out.Excess = missing, tooMuch

	if s.identity != nil && apperr.CodeOf(s.identity) != apperr.ErrClusterForbidden { // that is for the last check
		set(checkKubernetes, domain.CheckFailed, s.identity, nil)
	} else {
		set(checkKubernetes, domain.CheckOK, nil, map[string]any{"version": version, "nodes": s.health.Nodes, "ready": s.health.ReadyNodes})
	}

	switch apperr.CodeOf(s.kubevirt) {
	case apperr.ErrKubeVirtNotReady: // an upgrade; it can be added and used later
		set(checkKubeVirt, domain.CheckWarn, s.kubevirt, map[string]any{"version": s.health.KubeVirtVersion})
	default:
		state := domain.CheckOK
		if s.kubevirt != nil {
			state = domain.CheckFailed
		}
		set(checkKubeVirt, state, s.kubevirt, map[string]any{"version": s.health.KubeVirtVersion})
	}

	classes := s.health.StorageClasses
	params := map[string]any{"classes": len(classes)}
	switch {
	case s.storage != nil:
		set(checkStorage, domain.CheckFailed, s.storage, nil)
	case len(classes) == 0:
		set(checkStorage, domain.CheckWarn, apperr.New(apperr.ErrStorageMissing), params)
	case !slices.ContainsFunc(classes, func(c domain.StorageClass) bool { return c.Default }):
		set(checkStorage, domain.CheckWarn, apperr.New(apperr.ErrStorageNoDefault), params)
	default:
		set(checkStorage, domain.CheckOK, nil, params)
	}

	switch {
	case len(missing) > 0:
		set(checkPermissions, domain.CheckFailed, apperr.New(apperr.ErrPermissionsMissing), map[string]any{"count": len(missing)})
	case len(tooMuch) > 0:
		set(checkPermissions, domain.CheckWarn, apperr.New(apperr.ErrPermissionsExcess), map[string]any{"count": len(tooMuch)})
	default:
		set(checkPermissions, domain.CheckOK, nil, nil)
	}
	return out
}

// reach opens and closes a TCP connection, and sends nothing.
func (c *client) reach(ctx context.Context, g guard, server string) error {
	u, err := url.Parse(server)
	if err != nil {
		return apperr.New(apperr.ErrKubeconfigServer)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	conn, err := g.dialer().DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return c.fail(err)
	}
	return conn.Close()
}
