package vm

import (
	"bytes"
	"slices"

	"go.yaml.in/yaml/v3"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// cloudConfig adds SSH keys to the first-boot data of a template. It works on
// the parsed document, never on its text, so that no key can add a line of its
// own. It answers with nil when there is nothing to say, and with
// CLOUD_INIT_INVALID when the template is not a cloud-config.
func cloudConfig(base domain.Secret, keys []string) (domain.Secret, error) {
	doc := map[string]any{}
	if len(bytes.TrimSpace(base)) > 0 {
		// The parser's own words may quote the data: they go nowhere.
		if err := yaml.Unmarshal(base, &doc); err != nil {
			return nil, apperr.New(apperr.ErrCloudInit)
		}
	}
	if len(keys) > 0 {
		const field = "ssh_authorized_keys"
		var all []any
		switch have := doc[field].(type) {
		case nil:
		case []any:
			all = slices.Clone(have)
		default:
			return nil, apperr.New(apperr.ErrCloudInit)
		}
		for _, k := range keys {
			if !slices.Contains(all, any(k)) {
				all = append(all, k)
			}
		}
		if doc == nil { // a document of comments only
			doc = map[string]any{}
		}
		doc[field] = all
	}
	if len(doc) == 0 {
		return nil, nil
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		return nil, apperr.New(apperr.ErrCloudInit)
	}
	return append([]byte("#cloud-config\n"), out...), nil
}
