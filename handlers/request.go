package handlers

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// shownNames is how many future names a preview spells out.
const shownNames = 5

// requestForm asks for new VMs. What its answers must be, the use case says.
type requestForm struct {
	Service  string `form:"service" label:"Service"`
	Template string `form:"template" label:"Template"`
	Size     string `form:"size" label:"Size"`
	Count    number `form:"count" label:"Number of VMs"`
	Disk     number `form:"disk" label:"Disk"`
	SSHKeys  string `form:"ssh_keys" label:"SSH public keys"`
	Reason   string `form:"reason" label:"Reason"`
}

func (f requestForm) input() approval.Input {
	return approval.Input{
		ServiceID: f.Service, TemplateID: f.Template, SizeID: f.Size, Count: f.Count.Value, DiskGiB: f.Disk.Value,
		SSHKeys: strings.Split(f.SSHKeys, "\n"), Reason: f.Reason,
	}
}

// newRequest answers GET /requests/new: as the last one, for the named service.
func (s *Server) newRequest(w http.ResponseWriter, r *http.Request) error {
	form := requestForm{Service: r.URL.Query().Get("service"), Count: whole(1)}
	options, err := s.Approval.Options(r.Context(), actor(r))
	if err != nil {
		return err
	}
	last, from, err := s.Approval.LastAsked(r.Context(), actor(r), form.Service, options)
	if err != nil {
		return err
	}
	if from > 0 {
		form.Template, form.Size, form.Count, form.Disk = last.TemplateID, last.SizeID, whole(last.Count), whole(last.DiskGiB)
		form.SSHKeys = strings.Join(last.SSHKeys, "\n")
	}
	if kept := restored(s, w, r, form); kept != form {
		form, from = kept, 0
	}
	return s.drawRequest(w, r, options, form, from, nil)
}

// previewRequest answers POST /requests/preview: the form with what sending it
// would start. It keeps nothing and complains about nothing.
func (s *Server) previewRequest(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[requestForm](r)
	if _, typed := err.(apperr.List); err != nil && !typed {
		return err
	}
	return s.requestForm(w, r, form, nil)
}

// submitRequest answers POST /requests.
func (s *Server) submitRequest(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[requestForm](r)
	if err == nil {
		var number int
		number, err = s.Approval.SubmitCreate(r.Context(), actor(r), form.input())
		if err == nil {
			return s.redirect(w, r, paths.Request(number))
		}
	}
	return s.requestForm(w, r, form, err)
}

// requestForm draws the form as it was sent, to preview or refused.
func (s *Server) requestForm(w http.ResponseWriter, r *http.Request, form requestForm, err error) error {
	options, optionsErr := s.Approval.Options(r.Context(), actor(r))
	if optionsErr != nil {
		return optionsErr
	}
	return s.drawRequest(w, r, options, form, 0, err)
}

// drawRequest draws the form. from is the number of the request that it is
// filled in from, or 0.
func (s *Server) drawRequest(w http.ResponseWriter, r *http.Request, options approval.Options, form requestForm, from int, err error) error {
	if form.Disk.Text == "" && r.Method != post && len(options.Sizes) > 0 {
		form.Disk = whole(options.Sizes[0].DiskGiB)
	}
	p, previewErr := s.Approval.Preview(r.Context(), actor(r), form.input())
	if previewErr != nil {
		return previewErr
	}
	if typed := apperr.Fields(err); len(typed) > 0 {
		// What could not even be read hides nothing of the rest.
		for _, e := range p.Errors {
			if !slices.ContainsFunc(typed, func(t *apperr.AppError) bool { return t.Field() == e.Field() }) {
				typed = append(typed, e)
			}
		}
		err = typed
	}
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	v := views.RequestFormView{
		Values: views.RequestValues{
			Service: form.Service, Template: form.Template, Size: form.Size, Count: form.Count.Text, Disk: form.Disk.Text,
			SSHKeys: form.SSHKeys, Reason: form.Reason,
		},
		Errors: errs, Preview: previewView(r, form, p), MaxCount: approval.MaxCount, From: from,
	}
	if v.Services, err = s.serviceOptions(r, form.Service); err != nil {
		return err
	}
	for _, t := range options.Templates {
		v.Templates = append(v.Templates, views.PickView{Value: t.ID, Title: cmp.Or(t.DisplayName, t.Name), Text: t.Description, Note: t.Note})
	}
	for _, z := range options.Sizes {
		v.Sizes = append(v.Sizes, views.PickView{
			Value: z.ID, Title: z.Name, Text: i18n.T(r.Context(), "{cpu} vCPU, {memory}", "cpu", z.CPU, "memory", ui.GiB(z.MemoryMiB)) + "\n" +
				i18n.T(r.Context(), "{size} disk", "size", ui.GiB(z.DiskGiB*1024)),
		})
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Request VM"), "requests")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.RequestForm(sh, v))
}

func previewView(r *http.Request, form requestForm, p approval.Preview) views.RequestPreview {
	v := views.RequestPreview{
		Ready: p.Ready && !p.Denied, Environment: p.Environment, Namespace: p.Namespace, NeedsApproval: p.NeedsApproval,
		Policy: policyText(r.Context(), p.Policy, domain.OpCreate, p.Environment, p.NeedsApproval), Deciders: usernames(p.Deciders),
		Count: p.Count, Size: p.Size, CPU: p.CPU, MemoryMiB: p.MemoryMiB, DiskGiB: p.DiskGiB, Clusters: clusterFits(r, p),
	}
	v.Names = p.Names[:min(len(p.Names), shownNames)]
	v.MoreNames = len(p.Names) - len(v.Names)
	switch {
	case p.Denied:
		v.Missing = message(r, apperr.ErrPolicyDenied, map[string]any{"policy": p.Policy}).Text()
	case !p.Ready:
		v.Missing = missing(r, form, p.Errors)
	}
	return v
}

// missing says what the form still needs before it can be judged.
func missing(r *http.Request, form requestForm, wrong apperr.List) string {
	label := labels(r.Context(), form)
	var empty, bad []string
	for _, e := range wrong {
		switch name := label[e.Field()]; {
		case e.Field() == "reason":
		case e.Code == apperr.ErrRequired:
			empty = append(empty, lowerFirst(name))
		default:
			bad = append(bad, name+i18n.T(r.Context(), ": ")+i18n.Field(lang(r), e.Code, name, readable(r.Context(), e.Params)))
		}
	}
	if len(empty) > 0 {
		return i18n.T(r.Context(), "Still to choose: {fields}. Then this says who decides, what is created and where it fits.",
			"fields", strings.Join(empty, i18n.T(r.Context(), ", ")))
	}
	return strings.Join(bad, " ")
}

// clusterFits says which clusters can take a request, and why others cannot.
func clusterFits(r *http.Request, p approval.Preview) []views.ClusterFit {
	demand := domain.Demand{VMs: p.Count, CPU: p.CPU, MemoryMiB: p.MemoryMiB, DiskGiB: p.DiskGiB}
	var fits []views.ClusterFit
	for _, c := range p.Clusters {
		fit := views.ClusterFit{Name: c.Name, Fits: c.Refusal == nil, Reason: candidateText(r, c)}
		if fit.Fits {
			fit.Room = roomView(r.Context(), p.Rooms, c.ID, demand)
		}
		fits = append(fits, fit)
	}
	return fits
}

// candidateText is why a cluster can or cannot be chosen, beside its name.
func candidateText(r *http.Request, c cluster.Candidate) string {
	switch {
	case c.Refusal == nil:
		return i18n.TN(r.Context(), c.VMs, "healthy, {n} VM", "healthy, {n} VMs")
	case c.Refusal.Code == apperr.ErrEnvironmentMismatch:
		return i18n.T(r.Context(), "takes {environment} VMs only", "environment", ui.EnvName(r.Context(), string(c.Environment)))
	case c.Refusal.Code == apperr.ErrNamespaceMissing && c.Refusal.Params["presence"] != nil:
		return i18n.T(r.Context(), "the namespace {namespace} is gone from it", "namespace", c.Refusal.Params["namespace"])
	case c.Refusal.Code == apperr.ErrNamespaceMissing:
		return i18n.T(r.Context(), "the namespace {namespace} is not registered there", "namespace", c.Refusal.Params["namespace"])
	}
	params := with(c.Refusal.Params, "cluster", nil) // the name stands beside it
	return lowerFirst(i18n.Phrase(message(r, c.Refusal.Code, params).What))
}

// policyText says in a sentence what a policy wants. The policies of the
// product's matrix are told in words, others by their name.
func policyText(ctx context.Context, name string, op domain.Operation, e domain.Environment, needs bool) string {
	var text string
	switch {
	case needs && op.Power():
		text = i18n.T(ctx, "Switching a VM in {environment} needs one yes from somebody else.", "environment", ui.EnvName(ctx, string(e)))
	case needs && op == domain.OpDelete:
		text = i18n.T(ctx, "Deleting a VM needs one yes from somebody else.")
	case needs:
		text = i18n.T(ctx, "Every new VM needs one yes from somebody else.")
	default:
		text = i18n.T(ctx, "The rules of this environment allow it at once.")
	}
	if matrix := string(e) + "-" + strings.ToLower(string(op)); name == "" || name == matrix || name == "default" {
		return text
	}
	return i18n.Join(text, i18n.T(ctx, "Policy: {name}.", "name", name))
}

func usernames(people []account.Person) []string {
	names := make([]string, 0, len(people))
	for _, p := range people {
		names = append(names, p.Username)
	}
	return names
}

// requestStates are the segments of the list of requests.
var requestStates = []struct {
	value, label string
	states       []domain.TicketStatus
}{
	{"", i18n.N("All"), nil},
	{"waiting", i18n.N("Waiting"), []domain.TicketStatus{domain.TicketSubmitted, domain.TicketPending}},
	{"working", i18n.N("Under way"), []domain.TicketStatus{domain.TicketApproved, domain.TicketExecuting}},
	{"trouble", i18n.N("Failed"), []domain.TicketStatus{domain.TicketFailed, domain.TicketNeedsAttention}},
	{"done", i18n.N("Done"), []domain.TicketStatus{domain.TicketCompleted}},
	{"refused", i18n.N("Not done"), []domain.TicketStatus{domain.TicketRejected, domain.TicketCancelled, domain.TicketExpired}},
}

// listRequests answers GET /requests.
func (s *Server) listRequests(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	after, err := cursor(q.Get("after"))
	if err != nil {
		return err
	}
	all := q.Get("whose") == "all"
	f := approval.RequestFilter{Mine: !all}
	v := views.RequestsView{
		Self: r.URL.RequestURI(), All: all, Filtered: q.Get("state") != "",
		Scopes: []ui.Segment{
			{Label: i18n.T(r.Context(), "Mine"), Href: withQuery(r.URL, "whose", ""), Count: -1, Current: !all},
			{Label: i18n.T(r.Context(), "All that I see"), Href: withQuery(r.URL, "whose", "all"), Count: -1, Current: all},
		},
	}
	for _, st := range requestStates {
		current := q.Get("state") == st.value
		if current {
			f.States = st.states
		}
		v.States = append(v.States, ui.Segment{Label: i18n.T(r.Context(), st.label), Href: withQuery(without(r.URL, "after"), "state", st.value), Count: -1, Current: current})
	}
	list, err := s.Approval.Requests(r.Context(), actor(r), f, approval.Page{After: after})
	if err != nil {
		return err
	}
	for _, t := range list.Items {
		v.Rows = append(v.Rows, views.RequestRow{
			Number: t.Number, Operation: t.Operation, What: t.Title, System: t.System, Service: t.Service, Size: t.Size,
			Environment: t.Environment, Requester: t.Requester, State: t.Status, Status: views.TicketState(t.Status), SubmittedAt: t.CreatedAt,
		})
	}
	v.Pager = pager(r, "", cursorText(list.Next))
	sh, err := s.shell(r, i18n.T(r.Context(), "Requests"), "requests")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Requests(sh, v))
}

// cursor reads a cursor that is a number.
func cursor(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, apperr.Field("after", apperr.ErrInvalidChoice)
	}
	return int(n), nil
}

func cursorText(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// ticketNumber is the number of the address.
func ticketNumber(r *http.Request) (int, error) { return number32(param(r, "ticket")) }

// number32 reads a ticket's number; what is none names nothing.
func number32(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n <= 0 {
		return 0, apperr.New(apperr.ErrNotFound)
	}
	return int(n), nil
}

// showRequest answers GET /requests/{ticket}.
func (s *Server) showRequest(w http.ResponseWriter, r *http.Request) error {
	number, err := ticketNumber(r)
	if err != nil {
		return err
	}
	t, err := s.Approval.Request(r.Context(), actor(r), number)
	if err != nil {
		return err
	}
	sh, err := s.shell(r, domain.TicketName(number), "requests")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.RequestPage(sh, requestView(r, t)))
}

func requestView(r *http.Request, t approval.Request) views.RequestView {
	running, failed := 0, 0
	v := views.RequestView{
		Self: paths.Request(t.Number), Number: t.Number, Operation: t.Operation, What: t.Title, Environment: t.Environment,
		System: t.System, Service: t.Service, ServiceHref: paths.Service(t.ServiceID), Requester: t.Requester, Own: t.Own,
		SubmittedAt: t.CreatedAt, Spec: specLines(r.Context(), t), Approved: t.ClusterID != "",
		MayPack:     mayExport(r, t.Row),
		CanWithdraw: t.CanWithdraw, CanDecide: t.CanDecide, Waited: ui.Age(r.Context(), t.Waited),
	}
	if t.Worked > 0 {
		v.Worked = ui.Age(r.Context(), t.Worked)
	}
	for _, m := range t.VMs {
		if m.State == domain.StateRunning {
			running++
		}
		if m.Order == domain.EventFailed || m.NeedsAttention {
			failed++
		}
		v.VMs = append(v.VMs, requestVM(r, m))
	}
	v.Status = views.TicketState(t.Status)
	if t.Operation == domain.OpCreate {
		v.Status = creation(r.Context(), t.Status, len(t.VMs), running, failed)
	}
	v.Problem = requestProblem(r, t)
	for _, st := range t.Timeline {
		v.Timeline = append(v.Timeline, timelineItem(r, t, st))
	}
	v.Decision = decisionView(r.Context(), t.Row)
	return v
}

func decisionView(ctx context.Context, t approval.Row) *views.DecisionView {
	if t.Approver == "" || t.DecidedAt == nil {
		return nil
	}
	d := &views.DecisionView{By: decidedBy(ctx, t.Approver), Verb: i18n.N("approved"), Reason: t.DecisionReason, At: *t.DecidedAt}
	if t.Status == domain.TicketRejected {
		d.Verb = i18n.N("rejected")
	}
	return d
}

// decidedBy names who decided: a person, or the policy that did.
func decidedBy(ctx context.Context, approver string) string {
	if name, ok := strings.CutPrefix(approver, "policy:"); ok {
		return i18n.T(ctx, "Policy {name}", "name", name)
	}
	return approver
}

func requestVM(r *http.Request, m approval.Progress) views.RequestVM {
	v := views.RequestVM{ID: m.ID, Name: m.Name, Status: vmStatus(r.Context(), m.State, m.Problem, "", nil), Sentence: problemText(r, m.Problem)}
	if m.NeedsAttention {
		v.Status = ui.StatusView{Label: needsAttention(r.Context(), v.Status.Label), Role: ui.Warn, Glyph: "warn"}
	}
	return v
}

func specLines(ctx context.Context, t approval.Request) []views.SpecLine {
	lines := []views.SpecLine{{Label: i18n.T(ctx, "Namespace"), Asked: t.Namespace, Mono: true}}
	if t.Operation == domain.OpCreate {
		a, b := t.Asked.Spec, t.Spec.Spec
		lines = append(lines,
			views.SpecLine{Label: i18n.T(ctx, "Template"), Asked: templateText(ctx, a), Approved: templateText(ctx, b)},
			views.SpecLine{Label: i18n.T(ctx, "Size"), Asked: sizeText(ctx, a), Approved: sizeText(ctx, b)},
			views.SpecLine{Label: i18n.T(ctx, "VMs"), Asked: strconv.Itoa(a.Count), Approved: strconv.Itoa(b.Count)},
			views.SpecLine{Label: i18n.T(ctx, "Disk"), Asked: ui.GiB(a.DiskGiB * 1024), Approved: ui.GiB(b.DiskGiB * 1024)},
			views.SpecLine{Label: i18n.T(ctx, "SSH keys"), Asked: sshText(ctx, t.Asked.SSHKeys)},
		)
	}
	if t.Cluster != "" {
		lines = append(lines, views.SpecLine{Label: i18n.T(ctx, "Cluster"), Asked: t.Cluster})
	}
	return lines
}

func templateText(ctx context.Context, s domain.ChangeableSpec) string {
	return templateVersion(ctx, s.Template, s.Version)
}

func templateVersion(ctx context.Context, name string, version int) string {
	return i18n.T(ctx, "{name}, version {version}", "name", name, "version", version)
}

func sizeText(ctx context.Context, s domain.ChangeableSpec) string {
	return i18n.T(ctx, "{size}, {cpu} vCPU, {memory}", "size", s.Size, "cpu", s.CPU, "memory", ui.GiB(s.MemoryMiB))
}

// sshText names the keys by their comments; a key says nothing to a reader.
func sshText(ctx context.Context, keys []string) string {
	var names []string
	for _, k := range keys {
		name := i18n.T(ctx, "without a name")
		if f := strings.Fields(k); len(f) > 2 {
			name = strings.Join(f[2:], " ")
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return i18n.T(ctx, "none")
	}
	return strings.Join(names, i18n.T(ctx, ", "))
}

// requestProblem is why an approved request did not end well.
func requestProblem(r *http.Request, t approval.Request) *views.RequestProblem {
	if !t.Status.Retryable() {
		return nil
	}
	p := t.Problem
	for _, m := range t.VMs {
		if p.IsZero() && !m.Problem.IsZero() {
			p = m.Problem
		}
	}
	if p.IsZero() {
		p = domain.Problem{Code: apperr.ErrOperationStuck, Params: map[string]any{"ticket": domain.TicketName(t.Number)}}
	}
	m := message(r, p.Code, p.Params)
	v := &views.RequestProblem{What: m.What, Why: m.Why, Technical: p.Text, CanRetry: t.CanRetry}
	if m.Next != "" {
		v.Next = append(v.Next, m.Next)
	}
	return v
}

func timelineItem(r *http.Request, t approval.Request, st approval.Step) ui.TimelineItem {
	ctx := r.Context()
	item := ui.TimelineItem{State: "ok", At: st.At, By: st.By, Text: st.Reason}
	if st.At == nil {
		item.State = "todo"
	}
	switch st.Kind {
	case approval.StepSubmitted:
		item.Title, item.Icon = i18n.T(ctx, "Asked"), "file-pen-line"
	case approval.StepPolicy:
		item.State, item.Title, item.Text = "wait", i18n.T(ctx, "Needs one approval"), policyText(ctx, st.Policy, t.Operation, t.Environment, true)
	case approval.StepDecision:
		decisionItem(ctx, &item, t, st)
	case approval.StepWork:
		item.Title = workTitle(ctx, t)
		if t.Status == domain.TicketApproved || t.Status == domain.TicketExecuting {
			item.State = "busy"
		}
	case approval.StepEnd:
		item.Title = i18n.T(ctx, "Done")
		switch st.State {
		case domain.TicketFailed, domain.TicketNeedsAttention:
			item.State, item.Title, item.Text = "bad", i18n.T(ctx, views.TicketState(st.State).Label), problemText(r, t.Problem)
		}
	}
	return item
}

// changeWords are the fields that an approver can change, by their names in the
// use case.
var changeWords = map[string]string{
	"template": i18n.N("template"), "size": i18n.N("size"), "count": i18n.N("count"), "disk": i18n.N("disk"),
}

func decisionItem(ctx context.Context, item *ui.TimelineItem, t approval.Request, st approval.Step) {
	item.By = decidedBy(ctx, st.By)
	switch st.State {
	case domain.TicketRejected:
		item.State, item.Title = "bad", i18n.T(ctx, "Rejected")
	case domain.TicketCancelled:
		item.State, item.Title, item.Icon = "todo", i18n.T(ctx, "Withdrawn"), "undo-2"
	case domain.TicketExpired:
		item.State, item.Title, item.Icon = "todo", i18n.T(ctx, "Expired"), "clock"
	case "":
		item.State, item.Title, item.By = "todo", i18n.T(ctx, "Decision"), ""
		if names := usernames(t.Deciders); len(names) > 0 {
			item.Text = i18n.T(ctx, "{names} can decide", "names", strings.Join(names, i18n.T(ctx, " or ")))
		}
	default:
		item.Title = i18n.T(ctx, "Approved")
		if n := len(st.Changes); n > 0 {
			item.Title = i18n.TN(ctx, n, "Approved with {n} change", "Approved with {n} changes")
			var what []string
			for _, c := range st.Changes {
				what = append(what, i18n.T(ctx, "{field} {approved} instead of {asked}", "field", i18n.T(ctx, changeWords[c.Field]), "approved", c.Approved, "asked", c.Asked))
			}
			item.Text = strings.Join(what, i18n.T(ctx, ", "))
			if st.Reason != "" {
				item.Text += i18n.T(ctx, ". ") + st.Reason
			}
		}
	}
}

func workTitle(ctx context.Context, t approval.Request) string {
	switch t.Operation {
	case domain.OpCreate:
		if n := len(t.VMs); n > 1 {
			return i18n.TN(ctx, n, "Shepherd creates {n} VM", "Shepherd creates {n} VMs")
		}
		return i18n.T(ctx, "Shepherd creates the VM")
	case domain.OpDelete:
		return i18n.T(ctx, "Shepherd deletes the VM")
	}
	return i18n.T(ctx, "Shepherd carries it out")
}

// withdrawRequest answers POST /requests/{ticket}/withdraw.
func (s *Server) withdrawRequest(w http.ResponseWriter, r *http.Request) error {
	number, err := ticketNumber(r)
	if err != nil {
		return err
	}
	if err := s.Approval.Withdraw(r.Context(), actor(r), number); err != nil {
		return err
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "{ticket} is withdrawn", "ticket", domain.TicketName(number)), i18n.T(r.Context(), "Nothing was changed."))
	return s.redirect(w, r, paths.Request(number))
}

// retryRequest answers POST /requests/{ticket}/retry.
func (s *Server) retryRequest(w http.ResponseWriter, r *http.Request) error {
	number, err := ticketNumber(r)
	if err != nil {
		return err
	}
	if err := s.Approval.Retry(r.Context(), actor(r), number); err != nil {
		return err
	}
	s.flash(r, ui.Busy, i18n.T(r.Context(), "Shepherd tries again"), i18n.T(r.Context(), "The approval still holds."))
	return s.redirect(w, r, paths.Request(number))
}
