package handlers

import (
	"net/http"

	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// showAccount answers GET /account.
func (s *Server) showAccount(w http.ResponseWriter, r *http.Request) error {
	return s.accountPage(w, r, nil)
}

// accountPage is the own account, and why the change of it was refused.
func (s *Server) accountPage(w http.ResponseWriter, r *http.Request, err error) error {
	errs, status, err := rejected(r, struct{}{}, err)
	if err != nil {
		return err
	}
	own, err := s.Accounts.Own(r.Context(), actor(r))
	if err != nil {
		return err
	}
	list, err := s.Accounts.Sessions(r.Context(), actor(r), actor(r).UserID)
	if err != nil {
		return err
	}
	a := actor(r)
	v := views.AccountView{
		Username: a.Username, DisplayName: a.DisplayName, RoleLabel: roleLabel(r.Context(), a), Sessions: len(list),
		HasPassword: own.HasPassword, Passwords: s.Accounts.Passwords.For(a), Issuer: s.issuerName(), Errors: errs,
	}
	for _, i := range own.Identities {
		v.Identities = append(v.Identities, views.IdentityRow{ID: i.ID, Name: i.Name, Issuer: i.Issuer, LinkedAt: i.LinkedAt, LastUsedAt: i.LastUsedAt})
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Your account"), "account")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.Account(sh, v))
}

type passwordForm struct {
	Current string `form:"password,raw" label:"Present password"`
	New     string `form:"new_password,raw" label:"New password"`
	Repeat  string `form:"repeat,raw" label:"The same password again"`
}

// showPassword answers GET /account/password.
func (s *Server) showPassword(w http.ResponseWriter, r *http.Request) error {
	return s.passwordPage(w, r, nil)
}

// changePassword answers POST /account/password. The other sessions are over;
// this one goes on under a new token.
func (s *Server) changePassword(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[passwordForm](r)
	if err == nil && form.New != form.Repeat {
		err = apperr.Field("repeat", apperr.ErrPasswordRepeat)
	}
	if err == nil {
		err = s.Accounts.ChangePassword(r.Context(), actor(r), form.Current, form.New)
	}
	if err != nil {
		return s.passwordPage(w, r, err)
	}
	if err := s.begin(r, actor(r).UserID, auth.ByPassword); err != nil {
		return err
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "Your password is changed"), i18n.T(r.Context(), "All your other sessions are ended."))
	return s.redirect(w, r, paths.Account)
}

func (s *Server) passwordPage(w http.ResponseWriter, r *http.Request, err error) error {
	own, ownErr := s.Accounts.Own(r.Context(), actor(r))
	switch {
	case ownErr != nil:
		return ownErr
	case !s.Accounts.Passwords.For(actor(r)):
		return apperr.New(apperr.ErrLocalOff)
	case !own.HasPassword:
		return apperr.New(apperr.ErrNoPassword)
	}
	errs, status, err := rejected(r, passwordForm{}, err)
	if err != nil {
		return err
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Change your password"), "account")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.PasswordPage(sh, views.PasswordView{Username: actor(r).Username, Errors: errs}))
}

// showSessions answers GET /account/sessions.
func (s *Server) showSessions(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Accounts.Sessions(r.Context(), actor(r), actor(r).UserID)
	if err != nil {
		return err
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Your sessions"), "account")
	if err != nil {
		return err
	}
	v := views.SessionsView{Rows: s.sessionRows(r, list, paths.EndSession)}
	return s.page(w, r, http.StatusOK, views.Sessions(sh, v))
}

// sessionRows shows sessions; end is where one is ended. The one that the
// request came with stands first.
func (s *Server) sessionRows(r *http.Request, list []account.Session, end func(id string) string) []views.SessionRow {
	here := auth.SessionID(s.sessionToken(r))
	rows := make([]views.SessionRow, 0, len(list))
	for _, one := range list {
		browser, system := auth.Device(one.UserAgent)
		row := views.SessionRow{
			Browser: browser, System: system, IP: one.IP, Method: string(one.Method), BeganAt: one.BeganAt, SeenAt: one.SeenAt,
			This: one.ID == here, End: end(one.ID),
		}
		if row.This {
			rows = append([]views.SessionRow{row}, rows...)
			continue
		}
		rows = append(rows, row)
	}
	return rows
}

// endOwnSession answers POST /account/sessions/{session}/end. To end this very
// one is to sign out.
func (s *Server) endOwnSession(w http.ResponseWriter, r *http.Request) error {
	id := param(r, "session")
	if id == auth.SessionID(s.sessionToken(r)) {
		return s.logout(w, r)
	}
	if err := s.Accounts.EndSession(r.Context(), actor(r), actor(r).UserID, id); err != nil {
		return err
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The session is ended"), "")
	return s.redirect(w, r, paths.Sessions)
}

// endOtherSessions answers POST /account/sessions/end-others.
func (s *Server) endOtherSessions(w http.ResponseWriter, r *http.Request) error {
	if err := s.Accounts.EndOtherSessions(r.Context(), actor(r), auth.SessionID(s.sessionToken(r))); err != nil {
		return err
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "All other sessions are ended"), "")
	return s.redirect(w, r, paths.Sessions)
}

// endPersonSession answers POST /people/{person}/sessions/{session}/end.
func (s *Server) endPersonSession(w http.ResponseWriter, r *http.Request) error {
	err := s.Accounts.EndSession(r.Context(), actor(r), param(r, "person"), param(r, "session"))
	if err != nil {
		return err
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The session is ended"), "")
	return s.redirect(w, r, paths.Person(param(r, "person")))
}

// personSessions are the sessions of somebody, for the page of a person.
func (s *Server) personSessions(r *http.Request, person string) ([]views.SessionRow, error) {
	list, err := s.Accounts.Sessions(r.Context(), actor(r), person)
	if err != nil {
		return nil, err
	}
	return s.sessionRows(r, list, func(id string) string { return paths.EndPersonSession(person, id) }), nil
}
