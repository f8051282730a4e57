package approval

import (
	"context"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

const (
	tryFor    = 5 * time.Second // all clusters that are asked about one request
	mostTried = 3               // clusters that are asked about a request
)

// needs are the requirements of a template; none when it is gone.
func needs(ctx context.Context, c *ent.Client, templateID string) (domain.Requirements, error) {
	id, err := uuid.Parse(templateID)
	if err != nil {
		return domain.Requirements{}, nil
	}
	t, err := c.Template.Get(ctx, id)
	if ent.IsNotFound(err) {
		return domain.Requirements{}, nil
	}
	if err != nil {
		return domain.Requirements{}, database.Classify(err)
	}
	return domain.Requirements{Features: t.RequiredFeatures, Hardware: t.RequiredHardware}, nil
}

// want is what VMs of a specification look for.
func want(ctx context.Context, c *ent.Client, who domain.Identity, spec domain.ChangeableSpec) (cluster.Want, error) {
	n, err := needs(ctx, c, spec.TemplateID)
	return cluster.Want{Namespace: who.Namespace, Environment: who.Environment, Needs: n}, err
}

// candidates judges the clusters for VMs of a specification, and proposes one.
func candidates(ctx context.Context, c *ent.Client, who domain.Identity, spec domain.ChangeableSpec) ([]cluster.Candidate, error) {
	w, err := want(ctx, c, who, spec)
	if err != nil {
		return nil, err
	}
	list, err := cluster.Candidates(ctx, c, w)
	if err != nil {
		return nil, err
	}
	return list, cluster.Propose(ctx, c, list, spec.Count*spec.MemoryMiB)
}

// Reconsider judges the clusters of a waiting ticket again, for another choice of
// template, size and number than the one that was asked for. What names nothing
// stays as it was asked.
func (s *Service) Reconsider(ctx context.Context, t *Ticket, templateID, sizeID string, count int) error {
	if t.Clusters == nil {
		return nil
	}
	var ignored apperr.List
	template, size, err := shape(ctx, s.DB.Ent, &ignored, templateID, sizeID)
	if err != nil {
		return err
	}
	spec := t.Spec.Spec
	if template != nil {
		spec.TemplateID = template.ID.String()
	}
	if size != nil {
		spec.MemoryMiB = size.MemoryMib
	}
	if count >= 1 && count <= MaxCount {
		spec.Count = count
	}
	t.Clusters, err = candidates(ctx, s.DB.Ent, t.Spec.Identity, spec)
	return err
}

// trial is what clusters say about VMs that are not made.
type trial struct {
	asked   bool             // some cluster has answered
	refusal *apperr.AppError // of the last one, when all that answered say no
}

// try asks some clusters at once whether they would take a VM. One yes is enough.
// A cluster that gives no answer says nothing. No transaction is open meanwhile.
func (s *Service) try(ctx context.Context, spec domain.EffectiveSpec, instance int, on ...cluster.Candidate) trial {
	if s.Try == nil || len(on) == 0 {
		return trial{}
	}
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	answers := make(chan trial, len(on))
	for _, c := range on {
		go func() {
			v, err := s.Try(ctx, c.ID, spec, instance)
			if err != nil || v == nil {
				answers <- trial{}
				return
			}
			answers <- trial{asked: true, refusal: refusedBy(v, c.Name)}
		}()
	}
	var all trial
	for range on {
		switch a := <-answers; {
		case a.asked && a.refusal == nil:
			return a
		case a.asked:
			all = a
		}
	}
	return all
}

// refusedBy is a cluster's no, in its own words. That a name is taken is no
// reason: names are only given at the approval.
func refusedBy(v *domain.ValidationResult, name string) *apperr.AppError {
	for _, p := range v.Problems {
		if p.Code == apperr.ErrNameCollision {
			continue
		}
		e := apperr.New(p.Code).With("cluster", name)
		if p.Text != "" {
			e = e.With("text", p.Text)
		}
		return e
	}
	return nil
}

// trySubmit asks the best clusters about a request before it is written. The
// refusal is at the field that people can change.
func (s *Service) trySubmit(ctx context.Context, actor domain.Actor, in Input) (asked bool, err error) {
	if s.Try == nil || domain.IsDryRun(ctx) {
		return false, nil
	}
	d, err := s.draft(ctx, s.DB.Ent, actor, in)
	if err != nil || d.wrong.Err() != nil {
		return false, err // said with all the rest
	}
	spec := domain.EffectiveSpec{Identity: d.identity(actor), Spec: d.spec(), SSHKeys: d.keys}
	list, err := candidates(ctx, s.DB.Ent, spec.Identity, spec.Spec)
	if err != nil {
		return false, err
	}
	usable := 0
	for usable < min(len(list), mostTried) && list[usable].Refusal == nil {
		usable++
	}
	t := s.try(ctx, spec, d.service.NextInstanceIndex, list[:usable]...)
	switch {
	case t.refusal == nil:
		return t.asked, nil
	case t.refusal.Code == apperr.ErrQuotaExceeded:
		return true, t.refusal.At("size")
	}
	return true, t.refusal.At("template")
}

// tryDecision asks the chosen cluster about an approved creation, before the
// decision is written.
func (s *Service) tryDecision(ctx context.Context, t *ent.ApprovalTicket, d Decision) error {
	c, err := read(t)
	if err != nil {
		return err
	}
	var wrong apperr.List
	template, size, err := shape(ctx, s.DB.Ent, &wrong, d.TemplateID, d.SizeID)
	if err != nil || wrong.Err() != nil {
		return err // said with all the rest
	}
	spec := c.asked
	spec.Spec.TemplateID, spec.Spec.Template, spec.Spec.Version = template.ID.String(), template.Name, template.Version
	spec.Spec.SizeID, spec.Spec.Size, spec.Spec.CPU, spec.Spec.MemoryMiB = size.ID.String(), size.Name, size.CPU, size.MemoryMib
	spec.Spec.Count, spec.Spec.DiskGiB = d.Count, d.DiskGiB
	list, err := candidates(ctx, s.DB.Ent, spec.Identity, spec.Spec)
	if err != nil {
		return err
	}
	sv, err := s.DB.Ent.Service.Get(ctx, t.ServiceID)
	if err != nil {
		return nil // gone: the decision says so
	}
	for _, x := range list {
		if x.ID == d.ClusterID && x.Refusal == nil {
			if r := s.try(ctx, spec, sv.NextInstanceIndex, x).refusal; r != nil {
				return apperr.List{r.At("cluster")}.Err()
			}
		}
	}
	return nil
}
