package vm_test

import (
	"testing"

	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// What a worker does names Shepherd, behind it the person who asked and the one
// who approved, the ticket, and the job.
func TestWhoIsBehindAWorker(t *testing.T) {
	st, ctx := newStage(t), t.Context()
	n, orders := st.approve(1)
	st.run(orders[0], vm.Done())
	e := st.ent.AuditLog.Query().Where(auditlog.Action("vm.create")).OnlyX(ctx)
	if e.Actor != "shepherd" || e.ActorID != "" || e.OnBehalfOf != "dev" || e.OnBehalfOfID != st.dev.UserID || e.Via != string(domain.ViaJob) || e.ViaID != orders[0].String() || e.ViaName != "VM_CREATE" {
		t.Errorf("%v", e)
	}
	if e.Details["ticket"] != float64(n) || e.Details["approver"] != "ann" {
		t.Errorf("details %v", e.Details)
	}
	if c := e.Changes["state"]; c.Before != "Requested" || c.After != "Provisioning" {
		t.Errorf("changes %v", e.Changes)
	}
	approved := st.ent.AuditLog.Query().Where(auditlog.Action("ticket.approve")).OnlyX(ctx)
	if approved.Actor != "ann" || approved.ActorID != st.approver.UserID || approved.OnBehalfOf != "" || approved.Changes["status"].After != "APPROVED" || approved.Changes["cluster"].After != "east" {
		t.Errorf("%v", approved)
	}

	// A program asks, with a token: the request says by which, and the worker for whom.
	row := st.running()
	st.dev.Token = &domain.Token{ID: "t-1", Name: "night shift", Scopes: domain.Scopes()}
	if r, err := st.approval.SubmitPower(ctx, st.dev, row.ID.String(), domain.OpRestart, ""); err != nil || !r.Ordered {
		t.Fatal(r, err)
	}
	order := st.ent.AuditLog.Query().Where(auditlog.Action("vm.order")).OnlyX(ctx)
	if order.Actor != "dev" || order.Via != string(domain.ViaToken) || order.ViaID != "t-1" || order.ViaName != "night shift" {
		t.Errorf("%v", order)
	}
	started := st.jobs()
	st.run(started[0], vm.Done())
	e = st.ent.AuditLog.Query().Where(auditlog.Action("vm.restart")).OnlyX(ctx)
	if e.Actor != "shepherd" || e.OnBehalfOf != "dev" || e.ViaID != started[0].String() || e.Details["ticket"] != nil {
		t.Errorf("%v", e)
	}

	// Also when it goes wrong.
	_, orders = st.approve(1)
	st.world.before["create"] = fails(1, apperr.ErrQuotaExceeded)
	st.run(orders[0], vm.Done())
	e = st.ent.AuditLog.Query().Where(auditlog.Action("vm.create"), auditlog.ResultEQ(auditlog.ResultFailed)).OnlyX(ctx)
	if e.OnBehalfOf != "dev" || e.Details["code"] != apperr.ErrQuotaExceeded || e.Changes["state"].After != "Failed" {
		t.Errorf("%v", e)
	}
}
