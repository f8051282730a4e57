package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

const (
	keepEvents = 90 * 24 * time.Hour
	// maxEvents are kept of one cluster, however often it changes its mind.
	maxEvents    = 5000
	maxEventText = 500 // runes of what changed
)

// Event is a line of a cluster's timeline.
type Event struct {
	ID   string
	Kind domain.ClusterEventKind
	// Before and After say what changed, see domain.ClusterEventKind: statuses,
	// versions, or what went and what came, joined by ", ".
	Before, After string
	Problem       domain.Problem // of an error, or why a status is what it is
	Count         int            // the same error, so often in a row
	At, LastAt    time.Time      // of the first and the last of them
}

// Events gives a cluster's timeline, the newest first; no kinds are all kinds.
func (s *Service) Events(ctx context.Context, actor domain.Actor, id string, kinds []domain.ClusterEventKind, page Page) (Listing[Event], error) {
	row, err := s.readable(ctx, actor, id)
	if err != nil {
		return Listing[Event]{}, err
	}
	query := s.DB.Ent.ClusterEvent.Query().Where(clusterevent.ClusterID(row.ID))
	if len(kinds) > 0 {
		in := make([]clusterevent.Kind, len(kinds))
		for i, k := range kinds {
			in[i] = clusterevent.Kind(k)
		}
		query.Where(clusterevent.KindIn(in...))
	}
	if before, err := uuid.Parse(page.After); err == nil { // a text that is no cursor of ours starts from the beginning
		query.Where(clusterevent.IDLT(before))
	}
	rows, err := query.Order(clusterevent.ByID(sql.OrderDesc())).Limit(page.limit() + 1).All(ctx)
	if err != nil {
		return Listing[Event]{}, database.Classify(err)
	}
	var out Listing[Event]
	if len(rows) > page.limit() {
		rows = rows[:page.limit()]
		out.Next = rows[len(rows)-1].ID.String()
	}
	for _, e := range rows {
		out.Items = append(out.Items, Event{
			ID: e.ID.String(), Kind: domain.ClusterEventKind(e.Kind), Before: e.Before, After: e.After,
			Problem: e.Problem, Count: e.Count, At: e.CreatedAt, LastAt: e.LastAt,
		})
	}
	return out, nil
}

// RecordError puts an error of a watch or an order on a cluster's timeline. The
// same code again raises the count of the last line instead. A cluster that is
// gone has no timeline, and that is no error.
func (s *Service) RecordError(ctx context.Context, id string, problem domain.Problem) error {
	key, err := listing.Key(id)
	if err != nil || problem.IsZero() {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		if _, err := lock(ctx, tx, key); apperr.CodeOf(err) == apperr.ErrNotFound {
			return nil
		} else if err != nil {
			return err
		}
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		isNew, err := recordErrors(ctx, tx, key, now, problem)
		if err != nil || !isNew {
			return err
		}
		return notify(ctx, tx, key)
	})
}

// recordErrors writes those of some problems that are one. It says whether a
// line is new, so that pages need not be told of each repetition. The cluster
// must be locked, or two would write the same line.
func recordErrors(ctx context.Context, tx *ent.Tx, id uuid.UUID, now time.Time, problems ...domain.Problem) (isNew bool, err error) {
	for _, p := range problems {
		if p.IsZero() {
			continue
		}
		p.Text = domain.CleanText(p.Text, maxEventText)
		last, err := tx.ClusterEvent.Query().Where(clusterevent.ClusterID(id), clusterevent.KindEQ(clusterevent.KindError)).
			Order(clusterevent.ByID(sql.OrderDesc())).First(ctx)
		switch {
		case ent.IsNotFound(err), err == nil && last.Problem.Code != p.Code:
			isNew = true
			err = tx.ClusterEvent.Create().SetClusterID(id).SetKind(clusterevent.KindError).SetProblem(p).SetCreatedAt(now).SetLastAt(now).Exec(ctx)
		case err == nil:
			err = last.Update().AddCount(1).SetLastAt(now).SetProblem(p).Exec(ctx)
		}
		if err != nil {
			return false, err
		}
	}
	return isNew, nil
}

// recordChanges puts on the timeline what differs between two states of a
// cluster. What is learned for the first time is no change.
func recordChanges(ctx context.Context, tx *ent.Tx, before, after *ent.Cluster) error {
	var lines []*ent.ClusterEventCreate
	add := func(kind clusterevent.Kind, was, is string) *ent.ClusterEventCreate {
		line := tx.ClusterEvent.Create().SetClusterID(after.ID).SetKind(kind).
			SetBefore(domain.CleanText(was, maxEventText)).SetAfter(domain.CleanText(is, maxEventText))
		lines = append(lines, line)
		return line
	}
	if before.Status != after.Status || impostor(before) != impostor(after) {
		line := add(clusterevent.KindStatus, string(before.Status), string(after.Status))
		if !after.StatusReason.IsZero() {
			line.SetProblem(after.StatusReason)
		}
	}
	for _, v := range []struct{ of, was, is string }{
		{"KubeVirt", before.KubevirtVersion, after.KubevirtVersion},
		{"Kubernetes", before.KubernetesVersion, after.KubernetesVersion},
	} {
		if v.was != "" && v.was != v.is {
			add(clusterevent.KindVersion, v.of+" "+v.was, v.of+" "+v.is)
		}
	}
	if before.AnsweredAt != nil && before.Nodes > 0 && (before.Nodes != after.Nodes || before.ReadyNodes != after.ReadyNodes) {
		add(clusterevent.KindNodes, fmt.Sprintf("%d/%d", before.ReadyNodes, before.Nodes), fmt.Sprintf("%d/%d", after.ReadyNodes, after.Nodes))
	}
	if len(before.Capabilities.APIs) > 0 { // it has been described before
		for _, l := range []struct {
			kind    clusterevent.Kind
			was, is []string
		}{
			{clusterevent.KindFeatures, before.EnabledFeatures, after.EnabledFeatures},
			{clusterevent.KindApis, before.Capabilities.APIs, after.Capabilities.APIs},
			{clusterevent.KindStorage, classNames(before.StorageClasses), classNames(after.StorageClasses)},
		} {
			if went, came := without(l.was, l.is), without(l.is, l.was); went != "" || came != "" {
				add(l.kind, went, came)
			}
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return tx.ClusterEvent.CreateBulk(lines...).Exec(ctx)
}

// without lists what of a list is not in another.
func without(list, other []string) string {
	var only []string
	for _, s := range list {
		if !slices.Contains(other, s) {
			only = append(only, s)
		}
	}
	return strings.Join(only, ", ")
}

// classNames marks the default, so that another default is a change.
func classNames(classes []domain.StorageClass) []string {
	var names []string
	for _, c := range classes {
		if c.Default {
			c.Name += " (default)"
		}
		names = append(names, c.Name)
	}
	return names
}

// SweepEvents removes what is older than 90 days, and of a cluster that has very
// many the oldest. It says how many.
func (s *Service) SweepEvents(ctx context.Context) (removed int, err error) {
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		removed, err = tx.ClusterEvent.Delete().Where(clusterevent.LastAtLT(now.Add(-keepEvents))).Exec(ctx)
		return err
	})
	if err != nil {
		return removed, err
	}
	ids, err := s.DB.Ent.Cluster.Query().Order(cluster.ByID()).IDs(ctx)
	if err != nil {
		return removed, database.Classify(err)
	}
	for _, id := range ids {
		err := s.DB.InTx(ctx, func(tx *ent.Tx) error {
			over, err := tx.ClusterEvent.Query().Where(clusterevent.ClusterID(id)).Order(clusterevent.ByID(sql.OrderDesc())).Offset(maxEvents).FirstID(ctx)
			if ent.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return err
			}
			n, err := tx.ClusterEvent.Delete().Where(clusterevent.ClusterID(id), clusterevent.IDLTE(over)).Exec(ctx)
			removed += n
			return err
		})
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}
