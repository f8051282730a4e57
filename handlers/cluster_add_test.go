package handlers_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// manyContexts is a kubeconfig of n clusters with a context each, and one
// context that Amazon EKS signs in, under a name that wants to be a command.
func manyContexts(n int) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Config\nusers:\n- {name: u, user: {token: " + kubeconfigtest.Token + "}}\n" +
		"- {name: aws, user: {exec: {command: aws, args: [eks, get-token, --cluster-name, x]}}}\nclusters:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: k%d, cluster: {server: 'https://10.0.0.%d:6443'}}\n", i, i+1)
	}
	b.WriteString("contexts:\n- {name: \"it's $(touch x)\", context: {cluster: k0, user: aws}}\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: 'admin@fra-%s-%d', context: {cluster: k%d, user: u}}\n", []string{"prod", "test"}[i%2], i, i)
	}
	return []byte(b.String())
}

// A file with logins of clouds only is answered at once, with commands for each
// context, where the better file is uploaded next.
func TestOnlyCloudLogins(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	data := strings.ReplaceAll(string(manyContexts(2)), "user: u}", "user: aws}")
	got := admin.upload([]byte(data)).is(http.StatusUnprocessableEntity)
	got.wants("Amazon EKS", "https://10.0.0.1:6443", "admin@fra-test-1", "aws eks update-kubeconfig --name NAME --region REGION",
		`kubectl --context 'it'\''s $(touch x)' "$@"`, "kubectl --context 'admin@fra-prod-0'", "kind: ClusterRole", "SERVER='https://10.0.0.2:6443'")
	if !got.has("#kubeconfig") || !got.has("#recipe-2") || got.has("#recipe-3") || strings.Contains(got.Body, "cluster-name") {
		t.Errorf("the page: %s", got.main())
	}
	if n := p.db.Ent.ClusterDraft.Query().CountX(t.Context()); n != 0 {
		t.Errorf("%d drafts", n)
	}
	// One cluster reads with the relay's address in it, another with files.
	relay := strings.Replace(data, "command: aws", "command: tsh", 1)
	admin.upload([]byte(relay)).wants("Teleport", "SERVER='https://ADDRESS-OF-THE-CLUSTER:6443'", "the address of the cluster's own API server")
	files := strings.Replace(data, "exec: {command: aws, args: [eks, get-token, --cluster-name, x]}", "client-certificate: /home/me/c, client-key: /home/me/k", 1)
	admin.upload([]byte(files)).wants("kubectl --context 'admin@fra-prod-0' config view --raw --flatten --minify > shepherd.kubeconfig")
	// A fault of the file has no contexts to tell of.
	if admin.upload([]byte("kind: [")).has("#refused") {
		t.Error("contexts of a broken file")
	}
}

// Every context has its verdict, from what was found through itself.
func TestVerdicts(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	p.play.preflight = func(_ context.Context, c domain.Credential) domain.Preflight {
		found := domain.Preflight{Health: healthy(), Checks: []domain.Check{{ID: "reachable", State: domain.CheckOK}}}
		found.Health.IdentityUID = c.Server
		switch c.Server {
		case "https://10.0.0.1:6443":
			found.Health.IdentityUID = healthy().IdentityUID
		case "https://10.0.0.2:6443":
			found.Checks = append(found.Checks, domain.Check{ID: "permissions", State: domain.CheckFailed, Code: apperr.ErrPermissionsMissing, Params: map[string]any{"count": 1}})
			found.Missing = []domain.ResourceRule{{Resource: "nodes", Verb: "list"}}
		case "https://10.0.0.3:6443":
			found.Checks = append(found.Checks, domain.Check{ID: "storage", State: domain.CheckWarn, Code: apperr.ErrStorageNoDefault})
			found.Optional = []domain.ResourceRule{{Resource: "resourcequotas", Verb: "list"}}
		}
		return found
	}
	first := admin.follow(admin.upload(goodKubeconfig()))
	admin.follow(admin.post(first.attr("main form", "action"), "context", "main", "name", "here", "environment", "test"))

	draft := admin.follow(admin.upload(manyContexts(7))).is(http.StatusOK)
	path := draft.attr("main form", "action")
	draft.wants("This context signs in through Amazon EKS", "Check all 7 contexts", "The token does not say when it ends", `kubectl --context 'it'\''s $(touch x)'`)
	if draft.attr("#name", "value") != "fra-prod-0" || draft.attr("#environment option[selected]", "value") != "prod" {
		t.Errorf("proposed: %s", draft.html("#fields"))
	}
	if !draft.has("#context-0[disabled]") || draft.has("#verdict-0") || !draft.has("#context-1[checked]") || draft.text("#verdict-1") != "" {
		t.Errorf("contexts before: %s", draft.html("#context"))
	}
	answers := []string{"context", "admin@fra-prod-0", "name", "fra-prod-0", "environment", "prod", "place", "", "suggested", "admin@fra-prod-0"}

	// All at once, as far as a minute allows, in which one was looked through
	// already. Without scripts it is the whole page.
	all := admin.post(path+"/check", append(answers, "look", "all")...).is(http.StatusOK)
	all.wants("3 contexts are not checked yet", "Five checks a minute are allowed", "This cluster is already here, as here")
	for i, want := range map[int]string{1: "Already here, as here", 2: "1 to fix", 3: "Ready to add, 1 warning", 4: "Ready to add", 6: ""} {
		if got := all.text(fmt.Sprintf("#verdict-%d", i)); strings.Join(strings.Fields(got), " ") != want {
			t.Errorf("verdict %d: %q, want %q", i, got, want)
		}
	}
	id := p.db.Ent.Cluster.Query().OnlyIDX(t.Context()).String()
	if all.attr("#add", "aria-disabled") != "true" || !all.has("[href=/clusters/"+id+"]") || !all.has("[href=/clusters/"+id+"/credential]") {
		t.Errorf("a known cluster: %s", all.html("#checks"))
	}
	if delay := all.attr("#checks [hx-trigger]", "hx-trigger"); !strings.HasPrefix(delay, "load delay:") || delay < "load delay:50s" {
		t.Errorf("the rest: %q", delay)
	}

	// Another context shows what was found before, costs nothing, and proposes
	// its own answers where nobody has typed.
	answers[1] = "admin@fra-test-1"
	other := admin.part("checks").post(path+"/check", append(answers, "look", "once")...).is(http.StatusOK)
	other.wants("1 passed, 1 to fix", "kind: ClusterRole")
	if other.has("main") || other.attr("#fields", "hx-swap-oob") != "true" || other.attr("#name", "value") != "fra-test-1" || !other.has("#verdict-2[hx-swap-oob=true]") {
		t.Errorf("the part: %s", other.Body)
	}
	admin.post(path+"/check", "context", "admin@fra-prod-2", "look", "once").is(http.StatusOK).wants("missing and not needed", "kind: ClusterRole")
	typed := admin.part("checks").post(path+"/check", "context", "admin@fra-test-3", "name", "mine", "environment", "test", "place", "", "suggested", "admin@fra-test-1", "look", "once")
	if typed.has("#fields") || typed.has("#name") {
		t.Error("what was typed is replaced")
	}
	if typed.is(http.StatusOK); typed.attr("#add", "aria-disabled") == "true" {
		t.Error("a good one cannot be added")
	}
	// The name that is taken is told before anything is sent.
	admin.post(path+"/check", "context", "admin@fra-test-3", "name", "here", "environment", "test", "look", "once").
		wants("Another cluster is called here")

	// The sixth in a minute: what was typed stays, and a part shows it in its place.
	busy := admin.post(path+"/check", "context", "admin@fra-prod-4", "name", "mine", "environment", "test").is(http.StatusTooManyRequests).wants("too often", "Wait")
	if busy.attr("#name", "value") != "mine" {
		t.Error("what was typed is lost")
	}
	if part := admin.part("checks").post(path+"/check", "context", "admin@fra-prod-4"); part.Header.Get("HX-Retarget") != "#checks" || !part.has("#checks") {
		t.Errorf("the part: %s", part.Body)
	}
	if n := strings.Count(busy.Body, kubeconfigtest.Token); n > 0 {
		t.Error("the token is on the page")
	}

	// After it is added, the way leads on to its namespaces.
	added := admin.follow(admin.post(path, "context", "admin@fra-test-3", "name", "mine", "environment", "test"))
	added.wants("mine is added", "Register namespace")
	next := added.attr("[data-flash] a[href]", "href")
	if !strings.HasPrefix(next, "/namespaces/new?cluster=") {
		t.Fatalf("it leads to %q", next)
	}
	if form := admin.get(next); form.attr("#cluster option[selected]", "value") == "" {
		t.Errorf("the cluster is not chosen: %s", form.html("form"))
	}
}
