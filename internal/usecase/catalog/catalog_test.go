package catalog_test

import (
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
