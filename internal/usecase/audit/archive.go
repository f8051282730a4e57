package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditanchor"
	"kubevirt-shepherd.io/shepherd/ent/auditseal"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Retention is how long entries stay in the database. What is older goes into
// archives in Dir, whole days at a time. With either field empty all stays.
type Retention struct {
	For time.Duration // at least MinRetention
	Dir string
}

// MinRetention is how long entries stay at least. The database's trigger knows
// the same number.
const MinRetention = 90 * 24 * time.Hour

const (
	archiveLinks = 100_000          // in one archive, at most
	archiveRun   = 20 * time.Second // how long one run may begin new work
	removePart   = 1000             // links that one transaction removes
	archiveJob   = "archive-audit"
	unfinished   = ".unfinished-*"
)

// Archive moves what is older than the retention says into archives. In this
// order, so that a process may die at any point and nothing is lost: the file is
// written, read back and checked; an anchor, signed, takes the place of its
// links; and only then, and while the file is still as it was, do the entries
// leave the database. The next run goes on where this one ended.
func (l *Log) Archive(ctx context.Context) error {
	if l.Keep.Dir == "" || l.Keep.For == 0 || l.Keys.Locked() != nil {
		return nil // an anchor has to be signed
	}
	if l.Keep.For < MinRetention {
		return fmt.Errorf("audit entries are kept for %s at least", MinRetention)
	}
	for begun := time.Now(); time.Since(begun) < archiveRun; {
		if err := l.removeArchived(ctx); err != nil {
			return err
		}
		made, err := l.archiveNext(ctx)
		if err != nil || !made {
			return err
		}
	}
	return nil
}

// lastAnchor is where the links in the database begin; nil when nothing is
// archived.
func lastAnchor(ctx context.Context, c *ent.AuditAnchorClient) (*ent.AuditAnchor, error) {
	a, err := c.Query().Order(ent.Desc(auditanchor.FieldID)).First(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	return a, database.Classify(err)
}

// archiveNext makes the next archive and its anchor, if there is enough for one.
func (l *Log) archiveNext(ctx context.Context) (made bool, err error) {
	last, err := lastAnchor(ctx, l.DB.Ent.AuditAnchor)
	if err != nil {
		return false, err
	}
	after, before := int64(0), make([]byte, sha256.Size)
	if last != nil {
		after, before = int64(last.ID), last.Hash
	}
	path, err := l.leftover(after + 1)
	if err != nil {
		return false, err
	}
	if path == "" {
		until := time.Now().UTC().Truncate(24 * time.Hour).Add(-l.Keep.For)
		if path, err = l.writeArchive(ctx, after, before, until); err != nil || path == "" {
			return false, err
		}
	}
	m, digest, err := readArchive(path, nil, nil)
	if err == nil && base64.StdEncoding.EncodeToString(l.publicKeyOf(m.Key)) != m.PublicKey {
		err = errors.New("it is not signed with a key of the key file")
	}
	if err != nil {
		return false, fmt.Errorf("archive %s, read back: %w", filepath.Base(path), err)
	}
	seal, err := l.DB.Ent.AuditSeal.Get(ctx, int(m.LastSeq))
	if err != nil {
		return false, database.Classify(err)
	}
	if m.FirstSeq != after+1 || m.Before != hex.EncodeToString(before) || m.Hash != hex.EncodeToString(seal.Hash) {
		return false, fmt.Errorf("archive %s does not go on where the chain is", filepath.Base(path))
	}
	return true, l.anchor(ctx, m, before, seal.Hash, filepath.Base(path), digest)
}

func archiveName(first, last int64) string {
	return fmt.Sprintf("shepherd-audit-%012d-%012d.zip", first, last)
}

// leftover is an archive that a process wrote and did not live to anchor.
func (l *Log) leftover(first int64) (string, error) {
	found, err := filepath.Glob(filepath.Join(l.Keep.Dir, fmt.Sprintf("shepherd-audit-%012d-*.zip", first)))
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0], nil
}

// writeArchive writes the links that follow after, whose entries were written
// before until. path is "" when there are none.
func (l *Log) writeArchive(ctx context.Context, after int64, before []byte, until time.Time) (path string, err error) {
	if err := os.MkdirAll(l.Keep.Dir, 0o700); err != nil {
		return "", err
	}
	old, err := filepath.Glob(filepath.Join(l.Keep.Dir, unfinished))
	if err != nil {
		return "", err
	}
	for _, name := range old { // of a process that died
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(name)
		}
	}
	file, err := os.CreateTemp(l.Keep.Dir, unfinished) // mode 0600
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(file.Name()); _ = file.Close() }()
	b := newBundler(file, archiveKind)
	if err := b.text("README.txt", archiveReadme); err != nil {
		return "", err
	}
	chain, last := newLink(before), after
	err = b.add(entriesFile, func(w io.Writer) error {
		out, enough := json.NewEncoder(w), errors.New("enough")
		for last-after < archiveLinks {
			n, err := l.DB.AuditChain(ctx, last, verifying, func(a database.AuditLink) error {
				if last-after == archiveLinks {
					return enough
				}
				if a.Seq != last+1 || a.Row == nil || !bytes.Equal(chain.next(a.Seq, a.Row), a.Hash) {
					return fault("entry-changed", last+1, a.Entry, "link %d is broken: nothing from there on is archived; run shepherd audit verify", last+1)
				}
				line, at, err := sealedOf(a.Seq, a.Hash, a.Row)
				if err != nil {
					return err
				}
				if !at.Before(until) {
					return enough
				}
				last = a.Seq
				return out.Encode(line)
			})
			if errors.Is(err, enough) || err == nil && n < verifying {
				return nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || last == after {
		return "", err
	}
	seal, err := l.DB.Ent.AuditSeal.Get(ctx, int(last))
	if err != nil {
		return "", database.Classify(err)
	}
	b.m.FirstSeq, b.m.LastSeq, b.m.Before, b.m.Hash = after+1, last, hex.EncodeToString(before), hex.EncodeToString(seal.Hash)
	if err := errors.Join(b.close(l), file.Sync()); err != nil {
		return "", err
	}
	path = filepath.Join(l.Keep.Dir, archiveName(after+1, last))
	// A link, unlike a rename, never takes the place of an archive that is there.
	// Not all file systems have links.
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		if _, there := os.Lstat(path); there == nil {
			return "", err
		}
		if err := os.Rename(file.Name(), path); err != nil {
			return "", err
		}
	}
	return path, syncDir(l.Keep.Dir)
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// readArchive checks an archive with all its hashes; digest is that of the file.
// each, if given, gets every line.
func readArchive(path string, key ed25519.PublicKey, each func(sealed) error) (m Bundle, digest []byte, err error) {
	file, size, err := openFile(path)
	if err != nil {
		return m, nil, err
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(file, 0, size)); err != nil {
		return m, nil, err
	}
	m, open, err := openBundle(file, size, archiveKind, key)
	if err != nil {
		return m, nil, err
	}
	entries, err := open(entriesFile)
	if err != nil {
		return m, nil, err
	}
	defer func() { _ = entries.Close() }()
	before, err := hex.DecodeString(m.Before)
	if err != nil {
		return m, nil, err
	}
	next := m.FirstSeq
	err = lines(entries, func(s sealed) error {
		if s.Seq != next {
			return fmt.Errorf("link %d is missing", next)
		}
		if err := s.check(before); err != nil {
			return err
		}
		if before, err = hex.DecodeString(s.Hash); err != nil {
			return err
		}
		next++
		if each == nil {
			return nil
		}
		return each(s)
	})
	if err == nil && (next != m.LastSeq+1 || hex.EncodeToString(before) != m.Hash) {
		err = fmt.Errorf("it ends with link %d, and not as its manifest says", next-1)
	}
	return m, sum.Sum(nil), err
}

// signedAnchor is what an anchor's signature is over.
func signedAnchor(a *ent.AuditAnchor) []byte {
	return fmt.Appendf(nil, "shepherd audit anchor v1\n%d\n%d\n%x\n%x\n%q\n%x\n%s\n", a.FirstSeq, a.ID, a.Before, a.Hash, a.File, a.FileSha256, a.At.UTC().Format(time.RFC3339Nano))
}

// anchor puts an anchor into the place of the links of an archive.
func (l *Log) anchor(ctx context.Context, m Bundle, before, hash []byte, name string, digest []byte) error {
	a := &ent.AuditAnchor{
		ID: int(m.LastSeq), FirstSeq: int(m.FirstSeq), Before: before, Hash: hash, File: name, FileSha256: digest,
		At: time.Now().UTC().Truncate(time.Microsecond), KeyID: l.Keys.Active(),
	}
	key, err := l.signer()
	if err != nil {
		return err
	}
	a.Signature = ed25519.Sign(key, signedAnchor(a))
	return l.DB.InTx(ctx, func(tx *ent.Tx) error {
		err := tx.AuditAnchor.Create().SetID(a.ID).SetFirstSeq(a.FirstSeq).SetBefore(a.Before).SetHash(a.Hash).SetFile(a.File).
			SetFileSha256(a.FileSha256).SetAt(a.At).SetKeyID(a.KeyID).SetSignature(a.Signature).Exec(ctx)
		if err != nil {
			return err
		}
		return Write(ctx, tx, domain.ShepherdBy(archiveJob), Entry{
			Action: "audit.archive", ResourceType: "audit", ResourceID: name, ResourceName: name,
			Details: map[string]any{"first_link": m.FirstSeq, "last_link": m.LastSeq, "hash": m.Hash, "sha256": hex.EncodeToString(digest)},
		})
	})
}

// removeArchived takes what anchors cover out of the database, while every
// archive that is needed for it is there.
func (l *Log) removeArchived(ctx context.Context) error {
	last, err := lastAnchor(ctx, l.DB.Ent.AuditAnchor)
	if err != nil || last == nil {
		return err
	}
	first, err := l.DB.Ent.AuditSeal.Query().Where(auditseal.IDLTE(last.ID)).Order(ent.Asc(auditseal.FieldID)).FirstID(ctx)
	if ent.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return database.Classify(err)
	}
	needed, err := l.DB.Ent.AuditAnchor.Query().Where(auditanchor.IDGTE(first)).All(ctx)
	if err != nil {
		return database.Classify(err)
	}
	for _, a := range needed {
		if !l.genuineAnchor(a) {
			return fault("anchor-forged", int64(a.ID), 0, "the anchor of links %d to %d has no valid signature: nothing is removed", a.FirstSeq, a.ID)
		}
		_, digest, err := readArchive(filepath.Join(l.Keep.Dir, a.File), l.publicKeyOf(a.KeyID), nil)
		if err != nil {
			return fmt.Errorf("archive %s: %w: nothing is removed", a.File, err)
		}
		if !bytes.Equal(digest, a.FileSha256) {
			return fmt.Errorf("archive %s is another file than the one that was anchored: nothing is removed", a.File)
		}
	}
	for {
		n := 0
		err := l.DB.InTx(ctx, func(tx *ent.Tx) (err error) {
			n, err = database.RemoveArchived(ctx, tx, removePart)
			return err
		})
		if err != nil || n < removePart {
			return err
		}
	}
}

func (l *Log) genuineAnchor(a *ent.AuditAnchor) bool {
	key := l.publicKeyOf(a.KeyID)
	return key != nil && ed25519.Verify(key, signedAnchor(a), a.Signature)
}

// archiveReadme is for whoever opens an archive years later.
const archiveReadme = `Entries of the audit log of KubeVirt Shepherd that have left its database.

audit.jsonl    one entry a line: "entry" for readers, "row" in the canonical form
               (base64), and "hash", the link of the chain:
               SHA-256( "shepherd audit v1" and a line feed | seq, 8 bytes, big
               endian | hash of the line before, 32 bytes; of the first line that
               is "before" in manifest.json | row )
manifest.json  the SHA-256 of the files, and the links that are in here
manifest.sig   Ed25519 signature, in base64, over the line "shepherd manifest v1",
               a line feed, and the bytes of manifest.json

shepherd audit verify -archive DIR checks a directory of these files together
with the database.
`
