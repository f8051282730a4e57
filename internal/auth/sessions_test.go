package auth_test

import (
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
)

func TestSessions(t *testing.T) {
	s, ctx := auth.Sessions{Client: databasetest.New(t).Ent}, t.Context()
	hour := time.Now().Add(time.Hour)
	pack := func(values map[string]any) []byte {
		b, err := scs.GobCodec{}.Encode(hour, values)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if _, found, err := s.FindCtx(ctx, "a"); found || err != nil {
		t.Fatalf("an unknown session: %v, %v", found, err)
	}
	user := uuid.New()
	one := pack(nil)
	two := pack(map[string]any{
		auth.SessionUser: user.String(), auth.SessionBegan: int64(1000), auth.SessionSeen: int64(2000),
		auth.SessionMethod: string(auth.ByOIDC), auth.SessionIP: "192.0.2.7", auth.SessionAgent: "Mozilla/5.0\r\nX: y",
	})
	for _, data := range [][]byte{one, two} { // made, then written again
		if err := s.CommitCtx(ctx, "a", data, hour); err != nil {
			t.Fatal(err)
		}
		if got, found, err := s.FindCtx(ctx, "a"); string(got) != string(data) || !found || err != nil {
			t.Errorf("%q, %v, %v", got, found, err)
		}
	}
	row := s.Client.Session.GetX(ctx, "a")
	if row.UserID == nil || *row.UserID != user || row.BeganAt.Unix() != 1000 || row.SeenAt.Unix() != 2000 ||
		row.Method != "oidc" || row.IPAddress != "192.0.2.7" || row.UserAgent != "Mozilla/5.0\uFFFD X: y" {
		t.Errorf("columns: %v", row)
	}
	if err := s.CommitCtx(ctx, "a", []byte("garbage"), hour); err == nil {
		t.Error("what is no session is stored")
	}

	// Ended, it stays so, whoever still writes it, and holds nothing.
	for range 2 { // the second time it is over already
		if err := s.DeleteCtx(ctx, "a"); err != nil {
			t.Error(err)
		}
	}
	if err := s.CommitCtx(ctx, "a", two, hour); err != nil {
		t.Errorf("written after its end: %v", err)
	}
	if _, found, _ := s.FindCtx(ctx, "a"); found {
		t.Error("an ended session came back to life")
	}
	if row := s.Client.Session.GetX(ctx, "a"); len(row.Data) != 0 {
		t.Error("an ended session keeps what it held")
	}

	for token, past := range map[string]time.Duration{"old": time.Second, "older": 2 * time.Hour} {
		if err := s.CommitCtx(ctx, token, one, time.Now().Add(-past)); err != nil {
			t.Fatal(err)
		}
		if _, found, _ := s.FindCtx(ctx, token); found {
			t.Error("an expired session is found")
		}
	}
	if n, err := s.DeleteExpired(ctx); n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
}

// The id is what scs writes.
func TestSessionID(t *testing.T) {
	store := auth.Sessions{Client: databasetest.New(t).Ent}
	m := scs.New()
	m.Store, m.HashTokenInStore = store, true
	ctx, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	m.Put(ctx, auth.SessionUser, uuid.NewString())
	token, _, err := m.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if id := store.Client.Session.Query().OnlyX(t.Context()).ID; id != auth.SessionID(token) {
		t.Errorf("%s, want %s", auth.SessionID(token), id)
	}
}
