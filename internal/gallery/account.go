package gallery

import (
	"time"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

func sessionRows() []views.SessionRow {
	return []views.SessionRow{
		{Browser: "Firefox", System: "Linux", IP: "192.0.2.17", Method: "oidc", BeganAt: before(2 * hour), SeenAt: before(time.Minute), This: true, End: paths.EndSession("a")},
		{Browser: "Safari", System: "iPhone", IP: "2001:db8:85a3::8a2e:370:7334", Method: "password", BeganAt: before(11 * hour), SeenAt: before(25 * time.Minute), End: paths.EndSession("b")},
		{Method: "link", IP: "192.0.2.44", End: paths.EndSession("c")},
	}
}

// accounts are the ways in and the pages of the own account.
func accounts() map[string]templ.Component {
	at := func(title, path string) views.Shell { return viewer(title, "account", "developer", path) }
	sso := []views.IdentityRow{{ID: "i1", Name: "dana.developer@example.com", Issuer: "https://sso.example.com/realms/main", LinkedAt: before(90 * days), LastUsedAt: beforePtr(2 * hour)}}
	emergency := viewer("People", "people", "admin", paths.People)
	emergency.User.Name = "break-glass"
	emergency.BreakGlass = &views.BreakGlassView{Reason: "The company sign-in is down and ams-prod-1 does not answer", Until: looked.Add(40 * time.Minute)}
	const issuer = "Example SSO"
	return map[string]templ.Component{
		"login":                views.Login(views.LoginView{Version: "0.1.0", Passwords: true}),
		"login-error":          views.Login(views.LoginView{Username: "admin", Next: "/vms/m6", Passwords: true, Error: "The user name or the password is wrong. Try again. If you have forgotten the password, ask the platform team for a new one."}),
		"login-notice":         views.Login(views.LoginView{Notice: "Your session has ended. Sign in to go on.", Next: "/", Passwords: true}),
		"login-company":        views.Login(views.LoginView{Version: "0.1.0", Issuer: issuer, Passwords: true}),
		"login-company-only":   views.Login(views.LoginView{Version: "0.1.0", Issuer: issuer}),
		"login-emergency":      views.Login(views.LoginView{Version: "0.1.0", Issuer: issuer, Passwords: true, ForEmergencies: true, Username: "break-glass", Error: "The user name or the password is wrong. Try again."}),
		"setup-company":        views.Setup(views.SetupView{Token: "t", Name: "lea", NameFixed: true, Passwords: true, Issuer: issuer}),
		"setup-company-only":   views.Setup(views.SetupView{Token: "t", Name: "lea", NameFixed: true, Issuer: issuer}),
		"onward":               views.Onward(views.OnwardView{Issuer: issuer, Href: "https://sso.example.com/authorize?client_id=shepherd"}),
		"onward-signed-out":    views.Onward(views.OnwardView{Issuer: issuer, Href: "https://sso.example.com/logout?client_id=shepherd", SignedOut: true}),
		"account":              views.Account(at("Your account", paths.Account), views.AccountView{Username: "developer", DisplayName: "Dana Developer", RoleLabel: "Developer", Sessions: 3, HasPassword: true, Passwords: true, Issuer: issuer, Identities: sso}),
		"account-plain":        views.Account(at("Your account", paths.Account), views.AccountView{Username: "developer", RoleLabel: "Developer", Sessions: 1, HasPassword: true, Passwords: true, Issuer: issuer}),
		"account-refused":      views.Account(at("Your account", paths.Account), views.AccountView{Username: "developer", RoleLabel: "Developer", Sessions: 1, Passwords: true, Issuer: issuer, Identities: sso, Errors: []ui.FieldError{{Message: "This is the only way into your account. It has no password and no other company account. Ask a platform admin for a one-time link, set a password, and try again."}}}),
		"account-password":     views.PasswordPage(at("Change your password", paths.Password), views.PasswordView{Username: "developer"}),
		"account-password-bad": views.PasswordPage(at("Change your password", paths.Password), views.PasswordView{Username: "developer", Errors: []ui.FieldError{fieldError("password", "Present password", "The password is wrong. Wait a moment and type it again."), fieldError("new_password", "New password", "The password is easy to guess. Choose another one. Several words that do not belong together make a good password.")}}),
		"account-sessions":     views.Sessions(at("Your sessions", paths.Sessions), views.SessionsView{Rows: sessionRows()}),
		"account-sessions-one": views.Sessions(at("Your sessions", paths.Sessions), views.SessionsView{Rows: sessionRows()[:1]}),
		"confirm":              views.Confirm(at("Confirm that it is you", paths.Confirm), views.ConfirmView{Username: "developer", Then: paths.NewCluster, Password: true}),
		"confirm-wrong":        views.Confirm(at("Confirm that it is you", paths.Confirm), views.ConfirmView{Username: "developer", Then: paths.NewCluster, Password: true, Issuer: issuer, Errors: []ui.FieldError{fieldError("password", "Password", "The password is wrong. Wait a moment and type it again.")}}),
		"confirm-nothing":      views.Confirm(at("Confirm that it is you", paths.Confirm), views.ConfirmView{Username: "developer", Then: paths.NewCluster}),
		"break-glass":          views.People(emergency, people()),
		"error-sign-in":        views.ErrorPage(nil, views.ErrorView{Status: 409, Code: "OIDC_ACCOUNT_EXISTS", Title: "There is an account dana already", Text: "Shepherd does not join it with a company account on the strength of a name.", Next: "If it is yours, sign in to it with its password and connect the company account on your account page. If not, ask a platform admin for a one-time link.", ActionLabel: "To the sign-in page", ActionHref: paths.Login}),
	}
}
