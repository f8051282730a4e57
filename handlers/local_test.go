package handlers

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/views/paths"
)

// elsewhere are addresses that lead, or have led some browser, to another site
// or into a script, and others that lead round in a circle.
var elsewhere = []string{
	"", "/", "https://evil.example", "HTTPS://evil.example", "//evil.example", "///evil.example", "////evil.example/%2f..", "/\\evil.example", "\\/evil.example",
	"\\\\evil.example", "/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "/\x00/evil.example", "\t//evil.example", " //evil.example", "/ /evil.example",
	"javascript:alert(1)", "JavaScript:alert(1)", "java\nscript:alert(1)", "data:text/html,<script>alert(1)</script>", "vbscript:x", "blob:x", "mailto:x@evil.example",
	"http:evil.example", "https:/evil.example", "http:///evil.example", "//evil.example\\@vms.example", "//vms.example@evil.example", "/\\/evil.example", "/\\\\evil.example",
	"evil.example", "./evil", "../evil", "?next=//evil.example", "#x", ".evil.example", "@evil.example", ":80", "/\u00a0/evil.example"[:1] + "\\evil.example", "/x\r\nSet-Cookie: a=b",
	"/x\r\nLocation: //evil.example", "/login", "/login?next=/login", "/logout", "/logout/everywhere", "/loginx", "/x y", "/x\x7f", "/\u2028//evil.example"[:1], "/x\\y",
	"/" + strings.Repeat("a", 5000), "\u2044/evil.example", "／／evil.example", "/x\u202e", "/x\u0085y", "/x\xff",
}

func TestLocal(t *testing.T) {
	const fallback = "/fallback"
	for _, bad := range elsewhere {
		if got := local(bad, fallback); got != fallback {
			t.Errorf("%.40q leads to %.40q", bad, got)
		}
	}
	for _, good := range []string{"/clusters", "/requests?view=mine&after=x", "/vms/0190a3c0-0000-7000-8000-000000000000#x", "/search?q=%2F%2Fevil.example", "/x/%5Cevil", "/..//x", "/a//b"} {
		if got := local(good, fallback); got != good {
			t.Errorf("%q is not taken", good)
		}
	}
}

// leaves says whether a browser at https://vms.example would leave it for this
// address. It reads addresses as browsers do (URL Standard): spaces around and
// tabs and line breaks inside do not count, and a backslash is a slash.
func leaves(to string) bool {
	to = strings.Trim(to, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	to = strings.NewReplacer("\t", "", "\n", "", "\r", "", "\\", "/").Replace(to)
	if strings.HasPrefix(to, "//") {
		return true
	}
	if strings.HasPrefix(to, "/") {
		return false
	}
	scheme, _, has := strings.Cut(to, ":")
	return has && scheme != "" && !strings.ContainsAny(scheme, "/?#")
}

// FuzzLocal: whatever comes in, what comes out stays here.
func FuzzLocal(f *testing.F) {
	for _, to := range elsewhere {
		f.Add(to)
	}
	f.Add("/clusters?after=x")
	f.Fuzz(func(t *testing.T, to string) {
		got := local(to, "/fallback")
		if leaves(got) || strings.ContainsAny(got, "\r\n\x00") || got == "" {
			t.Fatalf("%q leads to %q", to, got)
		}
		if got != "/fallback" && got != to {
			t.Fatalf("%q becomes %q", to, got)
		}
		base := &url.URL{Scheme: "https", Host: "vms.example", Path: "/login"}
		if u, err := base.Parse(got); err == nil && (u.Host != "vms.example" || u.Scheme != "https") {
			t.Fatalf("%q leads to %s", to, u)
		}
	})
}

// FuzzPageOf: the page that a form or a part stands on is one of ours, whatever
// a request says.
func FuzzPageOf(f *testing.F) {
	for _, to := range elsewhere {
		f.Add(to, "")
		f.Add("/x", "https://vms.example"+to)
		f.Add("/x", to)
	}
	f.Fuzz(func(t *testing.T, path, current string) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := httptest.NewRequest(method, "/", nil)
			r.Host = "vms.example"
			r.URL = &url.URL{Path: path, RawQuery: "x=1"}
			if current != "" {
				r.Header.Set("HX-Request", "true")
				r.Header.Set("HX-Current-URL", current)
			}
			if got := pageOf(r); leaves(got) || got == "" || got[0] != '/' {
				t.Fatalf("%s %q from %q: back to %q", method, path, current, got)
			}
			if to := paths.LoginThen(pageOf(r)); leaves(to) {
				t.Fatalf("sign-in at %q", to)
			}
		}
	})
}
