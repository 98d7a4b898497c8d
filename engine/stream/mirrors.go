package stream

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/role"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// MirrorLog is a log of another site, as this one holds it.
//
//	tail covers Durable
//	Durable or Store covers Floor
type MirrorLog struct {
	ID      wire.LogID
	Durable wire.Position // flushed
	Store   wire.Position // durable in the Store
	Floor   wire.Position // of retention, kept by package node
	Suspect bool          // the journal is damaged, and nothing proves where the log ends

	tail    Tail       // staged
	stamp   wire.Stamp // of Durable's last entry
	applied wire.Position
	owed    uint64 // peers that its change was not reported to
	end     uint64 // see Flight.Add
	refused *step.Stop
}

// Empty says that nothing of the log ever came.
func (l *MirrorLog) Empty() bool { return l.tail.Seq == 0 }

// Adoptable says that the Store is ahead of the mirror, and nothing is on its way into that.
func (l *MirrorLog) Adoptable() bool {
	return l.tail.Position == l.Durable && step.Relate(l.Durable, l.Store) == step.Ahead
}

// Stands says that the Store has applied all of the log.
func (m *Mirrors) Stands(l *MirrorLog) bool { return l.tail.Position == l.Durable && m.behind(l) == 0 }

// Refused says that the log is out of its writer's session.
func (l *MirrorLog) Refused() bool { return l.refused != nil }

// behind is 1 if the Store has not applied all of the log, as far as that survived.
func (m *Mirrors) behind(l *MirrorLog) int {
	known := &m.role.Known
	if l.applied.Covers(l.Durable) || l.Durable.Seq == 0 {
		return 0
	}
	ends := known.Of(l.ID.Shard)
	if end, bound := ends.End(l.Durable.Incarnation, known.EpochOf(l.ID.Shard, l.Durable.Incarnation)); bound &&
		(end.Seq == 0 || l.applied.Covers(end)) {
		return 0
	}
	return 1
}

// Mirror is the logs of another site.
type Mirror struct {
	Site wire.SiteID
	Logs []MirrorLog // by shard
	// stamp is the newest durable one: the writer ships in the order of its journal, so
	// what is older is here as well, but for what one flush of it held.
	stamp wire.Stamp
}

// Mirrors is the logs of all other sites, and the sessions that bring them.
type Mirrors struct {
	Sites []*Mirror  // sorted by site
	Peers []*Inbound // sorted by site

	t         *step.Turn
	role      *role.Role
	heart     Heart
	pulled    []pulled // on their way to the medium, oldest first
	unapplied int      // logs whose Store is behind their durable tail
	says      says
}

// says is encoded from here, so that messages allocate nothing.
type says struct {
	ack     wire.Ack
	refusal wire.BatchRefusal
	page    wire.CursorPage
	echo    wire.HeartbeatEcho
}

// NewMirrors returns no logs, and no peers.
func NewMirrors(t *step.Turn, r *role.Role, heart Heart) *Mirrors {
	return &Mirrors{t: t, role: r, heart: heart}
}

// Of returns a site's logs, and takes a site that is new.
func (m *Mirrors) Of(site wire.SiteID) *Mirror {
	i, found := slices.BinarySearchFunc(m.Sites, site,
		func(s *Mirror, id wire.SiteID) int { return cmp.Compare(s.Site, id) })
	if !found {
		of := &Mirror{Site: site, Logs: make([]MirrorLog, m.t.C.Shards)}
		for s := range of.Logs {
			of.Logs[s].ID = wire.LogID{Site: site, Shard: wire.Shard(s)}
		}
		m.Sites = slices.Insert(m.Sites, i, of)
	}
	return m.Sites[i]
}

// Log returns a mirrored log, or nil if log is not one.
func (m *Mirrors) Log(log wire.LogID) *MirrorLog {
	for _, s := range m.Sites {
		if s.Site == log.Site && uint32(log.Shard) < m.t.C.Shards {
			return &s.Logs[log.Shard]
		}
	}
	return nil
}

// Boot says where a log ends in the journal that was just opened.
func (m *Mirrors) Boot(b *step.Log) {
	if uint32(b.ID.Shard) >= m.t.C.Shards {
		return
	}
	site := m.Of(b.ID.Site)
	site.stamp = max(site.stamp, b.LastStamp)
	l := &site.Logs[b.ID.Shard]
	l.tail = Tail{Position: b.Tail, Stamp: b.LastStamp}
	l.Durable, l.stamp = b.Tail, b.LastStamp
}

// BootStore says where the Store is. It may be ahead of a damaged mirror: what comes again
// is not applied again.
func (l *MirrorLog) BootStore(at wire.Position) { l.Store, l.applied = at, at }

// Booted follows the boot of all logs.
func (m *Mirrors) Booted() {
	for _, s := range m.Sites {
		for i := range s.Logs {
			m.unapplied += m.behind(&s.Logs[i])
		}
	}
}

// Clear: the log's own site proves the tail of a suspect mirror.
func (m *Mirrors) Clear(log wire.LogID, l *MirrorLog) {
	l.Suspect = false
	m.t.E.Clears = append(m.t.E.Clears, step.Clear{Journal: step.Mirror, Log: log})
	m.t.UnnoteStopped(log, step.NotRepaired)
}

// Adopt has a log go on behind the Store, because its writer does not keep what follows the
// mirror.
func (m *Mirrors) Adopt(log wire.LogID, l *MirrorLog) {
	if l.Suspect {
		m.Clear(log, l)
	}
	m.unapplied -= m.behind(l)
	l.tail.Position, l.Durable = l.Store, l.Store
	if !l.applied.Covers(l.Store) {
		l.applied = l.Store
	}
	m.unapplied += m.behind(l)
	m.t.E.Adopts = append(m.t.E.Adopts, step.Log{ID: log, Tail: l.Store, LastStamp: l.stamp})
}

// flushed moves the durable tail of a log.
func (m *Mirrors) flushed(of *Mirror, end *End) {
	l := &of.Logs[end.Shard]
	m.unapplied -= m.behind(l)
	l.Durable, l.stamp = end.Position, end.Stamp
	of.stamp = max(of.stamp, end.Stamp)
	m.unapplied += m.behind(l)
	m.owe(wire.LogID{Site: of.Site, Shard: end.Shard}, l)
}

// pulled is what a closed log will have come to when a ticket is flushed.
type pulled struct {
	ticket uint64
	site   wire.SiteID
	End
}

// Staged is where a log ends, what is staged included; see fetch.Heart.
func (m *Mirrors) Staged(log wire.LogID) (wire.Position, wire.Stamp) {
	l := m.Log(log)
	if l == nil {
		return wire.Position{}, 0
	}
	return l.tail.Position, l.tail.Stamp
}

// Pulled: so much more of a closed log is staged.
func (m *Mirrors) Pulled(ticket uint64, log wire.LogID, end wire.Position, stamp wire.Stamp) {
	l := m.Log(log)
	l.tail = Tail{Position: end, Stamp: stamp}
	m.pulled = append(m.pulled, pulled{ticket, log.Site, End{log.Shard, end, stamp}})
}

// PulledDurable moves the durable tails of closed logs: all up to a ticket is flushed. It
// calls f for each that moved.
func (m *Mirrors) PulledDurable(ticket uint64, f func(wire.LogID)) {
	for len(m.pulled) > 0 && m.pulled[0].ticket <= ticket {
		p := m.pulled[0]
		m.pulled = slices.Delete(m.pulled, 0, 1)
		m.flushed(m.Of(p.site), &p.End)
		f(wire.LogID{Site: p.site, Shard: p.Shard})
	}
}

// PullFailed: what was staged under a ticket is nowhere, nor what was staged behind it. It
// says whose log that was, if it was a pull.
func (m *Mirrors) PullFailed(ticket uint64) (log wire.LogID, ok bool) {
	i := slices.IndexFunc(m.pulled, func(p pulled) bool { return p.ticket == ticket })
	if i < 0 {
		return log, false
	}
	log = wire.LogID{Site: m.pulled[i].site, Shard: m.pulled[i].Shard}
	l := m.Log(log)
	l.tail = Tail{Position: l.Durable, Stamp: l.stamp}
	m.pulled = slices.DeleteFunc(m.pulled, func(p pulled) bool {
		of := p.site == log.Site && p.Shard == log.Shard
		if of && p.ticket < ticket { // it is on its way to the medium
			l.tail = Tail{Position: p.Position, Stamp: p.Stamp}
		}
		return of && p.ticket >= ticket
	})
	return log, true
}

// Mended: the Store's state of a log's shard is that of another site now, and stands at at.
func (m *Mirrors) Mended(log wire.LogID, l *MirrorLog, at wire.Position) {
	m.unapplied -= m.behind(l)
	l.Store, l.applied = at, at
	m.unapplied += m.behind(l)
	m.owe(log, l)
}

// Applied takes what the Store has applied. Pages tell the peers of their own logs; ours
// concern this site only.
func (m *Mirrors) Applied(cursors []wire.Cursor) {
	for i := range cursors {
		c := &cursors[i]
		l := m.Log(c.Log)
		if l == nil || m.t.Covers(c.Log, l.applied, c.Position) {
			continue
		}
		m.unapplied -= m.behind(l)
		l.applied = c.Position
		m.unapplied += m.behind(l)
		m.owe(c.Log, l)
	}
	m.Pages()
}

// Check says which of the inequalities that stand beside the fields does not hold.
func (m *Mirrors) Check() error {
	unapplied, bits := 0, uint64(0)
	for _, p := range m.Peers {
		if bits&p.bit != 0 || p.bit == 0 {
			return fmt.Errorf("peer %s has bit %x, others have %x", p.Name, p.bit, bits)
		}
		bits |= p.bit
	}
	for _, s := range m.Sites {
		for i := range s.Logs {
			l := &s.Logs[i]
			unapplied += m.behind(l)
			if l.owed&^bits != 0 {
				return fmt.Errorf("mirror of site %08x, shard %d: pages are owed to %x, peers have %x",
					s.Site, i, l.owed, bits)
			}
			if !m.t.Covers(l.ID, l.tail.Position, l.Durable) {
				return fmt.Errorf("mirror of site %08x, shard %d: durable %s, staged %s",
					s.Site, i, l.Durable, l.tail.Position)
			}
			if !m.t.Covers(l.ID, l.Durable, l.Floor) && !m.t.Covers(l.ID, l.Store, l.Floor) {
				return fmt.Errorf("mirror of site %08x, shard %d: floor %s, durable %s, in the Store %s",
					s.Site, i, l.Floor, l.Durable, l.Store)
			}
		}
	}
	if unapplied != m.unapplied {
		return fmt.Errorf("%d mirrored logs are ahead of the Store, counted %d", m.unapplied, unapplied)
	}
	return nil
}
