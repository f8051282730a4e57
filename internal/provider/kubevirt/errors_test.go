package kubevirt

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

func TestStatusErrors(t *testing.T) {
	with := func(s metav1.Status, d metav1.StatusDetails) metav1.Status { s.Details = &d; return s }
	vm := metav1.StatusDetails{Name: "x", Group: "kubevirt.io", Kind: "virtualmachines"}
	tests := []struct {
		status metav1.Status
		code   string
		text   string
	}{
		{status(401, "Unauthorized", "Unauthorized"), apperr.ErrClusterUnauthorized, ""},
		{status(403, "Forbidden", `virtualmachines.kubevirt.io is forbidden: User "x" cannot create`), apperr.ErrClusterForbidden, "cannot create"},
		{status(403, "Forbidden", `forbidden: exceeded quota: q, requested: count/virtualmachines=1`), apperr.ErrQuotaExceeded, "exceeded quota: q"},
		{status(403, "Forbidden", `admission webhook "policy.example.org" denied the request: no owner label`), apperr.ErrSpecRejected, "no owner label"},
		{with(status(403, "Forbidden", "being terminated"), metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}}), apperr.ErrNamespaceMissing, ""},
		{with(status(404, "NotFound", "no"), vm), apperr.ErrVMNotFound, ""},
		{with(status(404, "NotFound", "no"), metav1.StatusDetails{Name: "n", Kind: "namespaces"}), apperr.ErrNamespaceMissing, ""},
		{status(404, "NotFound", "the server could not find the requested resource"), apperr.ErrKubeVirtMissing, ""},
		{with(status(409, "AlreadyExists", "exists"), vm), apperr.ErrNameCollision, ""},
		{with(status(409, "Conflict", "VM is already running"), vm), apperr.ErrVMState, "VM is already running"},
		{status(422, "Invalid", `admission webhook "v.kubevirt.io" denied the request: spec.x: bad`), apperr.ErrSpecRejected, "spec.x: bad"},
		{status(400, "BadRequest", "strict decoding error"), apperr.ErrSpecRejected, "strict"},
		{status(429, "TooManyRequests", "slow"), apperr.ErrClusterDegraded, ""},
		{status(500, "InternalError", "failed calling webhook"), apperr.ErrClusterDegraded, ""},
		{status(504, "Timeout", "late"), apperr.ErrClusterTimeout, ""},
		// An echo of the credential, and text made to confuse a terminal.
		{status(422, "Invalid", "you sent "+testToken+" \x1b[31m\u202e"+strings.Repeat("x", 5000)), apperr.ErrSpecRejected, "you sent [REDACTED] \uFFFD[31m\uFFFDxxx"},
	}
	for _, tt := range tests {
		p := scripted(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, int(tt.status.Code), tt.status) })
		// ListVMs gives codes as they are mapped, without a rule of its own.
		_, err := p.ListVMs(t.Context(), "c1", provider.ListOptions{})
		e, ok := apperr.From(err)
		if !ok || e.Code != tt.code {
			t.Errorf("%d %s: got %v, want %s", tt.status.Code, tt.status.Message, err, tt.code)
			continue
		}
		text, _ := e.Params["text"].(string)
		if !strings.Contains(text, tt.text) || len([]rune(text)) > maxText+1 {
			t.Errorf("%s: text is %q, want %q in it", tt.code, text, tt.text)
		}
		if all := err.Error(); strings.Contains(all, testToken) || strings.ContainsRune(all, 0x1b) {
			t.Errorf("%s: the error for the log is not clean: %q", tt.code, all)
		}
	}
}

func TestNetworkErrors(t *testing.T) {
	_, good := serve(t, http.NotFoundHandler())
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused.Close()
	mute := listen(t, func(c net.Conn) { time.Sleep(time.Minute) })
	plain := listen(t, func(c net.Conn) { _, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.6\r\n")); c.Close() })
	closing := listen(t, func(c net.Conn) { c.Close() })
	other, _ := serve(t, http.NotFoundHandler())

	tests := []struct {
		name   string
		change func(*domain.Credential)
		code   string
	}{
		{"refused", func(c *domain.Credential) { c.Server = "https://" + unused.Addr().String() }, apperr.ErrClusterRefused},
		{"no such name", func(c *domain.Credential) { c.Server = "https://no-such-host.invalid" }, apperr.ErrClusterDNS},
		{"no answer", func(c *domain.Credential) { c.Server = "https://" + mute }, apperr.ErrClusterTimeout},
		{"not TLS", func(c *domain.Credential) { c.Server = "https://" + plain }, apperr.ErrClusterTLS},
		{"hangs up", func(c *domain.Credential) { c.Server = "https://" + closing }, apperr.ErrClusterUnreachable},
		{"unknown authority", func(c *domain.Credential) { c.CA = nil }, apperr.ErrClusterTLS},
		{"another name", func(c *domain.Credential) { c.TLSServerName = "other.example.net" }, apperr.ErrClusterTLS},
		{"not Kubernetes", func(c *domain.Credential) { c.Server = other.URL }, apperr.ErrKubeVirtMissing},
	}
	for _, tt := range tests {
		cred := good
		tt.change(&cred)
		p, _ := testProvider(t, cred)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := p.GetVM(ctx, someVM)
		cancel()
		wantCode(t, tt.name, err, tt.code)
	}

	p, _ := testProvider(t, good)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.GetVM(ctx, someVM)
	if !errors.Is(err, context.Canceled) || apperr.KindOf(err) != apperr.Unavailable {
		t.Errorf("cancelled: %v", err)
	}
}

// listen runs serve for each connection, and gives the address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// A strange server may repeat a secret in another form, and first-boot data in
// any: of those calls only the code is kept.
func TestEncodedSecrets(t *testing.T) {
	const secret = "a-token-of-some-length"
	c := &client{secrets: encodings(secret)}
	for _, prefix := range []string{"", "x", "xy", "Bearer "} {
		text := prefix + secret + " and more"
		for _, said := range []string{
			text, base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)), hex.EncodeToString([]byte(text)),
			strings.ToUpper(hex.EncodeToString([]byte(text))), url.QueryEscape(text),
		} {
			if got := c.clean("It said: " + said); !strings.Contains(got, "[REDACTED]") || !strings.HasPrefix(got, "It said: ") {
				t.Errorf("%q becomes %q", said, got)
			}
		}
	}
	quiet := c.failQuietly(&apierrors.StatusError{ErrStatus: status(403, "Forbidden", "exceeded quota: you sent password=hunter2")})
	if e, _ := apperr.From(quiet); e.Code != apperr.ErrQuotaExceeded || strings.Contains(quiet.Error(), "hunter2") || e.Params["text"] != nil {
		t.Errorf("%v", quiet)
	}
	if !errors.Is(c.failQuietly(context.DeadlineExceeded), context.DeadlineExceeded) || c.failQuietly(nil) != nil {
		t.Error("the end of a call is not told")
	}
}
