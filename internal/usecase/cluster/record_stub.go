package cluster

import (
	"context"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// RecordError stands here until history.go with the real one is merged: delete
// this file then.
func (s *Service) RecordError(ctx context.Context, id string, p domain.Problem) error {
	s.Logger.WarnContext(ctx, "trouble of a watch", "cluster", id, "code", p.Code)
	return nil
}
