package cluster

import (
	"context"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/ent/clusterreplacement"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

// What the timeline of a cluster calls what happens to its credential.
const (
	CredentialReplaced  = "replaced"
	CredentialProposed  = "proposed"  // one that leads to another cluster
	CredentialConfirmed = "confirmed" // by a second admin
	CredentialRejected  = "rejected"
	CredentialWithdrawn = "withdrawn"
	CredentialDropped   = "dropped" // nobody confirmed it in time
	CredentialWarned    = "warned"  // before: when it ends
)

// Stored is the credential of a cluster as its page shows it: nothing of itself.
type Stored struct {
	Cluster
	Identity    string // UID of the namespace kube-system
	Generation  int    // rises with every replacement
	Fingerprint Fingerprint
	Locked      *apperr.AppError // why it does not open; nil: it does
	Waiting     *Replacement     // for a second admin
}

// Comparison is a context of a draft beside the credential that is stored.
type Comparison struct {
	Fingerprint Fingerprint // of the new one
	Unchanged   bool        // it is the very one that is stored
	// What the pre-flight through this context found; empty before it has run.
	Identity string
	Same     bool   // it is the same cluster
	Other    string // name of another cluster here that it belongs to
	Others   int    // platform admins who could confirm that it was rebuilt
}

// StoredCredential tells what is stored, and what waits for a second admin.
func (s *Service) StoredCredential(ctx context.Context, actor domain.Actor, id string) (Stored, error) {
	if err := access.Check(actor, domain.ClusterCredential, domain.Object{}); err != nil {
		return Stored{}, err
	}
	row, err := Find(ctx, s.DB.Ent, id)
	if err != nil {
		return Stored{}, err
	}
	out := Stored{Cluster: view(row), Identity: row.IdentityUID, Generation: row.CredentialGeneration}
	if cred, err := open(s.Keys, row); err == nil {
		out.Fingerprint = fingerprint(cred)
	} else if e, ok := apperr.From(err); ok {
		out.Locked = e
	} else {
		return Stored{}, err
	}
	r, err := s.DB.Ent.ClusterReplacement.Query().
		Where(clusterreplacement.ClusterID(row.ID), clusterreplacement.ExpiresAtGT(time.Now().UTC())).Only(ctx)
	switch {
	case ent.IsNotFound(err):
		return out, nil
	case err != nil:
		return Stored{}, database.Classify(err)
	}
	out.Waiting = &Replacement{
		ID: r.ID.String(), RequestedBy: r.RequestedBy, Reason: r.Reason, Own: domain.SameHands(actor, r.RequestedByID.String(), nil),
		Server: r.Server, Kind: r.Kind, Subject: r.Subject, Identity: r.IdentityUID, EndsAt: r.CredentialExpiresAt,
		At: r.CreatedAt, ExpiresAt: r.ExpiresAt, Preflight: r.Preflight,
	}
	if cred, err := s.waiting(r); err == nil { // one that does not open is refused when it is confirmed
		out.Waiting.Fingerprint = fingerprint(cred)
	}
	return out, nil
}

// Compare holds a context of the actor's draft against what is stored.
func (s *Service) Compare(ctx context.Context, actor domain.Actor, id, draftID, contextName string) (Comparison, error) {
	if err := access.Check(actor, domain.ClusterCredential, domain.Object{}); err != nil {
		return Comparison{}, err
	}
	row, err := Find(ctx, s.DB.Ent, id)
	if err != nil {
		return Comparison{}, err
	}
	d, err := s.draft(ctx, actor, draftID)
	if err != nil {
		return Comparison{}, err
	}
	cred, err := s.drafted(d, contextName)
	if err != nil {
		return Comparison{}, err
	}
	c := Comparison{Fingerprint: fingerprint(cred)}
	if old, err := open(s.Keys, row); err == nil {
		c.Unchanged = equal(old, cred)
	}
	if c.Identity = d.Preflights[contextName].Health.IdentityUID; c.Identity == "" {
		return c, nil
	}
	if c.Same = c.Identity == row.IdentityUID; c.Same {
		return c, nil
	}
	others, err := s.otherAdmins(ctx, s.DB.Ent, actor.UserID)
	if err != nil {
		return Comparison{}, err
	}
	c.Others = len(others)
	err = takenBy(ctx, s.DB.Ent, row.ID, c.Identity)
	if e, ok := apperr.From(err); ok && e.Code == apperr.ErrClusterDuplicate {
		c.Other, err = e.Params["cluster"].(string), nil
	}
	return c, err
}

// ReplaceCredential gives a cluster the credential of a draft's context, in
// place: watchers and orders go on with it. The pre-flight must have passed and
// found the very cluster that was added: CLUSTER_IDENTITY_CHANGED otherwise,
// which is put on record. What waited for a second admin is dropped: the cluster
// has shown that it is itself.
func (s *Service) ReplaceCredential(ctx context.Context, actor domain.Actor, id, draftID, contextName string) error {
	if err := access.Check(actor, domain.ClusterCredential, domain.Object{}); err != nil {
		return err
	}
	row, m, err := s.offered(ctx, actor, id, draftID, contextName)
	if err != nil {
		return err
	}
	e := entry("cluster.replace_credential", row)
	e.Details = fingerprints(m.Credential, m.context.Subject)
	if m.preflight.Health.IdentityUID != row.IdentityUID {
		e.Refused = true
		if err := audit.Record(ctx, s.DB.Ent, actor, e); err != nil {
			return database.Classify(err)
		}
		return apperr.New(apperr.ErrClusterIdentity).With("cluster", row.Name)
	}
	sealed, keyID, err := seal(s.Keys, clusterPlace(row.ID), write(m.Credential))
	if err != nil {
		return err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		if err := s.useUp(ctx, tx, m); err != nil {
			return err
		}
		row, err := lock(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if m.preflight.Health.IdentityUID != row.IdentityUID { // another admin has just confirmed that it was rebuilt
			return apperr.New(apperr.ErrClusterIdentity).With("cluster", row.Name)
		}
		if err := s.drop(ctx, tx, actor, row, "cluster.reject_credential", CredentialRejected, clusterreplacement.ClusterID(row.ID)); err != nil {
			return err
		}
		now, err := install(ctx, row, credential{m.Credential.Server, m.context.Kind, m.context.Subject, m.context.ExpiresAt, m.preflight, sealed, keyID})
		if err != nil {
			return err
		}
		if err := happened(ctx, tx, row.ID, CredentialReplaced); err != nil {
			return err
		}
		e.Before, e.After = credentialTold(row), credentialTold(now)
		if err := audit.Write(ctx, tx, actor, e); err != nil {
			return err
		}
		return notify(ctx, tx, row.ID)
	})
	if err == nil {
		s.forget(id)
	}
	return err
}

// offered opens a draft's context beside the cluster that it is for.
func (s *Service) offered(ctx context.Context, actor domain.Actor, id, draftID, contextName string) (*ent.Cluster, *material, error) {
	row, err := Find(ctx, s.DB.Ent, id)
	if err != nil {
		return nil, nil, err
	}
	m, err := s.prepare(ctx, actor, draftID, contextName)
	return row, m, err
}

// credential is what is written down of one that is put in place.
type credential struct {
	server, kind, subject string
	ends                  *time.Time
	preflight             domain.Preflight
	sealed                []byte
	keyID                 string
}

// install puts a credential in place. The generation makes watchers begin anew;
// what the pre-flight found counts as a check.
func install(ctx context.Context, row *ent.Cluster, c credential) (*ent.Cluster, error) {
	update := row.Update().SetEncryptedKubeconfig(c.sealed).SetEncryptionKeyID(c.keyID).AddCredentialGeneration(1).
		SetAPIServerURL(c.server).SetCredentialKind(c.kind).SetCredentialSubject(c.subject).SetCredentialWarned(0)
	if c.ends == nil {
		update.ClearCredentialExpiresAt()
	} else {
		update.SetCredentialExpiresAt(*c.ends)
	}
	learn(update.Mutation(), healthOf(c.preflight))
	return update.Save(ctx)
}

// happened adds a line about the credential to the timeline of a cluster.
func happened(ctx context.Context, tx *ent.Tx, id uuid.UUID, what string) error {
	return tx.ClusterEvent.Create().SetClusterID(id).SetKind(clusterevent.KindCredential).SetAfter(what).Exec(ctx)
}

// credentialTold is what the audit log keeps of the credential in use: nothing
// of itself.
func credentialTold(row *ent.Cluster) map[string]any {
	return map[string]any{
		"server": row.APIServerURL, "identity": row.IdentityUID, "credential_kind": row.CredentialKind,
		"credential_generation": row.CredentialGeneration, "credential_expires_at": row.CredentialExpiresAt,
	}
}
