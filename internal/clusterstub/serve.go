package clusterstub

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	maxBody     = 1 << 20 // bytes of a request
	maxSnapshot = 64      // lists whose rest is kept
)

// target is what a path names.
type target struct {
	resource              *resource
	namespace, name, part string // part: the subresource
}

// ServeHTTP answers like an API server.
func (c *Cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.counts.requests.Add(1)
	fault, delay := c.state()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case fault == TooMany:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "TooManyRequests", "Too many requests, please try again later.", nil)
		return
	case fault == Unauthorized, !c.knows(r.Header.Get("Authorization")):
		refuse(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized", nil)
		return
	case fault == Broken:
		refuse(w, http.StatusInternalServerError, "InternalError", "etcdserver: leader changed", nil)
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/version":
		write(w, http.StatusOK, []byte(recorded("version")))
	case r.URL.Path == "/readyz", r.URL.Path == "/livez", r.URL.Path == "/healthz":
		_, _ = io.WriteString(w, "ok")
	case parts[0] == "api" && len(parts) == 1:
		answer(w, http.StatusOK, map[string]any{"kind": "APIVersions", "versions": []string{"v1"}})
	case parts[0] == "apis" && len(parts) <= 2:
		discover(w, parts[1:])
	case parts[0] == "api" && len(parts) == 2:
		resources(w, "", parts[1])
	case parts[0] == "apis" && len(parts) == 3:
		resources(w, parts[1], parts[2])
	case strings.HasPrefix(r.URL.Path, "/apis/authorization.k8s.io/v1/"):
		review(w, r, parts[3])
	case parts[0] == "api":
		c.object(w, r, "", parts[1], parts[2:])
	case parts[0] == "apis":
		c.object(w, r, parts[1], parts[2], parts[3:])
	default:
		noPage(w)
	}
}

// noPage is what an API server says of a path that it does not know.
func noPage(w http.ResponseWriter) { http.Error(w, "404 page not found", http.StatusNotFound) }

func write(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

func answer(w http.ResponseWriter, code int, v any) { write(w, code, encode(v)) }

// status is a Kubernetes Status of a failure.
func status(code int, reason, message string, details map[string]any) map[string]any {
	s := map[string]any{"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure", "message": message, "reason": reason, "code": code}
	if details != nil {
		s["details"] = details
	}
	return s
}

func refuse(w http.ResponseWriter, code int, reason, message string, details map[string]any) {
	answer(w, code, status(code, reason, message, details))
}

func notFound(w http.ResponseWriter, r *resource, name string) {
	refuse(w, http.StatusNotFound, "NotFound", fmt.Sprintf("%s %q not found", r.qualified(), name), map[string]any{"name": name, "group": r.group, "kind": r.plural})
}

// groups are the versions of each API group, in the order of served.
func groups() (order []string, versions map[string][]string) {
	versions = map[string][]string{}
	all := append([]*resource{{"subresources.kubevirt.io", "v1", "", "", false}, {"authorization.k8s.io", "v1", "", "", false}}, served...)
	for _, s := range all {
		if s.group == "" || slices.Contains(versions[s.group], s.version) {
			continue
		}
		if versions[s.group] == nil {
			order = append(order, s.group)
		}
		versions[s.group] = append(versions[s.group], s.version)
	}
	return order, versions
}

func discover(w http.ResponseWriter, path []string) {
	order, versions := groups()
	of := func(group string) map[string]any {
		var list []map[string]any
		for _, v := range versions[group] {
			list = append(list, map[string]any{"groupVersion": group + "/" + v, "version": v})
		}
		return map[string]any{"name": group, "versions": list, "preferredVersion": list[0]}
	}
	if len(path) == 1 {
		if versions[path[0]] == nil {
			noPage(w)
			return
		}
		g := of(path[0])
		g["kind"], g["apiVersion"] = "APIGroup", "v1"
		answer(w, http.StatusOK, g)
		return
	}
	list := []map[string]any{}
	for _, g := range order {
		list = append(list, of(g))
	}
	answer(w, http.StatusOK, map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": list})
}

func resources(w http.ResponseWriter, group, version string) {
	list := []map[string]any{}
	gv := version
	for _, s := range served {
		if s.group != group || s.version != version {
			continue
		}
		gv = s.apiVersion()
		list = append(list, map[string]any{
			"name": s.plural, "singularName": strings.ToLower(s.kind), "namespaced": s.namespaced, "kind": s.kind,
			"verbs": []string{"delete", "get", "list", "patch", "create", "watch"},
		})
	}
	if _, versions := groups(); len(list) == 0 && !slices.Contains(versions[group], version) {
		noPage(w)
		return
	} else if group != "" {
		gv = group + "/" + version
	}
	answer(w, http.StatusOK, map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": list})
}

// review answers who asks about the own rights: all that the portal needs, and
// no more.
func review(w http.ResponseWriter, r *http.Request, what string) {
	in, ok := read(w, r)
	if !ok {
		return
	}
	if r.Method != http.MethodPost {
		noPage(w)
		return
	}
	spec, _ := in["spec"].(map[string]any)
	out := map[string]any{"kind": in["kind"], "apiVersion": "authorization.k8s.io/v1", "metadata": map[string]any{}, "spec": spec}
	switch what {
	case "selfsubjectaccessreviews":
		a, _ := spec["resourceAttributes"].(map[string]any)
		more := text(a, "resource") == "*" || text(a, "verb") == "impersonate" ||
			text(a, "resource") == "secrets" && slices.Contains([]string{"list", "get", "watch"}, text(a, "verb"))
		out["status"] = map[string]any{"allowed": !more}
		if !more {
			out["status"] = map[string]any{"allowed": true, "reason": "RBAC: allowed by ClusterRoleBinding \"shepherd\""}
		}
	case "selfsubjectrulesreviews":
		out["status"] = map[string]any{"incomplete": true, "resourceRules": []any{}, "nonResourceRules": []any{}}
	default:
		noPage(w)
		return
	}
	answer(w, http.StatusCreated, out)
}

// object serves what lies under a group and version.
func (c *Cluster) object(w http.ResponseWriter, r *http.Request, group, version string, path []string) {
	var t target
	if len(path) >= 3 && path[0] == "namespaces" {
		t.namespace, path = path[1], path[2:]
	}
	plural := path[0]
	if len(path) > 1 {
		t.name = path[1]
	}
	if len(path) > 2 {
		t.part = path[2]
	}
	sub := group == "subresources.kubevirt.io"
	i := slices.IndexFunc(served, func(s *resource) bool {
		return s.plural == plural && (s.group == group && s.version == version || sub && s.group == "kubevirt.io")
	})
	if i < 0 || len(path) > 3 {
		noPage(w)
		return
	}
	t.resource = served[i]
	// Who changes something holds the lock, and must not wait for the network.
	held := func(change func(http.ResponseWriter, *http.Request, target)) {
		later := reply{header: w.Header()}
		change(&later, r, t)
		w.WriteHeader(later.code)
		_, _ = later.body.WriteTo(w)
	}
	switch {
	case sub && r.Method == http.MethodPut:
		held(c.power)
	case sub || t.part != "":
		noPage(w)
	case r.Method == http.MethodGet && t.name != "":
		c.get(w, t)
	case r.Method == http.MethodGet && (r.URL.Query().Get("watch") == "true" || r.URL.Query().Get("watch") == "1"):
		c.watch(w, r, t)
	case r.Method == http.MethodGet:
		c.answerList(w, r, t)
	case r.Method == http.MethodPost && t.name == "":
		held(c.create)
	case r.Method == http.MethodPatch && t.name != "":
		held(c.patch)
	case r.Method == http.MethodDelete && t.name != "":
		held(c.delete)
	default:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "the server does not allow this method on the requested resource", nil)
	}
}

// reply is an answer that is sent later.
type reply struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header is that of the answer.
func (r *reply) Header() http.Header { return r.header }

// WriteHeader keeps the status.
func (r *reply) WriteHeader(code int) { r.code = code }

// Write keeps a part of the body.
func (r *reply) Write(p []byte) (int, error) { return r.body.Write(p) }

func (c *Cluster) find(t target) *object {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.objects[t.resource][t.namespace+"/"+t.name]
}

func (c *Cluster) get(w http.ResponseWriter, t target) {
	o := c.find(t)
	if o == nil {
		notFound(w, t.resource, t.name)
		return
	}
	write(w, http.StatusOK, o.raw)
}

// place is the text of a continue token.
type place struct {
	ID string `json:"id"`
}

// answerList answers a list. Its pages are cut from one snapshot, so that they are of
// one version whatever happens in between.
func (c *Cluster) answerList(w http.ResponseWriter, r *http.Request, t target) {
	c.counts.lists.Add(1)
	end := func() {}
	if t.resource == vms || t.resource == vmis {
		c.meter.begin()
		end = sync.OnceFunc(c.meter.end)
		defer end()
	}
	q := r.URL.Query()
	fits, err := selector(q.Get("labelSelector"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error(), nil)
		return
	}
	limit, _ := strconv.Atoi(q.Get("limit"))
	c.mu.Lock()
	var s snapshot
	if token := q.Get("continue"); token != "" {
		var at place
		b, err := base64.RawURLEncoding.DecodeString(token)
		if err == nil {
			err = json.Unmarshal(b, &at)
		}
		found := false
		if s, found = c.pages[at.ID]; err != nil || !found {
			c.mu.Unlock()
			refuse(w, http.StatusGone, "Expired", "The provided continue parameter is too old to display a consistent list result.", nil)
			return
		}
	} else {
		if version, _ := strconv.ParseUint(q.Get("resourceVersion"), 10, 64); version > c.version {
			now := c.version
			c.mu.Unlock()
			refuse(w, http.StatusGatewayTimeout, "Timeout", fmt.Sprintf("Too large resource version: %d, current: %d", version, now), map[string]any{
				"causes": []any{map[string]any{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}}, "retryAfterSeconds": 1,
			})
			return
		}
		s = snapshot{c.version, c.list(t.resource, t.namespace, fits)}
	}
	meta := map[string]any{"resourceVersion": strconv.FormatUint(s.version, 10), "continue": ""}
	items := s.rest
	if limit > 0 && len(items) > limit {
		items = s.rest[:limit]
		if len(c.pages) >= maxSnapshot {
			clear(c.pages)
		}
		id := UID(t.resource.plural, strconv.FormatUint(s.version, 10), items[limit-1].key(), r.URL.RawQuery)
		c.pages[id] = snapshot{s.version, s.rest[limit:]}
		meta["continue"] = base64.RawURLEncoding.EncodeToString(encode(place{id}))
		if q.Get("labelSelector") == "" {
			meta["remainingItemCount"] = len(s.rest) - limit
		}
	}
	c.mu.Unlock()

	w.Header().Set("Content-Type", "application/json")
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"apiVersion":%q,"kind":%q,"metadata":%s,"items":[`, t.resource.apiVersion(), t.resource.kind+"List", encode(meta))
	for i, o := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(o.raw)
		if b.Len() > 256<<10 {
			if _, err := b.WriteTo(w); err != nil {
				return
			}
		}
	}
	b.WriteString("]}\n")
	end() // who has the last bytes may begin the next list
	_, _ = b.WriteTo(w)
}

// watch streams changes after a version.
func (c *Cluster) watch(w http.ResponseWriter, r *http.Request, t target) {
	q := r.URL.Query()
	fits, err := selector(q.Get("labelSelector"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error(), nil)
		return
	}
	if q.Get("sendInitialEvents") != "" {
		refuse(w, http.StatusUnprocessableEntity, "Invalid", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled", nil)
		return
	}
	c.counts.watches.Add(1)
	c.counts.open.Add(1)
	defer c.counts.open.Add(-1)
	seconds, _ := strconv.Atoi(q.Get("timeoutSeconds"))
	if seconds <= 0 {
		seconds = 1800
	}
	timeout := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timeout.Stop()
	bookmarks := q.Get("allowWatchBookmarks") == "true" || q.Get("allowWatchBookmarks") == "1"
	bookmark := time.NewTicker(c.options.Bookmark)
	defer bookmark.Stop()

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	send := func(kind string, raw []byte) bool {
		_, err := fmt.Fprintf(w, "{\"type\":%q,\"object\":%s}\n", kind, raw)
		return err == nil
	}

	at, err := strconv.ParseUint(q.Get("resourceVersion"), 10, 64)
	var there []*object
	c.mu.Lock()
	floor := c.floor
	if err != nil || at == 0 { // from now on, with what there is
		at = c.version
		there = c.list(t.resource, t.namespace, fits)
	}
	c.mu.Unlock()
	for _, o := range there {
		if !send("ADDED", o.raw) {
			return
		}
	}
	if at < floor {
		send("ERROR", encode(status(http.StatusGone, "Expired", fmt.Sprintf("too old resource version: %d (%d)", at, floor), nil)))
		return
	}
	for {
		c.mu.Lock()
		silent := c.fault == Silent
		changed := c.changed
		var events []event
		if !silent {
			from, _ := slices.BinarySearchFunc(c.log, at+1, func(e event, v uint64) int { return int(int64(e.version) - int64(v)) })
			events = c.log[from:]
			events = slices.Clone(events)
		}
		c.mu.Unlock()
		for _, e := range events {
			at = e.version
			if e.resource == t.resource && (t.namespace == "" || e.object.namespace == t.namespace) && fits(e.object) && !send(e.kind, e.object.raw) {
				return
			}
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-bookmark.C:
			if bookmarks && !silent && !send("BOOKMARK", encode(map[string]any{
				"kind": t.resource.kind, "apiVersion": t.resource.apiVersion(), "metadata": map[string]any{"resourceVersion": strconv.FormatUint(at, 10)},
			})) {
				return
			}
		case <-timeout.C:
			if !silent {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "limit is 1048576", nil)
	}
	return b, err == nil
}

// read takes an object in JSON, or, of Kubernetes' own kinds, in protobuf,
// which is what its clients send.
func read(w http.ResponseWriter, r *http.Request) (map[string]any, bool) {
	b, ok := body(w, r)
	if !ok {
		return nil, false
	}
	var o map[string]any
	err := json.Unmarshal(b, &o)
	if bytes.HasPrefix(b, []byte("k8s\x00")) {
		var typed runtime.Object
		var kind *schema.GroupVersionKind
		if typed, kind, err = scheme.Codecs.UniversalDeserializer().Decode(b, nil, nil); err == nil {
			err = json.Unmarshal(encode(typed), &o)
			o["kind"], o["apiVersion"] = kind.Kind, kind.GroupVersion().String()
		}
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", "the object provided is unrecognized", nil)
	}
	return o, err == nil
}

func dryRun(q url.Values) bool { return q.Get("dryRun") == "All" }

func (c *Cluster) create(w http.ResponseWriter, r *http.Request, t target) {
	c.counts.posts.Add(1)
	o, ok := read(w, r)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.resource.namespaced && c.objects[namespaces]["/"+t.namespace] == nil {
		refuse(w, http.StatusNotFound, "NotFound", fmt.Sprintf("namespaces %q not found", t.namespace), map[string]any{"name": t.namespace, "kind": "namespaces"})
		return
	}
	m := metadata(o)
	if prefix := text(m, "generateName"); text(m, "name") == "" && prefix != "" {
		m["name"] = prefix + UID(prefix, time.Now().String())[:5]
	}
	if t.resource.namespaced {
		m["namespace"] = t.namespace
	}
	name := text(m, "name")
	if name == "" {
		refuse(w, http.StatusUnprocessableEntity, "Invalid", fmt.Sprintf("%s %q is invalid: metadata.name: Required value: name or generateName is required", t.resource.kind, ""), nil)
		return
	}
	if c.objects[t.resource][t.namespace+"/"+name] != nil {
		refuse(w, http.StatusConflict, "AlreadyExists", fmt.Sprintf("%s %q already exists", t.resource.qualified(), name),
			map[string]any{"name": name, "group": t.resource.group, "kind": t.resource.plural})
		return
	}
	o["kind"], o["apiVersion"] = t.resource.kind, t.resource.apiVersion()
	m["uid"], m["creationTimestamp"], m["generation"] = UID(c.options.Name, t.resource.plural, name, time.Now().String()), time.Now().UTC().Format(time.RFC3339), 1
	if dryRun(r.URL.Query()) {
		answer(w, http.StatusCreated, o)
		return
	}
	made := c.put(t.resource, o)
	if t.resource == vms {
		o := made.decoded()
		if spec, _ := o["spec"].(map[string]any); text(spec, "runStrategy") != "Halted" {
			c.boot(o)
		} else {
			c.halt(o)
		}
	}
	write(w, http.StatusCreated, made.raw)
}

func (c *Cluster) patch(w http.ResponseWriter, r *http.Request, t target) {
	b, ok := body(w, r)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.objects[t.resource][t.namespace+"/"+t.name]
	if old == nil {
		notFound(w, t.resource, t.name)
		return
	}
	var (
		after []byte
		err   error
	)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json-patch+json") {
		var p jsonpatch.Patch
		if p, err = jsonpatch.DecodePatch(b); err == nil {
			after, err = p.Apply(old.raw)
		}
	} else { // what the portal applies and merges has no lists that two own
		after, err = jsonpatch.MergePatch(old.raw, b)
	}
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, "Invalid", "the server rejected our request due to an error in our request", nil)
		return
	}
	var o map[string]any
	if json.Unmarshal(after, &o) != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", "the object provided is unrecognized", nil)
		return
	}
	m := metadata(o)
	if v := text(m, "resourceVersion"); v != "" && v != strconv.FormatUint(old.version, 10) {
		refuse(w, http.StatusConflict, "Conflict", fmt.Sprintf("Operation cannot be fulfilled on %s %q: the object has been modified; please apply your changes to the latest version and try again",
			t.resource.qualified(), t.name), map[string]any{"name": t.name, "group": t.resource.group, "kind": t.resource.plural})
		return
	}
	if bytes.Equal(encode(o), encode(old.decoded())) || dryRun(r.URL.Query()) { // nothing changes
		answer(w, http.StatusOK, o)
		return
	}
	write(w, http.StatusOK, c.put(t.resource, o).raw)
}

func (c *Cluster) delete(w http.ResponseWriter, r *http.Request, t target) {
	b, ok := body(w, r)
	if !ok {
		return
	}
	var opt struct{ Preconditions struct{ UID string } }
	_ = json.Unmarshal(b, &opt) // none is fine
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.objects[t.resource][t.namespace+"/"+t.name]
	if old == nil {
		notFound(w, t.resource, t.name)
		return
	}
	if want := opt.Preconditions.UID; want != "" && want != old.uid {
		refuse(w, http.StatusConflict, "Conflict", fmt.Sprintf("Operation cannot be fulfilled on %s %q: Precondition failed: UID in precondition: %s, UID in object meta: %s",
			t.resource.qualified(), t.name, want, old.uid), map[string]any{"name": t.name, "group": t.resource.group, "kind": t.resource.plural})
		return
	}
	c.remove(t.resource, old)
	// The garbage collector takes what the object owned.
	for _, r := range []*resource{vmis, secrets} {
		for _, o := range c.objects[r] {
			if bytes.Contains(o.raw, []byte(old.uid)) {
				c.remove(r, o)
			}
		}
	}
	answer(w, http.StatusOK, map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Success",
		"details": map[string]any{"name": t.name, "group": t.resource.group, "kind": t.resource.plural, "uid": old.uid},
	})
}

// power serves start, stop, restart, pause and unpause.
func (c *Cluster) power(w http.ResponseWriter, _ *http.Request, t target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.objects[vms][t.namespace+"/"+t.name]
	if old == nil || c.objects[t.resource][t.namespace+"/"+t.name] == nil {
		notFound(w, t.resource, t.name)
		return
	}
	o := old.decoded()
	spec, _ := o["spec"].(map[string]any)
	runs := c.objects[vmis][old.key()] != nil
	conflict := func(message string) {
		refuse(w, http.StatusConflict, "Conflict", fmt.Sprintf("Operation cannot be fulfilled on %s %q: %s", t.resource.qualified(), t.name, message), nil)
	}
	show := func(state string) {
		s, _ := o["status"].(map[string]any)
		s["printableStatus"] = state
		c.put(vms, o)
	}
	switch t.part {
	case "start":
		if runs {
			conflict("VM is already running")
			return
		}
		spec["runStrategy"] = "Always"
		c.boot(o)
	case "stop":
		if !runs {
			conflict("VM is not running")
			return
		}
		spec["runStrategy"] = "Halted"
		c.halt(o)
	case "restart":
		if !runs {
			conflict("VM is not running")
			return
		}
		c.halt(o)
		c.boot(o)
	case "pause":
		show("Paused")
	case "unpause":
		show("Running")
	default:
		noPage(w)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}
