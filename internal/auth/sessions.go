package auth

import (
	"context"
	"crypto/sha256"
	stdsql "database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/alexedwards/scs/v2"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/session"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// What a session holds that the page of sessions shows. Rights are never in a
// session: they are read at every request.
const (
	SessionUser   = "user"  // id, text
	SessionBegan  = "at"    // Unix seconds
	SessionSeen   = "seen"  // Unix seconds
	SessionMethod = "how"   // Method, text
	SessionIP     = "ip"    // where it began, text
	SessionAgent  = "agent" // User-Agent, text
)

// Method says how somebody signed in.
type Method string

// The ways in.
const (
	ByPassword Method = "password"
	ByOIDC     Method = "oidc" // the company account
	ByLink     Method = "link" // a one-time link
)

// MaxAgent is how much is kept of a User-Agent, in characters.
const MaxAgent = 300

// tombstone is how long an ended session is still known after it would have
// ended by itself: longer than any request takes.
const tombstone = time.Hour

// Sessions keeps the sessions of scs in the database, so that every replica
// knows them. The manager must hash tokens (HashTokenInStore): what stands in
// the table then signs nobody in, and is plain text that PostgreSQL takes.
//
// A session that was ended stays as a mark without data until it would have
// expired: a request that was under way writes it at its end, and must not
// bring it back to life.
type Sessions struct{ Client *ent.Client }

var _ scs.CtxStore = Sessions{}

// SessionID is the id in the table of the session with a cookie's token, as scs
// makes it.
func SessionID(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// FindCtx reads a session that has neither expired nor been ended.
func (s Sessions) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	row, err := s.Client.Session.Query().
		Where(session.ID(token), session.ExpiresAtGT(time.Now().UTC()), session.EndedAtIsNil()).Only(ctx)
	if ent.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return row.Data, true, nil
}

// CommitCtx writes a session, new or known, with the columns that tell what is
// in it. One that was ended stays so.
func (s Sessions) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	_, held, err := scs.GobCodec{}.Decode(data)
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	text := func(key string) string { t, _ := held[key].(string); return t }
	at := func(key string) *time.Time {
		seconds, ok := held[key].(int64)
		if !ok {
			return nil
		}
		return new(time.Unix(seconds, 0).UTC())
	}
	row := s.Client.Session.Create().SetID(token).SetData(data).SetExpiresAt(expiry.UTC()).
		SetNillableBeganAt(at(SessionBegan)).SetNillableSeenAt(at(SessionSeen)).
		SetMethod(text(SessionMethod)).SetIPAddress(text(SessionIP)).SetUserAgent(domain.CleanText(text(SessionAgent), MaxAgent))
	if user, err := uuid.Parse(text(SessionUser)); err == nil {
		row.SetUserID(user)
	}
	living := sql.ExprP(session.Table + "." + session.FieldEndedAt + " IS NULL")
	err = row.OnConflict(sql.ConflictColumns(session.FieldID), sql.ResolveWithNewValues(), sql.UpdateWhere(living)).Exec(ctx)
	if errors.Is(err, stdsql.ErrNoRows) { // nothing was written: it was ended
		return nil
	}
	return err
}

// DeleteCtx ends a session; one that does not exist is no error.
func (s Sessions) DeleteCtx(ctx context.Context, token string) error {
	return EndSessions(ctx, s.Client, session.ID(token))
}

// Find is FindCtx for callers without a context.
func (s Sessions) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit is CommitCtx for callers without a context.
func (s Sessions) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expiry)
}

// Delete is DeleteCtx for callers without a context.
func (s Sessions) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// DeleteExpired removes what nobody can use any more, for a periodic job.
func (s Sessions) DeleteExpired(ctx context.Context) (int, error) {
	return s.Client.Session.Delete().Where(session.ExpiresAtLTE(time.Now().UTC().Add(-tombstone))).Exec(ctx)
}

// EndSessions ends the sessions that match; c may be a transaction's client.
// Nothing of what they held is kept.
func EndSessions(ctx context.Context, c *ent.Client, which ...predicate.Session) error {
	return c.Session.Update().Where(append(which, session.EndedAtIsNil())...).
		SetEndedAt(time.Now().UTC()).SetData([]byte{}).Exec(ctx)
}
