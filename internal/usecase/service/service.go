// Package service holds the applications of a system, which own the VMs: who
// may make them, what their VMs are called, and when one may go.
package service

import (
	"cmp"
	"context"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/service"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
	systems "kubevirt-shepherd.io/shepherd/internal/usecase/system"
)

// Service holds the rules of services.
type Service struct{ DB *database.DB }

// View is a service as pages show it.
type View struct {
	ID, Name             string
	SystemID, System     string
	Namespace            string
	Environment          domain.Environment
	Documentation        string // Markdown
	CreatedBy            string // user name
	CreatedAt, UpdatedAt time.Time
	NextInstance         int // of the next VM; only rises
	VMs, Bad             int // all VMs, and those that need somebody
}

// NextNames previews the names of the next n VMs.
func (v View) NextNames(n int) []string {
	return domain.NextVMNames(v.System, v.Name, v.NextInstance, n)
}

// view needs the edge to the system.
func view(r *ent.Service) View {
	s := r.Edges.System
	return View{
		ID: r.ID.String(), Name: r.Name, SystemID: s.ID.String(), System: s.Name, Namespace: s.Namespace, Environment: domain.Environment(s.Environment),
		Documentation: r.Documentation, CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
		NextInstance: r.NextInstanceIndex, VMs: r.VMCount, Bad: r.BadCount,
	}
}

// Input is a new service as it was typed.
type Input struct{ SystemID, Name, Documentation string }

// previewed is how many names a preview has.
const previewed = 3

// Create makes a service. Owners and maintainers of the system only. NAME_TAKEN
// when the system has one of the name; VM_NAMES_COLLIDE when another service of
// the namespace gives its VMs the same names; VM_NAME_TOO_LONG when they would
// not fit.
func (s *Service) Create(ctx context.Context, actor domain.Actor, in Input) (id string, err error) {
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		// Held, so that the system is not deleted meanwhile.
		sys, err := operated(actor, in.SystemID, func(key uuid.UUID) (*ent.System, error) {
			return tx.System.Query().Where(system.ID(key)).ForShare().Only(ctx)
		})
		if err != nil {
			return err
		}
		var wrong apperr.List
		if e := checkName(sys.Name, in.Name); e != nil {
			wrong = append(wrong, e)
		}
		if e := systems.CheckDocumentation(in.Documentation); e != nil {
			wrong = append(wrong, e)
		}
		if err := wrong.Err(); err != nil {
			return err
		}
		row, err := tx.Service.Create().SetSystemID(sys.ID).SetName(in.Name).SetNamespace(sys.Namespace).
			SetVMPrefix(domain.VMPrefix(sys.Name, in.Name)).SetDocumentation(in.Documentation).SetCreatedBy(actor.Username).Save(ctx)
		if err != nil {
			return err
		}
		id = row.ID.String()
		return changed(ctx, tx, actor, "service.create", nil, row)
	})
	if database.Violates(err, "service_namespace_vm_prefix") || database.Violates(err, "service_system_id_name") {
		// A second service of one name violates both: what is there says which.
		sys, e := s.DB.Ent.System.Get(ctx, uuid.MustParse(in.SystemID))
		if e != nil {
			return "", database.Classify(e)
		}
		if e := s.free(ctx, sys, in.Name); e != nil {
			return "", e
		}
		return "", collides(sys.Name, in.Name) // it is gone again
	}
	return id, err
}

// PreviewNames says what the first VMs of a service would be called, or why it
// cannot be made: all that Create would find wrong with its name.
func (s *Service) PreviewNames(ctx context.Context, actor domain.Actor, systemID, name string) ([]string, error) {
	sys, err := operated(actor, systemID, func(key uuid.UUID) (*ent.System, error) { return s.DB.Ent.System.Get(ctx, key) })
	if err != nil {
		return nil, database.Classify(err)
	}
	if e := checkName(sys.Name, name); e != nil {
		return nil, e
	}
	if err := s.free(ctx, sys, name); err != nil {
		return nil, err
	}
	return domain.NextVMNames(sys.Name, name, 1, previewed), nil
}

// free says whether a name can be had: NAME_TAKEN or VM_NAMES_COLLIDE if not.
func (s *Service) free(ctx context.Context, sys *ent.System, name string) error {
	other, err := s.DB.Ent.Service.Query().
		Where(service.Namespace(sys.Namespace), service.VMPrefix(domain.VMPrefix(sys.Name, name))).Only(ctx)
	switch {
	case ent.IsNotFound(err):
		return nil
	case err != nil:
		return database.Classify(err)
	case other.SystemID == sys.ID:
		return apperr.Field("name", apperr.ErrNameTaken).With("name", name)
	}
	return collides(sys.Name, name)
}

// collides does not say whose names they are: the actor may not know of it.
func collides(system, name string) error {
	return apperr.Field("name", apperr.ErrNameCollides).With("name", domain.VMName(system, name, 1))
}

func checkName(system, name string) *apperr.AppError {
	switch over := len(domain.VMPrefix(system, name)) - domain.MaxPrefix; {
	case name == "":
		return apperr.Field("name", apperr.ErrRequired)
	case !domain.ValidName(name):
		return apperr.Field("name", apperr.ErrInvalidName)
	case over > 0:
		return apperr.Field("name", apperr.ErrNameTooLong).With("count", over)
	}
	return nil
}

// changed writes the audit row, with what the service was and is, and tells the
// pages.
func changed(ctx context.Context, tx *ent.Tx, actor domain.Actor, action string, was, is *ent.Service) error {
	r := cmp.Or(is, was)
	err := audit.Write(ctx, tx, actor, audit.Entry{
		Action: action, ResourceType: "service", ResourceID: r.ID.String(), ResourceName: r.VMPrefix, SystemID: r.SystemID.String(),
		Before: told(was), After: told(is),
	})
	if err != nil {
		return err
	}
	return database.Notify(ctx, tx, "tree", "service-"+r.ID.String())
}

// told is what the audit log keeps of a service.
func told(r *ent.Service) map[string]any {
	if r == nil {
		return nil
	}
	return map[string]any{"name": r.Name, "documentation": r.Documentation}
}

// operated reads a system in which the actor may make services: NOT_FOUND, or
// FORBIDDEN when he only sees it.
func operated(actor domain.Actor, id string, read func(uuid.UUID) (*ent.System, error)) (*ent.System, error) {
	key, err := listing.Key(id)
	if err != nil {
		return nil, err
	}
	r, err := read(key)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return r, access.Check(actor, domain.ServiceCreate, access.System(r))
}

// Get reads one service; NOT_FOUND when there is none or the actor may not know
// of it.
func (s *Service) Get(ctx context.Context, actor domain.Actor, id string) (View, error) {
	r, err := s.get(ctx, actor, id)
	if err != nil {
		return View{}, err
	}
	return view(r), nil
}

func (s *Service) get(ctx context.Context, actor domain.Actor, id string) (*ent.Service, error) {
	key, err := listing.Key(id)
	if err != nil {
		return nil, err
	}
	r, err := s.DB.Ent.Service.Query().Where(service.ID(key)).WithSystem(lean).Only(ctx)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return nil, database.Classify(err)
	}
	return r, access.Check(actor, domain.ServiceRead, access.Service(r))
}

// lean reads of a system what a service shows of it, not its documentation.
func lean(q *ent.SystemQuery) {
	q.Select(system.FieldID, system.FieldName, system.FieldNamespace, system.FieldEnvironment)
}

// systemKey is the key of a system that the actor sees; NOT_FOUND.
func (s *Service) systemKey(ctx context.Context, actor domain.Actor, id string) (uuid.UUID, error) {
	key, err := listing.Key(id)
	if err != nil {
		return key, err
	}
	there, err := s.DB.Ent.System.Query().Where(system.ID(key), listing.Systems(actor)).Exist(ctx)
	if err == nil && !there {
		err = apperr.New(apperr.ErrNotFound)
	}
	return key, database.Classify(err)
}

// Filter selects services.
type Filter struct {
	SystemID string // "" = of all systems that the actor sees
	Operable bool   // only those that the actor may ask for VMs in
}

// List gives services by name, without documentation. NOT_FOUND when the actor
// may not know of the filter's system.
func (s *Service) List(ctx context.Context, actor domain.Actor, f Filter, page listing.Page) (listing.Of[View], error) {
	var none listing.Of[View]
	name, id, err := page.Name()
	if err != nil {
		return none, err
	}
	q := s.DB.Ent.Service.Query().
		Where(listing.Services(actor), service.Or(service.NameGT(name), service.And(service.Name(name), service.IDGT(id))))
	if f.SystemID != "" {
		key, err := s.systemKey(ctx, actor, f.SystemID)
		if err != nil {
			return none, err
		}
		q.Where(service.SystemID(key))
	}
	if f.Operable {
		q.Where(listing.ServicesFor(actor, domain.VMCreate))
	}
	rows, err := q.WithSystem(lean).Order(service.ByName(), service.ByID()).Limit(page.Size()+1).
		Select(service.FieldID, service.FieldSystemID, service.FieldName, service.FieldCreatedBy, service.FieldCreatedAt, service.FieldUpdatedAt,
			service.FieldNextInstanceIndex, service.FieldVMCount, service.FieldBadCount).All(ctx)
	if err != nil {
		return none, database.Classify(err)
	}
	return listing.Make(page, rows, view, func(r *ent.Service) string { return listing.ByName(r.Name, r.ID) }), nil
}

// UpdateDocumentation replaces the Markdown text. Owners and maintainers only.
func (s *Service) UpdateDocumentation(ctx context.Context, actor domain.Actor, id, text string) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		r, err := locked(ctx, tx, actor, domain.ServiceUpdate, id)
		if err != nil {
			return err
		}
		if e := systems.CheckDocumentation(text); e != nil {
			return e
		}
		now, err := tx.Service.UpdateOne(r).SetDocumentation(text).Save(ctx)
		if err != nil {
			return err
		}
		return changed(ctx, tx, actor, "service.update", r, now)
	})
}

// locked reads a service to which the actor may do the action and holds it:
// NOT_FOUND or FORBIDDEN.
func locked(ctx context.Context, tx *ent.Tx, actor domain.Actor, action domain.Action, id string) (*ent.Service, error) {
	key, err := listing.Key(id)
	if err != nil {
		return nil, err
	}
	r, err := tx.Service.Query().Where(service.ID(key)).WithSystem(lean).ForUpdate().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return r, access.Check(actor, action, access.Service(r))
}

// Delete removes a service that never had a VM. Its name must be typed:
// NAME_MISMATCH. HAS_CHILDREN names the VMs that it has, HAS_PENDING_REQUESTS
// the requests that are still open. HAS_HISTORY when all its VMs are deleted:
// the service keeps the number of its next VM, and a new service of the name
// would give out the old numbers again, which must never happen. Owners and
// maintainers only.
func (s *Service) Delete(ctx context.Context, actor domain.Actor, id, typed string) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		r, err := locked(ctx, tx, actor, domain.ServiceDelete, id)
		if err != nil {
			return err
		}
		if typed != r.Name {
			return apperr.Field("name", apperr.ErrNameMismatch).With("expected", r.Name)
		}
		living := tx.VM.Query().Where(vm.ServiceID(r.ID), vm.DeletedAtIsNil())
		n, err := living.Clone().Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			names, err := living.Order(vm.ByInstance()).Limit(systems.ShownChildren).Select(vm.FieldName).Strings(ctx)
			if err != nil {
				return err
			}
			return systems.HasChildren(r.Name, names, n)
		}
		if err := systems.NothingPending(ctx, tx, r.Name, approvalticket.ServiceID(r.ID)); err != nil {
			return err
		}
		// The number says it also where the rows of the VMs were archived.
		if r.NextInstanceIndex > 1 {
			return apperr.New(apperr.ErrHasHistory).With("name", r.Name)
		}
		if err := tx.Service.DeleteOne(r).Exec(ctx); err != nil {
			return err
		}
		return changed(ctx, tx, actor, "service.delete", r, nil)
	})
}
