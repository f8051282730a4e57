package vm

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// missingAfter is how far apart two complete lists without a VM must be before
// it counts as missing: one list may fall between two changes.
const missingAfter = 60 * time.Second

// Limits of what a guest or a cluster says of itself, in runes.
const maxFact = 253

// Observe takes in what a watcher saw (provider.Sink): one transaction and one
// statement for the batch. The row is found by cluster, namespace and name, and
// must have the object's UID; labels are hints that anybody in the cluster can
// forge.
func (s *Service) Observe(ctx context.Context, cluster string, seen []provider.Observation) error {
	clusterID, err := uuid.Parse(cluster)
	if err != nil {
		return err
	}
	batch, err := newest(seen)
	if err != nil || len(batch) == 0 {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		written, err := database.ObserveVMs(ctx, tx, clusterID, batch)
		if err != nil {
			return err
		}
		var c Counters
		topics := map[string]bool{}
		for _, w := range written {
			row := &ent.VM{ID: w.ID, ServiceID: w.ServiceID, SystemID: w.SystemID, ClusterID: w.ClusterID, TicketID: w.TicketID}
			switch {
			case w.IsBad && !w.WasBad:
				c.Add(row, 0, 1)
			case w.WasBad && !w.IsBad:
				c.Add(row, 0, -1)
			}
			if w.News {
				for _, t := range append(Topics(row), TicketTopic(row.TicketID)) {
					topics[t] = true
				}
			}
		}
		if err := c.Write(ctx, tx); err != nil {
			return err
		}
		return database.Notify(ctx, tx, slices.Sorted(maps.Keys(topics))...)
	})
}

// newest reads a batch and leaves of each object the observation that counts: the
// one with the highest version, or what came last where versions cannot be
// compared. A deletion counts until the object is seen again.
func newest(seen []provider.Observation) ([]database.SeenVM, error) {
	type object struct{ namespace, name, uid string }
	at := make(map[object]int, len(seen))
	batch := make([]database.SeenVM, 0, len(seen))
	for _, o := range seen {
		v, err := observed(o)
		if err != nil {
			return nil, err
		}
		k := object{v.Namespace, v.Name, v.UID}
		i, ok := at[k]
		if !ok {
			at[k] = len(batch)
			batch = append(batch, v)
			continue
		}
		if v.Deleted || batch[i].Deleted || v.Version == batch[i].Version || newer(v.Version, batch[i].Version) {
			batch[i] = v
		}
	}
	return batch, nil
}

// observed cleans one observation.
func observed(o provider.Observation) (database.SeenVM, error) {
	st := o.VM.Status
	if st.ObservedAt.IsZero() {
		st.ObservedAt = time.Now()
	}
	if !slices.Contains(domain.VMStates(), st.State) {
		st.State = domain.StateUnknown // one that a newer KubeVirt has invented
	}
	p := clean(st.Problem)
	if o.Deleted {
		st.State, p = domain.StateMissing, domain.Problem{Code: domain.ProblemMissing}
	}
	v := database.SeenVM{
		Namespace: fact(o.VM.Namespace), Name: fact(o.VM.Name), UID: fact(o.VM.UID), Version: fact(o.VM.ResourceVersion), Operation: fact(o.VM.OperationID()),
		Deleted: o.Deleted, State: string(st.State), Health: string(st.State.Health()),
		IP: fact(st.IP), Node: fact(st.Node), GuestOS: fact(st.GuestOS), SeenAt: st.ObservedAt.UTC(),
	}
	if st.StartedAt != nil {
		started := st.StartedAt.UTC()
		v.StartedAt = &started
	}
	if p.IsZero() {
		return v, nil
	}
	var err error
	v.Problem, err = json.Marshal(p)
	return v, err
}

func fact(s string) string { return domain.CleanText(s, maxFact) }

// Synced takes in that a complete list was read (provider.Sink): a VM that two
// lists at least missingAfter apart do not show is missing.
func (s *Service) Synced(ctx context.Context, cluster string, list provider.Complete) error {
	clusterID, err := uuid.Parse(cluster)
	if err != nil {
		return err
	}
	// By UID: another object under the same name is not the VM.
	shown := make(map[string]bool, len(list.VMs))
	for r := range list.VMs {
		shown[r.UID] = true
	}
	now := time.Now()
	var gone []uuid.UUID
	absent := map[uuid.UUID]time.Time{}
	s.mu.Lock()
	before := s.missed[cluster]
	s.mu.Unlock()
	for after := uuid.Nil; ; {
		rows, err := s.DB.Ent.VM.Query().
			Where(entvm.ClusterID(clusterID), entvm.DeletedAtIsNil(), entvm.UIDNEQ(""), entvm.StateNEQ(entvm.StateMissing), entvm.IDGT(after)).
			Select(entvm.FieldID, entvm.FieldUID).
			Order(ent.Asc(entvm.FieldID)).Limit(1000).All(ctx)
		if err != nil {
			return database.Classify(err)
		}
		for _, r := range rows {
			if shown[r.UID] {
				continue
			}
			since, ok := before[r.ID]
			if !ok {
				since = now
			}
			absent[r.ID] = since
			if now.Sub(since) >= missingAfter {
				gone = append(gone, r.ID)
			}
		}
		if len(rows) < 1000 {
			break
		}
		after = rows[len(rows)-1].ID
	}
	s.mu.Lock()
	if s.missed == nil {
		s.missed = map[string]map[uuid.UUID]time.Time{}
	}
	s.missed[cluster] = absent
	s.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		rows, err := tx.VM.Query().Where(entvm.IDIn(gone...), entvm.DeletedAtIsNil()).Order(ent.Asc(entvm.FieldID)).ForUpdate().All(ctx)
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
