package handlers

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

type testForm struct {
	Name     string   `form:"name" label:"Name" validate:"required,name"`
	Count    number   `form:"count" label:"Number of VMs" validate:"min=1,max=50"`
	Reason   string   `form:"reason" label:"Reason" validate:"max=20"`
	Password string   `form:"password,raw"`
	Sure     bool     `form:"sure"`
	Many     []string `form:"many"`
}

func posted(body string) *http.Request {
	r := httptest.NewRequest(post, "/x", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestDecode(t *testing.T) {
	form, err := decode[testForm](posted("name=+redis+&count=3&reason=a%0D%0Ab&password=+secret+&sure=1&many=x&many=y"))
	if err != nil {
		t.Fatal(err)
	}
	if form.Name != "redis" || form.Count.Value != 3 || form.Reason != "a\nb" || form.Password != " secret " || !form.Sure || len(form.Many) != 2 {
		t.Errorf("got %+v", form)
	}
}

func TestDecodeRefuses(t *testing.T) {
	const good = "name=redis&count=1&"
	for body, want := range map[string]string{
		"count=1":                                  "name REQUIRED",
		"name=Redis&count=1":                       "name INVALID_NAME",
		"name=redis&count=0":                       "count OUT_OF_RANGE",
		"name=redis&count=51":                      "count OUT_OF_RANGE",
		"name=redis&count=9999999999999999999":     "count NOT_A_NUMBER",
		"name=redis&count=1e3":                     "count NOT_A_NUMBER",
		"name=redis&name=web&count=1":              "name INVALID_CHOICE",
		good + "reason=%ff%fe":                     "reason INVALID_TEXT",
		good + "reason=a%00b":                      "reason INVALID_TEXT",
		good + "reason=" + strings.Repeat("a", 21): "reason TOO_LONG",
		good + "approved_by=me":                    " FORBIDDEN_FIELD",
		good + "status=APPROVED":                   " FORBIDDEN_FIELD",
		good + "NAME=x":                            " FORBIDDEN_FIELD",
	} {
		form, err := decode[testForm](posted(body))
		got := apperr.Fields(err)
		if len(got) != 1 || got[0].Field()+" "+got[0].Code != want {
			t.Errorf("%q: got %v, want %s", body, err, want)
		}
		// What was typed is given back, as it can be drawn.
		sent, _ := url.ParseQuery(body)
		if n := sent.Get("name"); form.Name != n {
			t.Errorf("%q: name %q is lost, got %q", body, n, form.Name)
		}
		if n := sent.Get("count"); form.Count.Text != n {
			t.Errorf("%q: count %q is lost, got %q", body, n, form.Count.Text)
		}
		errs, status, rest := rejected(posted(""), form, err)
		if rest != nil || status != http.StatusUnprocessableEntity || len(errs) != 1 || errs[0].Message == "" {
			t.Errorf("%q: drawn as %v, %d, %v", body, errs, status, rest)
		}
	}
}

func TestDecodeNamesTheBounds(t *testing.T) {
	form, err := decode[testForm](posted("name=redis&count=99"))
	errs, _, _ := rejected(posted(""), form, err)
	if len(errs) != 1 || errs[0].Message != "Choose between 1 and 50." || errs[0].Label != "Number of VMs" {
		t.Errorf("got %v", errs)
	}
}

func TestDecodeRefusesOtherKinds(t *testing.T) {
	r := httptest.NewRequest(post, "/x", strings.NewReader(`{"name":"x"}`))
	r.Header.Set("Content-Type", "text/plain")
	if _, err := decode[testForm](r); apperr.CodeOf(err) != apperr.ErrMediaType {
		t.Errorf("got %v", err)
	}
}

// What is not about the input goes to the error page.
func TestRejectedLeavesOtherErrors(t *testing.T) {
	for code, drawn := range map[string]bool{
		apperr.ErrHasChildren: true, apperr.ErrNameTaken: true, apperr.ErrTooMany: true,
		apperr.ErrInternal: false, apperr.ErrNotFound: false, apperr.ErrForbidden: false, apperr.ErrUnavailable: false,
	} {
		errs, _, rest := rejected(posted(""), testForm{}, apperr.New(code))
		if drawn != (rest == nil && len(errs) == 1) {
			t.Errorf("%s: drawn %v, left %v", code, errs, rest)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("name=redis&count=1")
	f.Add("name=%ff&count=-1&sure&many=&x=1&x=2")
	f.Fuzz(func(t *testing.T, body string) {
		form, err := decode[testForm](posted(body))
		if err == nil && (form.Count.Value < 1 || form.Count.Value > 50 || form.Name == "") {
			t.Errorf("%q was let through as %+v", body, form)
		}
		if _, _, rest := rejected(posted(""), form, err); err != nil && rest != nil {
			t.Errorf("%q: %v", body, rest)
		}
	})
}

func TestPageOf(t *testing.T) {
	for _, c := range []struct{ method, path, current, want string }{
		{get, "/explorer?q=a", "", "/explorer?q=a"},
		{post, "/systems", "", "/systems/new"},
		{post, "/systems/1/services", "", "/systems/1/services/new"},
		{post, "/requests", "", "/requests/new"},
		{post, "/requests/preview", "", "/requests/new"},
		{post, "/requests/7/withdraw", "", "/requests/7"},
		{post, "/approvals/7", "", "/approvals/7"},
		{post, "/approvals/7/check", "", "/approvals/7"},
		{post, "/namespaces", "", "/namespaces/new"},
		{get, "/vms/1", "http://example.com/vms/1?open=x", "/vms/1?open=x"},
		{post, "/requests/preview", "http://example.com/requests/preview", "/requests/new"},
		{get, "/vms/1", "http://evil.example/vms/1", "/"},
		{get, "/vms/1", "http://example.com//evil.example", "/"},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		if c.current != "" {
			r.Header.Set("HX-Request", "true")
			r.Header.Set("HX-Current-URL", c.current)
		}
		if got := pageOf(r); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
