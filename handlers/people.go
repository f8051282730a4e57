package handlers

import (
	"net/http"
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
		v.Rows = append(v.Rows, views.PersonRow{
			ID: m.ID, Username: m.Username, DisplayName: m.DisplayName, RoleLabel: roleLabel(domain.Actor{Bindings: m.Bindings}),
			Systems: m.Systems, Self: m.ID == actor(r).UserID, Invited: m.Invited, Disabled: m.Disabled, LastSignInAt: m.LastSignInAt,
		})
	}
	sh, err := s.shell(r, "People", "people")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.People(sh, v))
}

type personForm struct {
	Username    string `form:"username" label:"Account name"`
	DisplayName string `form:"display_name" label:"Name"`
	Role        string `form:"role" label:"Role"`
}

// bindings are the role of the form: its name and, after a colon, an environment.
// Everybody has the rights of a developer, so that is no role.
func (f personForm) bindings() []domain.Binding {
	if f.Role == "" {
		return nil
	}
	role, env, _ := strings.Cut(f.Role, ":")
	return []domain.Binding{{Role: domain.Role(role), Environment: domain.Environment(env)}}
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
	for _, o := range []ui.Option{
		{Value: "", Label: "Developer"},
		{Value: "approver:test", Label: "Approver, test"}, {Value: "approver:prod", Label: "Approver, prod"}, {Value: "approver", Label: "Approver, test and prod"},
		{Value: "auditor", Label: "Auditor: reads everything"}, {Value: "admin", Label: "Platform admin: clusters, templates, people"},
	} {
		o.Selected = o.Value == form.Role
		v.Roles = append(v.Roles, o)
	}
	sh, err := s.shell(r, "Invite somebody", "people")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.PersonForm(sh, v))
}
