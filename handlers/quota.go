package handlers

import (
	"context"
	"strconv"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// quotaLabels name the kinds of a quota.
var quotaLabels = map[domain.QuotaKind]string{
	domain.QuotaCPU: i18n.N("CPU (requests)"), domain.QuotaCPULimit: i18n.N("CPU (limits)"),
	domain.QuotaMemory: i18n.N("Memory (requests)"), domain.QuotaMemoryLimit: i18n.N("Memory (limits)"),
	domain.QuotaStorage: i18n.N("Storage"), domain.QuotaVMs: i18n.N("VMs"), domain.QuotaInstances: i18n.N("VMs that are on"),
	domain.QuotaPods: i18n.N("Pods"), domain.QuotaDisks: i18n.N("Volume claims"),
}

func quotaLabel(ctx context.Context, kind domain.QuotaKind) string {
	return i18n.T(ctx, quotaLabels[kind])
}

// quotaAmount is an amount of a kind with its unit.
func quotaAmount(kind domain.QuotaKind, n int) string {
	switch kind {
	case domain.QuotaCPU, domain.QuotaCPULimit:
		return strconv.FormatFloat(float64(n)/1000, 'f', -1, 64) + " vCPU"
	case domain.QuotaMemory, domain.QuotaMemoryLimit, domain.QuotaStorage:
		return ui.GiB(n)
	}
	return ui.Thousands(n)
}

func quotaBar(ctx context.Context, q domain.Quota, used, add int) views.QuotaBar {
	return views.QuotaBar{
		Label: quotaLabel(ctx, q.Kind), Used: used, Add: add, Limit: q.HardValue,
		Text: i18n.T(ctx, "{used} of {limit}", "used", quotaAmount(q.Kind, used+add), "limit", quotaAmount(q.Kind, q.HardValue)),
	}
}

// quotaBars shows of each kind the quota that is nearest to its end.
func quotaBars(ctx context.Context, quotas []domain.Quota) []views.QuotaBar {
	var bars []views.QuotaBar
	for _, q := range domain.RoomOf(quotas, domain.Demand{}).Quotas {
		bars = append(bars, quotaBar(ctx, q, q.UsedValue, 0))
	}
	return bars
}

// shownRoom is how many kinds a sentence about what is left names.
const shownRoom = 5

// roomView says what is left of a namespace on a cluster, beside what VMs would
// take; nil when nothing is limited there. The bar counts what is approved and
// not made yet as used.
func roomView(ctx context.Context, rooms map[string]cluster.Room, clusterID string, d domain.Demand) *views.RoomView {
	room, limited := rooms[clusterID]
	if !limited {
		return nil
	}
	var left []string
	for _, q := range room.Quotas[:min(len(room.Quotas), shownRoom)] {
		left = append(left, quotaLabel(ctx, q.Kind)+" "+quotaAmount(q.Kind, room.Left(q)))
	}
	v := &views.RoomView{Left: i18n.T(ctx, "Left in the namespace: {list}.", "list", strings.Join(left, i18n.T(ctx, ", ")))}
	if q := room.Tightest(d); q != nil {
		bar := quotaBar(ctx, *q, q.UsedValue+q.Kind.Takes(room.Pending), q.Kind.Takes(d))
		v.Bar = &bar
	}
	for _, q := range room.Short(d) {
		v.Short = append(v.Short, i18n.T(ctx, "{what}: at least {needed} needed, {left} left. The VMs would not start there.",
			"what", quotaLabel(ctx, q.Kind), "needed", quotaAmount(q.Kind, q.Kind.Takes(d)), "left", quotaAmount(q.Kind, room.Left(q))))
	}
	return v
}
