package handlers

import (
	"encoding/json"
	"net/http"
	"slices"

	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/auth/oidc"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// What an answer of the issuer is for.
const (
	toSignIn  = "in"
	toLink    = "link"
	toSetUp   = "setup"
	toConfirm = "confirm"
)

// flow is a way to the issuer and back that this browser is on. It is kept in
// the session, so an answer counts only in the browser that has asked.
type flow struct {
	Question oidc.Question
	For      string
	Then     string // the page to go on to
	Setup    string `json:",omitempty"` // digest of the one-time link
}

// maxFlows is how many ways a browser can be on at once, in several tabs.
const maxFlows = 5

// issuerName is what people call the company account; "" when there is none.
func (s *Server) issuerName() string {
	if s.OIDC == nil {
		return ""
	}
	return s.OIDC.Name
}

// ask makes a question to the issuer, and answers with where it leads.
func (s *Server) ask(r *http.Request, f flow) (address string, err error) {
	if s.OIDC == nil {
		return "", apperr.New(apperr.ErrOIDCOff)
	}
	if f.Question, address, err = s.OIDC.Ask(r.Context(), f.For == toConfirm); err != nil {
		return "", err
	}
	all := append(s.flows(r), f)
	return address, s.putFlows(r, all[max(0, len(all)-maxFlows):])
}

// flows are the ways that this browser is on.
func (s *Server) flows(r *http.Request) []flow {
	var all []flow
	if json.Unmarshal([]byte(s.Sessions.GetString(r.Context(), keyFlows)), &all) != nil {
		return nil // there are none
	}
	return all
}

func (s *Server) putFlows(r *http.Request, all []flow) error {
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	s.put(r, keyFlows, string(b))
	return nil
}

// loginOIDC answers GET /login/oidc: it leads to the issuer. It is no form,
// because the policy of the pages lets no form lead to another site.
func (s *Server) loginOIDC(w http.ResponseWriter, r *http.Request) error {
	return s.toIssuer(w, r, flow{For: toSignIn, Then: local(r.URL.Query().Get("next"), paths.Home)})
}

// confirmOIDC answers GET /account/confirm/oidc.
func (s *Server) confirmOIDC(w http.ResponseWriter, r *http.Request) error {
	return s.toIssuer(w, r, flow{For: toConfirm, Then: local(r.URL.Query().Get("then"), paths.Home)})
}

// setupOIDC answers GET /setup/{token}/oidc.
func (s *Server) setupOIDC(w http.ResponseWriter, r *http.Request) error {
	p, err := s.Accounts.SetupPerson(r.Context(), param(r, "token"))
	if err != nil {
		return err
	}
	return s.toIssuer(w, r, flow{For: toSetUp, Then: paths.Home, Setup: p.Digest})
}

func (s *Server) toIssuer(w http.ResponseWriter, r *http.Request, f flow) error {
	to, err := s.ask(r, f)
	if err != nil {
		return err
	}
	return s.redirect(w, r, to)
}

// linkIdentity answers POST /account/identities: it leads to the issuer by a
// page, see loginOIDC. It is no link, so that no other site can lead a browser
// through it to connect an account of somebody else.
func (s *Server) linkIdentity(w http.ResponseWriter, r *http.Request) error {
	to, err := s.ask(r, flow{For: toLink, Then: paths.Account})
	if err != nil {
		return err
	}
	return s.onward(w, r, views.OnwardView{Issuer: s.issuerName(), Href: to, Theme: theme(r), Version: s.Version})
}

// onward answers a form with a page that leads to the issuer by itself.
func (s *Server) onward(w http.ResponseWriter, r *http.Request, v views.OnwardView) error {
	w.Header().Set("Refresh", "0; url="+v.Href)
	return s.page(w, r, http.StatusOK, views.Onward(v))
}

// unlinkIdentity answers POST /account/identities/{identity}/remove.
func (s *Server) unlinkIdentity(w http.ResponseWriter, r *http.Request) error {
	if err := s.Accounts.Unlink(r.Context(), actor(r), param(r, "identity")); err != nil {
		return s.accountPage(w, r, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The company account is disconnected"), "")
	return s.redirect(w, r, paths.Account)
}

// oidcReply answers GET /login/oidc/callback: what the issuer sends the browser
// back with. A question is gone with its first answer, whatever that is.
func (s *Server) oidcReply(w http.ResponseWriter, r *http.Request) error {
	if s.OIDC == nil {
		return apperr.New(apperr.ErrOIDCOff)
	}
	var f flow
	all, state := s.flows(r), r.URL.Query().Get("state")
	if i := slices.IndexFunc(all, func(f flow) bool { return f.Question.State == state }); i >= 0 {
		f = all[i]
		if err := s.putFlows(r, slices.Delete(all, i, i+1)); err != nil {
			return err
		}
		// Now: an error page saves no session.
		if err := s.saveSession(w, r); err != nil {
			return err
		}
	}
	id, err := s.OIDC.Answer(r.Context(), f.Question, r.URL.Query())
	if err != nil {
		return err
	}
	switch f.For {
	case toLink:
		return s.linked(w, r, id)
	case toConfirm:
		if err := s.Accounts.ConfirmWith(r.Context(), actor(r), id); err != nil {
			return err
		}
		if err := s.setSure(r); err != nil {
			return err
		}
		return s.redirect(w, r, f.Then)
	}
	var userID string
	if f.For == toSetUp {
		userID, err = s.Accounts.SetupWith(r.Context(), f.Setup, id, actor(r).IP, requestID(r))
	} else {
		userID, err = s.Accounts.SignInWith(r.Context(), id, actor(r).IP, requestID(r))
	}
	if err != nil {
		return err
	}
	if err := s.begin(r, userID, auth.ByOIDC); err != nil {
		return err
	}
	return s.redirect(w, r, f.Then)
}

func (s *Server) linked(w http.ResponseWriter, r *http.Request, id oidc.Identity) error {
	if actor(r).UserID == "" { // the session has ended on the way
		return apperr.New(apperr.ErrSignedOut)
	}
	if err := s.Accounts.Link(r.Context(), actor(r), id); err != nil {
		return err
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is connected", "name", id.Name), i18n.T(r.Context(), "From now on it opens your account."))
	return s.redirect(w, r, paths.Account)
}
