package handlers

import (
	"errors"
	"fmt"
	"io"
	"net/http"
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

// recipe makes a service account for Shepherd; %s is the ClusterRole.
const recipe = `kubectl create namespace kubevirt-shepherd
kubectl -n kubevirt-shepherd create serviceaccount kubevirt-shepherd
kubectl apply -f - <<'YAML'
%s---
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata:
  name: kubevirt-shepherd
  namespace: kubevirt-shepherd
  annotations:
    kubernetes.io/service-account.name: kubevirt-shepherd
YAML
kubectl create clusterrolebinding kubevirt-shepherd --clusterrole=kubevirt-shepherd \
  --serviceaccount=kubevirt-shepherd:kubevirt-shepherd

SERVER=$(kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}')
TOKEN=$(kubectl -n kubevirt-shepherd get secret kubevirt-shepherd -o jsonpath='{.data.token}' | base64 -d)
kubectl -n kubevirt-shepherd get secret kubevirt-shepherd -o jsonpath='{.data.ca\.crt}' | base64 -d > ca.crt
export KUBECONFIG=shepherd.kubeconfig
kubectl config set-cluster shepherd --server="$SERVER" --certificate-authority=ca.crt --embed-certs
kubectl config set-credentials shepherd --token="$TOKEN"
kubectl config set-context shepherd --cluster=shepherd --user=shepherd
kubectl config use-context shepherd
`

// recipeText is the recipe with the ClusterRole that this version needs.
func (s *Server) recipeText() string { return fmt.Sprintf(recipe, s.ClusterRole(nil)) }

// newCluster answers GET /clusters/new.
func (s *Server) newCluster(w http.ResponseWriter, r *http.Request) error {
	return s.kubeconfigForm(w, r, nil)
}

// kubeconfigForm draws the first step, empty or with what was wrong. What was
// uploaded is a secret and never comes back.
func (s *Server) kubeconfigForm(w http.ResponseWriter, r *http.Request, err error) error {
	v := views.ClusterNewView{Commands: s.recipeText()}
	status := http.StatusOK
	if err != nil {
		e := classify(err)
		if e.Code == apperr.ErrTooLarge {
			e = apperr.New(apperr.ErrKubeconfigTooLarge).With("limit", maxKubeconfig)
		}
		switch e.Kind() {
		case apperr.Invalid, apperr.TooLarge:
		default:
			return err
		}
		v.Errors = []ui.FieldError{{Field: "kubeconfig", Label: "Kubeconfig", Message: message(r, e.Code, e.Params).Text()}}
		status = statusOf(e)
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

// clusterForm confirms a draft.
type clusterForm struct {
	Context     string `form:"context" label:"Context" validate:"max=253"`
	Name        string `form:"name" label:"Name" validate:"max=63"`
	Environment string `form:"environment" label:"Environment"`
	Place       string `form:"place" label:"Place" validate:"max=100"`
}

// clusterDraft answers GET /clusters/new/{draft}.
func (s *Server) clusterDraft(w http.ResponseWriter, r *http.Request) error {
	return s.draftForm(w, r, restored(s, w, r, clusterForm{}), 0, nil)
}

// checkClusterDraft answers POST /clusters/new/{draft}/check: it looks at the
// cluster through the chosen context, and stores nothing.
func (s *Server) checkClusterDraft(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[clusterForm](r)
	var took time.Duration
	if err == nil {
		start := time.Now()
		_, err = s.Clusters.Preflight(r.Context(), actor(r), param(r, "draft"), form.Context)
		took = time.Since(start)
	}
	return s.draftForm(w, r, form, took, err)
}

// addCluster answers POST /clusters/new/{draft}.
func (s *Server) addCluster(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[clusterForm](r)
	if err == nil {
		_, err = s.Clusters.Add(r.Context(), actor(r), param(r, "draft"), cluster.Input{
			Context: form.Context, Name: form.Name, Environment: domain.Environment(form.Environment), Place: form.Place,
		})
		if err == nil {
			s.flashLink(r, views.Flash{
				Kind: string(ui.OK), Title: i18n.T(r.Context(), "{name} is added", "name", form.Name),
				Text: i18n.T(r.Context(), "Register a namespace of it, so that systems can be made there."),
				Href: paths.NewNamespace, Link: i18n.T(r.Context(), "Register namespace"),
			})
			return s.redirect(w, r, paths.Clusters)
		}
	}
	return s.draftForm(w, r, form, 0, err)
}

// draftForm draws the second step.
func (s *Server) draftForm(w http.ResponseWriter, r *http.Request, form clusterForm, took time.Duration, err error) error {
	d, draftErr := s.Clusters.Draft(r.Context(), actor(r), param(r, "draft"))
	if draftErr != nil {
		return draftErr
	}
	errs, status, err := draftErrors(r, form, err)
	if err != nil {
		return err
	}
	chosen := chosenContext(d, form.Context)
	if form.Name == "" && r.Method == get && domain.ValidName(chosen) {
		form.Name = chosen
	}
	v := views.ClusterDraftView{
		Draft: d.ID, File: d.FileName, Values: views.ClusterValues{Name: form.Name, Place: form.Place},
		Envs: environmentOptions(r.Context(), form.Environment), Errors: errs, Commands: s.recipeText(),
	}
	for _, c := range d.Contexts {
		v.Contexts = append(v.Contexts, contextChoice(r, s.now(), c, c.Name == chosen))
	}
	found := d.Preflight
	if d.PreflightContext != chosen {
		found = domain.Preflight{}
	}
	v.Preflight = s.preflightView(r, found, subject(d, chosen))
	v.Preflight.Took = took
	sh, err := s.shell(r, i18n.T(r.Context(), "Add cluster"), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.ClusterDraft(sh, v))
}

// draftErrors is rejected for the second step: what the pre-flight found is an
// answer about the cluster, not a fault of ours, so it stays on the form.
func draftErrors(r *http.Request, form clusterForm, err error) ([]ui.FieldError, int, error) {
	if e, ok := apperr.From(err); ok && e.Kind() == apperr.Unavailable && e.Code != apperr.ErrUnavailable {
		return []ui.FieldError{{Field: "context", Label: i18n.T(r.Context(), "Context"), Message: message(r, e.Code, e.Params).Text()}}, http.StatusUnprocessableEntity, nil
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

func subject(d cluster.Draft, context string) string {
	for _, c := range d.Contexts {
		if c.Name == context {
			return c.Subject
		}
	}
	return ""
}

func contextChoice(r *http.Request, now time.Time, c cluster.Context, selected bool) views.ContextChoice {
	v := views.ContextChoice{Name: c.Name, Selected: selected}
	if c.Refusal != nil {
		m := message(r, c.Refusal.Code, c.Refusal.Params)
		v.Refused, v.Text, v.WayOut = true, i18n.Join(m.What, m.Why), m.Next
		return v
	}
	v.Text = c.Server
	if c.Subject != "" {
		v.Text += i18n.T(r.Context(), ", as {subject}", "subject", c.Subject)
	}
	if c.ExpiresAt != nil {
		v.Text += i18n.T(r.Context(), ", ends {when}", "when", ui.Relative(r.Context(), *c.ExpiresAt, now))
		v.Warn = c.ExpiresAt.Sub(now) < cluster.CredentialNotice
	}
	return v
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
	if len(p.Missing) > 0 {
		v.Missing = s.ClusterRole(p.Missing) + binding(subject)
	}
	return v
}

// binding gives the missing permissions to the service account of the
// credential, when it is one: a role alone gives nothing.
func binding(subject string) string {
	account, ok := strings.CutPrefix(subject, "system:serviceaccount:")
	namespace, name, found := strings.Cut(account, ":")
	if !ok || !found || !domain.ValidName(namespace) || !domain.ValidName(name) {
		return ""
	}
	return fmt.Sprintf(`---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: kubevirt-shepherd-missing
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: kubevirt-shepherd-missing
subjects:
  - kind: ServiceAccount
    namespace: %s
    name: %s
`, namespace, name)
}
