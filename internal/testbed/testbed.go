// Package testbed starts the real KubeVirt control plane of the module in
// /testbed for tests and the demo: etcd, API server, controllers and virt-api
// as plain processes on loopback, with simulated nodes.
package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Ports is how many ports in a row one cluster takes.
const Ports = 8

// Options say what to start.
type Options struct {
	Dir   string    // of the binaries testbed and testbed-virt-api
	State string    // directory of the cluster's data; kept between starts
	Name  string    // of the cluster
	Port  int       // first of Ports free ports; 0 = FreePorts
	Nodes int       // 0 = 2
	Log   io.Writer // what the test bed says; nil: nothing
}

// Cluster is a running test bed.
type Cluster struct {
	Name       string
	Port       int    // of the API server, on 127.0.0.1
	Kubeconfig string // path of the administrator's kubeconfig

	State string // directory of the data
	cmd   *exec.Cmd
	done  chan struct{} // closed when the process has ended
	stop  sync.Once
}

// Start runs a cluster and waits until it is ready, which takes about 15 s on
// two cores, or ctx ends. The cluster outlives ctx; Stop ends it.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Port == 0 {
		port, err := FreePorts()
		if err != nil {
			return nil, err
		}
		o.Port = port
	}
	if o.Nodes == 0 {
		o.Nodes = 2
	}
	state, err := filepath.Abs(o.State)
	if err != nil {
		return nil, err
	}
	ready := filepath.Join(state, "ready")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var last tail
	cmd := exec.Command(filepath.Join(o.Dir, "testbed"), "up", "--dir", state, "--port", strconv.Itoa(o.Port), "--name", o.Name, "--nodes", strconv.Itoa(o.Nodes))
	cmd.Stderr = &last
	if o.Log != nil {
		cmd.Stderr = io.MultiWriter(&last, o.Log)
	}
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("testbed: %w", err)
	}
	c := &Cluster{Name: o.Name, Port: o.Port, Kubeconfig: filepath.Join(state, "admin.kubeconfig"), State: state, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(c.done)
	}()
	for tick := time.Tick(100 * time.Millisecond); ; {
		if _, err := os.Stat(ready); err == nil {
			return c, nil
		}
		select {
		case <-tick:
		case <-c.done:
			c.Stop()
			return nil, fmt.Errorf("testbed %s ended while starting: %s", o.Name, last.String())
		case <-ctx.Done():
			c.Stop()
			return nil, fmt.Errorf("testbed %s is not ready: %w: %s", o.Name, context.Cause(ctx), last.String())
		}
	}
}

// Stop ends all processes of the cluster: gently first, so that etcd keeps its
// data, then the whole process group.
func (c *Cluster) Stop() {
	c.stop.Do(func() {
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.done:
		case <-time.After(10 * time.Second):
		}
		kill(c.cmd.Process.Pid)
		<-c.done
	})
}

// Credential signs in as the cluster's administrator.
func (c *Cluster) Credential() (domain.Credential, error) {
	cred := domain.Credential{Server: fmt.Sprintf("https://127.0.0.1:%d", c.Port)}
	for file, to := range map[string]*domain.Secret{"ca.crt": &cred.CA, "admin.crt": &cred.ClientCert, "admin.key": &cred.ClientKey} {
		b, err := os.ReadFile(filepath.Join(c.State, "pki", file))
		if err != nil {
			return domain.Credential{}, err
		}
		*to = b
	}
	return cred, nil
}

// FreePorts finds a block of Ports free ports on loopback, below the range
// that the kernel hands out. Nothing reserves them.
func FreePorts() (int, error) {
	for range 50 {
		first := 20000 + rand.N(1500)*Ports
		if free(first) {
			return first, nil
		}
	}
	return 0, errors.New("testbed: no block of free ports")
}

func free(first int) bool {
	for port := first; port < first+Ports; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// tail keeps the last words of a process, for the error text.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - 2000; extra > 0 {
		t.buf = t.buf[extra:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
