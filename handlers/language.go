package handlers

import (
	"net/http"
	"net/url"
	"slices"

	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

const languageCookie = "lang"

// lang is the reader's language.
func lang(r *http.Request) string { return i18n.Lang(r.Context()) }

// speak finds the language of somebody who is not known yet: what was chosen in
// this browser before, or what the browser asks for. What the person has chosen
// in the account comes before both, see arrive.
func speak(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lang := chosen(r, languageCookie)
		if !slices.Contains(i18n.Languages(), lang) {
			lang = i18n.Match(r.Header.Get("Accept-Language"))
		}
		next.ServeHTTP(w, r.WithContext(i18n.With(r.Context(), lang)))
	})
}

type languageForm struct {
	Language string `form:"language" validate:"oneof=en zh-CN"`
	Next     string `form:"next"`
}

// setLanguage answers POST /language. The browser keeps it for the sign-in page,
// the account for every browser of the person.
func (s *Server) setLanguage(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[languageForm](r)
	if err != nil {
		return err
	}
	if a := actor(r); a.UserID != "" {
		if err := s.Accounts.SetLanguage(r.Context(), a, form.Language); err != nil {
			return err
		}
	}
	http.SetCookie(w, s.choice(languageCookie, form.Language))
	return s.redirect(w, r, switchedOn(r, form.Next))
}

// choice is a cookie that keeps how somebody likes to see the pages.
func (s *Server) choice(name, value string) *http.Cookie {
	const age = 365 * 24 * 60 * 60 // seconds
	if s.Secure {
		name = hostOnly + name
	}
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode}
}

// chosen reads such a cookie; "" when there is none.
func chosen(r *http.Request, name string) string {
	c, err := r.Cookie(hostOnly + name)
	if err != nil {
		c, err = r.Cookie(name)
	}
	if err != nil {
		return ""
	}
	return c.Value
}

// switchedOn is the page on which a switch of the frame was used. Next says so
// for pages with the frame; the pages before the sign-in are known by the
// Referer, which browsers send within the portal.
func switchedOn(r *http.Request, next string) string {
	if actor(r).UserID != "" {
		return local(next, paths.Home)
	}
	u, err := url.Parse(r.Referer())
	if err != nil || u.Host != r.Host {
		return paths.Login
	}
	if to := local(u.Query().Get("next"), ""); u.Path == paths.Login && to != "" {
		return paths.LoginThen(to)
	}
	return local(u.RequestURI(), paths.Login)
}
