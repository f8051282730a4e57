package cluster

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/ent/clusterdraft"
	"kubevirt-shepherd.io/shepherd/ent/schema"
	"kubevirt-shepherd.io/shepherd/internal/database"
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
	// PreflightContext is the context that was looked through last, and
	// Preflight what was found; "" before.
	PreflightContext string
	Preflight        domain.Preflight
}

// Context is one context of the uploaded file. Its texts come from the file.
type Context struct {
	Name, Cluster, Server string
	Kind, Subject         string
	ExpiresAt             *time.Time
	Refusal               *apperr.AppError  // nil: it can be chosen
	Login                 kubeconfig.Login  // the program that signs in, of a refused one; "" without
	Warnings              []domain.Problem  // of one that can be chosen
	Preflight             *domain.Preflight // nil: nobody has looked through it yet
	Known                 *Known            // the cluster that it leads to, when that is here already
}

// Known is a cluster that was added before.
type Known struct{ ID, Name string }

// Ready says that a cluster can be added through the context.
func (c Context) Ready() bool {
	return c.Refusal == nil && c.Known == nil && c.Preflight != nil && verdict(*c.Preflight) == nil
}

// Mild says that the warnings about a context are of the kind that most have.
func (c Context) Mild() bool {
	return !slices.ContainsFunc(c.Warnings, func(p domain.Problem) bool {
		return p.Code != kubeconfig.WarnNoExpiry && p.Code != kubeconfig.WarnUnknownExpiry && p.Code != kubeconfig.WarnSystemRoots
	})
}

// Refused is the error of a file that is sound and has no context that can be
// used: that of its current context, and each one with its own.
type Refused struct {
	*apperr.AppError
	Contexts []Context
}

// Unwrap gives the error of the current context.
func (e *Refused) Unwrap() error { return e.AppError }

// ReadUpload reads an uploaded kubeconfig and keeps the credentials of its
// usable contexts, sealed, for half an hour. It replaces the draft that the
// admin had. On any error (KUBECONFIG_*) nothing is stored; it is a *Refused when
// only the contexts are at fault.
func (s *Service) ReadUpload(ctx context.Context, actor domain.Actor, fileName string, data []byte) (draftID string, err error) {
	owner, err := drafter(actor)
	if err != nil {
		return "", err
	}
	file, err := kubeconfig.Parse(data, time.Now())
	if e, ok := apperr.From(err); ok && file != nil {
		refused := &Refused{AppError: e}
		for _, c := range file.Contexts {
			refused.Contexts = append(refused.Contexts, contextOf(draftContext(c)))
		}
		return "", refused
	}
	if err != nil {
		return "", err
	}
	id := schema.NewID()
	credentials := map[string]written{}
	contexts := make([]schema.DraftContext, 0, len(file.Contexts))
	for _, c := range file.Contexts {
		if c.Usable() {
			credentials[c.Name] = write(c.Credential)
		}
		contexts = append(contexts, draftContext(c))
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

// draftContext is what may be kept and shown of a context.
func draftContext(c kubeconfig.Context) schema.DraftContext {
	row := schema.DraftContext{
		Name: c.Name, Cluster: c.Cluster, Server: c.Server, Kind: c.Kind, Subject: c.Subject, ExpiresAt: c.ExpiresAt,
		Warnings: c.Warnings, Login: string(c.Login),
	}
	if !c.Usable() {
		row.Refusal, row.Params = c.Refusal.Code, c.Refusal.Params
	}
	return row
}

func contextOf(c schema.DraftContext) Context {
	return Context{
		Name: c.Name, Cluster: c.Cluster, Server: c.Server, Kind: c.Kind, Subject: c.Subject, ExpiresAt: c.ExpiresAt,
		Refusal: refusal(c), Login: kubeconfig.Login(c.Login), Warnings: c.Warnings,
	}
}

// Draft gives the actor's draft. CLUSTER_DRAFT_EXPIRED when it is over, used up
// or somebody else's.
func (s *Service) Draft(ctx context.Context, actor domain.Actor, id string) (Draft, error) {
	row, err := s.draft(ctx, actor, id)
	if err != nil {
		return Draft{}, err
	}
	var uids []string
	for _, p := range row.Preflights {
		uids = append(uids, p.Health.IdentityUID)
	}
	here, err := s.DB.Ent.Cluster.Query().Where(cluster.IdentityUIDIn(uids...)).
		Select(cluster.FieldID, cluster.FieldName, cluster.FieldIdentityUID).All(ctx)
	if err != nil {
		return Draft{}, database.Classify(err)
	}
	known := map[string]*Known{}
	for _, c := range here {
		known[c.IdentityUID] = &Known{c.ID.String(), c.Name}
	}
	d := Draft{
		ID: id, FileName: row.FileName, UploadedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt, Current: row.Current,
		PreflightContext: row.PreflightContext, Preflight: row.Preflights[row.PreflightContext],
	}
	for _, c := range row.Contexts {
		v := contextOf(c)
		if p, ok := row.Preflights[c.Name]; ok {
			v.Preflight, v.Known = &p, known[p.Health.IdentityUID]
			if p.Passed() { // so it is this machine that is meant
				v.Warnings = slices.DeleteFunc(v.Warnings, func(w domain.Problem) bool { return w.Code == kubeconfig.WarnLoopback })
			}
		}
		d.Contexts = append(d.Contexts, v)
	}
	return d, nil
}

// Preflight looks at the cluster through one context of the draft and keeps
// what it finds on the draft. That the cluster does not answer is a result, not
// an error. TOO_MANY_REQUESTS after five in a minute.
func (s *Service) Preflight(ctx context.Context, actor domain.Actor, draftID, contextName string) (domain.Preflight, error) {
	found, next, err := s.look(ctx, actor, draftID, func(row *ent.ClusterDraft) ([]schema.DraftContext, error) {
		chosen, err := choose(row, contextName)
		return []schema.DraftContext{chosen}, err
	})
	if err == nil && len(found) == 0 {
		err = apperr.New(apperr.ErrTooMany).With("wait", max(time.Until(next), 0).Truncate(time.Second)+time.Second)
	}
	return found[contextName], err
}

// PreflightAll looks through all contexts of the draft that can be chosen and
// that nobody has looked through, several at once. At most five in a minute are
// allowed, those of Preflight among them: left says how many have to wait, and
// next from when on the first of them may be.
func (s *Service) PreflightAll(ctx context.Context, actor domain.Actor, draftID string) (left int, next time.Time, err error) {
	wanted := 0
	found, next, err := s.look(ctx, actor, draftID, func(row *ent.ClusterDraft) (list []schema.DraftContext, err error) {
		for _, c := range row.Contexts {
			if _, done := row.Preflights[c.Name]; !done && c.Refusal == "" {
				list = append(list, c)
			}
		}
		wanted = len(list)
		return list, nil
	})
	return wanted - len(found), next, err
}

// look looks through as many of the picked contexts as a minute allows, the
// first ones first, and keeps what it finds. next is when one more is allowed.
func (s *Service) look(ctx context.Context, actor domain.Actor, draftID string, pick func(*ent.ClusterDraft) ([]schema.DraftContext, error)) (found map[string]domain.Preflight, next time.Time, err error) {
	owner, err := drafter(actor)
	if err != nil {
		return nil, time.Time{}, err
	}
	var row *ent.ClusterDraft
	var picked []schema.DraftContext
	err = s.DB.InTx(ctx, func(tx *ent.Tx) error {
		// The lock lets one through at a time, or the count below would be too low.
		if row, err = s.lockDraft(ctx, tx, owner, draftID); err != nil {
			return err
		}
		if picked, err = pick(row); err != nil {
			return err
		}
		var recent []*ent.AuditLog
		recent, err = tx.AuditLog.Query().Where(auditlog.Actor(actor.Username), auditlog.Action(actionPreflight),
			auditlog.CreatedAtGT(time.Now().Add(-preflightWindow))).Order(auditlog.ByCreatedAt()).
			Select(auditlog.FieldCreatedAt).Limit(preflightsAllowed).All(ctx)
		if err != nil {
			return err
		}
		next = time.Now().Add(preflightWindow)
		if len(recent) > 0 {
			next = recent[0].CreatedAt.Add(preflightWindow)
		}
		picked = picked[:min(len(picked), preflightsAllowed-len(recent))]
		for _, c := range picked {
			if err := audit.Write(ctx, tx, actor, audit.Entry{
				Action: actionPreflight, ResourceType: "cluster", ResourceName: c.Server,
				Details: map[string]any{"server": c.Server},
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(picked) == 0 {
		return nil, next, err
	}
	if found, err = s.probe(ctx, row, picked); err != nil {
		return nil, next, err
	}
	return found, next, s.DB.InTx(ctx, func(tx *ent.Tx) error {
		row, err := s.lockDraft(ctx, tx, owner, draftID)
		if err != nil {
			return err
		}
		all := maps.Clone(row.Preflights)
		if all == nil {
			all = map[string]domain.Preflight{}
		}
		maps.Copy(all, found)
		update := row.Update().SetPreflights(all)
		if len(picked) == 1 {
			update.SetPreflightContext(picked[0].Name)
		}
		return update.Exec(ctx)
	})
}

// probe asks the clusters of some contexts, all at once. A panic comes out here,
// where the caller is, and not in a goroutine that would end the process.
func (s *Service) probe(ctx context.Context, row *ent.ClusterDraft, contexts []schema.DraftContext) (map[string]domain.Preflight, error) {
	var credentials map[string]written
	if err := unseal(s.Keys, draftPlace(row.ID), row.KeyID, row.Sealed, &credentials); err != nil {
		return nil, err
	}
	probe, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	results := make([]domain.Preflight, len(contexts))
	var wg sync.WaitGroup
	panics := make([]any, len(contexts))
	for i, c := range contexts {
		wg.Go(func() {
			defer func() { panics[i] = recover() }()
			results[i] = s.Prober.Preflight(probe, credentials[c.Name].credential())
		})
	}
	wg.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
	if err := ctx.Err(); err != nil { // the caller has left: what was found says nothing about the cluster
		return nil, apperr.New(apperr.ErrUnavailable).Because(err)
	}
	found := map[string]domain.Preflight{}
	for i, c := range contexts {
		found[c.Name] = results[i]
	}
	return found, nil
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
