package cluster_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig/kubeconfigtest"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

func TestAdd(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	later := time.Now().Add(365 * 24 * time.Hour).Truncate(time.Second)
	ca := kubeconfigtest.NewAuthority(t, later)
	token := kubeconfigtest.JWT("system:serviceaccount:shepherd:shepherd", later)
	draft, err := st.ReadUpload(ctx, st.admin, "f", kubeconfigtest.Config(
		"server: https://10.0.0.1:6443\ncertificate-authority-data: "+kubeconfigtest.Base64(ca.PEM), "token: "+token))
	must(t, err)
	probed := 0
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { probed++; return passed("uid-1") }
	heard := st.heard()
	id, err := st.Add(ctx, st.admin, draft, input("east")) // runs the pre-flight that was not run
	must(t, err)
	if probed != 1 {
		t.Errorf("probed %d times", probed)
	}

	c, err := st.Get(ctx, st.admin, id)
	must(t, err)
	if c.Name != "east" || c.Place != "Lab" || c.Environment != domain.Test || !c.Enabled || c.Status != domain.ClusterHealthy ||
		c.KubeVirtVersion != "v1.9.0" || len(c.StorageClasses) != 1 || c.CreatedBy != "root" || c.CheckedAt == nil ||
		c.CredentialExpiresAt == nil || !c.CredentialExpiresAt.Equal(later) {
		t.Errorf("cluster %+v", c)
	}
	store := &cluster.Credentials{DB: st.DB, Keys: st.Keys}
	cred, generation, err := store.Credential(ctx, id)
	must(t, err)
	if string(cred.Token) != token || cred.Server != "https://10.0.0.1:6443" || string(cred.CA) != string(ca.PEM) || generation != 1 {
		t.Errorf("credential %+v of generation %d", cred, generation)
	}
	wants(t, second(st.Draft(ctx, st.admin, draft)), apperr.ErrDraftExpired) // used up

	record := st.audited("cluster.create")[0]
	block, _ := pem.Decode(ca.PEM)
	sum := sha256.Sum256(block.Bytes)
	details, _ := json.Marshal(record.Details)
	if !strings.Contains(string(details), hex.EncodeToString(sum[:])) || record.Details["subject_sha256"] == nil || record.ResourceName != "east" {
		t.Errorf("record %s", details)
	}
	for _, secret := range []string{token, kubeconfigtest.Base64(ca.PEM), "serviceaccount"} {
		if strings.Contains(string(details), secret) || strings.Contains(string(st.row(id).EncryptedKubeconfig), secret) || strings.Contains(st.log.String(), secret) {
			t.Errorf("%q is readable", secret)
		}
	}
	if got := heard(); len(got) != 1 || got[0] != "clusters cluster-"+id {
		t.Errorf("announced %q", got)
	}

	// The same name, then the same cluster. The draft is kept for a better form.
	draft = st.upload()
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return passed("uid-2") }
	if e := wants(t, second(st.Add(ctx, st.admin, draft, input("east"))), apperr.ErrNameTaken); e.Field() != "name" {
		t.Errorf("field %q", e.Field())
	}
	must(t, second(st.Add(ctx, st.admin, draft, input("west"))))
	draft = st.upload()
	e := wants(t, second(st.Add(ctx, st.admin, draft, input("third"))), apperr.ErrClusterDuplicate)
	if e.Params["cluster"] != "west" {
		t.Errorf("parameters %v", e.Params)
	}
	must(t, second(st.Draft(ctx, st.admin, draft)))
}

func TestAddRefuses(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	draft := st.upload()
	bad := cluster.Input{Context: "", Name: "East!", Environment: "staging", Place: strings.Repeat("x", 101)}
	_, err := st.Add(ctx, st.admin, draft, bad)
	var got []string
	for _, e := range apperr.Fields(err) {
		got = append(got, e.Field()+" "+e.Code)
	}
	if want := "[context REQUIRED name INVALID_NAME environment INVALID_CHOICE place TOO_LONG]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	in := input("east")
	in.Place = "Lab\u202e"
	wants(t, second(st.Add(ctx, st.admin, draft, in)), apperr.ErrInvalidText)
	in = input("east")
	in.Context = "other"
	wants(t, second(st.Add(ctx, st.admin, draft, in)), apperr.ErrInvalidChoice)

	// A credential that cannot prove the identity is of no use.
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return passed("") }
	wants(t, second(st.Add(ctx, st.admin, draft, input("east"))), apperr.ErrClusterForbidden)
	// Nothing ran at all.
	draft = st.upload()
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return domain.Preflight{} }
	wants(t, second(st.Add(ctx, st.admin, draft, input("east"))), apperr.ErrClusterUnreachable)
	// The pre-flight of another context does not count.
	draft, err = st.ReadUpload(ctx, st.admin, "f", []byte(strings.Replace(string(good("t")), "contexts:\n", "contexts:\n- name: second\n  context: {cluster: c, user: u}\n", 1)))
	must(t, err)
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return passed("uid-1") }
	must(t, second(st.Preflight(ctx, st.admin, draft, "second")))
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight {
		return domain.Preflight{Checks: []domain.Check{{State: domain.CheckFailed, Code: apperr.ErrClusterUnauthorized}}}
	}
	wants(t, second(st.Add(ctx, st.admin, draft, input("east"))), apperr.ErrClusterUnauthorized)

	if n := st.DB.Ent.Cluster.Query().CountX(ctx); n != 0 {
		t.Errorf("%d clusters were stored", n)
	}
}

// A pre-flight that found KubeVirt upgrading adds a cluster that takes no VM yet.
func TestAddWhileKubeVirtIsNotReady(t *testing.T) {
	st := newStage(t)
	p := passed("uid-1")
	p.Checks = append(p.Checks, domain.Check{ID: "kubevirt", State: domain.CheckWarn, Code: apperr.ErrKubeVirtNotReady})
	st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return p }
	id, err := st.Add(t.Context(), st.admin, st.upload(), input("east"))
	must(t, err)
	if row := st.row(id); row.Status != "UNHEALTHY" || row.StatusReason.Code != apperr.ErrKubeVirtNotReady {
		t.Errorf("%s %+v", row.Status, row.StatusReason)
	}
}

// Admins who add one cluster at once, under two names or one: one of them wins,
// the others get the words of the rule, not of the database.
func TestAddAtOnce(t *testing.T) {
	for _, sameName := range []bool{true, false} {
		st := newStage(t)
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[string]int{}
		for i := range 4 {
			actor := st.person(fmt.Sprintf("admin-%d", i), domain.RoleAdmin)
			draft, err := st.ReadUpload(t.Context(), actor, "f", good("t"))
			must(t, err)
			in := input("east")
			st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return passed("uid-1") }
			if sameName {
				st.play.preflight = func(context.Context, domain.Credential) domain.Preflight { return passed("uid-" + actor.Username) }
			} else {
				in.Name = fmt.Sprintf("east-%d", i)
			}
			must(t, second(st.Preflight(t.Context(), actor, draft, "main")))
			wg.Go(func() {
				_, err := st.Add(t.Context(), actor, draft, in)
				mu.Lock()
				defer mu.Unlock()
				codes[codeOf(err)]++
			})
		}
		wg.Wait()
		want := apperr.ErrClusterDuplicate
		if sameName {
			want = apperr.ErrNameTaken
		}
		if codes[""] != 1 || codes[want] != 3 {
			t.Errorf("same name %v: answers %v", sameName, codes)
		}
	}
}

// One draft makes one cluster, however often the button is pressed.
func TestAddTwice(t *testing.T) {
	st := newStage(t)
	draft := st.upload()
	must(t, second(st.Preflight(t.Context(), st.admin, draft, "main")))
	var wg sync.WaitGroup
	errs := make([]error, 5)
	for i := range errs {
		wg.Go(func() { _, errs[i] = st.Add(t.Context(), st.admin, draft, input("east")) })
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		} else if c := codeOf(err); c != apperr.ErrDraftExpired {
			t.Errorf("error %v", err)
		}
	}
	if done != 1 || st.DB.Ent.Cluster.Query().CountX(t.Context()) != 1 {
		t.Errorf("%d of 5 were told that it is done", done)
	}
}

func TestAddDirect(t *testing.T) {
	st := newStage(t)
	id, err := st.AddDirect(t.Context(), st.admin, "east", domain.Prod, "Lab", good("t"))
	must(t, err)
	if c, err := st.Get(t.Context(), st.admin, id); err != nil || c.Environment != domain.Prod {
		t.Errorf("%+v, %v", c, err)
	}
	wants(t, second(st.AddDirect(t.Context(), st.admin, "west", domain.Prod, "", []byte("nonsense"))), apperr.ErrKubeconfigKind)
}

// A sealed credential opens in its own row, with its own key, and nowhere else.
func TestCredentialsAreBound(t *testing.T) {
	st := newStage(t)
	ctx := t.Context()
	east, west := st.stored("east", domain.Test).ID.String(), st.stored("west", domain.Prod).ID.String()
	store := &cluster.Credentials{DB: st.DB, Keys: st.Keys}

	other, err := crypto.Load("", crypto.Generate())
	must(t, err)
	lost := &cluster.Credentials{DB: st.DB, Keys: other}
	e := wants(t, second2(lost.Credential(ctx, east)), apperr.ErrCredentialsLocked)
	if e.Params["cluster"] != "east" {
		t.Errorf("parameters %v", e.Params)
	}
	st.sql(`UPDATE clusters SET encrypted_kubeconfig = (SELECT encrypted_kubeconfig FROM clusters WHERE id = $1) WHERE id = $2`, west, east)
	wants(t, second2(store.Credential(ctx, east)), apperr.ErrCredentialsTampered)
	must(t, second2(store.Credential(ctx, west)))
	wants(t, second2(store.Credential(ctx, "nonsense")), apperr.ErrNotFound)
}

func second2[A, B any](_ A, _ B, err error) error { return err }
