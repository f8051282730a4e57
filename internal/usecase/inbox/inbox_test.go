package inbox_test

import (
	"testing"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/inbox"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

func TestInbox(t *testing.T) {
	db, ctx := databasetest.New(t), t.Context()
	s := &inbox.Service{DB: db}
	me, other := db.Ent.User.Create().SetUsername("me").SaveX(ctx), db.Ent.User.Create().SetUsername("other").SaveX(ctx)
	send := func(n int, to ...uuid.UUID) {
		if err := db.InTx(ctx, func(tx *ent.Tx) error {
			return notify.Inbox{}.Notify(ctx, tx, notify.Message{Kind: notify.TicketApproved, Ticket: n, Params: map[string]any{"by": "bob"}, Users: to})
		}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 5 {
		send(n+1, me.ID, other.ID)
	}
	a := domain.Actor{UserID: me.ID.String()}
	unread := func(a domain.Actor) int {
		n, err := s.Unread(ctx, a)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var got []inbox.Message
	for page := (listing.Page{Limit: 2}); ; {
		l, err := s.List(ctx, a, page)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Items...)
		if page.After = l.Next; l.Next == "" {
			break
		}
	}
	if len(got) != 5 || got[0].Ticket != 5 || got[4].Ticket != 1 || got[0].Kind != notify.TicketApproved || got[0].Params["by"] != "bob" || got[0].Read {
		t.Fatalf("%+v", got)
	}
	if n := unread(a); n != 5 {
		t.Errorf("%d unread", n)
	}
	// What came after the page was drawn stays unread, and nobody reads for others.
	send(6, me.ID)
	if err := s.MarkAllRead(ctx, a, got[0].ID); err != nil {
		t.Fatal(err)
	}
	if n, o := unread(a), unread(domain.Actor{UserID: other.ID.String()}); n != 1 || o != 5 {
		t.Errorf("%d unread, the other's %d", n, o)
	}
	if err := s.MarkAllRead(ctx, a, ""); err != nil || unread(a) != 0 {
		t.Errorf("%v, %d unread", err, unread(a))
	}
	if l, _ := s.List(ctx, a, listing.Page{}); !l.Items[0].Read {
		t.Error("not shown as read")
	}

	if _, err := s.List(ctx, domain.Actor{}, listing.Page{}); apperr.CodeOf(err) != apperr.ErrSignedOut {
		t.Errorf("nobody's inbox: %v", err)
	}
	if _, err := s.List(ctx, a, listing.Page{After: "x"}); apperr.CodeOf(err) != apperr.ErrInvalidChoice {
		t.Errorf("a made-up cursor: %v", err)
	}
	if err := s.MarkAllRead(ctx, a, "x"); apperr.CodeOf(err) != apperr.ErrNotFound {
		t.Errorf("a made-up message: %v", err)
	}
}
