package handlers_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/handlers/api"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

const freshToken = "fresh-0c41b7"

func (b *browser) uploadTo(path string, token string) *page {
	b.t.Helper()
	contentType, body := upload(b.t, "east.kubeconfig", kubeconfigtest.Config("server: https://10.0.0.1:6443", "token: "+token))
	return b.do(http.MethodPost, path, contentType, body)
}

// withCluster is a portal with a cluster "east" of identity uid-1, and its address.
func withCluster(t *testing.T) (p *portal, admin *browser, cluster string) {
	p = newPortal(t)
	p.Clusters.Admins = p.accounts.Admins
	admin = p.admin()
	draft := admin.follow(admin.upload(goodKubeconfig()))
	admin.post(draft.attr("main form", "action"), "context", draft.attr("[name=context]", "value"), "name", "east", "environment", "prod").is(http.StatusSeeOther)
	return p, admin, "/clusters/" + p.db.Ent.Cluster.Query().OnlyX(t.Context()).ID.String()
}

// leads makes every credential lead to a cluster of that identity.
func (p *portal) leads(uid string, excess ...string) {
	p.play.preflight = func(context.Context, domain.Credential) domain.Preflight {
		h := healthy()
		h.IdentityUID = uid
		return domain.Preflight{Health: h, Checks: []domain.Check{{ID: "reachable", State: domain.CheckOK}}, Excess: excess}
	}
}

// A credential is replaced on its page: what is stored, what the new one leads
// to, and no secret anywhere.
func TestReplaceCredentialPages(t *testing.T) {
	p, admin, cluster := withCluster(t)
	at := cluster + "/credential"
	soon := time.Now().Add(5 * 24 * time.Hour).UTC()
	p.db.Ent.Cluster.Update().SetCredentialExpiresAt(soon).ExecX(t.Context())
	admin.get("/clusters").wants("The credential of east ends in 5 days, on "+soon.Format(time.DateOnly), "Replace it before")
	shown := admin.get(at).is(http.StatusOK).wants("What is stored", "bearer token", "https://10.0.0.1:6443", "uid-1", "0 times", "ends in 5 days")

	admin.uploadTo(at, "exec").is(http.StatusSeeOther)
	contentType, body := upload(t, "x", []byte("nonsense"))
	bad := admin.do(http.MethodPost, at, contentType, body).is(http.StatusUnprocessableEntity)
	if !bad.has("#kubeconfig-error") || !strings.Contains(bad.Body, "What is stored") {
		t.Errorf("a refused upload: %s", bad.main())
	}

	step := admin.follow(admin.uploadTo(at, freshToken)).is(http.StatusOK).wants("east.kubeconfig", "Not run yet", "Comparison")
	form, chosen := step.attr("main form", "action"), step.attr("[name=context]", "value")
	if !strings.HasPrefix(form, at+"/") || step.has("#do") {
		t.Errorf("action %q; the deed is offered before the check: %v", form, step.has("#do"))
	}
	p.play.preflight = func(context.Context, domain.Credential) domain.Preflight {
		return domain.Preflight{Checks: []domain.Check{{ID: "credentials", State: domain.CheckFailed, Code: apperr.ErrClusterUnauthorized}}}
	}
	failed := admin.part("checks").post(form+"/check", "context", chosen).is(http.StatusOK).wants("does not accept", "can be replaced when all checks pass")
	if failed.has("#do") || failed.has("main") {
		t.Errorf("%s", failed.Body)
	}
	admin.post(form, "context", chosen, "do", "replace").is(http.StatusUnprocessableEntity).wants("does not accept")
	p.leads("uid-1", "secrets")
	checked := admin.post(form+"/check", "context", chosen).is(http.StatusOK).wants("It is the same cluster", "read every Secret", "all that Shepherd needs, and more")
	if checked.attr("#do", "value") != "replace" {
		t.Errorf("%s", checked.html("main"))
	}
	admin.post(form, "context", chosen).is(http.StatusOK) // Enter replaces nothing
	admin.follow(admin.post(form, "context", chosen, "do", "replace")).is(http.StatusOK).wants("The credential is replaced", "1 time")
	admin.get(form).is(http.StatusNotFound)
	for _, page := range []*page{shown, step, failed, checked, admin.get(at), admin.get("/clusters"), admin.get(cluster), admin.get("/audit?open=1")} {
		if strings.Contains(page.Body, freshToken) || strings.Contains(page.Body, kubeconfigtest.Token) {
			t.Errorf("%s shows a token", page.what)
		}
	}
	if text := admin.get("/clusters").Body; strings.Contains(text, "ends in 5 days") {
		t.Error("the warning stays")
	}
}

// A cluster that was rebuilt needs two admins.
func TestRebuiltPages(t *testing.T) {
	p, admin, cluster := withCluster(t)
	at := cluster + "/credential"
	p.leads("uid-2")
	step := admin.follow(admin.uploadTo(at, freshToken))
	form, chosen := step.attr("main form", "action"), step.attr("[name=context]", "value")
	admin.post(form+"/check", "context", chosen).is(http.StatusOK).wants("leads to another cluster", "You are the only platform admin", "uid-2")
	admin.post(form, "context", chosen, "do", "replace").is(http.StatusConflict).wants("belongs to another cluster")

	olga := p.as(p.person("olga", domain.Binding{Role: domain.RoleAdmin}))
	empty := admin.post(form, "context", chosen, "do", "propose", "reason", " ").is(http.StatusUnprocessableEntity)
	if !empty.has("#reason-error") || strings.Contains(empty.Body, "only platform admin") {
		t.Errorf("%s", empty.main())
	}
	admin.follow(admin.post(form, "context", chosen, "do", "propose", "reason", "It <b>burned</b>.")).wants("The other platform admins are told", "waits for a second admin", "Withdraw it")
	mine := admin.get(at)
	waiting := mine.attr("[name=replacement]", "value")
	if mine.has("[value=confirm]") || mine.has("[name=kubeconfig]") {
		t.Error("who asked can confirm, or upload another one")
	}
	refused := admin.post(cluster+"/replacement", "replacement", waiting, "do", "confirm")
	refused.is(http.StatusForbidden)

	olga.get("/notifications").wants("admin says that the cluster east was rebuilt", "It <b>burned</b>.")
	theirs := olga.get(at).is(http.StatusOK).wants("admin says that this cluster was rebuilt", "uid-1", "uid-2", "It <b>burned</b>.")
	if !theirs.has("[value=confirm]") || !theirs.has("[value=reject]") || theirs.has("[value=withdraw]") || theirs.has("main b") || strings.Contains(theirs.Body, freshToken) {
		t.Errorf("%s", theirs.html("main"))
	}
	p.leads("uid-3")
	olga.post(cluster+"/replacement", "replacement", waiting, "do", "confirm").is(http.StatusConflict).wants("belongs to another cluster")
	olga.post(cluster+"/replacement", "replacement", "nonsense", "do", "confirm").is(http.StatusConflict).wants("does not wait any more")
	p.leads("uid-2")
	olga.follow(olga.post(cluster+"/replacement", "replacement", waiting, "do", "confirm")).is(http.StatusOK).wants("is in quarantine")
	row := p.db.Ent.Cluster.Query().OnlyX(t.Context())
	if row.IdentityUID != "uid-2" || row.QuarantinedAt == nil || row.CredentialGeneration != 2 {
		t.Errorf("%+v", row)
	}
	admin.get("/notifications").wants("olga confirmed that the cluster east was rebuilt")
	admin.post(cluster+"/replacement", "replacement", waiting, "do", "withdraw").is(http.StatusConflict)
}

// These deeds ask again who it is.
func TestCredentialAsksAgain(t *testing.T) {
	p, _, cluster := withCluster(t)
	b := p.session(p.person("late", domain.Binding{Role: domain.RoleAdmin}), nil)
	for _, path := range []string{cluster + "/credential"} {
		if got := b.get(path); got.Status != http.StatusSeeOther || !strings.HasPrefix(got.Location, "/account/confirm") {
			t.Errorf("GET %s: %d %s", path, got.Status, got.Location)
		}
	}
	for _, path := range []string{cluster + "/credential", cluster + "/replacement"} {
		if got := b.post(path, "do", "confirm"); got.Status != http.StatusSeeOther || !strings.HasPrefix(got.Location, "/account/confirm") {
			t.Errorf("POST %s: %d %s", path, got.Status, got.Location)
		}
	}
}

// While credentials are locked every page of an admin says so and what to do,
// and nobody else's.
func TestLockoutBanner(t *testing.T) {
	p := newPortal(t, func(c *handlers.Config) { c.Lockout = &domain.Lockout{Missing: []string{"k-old"}} })
	admin, dev := p.admin(), p.as(p.person("dev"))
	for _, path := range []string{"/", "/clusters", "/people", "/nowhere"} {
		admin.get(path).wants("Credentials are locked", "The key file lacks k-old", "Put the right key file back")
	}
	if dev.get("/").has("[data-lockout]") {
		t.Error("dev is told")
	}
	if got := p.anonymous().get("/readyz"); got.Status != http.StatusOK || !strings.Contains(got.Body, "credentials are locked") {
		t.Errorf("readyz: %d %s", got.Status, got.Body)
	}
}

// Nothing can be downloaded: no page and no answer of the API has the credential
// of a cluster in it, in any form, nor one that waits, nor one that was only
// uploaded, for an admin who asks for everything that there is.
func TestNoCredentialComesBack(t *testing.T) {
	s := newShop(t)
	planted := map[string]string{"stored": "cnrystored4f1a77", "waiting": "cnrywaiting90b2", "draft": "cnrydraft5d21c8"}
	s.leads("uid-1")
	draft := s.admin.follow(s.admin.upload(kubeconfigtest.Config("server: https://10.0.0.1:6443", "token: "+planted["stored"])))
	s.admin.post(draft.attr("main form", "action"), "context", draft.attr("[name=context]", "value"), "name", "east", "environment", "prod").is(http.StatusSeeOther)
	east := s.db.Ent.Cluster.Query().Where(entcluster.Name("east")).OnlyX(t.Context()).ID.String()
	s.leads("uid-2")
	step := s.admin.follow(s.admin.uploadTo("/clusters/"+east+"/credential", planted["waiting"]))
	s.admin.post(step.attr("main form", "action"), "context", step.attr("[name=context]", "value"), "do", "propose", "reason", "It burned.").is(http.StatusSeeOther)
	step = s.admin.follow(s.admin.uploadTo("/clusters/"+east+"/credential", planted["draft"]))
	ids := s.objects()
	ids["{cluster}"], ids["{draft}"] = east, path.Base(step.attr("main form", "action"))

	program := s.holding("admin", domain.Scopes()...)
	asked := 0
	look := func(b *browser, method, at string, fields ...string) {
		t.Helper()
		got := b.do(method, at, "", nil)
		if method == http.MethodPost {
			got = b.post(at, fields...)
		}
		if got.Status >= http.StatusInternalServerError {
			t.Errorf("%s: %d", got.what, got.Status)
		}
		asked++
		for name, secret := range planted {
			for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))[:16], hex.EncodeToString([]byte(secret))} {
				if strings.Contains(got.Body, form) || strings.Contains(got.Header.Get("Location"), form) {
					t.Errorf("%s has the %s credential in it", got.what, name)
				}
			}
		}
	}
	for _, route := range s.Routes() {
		if route.Method == http.MethodGet && route.Pattern != "/events" {
			look(s.admin, route.Method, filled(route.Pattern, ids))
		}
	}
	for _, o := range api.New(api.Config{}).Operations() {
		if o.Method == http.MethodGet && !o.Streams {
			look(program, o.Method, filled(o.Pattern(), ids))
		}
	}
	chosen := step.attr("[name=context]", "value")
	at := step.attr("main form", "action")
	look(s.admin, http.MethodPost, at+"/check", "context", chosen)
	look(s.admin, http.MethodPost, at, "context", chosen, "do", "replace") // refused
	look(s.admin, http.MethodPost, at, "context", "none", "do", "propose", "reason", "x")
	look(s.admin, http.MethodPost, "/clusters/"+east+"/replacement", "replacement", "none", "do", "confirm")
	if asked < 90 {
		t.Errorf("only %d were asked", asked)
	}
	for _, page := range []string{"/clusters/" + east + "/credential", at} {
		s.admin.get(page).is(http.StatusOK).wants("Fingerprint") // they were there
	}
}
