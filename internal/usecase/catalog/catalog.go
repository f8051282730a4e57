// Package catalog holds what can be asked for: templates (an image with its
// first-boot data, in versions) and sizes.
package catalog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/instancesize"
	"kubevirt-shepherd.io/shepherd/ent/template"
	"kubevirt-shepherd.io/shepherd/internal/crypto"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// Service holds the rules of the catalog.
type Service struct {
	DB   *database.DB
	Keys *crypto.Keyring // seals first-boot data
}

// Template is a template as pages show it: no first-boot data.
type Template struct {
	ID, Name, DisplayName, Description, Image, Note string
	Version                                         int
	MinDiskGiB                                      int
	Status                                          string // draft active deprecated archived
	HasCloudInit                                    bool
	Needs                                           domain.Requirements // of a cluster
}

// Size is a shape of VMs.
type Size struct {
	ID, Name   string
	CPU        int // vCPU
	MemoryMiB  int
	DiskGiB    int // default of the form
	MaxDiskGiB int
	Status     string // draft active deprecated archived
}

// maxRows bounds both lists: a catalog is made by hand.
const maxRows = 500

// Templates lists templates by name, the newest version first. Drafts are for
// admins only.
func (s *Service) Templates(ctx context.Context, actor domain.Actor) ([]Template, error) {
	q := s.DB.Ent.Template.Query().Order(ent.Asc(template.FieldName), ent.Desc(template.FieldVersion)).Limit(maxRows)
	if !domain.Can(actor, domain.CatalogCreate, domain.Object{}) {
		q.Where(template.StatusNEQ(template.StatusDraft))
	}
	rows, err := q.All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	list := make([]Template, 0, len(rows))
	for _, r := range rows {
		list = append(list, Template{
			ID: r.ID.String(), Name: r.Name, DisplayName: r.DisplayName, Description: r.Description, Image: r.Image, Note: r.Note,
			Version: r.Version, MinDiskGiB: r.MinDiskGib, Status: string(r.Status), HasCloudInit: len(r.SealedCloudInit) > 0,
			Needs: domain.Requirements{Features: r.RequiredFeatures, Hardware: r.RequiredHardware},
		})
	}
	return list, nil
}

// Sizes lists sizes from the smallest up. Drafts are for admins only.
func (s *Service) Sizes(ctx context.Context, actor domain.Actor) ([]Size, error) {
	q := s.DB.Ent.InstanceSize.Query().
		Order(ent.Asc(instancesize.FieldCPU, instancesize.FieldMemoryMib, instancesize.FieldName)).Limit(maxRows)
	if !domain.Can(actor, domain.CatalogCreate, domain.Object{}) {
		q.Where(instancesize.StatusNEQ(instancesize.StatusDraft))
	}
	rows, err := q.All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	list := make([]Size, 0, len(rows))
	for _, r := range rows {
		list = append(list, Size{r.ID.String(), r.Name, r.CPU, r.MemoryMib, r.DiskGib, r.MaxDiskGib, string(r.Status)})
	}
	return list, nil
}

// Offers says whether there is a template, and a size, that can be asked for.
func (s *Service) Offers(ctx context.Context) (image, size bool, err error) {
	if image, err = s.DB.Ent.Template.Query().Where(template.StatusEQ(template.StatusActive)).Exist(ctx); err != nil {
		return false, false, database.Classify(err)
	}
	size, err = s.DB.Ent.InstanceSize.Query().Where(instancesize.StatusEQ(instancesize.StatusActive)).Exist(ctx)
	return image, size, database.Classify(err)
}

// NewTemplate is the first or next version of a template. CloudInit is a
// cloud-config document, or empty.
type NewTemplate struct {
	Name, DisplayName, Description, Image string
	MinDiskGiB                            int // 0: 10
	CloudInit                             domain.Secret
	Needs                                 domain.Requirements // of a cluster, in any order
}

const (
	maxCloudInit = 64 << 10 // bytes: what a Secret of a cluster can comfortably hold
	maxText      = 200      // characters of a name or description for people
	maxImage     = 500      // bytes
	maxDisk      = 64 << 10 // GiB
	maxCPU       = 512      // vCPU
	maxMemory    = 16 << 20 // MiB
	minMemory    = 128      // MiB
)

// CreateTemplate adds an active version; the version before it, if any,
// becomes deprecated. Admins only.
func (s *Service) CreateTemplate(ctx context.Context, actor domain.Actor, in NewTemplate) (id string, err error) {
	if err := access.Check(actor, domain.CatalogCreate, domain.Object{}); err != nil {
		return "", err
	}
	var wrong apperr.List
	if !domain.ValidName(in.Name) {
		wrong.Add("name", apperr.ErrInvalidName)
	}
	if in.DisplayName == "" {
		wrong.Add("display_name", apperr.ErrRequired)
	}
	for _, text := range []struct{ field, value string }{{"display_name", in.DisplayName}, {"description", in.Description}} {
		switch {
		case !utf8.ValidString(text.value) || strings.ContainsFunc(text.value, unicode.IsControl):
			wrong.Add(text.field, apperr.ErrInvalidText)
		case utf8.RuneCountInString(text.value) > maxText:
			wrong = append(wrong, apperr.Field(text.field, apperr.ErrTooLong).With("max", maxText))
		}
	}
	if !isImage(in.Image) {
		wrong.Add("image", apperr.ErrInvalidImage)
	}
	if in.MinDiskGiB == 0 {
		in.MinDiskGiB = 10
	}
	if in.MinDiskGiB < 0 || in.MinDiskGiB > maxDisk {
		wrong = append(wrong, apperr.Field("min_disk_gib", apperr.ErrOutOfRange).With("min", 1).With("max", maxDisk).With("unit", "GiB"))
	}
	if e := checkCloudConfig(in.CloudInit); e != nil {
		wrong = append(wrong, e.At("cloud_init"))
	}
	in.Needs.Features = names(&wrong, "required_features", in.Needs.Features, domain.ValidGate, apperr.ErrInvalidFeature)
	in.Needs.Hardware = names(&wrong, "required_hardware", in.Needs.Hardware, domain.ValidHardware, apperr.ErrInvalidHardware)
	if err := wrong.Err(); err != nil {
		return "", err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		// Who makes a version holds the first one, and so sees the versions of
		// those before him. Two who make the first one meet at the unique index.
		version := 1
		var before map[string]any
		_, err := tx.Template.Query().Where(template.Name(in.Name), template.Version(1)).ForUpdate().Only(ctx)
		if err != nil && !ent.IsNotFound(err) {
			return err
		}
		last, err := tx.Template.Query().Where(template.Name(in.Name)).Order(ent.Desc(template.FieldVersion)).First(ctx)
		switch {
		case err == nil:
			version = last.Version + 1
			before = map[string]any{
				"version": last.Version, "status": last.Status, "display_name": last.DisplayName, "description": last.Description,
				"image": last.Image, "min_disk_gib": last.MinDiskGib, "cloud_init": len(last.SealedCloudInit) > 0,
				"required_features": last.RequiredFeatures, "required_hardware": last.RequiredHardware,
			}
			if err := tx.Template.Update().Where(template.Name(in.Name), template.StatusEQ(template.StatusActive)).
				SetStatus(template.StatusDeprecated).Exec(ctx); err != nil {
				return err
			}
		case !ent.IsNotFound(err):
			return err
		}
		row := tx.Template.Create().SetName(in.Name).SetVersion(version).SetDisplayName(in.DisplayName).SetDescription(in.Description).
			SetImage(in.Image).SetMinDiskGib(in.MinDiskGiB).SetStatus(template.StatusActive).SetCreatedBy(actor.Username).
			SetRequiredFeatures(in.Needs.Features).SetRequiredHardware(in.Needs.Hardware)
		key := uuid.Must(uuid.NewV7())
		row.SetID(key)
		if len(in.CloudInit) > 0 {
			sealed, keyID, err := s.Keys.Seal(place(key), in.CloudInit)
			if err != nil {
				return err
			}
			row.SetSealedCloudInit(sealed).SetKeyID(keyID)
		}
		if err := row.Exec(ctx); err != nil {
			if database.Violates(err, "template_name_version") || database.Violates(err, "template_active") {
				return apperr.Field("name", apperr.ErrNameTaken).With("name", in.Name)
			}
			return err
		}
		id = key.String()
		return audit.Write(ctx, tx, actor, audit.Entry{
			Action: "template.create", ResourceType: "template", ResourceID: id, ResourceName: in.Name,
			Details: map[string]any{"version": version, "image": in.Image},
			Before:  before,
			After: map[string]any{
				"version": version, "status": template.StatusActive, "display_name": in.DisplayName, "description": in.Description,
				"image": in.Image, "min_disk_gib": in.MinDiskGiB, "cloud_init": len(in.CloudInit) > 0,
				"required_features": in.Needs.Features, "required_hardware": in.Needs.Hardware,
			},
		})
	})
	return id, err
}

// names puts a list of names in order, each once, and says what is wrong with it.
func names(wrong *apperr.List, field string, list []string, valid func(string) bool, code string) []string {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	if len(list) > domain.MaxTokens {
		*wrong = append(*wrong, apperr.Field(field, code).With("max", domain.MaxTokens))
	} else if i := slices.IndexFunc(list, func(s string) bool { return !valid(s) }); i >= 0 {
		*wrong = append(*wrong, apperr.Field(field, code).With("name", domain.CleanText(list[i], domain.MaxLabel)))
	}
	return list
}

// isImage says whether a disk can be made from it. An address with an account
// in it would show a password to everybody who may ask for the template.
func isImage(image string) bool {
	u, err := url.Parse(image)
	return err == nil && len(image) <= maxImage && (u.Scheme == "docker" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

// atLine is how the YAML parser says where it stopped.
var atLine = regexp.MustCompile(`line (\d+)`)

// checkCloudConfig says why data is not one cloud-config document, or nothing.
// Of the parser's words only the line is passed on: they may quote a secret.
func checkCloudConfig(data domain.Secret) *apperr.AppError {
	if len(data) == 0 {
		return nil
	}
	first, _, _ := bytes.Cut(data, []byte("\n"))
	if len(data) > maxCloudInit || !bytes.Equal(bytes.TrimRight(first, " \r"), []byte("#cloud-config")) {
		return apperr.New(apperr.ErrCloudInit)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more map[string]any
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil // only comments
	}
	if err == nil {
		if err = d.Decode(&more); errors.Is(err, io.EOF) {
			return nil
		}
	}
	e := apperr.New(apperr.ErrCloudInit)
	if err != nil {
		if at := atLine.FindStringSubmatch(err.Error()); at != nil {
			e = e.With("line", at[1])
		}
	}
	return e
}

// place binds sealed first-boot data to its row.
func place(id uuid.UUID) crypto.AAD {
	return crypto.AAD{Table: "templates", Column: "sealed_cloud_init", Row: id.String()}
}

// OpenCloudInit opens the first-boot data of a template, for the worker. It
// is empty when the template has none. CREDENTIALS_LOCKED when no key opens it.
func (s *Service) OpenCloudInit(ctx context.Context, templateID string) (domain.Secret, error) {
	id, err := uuid.Parse(templateID)
	if err != nil {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	row, err := s.DB.Ent.Template.Get(ctx, id)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return nil, database.Classify(err)
	}
	if len(row.SealedCloudInit) == 0 {
		return nil, nil
	}
	return s.Keys.Open(place(id), row.KeyID, row.SealedCloudInit)
}

// NewSize is a size to add.
type NewSize struct {
	Name       string
	CPU        int // vCPU
	MemoryMiB  int
	DiskGiB    int
	MaxDiskGiB int // 0: 1024
}

// CreateSize adds an active size. Admins only.
func (s *Service) CreateSize(ctx context.Context, actor domain.Actor, in NewSize) (id string, err error) {
	if err := access.Check(actor, domain.CatalogCreate, domain.Object{}); err != nil {
		return "", err
	}
	if in.MaxDiskGiB == 0 {
		in.MaxDiskGiB = 1024
	}
	var wrong apperr.List
	if !domain.ValidName(in.Name) {
		wrong.Add("name", apperr.ErrInvalidName)
	}
	for _, n := range []struct {
		field           string
		value, min, max int
		unit            string
	}{
		{"cpu", in.CPU, 1, maxCPU, "vCPU"}, {"memory_mib", in.MemoryMiB, minMemory, maxMemory, "MiB"},
		{"disk_gib", in.DiskGiB, 1, in.MaxDiskGiB, "GiB"}, {"max_disk_gib", in.MaxDiskGiB, 1, maxDisk, "GiB"},
	} {
		if n.value < n.min || n.value > n.max {
			wrong = append(wrong, apperr.Field(n.field, apperr.ErrOutOfRange).With("min", n.min).With("max", n.max).With("unit", n.unit))
		}
	}
	if err := wrong.Err(); err != nil {
		return "", err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		row, err := tx.InstanceSize.Create().SetName(in.Name).SetCPU(in.CPU).SetMemoryMib(in.MemoryMiB).SetDiskGib(in.DiskGiB).
			SetMaxDiskGib(in.MaxDiskGiB).SetStatus(instancesize.StatusActive).SetCreatedBy(actor.Username).Save(ctx)
		if database.Violates(err, "instance_sizes_name_key") {
			return apperr.Field("name", apperr.ErrNameTaken).With("name", in.Name)
		}
		if err != nil {
			return err
		}
		id = row.ID.String()
		return audit.Write(ctx, tx, actor, audit.Entry{
			Action: "size.create", ResourceType: "size", ResourceID: id, ResourceName: in.Name,
			Details: map[string]any{"cpu": in.CPU, "memory_mib": in.MemoryMiB},
			After:   map[string]any{"status": row.Status, "cpu": in.CPU, "memory_mib": in.MemoryMiB, "disk_gib": in.DiskGiB, "max_disk_gib": in.MaxDiskGiB},
		})
	})
	return id, err
}
