package handlers

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"kubevirt-shepherd.io/shepherd/static"
)

// staticFile serves a built file. Its name holds a hash of its content, so the
// browser may keep it for ever.
func staticFile(w http.ResponseWriter, r *http.Request) {
	data, gz, contentType, ok := static.File(chi.URLParam(r, "name"))
	if !ok {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	if gz != nil {
		h.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			data = gz
		}
	}
	_, _ = w.Write(data)
}
