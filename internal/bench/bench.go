// Package bench measures the portal beside its floor, in one run: what the
// number would be if the portal did nothing. Absolute numbers differ between
// machines; the two of one run can be compared.
package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/cast"
)

// sample is a set of durations.
type sample []time.Duration

// at is the q-quantile, 0 < q <= 1.
func (s sample) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	c := slices.Sorted(slices.Values(s))
	return c[min(len(c)-1, int(q*float64(len(c))))]
}

func (s sample) String() string {
	return fmt.Sprintf("p50 %8.3f ms   p99 %8.3f ms   (n=%d)", ms(s.at(0.50)), ms(s.at(0.99)), len(s))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// scratch builds the portal on a throw-away database, with the cast in it.
func scratch(ctx context.Context) (a *app.App, dir string, done func(), err error) {
	if dir, err = os.MkdirTemp("", "shepherd-bench-"); err != nil {
		return nil, "", nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL runs as another account when we are root
		return nil, "", nil, err
	}
	c := app.Config{
		DataDir: filepath.Join(dir, "data"), Addr: "127.0.0.1:0", Workers: 16, Version: "bench",
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}
	a, err = app.New(ctx, c, slog.New(slog.NewJSONHandler(io.Discard, nil)))
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, "", nil, err
	}
	done = func() {
		a.Close()
		_ = os.RemoveAll(dir)
	}
	if err := cast.People(ctx, a); err != nil {
		done()
		return nil, "", nil, err
	}
	return a, dir, done, nil
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}
