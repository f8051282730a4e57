package handlers

import (
	"net/http"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/trends"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// rangeLabels name the ranges.
var rangeLabels = map[trends.Range]string{trends.Month: i18n.N("30 days"), trends.Day: i18n.N("24 hours")}

// showTrends answers GET /trends. What is no range is the longest one.
func (s *Server) showTrends(w http.ResponseWriter, r *http.Request) error {
	ctx, a, now := r.Context(), actor(r), s.now()
	over := trends.Range(r.URL.Query().Get("range"))
	if rangeLabels[over] == "" {
		over = trends.Month
	}
	counts, err := s.Trends.VMs(ctx, a, over, now)
	if err != nil {
		return err
	}
	waits, all, err := s.Trends.Waits(ctx, a, over, now)
	if err != nil {
		return err
	}
	v := views.TrendsView{
		Hourly: over.Step() == time.Hour, Next: now.Truncate(time.Hour).Add(time.Hour + trends.SampleEvery),
		VMs: vmCounts(counts), AllWaits: waitColumn(all), Capacity: mayOn(r, domain.ClusterList),
	}
	for _, x := range trends.Ranges() {
		v.Ranges = append(v.Ranges, ui.Segment{Label: i18n.T(ctx, rangeLabels[x]), Href: paths.TrendsOver(string(x)), Count: -1, Current: x == over})
	}
	for _, x := range waits {
		v.Waits = append(v.Waits, waitColumn(x))
	}
	if v.Capacity {
		list, err := s.Clusters.Capacities(ctx, a)
		if err != nil {
			return err
		}
		for _, c := range list {
			v.Clusters = append(v.Clusters, views.ClusterCapacity{
				Name: c.Name, Href: paths.Cluster(c.ID), Environment: c.Environment,
				CPU:    views.Demand{On: c.On.CPU, Off: c.Off.CPU, Limit: c.Allocatable.CPU},
				Memory: views.Demand{On: c.On.MemoryMiB, Off: c.Off.MemoryMiB, Limit: c.Allocatable.MemoryMiB},
			})
		}
	}
	sh, err := s.shell(r, i18n.T(ctx, "Trends"), "trends")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Trends(sh, v))
}

// vmCounts are the columns of the chart; none when no VM was counted in any.
func vmCounts(counts []trends.Count) []views.VMCount {
	var list []views.VMCount
	any := false
	for _, c := range counts {
		any = any || len(c.VMs) > 0
		list = append(list, views.VMCount{
			At: c.At, Counted: c.Counted, Running: c.VMs[domain.HealthOK], Off: c.VMs[domain.HealthIdle],
			Busy: c.VMs[domain.HealthBusy], Failing: c.VMs[domain.HealthBad],
		})
	}
	if !any {
		return nil
	}
	return list
}

func waitColumn(w trends.Wait) views.WaitColumn {
	return views.WaitColumn{At: w.At, Decided: w.Decided, Half: w.Half, Longest: w.Longest}
}
