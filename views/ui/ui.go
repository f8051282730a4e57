// Package ui holds the small parts that every page is made of: status, tags,
// fields, tables' pagers, banners. It draws what it is given and knows neither
// the domain nor HTTP. Names, roles and looks follow one design
// language: colour means state, and every state has a label.
package ui

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Role is what a colour says. There are no other colours of state.
type Role string

// The roles.
const (
	OK   Role = "ok"   // as it should be
	Busy Role = "busy" // on its way by itself
	Wait Role = "wait" // waits for a person
	Warn Role = "warn" // works, but look at it
	Bad  Role = "bad"  // does not work
	Idle Role = "idle" // off, over or unknown
)

// StatusView is a state in words, colour and shape. Label is English, marked
// with i18n.N, or already in the reader's language. Glyph is the part after
// "g-" of the sprite: running, stopped, paused, busy, warn, failed, unknown,
// pending, done, none.
type StatusView struct {
	Label string
	Role  Role
	Glyph string
}

// Crumb is one step of a breadcrumb; without Href it is the page itself.
type Crumb struct{ Label, Href string }

// FieldView is the frame of a form control: ID is the control's element id.
type FieldView struct {
	ID, Label, Hint, Error string
	Optional               bool
}

// DescribedBy lists the ids that explain the control, for aria-describedby.
func (f FieldView) DescribedBy() string {
	switch {
	case f.Error != "":
		return f.ID + "-error"
	case f.Hint != "":
		return f.ID + "-hint"
	}
	return ""
}

// InputView is a control. Described is its aria-describedby; Rows is for
// Textarea only. Type defaults to text.
type InputView struct {
	ID, Name, Value, Type                        string
	Placeholder, Autocomplete, InputMode         string
	Invalid, Required, Disabled, Spell, ReadOnly bool
	Described                                    string
	Rows, MaxLength                              int
	Secret                                       bool // no browser keeps it in a draft
	Class                                        string
}

// in ties the control to its field: id, error state and explanation.
func (v InputView) in(f FieldView) InputView {
	if v.ID == "" {
		v.ID = f.ID
	}
	v.Invalid = v.Invalid || f.Error != ""
	if v.Described == "" {
		v.Described = f.DescribedBy()
	}
	return v
}

// Option is one choice of a Select.
type Option struct {
	Value, Label       string
	Selected, Disabled bool
}

// FieldError points from the summary to a control: Field is its element id.
type FieldError struct{ Field, Label, Message string }

// ErrorFor is the message for a control, or "".
func ErrorFor(errs []FieldError, id string) string {
	for _, e := range errs {
		if e.Field == id {
			return e.Message
		}
	}
	return ""
}

// summaryTitle says how many answers to look at, and that nothing was done.
func summaryTitle(ctx context.Context, n int) string {
	return trn(ctx, n, "One answer needs another look. Nothing has been sent.", "{n} answers need another look. Nothing has been sent.")
}

// EmptyView says why a place is empty and what to do next.
type EmptyView struct {
	Icon, Title, Text  string
	Action, ActionHref string
	Second, SecondHref string
}

// PagerView is the foot of a keyset-paged list. An empty address is an end.
type PagerView struct{ Summary, NewerHref, OlderHref string }

// TimelineItem is a step of a history. State is ok, bad, busy, wait or todo;
// Icon may be empty, then the state's own sign is drawn.
type TimelineItem struct {
	State, Icon, Title, By string
	At                     *time.Time
	Text                   string
}

// sign is the icon or glyph of a step.
func (t TimelineItem) sign() (icon, glyph string) {
	if t.Icon != "" {
		return t.Icon, ""
	}
	switch t.State {
	case "ok":
		return "check", ""
	case "bad":
		return "x", ""
	case "busy":
		return "", "busy"
	case "wait":
		return "", "pending"
	}
	return "", "stopped"
}

// Segment is one of a few exclusive views of a list. Count < 0 is not shown.
type Segment struct {
	Label, Href string
	Count       int
	Current     bool
}

// Tab is one part of an object. Count < 0 is not shown.
type Tab struct {
	Label, Href string
	Count       int
	Current     bool
}

// clock is the exact time, as titles and details show it.
const clock = "2006-01-02 15:04:05 MST"

// Exact is a time as it is written where it must be exact: UTC, to the second.
func Exact(t time.Time) string { return t.UTC().Format(clock) }

// Age is a duration in its two largest units: "12 s", "6 min", "5 h", "1 d 4 h".
// From two weeks on it is whole days.
func Age(ctx context.Context, d time.Duration) string {
	d = max(d, 0)
	days, hours := int(d/(24*time.Hour)), int(d%(24*time.Hour)/time.Hour)
	switch {
	case d < time.Minute:
		return tr(ctx, "{n} s", "n", int(d/time.Second))
	case d < time.Hour:
		return tr(ctx, "{n} min", "n", int(d/time.Minute))
	case days == 0:
		return tr(ctx, "{n} h", "n", hours)
	case days < 14 && hours > 0:
		return tr(ctx, "{days} d {hours} h", "days", days, "hours", hours)
	}
	return tr(ctx, "{n} d", "n", days)
}

// Relative is how a time is said: relative up to seven days, then the date, all
// in UTC.
func Relative(ctx context.Context, t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	switch d := now.Sub(t); {
	case d > -5*time.Second && d < 3*time.Second:
		return tr(ctx, "just now")
	case d < 0 && d > -7*24*time.Hour:
		return tr(ctx, "in {time}", "time", Age(ctx, -d))
	case d >= 0 && d < 7*24*time.Hour:
		return tr(ctx, "{time} ago", "time", Age(ctx, d))
	case t.Year() == now.Year():
		return t.Format(tr(ctx, "2 Jan, 15:04 UTC"))
	}
	return t.Format(tr(ctx, "2 Jan 2006"))
}

// Day heads a group of a list by date: "Today", "Yesterday", "20 Nov".
func Day(ctx context.Context, t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	today := now.Truncate(24 * time.Hour)
	switch {
	case !t.Before(today):
		return tr(ctx, "Today")
	case !t.Before(today.Add(-24 * time.Hour)):
		return tr(ctx, "Yesterday")
	case t.Year() == now.Year():
		return t.Format(tr(ctx, "2 Jan"))
	}
	return t.Format(tr(ctx, "2 Jan 2006"))
}

// ageLevel is the highlight of a waiting request: 7 from seven days, 4 from
// four, else 0 (design language, section 5).
func ageLevel(d time.Duration) int {
	switch {
	case d >= 7*24*time.Hour:
		return 7
	case d >= 4*24*time.Hour:
		return 4
	}
	return 0
}

// GiB is an amount of memory or disk, given in MiB: "4 GiB", "1.5 GiB", "4.6 TiB".
func GiB(mib int) string {
	v, unit := float64(mib)/1024, "GiB"
	if v >= 1024 {
		v, unit = v/1024, "TiB"
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + " " + unit
}

// Thousands is a whole number with separators: 1,284.
func Thousands(n int) string {
	s := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Dash stands for nothing in a table.
func Dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// sentence starts with a capital letter: a message stands alone at its field
// and after the field's name in the summary.
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// initial is the letter of an avatar.
func initial(name string) string {
	r, _ := utf8.DecodeRuneInString(name)
	if r == utf8.RuneError {
		return "?"
	}
	return string(r)
}

// percent is a width of an SVG part, kept inside the picture.
func percent(n int) string { return strconv.Itoa(min(max(n, 0), 100)) + "%" }
