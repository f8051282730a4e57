//go:build e2e

package kubevirt

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/provider"
)

var record = flag.Bool("record", false, "write testdata/samples.json anew")

// TestLiteLive: what the test bed has now reads alike as typed and as lite
// objects. With -record the objects become the samples of TestLite: one of each
// state.
func TestLiteLive(t *testing.T) {
	p, _ := testProvider(t, admin(t))
	ns := namespace(t)
	c, err := p.clients.get(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.EnsureCloudInit(t.Context(), "c1", provider.CloudInit{Namespace: ns, Name: "runs-ci", OperationID: "op", UserData: []byte("#cloud-config\n")}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*domain.VMSpec){
		"runs":     func(s *domain.VMSpec) { s.CloudInitName = "runs-ci" },
		"stopped":  func(s *domain.VMSpec) { s.Running = false },
		"no-image": func(s *domain.VMSpec) { s.Image = "https://example.org/does-not-exist.qcow2" },
		"too-big":  func(s *domain.VMSpec) { s.MemoryMiB = 1 << 22 },
	} {
		s := spec(ns, name)
		s.Running = true
		change(&s)
		if _, _, err := p.CreateVM(t.Context(), "c1", s); err != nil {
			t.Fatal(err)
		}
	}
	samples := map[string]map[string]json.RawMessage{"virtualmachines": {}, "virtualmachineinstances": {}, "nodes": {}}
	complete := func() bool {
		vms, vmis := samples["virtualmachines"], samples["virtualmachineinstances"]
		return vms["runs Running "] != nil && vms["too-big ErrorUnschedulable "] != nil && vms["no-image DataVolumeError "] != nil && vmis["runs  Running"] != nil
	}
	for end := time.Now().Add(time.Minute); !complete(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not all states came")
		}
		for kind, seen := range samples {
			client := rest.Interface(c.kubevirt.KubevirtV1().RESTClient())
			if kind == "nodes" {
				client = c.kube.CoreV1().RESTClient()
			}
			raw, err := client.Get().Resource(kind).SetHeader("Accept", "application/json").Do(t.Context()).Raw()
			if err != nil {
				t.Fatal(err)
			}
			var list struct {
				Items []json.RawMessage `json:"items"`
			}
			if err := json.Unmarshal(raw, &list); err != nil {
				t.Fatal(err)
			}
			for _, item := range list.Items {
				alike(t, kind, item)
				var o struct {
					Metadata struct{ Name string }
					Status   struct{ PrintableStatus, Phase string }
				}
				if err := json.Unmarshal(item, &o); err != nil {
					t.Fatal(err)
				}
				key := strings.Join([]string{o.Metadata.Name, o.Status.PrintableStatus, o.Status.Phase}, " ")
				var small bytes.Buffer
				if err := json.Compact(&small, item); err != nil {
					t.Fatal(err)
				}
				seen[key] = small.Bytes()
			}
		}
	}
	for kind, seen := range samples {
		for key, item := range seen {
			t.Log(kind, key, len(item))
		}
	}
	if !*record {
		return
	}
	out, err := json.Marshal(samples)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/samples.json", append(out, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}
