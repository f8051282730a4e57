package audit

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/sqljson"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/approvalticket"
	"kubevirt-shepherd.io/shepherd/ent/auditanchor"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/ent/domainevent"
	"kubevirt-shepherd.io/shepherd/ent/predicate"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/ent/vm"
	"kubevirt-shepherd.io/shepherd/internal/database"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/access"
)

// Bounds of an evidence pack.
const (
	packEntries = 10_000
	packVMs     = 1000
)

// packTicket is ticket.json.
type packTicket struct {
	Ticket      string           `json:"ticket"`
	Title       string           `json:"title"`
	Operation   string           `json:"operation"`
	Environment string           `json:"environment"`
	Status      string           `json:"status"`
	System      string           `json:"system"`
	SystemID    string           `json:"system_id"`
	Service     string           `json:"service"`
	ServiceID   string           `json:"service_id"`
	VMID        string           `json:"vm_id,omitempty"`
	Requested   packDeed         `json:"requested"`
	Decided     *packDeed        `json:"decided,omitempty"`
	ExpiresAt   time.Time        `json:"expires_at"`
	FinishedAt  *time.Time       `json:"finished_at,omitempty"`
	Policy      string           `json:"policy,omitempty"` // that judged the request
	ClusterID   string           `json:"cluster_id,omitempty"`
	Cluster     string           `json:"cluster,omitempty"`
	SpecHash    string           `json:"spec_hash,omitempty"` // that was approved, and that alone was carried out
	Payload     json.RawMessage  `json:"request"`             // as it was sent, never changed
	Modified    *json.RawMessage `json:"approved_specification,omitempty"`
	Changes     []packChange     `json:"changed_by_approver"`
	Problem     *domain.Problem  `json:"problem,omitempty"`
}

type packDeed struct {
	By     string    `json:"by"`
	ByID   string    `json:"by_id,omitempty"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

type packChange struct {
	Field    string `json:"field"`
	Asked    any    `json:"asked"`
	Approved any    `json:"approved"`
}

// packEvent is a line of events.jsonl: the request, or an order to the worker.
type packEvent struct {
	ID          string          `json:"id"`
	Type        string          `json:"type"`
	Aggregate   string          `json:"aggregate"`
	At          time.Time       `json:"at"`
	By          string          `json:"by"`
	Payload     json.RawMessage `json:"payload"`
	Status      string          `json:"status"`
	Step        string          `json:"step"`
	Attempts    int             `json:"attempts"`
	Worker      string          `json:"worker,omitempty"`
	ProcessedAt *time.Time      `json:"processed_at,omitempty"`
	Problem     *domain.Problem `json:"problem,omitempty"`
}

type packVM struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Namespace string         `json:"namespace"`
	Cluster   string         `json:"cluster"`
	UID       string         `json:"uid,omitempty"`
	State     string         `json:"state"`
	CreatedAt time.Time      `json:"created_at"`
	DeletedAt *time.Time     `json:"deleted_at,omitempty"`
	Revisions []packRevision `json:"revisions"`
}

type packRevision struct {
	Revision int                   `json:"revision"`
	Ticket   int                   `json:"ticket"`
	By       string                `json:"by"`
	At       time.Time             `json:"at"`
	Spec     domain.ChangeableSpec `json:"specification"`
}

type packPerson struct {
	ID          string `json:"id,omitempty"`
	Username    string `json:"username"`
	DisplayName string `json:"display_name,omitempty"` // now; user names never change
}

// Pack is an evidence pack that is about to be written.
type Pack struct {
	log *Log
	m   Bundle
	t   *ent.ApprovalTicket
}

// Name is what the file is called.
func (p *Pack) Name() string {
	return "shepherd-evidence-" + p.m.Ticket + "-" + p.m.At.Format("20060102T150405Z") + ".zip"
}

// Pack begins an evidence pack of a ticket: all that there is about it, in a
// form that proves itself without us. NOT_FOUND when the actor may not know of
// the ticket, FORBIDDEN when it may not have it. That it was made is on record
// before a byte leaves, and in the pack.
func (l *Log) Pack(ctx context.Context, actor domain.Actor, number int) (*Pack, error) {
	t, err := l.DB.Ent.ApprovalTicket.Query().Where(approvalticket.ID(number)).WithEvent().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, apperr.New(apperr.ErrNotFound)
	}
	if err != nil {
		return nil, database.Classify(err)
	}
	if err := access.Check(actor, domain.TicketExport, access.Ticket(t)); err != nil {
		return nil, err
	}
	if _, err := l.signer(); err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	p := &Pack{log: l, t: t, m: Bundle{Ticket: domain.TicketName(number), By: actor.Username, At: &now}}
	return p, database.Classify(Record(ctx, l.DB.Ent, actor, Entry{
		Action: "ticket.export", ResourceType: "ticket", ResourceID: fmt.Sprint(number), ResourceName: p.m.Ticket, SystemID: t.SystemID.String(),
		Details: map[string]any{"title": t.Title, "file": p.Name()},
	}))
}

// Write writes the pack.
func (p *Pack) Write(ctx context.Context, w io.Writer) error {
	events, err := p.events(ctx)
	if err != nil {
		return err
	}
	vms, err := p.vms(ctx)
	if err != nil {
		return err
	}
	rows, err := p.entries(ctx, vms)
	if err != nil {
		return err
	}
	links, heads, err := p.seals(ctx, rows)
	if err != nil {
		return err
	}
	people, err := p.people(ctx, rows)
	if err != nil {
		return err
	}
	ticket, err := p.ticket(ctx, rows)
	if err != nil {
		return err
	}
	if p.m.Archived, err = p.archived(ctx); err != nil {
		return err
	}

	b := newBundler(w, packKind)
	p.m.Kind, p.m.Head = packKind, &heads[len(heads)-1]
	b.m = p.m
	err = errors.Join(
		b.text("README.txt", packReadme),
		b.json("ticket.json", ticket),
		b.add("events.jsonl", func(w io.Writer) error { return each(w, events) }),
		b.json("vms.json", vms),
		b.json("people.json", people),
		b.add(entriesFile, func(w io.Writer) error { return each(w, links) }),
		b.add("heads.jsonl", func(w io.Writer) error { return each(w, heads) }),
	)
	if err != nil {
		return err
	}
	return b.close(p.log)
}

func each[T any](w io.Writer, all []T) error {
	out := json.NewEncoder(w)
	for _, v := range all {
		if err := out.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pack) events(ctx context.Context) ([]packEvent, error) {
	rows, err := p.log.DB.Ent.DomainEvent.Query().Where(domainevent.Or(domainevent.ID(p.t.EventID), domainevent.TicketID(p.t.ID))).
		Order(ent.Asc(domainevent.FieldCreatedAt, domainevent.FieldID)).Limit(packVMs + 1).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	all := make([]packEvent, 0, len(rows))
	for _, e := range rows {
		all = append(all, packEvent{
			e.ID.String(), string(e.Type), e.AggregateType + " " + e.AggregateID, e.CreatedAt.UTC(), e.CreatedBy, e.Payload, string(e.Status), string(e.Step),
			e.Attempts, e.Worker, e.ProcessedAt, problem(e.Problem),
		})
	}
	return all, nil
}

func problem(p domain.Problem) *domain.Problem {
	if p.IsZero() {
		return nil
	}
	return &p
}

func (p *Pack) vms(ctx context.Context) ([]packVM, error) {
	where := vm.TicketID(p.t.ID)
	if p.t.VMID != nil {
		where = vm.ID(*p.t.VMID)
	}
	rows, err := p.log.DB.Ent.VM.Query().Where(where).WithCluster().WithRevisions().Order(vm.ByInstance()).Limit(packVMs).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	all := make([]packVM, 0, len(rows))
	for _, r := range rows {
		v := packVM{r.ID.String(), r.Name, r.Namespace, r.Edges.Cluster.Name, r.UID, string(r.State), r.CreatedAt.UTC(), r.DeletedAt, nil}
		for _, n := range r.Edges.Revisions {
			v.Revisions = append(v.Revisions, packRevision{n.Revision, n.TicketID, n.CreatedBy, n.CreatedAt.UTC(), n.Spec})
		}
		all = append(all, v)
	}
	return all, nil
}

// entries are those about the ticket, and those about its VMs that name it.
func (p *Pack) entries(ctx context.Context, vms []packVM) ([]*ent.AuditLog, error) {
	about := []predicate.AuditLog{auditlog.And(auditlog.ResourceType("ticket"), auditlog.ResourceID(fmt.Sprint(p.t.ID)))}
	if len(vms) > 0 {
		var ids []string
		for _, v := range vms {
			ids = append(ids, v.ID)
		}
		about = append(about, auditlog.And(auditlog.ResourceType("vm"), auditlog.ResourceIDIn(ids...), func(s *sql.Selector) {
			s.Where(sqljson.ValueEQ(auditlog.FieldDetails, p.t.ID, sqljson.Path("ticket")))
		}))
	}
	rows, err := p.log.DB.Ent.AuditLog.Query().Where(auditlog.Or(about...)).Order(ent.Asc(auditlog.FieldID)).Limit(packEntries).All(ctx)
	return rows, database.Classify(err)
}

// seals are the links of the entries, and their hashes signed, as heads are;
// the last head is that of the whole chain. Entries that wait are sealed first.
func (p *Pack) seals(ctx context.Context, rows []*ent.AuditLog) (links []sealed, heads []Head, err error) {
	ids := make([]int64, 0, len(rows))
	for _, r := range rows {
		ids = append(ids, int64(r.ID))
	}
	for range 20 { // another process may be sealing just now
		if _, err := p.log.Seal(ctx); err != nil {
			return nil, nil, err
		}
		links, heads = nil, nil
		err := p.log.DB.AuditLinks(ctx, ids, func(a database.AuditLink, before []byte) error {
			s, _, err := sealedOf(a.Seq, a.Hash, a.Row)
			if err != nil {
				return err
			}
			if before == nil {
				before = make([]byte, len(a.Hash))
			}
			s.Before = hex.EncodeToString(before)
			if err := s.check(before); err != nil {
				return fault("entry-changed", a.Seq, a.Entry, "entry %d or its seal was changed (link %d)", a.Entry, a.Seq)
			}
			head, err := p.log.sign(tip{a.Seq, s.Hash})
			links, heads = append(links, s), append(heads, head)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		if len(links) == len(ids) {
			head, err := p.log.Head(ctx)
			return links, append(heads, head), err
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil, nil, apperr.New(apperr.ErrUnavailable).Because(errors.New("entries of the audit log were not sealed in time"))
}

// people names everybody who has to do with the ticket.
func (p *Pack) people(ctx context.Context, rows []*ent.AuditLog) ([]packPerson, error) {
	names := []string{p.t.Requester, p.t.Approver}
	for _, r := range rows {
		names = append(names, r.Actor, r.OnBehalfOf)
	}
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
	users, err := p.log.DB.Ent.User.Query().Where(user.UsernameIn(names...)).All(ctx)
	if err != nil {
		return nil, database.Classify(err)
	}
	all := make([]packPerson, 0, len(names))
	for _, name := range names {
		who := packPerson{Username: name}
		for _, u := range users {
			if u.Username == name {
				who.ID, who.DisplayName = u.ID.String(), u.DisplayName
			}
		}
		all = append(all, who)
	}
	return all, nil
}

func (p *Pack) ticket(ctx context.Context, rows []*ent.AuditLog) (packTicket, error) {
	t := p.t
	v := packTicket{
		Ticket: p.m.Ticket, Title: t.Title, Operation: string(t.Operation), Environment: string(t.Environment), Status: string(t.Status),
		System: t.SystemName, SystemID: t.SystemID.String(), Service: t.ServiceName, ServiceID: t.ServiceID.String(),
		Requested: packDeed{t.Requester, t.RequesterID.String(), t.CreatedAt.UTC(), t.Reason},
		ExpiresAt: t.ExpiresAt.UTC(), FinishedAt: t.FinishedAt, SpecHash: t.SpecHash, Payload: t.Edges.Event.Payload, Problem: problem(t.Problem), Changes: []packChange{},
	}
	if t.VMID != nil {
		v.VMID = t.VMID.String()
	}
	if t.DecidedAt != nil {
		v.Decided = &packDeed{By: t.Approver, At: t.DecidedAt.UTC(), Reason: t.DecisionReason}
		if t.ApproverID != nil {
			v.Decided.ByID = t.ApproverID.String()
		}
	}
	for _, r := range rows {
		if name, ok := r.Details["policy"].(string); ok && r.Action == "ticket.submit" {
			v.Policy = name
		}
	}
	if t.ClusterID != nil {
		v.ClusterID, v.Cluster = t.ClusterID.String(), p.log.nameOf(ctx, "cluster", t.ClusterID.String())
	}
	if t.ModifiedSpec == nil {
		return v, nil
	}
	approved, err := json.Marshal(t.ModifiedSpec)
	if err != nil {
		return v, err
	}
	v.Modified = (*json.RawMessage)(&approved)
	var asked struct {
		Spec map[string]any `json:"spec"`
	}
	var now map[string]any
	if err := errors.Join(json.Unmarshal(t.Edges.Event.Payload, &asked), json.Unmarshal(approved, &now)); err != nil {
		return v, err
	}
	for _, name := range slices.Sorted(keys(asked.Spec, now)) {
		if asked.Spec[name] != now[name] { // texts and numbers
			v.Changes = append(v.Changes, packChange{name, asked.Spec[name], now[name]})
		}
	}
	return v, nil
}

// keys are those of both maps.
func keys(a, b map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range a {
			if !yield(name) {
				return
			}
		}
		for name := range b {
			if _, both := a[name]; !both && !yield(name) {
				return
			}
		}
	}
}

// archived names the archives that may hold entries of the ticket.
func (p *Pack) archived(ctx context.Context) ([]string, error) {
	oldest, err := p.log.DB.Ent.AuditLog.Query().Order(ent.Asc(auditlog.FieldID)).First(ctx)
	if ent.IsNotFound(err) || err == nil && oldest.CreatedAt.Before(p.t.CreatedAt) {
		return nil, nil
	}
	if err != nil {
		return nil, database.Classify(err)
	}
	names, err := p.log.DB.Ent.AuditAnchor.Query().Where(auditanchor.AtGTE(p.t.CreatedAt)).Order(ent.Asc(auditanchor.FieldID)).Select(auditanchor.FieldFile).Strings(ctx)
	return names, database.Classify(err)
}

// PackReport is what VerifyPack has looked at.
type PackReport struct {
	Ticket    string
	By        string
	At        time.Time
	Entries   int
	PublicKey string // in base64
}

// VerifyPack checks an evidence pack without a database: the signature, by the
// given public key in base64 or else by the one in the pack, every file, and
// the hash and the signed head of every entry. The error says what is wrong.
func VerifyPack(r io.ReaderAt, size int64, key string) (PackReport, error) {
	var public ed25519.PublicKey
	if key != "" {
		var err error
		if public, err = base64.StdEncoding.DecodeString(strings.TrimSpace(key)); err != nil || len(public) != ed25519.PublicKeySize {
			return PackReport{}, errors.New("the public key is not 32 bytes in base64")
		}
	}
	m, open, err := openBundle(r, size, packKind, public)
	if err != nil {
		return PackReport{}, err
	}
	report := PackReport{Ticket: m.Ticket, By: m.By, PublicKey: m.PublicKey}
	if m.At == nil || m.Head == nil {
		return report, errors.New("its manifest has no time or no head")
	}
	report.At = *m.At
	if public == nil {
		if public, err = base64.StdEncoding.DecodeString(m.PublicKey); err != nil {
			return report, err
		}
	}
	file, err := open("heads.jsonl")
	if err != nil {
		return report, err
	}
	defer func() { _ = file.Close() }()
	heads, err := ReadHeads(file)
	if err != nil {
		return report, err
	}
	hashes := map[int64]string{}
	for _, h := range heads {
		if !ed25519.Verify(public, h.signed(), h.Signature) {
			return report, fmt.Errorf("the head of link %d has no valid signature", h.Seq)
		}
		hashes[h.Seq] = h.Hash
	}
	entries, err := open(entriesFile)
	if err != nil {
		return report, err
	}
	defer func() { _ = entries.Close() }()
	last := sealed{Hash: strings.Repeat("0", 64)} // before link 1
	err = lines(entries, func(s sealed) error {
		before, err := hex.DecodeString(s.Before)
		if err != nil || len(before) != 32 {
			return fmt.Errorf("link %d does not say what is before it", s.Seq)
		}
		if err := s.check(before); err != nil {
			return err
		}
		switch {
		case hashes[s.Seq] != s.Hash:
			return fmt.Errorf("link %d has no signed head", s.Seq)
		case s.Seq <= last.Seq:
			return fmt.Errorf("link %d stands behind link %d", s.Seq, last.Seq)
		case s.Seq == last.Seq+1 && s.Before != last.Hash:
			return fmt.Errorf("link %d does not follow link %d", s.Seq, last.Seq)
		}
		last = s
		report.Entries++
		return nil
	})
	if err == nil && report.Entries == 0 {
		err = errors.New("it has no entry")
	}
	return report, err
}

// packReadme tells whoever gets a pack how to check it, with our program or
// without it.
const packReadme = `Evidence pack of a ticket of KubeVirt Shepherd.

ticket.json    what was asked, who decided and why, what the approver changed,
               and the policy that judged it
events.jsonl   the request as it was sent, and the orders to the workers: one job each
vms.json       the virtual machines, with every approved specification
people.json    who had to do with it. User names never change.
audit.jsonl    every entry of the audit log about the ticket and its machines, one
               a line: "entry" for readers, and the link of the hash chain
heads.jsonl    the hashes of these links, each signed, and the head of the whole chain
manifest.json  the SHA-256 of the files. "archived" names archives of the audit log
               that may have older entries of this ticket.
manifest.sig   Ed25519 signature, in base64, over the line "shepherd manifest v1",
               a line feed, and the bytes of manifest.json

To check it, without a network or a database:

    shepherd audit verify-pack -key KEY FILE

KEY is the public key of the installation: get it from somebody whom you trust,
not from the pack. "shepherd audit key" prints it there. Without -key the pack is
held against the key that it names itself, which shows damage, but not forgery.

What is checked, for who wants to do it with other tools:

1. manifest.sig is a signature of manifest.json, and the files have the digests
   that it lists.
2. For each line of audit.jsonl, with | for one after the other:
   hash = SHA-256( "shepherd audit v1" and a line feed | seq, 8 bytes, big endian |
   before, 32 bytes | row, from base64 ). row is PostgreSQL's binary form of the
   entry's columns: their number, then type, length and bytes of each.
3. heads.jsonl has a signed line with the same seq and hash. The signature is over
   the four lines "shepherd audit head v1", seq, hash and at.

Who has the installation can hold it against this pack, now or in years:

    shepherd audit verify -heads heads.jsonl

finds out whether the log was rewritten or cut since the pack was made.
`
