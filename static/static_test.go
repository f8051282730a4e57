package static

import (
	"bytes"
	"compress/gzip"
	"io"
	"regexp"
	"strings"
	"testing"
)

// TestFontsOfStyles follows the addresses in the style sheet: each is relative
// to it, hashed, and answered.
func TestFontsOfStyles(t *testing.T) {
	css, gz, kind, ok := File(strings.TrimPrefix(URL("app.css"), Prefix))
	if !ok || kind != "text/css; charset=utf-8" {
		t.Fatalf("app.css: %v, %q", ok, kind)
	}
	fonts := regexp.MustCompile(`url\(\./([^)]+)\)`).FindAllSubmatch(css, -1)
	if len(fonts) == 0 {
		t.Fatal("the style sheet names no font")
	}
	for _, m := range fonts {
		if _, gz, kind, ok := File(string(m[1])); !ok || kind != "font/woff2" || gz != nil {
			t.Errorf("%s: found %v, type %q, compressed twice %v", m[1], ok, kind, gz != nil)
		}
	}
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(r); err != nil || !bytes.Equal(plain, css) {
		t.Errorf("the compressed file is not the file: %v", err)
	}
}

func TestFileUnknown(t *testing.T) {
	for _, name := range []string{"", "app.css", "static.go", "../go.mod", "app.000000000000.css"} {
		if _, _, _, ok := File(name); ok {
			t.Errorf("%q is served", name)
		}
	}
}
