package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/client"
)

// A change is sent again under its key when the connection breaks, and never
// when there was an answer.
func TestOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc // of the first try; the second one is well
		tries  int
		wants  func(error) bool
	}{
		"a broken connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 2, func(err error) bool { return err == nil }},
		"a problem": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(`{"code":"ALREADY_DECIDED","title":"It is decided.","status":409}`))
		}, 1, func(err error) bool {
			var problem *client.Error
			return errors.As(err, &problem) && problem.Code == "ALREADY_DECIDED"
		}},
		"a proxy's page": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, 1, func(err error) bool {
			var strange *client.Strange
			return errors.As(err, &strange)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var keys []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if keys = append(keys, r.Header.Get("Idempotency-Key")); len(keys) == 1 {
					c.answer(w, r)
					return
				}
				w.WriteHeader(http.StatusNoContent)
			}))
			defer server.Close()
			portal, err := client.Open(server.URL, "token")
			if err != nil {
				t.Fatal(err)
			}
			_, err = once(t.Context(), func(key *string) (*client.WithdrawRequestResponse, error) {
				return portal.WithdrawRequestWithResponse(t.Context(), 1, &client.WithdrawRequestParams{IdempotencyKey: key})
			})
			if !c.wants(err) || len(keys) != c.tries || keys[0] == "" || keys[0] != keys[len(keys)-1] {
				t.Errorf("%v after %q", err, keys)
			}
		})
	}
}
