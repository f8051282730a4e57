package audit

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// A bundle is a zip archive that proves itself: its manifest lists every file
// with its digest, and is signed.

// Kinds of bundles.
const (
	archiveKind = "shepherd audit archive v1"
	packKind    = "shepherd evidence pack v1"
)

// Names of the files that every bundle has.
const (
	manifestFile  = "manifest.json"
	signatureFile = "manifest.sig"
	entriesFile   = "audit.jsonl"
)

// Bundle is the manifest of a bundle.
type Bundle struct {
	Kind      string       `json:"kind"`
	Files     []BundleFile `json:"files"`
	Key       string       `json:"key"`        // id of the key that the signature's is derived from
	PublicKey string       `json:"public_key"` // Ed25519, in base64, see Log.PublicKey

	// Of an archive: the links that it has. Before is the hash of the link before
	// the first one.
	FirstSeq int64  `json:"first_seq,omitempty"`
	LastSeq  int64  `json:"last_seq,omitempty"`
	Before   string `json:"before,omitempty"`
	Hash     string `json:"hash,omitempty"`

	// Of an evidence pack.
	Ticket   string     `json:"ticket,omitempty"`
	By       string     `json:"by,omitempty"`
	At       *time.Time `json:"at,omitempty"`
	Head     *Head      `json:"head,omitempty"`     // of the whole chain
	Archived []string   `json:"archived,omitempty"` // archives that may hold older entries of the ticket
}

// BundleFile is a file of a bundle.
type BundleFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func signedManifest(manifest []byte) []byte {
	return append([]byte("shepherd manifest v1\n"), manifest...)
}

// bundler writes a bundle. Nothing in it depends on when it is written: the
// same content gives the same bytes.
type bundler struct {
	zip *zip.Writer
	m   Bundle
}

func newBundler(w io.Writer, kind string) *bundler {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	return &bundler{zip: z, m: Bundle{Kind: kind}}
}

// add writes one file.
func (b *bundler) add(name string, write func(io.Writer) error) error {
	file, err := b.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err != nil {
		return err
	}
	digest, size := sha256.New(), new(counter)
	if err := write(io.MultiWriter(file, digest, size)); err != nil {
		return err
	}
	b.m.Files = append(b.m.Files, BundleFile{name, int64(*size), hex.EncodeToString(digest.Sum(nil))})
	return nil
}

func (b *bundler) text(name, text string) error {
	return b.add(name, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
}

func (b *bundler) json(name string, v any) error {
	return b.add(name, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	})
}

// close signs the manifest and ends the archive.
func (b *bundler) close(l *Log) error {
	key, err := l.signer()
	if err != nil {
		return err
	}
	b.m.Key, b.m.PublicKey = l.Keys.Active(), base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	manifest, err := json.MarshalIndent(b.m, "", "  ")
	if err != nil {
		return err
	}
	signature := base64.StdEncoding.EncodeToString(ed25519.Sign(key, signedManifest(manifest))) + "\n"
	for _, f := range []struct {
		name string
		text []byte
	}{{manifestFile, manifest}, {signatureFile, []byte(signature)}} {
		w, err := b.zip.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Deflate})
		if err != nil {
			return err
		}
		if _, err := w.Write(f.text); err != nil {
			return err
		}
	}
	return b.zip.Close()
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// maxManifest is the longest manifest that is read, in bytes.
const maxManifest = 1 << 20

// openBundle checks a bundle: the signature, by the public key in it or by the
// given one, and the digest of every file. The error says what is wrong. files
// opens a file again.
func openBundle(r io.ReaderAt, size int64, kind string, key ed25519.PublicKey) (m Bundle, files func(name string) (io.ReadCloser, error), err error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return m, nil, err
	}
	manifest, err := readAll(z, manifestFile)
	if err != nil {
		return m, nil, err
	}
	signature, err := readAll(z, signatureFile)
	if err != nil {
		return m, nil, err
	}
	if err := json.Unmarshal(manifest, &m); err != nil || m.Kind != kind {
		return m, nil, fmt.Errorf("its manifest is not that of a %s", kind)
	}
	own, err := base64.StdEncoding.DecodeString(m.PublicKey)
	if err != nil || len(own) != ed25519.PublicKeySize {
		return m, nil, errors.New("its manifest has no public key")
	}
	if key == nil {
		key = own
	}
	sum, err := base64.StdEncoding.DecodeString(string(bytes.TrimSuffix(signature, []byte("\n"))))
	if err != nil || !ed25519.Verify(key, signedManifest(manifest), sum) {
		return m, nil, errors.New("its manifest has no valid signature of that key")
	}
	if !bytes.Equal(key, own) {
		return m, nil, errors.New("its manifest names another key than the one that signed it")
	}
	if len(z.File) != len(m.Files)+2 {
		return m, nil, errors.New("it has other files than its manifest says")
	}
	for i, f := range m.Files {
		if z.File[i].Name != f.Name {
			return m, nil, fmt.Errorf("%s is missing", f.Name)
		}
		if err := checkFile(z.File[i], f); err != nil {
			return m, nil, err
		}
	}
	return m, func(name string) (io.ReadCloser, error) { return z.Open(name) }, nil
}

func checkFile(z *zip.File, f BundleFile) error {
	r, err := z.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	defer func() { _ = r.Close() }()
	digest := sha256.New()
	n, err := io.Copy(digest, io.LimitReader(r, f.Bytes+1)) // no more is unpacked than the manifest says
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	if n != f.Bytes || hex.EncodeToString(digest.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%s was changed", f.Name)
	}
	return nil
}

func readAll(z *zip.Reader, name string) ([]byte, error) {
	i := slices.IndexFunc(z.File, func(f *zip.File) bool { return f.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%s is missing", name)
	}
	r, err := z.File[i].Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = r.Close() }()
	text, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err == nil && len(text) > maxManifest {
		err = errors.New("too long")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}

// sealed is an entry with its link, a line of audit.jsonl in a bundle. Row is
// the canonical form, which the hash is over; Entry says the same for readers.
type sealed struct {
	Seq    int64           `json:"seq"`
	Before string          `json:"before,omitempty"` // hash of the link before; in an archive that is the line before
	Hash   string          `json:"hash"`
	Row    []byte          `json:"row"`
	Entry  json.RawMessage `json:"entry"`
}

// sealedOf makes the line of a link; at is when its entry was written.
func sealedOf(seq int64, hash, row []byte) (s sealed, at time.Time, err error) {
	x, at, err := decode(row)
	if err != nil {
		return s, at, err
	}
	text, err := json.Marshal(x)
	return sealed{Seq: seq, Hash: hex.EncodeToString(hash), Row: row, Entry: text}, at, err
}

// check computes the line's hash again from the hash before it.
func (s sealed) check(before []byte) error {
	if got := newLink(before).next(s.Seq, s.Row); hex.EncodeToString(got) != s.Hash {
		return fmt.Errorf("the hash of link %d is not that of its entry", s.Seq)
	}
	x, _, err := decode(s.Row)
	if err != nil {
		return fmt.Errorf("link %d: %w", s.Seq, err)
	}
	if text, err := json.Marshal(x); err != nil || !bytes.Equal(text, s.Entry) {
		return fmt.Errorf("link %d tells another entry than its hash is over", s.Seq)
	}
	return nil
}

// lines reads a file of sealed entries.
func lines(r io.Reader, fn func(sealed) error) error {
	in := json.NewDecoder(r)
	for {
		var s sealed
		switch err := in.Decode(&s); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := fn(s); err != nil {
			return err
		}
	}
}

// openFile opens a bundle on the disk.
func openFile(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
