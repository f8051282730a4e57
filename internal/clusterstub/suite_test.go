package clusterstub_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// api is a control plane, a stub or a real one, as the suite talks to it.
type api struct {
	url    string
	client *http.Client
	ns     string // an empty namespace

	bookmark time.Duration // how long a watch may say nothing
}

const vmPath = "/apis/kubevirt.io/v1"

func (a api) vms(name string) string {
	return strings.TrimSuffix(vmPath+"/namespaces/"+a.ns+"/virtualmachines/"+name, "/")
}

// thing is what the suite looks at of an object or a Status.
type thing struct {
	Kind, APIVersion string
	Metadata         struct {
		Name, Namespace, UID, ResourceVersion, Continue string
		RemainingItemCount                              *int
		Labels                                          map[string]string
		ManagedFields                                   []any
	}
	Spec   map[string]any
	Status any
	Reason string
	Code   int
	Items  []thing

	Groups                  []struct{ Name string } // of discovery
	Resources               []struct{ Name, Kind string }
	GitVersion, Major       string // of /version
	Message                 string
	Details                 struct{ Name, Kind, Group string }
	PreferredVersion, Hints any
}

func (a api) do(t *testing.T, method, path, contentType, body string, want int) thing {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := a.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != want {
		t.Fatalf("%s %s: %s, want %d\n%s", method, path, res.Status, want, raw)
	}
	var o thing
	if err := json.Unmarshal(raw, &o); err != nil && bytes.HasPrefix(raw, []byte("{")) {
		t.Fatalf("%s %s: %v\n%s", method, path, err, raw)
	}
	return o
}

func (a api) get(t *testing.T, path string) thing {
	t.Helper()
	return a.do(t, http.MethodGet, path, "", "", http.StatusOK)
}

// halted is a VM that nobody starts: only who made it changes it. More is JSON
// of its metadata.
func halted(name, more string) string {
	return fmt.Sprintf(`{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachine","metadata":{"name":%q%s},"spec":{"runStrategy":"Halted",
		"template":{"metadata":{"labels":{"suite":"yes"}},"spec":{"domain":{"devices":{},"memory":{"guest":"64Mi"}}}}}}`, name, more)
}

func (a api) create(t *testing.T, name, more string) thing {
	t.Helper()
	return a.do(t, http.MethodPost, a.vms(""), "application/json", halted(name, more), http.StatusCreated)
}

// delete waits until it is gone: controllers have finalizers.
func (a api) delete(t *testing.T, name string) {
	t.Helper()
	a.do(t, http.MethodDelete, a.vms(name), "", "", http.StatusOK)
	a.gone(t, a.vms(name))
}

func (a api) gone(t *testing.T, path string) {
	t.Helper()
	eventually(t, path+" is gone", func() bool {
		res, err := a.client.Get(a.url + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusNotFound
	})
}

func (a api) label(t *testing.T, name, value string) thing {
	t.Helper()
	return a.do(t, http.MethodPatch, a.vms(name), "application/merge-patch+json", fmt.Sprintf(`{"metadata":{"labels":{"suite":%q}}}`, value), http.StatusOK)
}

// change is one event of a watch.
type change struct {
	Type   string
	Object thing
}

// watch collects events until the server ends the watch or enough says so.
func (a api) watch(t *testing.T, query url.Values, enough func([]change) bool) (seen []change, ended bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), a.bookmark+20*time.Second)
	defer cancel()
	query.Set("watch", "1")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+a.vms("")+"?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := a.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("watch %v: %s", query, res.Status)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c change
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		if seen = append(seen, c); enough(seen) {
			return seen, false
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("a watch ends with %v after %d events", err, len(seen))
	}
	return seen, true
}

func never([]change) bool { return false }

// plain is what happened to one object, without what a controller does to it
// beside the test: a second event that shows nothing new.
func plain(seen []change, name string) []string {
	var out []string
	for _, c := range seen {
		if c.Type == "BOOKMARK" || c.Object.Metadata.Name != name {
			continue
		}
		text := c.Type + " " + c.Object.Metadata.Name
		if l := c.Object.Metadata.Labels["suite"]; l != "" {
			text += " " + l
		}
		if c.Type == "MODIFIED" && len(out) > 0 && strings.TrimPrefix(out[len(out)-1], "ADDED ") == strings.TrimPrefix(text, "MODIFIED ") ||
			len(out) > 0 && out[len(out)-1] == text {
			continue
		}
		out = append(out, text)
	}
	return out
}

func version(t *testing.T, s string) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("resourceVersion %q: %v", s, err)
	}
	return v
}

// behaves is what the portal relies on of a control plane.
func behaves(t *testing.T, a api) {
	from := version(t, a.get(t, a.vms("")).Metadata.ResourceVersion)
	t.Run("discovery", func(t *testing.T) {
		if v := a.get(t, "/version"); v.Major == "" || !strings.HasPrefix(v.GitVersion, "v1.") {
			t.Errorf("%+v", v)
		}
		var names []string
		for _, g := range a.get(t, "/apis").Groups {
			names = append(names, g.Name)
		}
		for _, want := range []string{"kubevirt.io", "cdi.kubevirt.io", "instancetype.kubevirt.io", "snapshot.storage.k8s.io", "storage.k8s.io", "subresources.kubevirt.io"} {
			if !slices.Contains(names, want) {
				t.Errorf("no %s in %v", want, names)
			}
		}
		var kinds []string
		for _, r := range a.get(t, vmPath).Resources {
			kinds = append(kinds, r.Name)
		}
		if !slices.Contains(kinds, "virtualmachines") || !slices.Contains(kinds, "virtualmachineinstances") {
			t.Errorf("resources %v", kinds)
		}
		a.do(t, http.MethodGet, "/apis/nobody.example.com/v1/things", "", "", http.StatusNotFound)
		if ns := a.get(t, "/api/v1/namespaces/kube-system"); ns.Metadata.UID == "" || ns.Kind != "Namespace" {
			t.Errorf("%+v", ns)
		}
		for _, path := range []string{"/api/v1/nodes", "/apis/storage.k8s.io/v1/storageclasses", vmPath + "/kubevirts"} {
			if l := a.get(t, path+"?limit=500"); len(l.Items) == 0 || l.Metadata.ResourceVersion == "" || !strings.HasSuffix(l.Kind, "List") {
				t.Errorf("%s: %s with %d items at %q", path, l.Kind, len(l.Items), l.Metadata.ResourceVersion)
			}
		}
	})

	t.Run("own rights", func(t *testing.T) {
		r := a.do(t, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "application/json",
			`{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"group":"kubevirt.io","resource":"virtualmachines","verb":"list"}}}`, http.StatusCreated)
		if s, _ := r.Status.(map[string]any); s["allowed"] != true || r.Kind != "SelfSubjectAccessReview" {
			t.Errorf("%+v", r)
		}
	})

	t.Run("list in pages", func(t *testing.T) {
		for i := range 5 {
			a.create(t, fmt.Sprintf("page-%d", i), `,"labels":{"suite":"pages"}`)
			defer a.delete(t, fmt.Sprintf("page-%d", i))
		}
		a.create(t, "other", "")
		defer a.delete(t, "other")
		var names []string
		query := "?limit=2&labelSelector=suite%3Dpages"
		first := a.get(t, a.vms("")+query)
		if len(first.Items) != 2 || first.Metadata.Continue == "" {
			t.Fatalf("%d items, continue %q", len(first.Items), first.Metadata.Continue)
		}
		// What happens between two pages is not in the later ones.
		a.create(t, "page-9", `,"labels":{"suite":"pages"}`)
		defer a.delete(t, "page-9")
		for page := first; ; {
			if page.Metadata.ResourceVersion != first.Metadata.ResourceVersion {
				t.Errorf("a page of version %s after one of %s", page.Metadata.ResourceVersion, first.Metadata.ResourceVersion)
			}
			for _, o := range page.Items {
				names = append(names, o.Metadata.Name)
				if version(t, o.Metadata.ResourceVersion) > version(t, first.Metadata.ResourceVersion) || o.Metadata.UID == "" || o.Metadata.Namespace != a.ns {
					t.Errorf("item %+v", o.Metadata)
				}
			}
			if page.Metadata.Continue == "" {
				break
			}
			page = a.get(t, a.vms("")+query+"&continue="+url.QueryEscape(page.Metadata.Continue))
		}
		if got := strings.Join(names, " "); got != "page-0 page-1 page-2 page-3 page-4" {
			t.Errorf("names %q", got)
		}
		if l := a.get(t, a.vms("")+"?limit=2"); l.Metadata.RemainingItemCount == nil || *l.Metadata.RemainingItemCount != 5 {
			t.Errorf("remaining %v of 7 after 2", l.Metadata.RemainingItemCount)
		}
		// A version that was not reached yet.
		if s := a.do(t, http.MethodGet, a.vms("")+"?resourceVersion=999999999", "", "", http.StatusGatewayTimeout); s.Reason != "Timeout" {
			t.Errorf("%+v", s)
		}
	})

	t.Run("watch goes on from a version", func(t *testing.T) {
		a.create(t, "before", "")
		defer a.delete(t, "before")
		from := a.get(t, a.vms("")).Metadata.ResourceVersion
		a.create(t, "seen", "")
		a.label(t, "seen", "changed")
		a.delete(t, "seen")
		deleted := func(seen []change) bool { return seen[len(seen)-1].Type == "DELETED" }
		all, _ := a.watch(t, url.Values{"resourceVersion": {from}}, deleted)
		if got := strings.Join(plain(all, "seen"), ", "); got != "ADDED seen, MODIFIED seen changed, DELETED seen changed" {
			t.Fatalf("events %q", got)
		}
		last := version(t, from)
		for _, c := range all {
			if v := version(t, c.Object.Metadata.ResourceVersion); v <= last {
				t.Errorf("%s of version %d after %d", c.Type, v, last)
			} else {
				last = v
			}
		}
		// From the middle, only the rest comes; the version that was given is not in it.
		i := slices.IndexFunc(all, func(c change) bool { return c.Object.Metadata.Labels["suite"] == "changed" })
		rest, _ := a.watch(t, url.Values{"resourceVersion": {all[i].Object.Metadata.ResourceVersion}}, deleted)
		for _, c := range rest {
			if version(t, c.Object.Metadata.ResourceVersion) <= version(t, all[i].Object.Metadata.ResourceVersion) {
				t.Errorf("%s %s comes twice", c.Type, c.Object.Metadata.ResourceVersion)
			}
		}
		// A selector leaves others out.
		a.create(t, "left-out", "")
		defer a.delete(t, "left-out")
		a.create(t, "chosen", `,"labels":{"suite":"chosen"}`)
		defer a.delete(t, "chosen")
		some, _ := a.watch(t, url.Values{"resourceVersion": {from}, "labelSelector": {"suite=chosen"}}, func(seen []change) bool { return len(seen) > 0 })
		if c := some[0]; c.Type != "ADDED" || c.Object.Metadata.Name != "chosen" {
			t.Errorf("%s %s", c.Type, c.Object.Metadata.Name)
		}
	})

	t.Run("watch ends in time, and has bookmarks", func(t *testing.T) {
		t.Parallel() // it takes long
		start := time.Now()
		seen, ended := a.watch(t, url.Values{"allowWatchBookmarks": {"true"}, "timeoutSeconds": {fmt.Sprint(int(a.bookmark.Seconds()) + 3)}}, never)
		if took := time.Since(start); !ended || took < a.bookmark || took > a.bookmark+10*time.Second {
			t.Errorf("ended %v after %v", ended, took)
		}
		if len(seen) == 0 || seen[len(seen)-1].Type != "BOOKMARK" || seen[len(seen)-1].Object.Kind != "VirtualMachine" ||
			version(t, seen[len(seen)-1].Object.Metadata.ResourceVersion) < from {
			t.Errorf("events %+v", seen)
		}
	})

	t.Run("watch from a forgotten version", func(t *testing.T) {
		seen, ended := a.watch(t, url.Values{"resourceVersion": {"1"}, "timeoutSeconds": {"5"}}, never)
		if !ended || len(seen) != 1 || seen[0].Type != "ERROR" || seen[0].Object.Code != http.StatusGone || seen[0].Object.Reason != "Expired" {
			t.Errorf("%v: %+v", ended, seen)
		}
	})

	t.Run("create, change, delete", func(t *testing.T) {
		a.do(t, http.MethodPost, a.vms("")+"?dryRun=All", "application/json", halted("one", ""), http.StatusCreated)
		if s := a.do(t, http.MethodGet, a.vms("one"), "", "", http.StatusNotFound); s.Reason != "NotFound" || s.Details.Name != "one" || s.Details.Kind != "virtualmachines" {
			t.Errorf("%+v", s)
		}
		made := a.create(t, "one", `,"annotations":{"suite":"mine"}`)
		if s := a.do(t, http.MethodPost, a.vms(""), "application/json", halted("one", ""), http.StatusConflict); s.Reason != "AlreadyExists" || s.Details.Name != "one" {
			t.Errorf("a second one: %+v", s)
		}
		if s := a.do(t, http.MethodPost, vmPath+"/namespaces/nowhere/virtualmachines", "application/json", halted("one", ""), http.StatusNotFound); s.Details.Kind != "namespaces" {
			t.Errorf("no namespace: %+v", s)
		}
		const patch = "application/json-patch+json"
		a.do(t, http.MethodPatch, a.vms("one"), patch, `[{"op":"test","path":"/metadata/annotations/suite","value":"mine"}]`, http.StatusOK)
		if s := a.do(t, http.MethodPatch, a.vms("one"), patch, `[{"op":"test","path":"/metadata/annotations/suite","value":"yours"}]`, http.StatusUnprocessableEntity); s.Reason != "Invalid" {
			t.Errorf("a test that fails: %+v", s)
		}
		if s := a.do(t, http.MethodPatch, a.vms("one"), "application/merge-patch+json", `{"metadata":{"resourceVersion":"1","labels":{"suite":"late"}}}`, http.StatusConflict); s.Reason != "Conflict" {
			t.Errorf("a change of an old version: %+v", s)
		}
		if now := a.label(t, "one", "new"); now.Metadata.UID != made.Metadata.UID || version(t, now.Metadata.ResourceVersion) <= version(t, made.Metadata.ResourceVersion) {
			t.Errorf("%+v after %+v", now.Metadata, made.Metadata)
		}
		if s := a.do(t, http.MethodDelete, a.vms("one"), "application/json",
			`{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"00000000-0000-0000-0000-000000000000"}}`, http.StatusConflict); s.Reason != "Conflict" {
			t.Errorf("delete of another: %+v", s)
		}
		a.delete(t, "one")
		if s := a.do(t, http.MethodDelete, a.vms("one"), "", "", http.StatusNotFound); s.Reason != "NotFound" {
			t.Errorf("%+v", s)
		}
	})

	t.Run("a VM that runs has an instance", func(t *testing.T) {
		body := strings.Replace(halted("alive", ""), "Halted", "Always", 1)
		vm := a.do(t, http.MethodPost, a.vms(""), "application/json", body, http.StatusCreated)
		path := vmPath + "/namespaces/" + a.ns + "/virtualmachineinstances/alive"
		eventually(t, "it runs", func() bool {
			s, _ := a.get(t, a.vms("alive")).Status.(map[string]any)
			return s["printableStatus"] == "Running"
		})
		vmi := a.get(t, path)
		if s, _ := vmi.Status.(map[string]any); s["phase"] != "Running" || s["nodeName"] == "" || vmi.Metadata.Labels["suite"] != "yes" {
			t.Errorf("%+v", vmi)
		}
		a.do(t, http.MethodPut, "/apis/subresources.kubevirt.io/v1/namespaces/"+a.ns+"/virtualmachines/alive/stop", "application/json", "{}", http.StatusAccepted)
		eventually(t, "it is stopped", func() bool {
			s, _ := a.get(t, a.vms("alive")).Status.(map[string]any)
			return s["printableStatus"] == "Stopped"
		})
		a.gone(t, path)
		if vm.Metadata.UID == "" {
			t.Error("no UID")
		}
		a.delete(t, "alive")
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("still not: %s", what)
}
