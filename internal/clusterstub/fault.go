package clusterstub

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is what is wrong with a cluster.
type Fault string

// The faults.
const (
	Alive        Fault = "alive"
	Refused      Fault = "refused"      // nobody listens; open connections are cut
	Reset        Fault = "reset"        // every connection is cut as soon as it is made
	BlackHole    Fault = "black hole"   // connections are made, and nothing comes through any of them
	Unauthorized Fault = "unauthorized" // 401
	TooMany      Fault = "too many"     // 429
	Broken       Fault = "broken"       // 500
	Silent       Fault = "silent"       // watches stay open and say nothing, not even bookmarks
)

// Set makes a fault, or ends it with Alive.
func (c *Cluster) Set(f Fault) error {
	c.mu.Lock()
	before := c.fault
	c.fault = f
	ln := c.ln
	close(c.changed) // watches look at it
	c.changed = make(chan struct{})
	c.mu.Unlock()

	c.gate.set(f != BlackHole)
	switch {
	case f == Refused:
		_ = ln.Close()
		c.cut()
	case f == Reset:
		c.cut()
	}
	if before == Refused && f != Refused {
		return c.listen()
	}
	return nil
}

// Delay makes every answer wait; 0 ends it.
func (c *Cluster) Delay(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = d
}

// Cut closes all connections, as a switch that restarts does.
func (c *Cluster) Cut() { c.cut() }

func (c *Cluster) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *Cluster) state() (Fault, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault, c.delay
}

// gate holds back bytes while it is shut.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // closed: the gate is open
	open   bool
}

func (g *gate) init() {
	g.opened, g.open = make(chan struct{}), true
	close(g.opened)
}

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == open {
		return
	}
	if g.open = open; open {
		close(g.opened)
	} else {
		g.opened = make(chan struct{})
	}
}

func (g *gate) wait(closed <-chan struct{}) {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	select {
	case <-opened:
	case <-closed:
	}
}

// listener counts connections and gives each its gate.
type listener struct {
	net.Listener
	c *Cluster
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.c.counts.dials.Add(1)
		if f, _ := l.c.state(); f == Reset {
			_ = raw.(*net.TCPConn).SetLinger(0)
			_ = raw.Close()
			continue
		}
		conn := &gated{Conn: raw, c: l.c, closed: make(chan struct{})}
		l.c.mu.Lock()
		l.c.conns[conn] = true
		l.c.mu.Unlock()
		return conn, nil
	}
}

type gated struct {
	net.Conn
	c      *Cluster
	once   sync.Once
	closed chan struct{}
}

func (g *gated) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	g.c.gate.wait(g.closed)
	return n, err
}

func (g *gated) Write(p []byte) (int, error) {
	g.c.gate.wait(g.closed)
	return g.Conn.Write(p)
}

func (g *gated) Close() error {
	g.once.Do(func() { close(g.closed) })
	// The cluster's own lock may be held by who cuts all connections.
	go func() {
		g.c.mu.Lock()
		defer g.c.mu.Unlock()
		delete(g.c.conns, g)
	}()
	return g.Conn.Close()
}

// counters are kept while a cluster runs.
type counters struct {
	dials, requests, lists, watches, posts atomic.Int64
	open                                   atomic.Int64 // watches
}

// Counts is what a cluster was asked since it started.
type Counts struct {
	Dials    int64 `json:"dials"`    // connections that were accepted
	Requests int64 `json:"requests"` // all of them
	Lists    int64 `json:"lists"`    // pages of lists
	Watches  int64 `json:"watches"`  // that were begun
	Posts    int64 `json:"posts"`    // of objects
	Open     int64 `json:"open"`     // watches that are open now
}

// Counts tells what the cluster was asked.
func (c *Cluster) Counts() Counts {
	return Counts{
		Dials: c.counts.dials.Load(), Requests: c.counts.requests.Load(), Lists: c.counts.lists.Load(), Watches: c.counts.watches.Load(),
		Posts: c.counts.posts.Load(), Open: c.counts.open.Load(),
	}
}

// Meter counts lists of VMs and of their instances that are read at the same
// time, over all clusters that share it.
type Meter struct {
	mu        sync.Mutex
	now, peak int
}

func (m *Meter) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now++
	m.peak = max(m.peak, m.now)
}

func (m *Meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now--
}

// Peak is the most since the last call.
func (m *Meter) Peak() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peak
	m.peak = m.now
	return p
}
