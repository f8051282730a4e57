// Package oidc signs people in with an OpenID Connect issuer, such as the one of
// their company: authorization code with PKCE, as OpenID Connect Core 1.0 and
// the security best practice of OAuth 2.0 (RFC 9700) say.
//
// It asks (Ask), and says whose answer came back (Answer). Whose account that
// is, is no part of it (package account), and neither is where a question is
// kept until its answer comes: with the browser that it was asked in.
package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Limits of the talk with an issuer.
const (
	deadline   = 10 * time.Second // of one answer
	maxAnswer  = 1 << 20          // bytes of one
	known      = time.Hour        // how long its configuration is believed
	pause      = 2 * time.Second  // before one that did not answer is asked again
	answerTime = 10 * time.Minute // for a person to answer a question
	skew       = time.Minute      // between its clock and ours
	maxGroups  = 500
	maxText    = 255 // bytes of a subject (OpenID Connect Core, section 2), characters of other claims
)

// algorithms are the ones that a token may be signed with: neither "none" nor
// those whose key would be a shared secret.
var algorithms = []string{
	goidc.RS256, goidc.RS384, goidc.RS512, goidc.PS256, goidc.PS384, goidc.PS512, goidc.ES256, goidc.ES384, goidc.ES512, goidc.EdDSA,
}

// Config says which issuer there is and what is believed of it.
type Config struct {
	Issuer        string // as its tokens name it
	ClientID      string
	ClientSecret  domain.Secret    // empty: PKCE alone
	RedirectURL   string           // of the portal, where answers come back to
	Name          string           // for people, such as "Example SSO"
	Scopes        []string         // besides openid
	UsernameClaim string           // of whose value a new account's name is made
	GroupsClaim   string           // "" where groups do not count
	AllowedGroups []string         // whose members may come in; empty: everybody
	Now           func() time.Time // nil: time.Now
}

// Provider talks with one issuer. It asks for the issuer's configuration when
// somebody first signs in, so that an issuer that is down stops nothing else.
type Provider struct {
	Config
	client *http.Client

	mu     sync.Mutex
	found  *found
	until  time.Time // when found is to be read again, or tried again
	failed error
}

// found is what the issuer says of itself.
type found struct {
	*goidc.Provider
	EndSession  string `json:"end_session_endpoint"`
	NamesItself bool   `json:"authorization_response_iss_parameter_supported"`
}

// New talks with nobody yet.
func New(c Config) *Provider {
	if c.Now == nil {
		c.Now = time.Now
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = deadline
	return &Provider{Config: c, client: &http.Client{
		Timeout: deadline, Transport: limited{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Type names the provider.
func (*Provider) Type() string { return "oidc" }

// limited bounds what is read of an answer.
type limited struct{ http.RoundTripper }

// RoundTrip cuts an answer off that is too long; it is not whole then, and is
// no JSON any more.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = body{io.LimitReader(res.Body, maxAnswer), res.Body}
	}
	return res, err
}

type body struct {
	io.Reader
	io.Closer
}

// fail is an error of a code that names the issuer.
func (p *Provider) fail(code string, cause error) *apperr.AppError {
	return apperr.New(code).With("issuer", p.Name).Because(cause)
}

// discover reads what the issuer says of itself, at most once in a while. Of
// many at once one asks, and the others wait for its answer.
func (p *Provider) discover(ctx context.Context) (*found, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Now()
	if now.Before(p.until) {
		if p.found == nil {
			return nil, p.fail(apperr.ErrOIDCDown, p.failed)
		}
		return p.found, nil
	}
	// Not the context of the request: the next one needs the answer too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
	defer cancel()
	of, err := goidc.NewProvider(goidc.ClientContext(ctx, p.client), p.Issuer)
	f := &found{Provider: of}
	if err == nil {
		err = of.Claims(f)
	}
	if err == nil && (of.Endpoint().AuthURL == "" || of.Endpoint().TokenURL == "") {
		err = errors.New("the issuer's configuration has no endpoints")
	}
	if err == nil {
		p.found, p.failed, p.until = f, nil, now.Add(known)
		return f, nil
	}
	p.until, p.failed = now.Add(pause), err
	if p.found != nil { // what it said before holds on
		return p.found, nil
	}
	return nil, p.fail(apperr.ErrOIDCDown, err)
}

func (p *Provider) oauth(f *found) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: string(p.ClientSecret), Endpoint: f.Endpoint(), RedirectURL: p.RedirectURL,
		Scopes: append([]string{goidc.ScopeOpenID}, p.Scopes...),
	}
}

// Question is what was asked of an issuer. It belongs into the session of the
// browser that asks, on our side: who knows it can give an answer.
type Question struct {
	State, Nonce, Verifier string
	Asked                  time.Time
	Again                  bool // whoever answers must have shown a password just now
}

// Ask makes a question, and the address where the browser takes it to. With
// again the issuer has to ask for the password even of somebody whom it knows.
// OIDC_UNAVAILABLE.
func (p *Provider) Ask(ctx context.Context, again bool) (q Question, address string, err error) {
	f, err := p.discover(ctx)
	if err != nil {
		return q, "", err
	}
	q = Question{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Asked: p.Now().UTC(), Again: again}
	options := []oauth2.AuthCodeOption{goidc.Nonce(q.Nonce), oauth2.S256ChallengeOption(q.Verifier)}
	if again {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return q, p.oauth(f).AuthCodeURL(q.State, options...), nil
}

// Identity is who an issuer says that somebody is. Issuer and Subject together
// are that person for ever; the rest is what he is called now.
type Identity struct {
	Issuer, Subject string
	Name            string // as people know the account there
	Username        string // what a new account here would be called; "" when nothing fits
	DisplayName     string
	Groups          []string
	Unproved        bool // the account name would be an email address that nobody has verified
}

// Answer finds out who came back from the issuer with an answer to q. query is
// what the browser brought along.
func (p *Provider) Answer(ctx context.Context, q Question, query url.Values) (id Identity, err error) {
	now := p.Now()
	if subtle.ConstantTimeCompare([]byte(q.State), []byte(query.Get("state"))) != 1 || q.State == "" || now.Sub(q.Asked) > answerTime {
		return id, p.fail(apperr.ErrOIDCState, nil)
	}
	f, err := p.discover(ctx)
	if err != nil {
		return id, err
	}
	// The answer of another issuer is not to be taken for this one's (RFC 9207).
	if iss := query.Get("iss"); iss != "" && iss != p.Issuer || iss == "" && f.NamesItself {
		return id, p.fail(apperr.ErrOIDCToken, errors.New("the answer comes from another issuer"))
	}
	if code := query.Get("error"); code != "" {
		return id, p.refused(code)
	}
	ctx, cancel := context.WithTimeout(goidc.ClientContext(ctx, p.client), 2*deadline)
	defer cancel()
	tokens, err := p.oauth(f).Exchange(ctx, query.Get("code"), oauth2.VerifierOption(q.Verifier))
	if err != nil {
		return id, p.notExchanged(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	token, err := p.verify(ctx, f, raw)
	if err != nil {
		return id, err
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(q.Nonce)) != 1 {
		return id, p.fail(apperr.ErrOIDCToken, errors.New("nonce"))
	}
	if token.AccessTokenHash != "" {
		if err := token.VerifyAccessToken(tokens.AccessToken); err != nil {
			return id, p.fail(apperr.ErrOIDCToken, err)
		}
	}
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return id, p.fail(apperr.ErrOIDCToken, err)
	}
	if at, _ := claims["auth_time"].(float64); q.Again && time.Unix(int64(at), 0).Before(q.Asked.Add(-skew)) {
		return id, p.fail(apperr.ErrOIDCOld, nil)
	}
	if err := p.addUserInfo(ctx, f, token.Subject, oauth2.StaticTokenSource(tokens), claims); err != nil {
		return id, err
	}
	return p.identity(token.Subject, claims)
}

// refused is the error that the issuer sent instead of a code.
func (p *Provider) refused(code string) error {
	code = domain.CleanText(code, 60)
	switch code {
	case "access_denied", "login_required", "consent_required", "interaction_required", "account_selection_required":
		return p.fail(apperr.ErrOIDCDenied, nil).With("text", code)
	case "server_error", "temporarily_unavailable":
		return p.fail(apperr.ErrOIDCDown, errors.New(code))
	}
	return p.fail(apperr.ErrOIDCSetup, nil).With("text", code)
}

// errorCode is what the error of a token endpoint may be. What is anything else
// may be what the endpoint was sent.
var errorCode = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

// notExchanged says why there is no token for a code. What the issuer answered is
// not for the log: it may repeat the code, and the secret of the client.
func (p *Provider) notExchanged(err error) error {
	var said *oauth2.RetrieveError
	if !errors.As(err, &said) {
		return p.fail(apperr.ErrOIDCDown, err)
	}
	code := said.ErrorCode
	if len(code) > 40 || !errorCode.MatchString(code) {
		code = "no code"
	}
	switch {
	case said.Response != nil && said.Response.StatusCode >= http.StatusInternalServerError:
		return p.fail(apperr.ErrOIDCDown, fmt.Errorf("token endpoint: status %d", said.Response.StatusCode))
	case code == "invalid_grant":
		return p.fail(apperr.ErrOIDCCode, errors.New(code))
	}
	return p.fail(apperr.ErrOIDCSetup, errors.New("token endpoint: "+code)).With("text", code)
}

// verify checks everything about an ID token but the nonce.
func (p *Provider) verify(ctx context.Context, f *found, raw string) (*goidc.IDToken, error) {
	now := p.Now()
	token, err := f.Verifier(&goidc.Config{
		SkipClientIDCheck:    true, // below, with an error of its own
		SupportedSigningAlgs: algorithms,
		Now:                  func() time.Time { return now.Add(-skew) },
	}).Verify(ctx, raw)
	var expired *goidc.TokenExpiredError
	switch {
	case errors.As(err, &expired):
		return nil, p.fail(apperr.ErrOIDCClock, err)
	case err != nil && strings.Contains(err.Error(), "fetching keys"): // go-oidc has no type for it
		return nil, p.fail(apperr.ErrOIDCDown, err)
	case err != nil:
		return nil, p.fail(apperr.ErrOIDCToken, err)
	case !slices.Contains(token.Audience, p.ClientID):
		return nil, p.fail(apperr.ErrOIDCAudience, nil)
	case token.IssuedAt.After(now.Add(skew)):
		return nil, p.fail(apperr.ErrOIDCClock, nil)
	case token.Subject == "" || len(token.Subject) > maxText:
		return nil, p.fail(apperr.ErrOIDCToken, errors.New("subject"))
	}
	var party struct {
		Azp string `json:"azp"`
	}
	if err := token.Claims(&party); err != nil {
		return nil, p.fail(apperr.ErrOIDCToken, err)
	}
	// Of several audiences, azp says who asked (OpenID Connect Core, section 3.1.3.7).
	if party.Azp != "" && party.Azp != p.ClientID || party.Azp == "" && len(token.Audience) > 1 {
		return nil, p.fail(apperr.ErrOIDCAudience, errors.New("authorized party"))
	}
	return token, nil
}

// addUserInfo adds the claims that an issuer gives only when asked for them.
func (p *Provider) addUserInfo(ctx context.Context, f *found, subject string, tokens oauth2.TokenSource, claims map[string]any) error {
	_, name := claims[p.UsernameClaim]
	_, groups := claims[p.GroupsClaim]
	if f.UserInfoEndpoint() == "" || name && (groups || p.GroupsClaim == "") {
		return nil
	}
	info, err := f.UserInfo(ctx, tokens)
	if noAnswer := (*url.Error)(nil); err != nil && !errors.As(err, &noAnswer) {
		status, _, _ := strings.Cut(err.Error(), ":") // behind it is the answer, which may repeat the token
		err = errors.New("user info: " + domain.CleanText(status, 60))
	}
	if err != nil {
		return p.fail(apperr.ErrOIDCDown, err)
	}
	if info.Subject != subject {
		return p.fail(apperr.ErrOIDCToken, errors.New("user info of somebody else"))
	}
	var more map[string]any
	if err := info.Claims(&more); err != nil {
		return p.fail(apperr.ErrOIDCToken, err)
	}
	for name, value := range more {
		if _, known := claims[name]; !known {
			claims[name] = value
		}
	}
	return nil
}

// identity reads the claims. OIDC_NOT_ALLOWED for somebody who is in none of the
// allowed groups.
func (p *Provider) identity(subject string, claims map[string]any) (Identity, error) {
	text := func(name string) string {
		s, _ := claims[name].(string)
		return domain.CleanText(strings.TrimSpace(s), maxText)
	}
	id := Identity{Issuer: p.Issuer, Subject: subject, DisplayName: text("name"), Groups: list(claims[p.GroupsClaim])}
	for _, name := range []string{text(p.UsernameClaim), text("preferred_username"), text("email"), subject} {
		if id.Name == "" {
			id.Name = name
		}
	}
	id.Username = accountName(text(p.UsernameClaim))
	if proved, _ := claims["email_verified"].(bool); p.UsernameClaim == "email" && !proved {
		id.Unproved = true
	}
	allowed := func(group string) bool { return slices.Contains(p.AllowedGroups, group) }
	if len(p.AllowedGroups) > 0 && !slices.ContainsFunc(id.Groups, allowed) {
		return id, p.fail(apperr.ErrOIDCGroups, nil)
	}
	return id, nil
}

// list reads a claim that holds one text or several.
func list(claim any) []string {
	var all []string
	switch v := claim.(type) {
	case string:
		all = append(all, v)
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok {
				all = append(all, s)
			}
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" || len(s) > maxText })
	slices.Sort(all)
	all = slices.Compact(all)
	return all[:min(len(all), maxGroups)]
}

// accountName makes the name of an account of a claim: small letters, digits
// and dashes, of an address the part before the @. "" when that gives none.
func accountName(claim string) string {
	name, _, _ := strings.Cut(strings.ToLower(claim), "@")
	name = strings.Map(func(r rune) rune {
		switch r {
		case '.', '_', ' ', '+':
			return '-'
		}
		return r
	}, name)
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	if name = strings.Trim(name, "-"); !domain.ValidName(name) {
		return ""
	}
	return name
}

// EndSession is the address where the browser signs out of the issuer too, and
// comes back to the portal; "" when the issuer has none, or does not answer.
func (p *Provider) EndSession(ctx context.Context, back string) string {
	f, err := p.discover(ctx)
	if err != nil || f.EndSession == "" {
		return ""
	}
	u, err := url.Parse(f.EndSession)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.ClientID)
	q.Set("post_logout_redirect_uri", back)
	u.RawQuery = q.Encode()
	return u.String()
}

// CheckIssuer says what is wrong with the address of an issuer: it has to be
// HTTPS, but on the own machine.
func CheckIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return errors.New("want an address such as https://sso.example.com/realms/main")
	case u.Scheme == "https":
	case u.Scheme == "http" && slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname()):
	default:
		return errors.New("want https")
	}
	return nil
}
