package handlers_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/handlers"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider/kubevirt"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// badInput is a row of the list of bad inputs (reference A3), by its number
// there. The rows that the list spells out have odd numbers.
type badInput struct {
	row   int
	what  string
	send  func(*badShop) // sends it and looks at the answer; nil: nothing of it can be sent to the portal
	tests string         // the tests that send the rest of it, where it arrives
}

// badInputs are all rows. Answers that differ from the list's are in
// docs/security.md, under "Bad input".
var badInputs = []badInput{
	{1, "exec", (*badShop).exec, "TestBadFiles"},
	{3, "auth-provider", refused("auth-provider", apperr.ErrKubeconfigAuthProvider), ""},
	{5, "token and tokenFile", refused("token and tokenFile", apperr.ErrKubeconfigFilePath), ""},
	{7, "client-key of a file", refused("client-key", apperr.ErrKubeconfigFilePath), ""},
	{9, "skipped check of certificates", refused("insecure-skip-tls-verify", apperr.ErrKubeconfigInsecureTLS), ""},
	{11, "plain HTTP", (*badShop).plainHTTP, ""},
	{13, "loopback in many spellings", (*badShop).loopback, "TestHosts TestGuard"},
	{15, "redirect", (*badShop).redirect, "TestRedirectIsNotFollowed TestPreflightOfStrangers"},
	{17, "the portal and its database", (*badShop).ownAddress, "TestOwnAddresses TestOwnAddressesAreRefused"},
	{19, "one harmless alias", refused("one harmless alias", apperr.ErrKubeconfigAlias), ""},
	{21, "64 KiB and a byte, 1 GiB without a length", (*badShop).tooLarge, "TestBodyLimit TestUploadWithoutEnd"},
	{23, "two users of one name", refused("two users of one name", apperr.ErrKubeconfigDuplicateName), ""},
	{25, "unknown key", refused("unknown key", apperr.ErrKubeconfigUnknownField), ""},
	{27, "hostile name of a context", (*badShop).contextName, ""},
	{29, "CA that is none", (*badShop).authorities, ""},
	{31, "kubeconfig of another cluster", (*badShop).otherCluster, "TestReplaceCredential TestIdentityChanged"},
	{33, "endless and packed answers", (*badShop).endlessAnswer, "TestResponseLimits TestClusterAway"},
	{35, "hostile message of a cluster", (*badShop).hostileMessage, "TestStatusErrors TestHostileTexts"},
	{37, "impossible objects", nil, "TestHostileObject TestImpossibleObjects"},
	{39, "VM with our labels", nil, "TestObserveIdentity"},
	{41, "fields that the form does not show", (*badShop).extraFields, "TestDecodeRefuses TestAPIBadInput"},
	{43, "impossible number, ten at once", (*badShop).counts, ""},
	{45, "texts for other programs", (*badShop).texts, "TestExportOfHostileTexts TestHostileDatabase"},
	{47, "VM name that two services would have", (*badShop).sameVMName, "TestSameNameAtOnce"},
	{49, "stale ticket", (*badShop).staleTicket, "TestDecideWhatWasShown"},
	{51, "cluster of the other environment", (*badShop).otherEnvironment, ""},
	{53, "disabled cluster, closed account", (*badShop).disabled, ""},
	{55, "change by a link", (*badShop).link, ""},
	{57, "stolen cookie", (*badShop).stolenCookie, "TestRightsAreReadEachTime"},
	{59, "unknown account or wrong password", (*badShop).signIn, "TestNoEnumeration TestSameTime TestThrottle"},
	{61, "impossible passwords", (*badShop).passwords, "TestHashesInLine TestPasswordRules"},
	{63, "request of another site", (*badShop).otherSite, "TestCrossOrigin"},
	{65, "console", (*badShop).console, ""},
}

// badShop is the shop with a log and with clusters that are really asked.
type badShop struct {
	*shop
	log *lockedText
}

// TestBadInputs sends all of them through the router.
func TestBadInputs(t *testing.T) {
	tests := declaredTests(t)
	next := 1
	for _, in := range badInputs {
		if in.row != next {
			t.Errorf("row %d is missing", next)
		}
		next = in.row + 2
		for name := range strings.FieldsSeq(in.tests) {
			if !tests[name] {
				t.Errorf("row %d: there is no %s", in.row, name)
			}
		}
		if in.send == nil && in.tests == "" {
			t.Errorf("nothing sends row %d", in.row)
		}
	}
	if next != 67 {
		t.Errorf("the table ends before row %d", next)
	}

	// What an admin uploads leaves nothing behind, so one shop does for all.
	const lastUpload = 35
	shared := newBadShop(t)
	for _, in := range badInputs {
		if in.send == nil {
			continue
		}
		t.Run(fmt.Sprintf("%02d %s", in.row, in.what), func(t *testing.T) {
			if in.row > lastUpload {
				s := newBadShop(t)
				in.send(s)
				s.wantsTidyLog()
				return
			}
			shared.t, shared.auditor.t = t, t
			shared.admin = shared.as(shared.person(fmt.Sprintf("admin-%d", in.row), domain.Binding{Role: domain.RoleAdmin}))
			shared.asks(kubevirt.Options{})
			in.send(shared)
		})
	}
	t.Run("all bad kubeconfigs", func(t *testing.T) {
		shared.t, shared.auditor.t, shared.admin.t = t, t, t
		shared.corpus()
		shared.wantsTidyLog()
	})
}

func newBadShop(t *testing.T) *badShop {
	t.Helper()
	text := &lockedText{}
	return &badShop{newShop(t, func(c *handlers.Config) { c.Logger = text.logger() }), text}
}

// wantsTidyLog: whatever came in, the log has whole lines without anything that
// hides or steers a terminal, and no fault of ours.
func (s *badShop) wantsTidyLog() {
	s.t.Helper()
	for line := range strings.Lines(s.log.String()) {
		if !json.Valid([]byte(line)) || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), domain.Hidden) || len(line) > 16<<10 {
			s.t.Errorf("a line of the log: %.200q", line)
		}
		if strings.Contains(line, `"level":"ERROR"`) {
			s.t.Errorf("an error of ours: %s", line)
		}
	}
}

// corpus uploads all bad kubeconfigs that there are: the rows above and their
// relatives. Each gets the answer that belongs to its code.
func (s *badShop) corpus() {
	all := kubeconfigtest.Bad(s.t)
	if len(all) < 100 {
		s.t.Errorf("only %d files", len(all))
	}
	s.unchanged(func() {
		for _, c := range all {
			got := s.refusal(c)
			for _, secret := range c.Canaries {
				if strings.Contains(got.Body, secret) {
					s.t.Errorf("%s: %q is in the answer", c.Name, secret)
				}
			}
		}
	})
	s.keepsSecret(s.auditor.get("/audit"), all[0].Canaries...)
}

// declaredTests are the names of all tests of the repository.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(`)
	names := map[string]bool{}
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"node_modules", ".git", "bin", "data", "ent"}, d.Name()):
			return filepath.SkipDir
		case !strings.HasSuffix(p, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(p)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// asks lets the portal look at clusters for itself.
func (s *badShop) asks(opt kubevirt.Options) {
	p := kubevirt.New(kubevirt.NewKubeconfigProvider(&cluster.Credentials{DB: s.db, Keys: s.Clusters.Keys}), opt)
	s.t.Cleanup(p.Close)
	s.play.preflight = p.Preflight
}

// unchanged does something, after which every table is as before, but for
// sessions and the audit log.
func (s *badShop) unchanged(deed func()) {
	s.t.Helper()
	before := s.dump(`^(sessions|audit_.*)$`)
	deed()
	for table, rows := range s.dump(`^(sessions|audit_.*)$`) {
		if rows != before[table] {
			s.t.Errorf("%s was\n%.2000s\nand is\n%.2000s", table, before[table], rows)
		}
	}
}

// dump is what all tables hold, but for some.
func (s *badShop) dump(without string) map[string]string {
	s.t.Helper()
	ctx := s.t.Context()
	rows, err := s.db.Pool.Query(ctx, `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name !~ $1`, without)
	if err != nil {
		s.t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 20 {
		s.t.Fatalf("%d tables, %v", len(tables), err)
	}
	parts := make([]string, len(tables))
	for i, table := range tables {
		parts[i] = `SELECT coalesce(string_agg(t::text, E'\n' ORDER BY t::text), '') FROM ` + pgx.Identifier{table}.Sanitize() + ` t`
	}
	if rows, err = s.db.Pool.Query(ctx, strings.Join(parts, " UNION ALL ")); err != nil {
		s.t.Fatal(err)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(texts) != len(tables) {
		s.t.Fatalf("%d of %d tables, %v", len(texts), len(tables), err)
	}
	all := map[string]string{}
	for i, table := range tables {
		all[table] = texts[i]
	}
	return all
}

// keepsSecret says that none of the texts is in an answer, the log or the database.
func (s *badShop) keepsSecret(p *page, texts ...string) {
	s.t.Helper()
	stored := fmt.Sprint(s.dump(`^$`))
	for _, secret := range texts {
		for place, text := range map[string]string{"answer": p.Body + fmt.Sprint(p.Header), "log": s.log.String(), "database": stored} {
			if strings.Contains(text, secret) || strings.Contains(text, kubeconfigtest.Base64([]byte(secret))) {
				s.t.Errorf("%s: %q is in the %s", p.what, secret, place)
			}
		}
	}
}

// marked says that a field has the line of a code, among what is wrong.
func marked(p *page, field, code string, params map[string]any) {
	p.t.Helper()
	want := strings.Join(strings.Fields(i18n.Field(i18n.English, code, "", params)), " ")
	if got := p.text("#" + field + "-error"); !strings.Contains(got, want) {
		p.t.Errorf("%s: %s says %q, want %q", p.what, field, got, want)
	}
}

// refusal uploads a kubeconfig and wants the answer of its code at the field.
func (s *badShop) refusal(c kubeconfigtest.Case) *page {
	s.t.Helper()
	_, err := kubeconfig.Parse(c.Data, time.Now())
	e, ok := apperr.From(err)
	if !ok || e.Code != c.Code {
		s.t.Fatalf("%s: %v, want %s", c.Name, err, c.Code)
	}
	got := s.admin.upload(c.Data)
	status := http.StatusUnprocessableEntity
	if c.Code == apperr.ErrKubeconfigTooLarge {
		status = http.StatusRequestEntityTooLarge
	}
	says := strings.Join(strings.Fields(i18n.Error(i18n.English, e.Code, e.Params).Text()), " ")
	if got.Status != status || got.text("#kubeconfig-error") != says {
		s.t.Errorf("%s: %d %q, want %d %q", c.Name, got.Status, got.text("#kubeconfig-error"), status, says)
	}
	return got
}

// refuses is a refusal that leaves nothing: no row, and no secret anywhere.
func (s *badShop) refuses(c kubeconfigtest.Case) {
	s.t.Helper()
	s.unchanged(func() { s.keepsSecret(s.refusal(c), c.Canaries...) })
}

// refused sends the file of that name in the corpus.
func refused(name, code string) func(*badShop) {
	return func(s *badShop) { s.refuses(s.file(name, code)) }
}

func (s *badShop) file(name, code string) kubeconfigtest.Case {
	s.t.Helper()
	all := kubeconfigtest.Bad(s.t)
	i := slices.IndexFunc(all, func(c kubeconfigtest.Case) bool { return c.Name == name })
	if i < 0 || all[i].Code != code {
		s.t.Fatalf("no file %q with the code %s", name, code)
	}
	return all[i]
}

// trap counts who connects.
func (s *badShop) trap() (addr string, came *atomic.Int32) {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = l.Close() })
	came = &atomic.Int32{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			_ = c.Close()
		}
	}()
	return l.Addr().String(), came
}

// The program would be run, or the server asked, by whoever loads such a file
// with client-go.
func (s *badShop) exec() {
	scratch := filepath.Join(s.t.TempDir(), "scratch")
	addr, came := s.trap()
	s.refuses(kubeconfigtest.Case{
		Name: "exec", Code: apperr.ErrKubeconfigExec, Canaries: []string{scratch},
		Data: kubeconfigtest.Config("server: https://"+addr, "exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, 'touch "+scratch+"']}"),
	})
	if _, err := os.Stat(scratch); !os.IsNotExist(err) {
		s.t.Errorf("the program has run: %v", err)
	}
	if n := came.Load(); n > 0 {
		s.t.Errorf("the server was asked %d times", n)
	}
}

func (s *badShop) plainHTTP() {
	s.refuses(kubeconfigtest.Case{
		Name: "http", Code: apperr.ErrKubeconfigHTTPS, Canaries: []string{kubeconfigtest.Token},
		Data: kubeconfigtest.Config("server: http://10.0.0.1:6443", "token: "+kubeconfigtest.Token),
	})
}

// looksAt uploads a good kubeconfig of a cluster that is none, has it looked at
// and tries to add it: the check gets the code, and no cluster is made.
func (s *badShop) looksAt(server string, ca []byte, check, code string) *page {
	s.t.Helper()
	lines := "server: " + server
	if ca != nil {
		lines += "\ncertificate-authority-data: " + kubeconfigtest.Base64(ca)
	}
	uploaded := s.admin.upload(kubeconfigtest.Config(lines, "token: "+kubeconfigtest.Token)).is(http.StatusSeeOther)
	path := uploaded.Location
	looked := s.admin.post(path+"/check", "context", "main", "name", "east", "environment", "test").is(http.StatusOK)
	looked.wants(i18n.Error(i18n.English, code, nil).What, i18n.Text(i18n.English, "check."+check, nil))
	before := s.db.Ent.Cluster.Query().CountX(s.t.Context())
	added := s.admin.post(path, "context", "main", "name", "east", "environment", "test", "place", "Rack 7").is(http.StatusUnprocessableEntity)
	if what := i18n.Error(i18n.English, code, nil).What; !strings.Contains(added.text("#errors")+added.text("#context-error"), what) {
		s.t.Errorf("no %q in %s", what, added.main())
	}
	if added.attr("#name", "value") != "east" || added.attr("#place", "value") != "Rack 7" {
		s.t.Errorf("what was typed is lost: %s", added.html("form"))
	}
	if n := s.db.Ent.Cluster.Query().CountX(s.t.Context()); n != before {
		s.t.Errorf("%d clusters, before %d", n, before)
	}
	for _, p := range []*page{looked, added} {
		s.keepsSecret(p, kubeconfigtest.Token)
	}
	return looked
}

func (s *badShop) loopback() {
	addr, came := s.trap()
	_, port, _ := net.SplitHostPort(addr)
	for host, code := range map[string]string{
		"127.1": apperr.ErrKubeconfigServer, "2130706433": apperr.ErrKubeconfigServer, "0x7f.1": apperr.ErrKubeconfigServer,
		"0.0.0.0": apperr.ErrAddressNotAllowed, "[::]": apperr.ErrAddressNotAllowed,
	} {
		s.refuses(kubeconfigtest.Case{Name: host, Code: code, Data: kubeconfigtest.Config("server: https://"+host+":"+port, "token: "+kubeconfigtest.Token), Canaries: []string{kubeconfigtest.Token}})
	}
	s.looksAt("https://localhost:"+port, nil, "reachable", apperr.ErrAddressNotAllowed)
	s.looksAt("https://127.0.0.1:"+port, nil, "reachable", apperr.ErrAddressNotAllowed)
	if n := came.Load(); n > 0 {
		s.t.Errorf("%d connections were made", n)
	}
}

// clusterAt is an API server that answers as a test wants.
func (s *badShop) clusterAt(h http.HandlerFunc) (server string, ca []byte) {
	s.t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // the first connection only looks whether somebody is there
	srv.StartTLS()
	s.t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	s.asks(kubevirt.Options{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	return srv.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
}

func (s *badShop) redirect() {
	addr, came := s.trap()
	server, ca := s.clusterAt(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+addr+"/latest/meta-data", http.StatusFound)
	})
	s.looksAt(server, ca, "kubernetes", apperr.ErrNotKubernetes)
	if n := came.Load(); n > 0 {
		s.t.Errorf("the redirect was followed %d times", n)
	}
}

func (s *badShop) ownAddress() {
	own := netip.MustParseAddrPort(strings.TrimPrefix(s.url, "http://"))
	s.asks(kubevirt.Options{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, DenyAddrs: []netip.AddrPort{own}})
	s.looksAt("https://"+own.String(), nil, "reachable", apperr.ErrAddressNotAllowed)
	s.looksAt(fmt.Sprintf("https://localhost:%d", own.Port()), nil, "reachable", apperr.ErrAddressNotAllowed)
}

func (s *badShop) tooLarge() {
	s.refuses(s.file("64 KiB and a byte", apperr.ErrKubeconfigTooLarge))
	s.unchanged(func() {
		body := &endless{left: 1 << 30}
		head := "--x\r\nContent-Disposition: form-data; name=\"kubeconfig\"; filename=\"a\"\r\n\r\n"
		req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/clusters/new", io.MultiReader(strings.NewReader(head), body))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"multipart/form-data; boundary=x"}, "Sec-Fetch-Site": {"same-origin"}}
		if res, err := s.admin.client.Do(req); err == nil { // it may also lose the connection while it writes
			_ = res.Body.Close()
			if res.StatusCode != http.StatusRequestEntityTooLarge {
				s.t.Errorf("got %d", res.StatusCode)
			}
		}
		// The limit is 64 KiB; the rest is in the buffers of both sockets.
		if n := body.taken.Load(); n > 8<<20 {
			s.t.Errorf("%d bytes were taken", n)
		}
	})
}

func (s *badShop) contextName() {
	data := strings.ReplaceAll(string(goodKubeconfig()), "main", `"<script>document.title=1</script>\n\e[31m../../etc"`)
	draft := s.admin.follow(s.admin.upload([]byte(data))).is(http.StatusOK)
	if f := injected(draft.doc); len(f) > 0 || strings.ContainsAny(draft.Body, "\x1b") {
		s.t.Errorf("it acts on the page: %v", f)
	}
	draft.wants("<script>document.title=1</script>", "../../etc")
	path, at := draft.attr("main form", "action"), draft.attr("[name=context]", "value")
	if !regexp.MustCompile(`^/clusters/new/[0-9a-f-]{36}$`).MatchString(path) || draft.attr("#name", "value") != "east" { // the file's
		s.t.Errorf("the name is used: %s, %q", path, draft.attr("#name", "value"))
	}
	// It can be chosen all the same, and is only ever a text.
	s.play.preflight = func(context.Context, domain.Credential) domain.Preflight {
		return domain.Preflight{Health: healthy(), Checks: []domain.Check{{ID: "reachable", State: domain.CheckOK}}}
	}
	added := s.admin.follow(s.admin.post(path, "context", at, "name", "east", "environment", "test")).is(http.StatusOK)
	for _, p := range []*page{added, s.auditor.get("/audit"), s.auditor.get("/audit?q=script")} {
		if f := injected(p.doc); len(f) > 0 {
			s.t.Errorf("%s: %v", p.what, f)
		}
	}
}

func (s *badShop) authorities() {
	for name, code := range map[string]string{
		"CA not PEM": apperr.ErrKubeconfigCA, "leaf as CA": apperr.ErrKubeconfigCALeaf, "expired CA": apperr.ErrKubeconfigCAExpired,
		"nine CAs": apperr.ErrKubeconfigCACount, "1,000 CAs": apperr.ErrKubeconfigTooLarge,
	} {
		s.refuses(s.file(name, code))
	}
}

// No page replaces a credential yet: what can be sent is the use case's input.
func (s *badShop) otherCluster() {
	ctx := s.t.Context()
	admin := s.db.Ent.User.Query().Where(user.Username("admin-31")).OnlyX(ctx)
	actor, err := s.accounts.Actor(ctx, admin.ID.String(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.play.preflight = func(context.Context, domain.Credential) domain.Preflight {
		return domain.Preflight{Health: healthy(), Checks: []domain.Check{{ID: "reachable", State: domain.CheckOK}}} // of uid-1
	}
	draft := strings.TrimPrefix(s.admin.upload(goodKubeconfig()).is(http.StatusSeeOther).Location, "/clusters/new/")
	before := s.db.Ent.Cluster.GetX(ctx, id(s.test.cluster))
	err = s.Clusters.ReplaceCredential(ctx, actor, s.test.cluster, draft, "main")
	if e, ok := apperr.From(err); !ok || e.Code != apperr.ErrClusterIdentity || e.Kind() != apperr.Conflict {
		s.t.Errorf("got %v", err)
	}
	after := s.db.Ent.Cluster.GetX(ctx, id(s.test.cluster))
	if string(after.EncryptedKubeconfig) != string(before.EncryptedKubeconfig) || after.CredentialGeneration != before.CredentialGeneration || after.APIServerURL != before.APIServerURL {
		s.t.Error("the credential is another")
	}
}

func (s *badShop) endlessAnswer() {
	for name, answer := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"gitVersion":"`)
			_, _ = io.Copy(w, &endless{left: 5 << 30})
		},
		"packed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.Copy(z, &endless{left: 64 << 20})
			_ = z.Close()
		},
	} {
		server, ca := s.clusterAt(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			answer(w, r)
		})
		code := map[string]string{"endless": apperr.ErrClusterDegraded, "packed": apperr.ErrNotKubernetes}[name]
		began := time.Now()
		s.looksAt(server, ca, "kubernetes", code)
		if took := time.Since(began); took > 10*time.Second {
			s.t.Errorf("%s: it took %v", name, took)
		}
	}
}

func (s *badShop) hostileMessage() {
	message := strings.Repeat(`<img src=x id=pwned onerror=alert(1)>`, 1<<20/37)
	server, ca := s.clusterAt(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized", "code": 401, "message": message})
	})
	looked := s.looksAt(server, ca, "credentials", apperr.ErrClusterUnauthorized)
	if f := injected(looked.doc); len(f) > 0 || len(looked.Body) > 256<<10 {
		s.t.Errorf("%d bytes with %v", len(looked.Body), f)
	}
}

func (s *badShop) extraFields() {
	for _, field := range []string{"name", "labels", "cloud_init", "cluster_id", "status", "approved_by"} {
		s.unchanged(func() {
			got := s.dev.post("/requests", s.form(s.test, field, "CANARY-value")...).is(http.StatusUnprocessableEntity)
			got.wants(i18n.Field(i18n.English, apperr.ErrForbiddenField, "", map[string]any{"field": field}))
			s.keepsSecret(got, "CANARY-value")
			s.kept(got, "count", "2", "disk", "20", "reason", "Cache for the load tests.")
		})
	}
}

// kept says that fields hold what was typed.
func (s *badShop) kept(p *page, fields ...string) {
	s.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		got := p.attr("#"+fields[i], "value")
		if p.has("textarea#" + fields[i]) {
			got = p.text("#" + fields[i])
		}
		if got != fields[i+1] {
			s.t.Errorf("%s: %s has %.60q, %.60q was typed", p.what, fields[i], got, fields[i+1])
		}
	}
}

func (s *badShop) counts() {
	for _, n := range []string{"11", "0", "2147483648", "-1", "1e1"} {
		s.unchanged(func() {
			got := s.dev.post("/requests", s.form(s.test, "count", n)...).is(http.StatusUnprocessableEntity)
			if n != "1e1" {
				marked(got, "count", apperr.ErrOutOfRange, map[string]any{"min": 1, "max": 10})
			}
			s.kept(got, "count", n, "disk", "20", "reason", "Cache for the load tests.")
		})
	}
	var together sync.WaitGroup
	answers := make([]*page, 10)
	for i := range answers {
		together.Go(func() { answers[i] = s.dev.post("/requests", s.form(s.test, "count", "10")...) })
	}
	together.Wait()
	made := 0
	for _, got := range answers {
		switch got.Status {
		case http.StatusSeeOther:
			made++
		case http.StatusConflict:
		default:
			s.t.Errorf("got %d: %s", got.Status, got.main())
		}
	}
	if n := s.db.Ent.ApprovalTicket.Query().CountX(s.t.Context()); made != 1 || n != 1 {
		s.t.Errorf("%d of 10 were taken, %d requests are there", made, n)
	}
}

func (s *badShop) texts() {
	long := strings.Repeat("long reason ", 1_000_000/12)
	s.unchanged(func() {
		got := s.dev.post("/requests", s.form(s.test, "reason", long)...).is(http.StatusUnprocessableEntity)
		if !got.has("#reason-error") {
			s.t.Errorf("not marked: %.500s", got.main())
		}
		s.kept(got, "reason", strings.TrimSpace(long), "count", "2")
	})
	for _, text := range []string{`=HYPERLINK("http://evil.example","x")`, "{{.}} {{7*7}} ${7*7}", "%s%n%s%n%d %!s(MISSING)", "'; DROP TABLE users; --"} {
		n := s.asked(s.test, "reason", text)
		if got := s.db.Ent.ApprovalTicket.GetX(s.t.Context(), n).Reason; got != text {
			s.t.Errorf("%q is stored as %q", text, got)
		}
		s.dev.get(fmt.Sprintf("/requests/%d", n)).is(http.StatusOK).wants(text)
		s.approver.get(fmt.Sprintf("/approvals/%d", n)).is(http.StatusOK).wants(text)
		s.dev.post(fmt.Sprintf("/requests/%d/withdraw", n)).is(http.StatusSeeOther)
	}
	for _, cell := range s.exported("csv") {
		if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
			s.t.Errorf("a spreadsheet would run %q", cell)
		}
	}
}

func (s *badShop) sameVMName() {
	first := s.dev.post("/systems", "name", "a-b", "namespace", "shop-test", "docs", "").is(http.StatusSeeOther).Location
	s.dev.post(first+"/services", "name", "c", "docs", "").is(http.StatusSeeOther)
	second := s.dev.post("/systems", "name", "a", "namespace", "shop-test", "docs", "").is(http.StatusSeeOther).Location
	s.unchanged(func() {
		got := s.dev.post(second+"/services", "name", "b-c", "docs", "What was typed.").is(http.StatusUnprocessableEntity)
		marked(got, "name", apperr.ErrNameCollides, map[string]any{"name": "a-b-c-01"})
		s.kept(got, "name", "b-c", "docs", "What was typed.")
	})
}

// decision is the form of a ticket as its approver reads it.
func (s *badShop) decision(n int, changes ...string) []string {
	s.t.Helper()
	page := s.approver.get(fmt.Sprintf("/approvals/%d", n)).is(http.StatusOK)
	fields := map[string]string{
		"version": page.attr("[name=version]", "value"), "spec_hash": page.attr("[name=spec_hash]", "value"), "do": "approve",
		"template": s.template, "size": s.small, "count": "2", "disk": "20", "cluster": s.test.cluster, "reason": "As it was asked.",
	}
	for i := 0; i < len(changes); i += 2 {
		fields[changes[i]] = changes[i+1]
	}
	var list []string
	for k, v := range fields {
		list = append(list, k, v)
	}
	return list
}

func (s *badShop) staleTicket() {
	n := s.asked(s.test)
	path := fmt.Sprintf("/approvals/%d", n)
	for _, stale := range [][]string{{"version", "7"}, {"version", "0"}, {"spec_hash", strings.Repeat("0", 64)}, {"spec_hash", ""}} {
		s.unchanged(func() {
			got := s.approver.post(path, s.decision(n, stale...)...).is(http.StatusConflict).wants("changed while you were reading")
			if got.attr("[name=version]", "value") != "1" || len(got.attr("[name=spec_hash]", "value")) != 64 {
				s.t.Errorf("%v: the form is not the ticket's of now: %s", stale, got.html("form"))
			}
			s.kept(got, "count", "2", "disk", "20", "reason", "As it was asked.")
		})
	}
}

func (s *badShop) otherEnvironment() {
	n := s.asked(s.test)
	path := fmt.Sprintf("/approvals/%d", n)
	wrong := func(fields []string) {
		s.t.Helper()
		s.unchanged(func() {
			got := s.approver.post(path, fields...).is(http.StatusUnprocessableEntity)
			if what := i18n.Error(i18n.English, apperr.ErrEnvironmentMismatch, nil).What; !strings.Contains(got.text("#errors")+got.text("#cluster-error"), what) {
				s.t.Errorf("no %q in %s", what, got.main())
			}
			s.kept(got, "reason", "As it was asked.")
		})
	}
	wrong(s.decision(n, "cluster", s.prod.cluster))
	seen := s.decision(n)
	s.planted(`UPDATE clusters SET environment = 'prod' WHERE id = $1`, s.test.cluster) // no form and no use case can
	wrong(seen)
}

func (s *badShop) disabled() {
	ctx := s.t.Context()
	n := s.asked(s.test)
	path := fmt.Sprintf("/approvals/%d", n)
	seen := s.decision(n)
	s.db.Ent.Cluster.UpdateOneID(id(s.test.cluster)).SetEnabled(false).ExecX(ctx)
	s.unchanged(func() {
		got := s.approver.post(path, seen...).is(http.StatusUnprocessableEntity)
		if what := i18n.Error(i18n.English, apperr.ErrClusterDisabled, map[string]any{"cluster": "c-test"}).What; !strings.Contains(got.main(), what) {
			s.t.Errorf("no %q in %s", what, got.main())
		}
		s.kept(got, "reason", "As it was asked.")
	})
	s.db.Ent.Cluster.UpdateOneID(id(s.test.cluster)).SetEnabled(true).ExecX(ctx)

	dev := s.db.Ent.User.Query().Where(user.Username("dev")).OnlyIDX(ctx)
	seen = s.decision(n)
	s.admin.post("/people/" + dev.String() + "/disable").is(http.StatusSeeOther)
	s.unchanged(func() {
		got := s.approver.post(path, seen...).is(http.StatusConflict)
		got.wants(i18n.Error(i18n.English, apperr.ErrRequesterClosed, map[string]any{"by": "dev"}).What)
		s.kept(got, "reason", "As it was asked.")
	})
	// A no is still an answer.
	s.approver.post(path, s.decision(n, "do", "reject", "reason", "Who asked has left.")...).is(http.StatusSeeOther)
}

func (s *badShop) link() {
	m := s.vm(s.test, 1, domain.StateRunning)
	path := "/vms/" + m.ID.String()
	s.unchanged(func() {
		// Such an address is that of the page: what stands behind it does nothing.
		for _, query := range []string{"?confirm=true", "/delete?confirm=true&confirmed=1&typed=" + m.Name + "&reason=It+is+over+now.", "/power?do=STOP&confirmed=1"} {
			s.dev.get(path + query).is(http.StatusOK)
		}
		for _, method := range []string{http.MethodDelete, http.MethodPut, http.MethodPatch} {
			for _, p := range []string{path, path + "/delete", path + "?confirm=true"} {
				got := s.dev.do(method, p, "", nil).is(http.StatusMethodNotAllowed)
				if !strings.Contains(strings.Join(got.Header.Values("Allow"), " "), http.MethodGet) {
					s.t.Errorf("%s: Allow %v", got.what, got.Header.Values("Allow"))
				}
			}
		}
		s.dev.post(path).is(http.StatusMethodNotAllowed)
	})
}

func (s *badShop) stolenCookie() {
	ctx := s.t.Context()
	for name, end := range map[string]func(b *browser, id string){
		"sign-out": func(b *browser, _ string) { b.post("/logout").is(http.StatusSeeOther) },
		"new password": func(b *browser, _ string) {
			b.post("/account/password", "password", password, "new_password", "seven green lamps", "repeat", "seven green lamps").is(http.StatusSeeOther)
		},
		"closed account": func(_ *browser, id string) { s.admin.post("/people/" + id + "/disable").is(http.StatusSeeOther) },
	} {
		id := s.member("victim-" + name[:3])
		owner := s.as(s.db.Ent.User.Query().Where(user.Username("victim-" + name[:3])).OnlyX(ctx))
		thief := s.anonymous()
		cookie := *owner.cookie("sid")
		cookie.Path = "/"
		thief.setCookie(&cookie)
		thief.get("/explorer").is(http.StatusOK)
		lines, status, done := thief.stream("/events?t=tree")
		if status != http.StatusOK {
			s.t.Fatalf("%s: the stream gets %d", name, status)
		}
		waitFor(s.t, lines, "")
		end(owner, id)
		waitForEnd(s.t, lines, time.Second)
		done()
		thief.setCookie(&cookie) // whatever the answer said of it
		s.unchanged(func() {
			program := thief.with("Accept", "application/json")
			for _, got := range []*page{program.get("/explorer"), program.post("/systems", "name", "evil", "namespace", "shop-test"), thief.get("/api/v1/systems"), thief.part("tree").get("/explorer")} {
				got.is(http.StatusUnauthorized)
			}
			for _, got := range []*page{thief.get("/explorer"), thief.get("/events?t=tree"), thief.post("/systems", "name", "evil", "namespace", "shop-test")} {
				if got.Status != http.StatusSeeOther || !strings.HasPrefix(got.Location, "/login") {
					s.t.Errorf("%s: %s gets %d to %s", name, got.what, got.Status, got.Location)
				}
			}
		})
	}
}

// Who has no account and who has typed the wrong password get the same bytes,
// also when they have to wait.
func (s *badShop) signIn() {
	s.member("alice")
	answer := func(name string) string {
		got := s.anonymous().post("/login", "username", name, "password", "wrong password 1").is(http.StatusUnprocessableEntity)
		s.kept(got, "username", name)
		return strings.ReplaceAll(got.Body, name, "NAME")
	}
	for i := range 3 {
		if known, unknown := answer("alice"), answer("alicf"); known != unknown {
			s.t.Errorf("try %d: they can be told apart", i+1)
		}
	}
}

func (s *badShop) passwords() {
	s.member("alice")
	alice := s.as(s.db.Ent.User.Query().Where(user.Username("alice")).OnlyX(s.t.Context()))
	began := time.Now()
	s.anonymous().post("/login", "username", "alice", "password", strings.Repeat("x", 10<<20)).is(http.StatusRequestEntityTooLarge)
	if took := time.Since(began); took > 5*time.Second {
		s.t.Errorf("10 MiB took %v", took)
	}
	for _, bad := range []string{"", "a\x00b", strings.Repeat("x", 129)} {
		got := s.anonymous().post("/login", "username", "alice", "password", bad).is(http.StatusUnprocessableEntity)
		got.wants(i18n.Error(i18n.English, apperr.ErrBadCredentials, nil).What)
		s.kept(got, "username", "alice")
		if got.attr("#password", "value") != "" {
			s.t.Error("the password comes back")
		}
		s.unchanged(func() {
			got := alice.post("/account/password", "password", password, "new_password", bad, "repeat", bad).is(http.StatusUnprocessableEntity)
			if !got.has("[aria-invalid]") {
				s.t.Errorf("%.20q: not marked: %s", bad, got.main())
			}
		})
	}
	if s.anonymous().post("/login", "username", "alice", "password", password).Status != http.StatusSeeOther {
		s.t.Error("the right password does not do after the wrong ones")
	}
}

func (s *badShop) otherSite() {
	s.unchanged(func() {
		for _, headers := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "", "Origin", "null"}, {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		} {
			b := s.dev.with(headers...)
			b.post("/systems", "name", "evil", "namespace", "shop-test").is(http.StatusForbidden).wants(apperr.ErrCrossOrigin)
			problem(b.do(http.MethodPost, "/api/v1/systems", "application/json", strings.NewReader(`{"name":"evil","namespace":"shop-test"}`)), http.StatusForbidden, apperr.ErrCrossOrigin)
		}
		text := `{"name":"evil","namespace":"shop-test"}`
		s.dev.do(http.MethodPost, "/systems", "text/plain", strings.NewReader(text)).is(http.StatusUnsupportedMediaType)
		problem(s.dev.do(http.MethodPost, "/api/v1/systems", "text/plain", strings.NewReader(text)), http.StatusUnsupportedMediaType, apperr.ErrMediaType)
	})
}

// There is no console, so no ticket of one can be stolen. Who adds one has to
// come here.
func (s *badShop) console() {
	m := s.vm(s.test, 1, domain.StateRunning)
	for _, r := range s.Routes() {
		if strings.Contains(r.Pattern, "console") || strings.Contains(r.Pattern, "vnc") {
			s.t.Errorf("%s is a way to a console: test that its ticket works once, for one person and one VM", r.Pattern)
		}
	}
	for _, way := range []string{"/console", "/vnc", "/console?ticket=x"} {
		s.dev.get("/vms/" + m.ID.String() + way).is(http.StatusNotFound)
	}
}
