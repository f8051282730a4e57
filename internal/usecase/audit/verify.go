package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditanchor"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/internal/database"
)

// Fault is the first thing that is wrong with the record.
type Fault struct {
	Kind  string // entry-changed entry-missing link-missing tail-missing head-differs head-forged entry-unsealed anchor-forged archive-changed archive-missing
	Seq   int64  // number of the link; 0 without one
	Entry int64  // number of the entry; 0 when it is not known
	Text  string // in words
}

func (f *Fault) Error() string { return f.Text }

func fault(kind string, seq, entry int64, format string, args ...any) *Fault {
	return &Fault{kind, seq, entry, fmt.Sprintf(format, args...)}
}

// Report is what Verify has looked at.
type Report struct {
	Links    int64 // of the chain, all of them good up to a fault
	Heads    int   // that the chain was held against
	Last     string
	Archived int64 // of Links: those in archives
	Archives int   // that were read
	Unread   int   // heads in archives that were not read
}

// Verify walks through the whole chain, and holds it against heads that were
// kept outside the database. The error is a *Fault when the record was tampered
// with, and names the first broken entry. Entries may wait for their seal for
// as long as grace. What is in archives is taken from their signed anchors.
func (l *Log) Verify(ctx context.Context, heads []Head, grace time.Duration) (Report, error) {
	return l.VerifyAll(ctx, heads, grace, "")
}

// VerifyAll is Verify that reads the archives in a directory too.
func (l *Log) VerifyAll(ctx context.Context, heads []Head, grace time.Duration, archives string) (Report, error) {
	var r Report
	for _, h := range heads {
		switch ok, known := l.genuine(h); {
		case !known:
			return r, fault("head-forged", h.Seq, 0, "the head of link %d names the key %q, which is not in the key file", h.Seq, h.Key)
		case !ok:
			return r, fault("head-forged", h.Seq, 0, "the head of link %d of %s has no valid signature", h.Seq, h.At.Format(time.RFC3339))
		}
	}
	heads = slices.SortedFunc(slices.Values(heads), func(a, b Head) int { return cmp.Compare(a.Seq, b.Seq) })
	for len(heads) > 0 && heads[0].Seq == 0 {
		heads = heads[1:] // of an empty chain
	}
	r.Heads = len(heads)

	meet := func(seq, entry int64, hash string) error {
		for len(heads) > 0 && heads[0].Seq == seq {
			if heads[0].Hash != hash {
				return fault("head-differs", seq, entry, "the chain was written anew: at entry %d (link %d) it differs from the head of %s", entry, seq, heads[0].At.Format(time.RFC3339))
			}
			heads = heads[1:]
		}
		return nil
	}
	before, err := l.verifyAnchors(ctx, &r, archives, func(seq, entry int64, hash string) error {
		for len(heads) > 0 && heads[0].Seq < seq { // in an archive that is not read
			heads = heads[1:]
			r.Unread++
			r.Heads--
		}
		return meet(seq, entry, hash)
	})
	if err != nil {
		return r, err
	}

	chain, entry := newLink(before), int64(0)
	for {
		n, err := l.DB.AuditChain(ctx, r.Links, verifying, func(a database.AuditLink) error {
			want := r.Links + 1
			if a.Seq != want {
				return fault("link-missing", want, 0, "link %d is missing; it sealed an entry after entry %d", want, entry)
			}
			switch got := chain.next(a.Seq, a.Row); {
			case a.Row == nil:
				return fault("entry-missing", a.Seq, a.Entry, "entry %d is missing (link %d)", a.Entry, a.Seq)
			case !bytes.Equal(got, a.Hash):
				return fault("entry-changed", a.Seq, a.Entry, "entry %d or its seal was changed (link %d)", a.Entry, a.Seq)
			}
			if err := meet(a.Seq, a.Entry, hex.EncodeToString(a.Hash)); err != nil {
				return err
			}
			r.Links, entry = a.Seq, a.Entry
			return nil
		})
		if err != nil {
			return r, err
		}
		if n < verifying {
			break
		}
	}
	r.Last = hex.EncodeToString(chain.sum[:])
	if len(heads) > 0 {
		h := heads[len(heads)-1]
		return r, fault("tail-missing", r.Links+1, 0, "the tail was cut: the chain ends with link %d (entry %d), and a head of %s has link %d", r.Links, entry, h.At.Format(time.RFC3339), h.Seq)
	}
	return r, l.verifySealed(ctx, grace)
}

// verifyAnchors walks over the archived part of the chain and gives the hash
// that it ends with. met is told the links that are known by it.
func (l *Log) verifyAnchors(ctx context.Context, r *Report, archives string, met func(seq, entry int64, hash string) error) (before []byte, err error) {
	anchors, err := l.DB.Ent.AuditAnchor.Query().Order(ent.Asc(auditanchor.FieldID)).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	before = make([]byte, sha256.Size)
	for _, a := range anchors {
		last := int64(a.ID)
		if !l.genuineAnchor(a) || int64(a.FirstSeq) != r.Links+1 || !bytes.Equal(a.Before, before) {
			return nil, fault("anchor-forged", int64(a.FirstSeq), 0, "the anchor of the archived links %d to %d does not go on with link %d, or has no valid signature of a key in the key file", a.FirstSeq, a.ID, r.Links+1)
		}
		if archives != "" {
			_, digest, err := readArchive(filepath.Join(archives, filepath.Base(a.File)), l.publicKeyOf(a.KeyID), func(s sealed) error {
				return met(s.Seq, 0, s.Hash)
			})
			var f *Fault
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil, fault("archive-missing", int64(a.FirstSeq), 0, "the archive %s of links %d to %d is missing", a.File, a.FirstSeq, a.ID)
			case errors.As(err, &f):
				return nil, f
			case err != nil:
				return nil, fault("archive-changed", int64(a.FirstSeq), 0, "the archive %s was changed: %v", a.File, err)
			case !bytes.Equal(digest, a.FileSha256):
				return nil, fault("archive-changed", int64(a.FirstSeq), 0, "the archive %s is another file than the one that was made", a.File)
			}
			r.Archives++
		}
		if err := met(last, 0, hex.EncodeToString(a.Hash)); err != nil {
			return nil, err
		}
		r.Links, r.Archived, before = last, last, a.Hash
	}
	return before, nil
}

// verifySealed finds entries that were never sealed.
func (l *Log) verifySealed(ctx context.Context, grace time.Duration) error {
	newest, err := l.DB.Ent.AuditLog.Query().Order(ent.Desc(auditlog.FieldID)).FirstID(ctx)
	if ent.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return database.Classify(err)
	}
	const part = 200_000
	for after := int64(-1 << 62); after < int64(newest); {
		upTo := after + part
		if after < 0 { // numbers begin with 1; whoever forged one below is found too
			upTo = 0
		}
		entry, err := l.DB.Unsealed(ctx, after, upTo, grace)
		if err != nil {
			return err
		}
		if entry != 0 {
			return fault("entry-unsealed", 0, entry, "entry %d was never sealed", entry)
		}
		after = upTo
	}
	return nil
}

// ReadHeads finds the heads in a log of the portal, or in what `shepherd audit
// head` printed; other lines are skipped. No head at all is an error.
func ReadHeads(from io.Reader) ([]Head, error) {
	var heads []Head
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes('\n')
		if i := bytes.IndexByte(text, '{'); i >= 0 && bytes.Contains(text, []byte(`"`+HeadMessage+`"`)) {
			var h Head
			if json.Unmarshal(text[i:], &h) == nil && h.Message == HeadMessage {
				heads = append(heads, h)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if len(heads) == 0 {
		return nil, errors.New("no head of the audit chain in it")
	}
	return heads, nil
}
