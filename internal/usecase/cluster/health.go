package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// CheckEvery is how often a cluster that answers is checked.
const CheckEvery = 15 * time.Second

const (
	checkTimeout    = 5 * time.Second
	checksAtOnce    = 16
	checkLease      = 15 * time.Second // after which another replica checks what one has begun
	checkSlowest    = 50 * time.Second // between two checks of a cluster that does not answer
	claimFor        = 2 * time.Second  // how long a round takes more clusters
	describeEvery   = 10 * time.Minute
	failuresAllowed = 3 // in a row, before a cluster that answered counts as unreachable
)

// CheckDue checks the clusters whose time has come, a few at a time. A silent
// one holds one of the slots for its five seconds and delays no other. Replicas
// may do it at once: each takes its own clusters. Rounds may overlap as well, so
// that a round that waits for a silent cluster keeps nobody from starting the
// next.
func (s *Service) CheckDue(ctx context.Context) error {
	var (
		running int
		failed  []error
		ended   = make(chan error, checksAtOnce)
		until   = time.Now().Add(claimFor)
	)
	for {
		if free := checksAtOnce - running; free > 0 && time.Now().Before(until) && ctx.Err() == nil {
			rows, err := s.claim(ctx, free)
			if err != nil {
				failed = append(failed, err)
				until = time.Now()
			}
			for _, row := range rows {
				running++
				go func() { ended <- s.checkSafely(ctx, row) }()
			}
		}
		if running == 0 {
			return errors.Join(failed...)
		}
		if err := <-ended; err != nil {
			failed = append(failed, err)
		}
		running--
	}
}

// checkSafely turns a panic into an error: what one cluster says must not end
// the portal.
func (s *Service) checkSafely(ctx context.Context, row *ent.Cluster) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in the check of %s: %v\n%s", row.Name, p, debug.Stack())
		}
	}()
	return s.check(ctx, row, false)
}

// claim takes up to n clusters that are due. Until their checks are stored, or
// the lease is over, nobody else takes them: the database's clock decides.
func (s *Service) claim(ctx context.Context, n int) (rows []*ent.Cluster, err error) {
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		rows, err = tx.Cluster.Query().
			Where(cluster.Enabled(true), cluster.Or(cluster.NextCheckAtIsNil(), cluster.NextCheckAtLTE(now))).
			Order(cluster.ByNextCheckAt(sql.OrderNullsFirst())).Limit(n).
			ForUpdate(sql.WithLockAction(sql.SkipLocked)).All(ctx)
		if err != nil || len(rows) == 0 {
			return err
		}
		ids := make([]uuid.UUID, len(rows))
		for i, row := range rows {
			ids[i] = row.ID
		}
		return tx.Cluster.Update().Where(cluster.IDIn(ids...)).SetNextCheckAt(now.Add(checkLease)).Exec(ctx)
	})
	return rows, err
}

// pause is how long after a check the next one is due: a fifth shorter or longer
// by chance, so that clusters that were added together are not checked together,
// and up to a minute for those that have been silent for long.
func pause(failures int) time.Duration {
	every := min(CheckEvery<<min(failures/failuresAllowed, 8), checkSlowest)
	return jitter(every)
}

func jitter(d time.Duration) time.Duration { return d*4/5 + rand.N(d*2/5) }

// Check asks one cluster how it is and what it can do, and stores the answer.
// That it does not answer is no error.
func (s *Service) Check(ctx context.Context, id string) error {
	row, err := Find(ctx, s.DB.Ent, id)
	if err != nil {
		return err
	}
	if !row.Enabled {
		return apperr.New(apperr.ErrClusterDisabled).With("cluster", row.Name)
	}
	return s.check(ctx, row, true)
}

func (s *Service) check(ctx context.Context, row *ent.Cluster, describe bool) error {
	probe, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	found := s.ask(probe, row, describe || outdated(row))
	if err := ctx.Err(); err != nil { // we are stopping, which says nothing about the cluster
		return err
	}
	return s.record(ctx, row, found)
}

// outdated says that what a cluster can do was read too long ago. One that is
// silent is asked for its health only.
func outdated(row *ent.Cluster) bool {
	return row.Failures == 0 && (row.DescribedAt == nil || time.Since(*row.DescribedAt) > jitter(describeEvery))
}

// upgraded says that KubeVirt or Kubernetes has another version than before. The
// nodes tell of the latter: a regular check does not ask the API server.
func upgraded(row *ent.Cluster, found domain.ClusterHealth) bool {
	kubelets := found.Capabilities.Kubelets
	return found.KubeVirtVersion != "" && found.KubeVirtVersion != row.KubevirtVersion ||
		len(kubelets) > 0 && !slices.Equal(kubelets, row.Capabilities.Kubelets)
}

// ask goes through the provider. A cluster that was found to be another one is
// closed to the provider (Credentials), so that one is asked by the prober.
func (s *Service) ask(ctx context.Context, row *ent.Cluster, describe bool) domain.ClusterHealth {
	if !impostor(row) {
		found := s.Provider.CheckHealth(ctx, row.ID.String(), describe)
		if !describe && upgraded(row, found) {
			if again := s.Provider.CheckHealth(ctx, row.ID.String(), true); !again.DescribedAt.IsZero() {
				return again
			}
		}
		return found
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
		notReady := c.Code == apperr.ErrKubeVirtNotReady || c.Code == apperr.ErrNodesNotReady // warnings, but no health
		if c.State == domain.CheckFailed || c.State == domain.CheckWarn && notReady {
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
		if row.CredentialGeneration != seen.CredentialGeneration || !same(row.CheckedAt, seen.CheckedAt) || !row.Enabled {
			return nil
		}
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		update := row.Update()
		judge(update.Mutation(), row, found)
		failures, _ := update.Mutation().Failures()
		after, err := update.SetNextCheckAt(now.Add(pause(failures))).Save(ctx)
		if err != nil {
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
		if err := recordChanges(ctx, tx, row, after); err != nil {
			return err
		}
		wrong := found.Reason
		if wrong.IsZero() { // it is well, but not ours
			wrong = after.StatusReason
		}
		isNew, err := recordErrors(ctx, tx, row.ID, now, wrong, found.Gap)
		if err != nil {
			return err
		}
		if !isNew && shown(row) == shown(after) {
			return nil
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
		m.SetFailures(0)
	default:
		if found.IdentityUID == "" && found.Status == domain.ClusterHealthy {
			found.Status, found.Reason = domain.ClusterUnhealthy, domain.Problem{Code: apperr.ErrClusterForbidden}
		}
		if upgraded(row, found) && found.DescribedAt.IsZero() {
			m.ClearDescribedAt() // what was read of the version before is read anew at the next check
		}
		found.Capabilities = merged(row.Capabilities, found)
		learn(m, found)
	}
}

// merged adds to what was known of a cluster's capabilities what a check saw:
// the gates and the kubelets at each, the rest when it was described without a
// gap.
func merged(known domain.Capabilities, found domain.ClusterHealth) domain.Capabilities {
	saw := found.Capabilities
	if found.KubeVirtVersion != "" {
		known.Gates, known.DisabledGates = saw.Gates, saw.DisabledGates
	}
	if len(saw.Kubelets) > 0 {
		known.Kubelets = saw.Kubelets
	}
	if !found.DescribedAt.IsZero() && found.Gap.IsZero() {
		known.APIs = saw.APIs
		known.InstanceTypes, known.Preferences, known.SnapshotClasses = saw.InstanceTypes, saw.Preferences, saw.SnapshotClasses
	}
	return known
}

// learn writes what a check with an answer found. What it did not look at, or
// was not shown, stays as it was.
func learn(m *ent.ClusterMutation, h domain.ClusterHealth) {
	if h.CheckedAt.IsZero() {
		h.CheckedAt = time.Now()
	}
	m.SetCheckedAt(h.CheckedAt)
	m.SetAnsweredAt(h.CheckedAt)
	m.SetFailures(0)
	m.SetStatus(cluster.Status(h.Status))
	m.SetStatusReason(h.Reason)
	m.SetCapabilities(h.Capabilities)
	if h.KubernetesVersion != "" {
		m.SetKubernetesVersion(h.KubernetesVersion)
	}
	if h.KubeVirtVersion != "" {
		m.SetKubevirtVersion(h.KubeVirtVersion)
		m.SetEnabledFeatures(h.Features)
	}
	if h.StorageClasses != nil {
		m.SetStorageClasses(h.StorageClasses)
	}
	if !h.DescribedAt.IsZero() {
		m.SetDescribedAt(h.DescribedAt)
	}
	if h.Nodes > 0 || h.Status == domain.ClusterHealthy || h.Reason.Code == apperr.ErrNodesNotReady {
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
	v.CheckedAt, v.AnsweredAt, v.DescribedAt, v.HeardAt = nil, nil, nil, nil
	text, _ := json.Marshal(v) // of plain values: cannot fail
	return string(text)
}

func same(a, b *time.Time) bool { return (a == nil) == (b == nil) && (a == nil || a.Equal(*b)) }
