//go:build e2e

// Package e2e_test plays the product's main story as people would: the real
// binary, PostgreSQL, two real KubeVirt control planes, and Chromium, once with
// JavaScript and once without.
package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/demo"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/testbed"
)

// planes are the control planes of this test process.
var planes struct {
	bin        string
	shepherd   string // the binary under test, with the failpoints of the crash test
	east, west *testbed.Cluster
}

func TestMain(m *testing.M) {
	code, err := setup(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func setup(m *testing.M) (int, error) {
	planes.bin = os.Getenv("SHEPHERD_TESTBED")
	if planes.bin == "" {
		return 1, fmt.Errorf("SHEPHERD_TESTBED names no directory with the testbed's binaries: run `make test`")
	}
	dir, err := os.MkdirTemp("", "shepherd-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL runs as another account when we are root
		return 1, err
	}
	planes.shepherd = filepath.Join(dir, "shepherd")
	build := exec.Command("go", "build", "-tags", "failpoint", "-o", planes.shepherd, "../../cmd/shepherd")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("go build: %w\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for _, p := range []struct {
		name string
		to   **testbed.Cluster
	}{{"east", &planes.east}, {"west", &planes.west}} {
		c, err := testbed.Start(ctx, testbed.Options{Dir: planes.bin, State: filepath.Join(dir, p.name), Name: p.name, Nodes: 2})
		if err != nil {
			return 1, err
		}
		defer c.Stop()
		*p.to = c
	}
	return m.Run(), nil
}

// kubeconfig is what the administrator uploads.
func kubeconfig(t *testing.T, c *testbed.Cluster, env domain.Environment) string {
	t.Helper()
	b, err := demo.Kubeconfig(t.Context(), planes.bin, c, env)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// kubectl asks a control plane directly.
func kubectl(t *testing.T, c *testbed.Cluster, args ...string) string {
	t.Helper()
	out, err := demo.Kubectl(t.Context(), planes.bin, c.Kubeconfig, "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// object is what the tests look at of a VM in the cluster.
type object struct {
	Metadata struct {
		Name, Namespace, UID string
		Labels, Annotations  map[string]string
	} `json:"metadata"`
	Status struct {
		PrintableStatus string `json:"printableStatus"`
	} `json:"status"`
}

func objects(t *testing.T, c *testbed.Cluster, namespace, service string) []object {
	t.Helper()
	out := kubectl(t, c, "get", "virtualmachines.kubevirt.io", "-n", namespace, "-l", domain.LabelService+"="+service, "-o", "json")
	var list struct{ Items []object }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// portal is one run of the binary.
type portal struct {
	url  string
	data string
	cmd  *exec.Cmd
	done chan struct{}
	log  *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var address = regexp.MustCompile(`is at (http://\S+)`)

// start runs `shepherd demo` without clusters: the cast and the catalog are
// there, everything else is up to the test.
func start(t *testing.T, data string, env ...string) *portal {
	t.Helper()
	p := &portal{data: data, done: make(chan struct{}), log: &lockedBuffer{}}
	p.cmd = exec.Command(planes.shepherd, "demo")
	p.cmd.Env = append(append(os.Environ(), "DEMO_CLUSTERS=none", "DATABASE_URL=", "SHEPHERD_DATA_DIR="+data, "SHEPHERD_ADDR=127.0.0.1:18080", "SHEPHERD_ADMIN_ADDR=off"), env...)
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	urls := make(chan string, 1)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			fmt.Fprintln(p.log, s.Text())
			if m := address.FindStringSubmatch(s.Text()); m != nil {
				urls <- m[1]
			}
		}
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(data, "shepherd.log"))
			if len(log) > 8000 {
				log = log[len(log)-8000:]
			}
			t.Logf("portal: %s\n%s", p.log, log)
		}
	})
	select {
	case p.url = <-urls:
		// "localhost" may mean ::1, where nobody listens.
		p.url = strings.Replace(p.url, "localhost", "127.0.0.1", 1)
	case <-p.done:
		t.Fatalf("the portal ended: %s", p.log)
	case <-time.After(60 * time.Second):
		t.Fatalf("the portal does not start: %s", p.log)
	}
	eventually(t, 20*time.Second, "readiness", func() bool {
		r, err := http.Get(p.url + "/readyz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	return p
}

// stop ends the portal as Ctrl-C would.
func (p *portal) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(40 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// dataDir is a fresh data directory that PostgreSQL's account can reach.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "shepherd-e2e-data-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(150 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("after %v still not: %s", limit, what)
}
