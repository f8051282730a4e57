package cluster

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	messages "kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// How often the clusters are asked for their namespaces. A quota that is some
// minutes old is told with its age; the cluster has the last word anyway.
const (
	namespaceAge    = 4 * time.Minute  // after which one is looked at again
	namespaceJitter = 2 * time.Minute  // on top, of each cluster another part
	namespaceRound  = 25 * time.Second // for one round over all clusters
	namespacesOnce  = 200              // of one cluster in one round
)

// sighting is what a cluster said of a namespace, and when it was asked.
type sighting struct {
	state domain.NamespaceState
	at    time.Time
}

// askNamespace asks a cluster for a namespace. That it may not be seen is an answer.
func (s *Service) askNamespace(ctx context.Context, on *ent.Cluster, name string) (sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	at := time.Now().UTC().Truncate(time.Microsecond)
	state, err := s.Spaces.Namespace(ctx, on.ID.String(), name)
	if apperr.CodeOf(err) == apperr.ErrClusterForbidden {
		return sighting{domain.NamespaceState{Presence: domain.PresenceUnknown}, at}, nil
	}
	return sighting{state, at}, err
}

// sight asks for a namespace that is to be registered, and makes it when that is
// wanted. nil: the cluster was not asked, and the admin knows.
func (s *Service) sight(ctx context.Context, actor domain.Actor, on *ent.Cluster, r Registration) (*sighting, error) {
	away := func(err error) (*sighting, error) {
		e, ok := apperr.From(err)
		switch {
		case !ok || ctx.Err() != nil:
			return nil, err
		case r.Unseen && !r.Create:
			return nil, nil
		}
		return nil, e.At("cluster").With("cluster", on.Name).With("namespace", r.Name)
	}
	if !on.Enabled {
		return away(apperr.New(apperr.ErrClusterDisabled))
	}
	seen, err := s.askNamespace(ctx, on, r.Name)
	if err != nil {
		return away(err)
	}
	if seen.state.Presence == domain.PresenceMissing && r.Create {
		if seen, err = s.makeNamespace(ctx, actor, on, r); err != nil {
			return nil, err
		}
	}
	told := func(code string) *apperr.AppError {
		return apperr.Field("name", code).With("namespace", r.Name).With("cluster", on.Name)
	}
	switch seen.state.Presence {
	case domain.PresenceMissing:
		return nil, told(apperr.ErrNamespaceMissing).With("creatable", seen.state.MayCreate && on.QuarantinedAt == nil)
	case domain.PresenceTerminating:
		return nil, told(apperr.ErrNamespaceEnding)
	case domain.PresenceUnknown:
		if !r.Unseen {
			return away(apperr.New(apperr.ErrClusterForbidden).With("operation", "get namespaces"))
		}
	}
	return &seen, nil
}

// makeNamespace creates a namespace in a cluster and looks at it. That it was
// tried is on record before it is: nothing is written to a cluster that nobody
// wrote down.
func (s *Service) makeNamespace(ctx context.Context, actor domain.Actor, on *ent.Cluster, r Registration) (sighting, error) {
	on, err := Find(ctx, s.DB.Ent, on.ID.String()) // as it is at this moment
	if err != nil {
		return sighting{}, err
	}
	if on.QuarantinedAt != nil {
		return sighting{}, apperr.Field("cluster", apperr.ErrClusterQuarantined).With("cluster", on.Name)
	}
	e := audit.Entry{
		Action: "namespace.create", ResourceType: "namespace", ResourceName: r.Name,
		Details: map[string]any{"cluster": on.Name, "environment": string(r.Environment)},
	}
	if err := audit.Record(ctx, s.DB.Ent, actor, e); err != nil {
		return sighting{}, database.Classify(err)
	}
	call, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	at := time.Now().UTC().Truncate(time.Microsecond)
	if err := s.Spaces.CreateNamespace(call, on.ID.String(), r.Name, domain.NamespaceLabels(r.Environment)); err != nil {
		told, ok := apperr.From(err)
		if !ok {
			return sighting{}, err
		}
		e.Failed, e.Details["code"] = true, told.Code
		if err := audit.Record(context.WithoutCancel(ctx), s.DB.Ent, actor, e); err != nil {
			return sighting{}, database.Classify(err)
		}
		return sighting{}, told.At("cluster").With("cluster", on.Name).With("namespace", r.Name).With("operation", "create namespaces")
	}
	seen, err := s.askNamespace(ctx, on, r.Name)
	if err != nil { // it has just said yes, and the quotas are read later
		return sighting{domain.NamespaceState{Presence: domain.PresencePresent}, at}, nil
	}
	return seen, nil
}

// CheckNamespace asks the cluster for a registered namespace now. The error says
// why it cannot be asked; CLUSTER_DISABLED for one that is left alone.
func (s *Service) CheckNamespace(ctx context.Context, actor domain.Actor, id string) error {
	if err := access.Check(actor, domain.NamespaceCheck, domain.Object{}); err != nil {
		return err
	}
	key, err := listing.Key(id)
	if err != nil {
		return err
	}
	row, err := s.DB.Ent.Namespace.Query().Where(namespace.ID(key)).WithCluster().Only(ctx)
	if err != nil {
		return orNotFound(err)
	}
	on := row.Edges.Cluster
	if !on.Enabled {
		return apperr.New(apperr.ErrClusterDisabled).With("cluster", on.Name)
	}
	seen, err := s.askNamespace(ctx, on, row.Name)
	if e, ok := apperr.From(err); ok {
		return e.With("cluster", on.Name)
	}
	if err != nil {
		return err
	}
	return s.saw(ctx, actor, on, map[uuid.UUID]*ent.Namespace{key: row}, map[uuid.UUID]sighting{key: seen})
}

// CheckNamespaces asks the clusters for those registered namespaces that nobody
// has looked at for some minutes. Each is read by its name, with the quotas in
// it: that costs as many reads as Shepherd has namespaces there, however large
// the cluster is, and needs no right to list what other people have. A cluster
// that does not answer ends its own turn only, and what it said last stays.
func (s *Service) CheckNamespaces(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, namespaceRound)
	defer cancel()
	clusters, err := s.DB.Ent.Cluster.Query().
		Where(cluster.Enabled(true), cluster.StatusIn(cluster.StatusHEALTHY, cluster.StatusUNHEALTHY)).All(ctx)
	if err != nil {
		return database.Classify(err)
	}
	// Another order each time: those that a round does not reach are not always the same.
	rand.Shuffle(len(clusters), func(i, j int) { clusters[i], clusters[j] = clusters[j], clusters[i] })
	var (
		wg     sync.WaitGroup
		slots  = make(chan struct{}, checksAtOnce)
		failed = make([]error, len(clusters))
	)
	for i, on := range clusters {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			failed[i] = s.checkNamespacesOf(ctx, on)
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// checkNamespacesOf looks at the due namespaces of one cluster, one after the other.
func (s *Service) checkNamespacesOf(ctx context.Context, on *ent.Cluster) error {
	if impostor(on) { // nothing that it says is about ours
		return nil
	}
	due := time.Now().Add(-namespaceAge - spread(on.ID))
	rows, err := s.DB.Ent.Namespace.Query().
		Where(namespace.ClusterID(on.ID), namespace.Or(namespace.CheckedAtIsNil(), namespace.CheckedAtLT(due))).
		Order(ent.Asc(namespace.FieldCheckedAt), namespace.ByID()).Limit(namespacesOnce).All(ctx)
	if err != nil {
		return ignoreEnd(ctx, database.Classify(err))
	}
	asked, seen := map[uuid.UUID]*ent.Namespace{}, map[uuid.UUID]sighting{}
	for _, row := range rows {
		got, err := s.askNamespace(ctx, on, row.Name)
		if err != nil {
			s.Logger.DebugContext(ctx, "a namespace could not be looked at", "cluster", on.Name, "namespace", row.Name, "error", err)
			break
		}
		asked[row.ID], seen[row.ID] = row, got
	}
	if len(seen) == 0 {
		return nil
	}
	// What was read is stored also when the round is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	return s.saw(ctx, domain.ShepherdBy("check-namespaces"), on, asked, seen)
}

// ignoreEnd: that a round is over is no error. The rest comes with the next one.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// spread is a cluster's own part of the jitter, so that not all are asked at once.
func spread(id uuid.UUID) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write(id[:])
	return time.Duration(h.Sum32()) % namespaceJitter
}

// saw stores what a cluster said of some of its namespaces, but for those of
// which something newer was stored meanwhile. That one is gone is told to the
// admins, once.
func (s *Service) saw(ctx context.Context, actor domain.Actor, on *ent.Cluster, asked map[uuid.UUID]*ent.Namespace, seen map[uuid.UUID]sighting) error {
	ids := make([]uuid.UUID, 0, len(seen))
	for id := range seen {
		ids = append(ids, id)
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		// In one order, as UnregisterNamespace does.
		rows, err := tx.Namespace.Query().Where(namespace.IDIn(ids...)).Order(namespace.ByID()).ForUpdate().All(ctx)
		if err != nil {
			return err
		}
		changed := false
		for _, row := range rows {
			if !same(row.CheckedAt, asked[row.ID].CheckedAt) {
				continue
			}
			was, is := domain.Presence(row.Presence), seen[row.ID].state
			update := row.Update().SetPresence(namespace.Presence(is.Presence)).SetCheckedAt(seen[row.ID].at)
			if is.Quotas == nil {
				update.ClearQuotas()
			} else {
				update.SetQuotas(is.Quotas)
			}
			after, err := update.Save(ctx)
			if err != nil {
				return err
			}
			changed = changed || was != is.Presence || row.CheckedAt == nil || !reflect.DeepEqual(row.Quotas, after.Quotas)
			if was == is.Presence {
				continue
			}
			e := namespaceEntry("namespace.presence", row, after, on)
			if err := audit.Write(ctx, tx, actor, e); err != nil {
				return err
			}
			if was.Gone() || !is.Presence.Gone() {
				continue
			}
			if err := s.TellAdmins(ctx, tx, messages.Message{Kind: messages.NamespaceGone, Params: map[string]any{
				"namespace": row.Name, "namespace_id": row.ID.String(), "cluster": on.Name,
			}}); err != nil {
				return err
			}
		}
		if !changed {
			return nil
		}
		return notify(ctx, tx, on.ID)
	})
}
