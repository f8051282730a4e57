//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/testbed"
)

// hostileContext is a name that a file can have and a shell must not read.
const hostileContext = `it's "east" $(touch pwned); touch pwned`

// adminConfig is the kubeconfig of a control plane's administrator, whose context
// has that name, and the same as a cloud would write it: with a program that
// signs in.
func adminConfig(t *testing.T, tb *testbed.Cluster, context string) (own, cloud string) {
	t.Helper()
	c, err := tb.Credential()
	if err != nil {
		t.Fatal(err)
	}
	b64 := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	file := func(user string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]\n"+
			"users: [{name: u, user: {%s}}]\ncontexts: [{name: %q, context: {cluster: c, user: u}}]\ncurrent-context: %[4]q\n", c.Server, b64(c.CA), user, context)
	}
	return file("client-certificate-data: " + b64(c.ClientCert) + ", client-key-data: " + b64(c.ClientKey)),
		file("exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token, --cluster-name, east], interactiveMode: Never}")
}

// TestOnboarding is an admin who has nothing but the kubeconfig of a cloud: what
// the page tells them to run makes the credential that passes, and the whole way
// takes less than two minutes.
func TestOnboarding(t *testing.T) {
	p := start(t, dataDir(t))
	admin := browse(t, p.url, "admin", true)
	admin.signIn(cast.Admin.Username, cast.Admin.Password, "#main")
	begun := time.Now()

	// 1. The file of the cloud is refused, and answered with commands.
	own, cloud := adminConfig(t, planes.east, hostileContext)
	admin.open("/clusters/new")
	admin.fill([2]string{"#text", cloud})
	admin.press("form[action='/clusters/new'] button.btn-primary", "#refused")
	admin.sees("#refused-0", "Amazon EKS", time.Second)
	admin.click("#way-out-0 summary")
	admin.shot("refused")
	commands := admin.text("#recipe-0")

	// 2. They run in a shell as they stand there. kubectl is the real one.
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("kubectl", "#!/bin/sh\nexec '"+filepath.Join(planes.bin, "testbed")+"' kubectl \"$@\"\n", 0o755)
	sh := exec.CommandContext(t.Context(), "sh")
	sh.Dir, sh.Stdin = dir, strings.NewReader(commands)
	sh.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "KUBECONFIG="+write("admin.kubeconfig", own, 0o600))
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s\n%s", err, out, commands)
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Error("the name of the context was run")
	}
	made, err := os.ReadFile(filepath.Join(dir, "shepherd.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}

	// 3. What they wrote is uploaded beside a context that may do everything, and
	// one that leads nowhere; all are checked at once.
	admin.fill([2]string{"#text", string(made)})
	admin.press("form[action='/clusters/new'] button.btn-primary", "#checks")
	admin.click("#check-again")
	admin.sees("#verdict-0", "Ready to add", 15*time.Second)
	checks := admin.text("#checks")
	for _, bad := range []string{"to fix", "can do more than Shepherd needs"} {
		if strings.Contains(checks, bad) {
			t.Errorf("the credential of the commands: %s", checks)
		}
	}
	admin.shot("ready")
	admin.fill([2]string{"#name", "east"})
	admin.do("environment", chromedp.SetValue("#environment", "test"))
	admin.press("#add", "#clusters-list")
	admin.sees("#main", "east", 5*time.Second)
	took := time.Since(begun)
	t.Logf("from the file of a cloud to a cluster: %v", took.Round(100*time.Millisecond))
	if took > 2*time.Minute {
		t.Errorf("it took %v", took)
	}
	admin.sees("#clusters-list", "Healthy", 30*time.Second)

	// 4. The same cluster again, as its admin and through an address where nobody
	// answers: told before it is sent, each for itself.
	again := strings.Replace(own, "contexts: [", "contexts: [{name: nobody, context: {cluster: gone, user: u}}, ", 1)
	again = strings.Replace(again, "clusters: [", fmt.Sprintf("clusters: [{name: gone, cluster: {server: 'https://127.0.0.1:%d'}}, ", unused(t)), 1)
	admin.open("/clusters/new")
	admin.fill([2]string{"#text", again})
	admin.press("form[action='/clusters/new'] button.btn-primary", "#checks")
	admin.click("#check-all")
	admin.sees("#verdict-1", "Already here, as east", 15*time.Second)
	admin.sees("#verdict-0", "to fix", time.Second)
	admin.sees("#checks", "can do more than Shepherd needs", time.Second)
	admin.sees("#checks", "Replace its credential", time.Second)
	admin.shot("known")

	// 5. Choosing another context shows its result and keeps the focus there.
	admin.do("choose", chromedp.Focus("#context-1"))
	admin.keys(kb.ArrowUp)
	admin.sees("#checks", "not run", 5*time.Second)
	if focus, err := chromedp.Run(admin.ctx, chromedp.Evaluate[string](`document.activeElement.id`)); err != nil || focus != "context-0" {
		t.Errorf("the focus is at %q, %v", focus, err)
	}
	if strings.Contains(admin.text("#checks"), "already here") {
		t.Error("the result of another context is shown")
	}
	if bytes.Contains(made, []byte("eyJ")) && strings.Contains(p.log.String(), string(made[bytes.Index(made, []byte("eyJ")):][:40])) {
		t.Error("the token is in the log")
	}
}

// unused is a port of this machine on which nobody listens.
func unused(t *testing.T) int {
	t.Helper()
	first, err := testbed.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	return first
}
