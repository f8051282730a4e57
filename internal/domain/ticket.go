package domain

import (
	"slices"
	"time"
)

// TicketStatus is where a ticket is on its way.
type TicketStatus string

// The ticket states.
const (
	TicketSubmitted      TicketStatus = "SUBMITTED"
	TicketPending        TicketStatus = "PENDING_APPROVAL"
	TicketApproved       TicketStatus = "APPROVED"
	TicketExecuting      TicketStatus = "EXECUTING"
	TicketCompleted      TicketStatus = "COMPLETED"
	TicketFailed         TicketStatus = "FAILED"
	TicketNeedsAttention TicketStatus = "NEEDS_ATTENTION"
	TicketRejected       TicketStatus = "REJECTED"
	TicketCancelled      TicketStatus = "CANCELLED"
	TicketExpired        TicketStatus = "EXPIRED"
)

// TicketStatuses lists all of them.
func TicketStatuses() []TicketStatus {
	return []TicketStatus{TicketSubmitted, TicketPending, TicketApproved, TicketExecuting, TicketCompleted, TicketFailed,
		TicketNeedsAttention, TicketRejected, TicketCancelled, TicketExpired}
}

var ticketMoves = map[TicketStatus][]TicketStatus{
	TicketSubmitted:      {TicketPending, TicketApproved, TicketCancelled},
	TicketPending:        {TicketApproved, TicketRejected, TicketCancelled, TicketExpired},
	TicketApproved:       {TicketExecuting, TicketCompleted, TicketFailed, TicketNeedsAttention},
	TicketExecuting:      {TicketCompleted, TicketFailed, TicketNeedsAttention},
	TicketFailed:         {TicketExecuting},
	TicketNeedsAttention: {TicketExecuting, TicketCompleted, TicketFailed},
}

// CanBecome says whether a move is legal.
func (s TicketStatus) CanBecome(next TicketStatus) bool { return slices.Contains(ticketMoves[s], next) }

// Open says that the ticket still waits for a person or for work.
func (s TicketStatus) Open() bool {
	switch s {
	case TicketSubmitted, TicketPending, TicketApproved, TicketExecuting, TicketNeedsAttention:
		return true
	}
	return false
}

// Decided says that a person or the clock has decided.
func (s TicketStatus) Decided() bool { return s != TicketSubmitted && s != TicketPending }

// Retryable says that the same approval can be carried out again.
func (s TicketStatus) Retryable() bool { return s == TicketFailed || s == TicketNeedsAttention }

// TicketLifetime is how long a request waits before it expires.
const TicketLifetime = 30 * 24 * time.Hour

// RollUp computes the state of an approved ticket from the states of the
// orders that it caused. It is computed, never counted up and down, so that
// it cannot drift.
func RollUp(orders []EventStatus, needsAttention bool) TicketStatus {
	done, failed := 0, 0
	started := false
	for _, s := range orders {
		switch s {
		case EventCompleted:
			done++
		case EventFailed, EventCancelled:
			failed++
		case EventProcessing:
			started = true
		}
	}
	switch {
	case len(orders) > 0 && done == len(orders):
		return TicketCompleted
	case needsAttention:
		return TicketNeedsAttention
	case done+failed == len(orders) && failed > 0:
		return TicketFailed
	case started || done+failed > 0:
		return TicketExecuting
	default:
		return TicketApproved
	}
}
