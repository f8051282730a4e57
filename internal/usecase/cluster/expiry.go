package cluster

import (
	"context"
	"time"

	"entgo.io/ent/dialect/sql"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/internal/database"
	messages "kubevirt-shepherd.io/shepherd/internal/notify"
)

// CredentialNotice is how soon the end of a credential is pointed out.
const CredentialNotice = 30 * day

const (
	day       = 24 * time.Hour
	warnBatch = 100
	warnedEnd = -1 // of credential_warned: that it has ended was told
)

// warnDays are how many days ahead admins are told that a credential ends, the
// earliest first.
var warnDays = []int{30, 7, 1}

// Ending is what is to be said of a credential that ends soon, or has ended.
type Ending struct {
	At    time.Time
	Ended bool
	Days  int // left, a day that has begun counts; 0 when it has ended
}

// Ending says whether the credential ends soon enough to be pointed out, or has
// ended; nil when there is nothing to say.
func (c Cluster) Ending(now time.Time) *Ending {
	if c.CredentialExpiresAt == nil {
		return nil
	}
	left := c.CredentialExpiresAt.Sub(now)
	switch {
	case left <= 0:
		return &Ending{At: *c.CredentialExpiresAt, Ended: true}
	case left > CredentialNotice:
		return nil
	}
	return &Ending{At: *c.CredentialExpiresAt, Days: int((left + day - 1) / day)}
}

// warned is what credential_warned becomes when a credential has so much time
// left; 0 when nothing is said yet.
func warned(left time.Duration) int {
	if left <= 0 {
		return warnedEnd
	}
	stage := 0
	for _, n := range warnDays {
		if left <= time.Duration(n)*day {
			stage = n
		}
	}
	return stage
}

// due are the credentials of which admins have not been told what there is to
// tell now.
func due(now time.Time) predicate.Cluster {
	any := []predicate.Cluster{cluster.And(cluster.CredentialExpiresAtLTE(now), cluster.CredentialWarnedNEQ(warnedEnd))}
	said := []int{0}
	for _, n := range warnDays {
		any = append(any, cluster.And(cluster.CredentialExpiresAtLTE(now.Add(time.Duration(n)*day)), cluster.CredentialWarnedIn(said...)))
		said = append(said, n)
	}
	// The first bound is the one that the index is for.
	return cluster.And(cluster.RemovedAtIsNil(), cluster.CredentialExpiresAtLTE(now.Add(CredentialNotice)), cluster.Or(any...))
}

// WarnOfEnds tells the admins 30, 7 and 1 days ahead that the credential of a
// cluster ends, and once more when it has; each once, however often and by
// however many replicas it is called. A replacement begins anew. It answers with
// how many clusters it told of.
func (s *Service) WarnOfEnds(ctx context.Context) (n int, err error) {
	for {
		batch := 0
		err := s.DB.InTx(ctx, func(tx *ent.Tx) error {
			now, err := s.DB.Now(ctx, tx)
			if err != nil {
				return err
			}
			rows, err := tx.Cluster.Query().Where(due(now)).Order(cluster.ByCredentialExpiresAt()).Limit(warnBatch).
				ForUpdate(sql.WithLockAction(sql.SkipLocked)).All(ctx)
			if err != nil {
				return err
			}
			for _, row := range rows {
				if err := s.warn(ctx, tx, row, now); err != nil {
					return err
				}
			}
			if batch = len(rows); batch == 0 {
				return nil
			}
			return database.Notify(ctx, tx, "clusters", "notifications")
		})
		n += batch
		if err != nil || batch < warnBatch {
			return n, err
		}
	}
}

func (s *Service) warn(ctx context.Context, tx *ent.Tx, row *ent.Cluster, now time.Time) error {
	end := *row.CredentialExpiresAt
	stage := warned(end.Sub(now))
	if err := row.Update().SetCredentialWarned(stage).Exec(ctx); err != nil {
		return err
	}
	when := end.UTC().Format(time.RFC3339)
	if err := tx.ClusterEvent.Create().SetClusterID(row.ID).SetKind(clusterevent.KindCredential).SetBefore(when).SetAfter(CredentialWarned).Exec(ctx); err != nil {
		return err
	}
	s.Logger.WarnContext(ctx, "the credential of a cluster ends", "cluster", row.Name, "cluster_id", row.ID, "expires_at", when, "ended", stage == warnedEnd)
	params := map[string]any{"cluster": row.Name, "cluster_id": row.ID.String(), "expires_at": when}
	if stage == warnedEnd {
		params["ended"] = true
	}
	return s.tellAdmins(ctx, tx, "", messages.Message{Kind: messages.CredentialEnds, Params: params})
}
