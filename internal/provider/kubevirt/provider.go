// Package kubevirt runs VMs on clusters with KubeVirt and CDI. It is the only
// package that knows the types of Kubernetes and KubeVirt; everything that
// leaves it is of package domain, with foreign text cleaned and cut, or an
// error of internal/pkg/errors.
//
// A cluster is hostile input like any other: see guard.go and client.go for
// what may be connected to and how much may be read.
package kubevirt

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"k8s.io/klog/v2"
	kv "kubevirt.io/api/core/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

var (
	_ provider.KubeVirtProvider = (*Provider)(nil)
	_ provider.Prober           = (*Provider)(nil)
	_ provider.Watcher          = (*Provider)(nil)
)

const (
	callTimeout   = 10 * time.Second // of one request
	createTimeout = 30 * time.Second // of a create with finding out what became of it
	healthTimeout = 5 * time.Second
)

// Provider implements provider.KubeVirtProvider, Prober and Watcher. Console,
// snapshots and clones are declared but answer NOT_IMPLEMENTED, whose kind is
// Unavailable: the page says that it is not there yet.
type Provider struct {
	clients *clients
	log     *slog.Logger
	lists   chan struct{} // slots for complete lists, over all clusters
	relists atomic.Int32  // lists that are, or wait to be, read again
	timing  timing
}

// New makes a provider that gets its credentials from creds.
func New(creds CredentialProvider, opt Options) *Provider {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.UserAgent == "" {
		opt.UserAgent = domain.FieldManager
	}
	return &Provider{
		clients: &clients{
			creds:     creds,
			guard:     guard{opt.AllowCIDRs, opt.DenyCIDRs, opt.DenyAddrs},
			agent:     opt.UserAgent,
			open:      breakFor,
			mayWrite:  opt.MayWrite,
			byCluster: map[string]*client{}, turns: map[string]chan struct{}{},
		},
		log:    opt.Logger,
		lists:  make(chan struct{}, maxLists),
		timing: defaultTiming,
	}
}

// Close ends all connections. Calls after it connect again.
func (p *Provider) Close() { p.clients.close() }

// Forget ends the connections to a cluster that was removed, switched off or
// got another credential. Without it this happens at the next call.
func (p *Provider) Forget(cluster string) { p.clients.forget(cluster) }

// Type says "kubevirt".
func (*Provider) Type() string { return "kubevirt" }

// open gives the client of a cluster and a context for one request.
func (p *Provider) open(ctx context.Context, cluster string, limit time.Duration) (*client, context.Context, context.CancelFunc, error) {
	c, err := p.clients.get(ctx, cluster)
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithTimeout(p.logged(ctx), limit)
	return c, ctx, cancel, nil
}

// logged makes what client-go logs about a request go to our log.
func (p *Provider) logged(ctx context.Context) context.Context {
	return klog.NewContext(ctx, logr.FromSlogHandler(p.log.Handler()))
}

// GetVM reads a VM with its running instance. With a UID in ref, another
// object of the same name is a UID_MISMATCH.
func (p *Provider) GetVM(ctx context.Context, ref provider.Ref) (*domain.VM, error) {
	c, ctx, cancel, err := p.open(ctx, ref.Cluster, callTimeout)
	if err != nil {
		return nil, err
	}
	defer cancel()
	raw, err := c.getVM(ctx, ref)
	if err != nil {
		return nil, err
	}
	vm := fromVM(raw)
	vm.Cluster = ref.Cluster
	if vm.Status.State == domain.StateDataVolumeError {
		vm.Status.Problem.Text = c.diskReason(ctx, vm)
	}
	vmi, err := c.kubevirt.KubevirtV1().VirtualMachineInstances(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return vm, nil
	}
	if err != nil {
		return nil, c.fail(err)
	}
	i := fromVMI(vmi)
	var silent time.Time
	if i.node != "" {
		node, err := c.kube.CoreV1().Nodes().Get(ctx, i.node, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			i.silent = true
		case err != nil:
			return nil, c.fail(err)
		default:
			silent = silence(node)
		}
	}
	i.join(vm, silent)
	return vm, nil
}

// getVM reads the object and compares its UID.
func (c *client) getVM(ctx context.Context, ref provider.Ref) (*kv.VirtualMachine, error) {
	vm, err := c.kubevirt.KubevirtV1().VirtualMachines(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return nil, c.fail(err)
	}
	if ref.UID != "" && string(vm.UID) != ref.UID {
		return nil, apperr.New(apperr.ErrUIDMismatch).With("name", ref.Name)
	}
	return vm, nil
}

// ListVMs reads one page of VMs. What only a running instance knows (address,
// node, guest system, start time) is not in it; GetVM and Watch have it.
func (p *Provider) ListVMs(ctx context.Context, cluster string, opt provider.ListOptions) (*domain.VMList, error) {
	c, ctx, cancel, err := p.open(ctx, cluster, 3*callTimeout)
	if err != nil {
		return nil, err
	}
	defer cancel()
	if opt.Limit <= 0 {
		opt.Limit = pageSize
	}
	page, err := c.kubevirt.KubevirtV1().VirtualMachines(opt.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: opt.Selector, Limit: int64(opt.Limit), Continue: opt.Continue,
	})
	if err != nil {
		return nil, c.fail(err)
	}
	list := &domain.VMList{Continue: page.Continue, ResourceVersion: name(page.ResourceVersion)}
	for i := range page.Items {
		vm := fromVM(&page.Items[i])
		vm.Cluster = cluster
		list.Items = append(list.Items, vm)
	}
	return list, nil
}

// CreateVM posts a VM. When the name is taken, or the answer was lost, the
// operation id on the object says whether it was us.
func (p *Provider) CreateVM(ctx context.Context, cluster string, spec domain.VMSpec) (*domain.VM, bool, error) {
	want, err := render(spec)
	if err != nil {
		return nil, false, err
	}
	c, ctx, cancel, err := p.open(ctx, cluster, createTimeout)
	if err != nil {
		return nil, false, err
	}
	defer cancel()
	api := c.kubevirt.KubevirtV1().VirtualMachines(spec.Namespace)
	post, cancelPost := context.WithTimeout(ctx, callTimeout)
	got, postErr := api.Create(post, want, metav1.CreateOptions{FieldManager: domain.FieldManager})
	cancelPost()
	switch {
	case postErr == nil:
		return created(got, cluster), true, nil
	case !apierrors.IsAlreadyExists(postErr) && !mayHaveHappened(postErr):
		return nil, false, c.fail(postErr)
	}
	got, err = found(ctx, func(ctx context.Context) (*kv.VirtualMachine, error) {
		return api.Get(ctx, spec.Name, metav1.GetOptions{})
	})
	switch {
	case err != nil: // not there, or nobody knows: asking again with the same id is safe
		return nil, false, c.fail(postErr)
	case got.Annotations[domain.AnnotationOperation] != spec.Annotations[domain.AnnotationOperation]:
		return nil, false, apperr.New(apperr.ErrNameCollision).With("name", spec.Name)
	}
	return created(got, cluster), false, nil
}

func created(raw *kv.VirtualMachine, cluster string) *domain.VM {
	vm := fromVM(raw)
	vm.Cluster = cluster
	return vm
}

// found repeats a GET until the cluster answers or the deadline is over.
func found[T any](ctx context.Context, get func(context.Context) (T, error)) (T, error) {
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		try, cancel := context.WithTimeout(ctx, callTimeout)
		got, err := get(try)
		cancel()
		if err == nil || refused(err) {
			return got, err
		}
		select {
		case <-ctx.Done():
			return got, err
		case <-time.After(wait):
		}
	}
}

// UpdateVM applies what we own of the spec to the object with ref's UID. Power
// is not part of it: the object keeps its run strategy, which the power
// operations change. The root disk keeps its name.
func (p *Provider) UpdateVM(ctx context.Context, ref provider.Ref, spec domain.VMSpec) (*domain.VM, error) {
	c, ctx, cancel, err := p.open(ctx, ref.Cluster, callTimeout)
	if err != nil {
		return nil, err
	}
	defer cancel()
	spec.Name, spec.Namespace = ref.Name, ref.Namespace
	var vm *kv.VirtualMachine
	for range 5 {
		// On a conflict the object moved between reading and applying: read again.
		if vm, err = c.update(ctx, ref, spec); !apierrors.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return nil, c.fail(err)
	}
	return created(vm, ref.Cluster), nil
}

func (c *client) update(ctx context.Context, ref provider.Ref, spec domain.VMSpec) (*kv.VirtualMachine, error) {
	api := c.kubevirt.KubevirtV1().VirtualMachines(ref.Namespace)
	live, err := c.getVM(ctx, ref)
	if err != nil {
		return nil, err
	}
	// What we posted belongs to us as an "Update". Moved to "Apply", a field
	// that the new spec no longer has is removed.
	moved, err := csaupgrade.UpgradeManagedFieldsPatch(live, sets.New(domain.FieldManager), domain.FieldManager)
	if err != nil {
		return nil, err
	}
	if moved != nil {
		if live, err = api.Patch(ctx, ref.Name, types.JSONPatchType, moved, metav1.PatchOptions{FieldManager: domain.FieldManager}); err != nil {
			return nil, err
		}
	}
	annotations := map[string]string{}
	for k, v := range spec.Annotations {
		annotations[k] = v
	}
	annotations[domain.AnnotationOperation] = live.Annotations[domain.AnnotationOperation]
	spec.Annotations = annotations
	want, err := render(spec)
	if err != nil {
		return nil, err
	}
	want.UID, want.ResourceVersion = live.UID, live.ResourceVersion
	want.Spec.RunStrategy = live.Spec.RunStrategy
	body, err := applyBody(want)
	if err != nil {
		return nil, err
	}
	force := true // our own fields, on our own object: the UID says so
	return api.Patch(ctx, ref.Name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: domain.FieldManager, Force: &force})
}

// DeleteVM deletes the object with ref's UID, which is required: a delete has
// to know what it deletes. Gone, or another UID, counts as deleted.
func (p *Provider) DeleteVM(ctx context.Context, ref provider.Ref) error {
	if ref.UID == "" {
		return apperr.New(apperr.ErrUIDMismatch).With("name", ref.Name)
	}
	c, ctx, cancel, err := p.open(ctx, ref.Cluster, callTimeout)
	if err != nil {
		return err
	}
	defer cancel()
	uid := types.UID(ref.UID)
	err = c.kubevirt.KubevirtV1().VirtualMachines(ref.Namespace).Delete(ctx, ref.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return c.fail(err)
}

// StartVM switches a VM on. A VM that runs already is a VM_STATE.
func (p *Provider) StartVM(ctx context.Context, ref provider.Ref) error {
	return p.power(ctx, ref, func(ctx context.Context, c *client) error {
		return c.kubevirt.KubevirtV1().VirtualMachines(ref.Namespace).Start(ctx, ref.Name, &kv.StartOptions{})
	})
}

// StopVM switches a VM off, with the guest's usual time to shut down. A VM
// that is off already is a VM_STATE.
func (p *Provider) StopVM(ctx context.Context, ref provider.Ref) error {
	return p.power(ctx, ref, func(ctx context.Context, c *client) error {
		return c.kubevirt.KubevirtV1().VirtualMachines(ref.Namespace).Stop(ctx, ref.Name, &kv.StopOptions{})
	})
}

// RestartVM stops a running VM and starts it again.
func (p *Provider) RestartVM(ctx context.Context, ref provider.Ref) error {
	return p.power(ctx, ref, func(ctx context.Context, c *client) error {
		return c.kubevirt.KubevirtV1().VirtualMachines(ref.Namespace).Restart(ctx, ref.Name, &kv.RestartOptions{})
	})
}

// PauseVM freezes a running VM in memory.
func (p *Provider) PauseVM(ctx context.Context, ref provider.Ref) error {
	return p.power(ctx, ref, func(ctx context.Context, c *client) error {
		return c.kubevirt.KubevirtV1().VirtualMachineInstances(ref.Namespace).Pause(ctx, ref.Name, &kv.PauseOptions{})
	})
}

// UnpauseVM lets a paused VM go on.
func (p *Provider) UnpauseVM(ctx context.Context, ref provider.Ref) error {
	return p.power(ctx, ref, func(ctx context.Context, c *client) error {
		return c.kubevirt.KubevirtV1().VirtualMachineInstances(ref.Namespace).Unpause(ctx, ref.Name, &kv.UnpauseOptions{})
	})
}

// power calls a subresource. Subresources know no precondition, so the UID is
// compared right before.
func (p *Provider) power(ctx context.Context, ref provider.Ref, do func(context.Context, *client) error) error {
	c, ctx, cancel, err := p.open(ctx, ref.Cluster, callTimeout)
	if err != nil {
		return err
	}
	defer cancel()
	if _, err := c.getVM(ctx, ref); err != nil {
		return err
	}
	err = do(ctx, c)
	if apierrors.IsNotFound(err) { // the VM is there, so it is the running instance that is not
		return apperr.New(apperr.ErrVMState).With("text", c.clean(err.Error()))
	}
	return c.fail(err)
}

// EnsureCloudInit makes the Secret with a VM's user data. A Secret of the same
// name with another operation id is a NAME_COLLISION and stays as it is.
func (p *Provider) EnsureCloudInit(ctx context.Context, cluster string, s provider.CloudInit) error {
	if s.OperationID == "" {
		return apperr.Field("operation_id", apperr.ErrRequired)
	}
	c, ctx, cancel, err := p.open(ctx, cluster, callTimeout)
	if err != nil {
		return err
	}
	defer cancel()
	api := c.kube.CoreV1().Secrets(s.Namespace)
	_, err = api.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: s.Name, Namespace: s.Namespace, Labels: s.Labels,
			Annotations: map[string]string{domain.AnnotationOperation: s.OperationID},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"userdata": s.UserData},
	}, metav1.CreateOptions{FieldManager: domain.FieldManager})
	if !apierrors.IsAlreadyExists(err) {
		return c.failQuietly(err)
	}
	// A patch that only tests: the portal has no right to read Secrets.
	test := patch{{"op": "test", "path": "/metadata/annotations/" + escapePointer(domain.AnnotationOperation), "value": s.OperationID}}
	_, err = api.Patch(ctx, s.Name, types.JSONPatchType, test.bytes(), metav1.PatchOptions{FieldManager: domain.FieldManager})
	if apierrors.IsInvalid(err) {
		return apperr.New(apperr.ErrNameCollision).With("name", s.Name)
	}
	return c.failQuietly(err)
}

// AdoptCloudInit makes the VM, whose UID must be known, the owner of its Secret.
func (p *Provider) AdoptCloudInit(ctx context.Context, vm provider.Ref, secret string) error {
	if vm.UID == "" {
		// With a wrong owner the cluster would remove the Secret at once.
		return apperr.New(apperr.ErrUIDMismatch).With("name", vm.Name)
	}
	c, ctx, cancel, err := p.open(ctx, vm.Cluster, callTimeout)
	if err != nil {
		return err
	}
	defer cancel()
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": []metav1.OwnerReference{{
		APIVersion: kv.GroupVersion.String(), Kind: "VirtualMachine", Name: vm.Name, UID: types.UID(vm.UID),
	}}}})
	if err != nil {
		return err
	}
	_, err = c.kube.CoreV1().Secrets(vm.Namespace).Patch(ctx, secret, types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: domain.FieldManager})
	return c.failQuietly(err)
}

// ValidateSpec posts the VM as a dry run: schema, defaults, webhooks and quota
// are the real ones. A refusal is a result; an error means that nobody knows.
func (p *Provider) ValidateSpec(ctx context.Context, cluster string, spec domain.VMSpec) (*domain.ValidationResult, error) {
	want, err := render(spec)
	if err != nil {
		return nil, err
	}
	c, ctx, cancel, err := p.open(ctx, cluster, callTimeout)
	if err != nil {
		return nil, err
	}
	defer cancel()
	_, err = c.kubevirt.KubevirtV1().VirtualMachines(spec.Namespace).Create(ctx, want, metav1.CreateOptions{
		FieldManager: domain.FieldManager, DryRun: []string{metav1.DryRunAll},
	})
	if err == nil {
		return &domain.ValidationResult{Valid: true}, nil
	}
	verdict, _ := apperr.From(c.fail(err))
	switch verdict.Code {
	case apperr.ErrSpecRejected, apperr.ErrQuotaExceeded, apperr.ErrNameCollision, apperr.ErrNamespaceMissing:
		text, _ := verdict.Params["text"].(string)
		return &domain.ValidationResult{Problems: []domain.Problem{{Code: verdict.Code, Text: text}}}, nil
	}
	return nil, verdict
}

// MigrateVM asks for a live migration to another node. What cannot be moved is
// a VM_STATE with the cluster's words.
func (p *Provider) MigrateVM(ctx context.Context, ref provider.Ref) (*domain.Migration, error) {
	c, ctx, cancel, err := p.open(ctx, ref.Cluster, callTimeout)
	if err != nil {
		return nil, err
	}
	defer cancel()
	vm, err := c.getVM(ctx, ref)
	if err != nil {
		return nil, err
	}
	m, err := c.kubevirt.KubevirtV1().VirtualMachineInstanceMigrations(ref.Namespace).Create(ctx, &kv.VirtualMachineInstanceMigration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: domain.ManagedBy + "-", Labels: vm.Labels},
		Spec:       kv.VirtualMachineInstanceMigrationSpec{VMIName: ref.Name},
	}, metav1.CreateOptions{FieldManager: domain.FieldManager})
	if err != nil {
		verdict, _ := apperr.From(c.fail(err))
		if verdict.Code == apperr.ErrSpecRejected {
			return nil, apperr.New(apperr.ErrVMState).With("text", verdict.Params["text"])
		}
		return nil, verdict
	}
	return fromMigration(m), nil
}

// GetVMMigration reads a migration that MigrateVM started.
func (p *Provider) GetVMMigration(ctx context.Context, cluster, namespace, name string) (*domain.Migration, error) {
	c, ctx, cancel, err := p.open(ctx, cluster, callTimeout)
	if err != nil {
		return nil, err
	}
	defer cancel()
	m, err := c.kubevirt.KubevirtV1().VirtualMachineInstanceMigrations(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return nil, c.fail(err)
	}
	return fromMigration(m), nil
}

// ListInstanceTypes lists the cluster-wide instance types, by name.
func (p *Provider) ListInstanceTypes(ctx context.Context, cluster string) ([]*domain.InstanceType, error) {
	c, ctx, cancel, err := p.open(ctx, cluster, callTimeout)
	if err != nil {
		return nil, err
	}
	defer cancel()
	var all []*domain.InstanceType
	err = pages(func(opt metav1.ListOptions) (string, error) {
		page, err := c.kubevirt.InstancetypeV1beta1().VirtualMachineClusterInstancetypes().List(ctx, opt)
		if err != nil {
			return "", err
		}
		for _, t := range page.Items {
			all = append(all, &domain.InstanceType{Name: name(t.Name), CPU: int(t.Spec.CPU.Guest), MemoryMiB: int(t.Spec.Memory.Guest.Value() >> 20)})
		}
		return page.Continue, nil
	})
	return all, c.fail(err)
}

// ListPreferences lists the cluster-wide preferences, by name.
func (p *Provider) ListPreferences(ctx context.Context, cluster string) ([]*domain.Preference, error) {
	c, ctx, cancel, err := p.open(ctx, cluster, callTimeout)
	if err != nil {
		return nil, err
	}
	defer cancel()
	var all []*domain.Preference
	err = pages(func(opt metav1.ListOptions) (string, error) {
		page, err := c.kubevirt.InstancetypeV1beta1().VirtualMachineClusterPreferences().List(ctx, opt)
		if err != nil {
			return "", err
		}
		for _, t := range page.Items {
			all = append(all, &domain.Preference{Name: name(t.Name), DisplayName: clean(t.Annotations["openshift.io/display-name"])})
		}
		return page.Continue, nil
	})
	return all, c.fail(err)
}

// maxPages ends a list that never ends.
const maxPages = 40

// pages reads a list to its end.
func pages(read func(metav1.ListOptions) (next string, err error)) error {
	opt := metav1.ListOptions{Limit: pageSize}
	for range maxPages {
		next, err := read(opt)
		if err != nil || next == "" {
			return err
		}
		opt.Continue = next
	}
	return errResponseTooLarge
}

// diskReason asks CDI why a VM's root disk could not be filled; "" when CDI
// does not say either. The VM itself does not carry the reason.
func (c *client) diskReason(ctx context.Context, vm *domain.VM) string {
	disk, _ := vm.Status.Problem.Params["disk"].(string)
	if disk == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	raw, err := c.kubevirt.KubevirtV1().RESTClient().Get().
		AbsPath("/apis/cdi.kubevirt.io/v1beta1").Namespace(vm.Namespace).Resource("datavolumes").Name(disk).Do(ctx).Raw()
	if err != nil {
		return ""
	}
	var dv struct {
		Status struct {
			Conditions []struct{ Type, Status, Reason, Message string }
		}
	}
	if json.Unmarshal(raw, &dv) != nil {
		return ""
	}
	conditions := dv.Status.Conditions
	// Running says what the copy does; Bound why there is no volume yet.
	for _, t := range []string{"Running", "Bound"} {
		i := slices.IndexFunc(conditions, func(c struct{ Type, Status, Reason, Message string }) bool {
			return c.Type == t && c.Status == "False" && c.Message != ""
		})
		if i >= 0 {
			return c.clean(conditions[i].Message)
		}
	}
	return ""
}

// patch is a JSON patch (RFC 6902).
type patch []map[string]any

func (p patch) bytes() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings: cannot happen
	}
	return b
}

func notImplemented() error { return apperr.New(apperr.ErrNotImplemented) }

// CreateSnapshot answers NOT_IMPLEMENTED (RFC-0013).
func (*Provider) CreateSnapshot(context.Context, provider.Ref, string) (*domain.Snapshot, error) {
	return nil, notImplemented()
}

// GetSnapshot answers NOT_IMPLEMENTED (RFC-0013).
func (*Provider) GetSnapshot(context.Context, string, string, string) (*domain.Snapshot, error) {
	return nil, notImplemented()
}

// ListSnapshots answers NOT_IMPLEMENTED (RFC-0013).
func (*Provider) ListSnapshots(context.Context, provider.Ref) ([]*domain.Snapshot, error) {
	return nil, notImplemented()
}

// DeleteSnapshot answers NOT_IMPLEMENTED (RFC-0013).
func (*Provider) DeleteSnapshot(context.Context, string, string, string) error {
	return notImplemented()
}

// RestoreSnapshot answers NOT_IMPLEMENTED (RFC-0013).
func (*Provider) RestoreSnapshot(context.Context, provider.Ref, string) error {
	return notImplemented()
}

// CloneVM answers NOT_IMPLEMENTED (RFC-0014).
func (*Provider) CloneVM(context.Context, provider.Ref, string) (*domain.Clone, error) {
	return nil, notImplemented()
}

// GetClone answers NOT_IMPLEMENTED (RFC-0014).
func (*Provider) GetClone(context.Context, string, string, string) (*domain.Clone, error) {
	return nil, notImplemented()
}

// OpenConsole answers NOT_IMPLEMENTED (RFC-0011).
func (*Provider) OpenConsole(context.Context, provider.Ref, string) (*domain.ConsoleConnection, error) {
	return nil, notImplemented()
}
