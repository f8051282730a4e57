package approval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/instancesize"
	"kubevirt-shepherd.io/shepherd/ent/service"
	"kubevirt-shepherd.io/shepherd/ent/template"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/policy"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// MaxCount is how many VMs one request may ask for.
const MaxCount = 10

// Input is a request for new VMs as it was typed.
type Input struct {
	ServiceID, TemplateID, SizeID string
	Count                         int
	DiskGiB                       int
	SSHKeys                       []string // lines
	Reason                        string
}

// Template is an image that can be asked for.
type Template struct {
	ID, Name, DisplayName, Description, Note string
	Version                                  int
	MinDiskGiB                               int
}

// Size is a shape of VMs that can be asked for.
type Size struct {
	ID, Name   string
	CPU        int // vCPU
	MemoryMiB  int
	DiskGiB    int // default of the form
	MaxDiskGiB int
}

// Options is what the form offers.
type Options struct {
	Templates []Template // by name
	Sizes     []Size     // from the smallest up
}

// maxOptions bounds the lists of the form: a catalog is made by hand.
const maxOptions = 200

// Options lists the active templates and sizes.
func (s *Service) Options(ctx context.Context, _ domain.Actor) (Options, error) {
	templates, err := s.DB.Ent.Template.Query().Where(template.StatusEQ(template.StatusActive)).
		Order(ent.Asc(template.FieldName)).Limit(maxOptions).All(ctx)
	if err != nil {
		return Options{}, database.Classify(err)
	}
	sizes, err := s.DB.Ent.InstanceSize.Query().Where(instancesize.StatusEQ(instancesize.StatusActive)).
		Order(ent.Asc(instancesize.FieldCPU, instancesize.FieldMemoryMib, instancesize.FieldName)).Limit(maxOptions).All(ctx)
	if err != nil {
		return Options{}, database.Classify(err)
	}
	var o Options
	for _, r := range templates {
		o.Templates = append(o.Templates, Template{r.ID.String(), r.Name, r.DisplayName, r.Description, r.Note, r.Version, r.MinDiskGib})
	}
	for _, r := range sizes {
		o.Sizes = append(o.Sizes, Size{r.ID.String(), r.Name, r.CPU, r.MemoryMib, r.DiskGib, r.MaxDiskGib})
	}
	return o, nil
}

// LastAsked is what the actor asked for last time, for this service or, when
// serviceID is empty or there is nothing, for any, as far as the options still
// have it. The number is 0 when he has not asked for a VM yet. The reason is
// never proposed: it is of its day.
func (s *Service) LastAsked(ctx context.Context, actor domain.Actor, serviceID string, o Options) (in Input, number int, err error) {
	requester, err := uuid.Parse(actor.UserID)
	if err != nil {
		return in, 0, nil
	}
	last := s.DB.Ent.ApprovalTicket.Query().
		Where(approvalticket.RequesterID(requester), approvalticket.OperationEQ(approvalticket.OperationCREATE)).
		Order(ent.Desc(approvalticket.FieldID)).WithEvent()
	var t *ent.ApprovalTicket
	if id, err := uuid.Parse(serviceID); err == nil {
		if t, err = last.Clone().Where(approvalticket.ServiceID(id)).First(ctx); err != nil && !ent.IsNotFound(err) {
			return in, 0, database.Classify(err)
		}
	}
	if t == nil {
		if t, err = last.First(ctx); ent.IsNotFound(err) {
			return in, 0, nil
		} else if err != nil {
			return in, 0, database.Classify(err)
		}
	}
	c, err := read(t)
	if err != nil {
		return in, 0, err
	}
	asked := c.create.Spec
	in = Input{Count: asked.Count, DiskGiB: asked.DiskGiB, SSHKeys: c.create.SSHKeys}
	for _, t := range o.Templates {
		if t.Name == asked.Template { // its newest version
			in.TemplateID = t.ID
		}
	}
	for _, z := range o.Sizes {
		if z.ID == asked.SizeID {
			in.SizeID = z.ID
		}
	}
	return in, t.ID, nil
}

// Preview says what sending a request would start.
type Preview struct {
	Ready  bool        // all but the reason is answered, and rightly
	Errors apperr.List // what is missing or wrong, by field

	SystemID, System   string
	ServiceID, Service string
	Namespace          string
	Environment        domain.Environment
	Names              []string // the next free ones; fixed at approval only
	Template, Size     string
	Count              int
	CPU                int // vCPU, all VMs together
	MemoryMiB          int // all VMs together
	DiskGiB            int // all VMs together

	Policy        string // name of the policy that decides what is needed
	NeedsApproval bool
	Denied        bool
	Deciders      []account.Person // without the actor
	Clusters      []cluster.Candidate
	Rooms         map[string]cluster.Room // what is left in the namespace, by cluster
}

// Preview looks at a request without keeping anything. What is missing or wrong
// only makes it say less. NOT_FOUND for a service that the actor does not see,
// FORBIDDEN for one that is not the actor's to ask for.
func (s *Service) Preview(ctx context.Context, actor domain.Actor, in Input) (Preview, error) {
	var p Preview
	d, err := s.draft(ctx, s.DB.Ent, actor, in)
	if err != nil {
		return p, err
	}
	p.Errors = d.wrong
	p.Ready = !slices.ContainsFunc(d.wrong, func(e *apperr.AppError) bool { return e.Field() != "reason" })
	if d.count > 0 {
		p.Count = d.count
	}
	if d.template != nil {
		p.Template = d.template.DisplayName
	}
	if d.size != nil {
		p.Size = d.size.Name
		p.CPU, p.MemoryMiB = d.size.CPU*p.Count, d.size.MemoryMib*p.Count
	}
	p.DiskGiB = max(in.DiskGiB, 0) * p.Count
	if d.service == nil {
		return p, nil
	}
	who := d.identity(actor)
	p.SystemID, p.System, p.ServiceID, p.Service = who.SystemID, who.System, who.ServiceID, who.Service
	p.Namespace, p.Environment = who.Namespace, who.Environment
	p.Names = domain.NextVMNames(who.System, who.Service, d.service.NextInstanceIndex, max(p.Count, 1))
	v, err := s.Policy.Evaluate(ctx, s.DB.Ent, policy.Request{Operation: domain.OpCreate, Environment: who.Environment})
	if err != nil {
		return p, database.Classify(err)
	}
	p.Policy, p.NeedsApproval, p.Denied = v.Policy, v.NeedsApproval, v.Denied
	if p.Deciders, err = s.Approvers(ctx, s.DB.Ent, who.Environment, actor.Behind()...); err != nil {
		return p, database.Classify(err)
	}
	if p.Clusters, err = cluster.Candidates(ctx, s.DB.Ent, who.Namespace, who.Environment); err != nil {
		return p, err
	}
	p.Rooms, err = cluster.Rooms(ctx, s.DB.Ent, who.Namespace)
	return p, err
}

// draft is a request with the rows that it names, as far as they exist.
type draft struct {
	service  *ent.Service
	template *ent.Template
	size     *ent.InstanceSize
	count    int // 0: not in range
	disk     int
	keys     []string
	reason   string
	wrong    apperr.List // in the order of the form
}

func (d *draft) identity(actor domain.Actor) domain.Identity {
	return identity(actor, d.service.Edges.System, d.service)
}

func identity(actor domain.Actor, sys *ent.System, sv *ent.Service) domain.Identity {
	return domain.Identity{
		SystemID: sys.ID.String(), System: sys.Name, ServiceID: sv.ID.String(), Service: sv.Name,
		Namespace: sys.Namespace, Environment: domain.Environment(sys.Environment),
		RequesterID: actor.UserID, Requester: actor.Username,
	}
}

func (d *draft) spec() domain.ChangeableSpec {
	return domain.ChangeableSpec{
		TemplateID: d.template.ID.String(), Template: d.template.Name, Version: d.template.Version,
		SizeID: d.size.ID.String(), Size: d.size.Name, CPU: d.size.CPU, MemoryMiB: d.size.MemoryMib,
		DiskGiB: d.disk, Count: d.count,
	}
}

// draft judges every field. The error is about the service's existence and the
// actor's rights, or about the database.
func (s *Service) draft(ctx context.Context, c *ent.Client, actor domain.Actor, in Input) (*draft, error) {
	d := &draft{}
	var err error
	if in.ServiceID == "" {
		d.wrong.Add("service", apperr.ErrRequired)
	} else if d.service, err = operable(ctx, c, actor, in.ServiceID); err != nil {
		return nil, err
	}
	if d.template, d.size, err = shape(ctx, c, &d.wrong, in.TemplateID, in.SizeID); err != nil {
		return nil, err
	}
	amounts(&d.wrong, d.template, d.size, in.Count, in.DiskGiB)
	if in.Count >= 1 && in.Count <= MaxCount {
		d.count = in.Count
	}
	d.disk = in.DiskGiB
	d.keys = sshKeys(&d.wrong, in.SSHKeys)
	d.reason = reason(&d.wrong, in.Reason, true)
	return d, nil
}

// operable reads a service, with its system, that the actor may ask for.
func operable(ctx context.Context, c *ent.Client, actor domain.Actor, id string) (*ent.Service, error) {
	key, err := uuid.Parse(id)
	if err != nil {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	sv, err := c.Service.Query().Where(service.ID(key)).WithSystem().Only(ctx)
	switch {
	case ent.IsNotFound(err):
		return nil, apperr.New(apperr.ErrNotFound)
	case err != nil:
		return nil, database.Classify(err)
	}
	return sv, access.Check(actor, domain.VMCreate, access.Service(sv))
}

// shape finds the active template and size that two ids name.
func shape(ctx context.Context, c *ent.Client, wrong *apperr.List, templateID, sizeID string) (*ent.Template, *ent.InstanceSize, error) {
	t, err := choice(wrong, "template", templateID, func(id uuid.UUID) (*ent.Template, error) {
		return c.Template.Get(ctx, id)
	})
	if err != nil {
		return nil, nil, err
	}
	if t != nil && t.Status != template.StatusActive {
		*wrong = append(*wrong, apperr.Field("template", apperr.ErrTemplateInactive).With("template", t.DisplayName))
		t = nil
	}
	z, err := choice(wrong, "size", sizeID, func(id uuid.UUID) (*ent.InstanceSize, error) {
		return c.InstanceSize.Get(ctx, id)
	})
	if err != nil {
		return nil, nil, err
	}
	if z != nil && z.Status != instancesize.StatusActive {
		*wrong = append(*wrong, apperr.Field("size", apperr.ErrSizeInactive).With("size", z.Name))
		z = nil
	}
	return t, z, nil
}

// choice reads the row that an id of a form names, or says what is wrong.
func choice[T any](wrong *apperr.List, field, id string, get func(uuid.UUID) (*T, error)) (*T, error) {
	if id == "" {
		wrong.Add(field, apperr.ErrRequired)
		return nil, nil
	}
	key, err := uuid.Parse(id)
	if err != nil {
		wrong.Add(field, apperr.ErrInvalidChoice)
		return nil, nil
	}
	row, err := get(key)
	if ent.IsNotFound(err) {
		wrong.Add(field, apperr.ErrInvalidChoice)
		return nil, nil
	}
	return row, database.Classify(err)
}

// amounts checks the numbers of a request against the template and size, as far
// as they are known.
func amounts(wrong *apperr.List, t *ent.Template, z *ent.InstanceSize, count, disk int) {
	if count < 1 || count > MaxCount {
		*wrong = append(*wrong, apperr.Field("count", apperr.ErrOutOfRange).With("min", 1).With("max", MaxCount))
	}
	least := 1
	if t != nil {
		least = t.MinDiskGib
	}
	e := apperr.Field("disk", apperr.ErrOutOfRange).With("min", least).With("unit", "GiB")
	if z != nil {
		e = e.With("max", z.MaxDiskGib)
	}
	if disk < least || z != nil && disk > z.MaxDiskGib {
		*wrong = append(*wrong, e)
	}
}

// SubmitCreate asks for new VMs and answers with the ticket's number. All form
// errors come at once; DUPLICATE_REQUEST names the ticket of the same request
// that still waits, POLICY_DENIED the policy. Where a policy approves by itself
// the orders are given at once, when a cluster can take them.
func (s *Service) SubmitCreate(ctx context.Context, actor domain.Actor, in Input) (number int, err error) {
	var key string
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		// Held, so that the service is not deleted before the request is written.
		if id, err := uuid.Parse(in.ServiceID); err == nil {
			if _, err := tx.Service.Query().Where(service.ID(id)).ForUpdate().IDs(ctx); err != nil {
				return err
			}
		}
		d, err := s.draft(ctx, tx.Client(), actor, in)
		if err != nil {
			return err
		}
		if err := d.wrong.Err(); err != nil {
			return err
		}
		pay := domain.CreatePayload{Identity: d.identity(actor), Spec: d.spec(), SSHKeys: d.keys, Reason: d.reason}
		v, err := s.verdict(ctx, tx, domain.OpCreate, pay.Environment)
		if err != nil {
			return err
		}
		text, err := json.Marshal(pay.Spec)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		key = fmt.Sprintf("service:%s:%s:%s", pay.ServiceID, pay.RequesterID, hex.EncodeToString(sum[:8]))
		t, err := s.submit(ctx, tx, actor, ticket{
			identity: pay.Identity, op: domain.OpCreate, event: domainevent.TypeVM_CREATION_REQUESTED, aggregate: "service",
			aggregateID: pay.ServiceID, payload: pay, reason: pay.Reason, key: key,
			title: fmt.Sprintf("%d × %s", pay.Spec.Count, pay.Service), size: pay.Spec.Size, policy: v.Policy,
		})
		if err != nil {
			return err
		}
		number = t.ID
		topics := []string{vm.TicketTopic(t.ID), "approvals", "requests", "notifications"}
		if !v.NeedsApproval {
			more, done, err := s.approveByPolicy(ctx, tx, t, v.Policy)
			if err != nil {
				return err
			}
			if done {
				return database.Notify(ctx, tx, append(topics, more...)...)
			}
		}
		if err := s.callApprovers(ctx, tx, t); err != nil {
			return err
		}
		return database.Notify(ctx, tx, topics...)
	})
	return number, s.duplicate(ctx, err, key, domain.OpCreate)
}

// verdict asks the policies; POLICY_DENIED when they forbid.
func (s *Service) verdict(ctx context.Context, tx *ent.Tx, op domain.Operation, e domain.Environment) (policy.Verdict, error) {
	v, err := s.Policy.Evaluate(ctx, tx.Client(), policy.Request{Operation: op, Environment: e})
	if err == nil && v.Denied {
		err = apperr.New(apperr.ErrPolicyDenied).With("policy", v.Policy)
	}
	return v, err
}

// ticket is what a new ticket says.
type ticket struct {
	identity               domain.Identity
	op                     domain.Operation
	event                  domainevent.Type
	aggregate, aggregateID string
	payload                any
	reason, key, title     string
	size                   string
	policy                 string  // that judged the request
	vm                     *ent.VM // nil for a creation
}

// submit writes the event, the ticket and the audit row.
func (s *Service) submit(ctx context.Context, tx *ent.Tx, actor domain.Actor, n ticket) (*ent.ApprovalTicket, error) {
	now, err := s.DB.Now(ctx, tx)
	if err != nil {
		return nil, err
	}
	e, err := newEvent(ctx, tx, n.event, n.aggregate, n.aggregateID, n.payload, actor.Username)
	if err != nil {
		return nil, err
	}
	ev, err := e.Save(ctx)
	if err != nil {
		return nil, err
	}
	requester, err := uuid.Parse(actor.UserID)
	if err != nil {
		return nil, apperr.New(apperr.ErrForbidden)
	}
	row := tx.ApprovalTicket.Create().SetEventID(ev.ID).SetOperation(approvalticket.Operation(n.op)).
		SetEnvironment(approvalticket.Environment(n.identity.Environment)).
		SetRequesterID(requester).SetRequester(actor.Username).SetReason(n.reason).
		SetSystemID(uuid.MustParse(n.identity.SystemID)).SetSystemName(n.identity.System).
		SetServiceID(uuid.MustParse(n.identity.ServiceID)).SetServiceName(n.identity.Service).
		SetTitle(n.title).SetSize(n.size).SetResourceKey(n.key).SetExpiresAt(now.Add(domain.TicketLifetime))
	if actor.Service {
		row.SetBehind(actor.Behind())
	}
	if n.vm != nil {
		row.SetVMID(n.vm.ID)
	}
	t, err := row.Save(ctx)
	if err != nil {
		return nil, err
	}
	t.Edges.Event = ev
	entry := entry("ticket.submit", t)
	entry.Reason = n.reason
	entry.After = map[string]any{"status": t.Status}
	if n.policy != "" {
		entry.Details["policy"] = n.policy
	}
	return t, audit.Write(ctx, tx, actor, entry)
}

func newEvent(ctx context.Context, tx *ent.Tx, typ domainevent.Type, aggregate, id string, payload any, by string) (*ent.DomainEventCreate, error) {
	text, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	return tx.DomainEvent.Create().SetType(typ).SetAggregateType(aggregate).SetAggregateID(id).SetPayload(text).SetCreatedBy(by), nil
}

// callApprovers tells those who can decide.
func (s *Service) callApprovers(ctx context.Context, tx *ent.Tx, t *ent.ApprovalTicket) error {
	people, err := s.Approvers(ctx, tx.Client(), domain.Environment(t.Environment), askers(t)...)
	if err != nil {
		return err
	}
	m := notify.Message{Kind: notify.TicketSubmitted, Ticket: t.ID, Params: map[string]any{"ticket": t.ID, "title": t.Title, "by": t.Requester}}
	for _, p := range people {
		id, err := uuid.Parse(p.ID)
		if err != nil {
			return fmt.Errorf("approver %s: %w", p.Username, err)
		}
		m.Users = append(m.Users, id)
	}
	return s.Notify.Notify(ctx, tx, m)
}

// duplicate turns the refusal of the unique index into an answer.
func (s *Service) duplicate(ctx context.Context, err error, key string, op domain.Operation) error {
	if !database.Violates(err, "approvalticket_resource_key_operation") {
		return err
	}
	e := apperr.New(apperr.ErrDuplicateRequest)
	n, find := s.DB.Ent.ApprovalTicket.Query().Where(approvalticket.ResourceKey(key),
		approvalticket.OperationEQ(approvalticket.Operation(op)), approvalticket.StatusIn(pending()...)).FirstID(ctx)
	if find != nil { // decided meanwhile
		return e
	}
	return e.With("ticket", domain.TicketName(n)).With("number", n)
}

// approveByPolicy carries a policy's yes out on the healthy cluster with the
// fewest VMs. Without such a cluster the ticket stays for a person.
func (s *Service) approveByPolicy(ctx context.Context, tx *ent.Tx, t *ent.ApprovalTicket, name string) (topics []string, done bool, err error) {
	c, err := read(t)
	if err != nil {
		return nil, false, err
	}
	all, err := cluster.Candidates(ctx, tx.Client(), c.now.Namespace, c.now.Environment)
	if err != nil {
		return nil, false, err
	}
	fits := slices.DeleteFunc(all, func(c cluster.Candidate) bool { return c.Refusal != nil })
	if len(fits) == 0 {
		return nil, false, nil
	}
	best := slices.MinFunc(fits, func(a, b cluster.Candidate) int { return a.VMs - b.VMs })
	now, err := s.DB.Now(ctx, tx)
	if err != nil {
		return nil, false, err
	}
	if _, err := cluster.Place(ctx, tx, best.ID, c.now.Namespace, c.now.Environment); err != nil {
		if apperr.KindOf(err) == apperr.Internal {
			return nil, false, err
		}
		return nil, false, nil // it has changed this very moment
	}
	topics, err = s.place(ctx, tx, t, c, best.ID, decider{name: "policy:" + name, actor: byPolicy(t, name), at: now})
	return topics, err == nil, err
}

// byPolicy is Shepherd that says yes to a request because a policy does.
func byPolicy(t *ent.ApprovalTicket, policy string) domain.Actor {
	a := domain.ShepherdBy("policy:" + policy)
	a.OnBehalfOf = domain.Principal{ID: t.RequesterID.String(), Username: t.Requester}
	return a
}

// decider is who or what said yes or no.
type decider struct {
	name   string // user name, or policy:<name>
	id     *uuid.UUID
	actor  domain.Actor
	at     time.Time
	reason string
}
