package handlers

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// listApprovals answers GET /approvals: the queue.
func (s *Server) listApprovals(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	after, err := cursor(q.Get("after"))
	if err != nil {
		return err
	}
	f := approval.QueueFilter{
		View: approval.View(cmp.Or(q.Get("view"), string(approval.ViewOpen))), Query: q.Get("q"),
		Environment: domain.Environment(q.Get("env")), Operation: domain.Operation(q.Get("kind")),
	}
	if f.Environment != "" && !f.Environment.Valid() {
		return apperr.Field("env", apperr.ErrInvalidChoice)
	}
	if f.Operation != "" && !slices.Contains(domain.Operations(), f.Operation) {
		return apperr.Field("kind", apperr.ErrInvalidChoice)
	}
	list, err := s.Approval.Queue(r.Context(), actor(r), f, approval.Page{After: after})
	if err != nil {
		return err
	}
	ages, err := s.Approval.Ages(r.Context(), actor(r))
	if err != nil {
		return err
	}
	v := views.QueueView{
		Self: r.URL.RequestURI(), View: string(f.View), Query: f.Query, Kinds: kindOptions(r.Context(), f.Operation), Envs: anyEnvironment(r.Context(), f.Environment),
		Waiting: ages.All, Over4: ages.Over4, Over7: ages.Over7, ShowStatus: f.View != approval.ViewOpen,
		Filtered: f.Query != "" || f.Environment != "" || f.Operation != "", Pager: pager(r, "", cursorText(list.Next)),
	}
	for _, one := range []struct {
		view  approval.View
		label string
		count int
	}{{approval.ViewOpen, i18n.N("Waiting"), ages.All}, {approval.ViewMine, i18n.N("Decided by me"), -1}, {approval.ViewAll, i18n.N("All"), -1}} {
		href := withQuery(without(r.URL, "after"), "view", string(one.view))
		v.Views = append(v.Views, ui.Segment{Label: i18n.T(r.Context(), one.label), Href: href, Count: one.count, Current: f.View == one.view})
	}
	var fits map[int]approval.Fit
	if f.View == approval.ViewOpen {
		if fits, err = s.Approval.Fits(r.Context(), list.Items); err != nil {
			return err
		}
	}
	for _, t := range list.Items {
		v.Rows = append(v.Rows, views.QueueRow{
			Number: t.Number, Operation: t.Operation, What: t.Title, System: t.System, Service: t.Service, Size: t.Size,
			Environment: t.Environment, Requester: t.Requester, Own: t.Own, Since: t.CreatedAt, Status: views.TicketState(t.Status), Fits: fitText(r.Context(), fits, t.Number),
		})
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Approvals"), "approvals")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Queue(sh, v))
}

// fitText says in a word whether a cluster can take what a ticket asks for.
func fitText(ctx context.Context, fits map[int]approval.Fit, number int) ui.StatusView {
	f, judged := fits[number]
	switch {
	case !judged:
		return ui.StatusView{}
	case f.Clusters == 0:
		return ui.StatusView{Role: ui.Bad, Glyph: "failed", Label: i18n.T(ctx, "No cluster")}
	}
	return ui.StatusView{Role: ui.OK, Glyph: "done", Label: i18n.TN(ctx, f.Clusters, "{n} cluster", "{n} clusters")}
}

func kindOptions(ctx context.Context, chosen domain.Operation) []ui.Option {
	options := []ui.Option{{Label: i18n.T(ctx, "Every kind"), Selected: chosen == ""}}
	for _, o := range domain.Operations() {
		options = append(options, ui.Option{Value: string(o), Label: i18n.T(ctx, views.OperationLabel(o)), Selected: o == chosen})
	}
	return options
}

func anyEnvironment(ctx context.Context, chosen domain.Environment) []ui.Option {
	options := []ui.Option{{Label: i18n.T(ctx, "Test and prod"), Selected: chosen == ""}}
	for _, e := range domain.Environments() {
		options = append(options, ui.Option{Value: string(e), Label: ui.EnvName(ctx, string(e)), Selected: e == chosen})
	}
	return options
}

// decisionForm is a ticket as it is decided. Version and hash are those of the
// ticket that was shown.
type decisionForm struct {
	Version  number `form:"version"`
	SpecHash string `form:"spec_hash"`
	Template string `form:"template" label:"Template"`
	Size     string `form:"size" label:"Size"`
	Count    number `form:"count" label:"Number of VMs"`
	Disk     number `form:"disk" label:"Disk"`
	Cluster  string `form:"cluster" label:"Cluster"`
	Reason   string `form:"reason" label:"Reason"`
	Do       string `form:"do"`
	Undo     string `form:"undo"`
}

func (f decisionForm) decision() approval.Decision {
	return approval.Decision{
		Approve: f.Do == "approve", Version: f.Version.Value, SpecHash: f.SpecHash, Reason: f.Reason,
		TemplateID: f.Template, SizeID: f.Size, Count: f.Count.Value, DiskGiB: f.Disk.Value, ClusterID: f.Cluster,
	}
}

// unchanged is the form that approves what is asked. The cluster is chosen
// when there is no choice.
func unchanged(t approval.Ticket) decisionForm {
	spec := t.Spec.Spec
	f := decisionForm{
		Version: whole(t.Version), SpecHash: t.SpecHash, Template: spec.TemplateID, Size: spec.SizeID,
		Count: whole(spec.Count), Disk: whole(spec.DiskGiB), Cluster: t.ClusterID,
	}
	var fit []string
	for _, c := range t.Clusters {
		if c.Refusal == nil {
			fit = append(fit, c.ID)
		}
	}
	if f.Cluster == "" && len(fit) == 1 {
		f.Cluster = fit[0]
	}
	return f
}

// showTicket answers GET /approvals/{ticket}.
func (s *Server) showTicket(w http.ResponseWriter, r *http.Request) error {
	t, err := s.ticket(r)
	if err != nil {
		return err
	}
	form := restored(s, w, r, unchanged(t))
	form.Version, form.SpecHash = whole(t.Version), t.SpecHash // what is signed is what is shown now
	return s.ticketPage(w, r, t, form, nil)
}

func (s *Server) ticket(r *http.Request) (approval.Ticket, error) {
	number, err := ticketNumber(r)
	if err != nil {
		return approval.Ticket{}, err
	}
	return s.Approval.Ticket(r.Context(), actor(r), number)
}

// checkTicket answers POST /approvals/{ticket}/check: the page with the fields
// as typed. It decides nothing.
func (s *Server) checkTicket(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[decisionForm](r)
	if _, typed := err.(apperr.List); err != nil && !typed {
		return err
	}
	t, ticketErr := s.ticket(r)
	if ticketErr != nil {
		return ticketErr
	}
	was := unchanged(t)
	switch form.Undo {
	case "template":
		form.Template = was.Template
	case "size":
		form.Size = was.Size
	case "count":
		form.Count = was.Count
	case "disk":
		form.Disk = was.Disk
	}
	return s.ticketPage(w, r, t, form, err)
}

// decideTicket answers POST /approvals/{ticket}.
func (s *Server) decideTicket(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[decisionForm](r)
	t, ticketErr := s.ticket(r)
	if ticketErr != nil {
		return ticketErr
	}
	switch {
	case err != nil:
	case form.Do != "approve" && form.Do != "reject":
		return s.ticketPage(w, r, t, form, nil) // Enter in a field decides nothing
	default:
		err = s.Approval.Decide(r.Context(), actor(r), t.Number, form.decision())
	}
	if err != nil {
		if t, ticketErr = s.ticket(r); ticketErr != nil { // as it is now
			return ticketErr
		}
		return s.ticketPage(w, r, t, form, err)
	}
	ctx := r.Context()
	f := views.Flash{
		Kind: string(ui.OK), Title: i18n.T(ctx, "{ticket} is approved", "ticket", domain.TicketName(t.Number)), Text: i18n.T(ctx, "Shepherd carries it out."),
		Href: paths.Request(t.Number), Link: i18n.T(ctx, "Show request"),
	}
	if form.Do == "reject" {
		f.Title, f.Text = i18n.T(ctx, "{ticket} is rejected", "ticket", domain.TicketName(t.Number)), i18n.T(ctx, "{name} sees your reason.", "name", t.Requester)
	}
	s.flashLink(r, f)
	return s.redirect(w, r, paths.Approvals)
}

// ticketPage draws a ticket: to decide it, with what is wrong, or as somebody
// else decided it meanwhile.
func (s *Server) ticketPage(w http.ResponseWriter, r *http.Request, t approval.Ticket, form decisionForm, err error) error {
	waits := !t.Status.Decided()
	if waits && !t.Own && t.Refusal != nil {
		return t.Refusal
	}
	var conflict *views.ConflictView
	if e, ok := apperr.From(err); ok && !waits && e.Kind() == apperr.Conflict {
		m := message(r, apperr.ErrAlreadyDecided, with(e.Params, "ticket", domain.TicketName(t.Number)))
		conflict, err = &views.ConflictView{What: i18n.Join(m.What, m.Why), Quote: t.DecisionReason}, nil
	}
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	options, err := s.Approval.Options(r.Context(), actor(r))
	if err != nil {
		return err
	}
	v := s.ticketView(r, t, form, options)
	v.Errors, v.Conflict = errs, conflict
	switch {
	case conflict != nil:
		v.Mode, status = views.TicketConflict, http.StatusConflict
	case !waits:
		v.Mode = views.TicketDecided
	case t.Own:
		v.Mode = views.TicketOwn
	default:
		v.Mode = views.TicketOpen
		v.Version, v.SpecHash = t.Version, t.SpecHash
	}
	sh, err := s.shell(r, domain.TicketName(t.Number), "approvals")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.Ticket(sh, v))
}

func (s *Server) ticketView(r *http.Request, t approval.Ticket, form decisionForm, o approval.Options) views.TicketView {
	ctx := r.Context()
	v := views.TicketView{
		MayPack: mayExport(r, t.Row),
		Number:  t.Number, Operation: t.Operation, What: t.Title, Environment: t.Environment, System: t.System, Service: t.Service,
		Requester: t.Requester, Since: t.CreatedAt, Status: views.TicketState(t.Status), Reason: t.Reason, Answer: form.Reason,
		Policy: policyText(ctx, t.Policy, t.Operation, t.Environment, true), Decision: decisionView(ctx, t.Row), CanWithdraw: t.MayWithdraw,
		RequesterFacts: []views.Fact{
			{Label: i18n.T(ctx, "Last 90 days"), Value: i18n.T(ctx, "{asked} asked, {approved} approved", "asked", t.Facts.Asked, "approved", t.Facts.Approved)},
			{Label: i18n.T(ctx, "VMs now"), Value: strconv.Itoa(t.Facts.VMs)},
		},
	}
	if t.Place > 0 {
		v.Place = i18n.T(ctx, "{place} of {n}", "place", t.Place, "n", t.Of)
	}
	if t.Prev > 0 {
		v.PrevHref = paths.Approval(t.Prev)
	}
	if t.Next > 0 {
		v.NextHref = paths.Approval(t.Next)
	}
	for _, p := range t.Deciders {
		v.Deciders = append(v.Deciders, views.DeciderView{Name: p.Username, Why: i18n.T(ctx, "may approve in {environment}", "environment", ui.EnvName(ctx, string(t.Environment)))})
	}
	if t.Own {
		v.Deciders = append(v.Deciders, views.DeciderView{Name: actor(r).Username, Why: i18n.T(ctx, "you asked for it"), Locked: true})
	}
	if t.Operation != domain.OpCreate {
		v.Target = targetView(r, t)
		v.Checks = targetChecks(r, t)
		return v
	}
	v.Spec = specFields(ctx, t, form, o)
	v.NeedsCluster = true
	fits, demand := 0, demandOf(t, form, o)
	for _, c := range t.Clusters {
		choice := views.ClusterChoice{ID: c.ID, Name: c.Name, Text: candidateText(r, c), Fits: c.Refusal == nil, Selected: c.ID == form.Cluster}
		if choice.Fits {
			fits++
			choice.Room = roomView(ctx, t.Rooms, c.ID, demand)
			choice.Warn = choice.Room != nil && len(choice.Room.Short) > 0
		}
		v.Clusters = append(v.Clusters, choice)
	}
	if t.Status.Decided() {
		v.NeedsCluster = t.Cluster != ""
		v.Clusters = []views.ClusterChoice{{ID: t.ClusterID, Name: t.Cluster, Text: i18n.T(ctx, "chosen"), Fits: true, Selected: true}}
		return v
	}
	check := views.CheckView{State: domain.CheckOK, Title: i18n.TN(ctx, len(t.Clusters), "{fit} of {n} cluster can take it", "{fit} of {n} clusters can take it", "fit", fits)}
	if fits == 0 {
		check.State = domain.CheckFailed
	}
	v.Checks = append(v.Checks, check)
	for _, c := range v.Clusters {
		if c.Selected && c.Warn {
			v.Checks = append(v.Checks, views.CheckView{State: domain.CheckWarn, Title: i18n.T(ctx, "The quota on {cluster} is too small for it", "cluster", c.Name)})
		}
	}
	return v
}

// demandOf is what the VMs of a creation are to have by the form. What was typed
// may be anything, so it is kept in bounds.
func demandOf(t approval.Ticket, form decisionForm, o approval.Options) domain.Demand {
	const maxDisk = 1 << 20 // GiB
	cpu, memory := t.Asked.Spec.CPU, t.Asked.Spec.MemoryMiB
	for _, z := range o.Sizes {
		if z.ID == form.Size {
			cpu, memory = z.CPU, z.MemoryMiB
		}
	}
	n := min(max(form.Count.Value, 0), approval.MaxCount)
	return domain.Demand{VMs: n, CPU: n * cpu, MemoryMiB: n * memory, DiskGiB: n * min(max(form.Disk.Value, 0), maxDisk)}
}

// specFields are the fields of a creation: as asked, and as it will be.
func specFields(ctx context.Context, t approval.Ticket, form decisionForm, o approval.Options) []views.SpecField {
	asked := t.Asked.Spec
	template := views.SpecField{Name: "template", Label: i18n.T(ctx, "Template"), Asked: templateText(ctx, asked), Value: form.Template, Changed: form.Template != asked.TemplateID}
	for _, x := range o.Templates {
		template.Options = append(template.Options, ui.Option{
			Value: x.ID, Label: templateVersion(ctx, x.Name, x.Version), Selected: x.ID == form.Template,
		})
	}
	template.Options = keepAsked(ctx, template.Options, asked.TemplateID, templateText(ctx, asked), form.Template)
	size := views.SpecField{Name: "size", Label: i18n.T(ctx, "Size"), Asked: sizeText(ctx, asked), Value: form.Size, Changed: form.Size != asked.SizeID}
	for _, x := range o.Sizes {
		size.Options = append(size.Options, ui.Option{
			Value: x.ID, Label: sizeText(ctx, domain.ChangeableSpec{Size: x.Name, CPU: x.CPU, MemoryMiB: x.MemoryMiB}), Selected: x.ID == form.Size,
		})
	}
	size.Options = keepAsked(ctx, size.Options, asked.SizeID, sizeText(ctx, asked), form.Size)
	return []views.SpecField{
		template, size,
		{Name: "count", Label: i18n.T(ctx, "VMs"), Asked: strconv.Itoa(asked.Count), Value: form.Count.Text, Changed: form.Count.Text != strconv.Itoa(asked.Count)},
		{Name: "disk", Label: i18n.T(ctx, "Disk"), Asked: ui.GiB(asked.DiskGiB * 1024), Value: form.Disk.Text, Unit: "GiB", Changed: form.Disk.Text != strconv.Itoa(asked.DiskGiB)},
		{Label: i18n.T(ctx, "Namespace"), Asked: t.Asked.Namespace},
		{Label: i18n.T(ctx, "SSH keys"), Asked: sshText(ctx, t.Asked.SSHKeys)},
	}
}

// keepAsked shows what was asked for also when it is not offered any more.
func keepAsked(ctx context.Context, options []ui.Option, id, label, chosen string) []ui.Option {
	if slices.ContainsFunc(options, func(o ui.Option) bool { return o.Value == id }) {
		return options
	}
	return append(options, ui.Option{Value: id, Label: i18n.T(ctx, "{choice} (not offered any more)", "choice", label), Selected: id == chosen})
}

// effects say what a yes does to an existing VM.
var effects = map[domain.Operation]string{
	domain.OpDelete:  i18n.N("The VM and all its disks are deleted. That cannot be undone."),
	domain.OpStart:   i18n.N("The VM is started."),
	domain.OpStop:    i18n.N("The VM is shut down. Its disks are kept."),
	domain.OpRestart: i18n.N("The VM is shut down and started again."),
}

func targetView(r *http.Request, t approval.Ticket) *views.TargetView {
	m := t.Target
	if m == nil {
		return nil
	}
	ctx := r.Context()
	v := &views.TargetView{
		ID: m.ID, Name: m.Name, Status: vmStatus(ctx, m.State, m.Problem, "", nil), Sentence: problemText(r, m.Problem),
		Facts: []views.Fact{
			{Label: i18n.T(ctx, "Cluster"), Value: m.Cluster},
			{Label: i18n.T(ctx, "Namespace"), Value: m.Namespace, Mono: true},
			{Label: i18n.T(ctx, "Size"), Value: sizeText(ctx, domain.ChangeableSpec{Size: m.Size, CPU: m.CPU, MemoryMiB: m.MemoryMiB})},
			{Label: i18n.T(ctx, "Disk"), Value: ui.GiB(m.DiskGiB * 1024)},
			{Label: i18n.T(ctx, "Template"), Value: m.Template},
			{Label: i18n.T(ctx, "IP address"), Value: m.IP, Mono: true},
			{Label: i18n.T(ctx, "Owner"), Value: m.CreatedBy},
		},
	}
	if !t.Status.Decided() {
		v.Effect = i18n.T(ctx, effects[t.Operation])
	}
	return v
}

func targetChecks(r *http.Request, t approval.Ticket) []views.CheckView {
	switch {
	case t.Target == nil || t.Status.Decided():
		return nil
	case t.Target.Refusal != nil:
		m := message(r, t.Target.Refusal.Code, t.Target.Refusal.Params)
		return []views.CheckView{{State: domain.CheckFailed, Title: m.What}}
	}
	return []views.CheckView{{State: domain.CheckOK, Title: i18n.T(r.Context(), "Its state allows it")}}
}
