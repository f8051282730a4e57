//go:build e2e

package clusterstub_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/testbed"
)

// The stub is trusted as far as the real thing does the same.
func TestTestbedBehaves(t *testing.T) {
	dir := os.Getenv("SHEPHERD_TESTBED")
	if dir == "" {
		t.Fatal("SHEPHERD_TESTBED names no directory with the testbed's binaries: run `make test`")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tb, err := testbed.Start(ctx, testbed.Options{Dir: dir, State: t.TempDir(), Name: "suite"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tb.Stop) // after the parallel parts
	cred, err := tb.Credential()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cred.ClientCert, cred.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	a := api{cred.Server, client(t, cred.CA, &pair, ""), "suite", 70 * time.Second}
	a.do(t, http.MethodPost, "/api/v1/namespaces", "application/json", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"suite"}}`, http.StatusCreated)
	behaves(t, a)
}
