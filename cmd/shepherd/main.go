// Command shepherd is the portal: `shepherd help` lists what it does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/bench"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/demo"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// version is set by the linker.
var version = "dev"

// command is one subcommand. run gets what follows its name.
type command struct {
	name, args, help string
	run              func(ctx context.Context, args []string) error
}

var commands = []command{
	{"serve", "", "run the portal", serve},
	{"demo", "", "run the portal with a cast of people and two KubeVirt control planes (DEMO_CLUSTERS=none: without)", runDemo},
	{"migrate", "[-app ROLE]", "bring the database up to date and stop; ROLE may then run the portal, and not change records", migrate},
	{"admin create", "NAME", "make an administrator and print the one-time link to set a password", adminCreate},
	{"admin break-glass", "-reason TEXT [-for 1h] [-user NAME]", "make an administrator for a while, for an emergency, and print the one-time link; all administrators are told", adminBreakGlass},
	{"token create", "[-scopes read] [-ttl 2160h] [-name cli] ACCOUNT", "print a bearer token of an account", tokenCreate},
	{"token list", "ACCOUNT", "list the tokens of an account", tokenList},
	{"token revoke", "ID", "end a token at once", tokenRevoke},
	{"audit verify", "[-heads FILE] [-archive DIR]", "walk through the whole audit log and name the first entry that was tampered with", auditVerify},
	{"audit head", "", "print the signed head of the audit log, to be kept elsewhere", auditHead},
	{"audit key", "", "print the public key that checks heads, archives and evidence packs", auditKey},
	{"audit verify-pack", "[-key KEY] FILE", "check the evidence pack of a ticket, without a database", auditVerifyPack},
	{"keys new", "FILE", "write a new key encryption key", keysNew},
	{"keys list", "", "list the keys, and how many secrets each has sealed", keysList},
	{"keys rotate", "[--dry-run]", "seal all secrets anew with the first key of the key file; it may be stopped and run again", keysRotate},
	{"bench approve", "[-n N]", "approve -> VM object, beside a raw create loop, on a testbed", bench.Approve},
	{"bench page", "[-vms N]", "list and tree page on 10,000 VMs, beside the bare SELECTs", bench.Page},
	{"bench audit", "[-n N]", "seal and verify an audit log of 1,000,000 entries, search, export, and write to it", bench.Audit},
	{"bench clusters", "[-clusters N] [-vms N]", "pages while half of the clusters are dead, memory for a watched VM, reading all again, and 1,000 credentials, with stub clusters", bench.Clusters},
	{"version", "", "print the version", func(context.Context, []string) error { fmt.Println(version); return nil }},
}

func main() {
	// The first signal stops in order; a second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	for _, c := range slices.Concat(developer, programs(), commands) {
		if rest, ok := match(c.name, args); ok {
			err := c.run(ctx, rest)
			if code := exitCode(err); code != 0 {
				fmt.Fprintln(os.Stderr, "shepherd:", err)
				return code
			}
			return 0
		}
	}
	usage(args)
	if len(args) == 1 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		return 0
	}
	return 2
}

// match says whether args begin with the words of name.
func match(name string, args []string) (rest []string, ok bool) {
	words := strings.Fields(name)
	if len(args) < len(words) {
		return nil, false
	}
	for i, w := range words {
		if args[i] != w {
			return nil, false
		}
	}
	return args[len(words):], true
}

// usage lists the commands, or, of a noun that was typed alone, only its own.
func usage(args []string) {
	w := tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', 0)
	defer func() { _ = w.Flush() }()
	list := func(commands []command) {
		for _, c := range commands {
			fmt.Fprintf(w, "  shepherd %s %s\t%s\n", c.name, c.args, c.help)
		}
	}
	if len(args) > 0 {
		own := slices.Concat(programs(), commands)
		own = slices.DeleteFunc(own, func(c command) bool { return !strings.HasPrefix(c.name, args[0]+" ") })
		if len(own) > 0 {
			list(own)
			return
		}
	}
	fmt.Fprintln(w, "KubeVirt Shepherd\n\nFor people and scripts, over the API of a portal (-h behind a command tells its flags):")
	list(programs())
	fmt.Fprintln(w, "\nTo run the portal:")
	list(slices.Concat(developer, commands))
	fmt.Fprintln(w, "\nEnvironment:\n  SHEPHERD_URL, SHEPHERD_TOKEN\tthe portal and the token of the commands for people and scripts, instead of `shepherd login`")
	for _, v := range app.Variables() {
		fmt.Fprintf(w, "  %s\t%s\n", v[0], v[1])
	}
}

func config() (app.Config, *slog.Logger, error) {
	c, err := app.FromEnvironment(os.Getenv)
	if err != nil {
		return c, nil, err
	}
	c.Version = version
	return c, slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel})), nil
}

func serve(ctx context.Context, _ []string) error {
	c, log, err := config()
	if err != nil {
		return err
	}
	a, err := app.New(ctx, c, log)
	if err != nil {
		return err
	}
	defer a.Close()
	return a.Run(ctx)
}

func runDemo(ctx context.Context, _ []string) error {
	c, _, err := config()
	if err != nil {
		return err
	}
	return demo.Run(ctx, c, os.Getenv("DEMO_CLUSTERS"), os.Stdout)
}

func migrate(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("migrate", flag.ContinueOnError)
	role := flags.String("app", "", "account of the database, not the owner, that `serve` runs with")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, _, err := config()
	if err != nil {
		return err
	}
	if len(c.DatabaseURL) == 0 {
		return errors.New("set DATABASE_URL")
	}
	if err := database.Migrate(ctx, string(c.DatabaseURL)); err != nil || *role == "" {
		return err
	}
	return database.Grant(ctx, string(c.DatabaseURL), *role)
}

func adminCreate(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: shepherd admin create NAME")
	}
	c, log, err := config()
	if err != nil {
		return err
	}
	link, err := app.CreateAdmin(ctx, c, log, args[0])
	if err != nil {
		return err
	}
	fmt.Printf("Open this link within an hour to set the password of %s. It works once.\n\n    %s\n\n", args[0], link)
	return nil
}

func adminBreakGlass(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("admin break-glass", flag.ContinueOnError)
	reason := flags.String("reason", "", "why; it stands in the audit log at everything that is done")
	life := flags.Duration("for", time.Hour, "how long the role lasts, 5m to 24h")
	user := flags.String("user", account.BreakGlassUser, "account that gets the role; it is made when there is none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 0 || strings.TrimSpace(*reason) == "" {
		return errors.New("usage: shepherd admin break-glass -reason TEXT [-for 1h] [-user NAME]")
	}
	c, log, err := config()
	if err != nil {
		return err
	}
	link, until, err := app.BreakGlass(ctx, c, log, *user, *reason, *life)
	if err != nil {
		return err
	}
	fmt.Printf("Open this link to set a password of %s and sign in. It works once, within %s.\nThe role ends at %s.\n\n    %s\n\n",
		*user, min(*life, time.Hour), until.UTC().Format(time.RFC3339), link)
	return nil
}

func auditHead(ctx context.Context, _ []string) error {
	c, log, err := config()
	if err != nil {
		return err
	}
	a, done, err := app.OpenAudit(ctx, c, log)
	if err != nil {
		return err
	}
	defer done()
	head, err := a.Head(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(head)
}

func auditVerify(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("audit verify", flag.ContinueOnError)
	file := flags.String("heads", "", "log of the portal, or what `audit head` printed: heads to hold the log against; - is the standard input")
	archive := flags.String("archive", "", "directory with the archives of entries that have left the database")
	grace := flags.Duration("grace", time.Minute, "how long an entry may wait for its seal")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 0 {
		return errors.New("usage: shepherd audit verify [-heads FILE] [-archive DIR]")
	}
	c, log, err := config()
	if err != nil {
		return err
	}
	var heads []audit.Head
	if *file != "" {
		if heads, err = readHeads(*file); err != nil {
			return err
		}
	}
	a, done, err := app.OpenAudit(ctx, c, log)
	if err != nil {
		return err
	}
	defer done()
	start := time.Now()
	r, err := a.VerifyAll(ctx, heads, *grace, *archive)
	var fault *audit.Fault
	if errors.As(err, &fault) {
		return fmt.Errorf("the audit log was tampered with: %w", fault)
	}
	if err != nil {
		return err
	}
	fmt.Printf("The audit log is whole: %d entries, in %s, held against %d heads.\nHead %s\n", r.Links, time.Since(start).Round(time.Millisecond), r.Heads, r.Last)
	switch {
	case r.Archives > 0:
		fmt.Printf("%d of the entries are in %d archives, which are whole too.\n", r.Archived, r.Archives)
	case r.Archived > 0:
		fmt.Printf("%d of the entries are in archives, which were not read: give their directory with -archive. %d heads are of entries in there.\n", r.Archived, r.Unread)
	}
	if r.Heads == 0 {
		fmt.Println("Without -heads it is not seen when the newest entries are cut off, or all of it was written anew.")
	}
	return nil
}

func auditKey(ctx context.Context, _ []string) error {
	c, log, err := config()
	if err != nil {
		return err
	}
	a, done, err := app.OpenAudit(ctx, c, log)
	if err != nil {
		return err
	}
	defer done()
	key := a.PublicKey()
	if key == "" {
		return errors.New("credentials are locked: the key file is missing or is not the one that sealed what is stored")
	}
	fmt.Println(key)
	return nil
}

func auditVerifyPack(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("audit verify-pack", flag.ContinueOnError)
	key := flags.String("key", "", "public key of the installation, as its `audit key` prints it; without it the pack is held against the key that it names")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: shepherd audit verify-pack [-key KEY] FILE")
	}
	f, err := os.Open(flags.Arg(0))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := audit.VerifyPack(f, info.Size(), *key)
	if err != nil {
		return fmt.Errorf("%s proves nothing: %w", flags.Arg(0), err)
	}
	fmt.Printf("The evidence pack of %s is whole: %d entries of the audit log, packed by %s at %s.\n", r.Ticket, r.Entries, r.By, r.At.Format(time.RFC3339))
	if *key == "" {
		fmt.Printf("It is signed with the key %s. Compare it with what `shepherd audit key` prints at the installation, or give that with -key.\n", r.PublicKey)
	}
	return nil
}

func readHeads(name string) ([]audit.Head, error) {
	if name == "-" {
		return audit.ReadHeads(os.Stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	heads, err := audit.ReadHeads(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return heads, nil
}
