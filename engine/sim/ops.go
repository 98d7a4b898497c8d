package sim

import (
	"bytes"
	"errors"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/sim/plan"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// shipper is the reader of the own journal behind one link.
type shipper struct {
	r    *journal.Reader
	last []wire.BatchRef // of the last Read
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
		case node.OpAnswer, node.OpGrant, node.OpSeek, node.OpRead, node.OpShip, node.OpSend, node.OpClose:
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
			p.answer(o)
		case node.OpGrant:
			p.grant(e, o)
		}
	}
}

func (p *process) seek(o *node.Op) {
	s := p.readers[o.Link]
	if s == nil {
		s = &shipper{}
		p.readers[o.Link] = s
	}
	s.close()
	have := map[wire.LogID]wire.Position{}
	for _, c := range o.Have {
		have[c.Log] = c.Position
	}
	in := &node.Sought{Link: o.Link}
	r, tails, gone, err := p.own.j.ReadBeyond(func(log wire.LogID) wire.Position { return have[log] })
	s.r, in.NotRetained, in.Err = r, gone, err
	for _, end := range tails {
		in.Tails = append(in.Tails, wire.Cursor{Log: end.Log, Position: end.Position})
	}
	p.later(plan.PhaseAny, cpuTime, func() { p.step(in, "sought", uint64(in.Link), uint64(len(in.Tails))) })
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
	p.later(plan.PhaseAny, cpuTime, func() {
		if e := p.links[in.Link]; e != nil && e.open {
			p.step(in, "read", uint64(in.Link), uint64(len(in.Headers)))
		}
	})
}

// next reads on behind damage: the journal has told of it.
func (p *process) next(r *journal.Reader, bytes int) ([]wire.BatchRef, error) {
	for {
		refs, err := r.Next(bytes)
		if !errors.Is(err, journal.ErrDamaged) {
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
			s.w.fault(plan.SwapBatches)
			s.w.after(f.Span, func() { s.w.net.resetAll(f) })
			return
		}
	}
}

func (p *process) sendBatches(e *end, envelope *wire.Envelope, refs []wire.BatchRef) {
	p.site.w.check.leaving(p.site.index, refs)
	parts := make([][]byte, 1, 1+len(refs))
	for i := range refs {
		parts = append(parts, refs[i].Bytes)
	}
	wire.Pack(envelope, nil, parts)
	p.site.w.net.send(e, bytes.Join(parts, nil))
}
