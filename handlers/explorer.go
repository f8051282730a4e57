package handlers

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/system"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// shownAttention is how many VMs that need somebody a page lists.
const shownAttention = 20

// showExplorer answers GET /explorer.
func (s *Server) showExplorer(w http.ResponseWriter, r *http.Request) error {
	tree, err := s.tree(w, r, "")
	if err != nil {
		return err
	}
	v := views.ExplorerView{Tree: tree}
	if _, _, part := treePart(fragment(r)); !part || fragment(r) == "" {
		// The whole page knows from the tree whether there is anything to read.
		if tree.Attention > 0 || fragment(r) != "" {
			if v.Attention, err = s.attention(r); err != nil {
				return err
			}
		}
		if v.Namespaces, err = s.namespaceCount(r); err != nil {
			return err
		}
		if v.Stale, err = s.staleNotes(r, ""); err != nil {
			return err
		}
	}
	sh, err := s.shell(r, i18n.T(r.Context(), "Explorer"), "explorer")
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, views.Explorer(sh, v))
}

// namespaceCount is how many namespaces the actor could make a system in.
func (s *Server) namespaceCount(r *http.Request) (int, error) {
	if !mayOn(r, domain.SystemCreate) {
		return 0, nil
	}
	list, err := s.Systems.Namespaces(r.Context(), actor(r))
	return len(list), err
}

// What is open is remembered by the browser, so that the tree looks the same on
// the next page and the next day; an address that says it wins.
const (
	treeCookie = "tree"
	treeAge    = 90 * 24 * 3600 // seconds
	treeKept   = 40             // rows; the longest open are forgotten first
)

// rowID is how the rows of the tree are called; nothing else is kept.
var rowID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// treePart says which part of the tree a fragment is: all of it, a branch, or
// the rest of one (of the systems, if id is ""). The whole page has all of it.
func treePart(fragment string) (id string, rest, ok bool) {
	switch kind, id, _ := strings.Cut(fragment, "-"); {
	case fragment == "" || fragment == "tree":
		return "", false, true
	case fragment == views.TreeRest(""):
		return "", true, true
	case views.TreeBranch(id) == fragment, views.TreeRest(id) == fragment:
		return id, views.TreeRest(id) == fragment, rowID.MatchString(id)
	default:
		return kind, false, false
	}
}

// tree is the explorer's tree as the address says, with the row of selected
// shown, or the part of it that is asked for. Parts of a page that are not the
// tree do not read it.
func (s *Server) tree(w http.ResponseWriter, r *http.Request, selected string) (views.TreeView, error) {
	id, rest, ok := treePart(fragment(r))
	if !ok {
		return views.TreeView{}, nil
	}
	q := r.URL.Query()
	query := system.TreeQuery{
		Open: openRows(r), Shut: rowIDs(q["shut"]), Query: q.Get("q"), Problems: q.Get("problems") != "", Selected: selected,
		Branch: id, Rest: rest, Upto: map[string]system.Shown{},
	}
	if show := rowIDs(q["show"]); len(show) > 0 {
		query.Open, query.Shut = append(except(query.Open, show), show...), except(query.Shut, show)
	}
	if hide := rowIDs(q["hide"]); len(hide) > 0 {
		query.Open, query.Shut = except(query.Open, hide), append(except(query.Shut, hide), hide...)
	}
	typed := r.Header.Get("HX-Trigger") == "tree-filter"
	if typed { // other rows than those that were long, or closed
		query.Shut = nil
	} else {
		for _, text := range append(q["upto"], q.Get("more")) {
			if parent, shown, ok := shownRows(text); ok {
				query.Upto[parent] = shown
			}
		}
	}
	t, err := s.Systems.Tree(r.Context(), actor(r), query)
	if err != nil {
		return views.TreeView{}, err
	}
	v := views.TreeView{
		Path: r.URL.Path, VMs: t.VMs, Total: t.Total, Attention: t.Bad, Query: query.Query, Problems: query.Problems, Selected: selected,
		Rest: treeRest("", len(t.Systems), t.Part), Shut: t.Shut, Open: query.Open,
	}
	for _, sys := range t.Systems {
		row := views.TreeSystem{
			ID: sys.ID, Name: sys.Name, Env: string(sys.Environment), Open: sys.Open, VMs: sys.VMs, Bad: sys.Bad,
			Rest: treeRest(sys.ID, len(sys.Services), sys.Part),
		}
		for _, sv := range sys.Services {
			row.Services = append(row.Services, treeService(r.Context(), sv))
		}
		v.Systems = append(v.Systems, row)
	}
	v.Opened()
	if err := s.markOld(r, &v, t); err != nil {
		return v, err
	}
	// A part that refreshes itself, perhaps in a tab that nobody looks at, is no
	// news of what the person wants to see.
	if own := r.Header.Get("HX-Trigger"); fragment(r) == "" || own != "tree" && !rest {
		s.rememberTree(w, r, v.Open)
		if fragment(r) != "" {
			w.Header().Set("HX-Replace-Url", v.Here())
		}
	}
	return v, nil
}

// openRows are the rows that the address opens. Without a word about it those
// that were open last.
func openRows(r *http.Request) []string {
	if list, ok := r.URL.Query()["open"]; ok {
		return rowIDs(list)
	}
	return rememberedTree(r)
}

func rememberedTree(r *http.Request) []string {
	c, err := r.Cookie(treeCookie)
	if err != nil {
		return nil
	}
	return rowIDs(strings.Split(c.Value, "."))
}

// rememberTree keeps what is open for the next page without a word about it.
func (s *Server) rememberTree(w http.ResponseWriter, r *http.Request, open []string) {
	open = rowIDs(open)
	if slices.Equal(open, rememberedTree(r)) {
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: treeCookie, Value: strings.Join(open, "."), Path: "/", MaxAge: treeAge, HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode,
	})
}

// rowIDs leaves out what is no row or there before, and all but the last.
func rowIDs(list []string) []string {
	var ids []string
	for _, id := range list {
		if rowID.MatchString(id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids[max(0, len(ids)-treeKept):]
}

func except(list, out []string) []string {
	return slices.DeleteFunc(list, func(id string) bool { return slices.Contains(out, id) })
}

// shownRows reads "parent:rows:cursor".
func shownRows(text string) (parent string, shown system.Shown, ok bool) {
	parent, text, _ = strings.Cut(text, ":")
	n, cursor, _ := strings.Cut(text, ":")
	rows, err := strconv.ParseUint(n, 10, 31)
	return parent, system.Shown{Rows: int(rows), Cursor: cursor}, err == nil && cursor != "" && (parent == "" || rowID.MatchString(parent))
}

// treeRest is where the rows of a list begin that are fetched later.
func treeRest(parent string, rows int, p system.TreePart) views.TreeRestView {
	word := func(s system.Shown) string {
		if s.Cursor == "" {
			return ""
		}
		return parent + ":" + strconv.Itoa(s.Rows) + ":" + s.Cursor
	}
	v := views.TreeRestView{Parent: parent, Upto: word(p.From), More: word(p.Next), Left: p.Left, At: rows}
	if p.Late {
		v.At--
	}
	return v
}

// markOld tells the VMs of the tree that are shown as last known.
func (s *Server) markOld(r *http.Request, v *views.TreeView, t system.Tree) error {
	var old stale
	for i, sys := range t.Systems {
		for j, sv := range sys.Services {
			for k, m := range sv.List {
				if old == nil {
					var err error
					if old, err = s.stale(r); err != nil {
						return err
					}
				}
				v.Systems[i].Services[j].List[k].Status = old.status(r.Context(), m.ClusterID, m.State, m.Problem)
			}
		}
	}
	return nil
}

func treeService(ctx context.Context, sv system.TreeService) views.TreeService {
	row := views.TreeService{ID: sv.ID, Name: sv.Name, Open: sv.Open, VMs: sv.VMs, Bad: sv.Bad, Rest: treeRest(sv.ID, len(sv.List), sv.Part)}
	for _, m := range sv.List {
		row.List = append(row.List, views.TreeVM{
			ID: m.ID, Name: shortName(sv.Name, m.Instance), Status: vmStatus(ctx, m.State, m.Problem, false, nil),
		})
	}
	return row
}

// attention lists the first VMs that need somebody.
func (s *Server) attention(r *http.Request) ([]views.Attention, error) {
	vms, err := s.Systems.Attention(r.Context(), actor(r), shownAttention)
	if err != nil || len(vms) == 0 {
		return nil, err
	}
	old, err := s.stale(r)
	var list []views.Attention
	for _, m := range vms {
		list = append(list, attentionRow(r, m, old))
	}
	return list, err
}

func attentionRow(r *http.Request, m system.TreeVM, old stale) views.Attention {
	a := views.Attention{
		Status: old.status(r.Context(), m.ClusterID, m.State, m.Problem), Name: m.Name, Href: paths.VM(m.ID), Env: string(m.Environment),
	}
	if m.Problem.IsZero() {
		a.Fact = i18n.Sentence(i18n.T(r.Context(), a.Status.Label))
		return a
	}
	e := message(r, m.Problem.Code, m.Problem.Params)
	a.Fact, a.Next = i18n.Join(e.What, e.Why), e.Next
	return a
}

// renamed moves the errors of a use case's field to the field of a form.
func renamed(err error, from, to string) error {
	list := apperr.Fields(err)
	if len(list) == 0 {
		return err
	}
	moved := make(apperr.List, len(list))
	for i, e := range list {
		if moved[i] = e; e.Field() == from {
			moved[i] = e.At(to)
		}
	}
	return moved
}
