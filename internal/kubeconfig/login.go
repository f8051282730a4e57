package kubeconfig

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Login is who signs a context in, when the file leaves that to a program. It
// is one of the list below and never a text of the file.
type Login string

// The logins. LoginProgram is any program that is not known.
const (
	LoginEKS          Login = "eks"
	LoginGKE          Login = "gke"
	LoginAKS          Login = "aks"
	LoginOIDC         Login = "oidc"
	LoginRancher      Login = "rancher"
	LoginOpenShift    Login = "openshift"
	LoginTeleport     Login = "teleport"
	LoginPinniped     Login = "pinniped"
	LoginTanzu        Login = "tanzu"
	LoginDigitalOcean Login = "digitalocean"
	LoginOracle       Login = "oke"
	LoginProgram      Login = "program"
)

// products are the names by which people know the logins.
var products = map[Login]string{
	LoginEKS: "Amazon EKS", LoginGKE: "Google GKE", LoginAKS: "Azure AKS", LoginOIDC: "OpenID Connect", LoginRancher: "Rancher",
	LoginOpenShift: "OpenShift", LoginTeleport: "Teleport", LoginPinniped: "Pinniped", LoginTanzu: "VMware Tanzu",
	LoginDigitalOcean: "DigitalOcean", LoginOracle: "Oracle OKE",
}

// Product is the name by which people know a login, "" of LoginProgram.
func (l Login) Product() string { return products[l] }

// Relayed says that the server of such a context is a relay that knows only its
// own users. A service account signs in at the cluster's own address.
func (l Login) Relayed() bool { return l == LoginRancher || l == LoginTeleport }

// programs are the logins of programs that do nothing else.
var programs = map[string]Login{
	"aws-iam-authenticator": LoginEKS, "heptio-authenticator-aws": LoginEKS,
	"gke-gcloud-auth-plugin": LoginGKE, "gcloud": LoginGKE,
	"az": LoginAKS, "azure-kubelogin": LoginAKS,
	"kubectl-oidc_login": LoginOIDC, "oidc-login": LoginOIDC,
	"rancher": LoginRancher, "oc": LoginOpenShift, "tsh": LoginTeleport, "tbot": LoginTeleport,
	"pinniped": LoginPinniped, "tanzu": LoginTanzu, "doctl": LoginDigitalOcean, "oci": LoginOracle,
}

// plugins are the logins of kubectl's old auth-providers.
var plugins = map[string]Login{"gcp": LoginGKE, "azure": LoginAKS, "oidc": LoginOIDC}

// execLogin recognises the program that an exec mapping names.
func execLogin(exec *yaml.Node) Login {
	var args []string
	if list := lookup(exec, "args"); list != nil && list.Kind == yaml.SequenceNode {
		for _, a := range list.Content {
			args = append(args, a.Value)
		}
	}
	program := path.Base(strings.ReplaceAll(scalar(exec, "command"), `\`, "/"))
	program = strings.TrimSuffix(strings.ToLower(program), ".exe")
	oidc := func(arg string) bool { return strings.HasPrefix(arg, "--oidc-") }
	switch {
	case programs[program] != "":
		return programs[program]
	case program == "kubelogin" && slices.ContainsFunc(args, oidc), // two programs have that name
		program == "kubectl" && slices.Contains(args, "oidc-login"):
		return LoginOIDC
	case program == "kubelogin":
		return LoginAKS
	case strings.Contains(strings.Join(args, " "), "eks get-token"): // aws, and what is wrapped around it
		return LoginEKS
	}
	return LoginProgram
}

// pluginLogin recognises the auth-provider.
func pluginLogin(provider *yaml.Node) Login {
	if l, ok := plugins[scalar(provider, "name")]; ok {
		return l
	}
	return LoginProgram
}

// scalar is the text at a key of a mapping, or "".
func scalar(mapping *yaml.Node, key string) string {
	if n := lookup(mapping, key); n != nil && n.Kind == yaml.ScalarNode {
		return n.Value
	}
	return ""
}
