// Package gallery holds every page of the portal in every state that matters,
// filled from literals, and every component of package ui. It is what a
// designer looks at, what the screenshots of the guides are taken from, and
// what the tests of accessibility, weight and reflow walk through.
package gallery

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/static"
)

// Page is a page in one state. Name is its file name: the page, a dash, the state.
type Page struct {
	Name string
	Body templ.Component
}

// Pages lists all pages by name.
func Pages() []Page {
	m := all()
	list := make([]Page, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, Page{name, m[name]})
	}
	return list
}

func all() map[string]templ.Component {
	m := frame()
	maps.Copy(m, work())
	maps.Copy(m, spaces())
	maps.Copy(m, record())
	maps.Copy(m, addingCluster())
	maps.Copy(m, programs())
	maps.Copy(m, credentials())
	maps.Copy(m, charts())
	maps.Copy(m, accounts())
	maps.Copy(m, documentation())
	maps.Copy(m, clusterPages())
	maps.Copy(m, quarantines())
	m["components"] = components()
	return m
}

// Handler serves an index at /, each page at /page/NAME, with ?lang=zh-CN in
// another language, and the static files.
// The pages' own links lead nowhere: there is nothing behind them.
func Handler() http.Handler {
	mux := http.NewServeMux()
	pages := all()
	mux.Handle("GET /{$}", templ.Handler(index(Pages())))
	mux.HandleFunc("GET /page/{name}", func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.PathValue("name")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Security-Policy", contentPolicy)
		lang := cmp.Or(r.URL.Query().Get("lang"), i18n.English)
		templ.Handler(page).ServeHTTP(w, r.WithContext(i18n.With(r.Context(), lang)))
	})
	mux.HandleFunc("GET "+static.Prefix, func(w http.ResponseWriter, r *http.Request) {
		data, _, contentType, ok := static.File(strings.TrimPrefix(r.URL.Path, static.Prefix))
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(data)
	})
	return mux
}

// contentPolicy is the portal's own, so that what it would stop is missing here too.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'"
