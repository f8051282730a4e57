package cluster

import (
	"context"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// RecordError stands here until history.go with the real one is merged: delete
// this file then.
func (s *Service) RecordError(ctx context.Context, id string, p domain.Problem) error {
	key, err := parseID(id)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		return tx.ClusterEvent.Create().SetClusterID(key).SetKind(clusterevent.KindError).SetProblem(p).Exec(ctx)
	})
}
