// Package trends counts the VMs every hour, and says how they and the decisions
// about requests did over time. The numbers are made of what the actor may see,
// never of more.
package trends

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/ent/vmsample"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

const (
	// SampleEvery is how often Sample is to be called. The first call in an hour
	// counts, so a restart costs a few minutes and not the hour.
	SampleEvery = 15 * time.Minute

	allHours  = 48 * time.Hour      // so long every hour is kept, then the last of each day
	retention = 90 * 24 * time.Hour // of what is kept then

	batch        = 1000   // rows in one insert
	maxDecisions = 100000 // read for one page: the newest
)

// Service samples and reads.
type Service struct{ DB *database.DB }

// Range is a time that ends now, seen in equal columns.
type Range string

// The ranges.
const (
	Day   Range = "24h" // by hour
	Month Range = "30d" // by day, in UTC
)

// Ranges lists all of them.
func Ranges() []Range { return []Range{Month, Day} }

// Step is the length of one column.
func (r Range) Step() time.Duration {
	if r == Day {
		return time.Hour
	}
	return 24 * time.Hour
}

// columns are the times at which the columns begin.
func (r Range) columns(now time.Time) []time.Time {
	n := 30
	if r == Day {
		n = 24
	}
	list := make([]time.Time, n)
	for i := range list {
		list[i] = now.UTC().Truncate(r.Step()).Add(-time.Duration(n-1-i) * r.Step())
	}
	return list
}

// Sample counts the VMs of this hour, unless that was done, and drops what is
// too old. Replicas may run it together.
func (s *Service) Sample(ctx context.Context) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		hour := now.Truncate(time.Hour)
		if taken, err := tx.VMSample.Query().Where(vmsample.At(hour)).Exist(ctx); err != nil || taken {
			return err
		}
		var counts []struct {
			SystemID    uuid.UUID            `json:"system_id"`
			ClusterID   uuid.UUID            `json:"cluster_id"`
			Environment vmsample.Environment `json:"environment"`
			State       vmsample.State       `json:"state"`
			Count       int                  `json:"count"`
		}
		err = tx.VM.Query().Where(vm.DeletedAtIsNil()).GroupBy(vm.FieldSystemID, vm.FieldClusterID, vm.FieldEnvironment, vm.FieldState).
			Aggregate(ent.Count()).Scan(ctx, &counts)
		if err != nil {
			return err
		}
		rows := make([]*ent.VMSampleCreate, len(counts))
		for i, c := range counts {
			rows[i] = tx.VMSample.Create().SetAt(hour).SetSystemID(c.SystemID).SetClusterID(c.ClusterID).SetEnvironment(c.Environment).
				SetState(c.State).SetVms(c.Count)
		}
		for part := range slices.Chunk(rows, batch) {
			err := tx.VMSample.CreateBulk(part...).
				OnConflictColumns(vmsample.FieldAt, vmsample.FieldSystemID, vmsample.FieldClusterID, vmsample.FieldState).Ignore().Exec(ctx)
			if err != nil {
				return err
			}
		}
		return thin(ctx, tx, now)
	})
}

// thin keeps every hour for a while, then the last of each day.
func thin(ctx context.Context, tx *ent.Tx, now time.Time) error {
	old, err := hours(ctx, tx.VMSample.Query().Where(vmsample.AtLT(now.Add(-allHours))))
	if err != nil {
		return err
	}
	var drop []time.Time
	for i, at := range old {
		if at.Before(now.Add(-retention)) || i+1 < len(old) && sameDay(at, old[i+1]) {
			drop = append(drop, at)
		}
	}
	if len(drop) == 0 {
		return nil
	}
	_, err = tx.VMSample.Delete().Where(vmsample.AtIn(drop...)).Exec(ctx)
	return err
}

func sameDay(a, b time.Time) bool {
	return a.Truncate(24 * time.Hour).Equal(b.Truncate(24 * time.Hour))
}

// hours are the times of samples, rising.
func hours(ctx context.Context, q *ent.VMSampleQuery) ([]time.Time, error) {
	var rows []struct {
		At time.Time `json:"at"`
	}
	if err := q.Order(vmsample.ByAt()).GroupBy(vmsample.FieldAt).Scan(ctx, &rows); err != nil {
		return nil, err
	}
	list := make([]time.Time, len(rows))
	for i, r := range rows {
		list[i] = r.At.UTC()
	}
	return list, nil
}

// Count is how many VMs there were. A column without a sample, because the
// portal was not there yet or did not run, has Counted false and no numbers.
type Count struct {
	At      time.Time // when the column begins
	Counted bool
	VMs     map[domain.Health]int
}

// VMs says how many VMs there were in each column: at its last sample.
func (s *Service) VMs(ctx context.Context, actor domain.Actor, r Range, now time.Time) ([]Count, error) {
	columns := r.columns(now)
	taken, err := hours(ctx, s.DB.Ent.VMSample.Query().Where(vmsample.AtGTE(columns[0]), vmsample.AtLTE(now)))
	if err != nil {
		return nil, database.Classify(err)
	}
	counts := make([]Count, len(columns))
	for i, at := range columns {
		counts[i] = Count{At: at, VMs: map[domain.Health]int{}}
	}
	last := map[int]time.Time{} // by column
	for _, at := range taken {
		i := r.column(columns, at)
		last[i], counts[i].Counted = at, true
	}
	var shown []time.Time
	for _, at := range last {
		shown = append(shown, at)
	}
	var rows []struct {
		At    time.Time      `json:"at"`
		State domain.VMState `json:"state"`
		Sum   int            `json:"sum"`
	}
	err = s.DB.Ent.VMSample.Query().Where(vmsample.AtIn(shown...), listing.Samples(actor)).GroupBy(vmsample.FieldAt, vmsample.FieldState).
		Aggregate(ent.Sum(vmsample.FieldVms)).Scan(ctx, &rows)
	if err != nil {
		return nil, database.Classify(err)
	}
	for _, row := range rows {
		counts[r.column(columns, row.At)].VMs[row.State.Health()] += row.Sum
	}
	return counts, nil
}

func (r Range) column(columns []time.Time, at time.Time) int {
	return int(at.Sub(columns[0]) / r.Step())
}

// Wait is how long requests waited that people decided in one column.
type Wait struct {
	At            time.Time // when the column begins
	Decided       int
	Half, Longest time.Duration // half of them waited at most so long; 0 when there is none
}

// Waits says how long requests waited for the decision of a person, in each
// column and in all of them together. What a policy decides does not wait, and
// what was withdrawn or expired was not decided.
func (s *Service) Waits(ctx context.Context, actor domain.Actor, r Range, now time.Time) (columns []Wait, all Wait, err error) {
	begins := r.columns(now)
	var rows []struct {
		CreatedAt time.Time `json:"created_at"`
		DecidedAt time.Time `json:"decided_at"`
	}
	err = s.DB.Ent.ApprovalTicket.Query().
		Where(approvalticket.DecidedAtGTE(begins[0]), approvalticket.DecidedAtLTE(now), approvalticket.ApproverIDNotNil(), listing.Tickets(actor)).
		Order(ent.Desc(approvalticket.FieldDecidedAt)).Limit(maxDecisions).
		Select(approvalticket.FieldCreatedAt, approvalticket.FieldDecidedAt).Scan(ctx, &rows)
	if err != nil {
		return nil, Wait{}, database.Classify(err)
	}
	waited := make([][]time.Duration, len(begins))
	for _, row := range rows {
		i := r.column(begins, row.DecidedAt)
		waited[i] = append(waited[i], row.DecidedAt.Sub(row.CreatedAt))
	}
	for i, at := range begins {
		columns = append(columns, summary(at, waited[i]))
	}
	return columns, summary(begins[0], slices.Concat(waited...)), nil
}

func summary(at time.Time, waited []time.Duration) Wait {
	w := Wait{At: at, Decided: len(waited)}
	if w.Decided > 0 {
		slices.Sort(waited)
		w.Half, w.Longest = waited[(w.Decided-1)/2], waited[w.Decided-1]
	}
	return w
}
