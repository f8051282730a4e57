package handlers_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// matrix says what everybody gets at every route, with empty forms, about
// things in the test environment. The columns: anonymous, somebody without
// membership, viewer, owner, approver of test, approver of prod, auditor,
// admin. L leads to the sign-in, 2 is a page, 3 leads on; the others are the
// status: I 422, F 403, N 404, C 409.
var matrix = map[string]string{
	"GET /":                   "L2222222",
	"GET /search":             "L2222222",
	"GET /events":             "LIIIIIII",
	"GET /login":              "23333333",
	"POST /login":             "IIIIIIII",
	"POST /logout/everywhere": "L3333333",
	"POST /logout":            "33333333",
	"POST /theme":             "IIIIIIII",
	"POST /language":          "IIIIIIII",
	"GET /setup/{token}":      "NNNNNNNN",
	"POST /setup/{token}":     "NNNNNNNN",

	"GET /explorer":                                  "L2222222",
	"GET /systems/new":                               "L2F222F2",
	"POST /systems":                                  "LIFIIIFI",
	"GET /systems/{system}":                          "LN222N22",
	"GET /systems/{system}/edit":                     "LNF2FNF2",
	"GET /systems/{system}/members":                  "LN222N22",
	"POST /systems/{system}/members":                 "LNFIFNFI",
	"POST /systems/{system}/members/{person}/remove": "LNFIFNFI",
	"POST /systems/{system}/edit":                    "LNFCFNFC",
	"GET /systems/{system}/delete":                   "LNF2FNF2",
	"POST /systems/{system}/delete":                  "LNFIFNFI",
	"GET /systems/{system}/services/new":             "LNF2FNF2",
	"POST /systems/{system}/services":                "LNFIFNFI",
	"GET /services/{service}":                        "LN222N22",
	"GET /services/{service}/edit":                   "LNF2FNF2",
	"POST /services/{service}/edit":                  "LNFCFNFC",
	"GET /services/{service}/delete":                 "LNF2FNF2",
	"POST /services/{service}/delete":                "LNFIFNFI",
	"GET /vms/{vm}":                                  "LN222N22",
	"GET /vms/{vm}/power":                            "LNIIINII",
	"POST /vms/{vm}/power":                           "LNIIINII",
	"GET /vms/{vm}/delete":                           "LNF2FNF2",
	"POST /vms/{vm}/delete":                          "LNFIFNFI",
	"GET /requests":                                  "L2222222",
	"GET /requests/new":                              "L2222222",
	"POST /requests":                                 "LIIIIIII",
	"POST /requests/preview":                         "L2222222",
	"GET /requests/{ticket}":                         "LN222N22",
	"POST /requests/{ticket}/withdraw":               "LNF3FNFF",
	"POST /requests/{ticket}/retry":                  "LNFCCNFC",
	"POST /requests/{ticket}/evidence":               "LNFF2N22",
	"GET /approvals":                                 "LFFF22F2",
	"GET /approvals/{ticket}":                        "LFFF2NF2",
	"POST /approvals/{ticket}":                       "LFFF2NF2",
	"POST /approvals/{ticket}/check":                 "LFFF2NF2",
	"GET /catalog":                                   "L2222222",
	"GET /catalog/templates/new":                     "LFFFFFF2",
	"POST /catalog/templates":                        "LFFFFFFI",
	"GET /catalog/sizes/new":                         "LFFFFFF2",
	"POST /catalog/sizes":                            "LFFFFFFI",
	"GET /people":                                    "LFFFFFF2",
	"GET /people/new":                                "LFFFFFF2",
	"POST /people":                                   "LFFFFFFI",
	"POST /people/{person}/sign-out":                 "LFFFFFFN",
	"POST /people/{person}/disable":                  "LFFFFFFN",
	"POST /people/{person}/enable":                   "LFFFFFFN",
	"POST /people/{person}/link":                     "LFFFFFFN",
	"GET /people/{person}":                           "LFFFFFFN",
	"POST /people/{person}":                          "LFFFFFFN",
	"POST /people/{person}/remove":                   "LFFFFFFN",
	"GET /trends":                                    "L2222222",
	"GET /docs":                                      "L2222222",
	"GET /docs/{guide}":                              "L2222222",
	"GET /docs/images/{name}":                        "L2222222",
	"GET /audit/export":                              "LFFFFFII",
	"GET /audit":                                     "LFFFFF22",
	"POST /audit/filters":                            "LFFFFFII",
	"POST /audit/filters/{filter}/delete":            "LFFFFFNN",
	"GET /notifications":                             "L2222222",
	"POST /notifications":                            "L3333333",
	"GET /clusters":                                  "LNNN2222",
	"GET /clusters/new":                              "LNNNFFF2",
	"POST /clusters/new":                             "LNNNFFFI",
	"GET /clusters/new/{draft}":                      "LNNNFFFN",
	"POST /clusters/new/{draft}":                     "LNNNFFFN",
	"POST /clusters/new/{draft}/check":               "LNNNFFFN",
	"GET /clusters/{cluster}":                        "LNNN2222",
	"POST /clusters/{cluster}/check":                 "LNNNFFF3",
	"GET /namespaces":                                "LNNN2222",
	"GET /namespaces/new":                            "LNNNFFF2",
	"POST /namespaces":                               "LNNNFFFI",
	"GET /namespaces/{namespace}/delete":             "LNNNFFF2",
	"POST /namespaces/{namespace}/delete":            "LNNNFFFC",
}

var letters = map[int]string{
	http.StatusOK: "2", http.StatusSeeOther: "3", http.StatusUnprocessableEntity: "I", http.StatusForbidden: "F",
	http.StatusNotFound: "N", http.StatusConflict: "C",
}

// objects are ids of dev's things in test, by the parts of the routes; what is
// not there has an id of something else.
func (s *shop) objects() map[string]string {
	m := s.vm(s.test, 1, domain.StateRunning)
	return map[string]string{
		"{system}": s.test.system, "{service}": s.test.service, "{vm}": m.ID.String(), "{cluster}": s.test.cluster, "{token}": "none", "{person}": m.ID.String(),
		"{draft}": m.ID.String(), "{filter}": m.ID.String(), "{guide}": "concepts", "{name}": "request-life.svg",
		"{namespace}": s.db.Ent.Namespace.Query().Where(inEnv(domain.Test)).OnlyIDX(s.t.Context()).String(),
	}
}

// filled is the path of a route with these ids in it.
func filled(pattern string, ids map[string]string) string {
	for name, id := range ids {
		pattern = strings.ReplaceAll(pattern, name, id)
	}
	return pattern
}

// people are browsers of everybody there is, with what they are to those things.
func (s *shop) people() ([]*browser, []string) {
	return []*browser{s.anonymous(), s.outsider, s.viewer, s.dev, s.approver, s.prodBoss, s.auditor, s.admin},
		[]string{"anonymous", "outsider", "viewer", "owner", "approver test", "approver prod", "auditor", "admin"}
}

func TestMatrix(t *testing.T) {
	s := newShop(t)
	own := s.objects()
	people, names := s.people()
	missing := "0190a3c0-0000-7000-8000-000000000000"
	count := 0
	for _, r := range s.Routes() {
		key := r.Method + " " + r.Pattern
		want, known := matrix[key]
		if !known || len(want) != len(people) {
			t.Errorf("%s is not in the matrix", key)
			continue
		}
		for i, b := range people {
			if (r.Pattern == paths.Logout || r.Pattern == paths.LogoutAll) && i > 0 {
				continue // ends the session that the others need
			}
			if strings.Contains(r.Pattern, "{ticket}") {
				own["{ticket}"] = fmt.Sprint(s.pendingTicket())
			}
			path, gone := filled(r.Pattern, own), r.Pattern
			for name := range own {
				gone = strings.ReplaceAll(gone, name, map[bool]string{true: "999999", false: missing}[name == "{ticket}"])
			}
			got := b.do(r.Method, path, "", nil)
			letter := letters[got.Status]
			if letter == "3" && strings.HasPrefix(got.Location, paths.Login+"?") {
				letter = "L"
			}
			if letter != want[i:i+1] {
				t.Errorf("%s as %s: got %d, want %s: %s", key, names[i], got.Status, want[i:i+1], got.main())
			}
			count++
			// What is not there looks like what is not yours: the same words.
			if gone == r.Pattern || letter != "N" || i == 0 {
				continue
			}
			other := b.do(r.Method, gone, "", nil)
			if other.Status != got.Status || other.text("#main") != got.text("#main") {
				t.Errorf("%s as %s: foreign %d %q, missing %d %q", key, names[i], got.Status, got.text("#main"), other.Status, other.text("#main"))
			}
		}
	}
	t.Logf("%d answers", count)
}

// Every link that a page could hold leads to a route.
func TestPathsHaveRoutes(t *testing.T) {
	s := newPortal(t)
	known := map[string]bool{}
	for _, r := range s.Routes() {
		known[r.Pattern] = true
	}
	for _, p := range []string{
		paths.Home, paths.Login, paths.Logout, paths.Theme, paths.Explorer, paths.Search, paths.NewSystem, paths.Systems, paths.Requests, paths.NewRequest,
		paths.Preview, paths.Approvals, paths.Clusters, paths.NewCluster, paths.Namespaces, paths.NewNamespace, paths.Catalog, paths.Audit, paths.AuditExport, paths.AuditFilters, paths.DeleteAuditFilter("{filter}"), paths.Trends,
		paths.Notifications, paths.Events, paths.Setup("{token}"), paths.System("{system}"), paths.EditSystem("{system}"), paths.DeleteSystem("{system}"),
		paths.SystemServices("{system}"), paths.NewService("{system}"), paths.Service("{service}"), paths.EditService("{service}"),
		paths.DeleteService("{service}"), paths.VM("{vm}"), paths.Power("{vm}"), paths.DeleteVM("{vm}"), paths.Cluster("{cluster}"),
		paths.CheckCluster("{cluster}"), paths.ClusterDraft("{draft}"), paths.CheckClusterDraft("{draft}"), paths.DeleteNamespace("{namespace}"),
		paths.PersonLink("{person}"), paths.Person("{person}"), paths.RemoveRole("{person}"), paths.EndSessions("{person}"), paths.Disable("{person}"), paths.Enable("{person}"), paths.LogoutAll, paths.Members("{system}"), paths.RemoveMember("{system}", "{person}"), paths.Docs, paths.Guide("{guide}"), paths.DocsImage("{name}"),
	} {
		if p = strings.NewReplacer("%7B", "{", "%7D", "}").Replace(p); !known[p] {
			t.Errorf("%s leads nowhere", p)
		}
	}
}
