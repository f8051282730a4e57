package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"golang.org/x/term"

	"kubevirt-shepherd.io/shepherd/internal/client"
)

// programs are the commands of people and scripts: they talk to a portal over
// its API, and need nothing of the server.
func programs() []command {
	return []command{
		{"login", "URL", "remember a portal and a token (read from the terminal or the standard input)", login},
		{"request create", "-service SYSTEM/SERVICE -template NAME -size NAME -reason TEXT", "ask for new VMs", requestCreate},
		{"request list", "[-all] [-status STATUS]", "list requests, the newest first", requestList},
		{"request get", "NUMBER", "show a request and its VMs", requestGet},
		{"request withdraw", "NUMBER", "take an undecided request back", requestWithdraw},
		{"approval list", "", "list what waits for my decision", approvalList},
		{"approve", "NUMBER", "approve a request, as it is", approve},
		{"reject", "-reason TEXT NUMBER", "reject a request", reject},
		{"vm list", "[-service SYSTEM/SERVICE] [-health HEALTH]", "list VMs", vmList},
		{"vm get", "VM", "show a VM, by name or id", vmGet},
		{"vm start", "VM", "start a VM", vmPower(client.PowerOperationSTART)},
		{"vm stop", "VM", "stop a VM", vmPower(client.PowerOperationSTOP)},
		{"vm restart", "VM", "restart a VM", vmPower(client.PowerOperationRESTART)},
		{"system list", "", "list systems", systemList},
		{"service list", "[-system SYSTEM]", "list services", serviceList},
	}
}

// Exit codes, for scripts. 1 is everything else, 2 a command that was typed
// wrong.
const (
	exitSignIn   = 3 // no token, or one that is not good any more
	exitRefused  = 4 // no right to do it
	exitMissing  = 5 // it does not exist, or not for me
	exitConflict = 6 // its state refuses it, or it has changed
	exitInput    = 7 // something in it breaks a rule
	exitLeft     = 8 // it did what it could, and something is left
)

var exitByStatus = map[int]int{
	http.StatusUnauthorized: exitSignIn, http.StatusForbidden: exitRefused, http.StatusNotFound: exitMissing,
	http.StatusConflict: exitConflict, http.StatusPreconditionFailed: exitConflict, http.StatusUnprocessableEntity: exitInput,
}

// exitCode is the code that an error ends the program with.
func exitCode(err error) int {
	var problem *client.Error
	var usage usageError
	var left leftError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		return 2
	case errors.As(err, &left):
		return exitLeft
	case errors.Is(err, errSignIn):
		return exitSignIn
	case errors.As(err, &problem) && exitByStatus[problem.Status] != 0:
		return exitByStatus[problem.Status]
	}
	return 1
}

// usageError is a command that was typed wrong.
type usageError string

func (e usageError) Error() string { return string(e) }

var errSignIn = errors.New("no portal is known\nRun `shepherd login URL`, or set SHEPHERD_URL and SHEPHERD_TOKEN")

// session is one run of a command against a portal.
type session struct {
	*client.ClientWithResponses
	flags  *flag.FlagSet
	output *string
	out    io.Writer
}

// newSession prepares the flags that every command has.
func newSession(name string) *session {
	s := &session{flags: flag.NewFlagSet("shepherd "+name, flag.ContinueOnError), out: os.Stdout}
	s.output = s.flags.String("o", "table", "output: table or json")
	s.flags.Usage = func() {
		for _, c := range programs() {
			if c.name == name {
				fmt.Fprintf(s.flags.Output(), "shepherd %s %s\n    %s\n\nFlags:\n", c.name, c.args, c.help)
			}
		}
		s.flags.PrintDefaults()
	}
	return s
}

// open reads the command line, with n words that are no flags, and finds the
// portal. Flags may stand before and behind words.
func (s *session) open(args []string, n int) (words []string, err error) {
	if words, err = s.parse(args, n); err != nil {
		return nil, err
	}
	l, err := known()
	if err != nil {
		return nil, err
	}
	s.ClientWithResponses, err = client.Open(l.URL, l.Token)
	return words, err
}

func (s *session) parse(args []string, n int) (words []string, err error) {
	for {
		if err := s.flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, usageError(err.Error())
		}
		if s.flags.NArg() == 0 {
			break
		}
		words, args = append(words, s.flags.Arg(0)), s.flags.Args()[1:]
	}
	switch {
	case *s.output != "table" && *s.output != "json":
		return nil, usageError("-o takes table or json")
	case len(words) != n:
		s.flags.Usage()
		return nil, usageError(fmt.Sprintf("want %d arguments, got %d", n, len(words)))
	}
	return words, nil
}

// credentials are what `shepherd login` remembers.
type credentials struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

// known is the portal of the environment, or the one that was logged in to.
func known() (credentials, error) {
	if c := (credentials{os.Getenv("SHEPHERD_URL"), os.Getenv("SHEPHERD_TOKEN")}); c.URL != "" && c.Token != "" {
		return c, nil
	}
	name, err := loginFile()
	if err != nil {
		return credentials{}, err
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return credentials{}, errSignIn
	}
	var c credentials
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	return c, err
}

func loginFile() (string, error) {
	dir, err := os.UserConfigDir()
	return filepath.Join(dir, "shepherd", "login.json"), err
}

func login(ctx context.Context, args []string) error {
	s := newSession("login")
	words, err := s.parse(args, 1)
	if err != nil {
		return err
	}
	u, err := url.Parse(words[0])
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return usageError("URL is the portal's address, such as https://vms.example.com")
	}
	token, err := readToken()
	if err != nil {
		return err
	}
	c := credentials{u.Scheme + "://" + u.Host, token}
	if s.ClientWithResponses, err = client.Open(c.URL, c.Token); err != nil {
		return err
	}
	me, err := s.GetMeWithResponse(ctx)
	if err != nil {
		return err
	}
	if err := remember(c); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Signed in to %s as %s.\n", c.URL, me.JSON200.Username)
	return nil
}

func readToken() (string, error) {
	if in := int(os.Stdin.Fd()); term.IsTerminal(in) {
		fmt.Fprint(os.Stderr, "Token: ")
		text, err := term.ReadPassword(in)
		fmt.Fprintln(os.Stderr)
		return strings.TrimSpace(string(text)), err
	}
	text, err := io.ReadAll(io.LimitReader(os.Stdin, 64<<10))
	return strings.TrimSpace(string(text)), err
}

// remember writes the token where only its owner can read it.
func remember(c credentials) error {
	name, err := loginFile()
	if err != nil {
		return err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	// A new file: one that is there may be readable by others.
	f, err := os.CreateTemp(filepath.Dir(name), "login-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// table writes rows under a head, or what the API said as JSON.
func (s *session) table(body any, head string, rows [][]string) error {
	if *s.output == "json" {
		return s.json(body)
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(head, " ", "\t"))
	for _, r := range rows {
		for i, cell := range r {
			if cell == "" {
				r[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

// said tells in a sentence what was done, or what the API said as JSON.
func (s *session) said(body any, format string, args ...any) error {
	if *s.output == "json" {
		return s.json(body)
	}
	_, err := fmt.Fprintf(s.out, format+"\n", args...)
	return err
}

func (s *session) json(body any) error {
	if raw, ok := body.([]byte); ok {
		var b bytes.Buffer
		if err := json.Indent(&b, raw, "", "  "); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.out, b.String())
		return err
	}
	e := json.NewEncoder(s.out)
	e.SetIndent("", "  ")
	return e.Encode(body)
}

// all reads a list to its end, page by page.
func all[T any](read func(after *string) (items []T, next string, err error)) ([]T, error) {
	list := []T{}
	var after *string
	for {
		items, next, err := read(after)
		if err != nil {
			return nil, err
		}
		list = append(list, items...)
		if next == "" {
			return list, nil
		}
		after = &next
	}
}

// once sends a change under a key of its own, and again when the connection
// breaks: the portal does it once.
func once[T any](ctx context.Context, send func(key *string) (T, error)) (T, error) {
	key := uuid.NewString()
	for try := 1; ; try++ {
		out, err := send(&key)
		var problem *client.Error
		var strange *client.Strange
		answered := err == nil || errors.As(err, &problem) || errors.As(err, &strange)
		if answered || try == 3 || ctx.Err() != nil {
			return out, err
		}
		time.Sleep(time.Duration(try) * time.Second)
	}
}

// optional is a parameter that is left out when it is empty.
func optional[T ~string](text string) *T {
	if text == "" {
		return nil
	}
	v := T(text)
	return &v
}

// named finds the one thing that a word means: its id, or its name.
func named[T any](kind, word string, list []T, names func(T) (id string, names []string)) (T, error) {
	var hits []T
	for _, x := range list {
		if id, also := names(x); id == word || slices.Contains(also, word) {
			hits = append(hits, x)
		}
	}
	var none T
	switch len(hits) {
	case 0:
		return none, fmt.Errorf("there is no %s %q, or you may not know of it", kind, word)
	case 1:
		return hits[0], nil
	}
	return none, fmt.Errorf("%d %ss are called %q: say which one with -env, or by its id", len(hits), kind, word)
}
