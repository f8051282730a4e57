package cluster

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterdraft"
	"kubevirt-shepherd.io/shepherd/ent/schema"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

const maxPlace = 100 // runes

// Input is the form that confirms a draft.
type Input struct {
	Context     string // of the uploaded file
	Name        string // RFC 1035 label, unique
	Environment domain.Environment
	Place       string // where it stands; optional
}

func (in *Input) check() error {
	var bad apperr.List
	in.Place = strings.TrimSpace(in.Place)
	if in.Context == "" {
		bad.Add("context", apperr.ErrRequired)
	}
	switch {
	case in.Name == "":
		bad.Add("name", apperr.ErrRequired)
	case !domain.ValidName(in.Name):
		bad.Add("name", apperr.ErrInvalidName)
	}
	if !in.Environment.Valid() {
		bad.Add("environment", apperr.ErrInvalidChoice)
	}
	switch n := utf8.RuneCountInString(in.Place); {
	case !utf8.ValidString(in.Place) || domain.CleanText(in.Place, n) != in.Place:
		bad.Add("place", apperr.ErrInvalidText)
	case n > maxPlace:
		bad = append(bad, apperr.Field("place", apperr.ErrTooLong).With("max", maxPlace))
	}
	return bad.Err()
}

// material is a checked draft: what a cluster is stored from.
type material struct {
	draft      uuid.UUID
	owner      uuid.UUID
	context    schema.DraftContext
	Credential domain.Credential // exported, so that it hides itself when it is printed
	preflight  domain.Preflight
}

// prepare opens one context of the actor's draft. The pre-flight of that very
// context must have passed; it runs now when it has not run yet. The error of
// one that failed is that of its first failed check.
func (s *Service) prepare(ctx context.Context, actor domain.Actor, draftID, contextName string) (*material, error) {
	row, err := s.draft(ctx, actor, draftID)
	if err != nil {
		return nil, err
	}
	m := &material{draft: row.ID, owner: row.UserID}
	if m.context, err = choose(row, contextName); err != nil {
		return nil, err
	}
	var looked bool
	if m.preflight, looked = row.Preflights[contextName]; !looked {
		if m.preflight, err = s.Preflight(ctx, actor, draftID, contextName); err != nil {
			return nil, err
		}
	}
	if err := verdict(m.preflight); err != nil {
		return nil, err
	}
	m.Credential, err = s.drafted(row, contextName)
	return m, err
}

func verdict(p domain.Preflight) error {
	if p.Passed() {
		if p.Health.IdentityUID == "" { // the credential may not read the namespace kube-system
			return apperr.New(apperr.ErrClusterForbidden)
		}
		return nil
	}
	for _, c := range p.Checks {
		if c.State == domain.CheckFailed && c.Code != "" {
			return withParams(c.Code, c.Params)
		}
	}
	return apperr.New(apperr.ErrClusterUnreachable)
}

// Add stores the cluster of a draft with the credential of one context, and
// uses the draft up. Input errors come as errors.List; a name that is taken is
// NAME_TAKEN, the same cluster under another name CLUSTER_DUPLICATE with that
// name. What the pre-flight found counts as the first check.
func (s *Service) Add(ctx context.Context, actor domain.Actor, draftID string, in Input) (id string, err error) {
	if err := access.Check(actor, domain.ClusterCreate, domain.Object{}); err != nil {
		return "", err
	}
	if err := in.check(); err != nil {
		return "", err
	}
	m, err := s.prepare(ctx, actor, draftID, in.Context)
	if err != nil {
		return "", err
	}
	key := schema.NewID()
	sealed, keyID, err := seal(s.Keys, clusterPlace(key), write(m.Credential))
	if err != nil {
		return "", err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		if err := s.useUp(ctx, tx, m); err != nil {
			return err
		}
		if err := taken(ctx, tx.Client(), in.Name, m.preflight.Health.IdentityUID); err != nil {
			return err
		}
		create := tx.Cluster.Create().SetID(key).SetName(in.Name).SetPlace(in.Place).
			SetEnvironment(cluster.Environment(in.Environment)).SetCreatedBy(actor.Username).
			SetEncryptedKubeconfig(sealed).SetEncryptionKeyID(keyID).SetNillableCredentialExpiresAt(m.context.ExpiresAt).
			SetCredentialKind(m.context.Kind).SetCredentialSubject(m.context.Subject).
			SetAPIServerURL(m.Credential.Server).SetIdentityUID(m.preflight.Health.IdentityUID)
		learn(create.Mutation(), healthOf(m.preflight))
		row, err := create.Save(ctx)
		if err != nil {
			return err
		}
		e := entry("cluster.create", row)
		e.Details = fingerprints(m.Credential, m.context.Subject)
		e.Details["environment"], e.Details["kind"] = string(in.Environment), m.context.Kind
		e.After = credentialTold(row)
		if err := audit.Write(ctx, tx, actor, e); err != nil {
			return err
		}
		return notify(ctx, tx, key)
	})
	if database.Violates(err, "cluster_name") || database.Violates(err, "cluster_identity_uid") {
		// Somebody was faster by less than a transaction: say so in the same words.
		if e := taken(ctx, s.DB.Ent, in.Name, m.preflight.Health.IdentityUID); e != nil {
			err = e
		}
	}
	if err != nil {
		return "", err
	}
	return key.String(), nil
}

// AddDirect reads a kubeconfig and adds the cluster of its current context, or
// of the first usable one, through the same steps as a person.
func (s *Service) AddDirect(ctx context.Context, actor domain.Actor, name string, env domain.Environment, place string, data []byte) (id string, err error) {
	draft, err := s.ReadUpload(ctx, actor, name, data)
	if err != nil {
		return "", err
	}
	d, err := s.Draft(ctx, actor, draft)
	if err != nil {
		return "", err
	}
	chosen := ""
	for _, c := range d.Contexts {
		if c.Refusal == nil && (chosen == "" || c.Name == d.Current) {
			chosen = c.Name
		}
	}
	return s.Add(ctx, actor, draft, Input{Context: chosen, Name: name, Environment: env, Place: place})
}

// useUp removes the draft; of two that confirm it at once, one fails.
func (s *Service) useUp(ctx context.Context, tx *ent.Tx, m *material) error {
	if _, err := s.lockDraft(ctx, tx, m.owner, m.draft.String()); err != nil {
		return err
	}
	_, err := tx.ClusterDraft.Delete().Where(clusterdraft.ID(m.draft)).Exec(ctx)
	return err
}

// taken refuses a name or a cluster that is there already.
func taken(ctx context.Context, c *ent.Client, name, uid string) error {
	rows, err := c.Cluster.Query().Where(cluster.RemovedAtIsNil(), cluster.Or(cluster.Name(name), cluster.IdentityUID(uid))).All(ctx)
	if err != nil {
		return database.Classify(err)
	}
	var bad apperr.List
	for _, row := range rows {
		if row.IdentityUID == uid { // matters more than the name
			return apperr.New(apperr.ErrClusterDuplicate).With("cluster", row.Name)
		}
		bad.Add("name", apperr.ErrNameTaken)
	}
	return bad.Err()
}
