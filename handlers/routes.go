package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"kubevirt-shepherd.io/shepherd/handlers/api"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/static"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// route is one line of the URL map: which action it is, to what, and who answers.
type route struct {
	method, pattern string
	action          domain.Action
	load            loader // nil: it is about nothing that has an id
	handle          func(http.ResponseWriter, *http.Request) error
}

const (
	get  = http.MethodGet
	post = http.MethodPost
)

// routes is the whole URL map; package paths has the same as functions.
func (s *Server) routes() []route {
	return []route{
		{get, paths.Home, domain.HomeRead, nil, s.showHome},
		{get, paths.Search, domain.SearchRead, nil, s.showSearch},
		{get, paths.Events, domain.EventsRead, nil, s.events},

		{get, paths.Login, domain.Open, nil, s.showLogin},
		{post, paths.Login, domain.Open, nil, s.login},
		{post, paths.Logout, domain.Open, nil, s.logout},
		{post, paths.LogoutAll, domain.SessionEnd, nil, s.logoutEverywhere},
		{get, paths.LoginOIDC, domain.Open, nil, s.loginOIDC},
		{get, paths.LoginOIDCReply, domain.Open, nil, s.oidcReply},
		{get, "/setup/{token}", domain.Open, nil, s.showSetup},
		{post, "/setup/{token}", domain.Open, nil, s.setup},
		{get, "/setup/{token}/oidc", domain.Open, nil, s.setupOIDC},
		{post, paths.Theme, domain.Open, nil, s.setTheme},
		{post, paths.Language, domain.Open, nil, s.setLanguage},
		{post, paths.Reports, domain.Open, nil, s.takeReports},

		{get, paths.Account, domain.AccountRead, nil, s.showAccount},
		{get, paths.Password, domain.AccountUpdate, nil, s.showPassword},
		{post, paths.Password, domain.AccountUpdate, nil, s.changePassword},
		{post, paths.Identities, domain.AccountUpdate, nil, s.linkIdentity},
		{post, paths.Identities + "/{identity}/remove", domain.AccountUpdate, s.ownIdentity(), s.unlinkIdentity},
		{get, paths.Sessions, domain.AccountRead, nil, s.showSessions},
		{post, paths.EndOthers, domain.SessionEnd, nil, s.endOtherSessions},
		{post, paths.Sessions + "/{session}/end", domain.SessionEnd, s.ownSession(), s.endOwnSession},
		{get, paths.Confirm, domain.AccountRead, nil, s.showConfirm},
		{post, paths.Confirm, domain.AccountRead, nil, s.confirm},
		{get, paths.ConfirmOIDC, domain.AccountRead, nil, s.confirmOIDC},

		{get, paths.Explorer, domain.SystemList, nil, s.showExplorer},
		{get, paths.NewSystem, domain.SystemCreate, nil, s.newSystem},
		{post, paths.Systems, domain.SystemCreate, nil, s.createSystem},
		{get, "/systems/{system}", domain.SystemRead, s.theSystem(), s.showSystem},
		{get, "/systems/{system}/edit", domain.SystemUpdate, s.theSystem(), s.editSystem},
		{post, "/systems/{system}/edit", domain.SystemUpdate, s.theSystem(), s.updateSystem},
		{get, "/systems/{system}/delete", domain.SystemDelete, s.theSystem(), s.askDeleteSystem},
		{post, "/systems/{system}/delete", domain.SystemDelete, s.theSystem(), s.deleteSystem},

		{get, "/systems/{system}/members", domain.SystemRead, s.theSystem(), s.listMembers},
		{post, "/systems/{system}/members", domain.MemberCreate, s.theSystem(), s.addMember},
		{post, "/systems/{system}/members/{person}/remove", domain.MemberDelete, s.theSystem(), s.removeMember},
		{post, "/systems/{system}/members/groups/{group}/remove", domain.MemberDelete, s.theSystem(), s.removeMemberGroup},
		{get, "/systems/{system}/members/{person}/access", domain.MemberExplain, s.theSystem(), s.explainMember},
		{get, "/systems/{system}/transfer", domain.SystemTransfer, s.theSystem(), s.askTransfer},
		{post, "/systems/{system}/transfer", domain.SystemTransfer, s.theSystem(), s.transfer},

		{get, "/systems/{system}/services/new", domain.ServiceCreate, s.theSystem(), s.newService},
		{post, "/systems/{system}/services", domain.ServiceCreate, s.theSystem(), s.createService},
		{get, "/services/{service}", domain.ServiceRead, s.theService(), s.showService},
		{get, "/services/{service}/edit", domain.ServiceUpdate, s.theService(), s.editService},
		{post, "/services/{service}/edit", domain.ServiceUpdate, s.theService(), s.updateService},
		{get, "/services/{service}/delete", domain.ServiceDelete, s.theService(), s.askDeleteService},
		{post, "/services/{service}/delete", domain.ServiceDelete, s.theService(), s.deleteService},

		{get, "/vms/{vm}", domain.VMRead, s.theVM(), s.showVM},
		{get, "/vms/{vm}/power", domain.VMPower, s.theVM(), s.askPower},
		{post, "/vms/{vm}/power", domain.VMPower, s.theVM(), s.power},
		{get, "/vms/{vm}/delete", domain.VMDelete, s.theVM(), s.askDeleteVM},
		{post, "/vms/{vm}/delete", domain.VMDelete, s.theVM(), s.deleteVM},

		{get, paths.Requests, domain.TicketList, nil, s.listRequests},
		{get, paths.NewRequest, domain.TicketCreate, nil, s.newRequest},
		{post, paths.Requests, domain.TicketCreate, nil, s.submitRequest},
		{post, paths.Preview, domain.TicketCreate, nil, s.previewRequest},
		{get, paths.Requests + "/{ticket}", domain.TicketRead, s.theTicket(), s.showRequest},
		{post, paths.Requests + "/{ticket}/withdraw", domain.TicketWithdraw, s.theTicket(), s.withdrawRequest},
		{post, paths.Requests + "/{ticket}/retry", domain.TicketRetry, s.theTicket(), s.retryRequest},
		{post, paths.Requests + "/{ticket}/evidence", domain.TicketExport, s.theTicket(), s.exportEvidence},

		{get, paths.Approvals, domain.TicketQueue, nil, s.listApprovals},
		{get, paths.Approvals + "/{ticket}", domain.TicketReview, s.theTicket(), s.showTicket},
		{post, paths.Approvals + "/{ticket}", domain.TicketReview, s.theTicket(), s.decideTicket},
		{post, paths.Approvals + "/{ticket}/check", domain.TicketReview, s.theTicket(), s.checkTicket},

		{get, paths.Catalog, domain.CatalogRead, nil, s.showCatalog},
		{get, paths.NewTemplate, domain.CatalogCreate, nil, s.newTemplate},
		{post, paths.Templates, domain.CatalogCreate, nil, s.createTemplate},
		{get, paths.NewSize, domain.CatalogCreate, nil, s.newSize},
		{post, paths.Sizes, domain.CatalogCreate, nil, s.createSize},

		{get, paths.People, domain.PersonRead, nil, s.listPeople},
		{get, paths.NewPerson, domain.PersonCreate, nil, s.newPerson},
		{post, paths.People, domain.PersonCreate, nil, s.invitePerson},
		{get, paths.People + "/{person}", domain.PersonRead, s.thePerson(), s.showPerson},
		{post, paths.People + "/{person}", domain.PersonBind, s.thePerson(), s.giveRole},
		{post, paths.People + "/{person}/remove", domain.PersonBind, s.thePerson(), s.removeRole},
		{post, paths.People + "/{person}/sign-out", domain.PersonSessions, s.thePerson(), s.endSessions},
		{get, paths.People + "/{person}/disable", domain.PersonDisable, s.thePerson(), s.askDisable},
		{post, paths.People + "/{person}/sessions/{session}/end", domain.PersonSessions, s.thePerson(), s.endPersonSession},
		{post, paths.People + "/{person}/disable", domain.PersonDisable, s.thePerson(), s.disablePerson},
		{post, paths.People + "/{person}/hand-over", domain.PersonDisable, s.thePerson(), s.handOver},
		{get, paths.People + "/{person}/access", domain.PersonRead, s.thePerson(), s.explainPerson},
		{post, paths.People + "/{person}/enable", domain.PersonDisable, s.thePerson(), s.enablePerson},
		{post, paths.People + "/{person}/link", domain.PersonLink, s.thePerson(), s.newPersonLink},

		{get, paths.Groups, domain.GroupRead, nil, s.listGroups},
		{get, paths.NewGroup, domain.GroupChange, nil, s.newGroup},
		{post, paths.Groups, domain.GroupChange, nil, s.createGroup},
		{get, paths.Groups + "/{group}", domain.GroupRead, s.theGroup(), s.showGroup},
		{get, paths.Groups + "/{group}/edit", domain.GroupChange, s.theGroup(), s.editGroup},
		{post, paths.Groups + "/{group}/edit", domain.GroupChange, s.theGroup(), s.updateGroup},
		{get, paths.Groups + "/{group}/delete", domain.GroupChange, s.theGroup(), s.askDeleteGroup},
		{post, paths.Groups + "/{group}/delete", domain.GroupChange, s.theGroup(), s.deleteGroup},
		{post, paths.Groups + "/{group}/members", domain.GroupChange, s.theGroup(), s.addToGroup},
		{post, paths.Groups + "/{group}/members/{person}/remove", domain.GroupChange, s.theGroup(), s.removeFromGroup},
		{post, paths.Groups + "/{group}/roles", domain.GroupChange, s.theGroup(), s.giveGroupRole},
		{post, paths.Groups + "/{group}/roles/remove", domain.GroupChange, s.theGroup(), s.removeGroupRole},

		{get, paths.People + "/{person}/tokens", domain.TokenOversee, s.thePerson(), s.personTokens},

		{get, paths.Tokens, domain.TokenRead, nil, s.ownTokens},
		{get, paths.NewToken, domain.TokenCreate, nil, s.newToken},
		{post, paths.Tokens, domain.TokenCreate, nil, s.createToken},
		{get, "/tokens/{access}/revoke", domain.TokenRevoke, s.theToken(), s.askRevokeToken},
		{post, "/tokens/{access}/revoke", domain.TokenRevoke, s.theToken(), s.revokeToken},

		{get, paths.ServiceAccounts, domain.ServiceAccountRead, nil, s.listServiceAccounts},
		{get, paths.NewServiceAccount, domain.ServiceAccountCreate, nil, s.newServiceAccount},
		{post, paths.ServiceAccounts, domain.ServiceAccountCreate, nil, s.createServiceAccount},
		{get, paths.ServiceAccounts + "/{account}", domain.ServiceAccountRead, s.theServiceAccount(), s.showServiceAccount},
		{get, paths.ServiceAccounts + "/{account}/edit", domain.ServiceAccountUpdate, s.theServiceAccount(), s.editServiceAccount},
		{post, paths.ServiceAccounts + "/{account}/edit", domain.ServiceAccountUpdate, s.theServiceAccount(), s.updateServiceAccount},
		{post, paths.ServiceAccounts + "/{account}/roles", domain.ServiceAccountUpdate, s.theServiceAccount(), s.giveServiceRole},
		{post, paths.ServiceAccounts + "/{account}/roles/remove", domain.ServiceAccountUpdate, s.theServiceAccount(), s.removeServiceRole},
		{post, paths.ServiceAccounts + "/{account}/disable", domain.ServiceAccountUpdate, s.theServiceAccount(), s.disableServiceAccount},
		{post, paths.ServiceAccounts + "/{account}/enable", domain.ServiceAccountUpdate, s.theServiceAccount(), s.enableServiceAccount},
		{get, paths.ServiceAccounts + "/{account}/tokens/new", domain.ServiceAccountToken, s.theServiceAccount(), s.newServiceToken},
		{post, paths.ServiceAccounts + "/{account}/tokens", domain.ServiceAccountToken, s.theServiceAccount(), s.createServiceToken},

		{get, paths.Docs, domain.DocsRead, nil, s.showDocs},
		{get, paths.Docs + "/{guide}", domain.DocsRead, nil, s.showDocs},
		{get, paths.Docs + "/images/{name}", domain.DocsRead, nil, s.docsImage},

		{get, paths.Trends, domain.TrendsRead, nil, s.showTrends},
		{get, paths.Audit, domain.AuditRead, nil, s.showAudit},
		{get, paths.AuditExport, domain.AuditExport, nil, s.exportAudit},
		{post, paths.AuditFilters, domain.AuditRead, nil, s.saveFilter},
		{post, paths.AuditFilters + "/{filter}/delete", domain.AuditRead, s.theFilter(), s.deleteFilter},
		{get, paths.Notifications, domain.NotificationRead, nil, s.showInbox},
		{post, paths.Notifications, domain.NotificationUpdate, nil, s.readAll},

		{get, paths.Clusters, domain.ClusterList, nil, s.listClusters},
		{get, paths.NewCluster, domain.ClusterCreate, nil, s.newCluster},
		{post, paths.NewCluster, domain.ClusterCreate, nil, s.uploadKubeconfig},
		{get, paths.NewCluster + "/{draft}", domain.ClusterCreate, s.theDraft(), s.clusterDraft},
		{post, paths.NewCluster + "/{draft}/check", domain.ClusterCreate, s.theDraft(), s.checkClusterDraft},
		{post, paths.NewCluster + "/{draft}", domain.ClusterCreate, s.theDraft(), s.addCluster},
		{get, paths.Clusters + "/{cluster}", domain.ClusterRead, s.theCluster(), s.showCluster},
		{post, paths.Clusters + "/{cluster}/check", domain.ClusterCheck, s.theCluster(), s.checkCluster},
		{get, paths.Clusters + "/{cluster}/history", domain.ClusterRead, s.theCluster(), s.showClusterHistory},
		{get, paths.Clusters + "/{cluster}/orders", domain.ClusterRead, s.theCluster(), s.showClusterOrders},
		{get, paths.Clusters + "/{cluster}/vms", domain.ClusterRead, s.theCluster(), s.showClusterVMs},
		{get, paths.Clusters + "/{cluster}/settings", domain.ClusterUpdate, s.theCluster(), s.editClusterSettings},
		{post, paths.Clusters + "/{cluster}/settings", domain.ClusterUpdate, s.theCluster(), s.updateClusterSettings},
		{get, paths.Clusters + "/{cluster}/mode", domain.ClusterUpdate, s.theCluster(), s.askClusterMode},
		{post, paths.Clusters + "/{cluster}/mode", domain.ClusterUpdate, s.theCluster(), s.setClusterMode},
		{get, paths.Clusters + "/{cluster}/remove", domain.ClusterDelete, s.theCluster(), s.askRemoveCluster},
		{post, paths.Clusters + "/{cluster}/remove", domain.ClusterDelete, s.theCluster(), s.removeCluster},
		{get, paths.Clusters + "/{cluster}/quarantine", domain.ClusterRead, s.theCluster(), s.showQuarantine},
		{post, paths.Clusters + "/{cluster}/quarantine/read", domain.ClusterAccept, s.theCluster(), s.readQuarantine},
		{get, paths.Clusters + "/{cluster}/quarantine/accept", domain.ClusterAccept, s.theCluster(), s.askAcceptQuarantine},
		{post, paths.Clusters + "/{cluster}/quarantine/accept", domain.ClusterAccept, s.theCluster(), s.acceptQuarantine},
		{get, paths.Clusters + "/{cluster}/credential", domain.ClusterCredential, s.theCluster(), s.showCredential},
		{post, paths.Clusters + "/{cluster}/credential", domain.ClusterCredential, s.theCluster(), s.uploadCredential},
		{get, paths.Clusters + "/{cluster}/credential/{draft}", domain.ClusterCredential, s.theDraft(), s.credentialDraft},
		{post, paths.Clusters + "/{cluster}/credential/{draft}/check", domain.ClusterCredential, s.theDraft(), s.checkCredential},
		{post, paths.Clusters + "/{cluster}/credential/{draft}", domain.ClusterCredential, s.theDraft(), s.replaceCredential},
		{post, paths.Clusters + "/{cluster}/replacement", domain.ClusterCredential, s.theCluster(), s.answerReplacement},

		{get, paths.Namespaces, domain.NamespaceList, nil, s.listNamespaces},
		{get, paths.NewNamespace, domain.NamespaceCreate, nil, s.newNamespace},
		{post, paths.Namespaces, domain.NamespaceCreate, nil, s.registerNamespace},
		{get, paths.Namespaces + "/{namespace}", domain.NamespaceRead, s.theNamespace(), s.showNamespace},
		{post, paths.Namespaces + "/{namespace}/check", domain.NamespaceCheck, s.theNamespace(), s.checkNamespace},
		{get, paths.Namespaces + "/{namespace}/delete", domain.NamespaceDelete, s.theNamespace(), s.askUnregisterNamespace},
		{post, paths.Namespaces + "/{namespace}/delete", domain.NamespaceDelete, s.theNamespace(), s.unregisterNamespace},
	}
}

// dangerous are the deeds before which people have to show again who they are
// (confirm.go): those that change who may do what, that give secrets or records
// away, and those that cannot be undone. A form with an upload is asked for
// before it is filled in, because an upload cannot be kept meanwhile.
var dangerous = map[string]bool{
	get + " " + paths.NewCluster: true, post + " " + paths.NewCluster: true, post + " " + paths.NewCluster + "/{draft}": true,
	get + " " + paths.Clusters + "/{cluster}/credential": true, post + " " + paths.Clusters + "/{cluster}/credential": true,
	post + " " + paths.Clusters + "/{cluster}/credential/{draft}": true, post + " " + paths.Clusters + "/{cluster}/replacement": true,
	post + " " + paths.People: true, post + " " + paths.People + "/{person}": true, post + " " + paths.People + "/{person}/remove": true,
	post + " " + paths.People + "/{person}/link": true, post + " " + paths.People + "/{person}/disable": true, post + " " + paths.People + "/{person}/enable": true,
	post + " " + paths.People + "/{person}/hand-over": true,
	post + " " + paths.Groups:                         true, post + " " + paths.Groups + "/{group}/edit": true, post + " " + paths.Groups + "/{group}/delete": true,
	post + " " + paths.Groups + "/{group}/members": true, post + " " + paths.Groups + "/{group}/members/{person}/remove": true,
	post + " " + paths.Groups + "/{group}/roles": true, post + " " + paths.Groups + "/{group}/roles/remove": true,
	post + " " + paths.Tokens: true, post + " " + paths.ServiceAccounts + "/{account}/tokens": true,
	post + " " + paths.ServiceAccounts + "/{account}/roles": true, post + " " + paths.ServiceAccounts + "/{account}/roles/remove": true,
	post + " " + paths.ServiceAccounts + "/{account}/edit": true, post + " " + paths.ServiceAccounts + "/{account}/disable": true, post + " " + paths.ServiceAccounts + "/{account}/enable": true,
	post + " /systems/{system}/delete": true, post + " " + paths.Clusters + "/{cluster}/remove": true,
	get + " " + paths.AuditExport: true,
	post + " " + paths.Identities: true, post + " " + paths.Identities + "/{identity}/remove": true,
	post + " " + paths.Clusters + "/{cluster}/quarantine/accept": true,
}

// dryRuns are the forms that the header Dry-Run: All sends only to be checked,
// field by field while they are filled in (domain.WithDryRun). Their use cases
// do nothing outside the transaction.
var dryRuns = map[string]bool{
	paths.Systems: true, "/systems/{system}/services": true, paths.Requests: true, paths.Namespaces: true,
	paths.Templates: true, paths.Sizes: true, paths.People: true, "/systems/{system}/members": true, paths.Groups: true,
	paths.ServiceAccounts: true, paths.Clusters + "/{cluster}/settings": true,
}

// isUpload says whether the request is a form that takes a kubeconfig.
func isUpload(r *http.Request) bool {
	path := r.URL.Path
	return r.Method == post && (path == paths.NewCluster || strings.HasPrefix(path, paths.Clusters+"/") && strings.HasSuffix(path, "/credential"))
}

// Router answers everything on the portal's port.
func (s *Server) Router() http.Handler {
	r := chi.NewRouter()
	r.Use(identify, speak, s.clientIP, s.observe, s.harden, s.rescue)
	r.Get(static.Prefix+"{name}", staticFile)
	r.Head(static.Prefix+"{name}", staticFile)
	r.Get("/healthz", healthz)
	r.Get("/readyz", s.readyz)

	// The stream of events and an export have no time limit and are not compressed.
	// The inner rescue draws its page for who is signed in: it has the session.
	portal := chi.Chain(s.limitAddress, s.sameOrigin, s.bound, s.arrive, s.rescue, s.limitCaller, middleware.Compress(5, "text/html", "application/json"))
	stream := chi.Chain(s.limitAddress, s.sameOrigin, s.arrive, s.rescue, s.limitCaller)
	reports := chi.Chain(s.limitAddress, s.bound, s.limitCaller) // a browser sends them without a session
	for _, rt := range s.routes() {
		chain := portal
		switch rt.pattern {
		case paths.Events, paths.AuditExport:
			chain = stream
		case paths.Reports:
			chain = reports
		}
		h := chain.HandlerFunc(s.adapt(rt))
		r.Method(rt.method, rt.pattern, h)
		if rt.method == get && rt.pattern != paths.Events {
			r.Method(http.MethodHead, rt.pattern, h)
		}
	}
	for _, o := range s.api.Operations() {
		chain := portal
		if o.Streams {
			chain = stream
		}
		h := chain.HandlerFunc(s.serveAPI(o))
		r.Method(o.Method, o.Pattern(), h)
		if o.Method == get {
			r.Method(http.MethodHead, o.Pattern(), h)
		}
	}
	r.Method(get, api.Prefix+"/openapi.json", portal.HandlerFunc(s.document("application/json", sync.OnceValues(s.api.JSON))))
	r.Method(get, api.Prefix+"/openapi.yaml", portal.HandlerFunc(s.document("application/yaml", sync.OnceValues(s.api.YAML))))
	r.NotFound(portal.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, apperr.New(apperr.ErrNotFound))
	}).ServeHTTP)
	r.MethodNotAllowed(portal.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for _, m := range []string{get, http.MethodHead, post, http.MethodPatch, http.MethodDelete} {
			if r.Match(chi.NewRouteContext(), m, req.URL.Path) {
				w.Header().Add("Allow", m)
			}
		}
		s.fail(w, req, apperr.New(apperr.ErrMethod))
	}).ServeHTTP)
	return r
}

// enter is the gate of a route, for pages and programs. That a token was refused
// for what it lacks is on record.
func (s *Server) enter(r *http.Request, rt route) error {
	err := rt.enter(r)
	if code := apperr.CodeOf(err); actor(r).Token != nil && (code == apperr.ErrTokenScope || code == apperr.ErrTokenNotAllowed) {
		err = errors.Join(err, s.Tokens.Refused(r.Context(), actor(r), code, rt.action.Needs()))
	}
	return err
}

// adapt makes an http.HandlerFunc of a route: its error is answered in one place.
func (s *Server) adapt(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := s.enter(r, rt)
		if err == nil && r.Header.Get("Dry-Run") != "" {
			if rt.method != post || !dryRuns[rt.pattern] {
				err = apperr.New(apperr.ErrMethod)
			}
			r = r.WithContext(domain.WithDryRun(r.Context()))
		} else if err == nil && dangerous[rt.method+" "+rt.pattern] && !s.sure(r) {
			err = apperr.New(apperr.ErrConfirm)
		}
		if err == nil {
			if actor(r).UserID != "" && rt.pattern != paths.Events {
				s.used(r)
			}
			err = rt.handle(w, r)
		}
		if err != nil {
			s.refused(r, rt, err)
			s.fail(w, r, err)
		}
	}
}

// refused puts it on record that somebody who is signed in was refused a deed,
// whether the thing is there or not.
func (s *Server) refused(r *http.Request, rt route, err error) {
	e, ok := apperr.From(err)
	deed := rt.method != get || rt.action == domain.AuditExport
	if !ok || !deed || actor(r).UserID == "" || r.Header.Get("Dry-Run") != "" || e.Kind() != apperr.Forbidden && e.Kind() != apperr.NotFound {
		return
	}
	kind, _, _ := strings.Cut(string(rt.action), ".")
	entry := audit.Entry{Action: string(rt.action), ResourceType: kind, Details: map[string]any{"code": e.Code}}
	if c := chi.RouteContext(r.Context()); c != nil && len(c.URLParams.Keys) > 0 {
		entry.ResourceType, entry.ResourceID = cmp.Or(recordedAs[c.URLParams.Keys[0]], c.URLParams.Keys[0]), c.URLParams.Values[0]
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), recordTime)
	defer cancel()
	if err := s.Audit.Denied(ctx, actor(r), entry); err != nil {
		s.Logger.ErrorContext(ctx, "a refusal could not be put on record", "error", err, "request_id", requestID(r))
	}
}

// recordedAs are the parts of paths that the audit log calls by another name.
var recordedAs = map[string]string{"person": "user", "draft": "cluster_draft", "filter": "audit_filter"}

// recordTime is how long writing down a refusal may take.
const recordTime = 5 * time.Second

// param is a part of the path.
func param(r *http.Request, name string) string { return chi.URLParam(r, name) }
