package kubevirt

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// betaIsOn is the minor version of KubeVirt from which on beta gates are on by
// default and DisabledFeatureGates can switch them off. Before, a gate was off
// until it was switched on, whatever its state, unless it was generally
// available. Source: isFeatureGateEnabled in pkg/virt-config/feature-gates.go of
// 1.0 to 1.8, IsEnabled in pkg/virt-config/featuregate/feature-gates.go of 1.9.
const betaIsOn = 9

var minorOf = regexp.MustCompile(`^v?([0-9]+)\.([0-9]+)`)

// inEffect lists the feature gates that a KubeVirt of that version acts on,
// sorted, when on and off are those that its object names. Versions that are
// newer than the table count as its newest, and are believed about gates that
// it does not have. Of a version that cannot be read only what is switched on is
// believed.
func inEffect(version string, on, off []string) []string {
	m := minorOf.FindStringSubmatch(version)
	if m == nil || m[1] == "0" {
		return distinct(on)
	}
	newest := len(gates["LiveMigration"]) - 1
	minor, err := strconv.Atoi(m[2])
	newer := err != nil || m[1] != "1" || minor > newest
	if newer {
		minor = newest
	}
	var all []string
	for gate, states := range gates {
		named := slices.Contains(on, gate)
		switch state := states[minor]; {
		case state == 'G',
			named && state != 'x' && (state != '-' || newer),
			state == 'b' && minor >= betaIsOn && !slices.Contains(off, gate):
			all = append(all, gate)
		}
	}
	if newer {
		for _, gate := range on {
			if _, known := gates[gate]; !known {
				all = append(all, gate)
			}
		}
	}
	return distinct(all)
}

func distinct(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// discovered is what a cluster serves beside Kubernetes.
type discovered struct {
	apis      []string          // "group/version", sorted
	preferred map[string]string // group to version
}

// aggregated asks for all groups with their resources in one answer (Kubernetes
// 1.26 and later), and takes the old list of groups as well.
const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList," +
	"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"

// apiList is an APIGroupDiscoveryList (items) or an APIGroupList (groups).
type apiList struct {
	kinded
	Items []struct {
		Metadata struct{ Name string }
		Versions []apiVersion
	}
	Groups []struct {
		Name     string
		Versions []apiVersion
	}
}

type apiVersion struct {
	Version   string
	Resources []apiResource
}

type apiResource struct{ Resource string }

const maxAPIs = 64 // that are kept

const (
	groupSnapshot     = "snapshot.storage.k8s.io"
	groupInstanceType = "instancetype.kubevirt.io"
	groupCDI          = "cdi.kubevirt.io"
	dataVolumes       = "datavolumes" // without them CDI is not there
)

// concerns says which API groups are of interest: all of KubeVirt and CDI, and
// the snapshots of volumes.
func concerns(group string) bool {
	return group == "kubevirt.io" || strings.HasSuffix(group, ".kubevirt.io") || group == groupSnapshot
}

// discover reads which APIs are served: in one request, or where that is not
// offered or too large, in two.
func (c *client) discover(ctx context.Context) (discovered, error) {
	var list apiList
	err := c.get(ctx, "/apis", aggregated, metav1.ListOptions{}, &list)
	if errors.Is(err, errResponseTooLarge) {
		err = c.get(ctx, "/apis", "", metav1.ListOptions{}, &list)
	}
	d := discovered{preferred: map[string]string{}}
	if err != nil {
		return d, c.fail(err)
	}
	add := func(group string, versions []apiVersion) {
		if !concerns(group) {
			return
		}
		for _, v := range versions[:min(len(versions), maxAPIs-len(d.apis))] {
			d.apis = append(d.apis, name(group+"/"+v.Version))
			if d.preferred[group] == "" {
				d.preferred[group] = name(v.Version) // the first one
			}
		}
	}
	switch list.Kind {
	case "APIGroupDiscoveryList":
		for _, g := range list.Items {
			if g.Metadata.Name == groupCDI {
				g.Versions = slices.DeleteFunc(g.Versions, func(v apiVersion) bool { return !slices.Contains(v.Resources, apiResource{dataVolumes}) })
			}
			add(g.Metadata.Name, g.Versions)
		}
	case "APIGroupList":
		for _, g := range list.Groups {
			if g.Name == groupCDI && len(g.Versions) > 0 {
				if g.Versions, err = c.withDataVolumes(ctx, g.Versions); err != nil {
					return d, c.fail(err)
				}
			}
			add(g.Name, g.Versions)
		}
	default:
		return d, apperr.New(apperr.ErrNotKubernetes)
	}
	slices.Sort(d.apis)
	d.apis = slices.Compact(d.apis)
	return d, nil
}

// withDataVolumes asks for the resources of CDI's first version, where discovery
// did not say.
func (c *client) withDataVolumes(ctx context.Context, versions []apiVersion) ([]apiVersion, error) {
	var list struct{ Resources []struct{ Name string } }
	if err := c.get(ctx, "/apis/"+groupCDI+"/"+url.PathEscape(versions[0].Version), "", metav1.ListOptions{}, &list); err != nil {
		return nil, err
	}
	for _, r := range list.Resources {
		if r.Name == dataVolumes {
			return versions, nil
		}
	}
	return nil, nil
}

// onlyMetadata spares us the objects where they are only counted.
const onlyMetadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

// count counts the objects of a cluster-wide resource. That it is not served, or
// may not be listed, is an error.
func (c *client) count(ctx context.Context, d discovered, group, resource string) (int, error) {
	version := d.preferred[group]
	if version == "" {
		return 0, apperr.New(apperr.ErrNotFound)
	}
	n := 0
	err := pages(func(opt metav1.ListOptions) (string, error) {
		var page struct {
			kinded
			Metadata struct{ Continue string }
			Items    []struct{}
		}
		if err := c.get(ctx, "/apis/"+group+"/"+url.PathEscape(version)+"/"+resource, onlyMetadata, opt, &page); err != nil {
			return "", err
		}
		if !strings.HasSuffix(page.Kind, "List") {
			return "", apperr.New(apperr.ErrNotKubernetes)
		}
		n += len(page.Items)
		return page.Metadata.Continue, nil
	})
	return n, c.fail(err)
}

// described is what the seldom reads found; an error for each part that could
// not be read.
type described struct {
	discovered
	version                                string // of Kubernetes
	classes                                []domain.StorageClass
	types, preferences, snapshots          int
	versionErr, apisErr, classesErr        error
	typesErr, preferencesErr, snapshotsErr error
}

// describe reads what changes seldom, at once.
func (c *client) describe(ctx context.Context) described {
	var (
		d  described
		wg sync.WaitGroup // each part writes its own fields only
	)
	wg.Go(func() { d.version, d.versionErr = c.serverVersion(ctx) })
	wg.Go(func() { d.classes, d.classesErr = c.storageClasses(ctx) })
	wg.Go(func() {
		if d.discovered, d.apisErr = c.discover(ctx); d.apisErr != nil {
			d.typesErr, d.preferencesErr, d.snapshotsErr = d.apisErr, d.apisErr, d.apisErr
			return
		}
		var counts sync.WaitGroup
		counts.Go(func() {
			d.types, d.typesErr = c.count(ctx, d.discovered, groupInstanceType, "virtualmachineclusterinstancetypes")
		})
		counts.Go(func() {
			d.preferences, d.preferencesErr = c.count(ctx, d.discovered, groupInstanceType, "virtualmachineclusterpreferences")
		})
		counts.Go(func() {
			d.snapshots, d.snapshotsErr = c.count(ctx, d.discovered, groupSnapshot, "volumesnapshotclasses")
		})
		counts.Wait()
	})
	wg.Wait()
	return d
}

// gap is the first part that should have been readable and was not. What is not
// served, and what may be forbidden to us, is none.
func (d described) gap() error {
	for _, err := range []error{d.versionErr, d.apisErr, d.classesErr} {
		if err != nil {
			return err
		}
	}
	for _, err := range []error{d.typesErr, d.preferencesErr, d.snapshotsErr} {
		if code := apperr.CodeOf(err); err != nil && code != apperr.ErrNotFound && code != apperr.ErrKubeVirtMissing && code != apperr.ErrClusterForbidden {
			return err
		}
	}
	return nil
}
