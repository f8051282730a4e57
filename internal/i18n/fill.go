package i18n

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// maxValue is how much of one parameter a sentence shows, in characters.
const maxValue = 300

// formats is how a language writes values.
type formats struct {
	comma, and  string // between the items of a list
	yes, no     string
	thousands   string
	bytes       string
	days, hours string // units of a duration
	minutes     string
	seconds     string
	date        string // layout of a time, which is always UTC
}

// fill puts parameters into a pattern. {name} is a parameter, {name:bytes} a
// number of bytes as a size. A parameter can be missing, so every placeholder
// stands in a choice: [a {x}|b] is the first alternative whose parameters are
// all there, and nothing when there is none. Choices are not nested. What comes
// out of a parameter is never read again as a pattern.
func (c *catalogue) fill(pattern string, params map[string]any) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(pattern, "[")
		text, _ := c.replace(before, params)
		out.WriteString(text)
		if !found {
			return out.String()
		}
		choice, after, _ := strings.Cut(rest, "]")
		for alternative := range strings.SplitSeq(choice, "|") {
			if text, complete := c.replace(alternative, params); complete {
				out.WriteString(text)
				break
			}
		}
		pattern = after
	}
}

// replace fills the placeholders of a text without choices, and says whether
// all had a value.
func (c *catalogue) replace(text string, params map[string]any) (string, bool) {
	var out strings.Builder
	complete := true
	for {
		before, rest, found := strings.Cut(text, "{")
		out.WriteString(before)
		if !found {
			return out.String(), complete
		}
		placeholder, after, _ := strings.Cut(rest, "}")
		name, unit, _ := strings.Cut(placeholder, ":")
		value := c.format(params[name], unit)
		if value == "" {
			complete = false
			value = "–"
		}
		out.WriteString(value)
		text = after
	}
}

// format writes a value for people; "" when there is none.
func (c *catalogue) format(v any, unit string) string {
	f := c.formats
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return c.format(t, unit)
		}
		return domain.CleanText(strings.TrimSpace(v), maxValue)
	case bool:
		if v {
			return f.yes
		}
		return f.no
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.UTC().Format(f.date)
	case *time.Time:
		if v == nil {
			return ""
		}
		return c.format(*v, unit)
	case time.Duration:
		return f.duration(v)
	case json.Number:
		return c.format(v.String(), unit)
	case fmt.Stringer: // before the kinds: a secret hides itself this way
		return c.format(v.String(), unit)
	case error:
		return c.format(v.Error(), unit)
	}
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return f.number(float64(r.Int()), unit)
	case r.CanUint():
		return f.number(float64(r.Uint()), unit)
	case r.CanFloat(): // what a number is after a way through JSON
		return f.number(r.Float(), unit)
	case r.Kind() == reflect.String:
		return c.format(r.String(), unit)
	case r.Kind() == reflect.Slice, r.Kind() == reflect.Array:
		items := make([]string, 0, r.Len())
		for i := range r.Len() {
			items = append(items, c.format(r.Index(i).Interface(), unit))
		}
		return f.list(items)
	default:
		return c.format(fmt.Sprint(v), unit)
	}
}

func (f formats) list(items []string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	last := len(items) - 1
	return strings.Join(items[:last], f.comma) + f.and + items[last]
}

func (f formats) number(n float64, unit string) string {
	if unit == "bytes" {
		units := []string{f.bytes, "KiB", "MiB", "GiB", "TiB"}
		i := 0
		for ; n >= 1024 && i < len(units)-1; i++ {
			n /= 1024
		}
		return f.number(n, "") + " " + units[i]
	}
	s := strconv.FormatFloat(math.Round(n*10)/10, 'f', -1, 64)
	whole, fraction, isFraction := strings.Cut(s, ".")
	digits := strings.TrimPrefix(whole, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + f.thousands + digits[i:]
	}
	if strings.HasPrefix(whole, "-") {
		digits = "-" + digits
	}
	if isFraction {
		return digits + "." + fraction
	}
	return digits
}

// duration writes the two largest units, as DESIGN.md does: 1 d 4 h, 4 s.
func (f formats) duration(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	parts := []struct {
		n    int64
		unit string
	}{{s / 86400, f.days}, {s / 3600 % 24, f.hours}, {s / 60 % 60, f.minutes}, {s % 60, f.seconds}}
	for i, p := range parts {
		if p.n <= 0 && i < len(parts)-1 {
			continue
		}
		out := strconv.FormatInt(p.n, 10) + " " + p.unit
		if i+1 < len(parts) && parts[i+1].n > 0 {
			out += " " + strconv.FormatInt(parts[i+1].n, 10) + " " + parts[i+1].unit
		}
		return out
	}
	return ""
}
