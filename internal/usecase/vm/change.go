package vm

import (
	"context"
	"slices"

	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

func refOf(o *order) provider.Ref {
	return provider.Ref{Cluster: o.vm.ClusterID.String(), Namespace: o.vm.Namespace, Name: o.vm.Name, UID: o.vm.UID}
}

// get reads the order's object.
func (s *Service) get(ctx context.Context, ref provider.Ref) (v *domain.VM, err error) {
	err = call(ctx, func(ctx context.Context) error {
		v, err = s.Provider.GetVM(ctx, ref)
		return err
	})
	return v, err
}

// delete removes the object and comes back until it is gone. An object of the
// same name that is not this VM's is never touched.
func (s *Service) delete(ctx context.Context, o *order) (result, error) {
	ref := refOf(o)
	// By name only: whether what stands there is ours is decided here.
	found, err := s.get(ctx, provider.Ref{Cluster: ref.Cluster, Namespace: ref.Namespace, Name: ref.Name})
	if apperr.CodeOf(err) == apperr.ErrVMNotFound {
		return result{gone: true}, nil
	} else if err != nil {
		return result{}, err
	}
	if ref.UID == "" {
		// The portal never learned of an object. One may exist all the same,
		// when the answer to its creation was lost.
		ours, err := madeBy(ctx, s.DB.Ent, o.pay.VMID, found.OperationID())
		if err != nil {
			return result{}, database.Classify(err)
		}
		if !ours {
			return result{gone: true}, nil
		}
		ref.UID = found.UID
	}
	if found.UID != ref.UID {
		return result{gone: true}, nil
	}
	if !found.Deleting {
		if err := call(ctx, func(ctx context.Context) error { return s.Provider.DeleteVM(ctx, ref) }); err != nil {
			return result{}, err
		}
	}
	wait := waiting{after: pollGone}
	if o.age > slowAfter {
		wait.problem = domain.Problem{Code: domain.ProblemSlow}
	}
	return result{}, wait
}

// power switches the VM on or off. What is already so counts as done, which
// also makes the order repeatable.
func (s *Service) power(ctx context.Context, o *order) error {
	ref := refOf(o)
	act := map[domain.Operation]func(context.Context, provider.Ref) error{
		domain.OpStart: s.Provider.StartVM, domain.OpStop: s.Provider.StopVM, domain.OpRestart: s.Provider.RestartVM,
	}[o.pay.Operation]
	if act == nil || ref.UID == "" {
		return apperr.New(apperr.ErrVMState).With("state", string(o.vm.State))
	}
	err := call(ctx, func(ctx context.Context) error { return act(ctx, ref) })
	if apperr.CodeOf(err) != apperr.ErrVMState {
		return err
	}
	now, getErr := s.get(ctx, ref)
	if getErr != nil {
		return getErr
	}
	if slices.Contains(already[o.pay.Operation], now.Status.State) {
		return nil
	}
	return err
}

// already lists the states in which an operation has nothing left to do.
var already = map[domain.Operation][]domain.VMState{
	domain.OpStart: {domain.StateRunning, domain.StateStarting, domain.StateProvisioning, domain.StateMigrating, domain.StateWaitingForVolumeBinding},
	domain.OpStop:  {domain.StateStopped, domain.StateStopping, domain.StateTerminating},
}
