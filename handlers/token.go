package handlers

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/token"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

const hoursPerDay = 24 * time.Hour

// ownTokens answers GET /account/tokens.
func (s *Server) ownTokens(w http.ResponseWriter, r *http.Request) error {
	v, err := s.tokens(r, actor(r).UserID, true)
	if err != nil {
		return err
	}
	v.NewHref = paths.NewToken
	sh, err := s.shell(r, i18n.T(r.Context(), "Your tokens"), "tokens")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Tokens(sh, v))
}

// personTokens answers GET /people/{person}/tokens.
func (s *Server) personTokens(w http.ResponseWriter, r *http.Request) error {
	p, err := s.Accounts.Person(r.Context(), param(r, "person"))
	if err != nil {
		return err
	}
	v, err := s.tokens(r, p.ID, actor(r).IsAdmin())
	if err != nil {
		return err
	}
	v.Account, v.AccountHref = p.Username, paths.Person(p.ID)
	sh, err := s.shell(r, i18n.T(r.Context(), "Tokens of {name}", "name", p.Username), "people")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Tokens(sh, v))
}

// tokens is a page of the tokens of an account.
func (s *Server) tokens(r *http.Request, userID string, canRevoke bool) (views.TokensView, error) {
	list, err := s.Tokens.List(r.Context(), actor(r), userID, listing.Page{After: r.URL.Query().Get("after")})
	if err != nil {
		return views.TokensView{}, err
	}
	v := views.TokensView{Pager: pager(r, "", list.Next)}
	for _, t := range list.Items {
		row := views.TokenRow{
			Name: t.Name, CreatedBy: t.CreatedBy, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, RevokedAt: t.RevokedAt, RevokedBy: t.RevokedBy,
			LastUsedAt: t.LastUsedAt, LastUsedIP: t.LastUsedIP,
		}
		for _, scope := range t.Scopes {
			title, _ := scopeWords(r.Context(), scope)
			row.Scopes = append(row.Scopes, title)
		}
		if canRevoke {
			row.RevokeHref = paths.RevokeToken(t.ID)
		}
		v.Rows = append(v.Rows, row)
	}
	return v, nil
}

// scopeWords are the name of a scope and what it allows.
func scopeWords(ctx context.Context, scope domain.Scope) (title, text string) {
	switch scope {
	case domain.ScopeRead:
		return i18n.T(ctx, "Read"), i18n.T(ctx, "See what its account sees: systems, services, VMs, requests, records. Change nothing.")
	case domain.ScopeRequest:
		return i18n.T(ctx, "Request"), i18n.T(ctx, "Read, and make and change systems and services, ask for VMs, switch them, ask for their deletion.")
	case domain.ScopeDecide:
		return i18n.T(ctx, "Decide"), i18n.T(ctx, "Request, and approve or reject what others ask for. Nobody looks at what such a program decides.")
	case domain.ScopeAdmin:
		return i18n.T(ctx, "Run the platform"), i18n.T(ctx, "Request, and manage clusters, namespaces, templates, sizes and roles. It does not approve.")
	}
	return string(scope), ""
}

type tokenForm struct {
	Name   string   `form:"name" label:"Name"`
	Scopes []string `form:"scopes" label:"Scope"`
	Days   number   `form:"days" label:"Works for"`
}

// lifetimes are the choices of the form, in days.
var lifetimes = []int{7, 30, 90, 180, 365}

func (f tokenForm) token() token.New {
	in := token.New{Name: f.Name, Life: time.Duration(f.Days.Value) * hoursPerDay}
	for _, scope := range f.Scopes {
		in.Scopes = append(in.Scopes, domain.Scope(scope))
	}
	return in
}

func freshToken() tokenForm {
	return tokenForm{Scopes: []string{string(domain.ScopeRead)}, Days: whole(int(domain.TokenLifetime / hoursPerDay))}
}

// tokenPlace is where a token is made: on the reader's own pages or on those of
// a service account.
type tokenPlace struct {
	userID, account string // account is "" for the reader himself
	action, back    string
	nav             string
	crumbs          []ui.Crumb
}

func ownPlace(r *http.Request) tokenPlace {
	return tokenPlace{
		userID: actor(r).UserID, action: paths.Tokens, back: paths.Tokens, nav: "tokens",
		crumbs: []ui.Crumb{{Label: i18n.T(r.Context(), "Your tokens"), Href: paths.Tokens}},
	}
}

// newToken answers GET /account/tokens/new.
func (s *Server) newToken(w http.ResponseWriter, r *http.Request) error {
	return s.tokenForm(w, r, ownPlace(r), restored(s, w, r, freshToken()), nil)
}

// createToken answers POST /account/tokens.
func (s *Server) createToken(w http.ResponseWriter, r *http.Request) error {
	return s.makeToken(w, r, ownPlace(r))
}

// makeToken answers with the page itself and not with a redirect to it, as
// personLink does: the token is kept nowhere until a second request.
func (s *Server) makeToken(w http.ResponseWriter, r *http.Request, at tokenPlace) error {
	form, err := decode[tokenForm](r)
	if err != nil {
		return s.tokenForm(w, r, at, form, err)
	}
	t, text, err := s.Tokens.Create(r.Context(), actor(r), at.userID, form.token())
	if err != nil {
		return s.tokenForm(w, r, at, form, err)
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "The token {name}", "name", t.Name), at.nav)
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.NewToken(sh, views.NewTokenView{
		Name: t.Name, Account: at.account, Text: text, ExpiresAt: t.ExpiresAt, BackHref: at.back,
		Example: `curl --fail -H "Authorization: Bearer $SHEPHERD_TOKEN" ` + s.PublicURL + "/api/v1/systems",
		Crumbs:  append(at.crumbs, ui.Crumb{Label: t.Name}),
	}))
}

func (s *Server) tokenForm(w http.ResponseWriter, r *http.Request, at tokenPlace, form tokenForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	v := views.TokenFormView{
		Account: at.account, Action: at.action, BackHref: at.back, Crumbs: append(at.crumbs, ui.Crumb{Label: i18n.T(r.Context(), "New token")}),
		Name: form.Name, MaxName: token.MaxName, Errors: errs,
	}
	chosen := form.token().Scopes
	for _, scope := range domain.Scopes() {
		if !actor(r).Grants(scope, at.account != "") {
			continue
		}
		o := views.ScopeOption{Value: string(scope)}
		o.Title, o.Text = scopeWords(r.Context(), scope)
		for _, c := range chosen {
			o.Checked = o.Checked || c == scope
		}
		v.Scopes = append(v.Scopes, o)
	}
	for _, days := range lifetimes {
		v.Days = append(v.Days, ui.Option{Value: strconv.Itoa(days), Label: i18n.T(r.Context(), "{n} days", "n", days), Selected: days == form.Days.Value})
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "New token"), at.nav)
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.TokenForm(sh, v))
}

// tokensOf is the page of an account's tokens, as the actor knows it.
func tokensOf(r *http.Request, o token.Owner) (href, label string) {
	switch {
	case o.ID == actor(r).UserID:
		return paths.Tokens, i18n.T(r.Context(), "Your tokens")
	case o.Service:
		return paths.ServiceAccount(o.ID), o.Username
	}
	return paths.PersonTokens(o.ID), i18n.T(r.Context(), "Tokens of {name}", "name", o.Username)
}

// askRevokeToken answers GET /tokens/{access}/revoke.
func (s *Server) askRevokeToken(w http.ResponseWriter, r *http.Request) error {
	t, owner, err := s.Tokens.Find(r.Context(), actor(r), param(r, "access"))
	if err != nil {
		return err
	}
	href, label := tokensOf(r, owner)
	if !t.Live(s.now()) {
		return s.redirect(w, r, href)
	}
	title := i18n.T(r.Context(), "Revoke {name}", "name", t.Name)
	sh, err := s.shell(r, title, "")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.RevokeToken(sh, views.RevokeTokenView{
		Name: t.Name, Account: owner.Username, LastUsedAt: t.LastUsedAt, LastUsedIP: t.LastUsedIP,
		Action: paths.RevokeToken(t.ID), BackHref: href, Crumbs: []ui.Crumb{{Label: label, Href: href}, {Label: title}},
	}))
}

// revokeToken answers POST /tokens/{access}/revoke.
func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	t, owner, err := s.Tokens.Find(r.Context(), actor(r), param(r, "access"))
	if err != nil {
		return err
	}
	if err := s.Tokens.Revoke(r.Context(), actor(r), t.ID, ""); err != nil {
		return err
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The token {name} is revoked", "name", t.Name), i18n.T(r.Context(), "Whoever shows it is refused from now on."))
	href, _ := tokensOf(r, owner)
	return s.redirect(w, r, href)
}
