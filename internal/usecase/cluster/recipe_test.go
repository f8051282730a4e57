package cluster_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/kubeconfig"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// fakeKubectl writes down its arguments, one a line, and answers as kubectl does.
const fakeKubectl = `#!/bin/sh
for a in "$@"; do printf '<%s>' "$a" >> calls; done
echo >> calls
case "$*" in
*"apply -f -"*) cat > applied ;;
*go-template*) printf token-of-the-account ;;
*"ca\\.crt"*) printf Y2EgaW5zaWRl ;;
*certificate-authority-data*) printf Y2EgaW4gZmlsZQ== ;;
*cluster.server*) printf https://current.example:6443 ;;
esac
`

// run pastes a recipe into a shell in a directory of its own and reads what it
// has left there.
func run(t *testing.T, recipe string) (dir string, read func(name string) string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(fakeKubectl), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	sh := exec.CommandContext(t.Context(), "sh")
	sh.Dir, sh.Stdin = dir, strings.NewReader(recipe)
	sh.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir, func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // the test's own
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// The names of a context are whatever somebody wrote into a file. In the shell
// they are one word, and do nothing.
func TestRecipeQuotesNames(t *testing.T) {
	for _, name := range []string{
		"plain", "a b", "it's", `'; touch pwned; '`, "$(touch pwned)", "`touch pwned`", `\`, `\'; touch pwned #`, "!!", "-n", "東 京", `"`, "*", "a\tb",
		"'\"'\"'$(touch pwned)",
	} {
		c := cluster.Context{Name: name, Server: "https://10.0.0.1:6443"}
		dir, read := run(t, c.Recipe("kind: ClusterRole\n"))
		for i, call := range strings.Split(strings.TrimSpace(read("calls")), "\n") {
			if !strings.HasPrefix(call, "<--context><"+name+">") {
				t.Errorf("%q: call %d is %s", name, i, call)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
			t.Errorf("%q was run", name)
		}
	}
}

func TestRecipe(t *testing.T) {
	insecure := apperr.New(apperr.ErrKubeconfigInsecureTLS)
	for name, c := range map[string]struct {
		context              cluster.Context
		server, ca, fileName string
	}{
		"login of a cloud": {cluster.Context{Name: "arn:aws:eks:eu-central-1:1:cluster/prod-1", Server: "https://e.example"}, "https://e.example", "Y2EgaW4gZmlsZQ==", "prod-1"},
		"relay":            {cluster.Context{Name: "east", Server: "https://rancher.example/k8s/clusters/c-1", Login: kubeconfig.LoginRancher}, "https://ADDRESS-OF-THE-CLUSTER:6443", "Y2EgaW5zaWRl", "east"},
		"bad server":       {cluster.Context{Name: "kubernetes", Cluster: "west"}, "https://ADDRESS-OF-THE-CLUSTER:6443", "Y2EgaW5zaWRl", "west"},
		"no check of TLS":  {cluster.Context{Name: "$(x)", Server: "https://10.0.0.1", Refusal: insecure}, "https://10.0.0.1", "Y2EgaW5zaWRl", "shepherd"},
	} {
		_, read := run(t, c.context.Recipe("kind: ClusterRole\n"))
		got := read("shepherd.kubeconfig")
		for _, want := range []string{"server: " + c.server + "\n", "certificate-authority-data: " + c.ca + "\n", "token: token-of-the-account\n", "current-context: " + c.fileName + "\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", name, want, got)
			}
		}
		if !strings.Contains(read("applied"), "kind: ClusterRole\n---") {
			t.Errorf("%s: applied\n%s", name, read("applied"))
		}
	}
	dir, read := run(t, cluster.Recipe("kind: ClusterRole\n"))
	if got := read("shepherd.kubeconfig"); !strings.Contains(got, "server: https://current.example:6443\n") {
		t.Errorf("of the current context:\n%s", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "shepherd.kubeconfig")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read it: %v, %v", info.Mode(), err)
	}
	if c := (cluster.Context{Name: "a\ufffdb"}); !c.Nameless() || strings.Contains(c.Recipe(""), "--context") {
		t.Error("a name that is not the file's is used")
	}
	if got := (cluster.Context{Name: "mini kube"}).Export(); got != "kubectl --context 'mini kube' config view --raw --flatten --minify > shepherd.kubeconfig" {
		t.Errorf("export %s", got)
	}
}
