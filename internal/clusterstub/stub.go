// Package clusterstub plays clusters: an HTTPS server that answers like a
// Kubernetes API server with KubeVirt, as far as the portal asks one, with
// faults on command and counters of what was asked. A hundred of them fit into
// one process, so that a bench can have clusters that a machine could not run.
//
// The objects are recorded ones of the testbed under other names. How lists,
// watches and conflicts behave is held against the testbed by one suite of
// tests for both; what that suite does not show, the stub is not good for.
package clusterstub

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed recorded/*.json
var files embed.FS

func recorded(name string) string {
	b, err := files.ReadFile("recorded/" + name + ".json")
	if err != nil {
		panic(err) // embedded: cannot happen
	}
	return string(b)
}

// Options say what a cluster is like when it starts.
type Options struct {
	Name       string   // of the cluster; its identity is made from it
	Namespaces []string // that it has, besides kube-system
	VMs        int      // running ones with the portal's labels, in the first of Namespaces
	System     string   // of these VMs; they are called System-Service-01 and so on
	Service    string
	Nodes      int           // 0 = 2
	Bookmark   time.Duration // how often watches say where they are; 0 = one minute, as API servers do
	History    int           // how many changes a watch can go back; 0 = 1000
	Meter      *Meter        // counts over several clusters; nil: its own
}

// Cluster is a running one. Close ends it.
type Cluster struct {
	options Options
	meter   *Meter
	counts  counters
	gate    gate
	server  *http.Server
	port    int

	mu      sync.Mutex
	fault   Fault
	delay   time.Duration // before each answer
	token   string
	ca      []byte // PEM
	tls     *tls.Certificate
	ln      net.Listener
	conns   map[net.Conn]bool
	version uint64 // the last resourceVersion that was given
	floor   uint64 // what was before is forgotten
	objects map[*resource]map[string]*object
	log     []event
	changed chan struct{} // closed at every change, and made anew
	pages   map[string]snapshot
}

// perRequest is how many VMs were asked for together: they have one ticket and
// one hash of their specification.
const perRequest = 5

// Token is what the clusters take for a credential. Rotate adds others.
const Token = "stub-token-0000"

// UID is the identity of a thing: the same words give the same one.
func UID(words ...string) string {
	h := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	h[6], h[8] = h[6]&0x0f|0x50, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// VMName is what the i-th VM is called, from 0.
func (o Options) VMName(i int) string { return fmt.Sprintf("%s-%s-%02d", o.System, o.Service, i+1) }

// VMUID is the identity of the i-th VM, from 0.
func (o Options) VMUID(i int) string { return UID(o.Name, "virtualmachine", o.VMName(i)) }

// Start runs a cluster on a free port of 127.0.0.1.
func Start(o Options) (*Cluster, error) {
	if len(o.Namespaces) == 0 {
		o.Namespaces = []string{"default"}
	}
	if o.Nodes == 0 {
		o.Nodes = 2
	}
	if o.Bookmark == 0 {
		o.Bookmark = time.Minute
	}
	if o.History == 0 {
		o.History = 1000
	}
	c := &Cluster{
		options: o, meter: o.Meter, token: Token, conns: map[net.Conn]bool{}, version: firstVersion, changed: make(chan struct{}),
		objects: map[*resource]map[string]*object{}, pages: map[string]snapshot{},
	}
	if c.meter == nil {
		c.meter = &Meter{}
	}
	c.gate.init()
	c.fill()
	if err := c.RotateCA(); err != nil {
		return nil, err
	}
	c.server = &http.Server{
		Handler: c, ErrorLog: log.New(io.Discard, "", 0), // broken handshakes are wanted
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.tls, nil
		}},
	}
	return c, c.listen()
}

// listen opens the port, the same one as before.
func (c *Cluster) listen() error {
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)))
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.ln = ln
	c.mu.Unlock()
	if c.port == 0 { // the first time, before anybody knows the cluster
		c.port = ln.Addr().(*net.TCPAddr).Port
	}
	go func() {
		if err := c.server.ServeTLS(&listener{ln, c}, "", ""); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			panic(err) // a stub that does not listen measures nothing
		}
	}()
	return nil
}

// Close ends the cluster and all its connections.
func (c *Cluster) Close() {
	c.gate.set(true)
	_ = c.server.Close()
	c.cut()
}

// URL is the address of the API server.
func (c *Cluster) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", c.port) }

// CA is the certificate that vouches for the API server, in PEM.
func (c *Cluster) CA() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ca
}

// Kubeconfig is what an administrator uploads, with the token Token.
func (c *Cluster) Kubeconfig() []byte { return Kubeconfig(c.options.Name, c.URL(), c.CA(), Token) }

// Kubeconfig is a file with one context, which is called like its cluster.
func Kubeconfig(name, server string, ca []byte, token string) []byte {
	return fmt.Appendf(nil, "apiVersion: v1\nkind: Config\ncurrent-context: %[1]s\n"+
		"clusters: [{name: %[1]s, cluster: {server: %[2]q, certificate-authority-data: %[3]s}}]\n"+
		"users: [{name: shepherd, user: {token: %[4]s}}]\n"+
		"contexts: [{name: %[1]s, context: {cluster: %[1]s, user: shepherd}}]\n",
		name, server, base64.StdEncoding.EncodeToString(ca), token)
}

// Rotate makes another token the only one that is taken; "" takes any that
// begins like Token, so that many can be tried.
func (c *Cluster) Rotate(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
}

func (c *Cluster) knows(authorization string) bool {
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == "" {
		return ok && strings.HasPrefix(token, "stub-token-")
	}
	return ok && token == c.token
}

// RotateCA gives the API server a certificate of a new authority. Connections
// that are open stay.
func (c *Cluster) RotateCA() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: c.options.Name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tls = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	c.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return nil
}

// fill makes the objects of the start.
func (c *Cluster) fill() {
	o := c.options
	made := time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)
	for _, ns := range append([]string{"kube-system", "kubevirt"}, o.Namespaces...) {
		c.add(namespaces, rename(recorded("namespace"), "kube-system", ns, recordedNamespaceUID, UID(o.Name, "namespace", ns)))
	}
	c.add(kubevirts, rename(recorded("kubevirt"), recordedKubeVirtUID, UID(o.Name, "kubevirt")))
	c.add(storageClasses, rename(recorded("storageclass"), recordedClassUID, UID(o.Name, "storageclass")))
	for i := range o.Nodes {
		node := nodeName(i)
		c.add(nodes, rename(recorded("node"), "node01", node, recordedNodeUID, UID(o.Name, "node", node), "192.0.2.11", fmt.Sprintf("192.0.2.%d", 11+i)))
	}
	for i := range o.VMs {
		name, uid := o.VMName(i), o.VMUID(i)
		request := fmt.Sprintf("TKT-%d", 100+i/perRequest) // of some VMs, which are alike
		like := []string{
			recordedVM, name, recordedVMNamespace, o.Namespaces[0], recordedVMUID, uid, recordedVMIUID, UID(uid, "instance"),
			`"kubevirt-shepherd.io/system":"shop"`, `"kubevirt-shepherd.io/system":"` + o.System + `"`,
			`"kubevirt-shepherd.io/service":"web"`, `"kubevirt-shepherd.io/service":"` + o.Service + `"`,
			`"kubevirt-shepherd.io/instance":"01"`, fmt.Sprintf(`"kubevirt-shepherd.io/instance":"%02d"`, i+1),
			recordedOperation, UID(uid, "operation"), recordedSpecHash, fmt.Sprintf("%x", sha256.Sum256([]byte(request))), recordedTicket, request,
			recordedPod, UID(uid, "pod"), recordedSerial, UID(uid, "serial"), recordedFirmware, UID(uid, "firmware"),
			recordedMAC, fmt.Sprintf("02:00:2b:%02x:%02x:%02x", i>>16&0xff, i>>8&0xff, i&0xff),
			recordedIP, fmt.Sprintf("10.244.%d.%d", i>>8&0xff, i&0xff), "node01", nodeName(i % o.Nodes),
			"2026-11-26T04:14:54Z", made, "2026-11-26T04:15:01Z", made,
		}
		c.add(vms, rename(recorded("virtualmachine"), like...))
		c.add(vmis, rename(recorded("virtualmachineinstance"), like...))
	}
	c.log, c.floor = nil, c.version
}

func nodeName(i int) string { return fmt.Sprintf("node%02d", i+1) }

// What stands in the recorded objects.
const (
	recordedVM           = "shop-web-01"
	recordedVMNamespace  = "shop-test"
	recordedVMUID        = "e03da3f1-f3ce-4db6-9277-d11c9b1653a3"
	recordedVMIUID       = "f5e4694d-e26f-4c67-a098-7e2e97b8b0f6"
	recordedNamespaceUID = "49cbbc5a-4574-47bd-b564-b96a9eb58ebc"
	recordedNodeUID      = "a81203f3-b2cf-4446-a2ee-0637a538c06a"
	recordedKubeVirtUID  = "a064c466-446d-4388-bea4-64fb3a403534"
	recordedClassUID     = "162111dc-f905-405a-84e5-176087dc584d"
	recordedOperation    = "0192f0c1-7b7e-7000-8000-000000000001"
	recordedTicket       = "TKT-42"
	recordedSpecHash     = "5b1f0c7e9d1a4c3b8e2f6a7d0c9b8a7f6e5d4c3b2a1f0e9d8c7b6a5f4e3d2c1b"
	recordedPod          = "4ccbd2ef-a76b-4238-bda6-529879939bee"
	recordedSerial       = "406c6c9f-eecb-47a6-9448-8ffea74a372f"
	recordedFirmware     = "5cd93452-2b0e-487f-b016-613439a5765d"
	recordedMAC          = "02:00:2b:10:b5:87"
	recordedIP           = "10.244.1.137"
)

// rename reads a recorded object with other words in it.
func rename(text string, pairs ...string) map[string]any {
	var o map[string]any
	if err := json.Unmarshal([]byte(strings.NewReplacer(pairs...).Replace(text)), &o); err != nil {
		panic(err) // embedded, and names of tests
	}
	return o
}
