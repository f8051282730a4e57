package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

func TestEnding(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		-time.Second: "ended", 0: "ended", time.Second: "1", 24 * time.Hour: "1", 24*time.Hour + time.Second: "2",
		30 * 24 * time.Hour: "30", 30*24*time.Hour + time.Second: "nothing",
	} {
		end := now.Add(left)
		got := "nothing"
		if e := (cluster.Cluster{CredentialExpiresAt: &end}).Ending(now); e != nil && e.Ended {
			got = "ended"
		} else if e != nil {
			got = fmt.Sprint(e.Days)
		}
		if got != want {
			t.Errorf("%v before: %s, want %s", left, got, want)
		}
	}
	if (cluster.Cluster{}).Ending(now) != nil {
		t.Error("one that never ends")
	}
}

// Admins are told 30, 7 and 1 days ahead and at the end, once each, however
// often and by however many processes it is looked at. A replacement begins anew.
func TestWarnOfEnds(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	st.Admins = func(ctx context.Context, c *ent.Client) ([]uuid.UUID, error) { return c.User.Query().IDs(ctx) }
	st.person("olga", domain.RoleAdmin)
	row := st.stored("east", domain.Test)
	st.stored("never", domain.Test)
	ends := func(in time.Duration) {
		t.Helper()
		st.sql(`UPDATE clusters SET credential_expires_at = now() + $1::interval WHERE id = $2`, in, row.ID)
	}
	told := 0
	look := func(what string, want int) {
		t.Helper()
		// Two replicas at once, and once more.
		done := make(chan int, 2)
		for range 2 {
			go func() {
				n, err := st.WarnOfEnds(context.WithoutCancel(ctx))
				if err != nil {
					t.Error(err)
				}
				done <- n
			}()
		}
		n := <-done + <-done
		more, err := st.WarnOfEnds(ctx)
		must(t, err)
		if n+more != want {
			t.Errorf("%s: told of %d, want %d", what, n+more, want)
		}
		told += want * 2 // two admins
		if got := len(st.inboxes("cluster.credential_ends")); got != told {
			t.Errorf("%s: %d messages, want %d", what, got, told)
		}
	}
	const day = 24 * time.Hour
	ends(31 * day)
	look("31 days", 0)
	ends(29 * day)
	look("29 days", 1)
	ends(8 * day)
	look("8 days", 0)
	ends(7*day - time.Minute)
	look("7 days", 1)
	ends(day - time.Minute)
	look("1 day", 1)
	ends(-time.Minute)
	look("ended", 1)
	look("ended long ago", 0)
	if got := st.credentialEvents(row.ID); got != strings.Repeat("credential warned, ", 3)+"credential warned" {
		t.Errorf("timeline %q", got)
	}
	if strings.Count(st.log.String(), "the credential of a cluster ends") != 4 {
		t.Errorf("log %s", st.log)
	}

	// A new one that ends in three days is told of once, and at its last day.
	st.leads("uid-east")
	must(t, st.ReplaceCredential(ctx, st.admin, row.ID.String(), st.uploadBy(st.admin, "new"), "main"))
	ends(3 * day)
	look("3 days, new", 1)
	ends(12 * time.Hour)
	look("half a day, new", 1)
}

// Of thousands of clusters only those are read that are due, by an index.
func TestWarnOfEndsScales(t *testing.T) {
	st := newStage(t)
	row := st.stored("east", domain.Test)
	st.sql(`INSERT INTO clusters (id, created_at, updated_at, name, environment, created_by, encrypted_kubeconfig, encryption_key_id, api_server_url, identity_uid, credential_expires_at)
		SELECT gen_random_uuid(), now(), now(), 'c-' || n, 'test', 'root', 'x', 'k', 'https://x', 'uid-' || n, now() + (20 + n) * interval '1 hour' FROM generate_series(1, 20000) n`)
	st.sql(`UPDATE clusters SET credential_warned = 1 WHERE id <> $1`, row.ID)
	st.sql(`ANALYZE clusters`)
	st.sql(`UPDATE clusters SET credential_expires_at = now() + interval '5 days' WHERE id = $1`, row.ID)
	start := time.Now()
	n, err := st.WarnOfEnds(t.Context())
	must(t, err)
	if took := time.Since(start); n != 1 || took > time.Second {
		t.Errorf("told of %d in %v", n, took)
	}
	rows, err := st.DB.Pool.Query(t.Context(), `EXPLAIN SELECT * FROM clusters WHERE credential_expires_at <= now() + interval '30 days' AND credential_warned IN (0) ORDER BY credential_expires_at LIMIT 100`)
	must(t, err)
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var line string
		must(t, rows.Scan(&line))
		plan = append(plan, line)
	}
	if !strings.Contains(strings.Join(plan, "\n"), "cluster_credential_expires_at") {
		t.Errorf("no index: %s", strings.Join(plan, "\n"))
	}
}
