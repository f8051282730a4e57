package audit

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
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
	IP, RequestID                          string
}

// Filter selects entries; what is empty does not select. All but Query and
// an Action that ends with a dot must be equal.
type Filter struct {
	Query                    string // part of the actor, action, or name of the resource
	Actor                    string // user name
	Action                   string // such as ticket.approve, or ticket. for all of a noun
	SystemID                 string
	ResourceType, ResourceID string
	Result                   string // done refused failed
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
	q := l.DB.Ent.AuditLog.Query().Where(listing.AuditLog(actor))
	if after > 0 {
		q.Where(auditlog.IDLT(after))
	}
	f.Query = strings.ToLower(strings.TrimSpace(f.Query))
	for _, text := range []string{f.Query, f.Actor, f.Action, f.SystemID, f.ResourceType, f.ResourceID, f.Result} {
		if len(text) > maxQuery || !listing.IsText(text) {
			return none, nil // nothing is called so
		}
	}
	if f.Query != "" {
		q.Where(auditlog.Or(auditlog.ActorContains(f.Query), auditlog.ActionContains(f.Query), auditlog.ResourceNameContainsFold(f.Query)))
	}
	if f.Actor != "" {
		q.Where(auditlog.Actor(f.Actor))
	}
	switch {
	case strings.HasSuffix(f.Action, "."):
		q.Where(auditlog.ActionHasPrefix(f.Action))
	case f.Action != "":
		q.Where(auditlog.Action(f.Action))
	}
	if f.SystemID != "" {
		q.Where(auditlog.SystemID(f.SystemID))
	}
	if f.ResourceType != "" {
		q.Where(auditlog.ResourceType(f.ResourceType))
	}
	if f.ResourceID != "" {
		q.Where(auditlog.ResourceID(f.ResourceID))
	}
	if f.Result != "" {
		q.Where(auditlog.ResultEQ(auditlog.Result(f.Result)))
	}
	rows, err := q.Order(ent.Desc(auditlog.FieldID)).Limit(page.Size() + 1).All(ctx)
	if err != nil {
		return none, database.Classify(err)
	}
	view := func(r *ent.AuditLog) Row {
		v := Row{
			Number: r.ID, At: r.CreatedAt, Actor: r.Actor, Action: r.Action, ResourceType: r.ResourceType, ResourceID: r.ResourceID,
			ResourceName: r.ResourceName, SystemID: r.SystemID, Result: string(r.Result), Reason: r.Reason, Details: r.Details,
		}
		if actor.CanAudit() {
			v.IP, v.RequestID = r.IPAddress, r.RequestID
		}
		return v
	}
	return listing.Make(page, rows, view, func(r *ent.AuditLog) string { return strconv.Itoa(r.ID) }), nil
}
