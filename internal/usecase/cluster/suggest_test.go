package cluster_test

import (
	"fmt"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/cluster"
)

func TestSuggest(t *testing.T) {
	st := newStage(t)
	st.stored("fra-prod-1", domain.Prod)
	for _, c := range []struct {
		context, cluster, server, file string
		want                           string // name, environment, place
	}{
		{"kubernetes-admin@fra-prod-3", "fra-prod-3", "https://10.0.0.1:6443", "config", "fra-prod-3 prod "},
		{"kubernetes-admin@kubernetes", "kubernetes", "https://10.0.0.1:6443", "ams-test-1.kubeconfig", "ams-test-1 test "},
		{"kubernetes-admin@kubernetes", "kubernetes", "https://10.0.0.1:6443", "config", "  "},
		{"default", "default", "https://k3s.lab.example.com:6443", "k3s.yaml", " test "},
		{"arn:aws:eks:eu-central-1:123456789012:cluster/prod", "arn:aws:eks:eu-central-1:123456789012:cluster/prod", "https://ABC.gr7.eu-central-1.eks.amazonaws.com", "config", "prod prod eu-central-1"},
		{"gke_my-project_europe-west3-a_shop-dev", "gke_my-project_europe-west3-a_shop-dev", "https://34.1.2.3", "config", "shop-dev test europe-west3-a"},
		{"aks-1", "aks-1", "https://aks-1-dns-x.hcp.westeurope.azmk8s.io:443", "config", "aks-1  westeurope"},
		{"default/api-east-example-com:6443/kube:admin", "api-east-example-com:6443", "https://api.east.example.com:6443", "config", "east-example-com  "},
		{"fra-prod-1", "fra-prod-1", "https://10.0.0.1", "f", "fra-prod-1-2 prod "},
		{"prod-and-test", "c", "https://10.0.0.1", "f", "prod-and-test  "},
		{"<script>alert(1)</script>", "c", "https://10.0.0.1", "../../etc", "  "},
		{"x", "production-line", "https://10.0.0.1", "f", "production-line prod "},
		{"latest-protest", "c", "https://10.0.0.1", "f", "latest-protest  "},
	} {
		d := cluster.Draft{FileName: c.file, Contexts: []cluster.Context{{Name: c.context, Cluster: c.cluster, Server: c.server}}}
		in, err := st.Suggest(t.Context(), d, c.context)
		must(t, err)
		if got := fmt.Sprintf("%s %s %s", in.Name, in.Environment, in.Place); got != c.want {
			t.Errorf("%s: got %q, want %q", c.context, got, c.want)
		}
	}
	if in, err := st.Suggest(t.Context(), cluster.Draft{}, "gone"); err != nil || in != (cluster.Input{}) {
		t.Errorf("of no context: %+v, %v", in, err)
	}
	for name, want := range map[string]bool{"fra-prod-1": true, "fra-prod": false} {
		if got, err := st.NameTaken(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
