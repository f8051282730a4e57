package approval

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/schema"
	"kubevirt-shepherd.io/shepherd/ent/service"
	"kubevirt-shepherd.io/shepherd/ent/user"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// Decision is an approver's answer. Version and SpecHash are those of the
// ticket that was shown. The fields from TemplateID on are of an approved
// creation: the whole specification, changed or not.
type Decision struct {
	Approve  bool
	Version  int
	SpecHash string
	Reason   string // needed for a no, and for a change

	TemplateID, SizeID string
	Count, DiskGiB     int
	ClusterID          string
}

// Change is a field in which what is approved differs from what was asked.
type Change struct{ Field, Asked, Approved string }

// changes compares field by field, in the order of the form.
func changes(asked, approved domain.ChangeableSpec) []Change {
	var out []Change
	add := func(field string, differs bool, a, b any) {
		if differs {
			out = append(out, Change{field, fmt.Sprint(a), fmt.Sprint(b)})
		}
	}
	version := func(s domain.ChangeableSpec) string { return fmt.Sprintf("%s v%d", s.Template, s.Version) }
	add("template", asked.TemplateID != approved.TemplateID, version(asked), version(approved))
	add("size", asked.SizeID != approved.SizeID, asked.Size, approved.Size)
	add("count", asked.Count != approved.Count, asked.Count, approved.Count)
	add("disk", asked.DiskGiB != approved.DiskGiB, asked.DiskGiB, approved.DiskGiB)
	return out
}

// Decide writes one decision and, for a yes, the orders that follow from it, in
// one transaction. Of any number of answers to a ticket one wins. The others
// get ALREADY_DECIDED with the parameters by, at and status. SELF_APPROVAL is
// for the requester, whatever else that account may do; TICKET_CHANGED means
// that the ticket is not the one that was shown; REQUESTER_CLOSED that who asked
// has no account any longer, so that it can only be rejected. The chosen cluster is
// asked whether it would take the VMs: SPEC_REJECTED or QUOTA_EXCEEDED in its own
// words. One that does not answer in time keeps nobody from deciding.
func (s *Service) Decide(ctx context.Context, actor domain.Actor, number int, d Decision) error {
	seen, err := get(ctx, s.DB.Ent, actor, number)
	if err != nil {
		return err
	}
	// The chosen cluster is asked first: nobody is called in a transaction. Who may
	// not decide, or decides about something old, is told so below.
	may := access.Check(actor, domain.TicketDecide, access.Ticket(seen)) == nil
	if may && d.Approve && seen.Operation == approvalticket.OperationCREATE && d.Version == seen.Version && decided(seen) == nil && !domain.IsDryRun(ctx) {
		if err := s.tryDecision(ctx, seen, d); err != nil {
			return err
		}
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		var target *ent.VM
		if seen.VMID != nil {
			row, err := lockVM(ctx, tx, *seen.VMID)
			if err != nil {
				return err
			}
			target = row
		}
		t, err := lock(ctx, tx, number)
		if err != nil {
			return err
		}
		actor, err := s.fresh(ctx, tx, actor)
		if err != nil {
			return err
		}
		if err := access.Check(actor, domain.TicketDecide, access.Ticket(t)); err != nil {
			return err
		}
		if err := decided(t); err != nil {
			return err
		}
		c, err := read(t)
		if err != nil {
			return err
		}
		if d.Version != t.Version || d.SpecHash != c.shown() {
			return apperr.New(apperr.ErrTicketChanged).With("ticket", domain.TicketName(number))
		}
		if d.Approve {
			if err := open(ctx, tx, t); err != nil {
				return err
			}
		}
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		var wrong apperr.List
		by := decider{name: actor.Username, actor: actor, at: now}
		by.reason = reason(&wrong, d.Reason, false)
		id, err := uuid.Parse(actor.UserID)
		if err != nil {
			return apperr.New(apperr.ErrForbidden)
		}
		by.id = &id

		var topics []string
		switch {
		case !d.Approve:
			if by.reason == "" && len(wrong) == 0 {
				wrong.Add("reason", apperr.ErrReasonRequired)
			}
			if err := wrong.Err(); err != nil {
				return err
			}
			topics, err = s.reject(ctx, tx, t, by)
		case target != nil:
			if err := wrong.Err(); err != nil {
				return err
			}
			topics, err = s.permit(ctx, tx, t, c, target, by)
		default:
			if t.ModifiedSpec, err = s.replacement(ctx, tx, c, d, by.reason, wrong); err != nil {
				return err
			}
			if c, err = read(t); err != nil {
				return err
			}
			topics, err = s.place(ctx, tx, t, c, d.ClusterID, by)
		}
		if err != nil {
			return err
		}
		return database.Notify(ctx, tx, append(topics, vm.TicketTopic(number), "approvals", "requests", "notifications")...)
	})
}

// open says whether the requester's account is: nobody gets what a person who
// has left asked for, or somebody in that person's name.
func open(ctx context.Context, tx *ent.Tx, t *ent.ApprovalTicket) error {
	// The row is held, so that a yes and the closing come one after the other.
	_, err := tx.User.Query().Where(user.ID(t.RequesterID), user.Disabled(false)).ForShare().Only(ctx)
	if ent.IsNotFound(err) {
		return apperr.New(apperr.ErrRequesterClosed).With("by", t.Requester)
	}
	return err
}

// replacement checks an approved creation, together with what is wrong already,
// and gives the full replacement of the specification; nil when nothing is changed.
func (s *Service) replacement(ctx context.Context, tx *ent.Tx, c content, d Decision, why string, wrong apperr.List) (*domain.ChangeableSpec, error) {
	var bad apperr.List
	t, z, err := shape(ctx, tx.Client(), &bad, d.TemplateID, d.SizeID)
	if err != nil {
		return nil, err
	}
	amounts(&bad, t, z, d.Count, d.DiskGiB)
	w := cluster.Want{Namespace: c.asked.Namespace, Environment: c.asked.Environment}
	if t != nil {
		w.Needs = domain.Requirements{Features: t.RequiredFeatures, Hardware: t.RequiredHardware}
	}
	if d.ClusterID == "" {
		bad.Add("cluster", apperr.ErrRequired)
	} else if _, err := cluster.Place(ctx, tx, d.ClusterID, w); err != nil {
		e, ok := apperr.From(err)
		switch {
		case !ok:
			return nil, err
		case e.Code == apperr.ErrNotFound:
			bad.Add("cluster", apperr.ErrInvalidChoice)
		default:
			bad = append(bad, e.At("cluster"))
		}
	}
	bad = append(bad, wrong...)

	asked := c.asked.Spec
	spec := asked
	spec.Count, spec.DiskGiB = d.Count, d.DiskGiB
	if t != nil && t.ID.String() != asked.TemplateID {
		spec.TemplateID, spec.Template, spec.Version = t.ID.String(), t.Name, t.Version
	}
	if z != nil && z.ID.String() != asked.SizeID {
		spec.SizeID, spec.Size, spec.CPU, spec.MemoryMiB = z.ID.String(), z.Name, z.CPU, z.MemoryMib
	}
	changed := spec != asked
	if changed && why == "" && len(wrong) == 0 {
		bad.Add("reason", apperr.ErrReasonRequired)
	}
	if err := bad.Err(); err != nil || !changed {
		return nil, err
	}
	return &spec, nil
}

// reject ends the ticket.
func (s *Service) reject(ctx context.Context, tx *ent.Tx, t *ent.ApprovalTicket, by decider) ([]string, error) {
	if err := by.sign(t, approvalticket.StatusREJECTED).SetFinishedAt(by.at).Exec(ctx); err != nil {
		return nil, err
	}
	if err := closeRequest(ctx, tx, t, domainevent.StatusCANCELLED, by.at); err != nil {
		return nil, err
	}
	e := moved("ticket.reject", t, approvalticket.StatusREJECTED)
	e.Reason = by.reason
	if err := audit.Write(ctx, tx, by.actor, e); err != nil {
		return nil, err
	}
	var topics []string
	if t.VMID != nil {
		topics = append(topics, "vm-"+t.VMID.String())
	}
	return topics, s.tell(ctx, tx, notify.TicketRejected, t, by.name, by.reason)
}

// sign begins the ticket's update with who decided, when and why.
func (d decider) sign(t *ent.ApprovalTicket, status approvalticket.Status) *ent.ApprovalTicketUpdateOne {
	return t.Update().SetStatus(status).AddVersion(1).SetApprover(d.name).SetNillableApproverID(d.id).
		SetDecidedAt(d.at).SetDecisionReason(d.reason)
}

// specTold adds to an entry what somebody may change of a request.
func specTold(to map[string]any, s domain.ChangeableSpec) {
	to["template"], to["size"], to["count"], to["disk_gib"] = fmt.Sprintf("%s v%d", s.Template, s.Version), s.Size, s.Count, s.DiskGiB
}

// approved is the common end of a yes.
func (s *Service) approved(ctx context.Context, tx *ent.Tx, t *ent.ApprovalTicket, by decider, e audit.Entry) error {
	if err := closeRequest(ctx, tx, t, domainevent.StatusCOMPLETED, by.at); err != nil {
		return err
	}
	e.Reason = by.reason
	e.Details["decided_by"] = by.name
	if err := audit.Write(ctx, tx, by.actor, e); err != nil {
		return err
	}
	return s.tell(ctx, tx, notify.TicketApproved, t, by.name, by.reason)
}

// permit orders the deletion or switching of a VM whose row the caller holds.
func (s *Service) permit(ctx context.Context, tx *ent.Tx, t *ent.ApprovalTicket, c content, row *ent.VM, by decider) ([]string, error) {
	if err := free(ctx, tx, row, c.vm.Operation); err != nil {
		return nil, err
	}
	pay := c.vm
	pay.Ticket, pay.SpecHash = t.ID, c.shown()
	if err := s.order(ctx, tx, row, pay, by.name); err != nil {
		return nil, err
	}
	if err := by.sign(t, approvalticket.StatusAPPROVED).SetClusterID(row.ClusterID).SetSpecHash(pay.SpecHash).Exec(ctx); err != nil {
		return nil, err
	}
	return vm.Topics(row), s.approved(ctx, tx, t, by, moved("ticket.approve", t, approvalticket.StatusAPPROVED))
}

// place makes the rows and orders of an approved creation. The cluster was
// judged in this transaction; t.ModifiedSpec is what c was read with.
func (s *Service) place(ctx context.Context, tx *ent.Tx, t *ent.ApprovalTicket, c content, clusterID string, by decider) ([]string, error) {
	on, err := uuid.Parse(clusterID)
	if err != nil {
		return nil, err
	}
	spec, hash := c.now.Spec, c.now.Hash(clusterID)
	sign := by.sign(t, approvalticket.StatusAPPROVED).SetClusterID(on).SetSpecHash(hash)
	if t.ModifiedSpec != nil {
		sign.SetModifiedSpec(t.ModifiedSpec)
	}
	if err := sign.Exec(ctx); err != nil {
		return nil, err
	}
	sv, err := tx.Service.Query().Where(service.ID(t.ServiceID)).ForUpdate().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound).With("name", t.ServiceName)
	} else if err != nil {
		return nil, err
	}
	first := sv.NextInstanceIndex
	if err := sv.Update().AddNextInstanceIndex(spec.Count).Exec(ctx); err != nil {
		return nil, err
	}
	names := domain.NextVMNames(c.now.System, c.now.Service, first, spec.Count)
	var (
		vms       = make([]*ent.VMCreate, spec.Count)
		revisions = make([]*ent.VMRevisionCreate, spec.Count)
		events    = make([]*ent.DomainEventCreate, spec.Count)
	)
	for i, name := range names {
		id := schema.NewID()
		vms[i] = tx.VM.Create().SetID(id).SetServiceID(sv.ID).SetSystemID(sv.SystemID).SetClusterID(on).
			SetName(name).SetNamespace(c.now.Namespace).SetInstance(first + i).SetEnvironment(entvm.Environment(c.now.Environment)).
			SetCreatedBy(t.Requester).SetTicketID(t.ID).SetTemplate(spec.Template).SetTemplateVersion(spec.Version).
			SetSize(spec.Size).SetCPU(spec.CPU).SetMemoryMib(spec.MemoryMiB).SetDiskGib(spec.DiskGiB)
		revisions[i] = tx.VMRevision.Create().SetVMID(id).SetRevision(1).SetSpec(spec).SetTicketID(t.ID).SetCreatedBy(by.name)
		e, err := newEvent(ctx, tx, domainevent.TypeVM_CREATE, vm.Aggregate, id.String(), domain.VMPayload{
			Identity: c.now.Identity, VMID: id.String(), VM: name, Instance: first + i,
			Operation: domain.OpCreate, Ticket: t.ID, Reason: t.Reason, SpecHash: hash,
		}, by.name)
		if err != nil {
			return nil, err
		}
		events[i] = e.SetTicketID(t.ID).SetClusterID(on)
	}
	rows, err := tx.VM.CreateBulk(vms...).Save(ctx)
	if err != nil {
		return nil, err
	}
	if err := tx.VMRevision.CreateBulk(revisions...).Exec(ctx); err != nil {
		return nil, err
	}
	orders, err := tx.DomainEvent.CreateBulk(events...).Save(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range orders {
		if err := s.Enqueue(ctx, tx, o.ID); err != nil {
			return nil, err
		}
	}
	place, err := tx.Cluster.Get(ctx, on)
	if err != nil {
		return nil, err
	}
	e := moved("ticket.approve", t, approvalticket.StatusAPPROVED)
	e.Details["cluster_id"], e.Details["vms"] = clusterID, names
	specTold(e.Before, c.asked.Spec)
	specTold(e.After, spec)
	e.After["cluster"] = place.Name
	if changed := changes(c.asked.Spec, spec); len(changed) > 0 {
		fields := make([]string, len(changed))
		for i, ch := range changed {
			fields[i] = ch.Field
		}
		e.Details["changed"] = fields
	}
	if err := s.approved(ctx, tx, t, by, e); err != nil {
		return nil, err
	}
	var counters vm.Counters
	for _, row := range rows {
		counters.Add(row, 1, 0)
	}
	return []string{"service-" + sv.ID.String(), "tree"}, counters.Write(ctx, tx)
}
