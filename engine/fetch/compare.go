package fetch

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// compared are the questions of a verification or a mending that are asked of peers. All
// questions to a peer up to the end go over one link, because the other end keeps its
// snapshot by link.
type compared struct {
	top   uint64 // the highest id asked
	asked []comparison
}

type comparison struct {
	site wire.SiteID
	line *Line
	id   uint64 // waited for; 0 = none
}

// answering is a question of a link's other end, or its snapshot, that is kept.
type answering struct {
	kept   bool
	id     uint64
	pinned bool // a shard is mended there from here: floors of its logs stay
	shard  wire.Shard
}

func (c *compared) of(site wire.SiteID) *comparison {
	for i := range c.asked {
		if c.asked[i].site == site {
			return &c.asked[i]
		}
	}
	return nil
}

func (c *compared) end(site wire.SiteID) {
	c.asked = slices.DeleteFunc(c.asked, func(q comparison) bool { return q.site == site })
}

// Compare puts a question of a verification on the link where the peer's questions are, or
// else on quiet, nil = none, because of why.
func (d *Desk) Compare(in *step.VerifyAsk, quiet *Line, why string) {
	q := d.compared.of(in.Peer)
	switch {
	case q == nil && quiet == nil && in.End():
		return
	case q == nil && quiet == nil:
		d.nobody(in, cmp.Or(why, "it has not answered yet"))
		return
	case q == nil:
		d.compared.asked = append(d.compared.asked, comparison{site: in.Peer, line: quiet})
		q = &d.compared.asked[len(d.compared.asked)-1]
	}
	d.compared.top = max(d.compared.top, in.ID())
	if in.Mend != nil {
		d.t.E.Send(q.line.Link, q.line.Session, in.Mend)
	} else {
		ask := in.Ask // an input does not leave the step
		d.t.E.Send(q.line.Link, q.line.Session, &ask)
	}
	q.id = in.ID()
	if in.End() {
		d.compared.end(in.Peer)
	}
}

// NoPeer answers a question of a verification to a site that is not a peer.
func (d *Desk) NoPeer(in *step.VerifyAsk) { d.nobody(in, "it is not a peer") }

func (d *Desk) nobody(in *step.VerifyAsk, why string) {
	err := fmt.Errorf("site %s is not asked: %w: %s", d.t.SiteName(in.Peer), step.ErrNoLink, why)
	d.t.E.Told = append(d.t.E.Told, step.Told{Peer: in.Peer, ID: in.ID(), Err: err})
}

// Compared hands an answer on. One that nobody waits for any more is dropped.
func (d *Desk) Compared(l *Line, a *wire.Verified) error {
	return d.told(l, step.Told{Peer: l.Site, ID: a.ID, Answer: a})
}

// RowsCame is Compared for the answer to a Mend.
func (d *Desk) RowsCame(l *Line, a *wire.Rows) error {
	return d.told(l, step.Told{Peer: l.Site, ID: a.ID, Rows: a})
}

func (d *Desk) told(l *Line, t step.Told) error {
	if t.ID > d.compared.top {
		return fmt.Errorf("answer to question %d, asked up to %d: %w", t.ID, d.compared.top, wire.ErrProtocol)
	}
	if q := d.compared.of(l.Site); q != nil && q.line == l && q.id == t.ID {
		q.id = 0
		d.t.E.Told = append(d.t.E.Told, t)
	}
	return nil
}

// CompareAsked hands a question of a verification to the shell.
func (d *Desk) CompareAsked(l *Line, a *wire.Verify) {
	l.compare.kept, l.compare.id = a.Kind != wire.VerifyEnd, a.ID
	if !l.compare.kept {
		d.unpin(l)
	}
	d.t.E.Asked = append(d.t.E.Asked, step.Asked{Link: l.Link, Peer: l.Site, Ask: *a})
}

// MendAsked hands a question of a mending to the shell. What the view that it opens will
// need is pinned before: the logs of the shard keep their floors until the end.
func (d *Desk) MendAsked(l *Line, m *wire.Mend) {
	if m.Kind == wire.MendOpen && uint32(m.Shard) < d.t.C.Shards {
		d.unpin(l)
		l.compare.pinned, l.compare.shard = true, m.Shard
		d.pins++
	}
	l.compare.kept, l.compare.id = true, m.ID
	d.t.E.Asked = append(d.t.E.Asked, step.Asked{Link: l.Link, Peer: l.Site, Mend: m})
}

// Pinned returns the site that a shard is mended at from here; 0 = none.
func (d *Desk) Pinned(s wire.Shard) wire.SiteID {
	if d.pins == 0 {
		return 0
	}
	for _, l := range d.lines {
		if l.compare.pinned && l.compare.shard == s {
			return l.Site
		}
	}
	return 0
}

func (d *Desk) unpin(l *Line) {
	if l.compare.pinned {
		l.compare.pinned = false
		d.pins--
		d.heart.Unpinned(l.compare.shard)
	}
}

// CompareAnswer sends an answer, unless the question was given up meanwhile.
func (d *Desk) CompareAnswer(l *Line, in *step.VerifyAnswer) {
	var m wire.Message = in.Answer
	id := uint64(0)
	if in.Rows != nil {
		m, id = in.Rows, in.Rows.ID
	} else {
		id = in.Answer.ID
	}
	if !l.Closed && l.compare.kept && l.compare.id == id {
		d.t.E.Send(l.Link, l.Session, m)
	}
}

// CompareLost ends the questions in both directions of a link that ended.
func (d *Desk) CompareLost(l *Line, reason string) {
	d.unpin(l)
	if l.compare.kept {
		l.compare.kept = false
		end := wire.Verify{ID: l.compare.id, Kind: wire.VerifyEnd}
		d.t.E.Asked = append(d.t.E.Asked, step.Asked{Link: l.Link, Peer: l.Site, Ask: end})
	}
	q := d.compared.of(l.Site)
	if q == nil || q.line != l {
		return
	}
	if q.id != 0 {
		err := fmt.Errorf("%w to site %s any more: %s", step.ErrNoLink, l.Name, reason)
		d.t.E.Told = append(d.t.E.Told, step.Told{Peer: l.Site, ID: q.id, Err: err})
	}
	d.compared.end(l.Site)
}
