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
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// shortName is a VM's name inside its system: the service and the number.
func shortName(service string, instance int) string {
	return service + "-" + domain.InstanceLabel(instance)
}

// showVM answers GET /vms/{vm}.
func (s *Server) showVM(w http.ResponseWriter, r *http.Request) error {
	found, err := s.VMs.Get(r.Context(), actor(r), param(r, "vm"))
	if err != nil {
		return err
	}
	v := s.vmView(r, found)
	if v.Tree, err = s.tree(w, r, found.ID); err != nil {
		return err
	}
	sh, err := s.shell(r, found.Name, "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.VMPage(sh, v))
}

func (s *Server) vmView(r *http.Request, m vm.View) views.VMView {
	now := s.now()
	v := views.VMView{
		ID: m.ID, Name: m.Name, ShortName: shortName(m.Service, m.Instance), Env: string(m.Environment),
		SystemID: m.SystemID, System: m.System, ServiceID: m.ServiceID, Service: m.Service,
		Status: viewStatus(r.Context(), m), Stale: vmStale(m), Facts: vmFacts(r.Context(), m, now), Notice: vmNotice(r, m),
		CanDelete: m.CanOperate,
		IP:        m.IP, Cluster: m.Cluster, Node: m.Node, Namespace: m.Namespace, GuestOS: m.GuestOS, Started: m.StartedAt,
		CPU: m.CPU, MemoryMiB: m.MemoryMiB, Disks: vmDisks(r.Context(), m), Size: m.Size,
		Template: templateVersion(r.Context(), m.Template, m.TemplateVersion),
		Owner:    m.CreatedBy, CreatedAt: m.CreatedAt, Technical: m.Problem.Text,
		Checked: m.CreatedAt,
	}
	if m.ObservedAt != nil {
		v.Checked = *m.ObservedAt
	}
	if may(r, domain.ClusterRead, "", m.Environment) {
		v.ClusterHref = paths.Cluster(m.ClusterID)
	}
	if m.Ticket != 0 {
		v.Ticket, v.TicketHref = domain.TicketName(m.Ticket), paths.Request(m.Ticket)
	}
	if m.CanOperate {
		v.Power = powerActions(r.Context(), m)
	}
	for key, value := range domain.VMLabels(m.System, m.Service, m.Instance, m.Ticket) {
		v.Labels = append(v.Labels, key+"="+value)
	}
	slices.Sort(v.Labels)
	for _, rev := range m.Revisions {
		row := views.RevisionView{Number: rev.Number, At: rev.CreatedAt, By: rev.CreatedBy, What: specText(r.Context(), rev.Spec)}
		if rev.Ticket != 0 {
			row.Ticket, row.TicketHref = domain.TicketName(rev.Ticket), paths.Request(rev.Ticket)
		}
		v.Revisions = append(v.Revisions, row)
	}
	if n := len(m.Revisions); n > 0 {
		v.ApprovedBy = m.Revisions[n-1].CreatedBy
	}
	for _, e := range m.Events {
		v.Events = append(v.Events, vmEvent(r, e))
	}
	return v
}

// viewStatus is the state of a VM for its own pages.
func viewStatus(ctx context.Context, m vm.View) ui.StatusView {
	_, at := lastKnown(m)
	return vmStatus(ctx, m.State, m.Problem, m.LastKnown.Stale, at)
}

func lastKnown(m vm.View) (old bool, at *time.Time) {
	if !m.LastKnown.Since.IsZero() {
		at = &m.LastKnown.Since
	}
	return m.LastKnown.Stale && seenByCluster(m.State), at
}

// vmStale is the note about the VM's cluster, when that is not up to date.
func vmStale(m vm.View) []views.StaleView {
	old, at := lastKnown(m)
	if !old {
		return nil
	}
	return []views.StaleView{{Cluster: m.Cluster, Since: at, Off: m.ClusterOff}}
}

func vmFacts(ctx context.Context, m vm.View, now time.Time) string {
	facts := []string{m.Template, m.Size, m.Cluster}
	if m.StartedAt != nil && m.State.Health() == domain.HealthOK {
		facts = append(facts, i18n.T(ctx, "up {time}", "time", ui.Age(ctx, now.Sub(*m.StartedAt))))
	}
	return strings.Join(slices.DeleteFunc(facts, func(f string) bool { return f == "" }), " · ")
}

func vmDisks(ctx context.Context, m vm.View) []views.DiskView {
	d := views.DiskView{Name: "root", Kind: i18n.T(ctx, "System disk"), GiB: m.DiskGiB}
	if len(m.Revisions) > 0 {
		d.StorageClass = m.Revisions[0].Spec.StorageClass
	}
	return []views.DiskView{d}
}

// specText is a specification in a few words.
func specText(ctx context.Context, s domain.ChangeableSpec) string {
	return i18n.T(ctx, "{size}, {cpu} vCPU, {memory}, disk {disk}, from {template}",
		"size", s.Size, "cpu", s.CPU, "memory", ui.GiB(s.MemoryMiB), "disk", ui.GiB(s.DiskGiB*1024), "template", s.Template)
}

// vmNotice is the one thing that the reader should know first.
func vmNotice(r *http.Request, m vm.View) *views.VMNotice {
	ctx := r.Context()
	switch {
	case m.State == domain.StateDeleted:
		n := &views.VMNotice{Kind: "idle", Icon: "info", Title: i18n.T(ctx, "This VM was deleted"), Text: i18n.T(ctx, "Its page stays for the record.")}
		if m.DeletedAt != nil {
			n.Text = i18n.T(ctx, "It was deleted on {time}. Its page stays for the record.", "time", ui.Exact(*m.DeletedAt))
		}
		return n
	case !m.Problem.IsZero():
		e := message(r, m.Problem.Code, m.Problem.Params)
		n := &views.VMNotice{Kind: "warn", Icon: "triangle-alert", Title: e.What, Text: i18n.Message{Why: e.Why, Next: e.Next}.Text()}
		if m.State.Health() == domain.HealthBad {
			n.Kind, n.Icon = "bad", "circle-alert"
		}
		return n
	case m.Busy != nil && !m.Busy.Problem.IsZero():
		e := message(r, m.Busy.Problem.Code, m.Busy.Problem.Params)
		return &views.VMNotice{Kind: "wait", Icon: "clock", Title: eventTitle(ctx, *m.Busy), Text: e.Text()}
	case len(m.Waiting) > 0:
		t := m.Waiting[0]
		return &views.VMNotice{
			Kind: "wait", Icon: "clock", Title: i18n.T(ctx, "{name} asked to {operation} it", "name", t.Requester, "operation", lowerFirst(i18n.T(ctx, views.OperationLabel(t.Operation)))),
			Text: i18n.T(ctx, "{ticket} waits for a decision.", "ticket", domain.TicketName(t.Ticket)), Action: i18n.T(ctx, "Show request"), ActionHref: paths.Request(t.Ticket),
		}
	}
	return nil
}

// eventWords say how an order stands: on its way, done, not done.
var eventWords = map[domain.Operation][3]string{
	domain.OpCreate:  {i18n.N("Being created"), i18n.N("Created"), i18n.N("Could not be created")},
	domain.OpModify:  {i18n.N("Being changed"), i18n.N("Changed"), i18n.N("Could not be changed")},
	domain.OpDelete:  {i18n.N("Being deleted"), i18n.N("Deleted"), i18n.N("Could not be deleted")},
	domain.OpStart:   {i18n.N("Being started"), i18n.N("Started"), i18n.N("Could not be started")},
	domain.OpStop:    {i18n.N("Being stopped"), i18n.N("Stopped"), i18n.N("Could not be stopped")},
	domain.OpRestart: {i18n.N("Being restarted"), i18n.N("Restarted"), i18n.N("Could not be restarted")},
}

// asked says that an event is a request, not an order to the worker.
func asked(t domain.EventType) bool {
	return t == domain.EventVMCreationRequested || t == domain.EventVMDeletionRequested || t == domain.EventVMPowerRequested
}

func eventTitle(ctx context.Context, e vm.Event) string {
	if asked(e.Type) {
		return i18n.T(ctx, "{operation} requested", "operation", i18n.T(ctx, views.OperationLabel(e.Operation)))
	}
	words := eventWords[e.Operation]
	switch {
	case e.NeedsAttention:
		return needsAttention(ctx, words[0])
	case e.Status == domain.EventCompleted:
		return i18n.T(ctx, words[1])
	case e.Status == domain.EventFailed:
		return i18n.T(ctx, words[2])
	case e.Status == domain.EventCancelled:
		return i18n.T(ctx, "{operation} withdrawn", "operation", i18n.T(ctx, views.OperationLabel(e.Operation)))
	}
	return i18n.T(ctx, words[0])
}

func vmEvent(r *http.Request, e vm.Event) ui.TimelineItem {
	at := e.CreatedAt
	item := ui.TimelineItem{State: "busy", Title: eventTitle(r.Context(), e), By: e.CreatedBy, At: &at}
	if e.FinishedAt != nil {
		item.At = e.FinishedAt
	}
	switch {
	case e.NeedsAttention || e.Status == domain.EventFailed:
		item.State = "bad"
	case e.Status == domain.EventCompleted:
		item.State = "ok"
	case e.Status == domain.EventCancelled:
		item.State = "todo"
	case asked(e.Type):
		item.State = "wait"
	}
	var text []string
	if e.Ticket != 0 {
		text = append(text, domain.TicketName(e.Ticket))
	}
	if p := problemText(r, e.Problem); p != "" {
		text = append(text, p)
	}
	item.Text = strings.Join(text, i18n.T(r.Context(), ", "))
	return item
}

// powerActions are all operations; those that make no sense now say why.
func powerActions(ctx context.Context, m vm.View) []views.PowerAction {
	var list []views.PowerAction
	for _, op := range []domain.Operation{domain.OpStart, domain.OpRestart, domain.OpStop} {
		a := views.PowerAction{Op: op}
		switch {
		case m.Busy != nil:
			a.Refused = eventTitle(ctx, *m.Busy)
		case m.ClusterOff:
			a.Refused = i18n.T(ctx, "{cluster} is switched off", "cluster", m.Cluster)
		case m.ClusterStatus == domain.ClusterUnreachable:
			a.Refused = i18n.T(ctx, "{cluster} does not answer", "cluster", m.Cluster)
		case !m.State.CanPower(op):
			a.Refused = i18n.T(ctx, "It is {state}", "state", lowerFirst(i18n.T(ctx, views.VMState(m.State).Label)))
		case m.Environment == domain.Prod:
			a.Href = paths.Power(m.ID) + "?do=" + string(op)
		}
		list = append(list, a)
	}
	return list
}

// powerForm switches a VM. Confirmed is set by the page that asks first.
type powerForm struct {
	Do        string `form:"do" label:"Operation"`
	Confirmed bool   `form:"confirmed"`
	Reason    string `form:"reason" label:"Reason"`
}

// askPower answers GET /vms/{vm}/power?do=: it asks before a VM is switched.
func (s *Server) askPower(w http.ResponseWriter, r *http.Request) error {
	return s.powerPage(w, r, restored(s, w, r, powerForm{Do: r.URL.Query().Get("do")}), nil)
}

// power answers POST /vms/{vm}/power.
func (s *Server) power(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[powerForm](r)
	m, vmErr := s.VMs.Get(r.Context(), actor(r), param(r, "vm"))
	if vmErr != nil {
		return vmErr
	}
	op := domain.Operation(form.Do)
	switch {
	case err != nil:
	case m.Environment == domain.Prod && !form.Confirmed:
		return s.powerPage(w, r, form, nil) // prod is asked for once
	default:
		var done approval.Result
		if done, err = s.Approval.SubmitPower(r.Context(), actor(r), m.ID, op, form.Reason); err == nil {
			return s.operated(w, r, m, op, done)
		}
	}
	return s.powerPage(w, r, form, err)
}

// operated leads to what became of an operation on a VM.
func (s *Server) operated(w http.ResponseWriter, r *http.Request, m vm.View, op domain.Operation, done approval.Result) error {
	if done.Ticket != 0 {
		return s.redirect(w, r, paths.Request(done.Ticket))
	}
	s.flash(r, ui.Busy, i18n.T(r.Context(), "{name}: {state}", "name", m.Name, "state", lowerFirst(i18n.T(r.Context(), eventWords[op][0]))), "")
	return s.redirect(w, r, paths.VM(m.ID))
}

// powerPage asks, or says why it cannot be done.
func (s *Server) powerPage(w http.ResponseWriter, r *http.Request, form powerForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	m, err := s.VMs.Get(r.Context(), actor(r), param(r, "vm"))
	if err != nil {
		return err
	}
	op := domain.Operation(form.Do)
	switch {
	case !op.Power():
		return apperr.Field("do", apperr.ErrInvalidChoice)
	case !m.CanOperate:
		return apperr.New(apperr.ErrForbidden)
	}
	sh, err := s.shell(r, i18n.T(r.Context(), views.OperationLabel(op))+" "+m.Name, "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.PowerPage(sh, views.PowerView{
		ID: m.ID, Name: m.Name, Env: string(m.Environment), Op: op, Effect: i18n.T(r.Context(), effects[op]),
		NeedsApproval: needsApproval(m, op, errs), Reason: form.Reason, Errors: errs,
	}))
}

type deleteVMForm struct {
	Reason string `form:"reason" label:"Reason"`
	Typed  string `form:"typed" label:"Name"`
}

// askDeleteVM answers GET /vms/{vm}/delete.
func (s *Server) askDeleteVM(w http.ResponseWriter, r *http.Request) error {
	return s.deleteVMPage(w, r, restored(s, w, r, deleteVMForm{}), nil)
}

// deleteVM answers POST /vms/{vm}/delete.
func (s *Server) deleteVM(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[deleteVMForm](r)
	if err == nil {
		m, vmErr := s.VMs.Get(r.Context(), actor(r), param(r, "vm"))
		if vmErr != nil {
			return vmErr
		}
		var done approval.Result
		if done, err = s.Approval.SubmitDelete(r.Context(), actor(r), m.ID, form.Reason, form.Typed); err == nil {
			return s.operated(w, r, m, domain.OpDelete, done)
		}
	}
	return s.deleteVMPage(w, r, form, err)
}

func (s *Server) deleteVMPage(w http.ResponseWriter, r *http.Request, form deleteVMForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	m, err := s.VMs.Get(r.Context(), actor(r), param(r, "vm"))
	if err != nil {
		return err
	}
	if !m.CanOperate {
		return apperr.New(apperr.ErrForbidden)
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Delete {name}", "name", m.Name), "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.DeleteVMPage(sh, views.DeleteVMView{
		ID: m.ID, Name: m.Name, Env: string(m.Environment), Status: viewStatus(r.Context(), m),
		Disks: vmDisks(r.Context(), m), NeedsName: true, NeedsApproval: needsApproval(m, domain.OpDelete, errs), Reason: form.Reason, Typed: form.Typed, Errors: errs,
	}))
}

// needsApproval says whether somebody has to decide an operation: by the
// product's matrix, or because the use case has asked for a reason.
func needsApproval(m vm.View, op domain.Operation, errs []ui.FieldError) bool {
	return domain.NeedsApprovalByDefault(op, m.Environment) || ui.ErrorFor(errs, "reason") != ""
}
