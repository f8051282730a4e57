package handlers

import (
	"context"
	"net/http"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// listGroups answers GET /groups.
func (s *Server) listGroups(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Accounts.Groups(r.Context(), actor(r), listing.Page{After: r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	v := views.GroupsView{Pager: pager(r, "", list.Next)}
	for _, g := range list.Items {
		v.Rows = append(v.Rows, groupRow(r.Context(), g))
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Groups"), "people")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Groups(sh, v))
}

func groupRow(ctx context.Context, g account.Group) views.GroupRow {
	row := views.GroupRow{
		ID: g.ID, Name: g.Name, Description: g.Description, External: g.External, People: g.People, Systems: len(g.InSystems),
	}
	if len(g.Bindings) > 0 {
		row.RoleLabel = roleLabel(ctx, domain.Actor{Bindings: g.Bindings})
	}
	return row
}

type groupForm struct {
	Name        string `form:"name" label:"Name"`
	Description string `form:"description" label:"What it is for"`
	External    string `form:"external" label:"Claim"`
}

func (f groupForm) input() account.GroupInput {
	return account.GroupInput{Name: f.Name, Description: f.Description, External: f.External}
}

// newGroup answers GET /groups/new.
func (s *Server) newGroup(w http.ResponseWriter, r *http.Request) error {
	return s.groupForm(w, r, account.Group{}, restored(s, w, r, groupForm{}), nil)
}

// createGroup answers POST /groups.
func (s *Server) createGroup(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[groupForm](r)
	if err == nil {
		var id string
		if id, err = s.Accounts.CreateGroup(r.Context(), actor(r), form.input()); err == nil {
			s.flash(r, ui.OK, i18n.T(r.Context(), "The group {name} is made", "name", form.Name), i18n.T(r.Context(), "Now add people, and give it roles."))
			return s.redirect(w, r, paths.Group(id))
		}
	}
	return s.groupForm(w, r, account.Group{}, form, err)
}

// editGroup answers GET /groups/{group}/edit.
func (s *Server) editGroup(w http.ResponseWriter, r *http.Request) error {
	g, err := s.Accounts.Group(r.Context(), actor(r), param(r, "group"))
	if err != nil {
		return err
	}
	return s.groupForm(w, r, g, restored(s, w, r, groupForm{Name: g.Name, Description: g.Description, External: g.External}), nil)
}

// updateGroup answers POST /groups/{group}/edit.
func (s *Server) updateGroup(w http.ResponseWriter, r *http.Request) error {
	g, err := s.Accounts.Group(r.Context(), actor(r), param(r, "group"))
	if err != nil {
		return err
	}
	form, err := decode[groupForm](r)
	if err == nil {
		if err = s.Accounts.UpdateGroup(r.Context(), actor(r), g.ID, form.input()); err == nil {
			s.flash(r, ui.OK, i18n.T(r.Context(), "The group is changed"), "")
			return s.redirect(w, r, paths.Group(g.ID))
		}
	}
	return s.groupForm(w, r, g, form, err)
}

func (s *Server) groupForm(w http.ResponseWriter, r *http.Request, g account.Group, form groupForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	title := g.Name
	if g.ID == "" {
		title = i18n.T(r.Context(), "New group")
	}
	sh, err := s.shell(r, title, "people")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.GroupForm(sh, views.GroupFormView{
		ID: g.ID, Name: form.Name, Description: form.Description, External: form.External, Errors: errs,
	}))
}

// groupPageForm is what was typed into one of the two forms of a group's page.
type groupPageForm struct {
	User string `form:"user" label:"Account name"`
	Role string `form:"role" label:"Role"`
}

// groupMemberForm puts somebody into a group.
type groupMemberForm struct {
	User string `form:"user" label:"Account name" validate:"required"`
}

// showGroup answers GET /groups/{group}.
func (s *Server) showGroup(w http.ResponseWriter, r *http.Request) error {
	return s.groupPage(w, r, restored(s, w, r, groupPageForm{}), nil)
}

// addToGroup answers POST /groups/{group}/members.
func (s *Server) addToGroup(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[groupMemberForm](r)
	if err == nil {
		err = s.Accounts.AddToGroup(r.Context(), actor(r), param(r, "group"), form.User)
	}
	if err != nil {
		return s.groupPage(w, r, groupPageForm{User: form.User}, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is in the group", "name", form.User), "")
	return s.redirect(w, r, paths.Group(param(r, "group")))
}

// removeFromGroup answers POST /groups/{group}/members/{person}/remove.
func (s *Server) removeFromGroup(w http.ResponseWriter, r *http.Request) error {
	if err := s.Accounts.RemoveFromGroup(r.Context(), actor(r), param(r, "group"), param(r, "person")); err != nil {
		return s.groupPage(w, r, groupPageForm{}, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The person is out of the group"), i18n.T(r.Context(), "The roles that came from it end within a second."))
	return s.redirect(w, r, paths.Group(param(r, "group")))
}

// giveGroupRole answers POST /groups/{group}/roles.
func (s *Server) giveGroupRole(w http.ResponseWriter, r *http.Request) error {
	return s.changeGroupRole(w, r, s.Accounts.BindGroup, i18n.T(r.Context(), "The role is given"))
}

// removeGroupRole answers POST /groups/{group}/roles/remove.
func (s *Server) removeGroupRole(w http.ResponseWriter, r *http.Request) error {
	return s.changeGroupRole(w, r, s.Accounts.UnbindGroup, i18n.T(r.Context(), "The role is taken away"))
}

func (s *Server) changeGroupRole(w http.ResponseWriter, r *http.Request, change func(context.Context, domain.Actor, string, domain.Binding) error, title string) error {
	form, err := decode[roleForm](r)
	if err == nil {
		err = change(r.Context(), actor(r), param(r, "group"), bindingOf(form.Role))
	}
	if err != nil {
		return s.groupPage(w, r, groupPageForm{Role: form.Role}, err)
	}
	s.flash(r, ui.OK, title, "")
	return s.redirect(w, r, paths.Group(param(r, "group")))
}

func (s *Server) groupPage(w http.ResponseWriter, r *http.Request, form groupPageForm, err error) error {
	ctx := r.Context()
	g, groupErr := s.Accounts.Group(ctx, actor(r), param(r, "group"))
	if groupErr != nil {
		return groupErr
	}
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	members, err := s.Accounts.GroupMembers(ctx, actor(r), g.ID, listing.Page{After: r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	v := views.GroupView{Row: groupRow(ctx, g), Pager: pager(r, "", members.Next), User: form.User, Errors: errs}
	for _, m := range members.Items {
		row := views.GroupMemberRow{ID: m.ID, Username: m.Username, DisplayName: m.DisplayName, Disabled: m.Disabled}
		for _, source := range m.Sources {
			row.Local, row.Claimed = row.Local || source == domain.MemberLocal, row.Claimed || source == domain.MemberOIDC
		}
		v.Members = append(v.Members, row)
	}
	v.Roles, v.More = roleChoices(ctx, g.Bindings, form.Role)
	v.Systems = rolesInSystems(ctx, g.InSystems)
	sh, err := s.shell(r, g.Name, "people")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.GroupPage(sh, v))
}

// askDeleteGroup answers GET /groups/{group}/delete.
func (s *Server) askDeleteGroup(w http.ResponseWriter, r *http.Request) error {
	return s.groupDelete(w, r, nil)
}

// deleteGroup answers POST /groups/{group}/delete.
func (s *Server) deleteGroup(w http.ResponseWriter, r *http.Request) error {
	g, err := s.Accounts.Group(r.Context(), actor(r), param(r, "group"))
	if err != nil {
		return err
	}
	if err := s.Accounts.DeleteGroup(r.Context(), actor(r), g.ID); err != nil {
		return s.groupDelete(w, r, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The group {name} is deleted", "name", g.Name), "")
	return s.redirect(w, r, paths.Groups)
}

func (s *Server) groupDelete(w http.ResponseWriter, r *http.Request, err error) error {
	status, refused := http.StatusOK, ""
	if err != nil {
		e := classify(err)
		if e.Kind() != apperr.Conflict {
			return err
		}
		m := message(r, e.Code, e.Params)
		status, refused = statusOf(e), m.Text()
	}
	g, err := s.Accounts.Group(r.Context(), actor(r), param(r, "group"))
	if err != nil {
		return err
	}
	sh, err := s.shell(r, g.Name, "people")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.GroupDelete(sh, views.GroupDeleteView{Row: groupRow(r.Context(), g), Refused: refused}))
}
