package node

import (
	"slices"
	"time"

	"github.com/claudefs/repl/wire"
)

// sendResume sends all positions, in at least one page.
func (n *Node) sendResume(p *peer) {
	for _, log := range p.owed {
		n.mirrorLog(log).owed &^= p.bit
	}
	p.owed, p.paged = p.owed[:0], n.t.Now.Mono
	page := &n.msg.page
	page.Flags, page.Entries = wire.PageResume, page.Entries[:0]
	for _, m := range n.mirrors {
		for s := range m.logs {
			l := &m.logs[s]
			if l.durable.Seq == 0 {
				continue
			}
			if len(page.Entries) == wire.PageEntryMax {
				n.send(p.in, page)
				page.Entries = page.Entries[:0]
			}
			page.Entries = append(page.Entries, row(wire.LogID{Site: m.site, Shard: wire.Shard(s)}, l))
		}
	}
	page.Flags |= wire.PageLast
	n.send(p.in, page)
}

func row(log wire.LogID, l *mirrorLog) wire.PageEntry {
	applied := l.applied.SeqIn(l.durable.Incarnation)
	return wire.PageEntry{Log: log, Durable: l.durable, Applied: min(applied, l.durable.Seq)}
}

// owe notes that a mirrored log changed, for every session's next page.
func (n *Node) owe(log wire.LogID, l *mirrorLog) {
	for _, p := range n.peers {
		if p.in != nil && p.in.open && l.owed&p.bit == 0 {
			l.owed |= p.bit
			p.owed = append(p.owed, log)
		}
	}
}

// pageDue is when the next page leaves: soon once the Store has applied all
// that is durable, so that an idle source learns it at once.
func (n *Node) pageDue(p *peer) time.Duration {
	switch {
	case len(p.owed) == 0:
		return 1<<63 - 1
	case n.unclean == 0:
		return p.paged + min(pageGapMin, n.t.C.PageEvery)
	}
	return p.paged + n.t.C.PageEvery
}

// pageIfDue sends the pages that have become due with this step.
func (n *Node) pageIfDue() {
	for _, p := range n.peers {
		if p.in != nil && p.in.open && n.pageDue(p) <= n.t.Now.Mono {
			n.sendPages(p)
		}
	}
}

// sendPages sends the logs that changed since the last page.
func (n *Node) sendPages(p *peer) {
	slices.SortFunc(p.owed, wire.LogID.Compare)
	page := &n.msg.page
	page.Flags, page.Entries = 0, page.Entries[:0]
	for _, log := range p.owed {
		l := n.mirrorLog(log)
		l.owed &^= p.bit
		if len(page.Entries) == wire.PageEntryMax {
			n.send(p.in, page)
			page.Entries = page.Entries[:0]
		}
		page.Entries = append(page.Entries, row(log, l))
	}
	n.send(p.in, page)
	p.owed, p.paged = p.owed[:0], n.t.Now.Mono
}
