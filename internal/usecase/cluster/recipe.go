package cluster

import (
	"fmt"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/kubeconfig"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// recipe makes a service account with exactly our permissions and writes a
// kubeconfig with its token. It runs as a whole in a subshell, so that pasting it
// stops at the first fault and leaves the shell as it was; it can be repeated.
// Comments would be faults in zsh, where pasted lines are interactive, and a short
// name for kubectl could be an alias that is there. The holes:
// kubectl with its context, ClusterRole, server, CA, name of cluster and context.
const recipe = `(
set -eu
umask 077
shepherd_kubectl() { %s "$@"; }
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
---
%s---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: kubevirt-shepherd
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: kubevirt-shepherd
subjects:
  - kind: ServiceAccount
    name: kubevirt-shepherd
    namespace: kubevirt-shepherd
---
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata:
  name: kubevirt-shepherd
  namespace: kubevirt-shepherd
  annotations:
    kubernetes.io/service-account.name: kubevirt-shepherd
YAML
TOKEN=
for i in 1 2 3 4 5; do
  TOKEN=$(shepherd_kubectl -n kubevirt-shepherd get secret kubevirt-shepherd -o go-template='{{with .data}}{{with .token}}{{base64decode .}}{{end}}{{end}}')
  [ -n "$TOKEN" ] && break
  sleep 1
done
[ -n "$TOKEN" ] || TOKEN=$(shepherd_kubectl -n kubevirt-shepherd create token kubevirt-shepherd --duration=8760h)
SERVER=%s
CA=$(%s)
cat > shepherd.kubeconfig <<YAML
apiVersion: v1
kind: Config
clusters:
  - name: %[5]s
    cluster:
      server: $SERVER
      certificate-authority-data: $CA
users:
  - name: kubevirt-shepherd
    user:
      token: $TOKEN
contexts:
  - name: %[5]s
    context:
      cluster: %[5]s
      user: kubevirt-shepherd
current-context: %[5]s
YAML
echo 'Upload shepherd.kubeconfig now.'
)
`

// What the holes can hold.
const (
	currentServer = `$(shepherd_kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}')`
	unknownServer = `'https://ADDRESS-OF-THE-CLUSTER:6443'`
	fileCA        = `shepherd_kubectl config view --raw --minify --flatten -o jsonpath='{.clusters[0].cluster.certificate-authority-data}'`
	clusterCA     = `shepherd_kubectl -n kubevirt-shepherd get secret kubevirt-shepherd -o jsonpath='{.data.ca\.crt}'`
)

// Recipe is what to paste into a shell with kubectl to make a service account
// for Shepherd in the cluster of the current context. role is the ClusterRole,
// as YAML.
func Recipe(role string) string {
	return fmt.Sprintf(recipe, "kubectl", role, currentServer, fileCA, "shepherd")
}

// Recipe is the recipe for the cluster of this context, whose names are whatever
// somebody has written into a file. NeedsAddress says when a line has to be
// filled in.
func (c Context) Recipe(role string) string {
	name := nameOf(c.Name)
	if name == "" {
		name = nameOf(c.Cluster)
	}
	if name == "" {
		name = "shepherd"
	}
	server, ca := shellWord(c.Server), fileCA
	switch insecure := c.Refusal != nil && c.Refusal.Code == apperr.ErrKubeconfigInsecureTLS; {
	case c.NeedsAddress():
		server, ca = unknownServer, clusterCA
	case insecure: // there is none in the file
		ca = clusterCA
	}
	return fmt.Sprintf(recipe, c.kubectl(), role, server, ca, name)
}

// Export is the command that writes the files that a context refers to into one.
func (c Context) Export() string {
	return c.kubectl() + " config view --raw --flatten --minify > shepherd.kubeconfig"
}

// adminAccess is how kubectl becomes an admin of the clusters of clouds.
var adminAccess = map[kubeconfig.Login]string{
	kubeconfig.LoginEKS: "aws eks update-kubeconfig --name NAME --region REGION",
	kubeconfig.LoginGKE: "gcloud container clusters get-credentials NAME --location LOCATION",
	kubeconfig.LoginAKS: "az aks get-credentials --resource-group GROUP --name NAME --admin",
}

// AdminAccess is the command of the context's cloud that lets kubectl in as an
// admin, which the recipe needs; "" when there is no such cloud.
func (c Context) AdminAccess() string { return adminAccess[c.Login] }

// NeedsAddress says that the file has no address at which a service account
// could sign in: none that can be used, or that of a relay.
func (c Context) NeedsAddress() bool { return c.Server == "" || c.Login.Relayed() }

// Nameless says that the context's name is not as it stands in the file, because
// it cannot be shown: it has to be chosen by hand.
func (c Context) Nameless() bool { return strings.ContainsAny(c.Name, "\ufffd…") }

func (c Context) kubectl() string {
	if c.Nameless() {
		return "kubectl"
	}
	return "kubectl --context " + shellWord(c.Name)
}

// shellWord quotes a text of foreign origin as one word of a POSIX shell. Within
// single quotes nothing has a meaning but their end.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
