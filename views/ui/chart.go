package ui

import (
	"context"
	"slices"
	"strconv"

	"github.com/a-h/templ"
)

// ChartView is numbers over time, drawn as columns. The summary says what the
// picture shows, and the table below has every number.
type ChartView struct {
	ID, Title, Summary string
	Series             []SeriesView
	Stacked            bool // on top of one another, from the first; else in front of one another
	Columns            []ColumnView
	Column             string           // what a column is: "Day"
	Nothing            string           // what a column without values says: "not counted"
	Format             func(int) string // of values; nil: Thousands
	Steps              []int            // between lines of the axis, rising; nil: 1, 2, 5, 10 and so on
}

// SeriesView is one row of numbers. Look is how it is filled: what tells it
// from the others when there is no colour.
type SeriesView struct {
	Label string
	Role  Role
	Look  Look
}

// Look is the filling of an area.
type Look string

// The looks.
const (
	Solid   Look = "solid"
	Hollow  Look = "hollow"
	Stripes Look = "stripes"
	Grid    Look = "grid"
)

// ColumnView is the values of one time, as many as there are series; nil when
// there are none. A Mark is written below it.
type ColumnView struct {
	Label, Mark string
	Values      []int
}

// The plot in pixels. Across, everything is in percent, so that it fits every
// screen and text keeps its size.
const (
	plotTop    = 8
	plotHeight = 160
	plotFoot   = 22 // marks
	least      = 2  // what is there can be seen, however few
	slotFilled = 72 // percent of a column
)

func (c ChartView) text(v int) string {
	if c.Format != nil {
		return c.Format(v)
	}
	return Thousands(v)
}

// top is the largest height of a column.
func (c ChartView) top() int {
	top := 0
	for _, col := range c.Columns {
		h := 0
		for _, v := range col.Values {
			if c.Stacked {
				h += v
			} else {
				h = max(h, v)
			}
		}
		top = max(top, h)
	}
	return top
}

// maxLines is how many lines the axis has at most, without the one at zero.
const maxLines = 4

// lines are the values of the axis, from zero to the first above all columns.
func (c ChartView) lines() []int {
	top, step := max(c.top(), 1), 0
	fits := func(s int) bool { return s*maxLines >= top }
	if i := slices.IndexFunc(c.Steps, fits); i >= 0 {
		step = c.Steps[i]
	}
	for ten := 1; step == 0; ten *= 10 {
		for _, s := range []int{1, 2, 5} {
			if step == 0 && fits(s*ten) {
				step = s * ten
			}
		}
	}
	list := []int{0}
	for v := 0; v < top; {
		v += step
		list = append(list, v)
	}
	return list
}

// y is how far below the top of the picture a value is.
func (c ChartView) y(v, top int) float64 {
	return plotTop + plotHeight*(1-float64(v)/float64(top))
}

// box is a filled part of the picture.
type box struct {
	series SeriesView
	y, h   string
}

// boxes are the parts of a column, the ones at the back first.
func (c ChartView) boxes(col ColumnView, top int) []box {
	var list []box
	floor := c.y(0, top)
	for i, v := range col.Values {
		if v <= 0 {
			continue
		}
		h := max(c.y(0, top)-c.y(v, top), least)
		list = append(list, box{c.Series[i], px(floor - h), px(h)})
		if c.Stacked {
			floor -= h
		}
	}
	return list
}

// place is where a column begins and how wide it is, and its middle.
func (c ChartView) place(i int) (x, width, middle string) {
	slot := 100 / float64(len(c.Columns))
	filled := slot * slotFilled / 100
	at := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + "%" }
	return at(float64(i)*slot + (slot-filled)/2), at(filled), at((float64(i) + 0.5) * slot)
}

// says is a column in words.
func (c ChartView) says(ctx context.Context, col ColumnView) string {
	if col.Values == nil {
		return col.Label + tr(ctx, ": ") + c.Nothing
	}
	text := col.Label
	for i, v := range col.Values {
		text += "\n" + c.Series[i].Label + tr(ctx, ": ") + c.text(v)
	}
	return text
}

// paint fills a shape; chart is the id of the chart with the patterns.
func (s SeriesView) paint(chart string) templ.Attributes {
	look := "look-" + string(s.Role)
	switch s.Look {
	case Solid:
		return templ.Attributes{"class": look + " ink"}
	case Hollow:
		return templ.Attributes{"class": look + " paper edge"}
	}
	return templ.Attributes{"class": look + " edge", "fill": "url(#" + s.pattern(chart) + ")"}
}

func (s SeriesView) pattern(chart string) string {
	return chart + "-" + string(s.Look) + "-" + string(s.Role)
}

func px(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// BarView is an amount against a limit: what is used, and what would come on top.
type BarView struct {
	Label            string // in words
	Used, Add, Limit int
	Role             Role // of what is used
}

// share is a part of the bar, which is as long as the longer of limit and sum.
func (b BarView) share(n int) string {
	return strconv.FormatFloat(100*float64(n)/float64(max(b.Used+b.Add, b.Limit, 1)), 'f', 1, 64) + "%"
}
