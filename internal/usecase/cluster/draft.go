package cluster

import (
	"context"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/clusterdraft"
	"kubevirt-shepherd.io/shepherd/ent/schema"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/kubeconfig"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
)

const (
	draftLifetime     = 30 * time.Minute
	preflightTimeout  = 8 * time.Second
	preflightsAllowed = 5 // per admin and preflightWindow, so that the form is no port scanner
	preflightWindow   = time.Minute
	maxFileName       = 100 // runes

	actionPreflight = "cluster.preflight"
)

// Draft is a cluster that an admin is adding.
type Draft struct {
	ID, FileName          string
	UploadedAt, ExpiresAt time.Time
	Contexts              []Context
	Current               string // name of the file's current context
	// PreflightContext is the context that Preflight looked through, "" before.
	PreflightContext string
	Preflight        domain.Preflight
}

// Context is one context of the uploaded file. Its texts come from the file.
type Context struct {
	Name, Server  string
	Kind, Subject string
	ExpiresAt     *time.Time
	Refusal       *apperr.AppError // nil: it can be chosen
}

// ReadUpload reads an uploaded kubeconfig and keeps the credentials of its
// usable contexts, sealed, for half an hour. It replaces the draft that the
// admin had. On any error (KUBECONFIG_*) nothing is stored.
func (s *Service) ReadUpload(ctx context.Context, actor domain.Actor, fileName string, data []byte) (draftID string, err error) {
	owner, err := drafter(actor)
	if err != nil {
		return "", err
	}
	file, err := kubeconfig.Parse(data, time.Now())
	if err != nil {
		return "", err
	}
	id := schema.NewID()
	credentials := map[string]written{}
	contexts := make([]schema.DraftContext, 0, len(file.Contexts))
	for _, c := range file.Contexts {
		row := schema.DraftContext{Name: c.Name, Server: c.Server, Kind: c.Kind, Subject: c.Subject, ExpiresAt: c.ExpiresAt}
		if c.Usable() {
			credentials[c.Name] = write(c.Credential)
		} else {
			row.Refusal, row.Params = c.Refusal.Code, c.Refusal.Params
		}
		contexts = append(contexts, row)
	}
	sealed, keyID, err := seal(s.Keys, draftPlace(id), credentials)
	if err != nil {
		return "", err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		if _, err := tx.ClusterDraft.Delete().Where(clusterdraft.UserID(owner)).Exec(ctx); err != nil {
			return err
		}
		return tx.ClusterDraft.Create().SetID(id).SetUserID(owner).SetFileName(domain.CleanText(fileName, maxFileName)).
			SetSealed(sealed).SetKeyID(keyID).SetContexts(contexts).SetCurrent(file.Current).
			SetExpiresAt(now.Add(draftLifetime)).Exec(ctx)
	})
	if err != nil {
		return "", err
	}
	return id.String(), nil
}

// Draft gives the actor's draft. CLUSTER_DRAFT_EXPIRED when it is over, used up
// or somebody else's.
func (s *Service) Draft(ctx context.Context, actor domain.Actor, id string) (Draft, error) {
	row, err := s.draft(ctx, actor, id)
	if err != nil {
		return Draft{}, err
	}
	d := Draft{
		ID: id, FileName: row.FileName, UploadedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt, Current: row.Current,
		PreflightContext: row.PreflightContext, Preflight: row.Preflight,
	}
	for _, c := range row.Contexts {
		d.Contexts = append(d.Contexts, Context{
			Name: c.Name, Server: c.Server, Kind: c.Kind, Subject: c.Subject, ExpiresAt: c.ExpiresAt, Refusal: refusal(c),
		})
	}
	return d, nil
}

// Preflight looks at the cluster through one context of the draft and keeps
// what it finds on the draft. That the cluster does not answer is a result, not
// an error. TOO_MANY_REQUESTS after five in a minute.
func (s *Service) Preflight(ctx context.Context, actor domain.Actor, draftID, contextName string) (domain.Preflight, error) {
	owner, err := drafter(actor)
	if err != nil {
		return domain.Preflight{}, err
	}
	var row *ent.ClusterDraft
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		// The lock lets one through at a time, or the count below would be too low.
		if row, err = s.lockDraft(ctx, tx, owner, draftID); err != nil {
			return err
		}
		chosen, err := choose(row, contextName)
		if err != nil {
			return err
		}
		recent, err := tx.AuditLog.Query().Where(auditlog.Actor(actor.Username), auditlog.Action(actionPreflight),
			auditlog.CreatedAtGT(time.Now().Add(-preflightWindow))).Count(ctx)
		if err != nil {
			return err
		}
		if recent >= preflightsAllowed {
			return apperr.New(apperr.ErrTooMany).With("seconds", int(preflightWindow.Seconds()))
		}
		return audit.Write(ctx, tx, actor, audit.Entry{
			Action: actionPreflight, ResourceType: "cluster", ResourceName: chosen.Server,
			Details: map[string]any{"server": chosen.Server},
		})
	})
	if err != nil {
		return domain.Preflight{}, err
	}
	credential, err := s.drafted(row, contextName)
	if err != nil {
		return domain.Preflight{}, err
	}

	probe, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	found := s.Prober.Preflight(probe, credential)
	if err := ctx.Err(); err != nil { // the caller has left: what was found says nothing about the cluster
		return domain.Preflight{}, apperr.New(apperr.ErrUnavailable).Because(err)
	}

	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		n, err := tx.ClusterDraft.Update().Where(clusterdraft.ID(row.ID)).
			SetPreflightContext(contextName).SetPreflight(found).Save(ctx)
		if err == nil && n == 0 {
			return apperr.New(apperr.ErrDraftExpired)
		}
		return err
	})
	return found, err
}

// SweepDrafts removes what nobody confirmed in time, and says how many.
func (s *Service) SweepDrafts(ctx context.Context) (removed int, err error) {
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		now, err := s.DB.Now(ctx, tx)
		if err != nil {
			return err
		}
		removed, err = tx.ClusterDraft.Delete().Where(clusterdraft.ExpiresAtLTE(now)).Exec(ctx)
		return err
	})
	return removed, err
}

// drafter is the id of an admin with an account: drafts belong to people.
func drafter(actor domain.Actor) (uuid.UUID, error) {
	if err := access.Check(actor, domain.ClusterCreate, domain.Object{}); err != nil {
		return uuid.Nil, err
	}
	id, err := uuid.Parse(actor.UserID)
	if err != nil {
		return uuid.Nil, apperr.New(apperr.ErrForbidden)
	}
	return id, nil
}

func (s *Service) draft(ctx context.Context, actor domain.Actor, id string) (row *ent.ClusterDraft, err error) {
	owner, err := drafter(actor)
	if err != nil {
		return nil, err
	}
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		row, err = s.lockDraft(ctx, tx, owner, id)
		return err
	})
	return row, err
}

// lockDraft reads the owner's draft, so that it is used up once only.
func (s *Service) lockDraft(ctx context.Context, tx *ent.Tx, owner uuid.UUID, id string) (*ent.ClusterDraft, error) {
	key, err := uuid.Parse(id)
	if err != nil {
		return nil, apperr.New(apperr.ErrDraftExpired)
	}
	now, err := s.DB.Now(ctx, tx)
	if err != nil {
		return nil, err
	}
	row, err := tx.ClusterDraft.Query().
		Where(clusterdraft.ID(key), clusterdraft.UserID(owner), clusterdraft.ExpiresAtGT(now)).ForUpdate().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrDraftExpired)
	}
	return row, err
}

// choose finds a usable context of a draft; else INVALID_CHOICE or the refusal.
func choose(row *ent.ClusterDraft, name string) (schema.DraftContext, error) {
	for _, c := range row.Contexts {
		if c.Name != name {
			continue
		}
		if e := refusal(c); e != nil {
			return schema.DraftContext{}, e.At("context")
		}
		return c, nil
	}
	return schema.DraftContext{}, apperr.Field("context", apperr.ErrInvalidChoice)
}

func refusal(c schema.DraftContext) *apperr.AppError {
	if c.Refusal == "" {
		return nil
	}
	return withParams(c.Refusal, c.Params)
}

func withParams(code string, params map[string]any) *apperr.AppError {
	e := apperr.New(code)
	for k, v := range params {
		e = e.With(k, v)
	}
	return e
}

// drafted opens the credential of one context of a draft.
func (s *Service) drafted(row *ent.ClusterDraft, name string) (domain.Credential, error) {
	var all map[string]written
	if err := unseal(s.Keys, draftPlace(row.ID), row.KeyID, row.Sealed, &all); err != nil {
		return domain.Credential{}, err
	}
	c, ok := all[name]
	if !ok {
		return domain.Credential{}, apperr.Field("context", apperr.ErrInvalidChoice)
	}
	return c.credential(), nil
}
