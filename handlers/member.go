package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

type memberForm struct {
	User string `form:"user" label:"Account name" validate:"required"`
	Role string `form:"role" label:"Role" validate:"required"`
}

// listMembers answers GET /systems/{system}/members.
func (s *Server) listMembers(w http.ResponseWriter, r *http.Request) error {
	sys, err := s.Systems.Get(r.Context(), actor(r), param(r, "system"))
	if err != nil {
		return err
	}
	return s.membersPage(w, r, sys, restored(s, w, r, memberForm{Role: string(domain.RoleMaintainer)}), nil)
}

// addMember answers POST /systems/{system}/members.
func (s *Server) addMember(w http.ResponseWriter, r *http.Request) error {
	sys, err := s.Systems.Get(r.Context(), actor(r), param(r, "system"))
	if err != nil {
		return err
	}
	form, err := decode[memberForm](r)
	if err == nil {
		role := domain.Binding{Role: domain.Role(form.Role), SystemID: sys.ID}
		if group, is := strings.CutPrefix(form.User, "group:"); is { // no account name has a colon
			err = s.Accounts.BindGroupByName(r.Context(), actor(r), group, role)
		} else {
			err = s.Accounts.BindByName(r.Context(), actor(r), form.User, role)
		}
	}
	if err != nil {
		return s.membersPage(w, r, sys, form, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is {role} of {system}", "name", form.User, "role", roleWord(r.Context(), domain.Role(form.Role)), "system", sys.Name), "")
	return s.redirect(w, r, paths.Members(sys.ID))
}

type removeMemberForm struct {
	Role string `form:"role"`
}

// removeMember answers POST /systems/{system}/members/{person}/remove.
func (s *Server) removeMember(w http.ResponseWriter, r *http.Request) error {
	return s.removeRoleIn(w, r, s.Accounts.Unbind, param(r, "person"))
}

// removeMemberGroup answers POST /systems/{system}/members/groups/{group}/remove.
func (s *Server) removeMemberGroup(w http.ResponseWriter, r *http.Request) error {
	return s.removeRoleIn(w, r, s.Accounts.UnbindGroup, param(r, "group"))
}

func (s *Server) removeRoleIn(w http.ResponseWriter, r *http.Request, take func(context.Context, domain.Actor, string, domain.Binding) error, from string) error {
	sys, err := s.Systems.Get(r.Context(), actor(r), param(r, "system"))
	if err != nil {
		return err
	}
	form, err := decode[removeMemberForm](r)
	if err == nil {
		err = take(r.Context(), actor(r), from, domain.Binding{Role: domain.Role(form.Role), SystemID: sys.ID})
	}
	if err != nil {
		return s.membersPage(w, r, sys, memberForm{}, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The role is taken away"), i18n.T(r.Context(), "It ends with the next click of its owner."))
	return s.toMembers(w, r, sys)
}

// toMembers leads to the members of a system, or away from it for somebody who
// has just taken his own last role.
func (s *Server) toMembers(w http.ResponseWriter, r *http.Request, sys system.System) error {
	a, err := s.Accounts.Actor(r.Context(), actor(r).UserID, "", "")
	if err == nil && !domain.Can(a, domain.SystemRead, domain.Object{SystemID: sys.ID, Environment: sys.Environment}) {
		return s.redirect(w, r, paths.Explorer)
	}
	return s.redirect(w, r, paths.Members(sys.ID))
}

type transferForm struct {
	From      string `form:"from" label:"Owner until now" validate:"required"`
	To        string `form:"to" label:"New owner" validate:"required"`
	Stays     string `form:"stays" label:"The owner until now"`
	Confirmed bool   `form:"confirmed"`
}

// askTransfer answers GET /systems/{system}/transfer.
func (s *Server) askTransfer(w http.ResponseWriter, r *http.Request) error {
	return s.transferPage(w, r, transferForm{From: actor(r).Username, Stays: "yes"}, nil)
}

// transfer answers POST /systems/{system}/transfer: it tries, asks once more,
// and does it when that was answered.
func (s *Server) transfer(w http.ResponseWriter, r *http.Request) error {
	sys, err := s.Systems.Get(r.Context(), actor(r), param(r, "system"))
	if err != nil {
		return err
	}
	form, err := decode[transferForm](r)
	if err == nil {
		ctx := r.Context()
		if !form.Confirmed {
			ctx = domain.WithDryRun(ctx) // so that what is confirmed can be done
		}
		err = s.Accounts.Transfer(ctx, actor(r), sys.ID, form.From, form.To, form.Stays != "no")
	}
	if err != nil {
		return s.transferPage(w, r, form, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is owner of {system}", "name", form.To, "system", sys.Name), "")
	return s.toMembers(w, r, sys)
}

func (s *Server) transferPage(w http.ResponseWriter, r *http.Request, form transferForm, err error) error {
	ctx := r.Context()
	v := views.TransferView{From: form.From, To: form.To, Stays: form.Stays != "no", Confirm: errors.Is(err, domain.ErrDryRun)}
	if v.Confirm {
		err = nil
	}
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	sys, err := s.Systems.Get(ctx, actor(r), param(r, "system"))
	if err != nil {
		return err
	}
	members, err := s.Systems.Members(ctx, actor(r), sys.ID)
	if err != nil {
		return err
	}
	v.SystemID, v.System, v.Env, v.Errors = sys.ID, sys.Name, string(sys.Environment), errs
	for _, m := range members {
		if m.Role == domain.RoleOwner && m.Via == "" {
			v.Owners = append(v.Owners, ui.Option{Value: m.Username, Label: m.Username, Selected: m.Username == form.From})
		}
	}
	sh, err := s.shell(r, i18n.T(ctx, "Transfer {name}", "name", sys.Name), "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.Transfer(sh, v))
}

func (s *Server) membersPage(w http.ResponseWriter, r *http.Request, sys system.System, form memberForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	members, err := s.Systems.Members(r.Context(), actor(r), sys.ID)
	if err != nil {
		return err
	}
	v := views.MembersView{
		SystemID: sys.ID, System: sys.Name, Env: string(sys.Environment), CanChange: may(r, domain.MemberCreate, sys.ID, sys.Environment), User: form.User, Errors: errs,
	}
	for _, m := range members {
		v.Rows = append(v.Rows, views.MemberRow{
			ID: m.UserID, Username: m.Username, DisplayName: m.DisplayName, Role: string(m.Role), RoleLabel: roleWord(r.Context(), m.Role),
			Via: m.Via, Self: m.UserID == actor(r).UserID,
		})
	}
	groups, err := s.Systems.Groups(r.Context(), actor(r), sys.ID)
	if err != nil {
		return err
	}
	for _, g := range groups {
		v.Groups = append(v.Groups, views.MemberGroup{ID: g.ID, Name: g.Name, Role: string(g.Role), RoleLabel: roleWord(r.Context(), g.Role)})
	}
	for _, o := range []ui.Option{
		{Value: string(domain.RoleMaintainer), Label: i18n.T(r.Context(), "Maintainer: makes services, asks for VMs, switches them")},
		{Value: string(domain.RoleViewer), Label: i18n.T(r.Context(), "Viewer: sees everything in it")},
		{Value: string(domain.RoleOwner), Label: i18n.T(r.Context(), "Owner: also changes members, documentation, and may delete it")},
	} {
		o.Selected = o.Value == form.Role
		v.Roles = append(v.Roles, o)
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Members of {system}", "system", sys.Name), "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.Members(sh, v))
}
