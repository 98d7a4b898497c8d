package engine

// Sites that come and go while an engine runs. Which there are is decided by the heart and kept in
// the control state; a table of routes is what the shell has of them:
//
//	AddPeer      audit ▸ route ▸ heart (learner, record) ▸ flushed
//	RemovePeer   audit ▸ heart (loss, refusal, record) ▸ route ends ▸ waiters ▸ flushed
//	Forget       the same, for a site that is gone: nobody is told

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claudefs/repl/engine/audit"
	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// The heart remembers as many removed sites as the control state keeps.
const _, _ = uint(node.RemovedMax - journal.RemovedSitesMax), uint(journal.RemovedSitesMax - node.RemovedMax)

// Why a peer is not given up.
var (
	// ErrHeard: it has answered before, and may come back for what it lacks.
	ErrHeard = node.ErrHeard
	// ErrLinked: it is linked now, so that it is not gone.
	ErrLinked = node.ErrLinked
	// ErrWriter: it writes this cluster.
	ErrWriter = node.ErrWriter
)

// ForgetOptions say how a peer is forgotten.
type ForgetOptions struct {
	Only bool // report what it would cost, and change nothing
	Gone bool // although it has answered before: it is gone for good
	// By is who asks, for the audit trail: such as the address of a client. "" = the program
	// that runs the engine.
	By string
}

// RemoveOptions say how a site is removed.
type RemoveOptions struct {
	Only bool   // report what it would cost, and change nothing
	By   string // who asks, for the audit trail and for the removed site; as in ForgetOptions
}

// ForgetReport is what it costs to forget or remove a peer, as JSON in schema 1.
type ForgetReport struct {
	Schema int    `json:"schema"` // 1
	Kind   string `json:"kind"`   // "forget" or "sites-remove"
	Site   string `json:"site"`   // the one that is given up
	Done   bool   `json:"done"`   // false: only asked for what it would cost
	Heard  bool   `json:"heard"`  // it answered, in this life of the engine or before

	// What the site could not be given any more, should it come: it would need a copy of
	// the whole.
	Shards  int   `json:"shards_count"` // of whose logs it has not confirmed all
	Entries int64 `json:"entries"`      // of them that it has not confirmed
	// LastEntries it has confirmed, and neither journal nor Store of this site has.
	LastEntries int64 `json:"last_copy_entries"`
	// What the own journal keeps now; what is kept for that site alone of it is given back.
	JournalBytes    int64 `json:"journal_bytes"`
	JournalSegments int   `json:"journal_segments"`
}

// AddReport is a site that was taken in, as JSON in schema 1.
type AddReport struct {
	Schema  int      `json:"schema"` // 1
	Kind    string   `json:"kind"`   // "sites-add"
	Site    string   `json:"site"`
	Addrs   []string `json:"addrs"`
	Known   bool     `json:"known"`   // it was a peer before: only its addresses changed
	Learner bool     `json:"learner"` // it counts for nothing until it holds everything
}

// PeersReport lists the peers of a site, as JSON in schema 1.
type PeersReport struct {
	Schema  int           `json:"schema"` // 1
	Kind    string        `json:"kind"`   // "sites"
	Site    string        `json:"site"`   // whose peers
	At      time.Time     `json:"at"`
	Peers   []KnownPeer   `json:"peers"` // sorted by name
	Removed []RemovedPeer `json:"removed"`
}

// Words of KnownPeer.Source, a closed list.
const (
	PeerByOptions  = "options" // Options.Peers names it, and nothing is on record
	PeerOnRecord   = "record"  // it was taken in while this site ran; a start needs no name
	PeerRegistered = "kept"    // no longer configured, and what it is missing is kept for it
)

// KnownPeer is a peer as a site knows it.
type KnownPeer struct {
	Site    string   `json:"site"`
	Addrs   []string `json:"addrs"`
	Source  string   `json:"source"` // "options", "record" or "kept"
	Learner bool     `json:"learner"`
	Link    string   `json:"link"` // as in Status
}

// RemovedPeer is a site that was removed, and is refused.
type RemovedPeer struct {
	Site string    `json:"site"`
	By   string    `json:"removed_by"`
	At   time.Time `json:"removed_at"`
}

// routes are those to all configured peers, sorted by site: a table that is never changed, only
// replaced, under members.
func (e *Engine) routes() []*route {
	if table := e.table.Load(); table != nil {
		return *table
	}
	return nil
}

// setRoutes replaces the table.
func (e *Engine) setRoutes(table []*route) {
	slices.SortFunc(table, func(a, b *route) int { return cmp.Compare(a.site, b.site) })
	e.table.Store(&table)
}

// openRoutes makes the table of an engine that opens: the peers of the options, and those on
// record. What both name, the options decide, and so it is on record from then on. sites is the
// record as it is then.
func (e *Engine) openRoutes(control *journal.Control) (sites []wire.SiteRecord, err error) {
	sites = slices.Clone(control.Sites)
	var table []*route
	for _, m := range node.Members(e.namedPeers(), sites, control.Removed) {
		addrs := e.namedAddrs(m.Name)
		switch {
		case m.Record == nil:
		case addrs == nil:
			addrs = m.Record.Addrs
		case !slices.Equal(addrs, m.Record.Addrs):
			before := m.Record.Addrs
			m.Record.Addrs = slices.Clone(addrs)
			e.opening = append(e.opening, &event.SiteNamed{
				Place: event.Place{Peer: m.Site}, Addrs: addrs, Record: before,
			})
			records := []journal.ControlRecord{{Site: m.Record}}
			if _, err := e.own.j.StageControl(records, wire.StampOf(time.Now())); err != nil {
				return nil, fmt.Errorf("own journal of site %s: %w", e.id.siteName, err)
			}
		}
		table = append(table, e.newRoute(peerInfo{site: m.Site, name: m.Name, slot: len(table)}, addrs))
	}
	for i := range control.Removed {
		if r := &control.Removed[i]; e.namedAddrs(r.Name) != nil {
			e.opening = append(e.opening, &event.SiteNamed{Place: event.Place{Peer: r.Site}, Removed: removedBy(r)})
		}
	}
	e.setRoutes(table)
	return sites, e.checkPeers(len(table))
}

// removedBy says who removed a site, and when.
func removedBy(r *wire.RemovedSite) string {
	return fmt.Sprintf("by %s on %s", r.By, r.At.Time().UTC().Format(time.DateTime+" UTC"))
}

// namedPeers are the peers of the options, as the heart knows them.
func (e *Engine) namedPeers() (peers []node.Peer) {
	for _, p := range e.o.Peers {
		peers = append(peers, node.Peer{
			Site: wire.SiteIDOf(e.o.Cluster, p.Site), Name: p.Site, NoAddress: len(p.Addrs) == 0,
		})
	}
	slices.SortFunc(peers, func(a, b node.Peer) int { return cmp.Compare(a.Site, b.Site) })
	return peers
}

// namedAddrs are the addresses that the options have of a peer; nil if they do not name it.
func (e *Engine) namedAddrs(name string) []string {
	for _, p := range e.o.Peers {
		if p.Site == name {
			return append([]string{}, p.Addrs...)
		}
	}
	return nil
}

// checkPeers says what is wrong with so many peers, whoever named them.
func (e *Engine) checkPeers(count int) error {
	if count > 0 && !e.o.Insecure {
		return fmt.Errorf("%w: site %s has %d peers, and Insecure is false: links have no TLS in this release; "+
			"on a trusted network set Insecure (cfs server: --insecure)", ErrOptions, e.id.siteName, count)
	}
	if count > peersMax {
		return fmt.Errorf("%w: site %s would have %d peers: at most %d are possible: remove one first",
			ErrOptions, e.id.siteName, count, peersMax)
	}
	if text := e.o.headsFor(count); text != "" {
		return fmt.Errorf("%w: %s", ErrOptions, text)
	}
	return nil
}

// AddPeer takes a site in while the engine runs: it is dialed at these addresses and its sessions
// are accepted, also if it was removed before; a later Open needs no name for it. A new site is a
// learner: it counts in no Durable or Applied until it holds everything. Of a site that is a peer
// already only the addresses change. It has to be added at every site, and the site itself has to
// name the others. by is who asks, as in ForgetOptions. It is in the audit trail before it is
// done, else it is not done (ErrAudit), and durable when AddPeer returns. ErrOptions: the name or
// an address is wrong, or there are too many peers.
func (e *Engine) AddPeer(p Peer, by string) (*AddReport, error) {
	if e.closing.Load() {
		return nil, ErrClosed
	}
	e.members.Lock()
	defer e.members.Unlock()
	if err := e.checkAdded(&p); err != nil {
		return nil, err
	}
	in := node.AddPeer{Peer: node.Peer{Site: wire.SiteIDOf(e.o.Cluster, p.Site), Name: p.Site}, Addrs: p.Addrs}
	what := "dialed at " + strings.Join(p.Addrs, ", ")
	if err := e.audited(audit.Entry{Kind: "sites-add", Peer: p.Site, Shard: -1, What: what}, by, func() error {
		return e.takeIn(&in)
	}); err != nil {
		return nil, err
	}
	report := &AddReport{
		Schema: 1, Kind: "sites-add", Site: p.Site, Addrs: slices.Clone(p.Addrs), Known: in.Known, Learner: in.Learner,
	}
	return report, e.awaitRecord("taken in")
}

// checkAdded says what is wrong with a site that is to be taken in.
func (e *Engine) checkAdded(p *Peer) error {
	site := wire.SiteIDOf(e.o.Cluster, p.Site)
	known := e.routeTo(site)
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrOptions}, args...)...)
	}
	switch {
	case checkName(p.Site) != "":
		return wrong("the name of a site is %q: %s", p.Site, checkName(p.Site))
	case p.Site == e.id.siteName:
		return wrong("site %s is this one: name another", p.Site)
	case site == e.id.site || known != nil && known.name != p.Site:
		return wrong("the id %08x of site %s is also that of site %s: name it otherwise",
			uint32(site), p.Site, e.siteName(site))
	case len(p.Addrs) == 0 || len(p.Addrs) > journal.SiteAddrsMax:
		return wrong("site %s has %d addresses: want 1 to %d", p.Site, len(p.Addrs), journal.SiteAddrsMax)
	}
	for _, addr := range p.Addrs {
		if text := e.o.checkAddr(addr); text != "" {
			return wrong("the address of site %s is %q: %s", p.Site, addr, text)
		}
		if len(addr) > journal.SiteAddrBytesMax {
			return wrong("an address of site %s has %d bytes: at most %d are possible",
				p.Site, len(addr), journal.SiteAddrBytesMax)
		}
	}
	if known != nil {
		return nil
	}
	return e.checkPeers(len(e.routes()) + 1)
}

// takeIn makes the route of a peer before the heart may dial it.
func (e *Engine) takeIn(in *node.AddPeer) error {
	before := e.routes()
	known := e.routeTo(in.Peer.Site)
	if known == nil {
		r := e.newRoute(peerInfo{site: in.Peer.Site, name: in.Peer.Name, slot: freeSlot(before)}, in.Addrs)
		e.setRoutes(append(slices.Clone(before), r))
	}
	switch e.step(in); {
	case errors.Is(in.Err, node.ErrOver):
		e.setRoutes(slices.Clone(before))
		return fmt.Errorf("site %s does not take site %s in now: %w: %w", e.id.siteName, in.Peer.Name, in.Err, ErrBusy)
	case in.Err != nil:
		e.setRoutes(slices.Clone(before))
		return fmt.Errorf("site %s does not take site %s in: %w: at most %d peers are possible, removed ones that "+
			"are still written down included: try again", e.id.siteName, in.Peer.Name, in.Err, peersMax)
	}
	if known != nil {
		known.move(in.Addrs)
	}
	return nil
}

// freeSlot is the lowest slot that no peer has.
func freeSlot(table []*route) (slot int) {
	for slices.ContainsFunc(table, func(r *route) bool { return r.slot == slot }) {
		slot++
	}
	return slot
}

// RemovePeer gives a living site up: it is told, and from then on refused, until AddPeer takes it
// in again; nothing is kept for it, and nothing that it confirmed counts. The report says what
// only that site has. The primary is not removed (ErrWriter); a site that nobody knows is
// ErrOptions. Who waits for a level that so few peers cannot reach gets ErrOptions. It has to be
// removed at every site. Audited and durable as AddPeer.
func (e *Engine) RemovePeer(site string, o RemoveOptions) (*ForgetReport, error) {
	in := &node.Forget{Site: wire.SiteIDOf(e.o.Cluster, site), Remove: true, By: "the program that runs the node"}
	if o.By != "" {
		in.By = "admin " + o.By
	}
	return e.giveUp(in, "sites-remove", site, o.Only, o.By)
}

// Forget gives up a peer that never answered, such as a mistyped name, or with Gone one that
// did and will not come back: nothing is kept for it any more, its word is not waited for, what
// it confirmed counts no more, and it is not dialed until the next Open that names it. One that
// has answered wants Gone (ErrHeard), is not linked now (ErrLinked) and is not the primary
// (ErrWriter); one that nobody knows is ErrOptions. Audited and durable as AddPeer.
func (e *Engine) Forget(site string, o ForgetOptions) (*ForgetReport, error) {
	in := &node.Forget{Site: wire.SiteIDOf(e.o.Cluster, site), Gone: o.Gone}
	return e.giveUp(in, "forget", site, o.Only, o.By)
}

// giveUp forgets or removes a peer.
func (e *Engine) giveUp(in *node.Forget, kind, site string, only bool, by string) (*ForgetReport, error) {
	if e.closing.Load() {
		return nil, ErrClosed
	}
	e.members.Lock()
	defer e.members.Unlock()
	in.Only = true
	e.step(in)
	if in.Err == nil && !only {
		what := fmt.Sprintf("%d entries of %d shards are not kept for it any more, %d that only it has are given up",
			in.Loss.Entries, in.Loss.Shards, in.Loss.Last)
		err := e.audited(audit.Entry{Kind: kind, Peer: site, Shard: -1, What: what}, by, func() error {
			in.Only = false
			if e.step(in); in.Err == nil {
				e.dropRoute(in.Site)
			}
			return in.Err
		})
		if errors.Is(err, ErrAudit) {
			return nil, err
		}
		if err == nil {
			err = e.awaitRecord("given up")
		}
		if err != nil && in.Err == nil {
			return nil, err
		}
	}
	switch {
	case errors.Is(in.Err, node.ErrOver):
		return nil, fmt.Errorf("site %s does not give site %s up now: %w: %w", e.id.siteName, site, in.Err, ErrBusy)
	case errors.Is(in.Err, node.ErrNoPeer):
		return nil, fmt.Errorf("site %s has no peer %q: %w", e.id.siteName, site, ErrOptions)
	case in.Err != nil:
		return nil, fmt.Errorf("site %s does not give site %s up: %w", e.id.siteName, site, in.Err)
	}
	stats := e.own.j.Stats()
	return &ForgetReport{
		Schema: 1, Kind: kind, Site: site, Done: !only, Heard: in.Heard, Shards: in.Loss.Shards,
		Entries: in.Loss.Entries, LastEntries: in.Loss.Last, JournalBytes: stats.Bytes, JournalSegments: stats.Segments,
	}, nil
}

// dropRoute takes a peer off the table. Its marks are zero already. Who waits for more peers than
// there are now waits no longer.
func (e *Engine) dropRoute(site wire.SiteID) {
	r := e.routeTo(site)
	if r == nil {
		return
	}
	e.setRoutes(slices.DeleteFunc(slices.Clone(e.routes()), func(o *route) bool { return o == r }))
	r.end()
	for i := range e.shards {
		s := &e.shards[i]
		s.mu.Lock()
		s.wakeIf(func(w *waiter) bool { return e.checkLevel(w.level) != nil })
		s.mu.Unlock()
	}
}

// awaitRecord waits until the control state has what an operator asked for.
func (e *Engine) awaitRecord(what string) error {
	h := &e.heart
	h.mu.Lock()
	defer h.mu.Unlock()
	for !h.node.Recorded() {
		if e.Err() != nil || e.closing.Load() {
			return fmt.Errorf("it is %s, and whether a later start knows it is not known: %w", what, e.stoppedError())
		}
		h.recorded.Wait()
	}
	return nil
}

// Peers lists the sites that this one has as peers, and those that were removed.
func (e *Engine) Peers() *PeersReport {
	e.heart.mu.Lock()
	status, removed := e.heart.node.Status(e.now()), e.heart.node.Removed()
	e.heart.mu.Unlock()
	report := &PeersReport{
		Schema: 1, Kind: "sites", Site: e.id.siteName, At: status.At, Peers: []KnownPeer{}, Removed: []RemovedPeer{},
	}
	for i := range status.Peers {
		p := &status.Peers[i]
		known := KnownPeer{Site: p.Name, Addrs: []string{}, Source: PeerRegistered, Learner: p.Learner, Link: p.Link}
		if r := e.routeTo(p.Site); r != nil {
			known.Addrs, known.Source = append(known.Addrs, r.addresses()...), PeerByOptions
		}
		if p.OnRecord {
			known.Source = PeerOnRecord
		}
		report.Peers = append(report.Peers, known)
	}
	for i := range removed {
		r := &removed[i]
		report.Removed = append(report.Removed, RemovedPeer{Site: r.Name, By: r.By, At: r.At.Time().UTC()})
	}
	return report
}
