package domain

import (
	"regexp"
	"slices"
	"strings"
)

// Requirements are what VMs of a template need of a cluster.
type Requirements struct {
	Features []string // KubeVirt's feature gates
	Hardware []string // what an admin says that the cluster has
}

// MaxTokens is how many features, or pieces of hardware, a list may name.
const MaxTokens = 50

// Lacking are the requirements that a cluster with features and hardware does
// not meet.
func (r Requirements) Lacking(features, hardware []string) Requirements {
	without := func(wanted, has []string) (lacks []string) {
		for _, w := range wanted {
			if !slices.Contains(has, w) {
				lacks = append(lacks, w)
			}
		}
		return lacks
	}
	return Requirements{without(r.Features, features), without(r.Hardware, hardware)}
}

// IsZero says that nothing is required.
func (r Requirements) IsZero() bool { return len(r.Features)+len(r.Hardware) == 0 }

var (
	gateName      = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,62}$`)
	qualifiedName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	subdomain     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// ValidGate says whether s can be the name of a feature gate of KubeVirt, such
// as LiveMigration.
func ValidGate(s string) bool { return gateName.MatchString(s) }

// ValidHardware says whether s is a qualified name as Kubernetes has them:
// sriov, hugepages-1Gi or gpu.example.com/a100.
func ValidHardware(s string) bool {
	prefix, name, has := strings.Cut(s, "/")
	if !has {
		prefix, name = "", s
	}
	return qualifiedName.MatchString(name) && (!has || len(prefix) <= 253 && subdomain.MatchString(prefix))
}

// Tokens are the words of a list as it is typed, between commas, spaces and
// lines: each once, in order.
func Tokens(text string) []string {
	list := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
	slices.Sort(list)
	return slices.Compact(list)
}
