package gallery

import (
	"time"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// programs are the pages of tokens and service accounts.
func programs() map[string]templ.Component {
	mine := shell("Your tokens", "tokens", "developer")
	admin := shell("Service accounts", "service-accounts", "admin")
	of := func(s views.Shell, title string) views.Shell { s.Title = title; return s }
	account := []ui.Crumb{{Label: "Service accounts", Href: paths.ServiceAccounts}, {Label: "ci-bot", Href: paths.ServiceAccount("a1")}}
	form := views.TokenFormView{
		Action: paths.Tokens, BackHref: paths.Tokens, Crumbs: []ui.Crumb{{Label: "Your tokens", Href: paths.Tokens}, {Label: "New token"}},
		MaxName: 60, Scopes: scopeOptions("read"), Days: lifetimes("90"),
	}
	rejected := form
	rejected.Account, rejected.Scopes, rejected.Crumbs = "ci-bot", scopeOptions(), append(account[:2:2], ui.Crumb{Label: "New token"})
	rejected.Errors = []ui.FieldError{{Field: "name", Label: "Name", Message: "Name is needed."}, {Field: "scopes", Label: "Scope", Message: "Scope is needed."}}
	return map[string]templ.Component{
		"tokens":            views.Tokens(mine, views.TokensView{NewHref: paths.NewToken, Rows: tokenRows(true), Pager: ui.PagerView{OlderHref: "?after=x"}}),
		"tokens-empty":      views.Tokens(mine, views.TokensView{NewHref: paths.NewToken}),
		"tokens-person":     views.Tokens(of(shell("", "people", "admin"), "Tokens of developer"), views.TokensView{Account: "developer", AccountHref: paths.Person("p1"), Rows: tokenRows(true)}),
		"token-form":        views.TokenForm(of(mine, "New token"), form),
		"token-form-errors": views.TokenForm(of(admin, "New token"), rejected),
		"token-new": views.NewToken(of(mine, "The token nightly pipeline"), views.NewTokenView{
			Name: "nightly pipeline", ExpiresAt: now.Add(90 * day), BackHref: paths.Tokens,
			Text:    "shp_EXAMPLE.EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE.EXAMPLEEXAMPLEEXAMPLE",
			Example: `curl --fail -H "Authorization: Bearer $SHEPHERD_TOKEN" https://shepherd.example.com/api/v1/systems`,
			Crumbs:  []ui.Crumb{{Label: "Your tokens", Href: paths.Tokens}, {Label: "nightly pipeline"}},
		}),
		"token-revoke": views.RevokeToken(of(mine, "Revoke nightly pipeline"), views.RevokeTokenView{
			Name: "nightly pipeline", Account: "developer", LastUsedAt: at(3 * time.Hour), LastUsedIP: "198.51.100.23", Action: paths.RevokeToken("t1"), BackHref: paths.Tokens,
			Crumbs: []ui.Crumb{{Label: "Your tokens", Href: paths.Tokens}, {Label: "Revoke nightly pipeline"}},
		}),
		"service-accounts":       views.ServiceAccounts(admin, views.ServiceAccountsView{All: true, CanCreate: true, Rows: serviceAccounts()}),
		"service-accounts-empty": views.ServiceAccounts(admin, views.ServiceAccountsView{All: true, CanCreate: true}),
		"service-accounts-own":   views.ServiceAccounts(shell("Service accounts", "service-accounts", "developer"), views.ServiceAccountsView{}),
		"service-account": views.ServiceAccountPage(of(admin, "ci-bot"), views.ServiceAccountView{
			Row: serviceAccounts()[0], CanChange: true, Roles: personRoles()[1:2], ByGroup: []string{"Auditor, by the group watch"}, More: personRoles()[2:],
			Systems: []views.RoleInSystem{{Name: "shop", Env: "prod", Href: paths.System("s1"), Role: "maintainer"}},
			Tokens:  views.TokensView{Rows: tokenRows(true)[:2], NewHref: paths.NewServiceToken("a1")},
		}),
		"service-account-owner-gone": views.ServiceAccountPage(of(admin, "backup"), views.ServiceAccountView{
			Row: serviceAccounts()[1], CanChange: true, More: personRoles()[1:], Tokens: views.TokensView{NewHref: paths.NewServiceToken("a2")},
			Errors: []ui.FieldError{{Message: "backup is the last owner. Give it to somebody else first."}},
		}),
		"service-account-auditor": views.ServiceAccountPage(of(shell("", "service-accounts", "admin"), "old-sync"), views.ServiceAccountView{
			Row: serviceAccounts()[2], Tokens: views.TokensView{Rows: tokenRows(false)[2:]},
		}),
		"service-account-form": views.ServiceAccountForm(of(admin, "New service account"), views.ServiceAccountFormView{Owner: "admin", MaxDescription: 300}),
		"service-account-form-errors": views.ServiceAccountForm(of(admin, "New service account"), views.ServiceAccountFormView{
			Name: "CI", Description: "Nightly tests of the shop", Owner: "nobody-here", MaxDescription: 300,
			Errors: []ui.FieldError{{Field: "username", Label: "Account name", Message: "Use lower-case letters, digits and dashes."}, {Field: "owner", Label: "Owner", Message: "Nobody has the account name nobody-here."}},
		}),
		"service-account-edit": views.ServiceAccountForm(of(admin, "Edit ci-bot"), views.ServiceAccountFormView{
			ID: "a1", NameFixed: true, Description: "Nightly tests of the shop", Owner: "developer", MaxDescription: 300,
		}),
	}
}

func tokenRows(revocable bool) []views.TokenRow {
	rows := []views.TokenRow{
		{Name: "nightly pipeline", CreatedBy: "developer", Scopes: []string{"Request"}, CreatedAt: ago(20 * day), ExpiresAt: now.Add(70 * day), LastUsedAt: at(3 * time.Hour), LastUsedIP: "198.51.100.23"},
		{Name: "laptop", CreatedBy: "developer", Scopes: []string{"Read", "Decide"}, CreatedAt: ago(85 * day), ExpiresAt: now.Add(5 * day), LastUsedAt: at(2 * day), LastUsedIP: "2001:db8:1234:5678:9abc:def0:1234:5678"},
		{Name: "trial of the new dashboard that shows all systems on one wall", CreatedBy: "shepherd", Scopes: []string{"Read", "Request", "Decide", "Run the platform"}, CreatedAt: ago(40 * day), ExpiresAt: ago(10 * day)},
		{Name: "old laptop", CreatedBy: "developer", Scopes: []string{"Read"}, CreatedAt: ago(60 * day), ExpiresAt: now.Add(30 * day), RevokedAt: at(4 * day), RevokedBy: "admin", LastUsedAt: at(5 * day), LastUsedIP: "203.0.113.9"},
	}
	if revocable {
		for i := range rows {
			rows[i].RevokeHref = paths.RevokeToken("t1")
		}
	}
	return rows
}

func scopeOptions(chosen ...string) []views.ScopeOption {
	all := []views.ScopeOption{
		{Value: "read", Title: "Read", Text: "See what its account sees: systems, services, VMs, requests, records. Change nothing."},
		{Value: "request", Title: "Request", Text: "Read, and make and change systems and services, ask for VMs, switch them, ask for their deletion."},
		{Value: "decide", Title: "Decide", Text: "Request, and approve or reject what others ask for. Nobody looks at what such a program decides."},
	}
	for i := range all {
		for _, c := range chosen {
			all[i].Checked = all[i].Checked || all[i].Value == c
		}
	}
	return all
}

func lifetimes(chosen string) []ui.Option {
	var all []ui.Option
	for _, days := range []string{"7", "30", "90", "180", "365"} {
		all = append(all, ui.Option{Value: days, Label: days + " days", Selected: days == chosen})
	}
	return all
}

func serviceAccounts() []views.ServiceAccountRow {
	end := now.Add(70 * day)
	return []views.ServiceAccountRow{
		{ID: "a1", Name: "ci-bot", Description: "Nightly tests of the shop", Owner: "developer", RoleLabel: "Approver, test", Tokens: 2, LastUsedAt: at(3 * time.Hour), NextEnd: &end},
		{ID: "a2", Name: "backup", Description: "Asks for a VM to restore the newest backup into, every Sunday", Owner: "lea", Orphaned: true, Tokens: 1, LastUsedAt: at(4 * day), NextEnd: &end},
		{ID: "a3", Name: "old-sync", Description: "Copied systems from the old portal", Owner: "admin", Disabled: true},
		{ID: "a4", Name: "wall", Description: "Dashboard in the lobby", OwnerGroup: "facility"},
	}
}
