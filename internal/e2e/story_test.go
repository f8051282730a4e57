//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"kubevirt-shepherd.io/shepherd/internal/cast"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/testbed"
)

func TestStory(t *testing.T) {
	for _, js := range []bool{true, false} {
		name := "without JavaScript"
		if js {
			name = "with JavaScript"
		}
		t.Run(name, func(t *testing.T) { story(t, js) })
	}
}

// story is the list, step by step. The service's name differs between
// the runs, which share the control planes.
func story(t *testing.T, js bool) {
	p := start(t, dataDir(t))
	service := "cache"
	if !js {
		service = "plain"
	}
	// 1. Sign in.
	admin := browse(t, p.url, "admin", js)
	admin.open("/clusters")
	if got := admin.address(); got != "/login?next=%2Fclusters" {
		t.Fatalf("a stranger is sent to %s", got)
	}
	admin.signIn(cast.Admin.Username, "wrong-password-1", "#login-error")
	admin.signIn(cast.Admin.Username, cast.Admin.Password, "#main")

	// 2. The admin adds both clusters.
	for _, c := range []struct {
		tb  *testbed.Cluster
		env domain.Environment
	}{{planes.east, domain.Test}, {planes.west, domain.Prod}} {
		addCluster(t, admin, c.tb, c.env)
	}
	admin.shot("clusters")

	// 3. Namespaces; the developer's system and service.
	admin.register("east", "shop-test", domain.Test)
	admin.register("west", "shop-prod", domain.Prod)
	dev := browse(t, p.url, "developer", js)
	dev.signIn(cast.Developer.Username, cast.Developer.Password, "#main")
	servicePath := dev.makeService("shop", "shop-test", service)

	// 4. The developer asks for two VMs.
	dev.fillRequest(servicePath, "2", "Cache for the end-to-end test of the portal.")
	dev.fill([2]string{"#ssh_keys", "not a key"})
	dev.press("form[action='/requests'] button.btn-primary", "#errors")
	if got := dev.value("#reason"); !strings.HasPrefix(got, "Cache for") {
		t.Errorf("a rejected form loses its input: %q", got)
	}
	dev.fill([2]string{"#ssh_keys", cast.PublicKey})
	dev.press("form[action='/requests'] button.btn-primary", "#timeline")
	ticket := ticketNumber(t, dev)
	dev.sees("#request-status", "Waiting for a decision", 10*time.Second)
	if n := len(objects(t, planes.east, "shop-test", service)); n != 0 {
		t.Fatalf("%d objects before anybody has said yes", n)
	}

	// 5. The requester cannot decide; the approver can.
	dev.open(fmt.Sprintf("/approvals/%d", ticket))
	if dev.exists("#approve") {
		t.Error("the requester gets a button to approve")
	}
	boss := browse(t, p.url, "approver", js)
	boss.signIn(cast.Approver.Username, cast.Approver.Password, "#main")
	boss.open("/approvals")
	boss.sees("#queue", domain.TicketName(ticket), 10*time.Second)
	boss.open(fmt.Sprintf("/approvals/%d", ticket))
	boss.sees("#ticket-form", "west", 10*time.Second) // listed, with the reason why it cannot
	boss.shot("ticket")
	boss.click("input[name=cluster]:not([disabled])")
	dev.open(fmt.Sprintf("/requests/%d", ticket))
	boss.press("#approve", "#main")

	// 6, 7. The worker creates, the watcher follows, open pages see it.
	dev.sees("#request-status", "Done", 60*time.Second)
	dev.shot("request-done")
	var seen []object
	eventually(t, 60*time.Second, "both VMs run", func() bool {
		seen = objects(t, planes.east, "shop-test", service)
		running := 0
		for _, o := range seen {
			if o.Status.PrintableStatus == "Running" {
				running++
			}
		}
		return len(seen) == 2 && running == 2
	})
	dev.open(servicePath)
	vmName := "shop-" + service + "-01"
	dev.sees("#vms", vmName, 10*time.Second)
	dev.press(fmt.Sprintf("//div[@id='vms']//a[normalize-space()=%q]", vmName), "#vm-head")
	vmPath := dev.address()
	dev.sees("#vm-head", "Running", 60*time.Second)
	dev.shot("vm-running")

	if js {
		keyboard(dev, service, vmName)
	}

	// 9. kubectl shows the same VM, with our labels and its owner.
	for _, o := range seen {
		l := o.Metadata.Labels
		if l[domain.LabelManagedBy] != domain.ManagedBy || l[domain.LabelSystem] != "shop" || l[domain.LabelService] != service ||
			l[domain.LabelTicket] != domain.TicketName(ticket) || l[domain.LabelInstance] == "" || o.Metadata.Annotations[domain.AnnotationOperation] == "" {
			t.Errorf("labels of %s: %v", o.Metadata.Name, l)
		}
		if owner := o.Metadata.Annotations[domain.AnnotationOwner]; owner != cast.Developer.Username {
			t.Errorf("owner of %s: %q", o.Metadata.Name, owner)
		}
	}

	// 8. Stop and start, which need no approval in test; then delete, which does.
	dev.power("STOP")
	dev.sees("#vm-head", "Stopped", 60*time.Second)
	dev.open(vmPath)
	dev.power("START")
	dev.sees("#vm-head", "Running", 90*time.Second)
	dev.open(vmPath + "/delete")
	dev.fill([2]string{"#typed", vmName}, [2]string{"#reason", "The test is over, nobody needs it."})
	dev.press("#main form[method=post] button.btn-danger", "#timeline")
	deletion := ticketNumber(t, dev)
	boss.open(fmt.Sprintf("/approvals/%d", deletion))
	boss.press("#approve", "#main")
	dev.sees("#request-status", "Done", 60*time.Second)
	eventually(t, 30*time.Second, "the object is gone", func() bool { return len(objects(t, planes.east, "shop-test", service)) == 1 })

	// Sign out by POST; the session is over.
	dev.open("/")
	dev.click("details:has(form[action='/logout']) > summary")
	dev.press("form[action='/logout'] button", "#username")
	dev.open(vmPath)
	if !strings.HasPrefix(dev.address(), "/login") {
		t.Errorf("after signing out %s is shown", dev.address())
	}
}

// keyboard goes from the explorer to a VM and to the search without a mouse.
func keyboard(p *page, service, vmName string) {
	p.t.Helper()
	p.open("/explorer")
	p.do("focus the tree", chromedp.Focus("#tree [role=row][tabindex='0']"))
	// It is open as on the page of the VM; letters lead to a row by its name.
	p.sees("#tree", service+"-01", 5*time.Second)
	p.keys(kb.ArrowDown)
	p.keys(service + "-01")
	p.keys(kb.Enter)
	p.sees("#vm-head", vmName, 10*time.Second)
	p.keys("/")
	if !p.exists("#palette[open] #palette-q:focus") {
		p.t.Error("the key / does not lead to the search")
	}
	p.keys(kb.Escape)
	if p.exists("#palette[open]") {
		p.t.Error("Escape does not close the search")
	}
}

// addCluster pastes a kubeconfig, reads the pre-flight and confirms.
func addCluster(t *testing.T, admin *page, tb *testbed.Cluster, env domain.Environment) {
	t.Helper()
	admin.open("/clusters/new")
	admin.fill([2]string{"#text", kubeconfig(t, tb, env)})
	admin.press("form[action='/clusters/new'] button.btn-primary", "#checks")
	admin.fill([2]string{"#name", tb.Name})
	admin.do("environment", chromedp.SetValue("#environment", string(env)))
	if admin.js {
		admin.click("#check-again")
	} else {
		admin.press("#check-again", "#checks")
	}
	admin.sees("#verdict-0", "Ready to add", 15*time.Second)
	admin.shot("preflight-" + tb.Name)
	admin.press("#add", "#clusters-list")
	admin.sees("#clusters-list", tb.Name, 15*time.Second)
	admin.sees("#clusters-list", "Healthy", 60*time.Second)
}

// register allows VMs in a namespace of a cluster.
func (p *page) register(cluster, name string, env domain.Environment) {
	p.t.Helper()
	p.open("/namespaces/new")
	p.choose("#cluster", cluster)
	p.fill([2]string{"#name", name})
	p.do("environment", chromedp.SetValue("#environment", string(env)))
	p.press("form[action='/namespaces'] button.btn-primary", "#namespace")
	p.sees("#main", name, 5*time.Second)
	p.sees("#main", "Present", 5*time.Second)
}

// makeService makes a system with a service and answers with the service's page.
func (p *page) makeService(system, namespace, service string) (path string) {
	p.t.Helper()
	p.open("/systems/new")
	p.fill([2]string{"#name", system}, [2]string{"#docs", "# Docs\n\nOf the **" + system + "**."})
	p.choose("#namespace", namespace)
	p.press("form[action='/systems'] button.btn-primary", "#detail")
	p.sees("#main", system, 5*time.Second)
	p.open(p.address() + "/services/new")
	p.fill([2]string{"#name", service})
	p.press("#main form[method=post] button.btn-primary", "#vms")
	return p.address()
}

// fillRequest fills the form for VMs of a service, but for the keys.
func (p *page) fillRequest(servicePath, count, reason string) {
	p.t.Helper()
	p.open("/requests/new?service=" + filepath.Base(servicePath))
	p.click("input[name=template]")
	p.click("input[name=size]")
	p.fill([2]string{"#count", count}, [2]string{"#disk", "20"}, [2]string{"#reason", reason})
}

// A portal that is killed at the worst moments makes each VM once.
func TestKilledPortal(t *testing.T) {
	for _, point := range []string{"before-create", "after-post"} {
		t.Run(point, func(t *testing.T) {
			data := dataDir(t)
			mark := filepath.Join(data, "mark")
			service := strings.ReplaceAll(point, "-", "")
			p := start(t, data, "SHEPHERD_FAILPOINT="+point, "SHEPHERD_FAILPOINT_MARK="+mark)
			admin := browse(t, p.url, "admin", false)
			admin.signIn(cast.Admin.Username, cast.Admin.Password, "#main")
			addCluster(t, admin, planes.east, domain.Test)
			admin.register("east", "platform-test", domain.Test)

			dev := browse(t, p.url, "developer", false)
			dev.signIn(cast.Developer.Username, cast.Developer.Password, "#main")
			dev.fillRequest(dev.makeService("crash", "platform-test", service), "1", "One VM through a crash of the portal.")
			dev.press("form[action='/requests'] button.btn-primary", "#timeline")
			ticket := ticketNumber(t, dev)
			boss := browse(t, p.url, "approver", false)
			boss.signIn(cast.Approver.Username, cast.Approver.Password, "#main")
			boss.open(fmt.Sprintf("/approvals/%d", ticket))
			boss.click("input[name=cluster]:not([disabled])")
			boss.click("#approve")

			select {
			case <-p.done:
			case <-time.After(60 * time.Second):
				t.Fatal("the portal was not killed at the failpoint")
			}
			if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
				t.Fatalf("ended with %v, want SIGKILL", p.cmd.ProcessState)
			}
			if _, err := os.Stat(mark); err != nil {
				t.Fatal(err)
			}
			want := 0
			if point == "after-post" {
				want = 1
			}
			if n := len(objects(t, planes.east, "platform-test", service)); n != want {
				t.Fatalf("%d objects after the kill at %s, want %d", n, point, want)
			}

			p = start(t, data, "SHEPHERD_FAILPOINT="+point, "SHEPHERD_FAILPOINT_MARK="+mark)
			dev.url = p.url
			dev.open(fmt.Sprintf("/requests/%d", ticket))
			// A job that lost its worker is rescued after a minute (package jobs).
			dev.sees("#request-status", "Done", 150*time.Second)
			if n := len(objects(t, planes.east, "platform-test", service)); n != 1 {
				t.Errorf("%d objects, want exactly one", n)
			}
		})
	}
}

var ticketPath = regexp.MustCompile(`^/requests/(\d+)`)

func ticketNumber(t *testing.T, p *page) int {
	t.Helper()
	m := ticketPath.FindStringSubmatch(p.address())
	if m == nil {
		t.Fatalf("%s is at %s, not at a request", p.name, p.address())
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// choose picks the option of a select whose text has a word in it.
func (p *page) choose(sel, word string) {
	p.t.Helper()
	ctx := p.ctx
	p.do("wait for "+sel, chromedp.WaitVisible(sel))
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(
		`(Array.from(document.querySelector(%q).options).find(o => o.text.includes(%q)) || {}).value || ""`, sel, word)))
	if err != nil || value == "" {
		p.t.Fatalf("%s: no option with %q in %s: %v", p.name, word, sel, err)
	}
	p.do("choose "+word, chromedp.SetValue(sel, value))
}

// value is what stands in a field.
func (p *page) value(sel string) string {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Value(sel))
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func (p *page) exists(sel string) bool {
	p.t.Helper()
	n, err := chromedp.Run(p.ctx, chromedp.Evaluate[int](fmt.Sprintf(`document.querySelectorAll(%q).length`, sel)))
	if err != nil {
		p.t.Fatal(err)
	}
	return n > 0
}

// power opens the menu and presses an entry.
func (p *page) power(op string) {
	p.t.Helper()
	p.click("#vm-head details.menu summary")
	p.press(fmt.Sprintf("#vm-head button[name=do][value=%s]", op), "#vm-head")
}
