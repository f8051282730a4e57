package handlers

import (
	"cmp"
	"context"
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

// expiryNotice is how long before its end a credential is pointed out.
const expiryNotice = 30 * 24 * time.Hour

// preflightChecks are the checks in their order, with what each looks at.
var preflightChecks = []struct{ id, looks string }{
	{"reachable", i18n.N("The portal can open a connection to the API server.")},
	{"tls", i18n.N("The certificate is signed by the CA in the kubeconfig and made for this address.")},
	{"credentials", i18n.N("The cluster accepts the credential.")},
	{"kubernetes", i18n.N("Version and nodes.")},
	{"kubevirt", i18n.N("KubeVirt is installed and ready.")},
	{"storage", i18n.N("There is a storage class, and one is the default.")},
	{"permissions", i18n.N("The credential may do all that Shepherd needs, and not much more.")},
}

// excessWords says what a permission that is too much allows.
var excessWords = map[string]string{
	"*":           i18n.N("do everything in the whole cluster"),
	"secrets":     i18n.N("read every Secret"),
	"impersonate": i18n.N("act as somebody else"),
}

func excessText(ctx context.Context, permission string) string {
	if words, ok := excessWords[permission]; ok {
		return i18n.T(ctx, words)
	}
	return permission
}

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

// listClusters answers GET /clusters.
func (s *Server) listClusters(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Clusters.List(r.Context(), actor(r), cluster.Page{After: r.URL.Query().Get("after"), Limit: maxRows})
	if err != nil {
		return err
	}
	spaces, err := s.namespacesByCluster(r)
	if err != nil {
		return err
	}
	v := views.ClustersView{
		Self: r.URL.RequestURI(), Total: len(list.Items), DemoProgress: s.Demo(), CanAdd: mayOn(r, domain.ClusterCreate), CheckEvery: s.CheckEvery,
		Pager: pager(r, "", list.Next),
	}
	for _, c := range list.Items {
		v.Rows = append(v.Rows, clusterRow(r, c, len(spaces[c.ID])))
		if c.Status == domain.ClusterUnreachable || c.Status == domain.ClusterUnhealthy {
			v.Problems = append(v.Problems, clusterProblem(r, c))
		}
	}
	slices.SortStableFunc(v.Rows, func(a, b views.ClusterRow) int { return cmp.Compare(severity(a.Status), severity(b.Status)) })
	sh, err := s.shell(r, i18n.T(r.Context(), "Clusters"), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Clusters(sh, v))
}

// severity puts the worst first.
func severity(s domain.ClusterStatus) int {
	return slices.Index([]domain.ClusterStatus{domain.ClusterUnreachable, domain.ClusterUnhealthy, domain.ClusterUnknown, domain.ClusterHealthy}, s)
}

func clusterRow(r *http.Request, c cluster.Cluster, namespaces int) views.ClusterRow {
	row := views.ClusterRow{
		ID: c.ID, Name: c.Name, Place: c.Place, Status: c.Status, Why: problemText(r, c.Reason), CheckedAt: c.CheckedAt,
		Environment: c.Environment, KubeVirt: c.KubeVirtVersion, Kubernetes: c.KubernetesVersion, Features: c.Features,
		VMs: c.VMs, Namespaces: namespaces, Stale: c.Status == domain.ClusterUnreachable,
	}
	switch {
	case row.Why != "":
	case c.Status == domain.ClusterHealthy && c.Nodes > 0:
		row.Why = i18n.TN(r.Context(), c.Nodes, "{ready} of {n} node ready", "{ready} of {n} nodes ready", "ready", c.ReadyNodes)
	case c.Status == domain.ClusterHealthy:
		row.Why = i18n.T(r.Context(), "All checks passed")
	case c.Status == domain.ClusterUnknown:
		row.Why = i18n.T(r.Context(), "The first check is under way")
	}
	if !c.Enabled {
		row.Why = i18n.Join(i18n.T(r.Context(), "Takes no new VMs."), row.Why)
	}
	return row
}

func clusterProblem(r *http.Request, c cluster.Cluster) views.ClusterProblem {
	m := message(r, c.Reason.Code, with(c.Reason.Params, "cluster", c.Name))
	p := views.ClusterProblem{ID: c.ID, What: m.What, Severe: c.Status == domain.ClusterUnreachable}
	if p.Severe {
		p.Effect = i18n.TN(r.Context(), c.VMs, "What is shown of {n} VM there is the last known state. Approved requests wait.",
			"What is shown of {n} VMs there is the last known state. Approved requests wait.")
	} else {
		p.Effect = i18n.T(r.Context(), "VMs keep running. It gets no new ones until this is repaired.")
	}
	return p
}

// with is a copy of params with one more.
func with(params map[string]any, key string, value any) map[string]any {
	all := map[string]any{key: value}
	for k, v := range params {
		all[k] = v
	}
	return all
}

// showCluster answers GET /clusters/{cluster}.
func (s *Server) showCluster(w http.ResponseWriter, r *http.Request) error {
	c, err := s.Clusters.Get(r.Context(), actor(r), param(r, "cluster"))
	if err != nil {
		return err
	}
	spaces, err := s.namespacesByCluster(r)
	if err != nil {
		return err
	}
	v := views.ClusterView{
		Self: r.URL.RequestURI(), Row: clusterRow(r, c, len(spaces[c.ID])), Problem: problemView(r, c.Reason), Facts: clusterFacts(r.Context(), s.now(), c),
		Checks: healthChecks(r, c), Namespaces: spaces[c.ID], CanCheck: mayOn(r, domain.ClusterCheck), CanRegister: mayOn(r, domain.NamespaceCreate),
	}
	sh, err := s.shell(r, c.Name, "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Cluster(sh, v))
}

func clusterFacts(ctx context.Context, now time.Time, c cluster.Cluster) []views.Fact {
	facts := []views.Fact{
		{Label: i18n.T(ctx, "Server"), Value: c.Server, Mono: true},
		{Label: "Kubernetes", Value: c.KubernetesVersion},
		{Label: "KubeVirt", Value: c.KubeVirtVersion},
		{Label: i18n.T(ctx, "Features"), Value: strings.Join(c.Features, ", ")},
		{Label: i18n.T(ctx, "Nodes"), Value: nodesText(ctx, c)},
		{Label: i18n.T(ctx, "Storage"), Value: storageClasses(ctx, c.StorageClasses)},
		{Label: i18n.T(ctx, "Takes new VMs"), Value: yesNo(ctx, c.Enabled)},
		{Label: i18n.T(ctx, "Added"), Value: i18n.T(ctx, "{name}, {when}", "name", c.CreatedBy, "when", ui.Relative(ctx, c.CreatedAt, now))},
	}
	if c.AnsweredAt != nil {
		facts = append(facts, views.Fact{Label: i18n.T(ctx, "Last answer"), Value: ui.Relative(ctx, *c.AnsweredAt, now)})
	}
	if c.CredentialExpiresAt != nil {
		facts = append(facts, views.Fact{Label: i18n.T(ctx, "Credential ends"), Value: ui.Relative(ctx, *c.CredentialExpiresAt, now)})
	}
	return facts
}

func nodesText(ctx context.Context, c cluster.Cluster) string {
	if c.Nodes == 0 {
		return ""
	}
	return i18n.T(ctx, "{ready} of {n} ready", "ready", c.ReadyNodes, "n", c.Nodes)
}

func storageClasses(ctx context.Context, list []domain.StorageClass) string {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.Name
		if c.Default {
			names[i] = i18n.T(ctx, "{name} (default)", "name", c.Name)
		}
	}
	return strings.Join(names, ", ")
}

func yesNo(ctx context.Context, b bool) string {
	if b {
		return i18n.T(ctx, "yes")
	}
	return i18n.T(ctx, "no")
}

// failedCheck is the check that a reason belongs to; "" for the others.
var failedCheck = map[string]string{
	apperr.ErrClusterTLS:          "tls",
	apperr.ErrClusterUnauthorized: "credentials", apperr.ErrCredentialsLocked: "credentials", apperr.ErrCredentialsTampered: "credentials",
	apperr.ErrClusterIdentity: "kubernetes", apperr.ErrNotKubernetes: "kubernetes", apperr.ErrNodesNotReady: "kubernetes", apperr.ErrClusterDegraded: "kubernetes",
	apperr.ErrKubeVirtMissing: "kubevirt", apperr.ErrKubeVirtNotReady: "kubevirt",
	apperr.ErrStorageMissing: "storage", apperr.ErrStorageNoDefault: "storage",
	apperr.ErrClusterForbidden: "permissions", apperr.ErrPermissionsMissing: "permissions",
}

// healthChecks tells the last check of a stored cluster as the list that the
// pre-flight has: up to the one that failed they passed, the others were not
// reached.
func healthChecks(r *http.Request, c cluster.Cluster) []views.CheckView {
	bad := failedCheck[c.Reason.Code]
	if bad == "" && !c.Reason.IsZero() {
		bad = "reachable"
	}
	var list []views.CheckView
	state := domain.CheckOK
	if c.Status == domain.ClusterUnknown && c.CheckedAt == nil {
		state = domain.CheckNotRun
	}
	for _, k := range preflightChecks {
		check := domain.Check{ID: k.id, State: state}
		switch k.id {
		case "kubernetes":
			check.Params = map[string]any{"version": c.KubernetesVersion, "nodes": c.Nodes, "ready": c.ReadyNodes}
		case "kubevirt":
			check.Params = map[string]any{"version": c.KubeVirtVersion}
		case "storage":
			check.Params = map[string]any{"classes": len(c.StorageClasses)}
		}
		if k.id == bad {
			check.State, check.Code, check.Params = domain.CheckFailed, c.Reason.Code, c.Reason.Params
			state = domain.CheckNotRun
		}
		list = append(list, checkView(r, check))
	}
	return list
}

// checkView is one check with its result in words.
func checkView(r *http.Request, c domain.Check) views.CheckView {
	v := views.CheckView{State: c.State, Title: i18n.Text(lang(r), "check."+c.ID, nil)}
	if c.Code != "" {
		m := message(r, c.Code, c.Params)
		v.Text, v.Next = i18n.Join(m.What, m.Why), m.Next
		return v
	}
	if c.State == domain.CheckNotRun {
		for _, k := range preflightChecks {
			if k.id == c.ID {
				v.Text = i18n.T(r.Context(), k.looks)
			}
		}
		return v
	}
	p := c.Params
	switch {
	case c.ID == "kubernetes" && p["version"] != nil && p["version"] != "":
		v.Text = i18n.T(r.Context(), "{version}, {ready} of {n} nodes ready", "version", p["version"], "ready", p["ready"], "n", p["nodes"])
	case c.ID == "kubevirt" && p["version"] != nil && p["version"] != "":
		v.Text = i18n.T(r.Context(), "{version}, ready", "version", p["version"])
	case c.ID == "storage" && p["classes"] != nil:
		v.Text = i18n.T(r.Context(), "Storage classes: {n}", "n", p["classes"])
	default:
		v.Text = i18n.T(r.Context(), "Passed")
	}
	return v
}

// checkCluster answers POST /clusters/{cluster}/check.
func (s *Server) checkCluster(w http.ResponseWriter, r *http.Request) error {
	id := param(r, "cluster")
	c, err := s.Clusters.Get(r.Context(), actor(r), id)
	if err != nil {
		return err
	}
	if err := s.Clusters.Check(r.Context(), id); err != nil {
		return err
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "{name} was checked", "name", c.Name), "")
	return s.redirect(w, r, paths.Cluster(id))
}

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
		v.Warn = c.ExpiresAt.Sub(now) < expiryNotice
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

// environmentOptions are test and prod with nothing chosen at first: it is too
// important for a default.
func environmentOptions(ctx context.Context, chosen string) []ui.Option {
	options := []ui.Option{{Label: i18n.T(ctx, "Choose"), Selected: chosen == ""}}
	for _, e := range domain.Environments() {
		options = append(options, ui.Option{Value: string(e), Label: ui.EnvName(ctx, string(e)), Selected: string(e) == chosen})
	}
	return options
}
