package bench

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// Goals of Page: how many times its bare SELECTs a page may take at p50, and
// how much memory the process may have, in MiB.
const (
	listGoal   = 8.0
	treeGoal   = 5.0
	memoryGoal = 150
)

// The shape of the scratch data.
const (
	perService = 50 // VMs: a full page of the list
	perSystem  = 4  // services
)

// warm is how many requests of a kind are not measured.
const warm = 30

// Page measures the list of a service and the explorer's tree with many VMs,
// as a signed-in person gets them, beside the bare SELECTs of what they show.
func Page(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench page", flag.ContinueOnError)
	vms := flags.Int("vms", 10_000, "VMs in the scratch database")
	n := flags.Int("n", 300, "requests of each page")
	if err := flags.Parse(args); err != nil {
		return err
	}
	a, _, done, err := scratch(ctx)
	if err != nil {
		return err
	}
	defer done()
	db, err := pgx.Connect(ctx, a.DatabaseURL())
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	p, err := seed(ctx, db, *vms)
	if err != nil {
		return err
	}
	fmt.Printf("%d VMs in %d systems\n", p.vms, p.systems)
	server := httptest.NewServer(a.Handler().Router())
	defer server.Close()
	b, err := newBrowser(ctx, server.URL)
	if err != nil {
		return err
	}

	for _, page := range []struct {
		name, path string
		selects    []query
		goal       float64
	}{
		{"list page", paths.Service(p.service), listSelects(p), listGoal},
		{"tree page", paths.Explorer + "?" + url.Values{"open": {p.system, p.service}}.Encode(), treeSelects(p), treeGoal},
	} {
		var whole, bare sample
		for i := range *n + warm {
			took, err := b.get(ctx, page.path)
			if err != nil {
				return err
			}
			floor, err := run(ctx, db, page.selects)
			if err != nil {
				return err
			}
			if i >= warm {
				whole, bare = append(whole, took), append(bare, floor)
			}
		}
		times := float64(whole.at(0.5)) / float64(bare.at(0.5))
		fmt.Printf("%s        %s\nits bare SELECTs %s\n  %.1f times at p50; goal %.0f: %s\n", page.name, whole, bare, times, page.goal, verdict(times <= page.goal))
	}
	mib, err := residentMiB()
	if err != nil {
		return err
	}
	fmt.Printf("memory of the process  %d MiB; goal %d: %s\n", mib, memoryGoal, verdict(mib <= memoryGoal))
	return nil
}

// place is where in the scratch data the pages look.
type place struct {
	vms, systems    int
	system, service string // ids
}

// seed fills the database in a few statements, with the counters right.
func seed(ctx context.Context, db *pgx.Conn, vms int) (p place, err error) {
	p.systems = max(1, vms/(perService*perSystem))
	p.vms = p.systems * perSystem * perService
	for _, sql := range []string{
		`INSERT INTO clusters (id, created_at, updated_at, name, environment, api_server_url, encrypted_kubeconfig, encryption_key_id, identity_uid,
		   created_by, status)
		 SELECT gen_random_uuid(), now(), now(), 'east', 'test', 'https://10.0.0.1:6443', '\x00', 'none', 'none', 'admin', 'HEALTHY'`,
		`INSERT INTO systems (id, created_at, updated_at, name, namespace, created_by, environment, vm_count)
		 SELECT gen_random_uuid(), now(), now(), 'system-' || i, 'bench', 'admin', 'test', $2::int FROM generate_series(1, $1::int) i`,
		`INSERT INTO services (id, created_at, updated_at, system_id, name, created_by, namespace, vm_prefix, vm_count, next_instance_index)
		 SELECT gen_random_uuid(), now(), now(), s.id, 'svc-' || j, 'admin', s.namespace, s.name || '-svc-' || j, $2::int, $2::int + 1
		 FROM systems s, generate_series(1, $1::int) j`,
		`INSERT INTO vms (id, created_at, updated_at, service_id, system_id, cluster_id, name, namespace, instance, environment, created_by, ticket_id,
		   template, template_version, size, cpu, memory_mib, disk_gib, state, health, ip_address, node_name, started_at, observed_at)
		 SELECT gen_random_uuid(), now(), now(), v.id, v.system_id, c.id, v.vm_prefix || '-' || lpad(i::text, 2, '0'), v.namespace, i, 'test', 'developer', 1,
		   'debian-12', 1, 'small', 1, 2048, 20, 'Running', 'ok', '10.1.' || i || '.7', 'node01', now(), now()
		 FROM services v, clusters c, generate_series(1, $1::int) i`,
		`ANALYZE`,
	} {
		var args []any
		switch {
		case strings.HasPrefix(sql, "INSERT INTO systems"):
			args = []any{p.systems, perSystem * perService}
		case strings.HasPrefix(sql, "INSERT INTO services"):
			args = []any{perSystem, perService}
		case strings.HasPrefix(sql, "INSERT INTO vms"):
			args = []any{perService}
		}
		if _, err := db.Exec(ctx, sql, args...); err != nil {
			return p, fmt.Errorf("seed: %w", err)
		}
	}
	err = db.QueryRow(ctx, `SELECT v.system_id::text, v.id::text FROM services v JOIN systems s ON s.id = v.system_id ORDER BY s.name, v.name LIMIT 1`).
		Scan(&p.system, &p.service)
	return p, err
}

type query struct {
	sql  string
	args []any
}

// listSelects read what the list shows: the service, its VMs and their counts.
func listSelects(p place) []query {
	return []query{
		{`SELECT v.*, s.name, s.environment FROM services v JOIN systems s ON s.id = v.system_id WHERE v.id = $1`, []any{p.service}},
		{`SELECT m.*, c.name, c.status FROM vms m JOIN clusters c ON c.id = m.cluster_id
		  WHERE m.service_id = $1 AND m.deleted_at IS NULL ORDER BY m.instance DESC LIMIT 51`, []any{p.service}},
		{`SELECT health, count(*) FROM vms WHERE service_id = $1 AND deleted_at IS NULL GROUP BY health`, []any{p.service}},
	}
}

// treeSelects read what the tree shows: sums, systems, services and VMs.
func treeSelects(p place) []query {
	return []query{
		{`SELECT count(*), sum(vm_count), sum(bad_count) FROM systems`, nil},
		{`SELECT id, name, namespace, environment, vm_count, bad_count FROM systems ORDER BY name, id LIMIT 201`, nil},
		{`SELECT id, name, vm_prefix, vm_count, bad_count FROM services WHERE system_id = $1 ORDER BY name`, []any{p.system}},
		{`SELECT id, name, instance, state, health, problem, observed_at FROM vms
		  WHERE service_id = $1 AND deleted_at IS NULL ORDER BY instance LIMIT 201`, []any{p.service}},
	}
}

// run reads every row of some queries.
func run(ctx context.Context, db *pgx.Conn, list []query) (time.Duration, error) {
	start := time.Now()
	for _, q := range list {
		rows, err := db.Query(ctx, q.sql, q.args...)
		if err != nil {
			return 0, err
		}
		for rows.Next() {
			if _, err := rows.Values(); err != nil {
				return 0, err
			}
		}
		if err := rows.Err(); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// browser is an administrator with a session, and with as many connections as
// there are requests at the same time.
type browser struct {
	url    string // of the portal
	client *http.Client
}

func newBrowser(ctx context.Context, portal string) (*browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	b := &browser{portal, &http.Client{Jar: jar, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	form := url.Values{"username": {cast.Admin.Username}, "password": {cast.Admin.Password}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, portal+paths.Login, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, err = b.do(req)
	return b, err
}

func (b *browser) get(ctx context.Context, path string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+path, nil)
	if err != nil {
		return 0, err
	}
	return b.do(req)
}

func (b *browser) do(req *http.Request) (time.Duration, error) {
	start := time.Now()
	res, err := b.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK || res.Request.URL.Path == paths.Login {
		return 0, fmt.Errorf("%s answers %s at %s", req.URL.Path, res.Status, res.Request.URL.Path)
	}
	return time.Since(start), nil
}

// residentMiB is the memory of this process that is in RAM, as Linux counts it.
func residentMiB() (int, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib int
			_, err := fmt.Sscanf(rest, "%d kB", &kib)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in /proc/self/status")
}
