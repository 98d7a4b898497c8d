package sim

import (
	"errors"
	"io"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/wire"
)

// What links and dials end with.
var (
	errReset       = errors.New("link reset")
	errUnreachable = errors.New("nobody answers")
)

// dialTimeout is how long a dial into a cut waits.
const dialTimeout = 500 * time.Millisecond

// staleKept is how many frames of earlier links are kept for replay.
const staleKept = 8

// network joins the sites by links; its state is per direction, by the sending
// site and the receiving one.
type network struct {
	w     *world
	draw  plan.Stream
	paths [plan.SitesMax][plan.SitesMax]direction
	links []*link // open ones
}

// direction is the way from one site to another.
type direction struct {
	cuts   int      // cuts in force
	cut    *cutting // the last of them
	slow   int      // slow spells in force
	noDial int
	unread bool         // who receives takes links and reads nothing
	flips  []*plan.Item // each hits one frame
	stale  [][]byte
	replay []*plan.Item // each replays one stale frame
}

// cutting is one cut, of one way or several.
type cutting struct {
	kind   plan.Kind
	struck bool // it cost something
}

// link is a byte stream both ways.
type link struct {
	ends [2]*end // the dialer's first
	dead bool
}

// end is one site's end of a link.
type end struct {
	link  *link
	peer  *end
	p     *process
	id    node.LinkID
	open  bool
	told  bool          // the node knows it
	rx    []byte        // received, not yet a whole frame
	heard time.Duration // the last frame came

	// Of the direction that leaves here:
	free     time.Duration // when the wire has taken what was sent
	last     time.Duration // when the last frame arrives
	hole     bool          // a frame was lost: nothing behind it may arrive
	held     [][]byte      // held back by a cut
	inflight [][]byte      // on their way, oldest first
}

func newNetwork(w *world) *network {
	return &network{w: w, draw: w.stream("network")}
}

// dial tries to connect a process to the other site.
func (n *network) dial(p *process, to wire.SiteID) {
	s := p.site
	other := n.w.siteOf(to)
	out, back := &n.paths[s.place][other.place], &n.paths[other.place][s.place]
	rtt := n.delay(out) + n.delay(back)
	switch {
	case n.w.sites[s.place] != s: // another copy has its place
		p.later(plan.PhaseAny, dialTimeout, func() { p.dialFailed(to, errUnreachable) })
	case out.cuts > 0 || back.cuts > 0:
		n.cutStruck(out, back)
		p.later(plan.PhaseAny, dialTimeout, func() { p.dialFailed(to, errUnreachable) })
	case out.noDial > 0:
		n.w.fault(plan.DialFailure)
		p.later(plan.PhaseAny, rtt, func() { p.dialFailed(to, errUnreachable) })
	default:
		n.w.after(rtt, func() { n.connect(p, to) })
	}
}

// cutStruck counts the cuts that now cost something, once each.
func (n *network) cutStruck(paths ...*direction) {
	for _, path := range paths {
		if path.cuts > 0 && !path.cut.struck {
			path.cut.struck = true
			n.w.fault(path.cut.kind)
			n.partial()
		}
	}
}

func (n *network) connect(p *process, to wire.SiteID) {
	if p.dead {
		return
	}
	other := n.w.siteOf(to)
	if other.p == nil || other.p.dead || n.w.sites[p.site.place] != p.site {
		p.later(plan.PhaseAny, 0, func() { p.dialFailed(to, errUnreachable) })
		return
	}
	l := &link{}
	for i, q := range [2]*process{p, other.p} {
		q.site.linkID++
		e := &end{link: l, p: q, id: q.site.linkID, open: true}
		l.ends[i] = e
		q.links[e.id] = e
	}
	l.ends[0].peer, l.ends[1].peer = l.ends[1], l.ends[0]
	n.links = append(n.links, l)
	mine, theirs := l.ends[0], l.ends[1]
	theirs.p.later(plan.PhaseAny, 0, func() { theirs.p.linkUp(theirs, 0) })
	p.later(plan.PhaseAny, 0, func() { p.linkUp(mine, to) })
}

// way is the direction in which an end sends.
func (n *network) way(e *end) *direction { return &n.paths[e.p.site.place][e.peer.p.site.place] }

// send puts a frame on its way. The frame's bytes are the network's from here.
func (n *network) send(e *end, frame []byte) {
	if e.link.dead || !e.open {
		return
	}
	path := n.way(e)
	if len(path.flips) > 0 && len(frame) > 0 {
		f := path.flips[0]
		path.flips = path.flips[1:]
		bit := f.Draw % uint64(len(frame)*8)
		frame[bit/8] ^= 1 << (bit % 8)
		n.faultOn(e, plan.FlipFrame)
	} else {
		n.keepStale(path, frame)
	}
	if len(path.replay) > 0 && len(path.stale) > 0 && e.last > 0 {
		f := path.replay[0]
		path.replay = path.replay[1:]
		n.faultOn(e, plan.StaleFrame)
		n.put(e, append([]byte(nil), path.stale[f.Draw%uint64(len(path.stale))]...))
	}
	n.put(e, frame)
}

// faultOn counts a fault that hit a frame, unless the frame gets nowhere anyway.
func (n *network) faultOn(e *end, kind plan.Kind) {
	if path := n.way(e); !e.hole && (path.cuts == 0 || n.w.plan.Stalls) {
		n.w.fault(kind)
	}
}

// keepStale keeps a sample of batch frames and acks.
func (n *network) keepStale(path *direction, frame []byte) {
	if !n.draw.OneIn(16) {
		return
	}
	copied := append([]byte(nil), frame...)
	if len(path.stale) < staleKept {
		path.stale = append(path.stale, copied)
	} else {
		path.stale[n.draw.IntN(staleKept)] = copied
	}
}

// put carries bytes over one direction: cuts lose or hold them, the rest
// arrives in order after bandwidth and delay.
func (n *network) put(e *end, frame []byte) {
	path := n.way(e)
	switch {
	case e.hole:
		return
	case path.unread:
		e.held = append(e.held, frame)
		return
	case path.cuts > 0 && n.w.plan.Stalls:
		n.cutStruck(path)
		e.held = append(e.held, frame)
		return
	case path.cuts > 0:
		n.cutStruck(path)
		e.hole = true
		return
	}
	bandwidth := n.w.plan.Bandwidth
	if path.slow > 0 {
		bandwidth /= 32
	}
	e.free = max(e.free, n.w.now) + time.Duration(int64(len(frame))*int64(time.Second)/bandwidth)
	e.last = max(e.last+1, e.free+n.delay(path))
	e.inflight = append(e.inflight, frame)
	peer := e.peer
	n.w.at(e.last, func() {
		e.inflight = e.inflight[1:]
		if e.link.dead || !peer.open {
			return
		}
		peer.p.later(plan.PhaseFrame, 0, func() { peer.p.receive(peer, frame) })
	})
}

func (n *network) delay(path *direction) time.Duration {
	d := n.w.plan.DelayMin + n.draw.Exponential(n.w.plan.DelayMean)
	if path.slow > 0 {
		d *= 20
	}
	return d
}

// closeEnd is an orderly close: what was sent still arrives.
func (n *network) closeEnd(e *end) {
	if !e.open {
		return
	}
	path := n.way(e)
	if !e.link.dead && !e.hole && len(e.held) == 0 && path.cuts == 0 && !path.unread {
		e.last = max(e.last+1, n.w.now+n.delay(path))
		n.w.at(e.last, func() { n.end(e.peer, io.EOF) })
	} else {
		n.drop(e.link)
	}
	n.end(e, nil)
}

// end ends one end, and tells its node.
func (n *network) end(e *end, err error) {
	if !e.open {
		return
	}
	e.open = false
	if !e.p.dead {
		e.p.later(plan.PhaseAny, 0, func() { e.p.linkDown(e, err) })
	}
	if !e.link.ends[0].open && !e.link.ends[1].open {
		n.drop(e.link)
	}
}

// drop forgets a link; an end that still thinks it is open hears nothing more.
func (n *network) drop(l *link) {
	l.dead = true
	for i, o := range n.links {
		if o == l {
			n.links = append(n.links[:i], n.links[i+1:]...)
			return
		}
	}
}

// broken is a link that one end gives up because of what it received.
func (n *network) broken(e *end, err error) {
	n.end(e, err)
	n.resetEnd(e.peer)
}

// resetEnd tells an end of a link that the other one is gone, unless the way there
// is cut: then silence must tell.
func (n *network) resetEnd(e *end) {
	path := n.way(e.peer)
	if path.cuts > 0 {
		return
	}
	n.w.after(n.delay(path), func() { n.end(e, errReset) })
}

// processGone breaks the links of a dead process. After a power cut nobody
// says goodbye; the standby notices by silence, or by the next send.
func (n *network) processGone(p *process, silent bool) {
	for _, l := range append([]*link(nil), n.links...) {
		for _, e := range l.ends {
			if e.p != p {
				continue
			}
			e.open = false
			if e.peer.open && !silent {
				n.resetEnd(e.peer)
			}
		}
	}
}

// resetAll breaks every link; a frame under way is delivered by half.
func (n *network) resetAll(f *plan.Item) {
	struck := false
	for _, l := range append([]*link(nil), n.links...) {
		struck = true
		for _, e := range l.ends {
			peer := e.peer
			if len(e.inflight) > 0 && peer.open && !peer.p.dead {
				frame := e.inflight[0]
				peer.p.receive(peer, frame[:f.Draw%uint64(len(frame))])
				n.w.mark("half a frame")
			}
		}
		l.dead = true
		for _, e := range l.ends {
			n.end(e, errReset)
		}
	}
	if struck {
		n.w.fault(plan.Reset)
	}
}

// cut stops both or one direction for a while.
func (n *network) cut(kind plan.Kind, span time.Duration, paths ...*direction) {
	c := &cutting{kind: kind}
	for _, path := range paths {
		path.cuts++
		path.cut = c
	}
	n.w.after(span, func() {
		for _, path := range paths {
			path.cuts = max(0, path.cuts-1)
		}
		n.release()
	})
}

// release lets go what cuts held back.
func (n *network) release() {
	for _, l := range n.links {
		for _, e := range l.ends {
			if path := n.way(e); path.cuts > 0 || path.unread || len(e.held) == 0 {
				continue
			}
			held := e.held
			e.held = nil
			for _, frame := range held {
				n.put(e, frame)
			}
		}
	}
}

func (n *network) heal() {
	for from := range n.paths {
		for to := range n.paths[from] {
			n.paths[from][to] = direction{stale: n.paths[from][to].stale}
		}
	}
	for _, s := range n.w.sites {
		if s.apart {
			n.cutForGood(s)
		}
	}
	n.release()
}
