package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/ent/clusterreplacement"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/namespace"
	"kubevirt-shepherd.io/shepherd/ent/pendingadoption"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/quarantinefinding"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Settings are what admins say of a cluster.
type Settings struct {
	Place    string
	Weight   int      // 0 to domain.MaxWeight
	Hardware []string // qualified names as Kubernetes has them
}

// Settings are those of the cluster.
func (c Cluster) Settings() Settings { return Settings{c.Place, c.Weight, c.Hardware} }

// Version tells settings apart: who changes them names the ones that he saw.
func (s Settings) Version() string {
	s.Hardware = append([]string{}, s.Hardware...) // nil and empty are the same
	text, _ := json.Marshal(s)                     // of plain values: cannot fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func (s *Settings) check() error {
	var bad apperr.List
	switch {
	case !utf8.ValidString(s.Place) || strings.ContainsFunc(s.Place, domain.Hidden):
		bad.Add("place", apperr.ErrInvalidText)
	case utf8.RuneCountInString(s.Place) > maxPlace:
		bad = append(bad, apperr.Field("place", apperr.ErrTooLong).With("max", maxPlace))
	}
	if s.Weight < 0 || s.Weight > domain.MaxWeight {
		bad = append(bad, apperr.Field("weight", apperr.ErrOutOfRange).With("min", 0).With("max", domain.MaxWeight))
	}
	s.Hardware = slices.Clone(s.Hardware)
	slices.Sort(s.Hardware)
	s.Hardware = slices.Compact(s.Hardware)
	for _, h := range s.Hardware {
		if !domain.ValidHardware(h) {
			bad = append(bad, apperr.Field("hardware", apperr.ErrInvalidHardware).With("name", domain.CleanText(h, domain.MaxLabel)))
			break
		}
	}
	if len(s.Hardware) > domain.MaxTokens {
		bad = append(bad, apperr.Field("hardware", apperr.ErrInvalidHardware).With("max", domain.MaxTokens))
	}
	return bad.Err()
}

// Update replaces the settings of a cluster. Version is of those that the actor
// saw, "" for whatever there is: PRECONDITION_FAILED when they have changed.
func (s *Service) Update(ctx context.Context, actor domain.Actor, id, version string, in Settings) error {
	if err := access.Check(actor, domain.ClusterUpdate, domain.Object{}); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	return s.change(ctx, actor, id, "cluster.update", func(row *ent.Cluster, u *ent.ClusterUpdateOne) error {
		if version != "" && version != view(row).Settings().Version() {
			return apperr.New(apperr.ErrPrecondition)
		}
		u.SetPlace(in.Place).SetWeight(in.Weight).SetHardware(in.Hardware)
		return nil
	})
}

// SetEnabled says whether Shepherd works with a cluster at all. One that is
// switched off is not checked, not watched, and nothing is done there; what was
// approved for it waits.
func (s *Service) SetEnabled(ctx context.Context, actor domain.Actor, id string, enabled bool) error {
	action := "cluster.disable"
	if enabled {
		action = "cluster.enable"
	}
	err := s.change(ctx, actor, id, action, func(_ *ent.Cluster, u *ent.ClusterUpdateOne) error {
		u.SetEnabled(enabled).ClearNextCheckAt()
		return nil
	})
	if err == nil && !enabled {
		s.forget(id)
	}
	return err
}

// SetDrained says whether a cluster takes no new VMs. Those that it has stay as
// they are.
func (s *Service) SetDrained(ctx context.Context, actor domain.Actor, id string, drained bool) error {
	action := "cluster.undrain"
	if drained {
		action = "cluster.drain"
	}
	return s.change(ctx, actor, id, action, func(_ *ent.Cluster, u *ent.ClusterUpdateOne) error {
		u.SetDrained(drained)
		return nil
	})
}

// change sets something that is up to admins. What is so already is no change,
// and leaves no record.
func (s *Service) change(ctx context.Context, actor domain.Actor, id, action string, set func(*ent.Cluster, *ent.ClusterUpdateOne) error) error {
	if err := access.Check(actor, domain.ClusterUpdate, domain.Object{}); err != nil {
		return err
	}
	key, err := listing.Key(id)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		row, err := lock(ctx, tx, key)
		if err != nil {
			return err
		}
		update := row.Update()
		if err := set(row, update); err != nil {
			return err
		}
		after, err := update.Save(ctx)
		if err != nil {
			return err
		}
		was, is := told(row), told(after)
		if reflect.DeepEqual(was, is) {
			return nil
		}
		if err := tx.ClusterEvent.CreateBulk(modeEvents(tx, key, was, is)...).Exec(ctx); err != nil {
			return err
		}
		e := entry(action, row)
		e.Before, e.After = was, is
		if err := audit.Write(ctx, tx, actor, e); err != nil {
			return err
		}
		return notify(ctx, tx, key)
	})
}

// modeEvents are lines of the timeline, one for each setting that changed, as
// name=value.
func modeEvents(tx *ent.Tx, id uuid.UUID, was, is map[string]any) []*ent.ClusterEventCreate {
	var list []*ent.ClusterEventCreate
	for _, name := range []string{"enabled", "drained", "weight", "place", "hardware"} {
		if reflect.DeepEqual(was[name], is[name]) {
			continue
		}
		line := func(v any) string {
			if words, ok := v.([]string); ok {
				v = strings.Join(words, ", ")
			}
			return fmt.Sprintf("%s=%v", name, v)
		}
		list = append(list, tx.ClusterEvent.Create().SetClusterID(id).SetKind(clusterevent.KindMode).
			SetBefore(line(was[name])).SetAfter(line(is[name])))
	}
	return list
}

// told is what the audit log keeps of what admins set.
func told(row *ent.Cluster) map[string]any {
	return map[string]any{
		"enabled": row.Enabled, "drained": row.Drained, "weight": row.Weight, "place": row.Place, "hardware": append([]string{}, row.Hardware...),
	}
}

// forget closes the connections to a cluster that this process has. Other
// processes notice at their next call, and watchers by the generation.
func (s *Service) forget(id string) {
	if s.Forget != nil {
		s.Forget(id)
	}
}

// Holds is what keeps a cluster from being removed.
type Holds struct {
	VMs        int      // that are not deleted
	Orders     int      // that are not finished
	Namespaces []string // that systems use and no other cluster has
}

// IsZero says that the cluster can be removed.
func (h Holds) IsZero() bool { return h.VMs+h.Orders+len(h.Namespaces) == 0 }

// Holds says what keeps a cluster from being removed now.
func (s *Service) Holds(ctx context.Context, actor domain.Actor, id string) (Holds, error) {
	if err := access.Check(actor, domain.ClusterDelete, domain.Object{}); err != nil {
		return Holds{}, err
	}
	row, err := Find(ctx, s.DB.Ent, id)
	if err != nil {
		return Holds{}, err
	}
	spaces, err := s.DB.Ent.Namespace.Query().Where(namespace.ClusterID(row.ID)).All(ctx)
	if err != nil {
		return Holds{}, database.Classify(err)
	}
	h, err := holds(ctx, s.DB.Ent, row.ID, spaces)
	return h, database.Classify(err)
}

func holds(ctx context.Context, c *ent.Client, id uuid.UUID, spaces []*ent.Namespace) (h Holds, err error) {
	if h.VMs, err = c.VM.Query().Where(vm.ClusterID(id), vm.DeletedAtIsNil()).Count(ctx); err != nil {
		return h, err
	}
	if h.Orders, err = c.DomainEvent.Query().Where(waitsFor(id)).Count(ctx); err != nil {
		return h, err
	}
	if len(spaces) == 0 {
		return h, nil
	}
	names := make([]string, len(spaces))
	for i, n := range spaces {
		names[i] = n.Name
	}
	elsewhere, err := c.Namespace.Query().Where(namespace.NameIn(names...), namespace.ClusterIDNEQ(id)).Select(namespace.FieldName).Strings(ctx)
	if err != nil {
		return h, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(elsewhere, n) })
	if len(names) == 0 {
		return h, nil
	}
	h.Namespaces, err = c.System.Query().Where(system.NamespaceIn(names...)).Unique(true).Order(system.ByNamespace()).Select(system.FieldNamespace).Strings(ctx)
	return h, err
}

// waitsFor are the orders for a cluster that are not finished.
func waitsFor(id uuid.UUID) predicate.DomainEvent {
	return domainevent.And(domainevent.ClusterID(id), openOrder())
}

func openOrder() predicate.DomainEvent {
	return domainevent.Or(domainevent.StatusEQ(domainevent.StatusPENDING), domainevent.StatusEQ(domainevent.StatusPROCESSING))
}

// Remove takes a cluster out of Shepherd; nothing is done in it. typed must be
// its name. CLUSTER_HAS_VMS, with the parameters vms, orders and namespaces, says
// what has to go first. Its namespaces are unregistered, its credential is
// erased; what happened there stays on record, and its name and itself can be
// added again.
func (s *Service) Remove(ctx context.Context, actor domain.Actor, id, typed string) error {
	if err := access.Check(actor, domain.ClusterDelete, domain.Object{}); err != nil {
		return err
	}
	key, err := listing.Key(id)
	if err != nil {
		return err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		// Who places a VM, or makes a system, holds a namespace; he counts the VM
		// on the cluster afterwards. So the namespaces come first, all of their
		// names in one order, as in UnregisterNamespace.
		here, err := tx.Namespace.Query().Where(namespace.ClusterID(key)).Select(namespace.FieldName).Strings(ctx)
		if err != nil {
			return err
		}
		if _, err := tx.Namespace.Query().Where(namespace.NameIn(here...)).Order(namespace.ByID()).ForUpdate().IDs(ctx); err != nil {
			return err
		}
		row, err := lock(ctx, tx, key)
		if err != nil {
			return err
		}
		if typed != row.Name {
			return apperr.Field("name", apperr.ErrNameMismatch).With("expected", row.Name)
		}
		spaces, err := tx.Namespace.Query().Where(namespace.ClusterID(key)).Order(namespace.ByName()).ForUpdate().All(ctx)
		if err != nil {
			return err
		}
		h, err := holds(ctx, tx.Client(), key, spaces)
		if err != nil {
			return err
		}
		if !h.IsZero() {
			return h.refusal(row.Name)
		}
		for _, n := range spaces {
			if err := tx.Namespace.DeleteOne(n).Exec(ctx); err != nil {
				return fmt.Errorf("unregister namespace: %w", err)
			}
			if err := audit.Write(ctx, tx, actor, namespaceEntry("namespace.unregister", n, nil, row)); err != nil {
				return err
			}
		}
		if err := erase(ctx, tx, row); err != nil {
			return err
		}
		if err := audit.Write(ctx, tx, actor, entry("cluster.delete", row)); err != nil {
			return err
		}
		return notify(ctx, tx, key)
	})
	if err == nil {
		s.forget(id)
	}
	return err
}

func (h Holds) refusal(name string) error {
	e := apperr.New(apperr.ErrClusterHasVMs).With("cluster", name).With("vms", h.VMs).With("orders", h.Orders)
	if len(h.Namespaces) > 0 {
		e = e.With("namespaces", h.Namespaces)
	}
	return e
}

// erase takes from a removed cluster all that could be used, and all that is
// only about its present. The generation ends the watch of it, on every replica.
func erase(ctx context.Context, tx *ent.Tx, row *ent.Cluster) error {
	if _, err := tx.PendingAdoption.Delete().Where(pendingadoption.ClusterID(row.ID)).Exec(ctx); err != nil {
		return err
	}
	if _, err := tx.ClusterReplacement.Delete().Where(clusterreplacement.ClusterID(row.ID)).Exec(ctx); err != nil {
		return err
	}
	if _, err := tx.QuarantineFinding.Delete().Where(quarantinefinding.ClusterID(row.ID)).Exec(ctx); err != nil {
		return err
	}
	return row.Update().SetRemovedAt(time.Now()).SetEnabled(false).SetDrained(true).
		SetEncryptedKubeconfig([]byte{}).AddCredentialGeneration(1).ClearCredentialExpiresAt().ClearCredentialSubject().
		SetStatus(cluster.StatusUNKNOWN).ClearStatusReason().ClearQuarantinedAt().ClearQuarantineReason().
		ClearWatcher().ClearWatchUntil().ClearNextCheckAt().Exec(ctx)
}
