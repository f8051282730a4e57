package audit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/system"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

func TestList(t *testing.T) {
	db, ctx, begin := databasetest.New(t), t.Context(), time.Now().Add(-time.Minute)
	log := &audit.Log{DB: db}
	shop := db.Ent.System.Create().SetName("shop").SetNamespace("n").SetEnvironment(system.EnvironmentTest).SetCreatedBy("x").SaveX(ctx).ID.String()
	bank := db.Ent.System.Create().SetName("bank").SetNamespace("n").SetEnvironment(system.EnvironmentProd).SetCreatedBy("x").SaveX(ctx).ID.String()
	alice := domain.Actor{UserID: uuid.NewString(), Username: "alice", IP: "192.0.2.1", RequestID: "r1"}
	bob := domain.Actor{UserID: uuid.NewString(), Username: "bob"}
	for _, e := range []struct {
		by domain.Actor
		e  audit.Entry
	}{
		{alice, audit.Entry{Action: "system.create", ResourceType: "system", ResourceID: shop, ResourceName: "shop", SystemID: shop}},
		{bob, audit.Entry{Action: "service.create", ResourceType: "service", ResourceID: "s1", ResourceName: "bank-Vault", SystemID: bank}},
		{bob, audit.Entry{Action: "service.delete", ResourceType: "service", ResourceID: "s1", ResourceName: "bank-Vault", SystemID: bank, Refused: true, Reason: "because"}},
		{alice, audit.Entry{Action: "session.sign_in", ResourceType: "session"}},
		{bob, audit.Entry{Action: "system.delete", ResourceType: "system", ResourceID: "gone", ResourceName: "gone", SystemID: uuid.NewString(), Details: map[string]any{"n": 1, "title": "größe 40%"}}},
	} {
		if err := db.InTx(ctx, func(tx *ent.Tx) error { return audit.Write(ctx, tx, e.by, e.e) }); err != nil {
			t.Fatal(err)
		}
	}
	role := func(b domain.Binding) domain.Actor {
		return domain.Actor{UserID: alice.UserID, Username: "alice", Bindings: []domain.Binding{b}}
	}
	auditor := role(domain.Binding{Role: domain.RoleAuditor})
	for _, c := range []struct {
		actor domain.Actor
		f     audit.Filter
		want  string
	}{
		{auditor, audit.Filter{}, "5 4 3 2 1"},
		{role(domain.Binding{Role: domain.RoleAdmin}), audit.Filter{}, "5 4 3 2 1"},
		{role(domain.Binding{Role: domain.RoleApprover}), audit.Filter{}, "3 2 1"},
		{role(domain.Binding{Role: domain.RoleApprover, Environment: domain.Prod}), audit.Filter{}, "3 2"},
		{role(domain.Binding{Role: domain.RoleViewer, SystemID: shop}), audit.Filter{}, "1"},
		{role(domain.Binding{Role: domain.RoleViewer, SystemID: shop}), audit.Filter{SystemID: bank}, ""},
		{alice, audit.Filter{}, ""}, // her own sign-in is no business of a system
		{auditor, audit.Filter{Actor: "alice"}, "4 1"},
		{auditor, audit.Filter{Action: "system."}, "5 1"},
		{auditor, audit.Filter{Action: "system.create"}, "1"},
		{auditor, audit.Filter{Action: "system"}, ""},
		{auditor, audit.Filter{SystemID: bank}, "3 2"},
		{auditor, audit.Filter{ResourceType: "service", ResourceID: "s1"}, "3 2"},
		{auditor, audit.Filter{Result: "refused"}, "3"},
		{auditor, audit.Filter{Query: "VAULT"}, "3 2"},
		{auditor, audit.Filter{Query: "alic"}, "4 1"},
		{auditor, audit.Filter{Query: "delete", Actor: "bob", Result: "done"}, "5"},
		{auditor, audit.Filter{Query: "%"}, "5"},
		{auditor, audit.Filter{Query: "_"}, "4"}, // session.sign_in
		{auditor, audit.Filter{Query: "BECAUSE"}, "3"},
		{auditor, audit.Filter{Query: "Größe 40%"}, "5"},
		{auditor, audit.Filter{Query: "s1"}, "3 2"},
		{auditor, audit.Filter{Query: "r1"}, "4 1"},
		{auditor, audit.Filter{Query: "192.0.2.1"}, "4 1"},
		{role(domain.Binding{Role: domain.RoleApprover}), audit.Filter{Query: "192.0.2.1"}, ""}, // not shown to them
		{auditor, audit.Filter{From: begin, To: begin.Add(time.Hour)}, "5 4 3 2 1"},
		{auditor, audit.Filter{To: begin}, ""},
		{auditor, audit.Filter{From: begin.Add(time.Hour)}, ""},
		{auditor, audit.Filter{Query: "a\x00"}, ""},
		{auditor, audit.Filter{ResourceID: strings.Repeat("x", 1000)}, ""},
		{auditor, audit.Filter{Result: "great"}, ""},
	} {
		var got []string
		for page := (listing.Page{Limit: 2}); ; {
			l, err := log.List(ctx, c.actor, c.f, page)
			if err != nil {
				t.Fatalf("%+v: %v", c.f, err)
			}
			for _, r := range l.Items {
				got = append(got, fmt.Sprint(r.Number))
				if private := r.IP + r.RequestID; (private != "") != (c.actor.CanAudit() && r.Actor == "alice") {
					t.Errorf("%q is told of entry %d", private, r.Number)
				}
			}
			if page.After = l.Next; l.Next == "" {
				break
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v %+v: %q, want %q", c.actor.Bindings, c.f, got, c.want)
		}
	}
	l, err := log.List(ctx, auditor, audit.Filter{}, listing.Page{})
	if err != nil || l.Items[0].Details["n"] != float64(1) || l.Items[2].Reason != "because" || l.Items[2].Result != "refused" {
		t.Errorf("%+v, %v", l.Items, err)
	}
	if _, err := log.List(ctx, auditor, audit.Filter{}, listing.Page{After: "x"}); apperr.CodeOf(err) != apperr.ErrInvalidChoice {
		t.Errorf("a made-up cursor: %v", err)
	}
}
