package ui

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0 s", 0: "0 s", 59*time.Second + 999*time.Millisecond: "59 s", time.Minute: "1 min", 59 * time.Minute: "59 min",
		time.Hour: "1 h", 23*time.Hour + 59*time.Minute: "23 h", day: "1 d", 28 * time.Hour: "1 d 4 h", 7*day + 4*time.Hour: "7 d 4 h",
		20*day + 4*time.Hour: "20 d",
	} {
		if got := Age(t.Context(), d); got != want {
			t.Errorf("Age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestRelative(t *testing.T) {
	now := time.Date(2026, 11, 24, 14, 32, 0, 0, time.FixedZone("CET", 3600))
	for d, want := range map[time.Duration]string{
		0: "just now", -2 * time.Second: "just now", 4 * time.Second: "4 s ago", 28 * time.Hour: "1 d 4 h ago", -3 * time.Hour: "in 3 h",
		7*day - time.Second: "6 d 23 h ago", 7 * day: "17 Nov, 13:32 UTC", 400 * day: "20 Oct 2025",
	} {
		if got := Relative(t.Context(), now.Add(-d), now); got != want {
			t.Errorf("Relative(%v before) = %q, want %q", d, got, want)
		}
	}
	if got := Exact(now); got != "2026-11-24 13:32:00 UTC" {
		t.Errorf("Exact = %q", got)
	}
}

func TestDay(t *testing.T) {
	now := time.Date(2026, 11, 24, 0, 30, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{0: "Today", 30 * time.Minute: "Today", 31 * time.Minute: "Yesterday", 25 * time.Hour: "22 Nov", 365 * day: "24 Nov 2025"} {
		if got := Day(t.Context(), now.Add(-d), now); got != want {
			t.Errorf("Day(%v before) = %q, want %q", d, got, want)
		}
	}
}

func TestAmounts(t *testing.T) {
	for mib, want := range map[int]string{0: "0 GiB", 512: "0.5 GiB", 1024: "1 GiB", 1536: "1.5 GiB", 102400: "100 GiB", 1 << 20: "1 TiB", 4823450: "4.6 TiB"} {
		if got := GiB(mib); got != want {
			t.Errorf("GiB(%d) = %q, want %q", mib, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1284: "−1,284"} {
		if got := Thousands(n); got != want {
			t.Errorf("Thousands(%d) = %q, want %q", n, got, want)
		}
	}
}

// TestAgeLevel holds the two limits of the design language.
func TestAgeLevel(t *testing.T) {
	for d, want := range map[time.Duration]int{4*day - 1: 0, 4 * day: 4, 7*day - 1: 4, 7 * day: 7} {
		if got := ageLevel(d); got != want {
			t.Errorf("ageLevel(%v) = %d, want %d", d, got, want)
		}
	}
}

func TestSummaryTitle(t *testing.T) {
	for n, want := range map[int]string{1: "One answer needs", 3: "3 answers need", 12: "12 answers need"} {
		if got := summaryTitle(t.Context(), n); !strings.HasPrefix(got, want) {
			t.Errorf("summaryTitle(%d) = %q", n, got)
		}
	}
}

// TestIcons finds every icon and glyph that a template or handler names in the
// sprite: a missing one would be an empty square that nobody reports.
func TestIcons(t *testing.T) {
	named := regexp.MustCompile(`(Icon|Glyph)(?:\(|: *)"([a-z0-9-]+)"|Banner\("[a-z]+", "([a-z0-9-]+)"`)
	seen := 0
	for _, pattern := range []string{"*.templ", "../*.templ", "../../handlers/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range named.FindAllStringSubmatch(string(text), -1) {
				id := "i-" + m[2] + m[3]
				if m[1] == "Glyph" {
					id = "g-" + m[2]
				}
				seen++
				if !strings.Contains(sprite, `id="`+id+`"`) {
					t.Errorf("%s uses %s, which is not in the sprite: add it to static/src/icons/lucide.txt and run npm run build", f, id)
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d uses of icons were found; the pattern is out of date", seen)
	}
}
