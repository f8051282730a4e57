package handlers

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// framed are the fragments of the frame itself; for other fragments nobody
// sees the counts, so they are not read.
var framed = []string{"", "nav-approvals", "bell"}

// shell is the frame of a page.
func (s *Server) shell(r *http.Request, title, nav string) (views.Shell, error) {
	a := actor(r)
	sh := views.Shell{
		Title: title, Nav: nav, Theme: theme(r), Path: r.URL.RequestURI(), Now: s.now(), Version: s.Version,
		User: views.UserView{Name: a.Username, RoleLabel: roleLabel(r.Context(), a), CanApprove: a.Approves(), IsAdmin: a.IsAdmin(), CanAudit: mayOn(r, domain.AuditRead)},
	}
	if b := a.BreakGlass; b != nil {
		sh.BreakGlass = &views.BreakGlassView{Reason: b.Reason, Until: b.Until}
	}
	if s.Lockout != nil && a.IsAdmin() {
		sh.Lockout = lockoutView(r.Context(), *s.Lockout)
	}
	if !slices.Contains(framed, fragment(r)) {
		return sh, nil
	}
	var err error
	if sh.User.CanApprove {
		if sh.Approvals, err = s.Approval.PendingCount(r.Context(), a); err != nil {
			return sh, err
		}
	}
	if sh.Unread, err = s.Inbox.Unread(r.Context(), a); err != nil {
		return sh, err
	}
	if fragment(r) != "" {
		return sh, nil
	}
	if sh.Requests, err = s.Approval.OpenCount(r.Context(), a); err != nil {
		return sh, err
	}
	if sh.Systems, err = s.navSystems(r); err != nil {
		return sh, err
	}
	sh.Flash = s.takeFlash(r)
	return sh, nil
}

// shownSystems is how many systems the sidebar has room for.
const shownSystems = 8

// navSystems are the systems that the person is a member of.
func (s *Server) navSystems(r *http.Request) ([]views.NavSystem, error) {
	member := actor(r).Systems()
	if len(member) == 0 {
		return nil, nil
	}
	list, err := s.Systems.List(r.Context(), actor(r), listing.Page{Limit: shownServices})
	if err != nil {
		return nil, err
	}
	var rows []views.NavSystem
	for _, sys := range list.Items {
		if slices.Contains(member, sys.ID) && len(rows) < shownSystems {
			rows = append(rows, views.NavSystem{Name: sys.Name, Href: paths.System(sys.ID), Env: string(sys.Environment), VMs: sys.VMs})
		}
	}
	return rows, nil
}

// roleLabel says in a few words what a person may do.
func roleLabel(ctx context.Context, a domain.Actor) string {
	for _, role := range domain.Roles() {
		var envs []string
		everywhere := false
		for _, b := range a.Bindings {
			if b.Role == role && b.SystemID == "" {
				everywhere = everywhere || b.Environment == ""
				envs = append(envs, ui.EnvName(ctx, string(b.Environment)))
			}
		}
		switch {
		case everywhere:
			return roleWord(ctx, role)
		case len(envs) > 0:
			slices.Sort(envs)
			return i18n.T(ctx, "{role}, {environments}", "role", roleWord(ctx, role), "environments", slices.Compact(envs))
		}
	}
	return i18n.T(ctx, "Developer")
}

// pager is the foot of a keyset-paged list. The cursors say where the next page
// starts; the way back is to the first page.
func pager(r *http.Request, summary, next string) ui.PagerView {
	v := ui.PagerView{Summary: summary}
	q := r.URL.Query()
	if q.Get("after") != "" {
		v.NewerHref = withQuery(r.URL, "after", "")
	}
	if next != "" {
		v.OlderHref = withQuery(r.URL, "after", next)
	}
	return v
}

// withQuery is the page's address with one parameter changed, or removed when
// the value is empty.
func withQuery(u *url.URL, key, value string) string {
	q := u.Query()
	if value == "" {
		q.Del(key)
	} else {
		q.Set(key, value)
	}
	if len(q) == 0 {
		return u.Path
	}
	return u.Path + "?" + q.Encode()
}

// without is an address without some parameters.
func without(u *url.URL, keys ...string) *url.URL {
	c := *u
	q := u.Query()
	for _, key := range keys {
		q.Del(key)
	}
	c.RawQuery = q.Encode()
	return &c
}
