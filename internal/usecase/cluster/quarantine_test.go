package cluster_test

import (
	"context"
	"testing"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// Another cluster behind the address gets ours into quarantine. That it is itself
// again does not end it: nobody knows what happened meanwhile.
func TestIdentityQuarantine(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	var told []notify.Message
	st.TellAdmins = func(_ context.Context, _ *ent.Tx, m notify.Message) error { told = append(told, m); return nil }
	id := st.stored("east", domain.Test).ID.String()
	found := healthy("uid-east")
	st.play.health = func(context.Context, string) domain.ClusterHealth { return found }
	must(t, st.Check(ctx, id))
	store := &cluster.Credentials{DB: st.DB, Keys: st.Keys}
	must(t, store.MayWrite(ctx, id))

	heard := st.heard()
	found = healthy("uid-foreign")
	must(t, st.Check(ctx, id))
	must(t, st.Check(ctx, id))
	row := st.row(id)
	if row.QuarantinedAt == nil || row.QuarantineReason.Code != apperr.ErrClusterIdentity {
		t.Fatalf("quarantined at %v for %+v", row.QuarantinedAt, row.QuarantineReason)
	}
	if len(told) != 1 || told[0].Kind != notify.ClusterQuarantined || told[0].Params["cluster_id"] != id {
		t.Errorf("told %+v", told)
	}
	if topics := heard(); len(topics) == 0 {
		t.Error("no page was told")
	}
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return passed("uid-east") }
	must(t, st.Check(ctx, id))
	if row := st.row(id); row.Status != "HEALTHY" || row.QuarantinedAt == nil {
		t.Errorf("itself again: %s, quarantined at %v", row.Status, row.QuarantinedAt)
	}
	wants(t, store.MayWrite(ctx, id), apperr.ErrClusterQuarantined)
	if n := st.DB.Ent.ClusterEvent.Query().Where(clusterevent.KindEQ(clusterevent.KindQuarantine)).CountX(ctx); n != 1 {
		t.Errorf("%d lines in the timeline", n)
	}
	if r := st.audited("cluster.quarantine"); len(r) != 1 || r[0].Actor != "shepherd" {
		t.Errorf("record %+v", r)
	}
}

// One that is switched off is closed to writes as well, and one that is not
// there too.
func TestMayWrite(t *testing.T) {
	st := newStage(t)
	row := st.stored("east", domain.Test)
	store := &cluster.Credentials{DB: st.DB, Keys: st.Keys}
	must(t, st.SetEnabled(t.Context(), st.admin, row.ID.String(), false))
	wants(t, store.MayWrite(t.Context(), row.ID.String()), apperr.ErrClusterDisabled)
	wants(t, store.MayWrite(t.Context(), "x"), apperr.ErrNotFound)
}
