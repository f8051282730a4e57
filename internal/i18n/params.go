package i18n

import "time"

// Param documents one parameter of the sentences: the same name means the same
// thing at every code.
type Param struct {
	Meaning string
	Example any
}

// Params is the vocabulary: who makes an error takes its parameters from here.
// All of them are optional; a sentence says less without them. Times may come as
// RFC 3339 text, which they are after a way through JSON. Kubeconfig errors have
// path, line and limit only.
func Params() map[string]Param {
	day := time.Date(2026, 11, 25, 9, 30, 0, 0, time.UTC)
	return map[string]Param{
		"actual":      {"what was given or found, as a number", 3},
		"at":          {"when it happened", day},
		"available":   {"how much is free", "8 GiB"},
		"by":          {"account of the person who did it", "li.wei"},
		"children":    {"names of what is still inside", []string{"web", "api"}},
		"choices":     {"what can be chosen", []string{"test", "prod"}},
		"cluster":     {"display name of the cluster", "fra-prod-1"},
		"count":       {"how many", 3},
		"disk":        {"name of the disk", "web-01-root"},
		"environment": {"test or prod", "prod"},
		"expected":    {"what it should have been", "prod"},
		"expires":     {"when a credential ends", day},
		"field":       {"name of the form field", "labels"},
		"image":       {"image of the template's disk", "quay.io/containerdisks/fedora:40"},
		"issuer":      {"name of the company sign-in", "Example SSO"},
		"key":         {"id of the encryption key", "k-12ab34cd"},
		"label":       {"label of the form field", "Reason"},
		"limit":       {"upper bound, in bytes where the sentence says so", 65536},
		"line":        {"line of what was sent", 12},
		"max":         {"largest allowed value", 500},
		"min":         {"smallest allowed value", 10},
		"login":       {"product that signs in to a cluster", "Amazon EKS"},
		"name":        {"name of the thing that the error is about", "shop"},
		"scope":       {"scope of a token", "decide"},
		"has":         {"scopes that the token has", []string{"read", "request"}},
		"role":        {"the role that the error is about", "owner"},
		"namespace":   {"namespace in the cluster", "team-a"},
		"node":        {"name of the node", "node-7"},
		"nodes":       {"number of nodes", 16},
		"operation":   {"what was to be done, as a verb", "stop"},
		"path":        {"key path in the uploaded file", "users[0].user.exec"},
		"phase":       {"phase of KubeVirt, its own word", "Deploying"},
		"policy":      {"name of the policy", "no-friday-changes"},
		"ready":       {"number of ready nodes", 12},
		"request":     {"request id", "01a2b3c4"},
		"resource":    {"what a node lacks, Kubernetes' own word", "memory"},
		"retry_at":    {"when it is tried again", day},
		"service":     {"name of the service", "web"},
		"since":       {"from when on", day},
		"size":        {"name of the size", "m-4"},
		"state":       {"label of the present state", "Stopped"},
		"system":      {"name of the system", "shop"},
		"table":       {"name of the database table", "audit_logs"},
		"template":    {"name of the template", "Ubuntu 24.04"},
		"text":        {"the cluster's own words, cleaned", "exceeded quota: team-a"},
		"ticket":      {"name of the ticket", "TKT-123"},
		"type":        {"the media type or encoding that was sent", "text/plain"},
		"unit":        {"unit of min, max and actual", "GiB"},
		"vm":          {"name of the VM", "shop-web-01"},
		"wait":        {"how long to wait", 30 * time.Second},
		"what":        {"the resource in question", "32 GiB of memory"},
	}
}
