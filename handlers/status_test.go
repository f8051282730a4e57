package handlers

import (
	"net/http"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// Every state has a label of its own, in every situation.
func TestEveryStateHasALabel(t *testing.T) {
	at := time.Date(2026, 11, 24, 13, 58, 0, 0, time.UTC)
	for _, s := range domain.VMStates() {
		for _, c := range domain.ClusterStatuses() {
			for _, p := range []domain.Problem{{}, {Code: domain.ProblemRestartRequired}} {
				v := vmStatus(t.Context(), s, p, c == domain.ClusterUnreachable, &at)
				if v.Label == "" || v.Role == "" || v.Glyph == "" {
					t.Errorf("%s on %s: %+v", s, c, v)
				}
			}
		}
		if v := vmStatus(t.Context(), s, domain.Problem{}, false, nil); v.Label == "Unknown" && s != domain.StateUnknown {
			t.Errorf("%s has no label", s)
		}
	}
	for _, s := range domain.TicketStatuses() {
		if v := creation(t.Context(), s, 4, 2, 1); v.Label == "" || v.Label == string(s) || v.Glyph == "unknown" {
			t.Errorf("%s: %+v", s, v)
		}
	}
	for _, op := range domain.Operations() {
		if eventWords[op][2] == "" || views.OperationLabel(op) == string(op) {
			t.Errorf("%s has no words", op)
		}
	}
}

func TestVMStatus(t *testing.T) {
	at := time.Date(2026, 11, 24, 13, 58, 0, 0, time.UTC)
	warned := domain.Problem{Code: domain.ProblemNotMigratable}
	for _, c := range []struct {
		state   domain.VMState
		problem domain.Problem
		cluster domain.ClusterStatus
		want    ui.StatusView
	}{
		{domain.StateRunning, domain.Problem{}, domain.ClusterHealthy, ui.StatusView{Label: "Running", Role: ui.OK, Glyph: "running"}},
		{domain.StateRunning, warned, domain.ClusterHealthy, ui.StatusView{Label: "Running, needs attention", Role: ui.Warn, Glyph: "warn"}},
		{domain.StateRunning, warned, domain.ClusterUnreachable, ui.StatusView{Label: "Was running, 13:58", Role: ui.Idle, Glyph: "unknown"}},
		{domain.StateErrorUnschedulable, warned, domain.ClusterHealthy, ui.StatusView{Label: "Cannot be scheduled", Role: ui.Bad, Glyph: "failed"}},
		{domain.StateRequested, domain.Problem{}, domain.ClusterUnreachable, ui.StatusView{Label: "Waiting to be created", Role: ui.Busy, Glyph: "busy"}},
	} {
		if got := vmStatus(t.Context(), c.state, c.problem, c.cluster == domain.ClusterUnreachable, &at); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.state, got, c.want)
		}
	}
}

func TestCreation(t *testing.T) {
	for status, want := range map[domain.TicketStatus]string{
		domain.TicketPending: "Waiting for a decision", domain.TicketExecuting: "Creating, 2 of 4 running",
		domain.TicketFailed: "2 of 4 running, 1 failed", domain.TicketCompleted: "Done",
	} {
		if got := creation(t.Context(), status, 4, 2, 1).Label; got != want {
			t.Errorf("%s: got %q, want %q", status, got, want)
		}
	}
}

// A status decides the answer, and every kind of error has one.
func TestStatuses(t *testing.T) {
	for _, code := range apperr.Codes() {
		if s := statusOf(apperr.New(code)); s < 400 || s > 599 {
			t.Errorf("%s: %d", code, s)
		}
	}
	if got := statusOf(classify(&http.MaxBytesError{Limit: 5})); got != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d", got)
	}
}

func TestPowerActions(t *testing.T) {
	m := vm.View{ID: "1", State: domain.StateRunning, Environment: domain.Prod, ClusterStatus: domain.ClusterHealthy}
	list := powerActions(t.Context(), m)
	if list[0].Refused != "It is running" || list[1].Href == "" || list[2].Href != "/vms/1/power?do=STOP" {
		t.Errorf("in prod: %+v", list)
	}
	m.Environment = domain.Test
	if list := powerActions(t.Context(), m); list[1].Href != "" || list[1].Refused != "" {
		t.Errorf("in test: %+v", list)
	}
	m.Busy = &vm.Event{Operation: domain.OpStop, Status: domain.EventProcessing}
	for _, a := range powerActions(t.Context(), m) {
		if a.Refused != "Being stopped" {
			t.Errorf("while busy: %+v", a)
		}
	}
}
