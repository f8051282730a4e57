package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"log/slog"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditseal"
	"kubevirt-shepherd.io/shepherd/ent/auditunsealed"
	"kubevirt-shepherd.io/shepherd/internal/database"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// The chain. An entry is written by the transaction of its change, without a
// lock, so that writers do not wait for each other. Within a second one process
// at a time takes the entries that wait, in the order of their numbers, and
// appends a link for each:
//
//	hash = SHA-256( version | number of the link | hash of the link before | entry )
//
// version is the text below, the number has 8 bytes, big endian, the hash
// before has 32, zeros for the first link, and the entry is in the form that
// database.AuditLink describes, nothing when it was gone before its seal. All
// parts but the last have one length, so no two chains have the same bytes. The
// form of an entry has a version in itself: its number of columns.
//
// Who may write to the database could rewrite the whole chain. So the newest
// link, the head, is signed with a key that lies outside and goes to the log
// every ten seconds; Verify holds the chain against such heads.
const version = "shepherd audit v1\n"

const (
	sealEvery = time.Second
	headEvery = 10 * time.Second // how often a head goes to the log, at most
	sealBatch = 1000             // entries in a transaction
	verifying = 10_000           // links that are read at once
)

// Head is a link of the chain, signed. As JSON it is a line of the log.
type Head struct {
	Message   string    `json:"msg"` // always HeadMessage
	Seq       int64     `json:"seq"` // 0: nothing is sealed
	Hash      string    `json:"hash"`
	At        time.Time `json:"at"`
	Key       string    `json:"key"`       // id of the key that the signature's is derived from
	Signature []byte    `json:"signature"` // Ed25519
}

// HeadMessage marks a line with a head in the log.
const HeadMessage = "audit head"

// purpose of the signing key.
const headKey = "audit heads"

func (h Head) signed() []byte {
	return fmt.Appendf(nil, "shepherd audit head v1\n%d\n%s\n%s\n", h.Seq, h.Hash, h.At.UTC().Format(time.RFC3339Nano))
}

// link computes hashes; it reuses one digest and one buffer.
type link struct {
	digest hash.Hash
	sum    [sha256.Size]byte // of the link before, then of the new one
}

func newLink(before []byte) *link {
	l := &link{digest: sha256.New()}
	copy(l.sum[:], before)
	return l
}

// next is the hash of the following link. It is valid until the next call.
func (l *link) next(seq int64, row []byte) []byte {
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], uint64(seq))
	l.digest.Reset()
	l.digest.Write([]byte(version))
	l.digest.Write(number[:])
	l.digest.Write(l.sum[:])
	l.digest.Write(row)
	l.digest.Sum(l.sum[:0])
	return l.sum[:]
}

// tip is the newest link.
type tip struct {
	seq  int64
	hash string
}

// tipOf finds it. When all links are in archives, the last anchor is it.
func tipOf(ctx context.Context, c *ent.Client) (tip, []byte, error) {
	s, err := c.AuditSeal.Query().Order(ent.Desc(auditseal.FieldID)).First(ctx)
	if ent.IsNotFound(err) {
		a, err := lastAnchor(ctx, c.AuditAnchor)
		if err != nil || a == nil {
			return tip{}, nil, err
		}
		return tip{int64(a.ID), hex.EncodeToString(a.Hash)}, a.Hash, nil
	}
	if err != nil {
		return tip{}, nil, database.Classify(err)
	}
	return tip{int64(s.ID), hex.EncodeToString(s.Hash)}, s.Hash, nil
}

// Seal appends the entries that wait to the chain and says how many. It does
// nothing while another process seals.
func (l *Log) Seal(ctx context.Context) (sealed int, err error) {
	sealed, _, _, err = l.seal(ctx)
	return sealed, err
}

// seal says also where the chain ended before and ends now.
func (l *Log) seal(ctx context.Context) (sealed int, from, to tip, err error) {
	for {
		n := 0
		err := l.DB.InTx(ctx, func(tx *ent.Tx) error {
			alone, err := database.LockAuditChain(ctx, tx)
			if err != nil || !alone {
				return err
			}
			before, hash, err := tipOf(ctx, tx.Client())
			if err != nil {
				return err
			}
			links, err := database.TakeUnsealed(ctx, tx, sealBatch)
			if err != nil {
				return err
			}
			chain := newLink(hash)
			for i := range links {
				links[i].Seq = before.seq + int64(i) + 1
				links[i].Hash = append([]byte(nil), chain.next(links[i].Seq, links[i].Row)...)
			}
			if n = len(links); n == 0 {
				return nil
			}
			if sealed == 0 {
				from = before
			}
			to = tip{links[n-1].Seq, hex.EncodeToString(links[n-1].Hash)}
			return database.AddSeals(ctx, tx, links)
		})
		if err != nil {
			return sealed, from, to, err
		}
		if sealed += n; n < sealBatch {
			return sealed, from, to, nil
		}
	}
}

// Chain is how far the seals go.
type Chain struct {
	Links   int64
	Waiting int // entries without a seal, for a moment
}

// Chain says how far the seals go.
func (l *Log) Chain(ctx context.Context) (Chain, error) {
	t, _, err := tipOf(ctx, l.DB.Ent)
	if err != nil {
		return Chain{}, err
	}
	waiting, err := l.DB.Ent.AuditUnsealed.Query().Count(ctx)
	return Chain{t.seq, waiting}, database.Classify(err)
}

// Head is the signed head of the chain. CREDENTIALS_LOCKED while the key file is
// not the one that it should be.
func (l *Log) Head(ctx context.Context) (Head, error) {
	t, _, err := tipOf(ctx, l.DB.Ent)
	if err != nil {
		return Head{}, err
	}
	return l.sign(t)
}

// signer is the key that signs. While the keyring is locked nothing is signed:
// a signature with a key that is no longer there, or was put there by mistake,
// could not be told from a forged one.
func (l *Log) signer() (ed25519.PrivateKey, error) {
	if l.Keys.Locked() != nil {
		return nil, apperr.New(apperr.ErrCredentialsLocked)
	}
	return ed25519.NewKeyFromSeed(l.Keys.Derive(headKey)), nil
}

func (l *Log) sign(t tip) (Head, error) {
	key, err := l.signer()
	if err != nil {
		return Head{}, err
	}
	h := Head{Message: HeadMessage, Seq: t.seq, Hash: t.hash, At: time.Now().UTC().Truncate(time.Microsecond), Key: l.Keys.Active()}
	h.Signature = ed25519.Sign(key, h.signed())
	return h, nil
}

// genuine says whether one of our keys signed the head; known, whether we have
// the key that it names.
func (l *Log) genuine(h Head) (ok, known bool) {
	public := l.publicKeyOf(h.Key)
	return public != nil && ed25519.Verify(public, h.signed(), h.Signature), public != nil
}

// PublicKey checks what this process signs: heads, archives, evidence packs. It
// is in base64, and no secret; "" while the keyring is locked.
func (l *Log) PublicKey() string { return base64.StdEncoding.EncodeToString(l.publicKey()) }

func (l *Log) publicKey() ed25519.PublicKey { return l.publicKeyOf(l.Keys.Active()) }

// publicKeyOf is nil when the key file has no such key.
func (l *Log) publicKeyOf(id string) ed25519.PublicKey {
	seed := l.Keys.DeriveFrom(id, headKey)
	if seed == nil {
		return nil
	}
	return ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
}

// Run seals until ctx ends, and once more then. Hashes need no key: the chain
// goes on while the keyring is locked, only that no head is signed.
func (l *Log) Run(ctx context.Context) {
	if l.Keys.Locked() != nil {
		l.Logger.WarnContext(ctx, "heads of the audit log are not signed, and nothing is archived, until the right key file is there")
	}
	// The chain as this process knows it, and what the log has. At the start the
	// head is told again: the last process may have died before it could.
	seen, _, _ := tipOf(ctx, l.DB.Ent)
	var told tip
	var toldAt time.Time
	step := func(ctx context.Context, last bool) {
		l.flushDenials(ctx, time.Now(), last)
		waits, err := l.DB.Ent.AuditUnsealed.Query().Limit(1).Select(auditunsealed.FieldID).Ints(ctx)
		if err == nil && len(waits) > 0 {
			var sealed int
			var from, to tip
			sealed, from, to, err = l.seal(ctx)
			if sealed > 0 {
				if from.seq < seen.seq || from.seq == seen.seq && seen.seq > 0 && from.hash != seen.hash {
					l.Logger.ErrorContext(ctx, "the audit chain was cut or rewritten: run shepherd audit verify", "expected", seen.seq, "found", from.seq)
				}
				seen = to
			}
		}
		if err != nil && ctx.Err() == nil {
			l.Logger.ErrorContext(ctx, "audit entries could not be sealed", "error", err)
		}
		if seen != told && (last || time.Since(toldAt) >= headEvery) {
			if head, err := l.sign(seen); err == nil {
				l.tell(ctx, head)
			}
			told, toldAt = seen, time.Now()
		}
	}
	every := time.NewTicker(sealEvery)
	defer every.Stop()
	for {
		step(ctx, false)
		select {
		case <-every.C:
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			step(end, true)
			return
		}
	}
}

// tell writes a head to the log, whatever the log's level is.
func (l *Log) tell(ctx context.Context, h Head) {
	r := slog.NewRecord(time.Now(), slog.LevelInfo, HeadMessage, 0)
	r.AddAttrs(slog.Int64("seq", h.Seq), slog.String("hash", h.Hash), slog.Time("at", h.At), slog.String("key", h.Key), slog.Any("signature", h.Signature))
	_ = l.Logger.Handler().Handle(ctx, r)
}
