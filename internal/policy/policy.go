// Package policy decides what a request needs: the extension interface
// ApprovalProvider and its first implementation, which reads the policies of
// the portal's own database.
package policy

import (
	"context"
	"fmt"
	"strings"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalpolicy"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Request is what a verdict is asked for.
type Request struct {
	Operation   domain.Operation
	Environment domain.Environment
}

// Verdict is what a policy says.
type Verdict struct {
	Policy        string // name of the policy that decided
	NeedsApproval bool
	Denied        bool
}

// ApprovalProvider is the approval workflow (contract 7 of the seed).
type ApprovalProvider interface {
	// Evaluate reads through c, which may be a transaction's client.
	Evaluate(ctx context.Context, c *ent.Client, r Request) (Verdict, error)
	Type() string
}

// Internal reads the approval policies of the portal.
type Internal struct{}

// Type names the provider.
func (Internal) Type() string { return "internal" }

// Evaluate takes the enabled policy with the highest priority. Where none is
// left the matrix of the product holds, so that a deleted row never opens a door.
func (Internal) Evaluate(ctx context.Context, c *ent.Client, r Request) (Verdict, error) {
	p, err := c.ApprovalPolicy.Query().
		Where(
			approvalpolicy.OperationEQ(approvalpolicy.Operation(r.Operation)),
			approvalpolicy.EnvironmentEQ(approvalpolicy.Environment(r.Environment)),
			approvalpolicy.Enabled(true),
		).
		Order(ent.Desc(approvalpolicy.FieldPriority), ent.Asc(approvalpolicy.FieldID)).
		First(ctx)
	if ent.IsNotFound(err) {
		return Verdict{Policy: "default", NeedsApproval: domain.NeedsApprovalByDefault(r.Operation, r.Environment)}, nil
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("policy: %w", err)
	}
	return Verdict{
		Policy:        p.Name,
		NeedsApproval: p.Effect == approvalpolicy.EffectREQUIRE_APPROVAL,
		Denied:        p.Effect == approvalpolicy.EffectDENY,
	}, nil
}

// EnsureDefaults writes the matrix of the product as policies, once. Replicas
// may do it together.
func EnsureDefaults(ctx context.Context, c *ent.Client) error {
	if n, err := c.ApprovalPolicy.Query().Count(ctx); err != nil || n > 0 {
		return err
	}
	var rows []*ent.ApprovalPolicyCreate
	for _, e := range domain.Environments() {
		for _, o := range domain.Operations() {
			effect := approvalpolicy.EffectAUTO_APPROVE
			if domain.NeedsApprovalByDefault(o, e) {
				effect = approvalpolicy.EffectREQUIRE_APPROVAL
			}
			rows = append(rows, c.ApprovalPolicy.Create().
				SetName(string(e)+"-"+strings.ToLower(string(o))).
				SetOperation(approvalpolicy.Operation(o)).
				SetEnvironment(approvalpolicy.Environment(e)).
				SetEffect(effect))
		}
	}
	return c.ApprovalPolicy.CreateBulk(rows...).OnConflictColumns(approvalpolicy.FieldName).Ignore().Exec(ctx)
}
