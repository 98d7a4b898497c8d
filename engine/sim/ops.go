package sim

import (
	"cmp"
	"errors"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store/journal"
	simstream "github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// shipper is the reader of the own journal behind one link.
type shipper struct {
	r    *journal.Reader
	last []wire.BatchRef // of the last Read
	sent map[wire.LogID]wire.Position
}

func (s *shipper) close() {
	if s.r != nil {
		s.r.Close()
	}
}

// operate carries out the link operations in their order.
func (p *process) operate() {
	for i := range p.effects.Ops {
		o := &p.effects.Ops[i]
		e := p.links[o.Link]
		switch o.Kind {
		case node.OpDial:
			p.site.w.net.dial(p, o.Peer)
			continue
		case node.OpAnswer, node.OpSeek, node.OpRead, node.OpShip, node.OpSend, node.OpClose:
			if e == nil || !e.open {
				continue
			}
		}
		switch o.Kind {
		case node.OpClose:
			p.site.w.net.closeEnd(e)
		case node.OpSend:
			p.site.w.net.send(e, append([]byte(nil), o.Frame...))
		case node.OpSeek:
			p.seek(o)
		case node.OpRead:
			p.read(o)
		case node.OpShip:
			p.ship(e, o)
		case node.OpAnswer:
			p.answer(e, o.Envelope.Session, o.Fetch)
		}
	}
}

func (p *process) seek(o *node.Op) {
	s := p.readers[o.Link]
	if s == nil {
		s = &shipper{sent: map[wire.LogID]wire.Position{}}
		p.readers[o.Link] = s
	}
	s.close()
	have := map[wire.LogID]wire.Position{}
	for _, c := range o.Have {
		have[c.Log] = c.Position
	}
	in := &node.Sought{Link: o.Link}
	unit, err := p.own.j.SegmentStart(
		func(log wire.LogID) wire.Position { return have[log] },
		func(log wire.LogID, t journal.Tail) {
			in.Tails = append(in.Tails, simstream.Cursor{Log: log, Position: t.Position})
		})
	if err != nil {
		in.Err, in.NotRetained = err, p.own.j.NotRetained(func(log wire.LogID) wire.Position { return have[log] })
	} else {
		s.r = p.own.j.NewReader(unit)
	}
	p.later(phaseAny, cpuTime, func() { p.step(in, "sought", uint64(in.Link), uint64(unit)) })
}

func tailsOf(j *journal.Journal) map[wire.LogID]wire.Position {
	tails := map[wire.LogID]wire.Position{}
	for _, log := range j.Logs() {
		t, _ := j.Tail(log)
		tails[log] = t.Position
	}
	return tails
}

func (p *process) read(o *node.Op) {
	s := p.readers[o.Link]
	in := &node.ReadDone{Link: o.Link}
	if s == nil || s.r == nil {
		in.Err = errors.New("no reader stands")
	} else if s.last, in.Err = p.next(s.r, o.Bytes); in.Err == nil {
		for i := range s.last {
			in.Headers = append(in.Headers, s.last[i].Header)
		}
		in.Backlog = s.r.Backlog()
	}
	p.later(phaseAny, cpuTime, func() {
		if e := p.links[in.Link]; e != nil && e.open {
			p.step(in, "read", uint64(in.Link), uint64(len(in.Headers)))
		}
	})
}

// next reads on behind damage: the journal has told of it.
func (p *process) next(r *journal.Reader, bytes int) ([]wire.BatchRef, error) {
	for {
		refs, err := r.Next(bytes)
		if !errors.Is(err, journal.ErrCorrupt) {
			return refs, err
		}
		p.site.w.mark("shipping met damage")
	}
}

// ship sends batches of the last read as one frame.
func (p *process) ship(e *end, o *node.Op) {
	s := p.readers[o.Link]
	envelope := o.Envelope
	refs := make([]wire.BatchRef, 0, len(o.Batches))
	for _, n := range o.Batches {
		refs = append(refs, s.last[n])
	}
	p.swap(refs)
	p.sendBatches(e, &envelope, refs)
}

// swap puts two batches of one log in the wrong order, as a broken source would:
// the peer refuses the log, and no ack of the frame speaks for it. Only a new
// session takes the log in again, so an operator breaks the link after a while.
func (p *process) swap(refs []wire.BatchRef) {
	s := p.site
	if len(s.swaps) == 0 {
		return
	}
	for i := range refs {
		for k := i + 1; k < len(refs); k++ {
			if refs[i].Header.Log() != refs[k].Header.Log() {
				continue
			}
			f := s.swaps[0]
			s.swaps = s.swaps[1:]
			refs[i], refs[k] = refs[k], refs[i]
			s.w.fault(swapBatches)
			s.w.after(f.span, func() { s.w.net.resetAll(f) })
			return
		}
	}
}

func (p *process) sendBatches(e *end, envelope *wire.Envelope, refs []wire.BatchRef) {
	size := 0
	p.site.w.check.leaving(p.site.index, refs)
	for i := range refs {
		size += len(refs[i].Bytes)
	}
	envelope.BatchCount, envelope.WireBytes = uint16(len(refs)), uint32(size)
	frame := wire.AppendBatchesEnvelope(make([]byte, 0, wire.EnvelopeBytes+size), envelope)
	for i := range refs {
		frame = append(frame, refs[i].Bytes...)
	}
	p.site.w.net.send(e, frame)
}

// answer sends what a Fetch asks for, from the journal that holds the log.
func (p *process) answer(e *end, session uint32, f wire.Fetch) {
	p.site.w.mark("fetch answered")
	j := p.mirror.j
	if f.Log.Site == p.site.id {
		j = p.own.j
	}
	end := wire.FetchEnd{ID: f.ID}
	have := tailsOf(j)
	have[f.Log] = f.From
	unit, err := j.SegmentStart(func(log wire.LogID) wire.Position { return have[log] }, nil)
	if err == nil {
		err = p.sendLog(e, session, j, unit, f)
	}
	switch {
	case errors.Is(err, errForked):
		end.Code, end.Text = wire.RefuseChain, err.Error()
	case errors.Is(err, journal.ErrNotRetained), errors.Is(err, journal.ErrCorrupt):
		end.Code, end.Text = wire.RefuseNotRetained, err.Error()
	case err != nil: // no word about the log: the peer asks again on the next link
		p.site.w.mark("answer not read")
		p.site.w.net.broken(e, err)
		return
	}
	p.site.w.net.send(e, end.AppendTo(nil, session))
}

var errForked = errors.New("the asker's chain is not ours")

// sendLog sends the batches of one log in (From, To], one frame per read.
func (p *process) sendLog(e *end, session uint32, j *journal.Journal, unit journal.UnitNumber, f wire.Fetch) error {
	r := j.NewReader(unit)
	defer r.Close()
	at, to := f.From.Seq, f.To
	if t, _ := j.Tail(f.Log); to == 0 {
		to = t.Position.Seq
	}
	var damage error
	for {
		refs, err := r.Next(p.site.plan().feedBytes)
		if errors.Is(err, journal.ErrCorrupt) {
			damage = err // of some log: ours is complete if its next batch continues
			p.site.w.mark("answer met damage")
			continue
		}
		if err != nil || len(refs) == 0 {
			return cmp.Or(err, damage)
		}
		var picked []wire.BatchRef
		for i := range refs {
			h := &refs[i].Header
			if h.Log() != f.Log || h.LastSeq() <= at || f.To != 0 && h.FirstSeq > f.To {
				continue
			}
			if h.FirstSeq != at+1 {
				return damage
			}
			if at == f.From.Seq && at != 0 && h.Prev != f.From.Chain {
				return errForked
			}
			picked = append(picked, refs[i])
			at = h.LastSeq()
		}
		if len(picked) > 0 {
			p.sendBatches(e, &wire.Envelope{Kind: wire.FrameFetched, Session: session, Number: f.ID}, picked)
		}
		if at >= to {
			return nil
		}
	}
}
