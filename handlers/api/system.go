package api

import (
	"context"
	"net/http"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
)

// System is a business line.
type System struct {
	ID            string    `json:"id" format:"uuid"`
	Name          string    `json:"name" example:"shop"`
	Namespace     string    `json:"namespace" example:"shop-test" doc:"Kubernetes namespace of its VMs."`
	Environment   string    `json:"environment" enum:"test,prod"`
	Documentation string    `json:"documentation,omitempty" doc:"Markdown. Lists leave it out."`
	CreatedBy     string    `json:"created_by" example:"li-wei"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
	VMs           int       `json:"vms" doc:"How many VMs it has."`
	VMsBad        int       `json:"vms_bad" doc:"How many of them need somebody."`
}

func (s System) location() string { return "/systems/" + s.ID }
func (s System) etag() string     { return textTag(s.Documentation) }

func systemOf(s system.System) System {
	return System{
		ID: s.ID, Name: s.Name, Namespace: s.Namespace, Environment: string(s.Environment), Documentation: s.Documentation,
		CreatedBy: s.CreatedBy, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, VMs: s.VMs, VMsBad: s.Bad,
	}
}

// NewSystem is a system to make.
type NewSystem struct {
	Name          string `json:"name" example:"shop" maxLength:"63" doc:"RFC 1035 label."`
	Namespace     string `json:"namespace" example:"shop-test" doc:"A registered namespace. The system takes its environment."`
	Documentation string `json:"documentation,omitempty" doc:"Markdown."`
}

// Documentation is the text of a system or service.
type Documentation struct {
	Documentation string `json:"documentation" doc:"Markdown. Replaces the text."`
}

// SystemNamespace is a namespace that a system can be made in.
type SystemNamespace struct {
	Name        string `json:"name" example:"shop-test"`
	Environment string `json:"environment" enum:"test,prod"`
}

// SystemMember is a person with a role in a system.
type SystemMember struct {
	UserID      string `json:"user_id" format:"uuid"`
	Username    string `json:"username" example:"li-wei"`
	DisplayName string `json:"display_name,omitempty"`
	Role        string `json:"role" enum:"owner,maintainer,viewer"`
	Via         string `json:"via,omitempty" doc:"Name of the group that has it. Not there: the person's own."`
}

// NewSystemMember gives somebody, or a group, a role in a system.
type NewSystemMember struct {
	Username string `json:"username,omitempty" example:"li-wei" doc:"A person; or else a group."`
	Group    string `json:"group,omitempty" doc:"Name of a group."`
	Role     string `json:"role" enum:"owner,maintainer,viewer"`
}

// Transfer makes somebody owner of a system in place of another.
type Transfer struct {
	From  string `json:"from" example:"li-wei" doc:"User name of an owner."`
	To    string `json:"to" example:"han-mei" doc:"User name of the new owner."`
	Stays bool   `json:"stays" doc:"The old owner stays as a maintainer."`
}

type systemPath struct {
	System string `path:"system" format:"uuid"`
}

func (a *API) systems() []Operation {
	const tag = "systems"
	return []Operation{
		op(Operation{ID: "listSystems", Method: "GET", Path: "/systems", Action: domain.SystemList, Tag: tag, Summary: "Systems that I see, by name"},
			func(ctx context.Context, actor domain.Actor, in struct{ paging }) (Page[System], error) {
				list, err := a.Systems.List(ctx, actor, in.page())
				return items(list.Items, list.Next, systemOf), err
			}),
		op(Operation{
			ID: "createSystem", Method: "POST", Path: "/systems", Action: domain.SystemCreate, Tag: tag, Summary: "Make a system", Status: http.StatusCreated, DryRun: true,
			Text: "Whoever makes it is its owner.", Pages: []string{"POST /systems"},
		}, func(ctx context.Context, actor domain.Actor, in struct{ Body NewSystem }) (System, error) {
			id, err := a.Systems.Create(ctx, actor, system.Input{Name: in.Body.Name, Namespace: in.Body.Namespace, Documentation: in.Body.Documentation})
			if err != nil {
				return System{}, err
			}
			// Now the actor is its owner, which he was not when the request came.
			owner, err := a.Accounts.Actor(ctx, actor.UserID, actor.IP, actor.RequestID)
			if err != nil {
				return System{}, err
			}
			s, err := a.Systems.Get(ctx, owner, id)
			return systemOf(s), err
		}),
		op(Operation{
			ID: "listSystemNamespaces", Method: "GET", Path: "/system-namespaces", Action: domain.SystemCreate, Tag: tag, Summary: "Namespaces that a system can be made in",
			Pages: []string{"GET /systems/new"},
		}, func(ctx context.Context, actor domain.Actor, _ struct{}) (Page[SystemNamespace], error) {
			list, err := a.Systems.Namespaces(ctx, actor)
			return items(list, "", func(n system.Namespace) SystemNamespace { return SystemNamespace{n.Name, string(n.Environment)} }), err
		}),
		op(Operation{ID: "getSystem", Method: "GET", Path: "/systems/{system}", Action: domain.SystemRead, Tag: tag, Summary: "One system", Pages: []string{"GET /systems/{system}"}},
			func(ctx context.Context, actor domain.Actor, in systemPath) (System, error) {
				s, err := a.Systems.Get(ctx, actor, in.System)
				return systemOf(s), err
			}),
		op(Operation{
			ID: "updateSystem", Method: "PATCH", Path: "/systems/{system}", Action: domain.SystemUpdate, Tag: tag, Summary: "Replace the documentation of a system",
			Pages: []string{"POST /systems/{system}/edit"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			systemPath
			ifMatch
			Body Documentation
		}) (System, error) {
			was, err := a.Systems.Get(ctx, actor, in.System)
			if err == nil {
				err = in.holds(systemOf(was))
			}
			if err != nil {
				return System{}, err
			}
			if err := a.Systems.UpdateDocumentation(ctx, actor, in.System, in.Body.Documentation); err != nil {
				return System{}, err
			}
			s, err := a.Systems.Get(ctx, actor, in.System)
			return systemOf(s), err
		}),
		op(Operation{
			ID: "deleteSystem", Method: "DELETE", Path: "/systems/{system}", Action: domain.SystemDelete, Tag: tag, Summary: "Delete an empty system",
			Pages: []string{"POST /systems/{system}/delete"}, fields: map[string]string{"name": "confirm"}, Conflicts: []string{"HAS_CHILDREN", "HAS_PENDING_REQUESTS"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			systemPath
			Confirm string `query:"confirm" required:"true" doc:"The system's name, so that no other one is deleted by mistake."`
		}) (none, error) {
			return none{}, a.Systems.Delete(ctx, actor, in.System, in.Confirm)
		}),
		op(Operation{
			ID: "listSystemMembers", Method: "GET", Path: "/systems/{system}/members", Action: domain.SystemRead, Tag: tag, Summary: "Who has a role in a system",
			Pages: []string{"GET /systems/{system}/members"},
		}, func(ctx context.Context, actor domain.Actor, in systemPath) (Page[SystemMember], error) {
			list, err := a.Systems.Members(ctx, actor, in.System)
			return items(list, "", func(m system.Member) SystemMember {
				return SystemMember{m.UserID, m.Username, m.DisplayName, string(m.Role), m.Via}
			}), err
		}),
		op(Operation{
			ID: "addSystemMember", Method: "POST", Path: "/systems/{system}/members", Action: domain.MemberCreate, Tag: tag, Summary: "Give somebody a role in a system", DryRun: true,
			Pages: []string{"POST /systems/{system}/members"}, fields: map[string]string{"user": "username"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			systemPath
			Body NewSystemMember
		}) (none, error) {
			s, err := a.Systems.Get(ctx, actor, in.System) // who may not know of it learns nothing
			if err != nil {
				return none{}, err
			}
			role := domain.Binding{Role: domain.Role(in.Body.Role), SystemID: s.ID}
			if in.Body.Group == "" {
				return none{}, a.Accounts.BindByName(ctx, actor, in.Body.Username, role)
			}
			if in.Body.Username != "" {
				return none{}, apperr.Field("group", apperr.ErrForbiddenField).With("field", "group")
			}
			return none{}, renamed(a.Accounts.BindGroupByName(ctx, actor, in.Body.Group, role), map[string]string{"user": "group"})
		}),
		op(Operation{
			ID: "removeSystemMember", Method: "DELETE", Path: "/systems/{system}/members/{person}", Action: domain.MemberDelete, Tag: tag, Summary: "Take a role in a system away",
			Pages: []string{"POST /systems/{system}/members/{person}/remove"}, Conflicts: []string{"LAST_OWNER"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			systemPath
			Person string `path:"person" format:"uuid"`
			Role   string `query:"role" enum:"owner,maintainer,viewer" required:"true"`
		}) (none, error) {
			s, err := a.Systems.Get(ctx, actor, in.System)
			if err != nil {
				return none{}, err
			}
			return none{}, a.Accounts.Unbind(ctx, actor, in.Person, domain.Binding{Role: domain.Role(in.Role), SystemID: s.ID})
		}),
		op(Operation{
			ID: "removeSystemGroup", Method: "DELETE", Path: "/systems/{system}/groups/{group}", Action: domain.MemberDelete, Tag: tag, Summary: "Take a role in a system away from a group",
			Pages: []string{"POST /systems/{system}/members/groups/{group}/remove"}, Conflicts: []string{"LAST_OWNER"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			systemPath
			Group string `path:"group" format:"uuid"`
			Role  string `query:"role" enum:"owner,maintainer,viewer" required:"true"`
		}) (none, error) {
			s, err := a.Systems.Get(ctx, actor, in.System)
			if err != nil {
				return none{}, err
			}
			return none{}, a.Accounts.UnbindGroup(ctx, actor, in.Group, domain.Binding{Role: domain.Role(in.Role), SystemID: s.ID})
		}),
		op(Operation{
			ID: "transferSystem", Method: "POST", Path: "/systems/{system}/transfer", Action: domain.SystemTransfer, Tag: tag, Summary: "Hand a system over to another owner", DryRun: true,
			Pages: []string{"POST /systems/{system}/transfer"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			systemPath
			Body Transfer
		}) (none, error) {
			return none{}, a.Accounts.Transfer(ctx, actor, in.System, in.Body.From, in.Body.To, in.Body.Stays)
		}),
		op(Operation{
			ID: "explainMember", Method: "GET", Path: "/systems/{system}/members/{person}/access", Action: domain.MemberExplain, Tag: tag, Summary: "What somebody may do in a system, and why",
			Pages: []string{"GET /systems/{system}/members/{person}/access"},
		}, func(ctx context.Context, actor domain.Actor, in struct {
			systemPath
			Person string `path:"person" format:"uuid"`
		}) (Access, error) {
			s, err := a.Systems.Get(ctx, actor, in.System)
			if err != nil {
				return Access{}, err
			}
			who, disabled, err := a.Accounts.Rights(ctx, actor, s.ID, in.Person)
			return access(who, disabled, domain.Object{SystemID: s.ID, Environment: s.Environment}), err
		}),
	}
}
