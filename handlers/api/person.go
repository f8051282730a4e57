package api

import (
	"context"
	"net/http"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
)

// Person is somebody with an account.
type Person struct {
	ID           string       `json:"id" format:"uuid"`
	Username     string       `json:"username" example:"li-wei"`
	DisplayName  string       `json:"display_name,omitempty" example:"Li Wei"`
	Roles        []Role       `json:"roles" doc:"Platform-wide ones and those of an environment."`
	Systems      []SystemRole `json:"systems" doc:"Roles in systems, by name."`
	Disabled     bool         `json:"disabled"`
	Invited      bool         `json:"invited" doc:"Has not set a password yet."`
	LastSignInAt *time.Time   `json:"last_sign_in_at,omitempty"`
}

// SystemRole is a role in a system.
type SystemRole struct {
	SystemID    string `json:"system_id" format:"uuid"`
	System      string `json:"system"`
	Environment string `json:"environment" enum:"test,prod"`
	Role        string `json:"role" enum:"owner,maintainer,viewer"`
}

func personOf(m account.Member) Person {
	p := Person{
		ID: m.ID, Username: m.Username, DisplayName: m.DisplayName, Roles: roles(m.Bindings), Disabled: m.Disabled, Invited: m.Invited, LastSignInAt: m.LastSignInAt,
	}
	for _, s := range m.InSystems {
		p.Systems = append(p.Systems, SystemRole{s.SystemID, s.System, string(s.Environment), string(s.Role)})
	}
	return p
}

// PlatformRole is a role on the whole platform, or in an environment.
type PlatformRole struct {
	Role        string `json:"role" enum:"admin,approver,auditor"`
	Environment string `json:"environment,omitempty" enum:"test,prod" doc:"Only in this environment."`
}

func (r PlatformRole) binding() domain.Binding {
	return domain.Binding{Role: domain.Role(r.Role), Environment: domain.Environment(r.Environment)}
}

// NewPerson invites somebody.
type NewPerson struct {
	Username    string         `json:"username" example:"li-wei"`
	DisplayName string         `json:"display_name,omitempty" example:"Li Wei"`
	Roles       []PlatformRole `json:"roles,omitempty"`
}

// Invitation is a one-time link that sets a password.
type Invitation struct {
	ID       string `json:"id" format:"uuid"`
	Username string `json:"username" example:"li-wei"`
	Link     string `json:"link" format:"uri" doc:"As good as a password: give it to this person only. It is shown once."`
	Hours    int    `json:"valid_hours" example:"72"`
}

func (i Invitation) location() string { return "/people/" + i.ID }

type personPath struct {
	Person string `path:"person" format:"uuid"`
}

func (a *API) people() []Operation {
	const tag = "people"
	invitation := func(p account.Person, token string, err error) (Invitation, error) {
		if err != nil {
			return Invitation{}, err
		}
		return Invitation{p.ID, p.Username, a.SetupURL(token), int(account.InviteLifetime / time.Hour)}, nil
	}
	// changed answers with the person as he is after a change.
	changed := func(ctx context.Context, actor domain.Actor, id string, err error) (Person, error) {
		if err != nil {
			return Person{}, err
		}
		m, err := a.Accounts.Member(ctx, actor, id)
		return personOf(m), err
	}
	return []Operation{
		op(Operation{ID: "listPeople", Method: "GET", Path: "/people", Action: domain.PersonRead, Tag: tag, Summary: "Everybody, by user name", Pages: []string{"GET /people"}},
			func(ctx context.Context, actor domain.Actor, in struct{ paging }) (Page[Person], error) {
				list, err := a.Accounts.People(ctx, actor, in.page())
				return items(list.Items, list.Next, personOf), err
			}),
		op(Operation{
			ID: "invitePerson", Method: "POST", Path: "/people", Action: domain.PersonCreate, Tag: tag, Summary: "Invite somebody", Status: http.StatusCreated, DryRun: true, Secret: true,
			Pages: []string{"POST /people"},
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body NewPerson }) (Invitation, error) {
			u := account.NewUser{Username: in.Body.Username, DisplayName: in.Body.DisplayName}
			for _, r := range in.Body.Roles {
				u.Bindings = append(u.Bindings, r.binding())
			}
			return invitation(a.Accounts.Invite(ctx, actor, u))
		}),
		op(Operation{ID: "getPerson", Method: "GET", Path: "/people/{person}", Action: domain.PersonRead, Tag: tag, Summary: "One person with all roles", Pages: []string{"GET /people/{person}"}},
			func(ctx context.Context, actor domain.Actor, in personPath) (Person, error) {
				return changed(ctx, actor, in.Person, nil)
			}),
		op(Operation{
			ID: "giveRole", Method: "POST", Path: "/people/{person}/roles", Action: domain.PersonBind, Tag: tag, Summary: "Give somebody a role on the platform",
			Pages: []string{"POST /people/{person}"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			personPath
			Body PlatformRole
		}) (Person, error) {
			return changed(ctx, actor, in.Person, a.Accounts.Bind(ctx, actor, in.Person, in.Body.binding()))
		}),
		op(Operation{
			ID: "takeRole", Method: "DELETE", Path: "/people/{person}/roles", Action: domain.PersonBind, Tag: tag, Summary: "Take a role on the platform away",
			Pages: []string{"POST /people/{person}/remove"}, Conflicts: []string{"LAST_OWNER"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			personPath
			Role        string `query:"role" enum:"admin,approver,auditor" required:"true"`
			Environment string `query:"environment" enum:"test,prod"`
		}) (none, error) {
			return none{}, a.Accounts.Unbind(ctx, actor, in.Person, PlatformRole{in.Role, in.Environment}.binding())
		}),
		op(Operation{
			ID: "endSessions", Method: "POST", Path: "/people/{person}/sessions/end", Action: domain.PersonDisable, Tag: tag, Summary: "Sign somebody out everywhere",
			Pages: []string{"POST /people/{person}/sign-out"},
		}, func(ctx context.Context, actor domain.Actor, in personPath) (Person, error) {
			return changed(ctx, actor, in.Person, a.Accounts.EndSessions(ctx, actor, in.Person))
		}),
		op(Operation{
			ID: "disablePerson", Method: "POST", Path: "/people/{person}/disable", Action: domain.PersonDisable, Tag: tag, Summary: "Close an account",
			Pages: []string{"POST /people/{person}/disable"}, Conflicts: []string{"LAST_OWNER"},
		}, func(ctx context.Context, actor domain.Actor, in personPath) (Person, error) {
			return changed(ctx, actor, in.Person, a.Accounts.SetDisabled(ctx, actor, in.Person, true))
		}),
		op(Operation{
			ID: "enablePerson", Method: "POST", Path: "/people/{person}/enable", Action: domain.PersonDisable, Tag: tag, Summary: "Open a closed account again",
			Pages: []string{"POST /people/{person}/enable"},
		}, func(ctx context.Context, actor domain.Actor, in personPath) (Person, error) {
			return changed(ctx, actor, in.Person, a.Accounts.SetDisabled(ctx, actor, in.Person, false))
		}),
		op(Operation{
			ID: "createPersonLink", Method: "POST", Path: "/people/{person}/link", Action: domain.PersonLink, Tag: tag, Summary: "A new one-time link, for a lost password", Status: http.StatusCreated, Secret: true,
			Text: "Links before it stop to work.", Pages: []string{"POST /people/{person}/link"},
		}, func(ctx context.Context, actor domain.Actor, in personPath) (Invitation, error) {
			return invitation(a.Accounts.NewLink(ctx, actor, in.Person))
		}),
	}
}
