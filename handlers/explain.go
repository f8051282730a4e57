package handlers

import (
	"context"
	"net/http"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// question is one line of "what may X do": an action in words.
type question struct {
	action domain.Action
	what   string
	object domain.Object // on top of the system's
}

// onPlatform are the questions that are about no system.
var onPlatform = []question{
	{domain.SystemCreate, i18n.N("Make systems"), domain.Object{}},
	{domain.TicketDecide, i18n.N("Decide requests in test"), domain.Object{Environment: domain.Test}},
	{domain.TicketDecide, i18n.N("Decide requests in prod"), domain.Object{Environment: domain.Prod}},
	{domain.AuditRead, i18n.N("Read the audit log"), domain.Object{}},
	{domain.ClusterList, i18n.N("See clusters and namespaces"), domain.Object{}},
	{domain.ClusterCreate, i18n.N("Add and change clusters and namespaces"), domain.Object{}},
	{domain.CatalogCreate, i18n.N("Publish templates and sizes"), domain.Object{}},
	{domain.PersonBind, i18n.N("Manage people, groups and roles"), domain.Object{}},
}

// inSystem are the questions about one system.
var inSystem = []question{
	{domain.SystemRead, i18n.N("See it, its services and VMs"), domain.Object{}},
	{domain.ServiceCreate, i18n.N("Make, change and delete services"), domain.Object{}},
	{domain.VMCreate, i18n.N("Ask for VMs"), domain.Object{}},
	{domain.VMPower, i18n.N("Switch VMs on and off"), domain.Object{}},
	{domain.VMDelete, i18n.N("Ask for the deletion of VMs"), domain.Object{}},
	{domain.SystemUpdate, i18n.N("Change its documentation"), domain.Object{}},
	{domain.MemberCreate, i18n.N("Give and take roles in it"), domain.Object{}},
	{domain.SystemTransfer, i18n.N("Hand it over"), domain.Object{}},
	{domain.SystemDelete, i18n.N("Delete it"), domain.Object{}},
	{domain.TicketDecide, i18n.N("Decide what others request in it"), domain.Object{}},
}

// explainPerson answers GET /people/{person}/access?system=.
func (s *Server) explainPerson(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	m, err := s.Accounts.Member(ctx, actor(r), param(r, "person"))
	if err != nil {
		return err
	}
	a, disabled, err := s.Accounts.Rights(ctx, actor(r), "", m.ID)
	if err != nil {
		return err
	}
	name, _ := cleanText(r.URL.Query().Get("system"), false)
	name = strings.TrimSpace(name)
	v := views.AccessView{PersonID: m.ID, Name: m.Username, Disabled: disabled, System: name, Asked: name != ""}
	change := func(e domain.Explanation, systemID string) string {
		for _, g := range m.Groups {
			if e.Cause == domain.ByRole && g.Name == e.Binding.Via {
				return paths.Group(g.ID)
			}
		}
		switch {
		case e.Cause == domain.ByAll:
			return ""
		case e.Cause == domain.ByRole && e.Binding.SystemID == "", systemID == "":
			return paths.Person(m.ID)
		}
		return paths.Members(systemID)
	}
	v.Parts = append(v.Parts, views.AccessPart{Rows: answers(ctx, a, onPlatform, domain.Object{}, change)})
	found, err := s.Systems.Named(ctx, actor(r), strings.ToLower(name))
	if err != nil {
		return err
	}
	for _, y := range found {
		v.Parts = append(v.Parts, accessPart(ctx, a, y, change))
	}
	sh, err := s.shell(r, i18n.T(ctx, "What {name} may do", "name", m.Username), "people")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Access(sh, v))
}

// explainMember answers GET /systems/{system}/members/{person}/access.
func (s *Server) explainMember(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	y, err := s.Systems.Get(ctx, actor(r), param(r, "system"))
	if err != nil {
		return err
	}
	a, disabled, err := s.Accounts.Rights(ctx, actor(r), y.ID, param(r, "person"))
	if err != nil {
		return err
	}
	v := views.AccessView{PersonID: a.UserID, Name: a.Username, Disabled: disabled, SystemID: y.ID, System: y.Name}
	change := func(e domain.Explanation, systemID string) string {
		if e.Cause == domain.ByRole && e.Binding.SystemID == "" {
			return "" // that is for platform admins
		}
		return paths.Members(systemID)
	}
	v.Parts = []views.AccessPart{accessPart(ctx, a, y, change)}
	sh, err := s.shell(r, i18n.T(ctx, "What {name} may do", "name", a.Username), "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Access(sh, v))
}

func accessPart(ctx context.Context, a domain.Actor, y system.System, change func(domain.Explanation, string) string) views.AccessPart {
	return views.AccessPart{
		System: y.Name, Env: string(y.Environment), Namespace: y.Namespace, Href: paths.System(y.ID),
		Rows: answers(ctx, a, inSystem, domain.Object{SystemID: y.ID, Environment: y.Environment}, change),
	}
}

// answers asks the rules the questions, as the pages and the API do.
func answers(ctx context.Context, a domain.Actor, list []question, o domain.Object, change func(domain.Explanation, string) string) []views.AccessRow {
	rows := make([]views.AccessRow, 0, len(list))
	for _, q := range list {
		about := o
		if q.object.Environment != "" {
			about.Environment = q.object.Environment
		}
		e := domain.Explain(a, q.action, about)
		rows = append(rows, views.AccessRow{
			What: i18n.T(ctx, q.what), Allowed: e.Allowed, Why: because(ctx, e), ChangeHref: change(e, o.SystemID),
		})
	}
	return rows
}

// because is an explanation in words.
func because(ctx context.Context, e domain.Explanation) string {
	switch e.Cause {
	case domain.ByAll:
		return i18n.T(ctx, "Everybody who is signed in may.")
	case domain.NotByReaders:
		return i18n.T(ctx, "Who has only roles to read makes nothing.")
	case domain.ByRole:
		role := roleLabel(ctx, domain.Actor{Bindings: []domain.Binding{e.Binding}})
		if e.Binding.SystemID != "" {
			role = i18n.T(ctx, "{role} of this system", "role", roleWord(ctx, e.Binding.Role))
		}
		if e.Binding.Via != "" {
			return i18n.T(ctx, "{role}, by the group {group}", "role", role, "group", e.Binding.Via)
		}
		return role
	}
	roles := make([]string, len(e.Roles))
	for i, role := range e.Roles {
		roles[i] = roleWord(ctx, role)
	}
	return i18n.T(ctx, "No role reaches this. It takes one of: {roles}.", "roles", strings.Join(roles, ", "))
}

// rolesInSystems are roles in systems, as people and groups show them.
func rolesInSystems(ctx context.Context, list []account.SystemRole) []views.RoleInSystem {
	var rows []views.RoleInSystem
	for _, b := range list {
		rows = append(rows, views.RoleInSystem{
			ID: b.SystemID, Name: b.System, Env: string(b.Environment), Href: paths.System(b.SystemID), Role: roleWord(ctx, b.Role), Via: b.Via,
		})
	}
	return rows
}
