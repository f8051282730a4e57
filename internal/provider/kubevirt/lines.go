package kubevirt

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
)

// lines are the connections of one client. net/http closes those that are idle
// when it is told to, and keeps those whose last call ends a moment later: with
// a credential that was replaced they would stay signed in for a minute and a
// half. So a client that is closed closes all of them after its last call.
type lines struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	idle func() // closes those that are idle, in good order

	mu     sync.Mutex
	open   map[*line]bool
	calls  int // under way
	closed bool
}

func newLines(dial func(ctx context.Context, network, address string) (net.Conn, error)) *lines {
	return &lines{dial: dial, open: map[*line]bool{}}
}

// line is one connection. It takes itself off the list.
type line struct {
	net.Conn
	of *lines
}

// Close closes the connection.
func (l *line) Close() error {
	l.of.mu.Lock()
	delete(l.of.open, l)
	l.of.mu.Unlock()
	return l.Conn.Close()
}

// connect is http.Transport.DialContext.
func (ls *lines) connect(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := ls.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := &line{conn, ls}
	ls.mu.Lock()
	ls.open[l] = true
	ls.mu.Unlock()
	ls.drain() // whoever asked for it may have gone meanwhile
	return l, nil
}

func (ls *lines) close() {
	ls.mu.Lock()
	ls.closed = true
	ls.mu.Unlock()
	ls.drain()
}

func (ls *lines) begin() {
	ls.mu.Lock()
	ls.calls++
	ls.mu.Unlock()
}

func (ls *lines) end() {
	ls.mu.Lock()
	ls.calls--
	ls.mu.Unlock()
	ls.drain()
}

// drain closes the connections of a client that is closed and has no call under
// way.
func (ls *lines) drain() {
	if !ls.done() {
		return
	}
	ls.idle()
	ls.mu.Lock()
	left := slices.Collect(maps.Keys(ls.open))
	ls.mu.Unlock()
	for _, l := range left {
		_ = l.Close()
	}
}

func (ls *lines) done() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.closed && ls.calls == 0
}

// counted counts the calls that are under way: up to the end of the answer.
type counted struct {
	next  http.RoundTripper
	lines *lines
}

// RoundTrip counts until the body of the answer is closed.
func (c counted) RoundTrip(req *http.Request) (*http.Response, error) {
	c.lines.begin()
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		c.lines.end()
		return nil, err
	}
	resp.Body = &countedBody{resp.Body, sync.OnceFunc(c.lines.end)}
	return resp, nil
}

// countedBody is the body of an answer.
type countedBody struct {
	io.ReadCloser
	end func()
}

// Close ends the call.
func (a *countedBody) Close() error {
	defer a.end()
	return a.ReadCloser.Close()
}
