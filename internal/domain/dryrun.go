package domain

import (
	"context"
	"errors"
)

type dryRun struct{}

// ErrDryRun is how a deed ends that was only tried: everything was right, and
// nothing is kept.
var ErrDryRun = errors.New("dry run")

// WithDryRun marks all that is done with the context as tried only, as dryRun
// does for the Kubernetes API: every rule is asked, transactions are rolled
// back and end with ErrDryRun. It is for use cases that do nothing outside their
// transaction.
func WithDryRun(ctx context.Context) context.Context {
	return context.WithValue(ctx, dryRun{}, true)
}

// IsDryRun says whether the context is one of WithDryRun.
func IsDryRun(ctx context.Context) bool { return ctx.Value(dryRun{}) != nil }
