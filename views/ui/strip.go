package ui

import (
	"context"
	"strconv"
	"time"
)

// StripView is what was so for how long, drawn as one line of time. The summary
// says what the picture shows, and the table below has every part.
type StripView struct {
	ID, Title, Summary string
	Series             []SeriesView // the states, for the legend
	From, To           time.Time
	Parts              []StripPart // in order
	Marks              []StripMark // below the line
}

// StripPart is a time in one state. Series is its place in the list of states.
type StripPart struct {
	From, To time.Time
	Series   int
	Why      string
}

// StripMark is a word at a time.
type StripMark struct {
	At    time.Time
	Label string
}

// The strip in pixels.
const (
	stripTop    = 2
	stripHeight = 24
	stripFoot   = 20
)

// at is where a time is, in percent of the line.
func (s StripView) at(t time.Time) float64 {
	all := s.To.Sub(s.From)
	if all <= 0 {
		return 0
	}
	return min(max(100*float64(t.Sub(s.From))/float64(all), 0), 100)
}

func percentOf(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + "%" }

// leastPart is how wide a part is drawn at least, in percent, so that a short one
// can be seen.
const leastPart = 0.4

func (s StripView) x(p StripPart) string { return percentOf(min(s.at(p.From), 100-leastPart)) }

func (s StripView) width(p StripPart) string {
	return percentOf(max(s.at(p.To)-s.at(p.From), leastPart))
}

// says is a part in words.
func (s StripView) says(ctx context.Context, p StripPart) string {
	text := tr(ctx, "{state} for {time}", "state", s.Series[p.Series].Label, "time", Age(ctx, p.To.Sub(p.From)))
	text += "\n" + Exact(p.From)
	if p.Why != "" {
		text += "\n" + p.Why
	}
	return text
}

// anchor keeps the words at the ends inside the picture.
func (s StripView) anchor(m StripMark) string {
	switch at := s.at(m.At); {
	case at < 4:
		return "start"
	case at > 96:
		return "end"
	}
	return "middle"
}
