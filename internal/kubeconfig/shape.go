package kubeconfig

import (
	"iter"
	"slices"

	"go.yaml.in/yaml/v3"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// value is one text of the file with its place. The zero value is an absent key.
type value struct {
	text string
	path string
	node *yaml.Node
}

func (v value) refuse(code string) *apperr.AppError { return refuse(code, v.path, v.node) }

// rawFile is the file after the check of its keys, before that of its values.
type rawFile struct {
	current  string
	clusters []entry
	users    []entry
	contexts []rawContext
}

// entry is a named cluster or user. refusal is the first forbidden key in it.
type entry struct {
	name    string
	at      value // its place, without a text
	values  map[string]value
	login   Login // of a user whom a program signs in
	refusal *apperr.AppError
}

type rawContext struct {
	name, namespace string
	cluster, user   int              // indexes in the file's lists; -1: not in them
	refusal         *apperr.AppError // it points to something that is not there
}

// The keys that a cluster, a user and a context may have. Text keys are read,
// forbidden keys refuse with their own code, ignored keys are dropped; every
// other key refuses the file.
type allowed struct {
	text      []string
	ignored   []string
	forbidden map[string]string
}

var (
	clusterKeys = allowed{
		text:    []string{"server", "certificate-authority-data", "tls-server-name"},
		ignored: []string{extensions, "disable-compression", "api-version"}, // the last is from before Kubernetes 1.5
		forbidden: map[string]string{
			"certificate-authority":    apperr.ErrKubeconfigFilePath,
			"proxy-url":                apperr.ErrKubeconfigProxy,
			"insecure-skip-tls-verify": apperr.ErrKubeconfigInsecureTLS,
		},
	}
	userKeys = allowed{
		text:    []string{"token", "client-certificate-data", "client-key-data"},
		ignored: []string{extensions},
		forbidden: map[string]string{
			"exec":               apperr.ErrKubeconfigExec,
			"auth-provider":      apperr.ErrKubeconfigAuthProvider,
			"tokenFile":          apperr.ErrKubeconfigFilePath,
			"client-certificate": apperr.ErrKubeconfigFilePath,
			"client-key":         apperr.ErrKubeconfigFilePath,
			"as":                 apperr.ErrKubeconfigImpersonation,
			"as-uid":             apperr.ErrKubeconfigImpersonation,
			"as-groups":          apperr.ErrKubeconfigImpersonation,
			"as-user-extra":      apperr.ErrKubeconfigImpersonation,
			"username":           apperr.ErrKubeconfigBasicAuth,
			"password":           apperr.ErrKubeconfigBasicAuth,
		},
	}
	contextKeys = allowed{text: []string{"cluster", "user", "namespace"}, ignored: []string{extensions}}
)

// extensions is dropped wherever client-go allows it: minikube and others keep
// notes there.
const extensions = "extensions"

// read checks the shape of the file: its kind, its keys, and unique names. What
// kubectl leaves behind when something is deleted is no fault of the file: a
// context that points to nothing is refused alone, a current one is forgotten.
func read(root *yaml.Node) (*rawFile, *apperr.AppError) {
	// The kind first: a manifest of something else is not an "unknown key".
	if n := lookup(root, "kind"); n == nil || n.Kind != yaml.ScalarNode || n.Value != "Config" {
		return nil, refuse(apperr.ErrKubeconfigKind, "kind", n)
	}
	if n := lookup(root, "apiVersion"); n == nil || n.Kind != yaml.ScalarNode || n.Value != "v1" {
		return nil, refuse(apperr.ErrKubeconfigKind, "apiVersion", n)
	}
	f := &rawFile{}
	var contexts []entry
	for key, node := range pairs(root) {
		var e *apperr.AppError
		switch key.Value {
		case "kind", "apiVersion", "preferences", extensions:
		case "current-context":
			var current value
			current, e = text(node, "current-context")
			f.current = clean(current.text)
		case "clusters":
			f.clusters, e = entries(node, "clusters", "cluster", clusterKeys)
		case "users":
			f.users, e = entries(node, "users", "user", userKeys)
		case "contexts":
			contexts, e = entries(node, "contexts", "context", contextKeys)
		default:
			e = refuse(apperr.ErrKubeconfigUnknownField, child("", key), key)
		}
		if e != nil {
			return nil, e
		}
	}
	if len(contexts) == 0 {
		return nil, refuse(apperr.ErrKubeconfigNoContext, "contexts", lookup(root, "contexts"))
	}
	for _, c := range contexts {
		rc := rawContext{name: c.name, namespace: clean(c.values["namespace"].text)}
		var noCluster, noUser *apperr.AppError
		rc.cluster, noCluster = c.follow("cluster", f.clusters)
		rc.user, noUser = c.follow("user", f.users)
		if rc.refusal = noCluster; rc.refusal == nil {
			rc.refusal = noUser
		}
		f.contexts = append(f.contexts, rc)
	}
	if !slices.ContainsFunc(contexts, func(c entry) bool { return c.name == f.current }) {
		f.current = ""
	}
	return f, nil
}

// follow finds the cluster or user that a context points to.
func (c entry) follow(key string, among []entry) (int, *apperr.AppError) {
	v := c.get(key)
	want := clean(v.text)
	i := slices.IndexFunc(among, func(e entry) bool { return e.name == want })
	if i < 0 {
		return -1, v.refuse(apperr.ErrKubeconfigReference)
	}
	return i, nil
}

// entries reads a list of {name, <inner>: {…}}.
func entries(list *yaml.Node, path, inner string, keys allowed) ([]entry, *apperr.AppError) {
	if isNull(list) { // kubectl writes "users: null"
		return nil, nil
	}
	if list.Kind != yaml.SequenceNode {
		return nil, refuse(apperr.ErrKubeconfigSyntax, path, list)
	}
	var out []entry
	names := map[string]bool{}
	for i, item := range list.Content {
		here := index(path, i)
		if item.Kind != yaml.MappingNode {
			return nil, refuse(apperr.ErrKubeconfigSyntax, here, item)
		}
		e := entry{at: value{path: here + "." + inner, node: item}, values: map[string]value{}}
		name := value{path: here + ".name", node: item}
		for key, node := range pairs(item) {
			var err *apperr.AppError
			switch key.Value {
			case "name":
				name, err = text(node, here+".name")
			case inner:
				err = e.fill(node, keys)
			default:
				err = refuse(apperr.ErrKubeconfigUnknownField, child(here, key), key)
			}
			if err != nil {
				return nil, err
			}
		}
		switch {
		case name.text == "":
			return nil, name.refuse(apperr.ErrKubeconfigSyntax)
		case len(name.text) > MaxName:
			return nil, name.refuse(apperr.ErrKubeconfigTooComplex).With("limit", MaxName)
		}
		// Unique after cleaning, because the cleaned name is what a person sees
		// and chooses.
		if e.name = clean(name.text); names[e.name] {
			return nil, name.refuse(apperr.ErrKubeconfigDuplicateName)
		}
		names[e.name] = true
		out = append(out, e)
	}
	return out, nil
}

// fill reads the inner mapping of an entry: texts, and the first forbidden key.
func (e *entry) fill(node *yaml.Node, keys allowed) *apperr.AppError {
	if isNull(node) {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return refuse(apperr.ErrKubeconfigSyntax, e.at.path, node)
	}
	e.at.node = node
	for key, n := range pairs(node) {
		here := child(e.at.path, key)
		code, forbidden := keys.forbidden[key.Value]
		switch {
		case slices.Contains(keys.ignored, key.Value):
		case slices.Contains(keys.text, key.Value):
			v, err := text(n, here)
			if err != nil {
				return err
			}
			e.values[key.Value] = v
		case !forbidden:
			return refuse(apperr.ErrKubeconfigUnknownField, here, key)
		case !harmless(key.Value, n):
			r := refuse(code, here, key)
			switch key.Value {
			case "exec":
				e.login = execLogin(n)
			case "auth-provider":
				e.login = pluginLogin(n)
			}
			if product := e.login.Product(); product != "" {
				r = r.With("login", product)
			}
			if e.refusal == nil {
				e.refusal = r
			}
		}
	}
	return nil
}

// harmless says that a forbidden key says nothing: it is null, an empty text,
// or insecure-skip-tls-verify: false.
func harmless(key string, n *yaml.Node) bool {
	return isNull(n) || n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value == "" ||
		key == "insecure-skip-tls-verify" && n.Kind == yaml.ScalarNode && n.Tag == "!!bool" && n.Value == "false"
}

// text reads a text; a number or yes/no in its place is refused and not guessed.
func text(n *yaml.Node, path string) (value, *apperr.AppError) {
	if isNull(n) {
		return value{path: path, node: n}, nil
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return value{}, refuse(apperr.ErrKubeconfigSyntax, path, n)
	}
	return value{text: n.Value, path: path, node: n}, nil
}

// pairs walks a mapping in the order of the file.
func pairs(m *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(m.Content); i += 2 {
			if !yield(m.Content[i], m.Content[i+1]) {
				return
			}
		}
	}
}

// lookup is the value of a key, or nil. What is no mapping has no keys.
func lookup(m *yaml.Node, name string) *yaml.Node {
	if m.Kind != yaml.MappingNode {
		return nil
	}
	for key, v := range pairs(m) {
		if key.Value == name {
			return v
		}
	}
	return nil
}

// clean makes a text of the file fit to be stored and shown.
func clean(s string) string { return domain.CleanText(s, MaxName) }
