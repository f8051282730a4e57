package audit

import (
	"context"
	"crypto/sha256"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// WriteArchive is a run that dies before the anchor.
func (l *Log) WriteArchive(ctx context.Context, until time.Time) (string, error) {
	return l.writeArchive(ctx, 0, make([]byte, sha256.Size), until)
}

// ArchiveNext is a run that dies before it removes anything.
func (l *Log) ArchiveNext(ctx context.Context) (bool, error) { return l.archiveNext(ctx) }

// FlushDenials is what a running portal does each second.
func (l *Log) FlushDenials(ctx context.Context, now time.Time, all bool) {
	l.flushDenials(ctx, now, all)
}

// First says whether a refused try is put on record at once.
func (d *Denials) First(actor domain.Actor, e Entry) bool { return d.first(actor, e, time.Now()) }
