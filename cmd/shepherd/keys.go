package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/keys"
)

// leftError is a rotation that did what it could.
type leftError int

func (e leftError) Error() string {
	return fmt.Sprintf("secrets that are still sealed with another key: %d", int(e))
}

func keysNew(_ context.Context, args []string) error {
	if len(args) != 1 {
		return usageError("usage: shepherd keys new FILE")
	}
	if err := crypto.WriteNew(args[0]); err != nil {
		return err
	}
	fmt.Printf("Wrote %s. Keep a copy where the backups of the database are not: without it no cluster credential can be read.\n", args[0])
	return nil
}

// withKeys opens the database and the key file for a command.
func withKeys(ctx context.Context, do func(db *database.DB, ring *crypto.Keyring, unread error) error) error {
	c, log, err := config()
	if err != nil {
		return err
	}
	db, ring, unread, done, err := app.OpenKeys(ctx, c, log)
	if err != nil {
		return err
	}
	defer done()
	return do(db, ring, unread)
}

func keysList(ctx context.Context, args []string) error {
	if len(args) != 0 {
		return usageError("usage: shepherd keys list")
	}
	return withKeys(ctx, func(db *database.DB, ring *crypto.Keyring, unread error) error {
		if unread != nil {
			fmt.Fprintln(os.Stderr, "shepherd:", unread)
		}
		return writeKeys(ctx, os.Stdout, db, ring)
	})
}

// writeKeys tells of each key what it is and what it is needed for. ring may be
// nil.
func writeKeys(ctx context.Context, out io.Writer, db *database.DB, ring *crypto.Keyring) error {
	uses, err := keys.Uses(ctx, db)
	if err != nil {
		return err
	}
	states, fingerprints := map[string]string{}, map[string]string{}
	var ids []string
	if ring != nil {
		lockout, err := keys.Examine(ctx, db, ring)
		if err != nil {
			return err
		}
		ids = ring.IDs()
		for i, id := range ids {
			states[id], fingerprints[id] = "retired", ring.Fingerprint(id)
			if i == 0 {
				states[id] = "active"
			}
			if lockout != nil && slices.Contains(lockout.Wrong, id) {
				states[id] = "WRONG: another key than the one that sealed"
			}
		}
		for _, id := range ring.Lost() {
			ids, states[id] = append(ids, id), "lost"
		}
	}
	for _, u := range uses {
		if states[u.Key] == "" {
			ids, states[u.Key] = append(ids, u.Key), "MISSING in the key file"
		}
	}
	tables := database.SealedColumns()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "KEY\tFINGERPRINT\t")
	for _, c := range tables {
		fmt.Fprint(w, strings.ToUpper(strings.ReplaceAll(c.Table, "_", " ")), "\t")
	}
	fmt.Fprintln(w, "AUDIT ANCHORS\tSTATE")
	for _, id := range ids {
		var u keys.Use
		if i := slices.IndexFunc(uses, func(u keys.Use) bool { return u.Key == id }); i >= 0 {
			u = uses[i]
		}
		fingerprint := fingerprints[id]
		if fingerprint == "" {
			fingerprint = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t", id, fingerprint)
		for _, c := range tables {
			fmt.Fprintf(w, "%d\t", u.Sealed[c.Table])
		}
		fmt.Fprintf(w, "%d\t%s\n", u.Anchors, states[id])
	}
	return w.Flush()
}

func keysRotate(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("keys rotate", flag.ContinueOnError)
	dry := flags.Bool("dry-run", false, "only tell what is left to do, by key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 0 {
		return usageError("usage: shepherd keys rotate [--dry-run]")
	}
	return withKeys(ctx, func(db *database.DB, ring *crypto.Keyring, unread error) error {
		if unread != nil {
			return unread
		}
		return rotate(ctx, os.Stdout, db, ring, *dry)
	})
}

// rotateEvery is how often a rotation tells how far it is.
const rotateEvery = time.Second

func rotate(ctx context.Context, out io.Writer, db *database.DB, ring *crypto.Keyring, dry bool) error {
	left, total, err := toRotate(ctx, db, ring)
	if err != nil {
		return err
	}
	for _, u := range left {
		fmt.Fprintf(out, "%s: %s\n", u.Key, sealedText(u))
	}
	if dry {
		fmt.Fprintf(out, "Secrets to seal anew with %s: %d\n", ring.Active(), total)
		return nil
	}
	told := time.Now()
	r := keys.Rotation{DB: db, Keys: ring, Progress: func(r keys.Report) {
		if time.Since(told) >= rotateEvery {
			told = time.Now()
			fmt.Fprintf(out, "%d of %d\n", r.Total(), total)
		}
	}}
	report, err := r.Run(ctx, app.CommandLine())
	for _, s := range report.Skipped {
		fmt.Fprintf(out, "skipped: %s %s, sealed with %s: %s\n", s.Table, s.Row, s.Key, s.Code)
	}
	fmt.Fprintf(out, "Secrets sealed anew with %s: %d\n", ring.Active(), report.Total())
	if apperr.CodeOf(err) == apperr.ErrCredentialsLocked {
		return fmt.Errorf("the first key of the key file, %s, is another one than the one that sealed under its id: see `shepherd keys list`", ring.Active())
	}
	if err != nil {
		return fmt.Errorf("stopped: %w\nNothing is lost: run it again", err)
	}
	if left, total, err = toRotate(ctx, db, ring); err != nil {
		return err
	}
	if total > len(report.Skipped) {
		fmt.Fprintf(out, "Secrets sealed with an old key meanwhile: %d. Does a process run that was not restarted? Restart it, and run this again.\n", total-len(report.Skipped))
	}
	if err := retired(ctx, out, db, ring, left); err != nil {
		return err
	}
	if total > 0 {
		return leftError(total)
	}
	return nil
}

// toRotate is what other keys than the active one have sealed.
func toRotate(ctx context.Context, db *database.DB, ring *crypto.Keyring) (left []keys.Use, total int, err error) {
	uses, err := keys.Uses(ctx, db)
	for _, u := range uses {
		if n := u.Secrets(); n > 0 && u.Key != ring.Active() {
			left, total = append(left, u), total+n
		}
	}
	return left, total, err
}

func sealedText(u keys.Use) string {
	var parts []string
	for _, c := range database.SealedColumns() {
		if n := u.Sealed[c.Table]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ReplaceAll(c.Table, "_", " ")))
		}
	}
	return strings.Join(parts, ", ")
}

// retired says what the old keys of the file are still for. Shepherd never says
// that a line can go: the key of each line signed heads of the audit log, which
// are in logs that the database does not know, and maybe tokens.
func retired(ctx context.Context, out io.Writer, db *database.DB, ring *crypto.Keyring, left []keys.Use) error {
	anchors, err := db.CountAnchors(ctx)
	if err != nil {
		return database.Classify(err)
	}
	for _, id := range ring.IDs()[1:] {
		if slices.ContainsFunc(left, func(u keys.Use) bool { return u.Key == id }) {
			continue
		}
		fmt.Fprintf(out, "%s: no secret needs it any more. Keep its line all the same: it verifies archives of the audit log (%d), the signed heads in logs of its time, and bearer tokens that were made with it.\n", id, anchors[id])
	}
	return nil
}
