package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// floors says which packages of ours a package may import. A line stands for
// the package and, with a trailing "/", for everything below it too. The first
// line that fits holds; a package without a line is a finding.
var floors = []struct{ pkg, may string }{
	{"internal/pkg/errors", ""},
	{"internal/domain", ""},
	{"internal/crypto", "internal/domain internal/pkg/errors"},
	{"internal/i18n", "internal/domain internal/pkg/errors internal/kubeconfig"},
	{"internal/kubeconfig/", "internal/domain internal/pkg/errors internal/kubeconfig"},
	{"migrations", ""},
	{"static", ""},
	{"docs", ""},
	{"docs/stale", "docs"},
	{"ent/schema", "internal/domain internal/pkg/errors"},
	{"ent/", "ent/ internal/domain internal/pkg/errors"},
	{"internal/database/gen", "internal/database"},
	{"internal/database", "internal/domain ent/ migrations internal/pkg/errors"},
	{"internal/databasetest", "internal/database"},
	{"internal/provider", "internal/domain internal/pkg/errors"},
	{"internal/provider/kubevirt", "internal/provider internal/domain internal/pkg/errors"},
	{"internal/provider/kubevirt/gates", ""},
	{"internal/provider/providertest", "internal/provider internal/domain internal/pkg/errors"},
	{"internal/testbed", ""},
	{"internal/clusterstub", ""},
	{"internal/policy", "ent/ internal/domain internal/pkg/errors"},
	{"internal/notify", "ent/ internal/domain internal/pkg/errors"},
	{"internal/auth", "ent/ internal/database internal/domain internal/pkg/errors"},
	{"internal/auth/oidc", "internal/domain internal/pkg/errors"},
	{"internal/live", "internal/database"},
	{"internal/usecase/listing", "ent/ internal/domain internal/pkg/errors"},
	{"internal/usecase/access", "ent/ internal/database internal/domain internal/pkg/errors"},
	{"internal/usecase/audit", base + " internal/crypto"},
	{"internal/usecase/account", base + " internal/auth internal/auth/oidc internal/notify"},
	{"internal/usecase/token", base + " internal/auth internal/crypto internal/notify internal/usecase/account"},
	{"internal/usecase/catalog", base + " internal/crypto"},
	{"internal/usecase/system", base},
	{"internal/usecase/service", base + " internal/usecase/system"},
	{"internal/usecase/idempotency", base},
	{"internal/usecase/inbox", base + " internal/notify"},
	{"internal/usecase/search", base},
	{"internal/usecase/trends", base},
	{"internal/usecase/keys", base + " internal/crypto"},
	{"internal/usecase/cluster", base + " internal/crypto internal/kubeconfig internal/notify internal/provider"},
	{"internal/usecase/vm", base + " internal/provider internal/policy internal/notify internal/usecase/cluster"},
	{"internal/usecase/approval", base + " internal/provider internal/policy internal/notify internal/usecase/account internal/usecase/cluster internal/usecase/catalog internal/usecase/vm"},
	{"internal/jobs", "ent/ internal/database internal/domain internal/pkg/errors internal/usecase/vm"},
	{"views/paths", ""},
	{"views/ui", "static internal/i18n"},
	{"views", "views/ui views/paths static internal/domain internal/i18n"},
	{"handlers/api/gen", "handlers/api"},
	{"handlers/api", "internal/domain internal/pkg/errors internal/i18n " +
		"internal/usecase/account internal/usecase/approval internal/usecase/audit internal/usecase/catalog internal/usecase/cluster internal/usecase/idempotency " +
		"internal/usecase/inbox internal/usecase/listing internal/usecase/search internal/usecase/service internal/usecase/system internal/usecase/token internal/usecase/trends internal/usecase/vm"},
	{"handlers", "handlers/api docs views views/ui views/paths static internal/domain internal/pkg/errors internal/i18n internal/auth internal/auth/oidc internal/live " +
		"internal/usecase/access internal/usecase/account internal/usecase/approval internal/usecase/audit internal/usecase/catalog internal/usecase/cluster internal/usecase/idempotency " +
		"internal/usecase/inbox internal/usecase/listing internal/usecase/search internal/usecase/service internal/usecase/system internal/usecase/token internal/usecase/trends internal/usecase/vm"},
	{"internal/gallery", "views views/ui views/paths static internal/domain internal/i18n"},
	{"internal/app", "*"},
	{"internal/cast", "*"},
	{"internal/demo", "*"},
	{"internal/bench", "*"},
	{"internal/arch", ""},
	{"internal/notices", ""},
	{"internal/client", ""},
	{"internal/arch/check", "internal/arch"},
	{"cmd/", "*"},
}

// base is what every use case may stand on.
const base = "ent/ internal/database internal/domain internal/pkg/errors internal/usecase/access internal/usecase/audit internal/usecase/listing"

// composers see everything and are seen by nobody but each other and cmd.
var composers = []string{"internal/app", "internal/cast", "internal/demo", "internal/bench"}

// homes says which of our packages may import a foreign one.
var homes = []struct{ prefix, may string }{
	{"k8s.io/", "internal/provider/kubevirt internal/bench internal/clusterstub"},
	{"kubevirt.io/", "internal/provider/kubevirt internal/bench"},
	{"sigs.k8s.io/", "internal/provider/kubevirt internal/bench"},
	{"github.com/jackc/pgx", "internal/database internal/databasetest internal/bench"},
	{"github.com/pressly/goose", "internal/database"},
	{"ariga.io/atlas", "internal/database internal/database/gen ent/"},
	{"github.com/riverqueue/river", "internal/database internal/jobs"},
	{"entgo.io/ent", "ent/ internal/database internal/usecase/ internal/auth"},
	{"github.com/go-chi/chi", "handlers"},
	{"github.com/alexedwards/scs", "handlers internal/app internal/auth"},
	{"github.com/go-playground/validator", "handlers"},
	{"github.com/a-h/templ", "views views/ui handlers internal/gallery internal/arch"},
	{"github.com/coreos/go-oidc", "internal/auth/oidc"},
	{"golang.org/x/oauth2", "internal/auth/oidc"},
	{"net/http", "handlers handlers/api internal/client internal/auth/oidc internal/gallery internal/app internal/provider/kubevirt internal/clusterstub internal/demo internal/bench cmd/"},
	{"github.com/danielgtaylor/huma", "handlers/api"},
	{"github.com/go-json-experiment", "handlers/api"},
	{"github.com/oapi-codegen/runtime", "internal/client"},
}

// CheckForbiddenImports finds imports that break the floors, and SQL written
// by hand outside migrations and the one reviewed file of the database package.
func CheckForbiddenImports(root string) ([]Finding, error) {
	files, err := sources(root, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, s := range files {
		generated := strings.HasPrefix(s.dir, "ent") && s.dir != "ent/schema"
		may, known := allowed(s.dir)
		if !known {
			found = append(found, s.finding(s.file.Package, "package %s has no line in the floors: say where it stands", s.dir))
			continue
		}
		for _, spec := range s.file.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			if own, ok := strings.CutPrefix(imp, Module+"/"); ok {
				if slices.Contains(composers, own) && !slices.Contains(composers, s.dir) && !strings.HasPrefix(s.dir, "cmd/") {
					found = append(found, s.finding(spec.Pos(), "%s must not import %s: nothing sees the composition root", s.dir, own))
				} else if !fits(own, may) {
					found = append(found, s.finding(spec.Pos(), "%s must not import %s", s.dir, own))
				}
				continue
			}
			if generated {
				continue
			}
			if s.dir == "internal/domain" || s.dir == "internal/pkg/errors" {
				if strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
					found = append(found, s.finding(spec.Pos(), "%s imports the standard library only, not %s", s.dir, imp))
				}
			}
			for _, h := range homes {
				if (imp == h.prefix || strings.HasPrefix(imp, h.prefix)) && !fits(s.dir, h.may) {
					// net/http/pprof and httptest belong to net/http
					found = append(found, s.finding(spec.Pos(), "%s must not import %s (its home: %s)", s.dir, imp, h.may))
				}
			}
		}
		if !generated && s.path != "internal/database/sql.go" && !slices.Contains(sqlAllowed, s.dir) {
			found = append(found, handwrittenSQL(s)...)
		}
	}
	return found, nil
}

// sqlAllowed may hold SQL: benches print the bare SELECTs that a page is held
// against, and the test support creates databases.
var sqlAllowed = []string{"internal/bench", "internal/databasetest", "internal/arch"}

func allowed(pkg string) (may string, known bool) {
	for _, f := range floors {
		if f.pkg == pkg || strings.HasSuffix(f.pkg, "/") && (strings.HasPrefix(pkg+"/", f.pkg)) {
			return f.may, true
		}
	}
	return "", false
}

func fits(pkg, may string) bool {
	for m := range strings.FieldsSeq(may) {
		if m == "*" || m == pkg || strings.HasSuffix(m, "/") && strings.HasPrefix(pkg+"/", m) {
			return true
		}
	}
	return false
}

var sql = regexp.MustCompile(`(?s)^\s*(SELECT\s.+|INSERT\s+INTO\s.+|UPDATE\s+\S+\s+SET\s.+|DELETE\s+FROM\s.+|ALTER\s+TABLE\s.+|CREATE\s+(TABLE|INDEX|DATABASE)\s.+|DROP\s+(TABLE|INDEX|DATABASE)\s.+|TRUNCATE\s.+|LISTEN\s.*|WITH\s+\S+\s+AS\s.+)`)

func handwrittenSQL(s source) []Finding {
	var found []Finding
	ast.Inspect(s.file, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		if text, err := strconv.Unquote(lit.Value); err == nil && sql.MatchString(text) {
			found = append(found, s.finding(lit.Pos(), "SQL written by hand: use ent, or internal/database/sql.go"))
		}
		return true
	})
	return found
}
