package stream

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// pageGapMin lies between pages that do not wait for PageEvery.
const pageGapMin = 50 * time.Millisecond

// owe notes that a mirrored log changed, for every session's next page.
func (m *Mirrors) owe(log wire.LogID, l *MirrorLog) {
	for _, p := range m.Peers {
		if p.link != 0 && l.owed&p.bit == 0 {
			l.owed |= p.bit
			p.owed = append(p.owed, log)
		}
	}
}

// OweOwn notes that what pages show of an own log changed.
func (m *Mirrors) OweOwn(log wire.LogID) {
	for _, p := range m.Peers {
		if p.link != 0 && !slices.Contains(p.owed, log) {
			p.owed = append(p.owed, log)
		}
	}
}

// Due is when the next page leaves: soon once the Store has applied all that is durable,
// so that an idle source learns it at once.
func (p *Inbound) Due() time.Duration {
	switch {
	case p.link == 0 || len(p.owed) == 0:
		return step.Never
	case p.mirrors.unapplied == 0:
		return p.paged + min(pageGapMin, p.mirrors.t.C.PageEvery)
	}
	return p.paged + p.mirrors.t.C.PageEvery
}

// Tick sends pages, if they are due.
func (p *Inbound) Tick() {
	if p.mirrors.t.Now.Mono >= p.Due() {
		p.SendPages()
	}
}

// Pages sends the pages that have become due with this step.
func (m *Mirrors) Pages() {
	for _, p := range m.Peers {
		p.Tick()
	}
}

// SendPages sends the logs that changed since the last page.
func (p *Inbound) SendPages() {
	slices.SortFunc(p.owed, wire.LogID.Compare)
	page := p.page(0)
	for _, log := range p.owed {
		l := p.mirrors.Log(log)
		if l == nil {
			p.ownRow(page, log)
			continue
		}
		l.owed &^= p.bit
		p.row(page, log, l)
	}
	p.send(page)
	p.owed = p.owed[:0]
}

// sendAll sends all positions, in at least one page: the answer to a hello.
func (p *Inbound) sendAll() {
	for _, log := range p.owed {
		if l := p.mirrors.Log(log); l != nil {
			l.owed &^= p.bit
		}
	}
	p.owed = p.owed[:0]
	page := p.page(wire.PageResume)
	here, told := p.mirrors.t.C.Site, false
	for _, m := range p.mirrors.Sites {
		if m.Site > here && !told { // rows rise by log
			p.ownRows(page)
			told = true
		}
		for s := range m.Logs {
			if l := &m.Logs[s]; l.Durable.Seq != 0 {
				p.row(page, wire.LogID{Site: m.Site, Shard: wire.Shard(s)}, l)
			}
		}
	}
	if !told {
		p.ownRows(page)
	}
	page.Flags |= wire.PageLast
	p.send(page)
}

func (p *Inbound) ownRows(page *wire.CursorPage) {
	for s := range wire.Shard(p.mirrors.t.C.Shards) {
		p.ownRow(page, p.mirrors.t.LogID(s))
	}
}

// page begins the next page.
func (p *Inbound) page(flags uint8) *wire.CursorPage {
	p.paged = p.mirrors.t.Now.Mono
	page := &p.mirrors.says.page
	page.Flags, page.Entries = flags, page.Entries[:0]
	return page
}

// row adds a log to a page.
func (p *Inbound) row(page *wire.CursorPage, log wire.LogID, l *MirrorLog) {
	applied := min(l.applied.SeqIn(l.Durable.Incarnation), l.Durable.Seq)
	p.add(page, wire.PageEntry{Log: log, Durable: l.Durable, Applied: applied})
}

// ownRow adds what is closed of an own log to a page: others pull it.
func (p *Inbound) ownRow(page *wire.CursorPage, log wire.LogID) {
	if at := p.mirrors.heart.OwnRow(log.Shard); at.Seq != 0 {
		p.add(page, wire.PageEntry{Log: log, Durable: at})
	}
}

// add adds a row; a full page is sent before.
func (p *Inbound) add(page *wire.CursorPage, row wire.PageEntry) {
	if len(page.Entries) == wire.PageEntryMax {
		p.send(page)
		page.Entries = page.Entries[:0]
	}
	page.Entries = append(page.Entries, row)
}
