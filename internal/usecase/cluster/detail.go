package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Filter narrows the list of clusters. The zero value is all.
type Filter struct {
	Status      domain.ClusterStatus
	Environment domain.Environment
	Query       string // part of the name or place
}

// maxQuery is the longest search text, in bytes: no name or place is longer.
const maxQuery = 100

func (f Filter) where() ([]predicate.Cluster, error) {
	var where []predicate.Cluster
	if f.Status != "" {
		if !slices.Contains(domain.ClusterStatuses(), f.Status) {
			return nil, apperr.Field("status", apperr.ErrInvalidChoice)
		}
		where = append(where, cluster.StatusEQ(cluster.Status(f.Status)))
	}
	if f.Environment != "" {
		if !f.Environment.Valid() {
			return nil, apperr.Field("env", apperr.ErrInvalidChoice)
		}
		where = append(where, cluster.EnvironmentEQ(cluster.Environment(f.Environment)))
	}
	if text := strings.TrimSpace(f.Query); text != "" {
		text = domain.CleanText(text, maxQuery)
		where = append(where, cluster.Or(cluster.NameContainsFold(text), cluster.PlaceContainsFold(text)))
	}
	return where, nil
}

// urgency are the groups of the list, the worst first. Each cluster is in one,
// see Cluster.urgency.
func urgency() []predicate.Cluster {
	groups := []predicate.Cluster{cluster.And(cluster.Enabled(true), cluster.QuarantinedAtNotNil())}
	for _, st := range domain.WorstClusterStatuses() {
		groups = append(groups, cluster.And(cluster.Enabled(true), cluster.QuarantinedAtIsNil(), cluster.StatusEQ(cluster.Status(st))))
	}
	return append(groups, cluster.Enabled(false)) // nobody waits for it
}

// urgency is the place of the cluster's group in the list of them.
func (c Cluster) urgency() int {
	all := domain.WorstClusterStatuses()
	switch {
	case !c.Enabled:
		return 1 + len(all)
	case c.QuarantinedAt != nil:
		return 0
	}
	return 1 + slices.Index(all, c.Status)
}

// Worst gives the clusters, the worst first, and those alike by name.
func (s *Service) Worst(ctx context.Context, actor domain.Actor, f Filter, page Page) (Listing[Cluster], error) {
	var out Listing[Cluster]
	if err := access.Check(actor, domain.ClusterList, domain.Object{}); err != nil {
		return out, err
	}
	where, err := f.where()
	if err != nil {
		return out, err
	}
	groups, group, name := urgency(), 0, ""
	if page.After != "" {
		if g, rest, ok := strings.Cut(page.After, "/"); ok && len(g) == 1 && listing.IsText(rest) {
			group, name = int(g[0]-'0'), rest
		}
		if group < 0 || group >= len(groups) || name == "" {
			return out, listing.BadCursor()
		}
	}
	// A query for each group keeps the order in the database, where the next page
	// begins, and each is over an index or a handful of rows.
	for ; group < len(groups) && out.Next == ""; group, name = group+1, "" {
		left := page.limit() - len(out.Items)
		rows, err := s.DB.Ent.Cluster.Query().Where(listing.Clusters(actor), groups[group], cluster.NameGT(name)).Where(where...).
			Order(cluster.ByName()).Limit(left + 1).All(ctx)
		if err != nil {
			return out, database.Classify(err)
		}
		for i, row := range rows {
			if i == left {
				out.Next = out.Items[len(out.Items)-1].cursor()
				break
			}
			out.Items = append(out.Items, view(row))
		}
	}
	return out, nil
}

// cursor is where the list goes on after the cluster.
func (c Cluster) cursor() string { return strconv.Itoa(c.urgency()) + "/" + c.Name }

// Count is how many clusters the actor sees.
func (s *Service) Count(ctx context.Context, actor domain.Actor, f Filter) (int, error) {
	where, err := f.where()
	if err != nil {
		return 0, err
	}
	n, err := s.DB.Ent.Cluster.Query().Where(listing.Clusters(actor)).Where(where...).Count(ctx)
	return n, database.Classify(err)
}

// Span is a time in which a cluster was in one state.
type Span struct {
	From, To time.Time
	Status   domain.ClusterStatus
	Off      bool           // it was switched off, so nobody knows
	Problem  domain.Problem // why it was not healthy
}

// maxChanges is how many changes of a state are read. A cluster that flaps more
// often is shown from the oldest of these on.
const maxChanges = 500

// Health tells how a cluster was from since until now, in spans without gaps. It
// begins when the cluster was added.
func (s *Service) Health(ctx context.Context, actor domain.Actor, id string, since, now time.Time) ([]Span, error) {
	row, err := s.readable(ctx, actor, id)
	if err != nil {
		return nil, err
	}
	about := func() *ent.ClusterEventQuery {
		return s.DB.Ent.ClusterEvent.Query().Where(clusterevent.ClusterID(row.ID), clusterevent.KindIn(clusterevent.KindStatus, clusterevent.KindMode)).
			Order(clusterevent.ByID(sql.OrderDesc()))
	}
	events, err := about().Where(clusterevent.IDGTE(firstID(since))).Limit(maxChanges).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	if len(events) == maxChanges {
		since = events[maxChanges-1].CreatedAt
	}
	if row.CreatedAt.After(since) {
		since = row.CreatedAt
	}
	slices.Reverse(events)
	return spans(row, events, since, now), nil
}

// firstID is the smallest id that can have been given at a time: ids begin with
// the time in milliseconds.
func firstID(t time.Time) uuid.UUID {
	var id uuid.UUID
	ms := t.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}

// spans cuts the time at the events, which are in order. What was before the
// first one it tells itself.
func spans(row *ent.Cluster, events []*ent.ClusterEvent, since, now time.Time) []Span {
	state := Span{From: since, Status: domain.ClusterStatus(row.Status), Problem: row.StatusReason, Off: !row.Enabled}
	for i := len(events) - 1; i >= 0; i-- {
		switch e := events[i]; {
		case e.Kind == clusterevent.KindStatus:
			state.Status, state.Problem = domain.ClusterStatus(e.Before), domain.Problem{}
		case e.Before == "enabled=true":
			state.Off = false
		case e.Before == "enabled=false":
			state.Off = true
		}
	}
	var list []Span
	add := func(until time.Time) {
		state.To = until
		if until.After(state.From) {
			list = append(list, state)
			state.From = until
		}
	}
	for _, e := range events {
		switch {
		case e.Kind == clusterevent.KindStatus:
			add(e.CreatedAt)
			state.Status, state.Problem = domain.ClusterStatus(e.After), e.Problem
		case e.After == "enabled=true", e.After == "enabled=false":
			add(e.CreatedAt)
			state.Off = e.After == "enabled=false"
		}
	}
	add(now)
	return list
}

// Order is work for a cluster that is not finished.
type Order struct {
	ID             string
	VMID, VM       string // empty when the actor may not know of the VM
	Operation      domain.Operation
	Ticket         int // 0: needed no approval
	Working        bool
	Problem        domain.Problem // why it waits; the zero value when its turn has only not come
	NeedsAttention bool
	CreatedBy      string
	CreatedAt      time.Time
}

// Orders gives the work that waits for a cluster, the oldest first.
func (s *Service) Orders(ctx context.Context, actor domain.Actor, id string, page Page) (Listing[Order], error) {
	var out Listing[Order]
	row, err := s.readable(ctx, actor, id)
	if err != nil {
		return out, err
	}
	q := s.DB.Ent.DomainEvent.Query().Where(waitsFor(row.ID))
	if page.After != "" {
		after, err := uuid.Parse(page.After)
		if err != nil {
			return out, listing.BadCursor()
		}
		q.Where(domainevent.IDGT(after))
	}
	rows, err := q.Order(domainevent.ByID()).Limit(page.limit() + 1).All(ctx)
	if err != nil {
		return out, database.Classify(err)
	}
	if len(rows) > page.limit() {
		rows = rows[:page.limit()]
		out.Next = rows[len(rows)-1].ID.String()
	}
	var ids []uuid.UUID
	for _, e := range rows {
		if key, err := uuid.Parse(e.AggregateID); err == nil {
			ids = append(ids, key)
		}
	}
	vms, err := s.DB.Ent.VM.Query().Where(listing.VMs(actor), vm.IDIn(ids...)).Select(vm.FieldName).All(ctx)
	if err != nil {
		return out, database.Classify(err)
	}
	names := map[string]string{}
	for _, m := range vms {
		names[m.ID.String()] = m.Name
	}
	for _, e := range rows {
		o := Order{
			ID: e.ID.String(), VM: names[e.AggregateID], Operation: operation(e), Working: e.Status == domainevent.StatusPROCESSING && e.Problem.IsZero(),
			Problem: e.Problem, NeedsAttention: e.NeedsAttention, CreatedAt: e.CreatedAt,
		}
		if o.VM != "" {
			o.VMID, o.CreatedBy = e.AggregateID, e.CreatedBy
			if e.TicketID != nil {
				o.Ticket = *e.TicketID
			}
		}
		out.Items = append(out.Items, o)
	}
	return out, nil
}

// Waiting counts the work that waits for some clusters, by id.
func (s *Service) Waiting(ctx context.Context, actor domain.Actor, ids ...string) (map[string]int, error) {
	if err := access.Check(actor, domain.ClusterList, domain.Object{}); err != nil {
		return nil, err
	}
	var keys []uuid.UUID
	for _, id := range ids {
		if key, err := uuid.Parse(id); err == nil {
			keys = append(keys, key)
		}
	}
	var rows []struct {
		ClusterID uuid.UUID `json:"cluster_id"`
		Count     int
	}
	err := s.DB.Ent.DomainEvent.Query().Where(domainevent.ClusterIDIn(keys...), openOrder()).
		GroupBy(domainevent.FieldClusterID).Aggregate(ent.Count()).Scan(ctx, &rows)
	if err != nil {
		return nil, database.Classify(err)
	}
	counts := map[string]int{}
	for _, r := range rows {
		counts[r.ClusterID.String()] = r.Count
	}
	return counts, nil
}

// readable reads a cluster that the actor may read.
func (s *Service) readable(ctx context.Context, actor domain.Actor, id string) (*ent.Cluster, error) {
	row, err := Find(ctx, s.DB.Ent, id)
	if err != nil {
		return nil, err
	}
	return row, access.Check(actor, domain.ClusterRead, access.Cluster(row))
}

// LastKnown says of which clusters only the last known state can be shown now,
// by id, with their names. It is no secret to anybody: who sees a VM sees how old
// its state is.
func (s *Service) LastKnown(ctx context.Context) (map[string]Stale, error) {
	at := time.Now()
	rows, err := s.DB.Ent.Cluster.Query().Where(cluster.RemovedAtIsNil(), cluster.Or(
		cluster.Enabled(false), cluster.StatusEQ(cluster.StatusUNREACHABLE), cluster.HeardAtLT(at.Add(-domain.StaleAfter)),
	)).Select(cluster.FieldName, cluster.FieldEnvironment, cluster.FieldVMCount, cluster.FieldEnabled, cluster.FieldStatus, cluster.FieldHeardAt, cluster.FieldAnsweredAt).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	all := map[string]Stale{}
	for _, row := range rows {
		k := domain.Freshness(row.Enabled, domain.ClusterStatus(row.Status), row.HeardAt, row.AnsweredAt, at)
		if k.Stale {
			all[row.ID.String()] = Stale{Cluster: row.Name, Since: k.Since, Off: !row.Enabled, environment: domain.Environment(row.Environment), vms: row.VMCount}
		}
	}
	return all, nil
}

// Stale is a cluster of which only the last known state can be shown.
type Stale struct {
	Cluster string
	Since   time.Time // zero: not known
	Off     bool      // an admin has switched it off

	environment domain.Environment
	vms         int
}

// Affected are those of the stale clusters that have VMs which the actor sees; of
// a system, when one is named, that he may read. Nobody's VMs are counted who sees
// all of an environment: clusters know how many they have.
func (s *Service) Affected(ctx context.Context, actor domain.Actor, all map[string]Stale, systemID string) ([]string, error) {
	var ids []string
	var ask []uuid.UUID
	for id, c := range all {
		switch {
		case c.vms == 0:
		case systemID == "" && domain.Can(actor, domain.VMRead, domain.Object{Environment: c.environment}):
			ids = append(ids, id)
		default:
			ask = append(ask, uuid.MustParse(id))
		}
	}
	if len(ask) == 0 {
		return ids, nil
	}
	q := s.DB.Ent.VM.Query().Where(vm.DeletedAtIsNil(), vm.ClusterIDIn(ask...))
	if systemID == "" {
		var mine []uuid.UUID
		for _, id := range domain.Within(actor, domain.VMRead).Systems {
			if key, err := uuid.Parse(id); err == nil {
				mine = append(mine, key)
			}
		}
		q.Where(vm.SystemIDIn(mine...))
	} else {
		key, err := listing.Key(systemID)
		if err != nil {
			return nil, err
		}
		q.Where(vm.SystemID(key))
	}
	found, err := q.GroupBy(vm.FieldClusterID).Strings(ctx)
	return append(ids, found...), database.Classify(err)
}

// operation is what an order does; "" when its payload cannot be read.
func operation(e *ent.DomainEvent) domain.Operation {
	var p domain.VMPayload
	_ = json.Unmarshal(e.Payload, &p) // a bad one ends with the worker
	return p.Operation
}
