package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"kubevirt-shepherd.io/shepherd/views"
)

// ldflags give the control plane its version: without them `kubectl version`
// would answer v0.0.0.
const ldflags = "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 -X kubevirt.io/client-go/version.gitVersion=v1.8.4"

// programs are the testbed's binaries, with the packages they are built from.
var programs = [][2]string{{"testbed", "."}, {"testbed-virt-api", "./virtapi"}}

// build makes the testbed's binaries from the module in src. When they are up
// to date that takes a few seconds, the first time about eight minutes on two
// cores.
func build(ctx context.Context, src string, p *Progress) (bin string, err error) {
	if bin, err = filepath.Abs(filepath.Join(src, "bin")); err != nil {
		return "", err
	}
	if fresh(src, bin) {
		return bin, nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", errors.New("the demo's control planes are built from source and need Go: install Go 1.26, or run with DEMO_CLUSTERS=none")
	}
	p.step(views.ProgressView{Stage: views.ProgressBuild})
	list := exec.CommandContext(ctx, "go", "list", "-deps", ".", "./virtapi")
	list.Dir = src
	out, err := list.Output()
	if err != nil {
		return "", commandError("go list", err)
	}
	total := bytes.Count(out, []byte("\n"))
	done := 0
	for _, prog := range programs {
		// -v prints a line for each package when its compilation starts.
		c := exec.CommandContext(ctx, "go", "build", "-v", "-ldflags", ldflags, "-o", filepath.Join(bin, prog[0]), prog[1])
		c.Dir = src
		pipe, err := c.StderrPipe()
		if err != nil {
			return "", err
		}
		if err := c.Start(); err != nil {
			return "", err
		}
		var last []string
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			done++
			p.compiled(done, total)
			if last = append(last, lines.Text()); len(last) > 20 {
				last = last[1:]
			}
		}
		if err := c.Wait(); err != nil {
			return "", fmt.Errorf("building %s: %w\n%s", prog[0], err, strings.Join(last, "\n"))
		}
	}
	return bin, nil
}

// fresh says whether the binaries are newer than every source.
func fresh(src, bin string) bool {
	var oldest int64
	for _, prog := range programs {
		info, err := os.Stat(filepath.Join(bin, prog[0]))
		if err != nil {
			return false
		}
		if t := info.ModTime().UnixNano(); oldest == 0 || t < oldest {
			oldest = t
		}
	}
	for _, glob := range []string{"*.go", "go.mod", "virtapi/*.go", "crds/*"} {
		files, _ := filepath.Glob(filepath.Join(src, glob))
		for _, f := range files {
			if info, err := os.Stat(f); err != nil || info.ModTime().UnixNano() > oldest {
				return false
			}
		}
	}
	return true
}

// Kubectl runs the testbed's kubectl as the cluster's administrator.
func Kubectl(ctx context.Context, bin, kubeconfig, stdin string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, filepath.Join(bin, "testbed"), append([]string{"kubectl", "--kubeconfig", kubeconfig}, args...)...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.Output()
	if err != nil {
		return "", commandError("kubectl "+strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// commandError adds what a command said before it failed.
func commandError(what string, err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s: %w: %s", what, err, bytes.TrimSpace(exit.Stderr))
	}
	return fmt.Errorf("%s: %w", what, err)
}
