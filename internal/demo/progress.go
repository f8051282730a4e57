package demo

import (
	"fmt"
	"io"
	"sync"
)

// Progress is how far the demo's control planes are. It is shown on the
// terminal and on the clusters page.
type Progress struct {
	out io.Writer

	mu      sync.Mutex
	title   string
	text    string
	percent int
	printed int // last percent that the terminal showed
}

// NewProgress shows progress on out.
func NewProgress(out io.Writer) *Progress { return &Progress{out: out} }

// Show is the state for a page: title is "" when there is nothing to wait for.
func (p *Progress) Show() (title, text string, percent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.title, p.text, p.percent
}

// step begins a new part of the work.
func (p *Progress) step(title, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.title, p.text, p.percent, p.printed = title, text, 0, 0
	if title != "" {
		fmt.Fprintf(p.out, "%s. %s\n", title, text)
	}
}

// set moves the bar; the terminal hears of every tenth.
func (p *Progress) set(percent int, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.percent, p.text = min(percent, 99), text
	if p.percent/10 > p.printed/10 {
		p.printed = p.percent
		fmt.Fprintf(p.out, "  %3d %%  %s\n", p.percent, text)
	}
}

// say prints a line that is no progress.
func (p *Progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format+"\n", args...)
}
