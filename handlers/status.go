package handlers

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// vmStatus is the state of a VM as people read it (design language, section 5).
// What is only the last known state is told as past, with its time as far as that
// is known, and a VM that runs with a problem is not shown as well.
func vmStatus(ctx context.Context, state domain.VMState, problem domain.Problem, old bool, at *time.Time) ui.StatusView {
	v := views.VMState(state)
	switch {
	case old && seenByCluster(state):
		was := lowerFirst(i18n.T(ctx, v.Label))
		v.Label = i18n.T(ctx, "Was {state}", "state", was)
		if at != nil {
			v.Label = i18n.T(ctx, "Was {state}, {time}", "state", was, "time", at.UTC().Format("15:04"))
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
	return i18n.T(ctx, "{state}, needs attention", "state", i18n.T(ctx, state))
}

// seenByCluster says that the state was read from a cluster, and so gets old.
func seenByCluster(s domain.VMState) bool {
	return s != domain.StateRequested && s != domain.StateFailed && s != domain.StateDeleted
}

// creation is the state of a ticket that makes several VMs, counted.
func creation(ctx context.Context, status domain.TicketStatus, total, running, failed int) ui.StatusView {
	v := views.TicketState(status)
	switch {
	case total == 0:
	case status == domain.TicketExecuting:
		v.Label = i18n.T(ctx, "Creating, {running} of {total} running", "running", running, "total", total)
	case (status == domain.TicketFailed || status == domain.TicketNeedsAttention) && total > 1:
		v.Label = i18n.T(ctx, "{running} of {total} running, {failed} failed", "running", running, "total", total, "failed", failed)
	}
	return v
}

// message is the sentence of a code. Words of the inside, such as a state as it
// is stored, become those that people read.
func message(r *http.Request, code string, params map[string]any) i18n.Message {
	return i18n.Error(lang(r), code, readable(r.Context(), params))
}

func readable(ctx context.Context, params map[string]any) map[string]any {
	params = maps.Clone(params)
	for name, v := range params {
		word := fmt.Sprint(v)
		switch name {
		case "state":
			switch {
			case slices.Contains(domain.TicketStatuses(), domain.TicketStatus(word)):
				params[name] = lowerFirst(i18n.T(ctx, views.TicketState(domain.TicketStatus(word)).Label))
			case slices.Contains(domain.VMStates(), domain.VMState(word)):
				params[name] = lowerFirst(i18n.T(ctx, views.VMState(domain.VMState(word)).Label))
			}
		case "operation":
			if slices.Contains(domain.Operations(), domain.Operation(word)) {
				params[name] = lowerFirst(i18n.T(ctx, views.OperationLabel(domain.Operation(word))))
			}
		case "environment", "expected":
			params[name] = ui.EnvName(ctx, word)
		case "role":
			if role := roleWord(ctx, domain.Role(word)); role != "" {
				params[name] = lowerFirst(role)
			}
		}
	}
	return params
}

// roleWord is a role in the reader's language, "" for none.
func roleWord(ctx context.Context, role domain.Role) string {
	switch role {
	case domain.RoleAdmin:
		return i18n.T(ctx, "Platform admin")
	case domain.RoleApprover:
		return i18n.T(ctx, "Approver")
	case domain.RoleAuditor:
		return i18n.T(ctx, "Auditor")
	case domain.RoleOwner:
		return i18n.T(ctx, "Owner")
	case domain.RoleMaintainer:
		return i18n.T(ctx, "Maintainer")
	case domain.RoleViewer:
		return i18n.T(ctx, "Viewer")
	}
	return ""
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
