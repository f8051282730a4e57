// Package cast is the one cast of people and things that the demo and the
// end-to-end tests share. Everything is made through the use cases, as people
// would make it.
package cast

import (
	"context"
	"fmt"

	"kubevirt-shepherd.io/shepherd/internal/app"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/approval"
	"kubevirt-shepherd.io/shepherd/internal/usecase/catalog"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/internal/usecase/service"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
)

// Person is one of the cast. The passwords are for demo and tests only, where
// they are printed.
type Person struct {
	Username, DisplayName, Password, Does string
	Role                                  domain.Role // platform-wide; "" = none
}

// The people.
var (
	Developer = Person{"developer", "Dana Developer", "copper-lantern-asks", "asks for VMs and operates them", ""}
	Approver  = Person{"approver", "Alex Approver", "quiet-harbour-decides", "decides requests", domain.RoleApprover}
	Admin     = Person{"admin", "Ada Admin", "stone-bridge-governs", "clusters, namespaces, people", domain.RoleAdmin}
	Newcomer  = Person{"newcomer", "Nia Newcomer", "paper-window-begins", "has nothing yet: see the first steps", ""}
	Auditor   = Person{"auditor", "Avi Auditor", "silver-ledger-reads", "reads everything", domain.RoleAuditor}
)

// All lists the people.
func All() []Person { return []Person{Developer, Approver, Admin, Auditor, Newcomer} }

// Templates and sizes. The testbed's simulated guests say that they are Fedora
// 41, so that is what the story uses. The image of "unlucky" does not exist: its VMs show
// what a failure looks like. "huge" fits on no node of the testbed.
var (
	templates = []catalog.NewTemplate{
		{Name: "debian-12", DisplayName: "Debian 12", Description: "Plain server", Image: "docker://quay.io/containerdisks/debian:12"},
		{Name: "ubuntu-2404", DisplayName: "Ubuntu 24.04", Description: "Plain server", Image: "docker://quay.io/containerdisks/ubuntu:24.04"},
		{Name: "fedora-41", DisplayName: "Fedora 41", Description: "Plain server", Image: "docker://quay.io/containerdisks/fedora:41",
			CloudInit: domain.Secret("#cloud-config\npackage_update: true\npackages: [qemu-guest-agent]\n")},
		{Name: "unlucky", DisplayName: "Unlucky", Description: "Its image does not exist: see what a failure looks like", Image: "docker://quay.io/containerdisks/does-not-exist:1"},
	}
	sizes = []catalog.NewSize{
		{Name: "small", CPU: 1, MemoryMiB: 2 << 10, DiskGiB: 20},
		{Name: "medium", CPU: 2, MemoryMiB: 4 << 10, DiskGiB: 30},
		{Name: "large", CPU: 4, MemoryMiB: 16 << 10, DiskGiB: 50},
		{Name: "huge", CPU: 64, MemoryMiB: 512 << 10, DiskGiB: 100},
	}
)

// People makes the accounts and the catalog, once.
func People(ctx context.Context, a *app.App) error {
	for _, p := range All() {
		id, _, err := a.Accounts.EnsureUser(ctx, account.NewUser{Username: p.Username, DisplayName: p.DisplayName, Password: p.Password})
		if err != nil {
			return fmt.Errorf("account %s: %w", p.Username, err)
		}
		if p.Role != "" {
			if err := a.Accounts.Bind(ctx, domain.Shepherd(), id, domain.Binding{Role: p.Role}); err != nil {
				return fmt.Errorf("role of %s: %w", p.Username, err)
			}
		}
	}
	admin, err := Actor(ctx, a, Admin)
	if err != nil {
		return err
	}
	have, err := a.Catalog.Templates(ctx, admin)
	if err != nil || len(have) > 0 {
		return err
	}
	for _, t := range templates {
		if _, err := a.Catalog.CreateTemplate(ctx, admin, t); err != nil {
			return fmt.Errorf("template %s: %w", t.Name, err)
		}
	}
	for _, s := range sizes {
		if _, err := a.Catalog.CreateSize(ctx, admin, s); err != nil {
			return fmt.Errorf("size %s: %w", s.Name, err)
		}
	}
	return nil
}

// Actor is a person of the cast as the use cases know people.
func Actor(ctx context.Context, a *app.App, p Person) (domain.Actor, error) {
	id, _, err := a.Accounts.EnsureUser(ctx, account.NewUser{Username: p.Username, DisplayName: p.DisplayName, Password: p.Password})
	if err != nil {
		return domain.Actor{}, err
	}
	return a.Accounts.Actor(ctx, id, "", "")
}

// namespaces are the namespaces of the cast with their environments. The same
// name may be on several clusters.
var namespaces = []struct {
	Name        string
	Environment domain.Environment
}{
	{"shop-test", domain.Test}, {"platform-test", domain.Test},
	{"shop-prod", domain.Prod}, {"platform-prod", domain.Prod},
}

// Namespaces lists the names that a cluster of an environment has.
func Namespaces(e domain.Environment) []string {
	var names []string
	for _, n := range namespaces {
		if n.Environment == e {
			names = append(names, n.Name)
		}
	}
	return names
}

// Places registers the namespaces of a cluster that has just been added.
func Places(ctx context.Context, a *app.App, clusterID string, e domain.Environment) error {
	admin, err := Actor(ctx, a, Admin)
	if err != nil {
		return err
	}
	for _, name := range Namespaces(e) {
		_, err := a.Clusters.RegisterNamespace(ctx, admin, cluster.Registration{ClusterID: clusterID, Name: name, Environment: e})
		if err != nil && apperr.CodeOf(err) != apperr.ErrNamespaceRegistered {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
	}
	return nil
}

// PublicKey is an SSH key of nobody: its private half was never kept.
const PublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPoJ5rl1kkMFwbvGmAPoUN2TOa0D9T9wl5FBqR4gQjXz dana@laptop"

// request is one request of the story, and what becomes of it.
type request struct {
	service, template, size string
	count, disk             int
	reason                  string
	decide                  string // approve, reject, or "" to leave it waiting
	answer                  string
}

// story is what the developer has done before a visitor comes, by environment.
var story = map[domain.Environment][]struct {
	system, namespace, docs string
	services                map[string]string // name -> documentation
	requests                []request
}{
	domain.Test: {{
		"shop", "shop-test", "# Shop, test\n\nWhere the web shop is tried out before it goes to **prod**.",
		map[string]string{"redis": "Session cache.", "storefront": "The pages that customers see."},
		[]request{
			{"redis", "fedora-41", "small", 2, 20, "Cache for the load tests of the winter sale.", "approve", ""},
			{"storefront", "fedora-41", "medium", 1, 30, "Try the new checkout before the sale.", "approve", ""},
			{"storefront", "unlucky", "small", 1, 20, "Try the image that the vendor has announced.", "approve", "I doubt that it exists, but try."},
			{"storefront", "ubuntu-2404", "large", 2, 50, "Two more nodes for the load test on Friday.", "", ""},
		},
	}},
	domain.Prod: {{
		"shop", "shop-prod", "# Shop\n\nThe web shop. On call: see the wiki.",
		map[string]string{"redis": "Session cache.", "postgres": "Orders and customers."},
		[]request{
			{"redis", "fedora-41", "medium", 1, 30, "Cache for the winter sale, agreed with the platform team.", "approve", ""},
			{"postgres", "fedora-41", "huge", 1, 100, "The big one for the year-end reports.", "approve", "Let us see whether it fits."},
			{"redis", "ubuntu-2404", "large", 3, 50, "Three more because more is better.", "reject", "One is enough for this hit rate. Ask again with the numbers."},
			{"postgres", "debian-12", "large", 1, 50, "A replica for the reports, so that they do not slow down the shop.", "", ""},
		},
	}},
}

// Story makes the systems, services and requests of an environment, once. The
// approver's decisions need a healthy cluster.
func Story(ctx context.Context, a *app.App, e domain.Environment, clusterID string) error {
	dev, err := Actor(ctx, a, Developer)
	if err != nil {
		return err
	}
	boss, err := Actor(ctx, a, Approver)
	if err != nil {
		return err
	}
	templateIDs, sizeIDs, err := ids(ctx, a, dev)
	if err != nil {
		return err
	}
	for _, sys := range story[e] {
		systemID, err := a.Systems.Create(ctx, dev, system.Input{Name: sys.system, Namespace: sys.namespace, Documentation: sys.docs})
		if apperr.CodeOf(err) == apperr.ErrNameTaken {
			continue // told before
		}
		if err != nil {
			return fmt.Errorf("system %s: %w", sys.system, err)
		}
		if dev, err = Actor(ctx, a, Developer); err != nil { // owns the system now
			return err
		}
		services := map[string]string{}
		for name, docs := range sys.services {
			if services[name], err = a.Services.Create(ctx, dev, service.Input{SystemID: systemID, Name: name, Documentation: docs}); err != nil {
				return fmt.Errorf("service %s: %w", name, err)
			}
		}
		for _, r := range sys.requests {
			ticket, err := a.Approval.SubmitCreate(ctx, dev, approval.Input{
				ServiceID: services[r.service], TemplateID: templateIDs[r.template], SizeID: sizeIDs[r.size],
				Count: r.count, DiskGiB: r.disk, SSHKeys: []string{PublicKey}, Reason: r.reason,
			})
			if err != nil {
				return fmt.Errorf("request for %s: %w", r.service, err)
			}
			if r.decide == "" {
				continue
			}
			t, err := a.Approval.Ticket(ctx, boss, ticket)
			if err != nil {
				return err
			}
			if err := a.Approval.Decide(ctx, boss, ticket, approval.Decision{
				Approve: r.decide == "approve", Version: t.Version, SpecHash: t.SpecHash, TemplateID: templateIDs[r.template], SizeID: sizeIDs[r.size],
				Count: r.count, DiskGiB: r.disk, ClusterID: clusterID, Reason: r.answer,
			}); err != nil {
				return fmt.Errorf("decision on %s: %w", domain.TicketName(ticket), err)
			}
		}
	}
	return nil
}

// ids gives the ids of templates and sizes by name.
func ids(ctx context.Context, a *app.App, actor domain.Actor) (templates, sizes map[string]string, err error) {
	ts, err := a.Catalog.Templates(ctx, actor)
	if err != nil {
		return nil, nil, err
	}
	ss, err := a.Catalog.Sizes(ctx, actor)
	if err != nil {
		return nil, nil, err
	}
	templates, sizes = map[string]string{}, map[string]string{}
	for _, t := range ts {
		templates[t.Name] = t.ID
	}
	for _, s := range ss {
		sizes[s.Name] = s.ID
	}
	return templates, sizes, nil
}
