package handlers

import (
	"bytes"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

const htmlType = "text/html; charset=utf-8"

// elementID is what a fragment can be called; anything else in HX-Target is
// not one of our pages.
var elementID = regexp.MustCompile(`^[A-Za-z][-\w]{0,79}$`)

// fragment is the part of the page that HTMX asks for, or "" for the page.
func fragment(r *http.Request) string {
	if !isHTMX(r) || r.Header.Get("HX-History-Restore-Request") == "true" {
		return ""
	}
	if id := r.Header.Get("HX-Target"); elementID.MatchString(id) {
		return id
	}
	return ""
}

func isHTMX(r *http.Request) bool { return r.Header.Get("HX-Request") == "true" }

// page draws a page, or for HTMX the fragment of that very page which it asks
// for. It draws into memory first: a page that breaks half-way is an error, not
// half a page.
func (s *Server) page(w http.ResponseWriter, r *http.Request, status int, page templ.Component) error {
	var b bytes.Buffer
	if id := fragment(r); id != "" {
		if err := templ.RenderFragments(r.Context(), &b, page, id); err != nil {
			return err
		}
	}
	if b.Len() == 0 {
		if err := page.Render(r.Context(), &b); err != nil {
			return err
		}
	}
	return s.send(w, r, status, htmlType, visible(b.Bytes()))
}

// suspects are the bytes with which a hidden character can begin in UTF-8.
var suspects = func() (table [256]bool) {
	for r := rune(0); r <= 0xe007f; r++ {
		if domain.Hidden(r) {
			table[string(r)[0]] = true
		}
	}
	table['\n'], table['\t'], table['\r'] = false, false, false
	return table
}()

// visible replaces what nobody could see on a page, or what would turn it
// around, also where an older version or another hand has stored it.
func visible(page []byte) []byte {
	for i := 0; i < len(page); i++ {
		if suspects[page[i]] {
			if r, _ := utf8.DecodeRune(page[i:]); domain.Hidden(r) {
				return bytes.Map(func(r rune) rune {
					if domain.Hidden(r) && r != '\n' && r != '\t' && r != '\r' {
						return utf8.RuneError
					}
					return r
				}, page)
			}
		}
	}
	return page
}

// redirect leads to another page of the portal after something was done.
func (s *Server) redirect(w http.ResponseWriter, r *http.Request, to string) error {
	if isHTMX(r) {
		// A 303 would be followed by the script and land inside the target.
		w.Header().Set("HX-Redirect", to)
		return s.send(w, r, http.StatusOK, "", nil)
	}
	w.Header().Set("Location", to)
	return s.send(w, r, http.StatusSeeOther, "", nil)
}

// send is the one place where an answer leaves: it saves the session first, so
// that a cookie can still be set and a lost session is an error.
func (s *Server) send(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) error {
	if err := s.saveSession(w, r); err != nil {
		return err
	}
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	if contentType == htmlType {
		w.Header().Set("Content-Language", lang(r))
	}
	w.WriteHeader(status)
	// A client that is gone cannot be told.
	_, _ = w.Write(body)
	return nil
}

// local gives back a path of this portal to lead to, and fallback for anything
// that could lead elsewhere: browsers read "//host", "/\host" and "/<tab>/host"
// as another site.
func local(path, fallback string) string {
	const limit = 2000
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }
	switch {
	case len(path) < 2 || len(path) > limit || path[0] != '/' || path[1] == '/':
		return fallback
	case strings.ContainsFunc(path, bad):
		return fallback
	case strings.HasPrefix(path, paths.Login), strings.HasPrefix(path, paths.Logout):
		return fallback
	}
	return path
}

// slowWriter writes an answer that may take long: each write has its own
// deadline, however long all of them take.
type slowWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

// slow lifts the server's limits, which are for pages, off an answer.
func slow(w http.ResponseWriter) slowWriter {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // not every connection has one
	return slowWriter{w, c}
}

func (w slowWriter) Write(b []byte) (int, error) {
	if err := w.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}
