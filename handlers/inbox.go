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
	sh, err := s.shell(r, i18n.T(r.Context(), "Notifications"), "notifications")
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
	ctx, title, by := r.Context(), text("title"), text("by")
	n := views.NotificationItem{ID: m.ID, At: m.At, Unread: !m.Read, Text: text("reason")}
	if m.Ticket != 0 {
		n.Href = paths.Request(m.Ticket)
		title = domain.TicketName(m.Ticket) + " · " + title
	}
	status := domain.TicketPending
	switch string(m.Kind) {
	case "ticket.submitted":
		n.Title = i18n.T(ctx, "{name} asks for {what}", "name", by, "what", title)
		n.Text = i18n.T(ctx, "It waits for your decision.")
		if m.Ticket != 0 {
			n.Href = paths.Approval(m.Ticket)
		}
	case "ticket.approved":
		n.Title, status = i18n.T(ctx, "{name} approved {what}", "name", decidedBy(ctx, by), "what", title), domain.TicketApproved
	case "ticket.rejected":
		n.Title, status = i18n.T(ctx, "{name} rejected {what}", "name", decidedBy(ctx, by), "what", title), domain.TicketRejected
	case "ticket.expired":
		n.Title, status = i18n.T(ctx, "{what} expired", "what", title), domain.TicketExpired
		n.Text = i18n.T(ctx, "Nobody decided in time. You can ask again.")
	case "ticket.completed":
		n.Title, status = i18n.T(ctx, "{what} is done", "what", title), domain.TicketCompleted
	case "ticket.failed":
		n.Title, status = i18n.T(ctx, "{what} failed", "what", title), domain.TicketFailed
	case "ticket.attention":
		n.Title, status = i18n.T(ctx, "{what} needs attention", "what", title), domain.TicketNeedsAttention
	case "cluster.rebuilt":
		n.Title = i18n.T(ctx, "{name} says that the cluster {cluster} was rebuilt", "name", by, "cluster", text("cluster"))
		n.Text = i18n.Join(i18n.T(ctx, "Its new credential waits for a second platform admin, for a day."), text("reason"))
		n.Href, status = paths.ClusterCredential(text("cluster_id")), domain.TicketNeedsAttention
	case "cluster.rebuilt_answered":
		n.Title, status = i18n.T(ctx, "{name} rejected the new credential of {cluster}", "name", by, "cluster", text("cluster")), domain.TicketRejected
		if text("answer") == "confirm" {
			n.Title, status = i18n.T(ctx, "{name} confirmed that the cluster {cluster} was rebuilt", "name", by, "cluster", text("cluster")), domain.TicketCompleted
		}
		n.Href = paths.Cluster(text("cluster_id"))
	case "cluster.credential_ends":
		n.Title, n.Text = i18n.T(ctx, "The credential of the cluster {cluster} ends on {when}", "cluster", text("cluster"), "when", m.Params["expires_at"]),
			i18n.T(ctx, "Replace it before: afterwards Shepherd cannot sign in.")
		n.Href, n.Mark = paths.ClusterCredential(text("cluster_id")), ui.StatusView{Label: i18n.T(ctx, "Ends soon"), Role: ui.Warn, Glyph: "warn"}
		if text("ended") != "" {
			n.Title, n.Text = i18n.T(ctx, "The credential of the cluster {cluster} has ended on {when}", "cluster", text("cluster"), "when", m.Params["expires_at"]),
				i18n.T(ctx, "Shepherd cannot sign in with it any more. Requests wait until it is replaced.")
			n.Mark = ui.StatusView{Label: i18n.T(ctx, "Ended"), Role: ui.Bad, Glyph: "failed"}
		}
	case "system.transferred":
		n.Title = i18n.T(ctx, "{to} is owner of {system} in place of {from}", "to", text("to"), "from", text("from"), "system", text("system"))
		n.Href, status = paths.System(text("system_id")), domain.TicketCompleted
	case "account.break_glass", "account.break_glass_used":
		n.Title = i18n.T(ctx, "Emergency access: {name} can be a platform admin until {until}", "name", text("name"), "until", m.Params["until"])
		if m.Kind == "account.break_glass_used" {
			n.Title = i18n.T(ctx, "Emergency access: {name} signed in from {ip} as a platform admin until {until}", "name", text("name"), "ip", text("ip"), "until", m.Params["until"])
		}
		n.Href, status = paths.AuditBy(text("name")), domain.TicketNeedsAttention
	case "token.expires":
		n.Title, n.Text = i18n.T(r.Context(), "Your token {name} ends on {when}", "name", text("token"), "when", m.Params["expires_at"]),
			i18n.T(r.Context(), "Make a new one and give it to the program before.")
		n.Href, n.Mark = paths.Tokens, ui.StatusView{Label: i18n.T(r.Context(), "Ends soon"), Role: ui.Warn, Glyph: "warn"}
		if name := text("account"); name != "" {
			n.Title = i18n.T(r.Context(), "The token {name} of {account} ends on {when}", "name", text("token"), "account", name, "when", m.Params["expires_at"])
			n.Href = paths.ServiceAccount(text("account_id"))
		}
	case "cluster.quarantined":
		n.Title, n.Href = i18n.T(ctx, "The cluster {name} is in quarantine", "name", text("cluster")), paths.ClusterQuarantine(text("cluster_id"))
		n.Mark = ui.StatusView{Label: i18n.T(ctx, "Quarantine"), Role: ui.Bad, Glyph: "warn"}
	case "cluster.released":
		n.Title, n.Href = i18n.T(ctx, "{by} ended the quarantine of {name}", "by", by, "name", text("cluster")), paths.Cluster(text("cluster_id"))
		n.Mark = ui.StatusView{Label: i18n.T(ctx, "Over"), Role: ui.OK, Glyph: "done"}
	case "namespace.gone":
		n.Title = i18n.T(ctx, "The namespace {namespace} is gone from {cluster}", "namespace", text("namespace"), "cluster", text("cluster"))
		n.Text = i18n.T(ctx, "Nothing new is placed there. Look at its page for what to do.")
		n.Href, n.Mark = paths.Namespace(text("namespace_id")), ui.StatusView{Label: i18n.T(ctx, "Missing"), Role: ui.Bad, Glyph: "failed"}
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
