package handlers

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// listPeople answers GET /people.
func (s *Server) listPeople(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Accounts.People(r.Context(), actor(r), listing.Page{After: r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	v := views.PeopleView{Pager: pager(r, "", list.Next)}
	for _, m := range list.Items {
		v.Rows = append(v.Rows, personRow(r, m))
	}
	sh, err := s.shell(r, "People", "people")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.People(sh, v))
}

func personRow(r *http.Request, m account.Member) views.PersonRow {
	return views.PersonRow{
		ID: m.ID, Username: m.Username, DisplayName: m.DisplayName, RoleLabel: roleLabel(r.Context(), domain.Actor{Bindings: m.Bindings}),
		Systems: len(m.InSystems), Self: m.ID == actor(r).UserID, Invited: m.Invited, Disabled: m.Disabled, LastSignInAt: m.LastSignInAt,
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

// roleOptions are the roles that do not belong to a system, as bindingOf reads them.
func roleOptions(chosen string) []ui.Option {
	list := []ui.Option{
		{Value: "approver:test", Label: "Approver, test"}, {Value: "approver:prod", Label: "Approver, prod"}, {Value: "approver", Label: "Approver, test and prod"},
		{Value: "auditor", Label: "Auditor: reads everything"}, {Value: "admin", Label: "Platform admin: clusters, templates, people"},
	}
	for i := range list {
		list[i].Selected = list[i].Value == chosen
	}
	return list
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
	sh, err := s.shell(r, "A link for "+p.Username, "people")
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
	v.Roles = append([]ui.Option{{Label: "Developer"}}, roleOptions(form.Role)...)
	sh, err := s.shell(r, "Invite somebody", "people")
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
	return s.personPage(w, r, roleForm{}, nil)
}

// giveRole answers POST /people/{person}.
func (s *Server) giveRole(w http.ResponseWriter, r *http.Request) error {
	return s.changeRole(w, r, s.Accounts.Bind, "The role is given", "It works with the next click of its owner.")
}

// removeRole answers POST /people/{person}/remove.
func (s *Server) removeRole(w http.ResponseWriter, r *http.Request) error {
	return s.changeRole(w, r, s.Accounts.Unbind, "The role is taken away", "")
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
	v := views.PersonView{Row: personRow(r, m), Errors: errs}
	for _, b := range m.Bindings {
		if b.Via != "" {
			continue
		}
		v.Roles = append(v.Roles, ui.Option{Value: bindingValue(b), Label: roleLabel(r.Context(), domain.Actor{Bindings: []domain.Binding{b}})})
	}
	for _, o := range roleOptions(form.Role) {
		if !slices.ContainsFunc(v.Roles, func(has ui.Option) bool { return has.Value == o.Value }) {
			v.More = append(v.More, o)
		}
	}
	for _, b := range m.InSystems {
		v.Systems = append(v.Systems, views.RoleInSystem{Name: b.System, Env: string(b.Environment), Href: paths.System(b.SystemID), Role: string(b.Role)})
	}
	sh, err := s.shell(r, m.Username, "people")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.PersonPage(sh, v))
}

// endSessions answers POST /people/{person}/sign-out.
func (s *Server) endSessions(w http.ResponseWriter, r *http.Request) error {
	return s.changePerson(w, r, s.Accounts.EndSessions(r.Context(), actor(r), param(r, "person")), "All sessions are ended")
}

// disablePerson answers POST /people/{person}/disable.
func (s *Server) disablePerson(w http.ResponseWriter, r *http.Request) error {
	return s.changePerson(w, r, s.Accounts.SetDisabled(r.Context(), actor(r), param(r, "person"), true), "The account is disabled")
}

// enablePerson answers POST /people/{person}/enable.
func (s *Server) enablePerson(w http.ResponseWriter, r *http.Request) error {
	return s.changePerson(w, r, s.Accounts.SetDisabled(r.Context(), actor(r), param(r, "person"), false), "The account works again")
}

// changePerson answers with the person's page: the new state, or why not.
func (s *Server) changePerson(w http.ResponseWriter, r *http.Request, err error, done string) error {
	if err != nil {
		return s.personPage(w, r, roleForm{}, err)
	}
	s.flash(r, ui.OK, done, "")
	return s.redirect(w, r, paths.Person(param(r, "person")))
}
