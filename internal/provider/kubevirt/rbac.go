package kubevirt

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// permissions is everything that this package asks a cluster for. The
// pre-flight checks it and the ClusterRole is written from it, so that the two
// cannot differ.
var permissions = []struct {
	group, resource string
	verbs           []string
}{
	{"kubevirt.io", "virtualmachines", []string{"get", "list", "watch", "create", "patch", "delete"}},
	{"kubevirt.io", "virtualmachineinstances", []string{"get", "list", "watch"}},
	{"kubevirt.io", "virtualmachineinstancemigrations", []string{"get", "create"}},
	{"kubevirt.io", "kubevirts", []string{"list"}},
	{"subresources.kubevirt.io", "virtualmachines/start", []string{"update"}},
	{"subresources.kubevirt.io", "virtualmachines/stop", []string{"update"}},
	{"subresources.kubevirt.io", "virtualmachines/restart", []string{"update"}},
	{"subresources.kubevirt.io", "virtualmachineinstances/pause", []string{"update"}},
	{"subresources.kubevirt.io", "virtualmachineinstances/unpause", []string{"update"}},
	{"instancetype.kubevirt.io", "virtualmachineclusterinstancetypes", []string{"list"}},
	{"instancetype.kubevirt.io", "virtualmachineclusterpreferences", []string{"list"}},
	{"cdi.kubevirt.io", "datavolumes", []string{"get"}},
	{"storage.k8s.io", "storageclasses", []string{"list"}},
	{"", "nodes", []string{"get", "list", "watch"}},
	{"", "namespaces", []string{"get"}},
	{"", "secrets", []string{"create", "patch"}}, // cloud-init; never get or list
}

// Rules lists the permissions that the portal needs, one verb each.
func Rules() []domain.ResourceRule {
	var rules []domain.ResourceRule
	for _, p := range permissions {
		for _, v := range p.verbs {
			rules = append(rules, domain.ResourceRule{Group: p.group, Resource: p.resource, Verb: v})
		}
	}
	return rules
}

// excess are permissions that a credential of the portal should not have.
var excess = []struct {
	id   string
	rule domain.ResourceRule
}{
	{"*", domain.ResourceRule{Group: "*", Resource: "*", Verb: "*"}},
	{"secrets", domain.ResourceRule{Resource: "secrets", Verb: "list"}},
	{"impersonate", domain.ResourceRule{Resource: "users", Verb: "impersonate"}},
}

// ClusterRoleYAML is the manifest of a ClusterRole with the missing rules, or
// with all that the portal needs when missing is empty. It is plain text for a
// person to read and apply.
func ClusterRoleYAML(missing []domain.ResourceRule) string {
	roleName := "kubevirt-shepherd"
	if len(missing) > 0 {
		roleName = "kubevirt-shepherd-missing"
	} else {
		missing = Rules()
	}
	type line struct{ group, resource string }
	var order []line
	verbs := map[line][]string{}
	for _, r := range missing {
		l := line{r.Group, r.Resource}
		if verbs[l] == nil {
			order = append(order, l)
		}
		verbs[l] = append(verbs[l], r.Verb)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: %s\nrules:\n", roleName)
	for _, l := range order {
		quoted := make([]string, len(verbs[l]))
		for i, v := range verbs[l] {
			quoted[i] = fmt.Sprintf("%q", v)
		}
		fmt.Fprintf(&b, "  - apiGroups: [%q]\n    resources: [%q]\n    verbs: [%s]\n", l.group, l.resource, strings.Join(quoted, ", "))
	}
	return b.String()
}

// access asks the cluster about rights, a few at a time: allowed[i] answers
// rules[i]. The first error ends it.
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

// rights says which needed permissions are missing and which dangerous ones
// the credential has.
func (c *client) rights(ctx context.Context) (missing []domain.ResourceRule, tooMuch []string, err error) {
	needed := Rules()
	all := slices.Clone(needed)
	for _, e := range excess {
		all = append(all, e.rule)
	}
	allowed, err := c.access(ctx, all)
	if err != nil {
		return nil, nil, err
	}
	for i, r := range needed {
		if !allowed[i] {
			missing = append(missing, r)
		}
	}
	for i, e := range excess {
		if allowed[len(needed)+i] {
			tooMuch = append(tooMuch, e.id)
		}
	}
	return missing, tooMuch, nil
}
