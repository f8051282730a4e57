package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

const (
	checkTimeout    = 5 * time.Second
	checksAtOnce    = 16
	failuresAllowed = 3 // in a row, before a cluster that answered counts as unreachable
)

// CheckAll checks all clusters, a few at a time: a silent one delays no other
// for longer than its own five seconds.
func (s *Service) CheckAll(ctx context.Context) error {
	ids, err := s.DB.Ent.Cluster.Query().Order(cluster.ByID()).IDs(ctx)
	if err != nil {
		return database.Classify(err)
	}
	var (
		wg     sync.WaitGroup
		slots  = make(chan struct{}, checksAtOnce)
		failed = make([]error, len(ids))
	)
	for i, id := range ids {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			failed[i] = s.check(ctx, id)
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// Check asks one cluster how it is and stores the answer. That it does not
// answer is no error.
func (s *Service) Check(ctx context.Context, id string) error {
	key, err := parseID(id)
	if err != nil {
		return err
	}
	return s.check(ctx, key)
}

func (s *Service) check(ctx context.Context, id uuid.UUID) error {
	row, err := s.DB.Ent.Cluster.Get(ctx, id)
	if err != nil {
		return orNotFound(err)
	}
	probe, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	found := s.ask(probe, row)
	if err := ctx.Err(); err != nil { // we are stopping, which says nothing about the cluster
		return err
	}
	return s.record(ctx, row, found)
}

// ask goes through the provider. A cluster that was found to be another one is
// closed to the provider (Credentials), so that one is asked by the prober.
func (s *Service) ask(ctx context.Context, row *ent.Cluster) domain.ClusterHealth {
	if !impostor(row) {
		return s.Provider.CheckHealth(ctx, row.ID.String())
	}
	cred, err := open(s.Keys, row)
	if err != nil {
		return domain.ClusterHealth{Status: domain.ClusterUnreachable, Reason: domain.Problem{Code: apperr.CodeOf(err)}}
	}
	return healthOf(s.Prober.Preflight(ctx, cred))
}

// healthOf is the verdict on what a pre-flight saw, which has none of its own.
func healthOf(p domain.Preflight) domain.ClusterHealth {
	h := p.Health
	h.Status, h.Reason = domain.ClusterHealthy, domain.Problem{}
	for _, c := range p.Checks {
		if c.State == domain.CheckFailed || c.State == domain.CheckWarn && c.Code == apperr.ErrKubeVirtNotReady {
			h.Status, h.Reason = domain.ClusterUnhealthy, domain.Problem{Code: c.Code, Params: c.Params}
			break
		}
	}
	if h.IdentityUID == "" {
		h.Status = domain.ClusterUnreachable
	}
	return h
}

// record stores what a check of seen found, unless something newer was stored
// or the credential was replaced while it ran. Pages are told when they have
// something new to show, not at every check.
func (s *Service) record(ctx context.Context, seen *ent.Cluster, found domain.ClusterHealth) error {
	if found.CheckedAt.IsZero() {
		found.CheckedAt = time.Now()
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		row, err := lock(ctx, tx, seen.ID)
		if apperr.CodeOf(err) == apperr.ErrNotFound {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		if row.CredentialGeneration != seen.CredentialGeneration || !same(row.CheckedAt, seen.CheckedAt) {
			return nil
		}
		update := row.Update()
		judge(update.Mutation(), row, found)
		after, err := update.Save(ctx)
		if err != nil || shown(row) == shown(after) {
			return err
		}
		if impostor(after) && !impostor(row) {
			if err := Quarantine(ctx, tx, s.TellAdmins, after, after.StatusReason); err != nil {
				return err
			}
			if err := database.Notify(ctx, tx, "notifications"); err != nil {
				return err
			}
		}
		if row.Status != after.Status || impostor(row) != impostor(after) {
			e := entry("cluster.status", row)
			e.Details = map[string]any{"from": string(row.Status), "to": string(after.Status)}
			if !after.StatusReason.IsZero() {
				e.Details["code"] = after.StatusReason.Code
			}
			e.Before = map[string]any{"status": row.Status, "reason": row.StatusReason.Code}
			e.After = map[string]any{"status": after.Status, "reason": after.StatusReason.Code}
			if err := audit.Write(ctx, tx, domain.ShepherdBy("check-clusters"), e); err != nil {
				return err
			}
		}
		return notify(ctx, tx, row.ID)
	})
}

// judge writes the verdict on what a check found.
func judge(m *ent.ClusterMutation, row *ent.Cluster, found domain.ClusterHealth) {
	answered := found.Status == domain.ClusterHealthy || found.Status == domain.ClusterUnhealthy
	switch {
	case !answered:
		m.SetCheckedAt(found.CheckedAt)
		m.SetFailures(row.Failures + 1)
		answeredBefore := row.Status == cluster.StatusHEALTHY || row.Status == cluster.StatusUNHEALTHY
		switch {
		case impostor(row): // until it proves to be itself, whatever else is wrong
		case answeredBefore && row.Failures+1 < failuresAllowed && !locked(found.Reason.Code):
		default:
			if found.Reason.IsZero() {
				found.Reason.Code = apperr.ErrClusterUnreachable
			}
			m.SetStatus(cluster.StatusUNREACHABLE)
			m.SetStatusReason(found.Reason)
		}
	case found.IdentityUID != "" && found.IdentityUID != row.IdentityUID:
		// Nothing else that this cluster says is about ours.
		m.SetCheckedAt(found.CheckedAt)
		m.SetFailures(0)
		m.SetStatus(cluster.StatusUNHEALTHY)
		m.SetStatusReason(domain.Problem{Code: apperr.ErrClusterIdentity})
	case found.IdentityUID == "" && impostor(row):
		m.SetCheckedAt(found.CheckedAt)
	default:
		if found.IdentityUID == "" && found.Status == domain.ClusterHealthy {
			found.Status, found.Reason = domain.ClusterUnhealthy, domain.Problem{Code: apperr.ErrClusterForbidden}
		}
		learn(m, found)
	}
}

// learn writes what a check with an answer found. An unhealthy cluster may not
// show everything, so what it does not show stays as it was.
func learn(m *ent.ClusterMutation, h domain.ClusterHealth) {
	if h.CheckedAt.IsZero() {
		h.CheckedAt = time.Now()
	}
	m.SetCheckedAt(h.CheckedAt)
	m.SetAnsweredAt(h.CheckedAt)
	m.SetFailures(0)
	m.SetStatus(cluster.Status(h.Status))
	m.SetStatusReason(h.Reason)
	all := h.Status == domain.ClusterHealthy
	if all || h.KubernetesVersion != "" {
		m.SetKubernetesVersion(h.KubernetesVersion)
	}
	if all || h.KubeVirtVersion != "" {
		m.SetKubevirtVersion(h.KubeVirtVersion)
		m.SetEnabledFeatures(h.Features)
	}
	if all || len(h.StorageClasses) > 0 {
		m.SetStorageClasses(h.StorageClasses)
	}
	if all || h.Nodes > 0 {
		m.SetNodes(h.Nodes)
		m.SetReadyNodes(h.ReadyNodes)
		m.SetAllocatableCPU(h.Allocatable.CPU)
		m.SetAllocatableMemoryMib(h.Allocatable.MemoryMiB)
	}
}

// impostor says that the last check found another cluster behind the address.
func impostor(row *ent.Cluster) bool { return row.StatusReason.Code == apperr.ErrClusterIdentity }

// locked says that it was our key that failed, not the network: asking again
// is of no use.
func locked(code string) bool {
	return slices.Contains([]string{apperr.ErrCredentialsLocked, apperr.ErrCredentialsTampered}, code)
}

// shown is what a page would show, without the times of the checks, in a form
// that can be compared: numbers in parameters change their type in the database.
func shown(row *ent.Cluster) string {
	v := view(row)
	v.CheckedAt, v.AnsweredAt = nil, nil
	text, _ := json.Marshal(v) // of plain values: cannot fail
	return string(text)
}

func same(a, b *time.Time) bool { return (a == nil) == (b == nil) && (a == nil || a.Equal(*b)) }
