package kubevirt

import (
	"context"
	"strconv"
	"time"
)

// lookAgain is how often a cluster that comes and goes is asked how far it is.
const lookAgain = 10 * time.Second

// ahead says that place is in the cluster's future: it was restored from a
// backup. The API server takes a watch from there, and stays silent until the
// cluster has come that far; what happened before is lost (seen with Kubernetes
// 1.34). So before a watch goes on, one small list tells how far the cluster is.
func (f *feed[O, K]) ahead(ctx context.Context, c *client, place string) (bool, error) {
	if time.Since(f.looked) < lookAgain {
		return false, nil
	}
	opt := f.options
	opt.Limit = 1
	_, page, err := f.page(ctx, c, opt)
	if err != nil {
		return false, err
	}
	f.looked = time.Now()
	is, err1 := strconv.ParseUint(page.ResourceVersion, 10, 64)
	was, err2 := strconv.ParseUint(place, 10, 64)
	return err1 == nil && err2 == nil && is < was, nil // opaque versions tell nothing
}
