package token_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/accesstoken"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/notification"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/internal/usecase/token"
)

const day = 24 * time.Hour

func service(t *testing.T, keys string) *token.Service {
	t.Helper()
	ring, err := crypto.Load("", keys)
	if err != nil {
		t.Fatal(err)
	}
	s := &token.Service{DB: databasetest.New(t), Keys: ring, Notify: notify.Inbox{}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	t.Cleanup(s.Flush)
	return s
}

func person(t *testing.T, s *token.Service, name string) (*ent.User, domain.Actor) {
	t.Helper()
	u := s.DB.Ent.User.Create().SetUsername(name).SaveX(t.Context())
	return u, domain.Actor{UserID: u.ID.String(), Username: name}
}

// made makes a token of u on the command line.
func made(t *testing.T, s *token.Service, u *ent.User, life time.Duration) (token.Token, string) {
	t.Helper()
	tok, text, err := s.Create(t.Context(), domain.Shepherd(), u.ID.String(), token.New{Name: "x", Scopes: []domain.Scope{domain.ScopeRead}, Life: life, OSUser: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	return tok, text
}

// TestLastUse: it is written down with the address, at most once a minute, and
// by one of many at once.
func TestLastUse(t *testing.T) {
	t.Parallel()
	s, ctx := service(t, crypto.Generate()), t.Context()
	u, _ := person(t, s, "dev")
	tok, text := made(t, s, u, time.Hour)
	use := func(ip string) {
		t.Helper()
		id, shown, err := s.Enter(ctx, text, ip)
		if err != nil || id != u.ID.String() || shown.ID != tok.ID || shown.MakerID != "" || !shown.ExpiresAt.Equal(tok.ExpiresAt) {
			t.Fatalf("%s %+v %v", id, shown, err)
		}
	}
	row := func() *ent.AccessToken { s.Flush(); return s.DB.Ent.AccessToken.Query().OnlyX(ctx) }
	before := time.Now()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { use(fmt.Sprintf("10.0.0.%d", i)) })
	}
	wg.Wait()
	first := row()
	if first.LastUsedAt == nil || first.LastUsedAt.Before(before.Add(-time.Millisecond)) || !strings.HasPrefix(first.LastUsedIP, "10.0.0.") {
		t.Fatalf("used %v from %q", first.LastUsedAt, first.LastUsedIP)
	}
	use("10.9.9.9")
	if r := row(); r.LastUsedIP != first.LastUsedIP || !r.LastUsedAt.Equal(*first.LastUsedAt) {
		t.Errorf("written again within a minute: %v %s", r.LastUsedAt, r.LastUsedIP)
	}
	first.Update().SetLastUsedAt(time.Now().Add(-61 * time.Second)).ExecX(ctx)
	use("10.9.9.9")
	if r := row(); r.LastUsedIP != "10.9.9.9" {
		t.Errorf("not written after a minute: %s", r.LastUsedIP)
	}

	// A request does not wait for it: the row is held by somebody else.
	first.Update().SetLastUsedAt(time.Now().Add(-time.Hour)).ExecX(ctx)
	tx, err := s.DB.Ent.Tx(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tx.AccessToken.Query().ForUpdate().OnlyX(ctx)
	start := time.Now()
	use("10.7.7.7")
	if took := time.Since(start); took > time.Second {
		t.Errorf("a request waited %v to write down a use", took)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if r := row(); r.LastUsedIP != "10.7.7.7" {
		t.Errorf("the use is lost: %s", r.LastUsedIP)
	}
}

// TestKeys: after the key is changed tokens of the old one work as long as it is kept.
func TestKeys(t *testing.T) {
	t.Parallel()
	old, young := crypto.Generate(), crypto.Generate()
	s, ctx := service(t, old), t.Context()
	u, _ := person(t, s, "dev")
	_, before := made(t, s, u, time.Hour)
	with := func(keys string) *token.Service {
		ring, err := crypto.Load("", keys)
		if err != nil {
			t.Fatal(err)
		}
		c := &token.Service{DB: s.DB, Keys: ring, Notify: s.Notify, Logger: s.Logger}
		t.Cleanup(c.Flush)
		return c
	}
	rotated := with(young + "\n" + old)
	_, after := made(t, rotated, u, time.Hour)
	for _, text := range []string{before, after} {
		if id, err := rotated.Authenticate(ctx, auth.Credentials{Token: text}); err != nil || id != u.ID.String() {
			t.Errorf("%s, %v", id, err)
		}
	}
	if _, err := with(young).Authenticate(ctx, auth.Credentials{Token: before}); apperr.CodeOf(err) != apperr.ErrSignedOut {
		t.Errorf("without the old key: %v", err)
	}
	if _, err := with(young).Authenticate(ctx, auth.Credentials{Token: after}); err != nil {
		t.Error(err)
	}
}

// TestCreate: who may make what.
func TestCreate(t *testing.T) {
	t.Parallel()
	s, ctx := service(t, crypto.Generate()), t.Context()
	dev, asDev := person(t, s, "dev")
	_, asOther := person(t, s, "other")
	admin := domain.Actor{UserID: uuid.NewString(), Username: "root", Bindings: []domain.Binding{{Role: domain.RoleAdmin}}}
	bot := s.DB.Ent.User.Create().SetUsername("bot").SetKind(user.KindService).SetOwnerID(dev.ID).SaveX(ctx)
	asBot := domain.Actor{UserID: bot.ID.String(), Username: "bot", Service: true}
	withToken := asDev
	withToken.Token = &domain.Token{ID: uuid.NewString(), Scopes: domain.Scopes()}
	good := token.New{Name: "ci", Scopes: []domain.Scope{domain.ScopeRead}, Life: day}
	with := func(change func(*token.New)) token.New { in := good; change(&in); return in }
	for _, c := range []struct {
		name string
		who  domain.Actor
		of   uuid.UUID
		in   token.New
		code string
	}{
		{"own", asDev, dev.ID, good, ""},
		{"another's", asOther, dev.ID, good, apperr.ErrNotFound},
		{"an admin a person's", admin, dev.ID, good, apperr.ErrForbidden},
		{"an admin a program's", admin, bot.ID, with(func(n *token.New) { n.Scopes = domain.Scopes() }), ""},
		{"the owner", asDev, bot.ID, good, ""},
		{"the owner to decide", asDev, bot.ID, with(func(n *token.New) { n.Scopes = []domain.Scope{domain.ScopeDecide} }), apperr.ErrInvalidChoice},
		{"not the owner", asOther, bot.ID, good, apperr.ErrNotFound},
		{"a program", asBot, bot.ID, good, apperr.ErrTokenNotAllowed},
		{"a token", withToken, dev.ID, good, apperr.ErrTokenNotAllowed},
		{"nobody", domain.Actor{}, dev.ID, good, apperr.ErrNotFound},
		{"for nobody", asDev, uuid.New(), good, apperr.ErrNotFound},
		{"a year", asDev, dev.ID, with(func(n *token.New) { n.Life = 365 * day }), ""},
		{"more than a year", asDev, dev.ID, with(func(n *token.New) { n.Life = 366 * day }), apperr.ErrOutOfRange},
		{"no time", asDev, dev.ID, with(func(n *token.New) { n.Life = 0 }), apperr.ErrOutOfRange},
		{"no scope", asDev, dev.ID, with(func(n *token.New) { n.Scopes = nil }), apperr.ErrRequired},
		{"no name", asDev, dev.ID, with(func(n *token.New) { n.Name = " " }), apperr.ErrRequired},
	} {
		tok, text, err := s.Create(ctx, c.who, c.of.String(), c.in)
		code := ""
		if fields := apperr.Fields(err); len(fields) > 0 {
			code = fields[0].Code
		} else if err != nil {
			code = apperr.CodeOf(err)
		}
		if code != c.code || (text == "") != (c.code != "") {
			t.Errorf("%s: %v, want %q", c.name, err, c.code)
		}
		if code != "" {
			continue
		}
		_, shown, err := s.Enter(ctx, text, "")
		if err != nil || shown.MakerID != c.who.UserID || shown.ID != tok.ID {
			t.Errorf("%s: made by %+v, %v", c.name, shown, err)
		}
		if err := s.Revoke(ctx, withToken, tok.ID, ""); apperr.CodeOf(err) != apperr.ErrTokenNotAllowed {
			t.Errorf("a token revokes: %v", err)
		}
	}
	e := s.DB.Ent.AuditLog.Query().Where(auditlog.Action("token.create")).FirstX(ctx)
	if fmt.Sprint(e.Details["scopes"]) != "[read]" || e.Details["account"] != "dev" {
		t.Errorf("audit %+v", e.Details)
	}
}

// TestLimit: an account has at most 50 tokens that work, however many are made
// at once.
func TestLimit(t *testing.T) {
	t.Parallel()
	s, ctx := service(t, crypto.Generate()), t.Context()
	u, me := person(t, s, "dev")
	for i := range token.MaxLive - 2 {
		s.DB.Ent.AccessToken.Create().SetUserID(u.ID).SetName(fmt.Sprint(i)).SetScopes(domain.Scopes()).SetCreatedBy("dev").SetExpiresAt(time.Now().Add(day)).ExecX(ctx)
	}
	var wg sync.WaitGroup
	codes := make(chan string, 8)
	for range 8 {
		wg.Go(func() {
			_, _, err := s.Create(ctx, me, me.UserID, token.New{Name: "x", Scopes: []domain.Scope{domain.ScopeRead}, Life: day})
			code := ""
			if err != nil {
				code = apperr.CodeOf(err)
			}
			codes <- code
		})
	}
	wg.Wait()
	close(codes)
	count := map[string]int{}
	for c := range codes {
		count[c]++
	}
	if count[""] != 2 || count[apperr.ErrTokenLimit] != 6 {
		t.Errorf("%v", count)
	}
	// The list is paged, and nothing is left out.
	seen := map[string]bool{}
	for page := (listing.Page{Limit: 20}); ; {
		list, err := s.List(ctx, me, me.UserID, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, tok := range list.Items {
			seen[tok.ID] = true
		}
		if page.After = list.Next; page.After == "" {
			break
		}
	}
	if len(seen) != token.MaxLive {
		t.Errorf("%d tokens in the list", len(seen))
	}
	_, other := person(t, s, "other")
	if _, err := s.List(ctx, other, me.UserID, listing.Page{}); apperr.CodeOf(err) != apperr.ErrNotFound {
		t.Errorf("another's list: %v", err)
	}
	// One that ended makes room.
	s.DB.Ent.AccessToken.Update().Where(accesstoken.Name("0")).SetRevokedAt(time.Now()).ExecX(ctx)
	made(t, s, u, day)
}

// TestRemind: two messages before the end, each once, also with many replicas.
func TestRemind(t *testing.T) {
	t.Parallel()
	s, ctx := service(t, crypto.Generate()), t.Context()
	dev, asDev := person(t, s, "dev")
	boss, asBoss := person(t, s, "boss")
	asBoss.Bindings = []domain.Binding{{Role: domain.RoleAdmin}}
	bot := s.DB.Ent.User.Create().SetUsername("bot").SetKind(user.KindService).SetOwnerID(dev.ID).SaveX(ctx)
	create := func(by domain.Actor, of, name string, life time.Duration) uuid.UUID {
		t.Helper()
		tok, _, err := s.Create(ctx, by, of, token.New{Name: name, Scopes: []domain.Scope{domain.ScopeRead}, Life: life})
		if err != nil {
			t.Fatal(err)
		}
		return uuid.MustParse(tok.ID)
	}
	long := create(asDev, dev.ID.String(), "long", 90*day)
	create(asDev, dev.ID.String(), "a week", 7*day) // needs no message to begin with
	create(asDev, dev.ID.String(), "an hour", time.Hour)
	program := create(asBoss, bot.ID.String(), "program", 90*day)
	run := func(want int) {
		t.Helper()
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := 0
		for range 4 {
			wg.Go(func() {
				n, err := s.Remind(ctx)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				got += n
				mu.Unlock()
			})
		}
		wg.Wait()
		if got != want {
			t.Errorf("%d tokens, want %d", got, want)
		}
	}
	ends := func(id uuid.UUID, in time.Duration) {
		if _, err := s.DB.SQL.ExecContext(ctx, `UPDATE access_tokens SET expires_at = $1 WHERE id = $2`, time.Now().Add(in).UTC(), id); err != nil {
			t.Fatal(err)
		}
	}
	told := func(u *ent.User) []string {
		var all []string
		for _, n := range s.DB.Ent.Notification.Query().Where(notification.UserID(u.ID)).Order(ent.Asc(notification.FieldID)).AllX(ctx) {
			if n.Kind != string(notify.TokenExpires) {
				t.Errorf("kind %s", n.Kind)
			}
			all = append(all, fmt.Sprint(n.Params["token"]))
		}
		return all
	}
	run(0)
	ends(long, 8*day)
	run(0)
	ends(long, 7*day-time.Minute)
	ends(program, 6*day)
	run(2)
	run(0)
	if fmt.Sprint(told(dev)) != "[long program]" && fmt.Sprint(told(dev)) != "[program long]" || fmt.Sprint(told(boss)) != "[program]" {
		t.Errorf("told dev %v, boss %v", told(dev), told(boss))
	}
	ends(long, 23*time.Hour)
	run(1)
	run(0)
	// Nobody is told of what is over, revoked, or of a closed account.
	ends(program, time.Hour)
	s.DB.Ent.AccessToken.UpdateOneID(program).SetRevokedAt(time.Now()).ExecX(ctx)
	ends(create(asDev, dev.ID.String(), "over", 90*day), -time.Minute)
	other, asOther := person(t, s, "other")
	ends(create(asOther, other.ID.String(), "closed", 90*day), time.Hour)
	other.Update().SetDisabled(true).ExecX(ctx)
	run(0)
	if n := len(told(dev)); n != 3 {
		t.Errorf("dev was told %d times", n)
	}

	// A token that was forgotten until its last day is told of once.
	ends(create(asDev, dev.ID.String(), "late", 90*day), time.Hour)
	run(1)
	run(0)
}

// TestClean: rows go 90 days after the end.
func TestClean(t *testing.T) {
	t.Parallel()
	s, ctx := service(t, crypto.Generate()), t.Context()
	u, _ := person(t, s, "dev")
	for _, ended := range []time.Duration{-91 * day, -89 * day, day} {
		s.DB.Ent.AccessToken.Create().SetUserID(u.ID).SetName("x").SetScopes(domain.Scopes()).SetCreatedBy("dev").SetExpiresAt(time.Now().Add(ended)).ExecX(ctx)
	}
	if n, err := s.Clean(ctx); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n := s.DB.Ent.AccessToken.Query().CountX(ctx); n != 2 {
		t.Errorf("%d left", n)
	}
}
