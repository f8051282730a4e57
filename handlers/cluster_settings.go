package handlers

import (
	"net/http"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

// clusterSettingsForm is what admins set of a cluster. Version is of the settings
// that the form was filled with.
type clusterSettingsForm struct {
	Version  string `form:"version"`
	Place    string `form:"place" label:"Place"`
	Weight   number `form:"weight" label:"Weight"`
	Hardware string `form:"hardware" label:"Hardware"`
}

func settingsForm(in cluster.Settings) clusterSettingsForm {
	return clusterSettingsForm{Version: in.Version(), Place: in.Place, Weight: whole(in.Weight), Hardware: strings.Join(in.Hardware, "\n")}
}

// editClusterSettings answers GET /clusters/{cluster}/settings.
func (s *Server) editClusterSettings(w http.ResponseWriter, r *http.Request) error {
	c, err := s.Clusters.Get(r.Context(), actor(r), param(r, "cluster"))
	if err != nil {
		return err
	}
	form := restored(s, w, r, settingsForm(c.Settings()))
	return s.clusterSettings(w, r, c, form, nil)
}

// updateClusterSettings answers POST /clusters/{cluster}/settings.
func (s *Server) updateClusterSettings(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[clusterSettingsForm](r)
	if err == nil && form.Weight.Text == "" {
		err = apperr.List{apperr.Field("weight", apperr.ErrRequired)}.Err()
	}
	if err == nil && form.Version == "" {
		form.Version = "none" // a form without one saw nothing
	}
	if err == nil {
		err = s.Clusters.Update(r.Context(), actor(r), param(r, "cluster"), form.Version,
			cluster.Settings{Place: form.Place, Weight: form.Weight.Value, Hardware: domain.Tokens(form.Hardware)})
	}
	c, getErr := s.Clusters.Get(r.Context(), actor(r), param(r, "cluster"))
	if getErr != nil {
		return getErr
	}
	if err != nil {
		return s.clusterSettings(w, r, c, form, err)
	}
	s.flash(r, ui.OK, i18n.T(r.Context(), "The settings of {name} are saved", "name", c.Name), "")
	return s.redirect(w, r, paths.Cluster(c.ID))
}

func (s *Server) clusterSettings(w http.ResponseWriter, r *http.Request, c cluster.Cluster, form clusterSettingsForm, err error) error {
	v := views.ClusterSettingsView{
		ID: c.ID, Name: c.Name, Env: string(c.Environment), Version: form.Version, Place: form.Place, Weight: form.Weight.Text, Hardware: form.Hardware,
	}
	conflict := apperr.CodeOf(err) == apperr.ErrPrecondition
	if conflict {
		err = nil
	}
	errs, status, err := rejected(r, form, err)
	if err != nil {
		return err
	}
	if conflict {
		// Saving again replaces what is stored now, which is shown.
		v.Version, status = c.Settings().Version(), http.StatusConflict
		v.Conflict = i18n.T(r.Context(), "Somebody changed the settings meanwhile. What you typed is below, and nothing is saved. Save again to replace what is stored now:")
		v.Now = settingsFacts(r.Context(), c.Settings())
	}
	v.Errors = errs
	sh, err := s.shell(r, i18n.T(r.Context(), "Settings of {name}", "name", c.Name), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.ClusterSettings(sh, v))
}

// clusterModeForm drains a cluster, switches it off, or takes that back.
type clusterModeForm struct {
	Do string `form:"do" label:"Operation"`
}

// askClusterMode answers GET /clusters/{cluster}/mode?do=: it says what follows.
func (s *Server) askClusterMode(w http.ResponseWriter, r *http.Request) error {
	do := r.URL.Query().Get("do")
	if _, ok := clusterModes[do]; !ok {
		return apperr.New(apperr.ErrNotFound)
	}
	c, err := s.Clusters.Get(r.Context(), actor(r), param(r, "cluster"))
	if err != nil {
		return err
	}
	waiting, err := s.Clusters.Waiting(r.Context(), actor(r), c.ID)
	if err != nil {
		return err
	}
	sh, err := s.shell(r, c.Name, "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.ClusterMode(sh, views.ClusterModeView{
		ID: c.ID, Name: c.Name, Env: string(c.Environment), Do: do, VMs: c.VMs, Orders: waiting[c.ID],
	}))
}

// clusterModes are the modes with what is said when they are set.
var clusterModes = map[string]string{
	"drain": i18n.N("{name} takes no new VMs"), "undrain": i18n.N("{name} takes new VMs again"),
	"disable": i18n.N("{name} is switched off"), "enable": i18n.N("{name} is switched on"),
}

// setClusterMode answers POST /clusters/{cluster}/mode.
func (s *Server) setClusterMode(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[clusterModeForm](r)
	if err != nil {
		return err
	}
	ctx, a, id := r.Context(), actor(r), param(r, "cluster")
	switch form.Do {
	case "drain", "undrain":
		err = s.Clusters.SetDrained(ctx, a, id, form.Do == "drain")
	case "disable", "enable":
		err = s.Clusters.SetEnabled(ctx, a, id, form.Do == "enable")
	default:
		err = apperr.Field("do", apperr.ErrInvalidChoice)
	}
	if err != nil {
		return err
	}
	c, err := s.Clusters.Get(ctx, a, id)
	if err != nil {
		return err
	}
	if form.Do == "enable" {
		// It is asked at once; that it does not answer is no error.
		if err := s.Clusters.Check(ctx, id); err != nil {
			return err
		}
	}
	s.flash(r, ui.OK, i18n.T(ctx, clusterModes[form.Do], "name", c.Name), "")
	return s.redirect(w, r, paths.Cluster(c.ID))
}

// askRemoveCluster answers GET /clusters/{cluster}/remove.
func (s *Server) askRemoveCluster(w http.ResponseWriter, r *http.Request) error {
	return s.removeClusterPage(w, r, restored(s, w, r, deleteForm{}), nil)
}

// removeCluster answers POST /clusters/{cluster}/remove.
func (s *Server) removeCluster(w http.ResponseWriter, r *http.Request) error {
	form, err := decode[deleteForm](r)
	if err == nil {
		if err = s.Clusters.Remove(r.Context(), actor(r), param(r, "cluster"), form.Typed); err == nil {
			s.flash(r, ui.OK, i18n.T(r.Context(), "{name} is removed", "name", form.Typed), i18n.T(r.Context(), "Shepherd has no credential of it any longer."))
			return s.redirect(w, r, paths.Clusters)
		}
	}
	return s.removeClusterPage(w, r, form, err)
}

func (s *Server) removeClusterPage(w http.ResponseWriter, r *http.Request, form deleteForm, err error) error {
	held := apperr.CodeOf(err) == apperr.ErrClusterHasVMs
	if held {
		err = nil // the page says it in full
	}
	errs, status, err := rejected(r, form, renamed(err, "name", "typed"))
	if err != nil {
		return err
	}
	if held {
		status = http.StatusConflict
	}
	c, err := s.Clusters.Get(r.Context(), actor(r), param(r, "cluster"))
	if err != nil {
		return err
	}
	holds, err := s.Clusters.Holds(r.Context(), actor(r), c.ID)
	if err != nil {
		return err
	}
	spaces, err := s.namespacesByCluster(r)
	if err != nil {
		return err
	}
	v := views.RemoveClusterView{
		ID: c.ID, Name: c.Name, Env: string(c.Environment), Typed: form.Typed, VMs: holds.VMs, Orders: holds.Orders, Namespaces: holds.Namespaces,
		Drained: c.Drained, Errors: errs,
	}
	for _, n := range spaces[c.ID] {
		v.Unregistered = append(v.Unregistered, n.Name)
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Remove {name}", "name", c.Name), "clusters")
	if err != nil {
		return err
	}
	return s.page(w, r, status, views.RemoveCluster(sh, v))
}
