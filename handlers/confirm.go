package handlers

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// sureFor is how long it holds that the person at the keyboard has just shown
// who he is. Signing in shows it too.
const sureFor = 10 * time.Minute

// sure says whether the sender may do what is dangerous. Programs are not asked:
// their tokens have scopes, and nobody sits there.
func (s *Server) sure(r *http.Request) bool {
	if s.Sessions.GetString(r.Context(), keyUser) == "" {
		return actor(r).UserID != ""
	}
	ago := s.Clock().Sub(time.Unix(s.Sessions.GetInt64(r.Context(), keySure), 0))
	return ago > -time.Minute && ago < sureFor
}

// setSure writes down that the person has just shown who he is. The session
// gets a new token, so that a copy of the old cookie gains nothing by it.
func (s *Server) setSure(r *http.Request) error {
	if err := s.Sessions.RenewToken(r.Context()); err != nil {
		return err
	}
	s.put(r, keySure, s.Clock().Unix())
	s.flash(r, ui.OK, i18n.T(r.Context(), "Thank you, it is you"), i18n.T(r.Context(), "Nothing was sent while Shepherd asked. Go on where you were."))
	return nil
}

// askToConfirm leads to the page that asks, and from there back. What was typed
// into a form waits there.
func (s *Server) askToConfirm(w http.ResponseWriter, r *http.Request) {
	to := paths.ConfirmThen(confirmedPage(r))
	if !strings.HasSuffix(r.URL.Path, "/remove") { // a button, and no form to fill in
		s.keepDraft(w, r, true)
	}
	if isHTMX(r) {
		w.Header().Set("HX-Redirect", to)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// confirmedPage is where the way goes on. An export is no page: its button is
// on the list of the same filter.
func confirmedPage(r *http.Request) string {
	if r.URL.Path != paths.AuditExport {
		return pageOf(r)
	}
	list := url.URL{Path: paths.Audit, RawQuery: r.URL.RawQuery}
	return withQuery(&list, "format", "")
}

type confirmForm struct {
	Password string `form:"password,raw" label:"Password" validate:"required"`
	Then     string `form:"then"`
}

// showConfirm answers GET /account/confirm.
func (s *Server) showConfirm(w http.ResponseWriter, r *http.Request) error {
	then := local(r.URL.Query().Get("then"), paths.Home)
	if s.sure(r) {
		return s.redirect(w, r, then)
	}
	return s.confirmPage(w, r, then, nil)
}

// confirm answers POST /account/confirm.
func (s *Server) confirm(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[confirmForm](r)
	then := local(form.Then, paths.Home)
	if err == nil {
		err = s.Accounts.Confirm(r.Context(), actor(r), form.Password)
	}
	if err != nil {
		return s.confirmPage(w, r, then, err)
	}
	if err := s.setSure(r); err != nil {
		return err
	}
	return s.redirect(w, r, then)
}

func (s *Server) confirmPage(w http.ResponseWriter, r *http.Request, then string, err error) error {
	errs, status, err := rejected(r, confirmForm{}, err)
	if err != nil {
		return err
	}
	own, err := s.Accounts.Own(r.Context(), actor(r))
	if err != nil {
		return err
	}
	v := views.ConfirmView{
		Username: actor(r).Username, Then: then, Errors: errs,
		Password: own.HasPassword && s.Accounts.Passwords.For(actor(r)),
	}
	if len(own.Identities) > 0 {
		v.Issuer = s.issuerName()
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Confirm that it is you"), "account")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.Confirm(sh, v))
}
