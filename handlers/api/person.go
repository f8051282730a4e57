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
	ID           string        `json:"id" format:"uuid"`
	Username     string        `json:"username" example:"li-wei"`
	DisplayName  string        `json:"display_name,omitempty" example:"Li Wei"`
	Roles        []Role        `json:"roles" doc:"Platform-wide ones and those of an environment."`
	Systems      []SystemRole  `json:"systems" doc:"Roles in systems, by name."`
	Groups       []PersonGroup `json:"groups"`
	Disabled     bool          `json:"disabled"`
	Invited      bool          `json:"invited" doc:"Has not set a password yet."`
	LastSignInAt *time.Time    `json:"last_sign_in_at,omitempty"`
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
	p.Systems, p.Groups = systemRoles(m.InSystems), personGroups(m.Groups)
	return p
}

// PlatformRole is a role on the whole platform, or in an environment.
type PlatformRole struct {
	Role        string `json:"role" enum:"admin,approver,auditor,owner,maintainer,viewer"`
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

// Access is what somebody may do, and why.
type Access struct {
	UserID   string         `json:"user_id" format:"uuid"`
	Username string         `json:"username" example:"li-wei"`
	Disabled bool           `json:"disabled" doc:"The account is closed, so none of it is so now."`
	SystemID string         `json:"system_id,omitempty" format:"uuid" doc:"The system that the answers are about. Not there: the platform."`
	Answers  []AccessAnswer `json:"answers"`
}

// AccessAnswer says whether somebody may do one thing.
type AccessAnswer struct {
	Action  string   `json:"action" example:"vm.power"`
	Allowed bool     `json:"allowed"`
	Cause   string   `json:"cause" example:"role"`
	Role    *Role    `json:"role,omitempty" doc:"The role that allows it."`
	Roles   []string `json:"roles" doc:"Roles that would allow it."`
}

// access asks the rules about everything that is about the object, or about
// none.
func access(a domain.Actor, disabled bool, o domain.Object) Access {
	v := Access{UserID: a.UserID, Username: a.Username, Disabled: disabled, SystemID: o.SystemID}
	for _, action := range domain.Actions() {
		if action.Wide() == (o.SystemID != "") {
			continue
		}
		e := domain.Explain(a, action, o)
		answer := AccessAnswer{Action: string(action), Allowed: e.Allowed, Cause: string(e.Cause)}
		if e.Cause == domain.ByRole {
			r := roleOf(e.Binding)
			answer.Role = &r
		}
		for _, r := range e.Roles {
			answer.Roles = append(answer.Roles, string(r))
		}
		v.Answers = append(v.Answers, answer)
	}
	return v
}

// Leftovers are what somebody would leave behind.
type Leftovers struct {
	Systems  []SystemRole  `json:"systems" doc:"That nobody else owns whose account works."`
	Requests []OpenRequest `json:"requests" doc:"That wait or are under way."`
	Groups   []PersonGroup `json:"groups"`

	ServiceAccounts []OwnedAccount `json:"service_accounts" doc:"That this person answers for."`
	Tokens          int            `json:"tokens" doc:"Of this person that work. They are refused while the account is disabled."`
}

// OwnedAccount is a service account that somebody answers for.
type OwnedAccount struct {
	ID       string `json:"id" format:"uuid"`
	Username string `json:"username"`
}

// OpenRequest is a request of somebody.
type OpenRequest struct {
	Number      int    `json:"number"`
	Title       string `json:"title"`
	Environment string `json:"environment" enum:"test,prod"`
	Status      string `json:"status" example:"PENDING_APPROVAL"`
}

// PersonGroup is a group that somebody is in.
type PersonGroup struct {
	ID      string   `json:"id" format:"uuid"`
	Name    string   `json:"name"`
	Sources []string `json:"sources" doc:"Who put the person into it: local, by hand; oidc, the issuer."`
}

func leftoversOf(l account.Leftovers) Leftovers {
	v := Leftovers{Systems: systemRoles(l.Systems), Groups: personGroups(l.Groups), Tokens: l.Tokens}
	v.ServiceAccounts = items(l.ServiceAccounts, "", func(p account.Person) OwnedAccount { return OwnedAccount{p.ID, p.Username} }).Items
	for _, t := range l.Tickets {
		v.Requests = append(v.Requests, OpenRequest{t.Number, t.Title, string(t.Environment), string(t.Status)})
	}
	return v
}

func systemRoles(list []account.SystemRole) []SystemRole {
	return items(list, "", func(s account.SystemRole) SystemRole {
		return SystemRole{s.SystemID, s.System, string(s.Environment), string(s.Role)}
	}).Items
}

func personGroups(list []account.InGroup) []PersonGroup {
	return items(list, "", func(g account.InGroup) PersonGroup { return PersonGroup{g.ID, g.Name, words(g.Sources)} }).Items
}

func words[T ~string](list []T) []string {
	out := make([]string, 0, len(list))
	for _, w := range list {
		out = append(out, string(w))
	}
	return out
}

// HandOver gives systems and service accounts to somebody else.
type HandOver struct {
	To               string `json:"to" example:"han-mei" doc:"User name of the new owner."`
	SystemID         string `json:"system_id,omitempty" format:"uuid" doc:"Only this system. Neither this nor service_account_id: everything."`
	ServiceAccountID string `json:"service_account_id,omitempty" format:"uuid" doc:"Only this service account."`
}

// HandedOver says how much has a new owner.
type HandedOver struct {
	Systems         int `json:"systems"`
	ServiceAccounts int `json:"service_accounts"`
}

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
			func(ctx context.Context, actor domain.Actor, in struct {
				paging
				Leavers bool `query:"leavers" doc:"Only closed accounts that still own something or are in a group."`
			}) (Page[Person], error) {
				read := a.Accounts.People
				if in.Leavers {
					read = a.Accounts.Leavers
				}
				list, err := read(ctx, actor, in.page())
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
			Role        string `query:"role" enum:"admin,approver,auditor,owner,maintainer,viewer" required:"true"`
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
			ID: "explainPerson", Method: "GET", Path: "/people/{person}/access", Action: domain.PersonRead, Tag: tag, Summary: "What somebody may do, and why",
			Text: "On the platform, or in a system.", Pages: []string{"GET /people/{person}/access"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			personPath
			System string `query:"system_id" format:"uuid"`
		}) (Access, error) {
			var o domain.Object
			if in.System != "" {
				s, err := a.Systems.Get(ctx, actor, in.System)
				if err != nil {
					return Access{}, err
				}
				o = domain.Object{SystemID: s.ID, Environment: s.Environment}
			}
			who, disabled, err := a.Accounts.Rights(ctx, actor, "", in.Person)
			return access(who, disabled, o), err
		}),
		op(Operation{
			ID: "getLeftovers", Method: "GET", Path: "/people/{person}/leftovers", Action: domain.PersonDisable, Tag: tag, Summary: "What somebody would leave behind",
			Pages: []string{"GET /people/{person}/disable"},
		}, func(ctx context.Context, actor domain.Actor, in personPath) (Leftovers, error) {
			l, err := a.Accounts.Leftovers(ctx, actor, in.Person)
			return leftoversOf(l), err
		}),
		op(Operation{
			ID: "handOver", Method: "POST", Path: "/people/{person}/hand-over", Action: domain.PersonDisable, Tag: tag, Summary: "Give what only this person owns to somebody else",
			Pages: []string{"POST /people/{person}/hand-over"}, fields: map[string]string{"system": "system_id", "account": "service_account_id"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			personPath
			Body HandOver
		}) (HandedOver, error) {
			done, err := a.Accounts.HandOver(ctx, actor, in.Person, account.Inheritance{SystemID: in.Body.SystemID, AccountID: in.Body.ServiceAccountID}, in.Body.To)
			return HandedOver{done.Systems, done.ServiceAccounts}, err
		}),
		op(Operation{
			ID: "createPersonLink", Method: "POST", Path: "/people/{person}/link", Action: domain.PersonLink, Tag: tag, Summary: "A new one-time link, for a lost password", Status: http.StatusCreated, Secret: true,
			Text: "Links before it stop to work.", Pages: []string{"POST /people/{person}/link"},
		}, func(ctx context.Context, actor domain.Actor, in personPath) (Invitation, error) {
			return invitation(a.Accounts.NewLink(ctx, actor, in.Person))
		}),
	}
}
