package audit

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditfilter"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// SavedFilter is a filter that somebody keeps under a name. Query is that of
// the address of the page, which stays the only place where a filter is read.
type SavedFilter struct {
	ID, Name, Query string
	Owner           string // user name
	Shared          bool   // with all who may read the whole log
	MayDelete       bool
}

// Limits of saved filters.
const (
	maxFilterName  = 60   // runes
	maxFilterQuery = 1000 // bytes
	maxFilters     = 50   // of one person
)

// SavedFilters lists the actor's filters and those that others share, by name.
func (l *Log) SavedFilters(ctx context.Context, actor domain.Actor) ([]SavedFilter, error) {
	owner, err := auditor(actor)
	if err != nil {
		return nil, err
	}
	rows, err := l.DB.Ent.AuditFilter.Query().Where(auditfilter.Or(auditfilter.OwnerID(owner), auditfilter.Shared(true))).
		Order(auditfilter.ByName(), auditfilter.ByID()).Limit(10 * maxFilters).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	all := make([]SavedFilter, 0, len(rows))
	for _, r := range rows {
		all = append(all, SavedFilter{r.ID.String(), r.Name, r.Query, r.Owner, r.Shared, r.OwnerID == owner || actor.IsAdmin()})
	}
	return all, nil
}

// KnowsFilter says whether the actor may know of a saved filter: his own and the
// shared ones. NOT_FOUND when not.
func (l *Log) KnowsFilter(ctx context.Context, actor domain.Actor, id string) error {
	owner, err := auditor(actor)
	if err != nil {
		return err
	}
	key, err := listing.Key(id)
	if err != nil {
		return err
	}
	there, err := l.DB.Ent.AuditFilter.Query().
		Where(auditfilter.ID(key), auditfilter.Or(auditfilter.OwnerID(owner), auditfilter.Shared(true))).Exist(ctx)
	if err == nil && !there {
		return apperr.New(apperr.ErrNotFound)
	}
	return database.Classify(err)
}

// auditor is the id of an actor who may read the log.
func auditor(actor domain.Actor) (uuid.UUID, error) {
	id, err := uuid.Parse(actor.UserID)
	if err != nil {
		return id, apperr.New(apperr.ErrSignedOut)
	}
	return id, access.Check(actor, domain.AuditRead, domain.Object{})
}

// SaveFilter keeps a filter. NAME_TAKEN when the actor has one of the name, or
// when a shared one has it and this one is to be shared; TOO_MANY_FILTERS.
func (l *Log) SaveFilter(ctx context.Context, actor domain.Actor, name, query string, shared bool) error {
	owner, err := auditor(actor)
	if err != nil {
		return err
	}
	name = strings.TrimSpace(name)
	var wrong apperr.List
	switch {
	case name == "":
		wrong.Add("name", apperr.ErrRequired)
	case !utf8.ValidString(name) || domain.CleanText(name, maxFilterName+1) != name:
		wrong.Add("name", apperr.ErrInvalidText)
	case utf8.RuneCountInString(name) > maxFilterName:
		wrong = append(wrong, apperr.Field("name", apperr.ErrTooLong).With("max", maxFilterName))
	}
	if len(query) > maxFilterQuery || !listing.IsText(query) {
		wrong = append(wrong, apperr.Field("query", apperr.ErrTooLong).With("max", maxFilterQuery))
	}
	if err := wrong.Err(); err != nil {
		return err
	}
	err = l.DB.InTx(ctx, func(tx *ent.Tx) error {
		n, err := tx.AuditFilter.Query().Where(auditfilter.OwnerID(owner)).Count(ctx)
		if err != nil {
			return err
		}
		if n >= maxFilters {
			return apperr.New(apperr.ErrTooManyFilters).With("max", maxFilters)
		}
		row, err := tx.AuditFilter.Create().SetOwnerID(owner).SetOwner(actor.Username).SetName(name).SetQuery(query).SetShared(shared).Save(ctx)
		if err != nil {
			return err
		}
		return Write(ctx, tx, actor, filterEntry("audit.save_filter", row))
	})
	if database.Violates(err, "auditfilter_owner_id_name") || database.Violates(err, "auditfilter_name") {
		return apperr.Field("name", apperr.ErrNameTaken).With("name", name)
	}
	return err
}

// DeleteFilter forgets a filter of the actor, or for admins a shared one;
// NOT_FOUND.
func (l *Log) DeleteFilter(ctx context.Context, actor domain.Actor, id string) error {
	owner, err := auditor(actor)
	if err != nil {
		return err
	}
	key, err := listing.Key(id)
	if err != nil {
		return err
	}
	return l.DB.InTx(ctx, func(tx *ent.Tx) error {
		row, err := tx.AuditFilter.Query().Where(auditfilter.ID(key)).ForUpdate().Only(ctx)
		switch {
		case ent.IsNotFound(err), err == nil && row.OwnerID != owner && !row.Shared:
			return apperr.New(apperr.ErrNotFound)
		case err != nil:
			return err
		case row.OwnerID != owner && !actor.IsAdmin():
			return apperr.New(apperr.ErrForbidden)
		}
		if err := tx.AuditFilter.DeleteOne(row).Exec(ctx); err != nil {
			return err
		}
		e := filterEntry("audit.delete_filter", row)
		e.Before, e.After = e.After, nil
		return Write(ctx, tx, actor, e)
	})
}

func filterEntry(action string, r *ent.AuditFilter) Entry {
	return Entry{
		Action: action, ResourceType: "audit_filter", ResourceID: r.ID.String(), ResourceName: r.Name,
		After: map[string]any{"name": r.Name, "shared": r.Shared, "query": r.Query},
	}
}
