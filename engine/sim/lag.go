package sim

import (
	"slices"
	"time"

	simlag "github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire"
)

// What the time of a lag may be off by: clocks drift, and the engine keeps few samples of
// when what became durable.
const (
	lagSlack = 200 * time.Millisecond
	lagShare = 8
)

// levels are those that a lag is told at.
var levels = [2]string{"durable", "applied"}

// told is what a source's heart was told to be durable of one of its logs.
type toldLog struct {
	incarnation wire.Incarnation
	ends        []toldEnd
}

type toldEnd struct {
	seq wire.Seq
	at  time.Duration
}

func (e toldEnd) reaches(seq wire.Seq) int { return int(int64(e.seq) - int64(seq)) }

// lagSeen is what a process has said of a peer in one session, and was told that the peer
// has applied.
type lagSeen struct {
	applied map[wire.LogID]wire.Seq
	session node.LinkID
	zero    [2]time.Duration // by level: when the lag was last 0; -1 = not yet
}

func newLagSeen() *lagSeen { return &lagSeen{applied: map[wire.LogID]wire.Seq{}} }

// grew notes what the heart is told of the own journal, for the lag's truth.
func (p *process) grew(headers []wire.BatchHeader) {
	for i := range headers {
		h := p.site.w.lineage.header(&headers[i])
		if h.Site != p.site.id {
			continue
		}
		l := p.toldLogs[h.Log()]
		if l == nil || l.incarnation != h.Incarnation {
			l = &toldLog{incarnation: h.Incarnation}
			p.toldLogs[h.Log()] = l
		}
		l.ends = append(l.ends, toldEnd{h.LastSeq(), p.site.w.now})
	}
}

// appliedTo notes a peer's word on how far its Store is.
func (p *process) appliedTo(g *node.Progress) {
	if g.Level != wire.LevelApplied {
		return
	}
	seen := p.lagSeen[g.Peer]
	if seen == nil {
		seen = newLagSeen()
		p.lagSeen[g.Peer] = seen
	}
	seen.applied[g.Log] = p.site.w.lineage.at(g.Position).Seq
}

// beyond is what of the log lies beyond seq: how many entries, and when the heart was told
// of the first.
func (l *toldLog) beyond(seq wire.Seq) (entries int64, at time.Duration) {
	if len(l.ends) > 0 {
		seq = max(seq, base(l.ends[0].seq))
	}
	i, _ := slices.BinarySearchFunc(l.ends, seq+1, toldEnd.reaches)
	if i == len(l.ends) {
		return 0, 0
	}
	return int64(l.ends[len(l.ends)-1].seq - seq), l.ends[i].at
}

// lag: a lag that is known is not zero while the source waits for the peer's word,
// nor below what the peer's medium lacks of what was acknowledged here (I14). What the
// peer said when it came back counts before its chain is proven, and its word after.
func (c *checker) lag(primary *site, status node.Status) {
	for i := range status.Peers {
		p := &status.Peers[i]
		s := c.w.siteOf(p.Site)
		waiting, lacking := int64(0), int64(0)
		for log, ops := range c.w.load.of(primary).mirrored[s.place] {
			if !p.Learner { // else nothing that it says counts yet
				waiting += int64(len(ops))
			}
			for _, n := range ops {
				ref := &c.w.load.ops[n].ref
				if !s.justRestored() && !c.has(s.index, node.Mirror, log, ref.Incarnation, ref.Seq) {
					lacking++
				}
			}
		}
		for _, lag := range [2]simlag.Lag{p.Durable, p.Applied} {
			if lag.Known && (lag.Entries < lacking || lag.Entries == 0 && waiting > 0) {
				c.w.fail("I14", "lag of %s is reported as known, %d entries, %d wait for it, %d are not there, link %s",
					p.Name, lag.Entries, waiting, lacking, p.Link)
			}
		}
		c.lagOfSession(primary, p)
	}
}

// lagOfSession compares what is said of a peer with what its present process has: how much
// is missing on its medium and in its Store, and since when (I14). Of a process that is
// gone the source may have heard nothing yet.
func (c *checker) lagOfSession(primary *site, p *node.PeerStatus) {
	if primary.p == nil {
		return
	}
	e := primary.p.links[p.Dialed]
	if e == nil || e.link.dead || e.peer.p == nil || e.peer.p.dead || e.peer.p.site.p != e.peer.p {
		return
	}
	seen := primary.p.lagSeen[p.Site]
	if seen == nil {
		seen = newLagSeen()
		primary.p.lagSeen[p.Site] = seen
	}
	if seen.session != p.Dialed {
		seen.session, seen.zero = p.Dialed, [2]time.Duration{-1, -1}
	}
	if p.Applied.Known && p.Applied.Entries == 0 {
		for log, seq := range c.w.load.of(primary).confirmed[c.w.siteOf(p.Site).place] {
			if seen.applied[log] < seq {
				c.w.fail("I14", "lag of %s is known, 0 entries applied, of log %s it has confirmed %d, and applied %d",
					p.Name, log, seq, seen.applied[log])
			}
		}
	}
	for level, lag := range [2]simlag.Lag{p.Durable, p.Applied} {
		if !lag.Known {
			continue
		}
		lacking, since := c.missingAt(e.peer.p.site, primary.p, level)
		age := c.w.now - since
		switch zero := seen.zero[level]; {
		case lag.Entries < lacking:
			c.w.fail("I14", "lag of %s is known, %d entries %s, %d are not there",
				p.Name, lag.Entries, levels[level], lacking)
		case lacking > 0 && lag.Time+lag.Time/lagShare+lagSlack < age:
			c.w.fail("I14", "lag of %s is known, %s %s, the oldest entry that is not there is %s old",
				p.Name, lag.Time, levels[level], age)
		case lag.Entries == 0:
			seen.zero[level] = c.w.now
		case zero >= 0 && lag.Time > c.w.now-zero+(c.w.now-zero)/lagShare+lagSlack:
			c.w.fail("I14", "lag of %s is known, %s %s, it was 0 %s ago",
				p.Name, lag.Time, levels[level], c.w.now-zero)
		}
	}
}

// missingAt is what a site's medium (level 0) or Store (level 1) lacks of what a source's
// heart was told to be durable, and since when.
func (c *checker) missingAt(s *site, source *process, level int) (entries int64, since time.Duration) {
	since = c.w.now
	for _, log := range sortedLogs(source.toldLogs) {
		l := source.toldLogs[log]
		var at wire.Position
		if level == 0 {
			if book := c.ledgers[s.index][node.Mirror][log]; book != nil {
				at = wire.Position{Incarnation: book.incarnation, Seq: book.tail().seq}
			}
		} else if hist := c.applied[s.index][log]; hist != nil {
			at = hist.cursor
		}
		if at.Seq != 0 && at.Incarnation != l.incarnation {
			continue // other histories: that is another checker's business
		}
		n, first := l.beyond(at.Seq)
		if n > 0 {
			entries, since = entries+n, min(since, first)
		}
	}
	return entries, since
}
