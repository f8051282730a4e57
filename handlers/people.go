package handlers

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// listPeople answers GET /people, and with ?show=leavers those who have left
// something behind.
func (s *Server) listPeople(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	v := views.PeopleView{Leavers: q.Get("show") == "leavers"}
	read := s.Accounts.People
	if v.Leavers {
		read = s.Accounts.Leavers
	}
	list, err := read(r.Context(), actor(r), listing.Page{After: q.Get("after")})
	if err != nil {
		return err
	}
	v.Pager = pager(r, "", list.Next)
	for _, m := range list.Items {
		v.Rows = append(v.Rows, personRow(r, m))
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "People"), "people")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.People(sh, v))
}

func personRow(r *http.Request, m account.Member) views.PersonRow {
	return views.PersonRow{
		ID: m.ID, Username: m.Username, DisplayName: m.DisplayName, RoleLabel: roleLabel(r.Context(), domain.Actor{Bindings: m.Bindings}),
		Systems: systemsOf(m.InSystems), Self: m.ID == actor(r).UserID, Invited: m.Invited, Disabled: m.Disabled, LastSignInAt: m.LastSignInAt,
	}
}

type personForm struct {
	Username    string `form:"username" label:"Account name"`
	DisplayName string `form:"display_name" label:"Name"`
	Role        string `form:"role" label:"Role"`
}

// bindings are the role of the form. Everybody has the rights of a developer,
// so that is no role.
func (f personForm) bindings() []domain.Binding {
	if f.Role == "" {
		return nil
	}
	return []domain.Binding{bindingOf(f.Role)}
}

// systemsOf counts the systems of some roles, each once.
func systemsOf(list []account.SystemRole) int {
	ids := map[string]bool{}
	for _, b := range list {
		ids[b.SystemID] = true
	}
	return len(ids)
}

// roleOptions are the roles that do not belong to one system, as bindingOf reads
// them: platform-wide, and in one environment.
func roleOptions(ctx context.Context, chosen string) []ui.Option {
	list := []ui.Option{
		{Value: "approver", Label: i18n.T(ctx, "Approver, test and prod")},
		{Value: "auditor", Label: i18n.T(ctx, "Auditor: reads everything")},
		{Value: "admin", Label: i18n.T(ctx, "Platform admin: clusters, templates, people")},
	}
	for _, role := range []domain.Role{domain.RoleApprover, domain.RoleAuditor, domain.RoleViewer, domain.RoleMaintainer, domain.RoleOwner, domain.RoleAdmin} {
		for _, e := range domain.Environments() {
			b := domain.Binding{Role: role, Environment: e}
			list = append(list, ui.Option{Value: bindingValue(b), Label: roleLabel(ctx, domain.Actor{Bindings: []domain.Binding{b}})})
		}
	}
	for i := range list {
		list[i].Selected = list[i].Value == chosen
	}
	return list
}

// roleChoices are the roles that somebody has himself, and those that can be
// given on top.
func roleChoices(ctx context.Context, own []domain.Binding, chosen string) (has, more []ui.Option) {
	for _, b := range own {
		if b.Via == "" {
			has = append(has, ui.Option{Value: bindingValue(b), Label: roleLabel(ctx, domain.Actor{Bindings: []domain.Binding{b}})})
		}
	}
	for _, o := range roleOptions(ctx, chosen) {
		if !slices.ContainsFunc(has, func(h ui.Option) bool { return h.Value == o.Value }) {
			more = append(more, o)
		}
	}
	return has, more
}

// bindingOf reads a role as forms send it: its name and, after a colon, an
// environment.
func bindingOf(role string) domain.Binding {
	name, env, _ := strings.Cut(role, ":")
	return domain.Binding{Role: domain.Role(name), Environment: domain.Environment(env)}
}

// bindingValue is what bindingOf reads.
func bindingValue(b domain.Binding) string {
	if b.Environment == "" {
		return string(b.Role)
	}
	return string(b.Role) + ":" + string(b.Environment)
}

// newPerson answers GET /people/new.
func (s *Server) newPerson(w http.ResponseWriter, r *http.Request) error {
	return s.personForm(w, r, restored(s, w, r, personForm{}), nil)
}

// invitePerson answers POST /people.
func (s *Server) invitePerson(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[personForm](r)
	if err != nil {
		return s.personForm(w, r, form, err)
	}
	p, token, err := s.Accounts.Invite(r.Context(), actor(r), account.NewUser{
		Username: form.Username, DisplayName: form.DisplayName, Bindings: form.bindings(),
	})
	if err != nil {
		return s.personForm(w, r, form, err)
	}
	return s.personLink(w, r, p, token)
}

// newPersonLink answers POST /people/{person}/link.
func (s *Server) newPersonLink(w http.ResponseWriter, r *http.Request) error {
	p, token, err := s.Accounts.NewLink(r.Context(), actor(r), param(r, "person"))
	if err != nil {
		return err
	}
	return s.personLink(w, r, p, token)
}

// personLink answers with the page itself and not with a redirect to it: the
// link is a secret, so it is kept nowhere until a second request.
func (s *Server) personLink(w http.ResponseWriter, r *http.Request, p account.Person, token string) error {
	sh, err := s.shell(r, i18n.T(r.Context(), "A link for {name}", "name", p.Username), "people")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.PersonLink(sh, views.PersonLinkView{
		Name: p.Username, Link: s.PublicURL + paths.Setup(token), Days: int(account.InviteLifetime / (24 * time.Hour)),
	}))
}

func (s *Server) personForm(w http.ResponseWriter, r *http.Request, form personForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	v := views.PersonFormView{Username: form.Username, DisplayName: form.DisplayName, Errors: errs}
	v.Roles = append([]ui.Option{{Label: i18n.T(r.Context(), "Developer")}}, roleOptions(r.Context(), form.Role)...)
	sh, err := s.shell(r, i18n.T(r.Context(), "Invite somebody"), "people")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.PersonForm(sh, v))
}

type roleForm struct {
	Role string `form:"role" label:"Role" validate:"required"`
}

// showPerson answers GET /people/{person}.
func (s *Server) showPerson(w http.ResponseWriter, r *http.Request) error {
	return s.personPage(w, r, restored(s, w, r, roleForm{}), nil)
}

// giveRole answers POST /people/{person}.
func (s *Server) giveRole(w http.ResponseWriter, r *http.Request) error {
	return s.changeRole(w, r, s.Accounts.Bind, i18n.T(r.Context(), "The role is given"), i18n.T(r.Context(), "It works with the next click of its owner."))
}

// removeRole answers POST /people/{person}/remove.
func (s *Server) removeRole(w http.ResponseWriter, r *http.Request) error {
	return s.changeRole(w, r, s.Accounts.Unbind, i18n.T(r.Context(), "The role is taken away"), "")
}

func (s *Server) changeRole(w http.ResponseWriter, r *http.Request, change func(context.Context, domain.Actor, string, domain.Binding) error, title, text string) error {
	form, err := decode[roleForm](r)
	if err == nil {
		err = change(r.Context(), actor(r), param(r, "person"), bindingOf(form.Role))
	}
	if err != nil {
		return s.personPage(w, r, form, err)
	}
	s.flash(r, ui.OK, title, text)
	return s.redirect(w, r, paths.Person(param(r, "person")))
}

func (s *Server) personPage(w http.ResponseWriter, r *http.Request, form roleForm, err error) error {
	m, memberErr := s.Accounts.Member(r.Context(), actor(r), param(r, "person"))
	if memberErr != nil {
		return memberErr
	}
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	ctx := r.Context()
	v := views.PersonView{Row: personRow(r, m), Errors: errs, Systems: rolesInSystems(ctx, m.InSystems)}
	v.Roles, v.More = roleChoices(ctx, m.Bindings, form.Role)
	hrefs := map[string]string{}
	for _, g := range m.Groups {
		hrefs[g.Name] = paths.Group(g.ID)
		v.Groups = append(v.Groups, ui.Crumb{Label: g.Name, Href: hrefs[g.Name]})
	}
	for _, b := range m.Bindings {
		if b.Via != "" {
			v.ByGroup = append(v.ByGroup, views.RoleByGroup{Role: roleLabel(ctx, domain.Actor{Bindings: []domain.Binding{b}}), Via: b.Via, Href: hrefs[b.Via]})
		}
	}
	if v.Sessions, err = s.personSessions(r, m.ID); err != nil {
		return err
	}
	sh, err := s.shell(r, m.Username, "people")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.PersonPage(sh, v))
}

// endSessions answers POST /people/{person}/sign-out.
func (s *Server) endSessions(w http.ResponseWriter, r *http.Request) error {
	return s.changePerson(w, r, s.Accounts.EndSessions(r.Context(), actor(r), param(r, "person")), i18n.T(r.Context(), "All sessions are ended"))
}

// askDisable answers GET /people/{person}/disable: what the person would leave
// behind, or has.
func (s *Server) askDisable(w http.ResponseWriter, r *http.Request) error {
	return s.leaverPage(w, r, restored(s, w, r, handOverForm{}), nil)
}

// disablePerson answers POST /people/{person}/disable.
func (s *Server) disablePerson(w http.ResponseWriter, r *http.Request) error {
	if err := s.Accounts.SetDisabled(r.Context(), actor(r), param(r, "person"), true); err != nil {
		return s.leaverPage(w, r, handOverForm{}, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The account is disabled"), "")
	return s.redirect(w, r, paths.Person(param(r, "person")))
}

type handOverForm struct {
	To      string `form:"to" label:"New owner"`
	System  string `form:"system" label:"System"`
	Account string `form:"account" label:"Service account"`
}

// handOver answers POST /people/{person}/hand-over.
func (s *Server) handOver(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[handOverForm](r)
	var done account.HandedOver
	if err == nil {
		done, err = s.Accounts.HandOver(r.Context(), actor(r), param(r, "person"), account.Inheritance{SystemID: form.System, AccountID: form.Account}, form.To)
	}
	if err != nil {
		return s.leaverPage(w, r, form, err)
	}
	n := done.Systems + done.ServiceAccounts
	s.flash(r, ui.OK, i18n.TN(r.Context(), n, "{to} has taken over {n} thing", "{to} has taken over {n} things", "to", form.To), "")
	return s.redirect(w, r, paths.Disable(param(r, "person")))
}

func (s *Server) leaverPage(w http.ResponseWriter, r *http.Request, form handOverForm, err error) error {
	ctx := r.Context()
	m, memberErr := s.Accounts.Member(ctx, actor(r), param(r, "person"))
	if memberErr != nil {
		return memberErr
	}
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	left, err := s.Accounts.Leftovers(ctx, actor(r), m.ID)
	if err != nil {
		return err
	}
	v := views.LeaverView{PersonID: m.ID, Name: m.Username, Disabled: m.Disabled, To: form.To, Errors: errs, Systems: rolesInSystems(ctx, left.Systems)}
	v.Tokens = left.Tokens
	for _, u := range left.ServiceAccounts {
		v.Programs = append(v.Programs, views.LeaverProgram{ID: u.ID, Name: u.Username, Href: paths.ServiceAccount(u.ID)})
	}
	for _, t := range left.Tickets {
		v.Requests = append(v.Requests, views.LeaverRequest{
			Ticket: domain.TicketName(t.Number), Title: t.Title, Env: string(t.Environment), Href: paths.Request(t.Number), Status: views.TicketState(t.Status),
		})
	}
	for _, g := range left.Groups {
		v.Groups = append(v.Groups, ui.Crumb{Label: g.Name, Href: paths.Group(g.ID)})
	}
	sh, err := s.shell(r, i18n.T(ctx, "What {name} leaves behind", "name", m.Username), "people")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.Leaver(sh, v))
}

// enablePerson answers POST /people/{person}/enable.
func (s *Server) enablePerson(w http.ResponseWriter, r *http.Request) error {
	return s.changePerson(w, r, s.Accounts.SetDisabled(r.Context(), actor(r), param(r, "person"), false), i18n.T(r.Context(), "The account works again"))
}

// changePerson answers with the person's page: the new state, or why not.
func (s *Server) changePerson(w http.ResponseWriter, r *http.Request, err error, done string) error {
	if err != nil {
		return s.personPage(w, r, roleForm{}, err)
	}
	s.flash(r, ui.OK, done, "")
	return s.redirect(w, r, paths.Person(param(r, "person")))
}
