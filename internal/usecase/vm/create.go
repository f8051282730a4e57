package vm

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

// create makes the objects of one VM: the Secret with its first-boot data, the
// VM, and the tie between them. Each step finds what an earlier run has made
// by the operation id, which is the id of the order.
func (s *Service) create(ctx context.Context, o *order) (result, error) {
	spec, err := approved(o)
	if err != nil {
		return result{}, err
	}
	if o.vm.State == entvm.StateMissing {
		// Its object was there and is gone: nobody has asked for another one.
		return result{}, apperr.New(apperr.ErrVMNotFound)
	}
	if o.cluster.Drained {
		return result{}, waiting{problem: domain.Problem{Code: apperr.ErrClusterDrained, Params: map[string]any{"cluster": o.cluster.Name}}}
	}
	want, secret, err := s.render(ctx, o, spec)
	if err != nil {
		return result{}, err
	}
	cluster := o.vm.ClusterID.String()
	ref := provider.Ref{Cluster: cluster, Namespace: o.vm.Namespace, Name: o.vm.Name, UID: o.vm.UID}

	var made *domain.VM
	if o.event.Step == domainevent.StepCREATED && o.vm.UID != "" {
		// An earlier run got this far. Asking again would make a second object
		// if somebody has deleted the first.
		made = &domain.VM{UID: o.vm.UID, ResourceVersion: o.vm.ResourceVersion}
	} else {
		if secret != nil {
			if err := call(ctx, func(ctx context.Context) error { return s.Provider.EnsureCloudInit(ctx, cluster, *secret) }); err != nil {
				return result{}, err
			}
		}
		failpoint("before-create")
		if err := call(ctx, func(ctx context.Context) (err error) {
			made, _, err = s.Provider.CreateVM(ctx, cluster, want)
			return err
		}); err != nil {
			return result{}, err
		}
		failpoint("after-post")
		if secret == nil {
			return result{made: made}, nil // one write says it all, see complete
		}
		if err := s.created(ctx, o, made); err != nil {
			return result{}, err
		}
	}
	if secret != nil {
		ref.UID = made.UID
		if err := call(ctx, func(ctx context.Context) error { return s.Provider.AdoptCloudInit(ctx, ref, secret.Name) }); err != nil {
			return result{}, err
		}
	}
	return result{made: made}, nil
}

// call gives one remote call its deadline.
func call(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callFor)
	defer cancel()
	return fn(ctx)
}

// approved is the specification that was approved, and nothing else: the hash
// of what stands in the request now must be the one that was signed.
func approved(o *order) (domain.EffectiveSpec, error) {
	mismatch := apperr.New(apperr.ErrSpecHashMismatch)
	if o.ticket == nil {
		return domain.EffectiveSpec{}, mismatch
	}
	var p domain.CreatePayload
	if err := json.Unmarshal(o.ticket.Edges.Event.Payload, &p); err != nil {
		return domain.EffectiveSpec{}, mismatch.Because(err)
	}
	spec := domain.GetEffectiveSpec(p, o.ticket.ModifiedSpec)
	if hash := spec.Hash(o.vm.ClusterID.String()); hash != o.pay.SpecHash || hash != o.ticket.SpecHash {
		return domain.EffectiveSpec{}, mismatch
	}
	return spec, nil
}

// render turns the approved specification into what the provider makes.
func (s *Service) render(ctx context.Context, o *order, spec domain.EffectiveSpec) (domain.VMSpec, *provider.CloudInit, error) {
	t, err := s.template(ctx, spec)
	if err != nil {
		return domain.VMSpec{}, nil, err
	}
	op := o.event.ID.String()
	want := vmSpec(spec, t, o.vm.Name)
	want.Labels = domain.VMLabels(spec.System, spec.Service, o.pay.Instance, o.ticket.ID)
	want.Annotations = map[string]string{
		domain.AnnotationOperation: op, domain.AnnotationSpecHash: o.pay.SpecHash, domain.AnnotationOwner: o.vm.CreatedBy,
	}
	var base domain.Secret
	if s.CloudInit != nil {
		if base, err = s.CloudInit(ctx, spec.Spec.TemplateID); err != nil {
			return domain.VMSpec{}, nil, err
		}
	}
	data, err := cloudConfig(base, spec.SSHKeys)
	if err != nil || data == nil {
		return want, nil, err
	}
	// A UUIDv7 begins with the time; its end is what tells two apart.
	want.CloudInitName = fmt.Sprintf("%s-ci-%s", o.vm.Name, op[len(op)-8:])
	return want, &provider.CloudInit{
		Namespace: want.Namespace, Name: want.CloudInitName, OperationID: op, Labels: want.Labels, UserData: data,
	}, nil
}

func (s *Service) template(ctx context.Context, spec domain.EffectiveSpec) (*ent.Template, error) {
	id, err := uuid.Parse(spec.Spec.TemplateID)
	if err != nil {
		return nil, apperr.New(apperr.ErrNotFound).With("template", spec.Spec.Template)
	}
	t, err := s.DB.Ent.Template.Get(ctx, id)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound).With("template", spec.Spec.Template)
	}
	return t, err
}

// vmSpec is what every VM of a specification has in common.
func vmSpec(spec domain.EffectiveSpec, t *ent.Template, name string) domain.VMSpec {
	return domain.VMSpec{
		Name: name, Namespace: spec.Namespace, CPU: spec.Spec.CPU, MemoryMiB: spec.Spec.MemoryMiB, DiskGiB: spec.Spec.DiskGiB,
		Image: t.Image, StorageClass: spec.Spec.StorageClass, Preference: t.Preference, Running: true,
	}
}

// Try asks a cluster whether it would take the VM with a number, as it would be
// made of a specification; nothing is made, and no first-boot data leaves the
// portal. An error means that nobody knows.
func (s *Service) Try(ctx context.Context, cluster string, spec domain.EffectiveSpec, instance int) (*domain.ValidationResult, error) {
	t, err := s.template(ctx, spec)
	if err != nil {
		return nil, err
	}
	want := vmSpec(spec, t, domain.VMName(spec.System, spec.Service, instance))
	want.Labels = domain.VMLabels(spec.System, spec.Service, instance, 0)
	if len(t.SealedCloudInit) > 0 || len(spec.SSHKeys) > 0 {
		want.CloudInitName = want.Name + "-ci-trial"
	}
	return s.Provider.ValidateSpec(ctx, cluster, want)
}

// created remembers that the object exists before the next step begins.
func (s *Service) created(ctx context.Context, o *order, v *domain.VM) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		if err := held(ctx, tx, o, func(u *ent.DomainEventUpdate) { u.SetStep(domainevent.StepCREATED) }); err != nil {
			return err
		}
		row, err := tx.VM.Query().Where(entvm.ID(o.vm.ID)).ForUpdate().Only(ctx)
		if err != nil {
			return err
		}
		return row.Update().SetUID(v.UID).Exec(ctx)
	})
}
