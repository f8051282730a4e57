package cluster

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"kubevirt-shepherd.io/shepherd/ent/cluster"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Suggest proposes what to answer about a context of a draft: a name that is
// free, and environment and place where the file's names tell them. What they
// do not tell is left empty.
func (s *Service) Suggest(ctx context.Context, d Draft, contextName string) (Input, error) {
	i := slices.IndexFunc(d.Contexts, func(c Context) bool { return c.Name == contextName })
	if i < 0 {
		return Input{}, nil
	}
	c := d.Contexts[i]
	in := Input{Context: c.Name, Environment: environmentOf(c.Name, c.Cluster, c.Server, d.FileName), Place: placeOf(c)}
	stem, _, _ := strings.Cut(d.FileName, ".")
	for _, text := range []string{c.Name, c.Cluster, stem} {
		if in.Name = nameOf(text); in.Name != "" {
			break
		}
	}
	if in.Name == "" {
		return in, nil
	}
	free := []string{in.Name}
	for n := 2; n < 10; n++ {
		free = append(free, fmt.Sprintf("%s-%d", in.Name, n))
	}
	taken, err := s.DB.Ent.Cluster.Query().Where(cluster.NameIn(free...)).Select(cluster.FieldName).Strings(ctx)
	if err != nil {
		return in, database.Classify(err)
	}
	in.Name = ""
	for _, name := range free {
		if !slices.Contains(taken, name) && domain.ValidName(name) {
			in.Name = name
			break
		}
	}
	return in, nil
}

// NameTaken says whether a cluster has that name already.
func (s *Service) NameTaken(ctx context.Context, name string) (bool, error) {
	found, err := s.DB.Ent.Cluster.Query().Where(cluster.Name(name)).Exist(ctx)
	return found, database.Classify(err)
}

var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9._:@/-]+$`)
	// openShiftName is how oc names a context: namespace, server, user.
	openShiftName = regexp.MustCompile(`^[^/]*/(?:api-)?([^/:]+):\d+/`)
)

// meaningless are the names that tools give to every cluster alike.
var meaningless = []string{
	"admin", "cluster", "config", "context", "default", "docker-desktop", "in-cluster", "kind-kind", "kube", "kubeconfig", "kubernetes",
	"k3s", "kubevirt-shepherd", "local", "main", "minikube", "rke2", "shepherd", "user", "value",
}

// nameOf makes a name of what a file calls a context or a cluster, or "" when
// that tells nothing.
func nameOf(text string) string {
	if !plainName.MatchString(text) {
		return ""
	}
	if m := openShiftName.FindStringSubmatch(text); m != nil {
		text = m[1]
	}
	text = text[strings.LastIndexByte(text, '@')+1:] // kubernetes-admin@fra-prod-1
	text = path.Base(text)                           // arn:aws:eks:eu-central-1:123:cluster/prod
	if gke := strings.Split(text, "_"); len(gke) == 4 && gke[0] == "gke" {
		text = gke[3]
	}
	name := strings.Trim(strings.ToLower(strings.NewReplacer(".", "-", ":", "-", "_", "-").Replace(text)), "-")
	if len(name) < 2 || !domain.ValidName(name) || slices.Contains(meaningless, name) {
		return ""
	}
	return name
}

// The words by which people call an environment.
var environmentWords = map[string]domain.Environment{
	"prod": domain.Prod, "production": domain.Prod, "prd": domain.Prod, "live": domain.Prod,
	"test": domain.Test, "testing": domain.Test, "tst": domain.Test, "dev": domain.Test, "development": domain.Test, "stage": domain.Test,
	"staging": domain.Test, "stg": domain.Test, "qa": domain.Test, "uat": domain.Test, "lab": domain.Test, "sandbox": domain.Test,
}

var notWord = regexp.MustCompile(`[^a-z]+`)

// environmentOf is the environment that the names speak of, "" when they speak
// of none or of both.
func environmentOf(texts ...string) (env domain.Environment) {
	for _, word := range notWord.Split(strings.ToLower(strings.Join(texts, " ")), -1) {
		switch found := environmentWords[word]; {
		case found == "" || found == env:
		case env == "":
			env = found
		default:
			return ""
		}
	}
	return env
}

var (
	region = regexp.MustCompile(`\.([a-z]{2}(?:-[a-z]+)+-\d)\.eks\.amazonaws\.com$|\.([a-z0-9]+)\.azmk8s\.io$`)
	gkeAt  = regexp.MustCompile(`^gke_[^_]+_([a-z]+-[a-z0-9]+(?:-[a-z])?)_`)
)

// placeOf is the region of a cloud that a context names, or "".
func placeOf(c Context) string {
	for _, name := range []string{c.Name, c.Cluster} {
		if m := gkeAt.FindStringSubmatch(name); m != nil {
			return m[1]
		}
	}
	u, err := url.Parse(c.Server)
	if err != nil {
		return ""
	}
	if m := region.FindStringSubmatch(u.Hostname()); m != nil {
		return m[1] + m[2]
	}
	return ""
}
