package handlers

import (
	"fmt"
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
func vmStatus(state domain.VMState, problem domain.Problem, cluster domain.ClusterStatus, answered *time.Time) ui.StatusView {
	v := views.VMState(state)
	switch {
	case cluster == domain.ClusterUnreachable && seenByCluster(state):
		v.Label = "Was " + lowerFirst(v.Label)
		if answered != nil {
			v.Label += ", " + answered.UTC().Format("15:04")
		}
		v.Role, v.Glyph = ui.Idle, "unknown"
	case !problem.IsZero() && state.Health() != domain.HealthBad && state != domain.StateDeleted:
		v.Label += ", needs attention"
		v.Role, v.Glyph = ui.Warn, "warn"
	}
	return v
}

// seenByCluster says that the state was read from a cluster, and so gets old.
func seenByCluster(s domain.VMState) bool {
	return s != domain.StateRequested && s != domain.StateFailed && s != domain.StateDeleted
}

// creation is the state of a ticket that makes several VMs, counted.
func creation(status domain.TicketStatus, total, running, failed int) ui.StatusView {
	v := views.TicketState(status)
	switch {
	case total == 0:
	case status == domain.TicketExecuting:
		v.Label = fmt.Sprintf("Creating, %d of %d running", running, total)
	case (status == domain.TicketFailed || status == domain.TicketNeedsAttention) && total > 1:
		v.Label = fmt.Sprintf("%d of %d running, %d failed", running, total, failed)
	}
	return v
}

// message is the sentence of a code. Words of the inside, such as a state as it
// is stored, become those that people read.
func message(r *http.Request, code string, params map[string]any) i18n.Message {
	return i18n.Error(lang(r), code, readable(params))
}

func readable(params map[string]any) map[string]any {
	state, isState := params["state"].(string)
	operation, isOperation := params["operation"].(string)
	if !isState && !isOperation {
		return params
	}
	params = maps.Clone(params)
	switch {
	case slices.Contains(domain.TicketStatuses(), domain.TicketStatus(state)):
		params["state"] = lowerFirst(views.TicketState(domain.TicketStatus(state)).Label)
	case slices.Contains(domain.VMStates(), domain.VMState(state)):
		params["state"] = lowerFirst(views.VMState(domain.VMState(state)).Label)
	}
	if slices.Contains(domain.Operations(), domain.Operation(operation)) {
		params["operation"] = lowerFirst(views.OperationLabel(domain.Operation(operation)))
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

// sentence ends a text with a full stop.
func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}
