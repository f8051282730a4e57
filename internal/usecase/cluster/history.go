package cluster

import (
	"context"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Event is a line of a cluster's history.
type Event struct {
	ID            string
	Kind          domain.ClusterEventKind
	Before, After string // see domain.ClusterEventKind; of a mode name=value
	Problem       domain.Problem
	Count         int // of the same in a row
	At, LastAt    time.Time
}

// Events gives a cluster's timeline, the newest first; no kinds are all kinds.
func (s *Service) Events(ctx context.Context, actor domain.Actor, id string, kinds []domain.ClusterEventKind, page Page) (Listing[Event], error) {
	var out Listing[Event]
	row, err := s.readable(ctx, actor, id)
	if err != nil {
		return out, err
	}
	q := s.DB.Ent.ClusterEvent.Query().Where(clusterevent.ClusterID(row.ID))
	if len(kinds) > 0 {
		in := make([]clusterevent.Kind, len(kinds))
		for i, k := range kinds {
			in[i] = clusterevent.Kind(k)
		}
		q.Where(clusterevent.KindIn(in...))
	}
	if before, err := uuid.Parse(page.After); err == nil { // a text that is no cursor of ours starts from the beginning
		q.Where(clusterevent.IDLT(before))
	}
	rows, err := q.Order(clusterevent.ByID(sql.OrderDesc())).Limit(page.limit() + 1).All(ctx)
	if err != nil {
		return out, database.Classify(err)
	}
	if len(rows) > page.limit() {
		rows = rows[:page.limit()]
		out.Next = rows[len(rows)-1].ID.String()
	}
	for _, e := range rows {
		out.Items = append(out.Items, Event{
			ID: e.ID.String(), Kind: domain.ClusterEventKind(e.Kind), Before: e.Before, After: e.After, Problem: e.Problem,
			Count: e.Count, At: e.CreatedAt, LastAt: e.LastAt,
		})
	}
	return out, nil
}
