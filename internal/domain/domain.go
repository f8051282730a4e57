// Package domain holds the pure types and rules of the portal: what a VM, a
// request, a ticket and a cluster are, which states they have and which moves
// are legal. It imports the standard library only, so every other floor may
// stand on it and every rule can be tested without a database or a cluster.
package domain

import "slices"

// Environment says how careful the rules are: test or prod.
type Environment string

// The environments. A namespace has exactly one, and a system takes its
// namespace's.
const (
	Test Environment = "test"
	Prod Environment = "prod"
)

// Environments lists them in the order of rising care.
func Environments() []Environment { return []Environment{Test, Prod} }

// Valid says whether e is one of the environments.
func (e Environment) Valid() bool { return slices.Contains(Environments(), e) }

// Operation is what a ticket or an event does to a VM.
type Operation string

// The operations that the approval matrix knows.
const (
	OpCreate  Operation = "CREATE"
	OpModify  Operation = "MODIFY"
	OpDelete  Operation = "DELETE"
	OpStart   Operation = "START"
	OpStop    Operation = "STOP"
	OpRestart Operation = "RESTART"
)

// Operations lists all of them.
func Operations() []Operation {
	return []Operation{OpCreate, OpModify, OpDelete, OpStart, OpStop, OpRestart}
}

// Power says whether the operation only switches a VM on or off.
func (o Operation) Power() bool { return o == OpStart || o == OpStop || o == OpRestart }

// NeedsApprovalByDefault is the approval matrix of the product: creating,
// changing and deleting a VM needs a yes everywhere, power operations in prod
// only. Policies stored in the database start from it.
func NeedsApprovalByDefault(o Operation, e Environment) bool {
	if o.Power() {
		return e == Prod
	}
	return true
}
