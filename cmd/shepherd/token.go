package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/token"
)

// withTokens opens the accounts and tokens for a command that works on the
// database itself: who runs it owns that, so it asks nobody's rights.
func withTokens(ctx context.Context, do func(*token.Service, *account.Service) error) error {
	c, log, err := config()
	if err != nil {
		return err
	}
	tokens, accounts, done, err := app.OpenTokens(ctx, c, log)
	if err != nil {
		return err
	}
	defer done()
	return do(tokens, accounts)
}

// osUser is who runs the command, for the audit log.
func osUser() string {
	if u, err := user.Current(); err == nil {
		return domain.CleanText(u.Username, 80)
	}
	return fmt.Sprint(os.Getuid())
}

func tokenCreate(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("token create", flag.ContinueOnError)
	scopes := flags.String("scopes", string(domain.ScopeRead), "what it may do, with commas between: read, request, decide, admin")
	life := flags.Duration("ttl", domain.TokenLifetime, "how long it works, at most 8760h")
	name := flags.String("name", "command line", "what uses it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: shepherd token create [-scopes read,request] [-ttl 2160h] [-name NAME] ACCOUNT")
	}
	in := token.New{Name: *name, Life: *life, OSUser: osUser()}
	for s := range strings.SplitSeq(*scopes, ",") {
		in.Scopes = append(in.Scopes, domain.Scope(strings.TrimSpace(s)))
	}
	return withTokens(ctx, func(tokens *token.Service, accounts *account.Service) error {
		p, err := accounts.PersonByUsername(ctx, flags.Arg(0))
		if err != nil {
			return err
		}
		t, text, err := tokens.Create(ctx, domain.Shepherd(), p.ID, in)
		if err != nil {
			return err
		}
		// The token alone goes to the standard output, for a pipe into a secret store.
		fmt.Fprintf(os.Stderr, "Token %s of %s works until %s. It is shown this once.\n", t.ID, p.Username, t.ExpiresAt.UTC().Format(time.RFC3339))
		fmt.Println(text)
		return nil
	})
}

func tokenList(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: shepherd token list ACCOUNT")
	}
	return withTokens(ctx, func(tokens *token.Service, accounts *account.Service) error {
		p, err := accounts.PersonByUsername(ctx, args[0])
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tNAME\tSCOPES\tMADE BY\tUNTIL\tLAST USE\tSTATE")
		for page := (listing.Page{}); ; {
			list, err := tokens.List(ctx, domain.Shepherd(), p.ID, page)
			if err != nil {
				return err
			}
			for _, t := range list.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, scopeList(t.Scopes), t.CreatedBy, t.ExpiresAt.UTC().Format(time.RFC3339), lastUse(t), state(t))
			}
			if page.After = list.Next; page.After == "" {
				return w.Flush()
			}
		}
	})
}

func scopeList(scopes []domain.Scope) string {
	words := make([]string, len(scopes))
	for i, s := range scopes {
		words[i] = string(s)
	}
	return strings.Join(words, ",")
}

func lastUse(t token.Token) string {
	if t.LastUsedAt == nil {
		return "never"
	}
	return t.LastUsedAt.UTC().Format(time.RFC3339) + " " + t.LastUsedIP
}

func state(t token.Token) string {
	switch {
	case t.RevokedAt != nil:
		return "revoked by " + t.RevokedBy
	case !t.Live(time.Now()):
		return "expired"
	}
	return "works"
}

func tokenRevoke(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: shepherd token revoke ID")
	}
	return withTokens(ctx, func(tokens *token.Service, _ *account.Service) error {
		return tokens.Revoke(ctx, domain.Shepherd(), args[0], osUser())
	})
}
