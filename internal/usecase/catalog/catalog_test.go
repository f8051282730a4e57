package catalog_test

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/databasetest"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/catalog"
)

func admin() domain.Actor {
	return domain.Actor{UserID: "x", Username: "admin", Bindings: []domain.Binding{{Role: domain.RoleAdmin}}}
}

func service(t *testing.T) *catalog.Service {
	keys, err := crypto.Load("", crypto.Generate())
	if err != nil {
		t.Fatal(err)
	}
	return &catalog.Service{DB: databasetest.New(t), Keys: keys}
}

func TestTemplateVersions(t *testing.T) {
	s, ctx := service(t), t.Context()
	secret := domain.Secret("#cloud-config\nchpasswd: {expire: false}\n")
	first, err := s.CreateTemplate(ctx, admin(), catalog.NewTemplate{Name: "debian-12", DisplayName: "Debian 12", Image: "docker://example.com/debian:12", CloudInit: secret})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateTemplate(ctx, admin(), catalog.NewTemplate{Name: "debian-12", DisplayName: "Debian 12", Image: "docker://example.com/debian:12.1"}); err != nil {
		t.Fatal(err)
	}
	list, err := s.Templates(ctx, domain.Actor{UserID: "y"})
	if err != nil || len(list) != 2 {
		t.Fatalf("got %v, %v", list, err)
	}
	if list[0].Version != 2 || list[0].Status != "active" || list[1].Status != "deprecated" {
		t.Errorf("a new version must take over: %+v", list)
	}
	got, err := s.OpenCloudInit(ctx, first)
	if err != nil || string(got) != string(secret) {
		t.Errorf("first-boot data: %v", err)
	}
	row := s.DB.Ent.Template.Query().AllX(ctx)
	for _, r := range row {
		if string(r.SealedCloudInit) == string(secret) {
			t.Error("first-boot data is stored in clear")
		}
	}
}

func TestCatalogRefuses(t *testing.T) {
	s, ctx := service(t), t.Context()
	if _, err := s.CreateTemplate(ctx, domain.Actor{UserID: "y"}, catalog.NewTemplate{}); apperr.CodeOf(err) != apperr.ErrForbidden {
		t.Errorf("anybody: %v", err)
	}
	_, err := s.CreateTemplate(ctx, admin(), catalog.NewTemplate{Name: "Bad Name", Image: "file:///etc/passwd", CloudInit: domain.Secret("#!/bin/sh\n")})
	if got := apperr.Fields(err); len(got) != 4 {
		t.Errorf("want an error for name, display name, image and cloud-init, got %v", got)
	}
	if _, err := s.CreateSize(ctx, admin(), catalog.NewSize{Name: "small", CPU: 1, MemoryMiB: 1024, DiskGiB: 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateSize(ctx, admin(), catalog.NewSize{Name: "small", CPU: 1, MemoryMiB: 1024, DiskGiB: 10}); apperr.CodeOf(err) != apperr.ErrNameTaken {
		t.Errorf("a second size of one name: %v", err)
	}
	if _, err := s.CreateSize(ctx, admin(), catalog.NewSize{Name: "odd", CPU: 0, MemoryMiB: 1, DiskGiB: 5000}); len(apperr.Fields(err)) != 3 {
		t.Errorf("out of range: %v", err)
	}
}

// Versions that are made at once get numbers of their own, and one is active.
func TestVersionsAtOnce(t *testing.T) {
	s, ctx := service(t), t.Context()
	in := catalog.NewTemplate{Name: "debian", DisplayName: "Debian", Image: "docker://example.com/debian:12"}
	if _, err := s.CreateTemplate(ctx, admin(), in); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := s.CreateTemplate(ctx, admin(), in); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	list, err := s.Templates(ctx, admin())
	if err != nil || len(list) != 21 || list[0].Version != 21 {
		t.Fatalf("%d versions, %v", len(list), err)
	}
	for i, v := range list {
		if (v.Status == "active") != (i == 0) {
			t.Errorf("version %d is %s", v.Version, v.Status)
		}
	}
}

func TestBadTemplates(t *testing.T) {
	s, ctx := service(t), t.Context()
	for name, c := range map[string]struct {
		change func(*catalog.NewTemplate)
		field  string
	}{
		"NUL":               {func(n *catalog.NewTemplate) { n.DisplayName = "a\x00" }, "display_name"},
		"long":              {func(n *catalog.NewTemplate) { n.Description = strings.Repeat("x", 201) }, "description"},
		"disk":              {func(n *catalog.NewTemplate) { n.MinDiskGiB = 1 << 20 }, "min_disk_gib"},
		"file":              {func(n *catalog.NewTemplate) { n.Image = "file:///etc/passwd" }, "image"},
		"no host":           {func(n *catalog.NewTemplate) { n.Image = "https://" }, "image"},
		"password in image": {func(n *catalog.NewTemplate) { n.Image = "https://me:secret@example.com/x.img" }, "image"},
		"image with NUL":    {func(n *catalog.NewTemplate) { n.Image = "docker://example.com/a\x00" }, "image"},
		"script":            {func(n *catalog.NewTemplate) { n.CloudInit = domain.Secret("#!/bin/sh\n") }, "cloud_init"},
		"list":              {func(n *catalog.NewTemplate) { n.CloudInit = domain.Secret("#cloud-config\n- a\n") }, "cloud_init"},
		"broken":            {func(n *catalog.NewTemplate) { n.CloudInit = domain.Secret("#cloud-config\na: [\n") }, "cloud_init"},
		"twice":             {func(n *catalog.NewTemplate) { n.CloudInit = domain.Secret("#cloud-config\na: 1\na: 2\n") }, "cloud_init"},
		"two documents":     {func(n *catalog.NewTemplate) { n.CloudInit = domain.Secret("#cloud-config\na: 1\n---\nb: 2\n") }, "cloud_init"},
		"large": {func(n *catalog.NewTemplate) {
			n.CloudInit = domain.Secret("#cloud-config\na: " + strings.Repeat("x", 64<<10))
		}, "cloud_init"},
	} {
		in := catalog.NewTemplate{Name: "debian", DisplayName: "Debian", Image: "docker://example.com/debian:12"}
		c.change(&in)
		_, err := s.CreateTemplate(ctx, admin(), in)
		if f := apperr.Fields(err); len(f) != 1 || f[0].Field() != c.field || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := s.DB.Ent.Template.Query().CountX(ctx); n != 0 {
		t.Errorf("%d templates are left", n)
	}
}

// Drafts are for admins only.
func TestDrafts(t *testing.T) {
	s, ctx := service(t), t.Context()
	s.DB.Ent.Template.Create().SetName("d").SetVersion(1).SetDisplayName("D").SetImage("docker://x/y").SetCreatedBy("x").SaveX(ctx)
	s.DB.Ent.InstanceSize.Create().SetName("d").SetCPU(1).SetMemoryMib(1).SetDiskGib(1).SetCreatedBy("x").SaveX(ctx)
	for want, a := range []domain.Actor{{UserID: "y"}, admin()} {
		ts, err1 := s.Templates(ctx, a)
		zs, err2 := s.Sizes(ctx, a)
		if len(ts) != want || len(zs) != want || err1 != nil || err2 != nil {
			t.Errorf("%v: %d templates, %d sizes", a.Bindings, len(ts), len(zs))
		}
	}
}

// What a template needs of a cluster is kept in order, and names only what can
// be one.
func TestRequirements(t *testing.T) {
	st := service(t)
	in := catalog.NewTemplate{Name: "cuda", DisplayName: "CUDA", Image: "docker://c/d:1"}
	for _, bad := range []struct {
		needs       domain.Requirements
		field, code string
	}{
		{domain.Requirements{Features: []string{"live migration"}}, "required_features", apperr.ErrInvalidFeature},
		{domain.Requirements{Features: []string{"gpu"}}, "required_features", apperr.ErrInvalidFeature},
		{domain.Requirements{Hardware: []string{"a/b/c"}}, "required_hardware", apperr.ErrInvalidHardware},
		{domain.Requirements{Hardware: []string{"UPPER.example.com/a"}}, "required_hardware", apperr.ErrInvalidHardware},
		{domain.Requirements{Hardware: []string{"-"}}, "required_hardware", apperr.ErrInvalidHardware},
		{domain.Requirements{Hardware: make([]string, 1)}, "required_hardware", apperr.ErrInvalidHardware},
	} {
		in.Needs = bad.needs
		_, err := st.CreateTemplate(t.Context(), admin(), in)
		list := apperr.Fields(err)
		if len(list) != 1 || list[0].Code != bad.code || list[0].Field() != bad.field {
			t.Errorf("%+v: %v", bad.needs, err)
		}
	}
	in.Needs = domain.Requirements{Features: []string{"Snapshot", "GPU", "GPU"}, Hardware: []string{"sriov", "gpu.example.com/a100"}}
	if _, err := st.CreateTemplate(t.Context(), admin(), in); err != nil {
		t.Fatal(err)
	}
	list, err := st.Templates(t.Context(), admin())
	if err != nil {
		t.Fatal(err)
	}
	want := domain.Requirements{Features: []string{"GPU", "Snapshot"}, Hardware: []string{"gpu.example.com/a100", "sriov"}}
	i := slices.IndexFunc(list, func(x catalog.Template) bool { return x.Name == "cuda" })
	if i < 0 || !reflect.DeepEqual(list[i].Needs, want) {
		t.Errorf("stored %+v", list)
	}
}
