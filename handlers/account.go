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

type loginForm struct {
	Username string `form:"username" label:"Account name"`
	Password string `form:"password,raw" label:"Password"`
	Next     string `form:"next"`
}

// showLogin answers GET /login.
func (s *Server) showLogin(w http.ResponseWriter, r *http.Request) error {
	next := local(r.URL.Query().Get("next"), "")
	if actor(r).UserID != "" {
		return s.redirect(w, r, local(next, paths.Home))
	}
	v := s.loginView(r, next)
	if s.sessionToken(r) != "" && len(s.Sessions.Keys(r.Context())) == 0 {
		v.Notice = i18n.T(r.Context(), "Your session has ended. Sign in to go on.")
	}
	return s.page(w, r, http.StatusOK, views.Login(v))
}

func (s *Server) loginView(r *http.Request, next string) views.LoginView {
	return views.LoginView{
		Next: next, Theme: theme(r), Version: s.Version, Issuer: s.issuerName(),
		Passwords: s.Accounts.Passwords != account.PasswordsOff, ForEmergencies: s.Accounts.Passwords == account.PasswordsBreakGlass,
	}
}

// login answers POST /login. Whatever is wrong has one answer: who tries must
// not learn which names exist.
func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[loginForm](r)
	if apperr.KindOf(err) == apperr.Invalid && err != nil {
		err = apperr.New(apperr.ErrBadCredentials)
	}
	next := local(form.Next, "")
	var userID string
	if err == nil {
		userID, err = s.Accounts.SignIn(r.Context(), form.Username, form.Password, actor(r).IP, requestID(r))
	}
	if err != nil {
		e := classify(err)
		if e.Code != apperr.ErrBadCredentials {
			return err
		}
		v := s.loginView(r, next)
		v.Username, v.Error = form.Username, message(r, e.Code, e.Params).Text()
		return s.page(w, r, statusOf(e), views.Login(v))
	}
	if err := s.begin(r, userID, auth.ByPassword); err != nil {
		return err
	}
	return s.redirect(w, r, local(next, paths.Home))
}

// logout answers POST /logout. The session is over at once, and so are its
// streams.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	if err := s.Accounts.SignOut(r.Context(), actor(r)); err != nil {
		return err
	}
	return s.leave(w, r)
}

// leave ends the session and goes to the sign-in page; by way of the issuer,
// which is to forget the person too, when it was he who let him in.
func (s *Server) leave(w http.ResponseWriter, r *http.Request) error {
	company := s.Sessions.GetString(r.Context(), auth.SessionMethod) == string(auth.ByOIDC)
	if err := s.end(r); err != nil {
		return err
	}
	s.streams.endAll(s.credential(r))
	w.Header().Set("Clear-Site-Data", `"cache"`)
	if company && s.OIDC != nil {
		if to := s.OIDC.EndSession(r.Context(), s.PublicURL+paths.Login); to != "" {
			v := views.OnwardView{Issuer: s.issuerName(), Href: to, SignedOut: true, Theme: theme(r), Version: s.Version}
			return s.onward(w, r, v)
		}
	}
	return s.redirect(w, r, paths.Login)
}

// logoutEverywhere answers POST /logout/everywhere: all sessions of the person
// are over, this one too.
func (s *Server) logoutEverywhere(w http.ResponseWriter, r *http.Request) error {
	if err := s.Accounts.EndSessions(r.Context(), actor(r), actor(r).UserID); err != nil {
		return err
	}
	return s.leave(w, r)
}

type setupForm struct {
	Name     string `form:"name" label:"Account name"`
	Password string `form:"password,raw" label:"Password"`
	Repeat   string `form:"repeat,raw" label:"The same password again"`
}

// showSetup answers GET /setup/{token}.
func (s *Server) showSetup(w http.ResponseWriter, r *http.Request) error {
	return s.setupPage(w, r, setupForm{}, nil)
}

// setup answers POST /setup/{token}: it sets the password and signs in.
func (s *Server) setup(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[setupForm](r)
	if err == nil && form.Password != form.Repeat {
		err = apperr.Field("repeat", apperr.ErrPasswordRepeat)
	}
	var userID string
	if err == nil {
		userID, err = s.Accounts.Setup(r.Context(), param(r, "token"), form.Password, actor(r).IP, requestID(r))
	}
	if err != nil {
		return s.setupPage(w, r, form, err)
	}
	if err := s.begin(r, userID, auth.ByLink); err != nil {
		return err
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "Your password is set"), i18n.T(r.Context(), "You are signed in."))
	return s.redirect(w, r, paths.Home)
}

func (s *Server) setupPage(w http.ResponseWriter, r *http.Request, form setupForm, err error) error {
	p, personErr := s.Accounts.SetupPerson(r.Context(), param(r, "token"))
	if apperr.CodeOf(personErr) == apperr.ErrSetupLink || apperr.CodeOf(err) == apperr.ErrSetupLink {
		return s.page(w, r, http.StatusNotFound, views.SetupUsed(theme(r), s.Version))
	}
	if personErr != nil {
		return personErr
	}
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.Setup(views.SetupView{
		Token: param(r, "token"), Name: p.Username, NameFixed: true, Errors: errs, Theme: theme(r), Version: s.Version,
		Passwords: p.Password, Issuer: s.issuerName(),
	}))
}

type themeForm struct {
	Theme string `form:"theme" validate:"oneof=light dark"`
	Next  string `form:"next"`
}

// setTheme answers POST /theme.
func (s *Server) setTheme(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[themeForm](r)
	if err != nil {
		return err
	}
	http.SetCookie(w, s.choice(themeCookie, form.Theme))
	return s.redirect(w, r, switchedOn(r, form.Next))
}
