package approval

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/template"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Row is a ticket in a list.
type Row struct {
	Number             int
	Operation          domain.Operation
	Title              string // 2 × redis, or the name of a VM
	SystemID, System   string
	ServiceID, Service string
	VMID               string // of an operation on an existing VM
	Size               string
	Environment        domain.Environment
	Status             domain.TicketStatus
	Requester          string
	Own                bool // the actor asked
	CreatedAt          time.Time
	Approver           string // user name, or policy:<name>
	DecidedAt          *time.Time
	FinishedAt         *time.Time
	ExpiresAt          time.Time
	DecisionReason     string
	Problem            domain.Problem
}

func rowOf(actor domain.Actor, t *ent.ApprovalTicket) Row {
	r := Row{
		Number: t.ID, Operation: domain.Operation(t.Operation), Title: t.Title, SystemID: t.SystemID.String(), System: t.SystemName,
		ServiceID: t.ServiceID.String(), Service: t.ServiceName, Size: t.Size, Environment: domain.Environment(t.Environment),
		Status: domain.TicketStatus(t.Status), Requester: t.Requester, Own: actor.UserID == t.RequesterID.String(), CreatedAt: t.CreatedAt,
		Approver: t.Approver, DecidedAt: t.DecidedAt, FinishedAt: t.FinishedAt, ExpiresAt: t.ExpiresAt,
		DecisionReason: t.DecisionReason, Problem: t.Problem,
	}
	if t.VMID != nil {
		r.VMID = t.VMID.String()
	}
	return r
}

// View is a part of the queue.
type View string

// The views of the queue.
const (
	ViewOpen View = "open" // waiting, the oldest first
	ViewMine View = "mine" // decided by the actor, the newest first
	ViewAll  View = "all"  // the newest first
)

// QueueFilter narrows the queue. The zero value is everything that waits.
type QueueFilter struct {
	View        View
	Environment domain.Environment // "": each that the actor decides in
	Operation   domain.Operation   // "": all
	Query       string             // part of a title, requester, system or service; or a ticket's number
}

// Queue lists the tickets of the environments that the actor decides in, those
// that the actor asked for included. FORBIDDEN for who decides nowhere.
func (s *Service) Queue(ctx context.Context, actor domain.Actor, f QueueFilter, page Page) (Listing[Row], error) {
	envs := environments(actor)
	if len(envs) == 0 {
		return Listing[Row]{}, apperr.New(apperr.ErrForbidden)
	}
	q := s.DB.Ent.ApprovalTicket.Query().Where(approvalticket.EnvironmentIn(envs...))
	oldest := false
	switch f.View {
	case ViewMine:
		me, err := uuid.Parse(actor.UserID)
		if err != nil {
			return Listing[Row]{}, apperr.New(apperr.ErrForbidden)
		}
		q.Where(approvalticket.ApproverID(me))
	case ViewAll:
	default:
		q.Where(approvalticket.StatusIn(pending()...))
		oldest = true
	}
	if f.Environment != "" {
		q.Where(approvalticket.EnvironmentEQ(approvalticket.Environment(f.Environment)))
	}
	if f.Operation != "" {
		q.Where(approvalticket.OperationEQ(approvalticket.Operation(f.Operation)))
	}
	if p := matches(f.Query); p != nil {
		q.Where(p)
	}
	return readPage(ctx, q, actor, page, oldest)
}

// Fit is how many of all clusters can take a VM now.
type Fit struct{ Clusters, Of int }

// Fits judges the clusters for the new VMs that tickets of a list ask for, by
// the ticket's number.
func (s *Service) Fits(ctx context.Context, rows []Row) (map[int]Fit, error) {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Operation != domain.OpCreate })
	numbers := make([]int, len(rows))
	for i, r := range rows {
		numbers[i] = r.Number
	}
	tickets, err := s.DB.Ent.ApprovalTicket.Query().Where(approvalticket.IDIn(numbers...)).WithEvent().All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	var (
		wants = make([]cluster.Want, len(tickets))
		ids   = make([]uuid.UUID, len(tickets))
	)
	for i, t := range tickets {
		c, err := read(t)
		if err != nil {
			return nil, err
		}
		wants[i] = cluster.Want{Namespace: c.now.Namespace, Environment: c.now.Environment}
		ids[i], _ = uuid.Parse(c.now.Spec.TemplateID) // what is no id names no template
	}
	templates, err := s.DB.Ent.Template.Query().Where(template.IDIn(ids...)).
		Select(template.FieldRequiredFeatures, template.FieldRequiredHardware).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	for _, t := range templates {
		for i := range ids {
			if ids[i] == t.ID {
				wants[i].Needs = domain.Requirements{Features: t.RequiredFeatures, Hardware: t.RequiredHardware}
			}
		}
	}
	counts, of, err := cluster.Fits(ctx, s.DB.Ent, wants)
	if err != nil {
		return nil, err
	}
	fits := map[int]Fit{}
	for i, t := range tickets {
		fits[t.ID] = Fit{counts[i], of}
	}
	return fits, nil
}

// maxQuery caps the text of a search, in runes.
const maxQuery = 100

func matches(text string) predicate.ApprovalTicket {
	text = domain.CleanText(strings.TrimSpace(text), maxQuery)
	if text == "" {
		return nil
	}
	parts := []predicate.ApprovalTicket{
		approvalticket.TitleContainsFold(text), approvalticket.RequesterContainsFold(text),
		approvalticket.SystemNameContainsFold(text), approvalticket.ServiceNameContainsFold(text),
	}
	if n, err := strconv.ParseInt(strings.TrimPrefix(strings.ToUpper(text), "TKT-"), 10, 32); err == nil {
		parts = append(parts, approvalticket.ID(int(n)))
	}
	return approvalticket.Or(parts...)
}

// environments lists where the actor decides.
func environments(actor domain.Actor) []approvalticket.Environment {
	var envs []approvalticket.Environment
	for _, e := range domain.Environments() {
		if domain.Can(actor, domain.TicketReview, domain.Object{Environment: e}) {
			envs = append(envs, approvalticket.Environment(e))
		}
	}
	return envs
}

func readPage(ctx context.Context, q *ent.ApprovalTicketQuery, actor domain.Actor, page Page, oldest bool) (out Listing[Row], err error) {
	order := approvalticket.ByID(sql.OrderDesc())
	if oldest {
		order = approvalticket.ByID()
	}
	switch {
	case page.After > 0 && oldest:
		q.Where(approvalticket.IDGT(page.After))
	case page.After > 0:
		q.Where(approvalticket.IDLT(page.After))
	}
	rows, err := q.Order(order).Limit(page.limit() + 1).All(ctx)
	if err != nil {
		return out, database.Classify(err)
	}
	if len(rows) > page.limit() {
		rows = rows[:page.limit()]
		out.Next = rows[len(rows)-1].ID
	}
	for _, t := range rows {
		out.Items = append(out.Items, rowOf(actor, t))
	}
	return out, nil
}

// RequestFilter narrows the list of requests.
type RequestFilter struct {
	Mine   bool                  // only those of the actor
	States []domain.TicketStatus // none: all
}

// Requests lists the requests that the actor may see, the newest first.
func (s *Service) Requests(ctx context.Context, actor domain.Actor, f RequestFilter, page Page) (Listing[Row], error) {
	q := s.DB.Ent.ApprovalTicket.Query()
	me, err := uuid.Parse(actor.UserID)
	if err != nil {
		return Listing[Row]{}, apperr.New(apperr.ErrForbidden)
	}
	if f.Mine {
		q.Where(approvalticket.RequesterID(me))
	} else {
		q.Where(listing.Tickets(actor))
	}
	if len(f.States) > 0 {
		states := make([]approvalticket.Status, len(f.States))
		for i, st := range f.States {
			states[i] = approvalticket.Status(st)
		}
		q.Where(approvalticket.StatusIn(states...))
	}
	return readPage(ctx, q, actor, page, false)
}

// PendingCount is how many tickets wait for the actor's decision. Those that
// the actor asked for are somebody else's to decide.
func (s *Service) PendingCount(ctx context.Context, actor domain.Actor) (int, error) {
	envs := environments(actor)
	me, err := uuid.Parse(actor.UserID)
	if len(envs) == 0 || err != nil {
		return 0, nil
	}
	n, err := s.DB.Ent.ApprovalTicket.Query().
		Where(approvalticket.StatusIn(pending()...), approvalticket.EnvironmentIn(envs...), approvalticket.RequesterIDNEQ(me)).Count(ctx)
	return n, database.Classify(err)
}

// OpenCount is how many of the actor's own requests still wait for a person or
// for work.
func (s *Service) OpenCount(ctx context.Context, actor domain.Actor) (int, error) {
	me, err := uuid.Parse(actor.UserID)
	if err != nil {
		return 0, nil
	}
	n, err := s.DB.Ent.ApprovalTicket.Query().Where(approvalticket.RequesterID(me), listing.OpenTickets()).Count(ctx)
	return n, database.Classify(err)
}

// The ages from which a waiting ticket is late, and very late.
const (
	late     = 4 * 24 * time.Hour
	veryLate = 7 * 24 * time.Hour
)

// Ages counts what waits in the environments that the actor decides in.
type Ages struct {
	All   int
	Over4 int // of them, waiting 4 to 7 days
	Over7 int // of them, waiting 7 days or more
}

// Ages counts the waiting tickets by age.
func (s *Service) Ages(ctx context.Context, actor domain.Actor) (a Ages, err error) {
	envs := environments(actor)
	if len(envs) == 0 {
		return a, nil
	}
	now := time.Now()
	waiting := s.DB.Ent.ApprovalTicket.Query().Where(approvalticket.StatusIn(pending()...), approvalticket.EnvironmentIn(envs...))
	if a.All, err = waiting.Clone().Count(ctx); err != nil {
		return a, database.Classify(err)
	}
	if a.Over7, err = waiting.Clone().Where(approvalticket.CreatedAtLTE(now.Add(-veryLate))).Count(ctx); err != nil {
		return a, database.Classify(err)
	}
	a.Over4, err = waiting.Where(approvalticket.CreatedAtLTE(now.Add(-late)), approvalticket.CreatedAtGT(now.Add(-veryLate))).Count(ctx)
	return a, database.Classify(err)
}
