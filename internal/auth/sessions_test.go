package auth_test

import (
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
)

func TestSessions(t *testing.T) {
	s, ctx := auth.Sessions{Client: databasetest.New(t).Ent}, t.Context()
	if _, found, err := s.FindCtx(ctx, "a"); found || err != nil {
		t.Fatalf("an unknown session: %v, %v", found, err)
	}
	for _, data := range []string{"one", "two"} { // made, then written again
		if err := s.CommitCtx(ctx, "a", []byte(data), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if got, found, err := s.FindCtx(ctx, "a"); string(got) != data || !found || err != nil {
			t.Errorf("%q, %v, %v", got, found, err)
		}
	}
	if err := s.CommitCtx(ctx, "old", []byte("x"), time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, found, _ := s.FindCtx(ctx, "old"); found {
		t.Error("an ended session is found")
	}
	if n, err := s.DeleteExpired(ctx); n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	for range 2 { // the second time it is not there
		if err := s.DeleteCtx(ctx, "a"); err != nil {
			t.Error(err)
		}
	}
	if n := s.Client.Session.Query().CountX(ctx); n != 0 {
		t.Errorf("%d sessions left", n)
	}
}
