package kubevirt

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// apiServer plays the part of a Kubernetes API server that a watcher sees:
// lists by pages, watches from a resourceVersion, bookmarks, and a past that it
// forgets. It counts what it is asked, and fails as told.
type apiServer struct {
	server *httptest.Server
	cred   domain.Credential

	mode      atomic.Int32 // of the network
	dials     atomic.Int32
	lists     atomic.Int32 // first pages
	watches   atomic.Int32
	versions  atomic.Int32 // of /version
	listing   atomic.Int32 // at this moment
	mostLists atomic.Int32
	listTakes atomic.Int64 // nanoseconds
	bookmarks atomic.Int64 // nanoseconds between two; 0: none
	mute      atomic.Bool  // watches say nothing at all
	hook      atomic.Pointer[http.HandlerFunc]

	mu      sync.Mutex
	changed chan struct{}
	version int
	objects map[string]map[string]string // path to name to JSON
	history []happened
	horizon int // what is older is forgotten
	open    []net.Conn
}

type happened struct {
	version      int
	path, change string
	object       string
}

// The network.
const (
	netUp   = iota
	netDown // connections are closed at once
	netHole // connections are taken, and nothing follows
)

const (
	pathVMs   = "/apis/kubevirt.io/v1/virtualmachines"
	pathVMIs  = "/apis/kubevirt.io/v1/virtualmachineinstances"
	pathNodes = "/api/v1/nodes"
)

func newAPIServer(t testing.TB) *apiServer {
	t.Helper()
	a := &apiServer{changed: make(chan struct{}), objects: map[string]map[string]string{pathVMs: {}, pathVMIs: {}, pathNodes: {}}}
	a.bookmarks.Store(int64(50 * time.Millisecond))
	a.server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.server.EnableHTTP2 = true
	a.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.server.Listener = &gate{a.server.Listener, a}
	a.server.StartTLS()
	a.cred = domain.Credential{Server: a.server.URL, CA: pemOf(a.server.Certificate()), Token: domain.Secret(testToken)}
	t.Cleanup(func() {
		a.network(netDown)
		a.server.CloseClientConnections()
		a.server.Close()
	})
	return a
}

// gate counts connections and breaks the network.
type gate struct {
	net.Listener
	a *apiServer
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.a.dials.Add(1)
		g.a.mu.Lock()
		g.a.open = append(g.a.open, c)
		g.a.mu.Unlock()
		switch g.a.mode.Load() {
		case netUp:
			return c, nil
		case netDown:
			_ = c.Close()
		}
	}
}

// network changes the state of the network; all connections break.
func (a *apiServer) network(mode int32) {
	a.mode.Store(mode)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.open {
		_ = c.Close()
	}
	a.open = nil
}

// put adds or changes an object; the JSON has %d where its version goes.
func (a *apiServer) put(path, name, object string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	change := "MODIFIED"
	if _, ok := a.objects[path][name]; !ok {
		change = "ADDED"
	}
	object = fmt.Sprintf(object, a.version)
	a.objects[path][name] = object
	a.happen(happened{a.version, path, change, object})
}

func (a *apiServer) remove(path, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	object := a.objects[path][name]
	delete(a.objects[path], name)
	a.happen(happened{a.version, path, "DELETED", object})
}

func (a *apiServer) happen(h happened) {
	a.history = append(a.history, h)
	close(a.changed)
	a.changed = make(chan struct{})
}

// forget makes all places of now too old.
func (a *apiServer) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	a.horizon = a.version
	a.history = nil
}

func (a *apiServer) putVM(name, state string) {
	a.put(pathVMs, name, `{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachine","metadata":{"name":"`+name+`","namespace":"n","uid":"uid-`+name+
		`","resourceVersion":"%d","labels":{"app.kubernetes.io/managed-by":"kubevirt-shepherd"}},"spec":{"runStrategy":"Always","template":{"spec":{}}},"status":{"printableStatus":"`+state+`","conditions":[{"type":"Ready","status":"True"}]}}`)
}

func (a *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	if h := a.hook.Load(); h != nil && *h != nil {
		(*h)(w, r)
		return
	}
	q := r.URL.Query()
	switch {
	case r.URL.Path == "/version":
		a.versions.Add(1)
		answer(w, 200, map[string]string{"major": "1", "gitVersion": "v1.34.0"})
	case a.objects[r.URL.Path] == nil:
		answer(w, 404, status(404, "NotFound", "no such path"))
	case q.Get("watch") == "true":
		a.watches.Add(1)
		a.stream(w, r)
	default:
		a.list(w, r)
	}
}

func (a *apiServer) list(w http.ResponseWriter, r *http.Request) {
	now := a.listing.Add(1)
	defer a.listing.Add(-1)
	for most := a.mostLists.Load(); now > most && !a.mostLists.CompareAndSwap(most, now); most = a.mostLists.Load() {
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	if from == 0 {
		a.lists.Add(1)
	}
	time.Sleep(time.Duration(a.listTakes.Load()))
	a.mu.Lock()
	objects := a.objects[r.URL.Path]
	names := slices.Sorted(maps.Keys(objects))
	next := ""
	if limit, _ := strconv.Atoi(r.URL.Query().Get("limit")); limit > 0 && from+limit < len(names) {
		names, next = names[:from+limit], strconv.Itoa(from+limit)
	}
	items := make([]string, 0, len(names)-from)
	for _, n := range names[from:] {
		items = append(items, objects[n])
	}
	version := a.version
	a.mu.Unlock()
	group, kind := kindOf(r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"apiVersion":"%s","items":[%s],"kind":"%sList","metadata":{"resourceVersion":"%d","continue":"%s"}}`, group, strings.Join(items, ","), kind, version, next)
}

// kindOf says of what there are lists at a path.
func kindOf(at string) (group, kind string) {
	group = strings.TrimPrefix(strings.TrimPrefix(path.Dir(at), "/apis/"), "/api/")
	return group, map[string]string{pathVMs: "VirtualMachine", pathVMIs: "VirtualMachineInstance", pathNodes: "Node"}[at]
}

func (a *apiServer) stream(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		answer(w, 400, status(400, "BadRequest", "resourceVersion"))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	send := func(change string, object any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"type": change, "object": object})
		w.(http.Flusher).Flush()
	}
	a.mu.Lock()
	horizon := a.horizon
	a.mu.Unlock()
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	if from < horizon {
		send("ERROR", status(410, "Expired", "too old resource version"))
		return
	}
	for {
		a.mu.Lock()
		changed, version := a.changed, a.version
		var news []happened
		for _, h := range a.history {
			if h.version > from && h.path == r.URL.Path {
				news = append(news, h)
			}
		}
		a.mu.Unlock()
		var beat <-chan time.Time
		if d := time.Duration(a.bookmarks.Load()); d > 0 {
			beat = time.After(d)
		}
		if !a.mute.Load() {
			for _, h := range news {
				send(h.change, json.RawMessage(h.object))
			}
			from = version
		}
		select {
		case <-changed:
		case <-beat:
			if !a.mute.Load() {
				group, kind := kindOf(r.URL.Path)
				send("BOOKMARK", map[string]any{"kind": kind, "apiVersion": group, "metadata": map[string]any{"resourceVersion": strconv.Itoa(from)}})
			}
		case <-r.Context().Done():
			return
		}
	}
}
