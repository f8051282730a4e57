// Package static holds the built files of the browser: styles, scripts, fonts.
// Every file has an address that contains the hash of its content, so that it
// may be cached for ever and a new build is seen at once. The package speaks no
// HTTP; handlers/static.go serves what File returns.
//
// The files are made by `npm run build` from static/src/ and are committed.
package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
)

// Prefix is where the files live in the portal's address space.
const Prefix = "/static/"

//go:embed *.css *.js *.woff2
var files embed.FS

type asset struct {
	hashed      string // file name with hash
	data, gz    []byte // gz is nil where compressing does not help
	contentType string
}

// build hashes and compresses all files, once, at first use.
var build = sync.OnceValue(func() map[string]asset {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the files are part of the binary
	}
	// Style sheets name the fonts, so fonts get their names first.
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(rank(a.Name()), rank(b.Name())) })
	all := make(map[string]asset, 2*len(entries))
	var fonts []string
	for _, e := range entries {
		name := e.Name()
		data, err := files.ReadFile(name)
		if err != nil {
			panic(err)
		}
		if path.Ext(name) == ".css" {
			data = []byte(strings.NewReplacer(fonts...).Replace(string(data)))
		}
		a := asset{hashed: hashedName(name, data), data: data, contentType: contentType(name)}
		if path.Ext(name) == ".woff2" {
			fonts = append(fonts, "./"+name, "./"+a.hashed)
		} else {
			a.gz = compress(data)
		}
		all[name], all[a.hashed] = a, a
	}
	return all
})

// URL is the address of a file by its plain name, such as "app.css". An unknown
// name is a mistake in a template and panics.
func URL(name string) string {
	a, ok := build()[name]
	if !ok {
		panic("static: no file " + name)
	}
	return Prefix + a.hashed
}

// File returns a file by its hashed name: its bytes, the same compressed with
// gzip (nil for files that are compressed already), and its content type. A
// plain name is not answered: it could not be cached for ever.
func File(hashedName string) (data, gz []byte, contentType string, ok bool) {
	a, ok := build()[hashedName]
	if !ok || a.hashed != hashedName {
		return nil, nil, "", false
	}
	return a.data, a.gz, a.contentType, true
}

// rank sorts fonts before everything else.
func rank(name string) string {
	if path.Ext(name) == ".woff2" {
		return "0" + name
	}
	return "1" + name
}

func hashedName(name string, data []byte) string {
	sum := sha256.Sum256(data)
	ext := path.Ext(name)
	return strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext
}

func contentType(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".woff2":
		return "font/woff2"
	}
	return "application/octet-stream"
}

func compress(data []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	// A bytes.Buffer takes every write.
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}
