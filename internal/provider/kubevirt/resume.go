package kubevirt

import (
	"context"
	"strconv"
	"time"
)

// ahead says that place is in the cluster's future: it was restored from a
// backup. The API server takes a watch from there, and stays silent until the
// cluster has come that far; what happened before is lost (seen with Kubernetes
// 1.34). So before a watch goes on, one small list tells how far the cluster is.
// A cluster that comes and goes is not asked each time.
func (f *feed[O, P, K]) ahead(ctx context.Context, p *Provider, c *client, place string) (bool, error) {
	if p.timing.look == 0 || time.Since(f.looked) < p.timing.look {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	page, err := f.page(ctx, c, "", 1, func(P) {})
	if err != nil {
		return false, err
	}
	f.looked = time.Now()
	is, err1 := strconv.ParseUint(page.ResourceVersion, 10, 64)
	was, err2 := strconv.ParseUint(place, 10, 64)
	return err1 == nil && err2 == nil && is < was, nil // opaque versions tell nothing
}
