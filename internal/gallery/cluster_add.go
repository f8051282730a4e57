package gallery

import (
	"time"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

const commands = `(
set -eu
umask 077
shepherd_kubectl() { kubectl --context 'oidc-admin@fra-prod-3' "$@"; }
shepherd_kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Namespace
metadata:
  name: kubevirt-shepherd
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: kubevirt-shepherd
  namespace: kubevirt-shepherd
YAML
echo 'Upload shepherd.kubeconfig now.'
)
`

func refusedContexts() []views.RefusedContext {
	const wayOut = "Make a service account in the cluster, give it the role of Shepherd, and upload a kubeconfig with its token."
	return []views.RefusedContext{
		{
			Name: "arn:aws:eks:eu-central-1:123456789012:cluster/fra-prod-4", Server: "https://0F4D.gr7.eu-central-1.eks.amazonaws.com",
			Why:    "This context signs in through Amazon EKS, by running a program (users[1].user.exec). Shepherd never runs programs that are named in an uploaded file.",
			WayOut: wayOut, Access: "aws eks update-kubeconfig --name NAME --region REGION", Commands: commands,
		},
		{
			Name: "rancher-fra", Server: "https://rancher.example.com/k8s/clusters/c-m-4x7kq2bz",
			Why:    "This context signs in through Rancher, by running a program (users[2].user.exec). Shepherd never runs programs that are named in an uploaded file.",
			WayOut: wayOut, Commands: commands, NeedsAddress: true, Nameless: true,
		},
		{
			Name: "minikube", Server: "https://192.168.49.2:8443",
			Why:    "This context refers to a file on another machine (users[3].user.client-certificate). Shepherd never opens files that are named in an uploaded file.",
			WayOut: wayOut, Export: "kubectl --context 'minikube' config view --raw --flatten --minify > shepherd.kubeconfig", Commands: commands,
		},
	}
}

func clusterDraft() views.ClusterDraftView {
	ends := at(-22 * time.Minute)
	return views.ClusterDraftView{
		Draft: "d1", File: "fra-prod-3.kubeconfig", Ends: ends,
		Contexts: []views.ContextChoice{
			{Name: "shepherd@fra-prod-3", Text: "https://10.60.0.10:6443, as system:serviceaccount:shepherd-system:shepherd", Selected: true, Verdict: ui.StatusView{Label: "1 to fix", Role: ui.Bad, Glyph: "failed"}},
			{Name: "oidc-admin@fra-prod-3", Text: "This context signs in through OpenID Connect, by running a program.", Refused: true},
			{Name: "kubernetes-admin@fra-prod-3", Text: "https://10.60.0.10:6443, as kubernetes-admin, ends in 9 days", Warn: true},
		},
		Refused: []views.RefusedContext{{
			Name: "oidc-admin@fra-prod-3", Server: "https://10.60.0.10:6443", Commands: commands,
			Why:    "This context signs in through OpenID Connect, by running a program (users[1].user.exec). Shepherd never runs programs that are named in an uploaded file.",
			WayOut: "Make a service account in the cluster, give it the role of Shepherd, and upload a kubeconfig with its token.",
		}},
		Values: views.ClusterValues{Name: "fra-prod-3", Place: "Frankfurt, room C", Suggested: "shepherd@fra-prod-3"},
		Envs:   []ui.Option{{Value: "test", Label: "test"}, {Value: "prod", Label: "prod", Selected: true}},
		Preflight: views.Preflight{
			Context: "shepherd@fra-prod-3", Checks: checks(), Took: 2400 * time.Millisecond, Missing: missingRole, Excess: []string{"everything in every namespace (*)"},
			Warnings: []string{"The token has no end: whoever gets hold of it can use it until it is deleted in the cluster. Replace it from time to time."}, Mild: true,
			Unchecked: 1,
		},
		Commands: commands,
	}
}

// addingCluster are the steps of adding a cluster, in the states that matter.
func addingCluster() map[string]templ.Component {
	admin := shell("Add cluster", "clusters", "admin")
	notRun := []views.CheckView{{State: domain.CheckNotRun, Title: "Reachable", Text: "The server can open a connection to the API"}, {State: domain.CheckNotRun, Title: "Permissions", Text: "What is missing is shown as a file to apply"}}
	start := views.ClusterNewView{Checks: notRun, Commands: commands}
	broken, clouds := start, start
	broken.Errors = []ui.FieldError{{Field: "kubeconfig", Label: "Kubeconfig", Message: "The kubeconfig cannot be read: see line 7. It is not valid YAML or JSON."}}
	clouds.Errors = []ui.FieldError{{Field: "kubeconfig", Label: "Kubeconfig", Message: "No context of this file can be used. For each of them this page says why, and what to do."}}
	clouds.Refused = refusedContexts()

	fresh, passing, known, many, bad := clusterDraft(), clusterDraft(), clusterDraft(), clusterDraft(), clusterDraft()
	fresh.Preflight = views.Preflight{Context: "shepherd@fra-prod-3", Checks: notRun, Unchecked: 2}
	fresh.Contexts[0].Verdict = ui.StatusView{}
	passing.Preflight = views.Preflight{Context: "shepherd@fra-prod-3", Checks: checks()[:5], CanAdd: true}
	passing.Contexts[0].Verdict = ui.StatusView{Label: "Ready to add", Role: ui.OK, Glyph: "running"}
	passing.Refused, passing.Contexts = nil, passing.Contexts[:1]
	known.Preflight = views.Preflight{Context: "shepherd@fra-prod-3", Checks: checks()[:5], Known: "c1", KnownName: "fra-prod-1"}
	known.Contexts[0].Verdict = ui.StatusView{Label: "Already here, as fra-prod-1", Role: ui.Bad, Glyph: "failed"}
	many.Preflight = views.Preflight{
		Context: "shepherd@fra-prod-3", Checks: checks()[:5], CanAdd: true, Unchecked: 7, Waiting: true, Next: *at(-42 * time.Second),
		NameTaken: "fra-prod-3", Note: "You did this too often. Wait 42 s.",
	}
	bad.Errors = []ui.FieldError{{Field: "context", Label: "Context", Message: "choose one"}, {Field: "name", Label: "Name", Message: "a cluster of this name exists"}}

	return map[string]templ.Component{
		"cluster-new":          views.ClusterNew(admin, start),
		"cluster-new-error":    views.ClusterNew(admin, broken),
		"cluster-new-clouds":   views.ClusterNew(admin, clouds),
		"cluster-draft":        views.ClusterDraft(admin, clusterDraft()),
		"cluster-draft-fresh":  views.ClusterDraft(admin, fresh),
		"cluster-draft-pass":   views.ClusterDraft(admin, passing),
		"cluster-draft-known":  views.ClusterDraft(admin, known),
		"cluster-draft-many":   views.ClusterDraft(admin, many),
		"cluster-draft-errors": views.ClusterDraft(admin, bad),
	}
}
