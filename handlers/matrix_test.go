package handlers_test

import (
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// objects are ids of dev's things in test, by the parts of the routes; what is
// not there has an id of something else.
func (s *shop) objects() map[string]string {
	m := s.vm(s.test, 1, domain.StateRunning)
	return map[string]string{
		"{system}": s.test.system, "{service}": s.test.service, "{vm}": m.ID.String(), "{cluster}": s.test.cluster, "{token}": "none", "{person}": m.ID.String(), "{group}": m.ID.String(), "{access}": m.ID.String(),
		"{account}": s.db.Ent.User.Create().SetUsername("bot").SetKind(user.KindService).SaveX(s.t.Context()).ID.String(),
		"{draft}":   m.ID.String(), "{filter}": m.ID.String(), "{identity}": m.ID.String(), "{session}": "none", "{guide}": "concepts", "{name}": "request-life.svg",
		"{namespace}": s.db.Ent.Namespace.Query().Where(inEnv(domain.Test)).OnlyIDX(s.t.Context()).String(),
	}
}

// filled is the path of a route with these ids in it.
func filled(pattern string, ids map[string]string) string {
	for name, id := range ids {
		pattern = strings.ReplaceAll(pattern, name, id)
	}
	return pattern
}

// people are browsers of everybody there is, with what they are to those things.
func (s *shop) people() ([]*browser, []string) {
	return []*browser{s.anonymous(), s.outsider, s.viewer, s.dev, s.approver, s.prodBoss, s.auditor, s.admin},
		[]string{"anonymous", "outsider", "viewer", "owner", "approver test", "approver prod", "auditor", "admin"}
}

// Every link that a page could hold leads to a route.
func TestPathsHaveRoutes(t *testing.T) {
	s := newPortal(t)
	known := map[string]bool{}
	for _, r := range s.Routes() {
		known[r.Pattern] = true
	}
	for _, p := range []string{
		paths.Home, paths.Login, paths.Logout, paths.Theme, paths.Explorer, paths.Search, paths.NewSystem, paths.Systems, paths.Requests, paths.NewRequest,
		paths.Preview, paths.Approvals, paths.Clusters, paths.NewCluster, paths.Namespaces, paths.NewNamespace, paths.Catalog, paths.Audit, paths.AuditExport, paths.AuditFilters, paths.DeleteAuditFilter("{filter}"), paths.Trends,
		paths.Notifications, paths.Events, paths.Reports, paths.Setup("{token}"), paths.System("{system}"), paths.EditSystem("{system}"), paths.DeleteSystem("{system}"),
		paths.SystemServices("{system}"), paths.NewService("{system}"), paths.Service("{service}"), paths.EditService("{service}"),
		paths.DeleteService("{service}"), paths.VM("{vm}"), paths.Power("{vm}"), paths.DeleteVM("{vm}"), paths.Cluster("{cluster}"),
		paths.CheckCluster("{cluster}"), paths.ClusterCredential("{cluster}"), paths.ClusterCredentialDraft("{cluster}", "{draft}"), paths.CheckClusterCredential("{cluster}", "{draft}"),
		paths.ClusterReplacement("{cluster}"), paths.ClusterDraft("{draft}"), paths.CheckClusterDraft("{draft}"), paths.DeleteNamespace("{namespace}"), paths.Namespace("{namespace}"), paths.CheckNamespace("{namespace}"),
		paths.Account, paths.Password, paths.Sessions, paths.EndOthers, paths.Confirm, paths.ConfirmOIDC, paths.Identities,
		paths.LoginOIDC, paths.LoginOIDCReply, paths.EndSession("{session}"), paths.EndPersonSession("{person}", "{session}"), paths.RemoveIdentity("{identity}"), paths.SetupOIDC("{token}"),
		paths.PersonLink("{person}"), paths.Person("{person}"), paths.RemoveRole("{person}"), paths.EndSessions("{person}"), paths.Disable("{person}"), paths.Enable("{person}"), paths.LogoutAll, paths.Members("{system}"), paths.RemoveMember("{system}", "{person}"),
		paths.MemberAccess("{system}", "{person}"), paths.RemoveMemberGroup("{system}", "{group}"), paths.Transfer("{system}"), paths.Groups, paths.NewGroup,
		paths.Group("{group}"), paths.EditGroup("{group}"), paths.DeleteGroup("{group}"), paths.GroupMembers("{group}"), paths.RemoveFromGroup("{group}", "{person}"),
		paths.GroupRoles("{group}"), paths.RemoveGroupRole("{group}"), paths.PersonAccess("{person}"), paths.HandOver("{person}"), paths.Docs, paths.Guide("{guide}"), paths.DocsImage("{name}"),
		paths.Tokens, paths.NewToken, paths.RevokeToken("{access}"), paths.PersonTokens("{person}"), paths.ServiceAccounts, paths.NewServiceAccount,
		paths.ServiceAccount("{account}"), paths.EditServiceAccount("{account}"), paths.GiveServiceRole("{account}"), paths.RemoveServiceRole("{account}"),
		paths.DisableServiceAccount("{account}"), paths.EnableServiceAccount("{account}"), paths.ServiceTokens("{account}"), paths.NewServiceToken("{account}"),
	} {
		if p = strings.NewReplacer("%7B", "{", "%7D", "}").Replace(p); !known[p] {
			t.Errorf("%s leads nowhere", p)
		}
	}
}
