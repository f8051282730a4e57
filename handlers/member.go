package handlers

import (
	"net/http"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
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
	return s.membersPage(w, r, sys, memberForm{Role: string(domain.RoleMaintainer)}, nil)
}

// ownSystem is the system of the address, for its owners: others are refused
// before anything is said about what they sent.
func (s *Server) ownSystem(r *http.Request) (system.System, error) {
	sys, err := s.Systems.Get(r.Context(), actor(r), param(r, "system"))
	if err == nil && !actor(r).OwnsSystem(sys.ID) {
		err = apperr.New(apperr.ErrForbidden)
	}
	return sys, err
}

// addMember answers POST /systems/{system}/members.
func (s *Server) addMember(w http.ResponseWriter, r *http.Request) error {
	sys, err := s.ownSystem(r)
	if err != nil {
		return err
	}
	form, err := decode[memberForm](r)
	if err == nil {
		err = s.Accounts.BindByName(r.Context(), actor(r), form.User, domain.Binding{Role: domain.Role(form.Role), SystemID: sys.ID})
	}
	if err != nil {
		return s.membersPage(w, r, sys, form, err)
	}
	s.flash(r, ui.OK, form.User+" is "+form.Role+" of "+sys.Name, "")
	return s.redirect(w, r, paths.Members(sys.ID))
}

type removeMemberForm struct {
	Role string `form:"role"`
}

// removeMember answers POST /systems/{system}/members/{person}/remove.
func (s *Server) removeMember(w http.ResponseWriter, r *http.Request) error {
	sys, err := s.ownSystem(r)
	if err != nil {
		return err
	}
	form, err := decode[removeMemberForm](r)
	if err == nil {
		err = s.Accounts.Unbind(r.Context(), actor(r), param(r, "person"), domain.Binding{Role: domain.Role(form.Role), SystemID: sys.ID})
	}
	if err != nil {
		return s.membersPage(w, r, sys, memberForm{}, err)
	}
	s.flash(r, ui.OK, "The role is taken away", "It ends with the next click of its owner.")
	if a, err := s.Accounts.Actor(r.Context(), actor(r).UserID, "", ""); err == nil && !a.SeesSystem(sys.ID, sys.Environment) {
		return s.redirect(w, r, paths.Explorer) // the person's own last role
	}
	return s.redirect(w, r, paths.Members(sys.ID))
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
		SystemID: sys.ID, System: sys.Name, Env: string(sys.Environment), CanChange: actor(r).OwnsSystem(sys.ID), User: form.User, Errors: errs,
	}
	for _, m := range members {
		v.Rows = append(v.Rows, views.MemberRow{
			ID: m.UserID, Username: m.Username, DisplayName: m.DisplayName, Role: string(m.Role), Via: m.Via, Self: m.UserID == actor(r).UserID,
		})
	}
	for _, o := range []ui.Option{
		{Value: string(domain.RoleMaintainer), Label: "Maintainer: makes services, asks for VMs, switches them"},
		{Value: string(domain.RoleViewer), Label: "Viewer: sees everything in it"},
		{Value: string(domain.RoleOwner), Label: "Owner: also changes members, documentation, and may delete it"},
	} {
		o.Selected = o.Value == form.Role
		v.Roles = append(v.Roles, o)
	}
	sh, err := s.shell(r, "Members of "+sys.Name, "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.Members(sh, v))
}
