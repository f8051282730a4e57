package audit

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Bounds of what is on record of refused tries: whoever tries again and again
// must not fill the log.
const (
	deniedEvery  = time.Minute // one entry of a kind
	deniedKinds  = 20          // of one actor; what is more is counted as one kind
	deniedActors = 1000        // kinds of all actors; what is more is counted as one kind of nobody
)

// Denials puts refused tries on record: the first one of a kind at once, those
// that follow within a minute as a number. They are counted in this process, so
// one that is killed forgets the number of its last minute, and never a first
// try. The zero value is ready.
type Denials struct {
	mu    sync.Mutex
	kinds map[kind]*tries
	each  map[string]int // kinds by actor
}

// kind is what is the same try again.
type kind struct{ who, action, resourceType, resourceID string }

type tries struct {
	since time.Time // of the last entry
	more  int       // after it
	actor domain.Actor
	entry Entry
}

// Record writes down that a try was refused, or counts it. The actor may be
// nobody; then the address tells one from another.
func (d *Denials) Record(ctx context.Context, c *ent.Client, actor domain.Actor, e Entry) error {
	e.Refused = true
	if d == nil || d.first(actor, e, time.Now()) {
		return Record(ctx, c, actor, e)
	}
	return nil
}

// first says whether the try is to be written down now.
func (d *Denials) first(actor domain.Actor, e Entry, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kinds == nil {
		d.kinds, d.each = map[kind]*tries{}, map[string]int{}
	}
	who := actor.UserID
	if who == "" {
		who = actor.IP
	}
	k := kind{who, e.Action, e.ResourceType, e.ResourceID}
	if d.kinds[k] == nil && d.each[who] >= deniedKinds {
		k = kind{who: who}
		e.ResourceID, e.ResourceName, e.Details = "", "", nil
	}
	if d.kinds[k] == nil && len(d.kinds) >= deniedActors {
		k = kind{}
		actor, e.ResourceID, e.ResourceName, e.Details = domain.Actor{}, "", "", nil
	}
	t := d.kinds[k]
	if t == nil {
		d.kinds[k] = &tries{since: now, actor: actor, entry: e}
		d.each[k.who]++
		return true
	}
	t.more++
	return false
}

// due takes what has to be told of tries that followed: where a minute is over,
// or all when the process ends.
func (d *Denials) due(now time.Time, all bool) []tries {
	d.mu.Lock()
	defer d.mu.Unlock()
	var due []tries
	for k, t := range d.kinds {
		switch {
		case !all && now.Sub(t.since) < deniedEvery:
		case t.more > 0:
			due = append(due, *t)
			t.since, t.more = now, 0 // it goes on counting: one entry a minute
		default:
			delete(d.kinds, k)
			if d.each[k.who]--; d.each[k.who] <= 0 {
				delete(d.each, k.who)
			}
		}
	}
	return due
}

// flushDenials writes down how many tries followed the ones on record.
func (l *Log) flushDenials(ctx context.Context, now time.Time, all bool) {
	for _, t := range l.Denials.due(now, all) {
		e := t.entry
		e.Refused = true
		e.Details = map[string]any{"tries": t.more, "since": t.since.UTC().Format(time.RFC3339)}
		maps.Copy(e.Details, t.entry.Details)
		if e.ResourceName == "" {
			e.ResourceName = l.nameOf(ctx, e.ResourceType, e.ResourceID)
		}
		if err := Record(ctx, l.DB.Ent, t.actor, e); err != nil && ctx.Err() == nil {
			l.Logger.ErrorContext(ctx, "refused tries could not be put on record", "error", err)
		}
	}
}

// Denied writes down that somebody who is signed in was refused a deed. The
// name of the thing is looked up; it is seen by those only who read all of the
// log, because the actor may not even know that the thing exists.
func (l *Log) Denied(ctx context.Context, actor domain.Actor, e Entry) error {
	e.ResourceID = domain.CleanText(e.ResourceID, maxQuery)
	if !l.Denials.first(actor, e, time.Now()) {
		return nil
	}
	e.Refused, e.ResourceName = true, l.nameOf(ctx, e.ResourceType, e.ResourceID)
	return database.Classify(Record(ctx, l.DB.Ent, actor, e))
}

// nameOf is what a thing is called now; "" when there is none.
func (l *Log) nameOf(ctx context.Context, resourceType, id string) string {
	c := l.DB.Ent
	key, err := uuid.Parse(id)
	if err != nil && resourceType != "ticket" {
		return ""
	}
	switch resourceType {
	case "system":
		if r, err := c.System.Get(ctx, key); err == nil {
			return r.Name
		}
	case "service":
		if r, err := c.Service.Get(ctx, key); err == nil {
			return r.VMPrefix
		}
	case "vm":
		if r, err := c.VM.Get(ctx, key); err == nil {
			return r.Name
		}
	case "cluster":
		if r, err := c.Cluster.Get(ctx, key); err == nil {
			return r.Name
		}
	case "namespace":
		if r, err := c.Namespace.Get(ctx, key); err == nil {
			return r.Name
		}
	case "user":
		if r, err := c.User.Get(ctx, key); err == nil {
			return r.Username
		}
	case "ticket":
		if number, err := strconv.Atoi(id); err == nil {
			if there, err := c.ApprovalTicket.Query().Where(approvalticket.ID(number)).Exist(ctx); err == nil && there {
				return domain.TicketName(number)
			}
		}
	}
	return ""
}
