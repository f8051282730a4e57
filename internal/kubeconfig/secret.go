package kubeconfig

import (
	"go.yaml.in/yaml/v3"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// keysOfSecrets are where programs keep the kubeconfig in a Secret: the Cluster
// API, Gardener, vcluster, Kamaji. They decide when a Secret holds several.
var keysOfSecrets = []string{"value", "kubeconfig", "config", "admin.conf"}

func isSecret(root *yaml.Node) bool {
	return scalar(root, "kind") == "Secret" && scalar(root, "apiVersion") == "v1"
}

// unwrap takes the kubeconfig out of the manifest of a Secret. at is the path of
// the key that holds it.
func unwrap(secret *yaml.Node) (root *yaml.Node, at string, refusal *apperr.AppError) {
	found := map[string]*yaml.Node{}
	for _, field := range []string{"data", "stringData"} { // the latter wins, as in Kubernetes
		values := lookup(secret, field)
		if values == nil || values.Kind != yaml.MappingNode {
			continue
		}
		for key, v := range pairs(values) {
			text := []byte(v.Value)
			if field == "data" {
				var err error
				if text, err = unfold(v.Value); err != nil {
					continue
				}
			}
			if doc, e := document(text); e == nil && scalar(doc, "kind") == "Config" {
				found[key.Value], at = doc, child(field, key)
			}
		}
	}
	if len(found) == 1 {
		for _, doc := range found {
			return doc, at, nil
		}
	}
	for _, key := range keysOfSecrets {
		if doc := found[key]; doc != nil {
			return doc, "data." + key, nil
		}
	}
	return nil, "", refuse(apperr.ErrKubeconfigSecret, "data", lookup(secret, "data"))
}

// inside puts the path of a Secret's key before the path of a refusal. Its line
// is one of the text in there.
func inside(at string, e *apperr.AppError) *apperr.AppError {
	path, ok := "", false
	if e != nil {
		path, ok = e.Params["path"].(string)
	}
	if at == "" || !ok {
		return e
	}
	return e.With("path", at+": "+path)
}
