package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/docs"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
	"kubevirt-shepherd.io/shepherd/internal/usecase/token"
)

// The test binary is also what its tests run: by its name it is the command, or
// as much of curl as the guide uses.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "shepherd":
		os.Exit(run(context.Background(), os.Args[1:]))
	case "curl":
		os.Exit(curl(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func curl(args []string) int {
	flags := flag.NewFlagSet("curl", flag.ExitOnError)
	header := http.Header{}
	flags.Bool("sS", false, "")
	flags.Func("H", "", func(text string) error {
		name, value, _ := strings.Cut(text, ": ")
		header.Add(name, value)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return 2
	}
	r, err := http.NewRequest(http.MethodGet, flags.Arg(0), nil)
	if err != nil {
		return 3
	}
	r.Header = header
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 7
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(os.Stdout, res.Body)
	if res.StatusCode >= 400 {
		return 22 // as with --fail: a guide whose requests are refused is wrong
	}
	return 0
}

// world is a portal with the cast, a cluster that nobody asks, and a directory
// with the commands.
type world struct {
	t      *testing.T
	app    *app.App
	url    string
	bin    string
	config string // $XDG_CONFIG_HOME
}

func newWorld(t *testing.T) *world {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	a, err := app.New(t.Context(), app.Config{DatabaseURL: domain.Secret(databasetest.URL(t)), KEK: domain.Secret(crypto.Generate()), Workers: 1}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(cast.People(ctx, a))
	developer, err := cast.Actor(ctx, a, cast.Developer)
	must(err)
	for _, env := range domain.Environments() {
		c := a.DB.Ent.Cluster.Create().SetName("c-" + string(env)).SetEnvironment(entcluster.Environment(env)).SetCreatedBy("root").
			SetEncryptedKubeconfig([]byte("x")).SetEncryptionKeyID("k").SetAPIServerURL("https://c").SetIdentityUID("uid-" + string(env)).
			SetStatus(entcluster.StatusHEALTHY).SaveX(ctx)
		must(cast.Places(ctx, a, c.ID.String(), env))
		sys, err := a.Systems.Create(ctx, developer, system.Input{Name: "shop", Namespace: "shop-" + string(env)})
		must(err)
		developer, err = cast.Actor(ctx, a, cast.Developer) // its owner now
		must(err)
		_, err = a.Services.Create(ctx, developer, service.Input{SystemID: sys, Name: "redis"})
		must(err)
	}
	s := httptest.NewServer(a.Handler().Router())
	t.Cleanup(s.Close)
	w := &world{t: t, app: a, url: s.URL, bin: t.TempDir(), config: t.TempDir()}
	self, err := os.Executable()
	must(err)
	for _, name := range []string{"shepherd", "curl"} {
		must(os.Symlink(self, filepath.Join(w.bin, name)))
	}
	return w
}

// token is a bearer token of somebody.
func (w *world) token(p cast.Person, scopes ...domain.Scope) string {
	w.t.Helper()
	who, err := w.app.Accounts.PersonByUsername(w.t.Context(), p.Username)
	if err != nil {
		w.t.Fatal(err)
	}
	_, text, err := w.app.Tokens.Create(w.t.Context(), domain.Shepherd(), who.ID, token.New{Name: "test", Scopes: scopes, Life: time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// script runs a shell with the commands, as somebody who has a token or, with
// "", has logged in.
func (w *world) script(token, stdin, text string) (out string, code int) {
	w.t.Helper()
	c := exec.CommandContext(w.t.Context(), "sh", "-eu", "-c", text)
	c.Env = []string{"PATH=" + w.bin + ":/usr/bin:/bin", "HOME=" + w.config, "XDG_CONFIG_HOME=" + w.config}
	if token != "" {
		c.Env = append(c.Env, "SHEPHERD_URL="+w.url, "SHEPHERD_TOKEN="+token)
	}
	c.Stdin = strings.NewReader(stdin)
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	if err := c.Run(); err != nil && c.ProcessState == nil {
		w.t.Fatal(err)
	}
	return b.String(), c.ProcessState.ExitCode()
}

// says runs a script that must end with a code and say something.
func (w *world) says(token, text string, code int, wants ...string) string {
	w.t.Helper()
	out, got := w.script(token, "", text)
	if got != code {
		w.t.Errorf("%s: exit code %d, want %d\n%s", text, got, code, out)
	}
	for _, want := range wants {
		if !strings.Contains(out, want) {
			w.t.Errorf("%s: no %q in\n%s", text, want, out)
		}
	}
	return out
}

// From logging in to a decided request, as people and scripts type it.
func TestCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dev, boss := w.token(cast.Developer, domain.ScopeRequest), w.token(cast.Approver, domain.ScopeDecide)

	w.says("", "shepherd vm list", exitSignIn, "shepherd login URL")
	if out, code := w.script("", dev+"\n", "shepherd login "+w.url); code != 0 || !strings.Contains(out, "as developer") {
		t.Fatalf("login: %d %s", code, out)
	}
	file := filepath.Join(w.config, "shepherd", "login.json")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token is kept with mode %v, %v", info.Mode(), err)
	}
	w.says("", "shepherd system list", 0, "SYSTEM", "shop", "shop-test")
	w.says("", "shepherd service list -system shop -env prod", 0, "shop/redis", "shop-redis-01")
	if out, code := w.script("", "none\n", "shepherd login "+w.url); code != exitSignIn {
		t.Errorf("login with a bad token: %d %s", code, out)
	}
	w.says("", "shepherd request list", 0, "REQUEST") // the good one is kept

	ask := "shepherd request create -service shop/redis -env test -template debian-12 -size small -reason 'Cache for the load tests.'"
	w.says(dev, ask+" -dry-run", 0, "Nothing was asked")
	created := w.says(dev, ask+" -count 2", 0, "2 × redis", "Can decide: admin, approver")
	number := regexp.MustCompile(`TKT-(\d+)`).FindStringSubmatch(created)[1]
	var r struct {
		Status string
		Spec   struct {
			DiskGib int `json:"disk_gib"`
		}
	}
	if err := json.Unmarshal([]byte(w.says(dev, "shepherd request get -o json "+number, 0)), &r); err != nil || r.Status != "PENDING_APPROVAL" || r.Spec.DiskGib != 20 {
		t.Errorf("request: %+v %v", r, err)
	}
	w.says(dev, ask+" -count 2", exitConflict, "DUPLICATE_REQUEST", "TKT-"+number)
	w.says(dev, ask+" -count 99", exitInput, "count:", "OUT_OF_RANGE")
	w.says(dev, "shepherd approve "+number, exitRefused, "FORBIDDEN")
	w.says(dev, "shepherd request create -service shop/none -reason x", 1, `no service "shop/none"`)
	w.says(dev, "shepherd request create -service shop/redis -reason x", 1, "say which one with -env")
	w.says("none", "shepherd vm list", exitSignIn, "SIGNED_OUT")
	w.says(dev, "shepherd request get 999999", exitMissing, "NOT_FOUND", "request ")
	for _, wrong := range []string{"shepherd request get", "shepherd request get x", "shepherd vm list -colour", "shepherd vm list -o xml", "shepherd request", "shepherd nothing"} {
		w.says(dev, wrong, 2)
	}
	w.says(dev, "shepherd reject -h", 0, "-reason")
	w.says(dev, "shepherd vm", 2, "shepherd vm start VM")

	w.says(boss, "shepherd approval list", 0, "TKT-"+number, "PENDING_APPROVAL")
	w.says(boss, "shepherd reject TKT-"+number, exitInput, "reason")
	w.says(boss, "shepherd approve TKT-"+number, 0, "is approved: 2 × redis in shop/redis (test), asked by developer")
	w.says(boss, "shepherd approve "+number, exitConflict, "ALREADY_DECIDED")
	w.says(dev, "shepherd request get "+number, 0, "shop-redis-01", "shop-redis-02", "Requested")

	other := regexp.MustCompile(`TKT-(\d+)`).FindStringSubmatch(w.says(dev, strings.Replace(ask, "test", "prod", 1), 0))[1]
	w.says(dev, "shepherd request withdraw "+other, 0, "is withdrawn")
	other = regexp.MustCompile(`TKT-(\d+)`).FindStringSubmatch(w.says(dev, strings.Replace(ask, "test", "prod", 1), 0))[1]
	w.says(boss, "shepherd reject "+other+" --reason 'Not before the freeze ends.'", 0, "is rejected")
	w.says(dev, "shepherd request get "+other, 0, "Not before the freeze ends.")

	w.app.DB.Ent.VM.Update().Where(entvm.Name("shop-redis-01")).SetState(entvm.StateRunning).SetHealth(entvm.HealthOk).SaveX(t.Context())
	w.says(dev, "shepherd vm list -service shop/redis -env test -health ok", 0, "shop-redis-01", "Running")
	w.says(dev, "shepherd vm get shop-redis-01", 0, "shop-redis-01 is Running", "debian-12, version 1")
	w.says(dev, "shepherd vm get shop-none-01", 1, `no VM "shop-none-01"`)
	w.says(dev, "shepherd vm get "+uuid.NewString(), exitMissing)
}

// The guide's examples work as they stand there, and its table has every
// command.
func TestAPIGuide(t *testing.T) {
	t.Parallel()
	raw, ok := docs.Read("api-guide")
	if !ok {
		t.Fatal("no API guide")
	}
	guide := string(raw)
	for _, c := range programs() {
		if usage := strings.TrimSpace("shepherd " + c.name + " " + c.args); !strings.Contains(guide, "| `"+usage+"` | "+c.help+" |") {
			t.Errorf("the table of commands lacks %q", usage)
		}
	}
	w := newWorld(t)
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(guide, -1)
	if len(blocks) < 5 {
		t.Fatalf("%d examples", len(blocks))
	}
	dev := w.token(cast.Developer, domain.ScopeRequest)
	for _, b := range blocks {
		w.says(dev, b[1], 0)
	}
	code := map[int]bool{0: true, 1: true, 2: true}
	for _, c := range exitByStatus {
		code[c] = true
	}
	for c := range code {
		if !strings.Contains(guide, fmt.Sprintf("\n| %d | ", c)) {
			t.Errorf("the guide does not tell the exit code %d", c)
		}
	}
}
