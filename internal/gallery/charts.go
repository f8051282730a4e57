package gallery

import (
	"time"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

func trendsView(hourly bool) views.TrendsView {
	v := views.TrendsView{
		Hourly: hourly, Capacity: true, Next: looked.Truncate(hour).Add(hour + 15*time.Minute),
		Ranges:   []ui.Segment{segment("30 days", paths.TrendsOver("30d"), -1, !hourly), segment("24 hours", paths.TrendsOver("24h"), -1, hourly)},
		AllWaits: views.WaitColumn{Decided: 212, Half: 3*hour + 20*time.Minute, Longest: 9*days + 4*hour},
		Clusters: []views.ClusterCapacity{
			{Name: "ams-prod-1", Href: paths.Cluster("c3"), Environment: domain.Prod, CPU: views.Demand{On: 48}, Memory: views.Demand{On: 96 << 10}},
			{Name: "east", Href: paths.Cluster("c1"), Environment: domain.Test, CPU: views.Demand{On: 812, Off: 96, Limit: 256}, Memory: views.Demand{On: 1540 << 10, Off: 200 << 10, Limit: 2 << 20}},
			{Name: "west", Href: paths.Cluster("c2"), Environment: domain.Prod, CPU: views.Demand{On: 412, Off: 60, Limit: 640}, Memory: views.Demand{On: 1860 << 10, Off: 310 << 10, Limit: 2 << 20}},
			{Name: "west-2", Href: paths.Cluster("c4"), Environment: domain.Prod, CPU: views.Demand{Limit: 96}, Memory: views.Demand{Limit: 384 << 10}},
		},
	}
	n, step := 30, days
	if hourly {
		n, step = 24, hour
	}
	for i := range n {
		at := looked.Truncate(step).Add(-time.Duration(n-1-i) * step)
		c := views.VMCount{At: at, Counted: true, Running: 1380 + 7*i + i*i%13, Off: 60 + i*i%17, Busy: 4 + i*5%23, Failing: i * i % 9}
		w := views.WaitColumn{At: at, Decided: 1 + i*7%11, Half: time.Duration(1+i*5%7) * 40 * time.Minute}
		w.Longest = w.Half * time.Duration(1+i*3%8)
		if i == 11 { // the portal was down
			c = views.VMCount{At: at}
		}
		if hourly && i < 8 || at.Weekday() == time.Sunday {
			w = views.WaitColumn{At: at}
		}
		v.VMs, v.Waits = append(v.VMs, c), append(v.Waits, w)
	}
	return v
}

// charts are the trends: full, by hour as one who does not see clusters, and
// on the first day.
func charts() map[string]templ.Component {
	member, empty := trendsView(true), trendsView(false)
	member.Clusters, member.Capacity = nil, false
	empty.VMs, empty.Waits, empty.AllWaits, empty.Clusters = nil, nil, views.WaitColumn{}, nil
	admin := viewer("Trends", "trends", "admin", paths.Trends)
	return map[string]templ.Component{
		"trends":        views.Trends(admin, trendsView(false)),
		"trends-member": views.Trends(viewer("Trends", "trends", "developer", paths.TrendsOver("24h")), member),
		"trends-empty":  views.Trends(admin, empty),
	}
}
