package paths

import "net/url"

// The own account, and the ways in.
const (
	Account        = "/account"
	Password       = "/account/password"
	Sessions       = "/account/sessions"
	EndOthers      = "/account/sessions/end-others"
	Confirm        = "/account/confirm"
	ConfirmOIDC    = "/account/confirm/oidc"
	Identities     = "/account/identities" // where a company account is connected
	LoginOIDC      = "/login/oidc"
	LoginOIDCReply = "/login/oidc/callback" // where the issuer sends the browser back to
)

// EndSession ends one own session.
func EndSession(id string) string { return Sessions + "/" + url.PathEscape(id) + "/end" }

// EndPersonSession ends one session of somebody.
func EndPersonSession(person, id string) string {
	return Person(person) + "/sessions/" + url.PathEscape(id) + "/end"
}

// RemoveIdentity disconnects a company account.
func RemoveIdentity(id string) string { return Identities + "/" + url.PathEscape(id) + "/remove" }

// ConfirmThen asks whether it is still the same person, and returns to then.
func ConfirmThen(then string) string { return Confirm + "?then=" + url.QueryEscape(then) }

// ConfirmOIDCThen does so with the company account.
func ConfirmOIDCThen(then string) string { return ConfirmOIDC + "?then=" + url.QueryEscape(then) }

// LoginOIDCThen signs in with the company account, and returns to next.
func LoginOIDCThen(next string) string {
	if next == "" {
		return LoginOIDC
	}
	return LoginOIDC + "?next=" + url.QueryEscape(next)
}

// SetupOIDC is Setup with the company account instead of a password.
func SetupOIDC(token string) string { return Setup(token) + "/oidc" }

// AuditBy is what somebody did, by account name.
func AuditBy(username string) string { return Audit + "?who=" + url.QueryEscape(username) }
