package database

import (
	"context"

	"kubevirt-shepherd.io/shepherd/ent"
)

type deed struct{}

// WithDeed has f run in each transaction that is opened with the context, right
// before it commits: what must be on record exactly when the deed is. An error
// of f undoes the deed.
func WithDeed(ctx context.Context, f func(ctx context.Context, tx *ent.Tx) error) context.Context {
	return context.WithValue(ctx, deed{}, f)
}

// recordDeed runs what WithDeed has asked for.
func recordDeed(ctx context.Context, tx *ent.Tx) error {
	if f, ok := ctx.Value(deed{}).(func(context.Context, *ent.Tx) error); ok {
		return f(ctx, tx)
	}
	return nil
}
