package kubevirt

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	authv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// What a cluster answers to the reads of a namespace.
func TestNamespaceAnswers(t *testing.T) {
	missing := status(http.StatusNotFound, metav1.StatusReasonNotFound, `namespaces "shop" not found`)
	missing.Details = &metav1.StatusDetails{Kind: "namespaces", Name: "shop"}
	denied := status(http.StatusForbidden, metav1.StatusReasonForbidden, "no")
	there := corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	ending := there
	ending.Status.Phase = corev1.NamespaceTerminating
	quotas := corev1.ResourceQuotaList{Items: []corev1.ResourceQuota{{
		ObjectMeta: metav1.ObjectMeta{Name: "team"},
		Status:     corev1.ResourceQuotaStatus{Hard: corev1.ResourceList{"requests.memory": resource.MustParse("8Gi")}},
	}}}
	for name, c := range map[string]struct {
		ns, quotas any
		code       int
		review     bool
		want       domain.Presence
		err        string
		lines      int // -1: not known
		creatable  bool
	}{
		"there":                  {ns: there, quotas: quotas, want: domain.PresencePresent, lines: 1},
		"no quota":               {ns: there, quotas: corev1.ResourceQuotaList{}, want: domain.PresencePresent},
		"quotas are not allowed": {ns: there, quotas: denied, want: domain.PresencePresent, lines: -1},
		"being deleted":          {ns: ending, quotas: quotas, want: domain.PresenceTerminating, lines: 1},
		"missing":                {ns: missing, want: domain.PresenceMissing, lines: -1},
		"missing, may be made":   {ns: missing, review: true, want: domain.PresenceMissing, lines: -1, creatable: true},
		"not allowed":            {ns: denied, err: apperr.ErrClusterForbidden, lines: -1},
		"no Kubernetes":          {ns: status(http.StatusNotFound, metav1.StatusReasonNotFound, "what?"), err: apperr.ErrNotKubernetes, lines: -1},
		"half an answer":         {ns: there, quotas: status(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "later"), want: domain.PresencePresent, err: apperr.ErrClusterDegraded, lines: -1},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, func(w http.ResponseWriter, r *http.Request) {
				say := func(v any) {
					code := http.StatusOK
					if s, failed := v.(metav1.Status); failed {
						code = int(s.Code)
					}
					answer(w, code, v)
				}
				switch {
				case strings.HasSuffix(r.URL.Path, "/resourcequotas"):
					if r.URL.Query().Get("limit") != "100" {
						t.Errorf("asked without a limit: %s", r.URL)
					}
					say(c.quotas)
				case strings.HasSuffix(r.URL.Path, "/namespaces/shop"):
					say(c.ns)
				case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
					answer(w, http.StatusCreated, authv1.SelfSubjectAccessReview{Status: authv1.SubjectAccessReviewStatus{Allowed: c.review}})
				default:
					t.Errorf("asked for %s", r.URL)
				}
			})
			got, err := p.Namespace(t.Context(), "c1", "shop")
			if c.err != "" {
				wantCode(t, "Namespace", err, c.err)
			} else if err != nil {
				t.Fatal(err)
			}
			lines := len(got.Quotas)
			if got.Quotas == nil {
				lines = -1
			}
			if got.Presence != c.want || lines != c.lines || got.MayCreate != c.creatable {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestQuotaLines(t *testing.T) {
	q := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "team"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"requests.memory": resource.MustParse("1")}},
		Status: corev1.ResourceQuotaStatus{
			Hard: corev1.ResourceList{
				"requests.cpu": resource.MustParse("2500m"), "limits.cpu": resource.MustParse("9e30"), "requests.memory": resource.MustParse("1500M"),
				"limits.memory": resource.MustParse("-5Gi"), "requests.storage": resource.MustParse("4Ei"), "pods": resource.MustParse("10"), "services.nodeports": resource.MustParse("0"),
			},
			Used: corev1.ResourceList{"requests.cpu": resource.MustParse("1"), "requests.memory": resource.MustParse("1500M")},
		},
	}
	want := map[string]string{
		"requests.cpu": "cpu 2500 1000 2500m 1", "limits.cpu": "cpu_limit 1000000000 0 9e30 0", "requests.memory": "memory 1430 1431 1500M 1500M",
		"limits.memory": "memory_limit 0 0 -5Gi 0", "requests.storage": "storage 1099511627776 0 4Ei 0", "pods": "pods 10 0 10 0", "services.nodeports": " 0 0 0 0",
	}
	for _, l := range fromQuota(q) {
		if got := fmt.Sprintf("%s %d %d %s %s", l.Kind, l.HardValue, l.UsedValue, l.Hard, l.Used); got != want[l.Resource] {
			t.Errorf("%s: %s, want %s", l.Resource, got, want[l.Resource])
		}
		delete(want, l.Resource)
	}
	if len(want) > 0 {
		t.Errorf("missing %v", want)
	}
	q.Status = corev1.ResourceQuotaStatus{}
	q.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
	if l := fromQuota(q); len(l) != 1 || l[0].Hard != "1" || !l[0].Scoped {
		t.Errorf("a new quota: %+v", l)
	}
	q.Spec.Hard = corev1.ResourceList{}
	for i := range 1000 {
		q.Spec.Hard[corev1.ResourceName(fmt.Sprintf("example.com/%d\x1b", i))] = resource.MustParse("1")
	}
	lines := fromQuota(q)
	if len(lines) != maxQuotas || strings.Contains(lines[0].Resource, "\x1b") {
		t.Errorf("%d lines, the first %+v", len(lines), lines[0])
	}
}
