package handlers

import (
	"fmt"
	"net/http"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/inbox"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// showInbox answers GET /notifications.
func (s *Server) showInbox(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Inbox.List(r.Context(), actor(r), listing.Page{After: r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	unread, err := s.Inbox.Unread(r.Context(), actor(r))
	if err != nil {
		return err
	}
	v := views.InboxView{Self: r.URL.RequestURI(), Unread: unread, Pager: pager(r, "", list.Next)}
	for _, m := range list.Items {
		v.Items = append(v.Items, notification(r, m))
	}
	sh, err := s.shell(r, "Notifications", "notifications")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Inbox(sh, v))
}

// notification makes the sentence of a message.
func notification(r *http.Request, m inbox.Message) views.NotificationItem {
	text := func(key string) string {
		if v, ok := m.Params[key]; ok && v != nil {
			return domain.CleanText(fmt.Sprint(v), 200)
		}
		return ""
	}
	title, by := text("title"), text("by")
	n := views.NotificationItem{ID: m.ID, At: m.At, Unread: !m.Read, Text: text("reason")}
	if m.Ticket != 0 {
		n.Href = paths.Request(m.Ticket)
		title = domain.TicketName(m.Ticket) + " · " + title
	}
	status := domain.TicketPending
	switch string(m.Kind) {
	case "ticket.submitted":
		n.Title, n.Text = by+" asks for "+title, "It waits for your decision."
		if m.Ticket != 0 {
			n.Href = paths.Approval(m.Ticket)
		}
	case "ticket.approved":
		n.Title, status = decidedBy(by)+" approved "+title, domain.TicketApproved
	case "ticket.rejected":
		n.Title, status = decidedBy(by)+" rejected "+title, domain.TicketRejected
	case "ticket.expired":
		n.Title, n.Text, status = title+" expired", "Nobody decided in time. You can ask again.", domain.TicketExpired
	case "ticket.completed":
		n.Title, status = title+" is done", domain.TicketCompleted
	case "ticket.failed":
		n.Title, status = title+" failed", domain.TicketFailed
	case "ticket.attention":
		n.Title, status = title+" needs attention", domain.TicketNeedsAttention
	case "token.expires":
		n.Title, n.Text = i18n.T(r.Context(), "Your token {name} ends on {when}", "name", text("token"), "when", m.Params["expires_at"]),
			i18n.T(r.Context(), "Make a new one and give it to the program before.")
		n.Href, n.Mark = paths.Tokens, ui.StatusView{Label: i18n.T(r.Context(), "Ends soon"), Role: ui.Warn, Glyph: "warn"}
		if name := text("account"); name != "" {
			n.Title = i18n.T(r.Context(), "The token {name} of {account} ends on {when}", "name", text("token"), "account", name, "when", m.Params["expires_at"])
			n.Href = paths.ServiceAccount(text("account_id"))
		}
	default:
		n.Title = title
	}
	if code := text("code"); code != "" {
		n.Text = message(r, code, m.Params).Text()
	}
	if n.Mark.Label == "" {
		n.Mark = views.TicketState(status)
	}
	return n
}

type readForm struct {
	Newest string `form:"newest"`
}

// readAll answers POST /notifications.
func (s *Server) readAll(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[readForm](r)
	if err != nil {
		return err
	}
	if err := s.Inbox.MarkAllRead(r.Context(), actor(r), form.Newest); err != nil {
		return err
	}
	return s.redirect(w, r, paths.Notifications)
}
