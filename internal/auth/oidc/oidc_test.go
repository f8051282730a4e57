package oidc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"kubevirt-shepherd.io/shepherd/internal/auth/oidc"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

var key, otherKey = rsaKey(), rsaKey()

func rsaKey() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}

// fake is an issuer that says what a test wants. Its codes work once.
type fake struct {
	*httptest.Server
	provider  *oidc.Provider
	discovery map[string]any
	token     func(claims jwt.MapClaims) string // makes the ID token of good claims
	access    string
	answer    func(w http.ResponseWriter, r *http.Request) bool // instead of a token
	userInfo  map[string]any
	nonce     string
	challenge string
	used      map[string]bool
	asked     atomic.Int64 // for its configuration
	now       time.Time
}

const clientSecret = "secret-of-the-client"

func newFake(t *testing.T, change ...func(*oidc.Config)) *fake {
	t.Helper()
	f := &fake{used: map[string]bool{}, access: "an access token", now: time.Now()}
	mux := http.NewServeMux()
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	f.discovery = map[string]any{
		"issuer": f.URL, "authorization_endpoint": f.URL + "/authorize", "token_endpoint": f.URL + "/token", "jwks_uri": f.URL + "/keys",
		"userinfo_endpoint": f.URL + "/userinfo", "end_session_endpoint": f.URL + "/leave?x=1", "id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"},
	}
	f.token = signed(jwt.SigningMethodRS256, key, "k1")
	send := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		f.asked.Add(1)
		send(w, f.discovery)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		b64 := base64.RawURLEncoding.EncodeToString
		send(w, map[string]any{"keys": []map[string]any{{"kty": "RSA", "kid": "k1", "use": "sig", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}}})
	})
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) {
		if f.userInfo == nil {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte(r.Header.Get("Authorization")))
			return
		}
		send(w, f.userInfo)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if f.answer != nil && f.answer(w, r) {
			return
		}
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if f.used[r.FormValue("code")] || base64.RawURLEncoding.EncodeToString(sum[:]) != f.challenge {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			send(w, map[string]any{"error": "invalid_grant"})
			return
		}
		f.used[r.FormValue("code")] = true
		claims := jwt.MapClaims{
			"iss": f.URL, "aud": "portal", "sub": "id-1", "nonce": f.nonce, "iat": f.now.Unix(), "exp": f.now.Add(time.Hour).Unix(),
			"auth_time": f.now.Unix(), "preferred_username": "dana", "groups": []string{"b", "a", "b", ""}, "name": "Dana Doe",
		}
		send(w, map[string]any{"access_token": f.access, "token_type": "Bearer", "id_token": f.token(claims)})
	})
	c := oidc.Config{
		Issuer: f.URL, ClientID: "portal", ClientSecret: domain.Secret(clientSecret), RedirectURL: "https://vms.example.com/back", Name: "Example SSO",
		UsernameClaim: "preferred_username", GroupsClaim: "groups", Now: func() time.Time { return f.now },
	}
	for _, fn := range change {
		fn(&c)
	}
	f.provider = oidc.New(c)
	return f
}

func signed(m jwt.SigningMethod, k any, kid string) func(jwt.MapClaims) string {
	return func(c jwt.MapClaims) string {
		t := jwt.NewWithClaims(m, c)
		t.Header["kid"] = kid
		s, err := t.SignedString(k)
		if err != nil {
			panic(err)
		}
		return s
	}
}

// ask makes a question, as a browser that goes to the issuer.
func (f *fake) ask(t *testing.T, again bool) oidc.Question {
	t.Helper()
	q, address, err := f.provider.Ask(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	f.nonce, f.challenge = u.Query().Get("nonce"), u.Query().Get("code_challenge")
	return q
}

var codes atomic.Int64

// back is what the browser brings.
func back(q oidc.Question, more ...string) url.Values {
	v := url.Values{"state": {q.State}, "code": {fmt.Sprint("code-", codes.Add(1))}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v
}

func TestAnswer(t *testing.T) {
	f := newFake(t)
	q := f.ask(t, false)
	id, err := f.provider.Answer(t.Context(), q, back(q))
	if err != nil {
		t.Fatal(err)
	}
	if id.Issuer != f.URL || id.Subject != "id-1" || id.Username != "dana" || id.Name != "dana" || id.DisplayName != "Dana Doe" || fmt.Sprint(id.Groups) != "[a b]" || id.Unproved {
		t.Errorf("%+v", id)
	}
	// What the token lacks is asked for.
	f.userInfo = map[string]any{"sub": "id-1", "preferred_username": "late", "groups": "one", "name": "Another"}
	f.token = func(c jwt.MapClaims) string {
		delete(c, "preferred_username")
		delete(c, "groups")
		return signed(jwt.SigningMethodRS256, key, "k1")(c)
	}
	q = f.ask(t, false)
	if id, err = f.provider.Answer(t.Context(), q, back(q)); err != nil || id.Username != "late" || fmt.Sprint(id.Groups) != "[one]" || id.DisplayName != "Dana Doe" {
		t.Errorf("%+v, %v", id, err)
	}
	f.userInfo["sub"] = "id-2"
	q = f.ask(t, false)
	if _, err = f.provider.Answer(t.Context(), q, back(q)); apperr.CodeOf(err) != apperr.ErrOIDCToken {
		t.Errorf("the user info of somebody else: %v", err)
	}
	if to := f.provider.EndSession(t.Context(), "https://vms.example.com/login"); to != f.URL+"/leave?client_id=portal&post_logout_redirect_uri=https%3A%2F%2Fvms.example.com%2Flogin&x=1" {
		t.Errorf("leaves by %s", to)
	}
}

// An issuer, or somebody between, that sends something else gets nobody in.
func TestBadTokens(t *testing.T) {
	good := signed(jwt.SigningMethodRS256, key, "k1")
	set := func(name string, value any) func(jwt.MapClaims) string {
		return func(c jwt.MapClaims) string {
			if c[name] = value; value == nil {
				delete(c, name)
			}
			return good(c)
		}
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for name, c := range map[string]struct {
		code  string
		token func(jwt.MapClaims) string
	}{
		"wrong nonce":               {apperr.ErrOIDCToken, set("nonce", "another one")},
		"no nonce":                  {apperr.ErrOIDCToken, set("nonce", nil)},
		"other issuer":              {apperr.ErrOIDCToken, set("iss", "https://evil.example")},
		"no issuer":                 {apperr.ErrOIDCToken, set("iss", nil)},
		"other audience":            {apperr.ErrOIDCAudience, set("aud", "another portal")},
		"no audience":               {apperr.ErrOIDCAudience, set("aud", nil)},
		"several audiences":         {apperr.ErrOIDCAudience, set("aud", []string{"portal", "another"})},
		"asked for by another":      {apperr.ErrOIDCAudience, set("azp", "another")},
		"expired":                   {apperr.ErrOIDCClock, set("exp", now.Add(-2*time.Minute).Unix())},
		"no end":                    {apperr.ErrOIDCClock, set("exp", nil)},
		"from the future":           {apperr.ErrOIDCClock, set("iat", now.Add(10*time.Minute).Unix())},
		"not yet":                   {apperr.ErrOIDCToken, set("nbf", now.Add(time.Hour).Unix())},
		"no subject":                {apperr.ErrOIDCToken, set("sub", nil)},
		"long subject":              {apperr.ErrOIDCToken, set("sub", strings.Repeat("x", 256))},
		"other access token":        {apperr.ErrOIDCToken, set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA")},
		"alg none":                  {apperr.ErrOIDCToken, signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "k1")},
		"HS256 with the public key": {apperr.ErrOIDCToken, signed(jwt.SigningMethodHS256, asPEM, "k1")},
		"HS256 with the secret":     {apperr.ErrOIDCToken, signed(jwt.SigningMethodHS256, []byte(clientSecret), "k1")},
		"another key":               {apperr.ErrOIDCToken, signed(jwt.SigningMethodRS256, otherKey, "k1")},
		"an unknown key":            {apperr.ErrOIDCToken, signed(jwt.SigningMethodRS256, otherKey, "k2")},
		"ES256":                     {apperr.ErrOIDCToken, signed(jwt.SigningMethodES256, curve, "k1")},
		"garbage":                   {apperr.ErrOIDCToken, func(jwt.MapClaims) string { return "a.b.c" }},
		"none at all":               {apperr.ErrOIDCToken, func(jwt.MapClaims) string { return "" }},
		"changed": {apperr.ErrOIDCToken, func(c jwt.MapClaims) string {
			part := strings.Split(good(c), ".")
			c["sub"] = "id-2"
			part[1] = strings.Split(good(c), ".")[1]
			return strings.Join(part, ".")
		}},
	} {
		f := newFake(t)
		f.token = c.token
		q := f.ask(t, false)
		if id, err := f.provider.Answer(t.Context(), q, back(q)); apperr.CodeOf(err) != c.code || id.Subject != "" {
			t.Errorf("%s: %+v, %v, want %s", name, id, err, c.code)
		}
	}
}

// What comes back with the browser counts only for the question that it answers,
// once, and from this issuer.
func TestAnswersOfOthers(t *testing.T) {
	f := newFake(t)
	mine := f.ask(t, false)
	v := back(mine)
	if _, err := f.provider.Answer(t.Context(), mine, v); err != nil {
		t.Fatal(err)
	}
	if _, err := f.provider.Answer(t.Context(), mine, v); apperr.CodeOf(err) != apperr.ErrOIDCCode {
		t.Errorf("a code a second time: %v", err)
	}
	other := f.ask(t, false) // the issuer now expects the verifier of this one
	for name, c := range map[string]struct {
		q     oidc.Question
		query url.Values
		code  string
	}{
		"the state of another browser": {mine, back(other), apperr.ErrOIDCState},
		"no question":                  {oidc.Question{}, back(oidc.Question{}), apperr.ErrOIDCState},
		"no state":                     {other, url.Values{"code": {"x"}}, apperr.ErrOIDCState},
		"the code of another browser":  {mine, back(mine), apperr.ErrOIDCCode}, // PKCE
		"another issuer":               {other, back(other, "iss", "https://evil.example"), apperr.ErrOIDCToken},
		"denied":                       {other, back(other, "error", "access_denied"), apperr.ErrOIDCDenied},
		"denied, of another browser":   {mine, back(other, "error", "access_denied"), apperr.ErrOIDCState},
		"not ready":                    {other, back(other, "error", "temporarily_unavailable"), apperr.ErrOIDCDown},
		"wrongly set up":               {other, back(other, "error", "unauthorized_client"), apperr.ErrOIDCSetup},
	} {
		if id, err := f.provider.Answer(t.Context(), c.q, c.query); apperr.CodeOf(err) != c.code || id.Subject != "" {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	f.now = f.now.Add(11 * time.Minute)
	if _, err := f.provider.Answer(t.Context(), other, back(other)); apperr.CodeOf(err) != apperr.ErrOIDCState {
		t.Errorf("after eleven minutes: %v", err)
	}

	// Where the issuer names itself in every answer, one without a name is not its.
	f = newFake(t)
	f.discovery["authorization_response_iss_parameter_supported"] = true
	q := f.ask(t, false)
	if _, err := f.provider.Answer(t.Context(), q, back(q)); apperr.CodeOf(err) != apperr.ErrOIDCToken {
		t.Errorf("without iss: %v", err)
	}
	if _, err := f.provider.Answer(t.Context(), q, back(q, "iss", f.URL)); err != nil {
		t.Errorf("with iss: %v", err)
	}
}

func TestAskedAgain(t *testing.T) {
	f := newFake(t)
	good := f.token
	for name, c := range map[string]struct {
		at   any
		code string
	}{
		"now": {f.now.Unix(), ""}, "an hour ago": {f.now.Add(-time.Hour).Unix(), apperr.ErrOIDCOld}, "not said": {nil, apperr.ErrOIDCOld},
	} {
		f.token = func(claims jwt.MapClaims) string { claims["auth_time"] = c.at; return good(claims) }
		q := f.ask(t, true)
		if _, err := f.provider.Answer(t.Context(), q, back(q)); c.code == "" && err != nil || c.code != "" && apperr.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What an issuer answers is not for the log: it may repeat the code and the
// secret of the client.
func TestIssuerFails(t *testing.T) {
	for name, c := range map[string]struct {
		code   string
		answer func(w http.ResponseWriter)
	}{
		"client unknown": {apperr.ErrOIDCSetup, func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
		}},
		"broken": {apperr.ErrOIDCDown, func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }},
		"broken, and repeats what it was sent": {apperr.ErrOIDCDown, func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("client_secret=" + clientSecret + "&code=code-1"))
		}},
		"refuses, and repeats what it was sent": {apperr.ErrOIDCSetup, func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"` + clientSecret + ` is not it"}`))
		}},
		"the secret as the code": {apperr.ErrOIDCSetup, func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"` + clientSecret + `"}`))
		}},
		"no JSON": {apperr.ErrOIDCDown, func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) }},
		"no end": {apperr.ErrOIDCDown, func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"access_token":"` + strings.Repeat("x", 3<<20) + `"}`))
		}},
		"elsewhere": {apperr.ErrOIDCSetup, func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusFound)
		}},
	} {
		f := newFake(t)
		f.answer = func(w http.ResponseWriter, _ *http.Request) bool { c.answer(w); return true }
		q := f.ask(t, false)
		_, err := f.provider.Answer(t.Context(), q, back(q))
		if apperr.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
		if text := fmt.Sprint(err); strings.Contains(text, "code-") || strings.Contains(text, clientSecret) {
			t.Errorf("%s: a secret is in the error: %v", name, err)
		}
	}
	f := newFake(t)
	f.token = func(c jwt.MapClaims) string {
		delete(c, "preferred_username") // so that the user info is asked for
		return signed(jwt.SigningMethodRS256, key, "k1")(c)
	}
	q := f.ask(t, false)
	if _, err := f.provider.Answer(t.Context(), q, back(q)); apperr.CodeOf(err) != apperr.ErrOIDCDown || strings.Contains(fmt.Sprint(err), f.access) || !strings.Contains(fmt.Sprint(err), "502") {
		t.Errorf("user info that repeats the token: %v", err)
	}
}

// The configuration is read when it is needed, and again when it was not there.
func TestDiscovery(t *testing.T) {
	f := newFake(t)
	if f.asked.Load() != 0 {
		t.Error("asked before anybody came")
	}
	for range 3 {
		f.ask(t, false)
	}
	if n := f.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	f.now = f.now.Add(2 * time.Hour)
	f.discovery["issuer"] = "https://evil.example" // what was good stays
	f.ask(t, false)
	if n := f.asked.Load(); n != 2 {
		t.Errorf("asked %d times after two hours", n)
	}

	f = newFake(t)
	f.discovery["issuer"] = "https://evil.example"
	for range 3 { // in a row: it is asked once
		if _, _, err := f.provider.Ask(t.Context(), false); apperr.CodeOf(err) != apperr.ErrOIDCDown {
			t.Errorf("another issuer's configuration: %v", err)
		}
	}
	if n := f.asked.Load(); n != 1 {
		t.Errorf("one that fails is asked %d times at once", n)
	}
	f.discovery["issuer"] = f.URL
	f.now = f.now.Add(3 * time.Second)
	f.ask(t, false)

	huge := newFake(t)
	huge.discovery["x"] = strings.Repeat("x", 2<<20)
	if _, _, err := huge.provider.Ask(t.Context(), false); apperr.CodeOf(err) != apperr.ErrOIDCDown {
		t.Errorf("a configuration of 2 MiB: %v", err)
	}
	// A reader who leaves does not spoil it for the next one.
	f = newFake(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.provider.Ask(gone, false); err != nil {
		t.Errorf("with a request that is gone: %v", err)
	}
}

func TestAccountNames(t *testing.T) {
	for claim, want := range map[string]string{
		"dana": "dana", "Dana.Doe": "dana-doe", "dana_doe@corp.example": "dana-doe", "DOE  Dana": "doe-dana", "-x-": "x",
		"": "", "1dana": "", "李雷": "", "a/b": "", "@corp.example": "", strings.Repeat("x", 80): "", "dana\x00": "",
	} {
		f := newFake(t)
		good := f.token
		f.token = func(c jwt.MapClaims) string { c["preferred_username"] = claim; return good(c) }
		q := f.ask(t, false)
		if id, err := f.provider.Answer(t.Context(), q, back(q)); err != nil || id.Username != want {
			t.Errorf("%q: %q, %v, want %q", claim, id.Username, err, want)
		}
	}
	// An address that nobody has verified is nobody's name.
	for verified, unproved := range map[any]bool{true: false, false: true, "true": true, nil: true} {
		f := newFake(t, func(c *oidc.Config) { c.UsernameClaim = "email" })
		good := f.token
		f.token = func(c jwt.MapClaims) string {
			c["email"], c["email_verified"] = "dana@corp.example", verified
			return good(c)
		}
		q := f.ask(t, false)
		if id, err := f.provider.Answer(t.Context(), q, back(q)); err != nil || id.Unproved != unproved || id.Username != "dana" {
			t.Errorf("verified %v: %+v, %v", verified, id, err)
		}
	}
}

func TestCheckIssuer(t *testing.T) {
	for issuer, ok := range map[string]bool{
		"https://sso.example.com": true, "https://sso.example.com/realms/main": true, "http://localhost:9000": true, "http://127.0.0.1:9000/x": true,
		"http://sso.example.com": false, "sso.example.com": false, "https://": false, "https://u:p@sso.example.com": false, "https://sso.example.com?x=1": false, "ftp://x": false,
	} {
		if err := oidc.CheckIssuer(issuer); (err == nil) != ok {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}
