package handlers

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views"
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
		User: views.UserView{Name: a.Username, RoleLabel: roleLabel(a), CanApprove: a.Approves(), IsAdmin: a.IsAdmin(), CanAudit: a.CanAudit()},
	}
	if !slices.Contains(framed, fragment(r)) {
		return sh, nil
	}
	if fragment(r) == "" {
		sh.Flash = s.takeFlash(r)
	}
	return sh, nil
}

// roleLabel says in a few words what a person may do.
func roleLabel(a domain.Actor) string {
	words := map[domain.Role]string{domain.RoleAdmin: "Platform admin", domain.RoleApprover: "Approver", domain.RoleAuditor: "Auditor"}
	for _, role := range domain.Roles() {
		var envs []string
		everywhere := false
		for _, b := range a.Bindings {
			if b.Role == role && b.SystemID == "" {
				everywhere = everywhere || b.Environment == ""
				envs = append(envs, string(b.Environment))
			}
		}
		switch {
		case everywhere:
			return words[role]
		case len(envs) > 0:
			slices.Sort(envs)
			return words[role] + ", " + strings.Join(slices.Compact(envs), " and ")
		}
	}
	return "Developer"
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
