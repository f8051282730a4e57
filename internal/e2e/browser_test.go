//go:build e2e

package e2e_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"kubevirt-shepherd.io/shepherd/internal/gallery"
)

// page is one person at a browser of their own.
type page struct {
	t    *testing.T
	ctx  context.Context
	url  string // of the portal
	name string
	js   bool
}

// limit is how long anything on a page may take.
const limit = 20 * time.Second

func chromium(t *testing.T) string {
	t.Helper()
	path, err := gallery.Chromium()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// browse opens a browser. Anything that the page complains about, such as a
// breach of the content security policy, fails the test.
func browse(t *testing.T, url, name string, js bool) *page {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox,
		chromedp.WindowSize(1440, 1000), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true))
	alloc, cancel1 := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel2 := chromedp.NewContext(alloc)
	t.Cleanup(func() { cancel2(); cancel1() })
	p := &page{t: t, ctx: ctx, url: url, name: name, js: js}
	// The browser lives as long as the context of the first action.
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	if err := chromedp.Listen(ctx, func(ev any) {
		text := ""
		switch e := ev.(type) {
		case *log.EventEntryAdded:
			text = string(e.Entry.Source) + ": " + e.Entry.Text
		case *runtime.EventExceptionThrown:
			text = "exception: " + e.ExceptionDetails.Text
		}
		if strings.HasPrefix(text, "exception") || strings.Contains(text, "Content Security") {
			mu.Lock()
			defer mu.Unlock()
			t.Errorf("%s's browser: %s", name, text)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	if !js {
		if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// do runs actions within a time limit and shows the page when they fail.
func (p *page) do(what string, as ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	if err := chromedp.Do(ctx, as...); err != nil {
		p.shot("failed")
		p.t.Fatalf("%s: %s: %v\n%s", p.name, what, err, p.text("body"))
	}
}

func (p *page) open(path string) {
	p.t.Helper()
	p.do("open "+path, chromedp.Navigate(p.url+path), chromedp.WaitReady("body"))
}

// fill types into fields, by id or selector.
func (p *page) fill(fields ...[2]string) {
	p.t.Helper()
	for _, f := range fields {
		p.do("fill "+f[0], chromedp.WaitVisible(f[0]), chromedp.SetValue(f[0], f[1]))
	}
}

// press clicks what leads to another page and waits for sel on it.
func (p *page) press(what, sel string) {
	p.t.Helper()
	p.mark()
	p.click(what)
	for end := time.Now().Add(limit); p.exists("html[data-before]"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			p.shot("failed")
			p.t.Fatalf("%s: %s leads nowhere:\n%s", p.name, what, p.text("body"))
		}
	}
	p.do("wait for "+sel+" after "+what, chromedp.WaitReady(sel))
}

// mark tells the page that is shown from the one that will be.
func (p *page) mark() {
	p.t.Helper()
	if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](`document.documentElement.dataset.before = "1"`)); err != nil {
		p.t.Fatal(err)
	}
}

// click clicks what may change a part of the page. A part that is replaced in
// the very moment is looked for again, as a person would.
func (p *page) click(what string) {
	p.t.Helper()
	for try := 0; ; try++ {
		ctx, cancel := context.WithTimeout(p.ctx, limit)
		err := chromedp.Do(ctx, chromedp.WaitVisible(what), chromedp.Click(what))
		cancel()
		if err == nil {
			return
		}
		if try == 3 || !strings.Contains(err.Error(), "node") {
			p.shot("failed")
			p.t.Fatalf("%s: click %s: %v\n%s", p.name, what, err, p.text("body"))
		}
	}
}

// keys presses keys where the focus is.
func (p *page) keys(keys string) {
	p.t.Helper()
	p.do("keys", chromedp.KeyEvent(keys))
}

// text is what a part of the page says; "" when it is not there.
func (p *page) text(sel string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Text(sel))
	if err != nil {
		return ""
	}
	return s
}

// address is where the browser is, without the host.
func (p *page) address() string {
	p.t.Helper()
	s, err := chromedp.Run(p.ctx, chromedp.Location())
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimPrefix(s, p.url)
}

// sees waits until a part of the page says something: by itself where there is
// JavaScript, by reloading where there is none.
func (p *page) sees(sel, text string, within time.Duration) {
	p.t.Helper()
	for end := time.Now().Add(within); ; {
		if strings.Contains(p.text(sel), text) {
			return
		}
		if time.Now().After(end) {
			p.shot("failed")
			p.t.Fatalf("%s: %s does not say %q after %v, but:\n%s", p.name, sel, text, within, p.text("body"))
		}
		time.Sleep(250 * time.Millisecond)
		if !p.js {
			p.do("reload", chromedp.Reload(), chromedp.WaitReady("body"))
		}
	}
}

// signIn tries to begin a session; sel is what the answer has.
func (p *page) signIn(name, password, sel string) {
	p.t.Helper()
	p.open("/login")
	p.fill([2]string{"#username", name}, [2]string{"#password", password})
	p.press("form[action='/login'] button", sel)
}

// shot keeps a picture when SHEPHERD_E2E_SHOTS names a directory.
func (p *page) shot(name string) {
	dir := os.Getenv("SHEPHERD_E2E_SHOTS")
	if dir == "" {
		return
	}
	b, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(90))
	if err != nil {
		return
	}
	file := strings.NewReplacer("/", "-", " ", "-").Replace(p.t.Name() + "-" + p.name + "-" + name + ".png")
	_ = os.WriteFile(filepath.Join(dir, file), b, 0o644)
}
