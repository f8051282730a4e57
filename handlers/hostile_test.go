package handlers_test

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/net/html"

	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// hostile is a text with an attempt for every place that it could land in: an
// element, an attribute, a script, a style, a comment, an address, Markdown, a
// template, a format, a cell of a table, a terminal, a line of a log; with
// characters that turn the text around or hide in it, and a very long word.
const hostile = `=cmd|'/C calc'!A1 "><img src=x id=pwned onerror="document.documentElement.dataset.pwned=1"><script>document.documentElement.dataset.pwned=2</script>` +
	`<svg/onload="document.documentElement.dataset.pwned=3"></svg>'" onfocus=document.documentElement.dataset.pwned=4 autofocus x='` +
	`</textarea></title></style></script><!--><b id=pwned>--><a id=pwned href="javascript:document.documentElement.dataset.pwned=5">x</a>` +
	`[link](javascript:alert(1)) ![x](javascript:alert(1)) <javascript:alert(1)> <iframe srcdoc="<script>1</script>"></iframe><meta http-equiv=refresh content="0;url=//evil.example">` +
	`<base href="//evil.example"><form action="//evil.example"><button name=pwned formaction="//evil.example">x</button></form><div id=pwned hx-get="/logout" hx-trigger=load></div>` +
	`{{7*7}} ${7*7} %s%n%!(EXTRA) <%= 7*7 %> '; DROP TABLE users;-- ` + "\u202egnp.exe\u202c \u2066isolated\u2069 zero\u200bwidth \ufeff\U000E0041 \x1b[31mred\x07 \u0085 \u2028" +
	"\r\nSet-Cookie: pwned=1\r\n\r\n<h1 id=pwned>x</h1> javascript:alert(1) data:text/html,x " + "\xef\xbf\xbe"

// longWord breaks only where the style says so.
var longWord = strings.Repeat("abcdefghij", 40)

// kept are the columns that the portal reads as something else than text: with
// other words in them there would be no page to look at.
var kept = []string{
	"id", "role", "environment", "effect", "operation", "status", "result", "type", "aggregate_type", "aggregate_id", "state", "health", "step", "kind", "hash",
	"password_hash", "setup_hash", "key_id", "encryption_key_id", "system_id", "resource_id", "resource_type", "resource_key", "spec_hash", "action", "namespace",
	"username", "vm_prefix", "signature", "language", "event_type",
}

// words are values in JSON that are no text of anybody.
var words = regexp.MustCompile(`^([A-Z_]+|[a-z]{1,10}|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{64}|\d{4}-\d\d-\d\dT.*)$`)

// plant writes the hostile text into every column of every table that holds a
// text, past all checks and triggers, as an attacker of the database would. A
// column that is added later is planted too.
func (p *portal) plant() (columns int) {
	p.t.Helper()
	ctx := p.t.Context()
	tx, err := p.db.Pool.Begin(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, `SET LOCAL session_replication_role = replica`); err != nil {
		p.t.Fatal(err)
	}
	rows, err := tx.Query(ctx, `SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND data_type IN ('text', 'character varying', 'jsonb')
		AND table_name !~ '^(river_|goose)' ORDER BY 1, 2`)
	if err != nil {
		p.t.Fatal(err)
	}
	type column struct{ Table, Name, Type string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		p.t.Fatal(err)
	}
	for _, c := range all {
		if slices.Contains(kept, c.Name) || c.Table == "sessions" {
			continue
		}
		columns++
		table, name := pgx.Identifier{c.Table}.Sanitize(), pgx.Identifier{c.Name}.Sanitize()
		if c.Type != "jsonb" {
			if _, err := tx.Exec(ctx, fmt.Sprintf(`UPDATE %s SET %s = $1 || ctid::text || ' ' || $2`, table, name), hostile, longWord); err != nil {
				p.t.Fatalf("%s.%s: %v", c.Table, c.Name, err)
			}
			continue
		}
		rows, err := tx.Query(ctx, fmt.Sprintf(`SELECT ctid::text, %s::text FROM %s WHERE %s IS NOT NULL`, name, table, name))
		if err != nil {
			p.t.Fatal(err)
		}
		type value struct{ At, Text string }
		values, err := pgx.CollectRows(rows, pgx.RowToStructByPos[value])
		if err != nil {
			p.t.Fatal(err)
		}
		for _, v := range values {
			d := json.NewDecoder(strings.NewReader(v.Text))
			d.UseNumber()
			var doc any
			if err := d.Decode(&doc); err != nil {
				p.t.Fatal(err)
			}
			text, err := json.Marshal(spoil(doc))
			if err != nil {
				p.t.Fatal(err)
			}
			if _, err := tx.Exec(ctx, fmt.Sprintf(`UPDATE %s SET %s = $1 WHERE ctid = $2::tid`, table, name), string(text), v.At); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	if err := tx.Commit(ctx); err != nil {
		p.t.Fatal(err)
	}
	return columns
}

// spoil replaces the texts of a document.
func spoil(v any) any {
	switch v := v.(type) {
	case string:
		if v != "" && !words.MatchString(v) {
			return hostile
		}
	case []any:
		for i := range v {
			v[i] = spoil(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = spoil(v[k])
		}
	}
	return v
}

// planted runs one statement past all triggers.
func (p *portal) planted(statement string, args ...any) {
	p.t.Helper()
	ctx := p.t.Context()
	tx, err := p.db.Pool.Begin(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, `SET LOCAL session_replication_role = replica`); err != nil {
		p.t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, statement, args...); err != nil {
		p.t.Fatalf("%s: %v", statement, err)
	}
	if err := tx.Commit(ctx); err != nil {
		p.t.Fatal(err)
	}
}

// newHostileShop is the full shop with the hostile text in all of it.
func newHostileShop(t *testing.T, change ...func(*handlers.Config)) (s *shop, ids map[string]string, routes []string) {
	t.Helper()
	s, ids, routes = newFullShop(t, change...)
	if n := s.plant(); n < 60 {
		t.Fatalf("only %d columns are planted", n)
	}
	return s, ids, routes
}

// newFullShop is the shop with something of everything there is, and the
// addresses of its pages.
func newFullShop(t *testing.T, change ...func(*handlers.Config)) (s *shop, ids map[string]string, routes []string) {
	t.Helper()
	s = newShop(t, change...)
	ctx := t.Context()
	m := s.vm(s.test, 3, domain.StateErrorUnschedulable)
	s.db.Ent.VM.UpdateOne(m).SetProblem(domain.Problem{Code: "SPEC_REJECTED", Text: "Some text of the cluster", Params: map[string]any{"text": "Words of an admission", "node": "Node 7"}}).
		SetIPAddress("10.0.0.1 x").SetNodeName("Node 7").SetGuestOs("Guest OS").ExecX(ctx)
	s.vm(s.prod, 4, domain.StateRunning)
	pending := s.asked(s.test)
	other := s.asked(s.prod, "ssh_keys", publicKey, "reason", "Another reason that will be replaced.")
	page := s.prodBoss.get(fmt.Sprintf("/approvals/%d", other))
	s.prodBoss.post(fmt.Sprintf("/approvals/%d", other), "do", "reject", "version", page.attr("[name=version]", "value"), "spec_hash", page.attr("[name=spec_hash]", "value"),
		"template", s.template, "size", s.small, "count", "2", "disk", "20", "cluster", s.prod.cluster, "reason", "No room for it, sorry.").is(http.StatusSeeOther)
	s.dev.post("/systems/"+s.test.system+"/edit", "docs", "# Docs\n\nSome words.", "version", s.dev.get("/systems/"+s.test.system+"/edit").attr("[name=version]", "value")).is(http.StatusSeeOther)
	s.db.Ent.Cluster.Update().SetPlace("A place").SetStatusReason(domain.Problem{Code: "CLUSTER_DEGRADED", Text: "Words of a cluster"}).SetKubernetesVersion("v1 x").SetKubevirtVersion("v2 x").
		SetStorageClasses([]domain.StorageClass{{Name: "A class"}}).ExecX(ctx)
	s.db.Ent.Template.Update().SetDescription("A description").ExecX(ctx)
	s.db.Ent.User.Update().SetDisplayName("A display name").ExecX(ctx)
	draft := s.admin.upload(goodKubeconfig()).is(http.StatusSeeOther).Location
	// Something that waits for adoption and a sample, which no page makes.
	ids = s.objects()
	ids["{ticket}"], ids["{vm}"], ids["{draft}"] = fmt.Sprint(pending), m.ID.String(), strings.TrimPrefix(draft, "/clusters/new/")
	ids["{person}"] = s.db.Ent.User.Query().FirstIDX(ctx).String()
	for _, r := range s.Routes() {
		if r.Method == http.MethodGet && r.Pattern != paths.Events && r.Pattern != paths.AuditExport && !strings.HasPrefix(r.Pattern, paths.Docs) && !strings.HasPrefix(r.Pattern, "/setup/") {
			routes = append(routes, filled(r.Pattern, ids))
		}
	}
	routes = append(routes,
		fmt.Sprintf("/requests/%d", other), fmt.Sprintf("/approvals/%d", other), "/approvals?view=decided", "/audit?open=1", "/audit?q=cmd", "/search?q=cmd", "/search?q=redis",
		"/explorer?open="+s.test.system, "/requests/new?service="+s.test.service, "/nowhere/"+"%3Cimg%20src=x%20id=pwned%3E")
	return s, ids, routes
}

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPoJ5rl1kkMFwbvGmAPoUN2TOa0D9T9wl5FBqR4gQjXz dana@laptop"

// injected finds what a text has made of a page.
func injected(doc *html.Node) (found []string) {
	for n := range doc.Descendants() {
		switch n.Type {
		case html.CommentNode:
			found = append(found, "<!--"+n.Data+"-->")
		case html.ElementNode:
			if slices.Contains([]string{"iframe", "object", "embed", "base", "style"}, n.Data) || n.Data == "script" && (attribute(n, "src") == "" || n.FirstChild != nil) ||
				n.Data == "meta" && attribute(n, "http-equiv") != "" {
				found = append(found, "<"+n.Data+">")
			}
			for _, a := range n.Attr {
				value := strings.ToLower(strings.TrimSpace(a.Val))
				switch {
				case a.Val == "pwned", strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcdoc", a.Key == "autofocus" && strings.Contains(n.Data, "="):
					found = append(found, n.Data+" "+a.Key+"="+a.Val)
				case slices.Contains([]string{"href", "src", "action", "formaction"}, a.Key) || strings.HasPrefix(a.Key, "hx-") && a.Key != "hx-vals":
					scheme, _, has := strings.Cut(value, ":")
					if value == "data:," { // the empty icon of our pages
						continue
					}
					if has && slices.Contains([]string{"javascript", "vbscript", "data"}, scheme) || strings.HasPrefix(value, "//") || strings.Contains(value, "evil.example") && !strings.HasPrefix(value, "/") {
						found = append(found, n.Data+" "+a.Key+"="+a.Val)
					}
				}
			}
		}
	}
	return found
}

// TestHostileDatabase reads all pages of a portal whose every text is hostile.
func TestHostileDatabase(t *testing.T) {
	var log lockedText
	s, _, routes := newHostileShop(t, func(c *handlers.Config) { c.Logger = log.logger() })
	shown := 0
	for _, b := range []*browser{s.admin, s.dev, s.approver, s.auditor} {
		for _, path := range routes {
			p := b.get(path)
			if p.Status >= 500 {
				t.Errorf("%s: %d %s", path, p.Status, p.main())
			}
			for _, f := range injected(p.doc) {
				t.Errorf("%s: %s", path, f)
			}
			if strings.Contains(p.Body, "cmd|") {
				shown++
			}
			for _, r := range p.Body {
				if domain.Hidden(r) && r != '\n' && r != '\t' && r != '\r' {
					t.Errorf("%s has the character %U", path, r)
					break
				}
			}
			for name, values := range p.Header {
				for _, v := range values {
					if strings.Contains(v, "pwned=") || strings.ContainsAny(v, "\r\n") {
						t.Errorf("%s: header %s: %s", path, name, v)
					}
				}
			}
			if b == s.admin {
				if j := b.with("Accept", "application/json").get(path); strings.HasPrefix(j.Header.Get("Content-Type"), "application/json") && !json.Valid([]byte(j.Body)) {
					t.Errorf("%s: not JSON: %s", path, j.Body)
				}
			}
		}
	}
	if shown < 40 {
		t.Errorf("only %d pages show the text at all", shown)
	}
	for _, format := range []string{"csv", "jsonl"} {
		for _, cell := range s.exported(format) {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("%s: a cell begins with %.20q", format, cell)
			}
		}
	}
	// What is sent is in the log as one line each, whatever it holds.
	nobody := s.anonymous().with("User-Agent", hostile[:60], "Referer", hostile[:60])
	nobody.post("/login", "username", hostile, "password", hostile)
	nobody.get("/" + strings.ReplaceAll("%0d%0a%1b[31m{\"level\":\"ERROR\"}", "\"", "%22"))
	for line := range strings.Lines(log.String()) {
		if !json.Valid([]byte(line)) || strings.ContainsAny(line, "\x1b\x07") {
			t.Errorf("a line of the log: %q", line)
		}
	}
}

// exported are the cells, or the lines, of an export of the whole audit log.
func (s *shop) exported(format string) (cells []string) {
	s.t.Helper()
	got := s.auditor.get("/audit/export?format=" + format).is(http.StatusOK)
	if d := got.Header.Get("Content-Disposition"); !regexp.MustCompile(`^attachment; filename="[-A-Za-z0-9.]+"$`).MatchString(d) {
		s.t.Errorf("Content-Disposition: %s", d)
	}
	z, err := zip.NewReader(bytes.NewReader([]byte(got.Body)), int64(len(got.Body)))
	if err != nil {
		s.t.Fatal(err)
	}
	f, err := z.Open("audit." + format)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if format == "csv" {
		rows, err := csv.NewReader(f).ReadAll()
		if err != nil || len(rows) < 3 {
			s.t.Fatalf("%d rows, %v", len(rows), err)
		}
		return slices.Concat(rows...)
	}
	for d := json.NewDecoder(f); d.More(); {
		var line map[string]any
		if err := d.Decode(&line); err != nil {
			s.t.Fatal(err)
		}
	}
	return nil
}

// TestHiddenCharactersAreRefused: no form stores what hides in a text or turns
// it around, and what was typed comes back with a mark in its place.
func TestHiddenCharactersAreRefused(t *testing.T) {
	s := newShop(t)
	for _, bad := range []string{"\u202e", "\u2066", "\u200b", "\ufeff", "\U000E0041", "\x1b[31m", "\u0085", "\u2028", "\x00"} {
		got := s.dev.post("/requests", s.form(s.test, "reason", "A reason with "+bad+" in it.")...).is(http.StatusUnprocessableEntity)
		if !got.has("#reason-error") || !strings.Contains(got.text("#reason"), "\uFFFD") {
			t.Errorf("%q: %s", bad, got.html("#reason"))
		}
		s.dev.post("/systems/"+s.test.system+"/edit", "docs", "x"+bad+"y", "version", s.dev.get("/systems/"+s.test.system+"/edit").attr("[name=version]", "value")).is(http.StatusUnprocessableEntity)
	}
	s.asked(s.test, "reason", "Für die Tests: 测试 👩\u200d💻 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.")
}
