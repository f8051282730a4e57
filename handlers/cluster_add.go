package handlers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
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

// maxRecipes is how many refused contexts of a file get commands of their own:
// each has the whole ClusterRole in it.
const maxRecipes = 20

// newCluster answers GET /clusters/new.
func (s *Server) newCluster(w http.ResponseWriter, r *http.Request) error {
	return s.kubeconfigForm(w, r, nil)
}

// kubeconfigForm draws the first step, empty or with what was wrong. What was
// uploaded is a secret and never comes back.
func (s *Server) kubeconfigForm(w http.ResponseWriter, r *http.Request, err error) error {
	v := views.ClusterNewView{Commands: cluster.Recipe(s.ClusterRole(nil, ""))}
	errs, status, unknown := uploadErrors(r, err)
	if unknown != nil {
		return unknown
	}
	v.Errors = errs
	if refused := (*cluster.Refused)(nil); errors.As(err, &refused) {
		v.Refused = s.refusedContexts(r, refused.Contexts)
		if len(v.Refused) > 1 { // not only the one of the error
			v.Errors[0].Message = i18n.T(r.Context(), "No context of this file can be used. For each of them this page says why, and what to do.")
		}
	}
	for _, k := range preflightChecks {
		v.Checks = append(v.Checks, checkView(r, domain.Check{ID: k.id, State: domain.CheckNotRun}))
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Add cluster"), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.ClusterNew(sh, v))
}

// uploadKubeconfig answers POST /clusters/new.
func (s *Server) uploadKubeconfig(w http.ResponseWriter, r *http.Request) error {
	name, data, err := uploaded(r)
	if err == nil {
		var draft string
		if draft, err = s.Clusters.ReadUpload(r.Context(), actor(r), name, data); err == nil {
			return s.redirect(w, r, paths.ClusterDraft(draft))
		}
	}
	return s.kubeconfigForm(w, r, err)
}

// uploaded reads the file, or the text that was pasted instead.
func uploaded(r *http.Request) (name string, data []byte, err error) {
	if err := parse(r); err != nil {
		return "", nil, err
	}
	for field, values := range r.PostForm {
		// A file field that was left empty comes as a text field without text.
		if empty := field == "kubeconfig" && slices.Equal(values, []string{""}); field != "text" && !empty {
			return "", nil, apperr.New(apperr.ErrForbiddenField).With("field", domain.CleanText(field, 40))
		}
	}
	name, data = i18n.T(r.Context(), "pasted text"), []byte(r.PostForm.Get("text"))
	file, header, err := r.FormFile("kubeconfig")
	switch {
	case errors.Is(err, http.ErrMissingFile), errors.Is(err, http.ErrNotMultipart):
		return name, data, nil
	case err != nil:
		return "", nil, err
	}
	defer func() { _ = file.Close() }()
	if header.Size == 0 && len(data) > 0 {
		return name, data, nil
	}
	data, err = io.ReadAll(file) // the body was limited before
	return header.Filename, data, err
}

// uploadErrors is rejected for an uploaded kubeconfig, none of which comes back.
func uploadErrors(r *http.Request, err error) ([]ui.FieldError, int, error) {
	if err == nil {
		return nil, http.StatusOK, nil
	}
	e := classify(err)
	if e.Code == apperr.ErrTooLarge {
		e = apperr.New(apperr.ErrKubeconfigTooLarge).With("limit", maxKubeconfig)
	}
	if e.Kind() != apperr.Invalid && e.Kind() != apperr.TooLarge {
		return nil, 0, err
	}
	return []ui.FieldError{{Field: "kubeconfig", Label: "Kubeconfig", Message: message(r, e.Code, e.Params).Text()}}, statusOf(e), nil
}

// clusterForm confirms a draft.
type clusterForm struct {
	Context     string `form:"context,raw" label:"Context" validate:"max=1100"` // as the file has it
	Name        string `form:"name" label:"Name" validate:"max=63"`
	Environment string `form:"environment" label:"Environment"`
	Place       string `form:"place" label:"Place" validate:"max=100"`
	Suggested   string `form:"suggested,raw"` // the context that the other fields were proposed for
	Look        string `form:"look"`          // through all contexts, or once: only when nobody has looked yet
}

// clusterDraft answers GET /clusters/new/{draft}.
func (s *Server) clusterDraft(w http.ResponseWriter, r *http.Request) error {
	return s.draftForm(w, r, restored(s, w, r, clusterForm{}), checking{}, nil)
}

// checking is what a request has asked the clusters of a draft.
type checking struct {
	took    time.Duration
	waiting bool      // for the rest of the contexts
	next    time.Time // until then
}

// checkClusterDraft answers POST /clusters/new/{draft}/check: it looks at the
// cluster through the chosen context, or through all, and stores nothing but
// what it finds.
func (s *Server) checkClusterDraft(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[clusterForm](r)
	var c checking
	if err == nil {
		c, err = s.check(r, form)
	}
	return s.draftForm(w, r, form, c, err)
}

// check asks the clusters that a form wants to be asked.
func (s *Server) check(r *http.Request, form clusterForm) (c checking, err error) {
	ctx, who, draft := r.Context(), actor(r), param(r, "draft")
	if form.Look == "once" {
		d, err := s.Clusters.Draft(ctx, who, draft)
		if err != nil || contextOf(d, form.Context).Preflight != nil {
			return c, err
		}
	}
	start := time.Now()
	if form.Look == "all" {
		var left int
		left, c.next, err = s.Clusters.PreflightAll(ctx, who, draft)
		c.waiting = left > 0
	} else {
		_, err = s.Clusters.Preflight(ctx, who, draft, form.Context)
	}
	c.took = time.Since(start)
	return c, err
}

// addCluster answers POST /clusters/new/{draft}.
func (s *Server) addCluster(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[clusterForm](r)
	if err == nil {
		var id string
		id, err = s.Clusters.Add(r.Context(), actor(r), param(r, "draft"), cluster.Input{
			Context: form.Context, Name: form.Name, Environment: domain.Environment(form.Environment), Place: form.Place,
		})
		if err == nil {
			s.flashLink(r, views.Flash{
				Kind: string(ui.OK), Title: i18n.T(r.Context(), "{name} is added", "name", form.Name),
				Text: i18n.T(r.Context(), "Register a namespace of it, so that systems can be made there."),
				Href: paths.NewNamespace + "?cluster=" + url.QueryEscape(id), Link: i18n.T(r.Context(), "Register namespace"),
			})
			return s.redirect(w, r, paths.Clusters)
		}
	}
	return s.draftForm(w, r, form, checking{}, err)
}

// draftForm draws the second step.
func (s *Server) draftForm(w http.ResponseWriter, r *http.Request, form clusterForm, check checking, err error) error {
	d, draftErr := s.Clusters.Draft(r.Context(), actor(r), param(r, "draft"))
	if draftErr != nil {
		return draftErr
	}
	errs, status, err := clusterErrors(r, form, err, "context", i18n.T(r.Context(), "Context"))
	if err != nil {
		return err
	}
	chosen := contextOf(d, chosenContext(d, form.Context))
	v := views.ClusterDraftView{
		Draft: d.ID, File: d.FileName, Ends: &d.ExpiresAt, Errors: errs, Commands: chosen.Recipe(s.ClusterRole(nil, "")),
		Preflight: s.preflightView(r, found(chosen), chosen.Subject),
	}
	if adding := r.Method == post && !strings.HasSuffix(r.URL.Path, "/check"); !adding {
		if v.Fresh, err = s.propose(r, d, chosen.Name, &form); err != nil {
			return err
		}
		for _, e := range errs { // in a part of the page, the summary of errors is not seen
			v.Note = i18n.Join(v.Note, e.Message)
		}
	}
	v.Values = views.ClusterValues{Name: form.Name, Place: form.Place, Suggested: form.Suggested}
	v.Envs = environmentOptions(r.Context(), form.Environment)
	v.Context, v.Took, v.Waiting, v.Next = chosen.Name, check.took, check.waiting, check.next
	v.CanAdd, v.Mild = chosen.Ready(), chosen.Mild()
	if chosen.Known != nil {
		v.Known, v.KnownName = chosen.Known.ID, chosen.Known.Name
	}
	for _, p := range chosen.Warnings {
		v.Warnings = append(v.Warnings, i18n.Text(lang(r), p.Code, p.Params))
	}
	for _, c := range d.Contexts {
		v.Contexts = append(v.Contexts, contextChoice(r, s.now(), c, c.Name == chosen.Name))
		if c.Refusal == nil && c.Preflight == nil {
			v.Unchecked++
		}
	}
	v.Refused = s.refusedContexts(r, d.Contexts)
	taken, err := s.Clusters.NameTaken(r.Context(), actor(r), form.Name)
	if err != nil {
		return err
	}
	if taken && v.Known == "" { // else that matters more
		v.NameTaken = form.Name
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Add cluster"), "clusters")
	if err != nil {
		return err
	}
	if status == http.StatusTooManyRequests { // which HTMX would take for an error to show elsewhere
		w.Header().Set("HX-Retarget", "#checks")
		w.Header().Set("HX-Reswap", "outerHTML")
	}
	return s.page(w, r, status, views.ClusterDraft(sh, v))
}

// propose fills the fields in which nobody has typed anything with what the
// chosen context suggests, and says whether that changed them.
func (s *Server) propose(r *http.Request, d cluster.Draft, chosen string, form *clusterForm) (changed bool, err error) {
	if form.Suggested == chosen {
		return false, nil
	}
	before, err := s.Clusters.Suggest(r.Context(), actor(r), d, form.Suggested)
	if err != nil {
		return false, err
	}
	now, err := s.Clusters.Suggest(r.Context(), actor(r), d, chosen)
	if err != nil {
		return false, err
	}
	for _, f := range []struct {
		typed       *string
		before, now string
	}{
		{&form.Name, before.Name, now.Name},
		{&form.Environment, string(before.Environment), string(now.Environment)},
		{&form.Place, before.Place, now.Place},
	} {
		if *f.typed == f.before && *f.typed != f.now {
			*f.typed, changed = f.now, true
		}
	}
	form.Suggested = chosen
	return changed, nil
}

// clusterErrors is rejected for what a cluster was asked for: what it says, or
// that it does not answer, is no fault of ours, so it stays on the form, at field.
func clusterErrors(r *http.Request, form any, err error, field, label string) ([]ui.FieldError, int, error) {
	if e, ok := apperr.From(err); ok && e.Kind() == apperr.Unavailable && e.Code != apperr.ErrUnavailable {
		return []ui.FieldError{{Field: field, Label: label, Message: message(r, e.Code, e.Params).Text()}}, http.StatusUnprocessableEntity, nil
	}
	return rejected(r, form, err)
}

// chosenContext is the context that the form shows as chosen: the one that was
// sent, looked at before, or that the file names; else the first that can be.
func chosenContext(d cluster.Draft, sent string) string {
	for _, name := range []string{sent, d.PreflightContext, d.Current} {
		if slices.ContainsFunc(d.Contexts, func(c cluster.Context) bool { return c.Name == name && c.Refusal == nil }) {
			return name
		}
	}
	for _, c := range d.Contexts {
		if c.Refusal == nil {
			return c.Name
		}
	}
	return ""
}

// contextOf is the context of that name, or none.
func contextOf(d cluster.Draft, name string) cluster.Context {
	for _, c := range d.Contexts {
		if c.Name == name {
			return c
		}
	}
	return cluster.Context{}
}

// found is what was found through a context.
func found(c cluster.Context) domain.Preflight {
	if c.Preflight == nil {
		return domain.Preflight{}
	}
	return *c.Preflight
}

func contextChoice(r *http.Request, now time.Time, c cluster.Context, selected bool) views.ContextChoice {
	v := views.ContextChoice{Name: c.Name, Selected: selected}
	if c.Refusal != nil {
		m := message(r, c.Refusal.Code, c.Refusal.Params)
		v.Refused, v.Text = true, m.What
		return v
	}
	v.Text, v.Verdict = c.Server, verdict(r.Context(), c)
	if c.Subject != "" {
		v.Text += i18n.T(r.Context(), ", as {subject}", "subject", c.Subject)
	}
	if c.ExpiresAt != nil {
		v.Text += i18n.T(r.Context(), ", ends {when}", "when", ui.Relative(r.Context(), *c.ExpiresAt, now))
		v.Warn = c.ExpiresAt.Sub(now) < cluster.CredentialNotice
	}
	return v
}

// verdict is in a few words what was found through a context; without a label
// nobody has looked yet.
func verdict(ctx context.Context, c cluster.Context) ui.StatusView {
	if c.Preflight == nil {
		return ui.StatusView{}
	}
	count := map[domain.CheckState]int{}
	for _, check := range c.Preflight.Checks {
		count[check.State]++
	}
	switch {
	case c.Known != nil:
		return ui.StatusView{Label: i18n.T(ctx, "Already here, as {name}", "name", c.Known.Name), Role: ui.Bad, Glyph: "failed"}
	case !c.Ready():
		return ui.StatusView{Label: i18n.T(ctx, "{n} to fix", "n", max(count[domain.CheckFailed], 1)), Role: ui.Bad, Glyph: "failed"}
	case count[domain.CheckWarn] > 0:
		return ui.StatusView{Label: i18n.TN(ctx, count[domain.CheckWarn], "Ready to add, {n} warning", "Ready to add, {n} warnings"), Role: ui.Warn, Glyph: "warn"}
	}
	return ui.StatusView{Label: i18n.T(ctx, "Ready to add"), Role: ui.OK, Glyph: "running"}
}

// refusedContexts are the refused ones among some contexts, with the ways out.
func (s *Server) refusedContexts(r *http.Request, contexts []cluster.Context) []views.RefusedContext {
	var list []views.RefusedContext
	for _, c := range contexts {
		if c.Refusal == nil {
			continue
		}
		m := message(r, c.Refusal.Code, c.Refusal.Params)
		v := views.RefusedContext{
			Name: c.Name, Server: c.Server, Why: i18n.Join(m.What, m.Why), WayOut: m.Next,
			Access: c.AdminAccess(), NeedsAddress: c.NeedsAddress(), Nameless: c.Nameless(),
		}
		if c.Refusal.Code == apperr.ErrKubeconfigFilePath {
			v.Export = c.Export()
		}
		if len(list) < maxRecipes {
			v.Commands = c.Recipe(s.ClusterRole(nil, ""))
		}
		list = append(list, v)
	}
	return list
}

func (s *Server) preflightView(r *http.Request, p domain.Preflight, subject string) views.Preflight {
	v := views.Preflight{CanAdd: p.Passed()}
	if len(p.Checks) == 0 {
		for _, k := range preflightChecks {
			p.Checks = append(p.Checks, domain.Check{ID: k.id, State: domain.CheckNotRun})
		}
	}
	for _, c := range p.Checks {
		v.Checks = append(v.Checks, checkView(r, c))
	}
	for _, e := range p.Excess {
		v.Excess = append(v.Excess, excessText(r.Context(), e))
	}
	switch lacks := slices.Concat(p.Missing, p.Optional); {
	case len(p.Missing) > 0: // who adds those adds the others too
		v.Missing = s.ClusterRole(lacks, subject)
	case len(lacks) > 0:
		v.Optional = s.ClusterRole(lacks, subject)
	}
	return v
}
