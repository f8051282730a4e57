// Package inbox shows people the messages that the portal has for them. They
// are written by package notify.
package inbox

import (
	"context"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/notification"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Service holds the inbox of everybody. Each call is about the actor's own.
type Service struct{ DB *database.DB }

// Message is one message. Its sentence is made from kind and params.
type Message struct {
	ID     string
	Kind   notify.Kind
	Params map[string]any
	Ticket int // 0: not about a ticket
	At     time.Time
	Read   bool
}

// owner is whose inbox it is: SIGNED_OUT for nobody.
func owner(a domain.Actor) (uuid.UUID, error) {
	id, err := uuid.Parse(a.UserID)
	if err != nil {
		return uuid.Nil, apperr.New(apperr.ErrSignedOut)
	}
	return id, nil
}

// List gives the messages, the newest first.
func (s *Service) List(ctx context.Context, actor domain.Actor, page listing.Page) (listing.Of[Message], error) {
	me, err := owner(actor)
	if err != nil {
		return listing.Of[Message]{}, err
	}
	q := s.DB.Ent.Notification.Query().Where(notification.UserID(me))
	switch after, ok, err := page.ID(); {
	case err != nil:
		return listing.Of[Message]{}, err
	case ok:
		q.Where(notification.IDLT(after))
	}
	rows, err := q.Order(ent.Desc(notification.FieldID)).Limit(page.Size() + 1).All(ctx)
	if err != nil {
		return listing.Of[Message]{}, database.Classify(err)
	}
	return listing.Make(page, rows, view, func(r *ent.Notification) string { return r.ID.String() }), nil
}

func view(r *ent.Notification) Message {
	m := Message{ID: r.ID.String(), Kind: notify.Kind(r.Kind), Params: r.Params, At: r.CreatedAt, Read: r.ReadAt != nil}
	if r.TicketID != nil {
		m.Ticket = *r.TicketID
	}
	return m
}

// Unread counts the messages that the actor has not read.
func (s *Service) Unread(ctx context.Context, actor domain.Actor) (int, error) {
	me, err := owner(actor)
	if err != nil {
		return 0, err
	}
	n, err := s.DB.Ent.Notification.Query().Where(notification.UserID(me), notification.ReadAtIsNil()).Count(ctx)
	return n, database.Classify(err)
}

// MarkAllRead marks all messages up to the newest that the actor was shown, so
// that one which came meanwhile stays unread. newest "" means all.
func (s *Service) MarkAllRead(ctx context.Context, actor domain.Actor, newest string) error {
	me, err := owner(actor)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		q := tx.Notification.Update().Where(notification.UserID(me), notification.ReadAtIsNil())
		if newest != "" {
			id, err := listing.Key(newest)
			if err != nil {
				return err
			}
			q.Where(notification.IDLTE(id))
		}
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		n, err := q.SetReadAt(now).Save(ctx)
		if err != nil || n == 0 {
			return err
		}
		return database.Notify(ctx, tx, "notifications")
	})
}
