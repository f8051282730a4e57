package kubevirt

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	authv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// permissions is everything that this package asks a cluster for. The
// pre-flight checks it and the ClusterRole is written from it, so that the two
// cannot differ. What only costs a convenience when it lacks says which: lost.
var permissions = []struct {
	group, resource string
	verbs           []string
	lost            string
}{
	{"kubevirt.io", "virtualmachines", []string{"get", "list", "watch", "create", "patch", "delete"}, ""},
	{"kubevirt.io", "virtualmachineinstances", []string{"get", "list", "watch"}, ""},
	{"kubevirt.io", "virtualmachineinstancemigrations", []string{"get", "create"}, ""},
	{"kubevirt.io", "kubevirts", []string{"list"}, ""},
	{"subresources.kubevirt.io", "virtualmachines/start", []string{"update"}, ""},
	{"subresources.kubevirt.io", "virtualmachines/stop", []string{"update"}, ""},
	{"subresources.kubevirt.io", "virtualmachines/restart", []string{"update"}, ""},
	{"subresources.kubevirt.io", "virtualmachineinstances/pause", []string{"update"}, ""},
	{"subresources.kubevirt.io", "virtualmachineinstances/unpause", []string{"update"}, ""},
	{"storage.k8s.io", "storageclasses", []string{"list"}, ""},
	{"", "nodes", []string{"get", "list", "watch"}, ""},
	{"", "namespaces", []string{"get"}, ""},
	{"", "secrets", []string{"create", "patch"}, ""}, // cloud-init; never get or list
	{"", "namespaces", []string{"create"}, "create_namespaces"},
	{"", "resourcequotas", []string{"list"}, "quotas"},
	{"cdi.kubevirt.io", "datavolumes", []string{"get"}, "disk_errors"},
	{"instancetype.kubevirt.io", "virtualmachineclusterinstancetypes", []string{"list"}, "instancetypes"},
	{"instancetype.kubevirt.io", "virtualmachineclusterpreferences", []string{"list"}, "instancetypes"},
	{"snapshot.storage.k8s.io", "volumesnapshotclasses", []string{"list"}, "snapshot_classes"},
}

// permission is a rule with what is lost without it; "" when nothing works.
type permission struct {
	rule domain.ResourceRule
	lost string
}

func wanted() []permission {
	var all []permission
	for _, p := range permissions {
		for _, v := range p.verbs {
			all = append(all, permission{domain.ResourceRule{Group: p.group, Resource: p.resource, Verb: v}, p.lost})
		}
	}
	return all
}

// Rules lists the permissions that the portal uses, one verb each.
func Rules() []domain.ResourceRule {
	var rules []domain.ResourceRule
	for _, p := range wanted() {
		rules = append(rules, p.rule)
	}
	return rules
}

// excess are permissions that a credential of the portal should not have: with
// each of them somebody who got hold of it could become something greater, or
// destroy what the portal did not make. One id may have several rules.
var excess = []struct {
	id   string
	rule domain.ResourceRule
}{
	{everything, domain.ResourceRule{Group: "*", Resource: "*", Verb: "*"}},
	{"secrets", domain.ResourceRule{Resource: "secrets", Verb: "get"}},
	{"secrets", domain.ResourceRule{Resource: "secrets", Verb: "list"}},
	{"impersonate", domain.ResourceRule{Resource: "users", Verb: "impersonate"}},
	{"impersonate", domain.ResourceRule{Resource: "serviceaccounts", Verb: "impersonate"}},
	{"tokens", domain.ResourceRule{Resource: "serviceaccounts/token", Verb: "create"}},
	{"escalate", domain.ResourceRule{Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Verb: "escalate"}},
	{"escalate", domain.ResourceRule{Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Verb: "bind"}},
	{"pods", domain.ResourceRule{Resource: "pods", Verb: "create"}},
	{"exec", domain.ResourceRule{Resource: "pods/exec", Verb: "create"}},
	{"nodes_proxy", domain.ResourceRule{Resource: "nodes/proxy", Verb: "get"}},
	{"nodes_proxy", domain.ResourceRule{Resource: "nodes/proxy", Verb: "create"}},
	{"delete_namespaces", domain.ResourceRule{Resource: "namespaces", Verb: "delete"}},
	{"delete_nodes", domain.ResourceRule{Resource: "nodes", Verb: "delete"}},
	{"webhooks", domain.ResourceRule{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Verb: "create"}},
}

// everything is the permission that has all the others in it.
const everything = "*"

// ClusterRoleYAML is the manifest of a ClusterRole with the missing rules, or
// with all that the portal uses when missing is empty. When subject is a service
// account (system:serviceaccount:namespace:name) it is bound to the role of the
// missing rules, as a role alone gives nothing. It is plain text for a person to
// read and apply.
//
// The name of a role of missing rules comes from the rules: to apply what is
// missing today must not take away what was missing, and applied, last year.
func ClusterRoleYAML(missing []domain.ResourceRule, subject string) string {
	var b strings.Builder
	roleName := "kubevirt-shepherd"
	if len(missing) > 0 {
		sum := sha256.Sum256(fmt.Append(nil, missing))
		roleName = fmt.Sprintf("kubevirt-shepherd-missing-%x", sum[:4])
		b.WriteString("# What the credential of KubeVirt Shepherd lacks. Apply it with: kubectl apply -f FILE\n")
	} else {
		missing, subject = Rules(), ""
		b.WriteString("# All that KubeVirt Shepherd asks a cluster for. Apply it with: kubectl apply -f FILE\n")
	}
	type line struct{ group, resource, lost string }
	lost := map[domain.ResourceRule]string{}
	for _, p := range wanted() {
		lost[p.rule] = p.lost
	}
	var order []line
	verbs := map[line][]string{}
	for _, r := range missing {
		l := line{r.Group, r.Resource, lost[r]}
		if verbs[l] == nil {
			order = append(order, l)
		}
		verbs[l] = append(verbs[l], r.Verb)
	}
	fmt.Fprintf(&b, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: %s\nrules:\n", roleName)
	for _, l := range order {
		quoted := make([]string, len(verbs[l]))
		for i, v := range verbs[l] {
			quoted[i] = fmt.Sprintf("%q", v)
		}
		if why := optional[l.lost]; why != "" {
			fmt.Fprintf(&b, "  # optional: %s\n", why)
		}
		fmt.Fprintf(&b, "  - apiGroups: [%q]\n    resources: [%q]\n    verbs: [%s]\n", l.group, l.resource, strings.Join(quoted, ", "))
	}
	if namespace, account, ok := serviceAccountOf(subject); ok {
		fmt.Fprintf(&b, binding, roleName, roleName, namespace, account)
	}
	return b.String()
}

// binding gives a role to a service account: name twice, namespace, account.
const binding = `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: %s
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: %s
subjects:
  - kind: ServiceAccount
    namespace: %s
    name: %s
`

func serviceAccountOf(subject string) (namespace, account string, ok bool) {
	both, ok := strings.CutPrefix(subject, "system:serviceaccount:")
	namespace, account, found := strings.Cut(both, ":")
	return namespace, account, ok && found && domain.ValidName(namespace) && domain.ValidName(account)
}

// optional says in the manifest what the permissions are for that one can do without.
var optional = map[string]string{
	"create_namespaces": "to make namespaces from the portal",
	"quotas":            "to show what is left of a namespace's quota",
	"disk_errors":       "to show why a disk could not be filled",
	"instancetypes":     "to offer the cluster's instance types and preferences",
	"snapshot_classes":  "to see whether disks can be snapshotted",
}

// access asks the cluster about rights, a few at a time: allowed[i] answers
// rules[i]. The first error ends it.
//
// SelfSubjectAccessReviews, one for each rule: a SelfSubjectRulesReview would be
// one request, but it is about one namespace, leaves out what other authorizers
// than RBAC decide (it says "incomplete" then) and would have us do the matching
// of wildcards, names and subresources over again. The reviews are tiny, and a
// pre-flight is rare.
func (c *client) access(ctx context.Context, rules []domain.ResourceRule) (allowed []bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	allowed = make([]bool, len(rules))
	slots, done := make(chan struct{}, 8), make(chan struct{})
	for i, r := range rules {
		go func() {
			defer func() { done <- struct{}{} }()
			slots <- struct{}{}
			defer func() { <-slots }()
			resource, sub, _ := strings.Cut(r.Resource, "/")
			got, err := c.kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authv1.SelfSubjectAccessReview{
				Spec: authv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authv1.ResourceAttributes{
					Group: r.Group, Resource: resource, Subresource: sub, Verb: r.Verb,
				}},
			}, metav1.CreateOptions{})
			if err != nil {
				cancel(err) // the first cause stays
				return
			}
			allowed[i] = got.Status.Allowed
		}()
	}
	for range rules {
		<-done
	}
	return allowed, context.Cause(ctx)
}

// rights is what a credential may do, against what it should.
type rights struct {
	missing  []domain.ResourceRule // needed
	optional []domain.ResourceRule // lacks as well, at the cost of lost
	lost     []string
	excess   []string
}

// rights asks which permissions are missing and which dangerous ones the
// credential has.
func (c *client) rights(ctx context.Context) (rights, error) {
	want := wanted()
	all := Rules()
	for _, e := range excess {
		all = append(all, e.rule)
	}
	allowed, err := c.access(ctx, all)
	if err != nil {
		return rights{}, err
	}
	var r rights
	for i, p := range want {
		switch {
		case allowed[i]:
		case p.lost == "":
			r.missing = append(r.missing, p.rule)
		default:
			r.optional = append(r.optional, p.rule)
			if !slices.Contains(r.lost, p.lost) {
				r.lost = append(r.lost, p.lost)
			}
		}
	}
	for i, e := range excess {
		if allowed[len(want)+i] && !slices.Contains(r.excess, e.id) {
			r.excess = append(r.excess, e.id)
		}
	}
	if slices.Contains(r.excess, everything) {
		r.excess = []string{everything}
	}
	return r, nil
}
