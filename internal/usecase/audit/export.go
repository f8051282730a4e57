package audit

import (
	"archive/zip"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
)

// Formats of an export.
const (
	CSV   = "csv"
	JSONL = "jsonl"
)

// exportPart is how many entries are read at once.
const exportPart = 1000

// Manifest says what an export has. It is the last file of the archive, so an
// archive that was cut off has none.
type Manifest struct {
	File    string            `json:"file"`
	SHA256  string            `json:"sha256"` // of the file
	Entries int               `json:"entries"`
	First   int               `json:"first_entry,omitempty"` // numbers; 0: no entry
	Last    int               `json:"last_entry,omitempty"`
	UpTo    int               `json:"up_to_entry"` // the newest of the whole log when the export began
	Filter  map[string]string `json:"filter"`
	By      string            `json:"by"`
	At      time.Time         `json:"at"`
	Head    Head              `json:"head"` // of the chain, signed
	Note    string            `json:"note,omitempty"`
}

// guardNote tells of the one change that CSV makes.
const guardNote = "Cells that a spreadsheet would take for a formula begin with an apostrophe. JSONL has them as they are."

// Export is an archive that is about to be written.
type Export struct {
	log    *Log
	actor  domain.Actor
	filter Filter
	format string
	m      Manifest
}

// Name is what the archive is called.
func (e *Export) Name() string {
	return "shepherd-audit-" + e.m.At.Format("20060102T150405Z") + "-" + e.format + ".zip"
}

// Export begins an export of everything that the filter selects. That somebody
// exports is on record before a byte leaves, and with what, when it has left.
func (l *Log) Export(ctx context.Context, actor domain.Actor, f Filter, format string) (*Export, error) {
	if err := access.Check(actor, domain.AuditExport, domain.Object{}); err != nil {
		return nil, err
	}
	if format != CSV && format != JSONL {
		return nil, apperr.Field("format", apperr.ErrInvalidChoice)
	}
	newest, err := l.DB.Ent.AuditLog.Query().Order(ent.Desc(auditlog.FieldID)).FirstID(ctx)
	if err != nil && !ent.IsNotFound(err) {
		return nil, database.Classify(err)
	}
	e := &Export{log: l, actor: actor, filter: f, format: format}
	e.m = Manifest{File: "audit." + format, UpTo: newest, Filter: f.told(), By: actor.Username, At: time.Now().UTC().Truncate(time.Second)}
	if format == CSV {
		e.m.Note = guardNote
	}
	return e, e.record(ctx, "audit.export", false, map[string]any{"format": format, "filter": e.m.Filter, "up_to_entry": newest})
}

func (e *Export) record(ctx context.Context, action string, failed bool, details map[string]any) error {
	return database.Classify(Record(ctx, e.log.DB.Ent, e.actor, Entry{
		Action: action, ResourceType: "audit", ResourceID: e.m.At.Format(time.RFC3339), ResourceName: e.Name(), Failed: failed, Details: details,
	}))
}

// Write writes the archive: the entries, the oldest first, then the manifest.
func (e *Export) Write(ctx context.Context, w io.Writer) error {
	err := e.write(ctx, w)
	// Also when the reader is gone: what went out is on record.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	recorded := e.record(ctx, "audit.exported", err != nil, map[string]any{
		"entries": e.m.Entries, "first_entry": e.m.First, "last_entry": e.m.Last, "sha256": e.m.SHA256,
	})
	if err == nil {
		err = recorded
	}
	return err
}

func (e *Export) write(ctx context.Context, w io.Writer) error {
	archive := zip.NewWriter(w)
	archive.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	file, err := archive.CreateHeader(&zip.FileHeader{Name: e.m.File, Method: zip.Deflate, Modified: e.m.At})
	if err != nil {
		return err
	}
	digest := sha256.New()
	if err := e.rows(ctx, io.MultiWriter(file, digest)); err != nil {
		return err
	}
	e.m.SHA256 = hex.EncodeToString(digest.Sum(nil))
	if e.m.Head, err = e.log.Head(ctx); err != nil {
		return err
	}
	manifest, err := archive.CreateHeader(&zip.FileHeader{Name: "manifest.json", Method: zip.Deflate, Modified: e.m.At})
	if err != nil {
		return err
	}
	text := json.NewEncoder(manifest)
	text.SetIndent("", "  ")
	if err := text.Encode(e.m); err != nil {
		return err
	}
	return archive.Close()
}

// rows writes all entries that the filter selects.
func (e *Export) rows(ctx context.Context, w io.Writer) error {
	lines, table := json.NewEncoder(w), csv.NewWriter(w)
	lines.SetEscapeHTML(false)
	if e.format == CSV {
		if err := table.Write(columns); err != nil {
			return err
		}
	}
	where, possible := e.filter.where(e.actor)
	for after := 0; possible; {
		part, err := e.log.DB.Ent.AuditLog.Query().Where(where...).Where(auditlog.IDGT(after), auditlog.IDLTE(e.m.UpTo)).
			Order(ent.Asc(auditlog.FieldID)).Limit(exportPart).All(ctx)
		if err != nil {
			return database.Classify(err)
		}
		for _, r := range part {
			x := exportedOf(r)
			if e.format == CSV {
				err = x.csv(table)
			} else {
				err = lines.Encode(x)
			}
			if err != nil {
				return err
			}
			if e.m.Entries++; e.m.First == 0 {
				e.m.First = r.ID
			}
			e.m.Last, after = r.ID, r.ID
		}
		possible = len(part) == exportPart
	}
	table.Flush()
	return table.Error()
}

func (x exported) csv(table *csv.Writer) error {
	var objects [2]string
	for i, v := range []any{x.Details, x.Changes} {
		if reflect.ValueOf(v).Len() == 0 {
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		objects[i] = string(b)
	}
	cells := []string{
		strconv.Itoa(x.Entry), x.At, x.Actor, x.Action, x.ResourceType, x.ResourceID, x.ResourceName, x.SystemID, x.Result, x.Reason, objects[0], x.RequestID, x.IP,
		x.ActorID, x.OnBehalfOfID, x.OnBehalfOf, x.Via, x.ViaID, x.ViaName, objects[1],
	}
	for i := range cells {
		cells[i] = guard(cells[i])
	}
	return table.Write(cells)
}

// guard keeps a spreadsheet from taking a cell for a formula (OWASP, CSV
// injection): also behind white space, and in the wide forms of the signs.
func guard(cell string) string {
	text := strings.TrimLeft(cell, " \t\r\n\u00a0\u3000\ufeff")
	if strings.HasPrefix(cell, "\t") || strings.HasPrefix(cell, "\r") || strings.HasPrefix(cell, "\n") ||
		slices.ContainsFunc([]string{"=", "+", "-", "@", "＝", "＋", "－", "＠"}, func(sign string) bool { return strings.HasPrefix(text, sign) }) {
		return "'" + cell
	}
	return cell
}

// told is the filter for the manifest and the record: what selects, by name.
func (f Filter) told() map[string]string {
	all := map[string]string{}
	for name, v := range map[string]string{
		"query": f.Query, "actor": f.Actor, "on_behalf_of": f.OnBehalfOf, "action": f.Action, "system_id": f.SystemID, "resource_type": f.ResourceType, "resource_id": f.ResourceID, "result": f.Result,
	} {
		if v != "" {
			all[name] = domain.CleanText(v, maxQuery)
		}
	}
	for name, at := range map[string]time.Time{"from": f.From, "before": f.To} {
		if !at.IsZero() {
			all[name] = at.UTC().Format(time.RFC3339)
		}
	}
	return all
}
