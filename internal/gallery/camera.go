package gallery

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// Mode is how a page is looked at. Sizes are CSS pixels; a picture is as tall
// as the page, up to MaxHeight.
type Mode struct {
	Name                string
	Width, Height, tall int64
	features            []*emulation.MediaFeature
}

func media(pairs ...string) []*emulation.MediaFeature {
	// Motion would make every picture another one.
	list := []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, &emulation.MediaFeature{Name: pairs[i], Value: pairs[i+1]})
	}
	return list
}

// The modes of the pictures.
var (
	Light = Mode{"light", 1280, 800, 6000, media("prefers-color-scheme", "light")}
	Dark  = Mode{"dark", 1280, 800, 6000, media("prefers-color-scheme", "dark")}
	Phone = Mode{"phone", 390, 844, 6000, media("prefers-color-scheme", "light")}
)

// Modes lists them.
func Modes() []Mode { return []Mode{Light, Dark, Phone} }

// Documented are the pages whose pictures are kept beside the guides.
var Documented = []string{
	"account-sessions", "approvals", "audit", "catalog", "cluster", "cluster-draft", "cluster-new", "clusters", "components", "explorer", "home",
	"home-admin-first", "home-approver", "home-first", "login", "namespaces", "notifications", "people", "person-link", "request", "request-new", "request-new-errors",
	"request-pending", "requests", "search", "service", "system", "template-form", "ticket", "ticket-conflict", "ticket-own", "vm",
}

// File is where the picture of a page is kept below the directory of images.
func File(dir string, m Mode, name string) string {
	if m.Name == Light.Name {
		return filepath.Join(dir, name+".webp")
	}
	return filepath.Join(dir, m.Name, name+".webp")
}

// patience is how long a page may take.
const patience = 30 * time.Second

// Camera is a browser tab that looks at pages of the gallery.
type Camera struct {
	ctx context.Context
	url string
}

// Chromium finds the browser: SHEPHERD_CHROMIUM, or the first one installed.
func Chromium() (string, error) {
	if p := os.Getenv("SHEPHERD_CHROMIUM"); p != "" {
		return p, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
	}
	return "", errors.New("no Chromium found: install it, or set SHEPHERD_CHROMIUM")
}

// OpenCamera serves the gallery and opens a browser on it.
func OpenCamera(ctx context.Context) (*Camera, func(), error) {
	path, err := Chromium()
	if err != nil {
		return nil, nil, err
	}
	server := httptest.NewServer(Handler())
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("font-render-hinting", "none"), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("disable-background-networking", true))
	alloc, cancel1 := chromedp.NewExecAllocator(ctx, opts...)
	tab, cancel2 := chromedp.NewContext(alloc)
	stop := func() { cancel2(); cancel1(); server.Close() }
	// The browser lives as long as the context of the first action.
	if err := chromedp.Do(tab, chromedp.Navigate("about:blank")); err != nil {
		stop()
		return nil, nil, fmt.Errorf("start %s: %w", path, err)
	}
	// Who leaves a form half done is asked; a camera always goes on.
	err = chromedp.Listen(tab, func(ev any) {
		if _, ok := ev.(*page.EventJavascriptDialogOpening); ok {
			go func() {
				// The browser may be closing; what waits for it tells.
				_, _ = chromedp.Call(tab, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
			}()
		}
	})
	if err != nil {
		stop()
		return nil, nil, err
	}
	return &Camera{tab, server.URL}, stop, nil
}

// Show opens a page of the gallery as it is in a mode.
func (c *Camera) Show(name string, m Mode) error { return c.Visit(c.url+"/page/"+name, m) }

// Visit opens any address as it is in a mode.
func (c *Camera) Visit(url string, m Mode) error {
	if _, err := chromedp.Call(c.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: m.features}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	err := chromedp.Do(ctx, chromedp.EmulateViewport(m.Width, m.Height), chromedp.Navigate(url), chromedp.WaitReady("body"))
	if err != nil {
		return fmt.Errorf("%s in %s: %w", url, m.Name, err)
	}
	_, err = Ask[bool](c, `document.fonts.ready.then(() => true)`)
	return err
}

// Ask evaluates an expression on the page; a promise is awaited.
func Ask[T any](c *Camera, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Keys presses keys where the focus is.
func (c *Camera) Keys(keys string, opts ...chromedp.KeyOption) error {
	return chromedp.Do(c.ctx, chromedp.KeyEvent(keys, opts...))
}

// SetCookie gives the browser a cookie for an address.
func (c *Camera) SetCookie(url, name, value string) error {
	_, err := chromedp.Call(c.ctx, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: url})
	return err
}

// violations asks axe-core for everything that WCAG 2.2 AA wants, and what its
// authors recommend.
const violations = `axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], rules: {"target-size": {enabled: true}}})
	.then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.target.join(" ") + ": " + (n.any[0] || n.all[0] || n.none[0] || {message: ""}).message)))`

// Audit lists what axe-core, whose script is given, finds on the page that is
// shown.
func (c *Camera) Audit(script []byte) ([]string, error) {
	if _, err := Ask[int](c, string(script)+"; 0"); err != nil {
		return nil, err
	}
	return Ask[[]string](c, violations)
}

// Shoot takes a picture of the page that is shown, as WebP.
func (c *Camera) Shoot(m Mode) ([]byte, error) {
	height, err := Ask[int64](c, `(scrollTo(0, 0), document.documentElement.scrollHeight)`) // an error has scrolled to itself
	if err != nil {
		return nil, err
	}
	height = min(max(height, m.Height), m.tall)
	if err := chromedp.Do(c.ctx, chromedp.EmulateViewport(m.Width, height)); err != nil {
		return nil, err
	}
	quality := int64(70)
	r, err := chromedp.Call(c.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatWebp, Quality: &quality,
		Clip: &page.Viewport{Width: float64(m.Width), Height: float64(height), Scale: 1}})
	if err != nil {
		return nil, err
	}
	return r.Data, nil
}

// Screenshots writes the pictures of the named pages, or of all when there are
// no names, in every mode, below dir. A picture that looks like the one there
// is left as it is.
func Screenshots(ctx context.Context, dir string, names ...string) (written int, err error) {
	if len(names) == 0 {
		for _, p := range Pages() {
			names = append(names, p.Name)
		}
	}
	c, stop, err := OpenCamera(ctx)
	if err != nil {
		return 0, err
	}
	defer stop()
	for _, m := range Modes() {
		for _, name := range names {
			if err := c.Show(name, m); err != nil {
				return written, err
			}
			now, err := c.Shoot(m)
			if err != nil {
				return written, err
			}
			file := File(dir, m, name)
			if then, err := os.ReadFile(file); err == nil {
				if share, err := Differs(then, now); err == nil && share <= Tolerance {
					continue
				}
			}
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return written, err
			}
			if err := os.WriteFile(file, now, 0o644); err != nil {
				return written, err
			}
			written++
		}
	}
	return written, nil
}

// Before runs a script in every document that is opened from now on, before
// anything of the document itself.
func (c *Camera) Before(script string) error {
	_, err := chromedp.Call(c.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
	return err
}
