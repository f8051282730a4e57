package auth_test

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/auth"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

const password = "correct horse battery"

// alice makes an account with a password.
func alice(t *testing.T, l *auth.Local) *ent.User {
	t.Helper()
	hash, err := l.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	return l.Client.User.Create().SetUsername("alice").SetPasswordHash(hash).SaveX(t.Context())
}

func TestLocal(t *testing.T) {
	t.Parallel()
	l := &auth.Local{Client: databasetest.New(t).Ent}
	u := alice(t, l)
	if !strings.HasPrefix(u.PasswordHash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %.40s", u.PasswordHash)
	}
	ctx := t.Context()
	l.Client.User.Create().SetUsername("empty").SaveX(ctx) // has not used the setup link
	l.Client.User.Create().SetUsername("gone").SetPasswordHash(u.PasswordHash).SetDisabled(true).SaveX(ctx)

	for _, name := range []string{"alice", " Alice "} {
		if id, err := l.Authenticate(ctx, auth.Credentials{Username: name, Password: password}); err != nil || id != u.ID.String() {
			t.Errorf("%q: %q, %v", name, id, err)
		}
	}
	for _, c := range []auth.Credentials{
		{Username: "alice", Password: password + "!"},
		{Username: "alice", Password: ""},
		{Username: "alice", Password: password + "\x00"},
		{Username: "alice", Password: strings.Repeat("x", 10<<20)},
		{Username: "nobody", Password: password},
		{Username: "a\x00b", Password: password},
		{Username: "", Password: ""},
		{Username: "empty", Password: ""},
		{Username: "gone", Password: password},
	} {
		id, err := l.Authenticate(ctx, c)
		e, _ := apperr.From(err)
		if id != "" || e == nil || e.Code != apperr.ErrBadCredentials || len(e.Params) > 0 || e.Unwrap() != nil || e.Field() != "" {
			t.Errorf("%.20q: %q, %v", c.Username, id, err)
		}
	}
	if f := l.Client.User.GetX(ctx, u.ID).FailedSignIns; f != 4 {
		t.Errorf("%d failures counted", f)
	}
	if _, err := l.Authenticate(ctx, auth.Credentials{Username: "alice", Password: password}); err != nil {
		t.Fatal(err)
	}
	if f := l.Client.User.GetX(ctx, u.ID).FailedSignIns; f != 0 {
		t.Errorf("%d failures left after a success", f)
	}
}

func TestPasswordRules(t *testing.T) {
	for pw, code := range map[string]string{
		"":                        apperr.ErrPasswordWeak,
		"eleven char":             apperr.ErrPasswordWeak,
		"lamp river seven":        "",
		"äpfel für üble":          "", // characters, not bytes
		"correct horse battery":   "",
		"x7#Lm2!qVz9&":            "",
		strings.Repeat("x", 129):  apperr.ErrTooLong,
		"with a NUL \x00 in it":   apperr.ErrInvalidText,
		"not UTF-8 \xff\xfe here": apperr.ErrInvalidText,

		"123456qwerty":             apperr.ErrPasswordCommon, // leaked
		"SonyEricsson":             apperr.ErrPasswordCommon,
		"baldwinniwdlab":           apperr.ErrPasswordCommon,
		"password1234":             apperr.ErrPasswordCommon,
		"P@ssw0rd2026!":            apperr.ErrPasswordCommon,
		"Summer2026!!":             apperr.ErrPasswordCommon,
		"qwertyuiop[]":             apperr.ErrPasswordCommon,
		"abcdefghijkl":             apperr.ErrPasswordCommon,
		"987654321098":             apperr.ErrPasswordCommon,
		"aaaaaaaaaaaaaaaa":         apperr.ErrPasswordCommon,
		"üüüüüüüüüüüü":             apperr.ErrPasswordCommon,
		"äöüäöüäöüäöü":             apperr.ErrPasswordCommon,
		"letmeinletmein":           apperr.ErrPasswordCommon,
		"KubeVirt-Shepherd":        apperr.ErrPasswordCommon, // the portal's name
		"shepherd-2026":            apperr.ErrPasswordCommon,
		"hollander-hollander":      apperr.ErrPasswordCommon, // the own name
		"hollander2026":            apperr.ErrPasswordCommon,
		"GerritHollander":          apperr.ErrPasswordCommon,
		strings.Repeat("ab1!", 32): apperr.ErrPasswordCommon,
		strings.Repeat("ü", 128):   apperr.ErrPasswordCommon,
	} {
		err := auth.CheckPassword(pw, "hollander", "Gerrit Hollander")
		e, _ := apperr.From(err)
		if code == "" && err != nil || code != "" && (e == nil || e.Code != code || e.Field() != "password") {
			t.Errorf("%.20q: %v, want %q", pw, err, code)
		}
	}
}

// After five wrong passwords a name waits 1, 2, 4 … 60 s, the right password
// included; what is tried meanwhile is not counted.
func TestThrottle(t *testing.T) {
	t.Parallel()
	l := &auth.Local{Client: databasetest.New(t).Ent}
	u, ctx := alice(t, l), t.Context()
	try := func(pw string) error {
		_, err := l.Authenticate(ctx, auth.Credentials{Username: "alice", Password: pw})
		return err
	}
	for n := 1; n <= 13; n++ {
		// The time is over.
		l.Client.User.UpdateOne(u).ClearNextSignInAt().ExecX(ctx)
		before := time.Now()
		_ = try("wrong password")
		r := l.Client.User.GetX(ctx, u.ID)
		if r.FailedSignIns != n {
			t.Fatalf("try %d: %d counted", n, r.FailedSignIns)
		}
		if n < 5 {
			if r.NextSignInAt != nil {
				t.Errorf("try %d has to wait already", n)
			}
			continue
		}
		want := min(time.Duration(math.Pow(2, float64(n-5)))*time.Second, time.Minute)
		if r.NextSignInAt == nil {
			t.Fatalf("try %d does not have to wait", n)
		}
		if got := r.NextSignInAt.Sub(before); got < want || got > want+time.Second {
			t.Errorf("try %d waits %v, want %v", n, got, want)
		}
	}
	if err := try(password); apperr.CodeOf(err) != apperr.ErrBadCredentials {
		t.Errorf("the right password while waiting: %v", err)
	}
	if n := l.Client.User.GetX(ctx, u.ID).FailedSignIns; n != 13 {
		t.Errorf("tries while waiting were counted: %d", n)
	}
	l.Client.User.UpdateOne(u).SetNextSignInAt(time.Now().Add(-time.Millisecond)).ExecX(ctx)
	if err := try(password); err != nil {
		t.Errorf("the right password after waiting: %v", err)
	}
}

// Many guesses at once are no more guesses than many in a row.
func TestThrottleAtOnce(t *testing.T) {
	l := &auth.Local{Client: databasetest.New(t).Ent}
	u, ctx := alice(t, l), t.Context()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() { _, _ = l.Authenticate(ctx, auth.Credentials{Username: "alice", Password: "wrong password"}) })
	}
	wg.Wait()
	// The wait is a second, so a slow machine may admit one more.
	if n := l.Client.User.GetX(ctx, u.ID).FailedSignIns; n < 5 || n > 7 {
		t.Errorf("%d of 40 simultaneous guesses were looked at", n)
	}
}

// Whether a name exists cannot be told by time: the answers for an unknown
// name, a wrong password and a waiting name are distributed alike
// (Kolmogorov-Smirnov, p > 0.01). They are asked for by turns, so that what else
// the machine does slows all of them alike.
func TestSameTime(t *testing.T) {
	l := &auth.Local{Client: databasetest.New(t).Ent}
	u, ctx := alice(t, l), t.Context()
	const samples = 25
	all := map[string][]float64{}
	measure := func(what, name string) {
		start := time.Now()
		_, _ = l.Authenticate(ctx, auth.Credentials{Username: name, Password: "wrong password"})
		all[what] = append(all[what], time.Since(start).Seconds())
	}
	for range samples {
		measure("unknown name", "nobody")
		l.Client.User.UpdateOne(u).SetFailedSignIns(0).ClearNextSignInAt().ExecX(ctx)
		measure("wrong password", "alice")
		l.Client.User.UpdateOne(u).SetNextSignInAt(time.Now().Add(time.Hour)).ExecX(ctx)
		measure("waiting", "alice")
	}
	for _, s := range all {
		slices.Sort(s)
	}
	base := all["unknown name"]
	limit := 1.63 * math.Sqrt(2.0/samples) // p = 0.01
	for name, s := range all {
		if s[0] < 0.25 {
			t.Errorf("%s: answered after %.3f s", name, s[0])
		}
		// A difference below what a network hides is none.
		if gap := math.Abs(s[samples/2] - base[samples/2]); distance(base, s) > limit && gap > 0.002 {
			t.Errorf("%s: distance %.2f, medians %.4f and %.4f s", name, distance(base, s), s[samples/2], base[samples/2])
		}
	}
}

// distance is the Kolmogorov-Smirnov statistic of two sorted samples.
func distance(a, b []float64) float64 {
	d, i, j := 0.0, 0, 0
	for i < len(a) && j < len(b) {
		if a[i] <= b[j] {
			i++
		} else {
			j++
		}
		d = max(d, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return d
}

// A flood of sign-ins waits in line instead of taking all memory.
func TestHashesInLine(t *testing.T) {
	l := &auth.Local{Client: databasetest.New(t).Ent}
	var most, stop atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		var m runtime.MemStats
		for stop.Load() == 0 {
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), int64(m.HeapInuse)))
			time.Sleep(time.Millisecond)
		}
	}()
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() { _, _ = l.Hash(t.Context(), password) })
	}
	wg.Wait()
	stop.Store(1)
	<-done
	// Each running one holds 19 MiB; as much again may wait for the collector.
	if limit := int64(runtime.GOMAXPROCS(0)*4+4) * 19 << 20; most.Load() > limit {
		t.Errorf("heap grew to %d MiB, limit %d", most.Load()>>20, limit>>20)
	}
}
