package handlers

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/static"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// permission names what a route does. The gate of a permission is the coarse
// rule; what depends on the object is decided by the use case, which answers
// NOT_FOUND for an object that the actor may not know of.
type permission string

// gates says who may come as far as the use case, by permission. Everybody who
// is signed in may where the gate is nil.
var gates = map[permission]func(domain.Actor) bool{
	"open": nil, // also without being signed in

	"home.read": nil, "search.read": nil, "events.read": nil, "catalog.read": nil, "docs.read": nil,
	"notification.read": nil, "notification.update": nil,
	"session.end": nil, "member.create": nil, "member.delete": nil,
	"system.read": nil, "system.create": domain.Actor.CreatesSystems, "system.update": nil, "system.delete": nil,
	"service.read": nil, "service.create": nil, "service.update": nil, "service.delete": nil,
	"vm.read": nil, "vm.power": nil, "vm.delete": nil,
	"ticket.read": nil, "ticket.create": nil, "ticket.withdraw": nil, "ticket.retry": nil, "ticket.export": nil,
	"ticket.decide": domain.Actor.Approves,
	"cluster.read":  seesClusters, "cluster.create": seesClusters, "cluster.check": seesClusters,
	"namespace.read": seesClusters, "namespace.create": seesClusters, "namespace.delete": seesClusters,
	"catalog.create": domain.Actor.IsAdmin,
	"person.read":    domain.Actor.IsAdmin, "person.create": domain.Actor.IsAdmin, "person.link": domain.Actor.IsAdmin,
	"person.bind": domain.Actor.IsAdmin, "person.disable": domain.Actor.IsAdmin,
	"trends.read": nil, "audit.read": domain.Actor.CanAudit, "audit.export": domain.Actor.CanAudit,
}

// hidden permissions answer NOT_FOUND where the gate is closed: for these
// people the things do not exist (package cluster).
func (p permission) hidden() bool {
	return strings.HasPrefix(string(p), "cluster.") || strings.HasPrefix(string(p), "namespace.")
}

func seesClusters(a domain.Actor) bool { return a.CanAudit() || a.Approves() }

// enter says whether the actor may come as far as the use case.
func (p permission) enter(a domain.Actor) error {
	gate, known := gates[p]
	switch {
	case p == "open":
		return nil
	case a.UserID == "":
		return apperr.New(apperr.ErrSignedOut)
	case !known: // a route without a rule is closed
		return apperr.New(apperr.ErrForbidden)
	case gate == nil || gate(a):
		return nil
	case p.hidden():
		return apperr.New(apperr.ErrNotFound)
	}
	return apperr.New(apperr.ErrForbidden)
}

// route is one line of the URL map.
type route struct {
	method, pattern string
	permission      permission
	handle          func(http.ResponseWriter, *http.Request) error
}

const (
	get  = http.MethodGet
	post = http.MethodPost
)

// routes is the whole URL map; package paths has the same as functions.
func (s *Server) routes() []route {
	return []route{
		{get, paths.Home, "home.read", s.showHome},
		{get, paths.Search, "search.read", s.showSearch},
		{get, paths.Events, "events.read", s.events},

		{get, paths.Login, "open", s.showLogin},
		{post, paths.Login, "open", s.login},
		{post, paths.Logout, "open", s.logout},
		{post, paths.LogoutAll, "session.end", s.logoutEverywhere},
		{get, "/setup/{token}", "open", s.showSetup},
		{post, "/setup/{token}", "open", s.setup},
		{post, paths.Theme, "open", s.setTheme},
		{post, paths.Language, "open", s.setLanguage},

		{get, paths.Explorer, "system.read", s.showExplorer},
		{get, paths.NewSystem, "system.create", s.newSystem},
		{post, paths.Systems, "system.create", s.createSystem},
		{get, "/systems/{system}", "system.read", s.showSystem},
		{get, "/systems/{system}/edit", "system.update", s.editSystem},
		{post, "/systems/{system}/edit", "system.update", s.updateSystem},
		{get, "/systems/{system}/delete", "system.delete", s.askDeleteSystem},
		{post, "/systems/{system}/delete", "system.delete", s.deleteSystem},

		{get, "/systems/{system}/members", "system.read", s.listMembers},
		{post, "/systems/{system}/members", "member.create", s.addMember},
		{post, "/systems/{system}/members/{person}/remove", "member.delete", s.removeMember},

		{get, "/systems/{system}/services/new", "service.create", s.newService},
		{post, "/systems/{system}/services", "service.create", s.createService},
		{get, "/services/{service}", "service.read", s.showService},
		{get, "/services/{service}/edit", "service.update", s.editService},
		{post, "/services/{service}/edit", "service.update", s.updateService},
		{get, "/services/{service}/delete", "service.delete", s.askDeleteService},
		{post, "/services/{service}/delete", "service.delete", s.deleteService},

		{get, "/vms/{vm}", "vm.read", s.showVM},
		{get, "/vms/{vm}/power", "vm.power", s.askPower},
		{post, "/vms/{vm}/power", "vm.power", s.power},
		{get, "/vms/{vm}/delete", "vm.delete", s.askDeleteVM},
		{post, "/vms/{vm}/delete", "vm.delete", s.deleteVM},

		{get, paths.Requests, "ticket.read", s.listRequests},
		{get, paths.NewRequest, "ticket.create", s.newRequest},
		{post, paths.Requests, "ticket.create", s.submitRequest},
		{post, paths.Preview, "ticket.create", s.previewRequest},
		{get, paths.Requests + "/{ticket}", "ticket.read", s.showRequest},
		{post, paths.Requests + "/{ticket}/withdraw", "ticket.withdraw", s.withdrawRequest},
		{post, paths.Requests + "/{ticket}/retry", "ticket.retry", s.retryRequest},
		{post, paths.Requests + "/{ticket}/evidence", "ticket.export", s.exportEvidence},

		{get, paths.Approvals, "ticket.decide", s.listApprovals},
		{get, paths.Approvals + "/{ticket}", "ticket.decide", s.showTicket},
		{post, paths.Approvals + "/{ticket}", "ticket.decide", s.decideTicket},
		{post, paths.Approvals + "/{ticket}/check", "ticket.decide", s.checkTicket},

		{get, paths.Catalog, "catalog.read", s.showCatalog},
		{get, paths.NewTemplate, "catalog.create", s.newTemplate},
		{post, paths.Templates, "catalog.create", s.createTemplate},
		{get, paths.NewSize, "catalog.create", s.newSize},
		{post, paths.Sizes, "catalog.create", s.createSize},

		{get, paths.People, "person.read", s.listPeople},
		{get, paths.NewPerson, "person.create", s.newPerson},
		{post, paths.People, "person.create", s.invitePerson},
		{get, paths.People + "/{person}", "person.read", s.showPerson},
		{post, paths.People + "/{person}", "person.bind", s.giveRole},
		{post, paths.People + "/{person}/remove", "person.bind", s.removeRole},
		{post, paths.People + "/{person}/sign-out", "person.disable", s.endSessions},
		{post, paths.People + "/{person}/disable", "person.disable", s.disablePerson},
		{post, paths.People + "/{person}/enable", "person.disable", s.enablePerson},
		{post, paths.People + "/{person}/link", "person.link", s.newPersonLink},

		{get, paths.Docs, "docs.read", s.showDocs},
		{get, paths.Docs + "/{guide}", "docs.read", s.showDocs},
		{get, paths.Docs + "/images/{name}", "docs.read", s.docsImage},

		{get, paths.Trends, "trends.read", s.showTrends},
		{get, paths.Audit, "audit.read", s.showAudit},
		{get, paths.AuditExport, "audit.export", s.exportAudit},
		{post, paths.AuditFilters, "audit.read", s.saveFilter},
		{post, paths.AuditFilters + "/{filter}/delete", "audit.read", s.deleteFilter},
		{get, paths.Notifications, "notification.read", s.showInbox},
		{post, paths.Notifications, "notification.update", s.readAll},

		{get, paths.Clusters, "cluster.read", s.listClusters},
		{get, paths.NewCluster, "cluster.create", s.newCluster},
		{post, paths.NewCluster, "cluster.create", s.uploadKubeconfig},
		{get, paths.NewCluster + "/{draft}", "cluster.create", s.clusterDraft},
		{post, paths.NewCluster + "/{draft}/check", "cluster.create", s.checkClusterDraft},
		{post, paths.NewCluster + "/{draft}", "cluster.create", s.addCluster},
		{get, paths.Clusters + "/{cluster}", "cluster.read", s.showCluster},
		{post, paths.Clusters + "/{cluster}/check", "cluster.check", s.checkCluster},

		{get, paths.Namespaces, "namespace.read", s.listNamespaces},
		{get, paths.NewNamespace, "namespace.create", s.newNamespace},
		{post, paths.Namespaces, "namespace.create", s.registerNamespace},
		{get, paths.Namespaces + "/{namespace}/delete", "namespace.delete", s.askUnregisterNamespace},
		{post, paths.Namespaces + "/{namespace}/delete", "namespace.delete", s.unregisterNamespace},
	}
}

// dryRuns are the forms that the header Dry-Run: All sends only to be checked,
// field by field while they are filled in (domain.WithDryRun). Their use cases
// do nothing outside the transaction.
var dryRuns = map[string]bool{
	paths.Systems: true, "/systems/{system}/services": true, paths.Requests: true, paths.Namespaces: true,
	paths.Templates: true, paths.Sizes: true, paths.People: true, "/systems/{system}/members": true,
}

// isUpload says whether the request is the form that takes a kubeconfig.
func isUpload(r *http.Request) bool { return r.Method == post && r.URL.Path == paths.NewCluster }

// Router answers everything on the portal's port.
func (s *Server) Router() http.Handler {
	r := chi.NewRouter()
	r.Use(identify, speak, s.clientIP, s.observe, s.harden, s.rescue)
	r.Get(static.Prefix+"{name}", staticFile)
	r.Head(static.Prefix+"{name}", staticFile)
	r.Get("/healthz", healthz)
	r.Get("/readyz", s.readyz)

	// The stream of events and an export have no time limit and are not compressed.
	portal := chi.Chain(s.sameOrigin, limit, s.arrive, middleware.Compress(5, "text/html", "application/json"))
	stream := chi.Chain(s.sameOrigin, s.arrive)
	for _, rt := range s.routes() {
		chain := portal
		if rt.pattern == paths.Events || rt.pattern == paths.AuditExport {
			chain = stream
		}
		h := chain.HandlerFunc(s.adapt(rt))
		r.Method(rt.method, rt.pattern, h)
		if rt.method == get && rt.pattern != paths.Events {
			r.Method(http.MethodHead, rt.pattern, h)
		}
	}
	r.NotFound(portal.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, apperr.New(apperr.ErrNotFound))
	}).ServeHTTP)
	r.MethodNotAllowed(portal.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for _, m := range []string{get, http.MethodHead, post} {
			if r.Match(chi.NewRouteContext(), m, req.URL.Path) {
				w.Header().Add("Allow", m)
			}
		}
		s.fail(w, req, apperr.New(apperr.ErrMethod))
	}).ServeHTTP)
	return r
}

// adapt makes an http.HandlerFunc of a route: its error is answered in one place.
func (s *Server) adapt(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := rt.permission.enter(actor(r))
		if err == nil && r.Header.Get("Dry-Run") != "" {
			if rt.method != post || !dryRuns[rt.pattern] {
				err = apperr.New(apperr.ErrMethod)
			}
			r = r.WithContext(domain.WithDryRun(r.Context()))
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
// whether it is there or not.
func (s *Server) refused(r *http.Request, rt route, err error) {
	e, ok := apperr.From(err)
	deed := rt.method != get || rt.permission == "audit.export"
	if !ok || !deed || actor(r).UserID == "" || r.Header.Get("Dry-Run") != "" || e.Kind() != apperr.Forbidden && e.Kind() != apperr.NotFound {
		return
	}
	kind, _, _ := strings.Cut(string(rt.permission), ".")
	entry := audit.Entry{Action: string(rt.permission), ResourceType: kind, Details: map[string]any{"code": e.Code}}
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
