// Package docs holds the guides for people: Markdown and images, embedded, as
// they can also be read in the repository. It draws nothing; the portal does.
package docs

import (
	"bytes"
	"embed"
	"encoding/binary"
	"path"
	"strings"
)

// The pattern leaves out images/dark and images/phone, which no guide shows.
//
//go:embed *.md images/*.*
var files embed.FS

// Index is the slug of the guide that lists the others.
const Index = "README"

// order is how the guides are listed: the index, then from what everybody needs
// to what a few need.
var order = []string{Index, "concepts", "user-guide", "approver-guide", "admin-guide", "operator-guide", "api-guide", "api-reference", "security", "asvs"}

// English is the language of the guides, as a BCP 47 tag; some are translated.
const English = "en"

// Guide is one document. Title is its first heading, Line its first paragraph.
// Lang is its language, English where there is no translation.
type Guide struct{ Slug, Title, Line, Lang string }

// Guides lists all guides in their order, the index first, as they are for a
// reader of a language.
func Guides(lang string) []Guide {
	list := make([]Guide, 0, len(order))
	for _, slug := range order {
		in := lang
		text, ok := Read(slug, in)
		if !ok {
			in = English
			text, ok = Read(slug, in)
		}
		if !ok {
			panic("docs: no guide " + slug) // the files are part of the binary
		}
		head, rest, _ := strings.Cut(string(text), "\n\n")
		line, _, _ := strings.Cut(rest, "\n\n")
		list = append(list, Guide{slug, strings.TrimPrefix(head, "# "), strings.ReplaceAll(strings.TrimSpace(line), "\n", " "), in})
	}
	return list
}

// Read is the Markdown of a guide in a language, if it is there.
func Read(slug, lang string) (text []byte, ok bool) {
	if lang == English {
		return read(slug + ".md")
	}
	return read(slug + "." + lang + ".md")
}

// Image is a file of images/ by its name, such as login.webp.
func Image(name string) (data []byte, ok bool) { return read(path.Join("images", path.Base(name))) }

func read(name string) ([]byte, bool) {
	data, err := files.ReadFile(name)
	return data, err == nil
}

// WebPSize reads the width and height, in pixels, from the head of a WebP file
// (RFC 9649): lossy, lossless or extended.
func WebPSize(data []byte) (width, height int, ok bool) {
	if len(data) < 30 || !bytes.HasPrefix(data, []byte("RIFF")) || string(data[8:12]) != "WEBP" {
		return 0, 0, false
	}
	le := binary.LittleEndian
	switch string(data[12:16]) {
	case "VP8 ": // after the frame tag and the start code, 14 bits each
		return int(le.Uint16(data[26:]) & 0x3fff), int(le.Uint16(data[28:]) & 0x3fff), string(data[23:26]) == "\x9d\x01\x2a"
	case "VP8L": // after the signature, 14 bits each, less one
		bits := le.Uint32(data[21:])
		return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1, data[20] == 0x2f
	case "VP8X": // after the flags, 24 bits each, less one
		return int(le.Uint32(data[24:])&0xffffff) + 1, int(le.Uint32(data[26:])>>8) + 1, true
	}
	return 0, 0, false
}
