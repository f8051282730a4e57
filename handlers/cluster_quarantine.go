package handlers

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// showQuarantine answers GET /clusters/{cluster}/quarantine.
func (s *Server) showQuarantine(w http.ResponseWriter, r *http.Request) error {
	c, err := s.Clusters.Get(r.Context(), actor(r), param(r, "cluster"))
	if err != nil {
		return err
	}
	return s.quarantine(w, r, c, nil)
}

// quarantine draws the page, with why nothing was accepted.
func (s *Server) quarantine(w http.ResponseWriter, r *http.Request, c cluster.Cluster, refused *apperr.AppError) error {
	v := views.QuarantineView{
		Self: r.URL.RequestURI(), ClusterID: c.ID, Cluster: c.Name, Environment: c.Environment, Since: c.QuarantinedAt,
		Foreign: c.Reason.Code == apperr.ErrClusterIdentity, CanAccept: mayOn(r, domain.ClusterAccept), Counts: map[domain.FindingGroup]int{},
	}
	status := http.StatusOK
	if refused != nil {
		m := message(r, refused.Code, refused.Params)
		status, v.Refused, v.Self = statusOf(refused), i18n.Join(m.What, m.Why), paths.ClusterQuarantine(c.ID)
	}
	if c.QuarantinedAt != nil {
		v.Why = *problemView(r, domain.Problem{Code: c.QuarantineReason.Code, Params: with(c.QuarantineReason.Params, "cluster", c.Name)})
		if at := c.QuarantineReport.ListedAt; !at.IsZero() {
			v.ListedAt = &at
		}
		if err := s.findings(r, c, &v); err != nil {
			return err
		}
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Quarantine of {name}", "name", c.Name), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.Quarantine(sh, v))
}

// findings adds the group that is asked for, or the first that is not empty.
func (s *Server) findings(r *http.Request, c cluster.Cluster, v *views.QuarantineView) error {
	for _, g := range domain.FindingGroups() {
		v.Counts[g] = c.QuarantineReport.Groups[g].Count
		if v.Group == "" && v.Counts[g] > 0 {
			v.Group = g
		}
	}
	after := ""
	if r.Method == http.MethodGet {
		after = r.URL.Query().Get("after")
		if g := domain.FindingGroup(r.URL.Query().Get("group")); slices.Contains(domain.FindingGroups(), g) {
			v.Group = g
		}
	}
	if v.Group == "" {
		return nil
	}
	list, err := s.VMs.Findings(r.Context(), actor(r), c.ID, v.Group, listing.Page{After: after})
	if err != nil {
		return err
	}
	for _, f := range list.Items {
		v.Rows = append(v.Rows, findingRow(r.Context(), f))
	}
	v.Pager = pager(r, "", list.Next)
	return nil
}

func findingRow(ctx context.Context, f vm.Finding) views.FindingRow {
	row := views.FindingRow{Namespace: f.Namespace, Name: f.Name, Before: observedText(ctx, f.Before), After: observedText(ctx, f.After)}
	if f.VMID != "" {
		row.Href = paths.VM(f.VMID)
	}
	switch f.Group {
	case domain.FindingGone:
		row.After = i18n.T(ctx, "Not there")
	case domain.FindingBack:
		if f.VMID == "" {
			row.Before = i18n.T(ctx, "Not known")
		}
	case domain.FindingChanged:
		row.Different = differentText(ctx, f.Before, f.After)
	}
	return row
}

// observedText is one side of a difference: "Running · 2 vCPU · 4 GiB · 20 GiB disk".
func observedText(ctx context.Context, o domain.Observed) string {
	var parts []string
	if o.State != "" {
		parts = append(parts, i18n.T(ctx, views.VMState(o.State).Label))
	}
	if o.CPU > 0 {
		parts = append(parts, i18n.T(ctx, "{n} vCPU", "n", o.CPU))
	}
	if o.MemoryMiB > 0 {
		parts = append(parts, i18n.T(ctx, "{size} memory", "size", ui.GiB(o.MemoryMiB)))
	}
	if o.DiskGiB > 0 {
		parts = append(parts, i18n.T(ctx, "{size} disk", "size", ui.GiB(o.DiskGiB*1024)))
	}
	return strings.Join(parts, " · ")
}

// differentText says what is different. A size that the cluster does not tell is
// not.
func differentText(ctx context.Context, before, after domain.Observed) []string {
	var list []string
	add := func(was, is int, text string) {
		if is != 0 && is != was {
			list = append(list, text)
		}
	}
	if before.UID != after.UID {
		list = append(list, i18n.T(ctx, "Another object of the same name"))
	}
	add(before.CPU, after.CPU, i18n.T(ctx, "vCPU: {before}, now {after}", "before", before.CPU, "after", after.CPU))
	add(before.MemoryMiB, after.MemoryMiB, i18n.T(ctx, "Memory: {before}, now {after}", "before", ui.GiB(before.MemoryMiB), "after", ui.GiB(after.MemoryMiB)))
	add(before.DiskGiB, after.DiskGiB, i18n.T(ctx, "Disk: {before}, now {after}", "before", ui.GiB(before.DiskGiB*1024), "after", ui.GiB(after.DiskGiB*1024)))
	if len(list) == 0 {
		list = append(list, i18n.T(ctx, "Older than what Shepherd has seen"))
	}
	return list
}

// readQuarantine answers POST /clusters/{cluster}/quarantine/read.
func (s *Server) readQuarantine(w http.ResponseWriter, r *http.Request) error {
	id := param(r, "cluster")
	if err := s.VMs.CompareQuarantine(r.Context(), actor(r), id); err != nil {
		return s.refuseAcceptance(w, r, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "Compared"), "")
	return s.redirect(w, r, paths.ClusterQuarantine(id))
}

// acceptForm accepts a group of findings as it was shown.
type acceptForm struct {
	Group  string `form:"group"`
	Digest string `form:"digest"`
	Reason string `form:"reason" label:"What happened, and why this is right" validate:"required,max=500"`
}

// askAcceptQuarantine answers GET /clusters/{cluster}/quarantine/accept.
func (s *Server) askAcceptQuarantine(w http.ResponseWriter, r *http.Request) error {
	form := restored(s, w, r, acceptForm{Group: r.URL.Query().Get("group")})
	return s.acceptPage(w, r, form, nil)
}

// acceptQuarantine answers POST /clusters/{cluster}/quarantine/accept.
func (s *Server) acceptQuarantine(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[acceptForm](r)
	ended := false
	if err == nil {
		ended, err = s.VMs.AcceptQuarantine(r.Context(), actor(r), param(r, "cluster"), vm.Acceptance{
			Group: domain.FindingGroup(form.Group), Digest: form.Digest, Reason: form.Reason,
		})
	}
	if err != nil {
		return s.acceptPage(w, r, form, err)
	}
	if ended {
		s.flash(r, ui.OK, i18n.T(r.Context(), "The quarantine has ended"), i18n.T(r.Context(), "What was approved for this cluster goes on."))
		return s.redirect(w, r, paths.Cluster(param(r, "cluster")))
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "Accepted"), i18n.T(r.Context(), "The quarantine goes on until the other groups are accepted."))
	return s.redirect(w, r, paths.ClusterQuarantine(param(r, "cluster")))
}

// acceptPage asks before a group is accepted, or says why it was not. What is no
// more there to be accepted leads to the page of the quarantine.
func (s *Server) acceptPage(w http.ResponseWriter, r *http.Request, form acceptForm, err error) error {
	c, getErr := s.Clusters.Get(r.Context(), actor(r), param(r, "cluster"))
	if getErr != nil {
		return getErr
	}
	group := domain.FindingGroup(form.Group)
	now, there := c.QuarantineReport.Groups[group]
	if group == "" {
		there = !c.QuarantineReport.ListedAt.IsZero() && c.QuarantineReport.Empty()
	}
	if c.QuarantinedAt == nil || c.Reason.Code == apperr.ErrClusterIdentity || !there {
		if err == nil {
			return s.redirect(w, r, paths.ClusterQuarantine(c.ID))
		}
		return s.refuseAcceptance(w, r, err)
	}
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Accept"), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.AcceptQuarantine(sh, views.AcceptQuarantineView{
		ClusterID: c.ID, Cluster: c.Name, Group: group, Count: now.Count, Digest: now.Digest, Reason: form.Reason,
		Last: group != "" && len(c.QuarantineReport.Groups) == 1, Errors: errs,
	}))
}

// refuseAcceptance draws the quarantine as it is now with the refusal. What is no
// conflict is no business of the page.
func (s *Server) refuseAcceptance(w http.ResponseWriter, r *http.Request, err error) error {
	e := classify(err)
	if e.Kind() != apperr.Conflict && e.Kind() != apperr.Unavailable {
		return err
	}
	c, getErr := s.Clusters.Get(r.Context(), actor(r), param(r, "cluster"))
	if getErr != nil {
		return getErr
	}
	return s.quarantine(w, r, c, e)
}
