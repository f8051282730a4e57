package handlers

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/views"
)

// preflightChecks are the checks in their order, with what each looks at.
var preflightChecks = []struct{ id, looks string }{
	{domain.CheckDNS, i18n.N("The name of the API server has an address.")},
	{domain.CheckReachable, i18n.N("The portal can open a connection to the API server.")},
	{domain.CheckTLS, i18n.N("The certificate is signed by the CA in the kubeconfig and made for this address.")},
	{domain.CheckCredentials, i18n.N("The cluster accepts the credential.")},
	{domain.CheckKubernetes, i18n.N("Version and nodes.")},
	{domain.CheckKubeVirt, i18n.N("KubeVirt is installed and ready.")},
	{domain.CheckPermissions, i18n.N("The credential may do all that Shepherd needs.")},
	{domain.CheckPrivilege, i18n.N("It may not do much more.")},
	{domain.CheckCDI, i18n.N("CDI is there to fill the disks of new VMs.")},
	{domain.CheckSnapshots, i18n.N("VMs and their disks can be snapshotted.")},
	{domain.CheckStorage, i18n.N("There is a storage class, and one is the default.")},
	{domain.CheckInstanceTypes, i18n.N("There are instance types and preferences for templates to name.")},
}

// excessWords says what a permission that is too much allows.
var excessWords = map[string]string{
	"*":                 i18n.N("do everything in the whole cluster"),
	"secrets":           i18n.N("read every Secret"),
	"impersonate":       i18n.N("act as somebody else"),
	"tokens":            i18n.N("make itself a token of any service account"),
	"escalate":          i18n.N("give itself any other permission"),
	"pods":              i18n.N("start containers of any kind, beside VMs"),
	"exec":              i18n.N("run commands in every pod"),
	"nodes_proxy":       i18n.N("go past the API server, straight to the nodes"),
	"delete_namespaces": i18n.N("delete whole namespaces with all that is in them"),
	"delete_nodes":      i18n.N("take nodes out of the cluster"),
	"webhooks":          i18n.N("change what others send to the cluster"),
}

// lostWords says what does not work without an optional permission.
var lostWords = map[string]string{
	"create_namespaces": i18n.N("making namespaces from the portal"),
	"quotas":            i18n.N("showing the quota of a namespace"),
	"disk_errors":       i18n.N("telling why a disk could not be filled"),
	"instancetypes":     i18n.N("offering the cluster's instance types"),
	"snapshot_classes":  i18n.N("seeing whether disks can be snapshotted"),
}

func excessText(ctx context.Context, permission string) string {
	if words, ok := excessWords[permission]; ok {
		return i18n.T(ctx, words)
	}
	return permission
}

// lostText names what the optional permissions that lack cost.
func lostText(ctx context.Context, lost string) string {
	var list []string
	for _, id := range strings.Fields(lost) {
		if words, ok := lostWords[id]; ok {
			list = append(list, i18n.T(ctx, words))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return i18n.T(ctx, "What will not work: {list}.", "list", strings.Join(list, i18n.T(ctx, ", ")))
}

// failedCheck is the check that a reason belongs to; "" for the others.
var failedCheck = map[string]string{
	apperr.ErrClusterDNS: domain.CheckDNS, apperr.ErrClusterTLS: domain.CheckTLS,
	apperr.ErrClusterUnauthorized: domain.CheckCredentials, apperr.ErrCredentialsLocked: domain.CheckCredentials, apperr.ErrCredentialsTampered: domain.CheckCredentials,
	apperr.ErrClusterIdentity: domain.CheckKubernetes, apperr.ErrNotKubernetes: domain.CheckKubernetes,
	apperr.ErrNodesNotReady: domain.CheckKubernetes, apperr.ErrClusterDegraded: domain.CheckKubernetes,
	apperr.ErrKubeVirtMissing: domain.CheckKubeVirt, apperr.ErrKubeVirtNotReady: domain.CheckKubeVirt,
	apperr.ErrClusterForbidden: domain.CheckPermissions, apperr.ErrPermissionsMissing: domain.CheckPermissions,
}

// healthChecks tells the last check of a stored cluster as the list that the
// pre-flight has: up to the one that failed they passed, the others were not
// reached. A regular check does not ask for the own permissions, so those are
// there only when one was missed. What changes seldom is told from what was last
// read, as long as the cluster answers.
func healthChecks(r *http.Request, c cluster.Cluster) []views.CheckView {
	bad := failedCheck[c.Reason.Code]
	if bad == "" && !c.Reason.IsZero() {
		bad = domain.CheckReachable
	}
	known := describedChecks(c)
	var list []views.CheckView
	state := domain.CheckOK
	if c.Status == domain.ClusterUnknown && c.CheckedAt == nil {
		state = domain.CheckNotRun
	}
	for _, k := range preflightChecks {
		check := domain.Check{ID: k.id, State: state}
		switch k.id {
		case domain.CheckPrivilege:
			continue
		case domain.CheckPermissions:
			if bad != k.id {
				continue
			}
		case domain.CheckKubernetes:
			check.Params = map[string]any{"version": c.KubernetesVersion, "nodes": c.Nodes, "ready": c.ReadyNodes}
		case domain.CheckKubeVirt:
			check.Params = map[string]any{"version": c.KubeVirtVersion}
		case domain.CheckCDI, domain.CheckSnapshots, domain.CheckStorage, domain.CheckInstanceTypes:
			check = known[k.id]
		}
		if k.id == bad {
			check.State, check.Code, check.Params = domain.CheckFailed, c.Reason.Code, c.Reason.Params
			state = domain.CheckNotRun
		}
		list = append(list, checkView(r, check))
	}
	return list
}

// describedChecks judges what is known of a cluster's capabilities.
func describedChecks(c cluster.Cluster) map[string]domain.Check {
	known := map[string]domain.Check{}
	answers := c.Status == domain.ClusterHealthy || c.Status == domain.ClusterUnhealthy && c.Reason.Code != apperr.ErrClusterIdentity
	add := func(id, code string, params map[string]any) {
		check := domain.Check{ID: id, State: domain.CheckOK, Params: params}
		switch {
		case c.DescribedAt == nil || !answers:
			check.State = domain.CheckNotRun
		case code != "":
			check.State, check.Code = domain.CheckWarn, code
		}
		known[id] = check
	}
	can := c.Capabilities
	code := ""
	if !can.Serves("cdi.kubevirt.io") {
		code = apperr.ErrCDIMissing
	}
	add(domain.CheckCDI, code, nil)

	code, params := "", map[string]any{}
	switch lacks := can.SnapshotsLack(c.Features); {
	case lacks != "":
		code, params["name"] = apperr.ErrSnapshotsMissing, lacks
	case can.SnapshotClasses != nil && *can.SnapshotClasses == 0:
		code = apperr.ErrSnapshotClassMissing
	case can.SnapshotClasses != nil:
		params["classes"] = *can.SnapshotClasses
	}
	add(domain.CheckSnapshots, code, params)

	code = ""
	switch {
	case len(c.StorageClasses) == 0:
		code = apperr.ErrStorageMissing
	case !slices.ContainsFunc(c.StorageClasses, func(s domain.StorageClass) bool { return s.Default }):
		code = apperr.ErrStorageNoDefault
	}
	add(domain.CheckStorage, code, map[string]any{"classes": len(c.StorageClasses)})

	code = ""
	if can.InstanceTypes == 0 || can.Preferences == 0 {
		code = apperr.ErrInstanceTypesMissing
	}
	add(domain.CheckInstanceTypes, code, map[string]any{"types": can.InstanceTypes, "preferences": can.Preferences})
	return known
}

// checkView is one check with its result in words.
func checkView(r *http.Request, c domain.Check) views.CheckView {
	v := views.CheckView{State: c.State, Title: i18n.Text(lang(r), "check."+c.ID, nil)}
	if c.Code != "" {
		m := message(r, c.Code, c.Params)
		v.Text, v.Next = i18n.Join(m.What, m.Why), m.Next
		if lost, ok := c.Params["lost"].(string); ok {
			v.Text = i18n.Join(m.What, lostText(r.Context(), lost))
		}
		return v
	}
	if c.State == domain.CheckNotRun {
		for _, k := range preflightChecks {
			if k.id == c.ID {
				v.Text = i18n.T(r.Context(), k.looks)
			}
		}
		return v
	}
	p := c.Params
	has := func(name string) bool { return p[name] != nil && p[name] != "" }
	switch {
	case c.ID == domain.CheckKubernetes && has("version"):
		v.Text = i18n.T(r.Context(), "{version}, {ready} of {n} nodes ready", "version", p["version"], "ready", p["ready"], "n", p["nodes"])
	case c.ID == domain.CheckKubeVirt && has("version"):
		v.Text = i18n.T(r.Context(), "{version}, ready", "version", p["version"])
	case c.ID == domain.CheckCDI && has("version"):
		v.Text = i18n.T(r.Context(), "Served as {version}", "version", p["version"])
	case c.ID == domain.CheckSnapshots && has("classes"):
		v.Text = i18n.T(r.Context(), "Snapshot classes: {n}", "n", p["classes"])
	case c.ID == domain.CheckStorage && has("classes"):
		v.Text = i18n.T(r.Context(), "Storage classes: {n}", "n", p["classes"])
	case c.ID == domain.CheckInstanceTypes && has("types"):
		v.Text = i18n.T(r.Context(), "Instance types: {types}, preferences: {preferences}", "types", p["types"], "preferences", p["preferences"])
	default:
		v.Text = i18n.T(r.Context(), "Passed")
	}
	return v
}
