package handlers

import (
	"context"
	"net/http"
	"slices"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// listServiceAccounts answers GET /service-accounts.
func (s *Server) listServiceAccounts(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Accounts.ServiceAccounts(r.Context(), actor(r), listing.Page{After: r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	v := views.ServiceAccountsView{All: actor(r).CanAudit(), CanCreate: actor(r).IsAdmin(), Pager: pager(r, "", list.Next)}
	for _, a := range list.Items {
		v.Rows = append(v.Rows, serviceAccountRow(r, a))
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Service accounts"), "service-accounts")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.ServiceAccounts(sh, v))
}

func serviceAccountRow(r *http.Request, a account.ServiceAccount) views.ServiceAccountRow {
	row := views.ServiceAccountRow{
		ID: a.ID, Name: a.Username, Description: a.Description, Owner: a.Owner.Username, OwnerGroup: a.OwnerGroup, Orphaned: a.Orphaned, Disabled: a.Disabled,
		Tokens: a.Tokens, LastUsedAt: a.LastUsedAt, NextEnd: a.NextEnd,
	}
	if len(a.Bindings) > 0 {
		row.RoleLabel = roleLabel(r.Context(), domain.Actor{Bindings: a.Bindings})
	}
	return row
}

type serviceAccountForm struct {
	Username    string `form:"username" label:"Account name"`
	Description string `form:"description" label:"What it is for"`
	OwnerKind   string `form:"owner_kind" validate:"omitempty,oneof=person group"`
	Owner       string `form:"owner" label:"Owner"`
}

func (f serviceAccountForm) account() account.NewServiceAccount {
	return account.NewServiceAccount{Username: f.Username, Description: f.Description, Owner: f.Owner, ByGroup: f.OwnerKind == "group"}
}

// newServiceAccount answers GET /service-accounts/new.
func (s *Server) newServiceAccount(w http.ResponseWriter, r *http.Request) error {
	return s.serviceAccountForm(w, r, account.ServiceAccount{}, restored(s, w, r, serviceAccountForm{Owner: actor(r).Username}), nil)
}

// createServiceAccount answers POST /service-accounts.
func (s *Server) createServiceAccount(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[serviceAccountForm](r)
	var id string
	if err == nil {
		id, err = s.Accounts.CreateServiceAccount(r.Context(), actor(r), form.account())
	}
	if err != nil {
		return s.serviceAccountForm(w, r, account.ServiceAccount{}, form, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The service account {name} is made", "name", form.Username), i18n.T(r.Context(), "Give it its roles, then make a token."))
	return s.redirect(w, r, paths.ServiceAccount(id))
}

// editServiceAccount answers GET /service-accounts/{account}/edit.
func (s *Server) editServiceAccount(w http.ResponseWriter, r *http.Request) error {
	a, err := s.Accounts.ServiceAccount(r.Context(), actor(r), param(r, "account"))
	if err != nil {
		return err
	}
	form := serviceAccountForm{Description: a.Description, Owner: a.Owner.Username}
	if a.OwnerGroup != "" {
		form.Owner, form.OwnerKind = a.OwnerGroup, "group"
	}
	return s.serviceAccountForm(w, r, a, restored(s, w, r, form), nil)
}

// updateServiceAccount answers POST /service-accounts/{account}/edit.
func (s *Server) updateServiceAccount(w http.ResponseWriter, r *http.Request) error {
	a, err := s.Accounts.ServiceAccount(r.Context(), actor(r), param(r, "account"))
	if err != nil {
		return err
	}
	form, err := decode[serviceAccountForm](r)
	if err == nil {
		err = s.Accounts.UpdateServiceAccount(r.Context(), actor(r), a.ID, form.account())
	}
	if err != nil {
		return s.serviceAccountForm(w, r, a, form, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "Saved"), "")
	return s.redirect(w, r, paths.ServiceAccount(a.ID))
}

// serviceAccountForm draws the form of a new account, or of one that is.
func (s *Server) serviceAccountForm(w http.ResponseWriter, r *http.Request, a account.ServiceAccount, form serviceAccountForm, err error) error {
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	title := i18n.T(r.Context(), "New service account")
	if a.ID != "" {
		title = i18n.T(r.Context(), "Edit {name}", "name", a.Username)
	}
	sh, err := s.shell(r, title, "service-accounts")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.ServiceAccountForm(sh, views.ServiceAccountFormView{
		ID: a.ID, Name: form.Username, Description: form.Description, Owner: form.Owner, ByGroup: form.OwnerKind == "group", NameFixed: a.ID != "",
		MaxDescription: account.MaxDescription, Errors: errs,
	}))
}

// showServiceAccount answers GET /service-accounts/{account}.
func (s *Server) showServiceAccount(w http.ResponseWriter, r *http.Request) error {
	return s.serviceAccountPage(w, r, restored(s, w, r, roleForm{}), nil)
}

func (s *Server) serviceAccountPage(w http.ResponseWriter, r *http.Request, form roleForm, err error) error {
	a, accountErr := s.Accounts.ServiceAccount(r.Context(), actor(r), param(r, "account"))
	if accountErr != nil {
		return accountErr
	}
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	v := views.ServiceAccountView{Row: serviceAccountRow(r, a), CanChange: actor(r).IsAdmin(), Errors: errs}
	if v.Tokens, err = s.tokens(r, a.ID, a.InCharge); err != nil {
		return err
	}
	if a.InCharge && !a.Disabled {
		v.Tokens.NewHref = paths.NewServiceToken(a.ID)
	}
	for _, b := range a.Bindings {
		label := roleLabel(r.Context(), domain.Actor{Bindings: []domain.Binding{b}})
		if b.Via != "" {
			v.ByGroup = append(v.ByGroup, i18n.T(r.Context(), "{role}, by the group {name}", "role", label, "name", b.Via))
			continue
		}
		v.Roles = append(v.Roles, ui.Option{Value: bindingValue(b), Label: label})
	}
	for _, o := range roleOptions(r.Context(), form.Role) {
		if !slices.ContainsFunc(v.Roles, func(has ui.Option) bool { return has.Value == o.Value }) {
			v.More = append(v.More, o)
		}
	}
	for _, b := range a.InSystems {
		role := string(b.Role)
		if b.Via != "" {
			role = i18n.T(r.Context(), "{role}, by the group {name}", "role", role, "name", b.Via)
		}
		v.Systems = append(v.Systems, views.RoleInSystem{Name: b.System, Env: string(b.Environment), Href: paths.System(b.SystemID), Role: role})
	}
	sh, err := s.shell(r, a.Username, "service-accounts")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.ServiceAccountPage(sh, v))
}

// giveServiceRole answers POST /service-accounts/{account}/roles.
func (s *Server) giveServiceRole(w http.ResponseWriter, r *http.Request) error {
	return s.changeServiceRole(w, r, s.Accounts.Bind, i18n.T(r.Context(), "The role is given"))
}

// removeServiceRole answers POST /service-accounts/{account}/roles/remove.
func (s *Server) removeServiceRole(w http.ResponseWriter, r *http.Request) error {
	return s.changeServiceRole(w, r, s.Accounts.Unbind, i18n.T(r.Context(), "The role is taken away"))
}

func (s *Server) changeServiceRole(w http.ResponseWriter, r *http.Request, change func(context.Context, domain.Actor, string, domain.Binding) error, done string) error {
	a, err := s.Accounts.ServiceAccount(r.Context(), actor(r), param(r, "account"))
	if err != nil {
		return err
	}
	form, err := decode[roleForm](r)
	if err == nil {
		err = change(r.Context(), actor(r), a.ID, bindingOf(form.Role))
	}
	if err != nil {
		return s.serviceAccountPage(w, r, form, err)
	}
	s.flash(r, ui.OK, done, "")
	return s.redirect(w, r, paths.ServiceAccount(a.ID))
}

// disableServiceAccount answers POST /service-accounts/{account}/disable.
func (s *Server) disableServiceAccount(w http.ResponseWriter, r *http.Request) error {
	return s.setServiceDisabled(w, r, true, i18n.T(r.Context(), "The account is disabled"))
}

// enableServiceAccount answers POST /service-accounts/{account}/enable.
func (s *Server) enableServiceAccount(w http.ResponseWriter, r *http.Request) error {
	return s.setServiceDisabled(w, r, false, i18n.T(r.Context(), "The account works again"))
}

func (s *Server) setServiceDisabled(w http.ResponseWriter, r *http.Request, disabled bool, done string) error {
	a, err := s.Accounts.ServiceAccount(r.Context(), actor(r), param(r, "account"))
	if err != nil {
		return err
	}
	if err := s.Accounts.SetDisabled(r.Context(), actor(r), a.ID, disabled); err != nil {
		return s.serviceAccountPage(w, r, roleForm{}, err)
	}
	s.flash(r, ui.OK, done, "")
	return s.redirect(w, r, paths.ServiceAccount(a.ID))
}

// servicePlace is where a token of the account of the address is made.
func (s *Server) servicePlace(r *http.Request) (tokenPlace, error) {
	a, err := s.Accounts.ServiceAccount(r.Context(), actor(r), param(r, "account"))
	if err == nil && !a.InCharge {
		err = apperr.New(apperr.ErrForbidden)
	}
	if err != nil {
		return tokenPlace{}, err
	}
	return tokenPlace{
		userID: a.ID, account: a.Username, action: paths.ServiceTokens(a.ID), back: paths.ServiceAccount(a.ID), nav: "service-accounts",
		crumbs: []ui.Crumb{{Label: i18n.T(r.Context(), "Service accounts"), Href: paths.ServiceAccounts}, {Label: a.Username, Href: paths.ServiceAccount(a.ID)}},
	}, nil
}

// newServiceToken answers GET /service-accounts/{account}/tokens/new.
func (s *Server) newServiceToken(w http.ResponseWriter, r *http.Request) error {
	at, err := s.servicePlace(r)
	if err != nil {
		return err
	}
	return s.tokenForm(w, r, at, freshToken(), nil)
}

// createServiceToken answers POST /service-accounts/{account}/tokens.
func (s *Server) createServiceToken(w http.ResponseWriter, r *http.Request) error {
	at, err := s.servicePlace(r)
	if err != nil {
		return err
	}
	return s.makeToken(w, r, at)
}
