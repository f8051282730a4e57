package kubevirt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	kubevirtclient "kubevirt.io/client-go/kubevirt"

	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Options are the settings of the connections to clusters.
type Options struct {
	// AllowCIDRs, when not empty, are the only ranges that are connected to.
	// Loopback is closed unless a prefix inside loopback is listed (test bed,
	// demo). Link-local, multicast and metadata addresses are always closed.
	AllowCIDRs []netip.Prefix
	// DenyCIDRs and DenyAddrs are closed as well: the portal's own listeners
	// and its database belong here.
	DenyCIDRs []netip.Prefix
	DenyAddrs []netip.AddrPort
	// MayWrite is asked right before each request that changes a cluster. Its
	// error, which is one of internal/pkg/errors, is the request's. nil: always.
	MayWrite  func(ctx context.Context, cluster string) error
	Logger    *slog.Logger // nil: none
	UserAgent string       // "" = "kubevirt-shepherd"
}

// Limits on what a cluster may send: a registered cluster is hostile input
// all the same.
const (
	maxObject  = 2 << 20  // bytes of one object
	maxList    = 64 << 20 // bytes of one page of a list
	maxFrame   = 2 << 20  // bytes of one event of a watch
	maxHeaders = 64 << 10 // bytes of all response headers
	pageSize   = 500      // objects in one page of a list
)

// client-go's defaults are 5 requests per second and a burst of 10, which
// makes 1,000 VMs take 200 seconds. KubeVirt's own controllers use these.
const (
	clientQPS   = 200
	clientBurst = 400
)

var (
	errResponseTooLarge = errors.New("response too large")
	errLost             = errors.New("connection lost")
)

// client is the connection to one cluster with one credential.
type client struct {
	kube     *kubernetes.Clientset
	kubevirt *kubevirtclient.Clientset
	lines    *lines
	writes   *writeGate
	breaker  *breaker
	door     door
	print    [sha256.Size]byte // of the configuration
	secrets  []string          // never to appear in an error

	// live ends when the client is replaced: watches have to move on.
	live context.Context
	end  context.CancelFunc
}

// newClient builds a client that ignores proxies, follows no redirect (client-go
// would take the token along), does not decompress and reads no more than the
// limits above. Deadlines come with each call's context; there is no overall
// timeout because that would end watches.
func newClient(cfg *rest.Config, g guard, agent string) (*client, error) {
	return connect(cfg, g, agent, nil)
}

// connect is newClient with a breaker before the transport; nil for a look at a
// cluster that is not stored, where each request has to fail for its own reason.
func connect(cfg *rest.Config, g guard, agent string, b *breaker) (*client, error) {
	tlsConfig, err := rest.TLSConfigFor(&rest.Config{TLSClientConfig: cfg.TLSClientConfig})
	if err != nil {
		// The error may quote the credential.
		return nil, apperr.New(apperr.ErrClusterTLS)
	}
	l := newLines(g.dialer().DialContext)
	t := &http.Transport{
		DialContext:            l.connect,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: maxHeaders,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		// A connection whose other end died without a word is noticed in 30 s.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 20 * time.Second, PingTimeout: 10 * time.Second},
	}
	l.idle = t.CloseIdleConnections
	var wire http.RoundTripper = counted{t, l}
	if b != nil {
		wire = broken{wire, b}
	}
	writes := &writeGate{next: limits{wire}}
	mine := &rest.Config{
		Host:           cfg.Host,
		BearerToken:    cfg.BearerToken,
		Transport:      writes,
		UserAgent:      agent,
		RateLimiter:    flowcontrol.NewTokenBucketRateLimiter(clientQPS, clientBurst),
		WarningHandler: rest.NoWarnings{},
	}
	hc, err := rest.HTTPClientFor(mine)
	if err != nil {
		return nil, apperr.New(apperr.ErrClusterTLS)
	}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	c := &client{lines: l, writes: writes, breaker: b, print: fingerprint(cfg), door: door{turn: make(chan struct{}, 1)}}
	for _, s := range []string{cfg.BearerToken, string(cfg.TLSClientConfig.KeyData)} {
		if s != "" {
			c.secrets = append(c.secrets, encodings(s)...)
		}
	}
	if c.kube, err = kubernetes.NewForConfigAndClient(mine, hc); err != nil {
		return nil, apperr.New(apperr.ErrKubeconfigServer)
	}
	if c.kubevirt, err = kubevirtclient.NewForConfigAndClient(mine, hc); err != nil {
		return nil, apperr.New(apperr.ErrKubeconfigServer)
	}
	c.live, c.end = context.WithCancel(context.Background())
	return c, nil
}

// close ends watches and connections; calls under way finish, and the
// connections close after the last of them.
func (c *client) close() {
	c.end()
	c.lines.close()
}

// fingerprint identifies the parts of a configuration that are used.
func fingerprint(cfg *rest.Config) [sha256.Size]byte {
	tls := cfg.TLSClientConfig
	b, err := json.Marshal([]any{cfg.Host, cfg.BearerToken, tls.ServerName, tls.CAData, tls.CertData, tls.KeyData})
	if err != nil {
		panic(err) // strings and bytes: cannot happen
	}
	return sha256.Sum256(b)
}

// clients keeps one client for each cluster and its current credential.
type clients struct {
	creds    CredentialProvider
	guard    guard
	agent    string
	open     time.Duration                       // of the breakers
	mayWrite func(context.Context, string) error // nil: always

	mu        sync.Mutex
	byCluster map[string]*client
	turns     map[string]chan struct{} // of who makes a cluster's client, one at a time; kept for ever, being nothing
}

// get gives the client for the credential that is stored now. A client of an
// older credential is closed; so is one whose cluster is gone.
func (cs *clients) get(ctx context.Context, cluster string) (*client, error) {
	c, _, err := cs.find(ctx, cluster)
	if c != nil || err != nil {
		return c, err
	}
	// The credential is another than the client's. It is read again when it is
	// our turn: a call that read it just before it was replaced, and comes late,
	// must not bring the old one back.
	turn := cs.turn(cluster)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return nil, apperr.New(apperr.ErrUnavailable).Because(ctx.Err())
	}
	c, cfg, err := cs.find(ctx, cluster)
	if c != nil || err != nil {
		return c, err
	}
	return cs.replace(cluster, cfg)
}

// find gives the client of the stored credential, or how to make one.
func (cs *clients) find(ctx context.Context, cluster string) (*client, *rest.Config, error) {
	cfg, err := cs.creds.GetRESTConfig(ctx, cluster)
	if err != nil {
		if apperr.KindOf(err) == apperr.NotFound {
			cs.forget(cluster)
		}
		return nil, nil, err
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.byCluster[cluster]; c != nil && c.print == fingerprint(cfg) {
		return c, nil, nil
	}
	return nil, cfg, nil
}

func (cs *clients) turn(cluster string) chan struct{} {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	turn := cs.turns[cluster]
	if turn == nil {
		turn = make(chan struct{}, 1)
		cs.turns[cluster] = turn
	}
	return turn
}

// replace puts a new client into the place of the one that there is.
func (cs *clients) replace(cluster string, cfg *rest.Config) (*client, error) {
	c, err := connect(cfg, cs.guard, cs.agent, newBreaker(cs.open))
	if err != nil {
		return nil, err
	}
	if cs.mayWrite != nil {
		c.writes.may = func(ctx context.Context) error { return cs.mayWrite(ctx, cluster) }
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if old := cs.byCluster[cluster]; old != nil {
		old.close()
	}
	cs.byCluster[cluster] = c
	return c, nil
}

func (cs *clients) forget(cluster string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.byCluster[cluster]; c != nil {
		c.close()
		delete(cs.byCluster, cluster)
	}
}

func (cs *clients) close() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for id, c := range cs.byCluster {
		c.close()
		delete(cs.byCluster, id)
	}
}

// limits bounds response bodies.
type limits struct{ next http.RoundTripper }

// RoundTrip also hides Retry-After and what a lost connection looks like:
// client-go would sleep and repeat up to ten times inside one call. Who calls
// decides about repeating.
func (l limits) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	if utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) {
		return nil, errLost
	}
	if err != nil {
		return nil, err
	}
	resp.Header.Del("Retry-After")
	q := req.URL.Query()
	switch {
	case q.Get("watch") == "true" || q.Get("watch") == "1":
		resp.Body = &framed{ReadCloser: resp.Body}
	case q.Has("limit"):
		resp.Body = &capped{resp.Body, maxList}
	default:
		resp.Body = &capped{resp.Body, maxObject}
	}
	return resp, nil
}

// capped fails, rather than ends, when there is more than left bytes: a cut
// answer must never look complete.
type capped struct {
	io.ReadCloser
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, errResponseTooLarge
	}
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.ReadCloser.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, errResponseTooLarge
	}
	return n, err
}

// framed bounds the events of a watch. API servers end each with a line feed,
// which cannot occur inside JSON.
type framed struct {
	io.ReadCloser
	open int // bytes since the last line feed
}

func (f *framed) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	chunk := p[:n]
	first := bytes.IndexByte(chunk, '\n')
	if first < 0 {
		first = n
	}
	if f.open+first > maxFrame {
		return 0, errResponseTooLarge
	}
	if last := bytes.LastIndexByte(chunk, '\n'); last >= 0 {
		f.open = n - last - 1
	} else {
		f.open += n
	}
	return n, err
}
