package stream

// A log goes on in a new incarnation, in a later epoch of its site:
//
//  1. OwnLogs.Open has the writer open it, with a START that names where the older logs of the
//     shard end. Flushed takes the START, once it is durable here (opened).
//  2. A session ships the newest incarnation only. What lies before it is closed, and whoever
//     is missing some of it pulls that (package fetch); pages show how far everybody is.
//  3. The START is shipped to a peer whose pages cover its rows (ready). Until then the reader
//     passes the log over, and is placed again when a page says so (Ready).
//  4. The receiver takes the START if its journals cover the rows (uncovered); its mirror goes
//     on in the new incarnation.
//
// Nothing here asks which site writes: the log of a site that was promoted and one that its
// own site opened again go on alike.

import (
	"slices"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/step"
	"github.com/claudefs/repl/wire"
)

// Open has the own log of a shard go on in a new incarnation, of an epoch above that of all
// that its journals hold of the shard: see Effects.Opens. It goes on behind its durable end, or
// where it was open for appends, behind what was given out. What does not survive of an older
// log is not named, see role.Ends.Rows. Nothing happens if the log is in that epoch already.
func (w *OwnLogs) Open(s wire.Shard, epoch wire.Epoch) {
	own := &w.gate.Logs[s]
	if own.Tail.Seq != 0 && own.Epoch >= epoch {
		return
	}
	w.t.E.Opens = append(w.t.E.Opens, w.Opening(s, epoch))
}

// Opening is what Open has the writer do.
func (w *OwnLogs) Opening(s wire.Shard, epoch wire.Epoch) step.Open {
	own := &w.gate.Logs[s]
	open := step.Open{Shard: s, Epoch: epoch, After: w.grown.last}
	open.Rows = w.role.Known.Of(s).Rows(w.held(s))
	_, ended := w.role.Known.Of(s).End(own.Tail.Incarnation, own.Epoch)
	open.GoesOn = own.Tail.Seq != 0 && !ended
	return open
}

// held lists where the journals end in each incarnation of each log of a shard.
func (w *OwnLogs) held(s wire.Shard) []wire.Cursor {
	held := slices.Clone(w.role.Known.AllLeft(s))
	add := func(log wire.LogID) {
		if at := w.heart.Held(log); at.Seq != 0 {
			held = append(held, wire.Cursor{Log: log, Position: at, Epoch: w.role.Known.EpochOf(s, at.Incarnation)})
		}
	}
	add(w.t.LogID(s))
	for _, site := range w.heart.Mirrored() { // also of sites that are peers no more
		add(wire.LogID{Site: site, Shard: s})
	}
	return held
}

// opened takes a START of an own log, which is durable here. The log's tail follows with its
// batch.
func (w *OwnLogs) opened(s *wire.Start) {
	if err := w.heart.Learn(s); err != nil {
		w.gate.Stop(s.Log.Shard, wire.RefuseEpoch, err.Error())
	}
	w.gate.Logs[s.Log.Shard].Epoch = s.Epoch
	for _, p := range w.Peers {
		if p.Sender != nil && p.Sender.In(s.Log.Shard) {
			p.Sender.Older(s.Log.Shard)
		}
	}
}

// count numbers the entries of an own log over its incarnations: a place in one that is known,
// behind the entries of those before it. Of an incarnation that is not known it is 0.
func (w *OwnLogs) count(s wire.Shard, at wire.Position) wire.Seq {
	if at.Seq == 0 {
		return 0
	}
	own := &w.gate.Logs[s]
	left := w.role.Known.AllLeft(s)
	if len(left) == 0 && (own.Tail.Seq == 0 || at.Incarnation == own.Tail.Incarnation) {
		return at.Seq // also before its first flush is reported
	}
	before, epoch := wire.Seq(0), w.role.Known.EpochOf(s, at.Incarnation)
	found := at.Incarnation == own.Tail.Incarnation || w.role.Known.Of(s).Epoch(at.Incarnation) != 0
	for i := range left {
		switch c := &left[i]; {
		case c.Log.Site != w.t.C.Site:
		case c.Position.Incarnation == at.Incarnation:
			found = true
		case c.Epoch < epoch:
			before += c.Position.Seq
		}
	}
	if !found {
		return 0
	}
	return before + at.Seq
}

// current says whether an own log is in the epoch held: else all of it is closed, until this
// site opens it.
func (w *OwnLogs) current(s wire.Shard) bool {
	own := &w.gate.Logs[s]
	return max(own.Epoch, wire.FirstEpoch) == w.role.Epoch
}

// Closed is where an own log ended before its incarnation of the epoch held; zero if it has none
// before.
func (w *OwnLogs) Closed(s wire.Shard) (at wire.Position) {
	highest := wire.Epoch(0)
	own := &w.gate.Logs[s]
	if !w.current(s) {
		return own.Tail
	}
	for _, c := range w.role.Known.AllLeft(s) {
		if c.Log == own.ID && c.Epoch > highest && c.Position.Incarnation != own.Tail.Incarnation {
			at, highest = c.Position, c.Epoch
		}
	}
	return at
}

// older says whether a position of an own log lies before its incarnation of the epoch held: a
// session does not lead on from there, but for the START. Nothing at all is older where the log
// has an older incarnation.
func (w *OwnLogs) older(s wire.Shard, at wire.Position) bool {
	own := &w.gate.Logs[s]
	switch {
	case w.role.Epoch <= wire.FirstEpoch || own.Tail.Seq == 0:
		return false
	case !w.current(s):
		return true
	}
	return at.Seq == 0 || at.Incarnation != own.Tail.Incarnation && w.t.Covers(own.ID, own.Tail, at)
}

// ready says whether a peer's pages may cover the rows of the START of a log's incarnation of the
// epoch held. A position in an incarnation that was never heard of here may: a writer that was cut
// off has begun it alone. The peer knows, and judges (uncovered).
func (o *Outbound) ready(s wire.Shard) bool {
	w := o.own
	own := &w.gate.Logs[s]
	start := w.role.Known.Of(s).Start(own.Epoch)
	switch {
	case !w.current(s):
		return false
	case start == nil:
		return true
	}
	return !slices.ContainsFunc(start.Rows, func(row wire.LogEnd) bool {
		has := o.Logs[s].Answer
		if confirmed := o.Logs[s].Durable; w.t.Covers(own.ID, confirmed, has) {
			has = confirmed
		}
		if row.Log != own.ID {
			has = w.heart.Copy(o, row.Log)
		}
		return w.t.Order(row.Log, has, row.End) == wire.OrderBefore
	})
}

// begins is what the reader begins behind for a peer's copy of a log: where it ends, or if that
// is of an older incarnation, what the START comes behind.
func (o *Outbound) begins(s wire.Shard, at wire.Position) wire.Position {
	if o.own.older(s, at) {
		return o.own.Closed(s)
	}
	return at
}

// leads says whether a batch that the reader met is for this session: of the log's newest
// incarnation, whose START the peer may take.
func (o *Outbound) leads(h *wire.BatchHeader) bool {
	w := o.own
	own := &w.gate.Logs[h.Shard]
	switch {
	case h.Epoch < w.role.Epoch:
		return false // closed: it is pulled
	case h.Epoch > max(own.Epoch, wire.FirstEpoch), // a reader sees the end of a flush before that is reported
		h.OpensEpoch() && o.Sender.In(h.Shard) && w.older(h.Shard, o.Sender.Sent(h.Shard)) && !o.ready(h.Shard):
		if !slices.Contains(o.unready, h.Shard) {
			o.unready = append(o.unready, h.Shard)
		}
		return false
	}
	return !slices.Contains(o.unready, h.Shard)
}

// Ready looks, after a page or an ack of the peer, whether STARTs that it was not ready for can follow:
// then the reader begins again before them.
func (o *Outbound) Ready() {
	if len(o.unready) == 0 || o.Phase != PhaseLive {
		return
	}
	if o.again = o.again || slices.ContainsFunc(o.unready, o.follows); o.again {
		o.read()
	}
}

// follows says whether the START of a log that the peer was not ready for can follow.
func (o *Outbound) follows(s wire.Shard) bool { return o.Sender.In(s) && o.ready(s) }

// followed takes the logs off the list that the reader is placed before now: until then what it
// meets of them comes behind a START that it has passed over.
func (o *Outbound) followed() {
	o.unready = slices.DeleteFunc(o.unready, func(s wire.Shard) bool { return o.follows(s) || !o.Sender.In(s) })
}

// pulled takes a position in an older incarnation of an own log that a page of a live session
// names: the peer pulls what is closed.
func (o *Outbound) pulled(s wire.Shard, at wire.Position) {
	w, l := o.own, &o.Logs[s]
	for _, c := range w.role.Known.AllLeft(s) {
		if c.Log == w.t.LogID(s) && c.Position.Order(at) == wire.OrderLevel && c.Position != at {
			o.Diverged(s, step.Differing(c.Position, at))
			return
		}
	}
	if w.older(s, o.Sender.Sent(s)) && w.t.Beyond(w.t.LogID(s), at, l.Answer) {
		l.Answer = at
		o.Sender.Moved(s, at)
		o.Confirm(s, at)
	}
}

// opens says whether a batch is the START of a later incarnation of a log than the one that a
// mirror is in. Of nothing each is later.
func (m *Mirrors) opens(tail *Tail, h *wire.BatchHeader) bool {
	return h.OpensEpoch() && h.Incarnation != tail.Incarnation &&
		(tail.Seq == 0 || m.role.Known.EpochOf(h.Shard, tail.Incarnation) < h.Epoch)
}

// early says whether a batch is of a later incarnation of a log than the one that a mirror is
// in, and not its START: that is missing between.
func (m *Mirrors) early(tail *Tail, h *wire.BatchHeader) bool {
	return h.FirstSeq > 1 && h.Incarnation != tail.Incarnation && tail.Seq != 0 &&
		m.role.Known.EpochOf(h.Shard, tail.Incarnation) < h.Epoch
}

// uncovered says why a START is not taken: the journals here do not reach one of its rows. They
// would confirm entries whose past they are missing.
func (m *Mirrors) uncovered(tail *Tail, s *wire.Start) *step.Stop {
	rows := s.Uncovered(func(log wire.LogID, in wire.Incarnation) wire.Position {
		at := tail.Position // staged before the START, in the same journal
		if log != s.Log {
			at = m.heart.Held(log)
		}
		if at.Incarnation == in {
			return at
		}
		return m.role.Known.Left(s.Log.Shard, in)
	})
	if len(rows) == 0 || plant.StartUncovered {
		return nil
	}
	row := &rows[0]
	return step.Stopf(wire.RefuseGap, "the START of epoch %s names log %s up to seq %d of incarnation %s, "+
		"which is not here: it comes when that is", s.Epoch, row.Log, row.End.Seq, row.End.Incarnation)
}

// startOf finds what a START says among those of a frame.
func startOf(starts []wire.Start, h *wire.BatchHeader) *wire.Start {
	for i := range starts {
		if starts[i].Log == h.Log() && starts[i].Incarnation == h.Incarnation {
			return &starts[i]
		}
	}
	return nil
}

// goesOn has a mirror go on in the incarnation that a START opens, if the journals here cover
// what that names.
func (m *Mirrors) goesOn(tail *Tail, s *wire.Start) (why *step.Stop) {
	if s == nil {
		return step.Stopf(wire.RefuseMalformed, "a START whose rows cannot be read")
	}
	if why := m.uncovered(tail, s); why != nil {
		return why
	}
	opened := *s
	opened.Before = tail.Position
	if err := m.heart.Learn(&opened); err != nil {
		return step.Stopf(wire.RefuseEpoch, "%v", err)
	}
	return nil
}

// GoesOn is that for a START that was pulled, of those that its frame had.
func (m *Mirrors) GoesOn(h *wire.BatchHeader, starts []wire.Start) (why *step.Stop) {
	return m.goesOn(&m.Log(h.Log()).tail, startOf(starts, h))
}

// Learn notes a START of any log: which logs count as behind their Store may change with it.
func (m *Mirrors) Learn(s *wire.Start) error {
	each := func(sign int) {
		for _, site := range m.Sites {
			m.unapplied += sign * m.behind(&site.Logs[s.Log.Shard])
		}
	}
	each(-1)
	_, err := m.role.Known.Add(*s)
	each(1)
	return err
}
