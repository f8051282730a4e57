package views

import (
	"context"

	"kubevirt-shepherd.io/shepherd/internal/i18n"
)

// tr is a text of a page in the reader's language, see i18n.T.
func tr(ctx context.Context, text string, args ...any) string { return i18n.T(ctx, text, args...) }

// trn is tr of a text with a count in it, see i18n.TN.
func trn(ctx context.Context, n int, one, many string, args ...any) string {
	return i18n.TN(ctx, n, one, many, args...)
}
