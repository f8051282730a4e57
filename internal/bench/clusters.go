package bench

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/clusterstub"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// Goals of Clusters.
const (
	deadGoal     = 1.1  // times the p99 of pages with all clusters alive
	idleGoal     = 2.0  // times the memory at rest, while everything is read again
	rotationGoal = 0.05 // by which goroutines and heap may differ
	watchedGoal  = 30.0 // times less memory for a VM than a typed informer
	listsGoal    = 8    // lists of VMs and instances that are read at once
)

// clustersRun is what the flags of Clusters set.
type clustersRun struct {
	clusters, vms, watched int
	rounds, rate           int
	round                  time.Duration
	rotations              int
	hurry                  bool // check dead clusters all the time: what is measured says nothing then
}

// Clusters measures what clusters cost the portal: the memory of a watched VM
// beside a typed informer; pages while half of the clusters are dead, in turns
// with pages while all are alive; what dead clusters cost, and how long it
// takes until they are followed again; everything being read again at once; and
// a credential that is replaced many times. The clusters are stubs in a process
// of their own.
func Clusters(ctx context.Context, args []string) error {
	var r clustersRun
	flags := flag.NewFlagSet("bench clusters", flag.ContinueOnError)
	flags.IntVar(&r.clusters, "clusters", 100, "stub clusters; half of them die")
	flags.IntVar(&r.vms, "vms", 100, "VMs on each cluster")
	flags.IntVar(&r.watched, "watched", 5000, "VMs for the comparison with a typed informer")
	flags.IntVar(&r.rounds, "rounds", 3, "rounds with all clusters alive, and as many with half of them dead")
	flags.DurationVar(&r.round, "round", 20*time.Second, "length of a round")
	flags.IntVar(&r.rate, "rate", 20, "pages a second")
	flags.IntVar(&r.rotations, "rotations", 1000, "replacements of one cluster's credential")
	farming := flags.Bool("stubs", false, "be the process with the stub clusters; the bench starts it itself")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *farming {
		return stubs(os.Stdin, os.Stdout)
	}
	return r.run(ctx)
}

func (r clustersRun) run(ctx context.Context) error {
	if r.clusters < 2 || r.vms < 1 || r.watched < 1 {
		return fmt.Errorf("%d clusters with %d VMs: there is nothing to measure", r.clusters, r.vms)
	}
	var options []clusterstub.Options
	for i := range r.clusters {
		options = append(options, clusterstub.Options{
			Name: fmt.Sprintf("stub-%03d", i), Namespaces: cast.Namespaces(domain.Test), VMs: r.vms, System: fmt.Sprintf("bench-%03d", i), Service: benchService,
		})
	}
	options = append(options, clusterstub.Options{Name: "large", VMs: r.watched, System: "large", Service: benchService})
	f, err := startFarm(ctx, options)
	if err != nil {
		return err
	}
	defer f.close()
	fmt.Printf("%d CPUs, load %s\n", runtime.NumCPU(), load())

	// First, while nothing else runs.
	ours, typed, err := watchedVMs(ctx, f.clusters[r.clusters])
	if err != nil {
		return err
	}
	fmt.Printf("watched VM   %.0f bytes; a typed informer takes %.0f: %.1f times; goal %.0f: %s\n", ours, typed, typed/ours, watchedGoal, verdict(typed/ours >= watchedGoal))

	a, _, done, err := scratch(ctx)
	if err != nil {
		return err
	}
	defer done()
	listening := make(chan net.Addr, 1)
	a.Listening = func(at net.Addr) { listening <- at }
	work, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(work) }()
	defer func() { stop(); <-ended }()
	var at net.Addr
	select {
	case at = <-listening:
	case err := <-ended:
		ended <- nil
		return err
	}
	db, err := pgx.Connect(ctx, a.DatabaseURL())
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	b := &clustersBench{clustersRun: r, app: a, db: db, farm: f}
	if err := b.join(ctx); err != nil {
		return err
	}
	if b.browser, err = newBrowser(ctx, "http://"+at.String()); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{b.relist, b.halfDead, b.rotate} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("load at the end %s\n", load())
	return nil
}

// load is the machine's, of the last minute, as Linux tells it.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(b))[0]
}

// clustersBench is a portal with the clusters of a farm.
type clustersBench struct {
	clustersRun
	app     *app.App
	db      *pgx.Conn
	farm    *farm
	browser *browser
	ids     []string // of the clusters in the portal
	pages   []page   // of the clusters that always live
	moves   int
}

// page is one that is measured.
type page struct{ kind, path string }

// all numbers the clusters, mortal those that die.
func (b *clustersBench) all() []int {
	var out []int
	for i := range b.clusters {
		out = append(out, i)
	}
	return out
}

func (b *clustersBench) mortal() []int { return b.all()[b.clusters-b.clusters/2:] }

// join adds the clusters as an administrator would, with rows for their VMs,
// and waits until the portal has seen every VM.
func (b *clustersBench) join(ctx context.Context) error {
	admin, err := cast.Actor(ctx, b.app, cast.Admin)
	if err != nil {
		return err
	}
	start := time.Now()
	for i, s := range b.farm.clusters[:b.clusters] {
		id, err := b.app.Clusters.AddDirect(ctx, tireless(admin, i), s.Options.Name, domain.Test, "", s.kubeconfig(clusterstub.Token))
		if err != nil {
			return fmt.Errorf("add a cluster: %w", err)
		}
		b.ids = append(b.ids, id)
		if err := b.seed(ctx, id, s.Options); err != nil {
			return fmt.Errorf("seed: %w", err)
		}
	}
	added := time.Since(start)
	start = time.Now()
	const seen = `SELECT count(*) = 0 FROM vms WHERE observed_at IS NULL OR node_name = ''`
	if err := b.wait(ctx, time.Minute, "every VM was seen", seen); err != nil {
		// A watcher that read its list before there were rows reads it again.
		if _, err := b.farm.tell(farmOrder{Clusters: b.all(), Forget: true}); err != nil {
			return err
		}
		if err := b.wait(ctx, 2*time.Minute, "every VM was seen", seen); err != nil {
			return err
		}
	}
	fmt.Printf("%d clusters with %d VMs each: added in %s, %d VMs seen in %s\n", b.clusters, b.vms, added.Round(time.Millisecond), b.clusters*b.vms, time.Since(start).Round(time.Millisecond))
	if _, err := b.db.Exec(ctx, `ANALYZE`); err != nil {
		return err
	}
	return b.choosePages(ctx)
}

// tireless is an actor under the i-th of many names: one may look at a few
// clusters a minute only.
func tireless(actor domain.Actor, i int) domain.Actor {
	actor.Username = fmt.Sprintf("%s-%d", actor.Username, i)
	return actor
}

// seed makes the rows of a cluster's VMs: a system, a service, the VMs.
func (b *clustersBench) seed(ctx context.Context, cluster string, o clusterstub.Options) error {
	var names, uids []string
	for i := range o.VMs {
		names, uids = append(names, o.VMName(i)), append(uids, o.VMUID(i))
	}
	_, err := b.db.Exec(ctx, `WITH s AS (
		  INSERT INTO systems (id, created_at, updated_at, name, namespace, created_by, environment, vm_count)
		  VALUES (gen_random_uuid(), now(), now(), $1, $2, 'admin', 'test', cardinality($5::text[])) RETURNING id),
		v AS (
		  INSERT INTO services (id, created_at, updated_at, system_id, name, created_by, namespace, vm_prefix, vm_count, next_instance_index)
		  SELECT gen_random_uuid(), now(), now(), s.id, $3::text, 'admin', $2, $1::text || '-' || $3::text, cardinality($5::text[]), cardinality($5::text[]) + 1 FROM s RETURNING id, system_id),
		c AS (UPDATE clusters SET vm_count = cardinality($5::text[]) WHERE id = $4::uuid)
		INSERT INTO vms (id, created_at, updated_at, service_id, system_id, cluster_id, name, uid, namespace, instance, environment, created_by, ticket_id,
		  template, template_version, size, cpu, memory_mib, disk_gib, state, health, node_name)
		SELECT gen_random_uuid(), now(), now(), v.id, v.system_id, $4::uuid, m.name, m.uid, $2, m.n, 'test', 'developer', 42,
		  'fedora-41', 1, 'medium', 2, 4096, 20, 'Running', 'ok', '' FROM v, unnest($5::text[], $6::text[]) WITH ORDINALITY m(name, uid, n)`,
		o.System, o.Namespaces[0], o.Service, cluster, names, uids)
	return err
}

// choosePages picks pages about clusters that never die.
func (b *clustersBench) choosePages(ctx context.Context) error {
	immortal := b.ids[:b.clusters-b.clusters/2]
	rows, err := b.db.Query(ctx, `SELECT DISTINCT ON (cluster_id) system_id::text, service_id::text, id::text FROM vms WHERE cluster_id::text = ANY($1) ORDER BY cluster_id, name`, immortal)
	if err != nil {
		return err
	}
	var system, service, vm string
	_, err = pgx.ForEachRow(rows, []any{&system, &service, &vm}, func() error {
		b.pages = append(b.pages,
			page{"explorer", paths.Explorer + "?" + url.Values{"open": {system, service}}.Encode()},
			page{"service", paths.Service(service)},
			page{"VM", paths.VM(vm)},
			page{"clusters", paths.Clusters},
		)
		return nil
	})
	return err
}

// wait polls the database.
func (b *clustersBench) wait(ctx context.Context, limit time.Duration, what, sql string, args ...any) error {
	for end := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		var ok bool
		if err := b.db.QueryRow(ctx, sql, args...).Scan(&ok); err != nil {
			return err
		}
		if ok {
			return nil
		}
		if b.hurry {
			for _, i := range b.mortal() {
				if err := b.app.Clusters.Check(ctx, b.ids[i]); err != nil {
					return err
				}
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %s still not: %s", limit, what)
		}
	}
}

// visit gets pages at a fixed rate, however long they take: a page that is slow
// delays no other, and the time that it should have begun counts.
func (b *clustersBench) visit(ctx context.Context) (map[string]sample, error) {
	type visited struct {
		kind string
		took time.Duration
		err  error
	}
	n := max(1, int(b.round.Seconds()*float64(b.rate)))
	results := make(chan visited, n)
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(b.rate))
		time.Sleep(time.Until(due))
		p := b.pages[i%len(b.pages)]
		go func() {
			_, err := b.browser.get(ctx, p.path)
			results <- visited{p.kind, time.Since(due), err}
		}()
	}
	out := map[string]sample{}
	for range n {
		v := <-results
		if v.err != nil {
			return nil, v.err
		}
		out[v.kind] = append(out[v.kind], v.took)
	}
	return out, nil
}

// halfDead takes turns between all clusters alive and half of them dead. Of the
// dead, a quarter refuses connections, a quarter resets them, and half are
// black holes.
func (b *clustersBench) halfDead(ctx context.Context) error {
	alive, dead := map[string]sample{}, map[string]sample{}
	add := func(to, more map[string]sample) {
		for k, s := range more {
			to[k] = append(to[k], s...)
		}
	}
	if _, err := b.visit(ctx); err != nil { // warms up
		return err
	}
	var noticed, recovered sample
	var calm, busy int // goroutines
	var dials float64
	holes := b.faults()[clusterstub.BlackHole]
	counted := append(slices.Clone(holes), b.faults()[clusterstub.Reset]...)
	killed := false
	for i := range 2 * b.rounds {
		die := i%4 == 1 || i%4 == 2 // alive, dead, dead, alive: as few changes as can be
		switch {
		case die && !killed:
			took, err := b.kill(ctx)
			if err != nil {
				return err
			}
			noticed = append(noticed, took)
		case !die && killed:
			took, err := b.revive(ctx)
			if err != nil {
				return err
			}
			recovered = append(recovered, took)
		}
		killed = die
		before, err := b.farm.tell(farmOrder{Clusters: counted})
		if err != nil {
			return err
		}
		start := time.Now()
		took, err := b.visit(ctx)
		if err != nil {
			return err
		}
		if !die {
			add(alive, took)
			calm = runtime.NumGoroutine()
			continue
		}
		add(dead, took)
		busy = runtime.NumGoroutine()
		after, err := b.farm.tell(farmOrder{Clusters: counted})
		if err != nil {
			return err
		}
		n := int64(0)
		for i := range after.Counts {
			n += after.Counts[i].Dials - before.Counts[i].Dials
		}
		dials = max(dials, float64(n)/time.Since(start).Seconds()/float64(len(counted)))
	}
	if killed {
		took, err := b.revive(ctx)
		if err != nil {
			return err
		}
		recovered = append(recovered, took)
	}
	half := len(b.mortal())
	fmt.Printf("pages at %d a second, of clusters that live, in %d rounds of %s each\n", b.rate, b.rounds, b.round)
	for _, kind := range append(slices.Sorted(maps.Keys(alive)), "all of them") {
		was, is := alive[kind], dead[kind]
		if kind == "all of them" {
			was, is = slices.Concat(slices.Collect(maps.Values(alive))...), slices.Concat(slices.Collect(maps.Values(dead))...)
		}
		times := float64(is.at(0.99)) / float64(was.at(0.99))
		fmt.Printf("  %-12s all %d alive  %s\n  %12s %d of them dead %s\n  %12s %.2f times at p99", kind, b.clusters, was, "", half, is, "", times)
		if kind == "all of them" {
			fmt.Printf("; goal %.1f: %s", deadGoal, verdict(times <= deadGoal))
		}
		fmt.Println()
	}
	fmt.Printf("dead clusters  all marked after %s at most; each costs %.2f connections a second and %.1f goroutines more than alive\n",
		noticed.at(1).Round(100*time.Millisecond), dials, float64(busy-calm)/float64(half))
	fmt.Printf("back again     all healthy, and what happened meanwhile shown, after %s at most\n", recovered.at(1).Round(100*time.Millisecond))
	return nil
}

// faults says what becomes of which cluster.
func (b *clustersBench) faults() map[clusterstub.Fault][]int {
	out := map[clusterstub.Fault][]int{}
	for i, c := range b.mortal() {
		f := []clusterstub.Fault{clusterstub.BlackHole, clusterstub.Refused, clusterstub.BlackHole, clusterstub.Reset}[i%4]
		out[f] = append(out[f], c)
	}
	return out
}

// kill ends the mortal clusters, and waits until the portal has marked them all.
func (b *clustersBench) kill(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	for f, list := range b.faults() {
		if _, err := b.farm.tell(farmOrder{Clusters: list, Fault: f}); err != nil {
			return 0, err
		}
	}
	err := b.wait(ctx, 4*time.Minute, "the dead clusters are marked", `SELECT count(*) = $1 FROM clusters WHERE status = 'UNREACHABLE'`, len(b.mortal()))
	return time.Since(start), err
}

// revive brings them back with a VM on each that has moved meanwhile, and waits
// until the portal shows that and calls them healthy.
func (b *clustersBench) revive(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	b.moves++
	ip := fmt.Sprintf("10.250.0.%d", b.moves)
	if _, err := b.farm.tell(farmOrder{Clusters: b.mortal(), Move: ip, Fault: clusterstub.Alive}); err != nil {
		return 0, err
	}
	err := b.wait(ctx, 4*time.Minute, "the clusters are back", `SELECT (SELECT count(*) FROM vms WHERE ip_address = $1) = $2
		AND NOT EXISTS (SELECT FROM clusters WHERE status <> 'HEALTHY')`, ip, len(b.mortal()))
	return time.Since(start), err
}

// relist cuts all clusters at once, with their histories forgotten: everything
// has to be read again. Answers take a while, as they do over a distance.
func (b *clustersBench) relist(ctx context.Context) error {
	debug.FreeOSMemory()
	idle, err := residentMiB()
	if err != nil {
		return err
	}
	var peak atomic.Int64
	var wg sync.WaitGroup
	sampling, stop := context.WithCancel(ctx)
	wg.Go(func() {
		for tick := time.Tick(20 * time.Millisecond); ; {
			select {
			case <-sampling.Done():
				return
			case <-tick:
				if mib, err := residentMiB(); err == nil {
					peak.Store(max(peak.Load(), int64(mib)))
				}
			}
		}
	})
	defer wg.Wait()
	defer stop()
	start := time.Now()
	b.moves++
	ip := fmt.Sprintf("10.250.0.%d", b.moves)
	if _, err := b.farm.tell(farmOrder{Clusters: b.all(), Move: ip, Forget: true, Delay: 50 * time.Millisecond}); err != nil {
		return err
	}
	if err := b.wait(ctx, 2*time.Minute, "everything was read again", `SELECT count(*) = $2 FROM vms WHERE ip_address = $1`, ip, b.clusters); err != nil {
		return err
	}
	took := time.Since(start)
	told, err := b.farm.tell(farmOrder{Clusters: b.all()})
	if err != nil {
		return err
	}
	times := float64(peak.Load()) / float64(idle)
	fmt.Printf("common cut     %d clusters are read again in %s, at most %d lists at once; goal %d: %s\n", b.clusters, took.Round(time.Millisecond), told.PeakLists, listsGoal, verdict(told.PeakLists <= listsGoal))
	fmt.Printf("               memory of the process %d MiB at rest, %d MiB at the most: %.2f times; goal %.0f: %s\n", idle, peak.Load(), times, idleGoal, verdict(times <= idleGoal))
	return nil
}

// rotate replaces one cluster's credential again and again, and uses each.
func (b *clustersBench) rotate(ctx context.Context) error {
	admin, err := cast.Actor(ctx, b.app, cast.Admin)
	if err != nil {
		return err
	}
	s, id := b.farm.clusters[0], b.ids[0]
	once := func(i int) error {
		admin := tireless(admin, i)
		draft, err := b.app.Clusters.ReadUpload(ctx, admin, s.Options.Name, s.kubeconfig(fmt.Sprintf("stub-token-%04d", i+1)))
		if err != nil {
			return err
		}
		if err := b.app.Clusters.ReplaceCredential(ctx, admin, id, draft, s.Options.Name); err != nil {
			return err
		}
		return b.app.Clusters.Check(ctx, id)
	}
	// rest lets what was begun end: the watcher starts anew with the last one.
	rest := func() (goroutines int, bytes int64) {
		b.browser.client.CloseIdleConnections()
		time.Sleep(min(5*time.Second, b.round))
		bytes = math.MaxInt64
		for range 5 { // chores come and go
			goroutines, bytes = runtime.NumGoroutine(), min(bytes, heap())
			time.Sleep(200 * time.Millisecond)
		}
		return goroutines, bytes
	}
	if err := once(0); err != nil { // what is made once is not counted
		return fmt.Errorf("replace a credential: %w", err)
	}
	goroutines, bytes := rest()
	start := time.Now()
	for i := range b.rotations {
		if err := once(i + 1); err != nil {
			return fmt.Errorf("replace a credential: %w", err)
		}
	}
	took := time.Since(start)
	after, left := rest()
	more, heavier := float64(after)/float64(goroutines)-1, float64(left)/float64(bytes)-1
	fmt.Printf("rotation       %d replacements in %s: goroutines %d, then %d (%+.1f %%); heap %.1f MiB, then %.1f MiB (%+.1f %%); goal ±%.0f %%: %s\n",
		b.rotations, took.Round(time.Millisecond), goroutines, after, 100*more, float64(bytes)/(1<<20), float64(left)/(1<<20), 100*heavier,
		100*rotationGoal, verdict(more <= rotationGoal && heavier <= rotationGoal))
	return nil
}
