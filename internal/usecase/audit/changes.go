package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// fields are what an entry may tell of a thing before and after a change, by
// the type of the thing and in the order in which pages show them. Nothing else
// is kept: a secret has no line here.
var fields = map[string][]string{
	"system":       {"name", "namespace", "environment", "owner", "documentation"},
	"service":      {"name", "documentation"},
	"vm":           {"state", "uid", "cpu", "memory_mib", "disk_gib"},
	"ticket":       {"status", "template", "size", "count", "disk_gib", "cluster"},
	"cluster":      {"enabled", "drained", "weight", "place", "hardware", "status", "reason", "server", "identity", "credential_kind", "credential_generation", "credential_expires_at", "quarantine", "gone", "back", "changed"},
	"namespace":    {"cluster", "environment", "presence"},
	"template":     {"version", "status", "display_name", "description", "image", "min_disk_gib", "cloud_init", "required_features", "required_hardware"},
	"size":         {"status", "cpu", "memory_mib", "disk_gib", "max_disk_gib"},
	"user":         {"display_name", "disabled", "roles", "setup_link", "setup_link_until", "session_epoch", "language", "identity", "admin_until", "owner", "description"},
	"token":        {"revoked"},
	"group":        {"name", "description", "external", "roles", "member"},
	"audit_filter": {"name", "shared", "query"},
}

// actions are all that an entry can be about, and whether it changes a thing
// that was there before: then it must tell before and after. A test holds the
// use cases against this table, and the table against the use cases.
var actions = map[string]struct{ update bool }{
	"system.create": {}, "system.update": {true}, "system.delete": {true}, "system.transfer": {true},
	"service.create": {}, "service.update": {true}, "service.delete": {true},

	"ticket.submit": {}, "ticket.approve": {true}, "ticket.reject": {true}, "ticket.withdraw": {true}, "ticket.expire": {true}, "ticket.retry": {true},
	"ticket.decide": {}, // a try
	"ticket.export": {}, // an evidence pack

	"vm.order":  {},                                                                   // what it does follows, as one of these:
	"vm.create": {}, "vm.delete": {}, "vm.start": {}, "vm.stop": {}, "vm.restart": {}, // the watcher may have been first to see the state

	"cluster.preflight": {}, "cluster.create": {}, "cluster.status": {true}, "cluster.enable": {true}, "cluster.disable": {true}, "cluster.drain": {true}, "cluster.undrain": {true}, "cluster.replace_credential": {true},
	"cluster.update": {true}, "cluster.delete": {},
	"cluster.quarantine": {true}, "cluster.accept": {true}, "cluster.release": {true}, "vm.accept": {true},
	"cluster.propose_credential": {}, "cluster.confirm_credential": {true}, "cluster.reject_credential": {}, "cluster.withdraw_credential": {}, "cluster.expire_credential": {},
	"keys.rotate":        {},
	"namespace.register": {}, "namespace.unregister": {true},
	"namespace.create": {}, "namespace.presence": {true}, // made in the cluster; what the cluster said of it
	"template.create": {}, "size.create": {},

	"user.create": {}, "user.invite": {true}, "user.bind": {true}, "user.unbind": {true}, "user.disable": {true}, "user.enable": {true}, "user.set_password": {true}, "user.set_language": {true},
	"user.break_glass": {}, "user.link_identity": {}, "user.unlink_identity": {},
	"group.create": {}, "group.update": {true}, "group.delete": {true}, "group.bind": {true}, "group.unbind": {true}, "group.add_member": {true}, "group.remove_member": {true},
	"service_account.create": {}, "service_account.update": {true}, "token.create": {}, "token.revoke": {true}, "token.refuse": {},
	"session.sign_in": {}, "session.sign_out": {}, "session.end_all": {true}, "session.end": {}, "session.end_others": {}, "session.confirm": {},

	"audit.export": {}, "audit.exported": {}, "audit.archive": {}, "audit.save_filter": {}, "audit.delete_filter": {true},
}

// Limits of a value in an entry.
const (
	maxValue = 500 // runes of a text
	maxItems = 50  // of a list
)

// changed is what is not equal before and after, of the fields that may be told.
func changed(kind string, before, after map[string]any) map[string]domain.Change {
	var all map[string]domain.Change
	for _, name := range fields[kind] {
		was, is := tell(before[name]), tell(after[name])
		if reflect.DeepEqual(was, is) {
			continue
		}
		if all == nil {
			all = map[string]domain.Change{}
		}
		all[name] = domain.Change{Before: was, After: is}
	}
	return all
}

// tell is a value as an entry keeps it: a number, a yes or no, a text or a list
// of texts. What is anything else is not kept.
func tell(v any) any {
	switch v := v.(type) {
	case bool, int, int64, float64:
		return v
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case *time.Time:
		if v == nil {
			return nil
		}
		return tell(*v)
	case []string:
		list := make([]string, 0, len(v))
		for _, text := range v[:min(len(v), maxItems)] {
			list = append(list, clip(text))
		}
		return list
	}
	if v := reflect.ValueOf(v); v.IsValid() && v.Kind() == reflect.String {
		if v.Len() == 0 {
			return nil
		}
		return clip(v.String())
	}
	return nil
}

// clip cleans a text. Of a long one the digest follows, so that a change behind
// the cut is seen.
func clip(text string) string {
	short := domain.CleanText(text, maxValue)
	if utf8.RuneCountInString(text) > maxValue {
		sum := sha256.Sum256([]byte(text))
		short += " sha256:" + hex.EncodeToString(sum[:8])
	}
	return short
}

// order sorts the names of changed fields as the allow-list has them.
func order(kind string, changes map[string]domain.Change) []string {
	var names []string
	for name := range changes {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return slices.Index(fields[kind], a) - slices.Index(fields[kind], b)
	})
	return names
}

// Updates names the actions that change a thing that was there before: entries
// of them tell before and after.
func Updates() []string {
	var names []string
	for name, a := range actions {
		if a.update {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
