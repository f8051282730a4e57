package vm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	entcluster "kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/pendingadoption"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/quarantinefinding"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Finding is one difference between a quarantined cluster and what Shepherd
// knows of it.
type Finding struct {
	Group           domain.FindingGroup
	VMID            string // "": Shepherd knows no such VM
	Namespace, Name string
	Before          domain.Observed // what Shepherd knows; zero: nothing
	After           domain.Observed // what is there; zero: nothing
}

// Findings gives one group of the findings about a cluster, by namespace and name.
func (s *Service) Findings(ctx context.Context, actor domain.Actor, id string, group domain.FindingGroup, page listing.Page) (listing.Of[Finding], error) {
	none := listing.Of[Finding]{}
	on, err := cluster.Find(ctx, s.DB.Ent, id)
	if err != nil {
		return none, err
	}
	if err := access.Check(actor, domain.ClusterRead, access.Cluster(on)); err != nil {
		return none, err
	}
	if !slices.Contains(domain.FindingGroups(), group) {
		return none, apperr.Field("group", apperr.ErrInvalidChoice)
	}
	where := []predicate.QuarantineFinding{quarantinefinding.ClusterID(on.ID), quarantinefinding.GroupEQ(quarantinefinding.Group(group))}
	if page.After != "" {
		space, rest, _ := strings.Cut(page.After, "/")
		name, after, err := listing.Page{After: rest}.Name()
		if err != nil || !listing.IsText(space) || rest == "" {
			return none, listing.BadCursor()
		}
		where = append(where, quarantinefinding.Or(
			quarantinefinding.NamespaceGT(space),
			quarantinefinding.And(quarantinefinding.Namespace(space), quarantinefinding.NameGT(name)),
			quarantinefinding.And(quarantinefinding.Namespace(space), quarantinefinding.Name(name), quarantinefinding.IDGT(after)),
		))
	}
	rows, err := s.DB.Ent.QuarantineFinding.Query().Where(where...).
		Order(quarantinefinding.ByNamespace(), quarantinefinding.ByName(), quarantinefinding.ByID()).Limit(page.Size() + 1).All(ctx)
	if err != nil {
		return none, database.Classify(err)
	}
	return listing.Make(page, rows, findingView, func(r *ent.QuarantineFinding) string {
		return r.Namespace + "/" + listing.ByName(r.Name, r.ID)
	}), nil
}

func findingView(r *ent.QuarantineFinding) Finding {
	f := Finding{Group: domain.FindingGroup(r.Group), Namespace: r.Namespace, Name: r.Name, Before: r.Before, After: r.After}
	if r.VMID != nil {
		f.VMID = r.VMID.String()
	}
	return f
}

// findings are all differences between a list and what is known.
type findings []*difference

type difference struct {
	group           domain.FindingGroup
	vm              *uuid.UUID
	namespace, name string
	before, after   domain.Observed
}

// differences compares a complete list with what is known of a cluster's VMs.
func differences(ctx context.Context, c *ent.Client, clusterID uuid.UUID, list provider.Complete, shown map[string]provider.Ref) (findings, error) {
	var all findings
	var absent []*ent.VM
	known := map[string]bool{} // UIDs
	byName := map[[2]string]*ent.VM{}
	for after := uuid.Nil; ; {
		rows, err := c.VM.Query().Where(entvm.ClusterID(clusterID), entvm.DeletedAtIsNil(), entvm.IDGT(after)).
			Order(ent.Asc(entvm.FieldID)).Limit(rowsAtOnce).All(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			byName[[2]string{r.Namespace, r.Name}] = r
			if r.UID == "" {
				continue
			}
			known[r.UID] = true
			if ref, ok := shown[r.UID]; !ok {
				absent = append(absent, r)
			} else if v := object(list, ref); v != nil && r.State != entvm.StateMissing && differs(r, v) {
				all = append(all, &difference{domain.FindingChanged, &r.ID, r.Namespace, r.Name, knownOf(r), shownOf(v)})
			}
		}
		if len(rows) < rowsAtOnce {
			break
		}
		after = rows[len(rows)-1].ID
	}

	strangers, err := newStrangers(ctx, c, clusterID, list, shown, known)
	if err != nil {
		return nil, err
	}
	replaced := map[uuid.UUID]bool{}
	for _, v := range strangers.objects {
		r := byName[[2]string{v.Namespace, v.Name}]
		mine := r != nil && strangers.makers[v.OperationID()] == r.ID.String()
		switch {
		case mine && r.UID == "": // made a moment ago: Observe takes it
		case mine:
			replaced[r.ID] = true
			all = append(all, &difference{domain.FindingChanged, &r.ID, r.Namespace, r.Name, knownOf(r), shownOf(v)})
		case strangers.adoptions[v.UID]:
		default:
			d := &difference{group: domain.FindingBack, namespace: v.Namespace, name: v.Name, after: shownOf(v)}
			if old := strangers.deleted[v.UID]; old != nil {
				d.vm, d.before = &old.ID, knownOf(old)
			}
			all = append(all, d)
		}
	}
	for _, r := range absent {
		if r.State != entvm.StateMissing && !replaced[r.ID] {
			all = append(all, &difference{domain.FindingGone, &r.ID, r.Namespace, r.Name, knownOf(r), domain.Observed{}})
		}
	}
	slices.SortFunc(all, func(a, b *difference) int {
		return cmp.Or(strings.Compare(string(a.group), string(b.group)), strings.Compare(a.namespace, b.namespace),
			strings.Compare(a.name, b.name), strings.Compare(a.after.UID, b.after.UID))
	})
	return all, nil
}

// strangers are objects with a UID that no VM of ours has, and what is known of
// them all the same.
type strangers struct {
	objects   []*domain.VM
	makers    map[string]string  // operation to the id of the VM that it was to create
	deleted   map[string]*ent.VM // by UID
	adoptions map[string]bool    // UIDs that were found before
}

func newStrangers(ctx context.Context, c *ent.Client, clusterID uuid.UUID, list provider.Complete, shown map[string]provider.Ref, known map[string]bool) (strangers, error) {
	s := strangers{makers: map[string]string{}, deleted: map[string]*ent.VM{}, adoptions: map[string]bool{}}
	for uid, ref := range shown {
		if known[uid] || uid == "" {
			continue
		}
		v := object(list, ref)
		if v == nil {
			v = &domain.VM{Namespace: ref.Namespace, Name: ref.Name, UID: uid}
		}
		s.objects = append(s.objects, v)
	}
	for _, part := range parts(s.objects) {
		var orders []uuid.UUID
		var names, uids []string
		for _, v := range part {
			names, uids = append(names, v.Name), append(uids, v.UID)
			if id, err := uuid.Parse(v.OperationID()); err == nil {
				orders = append(orders, id)
			}
		}
		events, err := c.DomainEvent.Query().Where(domainevent.IDIn(orders...), domainevent.AggregateType(Aggregate), domainevent.TypeEQ(domainevent.TypeVM_CREATE)).
			Select(domainevent.FieldID, domainevent.FieldAggregateID).All(ctx)
		if err != nil {
			return s, err
		}
		for _, e := range events {
			s.makers[e.ID.String()] = e.AggregateID
		}
		rows, err := c.VM.Query().Where(entvm.NameIn(names...), entvm.ClusterID(clusterID), entvm.DeletedAtNotNil(), entvm.UIDIn(uids...)).All(ctx)
		if err != nil {
			return s, err
		}
		for _, r := range rows {
			s.deleted[r.UID] = r
		}
		found, err := c.PendingAdoption.Query().Where(pendingadoption.ClusterID(clusterID), pendingadoption.UIDIn(uids...)).Select(pendingadoption.FieldUID).All(ctx)
		if err != nil {
			return s, err
		}
		for _, a := range found {
			s.adoptions[a.UID] = true
		}
	}
	return s, nil
}

// differs says that an object is older than what was seen of it, or has another
// shape than was approved. What an object does not tell is no difference.
func differs(r *ent.VM, v *domain.VM) bool {
	other := func(is, was int) bool { return is != 0 && is != was }
	was, is := number(r.ResourceVersion), number(v.ResourceVersion)
	return is != 0 && is < was || other(v.Spec.CPU, r.CPU) || other(v.Spec.MemoryMiB, r.MemoryMib) || other(v.Spec.DiskGiB, r.DiskGib)
}

func knownOf(r *ent.VM) domain.Observed {
	return domain.Observed{
		UID: r.UID, ResourceVersion: r.ResourceVersion, State: domain.VMState(r.State), CPU: r.CPU, MemoryMiB: r.MemoryMib, DiskGiB: r.DiskGib,
	}
}

func shownOf(v *domain.VM) domain.Observed {
	st := v.Status.State
	if !slices.Contains(domain.VMStates(), st) {
		st = domain.StateUnknown
	}
	return domain.Observed{
		UID: v.UID, ResourceVersion: v.ResourceVersion, State: st, CPU: v.Spec.CPU, MemoryMiB: v.Spec.MemoryMiB, DiskGiB: v.Spec.DiskGiB,
	}
}

// sums counts the groups. The digests leave out what changes all the time and
// does not matter to who accepts.
func (f findings) sums() map[domain.FindingGroup]domain.FindingCount {
	sums := map[domain.FindingGroup]domain.FindingCount{}
	for _, g := range domain.FindingGroups() {
		h, n := sha256.New(), 0
		for _, d := range f {
			if d.group == g {
				n++
				b, a := d.before, d.after
				_, _ = fmt.Fprintf(h, "%q %q %q %d %d %d %q %d %d %d\n", d.namespace, d.name, b.UID, b.CPU, b.MemoryMiB, b.DiskGiB, a.UID, a.CPU, a.MemoryMiB, a.DiskGiB)
			}
		}
		if n > 0 {
			sums[g] = domain.FindingCount{Count: n, Digest: hex.EncodeToString(h.Sum(nil)[:16])}
		}
	}
	return sums
}

// store replaces the findings about a cluster, whose row is locked. Those that
// say the same stay.
func (f findings) store(ctx context.Context, tx *ent.Tx, on *ent.Cluster, version int64) error {
	report := domain.QuarantineReport{Version: version, ListedAt: time.Now().UTC(), Groups: f.sums()}
	if err := tx.Cluster.UpdateOneID(on.ID).SetQuarantineReport(report).Exec(ctx); err != nil {
		return err
	}
	if !on.QuarantineReport.ListedAt.IsZero() && maps.Equal(on.QuarantineReport.Groups, report.Groups) {
		return nil
	}
	if _, err := tx.QuarantineFinding.Delete().Where(quarantinefinding.ClusterID(on.ID)).Exec(ctx); err != nil {
		return err
	}
	for _, part := range parts(f) {
		rows := make([]*ent.QuarantineFindingCreate, 0, len(part))
		for _, d := range part {
			rows = append(rows, tx.QuarantineFinding.Create().SetClusterID(on.ID).SetGroup(quarantinefinding.Group(d.group)).SetNillableVMID(d.vm).
				SetNamespace(d.namespace).SetName(d.name).SetUID(d.after.UID).SetBefore(d.before).SetAfter(d.after))
		}
		if err := tx.QuarantineFinding.CreateBulk(rows...).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// compareFor is how long reading a cluster may take while somebody waits.
const compareFor = 20 * time.Second

// CompareQuarantine reads the VMs of a quarantined cluster now, instead of when
// the watcher does, and compares them anew. NOT_QUARANTINED, or why the cluster
// cannot be read.
func (s *Service) CompareQuarantine(ctx context.Context, actor domain.Actor, id string) error {
	if err := access.Check(actor, domain.ClusterAccept, domain.Object{}); err != nil {
		return err
	}
	on, err := cluster.Find(ctx, s.DB.Ent, id)
	if err != nil {
		return err
	}
	if on.QuarantinedAt == nil {
		return apperr.New(apperr.ErrNotQuarantined).With("cluster", on.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, compareFor)
	defer cancel()
	all := map[provider.Ref]*domain.VM{}
	list := provider.Complete{VMs: map[provider.Ref]bool{}, Show: func(r provider.Ref) *domain.VM { return all[r] }}
	for next := (provider.ListOptions{Selector: domain.ManagedSelector}); ; {
		page, err := s.Provider.ListVMs(ctx, id, next)
		if err != nil {
			return err
		}
		list.ResourceVersion = page.ResourceVersion
		for _, v := range page.Items {
			ref := provider.Ref{Cluster: id, Namespace: v.Namespace, Name: v.Name, UID: v.UID}
			list.VMs[ref], all[ref] = true, v
		}
		if next.Continue = page.Continue; next.Continue == "" {
			break
		}
	}
	return s.quarantine(ctx, on.ID, domain.Problem{}, list, byUID(list))
}

// Acceptance is what an admin accepts of a quarantined cluster.
type Acceptance struct {
	Group  domain.FindingGroup // "": that nothing is different
	Digest string              // of the group, as it was shown
	Reason string              // for the record
}

// maxAcceptReason is in runes.
const maxAcceptReason = 500

// AcceptQuarantine takes over what became of a cluster, one group at a time. The
// last one ends the quarantine, and so does a list in which nothing is different.
// QUARANTINE_CHANGED when the group is no longer the one that was shown,
// NOT_QUARANTINED, QUARANTINE_OPEN when no complete list was read since it began
// or something is left, CLUSTER_IDENTITY_CHANGED while another cluster answers.
//
// gone: the VMs are missing, and orders to create them end: nothing makes them
// again by itself. back: the objects stay, and wait for adoption. changed: the
// VMs are the objects that are there now, with their shape.
func (s *Service) AcceptQuarantine(ctx context.Context, actor domain.Actor, id string, in Acceptance) (ended bool, err error) {
	if err := access.Check(actor, domain.ClusterAccept, domain.Object{}); err != nil {
		return false, err
	}
	key, err := listing.Key(id)
	if err != nil {
		return false, err
	}
	var bad apperr.List
	if in.Group != "" && !slices.Contains(domain.FindingGroups(), in.Group) {
		bad.Add("group", apperr.ErrInvalidChoice)
	}
	switch in.Reason = strings.TrimSpace(in.Reason); {
	case in.Reason == "":
		bad.Add("reason", apperr.ErrRequired)
	case utf8.RuneCountInString(in.Reason) > maxAcceptReason:
		bad = append(bad, apperr.Field("reason", apperr.ErrTooLong).With("max", maxAcceptReason))
	}
	if err := bad.Err(); err != nil {
		return false, err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		on, err := tx.Cluster.Get(ctx, key)
		if ent.IsNotFound(err) {
			return apperr.New(apperr.ErrNotFound)
		} else if err != nil {
			return err
		}
		if err := acceptable(on, in); err != nil {
			return err
		}
		a := acceptance{Service: s, tx: tx, actor: actor, reason: in.Reason, topics: cluster.ToldTopics(key)}
		if err := a.apply(ctx, key, in.Group); err != nil {
			return err
		}
		// Last, see the order of locks: another admin, or a new list, may have been faster.
		if on, err = tx.Cluster.Query().Where(entcluster.ID(key)).ForUpdate().Only(ctx); err != nil {
			return err
		}
		if err := acceptable(on, in); err != nil {
			return err
		}
		if ended, err = a.close(ctx, on, in.Group); err != nil {
			return err
		}
		slices.Sort(a.topics)
		return database.Notify(ctx, tx, slices.Compact(a.topics)...)
	})
	return ended, err
}

// acceptable says whether something can be accepted of a cluster as it is now.
func acceptable(on *ent.Cluster, in Acceptance) error {
	code := ""
	group, there := on.QuarantineReport.Groups[in.Group]
	switch {
	case on.QuarantinedAt == nil:
		code = apperr.ErrNotQuarantined
	case cluster.Impostor(on):
		code = apperr.ErrClusterIdentity
	case on.QuarantineReport.ListedAt.IsZero(), in.Group == "" && !on.QuarantineReport.Empty():
		code = apperr.ErrQuarantineOpen
	case in.Group != "" && (!there || group.Digest != in.Digest):
		code = apperr.ErrQuarantineChanged
	default:
		return nil
	}
	return apperr.New(code).With("cluster", on.Name)
}

// acceptance is the transaction of one.
type acceptance struct {
	*Service
	tx       *ent.Tx
	actor    domain.Actor
	reason   string
	counters Counters
	topics   []string
}

// apply does what accepting a group means.
func (a *acceptance) apply(ctx context.Context, clusterID uuid.UUID, group domain.FindingGroup) error {
	if group == "" {
		return nil
	}
	found, err := a.tx.QuarantineFinding.Query().Where(quarantinefinding.ClusterID(clusterID), quarantinefinding.GroupEQ(quarantinefinding.Group(group))).All(ctx)
	if err != nil {
		return err
	}
	if group == domain.FindingBack {
		return a.back(ctx, found)
	}
	byVM := make(map[uuid.UUID]*ent.QuarantineFinding, len(found))
	for _, f := range found {
		if f.VMID != nil {
			byVM[*f.VMID] = f
		}
	}
	// In the order in which everybody locks.
	ids := slices.SortedFunc(maps.Keys(byVM), func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) })
	var orders []*ent.DomainEvent
	if group == domain.FindingGone {
		if orders, err = a.creations(ctx, ids); err != nil {
			return err
		}
	}
	for _, part := range parts(ids) {
		rows, err := a.tx.VM.Query().Where(entvm.IDIn(part...), entvm.DeletedAtIsNil()).Order(ent.Asc(entvm.FieldID)).ForUpdate().All(ctx)
		if err != nil {
			return err
		}
		// What happened to a VM since the list was read counts more.
		rows = slices.DeleteFunc(rows, func(r *ent.VM) bool { return r.UID != byVM[r.ID].Before.UID })
		if group == domain.FindingGone {
			err = a.gone(ctx, rows)
		} else {
			err = a.changed(ctx, rows, byVM)
		}
		if err != nil {
			return err
		}
	}
	if err := a.end(ctx, orders); err != nil {
		return err
	}
	return a.counters.Write(ctx, a.tx)
}

// creations are the open orders to create VMs.
func (a *acceptance) creations(ctx context.Context, vms []uuid.UUID) ([]*ent.DomainEvent, error) {
	var all []*ent.DomainEvent
	for _, part := range parts(vms) {
		orders, err := a.tx.DomainEvent.Query().Where(
			domainevent.AggregateType(Aggregate), domainevent.AggregateIDIn(texts(part)...), domainevent.TypeEQ(domainevent.TypeVM_CREATE),
			domainevent.StatusIn(domainevent.StatusPENDING, domainevent.StatusPROCESSING),
		).Order(ent.Asc(domainevent.FieldID)).ForUpdate().All(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, orders...)
	}
	return all, nil
}

// gone writes down that VMs are missing. Their versions are forgotten: they say
// no longer how far the cluster was.
func (a *acceptance) gone(ctx context.Context, rows []*ent.VM) error {
	var ids []uuid.UUID
	for _, r := range rows {
		if r.State == entvm.StateMissing {
			continue
		}
		ids = append(ids, r.ID)
		if domain.Health(r.Health) != domain.HealthBad {
			a.counters.Add(r, 0, 1)
		}
		if err := a.record(ctx, r, map[string]any{"state": r.State}, map[string]any{"state": domain.StateMissing}); err != nil {
			return err
		}
	}
	return a.tx.VM.Update().Where(entvm.IDIn(ids...)).SetState(entvm.StateMissing).SetHealth(entvm.Health(domain.StateMissing.Health())).
		SetProblem(domain.Problem{Code: domain.ProblemMissing}).ClearResourceVersion().Exec(ctx)
}

// end ends orders whose object is gone, so that no worker makes it a second time.
func (a *acceptance) end(ctx context.Context, orders []*ent.DomainEvent) error {
	if len(orders) == 0 {
		return nil
	}
	now, err := a.DB.Now(ctx, a.tx)
	if err != nil {
		return err
	}
	var tickets []int
	for _, e := range orders {
		if err := e.Update().SetStatus(domainevent.StatusFAILED).SetNeedsAttention(false).SetProblem(domain.Problem{Code: domain.ProblemMissing}).
			ClearLeaseUntil().SetProcessedAt(now).Exec(ctx); err != nil {
			return err
		}
		if e.TicketID != nil {
			tickets = append(tickets, *e.TicketID)
		}
	}
	slices.Sort(tickets)
	for _, n := range slices.Compact(tickets) {
		topics, err := a.rollUp(ctx, a.tx, n)
		if err != nil {
			return err
		}
		a.topics = append(a.topics, topics...)
	}
	return nil
}

// changed takes over what is there now.
func (a *acceptance) changed(ctx context.Context, rows []*ent.VM, found map[uuid.UUID]*ent.QuarantineFinding) error {
	for _, r := range rows {
		now := found[r.ID].After
		cpu, memory, disk := cmp.Or(now.CPU, r.CPU), cmp.Or(now.MemoryMiB, r.MemoryMib), cmp.Or(now.DiskGiB, r.DiskGib)
		u := r.Update().SetUID(now.UID).SetResourceVersion(now.ResourceVersion).SetCPU(cpu).SetMemoryMib(memory).SetDiskGib(disk)
		if r.State == entvm.StateMissing {
			u.ClearProblem()
		}
		become(u, &a.counters, r, now.State)
		if err := u.Exec(ctx); err != nil {
			return err
		}
		if err := a.record(ctx, r,
			map[string]any{"uid": r.UID, "cpu": r.CPU, "memory_mib": r.MemoryMib, "disk_gib": r.DiskGib, "state": r.State},
			map[string]any{"uid": now.UID, "cpu": cpu, "memory_mib": memory, "disk_gib": disk, "state": now.State}); err != nil {
			return err
		}
	}
	return nil
}

// record tells in a VM's history what was accepted of it, unless it is only
// older than it was.
func (a *acceptance) record(ctx context.Context, r *ent.VM, before, after map[string]any) error {
	a.topics = append(a.topics, Topics(r)...)
	if fmt.Sprint(before) == fmt.Sprint(after) {
		return nil
	}
	return audit.Write(ctx, a.tx, a.actor, audit.Entry{
		Action: "vm.accept", ResourceType: Aggregate, ResourceID: r.ID.String(), ResourceName: r.Name, SystemID: r.SystemID.String(),
		Reason: a.reason, Before: before, After: after,
	})
}

// back leaves the objects where they are and puts them on the list of those that
// somebody has to take over. Shepherd deletes none of them.
func (a *acceptance) back(ctx context.Context, found []*ent.QuarantineFinding) error {
	for _, part := range parts(found) {
		rows := make([]*ent.PendingAdoptionCreate, 0, len(part))
		for _, f := range part {
			rows = append(rows, a.tx.PendingAdoption.Create().SetClusterID(f.ClusterID).SetNamespace(f.Namespace).SetName(f.Name).SetUID(f.UID))
		}
		if err := a.tx.PendingAdoption.CreateBulk(rows...).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close takes a group off the report, and ends the quarantine with the last one.
func (a *acceptance) close(ctx context.Context, on *ent.Cluster, group domain.FindingGroup) (ended bool, err error) {
	if group != "" {
		rest := on.QuarantineReport
		rest.Groups = maps.Clone(rest.Groups)
		delete(rest.Groups, group)
		if _, err := a.tx.QuarantineFinding.Delete().Where(quarantinefinding.ClusterID(on.ID), quarantinefinding.GroupEQ(quarantinefinding.Group(group))).Exec(ctx); err != nil {
			return false, err
		}
		if err := a.tx.Cluster.UpdateOneID(on.ID).SetQuarantineReport(rest).Exec(ctx); err != nil {
			return false, err
		}
		if err := a.tx.ClusterEvent.Create().SetClusterID(on.ID).SetKind(clusterevent.KindQuarantine).SetBefore(string(group)).SetAfter(cluster.QuarantineAccepted).Exec(ctx); err != nil {
			return false, err
		}
		if err := audit.Write(ctx, a.tx, a.actor, audit.Entry{
			Action: "cluster.accept", ResourceType: "cluster", ResourceID: on.ID.String(), ResourceName: on.Name, Reason: a.reason,
			Details: map[string]any{"group": string(group)}, Before: counts(on.QuarantineReport), After: counts(rest),
		}); err != nil {
			return false, err
		}
		if !rest.Empty() {
			return false, nil
		}
	}
	return true, cluster.Release(ctx, a.tx, a.TellAdmins, a.actor, on, on.QuarantineReport.Version, a.reason)
}

// counts is what the record keeps of a report.
func counts(r domain.QuarantineReport) map[string]any {
	all := map[string]any{}
	for _, g := range domain.FindingGroups() {
		all[string(g)] = r.Groups[g].Count
	}
	return all
}
