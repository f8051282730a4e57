// Package docs holds the guides for people: Markdown and images, embedded, as
// they can also be read in the repository. It draws nothing; the portal does.
// The folder zh-CN has the Chinese of those that are translated, see Sections.
package docs

import (
	"bytes"
	"embed"
	"encoding/binary"
	"path"
	"slices"
)

// The pattern leaves out images/dark and images/phone, which no guide shows.
//
//go:embed *.md zh-CN/*.md images/*.*
var files embed.FS

// Index is the slug of the guide that lists the others.
const Index = "README"

// order is how the guides are listed: the index, then from what everybody needs
// to what a few need.
var order = []string{Index, "concepts", "user-guide", "approver-guide", "admin-guide", "cluster-guide", "audit-guide", "operator-guide", "cluster-operations", "key-guide", "sign-in-guide", "api-guide", "api-reference", "security", "asvs"}

// Slugs lists all guides in their order, the index first.
func Slugs() []string { return slices.Clone(order) }

// Read is the Markdown of a guide, in English.
func Read(slug string) (text []byte, ok bool) { return read(slug + ".md") }

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
