package handlers

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// vmStatus is the state of a VM as people read it (design language, section 5).
// What a cluster said before it went silent is told as past, and a VM that runs
// with a problem is not shown as well.
func vmStatus(ctx context.Context, state domain.VMState, problem domain.Problem, cluster domain.ClusterStatus, answered *time.Time) ui.StatusView {
	v := views.VMState(state)
	v.Label = i18n.T(ctx, v.Label)
	switch {
	case cluster == domain.ClusterUnreachable && seenByCluster(state):
		was := lowerFirst(v.Label)
		if answered != nil {
			v.Label = i18n.T(ctx, "Was {state}, {time}", "state", was, "time", answered.UTC().Format("15:04"))
		} else {
			v.Label = i18n.T(ctx, "Was {state}", "state", was)
		}
		v.Role, v.Glyph = ui.Idle, "unknown"
	case !problem.IsZero() && state.Health() != domain.HealthBad && state != domain.StateDeleted:
		v.Label = needsAttention(ctx, v.Label)
		v.Role, v.Glyph = ui.Warn, "warn"
	}
	return v
}

// needsAttention adds to a state that somebody should look.
func needsAttention(ctx context.Context, state string) string {
	return i18n.T(ctx, "{state}, needs attention", "state", state)
}

// seenByCluster says that the state was read from a cluster, and so gets old.
func seenByCluster(s domain.VMState) bool {
	return s != domain.StateRequested && s != domain.StateFailed && s != domain.StateDeleted
}

// creation is the state of a ticket that makes several VMs, counted.
func creation(ctx context.Context, status domain.TicketStatus, total, running, failed int) ui.StatusView {
	v := views.TicketState(status)
	v.Label = i18n.T(ctx, v.Label)
	switch {
	case total == 0:
	case status == domain.TicketExecuting:
		v.Label = i18n.T(ctx, "Creating, {running} of {n} running", "running", running, "n", total)
	case (status == domain.TicketFailed || status == domain.TicketNeedsAttention) && total > 1:
		v.Label = i18n.T(ctx, "{running} of {n} running, {failed} failed", "running", running, "n", total, "failed", failed)
	}
	return v
}

// message is the sentence of a code. Words of the inside, such as a state as it
// is stored, become those that people read.
func message(r *http.Request, code string, params map[string]any) i18n.Message {
	return i18n.Error(lang(r), code, readable(r.Context(), params))
}

func readable(ctx context.Context, params map[string]any) map[string]any {
	state, isState := params["state"].(string)
	operation, isOperation := params["operation"].(string)
	if !isState && !isOperation {
		return params
	}
	params = maps.Clone(params)
	switch {
	case slices.Contains(domain.TicketStatuses(), domain.TicketStatus(state)):
		params["state"] = lowerFirst(i18n.T(ctx, views.TicketState(domain.TicketStatus(state)).Label))
	case slices.Contains(domain.VMStates(), domain.VMState(state)):
		params["state"] = lowerFirst(i18n.T(ctx, views.VMState(domain.VMState(state)).Label))
	}
	if slices.Contains(domain.Operations(), domain.Operation(operation)) {
		params["operation"] = lowerFirst(i18n.T(ctx, views.OperationLabel(domain.Operation(operation))))
	}
	return params
}

// problemText is a problem in one line, "" when there is none.
func problemText(r *http.Request, p domain.Problem) string {
	if p.IsZero() {
		return ""
	}
	m := message(r, p.Code, p.Params)
	m.Next = ""
	return m.Text()
}

// problemView is a problem in three parts, with the cluster's own words.
func problemView(r *http.Request, p domain.Problem) *views.ProblemView {
	if p.IsZero() {
		return nil
	}
	m := message(r, p.Code, p.Params)
	return &views.ProblemView{What: m.What, Why: m.Why, Next: m.Next, Technical: p.Text}
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}

func upperFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// withoutStop takes the full stop off a sentence that becomes a part of another.
func withoutStop(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "."), "。") }

// sentence ends a text with a full stop.
func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}
