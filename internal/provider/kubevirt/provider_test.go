//go:build e2e

package kubevirt

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/provider/providertest"
)

// TestSuite runs with the rights of the ClusterRole that we print, and so
// proves that these are enough.
func TestSuite(t *testing.T) {
	p, st := testProvider(t, admin(t))
	ns := namespace(t)
	st.set("c1", serviceAccount(t, p, ns, ClusterRoleYAML(nil, "")))
	providertest.Run(t, p, "c1", ns)
}

// serviceAccount signs in with the rights of a ClusterRole.
func serviceAccount(t *testing.T, p *Provider, ns, role string) domain.Credential {
	t.Helper()
	ctx := t.Context()
	c, err := p.clients.get(ctx, "c1")
	if err != nil {
		t.Fatal(err)
	}
	var cr rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict([]byte(role), &cr); err != nil {
		t.Fatalf("the ClusterRole is no YAML: %v\n%s", err, role)
	}
	cr.Name, cr.GenerateName = "", ns+"-"+cr.Name+"-"
	sa, err := c.kube.CoreV1().ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{GenerateName: "shepherd-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.kube.RbacV1().ClusterRoles().Create(ctx, &cr, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.kube.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: made.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: made.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: sa.Name}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.kube.CoreV1().ServiceAccounts(ns).CreateToken(ctx, sa.Name, &authnv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cred := admin(t)
	cred.ClientCert, cred.ClientKey, cred.Token = nil, nil, domain.Secret(token.Status.Token)
	return cred
}

// TestLostAnswer: the cluster made the VM and the answer was lost.
func TestLostAnswer(t *testing.T) {
	p, _, f := faulty(t)
	ns := namespace(t)
	posts := atomic.Int32{}
	isPost := func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/virtualmachines")
	}
	f.set(nil, func(w http.ResponseWriter, r *http.Request) bool {
		if isPost(r) {
			posts.Add(1)
			return abort(w, r)
		}
		return false
	})
	vm, created, err := p.CreateVM(t.Context(), "c1", spec(ns, "lost"))
	if err != nil || created || vm.OperationID() != spec(ns, "lost").Annotations[domain.AnnotationOperation] {
		t.Fatalf("created %v, %v", created, err)
	}
	if n := posts.Load(); n != 1 {
		t.Errorf("posted %d times", n)
	}

	// Somebody else was faster, and the answer that says so was lost.
	other := spec(ns, "lost")
	other.Annotations = map[string]string{domain.AnnotationOperation: "another operation"}
	_, _, err = p.CreateVM(t.Context(), "c1", other)
	wantCode(t, "another VM of the name", err, apperr.ErrNameCollision)

	// The request itself was lost: nothing is there, and asking again is right.
	f.set(func(w http.ResponseWriter, r *http.Request) bool { return isPost(r) && abort(w, r) }, nil)
	_, _, err = p.CreateVM(t.Context(), "c1", spec(ns, "never"))
	wantCode(t, "a lost request", err, apperr.ErrClusterUnreachable)

	// The cluster went away for a while right after it made the VM.
	down := atomic.Int32{}
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		return !isPost(r) && down.Add(1) <= 3 && abort(w, r)
	}, func(w http.ResponseWriter, r *http.Request) bool { return isPost(r) && abort(w, r) })
	if vm, _, err = p.CreateVM(t.Context(), "c1", spec(ns, "away")); err != nil || vm.UID == "" {
		t.Errorf("the answer to GET came late: %v", err)
	}

	// It does not come back: the deadline holds.
	f.set(abort, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	_, _, err = p.CreateVM(ctx, "c1", spec(ns, "gone"))
	if apperr.KindOf(err) != apperr.Unavailable || time.Since(began) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// TestForeignUntouched: a collision leaves no trace on the other object.
func TestForeignUntouched(t *testing.T) {
	p, _ := testProvider(t, admin(t))
	ns := namespace(t)
	c, err := p.clients.get(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := render(spec(ns, "theirs"))
	if err != nil {
		t.Fatal(err)
	}
	foreign.Annotations, foreign.Labels = nil, nil
	api := c.kubevirt.KubevirtV1().VirtualMachines(ns)
	if _, err = api.Create(t.Context(), foreign, metav1.CreateOptions{FieldManager: "somebody"}); err != nil {
		t.Fatal(err)
	}
	_, _, err = p.CreateVM(t.Context(), "c1", spec(ns, "theirs"))
	wantCode(t, "CreateVM", err, apperr.ErrNameCollision)
	after, err := api.Get(t.Context(), "theirs", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range after.ManagedFields {
		if m.Manager == domain.FieldManager {
			t.Errorf("we own fields of it: %s", m.FieldsV1)
		}
	}
	if len(after.Annotations[domain.AnnotationOperation])+len(after.Labels[domain.LabelManagedBy]) > 0 {
		t.Errorf("it has our marks: %v %v", after.Labels, after.Annotations)
	}
}

// TestQuota: what is over a quota says so, before and after the VM is made.
func TestQuota(t *testing.T) {
	p, _ := testProvider(t, admin(t))
	ns := namespace(t)
	c, err := p.clients.get(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "vms"}}
	q.Spec.Hard = corev1.ResourceList{"count/virtualmachines.kubevirt.io": quantity(1, "")}
	if _, err := c.kube.CoreV1().ResourceQuotas(ns).Create(t.Context(), q, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) { // until the quota controller has counted
		got, err := c.kube.CoreV1().ResourceQuotas(ns).Get(t.Context(), "vms", metav1.GetOptions{})
		if err != nil || time.Now().After(end) {
			t.Fatalf("the quota is not counted: %v", err)
		}
		if len(got.Status.Used) > 0 {
			break
		}
	}
	if _, _, err := p.CreateVM(t.Context(), "c1", spec(ns, "first")); err != nil {
		t.Fatal(err)
	}
	_, _, err = p.CreateVM(t.Context(), "c1", spec(ns, "second"))
	wantCode(t, "CreateVM over the quota", err, apperr.ErrQuotaExceeded)
	verdict, err := p.ValidateSpec(t.Context(), "c1", spec(ns, "second"))
	if err != nil || verdict.Valid || verdict.Problems[0].Code != apperr.ErrQuotaExceeded {
		t.Errorf("ValidateSpec over the quota: %+v, %v", verdict, err)
	}
}

// TestLongestName: a name of 63 characters goes all the way.
func TestLongestName(t *testing.T) {
	p, _ := testProvider(t, admin(t))
	s := spec(namespace(t), "v"+strings.Repeat("m", domain.MaxLabel-1))
	s.Running = true
	rec, stop := watching(t, p)
	defer stop()
	vm, _, err := p.CreateVM(t.Context(), "c1", s)
	if err != nil {
		t.Fatal(err)
	}
	rec.WaitVM(t, vm.Namespace, vm.Name, "runs", 30*time.Second, func(v *domain.VM) bool { return v.Status.State == domain.StateRunning })
	if err := p.DeleteVM(t.Context(), provider.Ref{Cluster: "c1", Namespace: vm.Namespace, Name: vm.Name, UID: vm.UID}); err != nil {
		t.Error(err)
	}
}
