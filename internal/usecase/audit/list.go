package audit

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"entgo.io/ent/dialect/sql"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Log reads the record, seals and verifies it.
type Log struct {
	DB     *database.DB
	Keys   *crypto.Keyring // signs the heads
	Logger *slog.Logger    // where the heads go
	// Keep says when entries leave for an archive; the zero value is never.
	Keep Retention
	// Denials counts what was refused.
	Denials Denials
}

// Row is one entry of the record. IP and RequestID are for admins and auditors
// only; others get them empty.
type Row struct {
	Number                                 int
	At                                     time.Time
	Actor, Action                          string
	ResourceType, ResourceID, ResourceName string
	SystemID                               string
	Result                                 string // done refused failed
	Reason                                 string
	Details                                map[string]any
	Changes                                []Changed
	ActorID                                string
	OnBehalfOf                             domain.Principal // the person behind the actor, if it is another
	Via                                    domain.Via
	IP, RequestID                          string
}

// Changed is a field that is not as it was.
type Changed struct {
	Field string
	domain.Change
}

// Filter selects entries; what is empty does not select. All but Query, the
// times and an Action that ends with a dot must be equal.
type Filter struct {
	Query                    string // part of the actor, the action, the resource's name, the reason, the details or what changed; or an id, an address or who is behind it
	Actor                    string // user name
	OnBehalfOf               string // user name of the person behind the actor
	Action                   string // such as ticket.approve, or ticket. for all of a noun
	SystemID                 string
	ResourceType, ResourceID string
	Result                   string    // done refused failed
	From, To                 time.Time // from the one until before the other
}

// maxQuery is the longest search text, in bytes.
const maxQuery = 100

// List gives entries, the newest first: everything to admins and auditors, to
// others the entries about systems that they see.
func (l *Log) List(ctx context.Context, actor domain.Actor, f Filter, page listing.Page) (listing.Of[Row], error) {
	var none listing.Of[Row]
	after, err := page.Number()
	if err != nil {
		return none, err
	}
	where, possible := f.where(actor)
	if !possible {
		return none, nil
	}
	q := l.DB.Ent.AuditLog.Query().Where(where...)
	if after > 0 {
		q.Where(auditlog.IDLT(after))
	}
	rows, err := q.Order(ent.Desc(auditlog.FieldID)).Limit(page.Size() + 1).All(ctx)
	if err != nil {
		return none, database.Classify(err)
	}
	view := func(r *ent.AuditLog) Row { return rowOf(actor, r) }
	return listing.Make(page, rows, view, func(r *ent.AuditLog) string { return strconv.Itoa(r.ID) }), nil
}

// Total is how many entries there are about, in the database and for the actor:
// numbers run on, but for changes that were rolled back.
func (l *Log) Total(ctx context.Context, actor domain.Actor) (int, error) {
	seen := l.DB.Ent.AuditLog.Query().Where(listing.AuditLog(actor))
	newest, err := seen.Clone().Order(ent.Desc(auditlog.FieldID)).FirstID(ctx)
	if ent.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, database.Classify(err)
	}
	oldest, err := seen.Order(ent.Asc(auditlog.FieldID)).FirstID(ctx)
	return newest - oldest + 1, database.Classify(err)
}

func rowOf(actor domain.Actor, r *ent.AuditLog) Row {
	v := Row{
		Number: r.ID, At: r.CreatedAt, Actor: r.Actor, Action: r.Action, ResourceType: r.ResourceType, ResourceID: r.ResourceID,
		ResourceName: r.ResourceName, SystemID: r.SystemID, Result: string(r.Result), Reason: r.Reason, Details: r.Details,
		ActorID: r.ActorID, OnBehalfOf: domain.Principal{ID: r.OnBehalfOfID, Username: r.OnBehalfOf},
		Via: domain.Via{Kind: domain.ViaKind(r.Via), ID: r.ViaID, Name: r.ViaName},
	}
	for _, name := range order(r.ResourceType, r.Changes) {
		v.Changes = append(v.Changes, Changed{name, r.Changes[name]})
	}
	if domain.Within(actor, domain.AuditRead).All {
		v.IP, v.RequestID = r.IPAddress, r.RequestID
	}
	return v
}

// where is the filter as conditions, with what the actor may see. It is not
// possible when nothing can be called so.
func (f Filter) where(actor domain.Actor) (all []predicate.AuditLog, possible bool) {
	f.Query = strings.TrimSpace(f.Query)
	for _, text := range []string{f.Query, f.Actor, f.OnBehalfOf, f.Action, f.SystemID, f.ResourceType, f.ResourceID, f.Result} {
		if len(text) > maxQuery || !listing.IsText(text) {
			return nil, false
		}
	}
	all = append(all, listing.AuditLog(actor))
	if q := f.Query; q != "" {
		anywhere := []predicate.AuditLog{
			auditlog.ActorContainsFold(q), auditlog.ActionContainsFold(q), auditlog.ResourceNameContainsFold(q), auditlog.ReasonContainsFold(q),
			auditlog.ResourceID(q), contains(auditlog.FieldDetails, q), contains(auditlog.FieldChanges, q), auditlog.OnBehalfOf(q), auditlog.ViaName(q),
		}
		if domain.Within(actor, domain.AuditRead).All { // others are not shown these
			anywhere = append(anywhere, auditlog.RequestID(q), auditlog.IPAddress(q))
		}
		all = append(all, auditlog.Or(anywhere...))
	}
	if f.Actor != "" {
		all = append(all, auditlog.Actor(f.Actor))
	}
	if f.OnBehalfOf != "" {
		all = append(all, auditlog.OnBehalfOf(f.OnBehalfOf))
	}
	switch {
	case strings.HasSuffix(f.Action, "."):
		all = append(all, auditlog.ActionHasPrefix(f.Action))
	case f.Action != "":
		all = append(all, auditlog.Action(f.Action))
	}
	if f.SystemID != "" {
		all = append(all, auditlog.SystemID(f.SystemID))
	}
	if f.ResourceType != "" {
		all = append(all, auditlog.ResourceType(f.ResourceType))
	}
	if f.ResourceID != "" {
		all = append(all, auditlog.ResourceID(f.ResourceID))
	}
	if f.Result != "" {
		all = append(all, auditlog.ResultEQ(auditlog.Result(f.Result)))
	}
	if !f.From.IsZero() {
		all = append(all, auditlog.CreatedAtGTE(f.From))
	}
	if !f.To.IsZero() {
		all = append(all, auditlog.CreatedAtLT(f.To))
	}
	return all, true
}

// contains looks for a text in a column as it is written in JSON.
func contains(column, text string) predicate.AuditLog {
	pattern := "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text) + "%"
	return func(s *sql.Selector) {
		s.Where(sql.P(func(b *sql.Builder) {
			b.Ident(s.C(column)).WriteString("::text ILIKE ").Arg(pattern)
		}))
	}
}
