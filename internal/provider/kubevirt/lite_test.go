package kubevirt

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	corev1 "k8s.io/api/core/v1"
	kv "kubevirt.io/api/core/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// alike compares what is made of an object that is read as lite object with what
// is made of the typed one.
func alike(t *testing.T, kind string, raw []byte) {
	t.Helper()
	decode := func(into any) {
		t.Helper()
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
	}
	var want, got any
	switch kind {
	case "virtualmachines":
		var typed kv.VirtualMachine
		var lite liteVM
		decode(&typed)
		decode(&lite)
		a, b := fromVM(&typed), lite.mapped()
		a.Status.ObservedAt = b.Status.ObservedAt
		want, got = a, b
		if a.Name != typed.Name || a.UID != string(typed.UID) || a.ResourceVersion != typed.ResourceVersion || a.Deleting != (typed.DeletionTimestamp != nil) ||
			!a.CreatedAt.Equal(typed.CreationTimestamp.Time) || len(a.Labels) != len(typed.Labels) || len(a.Annotations) != len(typed.Annotations) {
			t.Errorf("%s: metadata is lost: %+v", typed.Name, a)
		}
		kept := compact(b)
		back := kept.vm("", b.Name)
		if back.UID != b.UID || back.ResourceVersion != b.ResourceVersion || back.OperationID() != b.OperationID() || back.Labels[domain.LabelInstance] != b.Labels[domain.LabelInstance] ||
			back.Labels[domain.LabelTicket] != b.Labels[domain.LabelTicket] || !reflect.DeepEqual(back.Status, b.Status) || !back.CreatedAt.Equal(b.CreatedAt) || back.Deleting != b.Deleting {
			t.Errorf("what is kept of %+v is %+v", b, back)
		}
		spec := b.Spec
		spec.Labels, spec.Annotations, spec.CloudInitName = back.Labels, back.Annotations, ""
		if !reflect.DeepEqual(back.Spec, spec) {
			t.Errorf("what is kept of %+v is %+v", spec, back.Spec)
		}
	case "virtualmachineinstances":
		var typed kv.VirtualMachineInstance
		var lite liteVMI
		decode(&typed)
		decode(&lite)
		want, got = fromVMI(&typed), lite.mapped()
		i := lite.mapped()
		if back := i.compact().instance(i.owner); !reflect.DeepEqual(back, i) {
			t.Errorf("what is kept of %+v is %+v", i, back)
		}
		if i.compact().instance("another").owner != "" {
			t.Error("an instance has two owners")
		}
	case "nodes":
		var typed corev1.Node
		var lite liteNode
		decode(&typed)
		decode(&lite)
		want, got = silence(&typed), lite.silence()
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("%s:\ntyped %+v\nlite  %+v", kind, want, got)
	}
}

// samples are objects of the test bed, recorded by TestLiteLive.
func samples(t testing.TB) map[string]map[string]json.RawMessage {
	t.Helper()
	raw, err := os.ReadFile("testdata/samples.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLite: the fields of the lite objects are the right ones. The samples say
// what the fields are called; the values below, what must have been read.
func TestLite(t *testing.T) {
	all := samples(t)
	for kind, items := range all {
		if len(items) == 0 {
			t.Errorf("no %s", kind)
		}
		for _, raw := range items {
			alike(t, kind, raw)
		}
	}
	var vm liteVM
	if err := json.Unmarshal(all["virtualmachines"]["runs Running "], &vm); err != nil {
		t.Fatal(err)
	}
	v := vm.mapped()
	if s := v.Spec; s.CPU != 1 || s.MemoryMiB != 512 || s.DiskGiB != 1 || s.Image != "docker://quay.io/containerdisks/fedora:41" || !s.Running || s.CloudInitName != "runs-ci" {
		t.Errorf("%+v", s)
	}
	if v.Status.State != domain.StateRunning || v.UID == "" || v.OperationID() == "" || v.CreatedAt.IsZero() || v.ResourceVersion == "" {
		t.Errorf("%+v", v)
	}
	var vmi liteVMI
	if err := json.Unmarshal(all["virtualmachineinstances"]["runs  Running"], &vmi); err != nil {
		t.Fatal(err)
	}
	if i := vmi.mapped(); i.owner != v.UID || i.ip == "" || i.node == "" || i.started.IsZero() {
		t.Errorf("%+v", i)
	}
	// The typed objects say what the mapper would see of them all the same: what
	// a typed object has and a lite one has not, the mapper must not need.
	for name, raw := range all["virtualmachines"] {
		problem := fromVM(decoded[kv.VirtualMachine](t, raw)).Status.Problem
		if strings.HasPrefix(name, "too-big ErrorUnschedulable") && problem.Params["resource"] != "memory" {
			t.Errorf("%s: %+v", name, problem)
		}
	}
}

func decoded[T any](t *testing.T, raw []byte) *T {
	t.Helper()
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestReadList: pages in any order of fields; what is cut is no list.
func TestReadList(t *testing.T) {
	const item = `{"metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"5"}}`
	read := func(text string) (names []string, page listMeta, err error) {
		page, err = readList(iotest.OneByteReader(strings.NewReader(text)), func(o *liteVM) { names = append(names, o.Metadata.Name) })
		return names, page, err
	}
	for _, text := range []string{
		`{"kind":"VirtualMachineList","apiVersion":"kubevirt.io/v1","metadata":{"resourceVersion":"9","continue":"next"},"items":[` + item + `,` + item + `]}`,
		`{"apiVersion":"kubevirt.io/v1","items":[` + item + `,` + item + `],"kind":"VirtualMachineList","metadata":{"continue":"next","resourceVersion":"9"},"new":{"a":[1]}}`,
		`{"items":[` + item + `,{"metadata":{"name":7,"namespace":"n"},"spec":{"running":"yes"},"status":[]}],"kind":"L` + `ist","metadata":{"continue":"next","resourceVersion":"9"}}`,
	} {
		names, page, err := read(text)
		if err != nil || len(names) != 2 || names[0] != "a" || page.Continue != "next" || page.ResourceVersion != "9" {
			t.Errorf("%s: %q %+v %v", text, names, page, err)
		}
		for cut := range len(text) {
			if _, _, err := read(text[:cut]); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("cut to %s: %v", text[:cut], err)
			}
		}
	}
	for _, text := range []string{`[]`, `{"kind":"Status","items":[]}`, `{"items":7}`, `{"kind":"XList","items":[{]}`, `null`, `{}`, `"x"`, `{"kind":7}`} {
		if _, _, err := read(text); err == nil {
			t.Errorf("%s is taken for a list", text)
		}
	}
	if _, _, err := read(`{"kind":"XList","items":null,"metadata":{}}`); err != nil {
		t.Errorf("an empty list: %v", err)
	}
	broken := errors.New("broken")
	if _, err := readList(io.MultiReader(strings.NewReader(`{"kind":"XList","items":[{"metadata":`), iotest.ErrReader(broken)), func(*liteVM) {}); !errors.Is(err, broken) {
		t.Errorf("a broken connection: %v", err)
	}
}

// TestEvents: what does not fit its field is no reason to lose the watch; what is
// no JSON is.
func TestEvents(t *testing.T) {
	e := newEvents[liteVM](strings.NewReader(
		`{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}` + "\n" +
			`{"object":{"metadata":{"name":"b"},"status":{"printableStatus":3}},"type":"MODIFIED"}` + "\n" +
			`{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410,"reason":"Expired","message":"too old","details":{"causes":[{"reason":"x"}]}}}` + "\n" +
			`{"type":"BOOK`))
	for _, want := range []string{"ADDED a", "MODIFIED b", "ERROR "} {
		ev, err := e.next()
		if err != nil || ev.Type+" "+ev.Object.Metadata.Name != want {
			t.Errorf("%+v %v, want %s", ev, err, want)
		}
		if ev.Type == "ERROR" && !forgotten(ev.Object.status()) {
			t.Errorf("%v", ev.Object.status())
		}
	}
	if _, err := e.next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("half an event: %v", err)
	}
	if _, err := newEvents[liteVM](strings.NewReader("")).next(); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
	if _, err := newEvents[liteVM](strings.NewReader("<html>")).next(); err == nil || errors.Is(err, io.EOF) {
		t.Error("HTML is an event")
	}
}
