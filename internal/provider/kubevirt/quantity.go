package kubevirt

import (
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// foreignQuantity is an amount that a cluster tells. Kubernetes' parser works
// for many seconds on one such as 1e-9999999, so what nobody writes in earnest
// is not given to it and counts as nothing.
type foreignQuantity struct{ resource.Quantity }

var plainQuantity = regexp.MustCompile(`^[0-9]{1,20}(\.[0-9]{1,9})?([eE][0-9]{1,2}|m|k|[KMGTPE]i?)?$`)

// UnmarshalJSON takes texts and numbers.
func (q *foreignQuantity) UnmarshalJSON(raw []byte) error {
	q.Quantity = resource.Quantity{}
	text := strings.Trim(string(raw), `"`)
	if !plainQuantity.MatchString(text) {
		return nil
	}
	var err error
	q.Quantity, err = resource.ParseQuantity(text)
	return err
}
