package kubevirt

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

const preflightTimeout = 15 * time.Second

// report is a pre-flight that is being written.
type report struct{ domain.Preflight }

func (r *report) set(id string, state domain.CheckState, err error, params map[string]any) {
	i := slices.IndexFunc(r.Checks, func(c domain.Check) bool { return c.ID == id })
	c := &r.Checks[i]
	c.State, c.Params = state, params
	if err != nil {
		c.Code = apperr.CodeOf(err)
	}
}

func (r *report) ok(id string)              { r.set(id, domain.CheckOK, nil, nil) }
func (r *report) failed(id string, e error) { r.set(id, domain.CheckFailed, e, nil) }

// Preflight looks at a cluster with a credential that is not stored. Of a peer
// that is not a cluster it tells nothing but the class of the failure, so that
// the form cannot be used to look around in the network.
//
// What the portal cannot do without fails: the way there, the credential,
// Kubernetes, KubeVirt, the needed permissions. Everything else is a warning:
// it may come later, or the admin knows that nobody will want it there.
func (p *Provider) Preflight(ctx context.Context, cred domain.Credential) domain.Preflight {
	ctx, cancel := context.WithTimeout(p.logged(ctx), preflightTimeout)
	defer cancel()
	out := report{domain.Preflight{Health: domain.ClusterHealth{Status: domain.ClusterUnknown, CheckedAt: time.Now().UTC()}}}
	for _, id := range domain.Checks() {
		out.Checks = append(out.Checks, domain.Check{ID: id, State: domain.CheckNotRun})
	}

	cfg, err := restConfig(cred)
	if err != nil {
		out.failed(domain.CheckReachable, err)
		return out.Preflight
	}
	c, err := newClient(cfg, p.clients.guard, p.clients.agent)
	if err != nil {
		out.failed(domain.CheckTLS, err)
		return out.Preflight
	}
	defer c.close()
	version, lost, ok := c.arrive(ctx, &out, p.clients.guard, cfg.Host)
	if !ok {
		return out.Preflight
	}

	s := c.look(ctx, true)
	out.Health = s.health
	out.Health.KubernetesVersion = version
	d := s.described

	switch {
	case s.identity != nil && apperr.CodeOf(s.identity) != apperr.ErrClusterForbidden: // that is for the permissions
		out.failed(domain.CheckKubernetes, s.identity)
	case s.nodes == nil && s.health.ReadyNodes == 0:
		out.set(domain.CheckKubernetes, domain.CheckWarn, noNodes(s.health), map[string]any{"version": version, "nodes": s.health.Nodes, "ready": 0})
	default:
		out.set(domain.CheckKubernetes, domain.CheckOK, nil, map[string]any{"version": version, "nodes": s.health.Nodes, "ready": s.health.ReadyNodes})
	}

	installed := map[string]any{"version": s.health.KubeVirtVersion}
	switch {
	case s.kubevirt == nil:
		out.set(domain.CheckKubeVirt, domain.CheckOK, nil, installed)
	case apperr.CodeOf(s.kubevirt) == apperr.ErrKubeVirtNotReady: // an upgrade; it can be added and used later
		out.set(domain.CheckKubeVirt, domain.CheckWarn, s.kubevirt, installed)
	default:
		out.failed(domain.CheckKubeVirt, s.kubevirt)
	}

	switch {
	case len(out.Missing) > 0:
		out.set(domain.CheckPermissions, domain.CheckFailed, apperr.New(apperr.ErrPermissionsMissing), map[string]any{"count": len(out.Missing)})
	case len(out.Optional) > 0:
		out.set(domain.CheckPermissions, domain.CheckWarn, apperr.New(apperr.ErrPermissionsOptional), map[string]any{"count": len(out.Optional), "lost": strings.Join(lost, " ")})
	default:
		out.ok(domain.CheckPermissions)
	}
	if n := len(out.Excess); n > 0 {
		out.set(domain.CheckPrivilege, domain.CheckWarn, apperr.New(apperr.ErrPermissionsExcess), map[string]any{"count": n})
	} else {
		out.ok(domain.CheckPrivilege)
	}

	out.cdi(d)
	out.snapshots(d)
	out.storage(d)
	out.instanceTypes(d)
	return out.Preflight
}

// arrive goes the way to a cluster that knows us, and says how far it came: the
// name, the connection, TLS, the credential with its permissions, and that it is
// Kubernetes of some version. lost is what the missing optional permissions cost.
func (c *client) arrive(ctx context.Context, out *report, g guard, server string) (version string, lost []string, ok bool) {
	host, port, err := address(server)
	if err != nil {
		out.failed(domain.CheckReachable, err)
		return "", nil, false
	}
	if err := c.resolve(ctx, host); err != nil {
		out.failed(domain.CheckDNS, err)
		return "", nil, false
	}
	out.ok(domain.CheckDNS)
	if err := c.reach(ctx, g, net.JoinHostPort(host, port)); err != nil {
		out.failed(domain.CheckReachable, err)
		return "", nil, false
	}
	out.ok(domain.CheckReachable)

	version, err = c.serverVersion(ctx)
	if apperr.CodeOf(err) == apperr.ErrClusterTLS {
		out.failed(domain.CheckTLS, err)
		return "", nil, false
	}
	out.ok(domain.CheckTLS)
	switch {
	case apperr.CodeOf(err) == apperr.ErrClusterUnauthorized:
		out.failed(domain.CheckCredentials, err)
		return "", nil, false
	case err != nil && !answers(err):
		out.failed(domain.CheckKubernetes, err)
		return "", nil, false
	}

	// Everybody may ask about the own rights, and nobody without a name.
	r, accessErr := c.rights(ctx)
	if accessErr != nil {
		out.failed(domain.CheckCredentials, c.fail(accessErr))
		return "", nil, false
	}
	out.ok(domain.CheckCredentials)
	if err != nil {
		out.failed(domain.CheckKubernetes, err)
		return "", nil, false
	}
	out.Missing, out.Optional, out.Excess = r.missing, r.optional, r.excess
	return version, r.lost, true
}

func (r *report) cdi(d described) {
	switch version := d.preferred[groupCDI]; {
	case d.apisErr != nil:
		r.set(domain.CheckCDI, domain.CheckWarn, d.apisErr, nil)
	case version == "":
		r.set(domain.CheckCDI, domain.CheckWarn, apperr.New(apperr.ErrCDIMissing), nil)
	default:
		r.set(domain.CheckCDI, domain.CheckOK, nil, map[string]any{"version": version})
	}
}

func (r *report) snapshots(d described) {
	lacks := r.Health.Capabilities.SnapshotsLack(r.Health.Features)
	switch {
	case d.apisErr != nil:
		r.set(domain.CheckSnapshots, domain.CheckWarn, d.apisErr, nil)
	case lacks != "":
		r.set(domain.CheckSnapshots, domain.CheckWarn, apperr.New(apperr.ErrSnapshotsMissing), map[string]any{"name": lacks})
	case d.snapshotsErr != nil: // may not be listed: that is for the permissions
		r.ok(domain.CheckSnapshots)
	case d.snapshots == 0:
		r.set(domain.CheckSnapshots, domain.CheckWarn, apperr.New(apperr.ErrSnapshotClassMissing), nil)
	default:
		r.set(domain.CheckSnapshots, domain.CheckOK, nil, map[string]any{"classes": d.snapshots})
	}
}

func (r *report) storage(d described) {
	params := map[string]any{"classes": len(d.classes)}
	switch {
	case d.classesErr != nil:
		r.failed(domain.CheckStorage, d.classesErr)
	case len(d.classes) == 0:
		r.set(domain.CheckStorage, domain.CheckWarn, apperr.New(apperr.ErrStorageMissing), params)
	case !slices.ContainsFunc(d.classes, func(c domain.StorageClass) bool { return c.Default }):
		r.set(domain.CheckStorage, domain.CheckWarn, apperr.New(apperr.ErrStorageNoDefault), params)
	default:
		r.set(domain.CheckStorage, domain.CheckOK, nil, params)
	}
}

func (r *report) instanceTypes(d described) {
	params := map[string]any{"types": d.types, "preferences": d.preferences}
	for _, err := range []error{d.typesErr, d.preferencesErr} {
		if err != nil && apperr.CodeOf(err) != apperr.ErrNotFound {
			r.set(domain.CheckInstanceTypes, domain.CheckWarn, err, nil)
			return
		}
	}
	if d.types == 0 || d.preferences == 0 {
		r.set(domain.CheckInstanceTypes, domain.CheckWarn, apperr.New(apperr.ErrInstanceTypesMissing), params)
		return
	}
	r.set(domain.CheckInstanceTypes, domain.CheckOK, nil, params)
}

// address takes the host and the port out of a server's URL.
func address(server string) (host, port string, err error) {
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" {
		return "", "", apperr.New(apperr.ErrKubeconfigServer)
	}
	port = u.Port()
	if port == "" {
		port = "443"
	}
	return u.Hostname(), port, nil
}

// resolve looks whether a name has an address. Which one it has is not told, and
// decides nothing: the guard looks at the one that is connected to.
func (c *client) resolve(ctx context.Context, host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	_, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	return c.fail(err)
}

// reach opens and closes a TCP connection, and sends nothing.
func (c *client) reach(ctx context.Context, g guard, address string) error {
	conn, err := g.dialer().DialContext(ctx, "tcp", address)
	if err != nil {
		return c.fail(err)
	}
	return conn.Close()
}
