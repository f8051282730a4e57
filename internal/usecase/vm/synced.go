package vm

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

const (
	// missingAfter is how far apart two complete lists without a VM must be before
	// it counts as missing: one list may fall between two changes.
	missingAfter = 60 * time.Second
	// confirmAfter is how long a cluster has to catch up that seems to have gone
	// back in time. A server that lags behind the others does within seconds.
	confirmAfter = 10 * time.Second
	// More than one in massShare, and at least massFloor, of a cluster's VMs do
	// not disappear at once by themselves. The floor keeps small clusters out.
	massShare = 5
	massFloor = 5
)

// rowsAtOnce is how many rows are read, or written, in one statement.
const rowsAtOnce = 1000

// Synced takes in that a complete list was read (provider.Sink). A cluster that
// went back in time, or lost many VMs at once, gets into quarantine. Of the
// others a VM is missing that two lists at least missingAfter apart do not show.
// In quarantine nothing becomes missing: the list is compared with what is known,
// and an admin decides.
func (s *Service) Synced(ctx context.Context, id string, list provider.Complete) error {
	clusterID, err := uuid.Parse(id)
	if err != nil {
		return err
	}
	on, err := s.DB.Ent.Cluster.Get(ctx, clusterID)
	if ent.IsNotFound(err) {
		return nil // removed meanwhile
	} else if err != nil {
		return database.Classify(err)
	}
	shown := byUID(list)
	seen, err := s.compare(ctx, clusterID, list, shown)
	if err != nil {
		return database.Classify(err)
	}
	var reason domain.Problem
	if on.QuarantinedAt == nil {
		lags := false
		if reason, lags, err = s.suspect(ctx, on, list, seen); err != nil || lags {
			return err // a list that is behind says nothing of what is not in it
		}
	}
	if on.QuarantinedAt != nil || !reason.IsZero() {
		s.forgetMissed(id)
		return s.quarantine(ctx, clusterID, reason, list, shown)
	}
	if version := number(list.ResourceVersion); version > on.ListVersion {
		if err := s.DB.Ent.Cluster.Update().Where(entcluster.ID(clusterID), entcluster.ListVersionLT(version), entcluster.QuarantinedAtIsNil()).
			SetListVersion(version).Exec(ctx); err != nil {
			return database.Classify(err)
		}
	}
	return s.miss(ctx, clusterID, seen.absent)
}

// byUID are the objects of a list. Another object under the same name is not
// the VM.
func byUID(list provider.Complete) map[string]provider.Ref {
	shown := make(map[string]provider.Ref, len(list.VMs))
	for r := range list.VMs {
		shown[r.UID] = r
	}
	return shown
}

// object is what a list shows of one VM, or nil.
func object(list provider.Complete, r provider.Ref) *domain.VM {
	if list.Show == nil {
		return nil
	}
	if v := list.Show(r); v != nil && v.UID == r.UID {
		return v
	}
	return nil
}

// number reads a resourceVersion: etcd's revision, in fact. What is no number
// says nothing, and is 0.
func number(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// comparison is what is known of a cluster's VMs against a complete list.
type comparison struct {
	known  int         // VMs that should be there
	absent []uuid.UUID // of them, those that the list does not show
	was    int64       // how far the cluster must have been; 0: nothing speaks of it
	before int64       // the highest version of an object that the list shows older, although it is from later
}

// compare looks for what the list should show and does not: VMs, and changes of
// VMs that were seen before.
func (s *Service) compare(ctx context.Context, clusterID uuid.UUID, list provider.Complete, shown map[string]provider.Ref) (comparison, error) {
	var c comparison
	at := number(list.ResourceVersion)
	for after := uuid.Nil; ; {
		rows, err := s.DB.Ent.VM.Query().
			Where(entvm.ClusterID(clusterID), entvm.DeletedAtIsNil(), entvm.UIDNEQ(""), entvm.StateNEQ(entvm.StateMissing), entvm.IDGT(after)).
			Select(entvm.FieldID, entvm.FieldUID, entvm.FieldResourceVersion).
			Order(ent.Asc(entvm.FieldID)).Limit(rowsAtOnce).All(ctx)
		if err != nil {
			return c, err
		}
		for _, r := range rows {
			c.known++
			version := number(r.ResourceVersion)
			if ref, ok := shown[r.UID]; !ok {
				c.absent = append(c.absent, r.ID)
			} else if v := object(list, ref); v == nil || number(v.ResourceVersion) == 0 || number(v.ResourceVersion) >= version {
				continue
			} else if version <= at {
				c.before = max(c.before, version)
			}
			if version > at {
				c.was = max(c.was, version)
			}
		}
		if len(rows) < rowsAtOnce {
			return c, nil
		}
		after = rows[len(rows)-1].ID
	}
}

// suspect says why a cluster has to be quarantined, or that the list lags behind
// what was seen before.
func (s *Service) suspect(ctx context.Context, on *ent.Cluster, list provider.Complete, seen comparison) (reason domain.Problem, lags bool, err error) {
	restored := func(before, now int64) domain.Problem {
		p := domain.Problem{Code: apperr.ErrClusterRestored, Params: map[string]any{"cluster": on.Name}}
		if before > now {
			p.Params["before"], p.Params["now"] = before, now
		}
		return p
	}
	at := number(list.ResourceVersion)
	was := max(on.ListVersion, seen.was)
	switch {
	case seen.before > 0:
		// A version of an object only rises. No server that has seen the list's
		// version can show an older one: also where the restore has raised all
		// versions, as etcd's own tool does.
		return restored(0, 0), false, nil
	case at > 0 && at < was:
		// Either the list is from a server that is behind, or the cluster is.
		now, err := s.reached(ctx, on.ID.String(), was)
		if err != nil || now >= was {
			return domain.Problem{}, true, err
		}
		return restored(was, now), false, nil
	case len(seen.absent) >= massFloor && len(seen.absent)*massShare > seen.known:
		n, err := s.unexplained(ctx, seen.absent)
		if err != nil || n < massFloor || n*massShare <= seen.known {
			return domain.Problem{}, false, err
		}
		return domain.Problem{Code: apperr.ErrVMsDisappeared, Params: map[string]any{"cluster": on.Name, "missing": n, "known": seen.known}}, false, nil
	}
	return domain.Problem{}, false, nil
}

// reached asks a cluster how far it is, and a second time if that is not as far
// as it was: what is still behind then is no lag.
func (s *Service) reached(ctx context.Context, cluster string, was int64) (int64, error) {
	for again := false; ; again = true {
		var now int64
		if err := call(ctx, func(ctx context.Context) error {
			page, err := s.Provider.ListVMs(ctx, cluster, provider.ListOptions{Selector: domain.ManagedSelector, Limit: 1})
			if err == nil {
				now = number(page.ResourceVersion)
			}
			return err
		}); err != nil {
			return 0, err
		}
		if now >= was || again {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(cmp.Or(s.confirm, confirmAfter)):
		}
	}
}

// unexplained counts the VMs that nobody has ordered to be deleted.
func (s *Service) unexplained(ctx context.Context, ids []uuid.UUID) (int, error) {
	n := len(ids)
	for _, part := range parts(ids) {
		leaving, err := s.DB.Ent.DomainEvent.Query().Where(
			domainevent.AggregateType(Aggregate), domainevent.AggregateIDIn(texts(part)...), domainevent.TypeEQ(domainevent.TypeVM_DELETE),
			domainevent.StatusIn(domainevent.StatusPENDING, domainevent.StatusPROCESSING),
		).Count(ctx)
		if err != nil {
			return 0, database.Classify(err)
		}
		n -= leaving
	}
	return n, nil
}

// parts cuts a list into pieces that fit into a statement.
func parts[T any](all []T) [][]T {
	var list [][]T
	for len(all) > rowsAtOnce {
		list, all = append(list, all[:rowsAtOnce]), all[rowsAtOnce:]
	}
	if len(all) > 0 {
		list = append(list, all)
	}
	return list
}

func texts(ids []uuid.UUID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	return list
}

// forgetMissed begins anew with the two lists after which a VM is missing.
func (s *Service) forgetMissed(cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.missed, cluster)
}

// miss remembers since when VMs are absent, and writes down those that are so
// for long enough.
func (s *Service) miss(ctx context.Context, clusterID uuid.UUID, ids []uuid.UUID) error {
	now := time.Now()
	var gone []uuid.UUID
	absent := make(map[uuid.UUID]time.Time, len(ids))
	s.mu.Lock()
	before := s.missed[clusterID.String()]
	for _, id := range ids {
		since, ok := before[id]
		if !ok {
			since = now
		}
		absent[id] = since
		if now.Sub(since) >= missingAfter {
			gone = append(gone, id)
		}
	}
	if s.missed == nil {
		s.missed = map[string]map[uuid.UUID]time.Time{}
	}
	s.missed[clusterID.String()] = absent
	s.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		rows, err := tx.VM.Query().Where(
			entvm.IDIn(gone...), entvm.DeletedAtIsNil(), entvm.HasClusterWith(entcluster.QuarantinedAtIsNil()), // another replica may have seen more
		).Order(ent.Asc(entvm.FieldID)).ForUpdate().All(ctx)
		if err != nil {
			return err
		}
		var c Counters
		var topics []string
		for _, row := range rows {
			order, err := OpenOrder(ctx, tx.Client(), row.ID)
			if err != nil {
				return err
			}
			if order != nil {
				continue // it may be on its way
			}
			u := row.Update().SetProblem(domain.Problem{Code: domain.ProblemMissing})
			become(u, &c, row, domain.StateMissing)
			if err := u.Exec(ctx); err != nil {
				return err
			}
			topics = append(topics, Topics(row)...)
		}
		if err := c.Write(ctx, tx); err != nil {
			return err
		}
		return database.Notify(ctx, tx, topics...)
	})
}

// quarantine begins a quarantine for a reason, unless it has begun, and stores
// what the list shows that is different from what is known.
func (s *Service) quarantine(ctx context.Context, id uuid.UUID, reason domain.Problem, list provider.Complete, shown map[string]provider.Ref) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		on, err := tx.Cluster.Query().Where(entcluster.ID(id)).ForUpdate().Only(ctx)
		if ent.IsNotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		switch {
		case on.QuarantinedAt != nil:
		case reason.IsZero():
			return nil // it has ended meanwhile; the next list is compared as usual
		default:
			if err := cluster.Quarantine(ctx, tx, s.TellAdmins, on, reason); err != nil {
				return err
			}
			s.Logger.WarnContext(ctx, "cluster is in quarantine", "cluster", on.Name, "reason", reason.Code, "params", reason.Params)
		}
		found, err := differences(ctx, tx.Client(), id, list, shown)
		if err != nil {
			return err
		}
		if err := found.store(ctx, tx, on, number(list.ResourceVersion)); err != nil {
			return err
		}
		return database.Notify(ctx, tx, cluster.ToldTopics(id)...)
	})
}
