package handlers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/user"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/handlers/api"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/token"
)

// contract holds every request and answer against the document that the portal
// serves, and remembers which answers there were.
type contract struct {
	t      *testing.T
	url    string
	router routers.Router
	mu     sync.Mutex
	seen   map[string]map[int]bool // statuses by operation
}

// newContract reads the document from the portal. Here an answer must not have
// a field that the document does not have; for others it may.
func newContract(t *testing.T, p *portal) *contract {
	t.Helper()
	text := p.anonymous().get("/api/v1/openapi.json").is(http.StatusOK).Body
	var raw map[string]any
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		t.Fatal(err)
	}
	for _, s := range raw["components"].(map[string]any)["schemas"].(map[string]any) {
		if s := s.(map[string]any); s["properties"] != nil && s["additionalProperties"] == nil {
			s["additionalProperties"] = false
		}
	}
	strict, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(strict)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("the document is not OpenAPI 3.1: %v", err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &contract{t: t, url: p.url, router: router, seen: map[string]map[int]bool{}}
}

// call sends a request to the API. body is JSON as text, a value to write as
// JSON, or nil.
func (c *contract) call(b *browser, method, path string, body any, header ...string) *page {
	c.t.Helper()
	var text string
	switch v := body.(type) {
	case nil:
	case string:
		text = v
	default:
		j, err := json.Marshal(v)
		if err != nil {
			c.t.Fatal(err)
		}
		text = string(j)
	}
	kind := ""
	if text != "" {
		kind = "application/json"
	}
	sender := b.with(header...)
	got := sender.do(method, api.Prefix+path, kind, strings.NewReader(text))
	c.check(sender, method, path, text, got)
	return got
}

func (c *contract) check(b *browser, method, path, body string, got *page) {
	c.t.Helper()
	req, err := http.NewRequest(method, api.Prefix+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	maps.Copy(req.Header, b.header)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		c.t.Fatalf("%s %s is not in the document: %v", method, path, err)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true},
	}
	if got.Status < 300 {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			c.t.Errorf("%s %s: it works and is not in the document: %v", method, path, err)
		}
	}
	if got.Status >= 400 && got.Header.Get("Content-Type") != api.ProblemType {
		c.t.Errorf("%s %s: %d is not a problem but %s", method, path, got.Status, got.Header.Get("Content-Type"))
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: got.Status, Header: got.Header, Options: in.Options}
	out.SetBodyBytes([]byte(got.Body))
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		c.t.Errorf("%s %s: %d is not in the document: %v\n%s", method, path, got.Status, err, got.Body)
	}
	if route.Operation.Responses.Value(fmt.Sprint(got.Status)) == nil {
		c.t.Errorf("%s %s: the document has no %d", method, path, got.Status)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id := route.Operation.OperationID
	if c.seen[id] == nil {
		c.seen[id] = map[int]bool{}
	}
	c.seen[id][got.Status] = true
}

// read gives an answer as T.
func read[T any](p *page) T {
	p.t.Helper()
	var v T
	if err := json.Unmarshal([]byte(p.Body), &v); err != nil {
		p.t.Fatalf("%s: %d %v\n%s", p.what, p.Status, err, p.Body)
	}
	return v
}

// problem gives an answer that is an error, with this status and code.
func problem(p *page, status int, code string) api.Problem {
	p.t.Helper()
	v := read[api.Problem](p)
	if p.Status != status || v.Status != status || v.Code != code {
		p.t.Errorf("%s: got %d %s, want %d %s\n%s", p.what, p.Status, v.Code, status, code, p.Body)
	}
	if v.Title == "" || v.RequestID == "" || v.RequestID != p.Header.Get("X-Request-Id") || v.Type == "" || v.Instance == "" {
		p.t.Errorf("%s: the problem says too little: %s", p.what, p.Body)
	}
	return v
}

type fields = map[string]any

// ask is a good request of dev for new VMs, with changes.
func (s *shop) ask(at place, changes ...any) fields {
	o := fields{"service_id": at.service, "template_id": s.template, "size_id": s.small, "count": 2, "disk_gib": 20, "reason": "Cache for the load tests."}
	for i := 0; i < len(changes); i += 2 {
		o[changes[i].(string)] = changes[i+1]
	}
	return o
}

// holding is a program that holds a token of a person.
func (s *shop) holding(name string, scopes ...domain.Scope) *browser {
	s.t.Helper()
	u := s.db.Ent.User.Query().Where(user.Username(name)).OnlyX(s.t.Context())
	_, text, err := s.Tokens.Create(s.t.Context(), domain.Shepherd(), u.ID.String(), token.New{Name: "test", Scopes: scopes, Life: time.Hour})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.anonymous().with("Authorization", "Bearer "+text, "Sec-Fetch-Site", "")
}

// Everything that the pages do, done by programs: each operation works at least
// once, and what it takes and answers is what the document says.
func TestAPIStory(t *testing.T) {
	s := newShop(t)
	c := newContract(t, s.portal)
	get := func(b *browser, path string) *page { t.Helper(); return c.call(b, "GET", path, nil).is(http.StatusOK) }
	post := func(b *browser, path string, body any, status int) *page {
		t.Helper()
		return c.call(b, "POST", path, body).is(status)
	}

	me := read[api.Me](get(s.dev, "/me"))
	if me.Username != "dev" || len(me.Roles) != 2 {
		t.Errorf("me: %+v", me)
	}

	// An admin makes the platform ready.
	draft := read[api.ClusterDraft](post(s.admin, "/cluster-drafts", fields{"file_name": "a.yaml", "kubeconfig": string(goodKubeconfig())}, 201))
	get(s.admin, "/cluster-drafts/"+draft.ID)
	draft = read[api.ClusterDraft](post(s.admin, "/cluster-drafts/"+draft.ID+"/check", fields{"context": draft.Contexts[0].Name}, 200))
	if draft.Preflight == nil || !draft.Preflight.Passed {
		t.Fatalf("draft: %+v", draft)
	}
	made := post(s.admin, "/clusters", fields{"draft_id": draft.ID, "context": draft.Contexts[0].Name, "name": "new", "environment": "test"}, 201)
	cl := read[api.Cluster](made)
	if made.Location != api.Prefix+"/clusters/"+cl.ID {
		t.Errorf("location %s", made.Location)
	}
	get(s.admin, "/clusters/"+cl.ID)
	post(s.admin, "/clusters/"+cl.ID+"/check", nil, 200)
	get(s.admin, "/cluster-capacities")
	mine := "/clusters/" + cl.ID
	set := c.call(s.admin, "PATCH", mine, fields{"place": "Berlin", "weight": 50, "hardware": []string{"sriov"}}).is(http.StatusOK)
	if got := read[api.Cluster](set); got.Place != "Berlin" || got.Weight != 50 || len(got.Hardware) != 1 {
		t.Errorf("settings: %+v", got)
	}
	problem(c.call(s.admin, "PATCH", mine, fields{"weight": 7}, "If-Match", `"old"`), 412, "PRECONDITION_FAILED")
	c.call(s.admin, "PATCH", mine, fields{"weight": 70}, "If-Match", set.Header.Get("ETag")).is(http.StatusOK)
	if got := read[api.Cluster](post(s.admin, mine+"/mode", fields{"do": "drain"}, 200)); !got.Drained || !got.Enabled {
		t.Errorf("drained: %+v", got)
	}
	post(s.admin, mine+"/mode", fields{"do": "undrain"}, 200)
	if list := read[api.Page[api.ClusterEvent]](get(s.auditor, mine+"/events?kind=mode")); len(list.Items) != 8 {
		t.Errorf("timeline: %+v", list.Items)
	}
	if list := read[api.Page[api.ClusterOrder]](get(s.auditor, mine+"/orders")); len(list.Items) != 0 {
		t.Errorf("orders: %+v", list.Items)
	}
	if list := read[api.Page[api.VMRow]](get(s.admin, "/vms?cluster_id="+cl.ID)); len(list.Items) != 0 {
		t.Errorf("VMs of a new cluster: %+v", list.Items)
	}
	if list := read[api.Page[api.Cluster]](get(s.auditor, "/clusters")); len(list.Items) != 3 {
		t.Errorf("%d clusters", len(list.Items))
	}
	ns := read[api.Namespace](post(s.admin, "/namespaces", fields{"cluster_id": cl.ID, "name": "team-a", "environment": "test"}, 201))
	get(s.admin, "/namespaces")
	get(s.admin, "/namespaces/"+ns.ID)
	s.play.spaces = func(name string) (domain.NamespaceState, error) {
		return domain.NamespaceState{Presence: domain.PresencePresent, Quotas: []domain.Quota{{Name: "q", Resource: "pods", Hard: "5", Used: "1"}}}, nil
	}
	if n := read[api.Namespace](post(s.admin, "/namespaces/"+ns.ID+"/check", nil, 200)); n.Presence != "present" || !n.QuotasKnown || len(n.Quotas) != 1 || n.Quotas[0].Hard != "5" || n.CheckedAt == nil {
		t.Errorf("looked at: %+v", n)
	}
	if list := read[api.Page[api.Namespace]](get(s.admin, "/namespaces?environment=test&name=team-a&cluster_id="+cl.ID)); len(list.Items) != 1 {
		t.Errorf("filtered: %+v", list)
	}
	s.play.spaces = nil
	spare := read[api.Namespace](post(s.admin, "/namespaces", fields{"cluster_id": cl.ID, "name": "spare", "environment": "test"}, 201))
	c.call(s.admin, "DELETE", "/namespaces/"+spare.ID, nil).is(http.StatusNoContent)
	template := read[api.Template](post(s.admin, "/templates", fields{"name": "fedora", "display_name": "Fedora", "image": "docker://quay.io/containerdisks/fedora:42", "cloud_init": "#cloud-config\nusers: []\n"}, 201))
	if !template.HasCloudInit || template.Version != 1 {
		t.Errorf("template: %+v", template)
	}
	size := read[api.Size](post(s.admin, "/sizes", fields{"name": "tiny", "cpu": 1, "memory_mib": 1024, "disk_gib": 10}, 201))
	get(s.dev, "/templates")
	get(s.dev, "/sizes")

	// People.
	invited := read[api.Invitation](post(s.admin, "/people", fields{"username": "li-wei", "display_name": "Li Wei", "roles": []fields{{"role": "approver", "environment": "test"}}}, 201))
	if !strings.Contains(invited.Link, "/setup/") {
		t.Errorf("link %s", invited.Link)
	}
	person := "/people/" + invited.ID
	post(s.admin, person+"/link", nil, 201)
	if p := read[api.Person](get(s.admin, person)); !p.Invited || len(p.Roles) != 1 {
		t.Errorf("person: %+v", p)
	}
	if p := read[api.Person](post(s.admin, person+"/roles", fields{"role": "auditor"}, 200)); len(p.Roles) != 2 {
		t.Errorf("roles: %+v", p.Roles)
	}
	c.call(s.admin, "DELETE", person+"/roles?role=auditor", nil).is(http.StatusNoContent)
	post(s.admin, person+"/sessions/end", nil, 200)
	if p := read[api.Person](post(s.admin, person+"/disable", nil, 200)); !p.Disabled {
		t.Errorf("person: %+v", p)
	}
	post(s.admin, person+"/enable", nil, 200)
	get(s.admin, "/people?limit=2")
	get(s.admin, "/people?leavers=true")
	access := read[api.Access](get(s.admin, person+"/access?system_id="+s.test.system))
	for _, answer := range access.Answers {
		if answer.Action == "ticket.decide" && (!answer.Allowed || answer.Role == nil || answer.Role.Role != "approver") || answer.Action == "vm.power" && answer.Allowed {
			t.Errorf("access: %+v", answer)
		}
	}
	get(s.admin, person+"/access")
	bot := s.db.Ent.User.Create().SetUsername("ci-bot").SetKind(user.KindService).SetOwnerID(uuid.MustParse(invited.ID)).SaveX(t.Context())
	if l := read[api.Leftovers](get(s.admin, person+"/leftovers")); len(l.Systems) != 0 || len(l.ServiceAccounts) != 1 || l.ServiceAccounts[0].Username != "ci-bot" || l.Tokens != 0 {
		t.Errorf("leftovers: %+v", l)
	}
	if done := read[api.HandedOver](post(s.admin, person+"/hand-over", fields{"to": "dev", "service_account_id": bot.ID}, 200)); done != (api.HandedOver{ServiceAccounts: 1}) {
		t.Errorf("handed over: %+v", done)
	}

	// Groups.
	group := read[api.Group](post(s.admin, "/groups", fields{"name": "payments"}, 201))
	at := "/groups/" + group.ID
	post(s.admin, at+"/members", fields{"username": "viewer"}, 204)
	in := read[api.Page[api.GroupMember]](get(s.admin, at+"/members"))
	if len(in.Items) != 1 || in.Items[0].Username != "viewer" || !slices.Equal(in.Items[0].Sources, []string{"local"}) {
		t.Errorf("members: %+v", in)
	}
	if g := read[api.Group](post(s.admin, at+"/roles", fields{"role": "viewer", "environment": "test"}, 200)); len(g.Roles) != 1 || g.People != 1 {
		t.Errorf("group: %+v", g)
	}
	c.call(s.admin, "DELETE", at+"/roles?role=viewer&environment=test", nil).is(http.StatusNoContent)
	c.call(s.admin, "DELETE", at+"/members/"+in.Items[0].UserID, nil).is(http.StatusNoContent)
	if g := read[api.Group](c.call(s.admin, "PATCH", at, fields{"name": "payments", "description": "Who takes the money."}).is(http.StatusOK)); g.Description == "" {
		t.Errorf("group: %+v", g)
	}
	get(s.admin, "/groups")
	get(s.admin, at)

	// A developer makes a system and a service.
	get(s.dev, "/system-namespaces")
	sys := read[api.System](post(s.dev, "/systems", fields{"name": "blog", "namespace": "team-a"}, 201))
	system := "/systems/" + sys.ID
	first := get(s.dev, system)
	changed := c.call(s.dev, "PATCH", system, fields{"documentation": "# Blog"}, "If-Match", first.Header.Get("ETag")).is(http.StatusOK)
	if read[api.System](changed).Documentation != "# Blog" || changed.Header.Get("ETag") == first.Header.Get("ETag") {
		t.Errorf("changed: %s", changed.Body)
	}
	problem(c.call(s.dev, "PATCH", system, fields{"documentation": "late"}, "If-Match", first.Header.Get("ETag")), 412, "PRECONDITION_FAILED")
	post(s.dev, system+"/members", fields{"username": "viewer", "role": "viewer"}, 204)
	members := read[api.Page[api.SystemMember]](get(s.dev, system+"/members"))
	if len(members.Items) != 2 || members.Items[1].Username != "viewer" {
		t.Errorf("members: %+v", members)
	}
	c.call(s.dev, "DELETE", system+"/members/"+members.Items[1].UserID+"?role=viewer", nil).is(http.StatusNoContent)
	post(s.dev, system+"/members", fields{"group": "payments", "role": "maintainer"}, 204)
	if v := problem(c.call(s.dev, "POST", system+"/members", fields{"group": "none", "role": "viewer"}), 422, "NO_SUCH_GROUP"); len(v.Errors) != 1 || v.Errors[0].Field != "group" {
		t.Errorf("no such group: %+v", v)
	}
	c.call(s.dev, "DELETE", system+"/groups/"+group.ID+"?role=maintainer", nil).is(http.StatusNoContent)
	get(s.dev, system+"/members/"+members.Items[0].UserID+"/access")
	post(s.dev, system+"/transfer?dry_run=true", fields{"from": "dev", "to": "boss", "stays": true}, 204)
	post(s.dev, system+"/transfer", fields{"from": "dev", "to": "boss", "stays": true}, 204)
	boss := s.db.Ent.User.Query().Where(user.Username("boss")).OnlyX(t.Context())
	if h := read[api.HandedOver](post(s.admin, "/people/"+boss.ID.String()+"/hand-over", fields{"to": "dev"}, 200)); h.Systems != 1 {
		t.Errorf("handed over: %+v", h)
	}
	if names := read[api.VMNames](get(s.dev, system+"/vm-names?service=web")); len(names.Names) == 0 || names.Names[0] != "blog-web-01" {
		t.Errorf("names: %v", names)
	}
	sv := read[api.Service](post(s.dev, system+"/services", fields{"name": "web"}, 201))
	service := "/services/" + sv.ID
	was := get(s.dev, service)
	c.call(s.dev, "PATCH", service, fields{"documentation": "# Web"}, "If-Match", was.Header.Get("ETag")).is(http.StatusOK)
	problem(c.call(s.dev, "PATCH", service, fields{"documentation": "late"}, "If-Match", was.Header.Get("ETag")), 412, "PRECONDITION_FAILED")
	get(s.dev, "/services?system_id="+sys.ID+"&operable=true")
	get(s.dev, "/systems")

	// A request, from the preview to the approval.
	get(s.dev, "/requests/options")
	ask := s.ask(s.test, "template_id", template.ID, "size_id", size.ID, "disk_gib", 15)
	if p := read[api.RequestPreview](post(s.dev, "/requests/preview", ask, 200)); !p.Ready || !p.NeedsApproval || len(p.Names) != 2 || len(p.Errors) != 0 {
		t.Errorf("preview: %+v", p)
	}
	if p := read[api.RequestPreview](post(s.dev, "/requests/preview", s.ask(s.test, "disk_gib", 4), 200)); p.Ready || len(p.Errors) != 1 || p.Errors[0].Field != "disk_gib" {
		t.Errorf("preview: %+v", p)
	}
	post(s.dev, "/requests?dry_run=true", ask, 204)
	if n := s.db.Ent.ApprovalTicket.Query().CountX(t.Context()); n != 0 {
		t.Fatalf("a dry run makes %d requests", n)
	}
	asked := read[api.Request](post(s.dev, "/requests", ask, 201))
	if asked.Status != "PENDING_APPROVAL" || !asked.Own || asked.Spec.DiskGiB != 15 || !slices.Contains(asked.Deciders, "boss") {
		t.Errorf("request: %+v", asked)
	}
	request := fmt.Sprintf("/requests/%d", asked.Number)
	get(s.viewer, request)
	if list := read[api.Page[api.RequestRow]](get(s.dev, "/requests?status=PENDING_APPROVAL&status=REJECTED")); len(list.Items) != 1 {
		t.Errorf("requests: %+v", list)
	}
	if ages := read[api.ApprovalAges](get(s.approver, "/approvals/ages")); ages.All != 1 {
		t.Errorf("ages: %+v", ages)
	}
	get(s.approver, "/approvals?view=open&environment=test&operation=CREATE&q=redis")
	approval := fmt.Sprintf("/approvals/%d", asked.Number)
	got := get(s.approver, approval)
	ticket := read[api.Approval](got)
	if !ticket.MayDecide || len(ticket.Clusters) == 0 || got.Header.Get("ETag") == "" {
		t.Errorf("ticket: %+v", ticket)
	}
	yes := fields{"decision": "approve", "version": ticket.Version, "spec_hash": ticket.SpecHash, "cluster_id": s.test.cluster}
	problem(c.call(s.approver, "POST", approval+"/decision", fields{"decision": "approve", "version": ticket.Version, "spec_hash": strings.Repeat("0", 64), "cluster_id": s.test.cluster}), 409, "TICKET_CHANGED")
	problem(c.call(s.approver, "POST", approval+"/decision", fields{"decision": "reject", "version": ticket.Version, "spec_hash": ticket.SpecHash}), 422, "REASON_REQUIRED")
	done := read[api.Approval](post(s.approver, approval+"/decision", yes, 200))
	if done.Approver != "boss" || done.Status != "APPROVED" && done.Status != "EXECUTING" {
		t.Errorf("approved: %+v", done)
	}
	problem(c.call(s.approver, "POST", approval+"/decision", yes), 409, "ALREADY_DECIDED")
	problem(c.call(s.dev, "POST", request+"/withdraw", nil), 409, "ALREADY_DECIDED")
	if vms := read[api.Request](get(s.dev, request)).VMs; len(vms) != 2 {
		t.Errorf("VMs: %+v", vms)
	}
	problem(c.call(s.dev, "POST", request+"/retry", nil), 409, "TICKET_CHANGED")
	s.failOrders(asked.Number)
	if r := read[api.Request](get(s.dev, request)); !r.CanRetry || r.Problem == nil || r.Problem.Message == "" {
		t.Errorf("failed: %+v", r)
	}
	if r := read[api.Request](post(s.dev, request+"/retry", nil, 202)); r.Status != "EXECUTING" {
		t.Errorf("tried again: %s", r.Status)
	}
	back := read[api.Request](post(s.dev, "/requests", s.ask(s.prod), 201))
	if w := read[api.Request](post(s.dev, fmt.Sprintf("/requests/%d/withdraw", back.Number), nil, 200)); w.Status != "CANCELLED" {
		t.Errorf("withdrawn: %s", w.Status)
	}

	// VMs.
	m := s.vm(s.test, 91, domain.StateRunning)
	busy := s.vm(s.prod, 92, domain.StateStopped)
	get(s.dev, "/vms?health=ok&q=shop&system_id="+s.test.system)
	get(s.dev, "/services/"+s.test.service+"/vms?limit=1")
	if v := read[api.VM](get(s.dev, "/vms/"+m.ID.String())); v.Name != "shop-redis-91" || !v.CanOperate {
		t.Errorf("VM: %+v", v)
	}
	if o := read[api.Outcome](post(s.dev, "/vms/"+m.ID.String()+"/power", fields{"operation": "RESTART"}, 202)); !o.Ordered || o.Request != 0 {
		t.Errorf("restart: %+v", o)
	}
	problem(c.call(s.dev, "POST", "/vms/"+m.ID.String()+"/power", fields{"operation": "STOP"}), 409, "VM_BUSY")
	del := post(s.dev, "/vms/"+busy.ID.String()+"/deletion", fields{"confirm": busy.Name, "reason": "It is not needed any more."}, 202)
	if o := read[api.Outcome](del); o.Request == 0 || del.Location != fmt.Sprintf("%s/requests/%d", api.Prefix, o.Request) {
		t.Errorf("deletion: %+v %s", o, del.Location)
	}

	// Around it.
	if n := read[api.Notifications](get(s.approver, "/notifications")); n.Unread == 0 || len(n.Items) == 0 {
		t.Errorf("notifications: %+v", n)
	}
	post(s.approver, "/notifications/read", fields{}, 204)
	if n := read[api.Notifications](get(s.approver, "/notifications")); n.Unread != 0 {
		t.Errorf("%d unread", n.Unread)
	}
	if f := read[api.Found](get(s.dev, "/search?q=shop-redis")); len(f.VMs) == 0 || len(f.Services) == 0 {
		t.Errorf("found: %+v", f)
	}
	get(s.dev, "/trends?range=24h")
	if tree := read[api.Tree](get(s.dev, "/tree?open="+s.test.system+"&open="+s.test.service)); len(tree.Systems) != 3 || tree.VMs == 0 {
		t.Errorf("tree: %+v", tree)
	}
	entries := read[api.Page[api.AuditEntry]](get(s.auditor, "/audit?action=ticket.approve&from=2026-01-01T00:00:00Z"))
	if len(entries.Items) != 1 || entries.Items[0].Actor != "boss" || entries.Items[0].ResourceName == "" {
		t.Errorf("audit: %+v", entries)
	}
	if zip := s.auditor.get(api.Prefix + "/audit/export?format=csv&actor=boss").is(http.StatusOK); zip.Header.Get("Content-Type") != "application/zip" || !strings.HasPrefix(zip.Body, "PK") {
		t.Errorf("export: %s", zip.Header)
	}
	if zip := s.auditor.do("POST", api.Prefix+request+"/evidence", "", nil).is(http.StatusOK); zip.Header.Get("Content-Type") != "application/zip" || !strings.HasPrefix(zip.Body, "PK") {
		t.Errorf("evidence: %s", zip.Header)
	}
	quarantine := "/clusters/" + cl.ID + "/quarantine"
	s.quarantine(uuid.MustParse(cl.ID))("lost", "found")
	q := read[api.Quarantine](get(s.approver, quarantine))
	if len(q.Groups) != 1 || q.Groups[0].Count != 2 || q.QuarantinedAt == nil || q.ComparedAt == nil || q.Reason.Code != "CLUSTER_RESTORED" {
		t.Errorf("quarantine: %+v", q)
	}
	if f := read[api.Page[api.Finding]](get(s.approver, quarantine+"/findings?group=back&limit=1")); len(f.Items) != 1 || f.Items[0].Name != "found" || f.Items[0].Before != nil || f.Next == "" {
		t.Errorf("findings: %+v", f)
	}
	s.play.list = func(provider.ListOptions) (*domain.VMList, error) {
		return &domain.VMList{ResourceVersion: "60", Items: []*domain.VM{{Namespace: "team-a", Name: "found", UID: "uid-found"}}}, nil
	}
	if now := read[api.Quarantine](post(s.admin, quarantine+"/read", nil, 200)); now.Groups[0].Count != 1 || now.Groups[0].Digest == q.Groups[0].Digest {
		t.Errorf("quarantine: %+v", now)
	}
	accept := fields{"group": "back", "digest": q.Groups[0].Digest, "reason": "The backup of Monday."}
	problem(c.call(s.admin, "POST", quarantine+"/accept", accept), 409, "QUARANTINE_CHANGED")
	accept["digest"] = s.digest(uuid.MustParse(cl.ID), domain.FindingBack)
	if end := read[api.Quarantine](post(s.admin, quarantine+"/accept", accept, 200)); end.QuarantinedAt != nil || len(end.Groups) != 0 {
		t.Errorf("quarantine: %+v", end)
	}
	c.seen["exportAudit"], c.seen["exportEvidence"] = map[int]bool{200: true}, map[int]bool{200: true}

	// The end.
	problem(c.call(s.dev, "DELETE", system+"?confirm=blog", nil), 409, "HAS_CHILDREN")
	c.call(s.dev, "DELETE", service+"?confirm=web", nil).is(http.StatusNoContent)
	c.call(s.dev, "DELETE", system+"?confirm=blog", nil).is(http.StatusNoContent)
	c.call(s.admin, "DELETE", at, nil).is(http.StatusNoContent)
	problem(c.call(s.admin, "DELETE", "/clusters/"+s.test.cluster+"?confirm=c-test", nil), 409, "CLUSTER_HAS_VMS")
	problem(c.call(s.admin, "DELETE", mine+"?confirm=old", nil), 422, "NAME_MISMATCH")
	c.call(s.admin, "DELETE", mine+"?confirm=new", nil).is(http.StatusNoContent)
	problem(c.call(s.admin, "GET", mine, nil), 404, "NOT_FOUND")
	post(s.dev, "/me/sessions/end", nil, 204)

	for _, o := range api.New(api.Config{}).Operations() {
		if !c.seen[o.ID][o.Status] {
			t.Errorf("%s was never answered with %d", o.ID, o.Status)
		}
	}
}

// failOrders is a cluster that refuses all VMs of a ticket.
func (s *shop) failOrders(ticket int) {
	ctx, why := s.t.Context(), domain.Problem{Code: apperr.ErrQuotaExceeded}
	s.db.Ent.DomainEvent.Update().Where(domainevent.TicketID(ticket), domainevent.TypeEQ(domainevent.TypeVM_CREATE)).
		SetStatus(domainevent.StatusFAILED).SetProblem(why).ExecX(ctx)
	s.db.Ent.VM.Update().Where(entvm.TicketID(ticket)).SetState(entvm.StateFailed).SetHealth(entvm.HealthBad).SetProblem(why).ExecX(ctx)
	s.db.Ent.ApprovalTicket.UpdateOneID(ticket).SetStatus(approvalticket.StatusFAILED).SetProblem(why).ExecX(ctx)
}

// Nobody comes in who may not, and what somebody may not know of does not exist.
func TestAPIRefuses(t *testing.T) {
	s := newShop(t)
	c := newContract(t, s.portal)
	own := s.objects()
	own["{ticket}"] = fmt.Sprint(s.pendingTicket())
	for _, o := range api.New(api.Config{}).Operations() {
		path := filled(o.Path, own)
		got := c.call(s.anonymous(), o.Method, path, nil)
		problem(got, 401, "SIGNED_OUT")
		if got.Header.Get("WWW-Authenticate") != `Bearer realm="shepherd"` || got.Header.Get("Set-Cookie") != "" || got.Location != "" {
			t.Errorf("%s: %v", o.ID, got.Header)
		}
		problem(c.call(s.anonymous(), o.Method, path, nil, "Authorization", "Bearer none"), 401, "SIGNED_OUT")
	}
	// A token does what its user may.
	dev := s.holding("dev", domain.ScopeRequest)
	if me := read[api.Me](c.call(dev, "GET", "/me", nil).is(http.StatusOK)); me.Username != "dev" {
		t.Errorf("me: %+v", me)
	}
	c.call(dev, "POST", "/systems", fields{"name": "blog", "namespace": "shop-test"}).is(http.StatusCreated)
	problem(c.call(dev, "POST", "/templates", fields{"name": "x"}), 403, "TOKEN_SCOPE")
	problem(c.call(s.holding("dev", domain.ScopeAdmin), "POST", "/templates", fields{"name": "x"}), 403, "FORBIDDEN")
	problem(c.call(dev, "GET", "/clusters", nil), 404, "NOT_FOUND")
	problem(c.call(s.holding("dev", domain.ScopeRead), "POST", "/systems", fields{"name": "wiki", "namespace": "shop-test"}), 403, "TOKEN_SCOPE")
	problem(c.call(s.holding("admin", domain.ScopeAdmin), "POST", "/me/sessions/end", nil), 403, "TOKEN_NOT_ALLOWED")
	foreign := problem(c.call(s.holding("outsider", domain.ScopeRead), "GET", "/vms/"+own["{vm}"], nil), 404, "NOT_FOUND")
	missing := problem(c.call(s.holding("outsider", domain.ScopeRead), "GET", "/vms/0190a3c0-0000-7000-8000-000000000000", nil), 404, "NOT_FOUND")
	if foreign.Title != missing.Title || foreign.Detail != missing.Detail || len(foreign.Params) != len(missing.Params) {
		t.Errorf("foreign %+v, missing %+v", foreign, missing)
	}
	// Before what is dangerous a browser's session must be confirmed, here as on the
	// pages. A token needs no such thing.
	ctx, err := s.sessions.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.sessions.Put(ctx, "user", s.db.Ent.User.Query().Where(user.Username("admin")).OnlyIDX(ctx).String())
	cookie, _, err := s.sessions.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	unsure := s.anonymous()
	unsure.setCookie(&http.Cookie{Name: s.sessions.Cookie.Name, Value: cookie, Path: "/"})
	c.call(unsure, "GET", "/people", nil).is(http.StatusOK)
	problem(c.call(unsure, "POST", "/people", fields{"username": "li-wei"}), 403, "CONFIRMATION_REQUIRED")
	problem(unsure.get("/api/v1/audit/export?format=csv"), 403, "CONFIRMATION_REQUIRED")
	problem(c.call(s.holding("admin", domain.ScopeAdmin), "POST", "/people", fields{"username": "li-wei"}), 403, "TOKEN_NOT_ALLOWED")
	s.holding("auditor", domain.ScopeRead).get("/api/v1/audit/export?format=csv").is(http.StatusOK)

	// A change that another site asks a browser for.
	problem(c.call(s.dev, "POST", "/systems", fields{"name": "evil", "namespace": "shop-test"}, "Sec-Fetch-Site", "cross-site"), 403, "CROSS_ORIGIN")

	// Addresses and methods that are not there.
	problem(s.dev.get("/api/v1/none"), 404, "NOT_FOUND")
	put := s.dev.do("PUT", "/api/v1/systems", "application/json", strings.NewReader("{}"))
	problem(put, 405, "METHOD_NOT_ALLOWED")
	if got := put.Header.Values("Allow"); !slices.Equal(got, []string{"GET", "HEAD", "POST"}) {
		t.Errorf("allow %v", got)
	}
	if head := s.dev.do("HEAD", "/api/v1/systems", "", nil); head.Status != 200 || head.Body != "" {
		t.Errorf("HEAD: %d %q", head.Status, head.Body)
	}
}

// What a program can send wrong, and what it hears.
func TestAPIBadInput(t *testing.T) {
	s := newShop(t)
	c := newContract(t, s.portal)
	good, err := json.Marshal(s.ask(s.test))
	if err != nil {
		t.Fatal(err)
	}
	with := func(old, new string) string { return strings.Replace(string(good), old, new, 1) }
	for name, bad := range map[string]struct {
		body, field, code string
		status            int
	}{
		"nothing":          {"", "", "MALFORMED_JSON", 400},
		"not JSON":         {"service_id=1", "", "MALFORMED_JSON", 400},
		"half":             {string(good[:len(good)/2]), "", "MALFORMED_JSON", 400},
		"two values":       {string(good) + "{}", "", "MALFORMED_JSON", 400},
		"a comment":        {"/* */" + string(good), "", "MALFORMED_JSON", 400},
		"an array":         {"[]", "", "WRONG_TYPE", 422},
		"a number":         {"7", "", "WRONG_TYPE", 422},
		"null":             {"null", "service_id", "REQUIRED", 422},
		"empty":            {"{}", "service_id", "REQUIRED", 422},
		"twice":            {with(`{`, `{"count":1,`), "count", "DUPLICATE_FIELD", 400},
		"unknown":          {with(`{`, `{"namespace":"kube-system",`), "namespace", "FORBIDDEN_FIELD", 422},
		"case":             {with(`"count"`, `"Count"`), "Count", "FORBIDDEN_FIELD", 422},
		"text for number":  {with(`"count":2`, `"count":"2"`), "count", "WRONG_TYPE", 422},
		"number for text":  {with(`"reason":"Cache for the load tests."`, `"reason":7`), "reason", "WRONG_TYPE", 422},
		"half a VM":        {with(`"count":2`, `"count":2.5`), "count", "WRONG_TYPE", 422},
		"huge":             {with(`"count":2`, `"count":1e400`), "count", "WRONG_TYPE", 422},
		"over int64":       {with(`"count":2`, `"count":99999999999999999999`), "count", "OUT_OF_RANGE", 422},
		"too many":         {with(`"count":2`, `"count":99`), "count", "OUT_OF_RANGE", 422},
		"list for text":    {with(`"count":2`, `"ssh_keys":["a",["b"]],"count":2`), "ssh_keys.1", "WRONG_TYPE", 422},
		"NUL":              {with(`"Cache`, `"\u0000Cache`), "reason", "INVALID_TEXT", 422},
		"not UTF-8":        {with(`"Cache`, "\"\xff\xfeCache"), "", "MALFORMED_JSON", 400},
		"half a surrogate": {with(`"Cache`, `"\ud800Cache`), "", "MALFORMED_JSON", 400},
		"deep":             {strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), "", "", 0},
		"deep inside":      {with(`"count":2`, `"count":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)), "", "", 0},
		"a template ID":    {with(s.template, "x"), "template_id", "INVALID_CHOICE", 422},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.dev.do("POST", "/api/v1/requests", "application/json", strings.NewReader(bad.body))
			got.t = t
			v := read[api.Problem](got)
			if bad.status == 0 {
				if got.Status != 400 && got.Status != 422 {
					t.Errorf("%d %s", got.Status, got.Body)
				}
				return
			}
			problem(got, bad.status, bad.code)
			if bad.field != "" && (len(v.Errors) == 0 || v.Errors[0].Field != bad.field || v.Errors[0].Detail == "") {
				t.Errorf("errors: %+v, want %s", v.Errors, bad.field)
			}
		})
	}
	for name, kind := range map[string]string{"no type": "", "a form": "application/x-www-form-urlencoded", "text": "text/plain", "latin": "application/json; charset=iso-8859-1", "broken": "application/json;;"} {
		got := s.dev.do("POST", "/api/v1/requests", kind, bytes.NewReader(good))
		if v := problem(got, 415, "UNSUPPORTED_MEDIA_TYPE"); v.Params["expected"] != "application/json" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	big := s.dev.do("POST", "/api/v1/requests", "application/json", strings.NewReader(with(`"Cache`, `"`+strings.Repeat("x", 1<<20))))
	problem(big, 413, "TOO_LARGE")
	problem(s.dev.do("POST", "/api/v1/me/sessions/end", "application/json", strings.NewReader(`{"force":true}`)), 422, "FORBIDDEN_FIELD")

	for path, want := range map[string][2]string{
		"/systems?limit=0":               {"limit", "OUT_OF_RANGE"},
		"/systems?limit=1000":            {"limit", "OUT_OF_RANGE"},
		"/systems?limit=x":               {"limit", "NOT_A_NUMBER"},
		"/systems?limit=99999999999":     {"limit", "OUT_OF_RANGE"},
		"/systems?limit=1&limit=2":       {"limit", "INVALID_CHOICE"},
		"/systems?after=none":            {"after", "INVALID_CHOICE"},
		"/systems?sort=name":             {"sort", "FORBIDDEN_FIELD"},
		"/vms?health=fine":               {"health", "INVALID_CHOICE"},
		"/vms?q=%00":                     {"q", "INVALID_TEXT"},
		"/vms?q=%ff":                     {"q", "INVALID_TEXT"},
		"/requests?status=OPEN":          {"status", "INVALID_CHOICE"},
		"/requests?all=yes":              {"all", "INVALID_CHOICE"},
		"/requests?after=-1":             {"after", "INVALID_CHOICE"},
		"/audit?from=yesterday":          {"from", "WRONG_TYPE"},
		"/tree?after=x":                  {"after", "INVALID_CHOICE"},
		"/services?system_id=%3Cscript>": {"", "NOT_FOUND"},
	} {
		v := read[api.Problem](c.call(s.admin, "GET", path, nil))
		if v.Code != want[1] || want[0] != "" && (len(v.Errors) != 1 || v.Errors[0].Field != want[0]) {
			t.Errorf("%s: %+v", path, v)
		}
	}
	problem(s.admin.get("/api/v1/vms?q=%zz"), 422, "INVALID_TEXT")
	for _, path := range []string{"/requests/x", "/requests/0", "/requests/-1", "/requests/99999999999", "/vms/x", "/vms/%00", "/systems/%ff"} {
		problem(s.admin.get(api.Prefix+path), 404, "NOT_FOUND")
	}
	if n := s.db.Ent.ApprovalTicket.Query().CountX(t.Context()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
	zh := read[api.Problem](c.call(s.dev, "POST", "/requests", "{}", "Accept-Language", "zh-CN,zh;q=0.9"))
	if !strings.ContainsFunc(zh.Title, func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff }) {
		t.Errorf("Chinese: %+v", zh)
	}
}

// Asking again does not do it again.
func TestAPIIdempotency(t *testing.T) {
	s := newShop(t)
	c := newContract(t, s.portal)
	ask, key := s.ask(s.test), uuid.NewString()

	// Fifty at once: one deed, and one answer for those who get one.
	var wg sync.WaitGroup
	answers := make([]*page, 50)
	for i := range answers {
		wg.Go(func() { answers[i] = c.call(s.dev, "POST", "/requests", ask, "Idempotency-Key", key) })
	}
	wg.Wait()
	bodies := map[string]int{}
	for _, got := range answers {
		switch got.Status {
		case http.StatusCreated:
			bodies[got.Location+got.Body]++
		case http.StatusConflict:
			if problem(got, 409, "IDEMPOTENCY_KEY_IN_USE"); got.Header.Get("Retry-After") != "1" {
				t.Errorf("retry after %q", got.Header.Get("Retry-After"))
			}
		default:
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
	if n := s.db.Ent.ApprovalTicket.Query().CountX(t.Context()); n != 1 || len(bodies) != 1 {
		t.Fatalf("%d requests, %d different answers", n, len(bodies))
	}
	again := c.call(s.dev, "POST", "/requests", ask, "Idempotency-Key", `"`+key+`"`).is(http.StatusCreated)
	if bodies[again.Location+again.Body] == 0 || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %v %s", again.Header, again.Body)
	}
	problem(c.call(s.dev, "POST", "/requests", s.ask(s.test, "count", 3), "Idempotency-Key", key), 422, "IDEMPOTENCY_KEY_REUSED")
	for _, bad := range []string{strings.Repeat("k", 256), "a\tb", `""`} {
		problem(c.call(s.dev, "POST", "/requests", ask, "Idempotency-Key", bad), 400, "IDEMPOTENCY_KEY_INVALID")
	}
	// Somebody else's key is another key.
	c.call(s.admin, "POST", "/sizes", fields{"name": "tiny", "cpu": 1, "memory_mib": 1024, "disk_gib": 10}, "Idempotency-Key", key).is(http.StatusCreated)

	// What was refused was not done: corrected, it can be sent under the same key.
	other := uuid.NewString()
	problem(c.call(s.dev, "POST", "/requests", s.ask(s.prod, "count", 99), "Idempotency-Key", other), 422, "OUT_OF_RANGE")
	c.call(s.dev, "POST", "/requests?dry_run=true", s.ask(s.prod), "Idempotency-Key", other).is(http.StatusNoContent)
	c.call(s.dev, "POST", "/requests", s.ask(s.prod), "Idempotency-Key", other).is(http.StatusCreated)

	// A secret is kept nowhere: done once, and told once.
	invite := fields{"username": "li-wei"}
	link := read[api.Invitation](c.call(s.admin, "POST", "/people", invite, "Idempotency-Key", other).is(http.StatusCreated)).Link
	problem(c.call(s.admin, "POST", "/people", invite, "Idempotency-Key", other), 409, "IDEMPOTENCY_ANSWER_GONE")
	secret := link[strings.LastIndex(link, "/")+1:]
	for _, row := range s.db.Ent.IdempotencyKey.Query().AllX(t.Context()) {
		if strings.Contains(string(row.Answer), secret) {
			t.Error("the link is kept")
		}
	}
	if n := s.db.Ent.AuditLog.Query().Where(auditlog.Action("user.invite")).CountX(t.Context()); n != 1 {
		t.Errorf("invited %d times", n)
	}
}

// Pages follow each other by cursor and by link, and hold every entry once.
func TestAPIPages(t *testing.T) {
	s := newShop(t)
	c := newContract(t, s.portal)
	want := map[string]bool{}
	for i := range 7 {
		want[s.vm(s.test, i+1, domain.StateRunning).Name] = true
	}
	s.vm(s.prod, 8, domain.StateRunning)
	for _, list := range []string{"/vms?limit=3&system_id=" + s.test.system, "/services/" + s.test.service + "/vms?limit=3"} {
		seen, pages := map[string]bool{}, 0
		for path := list; path != ""; pages++ {
			got := c.call(s.dev, "GET", path, nil).is(http.StatusOK)
			p := read[api.Page[api.VMRow]](got)
			for _, m := range p.Items {
				if seen[m.Name] {
					t.Errorf("%s is there twice", m.Name)
				}
				seen[m.Name] = true
			}
			link, _, _ := strings.Cut(strings.TrimPrefix(got.Header.Get("Link"), "<"+api.Prefix), `>; rel="next"`)
			u, err := url.Parse(link)
			if err != nil || u.Query().Get("after") != p.Next {
				t.Errorf("link %q, next %q", link, p.Next)
			}
			path = link
		}
		if !maps.Equal(seen, want) || pages != 3 {
			t.Errorf("%s: %d pages with %v", list, pages, seen)
		}
	}
	if p := read[api.Page[api.VMRow]](c.call(s.outsider, "GET", "/vms", nil)); len(p.Items) != 0 {
		t.Errorf("an outsider sees %+v", p.Items)
	}
	problem(c.call(s.outsider, "GET", "/vms?system_id="+s.test.system, nil), 404, "NOT_FOUND")
}

// The document in the repository is the one that is served.
func TestDocumentIsFresh(t *testing.T) {
	p := newPortal(t)
	kept, err := os.ReadFile("../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	served := p.anonymous().get("/api/v1/openapi.json").is(http.StatusOK)
	if served.Body != string(kept) {
		t.Error("docs/openapi.json is stale: make generate")
	}
	reference, err := os.ReadFile("../docs/api-reference.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(api.New(api.Config{}).Reference()) != string(reference) {
		t.Error("docs/api-reference.md is stale: make generate")
	}
	if yaml := p.anonymous().get("/api/v1/openapi.yaml").is(http.StatusOK); !strings.Contains(yaml.Body, "openapi: 3.1.0") {
		t.Errorf("YAML: %.200s", yaml.Body)
	}
}

// credentialForPeople: whoever holds a token must not lead Shepherd elsewhere.
const credentialForPeople = "the cluster tells what is stored and when it ends; to replace it is a deed of people (TOKEN_NOT_ALLOWED)"

// forPeople: whoever holds a token must not make it live on.
const forPeople = "tokens and the accounts of programs are made by people, not by programs (TOKEN_NOT_ALLOWED)"

// notInAPI are page routes without an operation, and why.
var notInAPI = map[string]string{
	"POST /audit/filters": "what a person keeps for the page", "POST /audit/filters/{filter}/delete": "what a person keeps for the page",
	"POST /csp-reports": "browsers report what the policy stopped",
	"GET /":             "home is made of lists that the API has",
	"GET /events":       "tells open pages that they are stale",
	"GET /login":        "a form", "POST /login": "programs have tokens", "POST /logout": "ends a session of a browser",
	"GET /setup/{token}": "a form", "POST /setup/{token}": "makes a password, for a browser",
	"GET /login/oidc": "a browser signs in", "GET /login/oidc/callback": "a browser signs in", "GET /setup/{token}/oidc": "a browser signs in",
	"GET /account": "what a person sets up at a browser", "GET /account/password": "passwords are a person's", "POST /account/password": "passwords are a person's",
	"POST /account/identities": "ways in are a person's", "POST /account/identities/{identity}/remove": "ways in are a person's",
	"GET /account/sessions": "sessions are of browsers; all of them can be ended", "POST /account/sessions/end-others": "a program is in no session",
	"POST /account/sessions/{session}/end": "sessions are of browsers; all of them can be ended", "POST /people/{person}/sessions/{session}/end": "all of them can be ended",
	"GET /account/confirm": "asks a person", "POST /account/confirm": "asks a person", "GET /account/confirm/oidc": "asks a person",
	"GET /clusters/{cluster}/quarantine/accept":     "a form; the group and its digest are of getQuarantine",
	"GET /people/{person}/tokens":                   forPeople,
	"GET /account/tokens":                           forPeople,
	"GET /account/tokens/new":                       forPeople,
	"POST /account/tokens":                          forPeople,
	"GET /tokens/{access}/revoke":                   forPeople,
	"POST /tokens/{access}/revoke":                  forPeople,
	"GET /service-accounts":                         forPeople,
	"GET /service-accounts/new":                     forPeople,
	"POST /service-accounts":                        forPeople,
	"GET /service-accounts/{account}":               forPeople,
	"GET /service-accounts/{account}/edit":          forPeople,
	"POST /service-accounts/{account}/edit":         forPeople,
	"POST /service-accounts/{account}/roles":        forPeople,
	"POST /service-accounts/{account}/roles/remove": forPeople,
	"POST /service-accounts/{account}/disable":      forPeople,
	"POST /service-accounts/{account}/enable":       forPeople,
	"GET /service-accounts/{account}/tokens/new":    forPeople,
	"POST /service-accounts/{account}/tokens":       forPeople,
	"POST /theme": "how pages look in this browser", "POST /language": "programs send Accept-Language",
	"GET /docs": "text", "GET /docs/{guide}": "text", "GET /docs/images/{name}": "pictures", "GET /docs/api": "the API itself",
	"GET /catalog/templates/new": "a form", "GET /catalog/sizes/new": "a form", "GET /people/new": "a form", "GET /namespaces/new": "a form", "GET /clusters/new": "a form",
	"GET /groups/new": "a form", "GET /groups/{group}/edit": "a form", "GET /groups/{group}/delete": "asks first", "GET /systems/{system}/transfer": "a form",
	"GET /systems/{system}/edit": "a form", "GET /services/{service}/edit": "a form",
	"GET /systems/{system}/delete": "asks first", "GET /services/{service}/delete": "asks first", "GET /vms/{vm}/power": "asks first", "GET /vms/{vm}/delete": "asks first",
	"GET /namespaces/{namespace}/delete": "asks first",
	"GET /clusters/{cluster}/vms":        "listVMs has the parameter cluster_id",
	"GET /clusters/{cluster}/settings":   "a form", "GET /clusters/{cluster}/mode": "asks first", "GET /clusters/{cluster}/remove": "asks first",
	"GET /clusters/{cluster}/credential": credentialForPeople, "POST /clusters/{cluster}/credential": credentialForPeople, "POST /clusters/{cluster}/replacement": credentialForPeople,
	"GET /clusters/{cluster}/credential/{draft}": credentialForPeople, "POST /clusters/{cluster}/credential/{draft}": credentialForPeople, "POST /clusters/{cluster}/credential/{draft}/check": credentialForPeople,
	"POST /approvals/{ticket}/check": "draws the form again; the answer of a decision says the same",
}

// Whatever a page does, a program can do.
func TestPagesHaveOperations(t *testing.T) {
	s := newPortal(t)
	done := map[string]string{}
	for _, o := range api.New(api.Config{}).Operations() {
		for _, page := range o.Pages {
			done[page] = o.ID
		}
	}
	routes := map[string]bool{}
	for _, r := range s.Routes() {
		key := r.Method + " " + r.Pattern
		routes[key] = true
		if (done[key] == "") == (notInAPI[key] == "") {
			t.Errorf("%s: operation %q, reason for none %q: want one of both", key, done[key], notInAPI[key])
		}
	}
	for key := range done {
		if !routes[key] {
			t.Errorf("%s is no page", key)
		}
	}
}

// gateDiffers are operations whose gate is another one than that of their page,
// and why.
var gateDiffers = map[string]string{
	"createCluster": "names its draft in the body",
	"decide":        "the page shows the request also to those who may not decide it",
}

// Who may not open a page may not do the same over the API, and is told the
// same: as the access matrix says, for everybody and every object. No operation
// gets past its gate here: the key of each change is a bad one.
func TestAPIMatrix(t *testing.T) {
	w := newMatrixWorld(t)
	text, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for row := range strings.Lines(string(text)) {
		if key, letters, ok := strings.Cut(strings.TrimSpace(row), ": "); ok && !strings.HasPrefix(key, "#") {
			want[key] = strings.Fields(letters)
		}
	}
	operations := map[string]api.Operation{}
	for _, o := range api.New(api.Config{}).Operations() {
		for _, page := range o.Pages {
			operations[page] = o
		}
	}
	allowed := map[int]string{http.StatusUnauthorized: "L", http.StatusForbidden: "F", http.StatusNotFound: "N"}
	asked := map[string]bool{}
	for _, l := range w.lines() {
		o, ok := operations[l.route.Method+" "+l.route.Pattern]
		if !ok || gateDiffers[o.ID] != "" {
			continue
		}
		letters := want[strings.TrimSuffix(strings.Split(l.String(), ": ")[0], ":")]
		if len(letters) != len(w.people) {
			t.Errorf("%s has no line in %s", l, matrixFile)
			continue
		}
		asked[o.ID] = true
		for i, b := range w.people {
			// The ids stand in the page's path where its pattern has their names.
			path, parts := o.Pattern(), strings.Split(l.path(b), "/")
			for j, part := range strings.Split(l.route.Pattern, "/") {
				if strings.HasPrefix(part, "{") {
					path = strings.Replace(path, part, parts[j], 1)
				}
			}
			r := httptest.NewRequestWithContext(t.Context(), o.Method, path, nil)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			if o.Changes() {
				r.Header.Set("Idempotency-Key", `""`)
			}
			if b.cookie != nil {
				r.AddCookie(b.cookie)
			}
			rec := httptest.NewRecorder()
			w.handler.ServeHTTP(rec, r)
			got, refused := allowed[rec.Code]
			if may := !strings.Contains("LFN", letters[i]); may == refused || refused && got != letters[i] || rec.Code >= 500 {
				t.Errorf("%s | %s as %s: %d, the page says %s", o.ID, l.object.what, b.what, rec.Code, letters[i])
			}
		}
	}
	for _, o := range operations {
		if !asked[o.ID] && gateDiffers[o.ID] == "" {
			t.Errorf("%s was not asked", o.ID)
		}
	}
}

// What the document says can go wrong does: each operation gives each of these
// answers, and all of them are as it says.
func TestAPIStatuses(t *testing.T) {
	s := newShop(t)
	c := newContract(t, s.portal)
	own := s.objects()
	own["{ticket}"] = fmt.Sprint(s.pendingTicket())
	own["{person}"] = s.db.Ent.User.Query().Where(user.Username("viewer")).OnlyIDX(t.Context()).String()
	own["{group}"] = s.db.Ent.Group.Create().SetName("payments").SaveX(t.Context()).ID.String()
	own["{draft}"] = s.db.Ent.ClusterDraft.Create().SetUserID(s.db.Ent.User.Query().Where(user.Username("admin")).OnlyIDX(t.Context())).SetSealed([]byte("x")).SetKeyID("k").
		SetContexts(nil).SetExpiresAt(time.Now().Add(time.Hour)).SaveX(t.Context()).ID.String()
	gone := map[string]string{}
	for name := range own {
		gone[name] = missing
	}
	gone["{ticket}"] = "999999"
	send := func(b *browser, o api.Operation, path, kind, body string, header ...string) {
		got := b.with(header...).do(o.Method, api.Prefix+path, kind, strings.NewReader(body))
		if !o.Streams || got.Status >= 400 {
			c.check(b, o.Method, path, "", got)
		}
	}
	ask, err := json.Marshal(s.ask(s.test))
	if err != nil {
		t.Fatal(err)
	}
	documented := api.New(api.Config{}).Document()
	for _, o := range api.New(api.Config{}).Operations() {
		item := documented.Paths[o.Path]
		var responses map[string]*huma.Response
		for _, v := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
			if v != nil && v.OperationID == o.ID {
				responses = v.Responses
			}
		}
		has := func(status int) bool { return responses[fmt.Sprint(status)] != nil }
		path, boss := filled(o.Path, own), s.admin
		if o.Action == domain.TicketWithdraw {
			boss = s.dev // who asked, and nobody else
		}
		if has(415) {
			send(s.admin, o, path, "text/plain", "{}")
			send(s.admin, o, path, "application/json", `{"x":"`+strings.Repeat("x", 1<<20)+`"}`)
		}
		if has(400) {
			send(boss, o, path, "", "", "Idempotency-Key", `""`)
		}
		send(s.anonymous(), o, path, "", "")
		send(boss, o, path+"?none=1", "", map[bool]string{true: `{}`}[has(415)]) // a body without a type is 415 after the address was read
		if !c.seen[o.ID][422] {
			send(boss, o, path, "application/json", `{"none":1}`)
		}
		if has(404) {
			send(s.outsider, o, path, "", "")
			if !c.seen[o.ID][404] {
				send(s.admin, o, filled(o.Path, gone), "", "")
			}
			if !c.seen[o.ID][404] {
				send(s.admin, o, path+"?system_id="+missing, "", "")
			}
			if o.Action == domain.TicketCreate {
				send(s.outsider, o, path, "application/json", string(ask))
			}
		}
		for _, status := range []int{400, 401, 404, 413, 415, 422} {
			if has(status) != c.seen[o.ID][status] {
				t.Errorf("%s: %d is in the document: %v, and happens: %v (%v)", o.ID, status, has(status), c.seen[o.ID][status], c.seen[o.ID])
			}
		}
	}
}
