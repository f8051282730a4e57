package handlers

import (
	"context"
	"net/http"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/views"
)

// preflightChecks are the checks in their order, with what each looks at.
var preflightChecks = []struct{ id, looks string }{
	{"reachable", i18n.N("The portal can open a connection to the API server.")},
	{"tls", i18n.N("The certificate is signed by the CA in the kubeconfig and made for this address.")},
	{"credentials", i18n.N("The cluster accepts the credential.")},
	{"kubernetes", i18n.N("Version and nodes.")},
	{"kubevirt", i18n.N("KubeVirt is installed and ready.")},
	{"storage", i18n.N("There is a storage class, and one is the default.")},
	{"permissions", i18n.N("The credential may do all that Shepherd needs, and not much more.")},
}

// excessWords says what a permission that is too much allows.
var excessWords = map[string]string{
	"*":           i18n.N("do everything in the whole cluster"),
	"secrets":     i18n.N("read every Secret"),
	"impersonate": i18n.N("act as somebody else"),
}

func excessText(ctx context.Context, permission string) string {
	if words, ok := excessWords[permission]; ok {
		return i18n.T(ctx, words)
	}
	return permission
}

// failedCheck is the check that a reason belongs to; "" for the others.
var failedCheck = map[string]string{
	apperr.ErrClusterTLS:          "tls",
	apperr.ErrClusterUnauthorized: "credentials", apperr.ErrCredentialsLocked: "credentials", apperr.ErrCredentialsTampered: "credentials",
	apperr.ErrClusterIdentity: "kubernetes", apperr.ErrNotKubernetes: "kubernetes", apperr.ErrNodesNotReady: "kubernetes", apperr.ErrClusterDegraded: "kubernetes",
	apperr.ErrKubeVirtMissing: "kubevirt", apperr.ErrKubeVirtNotReady: "kubevirt",
	apperr.ErrStorageMissing: "storage", apperr.ErrStorageNoDefault: "storage",
	apperr.ErrClusterForbidden: "permissions", apperr.ErrPermissionsMissing: "permissions",
}

// healthChecks tells the last check of a stored cluster as the list that the
// pre-flight has: up to the one that failed they passed, the others were not
// reached.
func healthChecks(r *http.Request, c cluster.Cluster) []views.CheckView {
	bad := failedCheck[c.Reason.Code]
	if bad == "" && !c.Reason.IsZero() {
		bad = "reachable"
	}
	var list []views.CheckView
	state := domain.CheckOK
	if c.Status == domain.ClusterUnknown && c.CheckedAt == nil {
		state = domain.CheckNotRun
	}
	for _, k := range preflightChecks {
		check := domain.Check{ID: k.id, State: state}
		switch k.id {
		case "kubernetes":
			check.Params = map[string]any{"version": c.KubernetesVersion, "nodes": c.Nodes, "ready": c.ReadyNodes}
		case "kubevirt":
			check.Params = map[string]any{"version": c.KubeVirtVersion}
		case "storage":
			check.Params = map[string]any{"classes": len(c.StorageClasses)}
		}
		if k.id == bad {
			check.State, check.Code, check.Params = domain.CheckFailed, c.Reason.Code, c.Reason.Params
			state = domain.CheckNotRun
		}
		list = append(list, checkView(r, check))
	}
	return list
}

// checkView is one check with its result in words.
func checkView(r *http.Request, c domain.Check) views.CheckView {
	v := views.CheckView{State: c.State, Title: i18n.Text(lang(r), "check."+c.ID, nil)}
	if c.Code != "" {
		m := message(r, c.Code, c.Params)
		v.Text, v.Next = i18n.Join(m.What, m.Why), m.Next
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
	switch {
	case c.ID == "kubernetes" && p["version"] != nil && p["version"] != "":
		v.Text = i18n.T(r.Context(), "{version}, {ready} of {n} nodes ready", "version", p["version"], "ready", p["ready"], "n", p["nodes"])
	case c.ID == "kubevirt" && p["version"] != nil && p["version"] != "":
		v.Text = i18n.T(r.Context(), "{version}, ready", "version", p["version"])
	case c.ID == "storage" && p["classes"] != nil:
		v.Text = i18n.T(r.Context(), "Storage classes: {n}", "n", p["classes"])
	default:
		v.Text = i18n.T(r.Context(), "Passed")
	}
	return v
}
