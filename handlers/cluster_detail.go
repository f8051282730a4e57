package handlers

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// clusterView is all that the page of a cluster shows. Nothing is asked of the
// cluster.
func (s *Server) clusterView(r *http.Request, c cluster.Cluster) (views.ClusterView, error) {
	ctx, a := r.Context(), actor(r)
	v := views.ClusterView{
		Self: r.URL.RequestURI(), Row: s.clusterRow(r, c), Notices: s.clusterNotices(r, c), Facts: clusterFacts(ctx, s.now(), c), Settings: settingsFacts(ctx, c.Settings()),
		Credential: s.credentialFacts(ctx, c), Checks: healthChecks(r, c), Features: features(c), CanCheck: mayOn(r, domain.ClusterCheck), CanRegister: mayOn(r, domain.NamespaceCreate),
		CanUpdate: mayOn(r, domain.ClusterUpdate), CanRemove: mayOn(r, domain.ClusterDelete), CanCredential: mayOn(r, domain.ClusterCredential),
	}
	if c.Enabled {
		v.Problem = problemView(r, c.Reason)
	}
	spaces, err := s.namespacesByCluster(r)
	if err != nil {
		return v, err
	}
	v.Namespaces = spaces[c.ID]
	if v.Health, v.Ranges, err = s.healthStrip(r, c); err != nil {
		return v, err
	}
	capacity, err := s.Clusters.CapacityOf(ctx, a, c.ID)
	if err != nil {
		return v, err
	}
	has := capacity[c.ID]
	v.Memory, v.CPU = memoryDemand(has), views.Demand{On: has.On.CPU, Off: has.Off.CPU, Limit: has.Allocatable.CPU}
	orders, err := s.Clusters.Orders(ctx, a, c.ID, cluster.Page{Limit: shownOf})
	if err != nil {
		return v, err
	}
	v.Orders = orderRows(r, orders.Items)
	waiting, err := s.Clusters.Waiting(ctx, a, c.ID)
	if err != nil {
		return v, err
	}
	v.OrderCount = waiting[c.ID]
	vms, err := s.Services.AllVMs(ctx, a, "", service.VMFilter{ClusterID: c.ID}, listing.Page{Limit: shownOf})
	if err != nil {
		return v, err
	}
	stale, err := s.stale(r)
	if err != nil {
		return v, err
	}
	for _, m := range vms.Items {
		v.VMs = append(v.VMs, vmRow(r, m, stale))
	}
	failed, err := s.Clusters.Events(ctx, a, c.ID, []domain.ClusterEventKind{domain.AboutError}, cluster.Page{Limit: shownOf})
	if err != nil {
		return v, err
	}
	changed, err := s.Clusters.Events(ctx, a, c.ID, changeKinds(), cluster.Page{Limit: shownOf})
	if err != nil {
		return v, err
	}
	v.Errors, v.Changes = clusterChanges(r, failed.Items), clusterChanges(r, changed.Items)
	return v, nil
}

// changeKinds are all but the states, which the strip shows, and the errors.
func changeKinds() []domain.ClusterEventKind {
	return slices.DeleteFunc(domain.ClusterEventKinds(), func(k domain.ClusterEventKind) bool {
		return k == domain.AboutStatus || k == domain.AboutError
	})
}

// clusterNotices are what the reader should know first.
func (s *Server) clusterNotices(r *http.Request, c cluster.Cluster) []views.ClusterNotice {
	ctx := r.Context()
	var list []views.ClusterNotice
	may := mayOn(r, domain.ClusterUpdate)
	button := func(n views.ClusterNotice, label, do string) views.ClusterNotice {
		if may {
			n.Action, n.Do = label, do
		}
		return n
	}
	if c.QuarantinedAt != nil {
		m := message(r, apperr.ErrClusterQuarantined, map[string]any{"cluster": c.Name})
		n := views.ClusterNotice{Kind: "bad", Icon: "triangle-alert", Title: m.What, Text: i18n.Join(problemText(r, c.QuarantineReason), m.Why)}
		if mayOn(r, domain.ClusterAccept) {
			n.Action, n.Href = i18n.T(ctx, "Show what differs"), paths.ClusterQuarantine(c.ID)
		}
		list = append(list, n)
	}
	if !c.Enabled {
		list = append(list, button(views.ClusterNotice{
			Kind: "idle", Icon: "power", Title: i18n.T(ctx, "It is switched off"),
			Text: i18n.T(ctx, "Shepherd does not check or watch it, and does nothing there. What is shown is the last known state."),
		}, i18n.T(ctx, "Switch on"), "enable"))
	}
	if c.Drained {
		list = append(list, button(views.ClusterNotice{
			Kind: "wait", Icon: "pause", Title: i18n.T(ctx, "It takes no new VMs"),
			Text: i18n.T(ctx, "Those that it has stay as they are, and can be used as before."),
		}, i18n.T(ctx, "Take new VMs"), "undrain"))
	}
	if text, role := s.credentialMark(ctx, c); role != "" {
		n := views.ClusterNotice{Kind: string(role), Icon: "key-round", Title: text, Text: i18n.T(ctx, "Without it Shepherd cannot sign in there. VMs keep running.")}
		if mayOn(r, domain.ClusterCredential) {
			n.Action, n.Href = i18n.T(ctx, "Replace"), paths.ClusterCredential(c.ID)
		}
		list = append(list, n)
	}
	return list
}

func clusterFacts(ctx context.Context, now time.Time, c cluster.Cluster) []views.Fact {
	facts := []views.Fact{
		{Label: i18n.T(ctx, "Server"), Value: c.Server, Mono: true},
		{Label: "Kubernetes", Value: c.KubernetesVersion},
		{Label: "KubeVirt", Value: c.KubeVirtVersion},
		{Label: i18n.T(ctx, "Nodes"), Value: nodesText(ctx, c)},
		{Label: i18n.T(ctx, "Storage"), Value: storageClasses(ctx, c.StorageClasses)},
		{Label: i18n.T(ctx, "Added"), Value: i18n.T(ctx, "{name}, {when}", "name", c.CreatedBy, "when", ui.Relative(ctx, c.CreatedAt, now))},
	}
	if c.AnsweredAt != nil {
		facts = append(facts, views.Fact{Label: i18n.T(ctx, "Last answer"), Value: ui.Relative(ctx, *c.AnsweredAt, now)})
	}
	if c.HeardAt != nil {
		facts = append(facts, views.Fact{Label: i18n.T(ctx, "VMs seen"), Value: ui.Relative(ctx, *c.HeardAt, now)})
	}
	return facts
}

func settingsFacts(ctx context.Context, in cluster.Settings) []views.Fact {
	return []views.Fact{
		{Label: i18n.T(ctx, "Place"), Value: in.Place},
		{Label: i18n.T(ctx, "Weight"), Value: ui.Thousands(in.Weight)},
		{Label: i18n.T(ctx, "Hardware"), Value: strings.Join(in.Hardware, i18n.T(ctx, ", "))},
	}
}

func (s *Server) credentialFacts(ctx context.Context, c cluster.Cluster) []views.Fact {
	return []views.Fact{
		{Label: i18n.T(ctx, "Kind"), Value: credentialKind(ctx, c.CredentialKind)},
		{Label: i18n.T(ctx, "Signs in as"), Value: c.CredentialSubject, Mono: c.CredentialSubject != ""},
		{Label: i18n.T(ctx, "Ends"), Value: credentialEnd(ctx, c.CredentialExpiresAt, s.now())},
	}
}

// features splits what is in effect into what somebody switched on and what its
// version has on by default.
func features(c cluster.Cluster) views.FeaturesView {
	v := views.FeaturesView{
		Off: c.Capabilities.DisabledGates, APIs: c.Capabilities.APIs, Version: c.KubeVirtVersion,
		InstanceTypes: c.Capabilities.InstanceTypes, Preferences: c.Capabilities.Preferences, At: c.DescribedAt,
	}
	for _, f := range c.Features {
		if slices.Contains(c.Capabilities.Gates, f) {
			v.On = append(v.On, f)
		} else {
			v.ByDefault = append(v.ByDefault, f)
		}
	}
	return v
}

// stripRanges are how far the strip of health looks back.
var stripRanges = []struct {
	value string
	span  time.Duration
	mark  time.Duration // between two marks
}{{"24h", 24 * time.Hour, 6 * time.Hour}, {"7d", 7 * 24 * time.Hour, 24 * time.Hour}}

// The states of the strip, in the order of its legend.
const (
	stripHealthy = iota
	stripUnhealthy
	stripUnreachable
	stripUnknown
	stripOff
)

// healthStrip is the line of a cluster's health.
func (s *Server) healthStrip(r *http.Request, c cluster.Cluster) (ui.StripView, []ui.Segment, error) {
	ctx, now := r.Context(), s.now()
	chosen := stripRanges[0]
	var ranges []ui.Segment
	for _, one := range stripRanges {
		if r.URL.Query().Get("range") == one.value {
			chosen = one
		}
	}
	for _, one := range stripRanges {
		ranges = append(ranges, ui.Segment{
			Label: ui.Age(ctx, one.span), Href: withQuery(r.URL, "range", one.value), Count: -1, Current: one == chosen,
		})
	}
	spans, err := s.Clusters.Health(ctx, actor(r), c.ID, now.Add(-chosen.span), now)
	if err != nil {
		return ui.StripView{}, nil, err
	}
	v := ui.StripView{
		ID: "cluster-health", Title: i18n.T(ctx, "Health"), From: now.Add(-chosen.span), To: now,
		Series: []ui.SeriesView{
			{Label: i18n.T(ctx, "Healthy"), Role: ui.OK, Look: ui.Solid},
			{Label: i18n.T(ctx, "Unhealthy"), Role: ui.Warn, Look: ui.Stripes},
			{Label: i18n.T(ctx, "Unreachable"), Role: ui.Bad, Look: ui.Grid},
			{Label: i18n.T(ctx, "Unknown"), Role: ui.Idle, Look: ui.Hollow},
			{Label: i18n.T(ctx, "Switched off"), Role: ui.Idle, Look: ui.Solid},
		},
	}
	var well, known time.Duration
	troubles := 0
	for _, sp := range spans {
		p := ui.StripPart{From: sp.From, To: sp.To, Series: stripUnknown, Why: problemText(r, sp.Problem)}
		switch {
		case sp.Off:
			p.Series, p.Why = stripOff, ""
		case sp.Status == domain.ClusterHealthy:
			p.Series = stripHealthy
			well += sp.To.Sub(sp.From)
		case sp.Status == domain.ClusterUnhealthy:
			p.Series = stripUnhealthy
			troubles++
		case sp.Status == domain.ClusterUnreachable:
			p.Series = stripUnreachable
			troubles++
		}
		if p.Series < stripUnknown {
			known += sp.To.Sub(sp.From)
		}
		v.Parts = append(v.Parts, p)
	}
	switch {
	case known == 0:
		v.Summary = i18n.T(ctx, "It was not checked in this time.")
	case troubles == 0:
		v.Summary = i18n.T(ctx, "Healthy all the time that it was checked.")
	default:
		// Rounded down: what was not always so is not 100 %.
		v.Summary = i18n.TN(ctx, troubles, "Healthy {percent} % of the time that it was checked; {n} time it was not.",
			"Healthy {percent} % of the time that it was checked; {n} times it was not.", "percent", int(100*well/known))
	}
	layout := "15:04"
	if chosen.mark >= 24*time.Hour {
		layout = i18n.T(ctx, "2 Jan")
	}
	for at := v.From.Truncate(chosen.mark).Add(chosen.mark); at.Before(v.To); at = at.Add(chosen.mark) {
		v.Marks = append(v.Marks, ui.StripMark{At: at, Label: at.UTC().Format(layout)})
	}
	return v, ranges, nil
}

func orderRows(r *http.Request, list []cluster.Order) []views.OrderRow {
	ctx := r.Context()
	var rows []views.OrderRow
	for _, o := range list {
		row := views.OrderRow{VM: o.VM, Since: o.CreatedAt, By: o.CreatedBy, Why: problemText(r, o.Problem)}
		if o.Operation != "" {
			row.What = i18n.T(ctx, views.OperationLabel(o.Operation))
		}
		if o.VM != "" {
			row.VMHref = paths.VM(o.VMID)
		}
		if o.Ticket != 0 {
			row.Ticket, row.TicketHref = domain.TicketName(o.Ticket), paths.Request(o.Ticket)
		}
		switch {
		case o.NeedsAttention:
			row.Status = ui.StatusView{Label: i18n.T(ctx, "Needs attention"), Role: ui.Bad, Glyph: "warn"}
		case o.Working:
			row.Status = ui.StatusView{Label: i18n.T(ctx, "Under way"), Role: ui.Busy, Glyph: "busy"}
		default:
			row.Status = ui.StatusView{Label: i18n.T(ctx, "Waiting"), Role: ui.Wait, Glyph: "pending"}
		}
		rows = append(rows, row)
	}
	return rows
}

// changeTitles say what a line of the history is about.
var changeTitles = map[domain.ClusterEventKind]string{
	domain.AboutStatus: i18n.N("Health"), domain.AboutVersion: i18n.N("Version"), domain.AboutFeatures: i18n.N("Features"), domain.AboutAPIs: i18n.N("APIs"),
	domain.AboutStorage: i18n.N("Storage classes"), domain.AboutNodes: i18n.N("Nodes"), domain.AboutCredential: i18n.N("Credential"),
	domain.AboutMode: i18n.N("Settings"), domain.AboutQuarantine: i18n.N("Quarantine"), domain.AboutError: i18n.N("Error"),
}

func clusterChanges(r *http.Request, list []cluster.Event) []views.ClusterChange {
	var rows []views.ClusterChange
	for _, e := range list {
		rows = append(rows, clusterChange(r, e))
	}
	return rows
}

// clusterChange is a line of a cluster's history in words.
func clusterChange(r *http.Request, e cluster.Event) views.ClusterChange {
	ctx := r.Context()
	c := views.ClusterChange{
		What: i18n.T(ctx, changeTitles[e.Kind]), Role: ui.Idle, Glyph: "done", At: e.At, Count: e.Count, Last: e.LastAt, Technical: e.Problem.Text,
	}
	fromTo := func(before, after string) string {
		switch {
		case before == "":
			return after
		case after == "":
			return i18n.T(ctx, "no longer {value}", "value", before)
		}
		return i18n.T(ctx, "{before} → {after}", "before", before, "after", after)
	}
	switch e.Kind {
	case domain.AboutStatus:
		after := views.ClusterState(domain.ClusterStatus(e.After))
		c.Role, c.Glyph = after.Role, after.Glyph
		c.Text = i18n.Join(i18n.Sentence(fromTo(i18n.T(ctx, views.ClusterState(domain.ClusterStatus(e.Before)).Label), i18n.T(ctx, after.Label))), problemText(r, e.Problem))
	case domain.AboutFeatures, domain.AboutAPIs, domain.AboutStorage:
		var parts []string
		if e.After != "" {
			parts = append(parts, i18n.T(ctx, "New: {names}.", "names", e.After))
		}
		if e.Before != "" {
			parts = append(parts, i18n.T(ctx, "Gone: {names}.", "names", e.Before))
		}
		c.Text = i18n.Join(parts...)
	case domain.AboutMode:
		c.What, c.Text = modeText(ctx, e, fromTo)
	case domain.AboutError:
		c.Role, c.Glyph = ui.Bad, "failed"
		m := message(r, e.Problem.Code, e.Problem.Params)
		c.What, c.Text = m.What, m.Why
	case domain.AboutCredential:
		c.Text = credentialEvent(ctx, e.Before, e.After)
	case domain.AboutQuarantine:
		c.Role, c.Glyph = ui.Warn, "warn"
		c.Text = i18n.Join(quarantineEvent(ctx, e.Before, e.After), problemText(r, e.Problem))
	default:
		c.Text = i18n.Join(fromTo(e.Before, e.After), problemText(r, e.Problem))
	}
	return c
}

// quarantineEvent is a line about the quarantine in the timeline of a cluster.
func quarantineEvent(ctx context.Context, group, after string) string {
	switch after {
	case cluster.QuarantineBegun:
		return i18n.T(ctx, "It began.")
	case cluster.QuarantineEnded:
		return i18n.T(ctx, "It ended.")
	case cluster.QuarantineAccepted:
		switch domain.FindingGroup(group) {
		case domain.FindingGone:
			return i18n.T(ctx, "What is gone was accepted.")
		case domain.FindingBack:
			return i18n.T(ctx, "What is back was accepted.")
		case domain.FindingChanged:
			return i18n.T(ctx, "What is changed was accepted.")
		}
	}
	return after
}

// modeText tells what an admin set: before and after are name=value.
func modeText(ctx context.Context, e cluster.Event, fromTo func(before, after string) string) (what, text string) {
	name, after, _ := strings.Cut(e.After, "=")
	_, before, _ := strings.Cut(e.Before, "=")
	switch e.After {
	case "enabled=true":
		return i18n.T(ctx, "Switched on"), ""
	case "enabled=false":
		return i18n.T(ctx, "Switched off"), ""
	case "drained=true":
		return i18n.T(ctx, "Takes no new VMs"), ""
	case "drained=false":
		return i18n.T(ctx, "Takes new VMs again"), ""
	}
	labels := map[string]string{"weight": i18n.T(ctx, "Weight"), "place": i18n.T(ctx, "Place"), "hardware": i18n.T(ctx, "Hardware")}
	return labels[name], fromTo(before, after)
}

// aboutCluster begins a page about one cluster that has a list.
func (s *Server) aboutCluster(r *http.Request) (views.ClusterListView, error) {
	c, err := s.Clusters.Get(r.Context(), actor(r), param(r, "cluster"))
	return views.ClusterListView{ID: c.ID, Name: c.Name, Env: string(c.Environment)}, err
}

// showClusterHistory answers GET /clusters/{cluster}/history.
func (s *Server) showClusterHistory(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	v, err := s.aboutCluster(r)
	if err != nil {
		return err
	}
	kinds := []struct {
		value, label string
		kinds        []domain.ClusterEventKind
	}{
		{"", i18n.N("All"), nil}, {"health", i18n.N("Health"), []domain.ClusterEventKind{domain.AboutStatus}},
		{"changes", i18n.N("Changes"), changeKinds()}, {"errors", i18n.N("Errors"), []domain.ClusterEventKind{domain.AboutError}},
	}
	var chosen []domain.ClusterEventKind
	for _, k := range kinds {
		current := r.URL.Query().Get("show") == k.value
		if current {
			chosen = k.kinds
		}
		v.Kinds = append(v.Kinds, ui.Segment{Label: i18n.T(ctx, k.label), Href: withQuery(without(r.URL, "after"), "show", k.value), Count: -1, Current: current})
	}
	list, err := s.Clusters.Events(ctx, actor(r), v.ID, chosen, cluster.Page{After: r.URL.Query().Get("after"), Limit: 50})
	if err != nil {
		return err
	}
	v.Changes, v.Pager = clusterChanges(r, list.Items), pager(r, "", list.Next)
	sh, err := s.shell(r, i18n.T(ctx, "History of {name}", "name", v.Name), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.ClusterHistoryPage(sh, v))
}

// showClusterOrders answers GET /clusters/{cluster}/orders.
func (s *Server) showClusterOrders(w http.ResponseWriter, r *http.Request) error {
	v, err := s.aboutCluster(r)
	if err != nil {
		return err
	}
	list, err := s.Clusters.Orders(r.Context(), actor(r), v.ID, cluster.Page{After: r.URL.Query().Get("after"), Limit: 50})
	if err != nil {
		return err
	}
	v.Orders, v.Pager = orderRows(r, list.Items), pager(r, "", list.Next)
	sh, err := s.shell(r, i18n.T(r.Context(), "What waits for {name}", "name", v.Name), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.ClusterOrdersPage(sh, v))
}

// showClusterVMs answers GET /clusters/{cluster}/vms.
func (s *Server) showClusterVMs(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	v, err := s.aboutCluster(r)
	if err != nil {
		return err
	}
	f := service.VMFilter{ClusterID: v.ID, Health: domain.Health(q.Get("state")), Query: q.Get("q")}
	list, err := s.Services.AllVMs(ctx, actor(r), "", f, listing.Page{After: q.Get("after")})
	if err != nil {
		return err
	}
	stale, err := s.stale(r)
	if err != nil {
		return err
	}
	v.Query, v.State, v.Pager = f.Query, string(f.Health), pager(r, "", list.Next)
	for _, h := range healths {
		v.States = append(v.States, ui.Segment{
			Label: i18n.T(ctx, h.label), Href: withQuery(without(r.URL, "after"), "state", string(h.value)), Count: -1, Current: f.Health == h.value,
		})
	}
	for _, m := range list.Items {
		v.VMs = append(v.VMs, vmRow(r, m, stale))
	}
	v.Stale = stale.notes(v.ID)
	sh, err := s.shell(r, i18n.T(ctx, "VMs of {name}", "name", v.Name), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.ClusterVMsPage(sh, v))
}
