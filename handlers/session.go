package handlers

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/chi/v5/middleware"

	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// Lifetimes of a session (reference A1.7): how long it may rest, and how long
// it may live at most.
const (
	idleTimeout     = 30 * time.Minute
	sessionLifetime = 12 * time.Hour
	// seenEvery is how often use is written down: not at every request, so that
	// most pages only read. A session can end this much earlier.
	seenEvery = time.Minute
)

// What a session holds beside what the page of sessions shows (package auth).
// Rights are never in it: they are read at every request.
const (
	keyUser  = auth.SessionUser
	keySeen  = auth.SessionSeen
	keyEpoch = "epoch" // of the account, when the session began
	keySure  = "sure"  // when the person last showed who he is, Unix seconds
	keyFlash = "flash" // one message
	keyFlows = "flows" // ways to the issuer of company accounts
)

const themeCookie = "theme"

// hostOnly is the prefix of the names of cookies that a browser takes through
// TLS and from this very host alone.
const hostOnly = "__Host-"

// NewSessions sets up sessions in store. With secure the cookie is bound to TLS
// and to this very host.
func NewSessions(store scs.Store, secure bool) *scs.SessionManager {
	m := scs.New()
	m.Store = store
	m.IdleTimeout, m.Lifetime = idleTimeout, sessionLifetime
	m.HashTokenInStore = true // a copy of the table signs nobody in
	m.Cookie = scs.SessionCookie{Name: "sid", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: secure}
	if secure {
		m.Cookie.Name = hostOnly + m.Cookie.Name
	}
	return m
}

// sessionToken is the token that the browser sent, or "".
func (s *Server) sessionToken(r *http.Request) string {
	c, err := r.Cookie(s.Sessions.Cookie.Name)
	if err != nil {
		return ""
	}
	return c.Value
}

// put changes the session of the request; send stores it.
func (s *Server) put(r *http.Request, key string, value any) {
	s.Sessions.Put(r.Context(), key, value)
	visitOf(r).sessionChanged = true
}

// take reads a text of the session and removes it.
func (s *Server) take(r *http.Request, key string) string {
	text := s.Sessions.PopString(r.Context(), key)
	if text != "" {
		visitOf(r).sessionChanged = true
	}
	return text
}

// begin signs a user in. The token is new, so that one which somebody else
// planted before is worth nothing, and nothing of the session before is left.
func (s *Server) begin(r *http.Request, userID string, how auth.Method) error {
	a, err := s.Accounts.Actor(r.Context(), userID, "", "")
	if err == nil && a.Service {
		err = apperr.New(apperr.ErrBadCredentials) // a program has no sessions
	}
	if err != nil {
		return err
	}
	if err := s.Sessions.RenewToken(r.Context()); err != nil {
		return err
	}
	for _, key := range s.Sessions.Keys(r.Context()) {
		s.Sessions.Remove(r.Context(), key)
	}
	now := s.Clock().Unix()
	s.put(r, keyUser, userID)
	s.put(r, keyEpoch, a.Epoch)
	s.put(r, auth.SessionBegan, now)
	s.put(r, keySeen, now)
	s.put(r, keySure, now)
	s.put(r, auth.SessionMethod, string(how))
	s.put(r, auth.SessionIP, actor(r).IP)
	s.put(r, auth.SessionAgent, domain.CleanText(r.UserAgent(), auth.MaxAgent))
	return nil
}

// end signs out: the session is gone at once, also for a copy of its cookie.
func (s *Server) end(r *http.Request) error {
	visitOf(r).sessionChanged = true
	return s.Sessions.Destroy(r.Context())
}

// used keeps the session alive, unless a part of a page only refreshed itself:
// a page that nobody touches must end.
func (s *Server) used(r *http.Request) {
	if s.Sessions.GetString(r.Context(), keyUser) == "" {
		return // a program
	}
	if id := r.Header.Get("HX-Trigger"); isHTMX(r) && r.Method == http.MethodGet && id != "" && id == r.Header.Get("HX-Target") {
		return
	}
	now := s.Clock()
	if now.Sub(time.Unix(s.Sessions.GetInt64(r.Context(), keySeen), 0)) >= seenEvery {
		s.put(r, keySeen, now.Unix())
	}
}

// saveSession stores what has changed and sets the cookie.
func (s *Server) saveSession(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if !v.sessionChanged {
		return nil
	}
	v.sessionChanged = false
	// The browser may be gone by now; what was done is done all the same.
	ctx := context.WithoutCancel(r.Context())
	if s.Sessions.Status(ctx) == scs.Destroyed {
		s.Sessions.WriteSessionCookie(ctx, w, "", time.Time{})
		return nil
	}
	token, expiry, err := s.Sessions.Commit(ctx)
	if err != nil {
		return err
	}
	s.Sessions.WriteSessionCookie(ctx, w, token, expiry)
	return nil
}

// flash keeps a message for the next page.
func (s *Server) flash(r *http.Request, kind ui.Role, title, text string) {
	s.flashLink(r, views.Flash{Kind: string(kind), Title: title, Text: text})
}

// flashLink is flash with a link in it.
func (s *Server) flashLink(r *http.Request, f views.Flash) {
	b, err := json.Marshal(f)
	if err != nil || s.Sessions.GetString(r.Context(), keyUser) == "" {
		return // plain strings: cannot happen; a program reads no messages
	}
	s.put(r, keyFlash, string(b))
}

// takeFlash gives the message for this page, or nil.
func (s *Server) takeFlash(r *http.Request) *views.Flash {
	var f views.Flash
	if text := s.take(r, keyFlash); text == "" || json.Unmarshal([]byte(text), &f) != nil {
		return nil
	}
	return &f
}

// theme is light, dark, or "" for the system's.
func theme(r *http.Request) string {
	if t := chosen(r, themeCookie); t == "light" || t == "dark" {
		return t
	}
	return ""
}

// who finds out who sends a request: a program by its token, a browser by its
// session. Rights are read from the database each time, so that a revoked one
// ends at once. Nobody is no error, but a token that is not good is one. The
// context that comes back has the session.
func (s *Server) who(ctx context.Context, r *http.Request) (context.Context, domain.Actor, error) {
	nobody := domain.Actor{IP: middleware.GetClientIP(r.Context()), RequestID: requestID(r)}
	var userID string
	var shown *domain.Token
	text, program := bearer(r)
	cookie := s.sessionToken(r)
	if program {
		cookie = ""
	}
	ctx, err := s.Sessions.Load(ctx, cookie)
	switch {
	case err != nil:
		return ctx, nobody, apperr.New(apperr.ErrUnavailable).Because(err)
	case !program:
		userID = s.Sessions.GetString(ctx, keyUser)
	default:
		if userID, shown, err = s.Tokens.Enter(ctx, text, nobody.IP); err != nil {
			return ctx, nobody, err
		}
	}
	if userID == "" {
		return ctx, nobody, nil
	}
	a, err := s.Accounts.Actor(ctx, userID, nobody.IP, nobody.RequestID)
	if apperr.KindOf(err) == apperr.Unauthenticated && !program { // the account is gone or closed
		return ctx, nobody, nil
	}
	if err == nil && !program && (a.Service || a.Epoch != s.Sessions.GetInt(ctx, keyEpoch)) {
		return ctx, nobody, nil // signed out everywhere, or a new password; a program has no sessions
	}
	a.Token = shown
	return ctx, a, err
}

// bearer is the token that a program shows. It is one also when it is no good:
// a cookie beside it does not count.
func bearer(r *http.Request) (text string, program bool) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(text), strings.EqualFold(scheme, "bearer")
}

// credential is what a stream is counted by: the session or the token.
func (s *Server) credential(r *http.Request) string {
	if t := actor(r).Token; t != nil {
		return "token-" + t.ID
	}
	return s.sessionToken(r)
}
