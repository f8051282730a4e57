package handlers_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

func goodKubeconfig() []byte {
	return kubeconfigtest.Config("server: https://10.0.0.1:6443", "token: "+kubeconfigtest.Token)
}

func (b *browser) upload(file []byte, fields ...string) *page {
	b.t.Helper()
	name := "east.kubeconfig"
	if file == nil {
		name = "" // as browsers send a file field that was left empty
	}
	contentType, body := upload(b.t, name, file, fields...)
	return b.do(http.MethodPost, "/clusters/new", contentType, body)
}

// From an upload to a cluster with a namespace, step by step.
func TestAddCluster(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	admin.get("/clusters").wants("Add the first cluster")
	admin.get("/clusters/new").wants("What will be checked", "Reachable", "kubectl", "kind: ClusterRole")

	draft := admin.follow(admin.upload(goodKubeconfig())).is(http.StatusOK).wants("east.kubeconfig", "Not run yet")
	at := draft.attr("form[method=post] [name=context]", "value")
	path := draft.attr("main form", "action")
	if at == "" || !strings.HasPrefix(path, "/clusters/new/") {
		t.Fatalf("context %q, action %q", at, path)
	}
	if strings.Contains(draft.Body, kubeconfigtest.Token) {
		t.Fatal("the token is on the page")
	}

	checked := admin.part("checks").post(path+"/check", "context", at, "name", "East!", "environment", "", "place", "here").is(http.StatusOK)
	if checked.has("main") || checked.text("#checks [role=status]") == "" {
		t.Errorf("the checks alone: %s", checked.Body)
	}
	bad := admin.post(path, "context", at, "name", "East!", "environment", "", "place", "Frankfurt").is(http.StatusUnprocessableEntity)
	if bad.attr("#name", "value") != "East!" || bad.attr("#place", "value") != "Frankfurt" || bad.attr("#name", "aria-invalid") != "true" || !bad.has("#environment-error") {
		t.Errorf("what was typed is lost, or not marked: %s", bad.html("form"))
	}
	admin.post(path, "context", at, "name", "east", "environment", "test", "enabled", "1").is(http.StatusUnprocessableEntity).wants("enabled cannot be set here")

	added := admin.follow(admin.post(path, "context", at, "name", "east", "environment", "test", "place", "")).is(http.StatusOK)
	added.wants("east is added", "Healthy", "1 cluster", "2 of 2 nodes ready")
	admin.get(path).is(http.StatusNotFound).wants("The upload is not kept any longer")
	id := strings.TrimPrefix(added.attr("#clusters-list .rowlink", "href"), "/clusters/")
	admin.get("/clusters/"+id).is(http.StatusOK).wants("v1.34.1", "fast (default)", "Passed")

	again := admin.follow(admin.upload(goodKubeconfig()))
	admin.post(again.attr("main form", "action"), "context", at, "name", "west", "environment", "prod").
		is(http.StatusConflict).wants("already here")
	admin.follow(admin.post("/clusters/" + id + "/check")).wants("east was checked")

	form := admin.get("/namespaces/new").wants("east · test")
	admin.post("/namespaces", "cluster", id, "name", "shop", "environment", "prod").is(http.StatusUnprocessableEntity)
	if form.attr("#name", "value") != "" {
		t.Error("a new form has a name")
	}
	admin.follow(admin.post("/namespaces", "cluster", id, "name", "shop-test", "environment", "test")).wants("shop-test is registered", "shop-test", "east")
	del := admin.get("/namespaces").attr(".btn-ghost.btn-sm", "href")
	admin.get(del).wants("Unregister shop-test?")
	p.db.Ent.System.Create().SetName("shop").SetNamespace("shop-test").SetEnvironment("test").SetCreatedBy("dev").SaveX(t.Context())
	admin.post(del).is(http.StatusConflict).wants("It is in use")
	p.db.Ent.System.Delete().ExecX(t.Context())
	admin.follow(admin.post(del)).wants("no longer registered")
}

// Pasting works like a file; a refused one never comes back to the page.
func TestUploadRefused(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	admin.follow(admin.upload(nil, "text", string(goodKubeconfig()))).wants("pasted text")
	for name, c := range map[string]struct {
		file   []byte
		fields []string
		status int
		says   string
	}{
		"empty":         {nil, nil, http.StatusUnprocessableEntity, "empty"},
		"one too many":  {bytes.Repeat([]byte("#"), 64<<10+1), nil, http.StatusRequestEntityTooLarge, "larger than 64 KiB"},
		"far too many":  {bytes.Repeat([]byte("#"), 1<<20), nil, http.StatusRequestEntityTooLarge, "larger than 64 KiB"},
		"unknown field": {goodKubeconfig(), []string{"server", "x"}, http.StatusUnprocessableEntity, "server"},
		"exec": {kubeconfigtest.Config("server: https://10.0.0.1:6443", "exec: {command: sh, args: ['-c', 'hunter2'], apiVersion: client.authentication.k8s.io/v1}"),
			nil, http.StatusUnprocessableEntity, "running a program"},
	} {
		got := admin.upload(c.file, c.fields...)
		if got.Status != c.status {
			t.Errorf("%s: got %d: %s", name, got.Status, got.main())
			continue
		}
		got.wants(c.says)
		if !got.has("#kubeconfig-error") || strings.Contains(got.Body, "hunter2") || strings.Contains(got.Body, kubeconfigtest.Token) {
			t.Errorf("%s: %s", name, got.main())
		}
	}
	if n := p.db.Ent.Cluster.Query().CountX(t.Context()); n != 0 {
		t.Errorf("%d clusters are stored", n)
	}
}

// An endless body is read to the limit and no further.
func TestUploadWithoutEnd(t *testing.T) {
	p := newPortal(t)
	head := "--x\r\nContent-Disposition: form-data; name=\"kubeconfig\"; filename=\"a\"\r\n\r\n"
	endless := &counted{r: io.MultiReader(strings.NewReader(head), io.LimitReader(zeros{}, 1<<30))}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/clusters/new", endless)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if res, err := p.admin().client.Do(req); err == nil { // it may also lose the connection while it writes
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("got %d", res.StatusCode)
		}
	}
	if endless.n > 16<<20 {
		t.Errorf("%d bytes were taken", endless.n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type counted struct {
	r io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// A cluster that does not pass is an answer on the form, with the way out.
func TestPreflightFails(t *testing.T) {
	p := newPortal(t)
	admin := p.admin()
	p.play.preflight = func(context.Context, domain.Credential) domain.Preflight {
		return domain.Preflight{
			Checks: []domain.Check{
				{ID: "reachable", State: domain.CheckOK}, {ID: "permissions", State: domain.CheckFailed, Code: apperr.ErrPermissionsMissing, Params: map[string]any{"count": 1}},
			},
			Missing: []domain.ResourceRule{{Resource: "nodes", Verb: "list"}}, Excess: []string{"secrets"},
		}
	}
	draft := admin.follow(admin.upload(goodKubeconfig()))
	path, at := draft.attr("main form", "action"), draft.attr("[name=context]", "value")
	checked := admin.post(path+"/check", "context", at, "name", "east", "environment", "test").is(http.StatusOK)
	checked.wants("1 passed, 1 to fix", "kind: ClusterRole", "read every Secret")
	if checked.attr("#add", "aria-disabled") != "true" || checked.attr("#name", "value") != "east" {
		t.Errorf("the form: %s", checked.html("form"))
	}
	admin.post(path, "context", at, "name", "east", "environment", "test").is(http.StatusUnprocessableEntity)
	for range 5 {
		checked = admin.post(path+"/check", "context", at)
	}
	checked.is(http.StatusTooManyRequests).wants("too often")
}

// Auditors and approvers see clusters and cannot change them; for developers
// there are none.
func TestClusterRights(t *testing.T) {
	p := newPortal(t)
	auditor := p.as(p.person("auditor", domain.Binding{Role: domain.RoleAuditor}))
	approver := p.as(p.person("approver", domain.Binding{Role: domain.RoleApprover, Environment: domain.Test}))
	dev := p.as(p.person("dev"))
	for _, b := range []*browser{auditor, approver} {
		if b.get("/clusters").is(http.StatusOK).has("[href=/clusters/new]") {
			t.Error("who cannot add a cluster gets the link")
		}
		b.get("/clusters/new").is(http.StatusForbidden)
		b.get("/namespaces/new").is(http.StatusForbidden)
		b.upload(goodKubeconfig()).is(http.StatusForbidden)
		b.post("/namespaces", "name", "x").is(http.StatusForbidden)
	}
	dev.upload(goodKubeconfig()).is(http.StatusNotFound)
	dev.get("/namespaces").is(http.StatusNotFound)
}
