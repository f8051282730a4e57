package kubevirt

import (
	"context"
	"net/http"
	"strings"
)

// writeGate is the one place through which every request that changes a cluster
// leaves. It asks whether the cluster may be changed right before each of them,
// so that an operation of several steps ends between two when the answer turns.
type writeGate struct {
	next http.RoundTripper
	may  func(context.Context) error // nil: always
}

// RoundTrip refuses with the error of may, which is an AppError.
func (g *writeGate) RoundTrip(req *http.Request) (*http.Response, error) {
	if g.may != nil && changes(req) {
		if err := g.may(req.Context()); err != nil {
			if req.Body != nil {
				_ = req.Body.Close()
			}
			return nil, err
		}
	}
	return g.next.RoundTrip(req)
}

// changes says that a request may change the cluster. Dry runs do not, and
// reviews ("may I?") are posted but only ask.
func changes(req *http.Request) bool {
	switch {
	case req.Method == http.MethodGet, req.Method == http.MethodHead:
		return false
	case req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "reviews") && strings.Contains(req.URL.Path, "/apis/authorization.k8s.io/"):
		return false
	}
	return req.URL.Query().Get("dryRun") != "All"
}
