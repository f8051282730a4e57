package audit_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// unpack reads an archive: the file with the entries, and the manifest.
func unpack(t *testing.T, archive []byte) (string, audit.Manifest) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil || len(z.File) != 2 {
		t.Fatalf("%v", err)
	}
	var texts [2][]byte
	for i, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if texts[i], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	var m audit.Manifest
	if err := json.Unmarshal(texts[1], &m); err != nil || z.File[1].Name != "manifest.json" || z.File[0].Name != m.File {
		t.Fatalf("%s: %v", texts[1], err)
	}
	if sum := sha256.Sum256(texts[0]); hex.EncodeToString(sum[:]) != m.SHA256 {
		t.Error("the manifest has another hash than the file")
	}
	return string(texts[0]), m
}

func TestExport(t *testing.T) {
	t.Parallel()
	l, ctx := newLog(t), t.Context()
	fill(t, l, 2500) // more than two parts
	head, err := l.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	auditor := domain.Actor{UserID: "u", Username: "avi", IP: "192.0.2.9", Bindings: []domain.Binding{{Role: domain.RoleAuditor}}}
	f := audit.Filter{Query: "vm-1", From: time.Now().Add(-time.Hour), ResourceType: "vm"}
	for _, format := range []string{audit.CSV, audit.JSONL} {
		e, err := l.Export(ctx, auditor, f, format)
		if err != nil {
			t.Fatal(err)
		}
		begun := l.DB.Ent.AuditLog.Query().Order(ent.Desc(auditlog.FieldID)).FirstX(ctx)
		if begun.Action != "audit.export" || begun.Actor != "avi" || begun.IPAddress != "192.0.2.9" || begun.Details["format"] != format {
			t.Errorf("before a byte leaves: %v", begun)
		}
		var out bytes.Buffer
		if err := e.Write(ctx, &out); err != nil {
			t.Fatal(err)
		}
		text, m := unpack(t, out.Bytes())
		// vm-1, vm-10 to 19, 100 to 199 and 1000 to 1999.
		if m.Entries != 1111 || m.First != 2 || m.Last != 2000 || m.By != "avi" || m.Head.Seq != 2500 || m.Head.Hash != head.Hash || m.Filter["query"] != "vm-1" || m.Filter["from"] == "" {
			t.Errorf("%s: %+v", format, m)
		}
		if _, err := l.Verify(ctx, []audit.Head{m.Head}, grace); err != nil {
			t.Errorf("the head of the manifest: %v", err)
		}
		if lines := strings.Count(text, "\n"); lines != 1111+map[string]int{audit.CSV: 1}[format] {
			t.Errorf("%s: %d lines", format, lines)
		}
		after := l.DB.Ent.AuditLog.Query().Order(ent.Desc(auditlog.FieldID)).FirstX(ctx)
		if after.Action != "audit.exported" || after.Result != auditlog.ResultDone || after.Details["sha256"] != m.SHA256 || after.Details["entries"] != float64(1111) {
			t.Errorf("after the last byte: %v", after)
		}
	}

	// What a reader that goes away got is on record too.
	e, err := l.Export(ctx, auditor, audit.Filter{}, audit.JSONL)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Write(ctx, broken{}); err == nil {
		t.Error("nobody reads, and all is well")
	}
	if after := l.DB.Ent.AuditLog.Query().Order(ent.Desc(auditlog.FieldID)).FirstX(ctx); after.Action != "audit.exported" || after.Result != auditlog.ResultFailed {
		t.Errorf("broken off: %v", after)
	}

	count := l.DB.Ent.AuditLog.Query().CountX(ctx)
	for _, roles := range [][]domain.Binding{nil, {{Role: domain.RoleApprover}}, {{Role: domain.RoleOwner, SystemID: "s"}}} {
		if _, err := l.Export(ctx, domain.Actor{UserID: "u", Bindings: roles}, audit.Filter{}, audit.CSV); apperr.CodeOf(err) != apperr.ErrForbidden {
			t.Errorf("%v: %v", roles, err)
		}
	}
	if _, err := l.Export(ctx, auditor, audit.Filter{}, "xls"); apperr.CodeOf(err) != apperr.ErrInvalidChoice {
		t.Errorf("unknown format: %v", err)
	}
	if l.DB.Ent.AuditLog.Query().CountX(ctx) != count {
		t.Error("an export that did not begin is on record")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

// Texts from people arrive as they were, and are no formula in a spreadsheet.
func TestExportOfHostileTexts(t *testing.T) {
	t.Parallel()
	l, ctx := newLog(t), t.Context()
	formulas := []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1", "\u00a0=1", "\ufeff=cmd|' /C calc'!A0", "\r=1"}
	harmless := []string{"plain", "a=1", "a \"quoted\", and\nbroken line", "<b>&", "é 日本", "'=1", ""}
	for _, text := range append(formulas, harmless...) {
		if err := audit.Record(ctx, l.DB.Ent, domain.Shepherd(), audit.Entry{Action: "a.b", ResourceType: "vm", ResourceName: text, Details: map[string]any{"x": text}}); err != nil {
			t.Fatal(err)
		}
	}
	auditor := domain.Actor{UserID: "u", Username: "=avi", Bindings: []domain.Binding{{Role: domain.RoleAuditor}}}
	read := func(format string) string {
		e, err := l.Export(ctx, auditor, audit.Filter{Action: "a.b"}, format)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := e.Write(ctx, &out); err != nil {
			t.Fatal(err)
		}
		text, _ := unpack(t, out.Bytes())
		return text
	}
	table, err := csv.NewReader(strings.NewReader(read(audit.CSV))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	lines := json.NewDecoder(strings.NewReader(read(audit.JSONL)))
	for i, text := range append(formulas, harmless...) {
		want := text
		if i < len(formulas) {
			want = "'" + text
		}
		// CSV cannot tell \r\n from \n, and the reader takes a lone \r as it is.
		if got := table[i+1][6]; got != want {
			t.Errorf("CSV: %q became %q", text, got)
		}
		var line map[string]any
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line["resource_name"] != text || line["details"].(map[string]any)["x"] != text {
			t.Errorf("JSONL: %q became %v", text, line)
		}
		if i == 0 && len(line) != len(table[0]) {
			t.Errorf("columns differ: %v, %v", table[0], maps.Keys(line))
		}
	}
}
