// Package jobs runs the work that nobody waits for in front of a page: River
// jobs that carry nothing but the id of an event, and periodic chores.
// Workers call use cases and hold no rules.
package jobs

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/database"
)

// EventJobArgs is the claim check of a job: everything else is read from the
// event, its ticket and its VM when the job runs.
type EventJobArgs struct {
	EventID uuid.UUID `json:"event_id"`
}

// Kind names the job in the queue.
func (EventJobArgs) Kind() string { return "domain_event" }

// Queue is the queue of what a person waits for.
const Queue = "interactive"

// Inserter puts jobs into the queue inside the transaction that orders them.
type Inserter struct{ client *river.Client[*sql.Tx] }

// NewInserter makes an inserter; it runs nothing.
func NewInserter(db *database.DB) (*Inserter, error) {
	// A client wakes the workers at most once per cooldown; what it inserts in
	// between waits for the next poll.
	c, err := river.NewClient(db.River(), &river.Config{FetchCooldown: fetchCooldown})
	if err != nil {
		return nil, fmt.Errorf("job queue: %w", err)
	}
	return &Inserter{c}, nil
}

// Enqueue adds the job of an event in tx.
func (i *Inserter) Enqueue(ctx context.Context, tx *ent.Tx, event uuid.UUID) error {
	_, err := i.client.InsertTx(ctx, tx.SQLTx(), EventJobArgs{EventID: event}, &river.InsertOpts{Queue: Queue, MaxAttempts: maxAttempts})
	if err != nil {
		return fmt.Errorf("enqueue event %s: %w", event, err)
	}
	return nil
}
