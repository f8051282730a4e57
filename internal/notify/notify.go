// Package notify tells people what happened: the extension interface
// NotificationProvider with its first two implementations, the inbox of the
// portal and the log.
package notify

import (
	"context"
	"log/slog"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
)

// Kind says what a message is about. Its sentence is made when it is read.
type Kind string

// The kinds of messages. Params: ticket (int), title, by, reason, vm, code,
// name (of an account), until (time).
const (
	TicketSubmitted Kind = "ticket.submitted" // to those who can decide
	TicketApproved  Kind = "ticket.approved"  // to the requester
	TicketRejected  Kind = "ticket.rejected"
	TicketExpired   Kind = "ticket.expired"
	TicketCompleted Kind = "ticket.completed"
	TicketFailed    Kind = "ticket.failed"
	TicketAttention Kind = "ticket.attention"
	BreakGlassMade  Kind = "account.break_glass" // to all admins
	BreakGlassUsed  Kind = "account.break_glass_used"

	// To the other platform admins, and the answer to who asked. Params: cluster,
	// cluster_id, by, and reason or answer (confirm, reject).
	ClusterRebuilt         Kind = "cluster.rebuilt"
	ClusterRebuiltAnswered Kind = "cluster.rebuilt_answered"
	// CredentialEnds goes to all platform admins. Params: cluster, cluster_id,
	// expires_at, and ended when it has.
	CredentialEnds Kind = "cluster.credential_ends"

	// SystemTransferred goes to the new owner of a system and to the former one.
	// Params: system, system_id, from, to, by.
	SystemTransferred Kind = "system.transferred"

	// To all admins. Params: cluster, cluster_id; code (why), by (who ended it).
	ClusterQuarantined Kind = "cluster.quarantined"
	ClusterReleased    Kind = "cluster.released"

	// Params: token (its name), expires_at, and of a service account account and
	// account_id.
	TokenExpires Kind = "token.expires"

	// NamespaceGone goes to all admins when a registered namespace vanished from
	// its cluster. Params: namespace, namespace_id, cluster.
	NamespaceGone Kind = "namespace.gone"
)

// Message is one thing to tell to some people.
type Message struct {
	Kind   Kind
	Ticket int // 0: not about a ticket
	Params map[string]any
	Users  []uuid.UUID
}

// NotificationProvider delivers messages (contract 7 of the seed). Notify runs
// in the transaction of what it tells, so it must not talk to a network: a
// provider that does writes a row here and sends it from a job.
type NotificationProvider interface {
	Notify(ctx context.Context, tx *ent.Tx, m Message) error
	Type() string
}

// OrInbox is p, and where nothing is set the inbox alone.
func OrInbox(p NotificationProvider) NotificationProvider {
	if p == nil {
		return Inbox{}
	}
	return p
}

// Inbox puts messages into the inbox that everybody has in the portal.
type Inbox struct{}

// Type names the provider.
func (Inbox) Type() string { return "inbox" }

// Notify adds one row for each user.
func (Inbox) Notify(ctx context.Context, tx *ent.Tx, m Message) error {
	rows := make([]*ent.NotificationCreate, 0, len(m.Users))
	for _, u := range m.Users {
		row := tx.Notification.Create().SetUserID(u).SetKind(string(m.Kind)).SetParams(m.Params)
		if m.Ticket != 0 {
			row.SetTicketID(m.Ticket)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	return tx.Notification.CreateBulk(rows...).Exec(ctx)
}

// Log writes that a message was sent, without its text.
type Log struct{ Logger *slog.Logger }

// Type names the provider.
func (Log) Type() string { return "log" }

// Notify logs one line.
func (l Log) Notify(ctx context.Context, _ *ent.Tx, m Message) error {
	l.Logger.InfoContext(ctx, "notification", "kind", m.Kind, "ticket", m.Ticket, "users", len(m.Users))
	return nil
}

// All delivers to each provider in turn.
type All []NotificationProvider

// Type names the provider.
func (All) Type() string { return "all" }

// Notify stops at the first error, which undoes the transaction.
func (a All) Notify(ctx context.Context, tx *ent.Tx, m Message) error {
	for _, p := range a {
		if err := p.Notify(ctx, tx, m); err != nil {
			return err
		}
	}
	return nil
}
