package handlers

import (
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
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// auditNouns are the choices of the filter: all actions of a noun.
var auditNouns = []struct{ value, label string }{
	{"", "Every action"}, {"ticket.", "Requests and decisions"}, {"vm.", "VMs"}, {"service.", "Services"}, {"system.", "Systems"},
	{"cluster.", "Clusters"}, {"namespace.", "Namespaces"}, {"template.", "Templates"}, {"size.", "Sizes"}, {"user.", "People"}, {"group.", "Groups"}, {"session.", "Sign-ins"}, {"audit.", "Exports of this log"},
}

// auditResults say how an action went.
var auditResults = map[string]ui.StatusView{
	"done":    {Label: "Done", Role: ui.OK, Glyph: "done"},
	"refused": {Label: "Refused", Role: ui.Warn, Glyph: "none"},
	"failed":  {Label: "Failed", Role: ui.Bad, Glyph: "failed"},
}

// auditFilter reads the filter of the page and of the export from an address.
func auditFilter(r *http.Request) (audit.Filter, error) {
	q := r.URL.Query()
	f := audit.Filter{
		Query: q.Get("q"), Actor: strings.TrimSpace(q.Get("who")), Action: q.Get("action"), Result: q.Get("result"), ResourceType: q.Get("type"), ResourceID: q.Get("id"),
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
		Query: f.Query, Who: f.Actor, From: q.Get("from"), To: q.Get("to"), Filtered: f != (audit.Filter{}), Pager: pager(r, "", list.Next),
		CSV: exportHref(r.URL, "csv"), JSONL: exportHref(r.URL, "jsonl"),
	}
	if f.ResourceType != "" && f.ResourceID != "" {
		v.Object = views.AuditObject{Type: f.ResourceType, ID: f.ResourceID, All: without(r.URL, "type", "id", "after", "open").RequestURI()}
	}
	if v.Sealed, err = s.sealed(r); err != nil {
		return err
	}
	if fragment(r) == "" {
		// Entries are numbered without end and never go: the newest number is how
		// many there are, but for tries that were rolled back.
		newest, err := s.Audit.List(r.Context(), actor(r), audit.Filter{}, listing.Page{Limit: 1})
		if err != nil {
			return err
		}
		for _, e := range newest.Items {
			v.Total = e.Number
		}
	}
	for _, n := range auditNouns {
		v.Actions = append(v.Actions, ui.Option{Value: n.value, Label: n.label, Selected: n.value == f.Action})
	}
	v.Results = []ui.Option{{Label: "Any result"}}
	for _, name := range []string{"done", "refused", "failed"} {
		v.Results = append(v.Results, ui.Option{Value: name, Label: auditResults[name].Label, Selected: name == f.Result})
	}
	year := time.Now().UTC().Year()
	for _, e := range list.Items {
		v.Object.Name = cmp.Or(v.Object.Name, e.ResourceName) // as it was called last
		row := auditRow(e)
		row.Year = e.At.UTC().Year() != year
		row.Open = q.Get("open") == strconv.Itoa(e.Number)
		row.Toggle = withQuery(r.URL, "open", strconv.Itoa(e.Number))
		if row.Open {
			row.Toggle = withQuery(r.URL, "open", "")
		}
		v.Rows = append(v.Rows, row)
	}
	sh, err := s.shell(r, "Audit log", "audit")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.AuditLog(sh, v))
}

// sealed says how far the chain over the log goes.
func (s *Server) sealed(r *http.Request) (string, error) {
	c, err := s.Audit.Chain(r.Context())
	switch {
	case err != nil:
		return "", err
	case c.Waiting > 0:
		return fmt.Sprintf("%s sealed, %s waiting for the seal.", ui.Thousands(int(c.Links)), ui.Thousands(c.Waiting)), nil
	case c.Links > 0:
		return "All are sealed.", nil
	}
	return "", nil
}

// exportHref is the export of what a list shows, all pages of it.
func exportHref(u *url.URL, format string) string {
	all := without(u, "after", "open")
	all.Path = paths.AuditExport
	return withQuery(all, "format", format)
}

func auditRow(e audit.Row) views.AuditRow {
	v := views.AuditRow{
		Entry: e.Number, At: e.At, Who: e.Actor, Action: e.Action, On: e.ResourceName, OnHref: resourceHref(e), From: e.IP, Kind: e.ResourceType,
		Result: auditResults[e.Result], Detail: cmp.Or(e.Reason, auditDetail(e.Details)),
	}
	for _, key := range slices.Sorted(maps.Keys(e.Details)) {
		v.Facts = append(v.Facts, views.Fact{Label: upperFirst(strings.ReplaceAll(key, "_", " ")), Value: detailText(e.Details[key])})
	}
	if e.Reason != "" {
		v.Facts = append(v.Facts, views.Fact{Label: "Reason", Value: e.Reason})
	}
	if e.ResourceID != "" {
		v.Facts = append(v.Facts, views.Fact{Label: upperFirst(e.ResourceType), Value: e.ResourceID, Mono: true})
		v.History = paths.AuditOf(e.ResourceType, e.ResourceID)
	}
	if e.RequestID != "" {
		v.Facts = append(v.Facts, views.Fact{Label: "Request id", Value: e.RequestID, Mono: true})
	}
	return v
}

// auditDetails are the facts that the line of an entry shows, and how. The
// others, such as ids and fingerprints, are for who opens it.
var auditDetails = []struct{ key, format string }{
	{"title", "%s"}, {"operation", "%s"}, {"ticket", "TKT-%s"}, {"code", "%s"}, {"role", "%s"}, {"server", "%s"}, {"cluster", "%s"}, {"namespace", "%s"},
	{"environment", "%s"}, {"image", "%s"}, {"version", "version %s"}, {"cpu", "%s vCPU"}, {"memory_mib", "%s MiB"},
}

func auditDetail(details map[string]any) string {
	var parts []string
	for _, d := range auditDetails {
		if v, ok := details[d.key]; ok {
			parts = append(parts, fmt.Sprintf(d.format, detailText(v)))
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
	case "ticket":
		if n, err := strconv.Atoi(e.ResourceID); err == nil {
			return paths.Request(n)
		}
	}
	return ""
}

// auditVerbs tell what somebody did; the name of the thing follows.
var auditVerbs = map[string]string{
	"ticket.submit": "asked to", "ticket.approve": "approved", "ticket.reject": "rejected", "ticket.withdraw": "withdrew", "ticket.expire": "closed the late request",
	"ticket.retry": "tried again", "ticket.decide": "tried to decide",
	"vm.order": "ordered a change of", "system.create": "made the system", "system.update": "changed the system", "system.delete": "deleted the system",
	"service.create": "made the service", "service.update": "changed the service", "service.delete": "deleted the service",
	"cluster.create": "added the cluster", "cluster.status": "checked", "cluster.preflight": "looked at", "namespace.register": "registered the namespace",
	"namespace.unregister": "unregistered the namespace", "session.sign_in": "signed in", "session.sign_out": "signed out",
	"user.create": "made the account", "user.bind": "gave a role to", "user.unbind": "took a role from", "user.disable": "disabled", "user.enable": "enabled", "session.end_all": "signed out everywhere", "user.set_password": "set the password of", "user.set_language": "chose the language of", "user.invite": "invited",
	"group.create": "made the group", "group.update": "changed the group", "group.delete": "deleted the group", "group.add_member": "put somebody into the group",
	"group.remove_member": "took somebody out of the group", "group.bind": "gave a role to the group", "group.unbind": "took a role from the group", "system.transfer": "handed over",
	"audit.export": "began the export", "audit.exported": "exported",
}

// orderVerbs tell what was ordered of a VM without a decision.
var orderVerbs = map[domain.Operation]string{
	domain.OpStart: "started", domain.OpStop: "stopped", domain.OpRestart: "restarted", domain.OpDelete: "deleted",
}

// activity is an entry in a few words, for the home pages.
func activity(e audit.Row, self string) views.HomeActivity {
	who := e.Actor
	if who == self {
		who = "You"
	}
	verb, on := cmp.Or(auditVerbs[e.Action], e.Action), e.ResourceName
	if op, ok := e.Details["operation"].(string); ok && e.ResourceType == "ticket" {
		what := lowerFirst(views.OperationLabel(domain.Operation(op))) + " " + detailText(e.Details["title"])
		if on += ": " + what; e.Action == "ticket.submit" {
			on = what + " (" + e.ResourceName + ")"
		}
	}
	switch {
	case e.ResourceType == "session":
		on = ""
	case e.Action == "vm.order":
		verb = cmp.Or(orderVerbs[domain.Operation(detailText(e.Details["operation"]))], verb)
	}
	return views.HomeActivity{At: e.At, Text: strings.TrimSpace(who + " " + verb + " " + on), Href: resourceHref(e)}
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
