package api

import (
	"context"
	"net/http"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
)

// Group is a set of people who have its roles.
type Group struct {
	ID          string       `json:"id" format:"uuid"`
	Name        string       `json:"name" example:"payments"`
	Description string       `json:"description,omitempty"`
	External    string       `json:"external,omitempty" doc:"What the OIDC issuer calls it. Not there: members are added by hand only."`
	Roles       []Role       `json:"roles" doc:"Platform-wide ones and those of an environment."`
	Systems     []SystemRole `json:"systems" doc:"Roles in systems, by name."`
	People      int          `json:"people" doc:"How many members it has."`
	CreatedAt   time.Time    `json:"created_at"`
}

func (g Group) location() string { return "/groups/" + g.ID }

func groupOf(g account.Group) Group {
	return Group{g.ID, g.Name, g.Description, g.External, roles(g.Bindings), systemRoles(g.InSystems), g.People, g.CreatedAt}
}

// NewGroup is what can be said of a group.
type NewGroup struct {
	Name        string `json:"name" example:"payments" maxLength:"63"`
	Description string `json:"description,omitempty"`
	External    string `json:"external,omitempty" doc:"What the OIDC issuer calls it."`
}

func (n NewGroup) input() account.GroupInput {
	return account.GroupInput{Name: n.Name, Description: n.Description, External: n.External}
}

// GroupMember is a person in a group.
type GroupMember struct {
	UserID      string   `json:"user_id" format:"uuid"`
	Username    string   `json:"username" example:"li-wei"`
	DisplayName string   `json:"display_name,omitempty"`
	Disabled    bool     `json:"disabled"`
	Sources     []string `json:"sources" doc:"Who put the person into it: local, by hand; oidc, the issuer."`
}

func groupMember(m account.GroupMember) GroupMember {
	return GroupMember{m.ID, m.Username, m.DisplayName, m.Disabled, words(m.Sources)}
}

// NewGroupMember puts somebody into a group.
type NewGroupMember struct {
	Username string `json:"username" example:"li-wei"`
}

type groupPath struct {
	Group string `path:"group" format:"uuid"`
}

func (a *API) groups() []Operation {
	const tag = "groups"
	changed := func(ctx context.Context, actor domain.Actor, id string, err error) (Group, error) {
		if err != nil {
			return Group{}, err
		}
		g, err := a.Accounts.Group(ctx, actor, id)
		return groupOf(g), err
	}
	return []Operation{
		op(Operation{ID: "listGroups", Method: "GET", Path: "/groups", Action: domain.GroupRead, Tag: tag, Summary: "Groups, by name", Pages: []string{"GET /groups"}},
			func(ctx context.Context, actor domain.Actor, in struct{ paging }) (Page[Group], error) {
				list, err := a.Accounts.Groups(ctx, actor, in.page())
				return items(list.Items, list.Next, groupOf), err
			}),
		op(Operation{
			ID: "createGroup", Method: "POST", Path: "/groups", Action: domain.GroupChange, Tag: tag, Summary: "Make a group", Status: http.StatusCreated, DryRun: true,
			Pages: []string{"POST /groups"},
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body NewGroup }) (Group, error) {
			id, err := a.Accounts.CreateGroup(ctx, actor, in.Body.input())
			return changed(ctx, actor, id, err)
		}),
		op(Operation{ID: "getGroup", Method: "GET", Path: "/groups/{group}", Action: domain.GroupRead, Tag: tag, Summary: "One group", Pages: []string{"GET /groups/{group}"}},
			func(ctx context.Context, actor domain.Actor, in groupPath) (Group, error) {
				return changed(ctx, actor, in.Group, nil)
			}),
		op(Operation{
			ID: "updateGroup", Method: "PATCH", Path: "/groups/{group}", Action: domain.GroupChange, Tag: tag, Summary: "Change what is said of a group",
			Text: "What is left out is emptied.", Pages: []string{"POST /groups/{group}/edit"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			groupPath
			Body NewGroup
		}) (Group, error) {
			return changed(ctx, actor, in.Group, a.Accounts.UpdateGroup(ctx, actor, in.Group, in.Body.input()))
		}),
		op(Operation{
			ID: "deleteGroup", Method: "DELETE", Path: "/groups/{group}", Action: domain.GroupChange, Tag: tag, Summary: "Delete a group, and with it the roles that its members have by it",
			Pages: []string{"POST /groups/{group}/delete"}, Conflicts: []string{"LAST_OWNER"},
		}, func(ctx context.Context, actor domain.Actor, in groupPath) (none, error) {
			return none{}, a.Accounts.DeleteGroup(ctx, actor, in.Group)
		}),
		op(Operation{ID: "listGroupMembers", Method: "GET", Path: "/groups/{group}/members", Action: domain.GroupRead, Tag: tag, Summary: "Who is in a group, by user name"},
			func(ctx context.Context, actor domain.Actor, in struct {
				groupPath
				paging
			}) (Page[GroupMember], error) {
				list, err := a.Accounts.GroupMembers(ctx, actor, in.Group, in.page())
				return items(list.Items, list.Next, groupMember), err
			}),
		op(Operation{
			ID: "addGroupMember", Method: "POST", Path: "/groups/{group}/members", Action: domain.GroupChange, Tag: tag, Summary: "Put somebody into a group",
			Pages: []string{"POST /groups/{group}/members"}, fields: map[string]string{"user": "username"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			groupPath
			Body NewGroupMember
		}) (none, error) {
			return none{}, a.Accounts.AddToGroup(ctx, actor, in.Group, in.Body.Username)
		}),
		op(Operation{
			ID: "removeGroupMember", Method: "DELETE", Path: "/groups/{group}/members/{person}", Action: domain.GroupChange, Tag: tag, Summary: "Take somebody out of a group",
			Text: "What the OIDC issuer says stays.", Pages: []string{"POST /groups/{group}/members/{person}/remove"}, Conflicts: []string{"LAST_OWNER"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			groupPath
			Person string `path:"person" format:"uuid"`
		}) (none, error) {
			return none{}, a.Accounts.RemoveFromGroup(ctx, actor, in.Group, in.Person)
		}),
		op(Operation{
			ID: "giveGroupRole", Method: "POST", Path: "/groups/{group}/roles", Action: domain.GroupChange, Tag: tag, Summary: "Give a group a role on the platform",
			Pages: []string{"POST /groups/{group}/roles"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			groupPath
			Body PlatformRole
		}) (Group, error) {
			return changed(ctx, actor, in.Group, a.Accounts.BindGroup(ctx, actor, in.Group, in.Body.binding()))
		}),
		op(Operation{
			ID: "takeGroupRole", Method: "DELETE", Path: "/groups/{group}/roles", Action: domain.GroupChange, Tag: tag, Summary: "Take a role on the platform away from a group",
			Pages: []string{"POST /groups/{group}/roles/remove"}, Conflicts: []string{"LAST_OWNER"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			groupPath
			Role        string `query:"role" enum:"admin,approver,auditor,owner,maintainer,viewer" required:"true"`
			Environment string `query:"environment" enum:"test,prod"`
		}) (none, error) {
			return none{}, a.Accounts.UnbindGroup(ctx, actor, in.Group, PlatformRole{in.Role, in.Environment}.binding())
		}),
	}
}
