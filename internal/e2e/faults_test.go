//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	entvm "kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/clusterstub"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/demo"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// What the portal promises while a cluster is broken, and after.
const (
	marked     = 90 * time.Second  // until its status says so
	elsewhere  = 20 * time.Second  // for an order to another cluster
	healed     = 90 * time.Second  // until everything is as in the cluster
	silenceEnd = 240 * time.Second // the same, of a watch that died without a word
	slowPage   = 2 * time.Second   // no page takes longer, with a dozen portals on one machine
)

// fault is one thing that can happen to a cluster.
type fault struct {
	name   string
	breaks func(t *testing.T, r *trial) (heal func())
	status domain.ClusterStatus // that it gets; "" = stays healthy
	codes  []string             // one of them is the reason
	heals  time.Duration        // 0 = healed
	lasts  time.Duration        // how long it lasts at least
	relist int                  // pages of lists that are asked for at most while it lasts and after
}

// The faults of bytes are toxiproxy's; those of HTTP and certificates are the
// front's. Both stand before the test bed.
var faults = []fault{
	{name: "down", status: domain.ClusterUnreachable, codes: []string{apperr.ErrClusterRefused}, relist: 12,
		breaks: func(t *testing.T, r *trial) func() {
			r.front.unplug()
			return func() { r.front.plug(t) }
		}},
	{name: "blackhole", status: domain.ClusterUnreachable, codes: []string{apperr.ErrClusterTimeout}, relist: 12,
		breaks: func(t *testing.T, r *trial) func() {
			up := r.front.toxic(t, "timeout", "upstream", map[string]any{"timeout": 0})
			down := r.front.toxic(t, "timeout", "downstream", map[string]any{"timeout": 0})
			return func() {
				up()
				down()
				r.front.cut(t) // what waits in the hole never comes
			}
		}},
	{name: "slow", lasts: 50 * time.Second, relist: 12, // slow is not dead: nothing is marked
		breaks: func(t *testing.T, r *trial) func() {
			latency := r.front.toxic(t, "latency", "downstream", map[string]any{"latency": 400, "jitter": 100})
			bandwidth := r.front.toxic(t, "bandwidth", "downstream", map[string]any{"rate": 64})
			return func() { latency(); bandwidth() }
		}},
	{name: "flapping", lasts: 40 * time.Second, relist: 20,
		breaks: func(t *testing.T, r *trial) func() {
			stop, ended := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				for {
					r.front.unplug()
					for range 2 {
						select {
						case <-stop:
							r.front.plug(t)
							return
						case <-time.After(time.Second):
						}
					}
					r.front.plug(t)
					select {
					case <-stop:
						return
					case <-time.After(3 * time.Second):
					}
				}
			}()
			return func() { close(stop); <-ended }
		}},
	{name: "reset", status: domain.ClusterUnreachable, codes: []string{apperr.ErrClusterUnreachable}, relist: 12,
		breaks: func(t *testing.T, r *trial) func() {
			remove := r.front.toxic(t, "reset_peer", "downstream", map[string]any{"timeout": 0})
			r.front.cut(t)
			return func() { remove(); r.front.cut(t) }
		}},
	{name: "cutanswers", status: domain.ClusterUnreachable, codes: []string{apperr.ErrClusterUnreachable, apperr.ErrClusterTimeout, apperr.ErrNotKubernetes}, relist: 20,
		breaks: func(t *testing.T, r *trial) func() {
			// The handshake and the first small answer fit.
			remove := r.front.toxic(t, "limit_data", "downstream", map[string]any{"bytes": 1600})
			r.front.cut(t)
			return func() { remove(); r.front.cut(t) }
		}},
	{name: "toomany", status: domain.ClusterUnhealthy, codes: []string{apperr.ErrClusterDegraded}, relist: 12,
		breaks: func(t *testing.T, r *trial) func() {
			return r.front.refusing(t, func(*http.Request) (int, string) { return http.StatusTooManyRequests, "TooManyRequests" })
		}},
	{name: "unauthorized", status: domain.ClusterUnhealthy, codes: []string{apperr.ErrClusterUnauthorized}, relist: 12,
		breaks: func(t *testing.T, r *trial) func() {
			revoked := "Bearer " + r.token
			r.front.refusing(t, func(q *http.Request) (int, string) {
				if q.Header.Get("Authorization") == revoked {
					return http.StatusUnauthorized, "Unauthorized"
				}
				return 0, ""
			})
			return func() { // the cluster stays as it is: an administrator gives the portal another credential
				r.token = kubectl(t, planes.east, "create", "token", "shepherd", "-n", "shepherd-system", "--duration", "8000h")
				r.replace(t)
			}
		}},
	{name: "rotatedca", status: domain.ClusterUnreachable, codes: []string{apperr.ErrClusterTLS}, relist: 12,
		breaks: func(t *testing.T, r *trial) func() {
			r.front.rotate(t)
			r.front.cut(t)
			return func() { r.replace(t) }
		}},
	{name: "gone", lasts: 20 * time.Second, relist: 60, // a list for each refused watch, with pauses that grow
		breaks: func(t *testing.T, r *trial) func() {
			r.front.set(func() { r.front.forgot = true })
			r.front.cut(t)
			return func() { r.front.set(func() { r.front.forgot = false }) }
		}},
	{name: "silent", lasts: 10 * time.Second, heals: silenceEnd, relist: 12,
		breaks: func(t *testing.T, r *trial) func() {
			r.front.set(func() { r.front.silent = true })
			return func() { r.front.set(func() { r.front.silent = false }) }
		}},
}

// refusing answers instead of the cluster, and ends open watches.
func (f *front) refusing(t *testing.T, refuse func(*http.Request) (int, string)) (heal func()) {
	t.Helper()
	f.set(func() { f.refuse = refuse })
	f.cut(t)
	return func() { f.set(func() { f.refuse = nil }) }
}

// TestFaults lets every fault happen to the test bed, each with a portal of its
// own and at the same time, since most of it is waiting.
func TestFaults(t *testing.T) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, f := range faults {
		wg.Go(func() { t.Run(f.name, func(t *testing.T) { f.run(t) }) })
	}
}

func (f fault) run(t *testing.T) {
	r := newTrial(t, f.name)
	stopped, patched := r.vms[0], r.vms[1]
	lists, _, dials := r.front.counts()

	heal := f.breaks(t, r)
	began := time.Now()
	if f.status == "" {
		// Nothing may be marked as long as it lasts; an order gets through.
		r.power(t, stopped, domain.OpStop)
		kubectl(t, planes.east, "patch", "virtualmachines.kubevirt.io", "-n", patched.Namespace, patched.Name, "--type=merge", "-p", `{"spec":{"runStrategy":"Halted"}}`)
		for time.Since(began) < f.lasts {
			if c := r.cluster(t); string(c.Status) == string(domain.ClusterUnreachable) && f.name != "flapping" {
				t.Errorf("after %v it is %s: %+v", time.Since(began), c.Status, c.StatusReason)
				break
			}
			r.pages(t)
			time.Sleep(500 * time.Millisecond)
		}
	} else {
		eventually(t, marked, "the status "+string(f.status), func() bool { return string(r.cluster(t).Status) == string(f.status) })
		if got := r.cluster(t).StatusReason.Code; !slices.Contains(f.codes, got) {
			t.Errorf("the reason is %s, want one of %v", got, f.codes)
		}
		t.Logf("marked after %v", time.Since(began).Round(time.Second))
		// What was last known is shown, and how old it is.
		if page := r.page(t, paths.Service(stopped.ServiceID.String())); !strings.Contains(page, stopped.Name) || !strings.Contains(page, "Running") {
			t.Error("the service does not show what was last known of its VMs")
		}
		r.pages(t)
		r.power(t, stopped, domain.OpStop)
		kubectl(t, planes.east, "patch", "virtualmachines.kubevirt.io", "-n", patched.Namespace, patched.Name, "--type=merge", "-p", `{"spec":{"runStrategy":"Halted"}}`)
	}
	// Another cluster does not notice.
	at := time.Now()
	r.power(t, r.stub, domain.OpStop)
	eventually(t, elsewhere, "an order to another cluster is done", func() bool { return r.order(t, r.stub).Status == domainevent.StatusCOMPLETED })
	eventually(t, elsewhere, "the other cluster's watch goes on", func() bool { return r.row(t, r.stub).State == entvm.StateStopped })
	t.Logf("another cluster's order took %v", time.Since(at).Round(100*time.Millisecond))
	if f.status != "" {
		time.Sleep(8 * time.Second)
		if o := r.order(t, stopped); o.Status.String() != "PENDING" && o.Status.String() != "PROCESSING" || o.Attempts > 1 {
			t.Errorf("the order is %s after %d attempts: %+v", o.Status, o.Attempts, o.Problem)
		}
		if got := r.order(t, stopped).Problem.Code; !slices.Contains(f.codes, got) {
			t.Errorf("the order waits because of %q, want one of %v", got, f.codes)
		}
		r.pages(t)
	}
	_, _, now := r.front.counts()
	lasted := time.Since(began)
	if most := 20 + int(2*lasted.Seconds()); now-dials > most {
		t.Errorf("%d connections in %v, want at most %d", now-dials, lasted, most)
	}
	t.Logf("%d connections in %v", now-dials, lasted.Round(time.Second))

	heal()
	began = time.Now()
	limit := f.heals
	if limit == 0 {
		limit = healed
	}
	eventually(t, limit, "everything is as in the cluster", func() bool {
		return string(r.cluster(t).Status) == string(domain.ClusterHealthy) && r.order(t, stopped).Status == domainevent.StatusCOMPLETED &&
			r.row(t, stopped).State == entvm.StateStopped && r.row(t, patched).State == entvm.StateStopped && r.difference(t) == ""
	})
	t.Logf("healed after %v", time.Since(began).Round(100*time.Millisecond))
	asked, _, _ := r.front.counts()
	t.Logf("%d pages of lists", asked-lists)
	if asked-lists > f.relist {
		t.Errorf("%d pages of lists were asked for, want at most %d", asked-lists, f.relist)
	}
	if o := r.order(t, stopped); o.NeedsAttention {
		t.Error("a person is called for an order that is done")
	}
}

// An order whose answer is lost makes one object.
func TestLostAnswer(t *testing.T) {
	r := newTrial(t, "lost")
	n := 0
	r.front.set(func() {
		r.front.lose = func(q *http.Request) bool {
			made := q.Method == http.MethodPost && strings.HasSuffix(q.URL.Path, "/virtualmachines") && q.URL.Query().Get("dryRun") == ""
			if made {
				n++
			}
			return made && n <= 2
		}
	})
	r.ask(t, r.clusterID, 1)
	eventually(t, 60*time.Second, "the VM is there", func() bool { return len(objects(t, planes.east, "platform-test", r.service)) == 3 })
	eventually(t, 60*time.Second, "its order is done", func() bool {
		open, err := r.app.DB.Ent.DomainEvent.Query().Where(domainevent.TypeEQ(domainevent.TypeVM_CREATE), domainevent.StatusNEQ(domainevent.StatusCOMPLETED)).Count(t.Context())
		return err == nil && open == 0
	})
	if got := objects(t, planes.east, "platform-test", r.service); len(got) != 3 || n == 0 {
		t.Errorf("%d objects, want 3; %d answers were lost", len(got), n)
	}
}

// trial is a portal with the test bed behind a front, and a stub beside it.
type trial struct {
	app                *app.App
	url                string
	client             *http.Client
	front              *front
	name, token        string
	clusterID, stubID  string
	admin, dev, boss   domain.Actor
	serviceID, service string
	template, size     string
	vms                []*ent.VM // on the test bed
	stub               *ent.VM   // on the stub
}

var tokenOf = regexp.MustCompile(`token: ([^}\s]+)}`)

// theToken is the one of the portal's service account.
var theToken = sync.OnceValues(func() (string, error) {
	b, err := demo.Kubeconfig(context.Background(), planes.bin, planes.east, domain.Test)
	if err != nil {
		return "", err
	}
	m := tokenOf.FindSubmatch(b)
	if m == nil {
		return "", fmt.Errorf("no token in the kubeconfig")
	}
	return string(m[1]), nil
})

func newTrial(t *testing.T, name string) *trial {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	token, err := theToken()
	must(err)
	r := &trial{front: newFront(t, planes.east), name: name, token: token, service: "app"}
	stub, err := clusterstub.Start(clusterstub.Options{Name: "stub-" + name, Namespaces: cast.Namespaces(domain.Test), System: "x", Service: "x"})
	must(err)
	t.Cleanup(stub.Close)

	r.app, err = app.New(ctx, app.Config{
		DatabaseURL: domain.Secret(databasetest.URL(t)), KEK: domain.Secret(crypto.Generate()), Addr: "127.0.0.1:0", Workers: 4, Version: "test",
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	must(err)
	listening := make(chan net.Addr, 1)
	r.app.Listening = func(a net.Addr) { listening <- a }
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	must(cast.People(ctx, r.app))
	go func() { ended <- r.app.Run(work) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		r.app.Close()
	})
	r.url = "http://" + (<-listening).String()

	r.admin, err = cast.Actor(ctx, r.app, cast.Admin)
	must(err)
	r.clusterID, err = r.app.Clusters.AddDirect(ctx, r.admin, "east", domain.Test, "", r.kubeconfig())
	must(err)
	r.stubID, err = r.app.Clusters.AddDirect(ctx, r.admin, "stub", domain.Test, "", stub.Kubeconfig())
	must(err)
	for _, id := range []string{r.clusterID, r.stubID} {
		must(cast.Places(ctx, r.app, id, domain.Test))
	}
	r.dev, err = cast.Actor(ctx, r.app, cast.Developer)
	must(err)
	r.boss, err = cast.Actor(ctx, r.app, cast.Approver)
	must(err)
	systemID, err := r.app.Systems.Create(ctx, r.dev, system.Input{Name: name, Namespace: "platform-test"})
	must(err)
	r.dev, err = cast.Actor(ctx, r.app, cast.Developer) // owns the system now
	must(err)
	r.serviceID, err = r.app.Services.Create(ctx, r.dev, service.Input{SystemID: systemID, Name: name})
	must(err)
	r.service = name
	o, err := r.app.Approval.Options(ctx, r.dev)
	must(err)
	for _, x := range o.Templates {
		if x.Name == "fedora-41" {
			r.template = x.ID
		}
	}
	r.size = o.Sizes[0].ID

	r.ask(t, r.clusterID, 2)
	r.ask(t, r.stubID, 1)
	eventually(t, 120*time.Second, "the VMs run", func() bool {
		rows, err := r.app.DB.Ent.VM.Query().Where(entvm.StateEQ(entvm.StateRunning)).Order(entvm.ByName()).All(ctx)
		must(err)
		if len(rows) != 3 {
			return false
		}
		for _, row := range rows {
			if row.ClusterID.String() == r.stubID {
				r.stub = row
			} else {
				r.vms = append(r.vms, row)
			}
		}
		return true
	})
	jar, err := cookiejar.New(nil)
	must(err)
	r.client = &http.Client{Jar: jar, Timeout: 30 * time.Second}
	res, err := r.client.PostForm(r.url+paths.Login, url.Values{"username": {cast.Admin.Username}, "password": {cast.Admin.Password}})
	must(err)
	_ = res.Body.Close()
	return r
}

func (r *trial) kubeconfig() []byte {
	r.front.mu.Lock()
	defer r.front.mu.Unlock()
	return clusterstub.Kubeconfig("east", "https://"+r.front.lines.Listen, r.front.ca, r.token)
}

// replace gives the portal the credential that is good now, as an administrator
// would.
func (r *trial) replace(t *testing.T) {
	t.Helper()
	draft, err := r.app.Clusters.ReadUpload(t.Context(), r.admin, "east", r.kubeconfig())
	if err == nil {
		err = r.app.Clusters.ReplaceCredential(t.Context(), r.admin, r.clusterID, draft, "east")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ask has VMs made on a cluster.
func (r *trial) ask(t *testing.T, cluster string, count int) {
	t.Helper()
	number, err := r.app.Approval.SubmitCreate(t.Context(), r.dev, approval.Input{
		ServiceID: r.serviceID, TemplateID: r.template, SizeID: r.size, Count: count, DiskGiB: 20, SSHKeys: []string{cast.PublicKey}, Reason: "To see what becomes of them when a cluster breaks.",
	})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := r.app.Approval.Ticket(t.Context(), r.boss, number)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.app.Approval.Decide(t.Context(), r.boss, number, asked.Unchanged(cluster)); err != nil {
		t.Fatal(err)
	}
}

// power orders what needs no approval in test.
func (r *trial) power(t *testing.T, m *ent.VM, op domain.Operation) {
	t.Helper()
	if res, err := r.app.Approval.SubmitPower(t.Context(), r.dev, m.ID.String(), op, "To see what becomes of the order."); err != nil || !res.Ordered {
		t.Fatalf("%s %s: %+v, %v", op, m.Name, res, err)
	}
}

func (r *trial) cluster(t *testing.T) *ent.Cluster {
	t.Helper()
	c, err := r.app.DB.Ent.Cluster.Get(t.Context(), uuid.MustParse(r.clusterID))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (r *trial) row(t *testing.T, m *ent.VM) *ent.VM {
	t.Helper()
	row, err := r.app.DB.Ent.VM.Get(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// order is the power order about a VM.
func (r *trial) order(t *testing.T, m *ent.VM) *ent.DomainEvent {
	t.Helper()
	e, err := r.app.DB.Ent.DomainEvent.Query().Where(domainevent.AggregateID(m.ID.String()), domainevent.TypeEQ(domainevent.TypeVM_POWER)).Only(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// difference says what of the portal's VMs is not as in the cluster.
func (r *trial) difference(t *testing.T) string {
	t.Helper()
	var list struct {
		Items []struct {
			Metadata struct{ Name, UID, ResourceVersion string }
			Status   struct{ PrintableStatus string }
		}
	}
	text := kubectl(t, planes.east, "get", "virtualmachines.kubevirt.io", "-n", "platform-test", "-l", domain.LabelSystem+"="+r.name, "-o", "json")
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	there, here := map[string]string{}, map[string]string{}
	for _, o := range list.Items {
		there[o.Metadata.Name] = strings.Join([]string{o.Metadata.UID, o.Metadata.ResourceVersion, o.Status.PrintableStatus}, " ")
	}
	rows, err := r.app.DB.Ent.VM.Query().Where(entvm.ClusterID(uuid.MustParse(r.clusterID)), entvm.DeletedAtIsNil()).All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		here[row.Name] = strings.Join([]string{row.UID, row.ResourceVersion, row.State.String()}, " ")
	}
	if fmt.Sprint(there) == fmt.Sprint(here) {
		return ""
	}
	return fmt.Sprintf("cluster %v, portal %v", there, here)
}

func (r *trial) page(t *testing.T, path string) string {
	t.Helper()
	res, err := r.client.Get(r.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || res.Request.URL.Path == paths.Login {
		t.Fatalf("%s: %s at %s, %v", path, res.Status, res.Request.URL, err)
	}
	return string(b)
}

// pages are as fast as ever, also those about the broken cluster: none asks one.
func (r *trial) pages(t *testing.T) {
	t.Helper()
	for _, path := range []string{paths.Clusters, paths.Explorer, paths.Service(r.serviceID), paths.VM(r.stub.ID.String()), paths.VM(r.vms[0].ID.String())} {
		start := time.Now()
		r.page(t, path)
		if took := time.Since(start); took > slowPage {
			t.Errorf("%s takes %v", path, took)
		}
	}
}
