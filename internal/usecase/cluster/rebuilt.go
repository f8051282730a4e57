package cluster

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterevent"
	"kubevirt-shepherd.io/shepherd/ent/clusterreplacement"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/schema"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	messages "kubevirt-shepherd.io/shepherd/internal/notify"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

const (
	replacementLifetime = 24 * time.Hour
	maxReplaceReason    = 500 // runes
	sweepJob            = "clean-up"
	sweepBatch          = 100
)

// Answer is what becomes of a credential that waits for a second admin.
type Answer string

// The answers.
const (
	Confirm  Answer = "confirm"
	Reject   Answer = "reject"
	Withdraw Answer = "withdraw" // by who asked
)

// Replacement is a credential that leads to a cluster with another identity, and
// waits for a second admin.
type Replacement struct {
	ID, RequestedBy, Reason string
	Own                     bool // the reader is behind it, so that he can only withdraw it
	Server, Kind, Subject   string
	Identity                string
	Fingerprint             Fingerprint
	EndsAt                  *time.Time // of the credential; nil: unknown or never
	At, ExpiresAt           time.Time  // of the question
	Preflight               domain.Preflight
}

// waiting opens a credential that waits.
func (s *Service) waiting(r *ent.ClusterReplacement) (domain.Credential, error) {
	var w written
	err := unseal(s.Keys, replacementPlace(r.ID), r.KeyID, r.Sealed, &w)
	return w.credential(), err
}

// ProposeCredential keeps the credential of a draft's context, sealed, until a
// second admin has confirmed that the cluster was rebuilt, for a day at most. It
// replaces what the actor himself had proposed; CLUSTER_REPLACEMENT_PENDING when
// somebody else's waits. CLUSTER_DUPLICATE when it belongs to another cluster
// that is here, REASON_REQUIRED. One that leads to the same cluster is put in
// place at once: proposed is false.
func (s *Service) ProposeCredential(ctx context.Context, actor domain.Actor, id, draftID, contextName, reason string) (proposed bool, err error) {
	if err := access.Check(actor, domain.ClusterCredential, domain.Object{}); err != nil {
		return false, err
	}
	requester, err := uuid.Parse(actor.UserID)
	if err != nil {
		return false, apperr.New(apperr.ErrForbidden)
	}
	var bad apperr.List
	reason = strings.TrimSpace(reason)
	switch n := utf8.RuneCountInString(reason); {
	case n == 0:
		bad.Add("reason", apperr.ErrReasonRequired)
	case n > maxReplaceReason:
		bad = append(bad, apperr.Field("reason", apperr.ErrTooLong).With("max", maxReplaceReason))
	case domain.CleanText(reason, n) != reason:
		bad.Add("reason", apperr.ErrInvalidText)
	}
	if err := bad.Err(); err != nil {
		return false, err
	}
	row, m, err := s.offered(ctx, actor, id, draftID, contextName)
	if err != nil {
		return false, err
	}
	uid := m.preflight.Health.IdentityUID
	if uid == row.IdentityUID {
		return false, s.ReplaceCredential(ctx, actor, id, draftID, contextName)
	}
	key := schema.NewID()
	sealed, keyID, err := seal(s.Keys, replacementPlace(key), write(m.Credential))
	if err != nil {
		return false, err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		if err := s.useUp(ctx, tx, m); err != nil {
			return err
		}
		row, err := lock(ctx, tx, row.ID) // one proposal at a time
		if err != nil {
			return err
		}
		if err := takenBy(ctx, tx.Client(), row.ID, uid); err != nil {
			return err
		}
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		if err := s.drop(ctx, tx, domain.ShepherdBy(sweepJob), row, "cluster.expire_credential", CredentialDropped,
			clusterreplacement.ClusterID(row.ID), clusterreplacement.ExpiresAtLTE(now)); err != nil {
			return err
		}
		if err := s.drop(ctx, tx, actor, row, "cluster.withdraw_credential", CredentialWithdrawn,
			clusterreplacement.ClusterID(row.ID), clusterreplacement.RequestedByID(requester)); err != nil {
			return err
		}
		if there, err := tx.ClusterReplacement.Query().Where(clusterreplacement.ClusterID(row.ID)).Only(ctx); err == nil {
			return apperr.New(apperr.ErrReplacementPending).With("cluster", row.Name).With("by", there.RequestedBy)
		} else if !ent.IsNotFound(err) {
			return err
		}
		err = tx.ClusterReplacement.Create().SetID(key).SetClusterID(row.ID).SetRequestedByID(requester).SetRequestedBy(actor.Username).
			SetReason(reason).SetSealed(sealed).SetKeyID(keyID).SetServer(m.Credential.Server).SetKind(m.context.Kind).SetSubject(m.context.Subject).
			SetNillableCredentialExpiresAt(m.context.ExpiresAt).SetIdentityUID(uid).SetPreflight(m.preflight).SetExpiresAt(now.Add(replacementLifetime)).Exec(ctx)
		if err != nil {
			return err
		}
		if err := happened(ctx, tx, row.ID, CredentialProposed); err != nil {
			return err
		}
		e := entry("cluster.propose_credential", row)
		e.Reason, e.Details = reason, fingerprints(m.Credential, m.context.Subject)
		e.Details["identity"], e.Details["identity_before"] = uid, row.IdentityUID
		if err := audit.Write(ctx, tx, actor, e); err != nil {
			return err
		}
		if err := s.tellAdmins(ctx, tx, actor.UserID, messages.Message{Kind: messages.ClusterRebuilt, Params: map[string]any{
			"cluster": row.Name, "cluster_id": row.ID.String(), "by": actor.Username, "reason": reason,
		}}); err != nil {
			return err
		}
		return database.Notify(ctx, tx, ToldTopics(row.ID)...)
	})
	return err == nil, err
}

// AnswerReplacement confirms, rejects or withdraws the credential that waits. A
// second admin confirms, and never one who is behind the question:
// SELF_APPROVAL. It is looked at again before, with the very credential: it must
// pass, and find the identity that was shown. Then the cluster has that identity
// and this credential, and is in quarantine: an admin accepts what became of its
// VMs. CLUSTER_REPLACEMENT_GONE when it is not waiting any more; of two who
// answer at once one wins.
func (s *Service) AnswerReplacement(ctx context.Context, actor domain.Actor, id, replacementID string, answer Answer) error {
	if err := access.Check(actor, domain.ClusterCredential, domain.Object{}); err != nil {
		return err
	}
	row, err := Find(ctx, s.DB.Ent, id)
	if err != nil {
		return err
	}
	key, err := uuid.Parse(replacementID)
	if err != nil {
		return gone(row)
	}
	r, err := s.DB.Ent.ClusterReplacement.Query().Where(clusterreplacement.ID(key), clusterreplacement.ClusterID(row.ID)).Only(ctx)
	if ent.IsNotFound(err) {
		return gone(row)
	}
	if err != nil {
		return database.Classify(err)
	}
	own := domain.SameHands(actor, r.RequestedByID.String(), nil)
	switch {
	case answer == Confirm && own:
		e := entry("cluster.confirm_credential", row)
		e.Refused = true
		if err := audit.Record(ctx, s.DB.Ent, actor, e); err != nil {
			return database.Classify(err)
		}
		return apperr.New(apperr.ErrSelfApproval)
	case answer == Confirm:
		return s.confirm(ctx, actor, row, r)
	case answer == Withdraw && own:
		return s.refuse(ctx, actor, row, r, "cluster.withdraw_credential", CredentialWithdrawn)
	case answer == Reject && !own:
		return s.refuse(ctx, actor, row, r, "cluster.reject_credential", CredentialRejected)
	}
	return apperr.Field("do", apperr.ErrInvalidChoice)
}

func (s *Service) confirm(ctx context.Context, actor domain.Actor, row *ent.Cluster, r *ent.ClusterReplacement) error {
	cred, err := s.waiting(r)
	if err != nil {
		return err
	}
	probe, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	found := s.Prober.Preflight(probe, cred)
	if err := ctx.Err(); err != nil {
		return apperr.New(apperr.ErrUnavailable).Because(err)
	}
	if err := verdict(found); err != nil {
		return err
	}
	if found.Health.IdentityUID != r.IdentityUID { // not the cluster that was shown
		return apperr.New(apperr.ErrClusterIdentity).With("cluster", row.Name)
	}
	sealed, keyID, err := seal(s.Keys, clusterPlace(row.ID), write(cred))
	if err != nil {
		return err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		row, err := lock(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if err := s.take(ctx, tx, row, r.ID); err != nil {
			return err
		}
		if err := takenBy(ctx, tx.Client(), row.ID, r.IdentityUID); err != nil {
			return err
		}
		now, err := install(ctx, row, credential{r.Server, r.Kind, r.Subject, r.CredentialExpiresAt, found, sealed, keyID})
		if err != nil {
			return err
		}
		if now, err = rebuilt(ctx, tx, now, r.IdentityUID); err != nil {
			return err
		}
		if err := happened(ctx, tx, row.ID, CredentialConfirmed); err != nil {
			return err
		}
		e := entry("cluster.confirm_credential", row)
		e.Reason, e.Details = r.Reason, fingerprints(cred, r.Subject)
		e.Details["requested_by"] = r.RequestedBy
		e.Before, e.After = credentialTold(row), credentialTold(now)
		if err := audit.Write(ctx, tx, actor, e); err != nil {
			return err
		}
		return s.answered(ctx, tx, actor, row, r, Confirm)
	})
	if database.Violates(err, "cluster_identity_uid") {
		if e := takenBy(ctx, s.DB.Ent, row.ID, r.IdentityUID); e != nil {
			err = e
		}
	}
	if err == nil {
		s.forget(row.ID.String())
	}
	return err
}

// rebuilt gives a cluster its new identity, and closes it until an admin has
// accepted what became of its VMs. Versions of the old cluster's objects say
// nothing about those of the new one.
func rebuilt(ctx context.Context, tx *ent.Tx, row *ent.Cluster, identity string) (*ent.Cluster, error) {
	reason := domain.Problem{Code: apperr.ErrClusterIdentity, Params: map[string]any{"cluster": row.Name}}
	now, err := row.Update().SetIdentityUID(identity).SetListVersion(0).SetQuarantinedAt(time.Now().UTC()).SetQuarantineReason(reason).ClearQuarantineReport().Save(ctx)
	if err != nil {
		return nil, err
	}
	return now, tx.ClusterEvent.Create().SetClusterID(row.ID).SetKind(clusterevent.KindQuarantine).SetAfter(QuarantineBegun).SetProblem(reason).Exec(ctx)
}

// refuse removes a credential that waits.
func (s *Service) refuse(ctx context.Context, actor domain.Actor, row *ent.Cluster, r *ent.ClusterReplacement, action, event string) error {
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		row, err := lock(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if err := s.take(ctx, tx, row, r.ID); err != nil {
			return err
		}
		if err := dropped(ctx, tx, actor, row, r, action, event); err != nil {
			return err
		}
		answer := Reject
		if event == CredentialWithdrawn {
			answer = Withdraw
		}
		return s.answered(ctx, tx, actor, row, r, answer)
	})
}

// take uses the question up, so that it is answered once.
func (s *Service) take(ctx context.Context, tx *ent.Tx, row *ent.Cluster, id uuid.UUID) error {
	now, err := s.DB.Now(ctx, tx)
	if err != nil {
		return err
	}
	n, err := tx.ClusterReplacement.Delete().Where(clusterreplacement.ID(id), clusterreplacement.ExpiresAtGT(now)).Exec(ctx)
	if err == nil && n == 0 {
		return gone(row)
	}
	return err
}

// answered tells who asked what became of it.
func (s *Service) answered(ctx context.Context, tx *ent.Tx, actor domain.Actor, row *ent.Cluster, r *ent.ClusterReplacement, answer Answer) error {
	if answer == Withdraw {
		return notify(ctx, tx, row.ID)
	}
	err := messages.OrInbox(s.Notify).Notify(ctx, tx, messages.Message{Kind: messages.ClusterRebuiltAnswered, Users: []uuid.UUID{r.RequestedByID}, Params: map[string]any{
		"cluster": row.Name, "cluster_id": row.ID.String(), "by": actor.Username, "answer": string(answer),
	}})
	if err != nil {
		return err
	}
	return database.Notify(ctx, tx, ToldTopics(row.ID)...)
}

// drop removes credentials that wait, of a cluster that tx has locked, with a
// record of each.
func (s *Service) drop(ctx context.Context, tx *ent.Tx, actor domain.Actor, row *ent.Cluster, action, event string, which ...predicate.ClusterReplacement) error {
	list, err := tx.ClusterReplacement.Query().Where(which...).All(ctx)
	if err != nil {
		return err
	}
	for _, r := range list {
		if err := tx.ClusterReplacement.DeleteOne(r).Exec(ctx); err != nil {
			return err
		}
		if err := dropped(ctx, tx, actor, row, r, action, event); err != nil {
			return err
		}
	}
	return nil
}

func dropped(ctx context.Context, tx *ent.Tx, actor domain.Actor, row *ent.Cluster, r *ent.ClusterReplacement, action, event string) error {
	e := entry(action, row)
	e.Details = map[string]any{"server": r.Server, "identity": r.IdentityUID, "requested_by": r.RequestedBy}
	if err := audit.Write(ctx, tx, actor, e); err != nil {
		return err
	}
	return happened(ctx, tx, row.ID, event)
}

// SweepReplacements removes what no second admin answered in a day, and says how
// many there were.
func (s *Service) SweepReplacements(ctx context.Context) (removed int, err error) {
	late, err := s.DB.Ent.ClusterReplacement.Query().Where(clusterreplacement.ExpiresAtLTE(time.Now().UTC())).
		Order(clusterreplacement.ByExpiresAt()).Limit(sweepBatch).All(ctx)
	if err != nil {
		return 0, database.Classify(err)
	}
	for _, r := range late {
		err := s.DB.InTx(ctx, func(tx *ent.Tx) error {
			row, err := lock(ctx, tx, r.ClusterID)
			if err != nil {
				return err
			}
			if err := s.drop(ctx, tx, domain.ShepherdBy(sweepJob), row, "cluster.expire_credential", CredentialDropped, clusterreplacement.ID(r.ID)); err != nil {
				return err
			}
			return notify(ctx, tx, row.ID)
		})
		if err != nil && apperr.CodeOf(err) != apperr.ErrNotFound { // the cluster was removed, and this with it
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// takenBy refuses an identity that another cluster has.
func takenBy(ctx context.Context, c *ent.Client, id uuid.UUID, identity string) error {
	name, err := c.Cluster.Query().Where(cluster.RemovedAtIsNil(), cluster.IdentityUID(identity), cluster.IDNEQ(id)).Select(cluster.FieldName).String(ctx)
	if ent.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return database.Classify(err)
	}
	return apperr.New(apperr.ErrClusterDuplicate).With("cluster", name)
}

func gone(row *ent.Cluster) error {
	return apperr.New(apperr.ErrReplacementGone).With("cluster", row.Name)
}

// otherAdmins are the people who are platform admins, but one.
func (s *Service) otherAdmins(ctx context.Context, c *ent.Client, except string) ([]uuid.UUID, error) {
	if s.Admins == nil {
		return nil, nil
	}
	all, err := s.Admins(ctx, c)
	return slices.DeleteFunc(all, func(id uuid.UUID) bool { return id.String() == except }), err
}

// tellAdmins tells all platform admins but one.
func (s *Service) tellAdmins(ctx context.Context, tx *ent.Tx, except string, m messages.Message) (err error) {
	if m.Users, err = s.otherAdmins(ctx, tx.Client(), except); err != nil {
		return err
	}
	return messages.OrInbox(s.Notify).Notify(ctx, tx, m)
}
