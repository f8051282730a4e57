package handlers

import (
	"context"
	"net/http"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// showCredential answers GET /clusters/{cluster}/credential.
func (s *Server) showCredential(w http.ResponseWriter, r *http.Request) error {
	return s.credentialPage(w, r, nil, nil)
}

// credentialPage draws the page of a credential: after an upload that was
// refused, and after an answer to what waits that was not taken.
func (s *Server) credentialPage(w http.ResponseWriter, r *http.Request, uploadErr, answerErr error) error {
	c, err := s.Clusters.StoredCredential(r.Context(), actor(r), param(r, "cluster"))
	if err != nil {
		return err
	}
	ctx := r.Context()
	v := views.ClusterCredentialView{Of: clusterName(c.Cluster), Facts: storedFacts(ctx, s.now(), c), Ending: endingView(ctx, c.Cluster, s.now())}
	if c.Locked != nil {
		v.Locked = problemView(r, domain.Problem{Code: c.Locked.Code, Params: c.Locked.Params})
	}
	var status int
	if v.Errors, status, err = uploadErrors(r, uploadErr); err != nil {
		return err
	}
	var answerErrors []ui.FieldError
	if answerErr != nil {
		if answerErrors, status, err = clusterErrors(r, answerForm{}, answerErr, "answer", ""); err != nil {
			return err
		}
	}
	if c.Waiting != nil {
		v.Waiting = s.replacementView(r, c, *c.Waiting)
		v.Waiting.Errors = answerErrors
	} else {
		v.Errors = append(v.Errors, answerErrors...) // it has gone meanwhile
	}
	sh, err := s.shell(r, i18n.T(ctx, "Credential of {name}", "name", c.Name), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.ClusterCredential(sh, v))
}

func clusterName(c cluster.Cluster) views.ClusterName {
	return views.ClusterName{ID: c.ID, Name: c.Name, Environment: c.Environment}
}

// storedFacts tell what is stored, and nothing of itself.
func storedFacts(ctx context.Context, now time.Time, c cluster.Stored) []views.Fact {
	return []views.Fact{
		{Label: i18n.T(ctx, "Kind"), Value: credentialKind(ctx, c.CredentialKind)},
		{Label: i18n.T(ctx, "Signs in as"), Value: c.CredentialSubject, Mono: true},
		{Label: i18n.T(ctx, "Server"), Value: c.Server, Mono: true},
		{Label: i18n.T(ctx, "Ends"), Value: credentialEnd(ctx, c.CredentialExpiresAt, now)},
		{Label: i18n.T(ctx, "Fingerprint"), Value: c.Fingerprint.Credential, Mono: true},
		{Label: i18n.T(ctx, "Fingerprint of the CA"), Value: authorities(ctx, c.Fingerprint), Mono: true},
		{Label: i18n.T(ctx, "Identity of the cluster"), Value: c.Identity, Mono: true},
		{Label: i18n.T(ctx, "Replaced"), Value: i18n.TN(ctx, c.Generation-1, "{n} time", "{n} times")},
	}
}

func credentialKind(ctx context.Context, kind string) string {
	switch kind {
	case "token":
		return i18n.T(ctx, "bearer token")
	case "certificate":
		return i18n.T(ctx, "client certificate")
	}
	return kind
}

func credentialEnd(ctx context.Context, at *time.Time, now time.Time) string {
	if at == nil {
		return i18n.T(ctx, "never, or it does not say")
	}
	return i18n.T(ctx, "{day} ({when})", "day", at.UTC().Format(time.DateOnly), "when", ui.Relative(ctx, *at, now))
}

// authorities are the fingerprints of a CA; without one the system's roots count.
func authorities(ctx context.Context, f cluster.Fingerprint) string {
	switch {
	case f.Credential == "":
		return ""
	case len(f.Authorities) == 0:
		return i18n.T(ctx, "none: the roots of the system")
	}
	return strings.Join(f.Authorities, ", ")
}

// endingWords say that the credential of a cluster ends soon, or has ended.
func endingWords(ctx context.Context, c cluster.Cluster, e cluster.Ending) string {
	switch {
	case e.Ended:
		return i18n.T(ctx, "The credential of {name} has ended on {day}.", "name", c.Name, "day", e.At.UTC().Format(time.DateOnly))
	default:
		return i18n.TN(ctx, e.Days, "The credential of {name} ends in {n} day, on {day}.", "The credential of {name} ends in {n} days, on {day}.",
			"name", c.Name, "day", e.At.UTC().Format(time.DateOnly))
	}
}

func endingView(ctx context.Context, c cluster.Cluster, now time.Time) *views.EndingView {
	e := c.Ending(now)
	if e == nil {
		return nil
	}
	return &views.EndingView{Text: endingWords(ctx, c, *e), Ended: e.Ended}
}

// credentialProblem is a credential that ends, for the list of clusters.
func credentialProblem(r *http.Request, c cluster.Cluster, now time.Time) (p views.ClusterProblem, ends bool) {
	e := c.Ending(now)
	if e == nil {
		return p, false
	}
	p = views.ClusterProblem{ID: c.ID, What: endingWords(r.Context(), c, *e), Effect: i18n.T(r.Context(), "Replace it before: afterwards Shepherd cannot sign in."), Severe: e.Ended, Href: paths.ClusterCredential(c.ID)}
	if e.Ended {
		p.Effect = i18n.T(r.Context(), "Shepherd cannot sign in with it any more. Requests wait until it is replaced.")
	}
	return p, true
}

// credentialEvent is a line about the credential in the timeline of a cluster.
func credentialEvent(ctx context.Context, before, after string) string {
	switch after {
	case cluster.CredentialReplaced:
		return i18n.T(ctx, "The credential was replaced")
	case cluster.CredentialProposed:
		return i18n.T(ctx, "A credential of a rebuilt cluster waits for a second admin")
	case cluster.CredentialConfirmed:
		return i18n.T(ctx, "A second admin confirmed that the cluster was rebuilt")
	case cluster.CredentialRejected:
		return i18n.T(ctx, "The credential of a rebuilt cluster was rejected")
	case cluster.CredentialWithdrawn:
		return i18n.T(ctx, "The credential of a rebuilt cluster was withdrawn")
	case cluster.CredentialDropped:
		return i18n.T(ctx, "Nobody confirmed the credential of a rebuilt cluster")
	case cluster.CredentialWarned:
		day, _, _ := strings.Cut(before, "T")
		return i18n.T(ctx, "Admins were told that the credential ends on {day}", "day", day)
	}
	return after
}

// uploadCredential answers POST /clusters/{cluster}/credential.
func (s *Server) uploadCredential(w http.ResponseWriter, r *http.Request) error {
	name, data, err := uploaded(r)
	if err == nil {
		var draft string
		if draft, err = s.Clusters.ReadUpload(r.Context(), actor(r), name, data); err == nil {
			return s.redirect(w, r, paths.ClusterCredentialDraft(param(r, "cluster"), draft))
		}
	}
	return s.credentialPage(w, r, err, nil)
}

// credentialForm is the second step of replacing a credential.
type credentialForm struct {
	Context string `form:"context" label:"Context" validate:"max=253"`
	Reason  string `form:"reason" label:"Why it was rebuilt" validate:"max=500"`
	Do      string `form:"do"`
}

// credentialDraft answers GET /clusters/{cluster}/credential/{draft}.
func (s *Server) credentialDraft(w http.ResponseWriter, r *http.Request) error {
	return s.credentialDraftForm(w, r, restored(s, w, r, credentialForm{}), 0, nil)
}

// checkCredential answers POST /clusters/{cluster}/credential/{draft}/check: it
// looks at the cluster through the chosen context, and stores nothing.
func (s *Server) checkCredential(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[credentialForm](r)
	var took time.Duration
	if err == nil {
		start := time.Now()
		_, err = s.Clusters.Preflight(r.Context(), actor(r), param(r, "draft"), form.Context)
		took = time.Since(start)
	}
	return s.credentialDraftForm(w, r, form, took, err)
}

// replaceCredential answers POST /clusters/{cluster}/credential/{draft}.
func (s *Server) replaceCredential(w http.ResponseWriter, r *http.Request) error {
	id, draft := param(r, "cluster"), param(r, "draft")
	form, err := decode[credentialForm](r)
	if err != nil {
		return s.credentialDraftForm(w, r, form, 0, err)
	}
	replaced := true
	switch form.Do {
	case "replace":
		err = s.Clusters.ReplaceCredential(r.Context(), actor(r), id, draft, form.Context)
	case "propose":
		var proposed bool
		proposed, err = s.Clusters.ProposeCredential(r.Context(), actor(r), id, draft, form.Context, form.Reason)
		replaced = !proposed
	default: // Enter in a field replaces nothing
		return s.credentialDraftForm(w, r, form, 0, nil)
	}
	if err != nil {
		return s.credentialDraftForm(w, r, form, 0, err)
	}
	if replaced {
		s.flash(r, ui.OK, i18n.T(r.Context(), "The credential is replaced"), i18n.T(r.Context(), "Shepherd works with the new one from now on."))
	} else {
		s.flash(r, ui.OK, i18n.T(r.Context(), "The other platform admins are told"), i18n.T(r.Context(), "The credential is used when one of them confirms it."))
	}
	return s.redirect(w, r, paths.ClusterCredential(id))
}

// credentialDraftForm draws the second step.
func (s *Server) credentialDraftForm(w http.ResponseWriter, r *http.Request, form credentialForm, took time.Duration, err error) error {
	d, draftErr := s.Clusters.Draft(r.Context(), actor(r), param(r, "draft"))
	if draftErr != nil {
		return draftErr
	}
	c, storedErr := s.Clusters.StoredCredential(r.Context(), actor(r), param(r, "cluster"))
	if storedErr != nil {
		return storedErr
	}
	errs, status, err := clusterErrors(r, form, err, "context", i18n.T(r.Context(), "Context"))
	if err != nil {
		return err
	}
	offered := contextOf(d, chosenContext(d, form.Context))
	chosen, seen := offered.Name, found(offered)
	v := views.ClusterCredentialDraftView{
		Of: clusterName(c.Cluster), Draft: d.ID, File: d.FileName, Reason: form.Reason, Errors: errs,
		Preflight: s.preflightView(r, seen, offered.Subject),
	}
	v.Took = took
	for _, c := range d.Contexts {
		choice := contextChoice(r, s.now(), c, c.Name == chosen)
		if c.Refusal != nil {
			choice.Text = message(r, c.Refusal.Code, c.Refusal.Params).Text()
		}
		v.Contexts = append(v.Contexts, choice)
	}
	if chosen != "" {
		compared, err := s.Clusters.Compare(r.Context(), actor(r), c.ID, d.ID, chosen)
		if err != nil {
			return err
		}
		v.Outcome, v.Elsewhere, v.Unchanged, v.Others = outcome(seen, compared), compared.Other, compared.Unchanged, compared.Others
		v.Rows = compareRows(r.Context(), s.now(), c, offer{
			offered.Kind, offered.Subject, offered.Server, offered.ExpiresAt, compared.Fingerprint, compared.Identity, rights(r.Context(), seen),
		})
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Credential of {name}", "name", c.Name), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.ClusterCredentialDraft(sh, v))
}

// outcome says what a context leads to, as far as it was looked through.
func outcome(found domain.Preflight, c cluster.Comparison) views.CredentialOutcome {
	switch {
	case len(found.Checks) == 0:
		return views.OutcomeUnchecked
	case !found.Passed() || c.Identity == "":
		return views.OutcomeFailed
	case c.Same:
		return views.OutcomeSame
	case c.Other != "":
		return views.OutcomeElsewhere
	}
	return views.OutcomeRebuilt
}

// offer is a new credential, to be held against the one in use.
type offer struct {
	kind, subject, server string
	ends                  *time.Time
	print                 cluster.Fingerprint
	identity, rights      string // "": not known yet
}

// rights says in a few words what the checks found that the credential may do.
func rights(ctx context.Context, p domain.Preflight) string {
	switch {
	case len(p.Checks) == 0 || p.Health.IdentityUID == "" && len(p.Missing) == 0:
		return i18n.T(ctx, "not checked yet")
	case len(p.Missing) > 0:
		return i18n.TN(ctx, len(p.Missing), "{n} permission is missing", "{n} permissions are missing")
	case len(p.Excess) > 0:
		return i18n.T(ctx, "all that Shepherd needs, and more")
	}
	return i18n.T(ctx, "all that Shepherd needs")
}

func compareRows(ctx context.Context, now time.Time, c cluster.Stored, o offer) []views.CompareRow {
	identity := views.CompareRow{Label: i18n.T(ctx, "Identity of the cluster"), Before: c.Identity, After: o.identity, Mono: true}
	if o.identity != "" && o.identity != c.Identity {
		identity.Mark = "bad"
	}
	ends := views.CompareRow{Label: i18n.T(ctx, "Ends"), Before: credentialEnd(ctx, c.CredentialExpiresAt, now), After: credentialEnd(ctx, o.ends, now)}
	if o.ends != nil && (o.ends.Sub(now) < cluster.CredentialNotice || c.CredentialExpiresAt != nil && o.ends.Before(*c.CredentialExpiresAt)) {
		ends.Mark = "warn"
	}
	return []views.CompareRow{
		identity,
		{Label: i18n.T(ctx, "Server"), Before: c.Server, After: o.server, Mono: true},
		{Label: i18n.T(ctx, "Kind"), Before: credentialKind(ctx, c.CredentialKind), After: credentialKind(ctx, o.kind)},
		{Label: i18n.T(ctx, "Signs in as"), Before: c.CredentialSubject, After: o.subject, Mono: true},
		{Label: i18n.T(ctx, "Rights"), Before: rightsInUse(ctx, c.Cluster), After: o.rights},
		ends,
		{Label: i18n.T(ctx, "Fingerprint"), Before: c.Fingerprint.Credential, After: o.print.Credential, Mono: true},
		{Label: i18n.T(ctx, "Fingerprint of the CA"), Before: authorities(ctx, c.Fingerprint), After: authorities(ctx, o.print), Mono: true},
	}
}

// rightsInUse is what the last check says of the credential in use.
func rightsInUse(ctx context.Context, c cluster.Cluster) string {
	switch {
	case c.Reason.Code == apperr.ErrPermissionsMissing, c.Reason.Code == apperr.ErrClusterForbidden:
		return i18n.T(ctx, "some permissions are missing")
	case c.Status == domain.ClusterHealthy:
		return i18n.T(ctx, "all that Shepherd needs")
	}
	return i18n.T(ctx, "not known now")
}

func (s *Server) replacementView(r *http.Request, c cluster.Stored, w cluster.Replacement) *views.ReplacementView {
	v := &views.ReplacementView{
		ID: w.ID, By: w.RequestedBy, Reason: w.Reason, At: w.At, Until: w.ExpiresAt, Own: w.Own,
		Rows: compareRows(r.Context(), s.now(), c, offer{w.Kind, w.Subject, w.Server, w.EndsAt, w.Fingerprint, w.Identity, rights(r.Context(), w.Preflight)}),
	}
	for _, e := range w.Preflight.Excess {
		v.Excess = append(v.Excess, excessText(r.Context(), e))
	}
	return v
}

// answerForm answers a credential that waits: confirm, reject or withdraw.
type answerForm struct {
	Replacement string `form:"replacement" validate:"max=40"`
	Do          string `form:"do" validate:"max=20"`
}

// answerReplacement answers POST /clusters/{cluster}/replacement.
func (s *Server) answerReplacement(w http.ResponseWriter, r *http.Request) error {
	id := param(r, "cluster")
	form, err := decode[answerForm](r)
	if err == nil {
		err = s.Clusters.AnswerReplacement(r.Context(), actor(r), id, form.Replacement, cluster.Answer(form.Do))
	}
	if err != nil {
		return s.credentialPage(w, r, nil, err)
	}
	switch cluster.Answer(form.Do) {
	case cluster.Confirm:
		s.flash(r, ui.Warn, i18n.T(r.Context(), "The cluster has its new identity and is in quarantine"), i18n.T(r.Context(), "Nothing is changed there until an admin has accepted what became of its VMs."))
		return s.redirect(w, r, paths.Cluster(id))
	case cluster.Reject:
		s.flash(r, ui.OK, i18n.T(r.Context(), "The new credential is rejected"), "")
	default:
		s.flash(r, ui.OK, i18n.T(r.Context(), "The new credential is withdrawn"), "")
	}
	return s.redirect(w, r, paths.ClusterCredential(id))
}

// lockoutView says why credentials do not open, and what to do.
func lockoutView(ctx context.Context, l domain.Lockout) *views.LockoutView {
	v := views.LockoutView{Next: i18n.T(ctx, "Put the right key file back and restart Shepherd. Until then pages show what was last known, approved requests wait, no cluster can be added, and nothing that is stored is overwritten.")}
	switch {
	case l.Unreadable:
		v.Why = i18n.T(ctx, "There is no key file, or it cannot be read. The log of the start says why.")
	case len(l.Missing) > 0 && len(l.Wrong) > 0:
		v.Why = i18n.T(ctx, "The key file lacks {missing}, and has other keys than those that sealed the credentials under {wrong}.", "missing", l.Missing, "wrong", l.Wrong)
	case len(l.Missing) > 0:
		v.Why = i18n.T(ctx, "The key file lacks {missing}, which sealed credentials that are stored.", "missing", l.Missing)
	default:
		v.Why = i18n.T(ctx, "The key file has other keys than those that sealed the credentials under {wrong}.", "wrong", l.Wrong)
	}
	return &v
}
