package kubevirt

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

const testToken = "CANARY-token"

func pemOf(c *x509.Certificate) domain.Secret {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func serve(t *testing.T, h http.Handler) (*httptest.Server, domain.Credential) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are wanted
	srv.StartTLS()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv, domain.Credential{Server: srv.URL, CA: pemOf(srv.Certificate()), Token: domain.Secret(testToken)}
}

// scripted is a provider whose cluster "c1" is a function: for faults that a
// real control plane does not make on demand.
func scripted(t *testing.T, h http.HandlerFunc) *Provider {
	t.Helper()
	_, cred := serve(t, h)
	p, _ := testProvider(t, cred)
	return p
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func status(code int, reason metav1.StatusReason, message string) metav1.Status {
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason, Message: message,
	}
}
