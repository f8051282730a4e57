package demo

import (
	"context"
	"fmt"
	"io"
	"sync"

	"kubevirt-shepherd.io/shepherd/views"
)

// Progress is how far the demo's control planes are. It is shown on the
// terminal and on the clusters page.
type Progress struct {
	out io.Writer

	mu      sync.Mutex
	now     *views.ProgressView // nil when there is nothing to wait for
	printed int                 // last percent that the terminal showed
}

// NewProgress shows progress on out.
func NewProgress(out io.Writer) *Progress { return &Progress{out: out} }

// Show is the state for a page, nil when there is nothing to wait for.
func (p *Progress) Show() *views.ProgressView {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return nil
	}
	return new(*p.now)
}

// step begins a new part of the work.
func (p *Progress) step(v views.ProgressView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now, p.printed = &v, 0
	title, text := v.Words(context.Background())
	fmt.Fprintf(p.out, "%s. %s\n", title, text)
}

// compiled moves the bar; the terminal hears of every tenth. The last part is
// for linking.
func (p *Progress) compiled(done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.Done, p.now.Total, p.now.Percent = done, total, min(done*95/total, 99)
	if p.now.Percent/10 > p.printed/10 {
		p.printed = p.now.Percent
		_, text := p.now.Words(context.Background())
		fmt.Fprintf(p.out, "  %3d %%  %s\n", p.now.Percent, text)
	}
}

// end says that there is nothing more to wait for.
func (p *Progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = nil
}

// say prints a line that is no progress.
func (p *Progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format+"\n", args...)
}
