package api

import (
	"context"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Notifications are messages of the portal to me.
type Notifications struct {
	Items  []Notification `json:"items"`
	Next   string         `json:"next,omitempty" doc:"Cursor of the following page, for the parameter after. Not there on the last page."`
	Unread int            `json:"unread" doc:"How many I have not read, of all."`
}

func (n Notifications) next() string { return n.Next }

// Notification is one message.
type Notification struct {
	ID      string         `json:"id" format:"uuid"`
	Kind    string         `json:"kind" example:"ticket.approved"`
	Params  map[string]any `json:"params" doc:"Facts of the message."`
	Request int            `json:"request,omitzero" doc:"Number of the request that it is about."`
	At      time.Time      `json:"at"`
	Read    bool           `json:"read"`
}

// ReadUntil says up to where messages were read.
type ReadUntil struct {
	Newest string `json:"newest,omitempty" format:"uuid" doc:"The newest message that was read. Not there: all."`
}

func (a *API) notifications() []Operation {
	const tag = "notifications"
	return []Operation{
		op(Operation{ID: "listNotifications", Method: "GET", Path: "/notifications", Action: domain.NotificationRead, Tag: tag, Summary: "Messages to me, the newest first", Pages: []string{"GET /notifications"}},
			func(ctx context.Context, actor domain.Actor, in struct{ paging }) (Notifications, error) {
				unread, err := a.Inbox.Unread(ctx, actor)
				if err != nil {
					return Notifications{}, err
				}
				list, err := a.Inbox.List(ctx, actor, in.page())
				n := Notifications{Next: list.Next, Unread: unread}
				for _, m := range list.Items {
					n.Items = append(n.Items, Notification{m.ID, string(m.Kind), m.Params, m.Ticket, m.At, m.Read})
				}
				return n, err
			}),
		op(Operation{
			ID: "readNotifications", Method: "POST", Path: "/notifications/read", Action: domain.NotificationUpdate, Tag: tag, Summary: "Mark messages as read",
			Pages: []string{"POST /notifications"},
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body ReadUntil }) (none, error) {
			return none{}, a.Inbox.MarkAllRead(ctx, actor, in.Body.Newest)
		}),
	}
}
