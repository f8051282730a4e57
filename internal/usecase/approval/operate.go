package approval

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// Result is what became of a request about an existing VM: a ticket that waits,
// or, where no approval is needed, an order that was given at once.
type Result struct {
	Ticket  int // 0: needed none
	Ordered bool
}

// SubmitDelete asks for the deletion of a VM whose name was typed to confirm it.
func (s *Service) SubmitDelete(ctx context.Context, actor domain.Actor, vmID, why, typedName string) (Result, error) {
	return s.operate(ctx, actor, vmID, domain.OpDelete, why, func(row *ent.VM) error {
		if strings.TrimSpace(typedName) != row.Name {
			return apperr.Field("typed", apperr.ErrNameMismatch).With("expected", row.Name)
		}
		return nil
	})
}

// SubmitPower switches a VM on or off, or asks for it where the policies want an
// approval.
func (s *Service) SubmitPower(ctx context.Context, actor domain.Actor, vmID string, op domain.Operation, why string) (Result, error) {
	if !op.Power() {
		return Result{}, apperr.Field("operation", apperr.ErrInvalidChoice)
	}
	return s.operate(ctx, actor, vmID, op, why, func(*ent.VM) error { return nil })
}

// operate is the common way of all operations on an existing VM. VM_BUSY while
// an order is under way, VM_STATE when the state refuses. A reason is needed
// where somebody decides.
func (s *Service) operate(ctx context.Context, actor domain.Actor, vmID string, op domain.Operation, why string, confirm func(*ent.VM) error) (r Result, err error) {
	id, err := uuid.Parse(vmID)
	if err != nil {
		return r, apperr.New(apperr.ErrNotFound)
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		r = Result{}
		row, err := lockVM(ctx, tx, id)
		if err != nil {
			return err
		}
		action := domain.VMPower
		if op == domain.OpDelete {
			action = domain.VMDelete
		}
		if err := access.Check(actor, action, access.VM(row)); err != nil {
			return err
		}
		v, err := s.verdict(ctx, tx, op, domain.Environment(row.Environment))
		if err != nil {
			return err
		}
		var wrong apperr.List
		if err := confirm(row); err != nil {
			wrong = append(wrong, apperr.Fields(err)...)
		}
		why := reason(&wrong, why, v.NeedsApproval)
		if err := wrong.Err(); err != nil {
			return err
		}
		if err := free(ctx, tx, row, op); err != nil {
			return err
		}
		sv, err := row.QueryService().WithSystem().Only(ctx)
		if err != nil {
			return err
		}
		pay := domain.VMPayload{
			Identity: identity(actor, sv.Edges.System, sv), VMID: vmID, VM: row.Name, Instance: row.Instance, Operation: op, Reason: why,
		}
		if !v.NeedsApproval {
			r.Ordered = true
			if err := s.order(ctx, tx, row, pay, actor.Username); err != nil {
				return err
			}
			if err := audit.Write(ctx, tx, actor, audit.Entry{
				Action: "vm.order", ResourceType: vm.Aggregate, ResourceID: vmID, ResourceName: row.Name, SystemID: row.SystemID.String(),
				Reason: why, Details: map[string]any{"operation": string(op), "policy": v.Policy},
			}); err != nil {
				return err
			}
			return database.Notify(ctx, tx, vm.Topics(row)...)
		}
		typ := domainevent.TypeVM_POWER_REQUESTED
		if op == domain.OpDelete {
			typ = domainevent.TypeVM_DELETION_REQUESTED
		}
		t, err := s.submit(ctx, tx, actor, ticket{
			identity: pay.Identity, op: op, event: typ, aggregate: vm.Aggregate, aggregateID: vmID, payload: pay,
			reason: why, key: vmKey(row.ID), title: row.Name, size: row.Size, policy: v.Policy, vm: row,
		})
		if err != nil {
			return err
		}
		r.Ticket = t.ID
		if err := s.callApprovers(ctx, tx, t); err != nil {
			return err
		}
		return database.Notify(ctx, tx, vm.TicketTopic(t.ID), "vm-"+vmID, "approvals", "requests", "notifications")
	})
	if err != nil {
		return Result{}, s.duplicate(ctx, err, vmKey(id), op)
	}
	return r, nil
}

func vmKey(id uuid.UUID) string { return fmt.Sprintf("vm:%s", id) }

// lockVM keeps others from ordering anything about the VM until tx ends.
func lockVM(ctx context.Context, tx *ent.Tx, id uuid.UUID) (*ent.VM, error) {
	row, err := tx.VM.Query().Where(entvm.ID(id)).ForUpdate().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	return row, err
}

// free says whether an operation can be ordered now; the caller holds the row.
func free(ctx context.Context, tx *ent.Tx, row *ent.VM, op domain.Operation) error {
	busy, err := vm.OpenOrder(ctx, tx.Client(), row.ID)
	if err != nil {
		return err
	}
	e := refusal(row, op, busy != nil)
	switch {
	case e == nil:
		return nil
	case e.Code == apperr.ErrVMBusy && busy.TicketID != nil:
		return e.With("ticket", domain.TicketName(*busy.TicketID))
	}
	return e
}

// refusal is why an operation cannot be ordered now, or nil.
func refusal(row *ent.VM, op domain.Operation, busy bool) *apperr.AppError {
	state := domain.VMState(row.State)
	switch {
	case row.DeletedAt != nil:
		return apperr.New(apperr.ErrVMNotFound).With("vm", row.Name)
	case busy:
		return apperr.New(apperr.ErrVMBusy).With("vm", row.Name)
	case op.Power() && !state.CanPower(op):
		return apperr.New(apperr.ErrVMState).With("vm", row.Name).With("state", string(state)).With("operation", string(op))
	}
	return nil
}

// order writes a VM_DELETE or VM_POWER event and its job.
func (s *Service) order(ctx context.Context, tx *ent.Tx, row *ent.VM, pay domain.VMPayload, by string) error {
	typ := domainevent.TypeVM_POWER
	if pay.Operation == domain.OpDelete {
		typ = domainevent.TypeVM_DELETE
	}
	e, err := newEvent(ctx, tx, typ, vm.Aggregate, row.ID.String(), pay, by)
	if err != nil {
		return err
	}
	if pay.Ticket != 0 {
		e.SetTicketID(pay.Ticket)
	}
	ev, err := e.SetClusterID(row.ClusterID).Save(ctx)
	if err != nil {
		return err
	}
	return s.Enqueue(ctx, tx, ev.ID)
}
