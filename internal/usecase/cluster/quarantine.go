package cluster

import (
	"context"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/ent/quarantinefinding"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	messages "kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// What the timeline of a cluster calls the steps of a quarantine.
const (
	QuarantineBegun    = "begun"
	QuarantineAccepted = "accepted" // before: the group
	QuarantineEnded    = "ended"
)

// Tell puts a message into the inbox of all platform admins, in the transaction
// of what it tells. nil: nobody is told.
type Tell func(ctx context.Context, tx *ent.Tx, m messages.Message) error

// MayWrite says whether a cluster may be changed now. The provider asks it right
// before each request that changes something (kubevirt.Options.MayWrite): an
// order that is under way when a quarantine begins ends before its next step.
// CLUSTER_DISABLED, CLUSTER_QUARANTINED, or NOT_FOUND when it was removed.
func (c *Credentials) MayWrite(ctx context.Context, id string) error {
	row, err := Find(ctx, c.DB.Ent, id)
	switch {
	case err != nil:
		return err
	case !row.Enabled:
		return apperr.New(apperr.ErrClusterDisabled).With("cluster", row.Name)
	case row.QuarantinedAt != nil:
		return apperr.New(apperr.ErrClusterQuarantined).With("cluster", row.Name)
	}
	return nil
}

// Quarantine closes a cluster to all writes until an admin has accepted what it
// became. The row is locked by tx. One that is in quarantine already stays there
// for its first reason.
func Quarantine(ctx context.Context, tx *ent.Tx, tell Tell, row *ent.Cluster, reason domain.Problem) error {
	if row.QuarantinedAt != nil {
		return nil
	}
	if err := row.Update().SetQuarantinedAt(time.Now().UTC()).SetQuarantineReason(reason).ClearQuarantineReport().Exec(ctx); err != nil {
		return err
	}
	if err := tx.ClusterEvent.Create().SetClusterID(row.ID).SetKind(clusterevent.KindQuarantine).SetAfter(QuarantineBegun).SetProblem(reason).Exec(ctx); err != nil {
		return err
	}
	e := entry("cluster.quarantine", row)
	e.Before, e.After = map[string]any{"quarantine": ""}, map[string]any{"quarantine": reason.Code}
	if err := audit.Write(ctx, tx, domain.ShepherdBy("watch-clusters"), e); err != nil {
		return err
	}
	if tell == nil {
		return nil
	}
	return tell(ctx, tx, messages.Message{Kind: messages.ClusterQuarantined, Params: map[string]any{
		"cluster": row.Name, "cluster_id": row.ID.String(), "code": reason.Code,
	}})
}

// Release ends a quarantine: what waits for the cluster goes on. The row is
// locked by tx, and has nothing left to accept. From now on version is how far
// the cluster was.
func Release(ctx context.Context, tx *ent.Tx, tell Tell, actor domain.Actor, row *ent.Cluster, version int64, reason string) error {
	if _, err := tx.QuarantineFinding.Delete().Where(quarantinefinding.ClusterID(row.ID)).Exec(ctx); err != nil {
		return err
	}
	if err := row.Update().ClearQuarantinedAt().ClearQuarantineReason().ClearQuarantineReport().SetListVersion(version).Exec(ctx); err != nil {
		return err
	}
	if err := tx.ClusterEvent.Create().SetClusterID(row.ID).SetKind(clusterevent.KindQuarantine).SetAfter(QuarantineEnded).Exec(ctx); err != nil {
		return err
	}
	e := entry("cluster.release", row)
	e.Reason = reason
	e.Before, e.After = map[string]any{"quarantine": row.QuarantineReason.Code}, map[string]any{"quarantine": ""}
	if err := audit.Write(ctx, tx, actor, e); err != nil {
		return err
	}
	if tell == nil {
		return nil
	}
	return tell(ctx, tx, messages.Message{Kind: messages.ClusterReleased, Params: map[string]any{
		"cluster": row.Name, "cluster_id": row.ID.String(), "by": actor.Username,
	}})
}

// ToldTopics are what pages listen to that show the cluster, or the inbox of
// somebody who is told of it. Quarantine and Release leave it to their callers to
// tell the pages, once per transaction.
func ToldTopics(id uuid.UUID) []string { return append(topics(id), "notifications") }

// Impostor says that another cluster was found behind the address, by the last
// check.
func Impostor(row *ent.Cluster) bool { return impostor(row) }
