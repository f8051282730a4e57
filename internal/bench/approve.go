package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/demo"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/testbed"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
)

// Where the bench makes its VMs, and what they are called.
const (
	benchNamespace = "platform-test"
	benchSystem    = "bench"
	benchService   = "app"
)

var (
	vmResource     = schema.GroupVersionResource{Group: "kubevirt.io", Version: "v1", Resource: "virtualmachines"}
	secretResource = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

// approveGoal is how much the portal may add to a raw create, at p50.
const approveGoal = 15 * time.Millisecond

// Approve measures the time from an approver's yes until the VM object is in
// the cluster, on a testbed, beside a loop that creates a Secret and a VM of
// the same shape with a plain client. The two take turns.
func Approve(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench approve", flag.ContinueOnError)
	n := flags.Int("n", 50, "VMs of each kind")
	bin := flags.String("testbed", cmp.Or(os.Getenv("SHEPHERD_TESTBED"), filepath.Join("testbed", "bin")), "directory of the testbed's binaries")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(*bin, "testbed")); err != nil {
		return fmt.Errorf("no testbed in %s: run `make testbed`, or name its directory with -testbed", *bin)
	}
	a, dir, done, err := scratch(ctx)
	if err != nil {
		return err
	}
	defer done()
	fmt.Println("Starting a KubeVirt control plane.")
	tb, err := testbed.Start(ctx, testbed.Options{Dir: *bin, State: filepath.Join(dir, "testbed"), Name: "bench"})
	if err != nil {
		return err
	}
	defer tb.Stop()

	work, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(work) }()
	defer func() { stop(); <-ended }()
	cluster, err := demo.Connect(ctx, a, *bin, tb, "here", domain.Test)
	if err != nil {
		return err
	}
	if err := cast.Places(ctx, a, cluster, domain.Test); err != nil {
		return err
	}
	ask, err := newAsker(ctx, a, cluster)
	if err != nil {
		return err
	}
	raw, err := newRaw(ctx, tb.Kubeconfig)
	if err != nil {
		return err
	}

	var portal, decided, floor sample
	for i := range *n + 1 {
		took, yes, err := ask.one(ctx, i, raw)
		if err != nil {
			return err
		}
		bare, err := raw.one(ctx, i, ask.name(i))
		if err != nil {
			return err
		}
		if i > 0 { // the first of each opens connections
			portal, decided, floor = append(portal, took), append(decided, yes), append(floor, bare)
		}
	}
	over := portal.at(0.5) - floor.at(0.5)
	fmt.Printf("approve -> VM object     %s\n  until the decision     %s\nraw Secret + VM create   %s\nportal - raw at p50      %.3f ms; goal %s: %s\n",
		portal, decided, floor, ms(over), approveGoal, verdict(over <= approveGoal))
	return nil
}

// asker is a developer and an approver.
type asker struct {
	app            *app.App
	dev, boss      domain.Actor
	service        string
	template, size string
	cluster        string
}

func newAsker(ctx context.Context, a *app.App, cluster string) (k asker, err error) {
	k.app, k.cluster = a, cluster
	if k.dev, err = cast.Actor(ctx, a, cast.Developer); err != nil {
		return k, err
	}
	if k.boss, err = cast.Actor(ctx, a, cast.Approver); err != nil {
		return k, err
	}
	sys, err := a.Systems.Create(ctx, k.dev, system.Input{Name: benchSystem, Namespace: benchNamespace})
	if err != nil {
		return k, err
	}
	if k.dev, err = cast.Actor(ctx, a, cast.Developer); err != nil { // owns the system now
		return k, err
	}
	if k.service, err = a.Services.Create(ctx, k.dev, service.Input{SystemID: sys, Name: benchService}); err != nil {
		return k, err
	}
	o, err := a.Approval.Options(ctx, k.dev)
	if err != nil {
		return k, err
	}
	k.template, k.size = o.Templates[0].ID, o.Sizes[0].ID
	return k, nil
}

// name is what the i-th VM is called, from 0.
func (k asker) name(i int) string { return fmt.Sprintf("%s-%s-%02d", benchSystem, benchService, i+1) }

// one asks for a VM, which is not measured, and approves it. decided is the
// part of took until the decision was committed.
func (k asker) one(ctx context.Context, i int, seen *raw) (took, decided time.Duration, err error) {
	number, err := k.app.Approval.SubmitCreate(ctx, k.dev, approval.Input{
		ServiceID: k.service, TemplateID: k.template, SizeID: k.size, Count: 1, DiskGiB: 20,
		SSHKeys: []string{cast.PublicKey}, Reason: "To measure how long a VM takes.",
	})
	if err != nil {
		return 0, 0, err
	}
	t, err := k.app.Approval.Ticket(ctx, k.boss, number)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := k.app.Approval.Decide(ctx, k.boss, number, t.Unchanged(k.cluster)); err != nil {
		return 0, 0, err
	}
	decided = time.Since(start)
	at, err := seen.arrival(ctx, k.name(i))
	return at.Sub(start), decided, err
}

// raw is a plain client that creates objects and sees all of them arrive.
type raw struct {
	client dynamic.Interface

	mu       sync.Mutex
	arrivals map[string]time.Time
	changed  chan struct{} // closed at every arrival, and made anew
}

func newRaw(ctx context.Context, kubeconfig string) (*raw, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 1000, 1000
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	w, err := client.Resource(vmResource).Namespace(benchNamespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	r := &raw{client: client, arrivals: map[string]time.Time{}, changed: make(chan struct{})}
	go r.follow(w)
	return r, nil
}

func (r *raw) follow(w watch.Interface) {
	for e := range w.ResultChan() {
		o, ok := e.Object.(*unstructured.Unstructured)
		if !ok || e.Type != watch.Added {
			continue
		}
		r.mu.Lock()
		r.arrivals[o.GetName()] = time.Now()
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
	}
}

// arrival is when a VM object was seen. It waits for a minute.
func (r *raw) arrival(ctx context.Context, name string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		r.mu.Lock()
		at, ok := r.arrivals[name]
		changed := r.changed
		r.mu.Unlock()
		if ok {
			return at, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("waiting for %s: %w", name, ctx.Err())
		}
	}
}

// one creates a copy of the Secret and the VM called like.
func (r *raw) one(ctx context.Context, i int, like string) (time.Duration, error) {
	vms, secrets := r.client.Resource(vmResource).Namespace(benchNamespace), r.client.Resource(secretResource).Namespace(benchNamespace)
	vm, err := vms.Get(ctx, like, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	secretName, err := cloudInitSecret(vm)
	if err != nil {
		return 0, err
	}
	secret, err := secrets.Get(ctx, secretName, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	name := fmt.Sprintf("raw-%d", i)
	rename := strings.NewReplacer(secretName, name+"-init", like, name)
	if vm, err = fresh(vm, rename); err != nil {
		return 0, err
	}
	if secret, err = fresh(secret, rename); err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := secrets.Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return 0, err
	}
	if _, err := vms.Create(ctx, vm, metav1.CreateOptions{}); err != nil {
		return 0, err
	}
	at, err := r.arrival(ctx, name)
	return at.Sub(start), err
}

// fresh is a copy of an object under other names, as it was before it was made.
func fresh(o *unstructured.Unstructured, rename *strings.Replacer) (*unstructured.Unstructured, error) {
	c := o.DeepCopy()
	unstructured.RemoveNestedField(c.Object, "status")
	c.Object["metadata"] = map[string]any{"name": o.GetName(), "namespace": o.GetNamespace()}
	c.SetLabels(o.GetLabels())
	b, err := json.Marshal(c.Object)
	if err != nil {
		return nil, err
	}
	c.Object = nil
	return c, json.Unmarshal([]byte(rename.Replace(string(b))), &c.Object)
}

func cloudInitSecret(vm *unstructured.Unstructured) (string, error) {
	volumes, _, err := unstructured.NestedSlice(vm.Object, "spec", "template", "spec", "volumes")
	if err != nil {
		return "", err
	}
	for _, v := range volumes {
		if m, ok := v.(map[string]any); ok {
			if name, ok, _ := unstructured.NestedString(m, "cloudInitNoCloud", "secretRef", "name"); ok {
				return name, nil
			}
		}
	}
	return "", errors.New("the VM has no first-boot Secret")
}
