package handlers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// auditNouns are the choices of the filter: all actions of a noun.
var auditNouns = []struct{ value, label string }{
	{"", i18n.N("Every action")}, {"ticket.", i18n.N("Requests and decisions")}, {"vm.", i18n.N("VMs")}, {"service.", i18n.N("Services")},
	{"system.", i18n.N("Systems")}, {"cluster.", i18n.N("Clusters")}, {"namespace.", i18n.N("Namespaces")}, {"template.", i18n.N("Templates")},
	{"size.", i18n.N("Sizes")}, {"user.", i18n.N("People")}, {"group.", i18n.N("Groups")}, {"session.", i18n.N("Sign-ins")},
	{"audit.", i18n.N("The audit log itself")},
}

// auditResults say how an action went.
var auditResults = []struct {
	value string
	ui.StatusView
}{
	{"done", ui.StatusView{Label: i18n.N("Done"), Role: ui.OK, Glyph: "done"}},
	{"refused", ui.StatusView{Label: i18n.N("Refused"), Role: ui.Warn, Glyph: "none"}},
	{"failed", ui.StatusView{Label: i18n.N("Failed"), Role: ui.Bad, Glyph: "failed"}},
}

func auditResult(r *http.Request, value string) (v ui.StatusView) {
	for _, known := range auditResults {
		if known.value == value {
			v = known.StatusView
			v.Label = i18n.T(r.Context(), v.Label)
		}
	}
	return v
}

// auditParams are the parts of the address that select entries.
var auditParams = []string{"q", "who", "for", "action", "result", "type", "id", "from", "to"}

// auditFilter reads the filter of the page and of the export from an address.
func auditFilter(r *http.Request) (audit.Filter, error) {
	q := r.URL.Query()
	f := audit.Filter{
		Query: q.Get("q"), Actor: strings.TrimSpace(q.Get("who")), OnBehalfOf: strings.TrimSpace(q.Get("for")), Action: q.Get("action"), Result: q.Get("result"), ResourceType: q.Get("type"), ResourceID: q.Get("id"),
	}
	var bad apperr.List
	f.From = auditDay(&bad, "from", q.Get("from"), 0)
	f.To = auditDay(&bad, "to", q.Get("to"), 1)
	return f, bad.Err()
}

// auditDay is the begin of a day in UTC, some days later, or a moment that is
// given to the second.
func auditDay(bad *apperr.List, name, text string, more int) time.Time {
	if text == "" {
		return time.Time{}
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at.AddDate(0, 0, more)
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		bad.Add(name, apperr.ErrInvalidChoice)
	}
	return at.UTC()
}

// showAudit answers GET /audit.
func (s *Server) showAudit(w http.ResponseWriter, r *http.Request) error {
	return s.auditPage(w, r, filterForm{}, nil)
}

// filterForm keeps the present filter under a name.
type filterForm struct {
	Name   string `form:"name" label:"Name of the filter"`
	Shared bool   `form:"shared"`
	Query  string `form:"query"`
}

// selecting is the part of a query that selects entries, in one order: the same
// filter is the same text.
func selecting(q url.Values) string {
	kept := url.Values{}
	for _, name := range auditParams {
		if v := strings.TrimSpace(q.Get(name)); v != "" {
			kept.Set(name, v)
		}
	}
	return kept.Encode()
}

// saveFilter answers POST /audit/filters.
func (s *Server) saveFilter(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[filterForm](r)
	if err == nil {
		q, _ := url.ParseQuery(form.Query) // what is no query selects nothing
		form.Query = selecting(q)
		err = s.Audit.SaveFilter(r.Context(), actor(r), form.Name, form.Query, form.Shared)
	}
	if err != nil {
		return s.auditPage(w, r, form, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The filter is saved"), strings.TrimSpace(form.Name))
	return s.redirect(w, r, auditHref(form.Query))
}

// auditHref is the audit log with a filter.
func auditHref(query string) string {
	if query == "" {
		return paths.Audit
	}
	return paths.Audit + "?" + query
}

// deleteFilter answers POST /audit/filters/{filter}/delete.
func (s *Server) deleteFilter(w http.ResponseWriter, r *http.Request) error {
	if err := s.Audit.DeleteFilter(r.Context(), actor(r), param(r, "filter")); err != nil {
		return err
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The filter is deleted"), "")
	return s.redirect(w, r, paths.Audit)
}

// auditPage draws the list that the address selects, or after a form the one
// that its filter does, with what is wrong with the form.
func (s *Server) auditPage(w http.ResponseWriter, r *http.Request, form filterForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	if r.Method == post {
		r = r.Clone(r.Context())
		r.URL = &url.URL{Path: paths.Audit, RawQuery: form.Query}
	}
	q := r.URL.Query()
	f, err := auditFilter(r)
	if err != nil {
		return err
	}
	list, err := s.Audit.List(r.Context(), actor(r), f, listing.Page{After: q.Get("after")})
	if err != nil {
		return err
	}
	v := views.AuditView{
		Query: f.Query, Who: f.Actor, For: f.OnBehalfOf, From: q.Get("from"), To: q.Get("to"), Filtered: f != (audit.Filter{}), Pager: pager(r, "", list.Next),
		CSV: exportHref(r.URL, "csv"), JSONL: exportHref(r.URL, "jsonl"),
		Saved: views.AuditSaved{Query: selecting(q), Name: form.Name, Shared: form.Shared, Errors: errs},
	}
	if f.ResourceType != "" && f.ResourceID != "" {
		v.Object = views.AuditObject{Type: f.ResourceType, ID: f.ResourceID, All: without(r.URL, "type", "id", "after", "open").RequestURI()}
	}
	if v.Sealed, err = s.sealed(r); err != nil {
		return err
	}
	if v.Saved.Filters, err = s.savedFilters(r, v.Saved.Query); err != nil {
		return err
	}
	if fragment(r) == "" {
		if v.Total, err = s.Audit.Total(r.Context(), actor(r)); err != nil {
			return err
		}
	}
	for _, n := range auditNouns {
		v.Actions = append(v.Actions, ui.Option{Value: n.value, Label: i18n.T(r.Context(), n.label), Selected: n.value == f.Action})
	}
	v.Results = []ui.Option{{Label: i18n.T(r.Context(), "Any result")}}
	for _, known := range auditResults {
		v.Results = append(v.Results, ui.Option{Value: known.value, Label: i18n.T(r.Context(), known.Label), Selected: known.value == f.Result})
	}
	for _, e := range list.Items {
		v.Object.Name = cmp.Or(v.Object.Name, e.ResourceName) // as it was called last
		row := auditRow(r, e)
		row.Open = q.Get("open") == strconv.Itoa(e.Number)
		row.Toggle = withQuery(r.URL, "open", strconv.Itoa(e.Number))
		if row.Open {
			row.Toggle = withQuery(r.URL, "open", "")
		}
		v.Rows = append(v.Rows, row)
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Audit log"), "audit")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.AuditLog(sh, v))
}

func (s *Server) savedFilters(r *http.Request, present string) ([]views.AuditFilter, error) {
	list, err := s.Audit.SavedFilters(r.Context(), actor(r))
	if err != nil {
		return nil, err
	}
	var all []views.AuditFilter
	for _, f := range list {
		v := views.AuditFilter{ID: f.ID, Name: f.Name, Href: auditHref(f.Query), Shared: f.Shared, Current: f.Query == present, MayDelete: f.MayDelete}
		if f.Owner != actor(r).Username {
			v.By = f.Owner
		}
		all = append(all, v)
	}
	return all, nil
}

// sealed says how far the chain over the log goes.
func (s *Server) sealed(r *http.Request) (string, error) {
	c, err := s.Audit.Chain(r.Context())
	switch {
	case err != nil:
		return "", err
	case c.Waiting > 0:
		return i18n.T(r.Context(), "{sealed} sealed, {waiting} waiting for the seal.", "sealed", int(c.Links), "waiting", c.Waiting), nil
	case c.Links > 0:
		return i18n.T(r.Context(), "All are sealed."), nil
	}
	return "", nil
}

// exportHref is the export of what a list shows, all pages of it.
func exportHref(u *url.URL, format string) string {
	all := without(u, "after", "open")
	all.Path = paths.AuditExport
	return withQuery(all, "format", format)
}

func auditRow(r *http.Request, e audit.Row) views.AuditRow {
	v := views.AuditRow{
		Entry: e.Number, At: e.At, Who: e.Actor, Behind: e.OnBehalfOf.Username, Action: e.Action, On: e.ResourceName, OnHref: resourceHref(e), From: e.IP,
		Kind: e.ResourceType, Result: auditResult(r, e.Result), Detail: cmp.Or(e.Reason, auditDetail(r, e.Details)),
	}
	for _, c := range e.Changes {
		v.Changes = append(v.Changes, views.AuditChange{Field: c.Field, Before: changeText(c.Before), After: changeText(c.After)})
	}
	add := func(label, value, href string, mono bool) {
		if value != "" {
			v.Facts = append(v.Facts, views.AuditFact{Label: label, Value: value, Href: href, Mono: mono})
		}
	}
	ctx := r.Context()
	if who := e.OnBehalfOf.Username; who != "" {
		add(i18n.T(ctx, "On behalf of"), who, paths.Audit+"?"+url.Values{"for": {who}}.Encode(), false)
	}
	switch name := e.Via.Name; e.Via.Kind {
	case domain.ViaToken:
		add(i18n.T(ctx, "By"), i18n.T(ctx, "the token {name}", "name", name), "", false)
		add(i18n.T(ctx, "Token id"), e.Via.ID, "", true)
	case domain.ViaJob:
		add(i18n.T(ctx, "By"), i18n.T(ctx, "the job {name}", "name", name), "", false)
		add(i18n.T(ctx, "Job id"), e.Via.ID, "", true)
	case domain.ViaCLI:
		add(i18n.T(ctx, "By"), i18n.T(ctx, "the command line, as {name}", "name", name), "", false)
	}
	for _, key := range slices.Sorted(maps.Keys(e.Details)) {
		text, href := detailText(e.Details[key]), ""
		if n, err := strconv.Atoi(text); err == nil && key == "ticket" {
			text, href = domain.TicketName(n), paths.Request(n)
		}
		add(upperFirst(strings.ReplaceAll(key, "_", " ")), text, href, false)
	}
	add(i18n.T(ctx, "Reason"), e.Reason, "", false)
	if e.ResourceID != "" {
		add(upperFirst(strings.ReplaceAll(e.ResourceType, "_", " ")), e.ResourceID, "", true)
		v.History = paths.AuditOf(e.ResourceType, e.ResourceID)
	}
	add(i18n.T(ctx, "Account"), e.ActorID, "", true)
	add(i18n.T(ctx, "Request id"), e.RequestID, "", true)
	return v
}

// changeText is a value before or after a change; "" is nothing.
func changeText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		var parts []string
		for _, part := range v {
			parts = append(parts, detailText(part))
		}
		return cmp.Or(strings.Join(parts, ", "), "–")
	}
	return detailText(v)
}

// auditDetails are the facts that the line of an entry shows, and how. The
// others, such as ids and fingerprints, are for who opens it.
var auditDetails = []struct{ key, format string }{
	{"title", "%s"}, {"operation", "%s"}, {"ticket", "TKT-%s"}, {"code", "%s"}, {"role", "%s"}, {"server", "%s"}, {"cluster", "%s"}, {"namespace", "%s"},
	{"environment", "%s"}, {"image", "%s"}, {"version", "version %s"}, {"cpu", "%s vCPU"}, {"memory_mib", "%s MiB"},
}

func auditDetail(r *http.Request, details map[string]any) string {
	var parts []string
	for _, d := range auditDetails {
		if v, ok := details[d.key]; ok {
			text := detailText(v)
			if d.key == "operation" {
				text = i18n.T(r.Context(), views.OperationLabel(domain.Operation(text)))
			}
			parts = append(parts, fmt.Sprintf(d.format, text))
		}
	}
	return strings.Join(parts, " · ")
}

// detailText is a value of an entry as a person reads it.
func detailText(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// resourceHref is the page of what an entry is about. What is deleted answers
// that it is gone.
func resourceHref(e audit.Row) string {
	if e.ResourceID == "" || strings.HasSuffix(e.Action, ".delete") && e.ResourceType != "vm" {
		return ""
	}
	switch e.ResourceType {
	case "system":
		return paths.System(e.ResourceID)
	case "service":
		return paths.Service(e.ResourceID)
	case "vm":
		return paths.VM(e.ResourceID)
	case "cluster":
		return paths.Cluster(e.ResourceID)
	case "namespace":
		if e.ResourceID != "" { // one that was only made in the cluster has none
			return paths.Namespace(e.ResourceID)
		}
	case "user":
		return paths.Person(e.ResourceID)
	case "ticket":
		if n, err := strconv.Atoi(e.ResourceID); err == nil {
			return paths.Request(n)
		}
	}
	return ""
}

// deeds tell what somebody did to a thing.
var deeds = map[string]string{
	"ticket.submit": i18n.N("{who} asked to {what}"), "ticket.approve": i18n.N("{who} approved {what}"), "ticket.reject": i18n.N("{who} rejected {what}"),
	"ticket.withdraw": i18n.N("{who} withdrew {what}"), "ticket.expire": i18n.N("{who} closed the late request {what}"), "ticket.retry": i18n.N("{who} tried again {what}"),
	"ticket.export": i18n.N("{who} made an evidence pack of {what}"),
	"vm.order":      i18n.N("{who} ordered a change of {what}"), "vm.create": i18n.N("{who} made the VM {what}"), "vm.delete": i18n.N("{who} deleted {what}"),
	"vm.start": i18n.N("{who} started {what}"), "vm.stop": i18n.N("{who} stopped {what}"), "vm.restart": i18n.N("{who} restarted {what}"),
	"system.create": i18n.N("{who} made the system {what}"), "system.update": i18n.N("{who} changed the system {what}"), "system.delete": i18n.N("{who} deleted the system {what}"),
	"service.create": i18n.N("{who} made the service {what}"), "service.update": i18n.N("{who} changed the service {what}"), "service.delete": i18n.N("{who} deleted the service {what}"),
	"cluster.create": i18n.N("{who} added the cluster {what}"), "cluster.status": i18n.N("{who} checked {what}"), "cluster.preflight": i18n.N("{who} looked at {what}"),
	"namespace.register": i18n.N("{who} registered the namespace {what}"), "namespace.unregister": i18n.N("{who} unregistered the namespace {what}"),
	"namespace.create": i18n.N("{who} made the namespace {what} in a cluster"), "namespace.presence": i18n.N("{who} looked for the namespace {what}"),
	"session.sign_in": i18n.N("{who} signed in"), "session.sign_out": i18n.N("{who} signed out"), "session.end_all": i18n.N("{who} signed out everywhere {what}"),
	"user.create": i18n.N("{who} made the account {what}"), "user.bind": i18n.N("{who} gave a role to {what}"), "user.unbind": i18n.N("{who} took a role from {what}"),
	"user.disable": i18n.N("{who} disabled {what}"), "user.enable": i18n.N("{who} enabled {what}"), "user.set_password": i18n.N("{who} set the password of {what}"),
	"user.invite": i18n.N("{who} invited {what}"), "user.set_language": i18n.N("{who} chose the language of {what}"), "audit.export": i18n.N("{who} began the export {what}"), "audit.exported": i18n.N("{who} exported {what}"),
	"audit.archive":              i18n.N("{who} archived a part of the audit log as {what}"),
	"cluster.replace_credential": i18n.N("{who} replaced the credential of {what}"), "cluster.propose_credential": i18n.N("{who} says that {what} was rebuilt"),
	"cluster.confirm_credential": i18n.N("{who} confirmed that {what} was rebuilt"), "cluster.reject_credential": i18n.N("{who} rejected the new credential of {what}"),
	"cluster.withdraw_credential": i18n.N("{who} withdrew the new credential of {what}"), "cluster.expire_credential": i18n.N("{who} dropped the new credential of {what}, which nobody confirmed"),
	"keys.rotate": i18n.N("{who} sealed the secrets anew with the key {what}"),
}

// activity is an entry in a few words, for the home pages.
func activity(r *http.Request, e audit.Row) views.HomeActivity {
	ctx, who := r.Context(), e.Actor
	if who == actor(r).Username {
		who = i18n.T(ctx, "You")
	}
	deed, what := deeds[e.Action], e.ResourceName
	op, _ := e.Details["operation"].(string)
	if op != "" && e.ResourceType == "ticket" {
		asked := lowerFirst(i18n.T(ctx, views.OperationLabel(domain.Operation(op)))) + " " + detailText(e.Details["title"])
		if what += ": " + asked; e.Action == "ticket.submit" {
			what = asked + " (" + e.ResourceName + ")"
		}
	}
	switch {
	case e.Result == "refused":
		deed, what = i18n.N("{who} was refused: {what}"), strings.TrimSpace(e.Action+" "+e.ResourceName)
	case e.Action == "vm.order" && deeds["vm."+strings.ToLower(op)] != "":
		deed = deeds["vm."+strings.ToLower(op)]
	case deed == "":
		deed, what = i18n.N("{who}: {what}"), strings.TrimSpace(e.Action+" "+e.ResourceName)
	}
	return views.HomeActivity{At: e.At, Text: strings.TrimSpace(i18n.T(ctx, deed, "who", who, "what", what)), Href: resourceHref(e)}
}

// exportAge is how long an export may take.
const exportAge = 15 * time.Minute

// exportAudit answers GET /audit/export: an archive of everything that the
// filter selects, which is written while it is read.
func (s *Server) exportAudit(w http.ResponseWriter, r *http.Request) error {
	f, err := auditFilter(r)
	if err != nil {
		return err
	}
	if r.Method == http.MethodHead { // nothing leaves, so nothing is on record
		return s.send(w, r, http.StatusOK, "application/zip", nil)
	}
	export, err := s.Audit.Export(r.Context(), actor(r), f, r.URL.Query().Get("format"))
	if err != nil {
		return err
	}
	return s.streamExport(w, r, export)
}

// streamExport writes an export while it is read.
func (s *Server) streamExport(w http.ResponseWriter, r *http.Request, export *audit.Export) error {
	ctx, cancel := context.WithTimeout(r.Context(), exportAge)
	defer cancel()
	w.Header().Set("Content-Disposition", `attachment; filename="`+export.Name()+`"`)
	w.Header().Set("X-Accel-Buffering", "no")
	if err := s.send(w, r, http.StatusOK, "application/zip", nil); err != nil {
		return err
	}
	if err := export.Write(ctx, slow(w)); err != nil {
		s.Logger.WarnContext(ctx, "export of the audit log broke off", "error", err, "request_id", requestID(r))
		panic(http.ErrAbortHandler) // the status is out: only a broken connection tells
	}
	return nil
}

// exportEvidence answers POST /requests/{ticket}/evidence: an archive with all
// that there is about a ticket, and its proof.
func (s *Server) exportEvidence(w http.ResponseWriter, r *http.Request) error {
	number, err := ticketNumber(r)
	if err != nil {
		return err
	}
	pack, err := s.Audit.Pack(r.Context(), actor(r), number)
	if err != nil {
		return err
	}
	var b bytes.Buffer // whole, or none of it
	if err := pack.Write(r.Context(), &b); err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", `attachment; filename="`+pack.Name()+`"`)
	return s.send(w, r, http.StatusOK, "application/zip", b.Bytes())
}

// mayExport says whether the actor may have the evidence of a ticket.
func mayExport(r *http.Request, t approval.Row) bool {
	return may(r, domain.TicketExport, t.SystemID, t.Environment)
}
