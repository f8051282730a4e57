package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/ent/notification"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

// leads makes every credential lead to a cluster of that identity.
func (st *stage) leads(uid string) {
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return passed(uid) }
}

// uploadBy gives the draft of an admin, looked through.
func (st *stage) uploadBy(actor domain.Actor, token string) string {
	st.t.Helper()
	draft, err := st.ReadUpload(st.t.Context(), actor, "f", good(token))
	must(st.t, err)
	must(st.t, second(st.Preflight(st.t.Context(), actor, draft, "main")))
	return draft
}

// inboxes are what the inboxes have of a kind, by user name.
func (st *stage) inboxes(kind string) []string {
	st.t.Helper()
	var names []string
	for _, n := range st.DB.Ent.Notification.Query().Where(notification.Kind(kind)).WithUser().Order(notification.ByID()).AllX(st.t.Context()) {
		names = append(names, n.Edges.User.Username)
	}
	return names
}

// credentialEvents are what the history of a cluster has of its credential.
func (st *stage) credentialEvents(id uuid.UUID) string {
	var events []string
	for _, e := range st.DB.Ent.ClusterEvent.Query().Where(clusterevent.ClusterID(id)).Order(clusterevent.ByID()).AllX(st.t.Context()) {
		events = append(events, string(e.Kind)+" "+e.After)
	}
	return strings.Join(events, ", ")
}

func (st *stage) cred(id string) string {
	st.t.Helper()
	cred, _, err := (&cluster.Credentials{DB: st.DB, Keys: st.Keys}).Credential(st.t.Context(), id)
	must(st.t, err)
	return string(cred.Token)
}

func TestReplaceCredential(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	row := st.stored("east", domain.Test)
	id := row.ID.String()
	store := &cluster.Credentials{DB: st.DB, Keys: st.Keys}

	// Another cluster, however well it does.
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return passed("uid-foreign") }
	draft := st.upload()
	wants(t, st.ReplaceCredential(ctx, st.admin, id, draft, "main"), apperr.ErrClusterIdentity)
	if cred, generation, err := store.Credential(ctx, id); err != nil || generation != 1 || string(cred.Token) != "token of east" {
		t.Errorf("generation %d, %v", generation, err)
	}
	if r := st.audited("cluster.replace_credential"); len(r) != 1 || r[0].Result != auditlog.ResultRefused {
		t.Errorf("records %v", r)
	}

	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return passed("uid-east") }
	st.sql(`UPDATE clusters SET status = 'UNREACHABLE', failures = 7, credential_expires_at = now()`)
	must(t, second(st.Preflight(ctx, st.admin, draft, "main")))
	must(t, st.ReplaceCredential(ctx, st.admin, id, draft, "main"))
	cred, generation, err := store.Credential(ctx, id)
	if err != nil || generation != 2 || string(cred.Token) != kubeconfigtest.Token {
		t.Errorf("generation %d, %v", generation, err)
	}
	if got := st.row(id); got.Status != "HEALTHY" || got.Failures != 0 || got.CredentialExpiresAt != nil || got.APIServerURL != "https://10.0.0.1:6443" {
		t.Errorf("row %+v", got)
	}
	wants(t, second(st.Draft(ctx, st.admin, draft)), apperr.ErrDraftExpired)
}

// Who may replace a credential, and that no program may.
func TestReplaceCredentialRights(t *testing.T) {
	st := newStage(t)
	id := st.stored("east", domain.Test).ID.String()
	program := st.admin
	program.Token = &domain.Token{Scopes: domain.Scopes()}
	for name, c := range map[string]struct {
		actor domain.Actor
		code  string
	}{
		"auditor": {st.person("ada", domain.RoleAuditor), apperr.ErrForbidden},
		"nobody":  {st.person("nobody"), apperr.ErrNotFound},
		"program": {program, apperr.ErrTokenNotAllowed},
	} {
		for what, err := range map[string]error{
			"see":     second(st.StoredCredential(t.Context(), c.actor, id)),
			"replace": st.ReplaceCredential(t.Context(), c.actor, id, "x", "main"),
			"propose": second(st.ProposeCredential(t.Context(), c.actor, id, "x", "main", "r")),
			"answer":  st.AnswerReplacement(t.Context(), c.actor, id, "x", cluster.Confirm),
			"compare": second(st.Compare(t.Context(), c.actor, id, "x", "main")),
		} {
			if codeOf(err) != c.code {
				t.Errorf("%s, %s: %v, want %s", name, what, err, c.code)
			}
		}
	}
}

// What is stored is told, and nothing of the secret.
func TestStoredCredential(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	row := st.stored("east", domain.Test)
	id := row.ID.String()
	st.leads("uid-east")
	ca := kubeconfigtest.NewAuthority(t, time.Now().Add(time.Hour))
	draft, err := st.ReadUpload(ctx, st.admin, "f", kubeconfigtest.Config("server: https://10.0.0.1:6443\ncertificate-authority-data: "+kubeconfigtest.Base64(ca.PEM), "token: "+kubeconfigtest.Token))
	must(t, err)
	compared, err := st.Compare(ctx, st.admin, id, draft, "main")
	must(t, err)
	if compared.Same || compared.Identity != "" || compared.Unchanged || compared.Fingerprint.Credential == "" {
		t.Errorf("before the check: %+v", compared)
	}
	must(t, st.ReplaceCredential(ctx, st.admin, id, draft, "main"))
	got, err := st.StoredCredential(ctx, st.admin, id)
	must(t, err)
	if got.Generation != 2 || got.Identity != "uid-east" || got.Locked != nil || got.Waiting != nil || got.CredentialKind != "token" ||
		got.Fingerprint.Credential != compared.Fingerprint.Credential || len(got.Fingerprint.Credential) != 16 || len(got.Fingerprint.Authorities) != 1 {
		t.Errorf("%+v", got)
	}
	text, _ := json.Marshal(got)
	if strings.Contains(string(text), kubeconfigtest.Token) || strings.Contains(fmt.Sprintf("%+v", got), kubeconfigtest.Token) {
		t.Error("the secret is in what is told")
	}
	// The very same once more.
	again := st.uploadBy(st.admin, kubeconfigtest.Token)
	if c, err := st.Compare(ctx, st.admin, id, again, "main"); err != nil || c.Unchanged || !c.Same { // another CA
		t.Errorf("%+v, %v", c, err)
	}
	must(t, st.ReplaceCredential(ctx, st.admin, id, again, "main"))
	if c, err := st.Compare(ctx, st.admin, id, st.uploadBy(st.admin, kubeconfigtest.Token), "main"); err != nil || !c.Unchanged {
		t.Errorf("%+v, %v", c, err)
	}
	// One that does not open says why, and can be replaced all the same.
	st.sql(`UPDATE clusters SET encryption_key_id = 'k-gone'`)
	if got, err = st.StoredCredential(ctx, st.admin, id); err != nil || got.Locked == nil || got.Locked.Code != apperr.ErrCredentialsLocked || got.Fingerprint.Credential != "" {
		t.Errorf("%+v, %v", got, err)
	}
	must(t, st.ReplaceCredential(ctx, st.admin, id, st.uploadBy(st.admin, "fresh"), "main"))
	if st.cred(id) != "fresh" {
		t.Error("not replaced")
	}
}

// A replacement uses its draft up, whoever presses how often.
func TestReplaceOnce(t *testing.T) {
	st := newStage(t)
	id := st.stored("east", domain.Test).ID.String()
	st.leads("uid-east")
	draft := st.uploadBy(st.admin, "new")
	var wg sync.WaitGroup
	errs := make([]error, 5)
	for i := range errs {
		wg.Go(func() { errs[i] = st.ReplaceCredential(t.Context(), st.admin, id, draft, "main") })
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		} else if codeOf(err) != apperr.ErrDraftExpired {
			t.Errorf("%v", err)
		}
	}
	if row := st.row(id); done != 1 || row.CredentialGeneration != 2 {
		t.Errorf("%d of 5, generation %d", done, row.CredentialGeneration)
	}
	if got := st.credentialEvents(uuid.MustParse(id)); got != "credential replaced" {
		t.Errorf("timeline %q", got)
	}
}

// A cluster that was rebuilt: one admin says so, another one confirms it. Then it
// has the new identity and credential, and is closed until its VMs were accepted.
func TestRebuilt(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	row := st.stored("east", domain.Prod)
	id := row.ID.String()
	west := st.stored("west", domain.Prod)
	st.sql(`UPDATE clusters SET list_version = 70000, status = 'UNHEALTHY', status_reason = '{"code":"CLUSTER_IDENTITY_CHANGED"}' WHERE id = $1`, row.ID)
	olga := st.person("olga", domain.RoleAdmin)
	st.Admins = func(ctx context.Context, c *ent.Client) ([]uuid.UUID, error) { return c.User.Query().IDs(ctx) }
	var forgotten []string
	st.Forget = func(id string) { forgotten = append(forgotten, id) }

	// It belongs to another cluster that is here; a reason is needed.
	st.leads("uid-west")
	draft := st.uploadBy(st.admin, "token-of-west")
	if c, err := st.Compare(ctx, st.admin, id, draft, "main"); err != nil || c.Other != "west" || c.Same || c.Others != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	e := wants(t, second(st.ProposeCredential(ctx, st.admin, id, draft, "main", "It burned.")), apperr.ErrClusterDuplicate)
	if e.Params["cluster"] != "west" {
		t.Errorf("%v", e.Params)
	}
	// One that was removed owns nothing any more.
	st.sql(`UPDATE clusters SET removed_at = now(), enabled = false WHERE id = $1`, west.ID)
	if c, err := st.Compare(ctx, st.admin, id, draft, "main"); err != nil || c.Other != "" || c.Same {
		t.Errorf("%+v, %v", c, err)
	}
	st.sql(`UPDATE clusters SET removed_at = NULL, enabled = true WHERE id = $1`, west.ID)
	st.leads("uid-new")
	draft = st.uploadBy(st.admin, "new-token")
	wants(t, second(st.ProposeCredential(ctx, st.admin, id, draft, "main", "  ")), apperr.ErrReasonRequired)
	wants(t, second(st.ProposeCredential(ctx, st.admin, id, draft, "main", strings.Repeat("x", 501))), apperr.ErrTooLong)
	wants(t, second(st.ProposeCredential(ctx, st.admin, id, draft, "main", "a\u202eb")), apperr.ErrInvalidText)
	wants(t, st.ReplaceCredential(ctx, st.admin, id, draft, "main"), apperr.ErrClusterIdentity)

	if proposed, err := st.ProposeCredential(ctx, st.admin, id, draft, "main", "It burned."); err != nil || !proposed {
		t.Fatal(proposed, err)
	}
	wants(t, second(st.Draft(ctx, st.admin, draft)), apperr.ErrDraftExpired)
	before := st.row(id)
	if before.CredentialGeneration != 1 || before.IdentityUID != "uid-east" || before.QuarantinedAt != nil {
		t.Errorf("something is changed already: %+v", before)
	}
	if got := st.inboxes("cluster.rebuilt"); fmt.Sprint(got) != "[olga]" {
		t.Errorf("told %q", got)
	}
	var sealed []byte
	must(t, st.DB.Pool.QueryRow(ctx, `SELECT sealed FROM cluster_replacements`).Scan(&sealed))
	if strings.Contains(string(sealed), "new-token") {
		t.Error("the credential waits in the clear")
	}

	mine, err := st.StoredCredential(ctx, st.admin, id)
	must(t, err)
	theirs, err := st.StoredCredential(ctx, olga, id)
	must(t, err)
	if w := theirs.Waiting; w == nil || w.Own || !mine.Waiting.Own || w.RequestedBy != "root" || w.Reason != "It burned." || w.Identity != "uid-new" ||
		w.Fingerprint.Credential == "" || w.Fingerprint.Credential == theirs.Fingerprint.Credential || time.Until(w.ExpiresAt) > 24*time.Hour {
		t.Errorf("%+v", theirs.Waiting)
	}
	waiting := theirs.Waiting.ID

	// Never the same person, however he comes.
	wants(t, st.AnswerReplacement(ctx, st.admin, id, waiting, cluster.Confirm), apperr.ErrSelfApproval)
	if r := st.audited("cluster.confirm_credential"); len(r) != 1 || r[0].Result != auditlog.ResultRefused {
		t.Errorf("records %v", r)
	}
	wants(t, st.AnswerReplacement(ctx, st.admin, id, waiting, cluster.Reject), apperr.ErrInvalidChoice)
	wants(t, st.AnswerReplacement(ctx, olga, id, waiting, cluster.Withdraw), apperr.ErrInvalidChoice)
	wants(t, st.AnswerReplacement(ctx, olga, id, waiting, "perhaps"), apperr.ErrInvalidChoice)
	wants(t, st.AnswerReplacement(ctx, olga, west.ID.String(), waiting, cluster.Confirm), apperr.ErrReplacementGone)
	// Another admin's does not replace it.
	wants(t, second(st.ProposeCredential(ctx, olga, id, st.uploadBy(olga, "other-token"), "main", "No, this one.")), apperr.ErrReplacementPending)
	// What is there now is not what was shown, or does not answer.
	st.leads("uid-third")
	wants(t, st.AnswerReplacement(ctx, olga, id, waiting, cluster.Confirm), apperr.ErrClusterIdentity)
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight {
		return domain.Preflight{Checks: []domain.Check{{ID: "credentials", State: domain.CheckFailed, Code: apperr.ErrClusterUnauthorized}}}
	}
	wants(t, st.AnswerReplacement(ctx, olga, id, waiting, cluster.Confirm), apperr.ErrClusterUnauthorized)

	var used string
	st.play.preflight = func(_ context.Context, c domain.Credential) domain.Preflight {
		used = string(c.Token)
		return passed("uid-new")
	}
	must(t, st.AnswerReplacement(ctx, olga, id, waiting, cluster.Confirm))
	after := st.row(id)
	if used != "new-token" || st.cred(id) != "new-token" || after.CredentialGeneration != 2 || after.IdentityUID != "uid-new" || after.QuarantinedAt == nil ||
		after.QuarantineReason.Code != apperr.ErrClusterIdentity || after.ListVersion != 0 || after.Status != "HEALTHY" || fmt.Sprint(forgotten) != "["+id+"]" {
		t.Errorf("%+v, forgotten %v", after, forgotten)
	}
	if got := st.credentialEvents(row.ID); got != "credential proposed, quarantine begun, credential confirmed" {
		t.Errorf("timeline %q", got)
	}
	if got := st.inboxes("cluster.rebuilt_answered"); fmt.Sprint(got) != "[root]" {
		t.Errorf("told %q", got)
	}
	record := st.audited("cluster.confirm_credential")[1]
	text, _ := json.Marshal(record)
	if c := record.Changes["identity"]; c.Before != "uid-east" || c.After != "uid-new" || record.Actor != "olga" || record.Details["requested_by"] != "root" || strings.Contains(string(text), "new-token") {
		t.Errorf("record %s", text)
	}
	wants(t, st.AnswerReplacement(ctx, olga, id, waiting, cluster.Confirm), apperr.ErrReplacementGone)
}

// Of those who answer at once one wins, and nothing is done twice.
func TestAnswerOnce(t *testing.T) {
	st := newStage(t)
	id := st.stored("east", domain.Prod).ID.String()
	st.leads("uid-new")
	must(t, second(st.ProposeCredential(t.Context(), st.admin, id, st.uploadBy(st.admin, "new"), "main", "It burned.")))
	waiting := st.DB.Ent.ClusterReplacement.Query().OnlyIDX(t.Context()).String()
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		actor, answer := st.person(fmt.Sprint("admin-", i), domain.RoleAdmin), cluster.Confirm
		if i%2 == 1 {
			answer = cluster.Reject
		}
		wg.Go(func() { errs[i] = st.AnswerReplacement(t.Context(), actor, id, waiting, answer) })
	}
	wg.Wait()
	done := -1
	for i, err := range errs {
		switch {
		case err == nil && done < 0:
			done = i
		case codeOf(err) != apperr.ErrReplacementGone:
			t.Errorf("%v", err)
		}
	}
	row := st.row(id)
	if confirmed := done%2 == 0; done < 0 || confirmed != (row.IdentityUID == "uid-new") || row.CredentialGeneration > 2 {
		t.Errorf("%d won; %s, generation %d", done, row.IdentityUID, row.CredentialGeneration)
	}
}

// What waits can be rejected, withdrawn, replaced by who asked, forgotten after a
// day, and is dropped when the cluster turns out to be itself.
func TestReplacementEnds(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	row := st.stored("east", domain.Prod)
	id := row.ID.String()
	olga := st.person("olga", domain.RoleAdmin)
	asks := st.admin // one after the other: nobody may look at more than five clusters a minute
	propose := func() string {
		t.Helper()
		st.leads("uid-new")
		must(t, second(st.ProposeCredential(ctx, asks, id, st.uploadBy(asks, "new"), "main", "It burned.")))
		return st.DB.Ent.ClusterReplacement.Query().OnlyIDX(ctx).String()
	}
	must(t, st.AnswerReplacement(ctx, olga, id, propose(), cluster.Reject))
	must(t, st.AnswerReplacement(ctx, st.admin, id, propose(), cluster.Withdraw))
	first := propose()
	if propose() == first {
		t.Error("who asked cannot ask anew")
	}
	st.leads("uid-east")
	must(t, st.ReplaceCredential(ctx, st.admin, id, st.uploadBy(st.admin, "of-the-same"), "main"))
	if n := st.DB.Ent.ClusterReplacement.Query().CountX(ctx); n != 0 {
		t.Errorf("%d wait", n)
	}
	asks = st.person("anna", domain.RoleAdmin)
	late := propose()
	if n, err := st.SweepReplacements(ctx); n != 0 || err != nil {
		t.Error(n, err)
	}
	st.sql(`UPDATE cluster_replacements SET expires_at = now() - interval '1 second'`)
	if got, err := st.StoredCredential(ctx, olga, id); err != nil || got.Waiting != nil {
		t.Errorf("%+v, %v", got.Waiting, err)
	}
	wants(t, st.AnswerReplacement(ctx, olga, id, late, cluster.Confirm), apperr.ErrReplacementGone)
	if n, err := st.SweepReplacements(ctx); n != 1 || err != nil {
		t.Error(n, err)
	}
	want := "credential proposed, credential rejected, credential proposed, credential withdrawn, credential proposed, credential withdrawn, credential proposed, " +
		"credential rejected, credential replaced, credential proposed, credential dropped"
	if got := st.credentialEvents(row.ID); got != want {
		t.Errorf("timeline %q", got)
	}
	if r := st.audited("cluster.expire_credential"); len(r) != 1 || r[0].Actor != "shepherd" {
		t.Errorf("%v", r)
	}
	if st.row(id).IdentityUID != "uid-east" || st.row(id).QuarantinedAt != nil {
		t.Error("the cluster is another one")
	}
	// One that leads to the same cluster needs nobody.
	st.leads("uid-east")
	if proposed, err := st.ProposeCredential(ctx, asks, id, st.uploadBy(asks, "once-more"), "main", "Just so."); proposed || err != nil || st.cred(id) != "once-more" {
		t.Error(proposed, err)
	}
}

// Without its key nothing is sealed, and nothing that is there is overwritten.
func TestLockedKeysSealNothing(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	row := st.stored("east", domain.Test)
	id := row.ID.String()
	st.leads("uid-east")
	draft := st.uploadBy(st.admin, "new")
	right := st.Keys
	st.Keys = right.Lock(domain.Lockout{Missing: []string{"k-gone"}})
	wants(t, st.ReplaceCredential(ctx, st.admin, id, draft, "main"), apperr.ErrCredentialsLocked)
	wants(t, second(st.ReadUpload(ctx, st.admin, "f", good("x"))), apperr.ErrCredentialsLocked)
	wants(t, second(st.Add(ctx, st.admin, draft, input("west"))), apperr.ErrCredentialsLocked)
	if got := st.row(id); string(got.EncryptedKubeconfig) != string(row.EncryptedKubeconfig) {
		t.Error("overwritten")
	}
	if _, err := st.Draft(ctx, st.admin, draft); err != nil {
		t.Errorf("the draft is used up: %v", err)
	}
	st.Keys = right
	must(t, st.ReplaceCredential(ctx, st.admin, id, draft, "main"))
}
