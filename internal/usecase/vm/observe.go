package vm

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// Limits of what a guest or a cluster says of itself, in runes.
const maxFact = 253

// Observe takes in what a watcher saw (provider.Sink): one transaction for the
// batch. The row is found by cluster, namespace and name, and must have the
// object's UID; labels are hints that anybody in the cluster can forge.
func (s *Service) Observe(ctx context.Context, cluster string, seen []provider.Observation) error {
	clusterID, err := uuid.Parse(cluster)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(seen))
	for _, o := range seen {
		names = append(names, o.VM.Name)
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		rows, err := tx.VM.Query().
			Where(entvm.ClusterID(clusterID), entvm.NameIn(names...), entvm.DeletedAtIsNil()).
			Order(ent.Asc(entvm.FieldID)).ForUpdate().All(ctx) // one order for all transactions
		if err != nil {
			return err
		}
		byName := map[[2]string]*ent.VM{}
		for _, r := range rows {
			byName[[2]string{r.Namespace, r.Name}] = r
		}
		var c Counters
		topics := map[string]bool{}
		for _, o := range seen {
			row := byName[[2]string{o.VM.Namespace, o.VM.Name}]
			if row == nil {
				continue // not one of ours: adoption's business
			}
			changed, err := s.observe(ctx, tx, &c, row, o)
			if err != nil {
				return err
			}
			if changed {
				for _, t := range Topics(row) {
					topics[t] = true
				}
				topics[TicketTopic(row.TicketID)] = true
			}
		}
		if err := c.Write(ctx, tx); err != nil {
			return err
		}
		list := make([]string, 0, len(topics))
		for t := range topics {
			list = append(list, t)
		}
		slices.Sort(list)
		return database.Notify(ctx, tx, list...)
	})
}

// observe writes one observation into its row.
func (s *Service) observe(ctx context.Context, tx *ent.Tx, c *Counters, row *ent.VM, o provider.Observation) (changed bool, err error) {
	v := o.VM
	if row.UID == "" {
		// The watcher was faster than the worker's own note: the object is ours
		// when one of the VM's orders has made it.
		ours, err := madeBy(ctx, tx.Client(), row.ID.String(), v.OperationID())
		if err != nil || !ours {
			return false, err
		}
	} else if row.UID != v.UID {
		return false, nil
	}
	st := v.Status
	if st.ObservedAt.IsZero() {
		st.ObservedAt = time.Now()
	}
	u := row.Update().SetUID(v.UID).SetObservedAt(st.ObservedAt.UTC())
	if o.Deleted {
		order, err := OpenOrder(ctx, tx.Client(), row.ID)
		if err != nil {
			return false, err
		}
		if order != nil && order.Type == domainevent.TypeVM_DELETE {
			return false, nil // the worker says when it is gone
		}
		become(u, c, row, domain.StateMissing)
		return true, keep(ctx, row, u.SetProblem(domain.Problem{Code: domain.ProblemMissing}))
	}
	if row.ResourceVersion != "" && row.State != entvm.StateMissing && v.ResourceVersion != row.ResourceVersion && !newer(v.ResourceVersion, row.ResourceVersion) {
		return false, nil // an old event that arrives late
	}
	if !slices.Contains(domain.VMStates(), st.State) {
		st.State = domain.StateUnknown // one that a newer KubeVirt has invented
	}
	st.IP, st.Node, st.GuestOS = domain.CleanText(st.IP, maxFact), domain.CleanText(st.Node, maxFact), domain.CleanText(st.GuestOS, maxFact)
	p := clean(st.Problem)
	changed = string(row.State) != string(st.State) || !same(p, row.Problem) || row.IPAddress != st.IP || row.NodeName != st.Node || row.GuestOs != st.GuestOS
	become(u, c, row, st.State)
	u.SetResourceVersion(v.ResourceVersion).SetIPAddress(st.IP).SetNodeName(st.Node).SetGuestOs(st.GuestOS)
	if st.StartedAt != nil {
		u.SetStartedAt(st.StartedAt.UTC())
	} else {
		u.ClearStartedAt()
	}
	if p.IsZero() {
		u.ClearProblem()
	} else {
		u.SetProblem(p)
	}
	return changed, keep(ctx, row, u)
}

// keep writes a row and takes the result over, so that the next observation of
// the same batch is compared with this one.
func keep(ctx context.Context, row *ent.VM, u *ent.VMUpdateOne) error {
	now, err := u.Save(ctx)
	if err == nil {
		*row = *now
	}
	return err
}
