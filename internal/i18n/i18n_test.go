package i18n

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

func examples() map[string]any {
	all := map[string]any{}
	for name, p := range Params() {
		all[name] = p.Example
	}
	return all
}

func codes() []string {
	return slices.Sorted(slices.Values(append(apperr.Codes(), domain.ProblemCodes()...)))
}

func TestEveryCodeHasASentence(t *testing.T) {
	known := codes()
	for _, code := range known {
		if english.errors[code].What == "" {
			t.Errorf("%s has no sentence", code)
		}
	}
	for _, lang := range Languages() {
		for _, table := range []map[string]bool{keys(of(lang).errors), keys(of(lang).fields)} {
			for code := range table {
				if !slices.Contains(known, code) {
					t.Errorf("a sentence for %s, which is no code", code)
				}
			}
		}
	}
	for _, code := range kubeconfig.WarningCodes() {
		if english.texts[code] == "" {
			t.Errorf("%s has no text", code)
		}
	}
}

func keys[V any](m map[string]V) map[string]bool {
	out := map[string]bool{}
	for k := range m {
		out[k] = true
	}
	return out
}

// patterns lists all patterns of a catalogue but those of pages, by where they
// stand.
func patterns(c *catalogue) map[string]string {
	all := map[string]string{}
	for code, m := range c.errors {
		all[code+" what"], all[code+" why"], all[code+" next"] = m.What, m.Why, m.Next
	}
	for code, p := range c.fields {
		all[code+" field"] = p
	}
	for key, p := range c.texts {
		all[key] = p
	}
	return all
}

// Every message is translated, with the same choices of the same parameters.
func TestMessagesAreTranslated(t *testing.T) {
	translated := patterns(chinese())
	for where, p := range patterns(&english) {
		zh := translated[where]
		words := placeholder.ReplaceAllString(p, "")
		if strings.ContainsFunc(words, unicode.IsLetter) && zh == p && where != "check.kubernetes" && where != "check.kubevirt" {
			t.Errorf("%s has no translation", where)
		}
		if got, want := shape(zh), shape(p); got != want {
			t.Errorf("%s has the parameters %s, in English %s", where, got, want)
		}
	}
}

// shape is what the choices of a pattern need, by alternative.
func shape(p string) string {
	var all []string
	for _, c := range choice.FindAllString(p, -1) {
		for alternative := range strings.SplitSeq(strings.Trim(c, "[]"), "|") {
			names := placeholder.FindAllString(alternative, -1)
			slices.Sort(names)
			all = append(all, strings.Join(slices.Compact(names), ""))
		}
		all = append(all, ";")
	}
	return strings.Join(all, " ")
}

var (
	choice      = regexp.MustCompile(`\[[^\[\]]*\]`)
	placeholder = regexp.MustCompile(`\{([a-z_]+)(:bytes)?\}`)
)

func TestPatternsAreSound(t *testing.T) {
	vocabulary, used := Params(), map[string]bool{}
	for where, p := range patterns(&english) {
		if plain := choice.ReplaceAllString(p, ""); strings.ContainsAny(plain, "[]{}|") {
			t.Errorf("%s: a placeholder outside of a choice, or an open bracket: %q", where, p)
		}
		if rest := placeholder.ReplaceAllString(p, ""); strings.ContainsAny(rest, "{}") {
			t.Errorf("%s: a broken placeholder: %q", where, p)
		}
		for _, m := range placeholder.FindAllStringSubmatch(p, -1) {
			used[m[1]] = true
			if vocabulary[m[1]].Meaning == "" {
				t.Errorf("%s: {%s} is not documented", where, m[1])
			}
		}
	}
	for name := range vocabulary {
		if !used[name] {
			t.Errorf("parameter %q is documented and used nowhere", name)
		}
	}
}

// With all documented parameters, with each alone and without any, every
// sentence is whole.
func TestEverySentenceIsWhole(t *testing.T) {
	check := func(t *testing.T, where, s string, params map[string]any) {
		t.Helper()
		lower := strings.ToLower(s)
		switch {
		case strings.ContainsAny(s, "{}|–") || strings.Contains(strings.ReplaceAll(s, "users[0]", ""), "["):
			t.Errorf("%s with %v: not filled: %q", where, slices.Collect(maps.Keys(params)), s)
		case strings.Contains(s, "  ") || strings.TrimSpace(s) != s:
			t.Errorf("%s: white space: %q", where, s)
		case strings.Contains(s, "!") || strings.Contains(lower, "please") || strings.Contains(lower, "oops") || strings.Contains(lower, "successfully"):
			t.Errorf("%s: tone: %q", where, s)
		}
	}
	sets := []map[string]any{nil, examples()}
	for name, v := range examples() {
		sets = append(sets, map[string]any{name: v})
	}
	for _, params := range sets {
		for _, lang := range Languages() {
			for _, code := range codes() {
				m := Error(lang, code, params)
				for part, s := range map[string]string{"what": m.What, "why": m.Why, "next": m.Next} {
					check(t, code+" "+part, s, params)
					// The cluster's own words may end as they like.
					if s != "" && s != Sentence(s) && (params["text"] == nil || !strings.HasSuffix(s, params["text"].(string))) {
						t.Errorf("%s %s: no full stop: %q", code, part, s)
					}
				}
				if m.What == "" || m.Next == "" {
					t.Errorf("%s: says too little: %+v", code, m)
				}
				for _, label := range []string{"", "Reason"} {
					line := Field(lang, code, label, params)
					if line == "" {
						t.Errorf("%s: no line for a field", code)
					}
					check(t, code+" field", line, params)
				}
			}
			for key := range english.texts {
				check(t, key, Text(lang, key, params), params)
			}
		}
	}
}

func TestKubeconfigRefusalsGiveTheWayOut(t *testing.T) {
	for code, want := range map[string]string{
		apperr.ErrKubeconfigExec:          "service account",
		apperr.ErrKubeconfigAuthProvider:  "service account",
		apperr.ErrKubeconfigBasicAuth:     "service account",
		apperr.ErrKubeconfigNoCredential:  "service account",
		apperr.ErrKubeconfigImpersonation: "service account",
		apperr.ErrKubeconfigFilePath:      "--flatten",
	} {
		if m := Error(English, code, nil); !strings.Contains(m.Next, want) {
			t.Errorf("%s: %q", code, m.Next)
		}
	}
}

func TestSentences(t *testing.T) {
	for _, c := range []struct {
		got, want string
	}{
		{Error(English, apperr.ErrHasChildren, map[string]any{"name": "shop", "children": []string{"web", "api", "db"}}).Text(),
			"shop cannot be deleted yet. It still contains web, api and db. Delete what is inside first."},
		{Error("de", apperr.ErrHasChildren, nil).Text(), "This cannot be deleted yet. It is not empty. Delete what is inside first."},
		{Error(English, "NO_SUCH_CODE", nil).What, "Something broke on our side."},
		{Error(English, domain.ProblemUnschedulable, map[string]any{"cluster": "fra-prod-1", "what": "32 GiB of memory", "available": "8 GiB"}).Text(),
			"No node in fra-prod-1 has 32 GiB of memory free. The largest gap is 8 GiB. Choose a smaller size, or ask the platform team for more capacity."},
		{Problem(English, domain.Problem{Code: domain.ProblemCrashLoop, Params: map[string]any{"count": 4.0, "retry_at": ""}, Text: "no bootable device"}).Text(),
			"It stopped 4 times in a row. The cluster says: no bootable device. Look at the console."},
		{Error(English, apperr.ErrKubeconfigUnknownField, map[string]any{"path": "users[0].user.exce", "line": 12}).What,
			"The kubeconfig has a key that Shepherd does not know: users[0].user.exce in line 12."},
		{Error(English, apperr.ErrKubeconfigTooLarge, map[string]any{"limit": kubeconfig.MaxSize}).What, "The kubeconfig is larger than 64 KiB."},
		{Field(English, apperr.ErrTooShort, "Reason", map[string]any{"min": 10, "max": 500}), "Write between 10 and 500 characters."},
		{Field(English, apperr.ErrTooShort, "Reason", map[string]any{"min": 10.0}), "Write at least 10 characters."},
		{Field(English, apperr.ErrRequired, "Reason", nil), "Reason is needed."},
		{Field(English, apperr.ErrOutOfRange, "Disk", map[string]any{"min": 1, "max": 2048, "unit": "GiB"}), "Choose between 1 and 2,048 GiB."},
		{Field(English, apperr.ErrSizeInactive, "Size", map[string]any{"size": "m-4"}), "The size m-4 cannot be used any more. Choose an active size."},
		{Error(Chinese, apperr.ErrHasChildren, map[string]any{"name": "shop", "children": []string{"web", "api", "db"}}).Text(),
			"shop 暂时不能删除。其中仍有 web、api 和 db。请先删除其中的内容。"},
		{Problem(Chinese, domain.Problem{Code: domain.ProblemCrashLoop, Text: "no bootable device"}).Text(),
			"它反复停止。集群返回：no bootable device. 请查看控制台。"},
		{Field(Chinese, apperr.ErrRequired, "理由", nil), "请填写“理由”。"},
		{Error(Chinese, apperr.ErrTooLarge, map[string]any{"limit": 512}).What, "内容超过 512 字节。"},
		{Text(English, "check.tls", nil), "TLS certificate"},
		{Text(English, "no.such.key", nil), "no.such.key"},
	} {
		if c.got != c.want {
			t.Errorf("got  %q\nwant %q", c.got, c.want)
		}
	}
}

func TestFill(t *testing.T) {
	params := map[string]any{"a": "A", "n": 0, "empty": "", "nil": nil, "evil": "{a} [x|y] ]["}
	for pattern, want := range map[string]string{
		"":                        "",
		"plain":                   "plain",
		"[{a}]":                   "A",
		"x[ {a}] y":               "x A y",
		"x[ {b}] y":               "x y",
		"[{b}|{a}|c]":             "A",
		"[{b} {a}|c]":             "c",
		"[{n}|c]":                 "0",
		"[{empty}|c]":             "c",
		"[{nil}|c]":               "c",
		"[{evil}]":                "{a} [x|y] ][",
		"[{a}][{b}][{a}{a}|none]": "AAA",
		"[never closed {a}":       "never closed A", // a broken pattern does not hang or panic
		"{never closed":           "–",
	} {
		if got := english.fill(pattern, params); got != want {
			t.Errorf("%q: got %q, want %q", pattern, got, want)
		}
	}
}

func TestFormat(t *testing.T) {
	at := time.Date(2026, 3, 14, 9, 5, 0, 0, time.FixedZone("", 3600))
	type name string
	for _, c := range []struct {
		value any
		unit  string
		want  string
	}{
		{0, "", "0"}, {7, "", "7"}, {999, "", "999"}, {1284, "", "1,284"}, {-1234567, "", "-1,234,567"}, {int64(5), "", "5"}, {uint8(9), "", "9"},
		{3.0, "", "3"}, {2.55, "", "2.6"}, {true, "", "yes"}, {false, "", "no"},
		{512, "bytes", "512 bytes"}, {65536, "bytes", "64 KiB"}, {1 << 30, "bytes", "1 GiB"}, {1536, "bytes", "1.5 KiB"},
		{[]string{}, "", ""}, {[]string{"a"}, "", "a"}, {[]any{"a", 2.0}, "", "a and 2"}, {[]int{1, 2, 3}, "", "1, 2 and 3"},
		{at, "", "14 Mar 2026 08:05 UTC"}, {&at, "", "14 Mar 2026 08:05 UTC"}, {time.Time{}, "", ""}, {(*time.Time)(nil), "", ""},
		{28 * time.Hour, "", "1 d 4 h"}, {4 * time.Second, "", "4 s"}, {90 * time.Second, "", "1 min 30 s"}, {time.Duration(0), "", "0 s"}, {48 * time.Hour, "", "2 d"},
		{"2026-03-14T09:05:00+01:00", "", "14 Mar 2026 08:05 UTC"},
		{domain.Prod, "", "prod"}, {name("x"), "", "x"}, {errors.New("e"), "", "e"}, {"  a\nb\x1b[31m ", "", "a b\uFFFD[31m"},
		{domain.Secret("CANARY"), "", "[REDACTED]"},
		{strings.Repeat("x", 400), "", strings.Repeat("x", maxValue) + "…"},
	} {
		if got := english.format(c.value, c.unit); got != c.want {
			t.Errorf("%T %v: got %q, want %q", c.value, c.value, got, c.want)
		}
	}
}
