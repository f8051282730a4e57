package kubevirt

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kv "kubevirt.io/api/core/v1"
	cdi "kubevirt.io/containerized-data-importer-api/pkg/apis/core/v1beta1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Names inside a VirtualMachine.
const (
	rootDisk      = "root"
	cloudInitDisk = "cloudinit"
	podNetwork    = "default"
)

// rootName is the name of the root disk's DataVolume. It holds the operation
// id: KubeVirt uses a DataVolume of the right name whoever made it, and a disk
// that somebody left behind must never become part of a new VM.
func rootName(vm, operation string) string {
	return vm + "-root-" + operation[:min(8, len(operation))]
}

// render makes the VirtualMachine of a spec. The labels go on the VM, on its
// disk and, through the template, on the running instance, where the watcher
// selects by them.
func render(s domain.VMSpec) (*kv.VirtualMachine, error) {
	operation := s.Annotations[domain.AnnotationOperation]
	if operation == "" {
		return nil, apperr.Field("annotations", apperr.ErrRequired)
	}
	root, err := renderRoot(s, operation)
	if err != nil {
		return nil, err
	}
	strategy := kv.RunStrategyHalted
	if s.Running {
		strategy = kv.RunStrategyAlways
	}
	vm := &kv.VirtualMachine{
		TypeMeta:   metav1.TypeMeta{APIVersion: kv.GroupVersion.String(), Kind: "VirtualMachine"},
		ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace, Labels: maps.Clone(s.Labels), Annotations: maps.Clone(s.Annotations)},
		Spec: kv.VirtualMachineSpec{
			RunStrategy:         &strategy,
			DataVolumeTemplates: []kv.DataVolumeTemplateSpec{*root},
			Template: &kv.VirtualMachineInstanceTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: maps.Clone(s.Labels)},
				Spec: kv.VirtualMachineInstanceSpec{
					Domain: kv.DomainSpec{Devices: kv.Devices{
						Disks:      []kv.Disk{virtio(rootDisk, 1)},
						Interfaces: []kv.Interface{{Name: podNetwork, InterfaceBindingMethod: kv.InterfaceBindingMethod{Masquerade: &kv.InterfaceMasquerade{}}}},
						Rng:        &kv.Rng{}, // without it a fresh guest waits for entropy at boot
					}},
					Networks: []kv.Network{{Name: podNetwork, NetworkSource: kv.NetworkSource{Pod: &kv.PodNetwork{}}}},
					Volumes:  []kv.Volume{{Name: rootDisk, VolumeSource: kv.VolumeSource{DataVolume: &kv.DataVolumeSource{Name: root.Name}}}},
				},
			},
		},
	}
	spec := &vm.Spec.Template.Spec
	if s.CloudInitName != "" {
		spec.Domain.Devices.Disks = append(spec.Domain.Devices.Disks, virtio(cloudInitDisk, 0))
		spec.Volumes = append(spec.Volumes, kv.Volume{Name: cloudInitDisk, VolumeSource: kv.VolumeSource{
			// Never inline: whoever may read the VM would read it.
			CloudInitNoCloud: &kv.CloudInitNoCloudSource{UserDataSecretRef: &corev1.LocalObjectReference{Name: s.CloudInitName}},
		}})
	}
	switch {
	case s.InstanceType != "":
		vm.Spec.Instancetype = &kv.InstancetypeMatcher{Name: s.InstanceType, Kind: "VirtualMachineClusterInstancetype"}
	case s.CPU < 1:
		return nil, apperr.Field("cpu", apperr.ErrOutOfRange)
	case s.MemoryMiB < 1:
		return nil, apperr.Field("memory_mib", apperr.ErrOutOfRange)
	default:
		memory := quantity(s.MemoryMiB, "Mi")
		spec.Domain.CPU = &kv.CPU{Cores: uint32(s.CPU)}
		spec.Domain.Memory = &kv.Memory{Guest: &memory}
	}
	if s.Preference != "" {
		vm.Spec.Preference = &kv.PreferenceMatcher{Name: s.Preference, Kind: "VirtualMachineClusterPreference"}
	}
	return vm, nil
}

// renderRoot makes the template of the root disk. Access mode and volume mode
// stay open: CDI takes them from the profile of the storage class.
func renderRoot(s domain.VMSpec, operation string) (*kv.DataVolumeTemplateSpec, error) {
	if s.DiskGiB < 1 {
		return nil, apperr.Field("disk_gib", apperr.ErrOutOfRange)
	}
	source := &cdi.DataVolumeSource{}
	switch {
	case strings.HasPrefix(s.Image, "docker://"):
		source.Registry = &cdi.DataVolumeSourceRegistry{URL: &s.Image}
	case strings.HasPrefix(s.Image, "https://"), strings.HasPrefix(s.Image, "http://"):
		source.HTTP = &cdi.DataVolumeSourceHTTP{URL: s.Image}
	default:
		return nil, apperr.Field("image", apperr.ErrInvalidChoice)
	}
	storage := &cdi.StorageSpec{Resources: corev1.VolumeResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceStorage: quantity(s.DiskGiB, "Gi")},
	}}
	if s.StorageClass != "" {
		storage.StorageClassName = &s.StorageClass
	}
	return &kv.DataVolumeTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Name: rootName(s.Name, operation), Labels: maps.Clone(s.Labels)},
		Spec:       cdi.DataVolumeSpec{Source: source, Storage: storage},
	}, nil
}

func virtio(name string, bootOrder uint) kv.Disk {
	d := kv.Disk{Name: name, DiskDevice: kv.DiskDevice{Disk: &kv.DiskTarget{Bus: kv.DiskBusVirtio}}}
	if bootOrder > 0 {
		d.BootOrder = &bootOrder
	}
	return d
}

func quantity(n int, unit string) resource.Quantity {
	return resource.MustParse(fmt.Sprintf("%d%s", n, unit))
}

// applyBody is the body of a server-side apply: the object without its status
// and without nulls, so that we own only what we mean.
func applyBody(vm *kv.VirtualMachine) ([]byte, error) {
	b, err := json.Marshal(vm)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal(b, &tree); err != nil {
		return nil, err
	}
	delete(tree, "status")
	dropNulls(tree)
	return json.Marshal(tree)
}

func dropNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			if child == nil {
				delete(v, k)
				continue
			}
			dropNulls(child)
		}
	case []any:
		for _, child := range v {
			dropNulls(child)
		}
	}
}

// escapePointer makes a key a part of a JSON pointer (RFC 6901).
func escapePointer(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
