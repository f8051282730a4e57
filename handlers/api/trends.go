package api

import (
	"cmp"
	"context"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/trends"
)

// Trends are numbers of what I see, over time.
type Trends struct {
	Range    string      `json:"range" enum:"24h,30d"`
	Step     int         `json:"step_seconds" doc:"Length of one column."`
	VMs      []VMCount   `json:"vms"`
	Waits    []WaitCount `json:"waits" doc:"How long requests waited for the decision of a person."`
	AllWaits WaitCount   `json:"all_waits" doc:"The whole range together."`
}

// VMCount is how many VMs there were at the last sample of a column.
type VMCount struct {
	At      time.Time `json:"at" doc:"When the column begins."`
	Counted bool      `json:"counted" doc:"False: the portal did not run then."`
	Running int       `json:"running"`
	Off     int       `json:"off"`
	Busy    int       `json:"busy"`
	Failing int       `json:"failing"`
}

// WaitCount is how long the requests waited that were decided in a column.
type WaitCount struct {
	At      time.Time `json:"at" doc:"When the column begins."`
	Decided int       `json:"decided"`
	Half    int       `json:"half_seconds" doc:"Half of them waited at most so long."`
	Longest int       `json:"longest_seconds"`
}

func waitCount(w trends.Wait) WaitCount {
	return WaitCount{w.At, w.Decided, seconds(w.Half), seconds(w.Longest)}
}

func (a *API) trends() []Operation {
	return []Operation{
		op(Operation{ID: "getTrends", Method: "GET", Path: "/trends", Action: domain.TrendsRead, Tag: "trends", Summary: "VMs and waiting times over time", Pages: []string{"GET /trends"}},
			func(ctx context.Context, actor domain.Actor, in struct {
				Range string `query:"range" enum:"24h,30d" default:"30d"`
			}) (Trends, error) {
				over, now := trends.Range(cmp.Or(in.Range, string(trends.Month))), a.Now().UTC()
				counts, err := a.Trends.VMs(ctx, actor, over, now)
				if err != nil {
					return Trends{}, err
				}
				waits, all, err := a.Trends.Waits(ctx, actor, over, now)
				return Trends{
					Range: string(over), Step: seconds(over.Step()), AllWaits: waitCount(all), Waits: items(waits, "", waitCount).Items,
					VMs: items(counts, "", func(c trends.Count) VMCount {
						return VMCount{c.At, c.Counted, c.VMs[domain.HealthOK], c.VMs[domain.HealthIdle], c.VMs[domain.HealthBusy], c.VMs[domain.HealthBad]}
					}).Items,
				}, err
			}),
	}
}
