package ui

import (
	"fmt"
	"strings"
	"testing"
)

func TestChart(t *testing.T) {
	chart := func(stacked bool, columns ...[]int) ChartView {
		c := ChartView{ID: "c", Title: "<T>", Stacked: stacked, Nothing: "nothing", Series: []SeriesView{{"A", OK, Hollow}, {"B", Bad, Stripes}}}
		for i, v := range columns {
			c.Columns = append(c.Columns, ColumnView{Label: fmt.Sprint(i), Values: v})
		}
		return c
	}
	for _, c := range []struct {
		chart ChartView
		want  string
	}{
		{chart(true), "[0 1]"},
		{chart(true, nil, []int{0, 0}), "[0 1]"},
		{chart(true, []int{3, 4}), "[0 2 4 6 8]"},
		{chart(false, []int{3, 4}), "[0 1 2 3 4]"},
		{chart(true, []int{1700, 2}, nil), "[0 500 1000 1500 2000]"},
	} {
		if got := fmt.Sprint(c.chart.lines()); got != c.want {
			t.Errorf("lines %s, want %s", got, c.want)
		}
	}
	long := chart(false, []int{130, 0})
	long.Steps = []int{15, 60, 360}
	if got := fmt.Sprint(long.lines()); got != "[0 60 120 180]" {
		t.Errorf("lines of steps %s", got)
	}
	long.Columns[0].Values[0] = 1e6 // beyond the steps
	if got := long.lines(); len(got) > maxLines+1 || got[len(got)-1] < 1e6 {
		t.Errorf("lines beyond the steps: %v", got)
	}

	// The few on top of the many can be seen, and stand on them.
	boxes := chart(true, []int{1700, 1}).boxes(ColumnView{Values: []int{1700, 1}}, 2000)
	if len(boxes) != 2 || boxes[1].h != "2.0" || boxes[0].y != "32.0" || boxes[1].y != "30.0" {
		t.Errorf("boxes: %+v", boxes)
	}
	var b strings.Builder
	if err := Chart(chart(true, nil, []int{0, 3})).Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`role="img" aria-labelledby="c"`, "<title>1\nA: 0\nB: 3</title>", "<title>0: nothing</title>", `fill="url(#c-stripes-bad)"`, `id="c-stripes-bad"`, "&lt;T&gt;"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in %s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), "<tr>"); n != 3 {
		t.Errorf("%d rows", n)
	}
}

func TestBar(t *testing.T) {
	for b, want := range map[BarView]string{
		{Used: 5, Add: 0, Limit: 10}: "50.0% 100.0%", {Used: 15, Add: 5, Limit: 10}: "75.0% 50.0%", {}: "0.0% 0.0%",
	} {
		if got := b.share(b.Used) + " " + b.share(b.Limit); got != want {
			t.Errorf("%+v: %s, want %s", b, got, want)
		}
	}
}
