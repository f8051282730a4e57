// Package paths holds every address of the portal as a function, so that no
// view or handler spells a link by hand and a renamed route is a compile error.
package paths

import (
	"net/url"
	"strconv"
)

// Fixed pages.
const (
	Home          = "/"
	Login         = "/login"
	Logout        = "/logout"
	LogoutAll     = "/logout/everywhere"
	Theme         = "/theme"
	Language      = "/language"
	Explorer      = "/explorer"
	Search        = "/search"
	NewSystem     = "/systems/new"
	Systems       = "/systems"
	Requests      = "/requests"
	NewRequest    = "/requests/new"
	Preview       = "/requests/preview"
	Approvals     = "/approvals"
	Clusters      = "/clusters"
	NewCluster    = "/clusters/new"
	Namespaces    = "/namespaces"
	NewNamespace  = "/namespaces/new"
	Catalog       = "/catalog"
	Templates     = "/catalog/templates"
	NewTemplate   = "/catalog/templates/new"
	Sizes         = "/catalog/sizes"
	NewSize       = "/catalog/sizes/new"
	People        = "/people"
	NewPerson     = "/people/new"
	Leavers       = "/people?show=leavers"
	Groups        = "/groups"
	NewGroup      = "/groups/new"
	Audit         = "/audit"
	AuditExport   = "/audit/export"
	AuditFilters  = "/audit/filters"
	Trends        = "/trends"
	Notifications = "/notifications"
	Docs          = "/docs"
	Events        = "/events"
	Reports       = "/csp-reports"

	Tokens            = "/account/tokens" // the reader's own
	NewToken          = "/account/tokens/new"
	ServiceAccounts   = "/service-accounts"
	NewServiceAccount = "/service-accounts/new"
)

// TrendsOver are the trends over a range, such as 24h.
func TrendsOver(r string) string { return Trends + "?range=" + url.QueryEscape(r) }

// AuditOf is what happened to one thing, such as a vm, by id.
func AuditOf(kind, id string) string {
	return Audit + "?" + url.Values{"type": {kind}, "id": {id}}.Encode()
}

// DeleteAuditFilter forgets a saved filter of the audit log, by id.
func DeleteAuditFilter(id string) string { return AuditFilters + "/" + url.PathEscape(id) + "/delete" }

// Setup is the one-time link of a new account.
func Setup(token string) string { return "/setup/" + url.PathEscape(token) }

// LoginThen is the sign-in page that returns to next, a path of this portal.
func LoginThen(next string) string { return Login + "?next=" + url.QueryEscape(next) }

// System is the page of a system, by id.
func System(id string) string { return "/systems/" + url.PathEscape(id) }

// EditSystem is the form of a system's documentation.
func EditSystem(id string) string { return System(id) + "/edit" }

// DeleteSystem is the page that asks before a system is deleted.
func DeleteSystem(id string) string { return System(id) + "/delete" }

// Members is who has a role in a system; a new one is posted to it.
func Members(system string) string { return System(system) + "/members" }

// RemoveMember takes a role in a system from a person.
func RemoveMember(system, person string) string {
	return Members(system) + "/" + url.PathEscape(person) + "/remove"
}

// SystemServices is where a new service is posted; NewService is its form.
func SystemServices(system string) string { return System(system) + "/services" }

// NewService is the form for a new service of a system.
func NewService(system string) string { return SystemServices(system) + "/new" }

// Service is the page of a service with its VMs, by id.
func Service(id string) string { return "/services/" + url.PathEscape(id) }

// EditService is the form of a service's documentation.
func EditService(id string) string { return Service(id) + "/edit" }

// DeleteService is the page that asks before a service is deleted.
func DeleteService(id string) string { return Service(id) + "/delete" }

// NewRequestFor is the request form with a service chosen.
func NewRequestFor(service string) string {
	return NewRequest + "?service=" + url.QueryEscape(service)
}

// Request is the page of a request with its timeline, by ticket number.
func Request(number int) string { return Requests + "/" + strconv.Itoa(number) }

// Withdraw takes a request back.
func Withdraw(number int) string { return Request(number) + "/withdraw" }

// Retry runs the failed part of an approved request again.
func Retry(number int) string { return Request(number) + "/retry" }

// Evidence makes the evidence pack of a ticket.
func Evidence(number int) string { return Request(number) + "/evidence" }

// Approval is the page where a ticket is decided, by ticket number.
func Approval(number int) string { return Approvals + "/" + strconv.Itoa(number) }

// CheckApproval redraws a ticket with the fields as typed; it decides nothing.
func CheckApproval(number int) string { return Approval(number) + "/check" }

// VM is the page of a VM, by id.
func VM(id string) string { return "/vms/" + url.PathEscape(id) }

// Power starts, stops or restarts a VM.
func Power(id string) string { return VM(id) + "/power" }

// DeleteVM is the page that asks for a VM's deletion.
func DeleteVM(id string) string { return VM(id) + "/delete" }

// Cluster is the page of a cluster, by id.
func Cluster(id string) string { return Clusters + "/" + url.PathEscape(id) }

// CheckCluster runs the health check of a cluster now.
func CheckCluster(id string) string { return Cluster(id) + "/check" }

// ClusterSettings is the form of what admins set of a cluster.
func ClusterSettings(id string) string { return Cluster(id) + "/settings" }

// ClusterMode drains a cluster, switches it off, or takes that back.
func ClusterMode(id string) string { return Cluster(id) + "/mode" }

// ClusterModeAsk asks before a mode is set: drain, undrain, disable or enable.
func ClusterModeAsk(id, do string) string { return ClusterMode(id) + "?do=" + url.QueryEscape(do) }

// RemoveCluster is the page that asks before a cluster is removed.
func RemoveCluster(id string) string { return Cluster(id) + "/remove" }

// ClusterVMs are the VMs of a cluster.
func ClusterVMs(id string) string { return Cluster(id) + "/vms" }

// ClusterOrders is the work that waits for a cluster.
func ClusterOrders(id string) string { return Cluster(id) + "/orders" }

// ClusterHistory is what changed at a cluster.
func ClusterHistory(id string) string { return Cluster(id) + "/history" }

// ClusterErrors is what went wrong at a cluster.
func ClusterErrors(id string) string { return ClusterHistory(id) + "?show=errors" }

// ClusterQuarantine shows why a cluster is in quarantine, and what is different.
func ClusterQuarantine(id string) string { return Cluster(id) + "/quarantine" }

// QuarantineGroup shows one group of what is different.
func QuarantineGroup(id, group string) string {
	return ClusterQuarantine(id) + "?group=" + url.QueryEscape(group)
}

// ReadQuarantine compares a quarantined cluster again.
func ReadQuarantine(id string) string { return ClusterQuarantine(id) + "/read" }

// AcceptQuarantine accepts a group of findings of a quarantined cluster, or
// with the group "" that nothing is different.
func AcceptQuarantine(id, group string) string {
	path := ClusterQuarantine(id) + "/accept"
	if group != "" {
		path += "?group=" + url.QueryEscape(group)
	}
	return path
}

// ClusterCredential is the credential of a cluster.
func ClusterCredential(id string) string { return Cluster(id) + "/credential" }

// ClusterCredentialDraft is the second step of replacing it.
func ClusterCredentialDraft(id, draft string) string {
	return ClusterCredential(id) + "/" + url.PathEscape(draft)
}

// CheckClusterCredential runs the pre-flight checks of the chosen context.
func CheckClusterCredential(id, draft string) string {
	return ClusterCredentialDraft(id, draft) + "/check"
}

// ClusterReplacement answers a new credential that waits for a second admin.
func ClusterReplacement(id string) string { return Cluster(id) + "/replacement" }

// ClusterDraft is the second step of adding a cluster: contexts, checks, name.
func ClusterDraft(draft string) string { return NewCluster + "/" + url.PathEscape(draft) }

// CheckClusterDraft runs the pre-flight checks of the chosen context.
func CheckClusterDraft(draft string) string { return ClusterDraft(draft) + "/check" }

// Namespace is the page of a registered namespace, by id.
func Namespace(id string) string { return Namespaces + "/" + url.PathEscape(id) }

// CheckNamespace asks the cluster for a namespace now.
func CheckNamespace(id string) string { return Namespace(id) + "/check" }

// DeleteNamespace unregisters a namespace.
func DeleteNamespace(id string) string { return Namespace(id) + "/delete" }

// EventsFor is the stream of changes of the given topics.
func EventsFor(topics ...string) string {
	v := url.Values{}
	for _, t := range topics {
		v.Add("t", t)
	}
	return Events + "?" + v.Encode()
}

// Person is an account with its roles; a role is given by posting to it.
func Person(id string) string { return People + "/" + url.PathEscape(id) }

// EndSessions signs a person out everywhere.
func EndSessions(person string) string { return Person(person) + "/sign-out" }

// Disable closes an account; Enable opens it again.
func Disable(person string) string { return Person(person) + "/disable" }

// Enable opens an account that was closed.
func Enable(person string) string { return Person(person) + "/enable" }

// RemoveRole takes a role from a person.
func RemoveRole(person string) string { return Person(person) + "/remove" }

// PersonLink is where a new one-time link of an account is asked for.
func PersonLink(id string) string { return People + "/" + url.PathEscape(id) + "/link" }

// NextVersion is the form for the next version of a template, by its id.
func NextVersion(template string) string { return NewTemplate + "?from=" + url.QueryEscape(template) }

// Guide is a guide of the documentation, by its slug.
func Guide(slug string) string { return Docs + "/" + url.PathEscape(slug) }

// DocsImage is an image of the guides, by its name.
func DocsImage(name string) string { return Docs + "/images/" + url.PathEscape(name) }

// Group is a group with its members and roles.
func Group(id string) string { return Groups + "/" + url.PathEscape(id) }

// EditGroup changes what is said of a group.
func EditGroup(id string) string { return Group(id) + "/edit" }

// DeleteGroup asks before a group goes.
func DeleteGroup(id string) string { return Group(id) + "/delete" }

// GroupMembers is where somebody is put into a group.
func GroupMembers(id string) string { return Group(id) + "/members" }

// RemoveFromGroup takes a person out of a group.
func RemoveFromGroup(id, person string) string {
	return GroupMembers(id) + "/" + url.PathEscape(person) + "/remove"
}

// GroupRoles is where a group is given a role.
func GroupRoles(id string) string { return Group(id) + "/roles" }

// RemoveGroupRole takes a role from a group.
func RemoveGroupRole(id string) string { return GroupRoles(id) + "/remove" }

// PersonAccess explains what a person may do.
func PersonAccess(person string) string { return Person(person) + "/access" }

// HandOver gives the systems that only this person owns to somebody else.
func HandOver(person string) string { return Person(person) + "/hand-over" }

// MemberAccess explains what a member of a system may do in it.
func MemberAccess(system, person string) string {
	return Members(system) + "/" + url.PathEscape(person) + "/access"
}

// RemoveMemberGroup takes a role in a system from a group.
func RemoveMemberGroup(system, group string) string {
	return Members(system) + "/groups/" + url.PathEscape(group) + "/remove"
}

// Transfer hands a system over to another owner.
func Transfer(system string) string { return System(system) + "/transfer" }

// RevokeToken asks before a token is revoked, and revokes it.
func RevokeToken(id string) string { return "/tokens/" + url.PathEscape(id) + "/revoke" }

// PersonTokens are the tokens of a person.
func PersonTokens(person string) string { return Person(person) + "/tokens" }

// ServiceAccount is the account of a program, with its roles and tokens.
func ServiceAccount(id string) string { return ServiceAccounts + "/" + url.PathEscape(id) }

// EditServiceAccount is the form of its description and owner.
func EditServiceAccount(id string) string { return ServiceAccount(id) + "/edit" }

// GiveServiceRole gives it a role.
func GiveServiceRole(id string) string { return ServiceAccount(id) + "/roles" }

// RemoveServiceRole takes a role from it.
func RemoveServiceRole(id string) string { return ServiceAccount(id) + "/roles/remove" }

// DisableServiceAccount closes it; EnableServiceAccount opens it again.
func DisableServiceAccount(id string) string { return ServiceAccount(id) + "/disable" }

// EnableServiceAccount opens one that was closed.
func EnableServiceAccount(id string) string { return ServiceAccount(id) + "/enable" }

// ServiceTokens is where a token of a service account is made.
func ServiceTokens(id string) string { return ServiceAccount(id) + "/tokens" }

// NewServiceToken is the form for one.
func NewServiceToken(id string) string { return ServiceTokens(id) + "/new" }
