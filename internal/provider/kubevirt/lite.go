package kubevirt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kv "kubevirt.io/api/core/v1"
)

// The watcher reads objects of a dozen kilobytes, of which it needs a few
// hundred bytes. The types here have just these fields; encoding/json skips the
// rest (managedFields, most of the spec) without making anything of it. The
// mapper reads them only, so that what is watched and what is asked for by name
// (whose typed objects are cut down with cutVM and cutVMI) cannot differ.

// liteHead is what every object has. An ERROR event has a Status where the
// object would be, so the fields of a Status are here too.
type liteHead struct {
	Metadata liteMeta `json:"metadata"`

	Code    int32                 `json:"code"`
	Reason  metav1.StatusReason   `json:"reason"`
	Message string                `json:"message"`
	Details *metav1.StatusDetails `json:"details"`
}

type liteMeta struct {
	Name              string            `json:"name"`
	Namespace         string            `json:"namespace"`
	UID               string            `json:"uid"`
	ResourceVersion   string            `json:"resourceVersion"`
	CreationTimestamp metav1.Time       `json:"creationTimestamp"`
	DeletionTimestamp *metav1.Time      `json:"deletionTimestamp"`
	Labels            map[string]string `json:"labels"`
	Annotations       map[string]string `json:"annotations"`
	OwnerReferences   []liteOwner       `json:"ownerReferences"`
}

type liteOwner struct {
	UID        string `json:"uid"`
	Controller *bool  `json:"controller"`
}

func (h *liteHead) head() *liteHead { return h }

// key names the object in the view.
func (h *liteHead) key() key { return key{shared(name(h.Metadata.Namespace)), name(h.Metadata.Name)} }

// status is the error of an ERROR event.
func (h *liteHead) status() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: h.Code, Reason: h.Reason, Message: h.Message, Details: h.Details,
	}}
}

// lite is a pointer to one of the lite objects.
type lite[O any] interface {
	*O
	head() *liteHead
}

// liteVM is a VirtualMachine.
type liteVM struct {
	liteHead
	Spec struct {
		Running             *bool      `json:"running"`
		RunStrategy         *string    `json:"runStrategy"`
		Instancetype        *liteNamed `json:"instancetype"`
		Preference          *liteNamed `json:"preference"`
		DataVolumeTemplates []liteDisk `json:"dataVolumeTemplates"`
		Template            *struct {
			Spec liteInstanceSpec `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
	Status struct {
		PrintableStatus string          `json:"printableStatus"`
		Conditions      []liteCondition `json:"conditions"`
		StartFailure    *liteFailure    `json:"startFailure"`
	} `json:"status"`
}

type liteNamed struct {
	Name string `json:"name"`
}

type liteInstanceSpec struct {
	Domain struct {
		CPU *struct {
			Cores   uint32 `json:"cores"`
			Sockets uint32 `json:"sockets"`
			Threads uint32 `json:"threads"`
		} `json:"cpu"`
		Memory *struct {
			Guest *foreignQuantity `json:"guest"`
		} `json:"memory"`
	} `json:"domain"`
	Volumes []struct {
		CloudInitNoCloud *struct {
			UserDataSecretRef *liteNamed `json:"secretRef"`
		} `json:"cloudInitNoCloud"`
	} `json:"volumes"`
}

type liteDisk struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Source *struct {
			HTTP *struct {
				URL string `json:"url"`
			} `json:"http"`
			Registry *struct {
				URL *string `json:"url"`
			} `json:"registry"`
		} `json:"source"`
		Storage *struct {
			StorageClassName *string `json:"storageClassName"`
			Resources        struct {
				Requests struct {
					Storage foreignQuantity `json:"storage"`
				} `json:"requests"`
			} `json:"resources"`
		} `json:"storage"`
	} `json:"spec"`
}

type liteCondition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

type liteFailure struct {
	ConsecutiveFailCount int          `json:"consecutiveFailCount"`
	RetryAfterTimestamp  *metav1.Time `json:"retryAfterTimestamp"`
}

// liteVMI is a VirtualMachineInstance.
type liteVMI struct {
	liteHead
	Status struct {
		NodeName   string `json:"nodeName"`
		Reason     string `json:"reason"`
		Phase      string `json:"phase"`
		Interfaces []struct {
			IP string `json:"ipAddress"`
		} `json:"interfaces"`
		GuestOSInfo struct {
			Name       string `json:"name"`
			Version    string `json:"version"`
			PrettyName string `json:"prettyName"`
		} `json:"guestOSInfo"`
		PhaseTransitionTimestamps []litePhase `json:"phaseTransitionTimestamps"`
	} `json:"status"`
}

type litePhase struct {
	Phase string      `json:"phase"`
	At    metav1.Time `json:"phaseTransitionTimestamp"`
}

// liteNode is a Node.
type liteNode struct {
	liteHead
	Status struct {
		Conditions []struct {
			Type               string      `json:"type"`
			Status             string      `json:"status"`
			LastTransitionTime metav1.Time `json:"lastTransitionTime"`
		} `json:"conditions"`
	} `json:"status"`
}

// cutVM, cutVMI and cutNode read typed objects, of the calls about one object.
func cutVM(vm *kv.VirtualMachine) *liteVM          { return cut[liteVM](vm) }
func cutVMI(i *kv.VirtualMachineInstance) *liteVMI { return cut[liteVMI](i) }
func cutNode(n *corev1.Node) *liteNode             { return cut[liteNode](n) }

// cut goes through JSON: one object at a time, it costs less than a second list
// of fields that can differ from the first.
func cut[O any](typed any) *O {
	o := new(O)
	raw, err := json.Marshal(typed)
	if err == nil {
		err = json.Unmarshal(raw, o)
	}
	if err != nil && !misfit(err) {
		panic(err) // what was JSON a moment ago
	}
	return o
}

// misfit says that JSON was read to its end, although a value in it has not the
// type of its field: the other fields were read all the same. Real API servers
// check the types; one strange object must not hide all others.
func misfit(err error) bool {
	var (
		kind *json.UnmarshalTypeError
		when *time.ParseError
	)
	return errors.As(err, &kind) || errors.As(err, &when) ||
		errors.Is(err, resource.ErrFormatWrong) || errors.Is(err, resource.ErrNumeric) || errors.Is(err, resource.ErrSuffix)
}

// listMeta is the part of a list beside its items.
type listMeta struct {
	ResourceVersion string `json:"resourceVersion"`
	Continue        string `json:"continue"`
}

var errNotAList = errors.New("not a list")

// readList reads a page of a list object by object, so that never more than one
// is in memory. A list that ends early is an error, never a short list.
func readList[O any, P lite[O]](r io.Reader, each func(P)) (page listMeta, err error) {
	d := json.NewDecoder(r)
	defer func() {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	}()
	open := func(want json.Delim) error {
		t, err := d.Token()
		if err == nil && t != want {
			err = errNotAList
		}
		return err
	}
	if err := open('{'); err != nil {
		return page, err
	}
	isList := false
	for d.More() {
		field, err := d.Token()
		if err != nil {
			return page, err
		}
		switch field {
		case "kind":
			var kind string
			if err := d.Decode(&kind); err != nil {
				return page, err
			}
			isList = strings.HasSuffix(kind, "List")
		case "metadata":
			if err := d.Decode(&page); err != nil {
				return page, err
			}
		case "items":
			if t, err := d.Token(); err != nil {
				return page, err
			} else if t == nil {
				continue // null: Go's empty slice
			} else if t != json.Delim('[') {
				return page, errNotAList
			}
			for d.More() {
				o := P(new(O))
				if err := d.Decode(o); err != nil && !misfit(err) {
					return page, err
				}
				each(o)
			}
			if err := open(']'); err != nil {
				return page, err
			}
		default:
			var skip json.RawMessage
			if err := d.Decode(&skip); err != nil {
				return page, err
			}
		}
	}
	if err := open('}'); err != nil {
		return page, err
	}
	if !isList {
		return page, errNotAList
	}
	return page, nil
}

// liteEvent is one event of a watch.
type liteEvent[O any] struct {
	Type   string `json:"type"`
	Object O      `json:"object"`
}

// events reads the events of a watch one after the other.
type events[O any] struct{ d *json.Decoder }

func newEvents[O any](r io.Reader) events[O] { return events[O]{json.NewDecoder(r)} }

// next blocks until an event is there. io.EOF is the server's regular end.
func (e events[O]) next() (ev liteEvent[O], err error) {
	if err := e.d.Decode(&ev); err != nil && (!misfit(err) || ev.Type == "") {
		return ev, fmt.Errorf("event: %w", err)
	}
	return ev, nil
}
