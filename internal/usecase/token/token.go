// Package token holds the tokens of programs: personal ones, which act as the
// person who made them, and those of service accounts. A token is a JWT whose
// row says what it may do and whether it is good: one that is revoked, or whose
// account is disabled, is refused at the next request, and its streams end.
package token

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/accesstoken"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/schema"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Limits.
const (
	MaxName     = 60              // runes
	MaxLive     = 50              // good tokens of one account
	MinLifetime = time.Minute     // so that nobody makes one that is useless
	seenEvery   = time.Minute     // how exact the last use is
	seenTimeout = 5 * time.Second // for writing it down
	maxSeeing   = 4               // uses that are written down at once, per process
	noteEvery   = time.Minute     // at most one line of the audit log about refusals of a token
	purpose     = "bearer tokens" // of the key that is derived from each key encryption key
)

// Service holds the rules of tokens. All exported fields must be set; it must
// not be copied.
type Service struct {
	DB     *database.DB
	Keys   *crypto.Keyring // each of its keys has one for tokens; the active one signs
	Notify notify.NotificationProvider
	Logger *slog.Logger

	seeing atomic.Int32
	writes sync.WaitGroup
}

var _ auth.AuthProvider = (*Service)(nil)

// Token is a token as the lists show it. Its text is shown once, by Create.
type Token struct {
	ID, UserID, Name string
	Scopes           []domain.Scope
	CreatedAt        time.Time
	CreatedBy        string // user name
	ExpiresAt        time.Time
	RevokedAt        *time.Time
	RevokedBy        string
	LastUsedAt       *time.Time // exact to a minute
	LastUsedIP       string
}

// Live says whether the token works at a time, as far as it itself is concerned.
func (t Token) Live(now time.Time) bool { return t.RevokedAt == nil && now.Before(t.ExpiresAt) }

func view(r *ent.AccessToken) Token {
	return Token{
		ID: r.ID.String(), UserID: r.UserID.String(), Name: r.Name, Scopes: r.Scopes, CreatedAt: r.CreatedAt, CreatedBy: r.CreatedBy,
		ExpiresAt: r.ExpiresAt, RevokedAt: r.RevokedAt, RevokedBy: r.RevokedBy, LastUsedAt: r.LastUsedAt, LastUsedIP: r.LastUsedIP,
	}
}

func (s *Service) jwt() auth.JWT {
	return auth.JWT{KeyID: s.Keys.Active(), Key: func(id string) domain.Secret { return s.Keys.DeriveFrom(id, purpose) }}
}

// Type names the provider.
func (*Service) Type() string { return "token" }

// Authenticate answers with whose token it is; SIGNED_OUT.
func (s *Service) Authenticate(ctx context.Context, c auth.Credentials) (userID string, err error) {
	userID, _, err = s.Enter(ctx, c.Token, "")
	return userID, err
}

// Enter finds out whose token a text is and what it may do, and writes down that
// it was used. Whatever is wrong gives the same SIGNED_OUT: the text, a token
// that is gone, revoked or expired, a disabled account. The rights of the user
// are read by whoever needs them. CREDENTIALS_LOCKED when nobody can say, because
// the key file is not the right one.
func (s *Service) Enter(ctx context.Context, text, ip string) (userID string, t *domain.Token, err error) {
	out := apperr.New(apperr.ErrSignedOut)
	claims, err := s.jwt().Verify(text)
	if err != nil && s.Keys.Locked() != nil { // it may be good: the key that would tell is not there
		return "", nil, apperr.New(apperr.ErrCredentialsLocked)
	}
	if err != nil {
		return "", nil, err
	}
	row, err := s.DB.Ent.AccessToken.Query().Where(accesstoken.ID(claims.TokenID), accesstoken.UserID(claims.UserID),
		accesstoken.HasUserWith(user.Disabled(false))).Only(ctx)
	switch {
	case ent.IsNotFound(err):
		return "", nil, out
	case err != nil:
		return "", nil, database.Classify(err)
	case row.RevokedAt != nil:
		return "", nil, errors.Join(out, s.note(ctx, row.ID, domain.Actor{IP: ip}, "revoked", nil))
	case !time.Now().Before(row.ExpiresAt):
		return "", nil, errors.Join(out, s.note(ctx, row.ID, domain.Actor{IP: ip}, "expired", nil))
	}
	s.seen(row, ip)
	t = &domain.Token{ID: row.ID.String(), Name: row.Name, Scopes: row.Scopes, ExpiresAt: row.ExpiresAt}
	if row.MakerID != nil {
		t.MakerID = row.MakerID.String()
	}
	return row.UserID.String(), t, nil
}

// seen writes down when and from where a token was used, at most once in
// seenEvery. The request does not wait for it, and when many are written just
// now, the next use is soon enough.
func (s *Service) seen(row *ent.AccessToken, ip string) {
	now := time.Now().UTC()
	if row.LastUsedAt != nil && now.Sub(*row.LastUsedAt) < seenEvery {
		return
	}
	if s.seeing.Add(1) > maxSeeing {
		s.seeing.Add(-1)
		return
	}
	s.writes.Go(func() {
		defer s.seeing.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), seenTimeout)
		defer cancel()
		// Of many at once one writes.
		err := s.DB.Ent.AccessToken.Update().
			Where(accesstoken.ID(row.ID), accesstoken.Or(accesstoken.LastUsedAtIsNil(), accesstoken.LastUsedAtLTE(now.Add(-seenEvery)))).
			SetLastUsedAt(now).SetLastUsedIP(ip).Exec(ctx)
		if err != nil {
			s.Logger.WarnContext(ctx, "last use of a token", "token", row.ID, "error", err)
		}
	})
}

// Flush waits until all uses are written down.
func (s *Service) Flush() { s.writes.Wait() }

// Refused writes down that an actor's token was refused for what it does not
// have: with code TOKEN_SCOPE a scope, what is missing. A program that goes on
// trying is written down once in noteEvery.
func (s *Service) Refused(ctx context.Context, actor domain.Actor, code string, missing domain.Scope) error {
	id, err := listing.Key(actor.Token.ID)
	if err != nil {
		return err
	}
	return s.note(ctx, id, actor, code, map[string]any{"scope": string(missing)})
}

func (s *Service) note(ctx context.Context, id uuid.UUID, actor domain.Actor, why string, details map[string]any) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		n, err := tx.AccessToken.Update().
			Where(accesstoken.ID(id), accesstoken.Or(accesstoken.RefusedAtIsNil(), accesstoken.RefusedAtLTE(now.Add(-noteEvery)))).
			SetRefusedAt(now).Save(ctx)
		if err != nil || n == 0 {
			return err
		}
		row, err := tx.AccessToken.Query().Where(accesstoken.ID(id)).WithUser().Only(ctx)
		if err != nil {
			return err
		}
		e := entry("token.refuse", row, row.Edges.User)
		e.Refused, e.Reason = true, why
		for k, v := range details {
			if v != "" {
				e.Details[k] = v
			}
		}
		return audit.Write(ctx, tx, actor, e)
	})
}

// entry is a line of the audit log about a token of an account.
func entry(action string, t *ent.AccessToken, u *ent.User) audit.Entry {
	return audit.Entry{
		Action: action, ResourceType: "token", ResourceID: t.ID.String(), ResourceName: t.Name,
		Details: map[string]any{"account": u.Username},
	}
}

// New is a token to make.
type New struct {
	Name   string
	Scopes []domain.Scope
	Life   time.Duration // from a minute to domain.MaxTokenLifetime
	OSUser string        // who ran the command line, for the audit log
}

// Create makes a token of an account and answers with its text, which is stored
// nowhere and shown this once. People make their own; those of a service account
// are made by platform admins, and by its owner as far as domain.Actor.Grants
// allows. No token makes tokens: TOKEN_NOT_ALLOWED. TOKEN_LIMIT when the account
// has MaxLive already, FORBIDDEN when it is disabled, NOT_FOUND;
// CREDENTIALS_LOCKED while nothing can be signed.
func (s *Service) Create(ctx context.Context, actor domain.Actor, userID string, in New) (t Token, text string, err error) {
	if err := access.Token(actor, domain.TokenCreate); err != nil {
		return t, "", err
	}
	if s.Keys.Locked() != nil {
		return t, "", apperr.New(apperr.ErrCredentialsLocked)
	}
	id, err := listing.Key(userID)
	if err != nil {
		return t, "", err
	}
	in.Name = strings.TrimSpace(in.Name)
	if err := in.check(); err != nil {
		return t, "", err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := tx.User.Query().Where(user.ID(id)).ForUpdate().Only(ctx)
		if ent.IsNotFound(err) {
			return apperr.New(apperr.ErrNotFound)
		}
		if err != nil {
			return err
		}
		if err := mayMake(ctx, tx, actor, u, in.Scopes); err != nil {
			return err
		}
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		n, err := tx.AccessToken.Query().Where(accesstoken.UserID(id), live(now)).Count(ctx)
		if err != nil {
			return err
		}
		if n >= MaxLive {
			return apperr.New(apperr.ErrTokenLimit).With("max", MaxLive)
		}
		// The second is as exact as a JWT.
		now = now.Truncate(time.Second)
		row := tx.AccessToken.Create().SetID(schema.NewID()).SetUserID(id).SetName(in.Name).SetScopes(in.Scopes).
			SetCreatedAt(now).SetExpiresAt(now.Add(in.Life)).SetCreatedBy(actor.Username).SetReminders(sentFor(in.Life))
		if maker, err := uuid.Parse(actor.UserID); err == nil {
			row.SetMakerID(maker)
		}
		made, err := row.Save(ctx)
		if err != nil {
			return err
		}
		t = view(made)
		text, err = s.jwt().Sign(auth.Claims{TokenID: made.ID, UserID: id, IssuedAt: now, ExpiresAt: made.ExpiresAt})
		if err != nil {
			return err
		}
		e := entry("token.create", made, u)
		e.Details["scopes"], e.Details["expires_at"] = in.Scopes, made.ExpiresAt
		if in.OSUser != "" {
			e.Details["os_user"] = in.OSUser
		}
		return audit.Write(ctx, tx, actor, e)
	})
	if err != nil {
		return Token{}, "", err
	}
	return t, text, nil
}

// check puts the scopes in order and says what is wrong.
func (in *New) check() error {
	var wrong apperr.List
	switch n := utf8.RuneCountInString(in.Name); {
	case n == 0:
		wrong.Add("name", apperr.ErrRequired)
	case !utf8.ValidString(in.Name) || strings.ContainsFunc(in.Name, unprintable):
		wrong.Add("name", apperr.ErrInvalidText)
	case n > MaxName:
		wrong = append(wrong, apperr.Field("name", apperr.ErrTooLong).With("max", MaxName))
	}
	if len(in.Scopes) == 0 {
		wrong.Add("scopes", apperr.ErrRequired)
	}
	for _, scope := range in.Scopes {
		if !slices.Contains(domain.Scopes(), scope) {
			wrong.Add("scopes", apperr.ErrInvalidChoice)
			break
		}
	}
	in.Scopes = slices.DeleteFunc(domain.Scopes(), func(scope domain.Scope) bool { return !slices.Contains(in.Scopes, scope) })
	if in.Life < MinLifetime || in.Life > domain.MaxTokenLifetime {
		wrong = append(wrong, apperr.Field("days", apperr.ErrOutOfRange).With("min", 1).With("max", int(domain.MaxTokenLifetime/(24*time.Hour))))
	}
	return wrong.Err()
}

// mayMake is nil for who may make a token of u with these scopes.
func mayMake(ctx context.Context, tx *ent.Tx, actor domain.Actor, u *ent.User, scopes []domain.Scope) error {
	if isShepherd(actor) {
		return disabled(u)
	}
	if actor.Service {
		return apperr.New(apperr.ErrTokenNotAllowed)
	}
	r, err := rightsTo(ctx, tx.Client(), actor, u)
	if err != nil {
		return err
	}
	if !r.makes {
		return r.refusal()
	}
	for _, scope := range scopes {
		if !actor.Grants(scope, u.Kind == user.KindService) {
			return apperr.Field("scopes", apperr.ErrInvalidChoice)
		}
	}
	return disabled(u)
}

func disabled(u *ent.User) error {
	if u.Disabled {
		return apperr.New(apperr.ErrForbidden).With("name", u.Username)
	}
	return nil
}

// isShepherd says whether the actor is the command line: a person has an id.
func isShepherd(a domain.Actor) bool {
	return a.UserID == "" && a.Username == domain.Shepherd().Username
}

// rights are what an actor may do with the tokens of an account.
type rights struct{ reads, makes, revokes bool }

func rightsTo(ctx context.Context, c *ent.Client, actor domain.Actor, u *ent.User) (rights, error) {
	if isShepherd(actor) {
		return rights{true, true, true}, nil
	}
	inCharge, err := account.InCharge(ctx, c, actor, u)
	inCharge = inCharge || actor.UserID == u.ID.String()
	return rights{reads: inCharge || actor.CanAudit(), makes: inCharge, revokes: inCharge || actor.IsAdmin()}, err
}

// refusal is for who may not do something with the tokens.
func (r rights) refusal() error {
	if r.reads {
		return apperr.New(apperr.ErrForbidden)
	}
	return apperr.New(apperr.ErrNotFound)
}

// live says in SQL which tokens work, as far as they themselves are concerned.
func live(now time.Time) predicate.AccessToken {
	return accesstoken.And(accesstoken.RevokedAtIsNil(), accesstoken.ExpiresAtGT(now))
}

// List gives the tokens of an account, the newest first, and those that ended
// for domain.TokenKept. NOT_FOUND for who may not see them.
func (s *Service) List(ctx context.Context, actor domain.Actor, userID string, page listing.Page) (listing.Of[Token], error) {
	var none listing.Of[Token]
	id, err := listing.Key(userID)
	if err != nil {
		return none, err
	}
	u, err := s.DB.Ent.User.Get(ctx, id)
	if ent.IsNotFound(err) {
		return none, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return none, database.Classify(err)
	}
	if r, err := rightsTo(ctx, s.DB.Ent, actor, u); err != nil || !r.reads {
		return none, cmp.Or(database.Classify(err), r.refusal())
	}
	since := time.Now().UTC().Add(-domain.TokenKept)
	q := s.DB.Ent.AccessToken.Query().Where(accesstoken.UserID(id), accesstoken.ExpiresAtGT(since),
		accesstoken.Or(accesstoken.RevokedAtIsNil(), accesstoken.RevokedAtGT(since)))
	switch after, ok, err := page.ID(); {
	case err != nil:
		return none, err
	case ok:
		q.Where(accesstoken.IDLT(after))
	}
	rows, err := q.Order(ent.Desc(accesstoken.FieldID)).Limit(page.Size() + 1).All(ctx)
	if err != nil {
		return none, database.Classify(err)
	}
	return listing.Make(page, rows, view, func(r *ent.AccessToken) string { return r.ID.String() }), nil
}

// Owner is the account of a token.
type Owner struct {
	account.Person
	Service bool
}

// Find gives one token that the actor may revoke, and its account. FORBIDDEN for
// who only sees it, NOT_FOUND.
func (s *Service) Find(ctx context.Context, actor domain.Actor, tokenID string) (Token, Owner, error) {
	id, err := listing.Key(tokenID)
	if err != nil {
		return Token{}, Owner{}, err
	}
	row, err := s.DB.Ent.AccessToken.Query().Where(accesstoken.ID(id)).WithUser().Only(ctx)
	switch {
	case ent.IsNotFound(err):
		return Token{}, Owner{}, apperr.New(apperr.ErrNotFound)
	case err != nil:
		return Token{}, Owner{}, database.Classify(err)
	}
	u := row.Edges.User
	if r, err := rightsTo(ctx, s.DB.Ent, actor, u); err != nil || !r.revokes {
		return Token{}, Owner{}, cmp.Or(database.Classify(err), r.refusal())
	}
	return view(row), Owner{account.Person{ID: u.ID.String(), Username: u.Username, DisplayName: u.DisplayName}, u.Kind == user.KindService}, nil
}

// Revoke ends a token at once, with its streams. One that has ended already is
// no error. People end their own, the owner of a service account its, platform
// admins anybody's. Others get FORBIDDEN when they see it, or NOT_FOUND. No token
// ends tokens: TOKEN_NOT_ALLOWED. osUser is who ran the command line, or "".
func (s *Service) Revoke(ctx context.Context, actor domain.Actor, tokenID, osUser string) error {
	if err := access.Token(actor, domain.TokenRevoke); err != nil {
		return err
	}
	id, err := listing.Key(tokenID)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		row, err := tx.AccessToken.Query().Where(accesstoken.ID(id)).WithUser().ForUpdate().Only(ctx)
		if ent.IsNotFound(err) {
			return apperr.New(apperr.ErrNotFound)
		}
		if err != nil {
			return err
		}
		u := row.Edges.User
		if r, err := rightsTo(ctx, tx.Client(), actor, u); err != nil || !r.revokes {
			return cmp.Or(err, r.refusal())
		}
		now, err := s.DB.Now(ctx, tx)
		if err != nil || !view(row).Live(now) {
			return err
		}
		if err := row.Update().SetRevokedAt(now).SetRevokedBy(actor.Username).Exec(ctx); err != nil {
			return err
		}
		e := entry("token.revoke", row, u)
		e.Before, e.After = map[string]any{"revoked": false}, map[string]any{"revoked": true}
		if osUser != "" {
			e.Details["os_user"] = osUser
		}
		if err := audit.Write(ctx, tx, actor, e); err != nil {
			return err
		}
		return database.Notify(ctx, tx, account.RightsTopic(u.ID.String()))
	})
}

// unprintable are characters that change the line they stand in.
func unprintable(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
