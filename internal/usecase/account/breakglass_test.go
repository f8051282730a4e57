package account_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/notification"
	"kubevirt-shepherd.io/shepherd/ent/rolebinding"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
)

func TestBreakGlass(t *testing.T) {
	s := service(t)
	ctx := t.Context()
	boss := create(t, s, "boss", domain.Binding{Role: domain.RoleAdmin})
	create(t, s, "dev")
	reason := "The issuer is down\nand ams-prod-1 is on fire"
	token, until, err := s.BreakGlass(ctx, account.BreakGlassUser, reason, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(until); left < 59*time.Minute || left > time.Hour {
		t.Errorf("lasts %v", left)
	}
	id, err := s.Setup(ctx, token, password, "192.0.2.9", "r9")
	if err != nil {
		t.Fatal(err)
	}
	a := actor(t, s, id)
	if !a.IsAdmin() || a.BreakGlass == nil || !a.BreakGlass.Until.Equal(until) || a.BreakGlass.Reason != "The issuer is down and ams-prod-1 is on fire" {
		t.Fatalf("%+v", a)
	}

	// Everything that is done says why.
	bob, err := s.CreateUser(ctx, a, account.NewUser{Username: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	e := s.DB.Ent.AuditLog.Query().Where(auditlog.Action("user.create"), auditlog.ResourceID(bob)).OnlyX(ctx)
	if e.Details["break_glass"] != a.BreakGlass.Reason {
		t.Errorf("details %v", e.Details)
	}
	made := s.DB.Ent.AuditLog.Query().Where(auditlog.Action("user.break_glass")).OnlyX(ctx)
	if made.Reason != a.BreakGlass.Reason || made.Actor != "shepherd" || made.ResourceName != account.BreakGlassUser {
		t.Errorf("made: %v", made)
	}
	came := s.DB.Ent.AuditLog.Query().Where(auditlog.Action("session.sign_in")).OnlyX(ctx)
	if came.Reason != a.BreakGlass.Reason || came.Details["method"] != "link" || came.IPAddress != "192.0.2.9" {
		t.Errorf("came: %v", came)
	}
	if _, err := s.SignIn(ctx, account.BreakGlassUser, "a wrong password", "192.0.2.9", "r9"); apperr.CodeOf(err) != apperr.ErrBadCredentials {
		t.Errorf("a wrong password: %v", err)
	}
	refused := s.DB.Ent.AuditLog.Query().Where(auditlog.Action("session.sign_in"), auditlog.ResultEQ(auditlog.ResultRefused)).OnlyX(ctx)
	if refused.Reason != a.BreakGlass.Reason {
		t.Errorf("refused: %v", refused)
	}
	if _, err := s.SignIn(ctx, account.BreakGlassUser, password, "192.0.2.9", "r9"); err != nil {
		t.Error(err)
	}

	// All admins are told, of the link and of each use, and nobody else.
	told := s.DB.Ent.Notification.Query().Order(notification.ByID()).AllX(ctx)
	kinds := ""
	for _, n := range told {
		kinds += n.Kind + " "
		if n.UserID.String() != boss || n.Params["reason"] != a.BreakGlass.Reason || n.Params["name"] != account.BreakGlassUser {
			t.Errorf("told: %v", n)
		}
	}
	if kinds != "account.break_glass account.break_glass_used account.break_glass_used " {
		t.Errorf("told %s", kinds)
	}

	// The role ends by itself, with everything that it gave.
	row := s.DB.Ent.RoleBinding.Query().Where(rolebinding.ExpiresAtNotNil()).OnlyX(ctx)
	s.DB.Ent.RoleBinding.UpdateOne(row).SetExpiresAt(time.Now().Add(-time.Millisecond)).ExecX(ctx)
	if a = actor(t, s, id); a.IsAdmin() || a.BreakGlass != nil || len(a.Bindings) != 0 {
		t.Errorf("after the end: %+v", a)
	}
	if m, err := s.Member(ctx, admin, id); err != nil || len(m.Bindings) != 0 {
		t.Errorf("on the page of people: %+v, %v", m, err)
	}
	if list, err := s.Approvers(ctx, s.DB.Ent, domain.Prod, ""); err != nil || len(list) != 1 || list[0].Username != "boss" {
		t.Errorf("approvers %v, %v", list, err)
	}
	s.Passwords = account.PasswordsBreakGlass
	if _, err := s.SignIn(ctx, account.BreakGlassUser, password, "192.0.2.9", "r9"); apperr.CodeOf(err) != apperr.ErrBadCredentials {
		t.Errorf("after the end: %v", err)
	}
}

func TestBreakGlassRules(t *testing.T) {
	s := service(t)
	ctx := t.Context()
	boss := create(t, s, "boss", domain.Binding{Role: domain.RoleAdmin})
	gone := create(t, s, "gone")
	s.DB.Ent.User.UpdateOneID(uuid.MustParse(gone)).SetDisabled(true).ExecX(ctx)
	s.DB.Ent.User.Create().SetUsername("bot").SetKind(user.KindService).SetOwnerID(uuid.MustParse(boss)).ExecX(ctx)
	for name, c := range map[string]struct {
		user, reason string
		life         time.Duration
		code         string
	}{
		"no reason":        {"x", " \n", time.Hour, apperr.ErrReasonRequired},
		"short":            {"x", "why", time.Minute, apperr.ErrOutOfRange},
		"long":             {"x", "why", 25 * time.Hour, apperr.ErrOutOfRange},
		"no name":          {"X y", "why", time.Hour, apperr.ErrInvalidName},
		"an admin":         {"boss", "why", time.Hour, apperr.ErrHasRole},
		"a closed account": {"gone", "why", time.Hour, apperr.ErrForbidden},
		"a program":        {"bot", "why", time.Hour, apperr.ErrForbidden},
	} {
		if _, _, err := s.BreakGlass(ctx, c.user, c.reason, c.life); apperr.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if n := s.DB.Ent.RoleBinding.Query().Where(rolebinding.ExpiresAtNotNil()).CountX(ctx); n != 0 {
		t.Errorf("%d roles", n)
	}
	// A second one takes the place of the first, and its link too.
	first, _, err := s.BreakGlass(ctx, "night", "one", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := s.BreakGlass(ctx, "night", strings.Repeat("long ", 100), 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetupPerson(ctx, first); apperr.CodeOf(err) != apperr.ErrSetupLink {
		t.Errorf("the first link: %v", err)
	}
	p, err := s.SetupPerson(ctx, second)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.DB.Ent.RoleBinding.Query().Where(rolebinding.ExpiresAtNotNil()).CountX(ctx); n != 1 {
		t.Errorf("%d roles", n)
	}
	if a := actor(t, s, p.ID); len([]rune(a.BreakGlass.Reason)) > 201 {
		t.Errorf("a reason of %d runes", len([]rune(a.BreakGlass.Reason)))
	}

	// Who is an admin for a while does not keep the platform: the last one for good
	// stays, and he can take the role away before its end.
	night := actor(t, s, p.ID)
	if err := s.Unbind(ctx, night, boss, domain.Binding{Role: domain.RoleAdmin}); apperr.CodeOf(err) != apperr.ErrLastOwner {
		t.Errorf("the last admin for good: %v", err)
	}
	if err := s.Unbind(ctx, actor(t, s, boss), p.ID, domain.Binding{Role: domain.RoleAdmin}); err != nil {
		t.Errorf("before its end: %v", err)
	}
	if actor(t, s, p.ID).IsAdmin() {
		t.Error("the role is still there")
	}
}
