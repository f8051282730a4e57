package auth

import (
	"context"
	"time"

	"github.com/alexedwards/scs/v2"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/session"
)

// Sessions keeps the sessions of scs in the database, so that every replica
// knows them. The manager must hash tokens (HashTokenInStore): what stands in
// the table then signs nobody in, and is plain text that PostgreSQL takes.
type Sessions struct{ Client *ent.Client }

var _ scs.CtxStore = Sessions{}

// FindCtx reads a session that has not expired.
func (s Sessions) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	row, err := s.Client.Session.Query().Where(session.ID(token), session.ExpiresAtGT(time.Now().UTC())).Only(ctx)
	if ent.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return row.Data, true, nil
}

// CommitCtx writes a session, new or known.
func (s Sessions) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return s.Client.Session.Create().SetID(token).SetData(data).SetExpiresAt(expiry.UTC()).
		OnConflictColumns(session.FieldID).UpdateNewValues().Exec(ctx)
}

// DeleteCtx ends a session; one that does not exist is no error.
func (s Sessions) DeleteCtx(ctx context.Context, token string) error {
	_, err := s.Client.Session.Delete().Where(session.ID(token)).Exec(ctx)
	return err
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
	return s.Client.Session.Delete().Where(session.ExpiresAtLTE(time.Now().UTC())).Exec(ctx)
}
