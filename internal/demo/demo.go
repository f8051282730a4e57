// Package demo runs the portal for somebody who looks at it for the first
// time: a private database, a small cast of people, and two real KubeVirt
// control planes that are built when they are missing and join the running
// portal.
package demo

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider/kubevirt"
	"kubevirt-shepherd.io/shepherd/internal/testbed"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/views"
)

// clusters are the demo's control planes.
var clusters = []struct {
	name, place string
	environment domain.Environment
}{
	{"east", "this machine", domain.Test},
	{"west", "this machine", domain.Prod},
}

// firstPort is where the search for free ports begins.
const firstPort = 16443

// Run serves the demo until ctx ends. which is "none" to leave the clusters out.
func Run(ctx context.Context, c app.Config, which string, out io.Writer) error {
	if err := c.MakeDataDir(); err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(c.DataDir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	c.AllowCIDRs = append(c.AllowCIDRs, netip.MustParsePrefix("127.0.0.1/32"))
	if c.Addr, err = freeAddr(c.Addr); err != nil {
		return err
	}
	if c.AdminAddr, err = freeAddr(c.AdminAddr); err != nil {
		return err
	}
	logFile, err := os.OpenFile(filepath.Join(c.DataDir, "shepherd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = logFile.Close() }()
	logger := slog.New(slog.NewJSONHandler(logFile, &slog.HandlerOptions{Level: c.LogLevel}))

	a, err := app.New(ctx, c, logger)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := cast.People(ctx, a); err != nil {
		return err
	}
	p := NewProgress(out)
	a.Demo = p.Show
	up := make(chan struct{})
	a.Listening = func(net.Addr) {
		welcome(out, c, logFile.Name())
		close(up)
	}

	work, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	if which != "none" {
		wg.Go(func() {
			select { // the portal first
			case <-up:
			case <-work.Done():
				return
			}
			if err := join(work, a, c, p); err != nil && work.Err() == nil {
				p.step(views.ProgressView{Stage: views.ProgressFailed, Problem: err.Error()})
			}
		})
	}
	err = a.Run(ctx)
	stop()
	wg.Wait()
	return err
}

// welcome prints what somebody needs to begin.
func welcome(out io.Writer, c app.Config, log string) {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "\nKubeVirt Shepherd is at %s\n\n  account\tpassword\t\n", c.PublicURL())
	for _, p := range cast.All() {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", p.Username, p.Password, p.Does)
	}
	fmt.Fprintf(w, "\nLog: %s. Ctrl-C stops everything.\n\n", log)
	_ = w.Flush()
}

// join builds and starts the control planes and adds them to the portal. It
// returns when ctx ends and all of them have stopped.
func join(ctx context.Context, a *app.App, c app.Config, p *Progress) error {
	src, err := filepath.Abs("testbed")
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(src, "go.mod")); err != nil {
		return errors.New("there is no testbed/ here: run the demo in the source tree, or with DEMO_CLUSTERS=none")
	}
	bin, err := build(ctx, src, p)
	if err != nil {
		return err
	}
	p.step(views.ProgressView{Stage: views.ProgressStart})
	port := firstPort
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	ready := 0
	for _, cl := range clusters {
		dir := filepath.Join(c.DataDir, "clusters", cl.name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		first, err := ports(dir, port)
		if err != nil {
			return err
		}
		port = first + testbed.Ports
		wg.Go(func() {
			err := run(ctx, a, bin, dir, cl.name, cl.place, cl.environment, first, func() {
				mu.Lock()
				defer mu.Unlock()
				ready++
				p.say("Cluster %q (%s) has joined.", cl.name, cl.environment)
				if ready == len(clusters) {
					p.end()
				}
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil && ctx.Err() == nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", cl.name, err))
				p.step(views.ProgressView{Stage: views.ProgressFailed, Problem: err.Error()})
			}
		})
	}
	wg.Wait()
	return failed
}

// run keeps one control plane up until ctx ends.
func run(ctx context.Context, a *app.App, bin, dir, name, place string, env domain.Environment, port int, joined func()) error {
	log, err := os.OpenFile(filepath.Join(dir, "testbed.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	start, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tb, err := testbed.Start(start, testbed.Options{Dir: bin, State: dir, Name: name, Port: port, Nodes: 2, Log: log})
	if err != nil {
		return err
	}
	defer tb.Stop()
	id, err := Connect(start, a, bin, tb, place, env)
	if err != nil {
		return err
	}
	if err := cast.Places(ctx, a, id, env); err != nil {
		return err
	}
	if err := cast.Story(ctx, a, env, id); err != nil {
		return err
	}
	joined()
	<-ctx.Done()
	return nil
}

// Kubeconfig makes an account for the portal on a control plane, with no more
// rights than it needs, and the namespaces of the cast, and answers with the
// kubeconfig that an administrator would upload.
func Kubeconfig(ctx context.Context, bin string, tb *testbed.Cluster, env domain.Environment) ([]byte, error) {
	var manifest strings.Builder
	for _, ns := range append([]string{"shepherd-system"}, cast.Namespaces(env)...) {
		fmt.Fprintf(&manifest, "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n---\n", ns)
	}
	manifest.WriteString("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: shepherd, namespace: shepherd-system}\n---\n")
	manifest.WriteString(kubevirt.ClusterRoleYAML(nil, ""))
	manifest.WriteString("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: shepherd}\n" +
		"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kubevirt-shepherd}\n" +
		"subjects: [{kind: ServiceAccount, name: shepherd, namespace: shepherd-system}]\n")
	if _, err := Kubectl(ctx, bin, tb.Kubeconfig, manifest.String(), "apply", "-f", "-"); err != nil {
		return nil, err
	}
	token, err := Kubectl(ctx, bin, tb.Kubeconfig, "", "create", "token", "shepherd", "-n", "shepherd-system", "--duration", "8760h")
	if err != nil {
		return nil, err
	}
	root, err := tb.Credential()
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "apiVersion: v1\nkind: Config\ncurrent-context: %[1]s\n"+
		"clusters: [{name: %[1]s, cluster: {server: %[2]q, certificate-authority-data: %[3]s}}]\n"+
		"users: [{name: shepherd, user: {token: %[4]s}}]\n"+
		"contexts: [{name: %[1]s, context: {cluster: %[1]s, user: shepherd}}]\n",
		tb.Name, server(tb), base64.StdEncoding.EncodeToString(root.CA), token), nil
}

func server(tb *testbed.Cluster) string { return fmt.Sprintf("https://127.0.0.1:%d", tb.Port) }

// Connect adds a control plane to the portal as an administrator would, and
// answers with its id there, also when it was added before.
func Connect(ctx context.Context, a *app.App, bin string, tb *testbed.Cluster, place string, env domain.Environment) (id string, err error) {
	admin, err := cast.Actor(ctx, a, cast.Admin)
	if err != nil {
		return "", err
	}
	known, err := a.Clusters.List(ctx, admin, cluster.Page{Limit: 200})
	if err != nil {
		return "", err
	}
	for _, k := range known.Items {
		if k.Name != tb.Name {
			continue
		}
		if id = k.ID; k.Server == server(tb) {
			return id, a.Clusters.Check(ctx, id)
		}
	}
	config, err := Kubeconfig(ctx, bin, tb, env)
	if err != nil {
		return "", err
	}
	if id == "" {
		return a.Clusters.AddDirect(ctx, admin, tb.Name, env, place, config)
	}
	// The same control plane on another port: its credential is replaced.
	draft, err := a.Clusters.ReadUpload(ctx, admin, tb.Name, config)
	if err != nil {
		return "", err
	}
	return id, a.Clusters.ReplaceCredential(ctx, admin, id, draft, tb.Name)
}

// ports finds a free block for a control plane: the one it had, or the next.
func ports(dir string, from int) (int, error) {
	file := filepath.Join(dir, "port")
	if b, err := os.ReadFile(file); err == nil {
		if had, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && free(had) {
			return had, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	for p := from; p < from+2000; p += testbed.Ports {
		if free(p) {
			return p, os.WriteFile(file, []byte(strconv.Itoa(p)), 0o600)
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row from %d", testbed.Ports, from)
}

func free(first int) bool {
	for p := first; p < first+testbed.Ports; p++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

// freeAddr is addr, or the next port that is free.
func freeAddr(addr string) (string, error) {
	if addr == "" {
		return "", nil
	}
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", addr, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", addr, err)
	}
	for p := port; p < port+100; p++ {
		try := net.JoinHostPort(host, strconv.Itoa(p))
		l, err := net.Listen("tcp", try)
		if err == nil {
			return try, l.Close()
		}
	}
	return "", fmt.Errorf("no free port from %d to %d", port, port+99)
}

// lock keeps two demos from sharing a data directory. The kernel gives it back
// when the process ends, however it ends.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another demo runs in %s: stop it, or set SHEPHERD_DATA_DIR", filepath.Dir(path))
	}
	return func() { _ = f.Close() }, nil
}
