package handlers

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// Sizes of the lists at home.
const (
	homeRequests = 8
	homeServices = 10
	homeActivity = 12
	homeQueue    = 8
	failedSpan   = 24 * time.Hour
)

// showHome answers GET /: by what the person does here.
func (s *Server) showHome(w http.ResponseWriter, r *http.Request) error {
	if mayOn(r, domain.ClusterList) {
		return s.approverHome(w, r)
	}
	return s.developerHome(w, r)
}

func (s *Server) developerHome(w http.ResponseWriter, r *http.Request) error {
	ctx, a := r.Context(), actor(r)
	var v views.HomeView
	var err error
	if v.Attention, err = s.attention(r); err != nil {
		return err
	}
	mine, err := s.Approval.Requests(ctx, a, approval.RequestFilter{Mine: true}, approval.Page{Limit: 200})
	if err != nil {
		return err
	}
	v.AllRequests = len(mine.Items)
	for _, t := range mine.Items {
		if open := t.Status.Open() || t.Status == domain.TicketFailed; !open {
			continue
		}
		v.OpenRequests++
		if len(v.Requests) < homeRequests {
			v.Requests = append(v.Requests, homeRequest(ctx, t))
		}
	}
	if v.Services, err = s.serviceRows(r, service.Filter{Operable: true}, homeServices, true); err != nil {
		return err
	}
	v.HasServices = len(v.Services) > 0
	systems, err := s.Systems.List(ctx, a, listing.Page{Limit: shownServices})
	if err != nil {
		return err
	}
	for _, sys := range systems.Items {
		if may(r, domain.ServiceCreate, sys.ID, sys.Environment) {
			v.HasSystems, v.FirstSystem = true, sys.ID
			break
		}
	}
	if v.Namespaces, err = s.namespaceCount(r); err != nil {
		return err
	}
	if v.Activity, err = s.activity(r, audit.Filter{Actor: a.Username}); err != nil {
		return err
	}
	sh, err := s.shell(r, i18n.T(ctx, "Home"), "home")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Home(sh, v))
}

func homeRequest(ctx context.Context, t approval.Row) views.HomeRequest {
	return views.HomeRequest{
		Ticket: domain.TicketName(t.Number), Title: deed(ctx, t.Operation, t.Title), Href: paths.Request(t.Number),
		Service: t.System + " / " + t.Service, Env: string(t.Environment), Status: views.TicketState(t.Status), Steps: homeSteps(t.Status),
		WaitingFor: waitingFor(ctx, t.Status), Since: t.CreatedAt,
	}
}

// deed says what is done to what: "Create 2 × redis".
func deed(ctx context.Context, op domain.Operation, title string) string {
	return i18n.T(ctx, "{operation} {what}", "operation", i18n.T(ctx, views.OperationLabel(op)), "what", title)
}

// homeSteps are the four parts of a request: asked, decided, started, done.
func homeSteps(s domain.TicketStatus) []string {
	switch s {
	case domain.TicketSubmitted, domain.TicketPending:
		return []string{"done", "wait", "", ""}
	case domain.TicketApproved, domain.TicketExecuting:
		return []string{"done", "done", "now", ""}
	case domain.TicketFailed, domain.TicketNeedsAttention:
		return []string{"done", "done", "bad", ""}
	}
	return []string{"done", "done", "done", "done"}
}

func waitingFor(ctx context.Context, s domain.TicketStatus) string {
	switch s {
	case domain.TicketSubmitted, domain.TicketPending:
		return i18n.T(ctx, "an approver")
	case domain.TicketApproved, domain.TicketExecuting:
		return i18n.T(ctx, "the cluster")
	case domain.TicketFailed, domain.TicketNeedsAttention:
		return i18n.T(ctx, "you: look and retry")
	}
	return ""
}

// activity lists the last entries of the audit log that concern the reader.
func (s *Server) activity(r *http.Request, f audit.Filter) ([]views.HomeActivity, error) {
	list, err := s.Audit.List(r.Context(), actor(r), f, listing.Page{Limit: homeActivity})
	if err != nil {
		return nil, err
	}
	var rows []views.HomeActivity
	for _, e := range list.Items {
		rows = append(rows, activity(r, e))
	}
	return rows, nil
}

func (s *Server) approverHome(w http.ResponseWriter, r *http.Request) error {
	ctx, a := r.Context(), actor(r)
	var v views.ApproverHomeView
	if mayOn(r, domain.TicketQueue) {
		ages, err := s.Approval.Ages(ctx, a)
		if err != nil {
			return err
		}
		queue, err := s.Approval.Queue(ctx, a, approval.QueueFilter{}, approval.Page{Limit: homeQueue})
		if err != nil {
			return err
		}
		v.Queue = ages.All
		v.Stats = append(v.Stats, stat(ages.All, i18n.T(ctx, "requests wait"), ""), stat(ages.Over4+ages.Over7, i18n.T(ctx, "longer than 4 days"), ui.Warn))
		for _, t := range queue.Items {
			v.Oldest = append(v.Oldest, views.HomeTicket{
				Since: t.CreatedAt, Ticket: domain.TicketName(t.Number), Title: deed(ctx, t.Operation, t.Title),
				Href: paths.Approval(t.Number), Service: t.System + " / " + t.Service, Env: string(t.Environment), Requester: t.Requester, Own: t.Own,
			})
		}
	}
	failed, err := s.Approval.Requests(ctx, a, approval.RequestFilter{States: []domain.TicketStatus{domain.TicketFailed, domain.TicketNeedsAttention}}, approval.Page{})
	if err != nil {
		return err
	}
	for _, t := range failed.Items {
		at := t.CreatedAt
		if t.FinishedAt != nil {
			at = *t.FinishedAt
		}
		if t.Status == domain.TicketFailed && s.now().Sub(at) > failedSpan {
			continue
		}
		v.Failed = append(v.Failed, views.HomeFailure{
			At: at, What: deed(ctx, t.Operation, t.Title), Why: problemText(r, t.Problem), Action: i18n.T(ctx, "Show request"), Href: paths.Request(t.Number),
		})
	}
	clusters, err := s.Clusters.List(ctx, a, cluster.Page{})
	if err != nil {
		return err
	}
	vms, down := 0, 0
	for _, c := range clusters.Items {
		vms += c.VMs
		if c.Status != domain.ClusterHealthy {
			down++
		}
		row := clusterRow(r, c, 0)
		v.Clusters = append(v.Clusters, views.HomeCluster{
			Name: c.Name, Href: paths.Cluster(c.ID), Env: string(c.Environment), Status: views.ClusterState(c.Status), Text: row.Why, VMs: c.VMs,
		})
	}
	v.Stats = append(v.Stats, stat(len(v.Failed), i18n.T(ctx, "failed or stuck"), ui.Bad), stat(vms, i18n.T(ctx, "VMs"), ""),
		stat(down, i18n.T(ctx, "clusters not healthy"), ui.Bad))
	if mayOn(r, domain.ClusterCreate) {
		if v.Setup, err = s.setupSteps(r, len(clusters.Items) > 0); err != nil {
			return err
		}
	}
	if v.Activity, err = s.activity(r, audit.Filter{}); err != nil {
		return err
	}
	sh, err := s.shell(r, i18n.T(ctx, "Home"), "home")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.ApproverHome(sh, v))
}

// setupSteps are the steps that make a new platform ready for teams; nil when
// all are done.
func (s *Server) setupSteps(r *http.Request, hasCluster bool) ([]ui.ChecklistStep, error) {
	ctx, a := r.Context(), actor(r)
	namespaces, err := s.Clusters.Namespaces(ctx, a, cluster.Page{Limit: 1})
	if err != nil {
		return nil, err
	}
	template, size, err := s.Catalog.Offers(ctx)
	if err != nil {
		return nil, err
	}
	others, err := s.Accounts.HasOthers(ctx, a)
	if err != nil {
		return nil, err
	}
	steps := []ui.ChecklistStep{
		{
			Title: i18n.T(ctx, "Add a cluster"), Done: hasCluster, Action: i18n.T(ctx, "Add cluster"), Href: paths.NewCluster,
			Text: i18n.T(ctx, "Upload the kubeconfig of a cluster with KubeVirt, see what the checks say, confirm. It takes about two minutes."),
		},
		{
			Title: i18n.T(ctx, "Register a namespace"), Done: len(namespaces.Items) > 0, Action: i18n.T(ctx, "Register namespace"), Href: paths.NewNamespace,
			Text: i18n.T(ctx, "Where systems may live. Its environment, test or prod, decides how careful the rules are."),
		},
		{
			Title: i18n.T(ctx, "Publish a template"), Done: template,
			Action: i18n.T(ctx, "New template"), Href: paths.NewTemplate, Text: i18n.T(ctx, "A system image that people can ask for, with what it does at its first boot."),
		},
		{
			Title: i18n.T(ctx, "Publish a size"), Done: size,
			Action: i18n.T(ctx, "New size"), Href: paths.NewSize, Text: i18n.T(ctx, "A number of vCPU with memory and disk. Two or three are enough to begin with."),
		},
		{
			Title: i18n.T(ctx, "Invite people"), Done: others, Action: i18n.T(ctx, "Invite"), Href: paths.NewPerson,
			Text: i18n.T(ctx, "Developers need no role. Nobody decides about his own request, so a second approver keeps you moving."),
		},
	}
	if ui.AllDone(steps) {
		return nil, nil
	}
	return steps, nil
}

// stat is a number; it has a colour only when there is something to see.
func stat(n int, label string, role ui.Role) views.HomeStat {
	if n == 0 {
		role = ""
	}
	return views.HomeStat{Value: strconv.Itoa(n), Label: label, Role: role}
}
