// Package approval takes requests for changes of VMs, lets people decide them,
// and turns a yes into orders for the worker of package vm.
//
// A request is a domain event with an immutable payload and a ticket. Only a
// decision makes orders, in the transaction that writes it. Locks are taken in
// the order of package vm: event, VM, ticket, service, system, cluster. The
// event of a request belongs to its ticket: who changes it holds the ticket.
package approval

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/accesstoken"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/policy"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// Service holds the rules of requests and decisions. All fields but Try must be set.
type Service struct {
	DB     *database.DB
	Policy policy.ApprovalProvider
	Notify notify.NotificationProvider
	// Enqueue adds the job of an order, in the transaction that writes it.
	Enqueue func(ctx context.Context, tx *ent.Tx, event uuid.UUID) error
	// ActorTx reads the present rights of a user inside tx, so that a right that
	// was revoked while a form was open does not decide.
	ActorTx func(ctx context.Context, tx *ent.Tx, userID string) (domain.Actor, error)
	// Approvers lists who can decide in an environment, without some users.
	Approvers func(ctx context.Context, c *ent.Client, e domain.Environment, except ...string) ([]account.Person, error)
	// Try asks a cluster whether it would take the first VM of a specification,
	// which would get the given number; nothing is made. An error means that
	// nobody knows. nil: no cluster is asked.
	Try func(ctx context.Context, cluster string, spec domain.EffectiveSpec, instance int) (*domain.ValidationResult, error)
}

// Page selects a part of a list: the Limit entries after a cursor of the page
// before. The zero value is the first page.
type Page struct{ After, Limit int }

func (p Page) limit() int {
	if p.Limit <= 0 {
		return 50
	}
	return min(p.Limit, 200)
}

// Listing is one page of a list. Next is the cursor of the following page, 0
// at the end.
type Listing[T any] struct {
	Items []T
	Next  int
}

// Limits of texts that people write, in runes.
const (
	minReason = 10
	maxReason = 500
)

// reason cleans a text and adds what is wrong with it. required asks for a text
// that says something.
func reason(wrong *apperr.List, text string, required bool) string {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	bad := func(r rune) bool {
		return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r))
	}
	switch n := utf8.RuneCountInString(text); {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, bad):
		wrong.Add("reason", apperr.ErrInvalidText)
	case n > maxReason:
		*wrong = append(*wrong, apperr.Field("reason", apperr.ErrTooLong).With("max", maxReason))
	case required && n == 0:
		wrong.Add("reason", apperr.ErrRequired)
	case required && n < minReason:
		*wrong = append(*wrong, apperr.Field("reason", apperr.ErrTooShort).With("min", minReason))
	}
	return text
}

// pending are the states in which a ticket waits for a decision.
func pending() []approvalticket.Status {
	return []approvalticket.Status{approvalticket.StatusSUBMITTED, approvalticket.StatusPENDING_APPROVAL}
}

// askers are the ids of those who asked: the requester, and who is behind a
// program that did.
func askers(t *ent.ApprovalTicket) []string {
	return append([]string{t.RequesterID.String()}, t.Behind...)
}

// can says whether an actor may do something to a ticket.
func can(a domain.Actor, action domain.Action, t *ent.ApprovalTicket) bool {
	return domain.Can(a, action, access.Ticket(t))
}

// fresh is the actor with the rights that it has now, no more of them than its
// token was given. A program's token is held until tx ends: of its revocation
// and what is done with it one comes first.
func (s *Service) fresh(ctx context.Context, tx *ent.Tx, actor domain.Actor) (domain.Actor, error) {
	now, err := s.ActorTx(ctx, tx, actor.UserID)
	now.IP, now.RequestID, now.Token, now.Via, now.OnBehalfOf = actor.IP, actor.RequestID, actor.Token, actor.Via, actor.OnBehalfOf
	if err != nil || actor.Token == nil {
		return now, err
	}
	id, err := uuid.Parse(actor.Token.ID)
	if err != nil {
		return now, apperr.New(apperr.ErrSignedOut)
	}
	_, err = tx.AccessToken.Query().Where(accesstoken.ID(id), accesstoken.RevokedAtIsNil()).ForShare().Only(ctx)
	if ent.IsNotFound(err) {
		err = apperr.New(apperr.ErrSignedOut)
	}
	return now, err
}

// get reads a ticket without a lock; NOT_FOUND when there is none or the actor
// may not know of it.
func get(ctx context.Context, c *ent.Client, actor domain.Actor, number int) (*ent.ApprovalTicket, error) {
	t, err := c.ApprovalTicket.Query().Where(approvalticket.ID(number)).WithEvent().Only(ctx)
	switch {
	case ent.IsNotFound(err):
		return nil, apperr.New(apperr.ErrNotFound)
	case err != nil:
		return nil, database.Classify(err)
	}
	return t, access.Check(actor, domain.TicketRead, access.Ticket(t))
}

// lock reads a ticket again and keeps others from deciding it until tx ends.
func lock(ctx context.Context, tx *ent.Tx, number int) (*ent.ApprovalTicket, error) {
	return tx.ApprovalTicket.Query().Where(approvalticket.ID(number)).WithEvent().ForUpdate().Only(ctx)
}

// decided is the refusal to act on a ticket that waits no more, or nil.
func decided(t *ent.ApprovalTicket) error {
	if slices.Contains(pending(), t.Status) {
		return nil
	}
	e := apperr.New(apperr.ErrAlreadyDecided).With("ticket", domain.TicketName(t.ID)).
		With("status", string(t.Status)).With("state", string(t.Status))
	switch {
	case t.Approver != "":
		e = e.With("by", t.Approver)
	case t.Status == approvalticket.StatusCANCELLED:
		e = e.With("by", t.Requester)
	}
	if t.DecidedAt != nil {
		e = e.With("at", *t.DecidedAt)
	}
	return e
}

// closeRequest writes the end of waiting to the ticket's request.
func closeRequest(ctx context.Context, tx *ent.Tx, t *ent.ApprovalTicket, status domainevent.Status, at time.Time) error {
	return tx.DomainEvent.UpdateOneID(t.EventID).SetStatus(status).SetProcessedAt(at).Exec(ctx)
}

// entry is a line of the audit log about a ticket.
func entry(action string, t *ent.ApprovalTicket) audit.Entry {
	return audit.Entry{
		Action: action, ResourceType: "ticket", ResourceID: fmt.Sprint(t.ID), ResourceName: domain.TicketName(t.ID),
		SystemID: t.SystemID.String(),
		Details:  map[string]any{"title": t.Title, "operation": string(t.Operation), "environment": string(t.Environment)},
	}
}

// moved is an entry about a ticket that has another status now.
func moved(action string, t *ent.ApprovalTicket, to approvalticket.Status) audit.Entry {
	e := entry(action, t)
	e.Before, e.After = map[string]any{"status": t.Status}, map[string]any{"status": to}
	return e
}

// tell sends a message to the ticket's requester.
func (s *Service) tell(ctx context.Context, tx *ent.Tx, kind notify.Kind, t *ent.ApprovalTicket, by, reason string) error {
	return s.Notify.Notify(ctx, tx, notify.Message{
		Kind: kind, Ticket: t.ID, Users: []uuid.UUID{t.RequesterID},
		Params: map[string]any{"ticket": t.ID, "title": t.Title, "by": by, "reason": reason},
	})
}

// content is what a ticket asks for: a creation or an operation on one VM.
type content struct {
	create domain.CreatePayload
	vm     domain.VMPayload
	asked  domain.EffectiveSpec
	now    domain.EffectiveSpec // with the approver's replacement
}

func read(t *ent.ApprovalTicket) (content, error) {
	var c content
	if t.Operation != approvalticket.OperationCREATE {
		if err := json.Unmarshal(t.Edges.Event.Payload, &c.vm); err != nil {
			return c, fmt.Errorf("payload of %s: %w", domain.TicketName(t.ID), err)
		}
		c.asked = domain.EffectiveSpec{Identity: c.vm.Identity}
		c.now = c.asked
		return c, nil
	}
	if err := json.Unmarshal(t.Edges.Event.Payload, &c.create); err != nil {
		return c, fmt.Errorf("payload of %s: %w", domain.TicketName(t.ID), err)
	}
	c.asked = domain.GetEffectiveSpec(c.create, nil)
	c.now = domain.GetEffectiveSpec(c.create, t.ModifiedSpec)
	return c, nil
}

// shown is the hash that a decision form carries: of what stands in the ticket
// now, without a cluster, or of the VM that is operated on.
func (c content) shown() string { return c.now.Hash(c.vm.VMID) }
